//! One redis-server (or Valkey) process that a test may stop, kill and start again.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::resp::{Conn, Reply};
use super::{TempDir, spawn, wait_for};

/// A loaded machine of two cores starts a server in 20 to 300 ms.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How often another port is tried when somebody took the one that was free.
const START_TRIES: usize = 10;

pub struct Node {
    host: String,
    port: u16,
    /// None: a server that was given to us, or one that is killed.
    child: Mutex<Option<Child>>,
    own: Option<Own>,
    password: Option<String>,
}

/// What only a server that we started has.
struct Own {
    dir: TempDir,
    arguments: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerVersion {
    pub is_valkey: bool,
    pub major: u32,
    pub minor: u32,
}

/// The binary that tests start.
pub fn server_binary() -> String {
    std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".into())
}

/// What `redis-server --version` says of the binary that tests start.
pub fn server_version() -> ServerVersion {
    static VERSION: OnceLock<ServerVersion> = OnceLock::new();
    *VERSION.get_or_init(|| {
        let binary = server_binary();
        let output = Command::new(&binary).arg("--version").output();
        let output =
            output.unwrap_or_else(|error| panic!("cannot run {binary}: {error} (`tools/setup` installs redis-server)"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers = text.split_once("v=").map_or("", |(_, rest)| rest);
        let mut numbers = numbers.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
        let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        assert!(major > 0, "{binary} --version says {text:?}");
        ServerVersion { is_valkey: text.to_lowercase().contains("valkey"), major, minor }
    })
}

impl Node {
    /// Starts a server on a free loopback port, without persistence. DEBUG is allowed, `arguments` come last.
    pub fn start(arguments: &[&str]) -> Node {
        for _ in 0..START_TRIES {
            let port = spawn::free_port();
            let own = Own { dir: TempDir::new(), arguments: arguments.iter().map(|&a| a.to_owned()).collect() };
            let node = Node {
                host: "127.0.0.1".into(),
                port,
                child: Mutex::new(None),
                password: value_after(arguments, "--requirepass"),
                own: Some(own),
            };
            if node.launch() {
                return node;
            }
            let log = std::fs::read_to_string(node.own().dir.path().join("log")).unwrap_or_default();
            assert!(log.contains("in use"), "{} does not start:\n{log}", server_binary());
        }
        panic!("no port was free {START_TRIES} times in a row");
    }

    /// A server that runs already: `redis://[:password@]host:port`.
    pub fn given(url: &str) -> Node {
        let rest = url.trim().split_once("://").map_or(url, |(_, rest)| rest);
        let (credentials, rest) = rest.rsplit_once('@').map_or((None, rest), |(left, right)| (Some(left), right));
        let (host, port) =
            rest.split(['/', '?']).next().and_then(|place| place.rsplit_once(':')).unwrap_or((rest, "6379"));
        Node {
            host: host.to_owned(),
            port: port.parse().unwrap_or_else(|_| panic!("REDLOCK_TEST_NODES: no port in {host}:{port}")),
            child: Mutex::new(None),
            own: None,
            password: credentials.map(|pair| pair.trim_start_matches(':').to_owned()),
        }
    }

    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@{}:{}", self.host, self.port),
            None => format!("redis://{}:{}", self.host, self.port),
        }
    }

    /// Every server of our own also listens here.
    pub fn socket_path(&self) -> PathBuf {
        self.own().dir.path().join("socket")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> libc::pid_t {
        self.child().as_ref().expect("the server runs").id() as libc::pid_t
    }

    /// SIGSTOP; when this returns the server does nothing any more, while the kernel still accepts connections for it.
    pub fn stop(&self) {
        let pid = self.pid();
        signal(pid, libc::SIGSTOP);
        assert!(
            wait_for(Duration::from_secs(2), || process_state(pid) == Some('T')),
            "node {} does not stop",
            self.port
        );
    }

    /// SIGCONT after [`Node::stop`].
    pub fn cont(&self) {
        let pid = self.pid();
        signal(pid, libc::SIGCONT);
        assert!(
            wait_for(Duration::from_secs(2), || process_state(pid) != Some('T')),
            "node {} stays stopped",
            self.port
        );
    }

    /// SIGKILL, and waits for the end: the port refuses connections when this returns.
    pub fn kill(&self) {
        self.own();
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// A new, empty server on the same port, with the same arguments.
    pub fn restart(&self) {
        self.kill();
        for _ in 0..START_TRIES {
            if self.launch() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("port {} cannot be had again", self.port);
    }

    pub fn is_running(&self) -> bool {
        match &*self.child() {
            Some(child) => process_state(child.id() as libc::pid_t) != Some('T'),
            None => self.own.is_none(),
        }
    }

    /// A connection of the test's own, logged in where the server was started with `--requirepass`.
    pub fn connect(&self) -> Conn {
        let mut conn = Conn::open(&self.host, self.port).unwrap_or_else(|error| panic!("node {}: {error}", self.port));
        if let Some(password) = &self.password {
            let reply = conn.query(&[b"AUTH", password.as_bytes()]).expect("a reply to AUTH");
            assert!(!reply.is_error(), "AUTH: {reply:?}");
        }
        conn
    }

    /// One command on a connection of its own; panics when no reply comes within 5 s.
    pub fn query(&self, command: &[&[u8]]) -> Reply {
        self.connect().query(command).unwrap_or_else(|error| panic!("node {}: no reply: {error}", self.port))
    }

    /// The same with text in and text out, errors included, as redis-cli would print them.
    pub fn cli(&self, command: &[&str]) -> String {
        let parts: Vec<&[u8]> = command.iter().map(|part| part.as_bytes()).collect();
        self.query(&parts).text()
    }

    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        match self.query(&[b"GET", key.as_bytes()]) {
            Reply::Bulk(value) => Some(value),
            Reply::Nil => None,
            other => panic!("GET {key}: {other:?}"),
        }
    }

    pub fn pttl_ms(&self, key: &str) -> i64 {
        self.query(&[b"PTTL", key.as_bytes()]).int()
    }

    /// The lines of CLIENT LIST without the connection that asks.
    pub fn client_list(&self) -> Vec<String> {
        let text = self.cli(&["CLIENT", "LIST"]);
        text.lines().filter(|line| !line.contains("cmd=client")).map(str::to_owned).collect()
    }

    /// Whether the server knows this command (`DELIFEQ`, `DELEX` …).
    pub fn has_command(&self, name: &str) -> bool {
        matches!(self.query(&[b"COMMAND", b"INFO", name.as_bytes()]), Reply::Array(items) if matches!(items.first(), Some(Reply::Array(_))))
    }

    pub fn run_id(&self) -> String {
        let info = self.cli(&["INFO", "server"]);
        let line = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        line.expect("INFO server names the run_id").trim().to_owned()
    }

    /// Starts the process and waits until it answers; false when it ended at once (most likely the port was taken).
    fn launch(&self) -> bool {
        let own = self.own();
        let dir = own.dir.path();
        let _ = std::fs::remove_file(dir.join("log"));
        let mut command = Command::new(server_binary());
        command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(dir);
        command.arg("--logfile").arg(dir.join("log")).arg("--unixsocket").arg(dir.join("socket"));
        if server_version().major >= 7 {
            command.args(["--enable-debug-command", "yes"]);
        }
        command.args(&own.arguments);
        let mut child =
            spawn::spawn(command).unwrap_or_else(|error| panic!("cannot start {}: {error}", server_binary()));
        let mut ended = false;
        let answers = wait_for(START_TIMEOUT, || {
            ended = child.try_wait().is_ok_and(|status| status.is_some());
            ended || self.answers(child.id())
        });
        if ended || !answers {
            let _ = child.kill();
            let _ = child.wait();
            return false;
        }
        *self.child() = Some(child);
        true
    }

    /// It must be our process that answers: on a port somebody else took, another server may.
    fn answers(&self, pid: u32) -> bool {
        let Ok(mut conn) = Conn::open(&self.host, self.port) else { return false };
        if let Some(password) = &self.password {
            let _ = conn.query(&[b"AUTH", password.as_bytes()]);
        }
        match conn.query(&[b"INFO", b"server"]) {
            Ok(Reply::Bulk(text)) => String::from_utf8_lossy(&text).contains(&format!("process_id:{pid}\r")),
            // Its ACL may refuse INFO, for instance.
            Ok(Reply::Error(_)) => true,
            _ => false,
        }
    }

    fn own(&self) -> &Own {
        self.own.as_ref().expect("a server of REDLOCK_TEST_NODES is not ours to stop, kill or restart")
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn value_after(arguments: &[&str], name: &str) -> Option<String> {
    let at = arguments.iter().position(|&argument| argument == name)?;
    arguments.get(at + 1).map(|&value| value.to_owned())
}

fn signal(pid: libc::pid_t, signal: libc::c_int) {
    // SAFETY: no memory is involved; the pid is that of a child which is not yet waited for, so it is not reused.
    let result = unsafe { libc::kill(pid, signal) };
    assert_eq!(result, 0, "kill({pid}, {signal}): {}", std::io::Error::last_os_error());
}

/// The state letter of proc(5), behind the command name in parentheses.
fn process_state(pid: libc::pid_t) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
