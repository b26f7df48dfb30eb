//! What one node says about itself.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis::Value;
use redlock::engine::Options;

use crate::probe::{Answer, Probe};

const PINGS: usize = 20;
/// The clock is read twice, this far apart, for its rate.
const RATE_INTERVAL: Duration = Duration::from_millis(500);
/// Long enough for the examination, short enough to go away by itself should it be interrupted.
const KEY_LIFE_MS: &str = "5000";

/// The answers of one node.
pub struct Exam {
    /// INFO, without its headings; empty where it is not permitted.
    pub info: HashMap<String, String>,
    /// The median PING.
    pub round_trip: Duration,
    /// How far the node's clock is ahead of this machine's, in microseconds, at two moments.
    pub clock: Option<Clock>,
    /// What the library needs and the node refused: command, and the node's message.
    pub refused: Vec<(&'static str, String)>,
    /// The node announces changes of keys.
    pub tracks: bool,
    /// Where CONFIG GET is permitted.
    pub persistence: Option<Persistence>,
    /// The user that was logged in; `None`: the default user.
    pub user: Option<String>,
}

/// What survives a crash of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Nothing.
    None,
    /// What the last snapshot had.
    Snapshots,
    /// All but the last second or so: appendonly without appendfsync always.
    Nearly,
    /// Everything that was confirmed.
    All,
}

/// A node's clock against this machine's.
pub struct Clock {
    pub offset_us: i64,
    /// How much faster it runs, in parts per million; rough.
    pub rate_ppm: i64,
    /// How wrong the offset may be.
    pub uncertainty_us: i64,
}

impl Exam {
    pub fn server(&self) -> String {
        let valkey = self.info.get("valkey_version").map(|version| format!("Valkey {version}"));
        let redis = || self.info.get("redis_version").map(|version| format!("Redis {version}"));
        valkey.or_else(redis).unwrap_or_else(|| "unknown server (INFO is hidden)".to_owned())
    }

    pub fn field(&self, name: &str) -> &str {
        self.info.get(name).map_or("", String::as_str)
    }
}

/// Asks everything, and leaves nothing behind.
pub fn examine(url: &str, options: &Options) -> Answer<Exam> {
    let mut probe = Probe::open(url, options)?;
    let mut pings = (0..PINGS).map(|_| probe.ping()).collect::<Result<Vec<_>, _>>()?;
    pings.sort_unstable();
    let info = probe.ask::<String>(&["INFO"]).map(|text| parse_info(&text));
    let mut refused = Vec::new();
    let clock = read_clock(&mut probe);
    if let Err(message) = &clock {
        refused.push(("time", message.clone()));
    }
    let prefix = String::from_utf8_lossy(&options.key_prefix).into_owned();
    refused.extend(try_commands(&mut probe, &format!("{prefix}redlock-doctor:{}", std::process::id())));
    let tracks = probe.ask::<Value>(&["HELLO", "3"]).is_ok()
        && probe.ask::<Value>(&["CLIENT", "TRACKING", "ON", "OPTIN"]).is_ok();
    let setting = |probe: &mut Probe, name| {
        let pair = probe.ask::<HashMap<String, String>>(&["CONFIG", "GET", name]).ok()?;
        pair.get(name).cloned()
    };
    let save = setting(&mut probe, "save");
    let appends = setting(&mut probe, "appendonly").zip(setting(&mut probe, "appendfsync"));
    let persistence =
        save.zip(appends).map(|(save, (appendonly, fsync))| match (appendonly.as_str(), fsync.as_str()) {
            ("yes", "always") => Persistence::All,
            ("yes", _) => Persistence::Nearly,
            _ if save.is_empty() => Persistence::None,
            _ => Persistence::Snapshots,
        });
    Ok(Exam {
        info: info.unwrap_or_default(),
        round_trip: pings[pings.len() / 2],
        clock: clock.ok(),
        refused,
        tracks,
        persistence,
        user: probe.user().map(str::to_owned),
    })
}

fn parse_info(text: &str) -> HashMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

/// The commands that locking, extending, unlocking, inspecting and waiting use, on a key of our own. The scripts do what
/// the library's do, so that what they are refused is seen.
fn try_commands(probe: &mut Probe, key: &str) -> Vec<(&'static str, String)> {
    let delete = "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) end return 0";
    let extend = "if redis.call('get',KEYS[1])==ARGV[1] then if redis.call('pttl',KEYS[1])<tonumber(ARGV[2]) then \
                  return redis.call('pexpire',KEYS[1],ARGV[2]) end return 1 end return 0";
    // Taking a fencing token.
    let fence = "redis.call('time') redis.call('pttl',KEYS[1]) return redis.call('get',KEYS[1])";
    let commands: [(&'static str, Vec<&str>); 9] = [
        ("set", vec!["SET", key, "doctor", "NX", "PX", KEY_LIFE_MS]),
        ("pttl", vec!["PTTL", key]),
        ("getrange", vec!["GETRANGE", key, "0", "255"]),
        ("eval +get +pttl +pexpire", vec!["EVAL", extend, "1", key, "doctor", "6000"]),
        ("eval +get +time +pttl", vec!["EVAL", fence, "1", key]),
        ("eval +get +del", vec!["EVAL", delete, "1", key, "doctor"]),
        ("client|info", vec!["CLIENT", "INFO"]),
        // Nobody has this number.
        ("client|kill", vec!["CLIENT", "KILL", "ID", "0"]),
        ("client|caching", vec!["CLIENT", "CACHING", "YES"]),
    ];
    let mut refused = Vec::new();
    for (permission, words) in commands {
        if let Err(message) = probe.ask::<Value>(&words)
            && (message.starts_with("NOPERM")
                || message.contains("NOPERM")
                || message.contains("can't run this command"))
        {
            refused.push((permission, message));
        }
    }
    refused
}

fn read_clock(probe: &mut Probe) -> Answer<Clock> {
    let (first, begun) = (offset(probe)?, Instant::now());
    std::thread::sleep(RATE_INTERVAL);
    let second = offset(probe)?;
    let elapsed_us = i64::try_from(begun.elapsed().as_micros()).unwrap_or(i64::MAX).max(1);
    Ok(Clock {
        offset_us: second.0,
        rate_ppm: (second.0 - first.0) * 1_000_000 / elapsed_us,
        uncertainty_us: first.1.max(second.1),
    })
}

/// How far the node's clock is ahead, and how wrong that may be: half a round trip.
fn offset(probe: &mut Probe) -> Answer<(i64, i64)> {
    let now_us = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    let before = now_us();
    let (seconds, micros): (i64, i64) = probe.ask(&["TIME"])?;
    let after = now_us();
    let middle = i64::try_from((before + after) / 2).unwrap_or(i64::MAX);
    Ok((seconds * 1_000_000 + micros - middle, i64::try_from(after - before).unwrap_or(i64::MAX) / 2))
}
