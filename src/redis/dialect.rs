//! Which of a server's commands are used where several would do the same.

/// How one connection's server compares and deletes, and compares and extends. Known after the handshake, fixed for
/// the life of the connection, and needed to understand replies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dialect {
    /// Compare and delete.
    pub delete: DeleteBy,
    /// Compare and extend.
    pub extend: ExtendBy,
}

/// How a key is deleted where its value is ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeleteBy {
    /// A Lua script: every server since Redis 2.6.
    Script,
    /// `DELEX key IFEQ token`: Redis since 8.4.
    DelexIfeq,
    /// `DELIFEQ key token`: Valkey since 9.0.
    DelIfeq,
}

/// How a key's life is lengthened where its value is ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExtendBy {
    /// A Lua script, which can also see that the life is never shortened.
    Script,
    /// `SET key token IFEQ token PX ttl`: Valkey since 8.1, Redis since 8.4. It cannot say "only upward", therefore
    /// the largest ttl ever asked for with the token is sent.
    SetIfeq,
}

impl Dialect {
    /// What every server understands.
    pub const LUA: Dialect = Dialect { delete: DeleteBy::Script, extend: ExtendBy::Script };
}
