//! Leases that are made longer, expire, are taken by others, and are given back.

use std::thread;
use std::time::Duration;

use crate::support::locking::*;
use crate::support::{Cluster, Proxy, resource, wait_for};
use redlock::core::report::{Outcome, Status};
use redlock::engine::{Lease, LeaseState, LockRequest, Redlock};

/// Takes a lock of this life at the first attempt.
fn lock_for(handle: &Redlock, resource: &str, ttl_ms: u64) -> Lease {
    handle.lock(&LockRequest { ttl_ms, ..request(resource, 0) }).unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until the lease is over, and its keys are.
fn outlive(cluster: &Cluster, lease: &Lease, key: &str) {
    assert!(wait_for(Duration::from_secs(10), || lease.state() == LeaseState::Lost), "a lease ends");
    assert!(wait_for(Duration::from_secs(10), || cluster.holding(key) == 0), "keys end");
}

#[test]
fn an_extension_lengthens_the_lease_and_its_keys() {
    let cluster = Cluster::given_or_start(3);
    let handle = connect(&cluster);
    let key = resource("longer");
    let lease = lock_for(&handle, &key, 5_000);
    lease.extend(60_000).expect("ours");
    assert!(lease.remaining_ms() > 50_000);
    assert!(wait_for(Duration::from_secs(2), || cluster.iter().all(|node| node.pttl_ms(&key) > 50_000)));
    assert_eq!(lease.state(), LeaseState::Held);
    lease.unlock().expect("ours");
    assert_eq!((lease.state(), lease.remaining_ms()), (LeaseState::Released, 0));
    assert_gone(&cluster, &key);
}

#[test]
fn a_shorter_ttl_shortens_nothing() {
    let cluster = Cluster::given_or_start(3);
    let handle = connect(&cluster);
    let key = resource("shorter");
    let lease = lock_for(&handle, &key, 60_000);
    lease.extend(1_000).expect("ours");
    assert!(lease.remaining_ms() > 50_000);
    handle.extend_token(key.as_bytes(), lease.token(), 1_000).expect("ours");
    assert!(cluster.iter().all(|node| node.pttl_ms(&key) > 50_000));
    lease.unlock().expect("ours");
}

#[test]
fn an_extension_confirmed_by_a_minority_fails_and_takes_nothing() {
    let cluster = Cluster::start(5);
    let handle = connect_with(&cluster.urls(), &short_options(400, 60_000));
    let key = resource("minority");
    let lease = lock(&handle, &key);
    assert!(wait_for(Duration::from_secs(5), || cluster.holding(&key) == 5));
    let before = lease.valid_until_ns();
    cluster.iter().take(3).for_each(crate::support::Node::stop);
    let error = lease.extend(10 * TTL_MS).expect_err("two of five nodes");
    assert_eq!(error.status, Status::NoQuorum, "{error}");
    for node in 0..3 {
        assert!(error.message.contains(&format!("node {}: timeout after 400 ms", node + 1)), "{error}");
    }
    assert_eq!(lease.state(), LeaseState::Held);
    // The two clocks behind this number may move apart by a little.
    let second_ns = 1_000_000_000;
    assert!(lease.valid_until_ns() < before + second_ns, "two extended nodes lengthen nothing");
    cluster.iter().take(3).for_each(crate::support::Node::cont);
    assert_eq!(cluster.holding(&key), 5, "a failed extension releases nothing");
    assert!(wait_for(Duration::from_secs(5), || up_count(&handle) == 5));
    assert!(
        wait_for(Duration::from_secs(5), || lease.valid_until_ns() > before + second_ns),
        "late confirmations count"
    );
    lease.extend(20 * TTL_MS).expect("all nodes answer again");
    lease.unlock().expect("ours");
    assert_gone(&cluster, &key);
}

#[test]
fn a_lease_whose_keys_became_anothers_is_lost_and_theirs_stay() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let key = resource("foreign");
    let lease = lock(&handle, &key);
    for node in cluster.iter() {
        node.cli(&["SET", &key, "another's"]);
    }
    let error = lease.extend(TTL_MS).expect_err("another's");
    assert_eq!(error.status, Status::Lost, "{error}");
    assert!(error.nodes.iter().any(|detail| detail.outcome == Outcome::NotMine), "{error}");
    assert_eq!((lease.state(), lease.remaining_ms(), lease.node_count_held()), (LeaseState::Lost, 0, 0));
    // Were the keys ours again, the lease would be lost all the same.
    let token = lease.token().to_vec();
    for node in cluster.iter() {
        node.query(&[b"SET", key.as_bytes(), &token, b"PX", b"50000"]);
    }
    assert_eq!(lease.extend(TTL_MS).expect_err("lost for ever").status, Status::Lost);
    assert_eq!(lease.state(), LeaseState::Lost);
    for node in cluster.iter() {
        node.cli(&["SET", &key, "another's"]);
    }
    assert_eq!(lease.unlock().expect_err("lost").status, Status::Lost);
    thread::sleep(Duration::from_millis(100));
    let is_theirs = |node: &crate::support::Node| node.get(&key).as_deref() == Some(b"another's");
    assert!(cluster.iter().all(is_theirs), "another holder's lock is never removed");
}

