//! What a client process writes down while it runs: one line per event, written at once, so that nothing is lost when
//! the process is killed. All times are nanoseconds of `CLOCK_BOOTTIME`, which all processes of a machine share.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::str::FromStr;

/// Now, on the clock of all records and of [`redlock::engine::Lease::valid_until_ns`].
pub fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec of our own.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// One lease among all of a run: client, its incarnation, and a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

impl LeaseId {
    pub fn new(client: usize, incarnation: u64, serial: u64) -> LeaseId {
        LeaseId((client as u64) << 56 | (incarnation & 0xff_ffff) << 32 | serial & 0xffff_ffff)
    }

    pub fn client(self) -> usize {
        (self.0 >> 56) as usize
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}.{}#{}", self.client(), self.0 >> 32 & 0xff_ffff, self.0 & 0xffff_ffff)
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The handle is connected to all nodes.
    Ready,
    /// A call into the library, which had to end within `bound_ms` of the process's running time.
    Call { kind: String, called_ns: u64, ended_ns: u64, bound_ms: u64, status: String },
    /// A lock was acquired.
    Lease { id: LeaseId, resource: usize, called_ns: u64, ended_ns: u64, valid_until_ns: u64, fence: u64 },
    /// The lease is known to last longer than was known before.
    Until { id: LeaseId, valid_until_ns: u64 },
    /// The client is about to write, having seen that the lease is valid until then.
    Write { id: LeaseId, valid_until_ns: u64 },
    /// Both of its writes have been answered.
    Wrote { id: LeaseId, at_ns: u64, is_refused: bool },
    /// The client is about to give the lease back, or has seen it lost.
    Over { id: LeaseId, at_ns: u64 },
    /// After the faults: whether this resource could be locked.
    Calm { resource: usize, status: String },
    /// The client has done everything it was asked to.
    Done,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Ready => write!(f, "ready"),
            Entry::Call { kind, called_ns, ended_ns, bound_ms, status } => {
                write!(f, "call {kind} {called_ns} {ended_ns} {bound_ms} {status}")
            }
            Entry::Lease { id, resource, called_ns, ended_ns, valid_until_ns, fence } => {
                write!(f, "lease {} {resource} {called_ns} {ended_ns} {valid_until_ns} {fence}", id.0)
            }
            Entry::Until { id, valid_until_ns } => write!(f, "until {} {valid_until_ns}", id.0),
            Entry::Write { id, valid_until_ns } => write!(f, "write {} {valid_until_ns}", id.0),
            Entry::Wrote { id, at_ns, is_refused } => write!(f, "wrote {} {at_ns} {is_refused}", id.0),
            Entry::Over { id, at_ns } => write!(f, "over {} {at_ns}", id.0),
            Entry::Calm { resource, status } => write!(f, "calm {resource} {status}"),
            Entry::Done => write!(f, "done"),
        }
    }
}

impl Entry {
    fn parse(line: &str) -> Option<Entry> {
        fn next<'a, T: FromStr>(fields: &mut impl Iterator<Item = &'a str>) -> Option<T> {
            fields.next()?.parse().ok()
        }
        let fields = &mut line.split(' ');
        Some(match fields.next()? {
            "ready" => Entry::Ready,
            "call" => Entry::Call {
                kind: next(fields)?,
                called_ns: next(fields)?,
                ended_ns: next(fields)?,
                bound_ms: next(fields)?,
                status: next(fields)?,
            },
            "lease" => Entry::Lease {
                id: LeaseId(next(fields)?),
                resource: next(fields)?,
                called_ns: next(fields)?,
                ended_ns: next(fields)?,
                valid_until_ns: next(fields)?,
                fence: next(fields)?,
            },
            "until" => Entry::Until { id: LeaseId(next(fields)?), valid_until_ns: next(fields)? },
            "write" => Entry::Write { id: LeaseId(next(fields)?), valid_until_ns: next(fields)? },
            "wrote" => Entry::Wrote { id: LeaseId(next(fields)?), at_ns: next(fields)?, is_refused: next(fields)? },
            "over" => Entry::Over { id: LeaseId(next(fields)?), at_ns: next(fields)? },
            "calm" => Entry::Calm { resource: next(fields)?, status: next(fields)? },
            "done" => Entry::Done,
            _ => return None,
        })
    }
}

/// Where one client process writes.
pub struct Log(File);

impl Log {
    pub fn create(path: &Path) -> Log {
        Log(OpenOptions::new().create(true).append(true).open(path).expect("a writable directory"))
    }

    /// One system call, so that the line is there even if the next instruction is never executed.
    pub fn write(&self, entry: &Entry) {
        (&self.0).write_all(format!("{entry}\n").as_bytes()).expect("room on the disk");
    }
}

/// All entries of one process in the order in which they were written.
pub fn read(path: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let parse = |line| Entry::parse(line).unwrap_or_else(|| panic!("{}: what is {line:?}?", path.display()));
    text.lines().map(parse).collect()
}
