//! The narrow port through which every byte of a log directory is written.
//!
//! A [`Disk`] does the real system call unless a [`Faults`] in front of it says otherwise; tests put one there to
//! make any chosen operation fail (EIO, ENOSPC) or tear (write some bytes, then fail). Reads by `sendfile` and
//! `pread` use the plain [`File`] itself: nothing stands between a consumer and the page cache.
//!
//! Does not decide what an error means: see [`crate::dirs`].

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is about to be done, as a [`Faults`] sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Creates or opens a file for writing.
    Open,
    /// Writes so many bytes.
    Write(usize),
    /// `ftruncate`.
    SetLen,
    /// `futimens`.
    SetModified,
    /// `fdatasync` or `fsync` of a file.
    Sync,
    /// `fsync` of a directory.
    SyncDir,
    /// Renames a file or a directory.
    Rename,
    /// Removes a file or a directory.
    Remove,
    /// Creates a directory.
    CreateDir,
    /// Reads a file or lists a directory.
    Read,
}

/// What shall become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Go,
    /// It is not done, and the error number is returned.
    Fail(i32),
    /// Only so many bytes of a write are done, then the error number is returned.
    Tear(usize, i32),
}

/// Decides the fate of each operation. For tests.
pub trait Faults: Send + Sync {
    /// Asked before each operation.
    fn decide(&self, operation: Operation, path: &Path) -> Verdict;
}

/// An I/O error, and where it happened.
///
/// → KAFKA_STORAGE_ERROR. The log directory goes offline.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}: {source}", path.display())]
pub struct DiskError {
    /// What was being done ("append to", "open", …).
    pub doing: &'static str,
    /// To which file or directory.
    pub path: PathBuf,
    /// The system's answer.
    pub source: io::Error,
}

impl DiskError {
    /// Whether the device is full (ENOSPC, EDQUOT).
    pub fn is_full(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

/// Adds to an [`io::Error`] what was being done and to which file.
pub(crate) trait DiskContext<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, DiskError>;
}

impl<T> DiskContext<T> for io::Result<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, DiskError> {
        self.map_err(|source| DiskError {
            doing,
            path: path.to_owned(),
            source,
        })
    }
}

/// The port. Cheap to clone.
#[derive(Clone, Default)]
pub struct Disk {
    faults: Option<Arc<dyn Faults>>,
    /// How many handles of index files are kept open.
    kept: Arc<AtomicUsize>,
}

/// How many handles of index files are kept open at most, so that ten thousand partitions that come, or come back, at once
/// do not take three handles each. Kafka maps its indexes and closes the handle.
pub(crate) const MAX_KEPT: usize = 4_096;

/// The right to keep a handle open; given back when dropped.
pub(crate) struct Kept(Arc<AtomicUsize>);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.faults.is_some() { "Disk(faulty)" } else { "Disk" })
    }
}

impl Disk {
    /// The machine's disks.
    pub fn real() -> Self {
        Self::default()
    }

    /// The machine's disks with `faults` in front of them.
    pub fn faulty(faults: Arc<dyn Faults>) -> Self {
        Self {
            faults: Some(faults),
            ..Self::default()
        }
    }

    /// The right to keep another handle open, if there are not too many: else it is to be closed after use.
    pub(crate) fn keep(&self) -> Option<Kept> {
        let more = |kept| (kept < MAX_KEPT).then_some(kept + 1);
        let kept = self.kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        kept.ok().map(|_| Kept(self.kept.clone()))
    }

    /// A disk on which every `operation` fails with `errno`.
    #[cfg(test)]
    pub(crate) fn failing_at(operation: Operation, errno: i32) -> Self {
        struct Always(Operation, i32);
        impl Faults for Always {
            fn decide(&self, operation: Operation, _: &Path) -> Verdict {
                if operation == self.0 {
                    Verdict::Fail(self.1)
                } else {
                    Verdict::Go
                }
            }
        }
        Self::faulty(Arc::new(Always(operation, errno)))
    }

    fn ask(&self, operation: Operation, path: &Path) -> io::Result<()> {
        match &self.faults {
            None => Ok(()),
            Some(faults) => match faults.decide(operation, path) {
                Verdict::Go => Ok(()),
                Verdict::Fail(errno) | Verdict::Tear(_, errno) => Err(io::Error::from_raw_os_error(errno)),
            },
        }
    }

