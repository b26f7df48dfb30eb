//! Leases that extend themselves, and the end of leases: noticed at once, whatever brought it about.

mod support;

use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use redlock::core::report::Status;
use redlock::engine::{Lease, LeaseState, LockRequest, Redlock};
use support::locking::*;
use support::{Cluster, TempDir, wait_for};

/// Tests here count threads and descriptors of the process.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn auto(resource: &str, ttl_ms: u64) -> LockRequest {
    LockRequest { ttl_ms, auto_extend: true, ..request(resource, 0) }
}

/// How many threads of the library this process has.
fn drivers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    let name = |task: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(task.ok()?.path().join("comm")).ok();
    tasks.filter_map(name).filter(|name| name.starts_with("redlock-driver")).count()
}

/// How long it takes until the lease is known to be over.
fn time_to_loss(lease: &Lease) -> Duration {
    let begun = Instant::now();
    assert!(lease.wait_lost(20_000, None).expect("a wait"), "still held");
    begun.elapsed()
}

#[test]
fn an_administrators_deletion_is_known_long_before_the_deadline() {
    let _alone = alone();
    let cluster = Cluster::start(5);
    let handle = connect(&cluster);
    for is_extended in [false, true] {
        let key = format!("admin-{is_extended}");
        let lease = handle.lock(&LockRequest { auto_extend: is_extended, ..request(&key, 0) }).expect("free");
        assert!(!lease.wait_lost(300, None).expect("a wait"));
        let took = thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                time_to_loss(&lease);
                Instant::now()
            });
            thread::sleep(Duration::from_millis(100));
            (0..2).for_each(|node| assert_eq!(cluster[node].cli(&["DEL", &key]), "1"));
            thread::sleep(Duration::from_millis(100));
            assert!(!waiting.is_finished(), "three nodes have it still");
            assert!(lease.remaining_ms() > TTL_MS as i64 / 2, "the deadline is far away");
            let deleted = Instant::now();
            assert_eq!(cluster[2].cli(&["DEL", &key]), "1");
            waiting.join().expect("no panic").saturating_duration_since(deleted)
        });
        // A round trip or two: `benches/run --scenario loss` measures them.
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(lease.state(), LeaseState::Lost);
        assert_eq!(lease.extend(TTL_MS).expect_err("over").status, Status::Lost);
        assert_eq!(lease.unlock().expect_err("over").status, Status::Lost);
        assert_gone(&cluster, &key);
    }
    handle.end();
}

#[test]
fn a_flush_and_a_change_of_the_value_are_losses_too() {
    let _alone = alone();
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    for command in [&["FLUSHALL"][..], &["FLUSHDB", "ASYNC"], &["SET", "changed", "another", "PX", "60000"]] {
        let lease = lock(&handle, "changed");
        assert!(!lease.wait_lost(200, None).expect("a wait"));
        let took = thread::scope(|scope| {
            let waiting = scope.spawn(|| time_to_loss(&lease));
            thread::sleep(Duration::from_millis(50));
            (0..2).for_each(|node| assert_eq!(cluster[node].cli(command), "OK"));
            waiting.join().expect("no panic")
        });
        assert!(took < Duration::from_secs(1), "{command:?}: {took:?}");
        cluster.iter().for_each(|node| assert_eq!(node.cli(&["FLUSHALL"]), "OK"));
        drop(lease);
    }
}

#[test]
fn eviction_is_a_loss() {
    let _alone = alone();
    let cluster = Cluster::start_with(3, &["--maxmemory-policy", "allkeys-random"]);
    let handle = connect(&cluster);
    let lease = lock(&handle, "evicted");
    assert!(!lease.wait_lost(200, None).expect("a wait"));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| time_to_loss(&lease));
        for node in (0..2).map(|node| &cluster[node]) {
            // No room for anything: the next write evicts what there is.
            assert_eq!(node.cli(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
            let _ = node.cli(&["SET", "another", "x"]);
        }
        let took = waiting.join().expect("no panic");
        assert!(took < Duration::from_secs(2), "{took:?}");
    });
}

#[test]
fn waiting_for_loss_ends_at_the_deadline_by_release_and_by_close() {
    let _alone = alone();
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let short = handle.lock(&LockRequest { ttl_ms: 500, ..request("short", 0) }).expect("free");
    let took = time_to_loss(&short);
    assert!(took > Duration::from_millis(300) && took < Duration::from_millis(900), "{took:?}");

    let released = lock(&handle, "released");
    let closed = lock(&handle, "closed");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| time_to_loss(&released));
        thread::sleep(Duration::from_millis(50));
        released.unlock().expect("ours");
        assert!(waiting.join().expect("no panic") < Duration::from_secs(1));
        let waiting = scope.spawn(|| closed.wait_lost(-1, None));
        thread::sleep(Duration::from_millis(50));
        handle.end();
        assert_eq!(waiting.join().expect("no panic").expect_err("closed").status, Status::Closed);
    });
}

