//! Servers that answer with errors: named per node, never taken for "held", and those that only a person can cure end
//! every wait at once.

use std::thread;
use std::time::Duration;

use crate::support::locking::*;
use crate::support::{Cluster, Node, resource, wait_for};
use redlock::core::report::{Outcome, Status};
use redlock::engine::{Error, LockRequest, Options, Redlock};

/// A wait that is hopeless must end long before.
const LONG: i64 = 30_000;

/// Every one of these nodes, and no other, is named with these words, and nobody says "held".
#[track_caller]
fn assert_blamed(error: &Error, nodes: &[usize], words: &str) {
    assert!(!error.message.contains("held"), "{error}");
    for (node, detail) in error.nodes.iter().enumerate() {
        match &detail.outcome {
            Outcome::Failed(fault) => {
                assert!(nodes.contains(&node) && fault.text.contains(words), "node {}: {error}", node + 1);
                assert!(error.message.contains(&format!("node {}: {}", node + 1, fault.text)), "{error}");
            }
            outcome => assert!(!nodes.contains(&node), "node {} says {outcome:?}: {error}", node + 1),
        }
    }
}

/// A minority of three nodes that answers so does not keep anybody from locking; a majority does, by this status.
/// `spoil` makes a node answer so.
fn minority_and_majority(spoil: impl Fn(&Node), status: Status, words: &str) -> (Cluster, Redlock) {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let key = resource("spoilt");
    spoil(&cluster[0]);
    at_the_speed_of_the_others(|| {
        let lease = lock(&handle, &key);
        lease.extend(2 * TTL_MS).expect("two of three nodes");
        lease.unlock().expect("two of three nodes");
    });
    spoil(&cluster[2]);
    let error = at_the_speed_of_the_others(|| handle.lock(&request(&key, 0))).expect_err("one of three nodes");
    assert_eq!(error.status, status, "{error}");
    assert_blamed(&error, &[0, 2], words);
    if status == Status::Config {
        let error = at_the_speed_of_the_others(|| handle.lock(&request(&key, LONG))).expect_err("hopeless");
        assert_eq!(error.status, Status::Config, "{error}");
    } else {
        let error = handle.lock(&request(&key, 100)).expect_err("one of three nodes, for long");
        assert_eq!(error.status, status, "{error}");
    }
    let left = |node: &Node| node.cli(&["EXISTS", &key]) == "1";
    assert!(!left(&cluster[1]) || wait_for(Duration::from_secs(3), || !left(&cluster[1])), "cleaned up");
    (cluster, handle)
}

#[test]
fn a_wrong_password_is_a_configuration_error() {
    let cluster = Cluster::start_with(3, &["--requirepass", "right"]);
    let wrong: Vec<String> = cluster.urls().iter().map(|url| url.replace("right", "wr0ng")).collect();
    let handle = Redlock::new(&wrong, &options()).expect("only the server knows");
    let error = at_the_speed_of_the_others(|| handle.lock(&request("password", LONG))).expect_err("hopeless");
    assert_eq!(error.status, Status::Config, "{error}");
    assert!(error.message.contains("WRONGPASS") && !error.message.contains("wr0ng"), "{error}");
    let error = at_the_speed_of_the_others(|| handle.wait_ready(LONG, None)).expect_err("hopeless");
    assert_eq!(error.status, Status::Config, "{error}");

    let one_wrong = [cluster[0].url(), wrong[1].clone(), cluster[2].url()];
    let handle = Redlock::new(&one_wrong, &options()).expect("only the server knows");
    lock(&handle, "password").unlock().expect("two of three nodes");
}

#[test]
fn a_missing_password_is_a_configuration_error() {
    let cluster = Cluster::start_with(3, &["--requirepass", "right"]);
    let bare: Vec<String> = cluster.urls().iter().map(|url| url.replace(":right@", "")).collect();
    let handle = Redlock::new(&bare, &options()).expect("only the server knows");
    let error = at_the_speed_of_the_others(|| handle.lock(&request("password", LONG))).expect_err("hopeless");
    assert_eq!(error.status, Status::Config, "{error}");
    assert!(error.message.contains("NOAUTH") && !error.message.contains("held"), "{error}");

    let with_option = Options { password: Some("right".into()), ..options() };
    lock(&connect_with(&bare, &with_option), "password").unlock().expect("the option's password counts");
}

#[test]
fn a_missing_right_to_set_is_a_configuration_error() {
    let spoil = |node: &Node| assert_eq!(node.cli(&["ACL", "SETUSER", "default", "-set"]), "OK");
    minority_and_majority(spoil, Status::Config, "NOPERM needs +set");
}

