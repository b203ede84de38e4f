//! Which version each request between brokers has, for every `inter.broker.protocol.version`.
//!
//! The controller and the fetchers never ask a peer what it speaks: the configured version alone says it. One table,
//! from Kafka 3.9.1's `MetadataVersion`, `ControllerChannelManager` and `KafkaServer`.

use std::fmt;
use std::str::FromStr;

/// One `inter.broker.protocol.version` and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterBrokerProtocol {
    /// Its full name, such as `3.9-IV0`.
    pub name: &'static str,
    /// Version of LeaderAndIsr.
    pub leader_and_isr: i16,
    /// Version of UpdateMetadata.
    pub update_metadata: i16,
    /// Version of StopReplica.
    pub stop_replica: i16,
    /// Version of ControlledShutdown.
    pub controlled_shutdown: i16,
    /// Version of Fetch, from followers.
    pub fetch: i16,
    /// Version of ListOffsets, from followers.
    pub list_offsets: i16,
    /// Version of OffsetForLeaderEpoch, from followers.
    pub offset_for_leader_epoch: i16,
    /// Version of WriteTxnMarkers.
    pub write_txn_markers: i16,
    /// Followers learn from Fetch where to truncate (KIP-595), and do not ask for it beforehand.
    pub truncate_on_fetch: bool,
    /// Leaders change their in-sync set through the controller (KIP-497), not in ZooKeeper.
    pub alter_partition: bool,
    /// Producer ids are allocated by the controller (KIP-730), not by each broker.
    pub allocate_producer_ids: bool,
    /// Topics have ids (KIP-516).
    pub topic_ids: bool,
    /// `/feature` is enabled (KIP-584).
    pub feature_versioning: bool,
    /// Version of the value of an offset commit in `__consumer_offsets`.
    pub offset_commit_value: i16,
    /// Version of the value of a group in `__consumer_offsets`.
    pub group_metadata_value: i16,
}

/// The text is not a version that Kafka 3.9 knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownProtocolVersion(String);

impl fmt::Display for UnknownProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version {} is not a valid version", self.0)
    }
}

impl std::error::Error for UnknownProtocolVersion {}

impl InterBrokerProtocol {
    /// What Kafka 3.9.1 uses unless told otherwise.
    pub const LATEST: Self = find("3.9-IV0");

    /// The oldest that is spoken.
    pub const OLDEST: Self = find("1.0-IV0");

    /// The leader may be marked as recovering after an unclean election (KIP-704).
    pub fn leader_recovery(&self) -> bool {
        self.leader_and_isr >= 6
    }
}

impl FromStr for InterBrokerProtocol {
    type Err = UnknownProtocolVersion;

    /// Takes `3.9-IV0`, `3.9` (the last of them) and `3.9.1`. Source: Kafka 3.9 `MetadataVersion.fromVersionString`.
    fn from_str(text: &str) -> Result<Self, UnknownProtocolVersion> {
        let mut segments = text.split('.');
        let key = match (segments.next(), segments.next()) {
            (Some(major), Some(minor)) => format!("{major}.{minor}"),
            _ => return Err(UnknownProtocolVersion(text.to_owned())),
        };
        let of_release =
            |it: &&Self| it.name == key || it.name.split_once("-IV").is_some_and(|(release, _)| release == key);
        VERSIONS
            .iter()
            .rfind(of_release)
            .copied()
            .ok_or_else(|| UnknownProtocolVersion(text.to_owned()))
    }
}

impl fmt::Display for InterBrokerProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const fn find(name: &str) -> InterBrokerProtocol {
    let mut i = 0;
    while i < VERSIONS.len() {
        let (found, wanted) = (VERSIONS[i].name.as_bytes(), name.as_bytes());
        let mut same = found.len() == wanted.len();
        let mut at = 0;
        while same && at < found.len() {
            same = found[at] == wanted[at];
            at += 1;
        }
        if same {
            return VERSIONS[i];
        }
        i += 1;
    }
    panic!("not in the table")
}

