//! `redlock run`: jobs, their signals, and locks that are lost under them.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::peer::Peer;
use crate::support::proxy::Proxy;
use crate::support::{Cluster, TempDir, resource, wait_for};
use crate::{Running, SOON, bare, code, redlock, stderr, stdout};

/// A job that writes "beat" again and again, and "term" when it is asked to end, which it ignores.
const DEAF: &str = "trap 'echo term >>\"$0\"' TERM; while :; do echo beat >>\"$0\"; sleep 0.02; done";
/// The same, but it ends when asked.
const OBEDIENT: &str = "trap 'echo term >>\"$0\"; exit 3' TERM; while :; do echo beat >>\"$0\"; sleep 0.02; done";

fn beats(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn is_held(cluster: &Cluster, name: &str) -> bool {
    cluster.holding(name) > cluster.len() / 2
}

#[test]
fn a_job_runs_under_the_lock_and_its_status_passes_through() {
    let cluster = Cluster::start(3);
    let name = resource("job");
    let script = "echo \"$REDLOCK_NAME $REDLOCK_TOKEN $REDLOCK_FENCE\"; sleep 1.5; exit 7";
    // Three times as long as the TTL: it is extended.
    let job = Running::start(redlock(&cluster, &["run", "--fence", "-t", "500ms", &name, "--", "sh", "-c", script]));
    assert!(wait_for(SOON, || is_held(&cluster, &name)));
    std::thread::sleep(Duration::from_millis(900));
    assert!(is_held(&cluster, &name), "it is extended");
    let output = job.finish();
    assert_eq!(code(&output), 7, "{output:?}");
    let words = stdout(&output);
    let words: Vec<&str> = words.split_whitespace().collect();
    assert_eq!((words[0], words[1].len()), (name.as_str(), 32));
    assert!(words[2].parse::<u64>().is_ok_and(|fence| fence > 0));
    assert_eq!(cluster.holding(&name), 0, "released");
}

#[test]
fn a_held_lock_fails_at_once_or_after_the_wait_with_the_status_that_was_chosen() {
    let cluster = Cluster::start(3);
    let name = resource("job");
    let holder = Running::start(redlock(&cluster, &["run", &name, "sleep", "30"]));
    assert!(wait_for(SOON, || is_held(&cluster, &name)));
    let at_once = redlock(&cluster, &["run", "-n", &name, "true"]).output().unwrap();
    assert_eq!(code(&at_once), 1);
    assert!(stderr(&at_once).contains("not acquired: held on nodes"), "{at_once:?}");
    let chosen = redlock(&cluster, &["run", "-w", "0.2", "-E", "9", &name, "true"]).output().unwrap();
    assert_eq!(code(&chosen), 9);
    holder.signal(libc::SIGTERM);
    assert_eq!(code(&holder.finish()), 128 + libc::SIGTERM, "the job got the signal");
    assert_eq!(cluster.holding(&name), 0, "released");
}

#[test]
fn a_waiter_runs_when_the_holder_ends() {
    let cluster = Cluster::start(3);
    let name = resource("job");
    let holder = Running::start(redlock(&cluster, &["run", &name, "sleep", "0.5"]));
    assert!(wait_for(SOON, || is_held(&cluster, &name)));
    let waiter = redlock(&cluster, &["run", "-w", "15", &name, "echo", "mine"]).output().unwrap();
    assert_eq!((code(&waiter), stdout(&waiter).as_str()), (0, "mine\n"));
    assert_eq!(code(&holder.finish()), 0);
}

#[test]
fn a_signal_ends_a_wait_and_leaves_no_key() {
    let cluster = Cluster::start(3);
    let name = resource("job");
    cluster.iter().for_each(|node| {
        node.query(&[b"SET", name.as_bytes(), b"another's"]);
    });
    let waiter = Running::start(redlock(&cluster, &["run", &name, "true"]));
    std::thread::sleep(Duration::from_millis(300));
    waiter.signal(libc::SIGINT);
    let output = waiter.finish();
    assert_eq!(code(&output), 130, "{output:?}");
    cluster.iter().for_each(|node| assert_eq!(node.get(&name).as_deref(), Some(&b"another's"[..])));
}

/// A partition: nothing can be extended any more. The job must have ended before its lease, however deaf it is.
#[test]
fn a_job_is_ended_before_its_lock_when_a_majority_falls_silent() {
    let (cluster, directory) = (Cluster::start(3), TempDir::new());
    for (script, last_word) in [(OBEDIENT, "term"), (DEAF, "beat")] {
        let name = resource("job");
        let path = directory.path().join(&name);
        let path = path.to_str().expect("UTF-8");
        let job =
            Running::start(redlock(&cluster, &["run", "-t", "3s", "--grace", "1s", &name, "sh", "-c", script, path]));
        assert!(wait_for(SOON, || beats(path).contains("beat")));
        let (begun, lives) = (Instant::now(), cluster[0].pttl_ms(&name).unsigned_abs());
        cluster.iter().take(2).for_each(crate::support::Node::stop);
        let output = job.finish();
        // The last extension may have been on its way: it adds one TTL at most.
        assert!(begun.elapsed() < Duration::from_millis(lives.max(3_000)), "{:?}", begun.elapsed());
        cluster.iter().take(2).for_each(crate::support::Node::cont);
        assert!(beats(path).contains("term"), "SIGTERM comes first");
        assert_eq!(beats(path).lines().last(), Some(last_word));
        assert!(stderr(&output).contains("the lock ends in"), "{output:?}");
        let quiet = beats(path);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(beats(path), quiet, "nothing of the job is left");
    }
}

#[test]
fn a_job_whose_keys_are_deleted_is_ended_at_once() {
    let cluster = Cluster::start(3);
    let name = resource("job");
    let job = Running::start(redlock(&cluster, &["run", "-t", "60s", &name, "sleep", "60"]));
    assert!(wait_for(SOON, || is_held(&cluster, &name)));
    std::thread::sleep(Duration::from_millis(200));
    cluster.iter().for_each(|node| {
        node.query(&[b"DEL", name.as_bytes()]);
    });
    let output = job.finish();
    assert_eq!(code(&output), 76, "{output:?}");
    assert!(stderr(&output).contains("is lost"), "{output:?}");
}

#[test]
fn a_lost_lock_is_only_told_where_the_job_is_to_go_on() {
    let cluster = Cluster::start(3);
    let name = resource("job");
    let arguments = ["run", "-t", "60s", "--on-lost", "ignore", &name, "sh", "-c", "sleep 1; exit 5"];
    let job = Running::start(redlock(&cluster, &arguments));
    assert!(wait_for(SOON, || is_held(&cluster, &name)));
    cluster.iter().for_each(|node| {
        node.query(&[b"DEL", name.as_bytes()]);
    });
    let output = job.finish();
    assert_eq!(code(&output), 5, "{output:?}");
    assert!(stderr(&output).contains("is lost"), "{output:?}");
}

#[test]
fn a_job_dies_with_its_parent() {
    let (cluster, directory) = (Cluster::start(3), TempDir::new());
    let path = directory.path().join("beats");
    let path = path.to_str().expect("UTF-8");
    let job = Running::start(redlock(&cluster, &["run", &resource("job"), "sh", "-c", DEAF, path]));
    assert!(wait_for(SOON, || beats(path).contains("beat")));
    job.signal(libc::SIGKILL);
    drop(job);
    let is_quiet = || {
        let before = beats(path);
        std::thread::sleep(Duration::from_millis(100));
        beats(path) == before
    };
    assert!(wait_for(SOON, is_quiet), "the job goes on");
}

#[test]
fn a_job_is_ended_when_its_guardian_was_stopped_for_longer_than_the_lock() {
    let (cluster, directory) = (Cluster::start(3), TempDir::new());
    let name = resource("job");
    let path = directory.path().join("beats");
    let path = path.to_str().expect("UTF-8");
    let job = Running::start(redlock(&cluster, &["run", "-t", "600ms", &name, "sh", "-c", DEAF, path]));
    // Stopped any earlier it would take the lock anew.
    assert!(wait_for(SOON, || beats(path).contains("beat")));
    job.signal(libc::SIGSTOP);
    assert!(wait_for(SOON, || cluster.holding(&name) == 0), "nobody extends it");
    job.signal(libc::SIGCONT);
    let output = job.finish();
    assert_eq!(code(&output), 76, "{output:?}");
}

#[test]
fn a_minority_of_dead_nodes_changes_nothing() {
    let cluster = Cluster::start(5);
    cluster.iter().take(2).for_each(crate::support::Node::kill);
    let output = redlock(&cluster, &["run", &resource("job"), "echo", "done"]).output().unwrap();
    assert_eq!((code(&output), stdout(&output).as_str()), (0, "done\n"), "{output:?}");
    cluster[2].kill();
    let output = redlock(&cluster, &["run", "-w", "0", &resource("job"), "echo", "done"]).output().unwrap();
    assert_eq!((code(&output), stdout(&output).as_str()), (69, ""), "{output:?}");
    assert!(stderr(&output).contains("no quorum"), "{output:?}");
}

#[test]
fn a_job_that_cannot_be_started_is_told_as_shells_do() {
    let cluster = Cluster::start(1);
    let name = resource("job");
    for (program, expected) in [("/nonexistent/program", 127), ("/etc/passwd", 126)] {
        let output = redlock(&cluster, &["run", &name, program]).output().unwrap();
        assert_eq!(code(&output), expected, "{output:?}");
        assert!(stderr(&output).contains(program), "{output:?}");
        assert_eq!(cluster.holding(&name), 0, "released");
    }
    let killed = redlock(&cluster, &["run", &name, "sh", "-c", "kill -9 $$"]).output().unwrap();
    assert_eq!(code(&killed), 137);
}

/// As a container's first process it gets orphans to bury, and signals have no default action.
#[test]
fn it_can_be_the_first_process_of_a_container() {
    let cluster = Cluster::start(1);
    let inner = redlock(&cluster, &["run", &resource("job"), "sh", "-c", "(sleep 0.1 &); sleep 0.3; exit 3"]);
    let mut outer = std::process::Command::new("unshare");
    outer.args(["--user", "--map-root-user", "--pid", "--fork"]).arg(inner.get_program()).args(inner.get_args());
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = outer.output().expect("util-linux is on every Linux");
    assert_eq!(code(&output), 3, "{output:?}");
}

#[test]
fn metrics_go_to_a_file_or_are_served() {
    use std::io::{Read as _, Write as _};
    let (cluster, directory) = (Cluster::start(3), TempDir::new());
    let name = resource("job");
    let path = directory.path().join("redlock.prom");
    let file = path.to_str().expect("UTF-8");
    let output = redlock(&cluster, &["run", "--metrics", file, &name, "true"]).output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    let text = fs::read_to_string(&path).expect("written");
    assert!(text.contains("redlock_acquired_total 1\n"), "{text}");
    assert_eq!(text.matches("redlock_node_up{node=\"redis://127.0.0.1:").count(), 3, "{text}");

    let address = format!("localhost:{}", crate::support::spawn::free_port());
    let job = Running::start(redlock(&cluster, &["run", "--metrics", &address, &name, "sleep", "30"]));
    let mut page = String::new();
    let is_served = || {
        let Ok(mut scraper) = std::net::TcpStream::connect(&address) else { return false };
        page.clear();
        let asked = scraper.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        asked.is_ok() && scraper.read_to_string(&mut page).is_ok() && page.contains("redlock_lease_held")
    };
    assert!(wait_for(SOON, is_served));
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(page.contains(&format!("redlock_lease_held{{name=\"{name}\"}} 1\n")), "{page}");
    job.signal(libc::SIGTERM);
    job.finish();
}

/// The SIGTERM of a container's runtime reaches the job, although the kernel gives a first process no default action.
#[test]
fn a_container_that_is_stopped_stops_its_job() {
    let (cluster, directory) = (Cluster::start(1), TempDir::new());
    let name = resource("job");
    let path = directory.path().join("beats");
    let path = path.to_str().expect("UTF-8");
    let inner = redlock(&cluster, &["run", &name, "sh", "-c", OBEDIENT, path]);
    let mut outer = std::process::Command::new("unshare");
    outer.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child"]);
    outer.arg(inner.get_program()).args(inner.get_args());
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let container = Running::start(outer);
    assert!(wait_for(SOON, || beats(path).contains("beat")));
    let first = children(container.0.id());
    assert_eq!(first.len(), 1, "{first:?}");
    signal(first[0], libc::SIGTERM);
    assert_eq!(code(&container.finish()), 3);
    assert_eq!(beats(path).lines().last(), Some("term"));
    assert_eq!(cluster.holding(&name), 0, "released");
}

fn children(parent: u32) -> Vec<i32> {
    let listed = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn signal(pid: i32, signal: libc::c_int) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::try_from(signal).unwrap())
        .expect("it runs");
}

