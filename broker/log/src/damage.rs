//! Damaged directories: whatever the files hold, opening, reading and writing end, without panics.
//!
//! A real broker's directory is damaged at random (bytes changed, files cut, grown, emptied or removed), then opened,
//! read, written, stopped and opened again. What was acknowledged in between must be there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{BrokerEpoch, LeaderEpoch, Millis, Offset, ProducerId};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::append::Origin;
use crate::batch::Entries;
use crate::testing::{CLEAN, KILLED, batch, files, produced, unpack};
use crate::{Log, LogConfig, Logs, LogsConfig};

#[derive(Clone, Debug)]
enum Damage {
    Set(Index, Vec<u8>),
    Cut(Index),
    Grow(Vec<u8>),
    Empty,
    Remove,
}

fn any_damage() -> impl Strategy<Value = Damage> {
    let noise = || prop::collection::vec(any::<u8>(), 1..24);
    prop_oneof![
        4 => (any::<Index>(), noise()).prop_map(|(at, bytes)| Damage::Set(at, bytes)),
        2 => any::<Index>().prop_map(Damage::Cut),
        1 => noise().prop_map(Damage::Grow),
        1 => (1usize..200).prop_map(|zeros| Damage::Grow(vec![0; zeros])),
        1 => Just(Damage::Empty),
        1 => Just(Damage::Remove),
    ]
}

fn inflict(path: &Path, damage: &Damage) {
    let mut content = std::fs::read(path).unwrap();
    match damage {
        Damage::Set(at, bytes) if !content.is_empty() => {
            let at = at.index(content.len());
            let end = content.len().min(at + bytes.len());
            content[at..end].copy_from_slice(&bytes[..end - at]);
        }
        Damage::Cut(at) if !content.is_empty() => content.truncate(at.index(content.len())),
        Damage::Set(..) | Damage::Cut(_) | Damage::Empty => content.clear(),
        Damage::Grow(bytes) => content.extend(bytes),
        Damage::Remove => return std::fs::remove_file(path).unwrap(),
    }
    std::fs::write(path, content).unwrap();
}

fn open(dir: &Path) -> Option<Arc<Logs>> {
    let mut config = LogsConfig::new(vec![dir.to_owned()]);
    config.defaults = LogConfig::from_broker(|name| (name == "log.index.size.max.bytes").then_some("4096")).unwrap();
    let small = [("segment.bytes", "2048"), ("index.interval.bytes", "100")];
    let small: BTreeMap<_, _> = small.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    config.topic_overrides.insert("plain".to_owned(), small);
    Logs::open(config).ok()
}

/// Looks at everything; results are errors or not, but bounded and consistent.
fn look(log: &Log) {
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    assert!(
        start <= log.high_watermark() && log.high_watermark() <= end,
        "{start} {end}"
    );
    assert!(log.last_stable_offset() <= log.high_watermark());
    let mut next = start;
    let mut reads = 0;
    while next < end {
        reads += 1;
        assert!(reads < 2000, "reading ends");
        let Ok(slice) = log.read(next, 700, end, true) else {
            break;
        };
        if slice.is_empty() {
            break;
        }
        let Ok(bytes) = slice.read() else { break };
        let Some(last) = Entries::new(&bytes).map_while(Result::ok).last() else {
            break;
        };
        if last.last_offset() < next {
            break;
        }
        next = last.last_offset().next();
        let _ = log.upper_bound_offset(next, &slice);
    }
    for timestamp in [0, 1_795_250_361_034, 1_795_250_380_000, i64::MAX] {
        let _ = log.offset_for_timestamp(Millis(timestamp));
    }
    let _ = log.max_timestamp_offset();
    let _ = log.aborted_transactions(start, end);
    log.end_offset_for_epoch(LeaderEpoch(0));
    log.active_producers();
    log.has_late_transaction(Millis(i64::MAX));
}

/// Appends one batch; its offset if it was taken.
fn append(log: &Log, value: &str) -> Option<Offset> {
    let client = Origin::Client { api_version: 11 };
    let records = batch(1_795_250_400_000, &[value]);
    let appended = log
        .append_as_leader(records, LeaderEpoch(9), client, Millis(1_795_250_400_000))
        .ok()?;
    assert_eq!(log.log_end_offset(), appended.last_offset.next());
    Some(appended.first_offset)
}

fn holds(log: &Log, offset: Offset, value: &str) -> bool {
    let slice = log.read(offset, 1 << 16, log.log_end_offset(), true).unwrap();
    let bytes = slice.read().unwrap();
    bytes.windows(value.len()).any(|window| window == value.as_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_damaged_directory_opens_or_is_refused_and_keeps_what_it_then_takes(
        clean in any::<bool>(),
        damage in prop::collection::vec((any::<Index>(), any_damage()), 1..5),
        truncate in any::<Index>(),
    ) {
        let temporary = tempfile::tempdir().unwrap();
        unpack(if clean { CLEAN } else { KILLED }, temporary.path());
        let dir = temporary.path().join("log-dir");
        for (file, damage) in &damage {
            let there: Vec<PathBuf> = files(&dir).into_keys().map(|name| dir.join(name)).collect();
            inflict(&there[file.index(there.len())], damage);
        }
        let Some(logs) = open(&dir) else { return Ok(()) };
        let mut taken = Vec::new();
        for log in logs.all() {
            look(&log);
            if let Some(offset) = append(&log, "after the damage") {
                prop_assert!(holds(&log, offset, "after the damage"));
                taken.push((log.topic_partition().clone(), offset));
            }
            let _ = log.append_as_leader(
                produced(1006, 0, true, &["x"]), LeaderEpoch(9), Origin::Client { api_version: 11 }, Millis(0),
            );
            log.has_ongoing_transaction(ProducerId(1006));
        }
        logs.shutdown(BrokerEpoch(1));
        drop(logs);

        let Some(logs) = open(&dir) else { return Err(TestCaseError::fail("opens again after a clean stop")) };
        for (partition, offset) in taken {
            let log = logs.get(&partition);
            prop_assert!(log.is_some_and(|log| holds(&log, offset, "after the damage")), "{partition} lost {offset}");
        }
        for log in logs.all() {
            look(&log);
            let to = log.log_start_offset() + truncate.index(1 + (log.log_end_offset() - log.log_start_offset()) as usize) as i64;
            if log.truncate_to(to).is_ok() && !log.is_offline() {
                prop_assert_eq!(log.log_end_offset(), to.min(log.log_end_offset()));
                look(&log);
                append(&log, "after the truncation");
            }
            let _ = log.delete_records_before(log.high_watermark());
            look(&log);
        }
        logs.shutdown(BrokerEpoch(2));
    }
}
