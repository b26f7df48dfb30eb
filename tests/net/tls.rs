//! TLS streams against a real redis-server, `openssl s_server` and a rustls server that misbehaves.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::support::{Certificates, Node, spawn, wait_for};
use redlock::core::request::{Fault, FaultKind};
use redlock::net::read::Read;
use redlock::net::stream::{Address, Endpoint, Progress, Stream};
use redlock::net::sys::{Interest, PollFd, Polled, poll};
use redlock::net::tls::{TlsContext, TlsOptions};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const PATIENCE: Duration = Duration::from_secs(20);
/// For how long a peer that says nothing holds its side open: until the test has ended.
const SILENCE: Duration = Duration::from_secs(600);

fn certificates() -> &'static Certificates {
    static CERTIFICATES: OnceLock<Certificates> = OnceLock::new();
    CERTIFICATES.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tls");
        std::fs::create_dir_all(&dir).unwrap();
        let certificates = Certificates::make_in(&dir);
        certificates.make_flawed();
        certificates
    })
}

fn trusting(authority: &str) -> TlsOptions {
    TlsOptions { ca_file: Some(certificates().path(&format!("{authority}.pem"))), ..TlsOptions::default() }
}

fn as_client() -> TlsOptions {
    TlsOptions {
        cert_file: Some(certificates().path("client.pem")),
        key_file: Some(certificates().path("client.key")),
        ..trusting("ca")
    }
}

/// A redis-server that shows the certificate of this name.
struct Server {
    _node: Node,
    port: u16,
}

impl Server {
    fn start(certificate: &str) -> Server {
        Server::with(certificate, false, &[])
    }

    fn with(certificate: &str, needs_client: bool, more: &[&str]) -> Server {
        let port = spawn::free_port();
        let arguments = certificates().arguments_of(certificate, port, needs_client);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Server { _node: Node::start(&arguments), port }
    }

    fn dial(&self, options: TlsOptions) -> Result<Stream, Fault> {
        dial("127.0.0.1", self.port, options)
    }
}

fn endpoint(host: &str, port: u16, options: TlsOptions) -> Arc<Endpoint> {
    let context = Arc::new(TlsContext::new(options));
    Arc::new(Endpoint::new(Address::Tcp { host: host.into(), port }, Some(context)))
}

fn dial(host: &str, port: u16, options: TlsOptions) -> Result<Stream, Fault> {
    let mut stream = Stream::dial(&endpoint(host, port, options));
    let start = Instant::now();
    while stream.drive()? == Progress::Pending {
        assert!(start.elapsed() < PATIENCE, "still {}", stream.stage());
        wait(&stream, Duration::from_secs(1));
    }
    Ok(stream)
}

fn wait(stream: &Stream, limit: Duration) -> bool {
    let (fd, interest) = stream.interest().expect("not failed");
    poll(&mut [PollFd::new(fd, interest)], Some(limit.as_nanos() as u64)).unwrap() == Polled::Ready(1)
}

/// Reads as the engine does: again while there is more, else only after the descriptor says so.
fn read_until(stream: &mut Stream, is_enough: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let start = Instant::now();
    while !is_enough(&bytes) {
        assert!(start.elapsed() < PATIENCE, "{} bytes and no more", bytes.len());
        match stream.read(&mut bytes)? {
            Read::Data { more: true } => {}
            Read::Data { more: false } | Read::Empty if is_enough(&bytes) => {}
            Read::Data { more: false } | Read::Empty => {
                assert!(wait(stream, PATIENCE), "silent after {} bytes", bytes.len());
                stream.drive()?;
            }
            Read::Eof => return Err(Fault::new(FaultKind::Unreachable, format!("end after {} bytes", bytes.len()))),
        }
    }
    Ok(bytes)
}

fn ask(stream: &mut Stream, request: &[u8], reply: &[u8]) -> Result<(), Fault> {
    assert_eq!(stream.write(request)?, request.len());
    assert_eq!(read_until(stream, |bytes| bytes.len() >= reply.len())?, reply);
    Ok(())
}

