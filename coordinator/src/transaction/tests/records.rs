//! Records of `__transaction_state`: bytes of the real Kafka 3.9, decoded, and encoded to the same bytes; and what must be refused.

use model::Millis;
use proptest::prelude::*;

use super::super::*;
use super::bench::{Bench, COORDINATOR, WALL, at, partitions, producer, stored, written};

/// `__transaction_state-0` of a Kafka 3.9.1: key and value of each record, one a line. A producer that commits, aborts and is
/// restarted twice, one that commits offsets of a group in its transaction, one whose transaction is still open.
const GOLDEN: &str = include_str!("transaction_state-0.txt");

/// Another one, with the create time of each record, `-` for a tombstone. A producer whose successor aborts its transaction over two
/// partitions, one whose transaction takes longer than its two seconds, an open one; the first two expire after fifteen seconds.
const FENCED: &str = include_str!("transaction_state-fenced.txt");

struct Line {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    timestamp: Option<i64>,
}

impl Line {
    fn id(&self) -> std::sync::Arc<str> {
        match Key::decode(&self.key) {
            Ok(Key::Transaction(id)) => id,
            other => panic!("{other:?}"),
        }
    }

    fn stored(&self) -> Option<StoredTransaction> {
        let decode = |value: &[u8]| StoredTransaction::decode(value).unwrap();
        self.value.as_deref().map(decode)
    }
}

fn golden(text: &str) -> Vec<Line> {
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    };
    let line = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        Line {
            key: hex(words[0]),
            value: (words[1] != "-").then(|| hex(words[1])),
            timestamp: words.get(2).map(|text| text.parse().unwrap()),
        }
    };
    text.lines().map(line).collect()
}

#[test]
fn records_of_the_real_kafka_are_read_and_written_byte_for_byte() {
    let golden = golden(GOLDEN);
    assert_eq!(golden.len(), 28);
    for line in golden {
        assert_eq!(Key::encode(&line.id()).unwrap(), line.key);
        assert_eq!(line.stored().unwrap().encode(false).unwrap(), line.value.unwrap());
    }
}

/// The requests that the real coordinator had, at the times at which it had them, make the core write what it wrote.
#[test]
fn the_same_requests_make_the_records_of_the_real_kafka() {
    for (name, text) in [("plain", GOLDEN), ("fenced", FENCED)] {
        let golden = golden(text);
        let mut bench = Bench::new();
        bench.core.reconfigure(TransactionConfig {
            transactional_id_expiration: Millis(15_000),
            remove_expired_interval: Millis(1),
            abort_timed_out_interval: Millis(1),
            ..TransactionConfig::default()
        });
        for (index, line) in golden.iter().enumerate() {
            let next = golden.get(index + 1).and_then(Line::stored);
            ask_for(&mut bench, line, next);
            let append = bench.store();
            let record = &append.records[0];
            assert_eq!(
                (append.records.len(), &record.key[..]),
                (1, &line.key[..]),
                "{name}: record {index}"
            );
            // Kafka writes the partitions of a topic in the order of a set.
            match line.stored() {
                Some(stored) if stored.partitions.len() > 1 => {
                    assert_eq!(written(&append), stored, "{name}: record {index}")
                }
                _ => assert_eq!(record.value.as_deref(), line.value.as_deref(), "{name}: record {index}"),
            }
        }
        assert!(bench.held.is_empty());
    }
}

/// Lets happen what led to this record of the real coordinator.
fn ask_for(bench: &mut Bench, line: &Line, next: Option<StoredTransaction>) {
    use TransactionState::*;
    let id = line.id();
    let Some(stored) = line.stored() else {
        bench.tick_at(line.timestamp.unwrap() - WALL);
        return;
    };
    let before = bench.core.describe(&id).ok();
    let update = stored.last_update.0 - WALL;
    match stored.state {
        Empty => {
            bench.now = update;
            bench.next_id = stored.producer.id.0;
            bench.init_as(&InitRequest {
                transactional_id: id,
                timeout_ms: stored.timeout_ms,
                expected: None,
            });
        }
        Ongoing => {
            bench.now = update;
            let names: Vec<_> = stored.partitions.iter().map(ToString::to_string).collect();
            bench.add(&id, stored.producer, &names.join(" "));
        }
        PrepareCommit | PrepareAbort => {
            let is_fence = before.unwrap().producer != stored.producer;
            if !is_fence {
                bench.now = update;
                let commits = stored.state == PrepareCommit;
                let result = if commits {
                    TransactionResult::Commit
                } else {
                    TransactionResult::Abort
                };
                bench.end(&id, stored.producer, result);
            } else if &*id == "late" {
                bench.tick_at(update);
            } else {
                bench.now = update;
                bench.init(&id, None);
            }
            // Kafka dates the last record when it begins to send the markers.
            bench.now = next.unwrap().last_update.0 - WALL;
        }
        CompleteCommit | CompleteAbort => {
            let markers = bench.sent.pop().unwrap();
            for partition in markers.partitions {
                bench.markers_answered(markers.id, &partition.to_string(), MarkerOutcome::Written);
            }
        }
        Dead | PrepareEpochFence => panic!("never stored"),
    }
}

