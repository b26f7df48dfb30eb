//! Questions that change nothing: who holds a lock, and for how long.

use super::{Context, Machine};
use crate::core::operation::{Completion, NodeView, OpKey};
use crate::core::report::{Failure, NodeReport, Outcome};
use crate::core::request::{Bytes, FaultKind, NodeId, Remaining, Reply, Request};
use crate::core::state::node::ReplyTo;
use crate::core::state::ops::{InspectOp, LockOp, Op, Phase};
use crate::core::state::round::{Answer, Round};

impl Machine {
    pub(super) fn submit_inspect(&mut self, cx: &mut Context<'_>, key: &Bytes) -> OpKey {
        let nodes = 0..self.nodes.len();
        let blank = |node| NodeView {
            report: NodeReport { node, outcome: Outcome::NotAwaited, elapsed_ns: 0 },
            token: None,
            remaining: None,
        };
        let views = nodes.clone().map(blank).collect();
        let op = self.ops.insert(Op::Inspect(InspectOp { views, round: Round::new(cx.now) }));
        for node in nodes {
            let answer = self.question(cx, node, key, op);
            if let Some(Op::Inspect(inspect)) = self.ops.get_mut(op) {
                inspect.round.answer(node, answer, cx.now);
            }
        }
        self.judge_inspection(op);
        op
    }

    /// A failed acquisition asks the nodes that said "held" what holds it there; a key of another type shows itself.
    pub(super) fn explain(&mut self, cx: &mut Context<'_>, op: OpKey) {
        let Some(Op::Lock(lock)) = self.ops.get(op) else { return };
        let key = lock.params.key.clone();
        let holders = (0..self.nodes.len()).filter(|&node| matches!(lock.last_votes.of(node), Answer::Not));
        let mut round = Round::new(cx.now);
        for node in holders.collect::<Vec<_>>() {
            let answer = self.question(cx, node, &key, op);
            round.answer(node, answer, cx.now);
        }
        if let Some(Op::Lock(lock)) = self.ops.get_mut(op) {
            lock.phase = Phase::Explain(Box::new(round));
        }
        self.judge_explanation(cx, op);
    }

    fn question(&mut self, cx: &mut Context<'_>, node: NodeId, key: &Bytes, op: OpKey) -> Answer {
        let refusal = self
            .ask(cx.now, node, Request::Holder { key: key.clone() }, ReplyTo::Question(op))
            .or_else(|| self.ask(cx.now, node, Request::Remaining { key: key.clone() }, ReplyTo::Question(op)));
        refusal.map_or(Answer::Awaited, |fault| Answer::Failed(fault.into()))
    }

    pub(super) fn on_question(&mut self, cx: &mut Context<'_>, from: NodeId, op: OpKey, reply: Reply) {
        match self.ops.get_mut(op) {
            Some(Op::Inspect(inspect)) => {
                inspect.note(cx, from, reply);
                self.judge_inspection(op);
            }
            Some(Op::Lock(lock)) if !matches!(lock.phase, Phase::Explain(_)) => self.on_watched(cx, from, op, &reply),
            Some(Op::Lock(lock)) => {
                lock.note_holder(cx, from, reply);
                self.judge_explanation(cx, op);
            }
            _ => {}
        }
    }

    fn judge_inspection(&mut self, op: OpKey) {
        let Some(Op::Inspect(inspect)) = self.ops.get_mut(op) else { return };
        let (node_count, tally) = (self.nodes.len(), inspect.round.tally());
        if tally.awaited > 0 {
            return;
        }
        let reports = inspect.round.reports(node_count, |_| Outcome::Done);
        let result = match tally.failure_status(node_count, self.quorum) {
            Some(status) => Err(Failure { status, detail: None, nodes: reports }),
            None => {
                let mut views = std::mem::take(&mut inspect.views);
                for (view, report) in views.iter_mut().zip(reports) {
                    view.report = report;
                }
                Ok(Completion::Inspected(views))
            }
        };
        self.complete(op, result);
    }

    fn judge_explanation(&mut self, cx: &mut Context<'_>, op: OpKey) {
        if let Some(Op::Lock(lock)) = self.ops.get(op)
            && let Phase::Explain(round) = &lock.phase
            && round.tally().awaited == 0
        {
            self.give_up(cx, op);
        }
    }
}

impl InspectOp {
    /// The remaining life is asked last: with it the node has finished.
    fn note(&mut self, cx: &Context<'_>, from: NodeId, reply: Reply) {
        let view = &mut self.views[from];
        match reply {
            Reply::Holder(token) => view.token = Some(token),
            Reply::Remaining(remaining) => {
                view.remaining = Some(remaining);
                if matches!(self.round.of(from), Answer::Awaited) {
                    self.round.answer(from, Answer::Done, cx.now);
                }
            }
            Reply::Refused(fault) | Reply::Unclear(fault) => {
                self.round.answer(from, Answer::Failed(fault.into()), cx.now);
            }
            Reply::Not | Reply::Done | Reply::Fenced { .. } => {}
        }
    }
}

impl LockOp {
    fn note_holder(&mut self, cx: &Context<'_>, from: NodeId, reply: Reply) {
        let Phase::Explain(round) = &mut self.phase else { return };
        match reply {
            Reply::Remaining(remaining) => {
                if let Remaining::Ms(left_ms) = remaining {
                    self.left_ms[from] = Some(left_ms);
                }
                round.answer(from, Answer::Done, cx.now);
            }
            Reply::Refused(fault) if fault.kind == FaultKind::Permanent && fault.text.starts_with("WRONGTYPE") => {
                self.last_votes.answer(from, Answer::Failed(fault.into()), cx.now);
            }
            Reply::Refused(_) | Reply::Unclear(_) => round.answer(from, Answer::Done, cx.now),
            Reply::Holder(_) | Reply::Not | Reply::Done | Reply::Fenced { .. } => {}
        }
    }
}
