//! `redlock run`: takes the lock, runs the job, and ends the job before the lock can end.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use redlock::engine::{Event, Lease, LeaseState, LockRequest};

use crate::args::{Connection, OnLost, Run};
use crate::child::{Child, State};
use crate::duration::Milliseconds;
use crate::exit::{self, Failure, Outcome};
use crate::metrics::Metrics;
use crate::session::{FORWARDED, Session, Wake};
use crate::settings::Settings;
use crate::status::describe_holder;

/// The default time between SIGTERM and SIGKILL; never more than a third of the TTL.
const GRACE: Milliseconds = Milliseconds(5_000);
/// A job that ignores SIGTERM is killed so long before its lock ends.
const KILL_MARGIN: Duration = Duration::from_millis(50);
/// Nodes that are slower than the quorum may take so long to confirm the release.
const CLOSE_MS: i64 = 1_000;
/// How often metrics are renewed.
const METRICS_INTERVAL: Duration = Duration::from_secs(2);

/// How far the end of a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    No,
    /// SIGTERM was sent; SIGKILL follows at this moment.
    Asked {
        kill_at: Instant,
    },
    Killed,
}

struct Job<'a> {
    session: Session,
    lease: Lease,
    child: Child,
    metrics: Option<Metrics>,
    options: &'a Run,
    grace: Duration,
    ending: Ending,
    is_lost: bool,
    is_quiet: bool,
}

pub fn run(connection: &Connection, options: Run) -> Outcome {
    let settings = Settings::gather(connection)?;
    let ttl = settings.ttl(options.ttl);
    let grace = options.grace.unwrap_or(GRACE.min(Milliseconds(ttl.0 / 3)));
    if grace.0 > ttl.0 / 2 {
        let reason = format!("--grace {grace} is more than half of the TTL, {ttl}: the job would be ended at once");
        return Err(Failure::new(exit::USAGE, reason));
    }
    let mut session = Session::new(settings.connect()?)?;
    let metrics = options.metrics.as_deref().map(|target| Metrics::start(target, &options.name)).transpose()?;
    let lease = acquire(&mut session, connection, &options, ttl)?;
    let mut environment = vec![
        ("REDLOCK_NAME", options.name.clone()),
        ("REDLOCK_TOKEN", String::from_utf8_lossy(lease.token()).into_owned()),
    ];
    if let Some(fence) = lease.fence() {
        environment.push(("REDLOCK_FENCE", fence.to_string()));
    }
    let child = match Child::start(&options.job, &environment) {
        Ok(child) => child,
        Err(failure) => {
            // What cannot be released ends with its TTL.
            let _ = lease.unlock();
            return Err(failure);
        }
    };
    let job = Job {
        session,
        lease,
        child,
        metrics,
        options: &options,
        grace: grace.duration(),
        ending: Ending::No,
        is_lost: false,
        is_quiet: connection.quiet,
    };
    job.see_through()
}

