//! What the locks protect: registers in a server of their own, which no fault befalls.
//!
//! A client reads a register, thinks, and writes its successor. Each register remembers who wrote it last, so that a
//! write which replaces another that its writer had not read – a lost update – is seen by the register itself, also
//! when the client is killed before it can tell anybody.

use std::io;

use crate::record::LeaseId;
use crate::support::{Conn, Reply};

/// Entries of a history that are read at once.
const PAGE: i64 = 10_000;

/// The plain register takes every write. The fenced one takes what comes with a token that is not smaller than any it
/// has seen, in reads as well as in writes: were the reads not fenced, a late write could slip in between the next
/// holder's read and its write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    Plain,
    Fenced,
}

const READ: &str = "
if ARGV[1] ~= '' then
  if tonumber(ARGV[1]) < tonumber(redis.call('HGET', KEYS[1], 'fence') or '0') then return false end
  redis.call('HSET', KEYS[1], 'fence', ARGV[1])
end
return {redis.call('HGET', KEYS[1], 'value') or '0', redis.call('HGET', KEYS[1], 'writer') or '0'}";

const WRITE: &str = "
if ARGV[1] ~= '' then
  if tonumber(ARGV[1]) < tonumber(redis.call('HGET', KEYS[1], 'fence') or '0') then return false end
  redis.call('HSET', KEYS[1], 'fence', ARGV[1])
end
local last = redis.call('HGET', KEYS[1], 'writer') or '0'
redis.call('HSET', KEYS[1], 'value', ARGV[2], 'writer', ARGV[3])
redis.call('RPUSH', KEYS[2], ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. last)
return 1";

/// One accepted write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update {
    pub writer: LeaseId,
    /// Whose value the writer had read.
    pub read: LeaseId,
    /// Whose value it replaced.
    pub replaced: LeaseId,
}

impl Update {
    pub fn is_loss(&self) -> bool {
        self.read != self.replaced
    }
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub value: u64,
    pub writer: LeaseId,
}

/// A connection to the store.
pub struct Store {
    conn: Conn,
    /// False: fencing tokens are not looked at.
    is_fencing: bool,
}

impl Store {
    pub fn open(port: u16, is_fencing: bool) -> Store {
        Store { conn: Conn::open("127.0.0.1", port).expect("the store runs"), is_fencing }
    }

    /// None: a larger token has been here.
    pub fn read(&mut self, register: Register, resource: usize, fence: u64) -> io::Result<Option<Seen>> {
        let fence = self.token(register, fence);
        let reply =
            self.conn.query(&[b"EVAL", READ.as_bytes(), b"1", key(register, resource).as_bytes(), fence.as_bytes()])?;
        match reply {
            Reply::Array(items) => Ok(Some(Seen { value: number(&items[0]), writer: LeaseId(number(&items[1])) })),
            Reply::Nil => Ok(None),
            other => Err(io::Error::other(format!("the store says {other:?}"))),
        }
    }

    /// Writes the successor of what was read. False: a larger token has been here.
    pub fn write(
        &mut self,
        register: Register,
        resource: usize,
        fence: u64,
        writer: LeaseId,
        seen: Seen,
    ) -> io::Result<bool> {
        let fence = self.token(register, fence);
        let (key, history) = (key(register, resource), history(register, resource));
        let (value, writer, read) = (seen.value + 1, writer.0, seen.writer.0);
        let (value, writer, read) = (value.to_string(), writer.to_string(), read.to_string());
        let strings: [&str; 9] = ["EVAL", WRITE, "2", &key, &history, &fence, &value, &writer, &read];
        match self.conn.query(&strings.map(str::as_bytes))? {
            Reply::Int(1) => Ok(true),
            Reply::Nil => Ok(false),
            other => Err(io::Error::other(format!("the store says {other:?}"))),
        }
    }

    /// All accepted writes in order.
    pub fn updates(&mut self, register: Register, resource: usize) -> Vec<Update> {
        let mut updates = Vec::new();
        loop {
            let (first, last) = (updates.len() as i64, updates.len() as i64 + PAGE - 1);
            let (first, last, key) = (first.to_string(), last.to_string(), history(register, resource));
            let reply = self.conn.query(&[b"LRANGE", key.as_bytes(), first.as_bytes(), last.as_bytes()]);
            let Ok(Reply::Array(items)) = reply else { panic!("the store says {reply:?}") };
            if items.is_empty() {
                return updates;
            }
            updates.extend(items.iter().map(|item| update(&item.text())));
        }
    }

    /// The value that a register has now.
    pub fn value(&mut self, register: Register, resource: usize) -> u64 {
        let reply = self.conn.query(&[b"HGET", key(register, resource).as_bytes(), b"value"]);
        number(&reply.expect("the store runs"))
    }

    fn token(&self, register: Register, fence: u64) -> String {
        if register == Register::Fenced && self.is_fencing { fence.to_string() } else { String::new() }
    }
}

fn key(register: Register, resource: usize) -> String {
    format!("{register:?}:{resource}")
}

fn history(register: Register, resource: usize) -> String {
    format!("{register:?}:{resource}:history")
}

fn number(reply: &Reply) -> u64 {
    reply.text().parse().unwrap_or(0)
}

fn update(text: &str) -> Update {
    let mut ids = text.split(' ').map(|id| LeaseId(id.parse().expect("ids are numbers")));
    let mut next = || ids.next().expect("three ids");
    Update { writer: next(), read: next(), replaced: next() }
}
