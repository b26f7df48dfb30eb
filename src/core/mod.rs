//! The algorithm, without input or output: no sockets, threads, clocks or entropy.
//!
//! Time and randomness are arguments. The same machine runs under the blocking face, the event-loop face and the
//! simulator in `tests/`. Words in `request.rs`, `operation.rs` and `report.rs`; arithmetic in `quorum.rs` and
//! `validity.rs`; state in `node.rs`, `lease.rs`, `resources.rs` and `ops.rs`; behaviour in `machine.rs` and the files
//! named after operations.

pub mod census;
pub mod config;
pub mod entropy;
pub mod machine;
#[doc(hidden)]
pub mod mutant;
pub mod operation;
pub mod quorum;
pub mod redial;
pub mod report;
pub mod request;
pub mod stats;
pub mod time;
pub mod validity;

mod acquire;
#[cfg(test)]
mod acquire_tests;
mod auto;
mod extend;
mod fence;
mod guard;
mod inspect;
mod lease;
mod loss;
mod node;
mod ops;
#[cfg(test)]
mod parked_tests;
mod ready;
#[cfg(test)]
mod regression_tests;
mod release;
mod resources;
mod round;
#[cfg(test)]
mod scripted;
mod server_time;
mod state_hash;
mod timers;
mod wait;
