//! The driver of one client: what the engine does around the machine – dials, reads, sends, minds the clock.

use redlock::core::machine::Context;
use redlock::core::operation::{Completion, Input, OpKey, Operation, Output};
use redlock::core::report::Failure;
use redlock::core::request::{Fault, FaultKind, Push, Reply, Request, RequestKind};

use crate::client::{Asked, Phase};
use crate::net::{Conn, ConnId, Item, Message};
use crate::rng::TokenId;
use crate::trace::{say, short};
use crate::world::{Event, World, tell};

impl World {
    /// Reads and advances whatever is ready or due, then lets the machine judge who is late.
    pub fn attend(&mut self, client: usize) {
        for node in 0..self.nodes.len() {
            self.read(client, node);
        }
        self.look_at_the_clock(client);
    }

    /// Something has arrived from this node.
    pub fn has_news(&mut self, client: usize, node: usize) {
        self.read(client, node);
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
        let now = of.now(self.now);
        let since_mono_ns = now.mono_ns;
        of.links[node].redial.dialled(now);
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
                    link.phase = Phase::Ready { conn };
                    link.redial.is_up(now.mono_ns);
                    tell!(
                        self,
                        "c{client} is connected to n{node}, run {}, up for {} s, time {}",
                        info.run_id,
                        info.uptime_s,
                        info.time_us
                    );
                    self.meet(client, node, &info.run_id);
                    self.handle(client, Input::Up { node, info: *info });
                    self.clients[client].accepted |= u16::from(self.clients[client].machine.is_up(node)) << node;
                }
                Message::Reply(kind, reply, about) => {
                    let awaited = self.clients[client].machine.awaited(node);
                    if awaited != Some(kind) {
                        return self.fail("replies reach their requests", format!("{kind:?} answers {awaited:?}"));
                    }
                    tell!(self, "c{client} <- n{node} {kind:?}: {}", short(&reply));
                    self.clients[client].links[node].redial.was_of_use();
                    if let Some((resource, token)) =
                        about.filter(|(_, token)| kind != RequestKind::Release && token.client == client)
                    {
                        self.hear(client, node, resource, token, &reply);
                    }
                    self.handle(client, Input::Reply { node, reply });
                }
                Message::Push(push) => {
                    tell!(self, "c{client} <- n{node} {push:?}");
                    if push == Push::Flush {
                        self.hear_of_loss(client, node);
                    }
                    self.handle(client, Input::Push { node, push });
                }
                Message::End => {
                    self.link_failed(client, node, "connection closed by the server");
                }
            }
            if self.violation.is_some() {
                return;
            }
        }
    }

    /// A client learns which process answers at a node.
    fn meet(&mut self, client: usize, node: usize, run_id: &str) {
        let known = self.clients[client].met[node].replace(run_id.to_owned());
        if run_id.is_empty() {
            // The guard cannot know of restarts that nobody tells.
            self.clients[client].successors &= !(1 << node);
        }
        // One that hides who it is is not told from itself.
        if known.is_some_and(|known| known != run_id && !known.is_empty() && !run_id.is_empty()) {
            self.clients[client].successors |= 1 << node;
            self.hear_of_loss(client, node);
        }
    }

    /// A client learns that a node may have lost all that it confirmed.
    fn hear_of_loss(&mut self, client: usize, node: usize) {
        self.clients[client].fates.iter_mut().for_each(|fate| fate.denied |= 1 << node);
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
        self.allow_attempts(client, &pending);
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
}
