//! A leader's append plans: what is refused and with which words, and what the bytes are that go to disk.

mod follower;
mod legacy;

use model::{LeaderEpoch, ProducerEpoch, ProducerId, Sequence};
use proptest::prelude::*;

use super::*;
use crate::batch::{Batch, BatchBuilder, EndTransactionMarker, Entries, HEADER_LEN, Records};
use crate::compress::CompressionType;
use crate::producer::ProducerError;

const NOW: Millis = Millis(1_795_250_361_034);
const CLIENT: Origin = Origin::Client { api_version: 11 };

struct Log {
    topic_partition: TopicPartition,
    config: AppendConfig,
    producers: ProducerStates,
    log_end_offset: Offset,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            topic_partition: TopicPartition::new("probe", 0),
            config: AppendConfig::default(),
            producers: ProducerStates::default(),
            log_end_offset: Offset(100),
        }
    }
}

impl Log {
    fn configured(configure: impl FnOnce(&mut AppendConfig)) -> Self {
        let mut log = Self::default();
        configure(&mut log.config);
        log
    }

    fn tail(&self) -> Tail<'_> {
        Tail {
            topic_partition: &self.topic_partition,
            log_end_offset: self.log_end_offset,
            leader_epoch: LeaderEpoch(7),
            now: NOW,
            config: &self.config,
            producers: &self.producers,
            verification: None,
        }
    }

    fn plan(&self, bytes: &[u8], origin: Origin) -> Result<Plan, AppendError> {
        plan_leader(&Bytes::copy_from_slice(bytes), &self.tail(), origin)
    }

    fn write(&self, bytes: &[u8], origin: Origin) -> Write {
        match self.plan(bytes, origin).unwrap() {
            Plan::Write(write) => write,
            other => panic!("{other:?}"),
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        let write = self.write(bytes, CLIENT);
        self.log_end_offset = write.last_offset.next();
        self.producers.apply(&write.producers, self.log_end_offset);
    }
}

/// The bytes that a write puts on disk.
fn written(write: &Write) -> Vec<u8> {
    let bytes: Vec<u8> = write.slices().concat();
    assert_eq!(bytes.len(), write.total_bytes);
    assert_eq!(bytes.len(), write.batches.iter().map(PlannedBatch::size).sum::<usize>());
    bytes
}

fn three_records() -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    builder.push(NOW - Millis(20), Some(b"k0"), Some(b"v0"));
    builder.push(NOW - Millis(10), Some(b"k1"), Some(b"v1"));
    builder.push(NOW - Millis(30), Some(b"k2"), None);
    builder
}

fn built(codec: CompressionType) -> Vec<u8> {
    three_records()
        .build_compressed(Compression::of(codec))
        .unwrap()
        .to_vec()
}

/// Writes `patch` over the bytes at `at`, and the checksum anew.
fn patched(at: usize, patch: &[u8]) -> Vec<u8> {
    let mut bytes = built(CompressionType::None);
    bytes[at..at + patch.len()].copy_from_slice(patch);
    resealed(bytes)
}

fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut header = BatchHeader::read(&bytes).unwrap();
    header.set_crc(header.compute_crc(&bytes[HEADER_LEN..]));
    bytes[..HEADER_LEN].copy_from_slice(header.as_bytes());
    bytes
}

fn with_body(count: i32, body: &[u8]) -> Vec<u8> {
    let mut header = BatchHeader::empty();
    header.set_record_count(count);
    header.set_last_offset_delta(count - 1);
    header.set_size(HEADER_LEN + body.len());
    resealed([header.as_bytes(), body].concat())
}

