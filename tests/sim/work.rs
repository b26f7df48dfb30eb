//! What the threads of the clients do: lock, hold, extend, give back, and now and then something else.

use redlock::core::operation::{Completion, Input, LockParams, Operation};
use redlock::core::report::Failure;
use redlock::core::time::NS_PER_MS;

use crate::client::{Asked, Claim, Pending};
use crate::net::Conn;
use crate::node::key_of;
use crate::rng::TokenId;
use crate::trace::named;
use crate::world::{Event, World, tell};

impl World {
    /// A thread takes its next step.
    pub fn act(&mut self, client: usize, worker: usize) {
        let state = self.clients[client].workers[worker];
        if state.is_waiting {
            return;
        }
        match state.claim {
            Some(claim) => self.act_as_holder(client, worker, claim),
            None if state.rounds_left == 0 => {}
            None => {
                self.clients[client].workers[worker].rounds_left -= 1;
                self.act_as_wanter(client, worker);
            }
        }
    }

    fn act_later(&mut self, client: usize, worker: usize, least_ns: u64, most_ns: u64) {
        let at = self.now + self.rng.between(least_ns, most_ns);
        self.at(at, Event::Act(client as u8, worker as u8));
    }

    fn act_as_wanter(&mut self, client: usize, worker: usize) {
        match self.rng.below(16) {
            0 => self.call(client, worker, Asked::Inspect, None),
            1 => self.call(client, worker, Asked::Ready, None),
            2 => match self.somebodys_token() {
                Some(token) if self.rng.one_in(2) => {
                    self.call(client, worker, Asked::UnlockToken { token }, None);
                }
                Some(token) => {
                    let ttl_ms = self.ttl_ms();
                    self.call(client, worker, Asked::ExtendToken { token, ttl_ms }, None);
                }
                None => self.begin_lock(client, worker),
            },
            _ => self.begin_lock(client, worker),
        }
    }

    /// A token that some key has at the moment.
    fn somebodys_token(&mut self) -> Option<TokenId> {
        let node = self.rng.index(self.nodes.len());
        self.nodes[node].keys.first().map(|key| key.token)
    }

    fn ttl_ms(&mut self) -> u64 {
        let [least, most] = self.knobs.ttls_ms;
        self.rng.between(least, most)
    }

    fn begin_lock(&mut self, client: usize, worker: usize) {
        let resource = self.rng.below(u64::from(self.knobs.resources)) as u8;
        let [least, most] = self.knobs.waits_ms;
        let wait_ms = match self.rng.below(4) {
            0 => Some(0),
            1 => None,
            _ => Some(self.rng.spread(least, most.max(least))),
        };
        let has_max_ttl = self.clients[client].knobs.config.max_ttl_ms.is_some();
        let can_fence = self.knobs.do_clocks_agree || !has_max_ttl;
        let fence = can_fence && self.rng.one_in(self.knobs.fence_one_in);
        // A connection that the server cannot be asked to close bars a token for minutes, in which clocks drift apart.
        let can_choose = self.knobs.can_kill || !(fence && has_max_ttl);
        let chooses = can_choose && self.rng.one_in(self.knobs.own_token_one_in);
        let own_token = chooses.then(|| self.clients[client].chance.fresh());
        let params = LockParams {
            key: key_of(resource),
            ttl_ms: self.ttl_ms(),
            wait_ms,
            retries: self.rng.one_in(6).then(|| self.rng.below(4)),
            token: own_token.map(TokenId::bytes),
            explain: self.rng.one_in(2),
            auto_extend: self.rng.one_in(5),
            max_hold_ms: self.rng.one_in(2).then(|| self.rng.between(1, 3 * self.knobs.ttls_ms[1])),
            watch: self.rng.one_in(4),
            fence,
        };
        if params.auto_extend || params.watch {
            // From now on a thread of the library minds the sockets.
            self.clients[client].knobs.is_blocking = false;
        }
        let asked = Asked::Lock { resource, own_token: own_token.is_some() };
        self.call(client, worker, asked, Some(params));
    }

