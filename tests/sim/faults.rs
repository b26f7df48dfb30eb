//! What goes wrong, and how it ends.

use redlock::core::operation::Input;
use redlock::core::report::Status;
use redlock::core::time::NS_PER_MS;

use crate::knobs::{Fault, Guarding};
use crate::net::Message;
use crate::node::{Boot, Mood};
use crate::rng::TokenId;
use crate::world::{Event, World, tell};

impl World {
    /// The next fault.
    pub fn strike(&mut self) {
        let faults = std::mem::take(&mut self.knobs.faults);
        let fault = self.rng.pick(&faults);
        self.knobs.faults = faults;
        let node = self.rng.index(self.nodes.len());
        let client = self.rng.index(self.clients.len());
        self.summary.faults += 1;
        match fault {
            Fault::Partition => self.partition(),
            Fault::ServerPause => self.pause_node(node),
            Fault::ConnectionReset => self.reset(client, node),
            Fault::ClientPause if self.clients[client].is_alive => self.pause(client),
            Fault::ClientPause => {}
            Fault::Restart => self.stop_node(node, false),
            Fault::Crash => self.crash(client),
            Fault::Cancel => self.cancel(client),
            Fault::Mood => self.upset(node),
            Fault::LeaseClockStep => {
                let ahead_ns = self.rng.below(self.knobs.ttls_ms[1] * NS_PER_MS);
                tell!(self, "c{client}'s wall clock is set ahead by {:.3} ms", ahead_ns as f64 / NS_PER_MS as f64);
                self.clients[client].lease_ahead_ns += ahead_ns;
            }
            Fault::Flush => {
                tell!(self, "n{node} is flushed");
                self.expose_all(node);
                self.nodes[node].keys.clear();
                self.nodes[node].counters.clear();
                self.are_counters_lost = true;
                self.flushed(node);
            }
            Fault::Delete => {
                tell!(self, "a key of n{node} is deleted by hand");
                self.expose_all(node);
                if let Some(key) = self.nodes[node].keys.pop() {
                    self.invalidate(node, 1 << key.resource);
                }
            }
            // A power failure takes several with it.
            Fault::RestartEmpty if self.knobs.guarding != Guarding::Partly && self.rng.one_in(3) => {
                let struck = self.rng.next();
                for node in (0..self.nodes.len()).filter(|node| struck & (1 << node) != 0) {
                    self.stop_node(node, true);
                }
            }
            Fault::RestartEmpty => self.stop_node(node, true),
            Fault::ServerClockStep => {
                let by_ns = self.rng.below(2 * self.knobs.ttls_ms[1] * NS_PER_MS) as i64;
                let by_ns = if self.rng.one_in(2) { by_ns } else { -by_ns };
                tell!(self, "n{node}'s clock is set by {:.3} ms", by_ns as f64 / NS_PER_MS as f64);
                self.expose_all(node);
                self.nodes[node].clock.offset_ns += by_ns;
                self.nodes[node].was_stepped = true;
            }
        }
    }

    /// A server loses state, and nothing keeps it from voting: nothing is promised to the leases that it robs.
    fn expose_all(&mut self, node: usize) {
        for key in self.nodes[node].keys.clone() {
            self.expose(key.token);
        }
    }

    pub fn expose(&mut self, token: TokenId) {
        let fate = self.clients[token.client].fate(token);
        (fate.is_robbed, fate.is_exposed) = (true, true);
    }

    /// A server goes down and will come back without its data. Where the guard covers that, its leases have fewer keys
    /// than they should, but nobody else gets the lock before they are over.
    fn lose_data(&mut self, node: usize) {
        if self.is_guarded(node) {
            self.summary.covered += 1;
            self.are_counters_replaced = true;
            for key in self.nodes[node].keys.clone() {
                self.clients[key.token.client].fate(key.token).is_robbed = true;
            }
        } else {
            self.expose_all(node);
            self.are_counters_lost = true;
        }
        self.nodes[node].keys.clear();
        self.nodes[node].counters.clear();
    }

