use super::*;
use crate::redis::frame;

const HELLO_7: &str = "%4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$4\r\nrole\r\n$6\r\nmaster\r\n";
const NO_AUTH: &str = "-NOAUTH Authentication required.\r\n";
const NO_HELLO: &str = "-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'bob' 'hunter2'\r\n";

fn login() -> Login {
    Login { avoid_lua: true, tracking: true, ..Login::default() }
}

fn with_password() -> Login {
    Login { username: Some("bob".into()), password: Some(Secret::new("hunter2")), ..login() }
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// A server for the batch of questions: what it knows of itself, and nothing of CLIENT SETINFO.
struct Peer {
    version: &'static str,
    run_id: &'static str,
    heard: Vec<String>,
}

impl Peer {
    fn new(version: &'static str) -> Peer {
        Peer { version, run_id: "r1", heard: vec![] }
    }

    fn answer(&mut self, command: &str) -> String {
        self.heard.push(command.to_owned());
        match command {
            "CLIENT TRACKING ON OPTIN" | "SELECT 2" => "+OK\r\n".into(),
            "CLIENT INFO" => bulk("id=7 addr=127.0.0.1:5000 laddr=127.0.0.1:6379 name= addr=x"),
            "INFO server" => {
                bulk(&format!("# Server\r\n{}run_id:{}\r\nuptime_in_seconds:12\r\n", self.version, self.run_id))
            }
            "INFO replication" => bulk("# Replication\r\nrole:master\r\n"),
            "INFO memory" => "=29\r\ntxt:maxmemory_policy:lru\r\nx:y\r\n".into(),
            "TIME" => "*2\r\n$1\r\n5\r\n$2\r\n17\r\n".into(),
            _ if command.starts_with("HELLO 3") => HELLO_7.into(),
            _ if command.starts_with("CLIENT KILL") => ":1\r\n".into(),
            _ => "-ERR unknown subcommand\r\n".into(),
        }
    }
}

/// Takes the commands out of `out`, words joined by spaces.
fn commands(out: &mut Vec<u8>) -> Vec<String> {
    let mut said = Vec::new();
    let mut rest = &out[..];
    while let Some(length) = frame::cut(rest).unwrap() {
        let Value::Array(words) = value(&rest[..length]).unwrap() else { panic!() };
        said.push(words.into_iter().map(|word| text(word).unwrap()).collect::<Vec<_>>().join(" "));
        rest = &rest[length..];
    }
    assert!(rest.is_empty());
    out.clear();
    said
}

fn run(login: &Login, previous: Option<&Identity>, answer: impl FnMut(&str) -> String) -> Result<Greeting, Fault> {
    let mut out = Vec::new();
    let handshake = Handshake::new(login, previous, &mut out);
    carry_on(handshake, out, answer)
}

fn carry_on(
    mut handshake: Handshake,
    mut out: Vec<u8>,
    mut answer: impl FnMut(&str) -> String,
) -> Result<Greeting, Fault> {
    for _ in 0..10 {
        let said = commands(&mut out);
        assert!(!said.is_empty(), "the handshake waits for nothing");
        for (index, command) in said.iter().enumerate() {
            if let Some(greeting) = handshake.on_frame(answer(command).as_bytes(), &mut out)? {
                assert_eq!(index + 1, said.len(), "ready while replies are due");
                assert!(out.is_empty());
                return Ok(greeting);
            }
        }
    }
    panic!("the handshake does not end");
}

fn fault(login: &Login, first_answer: &str) -> Fault {
    let mut out = Vec::new();
    let mut handshake = Handshake::new(login, None, &mut out);
    handshake.on_frame(first_answer.as_bytes(), &mut out).expect_err(first_answer)
}

#[test]
fn without_credentials_everything_goes_in_one_segment() {
    let mut out = Vec::new();
    let login = Login { db: 2, client_name: Some("worker".into()), ..login() };
    let handshake = Handshake::new(&login, None, &mut out);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        commands(&mut out.clone()),
        [
            "HELLO 3",
            "SELECT 2",
            "CLIENT SETNAME worker",
            "CLIENT SETINFO LIB-NAME libredlock",
            &format!("CLIENT SETINFO LIB-VER {version}"),
            "CLIENT TRACKING ON OPTIN",
            "CLIENT INFO",
            "INFO server",
            "INFO replication",
            "INFO memory",
            "TIME",
        ]
    );
    let mut peer = Peer::new("redis_version:7.0.15\r\n");
    let greeting = carry_on(handshake, out, |command| peer.answer(command)).unwrap();
    let (refused, answered) = (greeting.refused, greeting.answered);
    assert!(refused.is_empty() && answered.contains(Step::Hello) && answered.contains(Step::Time));
    assert_eq!(
        greeting,
        Greeting {
            refused,
            answered,
            info: ServerInfo {
                run_id: "r1".into(),
                uptime_s: 12,
                time_us: 5_000_017,
                is_replica: false,
                maxmemory_policy: "lru".into(),
                is_previous_closed: false,
                can_track: true,
            },
            dialect: Dialect::Lua,
            identity: Some(Identity { client_id: 7, addr: "127.0.0.1:5000".into(), run_id: "r1".into() }),
        }
    );
}

