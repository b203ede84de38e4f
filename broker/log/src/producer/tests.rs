//! Producers: sequences and epochs, transactions, expiry, and the snapshots of a real 3.9.1 broker.

use proptest::prelude::*;

use super::*;
use crate::append::Origin;
use crate::batch::{Batch, BatchBuilder, BatchHeader, EndTransactionMarker, Entries, Entry};

const CLIENT: Origin = Origin::Client { api_version: 11 };
const TXN_0: &[u8] = include_bytes!("../../testdata/batches/txn-0/00000000000000000000.log");
const TXN_37: &[u8] = include_bytes!("../../testdata/batches/txn-0/00000000000000000037.log");
const SNAPSHOT_37: &[u8] = include_bytes!("../../testdata/batches/txn-0/00000000000000000037.snapshot");
const SNAPSHOT_41: &[u8] = include_bytes!("../../testdata/batches/txn-0/00000000000000000041.snapshot");
const TXN_INDEX: &[u8] = include_bytes!("../../testdata/batches/txn-0/00000000000000000000.txnindex");
const DAY: Millis = Millis(86_400_000);

/// A log of one producer's batches, as its states see it.
#[derive(Clone, Default)]
struct Log {
    states: ProducerStates,
    end: Offset,
}

#[derive(Clone, Copy)]
struct Data {
    producer_id: i64,
    epoch: i16,
    sequence: i32,
    count: i32,
    transactional: bool,
}

const fn data(epoch: i16, sequence: i32, count: i32) -> Data {
    Data {
        producer_id: 1,
        epoch,
        sequence,
        count,
        transactional: false,
    }
}

impl Log {
    fn header(&self, data: Data) -> BatchHeader {
        let mut builder = BatchBuilder::new()
            .base_offset(self.end)
            .producer(
                ProducerId(data.producer_id),
                ProducerEpoch(data.epoch),
                Sequence(data.sequence),
            )
            .transactional(data.transactional);
        for _ in 0..data.count {
            builder.push(Millis(1000 + self.end.0), None, None);
        }
        BatchHeader::read(&builder.build()).unwrap()
    }

    fn append(&mut self, data: Data, origin: Origin) -> Result<(), ProducerError> {
        let header = self.header(data);
        let mut changes = Changes::default();
        changes.add(&self.states, &header, None, origin)?;
        self.end = header.last_offset().next();
        assert!(self.states.apply(&changes, self.end).is_empty());
        Ok(())
    }

    fn begin(&mut self, producer_id: i64, sequence: i32) {
        let data = Data {
            producer_id,
            transactional: true,
            ..data(0, sequence, 1)
        };
        self.append(data, CLIENT).unwrap();
    }

    fn end(
        &mut self,
        producer_id: i64,
        epoch: i16,
        committed: bool,
        coordinator_epoch: i32,
        origin: Origin,
    ) -> Result<Option<CompletedTransaction>, ProducerError> {
        let marker = EndTransactionMarker {
            committed,
            coordinator_epoch,
        };
        let bytes = BatchBuilder::end_transaction(ProducerId(producer_id), ProducerEpoch(epoch), Millis(2000), marker);
        let mut header = BatchHeader::read(&bytes).unwrap();
        header.set_base_offset(self.end);
        let mut changes = Changes::default();
        changes.add(&self.states, &header, Some((marker, Millis(2000))), origin)?;
        self.end = self.end.next();
        Ok(self.states.apply(&changes, self.end).first().copied())
    }
}