/// Whatever the network does: all nodes hang.
#[test]
fn the_deadline_needs_no_answer_from_anybody() {
    let _alone = alone();
    let cluster = Cluster::start(3);
    let handle = connect_with(&cluster.urls(), &short_options(200, 5_000));
    let lease = handle.lock(&auto("hung", 1_000)).expect("free");
    thread::sleep(Duration::from_millis(500));
    cluster.iter().for_each(support::Node::stop);
    let took = time_to_loss(&lease);
    assert!(took < Duration::from_millis(1_300), "{took:?}");
    cluster.iter().for_each(support::Node::cont);
    assert_gone(&cluster, "hung");
    handle.end();
}

#[test]
fn a_lease_outlives_its_ttl_survives_a_hung_node_and_ends_with_its_owner() {
    let _alone = alone();
    let cluster = Cluster::start(5);
    let handle = connect_with(&cluster.urls(), &short_options(200, 1_000));
    let leases: Vec<Lease> = (0..20).map(|i| handle.lock(&auto(&format!("hang-{i}"), 1_000)).expect("free")).collect();
    assert!(wait_for(Duration::from_secs(2), || drivers() == 1), "{} drivers", drivers());
    cluster[0].stop();
    cluster[3].kill();
    thread::sleep(Duration::from_secs(3));
    assert!(leases.iter().all(|lease| lease.state() == LeaseState::Held), "three nodes are enough");
    cluster[0].cont();
    cluster[3].restart();
    // Those that lost their keys are set again, so that the next failure is survived, too.
    assert!(wait_for(Duration::from_secs(20), || leases.iter().all(|lease| lease.node_count_held() == 5)));
    cluster[1].stop();
    cluster[2].stop();
    thread::sleep(Duration::from_secs(2));
    assert!(leases.iter().all(|lease| lease.state() == LeaseState::Held));
    cluster[1].cont();
    cluster[2].cont();
    // Dropped: extended no more, and gone with their time. Unlocked: gone at once.
    for (i, lease) in leases.into_iter().enumerate() {
        if i % 2 == 0 {
            lease.unlock().expect("ours");
            drop(lease);
        }
    }
    assert!(wait_for(Duration::from_millis(2_500), || (0..20).all(|i| cluster.holding(&format!("hang-{i}")) == 0)));
    handle.end();
    assert!(wait_for(Duration::from_secs(2), || drivers() == 0), "{} drivers", drivers());
}

#[test]
fn the_longest_hold_is_kept() {
    let _alone = alone();
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let begun = Instant::now();
    let lease = handle.lock(&LockRequest { max_hold_ms: Some(2_000), ..auto("max", 600) }).expect("free");
    assert!(!lease.wait_lost(1_600, None).expect("a wait"));
    time_to_loss(&lease);
    let held = begun.elapsed();
    assert!(held > Duration::from_millis(1_650) && held < Duration::from_millis(2_300), "{held:?}");
    assert!(wait_for(Duration::from_millis(300), || cluster.holding("max") == 0));
    handle.end();
}

#[test]
fn two_thousand_leases_extend_themselves_by_one_thread() {
    let _alone = alone();
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let leases: Vec<Lease> =
        (0..2_000).map(|i| handle.lock(&auto(&format!("many-{i}"), 4_000)).expect("free")).collect();
    assert!(wait_for(Duration::from_secs(2), || drivers() == 1), "{} drivers", drivers());
    let extended = handle.stats().expect("live").extended;
    for _ in 0..60 {
        thread::sleep(Duration::from_millis(100));
        // The handle serves others meanwhile.
        lock(&handle, "another").unlock().expect("ours");
    }
    assert!(leases.iter().all(|lease| lease.state() == LeaseState::Held));
    let more = handle.stats().expect("live").extended - extended;
    assert!((2_000 * 2..2_000 * 9).contains(&more), "{more} extensions in 6 s");
    let begun = Instant::now();
    leases.iter().for_each(|lease| lease.unlock().expect("ours"));
    println!("2000 releases in {:?}", begun.elapsed());
    assert!(wait_for(Duration::from_secs(5), || cluster.iter().all(|node| node.cli(&["DBSIZE"]) == "0")));
    handle.end();
    assert!(wait_for(Duration::from_secs(2), || drivers() == 0), "{} drivers", drivers());
}

