//! The entries of a log or of a request, one after the other.

use core::ops::Deref;

use model::{LeaderEpoch, Millis, Offset, ProducerId};

use super::legacy::{LegacyEntry, RECORD_OVERHEAD_V0};
use super::{BatchHeader, HEADER_LEN, HEADER_UP_TO_MAGIC, LOG_OVERHEAD, Records};
use crate::compress::{self, CompressionType, DecompressError};

/// Why bytes cannot be cut into entries. → CORRUPT_MESSAGE, with Kafka's own text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// The length field says less than the smallest message has.
    #[error("Record size {0} is less than the minimum record overhead ({RECORD_OVERHEAD_V0})")]
    TooSmall(i32),
    /// A format that Kafka 3.9 does not know.
    #[error("Invalid magic found in record: {0}")]
    UnknownMagic(i8),
    /// A format 2 batch whose length does not hold its header.
    #[error("Record batch is corrupt (the size {0} is smaller than the minimum allowed overhead {HEADER_LEN})")]
    ShortBatch(usize),
}

/// The first 17 bytes of an entry of any format: enough to know where the next one starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The first field: the base offset in format 2, the last offset in the older ones.
    pub offset: Offset,
    /// Bytes of the whole entry, [`LOG_OVERHEAD`] included.
    pub size: usize,
    /// The format: 0, 1 or 2.
    pub magic: i8,
}

impl Frame {
    /// Reads the frame at the start of `bytes`; `None` if there are fewer than 17.
    ///
    /// # Errors
    /// When the bytes cannot be an entry. A `size` beyond the bytes at hand is not an error here: it may be a torn tail.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, FramingError> {
        let Some(overhead) = bytes.first_chunk::<LOG_OVERHEAD>() else {
            return Ok(None);
        };
        let [o0, o1, o2, o3, o4, o5, o6, o7, l0, l1, l2, l3] = *overhead;
        let length = i32::from_be_bytes([l0, l1, l2, l3]);
        let size = match usize::try_from(length) {
            Ok(length) if length >= RECORD_OVERHEAD_V0 => length + LOG_OVERHEAD,
            _ => return Err(FramingError::TooSmall(length)),
        };
        if bytes.len() < HEADER_UP_TO_MAGIC {
            return Ok(None);
        }
        let magic = bytes[HEADER_UP_TO_MAGIC - 1] as i8;
        match magic {
            0 | 1 => {}
            2 if size < HEADER_LEN => return Err(FramingError::ShortBatch(size)),
            2 => {}
            _ => return Err(FramingError::UnknownMagic(magic)),
        }
        let offset = Offset(i64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]));
        Ok(Some(Self { offset, size, magic }))
    }
}

/// A whole batch of format 2: its header, copied, and its bytes, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

impl Deref for Batch<'_> {
    type Target = BatchHeader;

    fn deref(&self) -> &BatchHeader {
        &self.header
    }
}

impl<'a> Batch<'a> {
    /// The batch which is all of `bytes`; `None` if its length field says otherwise or it is of another format.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let header = BatchHeader::read(bytes)?;
        (header.magic() == 2 && header.size() == Some(bytes.len())).then_some(Self { header, bytes })
    }

    /// The header.
    pub fn header(&self) -> BatchHeader {
        self.header
    }

    /// All bytes, header included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes after the header: records, or their compressed form.
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[HEADER_LEN..]
    }

    /// Whether the stored CRC-32C is that of the bytes.
    pub fn is_valid(&self) -> bool {
        self.crc() == self.compute_crc(self.body())
    }

    /// The records, decompressed into `scratch` where they are compressed.
    ///
    /// # Errors
    /// An undefined codec, a broken stream, or more than `limit` bytes of content.
    pub fn records<'s>(&self, scratch: &'s mut Vec<u8>, limit: usize) -> Result<Records<'s>, DecompressError>
    where
        'a: 's,
    {
        let content = match self.compression() {
            Some(CompressionType::None) => self.body(),
            Some(codec) => {
                scratch.clear();
                compress::decompress(codec, self.body(), limit, scratch)?;
                scratch
            }
            None => return Err(DecompressError::UnknownCodec(self.compression_id())),
        };
        Ok(Records::new(&self.header, content))
    }
}

/// One entry of a log: a batch, or a message (perhaps wrapping others) of the older formats.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// Format 2.
    Batch(Batch<'a>),
    /// Formats 0 and 1.
    Legacy(LegacyEntry<'a>),
}

impl<'a> Entry<'a> {
    /// All bytes.
    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Batch(batch) => batch.bytes(),
            Self::Legacy(entry) => entry.bytes(),
        }
    }

    /// Bytes of the whole entry.
    pub fn size(&self) -> usize {
        self.bytes().len()
    }

    /// The format.
    pub fn magic(&self) -> i8 {
        match self {
            Self::Batch(batch) => batch.magic(),
            Self::Legacy(entry) => entry.magic(),
        }
    }

    /// Offset of the first record; `None` for an old compressed message set, which would have to be unpacked to know.
    pub fn base_offset(&self) -> Option<Offset> {
        match self {
            Self::Batch(batch) => Some(batch.base_offset()),
            Self::Legacy(entry) => entry.base_offset(),
        }
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> Offset {
        match self {
            Self::Batch(batch) => batch.last_offset(),
            Self::Legacy(entry) => entry.last_offset(),
        }
    }

    /// The largest timestamp, or −1 where the format has none.
    pub fn max_timestamp(&self) -> Millis {
        match self {
            Self::Batch(batch) => batch.max_timestamp(),
            Self::Legacy(entry) => entry.timestamp(),
        }
    }

    /// The leader epoch stamped on it, or −1.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        match self {
            Self::Batch(batch) => batch.leader_epoch(),
            Self::Legacy(_) => LeaderEpoch::NONE,
        }
    }

    /// The idempotent producer, or −1.
    pub fn producer_id(&self) -> ProducerId {
        match self {
            Self::Batch(batch) => batch.producer_id(),
            Self::Legacy(_) => ProducerId::NONE,
        }
    }

    /// How it is compressed; `None` for undefined codecs.
    pub fn compression(&self) -> Option<CompressionType> {
        match self {
            Self::Batch(batch) => batch.compression(),
            Self::Legacy(entry) => entry.compression(),
        }
    }

    /// Whether the stored checksum is that of the bytes.
    pub fn is_valid(&self) -> bool {
        match self {
            Self::Batch(batch) => batch.is_valid(),
            Self::Legacy(entry) => entry.is_valid(),
        }
    }
}

/// The entries of a buffer, in order.
///
/// Stops without an error at an incomplete last one: a fetch may end anywhere, and so may a log after a crash;
/// [`Entries::remaining`] then is not empty. After an error it yields nothing more.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    bytes: &'a [u8],
    position: usize,
    failed: bool,
}

impl<'a> Entries<'a> {
    /// Walks `bytes` from the start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            position: 0,
            failed: false,
        }
    }

    /// Bytes of the entries yielded so far: where the next one starts.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The bytes that have not been yielded.
    pub fn remaining(&self) -> &'a [u8] {
        &self.bytes[self.position..]
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, FramingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let rest = self.remaining();
        let frame = match Frame::read(rest) {
            Ok(frame) => frame?,
            Err(error) => {
                self.failed = true;
                return Some(Err(error));
            }
        };
        let bytes = rest.get(..frame.size)?;
        let entry = match frame.magic {
            2 => Entry::Batch(Batch::new(bytes)?),
            _ => Entry::Legacy(LegacyEntry::new(bytes)?),
        };
        self.position += frame.size;
        Some(Ok(entry))
    }
}
