//! The state of a run – clients, nodes, and what is on its way between them – and what each step makes of them.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use redlock::core::operation::{Completion, Input, LeaseState, OpKey, Output};
use redlock::core::report::Failure;
use redlock::core::request::{Bytes, Fault, FaultKind, Push, Reply, Request, RequestKind, ServerInfo};

use crate::checks::{ASKING, ENDING, FINALITY, ORDER, Violation};
use crate::client::{Claim, Client, at};
use crate::node::{BEGIN_NS, Node};
use crate::scenario::{Act, Scenario, Trouble};
use crate::steps::Step;

pub const CLIENTS: usize = 2;
pub const NODES: usize = 3;

/// What travels to a node.
#[derive(Debug, Clone, Hash)]
pub enum Item {
    /// The handshake, which also has the server end the connection before.
    Hello,
    Request(Request),
}

/// What travels to a client.
#[derive(Debug, Clone)]
pub enum Message {
    Welcome(Box<ServerInfo>),
    Reply(RequestKind, Reply),
    Push(Push),
    /// The node has closed the connection.
    End,
}

/// The connection of a client to a node, first in, first out both ways.
#[derive(Debug, Clone, Default, Hash)]
pub struct Wire {
    pub to_node: VecDeque<Item>,
    pub to_client: VecDeque<Message>,
    /// On its way on a connection that the client has given up.
    pub unaccounted: VecDeque<Request>,
    /// The client has been welcomed.
    is_ready: bool,
    /// The node's end is closed.
    is_closed: bool,
    /// `CLIENT CACHING YES` was the last command.
    tracks_next: bool,
    /// The next change of the key is announced.
    is_tracked: bool,
}

impl Wire {
    pub fn is_empty(&self) -> bool {
        self.to_node.is_empty() && self.to_client.is_empty() && self.unaccounted.is_empty()
    }

    pub fn is_established(&self) -> bool {
        self.is_ready && !self.is_closed
    }
}

#[derive(Clone)]
pub struct World {
    pub scenario: Rc<Scenario>,
    pub now_ns: u64,
    /// Shared between states, as are the wires: most steps leave most of them as they are.
    pub clients: [Rc<Client>; CLIENTS],
    pub nodes: [Node; NODES],
    pub wires: [[Rc<Wire>; NODES]; CLIENTS],
    pub is_trouble_over: bool,
    pub jumps_left: u8,
    pub highest_fence: u64,
    /// Nodes that have executed something of the second client since the beginning.
    pub served: [bool; NODES],
    /// Tokens of keys that a node has lost.
    pub robbed: Vec<Bytes>,
    pub violation: Option<Violation>,
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let World { scenario: _, now_ns, clients, nodes, wires, .. } = self;
        clients.iter().for_each(|client| client.fingerprint.hash(state));
        (now_ns, nodes, wires).hash(state);
        (self.is_trouble_over, self.jumps_left, self.highest_fence, self.served, &self.robbed).hash(state);
    }
}

impl Hash for Message {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Message::Welcome(info) => (&info.run_id, info.uptime_s, info.time_us).hash(state),
            Message::Reply(kind, reply) => (kind, reply).hash(state),
            Message::Push(push) => push.hash(state),
            Message::End => {}
        }
    }
}

impl World {
    /// Everybody is connected, but for a newcomer, who is just about to be.
    pub fn new(scenario: &Scenario) -> World {
        let clients = [0, 1].map(|client| Rc::new(Client::new(client, scenario)));
        let mut world = World {
            scenario: Rc::new(*scenario),
            now_ns: BEGIN_NS,
            clients,
            nodes: std::array::from_fn(|_| Node::new()),
            wires: Default::default(),
            is_trouble_over: scenario.trouble == Trouble::Nothing,
            jumps_left: scenario.jumps,
            highest_fence: 0,
            served: [false; NODES],
            robbed: Vec::new(),
            violation: None,
        };
        for client in 0..CLIENTS {
            for node in 0..NODES {
                world.dial(client, node);
            }
            if client == 0 || !scenario.newcomer {
                world.deliver_all(client);
                // From now on it knows that all nodes are quick: one thing less that tells states apart.
                world.submit(client, Act::Inspect);
                world.deliver_all(client);
            }
        }
        if scenario.held {
            world.submit(0, Act::Lock);
            world.deliver_all(0);
        }
        world.served = [false; NODES];
        world
    }

    fn deliver_all(&mut self, client: usize) {
        for node in 0..NODES {
            while !self.wires[client][node].is_empty() {
                self.take(Step::Execute(client, node));
                self.take(Step::Deliver(client, node));
            }
        }
    }

    pub fn next_deadline(&self) -> Option<u64> {
        self.clients.iter().filter_map(|client| client.machine.next_deadline()).min()
    }