#[test]
fn a_driver_ends_soon_after_the_last_lease_that_extends_itself_and_comes_back() {
    let _alone = alone();
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    for _ in 0..3 {
        let lease = handle.lock(&auto("idle", 600)).expect("free");
        thread::sleep(Duration::from_millis(1_500));
        assert_eq!((lease.state(), drivers()), (LeaseState::Held, 1));
        lease.unlock().expect("ours");
        assert!(wait_for(Duration::from_secs(10), || drivers() == 0), "{} drivers", drivers());
    }
    // While it is about to end, too.
    for pause_ms in [900, 990, 1_000, 1_010, 1_100] {
        let lease = handle.lock(&auto("idle", 300)).expect("free");
        lease.unlock().expect("ours");
        thread::sleep(Duration::from_millis(pause_ms));
        let lease = handle.lock(&auto("idle", 300)).expect("free");
        thread::sleep(Duration::from_millis(700));
        assert_eq!(lease.state(), LeaseState::Held, "after {pause_ms} ms");
        lease.unlock().expect("ours");
    }
    handle.end();
}

#[test]
fn drivers_come_and_go_with_their_handles() {
    let _alone = alone();
    let cluster = Cluster::start(3);
    for _ in 0..50 {
        let handle = connect(&cluster);
        let lease = handle.lock(&auto("come-and-go", 1_000)).expect("free");
        assert!(wait_for(Duration::from_secs(2), || drivers() == 1), "{} drivers", drivers());
        lease.unlock().expect("ours");
        handle.end();
        assert!(wait_for(Duration::from_secs(2), || drivers() == 0), "{} drivers", drivers());
    }
}

/// The driver must not keep alive what it works for.
#[test]
fn a_handle_that_is_dropped_without_close_ends_its_driver_with_its_last_lease() {
    let _alone = alone();
    let cluster = Cluster::start(3);
    let entries = || std::fs::read_dir("/proc/self/fd").expect("procfs").count();
    let before = entries();
    let handle = connect(&cluster);
    let clone = handle.clone();
    handle.fd().expect("a descriptor of the other face, too");
    let (kept, released) = (handle.lock(&auto("kept", 1_000)).expect("free"), lock(&handle, "released"));
    released.unlock_nowait().expect("open");
    drop((handle, released));
    assert!(wait_for(Duration::from_secs(2), || drivers() == 1), "{} drivers", drivers());
    drop(clone);
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!((kept.state(), drivers()), (LeaseState::Held, 1), "a lease keeps its handle");
    assert_gone(&cluster, "released");
    drop(kept);
    assert_eq!(entries(), before);
    assert!(wait_for(Duration::from_secs(2), || drivers() == 0), "{} drivers", drivers());
}

/// The child has no driver, closes everything, and takes nothing from its parent.
#[test]
fn a_fork_leaves_the_driver_to_the_parent() {
    let _alone = alone();
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    handle.fd().expect("a descriptor of the other face, too");
    let lease = handle.lock(&auto("forked", 1_000)).expect("free");
    let sockets = || {
        let targets = std::fs::read_dir("/proc/self/fd").expect("procfs");
        let is_ours = |target: &String| target.starts_with("socket:") || target.starts_with("anon_inode:");
        targets
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .map(|target| target.to_string_lossy().into_owned())
            .filter(is_ours)
            .count()
    };
    // The leader's, the driver's, and three of the event loop.
    let ours = handle.node_count() + 5;
    let before = sockets();
    for _ in 0..20 {
        // SAFETY: the child uses what a handle promises to a child, and leaves by _exit.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let is_over = lease.state() == LeaseState::Lost && lease.remaining_ms() == 0;
            let is_refused = lease.wait_lost(-1, None).is_err_and(|error| error.status == Status::Forked)
                && handle.process().is_err()
                && handle.next_event().is_err();
            handle.end();
            let code = i32::from(!is_over) + 2 * i32::from(!is_refused) + 4 * i32::from(sockets() + ours != before);
            // SAFETY: ends the child.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: the child made above.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0, "exit code {}", libc::WEXITSTATUS(status));
    }
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(lease.state(), LeaseState::Held);
    lease.unlock().expect("ours");
    handle.end();
    assert!(wait_for(Duration::from_secs(2), || drivers() == 0), "{} drivers", drivers());
}

/// How many extensions race with releases; raised by the environment.
fn races() -> usize {
    let default = if cfg!(debug_assertions) { 10_000 } else { 100_000 };
    std::env::var("REDLOCK_TEST_RACES").map_or(default, |races| races.parse().expect("a number"))
}

