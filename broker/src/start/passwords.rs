//! Passwords in `/config/brokers/N` that `password.encoder.old.secret` opens are encoded with the new secret.
//!
//! Both secrets open them at the start; they are written when the broker is up, because a write needs a controller and the
//! first broker of a cluster has none before.
//!
//! Source: Kafka 3.9 `DynamicBrokerConfig.maybeReEncodePasswords` (which writes before it registers).

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};
use zk_schema::config::Entity;

use crate::Broker;
use crate::zookeeper::{AdminError, configs};

/// How long to wait after a failure of ZooKeeper's.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Writes them, if there are any; ends when that is done.
pub(super) async fn reencode(broker: Arc<Broker>) {
    let entity = Entity::Broker(Some(broker.id.0));
    loop {
        match reencode_once(&broker, &entity).await {
            Ok(()) => return,
            Err(error) => {
                warn!(%error, "passwords in zookeeper are not encoded with the new secret yet; trying again");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

async fn reencode_once(broker: &Broker, entity: &Entity) -> Result<(), AdminError> {
    let stored = configs::read(&broker.store, entity).await?;
    match broker.config.reencoded(&stored) {
        Ok(None) => Ok(()),
        Ok(Some(entries)) => {
            configs::change(&broker.store, entity, &entries).await?;
            info!("passwords in zookeeper are now encoded with the new secret");
            Ok(())
        }
        Err(error) => {
            error!(%error, "passwords in zookeeper cannot be encoded with the new secret");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_log::{Logs, LogsConfig};
    use model::{BrokerId, Millis};
    use zk_schema::controller::{self, Controller};
    use zk_schema_store::{CreateMode, MemoryTree, Store};

    use super::*;
    use crate::config::{BrokerConfig, ConfigHandle, Entries};
    use crate::partition::{Partitions, ReplicaSettings};

    const NAME: &str = "listener.name.outside.ssl.keystore.password";

    fn handle(secrets: &[(&str, &str)]) -> ConfigHandle {
        let all = [("zookeeper.connect", "z"), ("broker.id", "1")];
        ConfigHandle::new(BrokerConfig::from_pairs(all.iter().chain(secrets).copied()).unwrap())
    }

    #[tokio::test]
    async fn a_changed_secret_opens_and_replaces_what_the_old_one_encoded() {
        let plain = Entries::from([(NAME.to_owned(), "hunter2".to_owned())]);
        let old = handle(&[("password.encoder.secret", "old")]);
        let stored = old.persistent(plain.clone(), true).unwrap();

        let new = handle(&[
            ("password.encoder.secret", "new"),
            ("password.encoder.old.secret", "old"),
        ]);
        assert_eq!(new.usable(stored.clone(), true), (plain.clone(), Vec::new()));

        let store = Store::in_memory(MemoryTree::new());
        let entity = Entity::Broker(Some(1));
        let controller = Controller::new(BrokerId(1), Millis(0)).encode();
        for (path, data) in [
            (controller::PATH.to_owned(), controller),
            ("/config/changes".to_owned(), Vec::new()),
            (entity.path(), zk_schema::config::encode(&stored)),
        ] {
            store
                .create_recursive(&path, data, CreateMode::Persistent)
                .await
                .unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::open(LogsConfig::new(vec![dir.path().to_owned()])).unwrap();
        let partitions = Partitions::new(ReplicaSettings::new(BrokerId(1), Millis(30_000)), logs);
        let broker = Broker::new(BrokerId(1), "cluster".into(), Arc::new(new.clone()), store, partitions);
        reencode(Arc::clone(&broker)).await;
        let found = configs::read(&broker.store, &entity).await.unwrap();
        assert_ne!(found, stored);
        // Without the old secret, as it is to be at the next start.
        let after = handle(&[("password.encoder.secret", "new")]);
        assert_eq!(after.usable(found, true), (plain, Vec::new()));
    }
}
