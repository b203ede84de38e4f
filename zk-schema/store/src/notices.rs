//! Notices of changes: numbered children of a znode, each of which names something that is to be read again.
//!
//! Whoever changes something leaves a notice; every program follows them, obeys each once, and deletes those that are old.
//! Lists and remembers; what a notice says, and what is read upon it, is for [`Obey`].
//!
//! A notice may be gone before it was seen: this program was away for longer than notices are kept, or somebody whose
//! clock is ahead has deleted it. Then everything is read again. Kafka goes on, and would miss the change.
//!
//! Source: Kafka 3.9 `ZkNodeChangeNotificationListener`.

use core::future::Future;
use std::time::Duration;

use bytes::Bytes;
use model::Millis;

use crate::{SessionState, Store, StoreError, Watch};

/// How long a notice is kept.
const EXPIRATION: Millis = Millis(15 * 60 * 1000);
/// How long to wait after a failure that no session change explains.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What is done upon notices.
pub trait Obey {
    /// Reads everything of which there could be notices.
    fn read_all(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Reads what these notices name; they are in order, and new.
    fn read(&mut self, notices: Vec<Bytes>) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// When everything is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAll {
    /// At first, and with every new session.
    EverySession,
    /// With a new session, if notices may have been missed. Everything has been read before the first listing, in which
    /// all notices are obeyed that are there.
    IfMissed,
}

/// The notices of one kind, and which were obeyed.
#[derive(Clone, Debug)]
pub struct Notices {
    path: &'static str,
    prefix: &'static str,
    read_all: ReadAll,
    /// The last one that was obeyed.
    last: Option<u64>,
    /// The session in which they were last listed.
    generation: Option<u64>,
}

impl Notices {
    /// The children of `path` whose names are `prefix` and a number.
    pub const fn new(path: &'static str, prefix: &'static str, read_all: ReadAll) -> Self {
        Self {
            path,
            prefix,
            read_all,
            last: None,
            generation: None,
        }
    }

