//! Reading: a range of a file, found without a lock.

use model::Offset;

use super::{AbortedTransaction, FileSlice, Log, ReadError, floor};
use crate::segment::{ScanFailure, Segment};

impl Log {
    /// The records from `from` on, below `limit` (high watermark, last stable offset or log end offset), at most
    /// `max_bytes` of them; with `min_one_batch` the first batch is returned whole even if it is larger.
    ///
    /// The range begins at the batch that holds `from` and may cut its last batch, as Kafka's answers do.
    ///
    /// # Errors
    /// When there is no such offset, or the disk fails. Source: Kafka `LocalLog.read`.
    pub fn read(
        &self,
        from: Offset,
        max_bytes: usize,
        limit: Offset,
        min_one_batch: bool,
    ) -> Result<FileSlice, ReadError> {
        self.ensure_readable()?;
        let log_end_offset = self.log_end_offset();
        let segments = self.segments.load();
        // After the segments are at hand: retention raises the start before it takes segments away, so that an offset
        // which passes is in them, and is not answered with records behind it.
        self.check_offset(from, log_end_offset)?;
        if from >= limit || from == log_end_offset {
            return Ok(nothing(&self.active(), from));
        }
        let start = floor(&segments, from).unwrap_or(0);
        for segment in &segments[start..] {
            let position_of_limit = self.readable(segment.position_of_limit(limit))?;
            if position_of_limit == 0 && segment.base_offset() >= limit {
                break;
            }
            let Some(first) = self.readable(segment.locate(from, position_of_limit))? else {
                continue;
            };
            let most = if min_one_batch {
                max_bytes.max(first.size)
            } else {
                max_bytes
            };
            let len = (position_of_limit - first.position).min(most as u64) as usize;
            return Ok(FileSlice {
                file: segment.file().clone(),
                position: first.position,
                len,
                first_offset: first.base_offset,
                first_batch_bytes: first.size,
                magic: first.magic,
            });
        }
        Ok(nothing(&self.active(), from))
    }

    pub(super) fn ensure_readable(&self) -> Result<(), ReadError> {
        if self.is_offline() {
            Err(ReadError::Offline(self.partition.clone()))
        } else {
            Ok(())
        }
    }

    fn check_offset(&self, asked: Offset, log_end_offset: Offset) -> Result<(), ReadError> {
        let log_start_offset = self.log_start_offset();
        if (log_start_offset..=log_end_offset).contains(&asked) {
            Ok(())
        } else {
            Err(ReadError::OffsetOutOfRange {
                partition: self.partition.clone(),
                asked,
                log_start_offset,
                log_end_offset,
            })
        }
    }

    /// A failed disk takes the directory offline; a corrupt batch only fails its reader, and so does a file that a
    /// truncation or retention takes away while it is read.
    pub(super) fn readable<T>(&self, result: Result<T, ScanFailure>) -> Result<T, ReadError> {
        use std::io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
        result.map_err(|failure| match failure {
            ScanFailure::Corrupt { path, reason } => ReadError::Corrupt { path, reason },
            ScanFailure::Disk(error) if matches!(error.source.kind(), InvalidData | NotFound | UnexpectedEof) => {
                ReadError::Corrupt {
                    path: error.path,
                    reason: error.source.to_string(),
                }
            }
            ScanFailure::Disk(error) => match self.guarded::<()>(Err(error)) {
                Err(error) => ReadError::Disk(error),
                Ok(()) => unreachable!("an error stays one"),
            },
        })
    }

    /// One past the last offset that `slice`, read from `from`, could hold: the upper bound for
    /// [`Log::aborted_transactions`]. May be too large, never too small.
    ///
    /// Source: Kafka `LogSegment.fetchUpperBoundOffset`, `LocalLog.addAbortedTransactions`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn upper_bound_offset(&self, from: Offset, slice: &FileSlice) -> Result<Offset, ReadError> {
        let segments = self.segments.load();
        let Some(at) = segments
            .iter()
            .position(|segment| std::sync::Arc::ptr_eq(segment.file(), &slice.file))
        else {
            // The segment was cleaned meanwhile: positions in its file mean nothing in the one that took its place, which
            // reaches as far as it did.
            let next = floor(&segments, from).and_then(|at| segments.get(at + 1));
            return Ok(next.map_or(self.log_end_offset(), |next| next.base_offset()));
        };
        let bound = match segments[at].offset_index.upper_bound(slice.position + slice.len as u64) {
            // Cleaned at this moment: its end is a bound as well.
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            bound => bound.map_err(ScanFailure::from),
        };
        Ok(match self.readable(bound)? {
            Some(offset) => offset,
            None => segments
                .get(at + 1)
                .map_or(self.log_end_offset(), |next| next.base_offset()),
        })
    }

    /// The aborted transactions that overlap `[from, upper)`, in the order of their markers.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn aborted_transactions(&self, from: Offset, upper: Offset) -> Result<Vec<AbortedTransaction>, ReadError> {
        self.ensure_readable()?;
        let segments = self.segments.load();
        let mut aborted = Vec::new();
        for segment in &segments[floor(&segments, from).unwrap_or(0)..] {
            let complete = segment.transaction_index.collect(from, upper, |entry| {
                aborted.push(AbortedTransaction {
                    producer_id: entry.producer_id,
                    first_offset: entry.first_offset,
                    last_offset: entry.last_offset,
                    last_stable_offset: entry.last_stable_offset,
                });
            });
            if self.readable(complete.map_err(ScanFailure::from))? {
                break;
            }
        }
        Ok(aborted)
    }
}

fn nothing(segment: &Segment, from: Offset) -> FileSlice {
    FileSlice {
        file: segment.file().clone(),
        position: segment.end().size,
        len: 0,
        first_offset: from,
        first_batch_bytes: 0,
        magic: 2,
    }
}
