//! Fencing tokens on real servers: larger with every holder, whatever happens to a minority.

use std::thread;
use std::time::Duration;

use crate::support::locking::{calls, up_count};
use crate::support::{Cluster, Node, resource, wait_for};
use redlock::core::report::{Outcome, Status};
use redlock::engine::{Error, Lease, LockRequest, Options, Redlock, RestartGuard};

const MAX_TTL_MS: u64 = 5_000;

fn options() -> Options {
    Options {
        node_timeout_ms: 3_000,
        stall_timeout_ms: 12_000,
        connect_timeout_ms: 3_000,
        max_ttl_ms: Some(MAX_TTL_MS),
        ..Options::default()
    }
}

fn connect_with(cluster: &Cluster, options: &Options) -> Redlock {
    let handle = Redlock::new(&cluster.urls(), options).expect("valid options");
    wait_for_all(&handle);
    handle
}

fn connect(cluster: &Cluster) -> Redlock {
    connect_with(cluster, &options())
}

fn wait_for_all(handle: &Redlock) {
    assert!(wait_for(Duration::from_secs(10), || up_count(handle) == handle.node_count()), "not all nodes come up");
}

fn try_lock(handle: &Redlock, name: &str, wait_ms: i64) -> Result<Lease, Error> {
    let resource = name.into();
    handle.lock(&LockRequest { resource, ttl_ms: MAX_TTL_MS, wait_ms, fence: true, ..LockRequest::default() })
}

#[track_caller]
fn lock(handle: &Redlock, name: &str) -> Lease {
    try_lock(handle, name, 0).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn fence(lease: &Lease) -> u64 {
    lease.fence().expect("a fencing token was asked for")
}

/// Takes the lock, checks its token against the last one, and releases it.
#[track_caller]
fn next(handle: &Redlock, name: &str, last: &mut u64) {
    let lease = try_lock(handle, name, 10_000).unwrap_or_else(|error| panic!("{error}"));
    let token = fence(&lease);
    assert!(token > *last, "{token} after {last}");
    *last = token;
    lease.unlock().expect("still ours");
}

fn counter_key(name: &str) -> String {
    format!("{{{name}}}:redlock-fence")
}

fn evals(cluster: &Cluster) -> u64 {
    cluster.iter().map(|node| calls(node, "eval")).sum()
}

#[test]
fn tokens_grow_over_thousands_of_locks_of_several_handles() {
    let cluster = Cluster::start(3);
    let handles = [connect(&cluster), connect(&cluster), connect(&cluster)];
    let name = resource("fence");
    let mut last = 0;
    for round in 0..3_000 {
        next(&handles[round % handles.len()], &name, &mut last);
    }
    assert!(last < 1 << 53);
}

#[test]
fn tokens_grow_between_rivals_in_the_order_of_their_turns() {
    let cluster = Cluster::start(5);
    let name = resource("fence");
    let last = std::sync::Mutex::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let handle = connect(&cluster);
                for _ in 0..100 {
                    let lease = try_lock(&handle, &name, 30_000).expect("everybody gets a turn");
                    {
                        let mut last = last.try_lock().expect("one holder at a time");
                        assert!(fence(&lease) > *last, "{} after {last}", fence(&lease));
                        *last = fence(&lease);
                    }
                    lease.unlock().expect("still ours");
                }
            });
        }
    });
}

#[test]
fn tokens_grow_while_one_node_after_the_other_loses_its_counter() {
    let cluster = Cluster::start(3);
    let handles = [connect(&cluster), connect(&cluster)];
    let name = resource("fence");
    let mut last = 0;
    for round in 0..60 {
        next(&handles[round % 2], &name, &mut last);
        // Only one loses it: a straggler that has not counted yet would be the second. And a node whose release is still
        // on its way would refuse the next round, and not count.
        let has_counted = |node: &Node| node.cli(&["GET", &counter_key(&name)]).parse().is_ok_and(|at: u64| at >= last);
        let is_done = |node: &Node| has_counted(node) && node.get(&name).is_none();
        assert!(wait_for(Duration::from_secs(5), || cluster.iter().all(is_done)));
        cluster[round % 3].cli(&["DEL", &counter_key(&name)]);
    }
}

