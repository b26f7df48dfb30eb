//! `redlock doctor` against nodes that void the guarantee, each in its own way.

use crate::support::proxy::Proxy;
use crate::support::{Cluster, Node};
use crate::{bare, code, json, redlock, stdout};

/// Persistence is what the servers of the tests do not have.
const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

fn checks(output: &std::process::Output) -> Vec<(String, String, Vec<u64>)> {
    let found = json(output)["findings"].as_array().cloned().expect("findings");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let nodes =
        |value: &serde_json::Value| value.as_array().map(|list| list.iter().filter_map(|n| n.as_u64()).collect());
    found
        .iter()
        .map(|one| (text(&one["severity"]), text(&one["check"]), nodes(&one["nodes"]).unwrap_or_default()))
        .collect()
}

fn has(found: &[(String, String, Vec<u64>)], severity: &str, check: &str, nodes: &[u64]) -> bool {
    found.iter().any(|one| one == &(severity.to_owned(), check.to_owned(), nodes.to_vec()))
}

#[test]
fn healthy_nodes_are_found_healthy() {
    let cluster = Cluster::start_with(3, &DURABLE);
    let output = redlock(&cluster, &["doctor"]).output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stdout(&output).contains("nothing found that voids the guarantee"), "{output:?}");
    assert_eq!(cluster.iter().map(|node| node.query(&[b"DBSIZE"]).int()).sum::<i64>(), 0, "nothing is left behind");
}

#[test]
fn each_misconfiguration_is_named_with_its_node_and_a_cure() {
    let replica = ["--replicaof", "127.0.0.1", "1"];
    let eviction = ["--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"];
    let cluster = Cluster::from_nodes(vec![
        Node::start(&DURABLE),
        Node::start(&[&DURABLE[..], &eviction].concat()),
        Node::start(&[&DURABLE[..], &replica].concat()),
        Node::start(&[]),
        Node::start(&[&DURABLE[..], &["--cluster-enabled", "yes"]].concat()),
        Node::start(&DURABLE),
    ]);
    cluster[5].kill();
    let output = redlock(&cluster, &["--json", "doctor"]).output().unwrap();
    assert_eq!(code(&output), 78, "{output:?}");
    let found = checks(&output);
    assert!(has(&found, "error", "eviction", &[2]), "{found:?}");
    assert!(has(&found, "error", "replica", &[3]), "{found:?}");
    assert!(has(&found, "warning", "persistence", &[4]), "{found:?}");
    assert!(has(&found, "error", "cluster", &[5]), "{found:?}");
    assert!(has(&found, "error", "unreachable", &[6]), "{found:?}");
    assert!(has(&found, "note", "node-count", &[]), "{found:?}");
    assert!(!found.iter().any(|(_, _, nodes)| nodes == &[1]), "{found:?}");
    let text = redlock(&cluster, &["doctor", "--restart-guard", "off"]).output().unwrap();
    assert!(stdout(&text).contains("CONFIG SET maxmemory-policy noeviction"), "{text:?}");
    assert!(stdout(&text).contains("error: node 4: keeps no data on disk"), "{text:?}");
    // What it prints for people has a cure below each finding.
    let (findings, cures) = stdout(&text)
        .lines()
        .filter(|line| !line.starts_with("node"))
        .fold((0, 0), |(f, c), line| if line.starts_with("    ") { (f, c + 1) } else { (f + 1, c) });
    assert!(findings == cures && findings >= 6, "{text:?}");
}

#[test]
fn one_server_under_two_names_is_one_vote() {
    let cluster = Cluster::start_with(2, &DURABLE);
    let urls = [cluster[0].url(), cluster[0].url().replace("127.0.0.1", "localhost"), cluster[1].url()].join(",");
    let output = bare(&["--json", "doctor"]).env("REDLOCK_SERVERS", urls).output().unwrap();
    assert_eq!(code(&output), 78, "{output:?}");
    assert!(has(&checks(&output), "error", "same-server", &[1, 2]), "{output:?}");
}

