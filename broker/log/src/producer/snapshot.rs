//! The `.snapshot` files: all producers of a log at an offset.
//!
//! ```text
//! version i16 = 1 | CRC-32C u32 of what follows | count i32 | count × 46 bytes:
//!   producer id i64 | epoch i16 | last sequence i32 | last offset i64 | offset delta i32 | timestamp i64
//!   | coordinator epoch i32 | first offset of the open transaction i64, −1 if none
//! ```
//! Of the remembered batches only the last is kept. Source: Kafka 3.9 `ProducerStateManager.writeSnapshot`.

use model::{Millis, Offset, ProducerEpoch, ProducerId, Sequence};
use smallvec::SmallVec;

use super::{BatchMetadata, ProducerEntry};

const VERSION: i16 = 1;
const CRC_OFFSET: usize = 2;
const ENTRIES_OFFSET: usize = 6;
const ENTRY_LEN: usize = 46;

/// Why bytes are not a producer snapshot. Kafka deletes such a file and goes back to an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorruptSnapshot {
    /// Another version.
    #[error("snapshot contained an unknown file version {0}")]
    UnknownVersion(i16),
    /// The checksum does not match.
    #[error("snapshot is corrupt: stored crc {stored}, computed {computed}")]
    Checksum {
        /// What the file says.
        stored: u32,
        /// What its bytes say.
        computed: u32,
    },
    /// Cut short, or a count that does not fit.
    #[error("snapshot is cut short")]
    Truncated,
}

pub(super) fn encode(entries: &[&ProducerEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(ENTRIES_OFFSET + 4 + entries.len() * ENTRY_LEN);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    // A log has far fewer producers than the field can count.
    out.extend_from_slice(&(entries.len() as u32).to_be_bytes());
    for entry in entries {
        let last = entry.batches.last();
        out.extend_from_slice(&entry.producer_id.0.to_be_bytes());
        out.extend_from_slice(&entry.producer_epoch.0.to_be_bytes());
        out.extend_from_slice(&entry.last_sequence().0.to_be_bytes());
        out.extend_from_slice(&entry.last_data_offset().0.to_be_bytes());
        out.extend_from_slice(&last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
        out.extend_from_slice(&entry.last_timestamp.0.to_be_bytes());
        out.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        let open = entry.current_transaction_first_offset.unwrap_or(Offset(-1));
        out.extend_from_slice(&open.0.to_be_bytes());
    }
    let crc = crc32c::crc32c(&out[ENTRIES_OFFSET..]);
    out[CRC_OFFSET..ENTRIES_OFFSET].copy_from_slice(&crc.to_be_bytes());
    out
}

pub(super) fn decode(bytes: &[u8]) -> Result<Vec<ProducerEntry>, CorruptSnapshot> {
    let mut cursor = Cursor(bytes);
    let version = i16::from_be_bytes(cursor.array()?);
    if version != VERSION {
        return Err(CorruptSnapshot::UnknownVersion(version));
    }
    let stored = u32::from_be_bytes(cursor.array()?);
    let computed = crc32c::crc32c(cursor.0);
    if stored != computed {
        return Err(CorruptSnapshot::Checksum { stored, computed });
    }
    let count = i32::from_be_bytes(cursor.array()?);
    let count = usize::try_from(count).map_err(|_| CorruptSnapshot::Truncated)?;
    if count > cursor.0.len() / ENTRY_LEN {
        return Err(CorruptSnapshot::Truncated);
    }
    (0..count).map(|_| cursor.entry()).collect()
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], CorruptSnapshot> {
        let (array, rest) = self.0.split_first_chunk().ok_or(CorruptSnapshot::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    fn entry(&mut self) -> Result<ProducerEntry, CorruptSnapshot> {
        let producer_id = ProducerId(i64::from_be_bytes(self.array()?));
        let producer_epoch = ProducerEpoch(i16::from_be_bytes(self.array()?));
        let last_sequence = Sequence(i32::from_be_bytes(self.array()?));
        let last_offset = Offset(i64::from_be_bytes(self.array()?));
        let offset_delta = i32::from_be_bytes(self.array()?);
        let timestamp = Millis(i64::from_be_bytes(self.array()?));
        let coordinator_epoch = i32::from_be_bytes(self.array()?);
        let open = Offset(i64::from_be_bytes(self.array()?));
        let mut batches = SmallVec::new();
        if last_offset >= Offset::ZERO {
            batches.push(BatchMetadata {
                last_sequence,
                last_offset,
                offset_delta,
                timestamp,
            });
        }
        Ok(ProducerEntry {
            producer_id,
            producer_epoch,
            coordinator_epoch,
            last_timestamp: timestamp,
            current_transaction_first_offset: (open >= Offset::ZERO).then_some(open),
            batches,
        })
    }
}
