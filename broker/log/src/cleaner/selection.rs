//! Which part of a log can be cleaned, whether it is worth it, and which segments become one.
//!
//! Pure: a log is described by numbers. Source: Kafka 3.9 `LogCleanerManager.cleanableOffsets`,
//! `calculateCleanableBytes`, `maxCompactionDelay`, `LogToClean`, `Cleaner.groupSegmentsBySize`; KIP-354.

use std::ops::Range;

use model::{Millis, Offset};

use crate::config::LogConfig;

/// A segment as the choice sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentFacts {
    pub(crate) base_offset: Offset,
    pub(crate) size: u64,
}

/// A log as the choice sees it. The last segment is the active one.
pub(crate) struct Facts<'a> {
    pub(crate) log_start_offset: Offset,
    pub(crate) log_end_offset: Offset,
    pub(crate) last_stable_offset: Offset,
    pub(crate) segments: &'a [SegmentFacts],
    /// How far it was cleaned, by the checkpoint.
    pub(crate) checkpoint: Option<Offset>,
}

/// What of a log is dirty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Dirt {
    /// Below it the log is clean.
    pub(crate) first_dirty: Offset,
    /// From here on nothing may be cleaned: the base of a segment.
    pub(crate) first_uncleanable: Offset,
    pub(crate) clean_bytes: u64,
    pub(crate) cleanable_bytes: u64,
    /// The checkpoint was out of the log, and is to be put right.
    pub(crate) reset: bool,
    /// By how much the oldest dirty record has outstayed `max.compaction.lag.ms`.
    pub(crate) overdue: Millis,
}

impl Dirt {
    /// The dirty share of what would be read.
    pub(crate) fn ratio(&self) -> f64 {
        match self.clean_bytes + self.cleanable_bytes {
            0 => 0.0,
            total => self.cleanable_bytes as f64 / total as f64,
        }
    }

    /// Whether it is worth cleaning.
    pub(crate) fn is_due(&self, config: &LogConfig) -> bool {
        self.cleanable_bytes > 0 && (self.overdue > Millis(0) || self.ratio() > config.min_cleanable_dirty_ratio)
    }
}

/// What of a log is dirty at `now`. `largest` and `first` answer with the largest timestamp, and that of the first batch,
/// of a segment; they are asked only where the configuration goes by time.
///
/// # Errors
/// Those of `largest` and `first`.
pub(crate) fn dirt<E>(
    facts: &Facts<'_>,
    config: &LogConfig,
    now: Millis,
    largest: impl Fn(usize) -> Result<Millis, E>,
    first: impl Fn(usize) -> Result<Option<Millis>, E>,
) -> Result<Dirt, E> {
    let start = facts.log_start_offset;
    let (first_dirty, reset) = match facts.checkpoint {
        None => (start, false),
        Some(checkpoint) if checkpoint < start || checkpoint > facts.log_end_offset => (start, true),
        Some(checkpoint) => (checkpoint, false),
    };
    let Some((active, inactive)) = facts.segments.split_last() else {
        return Ok(Dirt {
            first_dirty,
            first_uncleanable: first_dirty,
            clean_bytes: 0,
            cleanable_bytes: 0,
            reset,
            overdue: Millis(0),
        });
    };
    let from = |offset: Offset| {
        inactive
            .partition_point(|segment| segment.base_offset <= offset)
            .saturating_sub(1)
    };
    let dirty = if first_dirty >= active.base_offset {
        inactive.len()
    } else {
        from(first_dirty)
    };
    let mut limit = facts.last_stable_offset.min(active.base_offset);
    let lag = config.min_compaction_lag_ms;
    if lag > Millis(0) {
        for (at, segment) in inactive.iter().enumerate().skip(dirty) {
            if largest(at)?.0 > now.0.saturating_sub(lag.0) {
                limit = limit.min(segment.base_offset);
                break;
            }
        }
    }
    let limit = limit.max(first_dirty);
    // Whole segments: the one that holds the limit is not cleaned.
    let first_uncleanable = if inactive.is_empty() || limit >= active.base_offset {
        active.base_offset
    } else {
        inactive[from(limit)].base_offset
    };
    let mut overdue = Millis(0);
    if config.max_compaction_lag_ms < Millis(i64::MAX) {
        let until = now.0.saturating_sub(config.max_compaction_lag_ms.0.max(0));
        for (at, segment) in inactive.iter().enumerate().skip(dirty) {
            if segment.base_offset >= first_uncleanable {
                break;
            }
            if let Some(timestamp) = first(at)?.filter(|timestamp| *timestamp > Millis(0)) {
                overdue = overdue.max(Millis(until.saturating_sub(timestamp.0)));
            }
        }
    }
    let bytes = |segments: &[SegmentFacts]| segments.iter().map(|segment| segment.size).sum();
    let below = |offset: Offset| inactive.partition_point(|segment| segment.base_offset < offset);
    let end = below(first_uncleanable);
    Ok(Dirt {
        first_dirty,
        first_uncleanable,
        clean_bytes: bytes(&inactive[..below(first_dirty)]),
        cleanable_bytes: bytes(&inactive[dirty.min(end)..end]),
        reset,
        overdue,
    })
}

