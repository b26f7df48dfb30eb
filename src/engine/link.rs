//! The connection to one node over its whole life: dialling, handshake, exchange of bytes, rest, and again.

use std::os::fd::RawFd;
use std::sync::Arc;

use crate::core::redial::Redial;
use crate::core::request::{Fault, FaultKind, Request, ServerInfo};
use crate::core::time::{NS_PER_MS, Now};
use crate::net::read::Read;
use crate::net::stream::{Endpoint, Progress, Stream};
use crate::net::sys::{Epoll, Inherited, Interest};
use crate::redis::command::Encoder;
use crate::redis::dialect::Dialect;
use crate::redis::foreign;
use crate::redis::frame::Cutter;
use crate::redis::handshake::{Handshake, Identity, Login, Steps};

use super::acquaintance::Acquaintance;
use super::look::Look;

/// Most bytes that wait to be sent to one node. A node that takes none for so long is given up.
const OUTGOING_BYTES_MAX: usize = 64 << 20;

/// A second look at a port is given at least this time.
const LOOK_MIN_NS: u64 = 20 * NS_PER_MS;

/// So many releases may be under way on one connection when the server refuses the first for its command.
const REFUSED_REPLACEMENTS_MAX: usize = 65_536;

/// Buffers larger than this are given back to the allocator once they are empty.
const BUFFER_KEPT_BYTES: usize = 64 * 1024;

/// What became of the connection.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// A connection is being made.
    Dialing,
    /// It is ready for requests.
    Up(ServerInfo),
    /// It is gone, or could not be made.
    Down(Fault),
}

enum Phase {
    Resting {
        until_mono_ns: u64,
    },
    Dialing {
        stream: Stream,
        since_mono_ns: u64,
    },
    Greeting {
        stream: Stream,
        handshake: Box<Handshake>,
        since_mono_ns: u64,
    },
    /// The dial has failed; before that is told, another protocol is tried.
    Looking {
        look: Box<Look>,
        failure: Failure,
        until_mono_ns: u64,
    },
    Ready {
        stream: Stream,
        dialect: Dialect,
        identity: Option<Identity>,
    },
}

/// Why a dial failed, and over which command, of those that could be left out.
struct Failure {
    fault: Fault,
    command: Option<&'static str>,
    family: Option<Steps>,
}

/// The connection to one node.
pub(crate) struct Link {
    endpoint: Arc<Endpoint>,
    login: Login,
    connect_timeout_ns: u64,
    phase: Phase,
    outgoing: Vec<u8>,
    sent: usize,
    /// The kernel did not take everything at the last flush.
    is_blocked: bool,
    incoming: Vec<u8>,
    consumed: usize,
    cutter: Cutter,
    /// A connection that we gave up and that the server may still have.
    abandoned: Option<Identity>,
    redial: Redial,
    acquaintance: Acquaintance,
    /// Releases on this connection that were refused for their command.
    refused_replacements: usize,
    poll_set: u64,
    /// What the event loop's epoll set knows of this connection.
    registration: Option<(RawFd, Interest)>,
    epoll: Option<Arc<Epoll>>,
    /// For a forked child, which has to close it without touching the rest.
    descriptor: Arc<Inherited>,
}

impl Link {
    pub(crate) fn new(endpoint: Endpoint, login: Login, connect_timeout_ms: u64) -> Link {
        Link {
            endpoint: Arc::new(endpoint),
            login,
            connect_timeout_ns: connect_timeout_ms.saturating_mul(NS_PER_MS),
            phase: Phase::Resting { until_mono_ns: 0 },
            outgoing: Vec::new(),
            sent: 0,
            is_blocked: false,
            incoming: Vec::new(),
            consumed: 0,
            cutter: Cutter::new(),
            abandoned: None,
            redial: Redial::default(),
            acquaintance: Acquaintance::default(),
            refused_replacements: 0,
            poll_set: 0,
            registration: None,
            epoll: None,
            descriptor: Arc::default(),
        }
    }

    /// Where a forked child finds the descriptor of the connection.
    pub(crate) fn descriptor(&self) -> &Arc<Inherited> {
        &self.descriptor
    }

