//! What the tests of this crate share.

use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use model::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId, Sequence};

use crate::batch::{BatchBuilder, Entries, Entry};
use crate::log::{FileSlice, Log};

/// Unpacks one of the captured log directories of the real Kafka.
pub(crate) fn unpack(archive: &[u8], into: &Path) {
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(archive).read_to_end(&mut tar).unwrap();
    let mut rest = &tar[..];
    while rest.len() >= 512 && rest[0] != 0 {
        let (header, content) = rest.split_at(512);
        let text = |field: &[u8]| {
            let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
            String::from_utf8(field[..end].to_vec()).unwrap()
        };
        let name = text(&header[..100]);
        let size = usize::from_str_radix(text(&header[124..136]).trim(), 8).unwrap();
        let path = into.join(name.trim_start_matches("./"));
        if header[156] == b'5' {
            std::fs::create_dir_all(&path).unwrap();
        } else {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &content[..size]).unwrap();
        }
        rest = &content[size.div_ceil(512) * 512..];
    }
}

/// The real Kafka's directory after a clean stop.
pub(crate) const CLEAN: &[u8] = include_bytes!("../testdata/sample-log-dir.tar.gz");
/// The same, and some more records, after kill -9.
pub(crate) const KILLED: &[u8] = include_bytes!("../testdata/sample-log-dir-after-kill.tar.gz");

/// A batch with one record per value.
pub(crate) fn batch(timestamp: i64, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.push(Millis(timestamp), Some(b"k"), Some(value.as_bytes()));
    }
    builder.build()
}

/// A batch of an idempotent producer.
pub(crate) fn produced(id: i64, sequence: i32, transactional: bool, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new()
        .producer(ProducerId(id), ProducerEpoch(0), Sequence(sequence))
        .transactional(transactional);
    for value in values {
        builder.push(Millis(1000), None, Some(value.as_bytes()));
    }
    builder.build()
}

/// A follower's batch: offset and epoch are the leader's.
pub(crate) fn replicated(offset: i64, epoch: i32, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new()
        .base_offset(Offset(offset))
        .leader_epoch(LeaderEpoch(epoch));
    for value in values {
        builder.push(Millis(1000), None, Some(value.as_bytes()));
    }
    builder.build()
}

/// The records of a format 2 log in `[from, limit)` as (offset, value), control batches left out.
pub(crate) fn records(log: &Log, from: Offset, limit: Offset) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    let mut next = from;
    loop {
        let slice: FileSlice = log.read(next, 1000, limit, true).unwrap();
        if slice.is_empty() {
            return found;
        }
        let bytes = slice.read().unwrap();
        for entry in Entries::new(&bytes) {
            let entry = entry.unwrap();
            assert!(entry.is_valid());
            if let Entry::Batch(batch) = entry
                && !batch.is_control()
            {
                let mut scratch = Vec::new();
                for record in batch.records(&mut scratch, 1 << 20).unwrap() {
                    let record = record.unwrap();
                    if record.offset >= next {
                        let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
                        found.push((record.offset.0, value));
                    }
                }
            }
            next = entry.last_offset().next();
        }
    }
}

/// All files below `dir`, with their content.
pub(crate) fn files(dir: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    files
}
