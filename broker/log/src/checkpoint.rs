//! The offset checkpoints of a log directory: one offset per partition, in a small text file.
//!
//! ```text
//! 0                      version
//! 2                      number of entries
//! orders 0 45            topic, partition, offset
//! orders 1 0
//! ```
//! `recovery-point-offset-checkpoint`: below it everything is on the device. `log-start-offset-checkpoint`: below it
//! everything was deleted (only where that is not the base of the first segment). `replication-offset-checkpoint`:
//! the high watermarks. `cleaner-offset-checkpoint`: up to where a compacted log was cleaned.
//!
//! Written whole and renamed into place: a reader sees the old file or the new one. The cleaner's file is kept as it
//! is, except that deleted partitions are dropped.
//! Source: Kafka 3.9 `CheckpointFile`, `OffsetCheckpointFile`.

use std::path::Path;

use hashbrown::HashMap;
use model::{Offset, TopicPartition};

use crate::disk::{Disk, DiskError};

/// Where recovery starts.
pub const RECOVERY_POINT: &str = "recovery-point-offset-checkpoint";
/// Log start offsets.
pub const LOG_START_OFFSET: &str = "log-start-offset-checkpoint";
/// High watermarks.
pub const HIGH_WATERMARK: &str = "replication-offset-checkpoint";
/// How far each compacted log was cleaned.
pub const CLEANER_OFFSET: &str = "cleaner-offset-checkpoint";

/// A checkpoint that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The first line is not `0`.
    #[error("unrecognized version of the checkpoint file: {0}")]
    Version(String),
    /// A line is not what it should be.
    #[error("malformed line in checkpoint file: '{0}'")]
    Line(String),
    /// Not as many entries as the second line says.
    #[error("expected {expected} entries in checkpoint file, but found only {found}")]
    Count {
        /// What the second line says.
        expected: usize,
        /// How many there are.
        found: usize,
    },
}

/// A million partitions with the longest names fit; more is not one of our files.
const AT_MOST_BYTES: u64 = 300 << 20;

/// The text of a checkpoint: version, count, entries.
pub(crate) fn encode<E: std::fmt::Display>(entries: impl ExactSizeIterator<Item = E>) -> String {
    use std::fmt::Write;
    let mut text = format!("0\n{}\n", entries.len());
    for entry in entries {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{entry}");
    }
    text
}

/// The entry lines of a checkpoint. An empty file has none (Kafka reads it so).
pub(crate) fn decode<E>(text: &str, parse: impl Fn(&str) -> Option<E>) -> Result<Vec<E>, ParseError> {
    let mut lines = text.lines();
    let Some(version) = lines.next() else {
        return Ok(Vec::new());
    };
    match version.trim().parse::<i32>() {
        Ok(0) => {}
        Ok(_) => return Err(ParseError::Version(version.to_owned())),
        Err(_) => return Err(ParseError::Line(version.to_owned())),
    }
    let Some(count) = lines.next() else {
        return Ok(Vec::new());
    };
    let expected: usize = count.trim().parse().map_err(|_| ParseError::Line(count.to_owned()))?;
    // The count is what a file says: room is made as entries are found.
    let mut entries = Vec::new();
    for line in lines {
        entries.push(parse(line).ok_or_else(|| ParseError::Line(line.to_owned()))?);
    }
    if entries.len() != expected {
        return Err(ParseError::Count {
            expected,
            found: entries.len(),
        });
    }
    Ok(entries)
}

struct Line<'a>(&'a TopicPartition, Offset);

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.0.topic, self.0.partition, self.1)
    }
}

/// The file's text. Sorted, so that the same offsets give the same bytes (Kafka's order is that of a hash map).
pub fn encode_offsets(offsets: &HashMap<TopicPartition, Offset>) -> String {
    let mut lines: Vec<_> = offsets.iter().map(|(tp, offset)| Line(tp, *offset)).collect();
    lines.sort_unstable_by(|a, b| a.0.cmp(b.0));
    encode(lines.into_iter())
}

