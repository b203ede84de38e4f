//! What stays of a batch and what goes: records, tombstones, markers, the last batch of a producer; batch by batch.

use bytes::Bytes;
use model::{LeaderEpoch, Sequence};

use super::*;
use crate::batch::BatchBuilder;
use crate::batch::Entries;

fn batch_of(records: &[(&str, Option<&str>)]) -> BatchBuilder {
    let mut builder = BatchBuilder::new().base_offset(Offset(10)).leader_epoch(LeaderEpoch(4));
    for (at, (key, value)) in records.iter().enumerate() {
        let headers: [(&[u8], Option<&[u8]>); 1] = [(b"h", None)];
        builder.push_with_headers(
            Millis(1000 + at as i64),
            Some(key.as_bytes()),
            value.map(str::as_bytes),
            &headers,
        );
    }
    builder
}

fn map(newest: &[(&str, i64)], latest: i64) -> OffsetMap {
    let mut map = OffsetMap::new(1 << 20, 0.9);
    for (key, offset) in newest {
        map.put(key.as_bytes(), Offset(*offset)).unwrap();
    }
    map.reached(Offset(latest));
    map
}

/// What is left of a batch at offset 10, as (offset delta, timestamp, key).
fn check(name: &str, bytes: &Bytes, map: &OffsetMap, now: i64, expected: Option<&[(i32, i64, &str)]>) -> Option<Bytes> {
    let producers = HashMap::new();
    let mut filter = Filter::new(map, &producers, Millis(now), Millis(100));
    let mut out = b"before".to_vec();
    let entry = Entries::new(bytes).next().unwrap().unwrap();
    let verdict = filter
        .entry(&entry, &mut CleanedTransactions::default(), &mut out)
        .unwrap();
    let left = match verdict {
        Verdict::Drop => None,
        Verdict::Keep => Some(bytes.clone()),
        Verdict::Rewritten {
            last_offset,
            max_timestamp,
        } => {
            let left = Bytes::from(out.split_off(6));
            let entry = Entries::new(&left).next().unwrap().unwrap();
            assert_eq!(
                (entry.last_offset(), entry.max_timestamp()),
                (last_offset, max_timestamp),
                "{name}"
            );
            Some(left)
        }
    };
    assert_eq!(out, b"before", "{name}");
    let found = left.as_ref().map(|left| {
        let batch = Batch::new(left).unwrap();
        assert!(batch.is_valid(), "{name}");
        let mut scratch = Vec::new();
        let records = batch.records(&mut scratch, 1 << 20).unwrap().map(Result::unwrap);
        records
            .map(|r| {
                (
                    r.offset_delta,
                    r.timestamp.0,
                    String::from_utf8(r.key.unwrap().to_vec()).unwrap(),
                )
            })
            .collect::<Vec<_>>()
    });
    let expected = expected.map(|e| e.iter().map(|(d, t, k)| (*d, *t, (*k).to_owned())).collect::<Vec<_>>());
    assert_eq!(found, expected, "{name}");
    left
}

#[test]
fn of_each_key_the_newest_stays() {
    let bytes = batch_of(&[("a", Some("1")), ("b", Some("2")), ("a", Some("3"))]).build();
    let all: &[_] = &[(0, 1000, "a"), (1, 1001, "b"), (2, 1002, "a")];
    //    name                        newest offsets                            latest  left
    check("nothing newer", &bytes, &map(&[], 100), 0, Some(all));
    check(
        "one in the batch",
        &bytes,
        &map(&[("a", 12), ("b", 11)], 100),
        0,
        Some(&all[1..]),
    );
    check(
        "one further on",
        &bytes,
        &map(&[("a", 50), ("b", 11)], 100),
        0,
        Some(&all[1..2]),
    );
    check("all further on", &bytes, &map(&[("a", 50), ("b", 51)], 100), 0, None);
    check("past what is known", &bytes, &map(&[("a", 50)], 9), 0, Some(all));
    check(
        "half past what is known",
        &bytes,
        &map(&[("a", 50)], 10),
        0,
        Some(&all[1..]),
    );
}