#[track_caller]
fn refused(result: Result<Stream, Fault>, kind: FaultKind, words: &str) {
    let fault = result.expect_err("must not connect");
    assert_eq!(fault.kind, kind, "{}", fault.text);
    assert!(fault.text.starts_with("TLS: ") && fault.text.contains(words), "{}", fault.text);
}

#[test]
fn a_server_with_our_own_ca_is_trusted_by_address_and_by_name() {
    let server = Server::start("server");
    for host in ["127.0.0.1", "localhost"] {
        let mut stream = dial(host, server.port, trusting("ca")).unwrap();
        assert_eq!(stream.stage(), "connected");
        ask(&mut stream, b"PING\r\n", b"+PONG\r\n").unwrap();
    }
}

#[test]
fn a_strange_ca_the_system_s_roots_a_wrong_name_and_an_expired_certificate_are_refused() {
    let server = Server::start("server");
    let untrusted = "not signed by a trusted authority";
    refused(server.dial(trusting("stranger")), FaultKind::Permanent, untrusted);
    if TlsContext::new(TlsOptions::default()).prepare().is_ok() {
        refused(server.dial(TlsOptions::default()), FaultKind::Permanent, untrusted);
    }
    let server = Server::start("other-name");
    refused(server.dial(trusting("ca")), FaultKind::Permanent, "is for elsewhere.example, not for 127.0.0.1");
    let server = Server::start("expired");
    refused(server.dial(trusting("ca")), FaultKind::Permanent, "has expired");
    let server = Server::start("version-1");
    refused(server.dial(trusting("ca")), FaultKind::Permanent, "version 1, which names no host");
}

#[test]
fn a_certificate_that_is_not_yet_valid_damaged_nameless_or_for_clients_alone_is_refused_in_words() {
    for (certificate, words) in [
        ("not-yet", "the server's certificate is not valid yet: compare the clocks"),
        ("damaged", "the server's certificate is not signed by the authority that it names"),
        ("no-name", "the server's certificate names no host: make one with subjectAltName 127.0.0.1"),
        ("for-clients", "the server's certificate is not made for servers (extendedKeyUsage)"),
    ] {
        let server = Server::start(certificate);
        refused(server.dial(trusting("ca")), FaultKind::Permanent, words);
        // Only those who said that they do not look get through.
        let options = TlsOptions { insecure: true, ..TlsOptions::default() };
        ask(&mut server.dial(options).unwrap(), b"PING\r\n", b"+PONG\r\n").unwrap();
    }
}

#[test]
fn a_self_signed_certificate_that_nobody_named_is_refused_for_what_it_is() {
    for (certificate, trusted) in [("alone", "ca"), ("ca", "stranger")] {
        let server = Server::start(certificate);
        refused(dial("localhost", server.port, trusting(trusted)), FaultKind::Permanent, "tls_ca_file");
    }
}

#[test]
fn a_weak_key_or_signature_is_refused_in_words() {
    // redis-server would not start with them: OpenSSL refuses them from its security level 1 on. For a key that is too
    // short the verifier reports a bad signature and no more.
    for protocol in ["-tls1_2", "-tls1_3"] {
        for (certificate, words) in [("weak-key", "the server's certificate is not"), ("weak-signature", "with SHA-2")]
        {
            let (mut server, port) = openssl_server(certificate, &[protocol, "-cipher", "DEFAULT:@SECLEVEL=0"]);
            let result = dial("127.0.0.1", port, trusting("ca"));
            server.kill().unwrap();
            server.wait().unwrap();
            refused(result, FaultKind::Permanent, words);
        }
    }
}

#[test]
fn a_server_that_speaks_only_old_versions_of_tls_is_refused_in_words() {
    for protocol in ["-tls1", "-tls1_1"] {
        let (mut server, port) = openssl_server("server", &[protocol, "-cipher", "DEFAULT:@SECLEVEL=0"]);
        let result = dial("127.0.0.1", port, trusting("ca"));
        server.kill().unwrap();
        server.wait().unwrap();
        refused(result, FaultKind::Permanent, "protocol version");
    }
}

