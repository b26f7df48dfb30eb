//! The event-loop API: one completion for every operation, whatever the loop and other threads do.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::locking::*;
use crate::support::{Cluster, Proxy, wait_for};
use redlock::core::report::Status;
use redlock::engine::{Error, Event, Lease, LeaseState, LockRequest, Options, Redlock, Value, Work};

/// Waits until the descriptor is readable; false when that takes longer.
pub fn is_readable(fd: RawFd, timeout_ms: i32) -> bool {
    let mut polled = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&mut polled, 1, timeout_ms) == 1 }
}

/// Turns the loop until `is_enough` says so of an event; panics when nothing happens for 20 s.
fn turn(handle: &Redlock, mut is_enough: impl FnMut(Event) -> bool) {
    let fd = handle.fd().expect("a descriptor");
    loop {
        assert!(is_readable(fd, 20_000), "nothing happens any more");
        handle.process().expect("a live handle");
        while let Some(event) = handle.next_event().expect("a live handle") {
            if is_enough(event) {
                return;
            }
        }
    }
}

fn submit(handle: &Redlock, resource: &str, tag: u64, wait_ms: i64) {
    handle.submit_lock(&LockRequest { tag, ..request(resource, wait_ms) }).expect("valid");
}

/// The lease of the next lock that is done.
fn next_lease(handle: &Redlock) -> (u64, Lease) {
    let mut taken = None;
    turn(handle, |event| {
        if let Event::Done { tag, work: Work::Lock, result } = event {
            match result.unwrap_or_else(|error| panic!("{error}")) {
                Value::Lease(lease) => taken = Some((tag, lease)),
                other => panic!("{other:?}"),
            }
        }
        taken.is_some()
    });
    taken.expect("a lease")
}

/// How the next operation with this tag ended.
fn end_of(handle: &Redlock, tag: u64) -> Result<Value, Error> {
    let mut end = None;
    turn(handle, |event| {
        if let Event::Done { tag: done, result, .. } = event
            && done == tag
        {
            end = Some(result);
        }
        end.is_some()
    });
    end.expect("an end")
}

