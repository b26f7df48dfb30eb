//! What the answers of all nodes mean for the guarantee.

use std::collections::BTreeMap;

use redlock::engine::{Options, RestartGuard};

use super::exam::{Exam, Persistence};
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
            Err(error) => found.push(unreachable(node, error)),
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

fn unreachable(node: usize, error: &str) -> Finding {
    let cure = if error.starts_with("login failed") {
        "check the user and the password: ACL GETUSER USER on the node; REDLOCK_PASSWORD or --password-file here"
    } else {
        "start the server, or open its port to this machine: redis-cli -u URL PING"
    };
    Finding::new(Severity::Error, "unreachable", vec![node], error).cure(cure)
}

fn role(node: usize, exam: &Exam) -> Vec<Finding> {
    let mut found = Vec::new();
    let role = exam.field("role");
    if role == "slave" || role == "replica" {
        let message = format!("is a replica of {}:{}", exam.field("master_host"), exam.field("master_port"));
        found.push(
            Finding::new(Severity::Error, "replica", vec![node], message)
                .cure("REPLICAOF NO ONE, CONFIG REWRITE; or name an independent master instead"),
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
            .cure("SENTINEL REMOVE NAME on its Sentinels; or keep the promoted one away for max-ttl"),
        );
    }
    if exam.field("cluster_enabled") == "1" {
        found.push(
            Finding::new(Severity::Error, "cluster", vec![node], "is in cluster mode: not an independent master")
                .cure("cluster-enabled no in its configuration file, then restart it"),
        );
    }
    if exam.field("redis_mode") == "sentinel" {
        found.push(
            Finding::new(Severity::Error, "sentinel", vec![node], "is a Sentinel: it holds no keys")
                .cure("name the master instead: redis-cli -p PORT SENTINEL MASTERS shows it"),
        );
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
    Some(
        Finding::new(severity, "eviction", vec![node], message)
            .cure("CONFIG SET maxmemory-policy noeviction, CONFIG REWRITE"),
    )
}

/// A node that comes back without its locks grants them again, unless a guard keeps it from voting.
fn data(node: usize, exam: &Exam, options: &Options) -> Option<Finding> {
    let loss = match exam.persistence? {
        Persistence::None => "keeps no data on disk",
        Persistence::Snapshots => "keeps snapshots only: a crash loses all locks since the last one",
        Persistence::Nearly => {
            "writes its file once a second (appendfsync): a crash loses the locks of the last second"
        }
        Persistence::All => return None,
    };
    let (severity, consequence) = match (options.restart_guard, exam.persistence?) {
        (RestartGuard::Strict, _) => return None,
        (RestartGuard::Off, _) => {
            (Severity::Error, "; and the restart guard is off: after a restart it grants locks that are held")
        }
        (RestartGuard::Seen, Persistence::Nearly) => {
            (Severity::Note, "; clients that start after its restart let it grant locks that are held")
        }
        (RestartGuard::Seen, _) => {
            (Severity::Warning, "; clients that start after its restart let it grant locks that are held")
        }
    };
    let files = match exam.persistence? {
        Persistence::Nearly => "CONFIG SET appendfsync always",
        _ => "CONFIG SET appendonly yes, CONFIG SET appendfsync always",
    };
    Some(
        Finding::new(severity, "persistence", vec![node], format!("{loss}{consequence}"))
            .cure(format!("--restart-guard strict --max-ttl TIME in every client; or {files}, CONFIG REWRITE")),
    )
}

fn permissions(node: usize, exam: &Exam, options: &Options) -> Vec<Finding> {
    let mut found = Vec::new();
    let user = exam.user.as_deref().unwrap_or("default");
    for (permission, message) in &exam.refused {
        let severity = match *permission {
            "set" | "eval +get +del" | "eval +get +pttl +pexpire" => Severity::Error,
            "client|info" | "client|kill" => Severity::Warning,
            "time" if options.restart_guard == RestartGuard::Strict => Severity::Error,
            _ => Severity::Note,
        };
        let cure = format!("ACL SETUSER {user} +{permission}");
        found.push(
            Finding::new(severity, "permission", vec![node], format!("misses a permission: {message}")).cure(cure),
        );
    }
    if exam.info.is_empty() {
        let message = "hides INFO: a restart, a replica or the same server under two names cannot be seen";
        found.push(
            Finding::new(Severity::Warning, "hidden-info", vec![node], message)
                .cure(format!("ACL SETUSER {user} +info")),
        );
    }
    if !exam.tracks {
        let message = "does not announce changes of keys (CLIENT TRACKING): waiters only retry";
        found.push(
            Finding::new(Severity::Note, "tracking", vec![node], message)
                .cure(format!("ACL SETUSER {user} +client|tracking +client|caching; servers before Redis 6 cannot")),
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
        return Some(
            Finding::new(Severity::Warning, "server-defect", vec![node], message)
                .cure("upgrade the server; until then no client of it may use SET ... IFEQ (this library does not)"),
        );
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
            .cure("remove all but one of these URLs from the list of every client")
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
            found.push(
                Finding::new(severity, "clock-offset", vec![node], message)
                    .cure("synchronise it, by NTP or PTP: chronyc tracking on the node"),
            );
        }
        let drift_ppm = i64::try_from(options.drift_ppm).unwrap_or(i64::MAX);
        if clock.rate_ppm.abs() > drift_ppm + RATE_NOISE_PPM + clock.uncertainty_us * 4 {
            let message = format!(
                "its clock runs {} ppm apart from this machine's, and {drift_ppm} are allowed for",
                clock.rate_ppm
            );
            found.push(
                Finding::new(Severity::Error, "clock-rate", vec![node], message)
                    .cure("let NTP discipline it: chronyc tracking on the node; or raise drift_ppm in every client"),
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::super::exam::Clock;
    use super::*;

    const TTL: Milliseconds = Milliseconds(30_000);

    fn healthy(number: usize) -> Exam {
        let info = [("redis_version", "7.0.15"), ("role", "master"), ("maxmemory_policy", "noeviction")];
        let mut info: HashMap<_, _> = info.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        info.insert("run_id".to_owned(), number.to_string());
        Exam {
            info,
            round_trip: Duration::from_micros(100),
            clock: Some(Clock { offset_us: 0, rate_ppm: 0, uncertainty_us: 50 }),
            refused: Vec::new(),
            tracks: true,
            persistence: Some(Persistence::All),
            user: None,
        }
    }

    /// Three nodes of which the second is like this: severity and check of every finding.
    fn judged(options: &Options, change: impl FnOnce(&mut Exam)) -> Vec<(Severity, &'static str)> {
        let mut exams: Vec<_> = (0..3).map(healthy).collect();
        change(&mut exams[1]);
        let exams: Vec<_> = exams.into_iter().map(Ok).collect();
        let found = findings(&exams, TTL, options);
        assert!(found.iter().all(|finding| finding.nodes == [1] && finding.cure.is_some()), "{found:?}");
        found.iter().map(|finding| (finding.severity, finding.check)).collect()
    }

    fn guarded(restart_guard: RestartGuard) -> Options {
        Options { restart_guard, ..Options::default() }
    }

    #[test]
    fn a_clock_that_is_off_matters_most_to_the_strict_guard() {
        let off = |exam: &mut Exam| exam.clock = Some(Clock { offset_us: -700_000, rate_ppm: 0, uncertainty_us: 50 });
        assert_eq!(judged(&guarded(RestartGuard::Seen), off), [(Severity::Warning, "clock-offset")]);
        assert_eq!(judged(&guarded(RestartGuard::Strict), off), [(Severity::Error, "clock-offset")]);
        let unclear =
            |exam: &mut Exam| exam.clock = Some(Clock { offset_us: -700_000, rate_ppm: 0, uncertainty_us: 300_000 });
        assert_eq!(judged(&guarded(RestartGuard::Seen), unclear), []);
    }

    #[test]
    fn a_clock_that_runs_too_fast_is_an_error_where_it_was_measured_well() {
        let fast = |exam: &mut Exam| exam.clock = Some(Clock { offset_us: 0, rate_ppm: 60_000, uncertainty_us: 50 });
        assert_eq!(judged(&Options::default(), fast), [(Severity::Error, "clock-rate")]);
        let noisy =
            |exam: &mut Exam| exam.clock = Some(Clock { offset_us: 0, rate_ppm: 60_000, uncertainty_us: 20_000 });
        assert_eq!(judged(&Options::default(), noisy), []);
    }

    #[test]
    fn servers_with_known_defects_are_named() {
        let is = |version: &'static str| {
            move |exam: &mut Exam| {
                exam.info.insert("redis_version".to_owned(), version.to_owned());
            }
        };
        assert_eq!(judged(&Options::default(), is("8.6.3")), [(Severity::Warning, "server-defect")]);
        assert_eq!(judged(&Options::default(), is("5.0.14")), [(Severity::Warning, "server-version")]);
        assert_eq!(judged(&Options::default(), is("8.6.2")), []);
    }

    #[test]
    fn what_a_crash_loses_is_weighed_against_the_restart_guard() {
        let keeps = |persistence| move |exam: &mut Exam| exam.persistence = Some(persistence);
        for (guard, persistence, expected) in [
            (RestartGuard::Off, Persistence::Snapshots, Some(Severity::Error)),
            (RestartGuard::Off, Persistence::Nearly, Some(Severity::Error)),
            (RestartGuard::Off, Persistence::All, None),
            (RestartGuard::Seen, Persistence::None, Some(Severity::Warning)),
            (RestartGuard::Seen, Persistence::Nearly, Some(Severity::Note)),
            (RestartGuard::Strict, Persistence::None, None),
        ] {
            let found = judged(&guarded(guard), keeps(persistence));
            let expected: Vec<_> = expected.map(|severity| (severity, "persistence")).into_iter().collect();
            assert_eq!(found, expected, "{guard:?} {persistence:?}");
        }
    }
}