fn acquire(session: &mut Session, connection: &Connection, options: &Run, ttl: Milliseconds) -> Result<Lease, Failure> {
    let request = LockRequest {
        resource: options.name.clone().into_bytes(),
        ttl_ms: ttl.0,
        wait_ms: if options.nonblock { 0 } else { options.wait.map_or(-1, Milliseconds::signed) },
        auto_extend: true,
        max_hold_ms: options.max_hold.map(|time| time.0),
        fence: options.fence,
        ..LockRequest::default()
    };
    let tells = !connection.quiet && io::stderr().is_terminal();
    let mut has_told = false;
    let result = session.lock(request, |seen| {
        if tells {
            has_told = true;
            let _ = write!(io::stderr(), "\r\x1b[Kredlock: waiting for {}: {}", options.name, describe_holder(seen));
        }
    });
    if has_told {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    result.map_err(|failure| failure.with_conflict_code(options.conflict_exit_code))
}

impl Job<'_> {
    /// Until the job has ended; then releases the lock.
    fn see_through(mut self) -> Outcome {
        let code = loop {
            if let State::Ended(code) = self.child.reap() {
                break code;
            }
            self.watch_deadline();
            let due = self.next_moment();
            match self.session.next(Some(due))? {
                Wake::Event(Event::Lost { .. }) => self.lost(),
                Wake::Event(Event::Extended { result: Err(error), .. }) => self.say(&format!("not extended: {error}")),
                Wake::Event(_) | Wake::Time => {}
                Wake::Signal(Signal::SIGCHLD) => self.child_changed(),
                Wake::Signal(signal) if FORWARDED.contains(&signal) => self.child.signal(signal),
                Wake::Signal(_) => {}
            }
            self.publish(false);
        };
        self.publish(true);
        let released = self.lease.unlock();
        // The rest of the nodes may still have to confirm.
        let _ = self.session.redlock.close(false, CLOSE_MS);
        if self.is_lost {
            return Ok(ExitCode::from(if self.options.on_lost == OnLost::Ignore { code } else { exit::LOST }));
        }
        if let Err(error) = released {
            self.say(&error.to_string());
        }
        Ok(ExitCode::from(code))
    }

    /// Sends SIGTERM a grace before the lease can end, and SIGKILL right before it, while nothing extends it.
    fn watch_deadline(&mut self) {
        let now = Instant::now();
        if self.lease.state() != LeaseState::Held {
            self.lost();
        }
        let left = Duration::from_millis(self.lease.remaining_ms().try_into().unwrap_or(0));
        if self.ending == Ending::No && !self.is_lost && left <= self.grace && self.options.on_lost != OnLost::Ignore {
            self.say(&format!("the lock ends in {}", Milliseconds(left.as_millis().try_into().unwrap_or(0))));
            self.end(now + left.saturating_sub(KILL_MARGIN));
        }
        if let Ending::Asked { kill_at } = self.ending
            && kill_at <= now
        {
            self.child.signal(Signal::SIGKILL);
            self.ending = Ending::Killed;
        }
    }

    /// The lock is gone: others may hold it already.
    fn lost(&mut self) {
        if std::mem::replace(&mut self.is_lost, true) {
            return;
        }
        self.say(&format!("the lock {} is lost", self.options.name));
        match (self.options.on_lost, self.ending) {
            (OnLost::Ignore, _) => {}
            (OnLost::Term, Ending::No) => self.end(Instant::now() + self.grace),
            (OnLost::Term | OnLost::Kill, _) => {
                self.child.signal(Signal::SIGKILL);
                self.ending = Ending::Killed;
            }
        }
    }

    fn end(&mut self, kill_at: Instant) {
        if self.options.on_lost == OnLost::Kill {
            self.child.signal(Signal::SIGKILL);
            self.ending = Ending::Killed;
            return;
        }
        self.child.signal(Signal::SIGTERM);
        // A stopped job would not hear of it.
        self.child.signal(Signal::SIGCONT);
        self.ending = Ending::Asked { kill_at };
    }

    fn child_changed(&mut self) {
        if self.child.reap() == State::Stopped && self.child.has_terminal() && self.ending == Ending::No {
            self.child.stop_along();
        }
    }

    /// When something is due although nothing happens.
    fn next_moment(&self) -> Instant {
        let now = Instant::now();
        let left = Duration::from_millis(self.lease.remaining_ms().try_into().unwrap_or(0));
        let tick = match self.ending {
            Ending::Asked { kill_at } => kill_at.saturating_duration_since(now),
            Ending::No if !self.is_lost => left.saturating_sub(self.grace),
            Ending::No | Ending::Killed => METRICS_INTERVAL,
        };
        let tick = if self.metrics.is_some() { tick.min(METRICS_INTERVAL) } else { tick };
        now + tick.max(Duration::from_millis(1))
    }

    fn publish(&mut self, is_over: bool) {
        if let Some(metrics) = &mut self.metrics
            && let Err(failure) = metrics.publish(&self.session.redlock, (!is_over).then_some(&self.lease))
        {
            exit::tell(failure);
            self.metrics = None;
        }
    }

    fn say(&self, what: &str) {
        if !self.is_quiet {
            exit::tell(what);
        }
    }
}
