//! What one schedule is made of, chosen by its seed.

use redlock::core::config::{Config, Limits, RestartGuard};
use redlock::core::quorum::quorum;
use redlock::core::time::NS_PER_MS;

use crate::clock::Clock;
use crate::node::ScriptFault;
use crate::rng::Rng;

/// Which faults may happen, and what is promised under them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What the algorithm makes promises about. State that a server loses all the same (FLUSH, an administrator's
    /// DEL, a stepped clock, a restart without data that no guard covers) excuses the leases it robs, and nothing else.
    Promise,
    /// The same without any excuse: these schedules must show violations, or the checks are blind.
    Beyond,
}

/// What is simulated, besides the seed.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub mode: Mode,
    pub script_fault: Option<ScriptFault>,
    #[cfg(feature = "mutants")]
    pub mutant: Option<redlock::core::mutant::Mutant>,
}

impl Setup {
    pub const PROMISE: Setup = Setup {
        mode: Mode::Promise,
        script_fault: None,
        #[cfg(feature = "mutants")]
        mutant: None,
    };
}

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Partition,
    ServerPause,
    ConnectionReset,
    ClientPause,
    Restart,
    Crash,
    Cancel,
    Mood,
    LeaseClockStep,
    // From here on servers lose state.
    Flush,
    Delete,
    RestartEmpty,
    ServerClockStep,
}

const FAULTS: [Fault; 13] = [
    Fault::Partition,
    Fault::ServerPause,
    Fault::ConnectionReset,
    Fault::ClientPause,
    Fault::Restart,
    Fault::Crash,
    Fault::Cancel,
    Fault::Mood,
    Fault::LeaseClockStep,
    Fault::Flush,
    Fault::Delete,
    Fault::RestartEmpty,
    Fault::ServerClockStep,
];

const LOSSES: usize = 4;

/// How a schedule is guarded against servers that come back without their data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarding {
    /// Not all clients guard, or not for long enough.
    Partly,
    /// Every client guards against the restarts that it can see.
    Seen,
    /// Every client guards against all restarts.
    Strict,
}

/// One client's part.
#[derive(Debug, Clone)]
pub struct ClientKnobs {
    pub config: Config,
    pub clock: Clock,
    /// Nobody reads its sockets while no operation is under way, as in the blocking API.
    pub is_blocking: bool,
    pub workers: usize,
    pub rounds: u32,
    /// When the process begins.
    pub starts_ns: u64,
    /// Once in so many steps it is stopped between queueing requests and sending them.
    pub stop_before_send: u64,
}

/// One schedule.
#[derive(Debug, Clone)]
pub struct Knobs {
    pub mode: Mode,
    pub guarding: Guarding,
    pub node_count: usize,
    pub node_clocks: Vec<Clock>,
    /// How far the servers' wall clocks are ahead.
    pub node_skews_ns: Vec<u64>,
    /// How long they have been running.
    pub node_uptimes_s: Vec<u64>,
    pub clients: Vec<ClientKnobs>,
    pub resources: u8,
    pub ttls_ms: [u64; 2],
    /// What all clients of a guarded schedule agreed on.
    pub max_ttl_ms: u64,
    /// The servers' clocks agree so well that none is refused for its time by clients that have a `max_ttl`: they would
    /// wait without end.
    pub do_clocks_agree: bool,
    /// Once in so many locks a fencing token is asked for; 0: never.
    pub fence_one_in: u64,
    /// Once in so many locks the caller has a token of its own, for all attempts; 0: never.
    pub own_token_one_in: u64,
    pub waits_ms: [u64; 2],
    /// One-way delay of a message on a good day.
    pub delay_ns: u64,
    /// Once in so many messages the delay is far longer, up to `tail_ns`.
    pub tail_one_in: u64,
    pub tail_ns: u64,
    /// How long faults go on.
    pub stormy_ns: u64,
    pub faults: Vec<Fault>,
    pub fault_count: usize,
    /// How long a fault lasts.
    pub fault_ns: [u64; 2],
    /// Nothing goes wrong, but strangers may have left keys: a lock that is free must be had.
    pub is_peaceful: bool,
    /// Resources, as bits, that strangers hold, by node; never on so many that a quorum is not free.
    pub strangers: Vec<u8>,
    /// Once in so many handshakes a server says nothing of itself (BUSY, or an ACL); 0: never.
    pub hides_one_in: u64,
    /// CLIENT KILL is permitted by the servers' ACLs.
    pub can_kill: bool,
}

