//! Where each leader epoch's records start: what followers and consumers compare to find where logs part.
//!
//! ```text
//! leader-epoch-checkpoint:   0          version
//!                            2          number of entries
//!                            0 0        epoch, first offset
//!                            3 117
//! ```
//! Invariant: epochs and offsets both ascend. Pure, but for [`LeaderEpochs::decode`]'s text; the log writes the file.
//! Source: Kafka 3.9 `LeaderEpochFileCache`, `LeaderEpochCheckpointFile`; KIP-101, KIP-279.

use model::{LeaderEpoch, Offset};

use crate::checkpoint::{self, ParseError};
use crate::log::EpochEnd;

/// The file's name.
pub const FILE: &str = "leader-epoch-checkpoint";

/// The epochs of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<(LeaderEpoch, Offset)>,
}

struct Line(LeaderEpoch, Offset);

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}

impl LeaderEpochs {
    /// The file's text.
    pub fn encode(&self) -> String {
        checkpoint::encode(self.entries.iter().map(|(epoch, start)| Line(*epoch, *start)))
    }

    /// The epochs in a file's text.
    ///
    /// # Errors
    /// When it is not such a file.
    pub fn decode(text: &str) -> Result<Self, ParseError> {
        let lines = checkpoint::decode(text, |line| {
            let (epoch, start) = line.trim().split_once(' ')?;
            let entry = (LeaderEpoch(epoch.parse().ok()?), Offset(start.trim().parse().ok()?));
            (entry.0.0 >= 0 && entry.1.0 >= 0).then_some(entry)
        })?;
        let mut epochs = Self::default();
        for (epoch, start) in lines {
            epochs.assign(epoch, start);
        }
        Ok(epochs)
    }

