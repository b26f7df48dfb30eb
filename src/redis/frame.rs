//! Cuts complete frames from a stream that may be hostile.
//!
//! RESP2 and RESP3 (<https://redis.io/docs/latest/develop/reference/protocol-spec/>), without the streamed types, which
//! no server sends. Every length is checked before a byte of it is waited for, and every byte is looked at once, however
//! small the pieces in which a frame arrives.

use super::error::escape;
use crate::core::request::{Fault, FaultKind};

/// Longest frame in bytes. The longest honest ones are INFO sections and HELLO's list of modules (some kB) and
/// invalidations, which repeat a key of at most 4 KiB; this is more than ten times as much, and what fifteen hostile
/// nodes can make us keep stays below 4 MiB.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;
/// Longest single line (status, error, big number). Servers cut the arguments they repeat in errors at 128 bytes.
pub const LINE_BYTES_MAX: usize = 16 * 1024;
/// Longest line that holds a length, an integer or less: −2^63 has 20 characters.
pub const NUMBER_BYTES_MAX: usize = 20;
/// Most elements in one frame, at all depths together. The largest honest frame is HELLO's map with its modules.
pub const ELEMENTS_MAX: usize = 4096;
/// Deepest nesting. HELLO's map holds a list of maps that hold lists: 4.
pub const DEPTH_MAX: usize = 8;

/// Some(n): the first n bytes are one complete frame. None: incomplete.
///
/// Looks at everything again each time; for a stream that arrives in pieces use a [`Cutter`].
///
/// # Errors
/// [`FaultKind::Protocol`]: this is not RESP, or it exceeds a limit. The connection must be closed.
pub fn cut(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    Cutter::new().cut(bytes)
}

/// Remembers how much of an incomplete frame has been looked at.
#[derive(Debug, Default)]
pub struct Cutter {
    /// Where the element begins that is being looked at.
    at: usize,
    /// How far its first line has been searched for its end.
    searched: usize,
    /// Where its body ends, CRLF included, once its length is known.
    body_end: Option<usize>,
    /// Elements begun or announced in this frame.
    elements: usize,
    /// Elements still to come in each open aggregate, outermost first.
    open: [usize; DEPTH_MAX],
    /// How many aggregates are open.
    depth: usize,
}

impl Cutter {
    /// At the beginning of a frame.
    #[must_use]
    pub fn new() -> Cutter {
        Cutter::default()
    }

    /// Like [`cut`], where `bytes` begins at the frame's start and only grows until Some(n) was returned, after which
    /// the next frame begins.
    ///
    /// # Errors
    /// As [`cut`]; the cutter must not be used any more.
    pub fn cut(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        loop {
            let is_complete = match self.body_end {
                Some(end) => {
                    let Some(body) = bytes.get(..end) else { return Ok(None) };
                    if !body.ends_with(b"\r\n") {
                        return Err(protocol("a string does not end where its length says"));
                    }
                    self.body_end = None;
                    self.at = end;
                    self.element_done()
                }
                None => {
                    let Some(line_end) = self.line_end(bytes)? else { return Ok(None) };
                    self.header(bytes[self.at], &bytes[self.at + 1..line_end], line_end + 2)?
                }
            };
            if is_complete {
                let end = self.at;
                *self = Cutter::new();
                return Ok(Some(end));
            }
        }
    }

