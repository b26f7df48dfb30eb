//! The only home of pointer casts: what C holds, and how it gets in and out.
//!
//! Objects are boxed. The handle is an `Arc`, because `redlock_free` may be called while other threads are inside: each
//! of them holds a count of its own until it is out.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use super::read::invalid;
use crate::engine::Error;

/// What C may hold: usable from any thread.
pub(super) trait Object: Send + Sync + 'static {}
impl<T: Send + Sync + 'static> Object for T {}

/// Hands an object to C, which gives it back to [`take`].
pub(super) fn give<T: Object>(object: T) -> *mut T {
    Box::into_raw(Box::new(object))
}

/// Takes an object back; nothing for NULL.
///
/// # Safety
/// `pointer` is NULL or comes from [`give`] and is not used again.
pub(super) unsafe fn take<T: Object>(pointer: *mut T) -> Option<Box<T>> {
    // SAFETY: it comes from `Box::into_raw`, and this is its only return.
    (!pointer.is_null()).then(|| unsafe { Box::from_raw(pointer) })
}

/// Hands a shared object to C, which gives it back to [`take_shared`].
pub(super) fn give_shared<T: Object>(object: Arc<T>) -> *mut T {
    Arc::into_raw(object).cast_mut()
}

/// Takes C's count of a shared object back; nothing for NULL.
///
/// # Safety
/// `pointer` is NULL or comes from [`give_shared`] and is not used again.
pub(super) unsafe fn take_shared<T: Object>(pointer: *mut T) -> Option<Arc<T>> {
    // SAFETY: it comes from `Arc::into_raw`, and this is the return of that count.
    (!pointer.is_null()).then(|| unsafe { Arc::from_raw(pointer) })
}

/// A count of one's own of a shared object that C holds.
///
/// # Safety
/// `pointer` is NULL or comes from [`give_shared`] and is not freed before this returns.
pub(super) unsafe fn share<T: Object>(pointer: *const T, name: &str) -> Result<Arc<T>, Error> {
    if pointer.is_null() {
        return Err(null(name));
    }
    // SAFETY: it comes from `Arc::into_raw` and C's own count is still there.
    Ok(unsafe {
        Arc::increment_strong_count(pointer);
        Arc::from_raw(pointer)
    })
}

/// An object, for a getter; nothing for NULL.
///
/// # Safety
/// `pointer` is NULL or a live object that nobody changes during `'a`, which the caller ends before it returns to C.
pub(super) unsafe fn look<'a, T: Object>(pointer: *const T) -> Option<&'a T> {
    // SAFETY: as promised.
    unsafe { pointer.as_ref() }
}

/// An object that must be there.
///
/// # Safety
/// As for [`look`].
pub(super) unsafe fn borrow<'a, T: Object>(pointer: *const T, name: &str) -> Result<&'a T, Error> {
    // SAFETY: as promised.
    unsafe { look(pointer) }.ok_or_else(|| null(name))
}

/// An object that must be there, to be changed.
///
/// # Safety
/// As for [`look`], and nobody else uses the object during `'a`.
pub(super) unsafe fn borrow_mut<'a, T: Object>(pointer: *mut T, name: &str) -> Result<&'a mut T, Error> {
    // SAFETY: as promised.
    unsafe { pointer.as_mut() }.ok_or_else(|| null(name))
}

/// A string that must be there, as bytes.
///
/// # Safety
/// `pointer` is NULL or a string that ends with NUL and is not changed during `'a`.
pub(super) unsafe fn string<'a>(pointer: *const c_char, name: &str) -> Result<&'a [u8], Error> {
    // SAFETY: as promised.
    unsafe { optional_string(pointer) }.ok_or_else(|| null(name))
}

/// A string as bytes; nothing for NULL.
///
/// # Safety
/// As for [`string`].
pub(super) unsafe fn optional_string<'a>(pointer: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: not NULL, else as promised.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_bytes())
}

