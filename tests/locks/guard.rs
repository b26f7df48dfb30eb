//! The restart guard on real servers: a node that lost its keys gives nobody a lock that is still held.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::locking::up_count;
use crate::support::{Cluster, Node, resource, wait_for};
use redlock::core::report::{Outcome, Status};
use redlock::engine::{Error, Lease, LeaseState, LockRequest, Options, Redlock, RestartGuard};

const MAX_TTL_MS: u64 = 3_000;

fn options(restart_guard: RestartGuard) -> Options {
    Options {
        node_timeout_ms: 3_000,
        stall_timeout_ms: 12_000,
        connect_timeout_ms: 3_000,
        max_ttl_ms: Some(MAX_TTL_MS),
        restart_guard,
        ..Options::default()
    }
}

fn connect(cluster: &Cluster, options: &Options) -> Redlock {
    let handle = Redlock::new(&cluster.urls(), options).expect("valid options");
    wait_for_all(&handle);
    handle
}

fn wait_for_all(handle: &Redlock) {
    assert!(wait_for(Duration::from_secs(10), || up_count(handle) == handle.node_count()), "not all nodes come up");
}

/// A lock is had with the votes of a quorum; the others may still be on their way.
fn wait_for_all_votes(handle: &Redlock, lease: &Lease) {
    let all = handle.node_count();
    let is_read = || up_count(handle) == all && lease.node_count_held() == all;
    assert!(wait_for(Duration::from_secs(10), is_read), "not all nodes vote");
}

fn lock(handle: &Redlock, name: &str, ttl_ms: u64, wait_ms: i64) -> Result<Lease, Error> {
    handle.lock(&LockRequest { resource: name.into(), ttl_ms, wait_ms, ..LockRequest::default() })
}

fn reason(error: &Error, node: usize) -> &str {
    match &error.nodes[node].outcome {
        Outcome::Guarded(why) => why,
        other => panic!("node {node}: {other:?} in {error}"),
    }
}

/// A holder's lock on three nodes, of which two then restart empty. The third alone remembers.
fn forgetful_cluster(others: &[RestartGuard]) -> (Cluster, Lease, Vec<Redlock>, String) {
    let cluster = Cluster::start(3);
    let name = resource("guard");
    let holder = connect(&cluster, &options(RestartGuard::Off));
    let others: Vec<Redlock> = others.iter().map(|&mode| connect(&cluster, &options(mode))).collect();
    let lease = lock(&holder, &name, MAX_TTL_MS, 0).expect("a free lock");
    cluster[0].restart();
    cluster[1].restart();
    others.iter().for_each(wait_for_all);
    (cluster, lease, others, name)
}

#[test]
fn without_the_guard_two_restarts_give_the_lock_to_a_second_holder() {
    let (_cluster, first, others, name) = forgetful_cluster(&[RestartGuard::Off]);
    let second = lock(&others[0], &name, MAX_TTL_MS, 0).expect("two nodes have forgotten the first holder");
    assert_eq!((first.state(), second.state()), (LeaseState::Held, LeaseState::Held), "the hazard");
}

#[test]
fn a_handle_that_saw_the_restarts_gets_the_lock_only_after_the_first_holders_time() {
    let (_cluster, first, others, name) = forgetful_cluster(&[RestartGuard::Seen]);
    let error = lock(&others[0], &name, MAX_TTL_MS, 0).expect_err("both votes are guarded");
    assert_eq!(error.status, Status::NoQuorum, "{error}");
    for node in 0..2 {
        let why = reason(&error, node);
        assert!(
            why.starts_with("restarted ") && why.contains(" ago; no vote for ") && why.ends_with(" s more"),
            "{why}"
        );
    }
    let notes = others[0].node_notes().expect("a handle of this process");
    assert!(notes[0].contains("no vote for") && notes[2].is_empty(), "{notes:?}");

    let second = lock(&others[0], &name, MAX_TTL_MS, 10_000).expect("the nodes vote again");
    assert_eq!((first.state(), second.state()), (LeaseState::Lost, LeaseState::Held));
}

#[test]
fn the_seen_guard_knows_nothing_of_restarts_before_it_and_the_strict_one_does() {
    let (cluster, first, _, name) = forgetful_cluster(&[]);
    let strict = connect(&cluster, &options(RestartGuard::Strict));
    let error = lock(&strict, &name, MAX_TTL_MS, 0).expect_err("two nodes are too young");
    assert!(reason(&error, 0).starts_with("may have restarted "), "{error}");
    assert_eq!(first.state(), LeaseState::Held);
    let seen = connect(&cluster, &options(RestartGuard::Seen));
    let second = lock(&seen, &name, MAX_TTL_MS, 0).expect("the documented limit of the weaker mode");
    second.unlock().expect("still ours");
    let third = lock(&strict, &name, MAX_TTL_MS, 10_000).expect("old enough now");
    assert_eq!((first.state(), third.state()), (LeaseState::Lost, LeaseState::Held));
}

