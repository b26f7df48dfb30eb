//! The faults, in an order that follows from the seed.
//!
//! It keeps to what the algorithm makes promises about: fewer than a quorum of the servers lose state within the life of
//! the longest lease (and the restart guard is on), an administrator deletes the keys only of a lease that every node
//! holds and only on a minority, and clients of the `seen` guard live longer than any server.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::plan::{KEY_PREFIX, MAX_TTL_MS, NODES, QUORUM, RESOURCES};
use crate::record::now_ns;
use crate::rig::Rig;
use crate::rng::Rng;
use crate::support::Reply;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    ServerKilled,
    ServerStopped,
    ServerAsleep,
    ClientKilled,
    ClientStopped,
    ConnectionsKilled,
    ConnectionsReset,
    ScriptsFlushed,
    KeysDeleted,
    RequestsHeld,
    RepliesHeld,
    BothHeld,
    ClientCutOff,
    ServerCutOff,
    Slow,
}

/// The client's pauses are named most often: they are what fencing is for.
const FAULTS: [Fault; 17] = [
    Fault::ServerKilled,
    Fault::ServerStopped,
    Fault::ServerAsleep,
    Fault::ClientKilled,
    Fault::ClientStopped,
    Fault::ClientStopped,
    Fault::ClientStopped,
    Fault::ConnectionsKilled,
    Fault::ConnectionsReset,
    Fault::ScriptsFlushed,
    Fault::KeysDeleted,
    Fault::RequestsHeld,
    Fault::RepliesHeld,
    Fault::BothHeld,
    Fault::ClientCutOff,
    Fault::ServerCutOff,
    Fault::Slow,
];

/// A server that came back without its data counts as forgetful for this long: the guard's time, and what reconnecting
/// to it may take.
const FORGETFUL: Duration = Duration::from_millis(MAX_TTL_MS + 1_500);

const COMPARE_AND_DELETE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// How often each was injected.
#[derive(Debug, Clone, Default)]
pub struct Counts(BTreeMap<Fault, u64>);

impl Counts {
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} faults:", self.total())?;
        self.0.iter().try_for_each(|(fault, count)| write!(f, " {fault:?} {count}"))
    }
}

#[derive(Debug)]
enum End {
    RestartServer(usize),
    ResumeServer(usize),
    WakeServer(usize),
    RestartClient(usize),
    /// With the moment at which it was stopped.
    ResumeClient(usize, u64),
    ReleaseProxy(usize, usize),
    Welcome(usize, usize),
}

pub struct Nemesis<'a> {
    rig: &'a mut Rig,
    rng: Rng,
    active: Vec<(Instant, End)>,
    /// Servers and clients to which something is done that another fault must not disturb.
    busy_servers: [bool; NODES],
    busy_clients: Vec<bool>,
    /// Until when a server that lost its data is counted.
    forgetful_until: [Option<Instant>; NODES],
    counts: Counts,
    story: File,
}

