//! Plays many schedules on two threads, and one of them again for a reader.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::knobs::Setup;
use crate::world::{Summary, Violation, World};

/// Schedules that a thread takes at once.
const CHUNK: u64 = 64;
const THREADS: usize = 2;

/// What came out of many schedules.
pub struct Outcome {
    pub schedules: u64,
    pub total: Summary,
    pub took: Duration,
    /// The first failing seed.
    pub failure: Option<(u64, Violation)>,
}

pub fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Plays one schedule. A panic inside the library is a violation, too.
pub fn play(seed: u64, setup: Setup, is_told: bool) -> (World, Option<Violation>) {
    #[cfg(feature = "mutants")]
    redlock::core::mutant::activate(setup.mutant);
    let mut world = World::new(seed, setup, is_told);
    let played = catch_unwind(AssertUnwindSafe(|| world.run()));
    let violation = match played {
        Ok(()) => world.violation.clone(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(Violation { invariant: "nothing panics", detail: text.unwrap_or_default() })
        }
    };
    (world, violation)
}

/// A schedule that takes longer than this hangs inside the library.
const HANGS: Duration = Duration::from_secs(20);

/// Ends the process if one thread stays at one schedule.
fn watch_for_hangs(playing: &[AtomicU64; THREADS], running: &AtomicU64) {
    let mut since = [(u64::MAX, Instant::now()); THREADS];
    while running.load(Ordering::Relaxed) > 0 {
        std::thread::sleep(Duration::from_millis(20));
        for (now, (seed, began)) in playing.iter().zip(&mut since) {
            let now = now.load(Ordering::Relaxed);
            if now != *seed {
                (*seed, *began) = (now, Instant::now());
            } else if now != u64::MAX && began.elapsed() > HANGS {
                eprintln!("schedule {now} hangs\nreplay it with: make sim SEED={now}");
                std::process::exit(1);
            }
        }
    }
}

/// What happened in how many schedules, and the first that failed.
type Found = (Summary, u64, Option<(u64, Violation)>);

/// Plays `count` schedules, up to the first that fails.
pub fn play_all(count: u64, setup: Setup) -> Outcome {
    let base = number_from_env("SEED_BASE").unwrap_or(1);
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let found: Mutex<Found> = Mutex::default();
    let playing = [const { AtomicU64::new(u64::MAX) }; THREADS];
    let running = AtomicU64::new(THREADS as u64);
    std::thread::scope(|scope| {
        scope.spawn(|| watch_for_hangs(&playing, &running));
        for playing in &playing {
            let (next, is_over, found, running) = (&next, &is_over, &found, &running);
            scope.spawn(move || {
                let mut total = Summary::default();
                let mut played = 0;
                let mut failure = None;
                'chunks: while !is_over.load(Ordering::Relaxed) {
                    let from = next.fetch_add(CHUNK, Ordering::Relaxed);
                    if from >= count {
                        break;
                    }
                    for seed in from..count.min(from + CHUNK) {
                        playing.store(base + seed, Ordering::Relaxed);
                        let (world, violation) = play(base + seed, setup, false);
                        total.add(&world.summary);
                        played += 1;
                        if let Some(violation) = violation {
                            is_over.store(true, Ordering::Relaxed);
                            failure = Some((base + seed, violation));
                            break 'chunks;
                        }
                    }
                }
                playing.store(u64::MAX, Ordering::Relaxed);
                running.fetch_sub(1, Ordering::Relaxed);
                let mut found = found.lock().unwrap();
                found.0.add(&total);
                found.1 += played;
                let earlier = found.2.take();
                found.2 = match (earlier, failure) {
                    (Some(one), Some(other)) => Some(if one.0 < other.0 { one } else { other }),
                    (one, other) => one.or(other),
                };
            });
        }
    });
    let (total, schedules, failure) = found.into_inner().unwrap();
    Outcome { schedules, total, took: began.elapsed(), failure }
}

/// Tells the trace of one schedule.
pub fn replay(seed: u64, setup: Setup) {
    let (world, violation) = play(seed, setup, true);
    match violation {
        Some(violation) => panic!("{violation}"),
        None => println!("no violation in {} events", world.summary.events),
    }
}

impl Summary {
    fn add(&mut self, other: &Summary) {
        self.events += other.events;
        self.virtual_ns += other.virtual_ns;
        self.locked += other.locked;
        self.failed += other.failed;
        self.extended += other.extended;
        self.unlocked += other.unlocked;
        self.lost += other.lost;
        self.faults += other.faults;
        self.guarded += other.guarded;
        self.covered += other.covered;
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is violated: {}", self.invariant, self.detail)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took_s = self.took.as_secs_f64().max(1e-9);
        let total = &self.total;
        writeln!(
            f,
            "{} schedules in {took_s:.1} s: {:.0} schedules/s, {:.0} x real time, {} events, {} faults",
            self.schedules,
            self.schedules as f64 / took_s,
            total.virtual_ns as f64 / 1e9 / took_s,
            total.events,
            total.faults,
        )?;
        writeln!(f, "{} guarded, with {} empty restarts that excuse nothing", total.guarded, total.covered)?;
        write!(
            f,
            "locked {}, not locked {}, extended {}, unlocked {}, lost {}",
            total.locked, total.failed, total.extended, total.unlocked, total.lost
        )?;
        if let Some((seed, violation)) = &self.failure {
            write!(f, "\nschedule {seed}: {violation}\nreplay it with: make sim SEED={seed}")?;
        }
        Ok(())
    }
}