    /// Obeys notices until the store is closed; end it by dropping the future.
    pub async fn follow(mut self, store: &Store, now: fn() -> Millis, obey: &mut (impl Obey + Send)) {
        let mut session = store.session();
        loop {
            let state = *session.borrow_and_update();
            let pass = match state {
                SessionState::Closed => return,
                SessionState::Connected { generation, .. } => self.pass(store, generation, now(), obey).await,
                SessionState::Disconnected { .. } | SessionState::Expired { .. } => {
                    if session.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            match pass {
                Ok(mut watch) => watch.changed().await,
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::error!(%error, path = self.path, "notices of changes could not be obeyed and will be tried again");
                    // A new session needs no pause.
                    let _: Result<_, tokio::time::error::Elapsed> =
                        tokio::time::timeout(RETRY_PAUSE, session.changed()).await;
                }
            }
        }
    }

    /// Obeys what is new, deletes what is old; the watch fires when there may be more.
    ///
    /// # Errors
    /// ZooKeeper has not answered, or `obey` could not do it: the same notices are new the next time.
    pub async fn pass(
        &mut self,
        store: &Store,
        generation: u64,
        now: Millis,
        obey: &mut (impl Obey + Send),
    ) -> Result<Watch, StoreError> {
        let (children, watch) = store.watch_children(self.path).await?;
        let mut numbered: Vec<(u64, String)> = children
            .unwrap_or_default()
            .into_iter()
            .filter_map(|name| {
                let number = name.strip_prefix(self.prefix)?.parse().ok()?;
                Some((number, format!("{}/{name}", self.path)))
            })
            .collect();
        numbered.sort();
        if self.must_read_all(generation, &numbered) {
            obey.read_all().await?;
        } else {
            let fresh = numbered
                .iter()
                .filter(|(number, _)| self.last.is_none_or(|last| *number > last));
            let mut notices = Vec::new();
            let mut missed = false;
            for found in store.get_all(fresh.map(|(_, path)| path.as_str())).await {
                match found? {
                    Some((data, _)) => notices.push(data),
                    None => missed = true,
                }
            }
            if missed {
                obey.read_all().await?;
            } else if !notices.is_empty() {
                obey.read(notices).await?;
            }
        }
        self.generation = Some(generation);
        self.last = self.last.max(numbered.last().map(|(number, _)| *number));
        delete_old(store, numbered, now).await?;
        Ok(watch)
    }

    fn must_read_all(&self, generation: u64, numbered: &[(u64, String)]) -> bool {
        match self.read_all {
            ReadAll::EverySession => self.generation != Some(generation),
            ReadAll::IfMissed => {
                // The next after the last one that was obeyed may be deleted already.
                let next = self.last.map_or(0, |last| last.saturating_add(1));
                let may_be_gone = numbered.first().is_none_or(|(oldest, _)| *oldest > next);
                self.generation.is_some_and(|before| before != generation) && may_be_gone
            }
        }
    }
}

/// Deletes notices that are too old, oldest first, until one is not.
async fn delete_old(store: &Store, numbered: Vec<(u64, String)>, now: Millis) -> Result<(), StoreError> {
    for (_, path) in numbered {
        let Some(stat) = store.exists(&path).await? else {
            continue;
        };
        if now.0.saturating_sub(stat.ctime) <= EXPIRATION.0 {
            return Ok(());
        }
        match store.delete(&path, None).await {
            Ok(()) | Err(StoreError::NoNode { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CreateMode, MemoryTree};

    const NOW: Millis = Millis(1_000_000_000);

    #[derive(Default)]
    struct Obeyed(Vec<String>);

    impl Obey for Obeyed {
        async fn read_all(&mut self) -> Result<(), StoreError> {
            self.0.push("all".to_owned());
            Ok(())
        }

        async fn read(&mut self, notices: Vec<Bytes>) -> Result<(), StoreError> {
            let text = notices.iter().map(|notice| String::from_utf8_lossy(notice));
            self.0.push(text.collect::<Vec<_>>().join(" "));
            Ok(())
        }
    }

    /// A tree with `/n`, and what was obeyed in it.
    struct Scene {
        tree: MemoryTree,
        store: Store,
        notices: Notices,
        obeyed: Obeyed,
    }

    impl Scene {
        async fn new(read_all: ReadAll) -> Self {
            let tree = MemoryTree::new();
            tree.set_time(NOW.0);
            let store = Store::in_memory(tree.clone());
            store.create("/n", "", CreateMode::Persistent).await.unwrap();
            Self {
                tree,
                store,
                notices: Notices::new("/n", "n_", read_all),
                obeyed: Obeyed::default(),
            }
        }

        async fn leave(&self, text: &str) {
            let created = self.store.create("/n/n_", text, CreateMode::PersistentSequential);
            created.await.unwrap();
        }

        /// The oldest ones.
        async fn delete(&self, count: usize) {
            let mut there = self.store.get_children("/n").await.unwrap().unwrap();
            there.sort();
            for name in &there[..count] {
                self.store.delete(&format!("/n/{name}"), None).await.unwrap();
            }
        }

        async fn pass(&mut self, generation: u64) -> Vec<String> {
            let pass = self.notices.pass(&self.store, generation, NOW, &mut self.obeyed);
            pass.await.unwrap();
            core::mem::take(&mut self.obeyed.0)
        }
    }

    #[tokio::test]
    async fn each_notice_is_obeyed_once_and_strangers_never() {
        let mut scene = Scene::new(ReadAll::EverySession).await;
        scene.leave("before").await;
        assert_eq!(scene.pass(1).await, ["all"]);
        scene.leave("a").await;
        scene.leave("b").await;
        let stranger = scene.store.create("/n/other_1", "x", CreateMode::Persistent);
        stranger.await.unwrap();
        assert_eq!(scene.pass(1).await, ["a b"]);
        assert_eq!(scene.pass(1).await, [""; 0]);
        assert_eq!(scene.pass(2).await, ["all"], "a new session");
    }

    #[tokio::test]
    async fn a_new_session_goes_on_unless_notices_may_be_gone() {
        let mut scene = Scene::new(ReadAll::IfMissed).await;
        scene.leave("before").await;
        assert_eq!(
            scene.pass(1).await,
            ["before"],
            "left since everything was read, for all we know"
        );
        scene.leave("a").await;
        assert_eq!(scene.pass(2).await, ["a"]);
        scene.leave("b").await;
        scene.delete(2).await;
        assert_eq!(scene.pass(3).await, ["b"], "the next is there");
        scene.leave("c").await;
        scene.leave("d").await;
        scene.delete(2).await;
        assert_eq!(scene.pass(4).await, ["all"], "the next is gone");
        scene.delete(1).await;
        assert_eq!(scene.pass(4).await, [""; 0], "nothing is new");
        assert_eq!(scene.pass(5).await, ["all"], "all may be gone");
    }

    #[tokio::test]
    async fn what_could_not_be_obeyed_is_new_the_next_time() {
        struct Unwilling;
        impl Obey for Unwilling {
            async fn read_all(&mut self) -> Result<(), StoreError> {
                Ok(())
            }

            async fn read(&mut self, _: Vec<Bytes>) -> Result<(), StoreError> {
                Err(StoreError::SessionExpired)
            }
        }
        let mut scene = Scene::new(ReadAll::IfMissed).await;
        scene.leave("a").await;
        let pass = scene.notices.pass(&scene.store, 1, NOW, &mut Unwilling).await;
        assert!(pass.is_err());
        assert_eq!(scene.pass(1).await, ["a"]);
    }

    #[tokio::test]
    async fn notices_older_than_fifteen_minutes_are_deleted() {
        let mut scene = Scene::new(ReadAll::EverySession).await;
        for (age, text) in [(EXPIRATION.0 + 1, "old"), (EXPIRATION.0, "young"), (0, "new")] {
            scene.tree.set_time(NOW.0 - age);
            scene.leave(text).await;
        }
        scene.pass(1).await;
        let mut left = scene.store.get_children("/n").await.unwrap().unwrap();
        left.sort();
        assert_eq!(left, ["n_0000000001", "n_0000000002"]);
    }
}
