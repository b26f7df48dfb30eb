//! What can happen next, and what of it need not be tried in every order.

use std::collections::BTreeSet;

use redlock::core::request::Request;

use crate::client::at;
use crate::scenario::Trouble;
use crate::world::{CLIENTS, Item, Message, NODES, World};

/// One thing that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A client does what its script says next.
    Begin(usize),
    /// A node executes the client's oldest request. `CLIENT CACHING` and its question are one, as are the answers: they
    /// travel together, and between them nothing depends on either.
    Execute(usize, usize),
    /// A node executes the client's oldest request on a connection that the client has given up.
    ExecuteUnaccounted(usize, usize),
    /// The client reads the node's oldest message.
    Deliver(usize, usize),
    /// The client looks at the clock, which is due.
    Tick(usize),
    /// Time passes until this moment.
    Pass(u64),
    /// The connection of the client to the node is reset.
    Reset(usize, usize),
    /// The node restarts without its data.
    Restart(usize),
}

/// Where a step takes place: all that it touches but for the far ends of queues.
enum Place {
    Client(usize),
    Node(usize),
    Everywhere,
}

impl Step {
    fn place(self) -> Place {
        match self {
            Step::Begin(client) | Step::Deliver(client, _) | Step::Tick(client) => Place::Client(client),
            Step::Execute(_, node) | Step::ExecuteUnaccounted(_, node) => Place::Node(node),
            Step::Pass(_) | Step::Reset(..) | Step::Restart(_) => Place::Everywhere,
        }
    }

    /// All steps that are independent of some other. Their places in here are their numbers, below 32.
    pub fn numbered() -> impl Iterator<Item = Step> {
        let pairs = || (0..CLIENTS).flat_map(|client| (0..NODES).map(move |node| (client, node)));
        let clients = (0..CLIENTS).flat_map(|client| [Step::Begin(client), Step::Tick(client)]);
        let at_nodes = pairs().flat_map(|(client, node)| {
            [Step::Execute(client, node), Step::ExecuteUnaccounted(client, node), Step::Deliver(client, node)]
        });
        clients.chain(at_nodes)
    }

    /// Its place among those.
    pub fn number(self) -> Option<u32> {
        let pair = |client: usize, node: usize| 2 * CLIENTS + 3 * (client * NODES + node);
        let number = match self {
            Step::Begin(client) => 2 * client,
            Step::Tick(client) => 2 * client + 1,
            Step::Execute(client, node) => pair(client, node),
            Step::ExecuteUnaccounted(client, node) => pair(client, node) + 1,
            Step::Deliver(client, node) => pair(client, node) + 2,
            Step::Pass(_) | Step::Reset(..) | Step::Restart(_) => return None,
        };
        Some(number as u32)
    }
}