/// Each owed release was compared with every lease of the handle when its node came back: for tens of thousands of both
/// that took half a minute in one call.
#[test]
fn owed_releases_leave_in_a_time_that_does_not_grow_with_the_square_of_the_leases() {
    const LOCKS: u64 = 20_000;
    let cluster = Cluster::start(3);
    let handle = connect_with(&cluster.urls(), &short_options(100, 300));
    for tag in 1..=LOCKS {
        let one = request(&format!("owed-{tag}"), 5_000);
        handle.submit_lock(&LockRequest { tag, ttl_ms: 600_000, ..one }).expect("valid");
    }
    let mut leases = Vec::new();
    turn(&handle, |event| {
        if let Event::Done { result, .. } = event {
            match result.unwrap_or_else(|error| panic!("{error}")) {
                Value::Lease(lease) => leases.push(lease),
                other => panic!("{other:?}"),
            }
        }
        leases.len() as u64 == LOCKS
    });
    cluster[0].stop();
    for lease in &leases {
        lease.submit_unlock(1).expect("held");
    }
    let mut ended = 0;
    turn(&handle, |event| {
        ended += u64::from(matches!(event, Event::Done { work: Work::Unlock, .. }));
        ended == LOCKS
    });
    assert!(wait_for(Duration::from_secs(10), || pending_releases(&handle) == LOCKS), "all of node 1's are owed");
    cluster[0].cont();
    let begun = Instant::now();
    let is_paid = || pending_releases(&handle) == 0 && cluster[0].cli(&["DBSIZE"]).trim() == "0";
    assert!(wait_for(Duration::from_secs(8), is_paid), "{} are owed still", pending_releases(&handle));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn ten_thousand_operations_in_flight_complete_exactly_once_each() {
    const LOCKS: u64 = 10_000;
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    for tag in 1..=LOCKS {
        // Every tenth wants what another one wants, too.
        submit(&handle, &format!("flight-{}", tag - u64::from(tag % 10 == 0)), tag, -1);
    }
    let mut seen: HashMap<(u64, Work), u32> = HashMap::new();
    let mut ended = 0;
    let begun = Instant::now();
    turn(&handle, |event| {
        let Event::Done { tag, work, result } = event else { return false };
        *seen.entry((tag, work)).or_default() += 1;
        // A release overtakes the extension that was submitted before it: that one is lost, or done.
        let is_overtaken = |error: &Error| work == Work::Extend && error.status == Status::Lost;
        let result = result.or_else(|error| if is_overtaken(&error) { Ok(Value::Nothing) } else { Err(error) });
        match result.unwrap_or_else(|error| panic!("{tag} {work:?}: {error}")) {
            Value::Lease(lease) => {
                lease.submit_extend(2 * TTL_MS, tag).expect("held");
                lease.submit_unlock(tag).expect("held");
            }
            _ => ended += u64::from(work == Work::Unlock),
        }
        ended == LOCKS
    });
    println!("{LOCKS} locks, extensions and releases in {:?}", begun.elapsed());
    assert_eq!(seen.len() as u64, 3 * LOCKS);
    assert!(seen.values().all(|&count| count == 1));
    for _ in 0..10 {
        handle.process().expect("live");
        while let Some(event) = handle.next_event().expect("live") {
            assert!(!matches!(event, Event::Done { .. } | Event::Lost { .. }), "{event:?}");
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert!(wait_for(Duration::from_secs(10), || cluster.iter().all(|node| node.cli(&["DBSIZE"]) == "0")));
}

#[test]
fn spurious_calls_do_nothing_and_an_idle_loop_is_not_woken() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let fd = handle.fd().expect("a descriptor");
    assert_eq!(handle.fd().expect("a descriptor"), fd);
    while handle.next_event().expect("live").is_some() {}
    for _ in 0..10_000 {
        handle.process().expect("live");
        assert!(handle.next_event().expect("live").is_none());
    }
    assert!(!is_readable(fd, 300), "an idle handle keeps its loop asleep");
    assert_eq!(handle.timeout_ms().expect("live"), -1);
    submit(&handle, "spurious", 1, 0);
    assert_eq!(handle.timeout_ms().expect("live"), 0, "something is to be sent");
    let (tag, lease) = next_lease(&handle);
    assert_eq!((tag, lease.state()), (1, LeaseState::Held));
    for _ in 0..100 {
        handle.process().expect("live");
        assert!(handle.next_event().expect("live").is_none());
    }
    lease.submit_unlock(2).expect("held");
    end_of(&handle, 2).expect("ours");
    // What is left are answers of stragglers, and then nothing.
    assert!(wait_for(Duration::from_secs(5), || {
        handle.process().expect("live");
        handle.next_event().expect("live").is_none() && !is_readable(fd, 100)
    }));
}

/// A loop that polls by time alone.
#[test]
fn a_loop_without_the_descriptor_lives_by_the_timeout() {
    let cluster = Cluster::start(3);
    let handle = Redlock::new(&cluster.urls(), &options()).expect("valid");
    submit(&handle, "by-time", 1, 10_000);
    let begun = Instant::now();
    let lease = loop {
        let wait_ms = handle.timeout_ms().expect("live");
        thread::sleep(Duration::from_millis(wait_ms.clamp(0, 5) as u64));
        handle.process().expect("live");
        match handle.next_event().expect("live") {
            Some(Event::Done { result, .. }) => break result.expect("free"),
            _ => assert!(begun.elapsed() < Duration::from_secs(10)),
        }
    };
    assert!(matches!(lease, Value::Lease(_)));
}

/// Operations are submitted while events are being fetched: the last change that such a loop saw came before them.
#[test]
fn a_loop_that_watches_for_changes_misses_nothing() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    // SAFETY: a new descriptor; a valid event.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 0 };
    // SAFETY: both descriptors are open, the event is valid.
    assert_eq!(
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, handle.fd().expect("a descriptor"), &mut event) },
        0
    );
    let begun = Instant::now();
    let mut rounds = 0;
    let mut leases: HashMap<u64, Lease> = HashMap::new();
    // Several at a time: one is submitted while the event of another waits to be fetched.
    (1..=4).for_each(|tag| submit(&handle, &format!("edge-{tag}"), tag, 0));
    while rounds < 300 {
        // SAFETY: room for one event.
        let ready = unsafe { libc::epoll_wait(epoll, &mut event, 1, 10_000) };
        assert_eq!(ready, 1, "round {rounds}: asleep although something is to be done");
        handle.process().expect("live");
        while let Some(event) = handle.next_event().expect("live") {
            let Event::Done { tag, work, result } = event else { continue };
            match (work, result.unwrap_or_else(|error| panic!("{error}"))) {
                (Work::Lock, Value::Lease(taken)) => {
                    taken.submit_unlock(tag).expect("held");
                    leases.insert(tag, taken);
                }
                (Work::Unlock, _) => {
                    leases.remove(&tag);
                    rounds += 1;
                    submit(&handle, &format!("edge-{tag}"), tag, 0);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    // Only by its timers it would take a node timeout for each step.
    assert!(begun.elapsed() < Duration::from_millis(NODE_TIMEOUT_MS * 10), "{:?}", begun.elapsed());
    // SAFETY: ours.
    unsafe { libc::close(epoll) };
}

/// The same without the answers of stragglers and the pushes that would wake such a loop by chance.
#[test]
fn what_is_submitted_between_two_events_is_a_change() {
    let cluster = Cluster::start(1);
    let handle = connect(&cluster);
    // SAFETY: a new descriptor; a valid event.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 0 };
    // SAFETY: both descriptors are open, the event is valid.
    let added = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, handle.fd().expect("a descriptor"), &mut event) };
    assert_eq!(added, 0);
    while handle.next_event().expect("live").is_some() {}
    (1..=2).for_each(|tag| handle.submit_inspect(b"between", tag).expect("valid"));
    for _ in 0..10 {
        handle.process().expect("live");
        thread::sleep(Duration::from_millis(20));
    }
    // SAFETY: room for one event.
    let mut changes = |timeout_ms| unsafe { libc::epoll_wait(epoll, &mut event, 1, timeout_ms) };
    assert_eq!(changes(0), 1, "two events wait");
    assert!(matches!(handle.next_event().expect("live"), Some(Event::Done { tag: 1, .. })));
    handle.submit_inspect(b"between", 3).expect("valid");
    assert!(matches!(handle.next_event().expect("live"), Some(Event::Done { tag: 2, .. })));
    assert!(handle.next_event().expect("live").is_none());
    assert_eq!(changes(500), 1, "the third is to be sent");
    end_of(&handle, 3).expect("answered");
    // SAFETY: ours.
    unsafe { libc::close(epoll) };
}

#[test]
fn threads_and_a_loop_use_one_handle_at_once() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let is_over = AtomicBool::new(false);
    let inside = AtomicBool::new(false);
    let enter = || assert!(!inside.swap(true, Ordering::SeqCst), "two inside");
    let leave = || assert!(inside.swap(false, Ordering::SeqCst));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut rounds = 0;
                    while !is_over.load(Ordering::SeqCst) {
                        let lease = handle.lock(&request("faces", -1)).expect("its turn");
                        enter();
                        leave();
                        lease.unlock().expect("ours");
                        rounds += 1;
                    }
                    rounds
                })
            })
            .collect();
        for round in 0..300 {
            submit(&handle, "faces", round, -1);
            let (_, lease) = next_lease(&handle);
            enter();
            leave();
            lease.submit_unlock(round).expect("held");
            end_of(&handle, round).expect("ours");
        }
        is_over.store(true, Ordering::SeqCst);
        for thread in threads {
            assert!(thread.join().expect("no panic") > 0);
        }
    });
    assert_gone(&cluster, "faces");
}

