//! Many threads on one handle: mutual exclusion, order, cancellation, and nothing left over.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::locking::*;
use crate::support::{Cluster, Proxy, resource, wait_for};
use redlock::core::report::Status;
use redlock::engine::{LockRequest, Options, Redlock};

/// A cell whose additions get lost when two threads are inside at once.
struct Fragile(AtomicU64);

impl Fragile {
    fn add_one(&self) {
        let seen = self.0.load(Ordering::SeqCst);
        thread::yield_now();
        thread::sleep(Duration::from_micros(50));
        self.0.store(seen + 1, Ordering::SeqCst);
    }
}

#[test]
fn sixty_four_threads_share_one_handle_and_exclude_each_other() {
    const THREADS: usize = 64;
    const ROUNDS: u64 = 8;
    let cluster = Cluster::given_or_start(3);
    let handle = connect(&cluster);
    let key = resource("threads");
    let cell = Fragile(AtomicU64::new(0));
    let inside = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let lease = handle.lock(&request(&key, -1)).expect("everybody's turn comes");
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two holders");
                    cell.add_one();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    lease.unlock().expect("the holder's own");
                }
            });
        }
    });
    assert_eq!(cell.0.load(Ordering::SeqCst), THREADS as u64 * ROUNDS);
    for node in cluster.iter() {
        let ours = node.client_list().iter().filter(|line| line.contains("lib-name=libredlock")).count();
        let all = node.client_list().len();
        assert!(ours <= 1 && (all == 1 || std::env::var("REDLOCK_TEST_NODES").is_ok()), "{:?}", node.client_list());
    }
    assert_gone(&cluster, &key);
}

#[test]
fn threads_of_several_handles_exclude_each_other() {
    const ROUNDS: u64 = 10;
    let cluster = Cluster::given_or_start(5);
    let handles: Vec<Redlock> = (0..4).map(|_| connect(&cluster)).collect();
    let key = resource("handles");
    let cell = Fragile(AtomicU64::new(0));
    thread::scope(|scope| {
        for handle in &handles {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        let lease = handle.lock(&request(&key, -1)).expect("everybody's turn comes");
                        cell.add_one();
                        lease.unlock().expect("the holder's own");
                    }
                });
            }
        }
    });
    assert_eq!(cell.0.load(Ordering::SeqCst), 16 * ROUNDS);
    assert_gone(&cluster, &key);
}

#[test]
fn different_resources_do_not_wait_for_each_other() {
    let cluster = Cluster::given_or_start(3);
    let handle = connect(&cluster);
    let held = lock(&handle, &resource("held"));
    thread::scope(|scope| {
        for number in 0..32 {
            let handle = &handle;
            scope.spawn(move || {
                let key = resource(&format!("own-{number}"));
                for _ in 0..20 {
                    lock(handle, &key).unlock().expect("nobody else's");
                }
            });
        }
    });
    held.unlock().expect("ours");
}

#[test]
fn callers_of_one_handle_are_served_in_order() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let order = Mutex::new(Vec::new());
    let lease = lock(&handle, "order");
    thread::scope(|scope| {
        for number in 0..12 {
            let (handle, order) = (&handle, &order);
            scope.spawn(move || {
                let lease = handle.lock(&request("order", 60_000)).expect("everybody's turn comes");
                order.lock().expect("no panic").push(number);
                lease.unlock().expect("the holder's own");
            });
            // The next one calls later than this one.
            thread::sleep(Duration::from_millis(60));
        }
        lease.unlock().expect("ours");
    });
    assert_eq!(order.into_inner().expect("no panic"), (0..12).collect::<Vec<_>>());
}

#[test]
fn a_caller_that_does_not_wait_never_queues() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let lease = lock(&handle, "queue");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| handle.lock(&request("queue", 60_000)));
        thread::sleep(Duration::from_millis(100));
        for _ in 0..10 {
            let error = at_the_speed_of_the_others(|| handle.lock(&request("queue", 0))).expect_err("held");
            assert_eq!(error.status, Status::NotAcquired, "{error}");
        }
        let error = at_the_speed_of_the_others(|| handle.lock(&request("queue", 100))).expect_err("held for long");
        assert_eq!(error.status, Status::NotAcquired, "{error}");
        lease.unlock().expect("ours");
        waiting.join().expect("no panic").expect("its turn").unlock().expect("ours");
    });
    lock(&handle, "queue").unlock().expect("free");
}

#[test]
fn cancel_ends_the_waits_that_carry_its_tag_and_no_others() {
    let cluster = Cluster::start(3);
    let (holder, handle) = (connect(&cluster), connect(&cluster));
    let lease = lock(&holder, "cancel");
    let wait = |tag: u64| handle.lock(&LockRequest { tag, ..request("cancel", -1) });
    thread::scope(|scope| {
        let tagged: Vec<_> = (0..6).map(|_| scope.spawn(|| wait(7))).collect();
        let other = scope.spawn(|| wait(8));
        thread::sleep(Duration::from_millis(200));
        let cancelled = at_the_speed_of_the_others(|| handle.cancel(7).expect("a tag"));
        assert_eq!(cancelled, 6);
        at_the_speed_of_the_others(|| {
            for thread in tagged {
                let error = thread.join().expect("no panic").expect_err("cancelled");
                assert_eq!(error.status, Status::Cancelled, "{error}");
            }
        });
        assert_eq!(handle.cancel(7).expect("a tag"), 0);
        assert!(!other.is_finished());
        lease.unlock().expect("ours");
        let theirs = other.join().expect("no panic").expect("its turn");
        theirs.unlock().expect("ours");
    });
    assert_gone(&cluster, "cancel");
}