    /// Opens `path` for reading and writing, creating it when it is not there.
    pub fn open(&self, path: &Path) -> Result<File, DiskError> {
        self.ask(Operation::Open, path)
            .and_then(|()| {
                File::options()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(path)
            })
            .doing("open", path)
    }

    /// Opens `path` for reading and writing; it must be there.
    pub fn open_existing(&self, path: &Path) -> Result<File, DiskError> {
        self.ask(Operation::Open, path)
            .and_then(|()| File::options().read(true).write(true).open(path))
            .doing("open", path)
    }

    /// Writes `buffers` one after another at `position`; one system call where nothing is torn.
    ///
    /// After an error any part of the bytes may be in the file: the caller truncates it back. `path` is only asked
    /// for when it must be told, since this is the hot path.
    pub fn write_vectored_at(
        &self,
        file: &File,
        path: impl Fn() -> PathBuf,
        buffers: &[IoSlice<'_>],
        position: u64,
    ) -> Result<(), DiskError> {
        self.try_write_vectored_at(file, &path, buffers, position)
            .map_err(|source| DiskError {
                doing: "write",
                path: path(),
                source,
            })
    }

    fn try_write_vectored_at(
        &self,
        file: &File,
        path: impl Fn() -> PathBuf,
        buffers: &[IoSlice<'_>],
        position: u64,
    ) -> io::Result<()> {
        let total: usize = buffers.iter().map(|b| b.len()).sum();
        if let Some(faults) = &self.faults {
            match faults.decide(Operation::Write(total), &path()) {
                Verdict::Go => {}
                Verdict::Fail(errno) => return Err(io::Error::from_raw_os_error(errno)),
                Verdict::Tear(bytes, errno) => {
                    let mut whole = Vec::with_capacity(total);
                    for buffer in buffers {
                        whole.extend_from_slice(buffer);
                    }
                    file.write_all_at(&whole[..bytes.min(total)], position)?;
                    return Err(io::Error::from_raw_os_error(errno));
                }
            }
        }
        let mut written = 0usize;
        while written < total {
            // IOV_MAX is 1024; the common case is two buffers, in one call.
            let rest = remaining(buffers, written);
            match rustix::io::pwritev(file, &rest[..rest.len().min(1024)], position + written as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => written += n,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Writes `bytes` at `position`.
    pub fn write_at(
        &self,
        file: &File,
        path: impl Fn() -> PathBuf,
        bytes: &[u8],
        position: u64,
    ) -> Result<(), DiskError> {
        self.write_vectored_at(file, path, &[IoSlice::new(bytes)], position)
    }

    /// Makes `file` exactly `len` bytes long; what is added reads as zeros and takes no room.
    pub fn set_len(&self, file: &File, path: &Path, len: u64) -> Result<(), DiskError> {
        self.ask(Operation::SetLen, path)
            .and_then(|()| file.set_len(len))
            .doing("resize", path)
    }

    /// Makes `file` tell that it was last written at `time`.
    pub fn set_modified(&self, file: &File, path: &Path, time: std::time::SystemTime) -> Result<(), DiskError> {
        self.ask(Operation::SetModified, path)
            .and_then(|()| file.set_modified(time))
            .doing("set the time of", path)
    }

    /// Waits until the content of `file` is on the device.
    pub fn sync(&self, file: &File, path: &Path) -> Result<(), DiskError> {
        self.ask(Operation::Sync, path)
            .and_then(|()| file.sync_data())
            .doing("sync", path)
    }

    /// Waits until the names in `dir` are on the device.
    pub fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        self.ask(Operation::SyncDir, dir)
            .and_then(|()| File::open(dir)?.sync_all())
            .doing("sync directory", dir)
    }

    /// Renames `from` to `to`, replacing what is there.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.ask(Operation::Rename, from)
            .and_then(|()| std::fs::rename(from, to))
            .doing("rename", from)
    }

    /// Removes the file `path`; one that is not there is no error.
    pub fn remove(&self, path: &Path) -> Result<(), DiskError> {
        self.ask(Operation::Remove, path)
            .and_then(|()| absent_is_fine(std::fs::remove_file(path)))
            .doing("remove", path)
    }

    /// Removes the directory `path` and all in it; one that is not there is no error.
    pub fn remove_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        self.ask(Operation::Remove, path)
            .and_then(|()| absent_is_fine(std::fs::remove_dir_all(path)))
            .doing("remove", path)
    }

    /// Creates the directory `path` and those above it.
    pub fn create_dir(&self, path: &Path) -> Result<(), DiskError> {
        self.ask(Operation::CreateDir, path)
            .and_then(|()| std::fs::create_dir_all(path))
            .doing("create", path)
    }

    /// The whole content of a small file, or `None` if it is not there.
    ///
    /// # Errors
    /// Also when it is longer than `at_most`: nothing that is read whole may be unbounded.
    pub fn read(&self, path: &Path, at_most: u64) -> Result<Option<Vec<u8>>, DiskError> {
        let read = || {
            self.ask(Operation::Read, path)?;
            let file = match File::open(path) {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(e),
            };
            let len = file.metadata()?.len();
            if len > at_most {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{len} bytes are more than this file can have ({at_most})"),
                ));
            }
            let mut content = vec![0; len as usize];
            file.read_exact_at(&mut content, 0)?;
            Ok(Some(content))
        };
        read().doing("read", path)
    }