/// The error's Kafka code, as the callers of this crate map it.
fn code(error: &AppendError) -> i16 {
    match error {
        AppendError::InvalidRequest(_) | AppendError::InvalidRecord(_) | AppendError::RecordsRejected { .. } => 87,
        AppendError::InvalidTimestamp { .. } => 32,
        AppendError::Framing(_) | AppendError::Corrupt { .. } | AppendError::CorruptMessage => 2,
        AppendError::Decompress(_) | AppendError::Compress(_) | AppendError::Unconvertible(_) => -1,
        AppendError::UnsupportedCompressionType { .. } => 76,
        AppendError::MessageTooLarge { .. } => 10,
        AppendError::RecordListTooLarge { .. } => 18,
        AppendError::Producer(ProducerError::OutOfOrderSequence { .. }) => 45,
        AppendError::Producer(ProducerError::InvalidProducerEpoch { .. }) => 47,
        AppendError::Producer(ProducerError::InvalidTransactionState { .. } | ProducerError::NotVerified { .. }) => 48,
        AppendError::Producer(ProducerError::CoordinatorFenced { .. }) => 52,
        AppendError::Producer(ProducerError::InvalidMarker { .. }) => 87,
        AppendError::OffsetsOutOfOrder { .. } | AppendError::UnexpectedOffset { .. } => -1,
    }
}

/// The answers that Kafka 3.9.1 gave to the same inputs: code, whether the log start offset was in it, message.
#[test]
fn bad_batches_are_refused_as_kafka_does() {
    let log = Log::default();
    let check_at = |name: &str, api_version: i16, bytes: &[u8], expected: (i16, bool, Option<&str>)| {
        let error = log.plan(bytes, Origin::Client { api_version }).expect_err(name);
        let found = (code(&error), error.knows_log_start_offset(), error.message());
        let (expected_code, start, message) = expected;
        assert_eq!(
            found,
            (expected_code, start, message.map(str::to_owned)),
            "{name}: {error}"
        );
        assert!(error.record_errors().is_empty(), "{name}");
    };
    let check = |name: &str, bytes: &[u8], expected| check_at(name, 8, bytes, expected);
    let good = built(CompressionType::None);
    let cut = &good[..good.len() - 3];
    let int = |value: i32| value.to_be_bytes();
    let short = "Record size 10 is less than the minimum record overhead (14)";
    let negative = "Record size -5 is less than the minimum record overhead (14)";

    check(
        "bad CRC",
        &[&good[..17], &[0, 0, 0, 0], &good[21..]].concat(),
        (2, false, None),
    );
    check(
        "magic 3",
        &patched(16, &[3]),
        (2, false, Some("Invalid magic found in record: 3")),
    );
    check("empty record set", &[], (87, false, None));
    check("two batches", &[good.clone(), good.clone()].concat(), (87, false, None));
    check("truncated", cut, (87, false, None));
    check("length 10", &patched(8, &int(10)), (2, false, Some(short)));
    check("length negative", &patched(8, &int(-5)), (2, false, Some(negative)));
    check("count 5 but 3 records", &patched(57, &int(5)), (87, true, None));
    check(
        "count 5 and last offset 4 but 3 records",
        &patched(23, &[int(4).as_slice(), &good[27..57], &int(5)].concat()),
        (87, true, None),
    );
    check(
        "count 2 and last offset 1 but 3 records",
        &patched(23, &[int(1).as_slice(), &good[27..57], &int(2)].concat()),
        (87, true, None),
    );
    check("count 0", &patched(57, &int(0)), (87, true, None));
    check("count negative", &patched(57, &int(-1)), (87, true, None));
    check("last offset delta 0", &patched(23, &int(0)), (87, true, None));
    check("last offset delta negative", &patched(23, &int(-1)), (87, true, None));
    check(
        "record length overruns",
        &patched(HEADER_LEN, &[0x7e]),
        (87, true, None),
    );
    check(
        "base offset 12345",
        &patched(0, &12345i64.to_be_bytes()),
        (87, true, None),
    );
    check("codec 5", &patched(22, &[5]), (-1, true, None));
    check("codec 7", &patched(22, &[7]), (-1, true, None));
    check("not gzip", &patched(22, &[1]), (-1, true, None));
    check("not lz4", &patched(22, &[3]), (-1, true, None));
    check("not zstd", &patched(22, &[4]), (-1, true, None));
    check_at("zstd in version 6", 6, &built(CompressionType::Zstd), (76, false, None));
    check("control batch", &patched(22, &[0x20]), (87, true, None));
    check(
        "producer id without sequence",
        &patched(43, &5i64.to_be_bytes()),
        (87, true, None),
    );

    let magic1 = include_bytes!("../../../testdata/batches/magic1-0/00000000000000000000.log");
    let mut bad_magic1 = magic1[..39].to_vec();
    bad_magic1[12] ^= 1;
    check_at("magic 1 with bad CRC in version 2", 2, &bad_magic1, (2, false, None));
    check_at("magic 1 in version 3", 3, &magic1[..39], (87, false, None));
    check("magic 1 in version 8", &magic1[..39], (87, false, None));
    check_at(
        "two batches in version 2",
        2,
        &[good.clone(), good.clone()].concat(),
        (87, true, None),
    );
}

