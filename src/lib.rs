//! Distributed locks over N independent Redis masters (the Redlock algorithm).
//!
//! A lock is a lease: a key that a majority of the nodes hold for a TTL. It may be used until a moment that this library
//! computes from this machine's clock; after that another client may hold it. The nodes must be independent masters: no
//! replicas, no cluster, no eviction. The command `redlock doctor` checks them.
//!
//! # Take a lock
//!
//! ```
//! use redlock::core::report::Status;
//! use redlock::engine::{LockRequest, Options, Redlock};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # // `tools/servers run 3 -- cargo test --doc` names nodes; without it only the compiler reads the example.
//! # let Ok(listed) = std::env::var("REDLOCK_NODES") else { return Ok(()) };
//! # let nodes: Vec<&str> = listed.split(',').collect();
//! # /*
//! let nodes = ["redis://10.0.0.1", "redis://10.0.0.2", "redis://10.0.0.3"];
//! # */
//! // Connects in the background: nodes may be down now and start later.
//! let locks = Redlock::new(&nodes, &Options::default())?;
//!
//! let resource = b"doc/orders/42".to_vec();
//! let request = LockRequest { resource, ttl_ms: 10_000, wait_ms: 5_000, ..LockRequest::default() };
//! let lease = locks.lock(&request)?;
//!
//! // The lock excludes everybody else, other callers of this handle included.
//! let second = locks.lock(&LockRequest { wait_ms: 0, ..request });
//! assert_eq!(second.unwrap_err().status, Status::NotAcquired);
//!
//! // Check before each step: once the time is over, another client may hold the lock.
//! assert!(lease.remaining_ms() > 0);
//!
//! // Dropping a lease does not release the lock: it stays taken until its TTL expires.
//! lease.unlock()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Long work
//!
//! A lease with `auto_extend` renews itself until it is released, dropped or lost. A holder that was suspended for longer
//! than its TTL can still write late. Only the resource can refuse that write: pass the fencing token along and have it
//! refuse every token smaller than the largest it has seen.
//!
//! ```
//! use redlock::engine::{LeaseState, LockRequest, Options, Redlock};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let Ok(listed) = std::env::var("REDLOCK_NODES") else { return Ok(()) };
//! # let nodes: Vec<&str> = listed.split(',').collect();
//! # let locks = Redlock::new(&nodes, &Options::default())?;
//! let lease = locks.lock(&LockRequest {
//!     resource: b"doc/reports/nightly".to_vec(),
//!     ttl_ms: 500,
//!     wait_ms: -1, // without limit
//!     auto_extend: true,
//!     fence: true,
//!     ..LockRequest::default()
//! })?;
//! let fence = lease.fence().expect("the request asked for one");
//!
//! // Longer than the TTL: the lease is still held, because it extends itself.
//! assert!(!lease.wait_lost(1_000, None)?);
//! assert_eq!(lease.state(), LeaseState::Held);
//! lease.unlock()?;
//! # assert!(fence > 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Event loops
//!
//! The same handle works without blocking. [`fd`](engine::Redlock::fd) is one descriptor to poll for reading; when it is
//! readable, [`process`](engine::Redlock::process) does what is due and
//! [`next_event`](engine::Redlock::next_event) returns what happened. Nothing is called back.
//!
//! ```
//! use redlock::engine::{Event, LockRequest, Options, Redlock, Value};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let Ok(listed) = std::env::var("REDLOCK_NODES") else { return Ok(()) };
//! # let nodes: Vec<&str> = listed.split(',').collect();
//! # let locks = Redlock::new(&nodes, &Options::default())?;
//! let resource = b"doc/loop".to_vec();
//! locks.submit_lock(&LockRequest { resource, ttl_ms: 10_000, wait_ms: 5_000, tag: 7, ..LockRequest::default() })?;
//! let lease = loop {
//!     // A real loop polls `locks.fd()?` together with its other descriptors.
//!     std::thread::sleep(std::time::Duration::from_millis(1));
//!     locks.process()?;
//!     if let Some(Event::Done { tag: 7, result, .. }) = locks.next_event()? {
//!         match result? {
//!             Value::Lease(lease) => break lease,
//!             other => unreachable!("a lock ends with a lease: {other:?}"),
//!         }
//!     }
//! };
//! lease.unlock()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! Every failed call returns an [`Error`](engine::Error): a [`Status`](core::report::Status) for programs, one line for
//! people, and the outcome of each node that was involved.
//!
//! ```
//! use redlock::core::report::Status;
//! use redlock::engine::{LockRequest, Options, Redlock};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Nobody listens there.
//! let locks = Redlock::new(&["redis://127.0.0.1:1"], &Options::default())?;
//! let request = LockRequest { resource: b"doc/x".to_vec(), ttl_ms: 1_000, ..LockRequest::default() };
//! let error = locks.lock(&request).unwrap_err();
//! assert_eq!(error.status, Status::NoQuorum);
//! assert_eq!(&*error.nodes[0].url, "redis://127.0.0.1:1");
//! println!("{error}");
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! `tls` (on by default): `rediss://` and `valkeys://` URLs.
//!
//! # Modules
//!
//! [`engine`] is the API for Rust programs. [`core`] has the words that it uses, such as
//! [`Status`](core::report::Status), and the algorithm itself. [`ffi`] is the C ABI, whose manual is
//! `include/redlock.h`. `ARCHITECTURE.md` says which module may call which. While the version is 0.x, a minor version may
//! change the Rust API.
#![deny(missing_docs)]
#![deny(unsafe_code)]

pub mod core;
pub mod engine;
pub mod ffi;
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod redis;
