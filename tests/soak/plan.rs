//! What a run is made of: how long, how many, and what each client is like.

use std::time::Duration;

use redlock::engine::{Options, Protocol, RestartGuard};

pub const NODES: usize = 5;
pub const QUORUM: usize = NODES / 2 + 1;
pub const RESOURCES: usize = 3;
pub const KEY_PREFIX: &str = "soak:";
/// What the keys of fencing counters end in; they outlive the locks on purpose.
pub const COUNTER_SUFFIX: &str = ":redlock-fence";
/// The longest ttl of any client, which all of them know.
pub const MAX_TTL_MS: u64 = 3_000;
/// How long a client waits for a lock when the faults are over: two nodes may be guarded, the others must do.
pub const CALM_WAIT_MS: i64 = 20_000;
/// How late a busy machine may make a process.
pub const SLACK_MS: u64 = 2_000;

/// A defect that a run is to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    None,
    /// Clients go on after the end of their leases.
    IgnoredDeadlines,
    /// The same, and the fenced registers take every token.
    IgnoredTokens,
}

impl Defect {
    pub fn name(self) -> &'static str {
        match self {
            Defect::None => "none",
            Defect::IgnoredDeadlines => "ignored-deadlines",
            Defect::IgnoredTokens => "ignored-tokens",
        }
    }

    pub fn named(name: &str) -> Defect {
        let all = [Defect::None, Defect::IgnoredDeadlines, Defect::IgnoredTokens];
        all.into_iter().find(|defect| defect.name() == name).unwrap_or_else(|| panic!("no such defect: {name}"))
    }
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    /// How long faults go on; start, calm and end take some 20 s more.
    pub stormy: Duration,
    pub clients: usize,
    pub has_faults: bool,
    pub defect: Defect,
}

/// The way to the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Through proxies of its own.
    Proxies,
    Tcp,
    UnixSockets,
}

/// What one client is like, in all its incarnations.
#[derive(Debug, Clone)]
pub struct Character {
    pub options: Options,
    pub route: Route,
    pub threads: u64,
    /// Its only thread is an event loop.
    pub is_loop: bool,
    pub ttls_ms: [u64; 3],
    pub waits_ms: [i64; 3],
    /// Once in so many locks; 0: never.
    pub auto_extend_one_in: u64,
    pub cancel_one_in: u64,
    pub explain_one_in: u64,
    /// It may be killed: the `seen` guard knows nothing of what happened before its process began.
    pub is_mortal: bool,
}

/// Everything that a client of a run can be.
pub fn characters() -> Vec<Character> {
    let options = Options {
        key_prefix: KEY_PREFIX.into(),
        max_ttl_ms: Some(MAX_TTL_MS),
        restart_guard: RestartGuard::Strict,
        connect_timeout_ms: 300,
        stall_timeout_ms: 1_000,
        ..Options::default()
    };
    let usual = Character {
        options: options.clone(),
        route: Route::Proxies,
        threads: 1,
        is_loop: false,
        ttls_ms: [300, 1_000, 3_000],
        waits_ms: [0, 500, 2_500],
        auto_extend_one_in: 0,
        cancel_one_in: 0,
        explain_one_in: 4,
        is_mortal: true,
    };
    let seen = Options { restart_guard: RestartGuard::Seen, ..options.clone() };
    vec![
        Character { threads: 2, ttls_ms: [300, 400, 800], ..usual.clone() },
        Character { ttls_ms: [400, 1_000, 3_000], auto_extend_one_in: 2, ..usual.clone() },
        Character {
            options: Options {
                wake: false,
                protocol: Protocol::Resp2,
                retry_delay_ms: 30,
                retry_jitter_ms: 30,
                node_timeout_ms: 50,
                stall_timeout_ms: 500,
                ..options.clone()
            },
            ..usual.clone()
        },
        Character { options: seen.clone(), cancel_one_in: 3, is_mortal: false, ..usual.clone() },
        Character {
            options: Options { avoid_lua: false, spin_us: 50, node_timeout_ms: 250, ..seen },
            route: Route::Tcp,
            auto_extend_one_in: 4,
            is_mortal: false,
            ..usual.clone()
        },
        Character { is_loop: true, auto_extend_one_in: 3, cancel_one_in: 6, ..usual.clone() },
        Character {
            options: Options { interruptible: false, retry_count: Some(3), ..options },
            route: Route::UnixSockets,
            threads: 2,
            cancel_one_in: 6,
            auto_extend_one_in: 6,
            ..usual
        },
    ]
}

impl Character {
    /// For runs without faults: no server restarts, so that nobody has to wait for the guard, and all is short.
    pub fn without_faults(mut self) -> Character {
        self.options.restart_guard = RestartGuard::Off;
        self.ttls_ms = [200, 300, 400];
        self.waits_ms = [1_000, 2_000, 3_000];
        self
    }
}
