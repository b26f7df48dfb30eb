//! Every ACL recipe of the README, with every feature that it claims.

use std::time::Duration;

use crate::support::locking::*;
use crate::support::{Cluster, resource, wait_for};
use redlock::core::report::Status;
use redlock::engine::{LockRequest, Options, Redlock};

/// The lines `ACL SETUSER …` of the README.
fn recipes() -> Vec<Vec<String>> {
    let readme = include_str!("../../README.md");
    let lines = readme.lines().filter(|line| line.starts_with("ACL SETUSER "));
    lines.map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

/// Servers with that user, and their URLs with the user in them; `None` where these servers do not know a command of it.
fn with_user(recipe: &[String]) -> Option<(Cluster, Vec<String>)> {
    let cluster = Cluster::start(3);
    let words: Vec<&str> = recipe.iter().map(String::as_str).collect();
    let is_known = cluster.iter().all(|node| node.cli(&words) == "OK");
    let urls = cluster.iter().map(|node| format!("redis://locker:s3cret@127.0.0.1:{}", node.port())).collect();
    is_known.then_some((cluster, urls))
}

/// A handle that is connected to all of them, and has asked for no key of others to find that out.
fn connected(urls: &[String], options: &Options) -> Redlock {
    let handle = Redlock::new(urls, options).expect("valid options");
    assert!(wait_for(Duration::from_secs(10), || {
        let _ = handle.inspect(b"locks:nobody's");
        handle.stats().expect("a handle of this process").nodes.iter().take(urls.len()).all(|node| node.is_up > 0)
    }));
    handle
}

fn assert_nothing_was_refused(cluster: &Cluster) {
    for node in cluster.iter() {
        assert_eq!(node.cli(&["ACL", "LOG"]).trim(), "");
    }
}

#[test]
fn the_recipes_for_everything_allow_everything() {
    let (mut tried, recipes) = (0, recipes());
    for recipe in &recipes[..recipes.len() - 1] {
        let Some((cluster, urls)) = with_user(recipe) else { continue };
        tried += 1;
        // Scripts, for `+delex` and `+delifeq` are said to be added where they exist.
        let options = Options { avoid_lua: false, client_name: Some("rights".into()), ..options() };
        let (handle, other) = (connected(&urls, &options), connected(&urls, &options));
        let key = format!("locks:{}", resource("rights"));

        let lease = lock(&handle, &key);
        lease.extend(TTL_MS).expect("a quorum extends");
        let holder = handle.inspect(key.as_bytes()).expect("a quorum answers").holder;
        assert!(holder.is_some_and(|holder| holder.is_quorum));
        let asking = LockRequest { report_remaining: true, ..request(&key, 0) };
        let error = other.lock(&asking).expect_err("it is held");
        assert!(error.status == Status::NotAcquired && error.message.contains("s left"), "{error}");
        // Woken by a push: there is no retry before half a minute.
        let patient = connected(&urls, &Options { retry_delay_ms: 30_000, ..options.clone() });
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| patient.lock(&request(&key, 20_000)));
            std::thread::sleep(Duration::from_millis(200));
            lease.unlock().expect("still ours");
            waiter.join().expect("no panic").expect("woken").unlock().expect("still ours");
        });

        let fenced = LockRequest { fence: true, ..request(&key, 5_000) };
        let lease = handle.lock(&fenced).expect("with a counter");
        lease.extend(TTL_MS).expect("a quorum extends");
        lease.unlock().expect("still ours");
        other.unlock_token(key.as_bytes(), b"nobody's").expect_err("not held");
        // Given up and closed at the server.
        for node in cluster.iter() {
            node.cli(&["CLIENT", "KILL", "USER", "locker"]);
        }
        lock(&handle, &key).unlock().expect("after a reconnect");
        assert_nothing_was_refused(&cluster);
    }
    assert!(tried > 0, "these servers know none of {recipes:?}");
}

#[test]
fn the_least_rights_allow_to_lock_to_unlock_and_to_wait() {
    let recipes = recipes();
    let (cluster, urls) = with_user(recipes.last().expect("the least")).expect("commands that every server knows");
    let options = Options { avoid_lua: false, ..options() };
    let (holder, waiter) = (connected(&urls, &options), connected(&urls, &options));
    let key = format!("locks:{}", resource("rights"));
    let lease = lock(&holder, &key);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| waiter.lock(&request(&key, 20_000)));
        std::thread::sleep(Duration::from_millis(200));
        lease.unlock().expect("still ours");
        waiting.join().expect("no panic").expect("after a retry").unlock().expect("still ours");
    });
    assert!(wait_for(Duration::from_secs(5), || cluster.holding(&key) == 0));
    let error = holder.lock(&LockRequest { fence: true, ..request(&key, 0) }).expect_err("no counter");
    assert_eq!(error.status, Status::Config, "{error}");
}
