//! `.lock`: one process at a time works in a log directory.
//!
//! A POSIX record lock on the whole file, as Java's `FileChannel.tryLock` takes it, so that we and Kafka keep each
//! other out. Such a lock belongs to the process, not to the file handle, hence a table of what this process holds.
//! Source: Kafka 3.9 `FileLock`, `LogManager.lockLogDirs`.

use std::fs::File;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::FlockOperation;

use crate::disk::{Disk, DiskContext, DiskError};

/// The file's name.
pub const FILE: &str = ".lock";

static HELD: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A directory locked by this process; unlocked when dropped.
#[derive(Debug)]
pub struct DirLock {
    dir: PathBuf,
    // The lock goes with the handle.
    _file: File,
}

/// Locks `dir`, or `None` if somebody else has it.
///
/// # Errors
/// When the file cannot be made or locked.
pub fn lock(disk: &Disk, dir: &Path) -> Result<Option<DirLock>, DiskError> {
    let dir = dir.canonicalize().doing("open", dir)?;
    let path = dir.join(FILE);
    let mut held = HELD.lock();
    if held.contains(&dir) {
        return Ok(None);
    }
    let file = disk.open(&path)?;
    match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            held.push(dir.clone());
            Ok(Some(DirLock { dir, _file: file }))
        }
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(None),
        Err(errno) => Err(errno.into()).doing("lock", &path),
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        HELD.lock().retain(|dir| *dir != self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_locked_once() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::real();
        let first = lock(&disk, dir.path()).unwrap();
        assert!(first.is_some());
        assert!(lock(&disk, dir.path()).unwrap().is_none());
        drop(first);
        assert!(lock(&disk, dir.path()).unwrap().is_some());
    }
}
