//! What the simulator found, in a few lines each.

use super::scripted::{EPOCH_US, Scripted, one_attempt};
use crate::core::config::{Config, RestartGuard};
use crate::core::operation::{Completion, Input, LeaseKey, LeaseState, LockParams, OpKey, Operation};
use crate::core::request::{Bytes, Fault, FaultKind, Push, Reply, Request, ServerInfo};
use crate::core::time::NS_PER_MS;

const TTL_MS: u64 = 10_000;

/// Nodes that nobody gives up, and waits without pushes.
fn config() -> Config {
    Config { node_timeout_ms: 1_000_000, stall_timeout_ms: 1_000_000, wake: false, ..Config::new(3) }
}

/// A lease that nodes 0 and 1 granted, and node 2 said this.
fn held(script: &mut Scripted, node_2: Reply) -> LeaseKey {
    let op = script.lock(TTL_MS);
    for (node, reply) in [Reply::Done, Reply::Done, node_2].into_iter().enumerate() {
        script.reply(node, reply);
    }
    script.lease(op)
}

fn extend(script: &mut Scripted, lease: LeaseKey) -> OpKey {
    script.submit(Operation::Extend { lease, ttl_ms: TTL_MS })
}

fn is_release(request: Option<&Request>) -> bool {
    matches!(request, Some(Request::Release { .. }))
}

fn is_set(request: Option<&Request>) -> bool {
    matches!(request, Some(Request::Set { .. }))
}

#[test]
fn a_late_vote_does_not_revive_an_expired_lease() {
    let mut script = Scripted::connected(config());
    let lease = held(&mut script, Reply::Not);
    script.pass_ms(1_000);
    extend(&mut script, lease);
    script.pass_ms(10);
    script.reply(0, Reply::Done);
    script.reply(1, Reply::Done);
    assert!(is_set(script.asked[2].front()), "set again on the node that lacks it");
    script.pass_ms(50);
    extend(&mut script, lease);
    script.reply(0, Reply::Done);
    let valid_until_ns = script.views.last().expect("a view").1.valid_until_ns;
    script.pass_ms((valid_until_ns - script.now.lease_ns) / 1_000_000 + 1);
    script.reply(2, Reply::Done);
    assert_eq!(script.views.last().expect("a view").1.state, LeaseState::Lost);
}

#[test]
fn an_automatic_extension_that_fails_at_once_is_tried_again_later() {
    let mut script = Scripted::connected(config());
    let op = script.submit(Operation::Lock(LockParams { auto_extend: true, ..one_attempt(TTL_MS) }));
    for node in 0..3 {
        script.reply(node, Reply::Done);
    }
    script.lease(op);
    for node in [1, 2, 1, 2] {
        script.down(node);
    }
    script.pass_ms(4_000);
    assert!(script.machine.next_deadline().is_some_and(|due| due > script.now.mono_ns));
}

#[test]
fn a_debt_outlives_a_set_that_was_executed_late() {
    let mut script = Scripted::connected(config());
    script.lock(TTL_MS);
    script.reply(0, Reply::Not);
    script.reply(1, Reply::Not);
    script.pass_ms(9_000);
    script.reply(2, Reply::Done);
    script.down(2);
    script.pass_ms(1_500);
    script.up(2, "process 2", 86_400, 0);
    assert!(is_release(script.asked[2].front()), "the key lives for another eight seconds");
}

#[test]
fn two_extensions_do_not_set_a_key_again_twice() {
    let mut script = Scripted::connected(config());
    let lease = held(&mut script, Reply::Not);
    let (first, second) = (extend(&mut script, lease), extend(&mut script, lease));
    for node in [0, 1] {
        script.reply(node, Reply::Done);
    }
    assert!(matches!(script.result(first), Some(Ok(Completion::Done))));
    assert!(is_set(Some(&script.reply(2, Reply::Done))));
    for node in [0, 1] {
        script.reply(node, Reply::Done);
    }
    assert!(matches!(script.result(second), Some(Ok(Completion::Done))));
    assert_eq!(script.asked[2].front(), None, "the second SET would be refused because of the first");
}

