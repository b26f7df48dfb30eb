//! The state behind the mutex: the machine, the connections, who waits for what. Nothing in here waits.

use std::sync::Arc;

use slotmap::SecondaryMap;

use crate::core::config::Config;
use crate::core::machine::{Context, Machine};
use crate::core::operation::{Completion, Input, LeaseKey, OpKey, Operation, Output};
use crate::core::quorum::NodeSet;
use crate::core::report::{Failure, Status};
use crate::core::request::{Fault, NodeId, Reply, RequestKind};
use crate::core::time::Now;
use crate::net::sys::{self, Inherited, PollFd};
use crate::redis::command::Encoder;
use crate::redis::reply::{Incoming, classify};

use super::canceller::Canceller;
use super::cell::LeaseCell;
use super::entropy::SystemEntropy;
use super::handover::{Handover, Kicks, Slot};
use super::link::{Link, LinkEvent};
use super::outcome::{Finished, Success};
use super::queue::{EventQueue, Submission};
use super::waiters::{Waiter, Waiters};

/// Reads from one node in a row before the others get their turn: an endless peer must not keep everybody.
const READS_PER_TURN: usize = 16;

/// Descriptors to poll, and which node each of them belongs to.
#[derive(Debug, Default)]
pub(crate) struct PollSet {
    pub(crate) fds: Vec<PollFd>,
    nodes: Vec<NodeId>,
    /// Grows whenever another set would come out.
    pub(crate) generation: u64,
}

impl PollSet {
    /// Whether the descriptor behind the nodes' is readable.
    pub(crate) fn is_kicked(&self) -> bool {
        self.fds.get(self.nodes.len()).is_some_and(PollFd::is_readable)
    }
}

/// Everything that the threads of a handle share under its mutex.
pub(crate) struct State {
    pub(crate) machine: Machine,
    pub(crate) handover: Handover<OpKey, Finished>,
    /// When the sockets were last looked at, on the wait clock.
    pub(crate) looked_mono_ns: u64,
    /// How often in a row the sending was left to the next thread.
    pub(crate) deferrals: u32,
    pub(crate) is_closed: bool,
    /// Nodes that had more to say than one turn allows: no descriptor becomes readable for what a TLS session holds.
    unread: NodeSet,
    pub(super) queue: EventQueue,
    pub(super) links: Vec<Link>,
    spare_poll_set: PollSet,
    encoder: Encoder,
    entropy: SystemEntropy,
    waiters: Waiters,
    /// Of the operations that have one.
    cancellers: SecondaryMap<OpKey, Canceller>,
    cells: SecondaryMap<LeaseKey, Arc<LeaseCell>>,
}

impl State {
    pub(crate) fn new(config: Config, links: Vec<Link>) -> State {
        State {
            machine: Machine::new(config),
            handover: Handover::default(),
            looked_mono_ns: 0,
            deferrals: 0,
            is_closed: false,
            unread: NodeSet::default(),
            queue: EventQueue::default(),
            links,
            spare_poll_set: PollSet::default(),
            encoder: Encoder::new(),
            entropy: SystemEntropy::new(),
            waiters: Waiters::default(),
            cancellers: SecondaryMap::new(),
            cells: SecondaryMap::new(),
        }
    }

    /// Begins an operation that a thread will wait for, at the slot returned.
    pub(crate) fn submit(
        &mut self,
        now: Now,
        operation: Operation,
        tag: u64,
        canceller: Option<&Canceller>,
    ) -> (OpKey, Arc<Slot<Finished>>) {
        let op = self.begin(now, operation, canceller);
        self.waiters.insert(op, Waiter::Thread(tag));
        let slot = self.handover.join(op);
        self.settle(now);
        (op, slot)
    }

    /// Begins an operation whose end will be an event.
    pub(crate) fn submit_queued(
        &mut self,
        now: Now,
        operation: Operation,
        submission: Submission,
        canceller: Option<&Canceller>,
    ) {
        let op = self.begin(now, operation, canceller);
        self.waiters.insert(op, Waiter::Queue(submission));
        self.settle(now);
    }