#[test]
fn credentials_travel_alone() {
    let mut out = Vec::new();
    let mut handshake = Handshake::new(&with_password(), None, &mut out);
    assert_eq!(commands(&mut out), ["HELLO 3 AUTH bob hunter2"]);
    assert_eq!(handshake.on_frame(HELLO_7.as_bytes(), &mut out), Ok(None));
    assert!(commands(&mut out).contains(&"CLIENT TRACKING ON OPTIN".to_owned()));
    assert!(!format!("{handshake:?}").contains("hunter2"));

    let only_password = Login { username: None, ..with_password() };
    Handshake::new(&only_password, None, &mut out);
    assert_eq!(commands(&mut out), ["HELLO 3 AUTH default hunter2"]);

    let only_name = Login { password: None, ..with_password() };
    Handshake::new(&only_name, None, &mut out);
    assert_eq!(commands(&mut out), ["HELLO 3 AUTH bob "]);

    let empty = Login { username: Some(String::new()), password: Some(Secret::new("")), ..login() };
    Handshake::new(&empty, None, &mut out);
    assert_eq!(commands(&mut out)[0], "HELLO 3");
}

#[test]
fn an_old_server_gets_auth_alone_and_then_resp2() {
    for refusal in [NO_HELLO, "-NOPROTO unsupported protocol version\r\n", "-ERR syntax error\r\n", NO_AUTH] {
        let mut out = Vec::new();
        let mut handshake = Handshake::new(&with_password(), None, &mut out);
        out.clear();
        assert_eq!(handshake.on_frame(refusal.as_bytes(), &mut out), Ok(None));
        assert_eq!(commands(&mut out), ["AUTH bob hunter2"]);
        assert_eq!(handshake.on_frame(b"+OK\r\n", &mut out), Ok(None));
        assert!(!commands(&mut out.clone()).contains(&"CLIENT TRACKING ON OPTIN".to_owned()));
        let mut peer = Peer::new("redis_version:5.0.14\r\n");
        assert!(!carry_on(handshake, out, |command| peer.answer(command)).unwrap().info.can_track);
    }
    let mut out = Vec::new();
    let mut handshake = Handshake::new(&Login { username: None, ..with_password() }, None, &mut out);
    out.clear();
    handshake.on_frame(NO_HELLO.as_bytes(), &mut out).unwrap();
    assert_eq!(commands(&mut out), ["AUTH hunter2"]);
}

#[test]
fn tracking_counts_only_if_hello_succeeded() {
    let mut peer = Peer::new("redis_version:5.0.14\r\n");
    let answer = |command: &str| if command == "HELLO 3" { NO_HELLO.to_owned() } else { peer.answer(command) };
    assert!(!run(&login(), None, answer).unwrap().info.can_track);
}

#[test]
fn resp2_says_no_hello() {
    let mut peer = Peer::new("redis_version:7.0.15\r\n");
    let greeting = run(&Login { protocol: Protocol::Resp2, ..login() }, None, |command| peer.answer(command)).unwrap();
    assert!(!greeting.info.can_track);
    assert!(!peer.heard.iter().any(|command| command.contains("HELLO") || command.contains("TRACKING")));
    let mut out = Vec::new();
    Handshake::new(&Login { protocol: Protocol::Resp2, ..with_password() }, None, &mut out);
    assert_eq!(commands(&mut out), ["AUTH bob hunter2"]);
}

