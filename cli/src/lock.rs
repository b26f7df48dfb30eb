//! `redlock lock`, `unlock` and `extend`: locks that outlive the command, for scripts that know what they do.

use std::io::Write as _;
use std::process::ExitCode;

use redlock::engine::LockRequest;
use serde_json::json;

use crate::args::{Connection, Extend, Lock, Unlock};
use crate::duration::Milliseconds;
use crate::exit::Outcome;
use crate::session::Session;
use crate::settings::Settings;

/// Nodes that are slower than the quorum may take so long to confirm a release.
const CLOSE_MS: i64 = 1_000;

pub fn lock(connection: &Connection, options: &Lock) -> Outcome {
    let settings = Settings::gather(connection)?;
    let mut session = Session::new(settings.connect()?)?;
    let request = LockRequest {
        resource: options.name.clone().into_bytes(),
        ttl_ms: settings.ttl(options.ttl).0,
        wait_ms: options.wait.map_or(0, Milliseconds::signed),
        fence: options.fence,
        report_remaining: true,
        ..LockRequest::default()
    };
    let lease =
        session.lock(request, |_| {}).map_err(|failure| failure.with_conflict_code(options.conflict_exit_code))?;
    let token = String::from_utf8_lossy(lease.token()).into_owned();
    let text = if connection.json {
        let nodes = lease.node_count_held();
        let lock = json!({
            "name": options.name, "token": token, "validity_ms": lease.remaining_ms(), "fence": lease.fence(),
            "nodes": nodes,
        });
        lock.to_string()
    } else {
        lease.fence().map_or_else(|| token.clone(), |fence| format!("{token} {fence}"))
    };
    if let Err(error) = writeln!(std::io::stdout(), "{text}") {
        // Nobody could ever unlock it.
        let _ = lease.unlock();
        return Err(error.into());
    }
    Ok(ExitCode::SUCCESS)
}

pub fn unlock(connection: &Connection, options: &Unlock) -> Outcome {
    let redlock = Settings::gather(connection)?.connect()?;
    let result = redlock.unlock_token(options.name.as_bytes(), options.token.as_bytes());
    result?;
    // The rest of the nodes may still have to confirm.
    let _ = redlock.close(false, CLOSE_MS);
    Ok(ExitCode::SUCCESS)
}

pub fn extend(connection: &Connection, options: &Extend) -> Outcome {
    let settings = Settings::gather(connection)?;
    let ttl = settings.ttl(options.ttl);
    settings.connect()?.extend_token(options.name.as_bytes(), options.token.as_bytes(), ttl.0)?;
    Ok(ExitCode::SUCCESS)
}
