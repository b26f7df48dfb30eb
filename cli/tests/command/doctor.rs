//! `redlock doctor` against nodes that void the guarantee, each in its own way.

use crate::support::{Cluster, Node};
use crate::{bare, code, json, redlock, stdout};

/// Persistence is what the servers of the tests do not have.
const DURABLE: [&str; 2] = ["--appendonly", "yes"];

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
    let found = checks(&output);
    assert!(has(&found, "error", "permission", &[1]), "extension needs more: {output:?}");
    assert!(has(&found, "warning", "hidden-info", &[1]), "{found:?}");
    assert!(stdout(&output).contains("ACL SETUSER"), "{output:?}");
}
