//! Locks through Toxiproxy: every toxic on one node, a minority and a majority of five, in each phase of a lock's life.
//!
//! What is expected: a minority costs nobody more than the node timeout and some slack; a majority that cannot work gives an error that
//! names the nodes, in time; what reports success is true on a quorum of the servers; and once the network has healed
//! nothing is left on any server and the handle works as before.

#[path = "../support/mod.rs"]
mod support;
mod toxics;

use std::thread;
use std::time::{Duration, Instant};

use crate::support::locking::{pending_releases, up_count};
use crate::support::{Certificates, Cluster, Node, ToxicProxy, Toxiproxy, resource, spawn, wait_for};
use crate::toxics::{TOXICS, Toxic};
use redlock::core::report::Status;
use redlock::engine::{Error, Lease, LeaseState, LockRequest, Options, Redlock, RestartGuard};

const NODES: usize = 5;
const QUORUM: usize = 3;
/// One node, a minority, a majority.
const HIT: [usize; 3] = [1, 2, 3];

const NODE_TIMEOUT_MS: u64 = 150;
const STALL_TIMEOUT_MS: u64 = 300;
const CONNECT_TIMEOUT_MS: u64 = 400;
/// What a busy machine adds: threads that do not run when they could, in this process, the proxy and five servers.
const SLACK_MS: u64 = 250;
const MINORITY_LIMIT_MS: u64 = NODE_TIMEOUT_MS + SLACK_MS;
/// An attempt whose connections ended is made again, once, and may wait for one connection that is being made.
const MAJORITY_LIMIT_MS: u64 = 2 * NODE_TIMEOUT_MS + CONNECT_TIMEOUT_MS + SLACK_MS;
/// How long a waiter waits for a lock.
const WAIT_MS: u64 = 500;
/// Nothing expires by itself.
const TTL_MS: u64 = 60_000;
const LONGER_TTL_MS: u64 = 200_000;
/// Connections that hang are given up and made again, with pauses of up to a second between dials.
const HEALING: Duration = Duration::from_secs(8);

struct Rig {
    toxiproxy: Toxiproxy,
    proxies: Vec<ToxicProxy>,
    cluster: Cluster,
    urls: Vec<String>,
    options: Options,
    _certificates: Option<Certificates>,
}

impl Rig {
    fn plain() -> Rig {
        if let Some((toxiproxy, proxies)) = Toxiproxy::given() {
            let cluster = Cluster::given_or_start(NODES);
            assert_eq!((cluster.len(), proxies.len()), (NODES, NODES), "REDLOCK_TEST_NODES and REDLOCK_TOXIPROXY");
            toxiproxy.heal();
            return Rig::of(toxiproxy, proxies, cluster, "redis://127.0.0.1", options(), None);
        }
        let cluster = Cluster::start(NODES);
        let ports: Vec<u16> = cluster.iter().map(Node::port).collect();
        Rig::behind(cluster, &ports, "redis://127.0.0.1", options(), None)
    }

    /// Servers that are reached by TLS. None where the server program has no TLS.
    fn tls() -> Option<Rig> {
        if !support::tls::server_has_tls() {
            return None;
        }
        let certificates = Certificates::make();
        let mut ports = Vec::new();
        let nodes = (0..NODES).map(|_| {
            let port = spawn::free_port();
            ports.push(port);
            let arguments = certificates.server_arguments(port, false);
            Node::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
        });
        let cluster = Cluster::from_nodes(nodes.collect());
        let options = Options { tls_ca_file: Some(certificates.path("ca.pem")), ..options() };
        Some(Rig::behind(cluster, &ports, "rediss://127.0.0.1", options, Some(certificates)))
    }

    fn behind(
        cluster: Cluster,
        ports: &[u16],
        scheme: &str,
        options: Options,
        certificates: Option<Certificates>,
    ) -> Rig {
        let toxiproxy = Toxiproxy::start();
        let proxies = ports.iter().enumerate().map(|(i, &port)| toxiproxy.proxy_to(&format!("redis{i}"), port));
        let proxies = proxies.collect();
        Rig::of(toxiproxy, proxies, cluster, scheme, options, certificates)
    }

    fn of(
        toxiproxy: Toxiproxy,
        proxies: Vec<ToxicProxy>,
        cluster: Cluster,
        scheme: &str,
        options: Options,
        _certificates: Option<Certificates>,
    ) -> Rig {
        let urls = proxies.iter().map(|proxy| format!("{scheme}:{}", proxy.port)).collect();
        Rig { toxiproxy, proxies, cluster, urls, options, _certificates }
    }

    fn handle(&self) -> Redlock {
        Redlock::new(&self.urls, &self.options).expect("valid options")
    }

    /// A handle whose connections all work.
    fn ready(&self) -> Redlock {
        let handle = self.handle();
        assert!(wait_for(HEALING, || up_count(&handle) == NODES), "not all nodes come up");
        handle
    }

