//! Peers that are no servers: locks work with the others, memory stays bounded, errors name the node.

use std::time::{Duration, Instant};

use crate::support::locking::*;
use crate::support::{Cluster, Peer, Proxy, resource, wait_for};
use redlock::core::report::{Outcome, Status};
use redlock::engine::{Error, Options, Redlock};

/// Three servers and two of these peers: locks come and go as if the peers were not there. One server and two of
/// them: the failure is prompt and says what is wrong with each peer. Returns that failure.
fn live_with(peers: [Peer; 2], url: impl Fn(&Peer) -> String) -> Error {
    let cluster = Cluster::start(3);
    let bad = peers.each_ref().map(url);
    let mixed = [bad[0].clone(), cluster[0].url(), cluster[1].url(), bad[1].clone(), cluster[2].url()];
    let options = Options { connect_timeout_ms: 1_000, ..options() };
    let handle = Redlock::new(&mixed, &options).expect("peers may be anything");
    let key = resource("hostile");
    handle.wait_ready(20_000, None).expect("three of five nodes");
    at_the_speed_of_the_others(|| {
        for _ in 0..20 {
            let lease = lock(&handle, &key);
            lease.extend(TTL_MS).expect("three of five nodes");
            lease.unlock().expect("three of five nodes");
        }
    });
    assert_gone(&cluster, &key);

    let too_few = [bad[0].clone(), cluster[0].url(), bad[1].clone()];
    let handle = Redlock::new(&too_few, &options).expect("peers may be anything");
    let begun = Instant::now();
    let error = handle.lock(&request(&key, 0)).expect_err("one of three nodes");
    assert!(begun.elapsed() < Duration::from_secs(10), "took {:?}", begun.elapsed());
    assert!(!error.message.contains("held"), "{error}");
    for node in [0, 2] {
        assert!(matches!(error.nodes[node].outcome, Outcome::Failed(_)), "{error}");
        assert_eq!(*error.nodes[node].url, *too_few[node]);
        assert!(error.message.contains(&format!("node {}: ", node + 1)), "{error}");
    }
    assert_gone(&cluster, &key);
    error
}

#[test]
fn refused_connections_are_named() {
    let error = live_with([Peer::refusing(), Peer::refusing()], Peer::url);
    assert_eq!(error.status, Status::NoQuorum);
    assert!(error.message.contains("refused"), "{error}");
}

#[test]
fn a_peer_that_never_speaks_costs_the_connect_timeout_at_most() {
    let error = live_with([Peer::silent(), Peer::silent()], Peer::url);
    assert_eq!(error.status, Status::NoQuorum);
    assert!(error.message.contains("within 1000 ms"), "{error}");
}

#[cfg(feature = "tls")]
#[test]
fn a_peer_that_stalls_in_the_tls_handshake_costs_the_connect_timeout_at_most() {
    let error = live_with([Peer::silent(), Peer::silent()], Peer::tls_url);
    assert_eq!(error.status, Status::NoQuorum);
    assert!(error.message.contains("within 1000 ms"), "{error}");
}

#[cfg(feature = "tls")]
#[test]
fn a_peer_that_answers_tls_with_something_else_is_named() {
    let http = || Peer::malformed(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    let error = live_with([http(), http()], Peer::tls_url);
    assert!(matches!(error.status, Status::NoQuorum | Status::Config), "{error}");
    assert!(error.message.contains("TLS"), "{error}");
}

#[test]
fn a_peer_that_closes_after_the_first_request_is_named() {
    let error = live_with([Peer::closing(), Peer::closing()], Peer::url);
    assert_eq!(error.status, Status::NoQuorum);
    assert!(error.message.contains("closed"), "{error}");
}

#[test]
fn malformed_replies_are_named() {
    let answers: [&[u8]; 8] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"+OK",
        b"$-5\r\n",
        b"*99999999\r\n",
        b"%2147483647\r\n",
        b"$18446744073709551617\r\n",
        b">0\r\n",
        b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
    ];
    let (first, second) = answers.split_at(4);
    std::thread::scope(|scope| {
        for (one, two) in first.iter().zip(second) {
            scope.spawn(|| {
                let error = live_with([Peer::malformed(one.to_vec()), Peer::malformed(two.to_vec())], Peer::url);
                assert_eq!(error.status, Status::NoQuorum, "{error}");
            });
        }
    });
}

