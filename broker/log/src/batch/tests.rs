//! Batches: against what Kafka 3.9.1 wrote, against themselves, and against damage.

use std::fmt::Write as _;

use model::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId, Sequence};
use proptest::prelude::*;

use super::*;
use crate::compress::{Compression, CompressionType};

/// Log files of a real 3.9.1 broker.
const LOGS: [(&str, &[u8]); 6] = [
    (
        "plain-0/00000000000000000000.log",
        include_bytes!("../../testdata/batches/plain-0/00000000000000000000.log"),
    ),
    (
        "txn-0/00000000000000000000.log",
        include_bytes!("../../testdata/batches/txn-0/00000000000000000000.log"),
    ),
    (
        "txn-0/00000000000000000037.log",
        include_bytes!("../../testdata/batches/txn-0/00000000000000000037.log"),
    ),
    (
        "compacted-0/00000000000000000270.log",
        include_bytes!("../../testdata/batches/compacted-0/00000000000000000270.log"),
    ),
    (
        "magic1-0/00000000000000000000.log",
        include_bytes!("../../testdata/batches/magic1-0/00000000000000000000.log"),
    ),
    (
        "magic0-0/00000000000000000000.log",
        include_bytes!("../../testdata/batches/magic0-0/00000000000000000000.log"),
    ),
];

/// What `kafka-dump-log --deep-iteration --print-data-log` printed of them (cut after some lines).
const DUMP: &str = include_str!("../../testdata/batches/dump-log.txt");

const LIMIT: usize = 1 << 20;

fn entries(log: &[u8]) -> Vec<Entry<'_>> {
    Entries::new(log).map(Result::unwrap).collect()
}

fn text(bytes: Option<&[u8]>) -> (i64, String) {
    match bytes {
        None => (-1, String::new()),
        Some(bytes) => (bytes.len() as i64, String::from_utf8_lossy(bytes).into_owned()),
    }
}

/// Prints a log as `kafka-dump-log` does, but for what old compressed message sets wrap.
fn dump(log: &[u8]) -> String {
    let mut out = String::new();
    let mut position = 0;
    for entry in entries(log) {
        match &entry {
            Entry::Batch(batch) => dump_batch(&mut out, batch, position),
            Entry::Legacy(entry) => dump_legacy(&mut out, entry, position),
        }
        position += entry.size();
    }
    out
}

fn dump_batch(out: &mut String, batch: &Batch<'_>, position: usize) {
    writeln!(
        out,
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} \
         partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {} position: {position} \
         CreateTime: {} size: {} magic: {} compresscodec: {} crc: {} isvalid: {}",
        batch.base_offset(),
        batch.last_offset(),
        batch.record_count(),
        batch.base_sequence(),
        batch.last_sequence(),
        batch.producer_id(),
        batch.producer_epoch(),
        batch.leader_epoch(),
        batch.is_transactional(),
        batch.is_control(),
        batch
            .delete_horizon()
            .map_or("OptionalLong.empty".to_owned(), |at| format!("OptionalLong[{at}]")),
        batch.max_timestamp(),
        batch.bytes().len(),
        batch.magic(),
        batch.compression().unwrap().name(),
        batch.crc(),
        batch.is_valid(),
    )
    .unwrap();
    let mut scratch = Vec::new();
    for record in batch.records(&mut scratch, LIMIT).unwrap() {
        let record = record.unwrap();
        let sequence = match batch.base_sequence() {
            Sequence::NONE => Sequence::NONE,
            base => base.plus(record.offset_delta),
        };
        let headers: Vec<_> = record.headers.map(|header| text(Some(header.key)).1).collect();
        let ((key_size, key), (value_size, value)) = (text(record.key), text(record.value));
        write!(
            out,
            "| offset: {} CreateTime: {} keySize: {key_size} valueSize: {value_size} sequence: {sequence} headerKeys: [{}]",
            record.offset,
            record.timestamp,
            headers.join(","),
        )
        .unwrap();
        if batch.is_control() {
            let marker = EndTransactionMarker::parse(record.key, record.value).unwrap().unwrap();
            let kind = if marker.committed { "COMMIT" } else { "ABORT" };
            write!(
                out,
                " endTxnMarker: {kind} coordinatorEpoch: {}",
                marker.coordinator_epoch
            )
            .unwrap();
        } else {
            if key_size >= 0 {
                write!(out, " key: {key}").unwrap();
            }
            if value_size >= 0 {
                write!(out, " payload: {value}").unwrap();
            }
        }
        out.push('\n');
    }
}

