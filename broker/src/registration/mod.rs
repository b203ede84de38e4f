//! This broker's membership: `/brokers/ids/N`, kept for as long as the process lives.
//!
//! A loop, never one shot: a new session registers again and brings a new broker epoch; what stands in the way is said,
//! shown in [`RegistrationState`], and tried again. The first registration is different in one thing: who holds the id
//! and lives ends the start.
//!
//! Invariant: an epoch is published only once its znode is there. While ZooKeeper is away the last epoch stays: the
//! broker serves on, as Kafka does.

mod attempt;
mod identity;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::BrokerEpoch;
use tokio::sync::watch;
use tracing::{error, info, warn};
use zk_schema_store::{SessionState, Store, StoreError, Watch};

pub use attempt::RegisterError;
pub use identity::Identity;

use crate::clock;

/// How long an attempt rests after another.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long connecting to the endpoint of a broker that may be alive may take.
const PROBE_TIME: Duration = Duration::from_millis(1500);
/// What the server may take beyond the session timeout before it expires a session: two ticks of its default 2 s.
const EXPIRY_GRACE: Duration = Duration::from_secs(4);

/// Whether this broker is a member of its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrationState {
    /// Its znode is there.
    Registered {
        /// The znode's czxid.
        epoch: BrokerEpoch,
    },
    /// It is not, and is tried again.
    Retrying {
        /// Since when.
        since: Instant,
        /// What stood in the way last.
        reason: String,
    },
}

/// The membership of this process: registered once, then kept up.
#[derive(Debug)]
pub struct Registration {
    store: Store,
    identity: Arc<Identity>,
    /// The session that made our znode.
    session_id: i64,
    generation: u64,
    epoch: BrokerEpoch,
    /// What another broker has already said of itself.
    refused: Option<Identity>,
    state: watch::Sender<RegistrationState>,
}

impl Registration {
    /// Registers for the first time. A broker that lives under this id, or at these endpoints, is an error. The znode of
    /// an earlier life of this broker is removed if its session is one of `dead_sessions`, whose processes are known to
    /// be gone; any other is waited out.
    ///
    /// # Errors
    /// Who is in the way, or why ZooKeeper did not do it.
    pub async fn first(
        store: Store,
        identity: Identity,
        session_timeout: Duration,
        dead_sessions: &[i64],
    ) -> Result<Self, RegisterError> {
        attempt::check_endpoints(&store, &identity).await?;
        for session in dead_sessions {
            attempt::bury(&store, &identity, *session).await?;
        }
        Self::wait(store, identity, Instant::now() + session_timeout + EXPIRY_GRACE).await
    }

