//! Requests and answers: a blocking connection for everything that is not measured, and frames for what is.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, FetchRequest, MetadataRequest, ProduceRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use crate::error::{BenchError, Doing, Result};

/// The largest answer that is read: 1,000 partitions' metadata, or a fetch, is far below.
const MAX_ANSWER: usize = 64 << 20;
/// Before flexible fields: an answer about one partition then has its numbers at fixed places.
pub(crate) const PRODUCE: i16 = 8;
/// Likewise, and with fetch sessions, which it declines.
pub(crate) const FETCH: i16 = 11;
/// Controller, offline replicas and leader epochs.
const METADATA: i16 = 7;

/// A connection on which one request after the other is answered.
pub(crate) struct Client {
    stream: TcpStream,
    correlation: i32,
}

impl Client {
    /// Connects, and waits no longer than `patience` for that or for any answer.
    pub(crate) fn connect(address: SocketAddr, patience: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)
            .and_then(|stream| {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                Ok(stream)
            })
            .doing(|| format!("connecting to {address}"))?;
        Ok(Self { stream, correlation: 0 })
    }

    /// Sends a request and reads its answer.
    pub(crate) fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        self.send(request, version)?;
        self.receive::<R>(version)
    }

    /// Sends a request; one at a time, the answer is to be received before the next.
    pub(crate) fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<()> {
        self.correlation += 1;
        let frame = frame(request, version, self.correlation)?;
        self.stream.write_all(&frame).doing(|| "sending a request".to_owned())
    }

    /// Reads the answer to the request that was sent.
    pub(crate) fn receive<R: Request>(&mut self, version: i16) -> Result<R::Response> {
        let mut answer = self.read_frame()?;
        let header = R::Response::header_version(version);
        let malformed =
            |it: &dyn std::fmt::Display| BenchError::Malformed(format!("an answer that cannot be read: {it}"));
        let header = ResponseHeader::decode(&mut answer, header).map_err(|it| malformed(&it))?;
        if header.correlation_id != self.correlation {
            return Err(malformed(&"it answers another request"));
        }
        R::Response::decode(&mut answer, version).map_err(|it| malformed(&it))
    }

    /// The next answer, from its correlation id on.
    pub(crate) fn read_frame(&mut self) -> Result<Bytes> {
        read_frame(&mut self.stream)
    }
}

/// Reads one frame, without its size.
pub(crate) fn read_frame(stream: &mut impl Read) -> Result<Bytes> {
    let doing = || "reading an answer".to_owned();
    let mut size = [0; 4];
    stream.read_exact(&mut size).doing(doing)?;
    let size = usize::try_from(i32::from_be_bytes(size)).unwrap_or(usize::MAX);
    if size > MAX_ANSWER {
        return Err(BenchError::Malformed(format!("an answer of {size} bytes")));
    }
    let mut body = BytesMut::zeroed(size);
    stream.read_exact(&mut body).doing(doing)?;
    Ok(body.freeze())
}

/// A whole request, its size first.
pub(crate) fn frame<R: Request>(request: &R, version: i16, correlation: i32) -> Result<Bytes> {
    let mut bytes = BytesMut::zeroed(4);
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str("bench")));
    let cannot = |it: &dyn std::fmt::Display| BenchError::Malformed(format!("a request that cannot be written: {it}"));
    header
        .encode(&mut bytes, R::header_version(version))
        .map_err(|it| cannot(&it))?;
    request.encode(&mut bytes, version).map_err(|it| cannot(&it))?;
    let size = i32::try_from(bytes.len() - 4).map_err(|it| cannot(&it))?;
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    Ok(bytes.freeze())
}

/// A name for a request.
pub(crate) fn topic_name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

/// A string for a request.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A Produce request of one batch for one partition.
pub(crate) fn produce_request(topic: &str, partition: i32, acks: i16, batch: Bytes) -> ProduceRequest {
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![
            TopicProduceData::default()
                .with_name(topic_name(topic))
                .with_partition_data(vec![
                    PartitionProduceData::default()
                        .with_index(partition)
                        .with_records(Some(batch)),
                ]),
        ])
}