#[test]
fn a_server_that_is_its_own_authority_is_trusted_where_it_is_named_as_one() {
    let server = Server::start("alone");
    let mut stream = dial("localhost", server.port, trusting("alone")).unwrap();
    ask(&mut stream, b"PING\r\n", b"+PONG\r\n").unwrap();
    refused(
        dial("127.0.0.1", server.port, trusting("alone")),
        FaultKind::Permanent,
        "is for localhost, not for 127.0.0.1",
    );
    // Another certificate of the same name is not that one.
    refused(dial("localhost", server.port, trusting("alone-expired")), FaultKind::Permanent, "certificate");
    refused(dial("localhost", server.port, trusting("ca")), FaultKind::Permanent, "tls_ca_file");
    let server = Server::start("alone-expired");
    refused(dial("localhost", server.port, trusting("alone-expired")), FaultKind::Permanent, "has expired");
}

#[test]
fn insecure_accepts_any_certificate() {
    for certificate in ["server", "other-name", "expired", "stranger"] {
        for protocol in ["TLSv1.2", "TLSv1.3"] {
            let server = Server::with(certificate, false, &["--tls-protocols", protocol]);
            let options = TlsOptions { insecure: true, ..TlsOptions::default() };
            ask(&mut server.dial(options).unwrap(), b"PING\r\n", b"+PONG\r\n").unwrap();
        }
    }
}

#[test]
fn a_client_certificate_is_presented_and_its_absence_is_a_permanent_fault() {
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        let server = Server::with("server", true, &["--tls-protocols", protocol]);
        ask(&mut server.dial(as_client()).unwrap(), b"PING\r\n", b"+PONG\r\n").unwrap();
        // In TLS 1.3 the client has finished before the server has seen what is missing: the first read tells.
        let result = server.dial(trusting("ca")).and_then(|mut stream| {
            ask(&mut stream, b"PING\r\n", b"+PONG\r\n")?;
            Ok(stream)
        });
        refused(result, FaultKind::Permanent, "");
    }
}

#[test]
fn a_large_reply_arrives_whole_although_the_socket_falls_silent_before_all_of_it_was_read() {
    const LENGTH: usize = 300_000;
    let server = Server::start("server");
    let mut stream = server.dial(trusting("ca")).unwrap();
    let mut request = format!("*2\r\n$4\r\nECHO\r\n${LENGTH}\r\n").into_bytes();
    request.resize(request.len() + LENGTH, b'x');
    request.extend_from_slice(b"\r\n");
    let mut sent = 0;
    let start = Instant::now();
    while sent < request.len() || stream.wants_write() {
        assert!(start.elapsed() < PATIENCE);
        sent += stream.write(&request[sent..]).unwrap();
        if stream.wants_write() {
            assert!(stream.interest().unwrap().1.write);
            let fd = stream.interest().unwrap().0;
            poll(&mut [PollFd::new(fd, Interest::WRITE)], Some(1_000_000_000)).unwrap();
            assert_eq!(stream.drive(), Ok(Progress::Open));
        }
    }
    let total = LENGTH + format!("${LENGTH}\r\n\r\n").len();
    // All of it lies in the socket's buffer and will never make it readable anew.
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(read_until(&mut stream, |bytes| bytes.len() >= total).unwrap().len(), total);
}

/// `openssl s_server` with the certificate of this name, and its port.
fn openssl_server(certificate: &str, more: &[&str]) -> (Child, u16) {
    let port = spawn::free_port();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}"), "-cert"]);
    command.arg(certificates().path(&format!("{certificate}.pem"))).arg("-key");
    command.arg(certificates().path(&format!("{certificate}.key"))).args(more);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = spawn::spawn(command).expect("the openssl program (`tools/setup` installs it)");
    assert!(wait_for(PATIENCE, || TcpStream::connect(("127.0.0.1", port)).is_ok()), "openssl does not listen");
    (server, port)
}