#[test]
fn sequences_are_held_against_the_last_batch_of_the_epoch() {
    use ProducerError::{InvalidProducerEpoch, OutOfOrderSequence};
    let producer_id = ProducerId(1);
    let gap = |last, found| {
        Err(OutOfOrderSequence {
            producer_id,
            last: Sequence(last),
            found: Sequence(found),
        })
    };
    let check = |name: &str, before: &[Data], next: Data, expected: Result<(), ProducerError>| {
        let mut log = Log::default();
        for data in before {
            log.append(*data, CLIENT).unwrap();
        }
        assert_eq!(log.append(next, CLIENT), expected, "{name}");
    };
    check("unknown producer at 0", &[], data(0, 0, 1), Ok(()));
    check("unknown producer anywhere", &[], data(5, 9, 1), Ok(()));
    check("next", &[data(0, 0, 3)], data(0, 3, 1), Ok(()));
    check("gap", &[data(0, 0, 3)], data(0, 4, 1), gap(2, 4));
    check(
        "again, but not the same batch",
        &[data(0, 0, 3)],
        data(0, 1, 1),
        gap(2, 1),
    );
    check("wraps to 0", &[data(0, i32::MAX, 1)], data(0, 0, 1), Ok(()));
    check(
        "wraps inside a batch",
        &[data(0, i32::MAX - 1, 3)],
        data(0, 1, 1),
        Ok(()),
    );
    check(
        "does not wrap to 1",
        &[data(0, i32::MAX, 1)],
        data(0, 1, 1),
        gap(i32::MAX, 1),
    );
    check("new epoch at 0", &[data(0, 0, 3)], data(1, 0, 1), Ok(()));
    check("new epoch elsewhere", &[data(0, 0, 3)], data(1, 3, 1), gap(-1, 3));
    check(
        "after a new epoch",
        &[data(0, 0, 3), data(1, 0, 1)],
        data(1, 1, 1),
        Ok(()),
    );
    let fenced = InvalidProducerEpoch {
        producer_id,
        current: ProducerEpoch(1),
        found: ProducerEpoch(0),
    };
    check("old epoch", &[data(0, 0, 3), data(1, 0, 1)], data(0, 3, 1), Err(fenced));
}

#[test]
fn only_clients_have_sequences_and_only_replication_has_no_epochs() {
    let check = |name: &str, origin: Origin, next: Data, ok: bool| {
        let mut log = Log::default();
        log.append(data(1, 0, 1), CLIENT).unwrap();
        assert_eq!(log.append(next, origin).is_ok(), ok, "{name}");
    };
    check("coordinator, any sequence", Origin::Coordinator, data(1, 7, 1), true);
    check("coordinator, old epoch", Origin::Coordinator, data(0, 1, 1), false);
    check("replication, any sequence", Origin::Replication, data(1, 7, 1), true);
    check("replication, old epoch", Origin::Replication, data(0, 1, 1), true);
}

#[test]
fn the_last_five_batches_are_recognised() {
    let mut log = Log::default();
    for i in 0..6 {
        log.append(data(0, i * 2, 2), CLIENT).unwrap();
    }
    let found = |first: i32, last: i32, epoch: i16| {
        let entry = log.states.entry(ProducerId(1)).unwrap();
        entry
            .duplicate(ProducerEpoch(epoch), Sequence(first), Sequence(last))
            .map(|batch| batch.first_offset())
    };
    assert_eq!(found(0, 1, 0), None, "forgotten");
    assert_eq!(found(2, 3, 0), Some(Offset(2)));
    assert_eq!(found(10, 11, 0), Some(Offset(10)));
    assert_eq!(found(10, 11, 1), None, "another epoch");
    assert_eq!(found(9, 11, 0), None, "another range");
    log.append(data(1, 0, 1), CLIENT).unwrap();
    assert_eq!(
        log.states.entry(ProducerId(1)).unwrap().batches().len(),
        1,
        "a new epoch starts over"
    );
}

#[test]
fn a_sequence_range_over_the_wrap_is_recognised() {
    let mut log = Log::default();
    log.append(data(0, i32::MAX - 1, 4), CLIENT).unwrap();
    let entry = log.states.entry(ProducerId(1)).unwrap();
    assert!(
        entry
            .duplicate(ProducerEpoch(0), Sequence(i32::MAX - 1), Sequence(1))
            .is_some()
    );
}