#[test]
fn a_tombstone_gets_a_horizon_and_goes_by_it() {
    let bytes = batch_of(&[("a", None), ("b", Some("2"))]).build();
    let all: &[_] = &[(0, 1000, "a"), (1, 1001, "b")];
    let known = map(&[("a", 10), ("b", 11)], 100);
    let with = check("first seen", &bytes, &known, 5000, Some(all)).unwrap();
    assert_eq!(Batch::new(&with).unwrap().delete_horizon(), Some(Millis(5100)));
    let again = check("before it", &with, &known, 5099, Some(all)).unwrap();
    assert_eq!(again, with);
    let without = check("at it", &with, &known, 5100, Some(&all[1..])).unwrap();
    check("again", &without, &known, 9000, Some(&all[1..]));
    check(
        "superseded",
        &with,
        &map(&[("a", 50), ("b", 11)], 100),
        0,
        Some(&all[1..]),
    );
    check("past what is known", &with, &map(&[], 9), 9000, Some(all));
}

#[test]
fn what_stays_of_a_batch_is_its_own_header() {
    let bytes = batch_of(&[("a", Some("1")), ("b", Some("2")), ("a", Some("3"))])
        .producer(ProducerId(7), ProducerEpoch(2), Sequence(30))
        .build();
    let known = map(&[("b", 11), ("a", 50)], 100);
    let left = check("one of three", &bytes, &known, 0, Some(&[(1, 1001, "b")])).unwrap();
    let (before, after) = (Batch::new(&bytes).unwrap(), Batch::new(&left).unwrap());
    let identity = |b: &Batch<'_>| {
        (
            (b.base_offset(), b.last_offset(), b.leader_epoch(), b.base_timestamp()),
            (
                b.producer_id(),
                b.producer_epoch(),
                b.base_sequence(),
                b.last_sequence(),
                b.attributes(),
            ),
        )
    };
    assert_eq!(identity(&after), identity(&before));
    assert_eq!((after.record_count(), after.max_timestamp()), (1, Millis(1001)));
}

#[test]
fn the_time_of_the_append_stays() {
    let bytes = batch_of(&[("a", None), ("b", Some("2")), ("a", Some("3"))])
        .log_append_time(Millis(7777))
        .build();
    let known = map(&[("b", 11), ("a", 50)], 100);
    check("rewritten", &bytes, &known, 0, Some(&[(1, 7777, "b")]));
    let known = map(&[("b", 50), ("a", 10)], 100);
    let left = check(
        "with a horizon",
        &bytes,
        &known,
        0,
        Some(&[(0, 7777, "a"), (2, 7777, "a")]),
    )
    .unwrap();
    assert_eq!(Batch::new(&left).unwrap().delete_horizon(), Some(Millis(100)));
}

#[test]
fn records_without_a_key_go_and_are_counted() {
    let mut builder = BatchBuilder::new();
    builder.push(Millis(1), None, Some(b"x"));
    let bytes = builder.build();
    let (known, producers) = (map(&[], 100), HashMap::new());
    let mut filter = Filter::new(&known, &producers, Millis(0), Millis(0));
    let entry = Entries::new(&bytes).next().unwrap().unwrap();
    let verdict = filter.entry(&entry, &mut CleanedTransactions::default(), &mut Vec::new());
    assert_eq!((verdict, filter.counts.invalid), (Ok(Verdict::Drop), 1));
}

#[test]
fn damage_is_not_sealed_with_a_new_checksum() {
    let mut bytes = batch_of(&[("a", Some("1")), ("b", Some("2"))]).build().to_vec();
    let at = bytes.len() - 8;
    bytes[at] ^= 1;
    let (known, producers) = (map(&[("a", 50)], 100), HashMap::new());
    let mut filter = Filter::new(&known, &producers, Millis(0), Millis(0));
    let entry = Entries::new(&bytes).next().unwrap().unwrap();
    let mut out = Vec::new();
    assert!(
        filter
            .entry(&entry, &mut CleanedTransactions::default(), &mut out)
            .is_err()
    );
    assert!(out.is_empty());
}

