//! One shared engine per handle: connections, waiting, the safe Rust API.
//!
//! What callers see: `handle.rs`, `lease.rs`, `inspection.rs`, `events.rs`, `options.rs`, `error.rs`, `canceller.rs`.
//! How their threads work together: `shared.rs` (entering, leaving, closing), `owner.rs` (who keeps it open),
//! `blocking.rs` and `event_loop.rs` (the two ways of waiting), `handover.rs` (who polls), `driver.rs` (who does while
//! nobody waits). What the mutex guards: `state.rs`, with `queue.rs` of events and a `link.rs` per connection. Small
//! facts that all of these share: `cell.rs`, `outcome.rs`, `waiters.rs`, `loop_descriptors.rs`, `driver_thread.rs`.

mod acquaintance;
mod blocking;
mod canceller;
mod cell;
mod driver;
mod driver_thread;
mod entropy;
mod error;
mod event_loop;
mod events;
mod handle;
mod handover;
mod inspection;
mod lease;
mod link;
mod look;
mod loop_descriptors;

mod options;
mod outcome;
mod owner;
mod queue;
mod shared;
mod state;
mod sync;
mod waiters;

pub use canceller::Canceller;
pub use error::{Error, NodeDetail};
pub use events::{Event, Value};
pub use handle::{LockRequest, Redlock};
pub use inspection::{Holder, InspectedNode, Inspection};
pub use lease::Lease;
pub use options::{
    CONNECT_TIMEOUT_MS_RANGE, DRIFT_PPM_RANGE, KEY_BYTES_MAX, MAX_TTL_MS_RANGE, NODE_TIMEOUT_MS_RANGE, Options,
    Protocol, RETRY_DELAY_MS_RANGE, RETRY_JITTER_MS_RANGE, RestartGuard, SPIN_US_RANGE, STALL_TIMEOUT_MS_RANGE,
    TOKEN_BYTES_MAX, TTL_MS_RANGE, in_range,
};
pub use queue::Work;

pub use crate::core::operation::LeaseState;
