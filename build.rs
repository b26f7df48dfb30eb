//! Generates the C header and its description from `src/ffi`, and gives the shared library its name.
//!
//! The header is meant to be read from top to bottom: what the library is, the types, then one section per noun with
//! its constants and functions. cbindgen alone writes all constants, then all types by name, then all functions, so it
//! is asked for the pieces, file by file, and the pieces are put in the order of [`SECTIONS`]. The introduction of
//! each section is the `//!` text of its file.

#[path = "build/description.rs"]
mod description;

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use cbindgen::{Builder, Config, ItemType};

/// The files of `src/ffi` that declare something for C, in the order a reader wants them.
const SECTIONS: [&str; 15] = [
    "status",
    "handle",
    "lease",
    "token",
    "request",
    "canceller",
    "options",
    "error",
    "outcome",
    "inspect",
    "event_loop",
    "submit",
    "event",
    "stats",
    "version",
];

fn main() {
    for input in ["build.rs", "build", "cbindgen.toml", "src/ffi"] {
        println!("cargo::rerun-if-changed={input}");
    }
    name_shared_library();
    match header() {
        Ok(text) => {
            let description = description::description(&text, &var("CARGO_PKG_VERSION"));
            publish("redlock.h", &text);
            publish("redlock.json", &description);
        }
        // rustc is about to say it better.
        Err(cbindgen::Error::ParseSyntaxError { .. }) => {}
        Err(error) => panic!("include/redlock.h: {error}"),
    }
}

/// A soname, so that programs ask for the ABI they were linked against; and no unloading, because threads and fork
/// handlers of the library may outlive a `dlclose`.
fn name_shared_library() {
    if var("CARGO_CFG_TARGET_OS") == "linux" {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libredlock.so.{}", var("CARGO_PKG_VERSION_MAJOR"));
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}

/// Writes what the tests compare with the committed file; `make header` updates that one. A build changes no file of the
/// sources, which may belong to somebody who only depends on this crate.
fn publish(name: &str, text: &str) {
    fs::write(Path::new(&var("OUT_DIR")).join(name), text).expect("OUT_DIR is writable");
}

fn header() -> Result<String, cbindgen::Error> {
    let mut out = comment(&file_text("mod"));
    out.push_str("\n// Generated from src/ffi by build.rs; `make header` updates it.\n\n");
    out.push_str("#ifndef REDLOCK_H\n#define REDLOCK_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n");
    out.push_str("#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
    out.push_str("// == Types\n\n");
    for section in SECTIONS {
        out.push_str(&pieces(section, &[ItemType::Typedefs, ItemType::OpaqueItems])?);
    }
    for section in SECTIONS {
        writeln!(out, "// == {}", comment(&file_text(section)).trim_start_matches("// ")).expect("a String grows");
        if section == "version" {
            out.push_str(&version_macros());
        }
        out.push_str(&pieces(section, &[ItemType::Constants])?);
        out.push_str(&pieces(section, &[ItemType::Functions])?);
    }
    out.push_str("#ifdef __cplusplus\n} // extern \"C\"\n#endif\n\n#endif // REDLOCK_H\n");
    Ok(out)
}

/// What cbindgen makes of the items of these kinds in one file, each followed by an empty line.
fn pieces(section: &str, kinds: &[ItemType]) -> Result<String, cbindgen::Error> {
    let mut config = Config::from_file("cbindgen.toml").expect("cbindgen.toml is well-formed");
    config.export.item_types = kinds.to_vec();
    let mut bytes = Vec::new();
    Builder::new().with_config(config).with_src(source(section)).generate()?.write(&mut bytes);
    let text = String::from_utf8(bytes).expect("the sources are UTF-8");
    let text = text.trim();
    if text.is_empty() {
        return Ok(String::new());
    }
    Ok(if kinds == [ItemType::Constants] { enumerated(text) } else { format!("{text}\n\n") })
}

/// Constants as an anonymous enum, which survives the preprocessor: tools that read its output would lose macros.
fn enumerated(defines: &str) -> String {
    let mut out = "enum {\n".to_owned();
    for line in defines.lines() {
        match line.strip_prefix("#define ").and_then(|define| define.split_once(' ')) {
            Some((name, value)) => writeln!(out, "    {name} = {value},"),
            None if line.is_empty() => writeln!(out),
            None => writeln!(out, "    {line}"),
        }
        .expect("a String grows");
    }
    // No comma behind the last one: C++ before 2011 is not the only one that minds.
    let last = out.rfind(',').expect("there is a constant");
    out.replace_range(last..=last, "");
    out + "};\n\n"
}

fn version_macros() -> String {
    let [major, minor, patch] = ["MAJOR", "MINOR", "PATCH"]
        .map(|part| -> u32 { var(&format!("CARGO_PKG_VERSION_{part}")).parse().expect("cargo checks versions") });
    assert!(minor < 1_000 && patch < 1_000, "REDLOCK_VERSION_NUMBER has three digits for each");
    format!(
        "/// The version of this header in parts.\n\
         #define REDLOCK_VERSION_MAJOR {major}\n\
         #define REDLOCK_VERSION_MINOR {minor}\n\
         #define REDLOCK_VERSION_PATCH {patch}\n\n\
         /// The version of this header as a number that grows: major * 1000000 + minor * 1000 + patch.\n\
         #define REDLOCK_VERSION_NUMBER {number}\n\n\
         /// The version of this header as text.\n\
         #define REDLOCK_VERSION_STRING \"{text}\"\n\n",
        number = major * 1_000_000 + minor * 1_000 + patch,
        text = var("CARGO_PKG_VERSION"),
    )
}

/// The `//!` text at the top of a source file.
fn file_text(section: &str) -> Vec<String> {
    let source = fs::read_to_string(source(section)).expect("every section has its file");
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned()).collect()
}

/// Markdown as a C comment: code is indented instead of fenced, headings look like those of the sections.
fn comment(markdown: &[String]) -> String {
    let mut out = String::new();
    let mut is_code = false;
    for line in markdown {
        if line.starts_with("```") {
            is_code = !is_code;
            continue;
        }
        let line = match line.strip_prefix("# ") {
            Some(heading) if !is_code => format!("== {heading}"),
            _ if is_code => format!("    {line}"),
            _ => line.clone(),
        };
        out.push_str(format!("// {line}").trim_end());
        out.push('\n');
    }
    out
}

fn source(section: &str) -> String {
    format!("src/ffi/{section}.rs")
}

fn var(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
