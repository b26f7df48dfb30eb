//! Nodes that stop, hang, die, restart or are cut off, while locks are taken and given back.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::locking::*;
use crate::support::{Cluster, Proxy, resource, wait_for};
use redlock::core::report::{Outcome, Status};
use redlock::engine::{Options, Redlock, RestartGuard};

const MOMENT: Duration = Duration::from_secs(5);

#[test]
fn a_late_set_never_outlives_its_unlock() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let key = resource("late");
    cluster[0].stop();
    at_the_speed_of_the_others(|| {
        let lease = lock(&handle, &key);
        assert_eq!(cluster.holding(&key), 2);
        lease.unlock().expect("two of three nodes confirm");
    });
    assert_gone(&cluster, &key);
    cluster[0].cont();
    assert!(wait_for(MOMENT, || calls(&cluster[0], "set") == 1), "the SET was in the stopped server's socket");
    assert_gone(&cluster, &key);
    assert!(calls(&cluster[0], "eval") + calls(&cluster[0], "delex") + calls(&cluster[0], "delifeq") >= 1);
}

#[test]
fn a_late_set_never_outlives_its_unlock_when_the_handle_is_closed_in_between() {
    let cluster = Cluster::start(3);
    let handle = connect_with(&cluster.urls(), &short_options(200, 60_000));
    let key = resource("closed");
    cluster[0].stop();
    lock(&handle, &key).unlock().expect("two of three nodes confirm");
    let begun = Instant::now();
    handle.end();
    assert!(begun.elapsed() < Duration::from_secs(2), "closing waits for about one node timeout at most");
    drop(handle);
    cluster[0].cont();
    assert!(wait_for(MOMENT, || calls(&cluster[0], "set") == 1), "the SET was in the stopped server's socket");
    assert_gone(&cluster, &key);
}

#[test]
fn a_late_set_is_removed_when_the_connection_was_given_up_in_between() {
    let cluster = Cluster::start(3);
    let handle = connect_with(&cluster.urls(), &short_options(200, 400));
    let key = resource("stalled");
    cluster[0].stop();
    lock(&handle, &key).unlock().expect("two of three nodes confirm");
    let given_up = || {
        lock(&handle, "others").unlock().expect("two of three nodes confirm");
        pending_releases(&handle) > 0
    };
    assert!(wait_for(MOMENT, given_up), "the connection is given up after the stall timeout");
    cluster[0].cont();
    assert!(wait_for(MOMENT, || up_count(&handle) == 3), "the node comes back");
    assert!(wait_for(MOMENT, || calls(&cluster[0], "set") >= 1), "the SET was in the stopped server's socket");
    assert!(
        wait_for(MOMENT, || pending_releases(&handle) == 0 && cluster[0].get(&key).is_none()),
        "the release is paid"
    );
    assert_eq!(cluster[0].get("others"), None);
}

#[test]
fn a_set_delayed_by_the_network_is_not_executed_after_its_release() {
    // The connection is given up because nothing is heard, or something in between ends it towards the client.
    for is_hung_up in [false, true] {
        a_delayed_set_is_not_executed(is_hung_up);
    }
}

