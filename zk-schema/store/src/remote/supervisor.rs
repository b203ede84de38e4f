//! Keeps a session over connections, and sessions over expiries, for as long as the store lives.
//!
//! A lost connection is re-attached to the same session for ever: only a server's refusal ends a session, never the
//! client's own clock (an outage longer than the session timeout with no server to expire anything, as when a lone
//! server restarts, must not cost the broker its registration). Runs on a thread of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use zookeeper_client as zk;

use super::Attachment;
use super::link::{Link, Target};
use crate::{SessionState, StoreConfig, StoreError};

const RETRY_DELAY_MIN: Duration = Duration::from_millis(50);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(1);

pub(crate) struct Supervisor {
    target: Target,
    attachment: watch::Sender<Attachment>,
    session: watch::Sender<SessionState>,
}

impl Supervisor {
    /// Opens the first session within the connection timeout, then goes on by itself until `closing` resolves.
    pub(crate) async fn start(
        config: StoreConfig,
        servers: String,
        chroot: String,
        closing: oneshot::Receiver<()>,
    ) -> Result<(watch::Receiver<Attachment>, watch::Receiver<SessionState>), StoreError> {
        let target = Target {
            servers,
            chroot,
            session_timeout: config.session_timeout,
            security: config.security,
        };
        let link = first_link(&target, config.connection_timeout).await?;
        let link = Arc::new(link);
        let state = SessionState::Connected {
            session_id: link.session_id,
            generation: 1,
        };
        let (attachment, attachments) = watch::channel(Attachment {
            state,
            link: Some(link.clone()),
        });
        let (session, sessions) = watch::channel(state);
        let supervisor = Self {
            target,
            attachment,
            session,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| StoreError::Other(format!("cannot build a runtime: {error}")))?;
        std::thread::Builder::new()
            .name("zookeeper-session".into())
            .spawn(move || runtime.block_on(supervisor.run(link, closing)))
            .map_err(|error| StoreError::Other(format!("cannot start a thread: {error}")))?;
        Ok((attachments, sessions))
    }

    async fn run(self, first: Arc<Link>, mut closing: oneshot::Receiver<()>) {
        let last = tokio::select! {
            link = self.supervise(first) => link,
            _ = &mut closing => self.attachment.borrow().link.clone(),
        };
        self.publish(SessionState::Closed, None);
        if let Some(link) = last {
            // The client closes the session when its last user lets go of it.
            let lost = link.lost();
            drop(link);
            lost.await;
        }
    }

    /// Never ends.
    async fn supervise(&self, mut link: Arc<Link>) -> Option<Arc<Link>> {
        let mut generation = 1;
        loop {
            link.lost().await;
            let since = Instant::now();
            let session_id = link.session_id;
            tracing::warn!(session = format_args!("{session_id:#x}"), "zookeeper connection lost");
            self.publish(SessionState::Disconnected { generation, since }, None);
            let info = link.client.session().clone();
            drop(link);
            link = match self.attach(Some(info)).await {
                Some(link) => {
                    tracing::info!(
                        session = format_args!("{session_id:#x}"),
                        away_ms = since.elapsed().as_millis(),
                        "re-attached to zookeeper session"
                    );
                    link
                }
                None => {
                    tracing::warn!(session = format_args!("{session_id:#x}"), "zookeeper session expired");
                    self.publish(SessionState::Expired { generation }, None);
                    let link = loop {
                        // Without a session to refuse there is no expiry.
                        if let Some(link) = self.attach(None).await {
                            break link;
                        }
                    };
                    generation += 1;
                    tracing::info!(
                        session = format_args!("{:#x}", link.session_id),
                        generation,
                        "opened a new zookeeper session"
                    );
                    link
                }
            };
            let state = SessionState::Connected {
                session_id: link.session_id,
                generation,
            };
            self.publish(state, Some(link.clone()));
        }
    }

    /// Tries until it is connected; `None` if the server says that the session is gone.
    async fn attach(&self, session: Option<zk::SessionInfo>) -> Option<Arc<Link>> {
        let mut delay = Duration::ZERO;
        let mut told = false;
        loop {
            match Link::open(self.target.clone(), session.clone()).await {
                Ok(link) => return Some(Arc::new(link)),
                Err(zk::Error::SessionExpired) => return None,
                // Somebody must do something about it, there or here; until then it is tried again.
                Err(zk::Error::AuthFailed) if !told => {
                    tracing::error!(
                        servers = self.target.servers,
                        "zookeeper does not let this program log in any more"
                    );
                    told = true;
                }
                Err(error) => {
                    tracing::debug!(%error, servers = self.target.servers, "cannot connect to zookeeper");
                }
            }
            delay = next_delay(delay);
            tokio::time::sleep(delay).await;
        }
    }

    /// Users of the public state may use the link at once, so that is published first.
    fn publish(&self, state: SessionState, link: Option<Arc<Link>>) {
        self.attachment.send_replace(Attachment { state, link });
        self.session.send_replace(state);
    }
}

async fn first_link(target: &Target, timeout: Duration) -> Result<Link, StoreError> {
    let mut last = None;
    let attempts = async {
        let mut delay = Duration::ZERO;
        loop {
            match Link::open(target.clone(), None).await {
                Ok(link) => return Ok(link),
                Err(zk::Error::AuthFailed) => return Err(StoreError::AuthFailed),
                Err(zk::Error::BadArguments(why)) => return Err(StoreError::InvalidConnectString(why.to_string())),
                Err(error) => last = Some(error),
            }
            delay = next_delay(delay);
            tokio::time::sleep(delay).await;
        }
    };
    match tokio::time::timeout(timeout, attempts).await {
        Ok(done) => done,
        Err(_) => Err(StoreError::ConnectionLost(format!(
            "no answer from {} within {} ms{}{}",
            target.servers,
            timeout.as_millis(),
            last.map(|error| format!(" ({error})")).unwrap_or_default(),
            // The client does not tell.
            match target.security.tls {
                Some(_) => "; over TLS: is its certificate trusted, is it its own, and is ours what it wants?",
                None => "",
            }
        ))),
    }
}

fn next_delay(last: Duration) -> Duration {
    (last * 2).clamp(RETRY_DELAY_MIN, RETRY_DELAY_MAX)
}
