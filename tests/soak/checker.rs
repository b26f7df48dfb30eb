//! What the records of a run say: at most one holder at a time, tokens that grow, no update lost where tokens are
//! looked at, no call without an end, everybody served when the faults are over.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::plan::{Defect, NODES, RESOURCES};
use crate::record::{Entry, LeaseId};
use crate::rig::Evidence;
use crate::store::Update;

const NS_PER_MS: u64 = 1_000_000;
/// More would say nothing new.
const SHOWN_MAX: usize = 20;

/// One lease, from the records of its client.
#[derive(Debug, Clone, Copy)]
struct Held {
    id: LeaseId,
    resource: usize,
    called_ns: u64,
    from_ns: u64,
    /// The last end that its client was promised.
    valid_until_ns: u64,
    /// When its client gave it back; the far future if it never came to that.
    over_ns: u64,
    fence: u64,
    /// Until when the client's last look before writing said the lease was good, and when it had written.
    write_valid_until_ns: u64,
    wrote_ns: Option<u64>,
}

impl Held {
    fn until_ns(&self) -> u64 {
        self.valid_until_ns.min(self.over_ns)
    }
}

/// The outcome of a run.
#[derive(Debug, Default)]
pub struct Verdict {
    faults: String,
    pub fault_count: u64,
    seed: u64,
    calls: BTreeMap<String, BTreeMap<String, u64>>,
    pub leases: usize,
    /// How often a lock went from one client to another.
    pub hand_overs: usize,
    pub overlaps: usize,
    pub token_faults: usize,
    pub updates_fenced: usize,
    pub updates_plain: usize,
    pub refused: usize,
    pub lost_fenced: usize,
    pub lost_plain: usize,
    /// Of these, how many without a late write.
    pub lost_plain_in_time: usize,
    pub late_writes: usize,
    longest_call_ms: u64,
    /// The largest part of its bound that any call took.
    tightest_percent: u64,
    pub violations: Vec<String>,
}

impl Verdict {
    pub fn of(evidence: &Evidence) -> Verdict {
        let mut verdict = Verdict {
            faults: evidence.faults.to_string(),
            fault_count: evidence.faults.total(),
            seed: evidence.plan.seed,
            violations: evidence.findings.clone(),
            ..Verdict::default()
        };
        for (client, entries) in evidence.entries.iter().enumerate() {
            verdict.check_calls(client, entries, &evidence.pauses[client]);
            verdict.check_calm(client, entries);
        }
        let leases = leases(evidence);
        verdict.leases = leases.len();
        verdict.late_writes = leases.values().filter(|held| wrote_late(held, evidence)).count();
        for resource in 0..RESOURCES {
            let mut held: Vec<&Held> = leases.values().filter(|held| held.resource == resource).collect();
            held.sort_by_key(|held| held.from_ns);
            verdict.check_exclusion(&held);
            verdict.check_tokens(&held);
            verdict.check_registers(evidence, resource, &leases);
        }
        verdict
    }

    fn check_calls(&mut self, client: usize, entries: &[Entry], pauses: &[(u64, u64)]) {
        for entry in entries {
            match entry {
                Entry::Call { kind, called_ns, ended_ns, bound_ms, status } => {
                    let paused = |&(from, to): &(u64, u64)| to.min(*ended_ns).saturating_sub(from.max(*called_ns));
                    let paused_ns: u64 = pauses.iter().map(paused).sum();
                    let took_ms = (ended_ns - called_ns).saturating_sub(paused_ns) / NS_PER_MS;
                    *self.calls.entry(kind.clone()).or_default().entry(status.clone()).or_default() += 1;
                    self.longest_call_ms = self.longest_call_ms.max(took_ms);
                    self.tightest_percent = self.tightest_percent.max(100 * took_ms / bound_ms);
                    if took_ms > *bound_ms {
                        self.violations.push(format!("client {client}: {kind} took {took_ms} of {bound_ms} ms"));
                    }
                    if !is_permitted(kind, status) {
                        self.violations.push(format!("client {client}: {kind} ended with {status}"));
                    }
                }
                Entry::Wrote { is_refused: true, .. } => self.refused += 1,
                _ => {}
            }
        }
    }

    fn check_calm(&mut self, client: usize, entries: &[Entry]) {
        let served = |entry: &&Entry| matches!(entry, Entry::Calm { status, .. } if status == "Ok");
        let served = entries.iter().filter(served).count();
        if served != RESOURCES || entries.last() != Some(&Entry::Done) {
            self.violations.push(format!("client {client} got {served} of {RESOURCES} locks after the faults"));
        }
    }

    /// Sorted by their beginnings.
    fn check_exclusion(&mut self, held: &[&Held]) {
        let mut last: Option<&Held> = None;
        for &one in held {
            if let Some(last) = last {
                self.hand_overs += usize::from(last.id.client() != one.id.client());
                if one.from_ns < last.until_ns() && one.from_ns < one.until_ns() {
                    let for_us = (last.until_ns().min(one.until_ns()) - one.from_ns) / 1_000;
                    self.overlaps += 1;
                    self.violations.push(format!("{} and {} hold together for {for_us} µs", last.id, one.id));
                }
            }
            if last.is_none_or(|last| last.until_ns() < one.until_ns()) {
                last = Some(one);
            }
        }
    }

