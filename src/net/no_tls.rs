//! Stands in for TLS in a build without the feature `tls`: an endpoint can be described, and every dial of it says why
//! it fails.

use std::path::PathBuf;

use crate::core::request::{Fault, FaultKind};

use super::fault;
use super::read::Read;
use super::sys::Socket;

/// See the feature `tls`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsOptions {
    /// PEM file of the certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client's certificate chain.
    pub cert_file: Option<PathBuf>,
    /// PEM file of the client's private key.
    pub key_file: Option<PathBuf>,
    /// Accept any certificate.
    pub insecure: bool,
}

/// See the feature `tls`.
#[derive(Debug)]
pub struct TlsContext;

impl TlsContext {
    /// A context that no dial can use.
    #[must_use]
    pub fn new(_options: TlsOptions) -> TlsContext {
        TlsContext
    }

    /// Always a permanent fault.
    pub fn prepare(&self) -> Result<(), Fault> {
        Err(without_tls())
    }
}

/// There are none.
pub(super) enum TlsSession {}

impl TlsSession {
    pub(super) fn new(_context: &TlsContext, _host: &str) -> Result<TlsSession, Fault> {
        Err(without_tls())
    }

    pub(super) fn handshake(&mut self, _socket: &Socket) -> Result<bool, Fault> {
        match *self {}
    }

    pub(super) fn has_heard(&self) -> bool {
        match *self {}
    }

    pub(super) fn read(&mut self, _socket: &Socket, _into: &mut Vec<u8>) -> Result<Read, Fault> {
        match *self {}
    }

    pub(super) fn write(&mut self, _socket: &Socket, _bytes: &[u8]) -> Result<usize, Fault> {
        match *self {}
    }

    pub(super) fn flush(&mut self, _socket: &Socket) -> Result<(), Fault> {
        match *self {}
    }

    pub(super) fn wants_write(&self) -> bool {
        match *self {}
    }
}

fn without_tls() -> Fault {
    fault(FaultKind::Permanent, "TLS: this library was built without TLS")
}