#[test]
fn a_foreign_value_on_a_minority_does_not_hurt() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let key = resource("foreign-minority");
    let lease = lock(&handle, &key);
    // All three votes have been read: while one is on its way, a lease that lost another is over.
    assert!(wait_for(Duration::from_secs(5), || up_count(&handle) == 3 && lease.node_count_held() == 3));
    cluster[1].cli(&["SET", &key, "another's"]);
    lease.extend(TTL_MS).expect("two of three nodes");
    lease.unlock().expect("two of three nodes");
    thread::sleep(Duration::from_millis(100));
    assert_eq!(cluster[1].get(&key).as_deref(), Some(&b"another's"[..]));
    assert_eq!(cluster.holding(&key), 1);
}

#[test]
fn a_node_that_lost_the_key_gets_it_again_after_a_confirmed_extension() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let key = resource("again");
    let lease = lock(&handle, &key);
    assert!(wait_for(Duration::from_secs(5), || up_count(&handle) == 3 && lease.node_count_held() == 3));
    cluster[0].restart();
    lease.extend(TTL_MS).expect("two of three nodes");
    let is_set_again = || up_count(&handle) == 3 && cluster.holding(&key) == 3;
    assert!(wait_for(Duration::from_secs(5), is_set_again), "set again");
    assert_eq!(cluster[0].get(&key).as_deref(), Some(lease.token()));
    lease.unlock().expect("ours");
    assert_gone(&cluster, &key);
}

#[test]
fn a_node_that_comes_back_after_the_extension_gets_the_key_too() {
    let cluster = Cluster::start(3);
    let proxy = Proxy::to(cluster[0].port());
    let handle = connect_with(&[proxy.url(), cluster[1].url(), cluster[2].url()], &options());
    let key = resource("comes-back");
    let lease = lock(&handle, &key);
    assert!(wait_for(Duration::from_secs(5), || up_count(&handle) == 3 && lease.node_count_held() == 3));
    assert_eq!(cluster[0].cli(&["DEL", &key]), "1");
    proxy.reset_all();
    proxy.delay(100);
    thread::sleep(Duration::from_millis(5));
    lease.extend(TTL_MS).expect("two of three nodes");
    assert_eq!(cluster.holding(&key), 2, "the third node's connection is being made");
    let is_set_again = || up_count(&handle) == 3 && cluster.holding(&key) == 3;
    assert!(wait_for(Duration::from_secs(5), is_set_again), "set again");
    lease.unlock().expect("ours");
    assert!(wait_for(Duration::from_secs(5), || pending_releases(&handle) == 0 && cluster.holding(&key) == 0));
}

#[test]
fn a_majority_that_lost_the_keys_gets_none_again() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let key = resource("majority");
    let lease = lock(&handle, &key);
    assert!(wait_for(Duration::from_secs(5), || up_count(&handle) == 3 && lease.node_count_held() == 3));
    cluster[0].cli(&["DEL", &key]);
    cluster[2].cli(&["DEL", &key]);
    let error = lease.extend(TTL_MS).expect_err("one of three nodes");
    assert_eq!(error.status, Status::Lost, "{error}");
    let _ = up_count(&handle);
    assert!(cluster[0].get(&key).is_none() && cluster[2].get(&key).is_none());
    assert_eq!(lease.state(), LeaseState::Lost);
    // Nobody may think the lock is still held by the minority that remains.
    assert_eq!(lease.unlock().expect_err("lost before").status, Status::Lost);
    assert_gone(&cluster, &key);
    lock(&handle, &key).unlock().expect("free");
}

