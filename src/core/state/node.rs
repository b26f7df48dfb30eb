//! One node as the algorithm sees it: its link, the requests it has not answered, and the releases it still owes us.
//!
//! Replies come in the order of the requests on one connection, so the oldest unanswered request is always the one
//! that a reply belongs to. A request that is judged late stays in that order: its reply will still come.

use std::collections::VecDeque;

use super::process::Process;
use super::server_time::ServerTime;
use crate::core::config::Limits;
use crate::core::mutant::{self, Mutant};
use crate::core::operation::{LeaseKey, OpKey};
use crate::core::request::{Bytes, Fault, FaultKind, Request, RequestKind, ServerInfo};
use crate::core::time::{NS_PER_MS, Now};

/// A node that refused a connection more recently than this is not waited for while the next one is being made.
const BACKING_OFF_NS: u64 = 5_000 * NS_PER_MS;

/// Pause before a release is tried again that the server refused (BUSY, READONLY, …).
const RELEASE_RETRY_NS: u64 = 1_000 * NS_PER_MS;

/// Most releases of callers' tokens that are remembered because a server may still execute them. The oldest of more than
/// these was sent so many connections ago that it has been.
const UNACCOUNTED_MAX: usize = 1_024;

/// So long after the end of a connection nothing of it is on its way any more (RFC 9293, maximum segment lifetime), and
/// a server that is not suspect has executed what had arrived.
const SEGMENT_LIFETIME_NS: u64 = 120_000 * NS_PER_MS;

/// A moment that does not come. Not `None` where it is compared all the time: the compiler then looks at what is not
/// there before it asks whether it is, which is sound, but not to valgrind.
const NEVER: u64 = u64::MAX;

/// The state of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Link {
    /// No connection.
    Down,
    /// A connection is being made or will be at once, and there is reason to think that it will be ready in a moment.
    Connecting,
    /// A connection is being made; the last attempt at one failed a moment ago.
    BackingOff,
    /// Ready for requests.
    Up,
}

/// Who gets the answer to a request.
#[derive(Debug, Clone, Hash)]
pub enum ReplyTo {
    /// The vote of an attempt, or of a node that a lease is set on again.
    Vote {
        /// The attempt or lease.
        lease: LeaseKey,
        /// The life asked for.
        ttl_ms: u64,
    },
    /// An extension; of a lease of ours unless it is by token.
    Extension {
        /// The operation that asked.
        op: OpKey,
        /// The lease, if it is ours.
        lease: Option<LeaseKey>,
        /// The life asked for.
        ttl_ms: u64,
    },
    /// A release, with the operation that waits for it, if one does.
    Release {
        /// The operation that asked, if it wants to know.
        op: Option<OpKey>,
        /// What remains owed until the node confirms.
        release: PendingRelease,
    },
    /// A question about a lock.
    Question(OpKey),
    /// Whether the key of a watched lease still has our token.
    Check(LeaseKey),
    /// The announcement that the next question's key is to be watched.
    Tracking,
}

/// A release that must reach the node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PendingRelease {
    /// The lock key.
    pub key: Bytes,
    /// The token whose key must go.
    pub token: Bytes,
    /// The caller chose the token and may use it again.
    pub is_callers_token: bool,
    /// After this lease time the key cannot exist any more. `u64::MAX` where a request is unaccounted for: a SET in
    /// a stopped server's socket buffer starts its key's life when the server goes on.
    pub void_after_lease_ns: u64,
}

impl PendingRelease {
    /// The same release at a later moment. What was asked before it may have been executed as late as now.
    #[must_use]
    pub fn renewed(&self, queued: Now, now: Now) -> PendingRelease {
        let since_ns = now.lease_ns.saturating_sub(queued.lease_ns);
        let void_after_lease_ns = self.void_after_lease_ns.saturating_add(since_ns);
        PendingRelease { void_after_lease_ns, ..self.clone() }
    }
}

/// A release that was sent on a connection that is gone. Unless the server has closed that connection, it may execute
/// the release some time later, and delete a key that was set with the same token meanwhile.
#[derive(Debug, Clone, Hash)]
struct Unaccounted {
    /// Which connection it was, counted from 1.
    connection: u64,
    /// When it ended, on the wait clock.
    lost_mono_ns: u64,
    key: Bytes,
    token: Bytes,
}