/// `length` bytes; NULL stands for none of them.
///
/// # Safety
/// `pointer` is NULL or the first of `length` bytes that are not changed during `'a`.
pub(super) unsafe fn bytes<'a>(pointer: *const c_void, length: usize, name: &str) -> Result<&'a [u8], Error> {
    // SAFETY: as promised.
    unsafe { list(pointer.cast::<u8>(), length, name) }
}

/// `length` elements; NULL stands for none of them.
///
/// # Safety
/// `pointer` is NULL or the first of `length` elements that are not changed during `'a`.
pub(super) unsafe fn list<'a, T>(pointer: *const T, length: usize, name: &str) -> Result<&'a [T], Error> {
    if length == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(null(name));
    }
    // What `from_raw_parts` asks for; -1 in a size_t is the likely way here.
    if length > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(invalid(format!("{name} cannot have {length} elements")));
    }
    // SAFETY: not NULL, of a possible size, else as promised.
    Ok(unsafe { slice::from_raw_parts(pointer, length) })
}

/// Where C wants a new object; known to be there before any work begins.
pub(super) struct Out<T>(NonNull<*mut T>);

impl<T: Object> Out<T> {
    /// # Safety
    /// `place` is NULL or may be written until the call from C returns.
    pub(super) unsafe fn new(place: *mut *mut T, name: &str) -> Result<Out<T>, Error> {
        NonNull::new(place).map(Out).ok_or_else(|| null(name))
    }

    /// Writes a pointer from [`give`] or [`give_shared`].
    pub(super) fn put(self, object: *mut T) {
        // SAFETY: as promised to `new`. `write` reads nothing: what was there may be uninitialised.
        unsafe { self.0.write(object) }
    }
}

/// Writes a number where it is wanted.
///
/// # Safety
/// `place` is NULL or may be written.
pub(super) unsafe fn put_number(place: *mut usize, number: usize) {
    if let Some(place) = NonNull::new(place) {
        // SAFETY: as promised.
        unsafe { place.write(number) }
    }
}

/// Where C wants several new objects.
pub(super) struct Places<T> {
    first: *mut *mut T,
    capacity: usize,
    count: usize,
}

impl<T: Object> Places<T> {
    /// # Safety
    /// `first` is NULL or the first of `capacity` places that may be written until the call from C returns.
    pub(super) unsafe fn new(first: *mut *mut T, capacity: usize) -> Result<Places<T>, Error> {
        if first.is_null() && capacity > 0 {
            return Err(null("events"));
        }
        Ok(Places { first, capacity, count: 0 })
    }

    pub(super) fn is_full(&self) -> bool {
        self.count == self.capacity
    }

    /// Writes a pointer from [`give`] to the next place; there must be one.
    pub(super) fn put(&mut self, object: *mut T) {
        assert!(!self.is_full(), "the caller has asked");
        // SAFETY: one of the places promised to `new`.
        unsafe { self.first.add(self.count).write(object) }
        self.count += 1;
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }
}

/// Bytes with a NUL behind them, for getters that return them.
#[derive(Debug)]
pub(super) struct Terminated(Box<[u8]>);

impl Terminated {
    pub(super) fn new(bytes: impl AsRef<[u8]>) -> Terminated {
        let bytes = bytes.as_ref();
        let mut terminated = Vec::with_capacity(bytes.len() + 1);
        terminated.extend_from_slice(bytes);
        terminated.push(0);
        Terminated(terminated.into())
    }

    pub(super) fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }

    /// The pointer, and the length without the NUL where it is wanted.
    ///
    /// # Safety
    /// `length` is NULL or may be written.
    pub(super) unsafe fn with_length(&self, length: *mut usize) -> *const c_char {
        // SAFETY: as promised.
        unsafe { put_number(length, self.0.len() - 1) };
        self.as_ptr()
    }
}

fn null(name: &str) -> Error {
    invalid(format!("{name} is NULL"))
}
