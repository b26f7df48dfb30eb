//! What earlier connections have taught about a node: what it speaks, and what it is better not asked.

use crate::core::request::Fault;
use crate::core::time::NS_PER_MS;
use crate::redis::dialect::Dialect;
use crate::redis::handshake::{Greeting, Steps};

/// For how long a server is not asked again what it has refused, nor what it has closed a connection over.
const LEFT_OUT_NS: u64 = 3_600_000 * NS_PER_MS;

/// After so many failed dials in a row it is tried again whether the peer closes over a command that can be left out.
const FAILURES_BETWEEN_TRIALS: u32 = 8;

/// What is known of one node.
#[derive(Default)]
pub(super) struct Acquaintance {
    /// Who it was at the last handshake; empty where that is hidden.
    run_id: String,
    /// What it has ever answered.
    answered: Steps,
    left_out: Steps,
    /// It has refused the command that would replace a script.
    wants_scripts: bool,
    /// Since when something is left out.
    since_mono_ns: u64,
    /// What is left out on trial, after connections were closed over it.
    trial: Steps,
    /// The last connection was closed over this command.
    closed_over: Option<&'static str>,
    /// It closes connections over this command, without which there are none.
    culprit: Option<&'static str>,
    /// The port has been looked at since it was last of use, and what came out.
    pub(super) look: Option<Option<Fault>>,
}

impl Acquaintance {
    /// What the handshake that begins now leaves out.
    pub(super) fn leave_out(&mut self, now_mono_ns: u64) -> Steps {
        if now_mono_ns >= self.since_mono_ns.saturating_add(LEFT_OUT_NS) {
            self.start_over(now_mono_ns);
        }
        self.left_out.or(self.trial)
    }

    pub(super) fn answered(&self) -> Steps {
        self.answered
    }

    /// The peer closed the connection over this command, of the family that could be left out. `None`: dial again at
    /// once, the first time as before, for a server that was just restarted does the same, then without it. Some: there
    /// is no way, and over which command.
    pub(super) fn closed_over(
        &mut self,
        command: &'static str,
        family: Option<Steps>,
        failures: u32,
    ) -> Option<&'static str> {
        if family.is_none() {
            self.culprit = Some(command);
        }
        let Some(family) = family.filter(|_| failures.is_multiple_of(FAILURES_BETWEEN_TRIALS)) else {
            self.trial = Steps::default();
            self.closed_over = None;
            return Some(self.culprit.unwrap_or(command));
        };
        if self.closed_over.replace(command) == Some(command) {
            self.trial = self.trial.or(family);
            self.closed_over = None;
        }
        None
    }

    /// A handshake that began at this time has ended well.
    pub(super) fn greeted(&mut self, begun_mono_ns: u64, greeting: &mut Greeting) {
        let run_id = &greeting.info.run_id;
        if *run_id != self.run_id && !self.run_id.is_empty() {
            self.start_over(begun_mono_ns);
        }
        if self.left_out.is_empty() && !self.wants_scripts {
            self.since_mono_ns = begun_mono_ns;
        }
        self.run_id.clone_from(run_id);
        self.left_out = self.left_out.or(self.trial).or(greeting.refused);
        self.answered = self.answered.or(greeting.answered);
        self.trial = Steps::default();
        self.closed_over = None;
        self.culprit = None;
        self.look = None;
        if self.wants_scripts {
            greeting.dialect = Dialect::Lua;
        }
    }

    /// It has refused the command that would replace a script.
    pub(super) fn wants_scripts(&mut self) {
        self.wants_scripts = true;
    }

    fn start_over(&mut self, now_mono_ns: u64) {
        self.left_out = Steps::default();
        self.wants_scripts = false;
        self.since_mono_ns = now_mono_ns;
    }
}