impl World {
    /// All that can happen next.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for client in 0..CLIENTS {
            if self.clients[client].next_act().is_some() {
                steps.push(Step::Begin(client));
            }
            if self.clients[client].machine.is_due(at(self.now_ns)) {
                steps.push(Step::Tick(client));
            }
            for node in 0..NODES {
                let wire = &self.wires[client][node];
                let ways = [
                    (wire.to_node.is_empty() || !self.may_serve(client, node), Step::Execute(client, node)),
                    (wire.to_client.is_empty(), Step::Deliver(client, node)),
                    (wire.unaccounted.is_empty(), Step::ExecuteUnaccounted(client, node)),
                ];
                steps.extend(ways.into_iter().filter(|(is_empty, _)| !is_empty).map(|(_, step)| step));
            }
        }
        if steps.is_empty() {
            // Nothing but time can go on, so it does, whatever the number of jumps.
            steps.extend(self.next_deadline().map(Step::Pass));
        } else if self.jumps_left > 0 {
            steps.extend(self.moments().into_iter().map(Step::Pass));
        }
        if !self.is_trouble_over {
            for &node in self.scenario.troubled() {
                match self.scenario.trouble {
                    Trouble::Nothing => {}
                    Trouble::Reset => steps.extend((0..CLIENTS).map(|client| Step::Reset(client, node))),
                    Trouble::Restart => steps.push(Step::Restart(node)),
                }
            }
        }
        steps
    }

    /// Of these, as many as suffice: a step that nothing which may happen before it depends on, and that no check sees, is
    /// gone at once, and alone. That is what a client still hears that has done everything and has no lock, what it still
    /// says without effect, and when both have done everything, what the first node still hears.
    pub fn sufficient_steps(&self) -> Vec<Step> {
        let mut steps = self.steps();
        if self.jumps_left > 0 || !self.is_trouble_over {
            return steps;
        }
        let is_done = [0, 1].map(|client: usize| self.is_done(client));
        let is_alone = |step: &Step| match *step {
            Step::Deliver(client, node) => {
                is_done[client] && matches!(self.wires[client][node].to_client.front(), Some(Message::Reply(..)))
            }
            Step::Execute(client, node) => is_done[client] && self.is_in_vain(client, node),
            _ => false,
        };
        if let Some(&alone) = steps.iter().find(|step| is_alone(step)) {
            return vec![alone];
        }
        let at_node = |step: &Step, at: usize| matches!(step, Step::Execute(_, node) | Step::ExecuteUnaccounted(_, node) if *node == at);
        if is_done == [true; CLIENTS]
            && let Some(node) = (0..NODES).find(|&node| {
                steps.iter().any(|step| at_node(step, node)) && self.wires.iter().all(|of| of[node].is_established())
            })
        {
            steps.retain(|step| at_node(step, node));
        }
        steps
    }

    /// Whether the client asks for nothing more, has no lock, and does not have to look at its clock.
    fn is_done(&self, client: usize) -> bool {
        let of = &self.clients[client];
        let is_idle = of.script.is_empty() && of.pending.is_none() && of.claim.is_none();
        is_idle && !of.machine.is_due(at(self.now_ns))
    }

    /// Whether the next request is a release that finds nothing to delete.
    fn is_in_vain(&self, client: usize, node: usize) -> bool {
        let next = self.wires[client][node].to_node.front();
        matches!(next, Some(Item::Request(Request::Release { token, .. })) if !self.nodes[node].has(token))
    }

    /// Nodes that are alike are named in the order in which they first serve the second client.
    fn may_serve(&self, client: usize, node: usize) -> bool {
        let is_alike = |other: &usize| !self.scenario.troubled().contains(other);
        client == 0
            || self.served[node]
            || !self.scenario.are_nodes_alike()
            || !is_alike(&node)
            || (0..node).filter(is_alike).all(|before| self.served[before])
    }

    /// The moments to come at which anything changes by itself. Those in between are passed over: a client that did
    /// not look at its clock then is a slow one.
    fn moments(&self) -> BTreeSet<u64> {
        let deadlines = self.clients.iter().filter_map(|client| client.machine.next_deadline());
        let ends = self.clients.iter().filter_map(|client| client.claim.as_ref()).map(|claim| claim.valid_until_ns);
        let expiries = self.nodes.iter().filter_map(|node| node.key.as_ref()).map(|key| key.expires_ns);
        deadlines.chain(ends).chain(expiries).filter(|&moment| moment > self.now_ns).collect()
    }

    /// Whether two steps that are possible in one state lead to the same state in either order, the one allowing the other
    /// neither more nor less, and what is checked on the way is the same.
    pub fn are_independent(&self, one: Step, other: Step) -> bool {
        match (one.place(), other.place()) {
            (Place::Node(one), Place::Node(other)) => one != other,
            // Grants are compared with each other.
            (Place::Client(one), Place::Client(other)) => one != other && !self.scenario.fence,
            (Place::Node(_), Place::Client(_)) | (Place::Client(_), Place::Node(_)) => {
                // A client that looks at the clock may give a connection up.
                !matches!((one, other), (Step::Tick(_), _) | (_, Step::Tick(_)))
            }
            (Place::Everywhere, _) | (_, Place::Everywhere) => false,
        }
    }
}
