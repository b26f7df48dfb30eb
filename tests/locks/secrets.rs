//! Passwords appear in no message and in no Debug output, whatever servers answer.

use crate::support::locking::*;
use crate::support::{Cluster, Peer, TempDir};
use redlock::engine::{Error, LockRequest, Options, Redlock};

const PASSWORD: &str = "s3cr3t-Passw0rd";
const USER: &str = "us3r-name";

#[track_caller]
fn assert_discreet(text: &str) {
    assert!(!text.contains(PASSWORD), "{text}");
    assert!(!text.contains("s3cr3t"), "{text}");
}

#[track_caller]
fn assert_error_is_discreet(error: &Error) {
    assert_discreet(&error.to_string());
    assert_discreet(&format!("{error:?} {error:#?}"));
    for node in &error.nodes {
        assert_discreet(&node.url);
        assert_discreet(&format!("{node:?}"));
    }
}

/// Everything that can be said about a handle and by it.
#[track_caller]
fn assert_handle_is_discreet(handle: &Redlock, node_count: usize) {
    assert_discreet(&format!("{handle:?} {handle:#?}"));
    for node in 0..node_count {
        assert_discreet(handle.node_url(node).expect("a node"));
    }
    match handle.lock(&LockRequest { report_remaining: true, ..request("secret", 0) }) {
        Ok(lease) => {
            assert_discreet(&format!("{lease:?}"));
            assert_discreet(&format!("{:?}", handle.inspect(b"secret")));
            lease.unlock().expect("ours");
        }
        Err(error) => assert_error_is_discreet(&error),
    }
    if let Err(error) = handle.wait_ready(100, None) {
        assert_error_is_discreet(&error);
    }
    if let Err(error) = handle.inspect(b"secret") {
        assert_error_is_discreet(&error);
    }
}

fn with_login(url: &str) -> String {
    url.replace("redis://", &format!("redis://{USER}:{PASSWORD}@"))
}

#[test]
fn wrong_and_right_passwords_are_not_shown() {
    let cluster = Cluster::start(3);
    let urls: Vec<String> = cluster.urls().iter().map(|url| with_login(url)).collect();
    assert_handle_is_discreet(&Redlock::new(&urls, &options()).expect("valid URLs"), 3);
    for node in cluster.iter() {
        assert_eq!(node.cli(&["ACL", "SETUSER", USER, "on", &format!(">{PASSWORD}"), "~*", "&*", "+@all"]), "OK");
    }
    let handle = connect_with(&urls, &options());
    lock(&handle, "secret").unlock().expect("ours");
    assert_handle_is_discreet(&handle, 3);
    for node in cluster.iter() {
        assert_eq!(node.cli(&["ACL", "SETUSER", USER, "-set"]), "OK");
    }
    assert_handle_is_discreet(&handle, 3);

    let in_options = Options { username: Some(USER.into()), password: Some(PASSWORD.into()), ..options() };
    assert_discreet(&format!("{in_options:?} {in_options:#?}"));
    assert_handle_is_discreet(&Redlock::new(&cluster.urls(), &in_options).expect("valid options"), 3);
}

#[test]
fn servers_that_do_not_know_hello_or_auth_get_nothing_repeated() {
    for renamed in [&["hello"][..], &["auth"], &["hello", "auth"]] {
        let directory = TempDir::new();
        let mut configuration = String::new();
        renamed.iter().for_each(|command| configuration.push_str(&format!("rename-command {command} \"\"\n")));
        let path = directory.path().join("renamed.conf");
        std::fs::write(&path, configuration).expect("a writable directory");
        let path = path.to_string_lossy();
        let cluster = Cluster::start_with(2, &["--include", &path]);
        let urls: Vec<String> = cluster.urls().iter().map(|url| with_login(url)).collect();
        let handle = Redlock::new(&urls, &options()).expect("valid URLs");
        let error = handle.lock(&request("secret", 0)).expect_err("nobody knows this user");
        assert_error_is_discreet(&error);
        assert_handle_is_discreet(&handle, 2);
        // Without credentials HELLO is not missed.
        if renamed == ["hello"] {
            lock(&connect(&cluster), "secret").unlock().expect("ours");
        }
    }
}

#[test]
fn a_peer_that_repeats_what_it_is_told_is_not_quoted() {
    let echo = format!("-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' '{USER}' '{PASSWORD}'\r\n");
    let answers = [
        echo.clone(),
        echo.repeat(3),
        format!("-{PASSWORD} {PASSWORD}\r\n"),
        format!("+{PASSWORD}\r\n"),
        format!("${}\r\n{PASSWORD}\r\n", PASSWORD.len()),
        format!("{PASSWORD}\r\n"),
        format!(":{PASSWORD}\r\n"),
        format!("!{}\r\n{PASSWORD}\r\n", PASSWORD.len()),
    ];
    let peers: Vec<Peer> = answers.iter().map(|answer| Peer::malformed(answer.clone().into_bytes())).collect();
    let urls: Vec<String> = peers.iter().map(|peer| with_login(&peer.url())).collect();
    let options = Options { connect_timeout_ms: 500, ..options() };
    let handle = Redlock::new(&urls, &options).expect("valid URLs");
    for _ in 0..3 {
        let error = handle.lock(&request("secret", 0)).expect_err("no server");
        assert_error_is_discreet(&error);
    }
    assert_handle_is_discreet(&handle, urls.len());
}

#[test]
fn urls_that_are_refused_are_not_repeated() {
    let mistakes = [
        format!("redis://{USER}:{PASSWORD}@"),
        format!("redis://{USER}:{PASSWORD}@host:port"),
        format!("redis://{USER}:{PASSWORD}@host:1/x"),
        format!("redis://{USER}:{PASSWORD}#@host:1"),
        format!("redis://{USER}:{PASSWORD}@host:1#insecure"),
        format!("redis://{USER}:{PASSWORD}@ho st:1"),
        format!("redis://{USER}:{PASSWORD}"),
        format!("http://{USER}:{PASSWORD}@host:1"),
        format!("{USER}:{PASSWORD}@host:1"),
        format!("unix://{USER}:{PASSWORD}@/path"),
        format!("unix:///path?pass={PASSWORD}&db=x"),
        format!("redis://host:1?password={PASSWORD}"),
    ];
    for mistake in &mistakes {
        if let Err(error) = Redlock::new(&[mistake], &options()) {
            assert_error_is_discreet(&error);
        } else {
            panic!("{mistake} is accepted");
        }
    }
    let url = format!("redis://{USER}:{PASSWORD}@127.0.0.1:1");
    assert_error_is_discreet(&Redlock::new(&[&url, &url], &options()).expect_err("twice"));
}
