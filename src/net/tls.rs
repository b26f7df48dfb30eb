//! TLS over a non-blocking socket, configured per handle.
//!
//! The cryptography provider is named in each configuration: a process-wide one is the host's to choose, and a second
//! library that installs one would panic.

use std::fmt;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use once_cell::sync::OnceCell;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::core::request::Fault;

use super::read::{READ_MAX_BYTES, Read};
use super::sys::Socket;
use super::{reason, unreachable_fault};
use explain::{explain, permanent};
use trust::{AcceptAnything, Trusting};

mod explain;
mod trust;

/// Whom to trust and who we are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsOptions {
    /// PEM file of the certificate authorities to trust *instead of* the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client's certificate chain, the client's own first; needs `key_file`.
    pub cert_file: Option<PathBuf>,
    /// PEM file of the client's private key; needs `cert_file`.
    pub key_file: Option<PathBuf>,
    /// Dangerous: accept any certificate of any server. The connection is then encrypted, but anybody on the path can
    /// read and change it by answering in the server's place.
    pub insecure: bool,
}

/// One handle's TLS configuration, built when it is first needed and shared by its nodes: reading the system's roots
/// takes milliseconds that a handle without TLS does not pay.
pub struct TlsContext {
    options: TlsOptions,
    config: OnceCell<Arc<ClientConfig>>,
}

impl TlsContext {
    /// A context with these options; no file is read yet.
    #[must_use]
    pub fn new(options: TlsOptions) -> TlsContext {
        TlsContext { options, config: OnceCell::new() }
    }

    /// Reads certificates and keys now. A failure names the file and is permanent, but the next call tries again.
    pub fn prepare(&self) -> Result<(), Fault> {
        self.config().map(|_| ())
    }

    fn config(&self) -> Result<&Arc<ClientConfig>, Fault> {
        self.config.get_or_try_init(|| build(&self.options).map(Arc::new).map_err(|text| permanent(&text)))
    }
}

impl fmt::Debug for TlsContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsContext").field(&self.options).finish()
    }
}

fn build(options: &TlsOptions) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = if options.insecure {
        Arc::new(AcceptAnything::new(&provider))
    } else {
        let (roots, named) = match &options.ca_file {
            Some(path) => roots_from(path)?,
            None => (system_roots()?, Vec::new()),
        };
        Arc::new(Trusting::new(roots, named, &provider)?)
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| explain::words(&error))?
        // Not more dangerous than the verifier that it is given.
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match (&options.cert_file, &options.key_file) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert_file), Some(key_file)) => {
            let chain = certificates(cert_file)?;
            let key =
                PrivateKeyDer::from_pem_file(key_file).map_err(|error| no_pem("private key", key_file, &error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                format!("{} with {}: {}", cert_file.display(), key_file.display(), explain::words(&error))
            })
        }
        (Some(_), None) => Err("a client certificate needs its key file too".into()),
        (None, Some(_)) => Err("a client key needs its certificate file too".into()),
    }
}

