use super::*;

fn slice(bench: &Bench, from: i64, max: usize, limit: i64, min_one: bool) -> FileSlice {
    bench.read(Offset(from), max, Offset(limit), min_one).unwrap()
}

#[test]
fn a_read_begins_with_the_batch_of_the_offset_and_ends_at_the_limit() {
    let bench = Bench::new(&[("index.interval.bytes", "0")]);
    for i in 0..5 {
        bench.put(batch(i, &["a", "b"]));
    }
    let size = bench.size_bytes() as usize / 5;
    let check = |from: i64, max: usize, limit: i64, min_one: bool, first: i64, len: usize| {
        let read = slice(&bench, from, max, limit, min_one);
        assert_eq!(
            (read.first_offset, read.len),
            (Offset(first), len),
            "{from} {max} {limit}"
        );
    };
    check(0, 1 << 20, 10, false, 0, 5 * size);
    check(1, 1 << 20, 10, false, 0, 5 * size);
    check(2, 1 << 20, 10, false, 2, 4 * size);
    check(9, 1 << 20, 10, false, 8, size);
    check(0, 1 << 20, 4, false, 0, 2 * size);
    check(0, 1 << 20, 10, true, 0, 5 * size);
    check(0, 1, 10, true, 0, size);
    check(0, 1, 10, false, 0, 1);
    check(0, size + 1, 10, false, 0, size + 1);
    check(4, 1 << 20, 4, true, 4, 0);
    check(10, 1 << 20, 10, true, 10, 0);
    // A limit inside a batch does not show it.
    check(0, 1 << 20, 5, false, 0, 2 * size);
    let first = slice(&bench, 0, 1, 10, false);
    assert_eq!(first.first_batch_bytes, size);
    for outside in [-1, 11] {
        assert!(matches!(
            bench.read(Offset(outside), 1, Offset(10), true),
            Err(ReadError::OffsetOutOfRange { .. })
        ));
    }
}

#[test]
fn a_slice_knows_where_its_last_whole_batch_ends() {
    let bench = Bench::new(&[]);
    for i in 0..5 {
        bench.put(batch(i, &["a", "b"]));
    }
    let size = bench.size_bytes() as usize / 5;
    let check = |max: usize, headers_max: usize, expected: usize| {
        let read = slice(&bench, 0, max, 10, false);
        assert_eq!(
            read.whole_batches_len(headers_max).unwrap(),
            expected,
            "{max} {headers_max}"
        );
    };
    check(1 << 20, 10, 5 * size);
    check(5 * size, 10, 5 * size);
    check(5 * size - 1, 10, 4 * size);
    check(4 * size + 1, 10, 4 * size);
    check(2 * size, 10, 2 * size);
    check(size + 11, 10, size);
    // A first batch that is cut is the reader's affair, and so are more batches than are looked at.
    check(size - 1, 10, size - 1);
    check(5 * size - 1, 3, 5 * size - 1);
}

#[test]
fn a_read_goes_on_in_the_next_segment() {
    let bench = Bench::new(&[("segment.bytes", "150")]);
    for i in 0..6 {
        bench.put(batch(i, &["0123456789"]));
    }
    assert!(bench.segment_count() > 2);
    for limit in 0..=6 {
        for from in 0..=limit {
            let offsets: Vec<i64> = records(&bench, Offset(from), Offset(limit))
                .iter()
                .map(|r| r.0)
                .collect();
            assert_eq!(offsets, (from..limit).collect::<Vec<_>>());
        }
    }
}

#[test]
fn old_index_entries_are_found_as_well_as_new_ones() {
    // More entries than are kept in memory.
    let bench = Bench::new(&[("index.interval.bytes", "0")]);
    for i in 0..2500 {
        bench.put(batch(i, &["a"]));
    }
    for offset in [0, 1, 2, 100, 511, 512, 513, 1000, 1987, 1988, 2498, 2499] {
        assert_eq!(slice(&bench, offset, 10, 2500, true).first_offset, Offset(offset));
        assert_eq!(
            bench.offset_for_timestamp(Millis(offset)).unwrap().unwrap().offset,
            Offset(offset)
        );
    }
}

#[test]
fn readers_see_only_whole_batches_while_a_writer_appends() {
    let bench = Bench::new(&[("segment.bytes", "2000"), ("index.interval.bytes", "100")]);
    let log = bench.log.clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..2000 {
                bench.put(batch(i, &["a", "b"]));
            }
        });
        scope.spawn(|| {
            let mut next = Offset(0);
            while next < Offset(4000) {
                let limit = log.high_watermark();
                for (offset, _) in records(&log, next, limit) {
                    assert_eq!(Offset(offset), next);
                    assert!(next < limit, "{next} was not to be seen below {limit}");
                    next = next.next();
                }
            }
        });
    });
}

