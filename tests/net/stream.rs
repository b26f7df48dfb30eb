//! Streams against real sockets on the loopback interface.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redlock::core::request::{Fault, FaultKind};
use redlock::net::read::{READ_MAX_BYTES, Read};
use redlock::net::stream::{Address, Endpoint, Progress, Stream};
use redlock::net::sys::{Epoll, Interest, PollFd, Polled, poll};

const PATIENCE: Duration = Duration::from_secs(20);

fn endpoint(host: &str, port: u16) -> Arc<Endpoint> {
    Arc::new(Endpoint::new(Address::Tcp { host: host.into(), port }, None))
}

fn unix_endpoint(path: &Path) -> Arc<Endpoint> {
    Arc::new(Endpoint::new(Address::Unix(path.into()), None))
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port on which nobody listens, and nobody will while the guard lives.
fn closed_port() -> (OwnedFd, u16) {
    let (listener, port) = listener();
    // SAFETY: disconnects a listening socket, which ends the listening and keeps the port bound.
    unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
    (listener.into(), port)
}

/// Drives until the stream is open or has failed.
fn settle(stream: &mut Stream) -> Result<(), Fault> {
    let start = Instant::now();
    loop {
        if stream.drive()? == Progress::Open {
            return Ok(());
        }
        assert!(start.elapsed() < PATIENCE, "still {}", stream.stage());
        wait(stream, Duration::from_secs(1));
    }
}

fn wait(stream: &Stream, limit: Duration) -> bool {
    let (fd, interest) = stream.interest().expect("not failed");
    poll(&mut [PollFd::new(fd, interest)], Some(limit.as_nanos() as u64)).unwrap() == Polled::Ready(1)
}

fn open(endpoint: &Arc<Endpoint>) -> Stream {
    let mut stream = Stream::dial(endpoint);
    settle(&mut stream).unwrap();
    stream
}

fn pair() -> (Stream, TcpStream) {
    let (listener, port) = listener();
    let stream = open(&endpoint("127.0.0.1", port));
    let (peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    (stream, peer)
}

fn temporary_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("redlock-net-{}-{name}", std::process::id()))
}

#[test]
fn a_refused_connect_names_the_address_and_stays_failed() {
    let (_guard, port) = closed_port();
    let mut stream = Stream::dial(&endpoint("127.0.0.1", port));
    let fault = settle(&mut stream).unwrap_err();
    assert_eq!(fault, Fault::new(FaultKind::Unreachable, format!("connection refused (127.0.0.1:{port})")));
    assert_eq!(stream.drive(), Err(fault.clone()));
    assert_eq!(stream.read(&mut Vec::new()), Err(fault.clone()));
    assert_eq!(stream.write(b"x"), Err(fault));
    assert_eq!(stream.interest(), None);
}

#[test]
fn bytes_travel_both_ways_and_the_end_is_seen_after_them() {
    let (mut stream, mut peer) = pair();
    let mut bytes = Vec::new();
    assert_eq!(stream.read(&mut bytes), Ok(Read::Empty));
    assert_eq!(stream.write(b"PING\r\n"), Ok(6));
    let mut heard = [0; 6];
    peer.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"PING\r\n");

    peer.write_all(b"+PONG\r\n").unwrap();
    drop(peer);
    assert!(wait(&stream, PATIENCE));
    bytes.extend_from_slice(b"before ");
    assert_eq!(stream.read(&mut bytes), Ok(Read::Data { more: false }));
    assert_eq!(bytes, b"before +PONG\r\n");
    assert!(wait(&stream, PATIENCE));
    assert_eq!(stream.read(&mut bytes), Ok(Read::Eof));
}

#[test]
fn a_read_is_bounded_and_says_that_there_is_more() {
    let (mut stream, mut peer) = pair();
    peer.write_all(&vec![7; READ_MAX_BYTES + 1]).unwrap();
    let mut bytes = Vec::new();
    let start = Instant::now();
    let mut reads = Vec::new();
    while bytes.len() <= READ_MAX_BYTES && start.elapsed() < PATIENCE {
        match stream.read(&mut bytes).unwrap() {
            Read::Empty => drop(wait(&stream, PATIENCE)),
            read => reads.push((read, bytes.len())),
        }
    }
    assert_eq!(bytes.len(), READ_MAX_BYTES + 1);
    for (read, total) in reads {
        assert_eq!(read == Read::Data { more: true }, total == READ_MAX_BYTES, "{read:?} at {total}");
    }
}

#[test]
fn a_full_buffer_takes_a_part_then_nothing_then_the_rest() {
    let (mut stream, mut peer) = pair();
    let bytes = vec![1u8; 1 << 20];
    let mut sent = 0;
    loop {
        match stream.write(&bytes).unwrap() {
            0 => break,
            taken => sent += taken,
        }
    }
    assert_eq!(stream.write(&bytes), Ok(0));
    assert!(!wait_writable(&stream, Duration::from_millis(50)));
    let mut heard = vec![0; sent];
    peer.read_exact(&mut heard).unwrap();
    assert!(wait_writable(&stream, PATIENCE));
    assert!(stream.write(&bytes).unwrap() > 0);
}

