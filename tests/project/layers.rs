//! The table of modules in ARCHITECTURE.md, held against the sources: who may use whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module and the modules it may use.
const MODULES: [(&str, &[&str]); 5] = [
    ("core", &[]),
    ("redis", &["core"]),
    ("net", &["core"]),
    ("engine", &["core", "redis", "net"]),
    ("ffi", &["core", "engine"]),
];

/// The floors of `src/core`, the files beside them being the lowest; none uses a floor above it.
const FLOORS_OF_CORE: [(&str, &[&str]); 2] = [("core/state", &["core::machine"]), ("core/machine", &[])];

/// What would let the core see a clock, the network, another thread, the file system or chance.
const FORBIDDEN_IN_CORE: [&str; 12] = [
    "Instant",
    "SystemTime",
    "std::thread",
    "std::net",
    "std::os",
    "std::fs",
    "std::io",
    "std::env",
    "libc::",
    "rand::",
    "uuid::",
    "RandomState::new",
];

fn sources(module: &str) -> Vec<(PathBuf, String)> {
    fn walk(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(directory).expect("a directory of the sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(module), &mut found);
    assert!(!found.is_empty(), "src/{module} has no sources");
    found
}

/// The lines of a module in which, comments aside, `is_wrong` finds something, as `path:line: text`.
fn wrong_lines(module: &str, is_wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in sources(module) {
        for (number, line) in text.lines().enumerate() {
            if is_wrong(line.split("//").next().unwrap_or_default()) {
                wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    wrong
}

#[test]
fn every_module_uses_only_the_modules_below_it() {
    for (module, may_use) in MODULES {
        let others =
            MODULES.map(|(other, _)| other).into_iter().filter(|&other| other != module && !may_use.contains(&other));
        let paths: Vec<String> = others.map(|other| format!("crate::{other}")).collect();
        let wrong = wrong_lines(module, |code| paths.iter().any(|path| code.contains(path.as_str())));
        assert!(wrong.is_empty(), "{module} may use {may_use:?} only:\n{}", wrong.join("\n"));
    }
}

#[test]
fn the_core_has_three_floors_and_no_arrow_goes_up() {
    for (floor, above) in FLOORS_OF_CORE {
        let wrong = wrong_lines(floor, |code| above.iter().any(|path| code.contains(path)));
        assert!(wrong.is_empty(), "{floor} may not use {above:?}:\n{}", wrong.join("\n"));
    }
    let is_rule = |line: &String| !line.contains("/core/state/") && !line.contains("/core/machine/");
    let uses_a_floor =
        |code: &str| ["core::state", "core::machine", "super::state"].iter().any(|path| code.contains(path));
    let wrong: Vec<String> = wrong_lines("core", uses_a_floor).into_iter().filter(is_rule).collect();
    assert!(wrong.is_empty(), "rules use no floor above them:\n{}", wrong.join("\n"));
}

#[test]
fn the_core_sees_no_clock_no_socket_no_thread_and_no_chance() {
    let wrong = wrong_lines("core", |code| FORBIDDEN_IN_CORE.iter().any(|word| code.contains(word)));
    assert!(wrong.is_empty(), "the core is told time and randomness:\n{}", wrong.join("\n"));
}

/// `engine/lease.rs` is the module `["engine", "lease"]`.
fn module_of(path: &Path) -> Vec<String> {
    let inside =
        path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("a source").with_extension("");
    let mut names: Vec<String> = inside.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    names.pop_if(|last| last == "mod");
    names
}

/// The paths that begin with `crate` or `super` in a source, groups in braces taken apart.
fn paths_in(code: &str) -> Vec<String> {
    let is_of_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        if code[..at].ends_with(is_of_path) {
            continue;
        }
        let path: String = code[at..].chars().take_while(|&c| is_of_path(c)).collect();
        match code[at + path.len()..].strip_prefix('{').and_then(|group| group.split_once('}')) {
            Some((group, _)) => found.extend(group.split(',').map(|name| format!("{path}{}", name.trim()))),
            None => found.push(path),
        }
    }
    found
}

/// The module that a path leads to from `here`, or the one that has what it names.
fn target(here: &[String], path: &str, modules: &BTreeSet<Vec<String>>) -> Option<Vec<String>> {
    let mut at = here.to_vec();
    for name in path.split("::").filter(|name| !name.is_empty()) {
        match name {
            "crate" => at.clear(),
            "super" => {
                at.pop();
            }
            name => at.push(name.to_owned()),
        }
    }
    while !at.is_empty() && !modules.contains(&at) {
        at.pop();
    }
    (!at.is_empty() && at != here).then_some(at)
}

#[test]
fn no_modules_import_each_other_in_a_circle() {
    let is_test = |module: &[String]| module.iter().any(|name| name == "tests");
    let all: Vec<(Vec<String>, String)> = MODULES
        .iter()
        .flat_map(|(module, _)| sources(module))
        .map(|(path, text)| (module_of(&path), text))
        .filter(|(module, _)| !is_test(module))
        .collect();
    let modules: BTreeSet<Vec<String>> = all.iter().map(|(module, _)| module.clone()).collect();
    let mut uses: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for (module, text) in &all {
        let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code: String = shipped.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
        let used = paths_in(&code).into_iter().filter_map(|path| target(module, &path, &modules));
        uses.entry(module.clone()).or_default().extend(used);
    }
    assert!(uses.values().map(BTreeSet::len).sum::<usize>() > 200, "the imports are not read");
    // Whoever uses nothing that is left is not in a circle; in the end only circles and what stands on them remain.
    while let Some(free) = uses.iter().find(|(_, used)| used.is_empty()).map(|(module, _)| module.clone()) {
        uses.remove(&free);
        uses.values_mut().for_each(|used| {
            used.remove(&free);
        });
    }
    let left: Vec<String> = uses.iter().map(|(module, used)| format!("{module:?} uses {used:?}")).collect();
    assert!(left.is_empty(), "in circles, or on top of them:\n{}", left.join("\n"));
}
