//! The fixture itself, tried on a real server: a test that relies on it should fail for its own reasons only.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{Certificates, Cluster, Conn, Peer, Proxy, Reply, resource, server_version, wait_for};

const SOON: Duration = Duration::from_secs(2);

fn is_alive(pid: libc::pid_t) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn five_servers_start_answer_and_know_nothing_of_each_other() {
    let cluster = Cluster::start(5);
    assert_eq!(cluster.urls().len(), 5);
    assert_eq!(cluster[0].cli(&["SET", "k", "v"]), "OK");
    assert_eq!(cluster[0].get("k").as_deref(), Some(&b"v"[..]));
    assert_eq!(cluster[1].get("k"), None);
    assert_eq!(cluster.holding("k"), 1);
    let ids: std::collections::HashSet<_> = cluster.iter().map(crate::support::Node::run_id).collect();
    assert_eq!(ids.len(), 5);
}

#[test]
fn servers_end_with_their_cluster_also_when_the_test_panics() {
    let cluster = Cluster::start(2);
    let pids = [cluster[0].pid(), cluster[1].pid()];
    let directory = cluster[0].socket_path().parent().expect("a directory").to_owned();
    assert!(directory.exists());
    let panicked = std::thread::spawn(move || {
        let _cluster = cluster;
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(panicked.join().is_err());
    assert!(!is_alive(pids[0]) && !is_alive(pids[1]));
    assert!(!directory.exists());
}

#[test]
fn a_shared_server_outlives_the_thread_that_started_it() {
    let cluster = std::thread::spawn(|| Cluster::start(1)).join().expect("a cluster");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(cluster[0].cli(&["PING"]), "PONG");
}

#[test]
fn a_stopped_server_accepts_but_answers_only_after_cont() {
    let cluster = Cluster::start(1);
    let mut conn = cluster[0].connect();
    cluster[0].stop();
    assert!(!cluster[0].is_running());
    conn.send(&[b"PING"]).expect("the kernel takes the bytes");
    std::thread::sleep(Duration::from_millis(50));
    let continued = Instant::now();
    cluster[0].cont();
    assert_eq!(conn.receive().expect("a reply"), Reply::Simple("PONG".into()));
    assert!(continued.elapsed() < SOON);
}

#[test]
fn a_killed_server_refuses_and_comes_back_empty_on_the_same_port() {
    let cluster = Cluster::start(1);
    let (port, run_id) = (cluster[0].port(), cluster[0].run_id());
    cluster[0].cli(&["SET", "k", "v"]);
    cluster[0].kill();
    assert!(!cluster[0].is_running());
    assert!(Conn::open("127.0.0.1", port).is_err());
    cluster[0].restart();
    assert_eq!(cluster[0].port(), port);
    assert_eq!(cluster[0].get("k"), None);
    assert_ne!(cluster[0].run_id(), run_id);
}

#[test]
fn a_stopped_server_can_be_killed() {
    let cluster = Cluster::start(1);
    let pid = cluster[0].pid();
    cluster[0].stop();
    cluster[0].kill();
    assert!(!is_alive(pid));
}

#[test]
fn arguments_reach_the_server_and_a_password_is_used_and_shown_in_the_url() {
    let cluster = Cluster::start_with(1, &["--requirepass", "x", "--databases", "3"]);
    assert_eq!(cluster[0].cli(&["CONFIG", "GET", "databases"]), "databases\n3");
    assert!(cluster[0].url().starts_with("redis://:x@127.0.0.1:"));
    let mut stranger = Conn::open("127.0.0.1", cluster[0].port()).expect("a connection");
    assert!(stranger.query(&[b"PING"]).expect("a reply").is_error());
}

#[test]
fn replies_are_typed_in_both_protocols() {
    let cluster = Cluster::start(1);
    let node = &cluster[0];
    assert_eq!(node.query(&[b"INCR", b"n"]), Reply::Int(1));
    assert_eq!(node.query(&[b"GET", b"none"]), Reply::Nil);
    assert_eq!(node.query(&[b"SET", b"b\0", b"\xff\r\n"]), Reply::Simple("OK".into()));
    assert_eq!(node.query(&[b"GET", b"b\0"]), Reply::Bulk(b"\xff\r\n".to_vec()));
    assert!(node.query(&[b"NOSUCH"]).is_error());
    assert!(node.has_command("GET") && !node.has_command("NOSUCH"));
    let mut conn = node.connect();
    let Reply::Array(hello) = conn.query(&[b"HELLO", b"3"]).expect("a reply") else { panic!("a map") };
    assert!(hello.contains(&Reply::Bulk(b"proto".to_vec())));
    assert_eq!(conn.query(&[b"GET", b"none"]).expect("a reply"), Reply::Nil);
    assert_eq!(node.client_list().len(), 1);
}

#[test]
fn the_version_is_that_of_the_running_server() {
    let cluster = Cluster::start(1);
    let version = server_version();
    let info = cluster[0].cli(&["INFO", "server"]);
    let name = if version.is_valkey { "valkey_version" } else { "redis_version" };
    assert!(info.contains(&format!("{name}:{}.{}", version.major, version.minor)), "{version:?}: {info}");
}

#[test]
fn a_refusing_peer_refuses() {
    let peer = Peer::refusing();
    let error = TcpStream::connect(("127.0.0.1", peer.port())).expect_err("nobody listens");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_silent_peer_accepts_and_says_nothing() {
    let peer = Peer::silent();
    let mut stream = TcpStream::connect(("127.0.0.1", peer.port())).expect("a connection");
    stream.write_all(b"PING\r\n").expect("sent");
    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    assert!(stream.read(&mut [0]).is_err());
    assert!(wait_for(SOON, || peer.bytes_read() == 6 && peer.connections() == 1));
}

#[test]
fn an_endless_peer_sends_until_it_is_dropped() {
    let peer = Peer::endless();
    let mut stream = TcpStream::connect(("127.0.0.1", peer.port())).expect("a connection");
    stream.write_all(b"PING\r\n").expect("sent");
    let mut bytes = vec![0; 1 << 20];
    stream.read_exact(&mut bytes).expect("a megabyte");
    assert!(bytes.starts_with(b"$1000000000000\r\nxxx"));
    drop(peer);
    let end = std::io::copy(&mut stream, &mut std::io::sink());
    assert!(end.is_err() || end.is_ok_and(|rest| rest < 1 << 30));
}

#[test]
fn a_malformed_peer_answers_with_its_bytes_and_a_closing_one_with_none() {
    let peer = Peer::malformed(b"!?\r\n".to_vec());
    let mut stream = TcpStream::connect(("127.0.0.1", peer.port())).expect("a connection");
    stream.write_all(b"PING\r\n").expect("sent");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"!?\r\n");

    let peer = Peer::closing();
    let mut stream = TcpStream::connect(("127.0.0.1", peer.port())).expect("a connection");
    stream.write_all(b"PING\r\n").expect("sent");
    assert_eq!(stream.read(&mut answer).expect("an orderly end"), 0);
}

#[test]
fn a_proxy_passes_everything_and_delays_each_direction() {
    let cluster = Cluster::start(1);
    let proxy = Proxy::to(cluster[0].port());
    let mut conn = Conn::open("127.0.0.1", proxy.port()).expect("a connection");
    let large = vec![7; 3 << 20];
    conn.query(&[b"SET", b"large", &large]).expect("a reply");
    assert_eq!(conn.query(&[b"GET", b"large"]).expect("a reply"), Reply::Bulk(large));
    proxy.delay(20);
    let begin = Instant::now();
    conn.query(&[b"PING"]).expect("a reply");
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(40) && took < Duration::from_millis(400), "{took:?}");
    proxy.delay(0);
    let begin = Instant::now();
    conn.query(&[b"PING"]).expect("a reply");
    assert!(begin.elapsed() < Duration::from_millis(40));
}

#[test]
fn a_held_request_reaches_the_server_after_release_also_when_its_client_has_gone() {
    let cluster = Cluster::start(1);
    let proxy = Proxy::to(cluster[0].port());
    let mut conn = Conn::open("127.0.0.1", proxy.port()).expect("a connection");
    conn.query(&[b"PING"]).expect("a reply");
    proxy.hold_to_server();
    conn.send(&[b"SET", b"late", b"v"]).expect("sent");
    drop(conn);
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(cluster[0].get("late"), None);
    proxy.release();
    assert!(wait_for(SOON, || cluster[0].get("late").is_some()));
    assert!(wait_for(SOON, || proxy.open() == 0));
}

#[test]
fn a_held_reply_comes_after_release_and_a_dropped_one_never() {
    let cluster = Cluster::start(1);
    let proxy = Proxy::to(cluster[0].port());
    let mut conn = Conn::open("127.0.0.1", proxy.port()).expect("a connection");
    proxy.hold_to_client();
    conn.send(&[b"SET", b"k", b"v"]).expect("sent");
    assert!(wait_for(SOON, || cluster[0].get("k").is_some()));
    assert_eq!(proxy.bytes_to_client(), 0);
    proxy.release();
    assert_eq!(conn.receive().expect("the reply"), Reply::Simple("OK".into()));

    proxy.drop_to_client();
    conn.send(&[b"INCR", b"n"]).expect("sent");
    assert!(wait_for(SOON, || cluster[0].get("n").is_some()));
    std::thread::sleep(Duration::from_millis(20));
    proxy.release();
    assert_eq!(conn.query(&[b"INCR", b"n"]).expect("only the second reply"), Reply::Int(2));
}

#[test]
fn a_reset_ends_every_connection_and_new_ones_work() {
    let cluster = Cluster::start(1);
    let proxy = Proxy::to(cluster[0].port());
    let mut conn = Conn::open("127.0.0.1", proxy.port()).expect("a connection");
    conn.query(&[b"PING"]).expect("a reply");
    proxy.reset_all();
    assert_eq!(proxy.open(), 0);
    assert!(conn.query(&[b"PING"]).is_err());
    proxy.refuse_new(true);
    assert!(Conn::open("127.0.0.1", proxy.port()).and_then(|mut conn| conn.query(&[b"PING"])).is_err());
    proxy.refuse_new(false);
    let mut conn = Conn::open("127.0.0.1", proxy.port()).expect("a connection");
    conn.query(&[b"PING"]).expect("a reply");
    assert_eq!(proxy.accepted(), 2);
}

#[test]
fn injected_bytes_come_as_if_the_server_had_sent_them() {
    let cluster = Cluster::start(1);
    let proxy = Proxy::to(cluster[0].port());
    let mut conn = Conn::open("127.0.0.1", proxy.port()).expect("a connection");
    conn.query(&[b"PING"]).expect("a reply");
    proxy.inject_to_client(b"-BUSY on purpose\r\n");
    assert_eq!(conn.receive().expect("bytes"), Reply::Error("BUSY on purpose".into()));
}

#[test]
fn certificates_serve_a_tls_port() {
    if !crate::support::tls::server_has_tls() {
        eprintln!("skipped: this server was built without TLS");
        return;
    }
    let certificates = Certificates::make();
    let tls_port = crate::support::spawn::free_port();
    let arguments = certificates.server_arguments(tls_port, true);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let _cluster = Cluster::start_with(1, &arguments);
    let output = std::process::Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &format!("127.0.0.1:{tls_port}"),
            "-verify_return_error",
            "-verify_ip",
            "127.0.0.1",
            "-CAfile",
        ])
        .arg(certificates.path("ca.pem"))
        .arg("-cert")
        .arg(certificates.path("client.pem"))
        .arg("-key")
        .arg(certificates.path("client.key"))
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn resource_names_never_repeat() {
    assert_ne!(resource("a"), resource("a"));
}

#[test]
fn given_nodes_are_taken_from_their_urls() {
    let node = crate::support::Node::given("redis://:pw@127.0.0.1:7001/0");
    assert_eq!(node.url(), "redis://:pw@127.0.0.1:7001");
}
