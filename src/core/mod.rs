//! The algorithm, without input or output: no sockets, threads, clocks or entropy.
//!
//! Time and randomness are arguments. The same machine runs under the blocking face, the event-loop face and the
//! simulator in `tests/`.

pub mod config;
pub mod report;
pub mod request;
pub mod stats;
pub mod time;