    /// Whether nothing is on its way and nobody has anything to do but to wait for time to pass.
    pub fn is_quiet(&self) -> bool {
        let is_busy = |client: &Rc<Client>| client.next_act().is_some() || client.machine.is_due(at(self.now_ns));
        self.wires.iter().flatten().all(|wire| wire.is_empty()) && !self.clients.iter().any(is_busy)
    }

    /// Whether nothing more will happen but for trouble.
    pub fn is_at_rest(&self) -> bool {
        self.is_quiet() && self.next_deadline().is_none()
    }

    /// Goes one step.
    pub fn take(&mut self, step: Step) {
        match step {
            Step::Begin(client) => self.begin(client),
            Step::Execute(client, node) => {
                self.served[node] |= client == 1;
                self.execute(client, node);
            }
            Step::ExecuteUnaccounted(client, node) => {
                if let Some(request) = self.wire(client, node).unaccounted.pop_front() {
                    self.apply(node, &request);
                }
            }
            Step::Deliver(client, node) => self.deliver(client, node),
            Step::Tick(client) => self.handle(client, Input::Tick),
            Step::Pass(moment) => {
                self.jumps_left -= u8::from(!self.is_quiet());
                self.now_ns = moment;
                for node in 0..NODES {
                    if self.nodes[node].purge(moment) {
                        self.announce(node);
                    }
                }
            }
            Step::Reset(client, node) => {
                self.is_trouble_over = true;
                self.lose(client, node, "connection reset");
            }
            Step::Restart(node) => {
                self.is_trouble_over = true;
                self.restart(node);
            }
        }
        for client in 0..CLIENTS {
            if let Some(client) = Rc::get_mut(&mut self.clients[client]) {
                client.note_fingerprint();
            }
        }
        self.check();
    }

    pub fn fail(&mut self, check: &'static str, detail: String) {
        self.violation.get_or_insert(Violation { check, detail });
    }

    fn client(&mut self, client: usize) -> &mut Client {
        Rc::make_mut(&mut self.clients[client])
    }

    fn wire(&mut self, client: usize, node: usize) -> &mut Wire {
        Rc::make_mut(&mut self.wires[client][node])
    }

    // ---- clients ----

    fn note_deletion(&mut self, client: usize, kind: RequestKind, reply: &Reply) {
        let is_deletion = kind == RequestKind::Release && *reply == Reply::Done;
        if let Some(claim) = self.client(client).claim.as_mut().filter(|claim| is_deletion && claim.is_let_go) {
            claim.deletions += 1;
        }
    }

    fn begin(&mut self, client: usize) {
        let of = self.client(client);
        if let Some((&act, rest)) = of.script.split_first() {
            of.script = rest;
            self.submit(client, act);
        }
    }

    fn submit(&mut self, client: usize, act: Act) {
        let (now_ns, fence) = (self.now_ns, self.scenario.fence);
        let of = self.client(client);
        if let Some(claim) = of.claim.as_mut().filter(|_| act == Act::Unlock) {
            claim.is_let_go = true;
        }
        let operation = of.operation(act, fence);
        let (machine, mut context) = of.context(now_ns);
        let op = machine.submit(&mut context, operation);
        of.pending = Some((op, act));
        self.settle(client);
    }

    fn handle(&mut self, client: usize, input: Input) {
        let now_ns = self.now_ns;
        let (machine, mut context) = self.client(client).context(now_ns);
        machine.handle(&mut context, input);
        self.settle(client);
    }

    /// Does what the machine wants done.
    fn settle(&mut self, client: usize) {
        while let Some(output) = self.client(client).machine.poll_output() {
            match output {
                Output::Send { node, request } => self.send(client, node, request),
                Output::Reset { node } => {
                    self.give_up(client, node);
                    self.dial(client, node);
                }
                Output::Completed { op, result } => self.completed(client, op, result),
                Output::Extended { .. } => {}
                Output::Lease { lease, view } => {
                    let now_ns = self.now_ns;
                    let Some(claim) = self.client(client).claim.as_mut().filter(|claim| claim.lease == lease) else {
                        continue;
                    };
                    let was_over = claim.state != LeaseState::Held || claim.valid_until_ns <= now_ns;
                    (claim.state, claim.valid_until_ns) = (view.state, view.valid_until_ns);
                    if was_over && claim.state == LeaseState::Held && claim.valid_until_ns > now_ns {
                        self.fail(FINALITY, format!("c{client}'s lease was over and is valid again"));
                    }
                }
            }
        }
    }

