use super::*;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

const HONEST: [&[u8]; 27] = [
    b"+OK\r\n",
    b"+\r\n",
    b"-ERR \xff not utf-8\r\n",
    b":0\r\n",
    b":-9223372036854775808\r\n",
    b"$-1\r\n",
    b"$0\r\n\r\n",
    b"$5\r\n\r\n\r\n\0\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*2\r\n$1\r\na\r\n:1\r\n",
    b"*2\r\n*1\r\n*0\r\n*1\r\n_\r\n",
    b"_\r\n",
    b"#t\r\n",
    b"#f\r\n",
    b",1.5e3\r\n",
    b",-inf\r\n",
    b",nan\r\n",
    b"(-3492890328409238509324850943850943825024385\r\n",
    b"!9\r\nERR wrong\r\n",
    b"=7\r\ntxt:a\r\n\r\n",
    b"%2\r\n+a\r\n:1\r\n+b\r\n%0\r\n",
    b"%0\r\n",
    b"~1\r\n+a\r\n",
    b"|1\r\n+ttl\r\n:3\r\n+OK\r\n",
    b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n",
    b">2\r\n$10\r\ninvalidate\r\n_\r\n",
];

fn refused(bytes: &[u8]) -> Box<str> {
    match cut(bytes) {
        Err(Fault { kind: FaultKind::Protocol, text }) => text,
        other => panic!("{:?} gave {other:?}", String::from_utf8_lossy(bytes)),
    }
}

#[test]
fn every_type_is_cut_at_its_end() {
    for frame in HONEST {
        assert_eq!(cut(frame), Ok(Some(frame.len())), "{:?}", String::from_utf8_lossy(frame));
        for more in HONEST {
            assert_eq!(cut(&[frame, more].concat()), Ok(Some(frame.len())));
        }
    }
}

#[test]
fn what_is_cut_the_value_parser_accepts() {
    for frame in HONEST.into_iter().filter(|frame| std::str::from_utf8(frame).is_ok()) {
        assert!(::redis::parse_redis_value(frame).is_ok(), "{:?}", String::from_utf8_lossy(frame));
    }
}

#[test]
fn a_stream_fed_bytewise_is_cut_like_the_whole() {
    let stream = HONEST.concat();
    let (mut cutter, mut start, mut ends) = (Cutter::new(), 0, Vec::new());
    for end in 1..=stream.len() {
        if let Some(length) = cutter.cut(&stream[start..end]).unwrap() {
            assert_eq!(start + length, end, "a frame was recognised late");
            start = end;
            ends.push(length);
        }
    }
    assert_eq!(ends, HONEST.map(<[u8]>::len));
}

#[test]
fn garbage_never_panics_and_pieces_decide_like_the_whole() {
    let mut rng = StdRng::seed_from_u64(7);
    let alphabet = b"+-:$*_#,(!=%~>|019 \r\n\r\n\r\nxt\xff";
    for _ in 0..200_000 {
        let length = rng.random_range(1..40);
        let bytes: Vec<u8> = (0..length).map(|_| alphabet[rng.random_range(0..alphabet.len())]).collect();
        let whole = cut(&bytes);
        let mut cutter = Cutter::new();
        let pieces = (0..=bytes.len()).map(|end| cutter.cut(&bytes[..end])).find(|result| *result != Ok(None));
        match pieces {
            None => assert_eq!(whole, Ok(None)),
            Some(result) => assert_eq!(result, whole, "{:?}", String::from_utf8_lossy(&bytes)),
        }
    }
}

#[test]
fn random_bytes_without_a_type_are_never_accepted() {
    let mut rng = StdRng::seed_from_u64(8);
    for _ in 0..10_000 {
        let mut bytes = [0_u8; 64];
        rng.fill_bytes(&mut bytes);
        if b"+-:$*_#,(!=%~>|".contains(&bytes[0]) {
            bytes[0] = b'x';
        }
        refused(&bytes);
    }
}

#[test]
fn garbage_before_a_frame_is_refused_at_its_first_byte() {
    assert_eq!(&*refused(b"xx+OK\r\n"), "not RESP: a frame cannot begin with 'x'");
    refused(b"x");
    refused(b"\r");
    refused(b"HTTP/1.1 400 Bad Request\r\n");
    assert_eq!(&*refused(b"\x16\x03"), "not RESP: a frame cannot begin with '\\x16'");
}

