//! Every interleaving, with a bounded number of preemptions, of the file that decides who polls.
//!
//! `src/engine/handover.rs` itself is compiled here, on the primitives of `loom`. The model around it has what a real
//! handle has: a mutex, a leader's sleep that ends by bytes or by a kick, and words to sleep on. No sleep has a timeout,
//! so a lost wake-up is a deadlock, which `loom` reports.

#[allow(dead_code)]
#[path = "../src/engine/handover.rs"]
mod handover;

use std::collections::VecDeque;

use handover::{Handover, LeaderSleep, Slot, WaitHost};
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
use loom::thread;

/// What `handover.rs` finds as `super::sync`.
mod sync {
    pub use loom::sync::{Arc, Mutex};

    use loom::sync::Condvar;
    use loom::sync::atomic::{AtomicU32, Ordering};

    /// As in `src/net/sys`.
    #[allow(dead_code)]
    #[derive(Debug, PartialEq, Eq)]
    pub enum FutexWait {
        Woken,
        Changed,
        TimedOut,
        Interrupted,
    }

    /// A futex: comparing and falling asleep is one step for whoever wakes.
    #[derive(Debug)]
    pub struct Word {
        value: AtomicU32,
        kernel: Mutex<()>,
        sleepers: Condvar,
    }

    impl Default for Word {
        fn default() -> Word {
            Word { value: AtomicU32::new(0), kernel: Mutex::new(()), sleepers: Condvar::new() }
        }
    }

    impl Word {
        pub fn load(&self) -> u32 {
            self.value.load(Ordering::Acquire)
        }

        pub fn store(&self, value: u32) {
            self.value.store(value, Ordering::Release);
        }

        pub fn sleep(&self, expected: u32, _timeout_ns: u64) -> FutexWait {
            let kernel = self.kernel.lock().unwrap();
            if self.load() != expected {
                return FutexWait::Changed;
            }
            drop(self.sleepers.wait(kernel).unwrap());
            FutexWait::Woken
        }

        pub fn wake(&self) {
            drop(self.kernel.lock().unwrap());
            self.sleepers.notify_one();
        }
    }
}

type Op = u32;

const CANCELLED: u32 = 0;

/// A defect to show that the model would notice it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    None,
    /// Nobody kicks a leader whose operation was ended by another thread.
    NoKick,
    /// Threads whose operations ended, or who were named, are not woken.
    NoWake,
}

#[derive(Debug, Default)]
struct Wire {
    /// Operations whose replies can be read.
    inbox: VecDeque<Op>,
    is_kicked: bool,
}

struct Model {
    state: Mutex<Handover<Op, u32>>,
    wire: Mutex<Wire>,
    readable: Condvar,
    defect: Defect,
}

impl Model {
    fn new(defect: Defect) -> Arc<Model> {
        let (state, wire) = (Mutex::new(Handover::default()), Mutex::new(Wire::default()));
        Arc::new(Model { state, wire, readable: Condvar::new(), defect })
    }

    /// A blocking call: what it yields is the operation's own number, unless it was cancelled.
    fn call(&self, op: Op) -> u32 {
        let mut state = self.state.lock().unwrap();
        let slot = state.join(op);
        handover::wait(self, state, op, slot).unwrap_or_else(|never| match never {})
    }

    /// The server answers.
    fn reply(&self, op: Op) {
        self.wire.lock().unwrap().inbox.push_back(op);
        self.readable.notify_all();
    }

    /// Another thread ends an operation.
    fn cancel(&self, op: Op) {
        let mut state = self.state.lock().unwrap();
        state.finish(op, CANCELLED);
        self.leave(state);
    }
}

impl WaitHost for Model {
    type Op = Op;
    type Result = u32;
    type Error = std::convert::Infallible;
    type Guard<'a> = MutexGuard<'a, Handover<Op, u32>>;

    fn enter(&self) -> Result<Self::Guard<'_>, Self::Error> {
        Ok(self.state.lock().unwrap())
    }

    fn handover<'g>(&self, guard: &'g mut Self::Guard<'_>) -> &'g mut Handover<Op, u32> {
        guard
    }

    fn leave(&self, mut state: Self::Guard<'_>) {
        let must_kick = state.must_kick(0, None);
        let woken = state.take_woken();
        drop(state);
        if must_kick.leader && self.defect != Defect::NoKick {
            self.wire.lock().unwrap().is_kicked = true;
            self.readable.notify_all();
        }
        for slot in woken {
            if self.defect != Defect::NoWake {
                slot.wake();
            }
        }
    }

    fn lead<'a>(
        &'a self,
        mut state: Self::Guard<'a>,
        slot: &Slot<u32>,
    ) -> Result<(Self::Guard<'a>, bool), Self::Error> {
        if slot.is_finished() {
            return Ok((state, false));
        }
        state.leader_sleeps(LeaderSleep { until_mono_ns: u64::MAX, poll_set: 0 });
        self.leave(state);
        let mut wire = self.wire.lock().unwrap();
        while wire.inbox.is_empty() && !wire.is_kicked {
            wire = self.readable.wait(wire).unwrap();
        }
        wire.is_kicked = false;
        drop(wire);
        let mut state = self.enter()?;
        state.leader_wakes();
        // Read under the mutex, as the engine does: the bytes are nobody's before.
        let arrived = std::mem::take(&mut self.wire.lock().unwrap().inbox);
        for op in arrived {
            state.finish(op, op);
        }
        Ok((state, false))
    }

    fn interrupted(&self, _guard: &mut Self::Guard<'_>, _op: Op) {}
}

