//! The C header and the shared library as a C programmer meets them: compilers, linker, exported names.
//!
//! Needs gcc or clang; whichever of them is missing is left out.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-pedantic", "-Werror"];
const C_COMPILERS: [&str; 2] = ["gcc", "clang"];
const CPP_COMPILERS: [&str; 2] = ["g++", "clang++"];
const C_STANDARDS: [&str; 4] = ["c99", "c11", "c17", "c2x"];
const CPP_STANDARDS: [&str; 5] = ["c++11", "c++14", "c++17", "c++20", "c++2b"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn committed_header() -> String {
    fs::read_to_string(root().join("include/redlock.h")).expect("include/redlock.h is there")
}

/// The library that cargo built together with this test.
fn shared_library() -> PathBuf {
    let beside_us = env::current_exe().expect("we are a file").with_file_name("libredlock.so");
    assert!(beside_us.is_file(), "{} is there", beside_us.display());
    beside_us
}

fn available(compilers: &[&'static str]) -> Vec<&'static str> {
    let found = compilers.iter().copied().filter(|name| Command::new(name).arg("--version").output().is_ok());
    let found: Vec<_> = found.collect();
    assert!(!found.is_empty(), "one of {compilers:?} is needed");
    found
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    output
}

fn stdout(command: &mut Command) -> String {
    String::from_utf8(run(command).stdout).expect("ASCII")
}

/// A compiler that finds the header and lets no warning pass.
fn compiler(name: &str, standard: &str) -> Command {
    let mut command = Command::new(name);
    command.args(WARNINGS).arg(format!("-std={standard}")).arg("-I").arg(root().join("include"));
    if C_COMPILERS.contains(&name) {
        command.arg("-Wstrict-prototypes");
    }
    command
}

fn scratch(name: impl AsRef<OsStr>) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name.as_ref())
}

fn compiles_everywhere(compilers: &[&'static str], standards: &[&str], language: &str) {
    let here = root().join("tests/project/header");
    for compiler_name in available(compilers) {
        for standard in standards {
            // By itself: it must not lean on what was included before it.
            let mut alone = compiler(compiler_name, standard);
            run(alone.args(["-fsyntax-only", "-x", language]).arg(root().join("include/redlock.h")));
            let program = scratch(format!("header-{compiler_name}-{standard}"));
            let mut both = compiler(compiler_name, standard);
            both.args(["-x", language]).arg(here.join("unit.c")).arg(here.join("other_unit.c"));
            run(both.arg("-o").arg(&program));
            run(&mut Command::new(program));
        }
    }
}

#[test]
fn the_header_compiles_without_a_warning_as_c99_to_c23() {
    compiles_everywhere(&C_COMPILERS, &C_STANDARDS, "c");
}

#[test]
fn the_header_compiles_without_a_warning_as_cpp11_to_cpp23() {
    compiles_everywhere(&CPP_COMPILERS, &CPP_STANDARDS, "c++");
}

/// Each binding takes its declarations from there, or checks its own against it.
#[test]
fn the_description_names_every_function_and_constant_of_the_header() {
    let description = fs::read_to_string(root().join("include/redlock.json")).expect("include/redlock.json is there");
    let header = committed_header();
    let words = |text: &str| -> BTreeSet<String> {
        let split = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        split.map(str::to_owned).collect()
    };
    let described = words(&description);
    let code: String =
        header.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let is_ours = |word: &String| word.starts_with("redlock_") || word.starts_with("REDLOCK_");
    let is_macro = |word: &String| word.starts_with("REDLOCK_VERSION") || word == "REDLOCK_H";
    let missing: Vec<String> =
        words(&code).into_iter().filter(|word| is_ours(word) && !is_macro(word) && !described.contains(word)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(description.contains("\"waits\": \"at most timeout_ms\""), "what waits says so");
}

/// Warnings that strict C++ programs switch on.
#[test]
fn the_header_is_silent_under_the_strictest_warnings_of_cpp() {
    for compiler in available(&CPP_COMPILERS) {
        let mut command = Command::new(compiler);
        command.args(WARNINGS).args(["-Wold-style-cast", "-Wzero-as-null-pointer-constant", "-Wundef", "-Wshadow"]);
        command
            .args(["-std=c++17", "-fsyntax-only", "-x", "c++", "-Wno-pragma-once-outside-header", "-I"])
            .arg(root().join("include"));
        let output = command.arg(root().join("include/redlock.h")).output().expect("a compiler that starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// With REDLOCK_WRITE_HEADER (`make header`) the committed files are brought up to date instead.
#[test]
fn the_header_and_its_description_are_what_the_sources_generate() {
    let generated = [
        ("include/redlock.h", include_str!(concat!(env!("OUT_DIR"), "/redlock.h"))),
        ("include/redlock.json", include_str!(concat!(env!("OUT_DIR"), "/redlock.json"))),
    ];
    for (name, text) in generated {
        let path = root().join(name);
        if env::var_os("REDLOCK_WRITE_HEADER").is_some() {
            fs::write(&path, text).expect("the checkout is writable");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "{name} differs from what build.rs makes of src/ffi: run `make header`, review, commit"
        );
        assert!(text.is_ascii(), "{name} is for every tool");
    }
}

#[test]
fn header_and_library_are_of_one_version() {
    let library = shared_library();
    let folder = library.parent().expect("a file has a folder");
    for compiler_name in available(&C_COMPILERS) {
        let program = scratch(format!("version-{compiler_name}"));
        let mut command = compiler(compiler_name, "c99");
        command.arg(root().join("tests/project/header/version.c")).arg("-o").arg(&program).arg(&library);
        run(&mut command);
        // The program asks for the soname, which is a link that installing makes.
        let link = scratch("libredlock.so.0");
        if fs::read_link(&link).ok().as_deref() != Some(&library) {
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(&library, &link).expect("the scratch directory is writable");
        }
        run(Command::new(program)
            .env("LD_LIBRARY_PATH", format!("{}:{}", link.parent().unwrap().display(), folder.display())));
    }
}

#[test]
fn the_library_exports_exactly_what_the_header_declares() {
    let symbols = stdout(Command::new("nm").args(["-D", "--defined-only", "--format=posix"]).arg(shared_library()));
    let exported: BTreeSet<&str> = symbols.lines().filter_map(|line| line.split(' ').next()).collect();
    let header = committed_header();
    let code = header.lines().filter(|line| !line.starts_with("//") && !line.starts_with([' ', '#']));
    let declared: BTreeSet<&str> = code.filter_map(|line| line.split_once('(')).map(|(head, _)| name(head)).collect();
    assert!(declared.len() > 50, "declarations are found");
    assert_eq!(exported, declared);
    for symbol in &declared {
        assert!(symbol.starts_with("redlock_"), "{symbol}");
    }
}

/// `redlock_t *redlock_new` → `redlock_new`
fn name(declarator: &str) -> &str {
    declarator.rsplit([' ', '*']).next().expect("rsplit yields something")
}

#[test]
fn every_macro_of_the_header_has_the_prefix_and_is_one_operand() {
    let header = committed_header();
    for define in header.lines().filter_map(|line| line.strip_prefix("#define ")) {
        assert!(define.starts_with("REDLOCK_"), "{define}");
        assert!(!define.contains(" -"), "{define} needs parentheses");
    }
}

#[test]
fn every_function_says_since_when_it_exists_and_every_type_whose_it_is() {
    let header = committed_header();
    let mut comment = String::new();
    for line in header.lines() {
        if let Some(text) = line.strip_prefix("///") {
            comment.push_str(text);
        } else if line.is_empty() {
            comment.clear();
        } else if line.starts_with("typedef struct") {
            for promise in ["Lifetime: ", "Threads: ", "Freed by: "] {
                assert!(comment.contains(promise), "{line} lacks {promise}");
            }
        } else if !line.starts_with([' ', '#', '/', '}']) && line.contains('(') {
            assert!(comment.contains("Since "), "{line}");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_library_carries_its_soname_and_cannot_be_unloaded() {
    let dynamic = stdout(Command::new("readelf").args(["-d", "--wide"]).arg(shared_library()));
    assert!(dynamic.contains("[libredlock.so.0]"), "{dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
}

#[test]
fn the_examples_compile_without_a_warning() {
    let folder = fs::read_dir(root().join("examples-c")).expect("examples-c is there");
    let files = folder.map(|entry| entry.expect("readable").path());
    // The examples of event loops need the loops' libraries; the examples' own suite builds those.
    let needs_a_loop = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"loop_"));
    let is_c = |path: &Path| path.extension() == Some(OsStr::new("c"));
    let examples: Vec<_> = files.filter(|path| is_c(path) && !needs_a_loop(path)).collect();
    assert!(examples.len() >= 5, "{examples:?}");
    for compiler_name in available(&C_COMPILERS) {
        for example in &examples {
            let program = scratch(format!("{}-{compiler_name}", example.file_stem().unwrap().display()));
            run(compiler(compiler_name, "c99")
                .arg(example)
                .arg("-pthread")
                .arg("-o")
                .arg(program)
                .arg(shared_library()));
        }
    }
}