impl Nemesis<'_> {
    pub fn new(rig: &mut Rig) -> Nemesis<'_> {
        let busy_clients = vec![false; rig.slots.len()];
        let rng = Rng::new(rig.plan.seed);
        let story = File::create(rig.dir.path().join("faults")).expect("a writable directory");
        Nemesis {
            rig,
            rng,
            active: Vec::new(),
            busy_servers: [false; NODES],
            busy_clients,
            forgetful_until: [None; NODES],
            counts: Counts::default(),
            story,
        }
    }

    /// Does its work for the time of the plan, and ends every fault.
    pub fn rage(mut self, findings: &mut Vec<String>) -> Counts {
        let end = Instant::now() + self.rig.plan.stormy;
        let mut next = Instant::now();
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
            self.end_faults(Instant::now());
            self.rig.find_deserters(findings);
            if self.rig.plan.has_faults && Instant::now() >= next {
                let fault = self.rng.pick(&FAULTS);
                let duration = Duration::from_millis(self.rng.spread(30, 2_500));
                if let Some(target) = self.inject(fault, duration) {
                    *self.counts.0.entry(fault).or_default() += 1;
                    self.tell(format_args!("{fault:?} {target} for {} ms", duration.as_millis()));
                }
                next = Instant::now() + Duration::from_millis(self.rng.spread(10, 600));
            }
        }
        self.end_faults(end + Duration::from_secs(3_600));
        self.counts
    }

    /// For whoever looks for the cause of a violation.
    fn tell(&mut self, what: fmt::Arguments<'_>) {
        writeln!(self.story, "{} {what}", now_ns()).expect("room on the disk");
    }

    /// To whom it was done; `None`: not now.
    fn inject(&mut self, fault: Fault, duration: Duration) -> Option<String> {
        let end = Instant::now() + duration;
        Some(match fault {
            Fault::ServerKilled => {
                let server = self.idle_server()?;
                let now = Instant::now();
                let forgetful = (0..NODES).filter(|&other| other != server);
                let forgetful = forgetful.filter(|&other| self.forgetful_until[other].is_some_and(|until| until > now));
                if forgetful.count() + 1 >= QUORUM {
                    return None;
                }
                self.rig.cluster[server].kill();
                self.forgetful_until[server] = Some(end + FORGETFUL);
                self.keep_busy(server, end, End::RestartServer(server));
                format!("server {server}")
            }
            Fault::ServerStopped => {
                let server = self.idle_server()?;
                self.rig.cluster[server].stop();
                self.keep_busy(server, end, End::ResumeServer(server));
                format!("server {server}")
            }
            Fault::ServerAsleep => {
                let server = self.idle_server()?;
                let seconds = format!("{}", duration.as_secs_f64());
                self.rig.cluster[server].connect().send(&[b"DEBUG", b"SLEEP", seconds.as_bytes()]).ok()?;
                self.keep_busy(server, end, End::WakeServer(server));
                format!("server {server}")
            }
            Fault::ClientKilled => {
                let client = self.idle_client()?;
                if !self.rig.slots[client].character.is_mortal {
                    return None;
                }
                self.rig.kill_client(client);
                self.busy_clients[client] = true;
                self.active.push((end, End::RestartClient(client)));
                format!("client {client}")
            }
            Fault::ClientStopped => {
                let client = self.idle_client()?;
                let stopped_ns = now_ns();
                self.rig.signal_client(client, libc::SIGSTOP);
                self.busy_clients[client] = true;
                // Mostly longer than what is left of a lease.
                self.active.push((end + 2 * duration, End::ResumeClient(client, stopped_ns)));
                format!("client {client}")
            }
            Fault::ConnectionsKilled => {
                let server = self.idle_server()?;
                self.rig.cluster[server].cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
                format!("server {server}")
            }
            Fault::ScriptsFlushed => {
                let server = self.idle_server()?;
                self.rig.cluster[server].cli(&["SCRIPT", "FLUSH"]);
                format!("server {server}")
            }
            Fault::KeysDeleted => self.delete_keys()?,
            Fault::ConnectionsReset => {
                let (client, node) = self.proxy()?;
                self.rig.slots[client].proxies[node].refuse_new(true);
                self.rig.slots[client].proxies[node].reset_all();
                self.active.push((end, End::Welcome(client, node)));
                format!("client {client} server {node}")
            }
            Fault::RequestsHeld | Fault::RepliesHeld | Fault::BothHeld => {
                let (client, node) = self.proxy()?;
                self.hold(client, node, fault, end);
                format!("client {client} server {node}")
            }
            Fault::ClientCutOff => {
                let (client, _) = self.proxy()?;
                // From one node, from a minority, from a majority, or from all.
                let first = self.rng.index(NODES);
                let count = 1 + self.rng.index(NODES);
                let how = self.rng.pick(&[Fault::RequestsHeld, Fault::RepliesHeld, Fault::BothHeld]);
                (first..first + count).for_each(|node| self.hold(client, node % NODES, how, end));
                format!("client {client} from {count} servers after {first}, {how:?}")
            }
            Fault::ServerCutOff => {
                let node = self.rng.index(NODES);
                let how = self.rng.pick(&[Fault::RequestsHeld, Fault::RepliesHeld, Fault::BothHeld]);
                for client in 0..self.rig.slots.len() {
                    if !self.rig.slots[client].proxies.is_empty() {
                        self.hold(client, node, how, end);
                    }
                }
                format!("server {node}, {how:?}")
            }
            Fault::Slow => {
                let (client, node) = self.proxy()?;
                let delay_ms = self.rng.spread(1, 150);
                self.rig.slots[client].proxies[node].delay(delay_ms);
                self.active.push((end, End::ReleaseProxy(client, node)));
                format!("client {client} server {node}")
            }
        })
    }

    /// As an administrator might, on a minority of the nodes, the keys of a lease that all nodes hold.
    fn delete_keys(&mut self) -> Option<String> {
        if self.busy_servers.contains(&true) {
            return None;
        }
        let key = format!("{KEY_PREFIX}resource/{}", self.rng.index(RESOURCES));
        let mut tokens = self.rig.cluster.iter().map(|node| node.get(&key));
        let token = tokens.next()??;
        if !tokens.all(|other| other.as_ref() == Some(&token)) {
            return None;
        }
        let first = self.rng.index(NODES);
        let count = 1 + self.rng.index(NODES - QUORUM);
        let mut deleted = 0;
        for node in first..first + count {
            let command: [&[u8]; 5] = [b"EVAL", COMPARE_AND_DELETE.as_bytes(), b"1", key.as_bytes(), &token];
            deleted += i64::from(self.rig.cluster[node % NODES].query(&command) == Reply::Int(1));
        }
        (deleted > 0).then(|| format!("{key} on {count} servers after {first}"))
    }

    fn hold(&mut self, client: usize, node: usize, how: Fault, end: Instant) {
        let proxy = &self.rig.slots[client].proxies[node];
        if how != Fault::RepliesHeld {
            proxy.hold_to_server();
        }
        if how != Fault::RequestsHeld {
            proxy.hold_to_client();
        }
        self.active.push((end, End::ReleaseProxy(client, node)));
    }

    fn end_faults(&mut self, now: Instant) {
        let active = std::mem::take(&mut self.active).into_iter();
        let (over, active): (Vec<_>, Vec<_>) = active.partition(|&(end, _)| end <= now);
        self.active = active;
        for (_, end) in over {
            self.tell(format_args!("end of {end:?}"));
            match end {
                End::RestartServer(server) => {
                    self.rig.cluster[server].restart();
                    self.forgetful_until[server] = Some(Instant::now() + FORGETFUL);
                    self.busy_servers[server] = false;
                }
                End::ResumeServer(server) => {
                    self.rig.cluster[server].cont();
                    self.busy_servers[server] = false;
                }
                End::WakeServer(server) => {
                    // It wakes by itself; this waits for the rest of its sleep, if there is any.
                    let _ = self.rig.cluster[server].connect().query(&[b"PING"]);
                    self.busy_servers[server] = false;
                }
                End::RestartClient(client) => {
                    self.rig.start_client(client);
                    self.busy_clients[client] = false;
                }
                End::ResumeClient(client, stopped_ns) => {
                    self.rig.signal_client(client, libc::SIGCONT);
                    self.rig.slots[client].pauses.push((stopped_ns, now_ns()));
                    self.busy_clients[client] = false;
                }
                End::ReleaseProxy(client, node) => {
                    let proxy = &self.rig.slots[client].proxies[node];
                    proxy.release();
                    proxy.delay(0);
                }
                End::Welcome(client, node) => self.rig.slots[client].proxies[node].refuse_new(false),
            }
        }
    }

    fn keep_busy(&mut self, server: usize, until: Instant, end: End) {
        self.busy_servers[server] = true;
        self.active.push((until, end));
    }

    fn idle_server(&mut self) -> Option<usize> {
        let server = self.rng.index(NODES);
        (!self.busy_servers[server]).then_some(server)
    }

    fn idle_client(&mut self) -> Option<usize> {
        let client = self.rng.index(self.rig.slots.len());
        (!self.busy_clients[client] && self.rig.slots[client].child.is_some()).then_some(client)
    }

    fn proxy(&mut self) -> Option<(usize, usize)> {
        let (client, node) = (self.rng.index(self.rig.slots.len()), self.rng.index(NODES));
        (!self.rig.slots[client].proxies.is_empty()).then_some((client, node))
    }
}
