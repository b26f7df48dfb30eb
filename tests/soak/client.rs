//! A client process: locks, reads, thinks, writes, unlocks, and writes down what it did.

use std::borrow::Borrow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use redlock::engine::{Error, Lease, LockRequest, Redlock};

use crate::face::Face;
use crate::plan::{self, CALM_WAIT_MS, Character, Defect, MAX_TTL_MS, RESOURCES, SLACK_MS};
use crate::record::{Entry, LeaseId, Log, now_ns};
use crate::rng::Rng;
use crate::store::{Register, Store};
use crate::support::wait_for;

/// How often a holder looks at its lease.
const LOOK_MS: u64 = 10;

/// What the rig tells a client, as environment variables.
#[derive(Debug, Clone)]
pub struct Orders {
    pub client: usize,
    pub incarnation: u64,
    pub seed: u64,
    pub urls: Vec<String>,
    pub store_port: u16,
    pub log: PathBuf,
    /// Once this file is there the faults are over.
    pub calm: PathBuf,
    pub defect: Defect,
    pub is_guarded: bool,
}

const VARIABLE: &str = "REDLOCK_SOAK_CLIENT";

impl Orders {
    /// The variable and its value.
    pub fn to_variable(&self) -> (&'static str, String) {
        let (log, calm) = (self.log.to_string_lossy(), self.calm.to_string_lossy());
        let urls = self.urls.join(",");
        let (client, incarnation, seed, port) = (self.client, self.incarnation, self.seed, self.store_port);
        let (defect, is_guarded) = (self.defect.name(), self.is_guarded);
        (VARIABLE, format!("{client} {incarnation} {seed} {urls} {port} {log} {calm} {defect} {is_guarded}"))
    }

    /// None: this process is no client.
    pub fn from_variable() -> Option<Orders> {
        let text = std::env::var(VARIABLE).ok()?;
        let mut fields = text.split(' ');
        let mut next = || fields.next().expect("nine fields");
        Some(Orders {
            client: next().parse().expect("a number"),
            incarnation: next().parse().expect("a number"),
            seed: next().parse().expect("a number"),
            urls: next().split(',').map(str::to_owned).collect(),
            store_port: next().parse().expect("a number"),
            log: next().into(),
            calm: next().into(),
            defect: Defect::named(next()),
            is_guarded: next().parse().expect("a truth value"),
        })
    }
}

struct Client {
    orders: Orders,
    character: Character,
    handle: Redlock,
    log: Log,
    serial: AtomicU64,
}

/// The whole life of a client process.
pub fn live(orders: Orders) {
    let mut character = plan::characters().remove(orders.client);
    if !orders.is_guarded {
        character = character.without_faults();
    }
    let handle = Redlock::new(&orders.urls, &character.options).expect("valid options");
    let client = Client { log: Log::create(&orders.log), orders, character, handle, serial: AtomicU64::new(1) };
    client.get_ready();
    thread::scope(|scope| {
        for worker in 0..client.character.threads {
            let client = &client;
            scope.spawn(move || client.work(worker));
        }
    });
    client.calm();
    client.handle.end();
    client.log.write(&Entry::Done);
}

impl Client {
    /// The first incarnation begins before any fault; a later one takes the nodes as they are.
    fn get_ready(&self) {
        let is_up = || {
            let _ = self.handle.inspect(b"nobody's");
            let stats = self.handle.stats().expect("a handle of this process");
            stats.nodes.iter().map(|node| node.is_up as usize).sum::<usize>() == self.handle.node_count()
        };
        let patience = if self.orders.incarnation == 1 { Duration::from_secs(20) } else { Duration::ZERO };
        let _ = wait_for(patience, is_up);
        self.log.write(&Entry::Ready);
    }

    fn is_calm(&self) -> bool {
        self.orders.calm.exists()
    }

    fn work(&self, worker: u64) {
        let Orders { client, incarnation, seed, .. } = self.orders;
        let mut rng = Rng::new(seed ^ (client as u64) << 48 ^ incarnation << 8 ^ worker);
        let mut store = Store::open(self.orders.store_port, self.orders.defect != Defect::IgnoredTokens);
        let face = Face::new(&self.handle, self.character.is_loop);
        while !self.is_calm() {
            self.round(&mut rng, &mut store, &face);
            face.pause(Duration::from_millis(rng.below(20)));
        }
    }

