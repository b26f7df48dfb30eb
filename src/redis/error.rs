//! Error replies: what kind of trouble a server's words mean, and what of them people get to read.
//!
//! The codes are those of Redis' `server.c` (`createSharedObjects`), `acl.c`, `cluster.c` and `script.c`. A request of
//! ours that ends in one of the codes below was refused as a whole: single commands are checked before they run, and
//! the scripts make their writes last, of which the second is refused for no reason that did not refuse the first.

use crate::core::request::{FAULT_TEXT_MAX, Fault, FaultKind};

/// The words of an error frame (`-…` or `!n …`), without its framing. `None`: not an error.
pub(super) fn words(frame: &[u8]) -> Option<&[u8]> {
    let (kind, rest) = frame.split_first()?;
    let rest = match kind {
        b'-' => rest,
        b'!' => &rest[rest.iter().position(|byte| *byte == b'\n')? + 1..],
        _ => return None,
    };
    Some(rest.strip_suffix(b"\r\n").unwrap_or(rest))
}

/// The first word: the code, by convention.
pub(super) fn code(words: &[u8]) -> &[u8] {
    words.split(|byte| *byte == b' ').next().unwrap_or_default()
}

/// What kind of trouble it is, where it is certain that nothing was applied; `None` for words never heard before.
pub(super) fn judge(words: &[u8]) -> Option<FaultKind> {
    if let Some(kind) = by_code(words).or_else(|| by_phrase(words)) {
        return Some(kind);
    }
    // Before Redis 7 an error inside a script is wrapped, with or without its minus sign:
    // "ERR Error running script (call to f_…): @user_script:1: WRONGTYPE …", "… @user_script: 1: -READONLY …".
    let wrapped = words.strip_prefix(b"ERR Error running script (call to f_")?;
    let after_colons = |at: usize| wrapped[..at].ends_with(b": ").then(|| &wrapped[at..]);
    (2..wrapped.len()).filter_map(after_colons).find_map(|part| {
        let part = part.strip_prefix(b"-").unwrap_or(part);
        by_code(part).or_else(|| by_phrase(part))
    })
}

fn by_code(words: &[u8]) -> Option<FaultKind> {
    match code(words) {
        b"LOADING" | b"READONLY" | b"OOM" | b"MISCONF" | b"MASTERDOWN" | b"BUSY" | b"NOREPLICAS" => {
            Some(FaultKind::Refused)
        }
        b"NOAUTH" | b"WRONGPASS" | b"NOPERM" | b"WRONGTYPE" | b"DENIED" | b"NOPROTO" => Some(FaultKind::Permanent),
        code if is_of_a_cluster(code) => Some(FaultKind::Permanent),
        _ => None,
    }
}

/// What only servers in cluster mode say.
fn is_of_a_cluster(code: &[u8]) -> bool {
    matches!(code, b"MOVED" | b"ASK" | b"CROSSSLOT" | b"CLUSTERDOWN" | b"TRYAGAIN")
}

/// Why a server of a cluster cannot be one of N masters.
pub(super) const CLUSTER_MODE: &str = "cluster mode: not an independent master";

/// What to do about an error, where there is one thing to do.
fn advice(code: &[u8]) -> Option<&'static str> {
    match code {
        b"NOAUTH" => Some("set a password"),
        b"LOADING" | b"BUSY" => Some("try again"),
        code if is_of_a_cluster(code) => Some(CLUSTER_MODE),
        _ => None,
    }
}

/// Errors whose code says nothing (`ERR`), by how they begin.
const PHRASES: [(&[u8], FaultKind); 14] = [
    (b"max number of clients", FaultKind::Refused),
    (b"unknown command", FaultKind::Permanent),
    (b"unknown subcommand", FaultKind::Permanent),
    (b"Unknown subcommand", FaultKind::Permanent),
    (b"syntax error", FaultKind::Permanent),
    (b"wrong number of arguments", FaultKind::Permanent),
    (b"value is not an integer", FaultKind::Permanent),
    (b"invalid expire time", FaultKind::Permanent),
    (b"operation not permitted", FaultKind::Permanent),
    // What DELEX says where others say WRONGTYPE.
    (b"Key should be of string type", FaultKind::Permanent),
    (b"Unknown Redis command called from", FaultKind::Permanent),
    (b"Script attempted to access a non local key", FaultKind::Permanent),
    (b"ACL failure in script", FaultKind::Permanent),
    (SCRIPT_NOPERM, FaultKind::Permanent),
];