#[test]
fn good_batches_are_taken_by_every_version() {
    let log = Log::default();
    let check = |name: &str, api_version: i16, bytes: &[u8]| {
        let write = log.write(bytes, Origin::Client { api_version });
        assert_eq!(
            (write.first_offset, write.last_offset),
            (Offset(100), Offset(102)),
            "{name}"
        );
    };
    let good = built(CompressionType::None);
    check("version 3", 3, &good);
    check("version 11", 11, &good);
    check("magic 2 in version 2", 2, &good);
    check("garbage after the batch", 8, &[good.as_slice(), &[1, 2, 3]].concat());
    check("leader epoch 77 in the batch", 8, &patched(12, &77i32.to_be_bytes()));
    for codec in [
        CompressionType::Gzip,
        CompressionType::Snappy,
        CompressionType::Lz4,
        CompressionType::Zstd,
    ] {
        check(codec.name(), 7, &built(codec));
    }
    assert!(matches!(
        log.plan(&[], Origin::Client { api_version: 2 }),
        Ok(Plan::Empty)
    ));
}

#[test]
fn a_batch_is_patched_in_its_header_alone() {
    let log = Log::default();
    let bytes = Bytes::from(built(CompressionType::None));
    let Plan::Write(write) = plan_leader(&bytes, &log.tail(), CLIENT).unwrap() else {
        panic!("a write")
    };
    let disk = written(&write);
    let mut expected = bytes.to_vec();
    expected[..8].copy_from_slice(&100i64.to_be_bytes());
    expected[12..16].copy_from_slice(&7i32.to_be_bytes());
    assert_eq!(disk, expected, "offset and epoch, nothing else");
    assert_eq!(
        write.batches[0].body.as_ptr(),
        bytes[HEADER_LEN..].as_ptr(),
        "the records are not copied"
    );
    assert_eq!(
        (write.max_timestamp, write.offset_of_max_timestamp),
        (NOW - Millis(10), Offset(102))
    );
    assert_eq!((write.record_count, write.log_append_time), (3, None));
    assert_eq!(
        write.epoch_starts().collect::<Vec<_>>(),
        [(LeaderEpoch(7), Offset(100))]
    );
}

#[test]
fn a_wrong_maximum_timestamp_is_put_right() {
    let wrong = patched(35, &0i64.to_be_bytes());
    let disk = written(&Log::default().write(&wrong, CLIENT));
    let batch = Batch::new(&disk).unwrap();
    assert_eq!(batch.max_timestamp(), NOW - Millis(10));
    assert!(batch.is_valid());
}