#[test]
fn resp3_or_nothing_fails_on_an_old_server() {
    for login in [login(), with_password()] {
        let fault = fault(&Login { protocol: Protocol::Resp3, ..login }, NO_HELLO);
        assert_eq!(fault.kind, FaultKind::Permanent);
        assert!(!fault.text.contains("hunter2"), "{}", fault.text);
    }
}

#[test]
fn refused_credentials_leave_only_a_code() {
    for (answer, kind, text) in [
        ("-WRONGPASS invalid 'hunter2'\r\n", FaultKind::Permanent, "WRONGPASS: authentication failed"),
        ("-NOPERM hunter2\r\n", FaultKind::Permanent, "NOPERM: authentication failed"),
        ("-LOADING hunter2\r\n", FaultKind::Refused, "LOADING: the server refuses connections for now"),
        ("-DENIED hunter2\r\n", FaultKind::Permanent, "DENIED: protected mode refuses other machines"),
        ("-ERR max number of clients reached\r\n", FaultKind::Refused, "ERR max number of clients reached"),
    ] {
        assert_eq!(fault(&with_password(), answer), Fault::new(kind, text));
    }
    let resp2 = Login { protocol: Protocol::Resp2, ..with_password() };
    for answer in
        ["-hunter2\r\n", "-ERR hunter2\r\n", "-ERR unknown command 'AUTH', with args beginning with: 'hunter2'\r\n"]
    {
        assert_eq!(fault(&resp2, answer), Fault::new(FaultKind::Permanent, "ERR: authentication failed"));
    }
}

#[test]
fn a_server_that_wants_a_password_says_so() {
    let resp2 = Login { protocol: Protocol::Resp2, ..login() };
    for (login, text) in [
        (&login(), "NOAUTH HELLO must be called with the client already authenticated"),
        (&resp2, "NOAUTH Authentication required"),
    ] {
        let expected = Fault::new(FaultKind::Permanent, format!("{text}: set a password"));
        assert_eq!(fault(login, &format!("-{text}.\r\n")), expected);
    }
}

#[test]
fn refusals_of_the_whole_connection_keep_their_words() {
    let text = "DENIED Redis is running in protected mode";
    assert_eq!(fault(&login(), &format!("-{text}\r\n")), Fault::new(FaultKind::Permanent, text));
    let text = "ERR max number of clients reached";
    assert_eq!(fault(&login(), &format!("-{text}\r\n")), Fault::new(FaultKind::Refused, text));
}

#[test]
fn a_database_that_cannot_be_selected_is_a_fault() {
    let mut peer = Peer::new("redis_version:7.0.15\r\n");
    let result = run(&Login { db: 99, ..login() }, None, |command| match command {
        "SELECT 99" => "-ERR DB index is out of range\r\n".into(),
        _ => peer.answer(command),
    });
    assert_eq!(result, Err(Fault::new(FaultKind::Permanent, "ERR DB index is out of range")));
}

#[test]
fn what_acls_hide_stays_unknown() {
    for refusal in ["-NOPERM no\r\n", "$-1\r\n", ":1\r\n", "$3\r\nid=\r\n"] {
        let greeting = run(&login(), None, |command| match command {
            "HELLO 3" => HELLO_7.to_owned(),
            _ => refusal.to_owned(),
        });
        let greeting = greeting.unwrap();
        assert_eq!((greeting.info, greeting.dialect, greeting.identity), (ServerInfo::default(), Dialect::Lua, None));
        assert_eq!(!greeting.refused.is_empty(), refusal.starts_with("-NOPERM"), "{refusal}");
    }
}

