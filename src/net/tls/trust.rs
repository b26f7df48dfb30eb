//! Which servers are trusted.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::explain::{self, is_authority_in_use};

/// Trusts what an authority has signed, and a certificate that was itself named as one (`openssl req -x509`: a server
/// that is its own authority).
#[derive(Debug)]
pub(super) struct Trusting {
    authorities: Arc<WebPkiServerVerifier>,
    named: Vec<Named>,
}

/// A certificate of the CA file, byte for byte.
#[derive(Debug)]
struct Named {
    certificate: CertificateDer<'static>,
    /// Its subject, in DER, without the outermost tag.
    subject: Vec<u8>,
}

impl Trusting {
    pub(super) fn new(
        roots: RootCertStore,
        named: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Trusting, String> {
        let subjects: Vec<_> = roots.roots.iter().map(|root| root.subject.as_ref().to_vec()).collect();
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| format!("no trusted certificate: {}", explain::spoken(&error)))?;
        let named = named.into_iter().zip(subjects);
        Ok(Trusting {
            authorities,
            named: named.map(|(certificate, subject)| Named { certificate, subject }).collect(),
        })
    }

    /// The name in a certificate that is itself trusted: its subjectAltName, or, where it has none, its subject's
    /// common name, which is all that `openssl req -x509 -subj /CN=host` writes.
    fn check_name(named: &Named, server_name: &ServerName<'_>) -> Result<(), Error> {
        let certificate = ParsedCertificate::try_from(&named.certificate)?;
        match verify_server_name(&certificate, server_name) {
            Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }))
                if presented.is_empty() =>
            {
                let common = common_name(&named.subject);
                if common.as_deref().is_some_and(|common| common.eq_ignore_ascii_case(&server_name.to_str())) {
                    return Ok(());
                }
                let presented = common.into_iter().collect();
                Err(CertificateError::NotValidForNameContext { expected, presented }.into())
            }
            checked => checked,
        }
    }
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let Err(Error::InvalidCertificate(why)) = &verified else { return verified };
        match self.named.iter().find(|named| named.certificate == *end_entity) {
            Some(named) if is_authority_in_use(why) || is_wrong_name(why) => {
                Trusting::check_name(named, server_name).map(|()| ServerCertVerified::assertion())
            }
            _ => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// webpki checks names last, so the rest is right.
fn is_wrong_name(why: &CertificateError) -> bool {
    matches!(why, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })
}

/// The last common name of a subject (RFC 5280 §4.1.2.4: a sequence of sets of pairs of type and value).
fn common_name(mut subject: &[u8]) -> Option<String> {
    const SET: u8 = 0x31;
    const SEQUENCE: u8 = 0x30;
    const OBJECT_IDENTIFIER: u8 = 0x06;
    const ID_AT_COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
    let mut found = None;
    while !subject.is_empty() {
        let mut set = element(&mut subject).filter(|(tag, _)| *tag == SET)?.1;
        while !set.is_empty() {
            let mut pair = element(&mut set).filter(|(tag, _)| *tag == SEQUENCE)?.1;
            let (tag, kind) = element(&mut pair)?;
            let (_, value) = element(&mut pair)?;
            if tag == OBJECT_IDENTIFIER && kind == ID_AT_COMMON_NAME {
                found = str::from_utf8(value).ok();
            }
        }
    }
    found.map(str::to_owned)
}

/// Tag and contents of the first element of DER, which is taken off.
fn element<'a>(der: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => rest.split_first().map(|(&length, rest)| (usize::from(length), rest))?,
        0x82 => rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?,
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    *der = rest;
    Some((tag, contents))
}

/// The verifier of `insecure`. Checking the handshake's signature would prove only that the peer owns the certificate
/// that anybody can make, and would refuse odd certificates that the option promises to accept.
#[derive(Debug)]
pub(super) struct AcceptAnything {
    provider: Arc<CryptoProvider>,
}

impl AcceptAnything {
    pub(super) fn new(provider: &Arc<CryptoProvider>) -> AcceptAnything {
        AcceptAnything { provider: Arc::clone(provider) }
    }
}

impl ServerCertVerifier for AcceptAnything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_name_of_a_subject_is_found_and_damaged_ones_have_none() {
        let subject =
            b"\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x13\x02DE\x31\x10\x30\x0e\x06\x03\x55\x04\x03\x0c\x07a.local";
        assert_eq!(common_name(subject).as_deref(), Some("a.local"));
        for length in 1..subject.len() {
            let cut = common_name(&subject[..length]);
            assert_eq!(cut, None, "{length} bytes");
        }
        assert_eq!(common_name(b""), None);
        assert_eq!(common_name(b"\x31\x84\xff\xff\xff\xff"), None);
    }
}
