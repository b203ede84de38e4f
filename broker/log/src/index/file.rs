//! An index file: an array of fixed-size entries, appended at the end, searched by halves.
//!
//! Invariants: entries are in ascending order of their first field and none is all zeros, so that the zeros of the
//! preallocated rest are told from entries; a reader never holds the lock across a read of the disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::disk::{Disk, DiskContext, DiskError, Kept};

/// The directory of a log, shared by its files: it is renamed when the log is deleted.
#[derive(Debug)]
pub(crate) struct SharedDir(RwLock<Arc<Path>>);

impl SharedDir {
    pub(crate) fn new(dir: impl Into<Arc<Path>>) -> Arc<Self> {
        Arc::new(Self(RwLock::new(dir.into())))
    }

    pub(crate) fn path(&self) -> Arc<Path> {
        self.0.read().clone()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.read().join(name)
    }

    pub(crate) fn renamed(&self, to: impl Into<Arc<Path>>) {
        *self.0.write() = to.into();
    }
}

/// How many of the newest entries are kept in memory: Kafka's "warm" section is 8 KiB as well.
const TAIL_ENTRIES: usize = 512;

/// The file, opened when it is first needed: most segments of most logs are never looked into.
pub(super) struct IndexFile<const N: usize> {
    disk: Disk,
    dir: Arc<SharedDir>,
    name: String,
    state: Mutex<Option<Open<N>>>,
    /// The name is another file's now: what is open may be read on, nothing is opened any more.
    gone: AtomicBool,
}

struct Open<const N: usize> {
    /// `None` while nobody has needed it for a while: a thousand idle partitions must not hold two thousand handles.
    /// Nor where too many are open already.
    file: Option<(Arc<File>, Kept)>,
    /// Entries in the file.
    count: usize,
    /// The newest of them; the last one is the last of the file. All of them while there are few.
    tail: Vec<[u8; N]>,
    /// Length of the file, with the preallocated rest.
    len: u64,
    /// Whether there are writes that are not synced.
    dirty: bool,
    /// The older entries that were last looked into.
    page: Option<Arc<Page<N>>>,
}

/// Some consecutive entries.
struct Page<const N: usize> {
    start: usize,
    entries: Vec<[u8; N]>,
}

impl<const N: usize> Page<N> {
    fn search(&self, keep: impl Fn(&[u8; N]) -> bool) -> (usize, Option<[u8; N]>) {
        let kept = self.entries.partition_point(keep);
        let last = kept.checked_sub(1).map(|at| self.entries[at]);
        (self.start + kept, last)
    }
}

/// Entries that are read at once.
const PAGE_ENTRIES: usize = 512;

impl<const N: usize> IndexFile<N> {
    /// The file `name` in `dir`, which need not exist.
    pub(super) fn new(disk: Disk, dir: Arc<SharedDir>, name: String) -> Self {
        Self {
            disk,
            dir,
            name,
            state: Mutex::new(None),
            gone: AtomicBool::new(false),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.file(&self.name)
    }

    /// A new, empty, preallocated file, in place of whatever was there.
    pub(super) fn create(&self, max_bytes: u32) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        let path = self.path();
        let file = self.disk.open(&path)?;
        let len = u64::from(max_bytes) / N as u64 * N as u64;
        if file.metadata().doing("stat", &path)?.len() > 0 {
            self.disk.set_len(&file, &path, 0)?;
        }
        self.disk.set_len(&file, &path, len)?;
        *state = Some(Open {
            file: self.keep(Arc::new(file)),
            count: 0,
            tail: Vec::new(),
            len,
            dirty: true,
            page: None,
        });
        Ok(())
    }

    /// Runs `f` on the opened file.
    fn with<R>(&self, f: impl FnOnce(&mut Open<N>) -> Result<R, DiskError>) -> Result<R, DiskError> {
        let mut state = self.state.lock();
        if state.is_none() {
            *state = Some(self.load()?);
        }
        match state.as_mut() {
            Some(open) => f(open),
            None => unreachable!("loaded above"),
        }
    }

    /// The file's handle.
    fn handle(&self, open: &mut Open<N>) -> Result<Arc<File>, DiskError> {
        if let Some((file, _)) = &open.file {
            return Ok(file.clone());
        }
        let file = Arc::new(self.open()?);
        open.file = self.keep(file.clone());
        Ok(file)
    }

    fn open(&self) -> Result<File, DiskError> {
        let path = self.path();
        if self.gone.load(Ordering::Acquire) {
            return Err(std::io::Error::from(std::io::ErrorKind::NotFound)).doing("open", &path);
        }
        self.disk.open_existing(&path)
    }

    /// From now on the name is not this file's.
    pub(super) fn let_go(&self) {
        // Behind the lock: whoever is opening it has it before it loses its name.
        let _state = self.state.lock();
        self.gone.store(true, Ordering::Release);
    }

