//! Toxiproxy in front of servers, driven through its HTTP API.
//!
//! `TOXIPROXY_SERVER` names the server program (`tools/toxiproxy` builds it). `REDLOCK_TOXIPROXY=127.0.0.1:8474` names
//! one that runs, as docker-compose.yml starts it, with a proxy for each node of `REDLOCK_TEST_NODES` in the order of
//! their names.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{spawn, wait_for};

/// A loaded machine starts the server within a second.
const START_TIMEOUT: Duration = Duration::from_secs(10);
const API_TIMEOUT: Duration = Duration::from_secs(5);
const HOST: &str = "127.0.0.1";

/// The API of one Toxiproxy, and the process where it is our own.
pub struct Toxiproxy {
    api: String,
    child: Option<Child>,
}

/// One proxy of it.
#[derive(Debug, Clone)]
pub struct ToxicProxy {
    pub name: String,
    pub port: u16,
}

impl Toxiproxy {
    /// Starts the server that `TOXIPROXY_SERVER` names.
    pub fn start() -> Toxiproxy {
        let program = std::env::var("TOXIPROXY_SERVER").expect("TOXIPROXY_SERVER, as `tools/toxiproxy` prints it");
        let port = spawn::free_port();
        let mut command = Command::new(&program);
        command.args(["-host", HOST, "-port", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = spawn::spawn(command).unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        let toxiproxy = Toxiproxy { api: format!("{HOST}:{port}"), child: Some(child) };
        assert!(wait_for(START_TIMEOUT, || toxiproxy.ask("GET", "/version", "").is_ok()), "Toxiproxy does not answer");
        toxiproxy
    }

    /// The one that `REDLOCK_TOXIPROXY` names, with the proxies it has.
    pub fn given() -> Option<(Toxiproxy, Vec<ToxicProxy>)> {
        let api = std::env::var("REDLOCK_TOXIPROXY").ok().filter(|api| !api.is_empty())?;
        let toxiproxy = Toxiproxy { api, child: None };
        let (_, all) = toxiproxy.ask("GET", "/proxies", "").expect("the API of REDLOCK_TOXIPROXY");
        let mut proxies: Vec<ToxicProxy> = all.split("\"name\":").skip(1).filter_map(proxy_in).collect();
        proxies.sort_by(|one, other| one.name.cmp(&other.name));
        Some((toxiproxy, proxies))
    }

    /// A new proxy on a free port to 127.0.0.1:`server_port`.
    pub fn proxy_to(&self, name: &str, server_port: u16) -> ToxicProxy {
        let body =
            format!(r#"{{"name":"{name}","listen":"{HOST}:0","upstream":"{HOST}:{server_port}","enabled":true}}"#);
        let answer = self.must("POST", "/proxies", &body);
        proxy_in(answer.split_once("\"name\":").expect("a proxy with a name").1).expect("a proxy that listens")
    }

    /// Puts a toxic on all of a proxy's connections; `attributes` are the members of a JSON object. False where this
    /// Toxiproxy does not know the type.
    pub fn add(&self, proxy: &ToxicProxy, toxic: &str, stream: &str, attributes: &str) -> bool {
        let body = format!(r#"{{"type":"{toxic}","stream":"{stream}","toxicity":1.0,"attributes":{{{attributes}}}}}"#);
        let (code, answer) = self.ask("POST", &format!("/proxies/{}/toxics", proxy.name), &body).expect("the API");
        assert!(code == 200 || answer.contains("invalid toxic type"), "{toxic}: {code} {answer}");
        code == 200
    }

    /// Ends the proxy's connections and listens no more, until [`Toxiproxy::heal`].
    pub fn down(&self, proxy: &ToxicProxy) {
        self.must("POST", &format!("/proxies/{}", proxy.name), r#"{"enabled":false}"#);
    }

    /// All toxics gone, all proxies up.
    pub fn heal(&self) {
        self.must("POST", "/reset", "");
    }

    fn must(&self, method: &str, path: &str, body: &str) -> String {
        let (code, answer) = self.ask(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert!((200..300).contains(&code), "{method} {path}: {code} {answer}");
        answer
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> std::io::Result<(u32, String)> {
        let mut stream = TcpStream::connect(&self.api)?;
        stream.set_read_timeout(Some(API_TIMEOUT))?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.api,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Ok((code, answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned()))
    }
}

impl Drop for Toxiproxy {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        } else {
            let _ = self.ask("POST", "/reset", "");
        }
    }
}

/// The proxy whose JSON goes on after `"name":`.
fn proxy_in(json: &str) -> Option<ToxicProxy> {
    let name = json.split('"').nth(1)?.to_owned();
    let listen = json.split_once("\"listen\":\"")?.1.split('"').next()?;
    Some(ToxicProxy { name, port: listen.rsplit_once(':')?.1.parse().ok()? })
}
