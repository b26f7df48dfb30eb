//! What can be configured, with its range and its default.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

pub use crate::core::config::RestartGuard;
use crate::core::config::{self, Config, Limits};
use crate::core::report::Status;
use crate::core::request::MAX_NODES;

use super::error::Error;
pub use crate::redis::dialect::Protocol;

/// Range of `node_timeout_ms`.
pub const NODE_TIMEOUT_MS_RANGE: RangeInclusive<u64> = 1..=600_000;
/// Range of `stall_timeout_ms`, which is at least the node timeout.
pub const STALL_TIMEOUT_MS_RANGE: RangeInclusive<u64> = 1..=600_000;
/// Range of `connect_timeout_ms`.
pub const CONNECT_TIMEOUT_MS_RANGE: RangeInclusive<u64> = 1..=600_000;
/// Range of `retry_delay_ms`.
pub const RETRY_DELAY_MS_RANGE: RangeInclusive<u64> = 0..=3_600_000;
/// Range of `retry_jitter_ms`.
pub const RETRY_JITTER_MS_RANGE: RangeInclusive<u64> = 0..=3_600_000;
/// Range of `drift_ppm`; 50 % is absurd already.
pub const DRIFT_PPM_RANGE: RangeInclusive<u64> = 0..=500_000;
/// Range of `max_ttl_ms`.
pub const MAX_TTL_MS_RANGE: RangeInclusive<u64> = TTL_MS_RANGE;
/// Range of a ttl, in milliseconds: up to ten years, far below what overflows in any server.
pub const TTL_MS_RANGE: RangeInclusive<u64> = 1..=315_360_000_000;
/// Range of the busy polling before a wait, in microseconds.
pub const SPIN_US_RANGE: RangeInclusive<u64> = 0..=10_000;
/// Most bytes of a key: prefix and resource together.
pub const KEY_BYTES_MAX: usize = 4 << 20;
/// Most bytes of a caller's own token.
pub const TOKEN_BYTES_MAX: usize = crate::core::request::HOLDER_BYTES;

/// Options of a handle. Times in milliseconds unless the name says otherwise.
#[derive(Clone)]
pub struct Options {
    /// A node that has not answered after this is not waited for.
    pub node_timeout_ms: u64,
    /// A connection without an answer for this long is given up.
    pub stall_timeout_ms: u64,
    /// Making a connection may take this long altogether.
    pub connect_timeout_ms: u64,
    /// Further attempts after the first; `None`: as many as the wait allows.
    pub retry_count: Option<u64>,
    /// Pause between attempts.
    pub retry_delay_ms: u64,
    /// Random addition to that pause.
    pub retry_jitter_ms: u64,
    /// How far the rates of two machines' clocks may differ.
    pub drift_ppm: u64,
    /// Put before every resource name.
    pub key_prefix: Vec<u8>,
    /// The longest ttl any client of these nodes uses, where one was agreed on.
    pub max_ttl_ms: Option<u64>,
    /// Which restarted nodes may vote.
    pub restart_guard: RestartGuard,
    /// Wait for locks by invalidation push where the server can.
    pub wake: bool,
    /// Poll this long, in microseconds, before going to sleep.
    pub spin_us: u32,
    /// A signal handler that ran ends a wait.
    pub interruptible: bool,
    /// Trust the certificates in this PEM file instead of the system's.
    pub tls_ca_file: Option<PathBuf>,
    /// Our certificate chain, PEM.
    pub tls_cert_file: Option<PathBuf>,
    /// Its private key, PEM.
    pub tls_key_file: Option<PathBuf>,
    /// Accept any certificate. Whoever can intercept the connection can then grant and take locks.
    pub tls_insecure: bool,
    /// ACL user of nodes whose URL names none.
    pub username: Option<String>,
    /// Password of nodes whose URL has none.
    pub password: Option<String>,
    /// Shown by `CLIENT LIST`.
    pub client_name: Option<String>,
    /// RESP version.
    pub protocol: Protocol,
    /// Use the servers' own compare-and-delete commands where they have them, instead of scripts.
    pub avoid_lua: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            node_timeout_ms: config::NODE_TIMEOUT_MS,
            stall_timeout_ms: config::STALL_TIMEOUT_MS,
            connect_timeout_ms: config::CONNECT_TIMEOUT_MS,
            retry_count: None,
            retry_delay_ms: config::RETRY_DELAY_MS,
            retry_jitter_ms: config::RETRY_JITTER_MS,
            drift_ppm: config::DRIFT_PPM,
            key_prefix: Vec::new(),
            max_ttl_ms: None,
            restart_guard: RestartGuard::default(),
            wake: true,
            spin_us: 0,
            interruptible: true,
            tls_ca_file: None,
            tls_cert_file: None,
            tls_key_file: None,
            tls_insecure: false,
            username: None,
            password: None,
            client_name: None,
            protocol: Protocol::Auto,
            avoid_lua: true,
        }
    }
}