#[test]
fn a_cancelled_attempt_leaves_no_key() {
    let cluster = Cluster::start(3);
    let proxies: Vec<Proxy> = cluster.iter().map(|node| Proxy::to(node.port())).collect();
    let urls: Vec<String> = proxies.iter().map(Proxy::url).collect();
    let handle = connect_with(&urls, &options());
    proxies.iter().for_each(|proxy| proxy.delay_to_client(1_000));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| handle.lock(&LockRequest { tag: 1, ..request("cancelled", -1) }));
        assert!(wait_for(Duration::from_secs(5), || cluster.holding("cancelled") == 3));
        assert_eq!(handle.cancel(1).expect("a tag"), 1);
        let error = waiting.join().expect("no panic").expect_err("cancelled");
        assert_eq!(error.status, Status::Cancelled, "{error}");
    });
    assert_gone(&cluster, "cancelled");
}

/// Whoever reads for everybody must name a successor, also when the successor's own wait is cancelled that instant.
#[test]
fn cancellations_never_leave_the_others_without_a_reader() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let lease = lock(&handle, "handover");
    let end = Instant::now() + Duration::from_secs(3);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for tag in 1..=8 {
            let (handle, is_over) = (&handle, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    let result = handle.lock(&LockRequest { tag, ..request("handover", -1) });
                    assert_eq!(result.expect_err("held all the time").status, Status::Cancelled);
                }
            });
        }
        let busy = scope.spawn(|| {
            while Instant::now() < end {
                at_the_speed_of_the_others(|| lock(&handle, "busy").unlock().expect("nobody else's"));
            }
        });
        let mut tag = 0;
        while !busy.is_finished() {
            tag = tag % 8 + 1;
            handle.cancel(tag).expect("a tag");
            handle.cancel(tag % 8 + 1).expect("a tag");
        }
        is_over.store(true, Ordering::SeqCst);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(500) {
            (1..=8).for_each(|tag| _ = handle.cancel(tag).expect("a tag"));
            thread::sleep(Duration::from_millis(5));
        }
        busy.join().expect("the others were served all the time");
    });
    lease.unlock().expect("ours");
}

#[test]
fn close_ends_the_calls_inside() {
    let cluster = Cluster::start(3);
    let (holder, handle) = (connect(&cluster), connect(&cluster));
    let lease = lock(&holder, "close");
    let own = lock(&handle, "own");
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..8).map(|_| scope.spawn(|| handle.lock(&request("close", -1)))).collect();
        thread::sleep(Duration::from_millis(200));
        at_the_speed_of_the_others(|| {
            handle.end();
            for thread in waiting {
                let error = thread.join().expect("no panic").expect_err("closed");
                assert_eq!(error.status, Status::Closed, "{error}");
            }
        });
    });
    assert_eq!(handle.lock(&request("x", 0)).expect_err("closed").status, Status::Closed);
    assert_eq!(own.unlock().expect_err("closed").status, Status::Closed);
    assert_eq!(handle.inspect(b"x").expect_err("closed").status, Status::Closed);
    handle.end();
    lease.unlock().expect("another handle's");
    assert_gone(&cluster, "close");
    assert!(wait_for(Duration::from_secs(5), || cluster.iter().all(|node| node.client_list().len() == 1)));
}

#[test]
fn threads_wait_while_nodes_come_and_go() {
    let cluster = Cluster::start(5);
    let handle = connect_with(&cluster.urls(), &Options { connect_timeout_ms: 500, ..short_options(300, 600) });
    let cell = Fragile(AtomicU64::new(0));
    let key = resource("come-and-go");
    let is_over = AtomicBool::new(false);
    let taken = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let lease = handle.lock(&request(&key, 60_000)).expect("a quorum is always there");
                    cell.add_one();
                    taken.fetch_add(1, Ordering::SeqCst);
                    let _ = lease.unlock();
                }
            });
        }
        for round in 0..4 {
            let (stopped, killed) = (round % 5, (round + 2) % 5);
            cluster[stopped].stop();
            cluster[killed].kill();
            let before = taken.load(Ordering::SeqCst);
            thread::sleep(Duration::from_millis(900));
            assert!(taken.load(Ordering::SeqCst) > before, "three nodes are enough");
            cluster[stopped].cont();
            cluster[killed].restart();
            assert!(wait_for(Duration::from_secs(10), || up_count(&handle) == 5));
        }
        is_over.store(true, Ordering::SeqCst);
    });
    assert_eq!(cell.0.load(Ordering::SeqCst), taken.load(Ordering::SeqCst));
    assert!(wait_for(Duration::from_secs(5), || up_count(&handle) == 5 && pending_releases(&handle) == 0));
    assert_gone(&cluster, &key);
}