/// A call leaves the sending to a thread that is about to enter, which must not be one that sends nothing. The leader
/// here sleeps for a shorter time than an answer may take, so that nobody wakes it to send.
#[test]
fn calls_that_send_nothing_hold_up_nobody() {
    const LEADER_SLEEP_MS: i64 = 20_000;
    let cluster = Cluster::start(3);
    let handle = connect_with(&cluster.urls(), &short_options(3 * LEADER_SLEEP_MS as u64, 3 * LEADER_SLEEP_MS as u64));
    let (held, is_over) = (lock(&handle, "held"), AtomicBool::new(false));
    let took = thread::scope(|scope| {
        scope.spawn(|| held.wait_lost(LEADER_SLEEP_MS, None).expect("a wait"));
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let _ = (handle.timeout_ms().expect("live"), handle.fd().expect("live"));
                    assert!(!matches!(handle.next_event().expect("live"), Some(Event::Done { .. })));
                }
            });
        }
        thread::sleep(Duration::from_millis(50));
        let begun = Instant::now();
        (0..50).for_each(|_| lock(&handle, "visited").unlock().expect("ours"));
        is_over.store(true, Ordering::SeqCst);
        held.unlock().expect("ours");
        begun.elapsed()
    });
    println!("50 pairs in {took:?}");
    assert!(took < Duration::from_millis(LEADER_SLEEP_MS as u64 * 3 / 4), "{took:?}");
}

