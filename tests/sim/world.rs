//! The world of one schedule: true time and the events in their order. What clients do is in `driver.rs` and `work.rs`,
//! what servers do in `traffic.rs`, what goes wrong in `faults.rs`, what must hold in `checks.rs`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use redlock::core::time::NS_PER_MS;

use crate::client::Client;
use crate::knobs::{Guarding, Knobs, Setup};
use crate::net::Conn;
use crate::node::{self, Node};
use crate::rng::{Rng, TokenId};

/// Something that happens at a moment of true time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// Messages may have arrived at the server's end.
    ToServer(u32),
    /// Messages may have arrived at the client's end.
    ToClient(u32),
    /// The client's next deadline is due.
    Wake(u8),
    /// A stopped client goes on.
    Resume(u8),
    /// A thread does what it does next.
    Act(u8, u8),
    /// The next fault.
    Fault,
    NodeStart(u8),
    NodeResume(u8),
    /// The server looks for expired keys.
    Expire(u8),
    /// Faults are over.
    Calm,
}

/// Why a schedule failed.
#[derive(Debug, Clone)]
pub struct Violation {
    pub invariant: &'static str,
    pub detail: String,
}

/// What a schedule was worth.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    pub events: u64,
    pub virtual_ns: u64,
    pub locked: u64,
    pub failed: u64,
    pub extended: u64,
    pub unlocked: u64,
    pub lost: u64,
    pub faults: u64,
    /// Schedules in which every client guards against restarts.
    pub guarded: u64,
    /// Restarts without data that the guard covers.
    pub covered: u64,
}

/// More events than this in one schedule are a storm of the library's making.
const EVENTS_MAX: u64 = 300_000;

/// After the faults, everything must have come to rest within this.
const REST_NS: u64 = 300_000 * NS_PER_MS;

pub struct World {
    pub now: u64,
    pub rng: Rng,
    pub knobs: Knobs,
    pub nodes: Vec<Node>,
    pub clients: Vec<Client>,
    pub conns: Vec<Conn>,
    /// Until when nothing gets through, per client and node.
    pub cut_to_server: Vec<u64>,
    pub cut_to_client: Vec<u64>,
    pub is_calm: bool,
    /// The largest fencing token so far of every resource, and whose it was.
    pub highest_fence: [Option<(u64, TokenId)>; node::RESOURCES_MAX],
    /// A server lost its counters, and no guard keeps it from voting.
    pub are_counters_lost: bool,
    /// A server lost its counters, and clocks take their place.
    pub are_counters_replaced: bool,
    pub faults_left: usize,
    /// Since when each resource has been free on a quorum of the nodes; `u64::MAX`: it is not.
    pub free_since: [u64; node::RESOURCES_MAX],
    /// How often each has become free on a quorum of the nodes.
    pub turns: [u64; node::RESOURCES_MAX],
    pub summary: Summary,
    pub violation: Option<Violation>,
    pub is_told: bool,
    heap: BinaryHeap<Reverse<(u64, u32, Event)>>,
    order: u32,
}

/// Writes a line of the trace, when somebody wants to read it.
macro_rules! tell {
    ($world:expr, $($line:tt)*) => {
        if $world.is_told {
            $world.note(format!($($line)*));
        }
    };
}
pub(crate) use tell;

impl World {
    pub fn new(seed: u64, setup: Setup, is_told: bool) -> World {
        let mut rng = Rng::new(seed);
        let knobs = Knobs::new(setup.mode, &mut rng);
        let nodes = (0..knobs.node_count).map(|at| {
            let (skew_ns, uptime_s) = (knobs.node_skews_ns[at], knobs.node_uptimes_s[at]);
            let mut node = Node::new(at, knobs.node_clocks[at], skew_ns, uptime_s);
            node.script_fault = setup.script_fault;
            node.strangers = knobs.strangers[at];
            node
        });
        let clients = knobs.clients.iter().enumerate().map(|(client, of_client)| {
            let chance = Rng::new(rng.next());
            Client::new(client, of_client.clone(), chance)
        });
        World {
            now: 0,
            nodes: nodes.collect(),
            clients: clients.collect(),
            conns: Vec::new(),
            cut_to_server: vec![0; knobs.clients.len() * knobs.node_count],
            cut_to_client: vec![0; knobs.clients.len() * knobs.node_count],
            is_calm: false,
            highest_fence: [None; node::RESOURCES_MAX],
            are_counters_lost: false,
            are_counters_replaced: false,
            faults_left: knobs.fault_count,
            free_since: [u64::MAX; node::RESOURCES_MAX],
            turns: [0; node::RESOURCES_MAX],
            summary: Summary { guarded: u64::from(knobs.guarding != Guarding::Partly), ..Summary::default() },
            violation: None,
            is_told,
            heap: BinaryHeap::with_capacity(256),
            order: 0,
            rng,
            knobs,
        }
    }

