//! What must hold at every step, whatever goes wrong.

use redlock::core::config::RestartGuard;
use redlock::core::machine::census::Census;
use redlock::core::operation::{Completion, LeaseKey, LeaseState, LeaseView};
use redlock::core::quorum::quorum;
use redlock::core::report::{Failure, NodeReport, Outcome, Status};
use redlock::core::time::NS_PER_MS;
use redlock::core::validity::lower_bound;

use crate::client::{Asked, Pending};
use crate::knobs::Mode;
use crate::net::Conn;
use crate::node::{Key, Node};
use crate::rng::TokenId;
use crate::trace::named;
use crate::world::{World, tell};

/// Two clients believe at the same true moment to hold the same lock.
pub const EXCLUSION: &str = "at most one holder";
/// A valid lease is kept by a quorum of nodes until its last moment.
pub const BACKING: &str = "a valid lease is backed by a quorum";
/// Lost, released or expired: never held again.
pub const FINALITY: &str = "a lease that is over stays over";
/// Fencing tokens grow from holder to holder.
pub const FENCING: &str = "fencing tokens grow";
/// One wrong clock does not set the counters for ever.
pub const NEARNESS: &str = "fencing tokens stay near the clocks";
/// No node is counted for a key that it never had.
pub const COUNTING: &str = "only granted keys are counted";
/// An unlock that succeeded deleted a quorum of keys.
pub const RELEASE: &str = "a release deletes a quorum of keys";
/// An extension that succeeded reached a quorum and lasts as long as it says.
pub const EXTENSION: &str = "an extension reaches a quorum";
/// Everything ends in its time.
pub const ENDING: &str = "every operation ends in time";
/// What is due is done.
pub const PROGRESS: &str = "what is due is done";
/// A failure's status and its reports say the same.
pub const REPORTS: &str = "a failure says what happened";
/// Nothing is remembered for ever.
pub const OBLIVION: &str = "nothing is remembered for ever";
/// Attempts are made when they may succeed.
pub const MODESTY: &str = "attempts are made when they may succeed";
/// Within so many round trips of the moment at which a lock is free, whoever waits has contended for it.
const ROUND_TRIPS_MAX: u64 = 20;

/// Who waits for a lock that is free contends for it.
pub const AVAILABILITY: &str = "a lock that is free is had by who waits";
/// No key outlives its release.
pub const CLEANLINESS: &str = "no key outlives its release";

/// As in the core's `fence.rs`: how far counters may be ahead where no `max_ttl` was agreed on, what proposals are ahead
/// of the clocks, and up to when a reply is taken to be as fresh as its request.
const AHEAD_MAX_MS: u64 = 10_000;
const FENCE_LEAD_US: u64 = 2_000;
const PROMPT_REPLY_US: u64 = 100_000;
const US_PER_MS: u64 = 1_000;

impl World {
    fn quorum(&self) -> usize {
        quorum(self.nodes.len())
    }

    fn is_robbed(&mut self, token: TokenId) -> bool {
        self.knobs.mode == Mode::Promise && self.clients[token.client].fate(token).is_robbed
    }

    fn is_exposed(&mut self, token: TokenId) -> bool {
        self.knobs.mode == Mode::Promise && self.clients[token.client].fate(token).is_exposed
    }

    /// On how many nodes the key is, in truth, at least until a true moment.
    fn backing(&self, resource: u8, token: TokenId, until_ns: u64) -> usize {
        self.nodes.iter().filter(|node| node.holds_until(self.now, resource, token) >= until_ns.max(1)).count()
    }