#[test]
fn a_missing_right_to_the_keys_is_a_configuration_error() {
    let spoil = |node: &Node| assert_eq!(node.cli(&["ACL", "SETUSER", "default", "resetkeys", "~other:*"]), "OK");
    minority_and_majority(spoil, Status::Config, "NOPERM needs access to the key");
}

#[test]
fn a_missing_right_to_run_scripts_is_told_by_unlock_and_extend() {
    let cluster = Cluster::start(3);
    let handle = connect_with(&cluster.urls(), &Options { avoid_lua: false, ..options() });
    for node in cluster.iter() {
        assert_eq!(node.cli(&["ACL", "SETUSER", "default", "-eval"]), "OK");
    }
    let lease = lock(&handle, "scripts");
    let error = at_the_speed_of_the_others(|| lease.extend(TTL_MS)).expect_err("no node may");
    assert_eq!(error.status, Status::Config, "{error}");
    assert!(error.message.contains("NOPERM needs +eval"), "{error}");
    assert!(lease.remaining_ms() > 0, "a failed extension takes nothing");
    let error = at_the_speed_of_the_others(|| lease.unlock()).expect_err("no node may");
    assert_eq!(error.status, Status::Config, "{error}");
    assert!(error.message.contains("NOPERM needs +eval"), "{error}");
    for node in cluster.iter() {
        assert_eq!(node.cli(&["ACL", "SETUSER", "default", "+eval"]), "OK");
    }
    let is_paid = || pending_releases(&handle) == 0 && cluster.holding("scripts") == 0;
    assert!(wait_for(Duration::from_secs(5), is_paid), "released once it is allowed");
}

#[test]
fn a_node_that_became_a_replica_does_not_vote() {
    let master = Node::start(&[]);
    let port = master.port().to_string();
    let spoil = |node: &Node| {
        assert_eq!(node.cli(&["REPLICAOF", "127.0.0.1", &port]), "OK");
    };
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    spoil(&cluster[0]);
    lock(&handle, "replica").unlock().expect("two of three nodes");
    spoil(&cluster[1]);
    let error = at_the_speed_of_the_others(|| handle.lock(&request("replica", 0))).expect_err("one of three nodes");
    assert!(matches!(error.status, Status::NoQuorum | Status::Config), "{error}");
    assert!(error.message.contains("READONLY") || error.message.contains("replica"), "{error}");
    assert!(!error.message.contains("held"), "{error}");

    let handle = Redlock::new(&cluster.urls(), &options()).expect("only the servers know");
    let error = at_the_speed_of_the_others(|| handle.lock(&request("replica", LONG))).expect_err("hopeless");
    assert_eq!(error.status, Status::Config, "{error}");
    assert_blamed(&error, &[0, 1], "is a replica");
}

#[test]
fn nodes_that_miss_their_replicas_do_not_vote() {
    let spoil = |node: &Node| assert_eq!(node.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]), "OK");
    minority_and_majority(spoil, Status::NoQuorum, "NOREPLICAS");
}

#[test]
fn nodes_without_memory_do_not_vote() {
    let spoil = |node: &Node| {
        assert_eq!(node.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]), "OK");
        assert_eq!(node.cli(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    };
    minority_and_majority(spoil, Status::NoQuorum, "OOM");
}