#[test]
fn tokens_grow_while_one_node_after_the_other_restarts_empty() {
    let cluster = Cluster::start(3);
    let max_ttl_ms = Some(500);
    let name = resource("fence");
    let mut last = 0;
    let old = connect_with(&cluster, &Options { max_ttl_ms, ..options() });
    for node in cluster.iter() {
        node.restart();
        for round in 0..20 {
            let fresh = connect_with(&cluster, &Options { max_ttl_ms, ..options() });
            let handle = if round % 2 == 0 { &old } else { &fresh };
            let resource = name.as_str().into();
            let request = LockRequest { resource, ttl_ms: 500, wait_ms: 5_000, fence: true, ..LockRequest::default() };
            let lease = handle.lock(&request).unwrap_or_else(|error| panic!("{error}"));
            assert!(fence(&lease) > last, "{} after {last}", fence(&lease));
            last = fence(&lease);
            lease.unlock().expect("still ours");
        }
        thread::sleep(Duration::from_millis(600));
    }
}

#[test]
fn grants_by_single_nodes_do_not_lead_to_the_same_token_twice() {
    // The counter-example to "the largest of INCR over a quorum": 1, 2, 3, 3.
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let name = resource("fence");
    let mut last = 0;
    for round in 0..30 {
        let counters = [round % 3, (round + 1) % 3];
        for (ahead_us, node) in [(100_000, counters[0]), (50_000, counters[1])] {
            let ahead = (last.max(1) + ahead_us).to_string();
            if last > 0 {
                cluster[node].cli(&["SET", &counter_key(&name), &ahead]);
            }
        }
        // One node is in another's hands and does not vote.
        let absent = &cluster[(round + 2) % 3];
        absent.cli(&["SET", &name, "somebody else", "PX", "60000"]);
        let lease = lock(&handle, &name);
        assert!(fence(&lease) > last, "{} after {last}", fence(&lease));
        last = fence(&lease);
        let holders: Vec<u64> = cluster
            .iter()
            .filter(|node| node.get(&name).as_deref() == Some(lease.token()))
            .map(|node| node.cli(&["GET", &counter_key(&name)]).parse().expect("a number"))
            .collect();
        assert!(holders.iter().filter(|&&counter| counter >= last).count() >= 2, "{holders:?} for {last}");
        lease.unlock().expect("still ours");
        absent.cli(&["DEL", &name]);
    }
}

#[test]
fn a_counter_that_is_too_far_ahead_is_not_kept_alive_by_those_who_refuse_it() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let name = resource("fence");
    let mut last = 0;
    next(&handle, &name, &mut last);
    let counter = counter_key(&name);
    assert!(wait_for(Duration::from_secs(5), || cluster.iter().all(|node| node.get(&name).is_none())));
    let an_hour_ahead = (last + 3_600_000_000).to_string();
    cluster[0].cli(&["SET", &counter, &an_hour_ahead, "PX", "3000"]);
    // Those who ask do not lengthen its life, so that the node votes again, and meanwhile the others are enough.
    for _ in 0..20 {
        next(&handle, &name, &mut last);
        let life: i64 = cluster[0].cli(&["PTTL", &counter]).parse().expect("a number");
        assert!(life <= 3_000, "{life} ms");
    }
    assert!(last < an_hour_ahead.parse().expect("a number"));
    assert!(wait_for(Duration::from_secs(10), || {
        next(&handle, &name, &mut last);
        cluster[0].cli(&["GET", &counter]).parse().is_ok_and(|at: u64| at < last + 1_000_000)
    }));
    // One that is credible lives for a day longer than the lock, as ever.
    let life: i64 = cluster[1].cli(&["PTTL", &counter]).parse().expect("a number");
    assert!(life > 80_000_000, "{life} ms");
}

#[test]
fn one_round_trip_is_enough_unless_the_nodes_disagree() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let name = resource("fence");
    lock(&handle, &name).unlock().expect("still ours");
    wait_for_all(&handle);
    let before = evals(&cluster);
    for _ in 0..50 {
        lock(&handle, &name).unlock().expect("still ours");
    }
    wait_for_all(&handle);
    let releases = if calls(&cluster[0], "delex") + calls(&cluster[0], "delifeq") == 0 { 150 } else { 0 };
    let extra = evals(&cluster) - before - 150 - releases;
    assert!(extra <= 3, "{extra} more scripts than votes and releases");

    let token = fence(&lock(&handle, &resource("other")));
    let name = resource("fence");
    cluster[0].cli(&["SET", &counter_key(&name), &(token + 1_000_000).to_string()]);
    cluster[1].cli(&["SET", &counter_key(&name), &(token + 2_000_000).to_string()]);
    cluster[2].cli(&["SET", &counter_key(&name), &(token + 3_000_000).to_string()]);
    wait_for_all(&handle);
    let before = evals(&cluster);
    let lease = lock(&handle, &name);
    wait_for_all(&handle);
    assert!(evals(&cluster) > before + 3, "somebody was raised");
    let counters = cluster.iter().map(|node| node.cli(&["GET", &counter_key(&name)]).parse::<u64>().expect("a number"));
    assert!(counters.filter(|&counter| counter >= fence(&lease)).count() >= 2);
    assert_eq!(lease.node_count_held(), 3);
}