    /// Whether every client will know that the server has restarted, or will not believe that it has not.
    fn is_guarded(&self, node: usize) -> bool {
        match self.knobs.guarding {
            Guarding::Partly => false,
            Guarding::Seen => self.is_met_by_all(node),
            Guarding::Strict => true,
        }
    }

    fn is_met_by_all(&self, node: usize) -> bool {
        self.clients.iter().all(|client| !client.is_alive || client.accepted & (1 << node) != 0)
    }

    /// What happens to the clock of a machine whose server starts. In a way that the guard promises to see through: a
    /// clock that was set right since shows in that the server's predecessor was alive later, one that is wrong in the
    /// clocks of the others.
    fn boot(&mut self, node: usize) -> Boot {
        // More than one wrong clock may set the fencing counters.
        let wrong_max = if self.knobs.fence_one_in == 0 { usize::MAX } else { 1 };
        let wrong_max = wrong_max.min((self.nodes.len() - 1) / 2);
        let is_one_of_few = self.nodes.iter().filter(|node| node.is_ahead()).count() < wrong_max;
        match self.rng.below(4) {
            0 if self.is_met_by_all(node) => Boot::ClockSetRight,
            1 if is_one_of_few && self.is_guarded(node) => Boot::ClockSetWrong,
            _ => Boot::Right,
        }
    }

    /// Some clients and some nodes do not reach each other, in one direction or in both.
    fn partition(&mut self) {
        let until = self.now + self.fault_ns();
        let (clients, nodes) = (self.rng.next(), self.rng.next());
        let directions = self.rng.between(1, 3);
        for client in (0..self.clients.len()).filter(|client| clients & (1 << client) != 0) {
            for node in (0..self.nodes.len()).filter(|node| nodes & (1 << node) != 0) {
                let pair = client * self.nodes.len() + node;
                let way = ["->", "<-", "<->"][directions as usize - 1];
                tell!(self, "c{client} {way} n{node} is cut for {:.3} ms", ms(until - self.now));
                if directions & 1 != 0 {
                    self.cut_to_server[pair] = self.cut_to_server[pair].max(until);
                }
                if directions & 2 != 0 {
                    self.cut_to_client[pair] = self.cut_to_client[pair].max(until);
                }
            }
        }
    }

    fn pause_node(&mut self, node: usize) {
        if self.nodes[node].is_up && !self.nodes[node].is_paused {
            let for_ns = self.fault_ns();
            tell!(self, "n{node} is stopped for {:.3} ms", ms(for_ns));
            self.nodes[node].is_paused = true;
            self.at(self.now + for_ns, Event::NodeResume(node as u8));
        }
    }

    /// A stopped server goes on: it executes what has arrived, connection by connection.
    pub fn resume_node(&mut self, node: usize) {
        if !self.nodes[node].is_up || !self.nodes[node].is_paused {
            return;
        }
        tell!(self, "n{node} goes on");
        self.nodes[node].is_paused = false;
        let mut waiting: Vec<usize> = (0..self.conns.len())
            .filter(|&conn| self.conns[conn].node == node && !self.conns[conn].server_buffer.is_empty())
            .collect();
        while !waiting.is_empty() {
            let conn = waiting.swap_remove(self.rng.index(waiting.len()));
            while let Some(item) = self.conns[conn].server_buffer.pop_front() {
                self.execute(conn, item);
            }
        }
    }

    fn stop_node(&mut self, node: usize, is_emptied: bool) {
        if !self.nodes[node].is_up {
            return;
        }
        let for_ns = self.fault_ns();
        let is_silent = self.rng.one_in(3);
        tell!(self, "n{node} goes down for {:.3} ms{}", ms(for_ns), if is_emptied { ", losing its data" } else { "" });
        let stopped = &mut self.nodes[node];
        stopped.is_up = false;
        stopped.is_paused = false;
        stopped.is_silent = is_silent;
        stopped.mood_until_ns = 0;
        if is_emptied {
            self.lose_data(node);
        }
        for conn in 0..self.conns.len() {
            if self.conns[conn].node == node && self.conns[conn].is_server_open {
                self.conns[conn].forget_at_server();
                if !is_silent {
                    self.answer(conn, Message::End);
                }
            }
        }
        self.at(self.now + for_ns, Event::NodeStart(node as u8));
    }

