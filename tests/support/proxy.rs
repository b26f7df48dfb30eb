//! A TCP proxy in front of a real server: delays, holds, drops and resets what passes, in each direction by itself.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::wait_for;

/// A direction that holds this much reads no more, so that its sender feels back-pressure.
const MAX_HELD_BYTES: usize = 16 << 20;
/// How soon a new setting is seen by a direction in which nothing passes.
const TICK: Duration = Duration::from_millis(5);

/// What one direction does with bytes.
#[derive(Default)]
struct Direction {
    delay_us: AtomicU64,
    is_held: AtomicBool,
    is_dropped: AtomicBool,
    drops_pushes: AtomicBool,
    hates: Mutex<Vec<&'static str>>,
    bytes: AtomicU64,
    dropped_bytes: AtomicU64,
    injected: Mutex<Injected>,
}

/// Bytes from nowhere, numbered so that every connection sends each lot once.
#[derive(Default)]
struct Injected {
    serial: u64,
    bytes: Vec<u8>,
}

impl Direction {
    /// Whether one of the hated commands is in what arrived. Those of a handshake arrive in one piece.
    fn hates(&self, arrived: &[u8]) -> bool {
        let hates = self.hates.lock().unwrap_or_else(PoisonError::into_inner);
        hates.iter().any(|command| {
            let word = format!("*\r\n{command}\r\n");
            arrived.windows(word.len() - 1).any(|part| part == &word.as_bytes()[1..])
        })
    }
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    is_refusing: AtomicBool,
    resets: AtomicU64,
    hang_ups: AtomicU64,
    open: AtomicUsize,
    accepted: AtomicU64,
    to_server: Direction,
    to_client: Direction,
}

pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a port of its own and connects to 127.0.0.1:`server_port` for each client.
    pub fn to(server_port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let port = listener.local_addr().expect("a bound socket").port();
        let shared = Arc::<Shared>::default();
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, server_port, &shared))
        };
        Proxy { port, shared, acceptor: Some(acceptor) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Adds this to each direction: a round trip takes twice as long. 0 ends it.
    pub fn delay(&self, ms: u64) {
        self.delay_to_server(ms);
        self.delay_to_client(ms);
    }

    pub fn delay_to_server(&self, ms: u64) {
        self.shared.to_server.delay_us.store(ms * 1000, SeqCst);
    }

    pub fn delay_to_client(&self, ms: u64) {
        self.shared.to_client.delay_us.store(ms * 1000, SeqCst);
    }

    /// Keeps what clients send until [`Proxy::release`], also when the client has closed by then, as a network may.
    pub fn hold_to_server(&self) {
        self.shared.to_server.is_held.store(true, SeqCst);
    }

    /// Keeps what the server answers until [`Proxy::release`].
    pub fn hold_to_client(&self) {
        self.shared.to_client.is_held.store(true, SeqCst);
    }

    /// Throws away what clients send from now on, with the connection left open. Ended by [`Proxy::release`].
    pub fn drop_to_server(&self) {
        self.shared.to_server.is_dropped.store(true, SeqCst);
    }

    /// Throws away what the server answers from now on. Ended by [`Proxy::release`].
    pub fn drop_to_client(&self) {
        self.shared.to_client.is_dropped.store(true, SeqCst);
    }

    /// Resets a connection over which one of these commands comes, as some proxies do with commands they do not know.
    pub fn close_over(&self, commands: &[&'static str]) {
        *self.shared.to_server.hates.lock().unwrap_or_else(PoisonError::into_inner) = commands.to_vec();
    }

    /// Takes the invalidation pushes out of what the server says; all replies pass.
    pub fn drop_pushes(&self) {
        self.shared.to_client.drops_pushes.store(true, SeqCst);
    }

    /// Ends holds and drops; what was held is delivered in order. Delays stay.
    pub fn release(&self) {
        for direction in [&self.shared.to_server, &self.shared.to_client] {
            direction.is_dropped.store(false, SeqCst);
            direction.is_held.store(false, SeqCst);
        }
    }

    /// Sends these bytes to every client that is connected, as if the server had.
    pub fn inject_to_client(&self, bytes: &[u8]) {
        inject(&self.shared.to_client, bytes);
    }

    /// Sends these bytes to the server over every connection, as if the client had.
    pub fn inject_to_server(&self, bytes: &[u8]) {
        inject(&self.shared.to_server, bytes);
    }

    /// Has the server execute a command on every connection as if the client had sent it, and keeps the answer, which
    /// must be `answer`, from the client. For connections on which nothing is under way: all that comes meanwhile is
    /// thrown away.
    pub fn execute_unseen(&self, command: &[u8], answer: &[u8]) {
        let dropped_bytes = || self.shared.to_client.dropped_bytes.load(SeqCst);
        let all = dropped_bytes() + (self.open() * answer.len()) as u64;
        self.drop_to_client();
        self.inject_to_server(command);
        assert!(wait_for(Duration::from_secs(5), || dropped_bytes() >= all), "no answer");
        self.shared.to_client.is_dropped.store(false, SeqCst);
    }

    /// Resets (RST) every connection on both sides; what was held is lost. They are gone when this returns.
    pub fn reset_all(&self) {
        let old = self.shared.open.load(SeqCst);
        let accepted = self.shared.accepted.load(SeqCst);
        self.shared.resets.fetch_add(1, SeqCst);
        // A client may already have come back: wait for as many ends as there were connections.
        let gone = || self.shared.open.load(SeqCst) <= (self.shared.accepted.load(SeqCst) - accepted) as usize;
        assert!(wait_for(Duration::from_secs(2), gone), "{old} connections do not end");
    }

    /// Ends every connection towards its client alone (FIN): what is on its way to the server still arrives there.
    pub fn hang_up(&self) {
        self.shared.hang_ups.fetch_add(1, SeqCst);
    }

    /// Resets new connections as soon as they are accepted, until set to false.
    pub fn refuse_new(&self, is_refusing: bool) {
        self.shared.is_refusing.store(is_refusing, SeqCst);
    }

    /// How many connections are open now.
    pub fn open(&self) -> usize {
        self.shared.open.load(SeqCst)
    }

    /// How many connections it ever accepted.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(SeqCst)
    }

    /// How many bytes reached the server.
    pub fn bytes_to_server(&self) -> u64 {
        self.shared.to_server.bytes.load(SeqCst)
    }

    pub fn bytes_to_client(&self) -> u64 {
        self.shared.to_client.bytes.load(SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn inject(direction: &Direction, bytes: &[u8]) {
    let mut injected = direction.injected.lock().unwrap_or_else(PoisonError::into_inner);
    injected.serial += 1;
    injected.bytes = bytes.to_vec();
}

fn accept(listener: &TcpListener, server_port: u16, shared: &Arc<Shared>) {
    let mut pairs: Vec<JoinHandle<()>> = Vec::new();
    for client in listener.incoming() {
        if shared.ended.load(SeqCst) {
            break;
        }
        let Ok(client) = client else { continue };
        pairs.retain(|pair| !pair.is_finished());
        let server = TcpStream::connect(("127.0.0.1", server_port));
        let (false, Ok(server)) = (shared.is_refusing.load(SeqCst), server) else {
            linger_zero(&client);
            continue;
        };
        shared.accepted.fetch_add(1, SeqCst);
        shared.open.fetch_add(1, SeqCst);
        let shared = Arc::clone(shared);
        pairs.push(thread::spawn(move || {
            carry(&client, &server, &shared);
            drop((client, server));
            shared.open.fetch_sub(1, SeqCst);
        }));
    }
    for pair in pairs {
        let _ = pair.join();
    }
}

/// Both directions of one connection, until both have ended or everything is reset.
fn carry(client: &TcpStream, server: &TcpStream, shared: &Shared) {
    for stream in [client, server] {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_nonblocking(true);
    }
    let (resets, hang_ups) = (shared.resets.load(SeqCst), shared.hang_ups.load(SeqCst));
    thread::scope(|scope| {
        let there = scope.spawn(|| pump(client, server, &shared.to_server, || shared.is_over(resets)));
        let back = pump(server, client, &shared.to_client, || {
            let hung_up = (shared.hang_ups.load(SeqCst) != hang_ups).then_some(Ending::Closed);
            shared.is_over(resets).or(hung_up)
        });
        let there = there.join().unwrap_or(Ending::Reset);
        if matches!((there, back), (Ending::Reset, _) | (_, Ending::Reset)) {
            linger_zero(client);
            linger_zero(server);
        }
    });
}

enum Ending {
    /// The sender closed, and everything it sent was delivered; or it is made to look so.
    Closed,
    Reset,
}

impl Shared {
    /// Whether connections that were made before this reset are over.
    fn is_over(&self, resets: u64) -> Option<Ending> {
        (self.ended.load(SeqCst) || self.resets.load(SeqCst) != resets).then_some(Ending::Reset)
    }
}

fn pump(
    mut from: &TcpStream,
    mut to: &TcpStream,
    direction: &Direction,
    is_over: impl Fn() -> Option<Ending>,
) -> Ending {
    let mut held: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut held_bytes = 0;
    let mut ending = None;
    let mut seen = direction.injected.lock().unwrap_or_else(PoisonError::into_inner).serial;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if let Some(ending) = is_over() {
            if matches!(ending, Ending::Closed) {
                let _ = to.shutdown(Shutdown::Write);
            }
            return ending;
        }
        if ending.is_none() && held_bytes < MAX_HELD_BYTES {
            match from.read(&mut buffer) {
                Ok(0) => ending = Some(Ending::Closed),
                Ok(count) if direction.hates(&buffer[..count]) => {
                    for stream in [from, to] {
                        let _ = stream.shutdown(Shutdown::Both);
                    }
                    return Ending::Reset;
                }
                Ok(count) if !direction.is_dropped.load(SeqCst) => {
                    let due = Instant::now() + Duration::from_micros(direction.delay_us.load(SeqCst));
                    let mut bytes = buffer[..count].to_vec();
                    if direction.drops_pushes.load(SeqCst) {
                        cut_pushes(&mut bytes);
                    }
                    held_bytes += bytes.len();
                    if !bytes.is_empty() {
                        held.push_back((due, bytes));
                    }
                }
                Ok(count) => drop(direction.dropped_bytes.fetch_add(count as u64, SeqCst)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(_) => ending = Some(Ending::Reset),
            }
        }
        {
            let injected = direction.injected.lock().unwrap_or_else(PoisonError::into_inner);
            if injected.serial != seen {
                seen = injected.serial;
                held_bytes += injected.bytes.len();
                held.push_back((Instant::now(), injected.bytes.clone()));
            }
        }
        let is_held = direction.is_held.load(SeqCst);
        let now = Instant::now();
        while let Some((due, bytes)) = held.front_mut()
            && !is_held
            && *due <= now
        {
            match to.write(bytes) {
                Ok(count) => {
                    direction.bytes.fetch_add(count as u64, SeqCst);
                    held_bytes -= count;
                    bytes.drain(..count);
                    if bytes.is_empty() {
                        held.pop_front();
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => break,
                Err(_) => return Ending::Reset,
            }
        }
        if held.is_empty()
            && let Some(ending) = ending.take()
        {
            if matches!(ending, Ending::Closed) {
                let _ = to.shutdown(Shutdown::Write);
            }
            return ending;
        }
        let due = held.front().map(|(due, _)| due.saturating_duration_since(Instant::now()));
        let blocked = due == Some(Duration::ZERO) && !is_held;
        let wait = due.filter(|_| !is_held && !blocked).unwrap_or(TICK).min(TICK);
        let reads = ending.is_none() && held_bytes < MAX_HELD_BYTES;
        poll(from, reads, to, blocked, wait);
    }
}

/// Removes every complete invalidation of one key. Servers write them whole, and no token looks like one.
fn cut_pushes(bytes: &mut Vec<u8>) {
    const HEAD: &[u8] = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$";
    while let Some(at) = bytes.windows(HEAD.len()).position(|window| window == HEAD) {
        let rest = &bytes[at + HEAD.len()..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let length: usize = std::str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let end = (at + HEAD.len() + digits + 2 + length + 2).min(bytes.len());
        bytes.drain(at..end);
    }
}

/// Waits until there is something to read or room to write, at most `wait`.
fn poll(from: &TcpStream, reads: bool, to: &TcpStream, writes: bool, wait: Duration) {
    // A negative descriptor is ignored by poll(2).
    let fd = |stream: &TcpStream, wanted: bool| if wanted { stream.as_raw_fd() } else { -1 };
    let mut fds = [
        libc::pollfd { fd: fd(from, reads), events: libc::POLLIN, revents: 0 },
        libc::pollfd { fd: fd(to, writes), events: libc::POLLOUT, revents: 0 },
    ];
    let timeout = libc::timespec { tv_sec: 0, tv_nsec: wait.as_nanos().min(999_999_999) as libc::c_long };
    // SAFETY: both descriptors are open for as long as the borrowed streams, the array has two elements.
    unsafe { libc::ppoll(fds.as_mut_ptr(), 2, &timeout, std::ptr::null()) };
}

/// Makes the coming close send RST instead of FIN.
fn linger_zero(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of_val(&linger) as libc::socklen_t;
    // SAFETY: the option value is a linger structure of that size.
    unsafe {
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size)
    };
}
