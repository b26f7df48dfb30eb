//! What the documents promise: every name, the numbers in the tables, the program and the rights of the README.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Cluster, Node, Reply, server_version};
use redlock::engine::{self, LockRequest, Options, Redlock};

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every `redlock_…(` of the header's declarations.
fn functions() -> BTreeSet<String> {
    let header = document("include/redlock.h");
    let declarations = header.lines().filter(|line| !line.starts_with("//") && !line.starts_with([' ', '#']));
    let heads = declarations.filter_map(|line| line.split_once('(')).map(|(head, _)| head);
    heads.map(|head| head.rsplit([' ', '*']).next().unwrap_or_default().to_owned()).collect()
}

/// The fenced blocks of one language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    text.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// The row of a table that begins with this cell.
fn row<'a>(text: &'a str, cell: &str) -> &'a str {
    let begins = |line: &&str| line.split('|').nth(1).is_some_and(|first| first.contains(cell));
    text.lines().find(begins).unwrap_or_else(|| panic!("README.md has no row for {cell}"))
}

#[test]
fn the_changelog_names_every_function_and_no_other() {
    let changelog = document("CHANGELOG.md");
    let words = changelog.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named: BTreeSet<String> =
        words.filter(|word| word.starts_with("redlock_") && !word.ends_with("_t")).map(str::to_owned).collect();
    let functions = functions();
    assert!(functions.len() > 50, "declarations are found");
    let missing: Vec<_> = functions.difference(&named).collect();
    let unknown: Vec<_> = named.difference(&functions).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}, unknown {unknown:?}");
}

#[test]
fn the_readme_has_a_row_for_every_option_and_every_status() {
    let readme = document("README.md");
    for option in functions().iter().filter_map(|name| name.strip_prefix("redlock_options_set_")) {
        if !option.ends_with("_bytes") {
            row(&readme, &format!("`{option}`"));
        }
    }
    for define in document("include/redlock.h").lines().filter_map(|line| line.strip_prefix("#define REDLOCK_")) {
        if let Some((name, number)) = define.split_once(' ')
            && (name == "OK" || name.starts_with("E_"))
        {
            let number = number.trim_matches(['(', ')']).replace('-', "−");
            assert_eq!(row(&readme, &format!("`{name}`")).split('|').nth(2).map(str::trim), Some(&*number), "{name}");
        }
    }
}

#[test]
fn the_readme_gives_the_defaults_and_ranges_of_the_sources() {
    let readme = document("README.md");
    let of = |range: RangeInclusive<u64>| format!("{} … {}", grouped(*range.start()), grouped(*range.end()));
    let defaults = Options::default();
    for (option, default, range) in [
        ("node_timeout_ms", defaults.node_timeout_ms, engine::NODE_TIMEOUT_MS_RANGE),
        ("stall_timeout_ms", defaults.stall_timeout_ms, engine::STALL_TIMEOUT_MS_RANGE),
        ("connect_timeout_ms", defaults.connect_timeout_ms, engine::CONNECT_TIMEOUT_MS_RANGE),
        ("retry_delay_ms", defaults.retry_delay_ms, engine::RETRY_DELAY_MS_RANGE),
        ("retry_jitter_ms", defaults.retry_jitter_ms, engine::RETRY_JITTER_MS_RANGE),
        ("drift_ppm", defaults.drift_ppm, engine::DRIFT_PPM_RANGE),
        ("spin_us", u64::from(defaults.spin_us), engine::SPIN_US_RANGE),
    ] {
        let cells: Vec<&str> = row(&readme, &format!("`{option}`")).split('|').map(str::trim).collect();
        assert_eq!(cells[2].replace(' ', ""), default.to_string(), "default of {option}");
        assert!(cells[3].starts_with(&of(range)), "range of {option}: {}", cells[3]);
    }
    assert!(row(&readme, "`max_ttl_ms`").contains(&of(engine::MAX_TTL_MS_RANGE)));
    assert!(readme.contains(&format!("a ttl of {} ms", of(engine::TTL_MS_RANGE))));
    assert!(readme.contains(&format!("1 … {} bytes", engine::TOKEN_BYTES_MAX)));
}

/// 600000 as `600 000`, 2000 as `2000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digits.len() > 4 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[test]
fn the_readme_program_is_the_headers_and_compiles_without_a_warning() {
    let program = blocks(&document("README.md"), "c").remove(0);
    let header = document("include/redlock.h");
    let lines = header.lines().skip_while(|line| !line.contains("redlock_t *rl = NULL"));
    let is_sample = |line: &&str| *line == "//" || line.starts_with("//     ");
    let from_header: Vec<&str> = lines.take_while(is_sample).map(|line| line[2..].trim()).collect();
    let in_readme: Vec<&str> = program.lines().map(str::trim).collect();
    let from_header = from_header.join("\n");
    assert!(from_header.contains("redlock_free"), "{from_header}");
    assert!(in_readme.join("\n").contains(from_header.trim()), "{from_header}");

    let directory = crate::support::TempDir::new();
    let source = directory.path().join("order.c");
    std::fs::write(&source, program).expect("a writable directory");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"]);
    compiler.arg("-I").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("include")).arg(&source);
    assert!(compiler.status().expect("cc is there").success());
}

