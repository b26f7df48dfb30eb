//! What a lock and an unlock say to a server, and hear from it, allocates nothing in the long run.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use redlock::core::request::{Bytes, Request, RequestKind};
use redlock::redis::command::Encoder;
use redlock::redis::dialect::Dialect;
use redlock::redis::frame::Cutter;
use redlock::redis::reply::{Incoming, classify};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above, which is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

fn count(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn requests_are_written_without_allocating() {
    let bytes = |text: &str| -> Bytes { text.as_bytes().into() };
    let (key, token) = (bytes("orders/42"), bytes("8c0e4a2c-5e7c-4d0e-9f7a-2f2e3c1d4b5a"));
    let requests = [
        Request::Set { key: key.clone(), token: token.clone(), ttl_ms: 10_000 },
        Request::Release { key: key.clone(), token: token.clone() },
        Request::Extend { key: key.clone(), token, ttl_ms: 10_000 },
        Request::Track,
        Request::Remaining { key: key.clone() },
        Request::Holder { key },
    ];
    let dialects = [Dialect::Lua, Dialect::DelexIfeq];
    let (mut encoder, mut out) = (Encoder::new(), Vec::new());
    let mut encode_all = || {
        for dialect in dialects {
            for request in &requests {
                out.clear();
                encoder.encode(request, dialect, &mut out);
            }
        }
    };
    assert!(count(&mut encode_all) > 0, "the counter counts");
    assert_eq!(count(&mut encode_all), 0);
}

#[test]
fn frequent_replies_are_understood_without_allocating() {
    let frames: [(RequestKind, &[u8]); 7] = [
        (RequestKind::Set, b"+OK\r\n"),
        (RequestKind::Set, b"$-1\r\n"),
        (RequestKind::Set, b"_\r\n"),
        (RequestKind::Release, b":1\r\n"),
        (RequestKind::Extend, b":0\r\n"),
        (RequestKind::Remaining, b":9999\r\n"),
        (RequestKind::Holder, b"$0\r\n\r\n"),
    ];
    let mut cutter = Cutter::new();
    let allocations = count(|| {
        for (kind, frame) in frames {
            assert_eq!(cutter.cut(frame), Ok(Some(frame.len())));
            assert!(matches!(classify(Some(kind), frame), Ok(Incoming::Reply(_))));
        }
    });
    assert_eq!(allocations, 0);
}
