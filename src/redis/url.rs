//! A node's URL.
//!
//! The `redis` crate takes it apart. What it would let pass silently (control characters, a misspelt parameter) or
//! refuses with a part of the URL in its message is looked at first: no error of this file repeats a word of its input,
//! because in a malformed URL any word may be the password.

use std::fmt;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use ::redis::{ConnectionAddr, IntoConnectionInfo};

use super::dialect::Protocol;

/// Longest URL in bytes.
pub const URL_BYTES_MAX: usize = 4096;
/// Highest database number: what Redis' `databases` can be configured to.
const DB_MAX: i64 = i32::MAX as i64;

/// A URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeUrl {
    /// Where the node listens.
    pub address: Address,
    /// `rediss` or `valkeys`.
    pub tls: bool,
    /// The ACL user.
    pub username: Option<String>,
    /// The password, never shown.
    pub password: Option<Secret>,
    /// The database number.
    pub db: i64,
    /// `?protocol=resp2` or `resp3`, where given.
    pub protocol: Option<Protocol>,
    /// The URL without user, password and parameters, for people: `redis://127.0.0.1:7001/2`.
    pub label: String,
}

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A host name or address (IPv6 without brackets) and a port.
    Tcp {
        /// Name or address.
        host: String,
        /// Port, never 0.
        port: u16,
    },
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// A string that is not shown by `Debug` and has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The hidden text, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Takes a URL apart:
///
/// - `redis://[user][:password@]host[:port][/db]`, likewise `rediss`, `valkey`, `valkeys`
/// - `unix:///path[?db=…&user=…&pass=…]`, likewise `redis+unix`, `valkey+unix`
///
/// both also with `protocol=resp2` or `resp3`. Special characters are percent-encoded; in parameters `+` is a space.
///
/// # Errors
/// What is wrong with it, in one line that repeats nothing of it.
pub fn parse(url: &str) -> Result<NodeUrl, String> {
    parse_or_reason(url).map_err(str::to_owned)
}

fn parse_or_reason(url: &str) -> Result<NodeUrl, &'static str> {
    if url.is_empty() {
        return Err("the URL is empty");
    }
    if url.len() > URL_BYTES_MAX {
        return Err("the URL is longer than 4096 bytes");
    }
    // The URL standard drops tabs and line ends silently.
    if url.chars().any(|character| character.is_control() || character.is_whitespace()) {
        return Err("the URL contains a space or a control character; percent-encode it");
    }
    let (scheme, rest) = url.split_once("://").ok_or("the URL has no scheme such as redis://")?;
    if let Some((_, fragment)) = rest.split_once('#') {
        return Err(match fragment {
            "insecure" => "#insecure is not accepted; use the option that switches TLS verification off",
            _ => "the URL has a fragment; percent-encode '#' as %23",
        });
    }
    match &*scheme.to_ascii_lowercase() {
        "redis" | "valkey" => parse_tcp(rest, false),
        "rediss" | "valkeys" => parse_tcp(rest, true),
        "unix" | "redis+unix" | "valkey+unix" => parse_unix(rest),
        _ => Err("the URL's scheme is not one of redis, rediss, valkey, valkeys, unix, redis+unix, valkey+unix"),
    }
}

const NOT_A_URL: &str = "the URL cannot be parsed; percent-encode special characters in user name and password";

