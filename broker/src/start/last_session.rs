//! `.ottla_session`: which ZooKeeper session this broker has, so that its next life knows what its last one left.
//!
//! A broker that was killed leaves ephemeral znodes for up to a session timeout. Whoever holds the lock of a log
//! directory knows that the process which wrote this file there is gone, and may remove what belongs to that session.
//! That holds for the very lock file, under the same kernel, and not for a copy of the directory: so the file names
//! both. A hint, not a record: where it is missing or old, the session is waited out. Kafka ignores the file.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use broker_log::dir_lock;
use tracing::debug;

/// The file's name, in each log directory.
const FILE: &str = ".ottla_session";
/// Longer than any content of ours.
const BYTES_MAX: u64 = 256;

/// The sessions that the last processes on these directories had. The directories must be locked by this process.
pub(super) fn read(dirs: &[PathBuf]) -> Vec<i64> {
    let read = |dir: &PathBuf| {
        let path = dir.join(FILE);
        let short = std::fs::metadata(&path).is_ok_and(|found| found.len() <= BYTES_MAX);
        let text = short.then(|| std::fs::read_to_string(&path).ok()).flatten()?;
        let (session, place) = text.trim_end().split_once(' ')?;
        if place != lock_place(dir).ok()? {
            return None;
        }
        i64::from_str_radix(session.strip_prefix("0x")?, 16).ok()
    };
    dirs.iter().filter_map(read).collect()
}

/// Notes the session. Not forced to the disk: after a crash of the machine it would not count anyway.
pub(super) fn write(dirs: &[PathBuf], session_id: i64) {
    for dir in dirs {
        if let Err(error) = replace(dir, session_id) {
            debug!(dir = %dir.display(), %error, "cannot note the session; after a kill it would be waited out");
        }
    }
}

fn replace(dir: &Path, session_id: i64) -> io::Result<()> {
    let (path, fresh) = (dir.join(FILE), dir.join(format!("{FILE}.tmp")));
    std::fs::write(&fresh, format!("0x{session_id:x} {}\n", lock_place(dir)?))?;
    std::fs::rename(fresh, path)
}

/// Which kernel guards the lock of `dir`, and which file it is.
fn lock_place(dir: &Path) -> io::Result<String> {
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let lock = std::fs::metadata(dir.join(dir_lock::FILE))?;
    Ok(format!("{} {}:{}", boot_id.trim(), lock.dev(), lock.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(dir_lock::FILE), "").unwrap();
        dir
    }

    #[test]
    fn what_was_noted_is_read() {
        let dir = directory();
        let dirs = [dir.path().to_owned(), PathBuf::from("/no/such/dir")];
        assert_eq!(read(&dirs), [0i64; 0]);
        write(&dirs, 0x0100_002e_6b11_0004);
        assert_eq!(read(&dirs), [0x0100_002e_6b11_0004]);
    }

    #[test]
    fn a_copied_directory_and_a_spoilt_file_say_nothing() {
        let (dir, copy) = (directory(), directory());
        write(&[dir.path().to_owned()], 0x1234);
        let ours = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        let check = |content: &str| {
            std::fs::write(copy.path().join(FILE), content).unwrap();
            assert_eq!(read(&[copy.path().to_owned()]), [0i64; 0], "{content:?}");
        };
        check(&ours);
        check("");
        check("0x1234");
        check(&ours.repeat(50));
        let place = lock_place(copy.path()).unwrap();
        check(&format!("1234 {place}"));
        check(&format!("0xzz {place}"));
    }
}