/// A message of format 0 or 1.
fn message(
    magic: u8,
    attributes: u8,
    offset: i64,
    timestamp: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Vec<u8> {
    let mut content = vec![magic, attributes];
    if magic > 0 {
        content.extend(timestamp.to_be_bytes());
    }
    for field in [key, value] {
        content.extend(field.map_or(-1, |field| field.len() as i32).to_be_bytes());
        content.extend(field.unwrap_or_default());
    }
    let mut bytes = offset.to_be_bytes().to_vec();
    bytes.extend((content.len() as u32 + 4).to_be_bytes());
    bytes.extend(crc32fast::hash(&content).to_be_bytes());
    bytes.extend(content);
    bytes
}

fn legacy_left(bytes: &[u8], known: &OffsetMap, keep_tombstones: bool) -> Option<Vec<(i64, String)>> {
    let producers = HashMap::new();
    let mut filter = Filter::new(known, &producers, Millis(0), Millis(0));
    filter.keep_legacy_tombstones = keep_tombstones;
    let entry = Entries::new(bytes).next().unwrap().unwrap();
    let mut out = Vec::new();
    let verdict = filter
        .entry(&entry, &mut CleanedTransactions::default(), &mut out)
        .unwrap();
    let left = match verdict {
        Verdict::Drop => return None,
        Verdict::Keep => bytes.to_vec(),
        Verdict::Rewritten { last_offset, .. } => {
            let Entry::Legacy(left) = Entries::new(&out).next().unwrap().unwrap() else {
                panic!("legacy")
            };
            assert!(left.is_valid());
            assert_eq!(left.last_offset(), last_offset);
            out
        }
    };
    let Entry::Legacy(left) = Entries::new(&left).next().unwrap().unwrap() else {
        panic!("legacy")
    };
    let mut scratch = Vec::new();
    let found = legacy::messages(&left, &mut scratch)
        .unwrap()
        .map(|message| {
            let message = message.unwrap();
            let key = String::from_utf8(message.key.unwrap_or_default().to_vec()).unwrap();
            (message.offset.0, key)
        })
        .collect();
    Some(found)
}

#[test]
fn old_messages_are_cleaned_alone_and_in_compressed_sets() {
    for magic in [0, 1] {
        let single = message(magic, 0, 10, 5, Some(b"a"), Some(b"1"));
        assert_eq!(
            legacy_left(&single, &map(&[("a", 10)], 100), true),
            Some(vec![(10, "a".into())])
        );
        assert_eq!(legacy_left(&single, &map(&[("a", 11)], 100), true), None);
        let tombstone = message(magic, 0, 10, 5, Some(b"a"), None);
        assert!(legacy_left(&tombstone, &map(&[("a", 10)], 100), true).is_some());
        assert_eq!(legacy_left(&tombstone, &map(&[("a", 10)], 100), false), None);

        // Offsets inside are relative in format 1.
        let inner = |at: i64| if magic == 0 { 20 + at } else { at };
        let set: Vec<u8> = [b"a", b"b", b"a", b"c"]
            .iter()
            .enumerate()
            .flat_map(|(at, key)| message(magic, 0, inner(at as i64), 5, Some(*key), Some(b"v")))
            .collect();
        let mut compressed = Vec::new();
        compress::compress(Compression::Gzip { level: 6 }, &set, &mut compressed).unwrap();
        let wrapper = message(magic, 1, 23, 5, None, Some(&compressed));
        let all = [(20, "a"), (21, "b"), (22, "a"), (23, "c")].map(|(o, k)| (o, k.to_owned()));
        assert_eq!(
            legacy_left(&wrapper, &map(&[], 100), true),
            Some(all.to_vec()),
            "magic {magic}"
        );
        let known = map(&[("a", 22), ("b", 21), ("c", 50)], 100);
        assert_eq!(
            legacy_left(&wrapper, &known, true),
            Some(all[1..3].to_vec()),
            "magic {magic}"
        );
        let known = map(&[("a", 50), ("b", 50), ("c", 50)], 100);
        assert_eq!(legacy_left(&wrapper, &known, true), None);
    }
}
