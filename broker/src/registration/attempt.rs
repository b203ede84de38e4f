//! One attempt at registering, and what stands in its way.
//!
//! The registration is one multi: create the ephemeral znode with null data, then set its content; so its data version
//! is 1 and its czxid is the broker epoch. Source: Kafka 3.9 `KafkaZkClient.registerBroker`, `CheckedEphemeral`.

use guardian::{Estate, Fence};
use model::{BrokerEpoch, BrokerId, Millis};
use zk_schema::brokers::ids::{self, BrokerRegistration};
use zk_schema_store::{MultiError, OpResult, Stat, Store, StoreError};

use super::identity::{Identity, addresses};

/// Why this broker is not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The znode is there, and belongs to another session.
    #[error(
        "Error while creating ephemeral at {path}, node already exists and owner '0x{owner:x}' does not match current session '0x{session:x}'"
    )]
    Occupied {
        /// `/brokers/ids/N`.
        path: String,
        /// The session that made it.
        owner: i64,
        /// Ours.
        session: i64,
        /// Where its owner listens.
        addresses: Vec<String>,
    },
    /// Another broker advertises one of our endpoints.
    #[error(
        "Configured end points {} in advertised listeners are already registered by broker {broker}", addresses.join(",")
    )]
    EndpointTaken {
        /// Which broker.
        broker: BrokerId,
        /// Which endpoints.
        addresses: Vec<String>,
    },
    /// ZooKeeper did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Refuses endpoints that another registered broker advertises. Source: Kafka 3.9 `KafkaServer.createBrokerInfo`.
///
/// # Errors
/// [`RegisterError::EndpointTaken`], or what ZooKeeper says.
pub(super) async fn check_endpoints(store: &Store, identity: &Identity) -> Result<(), RegisterError> {
    let ours = identity.addresses();
    let registered = store.get_children(ids::PATH).await?.unwrap_or_default();
    let others: Vec<BrokerId> = registered
        .iter()
        .filter_map(|id| id.parse().ok().map(BrokerId))
        .filter(|id| *id != identity.id())
        .collect();
    let found = store.get_all(others.iter().map(|id| ids::path(*id))).await;
    for (broker, found) in others.into_iter().zip(found) {
        let Some((data, _)) = found? else { continue };
        let common: Vec<String> = addresses_in(broker, &data)
            .into_iter()
            .filter(|address| ours.contains(address))
            .collect();
        if !common.is_empty() {
            return Err(RegisterError::EndpointTaken {
                broker,
                addresses: common,
            });
        }
    }
    Ok(())
}

/// Creates the znode, and answers the broker epoch. `earlier_session` is the one that this same process had before: a
/// znode which it has left behind is removed (ZooKeeper may take its time).
///
/// # Errors
/// [`RegisterError::Occupied`], or what ZooKeeper says.
pub(super) async fn register(
    store: &Store,
    identity: &Identity,
    session: i64,
    earlier_session: Option<i64>,
    now: Millis,
) -> Result<BrokerEpoch, RegisterError> {
    let path = identity.path();
    // The znode may go or come between create and look; each time that happens something else has changed.
    for _ in 0..3 {
        match store.multi(identity.registration(now).registration()).await {
            Ok(results) => match results.get(1).and_then(OpResult::stat) {
                Some(Stat { czxid, .. }) => return Ok(BrokerEpoch(czxid)),
                None => return Err(StoreError::Other("a multi of two answered less".into()).into()),
            },
            Err(MultiError {
                source: StoreError::NodeExists { .. },
                ..
            }) => {}
            Err(MultiError { source, .. }) => return Err(source.into()),
        }
        let Some((data, stat)) = store.get(&path).await? else {
            continue;
        };
        if stat.ephemeral_owner == session {
            return Ok(BrokerEpoch(stat.czxid));
        }
        if Some(stat.ephemeral_owner) != earlier_session {
            let (owner, addresses) = (stat.ephemeral_owner, addresses_in(identity.id(), &data));
            return Err(RegisterError::Occupied {
                path,
                owner,
                session,
                addresses,
            });
        }
        match store.delete(&path, Some(stat.version)).await {
            Ok(()) | Err(StoreError::NoNode { .. } | StoreError::BadVersion { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Other(format!("{path} comes and goes")).into())
}

/// Removes what a dead process of this broker has left under `session_id`. The caller knows that the process is gone;
/// nobody else registers under our id.
///
/// # Errors
/// What ZooKeeper says; a session that has ended meanwhile is none.
pub(super) async fn bury(store: &Store, identity: &Identity, session_id: i64) -> Result<(), StoreError> {
    let estate = Estate {
        session_id,
        paths: Estate::paths_of_broker(identity.id()),
    };
    guardian::bury(store, &estate, Fence::IfMarked).await.map(drop)
}

/// `host:port` of every endpoint of a registration; empty for one that cannot be read (its owner is not ours to judge).
fn addresses_in(broker: BrokerId, data: &[u8]) -> Vec<String> {
    BrokerRegistration::decode(broker, data).map_or_else(|_| Vec::new(), |found| addresses(&found.endpoints))
}
