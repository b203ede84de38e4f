//! The coordinator's own port: who comes in, and what they may do there.
//!
//! As on a broker's listener: TLS, then a login by SASL, where the listener between brokers has them; then every request
//! but ApiVersions needs CLUSTER_ACTION on the cluster, as what brokers ask of a controller does.
//!
//! Invariants: no request is served for a peer that has not logged in where that is asked for; credentials and rules are
//! read before anybody is let in.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_admission::credentials::Credentials;
use broker_admission::{
    AclAuthorizer, AclScope, Action, Authenticator, AuthorizerSettings, CredentialStores, LogIf, Now, SaslListener,
    Verdict,
};
use broker_security::authorizer::{CLUSTER_NAME, Requester};
use broker_security::principal::KafkaPrincipal;
use broker_security::tls::{PrincipalMapper, TlsServer, rfc2253_of};
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use zk_schema::acl::{Operation, ResourceType};
use zk_schema_store::{Store, StoreConfig};

use crate::clock;
use crate::security::{Guests, Opened, Security};

/// The port of one coordinator.
pub struct Door {
    tls: Option<Arc<TlsServer>>,
    mapper: PrincipalMapper,
    sasl: Option<Arc<SaslListener>>,
    /// `None`: whoever gets in may do everything.
    authorizer: Option<Arc<AclAuthorizer>>,
}

/// Why a peer is not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotLetIn {
    #[error("SSL handshake failed: {0}")]
    Handshake(#[from] std::io::Error),
    #[error("the peer's certificate names nobody: {0}")]
    Nobody(String),
}

impl Door {
    /// Reads credentials and rules from ZooKeeper, and follows their changes from then on, on the current runtime.
    ///
    /// # Errors
    /// ZooKeeper has not answered, or a mechanism cannot be served.
    pub async fn open(
        security: &Security,
        opened: &Opened,
        store: &StoreConfig,
        cluster: &Store,
    ) -> Result<Self, String> {
        let said = |error: &dyn core::fmt::Display| error.to_string();
        let sasl = match &security.sasl {
            None => None,
            Some(config) => {
                let stores = CredentialStores::default();
                let credentials = Credentials::load(cluster.clone(), Arc::clone(&stores.scram));
                tokio::spawn(credentials.await.map_err(|error| said(&error))?.follow());
                let listener = SaslListener::new(config, &stores).map_err(|error| said(&error))?;
                Some(Arc::new(listener))
            }
        };
        let authorizer = match &security.guests {
            Guests::Everybody => None,
            Guests::SuperUsers(users) => {
                let settings = AuthorizerSettings {
                    super_users: users.clone(),
                    allow_everyone_if_no_acl_found: false,
                    zookeeper: None,
                };
                let authorizer = AclAuthorizer::start(cluster.clone(), &settings, AclScope::Nothing).await;
                Some(authorizer.map_err(|error| said(&error))?)
            }
            Guests::Allowed(settings) => {
                let rules = match &settings.zookeeper {
                    None => cluster.clone(),
                    Some(other) => Store::connect(other.store_config(store))
                        .await
                        .map_err(|error| said(&error))?,
                };
                let authorizer = AclAuthorizer::start(rules, settings, AclScope::Cluster).await;
                let authorizer = authorizer.map_err(|error| said(&error))?;
                tokio::spawn(Arc::clone(&authorizer).follow());
                Some(authorizer)
            }
        };
        Ok(Self {
            tls: opened.server.clone(),
            mapper: PrincipalMapper::parse(&security.mapping).map_err(|error| said(&error))?,
            sasl,
            authorizer,
        })
    }

    /// Whether a connection begins with a TLS handshake.
    pub(crate) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Does the handshake, and sees who comes.
    pub(crate) async fn shake_hands(
        &self,
        stream: TcpStream,
        host: IpAddr,
    ) -> Result<(TlsStream<TcpStream>, Guest), NotLetIn> {
        let Some(tls) = &self.tls else {
            return Err(NotLetIn::Nobody("there is no TLS".to_owned()));
        };
        let stream = tls.accept(stream).await?;
        let chain = stream.get_ref().1.peer_certificates();
        let principal = match chain.and_then(|chain| chain.first()) {
            None => KafkaPrincipal::anonymous(),
            Some(certificate) => {
                let name = rfc2253_of(certificate).map_err(|error| NotLetIn::Nobody(error.to_string()))?;
                let name = self.mapper.name(&name);
                KafkaPrincipal::user(name.map_err(|error| NotLetIn::Nobody(error.to_string()))?)
            }
        };
        Ok((stream, self.guest(principal, host)))
    }

    /// A peer of a connection without TLS.
    pub(crate) fn stranger(&self, host: IpAddr) -> Guest {
        self.guest(KafkaPrincipal::anonymous(), host)
    }

    fn guest(&self, principal: KafkaPrincipal, host: IpAddr) -> Guest {
        let login = self
            .sasl
            .as_ref()
            .map(|listener| Authenticator::new(Arc::clone(listener)));
        Guest { principal, host, login }
    }

    /// Whether the peer may ask the controller for things; a refusal is logged.
    pub(crate) fn allows(&self, guest: &Guest, request: &str) -> bool {
        let Some(authorizer) = &self.authorizer else {
            return true;
        };
        let requester = Requester {
            principal: guest.principal(),
            host: guest.host,
        };
        let action = Action {
            operation: Operation::ClusterAction,
            resource_type: ResourceType::Cluster,
            name: CLUSTER_NAME,
            count: 1,
            log: LogIf::BOTH,
        };
        authorizer.authorize(requester, request, &[action])[0]
    }
}

/// Who is at the other end of a connection.
pub(crate) struct Guest {
    /// Where nobody logs in.
    principal: KafkaPrincipal,
    host: IpAddr,
    login: Option<Authenticator>,
}

impl Guest {
    fn principal(&self) -> &KafkaPrincipal {
        let logged_in = self.login.as_ref().and_then(Authenticator::principal);
        logged_in.unwrap_or(&self.principal)
    }

    /// Whether nobody has logged in yet, and must.
    pub(crate) fn must_log_in(&self) -> bool {
        self.login.as_ref().is_some_and(Authenticator::is_first_login)
    }

    /// The largest frame that may come now, of `max` at most.
    pub(crate) fn max_frame_len(&self, max: usize) -> usize {
        match &self.login {
            Some(login) if login.in_progress() => login.max_frame_len().min(max),
            _ => max,
        }
    }

    /// What to do with a frame.
    pub(crate) fn receive(&mut self, frame: Bytes) -> Verdict {
        match &mut self.login {
            None => Verdict::Serve(frame),
            Some(login) => {
                let now = Now {
                    instant: Instant::now(),
                    wall: clock::now(),
                };
                login.receive(frame, now)
            }
        }
    }

    /// See [`Authenticator::versions_answered`].
    pub(crate) fn versions_answered(&mut self, reply: &Bytes) {
        if let Some(login) = &mut self.login {
            login.versions_answered(reply);
        }
    }

    /// How long a failed login is left without an answer.
    pub(crate) fn failure_delay(&self) -> Duration {
        self.login.as_ref().map_or(Duration::ZERO, Authenticator::failure_delay)
    }
}
