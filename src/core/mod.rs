//! The algorithm, without input or output: no sockets, threads, clocks or entropy.
//!
//! Time and randomness are arguments. The same machine runs under the blocking API, the event-loop API and the
//! simulator in `tests/`. Three floors: pure rules and words in the files beside this one, what is remembered in `state/`,
//! what is done in `machine/`. Each uses the floors below it.

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

mod state;