    /// A client has begun to hold a lock.
    pub fn check_claim(&mut self, client: usize, at: usize) {
        let claim = self.clients[client].claims[at];
        let lease_ns = self.clients[client].now(self.now).lease_ns;
        if !claim.is_active(lease_ns) {
            return self.fail(FINALITY, format!("c{client} got {} when it was over", named(claim.token)));
        }
        for other in 0..self.clients.len() {
            let of = &self.clients[other];
            if !of.is_alive {
                continue;
            }
            let lease_ns = of.now(self.now).lease_ns;
            let rivals = of.claims.iter().filter(|rival| {
                rival.resource == claim.resource && rival.token != claim.token && rival.is_active(lease_ns)
            });
            for rival in rivals.copied().collect::<Vec<_>>() {
                if self.is_victim(rival.resource, rival.token) || self.is_victim(claim.resource, claim.token) {
                    tell!(self, "(excused: {} or {} was exposed)", named(rival.token), named(claim.token));
                    continue;
                }
                let (ours, theirs) = (named(claim.token), named(rival.token));
                self.fail(EXCLUSION, format!("c{client} holds {ours} while c{other} holds {theirs}"));
            }
        }
        self.check_backing(client, at);
    }

    /// Every holder's fencing token is larger than all before it.
    pub fn check_fence(&mut self, resource: u8, token: TokenId, fence: u64) {
        let at = usize::from(resource);
        let Some((before, of)) = self.highest_fence[at] else {
            self.highest_fence[at] = Some((fence, token));
            return;
        };
        let is_lost = self.are_counters_lost || self.are_counters_replaced && !self.do_clocks_agree();
        let is_excused = self.knobs.mode == Mode::Promise && is_lost;
        if fence <= before && !is_excused && !self.is_exposed(of) && !self.is_exposed(token) {
            self.fail(FENCING, format!("{} got {fence} after {} got {before}", named(token), named(of)));
        } else if fence > before {
            self.highest_fence[at] = Some((fence, token));
        }
    }

    /// No token is far ahead of the servers' clocks, whatever a single one of these shows.
    pub fn check_fence_is_near(&mut self, client: usize, token: TokenId, fence: u64) {
        let clocks = self.nodes.iter().filter(|node| !node.is_ahead());
        let newest_us = clocks.map(|node| node.time_us(self.now)).max().unwrap_or(0);
        let ahead_us = self.clients[client].knobs.config.max_ttl_ms.unwrap_or(AHEAD_MAX_MS) * US_PER_MS;
        let is_any_stepped = self.nodes.iter().any(|node| node.was_stepped);
        if fence > newest_us + ahead_us + self.reading_error_us() && !is_any_stepped {
            self.fail(NEARNESS, format!("{} got {fence} at {newest_us}", named(token)));
        }
    }

    /// The clocks differ by less than the longest ttl, also as clients read them.
    fn do_clocks_agree(&self) -> bool {
        let clocks = || self.nodes.iter().filter(|node| !node.is_ahead()).map(|node| node.time_us(self.now));
        let spread_us = clocks().max().unwrap_or(0) - clocks().min().unwrap_or(0);
        spread_us + self.reading_error_us() < self.knobs.max_ttl_ms * US_PER_MS
    }

    /// How wrong a client may be about a server's clock: by what a reply took, and by its own clock since then.
    fn reading_error_us(&self) -> u64 {
        let drift_ppm = self.clients[0].knobs.config.drift_ppm;
        PROMPT_REPLY_US + FENCE_LEAD_US + self.now / 1_000 * drift_ppm / 1_000_000
    }

    /// Its keys were taken from it, so that fewer than a quorum remain, and nothing else protects it.
    fn is_victim(&mut self, resource: u8, token: TokenId) -> bool {
        self.is_exposed(token) && self.backing(resource, token, self.now) < self.quorum()
    }

    /// A server has deleted a key on request: not from under its holder.
    pub fn check_deletion(&mut self, token: TokenId) {
        let client = token.client;
        let held = self.clients[client].claims.iter().rposition(|claim| claim.token == token);
        if let Some(at) = held.filter(|_| self.clients[client].is_alive) {
            self.check_backing(client, at);
        }
    }

