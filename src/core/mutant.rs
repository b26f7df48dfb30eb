//! Protocol faults that the tests seed on purpose, to see that the simulator finds each of them.
//!
//! Without the feature `mutants` – that is, in every library that anybody links – [`is`] is the constant `false`, and
//! nothing of this remains.

/// One fault each, in the place where somebody might make the mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// One node fewer is called a quorum.
    QuorumMinusOne,
    /// Half of an even number of nodes is called a quorum.
    EvenQuorum,
    /// Validity runs from the answer instead of the request.
    ValidFromAnswer,
    /// Clocks are taken to run at the same rate.
    NoDrift,
    /// Expiry is taken to be exact to the nanosecond.
    NoGranularity,
    /// A lease is valid as long as its best node.
    ValidAsBestNode,
    /// All attempts of an operation use one token.
    ReusedToken,
    /// Silence counts as consent.
    TimeoutIsYes,
    /// Silence counts as refusal: nothing to clean up.
    TimeoutIsNo,
    /// A failed attempt leaves its keys.
    AttemptNotCleaned,
    /// A vote that comes after its attempt counts for the one that is open.
    OldVoteCounts,
    /// A release without an answer is forgotten with its connection.
    ReleaseForgotten,
    /// A release is owed for one ttl although a SET is unaccounted for.
    ReleaseVoidTooEarly,
    /// A SET that waited for the connection is sent although nobody wants it any more.
    SetSentTooLate,
    /// A failed extension gives the keys up.
    FailedExtensionReleases,
    /// An answer that comes after the end makes the lease valid again.
    ExtensionRevives,
    /// A late vote makes an expired lease valid again.
    VoteRevives,
    /// An extension counts nodes that no longer have the key.
    AbsentIsExtended,
    /// Keys are set again behind the release.
    SetAgainBehindRelease,
    /// A node that lost the key is still counted.
    LostNodeCounts,
    /// An absent key counts as deleted.
    AbsentIsReleased,
    /// An error counts as "held by another".
    ErrorIsHeld,
    /// The next caller in the queue is not woken.
    QueueSleeps,
    /// Waiting ignores its deadline.
    NoDeadline,
    /// Nothing but a push ends a wait.
    PushAlone,
    /// Whether a lock is free is always asked of the same node first.
    FirstNodeAlone,
    /// A key that has ended on one node and has changed on another are looked at apart.
    EndAndChangeApart,
    /// A server that hides who it is, or hid it before, is another.
    HiddenIsAnother,
    /// A change of a key means that it is free.
    ChangeIsFree,
    /// Releases that found a connection full are not sent when there is room.
    RoomNotUsed,
    /// A request that is late loses its place in the order of replies.
    LateLosesPlace,
    /// A restarted node votes at once.
    GuardOff,
    /// A restarted node votes after half the longest ttl.
    GuardHalf,
    /// The guard looks at the clock that may jump forward.
    GuardInLeaseTime,
    /// A server is as old as it says, although its predecessor was alive later.
    UptimeBelieved,
    /// The age that a server claims is believed although its clock is not the others'.
    ClockBelieved,
    /// What a node confirmed still counts after it has restarted.
    NothingRevoked,
    /// The same for attempts only.
    AttemptsNotRevoked,
    /// The same where the node is refused after its restart.
    RefusedNotRevoked,
    /// Whatever is wrong with a node, its vote counts.
    UnfitVotesCount,
    /// An extension counts guarded nodes.
    ExtensionIgnoresGuard,
    /// The fencing token is the lowest vote.
    LowestVoteIsToken,
    /// Nodes are not raised to the fencing token.
    NobodyRaised,
    /// A counter is believed however far ahead it is.
    EveryCounterCredible,
    /// An extension does not carry the counter along.
    ExtensionLeavesCounter,
    /// A token is used again where the server may still execute its earlier release.
    UnaccountedIgnored,
    /// What an earlier attempt owed is sent although a later one has the same token.
    ReleaseNotInherited,
}

/// All of them.
pub const ALL: [Mutant; 47] = [
    Mutant::QuorumMinusOne,
    Mutant::EvenQuorum,
    Mutant::ValidFromAnswer,
    Mutant::NoDrift,
    Mutant::NoGranularity,
    Mutant::ValidAsBestNode,
    Mutant::ReusedToken,
    Mutant::TimeoutIsYes,
    Mutant::TimeoutIsNo,
    Mutant::AttemptNotCleaned,
    Mutant::OldVoteCounts,
    Mutant::ReleaseForgotten,
    Mutant::ReleaseVoidTooEarly,
    Mutant::SetSentTooLate,
    Mutant::FailedExtensionReleases,
    Mutant::ExtensionRevives,
    Mutant::VoteRevives,
    Mutant::AbsentIsExtended,
    Mutant::SetAgainBehindRelease,
    Mutant::LostNodeCounts,
    Mutant::AbsentIsReleased,
    Mutant::ErrorIsHeld,
    Mutant::QueueSleeps,
    Mutant::NoDeadline,
    Mutant::PushAlone,
    Mutant::FirstNodeAlone,
    Mutant::EndAndChangeApart,
    Mutant::HiddenIsAnother,
    Mutant::ChangeIsFree,
    Mutant::RoomNotUsed,
    Mutant::LateLosesPlace,
    Mutant::GuardOff,
    Mutant::GuardHalf,
    Mutant::GuardInLeaseTime,
    Mutant::UptimeBelieved,
    Mutant::ClockBelieved,
    Mutant::NothingRevoked,
    Mutant::AttemptsNotRevoked,
    Mutant::RefusedNotRevoked,
    Mutant::UnfitVotesCount,
    Mutant::ExtensionIgnoresGuard,
    Mutant::LowestVoteIsToken,
    Mutant::NobodyRaised,
    Mutant::EveryCounterCredible,
    Mutant::ExtensionLeavesCounter,
    Mutant::UnaccountedIgnored,
    Mutant::ReleaseNotInherited,
];

#[cfg(feature = "mutants")]
mod switch {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Makes this thread's machines commit the fault.
    pub fn activate(mutant: Option<Mutant>) {
        ACTIVE.set(mutant);
    }

    /// Whether this thread's machines commit the fault.
    #[must_use]
    pub fn is(mutant: Mutant) -> bool {
        ACTIVE.get() == Some(mutant)
    }
}

#[cfg(feature = "mutants")]
pub use switch::{activate, is};

/// Never.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
#[must_use]
pub const fn is(_: Mutant) -> bool {
    false
}
