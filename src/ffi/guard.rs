//! No panic leaves a C function.
//!
//! Every exported function runs in [`guard`] (it returns a status) or in [`read`](super::read::read) (it returns a value, or
//! nothing).
//! The type `Poison` is how a handle remembers that a defect showed while it was in use.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::error::ErrorOut;
use super::read::failure;
use super::status::{self, REDLOCK_E_INTERNAL, REDLOCK_OK, redlock_status_t};
use crate::core::report::Status;
use crate::engine::Error;

/// Runs the body of a function that can fail; writes the error object if one is wanted.
pub(super) fn guard(error: ErrorOut, body: impl FnOnce() -> Result<(), Error>) -> redlock_status_t {
    // What a panic may have left half done is not used again: `Poison` sees to it for handles and leases, and the
    // setters of options and requests finish their work before they touch the object.
    let result = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(defect(panic)));
    let Err(failure) = result else { return REDLOCK_OK };
    catch_unwind(AssertUnwindSafe(|| {
        let number = status::number(failure.status);
        error.put(failure);
        number
    }))
    .unwrap_or(REDLOCK_E_INTERNAL)
}

fn defect(panic: Box<dyn Any + Send>) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    failure(Status::Internal, text.unwrap_or("panic"))
}

/// Whether a defect showed inside a handle. What it guards must not be relied on afterwards.
#[derive(Debug, Default)]
pub(super) struct Poison(AtomicBool);

impl Poison {
    /// To be held while the handle is used; refused after a defect.
    pub(super) fn enter(&self) -> Result<Inside<'_>, Error> {
        if self.0.load(Ordering::Relaxed) {
            return Err(failure(Status::Internal, "a defect showed earlier in this handle"));
        }
        Ok(Inside { poison: self, was_panicking: thread::panicking() })
    }
}

/// Poisons its handle if a panic passes by.
pub(super) struct Inside<'a> {
    poison: &'a Poison,
    was_panicking: bool,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if !self.was_panicking && thread::panicking() {
            self.poison.0.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::invalid;
    use super::*;

    fn status_of(body: impl FnOnce() -> Result<(), Error>) -> redlock_status_t {
        guard(ErrorOut::unwanted(), body)
    }

    #[test]
    fn a_panic_becomes_a_status_and_poisons_its_handle_for_good() {
        let poison = Poison::default();
        let enter = || poison.enter().map(drop);
        assert_eq!(status_of(enter), REDLOCK_OK);
        let status = status_of(|| {
            let _inside = poison.enter()?;
            panic!("a defect made for this test");
        });
        assert_eq!(status, REDLOCK_E_INTERNAL);
        assert_eq!(status_of(enter), REDLOCK_E_INTERNAL);
    }

    #[test]
    fn an_ordinary_failure_poisons_nothing() {
        let poison = Poison::default();
        let status = status_of(|| {
            let _inside = poison.enter()?;
            Err(invalid("ttl_ms is 0"))
        });
        assert_eq!(status, status::REDLOCK_E_INVALID);
        assert!(poison.enter().is_ok());
    }
}
