//! What is said to a node and what its words mean, without any input or output.
//!
//! Bytes go in and out as slices; who reads and writes them is `src/net`, when is `src/core`. The files, in the order
//! in which a connection uses them:
//!
//! - [`url`]: a node's URL, as address, credentials and a label that people may see
//! - [`handshake`]: from a fresh connection to one that is ready for requests
//! - [`dialect`]: which of a server's commands are used where several would do
//! - [`command`], `scripts`, [`counter`]: requests as bytes
//! - [`frame`]: cuts whole frames from a stream that may be hostile
//! - [`reply`], `error`: whole frames as replies, faults and pushes
//!
//! The `redis` crate packs commands, parses URLs and parses values. Its connection is not used, and its value parser
//! only sees frames that [`frame`] has found complete, shallow and small: on a raw stream it can be brought to accept
//! garbage (`xx+OK` fed bytewise) or to exhaust the stack.

pub mod command;
pub mod counter;
pub mod dialect;
mod error;
pub mod foreign;
pub mod frame;
pub mod handshake;
pub mod reply;
mod scripts;
pub mod url;