#[test]
fn a_server_that_cannot_tell_who_it_is_for_now_is_not_ready() {
    let previous = Identity { client_id: 3, addr: "10.0.0.1:99".into(), run_id: "r1".into() };
    for blocked in ["CLIENT TRACKING", "CLIENT INFO", "INFO server", "INFO replication", "CLIENT KILL"] {
        for text in ["BUSY Redis is busy running a script.", "LOADING Redis is loading the dataset in memory"] {
            let mut peer = Peer::new("redis_version:7.0.15\r\n");
            let result = run(&login(), Some(&previous), |command| match command {
                _ if command.starts_with(blocked) => format!("-{text}\r\n"),
                _ => peer.answer(command),
            });
            let expected = format!("{}: try again", text.trim_end_matches('.'));
            assert_eq!(result, Err(Fault::new(FaultKind::Refused, expected)), "{blocked}");
        }
    }
}

#[test]
fn a_replica_is_recognised_by_hello_or_info() {
    let mut peer = Peer::new("redis_version:7.0.15\r\n");
    let by_info = |command: &str| match command {
        "INFO replication" => bulk("role:slave\r\n"),
        _ => peer.answer(command),
    };
    assert!(run(&login(), None, by_info).unwrap().info.is_replica);
    let by_hello = |command: &str| match command {
        "HELLO 3" => HELLO_7.replace("$6\r\nmaster", "$7\r\nreplica"),
        _ => "-NOPERM no\r\n".to_owned(),
    };
    assert!(run(&login(), None, by_hello).unwrap().info.is_replica);
}

#[test]
fn the_connection_given_up_is_killed_only_at_the_same_process() {
    let previous = |run_id: &str| Identity { client_id: 3, addr: "10.0.0.1:99".into(), run_id: run_id.into() };
    for (run_id, is_killed) in [("r1", true), ("r2", false), ("", false)] {
        let mut peer = Peer::new("redis_version:9.0.0\r\n");
        let greeting = run(&login(), Some(&previous(run_id)), |command| peer.answer(command)).unwrap();
        assert_eq!(greeting.info.is_previous_closed, is_killed);
        let kill = peer.heard.iter().position(|command| command == "CLIENT KILL ID 3 ADDR 10.0.0.1:99");
        assert_eq!(kill.is_some(), is_killed, "{run_id}");
    }
    let refuse = |command: &str| match command {
        _ if command.starts_with("CLIENT KILL") => "-NOPERM no\r\n".into(),
        _ => Peer::new("redis_version:7.0.15\r\n").answer(command),
    };
    assert!(!run(&login(), Some(&previous("r1")), refuse).unwrap().info.is_previous_closed);
}

#[test]
fn commands_that_replace_scripts_are_used_by_the_servers_version() {
    for (version, avoid_lua, dialect) in [
        ("redis_version:7.4.1\r\n", true, Dialect::Lua),
        ("redis_version:8.2.9\r\n", true, Dialect::Lua),
        ("redis_version:8.4.0\r\n", true, Dialect::DelexIfeq),
        ("redis_version:10.0.0\r\n", true, Dialect::DelexIfeq),
        ("redis_version:8.4.0\r\n", false, Dialect::Lua),
        ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\n", true, Dialect::Lua),
        ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.0.0\r\n", true, Dialect::DelIfeq),
        ("redis_version:x\r\n", true, Dialect::Lua),
    ] {
        let mut peer = Peer::new(version);
        let greeting = run(&Login { avoid_lua, ..login() }, None, |command| peer.answer(command)).unwrap();
        assert_eq!(greeting.dialect, dialect, "{version}");
        assert!(!peer.heard.iter().any(|command| command.starts_with("DEL")), "{version}");
    }
}

#[test]
fn what_was_refused_is_left_out_of_the_next_handshake() {
    let refuse = |command: &str| match command {
        "INFO memory" | "CLIENT SETINFO LIB-NAME libredlock" => "-NOPERM no\r\n".into(),
        _ => Peer::new("redis_version:7.0.15\r\n").answer(command),
    };
    let greeting = run(&login(), None, refuse).unwrap();
    let mut peer = Peer::new("redis_version:7.0.15\r\n");
    let next = run(&Login { leave_out: greeting.refused, ..login() }, None, |command| peer.answer(command)).unwrap();
    assert_eq!(
        peer.heard,
        ["HELLO 3", "CLIENT TRACKING ON OPTIN", "CLIENT INFO", "INFO server", "INFO replication", "TIME"]
    );
    assert!(next.refused.is_empty());
}