    pub fn start_node(&mut self, node: usize) {
        if !self.nodes[node].is_up {
            tell!(self, "n{node} is up again");
            let boot = if self.knobs.guarding == Guarding::Partly { Boot::Right } else { self.boot(node) };
            self.nodes[node].start(self.now, boot);
            self.nodes[node].is_evicting = !self.is_calm && self.rng.one_in(16);
        }
    }

    /// Something between client and server ends their connection.
    fn reset(&mut self, client: usize, node: usize) {
        let Some(conn) = self.clients[client].links[node].conn() else { return };
        tell!(self, "the connection {conn} of c{client} to n{node} is reset");
        let on = &mut self.conns[conn];
        let kept = self.rng.index(on.to_client.len() + 1);
        on.to_client.truncate(kept);
        self.answer(conn, Message::End);
        if self.rng.one_in(2) {
            self.conns[conn].forget_at_server();
        }
    }

    fn crash(&mut self, client: usize) {
        if !self.clients[client].is_alive || self.rng.one_in(2) {
            return;
        }
        tell!(self, "c{client} crashes");
        self.clients[client].is_alive = false;
        self.clients[client].unsent.clear();
        for node in 0..self.nodes.len() {
            if let Some(conn) = self.clients[client].links[node].conn() {
                self.close_client_end(conn);
            }
        }
    }

    fn cancel(&mut self, client: usize) {
        if self.clients[client].pending.is_empty() || !self.is_running(client) {
            return;
        }
        let at = self.rng.index(self.clients[client].pending.len());
        let op = self.clients[client].pending[at].op;
        tell!(self, "c{client} cancels {op:?}");
        self.handle(client, Input::Cancel { op, status: Status::Cancelled });
        if self.clients[client].pending.iter().any(|pending| pending.op == op) {
            self.fail("a cancelled operation ends at once", format!("{op:?} goes on"));
        }
        self.leave(client);
    }

    fn upset(&mut self, node: usize) {
        let for_ns = self.fault_ns();
        let mood = self.rng.pick(&[Mood::Refusing, Mood::Refusing, Mood::Forbidding, Mood::Unclear]);
        tell!(self, "n{node} is {mood:?} for {:.3} ms", ms(for_ns));
        self.nodes[node].mood = mood;
        self.nodes[node].mood_until_ns = self.now + for_ns;
    }

    /// The faults are over: everything heals, everybody goes on and finishes.
    pub fn calm(&mut self) {
        tell!(self, "the faults are over");
        self.is_calm = true;
        self.cut_to_server.fill(0);
        self.cut_to_client.fill(0);
        for node in 0..self.nodes.len() {
            self.start_node(node);
            self.resume_node(node);
            self.nodes[node].mood_until_ns = 0;
            self.nodes[node].is_evicting = false;
        }
        for conn in 0..self.conns.len() {
            self.at(self.now, Event::ToServer(conn as u32));
            self.at(self.now, Event::ToClient(conn as u32));
        }
        for client in 0..self.clients.len() {
            let of = &mut self.clients[client];
            of.knobs.is_blocking = false;
            of.workers.iter_mut().for_each(|worker| worker.rounds_left = worker.rounds_left.min(1));
            let until = of.paused_until_ns.min(self.now);
            of.paused_until_ns = until;
        }
        for client in 0..self.clients.len() {
            if self.clients[client].is_alive {
                self.resume(client);
            }
        }
    }
}

fn ms(ns: u64) -> f64 {
    ns as f64 / NS_PER_MS as f64
}
