//! The primitives that `handover.rs` stands on. A test compiles that very file against a model checker's instead.

pub(crate) use std::sync::{Arc, Mutex};

pub(crate) use crate::net::sys::{FutexWait, SleepWord as Word};
