//! `include/redlock.json`: the ABI for programs that check their declarations against it instead of retyping them.
//!
//! It is read off the finished header, so that the two cannot differ: what a declaration says, and of its comment the
//! phrases with a fixed form (`Waits:`, `Since`, where NULL is allowed).

use std::fmt::Write as _;

/// A declaration with the comment before it.
struct Declaration {
    comment: String,
    text: String,
}

/// The description of the ABI that this header declares.
pub fn description(header: &str, version: &str) -> String {
    let declarations = declarations(header);
    let list = |items: Vec<String>| items.join(",\n    ");
    let types: Vec<String> = declarations.iter().filter_map(opaque_type).collect();
    let constants: Vec<String> = declarations.iter().flat_map(constants).collect();
    let functions: Vec<String> = declarations.iter().filter_map(function).collect();
    format!(
        "{{\n  \"library\": \"redlock\",\n  \"version\": {},\n  \"soname\": \"libredlock.so.{}\",\n  \"types\": [\n    {}\n  ],\n  \
         \"constants\": [\n    {}\n  ],\n  \"functions\": [\n    {}\n  ]\n}}\n",
        quoted(version),
        version.split('.').next().unwrap_or_default(),
        list(types),
        list(constants),
        list(functions)
    )
}

/// Everything that ends with a semicolon, outside preprocessor lines and ordinary comments.
fn declarations(header: &str) -> Vec<Declaration> {
    let (mut found, mut comment, mut text, mut depth) = (Vec::new(), String::new(), String::new(), 0_u32);
    for line in header.lines() {
        let line = line.trim();
        if let Some(words) = line.strip_prefix("///") {
            // Inside an enum the comments belong to the constants.
            let into = if depth == 0 { &mut comment } else { &mut text };
            let _ = write!(into, "{}{}", if depth == 0 { " " } else { "\n///" }, words.trim());
            continue;
        }
        if line.is_empty() || line.starts_with("//") || line.starts_with('#') || line.contains("extern \"C\"") {
            if depth == 0 && text.is_empty() && !line.starts_with("///") {
                comment.clear();
            }
            continue;
        }
        depth += u32::from(line.ends_with('{'));
        depth -= u32::from(line.starts_with('}')).min(depth);
        let _ = write!(text, "{}{line}", if depth == 0 { " " } else { "\n" });
        if depth == 0 && line.ends_with(';') {
            let comment = std::mem::take(&mut comment).trim().to_owned();
            found.push(Declaration { comment, text: std::mem::take(&mut text).trim().to_owned() });
        }
    }
    found
}

fn opaque_type(declaration: &Declaration) -> Option<String> {
    let rest = declaration.text.strip_prefix("typedef ")?.trim_end_matches(';');
    let (kind, name) = rest.rsplit_once(' ')?;
    let freed_by = declaration.comment.split("Freed by: ").nth(1).and_then(|rest| rest.split("()").next());
    let is_opaque = kind.starts_with("struct ");
    Some(format!(
        "{{\"name\": {}, \"kind\": {}, \"freed_by\": {}}}",
        quoted(name),
        quoted(if is_opaque { "opaque" } else { kind }),
        freed_by.map_or_else(|| "null".to_owned(), quoted)
    ))
}

fn constants(declaration: &Declaration) -> Vec<String> {
    let Some(body) = declaration.text.strip_prefix("enum {") else { return Vec::new() };
    let lines = body.lines().filter(|line| !line.starts_with("///"));
    let pairs = lines.filter_map(|line| line.trim_end_matches([',', ';', '}', ' ']).split_once(" = "));
    pairs.map(|(name, value)| format!("{{\"name\": {}, \"value\": {value}}}", quoted(name.trim()))).collect()
}

fn function(declaration: &Declaration) -> Option<String> {
    let text = declaration.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (head, rest) = text.split_once('(')?;
    let parameters = rest.strip_suffix(");")?;
    let (returns, name) = typed(head)?;
    let comment = declaration.comment.as_str();
    let parameters = parameters.split(", ").filter(|parameter| *parameter != "void").filter_map(typed);
    let parameters = parameters.map(|(kind, name)| {
        let is_nullable = kind.ends_with('*') && is_nullable(comment, &name);
        format!("{{\"name\": {}, \"type\": {}, \"nullable\": {is_nullable}}}", quoted(&name), quoted(&kind))
    });
    Some(format!(
        "{{\"name\": {}, \"returns\": {}, \"parameters\": [{}], \"waits\": {}, \"since\": {}}}",
        quoted(&name),
        quoted(&returns),
        parameters.collect::<Vec<_>>().join(", "),
        quoted(phrase(comment, "Waits: ").as_deref().unwrap_or("never")),
        quoted(phrase(comment, "Since ").as_deref().unwrap_or_default())
    ))
}

/// `const char *name` as its type and its name.
fn typed(text: &str) -> Option<(String, String)> {
    let start = text.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))? + 1;
    let (kind, name) = text.split_at(start);
    Some((kind.trim().to_owned(), name.to_owned()))
}

/// NULL is allowed where the comment says so; a getter answers it; nobody has to take an error.
fn is_nullable(comment: &str, name: &str) -> bool {
    let says = |form: &str| comment.contains(&form.replace('$', name));
    matches!(name, "error" | "length")
        || ["NULL is allowed. ", "NULL is allowed.", "where $ is NULL", "or $ is NULL", "$ is NULL", "$: NULL"]
            .iter()
            .any(|form| says(form))
            && !says("$: not NULL")
}

/// What stands behind these words, up to the end of the sentence.
fn phrase(comment: &str, words: &str) -> Option<String> {
    let rest = comment.split(words).nth(1)?;
    let end = rest.find(". ").unwrap_or(rest.len());
    Some(rest[..end].trim_end_matches('.').to_owned())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