fn wait_writable(stream: &Stream, limit: Duration) -> bool {
    let fd = stream.interest().unwrap().0;
    let mut fds = [PollFd::new(fd, Interest::WRITE)];
    poll(&mut fds, Some(limit.as_nanos() as u64)).unwrap() == Polled::Ready(1) && fds[0].is_writable()
}

#[test]
fn a_reset_by_the_peer_is_a_fault_and_writing_after_it_raises_no_sigpipe() {
    let (mut stream, peer) = pair();
    // Unread bytes turn the peer's close into a reset (RFC 2525 §2.17).
    stream.write(b"unread").unwrap();
    let mut probe = [0; 1];
    peer.peek(&mut probe).unwrap();
    drop(peer);
    assert!(wait(&stream, PATIENCE));
    let fault = stream.read(&mut Vec::new()).unwrap_err();
    assert_eq!(fault, Fault::new(FaultKind::Unreachable, "connection reset by peer"));
    // Rust's runtime ignores SIGPIPE; the default action would end this process.
    // SAFETY: sets a disposition that no other test here depends on.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let fault = stream.write(b"x").unwrap_err();
    assert_eq!(fault, Fault::new(FaultKind::Unreachable, "broken pipe"));
}

#[test]
fn a_listener_that_never_accepts_leaves_an_open_silent_connection() {
    let (_listener, port) = listener();
    let mut stream = open(&endpoint("127.0.0.1", port));
    assert_eq!(stream.write(b"PING\r\n"), Ok(6));
    assert!(!wait(&stream, Duration::from_millis(50)));
    assert_eq!(stream.read(&mut Vec::new()), Ok(Read::Empty));
}

#[test]
fn a_connect_that_nobody_answers_stays_pending_and_can_be_abandoned() {
    let (listener, port) = listener();
    // SAFETY: makes the queue of a listening socket as short as it gets.
    unsafe { libc::listen(listener.as_raw_fd(), 0) };
    let endpoint = endpoint("127.0.0.1", port);
    let mut streams: Vec<Stream> = (0..4).map(|_| Stream::dial(&endpoint)).collect();
    std::thread::sleep(Duration::from_millis(100));
    let last = streams.last_mut().unwrap();
    assert_eq!(last.drive(), Ok(Progress::Pending));
    assert_eq!(last.stage(), "connecting");
    assert_eq!(last.write(b"early"), Ok(0));
    last.abandon();
    assert_eq!(last.interest(), None);
    assert!(last.drive().is_err());
}

#[test]
fn unix_sockets_work_and_say_what_is_wrong_with_their_path() {
    let path = temporary_path("unix.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut stream = open(&unix_endpoint(&path));
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.write_all(b"+OK\r\n").unwrap();
    assert!(wait(&stream, PATIENCE));
    let mut bytes = Vec::new();
    assert_eq!(stream.read(&mut bytes), Ok(Read::Data { more: false }));
    assert_eq!(bytes, b"+OK\r\n");

    let duplicate = duplicate(stream.interest().unwrap().0);
    stream.abandon();
    assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0, "the peer sees the end although a duplicate is open");
    drop(duplicate);
    std::fs::remove_file(&path).unwrap();

    let fault = settle(&mut Stream::dial(&unix_endpoint(&path))).unwrap_err();
    assert_eq!(&*fault.text, format!("no such file or directory ({})", path.display()));
    let fault = settle(&mut Stream::dial(&unix_endpoint(Path::new(&"x".repeat(108))))).unwrap_err();
    assert!(fault.text.starts_with("file name too long"), "{}", fault.text);
}

#[test]
fn abandoning_ends_the_connection_although_a_forked_child_would_hold_a_duplicate() {
    let (mut stream, mut peer) = pair();
    let duplicate = duplicate(stream.interest().unwrap().0);
    stream.abandon();
    let error = peer.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    drop(duplicate);
}

#[test]
fn dropping_only_closes_so_that_a_duplicate_keeps_the_connection() {
    let (stream, mut peer) = pair();
    let duplicate = duplicate(stream.interest().unwrap().0);
    drop(stream);
    peer.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let error = peer.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    drop(duplicate);
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
}

fn duplicate(fd: RawFd) -> OwnedFd {
    // SAFETY: the result is a new descriptor, checked before it is owned.
    unsafe {
        let duplicate = libc::dup(fd);
        assert!(duplicate >= 0);
        OwnedFd::from_raw_fd(duplicate)
    }
}

#[test]
fn a_host_name_is_resolved_without_blocking() {
    let (listener, port) = listener();
    let mut stream = Stream::dial(&endpoint("localhost", port));
    assert_eq!(stream.stage(), "resolving the host name");
    settle(&mut stream).unwrap();
    listener.accept().unwrap();
}

