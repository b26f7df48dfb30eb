//! Attempts whose connections end under them.

use super::scripted::Scripted;
use crate::core::config::Config;
use crate::core::operation::OpKey;
use crate::core::report::Status;
use crate::core::request::{Reply, Request};

const TTL_MS: u64 = 10_000;

fn is_set(request: &Request) -> bool {
    matches!(request, Request::Set { .. })
}

fn token(request: &Request) -> &[u8] {
    match request {
        Request::Set { token, .. } | Request::Release { token, .. } => token,
        other => panic!("{other:?}"),
    }
}

/// Three nodes, asked for a lock that is not waited for; the connections to these have ended since.
fn cut_off(nodes: &[usize]) -> (Scripted, OpKey, Vec<u8>) {
    let mut script = Scripted::connected(Config { wake: false, ..Config::new(3) });
    let op = script.lock(TTL_MS);
    let first = token(&script.asked[0][0]).to_vec();
    nodes.iter().for_each(|&node| script.down(node));
    (script, op, first)
}

#[test]
fn an_attempt_that_was_cut_off_is_made_again_with_another_token() {
    let (mut script, op, first) = cut_off(&[0, 1]);
    script.pass_ms(0);
    assert!(script.completed.is_empty(), "new connections are being made");
    for node in [0, 1] {
        script.up(node, &format!("process {node}"), 86_400, 0);
        let release = script.reply(node, Reply::Not);
        assert!(!is_set(&release) && token(&release) == first, "what may have been executed is undone first");
        let set = script.reply(node, Reply::Done);
        assert!(is_set(&set) && token(&set) != first, "a SET is never sent twice");
    }
    script.lease(op);
}

#[test]
fn an_attempt_that_is_cut_off_again_fails() {
    let (mut script, op, _) = cut_off(&[0, 1]);
    script.pass_ms(0);
    for node in [0, 1] {
        script.up(node, &format!("process {node}"), 86_400, 0);
    }
    script.down(0);
    script.down(1);
    script.pass_ms(0);
    assert_eq!(script.failure(op).status, Status::NoQuorum);
}

#[test]
fn a_lock_that_is_held_is_not_asked_for_again() {
    let (mut script, op, _) = cut_off(&[0]);
    script.reply(1, Reply::Not);
    script.reply(2, Reply::Not);
    assert_eq!(script.failure(op).status, Status::NotAcquired);
}
