//! What a broker consists of while it starts, runs and stops.

use std::path::PathBuf;
use std::sync::Arc;

use broker_log::{Logs, OpenError};
use guardian::Guardian;
use model::BrokerId;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use zk_schema_store::{SessionState, Store};

use super::error::StartError;
use crate::Broker;
use crate::config::{BrokerConfig, ConfigHandle};

/// Everything that is started, in the order in which it is; what is not there yet, or no more, is `None` or empty.
pub(super) struct Parts {
    pub(super) config: ConfigHandle,
    /// Configured, found in `meta.properties`, or generated.
    pub(super) id: Option<BrokerId>,
    pub(super) zookeeper: Option<Store>,
    /// The process that tells ZooKeeper of this one's death.
    pub(super) guardian: Option<Guardian>,
    /// Logs that are being opened: they are waited for, so that they can be closed.
    pub(super) opening: Option<JoinHandle<Result<Arc<Logs>, OpenError>>>,
    pub(super) logs: Option<Arc<Logs>>,
    pub(super) broker: Option<Arc<Broker>>,
    /// Keeps the registration up.
    pub(super) background: JoinSet<()>,
    /// Accept and serve connections.
    pub(super) listeners: JoinSet<()>,
    /// Whether `started` was reached.
    pub(super) serving: bool,
    /// Ends when the last log directory has failed.
    pub(super) failed: Option<JoinHandle<Vec<PathBuf>>>,
}

impl Parts {
    pub(super) fn new(config: BrokerConfig) -> Self {
        Self {
            id: config.broker_id,
            config: ConfigHandle::new(config),
            zookeeper: None,
            guardian: None,
            opening: None,
            logs: None,
            broker: None,
            background: JoinSet::new(),
            listeners: JoinSet::new(),
            serving: false,
            failed: None,
        }
    }

    /// `[KafkaServer id=0] `, once the id is known.
    pub(super) fn ident(&self) -> String {
        self.id.map_or_else(String::new, |id| format!("[KafkaServer id={id}] "))
    }

    /// Waits for what a running broker cannot survive: its last directory fails, a task panics that it cannot do
    /// without, or the controller hosted here or the ZooKeeper session is given up by a fault of ours.
    pub(super) async fn fatal(&mut self) -> StartError {
        let failed = async {
            match self.failed.as_mut() {
                Some(failed) => failed.await,
                None => std::future::pending().await,
            }
        };
        let session = self.zookeeper.as_ref().map(Store::session);
        let session_closed = async {
            match session {
                // An error means that it is not kept up any more, too.
                Some(mut session) => drop(session.wait_for(|state| *state == SessionState::Closed).await),
                None => std::future::pending().await,
            }
        };
        let controller = self.broker.as_ref().and_then(|broker| broker.controller()).cloned();
        let controller_ended = async {
            match controller {
                Some(controller) => controller.ended().await,
                None => std::future::pending().await,
            }
        };
        async fn panic_in(tasks: &mut JoinSet<()>) -> JoinError {
            while let Some(ended) = tasks.join_next().await {
                if let Err(panicked) = ended {
                    return panicked;
                }
            }
            std::future::pending().await
        }
        tokio::select! {
            failed = failed => match failed {
                Ok(dirs) => StartError::AllDirectoriesFailed(dirs),
                Err(panicked) => StartError::Background(panicked.to_string()),
            },
            panicked = panic_in(&mut self.background) => StartError::Background(panicked.to_string()),
            panicked = panic_in(&mut self.listeners) => StartError::Background(panicked.to_string()),
            name = crate::vital::panicked() => StartError::Background(format!("the {name} has panicked")),
            () = session_closed => StartError::Background("nobody keeps up the zookeeper session".to_owned()),
            () = controller_ended => StartError::Background("the controller hosted here has ended".to_owned()),
        }
    }
}
