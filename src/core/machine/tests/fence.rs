//! Fencing tokens: how they are decided, and what cannot be believed.

use super::super::fence::LEAD_US;
use super::scripted::Scripted;
use crate::core::config::{Config, RestartGuard};
use crate::core::operation::{Completion, LeaseKey, OpKey, Operation};
use crate::core::report::{Outcome, Status};
use crate::core::request::{Fault, FaultKind, NodeId, Reply, Request};

const TTL_MS: u64 = 10_000;

fn script(node_count: usize) -> Scripted {
    let mut script = Scripted::connected(Config { max_ttl_ms: Some(TTL_MS), ..Config::new(node_count) });
    script.fence = true;
    script
}

/// What this node is asked to make its counter.
fn proposal(script: &Scripted, node: NodeId) -> u64 {
    match script.asked[node].front() {
        Some(Request::SetFenced { proposal, .. }) => *proposal,
        other => panic!("{other:?}"),
    }
}

fn grant(script: &mut Scripted, node: NodeId, counter: u64) {
    let time_us = script.time_us();
    script.reply(node, Reply::Fenced { counter, time_us });
}

fn fence(script: &mut Scripted, op: OpKey) -> (LeaseKey, u64) {
    match script.result(op) {
        Some(Ok(Completion::Locked { lease, fence: Some(fence), .. })) => (lease, fence),
        other => panic!("no fenced lease: {other:?}"),
    }
}

fn raise_to(request: &Request) -> u64 {
    match request {
        Request::ExtendFenced { fence, .. } => *fence,
        other => panic!("{other:?}"),
    }
}

fn held(script: &Scripted) -> usize {
    script.views.last().map_or(0, |(_, view)| view.node_count_held)
}

#[test]
fn voters_who_agree_decide_in_one_round() {
    let mut script = script(3);
    let op = script.lock(TTL_MS);
    let proposed = proposal(&script, 0);
    assert_eq!(proposed, script.time_us() + LEAD_US);
    grant(&mut script, 0, proposed);
    grant(&mut script, 1, proposed);
    assert_eq!(fence(&mut script, op).1, proposed);
    assert!(script.asked[0].is_empty() && script.asked[1].is_empty(), "no second round");
}

#[test]
fn voters_who_disagree_are_raised_before_the_lock_is_ours() {
    let mut script = script(3);
    let op = script.lock(TTL_MS);
    let proposed = proposal(&script, 0);
    grant(&mut script, 0, proposed);
    grant(&mut script, 1, proposed + 7);
    assert!(script.result(op).is_none(), "node 1 is below the token");
    assert!(script.asked[1].is_empty(), "node 2 is not");
    assert_eq!(raise_to(&script.reply(0, Reply::Done)), proposed + 7);
    assert_eq!(fence(&mut script, op).1, proposed + 7);
}

/// An earlier holder's token was perhaps 8 more than this proposal, on nodes 0 and 2, and our key on node 0 has expired
/// since it voted: then node 2 is the one that knows.
#[test]
fn a_vote_that_takes_the_place_of_one_that_is_being_raised_is_not_above_the_token() {
    let mut script = script(3);
    let op = script.lock(TTL_MS);
    let proposed = proposal(&script, 0);
    grant(&mut script, 0, proposed);
    grant(&mut script, 1, proposed + 7);
    grant(&mut script, 2, proposed + 9);
    assert_eq!(raise_to(&script.reply(0, Reply::Done)), proposed + 7);
    assert!(script.result(op).is_none(), "raised, but not by enough");
    assert_eq!(raise_to(&script.reply(1, Reply::Done)), proposed + 9);
    assert_eq!(fence(&mut script, op).1, proposed + 9);
}

