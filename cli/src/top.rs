//! `redlock top`: nodes, latencies and locks, drawn again and again.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use redis::Value;
use serde_json::json;

use crate::args::{Connection, Top};
use crate::exit::Outcome;
use crate::probe::Probe;
use crate::session::{Session, Wake};
use crate::settings::Settings;

/// Keys looked at on a node; what is beyond is counted as "more".
const KEYS_MAX: usize = 10_000;
const SCAN_COUNT: &str = "1000";
/// Prefixes shown.
const ROWS: usize = 20;

/// What one look at a node showed.
struct Look {
    round_trip: Duration,
    clients: u64,
    watched: u64,
    keys: Vec<String>,
    is_cut: bool,
}

pub fn top(connection: &Connection, options: &Top) -> Outcome {
    let settings = Settings::gather(connection)?;
    let mut session = Session::new(settings.connect()?)?;
    let clears = !connection.json && io::stdout().is_terminal();
    let mut probes: Vec<Option<Probe>> = settings.servers.iter().map(|_| None).collect();
    let mut turns = 0;
    loop {
        let looks: Vec<Result<Look, String>> = settings
            .servers
            .iter()
            .zip(&mut probes)
            .map(|(url, probe)| {
                let result = look(url, probe, &settings);
                if result.is_err() {
                    *probe = None;
                }
                result
            })
            .collect();
        let urls: Vec<&str> = (0..looks.len()).map(|node| session.redlock.node_url(node).unwrap_or_default()).collect();
        let mut out = io::stdout().lock();
        if connection.json {
            writeln!(out, "{}", to_json(&urls, &looks))?;
        } else {
            if clears {
                write!(out, "\x1b[H\x1b[2J")?;
            }
            draw(&mut out, &urls, &looks, settings.options.key_prefix.len())?;
        }
        out.flush()?;
        drop(out);
        turns += 1;
        if options.count.is_some_and(|count| turns >= count) {
            return Ok(ExitCode::SUCCESS);
        }
        let until = Instant::now() + options.interval.duration();
        loop {
            match session.next(Some(until))? {
                Wake::Time => break,
                // The user has seen enough.
                Wake::Signal(_) => return Ok(ExitCode::SUCCESS),
                Wake::Event(_) => {}
            }
        }
    }
}

fn look(url: &str, probe: &mut Option<Probe>, settings: &Settings) -> Result<Look, String> {
    let probe = match probe {
        Some(probe) => probe,
        None => probe.insert(Probe::open(url, &settings.options)?),
    };
    let round_trip = probe.ping()?;
    let clients = info(probe, "clients", "connected_clients");
    // A client that waits for a lock has the node watch its key, and so has a holder that wants to hear of a loss.
    let watched = info(probe, "stats", "tracking_total_keys");
    let pattern = format!("{}*", escape(&String::from_utf8_lossy(&settings.options.key_prefix)));
    let (mut keys, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let (next, found): (String, Vec<Value>) =
            probe.ask(&["SCAN", &cursor, "MATCH", &pattern, "COUNT", SCAN_COUNT, "TYPE", "string"])?;
        let texts = found.into_iter().filter_map(|key| redis::from_redis_value::<Vec<u8>>(key).ok());
        keys.extend(texts.map(|key| String::from_utf8_lossy(&key).into_owned()));
        if next == "0" || keys.len() >= KEYS_MAX {
            return Ok(Look { round_trip, clients, watched, is_cut: next != "0", keys });
        }
        cursor = next;
    }
}

/// A number from INFO; 0 where that is hidden.
fn info(probe: &mut Probe, section: &str, field: &str) -> u64 {
    let text: String = probe.ask(&["INFO", section]).unwrap_or_default();
    let value = text.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| *name == field);
    value.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

/// A glob pattern that matches this text alone.
fn escape(text: &str) -> String {
    text.chars().flat_map(|c| if "*?[]\\^".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}

/// Keys on a quorum of nodes, by their part up to the last separator.
fn by_prefix(looks: &[Result<Look, String>], prefix_len: usize) -> Vec<(String, usize)> {
    let mut holders: BTreeMap<&str, usize> = BTreeMap::new();
    for look in looks.iter().flatten() {
        look.keys.iter().for_each(|key| *holders.entry(key).or_default() += 1);
    }
    let quorum = looks.len() / 2 + 1;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (key, _) in holders.into_iter().filter(|&(key, count)| count >= quorum && !key.contains(":redlock-")) {
        let name = key.get(prefix_len..).unwrap_or(key);
        let group = name.rfind([':', '/', '.']).map_or("", |end| &name[..=end]);
        *counts.entry(format!("{group}*")).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|(a_name, a), (b_name, b)| b.cmp(a).then_with(|| a_name.cmp(b_name)));
    counts
}

fn draw(out: &mut impl io::Write, urls: &[&str], looks: &[Result<Look, String>], prefix_len: usize) -> io::Result<()> {
    writeln!(out, "{:<4} {:<40} {:>10} {:>8} {:>8} {:>8}", "NODE", "URL", "RTT", "CLIENTS", "WATCHED", "KEYS")?;
    for (number, (url, look)) in urls.iter().zip(looks).enumerate() {
        match look {
            Ok(look) => {
                let rtt = format!("{:.2} ms", look.round_trip.as_secs_f64() * 1_000.0);
                let more = if look.is_cut { "+" } else { "" };
                writeln!(
                    out,
                    "{:<4} {url:<40} {rtt:>10} {:>8} {:>8} {:>8}{more}",
                    number + 1,
                    look.clients,
                    look.watched,
                    look.keys.len()
                )?;
            }
            Err(error) => writeln!(out, "{:<4} {url:<40} {error}", number + 1)?,
        }
    }
    writeln!(out, "\n{:<50} {:>8}", "LOCKS", "HELD")?;
    for (group, count) in by_prefix(looks, prefix_len).into_iter().take(ROWS) {
        writeln!(out, "{:<50} {count:>8}", group.escape_debug().to_string())?;
    }
    Ok(())
}

fn to_json(urls: &[&str], looks: &[Result<Look, String>]) -> serde_json::Value {
    let node = |(url, look): (&&str, &Result<Look, String>)| match look {
        Ok(look) => json!({
            "url": url, "round_trip_us": look.round_trip.as_micros(), "clients": look.clients,
            "watched": look.watched, "keys": look.keys.len(),
        }),
        Err(error) => json!({ "url": url, "error": error }),
    };
    let locks: BTreeMap<String, usize> = by_prefix(looks, 0).into_iter().collect();
    json!({ "nodes": urls.iter().zip(looks).map(node).collect::<Vec<_>>(), "locks": locks })
}
