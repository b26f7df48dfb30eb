//! Two of five nodes behave as badly as they can, differently on each connection: the others' locks are taken, extended and
//! released all the same, by one holder at a time, and memory stays bounded.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::event_loop::is_readable;
use crate::support::locking::*;
use crate::support::{Cluster, resource};
use redlock::core::report::Status;
use redlock::engine::{Error, Event, LockRequest, Redlock, Value};

const RUN: Duration = Duration::from_secs(8);

/// To one node: ten times what was seen.
const DIALS_MAX: u64 = 200;

/// Likewise.
const TURNS_A_PAIR_MAX: u32 = 60;

const PAUSE: Duration = Duration::from_millis(10);

/// A real server behind somebody who spoils what it says.
struct Adversary {
    port: u16,
    connections: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

#[derive(Debug, Clone, Copy)]
enum Manner {
    Honest,
    /// One byte at a time.
    Drips,
    /// The end after so many bytes of the server's, in the middle of a frame or not.
    Closes,
    /// Takes nothing any more after so many bytes of the client's.
    Deaf,
    /// Everything twice.
    Repeats,
    /// Bytes that are no protocol.
    Raves,
    /// Invalidations that nobody asked for.
    Floods,
    /// Replies that come long after they are due.
    Lags,
}

const MANNERS: [Manner; 8] = [
    Manner::Honest,
    Manner::Drips,
    Manner::Closes,
    Manner::Deaf,
    Manner::Repeats,
    Manner::Raves,
    Manner::Floods,
    Manner::Lags,
];

impl Adversary {
    fn before(server_port: u16, seed: u64) -> Adversary {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let port = listener.local_addr().expect("a bound socket").port();
        let (connections, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counted, ends) = (Arc::clone(&connections), Arc::clone(&is_over));
        thread::spawn(move || {
            let mut state = seed;
            for client in listener.incoming() {
                if ends.load(SeqCst) {
                    return;
                }
                counted.fetch_add(1, SeqCst);
                // Knuth's linear congruential generator.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let manner = MANNERS[(state >> 33) as usize % MANNERS.len()];
                let after = (state >> 40) as usize % 4_000;
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", server_port))) else {
                    continue;
                };
                let ends = Arc::clone(&ends);
                thread::spawn(move || misbehave(&client, &server, manner, after, &ends));
            }
        });
        Adversary { port, connections, is_over }
    }
}

impl Drop for Adversary {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Both directions of one connection, until one side or the test ends.
fn misbehave(client: &TcpStream, server: &TcpStream, manner: Manner, after: usize, is_over: &AtomicBool) {
    for stream in [client, server] {
        let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
        let _ = stream.set_write_timeout(Some(Duration::from_millis(200)));
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut heard = 0;
            pass(client, server, is_over, |bytes, to| {
                heard += bytes.len();
                if matches!(manner, Manner::Deaf) && heard > after {
                    thread::sleep(Duration::from_millis(500));
                    return false;
                }
                to.write_all(bytes).is_ok()
            });
            let _ = server.shutdown(Shutdown::Both);
        });
        let mut said = 0;
        pass(server, client, is_over, |bytes, to| {
            said += bytes.len();
            let is_time = said > after;
            match manner {
                Manner::Honest | Manner::Deaf => to.write_all(bytes).is_ok(),
                Manner::Drips => bytes.iter().all(|byte| {
                    thread::sleep(Duration::from_micros(200));
                    to.write_all(&[*byte]).is_ok()
                }),
                Manner::Closes if is_time => {
                    let _ = to.write_all(&bytes[..bytes.len() / 2]);
                    false
                }
                Manner::Repeats if is_time => to.write_all(bytes).is_ok() && to.write_all(bytes).is_ok(),
                Manner::Raves if is_time => to.write_all(b"\xff\xfe*9999999\r\n$-7\r\n").is_ok(),
                Manner::Floods if is_time => {
                    let push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$7\r\nnothing\r\n".repeat(2_000);
                    (0..20).all(|_| to.write_all(&push).is_ok()) && to.write_all(bytes).is_ok()
                }
                Manner::Lags => {
                    thread::sleep(Duration::from_millis(30));
                    to.write_all(bytes).is_ok()
                }
                Manner::Closes | Manner::Repeats | Manner::Raves | Manner::Floods => to.write_all(bytes).is_ok(),
            }
        });
        let _ = client.shutdown(Shutdown::Both);
    });
}

