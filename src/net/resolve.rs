//! Host names become addresses in a thread that lives only for that.
//!
//! `getaddrinfo` has no deadline and blocks for as long as the name servers please. A dial that is given up leaves the
//! thread behind, and the next dial of the same endpoint joins it instead of starting another: however long DNS hangs,
//! there is at most one thread per endpoint, and a slow answer is used by whoever dials next.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::core::request::Fault;

use super::sys::{self, EventFd, SignalsBlocked};
use super::{reason, unreachable_fault};

/// An answer that came when nobody was dialling any more is still good for the next dial within this time.
const FRESH_NS: u64 = 10_000_000_000;

/// How many addresses of one name are tried.
const ADDRESSES_MAX: usize = 16;

/// The addresses of one endpoint: known from the beginning, or asked for.
#[derive(Debug)]
pub(super) struct Resolver {
    host: String,
    port: u16,
    literal: Option<SocketAddr>,
    current: Mutex<Option<Arc<Resolution>>>,
}

/// One question to the name service.
#[derive(Debug)]
pub(super) struct Resolution {
    answer: Mutex<Option<Answer>>,
    answered: EventFd,
}

#[derive(Debug, Clone)]
struct Answer {
    at_ns: u64,
    addresses: Result<Vec<SocketAddr>, Fault>,
}

/// What a dial gets from its resolver.
pub(super) enum Resolved {
    Now(Vec<SocketAddr>),
    Later(Arc<Resolution>),
}

impl Resolver {
    pub(super) fn new(host: &str, port: u16) -> Resolver {
        let literal = host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port));
        Resolver { host: host.to_owned(), port, literal, current: Mutex::new(None) }
    }

    /// Addresses at once, or the resolution to wait for.
    pub(super) fn begin(&self) -> Result<Resolved, Fault> {
        if let Some(literal) = self.literal {
            return Ok(Resolved::Now(vec![literal]));
        }
        let mut current = lock(&self.current);
        if let Some(resolution) = &*current {
            let joinable = match &*lock(&resolution.answer) {
                None => true,
                Some(answer) => answer.addresses.is_ok() && sys::boottime_ns().saturating_sub(answer.at_ns) < FRESH_NS,
            };
            if joinable {
                return Ok(Resolved::Later(Arc::clone(resolution)));
            }
        }
        let resolution = self.start().map_err(|error| self.fault(&error))?;
        *current = Some(Arc::clone(&resolution));
        Ok(Resolved::Later(resolution))
    }

    /// Whoever uses an answer takes it from the resolver: the next dial asks anew.
    pub(super) fn used(&self, resolution: &Arc<Resolution>) {
        let mut current = lock(&self.current);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, resolution)) {
            *current = None;
        }
    }

    fn start(&self) -> io::Result<Arc<Resolution>> {
        let resolution = Arc::new(Resolution { answer: Mutex::new(None), answered: EventFd::new()? });
        let (host, port, theirs) = (self.host.clone(), self.port, Arc::clone(&resolution));
        let _blocked = SignalsBlocked::new();
        thread::Builder::new().name("redlock-resolve".into()).spawn(move || {
            let addresses = match (host.as_str(), port).to_socket_addrs() {
                Ok(addresses) => Ok(interleave(addresses)),
                Err(error) => Err(unresolvable(&host, &error)),
            };
            *lock(&theirs.answer) = Some(Answer { at_ns: sys::boottime_ns(), addresses });
            theirs.answered.signal();
        })?;
        Ok(resolution)
    }

    fn fault(&self, error: &io::Error) -> Fault {
        unresolvable(&self.host, error)
    }
}

impl Resolution {
    /// The answer, once there is one.
    pub(super) fn answer(&self) -> Option<Result<Vec<SocketAddr>, Fault>> {
        lock(&self.answer).as_ref().map(|answer| answer.addresses.clone())
    }

    /// Becomes readable with the answer and remains so: several dials may wait for it.
    pub(super) fn fd(&self) -> std::os::fd::RawFd {
        self.answered.fd()
    }
}

fn unresolvable(host: &str, error: &io::Error) -> Fault {
    unreachable_fault(&format!("cannot resolve host: {} ({host})", reason(error)))
}

