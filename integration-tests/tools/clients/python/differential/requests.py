"""What is asked of both brokers, in order: (api, what is asked, fields of any version).

Fields are a dictionary, or a function of the version and of what is known of the broker that is asked (`known`). A field that
a version has not is left out; one that is not named here has its default.
"""

import records

GROUP = "g"
TOPIC = "t"


def topics(*names):
    return [{"name": name, "partitions": [{"partitionIndex": 0}]} for name in names]


def produce(name, data, **more):
    fields = {"acks": 1, "timeoutMs": 10_000, "topicData": [{"name": name, "partitionData": [{"index": 0, "records": data}]}]}
    return {**fields, **more}


def fetch(known, version, name, **more):
    partition = {"partition": 0, "fetchOffset": 0, "partitionMaxBytes": 1 << 20, "currentLeaderEpoch": -1, "lastFetchedEpoch": -1,
                 "logStartOffset": -1}
    partition.update(more.pop("partition", {}))
    fields = {"replicaId": -1, "maxWaitMs": 0, "minBytes": 0, "maxBytes": 1 << 20, "sessionId": 0, "sessionEpoch": -1, "rackId": "",
              "topics": [{"topic": name, "topicId": known["ids"].get(name, bytes(16)), "partitions": [partition]}]}
    return {**fields, **more}


def joining(version, known):
    return {"groupId": f"join-{version}", "sessionTimeoutMs": 10_000, "rebalanceTimeoutMs": 10_000, "memberId": "",
            "protocolType": "consumer", "protocols": [{"name": "range", "metadata": b"\0\0"}]}


def config(kind, name, *keys):
    return {"resourceType": kind, "resourceName": name, "configurationKeys": list(keys) or None}


TOPIC_RESOURCE, BROKER_RESOURCE = 2, 4

