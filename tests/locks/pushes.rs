//! Waiting without the pushes that make it quick: dropped, cut off, not asked for, not allowed.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::locking::*;
use crate::support::{Cluster, Node, Proxy, wait_for};
use redlock::engine::{Options, Protocol, Redlock};

/// How long after its release the lock is had by another handle's waiter. `disturb` comes in the middle of the wait.
fn hand_over(holder: &Redlock, waiter: &Redlock, key: &str, disturb: impl FnOnce()) -> Duration {
    let lease = lock(holder, key);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let lease = waiter.lock(&request(key, 30_000)).expect("its turn");
            let had = Instant::now();
            lease.unlock().expect("ours");
            had
        });
        thread::sleep(Duration::from_millis(300));
        assert!(!waiting.is_finished());
        disturb();
        let released = Instant::now();
        lease.unlock().expect("ours");
        waiting.join().expect("no panic").saturating_duration_since(released)
    })
}

#[test]
fn with_pushes_a_waiter_does_not_poll() {
    let cluster = Cluster::start(3);
    let (holder, waiter) = (connect(&cluster), connect(&cluster));
    let lease = lock(&holder, "quiet");
    let sets = || cluster.iter().map(|node| calls(node, "set")).sum::<u64>();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| waiter.lock(&request("quiet", 30_000)).expect("its turn"));
        thread::sleep(Duration::from_millis(300));
        let before = sets();
        thread::sleep(Duration::from_secs(5));
        assert_eq!(sets(), before, "a waiter only waits");
        let released = Instant::now();
        lease.unlock().expect("ours");
        waiting.join().expect("no panic").unlock().expect("ours");
        assert!(released.elapsed() < Duration::from_millis(500), "{:?}", released.elapsed());
    });
}

#[test]
fn whoever_deletes_the_keys_wakes_the_waiters() {
    let cluster = Cluster::start(3);
    let (holder, waiter) = (connect(&cluster), connect(&cluster));
    let lease = lock(&holder, "deleted");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| waiter.lock(&request("deleted", 30_000)).expect("its turn"));
        thread::sleep(Duration::from_millis(300));
        let deleted = Instant::now();
        cluster.iter().for_each(|node| assert_eq!(node.cli(&["DEL", "deleted"]), "1"));
        waiting.join().expect("no panic").unlock().expect("ours");
        assert!(deleted.elapsed() < Duration::from_millis(1_000), "{:?}", deleted.elapsed());
    });
    drop(lease);
}

#[test]
fn a_waiter_whose_pushes_are_all_dropped_looks_again_by_itself() {
    let cluster = Cluster::start(3);
    let proxies: Vec<Proxy> = cluster.iter().map(|node| Proxy::to(node.port())).collect();
    let holder = connect(&cluster);
    let waiter = connect_with(&proxies.iter().map(Proxy::url).collect::<Vec<_>>(), &options());
    let quick = hand_over(&holder, &waiter, "dropped", || {});
    assert!(quick < Duration::from_millis(1_000), "{quick:?}");
    proxies.iter().for_each(Proxy::drop_pushes);
    let slow = hand_over(&holder, &waiter, "dropped", || {});
    println!("with pushes {quick:?}, without {slow:?}");
    assert!(slow > Duration::from_millis(1_000), "the pushes are really dropped: {slow:?}");
    assert!(slow < Duration::from_millis(3_000), "{slow:?}");
}

#[test]
fn connections_that_are_reset_in_the_middle_of_a_wait_are_watched_again() {
    let cluster = Cluster::start(3);
    let proxies: Vec<Proxy> = cluster.iter().map(|node| Proxy::to(node.port())).collect();
    let holder = connect(&cluster);
    let waiter = connect_with(&proxies.iter().map(Proxy::url).collect::<Vec<_>>(), &options());
    for _ in 0..5 {
        let took = hand_over(&holder, &waiter, "reset", || {
            proxies.iter().for_each(Proxy::reset_all);
            thread::sleep(Duration::from_millis(300));
        });
        assert!(took < Duration::from_millis(1_000), "{took:?}");
        // At the same moment as the release: the push goes to a connection that is no more.
        let took = hand_over(&holder, &waiter, "reset", || proxies.iter().for_each(Proxy::reset_all));
        assert!(took < Duration::from_millis(3_000), "{took:?}");
    }
    let took = hand_over(&holder, &waiter, "reset", || {
        for node in cluster.iter() {
            node.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        }
        thread::sleep(Duration::from_millis(300));
    });
    assert!(took < Duration::from_millis(1_000), "{took:?}");
}

/// How many of the connections with this name a server tracks keys for, by its `CLIENT LIST`.
fn tracked(node: &Node, name: &str) -> usize {
    let list = node.cli(&["CLIENT", "LIST"]);
    let is_tracked = |flags: &str| flags.contains('t');
    let of_name = list.lines().filter(|line| line.contains(&format!(" name={name} ")));
    of_name.filter_map(|line| line.split(" flags=").nth(1)?.split(' ').next()).filter(|flags| is_tracked(flags)).count()
}