#[test]
fn a_fresh_strict_handle_gets_locks_at_once_from_servers_that_have_been_running_for_long() {
    let cluster = Cluster::start(3);
    let max_ttl_ms = Some(1_000);
    sleep(Duration::from_millis(3_200));
    let handle = connect(&cluster, &Options { max_ttl_ms, ..options(RestartGuard::Strict) });
    lock(&handle, &resource("guard"), 1_000, 0).expect("the servers are older than any lease");

    let patient = connect(&cluster, &options(RestartGuard::Strict));
    let begun = Instant::now();
    lock(&patient, &resource("guard"), MAX_TTL_MS, 20_000).expect("old enough in a moment");
    assert!(begun.elapsed() < Duration::from_secs(4), "uptime counts too");
}

#[test]
fn one_guarded_node_keeps_nobody_from_the_others_and_counts_again_after_an_extension() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster, &options(RestartGuard::Seen));
    lock(&handle, &resource("guard"), MAX_TTL_MS, 0).expect("a free lock").unlock().expect("still ours");
    cluster[0].restart();
    let name = resource("guard");
    let lease = lock(&handle, &name, MAX_TTL_MS, 2_000).expect("two nodes are enough");
    wait_for_all(&handle);
    assert!(wait_for(Duration::from_secs(2), || cluster[0].get(&name).is_some()), "the guarded node knows the holder");
    assert_eq!(lease.node_count_held(), 2, "but does not count");
    assert!(wait_for(Duration::from_secs(8), || {
        sleep(Duration::from_millis(200));
        lease.extend(MAX_TTL_MS).expect("two nodes are enough");
        wait_for_all(&handle);
        lease.node_count_held() == 3
    }));
    lease.unlock().expect("still ours");
    assert!(wait_for(Duration::from_secs(2), || cluster.holding(&name) == 0), "{name} remains");
}

#[test]
fn a_lease_is_lost_as_soon_as_its_handle_sees_that_a_quorum_restarted() {
    for mode in [RestartGuard::Off, RestartGuard::Seen] {
        let cluster = Cluster::start(3);
        let handle = connect(&cluster, &options(mode));
        let lease = lock(&handle, &resource("guard"), MAX_TTL_MS, 0).expect("a free lock");
        wait_for_all_votes(&handle, &lease);
        cluster[0].restart();
        cluster[1].restart();
        wait_for_all(&handle);
        assert_eq!((lease.state(), lease.node_count_held()), (LeaseState::Lost, 0), "{mode:?}");
    }
}

#[test]
fn a_restart_with_its_data_is_guarded_too_and_what_it_kept_is_released() {
    let node = |_| Node::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let cluster = Cluster::from_nodes((0..3).map(node).collect());
    let handle = connect(&cluster, &options(RestartGuard::Seen));
    let name = resource("guard");
    let lease = lock(&handle, &name, MAX_TTL_MS, 0).expect("a free lock");
    wait_for_all_votes(&handle, &lease);
    cluster[0].restart();
    wait_for_all(&handle);
    assert!(wait_for(Duration::from_secs(5), || cluster[0].cli(&["PING"]) == "PONG"), "its data is loaded");
    assert!(cluster[0].get(&name).is_some(), "it kept its data");
    assert_eq!((lease.state(), lease.node_count_held()), (LeaseState::Held, 2));
    let note = handle.node_notes().expect("a handle of this process").remove(0);
    assert!(note.contains("no vote for"), "{note}");
    lease.unlock().expect("two nodes confirm");
    assert!(wait_for(Duration::from_secs(2), || cluster.holding(&name) == 0), "{name} remains");
}

#[test]
fn servers_that_evict_locks_are_refused_in_strict_mode_and_reported_otherwise() {
    let cluster = Cluster::start_with(3, &["--maxmemory-policy", "allkeys-lfu"]);
    let strict = Redlock::new(&cluster.urls(), &options(RestartGuard::Strict)).expect("valid options");
    let error = strict.wait_ready(5_000, None).expect_err("all nodes are refused");
    assert_eq!(error.status, Status::Config);
    assert!(error.message.contains("allkeys-lfu"), "{error}");
    let seen = connect(&cluster, &options(RestartGuard::Seen));
    let notes = seen.node_notes().expect("a handle of this process");
    assert!(notes.iter().all(|note| note.contains("allkeys-lfu")), "{notes:?}");
}

#[test]
fn the_strict_guard_needs_a_max_ttl() {
    let strict = Options { max_ttl_ms: None, ..options(RestartGuard::Strict) };
    let error = Redlock::new(&["redis://127.0.0.1:1"], &strict).expect_err("no max_ttl_ms");
    assert_eq!(error.status, Status::Invalid);
    assert!(error.message.contains("max_ttl_ms"), "{error}");
}
