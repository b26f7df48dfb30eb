//! A connection of our own to one node, for questions that no lock needs: what `doctor` and `top` ask.
//!
//! It blocks, one question at a time, on the library's own transport: same URLs, same TLS, same limits on replies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{FromRedisValue, Value};
use redlock::core::request::Fault;
use redlock::engine::Options;
use redlock::net::read::Read;
use redlock::net::stream::{Address, Endpoint, Progress, Stream};
use redlock::net::sys::{PollFd, poll};
use redlock::net::tls::{TlsContext, TlsOptions};
use redlock::redis::frame::Cutter;
use redlock::redis::url::{self, NodeUrl, Secret};

/// Dialling, and every answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// One node, connected and logged in.
pub struct Probe {
    stream: Stream,
    received: Vec<u8>,
    cutter: Cutter,
    user: Option<String>,
}

/// What a node answered.
pub type Answer<T> = Result<T, String>;

impl Probe {
    /// Connects and logs in as the library would.
    pub fn open(url: &str, options: &Options) -> Answer<Probe> {
        let node = url::parse(url)?;
        let address = match node.address.clone() {
            url::Address::Tcp { host, port } => Address::Tcp { host, port },
            url::Address::Unix(path) => Address::Unix(path),
        };
        let tls = node.tls.then(|| {
            Arc::new(TlsContext::new(TlsOptions {
                ca_file: options.tls_ca_file.clone(),
                cert_file: options.tls_cert_file.clone(),
                key_file: options.tls_key_file.clone(),
                insecure: options.tls_insecure,
            }))
        });
        if let Some(tls) = &tls {
            tls.prepare().map_err(text)?;
        }
        let mut stream = Stream::dial(&Arc::new(Endpoint::new(address, tls)));
        let deadline = Instant::now() + TIMEOUT;
        while stream.drive().map_err(text)? == Progress::Pending {
            wait(&stream, false, deadline)?;
        }
        let mut probe = Probe { stream, received: Vec::new(), cutter: Cutter::new(), user: None };
        probe.log_in(&node, options)?;
        Ok(probe)
    }

    fn log_in(&mut self, node: &NodeUrl, options: &Options) -> Answer<()> {
        let has_own_login = node.password.is_some() || node.username.is_some();
        let user = if has_own_login { &node.username } else { &options.username };
        let password = node.password.as_ref().map(Secret::expose).or(options.password.as_deref());
        if let Some(password) = password {
            let mut words = vec!["AUTH"];
            words.extend(user.as_deref());
            words.push(password);
            self.user = user.clone();
            // The node may repeat the arguments in its message: only the code is safe to show.
            self.ask::<Value>(&words).map_err(|error| {
                error
                    .split_whitespace()
                    .next()
                    .map_or("login failed".to_owned(), |code| format!("login failed: {code}"))
            })?;
        }
        if node.db != 0 {
            self.ask::<Value>(&["SELECT", &node.db.to_string()])?;
        }
        Ok(())
    }

    /// The user of the login; `None`: the default user.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Asks one question. The node's error is the answer's error.
    pub fn ask<T: FromRedisValue>(&mut self, words: &[&str]) -> Answer<T> {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(*word);
        });
        let deadline = Instant::now() + TIMEOUT;
        self.send(&command.get_packed_command(), deadline)?;
        let frame = self.receive(deadline)?;
        if let Some(error) = frame.strip_prefix(b"-") {
            let printable = |c: char| if c.is_control() { '?' } else { c };
            return Err(String::from_utf8_lossy(error).trim_end().chars().map(printable).collect());
        }
        let value = redis::parse_redis_value(&frame).map_err(|error| error.to_string())?;
        redis::from_redis_value(value).map_err(|error| error.to_string())
    }

    /// The round trip of one PING.
    pub fn ping(&mut self) -> Answer<Duration> {
        let begun = Instant::now();
        self.ask::<Value>(&["PING"])?;
        Ok(begun.elapsed())
    }

    fn send(&mut self, mut bytes: &[u8], deadline: Instant) -> Answer<()> {
        loop {
            let count = self.stream.write(bytes).map_err(text)?;
            bytes = &bytes[count..];
            if bytes.is_empty() && !self.stream.wants_write() {
                return Ok(());
            }
            wait(&self.stream, true, deadline)?;
            self.stream.drive().map_err(text)?;
        }
    }

    fn receive(&mut self, deadline: Instant) -> Answer<Vec<u8>> {
        loop {
            if let Some(length) = self.cutter.cut(&self.received).map_err(text)? {
                return Ok(self.received.drain(..length).collect());
            }
            match self.stream.read(&mut self.received).map_err(text)? {
                Read::Eof => return Err("closed the connection".to_owned()),
                Read::Empty => wait(&self.stream, false, deadline)?,
                Read::Data { .. } => {}
            }
        }
    }
}

fn text(fault: Fault) -> String {
    fault.text.to_string()
}

fn wait(stream: &Stream, for_room: bool, deadline: Instant) -> Answer<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(format!("no answer within {} s", TIMEOUT.as_secs()));
    }
    let Some((fd, mut interest)) = stream.interest() else { return Ok(()) };
    interest.write |= for_room;
    let left_ns = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
    poll(&mut [PollFd::new(fd, interest)], Some(left_ns)).map(|_| ()).map_err(|error| error.to_string())
}