    fn round(&self, rng: &mut Rng, store: &mut Store, face: &Face<'_>) {
        let character = &self.character;
        let resource = rng.index(RESOURCES);
        let cancels = rng.one_in(character.cancel_one_in);
        let request = LockRequest {
            resource: name(resource),
            ttl_ms: rng.pick(&character.ttls_ms),
            wait_ms: rng.pick(&character.waits_ms),
            auto_extend: rng.one_in(character.auto_extend_one_in),
            report_remaining: rng.one_in(character.explain_one_in),
            fence: !rng.one_in(8),
            tag: if cancels { rng.next() | 1 } else { 0 },
            ..LockRequest::default()
        };
        let cancel_ms = cancels.then(|| rng.below(1 + request.wait_ms as u64));
        let called_ns = now_ns();
        let result = face.lock(&request, cancel_ms);
        let ended_ns = now_ns();
        let kind = if cancels { "cancelled-lock" } else { "lock" };
        self.log_call(kind, called_ns, ended_ns, self.bound_ms(request.wait_ms), result.as_ref().map(|_| ()));
        if let Ok(lease) = result {
            let Orders { client, incarnation, .. } = self.orders;
            let id = LeaseId::new(client, incarnation, self.serial.fetch_add(1, Ordering::Relaxed));
            let hold = Hold { id, resource, fence: lease.fence().unwrap_or(0), request, lease };
            let (fence, valid_until_ns) = (hold.fence, self.valid_until_ns(&hold.lease));
            self.log.write(&Entry::Lease { id, resource, called_ns, ended_ns, valid_until_ns, fence });
            self.hold(rng, store, face, &hold);
            self.give_back(rng, face, &hold);
        }
    }

    /// The critical section: both registers are read, time passes, both are written if the lease is still good.
    fn hold(&self, rng: &mut Rng, store: &mut Store, face: &Face<'_>, hold: &Hold) {
        let &Hold { id, resource, fence, ref lease, .. } = hold;
        let plain = store.read(Register::Plain, resource, 0).expect("the store answers").expect("it takes anything");
        let fenced = match fence {
            0 => None,
            fence => store.read(Register::Fenced, resource, fence).expect("the store answers"),
        };
        let is_good = self.think(rng, face, hold);
        // As in any program, some work lies between the last look at the lease and its effect.
        let effort_ms = rng.pick(&[0, 0, 20, 100, hold.request.ttl_ms / 3]);
        let is_enough = lease.remaining_ms() > effort_ms as i64 + 5;
        if self.ignores_deadlines() || (is_good && is_enough) {
            self.log.write(&Entry::Write { id, valid_until_ns: self.valid_until_ns(lease) });
            face.pause(Duration::from_millis(effort_ms));
            store.write(Register::Plain, resource, 0, id, plain).expect("the store answers");
            let is_stored = match fenced {
                Some(seen) => store.write(Register::Fenced, resource, fence, id, seen).expect("the store answers"),
                None => fence == 0,
            };
            self.log.write(&Entry::Wrote { id, at_ns: now_ns(), is_refused: !is_stored });
        }
    }

    /// Mostly a moment, sometimes nearly the whole lease, or more where it is extended.
    fn thinking_ms(&self, rng: &mut Rng, request: &LockRequest) -> u64 {
        if self.ignores_deadlines() {
            return request.ttl_ms * 3 / 2;
        }
        match rng.below(16) {
            0 if request.auto_extend => rng.between(request.ttl_ms, 2 * request.ttl_ms),
            0 => rng.below(request.ttl_ms),
            1..=3 => rng.below(200),
            _ => rng.below(20),
        }
    }