#[test]
fn a_key_that_is_being_set_again_is_released_with_the_lease() {
    let mut script = Scripted::connected(config());
    let lease = held(&mut script, Reply::Done);
    extend(&mut script, lease);
    extend(&mut script, lease);
    script.reply(0, Reply::Done);
    script.reply(1, Reply::Done);
    script.reply(2, Reply::Not);
    script.reply(2, Reply::Not);
    assert!(is_set(script.asked[2].front()), "behind both questions");
    script.submit(Operation::Unlock { lease });
    assert!(is_release(script.asked[2].get(1)), "the release follows the SET");
}

#[test]
fn a_node_that_lost_the_key_since_does_not_extend_it() {
    let mut script = Scripted::connected(config());
    let lease = held(&mut script, Reply::Done);
    let first = extend(&mut script, lease);
    extend(&mut script, lease);
    script.reply(0, Reply::Done);
    script.reply(0, Reply::Not);
    script.reply(1, Reply::Done);
    assert!(script.result(first).is_none(), "one node has the longer life, one is still asked");
    script.reply(2, Reply::Done);
    assert!(matches!(script.result(first), Some(Ok(Completion::Done))));
}

#[test]
fn a_refused_release_does_not_delete_the_key_of_the_next_attempt_with_its_token() {
    let mut script = Scripted::connected(config());
    let token = Some(Bytes::from(&b"chosen by the caller"[..]));
    let op = script.submit(Operation::Lock(LockParams { token, wait_ms: None, ..one_attempt(TTL_MS) }));
    script.reply(0, Reply::Done);
    script.reply(1, Reply::Not);
    script.reply(2, Reply::Not);
    script.reply(0, Reply::Refused(Fault::new(FaultKind::Refused, "BUSY")));
    script.pass_ms(1);
    script.pass_ms(400);
    while script.completed.is_empty() {
        let asked = script.asked.iter().position(|asked| !asked.is_empty()).expect("the next attempt");
        assert!(is_set(Some(&script.reply(asked, Reply::Done))));
    }
    let lease = script.lease(op);
    script.pass_ms(2_000);
    assert_eq!(script.asked[0].front(), None, "the lease inherits it");
    script.submit(Operation::Unlock { lease });
    assert!(is_release(script.asked[0].front()));
}

#[test]
fn a_node_that_would_not_raise_its_counter_is_released_with_the_lease() {
    let mut script = Scripted::connected(config());
    script.fence = true;
    let op = script.lock(TTL_MS);
    let fenced = |counter: u64| Reply::Fenced { counter, time_us: EPOCH_US };
    script.reply(0, fenced(EPOCH_US));
    script.reply(1, fenced(EPOCH_US + 5));
    script.reply(0, Reply::Refused(Fault::new(FaultKind::Refused, "LOADING")));
    script.reply(2, fenced(EPOCH_US + 5));
    let lease = script.lease(op);
    script.submit(Operation::Unlock { lease });
    assert!(is_release(script.asked[0].front()), "the key that it granted first is there all the same");
}

/// Asked one after the other for as long as each may be silent, five nodes would take five node timeouts.
#[test]
fn rivals_do_not_make_an_attempt_outlast_the_wait_by_a_timeout_per_node() {
    let (node_timeout_ms, wait_ms) = (100, 200);
    let config = Config { node_count: 5, node_timeout_ms, retry_delay_ms: 150, ..config() };
    let mut script = Scripted::connected(config);
    let op = script.submit(Operation::Lock(LockParams { wait_ms: Some(wait_ms), ..one_attempt(TTL_MS) }));
    script.pass_ms(60);
    for (node, reply) in [Reply::Done, Reply::Done, Reply::Not, Reply::Not, Reply::Not].into_iter().enumerate() {
        script.reply(node, reply);
    }
    for node in 0..2 {
        script.reply(node, Reply::Done);
    }
    script.asked.iter().for_each(|asked| assert!(asked.is_empty()));
    // The nodes are slow, others want the lock: the last attempt begins with one node, and all are silent from now on.
    for _ in 60..wait_ms + 2 * node_timeout_ms {
        script.pass_ms(1);
    }
    script.failure(op);
}