    /// A lease that all five nodes have, so that a quorum that did something can be told from one that did not.
    fn held_everywhere(&self, key: &str) -> (Redlock, Lease) {
        let handle = self.ready();
        let lease = handle.lock(&request(key, 0)).expect("a healthy network");
        assert!(wait_for(HEALING, || self.cluster.holding(key) == NODES));
        (handle, lease)
    }

    /// A handle that does without the proxies, for others' locks.
    fn direct(&self) -> Redlock {
        Redlock::new(&self.cluster.urls(), &options()).expect("valid options")
    }

    /// False where this Toxiproxy does not know the toxic.
    fn poison(&self, toxic: &Toxic, hit: usize) -> bool {
        self.proxies[..hit].iter().all(|proxy| toxic.put(&self.toxiproxy, proxy))
    }
}

fn options() -> Options {
    Options {
        node_timeout_ms: NODE_TIMEOUT_MS,
        stall_timeout_ms: STALL_TIMEOUT_MS,
        connect_timeout_ms: CONNECT_TIMEOUT_MS,
        retry_delay_ms: 20,
        retry_jitter_ms: 20,
        restart_guard: RestartGuard::Off,
        ..Options::default()
    }
}

fn request(key: &str, wait_ms: u64) -> LockRequest {
    LockRequest { resource: key.into(), ttl_ms: TTL_MS, wait_ms: wait_ms as i64, ..LockRequest::default() }
}

/// One toxic on so many nodes, in one phase.
struct Case<'a> {
    rig: &'a Rig,
    toxic: &'a Toxic,
    hit: usize,
    key: String,
}

/// What the call under the toxic returned, and how long it took.
struct Tried<T> {
    result: Result<T, Error>,
    took: Duration,
}

fn timed<T>(call: impl FnOnce() -> Result<T, Error>) -> Tried<T> {
    let begun = Instant::now();
    let result = call();
    Tried { result, took: begun.elapsed() }
}

impl Case<'_> {
    fn poison(&self) {
        assert!(self.rig.poison(self.toxic, self.hit), "{self}: known a moment ago");
    }

    /// Judges one call by the class of the fault. `waits_ms`: for how long the call was told to wait.
    fn judge<T>(&self, tried: &Tried<T>, waits_ms: u64) {
        let took_ms = tried.took.as_millis() as u64;
        let is_minority = self.hit < QUORUM;
        let limit_ms = if is_minority { MINORITY_LIMIT_MS } else { waits_ms + MAJORITY_LIMIT_MS };
        assert!(took_ms <= limit_ms, "{self}: took {took_ms} ms of {limit_ms}: {}", said(&tried.result));
        match &tried.result {
            Ok(_) => assert!(is_minority || !self.toxic.is_fatal, "{self}: nobody could have answered"),
            Err(error) => {
                assert!(!is_minority && !self.toxic.is_harmless, "{self}: {error}");
                let is_honest = matches!(error.status, Status::NoQuorum | Status::Unknown)
                    || waits_ms > 0 && error.status == Status::NotAcquired;
                assert!(is_honest, "{self}: {:?}: {error}", error.status);
                assert!(error.message.contains("node 1: "), "{self}: {error}");
            }
        }
    }

    /// A lock that was reported as taken is taken: on a quorum, and for everybody else.
    fn check_held(&self, lease: &Lease) {
        assert_eq!(lease.state(), LeaseState::Held, "{self}");
        assert!(self.rig.cluster.holding(&self.key) >= QUORUM, "{self}: reported as held");
        let other = self.rig.direct().lock(&request(&self.key, 0));
        assert!(matches!(&other, Err(error) if error.status == Status::NotAcquired), "{self}: {}", said(&other));
    }

    /// Heals the network; then the handle reaches every node, owes nothing, works, and has left nothing.
    fn heal(&self, handle: &Redlock, lease: Option<&Lease>) {
        self.rig.toxiproxy.heal();
        if let Some(lease) = lease {
            let released = lease.unlock();
            assert!(released.is_ok() || self.hit >= QUORUM, "{self}: unlock after healing: {}", said(&released));
        }
        let is_settled = || up_count(handle) == NODES && pending_releases(handle) == 0;
        assert!(
            wait_for(HEALING, is_settled),
            "{self}: not healed: {} up, {} owed",
            up_count(handle),
            pending_releases(handle)
        );
        let is_clean = || self.rig.cluster.iter().all(|node| node.get(&self.key).is_none());
        assert!(wait_for(HEALING, is_clean), "{self}: the key remains on {}", self.rig.cluster.holding(&self.key));
        let again = timed(|| handle.lock(&request(&self.key, 0))?.unlock());
        assert!(again.result.is_ok(), "{self}: after healing: {}", said(&again.result));
        assert!(wait_for(HEALING, is_clean), "{self}: the key remains after it was healed");
    }
}

impl std::fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {} of {NODES}", self.toxic.name, self.hit)
    }
}

fn said<T>(result: &Result<T, Error>) -> String {
    result.as_ref().map_or_else(ToString::to_string, |_| "ok".into())
}