#[test]
fn a_peer_that_closes_over_one_command_after_the_other_is_asked_for_ping_alone() {
    let mut login = Login { client_name: Some("worker".into()), ..login() };
    let mut closed_over = Vec::new();
    loop {
        let mut out = Vec::new();
        let handshake = Handshake::new(&login, None, &mut out);
        let (command, family) = handshake.closed(Steps::default());
        closed_over.push(command);
        let Some(family) = family else { break };
        login.leave_out = login.leave_out.or(family);
        let greeting = carry_on(handshake, out, |_| "+PONG\r\n".into());
        assert!(greeting.is_err() || command != "HELLO");
    }
    assert_eq!(closed_over, ["HELLO", "CLIENT SETNAME", "INFO", "TIME", "PING"]);
    let greeting = run(&login, None, |command| {
        assert_eq!(command, "PING");
        "+PONG\r\n".into()
    });
    assert_eq!(greeting.unwrap().info, ServerInfo::default());
    // What it has answered before it does not close over.
    let mut out = Vec::new();
    let login = Login::default();
    let answered = run(&login, None, |command| Peer::new("").answer(command)).unwrap().answered;
    assert_eq!(Handshake::new(&login, None, &mut out).closed(answered), ("HELLO", None));
}

#[test]
fn sentinels_and_members_of_clusters_are_no_masters_of_their_own() {
    let sentinel = HELLO_7.replace("%4", "%5") + "$4\r\nmode\r\n$8\r\nsentinel\r\n";
    assert!(fault(&login(), &sentinel).text.contains("is a Sentinel"));
    let mut peer = Peer::new("redis_version:7.0.15\r\nredis_mode:cluster\r\n");
    let result = run(&login(), None, |command| peer.answer(command));
    assert_eq!(result, Err(Fault::new(FaultKind::Permanent, "cluster mode: not an independent master")));
}

#[test]
fn pushes_in_between_are_ignored_but_not_for_ever() {
    let mut out = Vec::new();
    let mut handshake = Handshake::new(&login(), None, &mut out);
    let push = b">2\r\n$10\r\ninvalidate\r\n_\r\n";
    for _ in 0..PUSHES_MAX {
        assert_eq!(handshake.on_frame(push, &mut out), Ok(None));
    }
    assert_eq!(handshake.on_frame(push, &mut out).unwrap_err().kind, FaultKind::Protocol);
}

#[test]
fn answers_of_the_wrong_type_and_answers_to_nothing_are_protocol_faults() {
    assert_eq!(fault(&login(), "+OK\r\n").kind, FaultKind::Protocol);
    assert_eq!(fault(&login(), "%1\r\n+proto\r\n:2\r\n").kind, FaultKind::Protocol);
    assert_eq!(fault(&Login { protocol: Protocol::Resp2, ..with_password() }, ":1\r\n").kind, FaultKind::Protocol);
    let mut out = Vec::new();
    let mut handshake = Handshake::new(&login(), None, &mut out);
    let mut peer = Peer::new("redis_version:7.0.15\r\n");
    for command in commands(&mut out) {
        handshake.on_frame(peer.answer(&command).as_bytes(), &mut out).unwrap();
    }
    assert_eq!(handshake.on_frame(b"+OK\r\n", &mut out).unwrap_err().kind, FaultKind::Protocol);
}

#[test]
fn words_of_a_hostile_server_are_not_kept() {
    let hostile = "x".repeat(WORD_BYTES_MAX + 1);
    let greeting = run(&login(), None, |command| match command {
        "INFO server" => bulk(&format!("run_id:{hostile}\r\nuptime_in_seconds:-1\r\n")),
        "INFO memory" => bulk("maxmemory_policy:\u{1b}[2J\r\n"),
        "CLIENT INFO" => bulk("id=1 addr=\u{7}"),
        "TIME" => "*2\r\n$20\r\n18446744073709551615\r\n$1\r\n0\r\n".into(),
        _ => Peer::new("redis_version:7.0.15\r\n").answer(command),
    });
    let greeting = greeting.unwrap();
    assert_eq!(greeting.info, ServerInfo { can_track: true, ..ServerInfo::default() });
    assert_eq!(greeting.identity, None);
}