#[test]
fn log_append_time_is_stamped() {
    for codec in [CompressionType::None, CompressionType::Zstd] {
        let log = Log::configured(|config| config.timestamp_type = TimestampType::LogAppendTime);
        let write = log.write(&built(codec), CLIENT);
        assert_eq!((write.log_append_time, write.max_timestamp), (Some(NOW), NOW));
        let disk = written(&write);
        let batch = Batch::new(&disk).unwrap();
        assert_eq!(
            (batch.timestamp_type(), batch.max_timestamp()),
            (TimestampType::LogAppendTime, NOW)
        );
        assert!(batch.is_valid());
        let mut scratch = Vec::new();
        assert!(
            batch
                .records(&mut scratch, 1000)
                .unwrap()
                .all(|record| record.unwrap().timestamp == NOW)
        );
    }
}

#[test]
fn records_are_held_against_the_topics_rules() {
    #[derive(Debug, PartialEq)]
    enum Outcome {
        Taken,
        Refused(i16, Vec<(i32, String)>),
    }
    let check = |name: &str, log: &Log, bytes: &[u8], expected: Outcome| {
        let found = match log.plan(bytes, CLIENT) {
            Ok(_) => Outcome::Taken,
            Err(error) => {
                assert!(error.knows_log_start_offset() && error.message().is_some(), "{name}");
                let errors = error
                    .record_errors()
                    .iter()
                    .map(|refusal| (refusal.batch_index, refusal.message.clone()));
                Outcome::Refused(code(&error), errors.collect())
            }
        };
        assert_eq!(found, expected, "{name}");
    };
    let good = built(CompressionType::None);
    let keyless = |codec| {
        let mut builder = three_records();
        builder.push(NOW, None, Some(b"v3"));
        builder.build_compressed(Compression::of(codec)).unwrap()
    };
    let compacted = Log::configured(|config| config.compacted = true);
    let no_key = "Compacted topic cannot accept message without key in topic partition probe-0";
    check("keys in a compacted topic", &compacted, &good, Outcome::Taken);
    for codec in [CompressionType::None, CompressionType::Snappy] {
        let expected = Outcome::Refused(87, vec![(3, no_key.to_owned())]);
        check("null key in a compacted topic", &compacted, &keyless(codec), expected);
        check("null key elsewhere", &Log::default(), &keyless(codec), Outcome::Taken);
    }

    let range = |offset: i64, age: i64, before: i64, after: i64| {
        let timestamp = NOW - Millis(age);
        format!(
            "Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should be within [{}, {}]",
            NOW.0 - before,
            NOW.0 + after
        )
    };
    let limited = |before: i64, after: i64| {
        Log::configured(|config| {
            config.timestamp_before_max = Millis(before);
            config.timestamp_after_max = Millis(after);
        })
    };
    check("old enough", &limited(30, 0), &good, Outcome::Taken);
    check(
        "one too old",
        &limited(29, 0),
        &good,
        Outcome::Refused(32, vec![(2, range(2, 30, 29, 0))]),
    );
    let two = vec![(0, range(0, 20, 10, 0)), (2, range(2, 30, 10, 0))];
    check("two too old", &limited(10, 0), &good, Outcome::Refused(32, two));
    let mut future = BatchBuilder::new();
    future.push(NOW + Millis(6), None, None);
    let future = future.build();
    check("in the future", &limited(0, 6), &future, Outcome::Taken);
    check(
        "too far in the future",
        &limited(0, 5),
        &future,
        Outcome::Refused(32, vec![(0, range(0, -6, 0, 5))]),
    );
    let mut none = BatchBuilder::new();
    none.push(Millis::NONE, None, None);
    check("no timestamp", &limited(0, 0), &none.build(), Outcome::Taken);
    let appended = Log::configured(|config| {
        config.timestamp_type = TimestampType::LogAppendTime;
        config.timestamp_before_max = Millis(0);
    });
    check("old, but the append's time counts", &appended, &good, Outcome::Taken);

    let claimed = three_records().log_append_time(NOW).build();
    let errors = |_: ()| {
        (0..3)
            .map(|i| {
                let value = if i == 2 { 0 } else { 2 };
                let text = format!(
                    "Invalid timestamp type in message DefaultRecord(offset={i}, timestamp={NOW}, key=2 bytes, \
                     value={value} bytes). Producer should not set timestamp type to LogAppendTime."
                );
                (i, text)
            })
            .collect()
    };
    check(
        "a producer that claims LogAppendTime",
        &appended,
        &claimed,
        Outcome::Refused(32, errors(())),
    );
}