/// The authorities in a file, and its certificates as they are.
fn roots_from(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), String> {
    let named = certificates(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in &named {
        let added = roots.add(certificate.clone());
        added.map_err(|error| format!("unusable certificate in {}: {}", path.display(), explain::words(&error)))?;
    }
    Ok((roots, named))
}

fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems carry a few old roots that nobody needs and rustls does not parse.
    roots.add_parsable_certificates(found.certs);
    match (roots.is_empty(), found.errors.first()) {
        (false, _) => Ok(roots),
        (true, Some(error)) => Err(format!("no trusted roots on this system: {error}")),
        (true, None) => Err("no trusted roots on this system; name a CA file".into()),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let explain = |error| no_pem("certificate", path, &error);
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(explain)?.collect::<Result<_, _>>().map_err(explain)?;
    if found.is_empty() { Err(explain(pem::Error::NoItemsFound)) } else { Ok(found) }
}

/// Names the file and what was looked for in it; never quotes a key file's contents.
fn no_pem(what: &str, path: &Path, error: &pem::Error) -> String {
    let why = match error {
        pem::Error::Io(error) => reason(error),
        pem::Error::NoItemsFound => format!("no {what} in it (PEM is expected)"),
        _ => "damaged PEM".into(),
    };
    format!("cannot read {what} {}: {why}", path.display())
}

/// Receipts of at most [`READ_MAX_BYTES`] from the socket in one [`TlsSession::read`].
const RECEIPTS_MAX: u32 = 4;

/// The TLS side of one connection.
pub(super) struct TlsSession {
    connection: ClientConnection,
    /// Found while plaintext was still to be delivered; told after it.
    failure: Option<Fault>,
    /// The first byte that the peer ever sent.
    first_byte: Option<u8>,
}

impl TlsSession {
    /// `host` as in the URL: the certificate must be for that name, or have that IP address as a subjectAltName.
    pub(super) fn new(context: &TlsContext, host: &str) -> Result<TlsSession, Fault> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| permanent(&format!("{host} is not a name that a certificate can have")))?;
        let connection = ClientConnection::new(Arc::clone(context.config()?), name)
            .map_err(|error| permanent(&explain::words(&error)))?;
        Ok(TlsSession { connection, failure: None, first_byte: None })
    }

    /// Goes on with the handshake; true once application data can be written.
    pub(super) fn handshake(&mut self, socket: &Socket) -> Result<bool, Fault> {
        loop {
            if let Err(fault) = self.flush(socket) {
                // The server has left; an alert that it sent before says why.
                return Err(self.receive(socket).err().unwrap_or(fault));
            }
            if !self.connection.is_handshaking() {
                return Ok(true);
            }
            match self.receive(socket)? {
                Received::Nothing => return Ok(false),
                Received::End => {
                    return Err(unreachable_fault("TLS: the server closed the connection during the handshake"));
                }
                Received::Some { .. } => {}
            }
        }
    }

    /// Whether the peer has sent anything.
    pub(super) fn has_heard(&self) -> bool {
        self.first_byte.is_some()
    }

    /// Appends decrypted bytes. `Data { more: false }` and `Empty` are said only when rustls holds no plaintext and
    /// the socket has been found empty: anything else would leave a reply lying here while the socket is silent.
    pub(super) fn read(&mut self, socket: &Socket, into: &mut Vec<u8>) -> Result<Read, Fault> {
        let mut room = READ_MAX_BYTES;
        let mut drained = false;
        let mut ended = false;
        let mut receipts = 0;
        loop {
            ended |= self.take_plaintext(into, &mut room);
            let appended = room < READ_MAX_BYTES;
            if room == 0 {
                return Ok(Read::Data { more: true });
            }
            match &self.failure {
                Some(_) if appended => return Ok(Read::Data { more: true }),
                Some(fault) => return Err(fault.clone()),
                None => {}
            }
            match (ended || drained, appended) {
                (false, _) => {}
                (true, true) => return Ok(Read::Data { more: ended }),
                (true, false) => return Ok(if ended { Read::Eof } else { Read::Empty }),
            }
            // Records may hold next to nothing, or nothing: what is counted is what was received.
            receipts += 1;
            if receipts > RECEIPTS_MAX {
                return Ok(Read::Data { more: true });
            }
            match self.receive(socket) {
                Ok(Received::Nothing) => drained = true,
                Ok(Received::Some { was_all }) => drained = was_all,
                Ok(Received::End) => ended = true,
                Err(fault) => self.failure = Some(fault),
            }
        }
    }

    /// Encrypts and sends. What the socket has no room for stays here ([`wants_write`](TlsSession::wants_write)), and
    /// nothing more is taken until it is gone, so that never more than one call's bytes (and 64 KiB of them, the
    /// default limit of rustls) are held.
    pub(super) fn write(&mut self, socket: &Socket, bytes: &[u8]) -> Result<usize, Fault> {
        self.flush(socket)?;
        if bytes.is_empty() || self.wants_write() {
            return Ok(0);
        }
        let taken = self.connection.writer().write(bytes).map_err(|error| unreachable_fault(&reason(&error)))?;
        self.flush(socket)?;
        Ok(taken)
    }

    /// Sends encrypted bytes that are left over, as far as there is room.
    pub(super) fn flush(&mut self, socket: &Socket) -> Result<(), Fault> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Outgoing(socket)) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(unreachable_fault(&reason(&error))),
            }
        }
        Ok(())
    }

    pub(super) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Moves plaintext until there is none, or no `room`; true: the peer has ended the stream. An end without
    /// close_notify is an end like any other: RESP frames say themselves whether they are whole.
    fn take_plaintext(&mut self, into: &mut Vec<u8>, room: &mut usize) -> bool {
        let mut reader = self.connection.reader();
        while *room > 0 {
            match reader.fill_buf() {
                Ok([]) => return true,
                Ok(chunk) => {
                    let taken = chunk.len().min(*room);
                    into.extend_from_slice(&chunk[..taken]);
                    reader.consume(taken);
                    *room -= taken;
                }
                Err(error) => return error.kind() == io::ErrorKind::UnexpectedEof,
            }
        }
        false
    }

    /// One recv, decrypted.
    fn receive(&mut self, socket: &Socket) -> Result<Received, Fault> {
        let mut incoming = Incoming { socket, first_byte: &mut self.first_byte, was_all: false };
        match self.connection.read_tls(&mut incoming) {
            Ok(0) => return Ok(Received::End),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Nothing),
            Err(error) => return Err(unreachable_fault(&reason(&error))),
        }
        let was_all = incoming.was_all;
        if let Err(error) = self.connection.process_new_packets() {
            // Tells the server why we leave; that it may be gone already matters to nobody.
            let _ = self.flush(socket);
            return Err(explain(&error, self.first_byte));
        }
        Ok(Received::Some { was_all })
    }
}

enum Received {
    Nothing,
    /// `was_all`: the recv was short, so the socket was empty after it.
    Some {
        was_all: bool,
    },
    End,
}

/// The socket as rustls reads it.
struct Incoming<'a> {
    socket: &'a Socket,
    first_byte: &'a mut Option<u8>,
    was_all: bool,
}

impl io::Read for Incoming<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let received = self.socket.receive(into)?;
        self.was_all = received < into.len();
        if self.first_byte.is_none() {
            *self.first_byte = into[..received].first().copied();
        }
        Ok(received)
    }
}

/// The socket as rustls writes to it.
struct Outgoing<'a>(&'a Socket);

impl Write for Outgoing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