/// The offsets in a file's text.
///
/// # Errors
/// When it is not such a file, or an entry is missing.
pub fn decode_offsets(text: &str) -> Result<HashMap<TopicPartition, Offset>, ParseError> {
    let entries = decode(text, |line| {
        let mut words = line.split_ascii_whitespace();
        let entry = (
            TopicPartition::new(words.next()?, words.next()?.parse().ok()?),
            Offset(words.next()?.parse().ok()?),
        );
        words.next().is_none().then_some(entry)
    })?;
    Ok(entries.into_iter().collect())
}

/// The offsets of the checkpoint `name` in `dir`; none if there is no such file.
///
/// # Errors
/// A file that cannot be understood is an I/O error, as in Kafka: the directory is not usable.
pub fn read(disk: &Disk, dir: &Path, name: &str) -> Result<HashMap<TopicPartition, Offset>, DiskError> {
    let path = dir.join(name);
    let Some(content) = disk.read(&path, AT_MOST_BYTES)? else {
        return Ok(HashMap::new());
    };
    let text = String::from_utf8_lossy(&content);
    decode_offsets(&text).map_err(|error| DiskError {
        doing: "read",
        path,
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
    })
}

/// Replaces the checkpoint `name` in `dir`.
///
/// # Errors
/// When the disk fails; then the old file is still there.
pub fn write(disk: &Disk, dir: &Path, name: &str, offsets: &HashMap<TopicPartition, Offset>) -> Result<(), DiskError> {
    disk.replace(&dir.join(name), encode_offsets(offsets).as_bytes(), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_kafkas() {
        let kafkas = "0\n2\nplain 1 0\ntxn 0 41\n";
        let offsets = decode_offsets(kafkas).unwrap();
        assert_eq!(offsets[&TopicPartition::new("txn", 0)], Offset(41));
        assert_eq!(encode_offsets(&offsets), kafkas);
        assert_eq!(encode_offsets(&HashMap::new()), "0\n0\n");
    }

    #[test]
    fn what_is_not_a_checkpoint_is_refused() {
        let check = |text: &str, answer: Result<usize, ParseError>| {
            assert_eq!(decode_offsets(text).map(|o| o.len()), answer, "{text:?}");
        };
        check("", Ok(0));
        check("0\n0\n", Ok(0));
        check("1\n0\n", Err(ParseError::Version("1".into())));
        check("x\n0\n", Err(ParseError::Line("x".into())));
        check("0\n-1\n", Err(ParseError::Line("-1".into())));
        check("0\n1\n", Err(ParseError::Count { expected: 1, found: 0 }));
        check("0\n1\na 0 5\nb 0 6\n", Err(ParseError::Count { expected: 1, found: 2 }));
        check("0\n1\na 0\n", Err(ParseError::Line("a 0".into())));
        check("0\n1\na 0 5 6\n", Err(ParseError::Line("a 0 5 6".into())));
        check(
            "0\n99999999999\na 0 5\n",
            Err(ParseError::Count {
                expected: 99_999_999_999,
                found: 1,
            }),
        );
    }

    #[test]
    fn a_checkpoint_survives_a_failed_rewrite() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::real();
        assert!(read(&disk, dir.path(), RECOVERY_POINT).unwrap().is_empty());
        let offsets: HashMap<_, _> = [(TopicPartition::new("a", 0), Offset(7))].into();
        write(&disk, dir.path(), RECOVERY_POINT, &offsets).unwrap();
        let full = Disk::failing_at(crate::disk::Operation::Sync, 28);
        assert!(
            write(&full, dir.path(), RECOVERY_POINT, &HashMap::new())
                .unwrap_err()
                .is_full()
        );
        assert_eq!(read(&disk, dir.path(), RECOVERY_POINT).unwrap(), offsets);
    }
}
