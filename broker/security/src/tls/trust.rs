//! Whom we trust: rustls' verifiers, and what Java's do beyond them.
//!
//! A certificate that stands in the trust store itself is trusted as it is, also a self-signed one that calls itself an
//! authority (webpki refuses those). A server's name may stand in the common name of a certificate that has no alternative
//! names of hosts. A host is not checked where `ssl.endpoint.identification.algorithm` is empty; the chain always is.
//! Stricter than Java: a certificate is also refused when it has expired and stands in the trust store.
//!
//! Source: Java `PKIXValidator.engineValidate`, `HostnameChecker`.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::distinguished_name::rfc2253_of;
use super::error::TlsError;
use super::keystore::{CertificateSummary, Material};
use super::settings::ClientAuth;
use super::suites::provider;

/// Certificates that we trust.
struct Trust {
    roots: Arc<RootCertStore>,
    /// Those of the trust store, to be found as they are.
    listed: Vec<CertificateDer<'static>>,
    revocation_lists: Vec<CertificateRevocationListDer<'static>>,
}

impl Trust {
    fn of(material: &Material) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let listed = match &material.trusted {
            Some(certificates) => {
                for certificate in certificates {
                    // One that cannot issue others can still be trusted as it is, and one must not keep out all.
                    if let Err(error) = roots.add(certificate.clone()) {
                        let name = rfc2253_of(certificate).unwrap_or_default();
                        tracing::warn!(name, %error, "a certificate of the trust store cannot be used as an authority");
                    }
                }
                certificates.clone()
            }
            None => {
                let system = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(system.certs);
                Vec::new()
            }
        };
        if roots.is_empty() {
            return Err(TlsError::Settings(
                "no trust store is specified, and the system trusts no certificate: set ssl.truststore.location".into(),
            ));
        }
        Ok(Self {
            roots: Arc::new(roots),
            listed,
            revocation_lists: material.revocation_lists.clone(),
        })
    }
}

fn unusable(error: &dyn std::fmt::Display) -> TlsError {
    TlsError::Unusable {
        what: "the trusted certificates",
        reason: error.to_string(),
    }
}

/// Whether a certificate that rustls refuses stands in the trust store itself and is valid now.
fn is_listed(
    listed: &[CertificateDer<'static>],
    certificate: &CertificateDer<'_>,
    now: UnixTime,
    refused: &Error,
) -> bool {
    let may = matches!(
        refused,
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::InvalidPurpose | CertificateError::Other(_)
        )
    );
    may && listed.iter().any(|one| one.as_ref() == certificate.as_ref())
        && CertificateSummary::read(certificate).is_ok_and(|summary| {
            let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            (summary.not_before..=summary.not_after).contains(&now)
        })
}

/// Checks clients' certificates.
pub(super) fn client_verifier(
    material: &Material,
    client_auth: ClientAuth,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let trust = match client_auth {
        ClientAuth::None => return Ok(WebPkiClientVerifier::no_client_auth()),
        _ => Trust::of(material)?,
    };
    let mut builder = WebPkiClientVerifier::builder_with_provider(trust.roots, Arc::new(provider()))
        .with_crls(trust.revocation_lists)
        .allow_unknown_revocation_status();
    if client_auth == ClientAuth::Requested {
        builder = builder.allow_unauthenticated();
    }
    Ok(Arc::new(Clients {
        inner: builder.build().map_err(|error| unusable(&error))?,
        listed: trust.listed,
    }))
}

/// Checks servers' certificates.
pub(super) fn server_verifier(material: &Material, check_host: bool) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let trust = Trust::of(material)?;
    let inner = WebPkiServerVerifier::builder_with_provider(trust.roots, Arc::new(provider()))
        .with_crls(trust.revocation_lists)
        .allow_unknown_revocation_status()
        .build()
        .map_err(|error| unusable(&error))?;
    Ok(Arc::new(Servers {
        inner,
        listed: trust.listed,
        check_host,
    }))
}

#[derive(Debug)]
struct Clients {
    inner: Arc<dyn ClientCertVerifier>,
    listed: Vec<CertificateDer<'static>>,
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.inner.verify_client_cert(end_entity, intermediates, now) {
            Err(refused) if is_listed(&self.listed, end_entity, now, &refused) => Ok(ClientCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[derive(Debug)]
struct Servers {
    inner: Arc<WebPkiServerVerifier>,
    listed: Vec<CertificateDer<'static>>,
    check_host: bool,
}

impl Servers {
    /// What is left to check of a certificate whose chain is trusted.
    fn check_name(&self, certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
        if !self.check_host {
            return Ok(());
        }
        let parsed = ParsedCertificate::try_from(certificate)?;
        match rustls::client::verify_server_name(&parsed, name) {
            Err(_) if common_name_matches(certificate, name) => Ok(()),
            checked => checked,
        }
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self
            .inner
            .verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        match verified {
            Ok(verified) => Ok(verified),
            // The name is checked last: the chain has been found good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => self
                .check_name(end_entity, name)
                .map(|()| ServerCertVerified::assertion()),
            Err(refused) if is_listed(&self.listed, end_entity, now, &refused) => self
                .check_name(end_entity, name)
                .map(|()| ServerCertVerified::assertion()),
            Err(refused) => Err(refused),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Whether a certificate without names of hosts has this one as its common name; `*.` stands for one label.
fn common_name_matches(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let ServerName::DnsName(host) = name else { return false };
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    let Ok(alternatives) = parsed.subject_alternative_name() else {
        return false;
    };
    let names_hosts = alternatives.is_some_and(|extension| {
        let mut names = extension.value.general_names.iter();
        names.any(|name| matches!(name, GeneralName::DNSName(_)))
    });
    // Java takes the most specific one, which stands last.
    let common_name = parsed.subject().iter_common_name().last();
    let Some(common_name) = common_name.and_then(|it| it.as_str().ok()) else {
        return false;
    };
    let host = host.as_ref();
    let matches = match common_name.strip_prefix("*.") {
        Some(rest) => host
            .split_once('.')
            .is_some_and(|(_, parent)| parent.contains('.') && parent.eq_ignore_ascii_case(rest)),
        None => host.eq_ignore_ascii_case(common_name),
    };
    !names_hosts && matches
}
