//! The names of the directories in a log directory.
//!
//! ```text
//! orders-0                                             the log of partition 0 of orders
//! orders-0.e79e633302214d339edacd72fb24e29b-delete     deleted, its files go soon
//! orders-0.e79e633302214d339edacd72fb24e29b-future     a copy on its way to this directory
//! orders-0.e79e633302214d339edacd72fb24e29b-stray      of a topic that is not ours any more
//! ```
//! Source: Kafka 3.9 `LocalLog.parseTopicPartitionName`, `logDirNameWithSuffixCappedLength`.

use model::{TopicPartition, validate_topic_name};

/// What a directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Log(TopicPartition),
    Deleted(TopicPartition),
    Future(TopicPartition),
    Stray(TopicPartition),
}

pub(super) const DELETE: &str = "-delete";
pub(super) const FUTURE: &str = "-future";
pub(super) const STRAY: &str = "-stray";

/// The longest name of a file.
const NAME_MAX: usize = 255;

/// What the directory `name` is; `None` if it is none of ours.
pub(super) fn parse(name: &str) -> Option<Named> {
    for (suffix, named) in [
        (DELETE, Named::Deleted as fn(TopicPartition) -> Named),
        (FUTURE, Named::Future),
        (STRAY, Named::Stray),
    ] {
        if let Some(rest) = name.strip_suffix(suffix) {
            let (partition, unique) = rest.rsplit_once('.')?;
            return if unique.is_empty() {
                None
            } else {
                topic_partition(partition).map(named)
            };
        }
    }
    topic_partition(name).map(Named::Log)
}

fn topic_partition(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    if partition.is_empty() || !partition.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    validate_topic_name(topic).ok()?;
    Some(TopicPartition::new(topic, partition.parse().ok()?))
}

/// Whether a copy of `partition` can be named without cutting its name. Source: Kafka KAFKA-4893.
pub(super) fn future_name_fits(partition: &TopicPartition) -> bool {
    const UNIQUE: usize = 32;
    partition.to_string().len() + 1 + UNIQUE + FUTURE.len() <= NAME_MAX
}

/// The name of a directory of `partition` that is not its log any more; a long topic name is cut.
pub(super) fn with_suffix(partition: &TopicPartition, suffix: &str) -> String {
    let unique = uuid::Uuid::new_v4().simple();
    let end = format!("-{}.{unique}{suffix}", partition.partition);
    let most = (NAME_MAX - end.len()).min(partition.topic.len());
    format!("{}{end}", &partition.topic[..most])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let tp = |topic: &str, partition| TopicPartition::new(topic, partition);
        let check = |name: &str, is: Option<Named>| assert_eq!(parse(name), is, "{name}");
        check("orders-0", Some(Named::Log(tp("orders", 0))));
        check("a-b-12", Some(Named::Log(tp("a-b", 12))));
        check("a-delete-0", Some(Named::Log(tp("a-delete", 0))));
        check(
            "gone-0.e79e633302214d339edacd72fb24e29b-delete",
            Some(Named::Deleted(tp("gone", 0))),
        );
        check("a.b-3.x-future", Some(Named::Future(tp("a.b", 3))));
        check("a.b-3.x-stray", Some(Named::Stray(tp("a.b", 3))));
        check("orders", None);
        check("orders-", None);
        check("-0", None);
        check("orders-x", None);
        check("orders--1", Some(Named::Log(tp("orders-", 1))));
        check("orders-99999999999", None);
        check("a-0.-delete", None);
        check("lost+found", None);
    }

    #[test]
    fn a_long_topic_name_is_cut() {
        let long = TopicPartition::new("x".repeat(249), 123);
        let name = with_suffix(&long, DELETE);
        assert_eq!(name.len(), 255);
        assert!(matches!(parse(&name), Some(Named::Deleted(_))));
        let short = TopicPartition::new("orders", 0);
        assert_eq!(parse(&with_suffix(&short, DELETE)), Some(Named::Deleted(short)));
    }
}