#[test]
fn a_directory_of_the_real_kafka_is_taken_over() {
    let mut loader = Loader::new();
    for line in golden(GOLDEN) {
        loader.replay(&line.key, line.value.as_deref()).unwrap();
    }
    let core = loader.finish(TransactionConfig::default(), COORDINATOR, at(0));
    let known: Vec<_> = core
        .list(&ListFilter::default(), at(0))
        .into_iter()
        .map(|listed| format!("{} {} {}", listed.transactional_id, listed.producer_id, listed.state))
        .collect();
    assert_eq!(
        known,
        [
            "tx-1 1003 CompleteAbort",
            "tx-2 1004 CompleteCommit",
            "tx-open 1006 Ongoing"
        ]
    );
    assert_eq!(core.describe("tx-open").unwrap().partitions, partitions("txn-0"));
}

#[test]
fn a_record_is_laid_out_as_documented() {
    assert_eq!(Key::encode("tx").unwrap(), &b"\0\0\0\x02tx"[..]);
    let mut transaction = stored(TransactionState::Ongoing, producer(1, 2), "b-1 a-0 b-0");
    transaction.timeout_ms = 3;
    transaction.last_update = Millis(4);
    transaction.start = Millis(5);
    let plain = [
        &b"\0\0\0\0\0\0\0\0\0\x01\0\x02\0\0\0\x03\x01"[..],
        b"\0\0\0\x02\0\x01a\0\0\0\x01\0\0\0\0\0\x01b\0\0\0\x02\0\0\0\0\0\0\0\x01",
        b"\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x05",
    ]
    .concat();
    assert_eq!(transaction.encode(false).unwrap(), plain);
    let flexible = [
        &b"\0\x01\0\0\0\0\0\0\0\x01\0\x02\0\0\0\x03\x01"[..],
        b"\x03\x02a\x02\0\0\0\0\0\x02b\x03\0\0\0\0\0\0\0\x01\0",
        b"\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x05\0",
    ]
    .concat();
    assert_eq!(transaction.encode(true).unwrap(), flexible);
    for bytes in [plain, flexible] {
        assert_eq!(StoredTransaction::decode(&bytes), Ok(transaction.clone()));
    }
}

#[test]
fn an_empty_one_has_no_partitions_and_a_complete_one_has_none_of_them() {
    let empty = stored(TransactionState::Empty, producer(1, 0), "");
    let complete = stored(TransactionState::CompleteCommit, producer(1, 0), "");
    let count = |bytes: &[u8]| bytes[17..21].to_vec();
    assert_eq!(count(&empty.encode(false).unwrap()), [255; 4]);
    assert_eq!(count(&complete.encode(false).unwrap()), [0; 4]);
    assert_eq!(empty.encode(true).unwrap()[17], 0);
    assert_eq!(complete.encode(true).unwrap()[17], 1);
}

#[test]
fn what_cannot_be_read_is_refused() {
    let good = stored(TransactionState::Ongoing, producer(1, 2), "a-0")
        .encode(false)
        .unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut all = good.to_vec();
        all[at..at + bytes.len()].copy_from_slice(bytes);
        all
    };
    let check = |name: &str, bytes: &[u8], error| {
        assert_eq!(StoredTransaction::decode(bytes), Err(error), "{name}");
    };
    check("nothing", b"", RecordError::Truncated);
    check("cut", &good[..good.len() - 1], RecordError::Truncated);
    check("version 2", &with(0, b"\0\x02"), RecordError::UnknownVersion(2));
    check("version -1", &with(0, b"\xff\xff"), RecordError::UnknownVersion(-1));
    check("state 8", &with(16, b"\x08"), RecordError::UnknownState(8));
    check("dead", &with(16, b"\x06"), RecordError::UnknownState(6));
    check("fencing", &with(16, b"\x07"), RecordError::UnknownState(7));
    check(
        "topics without end",
        &with(17, b"\x7f\xff\xff\xff"),
        RecordError::BadLength,
    );
    check(
        "topics below null",
        &with(17, b"\xff\xff\xff\xfe"),
        RecordError::BadLength,
    );
    check(
        "partitions without end",
        &with(24, b"\x7f\xff\xff\xff"),
        RecordError::BadLength,
    );
    check("partitions null", &with(24, b"\xff\xff\xff\xff"), RecordError::Null);
    check("topic null", &with(21, b"\xff\xff"), RecordError::Null);
    check("topic not text", &with(23, b"\xff"), RecordError::NotUtf8);
    assert_eq!(Key::decode(b""), Err(RecordError::Truncated));
    assert_eq!(Key::decode(b"\0\0\0\x05tx"), Err(RecordError::Truncated));
}