fn parse_tcp(rest: &str, tls: bool) -> Result<NodeUrl, &'static str> {
    let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
    let protocol = check_query(query, &["protocol"])?;
    let (authority, path) = before_query.split_once('/').unwrap_or((before_query, ""));
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host_and_port)| host_and_port);
    let (host, port) = match host_and_port.rfind(':') {
        Some(colon) if !host_and_port[colon..].contains(']') => {
            (&host_and_port[..colon], Some(&host_and_port[colon + 1..]))
        }
        _ => (host_and_port, None),
    };
    if host.is_empty() {
        return Err("the URL has no host");
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err("the URL's host contains ':'; put an IPv6 address in brackets");
    }
    if port.is_some_and(|port| !matches!(port.parse::<u16>(), Ok(1..)) || !is_digits(port)) {
        return Err("the URL's port is not a number from 1 to 65535");
    }
    check_db(path)?;

    let info = format!("redis://{before_query}").into_connection_info().map_err(reason)?;
    let ConnectionAddr::Tcp(host, port) = info.addr() else { return Err(NOT_A_URL) };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if !host.bytes().all(is_host) {
        return Err("the URL's host contains a character that no host name has");
    }
    let settings = info.redis_settings();
    let mut label = String::from(if tls { "rediss://" } else { "redis://" });
    let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
    let _ = write!(label, "{open}{host}{close}:{port}");
    if settings.db() != 0 {
        let _ = write!(label, "/{}", settings.db());
    }
    Ok(NodeUrl {
        address: Address::Tcp { host: host.clone(), port: *port },
        tls,
        username: non_empty(settings.username()),
        password: non_empty(settings.password()).map(Secret),
        db: settings.db(),
        protocol,
        label,
    })
}

fn parse_unix(rest: &str) -> Result<NodeUrl, &'static str> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let protocol = check_query(query, &["db", "user", "pass", "protocol"])?;
    if !path.starts_with('/') {
        return Err("the URL has no absolute path after unix://; credentials go into ?user=…&pass=…");
    }
    for parameter in query.split('&') {
        if let Some(db) = parameter.strip_prefix("db=") {
            check_db(db)?;
        }
    }
    // An empty ?db= is as good as none, to the crate it would be an error.
    let query: Vec<&str> = query.split('&').filter(|parameter| *parameter != "db=").collect();
    let info = format!("unix://{path}?{}", query.join("&")).into_connection_info().map_err(reason)?;
    let ConnectionAddr::Unix(path) = info.addr() else { return Err(NOT_A_URL) };
    let bytes = path.as_os_str().as_bytes();
    if bytes.contains(&0) {
        return Err("the URL's path contains a NUL byte");
    }
    if bytes.ends_with(b"/") {
        return Err("the URL's path is a directory");
    }
    let settings = info.redis_settings();
    let mut label = String::from("unix://");
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' => label.push(*byte as char),
            _ => {
                let _ = write!(label, "%{byte:02X}");
            }
        }
    }
    if settings.db() != 0 {
        let _ = write!(label, "?db={}", settings.db());
    }
    Ok(NodeUrl {
        address: Address::Unix(path.clone()),
        tls: false,
        username: non_empty(settings.username()),
        password: non_empty(settings.password()).map(Secret),
        db: settings.db(),
        protocol,
        label,
    })
}

/// Refuses parameters that would be ignored, and those that come twice, of which one would be.
fn check_query(query: &str, known: &[&str]) -> Result<Option<Protocol>, &'static str> {
    let mut seen = Vec::new();
    let mut protocol = None;
    for (name, value) in
        query.split('&').filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap_or((part, "")))
    {
        if !known.contains(&name) {
            return Err(
                "the URL has an unknown parameter; known are protocol and, for unix sockets, db, user and pass",
            );
        }
        if seen.contains(&name) {
            return Err("the URL gives a parameter twice");
        }
        seen.push(name);
        if name == "protocol" {
            protocol = Some(match value {
                "2" | "resp2" => Protocol::Resp2,
                "3" | "resp3" => Protocol::Resp3,
                _ => return Err("the URL's protocol is neither resp2 nor resp3"),
            });
        }
    }
    Ok(protocol)
}