    /// Bytes of its entries.
    pub(super) fn size(&self) -> Result<u64, DiskError> {
        self.with(|open| Ok((open.count * N) as u64))
    }

    fn keep(&self, file: Arc<File>) -> Option<(Arc<File>, Kept)> {
        self.disk.keep().map(|kept| (file, kept))
    }

    fn load(&self) -> Result<Open<N>, DiskError> {
        let path = self.path();
        let file = self.open()?;
        let len = file.metadata().doing("stat", &path)?.len();
        let slots = (len / N as u64) as usize;
        // An entry is never all zeros, and the unused rest always is: find where one becomes the other.
        let (mut used, mut unused) = (0, slots);
        while used < unused {
            let middle = used + (unused - used) / 2;
            let mut entry = [0; N];
            file.read_exact_at(&mut entry, (middle * N) as u64)
                .doing("read", &path)?;
            if entry == [0; N] {
                unused = middle;
            } else {
                used = middle + 1;
            }
        }
        let mut open = Open {
            file: self.keep(Arc::new(file)),
            count: used,
            tail: Vec::new(),
            len,
            dirty: false,
            page: None,
        };
        self.reload_tail(&mut open)?;
        Ok(open)
    }

    /// The last entry.
    pub(super) fn last(&self) -> Result<Option<[u8; N]>, DiskError> {
        self.with(|open| Ok(open.tail.last().copied()))
    }

    pub(super) fn first(&self) -> Result<Option<[u8; N]>, DiskError> {
        self.entry(0)
    }

    /// The entry at `at`, counted from 0.
    pub(super) fn entry(&self, at: usize) -> Result<Option<[u8; N]>, DiskError> {
        let file = self.with(|open| {
            Ok(if at >= open.count {
                Err(None)
            } else if at >= open.tail_start() {
                Err(Some(open.tail[at - open.tail_start()]))
            } else {
                Ok(self.handle(open)?)
            })
        })?;
        match file {
            Err(known) => Ok(known),
            Ok(file) => self.entry_in_file(&file, at).map(Some),
        }
    }

    fn entry_in_file(&self, file: &File, at: usize) -> Result<[u8; N], DiskError> {
        let mut entry = [0; N];
        match file.read_exact_at(&mut entry, (at * N) as u64) {
            Ok(()) => Ok(entry),
            Err(error) => Err(error).doing("read", &self.path()),
        }
    }

    /// How many entries there are and how many entries (a prefix) are for `keep`, and the last of those.
    pub(super) fn search(&self, keep: impl Fn(&[u8; N]) -> bool) -> Result<(usize, Option<[u8; N]>), DiskError> {
        enum Where<const N: usize> {
            Found(usize, Option<[u8; N]>),
            Below(Arc<File>, usize),
        }
        let place = self.with(|open| {
            let start = open.tail_start();
            let kept = open.tail.partition_point(&keep);
            Ok(if kept > 0 {
                Where::Found(start + kept, Some(open.tail[kept - 1]))
            } else if start == 0 {
                Where::Found(0, None)
            } else {
                Where::Below(self.handle(open)?, start)
            })
        })?;
        match place {
            Where::Found(kept, last) => Ok((kept, last)),
            Where::Below(file, entries) => self.search_in_file(&file, entries, keep),
        }
    }

