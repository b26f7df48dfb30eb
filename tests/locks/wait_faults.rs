//! What a waiting caller notices although its connections, its servers or the keys go away: a wait ends when the lock
//! is free, not when its time-out or the dead holder's ttl is over.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::locking::*;
use crate::support::{Cluster, Node, Proxy, resource};
use redlock::core::report::Status;
use redlock::engine::{LockRequest, Options, Redlock};

/// Far below the ttl, above every pause a waiter may make.
const SOON: Duration = Duration::from_secs(10);

/// One handle holds the lock and another waits for it; then something happens that sets the lock free. The waiter must
/// have it soon.
#[track_caller]
fn assert_served(waiter: &Redlock, key: &str, happens: impl FnOnce()) {
    thread::scope(|scope| {
        let waiting = scope.spawn(|| waiter.lock(&request(key, -1)));
        thread::sleep(Duration::from_millis(300));
        assert!(!waiting.is_finished(), "held");
        happens();
        let begun = Instant::now();
        let lease = waiting.join().expect("no panic").expect("its turn");
        assert!(begun.elapsed() < SOON, "served after {:?}", begun.elapsed());
        lease.unlock().expect("ours");
    });
}

fn cut(cluster: &Cluster) {
    for node in cluster.iter() {
        node.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    }
}

#[test]
fn a_release_after_the_waiters_connections_were_cut() {
    let cluster = Cluster::start(3);
    let (holder, waiter) = (connect(&cluster), connect(&cluster));
    let key = resource("cut");
    let lease = lock(&holder, &key);
    assert_served(&waiter, &key, || {
        cut(&cluster);
        thread::sleep(Duration::from_millis(300));
        lease.unlock().expect("ours");
    });
}

#[test]
fn a_release_while_the_waiters_connections_are_cut() {
    let cluster = Cluster::start(3);
    let proxies: Vec<Proxy> = cluster.iter().map(|node| Proxy::to(node.port())).collect();
    let urls: Vec<String> = proxies.iter().map(Proxy::url).collect();
    let (holder, waiter) = (connect(&cluster), connect_with(&urls, &options()));
    let key = resource("cut-off");
    let lease = lock(&holder, &key);
    assert_served(&waiter, &key, || {
        proxies.iter().for_each(|proxy| proxy.refuse_new(true));
        proxies.iter().for_each(Proxy::reset_all);
        lease.unlock().expect("ours");
        thread::sleep(Duration::from_millis(500));
        proxies.iter().for_each(|proxy| proxy.refuse_new(false));
    });
}

#[test]
fn servers_that_restarted_empty() {
    let cluster = Cluster::start(3);
    let (holder, waiter) = (connect(&cluster), connect(&cluster));
    let key = resource("restarted");
    let _lease = lock(&holder, &key);
    assert_served(&waiter, &key, || cluster.iter().for_each(Node::restart));
}

#[test]
fn keys_that_somebody_deleted_or_flushed() {
    let cluster = Cluster::start(3);
    let (holder, waiter) = (connect(&cluster), connect(&cluster));
    for command in [&["DEL", "deleted"][..], &["FLUSHALL"], &["PEXPIRE", "deleted", "1"]] {
        let _lease = lock(&holder, "deleted");
        assert_served(&waiter, "deleted", || cluster.iter().for_each(|node| _ = node.cli(command)));
    }
}

#[test]
fn a_release_when_a_minority_hangs() {
    let cluster = Cluster::start(5);
    for stopped in 0..5 {
        let holder = connect_with(&cluster.urls(), &short_options(300, 2_000));
        let waiter = connect_with(&cluster.urls(), &short_options(300, 2_000));
        let key = resource("hangs");
        let lease = lock(&holder, &key);
        let (one, two) = (&cluster[stopped], &cluster[(stopped + 1) % 5]);
        assert_served(&waiter, &key, || {
            one.stop();
            two.stop();
            lease.unlock().expect("three of five nodes");
        });
        one.cont();
        two.cont();
        assert_gone(&cluster, &key);
    }
}

#[test]
fn a_release_while_every_node_hangs_for_a_while() {
    let cluster = Cluster::start(3);
    let (holder, waiter) = (connect(&cluster), connect_with(&cluster.urls(), &short_options(200, 400)));
    let key = resource("all-hang");
    let lease = lock(&holder, &key);
    assert_served(&waiter, &key, || {
        cluster.iter().for_each(Node::stop);
        thread::sleep(Duration::from_millis(1_000));
        cluster.iter().for_each(Node::cont);
        lease.unlock().expect("they answer again");
    });
    assert_gone(&cluster, &key);
}

#[test]
fn a_release_known_only_by_its_expiry() {
    let cluster = Cluster::start(3);
    let waiter = connect_with(&cluster.urls(), &Options { wake: false, ..options() });
    for wakes in [true, false] {
        let waiter = if wakes { &connect(&cluster) } else { &waiter };
        let key = resource("expiry");
        for node in cluster.iter() {
            node.cli(&["SET", &key, "dead holder", "PX", "1500"]);
        }
        assert_served(waiter, &key, || {});
    }
}

#[test]
fn a_wait_ends_at_its_deadline_whatever_the_nodes_do() {
    let cluster = Cluster::start(3);
    let (holder, waiter) = (connect(&cluster), connect_with(&cluster.urls(), &short_options(200, 400)));
    let _lease = lock(&holder, "deadline");
    let assert_punctual = || {
        let begun = Instant::now();
        let error = waiter.lock(&request("deadline", 1_000)).expect_err("held, or nobody there");
        assert!(matches!(error.status, Status::NotAcquired | Status::NoQuorum), "{error}");
        assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    };
    let majority = [&cluster[0], &cluster[1]];
    assert_punctual();
    majority.iter().for_each(|node| node.stop());
    assert_punctual();
    majority.iter().for_each(|node| node.cont());
    assert_punctual();
    majority.iter().for_each(|node| node.kill());
    assert_punctual();
}

#[test]
fn a_key_that_never_expires_is_waited_for_until_somebody_deletes_it() {
    let cluster = Cluster::start(3);
    let waiter = connect(&cluster);
    for node in cluster.iter() {
        node.cli(&["SET", "for-ever", "no client of ours"]);
    }
    let wanted = LockRequest { report_remaining: true, ..request("for-ever", 200) };
    let error = waiter.lock(&wanted).expect_err("held");
    assert_eq!(error.status, Status::NotAcquired, "{error}");
    assert_served(&waiter, "for-ever", || cluster.iter().for_each(|node| _ = node.cli(&["DEL", "for-ever"])));
}
