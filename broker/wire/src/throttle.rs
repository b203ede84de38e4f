//! `throttle_time_ms` of a response that is encoded already.
//!
//! How long a client must pause for the time that its request took is known only when the work is done, and then the
//! response stands encoded. Nearly always the field is the first of the body; where it is not, the fields before it are
//! walked along the response's shape.

use bytes::Bytes;

use crate::apis;
use crate::guard;
use crate::header;

/// Bytes of a frame's size.
const SIZE_LEN: usize = 4;

/// The frame (with its size before it) of a response, telling at least `throttle_time_ms`. As it was, where this version
/// of the response has no such field.
pub fn with_throttle_time(api_key: i16, version: i16, frame: Bytes, throttle_time_ms: i32) -> Bytes {
    let Some(at) = position(api_key, version, &frame) else {
        return frame;
    };
    let Some(told) = frame.get(at..at + 4).and_then(|told| <[u8; 4]>::try_from(told).ok()) else {
        return frame;
    };
    if i32::from_be_bytes(told) >= throttle_time_ms {
        return frame;
    }
    // Nobody else holds it, as a rule: then nothing is copied.
    let mut frame: Vec<u8> = frame.into();
    frame[at..at + 4].copy_from_slice(&throttle_time_ms.to_be_bytes());
    frame.into()
}

/// Where the field begins.
fn position(api_key: i16, version: i16, frame: &[u8]) -> Option<usize> {
    let api = apis::api(api_key)?;
    let body_at = SIZE_LEN + header::response_header_len(api.response_header_version(version));
    let body = frame.get(body_at..)?;
    Some(body_at + guard::position_in_response(api_key, version, body, "throttle_time_ms")?)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::api_versions_response::ApiVersion;
    use kafka_protocol::messages::produce_response::{
        NodeEndpoint, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
    };
    use kafka_protocol::messages::{ApiVersionsResponse, HeartbeatResponse, LeaderAndIsrResponse, MetadataResponse};
    use kafka_protocol::protocol::{Encodable, StrBytes};

    use super::*;
    use crate::codec::encode_response;

    fn check<T: Encodable + Default>(key: i16, make: impl Fn(i32) -> T) {
        let api = apis::api(key).unwrap();
        for version in api.min_version..=api.max_version {
            let plain = encode_response(7, key, version, &make(0)).unwrap();
            // A version without the field cannot tell it.
            let Ok(throttled) = encode_response(7, key, version, &make(123_456)) else {
                assert_eq!(with_throttle_time(key, version, plain.clone(), 123_456), plain);
                continue;
            };
            assert_eq!(
                with_throttle_time(key, version, plain, 123_456),
                throttled,
                "{} {version}",
                api.name
            );
            assert_eq!(
                with_throttle_time(key, version, throttled.clone(), 123_455),
                throttled,
                "the longer one stays"
            );
        }
    }

    #[test]
    fn the_field_is_found_wherever_it_stands() {
        check(12, |ms| HeartbeatResponse::default().with_throttle_time_ms(ms));
        check(3, |ms| MetadataResponse::default().with_throttle_time_ms(ms));
        let versions = || {
            vec![
                ApiVersion::default().with_api_key(3),
                ApiVersion::default().with_api_key(9),
            ]
        };
        check(18, |ms| {
            ApiVersionsResponse::default()
                .with_api_keys(versions())
                .with_throttle_time_ms(ms)
        });
        let partition = PartitionProduceResponse::default().with_index(3);
        check(0, |ms| {
            let topic = TopicProduceResponse::default().with_partition_responses(vec![partition.clone()]);
            ProduceResponse::default()
                .with_responses(vec![topic])
                .with_throttle_time_ms(ms)
        });
    }

    #[test]
    fn it_is_found_before_tagged_fields() {
        let node = NodeEndpoint::default().with_host(StrBytes::from_static_str("host"));
        let make = |ms| {
            ProduceResponse::default()
                .with_node_endpoints(vec![node.clone()])
                .with_throttle_time_ms(ms)
        };
        let (plain, throttled) = (make(0), make(9));
        let encode = |response: &ProduceResponse| encode_response(1, 0, 10, response).unwrap();
        assert_eq!(with_throttle_time(0, 10, encode(&plain), 9), encode(&throttled));
    }

    #[test]
    fn a_response_without_the_field_stays_as_it_was() {
        let frame = encode_response(1, 4, 7, &LeaderAndIsrResponse::default()).unwrap();
        assert_eq!(with_throttle_time(4, 7, frame.clone(), 9), frame);
        assert_eq!(
            with_throttle_time(12, 4, Bytes::from_static(b"short"), 9),
            &b"short"[..]
        );
    }
}
