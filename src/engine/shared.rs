//! What all threads of a handle share, how they enter and leave it, and its end.
//!
//! The state mutex is never held while waiting. Whoever leaves it sends what was queued, unless another thread is
//! already at the door: then that one does, and the requests of both leave in one segment.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use once_cell::sync::OnceCell;

use crate::core::operation::{Input, LeaseKey, Operation};
use crate::core::report::{Failure, Status};
use crate::core::stats::Stats;
use crate::core::time::{NS_PER_MS, Now};
use crate::net::clock::LeaseClock;
use crate::net::sys::{self, EventFd, Inherited};

use super::canceller::Bells;
use super::driver_thread::Driver;
use super::error::Error;
use super::handover::SLEEP_MAX_NS;
use super::loop_descriptors::LoopDescriptors;
use super::options::{Options, TTL_MS_RANGE, in_range};
use super::state::{PollSet, State};

/// After this long without a look at the sockets, what they have to say is read before something new is sent: they
/// may have been closed over night.
const STALE_NS: u64 = NS_PER_MS;

/// How often in a row the sending may be left to another thread.
const DEFERRALS_MAX: u32 = 256;

/// One handle, as its threads see it.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Threads that are about to take the state mutex.
    entering: AtomicUsize,
    pub(super) kick: EventFd,
    pub(super) bells: Arc<Bells>,
    pub(super) clock: LeaseClock,
    fork_generation: u32,
    /// Every descriptor of the handle, for a forked child.
    descriptors: Vec<Arc<Inherited>>,
    pub(super) is_interruptible: bool,
    pub(super) spin_ns: u64,
    max_ttl_ms: Option<u64>,
    pub(super) event_loop: OnceCell<LoopDescriptors>,
    pub(super) inherited_by_loop: [Inherited; LoopDescriptors::COUNT],
    pub(super) driver: Driver,
    pub(crate) urls: Vec<Arc<str>>,
}

impl Shared {
    pub(crate) fn new(state: State, urls: Vec<Arc<str>>, options: &Options) -> std::io::Result<Shared> {
        let kick = EventFd::new()?;
        let bells = Arc::<Bells>::default();
        bells.leader.hang(&kick);
        let kick_descriptor = Inherited::default();
        kick_descriptor.set(Some(kick.fd()));
        let mut descriptors = state.descriptors();
        descriptors.push(Arc::new(kick_descriptor));
        let driver = Driver::default();
        descriptors.push(Arc::clone(&driver.descriptor));
        Ok(Shared {
            state: Mutex::new(state),
            entering: AtomicUsize::new(0),
            kick,
            bells,
            descriptors,
            clock: LeaseClock::new(),
            fork_generation: sys::fork_generation(),
            is_interruptible: options.interruptible,
            spin_ns: u64::from(options.spin_us) * 1_000,
            max_ttl_ms: options.max_ttl_ms,
            event_loop: OnceCell::new(),
            inherited_by_loop: Default::default(),
            driver,
            urls,
        })
    }

    /// Begins to connect.
    pub(crate) fn begin(&self) {
        if let Ok(mut state) = self.enter() {
            state.attend(self.clock.now(), &PollSet::default());
            self.leave(state);
        }
    }

    /// Both clocks; nothing in a forked child, where the clock's mutex may be locked for ever.
    pub(crate) fn now_unless_forked(&self) -> Option<Now> {
        (!self.is_forked()).then(|| self.clock.now())
    }

    pub(crate) fn boottime_of_lease(&self, lease_ns: u64) -> u64 {
        self.clock.boottime_of_lease(lease_ns)
    }

    /// A ttl that the servers and the other clients can live with.
    pub(crate) fn check_ttl(&self, ttl_ms: u64) -> Result<(), Error> {
        let invalid = |reason: String| Error::plain(Status::Invalid, reason);
        in_range("ttl_ms", ttl_ms, &TTL_MS_RANGE).map_err(invalid)?;
        match self.max_ttl_ms {
            Some(max_ttl_ms) if ttl_ms > max_ttl_ms => {
                Err(invalid(format!("ttl_ms is {ttl_ms}; max_ttl_ms of this handle is {max_ttl_ms}")))
            }
            _ => Ok(()),
        }
    }