    /// Takes the next step that needs no waiting. `None`: there is none.
    pub(crate) fn advance(&mut self, now: Now) -> Option<LinkEvent> {
        let connect_timeout_ns = self.connect_timeout_ns;
        let is_overdue = |since_mono_ns: u64| now.mono_ns >= since_mono_ns.saturating_add(connect_timeout_ns);
        match &mut self.phase {
            Phase::Resting { until_mono_ns } if now.mono_ns < *until_mono_ns => None,
            Phase::Resting { .. } => {
                let stream = Stream::dial(&self.endpoint);
                self.redial.dialled(now);
                self.enter(Phase::Dialing { stream, since_mono_ns: now.mono_ns });
                Some(LinkEvent::Dialing)
            }
            Phase::Dialing { stream, since_mono_ns } => {
                let stage = stream.stage();
                let (interest, since_mono_ns) = (stream.interest(), *since_mono_ns);
                // It may try one address after another.
                self.descriptor.set(None);
                let driven = stream.drive();
                self.descriptor.set(stream.interest().map(|(fd, _)| fd));
                match driven {
                    Ok(Progress::Open) => self.greet(now, since_mono_ns),
                    Ok(Progress::Pending) if is_overdue(since_mono_ns) => {
                        self.fail(now, too_slow(connect_timeout_ns, stage))
                    }
                    Ok(Progress::Pending) => {
                        if stream.interest() != interest {
                            self.poll_set += 1;
                            self.unregister();
                        }
                        None
                    }
                    Err(fault) => self.fail(now, fault),
                }
            }
            Phase::Greeting { since_mono_ns, .. } => {
                let fault = too_slow(connect_timeout_ns, "logging in");
                if is_overdue(*since_mono_ns) { self.down(now, fault) } else { None }
            }
            Phase::Looking { look, until_mono_ns, .. } => {
                let interest = look.interest();
                self.descriptor.set(None);
                let found = look.advance();
                self.descriptor.set(look.interest().map(|(fd, _)| fd));
                let is_over = now.mono_ns >= *until_mono_ns;
                if look.interest() != interest {
                    self.poll_set += 1;
                    self.unregister();
                }
                match found {
                    Some(found) => self.has_looked(now, found),
                    None if is_over => self.has_looked(now, None),
                    None => None,
                }
            }
            Phase::Ready { stream, .. } => {
                let driven = if stream.wants_write() { stream.drive() } else { Ok(Progress::Open) };
                let is_blocked = self.sent < self.outgoing.len() || stream.wants_write();
                if std::mem::replace(&mut self.is_blocked, is_blocked) != is_blocked {
                    self.poll_set += 1;
                }
                driven.err().and_then(|fault| self.fail(now, fault))
            }
        }
    }

    fn greet(&mut self, now: Now, since_mono_ns: u64) -> Option<LinkEvent> {
        self.outgoing.clear();
        self.login.leave_out = self.acquaintance.leave_out(now.mono_ns);
        let handshake = Box::new(Handshake::new(&self.login, self.abandoned.as_ref(), &mut self.outgoing));
        let phase = std::mem::replace(&mut self.phase, Phase::Resting { until_mono_ns: 0 });
        if let Phase::Dialing { stream, .. } = phase {
            self.enter(Phase::Greeting { stream, handshake, since_mono_ns });
        }
        self.flush().err().and_then(|fault| self.fail(now, fault))
    }

    /// Reads what has arrived, once. True when there may be more.
    pub(crate) fn receive(&mut self) -> Result<bool, Fault> {
        let stream = match &mut self.phase {
            Phase::Greeting { stream, .. } | Phase::Ready { stream, .. } => stream,
            Phase::Resting { .. } | Phase::Dialing { .. } | Phase::Looking { .. } => return Ok(false),
        };
        if self.consumed >= BUFFER_KEPT_BYTES {
            self.incoming.drain(..self.consumed);
            self.consumed = 0;
        }
        match stream.read(&mut self.incoming)? {
            Read::Data { more } => Ok(more),
            Read::Empty => Ok(false),
            Read::Eof => Err(Fault::new(FaultKind::Unreachable, "the server closed the connection")),
        }
    }