/// A request on its way, or waiting for the connection.
#[derive(Debug, Clone, Hash)]
pub struct Pending {
    /// Who asked.
    pub reply_to: ReplyTo,
    /// What was asked.
    pub kind: RequestKind,
    /// When it was queued.
    pub queued: Now,
    /// When it left, on the wait clock: its answer is due a node timeout later. Until the driver tells that, the
    /// moment at which it was queued.
    pub sent_mono_ns: u64,
}

/// A request for which the connection is not there yet.
#[derive(Debug, Clone, Hash)]
pub struct Parked {
    /// What will be said.
    pub request: Request,
    /// Who asked.
    pub reply_to: ReplyTo,
    /// Since when it waits.
    pub since: Now,
}

/// One node.
#[derive(Debug, Clone, Hash)]
pub struct Node {
    /// How much may be under way.
    pub limits: Limits,
    /// The state of its connection.
    pub link: Link,
    /// The reason of the last disconnection or refusal.
    pub last_fault: Option<Fault>,
    /// `run_id` of the server at the other end, while known.
    pub run_id: String,
    /// How long that server has been running.
    pub process: Process,
    /// A moment at which it certainly was, on the wait clock.
    pub alive_mono_ns: u64,
    /// Its clock.
    pub time: ServerTime,
    /// Requests not answered yet, oldest first.
    pub in_flight: VecDeque<Pending>,
    /// How many of the oldest have been reported as timed out. The node is suspect while there are any.
    pub judged: usize,
    /// How many of the youngest have not left yet, if the driver tells.
    unsent: usize,
    /// Requests that wait for the connection, oldest first.
    pub parked: VecDeque<Parked>,
    /// Releases that were not confirmed on a connection that is gone.
    pub pending_releases: VecDeque<PendingRelease>,
    /// Releases owed beyond the limit since the last look for void ones.
    owed_since_look: usize,
    /// Releases of callers' tokens that the server may still execute, oldest first.
    unaccounted: VecDeque<Unaccounted>,
    /// When a connection could last not be made, on the wait clock.
    dial_failed_mono_ns: Option<u64>,
    /// When releases that the server refused are tried again on the same connection.
    releases_due_mono_ns: u64,
    /// Connections made.
    pub connections: u64,
    /// It sends invalidation pushes.
    pub tracks: bool,
    /// How long its quick replies take, smoothed.
    reply_ns: Option<u64>,
}

impl Node {
    /// A node nobody has talked to yet.
    #[must_use]
    pub fn new(limits: Limits) -> Node {
        Node {
            limits,
            link: Link::Down,
            last_fault: None,
            run_id: String::new(),
            process: Process::default(),
            alive_mono_ns: 0,
            time: ServerTime::default(),
            in_flight: VecDeque::new(),
            judged: 0,
            unsent: 0,
            parked: VecDeque::new(),
            pending_releases: VecDeque::new(),
            owed_since_look: 0,
            unaccounted: VecDeque::new(),
            dial_failed_mono_ns: None,
            releases_due_mono_ns: NEVER,
            connections: 0,
            tracks: false,
            reply_ns: None,
        }
    }

