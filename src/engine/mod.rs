//! One shared engine per handle: connections, waiting, the safe Rust face.
//!
//! `handle.rs`, `lease.rs`, `inspection.rs`, `options.rs` and `error.rs` are what callers see; `shared.rs` is the
//! blocking call, `handover.rs` who polls, `state.rs` what the mutex guards, `link.rs` one connection's life.

mod entropy;
mod error;
mod handle;
mod handover;
mod inspection;
mod lease;
mod link;
pub mod options;
mod shared;
mod state;

pub use error::{Error, NodeDetail};
pub use handle::{LockRequest, Redlock};
pub use inspection::{Holder, InspectedNode, Inspection};
pub use lease::Lease;
pub use options::{Options, Protocol, RestartGuard};

pub use crate::core::operation::LeaseState;