/// One of the README's `ACL SETUSER` lines, carried out, and a handle of that user on these nodes.
fn handle_with_rights(cluster: &Cluster, line: &str) -> Redlock {
    let words: Vec<&str> = line.split_whitespace().collect();
    for node in cluster.iter() {
        assert_eq!(node.cli(&words), "OK", "{line}");
        assert_eq!(node.cli(&["ACL", "LOG", "RESET"]), "OK");
    }
    let with_user = |url: String| url.replacen("redis://", "redis://locker:s3cret@", 1);
    let urls: Vec<String> = cluster.urls().into_iter().map(with_user).collect();
    let options = Options {
        client_name: Some("orders".to_owned()),
        node_timeout_ms: 2_000,
        connect_timeout_ms: 5_000,
        ..Options::default()
    };
    Redlock::new(&urls, &options).expect("a handle")
}

fn request(resource: &str) -> LockRequest {
    LockRequest { resource: resource.into(), ttl_ms: 10_000, report_remaining: true, ..LockRequest::default() }
}

/// What ACL LOG says was refused.
fn refusals(node: &Node) -> Vec<String> {
    let Reply::Array(entries) = node.query(&[b"ACL", b"LOG"]) else { panic!("ACL LOG is a list") };
    let object = |entry| {
        let Reply::Array(fields) = entry else { panic!("its entries are lists") };
        let words: Vec<Vec<u8>> = fields
            .into_iter()
            .map(|field| match field {
                Reply::Bulk(word) => word,
                _ => Vec::new(),
            })
            .collect();
        let at = words.iter().position(|word| word == b"object").expect("an entry has an object");
        String::from_utf8_lossy(&words[at + 1]).into_owned()
    };
    entries.into_iter().map(object).collect()
}

#[test]
fn the_readme_rights_are_enough_for_everything_and_none_is_refused() {
    let version = server_version();
    let recipes = blocks(&document("README.md"), "acl");
    let has_setinfo = version.is_valkey || (version.major, version.minor) >= (7, 2);
    let mut line = recipes[usize::from(has_setinfo)].trim().to_owned();
    let cluster = Cluster::start(3);
    for command in ["delifeq", "delex"] {
        if cluster[0].has_command(command) {
            line.push_str(&format!(" +{command}"));
        }
    }
    let redlock = handle_with_rights(&cluster, &line);
    let lease = redlock.lock(&request("locks:1")).expect("the right to lock");
    let held = redlock.lock(&request("locks:1")).expect_err("it is taken");
    assert!(held.message.contains("left"), "{held}");
    lease.extend(20_000).expect("the right to extend");
    assert!(redlock.inspect(b"locks:1").expect("the right to inspect").holder.is_some());
    lease.unlock().expect("the right to unlock");
    for node in cluster.iter() {
        // Redis 6.2 looks at rights before it finds that it has no CLIENT SETINFO.
        let refused: Vec<String> = refusals(node).into_iter().filter(|object| object != "client").collect();
        assert!(refused.is_empty(), "{refused:?}");
    }
}

#[test]
fn the_readme_least_rights_lock_and_unlock_and_what_is_missing_is_named() {
    let cluster = Cluster::start(1);
    let least = blocks(&document("README.md"), "acl").remove(2);
    let redlock = handle_with_rights(&cluster, least.trim());
    let lease = redlock.lock(&request("locks:1")).expect("the right to lock");
    assert_eq!(lease.extend(20_000).expect_err("no right").status, redlock::core::report::Status::Config);
    lease.unlock().expect("the right to unlock");
    assert_eq!(cluster.holding("locks:1"), 0);
    let elsewhere = redlock.lock(&request("other")).expect_err("another prefix");
    assert!(elsewhere.message.contains("NOPERM needs access to the key"), "{elsewhere}");

    assert_eq!(cluster[0].cli(&["ACL", "SETUSER", "locker", "-set"]), "OK");
    let begun = Instant::now();
    let refused = redlock.lock(&LockRequest { wait_ms: 5_000, ..request("locks:1") }).expect_err("no right");
    assert!(refused.message.contains("node 1: NOPERM needs +set"), "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(2), "it ends any wait");
}