#[test]
fn records_are_found_by_timestamp() {
    let mut bench = Bench::new(&[("segment.bytes", "250"), ("index.interval.bytes", "0")]);
    for timestamp in [100, 200, 150, 300, 250, 400] {
        bench.put(batch(timestamp, &["0123456789", "x"]));
    }
    for _ in 0..2 {
        let check = |timestamp: i64, found: Option<(i64, i64)>| {
            let answer = bench.offset_for_timestamp(Millis(timestamp)).unwrap();
            assert_eq!(answer.map(|a| (a.timestamp.0, a.offset.0)), found, "{timestamp}");
        };
        check(0, Some((100, 0)));
        check(100, Some((100, 0)));
        check(101, Some((200, 2)));
        check(200, Some((200, 2)));
        check(201, Some((300, 6)));
        check(301, Some((400, 10)));
        check(401, None);
        let latest = bench.max_timestamp_offset().unwrap().unwrap();
        assert_eq!((latest.timestamp, latest.offset), (Millis(400), Offset(10)));
        bench.reopen();
    }
    bench.delete_records_before(Offset(3)).unwrap();
    let found = bench.offset_for_timestamp(Millis(0)).unwrap().unwrap();
    assert_eq!((found.timestamp, found.offset), (Millis(200), Offset(3)));
    bench.truncate_to(Offset(10)).unwrap();
    assert_eq!(bench.max_timestamp_offset().unwrap().unwrap().offset, Offset(6));
    assert_eq!(bench.offset_for_timestamp(Millis(301)).unwrap(), None);
    let empty = Bench::new(&[]);
    assert_eq!(empty.max_timestamp_offset().unwrap(), None);
    assert_eq!(empty.offset_for_timestamp(Millis(0)).unwrap(), None);
}

#[test]
fn a_reader_that_races_truncation_and_retention_never_takes_the_directory_offline() {
    let bench = Bench::new(&[
        ("segment.bytes", "600"),
        ("index.interval.bytes", "0"),
        ("retention.bytes", "1500"),
        ("file.delete.delay.ms", "0"),
    ]);
    let log = bench.log.clone().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 1..3u64 {
            let (log, done) = (&log, &done);
            scope.spawn(move || {
                let mut random = seed;
                while !done.load(Ordering::Acquire) {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let (start, end) = (log.log_start_offset(), log.log_end_offset());
                    let from = start + (random >> 33) as i64 % (end - start + 1).max(1);
                    match log.read(from, 300, log.high_watermark(), true) {
                        Ok(slice) => assert!(slice.first_offset <= from || slice.is_empty()),
                        Err(ReadError::OffsetOutOfRange { .. } | ReadError::Corrupt { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                    match log.offset_for_timestamp(Millis((random >> 40) as i64 % 900)) {
                        Ok(_) | Err(ReadError::Corrupt { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
        let _finish = Finish(&done);
        for i in 0..900i64 {
            bench.put(batch(i, &["0123456789"]));
            if i % 7 == 0 {
                let to = Offset(log.log_end_offset().0 - 3).max(log.log_start_offset());
                log.truncate_to(to).unwrap();
                bench.increment_high_watermark(log.log_end_offset());
            }
            if i % 30 == 0 {
                log.enforce_retention(bench.now()).unwrap();
            }
        }
    });
    assert!(!log.is_offline());
    assert!(log.log_start_offset() > Offset(0));
}

#[test]
fn a_flush_that_races_truncation_and_retention_never_takes_the_directory_offline() {
    let bench = Bench::new(&[
        ("segment.bytes", "300"),
        ("index.interval.bytes", "0"),
        ("retention.bytes", "900"),
        ("file.delete.delay.ms", "0"),
    ]);
    let log = bench.log.clone().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (flushing, until) = (&log, &done);
        scope.spawn(move || {
            while !until.load(Ordering::Acquire) {
                flushing.flush().unwrap();
            }
        });
        let _finish = Finish(&done);
        for i in 0..600i64 {
            bench.put(batch(i, &["0123456789"]));
            match i % 20 {
                6 | 13 => drop(log.truncate_to(Offset(log.log_end_offset().0 - 5)).unwrap()),
                15 => drop(log.enforce_retention(bench.now()).unwrap()),
                19 => log.truncate_fully_and_start_at(log.log_end_offset()).unwrap(),
                _ => {}
            }
            bench.increment_high_watermark(log.log_end_offset());
        }
    });
    assert!(!log.is_offline());
    log.flush().unwrap();
    assert_eq!(log.recovery_point(), log.log_end_offset());
}

#[test]
fn a_flush_says_nothing_of_records_written_after_a_truncation() {
    let bench = Bench::new(&[]);
    bench.put(batch(1, &["a", "b", "c"]));
    bench.put(batch(2, &["d"]));
    let (flushing, to) = (bench.truncations(), bench.log_end_offset());
    bench.truncate_to(Offset(3)).unwrap();
    bench.put(batch(3, &["e"]));
    bench.flushed_to(to, flushing);
    assert_eq!(bench.recovery_point(), Offset(0));
    bench.flush().unwrap();
    assert_eq!(bench.recovery_point(), Offset(4));
}

/// Ends the readers, also where the writer panics.
struct Finish<'a>(&'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