/// Runs all toxics on all counts of nodes and prints the figures. `phase` returns how long its call took.
fn every_case(name: &str, rig: &Rig, phase: impl Fn(&Case<'_>) -> Duration) {
    let (mut cases, mut slowest, mut missing) = (0, [Duration::ZERO; 2], Vec::new());
    for toxic in TOXICS {
        let is_known = rig.poison(toxic, 1);
        rig.toxiproxy.heal();
        if !is_known {
            missing.push(toxic.name);
            continue;
        }
        for hit in HIT {
            let took = phase(&Case { rig, toxic, hit, key: resource(name) });
            let class = &mut slowest[usize::from(hit >= QUORUM)];
            *class = (*class).max(took);
            cases += 1;
        }
    }
    let own = std::env::var("REDLOCK_TOXIPROXY").is_err();
    assert!(missing.is_empty() || !own, "toxics that this version must know: {missing:?}");
    for node in rig.cluster.iter().filter(|_| own) {
        assert_eq!(node.cli(&["KEYS", "*"]), "", "nothing is left");
    }
    println!(
        "toxiproxy {name}: {cases} cases, slowest call {} ms with a minority hit, {} ms with a majority",
        slowest[0].as_millis(),
        slowest[1].as_millis()
    );
    missing.iter().for_each(|toxic| println!("lacks: {toxic}, in the Toxiproxy that was given"));
}

#[test]
fn lock() {
    let rig = Rig::plain();
    every_case("lock", &rig, |case| {
        let handle = rig.ready();
        case.poison();
        let tried = timed(|| handle.lock(&request(&case.key, 0)));
        case.judge(&tried, 0);
        if let Ok(lease) = &tried.result {
            case.check_held(lease);
        }
        case.heal(&handle, tried.result.as_ref().ok());
        tried.took
    });
}

#[test]
fn extend() {
    let rig = Rig::plain();
    every_case("extend", &rig, |case| {
        let (handle, lease) = rig.held_everywhere(&case.key);
        case.poison();
        let tried = timed(|| lease.extend(LONGER_TTL_MS));
        case.judge(&tried, 0);
        case.check_held(&lease);
        if tried.result.is_ok() {
            let extended = rig.cluster.iter().filter(|node| node.pttl_ms(&case.key) > TTL_MS as i64).count();
            assert!(extended >= QUORUM, "{case}: extended on {extended}");
            assert!(lease.remaining_ms() > TTL_MS as i64, "{case}");
        } else {
            assert!(lease.remaining_ms() <= TTL_MS as i64, "{case}: a failed extension prolongs nothing");
        }
        case.heal(&handle, Some(&lease));
        tried.took
    });
}

#[test]
fn unlock() {
    let rig = Rig::plain();
    every_case("unlock", &rig, |case| {
        let (handle, lease) = rig.held_everywhere(&case.key);
        case.poison();
        let tried = timed(|| lease.unlock());
        case.judge(&tried, 0);
        assert_ne!(lease.state(), LeaseState::Held, "{case}: over whatever was confirmed");
        if tried.result.is_ok() {
            let holding = rig.cluster.holding(&case.key);
            assert!(holding <= NODES - QUORUM, "{case}: reported as released, held on {holding}");
        }
        case.heal(&handle, None);
        tried.took
    });
}

#[test]
fn wait() {
    let rig = Rig::plain();
    let holder = rig.direct();
    every_case("wait", &rig, |case| {
        let handle = rig.ready();
        let held = holder.lock(&request(&case.key, 0)).expect("a healthy network");
        let tried = thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let tried = timed(|| handle.lock(&request(&case.key, WAIT_MS)));
                (tried, Instant::now())
            });
            thread::sleep(Duration::from_millis(50));
            case.poison();
            thread::sleep(Duration::from_millis(50));
            let freed = Instant::now();
            held.unlock().expect("the holder's network is healthy");
            let (tried, ended) = waiter.join().expect("the waiter");
            // The cost is what comes after the lock was free.
            Tried { took: ended.saturating_duration_since(freed), ..tried }
        });
        case.judge(&tried, WAIT_MS);
        if let Ok(lease) = &tried.result {
            case.check_held(lease);
        }
        case.heal(&handle, tried.result.as_ref().ok());
        tried.took
    });
}

fn first_lock_of_a_handle(name: &str, rig: &Rig) {
    every_case(name, rig, |case| {
        case.poison();
        let handle = rig.handle();
        let tried = timed(|| handle.lock(&request(&case.key, 0)));
        case.judge(&tried, 0);
        if let Ok(lease) = &tried.result {
            case.check_held(lease);
        }
        case.heal(&handle, tried.result.as_ref().ok());
        tried.took
    });
}

#[test]
fn handshake() {
    first_lock_of_a_handle("handshake", &Rig::plain());
}

#[test]
fn tls_handshake() {
    match Rig::tls() {
        _ if std::env::var("REDLOCK_TOXIPROXY").is_ok() => println!("lacks: TLS servers behind the Toxiproxy given"),
        Some(rig) => first_lock_of_a_handle("TLS handshake", &rig),
        None => println!("lacks: TLS in the server program"),
    }
}
