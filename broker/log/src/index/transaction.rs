//! `.txnindex`: the aborted transactions whose abort marker is in the segment.
//!
//! ```text
//! | version 0, i16 | producer id, i64 | first offset, i64 | last offset, i64 | last stable offset, i64 |   34 bytes
//! ```
//! In the order of the markers. There is no file while there is none. Source: Kafka 3.9 `TransactionIndex`, `AbortedTxn`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use model::{Offset, ProducerId};
use parking_lot::Mutex;

use super::file::SharedDir;
use crate::disk::{Disk, DiskContext, DiskError};

pub(crate) const ENTRY: usize = 34;

/// So few entries are read one after the other.
const SEARCHED_MIN: usize = 32;

/// One aborted transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AbortedEntry {
    pub(crate) producer_id: ProducerId,
    pub(crate) first_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) last_stable_offset: Offset,
}

impl AbortedEntry {
    pub(crate) fn encode(&self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        bytes[2..10].copy_from_slice(&self.producer_id.0.to_be_bytes());
        bytes[10..18].copy_from_slice(&self.first_offset.0.to_be_bytes());
        bytes[18..26].copy_from_slice(&self.last_offset.0.to_be_bytes());
        bytes[26..].copy_from_slice(&self.last_stable_offset.0.to_be_bytes());
        bytes
    }

    /// `None` for an unknown version.
    pub(crate) fn decode(bytes: &[u8; ENTRY]) -> Option<Self> {
        let i64_at = |at: usize| {
            let mut field = [0; 8];
            field.copy_from_slice(&bytes[at..at + 8]);
            i64::from_be_bytes(field)
        };
        (bytes[..2] == [0, 0]).then(|| Self {
            producer_id: ProducerId(i64_at(2)),
            first_offset: Offset(i64_at(10)),
            last_offset: Offset(i64_at(18)),
            last_stable_offset: Offset(i64_at(26)),
        })
    }
}

pub(crate) struct TransactionIndex {
    disk: Disk,
    dir: Arc<SharedDir>,
    base_offset: Offset,
    name: String,
    state: Mutex<State>,
}

struct State {
    file: Option<Arc<File>>,
    count: usize,
    last_offset: Offset,
    dirty: bool,
}

impl TransactionIndex {
    /// The index of the segment; `exists` says whether its file is there.
    pub(crate) fn open(
        disk: Disk,
        dir: Arc<SharedDir>,
        base_offset: Offset,
        suffix: &str,
        exists: bool,
    ) -> Result<Self, DiskError> {
        let index = Self {
            disk,
            dir,
            base_offset,
            name: format!("{base_offset:020}.txnindex{suffix}"),
            state: Mutex::new(State {
                file: None,
                count: 0,
                last_offset: Offset(-1),
                dirty: false,
            }),
        };
        if exists {
            let path = index.path();
            let file = index.disk.open_existing(&path)?;
            let len = file.metadata().doing("stat", &path)?.len();
            let mut state = index.state.lock();
            state.count = (len / ENTRY as u64) as usize;
            state.file = Some(Arc::new(file));
            drop(state);
            let last = index.state.lock().count.checked_sub(1);
            if let Some(last) = last {
                let last = index
                    .read(last, 1)?
                    .first()
                    .map_or(Offset(-1), |entry| entry.last_offset);
                index.state.lock().last_offset = last;
            }
        }
        Ok(index)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.file(&self.name)
    }

