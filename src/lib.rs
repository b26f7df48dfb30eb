//! Distributed locks over N independent Redis masters.
//!
//! The rooms and the direction in which they may call each other are in `ARCHITECTURE.md`.
#![deny(missing_docs)]
#![deny(unsafe_code)]

pub mod core;
pub mod engine;
pub mod ffi;
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod redis;
