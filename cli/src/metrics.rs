//! `--metrics`: Prometheus' text format, into a file for the node exporter or over HTTP.

use std::fmt::{self, Write as _};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use redlock::core::stats::NodeStats;
use redlock::engine::{Lease, Redlock};

use crate::exit::{self, Failure};

/// A scraper that says nothing for this long is sent away.
const SCRAPER_TIMEOUT: Duration = Duration::from_secs(2);
/// No request line is longer.
const REQUEST_BYTES_MAX: usize = 4096;

/// Where the metrics go.
pub struct Metrics {
    target: Target,
    name: String,
}

enum Target {
    File(PathBuf),
    Http(Arc<Mutex<String>>),
}

impl Metrics {
    /// An address is a host and a port, such as `127.0.0.1:9187` or `localhost:9187`; anything else is a file.
    pub fn start(target: &str, name: &str) -> Result<Metrics, Failure> {
        let target = match is_address(target) {
            true => {
                let refused = |error| Failure::new(exit::USAGE, format!("--metrics {target}: {error}"));
                let listener = TcpListener::bind(target).map_err(refused)?;
                let page = Arc::new(Mutex::new(String::new()));
                let served = Arc::clone(&page);
                thread::Builder::new()
                    .name("metrics".to_owned())
                    .spawn(move || listener.incoming().flatten().for_each(|scraper| serve(scraper, &served)))
                    .map_err(|error| Failure::system("no thread", error))?;
                Target::Http(page)
            }
            false => Target::File(PathBuf::from(target)),
        };
        Ok(Metrics { target, name: name.to_owned() })
    }

    /// Renews what scrapers see. A file is replaced as a whole.
    pub fn publish(&mut self, redlock: &Redlock, lease: Option<&Lease>) -> Result<(), String> {
        let page = self.page(redlock, lease).map_err(|error| error.to_string())?;
        match &self.target {
            Target::Http(served) => *served.lock().unwrap_or_else(PoisonError::into_inner) = page,
            Target::File(path) => {
                let mut new = path.clone().into_os_string();
                new.push(".new");
                let written = fs::write(&new, page).and_then(|()| fs::rename(&new, path));
                written.map_err(|error| format!("--metrics {}: {error}; no further metrics", path.display()))?;
            }
        }
        Ok(())
    }

    fn page(&self, redlock: &Redlock, lease: Option<&Lease>) -> Result<String, redlock::engine::Error> {
        let stats = redlock.stats()?;
        let mut page = Page::default();
        let name = [("name", self.name.as_str())];
        page.family("redlock_lease_held", "gauge", "1 while the lock is held");
        page.sample("redlock_lease_held", &name, u8::from(lease.is_some_and(|lease| lease.remaining_ms() > 0)));
        page.family("redlock_lease_remaining_seconds", "gauge", "How long the lock is valid without an extension");
        let left_ms = lease.map_or(0, Lease::remaining_ms);
        page.sample("redlock_lease_remaining_seconds", &name, format!("{}.{:03}", left_ms / 1000, left_ms % 1000));
        for (metric, help, value) in [
            ("redlock_attempts_total", "Rounds of requests for the lock, retries included", stats.attempts),
            ("redlock_acquired_total", "Locks acquired", stats.acquired),
            ("redlock_contended_total", "Attempts that failed because another client held the lock", stats.contended),
            ("redlock_no_quorum_total", "Operations that failed because too few nodes answered", stats.no_quorum),
            ("redlock_extended_total", "Successful extensions", stats.extended),
            ("redlock_lost_total", "Leases that ended before they were released", stats.lost),
        ] {
            page.family(metric, "counter", help);
            page.sample(metric, &[], value);
        }
        type Reading = fn(&NodeStats) -> u64;
        let per_node: [(&str, &str, &str, Reading); 5] = [
            ("redlock_node_up", "gauge", "1 while the node is connected and answers in time", |node| node.is_up),
            ("redlock_node_requests_total", "counter", "Requests sent", |node| node.requests),
            ("redlock_node_timeouts_total", "counter", "Requests not answered in time", |node| node.timeouts),
            ("redlock_node_errors_total", "counter", "Error replies", |node| node.errors),
            ("redlock_node_reconnects_total", "counter", "Connections made after the first", |node| node.reconnects),
        ];
        for (metric, kind, help, reading) in per_node {
            page.family(metric, kind, help);
            for (number, node) in stats.nodes.iter().take(redlock.node_count()).enumerate() {
                page.sample(metric, &[("node", redlock.node_url(number).unwrap_or_default())], reading(node));
            }
        }
        let metric = "redlock_node_latency_seconds_total";
        page.family(metric, "counter", "Time from request to reply, summed");
        for (number, node) in stats.nodes.iter().take(redlock.node_count()).enumerate() {
            let seconds = Duration::from_nanos(node.latency_ns_sum).as_secs_f64();
            page.sample(metric, &[("node", redlock.node_url(number).unwrap_or_default())], seconds);
        }
        Ok(page.0)
    }
}

fn is_address(target: &str) -> bool {
    !target.contains('/')
        && target.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// The text of the exposition format. Writing to a String cannot fail.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, metric: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {metric} {help}\n# TYPE {metric} {kind}");
    }

    fn sample(&mut self, metric: &str, labels: &[(&str, &str)], value: impl fmt::Display) {
        self.0.push_str(metric);
        for (number, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if number == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

/// One answer to whatever was asked, then the end. A scraper that goes away is none of our business.
fn serve(mut scraper: TcpStream, page: &Mutex<String>) {
    let _ = scraper.set_read_timeout(Some(SCRAPER_TIMEOUT));
    let _ = scraper.set_write_timeout(Some(SCRAPER_TIMEOUT));
    let mut request = [0; REQUEST_BYTES_MAX];
    let mut filled = 0;
    while filled < request.len() && !request[..filled].windows(4).any(|end| end == b"\r\n\r\n") {
        match scraper.read(&mut request[filled..]) {
            Ok(0) | Err(_) => return,
            Ok(count) => filled += count,
        }
    }
    let page = page.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        page.len()
    );
    let _ = scraper.write_all(head.as_bytes()).and_then(|()| scraper.write_all(page.as_bytes()));
}