fn pass(
    mut from: &TcpStream,
    mut to: &TcpStream,
    is_over: &AtomicBool,
    mut treat: impl FnMut(&[u8], &mut &TcpStream) -> bool,
) {
    let mut buffer = [0; 4_096];
    while !is_over.load(SeqCst) {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                if !treat(&buffer[..count], &mut to) {
                    return;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

/// Resident memory in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("procfs");
    status.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number of pages") * 4_096
}

#[test]
fn a_minority_that_behaves_as_badly_as_it_can_costs_the_others_nothing() {
    let cluster = Cluster::start(5);
    let adversaries: Vec<Adversary> =
        (0..2).map(|node| Adversary::before(cluster[node].port(), 7 + node as u64)).collect();
    let bad = adversaries.iter().map(|adversary| format!("redis://127.0.0.1:{}", adversary.port));
    let urls: Vec<String> = bad.chain((2..5).map(|node| cluster[node].url())).collect();
    let handles: Vec<Redlock> =
        (0..3).map(|_| Redlock::new(&urls, &short_options(100, 1_000)).expect("valid options")).collect();
    let (name, inside, before) = (resource("spoiled"), Mutex::new(()), resident());
    let begun = Instant::now();
    let turns: Vec<u32> = thread::scope(|scope| {
        let work = |handle: &Redlock| {
            let mut turns = 0;
            while begun.elapsed() < RUN {
                let lease = handle.lock(&request(&name, 20_000)).unwrap_or_else(|error| panic!("{error}"));
                let holder = inside.try_lock().expect("one holder at a time");
                // A majority of which one misbehaves may be all that the lock has: then nobody knows.
                let is_told = |error: &Error| matches!(error.status, Status::Unknown | Status::NoQuorum | Status::Lost);
                let extended = if turns % 3 == 0 { lease.extend(TTL_MS) } else { Ok(()) };
                drop(holder);
                for result in [extended, lease.unlock()] {
                    assert!(result.as_ref().err().is_none_or(is_told), "{result:?}");
                }
                turns += 1;
            }
            turns
        };
        let threads: Vec<_> = handles.iter().map(|handle| scope.spawn(move || work(handle))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(turns.iter().all(|&turns| turns > 20), "{turns:?} turns");
    let grown = resident().saturating_sub(before);
    assert!(grown < 256 << 20, "{grown} bytes more");
    for adversary in &adversaries {
        // It was met again and again, but no more often than the back-off of three handles allows.
        let dials = adversary.connections.load(SeqCst);
        assert!((11..DIALS_MAX).contains(&dials), "{dials} dials");
    }
    let dials: Vec<u64> = adversaries.iter().map(|adversary| adversary.connections.load(SeqCst)).collect();
    println!("{turns:?} turns, {grown} bytes more, {dials:?} dials");
}

/// The descriptor of the event loop is readable when there is something to do, and not without: whatever such nodes send,
/// the loop does not turn for nothing.
#[test]
fn an_event_loop_beside_such_nodes_sleeps_between_its_turns() {
    let cluster = Cluster::start(5);
    let adversaries: Vec<Adversary> =
        (0..2).map(|node| Adversary::before(cluster[node].port(), 23 + node as u64)).collect();
    let bad = adversaries.iter().map(|adversary| format!("redis://127.0.0.1:{}", adversary.port));
    let urls: Vec<String> = bad.chain((2..5).map(|node| cluster[node].url())).collect();
    let handle = Redlock::new(&urls, &short_options(100, 1_000)).expect("valid options");
    let name = resource("turned");
    let (begun, mut turns, mut pairs, mut is_busy) = (Instant::now(), 0, 0_u32, false);
    while begun.elapsed() < RUN {
        // A loop that has little to do: what turns in the pauses turns for nothing.
        if !is_busy && begun.elapsed() >= PAUSE * pairs {
            handle.submit_lock(&LockRequest { tag: 1, ..request(&name, 20_000) }).expect("submitted");
            is_busy = true;
        }
        if is_readable(handle.fd().expect("a descriptor"), 5) {
            turns += 1;
        }
        handle.process().expect("live");
        while let Some(event) = handle.next_event().expect("live") {
            match event {
                Event::Done { result: Ok(Value::Lease(lease)), .. } => lease.submit_unlock(2).expect("submitted"),
                Event::Done { tag: 2, .. } => (pairs, is_busy) = (pairs + 1, false),
                Event::Done { result, .. } => panic!("{result:?}"),
                Event::Lost { .. } | Event::Extended { .. } | Event::Node { .. } => {}
            }
        }
    }
    println!("{pairs} pairs in {turns} turns");
    assert!(pairs > 20, "{pairs} pairs");
    // Ten replies a pair from five nodes, some of them byte by byte, and what was never asked for.
    assert!(turns < pairs * TURNS_A_PAIR_MAX, "{turns} turns for {pairs} pairs");
}
