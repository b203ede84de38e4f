//! Many small reads, and many writes of a controller: a few dozen in one request.
//!
//! Reads share a request where the server knows how (ZooKeeper 3.6 and later), else each goes for itself.
//!
//! Kafka 3.9 sends a multi for each, which makes ten thousand transactions of the death of a broker with ten thousand
//! partitions. Here they share transactions and the check of the epoch. What ZooKeeper refuses in one of them it refuses
//! for the whole multi: then each of that multi is written for itself, so that the outcome of each is as if it always had.
//!
//! Invariants of writes: every write is in one multi with the check; no multi has a path twice; the results are in the order asked.

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use zk_schema::{Op, OpResult, Stat, controller_epoch};

use crate::{Backend, FencedError, MultiError, Store, StoreError};

/// How many writes share a multi, and how many bytes of content: small beside what a server takes.
const GROUP_OPS: usize = 64;
const GROUP_BYTES: usize = 128 * 1024;

/// How many reads share a request. A `state` znode has 100 bytes or so.
const GROUP_READS: usize = 64;

impl Store {
    /// [`Store::get`] of many znodes that are known to be small, pipelined; results in the order of `paths`.
    pub async fn get_all_small(&self, paths: Vec<String>) -> Vec<Result<Option<(Bytes, Stat)>, StoreError>> {
        let groups: Vec<Vec<String>> = paths.chunks(GROUP_READS).map(<[String]>::to_vec).collect();
        stream::iter(groups)
            .map(|paths| self.get_group(paths))
            .buffered(self.max_in_flight())
            .flat_map(stream::iter)
            .collect()
            .await
    }

    async fn get_group(&self, paths: Vec<String>) -> Vec<Result<Option<(Bytes, Stat)>, StoreError>> {
        if paths.len() > 1
            && let Backend::Remote(remote) = &self.backend
        {
            match remote.read_all(&paths).await {
                Ok(Some(found)) => return found.into_iter().map(Ok).collect(),
                // This server cannot, or one of them is strange: each for itself.
                Ok(None) => {}
                Err(error) => return vec![Err(error); paths.len()],
            }
        }
        stream::iter(paths)
            .map(|path| async move { self.get(&path).await })
            .buffered(self.max_in_flight())
            .collect()
            .await
    }

    /// [`Store::fenced`] of many that do not build on each other, pipelined; results in the order of `ops`.
    pub async fn fenced_all(&self, epoch_zk_version: i32, ops: Vec<Op>) -> Vec<Result<OpResult, FencedError>> {
        stream::iter(groups(ops))
            .map(|group| self.fenced_group(epoch_zk_version, group))
            .buffered(self.max_in_flight())
            .flat_map(stream::iter)
            .collect()
            .await
    }

    async fn fenced_group(&self, epoch_zk_version: i32, ops: Vec<Op>) -> Vec<Result<OpResult, FencedError>> {
        if ops.len() > 1 {
            let mut multi = Vec::with_capacity(ops.len() + 1);
            multi.push(Op::check(controller_epoch::PATH, epoch_zk_version));
            multi.extend(ops.iter().cloned());
            match self.multi(multi).await {
                Ok(results) if results.len() == ops.len() + 1 => return results.into_iter().skip(1).map(Ok).collect(),
                Err(MultiError {
                    index: Some(0),
                    source: StoreError::BadVersion { .. } | StoreError::NoNode { .. },
                }) => {
                    let moved = FencedError::ControllerMoved {
                        expected_zk_version: epoch_zk_version,
                    };
                    return vec![Err(moved); ops.len()];
                }
                // The session, or ZooKeeper, is gone: trying each would only be told the same.
                Err(MultiError { index: None, source }) => return vec![Err(source.into()); ops.len()],
                Ok(_) | Err(_) => {}
            }
        }
        stream::iter(ops)
            .map(|op| self.fenced(epoch_zk_version, op))
            .buffered(self.max_in_flight())
            .collect()
            .await
    }
}

/// Cuts writes into multis, in their order.
fn groups(ops: Vec<Op>) -> Vec<Vec<Op>> {
    let mut groups: Vec<Vec<Op>> = Vec::new();
    let mut bytes = 0;
    for op in ops {
        let size = op.path().len() + data_len(&op);
        match groups.last_mut() {
            Some(group)
                if group.len() < GROUP_OPS
                    && bytes + size <= GROUP_BYTES
                    && group.iter().all(|other| other.path() != op.path()) =>
            {
                bytes += size;
                group.push(op);
            }
            _ => {
                bytes = size;
                groups.push(vec![op]);
            }
        }
    }
    groups
}

fn data_len(op: &Op) -> usize {
    match op {
        Op::Create { data, .. } | Op::SetData { data, .. } => data.len(),
        Op::Delete { .. } | Op::Check { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_bounded_in_number_and_bytes_and_have_no_path_twice() {
        let check = |name: &str, ops: Vec<Op>, expected: &[usize]| {
            let order: Vec<_> = ops.clone();
            let groups = groups(ops);
            assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), expected, "{name}");
            assert_eq!(groups.concat(), order, "{name}");
        };
        let some = |count: usize, size: usize| -> Vec<Op> {
            (0..count)
                .map(|at| Op::set(format!("/{at}"), vec![b'x'; size], None))
                .collect()
        };
        check("none", Vec::new(), &[]);
        check("one", some(1, 10), &[1]);
        check("many", some(130, 10), &[64, 64, 2]);
        check("large", some(3, 100 * 1024), &[1, 1, 1]);
        check("too large for any group", some(1, 300 * 1024), &[1]);
        check(
            "the same path",
            vec![Op::delete("/a", None), Op::create("/a", ""), Op::delete("/b", None)],
            &[1, 2],
        );
    }
}
