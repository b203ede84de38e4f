//! The persistent znodes that a broker makes sure of when it starts, and a table of all znodes for the docs.

/// Created empty, with their parents, in this order, before anything else is written.
/// Source: Kafka 3.9 `ZkData.PersistentZkPaths`, `KafkaZkClient.createTopLevelPaths`.
pub const PERSISTENT_PATHS: [&str; 14] = [
    crate::consumers::PATH,
    crate::brokers::ids::PATH,
    crate::brokers::topics::PATH,
    crate::config::changes::PATH,
    crate::admin::DELETE_TOPICS_PATH,
    crate::brokers::SEQID_PATH,
    crate::notifications::ISR_CHANGE_PATH,
    crate::producer_id_block::PATH,
    crate::notifications::LOG_DIR_EVENT_PATH,
    crate::config::TYPE_PATHS[0],
    crate::config::TYPE_PATHS[1],
    crate::config::TYPE_PATHS[2],
    crate::config::TYPE_PATHS[3],
    crate::config::TYPE_PATHS[4],
];

/// One line of `docs/compatibility.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZnodeDoc {
    /// Path, with `<…>` where names go.
    pub path: &'static str,
    /// Who writes it.
    pub written_by: &'static str,
    /// What it holds, and which versions are written and read.
    pub doc: &'static str,
}

macro_rules! table {
    ($($path:literal, $written_by:literal, $doc:literal;)*) => {
        &[$(ZnodeDoc { path: $path, written_by: $written_by, doc: $doc }),*]
    };
}

/// Every znode that is read or written.
#[rustfmt::skip]
pub const ZNODES: &[ZnodeDoc] = table! {
    "/admin/delete_topics/<topic>", "any broker", "empty: the topic is to be deleted";
    "/admin/preferred_replica_election", "kafka-preferred-replica-election up to 2.8", "JSON v1: partitions";
    "/admin/reassign_partitions", "kafka-reassign-partitions up to 2.8", "JSON v1: partitions and replicas";
    "/brokers/ids/<id>", "the broker (ephemeral)", "JSON v5 (v4, v2 by inter.broker.protocol.version); v1 to v5 are read";
    "/brokers/seqid", "any broker", "empty: its data version counts generated broker ids";
    "/brokers/topics/<topic>", "any broker; the controller", "JSON v3: topic id, replicas, reassignment; v1 to v3 are read";
    "/brokers/topics/<topic>/partitions/<n>/state", "the controller", "JSON v1: leader, leader epoch, ISR, controller epoch, recovery state";
    "/cluster/id", "the first broker", "JSON \"1\": the cluster id";
    "/cluster/ottla/brokers/<id>", "the broker (ephemeral)", "empty: this broker is Ottla";
    "/cluster/ottla/coordinators/<id>", "a dedicated coordinator (ephemeral)", "host:port: where it takes brokers' requests";
    "/cluster/ottla/sessions/<session id>", "a broker or coordinator with a guardian (ephemeral)", "empty: the session has not ended";
    "/config/brokers/<id>, /config/brokers/<default>", "any broker; kafka-configs", "JSON v1";
    "/config/changes/config_change_<n>", "any broker", "JSON v2: which entity; v1 is read";
    "/config/clients/<client>", "any broker; kafka-configs", "JSON v1: quotas";
    "/config/ips/<ip>", "any broker; kafka-configs", "JSON v1: connection rate";
    "/config/topics/<topic>", "any broker; kafka-configs", "JSON v1: overrides";
    "/config/users/<user>", "any broker; kafka-configs", "JSON v1: quotas, SCRAM credentials";
    "/config/users/<user>/clients/<client>", "any broker; kafka-configs", "JSON v1: quotas";
    "/consumers/<group>/offsets/<topic>/<partition>", "OffsetCommit v0; old consumers", "decimal offset";
    "/controller", "the controller (ephemeral)", "JSON v2: its id; v0 to v2 are read";
    "/controller_epoch", "the controller", "decimal; its data version fences";
    "/delegation_token/token_changes/token_change_<n>", "any broker", "a token's id";
    "/delegation_token/tokens/<id>", "any broker", "JSON v3: owner, renewers, times; v1 to v3 are read";
    "/feature", "the controller", "JSON v2 (v1 by inter.broker.protocol.version): finalized features";
    "/isr_change_notification/isr_change_<n>", "leaders below inter.broker.protocol.version 2.7", "JSON v1: partitions";
    "/kafka-acl-changes/acl_changes_<n>", "any broker; kafka-acls", "text: which resource";
    "/kafka-acl-extended-changes/acl_changes_<n>", "any broker; kafka-acls", "JSON v1: which resource";
    "/kafka-acl-extended/prefixed/<Type>/<name>", "any broker; kafka-acls", "JSON v1: prefixed ACLs";
    "/kafka-acl/<Type>/<name>", "any broker; kafka-acls", "JSON v1: literal ACLs";
    "/latest_producer_id_block", "the controller", "JSON v1: the last block handed out";
    "/log_dir_event_notification/log_dir_event_<n>", "a broker that lost a log directory", "JSON v1: its id";
    "/migration", "KRaft controllers", "JSON v0, read only";
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roots_are_those_of_a_fresh_cluster_in_order() {
        assert_eq!(
            PERSISTENT_PATHS,
            [
                "/consumers",
                "/brokers/ids",
                "/brokers/topics",
                "/config/changes",
                "/admin/delete_topics",
                "/brokers/seqid",
                "/isr_change_notification",
                "/latest_producer_id_block",
                "/log_dir_event_notification",
                "/config/topics",
                "/config/clients",
                "/config/users",
                "/config/brokers",
                "/config/ips",
            ]
        );
        assert!(
            ZNODES.windows(2).all(|pair| pair[0].path < pair[1].path),
            "sorted by path"
        );
    }
}