    /// Looks at the lease all the time, as a careful holder does. False: it is over.
    fn think(&self, rng: &mut Rng, face: &Face<'_>, hold: &Hold) -> bool {
        let &Hold { id, ref lease, .. } = hold;
        let mut valid_until_ns = self.valid_until_ns(lease);
        let end_ns = now_ns() + self.thinking_ms(rng, &hold.request) * 1_000_000;
        loop {
            if rng.one_in(20) && !self.ignores_deadlines() {
                let ttl_ms = rng.between(hold.request.ttl_ms, MAX_TTL_MS);
                let called_ns = now_ns();
                let result = face.extend(lease, ttl_ms);
                self.log_call("extend", called_ns, now_ns(), self.bound_ms(0), result);
            }
            let seen_ns = self.valid_until_ns(lease);
            if seen_ns == 0 {
                return false;
            }
            if seen_ns > valid_until_ns {
                valid_until_ns = seen_ns;
                self.log.write(&Entry::Until { id, valid_until_ns });
            }
            let now_ns = now_ns();
            if now_ns >= end_ns {
                return true;
            }
            face.pause(Duration::from_nanos(end_ns - now_ns).min(Duration::from_millis(LOOK_MS)));
        }
    }

    fn give_back(&self, rng: &mut Rng, face: &Face<'_>, hold: &Hold) {
        let &Hold { id, ref lease, .. } = hold;
        let called_ns = now_ns();
        self.log.write(&Entry::Over { id, at_ns: called_ns });
        let (kind, result) = match rng.below(40) {
            0 => return,
            1..=4 => {
                let _ = lease.unlock_nowait();
                ("release", Ok(()))
            }
            5 | 6 => ("unlock-token", face.unlock_token(lease)),
            _ => ("unlock", face.unlock(lease)),
        };
        self.log_call(kind, called_ns, now_ns(), self.bound_ms(0), result);
    }

    /// The faults are over: every resource can be had again.
    fn calm(&self) {
        for resource in 0..RESOURCES {
            let ttl_ms = self.character.ttls_ms[1];
            let request =
                LockRequest { resource: name(resource), ttl_ms, wait_ms: CALM_WAIT_MS, ..LockRequest::default() };
            let request = LockRequest { retries: Some(u64::MAX), ..request };
            let called_ns = now_ns();
            let result = self.handle.lock(&request);
            self.log.write(&Entry::Calm { resource, status: status(&result) });
            if let Err(error) = &result {
                eprintln!("after the faults: {error}");
            }
            self.log_call("calm-lock", called_ns, now_ns(), self.bound_ms(CALM_WAIT_MS), result.as_ref().map(|_| ()));
            if let Ok(lease) = result {
                let called_ns = now_ns();
                let result = lease.unlock();
                self.log_call("calm-unlock", called_ns, now_ns(), self.bound_ms(0), result);
            }
        }
    }

    fn log_call<E: Borrow<Error>>(
        &self,
        kind: &str,
        called_ns: u64,
        ended_ns: u64,
        bound_ms: u64,
        result: Result<(), E>,
    ) {
        let status = status(&result);
        self.log.write(&Entry::Call { kind: kind.to_owned(), called_ns, ended_ns, bound_ms, status });
    }

    /// A call ends with its wait, except for an attempt that is under way then: at most two connections are made and
    /// two rounds asked (the same bound as in the simulator).
    fn bound_ms(&self, wait_ms: i64) -> u64 {
        let options = &self.character.options;
        wait_ms as u64 + 2 * (options.connect_timeout_ms + options.node_timeout_ms) + SLACK_MS
    }

    fn ignores_deadlines(&self) -> bool {
        self.orders.defect != Defect::None
    }

    /// Until when this client believes it holds the lease; 0: it is over.
    fn valid_until_ns(&self, lease: &Lease) -> u64 {
        if self.ignores_deadlines() { u64::MAX } else { lease.valid_until_ns() }
    }
}

/// A lease in this client's hands.
struct Hold {
    id: LeaseId,
    resource: usize,
    /// 0: none was asked for.
    fence: u64,
    request: LockRequest,
    lease: Lease,
}

fn status<T, E: Borrow<Error>>(result: &Result<T, E>) -> String {
    result.as_ref().map_or_else(|error| format!("{:?}", error.borrow().status), |_| "Ok".to_owned())
}

fn name(resource: usize) -> Vec<u8> {
    format!("resource/{resource}").into()
}