    /// Plays the schedule to its end.
    pub fn run(&mut self) {
        tell!(self, "{:#?}", self.knobs);
        self.begin_all();
        while let Some(Reverse((at, _, event))) = self.heap.pop() {
            debug_assert!(at >= self.now, "time goes forward");
            self.now = at;
            self.happen(event);
            if self.knobs.is_peaceful {
                self.check_availability();
            }
            self.summary.events += 1;
            if self.summary.events > EVENTS_MAX {
                self.fail("comes to rest", format!("more than {EVENTS_MAX} events"));
            } else if self.now > self.knobs.stormy_ns + REST_NS {
                self.fail("comes to rest", "events long after the faults were over".to_owned());
            }
            if self.violation.is_some() {
                return;
            }
        }
        self.summary.virtual_ns = self.now;
        self.check_rest();
    }

    fn begin_all(&mut self) {
        for client in 0..self.clients.len() {
            match self.clients[client].paused_until_ns {
                0 => self.attend(client),
                begins_ns => self.at(begins_ns, Event::Resume(client as u8)),
            }
            for worker in 0..self.clients[client].workers.len() {
                let at = self.rng.below(50 * NS_PER_MS);
                self.at(at, Event::Act(client as u8, worker as u8));
            }
        }
        self.at(self.knobs.stormy_ns, Event::Calm);
        for _ in 0..self.faults_left {
            let at = self.rng.below(self.knobs.stormy_ns);
            self.at(at, Event::Fault);
        }
    }

    pub fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.heap.push(Reverse((at.max(self.now), self.order, event)));
    }

    pub fn note(&self, line: String) {
        println!("{:>12.3}  {line}", self.now as f64 / NS_PER_MS as f64);
    }

    pub fn fail(&mut self, invariant: &'static str, detail: String) {
        tell!(self, "VIOLATION of '{invariant}': {detail}");
        self.violation.get_or_insert(Violation { invariant, detail });
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToServer(conn) => self.deliver_to_server(conn as usize),
            Event::ToClient(conn) => self.deliver_to_client(conn as usize),
            Event::Wake(client) => {
                let client = client as usize;
                if self.clients[client].wake_ns == self.now {
                    self.clients[client].wake_ns = u64::MAX;
                    if self.is_running(client) {
                        self.attend(client);
                        self.check_progress(client);
                    }
                }
            }
            Event::Resume(client) => {
                let client = client as usize;
                if self.clients[client].is_alive && self.clients[client].paused_until_ns <= self.now {
                    self.resume(client);
                }
            }
            Event::Act(client, worker) => {
                let of = &self.clients[client as usize];
                if of.is_alive && of.paused_until_ns > self.now {
                    self.at(of.paused_until_ns, event);
                } else if of.is_alive {
                    self.act(client as usize, worker as usize);
                }
            }
            Event::Fault if !self.is_calm => self.strike(),
            Event::Fault => {}
            Event::NodeStart(node) => self.start_node(node as usize),
            Event::NodeResume(node) => self.resume_node(node as usize),
            Event::Expire(node) => self.expire(node as usize),
            Event::Calm => self.calm(),
        }
    }

    pub fn is_running(&self, client: usize) -> bool {
        let client = &self.clients[client];
        client.is_alive && client.paused_until_ns <= self.now && client.is_attended()
    }

    /// Stops a client for a while.
    pub fn pause(&mut self, client: usize) {
        let for_ns = self.fault_ns();
        tell!(self, "c{client} is stopped for {:.3} ms", for_ns as f64 / NS_PER_MS as f64);
        let until = self.clients[client].paused_until_ns.max(self.now + for_ns);
        self.clients[client].paused_until_ns = until;
        self.at(until, Event::Resume(client as u8));
    }

    /// How long a fault lasts.
    pub fn fault_ns(&mut self) -> u64 {
        let [least, most] = self.knobs.fault_ns;
        self.rng.spread(least, most)
    }

    pub fn resume(&mut self, client: usize) {
        tell!(self, "c{client} goes on");
        self.transmit_unsent(client);
        // Whatever the pause delayed gets its time again.
        let of = &mut self.clients[client];
        let (now, grace_ns) = (of.now(self.now), of.grace_ns());
        for pending in &mut of.pending {
            if pending.must_end_mono_ns != u64::MAX {
                pending.must_end_mono_ns = pending.must_end_mono_ns.max(now.mono_ns + grace_ns);
            }
        }
        if self.clients[client].is_attended() {
            self.attend(client);
        }
    }
}
