//! Records against those that a real Kafka 3.9.1 wrote (`consumer_offsets-0.txt`: batch offset, kind, producer id, base
//! sequence, key, value), and against older versions as their schemas say.

use bytes::{BufMut, Bytes, BytesMut};
use model::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId, Sequence, TopicPartition, VerificationGuard};
use proptest::prelude::*;

use super::super::{
    CommitRequest, CommittedOffset, Effect, FetchedOffset, GroupConfig, GroupState, Groups, Key, Loader, Now, Record,
    RecordError, StoredGroup, StoredMember, Ticket, TransactionalCommitRequest, WriteId,
};

const GOLDEN: &str = include_str!("consumer_offsets-0.txt");
const NOW: Now = Now {
    wall: Millis(1_795_250_380_000),
    steady: Millis(0),
};

struct Line {
    batch_offset: Offset,
    kind: &'static str,
    producer_id: ProducerId,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

fn golden() -> Vec<Line> {
    GOLDEN
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            Line {
                batch_offset: Offset(fields[0].parse().unwrap()),
                kind: fields[1],
                producer_id: ProducerId(fields[2].parse().unwrap()),
                key: hex(fields[4]),
                value: (fields[5] != "-").then(|| hex(fields[5])),
            }
        })
        .collect()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

fn load(lines: &[Line]) -> Loader {
    let mut loader = Loader::new();
    for line in lines {
        let transactional = (line.kind == "txn").then_some(line.producer_id);
        if line.kind == "control" {
            // Version 0 of the key, then the type: 0 aborts, 1 commits.
            loader.complete_transaction(line.producer_id, line.key[3] == 1, line.batch_offset);
        } else {
            loader
                .replay(line.batch_offset, transactional, &line.key, line.value.as_deref())
                .unwrap();
        }
    }
    loader
}

#[test]
fn records_of_a_real_broker_are_written_back_to_the_byte() {
    for line in golden().iter().filter(|line| line.kind != "control") {
        let key = Key::decode(&line.key).unwrap();
        assert_eq!(key.encode().unwrap().unwrap(), line.key);
        let value = line.value.as_deref().unwrap();
        let again = match key {
            Key::Offset { .. } => CommittedOffset::decode(value).unwrap().encode().unwrap(),
            Key::Group { .. } => StoredGroup::decode(value).unwrap().encode().unwrap(),
            Key::Unknown(version) => panic!("key version {version}"),
        };
        assert_eq!(again, value, "at {}", line.batch_offset);
    }
}

#[test]
fn the_log_of_a_real_broker_is_loaded() {
    let groups = load(&golden()).finish(GroupConfig::default(), NOW);
    let mut ids: Vec<_> = groups
        .list()
        .map(|group| format!("{} {} {}", group.group_id, group.protocol_type, group.state))
        .collect();
    ids.sort();
    assert_eq!(ids, ["eos-group  Empty", "grp-1 consumer Empty"]);
    let partition = TopicPartition::new("txn", 0);
    let check = |group: &str, offset: i64, epoch: i32| {
        let fetched = groups.fetch_offsets(group, std::slice::from_ref(&partition), true);
        let FetchedOffset::Committed(committed) = &fetched[0] else {
            panic!("{group}: {fetched:?}")
        };
        assert_eq!(
            (committed.offset, committed.leader_epoch),
            (Offset(offset), LeaderEpoch(epoch)),
            "{group}"
        );
    };
    check("eos-group", 3, -1);
    check("grp-1", 38, 0);
}

#[test]
fn a_group_in_the_middle_of_its_life_is_loaded_stable() {
    let groups = load(&golden()[..5]).finish(GroupConfig::default(), NOW);
    let group = groups.describe("grp-1");
    assert_eq!(group.state, GroupState::Stable);
    assert_eq!(&*group.protocol, "range");
    assert_eq!(&*group.members[0].client_host, "/127.0.0.1");
    assert!(group.members[0].member_id.starts_with("consumer-grp-1-1-faf71e4a"));
    assert!(!group.members[0].assignment.is_empty());
}