    /// The epochs with their starts, ascending.
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// The newest epoch.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// The records of `epoch` start at `start`; whether that is news. Entries it contradicts go.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        let news = epoch.0 >= 0
            && start.0 >= 0
            && self
                .entries
                .last()
                .is_none_or(|(last, last_start)| *last != epoch || start < *last_start);
        if news {
            while self.entries.pop_if(|(e, s)| *e >= epoch || *s >= start).is_some() {}
            self.entries.push((epoch, start));
        }
        news
    }

    /// Where the records of the largest epoch at or below `asked` end.
    pub fn end_offset(&self, asked: LeaderEpoch, log_end_offset: Offset) -> Option<EpochEnd> {
        if asked == LeaderEpoch::NONE {
            return None;
        }
        if self.latest() == Some(asked) {
            return Some(EpochEnd {
                leader_epoch: asked,
                end_offset: log_end_offset,
            });
        }
        let above = self.entries.partition_point(|(epoch, _)| *epoch <= asked);
        let (_, next_start) = *self.entries.get(above)?;
        // Below the first known epoch: its records are gone; the follower starts where ours start.
        let leader_epoch = above.checked_sub(1).map_or(asked, |at| self.entries[at].0);
        Some(EpochEnd {
            leader_epoch,
            end_offset: next_start,
        })
    }

    /// The epoch of the record at `offset`.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let above = self.entries.partition_point(|(_, start)| *start <= offset);
        above.checked_sub(1).map(|at| self.entries[at].0)
    }

    /// The log now ends at `end`; whether entries went.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let before = self.entries.len();
        while self.entries.pop_if(|(_, start)| *start >= end).is_some() {}
        self.entries.len() != before
    }

    /// The log now starts at `start`; whether anything changed. The epoch that holds `start` now starts there.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let below = self.entries.partition_point(|(_, s)| *s <= start);
        let Some(first) = below.checked_sub(1) else {
            return false;
        };
        let changed = first > 0 || self.entries[first].1 != start;
        self.entries.drain(..first);
        self.entries[0].1 = start;
        changed
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for (epoch, start) in entries {
            epochs.assign(LeaderEpoch(*epoch), Offset(*start));
        }
        epochs
    }

    #[test]
    fn the_text_is_kafkas() {
        let kafkas = "0\n3\n2 0\n12 10\n19 30\n";
        let read = LeaderEpochs::decode(kafkas).unwrap();
        assert_eq!(read, epochs(&[(2, 0), (12, 10), (19, 30)]));
        assert_eq!(read.encode(), kafkas);
        assert_eq!(LeaderEpochs::decode("").unwrap(), epochs(&[]));
        assert!(LeaderEpochs::decode("0\n1\n-1 0\n").is_err());
        assert!(LeaderEpochs::decode("0\n1\n1\n").is_err());
    }

    #[test]
    fn an_entry_displaces_those_it_contradicts() {
        let check = |before: &[(i32, i64)], new: (i32, i64), after: &[(i32, i64)]| {
            let mut e = epochs(before);
            e.assign(LeaderEpoch(new.0), Offset(new.1));
            assert_eq!(e, epochs(after), "{before:?} + {new:?}");
        };
        check(&[], (1, 0), &[(1, 0)]);
        check(&[(1, 0)], (2, 10), &[(1, 0), (2, 10)]);
        check(&[(1, 0), (2, 10)], (2, 20), &[(1, 0), (2, 10)]);
        check(&[(1, 0), (2, 10)], (2, 5), &[(1, 0), (2, 5)]);
        check(&[(1, 0), (2, 10)], (3, 10), &[(1, 0), (3, 10)]);
        check(&[(1, 0), (2, 10), (5, 20)], (3, 15), &[(1, 0), (2, 10), (3, 15)]);
        check(&[(1, 5)], (2, 0), &[(2, 0)]);
        check(&[(1, 5)], (-1, 9), &[(1, 5)]);
    }

    #[test]
    fn end_offsets_are_those_of_the_largest_epoch_at_or_below() {
        let e = epochs(&[(2, 0), (5, 10), (7, 30)]);
        let check = |asked: i32, answer: Option<(i32, i64)>| {
            assert_eq!(
                e.end_offset(LeaderEpoch(asked), Offset(40)),
                answer.map(|(epoch, end)| EpochEnd {
                    leader_epoch: LeaderEpoch(epoch),
                    end_offset: Offset(end)
                }),
                "{asked}"
            );
        };
        check(-1, None);
        check(1, Some((1, 0)));
        check(2, Some((2, 10)));
        check(4, Some((2, 10)));
        check(5, Some((5, 30)));
        check(6, Some((5, 30)));
        check(7, Some((7, 40)));
        check(8, None);
        assert_eq!(e.epoch_at(Offset(9)), Some(LeaderEpoch(2)));
        assert_eq!(e.epoch_at(Offset(10)), Some(LeaderEpoch(5)));
    }

    #[test]
    fn truncation_keeps_the_epoch_that_holds_the_new_bound() {
        let check_end = |end: i64, after: &[(i32, i64)]| {
            let mut e = epochs(&[(2, 0), (5, 10), (7, 30)]);
            e.truncate_from_end(Offset(end));
            assert_eq!(e, epochs(after), "end {end}");
        };
        check_end(31, &[(2, 0), (5, 10), (7, 30)]);
        check_end(30, &[(2, 0), (5, 10)]);
        check_end(11, &[(2, 0), (5, 10)]);
        check_end(0, &[]);
        let check_start = |start: i64, after: &[(i32, i64)]| {
            let mut e = epochs(&[(2, 0), (5, 10), (7, 30)]);
            e.truncate_from_start(Offset(start));
            assert_eq!(e, epochs(after), "start {start}");
        };
        check_start(0, &[(2, 0), (5, 10), (7, 30)]);
        check_start(9, &[(2, 9), (5, 10), (7, 30)]);
        check_start(10, &[(5, 10), (7, 30)]);
        check_start(45, &[(7, 45)]);
    }
}