#[test]
fn the_last_stable_offset_waits_for_the_marker_and_its_replication() {
    let mut log = Log::default();
    assert_eq!(log.states.first_unstable_offset(), None);
    log.begin(1, 0);
    log.begin(2, 0);
    assert_eq!(log.states.first_unstable_offset(), Some(Offset(0)));
    assert!(log.states.has_ongoing_transaction(ProducerId(1)));

    let aborted = log.end(1, 0, false, 3, Origin::Coordinator).unwrap().unwrap();
    let expected = CompletedTransaction {
        producer_id: ProducerId(1),
        first_offset: Offset(0),
        last_offset: Offset(2),
        aborted: true,
        last_stable_offset: Offset(1),
    };
    assert_eq!(aborted, expected);
    assert!(!log.states.has_ongoing_transaction(ProducerId(1)));
    assert_eq!(log.states.first_undecided_offset(), Some(Offset(1)));
    assert_eq!(
        log.states.first_unstable_offset(),
        Some(Offset(0)),
        "not replicated yet"
    );
    log.states.high_watermark_moved(Offset(2));
    assert_eq!(
        log.states.first_unstable_offset(),
        Some(Offset(0)),
        "the marker itself is not replicated"
    );
    log.states.high_watermark_moved(Offset(3));
    assert_eq!(log.states.first_unstable_offset(), Some(Offset(1)));

    let committed = log.end(2, 0, true, 3, Origin::Coordinator).unwrap().unwrap();
    assert_eq!((committed.aborted, committed.last_stable_offset), (false, Offset(4)));
    log.states.high_watermark_moved(Offset(4));
    assert_eq!(log.states.first_unstable_offset(), None);
}

#[test]
fn markers_are_fenced() {
    let check =
        |name: &str, epoch: i16, coordinator_epoch: i32, origin: Origin, expected: Result<bool, ProducerError>| {
            let mut log = Log::default();
            log.begin(1, 0);
            log.end(1, 1, true, 5, Origin::Coordinator).unwrap();
            log.append(
                Data {
                    transactional: true,
                    ..data(1, 0, 1)
                },
                CLIENT,
            )
            .unwrap();
            let outcome = log.end(1, epoch, true, coordinator_epoch, origin);
            assert_eq!(outcome.map(|completed| completed.is_some()), expected, "{name}");
        };
    let producer_id = ProducerId(1);
    check("same epochs", 1, 5, Origin::Coordinator, Ok(true));
    check("later epochs", 2, 6, Origin::Coordinator, Ok(true));
    let old_producer = ProducerError::InvalidProducerEpoch {
        producer_id,
        current: ProducerEpoch(1),
        found: ProducerEpoch(0),
    };
    check("old producer epoch", 0, 5, Origin::Coordinator, Err(old_producer));
    let old_coordinator = ProducerError::CoordinatorFenced {
        producer_id,
        current: 5,
        found: 4,
    };
    check("old coordinator", 1, 4, Origin::Coordinator, Err(old_coordinator));
    check("old coordinator, replicated", 1, 4, Origin::Replication, Ok(true));
}

#[test]
fn a_marker_without_data_ends_nothing() {
    let mut log = Log::default();
    assert_eq!(log.end(1, 0, false, 0, Origin::Coordinator), Ok(None));
    assert_eq!(log.states.first_unstable_offset(), None);
    assert_eq!(log.states.entry(ProducerId(1)).unwrap().coordinator_epoch, 0);
}

#[test]
fn inside_a_transaction_every_write_belongs_to_it() {
    let mut log = Log::default();
    log.begin(1, 0);
    let expected = ProducerError::InvalidTransactionState {
        producer_id: ProducerId(1),
    };
    assert_eq!(log.append(data(0, 1, 1), CLIENT), Err(expected));
}

#[test]
fn one_append_may_hold_many_producers() {
    let mut log = Log::default();
    let mut changes = Changes::default();
    for round in 0..3 {
        for producer_id in 0..40 {
            let header = log.header(Data {
                producer_id,
                ..data(0, round, 1)
            });
            log.end = log.end.next();
            changes.add(&log.states, &header, None, CLIENT).unwrap();
        }
    }
    log.states.apply(&changes, log.end);
    assert_eq!(log.states.len(), 40);
    for entry in log.states.entries() {
        assert_eq!((entry.batches().len(), entry.last_sequence()), (3, Sequence(2)));
    }
}