fn explore(preemptions: usize, scenario: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(scenario);
}

/// A thread that calls and waits.
fn calling(model: &Arc<Model>, op: Op) -> thread::JoinHandle<u32> {
    let model = Arc::clone(model);
    thread::spawn(move || model.call(op))
}

/// Two callers, replies in one order; which of them leads, and when each comes, is up to the schedule.
fn two_callers_are_answered(defect: Defect) {
    let model = Model::new(defect);
    let callers = [1, 2].map(|op| calling(&model, op));
    // A reply to a question that was not put yet would be lost, as no server could send it.
    while !is_waiting(&model, &[1, 2]) {
        thread::yield_now();
    }
    model.reply(1);
    model.reply(2);
    let results = callers.map(|caller| caller.join().unwrap());
    assert_eq!(results, [1, 2]);
}

fn is_waiting(model: &Model, ops: &[Op]) -> bool {
    let state = model.state.lock().unwrap();
    ops.iter().all(|&op| state.is_waiting(op))
}

fn cancelled_leader(defect: Defect) {
    let model = Model::new(defect);
    let caller = calling(&model, 1);
    while !is_waiting(&model, &[1]) {
        thread::yield_now();
    }
    model.cancel(1);
    assert_eq!(caller.join().unwrap(), CANCELLED);
}

#[test]
fn every_caller_gets_its_answer_whoever_leads() {
    explore(2, || two_callers_are_answered(defect()));
}

#[test]
fn a_sleeping_leader_is_kicked_when_its_operation_is_cancelled() {
    explore(3, || cancelled_leader(defect()));
}

/// One of two is cancelled, the other answered: whether the cancelled one led, followed, or had just been named.
#[test]
fn whoever_is_cancelled_leaves_a_leader_behind() {
    explore(2, || {
        let model = Model::new(Defect::None);
        let callers = [1, 2].map(|op| calling(&model, op));
        while !is_waiting(&model, &[1, 2]) {
            thread::yield_now();
        }
        model.cancel(1);
        model.reply(2);
        let results = callers.map(|caller| caller.join().unwrap());
        assert_eq!(results, [CANCELLED, 2]);
    });
}

/// The driver sleeps without leading: it is kicked when its terms change while nobody leads, and once for each change.
#[test]
fn an_onlooker_is_kicked_when_nobody_leads_and_its_terms_have_changed() {
    loom::model(|| {
        let mut handover = Handover::<Op, Op>::default();
        handover.onlooker_sleeps(LeaderSleep { until_mono_ns: 100, poll_set: 1 });
        assert!(!handover.must_kick(1, Some(100)).onlooker);
        let slot = handover.join(1);
        assert_eq!(handover.calls(), 1);
        drop(slot);
        assert!(handover.must_kick(1, Some(99)).onlooker);
        assert!(!handover.must_kick(1, Some(98)).onlooker, "it is on its way");
        handover.onlooker_wakes();
        handover.onlooker_sleeps(LeaderSleep { until_mono_ns: 100, poll_set: 1 });
        assert!(handover.must_kick(2, None).onlooker);
    });
}

/// The defect that a run of this very test binary is told to have.
fn defect() -> Defect {
    match std::env::var(DEFECT).as_deref() {
        Ok("no kick") => Defect::NoKick,
        Ok("no wake") => Defect::NoWake,
        _ => Defect::None,
    }
}

const DEFECT: &str = "HANDOVER_DEFECT";

/// In a process of its own: `loom` cannot unwind out of a deadlock.
fn is_found(defect: &str, test: &str) {
    let this_test_binary = std::env::current_exe().unwrap();
    let run = std::process::Command::new(this_test_binary).args(["--exact", test]).env(DEFECT, defect).output();
    let run = run.unwrap();
    let said = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned();
    assert!(!run.status.success() && said.contains("deadlock"), "{defect}: {said}");
}

#[test]
fn a_forgotten_kick_is_found() {
    is_found("no kick", "a_sleeping_leader_is_kicked_when_its_operation_is_cancelled");
}

#[test]
fn a_forgotten_wake_up_is_found() {
    is_found("no wake", "every_caller_gets_its_answer_whoever_leads");
}
