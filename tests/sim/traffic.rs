//! What travels between clients and servers, and what servers do with it: execute, answer, announce changes.

use redlock::core::request::{Push, Request, ServerInfo};
use redlock::core::time::NS_PER_MS;

use crate::net::{ConnId, Item, Message};
use crate::node::{self, Change};
use crate::rng::TokenId;
use crate::trace::{say, short};
use crate::world::{Event, World};

impl World {
    fn delay_ns(&mut self) -> u64 {
        let usual = self.knobs.delay_ns / 2 + self.rng.below(self.knobs.delay_ns);
        let is_calm = self.is_calm;
        if !is_calm && self.rng.one_in(self.knobs.tail_one_in) {
            usual + self.rng.spread(self.knobs.tail_ns / 64, self.knobs.tail_ns)
        } else {
            usual
        }
    }

    pub fn transmit_unsent(&mut self, client: usize) {
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

    pub fn deliver_to_server(&mut self, conn: ConnId) {
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
                let killed = kill.filter(|_| self.knobs.can_kill);
                if let Some(killed) = killed {
                    self.conns[killed].forget_at_server();
                }
                let info = ServerInfo { is_previous_closed: killed.is_some(), ..self.nodes[node].info(self.now) };
                let info = match self.rng.one_in(self.knobs.hides_one_in) {
                    true => ServerInfo { can_track: info.can_track, ..ServerInfo::default() },
                    false => info,
                };
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
            if change == Change::Deleted {
                self.check_deletion(token);
            }
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

    pub fn expire(&mut self, node: usize) {
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

    pub fn deliver_to_client(&mut self, conn: ConnId) {
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
            self.has_news(client, node);
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
