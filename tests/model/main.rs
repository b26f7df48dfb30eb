//! The library's own state machine, two clients and three nodes: every interleaving of a few small scenarios.
//!
//! What the simulator tries at random on long schedules, this tries completely on short ones. `MODEL=full` explores all
//! scenarios (`make model`); without it only those that are quick without optimisation as well. docs/testing.md says what
//! a scenario contains and what it leaves out.

mod checks;
mod client;
mod fingerprint;
#[cfg(feature = "mutants")]
mod mutants;
mod node;
mod scenario;
mod search;
mod steps;
mod trace;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use checks::EXCLUSION;
use redlock::core::config::RestartGuard;
use scenario::Act::{Lock, Unlock};
use scenario::{Scenario, Trouble};
use search::{Outcome, Ways, explore, shortest, tell};

const THREADS: usize = 2;

#[test]
fn no_interleaving_breaks_a_promise() {
    let mut scenarios = scenario::small();
    if std::env::var("MODEL").is_ok_and(|size| size == "full") {
        scenarios.extend(scenario::large());
    }
    let (rest, has_failed) = (Mutex::new(scenarios), AtomicBool::new(false));
    let next = || rest.lock().unwrap().pop();
    let explore_all = || {
        while let Some(scenario) = next() {
            has_failed.fetch_or(!holds(&scenario), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(explore_all);
        }
    });
    assert!(!has_failed.into_inner(), "a promise was broken");
}

/// Explores a scenario, and tells the shortest run that violates something.
fn holds(scenario: &Scenario) -> bool {
    let outcome = explore(scenario, Ways::Fewest);
    println!("{outcome}");
    if let Some((violation, steps)) = &outcome.violation {
        println!("{violation}");
        tell(scenario, &shortest(scenario, steps.clone()));
    }
    outcome.violation.is_none()
}

fn is_broken(outcome: &Outcome) -> bool {
    outcome.violation.as_ref().is_some_and(|(violation, _)| violation.check == EXCLUSION)
}

/// One server that forgets its keys is enough to have two holders, unless it is kept from voting.
#[test]
fn without_a_guard_a_restart_makes_two_holders_and_the_search_sees_it() {
    let restart = Scenario::new(&[Lock], &[Lock]).with(Trouble::Restart);
    let off = explore(&Scenario { guard: RestartGuard::Off, ..restart }, Ways::Fewest);
    println!("{off}");
    assert!(is_broken(&off), "the checks are blind");
    let newcomer = explore(&restart.newcomer(RestartGuard::Seen), Ways::Fewest);
    println!("{newcomer}");
    assert!(is_broken(&newcomer), "who was not there has not seen the restart");
}

/// What is left out because its order does not matter has indeed no other end.
#[test]
fn fewer_ways_lead_to_the_same_ends() {
    for scenario in [
        Scenario::new(&[Lock], &[Lock]).with(Trouble::Reset),
        Scenario::held(&[Unlock], &[Lock]).fenced().with(Trouble::Restart),
    ] {
        let (fewest, all) = (explore(&scenario, Ways::Fewest), explore(&scenario, Ways::All));
        println!("{fewest}\n{all}");
        assert_eq!((fewest.terminals, fewest.rests), (all.terminals, all.rests), "{scenario}");
    }
}
