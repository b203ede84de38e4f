//! The core's reads and writes, performed.
//!
//! Nothing is decided here: an answer is passed on as ZooKeeper gave it, the fence and the end of the session excepted,
//! which end the term.

use coordinator::controller::{Answer, Read};
use futures::StreamExt;
use zk_schema_store::{FencedError, Op, OpResult, Store, StoreError, Watch};

/// How many reads are under way at once; ZooKeeper's own limit (`zookeeper.max.in.flight.requests`) lies below the store.
const MAX_READS: usize = 512;

/// The term is over: another controller has been elected, or the session has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TermOver {
    #[error("another controller has been elected")]
    ControllerMoved,
    #[error("zookeeper session has ended: {0}")]
    SessionEnded(StoreError),
}

/// Watches that a round of reads has left, with the paths that they are about.
pub(crate) type Watches = Vec<(String, Watch)>;

/// Performs reads, pipelined; the answers in their order.
///
/// Those of data without a watch share requests: it is of these, the partitions' states, that there are many.
pub(crate) async fn read(store: &Store, reads: Vec<Read>) -> Result<(Vec<Answer>, Watches), TermOver> {
    let mut places = Vec::new();
    let mut paths = Vec::new();
    let mut others = Vec::new();
    let mut answers = vec![Answer::NoNode; reads.len()];
    for (place, read) in reads.into_iter().enumerate() {
        match read {
            Read::Data { path, watch: false } => {
                places.push(place);
                paths.push(path);
            }
            other => others.push((place, other)),
        }
    }
    let mut watches = Watches::new();
    let mut results = futures::stream::iter(others)
        .map(|(place, read)| async move { (place, read_one(store, read).await) })
        .buffered(MAX_READS);
    while let Some((place, result)) = results.next().await {
        let (answer, watch) = result?;
        answers[place] = answer;
        watches.extend(watch);
    }
    for (place, found) in places.into_iter().zip(store.get_all_small(paths).await) {
        answers[place] = match found {
            Ok(found) => data(found),
            Err(error) => refused(error)?,
        };
    }
    Ok((answers, watches))
}

async fn read_one(store: &Store, read: Read) -> Result<(Answer, Option<(String, Watch)>), TermOver> {
    let result = match read {
        Read::Data { path, watch: true } => store
            .watch_data(&path)
            .await
            .map(|(found, watch)| (data(found), Some((path, watch)))),
        Read::Data { path, watch: false } => store.get(&path).await.map(|found| (data(found), None)),
        Read::Children { path, watch: true } => store
            .watch_children(&path)
            .await
            .map(|(found, watch)| (children(found), Some((path, watch)))),
        Read::Children { path, watch: false } => store.get_children(&path).await.map(|found| (children(found), None)),
    };
    match result {
        Ok(found) => Ok(found),
        Err(error) => refused(error).map(|answer| (answer, None)),
    }
}

fn data(found: Option<(bytes::Bytes, zk_schema_store::Stat)>) -> Answer {
    match found {
        Some((data, stat)) => Answer::Data {
            data,
            version: stat.version,
            czxid: stat.czxid,
            mzxid: stat.mzxid,
        },
        None => Answer::NoNode,
    }
}

fn children(found: Option<Vec<String>>) -> Answer {
    found.map_or(Answer::NoNode, Answer::Children)
}

/// Performs fenced writes, pipelined; the answers in their order.
pub(crate) async fn write(store: &Store, epoch_zk_version: i32, ops: Vec<Op>) -> Result<Vec<Answer>, TermOver> {
    let results = store.fenced_all(epoch_zk_version, ops).await;
    results
        .into_iter()
        .map(|result| match result {
            Ok(OpResult::Created(created)) => Ok(Answer::Written {
                version: created.stat.version,
            }),
            Ok(OpResult::Set(stat)) => Ok(Answer::Written { version: stat.version }),
            Ok(OpResult::Deleted | OpResult::Checked) => Ok(Answer::Written { version: 0 }),
            Err(FencedError::ControllerMoved { .. }) => Err(TermOver::ControllerMoved),
            Err(FencedError::Op(error)) => refused(error),
        })
        .collect()
}

fn refused(error: StoreError) -> Result<Answer, TermOver> {
    match error {
        StoreError::NoNode { .. } => Ok(Answer::NoNode),
        StoreError::NodeExists { .. } => Ok(Answer::NodeExists),
        StoreError::BadVersion { .. } => Ok(Answer::BadVersion),
        StoreError::NotEmpty { .. } => Ok(Answer::NotEmpty),
        StoreError::SessionExpired | StoreError::ConnectionLost(_) | StoreError::Closed => {
            Err(TermOver::SessionEnded(error))
        }
        StoreError::NoChildrenForEphemerals { .. }
        | StoreError::NoAuth { .. }
        | StoreError::TooLarge { .. }
        | StoreError::AuthFailed
        | StoreError::InvalidConnectString(_)
        | StoreError::InvalidTls(_)
        | StoreError::InvalidPath { .. }
        | StoreError::Other(_) => Ok(Answer::Failed(error.to_string())),
    }
}
