//! Waiters of many processes: correct hand-overs, nobody left out, few requests; holders that die.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::locking::*;
use crate::support::{Cluster, TempDir, spawn, wait_for};
use redlock::engine::LockRequest;

/// A process that takes and gives back one lock again and again until its time is over. Whoever has the lock writes its
/// number into a file and must find it there a moment later. With a time of 0 it takes the lock once and keeps it.
#[test]
fn contender() {
    let Ok(order) = std::env::var("REDLOCK_TEST_CONTENDER") else { return };
    let words: Vec<&str> = order.split('|').collect();
    let [urls, key, register, ttl_ms, run_ms] = words[..] else { panic!("{order}") };
    let urls: Vec<String> = urls.split(',').map(str::to_owned).collect();
    let (ttl_ms, run_ms): (u64, u64) = (ttl_ms.parse().expect("ttl"), run_ms.parse().expect("run"));
    let register = File::options().read(true).write(true).open(register).expect("the register");
    let handle = connect_with(&urls, &options());
    if run_ms == 0 {
        let _lease = handle.lock(&LockRequest { ttl_ms, ..request(key, -1) }).expect("its turn");
        std::thread::sleep(Duration::from_secs(60));
    }
    let (mut rounds, mut slowest) = (0_u64, Duration::ZERO);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(run_ms) {
        let waiting = Instant::now();
        let lease = handle.lock(&LockRequest { ttl_ms, ..request(key, -1) }).expect("its turn");
        slowest = slowest.max(waiting.elapsed());
        let mut found = [0; 4];
        register.read_exact_at(&mut found, 0).expect("four bytes");
        assert_eq!(u32::from_ne_bytes(found), 0, "another is inside");
        register.write_all_at(&std::process::id().to_ne_bytes(), 0).expect("room");
        std::thread::yield_now();
        register.read_exact_at(&mut found, 0).expect("four bytes");
        assert_eq!(u32::from_ne_bytes(found), std::process::id(), "another came in");
        register.write_all_at(&[0; 4], 0).expect("room");
        lease.unlock().expect("ours");
        // A turn that comes only when the others have stopped is none.
        rounds += u64::from(begun.elapsed() < Duration::from_millis(run_ms));
    }
    println!("rounds={rounds} slowest_ms={}", slowest.as_millis());
}

fn start(cluster: &Cluster, key: &str, register: &str, ttl_ms: u64, run_ms: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("we are a file"));
    command.args(["--exact", "processes::contender", "--nocapture"]).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let urls = cluster.urls().join(",");
    command.env("REDLOCK_TEST_CONTENDER", format!("{urls}|{key}|{register}|{ttl_ms}|{run_ms}"));
    spawn::spawn(command).expect("it runs")
}

fn rounds(child: Child) -> u64 {
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    let line = text.split("rounds=").nth(1).unwrap_or_else(|| panic!("{text}"));
    line.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

fn contend(waiters: u64, run_ms: u64) {
    let (cluster, directory) = (Cluster::start(5), TempDir::new());
    let register = directory.path().join("register");
    std::fs::write(&register, [0; 4]).expect("a writable directory");
    let register = register.to_str().expect("UTF-8");
    let children: Vec<Child> = (0..waiters).map(|_| start(&cluster, "turns", register, TTL_MS, run_ms)).collect();
    let each: Vec<u64> = children.into_iter().map(rounds).collect();
    let handovers: u64 = each.iter().sum();
    let sets: u64 = cluster.iter().map(|node| calls(node, "set")).sum();
    println!(
        "{waiters} waiters: {handovers} hand-overs, {} to {} each, {:.1} SETs per hand-over",
        each.iter().min().unwrap_or(&0),
        each.iter().max().unwrap_or(&0),
        sets as f64 / handovers as f64
    );
    assert!(each.iter().all(|&rounds| rounds > 0), "somebody starves: {each:?}");
    // The winner asks every node.
    assert!(sets <= handovers * (3 * waiters + 5), "{sets} SETs for {handovers} hand-overs");
    assert_gone(&cluster, "turns");
}

#[test]
fn one_process_by_itself() {
    contend(1, 1_000);
}

#[test]
fn eight_processes_take_turns() {
    contend(8, 4_000);
}

#[test]
fn sixty_four_processes_take_turns() {
    contend(64, 15_000);
}

/// The servers announce expiry late when they have much to expire.
#[test]
fn the_lock_of_a_process_that_dies_is_had_when_its_time_is_over() {
    const DEAD_TTL_MS: u64 = 1_500;
    let (cluster, directory) = (Cluster::start(5), TempDir::new());
    for node in cluster.iter() {
        let mut conn = node.connect();
        for i in 0..10_000 {
            let (key, ttl_ms) = (format!("filler-{i}"), (1_000 + i % 4_000).to_string());
            conn.query(&[b"SET", key.as_bytes(), b"x", b"PX", ttl_ms.as_bytes()]).expect("OK");
        }
    }
    let register = directory.path().join("register");
    std::fs::write(&register, [0; 4]).expect("a writable directory");
    let register = register.to_str().expect("UTF-8");
    let handle = connect(&cluster);
    for _ in 0..3 {
        let mut holder = start(&cluster, "dead", register, DEAD_TTL_MS, 0);
        assert!(wait_for(Duration::from_secs(10), || cluster.holding("dead") == 5));
        let taken = Instant::now();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| handle.lock(&request("dead", -1)).expect("its turn"));
            std::thread::sleep(Duration::from_millis(300));
            holder.kill().expect("ours");
            holder.wait().expect("ours");
            let lease = waiting.join().expect("no panic");
            let took = taken.elapsed();
            println!("had {took:?} after it was taken for {DEAD_TTL_MS} ms");
            assert!(took < Duration::from_millis(DEAD_TTL_MS + 300), "{took:?}");
            assert!(took > Duration::from_millis(DEAD_TTL_MS - 300), "{took:?}");
            lease.unlock().expect("ours");
        });
    }
}

/// Processes end at any moment, in the middle of a wait as well as holding the lock.
#[test]
fn processes_killed_at_any_moment_leave_nothing_that_outlives_their_ttl() {
    const SHORT_TTL_MS: u64 = 400;
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    let end = Instant::now() + Duration::from_secs(6);
    let (mut killed, mut pause_ms) = (0, 7);
    // Their register is nobody's: a killed one leaves its number behind.
    let mut children: Vec<(Child, TempDir)> = Vec::new();
    let begin = || {
        let own = TempDir::new();
        let file = own.path().join("register");
        std::fs::write(&file, [0; 4]).expect("a writable directory");
        (start(&cluster, "killed", file.to_str().expect("UTF-8"), SHORT_TTL_MS, 60_000), own)
    };
    (0..6).for_each(|_| children.push(begin()));
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(pause_ms));
        pause_ms = (pause_ms * 13 + 5) % 61;
        let (mut child, _own) = children.remove(0);
        child.kill().expect("ours");
        child.wait().expect("ours");
        killed += 1;
        children.push(begin());
    }
    for (mut child, _own) in children {
        child.kill().expect("ours");
        child.wait().expect("ours");
    }
    println!("{killed} killed");
    assert!(wait_for(Duration::from_millis(SHORT_TTL_MS + 500), || cluster.holding("killed") == 0));
    lock(&handle, "killed").unlock().expect("free");
    for node in cluster.iter() {
        assert!(wait_for(Duration::from_secs(5), || node.client_list().len() <= 1 + handle.node_count()));
    }
}
