//! Numbers that C passes, within their ranges.

use std::ops::RangeInclusive;

use super::read::invalid;
use crate::engine::{Error, in_range};

/// A number within its range, which is named otherwise.
pub(super) fn checked(value: u64, range: &RangeInclusive<u64>, name: &str) -> Result<u64, Error> {
    in_range(name, value, range).map_err(invalid)?;
    Ok(value)
}

/// 0 or 1.
pub(super) fn yes_or_no(value: i32, name: &str) -> Result<bool, Error> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(invalid(format!("{name} is {value}, not 0 or 1"))),
    }
}

/// -1 and more.
pub(super) fn check_timeout(timeout_ms: i64) -> Result<(), Error> {
    if timeout_ms < -1 {
        return Err(invalid(format!("timeout_ms is {timeout_ms}; it must be -1 or more")));
    }
    Ok(())
}