#[test]
fn an_answer_from_before_a_set_that_is_unaccounted_for_does_not_excuse_its_release() {
    let mut script = Scripted::new(Config { node_timeout_ms: 100, wake: true, ..config() });
    for node in 0..3 {
        let run_id = format!("process {node}");
        script.up_with(node, ServerInfo { run_id, can_track: true, ..ServerInfo::default() });
    }
    let op = script.submit(Operation::Lock(LockParams { watch: true, ..one_attempt(TTL_MS) }));
    (0..3).for_each(|node| drop(script.reply(node, Reply::Done)));
    let lease = script.lease(op);
    script.pass_ms(100);
    for node in 0..3 {
        while let Some(request) = script.asked[node].front() {
            let reply = if *request == Request::Track { Reply::Done } else { Reply::Unclear(fault("?")) };
            script.reply(node, reply);
        }
    }
    extend(&mut script, lease);
    script.handle(Input::Push { node: 2, push: Push::Key(b"r".to_vec()) });
    script.reply(2, Reply::Not);
    script.reply(0, Reply::Done);
    script.reply(1, Reply::Done);
    assert!(is_set(script.asked[2].get(2)), "behind the question that the push gave rise to");
    script.pass_ms(100);
    script.reply(2, Reply::Done);
    script.reply(2, Reply::Not);
    script.down(2);
    script.submit(Operation::Unlock { lease });
    script.up(2, "process 2", 0, 0);
    assert!(is_release(script.asked[2].front()));
}

fn fault(text: &str) -> Fault {
    Fault::new(FaultKind::Refused, text)
}

/// A caller's token, of whose attempts node 0 still owes a release when its connection is lost.
fn with_an_unaccounted_release(script: &mut Scripted) -> OpKey {
    let token = Some(Bytes::from(&b"chosen by the caller"[..]));
    let op = script.submit(Operation::Lock(LockParams { token, wait_ms: None, ..one_attempt(TTL_MS) }));
    script.reply(0, Reply::Done);
    script.reply(1, Reply::Refused(fault("LOADING")));
    script.reply(2, Reply::Refused(fault("LOADING")));
    assert!(is_release(script.asked[0].front()));
    script.down(0);
    op
}

#[test]
fn a_callers_token_is_not_used_where_a_lost_connection_may_still_release_it() {
    let mut script = Scripted::connected(config());
    let op = with_an_unaccounted_release(&mut script);
    script.up(0, "process 0", 86_400, 0);
    script.pass_ms(400);
    assert!(is_set(script.asked[1].front()) && is_set(script.asked[2].front()), "the next attempt");
    assert!(!script.asked[0].iter().any(|request| is_set(Some(request))));
    for node in [1, 2] {
        script.reply(node, Reply::Done);
    }
    let lease = script.lease(op);
    extend(&mut script, lease);
    assert!(!script.asked[0].iter().any(|request| matches!(request, Request::Extend { .. })));
}

#[test]
fn a_callers_token_is_used_again_once_its_lost_connection_was_closed_at_the_server() {
    let closed = ServerInfo { run_id: "process 0".to_owned(), is_previous_closed: true, ..ServerInfo::default() };
    let restarted = ServerInfo { run_id: "another process".to_owned(), ..ServerInfo::default() };
    for info in [closed, restarted] {
        let mut script = Scripted::connected(Config { restart_guard: RestartGuard::Off, ..config() });
        with_an_unaccounted_release(&mut script);
        script.up_with(0, info);
        script.pass_ms(400);
        assert!(script.asked[0].iter().any(|request| is_set(Some(request))));
    }
}

#[test]
fn a_clock_that_is_set_ahead_a_little_at_a_time_does_not_have_all_leases_told_each_time() {
    let mut script = Scripted::connected(Config::new(1));
    script.lock(10_000);
    script.reply(0, Reply::Done);
    let told = script.views.len();
    // Twice as fast for a second, looked at each millisecond.
    for _ in 0..1_000 {
        script.now.lease_ns += 2 * NS_PER_MS;
        script.now.mono_ns += NS_PER_MS;
        if script.machine.is_due(script.now) {
            script.handle(Input::Tick);
        }
    }
    let more = script.views.len() - told;
    assert!((5..=101).contains(&more), "{more} times");
    // A real step is followed at once.
    script.now.lease_ns += 10_000 * NS_PER_MS;
    assert!(script.machine.is_due(script.now));
    script.handle(Input::Tick);
    assert_eq!(script.views.last().map(|(_, view)| view.state), Some(LeaseState::Lost));
}