CASES = [
    ("ApiVersions", "what is served", {"clientSoftwareName": "differential", "clientSoftwareVersion": "1"}),
    ("ApiVersions", "a software name that is none", {"clientSoftwareName": "a b", "clientSoftwareVersion": "1"}),
    # Topics.
    ("CreateTopics", "a topic", lambda v, k: {"topics": [{"name": f"created-{v}", "numPartitions": 2, "replicationFactor": 1}], "timeoutMs": 10_000}),
    ("CreateTopics", "the same again", lambda v, k: {"topics": [{"name": f"created-{v}", "numPartitions": 2, "replicationFactor": 1}], "timeoutMs": 10_000}),
    ("CreateTopics", "defaults", lambda v, k: {"topics": [{"name": f"defaults-{v}", "numPartitions": -1, "replicationFactor": -1}], "timeoutMs": 10_000}),
    ("CreateTopics", "with configurations", lambda v, k: {"topics": [{"name": f"configured-{v}", "numPartitions": 1, "replicationFactor": 1,
        "configs": [{"name": "retention.ms", "value": "1000"}, {"name": "cleanup.policy", "value": "compact"}]}], "timeoutMs": 10_000}),
    ("CreateTopics", "assigned", lambda v, k: {"topics": [{"name": f"assigned-{v}", "numPartitions": -1, "replicationFactor": -1,
        "assignments": [{"partitionIndex": 0, "brokerIds": [1]}]}], "timeoutMs": 10_000}),
    ("CreateTopics", "bad ones", lambda v, k: {"topics": [
        {"name": "a b", "numPartitions": 1, "replicationFactor": 1},
        {"name": "", "numPartitions": 1, "replicationFactor": 1},
        {"name": "..", "numPartitions": 1, "replicationFactor": 1},
        {"name": f"none-{v}", "numPartitions": 0, "replicationFactor": 1},
        {"name": f"many-{v}", "numPartitions": 1, "replicationFactor": 2},
        {"name": f"both-{v}", "numPartitions": 1, "replicationFactor": 1, "assignments": [{"partitionIndex": 0, "brokerIds": [1]}]},
        {"name": f"gap-{v}", "numPartitions": -1, "replicationFactor": -1, "assignments": [{"partitionIndex": 1, "brokerIds": [1]}]},
        {"name": f"config-{v}", "numPartitions": 1, "replicationFactor": 1, "configs": [{"name": "no.such", "value": "1"}]},
        {"name": f"value-{v}", "numPartitions": 1, "replicationFactor": 1, "configs": [{"name": "retention.ms", "value": "x"}]},
        {"name": f"null-{v}", "numPartitions": 1, "replicationFactor": 1, "configs": [{"name": "retention.ms", "value": None}]},
    ], "timeoutMs": 10_000}),
    ("CreateTopics", "validated only", lambda v, k: {"topics": [{"name": f"only-{v}", "numPartitions": 1, "replicationFactor": 1}], "timeoutMs": 10_000, "validateOnly": v > 0}),
    ("CreateTopics", "nothing", {"timeoutMs": 10_000}),
    ("CreatePartitions", "more", lambda v, k: {"topics": [{"name": f"created-{v}", "count": 3, "assignments": None}], "timeoutMs": 10_000}),
    ("CreatePartitions", "bad ones", {"topics": [{"name": "created-5", "count": 1, "assignments": None}, {"name": "missing", "count": 9, "assignments": None},
        {"name": "created-6", "count": 9, "assignments": [{"brokerIds": [1]}]}, {"name": "created-7", "count": 3, "assignments": [{"brokerIds": [7]}]}], "timeoutMs": 10_000}),
    ("CreatePartitions", "validated only", {"topics": [{"name": "created-4", "count": 4, "assignments": None}], "timeoutMs": 10_000, "validateOnly": True}),
    ("Metadata", "all topics", lambda v, k: {"topics": [] if v == 0 else None, "allowAutoTopicCreation": False}),
    ("Metadata", "of a name that is none, made if missing", lambda v, k: {"topics": [{"name": "a b"}, {"name": ""}], "allowAutoTopicCreation": True}),
    ("Metadata", "twice", {"topics": [{"name": TOPIC}, {"name": TOPIC}], "allowAutoTopicCreation": False}),
    ("Metadata", "no topics", lambda v, k: {"topics": [{"name": TOPIC}] if v == 0 else [], "allowAutoTopicCreation": False}),
    # Before version 4 whoever asks for a topic that is missing gets it made, sooner or later.
    ("Metadata", "some", lambda v, k: {"topics": [{"name": name} for name in (TOPIC, "missing", "a b") if v >= 4 or name != "missing"], "allowAutoTopicCreation": False,
        "includeClusterAuthorizedOperations": True, "includeTopicAuthorizedOperations": True}),
    ("Metadata", "by id", lambda v, k: {"topics": [{"name": None, "topicId": k["ids"][TOPIC]}, {"name": None, "topicId": b"\7" * 16}] if v >= 12 else [{"name": TOPIC}], "allowAutoTopicCreation": False}),
    ("DescribeCluster", "it", {"includeClusterAuthorizedOperations": True}),
    ("DescribeCluster", "controllers", {"endpointType": 2}),
    ("DescribeCluster", "what is not", {"endpointType": 3}),
    # Records.
    ("Produce", "records", lambda v, k: produce(TOPIC, records.for_version(v))),
    ("Produce", "with acks=all", lambda v, k: produce(TOPIC, records.for_version(v), acks=-1)),
    ("Produce", "a compressed set", lambda v, k: produce("zipped", records.wrapped(1 if v == 2 else 0, records.TIMESTAMP, records.PAIRS) if v < 3 else records.for_version(v))),
    ("Produce", "a set of format 0", lambda v, k: produce("old", records.message(0, 0, 0, b"k", b"v"))),
    ("Produce", "a set of format 1", lambda v, k: produce("old", records.message(1, 0, 5, b"k", b"v"))),
    ("Produce", "a batch of format 2", lambda v, k: produce("old", records.for_version(9))),
    ("Produce", "nothing", lambda v, k: produce(TOPIC, b"")),
    # Not null: Kafka never answers that.
    ("Produce", "a cut message", lambda v, k: produce(TOPIC, records.for_version(v)[:-1])),
    ("Produce", "a bad checksum", lambda v, k: produce(TOPIC, records.for_version(v)[:-1] + b"x")),
    ("Produce", "no key to a compacted topic", lambda v, k: produce("compacted", records.message(1, 0, 0, None, b"v") if v < 3 else records.batch(0, [(None, b"v")]))),
    ("Produce", "an old timestamp", lambda v, k: produce("strict", records.message(1, 0, 5, None, b"v") if v < 3 else records.batch(5, [(None, b"v")]))),
    ("Produce", "to a topic of append time", lambda v, k: produce("appended", records.for_version(v))),
    ("Produce", "to a topic of zstd", lambda v, k: produce("zstd", records.for_version(v))),
    ("Produce", "elsewhere", lambda v, k: produce("missing", records.for_version(v))),
    ("Produce", "bad acks", lambda v, k: produce(TOPIC, records.for_version(v), acks=3)),
    ("Produce", "to an internal topic", lambda v, k: produce("__consumer_offsets", records.for_version(v))),
    ("Produce", "in a transaction that is not", lambda v, k: produce(TOPIC, records.batch(0, records.PAIRS, (1, 0, 0), 0x10), transactionalId="x")),
    ("Produce", "of a producer nobody knows", lambda v, k: produce("idempotent", records.batch(0, records.PAIRS, (1000 + v, 0, 5)))),
    ("Fetch", "all", lambda v, k: fetch(k, v, TOPIC)),
    ("Fetch", "what was compressed", lambda v, k: fetch(k, v, "zipped")),
    ("Fetch", "from within", lambda v, k: fetch(k, v, TOPIC, partition={"fetchOffset": 4})),
    ("Fetch", "of append time", lambda v, k: fetch(k, v, "appended")),
    ("Fetch", "of zstd", lambda v, k: fetch(k, v, "zstd")),
    ("Fetch", "of a topic without down-conversion", lambda v, k: fetch(k, v, "kept")),
    ("Fetch", "committed", lambda v, k: fetch(k, v, TOPIC, isolationLevel=1)),
    ("Fetch", "less than a batch", lambda v, k: fetch(k, v, TOPIC, partition={"partitionMaxBytes": 20})),
    ("Fetch", "the end", lambda v, k: fetch(k, v, "empty")),
    ("Fetch", "past the end", lambda v, k: fetch(k, v, TOPIC, partition={"fetchOffset": 1 << 40})),
    ("Fetch", "before the start", lambda v, k: fetch(k, v, TOPIC, partition={"fetchOffset": -1})),
    ("Fetch", "elsewhere", lambda v, k: fetch(k, v, "missing")),
    ("Fetch", "another partition", lambda v, k: fetch(k, v, TOPIC, partition={"partition": 7})),
    ("Fetch", "at a later epoch", lambda v, k: fetch(k, v, TOPIC, partition={"currentLeaderEpoch": 99})),
    ("Fetch", "in a session that is none", lambda v, k: fetch(k, v, TOPIC, sessionId=77, sessionEpoch=3)),
    ("Fetch", "a new session", lambda v, k: fetch(k, v, TOPIC, sessionId=0, sessionEpoch=0)),
    ("Fetch", "two of a topic", lambda v, k: fetch(k, v, TOPIC, topics=[{"topic": TOPIC, "topicId": k["ids"][TOPIC], "partitions": [
        {"partition": p, "fetchOffset": 0, "partitionMaxBytes": 100, "currentLeaderEpoch": -1, "lastFetchedEpoch": -1, "logStartOffset": -1} for p in (0, 1)]}])),
    ("Fetch", "as a follower that is none", lambda v, k: fetch(k, v, TOPIC, replicaId=-1 if v >= 15 else 77, replicaState={"replicaId": 77, "replicaEpoch": 1} if v >= 15 else {})),
    ("Fetch", "of an epoch that was not", lambda v, k: fetch(k, v, TOPIC, partition={"lastFetchedEpoch": 5, "currentLeaderEpoch": 0})),
    ("Fetch", "nothing", {"replicaId": -1, "maxWaitMs": 0, "minBytes": 0, "maxBytes": 1 << 20, "sessionId": 0, "sessionEpoch": -1}),
    ("Produce", "to two partitions", lambda v, k: {"acks": -1, "timeoutMs": 10_000, "topicData": [{"name": TOPIC, "partitionData": [
        {"index": 0, "records": records.for_version(v)}, {"index": 1, "records": records.for_version(v)}]}, {"name": "a b", "partitionData": [{"index": 0, "records": records.for_version(v)}]}]}),
    ("Produce", "no topics", {"acks": 1, "timeoutMs": 1000}),
    ("ListOffsets", "the end", {"replicaId": -1, "topics": [{"name": TOPIC, "partitions": [{"partitionIndex": 0, "timestamp": -1, "currentLeaderEpoch": -1, "maxNumOffsets": 1}]}]}),
    ("ListOffsets", "the start", {"replicaId": -1, "topics": [{"name": TOPIC, "partitions": [{"partitionIndex": 0, "timestamp": -2, "currentLeaderEpoch": -1, "maxNumOffsets": 10}]}]}),
    ("ListOffsets", "a time", {"replicaId": -1, "topics": [{"name": TOPIC, "partitions": [{"partitionIndex": 0, "timestamp": records.TIMESTAMP, "currentLeaderEpoch": -1, "maxNumOffsets": 10}]}]}),
    *[("ListOffsets", f"special {t}", {"replicaId": -1, "topics": [{"name": TOPIC, "partitions": [{"partitionIndex": 0, "timestamp": t, "currentLeaderEpoch": -1, "maxNumOffsets": 1}]}]}) for t in (-3, -4, -5, -6)],
    ("ListOffsets", "elsewhere", {"replicaId": -1, "topics": topics("missing")}),
    ("ListOffsets", "twice", {"replicaId": -1, "topics": [{"name": TOPIC, "partitions": [{"partitionIndex": 0, "timestamp": -1, "currentLeaderEpoch": -1, "maxNumOffsets": 1}] * 2}]}),
    ("OffsetForLeaderEpoch", "epoch 0", {"replicaId": -2, "topics": [{"topic": TOPIC, "partitions": [{"partition": 0, "currentLeaderEpoch": -1, "leaderEpoch": 0}]}]}),
    ("OffsetForLeaderEpoch", "a later one, and elsewhere", {"replicaId": -1, "topics": [
        {"topic": TOPIC, "partitions": [{"partition": 0, "currentLeaderEpoch": -1, "leaderEpoch": 9}, {"partition": 9, "currentLeaderEpoch": -1, "leaderEpoch": 0}]},
        {"topic": "missing", "partitions": [{"partition": 0, "currentLeaderEpoch": -1, "leaderEpoch": 0}]}]}),
    ("DeleteRecords", "some", lambda v, k: {"topics": [{"name": "deleted", "partitions": [{"partitionIndex": 0, "offset": 1 + v}]}], "timeoutMs": 10_000}),
    ("DeleteRecords", "too many", {"topics": [{"name": "deleted", "partitions": [{"partitionIndex": 0, "offset": 1 << 40}, {"partitionIndex": 9, "offset": 0}]},
        {"name": "missing", "partitions": [{"partitionIndex": 0, "offset": 0}]}], "timeoutMs": 10_000}),
    ("DeleteRecords", "all", {"topics": [{"name": "deleted", "partitions": [{"partitionIndex": 0, "offset": -1}]}], "timeoutMs": 10_000}),
    ("DescribeProducers", "of a topic", {"topics": [{"name": "idempotent", "partitionIndexes": [0]}, {"name": "missing", "partitionIndexes": [0]}, {"name": "a b", "partitionIndexes": [0]}]}),
    # Groups.
    ("FindCoordinator", "of a group", {"key": GROUP, "keyType": 0, "coordinatorKeys": [GROUP]}),
    ("FindCoordinator", "of a transaction", {"key": "x", "keyType": 1, "coordinatorKeys": ["x"]}),
    ("FindCoordinator", "of what is not", {"key": "x", "keyType": 7, "coordinatorKeys": ["x"]}),
    ("FindCoordinator", "of nothing", {"key": "", "keyType": 0, "coordinatorKeys": [""]}),
    ("FindCoordinator", "of a share", {"key": "x", "keyType": 2, "coordinatorKeys": ["x"]}),
    ("OffsetCommit", "an offset", lambda v, k: {"groupId": f"commit-{v}", "generationIdOrMemberEpoch": -1, "memberId": "", "retentionTimeMs": -1, "topics": [
        {"name": TOPIC, "partitions": [{"partitionIndex": 0, "committedOffset": 3, "commitTimestamp": -1, "committedMetadata": "m"}, {"partitionIndex": 9, "committedOffset": 3, "commitTimestamp": -1, "committedMetadata": None}]},
        {"name": "missing", "partitions": [{"partitionIndex": 0, "committedOffset": 3, "commitTimestamp": -1, "committedMetadata": ""}]}]}),
    ("OffsetCommit", "of a member that is none", {"groupId": GROUP, "generationIdOrMemberEpoch": 1, "memberId": "m", "retentionTimeMs": -1, "topics": [
        {"name": TOPIC, "partitions": [{"partitionIndex": 0, "committedOffset": 3, "commitTimestamp": -1, "committedMetadata": ""}]}]}),
    ("OffsetCommit", "too much metadata", {"groupId": GROUP, "generationIdOrMemberEpoch": -1, "memberId": "", "retentionTimeMs": -1, "topics": [
        {"name": TOPIC, "partitions": [{"partitionIndex": 0, "committedOffset": 3, "commitTimestamp": -1, "committedMetadata": "x" * 5000}]}]}),
    # Version 0 would make that a path in ZooKeeper, and fails at it.
    ("OffsetCommit", "for no group", lambda v, k: {"groupId": "" if v else GROUP, "generationIdOrMemberEpoch": -1, "memberId": "", "retentionTimeMs": -1, "topics": [
        {"name": TOPIC, "partitions": [{"partitionIndex": 0, "committedOffset": 3, "commitTimestamp": -1, "committedMetadata": ""}]}]}),
    ("OffsetFetch", "an offset", lambda v, k: {"groupId": f"commit-{min(v, 9)}", "topics": [{"name": TOPIC, "partitionIndexes": [0, 1]}, {"name": "missing", "partitionIndexes": [0]}],
        "groups": [{"groupId": f"commit-{v}", "topics": [{"name": TOPIC, "partitionIndexes": [0, 1]}, {"name": "missing", "partitionIndexes": [0]}], "memberEpoch": -1}]}),
    ("OffsetFetch", "all offsets", lambda v, k: {"groupId": f"commit-{min(v, 9)}", "topics": None if v >= 2 else [{"name": TOPIC, "partitionIndexes": [0]}],
        "groups": [{"groupId": f"commit-{v}", "topics": None, "memberEpoch": -1}, {"groupId": "missing", "topics": None, "memberEpoch": -1}]}),
    ("OffsetFetch", "of no group", lambda v, k: {"groupId": "" if v else GROUP, "topics": [{"name": TOPIC, "partitionIndexes": [0]}],
        "groups": [{"groupId": "", "topics": [{"name": TOPIC, "partitionIndexes": [0]}], "memberEpoch": -1}]}),
    ("OffsetFetch", "stable ones", lambda v, k: {"groupId": "commit-7", "topics": [{"name": TOPIC, "partitionIndexes": [0]}], "requireStable": v >= 7,
        "groups": [{"groupId": "commit-8", "topics": [{"name": TOPIC, "partitionIndexes": [0]}], "memberEpoch": -1}]}),
    ("JoinGroup", "a group", joining),
    ("JoinGroup", "with a session too short", lambda v, k: {**joining(v, k), "sessionTimeoutMs": 1}),
    ("JoinGroup", "without a name", lambda v, k: {**joining(v, k), "groupId": ""}),
    ("JoinGroup", "as a member that is none", lambda v, k: {**joining(v, k), "memberId": "nobody"}),
    ("JoinGroup", "without protocols", lambda v, k: {**joining(v, k), "groupId": "no-protocols", "protocols": []}),
    ("SyncGroup", "as nobody", {"groupId": GROUP, "generationId": 1, "memberId": "nobody", "protocolType": "consumer", "protocolName": "range"}),
    ("Heartbeat", "as nobody", {"groupId": GROUP, "generationId": 1, "memberId": "nobody"}),
    ("Heartbeat", "in no group", {"groupId": "", "generationId": 1, "memberId": "nobody"}),
    ("LeaveGroup", "as nobody", {"groupId": GROUP, "memberId": "nobody", "members": [{"memberId": "nobody", "groupInstanceId": None}, {"memberId": "", "groupInstanceId": "i"}]}),
    ("DescribeGroups", "some", {"groups": ["commit-5", "missing", ""], "includeAuthorizedOperations": True}),
    ("ListGroups", "all", {}),
    ("ListGroups", "empty ones", {"statesFilter": ["Empty", "empty", "no such"]}),
    ("ListGroups", "of a type", {"typesFilter": ["classic"]}),
    ("ListGroups", "of another type", {"typesFilter": ["consumer", "no such"]}),
    ("OffsetDelete", "an offset", {"groupId": "commit-5", "topics": [{"name": TOPIC, "partitions": [{"partitionIndex": 0}, {"partitionIndex": 9}]}, {"name": "missing", "partitions": [{"partitionIndex": 0}]}]}),
    ("OffsetDelete", "of no group", {"groupId": "missing", "topics": [{"name": TOPIC, "partitions": [{"partitionIndex": 0}]}]}),
    ("DeleteGroups", "some", lambda v, k: {"groupsNames": [f"commit-{v + 1}", "missing", ""]}),
    ("ConsumerGroupHeartbeat", "join", {"groupId": "new", "memberId": "", "memberEpoch": 0, "rebalanceTimeoutMs": 1000, "subscribedTopicNames": [TOPIC], "topicPartitions": []}),
    ("ConsumerGroupHeartbeat", "nothing", {}),
    ("ConsumerGroupDescribe", "some", {"groupIds": [GROUP, "missing"]}),
    ("ConsumerGroupDescribe", "nothing", {}),
    # Configurations, quotas, users.
    ("DescribeConfigs", "a topic's", {"resources": [config(TOPIC_RESOURCE, TOPIC)], "includeSynonyms": True, "includeDocumentation": False}),
    ("DescribeConfigs", "one of a topic's", {"resources": [config(TOPIC_RESOURCE, TOPIC, "retention.ms")], "includeSynonyms": False}),
    ("DescribeConfigs", "a broker's", {"resources": [config(BROKER_RESOURCE, "1")], "includeSynonyms": True}),
    ("DescribeConfigs", "all brokers'", {"resources": [config(BROKER_RESOURCE, "")], "includeSynonyms": True}),
    ("DescribeConfigs", "bad ones", {"resources": [config(TOPIC_RESOURCE, "missing"), config(TOPIC_RESOURCE, "a b"), config(BROKER_RESOURCE, "7"), config(BROKER_RESOURCE, "x"), config(77, "x"), config(16, "x"), config(32, "x")]}),
    ("DescribeConfigs", "a logger's", {"resources": [config(8, "1", "kafka.no.such")]}),
    ("AlterConfigs", "a topic's", lambda v, k: {"resources": [{"resourceType": 2, "resourceName": f"created-{v}", "configs": [{"name": "retention.ms", "value": "7"}]}]}),
    ("AlterConfigs", "bad ones", {"resources": [{"resourceType": 2, "resourceName": "created-0", "configs": [{"name": "retention.ms", "value": "x"}]},
        {"resourceType": 2, "resourceName": "missing", "configs": []}, {"resourceType": 4, "resourceName": "x", "configs": []}, {"resourceType": 77, "resourceName": "x", "configs": []}], "validateOnly": False}),
    ("IncrementalAlterConfigs", "a topic's", {"resources": [{"resourceType": 2, "resourceName": "created-3", "configs": [{"name": "retention.ms", "configOperation": 0, "value": "8"}]}]}),
    ("IncrementalAlterConfigs", "bad ones", {"resources": [{"resourceType": 2, "resourceName": "created-3", "configs": [{"name": "retention.ms", "configOperation": 2, "value": "8"}]},
        {"resourceType": 2, "resourceName": "created-4", "configs": [{"name": "retention.ms", "configOperation": 9, "value": "8"}]},
        {"resourceType": 2, "resourceName": "created-5", "configs": [{"name": "retention.ms", "configOperation": 0, "value": None}]},
        {"resourceType": 4, "resourceName": "1", "configs": [{"name": "no.such", "configOperation": 0, "value": "1"}]},
        {"resourceType": 4, "resourceName": "1", "configs": [{"name": "broker.id", "configOperation": 0, "value": "1"}]}]}),
    ("DescribeClientQuotas", "all", {"components": [], "strict": False}),
    ("DescribeClientQuotas", "of a user", {"components": [{"entityType": "user", "matchType": 0, "match": "u"}], "strict": True}),
    ("DescribeClientQuotas", "of what is not", {"components": [{"entityType": "x", "matchType": 0, "match": "u"}], "strict": True}),
    ("AlterClientQuotas", "a user's", {"entries": [{"entity": [{"entityType": "user", "entityName": "u"}], "ops": [{"key": "producer_byte_rate", "value": 1000.0, "remove": False}]}], "validateOnly": False}),
    ("AlterClientQuotas", "bad ones", {"entries": [{"entity": [{"entityType": "user", "entityName": "u"}], "ops": [{"key": "no_such", "value": 1.0, "remove": False}]},
        {"entity": [{"entityType": "x", "entityName": "u"}], "ops": []}, {"entity": [], "ops": []}], "validateOnly": True}),
    ("DescribeClientQuotas", "what was set", {"components": [{"entityType": "user", "matchType": 2, "match": None}], "strict": False}),
    ("DescribeUserScramCredentials", "all", {"users": None}),
    ("DescribeUserScramCredentials", "some", {"users": [{"name": "nobody"}, {"name": ""}, {"name": "twice"}, {"name": "twice"}]}),
    ("AlterUserScramCredentials", "some", {"deletions": [{"name": "nobody", "mechanism": 1}], "upsertions": [
        {"name": "s", "mechanism": 1, "iterations": 4096, "salt": b"salt", "saltedPassword": b"x" * 32}, {"name": "few", "mechanism": 1, "iterations": 1, "salt": b"s", "saltedPassword": b"p"},
        {"name": "odd", "mechanism": 9, "iterations": 4096, "salt": b"s", "saltedPassword": b"p"}, {"name": "", "mechanism": 1, "iterations": 4096, "salt": b"s", "saltedPassword": b"p"}]}),
    ("DescribeUserScramCredentials", "what was set", {"users": [{"name": "s"}]}),
    # Rights and tokens, where there are none.
    ("DescribeAcls", "all", {"resourceTypeFilter": 1, "patternTypeFilter": 1, "operation": 1, "permissionType": 1}),
    ("CreateAcls", "one", {"creations": [{"resourceType": 2, "resourceName": "t", "resourcePatternType": 3, "principal": "User:a", "host": "*", "operation": 3, "permissionType": 3}]}),
    ("DeleteAcls", "all", {"filters": [{"resourceTypeFilter": 1, "patternTypeFilter": 1, "operation": 1, "permissionType": 1}]}),
    ("CreateDelegationToken", "one", {"maxLifetimeMs": -1}),
    ("RenewDelegationToken", "one", {"hmac": b"x", "renewPeriodMs": -1}),
    ("ExpireDelegationToken", "one", {"hmac": b"x", "expiryTimePeriodMs": -1}),
    ("DescribeDelegationToken", "all", {"owners": None}),
    ("SaslHandshake", "where there is no SASL", {"mechanism": "PLAIN"}),
    # Replicas.
    ("DescribeLogDirs", "of a topic", {"topics": [{"topic": "empty", "partitions": [0]}]}),
    ("AlterReplicaLogDirs", "elsewhere", {"dirs": [{"path": "/no/such", "topics": [{"name": TOPIC, "partitions": [0]}, {"name": "missing", "partitions": [0]}]}]}),
    ("ElectLeaders", "preferred", {"electionType": 0, "topicPartitions": [{"topic": TOPIC, "partitions": [0, 9]}, {"topic": "missing", "partitions": [0]}], "timeoutMs": 10_000}),
    ("ElectLeaders", "all", {"electionType": 0, "topicPartitions": None, "timeoutMs": 10_000}),
    ("AlterPartitionReassignments", "some", {"timeoutMs": 10_000, "topics": [{"name": TOPIC, "partitions": [{"partitionIndex": 0, "replicas": None}, {"partitionIndex": 9, "replicas": [1]}]},
        {"name": "missing", "partitions": [{"partitionIndex": 0, "replicas": [1]}]}, {"name": "empty", "partitions": [{"partitionIndex": 0, "replicas": [1, 7]}]}]}),
    ("ListPartitionReassignments", "all", {"timeoutMs": 10_000, "topics": None}),
    ("ListPartitionReassignments", "some", {"timeoutMs": 10_000, "topics": [{"name": TOPIC, "partitionIndexes": [0, 9]}, {"name": "missing", "partitionIndexes": [0]}]}),
    # Producers and transactions.
    ("InitProducerId", "idempotent", {"transactionalId": None, "transactionTimeoutMs": 1000, "producerId": -1, "producerEpoch": -1}),
    ("InitProducerId", "transactional", lambda v, k: {"transactionalId": f"x-{v}", "transactionTimeoutMs": 60_000, "producerId": -1, "producerEpoch": -1}),
    ("InitProducerId", "with a bad timeout", lambda v, k: {"transactionalId": f"x-{v}", "transactionTimeoutMs": 1 << 30, "producerId": -1, "producerEpoch": -1}),
    ("InitProducerId", "without a name", {"transactionalId": "", "transactionTimeoutMs": 1000, "producerId": -1, "producerEpoch": -1}),
    ("InitProducerId", "with an id and no epoch", lambda v, k: {"transactionalId": "x", "transactionTimeoutMs": 1000, "producerId": 5 if v >= 3 else -1, "producerEpoch": -1}),
    ("AddPartitionsToTxn", "as nobody", {"v3AndBelowTransactionalId": "nobody", "v3AndBelowProducerId": 1, "v3AndBelowProducerEpoch": 0, "v3AndBelowTopics": [{"name": TOPIC, "partitions": [0]}],
        "transactions": [{"transactionalId": "nobody", "producerId": 1, "producerEpoch": 0, "verifyOnly": False, "topics": [{"name": TOPIC, "partitions": [0]}]}]}),
    ("AddPartitionsToTxn", "elsewhere", {"v3AndBelowTransactionalId": "nobody", "v3AndBelowProducerId": 1, "v3AndBelowProducerEpoch": 0, "v3AndBelowTopics": [{"name": "missing", "partitions": [0]}, {"name": TOPIC, "partitions": [0]}],
        "transactions": [{"transactionalId": "nobody", "producerId": 1, "producerEpoch": 0, "verifyOnly": True, "topics": [{"name": "missing", "partitions": [0]}, {"name": TOPIC, "partitions": [0]}]}]}),
    ("AddPartitionsToTxn", "with a producer of another time", lambda v, k: {"v3AndBelowTransactionalId": "x-0", "v3AndBelowProducerId": 987654, "v3AndBelowProducerEpoch": 0, "v3AndBelowTopics": [{"name": TOPIC, "partitions": [0]}],
        "transactions": [{"transactionalId": "x-0", "producerId": 987654, "producerEpoch": 0, "verifyOnly": v % 2 == 1, "topics": [{"name": TOPIC, "partitions": [0]}]}]}),
    ("EndTxn", "with a producer of another time", {"transactionalId": "x-1", "producerId": 987654, "producerEpoch": 0, "committed": False}),
    ("AddOffsetsToTxn", "as nobody", {"transactionalId": "nobody", "producerId": 1, "producerEpoch": 0, "groupId": GROUP}),
    ("TxnOffsetCommit", "as nobody", {"transactionalId": "nobody", "groupId": GROUP, "producerId": 1, "producerEpoch": 0, "topics": [{"name": TOPIC, "partitions": [{"partitionIndex": 0, "committedOffset": 1, "committedMetadata": ""}]},
        {"name": "missing", "partitions": [{"partitionIndex": 0, "committedOffset": 1, "committedMetadata": ""}]}]}),
    ("EndTxn", "as nobody", {"transactionalId": "nobody", "producerId": 1, "producerEpoch": 0, "committed": True}),
    ("WriteTxnMarkers", "as nobody", {"markers": [{"producerId": 1, "producerEpoch": 0, "transactionResult": False, "topics": [{"name": "markers", "partitionIndexes": [0, 9]}, {"name": "missing", "partitionIndexes": [0]}], "coordinatorEpoch": 0}]}),
    ("ListTransactions", "all", {}),
    ("ListTransactions", "filtered", {"stateFilters": ["Empty", "no such"], "producerIdFilters": [12345], "durationFilter": 1000}),
    ("DescribeTransactions", "some", {"transactionalIds": ["x-0", "missing", ""]}),
    # Features, and what only brokers send.
    ("UpdateFeatures", "some", {"timeoutMs": 1000, "featureUpdates": [{"feature": "metadata.version", "maxVersionLevel": 5, "upgradeType": 1}, {"feature": "x", "maxVersionLevel": 0, "upgradeType": 2, "allowDowngrade": True},
        {"feature": "y", "maxVersionLevel": 0, "upgradeType": 1}, {"feature": "z", "maxVersionLevel": 1, "upgradeType": 3}, {"feature": "w", "maxVersionLevel": 1, "upgradeType": 9}]}),
    ("UpdateFeatures", "nothing", {"timeoutMs": 1000}),
    ("Envelope", "something", {"requestData": b"\0\x12\0\0\0\0\0\1\xff\xff", "requestPrincipal": None, "clientHostAddress": b"\x7f\0\0\1"}),
    ("DescribeTransactions", "nothing", {}),
    ("LeaderAndIsr", "of an old controller", {"controllerId": 1, "controllerEpoch": 0, "brokerEpoch": 0}),
    ("StopReplica", "of an old controller", {"controllerId": 1, "controllerEpoch": 0, "brokerEpoch": 0}),
    ("UpdateMetadata", "of an old controller", {"controllerId": 1, "controllerEpoch": 0, "brokerEpoch": 0}),
    ("ControlledShutdown", "of a broker that is not", {"brokerId": 77, "brokerEpoch": -1}),
    ("AlterPartition", "of a broker that is not", {"brokerId": 77, "brokerEpoch": 0}),
    ("AllocateProducerIds", "of a broker that is not", {"brokerId": 77, "brokerEpoch": 0}),
    # The end of what was made.
    ("DeleteTopics", "some", lambda v, k: {"topicNames": [f"created-{v}", "missing"], "topics": [{"name": f"created-{v}"}, {"name": "missing"}, {"name": None, "topicId": b"\7" * 16}], "timeoutMs": 10_000}),
    ("DeleteTopics", "by id", lambda v, k: {"topicNames": [f"defaults-{v}"], "topics": [{"name": None, "topicId": k["ids"][f"defaults-{v}"]}], "timeoutMs": 10_000}),
]

# Made before anything is asked: name and configuration.
TOPICS = {
    TOPIC: {}, "zipped": {}, "old": {}, "empty": {}, "deleted": {}, "idempotent": {}, "markers": {},
    "compacted": {"cleanup.policy": "compact"},
    "strict": {"message.timestamp.before.max.ms": "1000"},
    "appended": {"message.timestamp.type": "LogAppendTime"},
    "zstd": {"compression.type": "zstd"},
    "kept": {"message.downconversion.enable": "false"},
}
