//! `.kafka_cleanshutdown`: this directory was left in order, no log needs recovery.
//!
//! Written last of all in a shutdown, removed before the logs are loaded, so that a crash while loading counts as
//! unclean. Content: `{"version":0,"brokerEpoch":-1}`, without a newline; old Kafka versions left it empty.
//! Source: Kafka 3.9 `CleanShutdownFileHandler`.

use std::path::Path;

use model::BrokerEpoch;

use crate::disk::{Disk, DiskError};

/// The file's name.
pub const FILE: &str = ".kafka_cleanshutdown";

/// The file's content.
pub fn encode(broker_epoch: BrokerEpoch) -> String {
    format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}")
}

/// The broker epoch in the file's content; unknown if it does not say one. The mark counts in any case.
pub fn decode(content: &str) -> BrokerEpoch {
    let number_of = |key: &str| -> Option<i64> {
        let rest = content.split_once(key)?.1.trim_start().strip_prefix(':')?.trim_start();
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '-')
            .unwrap_or(rest.len());
        rest[..end].parse().ok()
    };
    match (number_of("\"version\""), number_of("\"brokerEpoch\"")) {
        (Some(0), Some(epoch)) => BrokerEpoch(epoch),
        _ => BrokerEpoch::NONE,
    }
}

/// Removes the mark and says what it was; `None` if there was none.
///
/// # Errors
/// When the disk fails.
pub fn take(disk: &Disk, dir: &Path) -> Result<Option<BrokerEpoch>, DiskError> {
    let path = dir.join(FILE);
    match disk.read(&path, 4096)? {
        None => Ok(None),
        Some(content) => {
            disk.remove(&path)?;
            Ok(Some(decode(&String::from_utf8_lossy(&content))))
        }
    }
}

/// Leaves the mark.
///
/// # Errors
/// When the disk fails.
pub fn put(disk: &Disk, dir: &Path, broker_epoch: BrokerEpoch) -> Result<(), DiskError> {
    disk.replace(&dir.join(FILE), encode(broker_epoch).as_bytes(), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_is_kafkas() {
        assert_eq!(encode(BrokerEpoch(-1)), r#"{"version":0,"brokerEpoch":-1}"#);
        let check = |content: &str, epoch: i64| assert_eq!(decode(content), BrokerEpoch(epoch), "{content}");
        check(r#"{"version":0,"brokerEpoch":-1}"#, -1);
        check(r#"{"version":0,"brokerEpoch":77}"#, 77);
        check(r#"{ "brokerEpoch" : 77, "version" : 0 }"#, 77);
        check(r#"{"version":1,"brokerEpoch":77}"#, -1);
        check("", -1);
        check("{", -1);
        check(r#"{"version":0,"brokerEpoch":99999999999999999999}"#, -1);
    }

    #[test]
    fn the_mark_is_gone_once_taken() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::real();
        put(&disk, dir.path(), BrokerEpoch(5)).unwrap();
        assert_eq!(take(&disk, dir.path()).unwrap(), Some(BrokerEpoch(5)));
        assert_eq!(take(&disk, dir.path()).unwrap(), None);
    }
}
