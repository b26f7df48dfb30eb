//! Results
//!
//! The numbers are never reused. New ones may be added: treat an unknown negative number as a failure.

use std::ffi::c_char;

use super::read::read;
use crate::core::report::Status;

/// The result of a call: REDLOCK_OK or one of the REDLOCK_E_ values.
pub type redlock_status_t = i32;

/// Done.
pub const REDLOCK_OK: redlock_status_t = 0;
/// Somebody else holds the lock, or it was granted too late to be of use.
pub const REDLOCK_E_NOT_ACQUIRED: redlock_status_t = -1;
/// Too many nodes failed to form a quorum.
pub const REDLOCK_E_NO_QUORUM: redlock_status_t = -2;
/// The lease is over: expired, deleted, or never this token's. Stop the work that it protected.
pub const REDLOCK_E_LOST: redlock_status_t = -3;
/// redlock_cancel() or a canceller ended the operation.
pub const REDLOCK_E_CANCELLED: redlock_status_t = -4;
/// A signal ended the wait.
pub const REDLOCK_E_INTERRUPTED: redlock_status_t = -5;
/// An argument is NULL or out of its range.
pub const REDLOCK_E_INVALID: redlock_status_t = -6;
/// Requires operator intervention: a malformed URL, a wrong password, missing permissions on the nodes.
pub const REDLOCK_E_CONFIG: redlock_status_t = -7;
/// The handle belongs to the parent process.
pub const REDLOCK_E_FORKED: redlock_status_t = -8;
/// The request may or may not have been applied.
pub const REDLOCK_E_UNKNOWN: redlock_status_t = -9;
/// The handle is closed: redlock_close() or redlock_free() was called, before the call or during it.
pub const REDLOCK_E_CLOSED: redlock_status_t = -10;
/// A bug in libredlock: every later call on this handle returns the same status. Or the process has no descriptor or
/// thread to spare, which the message says: later calls work when it has.
pub const REDLOCK_E_INTERNAL: redlock_status_t = -11;

/// An English phrase for a status, such as "not acquired". Never NULL; "unknown status" for other numbers. The
/// text is static. redlock_error_message() says more. Any thread. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn redlock_status_text(status: redlock_status_t) -> *const c_char {
    read(c"".as_ptr(), || text(status).as_ptr())
}

/// The number by which C knows this status.
pub(super) fn number(status: Status) -> redlock_status_t {
    match status {
        Status::NotAcquired => REDLOCK_E_NOT_ACQUIRED,
        Status::NoQuorum => REDLOCK_E_NO_QUORUM,
        Status::Lost => REDLOCK_E_LOST,
        Status::Cancelled => REDLOCK_E_CANCELLED,
        Status::Interrupted => REDLOCK_E_INTERRUPTED,
        Status::Invalid => REDLOCK_E_INVALID,
        Status::Config => REDLOCK_E_CONFIG,
        Status::Forked => REDLOCK_E_FORKED,
        Status::Unknown => REDLOCK_E_UNKNOWN,
        Status::Closed => REDLOCK_E_CLOSED,
        Status::Internal => REDLOCK_E_INTERNAL,
    }
}

fn text(status: redlock_status_t) -> &'static std::ffi::CStr {
    match status {
        REDLOCK_OK => c"ok",
        REDLOCK_E_NOT_ACQUIRED => c"not acquired",
        REDLOCK_E_NO_QUORUM => c"no quorum",
        REDLOCK_E_LOST => c"lock lost",
        REDLOCK_E_CANCELLED => c"cancelled",
        REDLOCK_E_INTERRUPTED => c"interrupted by a signal",
        REDLOCK_E_INVALID => c"invalid argument",
        REDLOCK_E_CONFIG => c"configuration error",
        REDLOCK_E_FORKED => c"handle belongs to the parent process",
        REDLOCK_E_UNKNOWN => c"outcome unknown",
        REDLOCK_E_CLOSED => c"handle is closed",
        REDLOCK_E_INTERNAL => c"internal error",
        _ => c"unknown status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_one_number_and_the_same_words_on_both_sides() {
        let all = [
            Status::NotAcquired,
            Status::NoQuorum,
            Status::Lost,
            Status::Cancelled,
            Status::Interrupted,
            Status::Invalid,
            Status::Config,
            Status::Forked,
            Status::Unknown,
            Status::Closed,
            Status::Internal,
        ];
        for (index, status) in all.into_iter().enumerate() {
            assert_eq!(number(status), -1 - i32::try_from(index).expect("few"), "{status:?}");
            assert_eq!(text(number(status)).to_str(), Ok(status.text()));
        }
    }

    #[test]
    fn numbers_that_are_no_status_have_a_text_too() {
        for status in [1, -12, i32::MIN, i32::MAX] {
            assert_eq!(text(status), c"unknown status");
        }
    }
}