    /// The names in `dir`, with whether each is a directory.
    pub fn list(&self, dir: &Path) -> Result<Vec<(String, bool)>, DiskError> {
        let list = || {
            self.ask(Operation::Read, dir)?;
            let mut names = Vec::new();
            for entry in std::fs::read_dir(dir)? {
                let entry = entry?;
                if let Ok(name) = entry.file_name().into_string() {
                    names.push((name, entry.file_type()?.is_dir()));
                }
            }
            Ok(names)
        };
        list().doing("list", dir)
    }

    /// Writes `content` to `path` so that after a crash there is either the old or the new content: writes
    /// `path` + `.tmp`, syncs it, renames it, and syncs the directory if `durable_now`.
    ///
    /// Source: Kafka 3.9 `CheckpointFile.write`, `Utils.atomicMoveWithFallback`.
    pub fn replace(&self, path: &Path, content: &[u8], durable_now: bool) -> Result<(), DiskError> {
        let (file, temporary) = self.write_temporary(path, content)?;
        self.sync(&file, &temporary)?;
        self.rename(&temporary, path)?;
        match path.parent() {
            Some(dir) if durable_now => self.sync_dir(dir),
            _ => Ok(()),
        }
    }

    /// As [`Disk::replace`], but does not wait for the device: a crash of the process leaves the old or the new
    /// content, a power failure may leave neither until [`Disk::sync`] has been called on the file returned.
    pub fn replace_unsynced(&self, path: &Path, content: &[u8]) -> Result<File, DiskError> {
        let (file, temporary) = self.write_temporary(path, content)?;
        self.rename(&temporary, path)?;
        Ok(file)
    }

    fn write_temporary(&self, path: &Path, content: &[u8]) -> Result<(File, PathBuf), DiskError> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let file = self.open(&temporary)?;
        self.set_len(&file, &temporary, 0)?;
        self.write_at(&file, || temporary.clone(), content, 0)?;
        Ok((file, temporary))
    }

    /// Waits until all that was written to the file system of `dir` is on the device: one call in place of
    /// thousands of syncs when a broker stops.
    pub fn sync_file_system(&self, dir: &Path) -> Result<(), DiskError> {
        self.ask(Operation::Sync, dir)
            .and_then(|()| Ok(rustix::fs::syncfs(File::open(dir)?)?))
            .doing("sync file system of", dir)
    }

    /// Size of the file system of `dir`, and what is left of it for us. Source: Java's `FileStore`.
    pub fn space(&self, dir: &Path) -> Result<(u64, u64), DiskError> {
        let stat = rustix::fs::statvfs(dir).map_err(io::Error::from).doing("stat", dir)?;
        Ok((
            stat.f_blocks.saturating_mul(stat.f_frsize),
            stat.f_bavail.saturating_mul(stat.f_frsize),
        ))
    }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// What is left of `buffers` after the first `skip` bytes.
fn remaining<'a>(buffers: &'a [IoSlice<'a>], mut skip: usize) -> smallvec::SmallVec<[IoSlice<'a>; 4]> {
    let mut rest = smallvec::SmallVec::new();
    for buffer in buffers {
        if skip >= buffer.len() {
            skip -= buffer.len();
        } else {
            rest.push(IoSlice::new(&buffer[skip..]));
            skip = 0;
        }
    }
    rest
}