    fn check_backing(&mut self, client: usize, at: usize) {
        let claim = self.clients[client].claims[at];
        let of = &self.clients[client];
        if self.is_calm && claim.is_let_go || !claim.is_active(of.now(self.now).lease_ns) || self.is_robbed(claim.token)
        {
            return;
        }
        let until_ns = self.clients[client].when_lease(claim.valid_until_ns);
        let backing = self.backing(claim.resource, claim.token, until_ns);
        if backing < self.quorum() {
            let token = named(claim.token);
            let until = until_ns as f64 / 1e6;
            self.fail(BACKING, format!("c{client} may use {token} until {until:.3} ms, kept by {backing} nodes"));
        }
    }

    /// The machine says what became of a lease. False where the owner has already seen it as over.
    pub fn lease_changed(&mut self, client: usize, lease: LeaseKey, view: LeaseView) -> bool {
        let lease_ns = self.clients[client].now(self.now).lease_ns;
        let Some(at) = self.clients[client].claims.iter().rposition(|claim| claim.lease == lease) else { return true };
        let was = self.clients[client].claims[at];
        let token = named(was.token);
        tell!(self, "c{client} lease {token}: {view:?}");
        if view.state == LeaseState::Held {
            if was.state != LeaseState::Held {
                self.fail(FINALITY, format!("{token} was {:?} and is held again", was.state));
            } else if lease_ns >= was.valid_until_ns && lease_ns < view.valid_until_ns {
                self.fail(FINALITY, format!("{token} had expired and is valid again"));
            }
            if was.is_seen_over {
                return false;
            }
        } else if was.state == LeaseState::Released && view.state == LeaseState::Lost {
            self.fail(FINALITY, format!("{token} was released and is now lost"));
        }
        self.summary.lost += u64::from(was.state == LeaseState::Held && view.state == LeaseState::Lost);
        let fate = self.clients[client].fate(was.token);
        // Extensions by token are no business of the lease.
        let denied = if fate.is_left { 0 } else { fate.denied };
        let granted = (fate.granted & !denied).count_ones() as usize;
        if view.node_count_held > granted {
            self.fail(COUNTING, format!("{token} is counted on {} nodes, {granted} granted it", view.node_count_held));
        }
        let claim = &mut self.clients[client].claims[at];
        claim.state = view.state;
        claim.valid_until_ns = view.valid_until_ns;
        self.check_backing(client, at);
        true
    }

    pub fn check_completion(&mut self, client: usize, pending: &Pending, result: &Result<Completion, Failure>) {
        if self.is_told {
            let text = match result {
                Ok(completion) => format!("{completion:?}"),
                Err(failure) => failure.to_string(),
            };
            self.note(format!("c{client}.{} {:?} ended: {text}", pending.worker, pending.op));
        }
        match result {
            Ok(completion) => self.check_success(client, pending, completion),
            Err(failure) => self.check_failure(pending, failure),
        }
    }

    fn check_success(&mut self, client: usize, pending: &Pending, completion: &Completion) {
        let quorum = self.quorum();
        match (pending.asked, completion) {
            (Asked::Lock { .. }, Completion::Locked { token, .. }) => {
                let token = TokenId::of(token);
                let fate = self.clients[client].fate(token);
                let denied = if fate.is_left { 0 } else { fate.denied };
                let granted = (fate.granted & !denied).count_ones() as usize;
                if granted < quorum {
                    self.fail(COUNTING, format!("{} was granted by {granted} nodes", named(token)));
                }
            }
            (Asked::Unlock { claim }, Completion::Done) => {
                let token = self.clients[client].claims[claim].token;
                self.check_deletions(pending, token);
            }
            (Asked::UnlockToken { token }, Completion::Done) => self.check_deletions(pending, token),
            (Asked::Extend { claim, ttl_ms }, Completion::Done) => {
                let claim = self.clients[client].claims[claim];
                self.check_extensions(client, pending, claim.token);
                let drift_ppm = self.clients[client].knobs.config.drift_ppm;
                let promised_ns = lower_bound(pending.submitted_lease_ns, ttl_ms, drift_ppm);
                if !claim.is_seen_over && claim.valid_until_ns < promised_ns {
                    self.fail(EXTENSION, format!("{} ends before its extension", named(claim.token)));
                }
            }
            (Asked::ExtendToken { token, .. }, Completion::Done) => self.check_extensions(client, pending, token),
            (Asked::Inspect, Completion::Inspected(views)) => {
                let failed = views.iter().filter(|view| matches!(view.report.outcome, Outcome::Failed(_))).count();
                if views.len() != self.nodes.len() || failed > self.nodes.len() - quorum {
                    self.fail(REPORTS, format!("inspected in spite of {failed} failed nodes"));
                }
            }
            (Asked::Ready, Completion::Done) => {}
            (Asked::WaitLost { claim }, Completion::Done) => {
                let claim = self.clients[client].claims[claim];
                let lease_ns = self.clients[client].now(self.now).lease_ns;
                if claim.state != LeaseState::Held || claim.valid_until_ns <= lease_ns {
                    self.fail(FINALITY, format!("{} is over and is said to be held", named(claim.token)));
                }
            }
            (asked, completion) => self.fail(REPORTS, format!("{asked:?} ended with {completion:?}")),
        }
    }

