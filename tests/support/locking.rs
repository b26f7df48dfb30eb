//! What the lock tests have in common: handles, requests, and questions about what the servers really did.

use std::time::{Duration, Instant};

use redlock::engine::{Lease, LockRequest, Options, Redlock, RestartGuard};

use super::{Cluster, Node, wait_for};

/// Longer than any test: nothing expires by itself.
pub const TTL_MS: u64 = 60_000;

/// Far more than a busy machine needs for an answer, and the measure of "did not wait for a silent node".
pub const NODE_TIMEOUT_MS: u64 = 3_000;

/// Options for tests that are not about timeouts.
pub fn options() -> Options {
    Options {
        node_timeout_ms: NODE_TIMEOUT_MS,
        stall_timeout_ms: 4 * NODE_TIMEOUT_MS,
        connect_timeout_ms: NODE_TIMEOUT_MS,
        retry_delay_ms: 20,
        retry_jitter_ms: 20,
        // Tests restart servers and want their votes before a ttl has passed.
        restart_guard: RestartGuard::Off,
        ..Options::default()
    }
}

/// Options with timeouts that a test waits for.
pub fn short_options(node_timeout_ms: u64, stall_timeout_ms: u64) -> Options {
    Options { node_timeout_ms, stall_timeout_ms, connect_timeout_ms: 500, ..options() }
}

/// A handle that is connected to all nodes.
pub fn connect(cluster: &Cluster) -> Redlock {
    connect_with(&cluster.urls(), &options())
}

/// A handle that is connected to all these nodes.
pub fn connect_with(urls: &[String], options: &Options) -> Redlock {
    let handle = Redlock::new(urls, options).expect("valid options");
    assert!(wait_for(Duration::from_secs(10), || up_count(&handle) == urls.len()), "not all nodes come up");
    handle
}

/// How many nodes are connected and answer, after having looked.
pub fn up_count(handle: &Redlock) -> usize {
    let _ = handle.inspect(b"nobody's");
    let stats = handle.stats().expect("a handle of this process");
    stats.nodes.iter().map(|node| node.is_up as usize).sum()
}

/// How many releases are still owed, after having looked.
pub fn pending_releases(handle: &Redlock) -> u64 {
    let _ = handle.inspect(b"nobody's");
    handle.stats().expect("a handle of this process").nodes.iter().map(|node| node.pending_releases).sum()
}

pub fn request(resource: &str, wait_ms: i64) -> LockRequest {
    LockRequest { resource: resource.into(), ttl_ms: TTL_MS, wait_ms, ..LockRequest::default() }
}

/// Takes a lock at the first attempt.
#[track_caller]
pub fn lock(handle: &Redlock, resource: &str) -> Lease {
    handle.lock(&request(resource, 0)).unwrap_or_else(|error| panic!("{error}"))
}

/// Fails unless `work` takes less than the node timeout of [`options`]: it waited for no silent node.
#[track_caller]
pub fn at_the_speed_of_the_others<T>(work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = work();
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(NODE_TIMEOUT_MS), "took {took:?}");
    result
}

/// How often this server has run a command (`set`, `eval`, `del` …), by `INFO commandstats`.
pub fn calls(node: &Node, command: &str) -> u64 {
    let text = node.cli(&["INFO", "commandstats"]);
    let begin = format!("cmdstat_{command}:calls=");
    let line = text.lines().find_map(|line| line.strip_prefix(&begin));
    line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
}

/// Within a moment no running node has the key.
#[track_caller]
pub fn assert_gone(cluster: &Cluster, key: &str) {
    assert!(wait_for(Duration::from_secs(3), || cluster.holding(key) == 0), "{key} remains");
}

/// Resident memory of this process in bytes.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
}
