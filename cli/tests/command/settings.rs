//! Where nodes and passwords come from, and that passwords go nowhere.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Cluster, Node, TempDir, resource};
use crate::{bare, code, redlock, stderr};

#[test]
fn without_nodes_it_says_how_to_name_them() {
    let output = bare(&["status", "x"]).output().unwrap();
    assert_eq!(code(&output), 64);
    assert!(stderr(&output).contains("-S URL"), "{output:?}");
    for wrong in [
        &["run", "x"][..],
        &["run", "-t", "5 parsecs", "x", "true"],
        &["nonsense"],
        &["run", "-n", "-w", "1", "x", "y"],
    ] {
        assert_eq!(code(&bare(wrong).output().unwrap()), 64, "{wrong:?}");
    }
    let output =
        bare(&["-S", "redis://127.0.0.1:1", "run", "-t", "4s", "--grace", "3s", "x", "true"]).output().unwrap();
    assert_eq!(code(&output), 64);
    assert!(stderr(&output).contains("more than half of the TTL"), "{output:?}");
    let output = bare(&["-S", "gopher://x", "status", "x"]).output().unwrap();
    assert_eq!(code(&output), 78, "{output:?}");
}

#[test]
fn arguments_come_before_the_environment_and_that_before_the_file() {
    let (cluster, other, directory) = (Cluster::start(1), Cluster::start(1), TempDir::new());
    let name = resource("lock");
    let path = directory.path().join("redlock.toml");
    fs::write(&path, format!("servers = [\"{}\"]\nttl = \"7s\"\nprefix = \"conf:\"", cluster[0].url())).unwrap();
    let config = path.to_str().expect("UTF-8");
    assert_eq!(code(&bare(&["--config", config, "lock", &name]).output().unwrap()), 0);
    let left_ms = cluster[0].pttl_ms(&format!("conf:{name}"));
    assert!((1..=7_000).contains(&left_ms), "{left_ms}");
    let mut command = redlock(&other, &["--config", config, "-k", "arg:", "lock", &name]);
    assert_eq!(code(&command.output().unwrap()), 0);
    assert_eq!(other.holding(&format!("arg:{name}")), 1);
    let mut command = redlock(&other, &["--config", config, "-S", &cluster[0].url(), "-k", "", "lock", &name]);
    assert_eq!(code(&command.output().unwrap()), 0);
    assert_eq!(cluster.holding(&name), 1);
    for (text, said) in [("servers = 3", "line 1"), ("\nsevers = []", "severs"), ("password = \"s3cret", "line 1")] {
        fs::write(&path, text).unwrap();
        let output = bare(&["--config", config, "status", &name]).output().unwrap();
        assert_eq!(code(&output), 78, "{output:?}");
        assert!(stderr(&output).contains(said) && !stderr(&output).contains("s3cret"), "{output:?}");
    }
    let missing = bare(&["--config", "/nonexistent.toml", "status", "x"]).output().unwrap();
    assert_eq!(code(&missing), 78);
}

#[test]
fn a_password_is_taken_from_where_nobody_sees_it_and_is_shown_nowhere() {
    let directory = TempDir::new();
    let node = Node::start(&["--requirepass", "s3cret", "--appendonly", "yes", "--appendfsync", "always"]);
    let url = node.url();
    let url = url.replace(":s3cret@", "");
    let cluster = Cluster::from_nodes(vec![node]);
    let name = resource("lock");
    let path = directory.path().join("password");
    fs::write(&path, "s3cret\n").unwrap();
    let by_file = bare(&["-S", &url, "--password-file", path.to_str().unwrap(), "lock", &name]).output().unwrap();
    assert_eq!(code(&by_file), 0, "{by_file:?}");
    let by_environment = bare(&["-S", &url, "doctor"]).env("REDLOCK_PASSWORD", "s3cret").output().unwrap();
    assert_eq!(code(&by_environment), 1, "one node is worth a warning: {by_environment:?}");
    let wrong = bare(&["-S", &url, "doctor"]).env("REDLOCK_PASSWORD", "wr0ng").output().unwrap();
    assert_eq!(code(&wrong), 78, "{wrong:?}");
    let in_arguments = url.replace("redis://", "redis://:s3cret@");
    let warned = bare(&["-S", &in_arguments, "status", &name]).output().unwrap();
    assert!(stderr(&warned).contains("other users can read a password in -S"), "{warned:?}");
    let config = directory.path().join("open.toml");
    fs::write(&config, format!("servers = [\"{url}\"]\npassword = \"s3cret\"")).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let open = bare(&["--config", config.to_str().unwrap(), "status", &name]).output().unwrap();
    assert!(code(&open) == 0 && stderr(&open).contains("chmod 600"), "{open:?}");
    for output in [by_file, by_environment, wrong, warned, open] {
        let said = format!("{output:?}");
        assert!(!said.contains("s3cret") && !said.contains("wr0ng"), "{said}");
    }
    drop(cluster);
}