/// Packets vanish in both directions, connections stay: neither side is told.
#[test]
fn a_partition_ends_the_job_and_a_short_one_does_not() {
    let (cluster, directory) = (Cluster::start(3), TempDir::new());
    let proxies: Vec<Proxy> = cluster.iter().map(|node| Proxy::to(node.port())).collect();
    let urls = proxies.iter().map(Proxy::url).collect::<Vec<_>>().join(" ");
    let name = resource("job");
    let path = directory.path().join(&name);
    let path = path.to_str().expect("UTF-8");
    let mut command = bare(&["run", "-t", "3s", "--grace", "1s", &name, "sh", "-c", DEAF, path]);
    command.env("REDLOCK_SERVERS", urls);
    let job = Running::start(command);
    assert!(wait_for(SOON, || beats(path).contains("beat")));
    let cut = || {
        proxies.iter().take(2).for_each(|proxy| {
            proxy.hold_to_server();
            proxy.hold_to_client();
        });
    };
    cut();
    std::thread::sleep(Duration::from_millis(400));
    proxies.iter().for_each(Proxy::release);
    std::thread::sleep(Duration::from_millis(3_000));
    assert!(is_held(&cluster, &name) && !beats(path).contains("term"), "a short partition is survived");
    let begun = Instant::now();
    cut();
    let output = job.finish();
    assert!(begun.elapsed() < Duration::from_millis(3_000), "the job outlived its lock: {:?}", begun.elapsed());
    assert!(beats(path).contains("term"), "SIGTERM comes first");
    assert!(stderr(&output).contains("the lock ends in"), "{output:?}");
    proxies.iter().for_each(Proxy::release);
}