    fn check_deletions(&mut self, pending: &Pending, token: TokenId) {
        let deleted = since(&self.clients[token.client].fate(token).deleted_ns, pending.submitted_ns);
        if deleted < self.quorum() {
            self.fail(RELEASE, format!("{} was deleted on {deleted} nodes", named(token)));
        }
    }

    fn check_extensions(&mut self, client: usize, pending: &Pending, token: TokenId) {
        let extended_ns = self.clients[token.client].fate(token).extended_ns;
        let by_guarded =
            |node: usize| self.is_certainly_guarded(client, node) && extended_ns[node] >= self.nodes[node].started_ns;
        let voters_ns: Vec<u64> =
            (0..self.nodes.len()).filter(|&node| !by_guarded(node)).map(|node| extended_ns[node]).collect();
        let extended = since(&voters_ns, pending.submitted_ns);
        if extended < self.quorum() {
            self.fail(EXTENSION, format!("{} was extended on {extended} nodes that vote", named(token)));
        }
    }

    /// The node restarted so short a time ago that this client's guard cannot let it vote yet.
    fn is_certainly_guarded(&self, client: usize, node: usize) -> bool {
        let (of, node_now) = (&self.clients[client], &self.nodes[node]);
        let has_restarted = match of.knobs.config.restart_guard {
            RestartGuard::Off => false,
            RestartGuard::Seen => of.successors & (1 << node) != 0,
            RestartGuard::Strict => node_now.starts > 0,
        };
        let guard_ns = of.knobs.config.max_ttl_ms.unwrap_or(0) * 1_000_000;
        // The fastest client's clock.
        let age_ns = (self.now - node_now.started_ns) * 103 / 100;
        has_restarted && age_ns < guard_ns
    }

    fn check_failure(&mut self, pending: &Pending, failure: &Failure) {
        let (node_count, quorum) = (self.nodes.len(), self.quorum());
        let nodes = &failure.nodes;
        let count = |is: fn(&Outcome) -> bool| nodes.iter().filter(|report| is(&report.outcome)).count();
        let failed = count(|outcome| matches!(outcome, Outcome::Failed(_) | Outcome::Guarded(_)));
        let done = count(|outcome| matches!(outcome, Outcome::Done));
        let is_in_order = nodes.iter().enumerate().all(|(node, report)| report.node == node);
        let is_whole = nodes.len() == node_count || nodes.is_empty();
        let is_right = is_whole
            && is_in_order
            && match failure.status {
                Status::NoQuorum => failed > node_count - quorum,
                Status::Config => failed > node_count - quorum || pending.asked == Asked::Ready,
                Status::NotAcquired => {
                    matches!(pending.asked, Asked::Lock { .. })
                        && failed <= node_count - quorum
                        && (done < quorum || failure.detail.is_some())
                }
                Status::Lost => !matches!(pending.asked, Asked::Lock { .. } | Asked::Inspect | Asked::Ready),
                Status::Unknown => failed <= node_count - quorum,
                Status::Cancelled => true,
                Status::Closed => false,
                Status::Interrupted | Status::Invalid | Status::Forked | Status::Internal => false,
            };
        let is_held = |report: &&NodeReport| matches!(report.outcome, Outcome::Held(_));
        let mut said_held = nodes.iter().filter(is_held).map(|report| report.node);
        let is_right = is_right && said_held.all(|node| pending.said_held & (1 << node) != 0);
        if !is_right {
            self.fail(REPORTS, format!("{:?} failed with {failure:?}", pending.asked));
        }
    }