impl Options {
    /// Checks every range; the reason names the option.
    ///
    /// # Errors
    /// The first option that is out of its range, in one line.
    pub fn validate(&self) -> Result<(), String> {
        in_range("node_timeout_ms", self.node_timeout_ms, &NODE_TIMEOUT_MS_RANGE)?;
        in_range("stall_timeout_ms", self.stall_timeout_ms, &STALL_TIMEOUT_MS_RANGE)?;
        in_range("connect_timeout_ms", self.connect_timeout_ms, &CONNECT_TIMEOUT_MS_RANGE)?;
        in_range("retry_delay_ms", self.retry_delay_ms, &RETRY_DELAY_MS_RANGE)?;
        in_range("retry_jitter_ms", self.retry_jitter_ms, &RETRY_JITTER_MS_RANGE)?;
        in_range("drift_ppm", self.drift_ppm, &DRIFT_PPM_RANGE)?;
        in_range("spin_us", u64::from(self.spin_us), &SPIN_US_RANGE)?;
        if let Some(max_ttl_ms) = self.max_ttl_ms {
            in_range("max_ttl_ms", max_ttl_ms, &MAX_TTL_MS_RANGE)?;
        }
        if self.stall_timeout_ms < self.node_timeout_ms {
            return Err("stall_timeout_ms is smaller than node_timeout_ms".to_owned());
        }
        if self.restart_guard == RestartGuard::Strict && self.max_ttl_ms.is_none() {
            return Err("restart_guard is strict, which needs max_ttl_ms".to_owned());
        }
        if self.key_prefix.len() >= KEY_BYTES_MAX {
            return Err(format!("key_prefix is longer than {KEY_BYTES_MAX} bytes"));
        }
        if self.tls_cert_file.is_some() != self.tls_key_file.is_some() {
            return Err("tls_cert_file and tls_key_file come together".to_owned());
        }
        Ok(())
    }

    /// The part that the algorithm needs.
    #[must_use]
    pub(crate) fn core_config(&self, node_count: usize) -> Config {
        debug_assert!((1..=MAX_NODES).contains(&node_count));
        Config {
            node_count,
            node_timeout_ms: self.node_timeout_ms,
            connect_timeout_ms: self.connect_timeout_ms,
            stall_timeout_ms: self.stall_timeout_ms,
            retry_count: self.retry_count,
            wake: self.wake,
            retry_delay_ms: self.retry_delay_ms,
            retry_jitter_ms: self.retry_jitter_ms,
            drift_ppm: self.drift_ppm,
            max_ttl_ms: self.max_ttl_ms,
            restart_guard: self.restart_guard,
            limits: Limits::default(),
        }
    }
}

/// Checks one number against its range.
///
/// # Errors
/// A line that names the option, the number and the range.
pub fn in_range(name: &str, value: u64, range: &RangeInclusive<u64>) -> Result<(), String> {
    if range.contains(&value) {
        Ok(())
    } else {
        Err(format!("{name} is {value}; it must be {} to {}", range.start(), range.end()))
    }
}

/// A wait in milliseconds as callers say it: `None`, by -1, is without limit.
pub(super) fn wait_ms(wait_ms: i64) -> Result<Option<u64>, Error> {
    match wait_ms {
        -1 => Ok(None),
        _ => u64::try_from(wait_ms)
            .map(Some)
            .map_err(|_| Error::plain(Status::Invalid, format!("wait_ms is {wait_ms}; it must be -1 or more"))),
    }
}

impl fmt::Debug for Options {
    /// The password is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("node_timeout_ms", &self.node_timeout_ms)
            .field("stall_timeout_ms", &self.stall_timeout_ms)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Options::default().validate(), Ok(()));
    }

    #[test]
    fn an_option_out_of_range_is_named_with_its_range() {
        let options = Options { node_timeout_ms: 0, ..Options::default() };
        assert_eq!(options.validate(), Err("node_timeout_ms is 0; it must be 1 to 600000".to_owned()));
    }

    #[test]
    fn debug_output_hides_the_password() {
        let options = Options { password: Some("s3cret".to_owned()), ..Options::default() };
        assert!(!format!("{options:?}").contains("s3cret"));
    }
}
