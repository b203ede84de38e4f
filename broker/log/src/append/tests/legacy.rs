//! What clients from before Kafka 0.11 send, and the batch of format 2 that comes of it.

use super::*;
use crate::batch::{Entry, LegacyEntry, LegacyFormat, LegacyWriter};

const CODECS: [CompressionType; 4] = [
    CompressionType::None,
    CompressionType::Gzip,
    CompressionType::Snappy,
    CompressionType::Lz4,
];

type Sent = (i64, Option<&'static [u8]>, Option<&'static [u8]>);

const THREE: [Sent; 3] = [
    (NOW.0 - 20, Some(b"k0"), Some(b"v0")),
    (NOW.0 - 10, Some(b"k1"), Some(b"v1")),
    (NOW.0 - 30, Some(b"k2"), None),
];

/// A message set as producers send it: numbered from 0 on.
fn message_set(format: LegacyFormat, codec: CompressionType, messages: &[Sent]) -> Vec<u8> {
    numbered_from(0, format, codec, TimestampType::CreateTime, messages)
}

fn numbered_from(
    first: i64,
    format: LegacyFormat,
    codec: CompressionType,
    timestamp_type: TimestampType,
    messages: &[Sent],
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = LegacyWriter::new(format, Compression::of(codec), timestamp_type, &mut out);
    for (offset, (timestamp, key, value)) in (first..).zip(messages) {
        writer.push(Offset(offset), Millis(*timestamp), *key, *value);
    }
    writer.finish().unwrap();
    out
}

/// Writes `patch` at `at` of the entry, and its checksum anew.
fn patched_entry(mut entry: Vec<u8>, at: usize, patch: &[u8]) -> Vec<u8> {
    entry[at..at + patch.len()].copy_from_slice(patch);
    let crc = crc32fast::hash(&entry[16..]);
    entry[12..16].copy_from_slice(&crc.to_be_bytes());
    entry
}

/// An entry that wraps `content` in its raw form.
fn wrapper(format: LegacyFormat, codec: CompressionType, content: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    crate::compress::compress_legacy(Compression::of(codec), format.magic(), content, &mut compressed).unwrap();
    let compressed: &'static [u8] = compressed.leak();
    let entry = message_set(format, CompressionType::None, &[(NOW.0, None, Some(compressed))]);
    patched_entry(entry, 17, &[codec.id()])
}

type Written = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

fn records(bytes: &[u8]) -> (BatchHeader, Vec<Written>) {
    let batch = Batch::new(bytes).expect("one batch");
    assert!(batch.is_valid());
    let mut scratch = Vec::new();
    let own = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
    let records = batch
        .records(&mut scratch, 1 << 20)
        .unwrap()
        .map(|record| {
            let record = record.unwrap();
            assert!(record.headers.is_empty());
            (record.offset.0, record.timestamp.0, own(record.key), own(record.value))
        })
        .collect();
    (batch.header(), records)
}

fn expected(format: LegacyFormat) -> Vec<Written> {
    let own = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
    (100..)
        .zip(&THREE)
        .map(|(offset, (timestamp, key, value))| {
            let timestamp = if format == LegacyFormat::V0 { -1 } else { *timestamp };
            (offset, timestamp, own(*key), own(*value))
        })
        .collect()
}

#[test]
fn old_messages_become_one_batch_of_the_codec_they_came_in() {
    let log = Log::default();
    for format in [LegacyFormat::V0, LegacyFormat::V1] {
        for codec in CODECS {
            for api_version in 0..=2 {
                let set = message_set(format, codec, &THREE);
                let write = log.write(&set, Origin::Client { api_version });
                let (header, written) = records(&written(&write));
                assert_eq!(written, expected(format), "{format:?} {codec:?}");
                assert_eq!(header.compression(), Some(codec));
                assert_eq!(
                    (header.leader_epoch(), header.producer_id()),
                    (LeaderEpoch(7), ProducerId::NONE)
                );
                assert_eq!((header.record_count(), header.last_offset_delta()), (3, 2));
                let newest = if format == LegacyFormat::V0 {
                    Millis::NONE
                } else {
                    NOW - Millis(10)
                };
                assert_eq!((header.max_timestamp(), write.max_timestamp), (newest, newest));
                assert_eq!(header.base_timestamp().0, expected(format)[0].1);
                assert_eq!((write.first_offset, write.last_offset), (Offset(100), Offset(102)));
                assert_eq!(write.log_append_time, None);
            }
        }
    }
}

#[test]
fn the_topic_chooses_codec_and_time() {
    let log = Log::configured(|config| {
        config.compression = Some(Compression::of(CompressionType::Zstd));
        config.timestamp_type = TimestampType::LogAppendTime;
    });
    for codec in CODECS {
        let set = message_set(LegacyFormat::V1, codec, &THREE);
        let write = log.write(&set, Origin::Client { api_version: 2 });
        let (header, written) = records(&written(&write));
        assert_eq!(header.compression(), Some(CompressionType::Zstd));
        assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(header.max_timestamp(), NOW);
        assert_eq!(write.log_append_time, Some(NOW));
        assert!(written.iter().all(|(_, timestamp, ..)| *timestamp == NOW.0));
    }
}

