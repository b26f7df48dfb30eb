//! One question put to all nodes, and what each of them has answered so far.

use std::hash::{Hash, Hasher};

use crate::core::report::{Failure, NodeReport, Outcome, Status};
use crate::core::request::{Fault, FaultKind, MAX_NODES, NodeId};
use crate::core::time::Now;

/// What a node has said to a question.
#[derive(Debug, Clone, Default, Hash)]
pub enum Answer {
    /// It was not asked.
    #[default]
    Unasked,
    /// Nothing yet.
    Awaited,
    /// Done as asked.
    Done,
    /// Definitely not.
    Not,
    /// It did what was asked, but does not count yet (restart guard): the reason.
    Guarded(Box<str>),
    /// It will not tell.
    Failed(Box<Fault>),
}

/// The answers of all nodes to one question.
#[derive(Debug, Clone, Default)]
pub struct Round {
    asked: Now,
    answers: [Answer; MAX_NODES],
    elapsed_us: [u32; MAX_NODES],
}

/// How long the answers took is for reports only.
impl Hash for Round {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Round { asked, answers, elapsed_us: _ } = self;
        (asked, answers).hash(state);
    }
}

/// How many nodes answered what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Done as asked.
    pub done: usize,
    /// Definitely not.
    pub not: usize,
    /// No answer that counts.
    pub failed: usize,
    /// Of these, the ones only a person can cure.
    pub permanent: usize,
    /// No answer yet.
    pub awaited: usize,
}

impl Round {
    /// A round that begins now.
    #[must_use]
    pub fn new(asked: Now) -> Round {
        Round { asked, ..Round::default() }
    }

    /// The node has been asked.
    pub fn await_answer(&mut self, node: NodeId) {
        self.answers[node] = Answer::Awaited;
    }

    /// The node has answered.
    pub fn answer(&mut self, node: NodeId, answer: Answer, now: Now) {
        self.answers[node] = answer;
        let elapsed_us = now.mono_ns.saturating_sub(self.asked.mono_ns) / 1_000;
        self.elapsed_us[node] = u32::try_from(elapsed_us).unwrap_or(u32::MAX);
    }

    /// What the node has answered is to be understood otherwise.
    pub fn revise(&mut self, node: NodeId, answer: Answer) {
        self.answers[node] = answer;
    }

    /// What the node has answered.
    #[must_use]
    pub fn of(&self, node: NodeId) -> &Answer {
        &self.answers[node]
    }

    /// When the question was put.
    #[must_use]
    pub fn asked(&self) -> Now {
        self.asked
    }

    /// Counts the answers.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for answer in &self.answers {
            match answer {
                Answer::Unasked => {}
                Answer::Awaited => tally.awaited += 1,
                Answer::Done => tally.done += 1,
                Answer::Not => tally.not += 1,
                Answer::Guarded(_) => tally.failed += 1,
                Answer::Failed(fault) => {
                    tally.failed += 1;
                    tally.permanent += usize::from(fault.kind == FaultKind::Permanent);
                }
            }
        }
        tally
    }

    /// The reports of all nodes, `not` saying what a definite no means for this question.
    #[must_use]
    pub fn reports(&self, node_count: usize, not: impl Fn(NodeId) -> Outcome) -> Vec<NodeReport> {
        (0..node_count)
            .map(|node| NodeReport {
                node,
                outcome: match &self.answers[node] {
                    Answer::Unasked | Answer::Awaited => Outcome::NotAwaited,
                    Answer::Done => Outcome::Done,
                    Answer::Not => not(node),
                    Answer::Guarded(why) => Outcome::Guarded(why.clone()),
                    Answer::Failed(fault) => Outcome::Failed((**fault).clone()),
                },
                elapsed_ns: u64::from(self.elapsed_us[node]) * 1_000,
            })
            .collect()
    }

    /// The failure of a question that can no longer find its quorum. Too many failed nodes are told as such
    /// ([`Status::Config`] when only a person can cure them); otherwise it is `otherwise`.
    #[must_use]
    pub fn failure(
        &self,
        node_count: usize,
        quorum: usize,
        otherwise: Status,
        not: impl Fn(NodeId) -> Outcome,
    ) -> Failure {
        let status = self.tally().failure_status(node_count, quorum).unwrap_or(otherwise);
        Failure { status, detail: None, nodes: self.reports(node_count, not) }
    }
}

impl Tally {
    /// Whether so many nodes failed that no quorum could have been found, and whether waiting may help.
    #[must_use]
    pub fn failure_status(self, node_count: usize, quorum: usize) -> Option<Status> {
        let spare = node_count - quorum;
        if self.permanent > spare {
            Some(Status::Config)
        } else if self.failed > spare {
            Some(Status::NoQuorum)
        } else {
            None
        }
    }
}
