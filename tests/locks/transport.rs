//! The ways to reach a server: unix sockets, TLS, RESP2, databases, names; and servers that are named twice.

use std::time::Duration;

use crate::support::locking::*;
use crate::support::{Cluster, Node, Proxy, resource, wait_for};
use redlock::core::report::Status;
use redlock::engine::{Lease, LockRequest, Options, Protocol, Redlock};

/// Lock, exclusion, extension, question, release.
#[track_caller]
fn exercise(handle: &Redlock) {
    let key = resource("exercise");
    let lease: Lease = lock(handle, &key);
    lease.extend(2 * TTL_MS).expect("ours");
    let error = handle.lock(&LockRequest { report_remaining: true, ..request(&key, 0) }).expect_err("held");
    assert_eq!(error.status, Status::NotAcquired, "{error}");
    let found = handle.inspect(key.as_bytes()).expect("answered").holder.expect("held");
    assert_eq!(&*found.token, lease.token());
    handle.unlock_token(key.as_bytes(), lease.token()).expect("ours");
    let lease = lock(handle, &key);
    lease.unlock().expect("ours");
}

#[test]
fn unix_sockets() {
    let cluster = Cluster::start(3);
    let urls: Vec<String> = cluster.iter().map(|node| format!("unix://{}", node.socket_path().display())).collect();
    let handle = connect_with(&urls, &options());
    exercise(&handle);
    cluster.iter().for_each(Node::restart);
    exercise(&handle);
    cluster[0].kill();
    cluster[1].kill();
    let error = handle.lock(&request("unix", 0)).expect_err("one of three nodes");
    assert_eq!(error.status, Status::NoQuorum, "{error}");
    assert!(error.nodes[0].url.ends_with(&*cluster[0].socket_path().to_string_lossy()), "{error:?}");
}

#[test]
fn a_late_set_never_outlives_its_unlock_over_a_unix_socket() {
    let cluster = Cluster::start(3);
    let urls: Vec<String> = cluster.iter().map(|node| format!("unix://{}", node.socket_path().display())).collect();
    for is_closed in [false, true] {
        let handle = connect_with(&urls, &short_options(300, 60_000));
        let key = resource("late");
        let sets = calls(&cluster[0], "set");
        cluster[0].stop();
        lock(&handle, &key).unlock().expect("two of three nodes");
        if is_closed {
            handle.end();
        }
        cluster[0].cont();
        assert!(wait_for(Duration::from_secs(5), || calls(&cluster[0], "set") == sets + 1));
        assert_gone(&cluster, &key);
    }
}

#[test]
fn servers_know_only_resp2() {
    let cluster = Cluster::start(3);
    let handle = connect_with(&cluster.urls(), &Options { protocol: Protocol::Resp2, ..options() });
    exercise(&handle);
    let mixed = [
        format!("{}?protocol=resp2", cluster[0].url()),
        format!("{}?protocol=resp3", cluster[1].url()),
        cluster[2].url(),
    ];
    exercise(&connect_with(&mixed, &options()));
}

#[test]
fn scripts_are_used_where_asked_for() {
    let cluster = Cluster::start(3);
    exercise(&connect_with(&cluster.urls(), &Options { avoid_lua: false, ..options() }));
    assert!(cluster.iter().all(|node| calls(node, "eval") > 0));
}

#[test]
fn the_urls_database_is_the_one_that_is_used() {
    let cluster = Cluster::start(3);
    let in_db: Vec<String> = cluster.urls().iter().map(|url| format!("{url}/3")).collect();
    let handle = connect_with(&in_db, &options());
    exercise(&handle);
    let _lease = lock(&handle, "database");
    assert!(wait_for(Duration::from_secs(5), || cluster[0].cli(&["INFO", "keyspace"]).contains("db3:keys=1")));
    assert!(cluster.iter().all(|node| node.get("database").is_none()));
    cluster.iter().for_each(Node::restart);
    exercise(&handle);
    lock(&handle, "database").unlock().expect("ours");

    let missing: Vec<String> = cluster.urls().iter().map(|url| format!("{url}/99")).collect();
    let handle = Redlock::new(&missing, &options()).expect("only the server knows");
    let error = at_the_speed_of_the_others(|| handle.lock(&request("database", -1))).expect_err("no such database");
    assert!(matches!(error.status, Status::Config), "{error}");
    assert!(error.message.contains("DB index"), "{error}");
}

#[test]
fn host_names_are_resolved() {
    let cluster = Cluster::start(3);
    let urls: Vec<String> = cluster.urls().iter().map(|url| url.replace("127.0.0.1", "localhost")).collect();
    exercise(&connect_with(&urls, &options()));
    let unknown = [cluster[0].url(), "redis://no-such-host.invalid:1".into(), "redis://no.invalid:1".into()];
    let handle = Redlock::new(&unknown, &options()).expect("only the name service knows");
    let error = handle.lock(&request("names", 0)).expect_err("one of three nodes");
    assert_eq!(error.status, Status::NoQuorum, "{error}");
}

