//! A range of a segment file that is converted while it is sent.
//!
//! A frame says its size before its content, and how much the content will have is not known before it is converted.
//! So the size that is promised is Kafka's: that of the range or, if that is more, of its first batch converted. What is
//! too long is cut, as fetches have always been; what is too short is filled with the beginning of a message that says
//! to be longer than the answer, which consumers take for a cut one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use model::Offset;

use super::{ConvertError, down_convert};
use crate::batch::{Frame, HEADER_LEN, LOG_OVERHEAD, LegacyFormat};
use crate::log::FileSlice;

/// About so much of the file is converted at once; a larger batch is converted whole. Source: Kafka
/// `LazyDownConversionRecordsSend.MAX_READ_SIZE`.
pub const PIECE_BYTES: usize = 128 * 1024;

/// The records of one partition for a consumer of an older format, of known length and content yet to be made.
#[derive(Debug)]
pub struct DownConversion {
    file: Arc<File>,
    /// What of the file has not been converted.
    position: u64,
    end: u64,
    format: LegacyFormat,
    first_offset: Offset,
    /// What has been converted and not been taken.
    pub(super) ready: Bytes,
    /// How much is owed.
    left: usize,
}

impl DownConversion {
    /// Converts the first piece of `slice`, and all of it if `whole` allows so many bytes: then no filling is needed.
    ///
    /// Blocks on the disk.
    ///
    /// # Errors
    /// When already the first entries cannot be converted. What comes later and cannot is left out, for the next fetch
    /// to begin with it.
    pub fn start(
        slice: &FileSlice,
        format: LegacyFormat,
        first_offset: Offset,
        whole: usize,
    ) -> Result<Self, ConvertError> {
        let mut this = Self {
            file: Arc::clone(&slice.file),
            position: slice.position,
            end: slice.position + slice.len as u64,
            format,
            first_offset,
            ready: Bytes::new(),
            left: 0,
        };
        let mut converted = Vec::new();
        let mut any = false;
        while converted.is_empty() || slice.len <= whole {
            match this.convert_piece(&mut converted) {
                Ok(true) => any = true,
                Ok(false) => break,
                Err(error) if converted.is_empty() => return Err(error),
                Err(error) => {
                    this.give_up(&error);
                    break;
                }
            }
        }
        this.left = match (this.position == this.end, converted.is_empty()) {
            // Nothing but control batches: a consumer is told that more would be needed than it has asked for.
            (_, true) if any => LOG_OVERHEAD,
            (_, true) => 0,
            (true, false) => converted.len(),
            (false, false) => converted.len().max(slice.len),
        };
        this.ready = converted.into();
        Ok(this)
    }

    /// How many bytes [`DownConversion::piece`] will give, all calls taken together, from now on.
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The next piece, if it has been converted already.
    pub fn ready(&mut self) -> Option<Bytes> {
        if self.ready.is_empty() {
            return None;
        }
        let mut piece = std::mem::take(&mut self.ready);
        piece.truncate(self.left);
        self.left -= piece.len();
        Some(piece)
    }

    /// The conversion itself, for work elsewhere; what stays behind is empty.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let taken = Self {
            file: Arc::clone(&self.file),
            ready: std::mem::take(&mut self.ready),
            ..*self
        };
        self.left = 0;
        taken
    }

    /// The next piece; `None` after the last. Blocks on the disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn piece(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        if let Some(piece) = self.ready() {
            return Ok(Some(piece));
        }
        let mut piece = Bytes::new();
        let mut converted = Vec::new();
        while piece.is_empty() {
            match self.convert_piece(&mut converted) {
                Ok(true) => piece = std::mem::take(&mut converted).into(),
                Ok(false) => piece = filling(self.left),
                Err(ConvertError::Disk(error)) => return Err(error),
                Err(error) => {
                    self.give_up(&error);
                    piece = std::mem::take(&mut converted).into();
                }
            }
        }
        piece.truncate(self.left);
        self.left -= piece.len();
        Ok(Some(piece))
    }

    fn give_up(&mut self, error: &ConvertError) {
        if !matches!(error, ConvertError::Zstd) {
            tracing::warn!(position = self.position, %error, "records cannot be converted to an older format");
        }
        self.position = self.end;
    }

    /// Converts the next entries, at least one. Returns whether there was a whole one.
    fn convert_piece(&mut self, out: &mut Vec<u8>) -> Result<bool, ConvertError> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left.min(PIECE_BYTES)];
        self.file.read_exact_at(&mut bytes, self.position)?;
        let first = match Frame::read(&bytes)? {
            Some(frame) if frame.size <= left => frame.size,
            // The range cuts its last batch: that is its end.
            _ => {
                self.position = self.end;
                return Ok(false);
            }
        };
        if first > bytes.len() {
            let read = bytes.len();
            bytes.resize(first, 0);
            let rest = self.position + read as u64;
            self.file.read_exact_at(&mut bytes[read..], rest)?;
        }
        let converted = down_convert(&bytes, self.format, self.first_offset, out);
        match converted.failure {
            Some(error) if converted.taken == 0 => return Err(error),
            // What comes before it goes out first; the next turn meets the error again, at its own place.
            Some(_) | None => self.position += converted.taken as u64,
        }
        Ok(true)
    }
}

/// The beginning of a message that is longer than what is left. Source: Kafka
/// `LazyDownConversionRecordsSend.buildOverflowBatch`.
fn filling(left: usize) -> Bytes {
    let mut bytes = vec![0; (left + 1).clamp(LOG_OVERHEAD, PIECE_BYTES)];
    let length = i32::try_from((left + 1).max(HEADER_LEN)).unwrap_or(i32::MAX);
    bytes[..8].copy_from_slice(&(-1i64).to_be_bytes());
    bytes[8..LOG_OVERHEAD].copy_from_slice(&length.to_be_bytes());
    bytes.into()
}
