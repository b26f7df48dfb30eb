//! The two faces of a handle as one: calls that block, made of the library's own or of its event loop's.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use redlock::engine::{Error, Event, Lease, LockRequest, Redlock, Value};

use crate::record::now_ns;

/// Tags that no lock request has: those are odd.
const TAG_STEP: u64 = 2;

/// How one thread uses its handle. At most one thread may be a loop: events come to whoever asks.
pub enum Face<'a> {
    Blocking(&'a Redlock),
    Loop(&'a Redlock, Cell<u64>),
}

impl<'a> Face<'a> {
    pub fn new(handle: &'a Redlock, is_loop: bool) -> Face<'a> {
        if is_loop { Face::Loop(handle, Cell::new(TAG_STEP)) } else { Face::Blocking(handle) }
    }

    /// With `cancel_after_ms` the wait is cancelled then, by the request's tag.
    pub fn lock(&self, request: &LockRequest, cancel_after_ms: Option<u64>) -> Result<Lease, Error> {
        match (self, cancel_after_ms) {
            (Face::Blocking(handle), None) => handle.lock(request),
            (Face::Blocking(handle), Some(after_ms)) => thread::scope(|scope| {
                scope.spawn(move || {
                    thread::sleep(Duration::from_millis(after_ms));
                    let _ = handle.cancel(request.tag);
                });
                handle.lock(request)
            }),
            (Face::Loop(handle, tags), _) => {
                let tag = if request.tag == 0 { next(tags) } else { request.tag };
                handle.submit_lock(&LockRequest { tag, ..request.clone() })?;
                let cancel_ns = cancel_after_ms.map(|after_ms| now_ns() + after_ms * 1_000_000);
                let mut done = cancel_ns.and_then(|cancel_ns| attend(handle, Some(tag), cancel_ns));
                if done.is_none() && cancel_ns.is_some() {
                    // None, if it has ended and nobody has looked at its event yet.
                    assert!(handle.cancel(tag)? <= 1, "one operation has this tag");
                }
                match done.take().unwrap_or_else(|| finish(handle, tag))? {
                    Value::Lease(lease) => Ok(lease),
                    other => panic!("a lock became {other:?}"),
                }
            }
        }
    }

    pub fn extend(&self, lease: &Lease, ttl_ms: u64) -> Result<(), Error> {
        match self {
            Face::Blocking(_) => lease.extend(ttl_ms),
            Face::Loop(handle, tags) => {
                let tag = next(tags);
                lease.submit_extend(ttl_ms, tag)?;
                finish(handle, tag).map(|_| ())
            }
        }
    }

    pub fn unlock(&self, lease: &Lease) -> Result<(), Error> {
        match self {
            Face::Blocking(_) => lease.unlock(),
            Face::Loop(handle, tags) => {
                let tag = next(tags);
                lease.submit_unlock(tag)?;
                finish(handle, tag).map(|_| ())
            }
        }
    }

    pub fn unlock_token(&self, lease: &Lease) -> Result<(), Error> {
        match self {
            Face::Blocking(handle) => handle.unlock_token(lease.resource(), lease.token()),
            Face::Loop(handle, tags) => {
                let tag = next(tags);
                handle.submit_unlock_token(lease.resource(), lease.token(), tag)?;
                finish(handle, tag).map(|_| ())
            }
        }
    }

    /// Lets time pass. A loop goes on meanwhile, for nobody else extends its leases.
    pub fn pause(&self, time: Duration) {
        match self {
            Face::Blocking(_) => thread::sleep(time),
            Face::Loop(handle, _) => {
                let until_ns = now_ns() + time.as_nanos() as u64;
                attend(handle, None, until_ns);
            }
        }
    }
}

fn next(tags: &Cell<u64>) -> u64 {
    tags.replace(tags.get() + TAG_STEP)
}

fn finish(handle: &Redlock, tag: u64) -> Result<Value, Error> {
    attend(handle, Some(tag), u64::MAX).expect("the end of time does not come")
}

/// The event loop, until this operation has ended or the time is over.
fn attend(handle: &Redlock, awaited: Option<u64>, until_ns: u64) -> Option<Result<Value, Error>> {
    loop {
        let left_ns = until_ns.saturating_sub(now_ns());
        if left_ns == 0 || !poll(handle, left_ns) {
            return None;
        }
        handle.process().expect("a handle of this process");
        let mut done = None;
        while let Some(event) = handle.next_event().expect("a handle of this process") {
            match event {
                Event::Done { tag, result, .. } if Some(tag) == awaited => done = Some(result),
                Event::Done { tag, .. } => panic!("operation {tag} ended twice"),
                Event::Lost { .. } | Event::Extended { .. } | Event::Node { .. } => {}
            }
        }
        if done.is_some() {
            return done;
        }
    }
}

/// Whether the handle's descriptor became readable in time.
fn poll(handle: &Redlock, timeout_ns: u64) -> bool {
    let fd = handle.fd().expect("a handle of this process");
    let mut fds = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let seconds = (timeout_ns / 1_000_000_000).min(3_600);
    let timeout = libc::timespec { tv_sec: seconds as i64, tv_nsec: (timeout_ns % 1_000_000_000) as i64 };
    // SAFETY: one pollfd and one timespec of our own; the descriptor lives as long as the handle.
    let count = unsafe { libc::ppoll(&mut fds, 1, &timeout, std::ptr::null()) };
    // Interrupted by SIGCONT: look again.
    count != 0
}
