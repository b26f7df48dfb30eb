//! Restarted nodes, and servers that cannot be one of the masters.

use super::scripted::Scripted;
use crate::core::config::{Config, DRIFT_PPM, RestartGuard};
use crate::core::machine::Machine;
use crate::core::operation::{Completion, LeaseState, OpKey, Operation};
use crate::core::report::{Failure, Outcome, Status};
use crate::core::request::{Fault, FaultKind, NodeId, Reply, Request, ServerInfo};
use crate::core::time::NS_PER_MS;

const TTL_MS: u64 = 10_000;
/// Ttl, drift and the granularity of expiry.
const GUARD_MS: u64 = TTL_MS + TTL_MS * DRIFT_PPM / 1_000_000 + 2;

fn server(run_id: &str) -> ServerInfo {
    ServerInfo { run_id: run_id.to_owned(), ..ServerInfo::default() }
}

/// A machine whose nodes are connected to the servers of these names.
fn met(mode: RestartGuard, run_ids: &[&str]) -> Machine {
    let mut machine = Machine::new(config(mode));
    for (node, run_id) in machine.nodes.iter_mut().zip(run_ids) {
        node.connected(server(run_id));
    }
    machine
}

fn config(restart_guard: RestartGuard) -> Config {
    Config { restart_guard, max_ttl_ms: Some(TTL_MS), ..Config::new(3) }
}

fn strict(info: &ServerInfo) -> Option<Fault> {
    met(RestartGuard::Strict, &["a"]).unfit(0, info)
}

fn seen(run_ids: &[&str], node: NodeId, info: &ServerInfo) -> Option<Fault> {
    met(RestartGuard::Seen, run_ids).unfit(node, info)
}

/// Node 0 goes and comes back as another process.
fn restart(script: &mut Scripted, uptime_s: u64) {
    script.down(0);
    script.up(0, "another process", uptime_s, 0);
}

/// One attempt, of which node 2 says that it is held, so that node 0 decides.
fn decided_by_node_0(script: &mut Scripted) -> OpKey {
    let op = script.lock(TTL_MS);
    script.reply(2, Reply::Not);
    script.reply(1, Reply::Done);
    script.reply(0, Reply::Done);
    script.asked.iter_mut().for_each(std::collections::VecDeque::clear);
    op
}

fn answer_all_releases(script: &mut Scripted) {
    for node in 0..3 {
        while script.machine.awaited(node).is_some() {
            script.asked[node].push_back(Request::Track);
            script.reply(node, Reply::Done);
        }
    }
}