    /// A lock that was asked for after another had been had has the larger token.
    fn check_tokens(&mut self, held: &[&Held]) {
        let mut by_call: Vec<&Held> = held.iter().copied().filter(|held| held.fence != 0).collect();
        let mut by_end = by_call.clone().into_iter().peekable();
        by_call.sort_by_key(|held| held.called_ns);
        let mut largest: Option<&Held> = None;
        let mut seen: HashMap<u64, LeaseId> = HashMap::new();
        for one in by_call {
            while let Some(before) = by_end.next_if(|before| before.from_ns < one.called_ns) {
                if largest.is_none_or(|largest| largest.fence < before.fence) {
                    largest = Some(before);
                }
            }
            let twin = seen.insert(one.fence, one.id);
            if let Some(other) = twin.or(largest.filter(|largest| largest.fence >= one.fence).map(|other| other.id)) {
                self.token_faults += 1;
                self.violations.push(format!("{} has a token that is not larger than that of {other}", one.id));
            }
        }
    }

    fn check_registers(&mut self, evidence: &Evidence, resource: usize, leases: &HashMap<LeaseId, Held>) {
        let fenced = &evidence.fenced[resource];
        self.updates_fenced += fenced.len();
        for update in fenced.iter().filter(|update| update.is_loss()) {
            self.lost_fenced += 1;
            let Update { writer, replaced, .. } = update;
            self.violations.push(format!("{writer} replaced the fenced update of {replaced}"));
        }
        let (value, count) = (evidence.fenced_values[resource], fenced.len());
        if evidence.plan.defect != Defect::IgnoredTokens && value != count as u64 {
            self.violations.push(format!("{count} fenced updates made {value} of register {resource}"));
        }
        let plain = &evidence.plain[resource];
        self.updates_plain += plain.len();
        for update in plain.iter().filter(|update| update.is_loss()) {
            self.lost_plain += 1;
            let Update { writer, replaced, .. } = update;
            let is_late = |id| leases.get(id).is_some_and(|held| wrote_late(held, evidence));
            if !is_late(writer) && !is_late(replaced) {
                self.lost_plain_in_time += 1;
                self.violations.push(format!("{writer} replaced the update of {replaced}, and neither was late"));
            }
        }
    }
}

/// Whether a client may have written when its lease was over: it was paused, or is too slow.
fn wrote_late(held: &Held, evidence: &Evidence) -> bool {
    let deaths = &evidence.deaths[held.id.client()];
    let died_ns = deaths.iter().copied().filter(|&at| at > held.from_ns).min();
    // What was not recorded as written may have been written until the client's death.
    let wrote_ns = held.wrote_ns.or(died_ns).unwrap_or(u64::MAX);
    held.write_valid_until_ns != 0 && wrote_ns > held.write_valid_until_ns
}

fn is_permitted(kind: &str, status: &str) -> bool {
    match kind {
        _ if status == "Ok" => true,
        "lock" | "calm-lock" => matches!(status, "NotAcquired" | "NoQuorum"),
        "cancelled-lock" => matches!(status, "NotAcquired" | "NoQuorum" | "Cancelled"),
        _ => matches!(status, "Lost" | "NoQuorum" | "Unknown"),
    }
}

fn leases(evidence: &Evidence) -> HashMap<LeaseId, Held> {
    let mut leases: HashMap<LeaseId, Held> = HashMap::new();
    for entry in evidence.entries.iter().flatten() {
        match *entry {
            Entry::Lease { id, resource, called_ns, ended_ns, valid_until_ns, fence } => {
                let held = Held {
                    id,
                    resource,
                    called_ns,
                    from_ns: ended_ns,
                    valid_until_ns,
                    over_ns: u64::MAX,
                    fence,
                    write_valid_until_ns: 0,
                    wrote_ns: None,
                };
                leases.insert(id, held);
            }
            Entry::Until { id, valid_until_ns } => of(&mut leases, id).valid_until_ns = valid_until_ns,
            Entry::Write { id, valid_until_ns } => of(&mut leases, id).write_valid_until_ns = valid_until_ns,
            Entry::Wrote { id, at_ns, .. } => of(&mut leases, id).wrote_ns = Some(at_ns),
            Entry::Over { id, at_ns } => of(&mut leases, id).over_ns = at_ns,
            Entry::Ready | Entry::Call { .. } | Entry::Calm { .. } | Entry::Done => {}
        }
    }
    leases
}

fn of(leases: &mut HashMap<LeaseId, Held>, id: LeaseId) -> &mut Held {
    leases.get_mut(&id).expect("a lease is recorded before what becomes of it")
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {NODES} servers, {}", self.seed, self.faults)?;
        for (kind, statuses) in &self.calls {
            let count: u64 = statuses.values().sum();
            write!(f, "{count} × {kind}:")?;
            statuses.iter().try_for_each(|(status, count)| write!(f, " {status} {count}"))?;
            writeln!(f)?;
        }
        let (longest_ms, percent) = (self.longest_call_ms, self.tightest_percent);
        writeln!(f, "longest call {longest_ms} ms; none took more than {percent} % of what it may take")?;
        writeln!(f, "leases {}, hand-overs {}", self.leases, self.hand_overs)?;
        writeln!(f, "overlaps {}, tokens out of order {}", self.overlaps, self.token_faults)?;
        writeln!(
            f,
            "fenced updates {}, lost {}; refused for their tokens {}",
            self.updates_fenced, self.lost_fenced, self.refused
        )?;
        writeln!(
            f,
            "unfenced updates {}, lost {} (without a late write {}); writes after the end of a lease {}",
            self.updates_plain, self.lost_plain, self.lost_plain_in_time, self.late_writes
        )?;
        write!(f, "violations {}", self.violations.len())?;
        self.violations.iter().take(SHOWN_MAX).try_for_each(|violation| write!(f, "\n  {violation}"))
    }
}
