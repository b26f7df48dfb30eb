//! Functions that cannot fail, and failures in words: what everything else of the C ABI stands on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::core::report::Status;
use crate::engine::Error;

/// Runs the body of a function that cannot fail; `neutral` is its answer in case of a defect.
pub(super) fn read<T>(neutral: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(neutral)
}

/// An argument that is out of its range, in words: "ttl_ms is 0".
pub(super) fn invalid(detail: impl AsRef<str>) -> Error {
    failure(Status::Invalid, detail.as_ref())
}

/// A failure without nodes.
pub(super) fn failure(status: Status, detail: &str) -> Error {
    Error { status, message: format!("{}: {detail}", status.text()), nodes: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_getter_is_its_neutral_value() {
        assert_eq!(read(7, || panic!("a defect made for this test")), 7);
    }
}
