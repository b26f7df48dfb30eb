//! What the two clients do, and what may go wrong meanwhile.

use std::fmt;

use redlock::core::config::{Config, RestartGuard};

use crate::node::ScriptFault;
use crate::world::NODES;

/// Life of every lease, in milliseconds.
pub const TTL_MS: u64 = 300;

/// How long a waiting client waits, in milliseconds: longer than a dead holder's key lives.
pub const WAIT_MS: u64 = 500;

/// What a client does next; after a lock that failed, nothing but to retry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// One attempt.
    Lock,
    /// Another, if the one before has failed.
    Retry,
    /// Wait for the holder, with at most two attempts.
    Wait,
    Extend,
    Unlock,
    /// Read who holds the lock.
    Inspect,
}

/// The one thing that may go wrong in a run, at any moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Nothing,
    /// A connection is reset: requests on their way are executed, all, some or none of them, or not; replies are lost.
    Reset,
    /// A node restarts without its data.
    Restart,
}

#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    pub scripts: [&'static [Act]; 2],
    pub trouble: Trouble,
    /// How often time passes while something else could happen.
    pub jumps: u8,
    pub fence: bool,
    pub guard: RestartGuard,
    /// The nodes announce changes to those who wait.
    pub pushes: bool,
    /// The first client holds the lock already, on all nodes.
    pub held: bool,
    /// The second client's connections are not made yet.
    pub newcomer: bool,
    pub script_fault: Option<ScriptFault>,
}

impl Scenario {
    pub const fn new(first: &'static [Act], second: &'static [Act]) -> Scenario {
        Scenario {
            scripts: [first, second],
            trouble: Trouble::Nothing,
            jumps: 0,
            fence: false,
            guard: RestartGuard::Seen,
            pushes: false,
            held: false,
            newcomer: false,
            script_fault: None,
        }
    }

    /// The first client has the lock at the beginning.
    pub const fn held(first: &'static [Act], second: &'static [Act]) -> Scenario {
        Scenario { held: true, ..Scenario::new(first, second) }
    }

    const fn jumps(self, jumps: u8) -> Scenario {
        Scenario { jumps, ..self }
    }

    pub const fn fenced(self) -> Scenario {
        Scenario { fence: true, ..self }
    }

    const fn pushed(self) -> Scenario {
        Scenario { pushes: true, ..self }
    }

    pub const fn with(self, trouble: Trouble) -> Scenario {
        Scenario { trouble, ..self }
    }

    pub const fn newcomer(self, guard: RestartGuard) -> Scenario {
        Scenario { newcomer: true, guard, ..self }
    }

    /// Where trouble strikes. As long as all nodes are alike, the first stands for any.
    pub fn troubled(&self) -> &'static [usize] {
        match self.trouble {
            Trouble::Nothing => &[],
            _ if self.are_nodes_alike() => &[0],
            _ => &[0, 1, 2],
        }
    }

    /// Whether it does not matter which node is which: only those who wait ask one of them first.
    pub fn are_nodes_alike(&self) -> bool {
        !self.scripts.iter().any(|script| script.contains(&Act::Wait))
    }

    pub fn config(&self) -> Config {
        Config { restart_guard: self.guard, max_ttl_ms: Some(TTL_MS), ..Config::new(NODES) }
    }
}

/// Both of them.
const TROUBLES: [Trouble; 2] = [Trouble::Reset, Trouble::Restart];

/// What is explored in a few seconds, also without optimisation.
pub fn small() -> Vec<Scenario> {
    use Act::{Extend, Lock, Unlock, Wait};
    vec![
        Scenario::new(&[Lock], &[Lock]),
        Scenario::new(&[Lock], &[Lock]).with(Trouble::Reset),
        Scenario::new(&[Lock, Unlock], &[Lock]),
        Scenario::new(&[Lock, Extend], &[Lock]),
        Scenario::new(&[Lock, Unlock], &[Lock]).fenced(),
        Scenario::new(&[Lock, Unlock], &[Wait]),
        Scenario::held(&[], &[Lock, Unlock]).jumps(1).with(Trouble::Reset),
        Scenario::held(&[], &[Lock]).jumps(2),
        Scenario::held(&[Extend], &[]).jumps(2),
        Scenario::held(&[], &[Wait]).jumps(1),
    ]
}

/// What takes longer.
pub fn large() -> Vec<Scenario> {
    use Act::{Extend, Lock, Retry, Unlock, Wait};
    let mut large = vec![
        Scenario::new(&[Lock, Unlock], &[Lock, Unlock]),
        Scenario::new(&[Lock], &[Lock]).with(Trouble::Restart),
        Scenario::new(&[Lock], &[Lock]).newcomer(RestartGuard::Strict).with(Trouble::Restart),
        Scenario::held(&[Unlock], &[Wait]).pushed(),
        Scenario::held(&[], &[Wait]).pushed().jumps(1),
        Scenario::held(&[], &[Lock, Unlock]).jumps(1).with(Trouble::Restart),
        Scenario::held(&[Unlock], &[Lock]).jumps(1),
        Scenario::held(&[Unlock], &[Lock]).fenced().jumps(1),
        Scenario::new(&[Lock, Unlock], &[Lock, Retry]).fenced(),
        Scenario::held(&[Extend], &[Lock]).jumps(1),
        Scenario::held(&[Extend, Unlock], &[]).jumps(2),
        Scenario::new(&[], &[Lock, Extend]).jumps(2),
        Scenario::held(&[], &[Lock]).jumps(2).with(Trouble::Reset),
        Scenario::held(&[], &[Wait]).jumps(1).with(Trouble::Reset),
        Scenario::held(&[], &[Wait]).with(Trouble::Restart),
    ];
    for trouble in TROUBLES {
        large.extend([
            Scenario::new(&[Lock, Unlock], &[Lock]).with(trouble),
            Scenario::new(&[Lock, Extend], &[Lock]).with(trouble),
            Scenario::new(&[Lock, Unlock], &[Lock]).fenced().with(trouble),
            Scenario::held(&[], &[Lock]).fenced().jumps(1).with(trouble),
            Scenario::held(&[Extend], &[]).jumps(2).with(trouble),
            Scenario::held(&[Unlock], &[Wait]).with(trouble),
            Scenario::held(&[], &[Wait]).pushed().with(trouble),
        ]);
    }
    // The largest last, where those who take from the end begin.
    large.push(Scenario::new(&[Lock], &[Lock]).jumps(1));
    large
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let acts = |script: &[Act]| match script {
            [] => "nothing".to_owned(),
            acts => acts.iter().map(|act| format!("{act:?}").to_lowercase()).collect::<Vec<_>>().join(", "),
        };
        let holder = if self.held { "holder: " } else { "" };
        write!(f, "{holder}{} | {}", acts(self.scripts[0]), acts(self.scripts[1]))?;
        match self.trouble {
            Trouble::Nothing => {}
            Trouble::Reset => f.write_str("; a reset")?,
            Trouble::Restart => f.write_str("; a restart")?,
        }
        match self.jumps {
            0 => {}
            1 => f.write_str("; time passes once")?,
            times => write!(f, "; time passes {times} times")?,
        }
        for (is, what) in [(self.fence, "fenced"), (self.pushes, "pushes"), (self.newcomer, "newcomer")] {
            if is {
                write!(f, "; {what}")?;
            }
        }
        if self.guard == RestartGuard::Seen { Ok(()) } else { write!(f, "; guard {:?}", self.guard) }
    }
}