/// CPU time of this thread.
fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists, the result is ours.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What the release of a lease costs must not grow with the operations that are under way.
#[test]
fn a_release_amid_fifty_thousand_waiters_costs_what_it_costs_alone() {
    let cluster = Cluster::start(1);
    let handle = connect(&cluster);
    let releases = || {
        (1..=300).for_each(|tag| submit(&handle, &format!("watched-{tag}"), tag, 0));
        let leases: Vec<Lease> = (1..=300).map(|_| next_lease(&handle).1).collect();
        let begun = thread_cpu();
        leases.iter().for_each(|lease| lease.unlock().expect("ours"));
        thread_cpu() - begun
    };
    let alone = releases();
    let held = lock(&handle, "held");
    (0..50_000).for_each(|tag| submit(&handle, "held", tag, -1));
    let amid = releases();
    println!("300 releases alone {alone:?}, amid waiters {amid:?}");
    assert!(amid < 10 * alone, "{amid:?} instead of {alone:?}");
    // Hardly any of them asks the server in vain because the one before it has ended.
    let asked = || calls(&cluster[0], "set") + calls(&cluster[0], "pttl");
    let before = asked();
    handle.end();
    assert!(wait_for(Duration::from_secs(20), || cluster[0].client_list().is_empty()));
    println!("{} questions at the end", asked() - before);
    assert!(asked() - before < 500, "{} questions", asked() - before);
    drop(held);
}

#[test]
fn submitting_from_another_thread_wakes_the_loop() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let fd = handle.fd().expect("a descriptor");
    while {
        handle.process().expect("live");
        handle.next_event().expect("live").is_some()
    } || is_readable(fd, 50)
    {}
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            submit(&handle, "wake", 9, 0);
        });
        assert_eq!(next_lease(&handle).0, 9);
    });
}

#[test]
fn events_that_nobody_fetches_are_released_with_the_handle() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    for tag in 0..20 {
        submit(&handle, &format!("unfetched-{tag}"), tag, 0);
    }
    assert!(wait_for(Duration::from_secs(10), || {
        handle.process().expect("live");
        (0..20).all(|tag| cluster.holding(&format!("unfetched-{tag}")) == 3)
    }));
    handle.end();
    for tag in 0..20 {
        assert_gone(&cluster, &format!("unfetched-{tag}"));
    }
}

