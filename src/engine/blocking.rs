//! The blocking API: submit, then lead or follow until the result is there.

use std::sync::MutexGuard;

use crate::core::operation::{Input, OpKey, Operation};
use crate::core::report::Status;
use crate::core::time::Now;
use crate::net::sys::{self, Interest, PollFd, Polled, SignalsOnlyInSleeps};

use super::canceller::Canceller;
use super::error::Error;
use super::handover::{self, Handover, LeaderSleep, SLEEP_MAX_NS, Slot, WaitHost};
use super::outcome::{Finished, Success};
use super::shared::{Shared, closed};
use super::state::State;

/// How often a leader lets others run before it sends and sleeps. It stops as soon as that brings nobody.
const GATHER_YIELDS_MAX: u32 = 16;

/// How a call may be ended before its time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CallOptions<'c> {
    /// What `cancel` knows it by; 0: nothing.
    pub(crate) tag: u64,
    /// It is a wait, which signals may end, and not a step that is over within the node timeout anyway.
    pub(crate) is_wait: bool,
    /// What ends it from outside.
    pub(crate) canceller: Option<&'c Canceller>,
}

impl Shared {
    /// A call that takes at most about a node timeout.
    pub(crate) fn call(&self, operation: Operation) -> Result<Success, Error> {
        self.call_with(operation, CallOptions::default())
    }

    /// Submits an operation and waits for its end.
    pub(crate) fn call_with(&self, operation: Operation, options: CallOptions<'_>) -> Result<Success, Error> {
        self.listen_to(options.canceller)?;
        let _signals = (options.is_wait && self.is_interruptible).then(SignalsOnlyInSleeps::new);
        let mut state = self.enter()?;
        if state.is_closed {
            self.leave(state);
            return Err(closed());
        }
        self.refresh(&mut state);
        let (op, slot) = state.submit(self.clock.now(), operation, options.tag, options.canceller);
        let finished = match slot.take() {
            Some(finished) => {
                self.leave(state);
                finished
            }
            None => handover::wait(&Caller { shared: self, options }, state, op, slot)?,
        };
        finished.map_err(|failure| Error::from_failure(failure, &self.urls))
    }

    /// Has the canceller tell this handle, and refuses what it has cancelled already. One that is raised later rings.
    pub(super) fn listen_to(&self, canceller: Option<&Canceller>) -> Result<(), Error> {
        let Some(canceller) = canceller else { return Ok(()) };
        canceller.tell(&self.bells);
        match canceller.is_cancelled() {
            false => Ok(()),
            true => Err(Error::plain(Status::Cancelled, "the canceller was used before")),
        }
    }

    /// One turn as the leader: sends, sleeps in `ppoll` without the mutex, reads for everybody. True when a signal
    /// handler ran meanwhile.
    fn lead<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        slot: &Slot<Finished>,
    ) -> Result<(MutexGuard<'a, State>, bool), Error> {
        state = self.gather(state)?;
        let now = self.clock.now();
        state.flush(now);
        if slot.is_finished() {
            return Ok((state, false));
        }
        let mut set = state.poll_set(Some(PollFd::new(self.kick.fd(), Interest::READ)));
        let until_mono_ns = if state.has_unread() { 0 } else { state.next_deadline().unwrap_or(u64::MAX) };
        state.handover.leader_sleeps(LeaderSleep { until_mono_ns, poll_set: set.generation });
        self.leave_unsent(state);
        let polled = self.poll(&mut set.fds, now, until_mono_ns);
        if set.is_kicked() {
            self.kick.drain();
        }
        let mut state = self.enter()?;
        state.handover.leader_wakes();
        if self.bells.leader.take() {
            self.cancel_flagged(&mut state);
        }
        state.attend(self.clock.now(), &set);
        state.keep_poll_set(set);
        Ok((state, polled == Polled::Interrupted))
    }

    /// Lets the threads that have just been given their results come back with their next requests, if they have any:
    /// these then leave in one segment.
    fn gather<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Result<MutexGuard<'a, State>, Error> {
        for _ in 0..GATHER_YIELDS_MAX {
            let awaited = state.handover.returning();
            if awaited == 0 {
                break;
            }
            self.leave_unsent(state);
            std::thread::yield_now();
            state = self.enter()?;
            if state.handover.returning() >= awaited {
                break;
            }
        }
        state.handover.forget_returning();
        Ok(state)
    }

    /// Waits for the descriptors, first awake for as long as the options say.
    fn poll(&self, fds: &mut [PollFd], now: Now, until_mono_ns: u64) -> Polled {
        let left_ns = until_mono_ns.saturating_sub(now.mono_ns).min(SLEEP_MAX_NS);
        let spin_until = now.mono_ns.saturating_add(self.spin_ns.min(left_ns));
        while self.spin_ns > 0 && sys::boottime_ns() < spin_until {
            if let Ok(polled @ (Polled::Interrupted | Polled::Ready(1..))) = sys::poll(fds, Some(0)) {
                return polled;
            }
        }
        sys::poll(fds, Some(left_ns)).unwrap_or(Polled::Ready(0))
    }
}

/// One call's way of waiting.
struct Caller<'s> {
    shared: &'s Shared,
    options: CallOptions<'s>,
}

impl WaitHost for Caller<'_> {
    type Op = OpKey;
    type Result = Finished;
    type Error = Error;
    type Guard<'a>
        = MutexGuard<'a, State>
    where
        Self: 'a;

    fn enter(&self) -> Result<MutexGuard<'_, State>, Error> {
        self.shared.enter()
    }

    fn handover<'g>(&self, state: &'g mut MutexGuard<'_, State>) -> &'g mut Handover<OpKey, Finished> {
        &mut state.handover
    }

    fn leave(&self, state: MutexGuard<'_, State>) {
        self.shared.leave(state);
    }

    fn lead<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        slot: &Slot<Finished>,
    ) -> Result<(MutexGuard<'a, State>, bool), Error> {
        self.shared.lead(state, slot)
    }

    fn interrupted(&self, state: &mut MutexGuard<'_, State>, op: OpKey) {
        if self.options.is_wait && self.shared.is_interruptible {
            let now = self.shared.clock.now();
            state.handle(now, Input::Cancel { op, status: Status::Interrupted });
        }
    }
}