#[test]
fn a_rejection_names_three_records_and_counts_all() {
    let log = Log::configured(|config| config.compacted = true);
    let mut builder = BatchBuilder::new();
    for _ in 0..5000 {
        builder.push(NOW, None, None);
    }
    let error = log.plan(&builder.build(), CLIENT).unwrap_err();
    assert_eq!(error.record_errors().len(), AppendError::RECORD_ERRORS_MAX);
    let one = |i| {
        format!(
            "RecordError(batchIndex={i}, message='Compacted topic cannot accept message without key in topic partition \
             probe-0')"
        )
    };
    let expected = format!(
        "One or more records have been rejected due to 5000 record errors in total, and only showing the first three \
         errors at most: [{}, {}, {}]",
        one(0),
        one(1),
        one(2)
    );
    assert_eq!(error.message(), Some(expected));
}

#[test]
fn sizes_are_limited() {
    let good = built(CompressionType::None);
    let check = |name: &str, max_message_bytes: usize, segment_bytes: usize, expected: Option<i16>| {
        let log = Log::configured(|config| {
            config.max_message_bytes = max_message_bytes;
            config.segment_bytes = segment_bytes;
        });
        let found = log.plan(&good, CLIENT).err().map(|error| code(&error));
        assert_eq!(found, expected, "{name}");
    };
    check("fits", good.len(), good.len(), None);
    check("larger than max.message.bytes", good.len() - 1, 1000, Some(10));
    check("larger than segment.bytes", 1000, good.len() - 1, Some(18));
}

#[test]
fn a_topics_codec_replaces_the_producers() {
    use CompressionType::{Gzip, Lz4, None, Snappy, Zstd};
    for source in [None, Gzip, Snappy, Lz4, Zstd] {
        for target in [None, Gzip, Snappy, Lz4, Zstd] {
            let log = Log::configured(|config| config.compression = Some(Compression::of(target)));
            let sent = built(source);
            let write = log.write(&sent, CLIENT);
            let disk = written(&write);
            let batch = Batch::new(&disk).unwrap();
            assert!(batch.is_valid(), "{source:?} → {target:?}");
            assert_eq!(batch.compression(), Some(target));
            assert_eq!((batch.base_offset(), batch.last_offset()), (Offset(100), Offset(102)));
            assert_eq!(batch.max_timestamp(), NOW - Millis(10));
            if source == target {
                assert_eq!(&disk[HEADER_LEN..], &sent[HEADER_LEN..], "not compressed anew");
            }
            let mut scratch = Vec::new();
            let keys: Vec<_> = batch
                .records(&mut scratch, 1000)
                .unwrap()
                .map(|record| record.unwrap().key)
                .collect();
            assert_eq!(
                keys,
                [Some(b"k0".as_slice()), Some(b"k1"), Some(b"k2")],
                "{source:?} → {target:?}"
            );
        }
    }
}

#[test]
fn what_grows_beyond_the_limit_when_compressed_anew_is_refused() {
    let mut builder = BatchBuilder::new();
    builder.push(NOW, None, Some(&[7; 10_000]));
    let small = builder
        .build_compressed(Compression::of(CompressionType::Gzip))
        .unwrap();
    let log = Log::configured(|config| {
        config.compression = Some(Compression::None);
        config.max_message_bytes = 5000;
    });
    assert_eq!(code(&log.plan(&small, CLIENT).unwrap_err()), 10);
}