#[test]
fn offsets_inside_are_the_senders_affair() {
    let log = Log::default();
    let check = |name: &str, set: &[u8]| {
        let write = log.write(set, Origin::Client { api_version: 2 });
        let (_, written) = records(&written(&write));
        let offsets: Vec<i64> = written.iter().map(|(offset, ..)| *offset).collect();
        assert_eq!(offsets, [100, 101, 102], "{name}");
    };
    for codec in CODECS {
        let numbered = |first, format| numbered_from(first, format, codec, TimestampType::CreateTime, &THREE);
        check("version 0 from 17 on", &numbered(17, LegacyFormat::V0));
        check("version 1 from 17 on", &numbered(17, LegacyFormat::V1));
        // librdkafka said 0 for the wrapper whatever was in it.
        let mut zero = numbered(0, LegacyFormat::V1);
        zero[..8].copy_from_slice(&[0; 8]);
        check("a wrapper at 0", &zero);
    }
    let mut all_zero = message_set(LegacyFormat::V0, CompressionType::None, &THREE);
    let size = all_zero.len() / 3;
    all_zero[size - size..][..8].copy_from_slice(&[0; 8]);
    check("all at 0", &all_zero);
}

#[test]
fn what_an_old_lz4_client_sums_up_wrongly_is_read() {
    let log = Log::default();
    let set = message_set(LegacyFormat::V0, CompressionType::Lz4, &THREE);
    let Some(Ok(Entry::Legacy(entry))) = Entries::new(&set).next() else {
        panic!("no entry")
    };
    let frame = entry.value().unwrap();
    // As Kafka 0.8.2 wrote it: 0x60 flags, 0x40 descriptor, and 0x1a over magic, flags and descriptor; 0x82 is right.
    assert_eq!(frame[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x1a]);
    log.write(&set, Origin::Client { api_version: 0 });
    let right = patched_entry(set.clone(), set.len() - frame.len() + 6, &[0x82]);
    log.write(&right, Origin::Client { api_version: 0 });

    let v1 = message_set(LegacyFormat::V1, CompressionType::Lz4, &THREE);
    let Some(Ok(Entry::Legacy(entry))) = Entries::new(&v1).next() else {
        panic!("no entry")
    };
    assert_eq!(entry.value().unwrap()[6], 0x82);
    let wrong = patched_entry(v1.clone(), v1.len() - entry.value().unwrap().len() + 6, &[0x1a]);
    let refusal = log.plan(&wrong, Origin::Client { api_version: 2 }).unwrap_err();
    assert_eq!(code(&refusal), -1);
}

