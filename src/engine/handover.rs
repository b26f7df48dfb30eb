//! Who polls: of all threads that wait, one – the leader – sleeps in `ppoll` over the sockets and reads for everybody;
//! the others – followers – sleep on words of their own. A leader that has what it came for hands over.
//!
//! Everything here happens under the handle's state mutex, except sleeping and waking. The rule that no wake-up is
//! lost: as long as a follower sleeps, there is a leader; a thread that leaves and was the leader names the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::core::operation::OpKey;
use crate::net::sys::{self, FutexWait};

use super::shared::Finished;

/// Longest sleep in one system call. The kernel's timeouts stand still while the machine is suspended; the deadlines
/// do not.
pub(crate) const SLEEP_MAX_NS: u64 = 1_000_000_000;

/// So many followers that have left are not worth a look through the line.
const FOLLOWERS_LEFT_MIN: usize = 64;

const PENDING: u32 = 0;
const DONE: u32 = 1;
const LEAD: u32 = 2;

/// Where one waiting thread sleeps and finds its result.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    word: AtomicU32,
    result: Mutex<Option<Finished>>,
}

/// Why a follower stopped sleeping.
#[derive(Debug)]
pub(crate) enum Awake {
    /// Its operation has ended.
    Done(Finished),
    /// It is the leader now.
    Lead,
    /// A signal handler ran.
    Interrupted,
    /// Nothing has happened for a while. A look at the handle shows whether it still works.
    Bored,
}

impl Slot {
    /// The operation has ended. The sleeper still has to be woken.
    pub(crate) fn finish(&self, result: Finished) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        self.word.store(DONE, Ordering::Release);
    }

    /// The result, once there is one.
    pub(crate) fn take(&self) -> Option<Finished> {
        if self.word.load(Ordering::Acquire) != DONE {
            return None;
        }
        let result = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.word.store(PENDING, Ordering::Release);
        result
    }

    /// Whether the operation has ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.word.load(Ordering::Acquire) == DONE
    }

    /// Sleeps until there is something to do.
    pub(crate) fn sleep(&self) -> Awake {
        loop {
            match self.word.load(Ordering::Acquire) {
                PENDING => match sys::futex_wait(&self.word, PENDING, SLEEP_MAX_NS) {
                    FutexWait::Interrupted => return Awake::Interrupted,
                    FutexWait::TimedOut => return Awake::Bored,
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

    /// Ends the sleep that a change of the word was for. Called without the state mutex: the sleeper needs it next.
    pub(crate) fn wake(&self) {
        sys::futex_wake(&self.word, 1);
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

/// Who leads, who follows.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    leader: Option<OpKey>,
    followers: VecDeque<(OpKey, Arc<Slot>)>,
    pub(crate) leader_sleep: Option<LeaderSleep>,
}

impl Handover {
    /// Becomes the leader if nobody else is. True for whoever is the leader now.
    pub(crate) fn lead(&mut self, op: OpKey) -> bool {
        *self.leader.get_or_insert(op) == op
    }

    /// Whether anybody leads.
    pub(crate) fn has_leader(&self) -> bool {
        self.leader.is_some()
    }

    /// Whether this operation's thread leads.
    pub(crate) fn is_leader(&self, op: OpKey) -> bool {
        self.leader == Some(op)
    }

    /// Joins the followers, before sleeping on `slot`.
    pub(crate) fn follow(&mut self, op: OpKey, slot: &Arc<Slot>) {
        self.followers.push_back((op, Arc::clone(slot)));
    }

    /// Forgets followers that have left, once they are many more than those who wait: a leader that stays for ever names
    /// nobody, and nobody else takes them out of the line.
    pub(crate) fn tidy(&mut self, waiting: usize, pending: impl Fn(OpKey) -> bool) {
        if self.followers.len() > 2 * waiting + FOLLOWERS_LEFT_MIN {
            self.followers.retain(|&(op, _)| pending(op));
        }
    }

    /// The leader has its result and leaves. Names the next among those whose operations are `pending`, and returns
    /// its slot to be woken.
    #[must_use]
    pub(crate) fn resign(&mut self, op: OpKey, pending: impl Fn(OpKey) -> bool) -> Option<Arc<Slot>> {
        if self.leader != Some(op) {
            return None;
        }
        self.leader = None;
        self.leader_sleep = None;
        while let Some((next, slot)) = self.followers.pop_front() {
            if pending(next) {
                self.leader = Some(next);
                slot.word.store(LEAD, Ordering::Release);
                return Some(slot);
            }
        }
        None
    }
}
