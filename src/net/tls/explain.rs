//! TLS errors in words that say what to do. No name of a type or a variant of a library is shown as it is.

use std::fmt::Debug;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use super::super::{fault, unreachable_fault};
use crate::core::request::{Fault, FaultKind};

pub(super) fn permanent(text: &str) -> Fault {
    fault(FaultKind::Permanent, &format!("TLS: {text}"))
}

/// Trust and compatibility are for a person to mend; anything else may be a bad moment of the network or the server.
/// `first_byte`: the first that the peer ever sent.
pub(super) fn explain(error: &Error, first_byte: Option<u8>) -> Fault {
    match error {
        Error::InvalidCertificate(why) => permanent(&distrust(why)),
        Error::PeerIncompatible(_) => permanent(&words(error)),
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            permanent("the server requires a client certificate: set tls_cert_file and tls_key_file")
        }
        Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
            // What a TLS 1.2 server says to a client without a certificate.
            | AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion,
        ) => permanent(&words(error)),
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion)
            if first_byte.is_some_and(|byte| b"-+:$*%>_".contains(&byte)) =>
        {
            permanent("the port does not speak TLS: use redis:// instead of rediss://")
        }
        Error::InvalidMessage(_) if first_byte.is_some_and(|byte| !RECORD_TYPES.contains(&byte)) => {
            permanent("the port does not speak TLS, and is no Redis server's")
        }
        _ => unreachable_fault(&format!("TLS: {}", words(error))),
    }
}

/// The first byte of every TLS record (RFC 8446 §5.1).
const RECORD_TYPES: std::ops::RangeInclusive<u8> = 20..=24;

/// Any error as a part of a sentence.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => distrust(why),
        Error::PeerIncompatible(why) => format!("the server's TLS does not fit ours: {}", spoken(why)),
        Error::PeerMisbehaved(why) => format!("the server breaks the rules of TLS: {}", spoken(why)),
        Error::InvalidMessage(why) => format!("the server sent what is no TLS message: {}", spoken(why)),
        Error::AlertReceived(alert) => format!("the server refuses us: {}", spoken(alert)),
        Error::InconsistentKeys(_) => "the private key is not the certificate's".into(),
        Error::General(text) => text.clone(),
        other => spoken(other),
    }
}

/// What is wrong with the server's certificate, and what helps.
fn distrust(why: &CertificateError) -> String {
    let what = match why {
        CertificateError::UnknownIssuer => {
            return "the server's certificate is not signed by a trusted authority: set tls_ca_file to the one that \
                    signed it"
                .into();
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired: renew it",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet: compare the clocks"
        }
        CertificateError::Revoked => "has been revoked",
        CertificateError::NotValidForName => "is for another host name",
        CertificateError::NotValidForNameContext { expected, presented } => {
            return wrong_name(&expected.to_str(), presented);
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not made for servers (extendedKeyUsage)"
        }
        CertificateError::BadSignature => "is not signed by the authority that it names",
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "is signed in a way that is not supported: use RSA from 2048 bits, ECDSA P-256 or P-384, or Ed25519, with SHA-2"
        }
        CertificateError::BadEncoding => "is damaged",
        CertificateError::UnhandledCriticalExtension => "has a critical extension that is not known here",
        CertificateError::Other(_) if is_authority_in_use(why) => {
            "is an authority's own: put it into tls_ca_file, or let the authority sign one for the server"
        }
        CertificateError::Other(other)
            if matches!(other.0.downcast_ref(), Some(webpki::Error::UnsupportedCertVersion)) =>
        {
            "is of X.509 version 1, which names no host: make one of version 3, with a subjectAltName"
        }
        CertificateError::Other(other) => {
            let known = other.0.downcast_ref::<webpki::Error>().map(spoken);
            return format!(
                "the server's certificate is not accepted: {}",
                known.unwrap_or_else(|| "unknown reason".into())
            );
        }
        other => return format!("the server's certificate is not accepted: {}", spoken(other)),
    };
    format!("the server's certificate {what}")
}

/// webpki presents names as `DnsName("host")` and `IpAddress(…)`.
fn wrong_name(expected: &str, presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, inner)| inner.trim_end_matches(')'));
        inner.trim_matches('"').to_owned()
    };
    let names: Vec<_> = presented.iter().take(4).map(bare).collect();
    match names.as_slice() {
        [] => format!("the server's certificate names no host: make one with subjectAltName {expected}"),
        names => format!("the server's certificate is for {}, not for {expected}", names.join(", ")),
    }
}

/// The name of an enum's variant as words: `NoCipherSuitesInCommon` is "no cipher suites in common".
pub(super) fn spoken(variant: &impl Debug) -> String {
    let name = format!("{variant:?}");
    let name: Vec<char> = name.chars().take_while(char::is_ascii_alphanumeric).collect();
    let mut text = String::with_capacity(name.len() + 8);
    for (at, character) in name.iter().enumerate() {
        let is_capital = character.is_ascii_uppercase();
        // An abbreviation stays together: `UnknownCA`, `DNSName`.
        let is_start = is_capital
            && at > 0
            && (!name[at - 1].is_ascii_uppercase() || name.get(at + 1).is_some_and(char::is_ascii_lowercase));
        if is_start {
            text.push(' ');
        }
        text.push(character.to_ascii_lowercase());
    }
    text
}

