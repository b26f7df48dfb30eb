use super::*;
use crate::core::request::FAULT_TEXT_MAX;

fn reply(kind: RequestKind, frame: &[u8]) -> Reply {
    match classify(Some(kind), frame) {
        Ok(Incoming::Reply(reply)) => reply,
        other => panic!("{:?} gave {other:?}", String::from_utf8_lossy(frame)),
    }
}

fn fault(awaited: Option<RequestKind>, frame: &[u8]) -> Box<str> {
    match classify(awaited, frame) {
        Err(Fault { kind: FaultKind::Protocol, text }) => text,
        other => panic!("{:?} gave {other:?}", String::from_utf8_lossy(frame)),
    }
}

#[test]
fn answers_mean_what_their_command_says() {
    use RequestKind::*;
    let table: [(RequestKind, &[u8], Reply); 19] = [
        (SetFenced, b"$5\r\n12 34\r\n", Reply::Fenced { counter: 12, time_us: 34 }),
        (SetFenced, b"_\r\n", Reply::Not),
        (ExtendFenced, b":1\r\n", Reply::Done),
        (ExtendFenced, b":0\r\n", Reply::Not),
        (Set, b"+OK\r\n", Reply::Done),
        (Set, b"$-1\r\n", Reply::Not),
        (Set, b"_\r\n", Reply::Not),
        (Release, b":1\r\n", Reply::Done),
        (Release, b":0\r\n", Reply::Not),
        (Extend, b":1\r\n", Reply::Done),
        (Extend, b":0\r\n", Reply::Not),
        (Track, b"+OK\r\n", Reply::Done),
        (Remaining, b":-2\r\n", Reply::Remaining(super::Remaining::Absent)),
        (Remaining, b":-1\r\n", Reply::Remaining(super::Remaining::Forever)),
        (Remaining, b":1234\r\n", Reply::Remaining(super::Remaining::Ms(1234))),
        (Holder, b"$0\r\n\r\n", Reply::Not),
        (Holder, b"$-1\r\n", Reply::Not),
        (Holder, b"$3\r\n\r\n\xff\r\n", Reply::Holder((&b"\r\n\xff"[..]).into())),
        (Set, b"|1\r\n+ttl\r\n:3\r\n+OK\r\n", Reply::Done),
    ];
    for (kind, frame, expected) in table {
        assert_eq!(reply(kind, frame), expected, "{kind:?} {:?}", String::from_utf8_lossy(frame));
    }
}

#[test]
fn answers_of_another_type_close_the_connection() {
    use RequestKind::*;
    let table: [(RequestKind, &[u8]); 17] = [
        (Set, b":1\r\n"),
        (Set, b"+QUEUED\r\n"),
        (Set, b"$2\r\nOK\r\n"),
        (Set, b"#t\r\n"),
        (Release, b"+OK\r\n"),
        (Release, b":2\r\n"),
        (Release, b":-1\r\n"),
        (Release, b"_\r\n"),
        (Extend, b"+OK\r\n"),
        (Extend, b"_\r\n"),
        (Track, b":1\r\n"),
        (Track, b"_\r\n"),
        (Remaining, b":-3\r\n"),
        (Remaining, b"_\r\n"),
        (Holder, b":1\r\n"),
        (Holder, b"*1\r\n$1\r\na\r\n"),
        (Holder, b"+a\r\n"),
    ];
    for (kind, frame) in table {
        fault(Some(kind), frame);
    }
    assert_eq!(&*fault(Some(Set), b":1\r\n"), "not an answer to Set: :1");
    let long = [b"$257\r\n".as_slice(), &[b'a'; 257], b"\r\n"].concat();
    fault(Some(Holder), &long);
}

#[test]
fn a_reply_without_a_request_closes_the_connection() {
    assert_eq!(&*fault(None, b"+OK\r\n"), "a reply without a request: +OK");
    assert_eq!(&*fault(None, b"-ERR Protocol error\r\n"), "a reply without a request: ERR Protocol error");
}

