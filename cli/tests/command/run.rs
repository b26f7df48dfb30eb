//! `redlock run`: jobs, their signals, and locks that are lost under them.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::{Cluster, TempDir, resource, wait_for};
use crate::{Running, SOON, code, redlock, stderr, stdout};

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

    let address = format!("127.0.0.1:{}", crate::support::spawn::free_port());
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
