//! `partition.metadata`: which topic, by id, a partition's directory belongs to.
//!
//! ```text
//! version: 0
//! topic_id: YZ3qIQ53SGabhNKf04TPNQ        (no newline at the end)
//! ```
//! A directory whose id is not that of the topic of that name belongs to a topic that was deleted meanwhile.
//! Source: Kafka 3.9 `PartitionMetadataFile`.

use std::path::Path;

use model::TopicId;

use crate::disk::{Disk, DiskError};

/// The file's name.
pub const FILE: &str = "partition.metadata";

/// The file's content.
pub fn encode(topic_id: TopicId) -> String {
    format!("version: 0\ntopic_id: {topic_id}")
}

/// The topic id in the file's content; `None` where it cannot be understood.
pub fn decode(content: &str) -> Option<TopicId> {
    let mut lines = content.lines();
    let version = lines.next()?.strip_prefix("version:")?.trim();
    let id = lines.next()?.strip_prefix("topic_id:")?.trim();
    // Later versions may only add: Kafka accepts any version from 0 on.
    version.parse::<u32>().ok()?;
    id.parse().ok().filter(|id: &TopicId| !id.is_zero())
}

/// The topic id of the partition in `dir`; `None` if there is no file, or an empty one: a power failure soon after the
/// creation leaves that.
///
/// # Errors
/// Also for a file that cannot be understood, as in Kafka.
pub fn read(disk: &Disk, dir: &Path) -> Result<Option<TopicId>, DiskError> {
    let path = dir.join(FILE);
    let Some(content) = disk.read(&path, 4096)? else {
        return Ok(None);
    };
    if content.is_empty() {
        return Ok(None);
    }
    match decode(&String::from_utf8_lossy(&content)) {
        Some(id) => Ok(Some(id)),
        None => Err(DiskError {
            doing: "read",
            path,
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, "malformed partition metadata"),
        }),
    }
}

/// Writes the file of the partition in `dir`.
///
/// # Errors
/// When the disk fails.
pub fn write(disk: &Disk, dir: &Path, topic_id: TopicId) -> Result<(), DiskError> {
    disk.replace(&dir.join(FILE), encode(topic_id).as_bytes(), false)
}

/// Writes the file of a new partition without waiting for the device: a thousand new partitions would wait a thousand
/// times. The file returned is to be synced soon.
///
/// # Errors
/// When the disk fails.
pub(crate) fn write_unsynced(disk: &Disk, dir: &Path, topic_id: TopicId) -> Result<std::fs::File, DiskError> {
    disk.replace_unsynced(&dir.join(FILE), encode(topic_id).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_is_kafkas() {
        let kafkas = "version: 0\ntopic_id: YZ3qIQ53SGabhNKf04TPNQ";
        let id = decode(kafkas).unwrap();
        assert_eq!(encode(id), kafkas);
        assert_eq!(kafkas.len(), 43);
    }

    #[test]
    fn what_is_not_the_file_is_refused() {
        let check = |content: &str| assert_eq!(decode(content), None, "{content:?}");
        check("");
        check("version: 0");
        check("version: x\ntopic_id: YZ3qIQ53SGabhNKf04TPNQ");
        check("version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA");
        check("version: 0\ntopic_id: short");
        check("topic_id: YZ3qIQ53SGabhNKf04TPNQ\nversion: 0");
    }

    #[test]
    fn a_file_that_never_reached_the_device_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::real();
        assert_eq!(read(&disk, dir.path()).unwrap(), None);
        std::fs::write(dir.path().join(FILE), "").unwrap();
        assert_eq!(read(&disk, dir.path()).unwrap(), None);
        std::fs::write(dir.path().join(FILE), "nonsense").unwrap();
        assert!(read(&disk, dir.path()).is_err());
        let id = "YZ3qIQ53SGabhNKf04TPNQ".parse().unwrap();
        write_unsynced(&disk, dir.path(), id).unwrap();
        assert_eq!(read(&disk, dir.path()).unwrap(), Some(id));
    }
}
