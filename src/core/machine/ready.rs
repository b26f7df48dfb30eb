//! Waiting for the connections.

use super::{Context, Machine};
use crate::core::operation::{Completion, OpKey};
use crate::core::report::{Failure, NodeReport, Outcome, Status};
use crate::core::request::FaultKind;
use crate::core::state::node::{Link, Node};
use crate::core::state::ops::{Op, ReadyOp};
use crate::core::state::timers::Sleeper;

impl Machine {
    pub(super) fn submit_ready(&mut self, cx: &mut Context<'_>, wait_ms: Option<u64>) -> OpKey {
        let op = self.ops.insert(Op::Ready(ReadyOp { is_due: wait_ms == Some(0) }));
        self.timers.set(Sleeper::Op(op), wait_ms.map(|wait_ms| cx.now.mono_after_ms(wait_ms)));
        self.runnable.push_back(op);
        op
    }

    /// A node came or went: whoever waits for the connections looks again.
    pub(super) fn check_ready(&mut self, _cx: &mut Context<'_>) {
        let waiting = self.ops.iter().filter(|(_, op)| matches!(op, Op::Ready(_))).map(|(key, _)| key);
        self.runnable.extend(waiting);
    }

    pub(super) fn resume_ready(&mut self, _cx: &mut Context<'_>, op: OpKey) {
        let Some(Op::Ready(ready)) = self.ops.get(op) else { return };
        let up = self.nodes.iter().filter(|node| node.link == Link::Up).count();
        let is_permanent = |kind: FaultKind| kind == FaultKind::Permanent;
        let incurable =
            self.nodes.iter().filter(|node| node.last_fault.as_ref().is_some_and(|fault| is_permanent(fault.kind)));
        let is_hopeless = incurable.count() > self.nodes.len() - self.quorum;
        if up >= self.quorum {
            self.complete(op, Ok(Completion::Done));
        } else if is_hopeless || ready.is_due {
            let status = if is_hopeless { Status::Config } else { Status::NoQuorum };
            self.complete(op, Err(Failure { status, detail: None, nodes: self.connection_reports() }));
        }
    }

    fn connection_reports(&self) -> Vec<NodeReport> {
        let report = |(node, state): (usize, &Node)| NodeReport {
            node,
            outcome: if state.link == Link::Up { Outcome::Done } else { Outcome::Failed(state.why_down()) },
            elapsed_ns: 0,
        };
        self.nodes.iter().enumerate().map(report).collect()
    }
}