fn check_db(db: &str) -> Result<(), &'static str> {
    let is_valid = db.is_empty() || (is_digits(db) && db.parse::<i64>().is_ok_and(|db| db <= DB_MAX));
    if is_valid { Ok(()) } else { Err("the URL's database is not a number from 0 to 2147483647") }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn non_empty(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The crate's reason in our words, since its own may repeat the URL.
fn reason(error: ::redis::RedisError) -> &'static str {
    let text = error.to_string();
    if text.contains("UTF-8") {
        "the URL's user name or password is not UTF-8 after percent-decoding"
    } else if text.contains("wildcard") {
        "the URL's host is 0.0.0.0 or ::, to which nobody can connect"
    } else {
        NOT_A_URL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn addresses_databases_and_labels() {
        for (url, address, tls, db, label) in [
            ("redis://localhost", tcp("localhost", 6379), false, 0, "redis://localhost:6379"),
            ("redis://localhost/", tcp("localhost", 6379), false, 0, "redis://localhost:6379"),
            ("REDIS://10.0.0.1:7001/2", tcp("10.0.0.1", 7001), false, 2, "redis://10.0.0.1:7001/2"),
            ("valkey://h:1/0", tcp("h", 1), false, 0, "redis://h:1"),
            ("rediss://a-b.c_d.example", tcp("a-b.c_d.example", 6379), true, 0, "rediss://a-b.c_d.example:6379"),
            ("valkeys://u:p@h:65535/15", tcp("h", 65535), true, 15, "rediss://h:65535/15"),
            ("redis://[::1]:7001", tcp("::1", 7001), false, 0, "redis://[::1]:7001"),
            ("rediss://u:p@[fe80::1]/3", tcp("fe80::1", 6379), true, 3, "rediss://[fe80::1]:6379/3"),
        ] {
            let node = parse(url).unwrap();
            assert_eq!((node.address, node.tls, node.db, &*node.label), (address, tls, db, label), "{url}");
        }
    }

    #[test]
    fn unix_sockets() {
        for scheme in ["unix", "redis+unix", "valkey+unix"] {
            let node = parse(&format!("{scheme}:///run/my%20redis.sock?db=2&user=bob&pass=p%40%26%3A+%C3%A9")).unwrap();
            assert_eq!(node.address, Address::Unix("/run/my redis.sock".into()));
            assert_eq!(node.username.as_deref(), Some("bob"));
            assert_eq!(node.password.unwrap().expose(), "p@&: é");
            assert_eq!((node.tls, node.db, &*node.label), (false, 2, "unix:///run/my%20redis.sock?db=2"));
        }
        assert_eq!(parse("unix:///s?db=").unwrap().label, "unix:///s");
    }

    #[test]
    fn credentials_are_percent_decoded() {
        for (userinfo, username, password) in [
            ("", None, None),
            ("bob@", Some("bob"), None),
            (":secret@", None, Some("secret")),
            ("bob:secret@", Some("bob"), Some("secret")),
            ("b%C3%B6b:p%40ss%3Aw%2For%23d%3F@", Some("böb"), Some("p@ss:w/or#d?")),
            ("böb:pässwörd@", Some("böb"), Some("pässwörd")),
            ("bob:a@b:c@", Some("bob"), Some("a@b:c")),
            ("bob:a+b@", Some("bob"), Some("a+b")),
            (":@", None, None),
        ] {
            let node = parse(&format!("redis://{userinfo}127.0.0.1:7001/2")).unwrap();
            assert_eq!(node.username.as_deref(), username, "{userinfo}");
            assert_eq!(node.password.as_ref().map(Secret::expose), password, "{userinfo}");
            assert_eq!(node.address, tcp("127.0.0.1", 7001));
            assert_eq!(node.label, "redis://127.0.0.1:7001/2");
            assert!(!format!("{node:?}").contains("secret"));
        }
    }

    #[test]
    fn protocol_can_be_chosen() {
        assert_eq!(parse("redis://h?protocol=resp2").unwrap().protocol, Some(Protocol::Resp2));
        assert_eq!(parse("redis://h/1?protocol=3").unwrap().protocol, Some(Protocol::Resp3));
        assert_eq!(parse("unix:///s?protocol=resp3").unwrap().protocol, Some(Protocol::Resp3));
        assert_eq!(parse("redis://h").unwrap().protocol, None);
    }

    #[test]
    fn bad_urls_are_refused_without_repeating_them() {
        for (url, part_of_reason) in [
            ("", "empty"),
            ("hunter2", "no scheme"),
            ("hunter2:6379", "no scheme"),
            ("redis:hunter2@h", "no scheme"),
            ("hunter2://h", "scheme is not one of"),
            ("http://:hunter2@h", "scheme is not one of"),
            ("redis://", "no host"),
            ("redis://:hunter2@", "no host"),
            ("redis://:hunter2@/1", "no host"),
            ("redis://:hunter2@:6379", "no host"),
            ("redis:///hunter2", "no host"),
            ("redis://:hunter2@h:0", "port"),
            ("redis://:hunter2@h:65536", "port"),
            ("redis://:hunter2@h:+1", "port"),
            ("redis://:hunter2@h:", "port"),
            ("redis://h:hunter2", "port"),
            ("redis://bob:hunter2/x@h", "port"),
            ("redis://::1:7001", "brackets"),
            ("redis://:hunter2@h/-1", "database"),
            ("redis://:hunter2@h/hunter2", "database"),
            ("redis://:hunter2@h/+1", "database"),
            ("redis://:hunter2@h/1/2", "database"),
            ("redis://:hunter2@h/2147483648", "database"),
            ("unix:///s?pass=hunter2&db=-1", "database"),
            ("unix:///s?db=hunter2", "database"),
            ("rediss://:hunter2@h#insecure", "option"),
            ("rediss://:hunter2@h/#insecure", "option"),
            ("redis://:hunt#er2@h", "%23"),
            ("redis://h?hunter2", "unknown parameter"),
            ("redis://:hunter2?@h", "unknown parameter"),
            ("redis://h?password=hunter2", "unknown parameter"),
            ("unix:///s?pass=hunter2&timeout=1", "unknown parameter"),
            ("unix:///s?pass=hunter2&pass=hunter2", "twice"),
            ("redis://h?protocol=hunter2", "neither"),
            ("redis://:hunter2@h\n", "control"),
            ("redis://:hun\tter2@h", "control"),
            ("redis://:hunter2@h\0", "control"),
            (" redis://:hunter2@h", "space"),
            ("redis://:hunter2@0.0.0.0", "0.0.0.0"),
            ("redis://:hunter2@[::]", "0.0.0.0"),
            ("redis://:hunter2@[::1", "parsed"),
            ("redis://:hunter2@[hunter2]", "parsed"),
            ("redis://:hunter2@h%41", "host"),
            ("redis://:hunter2@hé", "host"),
            ("redis://:hunter2%ff@h", "UTF-8"),
            ("redis://hunter2%ff@h", "UTF-8"),
            ("unix://hunter2", "path"),
            ("unix://bob:hunter2@/s", "path"),
            ("unix:///s%00?pass=hunter2", "NUL"),
            ("unix:///s/", "directory"),
            ("unix:///", "directory"),
        ] {
            let reason = parse(url).expect_err(url);
            assert!(reason.contains(part_of_reason), "{url}: {reason}");
            assert!(!reason.contains("hunter2") && !reason.contains('\n'), "{url}: {reason}");
        }
        assert!(parse(&format!("redis://:{}@h", "p".repeat(5000))).unwrap_err().contains("longer"));
    }

    #[test]
    fn arbitrary_text_never_panics() {
        let pieces =
            ["redis://", "unix://", ":", "@", "[", "]", "/", "?db=", "#", "%", "%zz", "h", "1", "é", "&", "=", "::1"];
        let mut state = 1_usize;
        for _ in 0..20_000 {
            let mut url = String::new();
            for _ in 0..8 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                url.push_str(pieces[(state >> 33) % pieces.len()]);
            }
            let _ = parse(&url);
        }
    }
}