#[test]
fn an_unresolvable_name_ends_in_a_fault() {
    let mut stream = Stream::dial(&endpoint("name.invalid", 6379));
    let fault = settle(&mut stream).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable);
    assert!(fault.text.starts_with("cannot resolve host: "), "{}", fault.text);
    assert!(fault.text.ends_with(" (name.invalid)"), "{}", fault.text);
}

#[test]
fn a_stream_dropped_while_resolving_blocks_nobody() {
    let endpoint = endpoint("name.invalid", 6379);
    let start = Instant::now();
    for _ in 0..50 {
        let mut stream = Stream::dial(&endpoint);
        let _ = stream.drive();
        stream.abandon();
    }
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_descriptor_once_told_stays_open_for_epoll_until_the_next_drive() {
    let (_guard, port) = closed_port();
    for host in ["127.0.0.1", "localhost"] {
        let set = Epoll::new().unwrap();
        let mut stream = Stream::dial(&endpoint(host, port));
        let mut watched = stream.interest().map(|(fd, interest)| (fd, set.add(fd, interest).unwrap()).0);
        let start = Instant::now();
        while watched.is_some() {
            assert!(start.elapsed() < PATIENCE);
            poll(&mut [PollFd::new(set.fd(), Interest::READ)], Some(1_000_000_000)).unwrap();
            // The resolver's thread has let go of its share of the descriptor by then.
            std::thread::sleep(Duration::from_millis(50));
            let _ = stream.drive();
            let next = stream.interest().map(|(fd, _)| fd);
            if next != watched {
                set.delete(watched.take().unwrap()).expect("the old descriptor is still open");
                watched = next.inspect(|fd| set.add(*fd, Interest::BOTH).unwrap());
            }
        }
        assert!(stream.drive().is_err());
    }
}

#[test]
fn a_dial_of_a_closed_port_never_connects_to_itself() {
    // Linux walks through the even ephemeral ports as source ports first, so that so many dials draw the dialled one.
    const DIALS: usize = 40_000;
    let (guard, port) = closed_port();
    drop(guard);
    let endpoint = endpoint("127.0.0.1", port & !1);
    for _ in 0..DIALS {
        let mut stream = Stream::dial(&endpoint);
        if settle(&mut stream).is_ok() {
            // Another test may have got the port to listen on; that is no failure.
            let socket = TcpStream::from(duplicate(stream.interest().unwrap().0));
            assert_ne!(socket.local_addr().ok(), socket.peer_addr().ok());
        }
    }
}

/// Runs the calling test in a process of its own, with its own descriptors, under a limit of so many; true: this is
/// that process.
fn alone_with_descriptors(limit: libc::rlim_t, test: &str) -> bool {
    const ALONE: &str = "REDLOCK_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        let test = format!("stream::{test}");
        assert!(again.args([test.as_str(), "--exact", "--nocapture"]).env(ALONE, "1").status().unwrap().success());
        return false;
    }
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: a valid limit, only read.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    true
}

#[test]
fn running_out_of_descriptors_is_a_fault_with_words() {
    if !alone_with_descriptors(3, "running_out_of_descriptors_is_a_fault_with_words") {
        return;
    }
    for (host, who) in [("127.0.0.1", "127.0.0.1:6379"), ("localhost", "localhost")] {
        let fault = Stream::dial(&endpoint(host, 6379)).drive().unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unreachable);
        assert!(fault.text.contains("too many open files") && fault.text.contains(who), "{}", fault.text);
    }
}

#[test]
fn descriptors_above_1024_are_ordinary() {
    if !alone_with_descriptors(1_200, "descriptors_above_1024_are_ordinary") {
        return;
    }
    let (listener, port) = listener();
    let held: Vec<OwnedFd> = (0..1_100).map(|_| duplicate(listener.as_raw_fd())).collect();
    let mut stream = open(&endpoint("127.0.0.1", port));
    assert!(stream.interest().unwrap().0 > 1_024);
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(b"+OK\r\n").unwrap();
    assert!(wait(&stream, PATIENCE));
    assert_eq!(stream.read(&mut Vec::new()), Ok(Read::Data { more: false }));
    drop(held);
}

#[cfg(not(feature = "tls"))]
#[test]
fn without_the_feature_a_tls_endpoint_is_a_permanent_fault() {
    use redlock::net::tls::{TlsContext, TlsOptions};
    let context = Arc::new(TlsContext::new(TlsOptions::default()));
    let address = Address::Tcp { host: "127.0.0.1".into(), port: 6379 };
    let fault = Stream::dial(&Arc::new(Endpoint::new(address, Some(context)))).drive().unwrap_err();
    assert_eq!(fault, Fault::new(FaultKind::Permanent, "TLS: this library was built without TLS"));
}