    fn act_as_holder(&mut self, client: usize, worker: usize, at: usize) {
        let lease_ns = self.clients[client].now(self.now).lease_ns;
        let claim = &mut self.clients[client].claims[at];
        if claim.is_let_go {
            return self.give_back(client, worker, at);
        }
        if self.rng.one_in(2) && lease_ns >= claim.valid_until_ns {
            claim.is_seen_over = true;
        }
        let claim = *claim;
        match self.rng.below(if self.is_calm { 4 } else { 12 }) {
            0 if !self.is_calm => {
                // Given back without a release: the key stays for its ttl.
                tell!(self, "c{client} leaves {}", named(claim.token));
                self.clients[client].fate(claim.token).is_left = true;
                self.give_back(client, worker, at);
            }
            1 => self.call(client, worker, Asked::UnlockToken { token: claim.token }, None),
            4 if !self.is_calm => self.call(client, worker, Asked::WaitLost { claim: at }, None),
            5..12 => {
                let ttl_ms = self.ttl_ms();
                self.call(client, worker, Asked::Extend { claim: at, ttl_ms }, None);
            }
            _ => self.call(client, worker, Asked::Unlock { claim: at }, None),
        }
    }

    /// The owner drops its lease.
    fn give_back(&mut self, client: usize, worker: usize, at: usize) {
        let claim = &mut self.clients[client].claims[at];
        claim.is_let_go = true;
        let lease = claim.lease;
        self.clients[client].workers[worker].claim = None;
        self.handle(client, Input::Forget { lease });
        self.leave(client);
        self.act_later(client, worker, 0, 20 * NS_PER_MS);
    }

    /// A thread calls the library: what has arrived is read first, as the engine does.
    fn call(&mut self, client: usize, worker: usize, asked: Asked, params: Option<LockParams>) {
        if self.now >= self.clients[client].looked_ns + NS_PER_MS {
            self.attend(client);
            if self.violation.is_some() {
                return;
            }
        }
        if self.clients[client].paused_until_ns > self.now {
            // It was stopped meanwhile: the call comes when it goes on.
            if let Some(round) = self.clients[client].workers.get_mut(worker).filter(|worker| worker.claim.is_none()) {
                round.rounds_left += 1;
            }
            return self.at(self.clients[client].paused_until_ns, Event::Act(client as u8, worker as u8));
        }
        let now = self.clients[client].now(self.now);
        let grace_ns = self.clients[client].grace_ns();
        let mut wait_ms = Some(0);
        let operation = match asked {
            Asked::Lock { .. } => {
                let Some(params) = params else { return };
                wait_ms = params.wait_ms;
                tell!(
                    self,
                    "c{client}.{worker} locks {:?} wait {wait_ms:?} ttl {}",
                    params.key[2] as char,
                    params.ttl_ms
                );
                Operation::Lock(params)
            }
            Asked::Unlock { claim } => {
                self.clients[client].claims[claim].is_let_go = true;
                Operation::Unlock { lease: self.clients[client].claims[claim].lease }
            }
            Asked::Extend { claim, ttl_ms } => {
                Operation::Extend { lease: self.clients[client].claims[claim].lease, ttl_ms }
            }
            Asked::UnlockToken { token } => {
                // Whoever holds it loses it without being asked.
                self.expose(token);
                Operation::UnlockToken { key: self.key_of_token(token), token: token.bytes() }
            }
            Asked::ExtendToken { token, ttl_ms } => {
                self.clients[token.client].fate(token).is_left = true;
                Operation::ExtendToken { key: self.key_of_token(token), token: token.bytes(), ttl_ms }
            }
            Asked::WaitLost { claim } => {
                self.clients[client].knobs.is_blocking = false;
                wait_ms = Some(self.rng.below(self.knobs.ttls_ms[1]));
                Operation::WaitLost { lease: self.clients[client].claims[claim].lease, wait_ms }
            }
            Asked::Inspect => Operation::Inspect { key: key_of(0) },
            Asked::Ready => {
                wait_ms = Some(self.rng.below(100));
                Operation::Ready { wait_ms }
            }
        };
        let must_end_mono_ns = match wait_ms {
            Some(wait_ms) => now.mono_after_ms(wait_ms) + grace_ns,
            None => u64::MAX,
        };
        let is_detached = matches!(asked, Asked::Extend { .. }) && self.rng.one_in(4);
        self.clients[client].workers[worker].is_waiting = !is_detached;
        if is_detached {
            self.act_later(client, worker, 0, 10 * NS_PER_MS);
        }
        let op = self.submit(client, operation);
        tell!(self, "c{client}.{worker} begins {op:?}: {asked:?}");
        let pending = Pending {
            op,
            worker,
            asked,
            submitted_ns: self.now,
            submitted_lease_ns: now.lease_ns,
            turns_before: self.turns_of(asked),
            is_detached,
            said_held: 0,
            must_end_mono_ns,
        };
        self.clients[client].pending.push(pending);
        self.settle(client);
        if self.violation.is_none() {
            self.leave(client);
        }
        // What had arrived before is found by the first look at the sockets that follows.
        let has_unread = |conn: &Conn| conn.client == client && conn.is_client_open && !conn.client_buffer.is_empty();
        if self.violation.is_none() && self.conns.iter().any(has_unread) {
            self.clients[client].wake_ns = self.now;
            self.at(self.now, Event::Wake(client as u8));
        }
    }