#[test]
fn offsets_of_an_open_transaction_are_pending_and_those_of_an_aborted_one_are_gone() {
    let check = |name: &str, lines: &[Line], abort: bool, expected: &str| {
        let mut loader = load(lines);
        if abort {
            loader.complete_transaction(ProducerId(1004), false, Offset(i64::MAX));
        }
        let groups = loader.finish(GroupConfig::default(), NOW);
        let fetched = groups.fetch_offsets("eos-group", &[TopicPartition::new("txn", 0)], true);
        let seen = match fetched[0] {
            FetchedOffset::Committed(_) => "committed",
            FetchedOffset::None => "none",
            FetchedOffset::Unstable => "unstable",
        };
        assert_eq!(seen, expected, "{name}");
    };
    check("open", &golden()[..1], false, "unstable");
    check("aborted", &golden()[..1], true, "none");
    check("committed", &golden()[..2], false, "committed");
}

/// The first record of the log: the offsets that a transactional producer commits for a group, which it sent as no member.
#[test]
fn a_commit_in_a_transaction_makes_the_record_of_the_real_broker() {
    let line = golden().swap_remove(0);
    let Ok(Key::Offset { group_id, partition }) = Key::decode(&line.key) else {
        panic!("not an offset")
    };
    let value = line.value.unwrap();
    let mut groups = Groups::new(GroupConfig::default(), NOW);
    let request = TransactionalCommitRequest {
        commit: CommitRequest {
            group_id,
            generation_id: -1,
            member_id: "".into(),
            group_instance_id: None,
            offsets: vec![(partition, CommittedOffset::decode(&value).unwrap())],
        },
        producer_id: line.producer_id,
        producer_epoch: ProducerEpoch(0),
        verification: VerificationGuard::NONE,
    };
    groups.commit_transactional(Ticket(1), request, NOW);
    let effects = groups.take_effects();
    let [Effect::Append(_, batch)] = &effects[..] else {
        panic!("{effects:?}")
    };
    let written = Record {
        key: line.key.into(),
        value: Some(value.into()),
    };
    assert_eq!(batch.records, [written]);
    assert_eq!(batch.producer, Some((line.producer_id, ProducerEpoch(0))));
    assert_eq!(batch.base_sequence, Sequence(0));
}

#[test]
fn a_tombstone_takes_its_key_away() {
    let mut lines = golden();
    for mut line in golden().into_iter().skip(29) {
        line.value = None;
        lines.push(line);
    }
    let groups = load(&lines).finish(GroupConfig::default(), NOW);
    assert_eq!(
        groups
            .list()
            .map(|group| group.group_id.to_string())
            .collect::<Vec<_>>(),
        ["eos-group"]
    );
}

fn offset(epoch: i32, metadata: &str, expire: Option<i64>) -> CommittedOffset {
    CommittedOffset {
        offset: Offset(42),
        leader_epoch: LeaderEpoch(epoch),
        metadata: metadata.into(),
        commit_timestamp: Millis(1_000),
        expire_timestamp: expire.map(Millis),
    }
}

#[test]
fn offsets_of_every_version_are_read() {
    let check = |name: &str, bytes: &[u8], expected: Result<CommittedOffset, RecordError>| {
        assert_eq!(CommittedOffset::decode(bytes), expected, "{name}");
    };
    let at = b"\0\0\0\0\0\0\0\x2a";
    let time = b"\0\0\0\0\0\0\x03\xe8";
    let later = b"\0\0\0\0\0\0\x07\xd0";
    let none = &[0xff; 8];
    check(
        "version 0",
        &[b"\0\0", &at[..], b"\0\x01m", time].concat(),
        Ok(offset(-1, "m", None)),
    );
    check(
        "version 1",
        &[b"\0\x01", &at[..], b"\0\x01m", time, later].concat(),
        Ok(offset(-1, "m", Some(2_000))),
    );
    check(
        "version 1, no expiry",
        &[b"\0\x01", &at[..], b"\0\x01m", time, none].concat(),
        Ok(offset(-1, "m", None)),
    );
    check(
        "version 2",
        &[b"\0\x02", &at[..], b"\0\x01m", time].concat(),
        Ok(offset(-1, "m", None)),
    );
    check(
        "version 3",
        &[b"\0\x03", &at[..], b"\0\0\0\x07\0\x01m", time].concat(),
        Ok(offset(7, "m", None)),
    );
    check(
        "version 4",
        &[b"\0\x04", &at[..], b"\0\0\0\x07\x02m", time, b"\0"].concat(),
        Ok(offset(7, "m", None)),
    );
    check("version 5", b"\0\x05", Err(RecordError::UnknownVersion(5)));
    check("cut", &[b"\0\x03", &at[..4]].concat(), Err(RecordError::Truncated));
    check(
        "null metadata",
        &[b"\0\0", &at[..], b"\xff\xff", time].concat(),
        Err(RecordError::Null),
    );
    check(
        "not UTF-8",
        &[b"\0\0", &at[..], b"\0\x01\xff", time].concat(),
        Err(RecordError::NotUtf8),
    );
}

