//! Ports that speak something else, known by the first bytes that they say.

/// So many bytes are enough to tell.
pub const BYTES_NEEDED: usize = 5;

/// What the port speaks, as a sentence that says what to do; `None`: it cannot be told. `wants_tls`: the URL asked for
/// TLS, and these bytes came in plain.
#[must_use]
pub fn recognise(bytes: &[u8], wants_tls: bool) -> Option<&'static str> {
    match bytes {
        // An alert or a handshake message in a record of TLS (RFC 8446 §5.1).
        [20..=23, 3, 0..=4, ..] if !wants_tls => Some("the port speaks TLS: use rediss:// instead of redis://"),
        [b'H', b'T', b'T', b'P', b'/', ..] => Some("the port speaks HTTP: it is no Redis server's"),
        [b'S', b'S', b'H', b'-', ..] => Some("the port speaks SSH: it is no Redis server's"),
        // Length, sequence number, and version 10 of the greeting or an error.
        [_, _, 0, 0, 10 | 0xff, ..] => Some("the port speaks MySQL: it is no Redis server's"),
        [b'2', b'2', b'0', b' ' | b'-', ..] => Some("the port speaks SMTP or FTP: it is no Redis server's"),
        [b'A', b'M', b'Q', b'P', ..] => Some("the port speaks AMQP: it is no Redis server's"),
        [b'-' | b'+' | b':' | b'$' | b'*', ..] if wants_tls => {
            Some("the port does not speak TLS: use redis:// instead of rediss://")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_port_speaks_is_told_by_its_first_bytes() {
        for (bytes, wants_tls, word) in [
            (&b"\x15\x03\x03\x00\x02\x02\x46"[..], false, Some("use rediss://")),
            (b"\x16\x03\x03\x00\x7a", false, Some("use rediss://")),
            (b"+PONG\r\n", true, Some("use redis://")),
            (b"-NOAUTH Authentication required.\r\n", true, Some("use redis://")),
            (b"HTTP/1.1 400 Bad Request", false, Some("HTTP")),
            (b"HTTP/1.1 400 Bad Request", true, Some("HTTP")),
            (b"J\x00\x00\x00\x0a8.0.36", false, Some("MySQL")),
            (b"SSH-2.0-OpenSSH_9.2", false, Some("SSH")),
            (b"220 mail.example ESMTP", false, Some("SMTP")),
            (b"+OK\r\n", false, None),
            (b"", false, None),
            (b"\x15", false, None),
        ] {
            let said = recognise(bytes, wants_tls);
            assert_eq!(said.is_some(), word.is_some(), "{bytes:?}");
            assert!(word.is_none_or(|word| said.is_some_and(|said| said.contains(word))), "{bytes:?}: {said:?}");
        }
    }
}
