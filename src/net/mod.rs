//! Sockets, clocks and waiting; no protocol and no algorithm.
//!
//! A [`Stream`](stream::Stream) is one connection to one node, plain or TLS, over TCP or a unix socket, that never
//! blocks and owns no deadline. [`LeaseClock`](clock::LeaseClock) tells the time that the core is given.
//! [`sys`] makes every system call. Of the core this module knows only faults and [`Now`](crate::core::time::Now).

pub mod clock;
pub mod read;
mod resolve;
pub mod stream;
pub mod sys;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
pub mod tls;

use std::io;

use crate::core::request::{FAULT_TEXT_MAX, Fault, FaultKind};

/// A fault whose text may quote what a peer or the system said: control characters escaped, cut to its limit.
fn fault(kind: FaultKind, text: &str) -> Fault {
    let mut safe = String::with_capacity(text.len().min(FAULT_TEXT_MAX));
    for character in text.chars() {
        let before = safe.len();
        if character.is_control() {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
        if safe.len() > FAULT_TEXT_MAX {
            safe.truncate(before);
            break;
        }
    }
    Fault::new(kind, safe)
}

fn unreachable_fault(text: &str) -> Fault {
    fault(FaultKind::Unreachable, text)
}

/// The system's words without the decoration that std adds: `connection refused`.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(text);
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_reads_like_prose() {
        assert_eq!(reason(&io::Error::from_raw_os_error(111)), "connection refused");
        assert_eq!(reason(&io::Error::from_raw_os_error(24)), "too many open files");
    }

    #[test]
    fn a_fault_text_is_escaped_and_cut_between_characters() {
        assert_eq!(&*unreachable_fault("a\r\n\u{1b}b").text, "a\\r\\n\\u{1b}b");
        let cut = unreachable_fault(&"é".repeat(1_000));
        assert_eq!(cut.text.len(), FAULT_TEXT_MAX);
        let odd = unreachable_fault(&format!("x{}", "é".repeat(1_000)));
        assert_eq!(odd.text.len(), FAULT_TEXT_MAX - 1);
    }
}