    /// Begins an operation for whose end nobody waits.
    pub(crate) fn begin_unawaited(&mut self, now: Now, operation: Operation) {
        self.begin(now, operation, None);
        self.settle(now);
    }

    fn begin(&mut self, now: Now, operation: Operation, canceller: Option<&Canceller>) -> OpKey {
        let mut context = Context { now, entropy: &mut self.entropy };
        let op = self.machine.submit(&mut context, operation);
        if let Some(canceller) = canceller {
            self.cancellers.insert(op, canceller.clone());
        }
        op
    }

    /// Releases every lease that is held.
    pub(crate) fn release_held(&mut self, now: Now) {
        let held: Vec<LeaseKey> = self.machine.held_leases(now).collect();
        for lease in held {
            self.begin_unawaited(now, Operation::Unlock { lease });
        }
    }

    /// Feeds the machine.
    pub(crate) fn handle(&mut self, now: Now, input: Input) {
        self.step(now, input);
        self.settle(now);
    }

    fn step(&mut self, now: Now, input: Input) {
        if let Input::Forget { lease } = input {
            self.cells.remove(lease);
            self.queue.forget(lease);
        }
        let mut context = Context { now, entropy: &mut self.entropy };
        self.machine.handle(&mut context, input);
    }

    /// Does what the machine wants done.
    fn settle(&mut self, now: Now) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Send { node, request } => self.links[node].queue(&mut self.encoder, &request),
                Output::Reset { node } => {
                    self.links[node].give_up(now);
                    self.queue.node_changed(node);
                }
                Output::Completed { op, result } => self.completed(op, result),
                Output::Extended { lease, result } => self.queue.lease_extended(lease, result),
                Output::Lease { lease, view } => {
                    let is_taken = self.cells.get(lease).is_none_or(|cell| cell.update(view));
                    self.queue.lease_changed(lease, view);
                    if !is_taken {
                        self.step(now, Input::Expired { lease });
                    }
                }
            }
        }
    }

    fn completed(&mut self, op: OpKey, result: Result<Completion, Failure>) {
        let finished = result.map(|completion| match completion {
            Completion::Locked { lease, token, fence, view } => {
                let cell = Arc::new(LeaseCell::new(view));
                self.cells.insert(lease, Arc::clone(&cell));
                Success::Locked { lease, token, fence, cell }
            }
            Completion::Done => Success::Done,
            Completion::Inspected(views) => Success::Inspected(views),
        });
        self.cancellers.remove(op);
        match self.waiters.remove(op) {
            Some(Waiter::Thread(_)) => {
                debug_assert!(self.handover.is_waiting(op), "every thread in a call has joined");
                self.handover.finish(op, finished);
            }
            Some(Waiter::Queue(submission)) => self.queue.done(submission, finished),
            None => {}
        }
    }

    /// What is ready at this moment.
    fn ready_now(&mut self) -> PollSet {
        let mut set = self.poll_set(None);
        // Where that fails nothing is ready, and the next look finds it.
        let _ = sys::poll(&mut set.fds, Some(0));
        set
    }

    /// [`State::attend`] to what is ready at this moment.
    pub(crate) fn look(&mut self, now: Now) {
        let set = self.ready_now();
        self.attend(now, &set);
        self.keep_poll_set(set);
    }

    /// Reads and advances whatever is ready or due, then judges who is late.
    pub(crate) fn attend(&mut self, now: Now, set: &PollSet) {
        self.take_in(now, set);
        self.judge(now);
    }

    /// Reads and advances what is ready.
    fn take_in(&mut self, now: Now, set: &PollSet) {
        self.looked_mono_ns = now.mono_ns;
        let unread = std::mem::take(&mut self.unread);
        for (&node, fd) in set.nodes.iter().zip(&set.fds) {
            if fd.is_readable() || fd.is_writable() || unread.contains(node) {
                self.advance(now, node);
            }
        }
    }

    /// Whether something has arrived that was not read yet: nobody may sleep.
    pub(crate) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// One turn of the event loop: one look at the sockets, then what was submitted and what follows from the replies
    /// leaves, and only then it is judged who is late: nothing is late before it was sent.
    pub(crate) fn turn(&mut self, now: Now) {
        let set = self.ready_now();
        self.take_in(now, &set);
        self.keep_poll_set(set);
        self.flush(now);
        self.judge(now);
        self.flush(now);
    }

    /// Lets the machine judge who is late, and ends dials that take too long.
    fn judge(&mut self, now: Now) {
        if self.machine.is_due(now) {
            self.look_again(now);
            self.handle(now, Input::Tick);
        }
        for node in 0..self.links.len() {
            if self.links[node].deadline_mono_ns().is_some_and(|due| due <= now.mono_ns) {
                self.advance(now, node);
            }
        }
    }

    /// Reads once more before anybody is judged late: this process may have been stopped since it looked, and what
    /// had arrived by `now` must count.
    fn look_again(&mut self, now: Now) {
        let set = self.ready_now();
        let unread = std::mem::take(&mut self.unread);
        for (&node, fd) in set.nodes.iter().zip(&set.fds) {
            if fd.is_readable() || unread.contains(node) {
                self.read(now, node);
            }
        }
        self.keep_poll_set(set);
    }

    /// Takes the steps that need no waiting, then reads: bytes may have come with the end of a TLS handshake, for
    /// which no descriptor becomes readable any more.
    fn advance(&mut self, now: Now, node: NodeId) {
        while let Some(event) = self.links[node].advance(now) {
            self.on_event(now, node, event);
        }
        self.read(now, node);
    }

    fn on_event(&mut self, now: Now, node: NodeId, event: LinkEvent) {
        if !matches!(event, LinkEvent::Dialing) {
            self.queue.node_changed(node);
        }
        let input = match event {
            LinkEvent::Dialing => Input::Dialing { node },
            LinkEvent::Up(info) => Input::Up { node, info },
            LinkEvent::Down(fault) => Input::Down { node, fault },
        };
        self.handle(now, input);
    }

    fn read(&mut self, now: Now, node: NodeId) {
        for _ in 0..READS_PER_TURN {
            match self.links[node].receive().and_then(|more| self.understand(now, node).map(|()| more)) {
                Ok(true) => {}
                Ok(false) => return,
                Err(fault) => return self.node_failed(now, node, fault),
            }
        }
        self.unread.insert(node);
    }

    /// Understands the complete frames that have arrived.
    fn understand(&mut self, now: Now, node: NodeId) -> Result<(), Fault> {
        if !self.links[node].is_ready()
            && let Some(event) = self.links[node].continue_handshake()?
        {
            self.on_event(now, node, event);
        }
        while self.links[node].is_ready() {
            let link = &mut self.links[node];
            let Some(frame_end) = link.next_frame()? else { break };
            let incoming = classify(self.machine.awaited(node), link.frame(frame_end))?;
            link.consume(frame_end);
            match incoming {
                Incoming::Reply(reply) => {
                    self.links[node].answered();
                    let is_release = self.machine.awaited(node) == Some(RequestKind::Release);
                    let input = match &reply {
                        Reply::Refused(fault) if is_release && self.links[node].turn_to_scripts(fault) => {
                            Input::Rephrase { node }
                        }
                        _ => Input::Reply { node, reply },
                    };
                    self.step(now, input);
                }
                Incoming::Push(pushes) => {
                    for push in pushes {
                        self.step(now, Input::Push { node, push });
                    }
                }
                Incoming::Ignored => {}
            }
            self.settle(now);
        }
        Ok(())
    }

    fn node_failed(&mut self, now: Now, node: NodeId, fault: Fault) {
        if let Some(event) = self.links[node].fail(now, fault) {
            self.on_event(now, node, event);
        }
        self.advance(now, node);
    }

    /// Sending failed. What the node has said before counts all the same.
    fn sending_failed(&mut self, now: Now, node: NodeId, fault: Fault) {
        self.read(now, node);
        let is_still_there = self.links[node].has_outgoing();
        if is_still_there {
            self.node_failed(now, node, fault);
        }
    }

    /// Whether something waits for a flush.
    pub(crate) fn has_outgoing(&self) -> bool {
        self.links.iter().any(Link::has_outgoing)
    }

    /// Hands what is queued to the kernel.
    pub(crate) fn flush(&mut self, now: Now) {
        for node in 0..self.links.len() {
            if self.links[node].has_outgoing() {
                let flushed = self.links[node].flush();
                self.machine.flushed(now, node);
                if let Err(fault) = flushed {
                    self.sending_failed(now, node, fault);
                }
            }
        }
    }

    /// The descriptors to poll, with the leader's kick at the end.
    pub(crate) fn poll_set(&mut self, kick: Option<PollFd>) -> PollSet {
        let mut set = std::mem::take(&mut self.spare_poll_set);
        set.fds.clear();
        set.nodes.clear();
        for (node, link) in self.links.iter().enumerate() {
            if let Some((fd, interest)) = link.interest() {
                set.fds.push(PollFd::new(fd, interest));
                set.nodes.push(node);
            }
        }
        set.fds.extend(kick);
        set.generation = self.poll_set_generation();
        set
    }

    /// Keeps it for its allocations.
    pub(crate) fn keep_poll_set(&mut self, set: PollSet) {
        self.spare_poll_set = set;
    }

    pub(super) fn poll_set_generation(&self) -> u64 {
        self.links.iter().map(Link::poll_set).sum()
    }

    /// When something must be done although no descriptor is ready.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.links.iter().filter_map(Link::deadline_mono_ns).chain(self.machine.next_deadline()).min()
    }

    /// Who sleeps on terms that are no longer right.
    pub(crate) fn must_kick(&mut self) -> Kicks {
        let (generation, deadline) = (self.poll_set_generation(), self.next_deadline());
        self.handover.must_kick(generation, deadline)
    }

    /// Ends every operation with this tag.
    pub(crate) fn cancel_tagged(&mut self, now: Now, tag: u64, status: Status) -> usize {
        let tagged = self.waiters.tagged(tag);
        self.cancel_each(now, &tagged, status);
        tagged.len()
    }

    /// Ends the operations whose cancellers were raised.
    pub(crate) fn cancel_flagged(&mut self, now: Now) {
        let flagged = self.cancellers.iter().filter(|(_, canceller)| canceller.is_cancelled());
        let flagged: Vec<OpKey> = flagged.map(|(op, _)| op).collect();
        self.cancel_each(now, &flagged, Status::Cancelled);
    }

    /// Ends every operation.
    pub(crate) fn cancel_all(&mut self, now: Now, status: Status) {
        let all: Vec<OpKey> = self.machine.operations().collect();
        self.cancel_each(now, &all, status);
    }

    /// The last that began comes first, more or less: whoever leaves the front of a queue wakes the next, who would ask
    /// the servers in vain.
    fn cancel_each(&mut self, now: Now, ops: &[OpKey], status: Status) {
        for &op in ops.iter().rev() {
            self.handle(now, Input::Cancel { op, status });
        }
    }

    /// Releases the leases in events that nobody has fetched.
    pub(crate) fn release_unfetched(&mut self, now: Now) {
        for lease in self.queue.unfetched_leases() {
            self.begin_unawaited(now, Operation::Unlock { lease });
        }
    }

    /// Where a forked child finds the descriptors of the connections.
    pub(crate) fn descriptors(&self) -> Vec<Arc<Inherited>> {
        self.links.iter().map(|link| Arc::clone(link.descriptor())).collect()
    }

    /// Ends the connections.
    pub(crate) fn close_links(&mut self) {
        self.links.iter_mut().for_each(Link::close);
    }
}
