//! Whether a transaction may begin in a partition: not before its coordinator has said that the partition belongs to it.
//!
//! A verification begins with a [`VerificationGuard`], which the caller shows again when it appends. An append or a marker of the
//! producer that came in between takes the guard away, so that a late answer of the coordinator cannot begin a
//! transaction that it did not mean, and leave it open for ever.
//!
//! Does not ask the coordinator, and says nothing of transactions that are open already: those need no guard.
//! Source: Kafka 3.9 `VerificationGuard`, `VerificationStateEntry`; KIP-890.

use core::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use model::{Millis, ProducerEpoch, ProducerId, Sequence, VerificationGuard};

/// A guard that nobody else has.
fn unique() -> VerificationGuard {
    static LAST: AtomicU64 = AtomicU64::new(VerificationGuard::NONE.0);
    VerificationGuard(LAST.fetch_add(1, Ordering::Relaxed) + 1)
}

/// One verification that has begun.
#[derive(Clone, Copy, Debug)]
struct Entry {
    guard: VerificationGuard,
    begun: Millis,
    epoch: ProducerEpoch,
    /// The lowest sequence that was to be verified: what comes after it must not overtake it, or the producer could never
    /// write it again.
    lowest_sequence: Sequence,
}

/// The verifications that have begun in one log. Lost with the process: the producer then begins another.
#[derive(Clone, Debug, Default)]
pub(super) struct Verifications(HashMap<ProducerId, Entry>);

impl Verifications {
    /// Begins one, or joins the one that has begun.
    pub(super) fn begin(
        &mut self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        sequence: Sequence,
        now: Millis,
    ) -> VerificationGuard {
        let entry = self.0.entry(producer_id).or_insert_with(|| Entry {
            guard: unique(),
            begun: now,
            epoch,
            lowest_sequence: sequence,
        });
        if epoch > entry.epoch {
            entry.epoch = epoch;
            entry.lowest_sequence = sequence;
        } else if epoch == entry.epoch {
            entry.lowest_sequence = entry.lowest_sequence.min(sequence);
        }
        entry.guard
    }

    /// Whether `guard` is that of the verification that has begun.
    pub(super) fn is_guarded_by(&self, producer_id: ProducerId, guard: VerificationGuard) -> bool {
        guard != VerificationGuard::NONE && self.0.get(&producer_id).is_some_and(|entry| entry.guard == guard)
    }

    /// The lowest sequence that is to be verified.
    pub(super) fn lowest_sequence(&self, producer_id: ProducerId) -> Option<Sequence> {
        self.0.get(&producer_id).map(|entry| entry.lowest_sequence)
    }

    /// The producer has written in its transaction, or ended it.
    pub(super) fn end(&mut self, producer_id: ProducerId) {
        if !self.0.is_empty() {
            self.0.remove(&producer_id);
        }
    }

    /// Forgets those that began `expiration` ago: nobody came back.
    pub(super) fn expire(&mut self, now: Millis, expiration: Millis) {
        self.0.retain(|_, entry| now - entry.begun < expiration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCER: ProducerId = ProducerId(1);

    #[test]
    fn the_guard_is_the_same_until_the_verification_ends() {
        let mut all = Verifications::default();
        let begin = |all: &mut Verifications| all.begin(PRODUCER, ProducerEpoch(0), Sequence(0), Millis(0));
        let first = begin(&mut all);
        assert_eq!(begin(&mut all), first);
        assert!(all.is_guarded_by(PRODUCER, first));
        assert!(!all.is_guarded_by(ProducerId(2), first));
        assert!(!all.is_guarded_by(PRODUCER, VerificationGuard::NONE));
        all.end(PRODUCER);
        assert!(!all.is_guarded_by(PRODUCER, first));
        let second = begin(&mut all);
        assert!(!all.is_guarded_by(PRODUCER, first) && all.is_guarded_by(PRODUCER, second));
    }

    #[test]
    fn the_lowest_sequence_is_that_of_the_newest_epoch() {
        let mut all = Verifications::default();
        let mut check = |epoch: i16, sequence: i32, lowest: i32| {
            all.begin(PRODUCER, ProducerEpoch(epoch), Sequence(sequence), Millis(0));
            assert_eq!(
                all.lowest_sequence(PRODUCER),
                Some(Sequence(lowest)),
                "{epoch} {sequence}"
            );
        };
        //   epoch  sequence  lowest
        check(1, 10, 10);
        check(1, 12, 10);
        check(1, 8, 8);
        check(0, 0, 8);
        check(2, 20, 20);
        check(1, 0, 20);
    }

    #[test]
    fn nobody_who_stays_away_is_remembered() {
        let mut all = Verifications::default();
        all.begin(PRODUCER, ProducerEpoch(0), Sequence(0), Millis(100));
        all.expire(Millis(199), Millis(100));
        assert!(all.lowest_sequence(PRODUCER).is_some());
        all.expire(Millis(200), Millis(100));
        assert!(all.lowest_sequence(PRODUCER).is_none());
    }
}
