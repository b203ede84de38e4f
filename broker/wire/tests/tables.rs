//! The tables against the crate's own types: versions, header versions, sizes in memory.

#![allow(clippy::unwrap_used)] // A failed step fails the test.

#[macro_use]
mod common;

use broker_wire::apis::APIS;
use broker_wire::guard::shapes::{self, Kind, Shape};
use broker_wire::{Message, Request};
use kafka_protocol::protocol::HeaderVersion;

#[test]
fn versions_and_header_versions_are_those_of_the_crate() {
    for api in &APIS {
        with_request!(api.key, R => {
            assert_eq!(R::KEY, api.key);
            assert_eq!((R::VERSIONS.min, R::VERSIONS.max), (api.min_version, api.max_version), "{}", api.name);
            for version in api.min_version..=api.max_version {
                let request = <R as HeaderVersion>::header_version(version);
                let response = <<R as Request>::Response as HeaderVersion>::header_version(version);
                assert_eq!(api.request_header_version(version), request, "{} {version}", api.name);
                assert_eq!(api.response_header_version(version), response, "{} {version}", api.name);
            }
        });
    }
}

#[test]
fn keys_are_ascending_and_each_has_its_shapes() {
    assert!(APIS.windows(2).all(|pair| pair[0].key < pair[1].key));
    for api in &APIS {
        assert_eq!(
            shapes::request(api.key).map(|shape| shape.name),
            Some(&*format!("{}Request", api.name))
        );
        assert_eq!(
            shapes::response(api.key).map(|shape| shape.name),
            Some(&*format!("{}Response", api.name))
        );
    }
    assert!(shapes::request(52).is_none() && shapes::response(70).is_none());
}

#[test]
fn memory_of_a_message_is_estimated_about_right() {
    for api in &APIS {
        with_request!(api.key, R => {
            let check = |shape: &Shape, size: usize| {
                assert!(shape.memory >= size && shape.memory <= size + 40, "{}: {} for {size}", shape.name, shape.memory);
            };
            check(shapes::request(api.key).unwrap(), size_of::<R>());
            check(shapes::response(api.key).unwrap(), size_of::<<R as Request>::Response>());
        });
    }
}

/// What the walk relies upon to be linear: every element of an array takes a byte at least.
#[test]
fn no_element_of_an_array_is_empty_on_the_wire() {
    fn check(shape: &Shape, version: i16, flexible: bool, is_element: bool) {
        let mut bytes = usize::from(flexible);
        for field in shape.fields.iter().filter(|field| field.versions.contains(version)) {
            bytes += 1;
            match field.kind {
                Kind::Array(Kind::Struct(element)) => check(element, version, flexible, true),
                Kind::Struct(inner) => check(inner, version, flexible, true),
                _ => {}
            }
        }
        assert!(bytes > 0 || !is_element, "{} is empty in version {version}", shape.name);
    }
    for api in &APIS {
        for version in api.min_version..=api.max_version {
            check(
                shapes::request(api.key).unwrap(),
                version,
                api.is_flexible(version),
                false,
            );
            check(
                shapes::response(api.key).unwrap(),
                version,
                api.is_flexible(version),
                false,
            );
        }
    }
}
