//! The protocol room against a real `redis-server`: what it says is understood, and what it hears is true.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::Node;
use redlock::core::request::{Bytes, Fault, FaultKind, Push, Remaining, Reply, Request, RequestKind};
use redlock::redis::command::Encoder;
use redlock::redis::dialect::Dialect;
use redlock::redis::dialect::Protocol;
use redlock::redis::frame::Cutter;
use redlock::redis::handshake::{Greeting, Handshake, Identity, Login};
use redlock::redis::reply::{Incoming, classify};
use redlock::redis::url::Secret;

/// A server, and the library's handshake with it.
struct Server(Node);

impl Server {
    fn start(arguments: &[&str]) -> Server {
        Server(Node::start(arguments))
    }

    fn connect(&self, login: &Login) -> Result<(Connection, Greeting), Fault> {
        self.reconnect(login, None)
    }

    fn reconnect(&self, login: &Login, previous: Option<&Identity>) -> Result<(Connection, Greeting), Fault> {
        let mut connection = Connection::open(self.0.port());
        let mut out = Vec::new();
        let mut handshake = Handshake::new(login, previous, &mut out);
        loop {
            connection.stream.write_all(&out).unwrap();
            out.clear();
            let frame = connection.frame().expect("closed during the handshake");
            if let Some(greeting) = handshake.on_frame(&frame, &mut out)? {
                connection.dialect = greeting.dialect;
                return Ok((connection, greeting));
            }
        }
    }

    fn ready(&self) -> Connection {
        self.connect(&login()).unwrap().0
    }
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    cutter: Cutter,
    encoder: Encoder,
    dialect: Dialect,
    pushes: Vec<Push>,
}

