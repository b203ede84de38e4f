//! Fetch (key 1): hands out ranges of the log to consumers and followers.
//!
//! Records are not read here: the answer says which ranges of which files belong where, and the connection sends
//! them from the page cache. Only for clients from before Kafka 0.11 (versions 0–3) they are converted to an older message
//! format; that too happens while the answer is sent, but for what [`CONVERTED_AT_ONCE`] allows. A fetch that finds less than `min_bytes` waits for appends (followers) or for the high
//! watermark (consumers), at most `max_wait_ms`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_log::FileSlice;
use broker_log::batch::LegacyFormat;
use broker_log::config::CompressionType;
use broker_log::convert::DownConversion;
use broker_wire::ErrorCode;
use broker_wire::placeholder::{Placeholders, encode_with_files};
use bytes::Bytes;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use kafka_protocol::messages::{BrokerId as WireBrokerId, FetchRequest, FetchResponse, ProducerId, TopicName};
use kafka_protocol::protocol::StrBytes;
use model::{BrokerEpoch, BrokerId, LeaderEpoch, Millis, Offset, TopicId};
use tracing::{debug, warn};
use uuid::Uuid;

use super::leader_hint::leader_hint;
use super::{Api, RequestContext, api, error_code, throttle};
use crate::config::RACK_AWARE_SELECTOR;
use crate::delayed::Waiter;
use crate::fetch_session::{FetchContext, PartitionAnswer, PartitionFetch, PartitionKey, SessionRequest};
use crate::metadata::MetadataImage;
use crate::net::{FilePart, FromFile, Reply};
use crate::partition::{Isolation, Partition, PartitionError, Read, ReadSpec};
use crate::security::{Operation, ResourceType};
use crate::{blocking, clock};

/// At most so many batches of an answer are looked at to find out where the last whole one ends.
const HEADERS_MAX: usize = 512;

pub(super) const API: Api = api!(Fetch, 0..=17, replies handle);

/// The first version whose clients know zstd (KIP-110).
const KNOWS_ZSTD: i16 = 10;

/// So many bytes of a log are converted to an older format before an answer is sent, and the beginning of each partition;
/// the rest while it is being sent.
const CONVERTED_AT_ONCE: usize = 1024 * 1024;

/// Who fetches, and how.
struct Fetcher {
    follower: Option<(BrokerId, BrokerEpoch)>,
    isolation: Isolation,
    only_leader: bool,
    max_bytes: usize,
    /// Where a consumer stands that may be sent to a closer replica.
    rack: Option<StrBytes>,
    /// Before version 3 a first batch larger than the limit is cut, and the consumer sees that it must ask for more.
    cut_first_batch: bool,
    /// `max_bytes` is there for an even pace: a batch that is cut would cost the consumer its quota for nothing.
    whole_batches: bool,
}

/// What became of one partition of the fetch.
enum Outcome {
    Read {
        read: Read,
        partition: Arc<Partition>,
        /// Its records are held back from the follower, whatever is appended.
        throttled: bool,
        /// The records in an older format, for those who know no other.
        converted: Option<DownConversion>,
    },
    Refused(PartitionError),
    Code(ErrorCode),
}

impl Outcome {
    fn bytes(&self) -> usize {
        match self {
            Self::Read { read, .. } => read.bytes(),
            Self::Refused(_) | Self::Code(_) => 0,
        }
    }

    /// Whether the answer must go out at once, whatever `min_bytes` says.
    fn is_urgent(&self) -> bool {
        match self {
            Self::Read { read, .. } => read.diverging.is_some() || read.preferred_read_replica.is_some(),
            Self::Refused(_) | Self::Code(_) => true,
        }
    }
}

