//! Whole frames as replies, faults and pushes.
//!
//! Votes are definite or they are none: what is not exactly the answer that the request's command gives, or an error
//! that is known to leave nothing applied, never becomes [`Reply::Done`] or [`Reply::Not`].

use std::borrow::Cow;

use ::redis::{PushKind, Value};

use super::counter;
use super::error;
use super::frame::{integer, protocol};
use crate::core::request::{Fault, FaultKind, HOLDER_BYTES, Push, Remaining, Reply, RequestKind};

/// What a frame is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// The reply to the oldest request.
    Reply(Reply),
    /// An invalidation. Redis names one key in each, but the protocol has room for several ("Client-side caching in
    /// Redis": "an array of keys"), and broadcasting servers use it.
    Push(Vec<Push>),
    /// A push of another kind.
    Ignored,
}

/// Understands one frame that a [`Cutter`](super::frame::Cutter) has cut, where `awaited` is the kind of the oldest
/// unanswered request.
///
/// The frequent frames are understood without allocating (holders and pushes keep their bytes).
///
/// # Errors
/// [`FaultKind::Protocol`]: an answer of the wrong type, or an answer to nothing. The connection must be closed: from
/// here on nobody knows which reply belongs to which request.
pub fn classify(awaited: Option<RequestKind>, frame: &[u8]) -> Result<Incoming, Fault> {
    if frame.first() == Some(&b'>') {
        return push(frame);
    }
    let words = error::words(frame);
    let Some(kind) = awaited else {
        let shown = words.unwrap_or(frame);
        return Err(protocol(format!("a reply without a request: {}", error::escape(shown.trim_ascii_end(), 200))));
    };
    if let Some(words) = words {
        return Ok(Incoming::Reply(refusal(kind, words)));
    }
    let reply = match quick(frame) {
        Some(answer) => interpret(kind, answer),
        None => match value(frame)? {
            Value::ServerError(inner) => {
                let words = [inner.code(), inner.details().unwrap_or_default()].join(" ");
                Some(refusal(kind, words.as_bytes()))
            }
            Value::Okay => interpret(kind, Answer::Okay),
            Value::Nil => interpret(kind, Answer::Nil),
            Value::Int(number) => interpret(kind, Answer::Integer(number)),
            Value::BulkString(bytes) => interpret(kind, Answer::Bytes(Cow::Owned(bytes))),
            Value::VerbatimString { text, .. } => interpret(kind, Answer::Bytes(Cow::Owned(text.into_bytes()))),
            _ => None,
        },
    };
    match reply {
        Some(reply) => Ok(Incoming::Reply(reply)),
        None => {
            let shown = error::escape(frame.trim_ascii_end(), 64);
            Err(protocol(format!("not an answer to {kind:?}: {shown}")))
        }
    }
}

/// The answers that requests of ours can get.
enum Answer<'a> {
    Okay,
    Nil,
    Integer(i64),
    Bytes(Cow<'a, [u8]>),
}

/// The frequent frames, without the general parser.
fn quick(frame: &[u8]) -> Option<Answer<'_>> {
    match frame {
        b"+OK\r\n" => Some(Answer::Okay),
        b"$-1\r\n" | b"_\r\n" | b"*-1\r\n" => Some(Answer::Nil),
        [b':', number @ .., b'\r', b'\n'] => integer(number).map(Answer::Integer),
        [b'$', ..] => {
            let (bytes, rest) = bulk(frame)?;
            rest.is_empty().then_some(Answer::Bytes(Cow::Borrowed(bytes)))
        }
        _ => None,
    }
}

/// The bulk string at the beginning, and what follows it.
fn bulk(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(b"$")?;
    let line_end = rest.iter().position(|byte| *byte == b'\r')?;
    let length = usize::try_from(integer(&rest[..line_end])?).ok()?;
    let (body, rest) = rest.get(line_end + 2..)?.split_at_checked(length)?;
    Some((body, rest.strip_prefix(b"\r\n")?))
}

