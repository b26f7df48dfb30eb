//! What reading from a connection yields, with TLS or without.

/// The most that one reading appends.
pub const READ_MAX_BYTES: usize = 16 * 1024;

/// What Reading found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Bytes were appended.
    Data {
        /// There may be more at once: read again before waiting, for the descriptor may never become readable for it.
        more: bool,
    },
    /// Nothing now.
    Empty,
    /// The peer has closed its side; there will be nothing more.
    Eof,
}