#[test]
fn a_server_that_speaks_errors_only_is_named_in_its_own_words() {
    let loading = || Peer::malformed(b"-LOADING Redis is loading the dataset in memory\r\n".repeat(16));
    let error = live_with([loading(), loading()], Peer::url);
    assert_eq!(error.status, Status::NoQuorum);
    assert!(error.message.contains("LOADING Redis is loading"), "{error}");
}

#[test]
fn endless_bytes_fill_no_memory() {
    let endless = [
        (&b"$1000000000000\r\n"[..], vec![b'x'; 64 * 1024]),
        (b"$260000\r\n", vec![b'x'; 64 * 1024]),
        (b"-", vec![b'e'; 64 * 1024]),
        (b"*4096\r\n", b":1\r\n".repeat(10_000)),
        (b"", b"*1\r\n".repeat(10_000)),
        (b"", b">2\r\n+a\r\n+b\r\n".repeat(5_000)),
        (b"", b"+OK\r\n".repeat(10_000)),
        (b"|1\r\n+a\r\n", b"+OK\r\n".repeat(10_000)),
    ];
    let peers: Vec<Peer> = endless.iter().map(|(begin, chunk)| Peer::endless_of(begin, chunk)).collect();
    let cluster = Cluster::start(7);
    let urls: Vec<String> = cluster.urls().into_iter().chain(peers.iter().map(Peer::url)).collect();
    assert_eq!(urls.len(), 15);
    // Seven servers are no quorum of fifteen: every attempt asks the peers too.
    let handle = Redlock::new(&urls, &Options { connect_timeout_ms: 300, ..options() }).expect("valid options");
    let before = resident_bytes();
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        let error = handle.lock(&request("endless", 0)).expect_err("no quorum");
        assert_eq!(error.status, Status::NoQuorum, "{error}");
        assert!(resident_bytes() < before + (64 << 20), "{} kB more", (resident_bytes() - before) >> 10);
    }
    assert!(peers.iter().all(|peer| peer.connections() > 1), "each was tried again");
    assert_gone(&cluster, "endless");
}

#[test]
fn garbage_on_a_working_connection_costs_the_connection_and_no_lock() {
    let cluster = Cluster::start(3);
    let proxies: Vec<Proxy> = cluster.iter().map(|node| Proxy::to(node.port())).collect();
    let urls: Vec<String> = proxies.iter().map(Proxy::url).collect();
    let handle = connect_with(&urls, &options());
    let key = resource("garbage");
    for garbage in [&b"+OK\r\n"[..], b"xx+OK\r\n", b"$5\r\n", b">3\r\n+a\r\n"] {
        let accepted: u64 = proxies.iter().map(Proxy::accepted).sum();
        proxies.iter().for_each(|proxy| proxy.inject_to_client(garbage));
        std::thread::sleep(Duration::from_millis(50));
        // Half a frame is noticed when the answer that follows does not fit into it; only then was something asked.
        let is_noticed_at_once = matches!(garbage[0], b'+' | b'x');
        match handle.lock(&request(&key, 0)) {
            Ok(lease) => lease.unlock().expect("released"),
            Err(error) => assert!(!is_noticed_at_once && error.status == Status::NoQuorum, "{error}"),
        }
        assert!(wait_for(Duration::from_secs(10), || up_count(&handle) == 3 && pending_releases(&handle) == 0));
        assert!(proxies.iter().map(Proxy::accepted).sum::<u64>() > accepted, "{garbage:?} is a protocol error");
        assert_gone(&cluster, &key);
    }
}