/// What an answer means for the request; `None`: no answer that this request can have.
fn interpret(kind: RequestKind, answer: Answer<'_>) -> Option<Reply> {
    match (kind, answer) {
        (RequestKind::Set | RequestKind::Track, Answer::Okay) => Some(Reply::Done),
        (RequestKind::Set | RequestKind::SetFenced, Answer::Nil) => Some(Reply::Not),
        (RequestKind::SetFenced, Answer::Bytes(bytes)) => {
            counter::parse(&bytes).map(|(counter, time_us)| Reply::Fenced { counter, time_us })
        }
        (RequestKind::Extend | RequestKind::ExtendFenced, Answer::Integer(1)) => Some(Reply::Done),
        (RequestKind::Extend | RequestKind::ExtendFenced, Answer::Integer(0)) => Some(Reply::Not),
        (RequestKind::Release, Answer::Integer(1)) => Some(Reply::Done),
        (RequestKind::Release, Answer::Integer(0)) => Some(Reply::Not),
        (RequestKind::Remaining, Answer::Integer(number)) => match number {
            -2 => Some(Reply::Remaining(Remaining::Absent)),
            -1 => Some(Reply::Remaining(Remaining::Forever)),
            left => u64::try_from(left).ok().map(|left_ms| Reply::Remaining(Remaining::Ms(left_ms))),
        },
        (RequestKind::Holder, Answer::Nil) => Some(Reply::Not),
        // GETRANGE gives an absent key and an empty value the same answer. A token is never empty: a key with an
        // empty value is no lock of ours, and "nobody holds it" is as good a description of it as any.
        (RequestKind::Holder, Answer::Bytes(bytes)) if bytes.is_empty() => Some(Reply::Not),
        (RequestKind::Holder, Answer::Bytes(bytes)) if bytes.len() <= HOLDER_BYTES => {
            Some(Reply::Holder(bytes.as_ref().into()))
        }
        _ => None,
    }
}

/// What an error means for the request.
fn refusal(kind: RequestKind, words: &[u8]) -> Reply {
    let is_question = matches!(kind, RequestKind::Track | RequestKind::Remaining | RequestKind::Holder);
    match error::judge(words) {
        Some(judged) => Reply::Refused(error::fault(judged, words)),
        // Nothing can have been applied where nothing was to be.
        None if is_question => Reply::Refused(error::fault(FaultKind::Refused, words)),
        None => Reply::Unclear(error::fault(FaultKind::Refused, words)),
    }
}

/// The general parser, past the attributes that may stand before a value.
///
/// Only for frames that have been cut: it has no limits of its own.
pub(super) fn value(frame: &[u8]) -> Result<Value, Fault> {
    let mut value = ::redis::parse_redis_value(frame).map_err(|_| {
        let shown = error::escape(frame.trim_ascii_end(), 64);
        protocol(format!("not RESP: {shown}"))
    })?;
    while let Value::Attribute { data, .. } = value {
        value = *data;
    }
    Ok(value)
}

fn push(frame: &[u8]) -> Result<Incoming, Fault> {
    if let Some(keys) = frame.strip_prefix(b">2\r\n$10\r\ninvalidate\r\n")
        && let Some((key, b"")) = keys.strip_prefix(b"*1\r\n").and_then(bulk)
    {
        return Ok(Incoming::Push(vec![Push::Key(key.to_vec())]));
    }
    let Value::Push { kind: PushKind::Invalidate, data } = value(frame)? else { return Ok(Incoming::Ignored) };
    let key = |value| match value {
        Value::BulkString(key) => Some(Push::Key(key)),
        Value::SimpleString(key) => Some(Push::Key(key.into_bytes())),
        _ => None,
    };
    let pushes = match <[Value; 1]>::try_from(data) {
        Ok([Value::Nil]) => Some(vec![Push::Flush]),
        Ok([Value::Array(keys)]) => keys.into_iter().map(key).collect(),
        _ => None,
    };
    pushes.map(Incoming::Push).ok_or_else(|| protocol("an invalidation without keys"))
}

#[cfg(test)]
mod tests;
