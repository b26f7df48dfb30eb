//! Who wins, who loses, and what losers leave behind: nothing.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::locking::*;
use crate::support::{Cluster, Proxy, resource, wait_for};
use redlock::core::report::{Outcome, Status};
use redlock::engine::{LockRequest, Options};

#[test]
fn half_of_the_nodes_are_no_quorum() {
    for count in [2, 4, 6] {
        let cluster = Cluster::start(count);
        let handle = connect(&cluster);
        let key = resource("half");
        for node in cluster.iter().take(count / 2) {
            node.cli(&["SET", &key, "another's"]);
        }
        let error = at_the_speed_of_the_others(|| handle.lock(&request(&key, 0))).expect_err("half is not enough");
        assert_eq!(error.status, Status::NotAcquired, "{error}");
        assert!(error.message.contains("held on node"), "{error}");
        let is_clean = || cluster.iter().skip(count / 2).all(|node| node.get(&key).is_none());
        assert!(wait_for(Duration::from_secs(2), is_clean), "the granted half is given back");
        for node in cluster.iter().take(count / 2) {
            assert_eq!(node.get(&key).as_deref(), Some(&b"another's"[..]), "the other half is not ours");
        }
        let waiting = Instant::now();
        let error = handle.lock(&request(&key, 300)).expect_err("half is not enough");
        assert_eq!(error.status, Status::NotAcquired, "{error}");
        assert!(waiting.elapsed() < Duration::from_secs(3) && waiting.elapsed() >= Duration::from_millis(300));
        assert!(wait_for(Duration::from_secs(2), is_clean), "the granted half is given back");
    }
}

#[test]
fn half_of_the_nodes_down_is_no_quorum_and_never_held() {
    for count in [2, 4, 6] {
        let cluster = Cluster::start(count);
        let handle = connect(&cluster);
        cluster.iter().take(count / 2).for_each(crate::support::Node::kill);
        let error = at_the_speed_of_the_others(|| handle.lock(&request("half", 0))).expect_err("half is not enough");
        assert_eq!(error.status, Status::NoQuorum, "{error}");
        assert!(!error.message.contains("held"), "{error}");
        assert_gone(&cluster, "half");
    }
}

#[test]
fn a_grant_that_comes_too_late_is_refused_and_given_back() {
    let cluster = Cluster::start(3);
    let proxies: Vec<Proxy> = cluster.iter().map(|node| Proxy::to(node.port())).collect();
    let urls: Vec<String> = proxies.iter().map(Proxy::url).collect();
    let handle = connect_with(&urls, &options());
    let key = resource("slow");
    // The replies alone are late: the keys are set at once and would live on for a while.
    proxies.iter().for_each(|proxy| proxy.delay_to_client(600));
    let wanted = LockRequest { ttl_ms: 500, ..request(&key, 0) };
    let error = handle.lock(&wanted).expect_err("granted after 600 ms");
    assert_eq!(error.status, Status::NotAcquired, "{error}");
    assert!(error.message.contains("too late for a ttl of 500 ms"), "{error}");
    assert_gone(&cluster, &key);
    let released =
        |node: &crate::support::Node| calls(node, "eval") + calls(node, "delex") + calls(node, "delifeq") > 0;
    assert!(wait_for(Duration::from_secs(3), || cluster.iter().all(released)), "given back, not only expired");
}

#[test]
fn the_lease_counts_the_time_that_its_requests_took() {
    let cluster = Cluster::start(3);
    let proxies: Vec<Proxy> = cluster.iter().map(|node| Proxy::to(node.port())).collect();
    let urls: Vec<String> = proxies.iter().map(Proxy::url).collect();
    let handle = connect_with(&urls, &options());
    proxies.iter().for_each(|proxy| proxy.delay_to_client(500));
    let lease = handle.lock(&LockRequest { ttl_ms: 10_000, ..request("slow", 0) }).expect("slow, but in time");
    assert!(lease.remaining_ms() <= 10_000 - 500 - 100 - 2, "{} ms", lease.remaining_ms());
}

#[test]
fn a_held_lock_is_refused_with_the_time_it_has_left() {
    let cluster = Cluster::given_or_start(5);
    let (holder, other) = (connect(&cluster), connect(&cluster));
    let key = resource("held");
    let lease = lock(&holder, &key);
    let error = other.lock(&LockRequest { report_remaining: true, ..request(&key, 0) }).expect_err("held");
    assert_eq!(error.status, Status::NotAcquired, "{error}");
    let held = |detail: &&redlock::engine::NodeDetail| matches!(detail.outcome, Outcome::Held(Some(1..=TTL_MS)));
    assert!(error.nodes.iter().filter(held).count() >= 3, "{error}");
    assert!(error.message.starts_with("not acquired: held on nodes ") && error.message.contains(" s left)"), "{error}");
    lease.unlock().expect("still the holder's");
    lock(&other, &key).unlock().expect("free again");
}

#[test]
fn a_waiting_handle_gets_the_lock_when_the_holder_releases_or_dies() {
    let cluster = Cluster::given_or_start(3);
    let (holder, other) = (connect(&cluster), connect(&cluster));
    let key = resource("wait");
    let lease = lock(&holder, &key);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| other.lock(&request(&key, 20_000)));
        thread::sleep(Duration::from_millis(200));
        lease.unlock().expect("released");
        let lease = waiting.join().expect("no panic").expect("released in time");
        lease.unlock().expect("released");
    });
    // Dropped without unlocking, as by a process that died: the keys expire.
    drop(holder.lock(&LockRequest { ttl_ms: 500, ..request(&key, 0) }).expect("free"));
    let lease = other.lock(&request(&key, 20_000)).expect("expired in time");
    lease.unlock().expect("released");
}

#[test]
fn retries_end_before_the_wait_when_they_are_used_up() {
    let cluster = Cluster::start(3);
    // A handle that is woken by releases attempts nothing while it waits.
    let options = Options { wake: false, ..options() };
    let (holder, other) = (connect(&cluster), connect_with(&cluster.urls(), &options));
    let key = resource("retries");
    let _lease = lock(&holder, &key);
    let wanted = LockRequest { retries: Some(3), ..request(&key, 60_000) };
    let error = at_the_speed_of_the_others(|| other.lock(&wanted)).expect_err("held");
    assert_eq!(error.status, Status::NotAcquired, "{error}");
    assert_eq!(other.stats().expect("a handle of this process").attempts, 4);
}

#[test]
fn a_split_vote_between_two_handles_is_resolved() {
    let cluster = Cluster::start(4);
    let key = resource("split");
    let handles: Vec<_> = (0..4).map(|_| connect(&cluster)).collect();
    thread::scope(|scope| {
        for handle in &handles {
            scope.spawn(|| {
                for _ in 0..10 {
                    let lease = handle.lock(&request(&key, 60_000)).expect("everybody's turn comes");
                    lease.unlock().expect("the holder's own");
                }
            });
        }
    });
    assert_gone(&cluster, &key);
}

#[test]
fn a_handle_with_a_single_node_locks() {
    let cluster = Cluster::start(1);
    let handle = connect_with(&cluster.urls(), &Options { spin_us: 100, ..options() });
    let lease = lock(&handle, "single");
    assert_eq!(lease.node_count_held(), 1);
    assert_eq!(handle.lock(&request("single", 0)).expect_err("held").status, Status::NotAcquired);
    lease.unlock().expect("released");
}
