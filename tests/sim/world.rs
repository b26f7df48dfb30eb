//! The world of one schedule: true time, events in order, servers, connections and clients.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use redlock::core::machine::Context;
use redlock::core::operation::{Completion, Input, OpKey, Operation, Output};
use redlock::core::report::Failure;
use redlock::core::request::{Fault, FaultKind, Push, Reply, Request, RequestKind};
use redlock::core::time::NS_PER_MS;

use crate::client::{Asked, Client, Phase};
use crate::knobs::{Knobs, Setup};
use crate::net::{Conn, ConnId, Item, Message};
use crate::node::{self, Change, Node};
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
    /// A server lost its counters, and no guard kept it from voting.
    pub are_counters_lost: bool,
    pub faults_left: usize,
    pub summary: Summary,
    pub violation: Option<Violation>,
    pub is_told: bool,
    heap: BinaryHeap<Reverse<(u64, u32, Event)>>,
    order: u32,
}

/// Writes a line of the story, when somebody wants to read it.
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
        let nodes = knobs.node_clocks.iter().zip(&knobs.node_skews_ns).enumerate().map(|(node, (&clock, &skew_ns))| {
            let mut node = Node::new(node, clock, skew_ns);
            node.script_fault = setup.script_fault;
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
            faults_left: knobs.fault_count,
            summary: Summary::default(),
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
            self.attend(client);
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

    // ---- the driver: what the engine does around the machine ----

    /// Reads and advances whatever is ready or due, then lets the machine judge who is late.
    pub fn attend(&mut self, client: usize) {
        for node in 0..self.nodes.len() {
            self.read(client, node);
        }
        self.look_at_the_clock(client);
    }

    fn look_at_the_clock(&mut self, client: usize) {
        let now = self.clients[client].now(self.now);
        self.clients[client].looked_ns = self.now;
        if self.clients[client].machine.next_deadline().is_some_and(|due| due <= now.mono_ns) {
            self.handle(client, Input::Tick);
        }
        let connect_timeout_ns = self.clients[client].connect_timeout_ns();
        for node in 0..self.nodes.len() {
            let deadline = self.clients[client].links[node].deadline_mono_ns(connect_timeout_ns);
            if deadline.is_some_and(|due| due <= now.mono_ns) {
                self.advance(client, node);
            }
        }
        self.leave(client);
    }

    /// Something is due at a link.
    fn advance(&mut self, client: usize, node: usize) {
        if let Phase::Greeting { .. } = self.clients[client].links[node].phase {
            self.link_failed(client, node, "no connection in time");
            return;
        }
        let conn = self.conns.len();
        self.conns.push(Conn::new(client, node));
        let of = &mut self.clients[client];
        let since_mono_ns = of.now(self.now).mono_ns;
        let kill = of.links[node].abandoned;
        of.links[node].phase = Phase::Greeting { conn, since_mono_ns };
        tell!(self, "c{client} dials n{node}: connection {conn}");
        self.handle(client, Input::Dialing { node });
        self.transmit(conn, Item::Hello { kill });
    }

    pub fn link_failed(&mut self, client: usize, node: usize, why: &'static str) {
        self.give_up(client, node);
        tell!(self, "c{client} loses n{node}: {why}");
        self.handle(client, Input::Down { node, fault: Fault::new(FaultKind::Unreachable, why) });
    }

    fn give_up(&mut self, client: usize, node: usize) {
        let now = self.clients[client].now(self.now);
        if let Some(conn) = self.clients[client].links[node].give_up(now) {
            self.clients[client].unsent.retain(|(unsent, _)| *unsent != conn);
            self.close_client_end(conn);
        }
    }

    /// The client's end closes. What is on its way may arrive all the same, as may what a stopped server has already
    /// taken into its buffer.
    pub fn close_client_end(&mut self, conn: ConnId) {
        let on_the_way = self.conns[conn].to_server.len();
        let kept = match self.rng.below(3) {
            0 => 0,
            1 => on_the_way,
            _ => self.rng.index(on_the_way + 1),
        };
        let closed = &mut self.conns[conn];
        closed.is_client_open = false;
        closed.to_server.truncate(kept);
        closed.to_client.clear();
        closed.client_buffer.clear();
        if !self.rng.one_in(4) {
            self.transmit(conn, Item::Goodbye);
        }
    }

    fn read(&mut self, client: usize, node: usize) {
        while let Some(conn) = self.clients[client].links[node].conn()
            && let Some(message) = self.conns[conn].client_buffer.pop_front()
        {
            match message {
                Message::Welcome(info) => {
                    let now = self.clients[client].now(self.now);
                    let link = &mut self.clients[client].links[node];
                    link.abandoned = None;
                    link.phase = Phase::Ready { conn, since_mono_ns: now.mono_ns };
                    tell!(self, "c{client} is connected to n{node}, run {}", info.run_id);
                    self.handle(client, Input::Up { node, info: *info });
                }
                Message::Reply(kind, reply, about) => {
                    let awaited = self.clients[client].machine.awaited(node);
                    if awaited != Some(kind) {
                        return self.fail("replies reach their requests", format!("{kind:?} answers {awaited:?}"));
                    }
                    tell!(self, "c{client} <- n{node} {kind:?}: {}", short(&reply));
                    if let Some((resource, token)) =
                        about.filter(|(_, token)| kind != RequestKind::Release && token.client == client)
                    {
                        self.hear(client, node, resource, token, &reply);
                    }
                    self.handle(client, Input::Reply { node, reply });
                }
                Message::Push(push) => {
                    tell!(self, "c{client} <- n{node} {push:?}");
                    self.handle(client, Input::Push { node, push });
                }
                Message::End => {
                    if self.rng.one_in(2) {
                        self.clients[client].links[node].abandoned = None;
                    }
                    self.link_failed(client, node, "connection closed by the server");
                }
            }
            if self.violation.is_some() {
                return;
            }
        }
    }

    /// What a node's answer to a SET or an extension lets its owner know.
    fn hear(&mut self, client: usize, node: usize, resource: u8, token: TokenId, reply: &Reply) {
        let of = &mut self.clients[client];
        match reply {
            Reply::Done | Reply::Fenced { .. } => of.fate(token).denied &= !(1 << node),
            Reply::Not => {
                of.fate(token).denied |= 1 << node;
                for pending in &mut of.pending {
                    if matches!(pending.asked, Asked::Lock { resource: wanted, .. } if wanted == resource) {
                        pending.said_held |= 1 << node;
                    }
                }
            }
            _ => {}
        }
    }

    /// Begins an operation.
    pub fn submit(&mut self, client: usize, operation: Operation) -> OpKey {
        let of = &mut self.clients[client];
        let mut context = Context { now: of.now(self.now), entropy: &mut of.chance };
        of.machine.submit(&mut context, operation)
    }

    /// Feeds the machine, and does what it wants done.
    pub fn handle(&mut self, client: usize, input: Input) {
        self.step(client, input);
        self.settle(client);
    }

    fn step(&mut self, client: usize, input: Input) {
        let of = &mut self.clients[client];
        let mut context = Context { now: of.now(self.now), entropy: &mut of.chance };
        of.machine.handle(&mut context, input);
    }

    pub fn settle(&mut self, client: usize) {
        while let Some(output) = self.clients[client].machine.poll_output() {
            match output {
                Output::Send { node, request } => self.queue(client, node, request),
                Output::Reset { node } => {
                    tell!(self, "c{client} gives up its connection to n{node}");
                    self.give_up(client, node);
                }
                Output::Completed { op, result } => self.completed(client, op, result),
                Output::Extended { result, .. } => self.summary.extended += u64::from(result.is_ok()),
                Output::Lease { lease, view } => {
                    if !self.lease_changed(client, lease, view) {
                        self.step(client, Input::Expired { lease });
                    }
                }
            }
            if self.violation.is_some() {
                return;
            }
        }
    }

    fn queue(&mut self, client: usize, node: usize, request: Request) {
        match self.clients[client].links[node].phase {
            Phase::Ready { conn, .. } => {
                tell!(self, "c{client} -> n{node} {}", say(&request));
                self.clients[client].unsent.push((conn, Item::Request(request)));
            }
            _ => self.fail("asks connected nodes only", format!("c{client} asks n{node}: {request:?}")),
        }
    }

    fn completed(&mut self, client: usize, op: OpKey, result: Result<Completion, Failure>) {
        let of = &mut self.clients[client];
        let Some(at) = of.pending.iter().position(|pending| pending.op == op) else {
            return self.fail("every operation ends once", format!("c{client} has no operation {op:?} under way"));
        };
        let pending = of.pending.swap_remove(at);
        self.check_completion(client, &pending, &result);
        self.worker_done(client, &pending, result);
    }

    /// The driver is done for the moment: what was queued is sent, the next deadline noted.
    pub fn leave(&mut self, client: usize) {
        let of = &self.clients[client];
        if !of.unsent.is_empty() && self.rng.one_in(of.knobs.stop_before_send) && !self.is_calm {
            self.pause(client);
        }
        if self.clients[client].paused_until_ns <= self.now {
            self.transmit_unsent(client);
        }
        self.check_ends(client);
        self.check_cleanliness(client);
        self.arm(client);
    }

    /// Stops a client for a while.
    pub fn pause(&mut self, client: usize) {
        let for_ns = self.fault_ns();
        tell!(self, "c{client} is stopped for {:.3} ms", for_ns as f64 / NS_PER_MS as f64);
        let until = self.clients[client].paused_until_ns.max(self.now + for_ns);
        self.clients[client].paused_until_ns = until;
        self.at(until, Event::Resume(client as u8));
    }

    fn arm(&mut self, client: usize) {
        let of = &self.clients[client];
        if !of.is_attended() {
            return;
        }
        let connect_timeout_ns = of.connect_timeout_ns();
        let links = of.links.iter().filter_map(|link| link.deadline_mono_ns(connect_timeout_ns));
        let Some(due) = links.chain(of.machine.next_deadline()).min() else { return };
        let due = of.clock().when(due).max(self.now);
        if due < of.wake_ns {
            self.clients[client].wake_ns = due;
            self.at(due, Event::Wake(client as u8));
        }
    }

    // ---- the network ----

    fn delay_ns(&mut self) -> u64 {
        let usual = self.knobs.delay_ns / 2 + self.rng.below(self.knobs.delay_ns);
        let is_calm = self.is_calm;
        if !is_calm && self.rng.one_in(self.knobs.tail_one_in) {
            usual + self.rng.spread(self.knobs.tail_ns / 64, self.knobs.tail_ns)
        } else {
            usual
        }
    }

    pub fn fault_ns(&mut self) -> u64 {
        let [least, most] = self.knobs.fault_ns;
        self.rng.spread(least, most)
    }

    fn transmit_unsent(&mut self, client: usize) {
        let mut unsent = std::mem::take(&mut self.clients[client].unsent);
        for (conn, item) in unsent.drain(..) {
            self.transmit(conn, item);
        }
        self.clients[client].unsent = unsent;
    }

    pub fn transmit(&mut self, conn: ConnId, item: Item) {
        let at = self.conns[conn].last_to_server.max(self.now + self.delay_ns());
        let on = &mut self.conns[conn];
        on.last_to_server = at;
        on.to_server.push_back((at, item));
        self.at(at, Event::ToServer(conn as u32));
    }

    pub fn answer(&mut self, conn: ConnId, message: Message) {
        if !self.conns[conn].is_client_open {
            return;
        }
        let at = self.conns[conn].last_to_client.max(self.now + self.delay_ns());
        let on = &mut self.conns[conn];
        on.last_to_client = at;
        on.to_client.push_back((at, message));
        self.at(at, Event::ToClient(conn as u32));
    }

    fn pair(&self, conn: ConnId) -> usize {
        self.conns[conn].client * self.nodes.len() + self.conns[conn].node
    }

    fn deliver_to_server(&mut self, conn: ConnId) {
        let cut_until = self.cut_to_server[self.pair(conn)];
        if self.now < cut_until {
            // Retransmission finds the way some time after it is open again.
            let at = cut_until + self.delay_ns();
            return self.at(at, Event::ToServer(conn as u32));
        }
        while self.conns[conn].to_server.front().is_some_and(|&(at, _)| at <= self.now) {
            let Some((_, item)) = self.conns[conn].to_server.pop_front() else { return };
            self.arrive(conn, item);
        }
    }

    fn arrive(&mut self, conn: ConnId, item: Item) {
        let node = self.conns[conn].node;
        if !self.nodes[node].is_up {
            if !self.nodes[node].is_silent && !matches!(item, Item::Goodbye) {
                self.answer(conn, Message::End);
            }
            return;
        }
        if matches!(item, Item::Hello { .. }) {
            self.conns[conn].is_server_open = true;
        } else if !self.conns[conn].is_server_open {
            return self.answer(conn, Message::End);
        }
        if self.nodes[node].is_paused {
            self.conns[conn].server_buffer.push_back(item);
        } else {
            self.execute(conn, item);
        }
    }

    pub fn execute(&mut self, conn: ConnId, item: Item) {
        let node = self.conns[conn].node;
        match item {
            Item::Hello { kill } => {
                if let Some(killed) = kill.filter(|_| self.knobs.can_kill) {
                    self.conns[killed].forget_at_server();
                }
                let info = self.nodes[node].info(self.now);
                self.answer(conn, Message::Welcome(Box::new(info)));
            }
            Item::Goodbye => self.conns[conn].forget_at_server(),
            Item::Request(request) => {
                self.expire(node);
                let (reply, change) = self.nodes[node].execute(self.now, &request, &mut self.rng);
                if self.is_told {
                    let client = self.conns[conn].client;
                    self.note(format!("    n{node} executes c{client}'s {}: {}", say(&request), short(&reply)));
                }
                if let Some(change) = change {
                    self.changed(node, &request, change);
                }
                let on = &mut self.conns[conn];
                let tracks = std::mem::replace(&mut on.tracks_next, matches!(request, Request::Track));
                if let (true, Request::Remaining { key } | Request::Holder { key }) = (tracks, &request) {
                    on.tracked |= 1 << node::resource_of(key);
                    self.expire_later(node);
                }
                self.answer(conn, Message::Reply(request.kind(), reply, about(&request)));
            }
        }
    }

    fn changed(&mut self, node: usize, request: &Request, change: Change) {
        let now = self.now;
        if let Some((resource, token)) = about(request) {
            let fate = self.clients[token.client].fate(token);
            match change {
                Change::Granted => fate.granted |= 1 << node,
                Change::Deleted => fate.deleted_ns[node] = now,
                Change::Extended => fate.extended_ns[node] = now,
            }
            self.invalidate(node, 1 << resource);
        }
    }

    /// Tells those who watch that keys changed.
    pub fn invalidate(&mut self, node: usize, resources: u32) {
        for conn in 0..self.conns.len() {
            let on = &mut self.conns[conn];
            let hit = on.tracked & resources;
            if on.node == node && hit != 0 && on.is_server_open {
                on.tracked &= !hit;
                for resource in (0..self.knobs.resources).filter(|resource| hit & (1 << resource) != 0) {
                    self.answer(conn, Message::Push(node::invalidation(resource)));
                }
            }
        }
    }

    pub fn flushed(&mut self, node: usize) {
        for conn in 0..self.conns.len() {
            if self.conns[conn].node == node && self.conns[conn].is_server_open {
                self.conns[conn].tracked = 0;
                self.answer(conn, Message::Push(Push::Flush));
            }
        }
    }

    fn expire(&mut self, node: usize) {
        if self.nodes[node].is_up && !self.nodes[node].is_paused {
            let gone = self.nodes[node].purge(self.now);
            if gone != 0 {
                self.invalidate(node, gone);
            }
        }
    }

    /// Servers look for expired keys seldom: pushes of expiry may be late.
    fn expire_later(&mut self, node: usize) {
        if let Some(last) = self.nodes[node].keys.iter().map(|key| key.expires_ns).max() {
            let at = self.nodes[node].clock.when(last) + self.rng.below(500 * NS_PER_MS);
            self.at(at, Event::Expire(node as u8));
        }
    }

    fn deliver_to_client(&mut self, conn: ConnId) {
        let cut_until = self.cut_to_client[self.pair(conn)];
        if self.now < cut_until {
            let at = cut_until + self.delay_ns();
            return self.at(at, Event::ToClient(conn as u32));
        }
        let on = &mut self.conns[conn];
        let (client, node) = (on.client, on.node);
        let mut has_news = false;
        while on.to_client.front().is_some_and(|&(at, _)| at <= self.now) {
            if let Some((_, message)) = on.to_client.pop_front() {
                on.client_buffer.push_back(message);
                has_news = true;
            }
        }
        if has_news && self.is_running(client) {
            self.read(client, node);
            self.look_at_the_clock(client);
        }
    }
}

/// The resource and the token of a request that has both.
fn about(request: &Request) -> Option<(u8, TokenId)> {
    match request {
        Request::Set { key, token, .. }
        | Request::SetFenced { key, token, .. }
        | Request::Release { key, token }
        | Request::Extend { key, token, .. }
        | Request::ExtendFenced { key, token, .. } => Some((node::resource_of(key), TokenId::of(token))),
        Request::Track | Request::Remaining { .. } | Request::Holder { .. } => None,
    }
}

/// A request in a few words.
pub fn say(request: &Request) -> String {
    let name = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
    match request {
        Request::Set { key, token, ttl_ms } => format!("SET {} {} {ttl_ms} ms", name(key), named(TokenId::of(token))),
        Request::Release { key, token } => format!("release {} {}", name(key), named(TokenId::of(token))),
        Request::Extend { key, token, ttl_ms, .. } => {
            format!("extend {} {} {ttl_ms} ms", name(key), named(TokenId::of(token)))
        }
        Request::SetFenced { key, token, ttl_ms, proposal } => {
            format!("fenced SET {} {} {ttl_ms} ms, {proposal}", name(key), named(TokenId::of(token)))
        }
        Request::ExtendFenced { key, token, ttl_ms, fence } => {
            format!("fenced extend {} {} {ttl_ms} ms, {fence}", name(key), named(TokenId::of(token)))
        }
        Request::Track => "track".to_owned(),
        Request::Remaining { key } => format!("PTTL {}", name(key)),
        Request::Holder { key } => format!("GETRANGE {}", name(key)),
    }
}

pub fn named(token: TokenId) -> String {
    format!("t{}.{}", token.client, token.count)
}

fn short(reply: &Reply) -> String {
    match reply {
        Reply::Holder(token) => format!("holder {}", named(TokenId::of(token))),
        Reply::Refused(fault) => format!("refused: {}", fault.text),
        Reply::Unclear(fault) => format!("unclear: {}", fault.text),
        other => format!("{other:?}"),
    }
}
