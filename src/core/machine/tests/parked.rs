//! More than may wait for a connection that is being made.

use super::scripted::Scripted;
use crate::core::config::{Config, Limits};
use crate::core::operation::{Input, OpKey, Operation};
use crate::core::report::{Outcome, Status};
use crate::core::request::{Bytes, FaultKind, Reply, Request};

/// One request.
fn ask(script: &mut Scripted) -> OpKey {
    let (key, token) = (Bytes::from(&b"r"[..]), Bytes::from(&b"another's"[..]));
    script.submit(Operation::ExtendToken { key, token, ttl_ms: 10_000 })
}

/// One node, and as many requests to it as may wait for its connection.
fn crowded(mut script: Scripted) -> Scripted {
    let before = script.completed.len();
    (0..limits().in_flight).for_each(|_| _ = ask(&mut script));
    assert_eq!(script.completed.len(), before, "all of them wait");
    script
}

fn limits() -> Limits {
    Limits::default()
}

#[test]
fn what_is_too_much_is_refused_at_once() {
    let mut script = Scripted::new(Config::new(1));
    script.handle(Input::Dialing { node: 0 });
    let mut script = crowded(script);
    let op = ask(&mut script);
    let failure = script.failure(op);
    assert_eq!(failure.status, Status::NoQuorum);
    assert!(
        matches!(&failure.nodes[0].outcome, Outcome::Failed(fault) if fault.kind == FaultKind::Refused),
        "{failure}"
    );
    let op = script.lock(10_000);
    assert_eq!(script.failure(op).status, Status::NoQuorum);
}

#[test]
fn a_release_that_may_not_wait_with_the_others_is_owed_and_goes_first() {
    let mut script = Scripted::connected(Config::new(1));
    let op = script.lock(10_000);
    script.reply(0, Reply::Done);
    let lease = script.lease(op);
    script.down(0);
    let mut script = crowded(script);
    let op = script.submit(Operation::Unlock { lease });
    assert_eq!(script.failure(op).status, Status::NoQuorum);
    assert_eq!(script.machine.stats().nodes[0].pending_releases, 1);
    script.up(0, "process 0", 86_400, 0);
    assert!(matches!(script.asked[0].front(), Some(Request::Release { .. })));
    assert_eq!(script.asked[0].len(), 1 + limits().in_flight, "and then the others");
}

#[test]
fn releases_that_found_the_connection_full_follow_as_replies_make_room() {
    let mut script = Scripted::connected(Config::new(3));
    let unlock = || Operation::UnlockToken { key: Bytes::from(&b"r"[..]), token: Bytes::from(&b"t"[..]) };
    let more = 1_000;
    (0..limits().in_flight + more).for_each(|_| _ = script.submit(unlock()));
    assert_eq!(script.machine.stats().nodes[0].pending_releases, more as u64);
    for _ in 0..limits().in_flight + more {
        script.reply(0, Reply::Done);
    }
    assert_eq!(script.machine.stats().nodes[0].pending_releases, 0);
    assert!(script.asked[0].is_empty());
}

#[test]
fn no_more_releases_are_owed_than_the_limit_says() {
    let mut script = Scripted::connected(Config::new(3));
    script.down(0);
    for number in 0..(limits().owed + limits().in_flight) as u64 + 5_000 {
        let (key, token) = (Bytes::from(&number.to_be_bytes()[..]), Bytes::from(&b"t"[..]));
        script.submit(Operation::UnlockToken { key, token });
    }
    assert_eq!(script.machine.stats().nodes[0].pending_releases, limits().owed as u64);
}
