//! `redlock doctor`: what voids the guarantee, and what to type to cure it.
//!
//! `exam.rs` asks a node, `findings.rs` judges the answers of all of them; neither knows of the other's work.

mod exam;
mod findings;

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;

use crate::args::{Connection, Doctor};
use crate::exit::{self, Outcome};
use crate::settings::Settings;
use exam::{Exam, examine};
use findings::{Finding, Severity, findings};

pub fn doctor(connection: &Connection, options: &Doctor) -> Outcome {
    let settings = Settings::gather(connection)?;
    // What no handle can be made of is a finding of its own kind: it says which URL, and why.
    let redlock = settings.connect()?;
    let urls: Vec<String> =
        (0..redlock.node_count()).map(|node| redlock.node_url(node).unwrap_or_default().to_owned()).collect();
    redlock.end();
    let examiner = &settings.options;
    let exams: Vec<Result<Exam, String>> = std::thread::scope(|scope| {
        let started: Vec<_> = settings.servers.iter().map(|url| scope.spawn(move || examine(url, examiner))).collect();
        let failed = |_| Err("the examination failed".to_owned());
        started.into_iter().map(|exam| exam.join().unwrap_or_else(failed)).collect()
    });
    let found = findings(&exams, settings.ttl(options.ttl), &settings.options);
    print(connection, &urls, &exams, &found)?;
    let worst = found.iter().map(|finding| finding.severity).max();
    Ok(match worst {
        Some(Severity::Error) => ExitCode::from(exit::CONFIG),
        Some(Severity::Warning) => ExitCode::from(exit::WARNED),
        Some(Severity::Note) | None => ExitCode::SUCCESS,
    })
}

fn print(
    connection: &Connection,
    urls: &[String],
    exams: &[Result<Exam, String>],
    found: &[Finding],
) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if connection.json {
        let nodes: Vec<_> = urls
            .iter()
            .zip(exams)
            .map(|(url, exam)| match exam {
                Ok(exam) => {
                    json!({ "url": url, "server": exam.server(), "round_trip_us": exam.round_trip.as_micros() })
                }
                Err(error) => json!({ "url": url, "error": error }),
            })
            .collect();
        let found: Vec<_> = found
            .iter()
            .map(|finding| {
                json!({
                    "severity": finding.severity.text(), "check": finding.check,
                    "nodes": finding.nodes.iter().map(|node| node + 1).collect::<Vec<_>>(),
                    "message": finding.message, "cure": finding.cure,
                })
            })
            .collect();
        return writeln!(out, "{}", json!({ "nodes": nodes, "findings": found }));
    }
    if !connection.quiet {
        for (number, (url, exam)) in urls.iter().zip(exams).enumerate() {
            match exam {
                Ok(exam) => writeln!(
                    out,
                    "node {} {url}: {}, round trip {:.2} ms",
                    number + 1,
                    exam.server(),
                    exam.round_trip.as_secs_f64() * 1_000.0
                )?,
                Err(error) => writeln!(out, "node {} {url}: {error}", number + 1)?,
            }
        }
    }
    for finding in found {
        let numbers: Vec<String> = finding.nodes.iter().map(|node| (node + 1).to_string()).collect();
        let nodes = match numbers.len() {
            0 => String::new(),
            1 => format!("node {}: ", numbers[0]),
            _ => format!("nodes {}: ", numbers.join(",")),
        };
        writeln!(out, "{}: {nodes}{}", finding.severity.text(), finding.message)?;
        if let Some(cure) = &finding.cure {
            writeln!(out, "    {cure}")?;
        }
    }
    if found.is_empty() && !connection.quiet {
        writeln!(out, "nothing found that voids the guarantee")?;
    }
    Ok(())
}
