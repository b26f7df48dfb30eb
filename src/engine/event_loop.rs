//! The event-loop API: one descriptor for any event loop, a queue of events, nothing that blocks and no callbacks.
//!
//! `fd` is readable while events are queued or work is due; then `process` does the work and `next_event` hands the
//! events out. The descriptor is an epoll set of the node sockets, a timer on `CLOCK_BOOTTIME` and an eventfd; the
//! blocking API never sleeps on it (a sleeping leader that shared it would miss wake-ups).

use std::os::fd::RawFd;

use crate::core::operation::Operation;
use crate::core::report::Status;
use crate::core::time::{NS_PER_MS, Now};

use super::canceller::Canceller;
use super::error::Error;
use super::link::Link;
use super::loop_descriptors::LoopDescriptors;
use super::queue::{Fact, Submission};
use super::shared::{Shared, closed};
use super::state::State;

impl Shared {
    /// The descriptors of the event-loop API, made when they are first asked for.
    fn descriptors_of_loop(&self) -> Result<&LoopDescriptors, Error> {
        let make = || {
            let descriptors = LoopDescriptors::new()?;
            self.inherited_by_loop.iter().zip(descriptors.fds()).for_each(|(place, fd)| place.set(Some(fd)));
            self.bells.event_loop.hang(&descriptors.ready);
            Ok::<_, std::io::Error>(descriptors)
        };
        let made = self.event_loop.get_or_try_init(make);
        made.map_err(|error| Error::plain(Status::Internal, format!("no event descriptor: {error}")))
    }

    /// The descriptor to poll for reading.
    pub(crate) fn fd(&self) -> Result<RawFd, Error> {
        let state = self.enter_quietly()?;
        let fd = self.descriptors_of_loop()?.fd();
        self.leave_unsent(state);
        Ok(fd)
    }

    /// How long an event loop that does not watch the descriptor's timer may sleep, in milliseconds; −1: for ever.
    pub(crate) fn timeout_ms(&self) -> Result<i64, Error> {
        let state = self.enter_quietly()?;
        let due = if state.has_events() { Some(0) } else { state.next_deadline() };
        drop(state);
        let left_ns = due.map(|due| due.saturating_sub(self.clock.now().mono_ns));
        Ok(left_ns.map_or(-1, |left_ns| i64::try_from(left_ns.div_ceil(NS_PER_MS)).unwrap_or(i64::MAX)))
    }

    /// Does what is due, without waiting.
    pub(crate) fn process(&self) -> Result<(), Error> {
        let mut state = self.enter()?;
        let descriptors = match self.descriptors_of_loop() {
            Ok(descriptors) => descriptors,
            Err(error) => {
                // The process has no descriptors left; what was submitted leaves all the same.
                state.turn(self.clock.now());
                self.leave_unsent(state);
                return Err(error);
            }
        };
        state.process(self.clock.now(), descriptors, self.bells.event_loop.take());
        self.leave_unsent(state);
        Ok(())
    }

    /// The next event, if there is one.
    pub(crate) fn next_event(&self) -> Result<Option<Fact>, Error> {
        let mut state = self.enter_quietly()?;
        let event = state.next_event(self.clock.now(), self.descriptors_of_loop()?);
        drop(state);
        Ok(event)
    }

    /// Submits an operation whose end will be an event. It leaves with the next `process`.
    pub(crate) fn submit(
        &self,
        operation: Operation,
        submission: Submission,
        canceller: Option<&Canceller>,
    ) -> Result<(), Error> {
        if let Some(canceller) = canceller {
            canceller.tell(&self.bells);
        }
        let mut state = self.enter_quietly()?;
        if state.is_closed {
            self.leave(state);
            return Err(closed());
        }
        self.descriptors_of_loop()?;
        let now = self.clock.now();
        state.submit_queued(now, operation, submission, canceller);
        if canceller.is_some_and(Canceller::is_cancelled) {
            state.cancel_flagged(now);
        }
        self.leave_unsent(state);
        Ok(())
    }
}

impl State {
    /// Brings the event loop's descriptor up to date: what to poll for, until when, and whether it is readable.
    pub(crate) fn update_loop(&mut self, descriptors: &LoopDescriptors) {
        let generation = self.poll_set_generation();
        if self.queue.registered_generation != Some(generation) {
            self.queue.registered_generation = Some(generation);
            self.links.iter_mut().for_each(|link| link.register(&descriptors.epoll));
        }
        let due = self.next_deadline();
        if due.is_some_and(|due| self.queue.timer_mono_ns.is_none_or(|set| due < set)) {
            descriptors.timer.arm(due);
            self.queue.timer_mono_ns = due;
        }
        if self.has_events() && !self.queue.is_signalled {
            descriptors.ready.signal();
            self.queue.is_signalled = true;
        }
    }

    /// The loop has come: what there is to read is read, what was submitted leaves, and then it is judged who is late.
    pub(crate) fn process(&mut self, now: Now, descriptors: &LoopDescriptors, was_rung: bool) {
        if std::mem::take(&mut self.queue.is_signalled) | was_rung {
            descriptors.ready.drain();
        }
        if was_rung {
            self.cancel_flagged(now);
        }
        if self.queue.timer_mono_ns.is_some_and(|due| due <= now.mono_ns) {
            descriptors.timer.drain();
            self.queue.timer_mono_ns = None;
        }
        self.turn(now);
        self.queue.show();
    }

    /// The next event. When there is none, what was submitted meanwhile leaves, and the descriptor is no longer readable
    /// for events.
    pub(crate) fn next_event(&mut self, now: Now, descriptors: &LoopDescriptors) -> Option<Fact> {
        let machine = &self.machine;
        let event = self.queue.next(|node| machine.is_up(node));
        if event.is_none() {
            self.flush(now);
        }
        if !self.has_events() {
            if std::mem::take(&mut self.queue.is_signalled) {
                descriptors.ready.drain();
            }
        } else if event.is_none() {
            // What was submitted while events were fetched. A loop that watches for changes has seen the last one.
            descriptors.ready.signal();
            self.queue.is_signalled = true;
        }
        event
    }

    /// Whether the event loop has something to do at once.
    pub(crate) fn has_events(&self) -> bool {
        !self.queue.is_empty() || self.has_unread() || self.links.iter().any(Link::has_new_outgoing)
    }
}