#[test]
fn a_server_named_twice_is_refused() {
    let cluster = Cluster::start(2);
    let url = cluster[0].url();
    let error = Redlock::new(&[&url, &cluster[1].url(), &url], &options()).expect_err("twice");
    assert_eq!(error.status, Status::Config, "{error}");
    assert!(error.message.contains("node 3: is the same server as node 1"), "{error}");

    let proxy = Proxy::to(cluster[0].port());
    let socket = format!("unix://{}", cluster[0].socket_path().display());
    for disguise in [proxy.url(), url.replace("127.0.0.1", "localhost"), socket] {
        let handle = Redlock::new(&[&url, &disguise], &options()).expect("only the server knows");
        let error = at_the_speed_of_the_others(|| handle.wait_ready(-1, None)).expect_err("one server");
        assert_eq!(error.status, Status::Config, "{error}");
        assert!(error.message.contains("is the same server as node"), "{error}");
        let error = at_the_speed_of_the_others(|| handle.lock(&request("twin", -1))).expect_err("one server");
        assert_eq!(error.status, Status::Config, "{error}");
        // With a third node there is a quorum, in which the twin never counts.
        let urls = [url.clone(), disguise, cluster[1].url()];
        let handle = Redlock::new(&urls, &options()).expect("only the server knows");
        handle.wait_ready(10_000, None).expect("two servers");
        let lease = lock(&handle, "twin");
        assert_eq!(lease.node_count_held(), 2);
        lease.unlock().expect("ours");
        cluster[1].stop();
        let error = handle.lock(&request("twin", 0)).expect_err("a server has one vote");
        assert!(matches!(error.status, Status::NoQuorum | Status::Config), "{error}");
        cluster[1].cont();
        assert_gone(&cluster, "twin");
    }
}

#[cfg(feature = "tls")]
mod tls {
    use std::path::PathBuf;

    use super::*;
    use crate::support::Certificates;

    struct Secured {
        certificates: Certificates,
        cluster: Cluster,
        urls: Vec<String>,
    }

    fn secured(needs_client: bool) -> Option<Secured> {
        if !crate::support::tls::server_has_tls() {
            return None;
        }
        let certificates = Certificates::make();
        let mut urls = Vec::new();
        let nodes = (0..3).map(|_| {
            let port = crate::support::spawn::free_port();
            urls.push(format!("rediss://localhost:{port}"));
            let arguments = certificates.server_arguments(port, needs_client);
            Node::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
        });
        let cluster = Cluster::from_nodes(nodes.collect());
        Some(Secured { certificates, cluster, urls })
    }

    fn trusting(certificates: &Certificates) -> Options {
        let ca: PathBuf = certificates.path("ca.pem");
        Options { tls_ca_file: Some(ca), ..options() }
    }

    #[test]
    fn locks_work_over_tls() {
        let Some(Secured { certificates, cluster, urls }) = secured(false) else { return };
        let handle = connect_with(&urls, &trusting(&certificates));
        exercise(&handle);
        let name = vec![b'k'; 1 << 20];
        let lease = handle.lock(&LockRequest { resource: name, ..request("", 0) }).expect("a mebibyte");
        lease.unlock().expect("a mebibyte");
        cluster[1].stop();
        let key = resource("late");
        at_the_speed_of_the_others(|| lock(&handle, &key).unlock().expect("two of three nodes"));
        cluster[1].cont();
        assert_gone(&cluster, &key);
        for node in cluster.iter() {
            node.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        std::thread::sleep(Duration::from_millis(5));
        exercise(&handle);
        cluster.iter().for_each(Node::restart);
        exercise(&handle);
    }

    #[test]
    fn a_close_in_between_leaves_no_key_on_a_stopped_tls_server() {
        let Some(Secured { certificates, cluster, urls }) = secured(false) else { return };
        let options = Options { tls_ca_file: trusting(&certificates).tls_ca_file, ..short_options(300, 60_000) };
        let handle = connect_with(&urls, &options);
        let key = resource("closed");
        cluster[1].stop();
        lock(&handle, &key).unlock().expect("two of three nodes");
        handle.end();
        cluster[1].cont();
        assert!(wait_for(Duration::from_secs(5), || calls(&cluster[1], "set") == 1));
        assert_gone(&cluster, &key);
    }

    #[test]
    fn an_untrusted_server_is_a_configuration_error() {
        let Some(Secured { cluster: _cluster, urls, .. }) = secured(false) else { return };
        let others = Certificates::make();
        let handle = Redlock::new(&urls, &trusting(&others)).expect("only the server knows");
        let error = at_the_speed_of_the_others(|| handle.lock(&request("tls", -1))).expect_err("not trusted");
        assert_eq!(error.status, Status::Config, "{error}");
        exercise(&connect_with(&urls, &Options { tls_insecure: true, ..options() }));
    }

    #[test]
    fn a_server_may_insist_on_our_certificate() {
        let Some(Secured { certificates, cluster: _cluster, urls }) = secured(true) else { return };
        let with_certificate = Options {
            tls_cert_file: Some(certificates.path("client.pem")),
            tls_key_file: Some(certificates.path("client.key")),
            ..trusting(&certificates)
        };
        exercise(&connect_with(&urls, &with_certificate));
        let handle = Redlock::new(&urls, &trusting(&certificates)).expect("only the server knows");
        let error = handle.lock(&request("tls", 0)).expect_err("no certificate");
        assert!(matches!(error.status, Status::NoQuorum | Status::Config), "{error}");
        assert!(!error.message.contains("held"), "{error}");
    }
}
