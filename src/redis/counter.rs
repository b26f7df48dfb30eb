//! The fencing counter that stands beside a lock key: its name, its life, what is said about it.

/// Ends every counter's name. Lock keys that end so are not allowed, so that no lock is ever taken for a counter.
pub const SUFFIX: &[u8] = b":redlock-fence";

/// A counter outlives the lock it was last used for by a day: for so long tokens grow whatever the clocks say. After
/// that the server's time takes its place, which is above any token of a day ago unless the clock was set back by that
/// much. Longer would keep the counters of resources that are used once.
const LIFE_MS: u64 = 24 * 3_600_000;

/// The life to give a counter when its lock is given `ttl_ms`.
pub(super) fn life_ms(ttl_ms: u64) -> u64 {
    ttl_ms.saturating_add(LIFE_MS)
}

/// Writes the name of the counter beside `key`: `{key}:redlock-fence`, or `key:redlock-fence` where the key has a
/// hash tag already, so that both are in one slot where the server counts slots (Redis cluster specification, "Hash
/// tags": what is between the first `{` and the first `}` after it, if anything is). A key with `}` but without a tag
/// is the exception: such a server answers CROSSSLOT.
pub(super) fn name(key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    if has_tag(key) {
        out.extend_from_slice(key);
    } else {
        out.push(b'{');
        out.extend_from_slice(key);
        out.push(b'}');
    }
    out.extend_from_slice(SUFFIX);
}

fn has_tag(key: &[u8]) -> bool {
    let Some(begin) = key.iter().position(|&byte| byte == b'{') else { return false };
    key[begin + 1..].iter().position(|&byte| byte == b'}').is_some_and(|length| length > 0)
}

/// `counter time`: what a granted fenced SET answers. Counters that no u64 can hold are as good as the largest.
pub(super) fn parse(answer: &[u8]) -> Option<(u64, u64)> {
    let space = answer.iter().position(|&byte| byte == b' ')?;
    Some((digits(&answer[..space])?, digits(&answer[space + 1..])?))
}

fn digits(text: &[u8]) -> Option<u64> {
    let push = |number: u64, byte: &u8| {
        byte.is_ascii_digit().then(|| number.saturating_mul(10).saturating_add(u64::from(byte - b'0')))
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, push) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(key: &str) -> String {
        let mut out = b"left over".to_vec();
        name(key.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_counter_shares_the_hash_slot_of_its_lock() {
        assert_eq!(named("orders/42"), "{orders/42}:redlock-fence");
        assert_eq!(named("{orders}/42"), "{orders}/42:redlock-fence");
        assert_eq!(named("a{b}{c}"), "a{b}{c}:redlock-fence");
        assert_eq!(named("a{b"), "{a{b}:redlock-fence");
        assert_eq!(named(""), "{}:redlock-fence");
    }

    #[test]
    fn an_answer_is_two_numbers() {
        assert_eq!(parse(b"12 34"), Some((12, 34)));
        assert_eq!(parse(b"99999999999999999999999 1"), Some((u64::MAX, 1)));
        for wrong in ["", "12", " 12", "12 ", "-1 2", "1 2 3", "1e3 2", "inf 2"] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}
