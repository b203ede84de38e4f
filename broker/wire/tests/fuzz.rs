//! Every API, every version, both directions: valid messages, and the same spoilt, under an allocator that counts.
//!
//! Holds: no panic, no allocation beyond a small multiple of the message, and the guard and the decoder agree on where
//! a message ends; what the guard lets pass the decoder reads, unless its text is not UTF-8. Bounded: a few seconds.

#![allow(clippy::unwrap_used)] // A failed step fails the test.

#[macro_use]
mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use broker_wire::apis::{APIS, Api};
use broker_wire::guard::{self, Malformed, shapes};
use broker_wire::header::RequestHeader;
use broker_wire::{Decodable, Encodable, Request, codec};
use bytes::Bytes;
use common::make::{Random, message, spoil};

/// Counts what this thread holds, and the most it has held.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

#[allow(unsafe_code)] // A global allocator cannot be written without.
// SAFETY: every call goes to the system allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // While a thread ends its counters are gone.
        let _ = HELD.try_with(|held| {
            held.set(held.get() + layout.size());
            let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
        });
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| held.set(held.get().saturating_sub(layout.size())));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` returns, and the most memory it held above what was held before.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    let result = work();
    (result, PEAK.with(Cell::get) - before)
}

/// The most that decoding `len` bytes may hold. A list of empty names takes 40 times its bytes, a struct with a map of
/// one unknown tag some 500 for its three; large messages are bounded by the guard's estimate.
fn allowance(len: usize) -> usize {
    (4096 + 256 * len).min(guard::memory_limit(len) / 4 * 5)
}

#[derive(Clone, Copy)]
enum Side {
    Request,
    Response,
}

/// Walks and decodes; whether it was accepted.
fn decode<T: Decodable + Encodable + PartialEq + std::fmt::Debug>(
    side: Side,
    api: &Api,
    version: i16,
    bytes: &Bytes,
    context: &str,
) -> Option<T> {
    let walked = match side {
        Side::Request => guard::request(api.key, version, bytes),
        Side::Response => guard::response(api.key, version, bytes),
    };
    let passed = walked.ok()?;
    let mut rest = passed.canonical(bytes.clone());
    let (decoded, peak) = peak_of(|| T::decode(&mut rest, version));
    assert!(
        peak <= allowance(bytes.len()),
        "{peak} bytes held for {} bytes: {context}",
        bytes.len()
    );
    match decoded {
        Ok(decoded) => {
            assert!(
                rest.is_empty(),
                "guard and decoder disagree on the end by {} bytes: {context}",
                rest.len()
            );
            Some(decoded)
        }
        Err(error) => {
            assert!(
                error.to_string().contains("utf-8"),
                "passed the guard, but {error}: {context}"
            );
            None
        }
    }
}

fn each_message(mut test: impl FnMut(Side, &'static Api, i16, &'static shapes::Shape)) {
    for api in &APIS {
        for version in api.min_version..=api.max_version {
            test(Side::Request, api, version, shapes::request(api.key).unwrap());
            test(Side::Response, api, version, shapes::response(api.key).unwrap());
        }
    }
}

macro_rules! decode_as {
    ($side:expr, $api:expr, $version:expr, $bytes:expr, $context:expr, $decoded:ident => $then:expr) => {
        with_request!($api.key, R => match $side {
            Side::Request => {
                if let Some($decoded) = decode::<R>($side, $api, $version, $bytes, $context) { $then }
            }
            Side::Response => {
                if let Some($decoded) = decode::<<R as Request>::Response>($side, $api, $version, $bytes, $context) {
                    $then
                }
            }
        })
    };
}

#[test]
fn valid_messages_of_every_api_and_version_pass_and_read_back() {
    let mut random = Random::new(1);
    each_message(|side, api, version, shape| {
        for round in 0..40 {
            let bytes: Bytes = message(&mut random, shape, version, api.is_flexible(version)).into();
            let context = format!("{} version {version} round {round}: {bytes:02x?}", shape.name);
            let mut accepted = false;
            decode_as!(side, api, version, &bytes, &context, decoded => {
                accepted = true;
                let mut again = Vec::new();
                decoded.encode(&mut again, version).expect(&context);
                assert_eq!(again.len(), decoded.compute_size(version).expect(&context), "{context}");
                let mut rest = Bytes::from(again);
                assert_eq!(Decodable::decode(&mut rest, version).ok().as_ref(), Some(&decoded), "{context}");
            });
            assert!(accepted, "refused: {context}");
        }
    });
}

#[test]
fn every_cut_of_a_valid_message_is_refused() {
    let mut random = Random::new(2);
    each_message(|side, api, version, shape| {
        let bytes: Bytes = message(&mut random, shape, version, api.is_flexible(version)).into();
        for len in 0..bytes.len() {
            let walked = match side {
                Side::Request => guard::request(api.key, version, &bytes[..len]),
                Side::Response => guard::response(api.key, version, &bytes[..len]),
            };
            assert!(
                walked.is_err(),
                "{} version {version} cut at {len} of {}",
                shape.name,
                bytes.len()
            );
        }
    });
}

#[test]
fn spoilt_messages_never_panic_nor_take_much_memory() {
    let (mut accepted, mut tried) = (0, 0);
    for seed in 1..=16 {
        let mut random = Random::new(seed << 32);
        each_message(|side, api, version, shape| {
            let valid = message(&mut random, shape, version, api.is_flexible(version));
            for round in 0..24 {
                let mut bytes = valid.clone();
                spoil(&mut random, &mut bytes);
                let bytes = Bytes::from(bytes);
                let context = format!(
                    "{} version {version} seed {seed} round {round}: {bytes:02x?}",
                    shape.name
                );
                tried += 1;
                decode_as!(side, api, version, &bytes, &context, _decoded => accepted += 1);
            }
        });
    }
    // Most of what is spoilt is refused; what is not must be enough for the test to mean something.
    assert!(
        tried > 150_000 && accepted * 20 > tried && accepted < tried,
        "{accepted} of {tried} accepted"
    );
}

#[test]
fn noise_is_refused_or_harmless() {
    let mut random = Random::new(5);
    each_message(|side, api, version, shape| {
        for round in 0..40 {
            let len = random.below(64);
            let small = random.one_in(2);
            let bytes: Bytes = (0..len)
                .map(|_| random.next() as u8 & if small { 3 } else { 0xff })
                .collect();
            let context = format!("{} version {version} round {round}: {bytes:02x?}", shape.name);
            decode_as!(side, api, version, &bytes, &context, _decoded => ());
        }
    });
}

#[test]
fn spoilt_frames_never_panic_in_the_header() {
    let mut random = Random::new(6);
    for api in &APIS {
        for version in api.min_version..=api.max_version {
            for _ in 0..20 {
                let mut frame = Vec::new();
                broker_wire::header::put_request_header(&mut frame, api, version, 7, "client");
                spoil(&mut random, &mut frame);
                let frame = Bytes::from(frame);
                let (parsed, peak) = peak_of(|| RequestHeader::parse(&frame));
                assert!(peak <= 256 + 4 * frame.len(), "{peak} bytes held for {frame:02x?}");
                if let Ok((header, body)) = parsed {
                    assert!(header.is_supported() || header.api.name == "ApiVersions");
                    assert!(body.len() < frame.len());
                }
            }
        }
    }
}

#[test]
fn a_huge_list_of_nothing_is_refused_for_its_memory() {
    // 8 MB of Metadata version 0, four million empty names: 40 times as much when decoded.
    let count = 4 << 20;
    let mut body = vec![0; 4 + 2 * count];
    body[..4].copy_from_slice(&(count as u32).to_be_bytes());
    let body = Bytes::from(body);
    let (decoded, peak) = peak_of(|| codec::decode_request::<broker_wire::messages::MetadataRequest>(0, body));
    assert!(matches!(decoded, Err(Malformed::Memory { .. })), "{decoded:?}");
    assert_eq!(peak, 0);
}

#[test]
fn the_four_bytes_that_killed_the_decoder_are_refused() {
    let body = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]);
    let (decoded, peak) = peak_of(|| codec::decode_request::<broker_wire::messages::MetadataRequest>(0, body));
    assert_eq!(
        decoded,
        Err(Malformed::Count {
            field: "topics",
            count: 0x7fff_ffff,
            left: 0
        })
    );
    assert_eq!(peak, 0);
}
