//! The job: its process group, its signals, its end.
//!
//! The job is started through this very program (`__exec`), which asks the kernel to kill it when its parent dies, and
//! then becomes it: between fork and exec, safe code cannot do that.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, killpg, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, getppid, tcsetpgrp};

use crate::args;
use crate::exit::{self, Failure, Outcome};

/// How the job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It was stopped, by Ctrl-Z or another's SIGSTOP.
    Stopped,
    /// It has ended, and this is the exit status to pass on.
    Ended(u8),
}

/// A running job, in a process group of its own.
pub struct Child {
    pid: Pid,
    has_terminal: bool,
    state: State,
}

impl Child {
    /// Starts the job with this in its environment. On a terminal it becomes the foreground job, so that Ctrl-C and
    /// Ctrl-Z are its.
    pub fn start(job: &[OsString], environment: &[(&str, String)]) -> Result<Child, Failure> {
        let has_terminal = io::stdin().is_terminal();
        let itself = std::env::current_exe().map_err(|error| Failure::system("cannot find this program", error))?;
        let mut command = Command::new(itself);
        command.arg("__exec").arg(format!("--parent={}", getpid())).arg("--").args(job);
        command.envs(environment.iter().map(|(name, value)| (name, value))).process_group(0);
        let spawned = command.spawn().map_err(|error| Failure::system("cannot start the command", error))?;
        let pid = Pid::from_raw(spawned.id().cast_signed());
        let child = Child { pid, has_terminal, state: State::Running };
        child.give_terminal(pid);
        Ok(child)
    }

    /// Sends a signal to the job and everything it has started in its group. One that has ended is no error.
    pub fn signal(&self, signal: Signal) {
        let _ = killpg(self.pid, signal);
    }

    /// What has become of the job, and of orphans that were left to us as a container's first process.
    pub fn reap(&mut self) -> State {
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED | WaitPidFlag::WCONTINUED;
        loop {
            match waitpid(None, Some(flags)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.pid => {
                    self.state = State::Ended(u8::try_from(code & 0xff).unwrap_or(u8::MAX));
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.pid => {
                    self.state = State::Ended(exit::SIGNALLED + u8::try_from(signal as i32).unwrap_or(0));
                }
                Ok(WaitStatus::Stopped(pid, _)) if pid == self.pid => self.state = State::Stopped,
                Ok(WaitStatus::Continued(pid)) if pid == self.pid => self.state = State::Running,
                Ok(WaitStatus::StillAlive) | Err(_) => break,
                Ok(_) => {}
            }
        }
        if matches!(self.state, State::Ended(_)) {
            self.give_terminal(nix::unistd::getpgrp());
        }
        self.state
    }

    /// The shell's user stopped the job: stops this process too, and continues the job when the shell continues us.
    /// While stopped nothing is extended, so the lock may be over then.
    pub fn stop_along(&mut self) {
        self.give_terminal(nix::unistd::getpgrp());
        let _ = raise(Signal::SIGSTOP);
        self.give_terminal(self.pid);
        self.state = State::Running;
        self.signal(Signal::SIGCONT);
    }

    /// Whether a user at a terminal can stop the job.
    pub fn has_terminal(&self) -> bool {
        self.has_terminal
    }

    fn give_terminal(&self, group: Pid) {
        if self.has_terminal {
            // In the background we would be stopped for asking.
            let blocked: SigSet = std::iter::once(Signal::SIGTTOU).collect();
            if blocked.thread_block().is_ok() {
                let _ = tcsetpgrp(io::stdin(), group);
                let _ = blocked.thread_unblock();
            }
        }
    }
}

/// `redlock __exec`: dies with the parent, has no signal blocked, and becomes the job.
pub fn become_the_job(exec: args::Exec) -> Outcome {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|error| Failure::system("cannot die with the parent", error))?;
    if getppid() != Pid::from_raw(exec.parent) {
        // It died before we could ask.
        return Ok(ExitCode::from(exit::SIGNALLED + 9));
    }
    SigSet::all().thread_unblock().map_err(|error| Failure::system("cannot unblock signals", error))?;
    let error = Command::new(&exec.job[0]).args(&exec.job[1..]).exec();
    let code = if error.kind() == io::ErrorKind::NotFound { exit::NOT_FOUND } else { exit::CANNOT_EXECUTE };
    Err(Failure::new(code, format!("{}: {error}", exec.job[0].to_string_lossy())))
}