async fn handle(cx: &RequestContext, request: FetchRequest) -> Reply {
    let now = clock::now();
    let replica = if request.replica_id.0 >= 0 {
        request.replica_id.0
    } else {
        request.replica_state.replica_id.0
    };
    let fetcher = fetcher(cx, &request, replica);
    let session = SessionRequest {
        id: request.session_id,
        epoch: request.session_epoch,
        uses_topic_ids: cx.version() >= 13,
        privileged: fetcher.follower.is_some(),
    };
    let (fetches, forgotten) = asked(&request);
    let context = match cx.broker.fetch_sessions.begin(&session, fetches, &forgotten, now) {
        Ok(context) => context,
        Err(refusal) => {
            let code = error_code::of_session(refusal);
            return cx.reply(&FetchResponse::default().with_error_code(code as i16));
        }
    };
    let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let refused = refused(cx, &fetcher, &context);
    let mut outcomes = read_or_wait(cx, &fetcher, &context, &refused, request.min_bytes, max_wait).await;
    if fetcher.follower.is_some() {
        count_throttled(cx, &outcomes);
    } else {
        let pause = throttle::fetch_pause(cx, || size(&outcomes, context.is_incremental()));
        if pause.0 > 0 {
            let response = FetchResponse::default()
                .with_session_id(context.held_back())
                .with_throttle_time_ms(throttle::throttle_time_ms(pause));
            return throttle::reply_and_pause(cx, &response, pause);
        }
    }
    if cx.version() < KNOWS_ZSTD {
        for_old_clients(cx, &context, &mut outcomes).await;
    }
    answer(cx, context, outcomes)
}

fn fetcher(cx: &RequestContext, request: &FetchRequest, replica: i32) -> Fetcher {
    let follower = (replica >= 0).then_some((BrokerId(replica), BrokerEpoch(request.replica_state.replica_epoch)));
    let isolation = match (follower, request.isolation_level) {
        (Some(_), _) => Isolation::LogEnd,
        (None, 1) => Isolation::Committed,
        (None, _) => Isolation::HighWatermark,
    };
    let limit = if cx.version() >= 3 {
        usize::try_from(request.max_bytes).unwrap_or(0)
    } else {
        usize::MAX
    };
    let config = cx.broker.config.load();
    let broker_limit = usize::try_from(config.fetch_max_bytes).unwrap_or(0);
    // Followers have no quota.
    let quota = follower.map_or_else(|| throttle::fetch_bytes_max(cx), |_| usize::MAX);
    let by_rack = config.replica_selector_class.as_deref() == Some(RACK_AWARE_SELECTOR);
    let has_rack = follower.is_none() && cx.version() >= 11 && !request.rack_id.is_empty();
    Fetcher {
        follower,
        isolation,
        // A follower may answer consumers that know of leader epochs, unless it is debugging (Kafka `fetchOnlyLeader`).
        only_leader: follower.is_some() || cx.version() < 11,
        max_bytes: if follower.is_some() {
            limit
        } else {
            limit.min(broker_limit).min(quota)
        },
        rack: (by_rack && has_rack).then(|| request.rack_id.clone()),
        cut_first_batch: cx.version() <= 2,
        whole_batches: cx.version() > 2 && quota < limit.min(broker_limit),
    }
}

/// The partitions that the request names, and those that it drops from its session.
fn asked(request: &FetchRequest) -> (Vec<(PartitionKey, PartitionFetch)>, Vec<PartitionKey>) {
    let count = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    let mut fetches = Vec::with_capacity(count);
    for topic in &request.topics {
        let name: Arc<str> = Arc::from(topic.topic.as_str());
        let topic_id = TopicId(*topic.topic_id.as_bytes());
        for asked in &topic.partitions {
            let key = PartitionKey {
                topic_id,
                topic: Arc::clone(&name),
                partition: asked.partition,
            };
            let fetch = PartitionFetch {
                fetch_offset: Offset(asked.fetch_offset),
                max_bytes: asked.partition_max_bytes,
                current_leader_epoch: LeaderEpoch(asked.current_leader_epoch),
                last_fetched_epoch: LeaderEpoch(asked.last_fetched_epoch),
                log_start_offset: Offset(asked.log_start_offset),
            };
            fetches.push((key, fetch));
        }
    }
    let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| {
        let name: Arc<str> = Arc::from(topic.topic.as_str());
        let topic_id = TopicId(*topic.topic_id.as_bytes());
        topic.partitions.iter().map(move |partition| PartitionKey {
            topic_id,
            topic: Arc::clone(&name),
            partition: *partition,
        })
    });
    (fetches, forgotten.collect())
}

