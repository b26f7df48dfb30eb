//! Real redis-servers and faulty peers for the integration tests; `tests/net/fixture.rs` shows each in use.
//!
//! ```ignore
//! mod support;
//! use support::{Cluster, wait_for};
//!
//! let cluster = Cluster::start(5);
//! cluster[0].stop();                                  // SIGSTOP; cont(), kill(), restart()
//! let handle = Redlock::new(&cluster.urls(), &Options::default());
//! assert!(wait_for(Duration::from_secs(1), || cluster[0].get("key").is_none()));
//! ```
//! Everything ends with its value, also when the test panics; when the whole run is killed, the kernel ends the servers.
//!
//! `REDIS_SERVER` names another server binary (the matrix of `make test-servers`). `REDLOCK_TEST_NODES`, URLs separated
//! by commas, names servers that already run: a suite that only locks and asks takes its nodes from [`Cluster::given_or_start`]
//! and so runs against them too; a suite that stops, kills or configures servers always starts its own.
#![allow(dead_code, unused_imports, reason = "every test crate uses its own part of the fixture")]

pub mod locking;
pub mod node;
pub mod peer;
pub mod proxy;
pub mod resp;
pub mod spawn;
pub mod tls;
pub mod toxiproxy;

use std::ops::Index;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use node::{Node, ServerVersion, server_version};
pub use peer::Peer;
pub use proxy::Proxy;
pub use resp::{Conn, Reply};
pub use tls::Certificates;
pub use toxiproxy::{ToxicProxy, Toxiproxy};

/// Several masters that know nothing of each other.
pub struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    /// Starts `count` servers; they answer when this returns.
    pub fn start(count: usize) -> Cluster {
        Cluster::start_with(count, &[])
    }

    /// The same with further server arguments, such as `&["--requirepass", "x"]`. They come last, so they win.
    pub fn start_with(count: usize, arguments: &[&str]) -> Cluster {
        let nodes = (0..count).map(|_| Node::start(arguments)).collect();
        Cluster { nodes }
    }

    /// The servers that `REDLOCK_TEST_NODES` names, or else `count` servers of our own. Given servers are not
    /// flushed: use [`resource`] for names. Their `stop`, `kill` and `restart` panic.
    pub fn given_or_start(count: usize) -> Cluster {
        match std::env::var("REDLOCK_TEST_NODES") {
            Ok(urls) if !urls.is_empty() => Cluster { nodes: urls.split(',').map(Node::given).collect() },
            _ => Cluster::start(count),
        }
    }

    pub fn from_nodes(nodes: Vec<Node>) -> Cluster {
        Cluster { nodes }
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Node::url).collect()
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Node> {
        self.nodes.iter()
    }

    /// How many running nodes hold the key; stopped and killed ones are not asked.
    pub fn holding(&self, key: &str) -> usize {
        self.nodes.iter().filter(|node| node.is_running() && node.get(key).is_some()).count()
    }
}

impl Index<usize> for Cluster {
    type Output = Node;

    fn index(&self, index: usize) -> &Node {
        &self.nodes[index]
    }
}

/// A resource name that no other test, nor an earlier run on the same servers, uses.
pub fn resource(name: &str) -> String {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{name}-{}-{serial}-{:x}", std::process::id(), nanos & 0xffff_ffff)
}

/// Asks every 2 ms until the condition is true (true) or the time is over (false).
pub fn wait_for(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + timeout;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A directory that goes away with its value.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> TempDir {
        let path = std::env::temp_dir().join(resource("redlock"));
        std::fs::create_dir_all(&path).expect("a temporary directory");
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
