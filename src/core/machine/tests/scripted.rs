//! A machine whose nodes say what a test tells them to say, for tests of this crate.

use std::collections::VecDeque;

use crate::core::config::Config;
use crate::core::entropy::Entropy;
use crate::core::machine::{Context, Machine};
use crate::core::operation::{Completion, Input, LeaseKey, LeaseView, LockParams, OpKey, Operation, Output};
use crate::core::report::Failure;
use crate::core::request::{Bytes, Fault, FaultKind, NodeId, Reply, Request, ServerInfo};
use crate::core::time::{NS_PER_MS, Now};

/// The servers' time at the beginning, in microseconds.
pub const EPOCH_US: u64 = 1_700_000_000_000_000;

/// One attempt at the resource "r", and nothing special about it.
pub fn one_attempt(ttl_ms: u64) -> LockParams {
    LockParams {
        key: Bytes::from(&b"r"[..]),
        ttl_ms,
        wait_ms: Some(0),
        retries: None,
        token: None,
        explain: false,
        auto_extend: false,
        max_hold_ms: None,
        watch: false,
        fence: false,
    }
}

pub struct Scripted {
    pub machine: Machine,
    pub now: Now,
    /// What each node has been sent and has not answered.
    pub asked: Vec<VecDeque<Request>>,
    pub completed: Vec<(OpKey, Result<Completion, Failure>)>,
    pub views: Vec<(LeaseKey, LeaseView)>,
    /// Whether locks ask for a fencing token.
    pub fence: bool,
    tokens: Counter,
}

struct Counter(u64);

impl Entropy for Counter {
    fn token(&mut self) -> Bytes {
        self.0 += 1;
        format!("token {}", self.0).into_bytes().into()
    }

    fn up_to(&mut self, _most: u64) -> u64 {
        0
    }
}

impl Scripted {
    /// Nodes that are not connected yet.
    pub fn new(config: Config) -> Scripted {
        let asked = vec![VecDeque::new(); config.node_count];
        // Later than any uptime in these tests.
        let now = Now { mono_ns: 1_000_000_000 * NS_PER_MS, lease_ns: 1_000_000_000 * NS_PER_MS };
        let machine = Machine::new(config);
        Scripted { machine, now, asked, completed: Vec::new(), views: Vec::new(), fence: false, tokens: Counter(0) }
    }

    /// All nodes connected, their clocks right, running for a day.
    pub fn connected(config: Config) -> Scripted {
        let mut script = Scripted::new(config);
        for node in 0..script.asked.len() {
            script.up(node, &format!("process {node}"), 86_400, 0);
        }
        script
    }

    pub fn time_us(&self) -> u64 {
        EPOCH_US + self.now.mono_ns / 1_000
    }

    /// The node is connected; its clock is ahead of the right time by `ahead_us`.
    pub fn up(&mut self, node: NodeId, run_id: &str, uptime_s: u64, ahead_us: i64) {
        let info = ServerInfo {
            run_id: run_id.to_owned(),
            uptime_s,
            time_us: self.time_us().saturating_add_signed(ahead_us),
            ..ServerInfo::default()
        };
        self.up_with(node, info);
    }

    pub fn up_with(&mut self, node: NodeId, info: ServerInfo) {
        self.handle(Input::Dialing { node });
        self.handle(Input::Up { node, info });
    }

    pub fn down(&mut self, node: NodeId) {
        self.asked[node].clear();
        self.handle(Input::Down { node, fault: Fault::new(FaultKind::Unreachable, "gone") });
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.now.mono_ns += ms * NS_PER_MS;
        self.now.lease_ns += ms * NS_PER_MS;
        if self.machine.next_deadline().is_some_and(|due| due <= self.now.mono_ns) {
            self.handle(Input::Tick);
        }
    }

    pub fn handle(&mut self, input: Input) {
        self.machine.handle(&mut Context { now: self.now, entropy: &mut self.tokens }, input);
        self.collect();
    }

    pub fn submit(&mut self, operation: Operation) -> OpKey {
        let op = self.machine.submit(&mut Context { now: self.now, entropy: &mut self.tokens }, operation);
        self.collect();
        op
    }

    /// One attempt at the resource "r".
    pub fn lock(&mut self, ttl_ms: u64) -> OpKey {
        self.submit(Operation::Lock(LockParams { fence: self.fence, ..one_attempt(ttl_ms) }))
    }

    /// The node answers its oldest request.
    pub fn reply(&mut self, node: NodeId, reply: Reply) -> Request {
        let request = self.asked[node].pop_front().unwrap_or_else(|| panic!("node {node} was not asked"));
        self.handle(Input::Reply { node, reply });
        request
    }

    /// How the operation ended.
    pub fn result(&mut self, op: OpKey) -> Option<Result<Completion, Failure>> {
        let at = self.completed.iter().position(|(ended, _)| *ended == op)?;
        Some(self.completed.remove(at).1)
    }

    /// The lease that this operation acquired.
    pub fn lease(&mut self, op: OpKey) -> LeaseKey {
        match self.result(op) {
            Some(Ok(Completion::Locked { lease, .. })) => lease,
            other => panic!("no lease: {other:?}"),
        }
    }

    /// Why the operation failed.
    pub fn failure(&mut self, op: OpKey) -> Failure {
        match self.result(op) {
            Some(Err(failure)) => failure,
            other => panic!("no failure: {other:?}"),
        }
    }

    fn collect(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Send { node, request } => self.asked[node].push_back(request),
                Output::Reset { node } => self.asked[node].clear(),
                Output::Completed { op, result } => self.completed.push((op, result)),
                Output::Lease { lease, view } => self.views.push((lease, view)),
                Output::Extended { .. } => {}
            }
        }
    }
}
