//! One connection to one node, from its name to bytes in both directions. Never blocks, knows no deadline and no protocol.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::core::request::{Fault, FaultKind};

use super::read::{READ_MAX_BYTES, Read};
use super::resolve::{Resolution, Resolved, Resolver};
pub use super::sys::Interest;
use super::sys::Socket;
use super::tls::{TlsContext, TlsSession};
use super::{fault, reason, unreachable_fault};

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A host name or an IP address (IPv6 without brackets), and a port.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// What to dial, and what earlier dials of it have learnt. One per node, for the life of a handle.
#[derive(Debug)]
pub struct Endpoint {
    address: Address,
    tls: Option<Arc<TlsContext>>,
    /// Of the host name, from the first dial on.
    resolver: OnceLock<Resolver>,
    /// Which of the host's addresses the next dial tries first: the one that worked, else the one after the last that
    /// was tried, so that an address that swallows packets costs one dial and not all of them.
    first: AtomicUsize,
}

impl Endpoint {
    /// An endpoint; with TLS if there is a context for it.
    #[must_use]
    pub fn new(address: Address, tls: Option<Arc<TlsContext>>) -> Endpoint {
        Endpoint { address, tls, resolver: OnceLock::new(), first: AtomicUsize::new(0) }
    }

    /// Where the node listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The TLS settings, if it is a TLS endpoint.
    #[must_use]
    pub fn tls(&self) -> Option<&Arc<TlsContext>> {
        self.tls.as_ref()
    }
}

/// How far a dial has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Wait for [`Stream::interest`] and drive again.
    Pending,
    /// Bytes can be exchanged.
    Open,
}

/// One connection, or the making of one.
///
/// A descriptor that [`interest`](Stream::interest) named stays open, even when `drive` has turned to another or
/// failed, until the next call of [`drive`](Stream::drive) or [`abandon`](Stream::abandon), or drop: compare
/// interests after each `drive` and take the old descriptor out of an epoll set.
pub struct Stream {
    endpoint: Arc<Endpoint>,
    state: State,
    /// Position of the address last tried in the resolver's list.
    index: usize,
    /// What the last `drive` has turned away from.
    retired: Vec<Retired>,
    /// The TLS handshake has failed before the peer had said a byte.
    is_unanswered: bool,
}

enum State {
    Resolving(Arc<Resolution>),
    Connecting(Connecting),
    Securing(Socket, Box<TlsSession>),
    Open(Socket, Option<Box<TlsSession>>),
    Failed(Fault),
}

impl State {
    /// Stands in while a transition owns the real state. An empty text allocates nothing.
    fn nowhere() -> State {
        State::Failed(Fault::new(FaultKind::Unreachable, ""))
    }
}

/// A connect under way, and the addresses left for when it fails.
struct Connecting {
    socket: Socket,
    peer: Peer,
    /// With their positions in the resolver's list.
    left: VecDeque<(usize, SocketAddr)>,
}

enum Peer {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Held for its descriptor alone.
enum Retired {
    Socket(Socket),
    Resolution(#[expect(dead_code, reason = "dropping it is its use")] Arc<Resolution>),
}

impl Stream {
    /// Starts to connect. Never blocks and never fails: failure comes out of [`drive`](Stream::drive).
    ///
    /// The first dial with a [`TlsContext`] loads its certificates, unless
    /// [`TlsContext::prepare`] has.
    #[must_use]
    pub fn dial(endpoint: &Arc<Endpoint>) -> Stream {
        let mut stream = Stream {
            endpoint: Arc::clone(endpoint),
            state: State::nowhere(),
            index: 0,
            retired: Vec::new(),
            is_unanswered: false,
        };
        stream.state = stream.begin().unwrap_or_else(State::Failed);
        stream
    }