#[test]
fn a_job_is_ended_before_its_lock_when_a_majority_is_killed() {
    let (cluster, directory) = (Cluster::start(3), TempDir::new());
    let name = resource("job");
    let path = directory.path().join(&name);
    let path = path.to_str().expect("UTF-8");
    let job =
        Running::start(redlock(&cluster, &["run", "-t", "3s", "--grace", "1s", &name, "sh", "-c", OBEDIENT, path]));
    assert!(wait_for(SOON, || beats(path).contains("beat")));
    cluster[0].kill();
    std::thread::sleep(Duration::from_millis(500));
    assert!(!beats(path).contains("term"), "a minority is of no consequence");
    let begun = Instant::now();
    cluster[1].kill();
    let output = job.finish();
    assert!(begun.elapsed() < Duration::from_millis(3_000), "{:?}", begun.elapsed());
    assert_eq!(beats(path).lines().last(), Some("term"), "{output:?}");
}

/// A job that is stopped keeps its lock; losing the lock ends it all the same.
#[test]
fn a_stopped_job_keeps_its_lock_and_is_ended_with_it() {
    let (cluster, directory) = (Cluster::start(3), TempDir::new());
    let name = resource("job");
    let path = directory.path().join(&name);
    let path = path.to_str().expect("UTF-8");
    let script = format!("echo $$ >\"$0.pid\"; {OBEDIENT}");
    let job = Running::start(redlock(&cluster, &["run", "-t", "600ms", &name, "sh", "-c", &script, path]));
    assert!(wait_for(SOON, || beats(path).contains("beat")));
    let pid: i32 = beats(&format!("{path}.pid")).trim().parse().expect("the job's own number");
    signal(pid, libc::SIGSTOP);
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(is_held(&cluster, &name), "its guardian extends it");
    cluster.iter().for_each(|node| {
        node.query(&[b"DEL", name.as_bytes()]);
    });
    let output = job.finish();
    assert_eq!(code(&output), 76, "{output:?}");
    assert_eq!(beats(path).lines().last(), Some("term"), "it is continued to hear of it");
}