#[test]
fn openssl_s_server_is_understood_and_its_end_is_seen() {
    let (mut server, port) = openssl_server("server", &[]);
    let mut stream = dial("127.0.0.1", port, trusting("ca")).unwrap();
    server.stdin.as_mut().unwrap().write_all(b"+OK\r\n").unwrap();
    assert_eq!(read_until(&mut stream, |bytes| bytes.len() >= 5).unwrap(), b"+OK\r\n");
    server.kill().unwrap();
    server.wait().unwrap();
    let fault = read_until(&mut stream, |_| false).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable);
}

/// One accepted connection with a rustls server on it, driven by `serve` in a thread.
fn misbehaving(serve: impl FnOnce(rustls::StreamOwned<rustls::ServerConnection, TcpStream>) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let chain = vec![CertificateDer::from_pem_file(certificates().path("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(certificates().path("server.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        serve(rustls::StreamOwned::new(connection, socket));
    });
    port
}

#[test]
fn bytes_and_close_notify_in_one_segment_are_both_seen_although_the_socket_stays_open() {
    let port = misbehaving(|mut peer| {
        peer.read_exact(&mut [0; 1]).unwrap();
        peer.conn.writer().write_all(&[b'x'; 5_000]).unwrap();
        peer.conn.send_close_notify();
        peer.flush().unwrap();
        std::thread::sleep(SILENCE);
    });
    let mut stream = dial("127.0.0.1", port, trusting("ca")).unwrap();
    assert_eq!(stream.write(b"?"), Ok(1));
    // Wants more than comes, so that only the end keeps it from waiting for a descriptor that stays silent.
    let fault = read_until(&mut stream, |bytes| bytes.len() > 5_000).unwrap_err();
    assert_eq!(&*fault.text, "end after 5000 bytes");
}

#[test]
fn plaintext_that_one_read_has_no_room_for_is_announced_although_the_socket_is_silent() {
    const RECORD: usize = 16 * 1024;
    let port = misbehaving(|mut peer| {
        peer.read_exact(&mut [0; 1]).unwrap();
        // The second record fills the read and leaves 100 bytes decrypted.
        peer.conn.writer().write_all(&[b'x'; 100]).unwrap();
        peer.conn.writer().write_all(&[b'x'; RECORD]).unwrap();
        peer.flush().unwrap();
        std::thread::sleep(SILENCE);
    });
    let mut stream = dial("127.0.0.1", port, trusting("ca")).unwrap();
    assert_eq!(stream.write(b"?"), Ok(1));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(read_until(&mut stream, |bytes| bytes.len() >= RECORD + 100).unwrap().len(), RECORD + 100);
}

#[test]
fn bytes_that_come_with_the_end_of_the_handshake_are_found_by_the_first_read() {
    let port = misbehaving(|mut peer| {
        peer.conn.writer().write_all(b"+early\r\n").unwrap();
        let _ = peer.flush();
        std::thread::sleep(SILENCE);
    });
    let mut stream = dial("127.0.0.1", port, trusting("ca")).unwrap();
    assert_eq!(read_until(&mut stream, |bytes| bytes.len() >= 8).unwrap(), b"+early\r\n");
}

#[test]
fn bytes_before_garbage_are_delivered_and_the_fault_after_them_again_and_again() {
    let port = misbehaving(|mut peer| {
        peer.read_exact(&mut [0; 1]).unwrap();
        peer.conn.writer().write_all(b"+last\r\n").unwrap();
        let mut wire = Vec::new();
        while peer.conn.wants_write() {
            peer.conn.write_tls(&mut wire).unwrap();
        }
        wire.extend_from_slice(b"\x17\x03\x03\x00\x20garbage garbage garbage garbage ");
        peer.sock.write_all(&wire).unwrap();
        std::thread::sleep(SILENCE);
    });
    let mut stream = dial("127.0.0.1", port, trusting("ca")).unwrap();
    assert_eq!(stream.write(b"?"), Ok(1));
    assert_eq!(read_until(&mut stream, |bytes| bytes.len() >= 7).unwrap(), b"+last\r\n");
    for _ in 0..2 {
        let fault = stream.read(&mut Vec::new()).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unreachable);
        assert!(fault.text.starts_with("TLS: "), "{}", fault.text);
    }
}