impl Connection {
    fn open(port: u16) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Connection {
            stream,
            received: Vec::new(),
            cutter: Cutter::new(),
            encoder: Encoder::new(),
            dialect: Dialect::Lua,
            pushes: Vec::new(),
        }
    }

    /// The next frame; `None` at the end of the stream.
    fn frame(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(length) = self.cutter.cut(&self.received).unwrap() {
                return Some(self.received.drain(..length).collect());
            }
            let mut buffer = [0; 512];
            match self.stream.read(&mut buffer).unwrap() {
                0 => return None,
                count => self.received.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// Says something that this library never says, and returns the raw answer.
    fn raw(&mut self, words: &[&str]) -> String {
        self.say_raw(words);
        String::from_utf8_lossy(&self.frame().unwrap()).into_owned()
    }

    fn say_raw(&mut self, words: &[&str]) {
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    fn ask(&mut self, request: &Request) -> Reply {
        let mut out = Vec::new();
        self.encoder.encode(request, self.dialect, &mut out);
        self.stream.write_all(&out).unwrap();
        loop {
            if let Some(reply) = self.next(Some(request.kind())) {
                return reply;
            }
        }
    }

    fn next(&mut self, awaited: Option<RequestKind>) -> Option<Reply> {
        let frame = self.frame().unwrap();
        match classify(awaited, &frame).unwrap() {
            Incoming::Reply(reply) => Some(reply),
            Incoming::Push(pushes) => {
                self.pushes.extend(pushes);
                None
            }
            Incoming::Ignored => None,
        }
    }
}

fn login() -> Login {
    Login { avoid_lua: true, tracking: true, client_name: Some("protocol-test".into()), ..Login::default() }
}

fn user(name: Option<&str>, password: &str) -> Login {
    Login { username: name.map(str::to_owned), password: Some(Secret::new(password)), ..login() }
}

fn bytes(text: &str) -> Bytes {
    text.as_bytes().into()
}

fn set(key: &str, token: &str, ttl_ms: u64) -> Request {
    Request::Set { key: bytes(key), token: bytes(token), ttl_ms }
}

fn release(key: &str, token: &str) -> Request {
    Request::Release { key: bytes(key), token: bytes(token) }
}

fn extend(key: &str, token: &str, ttl_ms: u64) -> Request {
    Request::Extend { key: bytes(key), token: bytes(token), ttl_ms }
}

fn remaining_ms(connection: &mut Connection, key: &str) -> u64 {
    match connection.ask(&Request::Remaining { key: bytes(key) }) {
        Reply::Remaining(Remaining::Ms(left_ms)) => left_ms,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lock_is_set_extended_upward_only_and_released() {
    let server = Server::start(&[]);
    for protocol in [Protocol::Auto, Protocol::Resp2] {
        let (mut node, greeting) = server.connect(&Login { protocol, ..login() }).unwrap();
        assert_eq!(greeting.info.can_track, protocol == Protocol::Auto);
        assert_eq!(node.ask(&Request::Remaining { key: bytes("k") }), Reply::Remaining(Remaining::Absent));
        assert_eq!(node.ask(&Request::Holder { key: bytes("k") }), Reply::Not);
        assert_eq!(node.ask(&set("k", "mine", 10_000)), Reply::Done);
        assert_eq!(node.ask(&set("k", "other", 10_000)), Reply::Not);
        assert_eq!(node.ask(&Request::Holder { key: bytes("k") }), Reply::Holder(bytes("mine")));
        assert_eq!(node.ask(&extend("k", "other", 90_000)), Reply::Not);
        assert!((9_000..=10_000).contains(&remaining_ms(&mut node, "k")));
        assert_eq!(node.ask(&extend("k", "mine", 60_000)), Reply::Done);
        assert_eq!(node.ask(&extend("k", "mine", 500)), Reply::Done);
        assert!((59_000..=60_000).contains(&remaining_ms(&mut node, "k")));
        assert_eq!(node.ask(&release("k", "other")), Reply::Not);
        assert_eq!(node.ask(&release("k", "mine")), Reply::Done);
        assert_eq!(node.ask(&release("k", "mine")), Reply::Not);
        assert_eq!(node.ask(&extend("k", "mine", 500)), Reply::Not);

        node.raw(&["SET", "k", "mine"]);
        assert_eq!(node.ask(&Request::Remaining { key: bytes("k") }), Reply::Remaining(Remaining::Forever));
        assert_eq!(node.ask(&extend("k", "mine", 500)), Reply::Done);
        assert_eq!(node.ask(&Request::Remaining { key: bytes("k") }), Reply::Remaining(Remaining::Forever));
        node.raw(&["SET", "k", &"x".repeat(300)]);
        assert_eq!(node.ask(&Request::Holder { key: bytes("k") }), Reply::Holder(bytes(&"x".repeat(256))));
        assert_eq!(node.ask(&release("k", &"x".repeat(300))), Reply::Done);
    }
}

#[test]
fn the_greeting_tells_who_both_sides_are() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lru"]);
    let (mut node, greeting) = server.connect(&Login { db: 3, ..login() }).unwrap();
    let identity = greeting.identity.unwrap();
    assert_eq!(identity.addr, node.stream.local_addr().unwrap().to_string());
    assert_eq!(identity.run_id, greeting.info.run_id);
    assert_eq!(identity.run_id.len(), 40);
    assert!(greeting.info.uptime_s < 60);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    assert!(now.abs_diff(u128::from(greeting.info.time_us)) < 5_000_000);
    assert!(!greeting.info.is_replica);
    assert!(greeting.info.can_track);
    assert_eq!(greeting.info.maxmemory_policy, "allkeys-lru");
    assert_eq!(greeting.dialect, Dialect::Lua);
    let info = node.raw(&["CLIENT", "INFO"]);
    for part in [format!("id={} ", identity.client_id), "name=protocol-test ".into(), "db=3 ".into(), "resp=3".into()] {
        assert!(info.contains(&part), "{part} in {info}");
    }
}

#[test]
fn a_released_key_is_pushed_to_those_who_asked_to_track_it() {
    let server = Server::start(&[]);
    let (mut waiter, mut holder) = (server.ready(), server.ready());
    assert_eq!(holder.ask(&set("k", "mine", 10_000)), Reply::Done);
    assert_eq!(waiter.ask(&Request::Track), Reply::Done);
    assert!(remaining_ms(&mut waiter, "k") > 0);
    assert_eq!(holder.ask(&release("k", "mine")), Reply::Done);
    assert_eq!(waiter.next(None), None);
    assert_eq!(waiter.pushes, [Push::Key(b"k".to_vec())]);
    assert_eq!(waiter.ask(&Request::Track), Reply::Done);
    assert_eq!(waiter.ask(&Request::Remaining { key: bytes("k") }), Reply::Remaining(Remaining::Absent));
    holder.raw(&["FLUSHALL"]);
    assert_eq!(waiter.next(None), None);
    assert_eq!(waiter.pushes.last(), Some(&Push::Flush));

    let (mut untracked, _) = server.connect(&Login { tracking: false, ..login() }).unwrap();
    assert!(matches!(untracked.ask(&Request::Track), Reply::Refused(_)));
}

#[test]
fn passwords_open_the_door_and_never_show() {
    let server = Server::start(&["--requirepass", "hunter2"]);
    for protocol in [Protocol::Auto, Protocol::Resp2, Protocol::Resp3] {
        for login in [user(None, "hunter2"), user(Some("default"), "hunter2")] {
            let (mut node, _) = server.connect(&Login { protocol, ..login }).unwrap();
            assert_eq!(node.ask(&set("k", "t", 1)), Reply::Done, "{protocol:?}");
            node.raw(&["DEL", "k"]);
        }
        let fault = server.connect(&Login { protocol, ..user(None, "wrong") }).err().unwrap();
        assert_eq!(fault, Fault::new(FaultKind::Permanent, "WRONGPASS: authentication failed"));
        let fault = server.connect(&Login { protocol, ..login() }).err().unwrap();
        assert_eq!(fault.kind, FaultKind::Permanent);
        assert!(fault.text.starts_with("NOAUTH"), "{fault:?}");
    }
}

#[test]
fn a_renamed_hello_is_answered_with_auth_and_resp2() {
    let server = Server::start(&["--requirepass", "hunter2", "--rename-command", "HELLO", ""]);
    let (mut node, greeting) = server.connect(&user(None, "hunter2")).unwrap();
    assert!(!greeting.info.can_track);
    assert_eq!(node.ask(&set("k", "t", 10_000)), Reply::Done);
    assert_eq!(node.ask(&release("k", "t")), Reply::Done);
    let fault = server.connect(&user(None, "wrong")).err().unwrap();
    assert_eq!(fault, Fault::new(FaultKind::Permanent, "WRONGPASS: authentication failed"));
    let fault = server.connect(&Login { protocol: Protocol::Resp3, ..user(None, "hunter2") }).err().unwrap();
    assert_eq!(fault, Fault::new(FaultKind::Permanent, "ERR: the server does not offer RESP3"));
    let fault = server.connect(&login()).err().unwrap();
    assert_eq!(fault, Fault::new(FaultKind::Permanent, "NOAUTH Authentication required: set a password"));
}

#[test]
fn a_renamed_auth_does_not_show_the_password() {
    let server = Server::start(&["--rename-command", "HELLO", "", "--rename-command", "AUTH", ""]);
    let fault = server.connect(&user(Some("bob"), "hunter2")).err().unwrap();
    assert_eq!(fault, Fault::new(FaultKind::Permanent, "ERR: authentication failed"));
}

#[test]
fn rights_that_are_missing_are_named() {
    let server = Server::start(&[]);
    let mut admin = server.ready();
    let rules = |name: &'static str, rules: &'static str| {
        ["ACL", "SETUSER", name, "on", ">pw"].into_iter().chain(rules.split(' ')).collect::<Vec<_>>()
    };
    admin.raw(&rules("bob", "~lock:* +set"));
    admin.raw(&rules("eve", "~lock:* +set +eval"));
    assert_eq!(admin.raw(&["ACL", "SETUSER", "ann", "on", "nopass", "~*", "+@all"]), "+OK\r\n");

    let (mut bob, greeting) = server.connect(&user(Some("bob"), "pw")).unwrap();
    assert_eq!((&*greeting.info.run_id, greeting.info.time_us, greeting.identity), ("", 0, None));
    assert!(!greeting.info.can_track);
    let refused = |reply: Reply| match reply {
        Reply::Refused(Fault { kind: FaultKind::Permanent, text }) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(bob.ask(&set("lock:1", "t", 10_000)), Reply::Done);
    assert!(refused(bob.ask(&set("other", "t", 10_000))).starts_with("NOPERM needs access to the key: "));
    assert!(refused(bob.ask(&release("lock:1", "t"))).starts_with("NOPERM needs +eval: "));
    assert!(refused(bob.ask(&Request::Remaining { key: bytes("lock:1") })).starts_with("NOPERM needs +pttl: "));
    assert!(refused(bob.ask(&Request::Track)).starts_with("NOPERM needs +client|caching: "));

    let (mut eve, _) = server.connect(&user(Some("eve"), "pw")).unwrap();
    let text = refused(eve.ask(&release("lock:1", "t")));
    // From Redis 7.2 on the server names the command.
    assert!(text.starts_with("NOPERM needs the script's commands (+get ") || text.contains("+get: "), "{text}");

    let no_password = Login { username: Some("ann".into()), ..login() };
    for protocol in [Protocol::Auto, Protocol::Resp2] {
        assert!(server.connect(&Login { protocol, ..no_password.clone() }).is_ok());
    }
}

#[test]
fn a_database_out_of_range_is_a_permanent_fault() {
    let server = Server::start(&[]);
    let fault = server.connect(&Login { db: 99, ..login() }).err().unwrap();
    assert_eq!(fault, Fault::new(FaultKind::Permanent, "ERR DB index is out of range"));
}

#[test]
fn a_key_of_another_type_is_no_vote_also_inside_scripts() {
    let server = Server::start(&[]);
    let mut node = server.ready();
    node.raw(&["LPUSH", "k", "a"]);
    for request in [release("k", "t"), extend("k", "t", 10), Request::Holder { key: bytes("k") }] {
        let Reply::Refused(fault) = node.ask(&request) else { panic!("{request:?}") };
        assert_eq!(fault.kind, FaultKind::Permanent);
        assert!(fault.text.starts_with("WRONGTYPE "), "{fault:?}");
    }
    assert_eq!(node.ask(&set("k", "t", 10)), Reply::Not);
}

fn assert_refused(reply: Reply, code: &str) {
    match reply {
        Reply::Refused(Fault { kind: FaultKind::Refused, text }) => assert!(text.starts_with(code), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_replica_is_seen_and_its_refusals_are_no_votes_also_inside_scripts() {
    let server = Server::start(&[]);
    let mut node = server.ready();
    assert_eq!(node.ask(&set("k", "t", 60_000)), Reply::Done);
    assert_eq!(node.raw(&["REPLICAOF", "127.0.0.1", "1"]), "+OK\r\n");
    assert!(server.connect(&login()).unwrap().1.info.is_replica);
    assert_refused(node.ask(&set("l", "t", 10_000)), "READONLY ");
    assert_refused(node.ask(&release("k", "t")), "READONLY ");
    assert_refused(node.ask(&extend("k", "t", 90_000)), "READONLY ");
    node.raw(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    assert_refused(node.ask(&release("k", "t")), "MASTERDOWN ");
    assert!(server.connect(&login()).unwrap().1.info.is_replica);
}

#[test]
fn without_memory_nothing_is_set_but_everything_released() {
    let server = Server::start(&[]);
    let mut node = server.ready();
    assert_eq!(node.ask(&set("k", "t", 60_000)), Reply::Done);
    node.raw(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_refused(node.ask(&set("l", "t", 10_000)), "OOM ");
    assert_eq!(node.ask(&extend("k", "t", 90_000)), Reply::Done);
    assert_eq!(node.ask(&release("k", "t")), Reply::Done);
}

#[test]
fn a_busy_server_refuses_for_now() {
    let server = Server::start(&["--lua-time-limit", "1"]);
    let (mut node, mut busy) = (server.ready(), server.ready());
    busy.say_raw(&["EVAL", "while true do end", "0"]);
    std::thread::sleep(Duration::from_millis(200));
    assert_refused(node.ask(&set("k", "t", 10_000)), "BUSY ");
    assert_refused(node.ask(&release("k", "t")), "BUSY ");
    assert_eq!(node.raw(&["SCRIPT", "KILL"]), "+OK\r\n");
    let killed = busy.frame().unwrap();
    let reply = classify(Some(RequestKind::Release), &killed);
    assert!(matches!(reply, Ok(Incoming::Reply(Reply::Unclear(_)))), "{reply:?}");
}

#[test]
fn too_many_clients_is_a_refusal_that_time_may_cure() {
    let server = Server::start(&[]);
    let mut first = server.ready();
    assert_eq!(first.raw(&["CONFIG", "SET", "maxclients", "1"]), "+OK\r\n");
    let fault = server.connect(&login()).err().unwrap();
    assert_eq!(fault, Fault::new(FaultKind::Refused, "ERR max number of clients reached"));
}

#[test]
fn missing_scripting_is_permanent_and_does_not_repeat_the_token() {
    let server = Server::start(&["--rename-command", "EVAL", ""]);
    let mut node = server.ready();
    assert_eq!(node.ask(&set("k", "token", 10_000)), Reply::Done);
    let fault = Fault::new(FaultKind::Permanent, "ERR unknown command 'EVAL'");
    assert_eq!(node.ask(&release("k", "token")), Reply::Refused(fault));
}

#[test]
fn a_connection_that_was_given_up_is_closed_at_the_server() {
    let server = Server::start(&[]);
    let (mut old, greeting) = server.connect(&login()).unwrap();
    let identity = greeting.identity.unwrap();
    let elsewhere = Identity { run_id: "0".repeat(40), ..identity.clone() };
    server.reconnect(&login(), Some(&elsewhere)).unwrap();
    assert_eq!(old.ask(&Request::Remaining { key: bytes("k") }), Reply::Remaining(Remaining::Absent));
    let (mut new, _) = server.reconnect(&login(), Some(&identity)).unwrap();
    assert_eq!(old.frame(), None);
    assert_eq!(new.ask(&set("k", "t", 10_000)), Reply::Done);
    server.reconnect(&login(), Some(&identity)).unwrap();
}
