//! After many cycles there are no more descriptors, threads or bytes than before. A process of its own, since others
//! would open descriptors at the same time.

mod support;

use redlock::core::report::Status;
use redlock::engine::{LockRequest, Redlock};
use support::Cluster;
use support::locking::*;

/// `REDLOCK_TEST_CYCLES` raises it; the default suits a debug build.
const CYCLES: usize = 20_000;

fn count(directory: &str) -> usize {
    std::fs::read_dir(directory).expect("procfs").count()
}

/// One of everything that a handle does: success, contention, extension, refusal, questions, releases by token.
fn cycle(handle: &Redlock, turn: usize) {
    let key = format!("leak-{}", turn % 17);
    let lease = lock(handle, &key);
    match turn % 8 {
        0 => lease.extend(TTL_MS).expect("ours"),
        1 => {
            let error = handle.lock(&LockRequest { report_remaining: true, ..request(&key, 0) }).expect_err("held");
            assert_eq!(error.status, Status::NotAcquired);
        }
        2 => assert!(handle.inspect(key.as_bytes()).expect("answered").holder.is_some()),
        3 => {
            handle.unlock_token(key.as_bytes(), lease.token()).expect("ours");
            return;
        }
        4 => assert_eq!(handle.lock(&request(&key, 1)).expect_err("held").status, Status::NotAcquired),
        _ => {}
    }
    lease.unlock().expect("ours");
}

#[test]
fn many_cycles_leave_nothing_behind() {
    let cycles = std::env::var("REDLOCK_TEST_CYCLES").map_or(CYCLES, |cycles| cycles.parse().expect("a number"));
    let cluster = Cluster::start(3);
    let handle = connect(&cluster);
    (0..2_000).for_each(|turn| cycle(&handle, turn));
    let before = (count("/proc/self/fd"), count("/proc/self/task"), resident_bytes());
    (0..cycles).for_each(|turn| cycle(&handle, turn));
    let after = (count("/proc/self/fd"), count("/proc/self/task"), resident_bytes());
    assert_eq!((before.0, before.1), (after.0, after.1), "descriptors, threads");
    assert!(after.2 < before.2 + (2 << 20), "{} kB more", (after.2 - before.2) >> 10);
    assert_eq!(pending_releases(&handle), 0);

    // Handles come and go as well.
    for _ in 0..50 {
        let handle = connect(&cluster);
        cycle(&handle, 0);
        handle.end();
    }
    for _ in 0..50 {
        cycle(&connect(&cluster), 0);
    }
    assert_eq!(count("/proc/self/fd"), before.0, "descriptors");
    assert_eq!(count("/proc/self/task"), before.1, "threads");
    assert!(resident_bytes() < before.2 + (4 << 20), "{} kB more", (resident_bytes() - before.2) >> 10);
    for node in cluster.iter() {
        assert!(support::wait_for(std::time::Duration::from_secs(5), || node.client_list().len() == 1));
    }
}
