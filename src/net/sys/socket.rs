//! Non-blocking stream sockets.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Interest, PollFd, Polled, checked, checked_len, poll};

/// An idle connection is probed after this long, so that middleboxes keep it and a vanished peer is noticed.
const KEEPALIVE_IDLE_S: libc::c_int = 30;
/// Seconds between probes.
const KEEPALIVE_INTERVAL_S: libc::c_int = 10;
/// Probes without an answer before the connection is dead.
const KEEPALIVE_PROBES: libc::c_int = 3;
/// Unacknowledged data kills the connection after this long, as the probes would an idle one. The engine gives up
/// much sooner; this is for connections that nobody looks at.
const USER_TIMEOUT_MS: libc::c_int = (KEEPALIVE_IDLE_S + KEEPALIVE_INTERVAL_S * KEEPALIVE_PROBES) * 1000;

/// A connection to a TCP or unix peer, or one in the making. Dropping it closes the descriptor and no more.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    is_unix: bool,
}

impl Socket {
    /// Begins to connect to a TCP peer; [`is_connected`](Socket::is_connected) tells how it ended.
    pub fn connect_tcp(address: &SocketAddr) -> io::Result<Socket> {
        let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let socket = Socket::new(family)?;
        // A kernel or sandbox that lacks one of these still gives a usable connection.
        for (level, option, value) in [
            (libc::IPPROTO_TCP, libc::TCP_NODELAY, 1),
            (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, KEEPALIVE_IDLE_S),
            (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S),
            (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, KEEPALIVE_PROBES),
            (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, USER_TIMEOUT_MS),
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
        ] {
            socket.set_option(level, option, value);
        }
        match address {
            SocketAddr::V4(v4) => socket.connect(&libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            })?,
            SocketAddr::V6(v6) => socket.connect(&libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            })?,
        }
        Ok(socket)
    }

    /// Connects to the unix socket at `path`. That never takes time: a full queue of the listener is an error.
    pub fn connect_unix(path: &Path) -> io::Result<Socket> {
        // SAFETY: all zeroes is a valid sockaddr_un.
        let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
        address.sun_family = libc::AF_UNIX as libc::sa_family_t;
        let path = path.as_os_str().as_bytes();
        // One byte stays zero: the end of the path.
        if path.len() >= address.sun_path.len() {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        }
        // An empty path or a zero byte would name something else than a file (unix(7)).
        if path.is_empty() || path.contains(&0) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        for (to, from) in address.sun_path.iter_mut().zip(path) {
            *to = *from as libc::c_char;
        }
        let socket = Socket::new(libc::AF_UNIX)?;
        socket.connect(&address)?;
        Ok(socket)
    }

    /// Whether the connect has come to a good end; `Err`: to a bad one.
    pub fn is_connected(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.fd(), Interest::WRITE)];
        if !matches!(poll(&mut fds, Some(0))?, Polled::Ready(1)) {
            return Ok(false);
        }
        self.take_error()?;
        if !self.is_unix && self.is_connected_to_itself()? {
            // An orderly close would keep the port busy for another minute.
            self.disconnect();
            return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
        }
        Ok(true)
    }

    /// Receives into the spare room at the end of `into`, at most `max` bytes; 0 is the end of the stream,
    /// `WouldBlock` that there is nothing yet.
    pub fn receive_append(&self, into: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        into.reserve(max);
        let room = &mut into.spare_capacity_mut()[..max];
        let received = retrying(|| {
            // SAFETY: the kernel writes at most `room.len()` bytes to memory that is exclusively ours.
            unsafe { libc::recv(self.fd(), room.as_mut_ptr().cast(), room.len(), libc::MSG_DONTWAIT) }
        })?;
        // SAFETY: the kernel has initialized so many bytes after the old end, within the reserved capacity.
        unsafe { into.set_len(into.len() + received) };
        Ok(received)
    }

    /// Receives into `into`; 0 is the end of the stream.
    pub fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        retrying(|| {
            // SAFETY: the kernel writes at most `into.len()` bytes to memory that is exclusively ours.
            unsafe { libc::recv(self.fd(), into.as_mut_ptr().cast(), into.len(), libc::MSG_DONTWAIT) }
        })
    }

    /// Sends as much of `bytes` as there is room for; never raises SIGPIPE.
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        retrying(|| {
            // SAFETY: the kernel reads `bytes.len()` bytes of a valid slice.
            unsafe { libc::send(self.fd(), bytes.as_ptr().cast(), bytes.len(), flags) }
        })
    }

    /// Ends the connection itself, not only this descriptor of it: a forked child may hold a duplicate, and closing
    /// (even with a linger of 0) would leave the server believing that we are there until that child is gone.
    ///
    /// On TCP `connect(AF_UNSPEC)` (connect(2)) throws away what was not sent and resets.
    pub fn disconnect(&self) {
        if self.is_unix {
            // SAFETY: no pointers. Not being connected is the only failure.
            unsafe { libc::shutdown(self.fd(), libc::SHUT_RDWR) };
            return;
        }
        let nobody = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
        // SAFETY: a valid address of the given length, only read. Should a sandbox not know this, shutdown comes
        // closest; after a success it fails and does nothing.
        unsafe {
            libc::connect(self.fd(), &nobody, size_of_socklen::<libc::sockaddr>());
            libc::shutdown(self.fd(), libc::SHUT_RDWR);
        }
    }

    /// Ends our side of the connection behind what was written.
    pub fn finish_writing(&self) {
        // SAFETY: no pointers. Not being connected is the only failure.
        unsafe { libc::shutdown(self.fd(), libc::SHUT_WR) };
    }

    /// The descriptor.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    fn new(family: libc::c_int) -> io::Result<Socket> {
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers.
        let fd = checked(unsafe { libc::socket(family, kind, 0) })?;
        // SAFETY: the descriptor is new and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Socket { fd, is_unix: family == libc::AF_UNIX })
    }

    /// `A` is one of libc's sockaddr structures.
    fn connect<A>(&self, address: &A) -> io::Result<()> {
        let address: *const A = address;
        // SAFETY: a valid address of the given length, only read.
        let result = unsafe { libc::connect(self.fd(), address.cast(), size_of_socklen::<A>()) };
        match checked(result) {
            Ok(_) => Ok(()),
            // Interrupted or not, it goes on in the background (connect(2)).
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn set_option(&self, level: libc::c_int, option: libc::c_int, value: libc::c_int) {
        let pointer: *const libc::c_int = &value;
        // SAFETY: the option's value is an int, valid and only read.
        unsafe { libc::setsockopt(self.fd(), level, option, pointer.cast(), size_of_socklen::<libc::c_int>()) };
    }

    fn take_error(&self) -> io::Result<()> {
        let mut error: libc::c_int = 0;
        let mut length = size_of_socklen::<libc::c_int>();
        let pointer: *mut libc::c_int = &mut error;
        // SAFETY: the option's value is an int, and there is room for one.
        checked(unsafe { libc::getsockopt(self.fd(), libc::SOL_SOCKET, libc::SO_ERROR, pointer.cast(), &mut length) })?;
        if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
    }

    /// Dialling a port of this machine on which nobody listens may draw that very port as the source and succeed
    /// (simultaneous open, RFC 9293 §3.5): we would talk to ourselves, and the server could not start.
    fn is_connected_to_itself(&self) -> io::Result<bool> {
        Ok(self.name(libc::getsockname)? == self.name(libc::getpeername)?)
    }

    fn name(&self, ask: NameCall) -> io::Result<Vec<u8>> {
        let mut bytes = [0u8; size_of::<libc::sockaddr_in6>()];
        let mut length = bytes.len() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes into `bytes`, which asks for no alignment from it.
        checked(unsafe { ask(self.fd(), bytes.as_mut_ptr().cast(), &mut length) })?;
        Ok(bytes[..bytes.len().min(length as usize)].to_vec())
    }
}

type NameCall = unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

fn size_of_socklen<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

/// Repeats a call that never sleeps until no signal comes between.
fn retrying(mut call: impl FnMut() -> libc::ssize_t) -> io::Result<usize> {
    loop {
        match checked_len(call()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => return result,
        }
    }
}