    /// The position of the CRLF that ends the current element's first line.
    fn line_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        let Some(&kind) = bytes.get(self.at) else { return Ok(None) };
        let limit = match kind {
            b'+' | b'-' | b'(' | b',' => LINE_BYTES_MAX,
            b':' | b'$' | b'*' | b'_' | b'#' | b'!' | b'=' | b'%' | b'~' | b'|' => NUMBER_BYTES_MAX,
            b'>' if self.depth == 0 => NUMBER_BYTES_MAX,
            _ => return Err(protocol(format!("not RESP: a frame cannot begin with '{}'", escape(&[kind], 16)))),
        };
        let line_start = self.at + 1;
        let from = self.searched.max(line_start);
        let found = bytes[from..].iter().position(|byte| matches!(byte, b'\r' | b'\n')).map(|offset| from + offset);
        let length = found.unwrap_or(bytes.len()) - line_start;
        if length > limit {
            return Err(protocol(format!("a line is longer than {limit} bytes")));
        }
        self.searched = found.unwrap_or(bytes.len());
        let Some(end) = found else { return Ok(None) };
        match (bytes[end], bytes.get(end + 1)) {
            (b'\r', None) => Ok(None),
            (b'\r', Some(b'\n')) => Ok(Some(end)),
            _ => Err(protocol("a line does not end in CRLF")),
        }
    }

    /// Digests an element's first line, after which the rest begins at `next`. True: the frame is complete.
    fn header(&mut self, kind: u8, line: &[u8], next: usize) -> Result<bool, Fault> {
        if self.depth == 0 {
            self.elements = 1;
        }
        let is_valid = match kind {
            b'+' | b'-' => true,
            b':' => integer(line).is_some(),
            b'(' => is_digits(line.strip_prefix(b"-").unwrap_or(line)),
            b',' => std::str::from_utf8(line).is_ok_and(|text| text.parse::<f64>().is_ok()),
            b'_' => line.is_empty(),
            b'#' => matches!(line, b"t" | b"f"),
            b'$' | b'*' if line == b"-1" => true,
            b'$' | b'!' | b'=' => return self.string(line, next).map(|()| false),
            b'*' | b'~' | b'>' => return self.aggregate(line, 1, 0, next),
            b'%' => return self.aggregate(line, 2, 0, next),
            // The value that an attribute describes belongs to its frame.
            b'|' => return self.aggregate(line, 2, 1, next),
            _ => false,
        };
        if !is_valid {
            return Err(protocol(format!("not RESP: {}{}", kind as char, escape(line, 32))));
        }
        self.move_to(next)?;
        Ok(self.element_done())
    }

    fn string(&mut self, line: &[u8], next: usize) -> Result<(), Fault> {
        let end = next + length(line)? + 2;
        self.move_to(next)?;
        if end > FRAME_BYTES_MAX {
            return Err(too_long());
        }
        self.body_end = Some(end);
        Ok(())
    }

    /// Opens an aggregate of `per_entry` elements for each of the announced entries and `extra` more.
    fn aggregate(&mut self, line: &[u8], per_entry: usize, extra: usize, next: usize) -> Result<bool, Fault> {
        let count = length(line)? * per_entry + extra;
        self.elements += count;
        if self.elements > ELEMENTS_MAX {
            return Err(protocol(format!("a frame has more than {ELEMENTS_MAX} elements")));
        }
        self.move_to(next)?;
        if count == 0 {
            return Ok(self.element_done());
        }
        let Some(slot) = self.open.get_mut(self.depth) else {
            return Err(protocol(format!("a frame is nested deeper than {DEPTH_MAX} levels")));
        };
        *slot = count;
        self.depth += 1;
        Ok(false)
    }

    fn move_to(&mut self, next: usize) -> Result<(), Fault> {
        if next > FRAME_BYTES_MAX {
            return Err(too_long());
        }
        self.at = next;
        Ok(())
    }

    /// Closes the aggregates whose last element this was. True: the frame is complete.
    fn element_done(&mut self) -> bool {
        while let Some(innermost) = self.depth.checked_sub(1) {
            self.open[innermost] -= 1;
            if self.open[innermost] > 0 {
                return false;
            }
            self.depth = innermost;
        }
        true
    }
}

/// A length: digits only, and no more of them than a sum of two of the limits could need.
fn length(line: &[u8]) -> Result<usize, Fault> {
    let value = if is_digits(line) { integer(line) } else { None };
    match value.and_then(|value| usize::try_from(value).ok()) {
        Some(value) if value <= FRAME_BYTES_MAX => Ok(value),
        Some(_) => Err(too_long()),
        None => Err(protocol(format!("not RESP: '{}' is no length", escape(line, 32)))),
    }
}

/// An integer of the protocol; the plus sign that the specification allows has never been sent by a server.
pub(super) fn integer(line: &[u8]) -> Option<i64> {
    if !is_digits(line.strip_prefix(b"-").unwrap_or(line)) {
        return None;
    }
    std::str::from_utf8(line).ok()?.parse().ok()
}

fn is_digits(line: &[u8]) -> bool {
    !line.is_empty() && line.iter().all(u8::is_ascii_digit)
}

fn too_long() -> Fault {
    protocol(format!("a frame is longer than {FRAME_BYTES_MAX} bytes"))
}

/// A fault of a peer that does not keep to the protocol.
pub(super) fn protocol(text: impl Into<Box<str>>) -> Fault {
    Fault::new(FaultKind::Protocol, text)
}

#[cfg(test)]
mod tests;
