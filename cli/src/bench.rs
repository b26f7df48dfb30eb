//! `redlock bench`: how long lock and unlock take from here, and how far away each node is.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use redlock::engine::{LockRequest, Redlock};
use serde_json::json;

use crate::args::{Bench, Connection};
use crate::exit::{Failure, Outcome};
use crate::probe::Probe;
use crate::settings::Settings;

const TTL_MS: u64 = 10_000;
const PINGS: usize = 200;
/// Widest bar, in characters.
const BAR: usize = 40;

/// Sorted durations.
struct Samples(Vec<Duration>);

impl Samples {
    fn new(mut samples: Vec<Duration>) -> Samples {
        samples.sort_unstable();
        Samples(samples)
    }

    fn percentile(&self, percent: f64) -> Duration {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let rank = (self.0.len() as f64 * percent / 100.0) as usize;
        self.0.get(rank.min(self.0.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

pub fn bench(connection: &Connection, options: &Bench) -> Outcome {
    let settings = Settings::gather(connection)?;
    let redlock = settings.connect()?;
    redlock.wait_ready(i64::try_from(settings.options.connect_timeout_ms).unwrap_or(i64::MAX), None)?;
    let begun = Instant::now();
    let until = begun + options.duration.duration();
    let workers: Vec<Result<Vec<Duration>, redlock::engine::Error>> = thread::scope(|scope| {
        let redlock = &redlock;
        let start = |worker| scope.spawn(move || pairs(redlock, worker, until));
        let started: Vec<_> = (0..options.threads).map(start).collect();
        started.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Ok(Vec::new()))).collect()
    });
    let took = begun.elapsed();
    let samples = Samples::new(workers.into_iter().collect::<Result<Vec<_>, _>>()?.concat());
    redlock.end();
    let nodes: Vec<(String, Result<Samples, String>)> = settings
        .servers
        .iter()
        .enumerate()
        .map(|(number, url)| (redlock.node_url(number).unwrap_or_default().to_owned(), pings(url, &settings)))
        .collect();
    print(connection.json, options, took, &samples, &nodes).map_err(Failure::from)?;
    Ok(ExitCode::SUCCESS)
}

fn pairs(redlock: &Redlock, worker: u16, until: Instant) -> Result<Vec<Duration>, redlock::engine::Error> {
    let resource = format!("redlock-bench:{}:{worker}", std::process::id()).into_bytes();
    let request = LockRequest { resource, ttl_ms: TTL_MS, wait_ms: 1_000, ..LockRequest::default() };
    let mut samples = Vec::new();
    while Instant::now() < until {
        let begun = Instant::now();
        redlock.lock(&request)?.unlock()?;
        samples.push(begun.elapsed());
    }
    Ok(samples)
}

fn pings(url: &str, settings: &Settings) -> Result<Samples, String> {
    let mut probe = Probe::open(url, &settings.options)?;
    Ok(Samples::new((0..PINGS).map(|_| probe.ping()).collect::<Result<_, _>>()?))
}

fn print(
    as_json: bool,
    options: &Bench,
    took: Duration,
    samples: &Samples,
    nodes: &[(String, Result<Samples, String>)],
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let rate = if took.is_zero() { 0.0 } else { samples.0.len() as f64 / took.as_secs_f64() };
    let micros = |samples: &Samples, percent| samples.percentile(percent).as_nanos() as f64 / 1_000.0;
    let percentiles = |samples: &Samples| {
        json!({ "p50": micros(samples, 50.0), "p90": micros(samples, 90.0), "p99": micros(samples, 99.0),
                "p999": micros(samples, 99.9) })
    };
    if as_json {
        let nodes: Vec<_> = nodes
            .iter()
            .map(|(url, result)| match result {
                Ok(samples) => json!({ "url": url, "round_trip_us": percentiles(samples) }),
                Err(error) => json!({ "url": url, "error": error }),
            })
            .collect();
        let result = json!({
            "threads": options.threads, "pairs": samples.0.len(), "pairs_per_second": rate,
            "pair_us": percentiles(samples), "nodes": nodes,
        });
        return writeln!(out, "{result}");
    }
    writeln!(out, "lock + unlock, {} threads: {} pairs, {rate:.0} per second", options.threads, samples.0.len())?;
    let most = samples.percentile(99.9).max(Duration::from_nanos(1));
    for percent in [50.0, 90.0, 99.0, 99.9] {
        let value = samples.percentile(percent);
        writeln!(out, "  p{percent:<5}{:>10.1} us  {}", micros(samples, percent), bar(value, most))?;
    }
    let answered = nodes.iter().filter_map(|(_, result)| result.as_ref().ok());
    let slowest =
        answered.map(|samples| samples.percentile(99.0)).max().unwrap_or_default().max(Duration::from_nanos(1));
    writeln!(out, "round trip of each node, {PINGS} PINGs: p50, p99")?;
    for (number, (url, result)) in nodes.iter().enumerate() {
        match result {
            Ok(samples) => writeln!(
                out,
                "  node {} {url}: {:.1} us, {:.1} us  {}",
                number + 1,
                micros(samples, 50.0),
                micros(samples, 99.0),
                bar(samples.percentile(50.0), slowest)
            )?,
            Err(error) => writeln!(out, "  node {} {url}: {error}", number + 1)?,
        }
    }
    Ok(())
}

fn bar(value: Duration, most: Duration) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let width = (value.as_secs_f64() / most.as_secs_f64() * BAR as f64).round() as usize;
    "#".repeat(width.clamp(1, BAR))
}
