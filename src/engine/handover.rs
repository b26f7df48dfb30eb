//! Who polls: of all threads that wait, one – the leader – sleeps in `ppoll` over the sockets and reads for everybody;
//! the others – followers – sleep on words of their own. A leader that has what it came for hands over.
//!
//! Everything in [`Handover`] happens under the handle's state mutex; sleeping and waking do not. The rules by which no
//! wake-up is lost: as long as a follower sleeps, there is a leader; whoever leaves as the leader, or ends the
//! operation of one that was named but is not awake yet, names the next; whoever ends the operation of a sleeping
//! leader, or changes what it sleeps on, kicks it. This file knows neither sockets nor locks, so that a model checker
//! can run it (`tests/handover.rs`).

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::PoisonError;

use super::sync::{Arc, FutexWait, Mutex, Word};

/// Longest sleep in one system call. The kernel's timeouts stand still while the machine is suspended; the deadlines
/// do not.
pub(crate) const SLEEP_MAX_NS: u64 = 1_000_000_000;

/// Places to wait at that are kept for reuse.
const SPARE_SLOTS_MAX: usize = 64;

/// So many followers that have left are not worth a look through the line.
const LEFT_IN_LINE_MIN: usize = 64;

const PENDING: u32 = 0;
const DONE: u32 = 1;
const LEAD: u32 = 2;

/// Where one waiting thread sleeps and finds its result.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    word: Word,
    result: Mutex<Option<T>>,
}

/// Why a follower stopped sleeping.
#[derive(Debug)]
pub(crate) enum Awake<T> {
    /// Its operation has ended.
    Done(T),
    /// It is the leader now.
    Lead,
    /// A signal handler ran.
    Interrupted,
    /// Nothing has happened for a while. A look at the handle shows whether it still works.
    TimedOut,
}

impl<T> Default for Slot<T> {
    fn default() -> Slot<T> {
        Slot { word: Word::default(), result: Mutex::new(None) }
    }
}

impl<T> Slot<T> {
    fn finish(&self, result: T) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        self.word.store(DONE);
    }

    /// The result, once there is one.
    pub(crate) fn take(&self) -> Option<T> {
        if !self.is_finished() {
            return None;
        }
        let result = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.word.store(PENDING);
        result
    }

    /// Whether the operation has ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.word.load() == DONE
    }

    /// Ends the sleep that a change of the word was for. Called without the state mutex: the sleeper needs it next.
    pub(crate) fn wake(&self) {
        self.word.wake();
    }

    /// Sleeps until there is something to do.
    fn sleep(&self) -> Awake<T> {
        loop {
            match self.word.load() {
                PENDING => match self.word.sleep(PENDING, SLEEP_MAX_NS) {
                    FutexWait::Interrupted => return Awake::Interrupted,
                    FutexWait::TimedOut => return Awake::TimedOut,
                    FutexWait::Woken | FutexWait::Changed => {}
                },
                LEAD => return Awake::Lead,
                _ => {
                    if let Some(result) = self.take() {
                        return Awake::Done(result);
                    }
                }
            }
        }
    }
}

/// The leader's sleep, for those who might have to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaderSleep {
    /// When it ends by itself, on the wait clock.
    pub(crate) until_mono_ns: u64,
    /// The generation of the poll set it sleeps on.
    pub(crate) poll_set: u64,
}

/// Whose sleep must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kicks {
    pub(crate) leader: bool,
    pub(crate) onlooker: bool,
}

/// A thread that waits for its operation.
#[derive(Debug)]
struct Waiting<T> {
    slot: Arc<Slot<T>>,
    is_asleep: bool,
    /// It stands in the followers' line, where it stays until it is named, also if it wakes up for other reasons.
    is_in_line: bool,
}

/// Who leads, who follows, who is to be woken. Operations are known by `Op`, results are `T`.
#[derive(Debug)]
pub(crate) struct Handover<Op, T> {
    leader: Option<Op>,
    leader_sleep: Option<LeaderSleep>,
    is_sleeping_leader_done: bool,
    onlooker_sleep: Option<LeaderSleep>,
    calls: u64,
    waiting: HashMap<Op, Waiting<T>>,
    line: VecDeque<Op>,
    woken: Vec<Arc<Slot<T>>>,
    returning: u32,
    spare: Vec<Arc<Slot<T>>>,
}

