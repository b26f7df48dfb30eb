//! Locks on real servers: what a caller of the Rust API sees, with faults and without.

mod adversary;
mod errors;
mod event_loop;
mod extension;
mod fencing;
mod guard;
mod hostile_peers;
mod node_faults;
mod processes;
mod pushes;
mod quorum;
mod rights;
mod secrets;
#[path = "../support/mod.rs"]
mod support;
mod threads;
mod tokens;
mod transport;
mod wait_faults;
mod wrong_ports;