#[test]
fn ctrl_c_ends_every_phase() {
    // Before anything is connected: nodes that take connections and say nothing.
    let silent: Vec<Peer> = (0..3).map(|_| Peer::silent()).collect();
    let urls = silent.iter().map(Peer::url).collect::<Vec<_>>().join(" ");
    let mut command = bare(&["run", "-w", "60", "x", "true"]);
    command.env("REDLOCK_SERVERS", urls);
    let connecting = Running::start(command);
    std::thread::sleep(Duration::from_millis(150));
    let begun = Instant::now();
    connecting.signal(libc::SIGINT);
    let output = connecting.finish();
    // Too late for the call, perhaps, that may have failed by itself.
    assert!([130, 69].contains(&code(&output)) && begun.elapsed() < Duration::from_secs(4), "{output:?}");

    // While the job runs it is the job's to say what happens.
    let (cluster, directory) = (Cluster::start(3), TempDir::new());
    for (script, expected) in [
        ("echo beat >\"$0\"; exec sleep 30", 130),
        ("trap 'exit 4' INT; while :; do echo beat >\"$0\"; sleep 0.02; done", 4),
    ] {
        let name = resource("job");
        let path = directory.path().join(&name);
        let path = path.to_str().expect("UTF-8");
        let job = Running::start(redlock(&cluster, &["run", &name, "sh", "-c", script, path]));
        assert!(wait_for(SOON, || beats(path).contains("beat")));
        job.signal(libc::SIGINT);
        assert_eq!(code(&job.finish()), expected);
        assert_eq!(cluster.holding(&name), 0, "released");
    }

    // While a lost job has its grace: Ctrl-C does not end the guardian before the job.
    let name = resource("job");
    let path = directory.path().join(&name);
    let path = path.to_str().expect("UTF-8");
    let arguments = ["run", "-t", "30s", "--grace", "1500ms", &name, "sh", "-c", DEAF, path];
    let job = Running::start(redlock(&cluster, &arguments));
    assert!(wait_for(SOON, || beats(path).contains("beat")));
    cluster.iter().for_each(|node| {
        node.query(&[b"DEL", name.as_bytes()]);
    });
    assert!(wait_for(SOON, || beats(path).contains("term")));
    job.signal(libc::SIGINT);
    let output = job.finish();
    assert_eq!(code(&output), 76, "{output:?}");
    let quiet = beats(path);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(beats(path), quiet, "nothing of the job is left");
}