impl<Op, T> Default for Handover<Op, T> {
    fn default() -> Handover<Op, T> {
        Handover {
            leader: None,
            leader_sleep: None,
            is_sleeping_leader_done: false,
            onlooker_sleep: None,
            calls: 0,
            waiting: HashMap::new(),
            line: VecDeque::new(),
            woken: Vec::new(),
            returning: 0,
            spare: Vec::new(),
        }
    }
}

impl<Op: Copy + Eq + Hash + Debug, T> Handover<Op, T> {
    /// A thread is going to wait for this operation.
    pub(crate) fn join(&mut self, op: Op) -> Arc<Slot<T>> {
        let slot = self.spare.pop().unwrap_or_default();
        self.returning = self.returning.saturating_sub(1);
        self.calls += 1;
        self.waiting.insert(op, Waiting { slot: Arc::clone(&slot), is_asleep: false, is_in_line: false });
        slot
    }

    /// The operation has ended. Without effect when no thread waits for it.
    pub(crate) fn finish(&mut self, op: Op, result: T) {
        let Some(waiting) = self.waiting.remove(&op) else { return };
        waiting.slot.finish(result);
        self.is_sleeping_leader_done |= self.leader == Some(op) && self.leader_sleep.is_some();
        if waiting.is_asleep {
            self.returning += 1;
            // Named as the leader but not awake yet: it will find its result and leave without a look at the rest.
            self.resign(op);
            self.woken.push(waiting.slot);
        }
    }

    /// Becomes the leader if nobody else is. True for whoever is the leader now.
    fn lead(&mut self, op: Op) -> bool {
        *self.leader.get_or_insert(op) == op
    }

    fn fall_asleep(&mut self, op: Op) {
        if let Some(waiting) = self.waiting.get_mut(&op) {
            waiting.is_asleep = true;
            if !std::mem::replace(&mut waiting.is_in_line, true) {
                self.line.push_back(op);
            }
        }
        // A leader that stays for ever names nobody, and nobody else takes those who left out of the line.
        if self.line.len() > 2 * self.waiting.len() + LEFT_IN_LINE_MIN {
            let waiting = &self.waiting;
            self.line.retain(|op| waiting.contains_key(op));
        }
    }

    fn wake_up(&mut self, op: Op) {
        if let Some(waiting) = self.waiting.get_mut(&op) {
            waiting.is_asleep = false;
        }
    }

    /// If this was the leader, names the next of those whose operations go on.
    fn resign(&mut self, op: Op) {
        if self.leader != Some(op) {
            return;
        }
        self.leader = None;
        self.leader_sleep = None;
        while let Some(next) = self.line.pop_front() {
            if let Some(waiting) = self.waiting.get_mut(&next) {
                waiting.is_in_line = false;
                self.leader = Some(next);
                waiting.slot.word.store(LEAD);
                self.woken.push(Arc::clone(&waiting.slot));
                return;
            }
        }
    }

    fn keep(&mut self, slot: Arc<Slot<T>>) {
        if self.spare.len() < SPARE_SLOTS_MAX && Arc::strong_count(&slot) == 1 {
            self.spare.push(slot);
        }
    }

    /// Whether a thread waits for this operation.
    pub(crate) fn is_waiting(&self, op: Op) -> bool {
        self.waiting.contains_key(&op)
    }

    /// Whether anybody leads.
    pub(crate) fn has_leader(&self) -> bool {
        self.leader.is_some()
    }

    /// Whether there is a leader that will send what is queued before it sleeps.
    pub(crate) fn is_leader_awake(&self) -> bool {
        self.leader.is_some() && self.leader_sleep.is_none()
    }

    /// The leader is about to sleep without the mutex.
    pub(crate) fn leader_sleeps(&mut self, sleep: LeaderSleep) {
        self.leader_sleep = Some(sleep);
    }

    /// It has the mutex again.
    pub(crate) fn leader_wakes(&mut self) {
        self.leader_sleep = None;
    }