/// What Redis 6 and 7.0 say where a right is missing inside a script, without naming the command: "… run this command
/// or subcommand", "… access at least one of the keys mentioned in the command arguments".
const SCRIPT_NOPERM: &[u8] = b"The user executing the script can't";

fn by_phrase(words: &[u8]) -> Option<FaultKind> {
    let words = words.strip_prefix(b"ERR ").unwrap_or(words);
    PHRASES.iter().find(|(phrase, _)| words.starts_with(phrase)).map(|(_, kind)| *kind)
}

/// A fault of this kind in the server's words, made fit for people.
pub(super) fn fault(kind: FaultKind, words: &[u8]) -> Fault {
    Fault::new(kind, readable(words))
}

/// The server's words, escaped and cut. In front of a missing right stands which one it is; the arguments that
/// servers repeat after an unknown command are left out, for a token may be among them.
fn readable(words: &[u8]) -> String {
    let kept = find(words, b", with args beginning with").map_or(words, |at| &words[..at]);
    match missing_right(kept) {
        Some(right) => {
            let detail = kept.strip_prefix(b"NOPERM ").unwrap_or(kept);
            escape_to(format!("NOPERM needs {right}: "), detail, FAULT_TEXT_MAX)
        }
        None => {
            let advice = advice(code(kept)).map_or(String::new(), |advice| format!(": {advice}"));
            let kept = if advice.is_empty() { kept } else { kept.strip_suffix(b".").unwrap_or(kept) };
            escape(kept, FAULT_TEXT_MAX - advice.len()) + &advice
        }
    }
}

/// `+eval` or `access to the key`, where an error says that the right to it is missing.
fn missing_right(words: &[u8]) -> Option<String> {
    if let Some(at) = find(words, SCRIPT_NOPERM) {
        let is_command = words[at + SCRIPT_NOPERM.len()..].starts_with(b" run");
        let right = if is_command {
            "the script's commands (+get +del +pttl +pexpire; +set +time for fencing)"
        } else {
            "access to the key"
        };
        return Some(right.to_owned());
    }
    if code(words) != b"NOPERM" && find(words, b"ACL failure in script").is_none() {
        return None;
    }
    const BEFORE_COMMAND: &[u8] = b"permissions to run the '";
    if let Some(at) = find(words, BEFORE_COMMAND) {
        let name = words[at + BEFORE_COMMAND.len()..].split(|byte| *byte == b'\'').next()?;
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"|_-.".contains(byte);
        return (!name.is_empty() && name.len() <= 64 && name.iter().all(is_name))
            .then(|| format!("+{}", escape(name, 64)));
    }
    is_about_a_key(words).then(|| "access to the key".to_owned())
}

fn is_about_a_key(words: &[u8]) -> bool {
    find(words, b"permissions to access").is_some_and(|at| find(&words[at..], b" key").is_some())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// `bytes` as text of at most `limit` bytes: whatever is not UTF-8, or would move a terminal's cursor or turn its
/// writing around, as `\xNN`.
pub(super) fn escape(bytes: &[u8], limit: usize) -> String {
    escape_to(String::new(), bytes, limit)
}

fn escape_to(mut text: String, bytes: &[u8], limit: usize) -> String {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut buffer = [0; 4];
            let encoded = character.encode_utf8(&mut buffer);
            let is_plain = !character.is_control()
                && !matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let fits =
                if is_plain { push(&mut text, encoded, limit) } else { hex(&mut text, encoded.as_bytes(), limit) };
            if !fits {
                return text;
            }
        }
        if !hex(&mut text, chunk.invalid(), limit) {
            return text;
        }
    }
    text
}

fn hex(text: &mut String, bytes: &[u8], limit: usize) -> bool {
    bytes.iter().all(|byte| push(text, &format!("\\x{byte:02x}"), limit))
}