    /// Takes the next steps: resolve, connect to each address in turn, TLS handshake. After `Open`, read once before
    /// waiting: bytes may have come with the end of the handshake. On an open stream it sends TLS bytes that are left
    /// over from a write; should that fail, what the peer sent before can still be read. A failure on the way to `Open`
    /// is final, and the same each time.
    pub fn drive(&mut self) -> Result<Progress, Fault> {
        self.retired.clear();
        loop {
            let state = std::mem::replace(&mut self.state, State::nowhere());
            let (state, progress) = self.advance(state);
            self.state = state;
            match (&mut self.state, progress) {
                (State::Failed(fault), _) => return Err(fault.clone()),
                (State::Open(socket, Some(session)), Some(Progress::Open)) => {
                    session.flush(socket)?;
                    return Ok(Progress::Open);
                }
                (_, Some(progress)) => return Ok(progress),
                (_, None) => {}
            }
        }
    }

    /// What to wait for: the resolver's notification, then the socket. It can change with every call of
    /// [`drive`](Stream::drive). The caller adds its own wish to write. `None`: the stream has failed.
    #[must_use]
    pub fn interest(&self) -> Option<(RawFd, Interest)> {
        match &self.state {
            State::Resolving(resolution) => Some((resolution.fd(), Interest::READ)),
            State::Connecting(connecting) => Some((connecting.socket.fd(), Interest::WRITE)),
            State::Securing(socket, session) => Some((socket.fd(), reading_and(session.wants_write()))),
            State::Open(socket, session) => {
                let wants_write = session.as_ref().is_some_and(|session| session.wants_write());
                Some((socket.fd(), reading_and(wants_write)))
            }
            State::Failed(_) => None,
        }
    }

    /// Appends what has come, at most [`READ_MAX_BYTES`].
    pub fn read(&mut self, into: &mut Vec<u8>) -> Result<Read, Fault> {
        match &mut self.state {
            State::Open(socket, Some(session)) => session.read(socket, into),
            State::Open(socket, None) => match socket.receive_append(into, READ_MAX_BYTES) {
                Ok(0) => Ok(Read::Eof),
                Ok(received) => Ok(Read::Data { more: received == READ_MAX_BYTES }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Empty),
                Err(error) => Err(unreachable_fault(&reason(&error))),
            },
            State::Failed(fault) => Err(fault.clone()),
            State::Resolving(_) | State::Connecting(_) | State::Securing(..) => Ok(Read::Empty),
        }
    }

    /// Sends as much of `bytes` as there is room for and says how much that was; the rest is the caller's to keep.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        match &mut self.state {
            State::Open(socket, Some(session)) => session.write(socket, bytes),
            State::Open(_, None) if bytes.is_empty() => Ok(0),
            State::Open(socket, None) => match socket.send(bytes) {
                Ok(sent) => Ok(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                Err(error) => Err(unreachable_fault(&reason(&error))),
            },
            State::Failed(fault) => Err(fault.clone()),
            State::Resolving(_) | State::Connecting(_) | State::Securing(..) => Ok(0),
        }
    }

    /// TLS bytes of an earlier write are still unsent: wait until writable, then [`drive`](Stream::drive).
    #[must_use]
    pub fn wants_write(&self) -> bool {
        match &self.state {
            State::Securing(_, session) | State::Open(_, Some(session)) => session.wants_write(),
            _ => false,
        }
    }