#[rustfmt::skip]
const fn row(
    name: &'static str, leader_and_isr: i16, update_metadata: i16, stop_replica: i16, controlled_shutdown: i16,
    alter_partition: bool, fetch: i16, list_offsets: i16, offset_for_leader_epoch: i16, truncate_on_fetch: bool,
    write_txn_markers: i16, allocate_producer_ids: bool, topic_ids: bool, offset_commit_value: i16,
    group_metadata_value: i16, feature_versioning: bool,
) -> InterBrokerProtocol {
    InterBrokerProtocol {
        name, leader_and_isr, update_metadata, stop_replica, controlled_shutdown, fetch, list_offsets,
        offset_for_leader_epoch, write_txn_markers, truncate_on_fetch, alter_partition, allocate_producer_ids,
        topic_ids, feature_versioning, offset_commit_value, group_metadata_value,
    }
}

/// Oldest first.
#[rustfmt::skip]
const VERSIONS: &[InterBrokerProtocol] = &[
    //  name       L&I U.M S.R C.S alter  fetch  LO OFLE trunc  WTM alloc  ids   offset group feature
    row("1.0-IV0", 1, 4, 0, 1, false,  5, 2, 0, false, 0, false, false, 1, 1, false),
    row("1.1-IV0", 1, 4, 0, 1, false,  7, 2, 0, false, 0, false, false, 1, 1, false),
    row("2.0-IV0", 1, 4, 0, 1, false,  7, 2, 1, false, 0, false, false, 1, 1, false),
    row("2.0-IV1", 1, 4, 0, 1, false,  8, 3, 1, false, 0, false, false, 1, 1, false),
    row("2.1-IV0", 1, 4, 0, 1, false,  8, 3, 1, false, 0, false, false, 2, 2, false),
    row("2.1-IV1", 1, 4, 0, 1, false,  8, 4, 2, false, 0, false, false, 3, 2, false),
    row("2.1-IV2", 1, 4, 0, 1, false, 10, 4, 2, false, 0, false, false, 3, 2, false),
    row("2.2-IV0", 2, 5, 1, 2, false, 10, 4, 2, false, 0, false, false, 3, 2, false),
    row("2.2-IV1", 2, 5, 1, 2, false, 10, 5, 2, false, 0, false, false, 3, 2, false),
    row("2.3-IV0", 2, 5, 1, 2, false, 10, 5, 2, false, 0, false, false, 3, 3, false),
    row("2.3-IV1", 2, 5, 1, 2, false, 11, 5, 3, false, 0, false, false, 3, 3, false),
    row("2.4-IV0", 3, 5, 1, 2, false, 11, 5, 3, false, 0, false, false, 3, 3, false),
    row("2.4-IV1", 4, 6, 2, 3, false, 11, 5, 3, false, 0, false, false, 3, 3, false),
    row("2.5-IV0", 4, 6, 2, 3, false, 11, 5, 3, false, 0, false, false, 3, 3, false),
    row("2.6-IV0", 4, 6, 3, 3, false, 11, 5, 3, false, 0, false, false, 3, 3, false),
    row("2.7-IV0", 4, 6, 3, 3, false, 11, 5, 3, false, 0, false, false, 3, 3, true),
    row("2.7-IV1", 4, 6, 3, 3, false, 12, 5, 3, true,  0, false, false, 3, 3, true),
    row("2.7-IV2", 4, 6, 3, 3, true,  12, 5, 3, true,  0, false, false, 3, 3, true),
    row("2.8-IV0", 4, 6, 3, 3, true,  12, 6, 4, true,  1, false, true,  3, 3, true),
    row("2.8-IV1", 5, 7, 3, 3, true,  12, 6, 4, true,  1, false, true,  3, 3, true),
    row("3.0-IV0", 5, 7, 3, 3, true,  12, 6, 4, true,  1, true,  true,  3, 3, true),
    row("3.0-IV1", 5, 7, 3, 3, true,  12, 7, 4, true,  1, true,  true,  3, 3, true),
    row("3.1-IV0", 5, 7, 3, 3, true,  13, 7, 4, true,  1, true,  true,  3, 3, true),
    row("3.2-IV0", 6, 7, 3, 3, true,  13, 7, 4, true,  1, true,  true,  3, 3, true),
    row("3.3-IV0", 6, 7, 3, 3, true,  13, 7, 4, true,  1, true,  true,  3, 3, true),
    row("3.3-IV1", 6, 7, 3, 3, true,  13, 7, 4, true,  1, true,  true,  3, 3, true),
    row("3.3-IV2", 6, 7, 3, 3, true,  13, 7, 4, true,  1, true,  true,  3, 3, true),
    row("3.3-IV3", 6, 7, 3, 3, true,  13, 7, 4, true,  1, true,  true,  3, 3, true),
    row("3.4-IV0", 7, 8, 4, 3, true,  13, 7, 4, true,  1, true,  true,  3, 3, true),
    row("3.5-IV0", 7, 8, 4, 3, true,  14, 8, 4, true,  1, true,  true,  3, 3, true),
    row("3.5-IV1", 7, 8, 4, 3, true,  15, 8, 4, true,  1, true,  true,  3, 3, true),
    row("3.5-IV2", 7, 8, 4, 3, true,  15, 8, 4, true,  1, true,  true,  3, 3, true),
    row("3.6-IV0", 7, 8, 4, 3, true,  15, 8, 4, true,  1, true,  true,  3, 3, true),
    row("3.6-IV1", 7, 8, 4, 3, true,  15, 8, 4, true,  1, true,  true,  3, 3, true),
    row("3.6-IV2", 7, 8, 4, 3, true,  15, 8, 4, true,  1, true,  true,  3, 3, true),
    row("3.7-IV0", 7, 8, 4, 3, true,  15, 8, 4, true,  1, true,  true,  3, 3, true),
    row("3.7-IV1", 7, 8, 4, 3, true,  15, 8, 4, true,  1, true,  true,  3, 3, true),
    row("3.7-IV2", 7, 8, 4, 3, true,  15, 8, 4, true,  1, true,  true,  3, 3, true),
    row("3.7-IV3", 7, 8, 4, 3, true,  15, 8, 4, true,  1, true,  true,  3, 3, true),
    row("3.7-IV4", 7, 8, 4, 3, true,  16, 8, 4, true,  1, true,  true,  3, 3, true),
    row("3.8-IV0", 7, 8, 4, 3, true,  16, 8, 4, true,  1, true,  true,  3, 3, true),
    row("3.9-IV0", 7, 8, 4, 3, true,  17, 9, 4, true,  1, true,  true,  3, 3, true),
    row("4.0-IV0", 7, 8, 4, 3, true,  17, 9, 4, true,  1, true,  true,  3, 3, true),
    row("4.0-IV1", 7, 8, 4, 3, true,  17, 9, 4, true,  1, true,  true,  3, 3, true),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_as_kafka_finds_them() {
        let check = |text: &str, found: Option<&str>| {
            assert_eq!(
                text.parse::<InterBrokerProtocol>().ok().map(|it| it.name),
                found,
                "{text}"
            );
        };
        check("3.9-IV0", Some("3.9-IV0"));
        check("3.9", Some("3.9-IV0"));
        check("3.9.1", Some("3.9-IV0"));
        check("3.5", Some("3.5-IV2"));
        check("3.5-IV0", Some("3.5-IV0"));
        check("2.7", Some("2.7-IV2"));
        check("5.0", None);
        check("3", None);
        check("", None);
    }

    #[test]
    fn the_latest_speaks_the_newest_of_every_request() {
        let latest = InterBrokerProtocol::LATEST;
        assert_eq!(latest.name, "3.9-IV0");
        assert_eq!(
            (latest.leader_and_isr, latest.update_metadata, latest.stop_replica),
            (7, 8, 4)
        );
        assert!(latest.alter_partition && latest.topic_ids && latest.leader_recovery());
        let old: InterBrokerProtocol = "2.6".parse().unwrap();
        assert!(!old.alter_partition && !old.topic_ids && !old.leader_recovery());
    }
}