#[test]
fn a_bomb_is_refused() {
    let mut builder = BatchBuilder::new();
    builder.push(NOW, None, Some(&vec![0; 1 << 20]));
    for codec in [
        CompressionType::Gzip,
        CompressionType::Snappy,
        CompressionType::Lz4,
        CompressionType::Zstd,
    ] {
        let bomb = builder.clone().build_compressed(Compression::of(codec)).unwrap();
        let log = Log::configured(|config| config.max_decompressed_bytes = 1 << 18);
        assert_eq!(code(&log.plan(&bomb, CLIENT).unwrap_err()), -1, "{codec:?}");
        assert!(Log::default().plan(&bomb, CLIENT).is_ok(), "{codec:?}");
    }
}

#[test]
fn offsets_inside_that_are_not_consecutive_are_put_right() {
    for codec in [CompressionType::None, CompressionType::Lz4] {
        let mut builder = BatchBuilder::new();
        for (i, delta) in [0, 300, 2].into_iter().enumerate() {
            let value = [i as u8; 100];
            builder.push_at(delta, NOW - Millis(i as i64), Some(b"k"), Some(&value), &[(b"h", None)]);
        }
        let mut bytes = builder.build_compressed(Compression::of(codec)).unwrap().to_vec();
        bytes[23..27].copy_from_slice(&2i32.to_be_bytes());
        let disk = written(&Log::default().write(&resealed(bytes), CLIENT));
        let batch = Batch::new(&disk).unwrap();
        assert!(batch.is_valid());
        let mut scratch = Vec::new();
        for (i, record) in batch.records(&mut scratch, 10_000).unwrap().enumerate() {
            let record = record.unwrap();
            assert_eq!(record.offset, Offset(100 + i as i64), "{codec:?}");
            assert_eq!(record.value, Some([i as u8; 100].as_slice()));
            assert_eq!(record.timestamp, NOW - Millis(i as i64));
            assert_eq!(record.headers.len(), 1);
        }
    }
}

fn sent(producer_id: i64, epoch: i16, sequence: i32) -> Vec<u8> {
    let producer =
        |builder: BatchBuilder| builder.producer(ProducerId(producer_id), ProducerEpoch(epoch), Sequence(sequence));
    producer(three_records()).build().to_vec()
}

