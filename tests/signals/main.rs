//! Signals: a process of its own, because handlers and masks belong to the process.

mod sleeps;
#[path = "../support/mod.rs"]
mod support;
mod waits;
