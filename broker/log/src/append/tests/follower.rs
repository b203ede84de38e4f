//! A follower's append plans.

use super::*;

/// A leader's log of three epochs, as a follower fetches it.
fn fetched() -> Vec<u8> {
    let batch = |base: i64, epoch: i32| {
        let builder = three_records()
            .base_offset(Offset(base))
            .leader_epoch(LeaderEpoch(epoch));
        builder.build().to_vec()
    };
    [batch(100, 5), batch(103, 5), batch(106, 6), batch(109, 8)].concat()
}

#[test]
fn a_follower_writes_what_it_fetches() {
    let log = Log::default();
    let size = fetched().len() / 4;
    let check = |name: &str, bytes: &[u8], configure: &dyn Fn(&mut Log), expected: Result<usize, i16>| {
        let mut log = Log::default();
        configure(&mut log);
        let bytes = Bytes::copy_from_slice(bytes);
        let found = match plan_follower(&bytes, &log.tail()) {
            Ok(Plan::Write(write)) => {
                let disk = written(&write);
                assert_eq!(disk, bytes[..disk.len()], "{name}: bytes unchanged");
                assert_eq!(write.slices().len(), 1, "{name}");
                assert_eq!(write.record_count, 3 * write.batches.len() as i64);
                assert_eq!(write.last_offset, write.first_offset + (write.record_count - 1));
                Ok(write.batches.len())
            }
            Ok(_) => Ok(0),
            Err(error) => Err(code(&error)),
        };
        assert_eq!(found, expected, "{name}");
    };
    let bytes = fetched();
    check("without the later epoch", &bytes, &|_| {}, Ok(3));
    check("nothing", &[], &|_| {}, Ok(0));
    check("an incomplete batch", &bytes[..size - 1], &|_| {}, Ok(0));
    check("an incomplete second batch", &bytes[..size * 2 - 1], &|_| {}, Ok(1));
    check("a gap before it", &bytes, &|log| log.log_end_offset = Offset(50), Ok(3));
    check(
        "what is there already",
        &bytes,
        &|log| log.log_end_offset = Offset(101),
        Err(-1),
    );
    check(
        "larger than max.message.bytes",
        &bytes,
        &|log| log.config.max_message_bytes = 1,
        Ok(3),
    );
    check(
        "more than a segment",
        &bytes,
        &|log| log.config.segment_bytes = size * 2,
        Ok(2),
    );
    check(
        "larger than a segment",
        &bytes,
        &|log| log.config.segment_bytes = size - 1,
        Err(18),
    );
    let backwards = [&bytes[size..size * 2], &bytes[..size]].concat();
    check("out of order", &backwards, &|_| {}, Err(-1));
    let mut corrupt = bytes.clone();
    corrupt[size + HEADER_LEN] ^= 1;
    check("corrupt", &corrupt, &|_| {}, Err(2));

    let Ok(Plan::Write(write)) = plan_follower(&Bytes::from(bytes), &log.tail()) else {
        panic!("a write")
    };
    let starts: Vec<_> = write.epoch_starts().collect();
    assert_eq!(starts, [(LeaderEpoch(5), Offset(100)), (LeaderEpoch(6), Offset(106))]);
}

#[test]
fn a_follower_writes_logs_of_a_real_broker() {
    let logs: [(&[u8], i64, i64, usize); 4] = [
        (
            include_bytes!("../../../testdata/batches/plain-0/00000000000000000000.log"),
            0,
            79,
            0,
        ),
        (
            include_bytes!("../../../testdata/batches/txn-0/00000000000000000000.log"),
            0,
            36,
            2,
        ),
        (
            include_bytes!("../../../testdata/batches/magic0-0/00000000000000000000.log"),
            0,
            8,
            0,
        ),
        (
            include_bytes!("../../../testdata/batches/magic1-0/00000000000000000000.log"),
            0,
            8,
            0,
        ),
    ];
    for (bytes, first, last, producers) in logs {
        let mut log = Log {
            log_end_offset: Offset(0),
            ..Log::default()
        };
        let Ok(Plan::Write(write)) = plan_follower(&Bytes::from_static(bytes), &log.tail()) else {
            panic!("a write")
        };
        assert_eq!((write.first_offset, write.last_offset), (Offset(first), Offset(last)));
        assert_eq!(written(&write), bytes);
        log.producers.apply(&write.producers, write.last_offset.next());
        assert_eq!(log.producers.len(), producers);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn noise_is_no_log(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(Plan::Write(write)) = plan_follower(&Bytes::from(noise), &Log::default().tail()) {
            prop_assert!(Entries::new(&written(&write)).all(|entry| entry.unwrap().is_valid()));
        }
    }

    #[test]
    fn a_follower_survives_damage(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = fetched();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let log = Log::default();
        if let Ok(Plan::Write(write)) = plan_follower(&Bytes::from(bytes), &log.tail()) {
            let disk = written(&write);
            for entry in Entries::new(&disk) {
                prop_assert!(entry.unwrap().is_valid());
            }
            prop_assert!(write.first_offset >= Offset(100) && write.last_offset >= write.first_offset);
        }
    }
}