    async fn wait(store: Store, identity: Identity, deadline: Instant) -> Result<Self, RegisterError> {
        let mut waiting = false;
        loop {
            let (session_id, generation) = connected(&store).await?;
            match attempt::register(&store, &identity, session_id, None, clock::now()).await {
                Ok(epoch) => {
                    log_registered("Registered", &identity, epoch);
                    let (state, _) = watch::channel(RegistrationState::Registered { epoch });
                    return Ok(Self {
                        store,
                        identity: Arc::new(identity),
                        session_id,
                        generation,
                        epoch,
                        refused: None,
                        state,
                    });
                }
                Err(RegisterError::Occupied {
                    path,
                    owner,
                    session,
                    addresses,
                }) => {
                    let occupied = RegisterError::Occupied {
                        path,
                        owner,
                        session,
                        addresses: addresses.clone(),
                    };
                    // Our own endpoints are ours: the listeners are bound. Whoever answers at another one lives.
                    let others = addresses
                        .into_iter()
                        .filter(|address| !identity.addresses().contains(address));
                    if Instant::now() >= deadline || any_answers(others.collect()).await {
                        return Err(occupied);
                    }
                    if !waiting {
                        waiting = true;
                        info!(
                            owner = %format_args!("0x{owner:x}"), id = %identity.id(),
                            "the id is still registered by a session that seems to be dead; waiting until zookeeper expires it"
                        );
                    }
                    wait_until_gone(&store, &identity.path(), deadline).await?;
                }
                // The session went between looking and creating: the next one tries again.
                Err(RegisterError::Store(StoreError::SessionExpired)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The session that keeps the registration.
    pub fn session_id(&self) -> i64 {
        self.session_id
    }

    /// The epoch of the latest registration.
    pub fn epoch(&self) -> BrokerEpoch {
        self.epoch
    }

    /// Whether the broker is registered, and if not, why.
    pub fn state(&self) -> watch::Receiver<RegistrationState> {
        self.state.subscribe()
    }

    /// Keeps the broker registered until the future is dropped, and calls `publish` with each new epoch and its session.
    /// Whenever `identities` has another one, it is said in ZooKeeper; the epoch stays.
    pub async fn keep(mut self, mut identities: watch::Receiver<Identity>, publish: impl Fn(BrokerEpoch, i64)) {
        let mut session = self.store.session();
        let mut gone: Option<Watch> = None;
        loop {
            if let Some(mut watch) = gone.take() {
                tokio::select! {
                    () = watch.changed() => {}
                    changed = session.changed() => if changed.is_err() { return },
                    // Without anybody who could change it, it stays.
                    Ok(()) = identities.changed() => {}
                }
            }
            let identity = identities.borrow_and_update().clone();
            if identity != *self.identity && self.refused.as_ref() != Some(&identity) {
                match self.readvertise(identity.clone()).await {
                    Ok(()) => {}
                    Err(RegisterError::Store(StoreError::Closed)) => return,
                    Err(error @ RegisterError::EndpointTaken { .. }) => {
                        error!(%error, "the broker's changed listeners are not advertised");
                        self.refused = Some(identity);
                    }
                    Err(error) => {
                        warn!(%error, "the broker's changed listeners are not advertised yet; trying again");
                        identities.mark_changed();
                        // A new session needs no pause.
                        let _: Result<_, tokio::time::error::Elapsed> =
                            tokio::time::timeout(RETRY_PAUSE, session.changed()).await;
                    }
                }
            }
            let state = *session.borrow_and_update();
            match state {
                SessionState::Closed => return,
                SessionState::Connected { session_id, generation } => match self.renew(session_id, generation).await {
                    Ok((epoch, watch)) => {
                        gone = Some(watch);
                        if let Some(epoch) = epoch {
                            publish(epoch, session_id);
                        }
                    }
                    Err(RegisterError::Store(StoreError::Closed)) => return,
                    Err(error) => {
                        self.retrying(&error);
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                },
                SessionState::Disconnected { .. } | SessionState::Expired { .. } => {
                    if session.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Says in our znode where the broker is to be reached from now on. A znode that is not there is made anew with that.
    ///
    /// Source: Kafka 3.9 `KafkaZkClient.updateBrokerInfo`.
    async fn readvertise(&mut self, identity: Identity) -> Result<(), RegisterError> {
        attempt::check_endpoints(&self.store, &identity).await?;
        let path = identity.path();
        if let Some(stat) = self.store.exists(&path).await?
            && stat.ephemeral_owner == self.session_id
        {
            let data = identity.registration(clock::now()).encode();
            match self.store.set(&path, data, Some(stat.version)).await {
                Ok(_) => log_registered("Updated", &identity, self.epoch),
                Err(StoreError::NoNode { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.identity = Arc::new(identity);
        self.refused = None;
        Ok(())
    }

    /// Registers again if our znode is not there, with a watch that tells when it goes.
    async fn renew(&mut self, session_id: i64, generation: u64) -> Result<(Option<BrokerEpoch>, Watch), RegisterError> {
        let path = self.identity.path();
        let (found, watch) = self.store.watch_exists(&path).await?;
        if let Some(stat) = found
            && stat.ephemeral_owner == session_id
            && generation == self.generation
            && matches!(*self.state.borrow(), RegistrationState::Registered { epoch } if epoch.0 == stat.czxid)
        {
            return Ok((None, watch));
        }
        if generation == self.generation && found.is_none() {
            warn!(%path, "our registration was deleted by somebody else; registering again");
        }
        let earlier = (session_id != self.session_id).then_some(self.session_id);
        let epoch = attempt::register(&self.store, &self.identity, session_id, earlier, clock::now()).await?;
        self.session_id = session_id;
        self.generation = generation;
        self.epoch = epoch;
        self.state.send_replace(RegistrationState::Registered { epoch });
        log_registered("Registered", &self.identity, epoch);
        let (_, watch) = self.store.watch_exists(&path).await?;
        Ok((Some(epoch), watch))
    }

    fn retrying(&self, error: &RegisterError) {
        let reason = error.to_string();
        let before = self.state.borrow().clone();
        let (since, new) = match before {
            RegistrationState::Retrying { since, reason: last } => (since, last != reason),
            RegistrationState::Registered { .. } => (Instant::now(), true),
        };
        if new {
            error!(id = %self.identity.id(), %reason, "not registered; trying again");
        }
        self.state.send_replace(RegistrationState::Retrying { since, reason });
    }
}

fn log_registered(done: &str, identity: &Identity, epoch: BrokerEpoch) {
    let endpoints: Vec<String> = identity
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.connection_string())
        .collect();
    info!(
        target: "kafka.zk.KafkaZkClient",
        "{done} broker {} at path {} with addresses: {}, czxid (broker epoch): {epoch}",
        identity.id(),
        identity.path(),
        endpoints.join(",")
    );
}

/// The session, once it is connected.
async fn connected(store: &Store) -> Result<(i64, u64), StoreError> {
    let mut session = store.session();
    let state = session
        .wait_for(|state| matches!(state, SessionState::Connected { .. } | SessionState::Closed))
        .await
        .map_err(|_| StoreError::Closed)?;
    match *state {
        SessionState::Connected { session_id, generation } => Ok((session_id, generation)),
        _ => Err(StoreError::Closed),
    }
}

/// Waits until the znode is gone, or `deadline` is.
async fn wait_until_gone(store: &Store, path: &str, deadline: Instant) -> Result<(), StoreError> {
    let (found, mut watch) = store.watch_exists(path).await?;
    if found.is_some() {
        // Late or not, the caller looks again.
        let _ = tokio::time::timeout_at(deadline.into(), watch.changed()).await;
    }
    Ok(())
}

/// Whether anybody accepts a connection at one of `addresses`.
async fn any_answers(addresses: Vec<String>) -> bool {
    let probes = addresses.iter().map(|address| async move {
        matches!(
            tokio::time::timeout(PROBE_TIME, tokio::net::TcpStream::connect(address)).await,
            Ok(Ok(_))
        )
    });
    futures::future::join_all(probes).await.contains(&true)
}
