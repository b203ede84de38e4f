//! Everybody's SCRAM credentials, as `/config/users` has them.
//!
//! Source: Kafka 3.9 `CredentialProvider`, `CredentialCache`.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::RwLock;

use super::{ScramCredential, ScramCredentials, ScramMechanism};

/// Credentials by user.
#[derive(Debug, Default)]
pub struct ScramCache {
    users: RwLock<HashMap<String, OfUser>>,
}

/// By mechanism.
type OfUser = [Option<Arc<ScramCredential>>; 2];

impl ScramCache {
    /// A user's configuration is now this: its credentials replace those that were there. One that cannot be read
    /// counts as none, and is logged.
    pub fn user_changed(&self, user: &str, config: &BTreeMap<String, String>) {
        let credentials = ScramMechanism::ALL.map(|mechanism| {
            let text = config.get(mechanism.name())?;
            match ScramCredential::from_text(text) {
                Ok(credential) => Some(Arc::new(credential)),
                Err(error) => {
                    tracing::error!(user, mechanism = mechanism.name(), %error, "a credential in zookeeper cannot be used");
                    None
                }
            }
        });
        let mut users = self.users.write();
        if credentials.iter().any(Option::is_some) {
            users.insert(user.to_owned(), credentials);
        } else {
            users.remove(user);
        }
    }
}

impl ScramCredentials for ScramCache {
    fn credential(&self, mechanism: ScramMechanism, user: &str) -> Option<Arc<ScramCredential>> {
        self.users.read().get(user)?[usize::from(mechanism == ScramMechanism::Sha512)].clone()
    }
}
