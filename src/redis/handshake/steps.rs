//! The commands of a handshake, and sets of them.

/// A command of the handshake, by which its reply is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Hello,
    Auth,
    Select,
    SetName,
    SetInfo,
    /// How many connections were closed; none, where that had happened before.
    Kill,
    Tracking,
    ClientInfo,
    InfoServer,
    InfoReplication,
    InfoMemory,
    Time,
    /// Where nothing else may be asked.
    Ping,
}

impl Step {
    /// Whether its answer tells which server process this is, makes the connection one that the server can close,
    /// closes the one before it, or asks to be woken.
    pub(super) fn is_identity(self) -> bool {
        matches!(self, Step::Kill | Step::Tracking | Step::ClientInfo | Step::InfoServer | Step::InfoReplication)
    }

    /// The command, for messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Step::Hello => "HELLO",
            Step::Auth => "AUTH",
            Step::Select => "SELECT",
            Step::SetName => "CLIENT SETNAME",
            Step::SetInfo => "CLIENT SETINFO",
            Step::Kill => "CLIENT KILL",
            Step::Tracking => "CLIENT TRACKING",
            Step::ClientInfo => "CLIENT INFO",
            Step::InfoServer | Step::InfoReplication | Step::InfoMemory => "INFO",
            Step::Time => "TIME",
            Step::Ping => "PING",
        }
    }

    /// The steps with the same command, which a peer without it does not know either. `None`: the connection is of no
    /// use without this step.
    pub(super) fn family(self) -> Option<Steps> {
        const CLIENT: [Step; 5] = [Step::SetName, Step::SetInfo, Step::Tracking, Step::ClientInfo, Step::Kill];
        match self {
            Step::Auth | Step::Select | Step::Ping => None,
            Step::Hello => Some(Steps::of(&[Step::Hello])),
            Step::Time => Some(Steps::of(&[Step::Time])),
            Step::InfoServer | Step::InfoReplication | Step::InfoMemory => {
                Some(Steps::of(&[Step::InfoServer, Step::InfoReplication, Step::InfoMemory]))
            }
            Step::SetName | Step::SetInfo | Step::Tracking | Step::ClientInfo | Step::Kill => Some(Steps::of(&CLIENT)),
        }
    }
}

/// Some of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Steps(u16);

impl Steps {
    fn of(steps: &[Step]) -> Steps {
        let mut set = Steps::default();
        steps.iter().for_each(|step| set.insert(*step));
        set
    }

    pub(super) fn insert(&mut self, step: Step) {
        self.0 |= 1 << step as u16;
    }

    pub(super) fn contains(self, step: Step) -> bool {
        self.0 & 1 << step as u16 != 0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those of either.
    #[must_use]
    pub fn or(self, other: Steps) -> Steps {
        Steps(self.0 | other.0)
    }

    /// Whether some are in both.
    #[must_use]
    pub fn meets(self, other: Steps) -> bool {
        self.0 & other.0 != 0
    }
}