    /// Who sleeps on terms that are no longer right, and must be kicked. The onlooker only while there is no leader.
    pub(crate) fn must_kick(&mut self, poll_set: u64, deadline_mono_ns: Option<u64>) -> Kicks {
        let is_done = std::mem::take(&mut self.is_sleeping_leader_done);
        let is_outdated = |sleep: LeaderSleep| {
            let is_due_earlier = deadline_mono_ns.is_some_and(|due| due < sleep.until_mono_ns);
            sleep.poll_set != poll_set || is_due_earlier
        };
        let onlooker_sleep = self.onlooker_sleep.filter(|sleep| self.leader.is_none() && is_outdated(*sleep));
        if onlooker_sleep.is_some() {
            self.onlooker_sleep = None;
        }
        Kicks {
            leader: self.leader_sleep.is_some_and(|sleep| is_done || is_outdated(sleep)),
            onlooker: onlooker_sleep.is_some(),
        }
    }

    /// A thread that waits for no operation sleeps on the sockets, while nobody leads.
    pub(crate) fn onlooker_sleeps(&mut self, sleep: LeaderSleep) {
        self.onlooker_sleep = Some(sleep);
    }

    /// It has the mutex again.
    pub(crate) fn onlooker_wakes(&mut self) {
        self.onlooker_sleep = None;
    }

    /// How many waits there have been.
    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    /// The threads to wake once the mutex is free.
    pub(crate) fn take_woken(&mut self) -> Vec<Arc<Slot<T>>> {
        std::mem::take(&mut self.woken)
    }

    /// Threads that have just been given their results and may come back at once with their next operation.
    pub(crate) fn returning(&self) -> u32 {
        self.returning
    }

    /// Nobody is waited for to come back any more.
    pub(crate) fn forget_returning(&mut self) {
        self.returning = 0;
    }
}

/// Where threads wait: the mutex around a [`Handover`], and what a leader does.
pub(crate) trait WaitHost {
    /// An operation.
    type Op: Copy + Eq + Hash + Debug;
    /// What it yields.
    type Result;
    /// Why the station cannot be entered.
    type Error;
    /// The mutex, held.
    type Guard<'a>
    where
        Self: 'a;

    /// Takes the mutex.
    fn enter(&self) -> Result<Self::Guard<'_>, Self::Error>;

    /// What it guards.
    fn handover<'g>(&self, guard: &'g mut Self::Guard<'_>) -> &'g mut Handover<Self::Op, Self::Result>;

    /// Lets the mutex go, kicks the leader if it must, wakes who is to be woken.
    fn leave(&self, guard: Self::Guard<'_>);

    /// One turn as the leader: sleeps without the mutex until there is something to read, due or changed, and takes
    /// care of it – unless `slot` has its result before. True when a signal handler ran meanwhile.
    fn lead<'a>(
        &'a self,
        guard: Self::Guard<'a>,
        slot: &Slot<Self::Result>,
    ) -> Result<(Self::Guard<'a>, bool), Self::Error>;

    /// A signal handler ran while this operation was waited for.
    fn interrupted(&self, guard: &mut Self::Guard<'_>, op: Self::Op);
}

/// Waits for the end of an operation, as the leader or as a follower.
pub(crate) fn wait<'a, S: WaitHost>(
    station: &'a S,
    mut guard: S::Guard<'a>,
    op: S::Op,
    slot: Arc<Slot<S::Result>>,
) -> Result<S::Result, S::Error> {
    loop {
        let is_interrupted = if station.handover(&mut guard).lead(op) {
            let (after, is_interrupted) = station.lead(guard, &slot)?;
            guard = after;
            is_interrupted
        } else {
            station.handover(&mut guard).fall_asleep(op);
            station.leave(guard);
            let awake = slot.sleep();
            if let Awake::Done(result) = awake {
                return Ok(result);
            }
            guard = station.enter()?;
            station.handover(&mut guard).wake_up(op);
            matches!(awake, Awake::Interrupted)
        };
        if is_interrupted {
            station.interrupted(&mut guard, op);
        }
        if let Some(result) = slot.take() {
            let handover = station.handover(&mut guard);
            handover.resign(op);
            handover.keep(slot);
            station.leave(guard);
            return Ok(result);
        }
    }
}