    /// Answers the server's greeting as far as it has arrived. `Some`: the connection is ready.
    pub(crate) fn continue_handshake(&mut self) -> Result<Option<LinkEvent>, Fault> {
        while let Some(frame_end) = self.next_frame().map_err(|fault| self.without_quotation(fault))? {
            let Phase::Greeting { handshake, since_mono_ns, .. } = &mut self.phase else { return Ok(None) };
            let since_mono_ns = *since_mono_ns;
            let frame = &self.incoming[self.consumed..frame_end];
            let greeting = handshake.on_frame(frame, &mut self.outgoing);
            let greeting = greeting.map_err(|fault| self.without_quotation(fault))?;
            self.consume(frame_end);
            if let Some(mut greeting) = greeting {
                self.acquaintance.greeted(since_mono_ns, &mut greeting);
                self.redial.is_up(since_mono_ns);
                let phase = std::mem::replace(&mut self.phase, Phase::Resting { until_mono_ns: 0 });
                if let Phase::Greeting { stream, .. } = phase {
                    let (dialect, identity) = (greeting.dialect, greeting.identity);
                    self.enter(Phase::Ready { stream, dialect, identity });
                }
                self.abandoned = None;
                return Ok(Some(LinkEvent::Up(greeting.info)));
            }
        }
        self.flush()?;
        Ok(None)
    }

    /// What a peer says while it is told the password may repeat it, also where it is no frame.
    fn without_quotation(&self, fault: Fault) -> Fault {
        match self.login.password {
            Some(_) if fault.text.starts_with("not RESP") => Fault::new(fault.kind, "not RESP"),
            _ => fault,
        }
    }

    /// The end of the next complete frame, which begins at [`Link::frame`]'s start.
    pub(crate) fn next_frame(&mut self) -> Result<Option<usize>, Fault> {
        Ok(self.cutter.cut(&self.incoming[self.consumed..])?.map(|length| self.consumed + length))
    }

    /// The frame that ends at `frame_end`.
    pub(crate) fn frame(&self, frame_end: usize) -> &[u8] {
        &self.incoming[self.consumed..frame_end]
    }

    /// That frame has been understood.
    pub(crate) fn consume(&mut self, frame_end: usize) {
        self.consumed = frame_end;
        self.cutter = Cutter::new();
        if self.consumed == self.incoming.len() {
            reset(&mut self.incoming);
            self.consumed = 0;
        }
    }

    /// A frame was the answer to a request, and not a push that nobody asked for.
    pub(crate) fn answered(&mut self) {
        self.redial.was_of_use();
    }

    /// Whether a release was refused for the command that would replace a script. From here on scripts are used.
    pub(crate) fn turn_to_scripts(&mut self, fault: &Fault) -> bool {
        const REFUSALS: [&str; 4] = [
            "NOPERM needs +delex:",
            "NOPERM needs +delifeq:",
            "ERR unknown command 'DELEX'",
            "ERR unknown command 'DELIFEQ'",
        ];
        let Phase::Ready { dialect, .. } = &mut self.phase else { return false };
        // What was under way when the first was refused is refused as well; a server that goes on is not obeyed for ever.
        let is_refusal = self.login.avoid_lua && REFUSALS.iter().any(|refusal| fault.text.starts_with(refusal));
        if !is_refusal || self.refused_replacements >= REFUSED_REPLACEMENTS_MAX {
            return false;
        }
        self.refused_replacements += 1;
        *dialect = Dialect::Lua;
        self.acquaintance.wants_scripts();
        true
    }

    /// Queues a request. It leaves with the next flush.
    pub(crate) fn queue(&mut self, encoder: &mut Encoder, request: &Request) {
        if let Phase::Ready { dialect, .. } = &self.phase {
            encoder.encode(request, *dialect, &mut self.outgoing);
        }
    }

    /// Hands to the kernel what it will take. What remains goes when the socket is writable again.
    pub(crate) fn flush(&mut self) -> Result<(), Fault> {
        let stream = match &mut self.phase {
            Phase::Greeting { stream, .. } | Phase::Ready { stream, .. } => stream,
            Phase::Resting { .. } | Phase::Dialing { .. } | Phase::Looking { .. } => return Ok(()),
        };
        let had_rest = self.is_blocked;
        while self.sent < self.outgoing.len() {
            match stream.write(&self.outgoing[self.sent..])? {
                0 => break,
                count => self.sent += count,
            }
        }
        if self.sent == self.outgoing.len() {
            reset(&mut self.outgoing);
            self.sent = 0;
        } else if self.outgoing.len() - self.sent > OUTGOING_BYTES_MAX {
            return Err(Fault::new(FaultKind::Unreachable, "takes no more requests"));
        } else if self.sent >= BUFFER_KEPT_BYTES.max(self.outgoing.len() / 2) {
            // A peer that takes a little all the time must not make the buffer grow without end. What is moved is no more
            // than what was sent since the last time.
            self.outgoing.drain(..self.sent);
            self.sent = 0;
        }
        self.is_blocked = !self.outgoing.is_empty() || stream.wants_write();
        self.poll_set += u64::from(self.is_blocked != had_rest);
        Ok(())
    }

