//! Requests as bytes.

use ::redis::Cmd;

use super::dialect::Dialect;
use super::{counter, scripts};
use crate::core::request::{HOLDER_BYTES, Request};

/// Longer requests are not kept for the next node.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// Writes requests. It keeps the buffers of the last one, so that in the long run encoding allocates nothing, and its
/// bytes: what is said to one node is mostly said to the others next.
#[derive(Default)]
pub struct Encoder {
    command: Cmd,
    said: Option<(Request, Dialect)>,
    bytes: Vec<u8>,
    counter: Vec<u8>,
}

impl Encoder {
    /// An encoder with empty buffers.
    #[must_use]
    pub fn new() -> Encoder {
        Encoder { command: Cmd::new(), said: None, bytes: Vec::new(), counter: Vec::new() }
    }

    /// Appends `request` to `out` in the words of `dialect`: exactly one command.
    pub fn encode(&mut self, request: &Request, dialect: Dialect, out: &mut Vec<u8>) {
        let is_repeated = self.said.as_ref().is_some_and(|(said, of)| *of == dialect && said == request);
        if !is_repeated {
            self.write(request, dialect);
        }
        out.extend_from_slice(&self.bytes);
        if self.bytes.len() > KEPT_BYTES_MAX {
            *self = Encoder::new();
        }
    }

    fn write(&mut self, request: &Request, dialect: Dialect) {
        let command = &mut self.command;
        command.clear();
        match request {
            Request::Set { key, token, ttl_ms } => {
                command.arg("SET").arg(&key[..]).arg(&token[..]).arg("NX").arg("PX").arg(*ttl_ms);
            }
            Request::SetFenced { key, token, ttl_ms, proposal, limit } => {
                counter::name(key, &mut self.counter);
                command.arg("EVAL").arg(scripts::SET_FENCED).arg("2").arg(&key[..]).arg(&self.counter[..]);
                command.arg(&token[..]).arg(*ttl_ms).arg(*proposal).arg(counter::life_ms(*ttl_ms)).arg(*limit);
            }
            Request::ExtendFenced { key, token, ttl_ms, fence } => {
                counter::name(key, &mut self.counter);
                command.arg("EVAL").arg(scripts::EXTEND_FENCED).arg("2").arg(&key[..]).arg(&self.counter[..]);
                command.arg(&token[..]).arg(*ttl_ms).arg(*fence).arg(counter::life_ms(*ttl_ms));
            }
            Request::Release { key, token } => match dialect {
                Dialect::Lua => {
                    command.arg("EVAL").arg(scripts::RELEASE).arg("1").arg(&key[..]).arg(&token[..]);
                }
                Dialect::DelexIfeq => {
                    command.arg("DELEX").arg(&key[..]).arg("IFEQ").arg(&token[..]);
                }
                Dialect::DelIfeq => {
                    command.arg("DELIFEQ").arg(&key[..]).arg(&token[..]);
                }
            },
            Request::Extend { key, token, ttl_ms } => {
                command.arg("EVAL").arg(scripts::EXTEND).arg("1").arg(&key[..]).arg(&token[..]).arg(*ttl_ms);
            }
            Request::Track => {
                command.arg("CLIENT").arg("CACHING").arg("YES");
            }
            Request::Remaining { key } => {
                command.arg("PTTL").arg(&key[..]);
            }
            Request::Holder { key } => {
                command.arg("GETRANGE").arg(&key[..]).arg("0").arg(HOLDER_BYTES - 1);
            }
        }
        self.bytes.clear();
        command.write_packed_command(&mut self.bytes);
        self.said = Some((request.clone(), dialect));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::request::Bytes;

    const DIALECTS: [Dialect; 3] = [Dialect::Lua, Dialect::DelexIfeq, Dialect::DelIfeq];

    fn bytes(text: &str) -> Bytes {
        text.as_bytes().into()
    }

    /// The arguments on the wire, joined by spaces.
    fn said(request: &Request, dialect: Dialect) -> String {
        let mut out = Vec::new();
        Encoder::new().encode(request, dialect, &mut out);
        let text = String::from_utf8(out).unwrap();
        let mut lines = text.split("\r\n");
        let count: usize = lines.next().unwrap()[1..].parse().unwrap();
        let arguments: Vec<&str> = lines.skip(1).step_by(2).take(count).collect();
        assert_eq!(arguments.len(), count);
        arguments.join(" ")
    }

    #[test]
    fn set_is_conditional_and_expires() {
        let request = Request::Set { key: bytes("k"), token: bytes("t"), ttl_ms: 10_000 };
        assert_eq!(said(&request, Dialect::Lua), "SET k t NX PX 10000");
    }

    #[test]
    fn release_compares_before_it_deletes_in_every_dialect() {
        let request = Request::Release { key: bytes("k"), token: bytes("t") };
        assert_eq!(said(&request, Dialect::Lua), format!("EVAL {} 1 k t", scripts::RELEASE));
        assert_eq!(said(&request, Dialect::DelexIfeq), "DELEX k IFEQ t");
        assert_eq!(said(&request, Dialect::DelIfeq), "DELIFEQ k t");
    }

    #[test]
    fn extension_is_by_script_in_every_dialect() {
        let request = Request::Extend { key: bytes("k"), token: bytes("t"), ttl_ms: 5 };
        for dialect in DIALECTS {
            assert_eq!(said(&request, dialect), format!("EVAL {} 1 k t 5", scripts::EXTEND));
        }
    }

    #[test]
    fn fenced_requests_name_the_counter_and_its_life_in_every_dialect() {
        let (key, token, ttl_ms) = (bytes("k"), bytes("t"), 5);
        let set = Request::SetFenced { key: key.clone(), token: token.clone(), ttl_ms, proposal: 77, limit: 99 };
        let extend = Request::ExtendFenced { key, token, ttl_ms, fence: 78 };
        let tail = |number: u64| format!("2 k {{k}}:redlock-fence t 5 {number} 86400005");
        for dialect in [Dialect::Lua, Dialect::DelexIfeq] {
            assert_eq!(said(&set, dialect), format!("EVAL {} {} 99", scripts::SET_FENCED, tail(77)));
            assert_eq!(said(&extend, dialect), format!("EVAL {} {}", scripts::EXTEND_FENCED, tail(78)));
        }
    }

    #[test]
    fn questions_are_single_commands() {
        assert_eq!(said(&Request::Track, Dialect::Lua), "CLIENT CACHING YES");
        assert_eq!(said(&Request::Remaining { key: bytes("k") }, Dialect::Lua), "PTTL k");
        assert_eq!(said(&Request::Holder { key: bytes("k") }, Dialect::Lua), "GETRANGE k 0 255");
    }

    #[test]
    fn binary_keys_and_tokens_pass_unchanged_and_requests_append() {
        let request = Request::Set { key: (&b"\0\r\n"[..]).into(), token: (&b"\xff$1"[..]).into(), ttl_ms: 1 };
        let mut encoder = Encoder::new();
        let mut out = b"before".to_vec();
        encoder.encode(&Request::Track, Dialect::Lua, &mut out);
        let second = out.len();
        encoder.encode(&request, Dialect::Lua, &mut out);
        assert!(out.starts_with(b"before*3\r\n$6\r\nCLIENT\r\n"));
        assert_eq!(
            &out[second..],
            b"*6\r\n$3\r\nSET\r\n$3\r\n\0\r\n\r\n$3\r\n\xff$1\r\n$2\r\nNX\r\n$2\r\nPX\r\n$1\r\n1\r\n"
        );
    }
}