    /// Nothing goes on after its time.
    pub fn check_ends(&mut self, client: usize) {
        let of = &self.clients[client];
        if of.paused_until_ns > self.now {
            return;
        }
        let mono_ns = of.now(self.now).mono_ns;
        if let Some(late) = of.pending.iter().find(|pending| pending.must_end_mono_ns < mono_ns) {
            let late_ms = (mono_ns - late.must_end_mono_ns) / 1_000_000;
            self.fail(
                ENDING,
                format!("c{client}.{} {:?} is {late_ms} ms late: {:?}", late.worker, late.op, late.asked),
            );
        }
    }

    /// A client without an operation, an unanswered request or a release has left no key but those of its leases.
    pub fn check_cleanliness(&mut self, client: usize) {
        let of = &self.clients[client];
        if !self.knobs.can_kill || !of.pending.is_empty() || !of.unsent.is_empty() || of.lease_ahead_ns > 0 {
            return;
        }
        let mine = |token: TokenId| {
            token.client == client
                && !of.fates[token.count].is_left
                && !of.claims.iter().any(|claim| claim.token == token && !claim.is_let_go)
        };
        let find = |(at, node): (usize, &Node)| {
            let is_left = |key: &&Key| mine(key.token) && node.holds_until(self.now, key.resource, key.token) > 0;
            node.keys.iter().find(is_left).filter(|_| node.is_up && !node.was_stepped).map(|key| (at, key.token))
        };
        let Some((node, token)) = self.nodes.iter().enumerate().find_map(find) else { return };
        let census = of.machine.census();
        let is_settled = census.in_flight + census.parked + census.pending_releases == 0;
        let is_on_its_way = |conn: &Conn| {
            conn.client == client && conn.node == node && !(conn.to_server.is_empty() && conn.server_buffer.is_empty())
        };
        if is_settled && !self.conns.iter().any(is_on_its_way) {
            self.fail(CLEANLINESS, format!("{} is left on n{node}, and c{client} knows nothing of it", named(token)));
        }
    }

    pub fn turns_of(&self, asked: Asked) -> u64 {
        match asked {
            Asked::Lock { resource, .. } => self.turns[usize::from(resource)],
            _ => 0,
        }
    }

    /// A lock has been waited for: so many attempts were worth it, for the turns that others had meanwhile, and for the
    /// time that passed.
    pub fn allow_attempts(&mut self, client: usize, pending: &Pending) {
        if matches!(pending.asked, Asked::Lock { .. }) {
            let turns = self.turns_of(pending.asked) - pending.turns_before;
            let of = &mut self.clients[client];
            let waited_ms = (self.now - pending.submitted_ns) / NS_PER_MS;
            of.allowed_attempts += 4 * (1 + turns) + waited_ms / of.knobs.config.retry_delay_ms;
        }
    }

    /// Nobody asks again and again while others hold what it wants.
    fn check_attempts(&mut self) {
        for client in 0..self.clients.len() {
            let of = &self.clients[client];
            let (attempts, allowed) = (of.machine.stats().attempts, of.allowed_attempts);
            if of.is_alive && attempts > allowed {
                self.fail(MODESTY, format!("c{client} made {attempts} attempts where {allowed} were enough"));
            }
        }
    }