impl Knobs {
    pub fn new(mode: Mode, rng: &mut Rng) -> Knobs {
        let node_count = rng.pick(&[1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7]);
        let is_peaceful = mode == Mode::Promise && rng.one_in(8);
        let drift_ppm = rng.pick(&[1_000, 10_000, 10_000, 50_000]);
        // Two clocks differ by less than the drift; often by almost as much.
        let most_ppm = drift_ppm as i64 * 49 / 100;
        let rate = |rng: &mut Rng| match rng.below(4) {
            0 => most_ppm,
            1 => -most_ppm,
            _ => rng.between(0, 2 * most_ppm as u64) as i64 - most_ppm,
        };
        let clock = |rng: &mut Rng| Clock {
            offset_ns: rng.between(100_000 * NS_PER_MS, 200_000 * NS_PER_MS) as i64,
            ppm: rate(rng),
        };
        let guarding = rng.pick(&[Guarding::Partly, Guarding::Partly, Guarding::Seen, Guarding::Strict]);
        let ttl_ms =
            rng.pick(if guarding == Guarding::Partly { &[30, 100, 300, 1_000] } else { &[100, 300, 300, 1_000] });
        let max_ttl_ms = if rng.one_in(4) { ttl_ms.max(1_000) } else { ttl_ms };
        let timeout_ms = rng.pick(&[5, 20, 50]);
        let losses = match guarding {
            _ if mode == Mode::Beyond => LOSSES,
            Guarding::Partly if rng.one_in(3) => LOSSES,
            Guarding::Seen | Guarding::Strict if rng.one_in(8) => LOSSES - 1,
            _ => 0,
        };
        let faults = &FAULTS[..FAULTS.len() - LOSSES + losses];
        let fault_count = if is_peaceful { 0 } else { rng.pick(&[0, 2, 4, 8, 16]) };
        let kinds = rng.pick(&[1, 2, 4, 8]);
        let mut faults: Vec<Fault> = (0..kinds).map(|_| rng.pick(faults)).collect();
        if guarding != Guarding::Partly {
            faults.extend(vec![Fault::RestartEmpty; rng.pick(&[0, 1, kinds])]);
        }
        let do_clocks_agree = max_ttl_ms >= 1_000 && drift_ppm <= 10_000 && !faults.contains(&Fault::ServerClockStep);
        let client_count = rng.pick(&[2, 2, 2, 3, 3, 4, 6]);
        let worker_max = if client_count > 3 { 1 } else { 3 };
        let late_one_in = if guarding == Guarding::Strict { 2 } else { 6 };
        let stormy_ns = rng.spread(200, 2_000) * NS_PER_MS;
        // The guard cannot see through it, nor can a connection be closed at a server that is not recognised.
        let hides_one_in = if guarding == Guarding::Partly && !is_peaceful { rng.pick(&[0, 0, 0, 2]) } else { 0 };
        Knobs {
            mode,
            guarding,
            node_count,
            node_clocks: (0..node_count).map(|_| clock(rng)).collect(),
            node_skews_ns: (0..node_count).map(|_| rng.below(50 * NS_PER_MS)).collect(),
            node_uptimes_s: (0..node_count)
                .map(|_| if is_peaceful { 86_400 } else { rng.pick(&[86_400, 86_400, 86_400, 3, 1, 0]) })
                .collect(),
            clients: (0..client_count)
                .map(|_| ClientKnobs {
                    config: Config { drift_ppm, ..config(rng, node_count, timeout_ms, guarding, max_ttl_ms) },
                    clock: clock(rng),
                    is_blocking: rng.one_in(3),
                    workers: rng.between(1, worker_max) as usize,
                    rounds: rng.between(1, if is_peaceful { 12 } else { 3 }) as u32,
                    starts_ns: if rng.one_in(late_one_in) { rng.below(stormy_ns) } else { 0 },
                    stop_before_send: if is_peaceful { 0 } else { rng.pick(&[0, 0, 0, 100, 20]) },
                })
                .collect(),
            resources: rng.pick(&[1, 1, 1, 2]),
            max_ttl_ms,
            do_clocks_agree,
            fence_one_in: rng.pick(&[0, 1, 3]),
            own_token_one_in: rng.pick(&[0, 12, 12, 1]),
            ttls_ms: [ttl_ms / rng.pick(&[1, 1, 3]), ttl_ms],
            waits_ms: [timeout_ms, rng.pick(&[100, 400, 1_500])],
            delay_ns: rng.pick(&[50_000, 200_000, 1_000_000]),
            tail_one_in: if is_peaceful { 0 } else { rng.pick(&[0, 300, 50, 10]) },
            tail_ns: timeout_ms * NS_PER_MS * rng.pick(&[1, 3, 20]),
            stormy_ns,
            faults,
            fault_count,
            fault_ns: [timeout_ms * NS_PER_MS / 2, rng.pick(&[timeout_ms * 2, ttl_ms, 2 * ttl_ms]) * NS_PER_MS],
            is_peaceful,
            strangers: strangers(rng, node_count, is_peaceful),
            hides_one_in,
            can_kill: hides_one_in == 0 && !rng.one_in(4),
        }
    }
}

fn strangers(rng: &mut Rng, node_count: usize, is_peaceful: bool) -> Vec<u8> {
    let mut strangers = vec![0; node_count];
    let most = node_count - quorum(node_count);
    if is_peaceful && rng.one_in(2) {
        for _ in 0..most {
            strangers[rng.index(node_count)] = 3;
        }
    }
    strangers
}

fn config(rng: &mut Rng, node_count: usize, timeout_ms: u64, guarding: Guarding, max_ttl_ms: u64) -> Config {
    let (restart_guard, max_ttl_ms) = match guarding {
        Guarding::Partly => (
            rng.pick(&[RestartGuard::Off, RestartGuard::Seen, RestartGuard::Seen]),
            rng.one_in(2).then_some(max_ttl_ms),
        ),
        Guarding::Seen if rng.one_in(4) => (RestartGuard::Strict, Some(max_ttl_ms)),
        Guarding::Seen => (RestartGuard::Seen, Some(max_ttl_ms)),
        Guarding::Strict => (RestartGuard::Strict, Some(max_ttl_ms)),
    };
    Config {
        restart_guard,
        max_ttl_ms,
        node_timeout_ms: timeout_ms,
        connect_timeout_ms: timeout_ms * rng.pick(&[1, 4]),
        stall_timeout_ms: timeout_ms * rng.pick(&[3, 20]),
        retry_count: rng.one_in(4).then(|| rng.between(0, 4)),
        retry_delay_ms: rng.pick(&[20, 50, 100]),
        retry_jitter_ms: rng.pick(&[0, 10, 50, 100]),
        wake: !rng.one_in(4),
        limits: rng.pick(&[Limits::default(), Limits { in_flight: 8, owed: 16 }]),
        ..Config::new(node_count)
    }
}
