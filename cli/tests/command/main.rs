//! The command as a shell meets it: real servers, real jobs, exit statuses, signals.

mod doctor;
mod run;
mod settings;
#[path = "../../../tests/support/mod.rs"]
mod support;
mod tokens;

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use support::Cluster;

/// Everything here ends within this, by far.
const SOON: Duration = Duration::from_secs(20);

/// The command on these nodes, with nothing of our own environment that could tell it of others.
fn redlock(cluster: &Cluster, arguments: &[&str]) -> Command {
    let mut command = bare(arguments);
    command.env("REDLOCK_SERVERS", cluster.urls().join(" "));
    command
}

fn bare(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redlock"));
    command.args(arguments).stdin(Stdio::null());
    command.env_remove("REDLOCK_CONFIG").env_remove("REDLOCK_PASSWORD").env_remove("REDLOCK_SERVERS");
    command.env("HOME", "/nonexistent").env_remove("XDG_CONFIG_HOME");
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("the command prints UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("the command prints UTF-8")
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A child that is killed when a test fails.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Running {
        Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command is built"))
    }

    fn signal(&self, signal: libc::c_int) {
        let pid = self.0.id().cast_signed();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::try_from(signal).unwrap())
            .expect("it runs");
    }

    fn finish(mut self) -> Output {
        let ended = support::wait_for(SOON, || self.0.try_wait().expect("it is our child").is_some());
        assert!(ended, "it does not end");
        let child = std::mem::replace(&mut self.0, Command::new("true").spawn().expect("true"));
        child.wait_with_output().expect("it ended")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