    /// Where nothing goes wrong, nobody waits for long while a quorum of nodes is free, whatever the others say.
    pub fn check_availability(&mut self) {
        for resource in 0..self.knobs.resources {
            let free = self.nodes.iter().filter(|node| node.is_free(self.now, resource)).count();
            let since = &mut self.free_since[usize::from(resource)];
            let was_free = *since != u64::MAX;
            *since = if free < quorum(self.nodes.len()) { u64::MAX } else { (*since).min(self.now) };
            let since = *since;
            if since == u64::MAX {
                continue;
            }
            self.turns[usize::from(resource)] += u64::from(!was_free);
            for client in 0..self.clients.len() {
                let of = &self.clients[client];
                let is_wanted = |pending: &&Pending| matches!(pending.asked, Asked::Lock { resource: wanted, .. } if wanted == resource);
                let Some(waiting) = of.pending.iter().filter(is_wanted).map(|pending| pending.submitted_ns).min()
                else {
                    continue;
                };
                let waited_ns = self.now - since.max(waiting);
                let config = &of.knobs.config;
                // Whoever has lost races backs off for so long at most; without pushes it comes between any two tries.
                let jitter_ms = if config.wake { 0 } else { config.retry_jitter_ms };
                let rest_ms = config.retry_delay_ms + jitter_ms;
                // Who waits for an expiry reckons with clocks that differ.
                let apart_ms = 10 + self.knobs.ttls_ms[1] * config.drift_ppm / 1_000_000;
                let round_trips_ns = 2 * ROUND_TRIPS_MAX * self.knobs.delay_ns;
                if waited_ns > (rest_ms + apart_ms) * NS_PER_MS + round_trips_ns {
                    let waited_ms = waited_ns / 1_000_000;
                    let detail = format!("c{client} waits for {resource}, which has been free for {waited_ms} ms");
                    return self.fail(AVAILABILITY, detail);
                }
            }
        }
    }

    /// The driver ticks as long as something is due, and would spin for ever if nothing came of it.
    pub fn check_progress(&mut self, client: usize) {
        for _ in 0..32 {
            let of = &self.clients[client];
            let mono_ns = of.now(self.now).mono_ns;
            if self.violation.is_some() || of.machine.next_deadline().is_none_or(|due| due > mono_ns) {
                return;
            }
            self.attend(client);
        }
        self.fail(PROGRESS, format!("c{client} has something due again and again"));
    }

    /// The faults are long over and nothing moves any more.
    pub fn check_rest(&mut self) {
        if self.knobs.is_peaceful {
            self.check_attempts();
        }
        for client in 0..self.clients.len() {
            let of = &self.clients[client];
            if !of.is_alive {
                continue;
            }
            if let Some(pending) = of.pending.first() {
                self.fail(ENDING, format!("c{client} waits for ever: {:?}", pending.asked));
                return;
            }
            let census = of.machine.census();
            if census != Census::default() {
                self.fail(OBLIVION, format!("c{client} still has {census:?}"));
            }
        }
        for node in 0..self.nodes.len() {
            self.nodes[node].purge(self.now);
            for key in self.nodes[node].keys.clone() {
                let of = &mut self.clients[key.token.client];
                let was_stepped = of.lease_ahead_ns > 0 || self.nodes[node].was_stepped;
                let fate = *of.fate(key.token);
                let is_excused = !of.is_alive || fate.is_left || was_stepped || !self.knobs.can_kill;
                if !is_excused {
                    self.fail(CLEANLINESS, format!("{} is left on n{node}", named(key.token)));
                }
                let most_ns = self.nodes[node].clock.at(self.now) + self.knobs.ttls_ms[1] * 1_000_000;
                if key.expires_ns > most_ns && !self.nodes[node].was_stepped {
                    self.fail(CLEANLINESS, format!("{} lives longer than any ttl", named(key.token)));
                }
            }
        }
    }
}

/// How many nodes did something at this moment or later.
fn since(moments: &[u64], from_ns: u64) -> usize {
    moments.iter().filter(|&&at| at != 0 && at >= from_ns).count()
}
