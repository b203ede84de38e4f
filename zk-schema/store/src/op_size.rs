//! How large a request is on the wire: ZooKeeper cuts the connection of whoever sends more than `jute.maxbuffer`.

use zk_schema::Op;

use crate::StoreError;

/// `jute.maxbuffer` as servers ship it: a packet may have at most this many bytes after its length.
pub(crate) const LIMIT: usize = 0xf_ffff;

const REQUEST_HEADER: usize = 8; // xid, operation
const MULTI_HEADER: usize = 9; // operation, done, error; one more ends the multi
const LENGTH: usize = 4;
/// The longest list of permissions that is given: the creator's and the world's.
const ACL: usize = 4 + (4 + LENGTH + "auth".len() + LENGTH) + (4 + LENGTH + "world".len() + LENGTH + "anyone".len());

/// Refuses what the server would refuse by cutting the connection.
pub(crate) fn check(ops: &[Op], chroot_len: usize) -> Result<(), StoreError> {
    let size = REQUEST_HEADER
        + MULTI_HEADER
        + ops
            .iter()
            .map(|op| MULTI_HEADER + op_size(op, chroot_len))
            .sum::<usize>();
    if size <= LIMIT {
        return Ok(());
    }
    let largest = ops.iter().max_by_key(|op| op_size(op, chroot_len));
    Err(StoreError::TooLarge {
        path: largest.map(|op| op.path().to_owned()).unwrap_or_default(),
        size,
        limit: LIMIT,
    })
}

fn op_size(op: &Op, chroot_len: usize) -> usize {
    const FLAGS: usize = 4;
    const VERSION: usize = 4;
    let path = LENGTH + chroot_len + op.path().len();
    path + match op {
        Op::Create { data, .. } => LENGTH + data.len() + ACL + FLAGS,
        Op::SetData { data, .. } => LENGTH + data.len() + VERSION,
        Op::Delete { .. } | Op::Check { .. } => VERSION,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_let_through_and_what_does_not_is_refused() {
        let check = |data: usize, fits: bool| {
            assert_eq!(check(&[Op::create("/n", vec![0; data])], 0).is_ok(), fits, "{data}");
        };
        check(0, true);
        check(1_048_000, true);
        check(1_048_575, false);
        check(2_000_000, false);
    }
}
