//! Any log, cleaned any number of times at any time: what readers make of it stays the same.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// A batch of (key, tombstone?) by a producer, or by none for 0; the codec.
    Append(Vec<(u8, bool)>, u8, u8),
    /// Ends the producer's transaction.
    End(u8, bool),
    /// So much later, with a map for so many keys.
    Clean(u16, u8),
    Crash,
    Truncate(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let record = (0u8..8, prop::bool::weighted(0.2));
    let step = prop_oneof![
        12 => (prop::collection::vec(record, 1..5), 0u8..4, 0u8..8).prop_map(|(r, p, c)| Step::Append(r, p, c)),
        3 => (1u8..4, any::<bool>()).prop_map(|(p, commit)| Step::End(p, commit)),
        3 => (0u16..2000, 1u8..30).prop_map(|(later, keys)| Step::Clean(later, keys)),
        1 => Just(Step::Crash),
        1 => (0u8..6).prop_map(Step::Truncate),
    ];
    prop::collection::vec(step, 1..60)
}

struct Model {
    bench: Bench,
    now: i64,
    checkpoint: Offset,
    /// The high watermark when it was last cleaned: what is committed is not truncated.
    committed: Offset,
    sequences: [i32; 4],
    open: [bool; 4],
    written: u32,
}

impl Model {
    fn append(&mut self, records: &[(u8, bool)], producer: u8, codec: u8) {
        let mut builder = BatchBuilder::new();
        let p = usize::from(producer);
        if producer > 0 {
            // The third one has no transactions.
            let transactional = producer < 3;
            let sequence = self.sequences[p];
            builder = builder
                .producer(ProducerId(producer.into()), ProducerEpoch(0), Sequence(sequence))
                .transactional(transactional);
            self.sequences[p] += records.len() as i32;
            self.open[p] |= transactional;
        }
        for (key, tombstone) in records {
            self.written += 1;
            let value = format!("value-{}", self.written);
            let value = (!tombstone).then_some(value.as_bytes());
            builder.push(Millis(self.now + i64::from(*key)), Some(&[b'k', b'0' + key]), value);
        }
        let codec = match codec {
            0 => Compression::Gzip { level: 1 },
            1 => Compression::Snappy,
            2 => Compression::Lz4 { level: 1 },
            3 => Compression::Zstd { level: 1 },
            _ => Compression::None,
        };
        self.bench.append(builder.build_compressed(codec).unwrap(), CLIENT);
    }

    fn clean(&mut self, later: u16, keys: u8) {
        self.now += i64::from(later);
        let bench = &self.bench;
        if self.checkpoint > bench.log_end_offset() {
            // What is left before a cut may have no record at all; after a crash the log then begins anew.
            self.checkpoint = Offset(0);
        }
        let limit = bench.dirt(Some(self.checkpoint), Millis(self.now)).first_uncleanable;
        let (all, committed) = (bench.all(), bench.committed());
        self.committed = self.committed.max(bench.high_watermark());
        let producers = producers(bench);
        let end_before = bench.log_end_offset();
        let map_bytes = (usize::from(keys) * 64 * offset_map::SLOT_BYTES) as u64;
        let end = match bench.clean_with(self.checkpoint, self.now, map_bytes) {
            Ok((end, _)) => end,
            // A shard of a few slots may be full at once.
            Err(CleanError::MapTooSmall { .. }) => return,
            Err(error) => panic!("{error}"),
        };
        assert!(
            end >= self.checkpoint && end <= limit.max(self.checkpoint),
            "{end} {limit}"
        );
        self.checkpoint = end;
        let (all_after, committed_after) = (bench.all(), bench.committed());
        // Order, offsets, timestamps, keys and values of what is left.
        let mut left = all.iter();
        for record in &all_after {
            assert!(
                left.any(|before| before == record),
                "{record:?} was not there, or not there"
            );
        }
        let past = |records: &[Seen]| records.iter().filter(|r| r.0 >= limit.0).cloned().collect::<Vec<_>>();
        assert_eq!(past(&all_after), past(&all), "nothing is touched from {limit} on");
        assert!(committed_after.iter().all(|record| committed.contains(record)));
        assert_eq!(table(&committed_after), table(&committed));
        let gone = |record: &&Seen| !all_after.contains(record);
        // A tombstone goes by its horizon only, or for a later record of its key.
        for record in committed.iter().filter(|record| record.3.is_none()).filter(gone) {
            let superseded = committed.iter().any(|later| later.2 == record.2 && later.0 > record.0);
            assert!(superseded || self.now > 1_000, "{record:?}");
        }
        // One of each key in what is clean, where the keys fitted.
        if end == limit && end > Offset(0) {
            let mut keys: Vec<_> = committed_after.iter().filter(|r| r.0 < end.0).map(|r| &r.2).collect();
            let count = keys.len();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), count, "{committed_after:?} clean up to {end}");
        }
        assert_eq!(model_based::producers(bench), producers);
        assert_eq!(bench.log_end_offset(), end_before);
    }
}