/// webpki refuses a server that shows an authority's certificate as its own. It has checked the dates by then.
pub(super) fn is_authority_in_use(why: &CertificateError) -> bool {
    let CertificateError::Other(other) = why else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;
    use rustls::{InconsistentKeys, OtherError, PeerIncompatible, PeerMisbehaved};
    use std::sync::Arc;

    /// One of each kind of error, as far as they can be made; where the library has many of a kind, some.
    fn errors() -> Vec<Error> {
        let expected = ServerName::try_from("db.example").expect("a name");
        let presented = vec!["DnsName(\"other.example\")".to_owned(), "IpAddress(127.0.0.1)".to_owned()];
        let mut certificate = vec![
            CertificateError::BadEncoding,
            CertificateError::Expired,
            CertificateError::NotValidYet,
            CertificateError::Revoked,
            CertificateError::UnhandledCriticalExtension,
            CertificateError::UnknownIssuer,
            CertificateError::UnknownRevocationStatus,
            CertificateError::ExpiredRevocationList,
            CertificateError::BadSignature,
            CertificateError::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: vec![1],
                supported_algorithms: Vec::new(),
            },
            CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: vec![1],
                public_key_algorithm_id: vec![2],
            },
            CertificateError::NotValidForName,
            CertificateError::NotValidForNameContext { expected: expected.clone(), presented },
            CertificateError::NotValidForNameContext { expected, presented: Vec::new() },
            CertificateError::InvalidPurpose,
            CertificateError::InvalidOcspResponse,
            CertificateError::ApplicationVerificationFailure,
        ];
        for error in [
            webpki::Error::CaUsedAsEndEntity,
            webpki::Error::EndEntityUsedAsCa,
            webpki::Error::UnsupportedCertVersion,
            webpki::Error::ExtensionValueInvalid,
            webpki::Error::InvalidSerialNumber,
            webpki::Error::MalformedExtensions,
            webpki::Error::MaximumPathBuildCallsExceeded,
            webpki::Error::NameConstraintViolation,
            webpki::Error::PathLenConstraintViolated,
            webpki::Error::UnsupportedCriticalExtension,
            webpki::Error::EmptyEkuExtension,
        ] {
            certificate.push(CertificateError::Other(OtherError(Arc::new(error))));
        }
        certificate.push(CertificateError::Other(OtherError(Arc::new(std::fmt::Error))));
        let mut errors: Vec<Error> = certificate.into_iter().map(Error::InvalidCertificate).collect();
        // Every alert that there can be.
        errors.extend((0..=u8::MAX).map(|code| Error::AlertReceived(AlertDescription::from(code))));
        errors.extend([
            Error::InappropriateMessage { expect_types: Vec::new(), got_type: rustls::ContentType::Alert },
            Error::InappropriateHandshakeMessage {
                expect_types: Vec::new(),
                got_type: rustls::HandshakeType::Finished,
            },
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            Error::InvalidMessage(InvalidMessage::MissingData("payload")),
            Error::InvalidMessage(InvalidMessage::TrailingData("payload")),
            Error::NoCertificatesPresented,
            Error::UnsupportedNameType,
            Error::DecryptError,
            Error::EncryptError,
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
            Error::PeerMisbehaved(PeerMisbehaved::TooManyEmptyFragments),
            Error::General("something else".into()),
            Error::FailedToGetCurrentTime,
            Error::FailedToGetRandomBytes,
            Error::HandshakeNotComplete,
            Error::PeerSentOversizedRecord,
            Error::NoApplicationProtocol,
            Error::BadMaxFragmentSize,
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch),
        ]);
        errors
    }

    #[test]
    fn every_error_is_told_in_words() {
        for error in errors() {
            let text = explain(&error, Some(22)).text;
            let sentence = text.strip_prefix("TLS: ").expect("says what it is about");
            let inner_capital =
                sentence.as_bytes().windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
            // extendedKeyUsage and subjectAltName are what people have to write.
            let is_term = sentence.contains("extendedKeyUsage") || sentence.contains("subjectAltName");
            assert!(!inner_capital || is_term, "{error:?}: {sentence}");
            let looks_like_debug = sentence.contains(['{', '[', '"', '_']) && !sentence.contains("tls_");
            assert!(!looks_like_debug && sentence.len() > 8, "{error:?}: {sentence}");
        }
    }

    #[test]
    fn names_of_variants_become_words() {
        assert_eq!(spoken(&PeerIncompatible::NoCipherSuitesInCommon), "no cipher suites in common");
        assert_eq!(spoken(&AlertDescription::UnknownCA), "unknown ca");
        assert_eq!(spoken(&CertificateError::NotValidForName), "not valid for name");
        assert_eq!(spoken(&Error::PeerSentOversizedRecord), "peer sent oversized record");
    }
}