#[test]
fn groups_of_every_version_are_read() {
    let string = |out: &mut BytesMut, text: &str, flexible: bool| {
        if flexible {
            out.put_u8(text.len() as u8 + 1);
        } else {
            out.put_i16(text.len() as i16);
        }
        out.put_slice(text.as_bytes());
    };
    for version in 0..=4i16 {
        let flexible = version == 4;
        let mut out = BytesMut::new();
        out.put_i16(version);
        string(&mut out, "consumer", flexible);
        out.put_i32(3);
        string(&mut out, "range", flexible);
        string(&mut out, "m-1", flexible);
        if version >= 2 {
            out.put_i64(99);
        }
        if flexible {
            out.put_u8(2)
        } else {
            out.put_i32(1)
        }
        string(&mut out, "m-1", flexible);
        if version >= 3 {
            string(&mut out, "instance", flexible);
        }
        string(&mut out, "client", flexible);
        string(&mut out, "/h", flexible);
        if version >= 1 {
            out.put_i32(60_000);
        }
        out.put_i32(10_000);
        for bytes in [&b"sub"[..], b"as"] {
            if flexible {
                out.put_u8(bytes.len() as u8 + 1);
            } else {
                out.put_i32(bytes.len() as i32);
            }
            out.put_slice(bytes);
        }
        if flexible {
            out.put_slice(b"\x01\x00\x02xx\0");
        }
        let group = StoredGroup::decode(&out).unwrap();
        let expected = StoredGroup {
            protocol_type: "consumer".into(),
            generation_id: 3,
            protocol_name: Some("range".into()),
            leader_id: Some("m-1".into()),
            current_state_timestamp: Millis(if version >= 2 { 99 } else { -1 }),
            members: vec![StoredMember {
                member_id: "m-1".into(),
                group_instance_id: (version >= 3).then(|| "instance".into()),
                client_id: "client".into(),
                client_host: "/h".into(),
                rebalance_timeout_ms: if version >= 1 { 60_000 } else { 10_000 },
                session_timeout_ms: 10_000,
                subscription: Bytes::from_static(b"sub"),
                assignment: Bytes::from_static(b"as"),
            }],
        };
        assert_eq!(group, expected, "version {version}");
    }
}

#[test]
fn a_count_that_the_bytes_cannot_hold_is_refused_before_anything_is_allocated() {
    let mut bytes = StoredGroup {
        protocol_type: "".into(),
        generation_id: 1,
        protocol_name: None,
        leader_id: None,
        current_state_timestamp: Millis(0),
        members: Vec::new(),
    }
    .encode()
    .unwrap()
    .to_vec();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&i32::MAX.to_be_bytes());
    assert_eq!(StoredGroup::decode(&bytes), Err(RecordError::BadLength));
}