/// Which partitions the fetcher may not have; empty if there is no authorizer. A follower may have all or none.
fn refused(cx: &RequestContext, fetcher: &Fetcher, context: &FetchContext) -> Vec<bool> {
    if cx.broker.authorizer().is_none() {
        return Vec::new();
    }
    if fetcher.follower.is_some() {
        let may = cx.authorize_cluster(Operation::ClusterAction);
        return vec![!may; context.partitions.len()];
    }
    let image = cx.broker.metadata.snapshot();
    let name = |key: &'_ PartitionKey| match key.topic_id.is_zero() {
        true => Some(Arc::clone(&key.topic)),
        false => image.topic_name(key.topic_id).cloned(),
    };
    let names: Vec<Option<Arc<str>>> = context.partitions.iter().map(|(key, _)| name(key)).collect();
    let known = names.iter().flatten().map(|name| &**name);
    let authorized = cx.authorized(Operation::Read, ResourceType::Topic, known);
    // A topic id that nobody knows is no secret either.
    let refused = |name: &Option<Arc<str>>| name.as_ref().is_some_and(|name| !authorized.contains(name));
    names.iter().map(refused).collect()
}

/// Reads; if that is too little, waits for more and reads again.
async fn read_or_wait(
    cx: &RequestContext,
    fetcher: &Fetcher,
    context: &FetchContext,
    refused: &[bool],
    min_bytes: i32,
    max_wait: Duration,
) -> Vec<Outcome> {
    let min_bytes = usize::try_from(min_bytes).unwrap_or(0).min(fetcher.max_bytes);
    let deadline = Instant::now() + max_wait;
    let enough = |outcomes: &[Outcome]| {
        outcomes.is_empty()
            || outcomes.iter().any(Outcome::is_urgent)
            || outcomes.iter().map(Outcome::bytes).sum::<usize>() >= min_bytes
    };
    let mut outcomes = read(cx, fetcher, context, refused, true);
    while !enough(&outcomes) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let missing = min_bytes - outcomes.iter().map(Outcome::bytes).sum::<usize>();
        let waiter = Waiter::new(i64::try_from(missing).unwrap_or(i64::MAX));
        let partitions: Vec<Arc<Partition>> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::Read {
                    partition,
                    throttled: false,
                    ..
                } => Some(Arc::clone(partition)),
                Outcome::Read { .. } | Outcome::Refused(_) | Outcome::Code(_) => None,
            })
            .collect();
        let _places: Vec<_> = partitions
            .iter()
            .map(|partition| partition.fetches(fetcher.follower.is_some()).join(&waiter))
            .collect();
        // What was appended before the places were taken told nobody.
        outcomes = read(cx, fetcher, context, refused, false);
        if enough(&outcomes) {
            break;
        }
        waiter.wait(left).await;
        // Behind the requests that have arrived already: what they append goes out with this answer, not with one more.
        tokio::task::yield_now().await;
        outcomes = read(cx, fetcher, context, refused, false);
    }
    outcomes
}

/// Reads all partitions of the fetch; `first`: the followers' progress is recorded.
fn read(cx: &RequestContext, fetcher: &Fetcher, context: &FetchContext, refused: &[bool], first: bool) -> Vec<Outcome> {
    let now = clock::now();
    let image = cx.broker.metadata.image();
    let settings = cx.broker.partitions.settings();
    let mut left = fetcher.max_bytes;
    let mut min_one_batch = !fetcher.cut_first_batch;
    context
        .partitions
        .iter()
        .enumerate()
        .map(|(at, (key, fetch))| {
            if refused.get(at).is_some_and(|refused| *refused) {
                return Outcome::Code(ErrorCode::TopicAuthorizationFailed);
            }
            let partition = match find(cx, &image, key) {
                Ok(partition) => partition,
                Err(NotFound::Refused(refusal)) => return Outcome::Refused(refusal),
                Err(NotFound::Code(code)) => return Outcome::Code(code),
            };
            let spec = ReadSpec {
                fetch: *fetch,
                isolation: fetcher.isolation,
                follower: fetcher.follower,
                only_leader: fetcher.only_leader,
                record: first,
                max_bytes: usize::try_from(fetch.max_bytes).unwrap_or(0).min(left),
                min_one_batch,
            };
            let redirected = match &fetcher.rack {
                Some(rack) => partition.redirect(fetch, rack, now, |id| rack_of(cx, &image, id)),
                None => Ok(None),
            };
            let found = match redirected {
                Ok(Some(read)) => Ok(read),
                Ok(None) => partition.read(&spec, settings, now),
                Err(refusal) => Err(refusal),
            };
            match found {
                Ok(mut read) => {
                    let throttled = fetcher
                        .follower
                        .is_some_and(|(replica, _)| is_held_back(cx, &partition, replica, now));
                    if throttled {
                        read.slice = None;
                    }
                    if let Some(slice) = &read.slice
                        && slice.len < slice.first_batch_bytes
                        && !fetcher.cut_first_batch
                    {
                        // A cut batch would be of no use to anyone: from version 3 on nothing is sent instead.
                        read.slice = None;
                    }
                    if let Some(slice) = &mut read.slice
                        && fetcher.whole_batches
                        && slice.len >= spec.max_bytes
                        // What cannot be looked at is sent as it is: the reader will see.
                        && let Ok(len) = slice.whole_batches_len(HEADERS_MAX)
                    {
                        slice.len = len;
                    }
                    left -= read.bytes().min(left);
                    min_one_batch &= read.bytes() == 0;
                    Outcome::Read {
                        read,
                        partition,
                        throttled,
                        converted: None,
                    }
                }
                Err(refusal) => Outcome::Refused(refusal),
            }
        })
        .collect()
}

