//! `redlock version`.

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;

use crate::args::Version;
use crate::exit::Outcome;

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub fn version(as_json: bool, _options: &Version) -> Outcome {
    let mut out = std::io::stdout();
    if as_json {
        writeln!(out, "{}", json!({ "version": VERSION, "tls": cfg!(feature = "tls") }))?;
    } else {
        writeln!(out, "redlock {VERSION}{}", if cfg!(feature = "tls") { "" } else { ", without TLS" })?;
    }
    Ok(ExitCode::SUCCESS)
}