#[test]
fn silent_producers_expire_unless_they_have_a_transaction_open() {
    let mut log = Log::default();
    log.append(data(0, 0, 1), CLIENT).unwrap();
    log.begin(2, 0);
    assert_eq!(log.states.expire(Millis(1000) + DAY - Millis(1), DAY), 0);
    assert_eq!(log.states.expire(Millis(1000) + DAY, DAY), 1);
    assert_eq!(log.states.expire(Millis(i64::MAX), DAY), 0);
    assert!(log.states.entry(ProducerId(2)).is_some());
}

#[test]
fn a_transaction_is_late_after_its_timeout_and_five_minutes() {
    let mut log = Log::default();
    log.begin(1, 0);
    let check = |now: i64, late: bool| {
        assert_eq!(
            log.states.has_late_transaction(Millis(now), Millis(900_000)),
            late,
            "{now}"
        );
    };
    check(1000 + 900_000 + 300_000, false);
    check(1000 + 900_000 + 300_001, true);
}

fn replay(states: &mut ProducerStates, log: &[u8]) -> Vec<CompletedTransaction> {
    let mut completed = Vec::new();
    for entry in Entries::new(log) {
        let Entry::Batch(batch) = entry.unwrap() else {
            panic!("format 2 only")
        };
        completed.extend(states.replay(&batch).unwrap());
    }
    completed
}

#[test]
fn replaying_a_real_log_gives_its_snapshots_and_its_transaction_index() {
    let mut states = ProducerStates::new(Offset(0));
    let mut completed = replay(&mut states, TXN_0);
    assert_eq!(states.map_end_offset(), Offset(37));
    assert_eq!(states.encode(), SNAPSHOT_37);

    completed.extend(replay(&mut states, TXN_37));
    assert_eq!(states.encode(), SNAPSHOT_41);
    assert_eq!(
        states.first_undecided_offset(),
        Some(Offset(38)),
        "producer 1006 was still at it"
    );

    let index: Vec<u8> = completed
        .iter()
        .filter(|transaction| transaction.aborted)
        .flat_map(|transaction| {
            let mut entry = 0i16.to_be_bytes().to_vec();
            entry.extend(transaction.producer_id.0.to_be_bytes());
            entry.extend(transaction.first_offset.0.to_be_bytes());
            entry.extend(transaction.last_offset.0.to_be_bytes());
            entry.extend(transaction.last_stable_offset.0.to_be_bytes());
            entry
        })
        .collect();
    assert_eq!(index, TXN_INDEX);
}

#[test]
fn a_snapshot_and_the_rest_of_the_log_give_the_same_state() {
    let mut states = ProducerStates::new(Offset(0));
    states
        .load(SNAPSHOT_37, Offset(37), Millis(1_795_250_394_331), DAY)
        .unwrap();
    assert!(!states.needs_snapshot());
    assert_eq!(
        states.first_unstable_offset(),
        Some(Offset(36)),
        "1004 has a transaction open at 37"
    );
    replay(&mut states, TXN_37);
    assert!(states.needs_snapshot());
    assert_eq!(states.encode(), SNAPSHOT_41);
    assert_eq!(states.encode().len(), 10 + 3 * 46);
    states.snapshot_taken();
    assert!(!states.needs_snapshot());
}