    fn key_of_token(&self, token: TokenId) -> redlock::core::request::Bytes {
        let keys = self.nodes.iter().flat_map(|node| &node.keys);
        let claims = self.clients[token.client].claims.iter().filter(|claim| claim.token == token);
        let resource = keys.filter(|key| key.token == token).map(|key| key.resource);
        key_of(resource.chain(claims.map(|claim| claim.resource)).next().unwrap_or(0))
    }

    /// The operation that a thread waited for has ended.
    pub fn worker_done(&mut self, client: usize, pending: &Pending, result: Result<Completion, Failure>) {
        let worker = pending.worker;
        if pending.is_detached {
            self.summary.extended += u64::from(result.is_ok());
            return;
        }
        self.clients[client].workers[worker].is_waiting = false;
        let hold_ns = self.knobs.ttls_ms[1] * NS_PER_MS;
        match (pending.asked, result) {
            (Asked::Lock { resource, .. }, Ok(Completion::Locked { lease, token, view, fence })) => {
                self.summary.locked += 1;
                let claim = Claim {
                    lease,
                    resource,
                    token: TokenId::of(&token),
                    state: view.state,
                    valid_until_ns: view.valid_until_ns,
                    is_seen_over: false,
                    is_let_go: false,
                };
                let at = self.clients[client].claims.len();
                self.clients[client].claims.push(claim);
                self.clients[client].workers[worker].claim = Some(at);
                tell!(self, "c{client}.{worker} HOLDS {resource} by {}", named(claim.token));
                self.check_claim(client, at);
                if let Some(fence) = fence {
                    self.check_fence(resource, claim.token, fence);
                    self.check_fence_is_near(client, claim.token, fence);
                }
                let most_ns = if self.is_calm || self.rng.one_in(2) { hold_ns / 8 } else { hold_ns };
                self.act_later(client, worker, 0, most_ns);
            }
            (Asked::Unlock { .. }, result) => {
                self.summary.unlocked += u64::from(result.is_ok());
                let most_ns = if self.rng.one_in(4) { hold_ns } else { 5 * NS_PER_MS };
                self.act_later(client, worker, 0, most_ns);
            }
            (Asked::Extend { .. }, result) => {
                self.summary.extended += u64::from(result.is_ok());
                self.act_later(client, worker, 0, hold_ns / 2);
            }
            (asked, result) => {
                self.summary.failed += u64::from(result.is_err() && matches!(asked, Asked::Lock { .. }));
                self.act_later(client, worker, 0, 20 * NS_PER_MS);
            }
        }
    }
}