    /// Whether this process is a child of the one that made the handle.
    pub(super) fn is_forked(&self) -> bool {
        sys::fork_generation() != self.fork_generation
    }

    /// Takes the state mutex. The check for a fork comes first: in a child the mutex may be locked for ever.
    pub(super) fn enter(&self) -> Result<MutexGuard<'_, State>, Error> {
        self.entering.fetch_add(1, Ordering::SeqCst);
        let entered = self.enter_quietly();
        self.entering.fetch_sub(1, Ordering::SeqCst);
        entered
    }

    /// The same for those who will send nothing when they leave: nobody may leave the sending to them.
    pub(super) fn enter_quietly(&self) -> Result<MutexGuard<'_, State>, Error> {
        if self.is_forked() {
            return Err(forked());
        }
        let locked = self.state.lock();
        locked.map_err(|_| Error::plain(Status::Internal, "an earlier call on this handle failed inside the library"))
    }

    /// Lets the state mutex go: what was queued is sent, the leader is kicked if it sleeps on outdated terms, and
    /// those whose operations ended are woken.
    pub(super) fn leave(&self, mut state: MutexGuard<'_, State>) {
        let is_another_near = self.entering.load(Ordering::SeqCst) > 0 || state.handover.is_leader_awake();
        if is_another_near && state.deferrals < DEFERRALS_MAX {
            state.deferrals += 1;
        } else {
            state.deferrals = 0;
            state.flush(self.clock.now());
        }
        self.leave_unsent(state);
    }

    /// The same, but what was queued waits for the next flush: the event loop's, which is told of it.
    pub(super) fn leave_unsent(&self, mut state: MutexGuard<'_, State>) {
        if let Some(descriptors) = self.event_loop.get() {
            state.update_loop(descriptors);
        }
        let kicks = state.must_kick();
        let woken = state.handover.take_woken();
        drop(state);
        if kicks.leader {
            self.kick.signal();
        }
        if kicks.onlooker {
            self.driver.kick();
        }
        for slot in woken {
            slot.wake();
        }
    }

    /// The caller gave the lease back. A handle that is gone needs to know it no more. What was submitted to the event
    /// loop goes on waiting for its turn: many leases may be given back in between.
    pub(crate) fn forget(&self, lease: LeaseKey) {
        if let Ok(mut state) = self.enter_quietly() {
            let (now, had_outgoing) = (self.clock.now(), state.has_outgoing());
            state.handle(now, Input::Forget { lease });
            if !had_outgoing {
                state.flush(now);
            }
            self.leave_unsent(state);
        }
    }

    /// Reads what has arrived since anybody looked last.
    pub(super) fn refresh(&self, state: &mut MutexGuard<'_, State>) {
        let now = self.clock.now();
        if state.handover.has_leader() || now.mono_ns < state.looked_mono_ns.saturating_add(STALE_NS) {
            return;
        }
        // What was submitted to the event loop must have left before anybody can be late with it.
        state.flush(now);
        state.look(now);
    }

    /// Ends every operation with this tag. How many there were.
    pub(crate) fn cancel(&self, tag: u64) -> Result<usize, Error> {
        let mut state = self.enter()?;
        let now = self.clock.now();
        let count = state.cancel_tagged(now, tag, Status::Cancelled);
        self.leave(state);
        Ok(count)
    }

    pub(crate) fn stats(&self) -> Result<Stats, Error> {
        let state = self.enter()?;
        let stats = state.machine.stats();
        self.leave(state);
        Ok(stats)
    }

    pub(crate) fn node_notes(&self) -> Result<Vec<Box<str>>, Error> {
        let state = self.enter()?;
        let now = self.clock.now();
        let note = |node| state.machine.node_note(now, node).unwrap_or_default();
        let notes = (0..self.urls.len()).map(note).collect();
        self.leave(state);
        Ok(notes)
    }

    /// A forked child closes its descriptors, also while threads of the parent are inside, and says nothing to anybody.
    fn close_in_child(self: &Arc<Shared>) {
        self.descriptors.iter().for_each(|descriptor| descriptor.close_in_child());
        self.inherited_by_loop.iter().for_each(Inherited::close_in_child);
        // What is left may have been changing when the process was copied, and its descriptors are closed.
        std::mem::forget(Arc::clone(self));
    }

    /// Ends the calls in progress and the connections, without waiting for anybody: what is queued is handed to the
    /// kernel.
    pub(crate) fn end(self: &Arc<Shared>) {
        if self.is_forked() {
            return self.close_in_child();
        }
        // After a bug nothing is left to be said to the nodes.
        let _ = self.close(false, Some(0));
    }

    /// Ends the calls in progress, releases what is to be released, waits for connected nodes to confirm, and closes the
    /// connections. `timeout_ms`: how long to wait for confirmations; `None`: without limit.
    pub(crate) fn close(&self, releases_leases: bool, timeout_ms: Option<u64>) -> Result<(), Error> {
        let mut state = self.enter()?;
        if state.is_closed {
            self.leave(state);
            return Ok(());
        }
        let now = self.clock.now();
        state.is_closed = true;
        if releases_leases {
            state.release_held(now);
        }
        state.release_unfetched(now);
        state.cancel_all(now, Status::Closed);
        state.queue.show();
        state.flush(now);
        let deadline = timeout_ms.map(|timeout_ms| now.mono_after_ms(timeout_ms));
        let mut state = self.await_releases(state, deadline)?;
        let left = state.machine.releases_in_flight();
        state.close_links();
        self.leave(state);
        self.driver.end();
        match left {
            0 => Ok(()),
            _ => Err(Error::plain(Status::Unknown, format!("{left} releases were sent and not confirmed"))),
        }
    }

    /// Until connected nodes have confirmed every release, or the deadline on the wait clock.
    fn await_releases<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        deadline: Option<u64>,
    ) -> Result<MutexGuard<'a, State>, Error> {
        while state.machine.releases_in_flight() > 0 {
            let now = self.clock.now();
            if deadline.is_some_and(|deadline| now.mono_ns >= deadline) {
                break;
            }
            let mut set = state.poll_set(None);
            let until = state.next_deadline().into_iter().chain(deadline).min().unwrap_or(u64::MAX);
            self.leave(state);
            let _ = sys::poll(&mut set.fds, Some(until.saturating_sub(now.mono_ns).min(SLEEP_MAX_NS)));
            state = self.enter()?;
            state.attend(self.clock.now(), &set);
            state.flush(self.clock.now());
        }
        Ok(state)
    }

    /// Begins an operation for whose end nobody waits.
    pub(crate) fn begin_unawaited(&self, operation: Operation) -> Result<(), Error> {
        let mut state = self.enter()?;
        if state.is_closed {
            self.leave(state);
            return Err(closed());
        }
        state.begin_unawaited(self.clock.now(), operation);
        self.leave(state);
        Ok(())
    }

    /// Ends the operations whose cancellers were raised.
    pub(super) fn cancel_flagged(&self, state: &mut MutexGuard<'_, State>) {
        state.cancel_flagged(self.clock.now());
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The descriptors are about to be closed; cancellers may outlive them.
        self.bells.leader.take_down();
        self.bells.event_loop.take_down();
    }
}

pub(super) fn forked() -> Error {
    Error::plain(Status::Forked, "make a new handle in the child")
}

pub(super) fn closed() -> Error {
    Error::from_failure(Failure { status: Status::Closed, detail: None, nodes: Vec::new() }, &[])
}
