//! Cancelling from outside: a flag with a life of its own, which any thread and any signal handler may raise.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::net::sys::Bell;

/// What wakes the two ways in which a handle is waited for.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    /// The leader of the blocking calls.
    pub(crate) leader: Bell,
    /// The program's event loop.
    pub(crate) event_loop: Bell,
}

/// Ends every operation that carries it, now and later: it stays cancelled. One canceller may serve any number of
/// operations of any number of handles, which it remembers until it is dropped. Clones are the same canceller.
#[derive(Debug, Clone, Default)]
pub struct Canceller(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_cancelled: AtomicBool,
    /// The handles to tell. A list that only grows, so that a signal handler can walk it at any moment.
    first: Link,
}

type Link = OnceLock<Box<Told>>;

#[derive(Debug)]
struct Told {
    bells: Arc<Bells>,
    next: Link,
}

impl Canceller {
    /// One that is not cancelled.
    #[must_use]
    pub fn new() -> Canceller {
        Canceller::default()
    }

    /// Ends the operations under way that carry it, and those that begin later, with
    /// [`Status::Cancelled`](crate::core::report::Status::Cancelled). Async-signal-safe.
    pub fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::SeqCst);
        let mut link = &self.0.first;
        while let Some(told) = link.get() {
            told.bells.leader.ring();
            told.bells.event_loop.ring();
            link = &told.next;
        }
    }

    /// Whether [`Canceller::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(Ordering::SeqCst)
    }

    /// The handle with these bells is told from now on. Whoever looks at [`Canceller::is_cancelled`] after this misses
    /// nothing.
    pub(crate) fn tell(&self, bells: &Arc<Bells>) {
        let mut link = &self.0.first;
        loop {
            let told = link.get_or_init(|| Box::new(Told { bells: Arc::clone(bells), next: OnceLock::new() }));
            if Arc::ptr_eq(&told.bells, bells) {
                return;
            }
            link = &told.next;
        }
    }
}

impl Drop for Shared {
    /// One after the other: a long list would overflow the stack.
    fn drop(&mut self) {
        let mut next = self.first.take();
        while let Some(mut told) = next {
            next = told.next.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_handle_is_told_once_however_often_it_is_named() {
        let (canceller, handles) = (Canceller::new(), [(); 3].map(|()| Arc::<Bells>::default()));
        for bells in handles.iter().chain(&handles) {
            canceller.tell(bells);
        }
        canceller.clone().cancel();
        assert!(canceller.is_cancelled());
        assert!(handles.iter().all(|bells| bells.leader.take() && bells.event_loop.take()));
        assert!(handles.iter().all(|bells| Arc::strong_count(bells) == 2));
        drop(canceller);
        assert!(handles.iter().all(|bells| Arc::strong_count(bells) == 1));
    }

    #[test]
    fn a_long_list_ends_without_a_deep_stack() {
        let canceller = Canceller::new();
        let mut link = &canceller.0.first;
        for _ in 0..200_000 {
            link = &link.get_or_init(|| Box::new(Told { bells: Arc::default(), next: OnceLock::new() })).next;
        }
        drop(canceller);
    }
}