#[test]
fn close_ends_what_is_submitted_and_leaves_no_key() {
    let cluster = Cluster::start(3);
    let proxies: Vec<Proxy> = cluster.iter().map(|node| Proxy::to(node.port())).collect();
    let handle = connect_with(&proxies.iter().map(Proxy::url).collect::<Vec<_>>(), &options());
    proxies.iter().for_each(|proxy| proxy.delay_to_client(300));
    submit(&handle, "open", 3, -1);
    handle.process().expect("live");
    assert!(wait_for(Duration::from_secs(5), || cluster.holding("open") == 3));
    handle.end();
    assert_eq!(end_after_close(&handle, 3), Some(Status::Closed));
    assert_eq!(handle.submit_lock(&request("late", 0)).expect_err("closed").status, Status::Closed);
    assert_gone(&cluster, "open");
}

fn end_after_close(handle: &Redlock, wanted: u64) -> Option<Status> {
    while let Some(event) = handle.next_event().expect("not forked") {
        if let Event::Done { tag, result, .. } = event
            && tag == wanted
        {
            return result.err().map(|error| error.status);
        }
    }
    None
}

#[test]
fn cancel_ends_submitted_operations_and_blocking_ones_with_the_same_tag() {
    let cluster = Cluster::start(3);
    let (holder, handle) = (connect(&cluster), connect(&cluster));
    let lease = lock(&holder, "tagged");
    (0..50).for_each(|_| submit(&handle, "tagged", 5, -1));
    submit(&handle, "tagged", 6, -1);
    thread::scope(|scope| {
        let blocking = scope.spawn(|| handle.lock(&LockRequest { tag: 5, ..request("tagged", -1) }));
        thread::sleep(Duration::from_millis(200));
        handle.process().expect("live");
        assert_eq!(handle.cancel(5).expect("a tag"), 51);
        assert_eq!(blocking.join().expect("no panic").expect_err("cancelled").status, Status::Cancelled);
    });
    for _ in 0..50 {
        assert_eq!(end_of(&handle, 5).expect_err("cancelled").status, Status::Cancelled);
    }
    lease.unlock().expect("ours");
    assert_eq!(next_lease(&handle).0, 6);
}