    /// As [`IndexFile::search`], among the first `entries` of the file. By halves down to a page, which is then read
    /// whole and kept: who reads on from here looks into the same one.
    fn search_in_file(
        &self,
        file: &File,
        entries: usize,
        keep: impl Fn(&[u8; N]) -> bool,
    ) -> Result<(usize, Option<[u8; N]>), DiskError> {
        let known = self.with(|open| Ok(open.page.clone()))?;
        if let Some(page) = known
            && page.entries.first().is_some_and(&keep)
            && page.entries.last().is_some_and(|last| !keep(last))
        {
            return Ok(page.search(keep));
        }
        let (mut low, mut high) = (0, entries);
        while high - low > PAGE_ENTRIES {
            let middle = low + (high - low) / 2;
            if keep(&self.entry_in_file(file, middle)?) {
                // Not past it: the page begins with an entry that is kept, by which it is known again.
                low = middle;
            } else {
                high = middle;
            }
        }
        // The entry past the page, by which its end is known again, if there is one.
        let count = (high - low + 1).min(entries - low);
        let mut bytes = vec![0; count * N];
        file.read_exact_at(&mut bytes, (low * N) as u64)
            .doing("read", &self.path())?;
        let page = Arc::new(Page {
            start: low,
            entries: bytes.as_chunks().0.to_vec(),
        });
        let found = page.search(keep);
        self.with(|open| {
            // A truncation meanwhile has made it worthless.
            if open.count >= entries {
                open.page = Some(page);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Whether the preallocated file has no room for `more` entries.
    pub(super) fn is_full(&self, max_bytes: u32, more: usize) -> Result<bool, DiskError> {
        let slots = max_bytes as usize / N;
        self.with(|open| Ok(open.count + more > slots))
    }

    pub(super) fn append(&self, entry: [u8; N]) -> Result<(), DiskError> {
        debug_assert!(entry != [0; N], "zeros would read as unused");
        self.with(|open| {
            let position = (open.count * N) as u64;
            let file = self.handle(open)?;
            self.disk.write_at(&file, || self.path(), &entry, position)?;
            open.count += 1;
            open.len = open.len.max(position + N as u64);
            open.dirty = true;
            if open.tail.len() == 2 * TAIL_ENTRIES {
                open.tail.drain(..TAIL_ENTRIES);
            }
            open.tail.push(entry);
            Ok(())
        })
    }

    /// Keeps the first `count` entries, zeroing the rest.
    pub(super) fn truncate_to(&self, count: usize) -> Result<(), DiskError> {
        let path = self.path();
        self.with(|open| {
            if count >= open.count {
                return Ok(());
            }
            let (kept, len) = ((count * N) as u64, open.len);
            let file = self.handle(open)?;
            // Cutting and growing again zeroes what was cut: a crash between the two leaves a shorter, valid index.
            self.disk.set_len(&file, &path, kept)?;
            open.len = kept;
            self.disk.set_len(&file, &path, len)?;
            open.len = len;
            open.count = count;
            open.dirty = true;
            open.page = None;
            self.reload_tail(open)
        })
    }

    /// Makes the file as long as its entries.
    pub(super) fn trim(&self) -> Result<(), DiskError> {
        self.with(|open| {
            let len = (open.count * N) as u64;
            if open.len != len {
                let file = self.handle(open)?;
                self.disk.set_len(&file, &self.path(), len)?;
                open.len = len;
                open.dirty = true;
            }
            Ok(())
        })
    }

    /// Makes room for entries up to `max_bytes`: the segment is active (again).
    pub(super) fn preallocate(&self, max_bytes: u32) -> Result<(), DiskError> {
        self.with(|open| {
            let len = (u64::from(max_bytes) / N as u64 * N as u64).max((open.count * N) as u64);
            if open.len != len {
                let file = self.handle(open)?;
                self.disk.set_len(&file, &self.path(), len)?;
                open.len = len;
            }
            Ok(())
        })
    }

    /// Waits until what was written is on the device.
    pub(super) fn sync(&self) -> Result<(), DiskError> {
        let file = {
            let mut state = self.state.lock();
            match state.as_mut() {
                Some(open) if open.dirty => {
                    let file = self.handle(open)?;
                    open.dirty = false;
                    file
                }
                _ => return Ok(()),
            }
        };
        self.disk.sync(&file, &self.path()).inspect_err(|_| {
            if let Some(open) = self.state.lock().as_mut() {
                open.dirty = true;
            }
        })
    }

    /// Forgets all; the next use reads the file again.
    pub(super) fn close(&self) {
        *self.state.lock() = None;
    }

    /// Closes the handle, and keeps what is known.
    pub(super) fn rest(&self) {
        if let Some(open) = self.state.lock().as_mut() {
            open.file = None;
        }
    }

    fn reload_tail(&self, open: &mut Open<N>) -> Result<(), DiskError> {
        let keep = open.count.min(TAIL_ENTRIES);
        let mut bytes = vec![0; keep * N];
        if keep > 0 {
            self.handle(open)?
                .read_exact_at(&mut bytes, ((open.count - keep) * N) as u64)
                .doing("read", &self.path())?;
        }
        open.tail = bytes.as_chunks().0.to_vec();
        Ok(())
    }
}

impl<const N: usize> Open<N> {
    fn tail_start(&self) -> usize {
        self.count - self.tail.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_read_and_written_also_where_too_many_handles_are_open() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::real();
        let others: Vec<Kept> = std::iter::from_fn(|| disk.keep()).collect();
        assert!(!others.is_empty());
        let index = IndexFile::<8>::new(disk.clone(), SharedDir::new(dir.path()), "0.index".to_owned());
        index.create(800).unwrap();
        for entry in 1..=50u64 {
            index.append(entry.to_be_bytes()).unwrap();
        }
        index.sync().unwrap();
        assert_eq!(index.last().unwrap(), Some(50u64.to_be_bytes()));
        assert!(index.state.lock().as_ref().unwrap().file.is_none());
        index.close();
        assert_eq!(index.last().unwrap(), Some(50u64.to_be_bytes()));

        drop(others);
        index.append(51u64.to_be_bytes()).unwrap();
        assert!(index.state.lock().as_ref().unwrap().file.is_some());
        assert_eq!(index.last().unwrap(), Some(51u64.to_be_bytes()));
        index.rest();
        let all: Vec<Kept> = std::iter::from_fn(|| disk.keep()).collect();
        assert_eq!(all.len(), crate::disk::MAX_KEPT);
    }
}