    /// It has not answered within the node timeout.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.judged > 0
    }

    /// It is connected and answers in time.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.link == Link::Up && !self.is_suspect()
    }

    /// A connection is being made.
    pub fn dialing(&mut self, now: Now) {
        let failed_recently =
            self.dial_failed_mono_ns.is_some_and(|failed| now.mono_ns.saturating_sub(failed) < BACKING_OFF_NS);
        self.link = if failed_recently { Link::BackingOff } else { Link::Connecting };
    }

    /// The connection is ready.
    pub fn connected(&mut self, info: ServerInfo) {
        // One that hides who it is, or hid it before, may be the same.
        let is_told = !info.run_id.is_empty() && !self.run_id.is_empty() || mutant::is(Mutant::HiddenIsAnother);
        let is_other_process = is_told && info.run_id != self.run_id;
        self.unaccounted.retain(|lost| {
            let was_closed = info.is_previous_closed && lost.connection == self.connections;
            !was_closed && !is_other_process
        });
        self.link = Link::Up;
        self.run_id = info.run_id;
        self.tracks = info.can_track;
        self.last_fault = None;
        self.dial_failed_mono_ns = None;
        self.connections += 1;
    }

    /// A request was queued.
    pub fn sending(&mut self, pending: Pending) {
        self.in_flight.push_back(pending);
        self.unsent += 1;
    }

    /// What was queued has left only now.
    pub fn flushed(&mut self, now: Now) {
        let sent_before = self.in_flight.len().saturating_sub(self.unsent);
        self.in_flight.range_mut(sent_before..).for_each(|pending| pending.sent_mono_ns = now.mono_ns);
        self.unsent = 0;
    }

    /// A reply took this long. Quick ones tell more: one that waited in the socket until somebody came to read it
    /// looks slow, and for a handle that is seldom used that is most of them.
    pub fn measure(&mut self, sample_ns: u64) {
        self.reply_ns = Some(match self.reply_ns {
            None => sample_ns,
            Some(usual_ns) if sample_ns < usual_ns => usual_ns - (usual_ns - sample_ns) / 4,
            Some(usual_ns) => usual_ns.saturating_add((sample_ns - usual_ns).min(usual_ns) / 32),
        });
    }

    /// Nearly every reply of a node that is well comes within this.
    #[must_use]
    pub fn usual_reply_ns(&self) -> Option<u64> {
        self.reply_ns.map(|quick_ns| quick_ns.saturating_mul(4))
    }

    /// The oldest request that nobody gave up yet is late. Its place in the order stays; a release remains owed, but
    /// nobody waits for it any more.
    pub fn judge_next(&mut self) {
        if let Some(late) = self.in_flight.get_mut(self.judged)
            && let ReplyTo::Release { op, .. } = &mut late.reply_to
        {
            *op = None;
        }
        if mutant::is(Mutant::LateLosesPlace) {
            self.in_flight.remove(self.judged);
            return;
        }
        self.judged += 1;
    }

    /// The connection is gone. Returns the requests that will never be answered, and those that never were sent;
    /// the releases among the former have become pending releases.
    pub fn disconnected(&mut self, now: Now, fault: Fault) -> (VecDeque<Pending>, VecDeque<Parked>) {
        // The end of a connection that worked says nothing against the next one: what is asked until then waits for
        // it, so that a call right after a restart or a `CLIENT KILL` does not fail. A server that hangs accepts
        // connections all the same: nobody waits for that one.
        let has_worked = self.link == Link::Up && fault.kind != FaultKind::Timeout;
        self.link = if has_worked { Link::Connecting } else { Link::Down };
        if self.link == Link::Down {
            self.dial_failed_mono_ns = Some(now.mono_ns);
        }
        self.last_fault = Some(fault);
        self.judged = 0;
        self.unsent = 0;
        self.tracks = false;
        self.releases_due_mono_ns = NEVER;
        let in_flight = std::mem::take(&mut self.in_flight);
        let is_any_unaccounted = in_flight.iter().any(|pending| pending.kind.gives_life());
        for pending in &in_flight {
            if let ReplyTo::Release { release, .. } = &pending.reply_to
                && !mutant::is(Mutant::ReleaseForgotten)
            {
                if release.is_callers_token {
                    let (key, token) = (release.key.clone(), release.token.clone());
                    let (connection, lost_mono_ns) = (self.connections, now.mono_ns);
                    self.unaccounted.push_back(Unaccounted { connection, lost_mono_ns, key, token });
                }
                let mut release = release.renewed(pending.queued, now);
                if is_any_unaccounted && !mutant::is(Mutant::ReleaseVoidTooEarly) {
                    release.void_after_lease_ns = u64::MAX;
                }
                self.owe(now, release);
            }
        }
        let too_many = self.unaccounted.len().saturating_sub(UNACCOUNTED_MAX);
        self.unaccounted.drain(..too_many);
        (in_flight, std::mem::take(&mut self.parked))
    }

    /// Remembers a release until it can be sent again. Beyond the limit the oldest is forgotten: its key is the first to
    /// expire, more or less, and expires without it.
    pub fn owe(&mut self, now: Now, release: PendingRelease) {
        if self.pending_releases.len() >= self.limits.owed {
            // Not each time: that would look at all of them for each.
            self.owed_since_look += 1;
            if self.owed_since_look > self.limits.owed / 16 {
                self.owed_since_look = 0;
                self.forget_void_releases(now);
            }
            let too_many = (self.pending_releases.len() + 1).saturating_sub(self.limits.owed);
            self.pending_releases.drain(..too_many);
        }
        self.pending_releases.push_back(release);
    }

    /// A release that is owed can be sent now: there is room, and the node has refused none a moment ago.
    #[must_use]
    pub fn can_pay(&self) -> bool {
        self.link == Link::Up && self.releases_due_mono_ns == NEVER && self.in_flight.len() < self.limits.in_flight / 2
    }

    /// Drops the pending releases whose keys cannot exist any more.
    pub fn forget_void_releases(&mut self, now: Now) {
        self.pending_releases.retain(|release| release.void_after_lease_ns > now.lease_ns);
    }

    /// The server refused a release: it is tried again in a while.
    pub fn retry_releases_later(&mut self, now: Now) {
        self.releases_due_mono_ns = self.releases_due_mono_ns.min(now.mono_ns.saturating_add(RELEASE_RETRY_NS));
    }

    /// Whether that while has passed; asked once.
    pub fn releases_are_due(&mut self, now: Now) -> bool {
        let are_due = self.releases_due_mono_ns <= now.mono_ns;
        if are_due {
            self.releases_due_mono_ns = NEVER;
        }
        are_due
    }

    /// Why nothing new is asked here right now, although the connection may be fine.
    #[must_use]
    pub fn refusal(&self, now: Now) -> Option<Fault> {
        if self.is_suspect() {
            let silent_ms = self.silent_since().map_or(0, |since| now.mono_ns.saturating_sub(since) / NS_PER_MS);
            return Some(Fault::new(FaultKind::Timeout, format!("no answer for {silent_ms} ms")));
        }
        self.is_full().then(Node::too_many)
    }

    /// So much is under way that nothing new is begun.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.in_flight.len() >= self.limits.in_flight
            || self.parked.len() >= self.limits.in_flight
            || self.obligations() >= self.limits.owed
    }

    /// What is told then.
    #[must_use]
    pub fn too_many() -> Fault {
        Fault::new(FaultKind::Refused, "too many unanswered requests")
    }

    /// Why this key is not to be given life here just now.
    #[must_use]
    pub fn unaccounted_release(&self, now: Now, request: &Request) -> Option<Fault> {
        let (Request::Set { key, token, .. }
        | Request::SetFenced { key, token, .. }
        | Request::Extend { key, token, .. }
        | Request::ExtendFenced { key, token, .. }) = request
        else {
            return None;
        };
        let may_come = |lost: &Unaccounted| now.mono_ns.saturating_sub(lost.lost_mono_ns) < SEGMENT_LIFETIME_NS;
        let may_delete = |lost: &Unaccounted| lost.token == *token && lost.key == *key && may_come(lost);
        let is_unaccounted = self.unaccounted.iter().any(may_delete) && !mutant::is(Mutant::UnaccountedIgnored);
        let why = "may still execute an earlier release with this token, from a connection that was lost";
        is_unaccounted.then(|| Fault::new(FaultKind::Refused, why))
    }

    /// Since when the oldest request waits for its answer.
    #[must_use]
    pub fn silent_since(&self) -> Option<u64> {
        self.in_flight.front().map(|oldest| oldest.sent_mono_ns)
    }

    /// Every request in flight, and every one that waits for the connection, may become a release.
    fn obligations(&self) -> usize {
        self.pending_releases.len() + self.in_flight.len() + self.parked.len()
    }

    /// Why there is no connection.
    #[must_use]
    pub fn why_down(&self) -> Fault {
        self.last_fault.clone().unwrap_or_else(|| Fault::new(FaultKind::Unreachable, "not connected yet"))
    }

    /// The moment at which something must be judged here.
    #[must_use]
    pub fn deadline_mono_ns(&self, answer_ns: u64, connect_ns: u64, stall_ns: u64) -> Option<u64> {
        let late = self.in_flight.get(self.judged).map(|next| next.sent_mono_ns.saturating_add(answer_ns));
        let stalled = self.silent_since().map(|since| since.saturating_add(stall_ns));
        let parked = self.parked.front().map(|oldest| oldest.since.mono_ns.saturating_add(connect_ns));
        let due = [late, stalled, parked]
            .map(|due| due.unwrap_or(NEVER))
            .into_iter()
            .fold(self.releases_due_mono_ns, u64::min);
        (due != NEVER).then_some(due)
    }
}

impl Default for Node {
    fn default() -> Node {
        Node::new(Limits::default())
    }
}