#[test]
fn the_last_record_counts_and_keys_of_other_versions_are_passed_over() {
    let mut loader = Loader::new();
    let key = |id: &str| Key::encode(id).unwrap();
    let value = |state| stored(state, producer(1, 0), "a-0").encode(false).unwrap();
    loader
        .replay(&key("a"), Some(&value(TransactionState::Ongoing)))
        .unwrap();
    loader
        .replay(&key("b"), Some(&value(TransactionState::Ongoing)))
        .unwrap();
    loader
        .replay(&key("b"), Some(&value(TransactionState::CompleteAbort)))
        .unwrap();
    loader
        .replay(&key("c"), Some(&value(TransactionState::Ongoing)))
        .unwrap();
    loader.replay(&key("c"), None).unwrap();
    loader.replay(b"\0\x01\0\x01d", Some(b"whatever")).unwrap();
    // One record that nobody can read does not take the others away.
    assert!(loader.replay(&key("a"), Some(b"\0\x09")).is_err());
    assert_eq!(loader.len(), 2);
    let core = loader.finish(TransactionConfig::default(), COORDINATOR, at(0));
    let states: Vec<_> = core
        .list(&ListFilter::default(), at(0))
        .into_iter()
        .map(|l| l.state)
        .collect();
    assert_eq!(states, [TransactionState::Ongoing, TransactionState::CompleteAbort]);
}

fn transaction() -> impl Strategy<Value = StoredTransaction> {
    let states = [
        TransactionState::Empty,
        TransactionState::Ongoing,
        TransactionState::PrepareCommit,
        TransactionState::PrepareAbort,
        TransactionState::CompleteCommit,
        TransactionState::CompleteAbort,
    ];
    let names = prop::collection::btree_set(("[a-cé]{1,3}", 0..5i32), 0..8);
    (0..states.len(), any::<(i64, i16, i32, i64, i64)>(), names).prop_map(
        move |(state, (id, epoch, timeout_ms, last_update, start), names)| StoredTransaction {
            producer: producer(id, epoch),
            timeout_ms,
            state: states[state],
            partitions: if states[state] == TransactionState::Empty {
                partitions("")
            } else {
                names
                    .into_iter()
                    .map(|(topic, number)| model::TopicPartition::new(topic, number))
                    .collect()
            },
            last_update: Millis(last_update),
            start: Millis(start),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_transaction_is_read_as_it_was_written(transaction in transaction(), flexible: bool) {
        let bytes = transaction.encode(flexible).unwrap();
        prop_assert_eq!(StoredTransaction::decode(&bytes), Ok(transaction));
    }

    #[test]
    fn a_key_is_read_as_it_was_written(id in ".{0,40}") {
        let bytes = Key::encode(&id).unwrap();
        prop_assert_eq!(Key::decode(&bytes), Ok(Key::Transaction(id.into())));
    }

    #[test]
    fn mutilated_records_are_refused_or_served_without_a_panic(
        transaction in transaction(), flexible: bool,
        cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(), bits in 0u8..,
    ) {
        let mut bytes = transaction.encode(flexible).unwrap().to_vec();
        let at_byte = flip.index(bytes.len());
        bytes[at_byte] ^= bits;
        bytes.truncate(cut.index(bytes.len()) + 1);
        let mut loader = Loader::new();
        let mut key = Key::encode("x").unwrap().to_vec();
        if loader.replay(&key, Some(&bytes)).is_ok() {
            let mut core = loader.finish(TransactionConfig::default(), COORDINATOR, at(0));
            let request = InitRequest { transactional_id: "x".into(), timeout_ms: 1, expected: None };
            core.init_producer_id(Ticket(1), &request, || Ok(1.into()), at(1));
            core.tick(at(i64::MAX / 4));
            for effect in core.take_effects() {
                if let Effect::Append(id, _) = effect {
                    core.appended(id, Ok(()), at(i64::MAX / 4));
                }
            }
        }
        let at_byte = flip.index(key.len());
        key[at_byte] ^= bits;
        if let Ok(Key::Transaction(id)) = Key::decode(&key) {
            prop_assert_eq!(Key::encode(&id).unwrap().len(), 4 + id.len());
        }
    }
}