/// The rack of a broker that is alive and can be reached where the client is.
fn rack_of(cx: &RequestContext, image: &MetadataImage, id: BrokerId) -> Option<String> {
    let broker = image.brokers.get(&id)?;
    broker.endpoints.get(&*cx.connection.listener)?;
    broker.rack.as_ref().map(|rack| rack.to_string())
}

/// Whether a follower must do without the records of this partition for now. One that is in sync must not: it would
/// drop out of the ISR. Source: Kafka 3.9 `ReplicaManager.shouldLeaderThrottle`.
fn is_held_back(cx: &RequestContext, partition: &Partition, replica: BrokerId, now: Millis) -> bool {
    let quota = &cx.broker.replication_quotas.leader;
    let name = &partition.topic_partition;
    quota.is_throttled(&name.topic, name.partition) && !partition.is_in_sync(replica) && quota.is_exceeded(now)
}

/// Counts what is sent of throttled partitions, also to followers in sync. Source: Kafka 3.9 `KafkaApis`,
/// `sizeOfThrottledPartitions`.
fn count_throttled(cx: &RequestContext, outcomes: &[Outcome]) {
    let quota = &cx.broker.replication_quotas.leader;
    let bytes: usize = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Read { read, partition, .. } => {
                let name = &partition.topic_partition;
                quota.is_throttled(&name.topic, name.partition).then(|| read.bytes())
            }
            Outcome::Refused(_) | Outcome::Code(_) => None,
        })
        .sum();
    quota.record(bytes, clock::now());
}

/// About how many bytes the answer has, before it is made: making it tells the session that it was sent.
fn size(outcomes: &[Outcome], incremental: bool) -> usize {
    /// Size, header, and the fields before the topics.
    const ANSWER: usize = 23;
    /// A topic's id, a partition's fields without its records, and what counts and tags take.
    const PARTITION: usize = 64;
    let told = outcomes.iter().filter(|outcome| !incremental || outcome.bytes() > 0);
    ANSWER + told.map(|outcome| PARTITION + outcome.bytes()).sum::<usize>()
}

/// Why a fetch means no partition that is here.
enum NotFound {
    Refused(PartitionError),
    Code(ErrorCode),
}

/// The partition that a fetch means: by topic id from version 13 on, by name before.
fn find(cx: &RequestContext, image: &MetadataImage, key: &PartitionKey) -> Result<Arc<Partition>, NotFound> {
    let by_id = !key.topic_id.is_zero();
    let name = if by_id {
        image
            .topic_name(key.topic_id)
            .ok_or(NotFound::Code(ErrorCode::UnknownTopicId))?
    } else if key.topic.is_empty() {
        return Err(NotFound::Code(ErrorCode::UnknownTopicId));
    } else {
        &key.topic
    };
    if image.partition(name, key.partition).is_none() {
        return Err(NotFound::Code(ErrorCode::UnknownTopicOrPartition));
    }
    let partition = cx
        .broker
        .partitions
        .get(name, key.partition, || true)
        .map_err(NotFound::Refused)?;
    if by_id && partition.topic_id().is_some_and(|id| id != key.topic_id) {
        return Err(NotFound::Code(ErrorCode::InconsistentTopicId));
    }
    Ok(partition)
}

