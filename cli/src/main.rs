//! The command `redlock`: runs jobs under a distributed lock, and looks after the nodes that hold it.
//!
//! `args.rs` says what can be asked, `settings.rs` where the nodes and their credentials come from, `session.rs` is the
//! one place that waits; each command has a file of its own.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod args;
mod bench;
mod child;
mod doctor;
mod duration;
mod exit;
mod generate;
mod lock;
mod metrics;
mod probe;
mod run;
mod session;
mod settings;
mod status;
mod top;
mod version;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error),
    };
    let connection = &arguments.connection;
    let outcome = match arguments.command {
        Command::Run(run) => run::run(connection, run),
        Command::Lock(lock) => lock::lock(connection, &lock),
        Command::Unlock(unlock) => lock::unlock(connection, &unlock),
        Command::Extend(extend) => lock::extend(connection, &extend),
        Command::Status(status) => status::status(connection, &status),
        Command::Wait(wait) => status::wait(connection, &wait),
        Command::Bench(bench) => bench::bench(connection, &bench),
        Command::Top(top) => top::top(connection, &top),
        Command::Doctor(doctor) => doctor::doctor(connection, &doctor),
        Command::Completions { shell } => generate::completions(shell),
        Command::Manual => generate::manual(),
        Command::Version(version) => version::version(connection.json, &version),
        Command::Exec(exec) => child::become_the_job(exec),
    };
    outcome.unwrap_or_else(|failure| failure.report())
}
