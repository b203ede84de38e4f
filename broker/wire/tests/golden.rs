//! Frames recorded between real Kafka 3.9.1 brokers and their clients: all pass, and come out as they went in.

#![allow(clippy::unwrap_used)] // A failed step fails the test.

#[macro_use]
mod common;

use broker_wire::apis::APIS;
use broker_wire::header::{self, RequestHeader};
use broker_wire::messages::ApiVersionsRequest;
use broker_wire::{Request, codec, guard};
use bytes::Bytes;

/// A line of `data/frames.tsv`.
struct Recorded {
    key: i16,
    version: i16,
    request: Bytes,
    response: Bytes,
}

fn recorded() -> Vec<Recorded> {
    let hex = |text: &str| {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect::<Bytes>()
    };
    include_str!("data/frames.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            Recorded {
                key: columns[0].parse().unwrap(),
                version: columns[1].parse().unwrap(),
                request: hex(columns[2]),
                response: hex(columns[3]),
            }
        })
        .collect()
}

#[test]
fn recorded_requests_decode_and_encode_to_the_same_bytes() {
    let frames = recorded();
    assert_eq!(frames.len(), 109);
    for Recorded {
        key, version, request, ..
    } in frames
    {
        let (header, body) = RequestHeader::parse(&request).unwrap();
        assert_eq!(
            (header.api.key, header.api_version, header.is_supported()),
            (key, version, true)
        );
        let passed = guard::request(key, version, &body).unwrap();
        assert_eq!(passed.message_len(), body.len(), "{} {version}", header.api.name);
        with_request!(key, R => {
            let decoded = codec::decode_request::<R>(version, body).unwrap();
            let again = codec::encode_request(header.correlation_id, &header.client_id, version, &decoded).unwrap();
            assert_eq!(again[..4], (request.len() as u32).to_be_bytes());
            assert_eq!(again[4..], request, "{} {version}", header.api.name);
        });
    }
}

#[test]
fn recorded_responses_decode_and_encode_to_the_same_bytes() {
    for Recorded {
        key,
        version,
        request,
        response,
    } in recorded()
    {
        let (asked, _) = RequestHeader::parse(&request).unwrap();
        let (correlation_id, body) =
            header::parse_response_header(&response, asked.api.response_header_version(version)).unwrap();
        assert_eq!(correlation_id, asked.correlation_id);
        let passed = guard::response(key, version, &body).unwrap();
        assert_eq!(passed.message_len(), body.len(), "{} {version}", asked.api.name);
        with_request!(key, R => {
            let decoded = codec::decode_response::<R>(version, body).unwrap();
            let again = codec::encode_response(correlation_id, R::KEY, version, &decoded).unwrap();
            assert_eq!(again[4..], response, "{} {version}", asked.api.name);
        });
    }
}

#[test]
fn the_table_of_apis_is_what_kafka_advertises() {
    let answers = recorded()
        .into_iter()
        .filter(|frame| (frame.key, frame.version) == (18, 4));
    let mut compared = 0;
    for Recorded { response, .. } in answers {
        let (_, body) = header::parse_response_header(&response, 0).unwrap();
        let advertised = codec::decode_response::<ApiVersionsRequest>(4, body).unwrap();
        let advertised: Vec<_> = advertised
            .api_keys
            .iter()
            .map(|api| (api.api_key, api.min_version, api.max_version))
            .collect();
        let ours: Vec<_> = APIS
            .iter()
            .map(|api| (api.key, api.min_version, api.max_version))
            .collect();
        assert_eq!(advertised, ours);
        compared += 1;
    }
    assert!(compared > 0);
}

#[test]
fn bytes_after_a_request_are_ignored_as_kafka_does() {
    for Recorded {
        key, version, request, ..
    } in recorded()
    {
        let (_, body) = RequestHeader::parse(&request).unwrap();
        let longer: Bytes = [&body[..], &[0xff; 9]].concat().into();
        with_request!(key, R => {
            let short = codec::decode_request::<R>(version, body).unwrap();
            assert_eq!(codec::decode_request::<R>(version, longer).unwrap(), short);
        });
    }
}