/// A segment as the grouping sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) base_offset: Offset,
    pub(crate) size: u64,
    pub(crate) index_size: u64,
    pub(crate) time_index_size: u64,
}

/// Which neighbours become one segment: as many as stay below the limits together, so that a log that shrinks does not
/// end as thousands of small files. `end` is where the last part ends.
pub(crate) fn group(parts: &[Part], max_size: u64, max_index_size: u64, end: Offset) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut from = 0;
    while from < parts.len() {
        let first = parts[from];
        let (mut size, mut index, mut time_index) = (first.size, first.index_size, first.time_index_size);
        let mut to = from + 1;
        while let Some(next) = parts.get(to) {
            let last_offset = parts.get(to + 1).map_or(end, |after| after.base_offset) + -1;
            let fits = size + next.size <= max_size
                && index + next.index_size <= max_index_size
                && time_index + next.time_index_size <= max_index_size
                && last_offset - first.base_offset <= i64::from(i32::MAX);
            if !fits {
                break;
            }
            size += next.size;
            index += next.index_size;
            time_index += next.time_index_size;
            to += 1;
        }
        groups.push(from..to);
        from = to;
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const NOW: Millis = Millis(100_000);

    fn config(overrides: &[(&str, &str)]) -> LogConfig {
        let overrides: BTreeMap<String, String> = overrides
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        LogConfig::resolve(&LogConfig::default(), &overrides).unwrap()
    }

    /// Four segments of 100 bytes at 0, 10, 20, 30, the last one active; the log ends at 40. The segment at n has
    /// timestamps from n + 90,000 to n + 90,009.
    fn of_four(checkpoint: Option<i64>, last_stable: i64, config: &LogConfig) -> Dirt {
        let segments = [0, 10, 20, 30].map(|base| SegmentFacts {
            base_offset: Offset(base),
            size: 100,
        });
        let facts = Facts {
            log_start_offset: Offset(0),
            log_end_offset: Offset(40),
            last_stable_offset: Offset(last_stable),
            segments: &segments,
            checkpoint: checkpoint.map(Offset),
        };
        let timestamp = |at: usize| Millis(at as i64 * 10 + 90_000);
        let dirt: Result<Dirt, ()> = dirt(
            &facts,
            config,
            NOW,
            |at| Ok(timestamp(at) + Millis(9)),
            |at| Ok(Some(timestamp(at))),
        );
        dirt.unwrap()
    }

    #[test]
    fn what_is_replicated_stable_inactive_and_old_enough_can_be_cleaned() {
        let check = |name: &str, checkpoint, last_stable, configs: &[(&str, &str)], expected: (i64, i64, u64, u64)| {
            let dirt = of_four(checkpoint, last_stable, &config(configs));
            let found = (
                dirt.first_dirty.0,
                dirt.first_uncleanable.0,
                dirt.clean_bytes,
                dirt.cleanable_bytes,
            );
            assert_eq!(found, expected, "{name}");
        };
        //     name                        checkpoint  stable  configs                       dirty, uncleanable, clean, cleanable
        check("all but the active", None, 40, &[], (0, 30, 0, 300));
        check("cleaned before", Some(20), 40, &[], (20, 30, 200, 100));
        check("cleaned to within", Some(15), 40, &[], (15, 30, 200, 200));
        check("a transaction is open", None, 15, &[], (0, 10, 0, 100));
        check("at its very start", None, 20, &[], (0, 20, 0, 200));
        check("nothing replicated", None, 0, &[], (0, 0, 0, 0));
        check("cleaned past it", Some(20), 5, &[], (20, 20, 200, 0));
        check("all cleaned", Some(30), 40, &[], (30, 30, 300, 0));
        // The segments' largest timestamps are 9,991, 9,981 and 9,971 old.
        check(
            "too young",
            None,
            40,
            &[("min.compaction.lag.ms", "9985")],
            (0, 10, 0, 100),
        );
        check(
            "all too young",
            None,
            40,
            &[("min.compaction.lag.ms", "10000")],
            (0, 0, 0, 0),
        );
        check(
            "old enough",
            None,
            40,
            &[("min.compaction.lag.ms", "9971")],
            (0, 30, 0, 300),
        );
    }

    #[test]
    fn a_checkpoint_outside_of_the_log_is_put_right() {
        let check = |checkpoint, first_dirty, reset| {
            let dirt = of_four(Some(checkpoint), 40, &config(&[]));
            assert_eq!(
                (dirt.first_dirty, dirt.reset),
                (Offset(first_dirty), reset),
                "{checkpoint}"
            );
        };
        check(-1, 0, true);
        check(0, 0, false);
        check(40, 40, false);
        check(41, 0, true);
    }

    #[test]
    fn a_log_is_due_by_its_ratio_or_by_its_age() {
        let check = |name: &str, checkpoint, configs: &[(&str, &str)], due: bool| {
            let config = config(configs);
            let dirt = of_four(checkpoint, 40, &config);
            assert_eq!(dirt.is_due(&config), due, "{name}: {dirt:?} {}", dirt.ratio());
        };
        check("all dirty", None, &[], true);
        check("a third dirty", Some(20), &[], false);
        check(
            "a third is enough",
            Some(20),
            &[("min.cleanable.dirty.ratio", "0.3")],
            true,
        );
        check(
            "ratio 0, nothing dirty",
            Some(30),
            &[("min.cleanable.dirty.ratio", "0")],
            false,
        );
        // The dirty segment begins at 90,020, which is 9,980 ago.
        check("too old", Some(20), &[("max.compaction.lag.ms", "9979")], true);
        check("not yet", Some(20), &[("max.compaction.lag.ms", "9980")], false);
        check("too old, but clean", Some(30), &[("max.compaction.lag.ms", "1")], false);
    }

    #[test]
    fn a_log_of_one_segment_has_nothing_to_clean() {
        let segments = [SegmentFacts {
            base_offset: Offset(5),
            size: 100,
        }];
        for checkpoint in [None, Some(Offset(7))] {
            let facts = Facts {
                log_start_offset: Offset(5),
                log_end_offset: Offset(9),
                last_stable_offset: Offset(9),
                segments: &segments,
                checkpoint,
            };
            let config = config(&[("min.compaction.lag.ms", "1"), ("max.compaction.lag.ms", "2")]);
            let dirt: Result<Dirt, ()> = dirt(&facts, &config, NOW, |_| Err(()), |_| Err(()));
            assert_eq!(dirt.map(|dirt| dirt.cleanable_bytes), Ok(0));
        }
    }

    #[test]
    fn neighbours_are_joined_up_to_the_limits() {
        let part = |base: i64, size, index_size| Part {
            base_offset: Offset(base),
            size,
            index_size,
            time_index_size: index_size,
        };
        let check = |name: &str, parts: &[Part], expected: &[Range<usize>]| {
            assert_eq!(group(parts, 100, 50, Offset(1 << 40)), expected, "{name}");
        };
        check("none", &[], &[]);
        check(
            "by size",
            &[part(0, 60, 0), part(1, 40, 0), part(2, 1, 0), part(1 << 40, 0, 0)],
            &[0..2, 2..3, 3..4],
        );
        check(
            "a large one",
            &[part(0, 500, 0), part(1, 1, 0), part(2, 200, 0)],
            &[0..1, 1..2, 2..3],
        );
        check(
            "by index",
            &[part(0, 1, 30), part(1, 1, 20), part(2, 1, 1), part(3, 0, 0)],
            &[0..2, 2..3, 3..4],
        );
        let far = 1 << 31;
        check(
            "by offsets",
            &[part(0, 1, 0), part(1, 1, 0), part(far, 1, 0)],
            &[0..2, 2..3],
        );
        check(
            "by offsets, exactly",
            &[part(0, 1, 0), part(far - 10, 1, 0), part(far, 1, 0)],
            &[0..2, 2..3],
        );
        check(
            "one offset too far",
            &[part(0, 1, 0), part(far - 10, 1, 0), part(far + 1, 1, 0)],
            &[0..1, 1..2, 2..3],
        );
    }
}
