//! Segments: rolling, looking up, truncating, recovering.

use std::os::unix::fs::FileExt;

use super::*;
use crate::testing::batch;

#[test]
fn a_walk_over_hostile_bytes_ends_with_an_error_and_never_goes_past_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    let good = batch(5, &["a", "b"]);
    let walk = |content: &[u8]| {
        std::fs::write(&path, content).unwrap();
        let file = File::open(&path).unwrap();
        let scanned: Vec<_> = Scan::walk(&file, 0, content.len() as u64).collect();
        for batch in scanned.iter().flatten() {
            assert!(batch.position + batch.size as u64 <= content.len() as u64);
        }
        scanned
    };
    let twice = [&good[..], &good[..]].concat();
    assert_eq!(walk(&twice).len(), 2);
    for len in 0..good.len() {
        let scanned = walk(&good[..len]);
        assert!(scanned.iter().all(Result::is_err), "{len}");
        assert!(scanned.len() <= 1);
    }
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut content = twice.clone();
            content[at] ^= 1 << bit;
            walk(&content);
        }
    }
}

#[test]
fn an_index_that_lies_never_sends_a_reader_past_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let shared = SharedDir::new(dir.path());
    let config = LogConfig::default();
    std::fs::write(dir.path().join("00000000000000000000.log"), batch(1, &["a", "b"])).unwrap();
    std::fs::write(dir.path().join("00000000000000000000.timeindex"), []).unwrap();
    let index = dir.path().join("00000000000000000000.index");
    for entry in [[0, 0, 0, 1, 255, 255, 255, 255], [255; 8], [0, 0, 0, 0, 0, 0, 0, 1]] {
        std::fs::write(&index, entry).unwrap();
        let opened = Segment::open(&Disk::real(), &shared, Offset(0), None, false, &config, Millis(0));
        let segment = opened.unwrap();
        let found = segment.locate(Offset(0), segment.end().size);
        if entry[7] != 1 {
            assert_eq!(found.unwrap().unwrap().position, 0);
        }
    }
}

#[test]
fn an_entry_about_several_batches_is_followed_and_one_that_lies_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let shared = SharedDir::new(dir.path());
    let mut content = Vec::new();
    let mut positions = Vec::new();
    for i in 0..10i64 {
        positions.push(content.len());
        let start = content.len();
        content.extend_from_slice(&batch(1, &["a", "b"]));
        content[start..start + 8].copy_from_slice(&(2 * i).to_be_bytes());
    }
    std::fs::write(dir.path().join("00000000000000000000.log"), &content).unwrap();
    std::fs::write(dir.path().join("00000000000000000000.timeindex"), []).unwrap();
    let check = |name: &str, offset: u32, position: usize, asked: i64, starts: usize| {
        let entry = [offset.to_be_bytes(), (position as u32).to_be_bytes()].concat();
        std::fs::write(dir.path().join("00000000000000000000.index"), entry).unwrap();
        let opened = Segment::open(
            &Disk::real(),
            &shared,
            Offset(0),
            None,
            false,
            &LogConfig::default(),
            Millis(0),
        );
        let segment = opened.unwrap();
        let size = segment.end().size;
        assert_eq!(
            segment.start_of_lookup(Offset(asked), size).unwrap(),
            starts as u64,
            "{name}"
        );
        let found = segment.locate(Offset(asked), size).unwrap().unwrap();
        assert_eq!(found.position, positions[asked as usize / 2] as u64, "{name}");
    };
    //     name                                   entry                 asked  where the search starts
    check("about one batch", 7, positions[3], 15, positions[3]);
    check(
        "about batches 3 to 5, as Kafka 3.8's",
        11,
        positions[3],
        15,
        positions[5],
    );
    check("and asked for what is before it", 11, positions[3], 9, 0);
    check("no batch is there", 11, positions[3] + 1, 15, 0);
    check("a batch past the offset is there", 11, positions[7], 15, 0);
}

#[test]
fn next_offset_and_size_are_read_together() {
    let dir = tempfile::tempdir().unwrap();
    let shared = SharedDir::new(dir.path());
    let segment = Segment::create(&Disk::real(), &shared, Offset(1000), &LogConfig::default(), Millis(0)).unwrap();
    let check = |next: i64, size: u64| {
        segment.publish(End {
            next_offset: Offset(next),
            size,
        });
        assert_eq!(
            segment.end(),
            End {
                next_offset: Offset(next),
                size
            }
        );
    };
    check(1000, 0);
    check(1001, 77);
    check(1000 + (1 << 31), i32::MAX as u64);
    // Past what an index can say, the end of a segment that is not the last is only a bound.
    segment.ends_at(Offset(i64::MAX));
    assert_eq!(segment.end().next_offset, Offset(1000 + i64::from(u32::MAX)));
}

#[test]
fn a_segment_that_was_not_trimmed_is_read_to_its_last_entry() {
    let dir = tempfile::tempdir().unwrap();
    let index = OffsetIndex::new(Disk::real(), SharedDir::new(dir.path()), Offset(0), "");
    index.create(4096).unwrap();
    for i in 1..=100 {
        index.append(Offset(10 * i), (i * 100) as u32).unwrap();
    }
    index.close();
    assert_eq!(index.last().unwrap().unwrap().offset, Offset(1000));
    assert_eq!(index.lookup(Offset(9)).unwrap().position, 0);
    assert_eq!(index.lookup(Offset(10)).unwrap().position, 100);
    assert_eq!(index.lookup(Offset(55)).unwrap().position, 500);
    assert_eq!(index.upper_bound(450).unwrap(), Some(Offset(50)));
    assert_eq!(index.upper_bound(10_001).unwrap(), None);
    index.truncate_to(Offset(500)).unwrap();
    assert_eq!(index.last().unwrap().unwrap().offset, Offset(490));
    index.trim().unwrap();
    let file = File::open(dir.path().join("00000000000000000000.index")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 49 * 8);
    let mut first = [0; 8];
    file.read_exact_at(&mut first, 0).unwrap();
    assert_eq!(first, [0, 0, 0, 10, 0, 0, 0, 100]);
    // What does not follow is not added.
    index.append(Offset(490), 7).unwrap();
    index.append(Offset(-5), 7).unwrap();
    assert_eq!(index.last().unwrap().unwrap().position, 4900);
}