#[test]
fn bad_messages_are_refused_as_kafka_does() {
    let log = Log::default();
    let compacted = Log::configured(|config| config.compacted = true);
    let strict = Log::configured(|config| {
        config.timestamp_before_max = Millis(1000);
        config.timestamp_after_max = Millis(1000);
    });
    let small = Log::configured(|config| config.max_message_bytes = 120);
    let check_on = |name: &str, log: &Log, bytes: &[u8], expected: (i16, usize)| {
        let error = log.plan(bytes, Origin::Client { api_version: 2 }).expect_err(name);
        assert_eq!((code(&error), error.record_errors().len()), expected, "{name}: {error}");
    };
    let check = |name: &str, bytes: &[u8], code: i16| check_on(name, &log, bytes, (code, 0));
    let (v0, v1) = (LegacyFormat::V0, LegacyFormat::V1);
    let (none, gzip) = (CompressionType::None, CompressionType::Gzip);
    let plain = message_set(v1, none, &THREE[..1]);
    let wrapped = message_set(v1, gzip, &THREE);

    let mut bad_crc = plain.clone();
    bad_crc[12] ^= 1;
    check("bad CRC", &bad_crc, 2);
    check("bad CRC behind a good one", &[plain.clone(), bad_crc].concat(), 2);
    check(
        "two formats",
        &[message_set(v0, none, &THREE), plain.clone()].concat(),
        87,
    );
    check("a new batch behind", &[plain.clone(), built(none)].concat(), 87);
    check(
        "an old message behind a wrapper",
        &[wrapped.clone(), plain.clone()].concat(),
        87,
    );
    check("codec 5", &patched_entry(plain.clone(), 17, &[5]), -1);
    check("zstd", &patched_entry(plain.clone(), 17, &[4]), 87);
    check("not gzip", &patched_entry(plain.clone(), 17, &[1]), -1);
    check(
        "a wrapper without content",
        &patched_entry(message_set(v1, none, &[(1, None, None)]), 17, &[1]),
        87,
    );
    check("nothing wrapped", &wrapper(v1, gzip, &[]), 87);
    check(
        "a cut message wrapped",
        &wrapper(v1, gzip, &plain[..plain.len() - 1]),
        87,
    );
    check("a wrapper wrapped", &wrapper(v1, gzip, &wrapped), 87);
    check(
        "a wrapped size of 13",
        &wrapper(v1, gzip, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13]),
        2,
    );
    let mut bad_inner = plain.clone();
    bad_inner[12] ^= 1;
    check("bad CRC inside", &wrapper(v1, gzip, &bad_inner), 2);
    check(
        "a wrapper below what it wraps",
        &{
            let mut low = numbered_from(5, v1, none, TimestampType::CreateTime, &THREE[..1]);
            low = wrapper(v1, gzip, &low);
            low[..8].copy_from_slice(&3i64.to_be_bytes());
            low
        },
        87,
    );
    check(
        "key longer than the message",
        &patched_entry(plain.clone(), 26, &[0, 0, 1, 0]),
        -1,
    );
    check("negative timestamp", &message_set(v1, none, &[(-2, None, None)]), -1);

    let inside = |inner: &[u8]| wrapper(v1, gzip, inner);
    check_on(
        "format 0 inside format 1",
        &log,
        &inside(&message_set(v0, none, &THREE)),
        (87, 3),
    );
    let keyless = [(NOW.0, None, None)];
    check_on("no key", &compacted, &message_set(v1, none, &keyless), (87, 1));
    check_on(
        "no key inside",
        &compacted,
        &message_set(v0, gzip, &[THREE[0], keyless[0]]),
        (87, 1),
    );
    check_on(
        "too old",
        &strict,
        &message_set(v1, none, &[(NOW.0 - 1001, None, None)]),
        (32, 1),
    );
    check_on(
        "too new inside",
        &strict,
        &message_set(v1, gzip, &[(NOW.0 + 1001, None, None)]),
        (32, 1),
    );
    let appended = |timestamp| numbered_from(0, v1, none, TimestampType::LogAppendTime, &[(timestamp, None, None)]);
    check_on("said to be of the append", &log, &appended(-1), (32, 1));
    log.write(&appended(NOW.0), Origin::Client { api_version: 2 });

    let long: &[u8] = &[7; 100];
    check_on(
        "too large",
        &small,
        &message_set(v1, none, &[(NOW.0, None, Some(long.to_vec().leak()))]),
        (10, 0),
    );
    let many = message_set(v1, none, &[THREE[0]; 12]);
    check_on("small ones, too many for one batch", &small, &many, (10, 0));
}

#[test]
fn a_wrapper_that_expands_too_far_is_refused_before_it_is_read() {
    let log = Log::configured(|config| config.max_decompressed_bytes = 100_000);
    let bomb = wrapper(LegacyFormat::V1, CompressionType::Gzip, &vec![0; 10_000_000]);
    let error = log.plan(&bomb, Origin::Client { api_version: 2 }).unwrap_err();
    assert!(matches!(
        error,
        AppendError::Decompress(crate::compress::DecompressError::TooLarge { .. })
    ));
}

#[test]
fn what_older_kafka_wrote_is_taken_as_it_was_meant() {
    let log = Log::default();
    let check = |name: &str, bytes: &[u8]| {
        // Each entry as a request: in a log there may be wrappers beside messages.
        for entry in Entries::new(bytes) {
            let Entry::Legacy(entry) = entry.unwrap() else {
                panic!("{name}: a new batch")
            };
            let mut scratch = Vec::new();
            let messages: Vec<_> = LegacyEntry::messages(&entry, &mut scratch, 1 << 20)
                .unwrap()
                .map(|message| message.unwrap())
                .map(|message| {
                    (
                        message.timestamp.0,
                        message.key.map(<[u8]>::to_vec),
                        message.value.map(<[u8]>::to_vec),
                    )
                })
                .collect();
            assert!(!messages.is_empty());
            let write = log.write(entry.bytes(), Origin::Client { api_version: 2 });
            let (_, written) = records(&written(&write));
            let written: Vec<_> = written
                .into_iter()
                .map(|(_, timestamp, key, value)| (timestamp, key, value))
                .collect();
            assert_eq!(written, messages, "{name}");
        }
    };
    check(
        "format 0",
        include_bytes!("../../../testdata/batches/magic0-0/00000000000000000000.log"),
    );
    check(
        "format 1",
        include_bytes!("../../../testdata/batches/magic1-0/00000000000000000000.log"),
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Hostile message sets are refused or written whole; nothing panics.
    #[test]
    fn damaged_message_sets_are_refused_or_become_valid_batches(
        at in 0usize..300, byte: u8, format in 0i8..=1, codec in 0usize..4, reseal: bool,
    ) {
        let format = LegacyFormat::of_magic(format).unwrap();
        let mut set = message_set(format, CODECS[codec], &THREE);
        let at = at % set.len();
        set[at] = byte;
        if reseal && at >= 16 && CODECS[codec] != CompressionType::None {
            set = patched_entry(set, at, &[byte]);
        }
        let log = Log::default();
        if let Ok(Plan::Write(write)) = log.plan(&set, Origin::Client { api_version: 2 }) {
            records(&written(&write));
        }
    }
}
