//! Version
//!
//! The macros tell which header a program was compiled with, the functions which library it runs with. Both
//! come from the same place. Libraries of one major version run programs made for an older one.

use std::ffi::c_char;

use super::read::read;

/// The version of the library as a number, comparable with REDLOCK_VERSION_NUMBER. Any thread. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn redlock_version_number() -> u32 {
    const NUMBER: u32 = digits(env!("CARGO_PKG_VERSION_MAJOR")) * 1_000_000
        + digits(env!("CARGO_PKG_VERSION_MINOR")) * 1_000
        + digits(env!("CARGO_PKG_VERSION_PATCH"));
    read(0, || NUMBER)
}

/// The version of the library as text, such as "0.1.0". Static, never NULL. Any thread. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn redlock_version() -> *const c_char {
    read(c"".as_ptr(), || concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast())
}

/// 1 if the library was built with TLS, so that it takes `rediss://` and `valkeys://` URLs, else 0. Any thread. Waits:
/// never. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn redlock_has_tls() -> i32 {
    read(0, || i32::from(cfg!(feature = "tls")))
}

const fn digits(text: &str) -> u32 {
    match u32::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => panic!("cargo checks versions"),
    }
}
