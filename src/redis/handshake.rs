//! From a fresh connection to one that is ready for requests.
//!
//! Three rounds at most:
//!
//! 1. *Opening.* `HELLO 3`. With credentials it carries AUTH and travels alone: after WRONGPASS, commands pipelined
//!    behind it would run as the default user. A server that does not know HELLO gets AUTH, alone as well.
//! 2. *Questions*, in one batch: database, name, tracking, who we are, who the server is. Without credentials the
//!    opening goes in the same segment.
//! 3. *The last thing*, where there is one: the connection that was given up before is killed at the server.
//!
//! What a server has refused, or has closed a connection over, is [left out](Login::leave_out) of later handshakes: each
//! refusal is an entry in its ACL LOG.

use std::collections::VecDeque;
use std::mem;

use ::redis::{Cmd, Value};

use super::dialect::{Dialect, Protocol};
use super::error;
use super::frame::protocol;
use super::reply::value;
use super::url::Secret;
use crate::core::request::{Fault, FaultKind, ServerInfo};
use steps::Step;
pub use steps::Steps;

mod steps;

/// What a connection introduces itself with.
#[derive(Debug, Clone, Default)]
pub struct Login {
    /// ACL user; without a password it is tried with an empty one, which suits users with `nopass`.
    pub username: Option<String>,
    /// Password of the user, or of the default user.
    pub password: Option<Secret>,
    /// Database number.
    pub db: i64,
    /// For `CLIENT SETNAME`; names that the server refuses are not set.
    pub client_name: Option<String>,
    /// Version of the protocol.
    pub protocol: Protocol,
    /// Whether to use commands that replace the scripts where the server's version has them.
    pub avoid_lua: bool,
    /// Whether to ask for invalidation pushes.
    pub tracking: bool,
    /// What this server is not asked.
    pub leave_out: Steps,
}

/// Who a connection is to its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `CLIENT ID`.
    pub client_id: u64,
    /// Our address as the server sees it.
    pub addr: String,
    /// The server process that gave the id.
    pub run_id: String,
}

/// What came out of a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// What is known of the server.
    pub info: ServerInfo,
    /// How to speak to it.
    pub dialect: Dialect,
    /// Who we are to it; `None` before Redis 6.2 and where ACLs hide it.
    pub identity: Option<Identity>,
    /// What the server refused for want of a right.
    pub refused: Steps,
    /// What it answered, if only with an error.
    pub answered: Steps,
}

/// More pushes than this before the handshake ends are no server's doing: nothing has been subscribed to.
const PUSHES_MAX: usize = 16;
/// Words of the server's that are kept (run id, policy, our address) are shorter than this. Redis' are 40, 15 and 107.
const WORD_BYTES_MAX: usize = 128;
/// Since when servers have a command that compares and deletes: `DELEX` in Redis, `DELIFEQ` in Valkey.
const REDIS_WITH_DELEX: (u32, u32) = (8, 4);
const VALKEY_WITH_DELIFEQ: (u32, u32) = (9, 0);

/// A handshake under way.
#[derive(Debug)]
pub struct Handshake {
    login: Login,
    previous: Option<Identity>,
    round: Round,
    awaited: VecDeque<Step>,
    pushes: usize,
    is_resp3: bool,
    /// Major and minor version, where the server says that it is a Redis or a Valkey.
    redis: Option<(u32, u32)>,
    valkey: Option<(u32, u32)>,
    client: Option<(u64, String)>,
    info: ServerInfo,
    refused: Steps,
    answered: Steps,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    Opening,
    Questions,
    LastThing,
    Over,
}

impl Handshake {
    /// Begins: appends the first commands to `out`.
    ///
    /// `previous` is a connection that was given up. If the server is the same process still, it is told to close that
    /// one before this handshake ends: a SET of its, retransmitted by the kernel, would otherwise run after the
    /// release that follows here.
    pub fn new(login: &Login, previous: Option<&Identity>, out: &mut Vec<u8>) -> Handshake {
        let mut handshake = Handshake {
            login: login.clone(),
            previous: previous.cloned(),
            round: Round::Opening,
            awaited: VecDeque::new(),
            pushes: 0,
            is_resp3: false,
            redis: None,
            valkey: None,
            client: None,
            info: ServerInfo::default(),
            refused: Steps::default(),
            answered: Steps::default(),
        };
        let credentials = handshake.credentials();
        if login.protocol != Protocol::Resp2 && !login.leave_out.contains(Step::Hello) {
            let mut words = vec!["HELLO", "3"];
            if let Some((username, password)) = &credentials {
                words.extend(["AUTH", username.as_deref().unwrap_or("default"), password]);
            }
            say(out, &words);
            handshake.awaited.push_back(Step::Hello);
        } else if credentials.is_some() {
            handshake.authenticate(out);
        }
        if credentials.is_none() {
            handshake.ask_questions(out);
        }
        handshake
    }