    /// What the stream is at, for messages: `connecting`.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        match &self.state {
            State::Resolving(_) => "resolving the host name",
            State::Connecting(_) => "connecting",
            State::Securing(..) => "in the TLS handshake",
            State::Open(..) => "connected",
            State::Failed(_) => "failed",
        }
    }

    /// Whether a TLS handshake has begun of which the peer has not said a byte.
    #[must_use]
    pub fn is_tls_without_an_answer(&self) -> bool {
        match &self.state {
            State::Securing(_, session) => !session.has_heard(),
            _ => self.is_unanswered,
        }
    }

    /// Gives the connection up for good, at the server too, whoever else may hold a duplicate of the descriptor: what
    /// was not sent is thrown away, then the descriptor is closed. Dropping only closes, which is all that a forked
    /// child may do.
    pub fn abandon(&mut self) {
        let given_up = State::Failed(unreachable_fault("connection given up"));
        match std::mem::replace(&mut self.state, given_up) {
            State::Connecting(Connecting { socket, .. }) | State::Securing(socket, _) | State::Open(socket, _) => {
                socket.disconnect();
            }
            State::Failed(fault) => self.state = State::Failed(fault),
            State::Resolving(_) => {}
        }
        for retired in self.retired.drain(..) {
            if let Retired::Socket(socket) = retired {
                socket.disconnect();
            }
        }
    }

    /// Says that nothing more will be written, and closes. What the kernel has taken is still delivered: a stopped
    /// server executes it when it goes on. A duplicate of the descriptor in a forked child does not delay this.
    pub fn finish(&mut self) {
        if let State::Open(socket, _) = &self.state {
            socket.finish_writing();
            self.state = State::Failed(unreachable_fault("connection closed"));
        }
    }

    /// One transition. `None`: another may follow at once.
    fn advance(&mut self, state: State) -> (State, Option<Progress>) {
        match state {
            State::Resolving(resolution) => match resolution.answer() {
                None => (State::Resolving(resolution), Some(Progress::Pending)),
                Some(answer) => {
                    self.endpoint.resolver.get().into_iter().for_each(|resolver| resolver.used(&resolution));
                    self.retired.push(Retired::Resolution(resolution));
                    (answer.map_or_else(State::Failed, |addresses| self.connect_to_any(addresses)), None)
                }
            },
            State::Connecting(Connecting { socket, peer, left }) => match socket.is_connected() {
                Ok(false) => (State::Connecting(Connecting { socket, peer, left }), Some(Progress::Pending)),
                Ok(true) => (self.secure(socket), None),
                Err(error) => {
                    self.retired.push(Retired::Socket(socket));
                    (self.connect_to_next(left, connect_fault(&error, &peer)), None)
                }
            },
            State::Securing(socket, mut session) => match session.handshake(&socket) {
                Ok(false) => (State::Securing(socket, session), Some(Progress::Pending)),
                Ok(true) => (self.open(socket, Some(session)), None),
                Err(fault) => {
                    self.is_unanswered = !session.has_heard();
                    (self.fail(socket, fault), None)
                }
            },
            State::Open(socket, session) => (State::Open(socket, session), Some(Progress::Open)),
            State::Failed(fault) => (State::Failed(fault), None),
        }
    }

    fn begin(&mut self) -> Result<State, Fault> {
        let endpoint = Arc::clone(&self.endpoint);
        if let Some(tls) = &endpoint.tls {
            tls.prepare()?;
        }
        match &endpoint.address {
            Address::Tcp { host, port } => {
                match endpoint.resolver.get_or_init(|| Resolver::new(host, *port)).begin()? {
                    Resolved::Now(addresses) => Ok(self.connect_to_any(addresses)),
                    Resolved::Later(resolution) => Ok(State::Resolving(resolution)),
                }
            }
            Address::Unix(path) => {
                let peer = Peer::Unix(path.clone());
                match Socket::connect_unix(path) {
                    Ok(socket) => Ok(State::Connecting(Connecting { socket, peer, left: VecDeque::new() })),
                    Err(error) => Err(connect_fault(&error, &peer)),
                }
            }
        }
    }

    fn connect_to_any(&mut self, addresses: Vec<SocketAddr>) -> State {
        let mut left: VecDeque<_> = addresses.into_iter().enumerate().collect();
        if !left.is_empty() {
            let first = self.endpoint.first.load(Ordering::Relaxed) % left.len();
            left.rotate_left(first);
        }
        self.connect_to_next(left, unreachable_fault("cannot resolve host: it has no address"))
    }

    /// `fault`: why the attempt before has failed.
    fn connect_to_next(&mut self, mut left: VecDeque<(usize, SocketAddr)>, mut fault: Fault) -> State {
        while let Some((index, address)) = left.pop_front() {
            self.index = index;
            self.endpoint.first.store(index + 1, Ordering::Relaxed);
            let peer = Peer::Tcp(address);
            match Socket::connect_tcp(&address) {
                Ok(socket) => return State::Connecting(Connecting { socket, peer, left }),
                Err(error) => fault = connect_fault(&error, &peer),
            }
        }
        State::Failed(fault)
    }

    fn secure(&mut self, socket: Socket) -> State {
        match (&self.endpoint.tls, &self.endpoint.address) {
            (None, _) => self.open(socket, None),
            (Some(tls), Address::Tcp { host, .. }) => match TlsSession::new(tls, host) {
                Ok(session) => State::Securing(socket, Box::new(session)),
                Err(fault) => self.fail(socket, fault),
            },
            (Some(_), Address::Unix(_)) => {
                self.fail(socket, fault(FaultKind::Permanent, "TLS: a unix socket has no host name to verify"))
            }
        }
    }

    fn open(&mut self, socket: Socket, session: Option<Box<TlsSession>>) -> State {
        self.endpoint.first.store(self.index, Ordering::Relaxed);
        State::Open(socket, session)
    }

    fn fail(&mut self, socket: Socket, fault: Fault) -> State {
        self.retired.push(Retired::Socket(socket));
        State::Failed(fault)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({:?}, {}, {:?})", self.endpoint.address, self.stage(), self.interest())
    }
}