#[test]
fn deleted_keys_are_an_event_long_before_the_deadline() {
    let cluster = Cluster::start(5);
    let handle = connect(&cluster);
    submit(&handle, "deleted", 7, 0);
    let (_, lease) = next_lease(&handle);
    thread::sleep(Duration::from_millis(200));
    handle.process().expect("live");
    assert!(lease.remaining_ms() > TTL_MS as i64 / 2, "the deadline is far away");
    let begun = Instant::now();
    (0..3).for_each(|node| assert_eq!(cluster[node].cli(&["DEL", "deleted"]), "1"));
    turn(&handle, |event| matches!(event, Event::Lost { tag: 7 }));
    println!("lost after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(lease.state(), LeaseState::Lost);
    // It is told once.
    thread::sleep(Duration::from_millis(100));
    handle.process().expect("live");
    while let Some(event) = handle.next_event().expect("live") {
        assert!(!matches!(event, Event::Lost { .. }));
    }
}

#[test]
fn a_submitted_lease_extends_itself_as_long_as_the_loop_turns_and_is_lost_at_its_longest_hold() {
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let wanted = LockRequest { tag: 4, ttl_ms: 500, auto_extend: true, max_hold_ms: Some(2_000), ..request("auto", 0) };
    let begun = Instant::now();
    handle.submit_lock(&wanted).expect("valid");
    let (_, lease) = next_lease(&handle);
    let mut extended = 0;
    turn(&handle, |event| match event {
        Event::Extended { tag: 4, result } => {
            extended += u32::from(result.is_ok());
            false
        }
        Event::Lost { tag } => tag == 4,
        _ => false,
    });
    let held = begun.elapsed();
    assert!(extended >= 5, "{extended} extensions");
    assert!(held > Duration::from_millis(1_700) && held < Duration::from_millis(2_600), "held for {held:?}");
    assert_eq!(lease.state(), LeaseState::Lost);
    assert_gone(&cluster, "auto");
}

#[test]
fn of_extensions_that_nobody_fetches_only_the_last_is_told() {
    let cluster = Cluster::start(3);
    let handle = connect_with(&cluster.urls(), &short_options(500, 60_000));
    for tag in 1..=2 {
        let key = format!("unfetched-{tag}");
        handle
            .submit_lock(&LockRequest { tag, ttl_ms: 300 * tag, auto_extend: true, ..request(&key, 0) })
            .expect("valid");
    }
    let leases = [next_lease(&handle), next_lease(&handle)];
    let process = |is_enough: &dyn Fn() -> bool| {
        let process = || {
            handle.process().expect("live");
            is_enough()
        };
        assert!(wait_for(Duration::from_secs(20), process));
    };
    let extended = || handle.stats().expect("live").extended;
    process(&|| extended() > 10);
    // The last one fails. The leases are lost soon afterwards, which is told as well.
    cluster.iter().for_each(crate::support::Node::kill);
    process(&|| leases.iter().all(|(_, lease)| lease.state() == LeaseState::Lost));
    let mut told = Vec::new();
    while let Some(event) = handle.next_event().expect("live") {
        match event {
            Event::Extended { tag, result } => told.push((tag, result.is_ok())),
            Event::Lost { tag } => assert!(told.contains(&(tag, false)), "{tag} of {told:?}"),
            Event::Node { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    told.sort_unstable();
    assert_eq!(told, [(1, false), (2, false)]);
}

#[test]
fn nodes_that_come_and_go_are_told_once_each_time() {
    let cluster = Cluster::start(3);
    let options = Options { connect_timeout_ms: 300, ..short_options(300, 600) };
    let handle = Redlock::new(&cluster.urls(), &options).expect("valid");
    let mut up = [false; 3];
    turn(&handle, |event| {
        if let Event::Node { node, is_up } = event {
            assert_ne!(up[node], is_up, "told twice");
            up[node] = is_up;
        }
        up == [true; 3]
    });
    cluster[1].kill();
    turn(&handle, |event| {
        if let Event::Node { node, is_up } = event {
            assert_ne!(up[node], is_up, "told twice");
            up[node] = is_up;
        }
        up == [true, false, true]
    });
    // Many dials fail meanwhile.
    let fd = handle.fd().expect("a descriptor");
    let end = Instant::now() + Duration::from_millis(1_500);
    while Instant::now() < end {
        if is_readable(fd, 50) {
            handle.process().expect("live");
        }
        assert!(handle.next_event().expect("live").is_none());
    }
    cluster[1].restart();
    turn(&handle, |event| matches!(event, Event::Node { node: 1, is_up: true }));
}

/// The loop submits and is then busy for longer than the node timeout before it comes round.
#[test]
fn what_has_not_left_yet_is_not_late() {
    let cluster = Cluster::start(3);
    let handle = connect_with(&cluster.urls(), &short_options(100, 200));
    for tag in 1..=3 {
        submit(&handle, "busy", tag, 0);
        thread::sleep(Duration::from_millis(400));
        let (done, lease) = next_lease(&handle);
        assert_eq!(done, tag);
        lease.submit_unlock(tag).expect("held");
        thread::sleep(Duration::from_millis(400));
        end_of(&handle, tag).expect("ours");
    }
    let stats = handle.stats().expect("live");
    assert!(stats.nodes.iter().all(|node| node.timeouts == 0), "{stats:?}");
}
