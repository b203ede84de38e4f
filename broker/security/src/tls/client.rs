//! What is needed to connect to others by TLS.

use std::sync::Arc;

use rustls::ClientConfig;

use super::error::TlsError;
use super::keystore::Material;
use super::server::{certified_key, chosen_provider};
use super::settings::TlsSettings;
use super::trust::server_verifier;

/// Puts a client's configuration together; with a key, if there is one, for servers that ask for it.
pub(super) fn client_config(settings: &TlsSettings, material: &Material) -> Result<ClientConfig, TlsError> {
    let provider = chosen_provider(settings);
    let key = match &material.keys {
        Some(keys) => Some(certified_key(keys, &provider)?),
        None => None,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&settings.protocols)
        .map_err(|error| TlsError::Settings(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(server_verifier(material, settings.check_host)?);
    Ok(match key {
        Some(key) => builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key))),
        None => builder.with_no_client_auth(),
    })
}
