//! Numbers that must not be mixed.

use core::fmt;
use core::ops::{Add, Sub};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }

        impl From<$name> for $inner {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

number! {
    /// A broker's id (`broker.id`), also the id of a dedicated coordinator. −1 is "none".
    BrokerId(i32)
}
number! {
    /// Position of a record in a partition's log. The end of a range is one past its last record.
    Offset(i64)
}
number! {
    /// How often the leader of a partition has changed hands; written into each batch. −1 is "unknown".
    LeaderEpoch(i32)
}
number! {
    /// How many controllers the cluster has had: the content of `/controller_epoch`.
    ControllerEpoch(i32)
}
number! {
    /// The data version of a partition's `state` znode; "zkVersion" in older protocol fields.
    PartitionEpoch(i32)
}
number! {
    /// The creation zxid (czxid) of `/brokers/ids/N`: which life of the broker this is. −1 is "unknown".
    BrokerEpoch(i64)
}
number! {
    /// A producer's id, from `/latest_producer_id_block`. −1 is "not idempotent".
    ProducerId(i64)
}
number! {
    /// A producer's epoch; an older one is fenced. −1 is "none".
    ProducerEpoch(i16)
}
number! {
    /// The sequence number of a record of an idempotent producer; wraps from `i32::MAX` to 0.
    Sequence(i32)
}
number! {
    /// Milliseconds: since 1970 for a moment, plain for a span. −1 is "no timestamp".
    Millis(i64)
}

number! {
    /// Shows that a transaction's coordinator was asked before the transaction begins in a partition (KIP-890). No two are
    /// alike but [`VerificationGuard::NONE`], which shows nothing.
    VerificationGuard(u64)
}

impl VerificationGuard {
    /// Nobody was asked. Source: Kafka `VerificationGuard.SENTINEL`.
    pub const NONE: Self = Self(0);
}

impl BrokerId {
    /// "None": no leader, no controller, an ordinary consumer's replica id.
    pub const NONE: Self = Self(-1);
}

impl LeaderEpoch {
    /// The request does not say an epoch, or the batch was written before epochs.
    pub const NONE: Self = Self(-1);

    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl BrokerEpoch {
    /// Not known: an old peer that does not send one.
    pub const NONE: Self = Self(-1);
}

impl ProducerId {
    /// The batch is not from an idempotent producer.
    pub const NONE: Self = Self(-1);
}

impl ProducerEpoch {
    /// The batch is not from an idempotent producer.
    pub const NONE: Self = Self(-1);
}

impl Sequence {
    /// The batch is not from an idempotent producer.
    pub const NONE: Self = Self(-1);

    /// The sequence `count` records later, wrapping from `i32::MAX` to 0.
    ///
    /// Source: Kafka `DefaultRecordBatch.incrementSequence`.
    #[must_use]
    pub const fn plus(self, count: i32) -> Self {
        let left = i32::MAX - self.0;
        if count > left {
            Self(count - left - 1)
        } else {
            Self(self.0 + count)
        }
    }
}

impl Offset {
    /// The offset of the first record of a new log.
    pub const ZERO: Self = Self(0);

    /// The offset after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Add<i64> for Offset {
    type Output = Self;

    fn add(self, records: i64) -> Self {
        Self(self.0 + records)
    }
}

impl Sub<Offset> for Offset {
    type Output = i64;

    fn sub(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }
}

impl Millis {
    /// "No timestamp" in a record or a request.
    pub const NONE: Self = Self(-1);
}

impl Add for Millis {
    type Output = Self;

    fn add(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub for Millis {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::Sequence;

    #[test]
    fn a_sequence_wraps_to_zero() {
        let check = |from: i32, count: i32, to: i32| assert_eq!(Sequence(from).plus(count), Sequence(to));
        check(0, 1, 1);
        check(i32::MAX - 1, 1, i32::MAX);
        check(i32::MAX, 1, 0);
        check(i32::MAX - 2, 10, 7);
    }
}
