//! What is remembered between two inputs. Nothing here decides what is done next; that is `machine/`.

pub mod auto;
pub mod fencing;
pub mod lease;
pub mod node;
pub mod ops;
pub mod process;
pub mod resources;
pub mod round;
pub mod server_time;
pub mod timers;
pub mod watch;
