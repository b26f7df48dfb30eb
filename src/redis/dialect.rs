//! What a connection speaks: which version of the protocol, and which command where several would do the same.

/// How one connection's server compares and deletes. Known after the handshake, fixed for the life of the connection.
///
/// Comparing and extending is always done by script. `SET key token IFEQ token PX ttl` would do without (Valkey since
/// 8.1, Redis since 8.4), but it cannot say "only upward": an extension by token would shorten the life on which the
/// holder counts. And Redis 8.6.3 crashes by it (SIGSEGV in dictRehash, after some hundred of them, with a few dozen
/// keys that expire).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// By a Lua script: every server since Redis 2.6.
    Lua,
    /// `DELEX key IFEQ token`: Redis since 8.4.
    DelexIfeq,
    /// `DELIFEQ key token`: Valkey since 9.0.
    DelIfeq,
}

/// Which version of the protocol to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// RESP3 where the server has it.
    #[default]
    Auto,
    /// RESP2: no invalidation pushes, hence no wake-up when a lock is released.
    Resp2,
    /// RESP3 or nothing.
    Resp3,
}
