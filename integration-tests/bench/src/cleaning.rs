//! Compaction: logs of keyed records of which half are superseded, and what it costs a broker to clean them.
//!
//! The topics are held back from cleaning by `min.cleanable.dirty.ratio=1` until they are full; then the ratio is lowered,
//! and the broker is measured until `cleaner-offset-checkpoint` has moved past all closed segments.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::messages::IncrementalAlterConfigsRequest;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};

use crate::batch::Batch;
use crate::cluster::{Cluster, eventually, not_yet};
use crate::error::{BenchError, Doing, Result};
use crate::process::{Spent, Usage, Window};
use crate::wire::{Client, PRODUCE, View, produce_request, text};

/// Records of 1 KiB in a batch.
const RECORDS: usize = 63;
const VALUE: usize = 1024;
/// Closed by so many bytes: what lies in the last segment is not cleaned.
const SEGMENT_BYTES: u64 = 64 << 20;

/// The configuration of a topic that is not cleaned yet.
pub(crate) fn held_back() -> [(&'static str, String); 3] {
    [
        ("cleanup.policy", "compact".to_owned()),
        ("min.cleanable.dirty.ratio", "1".to_owned()),
        ("segment.bytes", SEGMENT_BYTES.to_string()),
    ]
}

/// Writes `bytes` of records to partition 0: each key twice, the second half of the log over the first.
pub(crate) fn fill(topic: &str, view: &View, bytes: u64) -> Result<()> {
    let address = view
        .leader_of(0)
        .ok_or_else(|| not_yet("the partition has no leader"))?;
    let mut client = Client::connect(address, Duration::from_secs(30))?;
    let records = RECORDS as u64;
    let batches = bytes / (records * VALUE as u64);
    let keys = (batches / 2).max(1) * records;
    for at in 0..batches {
        let first = (at * records) % keys;
        let batch = Batch::keyed(RECORDS, VALUE, |record| (first + record as u64) % keys);
        let answer = client.call(&produce_request(topic, 0, 1, batch.bytes()), PRODUCE)?;
        let partition = answer.responses.first().and_then(|it| it.partition_responses.first());
        let code = partition.map_or(-1, |it| it.error_code);
        if code != 0 {
            return Err(BenchError::Refused {
                what: format!("writing to {topic}"),
                code,
            });
        }
    }
    Ok(())
}

/// Says that the topics may be cleaned.
pub(crate) fn release(cluster: &Cluster, topics: &[String]) -> Result<()> {
    const TOPIC: i8 = 2;
    const SET: i8 = 0;
    let resources = topics
        .iter()
        .map(|topic| {
            AlterConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(text(topic))
                .with_configs(vec![
                    AlterableConfig::default()
                        .with_name(text("min.cleanable.dirty.ratio"))
                        .with_config_operation(SET)
                        .with_value(Some(text("0.01"))),
                ])
        })
        .collect();
    let request = IncrementalAlterConfigsRequest::default().with_resources(resources);
    let answer = cluster.controller()?.call(&request, 1)?;
    match answer.responses.iter().find(|it| it.error_code != 0) {
        None => Ok(()),
        Some(refused) => Err(BenchError::Refused {
            what: "lowering min.cleanable.dirty.ratio".to_owned(),
            code: refused.error_code,
        }),
    }
}

/// What a cleaning came to.
pub(crate) struct Cleaned {
    pub(crate) spent: Spent,
    /// Bytes of all segments before, but for the last ones.
    pub(crate) before: u64,
    /// The same afterwards.
    pub(crate) after: u64,
    /// By how much the brokers' resident memory grew meanwhile.
    pub(crate) growth_mb: f64,
}

/// Lets the topics be cleaned, and waits until they are.
pub(crate) fn clean(cluster: &Cluster, data: &Path, topics: &[String]) -> Result<Cleaned> {
    let logs: Vec<Log> = topics.iter().map(|topic| Log::of(data, topic)).collect::<Result<_>>()?;
    let before = logs.iter().map(Log::closed_bytes).sum::<Result<u64>>()?;
    let processes = cluster.process_ids();
    let done = AtomicBool::new(false);
    let at_first = Usage::of(&processes).rss_mb;
    let (spent, growth_mb) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = at_first;
            while !done.load(Ordering::Relaxed) {
                most = most.max(Usage::of(&processes).rss_mb);
                std::thread::sleep(Duration::from_millis(50));
            }
            most - at_first
        });
        let window = Window::open(&processes);
        let cleaned = release(cluster, topics).and_then(|()| await_cleaned(&logs, 600));
        let spent = window.close();
        done.store(true, Ordering::Relaxed);
        let growth = watch
            .join()
            .map_err(|_| BenchError::Broken("a thread panicked".to_owned()))?;
        cleaned.map(|()| (spent, growth))
    })?;
    let after = logs.iter().map(Log::closed_bytes).sum::<Result<u64>>()?;
    if after as f64 > 0.6 * before as f64 {
        return Err(BenchError::Broken(format!(
            "of {before} bytes, half of them superseded, {after} are left"
        )));
    }
    Ok(Cleaned {
        spent,
        before,
        after,
        growth_mb,
    })
}

/// Waits until the checkpoint says that all closed segments are clean.
pub(crate) fn await_cleaned(logs: &[Log], seconds: u64) -> Result<()> {
    eventually(
        seconds,
        "the logs are cleaned",
        Duration::from_millis(10),
        || match logs.iter().find(|log| !log.is_clean()) {
            None => Ok(()),
            Some(log) => Err(not_yet(&format!("{} is not", log.topic))),
        },
    )
}

/// The log of a topic's only partition, seen from outside.
pub(crate) struct Log {
    topic: String,
    data: PathBuf,
    /// Base of the last segment.
    active: u64,
}

impl Log {
    pub(crate) fn of(data: &Path, topic: &str) -> Result<Self> {
        let mut log = Self {
            topic: topic.to_owned(),
            data: data.to_owned(),
            active: 0,
        };
        log.active = log.segments()?.into_iter().map(|(base, _)| base).max().unwrap_or(0);
        Ok(log)
    }

    fn segments(&self) -> Result<Vec<(u64, u64)>> {
        let folder = self.data.join(format!("{}-0", self.topic));
        let entries = std::fs::read_dir(&folder).doing(|| format!("listing {}", folder.display()))?;
        Ok(entries
            .flatten()
            .filter_map(|it| {
                let name = it.file_name();
                let base = name.to_str()?.strip_suffix(".log")?.parse().ok()?;
                Some((base, it.metadata().ok()?.len()))
            })
            .collect())
    }

    fn closed_bytes(&self) -> Result<u64> {
        let segments = self.segments()?;
        Ok(segments.iter().filter(|it| it.0 < self.active).map(|it| it.1).sum())
    }

    fn is_clean(&self) -> bool {
        let text = std::fs::read_to_string(self.data.join("cleaner-offset-checkpoint")).unwrap_or_default();
        let prefix = format!("{} 0 ", self.topic);
        let offset = text
            .lines()
            .find_map(|line| line.strip_prefix(&prefix)?.parse::<u64>().ok());
        offset.is_some_and(|offset| offset >= self.active)
    }
}

/// How long the cleaning of `logs` takes from now on, at most for so long; for telling how much of a window it filled.
pub(crate) fn time_cleaning(logs: &[Log], begin: Instant) -> Result<Duration> {
    await_cleaned(logs, 600)?;
    Ok(begin.elapsed())
}
