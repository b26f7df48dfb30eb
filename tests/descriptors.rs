//! Many descriptors, and none left. A process of its own: what is scarce here is scarce for everybody.

mod support;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

use redlock::core::report::Status;
use redlock::engine::Redlock;
use support::locking::*;
use support::{Cluster, wait_for};

fn limit(soft: Option<u64>) -> u64 {
    // SAFETY: plain calls with a local of the right type.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        if let Some(soft) = soft {
            limit.rlim_cur = soft.min(limit.rlim_max);
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
        }
        limit.rlim_cur
    }
}

fn open() -> File {
    File::open("/dev/null").expect("a descriptor")
}

#[test]
fn descriptors_above_1024_work_and_missing_ones_are_errors() {
    let cluster = Cluster::start(3);
    let before = limit(None);

    if limit(Some(3_000)) >= 3_000 {
        let many: Vec<File> = (0..2_000).map(|_| open()).collect();
        let handle = connect(&cluster);
        assert!(open().as_raw_fd() > 1_024);
        let lease = lock(&handle, "high");
        lease.extend(TTL_MS).expect("ours");
        lease.unlock().expect("ours");
        drop(many);
    }
    limit(Some(before));

    let handle = connect(&cluster);
    let next = open().as_raw_fd();
    // Nothing at or above the next free descriptor may be opened.
    limit(Some(next as u64));
    let error = Redlock::new(&cluster.urls(), &options()).expect_err("no descriptor");
    assert_eq!(error.status, Status::Internal, "{error}");
    assert!(error.message.contains("open files"), "{error}");
    lock(&handle, "none").unlock().expect("open connections go on");

    // One descriptor suffices for the handle, not for its connections.
    limit(Some(next as u64 + 1));
    let poor = Redlock::new(&cluster.urls(), &options()).expect("one descriptor");
    let error = at_the_speed_of_the_others(|| poor.lock(&request("none", 0))).expect_err("no connection");
    assert_eq!(error.status, Status::NoQuorum, "{error}");
    assert!(error.message.contains("open files"), "{error}");

    // The connections of the first handle end, and cannot be made again for now.
    limit(Some(before));
    cluster.iter().for_each(support::Node::restart);
    limit(Some(next as u64 - 3));
    let error = at_the_speed_of_the_others(|| handle.lock(&request("none", 0))).expect_err("no connection");
    limit(Some(before));
    assert_eq!(error.status, Status::NoQuorum, "{error}");
    assert!(error.message.contains("open files"), "{error}");
    assert!(wait_for(Duration::from_secs(10), || up_count(&handle) == 3 && up_count(&poor) == 3));
    lock(&handle, "again").unlock().expect("there are descriptors again");
    lock(&poor, "again").unlock().expect("there are descriptors again");
}
