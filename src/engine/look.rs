//! A second look at a port that took a connection and said nothing: what does it speak?
//!
//! A TLS server drops who does not begin with TLS without a word, and a plain one waits for the end of a line that a TLS
//! client never sends. So the other protocol is tried once, without credentials.

use std::os::fd::RawFd;
use std::sync::Arc;

use crate::core::request::{Fault, FaultKind};
use crate::net::read::Read;
use crate::net::stream::{Endpoint, Progress, Stream};
use crate::net::sys::Interest;
use crate::redis::foreign;

/// A minimal `ClientHello` of TLS 1.2 (RFC 5246 §7.4.1.2): a server that speaks TLS answers it, be it with an alert.
///
/// Record: handshake, TLS 1.0, 49 bytes. Message: ClientHello, 45 bytes, TLS 1.2, 32 bytes of random, no session, three
/// cipher suites, no compression. The line ends, so that a plain server answers as well.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\x31\x01\x00\x00\x2d\x03\x03\
    a second look, for who is there?\x00\x00\x06\xc0\x2f\xc0\x2b\x00\x9c\x01\x00\r\n";

/// One such look.
pub(super) struct Look {
    stream: Stream,
    /// The URL wants TLS, and what is tried here is plain.
    wants_tls: bool,
    asked: usize,
    heard: Vec<u8>,
}

impl Look {
    /// Dials the port with the protocol that was not tried.
    pub(super) fn begin(endpoint: &Endpoint) -> Look {
        let plain = Arc::new(Endpoint::new(endpoint.address().clone(), None));
        Look { stream: Stream::dial(&plain), wants_tls: endpoint.tls().is_some(), asked: 0, heard: Vec::new() }
    }

    fn question(&self) -> &'static [u8] {
        if self.wants_tls { b"PING\r\n" } else { CLIENT_HELLO }
    }

    /// Goes on. `Some`: it is over, with what was found out, if anything was.
    pub(super) fn advance(&mut self) -> Option<Option<Fault>> {
        match self.step() {
            Ok(false) => None,
            Ok(true) => Some(foreign::recognise(&self.heard, self.wants_tls).map(permanent)),
            Err(_) => Some(None),
        }
    }

    /// True: something was heard, or the peer has left.
    fn step(&mut self) -> Result<bool, Fault> {
        if self.stream.drive()? == Progress::Pending {
            return Ok(false);
        }
        while let question @ [_, ..] = &self.question()[self.asked..] {
            match self.stream.write(question)? {
                0 => return Ok(false),
                count => self.asked += count,
            }
        }
        Ok(match self.stream.read(&mut self.heard)? {
            Read::Empty => false,
            Read::Data { .. } => self.heard.len() >= foreign::BYTES_NEEDED,
            Read::Eof => true,
        })
    }

    /// What to poll for.
    pub(super) fn interest(&self) -> Option<(RawFd, Interest)> {
        let (fd, interest) = self.stream.interest()?;
        let is_open = self.stream.stage() == "connected";
        let is_asking = is_open && self.asked < self.question().len();
        Some((fd, if is_asking { Interest::BOTH } else { interest }))
    }

    pub(super) fn abandon(&mut self) {
        self.stream.abandon();
    }
}

fn permanent(what: &'static str) -> Fault {
    Fault::new(FaultKind::Permanent, what)
}
