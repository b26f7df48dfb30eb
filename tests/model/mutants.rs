//! Seeded faults must be found: a search that finds none proves nothing.
//!
//! Not all of the simulator's can be: three nodes have no even quorum, one caller has no queue behind it, model nodes
//! answer without errors and announce every expiry, and a lease whose key a restart has taken is not asked for a quorum of
//! keys.

use redlock::core::mutant::{Mutant, activate};

use crate::node::ScriptFault;
use crate::scenario::{Scenario, large, small};
use crate::search::{Ways, explore};

const IN_CORE: [Mutant; 22] = [
    Mutant::QuorumMinusOne,
    Mutant::ValidFromAnswer,
    Mutant::NoDrift,
    Mutant::NoGranularity,
    Mutant::ValidAsBestNode,
    Mutant::TimeoutIsYes,
    Mutant::TimeoutIsNo,
    Mutant::AttemptNotCleaned,
    Mutant::OldVoteCounts,
    Mutant::ReleaseForgotten,
    Mutant::ReleaseVoidTooEarly,
    Mutant::SetSentTooLate,
    Mutant::FailedExtensionReleases,
    Mutant::ExtensionRevives,
    Mutant::AbsentIsExtended,
    Mutant::SetAgainBehindRelease,
    Mutant::AbsentIsReleased,
    Mutant::LateLosesPlace,
    Mutant::GuardOff,
    Mutant::UnfitVotesCount,
    Mutant::LowestVoteIsToken,
    Mutant::NobodyRaised,
];

const IN_SCRIPTS: [ScriptFault; 4] = [
    ScriptFault::UnlockWithoutCompare,
    ScriptFault::SetWithoutNx,
    ScriptFault::CounterStands,
    ScriptFault::FenceNotWrittenBack,
];

/// The check that finds the fault, after how many states of all scenarios, and in which of these.
fn find(mutant: Option<Mutant>, script_fault: Option<ScriptFault>) -> Option<(&'static str, usize, Scenario)> {
    activate(mutant);
    let mut states = 0;
    small().into_iter().chain(large()).find_map(|scenario| {
        let scenario = Scenario { script_fault, ..scenario };
        let outcome = explore(&scenario, Ways::Fewest);
        states += outcome.states;
        outcome.violation.map(|(violation, _)| (violation.check, states, scenario))
    })
}

#[test]
fn seeded_faults_are_found() {
    // Mutants may panic inside the machine, which is one way of being found.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let in_core = IN_CORE.map(|mutant| (format!("{mutant:?}"), Some(mutant), None));
    let in_scripts = IN_SCRIPTS.map(|fault| (format!("{fault:?} (script)"), None, Some(fault)));
    let mut missed = Vec::new();
    println!("| seeded fault | found by | after states | in |");
    println!("|---|---|---:|---|");
    for (name, mutant, script_fault) in in_core.into_iter().chain(in_scripts) {
        match find(mutant, script_fault) {
            Some((check, states, scenario)) => {
                let scenario = scenario.to_string().replace('|', "·");
                println!("| {name} | {check} | {states} | {scenario} |");
            }
            None => missed.push(name),
        }
    }
    activate(None);
    std::panic::set_hook(hook);
    assert!(missed.is_empty(), "the search is blind to {missed:?}");
}
