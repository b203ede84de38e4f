//! What a dead process has left in ZooKeeper, and its removal.
//!
//! Decides which of the named znodes belong to the dead session, and deletes those in one multi. Does not decide that
//! anybody is dead: the caller knows.
//!
//! A znode's data version does not tell one life of a broker from the next, and reading its owner is not enough: the session
//! may end, and a successor register, between that and the delete. So the multi is fenced by the mark of the session
//! (`/cluster/ottla/sessions/0x…`), an ephemeral znode which no other session ever makes: once it is gone, so is all that
//! belonged to the session, and the multi fails as a whole. `/controller`, which an operator may delete, is fenced by the
//! version of `/controller_epoch` besides, so that no later election is undone.

use model::BrokerId;
use serde::{Deserialize, Serialize};
use zk_schema::brokers::ids;
use zk_schema::{controller, controller_epoch, ottla};
use zk_schema_store::{MultiError, Op, Store, StoreError};

/// What somebody else may change under our hands is read again this often.
const ATTEMPTS: usize = 5;

/// What the death of a process would leave behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estate {
    /// The session of the process.
    pub session_id: i64,
    /// The ephemeral znodes that it may have made in it.
    pub paths: Vec<String>,
}

impl Estate {
    /// What a broker may leave: its registration, the controller's office, and its announcement.
    pub fn paths_of_broker(id: BrokerId) -> Vec<String> {
        vec![ids::path(id), controller::PATH.to_owned(), ottla::broker_path(id)]
    }

    /// What a dedicated coordinator may leave: the controller's office, and its announcement.
    pub fn paths_of_coordinator(id: BrokerId) -> Vec<String> {
        vec![controller::PATH.to_owned(), ottla::coordinator_path(id)]
    }
}

/// Whether the session must be provably alive at the moment of removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// It must have a mark. For whoever is not the only one who may register under the dead process's id.
    Required,
    /// A mark that is there is used. For the successor itself: nobody else registers under its id.
    IfMarked,
}

/// What became of an estate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Buried {
    /// These znodes have been removed.
    Removed(Vec<String>),
    /// The session has ended, and took everything along, or it was never marked.
    SessionOver,
}

/// Removes of `estate` what is still there and belongs to its session. The caller knows that its process is gone.
///
/// # Errors
/// What ZooKeeper says; a session that ends meanwhile is none.
pub async fn bury(store: &Store, estate: &Estate, fence: Fence) -> Result<Buried, StoreError> {
    for _ in 0..ATTEMPTS {
        let Some(plan) = plan(store, estate, fence).await? else {
            return Ok(Buried::SessionOver);
        };
        match store.multi(plan.ops).await {
            Ok(_) => return Ok(Buried::Removed(plan.removed)),
            // Somebody was faster, with one of them or with all: look again.
            Err(MultiError {
                source: StoreError::NoNode { .. } | StoreError::BadVersion { .. },
                ..
            }) => {}
            Err(MultiError { source, .. }) => return Err(source),
        }
    }
    let session = estate.session_id;
    Err(StoreError::Other(format!(
        "what belongs to session 0x{session:x} comes and goes"
    )))
}

/// One multi, and which znodes of the estate it removes.
struct Plan {
    ops: Vec<Op>,
    removed: Vec<String>,
}