fn a_delayed_set_is_not_executed(is_hung_up: bool) {
    let cluster = Cluster::start(3);
    let proxy = Proxy::to(cluster[0].port());
    let urls = [proxy.url(), cluster[1].url(), cluster[2].url()];
    let handle = connect_with(&urls, &short_options(200, 400));
    let key = resource("delayed");
    proxy.delay_to_server(3_000);
    lock(&handle, &key).unlock().expect("two of three nodes confirm");
    let delayed_until = Instant::now() + Duration::from_millis(3_000);
    thread::sleep(Duration::from_millis(50));
    proxy.delay_to_server(0);
    if is_hung_up {
        proxy.hang_up();
    }
    let is_paid = || up_count(&handle) == 3 && pending_releases(&handle) == 0;
    assert!(wait_for(Duration::from_secs(2), || up_count(&handle) < 3), "the delayed node is noticed");
    assert!(wait_for(Duration::from_secs(2), is_paid), "a new connection pays the release");
    assert!(Instant::now() < delayed_until, "the machine is too slow for this test");
    while Instant::now() < delayed_until + Duration::from_millis(500) {
        assert_eq!(cluster[0].get(&key), None, "the SET ran after its release");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(calls(&cluster[0], "set"), 0, "the connection it travelled on was killed");
}

#[test]
fn a_partition_that_heals_leaves_no_key() {
    let cluster = Cluster::start(3);
    let proxy = Proxy::to(cluster[0].port());
    let urls = [proxy.url(), cluster[1].url(), cluster[2].url()];
    for is_reset in [false, true] {
        let handle = connect_with(&urls, &short_options(200, 400));
        let key = resource("partition");
        proxy.hold_to_server();
        proxy.hold_to_client();
        lock(&handle, &key).unlock().expect("two of three nodes confirm");
        let is_noticed = || {
            let _ = lock(&handle, "others").unlock();
            up_count(&handle) < 3
        };
        assert!(wait_for(MOMENT, is_noticed));
        if is_reset {
            proxy.reset_all();
        }
        thread::sleep(Duration::from_millis(600));
        let _ = up_count(&handle);
        proxy.release();
        assert!(wait_for(MOMENT, || up_count(&handle) == 3), "the node comes back");
        assert!(wait_for(MOMENT, || pending_releases(&handle) == 0), "what is owed is paid");
        assert_gone(&cluster, &key);
        assert_gone(&cluster, "others");
    }
}

#[test]
fn a_reply_lost_on_the_way_leaves_no_key() {
    let cluster = Cluster::start(3);
    let proxies: Vec<Proxy> = cluster.iter().map(|node| Proxy::to(node.port())).collect();
    let urls: Vec<String> = proxies.iter().map(Proxy::url).collect();
    let handle = connect_with(&urls, &short_options(200, 400));
    let key = resource("lost-reply");
    proxies.iter().for_each(Proxy::drop_to_client);
    let error = handle.lock(&request(&key, 0)).expect_err("no answer arrives");
    assert_eq!(error.status, Status::NoQuorum, "{error}");
    // The releases were sent behind the SETs and arrive, though nobody hears of it.
    assert!(wait_for(MOMENT, || cluster.iter().all(|node| calls(node, "set") == 1)));
    assert_gone(&cluster, &key);
}

#[test]
fn killed_nodes_cost_nothing_while_a_quorum_lives() {
    let cluster = Cluster::start(5);
    let handle = connect(&cluster);
    cluster[1].kill();
    cluster[3].kill();
    let key = resource("killed");
    at_the_speed_of_the_others(|| {
        for _ in 0..20 {
            lock(&handle, &key).unlock().expect("three of five nodes live");
        }
    });
    cluster[4].kill();
    let error = handle.lock(&request(&key, 0)).expect_err("two of five nodes are no quorum");
    assert_eq!(error.status, Status::NoQuorum, "{error}");
    for node in [1, 3, 4] {
        assert!(matches!(error.nodes[node].outcome, Outcome::Failed(_)), "{error}");
        assert_eq!(&*error.nodes[node].url, cluster[node].url());
        assert!(error.message.contains(&format!("node {}: ", node + 1)), "{error}");
    }
    assert!(!error.message.contains("held"), "{error}");
    assert_gone(&cluster, &key);
}

#[test]
fn an_unlock_without_a_quorum_says_so_and_is_paid_later() {
    let cluster = Cluster::start(3);
    let handle = connect_with(&cluster.urls(), &short_options(200, 600));
    let key = resource("owed");
    let lease = lock(&handle, &key);
    cluster[0].stop();
    cluster[1].stop();
    let error = lease.unlock().expect_err("one of three nodes is no quorum");
    assert!(matches!(error.status, Status::NoQuorum | Status::Unknown), "{error}");
    assert!(error.message.contains("node 1: ") && error.message.contains("node 2: "), "{error}");
    cluster[0].cont();
    cluster[1].cont();
    assert!(wait_for(MOMENT, || up_count(&handle) == 3));
    assert_gone(&cluster, &key);
}

#[test]
fn servers_that_restarted_between_calls_are_found_again_at_once() {
    let cluster = Cluster::start(3);
    let handle = connect_with(&cluster.urls(), &Options { restart_guard: RestartGuard::Off, ..options() });
    let key = resource("restart");
    for _ in 0..2 {
        lock(&handle, &key).unlock().expect("all nodes live");
        cluster.iter().for_each(crate::support::Node::restart);
        lock(&handle, &key).unlock().expect("all nodes live again");
    }
}

#[test]
fn idle_connections_that_the_servers_closed_are_replaced_at_once() {
    let cluster = Cluster::start_with(3, &["--timeout", "1"]);
    let handle = connect(&cluster);
    let is_closed = || cluster.iter().all(|node| node.client_list().is_empty());
    assert!(wait_for(Duration::from_secs(10), is_closed), "the servers close idle connections");
    lock(&handle, "idle").unlock().expect("all nodes live");
}

#[test]
fn killed_connections_and_flushed_scripts_between_calls_are_not_noticed() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let key = resource("kill");
    for _ in 0..5 {
        let lease = lock(&handle, &key);
        lease.extend(TTL_MS).expect("extended");
        for node in cluster.iter() {
            node.cli(&["SCRIPT", "FLUSH"]);
            node.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        thread::sleep(Duration::from_millis(2));
        lease.extend(TTL_MS).expect("extended on new connections");
        for node in cluster.iter() {
            node.cli(&["SCRIPT", "FLUSH"]);
            node.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        thread::sleep(Duration::from_millis(2));
        lease.unlock().expect("released on new connections");
        // The third node's release may still wait for its connection, which needs a call to go on.
        assert!(wait_for(MOMENT, || up_count(&handle) == 3));
        assert_gone(&cluster, &key);
        for node in cluster.iter() {
            node.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The handle has looked at its sockets too recently to look again before it sends, or the end of the connections
/// arrives behind the request.
#[test]
fn connections_killed_at_the_moment_of_a_lock_are_not_noticed() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let mut administrators: Vec<crate::support::Conn> = cluster.iter().map(crate::support::Node::connect).collect();
    for round in 0..300 {
        lock(&handle, "moment").unlock().expect("released");
        for administrator in &mut administrators {
            administrator.send(&[b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"]).expect("sent");
        }
        if round % 3 > 0 {
            for administrator in &mut administrators {
                administrator.receive().expect("killed");
            }
        }
        let lease = handle.lock(&request("moment", 0)).unwrap_or_else(|error| panic!("round {round}: {error}"));
        if round % 3 == 0 {
            for administrator in &mut administrators {
                administrator.receive().expect("killed");
            }
        }
        // The same may happen to the release, which remains owed then.
        let _ = lease.unlock();
        assert!(wait_for(MOMENT, || up_count(&handle) == 3 && cluster.holding("moment") == 0));
    }
}

#[test]
fn a_lock_waits_for_nodes_that_come_up_later() {
    let cluster = Cluster::start(3);
    cluster.iter().for_each(crate::support::Node::kill);
    let handle = Redlock::new(&cluster.urls(), &options()).expect("nodes may be down");
    let error = handle.lock(&request("early", 0)).expect_err("no node is up");
    assert_eq!(error.status, Status::NoQuorum, "{error}");
    let waiting = thread::spawn({
        let handle = handle.clone();
        move || handle.lock(&request("early", 20_000))
    });
    thread::sleep(Duration::from_millis(300));
    cluster[0].restart();
    cluster[2].restart();
    let lease = waiting.join().expect("no panic").expect("two of three nodes came up");
    lease.unlock().expect("released");
}

#[test]
fn wait_ready_ends_when_its_time_is_over() {
    let cluster = Cluster::start(3);
    cluster[0].kill();
    cluster[1].kill();
    let handle = Redlock::new(&cluster.urls(), &options()).expect("nodes may be down");
    let error = handle.wait_ready(200, None).expect_err("one node is no quorum");
    assert_eq!(error.status, Status::NoQuorum, "{error}");
    assert!(error.message.contains("refused"), "{error}");
    cluster[0].restart();
    handle.wait_ready(-1, None).expect("two nodes are");
}
