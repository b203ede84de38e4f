//! The open listeners of a running broker, which come and go with `listeners` and `advertised.listeners`.
//!
//! What is new is bound and served, what is gone is closed with all of its connections, what stays is left alone; then
//! the broker says anew in ZooKeeper where it is to be reached, if that has changed. What cannot be bound is logged and
//! tried again with the next change; the others serve.
//!
//! Source: Kafka 3.9 `DynamicListenerConfig.reconfigure`, `SocketServer.addListeners`, `removeListeners`.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_admission::{NotOffered, SaslListener};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{error, info};

use super::listener::{Listener, ListenerError, SocketSettings};
use crate::Broker;
use crate::config::{BrokerConfig, ConfigError, Endpoint};
use crate::registration::Identity;

/// The listeners of one broker.
pub struct Listeners {
    broker: Arc<Broker>,
    host_name: String,
    /// Where the broker says it is to be reached.
    identity: watch::Sender<Identity>,
    open: BTreeMap<String, Open>,
    serving: JoinSet<()>,
}

struct Open {
    port: u16,
    serving: AbortHandle,
}

/// The ports that listeners have really got, by name.
pub fn ports(listeners: &[Listener]) -> std::io::Result<BTreeMap<String, u16>> {
    let port = |listener: &Listener| Ok((listener.name().to_owned(), listener.port()?));
    listeners.iter().map(port).collect()
}

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its port cannot be had.
    #[error(transparent)]
    Bind(#[from] ListenerError),
    /// Its keys do not say how clients log in.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A mechanism cannot be served.
    #[error(transparent)]
    Sasl(#[from] NotOffered),
}

/// Binds a listener and makes ready what its clients log in with; TLS is found when it is served.
///
/// # Errors
/// What cannot be had.
pub async fn open_listener(broker: &Broker, config: &BrokerConfig, endpoint: &Endpoint) -> Result<Listener, OpenError> {
    let mut listener = Listener::bind(endpoint, SocketSettings::of(config)).await?;
    if endpoint.security_protocol.uses_sasl() {
        let sasl = config.sasl_of(&endpoint.listener_name)?;
        listener.set_sasl(SaslListener::new(&sasl, &broker.credentials)?);
    }
    Ok(listener)
}

impl Listeners {
    /// Serves what has been bound, on the current runtime. `host_name` is advertised where no host is; `identity` is
    /// told where the broker is to be reached from then on.
    ///
    /// # Errors
    /// The system cannot say which port a listener has got.
    pub fn new(
        broker: Arc<Broker>,
        host_name: String,
        identity: watch::Sender<Identity>,
        bound: Vec<Listener>,
    ) -> std::io::Result<Self> {
        let mut listeners = Self {
            broker,
            host_name,
            identity,
            open: BTreeMap::new(),
            serving: JoinSet::new(),
        };
        for listener in bound {
            listeners.serve(listener)?;
        }
        Ok(listeners)
    }

    /// Follows the configuration until the future is dropped; with it all listeners and their connections end.
    ///
    /// # Panics
    /// Where serving a listener has: the broker cannot do without.
    pub async fn run(mut self) {
        let mut changes = self.broker.config.changes();
        // What has changed between the start's look and now.
        changes.mark_changed();
        loop {
            tokio::select! {
                changed = changes.changed() => match changed {
                    Ok(()) => self.reconfigure().await,
                    Err(_) => return,
                },
                Some(ended) = self.serving.join_next(), if !self.serving.is_empty() => {
                    if let Err(failed) = ended
                        && let Ok(panic) = failed.try_into_panic()
                    {
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
    }

    async fn reconfigure(&mut self) {
        let config = self.broker.config.current();
        let wanted = |name: &str| config.listeners.iter().any(|endpoint| endpoint.listener_name == name);
        let gone: Vec<String> = self.open.keys().filter(|name| !wanted(name)).cloned().collect();
        for name in gone {
            self.close(&name).await;
        }
        for endpoint in &config.listeners {
            if !self.open.contains_key(&endpoint.listener_name) {
                self.open(endpoint, &config).await;
            }
        }
        let ports = self.open.iter().map(|(name, open)| (name.clone(), open.port)).collect();
        let identity = Identity::new(self.broker.id, &config, &ports, &self.host_name);
        self.identity.send_if_modified(|known| {
            let changed = *known != identity;
            *known = identity;
            changed
        });
    }

    async fn open(&mut self, endpoint: &Endpoint, config: &BrokerConfig) {
        let served = match open_listener(&self.broker, config, endpoint).await {
            Ok(listener) => self.serve(listener).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match served {
            Ok(()) => info!(listener = %endpoint, "opened a listener"),
            Err(error) => error!(listener = %endpoint, error, "a listener cannot be opened"),
        }
    }

    fn serve(&mut self, listener: Listener) -> std::io::Result<()> {
        let (name, port) = (listener.name().to_owned(), listener.port()?);
        let serving = self.serving.spawn(listener.serve(Arc::clone(&self.broker)));
        self.open.insert(name, Open { port, serving });
        Ok(())
    }

    /// Closes a listener; on return its port is free.
    async fn close(&mut self, name: &str) {
        let Some(Open { serving, .. }) = self.open.remove(name) else {
            return;
        };
        serving.abort();
        while !serving.is_finished() {
            // The others do not end by themselves; one that panics is seen with the next look at `is_finished`.
            match self.serving.join_next().await {
                Some(Err(failed)) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
                Some(_) => {}
                None => break,
            }
        }
        info!(listener = name, "closed a listener");
    }
}

#[cfg(test)]
#[path = "listeners_tests.rs"]
mod tests;