    /// Whether something waits for a flush.
    pub(crate) fn has_outgoing(&self) -> bool {
        self.sent < self.outgoing.len()
    }

    /// Whether something was queued since the last flush; what a full socket left over is not new.
    pub(crate) fn has_new_outgoing(&self) -> bool {
        self.sent == 0 && !self.outgoing.is_empty() && !self.is_blocked
    }

    /// Brings the event loop's epoll set up to date.
    pub(crate) fn register(&mut self, epoll: &Arc<Epoll>) {
        let wanted = self.interest();
        if wanted == self.registration && self.epoll.is_some() {
            return;
        }
        self.epoll.get_or_insert_with(|| Arc::clone(epoll));
        let done = match (self.registration, wanted) {
            (Some((old, _)), Some((new, interest))) if old == new => epoll.modify(new, interest),
            (_, Some((new, interest))) => {
                self.unregister();
                epoll.add(new, interest)
            }
            (_, None) => {
                self.unregister();
                Ok(())
            }
        };
        self.registration = wanted.filter(|_| done.is_ok());
    }

    /// Takes the descriptor out of the event loop's set before it is closed: a duplicate in a forked child would keep
    /// it there.
    fn unregister(&mut self) {
        if let (Some((fd, _)), Some(epoll)) = (self.registration.take(), &self.epoll) {
            // Not being in the set is the only failure.
            let _ = epoll.delete(fd);
        }
    }