#[test]
fn missing_permissions_are_named() {
    let cluster = Cluster::start_with(1, &DURABLE);
    cluster[0].cli(&["ACL", "SETUSER", "least", "on", ">pw", "~*", "+set", "+eval", "+get", "+del", "+ping"]);
    let url = cluster[0].url().replace("redis://", "redis://least@");
    let output = bare(&["-S", &url, "--json", "doctor"]).env("REDLOCK_PASSWORD", "pw").output().unwrap();
    assert_eq!(code(&output), 78, "{output:?}");
    let found = checks(&output);
    assert!(has(&found, "error", "permission", &[1]), "extension needs more: {output:?}");
    assert!(has(&found, "warning", "hidden-info", &[1]), "{found:?}");
    assert!(has(&found, "note", "tracking", &[1]), "{found:?}");
    let cures = stdout(&output);
    for cure in ["+eval +get +pttl +pexpire", "+info", "+client|tracking +client|caching", "+client|kill", "+time"] {
        assert!(cures.contains(&format!("ACL SETUSER least {cure}")), "{cure}: {cures}");
    }
    // Typing what it says cures what it names.
    let found = json(&output)["findings"].as_array().cloned().expect("findings");
    for cure in found.iter().filter_map(|finding| finding["cure"].as_str()) {
        let typed: Vec<&str> = cure.split(';').next().unwrap_or_default().split_whitespace().collect();
        if typed.first() == Some(&"ACL") {
            assert_eq!(cluster[0].cli(&typed).trim(), "OK", "{cure}");
        }
    }
    let again = bare(&["-S", &url, "--json", "doctor"]).env("REDLOCK_PASSWORD", "pw").output().unwrap();
    let left: Vec<_> = checks(&again).into_iter().filter(|(_, check, _)| check != "node-count").collect();
    assert_eq!(left, [], "{again:?}");
    let wrong = bare(&["-S", &url, "doctor"]).env("REDLOCK_PASSWORD", "wrong").output().unwrap();
    assert!(code(&wrong) == 78 && stdout(&wrong).contains("ACL GETUSER"), "{wrong:?}");
}

#[test]
fn a_slow_node_is_compared_with_the_timeout_and_the_ttl() {
    let cluster = Cluster::start_with(3, &DURABLE);
    let far = Proxy::to(cluster[1].port());
    far.delay(60);
    let urls = [cluster[0].url(), far.url(), cluster[2].url()].join(" ");
    let ask = |ttl: &str| bare(&["--json", "doctor", "-t", ttl]).env("REDLOCK_SERVERS", &urls).output().unwrap();
    let output = ask("1s");
    assert_eq!(code(&output), 1, "warnings: {output:?}");
    assert!(has(&checks(&output), "warning", "ttl", &[2]), "{output:?}");
    assert!(has(&checks(&output), "warning", "node-timeout", &[2]), "{output:?}");
    let output = ask("1h");
    assert!(!has(&checks(&output), "warning", "ttl", &[2]), "{output:?}");
    assert!(stdout(&output).contains("--node-timeout "), "{output:?}");
}

#[test]
fn what_a_crash_loses_is_told_by_its_severity() {
    let cluster = Cluster::from_nodes(vec![
        Node::start(&DURABLE),
        Node::start(&["--appendonly", "yes"]),
        Node::start(&["--save", "3600 1"]),
    ]);
    let ask = |arguments: &[&str]| redlock(&cluster, &[&["--json", "doctor"], arguments].concat()).output().unwrap();
    let seen = ask(&[]);
    assert_eq!(code(&seen), 1, "{seen:?}");
    assert!(has(&checks(&seen), "note", "persistence", &[2]), "{seen:?}");
    assert!(has(&checks(&seen), "warning", "persistence", &[3]), "{seen:?}");
    let off = ask(&["--restart-guard", "off"]);
    assert_eq!(code(&off), 78, "{off:?}");
    assert!(has(&checks(&off), "error", "persistence", &[2]), "{off:?}");
    assert!(has(&checks(&off), "error", "persistence", &[3]), "{off:?}");
    let strict = ask(&["--restart-guard", "strict", "--max-ttl", "1m"]);
    assert_eq!((code(&strict), checks(&strict)), (0, vec![]), "{strict:?}");
}