#[test]
fn lengths_are_digits() {
    for frame in [
        "$+1\r\na\r\n",
        "$ 1\r\na\r\n",
        "$1 \r\na\r\n",
        "$\r\n\r\n",
        "$-2\r\n",
        "$-0\r\n\r\n",
        "*-2\r\n",
        "*+1\r\n:1\r\n",
        "%-1\r\n",
        "~-1\r\n",
        ">-1\r\n",
        "|-1\r\n",
        "=-1\r\n",
        "!-1\r\n",
        "$0x1\r\na\r\n",
        "$1e0\r\na\r\n",
    ] {
        refused(frame.as_bytes());
    }
}

#[test]
fn scalars_are_checked() {
    for frame in [
        ":\r\n",
        ":+1\r\n",
        ": 1\r\n",
        ":1a\r\n",
        ":--1\r\n",
        ":9223372036854775808\r\n",
        "_x\r\n",
        "#x\r\n",
        "#tt\r\n",
        ",x\r\n",
        "(1.5\r\n",
        "(\r\n",
    ] {
        refused(frame.as_bytes());
    }
}

#[test]
fn lines_end_in_crlf_and_strings_where_they_say() {
    for frame in ["+OK\n", "+O\rK\r\n", "+O\nK\r\n", ":1\n", "$1\r\nab\r\n", "$2\r\na\r\n\r", "$1\r\na\n\n"] {
        refused(frame.as_bytes());
    }
}

#[test]
fn streamed_types_are_refused() {
    for frame in ["$?\r\n", "*?\r\n", "%?\r\n", ";4\r\nabcd\r\n", ".\r\n"] {
        refused(frame.as_bytes());
    }
}

#[test]
fn huge_lengths_are_refused_before_anything_is_buffered() {
    for header in ["$262145\r\n", "*4097\r\n", "%2048\r\n", "|2048\r\n", ">999999999\r\n", "$99999999999999999999\r\n"]
    {
        refused(header.as_bytes());
    }
    assert_eq!(cut(b"$262000\r\n"), Ok(None));
    assert_eq!(cut(b"*4095\r\n"), Ok(None));
    refused(&b"*".repeat(NUMBER_BYTES_MAX + 2).iter().map(|_| b'*').collect::<Vec<u8>>());
}

#[test]
fn elements_are_counted_over_all_depths() {
    let mut frame = b"*3\r\n".to_vec();
    for _ in 0..3 {
        frame.extend_from_slice(b"*2000\r\n");
        frame.extend_from_slice(&b"_\r\n".repeat(2000));
    }
    refused(&frame);
}

#[test]
fn nesting_is_bounded() {
    let deep = |levels: usize| [b"*1\r\n".repeat(levels), b":1\r\n".to_vec()].concat();
    assert_eq!(cut(&deep(DEPTH_MAX)), Ok(Some(deep(DEPTH_MAX).len())));
    refused(&deep(DEPTH_MAX + 1));
    refused(&b"*1\r\n".repeat(100_000));
}

#[test]
fn endless_lines_and_frames_are_refused() {
    refused(&[b"+".to_vec(), vec![b'a'; LINE_BYTES_MAX + 1]].concat());
    refused(&[b":".to_vec(), vec![b'1'; NUMBER_BYTES_MAX + 1]].concat());
    let part = [format!("${}\r\n", 100_000).into_bytes(), vec![b'a'; 100_000], b"\r\n".to_vec()].concat();
    refused(&[b"*3\r\n".to_vec(), part.clone(), part.clone(), part].concat());
}

#[test]
fn pushes_do_not_hide_in_other_frames() {
    refused(b"*1\r\n>1\r\n+a\r\n");
    refused(b"|0\r\n>1\r\n+a\r\n");
}

#[test]
fn a_long_frame_in_single_bytes_is_looked_at_once() {
    let body = vec![b'a'; LINE_BYTES_MAX];
    let stream = [b"+".as_slice(), &body, b"\r\n"].concat();
    let mut cutter = Cutter::new();
    for end in 1..stream.len() {
        assert_eq!(cutter.cut(&stream[..end]), Ok(None));
        assert_eq!(cutter.searched, end.min(stream.len() - 2).max(1));
    }
    assert_eq!(cutter.cut(&stream), Ok(Some(stream.len())));
}
