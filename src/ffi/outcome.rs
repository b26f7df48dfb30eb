//! Outcomes of single nodes
//!
//! What one node contributed to an operation that failed, or to an inspection. New numbers may be added.

use std::ffi::{CStr, c_char};

use super::read::read;
use crate::core::report::Outcome;
use crate::core::request::FaultKind;

/// There is no such node.
pub const REDLOCK_NODE_NONE: i32 = -1;
/// It did what was asked.
pub const REDLOCK_NODE_DONE: i32 = 0;
/// Another token holds the key there.
pub const REDLOCK_NODE_HELD: i32 = 1;
/// The key is absent there or another's.
pub const REDLOCK_NODE_NOT_MINE: i32 = 2;
/// The operation was decided before this node answered.
pub const REDLOCK_NODE_NOT_AWAITED: i32 = 3;
/// It answered, but came back empty so recently that its vote does not count yet.
pub const REDLOCK_NODE_GUARDED: i32 = 4;
/// It answered with an error that time may cure (LOADING, READONLY, OOM, ...).
pub const REDLOCK_NODE_REFUSED: i32 = 5;
/// It answered with an error that only a person can cure (WRONGPASS, NOPERM, WRONGTYPE, ...).
pub const REDLOCK_NODE_PERMANENT: i32 = 6;
/// It did not answer within the node timeout.
pub const REDLOCK_NODE_TIMEOUT: i32 = 7;
/// There is no connection to it.
pub const REDLOCK_NODE_UNREACHABLE: i32 = 8;
/// It does not speak the protocol of Redis.
pub const REDLOCK_NODE_PROTOCOL: i32 = 9;

/// An English phrase for one of the REDLOCK_NODE_ values. Never NULL; "unknown outcome" for other numbers. The
/// text is static. Any thread. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn redlock_node_outcome_text(outcome: i32) -> *const c_char {
    read(c"".as_ptr(), || phrase(outcome).as_ptr())
}

/// The number by which C knows this outcome.
pub(super) fn number(outcome: &Outcome) -> i32 {
    match outcome {
        Outcome::Done => REDLOCK_NODE_DONE,
        Outcome::Held(_) => REDLOCK_NODE_HELD,
        Outcome::NotMine => REDLOCK_NODE_NOT_MINE,
        Outcome::NotAwaited => REDLOCK_NODE_NOT_AWAITED,
        Outcome::Guarded(_) => REDLOCK_NODE_GUARDED,
        Outcome::Failed(fault) => match fault.kind {
            FaultKind::Refused => REDLOCK_NODE_REFUSED,
            FaultKind::Permanent => REDLOCK_NODE_PERMANENT,
            FaultKind::Timeout => REDLOCK_NODE_TIMEOUT,
            FaultKind::Unreachable => REDLOCK_NODE_UNREACHABLE,
            FaultKind::Protocol => REDLOCK_NODE_PROTOCOL,
        },
    }
}

/// The node's own words where it had any, else the phrase for its outcome.
pub(super) fn text(outcome: &Outcome) -> &[u8] {
    match outcome {
        Outcome::Guarded(why) => why.as_bytes(),
        Outcome::Failed(fault) => fault.text.as_bytes(),
        _ => phrase(number(outcome)).to_bytes(),
    }
}

fn phrase(outcome: i32) -> &'static CStr {
    match outcome {
        REDLOCK_NODE_NONE => c"no such node",
        REDLOCK_NODE_DONE => c"done",
        REDLOCK_NODE_HELD => c"held by another token",
        REDLOCK_NODE_NOT_MINE => c"not ours",
        REDLOCK_NODE_NOT_AWAITED => c"not awaited",
        REDLOCK_NODE_GUARDED => c"restarted, not counted yet",
        REDLOCK_NODE_REFUSED => c"refused",
        REDLOCK_NODE_PERMANENT => c"refused for good",
        REDLOCK_NODE_TIMEOUT => c"timeout",
        REDLOCK_NODE_UNREACHABLE => c"unreachable",
        REDLOCK_NODE_PROTOCOL => c"not the protocol of Redis",
        _ => c"unknown outcome",
    }
}