/// Families in turn, beginning with the one that the resolver put first (RFC 8305 §4): if the machine has no route
/// for one of them, every second address still works.
fn interleave(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        if !all.contains(&address) && all.len() < ADDRESSES_MAX {
            all.push(address);
        }
    }
    let first_is_v6 = all.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = all.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut mixed: Vec<SocketAddr> = Vec::with_capacity(ADDRESSES_MAX);
    for address in first {
        mixed.push(address);
        mixed.extend(second.next());
    }
    mixed.extend(second);
    mixed
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::sys::{Interest, PollFd, poll};
    use super::*;

    fn started(resolver: &Resolver) -> Arc<Resolution> {
        match resolver.begin().unwrap() {
            Resolved::Later(resolution) => resolution,
            Resolved::Now(addresses) => panic!("{addresses:?} needed no resolution"),
        }
    }

    fn wait(resolution: &Resolution) -> Vec<SocketAddr> {
        poll(&mut [PollFd::new(resolution.fd(), Interest::READ)], Some(20_000_000_000)).unwrap();
        resolution.answer().expect("an answer within 20 s").unwrap()
    }

    #[test]
    fn literal_addresses_start_no_thread() {
        for (host, printed) in [("127.0.0.1", "127.0.0.1:6379"), ("::1", "[::1]:6379")] {
            match Resolver::new(host, 6379).begin().unwrap() {
                Resolved::Now(addresses) => assert_eq!(addresses[0].to_string(), printed),
                Resolved::Later(_) => panic!("{host} is literal"),
            }
        }
    }

    #[test]
    fn a_dial_joins_the_resolution_that_an_abandoned_one_left_behind() {
        let resolver = Resolver::new("localhost", 6379);
        let first = started(&resolver);
        let second = started(&resolver);
        assert!(Arc::ptr_eq(&first, &second));
        drop(first);
        assert!(wait(&second).iter().all(|address| address.ip().is_loopback() && address.port() == 6379));
        assert!(Arc::ptr_eq(&second, &started(&resolver)), "an answer nobody used is used");
        resolver.used(&second);
        assert!(!Arc::ptr_eq(&second, &started(&resolver)), "a used answer is not used again");
    }

    #[test]
    fn a_stale_or_failed_answer_is_not_joined() {
        let resolver = Resolver::new("localhost", 6379);
        let first = started(&resolver);
        wait(&first);
        lock(&first.answer).as_mut().unwrap().addresses = Err(unreachable_fault("cannot resolve host"));
        let second = started(&resolver);
        assert!(!Arc::ptr_eq(&first, &second));
        wait(&second);
        lock(&second.answer).as_mut().unwrap().at_ns = 0;
        // Boot may have been less than FRESH_NS ago only on a machine that nobody tests on.
        assert!(!Arc::ptr_eq(&second, &started(&resolver)));
    }

    #[test]
    fn the_thread_has_all_signals_blocked() {
        for _ in 0..10_000 {
            let resolution = started(&Resolver::new("name.invalid", 6379));
            if let Some(mask) = blocked_signals_of_a_resolver() {
                // All but SIGKILL and SIGSTOP, which cannot be, and the two that glibc keeps for itself.
                assert_eq!(mask | 1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1) | 3 << 31, u64::MAX);
                return;
            }
            drop(resolution);
        }
        panic!("no resolver's thread was ever seen");
    }

    /// `SigBlk` of a thread of this process that resolves a name just now (proc_pid_status(5)).
    fn blocked_signals_of_a_resolver() -> Option<u64> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        tasks.flatten().find_map(|task| {
            let status = std::fs::read_to_string(task.path().join("status")).ok()?;
            status.starts_with("Name:\tredlock-resolve\n").then_some(())?;
            let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t"))?;
            u64::from_str_radix(mask, 16).ok()
        })
    }

    #[test]
    fn families_take_turns_and_repetitions_are_dropped() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let given = ["[::1]:1", "[::2]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1"];
        let mixed = interleave(given.into_iter().map(parse));
        let expected: Vec<_> = ["[::1]:1", "10.0.0.1:1", "[::2]:1", "[::3]:1"].into_iter().map(parse).collect();
        assert_eq!(mixed, expected);
    }
}