/// Nothing that cannot be written costs the job its guardian, or the guardian its exit status.
#[test]
fn a_full_disk_is_the_jobs_to_report() {
    let (cluster, directory) = (Cluster::start(3), TempDir::new());
    let full = || std::process::Stdio::from(fs::File::options().write(true).open("/dev/full").expect("Linux has it"));
    let name = resource("job");
    let job = ["run", &name, "sh", "-c", "echo lost || exit 28"];
    let output = redlock(&cluster, &job).stdout(full()).output().unwrap();
    assert_eq!(code(&output), 28, "{output:?}");
    assert_eq!(cluster.holding(&name), 0, "released");

    // Messages of the guardian itself.
    let path = directory.path().join(&name);
    let path = path.to_str().expect("UTF-8");
    let mut command = redlock(&cluster, &["run", "-t", "60s", "--grace", "300ms", &name, "sh", "-c", DEAF, path]);
    let mut job = Running(command.stdout(full()).stderr(full()).spawn().expect("the command is built"));
    assert!(wait_for(SOON, || beats(path).contains("beat")));
    let second = redlock(&cluster, &["run", "-n", &name, "true"]).stderr(full()).output().unwrap();
    assert_eq!(code(&second), 1, "{second:?}");
    cluster.iter().for_each(|node| {
        node.query(&[b"DEL", name.as_bytes()]);
    });
    assert!(wait_for(SOON, || job.0.try_wait().expect("it is our child").is_some()));
    assert_eq!(job.0.wait().expect("it ended").code(), Some(76));
    assert!(beats(path).contains("term"), "SIGTERM and a grace, as ever");

    // Metrics that cannot be written are no reason to end a job.
    let output = redlock(&cluster, &["run", "--metrics", "/nonexistent/x.prom", &name, "sh", "-c", "exit 6"]);
    let output = { output }.output().unwrap();
    assert_eq!(code(&output), 6, "{output:?}");
    assert!(stderr(&output).contains("no further metrics"), "{output:?}");

    for command in [&["status", "x"][..], &["doctor"], &["--json", "doctor"], &["version"], &["top", "-c", "1"]] {
        let output = redlock(&cluster, command).stdout(full()).output().unwrap();
        assert_eq!(code(&output), 74, "{command:?}: {output:?}");
    }
}
