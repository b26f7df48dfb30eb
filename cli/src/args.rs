//! What can be asked of the command. The texts are its help, its manual page and its completions.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::duration::Milliseconds;

/// Runs jobs under a distributed lock over N independent Redis masters (Redlock).
#[derive(Debug, Parser)]
#[command(name = "redlock", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_long_help = EXIT_STATUS)]
pub struct Arguments {
    #[command(flatten)]
    pub connection: Connection,
    #[command(subcommand)]
    pub command: Command,
}

/// Which nodes, and how to speak to them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Nodes")]
pub struct Connection {
    /// URL of a node: redis://host:port, rediss:// for TLS, unix:///path; once per node, in the same list for all
    /// clients. Environment: REDLOCK_SERVERS, separated by spaces or commas
    #[arg(short = 'S', long = "server", value_name = "URL", global = true)]
    pub servers: Vec<String>,
    /// Configuration file in TOML [default: ~/.config/redlock.toml, then /etc/redlock.toml]
    #[arg(long, value_name = "FILE", env = "REDLOCK_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Stands before each name in the keys on the nodes
    #[arg(short = 'k', long, value_name = "TEXT", global = true)]
    pub prefix: Option<String>,
    /// User for nodes whose URL names none
    #[arg(long, value_name = "NAME", global = true)]
    pub user: Option<String>,
    /// File with the password for nodes whose URL has none. Environment: REDLOCK_PASSWORD
    #[arg(long, value_name = "FILE", global = true)]
    pub password_file: Option<PathBuf>,
    /// CA certificates used to verify nodes, PEM [default: the system's]
    #[arg(long, value_name = "FILE", global = true)]
    pub tls_ca: Option<PathBuf>,
    /// Client certificate, PEM
    #[arg(long, value_name = "FILE", global = true)]
    pub tls_cert: Option<PathBuf>,
    /// Key of the client certificate, PEM
    #[arg(long, value_name = "FILE", global = true)]
    pub tls_key: Option<PathBuf>,
    /// Do not verify certificates: permits impersonation of the nodes
    #[arg(long, global = true)]
    pub tls_insecure: bool,
    /// A node that has not answered after this long is not waited for [default: 100ms]
    #[arg(long, value_name = "TIME", global = true)]
    pub node_timeout: Option<Milliseconds>,
    /// Longest TTL that any client of these nodes uses
    #[arg(long, value_name = "TIME", global = true)]
    pub max_ttl: Option<Milliseconds>,
    /// When a restarted node may vote again [default: seen]
    #[arg(long, value_name = "MODE", global = true)]
    pub restart_guard: Option<Guard>,
    /// Print results as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// See `--restart-guard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Guard {
    /// A restarted node votes at once
    Off,
    /// A node that restarts while this process knows it does not vote for max-ttl
    Seen,
    /// A node votes only when it has certainly been running for max-ttl
    Strict,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a command while holding a lock
    Run(Run),
    /// Take a lock and print its token; the lock stays until its TTL ends or it is unlocked
    Lock(Lock),
    /// Release a lock by its token
    Unlock(Unlock),
    /// Make a lock last longer, by its token
    Extend(Extend),
    /// Show who holds a lock, on which nodes and for how long; exit status 1 if nobody does
    Status(Status),
    /// Wait until nobody holds a lock, without taking it
    Wait(Wait),
    /// Name each misconfiguration that voids the guarantee, and what to type to cure it
    ///
    /// Exit status 0: no more than notes, 1: warnings, 78: errors.
    Doctor(Doctor),
    /// Show nodes, latencies, keys that clients wait for or guard (WATCHED), and locks, again and again
    Top(Top),
    /// Measure lock and unlock, and each node's round trip
    Bench(Bench),
    /// Print completions for a shell
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: Shell,
    },
    /// Print the manual page, in roff
    #[command(hide = true)]
    Manual,
    /// Print the version
    Version(Version),
    /// Become the job: die with the parent, then execute
    #[command(name = "__exec", hide = true)]
    Exec(Exec),
}

