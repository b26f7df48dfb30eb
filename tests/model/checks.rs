//! What must hold in every state.

use std::fmt;
use std::rc::Rc;

use redlock::core::machine::census::Census;

use crate::client::{Claim, named, owner};
use crate::world::{CLIENTS, NODES, Wire, World};

/// Two clients may use the same lock at the same true moment.
pub const EXCLUSION: &str = "at most one holder";
/// A valid lease is kept by a quorum of nodes until its last moment.
pub const BACKING: &str = "a valid lease is backed by a quorum";
/// Lost, released or expired: never held again.
pub const FINALITY: &str = "a lease that is over stays over";
/// Fencing tokens grow from holder to holder.
pub const FENCING: &str = "fencing tokens grow";
/// A reply belongs to the request that it answers.
pub const ORDER: &str = "replies reach their requests";
/// Requests are sent only where there is a connection.
pub const ASKING: &str = "asks connected nodes only";
/// Where everything has come to rest, every operation has ended, once.
pub const ENDING: &str = "every operation ends once";
/// An unlock that succeeded was told of a quorum of deletions.
pub const RELEASE: &str = "a release deletes a quorum of keys";
/// A client that has nothing more to do or to say has left no key but those of its lease.
pub const CLEANLINESS: &str = "no key outlives its release";
/// Nothing is remembered for ever.
pub const OBLIVION: &str = "nothing is remembered for ever";
/// No queue grows without limit.
pub const BOUNDS: &str = "queues are bounded";
/// The library neither fails an assertion nor overflows.
pub const PANIC: &str = "nothing panics";

/// Most messages that are on their way on one connection, and most releases that are owed.
const QUEUE_MAX: usize = 8;

#[derive(Debug, Clone)]
pub struct Violation {
    pub check: &'static str,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is violated: {}", self.check, self.detail)
    }
}

/// The right one, whatever the library takes for a quorum.
const QUORUM: usize = NODES / 2 + 1;

impl World {
    pub fn check(&mut self) {
        self.check_exclusion();
        for client in 0..CLIENTS {
            self.check_backing(client);
            self.check_bounds(client);
            self.check_cleanliness(client);
            if self.is_at_rest() {
                self.check_rest(client);
            }
        }
    }

    fn claim(&self, client: usize) -> Option<&Claim> {
        self.clients[client].claim.as_ref()
    }

    fn check_exclusion(&mut self) {
        let is_holder = |&client: &usize| self.claim(client).is_some_and(|claim| claim.is_valid(self.now_ns));
        if (0..CLIENTS).filter(is_holder).count() > 1 {
            self.fail(EXCLUSION, "both clients hold the lock".to_owned());
        }
    }

    fn check_backing(&mut self, client: usize) {
        let Some(claim) = self.claim(client).filter(|claim| claim.is_valid(self.now_ns)) else { return };
        let backs = |until_ns: u64| {
            let keys = self.nodes.iter().filter_map(|node| node.key.as_ref());
            keys.filter(|key| key.token == claim.token && key.expires_ns >= until_ns).count()
        };
        let backing = backs(claim.valid_until_ns);
        if backing < QUORUM && !self.robbed.contains(&claim.token) {
            let left_ms = (claim.valid_until_ns - self.now_ns) as f64 / 1e6;
            self.fail(BACKING, format!("c{client} may use its lock for {left_ms} ms, kept by {backing} nodes"));
        }
    }

    pub fn check_grant(&mut self, client: usize, fence: Option<u64>) {
        let Some(fence) = fence else { return };
        if fence <= self.highest_fence {
            self.fail(FENCING, format!("c{client} got {fence} after {}", self.highest_fence));
        }
        self.highest_fence = self.highest_fence.max(fence);
    }

    pub fn check_release(&mut self, client: usize, deletions: usize, is_released: bool) {
        if is_released && deletions < QUORUM {
            self.fail(RELEASE, format!("c{client}'s lock is released by {deletions} deletions"));
        }
    }

    fn check_bounds(&mut self, client: usize) {
        let longest = |wire: &Rc<Wire>| wire.to_node.len().max(wire.to_client.len()).max(wire.unaccounted.len());
        let longest = self.wires[client].iter().map(longest).max().unwrap_or_default();
        let census = self.clients[client].machine.census();
        let most = longest.max(census.pending_releases / NODES).max(census.parked / NODES);
        if most > QUEUE_MAX {
            self.fail(BOUNDS, format!("c{client} has {most} entries in one queue"));
        }
    }

    fn check_cleanliness(&mut self, client: usize) {
        let of = &self.clients[client];
        let census = of.machine.census();
        let is_settled = of.pending.is_none()
            && census.in_flight + census.parked + census.pending_releases == 0
            && self.wires[client].iter().all(|wire| wire.is_empty());
        if !is_settled {
            return;
        }
        let is_kept = |token: &[u8]| of.claim.as_ref().is_some_and(|claim| *claim.token == *token);
        let left = self.nodes.iter().enumerate().find_map(|(at, node)| {
            let key = node.key.as_ref().filter(|key| owner(&key.token) == client && !is_kept(&key.token))?;
            Some(format!("{} is left on n{at}, and c{client} knows nothing of it", named(&key.token)))
        });
        if let Some(detail) = left {
            self.fail(CLEANLINESS, detail);
        }
    }

    fn check_rest(&mut self, client: usize) {
        let of = &self.clients[client];
        if of.pending.is_some() {
            return self.fail(ENDING, format!("c{client} waits for ever"));
        }
        let census = of.machine.census();
        let leases = usize::from(of.claim.is_some());
        let resources = census.resources.min(leases);
        if census != (Census { leases, resources, ..Census::default() }) {
            self.fail(OBLIVION, format!("c{client} still has {census:?}"));
        }
    }
}