fn reason(failure: &Failure) -> &str {
    match &failure.nodes[0].outcome {
        Outcome::Guarded(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_listed_twice_is_refused_by_name() {
    let fault = seen(&["a", "b", "c"], 2, &server("a")).expect("the same server");
    assert_eq!((fault.kind, &*fault.text), (FaultKind::Permanent, "is the same server as node 1"));
}

#[test]
fn a_node_may_come_back_as_itself() {
    assert_eq!(seen(&["a", "b"], 0, &server("a")), None);
}

#[test]
fn servers_that_hide_their_run_id_are_not_taken_for_twins() {
    assert_eq!(seen(&["", ""], 1, &server("")), None);
}

#[test]
fn a_replica_is_refused() {
    let replica = ServerInfo { is_replica: true, ..server("z") };
    assert!(seen(&["a"], 0, &replica).is_some());
}

#[test]
fn the_strict_guard_refuses_servers_that_evict_or_hide_themselves() {
    let evicting = ServerInfo { maxmemory_policy: "allkeys-lru".to_owned(), ..server("a") };
    let keeping = ServerInfo { maxmemory_policy: "noeviction".to_owned(), ..server("a") };
    assert!(strict(&evicting).is_some_and(|fault| fault.kind == FaultKind::Permanent));
    assert!(strict(&server("")).is_some());
    assert_eq!(strict(&keeping), None);
    assert_eq!(seen(&["a"], 0, &evicting), None);
}

#[test]
fn an_evicting_policy_is_told_where_it_is_not_refused() {
    let mut script = Scripted::connected(config(RestartGuard::Seen));
    script.down(1);
    let evicting = ServerInfo { maxmemory_policy: "volatile-ttl".to_owned(), ..server("process 1, evicting") };
    script.up_with(1, evicting);
    script.pass_ms(GUARD_MS);
    let note = script.machine.node_note(script.now, 1).expect("a note");
    assert!(note.contains("volatile-ttl"), "{note}");
    assert_eq!(script.machine.node_note(script.now, 0), None);
}

#[test]
fn a_node_that_was_seen_to_restart_does_not_vote_until_all_forgotten_leases_are_over() {
    let mut script = Scripted::connected(config(RestartGuard::Seen));
    restart(&mut script, 0);
    script.pass_ms(3_200);
    let op = decided_by_node_0(&mut script);
    let failure = script.failure(op);
    assert_eq!(failure.status, Status::NotAcquired);
    assert_eq!(reason(&failure), "restarted 3.2 s ago; no vote for 6.9 s more");
    answer_all_releases(&mut script);

    script.pass_ms(GUARD_MS - 3_200 - 1);
    let op = decided_by_node_0(&mut script);
    assert!(reason(&script.failure(op)).ends_with("no vote for 1 ms more"));
    answer_all_releases(&mut script);

    script.pass_ms(1);
    let op = decided_by_node_0(&mut script);
    script.lease(op);
}

#[test]
fn without_the_guard_a_restarted_node_votes_at_once() {
    let mut script = Scripted::connected(config(RestartGuard::Off));
    restart(&mut script, 0);
    let op = decided_by_node_0(&mut script);
    script.lease(op);
}

#[test]
fn guarded_nodes_are_no_quorum_when_they_are_too_many() {
    let mut script = Scripted::connected(config(RestartGuard::Seen));
    restart(&mut script, 0);
    script.down(1);
    script.up(1, "another process too", 0, 0);
    let op = script.lock(TTL_MS);
    script.reply(0, Reply::Done);
    script.reply(1, Reply::Done);
    assert_eq!(script.failure(op).status, Status::NoQuorum);
}

#[test]
fn a_restart_long_ago_needs_no_guard_where_the_uptime_can_be_true() {
    let mut script = Scripted::connected(config(RestartGuard::Seen));
    script.pass_ms(60_000);
    restart(&mut script, 30);
    let op = decided_by_node_0(&mut script);
    script.lease(op);
}

#[test]
fn an_uptime_longer_than_the_predecessor_is_dead_is_not_believed() {
    let mut script = Scripted::connected(config(RestartGuard::Seen));
    script.pass_ms(5_000);
    restart(&mut script, 3_600);
    let op = decided_by_node_0(&mut script);
    assert!(reason(&script.failure(op)).starts_with("restarted 0 ms ago"));
}

#[test]
fn a_forward_step_of_our_wall_clock_does_not_end_the_guard() {
    let mut script = Scripted::connected(config(RestartGuard::Seen));
    restart(&mut script, 0);
    script.now.lease_ns += 3_600_000 * NS_PER_MS;
    let op = decided_by_node_0(&mut script);
    assert!(reason(&script.failure(op)).starts_with("restarted 0 ms ago"));
}

#[test]
fn without_a_max_ttl_the_longest_ttl_so_far_decides() {
    let mut script = Scripted::connected(Config { max_ttl_ms: None, ..config(RestartGuard::Seen) });
    restart(&mut script, 0);
    script.pass_ms(GUARD_MS - 1);
    let op = decided_by_node_0(&mut script);
    assert!(reason(&script.failure(op)).ends_with("no vote for 1 ms more"));
    answer_all_releases(&mut script);
    script.pass_ms(1);
    let op = decided_by_node_0(&mut script);
    script.lease(op);
    // Once it votes it goes on voting: nobody has forgotten an hour's lease that did not exist.
    script.lock(3_600_000);
    assert_eq!(script.machine.node_note(script.now, 0), None);
}

#[test]
fn the_strict_guard_waits_for_servers_that_are_new() {
    let mut script = Scripted::new(config(RestartGuard::Strict));
    for node in 0..3 {
        script.up(node, &format!("process {node}"), if node == 0 { 4 } else { 3_600 }, 0);
    }
    let op = decided_by_node_0(&mut script);
    assert_eq!(reason(&script.failure(op)), "may have restarted 3.0 s ago; no vote for 7.1 s more");
    answer_all_releases(&mut script);
    script.pass_ms(GUARD_MS - 3_000);
    let op = decided_by_node_0(&mut script);
    script.lease(op);
}

#[test]
fn the_strict_guard_believes_no_uptime_of_a_server_whose_clock_is_wrong() {
    for (ahead_us, is_guarded) in [(400_000, false), (600_000, true), (-600_000, true)] {
        let mut script = Scripted::new(config(RestartGuard::Strict));
        for node in 0..3 {
            script.up(node, &format!("process {node}"), 3_600, if node == 0 { ahead_us } else { 0 });
        }
        let op = decided_by_node_0(&mut script);
        let result = script.result(op).expect("decided");
        assert_eq!(result.is_err(), is_guarded, "{ahead_us} µs ahead");
        if let Err(failure) = result {
            assert!(reason(&failure).contains("its clock"), "{}", reason(&failure));
        }
    }
}

#[test]
fn a_restart_takes_its_vote_out_of_an_open_attempt() {
    let mut script = Scripted::connected(config(RestartGuard::Off));
    let op = script.lock(TTL_MS);
    script.reply(0, Reply::Done);
    restart(&mut script, 0);
    script.reply(1, Reply::Done);
    assert!(script.result(op).is_none(), "one vote is no quorum of three");
    script.reply(2, Reply::Done);
    script.lease(op);
}

#[test]
fn a_restart_shortens_the_leases_that_counted_on_the_node_in_every_mode() {
    for mode in [RestartGuard::Off, RestartGuard::Seen, RestartGuard::Strict] {
        let mut script = Scripted::connected(config(mode));
        let op = script.lock(TTL_MS);
        script.reply(0, Reply::Done);
        script.reply(1, Reply::Done);
        let lease = script.lease(op);
        script.reply(2, Reply::Not);
        restart(&mut script, 0);
        let (changed, view) = *script.views.last().expect("a change");
        assert_eq!((changed, view.state, view.node_count_held), (lease, LeaseState::Lost, 1), "{mode:?}");
    }
}

#[test]
fn what_a_restarted_node_was_to_release_remains_owed() {
    let mut script = Scripted::connected(config(RestartGuard::Seen));
    let op = script.lock(TTL_MS);
    (0..3).for_each(|node| drop(script.reply(node, Reply::Done)));
    let lease = script.lease(op);
    restart(&mut script, 0);
    script.submit(Operation::Unlock { lease });
    assert!(matches!(script.asked[0].back(), Some(Request::Release { .. })), "it may have kept its data");
}

#[test]
fn an_extension_counts_a_node_again_once_its_guard_is_over() {
    let mut script = Scripted::connected(config(RestartGuard::Seen));
    let op = script.lock(TTL_MS);
    (0..3).for_each(|node| drop(script.reply(node, Reply::Done)));
    let lease = script.lease(op);
    restart(&mut script, 0);
    for (waited_ms, held) in [(4_000, 2), (4_000, 2), (4_000, 3)] {
        script.pass_ms(waited_ms);
        let op = script.submit(Operation::Extend { lease, ttl_ms: TTL_MS });
        (0..3).for_each(|node| drop(script.reply(node, Reply::Done)));
        assert!(matches!(script.result(op), Some(Ok(Completion::Done))));
        let (_, view) = *script.views.last().expect("a view");
        assert_eq!((view.state, view.node_count_held), (LeaseState::Held, held));
    }
}

#[test]
fn an_extension_does_not_succeed_by_a_node_that_is_guarded_or_restarts_meanwhile() {
    let mut script = Scripted::connected(config(RestartGuard::Seen));
    let op = script.lock(TTL_MS);
    (0..3).for_each(|node| drop(script.reply(node, Reply::Done)));
    let lease = script.lease(op);
    let op = script.submit(Operation::Extend { lease, ttl_ms: TTL_MS });
    script.reply(0, Reply::Done);
    restart(&mut script, 0);
    script.reply(1, Reply::Done);
    assert!(script.result(op).is_none(), "one confirmation is no quorum of three");
    script.reply(2, Reply::Done);
    assert!(matches!(script.result(op), Some(Ok(Completion::Done))));

    let op = script.submit(Operation::Extend { lease, ttl_ms: TTL_MS });
    script.reply(0, Reply::Done);
    script.reply(1, Reply::Done);
    script.reply(2, Reply::Unclear(Fault::new(FaultKind::Refused, "?")));
    assert_eq!(script.failure(op).status, Status::NoQuorum);
}

#[test]
fn a_server_that_is_refused_after_a_restart_confirms_nothing_any_more() {
    let evicting = ServerInfo { maxmemory_policy: "allkeys-lru".to_owned(), ..server("another process") };
    let replica = ServerInfo { is_replica: true, ..server("process 0") };
    for refused in [evicting, replica] {
        let mut script = Scripted::connected(config(RestartGuard::Strict));
        let op = decided_by_node_0(&mut script);
        script.lease(op);
        script.down(0);
        script.up_with(0, refused);
        let view = script.views.last().expect("a view").1;
        assert_eq!((view.state, view.node_count_held), (LeaseState::Lost, 1));
    }
}

#[test]
fn two_wrong_clocks_of_five_do_not_confirm_each_other() {
    let config = Config { node_count: 5, ..config(RestartGuard::Strict) };
    let mut script = Scripted::new(config);
    let an_hour_us = 3_600_000_000;
    script.up(2, "process 2", 3_600, 0);
    script.pass_ms(GUARD_MS);
    script.up(0, "process 0", 3_600, an_hour_us);
    script.up(1, "process 1", 3_600, an_hour_us);
    let op = script.lock(TTL_MS);
    (0..3).for_each(|node| drop(script.reply(node, Reply::Done)));
    script.pass_ms(1_000);
    assert_eq!(script.failure(op).status, Status::NoQuorum);
}