/// The conversation of the same name in the captured answers.
#[test]
fn idempotent_producers_are_answered_as_kafka_does() {
    let mut log = Log::default();
    let refused = |log: &Log, bytes: &[u8]| code(&log.plan(bytes, CLIENT).unwrap_err());
    log.append(&sent(4000, 0, 0));
    match log.plan(&sent(4000, 0, 0), CLIENT).unwrap() {
        Plan::Duplicate(duplicate) => {
            let expected = DuplicateBatch {
                first_offset: Offset(100),
                last_offset: Offset(102),
                timestamp: NOW - Millis(10),
            };
            assert_eq!(duplicate, expected);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(refused(&log, &sent(4000, 0, 5)), 45, "sequence gap");
    assert_eq!(refused(&log, &sent(4000, 1, 3)), 45, "epoch up, sequence 3");
    log.append(&sent(4000, 1, 0));
    assert_eq!(refused(&log, &sent(4000, 0, 3)), 47, "old epoch");
    log.append(&sent(4001, 0, 9));
    assert_eq!(log.log_end_offset, Offset(109));
}

#[test]
fn the_coordinator_writes_markers() {
    let mut log = Log::default();
    let transactional = three_records()
        .producer(ProducerId(1), ProducerEpoch(0), Sequence(0))
        .transactional(true)
        .build();
    log.append(&transactional);
    assert_eq!(log.producers.first_unstable_offset(), Some(Offset(100)));
    let marker = EndTransactionMarker {
        committed: false,
        coordinator_epoch: 2,
    };
    // A topic that compresses leaves markers alone.
    log.config.compression = Some(Compression::of(CompressionType::Zstd));
    let bytes = BatchBuilder::end_transaction(ProducerId(1), ProducerEpoch(0), NOW, marker);
    assert_eq!(code(&log.plan(&bytes, CLIENT).unwrap_err()), 87);
    let write = log.write(&bytes, Origin::Coordinator);
    let disk = written(&write);
    let batch = Batch::new(&disk).unwrap();
    assert!(batch.is_control() && batch.is_valid());
    assert_eq!(EndTransactionMarker::of_batch(&batch).unwrap(), Some((marker, NOW)));
    let completed = log.producers.apply(&write.producers, Offset(104));
    assert_eq!(
        (completed[0].first_offset, completed[0].last_offset),
        (Offset(100), Offset(103))
    );
    assert!(completed[0].aborted);

    let zombie = EndTransactionMarker {
        committed: true,
        coordinator_epoch: 1,
    };
    let bytes = BatchBuilder::end_transaction(ProducerId(1), ProducerEpoch(0), NOW, zombie);
    assert_eq!(code(&log.plan(&bytes, Origin::Coordinator).unwrap_err()), 52);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever a client sends under a good checksum: refused, or readable from the log to its last byte.
    #[test]
    fn what_is_planned_can_be_read(
        codec in prop::sample::select(vec![
            CompressionType::None, CompressionType::None, CompressionType::Gzip,
            CompressionType::Snappy, CompressionType::Lz4, CompressionType::Zstd,
        ]),
        target in prop::option::of(prop::sample::select(vec![CompressionType::None, CompressionType::Lz4])),
        damage in prop::collection::vec((21usize..140, any::<u8>()), 0..3),
        api_version in 0i16..12,
    ) {
        let mut bytes = built(codec);
        for (at, value) in damage {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let bytes = resealed(bytes);
        let log = Log::configured(|config| {
            config.compression = target.map(Compression::of);
            config.max_decompressed_bytes = 1 << 16;
        });
        if let Ok(Plan::Write(write)) = log.plan(&bytes, Origin::Client { api_version }) {
            let disk = written(&write);
            let batch = Batch::new(&disk).unwrap();
            prop_assert!(batch.is_valid());
            prop_assert_eq!(batch.base_offset(), Offset(100));
            let mut scratch = Vec::new();
            let mut next = Offset(100);
            for record in batch.records(&mut scratch, 1 << 16).unwrap() {
                prop_assert_eq!(record.unwrap().offset, next);
                next = next.next();
            }
            prop_assert_eq!(next, write.last_offset.next());
        }
    }

    /// What is not a checked batch at all: refused, whatever it is.
    #[test]
    fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..300), api_version in 3i16..12) {
        let origin = Origin::Client { api_version };
        prop_assert!(Log::default().plan(&noise, origin).is_err());
    }
}

#[test]
fn records_of_an_uncompressed_body_are_those_of_the_walk() {
    let body = [16, 0, 0, 0, 2, b'k', 2, b'v', 0];
    let bytes = with_body(1, &body);
    let write = Log::default().write(&bytes, CLIENT);
    let disk = written(&write);
    let batch = Batch::new(&disk).unwrap();
    let values: Vec<_> = Records::new(&batch, batch.body())
        .map(|record| record.unwrap().value)
        .collect();
    assert_eq!(values, [Some(b"v".as_slice())]);
    assert!(
        Log::default()
            .plan(&with_body(1, &[18, 0, 0, 0, 2, b'k', 2, b'v', 0, 0]), CLIENT)
            .is_err()
    );
    assert!(
        Log::default()
            .plan(&with_body(1, &[14, 0, 0, 0, 2, b'k', 2, b'v', 0]), CLIENT)
            .is_err()
    );
    assert!(
        Log::default()
            .plan(&with_body(1, &[16, 0, 0, 0, 2, b'k', 2, b'v', 2]), CLIENT)
            .is_err()
    );
}