#[test]
fn keys_of_the_newer_protocol_are_passed_over() {
    assert_eq!(Key::decode(b"\0\x03\0\x01g"), Ok(Key::Unknown(3)));
    let mut loader = Loader::new();
    loader
        .replay(Offset(0), None, b"\0\x03\0\x01g", Some(b"whatever"))
        .unwrap();
    assert_eq!(loader.finish(GroupConfig::default(), NOW).list().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_offset_is_read_as_it_was_written(
        offset in any::<i64>(), epoch in any::<i32>(), metadata in ".{0,20}", time in any::<i64>(),
        expire in proptest::option::of(0i64..),
    ) {
        let value = CommittedOffset {
            offset: Offset(offset),
            // Version 1 has no leader epoch.
            leader_epoch: if expire.is_some() { LeaderEpoch::NONE } else { LeaderEpoch(epoch) },
            metadata: metadata.as_str().into(),
            commit_timestamp: Millis(time),
            expire_timestamp: expire.map(Millis),
        };
        prop_assert_eq!(CommittedOffset::decode(&value.encode().unwrap()), Ok(value));
    }

    #[test]
    fn mutilated_records_are_refused_without_a_panic(
        line in 0usize..31, cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(), bits in 1u8..,
    ) {
        let mut line = golden().swap_remove(line);
        for bytes in [Some(&mut line.key), line.value.as_mut()].into_iter().flatten() {
            let at = flip.index(bytes.len());
            bytes[at] ^= bits;
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        let mut loader = Loader::new();
        if loader.replay(Offset(0), None, &line.key, line.value.as_deref()).is_ok() {
            let groups = loader.finish(GroupConfig::default(), NOW);
            for group in groups.list() {
                groups.describe(&group.group_id);
            }
        }
    }
}

/// A commit of producer 7 that is in the log at `offset`, but not known to be replicated.
fn commit_placed(groups: &mut Groups, id: u64, partition: &TopicPartition, offset: i64) {
    let value = CommittedOffset {
        offset: Offset(100 + offset),
        leader_epoch: LeaderEpoch::NONE,
        metadata: "".into(),
        commit_timestamp: NOW.wall,
        expire_timestamp: None,
    };
    let request = TransactionalCommitRequest {
        commit: CommitRequest {
            group_id: "g".into(),
            generation_id: -1,
            member_id: "".into(),
            group_instance_id: None,
            offsets: vec![(partition.clone(), value)],
        },
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(0),
        verification: VerificationGuard::NONE,
    };
    groups.commit_transactional(Ticket(id), request, NOW);
    groups.placed(WriteId(id), Offset(offset));
}

fn committed(groups: &Groups, partition: &TopicPartition) -> Option<i64> {
    match &groups.fetch_offsets("g", std::slice::from_ref(partition), true)[0] {
        FetchedOffset::Committed(value) => Some(value.offset.0),
        FetchedOffset::None => None,
        FetchedOffset::Unstable => Some(-1),
    }
}

#[test]
fn a_marker_may_be_told_before_the_commit_in_front_of_it_is_known_to_be_replicated() {
    let mut groups = Groups::new(GroupConfig::default(), NOW);
    let partition = TopicPartition::new("t", 0);
    commit_placed(&mut groups, 1, &partition, 5);
    groups.complete_transaction(ProducerId(7), true, Offset(6));
    assert_eq!(committed(&groups, &partition), Some(105));
    groups.appended(WriteId(1), Ok(Offset(5)), NOW);
    assert_eq!(committed(&groups, &partition), Some(105));
    // What is committed later is later: the group does not stay where it was.
    commit_placed(&mut groups, 2, &partition, 7);
    groups.appended(WriteId(2), Ok(Offset(7)), NOW);
    groups.complete_transaction(ProducerId(7), true, Offset(8));
    assert_eq!(committed(&groups, &partition), Some(107));
}

#[test]
fn a_marker_told_late_does_not_end_the_next_transaction() {
    let mut groups = Groups::new(GroupConfig::default(), NOW);
    let partition = TopicPartition::new("t", 0);
    commit_placed(&mut groups, 1, &partition, 5);
    groups.complete_transaction(ProducerId(7), true, Offset(6));
    commit_placed(&mut groups, 2, &partition, 9);
    groups.complete_transaction(ProducerId(7), true, Offset(6));
    assert_eq!(committed(&groups, &partition), Some(-1), "pending");
    groups.complete_transaction(ProducerId(7), false, Offset(10));
    assert_eq!(committed(&groups, &partition), Some(105));
}
