//! How a session proves who it is to ZooKeeper, and what it asks ZooKeeper to keep from others.
//!
//! TLS (with or without a certificate of ours) and SASL DIGEST-MD5, alone or together. Does not read files: whoever
//! makes a [`Security`] has read them. Certificates and passwords travel with it to the guardian process.
//!
//! Source: Kafka 3.9 `KafkaZkClient.createZkClient`, `ZkConfigs`.

use core::fmt;

use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};
use zk_schema::node_acl::NodeAcl;
use zookeeper_client as zk;

use crate::StoreError;

/// How to log in, and who may do what with the znodes that are created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// `zookeeper.ssl.client.enable` and what belongs to it.
    pub tls: Option<Tls>,
    /// Who to log in as by SASL.
    pub digest: Option<DigestLogin>,
    /// `zookeeper.set.acl`: what is created may be changed by its creator alone, and secrets read by nobody else.
    pub set_acl: bool,
}

/// TLS to ZooKeeper's servers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// Certificates that are trusted, and revocation lists, in PEM.
    pub trusted_pem: String,
    /// Who this side is, if the servers are to know.
    pub identity: Option<ClientIdentity>,
    /// `zookeeper.ssl.endpoint.identification.algorithm=HTTPS`: the server's certificate must name the server.
    pub verify_host: bool,
}

/// A certificate of ours.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientIdentity {
    /// The certificate and those that vouch for it, in PEM.
    pub chain_pem: String,
    /// Its private key, in PEM, not encrypted.
    pub key_pem: String,
}

/// A user of ZooKeeper's `DigestLoginModule`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestLogin {
    /// Who.
    pub username: String,
    /// The password.
    pub password: String,
}

impl Security {
    /// Finds out before the first connection what no connection could be made with.
    pub(crate) fn check(&self, servers: &str) -> Result<(), StoreError> {
        if self.tls.is_some() {
            for server in servers.split(',') {
                let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
                let host = host.trim_matches(['[', ']']);
                if ServerName::try_from(host).is_err() {
                    let reason = format!("no certificate can be for {host}");
                    return Err(StoreError::InvalidConnectString(reason));
                }
            }
        }
        self.apply(zk::Client::connector()).map(drop)
    }

    /// Tells the client.
    pub(crate) fn apply(&self, mut connector: zk::Connector) -> Result<zk::Connector, StoreError> {
        if let Some(tls) = &self.tls {
            connector = connector.with_tls(tls.options()?);
        }
        if let Some(login) = &self.digest {
            let options = zk::SaslOptions::digest_md5(login.username.clone(), login.password.clone());
            connector = connector.with_sasl(options);
        }
        Ok(connector)
    }
}

impl Tls {
    fn options(&self) -> Result<zk::TlsOptions, StoreError> {
        let invalid = |what: &str, error: zk::Error| StoreError::InvalidTls(format!("{what}: {error}"));
        let mut options = zk::TlsOptions::new()
            .with_pem_ca(&self.trusted_pem)
            .map_err(|error| invalid("the certificates that are trusted", error))?;
        if let Some(identity) = &self.identity {
            options = options
                .with_pem_identity(&identity.chain_pem, &identity.key_pem)
                .map_err(|error| invalid("the certificate or its key", error))?;
        }
        if !self.verify_host {
            #[expect(
                unsafe_code,
                reason = "the client crate marks what is insecure as unsafe; no memory is at stake, and it was asked for"
            )]
            // SAFETY: nothing in it is unsafe but that any server with a trusted certificate is taken for the right one.
            let unverified = unsafe { options.with_no_hostname_verification() };
            options = unverified;
        }
        Ok(options)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("identity", &self.identity.is_some())
            .field("verify_host", &self.verify_host)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity([hidden])")
    }
}

impl fmt::Debug for DigestLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestLogin")
            .field("username", &self.username)
            .field("password", &"[hidden]")
            .finish()
    }
}

/// `auth` stands for all that the session has logged in as; the server puts the names in.
static CREATOR_AND_READERS: [zk::Acl; 2] = [
    zk::Acl::new_const(zk::Permission::ALL, "auth", ""),
    zk::Acl::new_const(zk::Permission::READ, "world", "anyone"),
];

/// Who may do what with a znode that is created at `path`.
pub(crate) fn acls(path: &str, set_acl: bool) -> zk::Acls<'static> {
    match NodeAcl::of(path, set_acl) {
        NodeAcl::Open => zk::Acls::anyone_all(),
        NodeAcl::CreatorAndReaders => zk::Acls::new(&CREATOR_AND_READERS),
        NodeAcl::CreatorOnly => zk::Acls::creator_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn security() -> Security {
        Security {
            tls: Some(Tls {
                trusted_pem: "sesame".into(),
                identity: Some(ClientIdentity {
                    chain_pem: "sesame".into(),
                    key_pem: "sesame".into(),
                }),
                verify_host: true,
            }),
            digest: Some(DigestLogin {
                username: "kafka".into(),
                password: "sesame".into(),
            }),
            set_acl: true,
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", security());
        assert!(shown.contains("kafka") && !shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn what_no_connection_could_be_made_with_is_found_out_first() {
        let mut security = security();
        let check = |security: &Security, servers: &str, expected: &str| {
            let error = security.check(servers).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&security, "bad host:2181", "no certificate can be for bad host");
        check(&security, "zk1:2181,zk2:2181", "the certificates that are trusted");
        check(
            &security,
            "[::1]:2181,10.0.0.1:2181",
            "the certificates that are trusted",
        );
        security.tls = None;
        assert_eq!(security.check("bad host:2181"), Ok(()));
    }
}