    /// Whether what arrives are answers to requests.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. })
    }

    /// What to poll for.
    pub(crate) fn interest(&self) -> Option<(RawFd, Interest)> {
        let stream = match &self.phase {
            Phase::Resting { .. } => return None,
            Phase::Dialing { stream, .. } => return stream.interest(),
            Phase::Looking { look, .. } => return look.interest(),
            Phase::Greeting { stream, .. } | Phase::Ready { stream, .. } => stream,
        };
        let (fd, _) = stream.interest()?;
        Some((fd, if self.is_blocked { Interest::BOTH } else { Interest::READ }))
    }

    /// When [`Link::advance`] has something to do although no descriptor is ready.
    pub(crate) fn deadline_mono_ns(&self) -> Option<u64> {
        match &self.phase {
            Phase::Resting { until_mono_ns } | Phase::Looking { until_mono_ns, .. } => Some(*until_mono_ns),
            Phase::Dialing { since_mono_ns, .. } | Phase::Greeting { since_mono_ns, .. } => {
                Some(since_mono_ns.saturating_add(self.connect_timeout_ns))
            }
            Phase::Ready { .. } => None,
        }
    }

    /// Grows whenever [`Link::interest`] changes.
    pub(crate) fn poll_set(&self) -> u64 {
        self.poll_set
    }

    /// Gives the connection up. The next one asks the server to forget this one first: a SET that is still on its way
    /// would otherwise be executed after its release.
    pub(crate) fn give_up(&mut self, now: Now) {
        if !matches!(self.phase, Phase::Resting { .. }) {
            self.end(now);
        }
    }

    fn end(&mut self, now: Now) {
        self.hang_up();
        let until_mono_ns = self.redial.ended(now);
        self.enter(Phase::Resting { until_mono_ns });
    }

    /// Closes what there is, at the server too.
    fn hang_up(&mut self) {
        self.unregister();
        self.descriptor.set(None);
        match &mut self.phase {
            Phase::Resting { .. } => {}
            Phase::Dialing { stream, .. } | Phase::Greeting { stream, .. } => stream.abandon(),
            Phase::Looking { look, .. } => look.abandon(),
            Phase::Ready { stream, identity, .. } => {
                stream.abandon();
                if identity.is_some() {
                    self.abandoned = identity.take();
                }
            }
        }
        self.refused_replacements = 0;
        self.outgoing.clear();
        self.sent = 0;
        self.is_blocked = false;
        self.incoming.clear();
        self.consumed = 0;
        self.cutter = Cutter::new();
    }

    /// The connection failed. `None`: it is tried in another way before anybody is told.
    pub(crate) fn fail(&mut self, now: Now, fault: Fault) -> Option<LinkEvent> {
        let connect_timeout_ns = self.connect_timeout_ns;
        match &self.phase {
            Phase::Greeting { handshake, since_mono_ns, .. } if fault.kind == FaultKind::Unreachable => {
                // As long as it took to be left, and some more.
                let took_ns = now.mono_ns.saturating_sub(*since_mono_ns);
                let patience_ns = took_ns.saturating_mul(2).saturating_add(LOOK_MIN_NS).min(connect_timeout_ns / 4);
                let until_mono_ns = now.mono_ns.saturating_add(patience_ns);
                let has_heard = handshake.has_heard() || !self.incoming.is_empty();
                let (command, family) = handshake.closed(self.acquaintance.answered());
                self.was_left(now, Failure { fault, command: Some(command), family }, has_heard, until_mono_ns)
            }
            Phase::Greeting { handshake, .. } if fault.kind == FaultKind::Protocol && !handshake.has_heard() => {
                let known = foreign::recognise(&self.incoming, false);
                self.down(now, known.map_or(fault, |what| Fault::new(FaultKind::Permanent, what)))
            }
            Phase::Dialing { stream, .. } if stream.is_tls_without_an_answer() => {
                let until_mono_ns = now.mono_ns.saturating_add(connect_timeout_ns / 4);
                self.was_left(now, Failure { fault, command: None, family: None }, false, until_mono_ns)
            }
            Phase::Resting { .. }
            | Phase::Dialing { .. }
            | Phase::Greeting { .. }
            | Phase::Looking { .. }
            | Phase::Ready { .. } => self.down(now, fault),
        }
    }

    /// The peer took the connection, and then left or said nothing: it speaks another protocol, or cannot bear a command.
    fn was_left(&mut self, now: Now, failure: Failure, has_heard: bool, until_mono_ns: u64) -> Option<LinkEvent> {
        match &self.acquaintance.look {
            Some(Some(known)) if !has_heard => {
                let known = known.clone();
                self.down(now, known)
            }
            None if !has_heard => {
                self.hang_up();
                let look = Box::new(Look::begin(&self.endpoint));
                self.enter(Phase::Looking { look, failure, until_mono_ns });
                self.advance(now)
            }
            _ => self.try_without(now, failure),
        }
    }

    fn has_looked(&mut self, now: Now, found: Option<Fault>) -> Option<LinkEvent> {
        self.acquaintance.look = Some(found.clone());
        let phase = std::mem::replace(&mut self.phase, Phase::Resting { until_mono_ns: 0 });
        let Phase::Looking { mut look, failure, .. } = phase else { return None };
        look.abandon();
        match found {
            Some(known) => self.down(now, known),
            None => self.try_without(now, failure),
        }
    }

    fn try_without(&mut self, now: Now, failure: Failure) -> Option<LinkEvent> {
        let Failure { fault, command, family } = failure;
        let Some(command) = command else { return self.down(now, fault) };
        if let Some(culprit) = self.acquaintance.closed_over(command, family, self.redial.failures()) {
            let text = format!("{} after {culprit}", fault.text);
            return self.down(now, Fault::new(fault.kind, text));
        }
        self.hang_up();
        let until_mono_ns = self.redial.again(now);
        self.enter(Phase::Resting { until_mono_ns });
        None
    }

    fn down(&mut self, now: Now, fault: Fault) -> Option<LinkEvent> {
        self.end(now);
        Some(LinkEvent::Down(fault))
    }

    /// Says goodbye without cutting off what was written: a stopped server will still execute a release that is
    /// queued behind its SET.
    pub(crate) fn close(&mut self) {
        self.unregister();
        self.descriptor.set(None);
        if let Phase::Ready { stream, .. } = &mut self.phase {
            stream.finish();
        }
        self.enter(Phase::Resting { until_mono_ns: u64::MAX });
    }

    fn enter(&mut self, phase: Phase) {
        self.descriptor.set(None);
        self.phase = phase;
        self.descriptor.set(self.interest().map(|(fd, _)| fd));
        self.poll_set += 1;
    }
}

fn too_slow(connect_timeout_ns: u64, stage: &str) -> Fault {
    let timeout_ms = connect_timeout_ns / NS_PER_MS;
    Fault::new(FaultKind::Unreachable, format!("no connection within {timeout_ms} ms, still {stage}"))
}

/// Empties a buffer; a huge one is not kept.
fn reset(buffer: &mut Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > BUFFER_KEPT_BYTES {
        buffer.shrink_to(BUFFER_KEPT_BYTES);
    }
}
