//! Takes a lock, sees that it excludes others, and releases it. The nodes come from `REDLOCK_NODES`, separated by commas:
//!
//! ```sh
//! tools/servers run 3 -- cargo run --example lock
//! ```

use redlock::core::report::Status;
use redlock::engine::{Error, LockRequest, Options, Redlock};

fn main() -> Result<(), String> {
    let nodes = std::env::var("REDLOCK_NODES").map_err(|_| "REDLOCK_NODES names no nodes".to_owned())?;
    let nodes: Vec<&str> = nodes.split(',').collect();
    run(&nodes).map_err(|error| error.message)
}

fn run(nodes: &[&str]) -> Result<(), Error> {
    let locks = Redlock::new(nodes, &Options::default())?;
    let request =
        LockRequest { resource: b"orders/42".to_vec(), ttl_ms: 10_000, wait_ms: 5_000, ..LockRequest::default() };
    let lease = locks.lock(&request)?;
    println!("locked on {} of {} nodes", lease.node_count_held(), locks.node_count());

    // One attempt: somebody else holds the lock, and that is us.
    let second = locks.lock(&LockRequest { wait_ms: 0, ..request });
    assert!(matches!(second, Err(ref error) if error.status == Status::NotAcquired), "the lock excludes nobody");

    // Before each step of long work. When the time is over, another client may hold the lock.
    assert!(lease.remaining_ms() > 0, "the lease is over");
    lease.unlock()?;
    println!("released");
    Ok(())
}