/// Each producer, its last sequence, and where its transaction began.
fn producers(bench: &Bench) -> Vec<(i64, i32, Option<Offset>)> {
    let mut all: Vec<_> = bench
        .active_producers()
        .iter()
        .map(|p| (p.producer_id.0, p.last_sequence.0, p.current_transaction_first_offset))
        .collect();
    all.sort();
    all
}

fn run(steps: Vec<Step>) {
    let configs = [
        ("segment.bytes", "500"),
        ("index.interval.bytes", "100"),
        ("delete.retention.ms", "1000"),
    ];
    let mut model = Model {
        bench: Bench::new(&configs),
        now: 0,
        checkpoint: Offset(0),
        committed: Offset(0),
        sequences: [0; 4],
        open: [false; 4],
        written: 0,
    };
    for step in steps {
        match step {
            Step::Append(records, producer, codec) => model.append(&records, producer, codec),
            Step::End(producer, commit) => {
                if std::mem::take(&mut model.open[usize::from(producer)]) {
                    model.bench.end_transaction(producer.into(), commit);
                }
            }
            Step::Clean(later, keys) => model.clean(later, keys),
            Step::Crash => {
                let seen = (model.bench.all(), model.bench.committed(), producers(&model.bench));
                for name in model.bench.names() {
                    // Producers and indexes are found again in the records.
                    if name.ends_with("index") || name.ends_with(".snapshot") {
                        std::fs::remove_file(model.bench.path().join(name)).unwrap();
                    }
                }
                model.bench.crash();
                assert_eq!(
                    (model.bench.all(), model.bench.committed(), producers(&model.bench)),
                    seen
                );
            }
            Step::Truncate(back) => {
                let bench = &model.bench;
                let batches = bench.batches();
                let Some(cut) = batches.iter().rev().nth(back.into()) else {
                    continue;
                };
                let to = crate::batch::Batch::new(cut).unwrap().base_offset();
                if to < model.committed {
                    continue;
                }
                bench.truncate_to(to).unwrap();
                model.checkpoint = bench.take_lowest_truncation().unwrap().min(model.checkpoint);
                // Producers go on from what is left.
                model.sequences = [0; 4];
                model.open = [false; 4];
                for producer in bench.active_producers() {
                    let at = producer.producer_id.0 as usize;
                    model.sequences[at] = producer.last_sequence.0 + 1;
                    model.open[at] = producer.current_transaction_first_offset.is_some();
                }
            }
        }
    }
    // What is open ends, and all is cleaned: one record of each key.
    for producer in 1..4 {
        if std::mem::take(&mut model.open[producer]) {
            model.bench.end_transaction(producer as i64, producer % 2 == 0);
        }
    }
    model.bench.roll();
    model.clean(0, 255);
    model.clean(5000, 255);
    model.clean(5000, 255);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn readers_of_a_cleaned_log_see_what_they_saw(steps in steps()) {
        run(steps);
    }
}
