//! Who gets in at a port of a broker or a coordinator, and who we are at others'.
//!
//! The deciding is in `broker-security`; here it is made ready from keys and kept fresh: the machine of a login
//! ([`Authenticator`]) and what a listener offers to it ([`SaslListener`]), credentials and access control lists as
//! ZooKeeper has them ([`credentials`], [`AclAuthorizer`]), key sets and tokens of identity providers, and our own logins
//! ([`login`]). Opens no port and serves no request but those of logins.
//!
//! Invariants: no secret gets into a log line or an error; what is in ZooKeeper wins, always.

mod acl;
mod audit;
mod authentication;
mod clock;
pub mod credentials;
mod listener;
mod login;
mod oauthbearer;
mod settings;

pub use acl::{AclAuthorizer, AclError, AclScope, Action, Deleted, LogIf};
pub use audit::AUDIT;
pub use authentication::{Authenticator, Failed, Now, Verdict};
pub use listener::{CredentialStores, NotOffered, SaslListener};
pub use login::{NoLogin, login};
pub use settings::{
    AUTHORIZER_KEYS, AUTHORIZER_PREFIX, AuthorizerSettings, BrokerLogin, DEFAULTS, EnabledMechanism, ListenerKeys,
    OtherZooKeeper, Refused, SaslListenerConfig, SaslMechanism, TokenCheck, TokenSource, ZooKeeperDefaults,
    is_authorizer_key, refuse_java_class,
};
