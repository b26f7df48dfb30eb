//! Locks known by resource and token alone, questions about locks, and what may be a resource.

use std::time::Duration;

use crate::support::locking::*;
use crate::support::{Cluster, resource, wait_for};
use redlock::core::report::Status;
use redlock::engine::{LeaseState, LockRequest, Options, Redlock};

#[test]
fn another_process_extends_and_releases_by_token() {
    let cluster = Cluster::given_or_start(3);
    let (holder, other) = (connect(&cluster), connect(&cluster));
    let key = resource("token");
    let lease = holder.lock(&LockRequest { ttl_ms: 10_000, ..request(&key, 0) }).expect("free");
    other.extend_token(key.as_bytes(), lease.token(), TTL_MS).expect("the right token");
    assert!(wait_for(Duration::from_secs(2), || cluster.iter().all(|node| node.pttl_ms(&key) > 50_000)));
    assert!(lease.remaining_ms() <= 10_000, "the holder does not rely on what others do");
    other.unlock_token(key.as_bytes(), lease.token()).expect("the right token");
    assert_gone(&cluster, &key);
    let error = other.unlock_token(key.as_bytes(), lease.token()).expect_err("released before");
    assert_eq!(error.status, Status::Lost, "{error}");
    assert_eq!(lease.extend(TTL_MS).expect_err("released by another").status, Status::Lost);
    assert_eq!(lease.state(), LeaseState::Lost);
}

#[test]
fn a_wrong_token_changes_nothing() {
    let cluster = Cluster::given_or_start(3);
    let (holder, other) = (connect(&cluster), connect(&cluster));
    let key = resource("wrong");
    let lease = lock(&holder, &key);
    assert!(wait_for(Duration::from_secs(5), || cluster.holding(&key) == cluster.len()));
    let before: Vec<i64> = cluster.iter().map(|node| node.pttl_ms(&key)).collect();
    let mut token = lease.token().to_vec();
    *token.last_mut().expect("not empty") ^= 1;
    for wrong in [&token[..], &lease.token()[1..], b"%s", b"\0"] {
        let error = other.unlock_token(key.as_bytes(), wrong).expect_err("wrong");
        assert_eq!(error.status, Status::Lost, "{error}");
        assert!(error.message.contains("not ours on nodes"), "{error}");
        let error = other.extend_token(key.as_bytes(), wrong, 10 * TTL_MS).expect_err("wrong");
        assert_eq!(error.status, Status::Lost, "{error}");
    }
    assert_eq!(cluster.holding(&key), cluster.len());
    assert!(cluster.iter().zip(before).all(|(node, before)| node.pttl_ms(&key) <= before));
    for token in [&b""[..], &[b'x'; 257]] {
        assert_eq!(other.unlock_token(key.as_bytes(), token).expect_err("no token").status, Status::Invalid);
        assert_eq!(other.extend_token(key.as_bytes(), token, 1).expect_err("no token").status, Status::Invalid);
    }
    lease.unlock().expect("still the holder's");
}

#[test]
fn a_token_release_reaches_nodes_that_were_away() {
    let cluster = Cluster::start(3);
    let (holder, other) = (connect(&cluster), connect_with(&cluster.urls(), &short_options(300, 60_000)));
    let key = resource("away");
    let lease = lock(&holder, &key);
    assert!(wait_for(Duration::from_secs(5), || cluster.holding(&key) == 3));
    cluster[1].stop();
    other.unlock_token(key.as_bytes(), lease.token()).expect("two of three nodes");
    cluster[1].cont();
    assert_gone(&cluster, &key);
}

#[test]
fn the_callers_own_token_is_used() {
    let cluster = Cluster::given_or_start(3);
    let handle = connect(&cluster);
    let key = resource("own");
    let token = b"\0 my \xff token\r\n".to_vec();
    let lease = handle.lock(&LockRequest { token: Some(token.clone()), ..request(&key, 0) }).expect("free");
    assert_eq!(lease.token(), token);
    assert!(wait_for(Duration::from_secs(5), || cluster.iter().all(|node| node.get(&key) == Some(token.clone()))));
    lease.unlock().expect("ours");
    for token in [vec![], vec![b'x'; 257]] {
        let error = handle.lock(&LockRequest { token: Some(token), ..request(&key, 0) }).expect_err("no token");
        assert_eq!(error.status, Status::Invalid, "{error}");
    }
}

