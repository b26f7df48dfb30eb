//! Options
//!
//! How a handle behaves, for redlock_new(), which copies them. Every setter checks its range at once, and on
//! REDLOCK_E_INVALID leaves the options as they were. The options themselves must not be NULL; strings are copied,
//! and NULL unsets them. What belongs together (a certificate and its key) is checked by redlock_new().

use std::ffi::{OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

use super::arguments::{checked, yes_or_no};
use super::error::ErrorOut;
use super::guard::guard;
use super::pointer::{borrow_mut, bytes, give, optional_string, take};
use super::read::{invalid, read};
use super::request::REDLOCK_NO_LIMIT;
use super::status::redlock_status_t;
use crate::engine::{
    CONNECT_TIMEOUT_MS_RANGE, DRIFT_PPM_RANGE, Error, MAX_TTL_MS_RANGE, NODE_TIMEOUT_MS_RANGE, Options, Protocol,
    RETRY_DELAY_MS_RANGE, RETRY_JITTER_MS_RANGE, RestartGuard, SPIN_US_RANGE, STALL_TIMEOUT_MS_RANGE,
};

/// How a handle behaves.
///
/// Lifetime: independent of the handles made with it.
/// Threads: any number of threads may make handles with it at once; setters and redlock_options_free() need it
/// alone.
/// Freed by: redlock_options_free().
pub struct redlock_options_t {
    pub(super) engine: Options,
}

/// redlock_options_set_protocol(): RESP3 where the server has it, else RESP2. The default.
pub const REDLOCK_PROTOCOL_AUTO: i32 = 0;
/// redlock_options_set_protocol(): RESP2. Waiters are not woken by servers then.
pub const REDLOCK_PROTOCOL_RESP2: i32 = 2;
/// redlock_options_set_protocol(): RESP3, and a server without it is an error.
pub const REDLOCK_PROTOCOL_RESP3: i32 = 3;

/// redlock_options_set_restart_guard(): a restarted node votes at once.
pub const REDLOCK_GUARD_OFF: i32 = 0;
/// redlock_options_set_restart_guard(): a node that restarts while this handle knows it does not vote before
/// all leases that it may have forgotten are over. A handle made after the restart does not know of it. The
/// default.
pub const REDLOCK_GUARD_SEEN: i32 = 1;
/// redlock_options_set_restart_guard(): a node votes only when it has certainly been running for max_ttl_ms:
/// this handle has known it for so long, or it says so and its clock agrees with a quorum of clocks to 500 ms. A
/// node whose maxmemory-policy evicts keys, or that hides INFO, is refused. Needs max_ttl_ms.
pub const REDLOCK_GUARD_STRICT: i32 = 2;

/// New options, all at their defaults. Never NULL, except after a defect in the library. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn redlock_options_new() -> *mut redlock_options_t {
    read(ptr::null_mut(), || give(redlock_options_t { engine: Options::default() }))
}

/// Frees options. NULL is allowed. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_free(options: *mut redlock_options_t) {
    // SAFETY: options of the caller's, not used again, or NULL.
    read((), || drop(unsafe { take(options) }));
}