fn dump_legacy(out: &mut String, entry: &LegacyEntry<'_>, position: usize) {
    let timestamp_type = if entry.magic() == 0 {
        "NoTimestampType"
    } else {
        "CreateTime"
    };
    let codec = entry.compression().unwrap();
    writeln!(
        out,
        "offset: {} position: {position} {timestamp_type}: {} size: {} magic: {} compresscodec: {} crc: {} isvalid: {}",
        entry.last_offset(),
        entry.timestamp(),
        entry.bytes().len(),
        entry.magic(),
        codec.name(),
        entry.crc(),
        entry.is_valid(),
    )
    .unwrap();
    if codec != CompressionType::None {
        assert_eq!(entry.base_offset(), None);
        return;
    }
    assert_eq!(entry.base_offset(), Some(entry.last_offset()));
    let ((key_size, key), (value_size, value)) = (text(entry.key()), text(entry.value()));
    writeln!(
        out,
        "| offset: {} {timestamp_type}: {} keySize: {key_size} valueSize: {value_size} isValid: true crc: {}}} key: {key} \
         payload: {value}",
        entry.last_offset(),
        entry.timestamp(),
        entry.crc(),
    )
    .unwrap();
}

#[test]
fn logs_of_a_real_broker_read_as_kafka_dump_log_prints_them() {
    for (name, log) in LOGS {
        let section = DUMP
            .split("Dumping ")
            .find(|section| section.starts_with(name))
            .unwrap();
        let wrapped = |line: &&str| {
            name.starts_with("magic") && (3..=6).any(|offset| line.starts_with(&format!("| offset: {offset} ")))
        };
        let expected: Vec<&str> = section.lines().skip(2).filter(|line| !wrapped(line)).collect();
        assert!(expected.len() >= 6, "{name}");
        let dump = dump(log);
        let found: Vec<&str> = dump.lines().take(expected.len()).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn every_codec_of_a_real_java_producer_is_read() {
    let mut codecs = Vec::new();
    for log in [
        LOGS[0].1,
        include_bytes!("../../testdata/batches/plain-0/00000000000000000080.log"),
    ] {
        for entry in entries(log) {
            let Entry::Batch(batch) = entry else {
                panic!("format 2 only")
            };
            let codec = batch.compression().unwrap();
            let mut scratch = Vec::new();
            let values: Vec<_> = batch
                .records(&mut scratch, LIMIT)
                .unwrap()
                .map(|record| text(record.unwrap().value))
                .collect();
            let expected = format!("{}-value-3", codec.name());
            assert_eq!(values[3], (expected.len() as i64, expected));
            codecs.push(codec);
        }
    }
    codecs.dedup();
    use CompressionType::{Gzip, Lz4, None, Snappy, Zstd};
    assert_eq!(codecs, [None, Gzip, Snappy, Lz4, Zstd, None, Gzip, Snappy]);
}

#[test]
fn a_batch_built_from_the_records_of_a_real_one_has_its_bytes() {
    let mut built = 0;
    for (_, log) in LOGS {
        for entry in entries(log) {
            let Entry::Batch(batch) = entry else { continue };
            if batch.compression() != Some(CompressionType::None) || batch.base_offset() == Offset(290) {
                continue;
            }
            let mut builder = BatchBuilder::new()
                .base_offset(batch.base_offset())
                .leader_epoch(batch.leader_epoch())
                .producer(batch.producer_id(), batch.producer_epoch(), batch.base_sequence())
                .transactional(batch.is_transactional())
                .control(batch.is_control());
            for record in Records::new(&batch, batch.body()) {
                let record = record.unwrap();
                let headers: Vec<_> = record.headers.map(|header| (header.key, header.value)).collect();
                builder.push_with_headers(record.timestamp, record.key, record.value, &headers);
            }
            assert_eq!(builder.build(), batch.bytes());
            built += 1;
        }
    }
    assert_eq!(built, 18);
}

#[test]
fn a_marker_built_here_is_the_one_that_kafka_wrote() {
    let Entry::Batch(real) = entries(LOGS[1].1)[3] else {
        panic!("format 2")
    };
    let (marker, timestamp) = EndTransactionMarker::of_batch(&real).unwrap().unwrap();
    assert!(!marker.committed);
    let built = BatchBuilder::end_transaction(real.producer_id(), real.producer_epoch(), timestamp, marker);
    let mut header = BatchHeader::read(&built).unwrap();
    header.set_base_offset(real.base_offset());
    header.set_leader_epoch(real.leader_epoch());
    assert_eq!(header, real.header());
    assert_eq!(&built[HEADER_LEN..], real.body());
}

#[test]
fn framing_is_refused_with_kafkas_words() {
    let check = |name: &str, patch: &dyn Fn(&mut Vec<u8>), expected: Result<usize, &str>| {
        let mut builder = BatchBuilder::new();
        builder.push(Millis(1), None, Some(b"value"));
        let mut bytes = builder.build().to_vec();
        patch(&mut bytes);
        let found: Result<Vec<_>, _> = Entries::new(&bytes).collect();
        let found = found.map(|entries| entries.len()).map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{name}");
    };
    let length = |value: i32| move |bytes: &mut Vec<u8>| bytes[8..12].copy_from_slice(&value.to_be_bytes());
    check("whole", &|_| {}, Ok(1));
    check("empty", &|bytes| bytes.clear(), Ok(0));
    check("cut", &|bytes| bytes.truncate(bytes.len() - 1), Ok(0));
    check("cut in the length", &|bytes| bytes.truncate(11), Ok(0));
    check("cut before the magic", &|bytes| bytes.truncate(16), Ok(0));
    check("garbage after it", &|bytes| bytes.extend([0; 11]), Ok(1));
    check(
        "zeros after it",
        &|bytes| bytes.extend([0; 12]),
        Err("Record size 0 is less than the minimum record overhead (14)"),
    );
    check(
        "length 10",
        &length(10),
        Err("Record size 10 is less than the minimum record overhead (14)"),
    );
    check(
        "length -5",
        &length(-5),
        Err("Record size -5 is less than the minimum record overhead (14)"),
    );
    check("length over the end", &length(i32::MAX), Ok(0));
    check(
        "length within the header",
        &length(20),
        Err("Record batch is corrupt (the size 32 is smaller than the minimum allowed overhead 61)"),
    );
    check(
        "magic 3",
        &|bytes| bytes[16] = 3,
        Err("Invalid magic found in record: 3"),
    );
    check(
        "magic -1",
        &|bytes| bytes[16] = 0xff,
        Err("Invalid magic found in record: -1"),
    );
}

#[test]
fn broken_records_are_found() {
    /// One record: length, attributes, timestamp delta, offset delta, key, value, headers.
    const RECORD: [u8; 9] = [16, 0, 0, 0, 2, b'k', 2, b'v', 0];
    let check = |name: &str, count: i32, content: &[u8], expected: Result<usize, RecordError>| {
        let mut header = BatchHeader::empty();
        header.set_record_count(count);
        let found: Result<Vec<_>, _> = Records::new(&header, content).collect();
        assert_eq!(found.map(|records| records.len()), expected, "{name}");
    };
    let patched = |at: usize, value: u8| {
        let mut record = RECORD;
        record[at] = value;
        record
    };
    check("whole", 1, &RECORD, Ok(1));
    check("two", 2, &[RECORD, RECORD].concat(), Ok(2));
    check("none", 0, &[], Ok(0));
    check("count too large", 2, &RECORD, Err(RecordError::PrematureEnd));
    check(
        "count too small",
        1,
        &[RECORD, RECORD].concat(),
        Err(RecordError::LeftOver),
    );
    check("count negative", -1, &RECORD, Err(RecordError::NegativeCount(-1)));
    check(
        "length over the end",
        1,
        &patched(0, 18),
        Err(RecordError::PrematureEnd),
    );
    check("length negative", 1, &patched(0, 1), Err(RecordError::PrematureEnd));
    check("length 0", 1, &patched(0, 0), Err(RecordError::Structure));
    check("key over the end", 1, &patched(4, 40), Err(RecordError::Structure));
    check("value over the end", 1, &patched(6, 4), Err(RecordError::Structure));
    check(
        "headers that are not there",
        1,
        &patched(8, 2),
        Err(RecordError::HeaderCount(1)),
    );
    check("headers negative", 1, &patched(8, 1), Err(RecordError::HeaderCount(-1)));
    check("null key", 1, &[14, 0, 0, 0, 1, 2, b'v', 0], Ok(1));
    let longer = [18, 0, 0, 0, 2, b'k', 2, b'v', 0, 0];
    check(
        "more than the fields",
        1,
        &longer,
        Err(RecordError::Size { declared: 9, read: 8 }),
    );
    let null_header_key = [20, 0, 0, 0, 1, 1, 2, 1, 1, 0, 0];
    check("null header key", 1, &null_header_key, Err(RecordError::Structure));
}

#[test]
fn a_moved_checksum_is_the_computed_one() {
    for size in [0, 1, 1000, 64 * 1024, 1_000_003] {
        let body: Vec<u8> = (0..size).map(|i| (i * 7) as u8).collect();
        let mut before = BatchHeader::empty();
        before.set_record_count(5);
        before.set_crc(before.compute_crc(&body));
        let mut after = before;
        after.set_max_timestamp(Millis(1_795_250_361_034));
        after.set_timestamp_type(TimestampType::LogAppendTime);
        assert_eq!(after.recompute_crc(&before, &body), after.compute_crc(&body), "{size}");
    }
}

#[derive(Clone, Debug)]
struct AnyRecord {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn any_record() -> impl Strategy<Value = AnyRecord> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let headers = prop::collection::vec((bytes(), prop::option::of(bytes())), 0..3);
    (
        any::<i64>(),
        prop::option::of(bytes()),
        prop::option::of(bytes()),
        headers,
    )
        .prop_map(|(timestamp, key, value, headers)| AnyRecord {
            timestamp,
            key,
            value,
            headers,
        })
}

fn any_compression() -> impl Strategy<Value = Compression> {
    prop::sample::select(vec![
        Compression::None,
        Compression::of(CompressionType::Gzip),
        Compression::Snappy,
        Compression::of(CompressionType::Lz4),
        Compression::of(CompressionType::Zstd),
    ])
}

fn build(records: &[AnyRecord], compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new()
        .base_offset(Offset(1 << 40))
        .leader_epoch(LeaderEpoch(7))
        .producer(ProducerId(12), ProducerEpoch(3), Sequence(i32::MAX - 1));
    for record in records {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(key, value)| (key.as_slice(), value.as_deref()))
            .collect();
        builder.push_with_headers(
            Millis(record.timestamp),
            record.key.as_deref(),
            record.value.as_deref(),
            &headers,
        );
    }
    builder.build_compressed(compression).unwrap().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_built_is_read(records in prop::collection::vec(any_record(), 1..20), compression in any_compression()) {
        let bytes = build(&records, compression);
        let batch = Batch::new(&bytes).unwrap();
        prop_assert!(batch.is_valid());
        prop_assert_eq!(batch.compression(), Some(compression.kind()));
        prop_assert_eq!(batch.last_offset(), Offset((1 << 40) + records.len() as i64 - 1));
        prop_assert_eq!(batch.last_sequence(), batch.base_sequence().plus(records.len() as i32 - 1));
        let latest = records.iter().map(|record| record.timestamp).max().unwrap().max(-1);
        prop_assert_eq!(batch.max_timestamp(), Millis(latest));
        let mut scratch = Vec::new();
        let read: Vec<_> = batch.records(&mut scratch, LIMIT).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(read.len(), records.len());
        for (index, (read, record)) in read.iter().zip(&records).enumerate() {
            prop_assert_eq!(read.offset, batch.base_offset() + index as i64);
            prop_assert_eq!(read.timestamp, Millis(record.timestamp));
            prop_assert_eq!(read.key, record.key.as_deref());
            prop_assert_eq!(read.value, record.value.as_deref());
            let headers: Vec<_> = read.headers.map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec))).collect();
            prop_assert_eq!(&headers, &record.headers);
        }
    }

    #[test]
    fn damage_is_bounded(
        log in prop::sample::select(LOGS.map(|(_, log)| log).to_vec()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = log.to_vec();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() * 2).min(bytes.len()));
        let mut entries = Entries::new(&bytes);
        while let Some(Ok(entry)) = entries.next() {
            prop_assert!(entries.position() <= bytes.len());
            entry.is_valid();
            match entry {
                Entry::Batch(batch) => {
                    batch.last_sequence();
                    let mut scratch = Vec::new();
                    if let Ok(records) = batch.records(&mut scratch, LIMIT) {
                        for record in records.flatten() {
                            prop_assert!(record.size <= LIMIT);
                            prop_assert!(record.headers.count() <= record.size);
                        }
                    }
                    prop_assert!(scratch.capacity() <= 4 * LIMIT);
                    let _ = EndTransactionMarker::of_batch(&batch);
                }
                Entry::Legacy(entry) => {
                    prop_assert!(entry.key().map_or(0, <[u8]>::len) <= bytes.len());
                    prop_assert!(entry.value().map_or(0, <[u8]>::len) <= bytes.len());
                }
            }
        }
    }
}
