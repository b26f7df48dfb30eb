//! Exit statuses. A job's own status passes through; those of this command follow sysexits.h and are in the manual.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use redlock::core::report::Status;
use redlock::engine::Error;

/// Somebody else holds the lock; `--conflict-exit-code` changes it.
pub const NOT_ACQUIRED: u8 = 1;
/// `doctor`: warnings and no error.
pub const WARNED: u8 = 1;
/// EX_USAGE: the command line is wrong.
pub const USAGE: u8 = 64;
/// EX_UNAVAILABLE: too few nodes answered.
pub const NO_QUORUM: u8 = 69;
/// EX_SOFTWARE: a bug in this program or the library.
pub const INTERNAL: u8 = 70;
/// EX_OSERR: the system refused a process, a descriptor or a file.
pub const SYSTEM: u8 = 71;
/// EX_IOERR: output could not be written.
pub const OUTPUT: u8 = 74;
/// EX_TEMPFAIL: it is not known whether the request was applied.
pub const UNKNOWN: u8 = 75;
/// EX_PROTOCOL: the lock was lost, or is not this token's.
pub const LOST: u8 = 76;
/// EX_CONFIG: requires operator intervention: URLs, credentials, permissions, certificates.
pub const CONFIG: u8 = 78;
/// The job cannot be executed.
pub const CANNOT_EXECUTE: u8 = 126;
/// There is no such program.
pub const NOT_FOUND: u8 = 127;
/// A signal's number is added to this.
pub const SIGNALLED: u8 = 128;

/// What a command returns: its exit status, or the reason why it failed.
pub type Outcome = Result<ExitCode, Failure>;

/// Why a command failed, and with which exit status.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    pub fn new(code: u8, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into() }
    }

    /// The system refused something.
    pub fn system(what: &str, error: impl fmt::Display) -> Failure {
        Failure::new(SYSTEM, format!("{what}: {error}"))
    }

    /// The same failure with the status that the caller asked for where the lock is held by another.
    pub fn with_conflict_code(mut self, code: Option<u8>) -> Failure {
        if let (NOT_ACQUIRED, Some(code)) = (self.code, code) {
            self.code = code;
        }
        self
    }

    /// Prints the reason and yields the exit status.
    pub fn report(self) -> ExitCode {
        tell(self.message);
        ExitCode::from(self.code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let code = match error.status {
            Status::NotAcquired => NOT_ACQUIRED,
            Status::NoQuorum => NO_QUORUM,
            Status::Lost => LOST,
            Status::Invalid => USAGE,
            Status::Config => CONFIG,
            Status::Unknown => UNKNOWN,
            Status::Cancelled | Status::Interrupted => SIGNALLED + 2,
            Status::Forked | Status::Closed | Status::Internal => INTERNAL,
        };
        Failure::new(code, error.message)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(OUTPUT, format!("cannot write the output: {error}"))
    }
}

/// One line on stderr. A full disk or a closed pipe there must not end the guardian of a job, so that an error is none.
pub fn tell(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "redlock: {line}");
}

/// clap's own message; help and version are no errors.
pub fn usage(error: &clap::Error) -> ExitCode {
    let is_help = !error.use_stderr();
    // Nothing can be said where not even this can be written.
    let _ = error.print();
    if is_help { ExitCode::SUCCESS } else { ExitCode::from(USAGE) }
}