/// `connection refused (127.0.0.1:7003)`. A unix listener whose queue is full says EAGAIN, which reads like a riddle.
fn connect_fault(error: &io::Error, peer: &Peer) -> Fault {
    let reason = match error.kind() {
        io::ErrorKind::WouldBlock => "the listener's queue is full".to_owned(),
        _ => reason(error),
    };
    match peer {
        Peer::Tcp(address) => unreachable_fault(&format!("{reason} ({address})")),
        Peer::Unix(path) => unreachable_fault(&format!("{reason} ({})", path.display())),
    }
}

fn reading_and(write: bool) -> Interest {
    Interest { read: true, write }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::sys::{PollFd, poll};
    use super::*;

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// A dial as it goes on once the name has been resolved.
    fn resolved(endpoint: &Arc<Endpoint>, addresses: &[SocketAddr]) -> Stream {
        let mut stream = Stream {
            endpoint: Arc::clone(endpoint),
            state: State::nowhere(),
            index: 0,
            retired: Vec::new(),
            is_unanswered: false,
        };
        stream.state = stream.connect_to_any(addresses.to_vec());
        stream
    }

    fn endpoint() -> Arc<Endpoint> {
        Arc::new(Endpoint::new(Address::Tcp { host: "node.example".into(), port: 1 }, None))
    }

    fn settle(stream: &mut Stream) -> Result<(), Fault> {
        while stream.drive()? == Progress::Pending {
            let (fd, interest) = stream.interest().unwrap();
            poll(&mut [PollFd::new(fd, interest)], Some(20_000_000_000)).unwrap();
        }
        Ok(())
    }

    fn peer(stream: &Stream) -> SocketAddr {
        match &stream.state {
            State::Connecting(Connecting { peer: Peer::Tcp(address), .. }) => *address,
            _ => panic!("{stream:?} is not connecting"),
        }
    }

    #[test]
    fn the_next_address_is_tried_when_one_refuses_and_the_last_refusal_is_told() {
        let (listener, open) = listener();
        let closed: SocketAddr = "127.0.0.1:1".parse().unwrap();
        settle(&mut resolved(&endpoint(), &[closed, closed, open])).unwrap();
        listener.accept().unwrap();
        let fault = settle(&mut resolved(&endpoint(), &[closed, closed])).unwrap_err();
        assert_eq!(&*fault.text, "connection refused (127.0.0.1:1)");
        assert!(settle(&mut resolved(&endpoint(), &[])).is_err());
    }

    #[test]
    fn an_address_that_swallows_packets_costs_one_dial_and_one_that_works_is_kept() {
        let ((_first_listener, first), (_second_listener, second)) = (listener(), listener());
        let endpoint = endpoint();
        // Given up before it was known to be open.
        assert_eq!(peer(&resolved(&endpoint, &[first, second])), first);
        let mut stream = resolved(&endpoint, &[first, second]);
        assert_eq!(peer(&stream), second);
        settle(&mut stream).unwrap();
        assert_eq!(peer(&resolved(&endpoint, &[first, second])), second);
        assert_eq!(peer(&resolved(&endpoint, &[first, second])), first);
    }
}