/// What a client cannot read is refused or converted, partition by partition.
///
/// Source: Kafka 3.9 `KafkaApis.handleFetchRequest`, `maybeConvertFetchedData`.
async fn for_old_clients(cx: &RequestContext, context: &FetchContext, outcomes: &mut [Outcome]) {
    let format = match cx.version() {
        0 | 1 => Some(LegacyFormat::V0),
        2 | 3 => Some(LegacyFormat::V1),
        _ => None,
    };
    let mut to_convert = Vec::new();
    for (at, outcome) in outcomes.iter_mut().enumerate() {
        let Outcome::Read { read, partition, .. } = outcome else {
            continue;
        };
        let Some(config) = partition.log().map(|log| log.config()) else {
            continue;
        };
        if config.compression_type == CompressionType::Zstd {
            *outcome = Outcome::Code(ErrorCode::UnsupportedCompressionType);
        } else if let Some(format) = format {
            if !config.message_downconversion_enable {
                *outcome = Outcome::Code(ErrorCode::UnsupportedVersion);
            } else if let Some(slice) = &read.slice {
                let fetch_offset = context.partitions[at].1.fetch_offset;
                to_convert.push((at, slice.clone(), format, fetch_offset));
            }
        }
    }
    if to_convert.is_empty() {
        return;
    }
    let conversions = blocking::run(move || {
        let mut left = CONVERTED_AT_ONCE;
        let convert = |(at, slice, format, from): (usize, FileSlice, LegacyFormat, Offset)| {
            let started = DownConversion::start(&slice, format, from, left);
            left = left.saturating_sub(slice.len);
            (at, started)
        };
        to_convert.into_iter().map(convert).collect::<Vec<_>>()
    })
    .await;
    for (at, started) in conversions {
        match (started, &mut outcomes[at]) {
            (Ok(conversion), Outcome::Read { converted, .. }) => *converted = Some(conversion),
            (Ok(_), Outcome::Refused(_) | Outcome::Code(_)) => {}
            (Err(error), outcome) => {
                let (key, fetch) = &context.partitions[at];
                debug!(
                    topic = %key.topic, partition = key.partition, offset = %fetch.fetch_offset, %error,
                    "records have no form in an older message format"
                );
                *outcome = Outcome::Code(error_code::of_conversion(&error));
            }
        }
    }
}

fn answer(cx: &RequestContext, context: FetchContext, mut outcomes: Vec<Outcome>) -> Reply {
    let answers: Vec<PartitionAnswer> = outcomes.iter().map(partition_answer).collect();
    let keys: Vec<PartitionKey> = context.partitions.iter().map(|(key, _)| key.clone()).collect();
    let (session_id, told) = context.finish(&cx.broker.fetch_sessions, &answers, clock::now());
    let mut placeholders = Placeholders::new();
    let mut files = Vec::new();
    let mut response = FetchResponse::default().with_session_id(session_id);
    for ((key, outcome), told) in keys.iter().zip(&mut outcomes).zip(told) {
        if !told {
            continue;
        }
        let mut data = partition_data(key.partition, outcome, &mut placeholders, &mut files);
        // Clients of old take KAFKA_STORAGE_ERROR for something that no retry helps against.
        if cx.version() <= 5 && data.error_code == ErrorCode::KafkaStorageError as i16 {
            data.error_code = ErrorCode::NotLeaderOrFollower as i16;
        }
        if cx.version() >= 12 {
            name_leader(cx, key, &mut data, &mut response.node_endpoints);
        }
        match response.responses.last_mut() {
            Some(topic) if topic.topic_id.as_bytes() == &key.topic_id.0 && topic.topic.as_str() == &*key.topic => {
                topic.partitions.push(data);
            }
            _ => response.responses.push(
                FetchableTopicResponse::default()
                    .with_topic(TopicName(StrBytes::from_string(key.topic.to_string())))
                    .with_topic_id(Uuid::from_bytes(key.topic_id.0))
                    .with_partitions(vec![data]),
            ),
        }
    }
    if placeholders.is_empty() {
        return cx.reply(&response);
    }
    let header = &cx.header;
    match encode_with_files(
        header.correlation_id,
        header.api.key,
        header.api_version,
        &response,
        &placeholders,
    ) {
        Ok(parts) => Reply::Parts { parts, files },
        Err(unrepresentable) => Reply::Close(unrepresentable.to_string()),
    }
}