#[test]
fn an_expired_lease_is_not_extended_and_its_unlock_is_quick_and_distinct() {
    let cluster = Cluster::given_or_start(3);
    let handle = connect(&cluster);
    let key = resource("expired");
    let lease = lock_for(&handle, &key, 100);
    outlive(&cluster, &lease, &key);
    let error = lease.extend(TTL_MS).expect_err("over");
    assert_eq!(error.status, Status::Lost, "{error}");
    assert_eq!(cluster.holding(&key), 0, "not brought to life");
    let error = at_the_speed_of_the_others(|| lease.unlock()).expect_err("over");
    assert_eq!(error.status, Status::Lost, "{error}");
    assert!(error.message.contains("expired"), "{error}");
}

#[test]
fn an_expired_lease_does_not_touch_the_next_holders_keys() {
    let cluster = Cluster::given_or_start(3);
    let (handle, other) = (connect(&cluster), connect(&cluster));
    let key = resource("retaken");
    let lease = lock_for(&handle, &key, 100);
    outlive(&cluster, &lease, &key);
    let theirs = lock(&other, &key);
    assert!(wait_for(Duration::from_secs(5), || cluster.holding(&key) == cluster.len()));
    assert_eq!(lease.extend(TTL_MS).expect_err("over").status, Status::Lost);
    assert_eq!(lease.unlock().expect_err("over").status, Status::Lost);
    assert_eq!(lease.unlock().expect_err("over").status, Status::Lost);
    assert_eq!(handle.unlock_token(key.as_bytes(), lease.token()).expect_err("not theirs").status, Status::Lost);
    assert_eq!(handle.extend_token(key.as_bytes(), lease.token(), 1).expect_err("not theirs").status, Status::Lost);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(cluster.holding(&key), cluster.len());
    theirs.extend(TTL_MS).expect("still theirs");
    theirs.unlock().expect("still theirs");
    assert_gone(&cluster, &key);
}

#[test]
fn a_second_unlock_is_harmless() {
    let cluster = Cluster::given_or_start(3);
    let handle = connect(&cluster);
    let key = resource("twice");
    let lease = lock(&handle, &key);
    lease.unlock().expect("ours");
    let next = lock(&handle, &key);
    let error = lease.unlock().expect_err("released before");
    assert_eq!(error.status, Status::Lost, "{error}");
    assert!(error.message.contains("already released"), "{error}");
    let error = lease.extend(TTL_MS).expect_err("released before");
    assert_eq!(error.status, Status::Lost, "{error}");
    drop(lease);
    next.unlock().expect("untouched");
}

#[test]
fn threads_that_unlock_the_same_lease_release_it_once() {
    let cluster = Cluster::given_or_start(3);
    let handle = connect(&cluster);
    for _ in 0..20 {
        let lease = lock(&handle, &resource("double"));
        let released = thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| lease.unlock().is_ok())).collect();
            all.into_iter().map(|one| one.join().expect("no panic")).filter(|&ok| ok).count()
        });
        assert_eq!(released, 1);
    }
}

#[test]
fn a_dropped_lease_says_nothing_to_any_server() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    drop(lock(&handle, "dropped"));
    assert!(wait_for(Duration::from_secs(5), || cluster.holding("dropped") == 3));
    let _ = up_count(&handle);
    assert_eq!(cluster.holding("dropped"), 3);
}

#[test]
fn unlock_waits_for_no_silent_node() {
    let cluster = Cluster::start(5);
    let handle = connect(&cluster);
    let lease = lock(&handle, "silent");
    assert!(wait_for(Duration::from_secs(5), || cluster.holding("silent") == 5));
    cluster[2].stop();
    cluster[4].kill();
    at_the_speed_of_the_others(|| lease.unlock()).expect("three of five nodes");
    cluster[2].cont();
    assert_gone(&cluster, "silent");
}
