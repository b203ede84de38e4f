//! The one table of the APIs that a ZooKeeper-mode Kafka 3.9 broker advertises.
//!
//! Key, name, versions, first flexible version and class of each; header versions follow from it. Which of them this
//! broker really serves, and at which versions, is declared beside the handlers; this table is the superset, and what
//! the guard and the client connections know how to read.
//!
//! Source: the message schemas of kafka-clients 3.9.1 and `ApiKeys`; equal to what a real 3.9.1 broker answers to
//! ApiVersions.

/// One API: a kind of request and its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    /// The 16-bit key that opens every request.
    pub key: i16,
    /// Kafka's name, as in `kafka-broker-api-versions` (`LeaderAndIsr`).
    pub name: &'static str,
    /// Oldest version of the schema.
    pub min_version: i16,
    /// Newest version that a 3.9 broker advertises.
    pub max_version: i16,
    /// First version with compact lengths and tagged fields; the same for request and response. [`NEVER`] if none.
    pub flexible_from: i16,
    /// Whether only brokers may send it: it needs `CLUSTER_ACTION` on the cluster (Kafka: `ApiKeys.clusterAction`).
    pub cluster_action: bool,
}

/// [`Api::flexible_from`] of an API without flexible versions.
pub const NEVER: i16 = i16::MAX;

/// `ApiVersions`, the one API whose header has to be read at any version.
pub const API_VERSIONS: i16 = 18;
/// `ControlledShutdown`, whose version 0 request has a header without a client id.
pub const CONTROLLED_SHUTDOWN: i16 = 7;

impl Api {
    /// Whether the schema has this version.
    pub const fn supports(&self, version: i16) -> bool {
        self.min_version <= version && version <= self.max_version
    }

    /// Whether this version uses compact lengths and tagged fields (KIP-482).
    pub const fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }

    /// Version of the header before a request of this version: 0 (no client id), 1, or 2 (tagged fields).
    pub const fn request_header_version(&self, version: i16) -> i16 {
        if self.is_flexible(version) {
            2
        } else if self.key == CONTROLLED_SHUTDOWN && version == 0 {
            0
        } else {
            1
        }
    }

    /// Version of the header before a response of this version: 0, or 1 (tagged fields).
    ///
    /// Always 0 for ApiVersions: its reader does not know yet what the broker speaks (KIP-511).
    pub const fn response_header_version(&self, version: i16) -> i16 {
        if self.is_flexible(version) && self.key != API_VERSIONS {
            1
        } else {
            0
        }
    }
}

/// The API with this key, if a ZooKeeper-mode 3.9 broker has it.
pub fn api(key: i16) -> Option<&'static Api> {
    // The keys 52–55, 59, 62–64 belong to KRaft, hence a search and not an index.
    APIS.binary_search_by_key(&key, |api| api.key).ok().map(|at| &APIS[at])
}

const fn row(
    key: i16,
    name: &'static str,
    min_version: i16,
    max_version: i16,
    flexible_from: i16,
    cluster_action: bool,
) -> Api {
    Api {
        key,
        name,
        min_version,
        max_version,
        flexible_from,
        cluster_action,
    }
}

/// All APIs, ascending by key.
#[rustfmt::skip]
pub static APIS: [Api; 62] = [
    //  key  name  versions  flexible from  cluster action
    row(0, "Produce", 0, 11, 9, false),
    row(1, "Fetch", 0, 17, 12, false),
    row(2, "ListOffsets", 0, 9, 6, false),
    row(3, "Metadata", 0, 12, 9, false),
    row(4, "LeaderAndIsr", 0, 7, 4, true),
    row(5, "StopReplica", 0, 4, 2, true),
    row(6, "UpdateMetadata", 0, 8, 6, true),
    row(7, "ControlledShutdown", 0, 3, 3, true),
    row(8, "OffsetCommit", 0, 9, 8, false),
    row(9, "OffsetFetch", 0, 9, 6, false),
    row(10, "FindCoordinator", 0, 6, 3, false),
    row(11, "JoinGroup", 0, 9, 6, false),
    row(12, "Heartbeat", 0, 4, 4, false),
    row(13, "LeaveGroup", 0, 5, 4, false),
    row(14, "SyncGroup", 0, 5, 4, false),
    row(15, "DescribeGroups", 0, 5, 5, false),
    row(16, "ListGroups", 0, 5, 3, false),
    row(17, "SaslHandshake", 0, 1, NEVER, false),
    row(18, "ApiVersions", 0, 4, 3, false),
    row(19, "CreateTopics", 0, 7, 5, false),
    row(20, "DeleteTopics", 0, 6, 4, false),
    row(21, "DeleteRecords", 0, 2, 2, false),
    row(22, "InitProducerId", 0, 5, 2, false),
    row(23, "OffsetForLeaderEpoch", 0, 4, 4, false),
    row(24, "AddPartitionsToTxn", 0, 5, 3, false),
    row(25, "AddOffsetsToTxn", 0, 4, 3, false),
    row(26, "EndTxn", 0, 4, 3, false),
    row(27, "WriteTxnMarkers", 0, 1, 1, true),
    row(28, "TxnOffsetCommit", 0, 4, 3, false),
    row(29, "DescribeAcls", 0, 3, 2, false),
    row(30, "CreateAcls", 0, 3, 2, false),
    row(31, "DeleteAcls", 0, 3, 2, false),
    row(32, "DescribeConfigs", 0, 4, 4, false),
    row(33, "AlterConfigs", 0, 2, 2, false),
    row(34, "AlterReplicaLogDirs", 0, 2, 2, false),
    row(35, "DescribeLogDirs", 0, 4, 2, false),
    row(36, "SaslAuthenticate", 0, 2, 2, false),
    row(37, "CreatePartitions", 0, 3, 2, false),
    row(38, "CreateDelegationToken", 0, 3, 2, false),
    row(39, "RenewDelegationToken", 0, 2, 2, false),
    row(40, "ExpireDelegationToken", 0, 2, 2, false),
    row(41, "DescribeDelegationToken", 0, 3, 2, false),
    row(42, "DeleteGroups", 0, 2, 2, false),
    row(43, "ElectLeaders", 0, 2, 2, false),
    row(44, "IncrementalAlterConfigs", 0, 1, 1, false),
    row(45, "AlterPartitionReassignments", 0, 0, 0, false),
    row(46, "ListPartitionReassignments", 0, 0, 0, false),
    row(47, "OffsetDelete", 0, 0, NEVER, false),
    row(48, "DescribeClientQuotas", 0, 1, 1, false),
    row(49, "AlterClientQuotas", 0, 1, 1, false),
    row(50, "DescribeUserScramCredentials", 0, 0, 0, false),
    row(51, "AlterUserScramCredentials", 0, 0, 0, false),
    row(56, "AlterPartition", 0, 3, 0, true),
    row(57, "UpdateFeatures", 0, 1, 0, true),
    row(58, "Envelope", 0, 0, 0, true),
    row(60, "DescribeCluster", 0, 1, 0, false),
    row(61, "DescribeProducers", 0, 0, 0, false),
    row(65, "DescribeTransactions", 0, 0, 0, false),
    row(66, "ListTransactions", 0, 1, 0, false),
    row(67, "AllocateProducerIds", 0, 0, 0, true),
    row(68, "ConsumerGroupHeartbeat", 0, 0, 0, false),
    row(69, "ConsumerGroupDescribe", 0, 0, 0, false),
];
