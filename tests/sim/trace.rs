//! The words in which a schedule is told.

use redlock::core::request::{Reply, Request};

use crate::rng::TokenId;

/// A request in a few words.
pub fn say(request: &Request) -> String {
    let name = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
    match request {
        Request::Set { key, token, ttl_ms } => format!("SET {} {} {ttl_ms} ms", name(key), named(TokenId::of(token))),
        Request::Release { key, token } => format!("release {} {}", name(key), named(TokenId::of(token))),
        Request::Extend { key, token, ttl_ms, .. } => {
            format!("extend {} {} {ttl_ms} ms", name(key), named(TokenId::of(token)))
        }
        Request::SetFenced { key, token, ttl_ms, proposal, .. } => {
            format!("fenced SET {} {} {ttl_ms} ms, {proposal}", name(key), named(TokenId::of(token)))
        }
        Request::ExtendFenced { key, token, ttl_ms, fence } => {
            format!("fenced extend {} {} {ttl_ms} ms, {fence}", name(key), named(TokenId::of(token)))
        }
        Request::Track => "track".to_owned(),
        Request::Remaining { key } => format!("PTTL {}", name(key)),
        Request::Holder { key } => format!("GETRANGE {}", name(key)),
    }
}

pub fn named(token: TokenId) -> String {
    format!("t{}.{}", token.client, token.count)
}

pub fn short(reply: &Reply) -> String {
    match reply {
        Reply::Holder(token) => format!("holder {}", named(TokenId::of(token))),
        Reply::Refused(fault) => format!("refused: {}", fault.text),
        Reply::Unclear(fault) => format!("unclear: {}", fault.text),
        other => format!("{other:?}"),
    }
}
