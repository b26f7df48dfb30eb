//! Peers on a loopback port that are no server at all. Each is bounded and ends with its value.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Connections beyond this are closed at once.
const MAX_CONNECTIONS: usize = 256;
/// No endless peer sends more than this over one connection.
const MAX_BYTES: u64 = 1 << 30;
/// How soon a peer's threads see that it is to end.
const TICK: Duration = Duration::from_millis(5);

pub struct Peer {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
    /// A bound socket that does not listen keeps the port of a refusing peer from everybody else.
    _reserved: Option<OwnedFd>,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    connections: AtomicU64,
    bytes_read: AtomicU64,
    bytes_sent: AtomicU64,
}

#[derive(Clone)]
enum Manner {
    Silent,
    Endless { begin: Vec<u8>, chunk: Vec<u8> },
    Answer(Vec<u8>),
    Close,
}

impl Peer {
    /// Nobody listens: connections are refused.
    pub fn refusing() -> Peer {
        // SAFETY: socket returns a new descriptor, which OwnedFd closes; the address is a local of the right size.
        unsafe {
            let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
            assert!(fd >= 0);
            let reserved = OwnedFd::from_raw_fd(fd);
            let mut address: libc::sockaddr_in = std::mem::zeroed();
            let mut length = size_of_val(&address) as libc::socklen_t;
            address.sin_family = libc::AF_INET as libc::sa_family_t;
            address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
            assert_eq!(libc::bind(reserved.as_raw_fd(), (&raw const address).cast(), length), 0);
            assert_eq!(libc::getsockname(reserved.as_raw_fd(), (&raw mut address).cast(), &mut length), 0);
            let port = u16::from_be(address.sin_port);
            Peer { port, shared: Arc::default(), acceptor: None, _reserved: Some(reserved) }
        }
    }

    /// Accepts, reads, and never says a word (also never a TLS handshake message).
    pub fn silent() -> Peer {
        Peer::listening(Manner::Silent)
    }

    /// After the first request, one bulk reply that never ends (at most 1 GiB per connection).
    pub fn endless() -> Peer {
        Peer::endless_of(b"$1000000000000\r\n", &[b'x'; 64 * 1024])
    }

    /// After the first request `begin`, then `chunk` for ever (at most 1 GiB per connection): endless arrays, errors, pushes.
    pub fn endless_of(begin: &[u8], chunk: &[u8]) -> Peer {
        Peer::listening(Manner::Endless { begin: begin.to_vec(), chunk: chunk.to_vec() })
    }

    /// Whatever it is sent, it answers with these bytes, once per segment that it reads.
    pub fn malformed(answer: Vec<u8>) -> Peer {
        Peer::listening(Manner::Answer(answer))
    }

    /// Accepts, and closes after the first request.
    pub fn closing() -> Peer {
        Peer::listening(Manner::Close)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn tls_url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.port)
    }

    /// How many connections it ever accepted.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub fn bytes_read(&self) -> u64 {
        self.shared.bytes_read.load(Ordering::SeqCst)
    }

    pub fn bytes_sent(&self) -> u64 {
        self.shared.bytes_sent.load(Ordering::SeqCst)
    }

    fn listening(manner: Manner) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let port = listener.local_addr().expect("a bound socket").port();
        let shared = Arc::<Shared>::default();
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, &manner, &shared))
        };
        Peer { port, shared, acceptor: Some(acceptor), _reserved: None }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = TcpStream::connect(("127.0.0.1", self.port));
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, manner: &Manner, shared: &Arc<Shared>) {
    let mut served: Vec<JoinHandle<()>> = Vec::new();
    for stream in listener.incoming() {
        if shared.ended.load(Ordering::SeqCst) {
            break;
        }
        let Ok(stream) = stream else { continue };
        served.retain(|thread| !thread.is_finished());
        if served.len() >= MAX_CONNECTIONS {
            continue;
        }
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let (manner, shared) = (manner.clone(), Arc::clone(shared));
        served.push(thread::spawn(move || serve(stream, &manner, &shared)));
    }
    for thread in served {
        let _ = thread.join();
    }
}

fn serve(mut stream: TcpStream, manner: &Manner, shared: &Shared) {
    let _ = stream.set_read_timeout(Some(TICK));
    let _ = stream.set_write_timeout(Some(TICK));
    let mut buffer = [0; 16 * 1024];
    while !shared.ended.load(Ordering::SeqCst) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => shared.bytes_read.fetch_add(count as u64, Ordering::SeqCst),
            Err(error) if is_timeout(&error) => continue,
            Err(_) => return,
        };
        match manner {
            Manner::Silent => {}
            Manner::Close => return,
            Manner::Answer(answer) => {
                send(&mut stream, answer, shared);
            }
            Manner::Endless { begin, chunk } => {
                let mut open = send(&mut stream, begin, shared);
                while open && shared.bytes_sent.load(Ordering::SeqCst) < MAX_BYTES {
                    open = send(&mut stream, chunk, shared);
                }
                return;
            }
        }
    }
}

/// Sends all of it, or notices that either side has ended (false).
fn send(stream: &mut TcpStream, mut bytes: &[u8], shared: &Shared) -> bool {
    while !bytes.is_empty() && !shared.ended.load(Ordering::SeqCst) {
        match stream.write(bytes) {
            Ok(count) => {
                shared.bytes_sent.fetch_add(count as u64, Ordering::SeqCst);
                bytes = &bytes[count..];
            }
            Err(error) if is_timeout(&error) => {}
            Err(_) => return false,
        }
    }
    bytes.is_empty()
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
