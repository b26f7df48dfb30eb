//! Where nodes, credentials and times come from: arguments, then the environment, then the configuration file.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use redlock::engine::{Options, Redlock, RestartGuard};
use serde::Deserialize;

use crate::args::{Connection, Guard};
use crate::duration::Milliseconds;
use crate::exit::{self, Failure};

const DEFAULT_TTL: Milliseconds = Milliseconds(30_000);
const SYSTEM_CONFIG: &str = "/etc/redlock.toml";

/// The configuration file. Unknown keys are errors: a misspelt one would be silently without effect.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    servers: Vec<String>,
    ttl: Option<Milliseconds>,
    prefix: Option<String>,
    user: Option<String>,
    password: Option<String>,
    password_file: Option<PathBuf>,
    tls_ca: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_insecure: Option<bool>,
    node_timeout: Option<Milliseconds>,
    max_ttl: Option<Milliseconds>,
    restart_guard: Option<Guard>,
}

/// Everything that a command needs to know of the nodes.
pub struct Settings {
    /// The URLs, credentials included: not for messages.
    pub servers: Vec<String>,
    /// For the library.
    pub options: Options,
    /// The TTL of the configuration, or the default.
    ttl: Milliseconds,
}

impl Settings {
    /// Puts together what was given; says on stderr what is dangerous about it, unless it should be quiet.
    pub fn gather(connection: &Connection) -> Result<Settings, Failure> {
        let file = read_file(connection)?;
        let servers = servers(connection, &file)?;
        let password = password(connection, &file)?;
        let path = |given: &Option<PathBuf>, configured: Option<PathBuf>| given.clone().or(configured);
        let defaults = Options::default();
        let guard = connection.restart_guard.or(file.restart_guard).unwrap_or(Guard::Seen);
        let options = Options {
            key_prefix: connection.prefix.clone().or(file.prefix).unwrap_or_default().into_bytes(),
            username: connection.user.clone().or(file.user),
            password,
            tls_ca_file: path(&connection.tls_ca, file.tls_ca),
            tls_cert_file: path(&connection.tls_cert, file.tls_cert),
            tls_key_file: path(&connection.tls_key, file.tls_key),
            tls_insecure: connection.tls_insecure || file.tls_insecure.unwrap_or(false),
            node_timeout_ms: connection
                .node_timeout
                .or(file.node_timeout)
                .map_or(defaults.node_timeout_ms, |time| time.0),
            max_ttl_ms: connection.max_ttl.or(file.max_ttl).map(|time| time.0),
            restart_guard: match guard {
                Guard::Off => RestartGuard::Off,
                Guard::Seen => RestartGuard::Seen,
                Guard::Strict => RestartGuard::Strict,
            },
            client_name: Some("redlock".to_owned()),
            interruptible: false,
            ..defaults
        };
        Ok(Settings { servers, options, ttl: file.ttl.unwrap_or(DEFAULT_TTL) })
    }

    /// The TTL of the command line, else that of the configuration.
    pub fn ttl(&self, given: Option<Milliseconds>) -> Milliseconds {
        given.unwrap_or(self.ttl)
    }

    /// A handle on the nodes.
    pub fn connect(&self) -> Result<Redlock, Failure> {
        Ok(Redlock::new(&self.servers, &self.options)?)
    }
}

fn config_error(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::new(exit::CONFIG, format!("{}: {error}", path.display()))
}

fn read_file(connection: &Connection) -> Result<File, Failure> {
    let named = connection.config.clone();
    let home = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".config")));
    let usual = || [home.map(|home| home.join("redlock.toml")), Some(PathBuf::from(SYSTEM_CONFIG))];
    let Some(path) = named.or_else(|| usual().into_iter().flatten().find(|path| path.is_file())) else {
        return Ok(File::default());
    };
    let text = fs::read_to_string(&path).map_err(|error| config_error(&path, error))?;
    let file: File = toml::from_str(&text).map_err(|error| {
        // The error shows the line that it complains of, which may hold the password.
        let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
        config_error(&path, format!("line {line}: {}", error.message()))
    })?;
    let has_secret = file.password.is_some() || file.servers.iter().any(|url| has_password(url));
    let is_open = fs::metadata(&path).is_ok_and(|metadata| metadata.mode() & 0o044 != 0);
    if has_secret && is_open && !connection.quiet {
        exit::tell(format_args!("{} holds a password and others may read it: chmod 600", path.display()));
    }
    Ok(file)
}

fn servers(connection: &Connection, file: &File) -> Result<Vec<String>, Failure> {
    if !connection.servers.is_empty() {
        if connection.servers.iter().any(|url| has_password(url)) && !connection.quiet {
            exit::tell(
                "other users can read a password in -S: use REDLOCK_SERVERS, REDLOCK_PASSWORD or --password-file",
            );
        }
        return Ok(connection.servers.clone());
    }
    if let Ok(listed) = env::var("REDLOCK_SERVERS") {
        let urls = listed.split([' ', ',', '\n', '\t']).filter(|url| !url.is_empty());
        return non_empty(urls.map(str::to_owned).collect());
    }
    non_empty(file.servers.clone())
}

fn non_empty(servers: Vec<String>) -> Result<Vec<String>, Failure> {
    if servers.is_empty() {
        let reason = "no node was named: use -S URL for each, REDLOCK_SERVERS, or `servers` in the configuration file";
        return Err(Failure::new(exit::USAGE, reason));
    }
    Ok(servers)
}

fn has_password(url: &str) -> bool {
    url.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).is_some_and(|(user, _)| user.contains(':'))
}

fn password(connection: &Connection, file: &File) -> Result<Option<String>, Failure> {
    if let Some(path) = &connection.password_file {
        return read_password(path).map(Some);
    }
    if let Ok(password) = env::var("REDLOCK_PASSWORD") {
        return Ok(Some(password));
    }
    match (&file.password_file, &file.password) {
        (Some(path), _) => read_password(path).map(Some),
        (None, password) => Ok(password.clone()),
    }
}

/// The file's first line.
fn read_password(path: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path).map_err(|error| config_error(path, error))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(config_error(path, "is empty: its first line is the password")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_recognised() {
        assert!(has_password("redis://user:secret@host:1"));
        assert!(has_password("redis://:p@ss@host"));
        assert!(!has_password("redis://user@host:1"));
        assert!(!has_password("redis://host:6379/0"));
    }

    #[test]
    fn unknown_keys_of_the_configuration_are_errors() {
        assert!(toml::from_str::<File>("servers = []\nttl = \"10s\"\nrestart-guard = \"strict\"").is_ok());
        assert!(toml::from_str::<File>("severs = []").is_err());
    }
}