/// `redlock run`.
#[derive(Debug, Args)]
pub struct Run {
    /// How long the lock outlives this machine; it is extended while the command runs [default: 30s]
    #[arg(short, long, value_name = "TIME")]
    pub ttl: Option<Milliseconds>,
    /// How long to wait for another holder [default: without limit]
    #[arg(short, long, value_name = "TIME", conflicts_with = "nonblock")]
    pub wait: Option<Milliseconds>,
    /// Do not wait: fail at once if the lock is held
    #[arg(short, long)]
    pub nonblock: bool,
    /// Exit status if the lock is held by another [default: 1]
    #[arg(short = 'E', long, value_name = "CODE")]
    pub conflict_exit_code: Option<u8>,
    /// What happens to the command when the lock is lost
    #[arg(long, value_name = "ACTION", default_value = "term")]
    pub on_lost: OnLost,
    /// Time between SIGTERM and SIGKILL; SIGTERM is sent this long before the lock ends [default: 5s, at most a third
    /// of the TTL]
    #[arg(long, value_name = "TIME")]
    pub grace: Option<Milliseconds>,
    /// End the command when it has held the lock for this long
    #[arg(long, value_name = "TIME")]
    pub max_hold: Option<Milliseconds>,
    /// Take a fencing token; the command finds it in REDLOCK_FENCE
    #[arg(long)]
    pub fence: bool,
    /// Prometheus metrics: a file that is replaced every few seconds, or an address to serve them on, such as
    /// 127.0.0.1:9187
    #[arg(long, value_name = "FILE|ADDRESS")]
    pub metrics: Option<String>,
    /// Name of the lock
    pub name: String,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub job: Vec<OsString>,
}

/// What becomes of a job whose lock is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnLost {
    /// SIGTERM, then SIGKILL
    Term,
    /// SIGKILL
    Kill,
    /// Nothing but a message
    Ignore,
}

/// `redlock lock`.
#[derive(Debug, Args)]
pub struct Lock {
    /// How long the lock lasts [default: 30s]
    #[arg(short, long, value_name = "TIME")]
    pub ttl: Option<Milliseconds>,
    /// How long to wait for another holder [default: one attempt]
    #[arg(short, long, value_name = "TIME")]
    pub wait: Option<Milliseconds>,
    /// Exit status if the lock is held by another [default: 1]
    #[arg(short = 'E', long, value_name = "CODE")]
    pub conflict_exit_code: Option<u8>,
    /// Take a fencing token
    #[arg(long)]
    pub fence: bool,
    /// Name of the lock
    pub name: String,
}

/// `redlock unlock`.
#[derive(Debug, Args)]
pub struct Unlock {
    /// Name of the lock
    pub name: String,
    /// The token that `redlock lock` printed
    pub token: String,
}

/// `redlock extend`.
#[derive(Debug, Args)]
pub struct Extend {
    /// How long the lock lasts from now on; it is never shortened [default: 30s]
    #[arg(short, long, value_name = "TIME")]
    pub ttl: Option<Milliseconds>,
    /// Name of the lock
    pub name: String,
    /// The token that `redlock lock` printed
    pub token: String,
}

/// `redlock status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Name of the lock
    pub name: String,
}

/// `redlock wait`.
#[derive(Debug, Args)]
pub struct Wait {
    /// How long to wait [default: without limit]
    #[arg(short, long, value_name = "TIME")]
    pub wait: Option<Milliseconds>,
    /// Name of the lock
    pub name: String,
}

/// `redlock doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The TTL that the clients use, to compare with the round trip [default: 30s]
    #[arg(short, long, value_name = "TIME")]
    pub ttl: Option<Milliseconds>,
}

/// `redlock top`.
#[derive(Debug, Args)]
pub struct Top {
    /// Time between two looks
    #[arg(short, long, value_name = "TIME", default_value = "1s")]
    pub interval: Milliseconds,
    /// Look so many times, then end [default: until interrupted]
    #[arg(short = 'c', long, value_name = "NUMBER")]
    pub count: Option<u64>,
}

/// `redlock bench`.
#[derive(Debug, Args)]
pub struct Bench {
    /// How long to measure
    #[arg(short, long, value_name = "TIME", default_value = "3s")]
    pub duration: Milliseconds,
    /// How many threads lock and unlock, each a name of its own
    #[arg(short = 'j', long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: u16,
}

/// `redlock version`.
#[derive(Debug, Args)]
pub struct Version {}

/// `redlock __exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// The process that must still be our parent
    #[arg(long)]
    pub parent: i32,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub job: Vec<OsString>,
}

const EXIT_STATUS: &str = "\
Exit status:
  redlock run passes on that of the command, 128 + N if signal N ended it. Otherwise:
    0   done
    1   the lock is held by another (-E changes it); status: nobody holds it; doctor: warnings
   64   wrong usage
   69   too few nodes answered to form a quorum
   70   a bug in redlock
   71   the system refused a process, a descriptor or a file
   74   the output could not be written
   75   it is not known whether the request was applied
   76   the lock was lost, or is not this token's
   78   configuration: URLs, credentials, permissions, certificates; doctor: errors
  126   the command cannot be executed
  127   the command was not found
  128+N signal N ended the wait";