/// A peer that sends `answer` after hearing something, and then is silent.
fn plain(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let _ = socket.read(&mut [0; 4_096]);
        socket.write_all(answer).unwrap();
        std::thread::sleep(SILENCE);
    });
    port
}

#[test]
fn a_peer_without_tls_is_told_from_one_with_bad_tls() {
    let options = || trusting("ca");
    let port = plain(b"-ERR unknown command, with args beginning with: \r\n");
    refused(dial("127.0.0.1", port, options()), FaultKind::Permanent, "use redis://");
    let port = plain(b"HTTP/1.1 503 Service Unavailable\r\n\r\n");
    refused(dial("127.0.0.1", port, options()), FaultKind::Permanent, "does not speak TLS");
}

#[test]
fn a_peer_that_stalls_in_the_handshake_leaves_it_pending() {
    let port = plain(b"");
    let mut stream = Stream::dial(&endpoint("127.0.0.1", port, trusting("ca")));
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(200) {
        assert_eq!(stream.drive(), Ok(Progress::Pending));
        wait(&stream, Duration::from_millis(50));
    }
    assert_eq!(stream.stage(), "in the TLS handshake");
    assert_eq!(stream.interest().unwrap().1, Interest::READ);
}

#[test]
fn a_peer_that_closes_in_the_handshake_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let _ = socket.read(&mut [0; 4_096]);
    });
    refused(dial("127.0.0.1", port, trusting("ca")), FaultKind::Unreachable, "during the handshake");
}

#[test]
fn faulty_files_are_named_with_the_reason() {
    let missing = PathBuf::from("/nonexistent/ca.pem");
    let with = |change: &dyn Fn(&mut TlsOptions)| {
        let mut options = as_client();
        change(&mut options);
        let fault = TlsContext::new(options).prepare().unwrap_err();
        assert_eq!(fault.kind, FaultKind::Permanent);
        fault.text
    };
    let text = with(&|options| options.ca_file = Some(missing.clone()));
    assert_eq!(&*text, "TLS: cannot read certificate /nonexistent/ca.pem: no such file or directory");
    let text = with(&|options| options.ca_file = Some(certificates().path("ca.key")));
    assert!(text.contains("ca.key: no certificate in it"), "{text}");
    let text = with(&|options| options.key_file = Some(certificates().path("client.pem")));
    assert!(text.contains("client.pem: no private key in it"), "{text}");
    let text = with(&|options| options.key_file = Some(certificates().path("server.key")));
    assert!(text.contains("client.pem with ") && text.contains("server.key: "), "{text}");
    assert!(with(&|options| options.key_file = None).contains("needs its key"));
    assert!(with(&|options| options.cert_file = None).contains("needs its certificate"));

    let endpoint = endpoint("127.0.0.1", 1, TlsOptions { ca_file: Some(missing), ..TlsOptions::default() });
    assert_eq!(Stream::dial(&endpoint).drive().unwrap_err().kind, FaultKind::Permanent);
}

#[test]
fn tls_over_a_unix_socket_is_refused_in_words() {
    let path = std::env::temp_dir().join(format!("redlock-net-tls-{}.sock", std::process::id()));
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let context = Arc::new(TlsContext::new(trusting("ca")));
    let endpoint = Arc::new(Endpoint::new(Address::Unix(path.clone()), Some(context)));
    let mut stream = Stream::dial(&endpoint);
    let result = stream.drive().map(|_| stream);
    std::fs::remove_file(path).unwrap();
    refused(result, FaultKind::Permanent, "host name");
}