    /// Up to `count` entries from the one at `from` on.
    fn read(&self, from: usize, count: usize) -> Result<Vec<AbortedEntry>, DiskError> {
        let (file, count) = {
            let state = self.state.lock();
            match &state.file {
                Some(file) => (file.clone(), count.min(state.count.saturating_sub(from))),
                None => return Ok(Vec::new()),
            }
        };
        let path = self.path();
        let mut bytes = vec![0; count * ENTRY];
        file.read_exact_at(&mut bytes, (from * ENTRY) as u64)
            .doing("read", &path)?;
        bytes
            .as_chunks()
            .0
            .iter()
            .map(|entry| {
                AbortedEntry::decode(entry)
                    .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidData, "unknown entry version"))
            })
            .collect::<Result<_, _>>()
            .doing("read", &path)
    }

    /// Whether every entry is one and lies in the segment. Source: Kafka `TransactionIndex.sanityCheck`.
    pub(crate) fn is_sane(&self) -> Result<bool, DiskError> {
        let mut from = 0;
        loop {
            let entries = match self.read(from, 1024) {
                Ok(entries) => entries,
                Err(error) if error.source.kind() == std::io::ErrorKind::InvalidData => return Ok(false),
                Err(error) => return Err(error),
            };
            if entries.iter().any(|entry| entry.last_offset < self.base_offset) {
                return Ok(false);
            }
            if entries.is_empty() {
                return Ok(true);
            }
            from += entries.len();
        }
    }

    pub(crate) fn append(&self, entry: AbortedEntry) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        if state.count > 0 && state.last_offset >= entry.last_offset {
            // A marker that is replayed is there already.
            return Ok(());
        }
        let path = self.path();
        let file = match &state.file {
            Some(file) => file.clone(),
            None => {
                let file = Arc::new(self.disk.open(&path)?);
                state.file = Some(file.clone());
                file
            }
        };
        self.disk
            .write_at(&file, || path.clone(), &entry.encode(), (state.count * ENTRY) as u64)?;
        state.count += 1;
        state.last_offset = entry.last_offset;
        state.dirty = true;
        Ok(())
    }

    /// Calls `found` for each transaction that overlaps `[from, upper)`; whether later segments need not be asked.
    ///
    /// Source: Kafka `TransactionIndex.collectAbortedTxns`.
    pub(crate) fn collect(
        &self,
        from: Offset,
        upper: Offset,
        mut found: impl FnMut(AbortedEntry),
    ) -> Result<bool, DiskError> {
        let mut at = self.first_ended_from(from)?;
        loop {
            let entries = self.read(at, 64)?;
            if entries.is_empty() {
                return Ok(false);
            }
            at += entries.len();
            for entry in entries {
                if entry.last_offset >= from && entry.first_offset < upper {
                    found(entry);
                }
                if entry.last_stable_offset >= upper {
                    return Ok(true);
                }
            }
        }
    }

    /// Which entry is the first whose marker is at or past `offset`: those before it are of no interest to who reads from
    /// there. Kafka reads all of them.
    fn first_ended_from(&self, offset: Offset) -> Result<usize, DiskError> {
        let (mut low, mut high) = {
            let state = self.state.lock();
            if state.last_offset < offset {
                return Ok(state.count);
            }
            (0, state.count)
        };
        // What is read at a time anyway need not be searched.
        while high - low > SEARCHED_MIN {
            let middle = low + (high - low) / 2;
            // Truncated meanwhile: whatever is past its end is not there.
            let is_before = self
                .read(middle, 1)?
                .first()
                .is_some_and(|entry| entry.last_offset < offset);
            if is_before {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Drops the transactions whose marker is at or past `offset`.
    pub(crate) fn truncate_to(&self, offset: Offset) -> Result<(), DiskError> {
        let (mut kept, mut last) = (0, Offset(-1));
        'all: loop {
            let entries = self.read(kept, 1024)?;
            for entry in &entries {
                if entry.last_offset >= offset {
                    break 'all;
                }
                kept += 1;
                last = entry.last_offset;
            }
            if entries.is_empty() {
                break;
            }
        }
        self.keep(kept, last)
    }

    /// Drops everything.
    pub(crate) fn reset(&self) -> Result<(), DiskError> {
        self.keep(0, Offset(-1))
    }

    fn keep(&self, count: usize, last_offset: Offset) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        if let Some(file) = &state.file {
            self.disk.set_len(file, &self.path(), (count * ENTRY) as u64)?;
            state.count = count;
            state.last_offset = last_offset;
            state.dirty = true;
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        match &state.file {
            Some(file) if state.dirty => self.disk.sync(file, &self.path())?,
            _ => return Ok(()),
        }
        state.dirty = false;
        Ok(())
    }

    pub(crate) fn exists(&self) -> bool {
        self.state.lock().file.is_some()
    }
}
