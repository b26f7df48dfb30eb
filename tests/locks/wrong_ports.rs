//! Ports that speak something else, peers that close over a command, and servers that refuse what is optional.

use std::io::Write;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::locking::*;
use crate::support::{Cluster, Node, Peer, Proxy, resource, tls, wait_for};
use redlock::core::report::Status;
use redlock::engine::{Options, Redlock};
use redlock::redis::dialect::Protocol;

/// The failure of a lock on this one node.
fn failure(url: String, options: &Options) -> redlock::engine::Error {
    let handle = Redlock::new(&[url], options).expect("only the node knows");
    handle.lock(&request("wrong", 5_000)).expect_err("no Redis server")
}

#[track_caller]
fn assert_misconfigured(url: String, words: &str) {
    let error = failure(url, &Options { tls_insecure: cfg!(feature = "tls"), ..options() });
    assert_eq!(error.status, Status::Config, "{error}");
    assert!(error.message.contains(words), "{error}");
}

#[cfg(feature = "tls")]
#[test]
fn plain_to_a_tls_port_and_tls_to_a_plain_port_are_told_apart() {
    let plain = Node::start(&[]);
    assert_misconfigured(
        format!("rediss://127.0.0.1:{}", plain.port()),
        "the port does not speak TLS: use redis:// instead of rediss://",
    );
    if tls::server_has_tls() {
        let certificates = tls::Certificates::make();
        let port = crate::support::spawn::free_port();
        let arguments = certificates.server_arguments(port, false);
        let _secured = Node::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert_misconfigured(
            format!("redis://127.0.0.1:{port}"),
            "the port speaks TLS: use rediss:// instead of redis://",
        );
    }
}

#[test]
fn ports_of_other_services_are_named() {
    let http = Peer::malformed(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec());
    assert_misconfigured(http.url(), "the port speaks HTTP: it is no Redis server's");
    // It speaks first.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let port = listener.local_addr().expect("a bound socket").port();
    thread::spawn(move || {
        let mut greeted = Vec::new();
        for socket in listener.incoming().take(64) {
            let mut socket = socket.expect("a connection");
            let _ = socket.write_all(b"J\x00\x00\x00\x0a8.0.36\x00");
            greeted.push(socket);
        }
    });
    assert_misconfigured(format!("redis://127.0.0.1:{port}"), "the port speaks MySQL: it is no Redis server's");
}

#[test]
fn members_of_clusters_and_sentinels_are_misconfigured() {
    let member = Node::start(&["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]);
    assert_misconfigured(member.url(), "cluster mode: not an independent master");
}

#[test]
fn peers_that_close_over_optional_commands_are_served_without_them() {
    for hated in [&["HELLO"][..], &["HELLO", "CLIENT", "INFO"], &["HELLO", "CLIENT", "INFO", "TIME"]] {
        for protocol in [Protocol::Auto, Protocol::Resp2] {
            let cluster = Cluster::start(3);
            let proxies: Vec<Proxy> = cluster.iter().map(|node| Proxy::to(node.port())).collect();
            proxies.iter().for_each(|proxy| proxy.close_over(hated));
            let urls: Vec<String> = proxies.iter().map(Proxy::url).collect();
            let begun = Instant::now();
            let handle = Redlock::new(&urls, &Options { protocol, ..options() }).expect("valid options");
            let key = resource("picky");
            let lease = handle.lock(&request(&key, 10_000)).expect("without the optional commands");
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
            lease.unlock().expect("still ours");
            assert_gone(&cluster, &key);
            // It is remembered: the next connection costs one dial.
            assert!(wait_for(Duration::from_secs(10), || up_count(&handle) == 3));
            let accepted: u64 = proxies.iter().map(Proxy::accepted).sum();
            proxies.iter().for_each(Proxy::reset_all);
            assert!(wait_for(Duration::from_secs(10), || {
                let _ = handle.inspect(b"nobody's");
                proxies.iter().all(|proxy| proxy.open() == 1) && up_count(&handle) == 3
            }));
            let more = proxies.iter().map(Proxy::accepted).sum::<u64>() - accepted;
            assert!(more <= 3 * 2, "{more} dials of three nodes");
        }
    }
}

#[test]
fn a_peer_that_closes_over_a_needed_command_is_named_with_it() {
    let node = Node::start(&[]);
    let proxy = Proxy::to(node.port());
    proxy.close_over(&["SELECT"]);
    let error = failure(format!("{}/2", proxy.url()), &options());
    assert!(error.message.contains("after SELECT"), "{error}");
    proxy.close_over(&["HELLO"]);
    let error = failure(proxy.url(), &Options { protocol: Protocol::Resp3, ..options() });
    assert_eq!(error.status, Status::NoQuorum);
    assert!(error.message.contains("after HELLO"), "{error}");
}

#[test]
fn a_peer_that_closes_at_once_is_not_dialled_more_than_its_rest_allows() {
    let peer = Peer::closing();
    let handle = Redlock::new(&[peer.url()], &options()).expect("valid options");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        let _ = handle.lock(&request("closing", 0));
        thread::sleep(Duration::from_millis(1));
    }
    // 10, 20, 40 ... 1 000 ms of rest, a look at the port, and a trial over HELLO at the first dial.
    assert!(peer.connections() < 30, "{}", peer.connections());
}

/// Entries of the ACL LOG, each as often as it happened.
fn acl_log(node: &Node) -> u64 {
    let log = node.cli(&["ACL", "LOG", "128"]);
    let mut lines = log.lines();
    let mut total = 0;
    while let Some(line) = lines.next() {
        if line.ends_with("count") {
            total += lines.next().and_then(|count| count.trim().parse::<u64>().ok()).expect("a count");
        }
    }
    total
}

#[test]
fn a_hundred_reconnects_with_the_least_rights_leave_a_handful_of_entries_in_the_acl_log() {
    let node = Node::start(&[]);
    node.cli(&["ACL", "SETUSER", "locker", "reset", "on", ">s3cret", "~locks:*", "+set", "+eval", "+get", "+del"]);
    let url = format!("redis://locker:s3cret@127.0.0.1:{}", node.port());
    let handle = Redlock::new(&[url], &Options { avoid_lua: false, ..options() }).expect("valid options");
    for round in 0..100 {
        let lease = handle.lock(&request("locks:quiet", 5_000)).unwrap_or_else(|error| panic!("{round}: {error}"));
        let error = handle.lock(&request("locks:quiet", 0)).expect_err("it is held");
        assert_eq!(error.status, Status::NotAcquired, "{error}");
        lease.unlock().expect("still ours");
        let connections = || {
            node.cli(&["INFO", "stats"]).lines().find_map(|line| {
                line.trim_end().strip_prefix("total_connections_received:").and_then(|count| count.parse::<u64>().ok())
            })
        };
        let before = connections();
        node.cli(&["CLIENT", "KILL", "USER", "locker"]);
        assert!(before.is_some());
    }
    let entries = acl_log(&node);
    assert!((1..=16).contains(&entries), "{entries} entries: {}", node.cli(&["ACL", "LOG", "20"]));
}
