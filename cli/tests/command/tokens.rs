//! Locks by name and token: lock, unlock, extend, status, wait; and what is only looked at.

use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Cluster, resource, wait_for};
use crate::{Running, SOON, bare, code, json, redlock, stderr, stdout};

#[test]
fn a_lock_lives_by_its_token() {
    let cluster = Cluster::start(3);
    let name = resource("lock");
    let free = redlock(&cluster, &["status", &name]).output().unwrap();
    assert_eq!((code(&free), stdout(&free).lines().next()), (1, Some(format!("{name}: free").as_str())));

    let locked = json(&redlock(&cluster, &["--json", "lock", "--fence", "-t", "20s", &name]).output().unwrap());
    let token = locked["token"].as_str().expect("a token");
    assert!(locked["validity_ms"].as_i64().is_some_and(|left_ms| (19_000..=20_000).contains(&left_ms)), "{locked}");
    assert!(locked["fence"].as_u64().is_some_and(|fence| fence > 0), "{locked}");

    let held = redlock(&cluster, &["--json", "status", &name]).output().unwrap();
    assert_eq!(code(&held), 0);
    let held = json(&held);
    assert_eq!((&held["held"], held["token"].as_str()), (&true.into(), Some(token)), "{held}");
    assert!(held["nodes"].as_array().is_some_and(|nodes| nodes.len() == 3), "{held}");

    let again = redlock(&cluster, &["lock", "-E", "42", &name]).output().unwrap();
    assert_eq!(code(&again), 42);
    assert!(stderr(&again).contains("s left)"), "{again:?}");

    let extended = redlock(&cluster, &["extend", "-t", "60s", &name, token]).output().unwrap();
    assert_eq!(code(&extended), 0, "{extended:?}");
    assert!(cluster.iter().filter(|node| node.pttl_ms(&name) > 30_000).count() >= 2);

    for command in [&["unlock", name.as_str(), "not-the-token"][..], &["extend", name.as_str(), "not-the-token"]] {
        let output = redlock(&cluster, command).output().unwrap();
        assert_eq!(code(&output), 76, "{output:?}");
    }
    assert_eq!(code(&redlock(&cluster, &["unlock", &name, token]).output().unwrap()), 0);
    assert_eq!(cluster.holding(&name), 0);
}

#[test]
fn wait_ends_when_the_lock_is_free() {
    let cluster = Cluster::start(3);
    let name = resource("lock");
    assert_eq!(code(&redlock(&cluster, &["wait", &name]).output().unwrap()), 0, "nobody holds it");
    assert_eq!(code(&redlock(&cluster, &["lock", "-t", "1s", &name]).output().unwrap()), 0);
    let impatient = redlock(&cluster, &["wait", "-w", "0.1", &name]).output().unwrap();
    assert_eq!(code(&impatient), 1, "{impatient:?}");
    let begun = Instant::now();
    assert_eq!(code(&redlock(&cluster, &["wait", "-w", "15", &name]).output().unwrap()), 0);
    assert!(begun.elapsed() < Duration::from_secs(10));
    // The last node of a minority may have its key for a moment longer.
    assert!(wait_for(SOON, || cluster.holding(&name) == 0), "it was taken");
}

/// Nobody would ever learn the token.
#[test]
fn a_lock_whose_token_cannot_be_printed_is_released() {
    let cluster = Cluster::start(3);
    let name = resource("lock");
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    let output = redlock(&cluster, &["lock", &name]).stdout(Stdio::from(full)).output().unwrap();
    assert_eq!(code(&output), 74, "{output:?}");
    assert_eq!(cluster.holding(&name), 0);
}

#[test]
fn top_and_bench_print_what_they_see() {
    let cluster = Cluster::start(3);
    cluster[0].kill();
    let held = redlock(&cluster, &["-k", "shop:", "lock", "orders/7"]).output().unwrap();
    assert_eq!(code(&held), 0, "{held:?}");
    let top = redlock(&cluster, &["top", "-c", "2", "-i", "10ms", "-k", "shop:"]).output().unwrap();
    assert_eq!(code(&top), 0, "{top:?}");
    assert!(stdout(&top).contains("orders/*"), "{top:?}");
    assert!(stdout(&top).contains("connection refused"), "{top:?}");
    let waiter = Running::start(redlock(&cluster, &["-k", "shop:", "run", "orders/7", "true"]));
    let is_seen = || {
        let top = json(&redlock(&cluster, &["--json", "top", "-c", "1", "-k", "shop:"]).output().unwrap());
        (1..3).all(|node| top["nodes"][node]["watched"] == 1)
    };
    assert!(wait_for(SOON, is_seen), "a waiter has its key watched");
    drop(waiter);
    let bench = redlock(&cluster, &["--json", "bench", "-d", "100ms", "-j", "2"]).output().unwrap();
    assert_eq!(code(&bench), 0, "{bench:?}");
    let bench = json(&bench);
    assert!(bench["pairs"].as_u64().is_some_and(|pairs| pairs > 0), "{bench}");
    assert!(bench["pair_us"]["p99"].as_f64() >= bench["pair_us"]["p50"].as_f64(), "{bench}");
    assert!(bench["nodes"][0]["error"].is_string() && bench["nodes"][1]["round_trip_us"].is_object(), "{bench}");
}

#[test]
fn completions_manual_and_version_come_from_the_command_line_itself() {
    for shell in ["bash", "zsh", "fish"] {
        let output = bare(&["completions", shell]).output().unwrap();
        assert!(code(&output) == 0 && stdout(&output).contains("doctor"), "{output:?}");
    }
    let manual = bare(&["manual"]).output().unwrap();
    assert!(stdout(&manual).contains(".TH REDLOCK 1") || stdout(&manual).contains(".TH redlock 1"), "{manual:?}");
    assert!(stdout(&manual).contains("\\-\\-on\\-lost"), "{manual:?}");
    let version = json(&bare(&["--json", "version"]).output().unwrap());
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
}