/// Error code and base offset in the answer to a [`produce_request`], from its correlation id on.
pub(crate) fn produced(topic: &str, mut answer: &[u8]) -> Option<(i16, i64)> {
    // correlation, topics, name's length, name, partitions, index; then the code and the offset
    let at = 4 + 4 + 2 + topic.len() + 4 + 4;
    if answer.len() < at + 10 {
        return None;
    }
    answer.advance(at);
    Some((answer.get_i16(), answer.get_i64()))
}

/// A Fetch request for some partitions of a topic, each from its offset on.
pub(crate) fn fetch_request(topic: &str, from: impl IntoIterator<Item = (i32, i64)>, max_bytes: i32) -> FetchRequest {
    let partitions = from.into_iter().map(|(partition, offset)| {
        FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(max_bytes)
    });
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(max_bytes)
        .with_session_epoch(-1)
        .with_topics(vec![
            FetchTopic::default()
                .with_topic(topic_name(topic))
                .with_partitions(partitions.collect()),
        ])
}

/// What one broker says of the cluster and of one topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// -1 while it knows of none.
    pub(crate) controller: i32,
    /// Where clients find whom.
    pub(crate) brokers: BTreeMap<i32, SocketAddr>,
    /// In the order of their indexes; empty when the topic is not known.
    pub(crate) partitions: Vec<PartitionView>,
}

/// One partition in a [`View`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartitionView {
    /// Which of the topic's.
    pub(crate) index: i32,
    /// -1 while there is none.
    pub(crate) leader: i32,
    /// How many are in sync.
    pub(crate) in_sync: usize,
}

impl View {
    /// The partitions that each broker leads.
    pub(crate) fn led(&self) -> BTreeMap<i32, Vec<i32>> {
        let mut led: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for partition in &self.partitions {
            led.entry(partition.leader).or_default().push(partition.index);
        }
        led
    }

    /// Where the leader of a partition is.
    pub(crate) fn leader_of(&self, partition: i32) -> Option<SocketAddr> {
        let leader = self.partitions.iter().find(|it| it.index == partition)?.leader;
        self.brokers.get(&leader).copied()
    }
}

/// Asks a broker for the cluster and, if given, a topic.
pub(crate) fn view(client: &mut Client, topic: Option<&str>) -> Result<View> {
    let topics = topic.map(|it| MetadataRequestTopic::default().with_name(Some(topic_name(it))));
    let request = MetadataRequest::default()
        .with_topics(Some(topics.into_iter().collect()))
        .with_allow_auto_topic_creation(false);
    let answer = client.call(&request, METADATA)?;
    let mut view = View {
        controller: answer.controller_id.0,
        ..View::default()
    };
    for broker in &answer.brokers {
        let address = format!("{}:{}", broker.host.as_str(), broker.port);
        let address = address
            .parse()
            .map_err(|_| BenchError::Malformed(format!("a broker at {address}")))?;
        view.brokers.insert(broker.node_id.0, address);
    }
    for topic in &answer.topics {
        for partition in &topic.partitions {
            view.partitions.push(PartitionView {
                index: partition.partition_index,
                leader: partition.leader_id.0,
                in_sync: partition.isr_nodes.len(),
            });
        }
    }
    view.partitions.sort_by_key(|it| it.index);
    Ok(view)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::ProduceResponse;
    use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};

    use super::*;

    #[test]
    fn an_answer_about_one_partition_has_its_numbers_at_fixed_places() {
        let answer = ProduceResponse::default().with_responses(vec![
            TopicProduceResponse::default()
                .with_name(topic_name("orders"))
                .with_partition_responses(vec![
                    PartitionProduceResponse::default()
                        .with_index(3)
                        .with_error_code(19)
                        .with_base_offset(77),
                ]),
        ]);
        let mut bytes = BytesMut::from(&[0; 4][..]);
        answer.encode(&mut bytes, PRODUCE).unwrap();
        assert_eq!(produced("orders", &bytes), Some((19, 77)));
        assert_eq!(produced("orders", &bytes[..20]), None);
    }
}
