//! A log against a vector: any sequence of appends, truncations, flushes, stops and crashes.

use proptest::prelude::*;

use super::*;
use crate::batch::Entries;

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Flush,
    Truncate(u8),
    DeleteBefore(u8),
    Retain,
    Reopen,
    /// Kill -9, then so many bytes of the last segment are torn off, as far as they were not flushed.
    Crash(u16),
    StartAnew(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1u8..5).prop_map(Step::Append),
        2 => Just(Step::Flush),
        2 => any::<u8>().prop_map(Step::Truncate),
        1 => any::<u8>().prop_map(Step::DeleteBefore),
        1 => Just(Step::Retain),
        1 => Just(Step::Reopen),
        2 => (0u16..400).prop_map(Step::Crash),
        1 => any::<u8>().prop_map(Step::StartAnew),
    ];
    prop::collection::vec(step, 1..40)
}

/// What should be there: offsets with values, from the start to the end.
#[derive(Default)]
struct Expected {
    start: i64,
    end: i64,
    records: Vec<(i64, String)>,
}

impl Expected {
    fn ends_at(&mut self, end: i64) {
        self.end = end;
        self.start = self.start.min(end);
        self.records.retain(|(offset, _)| *offset < end);
    }

    fn starts_at(&mut self, start: i64) {
        self.start = start;
        self.records.retain(|(offset, _)| *offset >= start);
    }
}

/// A truncation cuts whole batches: the end is the base of the batch that holds the offset.
fn run(steps: Vec<Step>) {
    let mut bench = Bench::new(&[("segment.bytes", "400"), ("index.interval.bytes", "120")]);
    let mut expected = Expected::default();
    let mut counter = 0;
    for step in steps {
        match step.clone() {
            Step::Append(count) => {
                let values: Vec<String> = (0..count).map(|i| format!("{counter}.{i}")).collect();
                counter += 1;
                let refs: Vec<&str> = values.iter().map(String::as_str).collect();
                let appended = bench.put(batch(counter, &refs));
                assert_eq!(appended.first_offset.0, expected.end);
                for value in values {
                    expected.records.push((expected.end, value));
                    expected.end += 1;
                }
            }
            Step::Flush => {
                bench.flush().unwrap();
                assert_eq!(bench.recovery_point(), bench.log_end_offset());
            }
            Step::Truncate(back) => {
                let to = (expected.end - i64::from(back) % 10).max(expected.start);
                // Only batch boundaries are asked for by leaders.
                let slice = bench.read(Offset(to), 1, bench.log_end_offset(), true).unwrap();
                let to = slice.first_offset.max(bench.log_start_offset());
                bench.truncate_to(to).unwrap();
                expected.ends_at(to.0);
            }
            Step::DeleteBefore(back) => {
                let before = (expected.end - i64::from(back) % 10).max(expected.start);
                bench.delete_records_before(Offset(before)).unwrap();
                expected.starts_at(before);
            }
            Step::Retain => {
                bench.enforce_retention(Millis(0)).unwrap();
            }
            Step::Reopen => bench.reopen(),
            Step::Crash(torn) => {
                let point = bench.recovery_point();
                let (start, end) = (bench.log_start_offset(), bench.log_end_offset());
                let base = bench.active().base_offset();
                let mut left = end;
                bench.crash(|path| {
                    let file = path.join(format!("{:020}.log", base.0));
                    let content = std::fs::read(&file).unwrap();
                    let mut cut = content.len().saturating_sub(torn.into());
                    // What was flushed is not lost.
                    let mut entries = Entries::new(&content);
                    while let Some(Ok(entry)) = entries.next() {
                        if entry.last_offset() < point {
                            cut = cut.max(entries.position());
                        }
                    }
                    std::fs::write(&file, &content[..cut]).unwrap();
                    let whole = Entries::new(&content[..cut]);
                    left = whole
                        .map_while(Result::ok)
                        .last()
                        .map_or(base, |e| e.last_offset().next());
                });
                if left < start {
                    // All that is left was deleted before: the log is empty at its start.
                    left = start;
                }
                expected.ends_at(left.0);
                expected.start = start.0;
            }
            Step::StartAnew(at) => {
                let at = expected.end + i64::from(at) - 100;
                let at = at.max(0);
                bench.truncate_fully_and_start_at(Offset(at)).unwrap();
                expected = Expected {
                    start: at,
                    end: at,
                    records: Vec::new(),
                };
            }
        }
        assert_eq!(bench.log_start_offset().0, expected.start, "{step:?}");
        assert_eq!(bench.log_end_offset().0, expected.end, "{step:?}");
        assert_eq!(bench.all(), expected.records, "{step:?}");
        assert!(bench.recovery_point() <= bench.log_end_offset(), "{step:?}");
        bench.update_high_watermark(bench.log_end_offset());
        if let Some((offset, _)) = expected.records.first() {
            let found = bench.offset_for_timestamp(Millis(0)).unwrap().unwrap();
            assert_eq!(found.offset.0, *offset, "{step:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_a_vector_that_survives(steps in steps()) {
        run(steps);
    }
}
