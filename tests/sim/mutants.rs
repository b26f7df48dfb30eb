//! Every seeded fault must be found: what finds none proves nothing.

use redlock::core::mutant::ALL;

use crate::knobs::Setup;
use crate::node::ScriptFault;
use crate::runner::{number_from_env, play_all};

/// Schedules within which each fault must show.
const SEEDS: u64 = 100_000;

const SCRIPT_FAULTS: [ScriptFault; 7] = [
    ScriptFault::UnlockWithoutCompare,
    ScriptFault::ExtendWithoutCompare,
    ScriptFault::ExtendShortens,
    ScriptFault::SetWithoutNx,
    ScriptFault::CounterStands,
    ScriptFault::CounterRepeats,
    ScriptFault::CounterNotRaised,
];

#[test]
fn every_seeded_fault_is_found() {
    let in_core = ALL.map(|mutant| (format!("{mutant:?}"), Setup { mutant: Some(mutant), ..Setup::PROMISE }));
    let in_scripts = SCRIPT_FAULTS
        .map(|fault| (format!("{fault:?} (script)"), Setup { script_fault: Some(fault), ..Setup::PROMISE }));
    let only = std::env::var("MUTANT").ok().filter(|only| !only.is_empty());
    let seeds = number_from_env("SEEDS").unwrap_or(SEEDS);
    // Mutants may panic inside the machine, which is one way of being found.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let (mut found, mut count) = (0, 0);
    println!("| seeded fault | found by | after schedules |");
    println!("|---|---|---:|");
    for (name, setup) in in_core.into_iter().chain(in_scripts) {
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        count += 1;
        match play_all(seeds, setup).failure {
            Some((seed, violation)) => {
                found += 1;
                println!("| {name} | {} | {seed} |", violation.invariant);
            }
            None => println!("| {name} | **not found** | {seeds} |"),
        }
    }
    println!("{found} caught of {count}");
    std::panic::set_hook(hook);
    assert!(count > 0, "no mutant has this name");
    assert_eq!(found, count, "the simulator is blind to some faults");
}