#[test]
fn a_counter_far_ahead_is_not_believed_and_does_not_spread() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let name = resource("fence");
    let mut last = 0;
    next(&handle, &name, &mut last);
    let far_ahead = last + 86_400_000_000;
    for poison in [far_ahead.to_string(), "9".repeat(30), "inf".to_owned(), "not a number".to_owned()] {
        cluster[0].cli(&["SET", &counter_key(&name), &poison]);
        for _ in 0..3 {
            next(&handle, &name, &mut last);
            assert!(last < far_ahead - 1_000_000_000, "{last}");
        }
    }
    cluster[0].cli(&["SET", &counter_key(&name), &far_ahead.to_string()]);
    cluster[1].cli(&["SET", &name, "somebody else", "PX", "60000"]);
    let error = try_lock(&handle, &name, 0).expect_err("one credible vote");
    let Outcome::Failed(fault) = &error.nodes[0].outcome else { panic!("{error}") };
    assert!(fault.text.contains("fencing counter is 86"), "{error}");
}

#[test]
fn an_extended_lease_keeps_its_token_and_carries_the_counter() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let name = resource("fence");
    let lease = lock(&handle, &name);
    let token = fence(&lease);
    wait_for_all(&handle);
    cluster[1].cli(&["DEL", &counter_key(&name)]);
    cluster[2].cli(&["FLUSHALL"]);
    lease.extend(MAX_TTL_MS).expect("two nodes still have it");
    wait_for_all(&handle);
    assert_eq!(fence(&lease), token);
    for node in cluster.iter() {
        let counter: u64 = node.cli(&["GET", &counter_key(&name)]).parse().expect("a number");
        assert!(counter >= token, "{counter} < {token}");
        let left_ms = node.pttl_ms(&counter_key(&name));
        assert!((86_400_000..=86_400_000 + MAX_TTL_MS as i64).contains(&left_ms), "{left_ms}");
    }
    lease.unlock().expect("still ours");
    let mut last = token;
    next(&handle, &name, &mut last);
}

#[test]
fn locks_with_and_without_a_token_exclude_each_other() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let name = resource("fence");
    let plain = LockRequest { resource: name.as_str().into(), ttl_ms: MAX_TTL_MS, ..LockRequest::default() };
    let fenced = lock(&handle, &name);
    assert_eq!(handle.lock(&plain).expect_err("held").status, Status::NotAcquired);
    fenced.unlock().expect("still ours");
    let lease = handle.lock(&plain).expect("free");
    assert_eq!(lease.fence(), None);
    assert_eq!(try_lock(&handle, &name, 0).expect_err("held").status, Status::NotAcquired);
}

#[test]
fn a_resource_may_not_be_named_like_a_counter() {
    let handle = Redlock::new(&["redis://127.0.0.1:1"], &options()).expect("valid options");
    let error = try_lock(&handle, "{x}:redlock-fence", 0).expect_err("reserved");
    assert_eq!(error.status, Status::Invalid);
}

#[test]
fn missing_rights_to_fencing_are_named() {
    let cluster = Cluster::start(3);
    for node in cluster.iter() {
        let rules = ["ACL", "SETUSER", "fencer", "on", ">pw", "~*", "+@all", "-eval"];
        assert_eq!(node.cli(&rules), "OK");
    }
    let login = Options { username: Some("fencer".into()), password: Some("pw".into()), ..options() };
    let handle = connect_with(&cluster, &login);
    let error = try_lock(&handle, &resource("fence"), 0).expect_err("no right to EVAL");
    assert_eq!(error.status, Status::Config, "{error}");
    assert!(error.message.contains("+eval"), "{error}");
}

#[test]
fn the_guard_may_be_off_and_tokens_still_grow_with_agreeing_clocks() {
    let cluster = Cluster::start(3);
    let handle = connect_with(&cluster, &Options { restart_guard: RestartGuard::Off, ..options() });
    let name = resource("fence");
    let mut last = 0;
    for _ in 0..3 {
        next(&handle, &name, &mut last);
        cluster.iter().for_each(crate::support::Node::restart);
        wait_for_all(&handle);
        next(&handle, &name, &mut last);
    }
}
