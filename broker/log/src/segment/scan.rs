//! Walking the batches of a segment's file by their headers, without reading the records.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use model::{Millis, Offset};

use crate::batch::{BatchHeader, Frame, FramingError, HEADER_LEN, HEADER_UP_TO_MAGIC};

/// A batch in a file, seen by its header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scanned {
    pub(crate) position: u64,
    pub(crate) size: usize,
    pub(crate) magic: i8,
    /// Base offset; of old message sets the offset of the last message.
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) max_timestamp: Millis,
    /// Only in format 2.
    pub(crate) header: Option<BatchHeader>,
}

/// Why the walk ends before the end of the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    #[error("{reason} at {position}")]
    Framing { position: u64, reason: FramingError },
    #[error("the batch of {size} bytes at {position} is cut off")]
    Cut { position: u64, size: usize },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The batches of `file` in `[position, end)`.
pub(crate) struct Scan<'a> {
    file: &'a File,
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    /// Where in the file the buffer's content starts, and how much of it there is.
    buffered: (u64, usize),
    failed: bool,
}

/// Enough for the few small batches between two index entries; large ones take one small read each.
const LOOKUP_BUFFER: usize = 2048;
/// For a walk over a whole segment.
const WALK_BUFFER: usize = 64 << 10;

impl<'a> Scan<'a> {
    /// To find one batch not far from `position`.
    pub(crate) fn lookup(file: &'a File, position: u64, end: u64) -> Self {
        Self::new(file, position, end, LOOKUP_BUFFER)
    }

    /// To look at all of them.
    pub(crate) fn walk(file: &'a File, position: u64, end: u64) -> Self {
        Self::new(file, position, end, WALK_BUFFER)
    }

    fn new(file: &'a File, position: u64, end: u64, buffer: usize) -> Self {
        Self {
            file,
            position,
            end,
            buffer: vec![0; buffer],
            buffered: (position, 0),
            failed: false,
        }
    }

    fn read(&mut self) -> Result<Option<Scanned>, ScanError> {
        let position = self.position;
        let left = self.end.saturating_sub(position);
        if left < HEADER_UP_TO_MAGIC as u64 {
            return if left == 0 {
                Ok(None)
            } else {
                Err(ScanError::Cut {
                    position,
                    size: left as usize,
                })
            };
        }
        let (start, len) = self.buffered;
        let wanted = left.min(HEADER_LEN as u64) as usize;
        if position < start || position + wanted as u64 > start + len as u64 {
            let len = left.min(self.buffer.len() as u64) as usize;
            self.file.read_exact_at(&mut self.buffer[..len], position)?;
            self.buffered = (position, len);
        }
        let (start, len) = self.buffered;
        let bytes = &self.buffer[(position - start) as usize..len];
        let frame = Frame::read(bytes).map_err(|reason| ScanError::Framing { position, reason })?;
        let Some(Frame { offset, size, magic }) = frame else {
            return Ok(None);
        };
        if size as u64 > left {
            return Err(ScanError::Cut { position, size });
        }
        let header = if magic == 2 { BatchHeader::read(bytes) } else { None };
        let (last_offset, max_timestamp) = match (&header, magic) {
            (Some(header), _) => (header.last_offset(), header.max_timestamp()),
            (None, 1) => {
                // Format 1: crc, magic, attributes, then the timestamp.
                let timestamp = bytes.get(18..26).and_then(|field| field.try_into().ok());
                (
                    offset,
                    timestamp.map_or(Millis::NONE, |field| Millis(i64::from_be_bytes(field))),
                )
            }
            (None, _) => (offset, Millis::NONE),
        };
        self.position += size as u64;
        Ok(Some(Scanned {
            position,
            size,
            magic,
            base_offset: offset,
            last_offset,
            max_timestamp,
            header,
        }))
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Scanned, ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = self.read().transpose();
        self.failed = matches!(item, Some(Err(_)));
        item
    }
}