    fn completed(&mut self, client: usize, op: OpKey, result: Result<Completion, Failure>) {
        let of = self.client(client);
        let Some((_, act)) = of.pending.take_if(|pending| pending.0 == op) else {
            return self.fail(ENDING, format!("c{client} has no such operation under way"));
        };
        match (act, result) {
            (Act::Lock | Act::Retry | Act::Wait, Ok(Completion::Locked { lease, token, fence, view })) => {
                of.script = of.script.strip_prefix(&[Act::Retry]).unwrap_or(of.script);
                let (state, valid_until_ns) = (view.state, view.valid_until_ns);
                of.claim = Some(Claim { lease, token, state, valid_until_ns, is_let_go: false, deletions: 0 });
                self.check_grant(client, fence);
            }
            (Act::Lock | Act::Retry | Act::Wait, _) => {
                of.script = if of.script.starts_with(&[Act::Retry]) { of.script } else { &[] };
            }
            (Act::Unlock, result) => {
                if let Some(claim) = of.claim.take() {
                    self.check_release(client, claim.deletions, result.is_ok());
                    self.handle(client, Input::Forget { lease: claim.lease });
                }
            }
            (Act::Extend | Act::Inspect, _) => {}
        }
    }

    // ---- the network ----

    fn send(&mut self, client: usize, node: usize, request: Request) {
        let now_ns = self.now_ns;
        self.client(client).machine.flushed(at(now_ns), node);
        let wire = self.wire(client, node);
        if !wire.is_ready {
            self.fail(ASKING, format!("c{client} asks n{node}, to which it has no connection"));
        } else if !wire.is_closed {
            wire.to_node.push_back(Item::Request(request));
        }
    }

    fn dial(&mut self, client: usize, node: usize) {
        self.wire(client, node).to_node.push_back(Item::Hello);
        self.handle(client, Input::Dialing { node });
    }

    /// The client closes its end. What it has sent may be executed all the same.
    fn give_up(&mut self, client: usize, node: usize) {
        let closed = std::mem::take(self.wire(client, node));
        let unaccounted = &mut self.wire(client, node).unaccounted;
        unaccounted.extend(closed.unaccounted);
        unaccounted.extend(closed.to_node.into_iter().filter_map(|item| match item {
            Item::Hello => None,
            Item::Request(request) => Some(request),
        }));
    }

    fn lose(&mut self, client: usize, node: usize, why: &'static str) {
        self.give_up(client, node);
        self.handle(client, Input::Down { node, fault: Fault::new(FaultKind::Unreachable, why) });
        self.dial(client, node);
    }

    fn deliver(&mut self, client: usize, node: usize) {
        let Some(message) = self.wire(client, node).to_client.pop_front() else { return };
        match message {
            Message::Welcome(info) => {
                self.wire(client, node).is_ready = true;
                self.handle(client, Input::Up { node, info: *info });
            }
            Message::Reply(kind, reply) => {
                let awaited = self.clients[client].machine.awaited(node);
                if awaited != Some(kind) {
                    return self.fail(ORDER, format!("n{node} answers c{client}'s {kind:?}, which awaits {awaited:?}"));
                }
                self.note_deletion(client, kind, &reply);
                self.handle(client, Input::Reply { node, reply });
                if kind == RequestKind::Track {
                    self.deliver(client, node);
                }
            }
            Message::Push(push) => self.handle(client, Input::Push { node, push }),
            Message::End => self.lose(client, node, "connection closed by the server"),
        }
    }

    // ---- nodes ----

    fn execute(&mut self, client: usize, node: usize) {
        match self.wire(client, node).to_node.pop_front() {
            Some(Item::Hello) => {
                let info = self.nodes[node].info(node, self.now_ns, self.scenario.pushes);
                let wire = self.wire(client, node);
                wire.unaccounted.clear();
                wire.to_client.push_back(Message::Welcome(Box::new(info)));
            }
            Some(Item::Request(request)) => {
                let reply = self.apply(node, &request);
                let wire = self.wire(client, node);
                let tracks = std::mem::replace(&mut wire.tracks_next, matches!(request, Request::Track));
                wire.is_tracked |= tracks && matches!(request, Request::Remaining { .. } | Request::Holder { .. });
                wire.to_client.push_back(Message::Reply(request.kind(), reply));
                if wire.tracks_next {
                    self.execute(client, node);
                }
            }
            None => {}
        }
    }

    fn apply(&mut self, node: usize, request: &Request) -> Reply {
        let (reply, has_changed) = self.nodes[node].execute(self.now_ns, request, self.scenario.script_fault);
        if has_changed {
            self.announce(node);
        }
        reply
    }

    /// Tells those who watch that the key has changed.
    fn announce(&mut self, node: usize) {
        for wires in &mut self.wires {
            if wires[node].is_tracked {
                let wire = Rc::make_mut(&mut wires[node]);
                wire.is_tracked = false;
                wire.to_client.push_back(Message::Push(Push::Key(b"r".to_vec())));
            }
        }
    }

    fn restart(&mut self, node: usize) {
        self.robbed.extend(self.nodes[node].key.take().map(|key| key.token));
        self.nodes[node].restart(self.now_ns);
        for wires in &mut self.wires {
            let wire = Rc::make_mut(&mut wires[node]);
            wire.to_node.clear();
            wire.unaccounted.clear();
            (wire.is_tracked, wire.tracks_next, wire.is_closed) = (false, false, true);
            wire.to_client.push_back(Message::End);
        }
    }
}