#[test]
fn definite_errors_are_no_votes() {
    for (words, kind) in [
        ("READONLY You can't write against a read only replica.", FaultKind::Refused),
        ("OOM command not allowed when used memory > 'maxmemory'.", FaultKind::Refused),
        ("MISCONF Redis is configured to save RDB snapshots", FaultKind::Refused),
        ("MASTERDOWN Link with MASTER is down", FaultKind::Refused),
        ("NOREPLICAS Not enough good replicas to write.", FaultKind::Refused),
        ("ERR max number of clients reached", FaultKind::Refused),
        ("NOPERM something", FaultKind::Permanent),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", FaultKind::Permanent),
        ("DENIED Redis is running in protected mode", FaultKind::Permanent),
        ("ERR unknown command 'EVAL'", FaultKind::Permanent),
        ("ERR syntax error", FaultKind::Permanent),
        ("ERR invalid expire time in 'set' command", FaultKind::Permanent),
    ] {
        let frame = format!("-{words}\r\n").into_bytes();
        let blob = format!("!{}\r\n{words}\r\n", words.len()).into_bytes();
        let attributed = [b"|0\r\n".as_slice(), &frame].concat();
        for kind_of_request in [RequestKind::Set, RequestKind::Release, RequestKind::Extend, RequestKind::Remaining] {
            for frame in [&frame, &blob, &attributed] {
                let expected = Reply::Refused(Fault::new(kind, words));
                assert_eq!(reply(kind_of_request, frame), expected);
            }
        }
    }
}

#[test]
fn errors_with_advice_are_no_votes_either() {
    for (words, kind, advice) in [
        ("LOADING Redis is loading the dataset in memory", FaultKind::Refused, "try again"),
        ("BUSY Redis is busy running a script", FaultKind::Refused, "try again"),
        ("NOAUTH Authentication required", FaultKind::Permanent, "set a password"),
        ("CLUSTERDOWN Hash slot not served", FaultKind::Permanent, "cluster mode: not an independent master"),
        ("TRYAGAIN Multiple keys request", FaultKind::Permanent, "cluster mode: not an independent master"),
        ("MOVED 3999 127.0.0.1:6381", FaultKind::Permanent, "cluster mode: not an independent master"),
        ("ASK 3999 127.0.0.1:6381", FaultKind::Permanent, "cluster mode: not an independent master"),
        ("CROSSSLOT Keys in request", FaultKind::Permanent, "cluster mode: not an independent master"),
    ] {
        let expected = Reply::Refused(Fault::new(kind, format!("{words}: {advice}")));
        assert_eq!(reply(RequestKind::Set, format!("-{words}\r\n").as_bytes()), expected);
    }
}

#[test]
fn unknown_errors_are_maybes_for_writes_and_nothing_for_questions() {
    let frame = b"-SOMETHING new\r\n";
    for kind in [RequestKind::Set, RequestKind::Release, RequestKind::Extend] {
        assert_eq!(reply(kind, frame), Reply::Unclear(Fault::new(FaultKind::Refused, "SOMETHING new")));
    }
    for kind in [RequestKind::Track, RequestKind::Remaining, RequestKind::Holder] {
        assert!(matches!(reply(kind, frame), Reply::Refused(_)));
    }
}

#[test]
fn the_servers_words_are_escaped_and_short() {
    let frame = [b"-ERR \x1b[2J\xff".as_slice(), &[b'a'; 9000], b"\r\n"].concat();
    let Reply::Unclear(fault) = reply(RequestKind::Set, &frame) else { panic!() };
    assert!(fault.text.starts_with("ERR \\x1b[2J\\xffaaa"));
    assert_eq!(fault.text.len(), FAULT_TEXT_MAX);
}

#[test]
fn invalidations_are_told_from_other_pushes_whatever_is_awaited() {
    let key = |text: &str| Push::Key(text.as_bytes().to_vec());
    let table: [(&[u8], Incoming); 7] = [
        (b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n", Incoming::Push(vec![key("k")])),
        (b">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\nk\r\n$1\r\nl\r\n", Incoming::Push(vec![key("k"), key("l")])),
        (b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n", Incoming::Push(vec![key("k")])),
        (b">2\r\n$10\r\ninvalidate\r\n_\r\n", Incoming::Push(vec![Push::Flush])),
        (b">2\r\n$10\r\ninvalidate\r\n*-1\r\n", Incoming::Push(vec![Push::Flush])),
        (b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n", Incoming::Ignored),
        (b">0\r\n", Incoming::Ignored),
    ];
    for (frame, expected) in table {
        for awaited in [None, Some(RequestKind::Set), Some(RequestKind::Holder)] {
            assert_eq!(classify(awaited, frame), Ok(expected.clone()));
        }
    }
    for frame in [&b">1\r\n$10\r\ninvalidate\r\n"[..], b">2\r\n$10\r\ninvalidate\r\n:1\r\n", b">1\r\n:1\r\n"] {
        fault(Some(RequestKind::Set), frame);
    }
}
