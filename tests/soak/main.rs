//! Real servers, real client processes, real faults; a checker that reads what all of them wrote down.
//!
//! `MINUTES=n` says how long the faults go on, `SEED=n` in which order they come. The order follows from the seed alone,
//! the moment at which each strikes from how fast the machine is: a run cannot be repeated exactly (`tests/sim` can).

mod checker;
mod client;
mod face;
mod nemesis;
mod plan;
mod record;
mod rig;
#[path = "../sim/rng.rs"]
#[allow(dead_code, reason = "the simulator uses all of it")]
mod rng;
mod store;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use checker::Verdict;
use client::Orders;
use plan::{Defect, Plan};
use rig::Rig;

/// In `make test`.
const STORMY: Duration = Duration::from_secs(30);
const CLIENTS: usize = 7;

fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

fn play(plan: Plan) -> Verdict {
    let evidence = Rig::start(plan).run();
    let verdict = Verdict::of(&evidence);
    println!("{verdict}");
    if plan.defect == Defect::None && !verdict.violations.is_empty() {
        println!("every record is kept in {}", evidence.dir.path().display());
        std::mem::forget(evidence.dir);
    }
    verdict
}

fn defective(defect: Defect) -> Plan {
    Plan { seed: 1, stormy: Duration::from_secs(4), clients: 2, has_faults: false, defect }
}

#[test]
fn under_real_faults_one_client_holds_the_lock_and_no_fenced_update_is_lost() {
    let stormy = number_from_env("MINUTES").map_or(STORMY, |minutes| Duration::from_secs(60 * minutes));
    let seed = number_from_env("SEED").unwrap_or(1);
    let verdict = play(Plan { seed, stormy, clients: CLIENTS, has_faults: true, defect: Defect::None });
    assert!(verdict.violations.is_empty(), "a promise was broken");
    assert!(verdict.fault_count > 0 && verdict.hand_overs > 0 && verdict.updates_fenced > 0, "nothing happened");
}

#[test]
fn a_client_that_ignores_its_deadline_is_caught() {
    let verdict = play(defective(Defect::IgnoredDeadlines));
    assert!(verdict.overlaps > 0, "the checker is blind");
    assert!(verdict.lost_plain > 0, "plain registers lose updates");
    assert_eq!(verdict.lost_fenced, 0, "fenced registers do not, whatever clients do");
    assert!(verdict.refused > 0 && verdict.token_faults == 0);
}

#[test]
fn a_store_that_ignores_tokens_is_caught() {
    let verdict = play(defective(Defect::IgnoredTokens));
    assert!(verdict.lost_fenced > 0, "the checker is blind");
}

#[test]
#[ignore = "a part of the others, which start it as a process of its own"]
fn client() {
    if let Some(orders) = Orders::from_variable() {
        client::live(orders);
    }
}