#[test]
fn an_attempt_that_cannot_raise_a_quorum_fails_and_leaves_no_key() {
    for answer in [Reply::Not, Reply::Unclear(Fault::new(FaultKind::Refused, "?"))] {
        let mut script = script(3);
        let op = script.lock(TTL_MS);
        let proposed = proposal(&script, 0);
        script.reply(2, Reply::Not);
        grant(&mut script, 0, proposed);
        grant(&mut script, 1, proposed + 7);
        let may_remain = answer != Reply::Not;
        script.reply(0, answer);
        assert_eq!(script.failure(op).status, Status::NotAcquired);
        let is_released = |node: NodeId| matches!(script.asked[node].front(), Some(Request::Release { .. }));
        assert_eq!((is_released(0), is_released(1)), (may_remain, true));
    }
}

#[test]
fn a_lock_that_is_over_when_its_voters_are_raised_is_not_ours() {
    let mut script = script(3);
    let op = script.lock(90);
    let proposed = proposal(&script, 0);
    grant(&mut script, 0, proposed);
    grant(&mut script, 1, proposed + 7);
    script.pass_ms(89);
    script.reply(0, Reply::Done);
    assert!(script.failure(op).detail.is_some_and(|detail| detail.contains("too late")));
}

#[test]
fn partial_grants_cannot_give_the_same_token_twice() {
    // With the largest of plain INCRs over a quorum of three nodes, successive holders get 1, 2, 3, 3.
    let mut script = script(3);
    let mut counters = [0_u64; 3];
    let mut last = 0;
    for (round, missing) in [2, 0, 1, 2, 1, 0, 0, 1, 2, 2, 0, 1].into_iter().enumerate() {
        // Attempts of others that were granted by one node only.
        counters[round % 3] = counters[round % 3].max(script.time_us()) + 1_000_000;
        let op = script.lock(TTL_MS);
        for node in (0..3).filter(|&node| node != missing) {
            counters[node] = (counters[node] + 1).max(proposal(&script, node));
            grant(&mut script, node, counters[node]);
        }
        for node in (0..3).filter(|&node| node != missing) {
            if let Some(Request::ExtendFenced { fence, .. }) = script.asked[node].front() {
                counters[node] = counters[node].max(*fence);
                script.reply(node, Reply::Done);
            }
        }
        script.reply(missing, Reply::Not);
        let (lease, token) = fence(&mut script, op);
        assert!(token > last, "round {round}: {token} after {last}");
        last = token;
        script.submit(Operation::Unlock { lease });
        for node in 0..3 {
            while !script.asked[node].is_empty() {
                script.reply(node, Reply::Done);
            }
        }
    }
}

#[test]
fn a_straggler_below_the_token_counts_only_once_it_is_raised() {
    let mut script = script(3);
    let op = script.lock(TTL_MS);
    let proposed = proposal(&script, 0);
    grant(&mut script, 0, proposed + 7);
    grant(&mut script, 1, proposed + 7);
    let (_, token) = fence(&mut script, op);
    grant(&mut script, 2, proposed);
    assert_eq!(held(&script), 2);
    assert_eq!(raise_to(&script.reply(2, Reply::Done)), token);
    assert_eq!(held(&script), 3);
}

#[test]
fn an_extension_carries_the_counter_also_to_a_node_that_lost_it() {
    let mut script = script(3);
    let op = script.lock(TTL_MS);
    let proposed = proposal(&script, 0);
    (0..3).for_each(|node| grant(&mut script, node, proposed));
    let (lease, token) = fence(&mut script, op);
    let op = script.submit(Operation::Extend { lease, ttl_ms: TTL_MS });
    assert_eq!(raise_to(&script.reply(2, Reply::Not)), token);
    assert_eq!(raise_to(&script.reply(0, Reply::Done)), token);
    script.reply(1, Reply::Done);
    assert!(matches!(script.result(op), Some(Ok(Completion::Done))));
    assert_eq!(proposal(&script, 2), token, "set again with the token, not with a new number");
    grant(&mut script, 2, token);
    assert_eq!(held(&script), 3);
}

#[test]
fn a_proposal_exceeds_every_token_this_handle_has_seen() {
    let mut script = script(3);
    let op = script.lock(TTL_MS);
    let ahead = script.time_us() + 5_000_000;
    grant(&mut script, 0, ahead);
    grant(&mut script, 1, ahead);
    assert_eq!(fence(&mut script, op).1, ahead);
    script.asked.iter_mut().for_each(std::collections::VecDeque::clear);
    script.lock(TTL_MS);
    assert_eq!(proposal(&script, 0), ahead + 1);
}