#[test]
fn an_extension_that_races_with_a_release_resurrects_no_key() {
    let _alone = alone();
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let rounds = races() / 4;
    thread::scope(|scope| {
        for worker in 0..4 {
            let (handle, cluster) = (&handle, &cluster);
            scope.spawn(move || {
                for round in 0..rounds {
                    let key = format!("race-{worker}-{round}");
                    let lease = lock(handle, &key);
                    // A node that lost the key is set again by an extension.
                    if round % 16 == 0 {
                        cluster[round / 16 % 3].cli(&["DEL", &key]);
                    }
                    thread::scope(|both| {
                        both.spawn(|| {
                            if let Err(error) = lease.extend(2 * TTL_MS) {
                                assert_eq!(error.status, Status::Lost, "{error}");
                            }
                        });
                        if round % 3 == 0 {
                            thread::yield_now();
                        }
                        // Deleted on one node while the answer of another was still on its way: that is a loss.
                        let released = lease.unlock();
                        assert!(released.is_ok() || round % 16 == 0, "{released:?}");
                    });
                    assert_ne!(lease.state(), LeaseState::Held);
                }
            });
        }
    });
    let is_empty = || cluster.iter().all(|node| node.cli(&["DBSIZE"]) == "0");
    assert!(wait_for(Duration::from_secs(5), is_empty), "keys remain");
    thread::sleep(Duration::from_millis(300));
    assert!(is_empty(), "keys came back");
}

const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <unistd.h>
#include <stdlib.h>
static volatile long ahead_s[2];
void shim_jump(long boottime_s, long realtime_s) { ahead_s[0] += boottime_s; ahead_s[1] += realtime_s; }
int clock_gettime(clockid_t id, struct timespec *time)
{
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, time);
    if (id == CLOCK_BOOTTIME)
        time->tv_sec += ahead_s[0];
    if (id == CLOCK_REALTIME)
        time->tv_sec += ahead_s[1];
    return result;
}
"#;

/// The inner half of the next test, in a process in which a shim replaces the clocks.
#[test]
fn after_a_jump_of_the_clock() {
    let Ok(urls) = std::env::var("REDLOCK_TEST_SHIMMED") else { return };
    // SAFETY: the name ends with NUL; the shim's function has this type.
    let jump: extern "C" fn(libc::c_long, libc::c_long) = unsafe {
        let symbol = libc::dlsym(libc::RTLD_DEFAULT, c"shim_jump".as_ptr());
        assert!(!symbol.is_null(), "preloaded");
        std::mem::transmute(symbol)
    };
    let urls: Vec<String> = urls.split(',').map(str::to_owned).collect();
    let handle = connect_with(&urls, &options());
    // Suspend moves both clocks; a virtual machine that was paused finds only the wall clock ahead.
    for (boottime_s, realtime_s) in [(120, 120), (0, 120)] {
        let watched = handle.lock(&auto("watched", TTL_MS)).expect("free");
        let quiet = handle.lock(&auto("quiet", TTL_MS)).expect("free");
        assert!(!watched.wait_lost(100, None).expect("a wait"));
        let took = thread::scope(|scope| {
            let waiting = scope.spawn(|| time_to_loss(&watched));
            thread::sleep(Duration::from_millis(50));
            jump(boottime_s, realtime_s);
            assert_eq!(quiet.state(), LeaseState::Lost, "nobody has to wait for a thread to wake up");
            waiting.join().expect("no panic")
        });
        assert!(took < Duration::from_millis(1_500), "{took:?}");
        assert_eq!(quiet.extend(TTL_MS).expect_err("over").status, Status::Lost);
        let _ = (watched.unlock(), quiet.unlock());
        lock(&handle, "afterwards").unlock().expect("a new lock is as good as ever");
    }
    handle.end();
    println!("inner half passed");
}

/// The machine was suspended, or its virtual machine paused, for two minutes.
#[test]
fn a_jump_of_the_clock_ends_leases_instead_of_keeping_them() {
    let _alone = alone();
    let (cluster, directory) = (Cluster::start(3), TempDir::new());
    let (source, shim) = (directory.path().join("shim.c"), directory.path().join("shim.so"));
    std::fs::write(&source, SHIM).expect("a writable directory");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(&source).arg("-ldl");
    assert!(compiler.status().expect("cc is there").success());
    let mut inner = Command::new(std::env::current_exe().expect("we are a file"));
    inner.args(["--exact", "after_a_jump_of_the_clock", "--nocapture"]);
    inner.env("LD_PRELOAD", &shim).env("REDLOCK_TEST_SHIMMED", cluster.urls().join(","));
    let output = inner.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("inner half passed"), "{said}");
}

#[test]
fn a_thread_that_leads_for_ever_keeps_nothing_of_those_who_came_and_went() {
    let _alone = alone();
    let cluster = Cluster::start(3);
    let handle: Redlock = connect(&cluster);
    let round = |count: usize| {
        for i in 0..count {
            let lease = handle.lock(&auto(&format!("drop-{}", i % 50), TTL_MS)).expect("free");
            if i % 2 == 0 {
                let _ = lease.wait_lost(0, None);
            }
            lease.unlock().expect("ours");
        }
    };
    round(2_000);
    let before = resident_bytes();
    round(10_000);
    let after = resident_bytes();
    assert!(after < before + (1 << 20), "{} kB more", (after - before) >> 10);
    handle.end();
}