#[test]
fn locks_of_nodes_that_ran_out_of_memory_are_extended_and_released() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let lease = lock(&handle, "full");
    for node in cluster.iter() {
        assert_eq!(node.cli(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    }
    if !cluster[0].has_command("DELEX") && !cluster[0].has_command("DELIFEQ") {
        lease.extend(2 * TTL_MS).expect("needs no memory");
    }
    lease.unlock().expect("gives memory back");
    assert_gone(&cluster, "full");
}

#[test]
fn nodes_that_cannot_write_their_snapshot_do_not_vote() {
    let spoil = |node: &Node| {
        let dir = node.socket_path().parent().expect("a directory").to_owned();
        assert_eq!(node.cli(&["CONFIG", "SET", "save", "3600 1"]), "OK");
        std::fs::remove_dir_all(dir).expect("a directory of our own");
        node.cli(&["BGSAVE"]);
        let has_failed = || node.cli(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:err");
        assert!(wait_for(Duration::from_secs(5), has_failed), "{}", node.cli(&["INFO", "persistence"]));
    };
    minority_and_majority(spoil, Status::NoQuorum, "MISCONF");
}

#[test]
fn nodes_that_load_their_data_do_not_vote_until_they_have() {
    let loading = [
        "--key-load-delay",
        "2000",
        "--loading-process-events-interval-bytes",
        "1024",
        "--rdbcompression",
        "no",
        "--enable-debug-command",
        "yes",
    ];
    let cluster =
        Cluster::start_with(3, if crate::support::server_version().major >= 7 { &loading } else { &loading[..6] });
    let handle = connect(&cluster);
    for node in [&cluster[0], &cluster[1]] {
        assert_eq!(node.cli(&["DEBUG", "POPULATE", "3000", "key", "64"]), "OK");
        assert_eq!(node.cli(&["SAVE"]), "OK");
        node.restart();
    }
    let error = at_the_speed_of_the_others(|| handle.lock(&request("loading", 0))).expect_err("one of three nodes");
    assert_eq!(error.status, Status::NoQuorum, "{error}");
    assert_blamed(&error, &[0, 1], "LOADING");
    let lease = handle.lock(&request("loading", 60_000)).expect("they come to an end");
    lease.unlock().expect("released");
}

#[test]
fn nodes_busy_with_a_script_do_not_vote() {
    let cluster = Cluster::start_with(3, &["--lua-time-limit", "1"]);
    let handle = connect(&cluster);
    let key = resource("busy");
    let mut scripts = Vec::new();
    for node in [&cluster[0], &cluster[1]] {
        let mut conn = node.connect();
        conn.send(&[b"EVAL", b"while true do end", b"0"]).expect("sent");
        scripts.push(conn);
        assert!(wait_for(Duration::from_secs(5), || node.cli(&["GET", "x"]).starts_with("BUSY")));
    }
    let error = at_the_speed_of_the_others(|| handle.lock(&request(&key, 0))).expect_err("one of three nodes");
    assert_eq!(error.status, Status::NoQuorum, "{error}");
    assert_blamed(&error, &[0, 1], "BUSY");
    for node in [&cluster[0], &cluster[1]] {
        assert_eq!(node.cli(&["SCRIPT", "KILL"]), "OK");
        assert!(wait_for(Duration::from_secs(5), || !node.cli(&["GET", "x"]).starts_with("BUSY")));
    }
    let lease = handle.lock(&request(&key, 30_000)).expect("no longer busy");
    lease.unlock().expect("released");
    assert_gone(&cluster, &key);
}

#[test]
fn a_key_of_another_type_is_a_configuration_error_and_not_held() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    for node in cluster.iter().take(2) {
        assert_eq!(node.cli(&["LPUSH", "list", "x"]), "1");
    }
    let wanted = LockRequest { report_remaining: true, ..request("list", 0) };
    let error = at_the_speed_of_the_others(|| handle.lock(&wanted)).expect_err("two of three nodes have a list");
    assert_eq!(error.status, Status::Config, "{error}");
    assert_blamed(&error, &[0, 1], "WRONGTYPE");
    let error = at_the_speed_of_the_others(|| handle.lock(&request("list", LONG))).expect_err("hopeless");
    assert_eq!(error.status, Status::Config, "{error}");
    assert_blamed(&error, &[0, 1], "WRONGTYPE");
    assert!(wait_for(Duration::from_secs(2), || cluster[2].cli(&["EXISTS", "list"]) == "0"), "cleaned up");
    for node in cluster.iter().take(2) {
        assert_eq!(node.cli(&["TYPE", "list"]), "list", "not ours to touch");
    }
    let error = handle.extend_token(b"list", b"token", TTL_MS).expect_err("not a lock");
    assert!(error.message.contains("WRONGTYPE"), "{error}");
    let error = handle.unlock_token(b"list", b"token").expect_err("not a lock");
    assert!(error.message.contains("WRONGTYPE"), "{error}");
}

#[test]
fn a_server_with_no_room_for_another_client_is_named() {
    let cluster = Cluster::start_with(3, &["--maxclients", "1"]);
    let taken: Vec<_> = cluster.iter().take(2).map(Node::connect).collect();
    thread::sleep(Duration::from_millis(50));
    let handle = Redlock::new(&cluster.urls(), &options()).expect("valid options");
    let error = at_the_speed_of_the_others(|| handle.lock(&request("room", 0))).expect_err("one of three nodes");
    assert_eq!(error.status, Status::NoQuorum, "{error}");
    assert!(!error.message.contains("held") && error.message.contains("max number of clients"), "{error}");
    drop(taken);
    handle.lock(&request("room", 30_000)).expect("there is room").unlock().expect("released");
}