#[test]
fn inspect_shows_the_holder_and_the_time_left() {
    let cluster = Cluster::start(5);
    let (holder, other) = (connect(&cluster), connect(&cluster));
    let key = resource("inspect");
    let free = other.inspect(key.as_bytes()).expect("all nodes answer");
    assert_eq!(free.holder, None);
    assert!(free.nodes.iter().all(|node| node.token.is_none() && node.remaining_ms.is_none()));
    let lease = lock(&holder, &key);
    assert!(wait_for(Duration::from_secs(5), || cluster.holding(&key) == 5));
    let found = other.inspect(key.as_bytes()).expect("all nodes answer").holder.expect("held");
    assert_eq!((&*found.token, found.node_count, found.is_quorum), (lease.token(), 5, true));
    assert!(found.remaining_ms.is_some_and(|left| (TTL_MS - 30_000..=TTL_MS).contains(&left)), "{found:?}");

    cluster[0].kill();
    cluster[1].cli(&["SET", &key, "another's", "PX", "50000"]);
    cluster[2].cli(&["PERSIST", &key]);
    let seen = other.inspect(key.as_bytes()).expect("four of five nodes answer");
    let found = seen.holder.expect("held");
    assert_eq!((&*found.token, found.node_count, found.is_quorum), (lease.token(), 3, true));
    assert_eq!(seen.nodes[1].token.as_deref(), Some(&b"another's"[..]));
    assert_eq!(seen.nodes[2].remaining_ms, None);
    assert!(matches!(seen.nodes[0].outcome, redlock::core::report::Outcome::Failed(_)));
    lease.unlock().expect("three of five nodes");
    assert!(wait_for(Duration::from_secs(5), || cluster.holding(&key) == 1));
    let found = other.inspect(key.as_bytes()).expect("four nodes answer").holder.expect("on one node");
    assert_eq!((&*found.token, found.node_count, found.is_quorum), (&b"another's"[..], 1, false));
    cluster[2].kill();
    cluster[3].kill();
    let error = other.inspect(key.as_bytes()).expect_err("two of five nodes");
    assert_eq!(error.status, Status::NoQuorum, "{error}");
}

#[test]
fn inspect_reads_no_more_of_a_huge_value_than_a_token() {
    let cluster = Cluster::start(1);
    let handle = connect(&cluster);
    cluster[0].query(&[b"SET", b"huge", &vec![b'v'; 8 << 20]]);
    let before: u64 = net_output_bytes(&cluster);
    let found = handle.inspect(b"huge").expect("it answers").holder.expect("a value");
    assert_eq!(&*found.token, &[b'v'; 256]);
    assert_eq!(found.remaining_ms, None, "never expires");
    assert!(net_output_bytes(&cluster) - before < 64 * 1024);
}

fn net_output_bytes(cluster: &Cluster) -> u64 {
    let text = cluster[0].cli(&["INFO", "stats"]);
    let line = text.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    line.and_then(|number| number.trim().parse().ok()).expect("a number")
}

#[test]
fn any_bytes_but_none_are_a_resource() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let names: [&[u8]; 7] = [
        b"a\0b\0",
        b"\0",
        b"\r\n$3\r\nDEL\r\n",
        b"\xff\xfe\x80",
        "Schlüssel/鍵/🔒".as_bytes(),
        b"%s%n{}{tag} 'quotes' \"more\"",
        b" ",
    ];
    for name in names {
        let wanted = LockRequest { resource: name.to_vec(), ..request("", 0) };
        let lease = handle.lock(&wanted).expect("any bytes");
        assert_eq!(lease.resource(), name);
        let at_server = |node: &crate::support::Node| node.query(&[b"EXISTS", name]).int();
        assert!(wait_for(Duration::from_secs(5), || cluster.iter().map(at_server).sum::<i64>() == 3));
        assert_eq!(handle.lock(&wanted).expect_err("held").status, Status::NotAcquired);
        assert!(handle.inspect(name).expect("any bytes").holder.is_some());
        lease.extend(TTL_MS).expect("any bytes");
        lease.unlock().expect("any bytes");
        assert!(wait_for(Duration::from_secs(5), || cluster.iter().map(at_server).sum::<i64>() == 0));
    }
    for error in [
        handle.lock(&request("", 0)).expect_err("empty"),
        handle.inspect(b"").expect_err("empty"),
        handle.unlock_token(b"", b"t").expect_err("empty"),
        handle.extend_token(b"", b"t", 1).expect_err("empty"),
    ] {
        assert_eq!(error.status, Status::Invalid, "{error}");
    }
}

