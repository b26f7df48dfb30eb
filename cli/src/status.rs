//! `redlock status` and `wait`: who holds a lock, as the nodes say.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use redlock::core::report::Outcome as NodeOutcome;
use redlock::engine::{Event, InspectedNode, Inspection, Value};
use serde_json::json;

use crate::args::{Connection, Status, Wait};
use crate::duration::Milliseconds;
use crate::exit::{self, Failure, Outcome};
use crate::session::{Session, Wake};
use crate::settings::Settings;

/// The longest time between two looks at a lock that is held.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
const TAG: u64 = 1;

pub fn status(connection: &Connection, options: &Status) -> Outcome {
    let redlock = Settings::gather(connection)?.connect()?;
    let seen = redlock.inspect(options.name.as_bytes())?;
    let mut out = std::io::stdout().lock();
    if connection.json {
        writeln!(out, "{}", to_json(&options.name, &seen))?;
    } else if !connection.quiet {
        writeln!(out, "{}: {}", options.name, describe_holder(&seen))?;
        for (number, node) in seen.nodes.iter().enumerate() {
            writeln!(out, "  node {} {}: {}", number + 1, node.url, describe_node(node))?;
        }
    }
    Ok(ExitCode::from(if is_held(&seen) { 0 } else { exit::NOT_ACQUIRED }))
}

/// Looks again and again; a signal ends it.
pub fn wait(connection: &Connection, options: &Wait) -> Outcome {
    let settings = Settings::gather(connection)?;
    let mut session = Session::new(settings.connect()?)?;
    let deadline = options.wait.map(|time| Instant::now() + time.duration());
    loop {
        session.redlock.submit_inspect(options.name.as_bytes(), TAG)?;
        let seen = loop {
            match session.next(None)? {
                Wake::Event(Event::Done { tag: TAG, result, .. }) => break result?,
                Wake::Signal(signal) => return signalled(signal),
                Wake::Event(_) | Wake::Time => {}
            }
        };
        let Value::Inspection(seen) = seen else {
            return Err(Failure::new(exit::INTERNAL, "an inspection without a result"));
        };
        if !is_held(&seen) {
            return Ok(ExitCode::SUCCESS);
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            let reason = format!("{}: {}", options.name, describe_holder(&seen));
            return Err(Failure::new(exit::NOT_ACQUIRED, reason));
        }
        let left = seen.holder.and_then(|holder| holder.remaining_ms).map_or(LOOK_INTERVAL, Duration::from_millis);
        let look_at = Instant::now() + left.clamp(Duration::from_millis(1), LOOK_INTERVAL);
        let look_at = deadline.map_or(look_at, |deadline| deadline.min(look_at));
        loop {
            match session.next(Some(look_at))? {
                Wake::Time => break,
                Wake::Signal(signal) => return signalled(signal),
                Wake::Event(_) => {}
            }
        }
    }
}

fn signalled(signal: nix::sys::signal::Signal) -> Outcome {
    Ok(ExitCode::from(exit::SIGNALLED + u8::try_from(signal as i32).unwrap_or(0)))
}

fn is_held(seen: &Inspection) -> bool {
    seen.holder.as_ref().is_some_and(|holder| holder.is_quorum)
}

/// One line for people.
pub fn describe_holder(seen: &Inspection) -> String {
    match &seen.holder {
        None => "free".to_owned(),
        Some(holder) => {
            let left = match holder.remaining_ms {
                Some(left_ms) => format!("{} left", Milliseconds(left_ms)),
                None => "no expiry: not set by a Redlock client".to_owned(),
            };
            let nodes = seen.nodes.iter().enumerate().filter(|(_, node)| node.token.as_ref() == Some(&holder.token));
            let nodes: Vec<String> = nodes.map(|(number, _)| (number + 1).to_string()).collect();
            let state = if holder.is_quorum { "held" } else { "free, but a minority has a key" };
            let token = String::from_utf8_lossy(&holder.token);
            format!("{state}: token {}, nodes {}, {left}", token.escape_debug(), nodes.join(","))
        }
    }
}

fn describe_node(node: &InspectedNode) -> String {
    match (&node.outcome, &node.token) {
        (NodeOutcome::Done, None) => "no key".to_owned(),
        (NodeOutcome::Done, Some(token)) => {
            let left =
                node.remaining_ms.map_or("no expiry".to_owned(), |left_ms| format!("{} left", Milliseconds(left_ms)));
            format!("{}, {left}", String::from_utf8_lossy(token).escape_debug())
        }
        (NodeOutcome::Failed(fault), _) => fault.text.to_string(),
        (NodeOutcome::Guarded(why), _) => why.to_string(),
        (NodeOutcome::Held(_) | NodeOutcome::NotMine | NodeOutcome::NotAwaited, _) => "not asked".to_owned(),
    }
}

fn to_json(name: &str, seen: &Inspection) -> serde_json::Value {
    let text = |token: &[u8]| String::from_utf8_lossy(token).into_owned();
    let nodes = seen.nodes.iter().map(|node| {
        json!({
            "url": &*node.url,
            "answered": node.outcome == NodeOutcome::Done,
            "message": describe_node(node),
            "token": node.token.as_deref().map(text),
            "remaining_ms": node.remaining_ms,
        })
    });
    json!({
        "name": name,
        "held": is_held(seen),
        "token": seen.holder.as_ref().map(|holder| text(&holder.token)),
        "node_count_held": seen.holder.as_ref().map_or(0, |holder| holder.node_count),
        "remaining_ms": seen.holder.as_ref().and_then(|holder| holder.remaining_ms),
        "nodes": nodes.collect::<Vec<_>>(),
    })
}