/// An administrator, or a proxy that shares connections, turns it off in the middle of a wait. Nobody tells the waiter.
#[test]
fn waiters_whose_tracking_is_switched_off_in_the_middle_of_a_wait_win() {
    for switched_off in [2, 3] {
        let cluster = Cluster::start(3);
        let proxies: Vec<Proxy> = cluster.iter().map(|node| Proxy::to(node.port())).collect();
        let urls: Vec<String> = proxies.iter().map(Proxy::url).collect();
        let holder = connect(&cluster);
        let waiter = connect_with(&urls, &Options { client_name: Some("waiter".into()), ..options() });
        let took = hand_over(&holder, &waiter, "untracked", || {
            for (node, proxy) in cluster.iter().zip(&proxies).take(switched_off) {
                assert_eq!(tracked(node, "waiter"), 1);
                proxy.execute_unseen(b"*3\r\n$6\r\nCLIENT\r\n$8\r\nTRACKING\r\n$3\r\nOFF\r\n", b"+OK\r\n");
                assert_eq!(tracked(node, "waiter"), 0);
            }
        });
        println!("off on {switched_off} of 3: {took:?}");
        // Ten times what the fall-back takes, and far before the waiter's own deadline and the end of the ttl.
        assert!(took < Duration::from_secs(20), "{took:?}");
        // A server that refuses to track is not relied on any more: from now on by trying again, every 20 to 40 ms.
        let took = hand_over(&holder, &waiter, "untracked", || {});
        println!("again: {took:?}");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

#[test]
fn tracking_tables_that_overflow_only_cost_time() {
    let cluster = Cluster::start_with(3, &["--tracking-table-max-keys", "1"]);
    let (holder, waiter) = (connect(&cluster), connect(&cluster));
    let others = connect(&cluster);
    let elsewhere = lock(&others, "elsewhere");
    let took = thread::scope(|scope| {
        // Keeps evicting the waiter's key from the table, which is told as a change of it.
        scope.spawn(|| _ = holder.lock(&request("elsewhere", 2_000)));
        hand_over(&holder, &waiter, "overflow", || thread::sleep(Duration::from_millis(300)))
    });
    assert!(took < Duration::from_millis(3_000), "{took:?}");
    elsewhere.unlock().expect("ours");
}

#[test]
fn waiters_by_resp2_without_wake_and_without_the_right_to_track_win_by_trying_again() {
    let cluster = Cluster::start(3);
    for node in cluster.iter() {
        assert_eq!(node.cli(&["ACL", "SETUSER", "plain", "on", ">secret", "~*", "+@all", "-client"]), "OK");
    }
    let holder = connect(&cluster);
    let urls = cluster.urls();
    let plain: Vec<String> = urls.iter().map(|url| url.replacen("redis://", "redis://plain:secret@", 1)).collect();
    let waiters = [
        connect_with(&urls, &Options { protocol: Protocol::Resp2, ..options() }),
        connect_with(&urls, &Options { wake: false, ..options() }),
        connect_with(&plain, &options()),
    ];
    for (waiter, name) in waiters.iter().zip(["RESP2", "no wake", "no right"]) {
        let took = hand_over(&holder, waiter, "fallback", || {});
        println!("{name}: {took:?}");
        assert!(took < Duration::from_millis(1_000), "{name}: {took:?}");
    }
}

/// Half of the servers push, half of the waiters can hear them.
#[test]
fn waiters_of_all_kinds_take_turns() {
    let cluster = Cluster::start(3);
    let urls = cluster.urls();
    let handles: Vec<Redlock> = (0..6)
        .map(|i| match i % 3 {
            0 => connect_with(&urls, &Options { protocol: Protocol::Resp2, ..options() }),
            1 => connect_with(&urls, &Options { wake: false, ..options() }),
            _ => connect(&cluster),
        })
        .collect();
    let end = Instant::now() + Duration::from_secs(4);
    let each: Vec<u32> = thread::scope(|scope| {
        let run = |handle: &Redlock| {
            let mut rounds = 0;
            while Instant::now() < end {
                let lease = handle.lock(&request("kinds", -1)).expect("its turn");
                thread::sleep(Duration::from_millis(3));
                lease.unlock().expect("ours");
                rounds += 1;
                thread::sleep(Duration::from_millis(30));
            }
            rounds
        };
        let threads: Vec<_> = handles.iter().map(|handle| scope.spawn(move || run(handle))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    println!("{each:?}");
    assert!(each.iter().all(|&rounds| rounds > 0), "{each:?}");
    assert!(wait_for(Duration::from_secs(5), || cluster.holding("kinds") == 0));
}

/// A node that hangs for a moment keeps its part in waking the waiters.
#[test]
fn a_node_that_hung_wakes_waiters_again() {
    let cluster = Cluster::start(3);
    let holder = connect(&cluster);
    let waiter = connect_with(&cluster.urls(), &short_options(100, 20_000));
    for round in 0..2 {
        let took = hand_over(&holder, &waiter, "hung", || {
            for node in cluster.iter() {
                node.stop();
            }
            // The waiter asks something meanwhile, and gets no answer in time.
            let _ = waiter.inspect(b"hung");
            cluster.iter().for_each(crate::support::Node::cont);
            assert!(wait_for(Duration::from_secs(5), || up_count(&waiter) == 3));
        });
        println!("round {round}: {took:?}");
        assert!(took < Duration::from_millis(2_800), "{took:?}");
    }
    let took = hand_over(&holder, &waiter, "hung", || {});
    assert!(took < Duration::from_millis(500), "{took:?}");
}

/// The servers hang while the waiter asks them to watch the key once more. That they could not answer in time says
/// nothing about what they can: the waiter does not begin to poll.
#[test]
fn servers_that_are_late_to_watch_a_key_are_relied_on_again() {
    let cluster = Cluster::start(3);
    let holder = connect(&cluster);
    let waiter = connect_with(&cluster.urls(), &short_options(100, 20_000));
    hand_over(&holder, &waiter, "late", || {
        cluster.iter().for_each(Node::stop);
        let is_late = || waiter.stats().expect("live").nodes[..3].iter().all(|node| node.timeouts > 0);
        assert!(wait_for(Duration::from_secs(20), is_late), "the keys are read again every two seconds");
        cluster.iter().for_each(Node::cont);
        assert!(wait_for(Duration::from_secs(5), || up_count(&waiter) == 3));
        let sets = || cluster.iter().map(|node| calls(node, "set")).sum::<u64>();
        let is_quiet = || {
            let before = sets();
            thread::sleep(Duration::from_millis(500));
            sets() == before
        };
        assert!(wait_for(Duration::from_secs(10), is_quiet), "it tries again and again");
    });
}

/// Two that take turns as fast as they can lose races at the first-asked node all the time. What they had read of the
/// other nodes before is out of date then; not to read it again costs the two seconds of the fall-back.
#[test]
fn a_lost_race_is_not_slept_over() {
    let cluster = Cluster::start(5);
    let handles = [connect(&cluster), connect(&cluster)];
    let slowest = thread::scope(|scope| {
        let threads = handles.each_ref().map(|handle| {
            scope.spawn(move || {
                let mut slowest = Duration::ZERO;
                for _ in 0..400 {
                    let asked = Instant::now();
                    let lease = handle.lock(&request("ping-pong", 30_000)).expect("its turn");
                    slowest = slowest.max(asked.elapsed());
                    lease.unlock().expect("ours");
                    thread::sleep(Duration::from_micros(500));
                }
                slowest
            })
        });
        threads.map(|thread| thread.join().expect("no panic")).into_iter().max()
    });
    assert!(slowest < Some(Duration::from_millis(1_500)), "{slowest:?}");
}

/// A dead client's key, an undelivered release or a key that is no lock at all stays on one node, whichever that is. It is
/// no quorum, and so it must not keep a waiter from the others: it was asked first, and its refusal was believed.
#[test]
fn a_foreign_key_on_any_one_node_keeps_no_waiter() {
    let cluster = Cluster::start(3);
    let (holder, waiter) = (connect(&cluster), connect(&cluster));
    for node in cluster.iter() {
        node.query(&[b"SET", b"haunted", b"another's", b"PX", b"600000"]);
        for round in 0..3 {
            let lease = lock(&holder, "haunted");
            let took = thread::scope(|scope| {
                let waiting = scope.spawn(|| waiter.lock(&request("haunted", 20_000)).expect("a quorum is free"));
                thread::sleep(Duration::from_millis(50));
                // Rivals have been seen by then: the node is asked in a stage of its own.
                lease.extend(TTL_MS + 1 + round).expect("held by two");
                thread::sleep(Duration::from_millis(50));
                let released = Instant::now();
                lease.unlock().expect("ours");
                waiting.join().expect("no panic").unlock().expect("ours");
                released.elapsed()
            });
            assert!(took < Duration::from_millis(1_500), "{took:?}");
        }
        node.query(&[b"DEL", b"haunted"]);
    }
}

/// An extension changes the key like a release does. The waiters read it again and sleep on.
#[test]
fn extensions_of_the_holder_make_no_waiter_contend() {
    let cluster = Cluster::start(3);
    let holder = connect(&cluster);
    let waiters: Vec<Redlock> = (0..4).map(|_| connect(&cluster)).collect();
    let lease = lock(&holder, "extended");
    let sets = || cluster.iter().map(|node| calls(node, "set")).sum::<u64>();
    thread::scope(|scope| {
        let take = |waiter: &Redlock| {
            let lease = waiter.lock(&request("extended", 20_000)).expect("its turn");
            lease.unlock().expect("ours");
        };
        let waiting: Vec<_> = waiters.iter().map(|waiter| scope.spawn(move || take(waiter))).collect();
        assert!(wait_for(Duration::from_secs(5), || sets() >= 3 * 5));
        thread::sleep(Duration::from_millis(100));
        let before = sets();
        for longer in 1..=20 {
            lease.extend(TTL_MS + longer).expect("held");
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(sets(), before, "nobody asks for what is held");
        lease.unlock().expect("ours");
        for waiter in waiting {
            waiter.join().expect("no panic");
        }
    });
}
