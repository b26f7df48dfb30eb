//! What the answers of all nodes mean for the guarantee.

use std::collections::BTreeMap;

use redlock::engine::{Options, RestartGuard};

use super::exam::Exam;
use crate::duration::Milliseconds;

/// Clocks of nodes further apart than this stop votes under the strict guard.
const CLOCK_OFFSET_US: i64 = 500_000;
/// A measured rate is this rough at least; below nothing is said.
const RATE_NOISE_PPM: i64 = 2_000;
/// A TTL should last for this many round trips.
const ROUND_TRIPS: u128 = 100;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Costs comfort or speed.
    Note,
    /// The guarantee depends on something that cannot be seen from here.
    Warning,
    /// The guarantee is void, or the node is of no use.
    Error,
}

impl Severity {
    pub fn text(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// One misconfiguration.
#[derive(Debug)]
pub struct Finding {
    pub severity: Severity,
    /// A word for programs.
    pub check: &'static str,
    /// Which nodes, from 0; empty: all together.
    pub nodes: Vec<usize>,
    pub message: String,
    /// What to type or to do.
    pub cure: Option<String>,
}

impl Finding {
    fn new(severity: Severity, check: &'static str, nodes: Vec<usize>, message: impl Into<String>) -> Finding {
        Finding { severity, check, nodes, message: message.into(), cure: None }
    }

    fn cure(mut self, cure: impl Into<String>) -> Finding {
        self.cure = Some(cure.into());
        self
    }
}

/// Everything there is to say, worst first.
pub fn findings(exams: &[Result<Exam, String>], ttl: Milliseconds, options: &Options) -> Vec<Finding> {
    let mut found = Vec::new();
    for (node, exam) in exams.iter().enumerate() {
        match exam {
            Err(error) => found.push(Finding::new(Severity::Error, "unreachable", vec![node], error.clone())),
            Ok(exam) => {
                found.extend(role(node, exam));
                found.extend(memory(node, exam));
                found.extend(data(node, exam, options));
                found.extend(permissions(node, exam, options));
                found.extend(version(node, exam));
                found.extend(speed(node, exam, ttl, options));
            }
        }
    }
    found.extend(twins(exams));
    found.extend(clocks(exams, options));
    found.extend(number_of_nodes(exams.len()));
    let mut found = together(found);
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    found
}

/// What is wrong with several nodes is said once.
fn together(found: Vec<Finding>) -> Vec<Finding> {
    let mut merged: Vec<Finding> = Vec::new();
    for finding in found {
        let same = merged.iter_mut().find(|other| {
            (other.check, &other.message, &other.cure) == (finding.check, &finding.message, &finding.cure)
        });
        match same {
            Some(other) => other.nodes.extend(finding.nodes),
            None => merged.push(finding),
        }
    }
    merged
}

fn role(node: usize, exam: &Exam) -> Vec<Finding> {
    let mut found = Vec::new();
    let role = exam.field("role");
    if role == "slave" || role == "replica" {
        let message = format!("is a replica of {}:{}", exam.field("master_host"), exam.field("master_port"));
        found.push(
            Finding::new(Severity::Error, "replica", vec![node], message)
                .cure("use an independent master: REPLICAOF NO ONE"),
        );
    }
    if role == "master" && exam.field("connected_slaves").parse().unwrap_or(0) > 0 {
        found.push(
            Finding::new(
                Severity::Warning,
                "has-replicas",
                vec![node],
                "has replicas: after a failover to one of them, locks that it had not received are granted twice",
            )
            .cure("switch off automatic failover for this node, or wait for max-ttl after each"),
        );
    }
    if exam.field("cluster_enabled") == "1" {
        found.push(
            Finding::new(Severity::Error, "cluster", vec![node], "is in cluster mode: not an independent master")
                .cure("cluster-enabled no"),
        );
    }
    if exam.field("redis_mode") == "sentinel" {
        found.push(Finding::new(Severity::Error, "sentinel", vec![node], "is a Sentinel: it holds no keys"));
    }
    found
}

fn memory(node: usize, exam: &Exam) -> Option<Finding> {
    let policy = exam.field("maxmemory_policy");
    let has_limit = exam.field("maxmemory").parse::<u64>().unwrap_or(0) > 0;
    if policy.is_empty() || policy == "noeviction" {
        return None;
    }
    let severity = if has_limit { Severity::Error } else { Severity::Warning };
    let message =
        format!("evicts keys when its memory is full (maxmemory-policy {policy}): a lock may vanish while it is held");
    Some(Finding::new(severity, "eviction", vec![node], message).cure("CONFIG SET maxmemory-policy noeviction"))
}

/// A node that restarts empty grants locks that are held, unless a guard keeps it from voting.
fn data(node: usize, exam: &Exam, options: &Options) -> Option<Finding> {
    let (save, appendonly) = exam.persistence.as_ref()?;
    if !save.is_empty() || appendonly == "yes" || options.restart_guard == RestartGuard::Strict {
        return None;
    }
    let (severity, message) = match options.restart_guard {
        RestartGuard::Off => (
            Severity::Error,
            "keeps no data on disk, and the restart guard is off: after a restart it grants locks that are held",
        ),
        _ => (
            Severity::Warning,
            "keeps no data on disk: clients that start after its restart let it grant locks that are held",
        ),
    };
    Some(Finding::new(severity, "persistence", vec![node], message).cure(
        "--restart-guard strict --max-ttl TIME in every client, or CONFIG SET appendonly yes with appendfsync always",
    ))
}

fn permissions(node: usize, exam: &Exam, options: &Options) -> Vec<Finding> {
    let mut found = Vec::new();
    for (permission, message) in &exam.refused {
        let severity = match *permission {
            "set" | "eval +get +del" | "eval +get +pttl +pexpire" => Severity::Error,
            "info" | "client|info" | "client|kill" => Severity::Warning,
            "time" if options.restart_guard == RestartGuard::Strict => Severity::Error,
            _ => Severity::Note,
        };
        let cure = format!("ACL SETUSER {} +{permission}", options.username.as_deref().unwrap_or("USER"));
        found.push(
            Finding::new(severity, "permission", vec![node], format!("misses a permission: {message}")).cure(cure),
        );
    }
    if exam.info.is_empty() {
        let message = "hides INFO: a restart, a replica or the same server under two names cannot be seen";
        found.push(Finding::new(Severity::Warning, "hidden-info", vec![node], message).cure("permit +info"));
    }
    if !exam.tracks {
        let message = "does not announce changes of keys (CLIENT TRACKING): waiters only retry";
        found.push(
            Finding::new(Severity::Note, "tracking", vec![node], message)
                .cure("use Redis 6 or newer and permit +client|tracking +client|caching"),
        );
    }
    found
}

fn version(node: usize, exam: &Exam) -> Option<Finding> {
    let version = exam.field("redis_version");
    let parts: Vec<u64> = version.split('.').map_while(|part| part.parse().ok()).collect();
    if exam.info.contains_key("valkey_version") || parts.is_empty() {
        return None;
    }
    if parts[..] == [8, 6, 3] {
        let message = "Redis 8.6.3 crashes when any client uses SET ... IFEQ ... PX on keys that expire";
        return Some(Finding::new(Severity::Warning, "server-defect", vec![node], message).cure("upgrade the server"));
    }
    if parts[0] < 6 {
        let message = format!("Redis {version} is older than 6.0: not tested, and waiters only retry");
        return Some(Finding::new(Severity::Warning, "server-version", vec![node], message).cure("upgrade the server"));
    }
    None
}

fn speed(node: usize, exam: &Exam, ttl: Milliseconds, options: &Options) -> Vec<Finding> {
    let mut found = Vec::new();
    let round_trip = exam.round_trip;
    if round_trip.as_millis() * 2 > u128::from(options.node_timeout_ms) {
        let message = format!(
            "answers within {} ms, and the node timeout is {} ms: it will often be taken for dead",
            round_trip.as_millis(),
            options.node_timeout_ms
        );
        found.push(
            Finding::new(Severity::Warning, "node-timeout", vec![node], message)
                .cure(format!("--node-timeout {}ms", round_trip.as_millis() * 4)),
        );
    }
    if round_trip.as_micros() * ROUND_TRIPS > u128::from(ttl.0) * 1_000 {
        let message = format!("a TTL of {ttl} is short for a round trip of {} ms", round_trip.as_millis());
        found.push(
            Finding::new(Severity::Warning, "ttl", vec![node], message)
                .cure(format!("use a TTL of {} s or more", round_trip.as_millis() * ROUND_TRIPS / 1_000 + 1)),
        );
    }
    found
}

fn twins(exams: &[Result<Exam, String>]) -> Vec<Finding> {
    let mut by_run_id: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (node, exam) in exams.iter().enumerate() {
        if let Ok(exam) = exam
            && let Some(run_id) = exam.info.get("run_id")
        {
            by_run_id.entry(run_id).or_default().push(node);
        }
    }
    let twins = by_run_id.into_values().filter(|nodes| nodes.len() > 1);
    twins
        .map(|nodes| {
            Finding::new(
                Severity::Error,
                "same-server",
                nodes,
                "are one server under several names: it would vote more than once",
            )
            .cure("name each server once")
        })
        .collect()
}

fn clocks(exams: &[Result<Exam, String>], options: &Options) -> Vec<Finding> {
    let mut found = Vec::new();
    let clock =
        |(node, exam): (usize, &Result<Exam, String>)| Some((node, exam.as_ref().ok()?.clock.as_ref()?.offset_us));
    let mut offsets: Vec<(usize, i64)> = exams.iter().enumerate().filter_map(clock).collect();
    offsets.sort_by_key(|&(_, offset)| offset);
    let Some(&(_, median)) = offsets.get(offsets.len() / 2) else { return found };
    for (node, offset) in offsets {
        let Some(clock) = exams[node].as_ref().ok().and_then(|exam| exam.clock.as_ref()) else { continue };
        let apart = (offset - median).abs() - clock.uncertainty_us;
        if apart > CLOCK_OFFSET_US {
            let severity =
                if options.restart_guard == RestartGuard::Strict { Severity::Error } else { Severity::Warning };
            let message = format!(
                "its clock is {} ms {} the other nodes': fencing tokens and the strict guard need clocks that agree",
                (offset - median).abs() / 1_000,
                if offset > median { "ahead of" } else { "behind" }
            );
            found.push(Finding::new(severity, "clock-offset", vec![node], message).cure("synchronise it: NTP or PTP"));
        }
        let drift_ppm = i64::try_from(options.drift_ppm).unwrap_or(i64::MAX);
        if clock.rate_ppm.abs() > drift_ppm + RATE_NOISE_PPM + clock.uncertainty_us * 4 {
            let message = format!(
                "its clock runs {} ppm apart from this machine's, and {drift_ppm} are allowed for",
                clock.rate_ppm
            );
            found.push(
                Finding::new(Severity::Error, "clock-rate", vec![node], message)
                    .cure("repair its clock, or raise drift_ppm in every client"),
            );
        }
    }
    found
}

fn number_of_nodes(count: usize) -> Option<Finding> {
    match count {
        1 => Some(
            Finding::new(
                Severity::Warning,
                "node-count",
                vec![],
                "one node is no quorum: when it is down nobody gets a lock",
            )
            .cure("use three or five nodes"),
        ),
        _ if count.is_multiple_of(2) => {
            let message = format!("{count} nodes survive no more failures than {}", count - 1);
            Some(Finding::new(Severity::Note, "node-count", vec![], message).cure("use an odd number of nodes"))
        }
        _ => None,
    }
}