#[test]
fn a_counter_far_ahead_gets_no_vote_and_poisons_nothing() {
    let mut script = script(3);
    let op = script.lock(TTL_MS);
    let (proposed, day_ahead) = (proposal(&script, 0), script.time_us() + 86_400_000_000);
    grant(&mut script, 0, day_ahead);
    grant(&mut script, 1, proposed);
    assert!(script.result(op).is_none());
    grant(&mut script, 2, proposed);
    assert_eq!(fence(&mut script, op).1, proposed);
    assert!(script.asked[0].is_empty(), "nor is anybody raised to it");
}

#[test]
fn why_a_vote_was_refused_is_told() {
    let mut script = script(3);
    let op = script.lock(TTL_MS);
    let (proposed, day_ahead) = (proposal(&script, 0), script.time_us() + 86_400_000_000);
    script.reply(2, Reply::Not);
    grant(&mut script, 1, proposed);
    grant(&mut script, 0, day_ahead);
    let failure = script.failure(op);
    assert_eq!(failure.status, Status::NotAcquired);
    let Outcome::Failed(fault) = &failure.nodes[0].outcome else { panic!("{failure}") };
    assert_eq!(&*fault.text, "its fencing counter is 86400.0 s ahead of the nodes' clocks");
}

#[test]
fn a_clock_far_ahead_proposes_nothing_and_gets_no_vote() {
    let mut script = Scripted::new(Config { max_ttl_ms: Some(TTL_MS), ..Config::new(3) });
    script.fence = true;
    for (node, ahead_us) in [(0, 11_000_000), (1, 9_000_000), (2, 0)] {
        script.up(node, &format!("process {node}"), 86_400, ahead_us);
    }
    // The median is 9 s ahead, so 11 s is too close to it to be noticed; 20 s is not.
    let op = script.lock(TTL_MS);
    let proposed = proposal(&script, 0);
    assert_eq!(proposed, script.time_us() + 11_000_000 + LEAD_US);
    let time_us = script.time_us() + 20_000_000;
    script.reply(0, Reply::Fenced { counter: time_us, time_us });
    grant(&mut script, 2, proposed);
    assert!(script.result(op).is_none(), "one credible vote is no quorum");
    script.reply(1, Reply::Not);
    let failure = script.failure(op);
    let Outcome::Failed(fault) = &failure.nodes[0].outcome else { panic!("{failure}") };
    assert!(fault.text.starts_with("its clock is "), "{fault:?}");
}

#[test]
fn times_that_are_out_of_date_here_are_corrected_by_the_votes() {
    // A virtual machine that was paused for an hour without noticing.
    let mut script = script(3);
    let op = script.lock(TTL_MS);
    let time_us = script.time_us() + 3_600_000_000;
    script.reply(0, Reply::Fenced { counter: time_us, time_us });
    script.reply(1, Reply::Fenced { counter: time_us, time_us });
    assert_eq!(fence(&mut script, op).1, time_us);
}

#[test]
fn a_restarted_node_counts_for_no_token_either() {
    let mut script = script(3);
    script.down(0);
    script.up(0, "another process", 0, 0);
    assert_eq!(Config::new(3).restart_guard, RestartGuard::Seen);
    let op = script.lock(TTL_MS);
    let proposed = proposal(&script, 0);
    grant(&mut script, 0, proposed + 99);
    grant(&mut script, 1, proposed);
    assert!(script.result(op).is_none());
    grant(&mut script, 2, proposed);
    assert_eq!(fence(&mut script, op).1, proposed);
}

#[test]
fn locks_without_a_fence_are_plain() {
    let mut script = script(3);
    script.fence = false;
    let op = script.lock(TTL_MS);
    assert!(matches!(script.reply(0, Reply::Done), Request::Set { .. }));
    script.reply(1, Reply::Done);
    assert!(matches!(script.result(op), Some(Ok(Completion::Locked { fence: None, .. }))));
}
