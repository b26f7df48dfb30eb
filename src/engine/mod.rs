//! One shared engine per handle: connections, waiting, the safe Rust face.
//!
//! `handle.rs`, `lease.rs`, `inspection.rs`, `options.rs` and `error.rs` are what callers see; `shared.rs` is what the
//! threads of a handle share, `owner.rs` who keeps it open, `canceller.rs` what ends a wait from outside, `blocking.rs` the blocking face, `handover.rs` who polls, `driver.rs` who does while nobody waits,
//! `loop_face.rs` the event-loop face, `events.rs` what it hands out, `state.rs` what the mutex guards, `link.rs` one
//! connection's life.

mod acquaintance;
mod blocking;
mod canceller;
mod cell;
mod driver;
mod driver_thread;
mod entropy;
mod error;
mod events;
mod handle;
mod handover;
mod inspection;
mod lease;
mod link;
mod look;
mod loop_descriptors;
mod loop_face;
mod options;
mod outcome;
mod owner;
mod queue;
mod shared;
mod state;
mod sync;

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
