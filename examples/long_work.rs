//! Long work under a lock that extends itself, with a number that grows from holder to holder. The nodes come from
//! `REDLOCK_NODES`, separated by commas:
//!
//! ```sh
//! tools/servers run 3 -- cargo run --example long_work
//! ```

use std::time::Duration;

use redlock::engine::{Error, LeaseState, LockRequest, Options, Redlock};

fn main() -> Result<(), String> {
    let nodes = std::env::var("REDLOCK_NODES").map_err(|_| "REDLOCK_NODES names no nodes".to_owned())?;
    let nodes: Vec<&str> = nodes.split(',').collect();
    run(&nodes).map_err(|error| error.message)
}

fn run(nodes: &[&str]) -> Result<(), Error> {
    let locks = Redlock::new(nodes, &Options::default())?;
    let lease = locks.lock(&LockRequest {
        resource: b"reports/nightly".to_vec(),
        ttl_ms: 1_000,
        wait_ms: -1,
        auto_extend: true,
        fence: true,
        ..LockRequest::default()
    })?;
    let fence = lease.fence().expect("a fence was asked for");

    // Longer than the ttl: without extension the lock would be over after the third step.
    for step in 1..=5 {
        if lease.state() != LeaseState::Held {
            println!("lost: stop before step {step}");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(300));
        println!("step {step}, written with fence {fence}");
    }
    lease.unlock()?;
    println!("done");
    Ok(())
}