/// A node that has not answered after this many milliseconds is not waited for, and gets no new locks until it
/// has answered. Default 100. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_node_timeout_ms(
    options: *mut redlock_options_t,
    node_timeout_ms: u64,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        engine.node_timeout_ms = checked(node_timeout_ms, &NODE_TIMEOUT_MS_RANGE, "node_timeout_ms")?;
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// A connection on which an answer is due for longer than this many milliseconds is given up. Default 2000.
/// Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_stall_timeout_ms(
    options: *mut redlock_options_t,
    stall_timeout_ms: u64,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        engine.stall_timeout_ms = checked(stall_timeout_ms, &STALL_TIMEOUT_MS_RANGE, "stall_timeout_ms")?;
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// How long connecting may take, in milliseconds, with name resolution, TLS and login. Default 500. Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_connect_timeout_ms(
    options: *mut redlock_options_t,
    connect_timeout_ms: u64,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        engine.connect_timeout_ms = checked(connect_timeout_ms, &CONNECT_TIMEOUT_MS_RANGE, "connect_timeout_ms")?;
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// How often a failed attempt is repeated within the time that the caller is ready to wait: 0 and more, or
/// REDLOCK_NO_LIMIT (the default). Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_retry_count(
    options: *mut redlock_options_t,
    retry_count: i64,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        engine.retry_count = match u64::try_from(retry_count) {
            Ok(count) => Some(count),
            Err(_) if retry_count == i64::from(REDLOCK_NO_LIMIT) => None,
            Err(_) => return Err(invalid(format!("retry_count is {retry_count}"))),
        };
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// Milliseconds before an attempt is repeated, where no server wakes us. Default 200. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_retry_delay_ms(
    options: *mut redlock_options_t,
    retry_delay_ms: u64,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        engine.retry_delay_ms = checked(retry_delay_ms, &RETRY_DELAY_MS_RANGE, "retry_delay_ms")?;
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// A random addition of up to this many milliseconds to every such pause. Default 100. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_retry_jitter_ms(
    options: *mut redlock_options_t,
    retry_jitter_ms: u64,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        engine.retry_jitter_ms = checked(retry_jitter_ms, &RETRY_JITTER_MS_RANGE, "retry_jitter_ms")?;
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// How far apart the rates of two machines' clocks may be, in parts per million: so much of each ttl is given
/// up. Default 10000 (1 %). Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_drift_ppm(
    options: *mut redlock_options_t,
    drift_ppm: u64,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        engine.drift_ppm = checked(drift_ppm, &DRIFT_PPM_RANGE, "drift_ppm")?;
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// Stands before each resource in the names of the keys. NULL for none (the default). Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_key_prefix(
    options: *mut redlock_options_t,
    key_prefix: *const c_char,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        // SAFETY: NULL or a string.
        engine.key_prefix = unsafe { optional_string(key_prefix) }.unwrap_or_default().to_vec();
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// redlock_options_set_key_prefix() for any bytes. NULL is allowed only for no bytes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_key_prefix_bytes(
    options: *mut redlock_options_t,
    key_prefix: *const c_void,
    key_prefix_len: usize,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        // SAFETY: NULL or as many bytes as are said.
        engine.key_prefix = unsafe { bytes(key_prefix, key_prefix_len, "key_prefix") }?.to_vec();
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// The longest ttl in milliseconds that any client of these nodes uses, where one was agreed on: a longer one
/// is REDLOCK_E_INVALID, and a restarted node is kept from voting for this long. 0 for none (the default).
/// Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_max_ttl_ms(
    options: *mut redlock_options_t,
    max_ttl_ms: u64,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        engine.max_ttl_ms = match max_ttl_ms {
            0 => None,
            ttl => Some(checked(ttl, &MAX_TTL_MS_RANGE, "max_ttl_ms")?),
        };
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// When a node that restarted may vote again: one of the REDLOCK_GUARD_ values. Default REDLOCK_GUARD_SEEN.
///
/// A node that comes back empty would grant locks that are held. It is asked all the same, but does not count
/// until it has been running for max_ttl_ms and the drift, which is until all leases that it may have forgotten
/// are over; the same goes for one that comes back with its data, which may not be all of it. Until then the
/// error says REDLOCK_NODE_GUARDED and "restarted 3.2 s ago; no vote for 6.8 s more". So restart one node at a
/// time, max_ttl_ms apart. Without max_ttl_ms the largest ttl that this handle has been asked for takes its
/// place, which is too short where others use longer ones. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_restart_guard(
    options: *mut redlock_options_t,
    restart_guard: i32,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        engine.restart_guard = match restart_guard {
            REDLOCK_GUARD_OFF => RestartGuard::Off,
            REDLOCK_GUARD_SEEN => RestartGuard::Seen,
            REDLOCK_GUARD_STRICT => RestartGuard::Strict,
            other => return Err(invalid(format!("restart_guard is {other}"))),
        };
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// 1: servers that can are asked to tell waiters when a lock is free (the default). 0: waiters only retry.
/// Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_wake(options: *mut redlock_options_t, wake: i32) -> redlock_status_t {
    let change = |engine: &mut Options| {
        engine.wake = yes_or_no(wake, "wake")?;
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// For how many microseconds a caller looks for answers without sleeping: less latency for more processor time.
/// Default 0. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_spin_us(
    options: *mut redlock_options_t,
    spin_us: u32,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        checked(u64::from(spin_us), &SPIN_US_RANGE, "spin_us")?;
        engine.spin_us = spin_us;
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// 1: a signal handler that runs during a wait ends it with REDLOCK_E_INTERRUPTED (the default). 0: waits go
/// on; for runtimes that use signals for themselves, such as Go. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_interruptible(
    options: *mut redlock_options_t,
    interruptible: i32,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        engine.interruptible = yes_or_no(interruptible, "interruptible")?;
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// A file with the certificates, in PEM, that a server's must go back to. NULL for those of the system (the
/// default). Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_tls_ca_file(
    options: *mut redlock_options_t,
    tls_ca_file: *const c_char,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        // SAFETY: NULL or a string.
        engine.tls_ca_file = unsafe { optional_string(tls_ca_file) }.map(path);
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// A file with our own certificate, in PEM, for servers that ask for one. NULL for none (the default). Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_tls_cert_file(
    options: *mut redlock_options_t,
    tls_cert_file: *const c_char,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        // SAFETY: NULL or a string.
        engine.tls_cert_file = unsafe { optional_string(tls_cert_file) }.map(path);
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// A file with the key of our own certificate, in PEM. NULL for none (the default). Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_tls_key_file(
    options: *mut redlock_options_t,
    tls_key_file: *const c_char,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        // SAFETY: NULL or a string.
        engine.tls_key_file = unsafe { optional_string(tls_key_file) }.map(path);
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// 1: the certificates of servers are not checked, so that anybody can play the server. 0: they are (the
/// default). Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_tls_insecure(
    options: *mut redlock_options_t,
    tls_insecure: i32,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        engine.tls_insecure = yes_or_no(tls_insecure, "tls_insecure")?;
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// The user for nodes whose URL names none. UTF-8. NULL for none (the default). Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_username(
    options: *mut redlock_options_t,
    username: *const c_char,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        // SAFETY: NULL or a string.
        engine.username = unsafe { optional_string(username) }.map(|given| text(given, "username")).transpose()?;
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// The password for nodes whose URL has none. UTF-8. NULL for none (the default). Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_password(
    options: *mut redlock_options_t,
    password: *const c_char,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        // SAFETY: NULL or a string.
        engine.password = unsafe { optional_string(password) }.map(|given| text(given, "password")).transpose()?;
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// The name of our connections in CLIENT LIST. UTF-8. NULL for none (the default). Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_client_name(
    options: *mut redlock_options_t,
    client_name: *const c_char,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        // SAFETY: NULL or a string.
        engine.client_name =
            unsafe { optional_string(client_name) }.map(|given| text(given, "client_name")).transpose()?;
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// Which protocol is spoken: one of the REDLOCK_PROTOCOL_ values. Default REDLOCK_PROTOCOL_AUTO. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_protocol(
    options: *mut redlock_options_t,
    protocol: i32,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        engine.protocol = match protocol {
            REDLOCK_PROTOCOL_AUTO => Protocol::Auto,
            REDLOCK_PROTOCOL_RESP2 => Protocol::Resp2,
            REDLOCK_PROTOCOL_RESP3 => Protocol::Resp3,
            other => return Err(invalid(format!("protocol is {other}"))),
        };
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// 1: keys are deleted by a command that compares where the server has one, DELEX or DELIFEQ (the default). 0: by
/// script always. Locks are extended, and fencing tokens given, by script always. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_options_set_avoid_lua(
    options: *mut redlock_options_t,
    avoid_lua: i32,
) -> redlock_status_t {
    let change = |engine: &mut Options| {
        engine.avoid_lua = yes_or_no(avoid_lua, "avoid_lua")?;
        Ok(())
    };
    // SAFETY: live options that are nobody else's now, or NULL.
    unsafe { set(options, change) }
}

/// # Safety
/// `options` is NULL or live options that nobody else uses now.
unsafe fn set(
    options: *mut redlock_options_t,
    change: impl FnOnce(&mut Options) -> Result<(), Error>,
) -> redlock_status_t {
    guard(ErrorOut::unwanted(), || {
        // SAFETY: as promised.
        let options = unsafe { borrow_mut(options, "options") }?;
        change(&mut options.engine)
    })
}

fn path(given: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(given))
}

fn text(given: &[u8], name: &str) -> Result<String, Error> {
    str::from_utf8(given).map(str::to_owned).map_err(|_| invalid(format!("{name} is not UTF-8")))
}