/// Appends all of `piece` or nothing of it.
fn push(text: &mut String, piece: &str, limit: usize) -> bool {
    let fits = text.len() + piece.len() <= limit;
    if fits {
        text.push_str(piece);
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_both_kinds_of_error() {
        assert_eq!(words(b"-ERR a\r\n"), Some(&b"ERR a"[..]));
        assert_eq!(words(b"!5\r\nERR a\r\n"), Some(&b"ERR a"[..]));
        assert_eq!(words(b"+OK\r\n"), None);
    }

    #[test]
    fn errors_inside_scripts_count_by_their_real_code() {
        for (text, kind) in [
            ("WRONGTYPE Operation against a key script: f00, on @user_script:1.", FaultKind::Permanent),
            (
                "READONLY You can't write against a read only replica. script: f00, on @user_script:1.",
                FaultKind::Refused,
            ),
            (
                "ERR Error running script (call to f_00): @user_script:1: WRONGTYPE Operation against",
                FaultKind::Permanent,
            ),
            ("ERR Error running script (call to f_00): @user_script: 1: -READONLY You can't write", FaultKind::Refused),
            (
                "ERR Error running script (call to f_00): @user_script:1: @user_script: 1: -OOM command",
                FaultKind::Refused,
            ),
            (
                "ERR Error running script (call to f_00): @user_script:1: @user_script: 1: Unknown Redis command called \
                 from Lua script",
                FaultKind::Permanent,
            ),
        ] {
            assert_eq!(judge(text.as_bytes()), Some(kind), "{text}");
        }
        for text in
            ["ERR Error running script (call to f_00): @user_script:1: Script killed", "ERR who knows: OOM", "", "O"]
        {
            assert_eq!(judge(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_missing_right_is_named_first() {
        for (text, expected) in [
            (
                "NOPERM User bob has no permissions to run the 'eval' command",
                "NOPERM needs +eval: User bob has no permissions to run the 'eval' command",
            ),
            (
                "NOPERM this user has no permissions to run the 'client|caching' command",
                "NOPERM needs +client|caching: this user has no permissions to run the 'client|caching' command",
            ),
            (
                "NOPERM this user has no permissions to access one of the keys used as arguments",
                "NOPERM needs access to the key: this user has no permissions to access one of the keys used as arguments",
            ),
            ("NOPERM No permissions to access a key", "NOPERM needs access to the key: No permissions to access a key"),
            (
                "NOPERM ACL failure in script: User bob has no permissions to run the 'get' command script: f00",
                "NOPERM needs +get: ACL failure in script: User bob has no permissions to run the 'get' command script: f00",
            ),
            ("NOPERM something new", "NOPERM something new"),
            ("NOPERM permissions to run the '\u{7}' command", "NOPERM permissions to run the '\\x07' command"),
        ] {
            assert_eq!(readable(text.as_bytes()), expected);
        }
        for wrapped in ["ERR ", "ERR Error running script (call to f_0): @user_script:1: "] {
            for (text, right) in [
                (
                    "run this command or subcommand",
                    "the script's commands (+get +del +pttl +pexpire; +set +time for fencing)",
                ),
                ("access at least one of the keys mentioned in the command arguments", "access to the key"),
            ] {
                let words = format!("{wrapped}The user executing the script can't {text}");
                assert_eq!(judge(words.as_bytes()), Some(FaultKind::Permanent), "{words}");
                assert!(readable(words.as_bytes()).starts_with(&format!("NOPERM needs {right}: ")), "{words}");
            }
        }
    }

    #[test]
    fn what_helps_is_said() {
        for (text, expected) in [
            ("NOAUTH Authentication required.", "NOAUTH Authentication required: set a password"),
            (
                "LOADING Redis is loading the dataset in memory",
                "LOADING Redis is loading the dataset in memory: try again",
            ),
            ("MOVED 3999 127.0.0.1:6381", "MOVED 3999 127.0.0.1:6381: cluster mode: not an independent master"),
            (
                "CLUSTERDOWN Hash slot not served",
                "CLUSTERDOWN Hash slot not served: cluster mode: not an independent master",
            ),
        ] {
            assert_eq!(readable(text.as_bytes()), expected);
        }
        assert_eq!(judge(b"CLUSTERDOWN The cluster is down"), Some(FaultKind::Permanent));
    }

    #[test]
    fn repeated_arguments_are_left_out() {
        let text = b"ERR unknown command 'EVAL', with args beginning with: 'script' '1' 'key' 'token'";
        assert_eq!(readable(text), "ERR unknown command 'EVAL'");
    }

    #[test]
    fn text_is_escaped_and_cut_between_characters() {
        assert_eq!(escape(b"a\x1b[1m\xff\xc3\xa9\0", 256), "a\\x1b[1m\\xffé\\x00");
        assert_eq!(escape("\u{202e}".as_bytes(), 256), "\\xe2\\x80\\xae");
        assert_eq!(escape("ééé".as_bytes(), 5), "éé");
        assert_eq!(escape(b"aaa\xff", 6), "aaa");
        assert_eq!(readable(&b"x".repeat(5000)).len(), FAULT_TEXT_MAX);
        let long = [b"NOPERM permissions to run the 'set' ".as_slice(), &"é".repeat(500).into_bytes()].concat();
        assert!(readable(&long).len() <= FAULT_TEXT_MAX && readable(&long).starts_with("NOPERM needs +set: "));
    }
}