    /// Takes one whole frame and appends what is to be said next to `out`. Some: the connection is ready.
    ///
    /// # Errors
    /// The connection cannot be used: wrong credentials, a refusal, or a peer that does not speak the protocol.
    pub fn on_frame(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<Option<Greeting>, Fault> {
        if frame.first() == Some(&b'>') {
            self.pushes += 1;
            if self.pushes > PUSHES_MAX {
                return Err(protocol("too many pushes during the handshake"));
            }
            return Ok(None);
        }
        let Some(step) = self.awaited.pop_front() else {
            return Err(protocol("a reply without a request"));
        };
        self.answered.insert(step);
        match error::words(frame) {
            Some(words) => self.on_error(step, words, out)?,
            None => self.on_value(step, value(frame)?)?,
        }
        while self.awaited.is_empty() {
            match self.round {
                Round::Opening => self.ask_questions(out),
                Round::Questions => self.say_the_last_thing(out),
                Round::LastThing | Round::Over => {
                    self.round = Round::Over;
                    return Ok(Some(self.greeting()));
                }
            }
        }
        Ok(None)
    }

    /// The peer has closed the connection: over which command, and what to leave out next time if it is that which it
    /// cannot bear. `answered`: what it has answered before; those it knows, and leaves for another reason.
    #[must_use]
    pub fn closed(&self, answered: Steps) -> (&'static str, Option<Steps>) {
        let Some(&step) = self.awaited.front() else { return ("the handshake", None) };
        let is_needed = step == Step::Hello && self.login.protocol == Protocol::Resp3;
        let family = step.family().filter(|family| !is_needed && !family.meets(answered.or(self.answered)));
        (step.name(), family)
    }

    /// Whether the peer has said anything.
    #[must_use]
    pub fn has_heard(&self) -> bool {
        self.pushes > 0 || !self.answered.is_empty()
    }

    /// User, if not the default one, and password; `None` where there is nothing to present.
    fn credentials(&self) -> Option<(Option<String>, String)> {
        let username = self.login.username.clone().filter(|username| !username.is_empty());
        let password = self.login.password.as_ref().map_or("", Secret::expose).to_owned();
        (username.is_some() || !password.is_empty()).then_some((username, password))
    }

    fn authenticate(&mut self, out: &mut Vec<u8>) {
        if let Some((username, password)) = self.credentials() {
            match &username {
                Some(username) => say(out, &["AUTH", username, &password]),
                // One argument is all that servers before Redis 6 take.
                None => say(out, &["AUTH", &password]),
            }
            self.awaited.push_back(Step::Auth);
        }
    }

    fn ask(&mut self, out: &mut Vec<u8>, step: Step, words: &[&str]) {
        if !self.login.leave_out.contains(step) {
            say(out, words);
            self.awaited.push_back(step);
        }
    }

    fn ask_questions(&mut self, out: &mut Vec<u8>) {
        self.round = Round::Questions;
        if self.login.db != 0 {
            let db = self.login.db.to_string();
            self.ask(out, Step::Select, &["SELECT", &db]);
        }
        if let Some(name) = self.login.client_name.clone().filter(|name| !name.is_empty()) {
            self.ask(out, Step::SetName, &["CLIENT", "SETNAME", &name]);
        }
        self.ask(out, Step::SetInfo, &["CLIENT", "SETINFO", "LIB-NAME", "libredlock"]);
        self.ask(out, Step::SetInfo, &["CLIENT", "SETINFO", "LIB-VER", env!("CARGO_PKG_VERSION")]);
        // RESP3 may be undecided here, when HELLO is in the same segment. In RESP2 the answer is yes and means nothing.
        let is_resp3_possible = self.is_resp3 || self.awaited.contains(&Step::Hello);
        if self.login.tracking && is_resp3_possible {
            self.ask(out, Step::Tracking, &["CLIENT", "TRACKING", "ON", "OPTIN"]);
        }
        self.ask(out, Step::ClientInfo, &["CLIENT", "INFO"]);
        self.ask(out, Step::InfoServer, &["INFO", "server"]);
        self.ask(out, Step::InfoReplication, &["INFO", "replication"]);
        self.ask(out, Step::InfoMemory, &["INFO", "memory"]);
        self.ask(out, Step::Time, &["TIME"]);
        if self.awaited.is_empty() && self.answered.is_empty() {
            // Nothing is ready before it has said something.
            self.ask(out, Step::Ping, &["PING"]);
        }
    }

    fn say_the_last_thing(&mut self, out: &mut Vec<u8>) {
        self.round = Round::LastThing;
        let previous = self.previous.take().filter(|previous| {
            !previous.run_id.is_empty() && !previous.addr.is_empty() && previous.run_id == self.info.run_id
        });
        if let Some(previous) = previous {
            let id = previous.client_id.to_string();
            self.ask(out, Step::Kill, &["CLIENT", "KILL", "ID", &id, "ADDR", &previous.addr]);
        }
    }

    fn on_error(&mut self, step: Step, words: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let judged = error::judge(words);
        if matches!(step, Step::Hello | Step::Auth) && self.credentials().is_some() {
            return self.on_refused_credentials(step, words, judged, out);
        }
        match error::code(words) {
            b"NOPERM" => self.refused.insert(step),
            b"NOAUTH" => return Err(error::fault(FaultKind::Permanent, words)),
            b"DENIED" => return Err(error::fault(FaultKind::Permanent, words)),
            _ if words.starts_with(b"ERR max number of clients") => {
                return Err(error::fault(FaultKind::Refused, words));
            }
            _ => {}
        }
        match step {
            Step::Hello if self.login.protocol == Protocol::Resp3 => {
                return Err(error::fault(judged.unwrap_or(FaultKind::Permanent), words));
            }
            Step::Hello if judged == Some(FaultKind::Refused) => return Err(error::fault(FaultKind::Refused, words)),
            Step::Select => return Err(error::fault(judged.unwrap_or(FaultKind::Permanent), words)),
            // A server that is loading or busy with a script answers later. A connection without its answers would
            // be blind to a restart, and could not be killed or woken.
            _ if step.is_identity() && judged == Some(FaultKind::Refused) => {
                return Err(error::fault(FaultKind::Refused, words));
            }
            _ => {}
        }
        Ok(())
    }

    /// An error that answers a command with a password in it: servers repeat the arguments of a command they do not
    /// know, as they do when HELLO was renamed. Only the code may leave this function.
    fn on_refused_credentials(
        &mut self,
        step: Step,
        words: &[u8],
        judged: Option<FaultKind>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let code = match error::code(words) {
            code if code.len() <= 16 && code.iter().all(u8::is_ascii_uppercase) => {
                str::from_utf8(code).unwrap_or("ERR")
            }
            _ => "ERR",
        };
        let kind = judged.unwrap_or(FaultKind::Permanent);
        if words.starts_with(b"ERR max number of clients") {
            return Err(Fault::new(kind, "ERR max number of clients reached"));
        }
        // Any other ERR than that: HELLO is unknown, or has no such options. AUTH is older. Valkey 9 says NOAUTH to who
        // is not logged in and uses a command that does not exist.
        if step == Step::Hello && matches!(code, "ERR" | "NOPROTO" | "NOAUTH") && self.login.protocol != Protocol::Resp3
        {
            self.authenticate(out);
            return Ok(());
        }
        let what = match (step, kind) {
            (_, FaultKind::Refused) => "the server refuses connections for now",
            (_, _) if code == "DENIED" => "protected mode refuses other machines",
            (Step::Hello, _) if code == "ERR" || code == "NOPROTO" => "the server does not offer RESP3",
            _ => "authentication failed",
        };
        Err(Fault::new(kind, format!("{code}: {what}")))
    }

    fn on_value(&mut self, step: Step, value: Value) -> Result<(), Fault> {
        match step {
            Step::Hello => self.on_hello(value)?,
            Step::Auth | Step::Select if value != Value::Okay => {
                return Err(protocol(format!("not an answer to {}", step.name())));
            }
            Step::Auth | Step::Select | Step::SetName | Step::SetInfo | Step::Ping => {}
            Step::Kill => self.info.is_previous_closed = matches!(value, Value::Int(_)),
            Step::Tracking => self.info.can_track = self.is_resp3 && value == Value::Okay,
            Step::ClientInfo => self.client = text(value).as_deref().and_then(client),
            Step::InfoServer | Step::InfoReplication | Step::InfoMemory => {
                self.on_info(&text(value).unwrap_or_default())?;
            }
            Step::Time => self.info.time_us = time_us(value).unwrap_or(0),
        }
        Ok(())
    }

    fn on_hello(&mut self, value: Value) -> Result<(), Fault> {
        let Value::Map(entries) = value else { return Err(protocol("HELLO 3 was not answered with a map")) };
        let mut server = String::new();
        let mut found = None;
        for (name, value) in entries {
            match (text(name).as_deref(), value) {
                (Some("proto"), Value::Int(number)) => self.is_resp3 = number == 3,
                (Some("server"), value) => server = text(value).unwrap_or_default(),
                (Some("version"), value) => found = text(value).as_deref().and_then(version),
                (Some("mode"), value) => self.on_mode(&text(value).unwrap_or_default())?,
                (Some("role"), value) => self.on_role(&text(value).unwrap_or_default()),
                _ => {}
            }
        }
        match server.as_str() {
            "redis" => self.redis = found,
            "valkey" => self.valkey = found,
            _ => {}
        }
        if self.is_resp3 { Ok(()) } else { Err(protocol("HELLO 3 was answered, but not with protocol 3")) }
    }

    fn on_info(&mut self, section: &str) -> Result<(), Fault> {
        for (name, value) in section.lines().filter_map(|line| line.trim_end().split_once(':')) {
            match name {
                "run_id" => self.info.run_id = word(value),
                "uptime_in_seconds" => self.info.uptime_s = value.parse().unwrap_or(0),
                "redis_version" => self.redis = version(value),
                "valkey_version" => self.valkey = version(value),
                "redis_mode" | "server_mode" => self.on_mode(value)?,
                "role" => self.on_role(value),
                "maxmemory_policy" => self.info.maxmemory_policy = word(value),
                _ => {}
            }
        }
        Ok(())
    }

    /// Only a master on its own can be one of N independent ones.
    fn on_mode(&mut self, mode: &str) -> Result<(), Fault> {
        let what = match mode {
            "sentinel" => "is a Sentinel: name the masters themselves, each of them independent",
            "cluster" => error::CLUSTER_MODE,
            _ => return Ok(()),
        };
        Err(Fault::new(FaultKind::Permanent, what))
    }

    fn on_role(&mut self, role: &str) {
        self.info.is_replica |= matches!(role, "slave" | "replica");
    }

    fn greeting(&mut self) -> Greeting {
        let info = mem::take(&mut self.info);
        let identity = match self.client.take() {
            Some((client_id, addr)) if !info.run_id.is_empty() => {
                Some(Identity { client_id, addr, run_id: info.run_id.clone() })
            }
            _ => None,
        };
        Greeting { dialect: self.dialect(), info, identity, refused: self.refused, answered: self.answered }
    }

    /// What a server's version says that it has. Valkey gives Redis' version 7.2 beside its own.
    fn dialect(&self) -> Dialect {
        if !self.login.avoid_lua {
            return Dialect::Lua;
        }
        match (self.redis, self.valkey) {
            (_, Some(valkey)) if valkey >= VALKEY_WITH_DELIFEQ => Dialect::DelIfeq,
            (Some(redis), None) if redis >= REDIS_WITH_DELEX => Dialect::DelexIfeq,
            _ => Dialect::Lua,
        }
    }
}

/// Major and minor.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

fn say(out: &mut Vec<u8>, words: &[&str]) {
    let mut command = Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command.write_packed_command(out);
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

/// A word of the server's to keep; empty instead of one that is too long or not printable.
fn word(value: &str) -> String {
    let is_word = value.len() <= WORD_BYTES_MAX && value.bytes().all(|byte| byte.is_ascii_graphic());
    if is_word { value.to_owned() } else { String::new() }
}

/// `id=3 addr=127.0.0.1:51234 laddr=…`
fn client(line: &str) -> Option<(u64, String)> {
    let field = |name: &str| line.split_ascii_whitespace().find_map(|field| field.strip_prefix(name));
    let addr = word(field("addr=")?);
    (!addr.is_empty()).then_some((field("id=")?.parse().ok()?, addr))
}

/// Seconds and microseconds.
fn time_us(value: Value) -> Option<u64> {
    let Value::Array(parts) = value else { return None };
    let [seconds, micros] = <[Value; 2]>::try_from(parts).ok()?;
    let number = |value| match value {
        Value::Int(number) => u64::try_from(number).ok(),
        value => text(value)?.parse::<u64>().ok(),
    };
    number(seconds)?.checked_mul(1_000_000)?.checked_add(number(micros)?)
}

#[cfg(test)]
mod tests;
