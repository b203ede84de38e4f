//! Was it ours? A write whose answer was lost is sent again; if the server then refuses it, this decides by what is
//! there now whether the first attempt had been applied after all.
//!
//! Pure: it says which paths to read and judges what was found. Being too strict reports a refusal for a write that
//! happened, being too lax an effect that did not: so content and version must both be what the write would have left.

use std::collections::BTreeMap;

use zk_schema::{CreateMode, Created, Op, OpResult, Stat};

/// What was found at a path: content and state, or nothing.
pub(crate) type Found = Option<(Vec<u8>, Stat)>;

/// The results of `ops`, if `found` (by path) shows that all of them were applied by the session `session_id`.
///
/// A multi is atomic, so it is enough that each path is as the last operation on it would have left it. A multi of
/// conditions alone leaves no trace and is never settled so. Sequential creates neither: their path is not known.
pub(crate) fn applied(ops: &[Op], found: &BTreeMap<String, Found>, session_id: i64) -> Option<Vec<OpResult>> {
    let mut traced = false;
    let mut results = Vec::with_capacity(ops.len());
    for (index, op) in ops.iter().enumerate() {
        let now = found.get(op.path())?;
        let earlier = ops[..index]
            .iter()
            .any(|other| changes(other) && other.path() == op.path());
        let later = ops[index + 1..]
            .iter()
            .any(|other| changes(other) && other.path() == op.path());
        let result = match op {
            Op::Create {
                mode: CreateMode::PersistentSequential,
                ..
            } => return None,
            Op::Create { path, data, mode } => {
                let (content, stat) = now.as_ref()?;
                let ours = match mode {
                    CreateMode::Ephemeral => stat.ephemeral_owner == session_id,
                    _ => stat.ephemeral_owner == 0,
                };
                // Nobody else writes what only its owner writes; a persistent znode must still be as we made it.
                let unchanged = later || *mode == CreateMode::Ephemeral || (stat.version == 0 && content == data);
                if !ours || !unchanged {
                    return None;
                }
                OpResult::Created(Created {
                    path: path.clone(),
                    stat: *stat,
                })
            }
            Op::SetData {
                data, expected_version, ..
            } => {
                let (content, stat) = now.as_ref()?;
                let sets = ops
                    .iter()
                    .filter(|o| matches!(o, Op::SetData { .. }) && o.path() == op.path())
                    .count();
                let sets = i32::try_from(sets).ok()?;
                let version = match expected_version {
                    Some(expected) => stat.version == expected.wrapping_add(1),
                    None => !earlier || stat.version == sets,
                };
                if !later && (content != data || !version) {
                    return None;
                }
                OpResult::Set(*stat)
            }
            Op::Delete { .. } => match now {
                None => OpResult::Deleted,
                Some(_) => return None,
            },
            Op::Check { .. } => OpResult::Checked,
        };
        traced |= changes(op);
        results.push(result);
    }
    traced.then_some(results)
}

fn changes(op: &Op) -> bool {
    !matches!(op, Op::Check { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: i64 = 7;

    type Shown = (&'static str, Option<(&'static [u8], Stat)>);

    fn stat(version: i32, ephemeral_owner: i64) -> Stat {
        Stat {
            version,
            ephemeral_owner,
            ..Stat::default()
        }
    }

    #[test]
    fn a_write_was_ours_if_everything_is_as_it_would_have_left_it() {
        let check = |name: &str, ops: &[Op], found: &[Shown], applied_: bool| {
            let found = found
                .iter()
                .map(|(path, node)| (path.to_string(), node.map(|(data, stat)| (data.to_vec(), stat))))
                .collect();
            assert_eq!(applied(ops, &found, OURS).is_some(), applied_, "{name}");
        };
        let node = |data: &'static str, version, owner| Some((data.as_bytes(), stat(version, owner)));
        let eph = [Op::create_ephemeral("/e", "x")];
        check("our ephemeral", &eph, &[("/e", node("x", 0, OURS))], true);
        check("another's ephemeral", &eph, &[("/e", node("x", 0, 8))], false);
        check("no ephemeral", &eph, &[("/e", None)], false);
        let create = [Op::create("/p", "x")];
        check("created", &create, &[("/p", node("x", 0, 0))], true);
        check("created with other content", &create, &[("/p", node("y", 0, 0))], false);
        check("created and changed since", &create, &[("/p", node("x", 1, 0))], false);
        let set = [Op::set("/p", "x", Some(4))];
        check("set", &set, &[("/p", node("x", 5, 0))], true);
        check("set to other content", &set, &[("/p", node("y", 5, 0))], false);
        check("set later", &set, &[("/p", node("x", 6, 0))], false);
        let delete = [Op::delete("/p", Some(4))];
        check("deleted", &delete, &[("/p", None)], true);
        check("not deleted", &delete, &[("/p", node("x", 5, 0))], false);
        let register = [Op::create_ephemeral("/e", ""), Op::set("/e", "x", None)];
        check("registered", &register, &[("/e", node("x", 1, OURS))], true);
        check("registered by another", &register, &[("/e", node("x", 1, 8))], false);
        let elect = [Op::create_ephemeral("/c", "me"), Op::set("/epoch", "4", Some(2))];
        check(
            "elected",
            &elect,
            &[("/c", node("me", 0, OURS)), ("/epoch", node("4", 3, 0))],
            true,
        );
        check(
            "lost",
            &elect,
            &[("/c", node("you", 0, 8)), ("/epoch", node("4", 3, 0))],
            false,
        );
        let fenced = [Op::check("/epoch", 3), Op::delete("/p", None)];
        check("fenced", &fenced, &[("/epoch", node("4", 3, 0)), ("/p", None)], true);
        check("only a check", &fenced[..1], &[("/epoch", node("4", 3, 0))], false);
    }
}