#[test]
fn snapshots_are_checked() {
    let check = |name: &str, patch: &dyn Fn(&mut Vec<u8>), expected: Result<usize, CorruptSnapshot>| {
        let mut bytes = SNAPSHOT_41.to_vec();
        patch(&mut bytes);
        let mut states = ProducerStates::new(Offset(5));
        let outcome = states.load(&bytes, Offset(41), Millis(0), DAY);
        assert_eq!(outcome.map(|()| states.len()), expected, "{name}");
        let end = if outcome.is_ok() { Offset(41) } else { Offset(5) };
        assert_eq!(states.map_end_offset(), end, "{name}");
    };
    let reseal = |bytes: &mut Vec<u8>| {
        let crc = crc32c::crc32c(&bytes[6..]);
        bytes[2..6].copy_from_slice(&crc.to_be_bytes());
    };
    check("whole", &|_| {}, Ok(3));
    check("empty", &|bytes| bytes.clear(), Err(CorruptSnapshot::Truncated));
    check(
        "version 2",
        &|bytes| bytes[1] = 2,
        Err(CorruptSnapshot::UnknownVersion(2)),
    );
    let count = |count: i32| {
        move |bytes: &mut Vec<u8>| {
            bytes[6..10].copy_from_slice(&count.to_be_bytes());
            reseal(bytes);
        }
    };
    check("count too large", &count(4), Err(CorruptSnapshot::Truncated));
    check("count huge", &count(i32::MAX), Err(CorruptSnapshot::Truncated));
    check("count negative", &count(-1), Err(CorruptSnapshot::Truncated));
    check("expired ones stay out", &|_| {}, Ok(3));
    let mut states = ProducerStates::default();
    states.load(SNAPSHOT_41, Offset(41), Millis(i64::MAX), DAY).unwrap();
    assert_eq!(states.len(), 1, "only the one with a transaction open");
}

#[test]
fn what_no_leader_writes_is_refused_in_a_replay() {
    let mut builder = BatchBuilder::new()
        .producer(ProducerId(1), ProducerEpoch(0), Sequence::NONE)
        .transactional(true)
        .control(true);
    builder.push(Millis(0), None, None);
    let bytes = builder.build();
    let batch = Batch::new(&bytes).unwrap();
    let expected = ProducerError::InvalidMarker {
        producer_id: ProducerId(1),
    };
    assert_eq!(ProducerStates::default().replay(&batch), Err(expected));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_snapshot_comes_back(producers in prop::collection::vec((0i64..50, 0i32..1000, 1i32..5, any::<bool>()), 0..40)) {
        let mut log = Log::default();
        for (producer_id, sequence, count, transactional) in producers {
            let open = log.states.has_ongoing_transaction(ProducerId(producer_id));
            let data = Data { producer_id, transactional: transactional || open, ..data(0, sequence, count) };
            log.append(data, Origin::Replication).unwrap();
        }
        let bytes = log.states.encode();
        let mut loaded = ProducerStates::default();
        loaded.load(&bytes, log.end, Millis(0), DAY).unwrap();
        prop_assert_eq!(loaded.encode(), bytes);
        prop_assert_eq!(loaded.len(), log.states.len());
        prop_assert_eq!(loaded.first_unstable_offset(), log.states.first_unstable_offset());
    }

    /// Recovery replays what passes its checksum; whatever does not is replayed here as well.
    #[test]
    fn a_damaged_log_is_replayed_or_refused(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<[u8; 8]>()), 1..4),
    ) {
        let mut bytes = [TXN_0, TXN_37].concat();
        for (at, value) in damage {
            let at = at.index(bytes.len() - 8);
            bytes[at..at + 8].copy_from_slice(&value);
        }
        let mut states = ProducerStates::default();
        for entry in Entries::new(&bytes) {
            if let Ok(Entry::Batch(batch)) = entry {
                let _ = states.replay(&batch);
                states.high_watermark_moved(batch.last_offset());
            }
        }
        prop_assert!(states.len() <= 20);
        let encoded = states.encode();
        let mut loaded = ProducerStates::default();
        loaded.load(&encoded, states.map_end_offset(), Millis(i64::MIN), DAY).unwrap();
        prop_assert_eq!(loaded.encode().len(), encoded.len());
        states.expire(Millis(i64::MAX), DAY);
        states.has_late_transaction(Millis(i64::MAX), DAY);
    }

    #[test]
    fn damaged_snapshots_are_refused(
        at in any::<prop::sample::Index>(), value in 1u8.., cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = SNAPSHOT_41.to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= value;
        prop_assert!(ProducerStates::default().load(&bytes, Offset(41), Millis(0), DAY).is_err());
        let cut = &SNAPSHOT_41[..cut.index(SNAPSHOT_41.len())];
        prop_assert!(ProducerStates::default().load(cut, Offset(41), Millis(0), DAY).is_err());
    }
}