/// Looks what is there; `None` if nothing is, or may be, removed.
async fn plan(store: &Store, estate: &Estate, fence: Fence) -> Result<Option<Plan>, StoreError> {
    let mark = ottla::session_path(estate.session_id);
    let marked = store.exists(&mark).await?.is_some();
    if !marked && fence == Fence::Required {
        return Ok(None);
    }
    let (mut ops, mut removed) = (Vec::new(), Vec::new());
    if marked {
        ops.push(Op::delete(mark, None));
    }
    // Before `/controller`, so that an election after it is noticed.
    let epoch = store.exists(controller_epoch::PATH).await?;
    for path in &estate.paths {
        let owned = store.exists(path).await?;
        let Some(stat) = owned.filter(|stat| stat.ephemeral_owner == estate.session_id) else {
            continue;
        };
        if path == controller::PATH
            && let Some(epoch) = &epoch
        {
            ops.push(Op::check(controller_epoch::PATH, epoch.version));
        }
        ops.push(Op::delete(path, Some(stat.version)));
        removed.push(path.clone());
    }
    Ok((!ops.is_empty()).then_some(Plan { ops, removed }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_schema_store::{CreateMode, MemoryTree, SessionState};

    const BROKER: BrokerId = BrokerId(1);

    fn session_id(store: &Store) -> i64 {
        match *store.session().borrow() {
            SessionState::Connected { session_id, .. } => session_id,
            ref other => panic!("not connected: {other:?}"),
        }
    }

    async fn ephemeral(store: &Store, path: &str) {
        store.create_recursive(path, "x", CreateMode::Ephemeral).await.unwrap();
    }

    /// A broker that is a member, in office, and marked.
    async fn member(tree: &MemoryTree) -> (Store, Estate) {
        let store = Store::in_memory(tree.clone());
        let estate = Estate {
            session_id: session_id(&store),
            paths: Estate::paths_of_broker(BROKER),
        };
        for path in &estate.paths {
            ephemeral(&store, path).await;
        }
        ephemeral(&store, &ottla::session_path(estate.session_id)).await;
        (store, estate)
    }

    async fn left(store: &Store, estate: &Estate) -> Vec<String> {
        let mut left = Vec::new();
        for path in estate.paths.iter().chain([&ottla::session_path(estate.session_id)]) {
            if store.exists(path).await.unwrap().is_some() {
                left.push(path.clone());
            }
        }
        left
    }

    #[tokio::test]
    async fn all_that_belongs_to_the_session_goes() {
        let tree = MemoryTree::new();
        let (_dead, estate) = member(&tree).await;
        let guardian = Store::in_memory(tree);
        guardian
            .create(controller_epoch::PATH, "1", CreateMode::Persistent)
            .await
            .unwrap();
        let buried = bury(&guardian, &estate, Fence::Required).await.unwrap();
        assert_eq!(buried, Buried::Removed(estate.paths.clone()));
        assert_eq!(left(&guardian, &estate).await, Vec::<String>::new());
        let again = bury(&guardian, &estate, Fence::Required).await.unwrap();
        assert_eq!(again, Buried::SessionOver);
    }

    #[tokio::test]
    async fn what_belongs_to_others_stays() {
        let tree = MemoryTree::new();
        let (dead, estate) = member(&tree).await;
        let other = Store::in_memory(tree.clone());
        dead.delete(controller::PATH, None).await.unwrap();
        ephemeral(&other, controller::PATH).await;
        let buried = bury(&Store::in_memory(tree), &estate, Fence::Required).await.unwrap();
        assert_eq!(
            buried,
            Buried::Removed(vec!["/brokers/ids/1".into(), "/cluster/ottla/brokers/1".into()])
        );
        assert_eq!(left(&other, &estate).await, [controller::PATH]);
    }

    #[tokio::test]
    async fn a_later_life_is_not_touched() {
        let tree = MemoryTree::new();
        let (dead, estate) = member(&tree).await;
        dead.close().await;
        let (next, its_estate) = member(&tree).await;
        let guardian = Store::in_memory(tree);
        for fence in [Fence::Required, Fence::IfMarked] {
            let buried = bury(&guardian, &estate, fence).await.unwrap();
            assert_eq!(buried, Buried::SessionOver, "{fence:?}");
        }
        assert_eq!(left(&next, &its_estate).await.len(), its_estate.paths.len() + 1);
    }

    /// The guardian has looked, and is held up; the session ends, and the next life registers: at the same data version.
    #[tokio::test]
    async fn a_multi_that_comes_too_late_fails_as_a_whole() {
        let tree = MemoryTree::new();
        let (dead, estate) = member(&tree).await;
        let guardian = Store::in_memory(tree.clone());
        let looked = plan(&guardian, &estate, Fence::Required).await.unwrap().unwrap();
        dead.close().await;
        let (next, its_estate) = member(&tree).await;
        let refused = guardian.multi(looked.ops).await.unwrap_err();
        assert!(matches!(refused.source, StoreError::NoNode { .. }), "{refused:?}");
        assert_eq!(left(&next, &its_estate).await.len(), its_estate.paths.len() + 1);
    }

    #[tokio::test]
    async fn an_election_between_looking_and_removing_is_not_undone() {
        let tree = MemoryTree::new();
        let (dead, estate) = member(&tree).await;
        let other = Store::in_memory(tree.clone());
        other
            .create(controller_epoch::PATH, "1", CreateMode::Persistent)
            .await
            .unwrap();
        let guardian = Store::in_memory(tree);
        let looked = plan(&guardian, &estate, Fence::Required).await.unwrap().unwrap();
        // An operator has deleted /controller, and another broker has won.
        dead.delete(controller::PATH, None).await.unwrap();
        other.set(controller_epoch::PATH, "2", None).await.unwrap();
        ephemeral(&other, controller::PATH).await;
        assert!(guardian.multi(looked.ops).await.is_err());
        bury(&guardian, &estate, Fence::Required).await.unwrap();
        assert_eq!(left(&other, &estate).await, [controller::PATH]);
    }

    #[tokio::test]
    async fn without_a_mark_only_the_successor_may_remove() {
        let tree = MemoryTree::new();
        let (dead, estate) = member(&tree).await;
        dead.delete(&ottla::session_path(estate.session_id), None)
            .await
            .unwrap();
        let store = Store::in_memory(tree);
        let buried = bury(&store, &estate, Fence::Required).await.unwrap();
        assert_eq!(buried, Buried::SessionOver);
        assert_eq!(left(&store, &estate).await.len(), estate.paths.len());
        let buried = bury(&store, &estate, Fence::IfMarked).await.unwrap();
        assert_eq!(buried, Buried::Removed(estate.paths.clone()));
    }
}
