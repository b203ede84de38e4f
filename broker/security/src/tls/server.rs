//! What a listener needs to take in TLS connections.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;

use super::error::TlsError;
use super::keystore::{KeyMaterial, Material};
use super::settings::TlsSettings;
use super::suites::provider;
use super::trust::client_verifier;

/// Puts a listener's configuration together.
pub(super) fn server_config(settings: &TlsSettings, material: &Material) -> Result<ServerConfig, TlsError> {
    let keys = material.keys.as_ref().ok_or_else(|| {
        TlsError::Settings(
            "a listener with TLS needs a key of its own: set ssl.keystore.location, or ssl.keystore.key and ssl.keystore.certificate.chain".into(),
        )
    })?;
    let provider = chosen_provider(settings);
    let key = certified_key(keys, &provider)?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&settings.protocols)
        .map_err(|error| TlsError::Settings(error.to_string()))?
        .with_client_cert_verifier(client_verifier(material, settings.client_auth)?)
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)));
    Ok(config)
}

/// The provider with the suites that are allowed.
pub(super) fn chosen_provider(settings: &TlsSettings) -> Arc<CryptoProvider> {
    let mut provider = provider();
    if !settings.cipher_suites.is_empty() {
        provider.cipher_suites.clone_from(&settings.cipher_suites);
    }
    Arc::new(provider)
}

/// The key as rustls wants it; it must be that of the certificate.
pub(super) fn certified_key(keys: &KeyMaterial, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    CertifiedKey::from_der(keys.chain.clone(), keys.key.clone_key(), provider).map_err(|error| TlsError::Unusable {
        what: "the private key",
        reason: error.to_string(),
    })
}
