//! Child processes that cannot outlive the test run, and ports for them.

use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

type Job = (Command, Sender<io::Result<Child>>);

/// Starts the command from a thread that lives as long as the process: PR_SET_PDEATHSIG fires when the *thread* that
/// forked ends (prctl(2)), and a test's own thread ends before a server that several tests share.
pub fn spawn(mut command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, incoming) = channel::<Job>();
        thread::Builder::new()
            .name("spawner".into())
            .spawn(move || {
                for (mut command, answer) in incoming {
                    let _ = answer.send(command.spawn());
                }
            })
            .expect("a thread");
        jobs
    });
    let parent = std::process::id() as libc::pid_t;
    // SAFETY: between fork and exec only prctl, getppid and raise are called, all async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            // The parent may have died before prctl was in force.
            if libc::getppid() != parent {
                libc::raise(libc::SIGKILL);
            }
            Ok(())
        });
    }
    let (answer, result) = channel();
    spawner.send((command, answer)).expect("the spawner lives as long as the process");
    result.recv().expect("the spawner answers every job")
}

/// A port that was free a moment ago. It lies below the kernel's range for outgoing connections: inside that range
/// some other connection may take the port of a killed node, and a connection to it may even meet itself.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const LOWEST: u32 = 11_000;
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let above: u32 = range.split_whitespace().next().and_then(|low| low.parse().ok()).unwrap_or(32_768);
    let (lowest, above) = if above > LOWEST + 1000 { (LOWEST, above) } else { (20_000, 32_768) };
    // Processes that run side by side begin at different places.
    let begin = std::process::id().wrapping_mul(7919);
    for _ in 0..5000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = (lowest + begin.wrapping_add(step) % (above - lowest)) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {lowest} and {above}");
}