fn partition_answer(outcome: &Outcome) -> PartitionAnswer {
    match outcome {
        Outcome::Read { read, .. } => PartitionAnswer {
            high_watermark: read.high_watermark,
            log_start_offset: read.log_start_offset,
            has_news: read.slice.is_some() || read.diverging.is_some() || read.preferred_read_replica.is_some(),
            has_error: false,
        },
        Outcome::Refused(_) | Outcome::Code(_) => PartitionAnswer {
            high_watermark: Offset(-1),
            log_start_offset: Offset(-1),
            has_news: false,
            has_error: true,
        },
    }
}

fn partition_data(
    index: i32,
    outcome: &mut Outcome,
    placeholders: &mut Placeholders,
    files: &mut Vec<FromFile>,
) -> PartitionData {
    let mut data = PartitionData::default();
    data.partition_index = index;
    data.high_watermark = -1;
    data.last_stable_offset = -1;
    data.log_start_offset = -1;
    data.aborted_transactions = None;
    data.preferred_read_replica = WireBrokerId(-1);
    // Never null: librdkafka and the Java client both take null for a broken answer.
    data.records = Some(Bytes::new());
    let (read, converted) = match outcome {
        Outcome::Read { read, converted, .. } => (read, converted.take()),
        Outcome::Refused(refusal) => {
            data.error_code = error_code::of_partition(refusal) as i16;
            return data;
        }
        Outcome::Code(code) => {
            data.error_code = *code as i16;
            // What is refused before it is read has no aborted transactions; what cannot be read has none to tell of.
            data.aborted_transactions = Some(Vec::new());
            return data;
        }
    };
    data.high_watermark = read.high_watermark.0;
    data.last_stable_offset = read.last_stable_offset.0;
    data.log_start_offset = read.log_start_offset.0;
    if let Some(replica) = read.preferred_read_replica {
        data.preferred_read_replica = WireBrokerId(replica.0);
    }
    if let Some(end) = read.diverging {
        data.diverging_epoch = EpochEndOffset::default()
            .with_epoch(end.leader_epoch.0)
            .with_end_offset(end.end_offset.0);
    }
    data.aborted_transactions = read.aborted.as_ref().map(|aborted| {
        aborted
            .iter()
            .map(|transaction| {
                AbortedTransaction::default()
                    .with_producer_id(ProducerId(transaction.producer_id.0))
                    .with_first_offset(transaction.first_offset.0)
            })
            .collect()
    });
    let (part, len) = match (converted, &read.slice) {
        (Some(conversion), _) => {
            let len = conversion.len();
            (FromFile::Converted(conversion), len)
        }
        (None, Some(slice)) => {
            let part = FilePart {
                file: Arc::clone(&slice.file),
                position: slice.position,
                len: slice.len,
            };
            (FromFile::Range(part), slice.len)
        }
        (None, None) => return data,
    };
    if len == 0 {
        return data;
    }
    match placeholders.reserve(len) {
        Some(placeholder) => {
            data.records = Some(placeholder);
            files.push(part);
        }
        // The system refused the address space that placeholders need: the records go by memory.
        None => match part.read_now() {
            Ok(records) => data.records = Some(records),
            Err(error) => {
                warn!(partition = index, %error, "records cannot be read");
                data.error_code = ErrorCode::KafkaStorageError as i16;
            }
        },
    }
    data
}

/// Tells a consumer that came to the wrong broker who leads now (KIP-951); 3.9 does so from version 16 on.
fn name_leader(cx: &RequestContext, key: &PartitionKey, data: &mut PartitionData, endpoints: &mut Vec<NodeEndpoint>) {
    let moved = [
        ErrorCode::NotLeaderOrFollower as i16,
        ErrorCode::FencedLeaderEpoch as i16,
    ];
    if cx.version() < 16 || !moved.contains(&data.error_code) {
        return;
    }
    let image = cx.broker.metadata.image();
    let name = image.topic_name(key.topic_id).unwrap_or(&key.topic);
    let Some(hint) = leader_hint(cx, name, key.partition) else {
        return;
    };
    data.current_leader = LeaderIdAndEpoch::default()
        .with_leader_id(hint.leader)
        .with_leader_epoch(hint.leader_epoch);
    if let Some(node) = hint.node
        && !endpoints.iter().any(|known| known.node_id == hint.leader)
    {
        endpoints.push(
            NodeEndpoint::default()
                .with_node_id(hint.leader)
                .with_host(node.host)
                .with_port(node.port)
                .with_rack(node.rack),
        );
    }
}
