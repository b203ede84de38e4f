//! Control records: what brokers write into a log for each other and for clients, not for applications.

use super::{Batch, RecordError, Records};
use crate::compress::CompressionType;

/// What a control record says, by its key: version `i16`, type `i16`.
///
/// Source: Kafka 3.9 `ControlRecordType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRecordType {
    /// The transaction is aborted.
    Abort,
    /// The transaction is committed.
    Commit,
    /// One of KRaft's (2 to 6) or one from the future: carried, not understood.
    Other(i16),
}

/// Version of the keys and values that are written.
const VERSION: i16 = 0;

impl ControlRecordType {
    /// Reads a control record's key; a newer version is read as this one, as Kafka does.
    ///
    /// # Errors
    /// A key that is too short, or a negative version.
    pub fn parse(key: &[u8]) -> Result<Self, RecordError> {
        let [v0, v1, t0, t1, ..] = *key else {
            return Err(RecordError::Structure);
        };
        if i16::from_be_bytes([v0, v1]) < 0 {
            return Err(RecordError::Structure);
        }
        Ok(match i16::from_be_bytes([t0, t1]) {
            0 => Self::Abort,
            1 => Self::Commit,
            other => Self::Other(other),
        })
    }

    /// The key as it is written.
    pub fn key(self) -> [u8; 4] {
        let id: i16 = match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::Other(id) => id,
        };
        let [v0, v1] = VERSION.to_be_bytes();
        let [t0, t1] = id.to_be_bytes();
        [v0, v1, t0, t1]
    }
}

/// The end of a transaction in one partition, as its coordinator decided.
///
/// The value is version `i16`, coordinator epoch `i32`. Source: Kafka 3.9 `EndTransactionMarker`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTransactionMarker {
    /// Committed, or else aborted.
    pub committed: bool,
    /// Epoch of the coordinator (leader epoch of its `__transaction_state` partition); an older one is fenced.
    pub coordinator_epoch: i32,
}

impl EndTransactionMarker {
    /// The marker in a control record; `None` if it is another kind of control record.
    ///
    /// # Errors
    /// A key or value that is too short, null, or of a negative version.
    pub fn parse(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<Self>, RecordError> {
        let committed = match ControlRecordType::parse(key.ok_or(RecordError::Structure)?)? {
            ControlRecordType::Abort => false,
            ControlRecordType::Commit => true,
            ControlRecordType::Other(_) => return Ok(None),
        };
        let Some(&[v0, v1, e0, e1, e2, e3, ..]) = value else {
            return Err(RecordError::Structure);
        };
        if i16::from_be_bytes([v0, v1]) < 0 {
            return Err(RecordError::Structure);
        }
        Ok(Some(Self {
            committed,
            coordinator_epoch: i32::from_be_bytes([e0, e1, e2, e3]),
        }))
    }

    /// The first record of a control batch, read as a marker, with its timestamp.
    ///
    /// `None` for an emptied control batch (the cleaner removed the whole transaction) and for other kinds.
    ///
    /// # Errors
    /// A record that is broken, or a control batch that is compressed: no Kafka writes those.
    pub fn of_batch(batch: &Batch<'_>) -> Result<Option<(Self, model::Millis)>, RecordError> {
        if batch.compression() != Some(CompressionType::None) {
            return Err(RecordError::Structure);
        }
        match Records::new(batch, batch.body()).next() {
            None => Ok(None),
            Some(record) => {
                let record = record?;
                Ok(Self::parse(record.key, record.value)?.map(|marker| (marker, record.timestamp)))
            }
        }
    }

    /// The control record's key.
    pub fn key(self) -> [u8; 4] {
        if self.committed {
            ControlRecordType::Commit.key()
        } else {
            ControlRecordType::Abort.key()
        }
    }

    /// The control record's value.
    pub fn value(self) -> [u8; 6] {
        let [v0, v1] = VERSION.to_be_bytes();
        let [e0, e1, e2, e3] = self.coordinator_epoch.to_be_bytes();
        [v0, v1, e0, e1, e2, e3]
    }
}
