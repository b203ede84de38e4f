//! The files of a partition's replicas, side by side.
//!
//! Only what is compared: whole batches one after the other, whatever segments they lie in, since each replica rolls its
//! segments by itself. Source: Kafka 3.9's `DefaultRecordBatch` for the header of a batch.

use std::path::Path;

const HEADER: usize = 61;

/// One batch as it lies in a segment.
#[derive(PartialEq, Eq, Clone)]
pub struct StoredBatch {
    /// Offset of its first record.
    pub base_offset: i64,
    /// One past the offset of its last record.
    pub next_offset: i64,
    /// The leader epoch it was appended in.
    pub leader_epoch: i32,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for StoredBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "[{}, {}) of epoch {}, {} bytes, CRC {:08x}",
            self.base_offset,
            self.next_offset,
            self.leader_epoch,
            self.bytes.len(),
            crc32c::crc32c(&self.bytes)
        )
    }
}

/// All batches of the replica in `directory` (`<log.dir>/<topic>-<partition>`), oldest first.
///
/// # Errors
/// Fails when the directory is not there, when a batch is cut off or does not match its checksum, and when offsets do not
/// follow each other: a copy that is being written may look so for a moment.
pub fn stored_batches(directory: &Path) -> Result<Vec<StoredBatch>, String> {
    let name = |e: std::io::Error| format!("{}: {e}", directory.display());
    let mut segments: Vec<_> = std::fs::read_dir(directory)
        .map_err(name)?
        .filter_map(|f| f.ok().map(|f| f.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "log"))
        .collect();
    segments.sort();
    let mut batches: Vec<StoredBatch> = Vec::new();
    for segment in segments {
        let bytes = std::fs::read(&segment).map_err(name)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let batch = first_batch(rest).ok_or_else(|| {
                format!(
                    "{}: a broken batch {} bytes before its end",
                    segment.display(),
                    rest.len()
                )
            })?;
            if let Some(before) = batches.last()
                && before.next_offset != batch.base_offset
            {
                return Err(format!("{}: {before:?} is followed by {batch:?}", segment.display()));
            }
            rest = &rest[batch.bytes.len()..];
            batches.push(batch);
        }
    }
    Ok(batches)
}

fn first_batch(from: &[u8]) -> Option<StoredBatch> {
    let int = |at: usize| {
        from.get(at..at + 4)
            .map(|b| i32::from_be_bytes(b.try_into().expect("four bytes")))
    };
    let base_offset = i64::from_be_bytes(from.get(..8)?.try_into().expect("eight bytes"));
    let length = usize::try_from(int(8)?).ok()? + 12;
    let bytes = from.get(..length).filter(|b| b.len() >= HEADER)?;
    let crc = int(17)?.cast_unsigned();
    (crc == crc32c::crc32c(&bytes[21..])).then(|| StoredBatch {
        base_offset,
        next_offset: base_offset + i64::from(int(23).expect("it is longer")) + 1,
        leader_epoch: int(12).expect("it is longer"),
        bytes: bytes.to_vec(),
    })
}

/// Says where two replicas differ first, from where on both have something: what was deleted goes with whole segments.
///
/// # Errors
/// That place.
pub fn compare(one: &[StoredBatch], other: &[StoredBatch]) -> Result<(), String> {
    let first = |batches: &[StoredBatch]| batches.first().map_or(0, |b| b.base_offset);
    let start = first(one).max(first(other));
    let from_start = |batches: &[StoredBatch]| batches.partition_point(|b| b.base_offset < start);
    let (one, other) = (&one[from_start(one)..], &other[from_start(other)..]);
    for (a, b) in one.iter().zip(other) {
        if a != b {
            return Err(format!("{a:?} against {b:?}"));
        }
    }
    if one.len() == other.len() {
        return Ok(());
    }
    let end = |batches: &[StoredBatch]| batches.last().map_or(start, |b| b.next_offset);
    Err(format!("one ends at {}, the other at {}", end(one), end(other)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Batch;

    #[test]
    fn a_flipped_bit_a_cut_and_a_hole_are_noticed() {
        let directory = std::env::temp_dir().join(format!("outside-replicas-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("00000000000000000000.log");
        let first = Batch::of_values(["a", "b"]).encode().to_vec();
        let mut second = Batch::of_values(["c"]).encode().to_vec();
        second[7] = 2; // base offset
        let check = |bytes: &[u8], expected: Result<usize, &str>| {
            std::fs::write(&file, bytes).unwrap();
            match (stored_batches(&directory), expected) {
                (Ok(found), Ok(count)) => assert_eq!(found.len(), count),
                (Err(found), Err(what)) => assert!(found.contains(what), "{found}"),
                (found, expected) => panic!("{found:?}, expected {expected:?}"),
            }
        };
        let both = [first.clone(), second.clone()].concat();
        check(&both, Ok(2));
        check(&both[..both.len() - 1], Err("a broken batch"));
        let mut flipped = both.clone();
        flipped[70] ^= 1;
        check(&flipped, Err("a broken batch"));
        second[7] = 3;
        check(&[first, second].concat(), Err("is followed by"));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
