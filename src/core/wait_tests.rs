//! Waiters who come too late.

use super::config::Config;
use super::operation::{Input, LockParams, Operation};
use super::request::{Bytes, Push, Remaining, Reply, Request, ServerInfo};
use super::scripted::Scripted;
use super::time::NS_PER_MS;

/// Three nodes that announce changes, and a waiter for "r", which has passed from one rival to another once.
fn waiter(config: Config) -> Scripted {
    let mut script = Scripted::new(config);
    for node in 0..3 {
        script.up_with(node, ServerInfo { can_track: true, run_id: node.to_string(), ..ServerInfo::default() });
    }
    script.submit(Operation::Lock(LockParams {
        key: Bytes::from(&b"r"[..]),
        ttl_ms: 10_000,
        wait_ms: None,
        retries: None,
        token: None,
        explain: false,
        auto_extend: false,
        max_hold_ms: None,
        fence: false,
        watch: false,
    }));
    for _ in 0..2 {
        read_held(&mut script);
        announce(&mut script);
    }
    assert_eq!(asked_to_vote(&script).len(), 1, "with rivals one node is asked first");
    script
}

fn asked_to_vote(script: &Scripted) -> Vec<usize> {
    (0..3).filter(|&node| matches!(script.asked[node].front(), Some(Request::Set { .. }))).collect()
}

/// All nodes say that the key has changed: it was released.
fn announce(script: &mut Scripted) {
    (0..3).for_each(|node| script.handle(Input::Push { node, push: Push::Key(b"r".to_vec()) }));
}

/// The nodes answer all that they were asked: others hold the lock, and changes will be announced.
fn read_held(script: &mut Scripted) {
    for node in 0..3 {
        while let Some(request) = script.asked[node].front() {
            let reply = match request {
                Request::Set { .. } | Request::Release { .. } => Reply::Not,
                Request::Remaining { .. } => Reply::Remaining(Remaining::Ms(10_000)),
                _ => Reply::Done,
            };
            script.reply(node, reply);
        }
    }
}

/// Another was there before this waiter; returns how long, in ns, it stays away before the lock is released again.
fn lose_turn(script: &mut Scripted) -> u64 {
    let asked = asked_to_vote(script);
    asked.into_iter().for_each(|node| drop(script.reply(node, Reply::Not)));
    let due = script.machine.next_deadline().expect("a moment to look again");
    let away_ns = due - script.now.mono_ns;
    script.pass_ms(away_ns.div_ceil(NS_PER_MS));
    read_held(script);
    announce(script);
    away_ns
}

#[test]
fn the_more_turns_a_waiter_loses_the_longer_it_lets_others_pass_up_to_the_retry_delay() {
    let mut script = waiter(Config { retry_delay_ms: 100, ..Config::new(3) });
    script.most_jitter = true;
    let away: Vec<u64> = (0..30).map(|_| lose_turn(&mut script)).collect();
    assert!(away.is_sorted() && away[0] < away[8], "{away:?}");
    assert_eq!(away[20], away[29], "{away:?}");
    assert!(away.iter().all(|&away_ns| away_ns <= 100 * NS_PER_MS), "{away:?}");
}