#[test]
fn a_resource_of_a_mebibyte_is_locked_and_one_of_five_is_refused() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let name: Vec<u8> = (0..1 << 20).map(|i: u32| (i % 251) as u8).collect();
    let wanted = LockRequest { resource: name.clone(), ..request("", 0) };
    for _ in 0..3 {
        let lease = handle.lock(&wanted).expect("a mebibyte");
        lease.extend(TTL_MS).expect("a mebibyte");
        let error = handle.lock(&LockRequest { report_remaining: true, ..wanted.clone() }).expect_err("held");
        assert_eq!(error.status, Status::NotAcquired);
        lease.unlock().expect("a mebibyte");
        assert!(wait_for(Duration::from_secs(5), || {
            let _ = up_count(&handle);
            cluster.iter().all(|node| node.query(&[b"DBSIZE"]).int() == 0)
        }));
    }
    let huge = LockRequest { resource: vec![b'x'; 5 << 20], ..request("", 0) };
    assert_eq!(handle.lock(&huge).expect_err("too long").status, Status::Invalid);
}

#[test]
fn the_prefix_stands_before_every_resource() {
    let cluster = Cluster::start(3);
    let prefix = b"app\0:".to_vec();
    let prefixed = connect_with(&cluster.urls(), &Options { key_prefix: prefix, ..options() });
    let plain = connect(&cluster);
    let lease = lock(&prefixed, "orders");
    assert_eq!(lease.resource(), b"orders");
    assert_eq!(cluster[0].query(&[b"EXISTS", b"app\0:orders"]).int(), 1);
    lock(&plain, "orders").unlock().expect("another key");
    assert!(prefixed.inspect(b"orders").expect("all nodes answer").holder.is_some());
    assert_eq!(prefixed.lock(&request("", 0)).expect_err("empty").status, Status::Invalid);
    plain.extend_token(b"app\0:orders", lease.token(), TTL_MS).expect("the same key");
    prefixed.unlock_token(b"orders", lease.token()).expect("the same key");
}

#[test]
fn numbers_out_of_range_are_refused_before_anything_is_sent() {
    let cluster = Cluster::start(1);
    let options = Options { max_ttl_ms: Some(100_000), ..options() };
    let handle = connect_with(&cluster.urls(), &options);
    let lease = lock(&handle, "range");
    let sets = calls(&cluster[0], "set");
    for ttl_ms in [0, 100_001, u64::MAX, 1 << 63, i64::MAX as u64] {
        let error = handle.lock(&LockRequest { ttl_ms, ..request("x", 0) }).expect_err("out of range");
        assert_eq!(error.status, Status::Invalid, "{error}");
        assert!(error.message.contains("ttl_ms"), "{error}");
        assert_eq!(lease.extend(ttl_ms).expect_err("out of range").status, Status::Invalid);
        assert_eq!(handle.extend_token(b"x", b"t", ttl_ms).expect_err("out of range").status, Status::Invalid);
    }
    for wait_ms in [-2, i64::MIN] {
        assert_eq!(handle.lock(&request("x", wait_ms)).expect_err("out of range").status, Status::Invalid);
        assert_eq!(handle.wait_ready(wait_ms, None).expect_err("out of range").status, Status::Invalid);
    }
    assert_eq!(calls(&cluster[0], "set"), sets);
    lock_and_unlock(&handle, LockRequest { wait_ms: i64::MAX, ..request("x", 0) });
    lock_and_unlock(&handle, LockRequest { retries: Some(u64::MAX), ..request("x", -1) });
    let unlimited = connect(&cluster);
    lock_and_unlock(&unlimited, LockRequest { ttl_ms: 315_360_000_000, ..request("x", 0) });
    assert_eq!(handle.cancel(0).expect_err("no tag").status, Status::Invalid);
}

fn lock_and_unlock(handle: &Redlock, request: LockRequest) {
    handle.lock(&request).expect("in range").unlock().expect("ours");
}

#[test]
fn wrong_node_lists_are_refused_by_name() {
    let none: [&str; 0] = [];
    assert_eq!(Redlock::new(&none, &options()).expect_err("no node").status, Status::Invalid);
    let many: Vec<String> = (1..=16).map(|port| format!("redis://127.0.0.1:{port}")).collect();
    assert_eq!(Redlock::new(&many, &options()).expect_err("too many").status, Status::Config);
    for wrong in ["", "127.0.0.1:1", "http://127.0.0.1:1", "redis://", "redis://127.0.0.1:0", "redis://h:1/x"] {
        let error = Redlock::new(&["redis://127.0.0.1:1", wrong], &options()).expect_err(wrong);
        assert_eq!(error.status, Status::Config, "{error}");
        assert!(error.message.contains("node 2: "), "{error}");
    }
}
