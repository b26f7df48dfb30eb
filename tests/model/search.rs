//! The search, depth first.
//!
//! Not the `stateright` crate: what it would save is the page below. It wants states that are compared and hashed as they
//! are, where here a fingerprint leaves out what has no say; its breadth-first search would keep whole machines in its
//! queue, where this one keeps 32 bytes for a state and the worlds of one path; and it has no partial orders.

use std::collections::hash_map::Entry;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::checks::{ENDING, PANIC, Violation};
use crate::fingerprint::{ByFingerprint, fingerprint};
use crate::scenario::Scenario;
use crate::steps::Step;
use crate::world::World;

/// Longer runs than this do not come to rest.
const DEPTH_MAX: usize = 200;

/// What a search has seen.
pub struct Outcome {
    scenario: Scenario,
    pub states: usize,
    pub transitions: usize,
    /// States in which everything has come to rest.
    pub terminals: usize,
    /// Of all of those, whatever their order.
    pub rests: u128,
    pub depth: usize,
    pub took: Duration,
    pub violation: Option<(Violation, Vec<Step>)>,
}

/// The shortest run of a scenario that violates something, by searches of ever smaller depth.
pub fn shortest(scenario: &Scenario, mut found: Vec<Step>) -> Vec<Step> {
    while let Some((_, shorter)) = explore(scenario, Ways::UpTo(found.len() - 1)).violation {
        found = shorter;
    }
    found
}

/// A set of steps, by their numbers.
type Steps = u32;

/// A state on the path.
struct Junction {
    world: World,
    /// The steps from it that are still to be gone.
    ahead: Vec<Step>,
    /// Steps that need not be gone from here: what they lead to is seen on another way.
    asleep: Steps,
    /// The one that is being gone.
    step: Option<Step>,
}

/// How the ways to states are chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ways {
    /// Of two independent steps that are possible at once only one order (sleep sets with state matching, Godefroid,
    /// "Partial-Order Methods for the Verification of Concurrent Systems", 1996, chapters 4 and 5), and of the steps that
    /// nothing else depends on only one.
    Fewest,
    /// All of them.
    All,
    /// All of them up to this depth. A state is looked at again at every depth at which it is reached.
    UpTo(usize),
}

/// Explores all runs of a scenario, up to the first that violates something.
pub fn explore(scenario: &Scenario, ways: Ways) -> Outcome {
    let began = Instant::now();
    // With the steps that have not been gone from there.
    let mut seen: ByFingerprint<Steps> = ByFingerprint::default();
    let mut outcome = Outcome::new(scenario);
    let start = World::new(scenario);
    let steps_of = |world: &World| if ways == Ways::Fewest { world.sufficient_steps() } else { world.steps() };
    let mut path = vec![Junction { ahead: steps_of(&start), world: start, asleep: 0, step: None }];
    while let Some(junction) = path.last_mut() {
        junction.step = junction.ahead.pop();
        let Some(step) = junction.step else {
            path.pop();
            continue;
        };
        let mut world = junction.world.clone();
        let asleep = if ways == Ways::Fewest { still_asleep(&world, junction.asleep, step) } else { 0 };
        junction.asleep |= bit(step);
        outcome.transitions += 1;
        let violation = take(&mut world, step);
        let depth = path.len();
        outcome.depth = outcome.depth.max(depth);
        if violation.is_some() || depth == DEPTH_MAX {
            let endless = || Violation { check: ENDING, detail: format!("no rest within {DEPTH_MAX} steps") };
            let steps = path.iter().filter_map(|junction| junction.step).collect();
            outcome.violation = Some((violation.unwrap_or_else(endless), steps));
            break;
        }
        let depth = if let Ways::UpTo(depth_max) = ways {
            if depth >= depth_max {
                continue;
            }
            depth
        } else {
            0
        };
        match seen.entry(fingerprint(&(&world, depth))) {
            Entry::Vacant(new) => {
                if world.is_at_rest() {
                    outcome.terminals += 1;
                    outcome.rests ^= *new.key();
                }
                new.insert(asleep);
                let ahead = steps_of(&world).into_iter().filter(|&step| asleep & bit(step) == 0).collect();
                path.push(Junction { ahead, world, asleep, step: None });
            }
            Entry::Occupied(mut known) => {
                let woken = known.get() & !asleep;
                if woken != 0 {
                    let asleep = known.get() & asleep;
                    known.insert(asleep);
                    let ahead = steps_of(&world).into_iter().filter(|&step| woken & bit(step) != 0).collect();
                    path.push(Junction { ahead, world, asleep, step: None });
                }
            }
        }
    }
    outcome.states = seen.len() + 1;
    outcome.took = began.elapsed();
    outcome
}

fn bit(step: Step) -> Steps {
    step.number().map_or(0, |number| 1 << number)
}

/// Of the steps that need not be gone, those that need not be gone after `taken` either.
fn still_asleep(world: &World, asleep: Steps, taken: Step) -> Steps {
    if asleep == 0 {
        return 0;
    }
    let independent = Step::numbered().filter(|&step| world.are_independent(step, taken));
    asleep & independent.fold(0, |set, step| set | bit(step))
}

/// A panic inside the library is a violation, too.
fn take(world: &mut World, step: Step) -> Option<Violation> {
    match catch_unwind(AssertUnwindSafe(|| world.take(step))) {
        Ok(()) => world.violation.take(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(Violation { check: PANIC, detail: text.unwrap_or_default() })
        }
    }
}

/// Tells a run, step by step.
pub fn tell(scenario: &Scenario, steps: &[Step]) {
    let mut world = World::new(scenario);
    for (at, &step) in steps.iter().enumerate() {
        let line = world.describe(step);
        let before = world.clone();
        let violation = take(&mut world, step);
        println!("{:>4}  {line}{}", at + 1, world.news(&before));
        if let Some(violation) = violation {
            println!("      {violation}");
        }
    }
}

impl Outcome {
    fn new(scenario: &Scenario) -> Outcome {
        Outcome {
            scenario: *scenario,
            states: 0,
            transitions: 0,
            terminals: 0,
            rests: 0,
            depth: 0,
            took: Duration::ZERO,
            violation: None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { scenario, states, transitions, terminals, depth, took, .. } = self;
        let took_s = took.as_secs_f64();
        write!(f, "{states:>8} states {transitions:>8} transitions {terminals:>5} terminal, depth {depth:>2}, ")?;
        write!(f, "{took_s:>4.1} s  {scenario}")
    }
}
