//! What down-conversion leaves, against what the older formats are known to be.

use model::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId};
use proptest::prelude::*;

use super::*;
use crate::batch::{BatchBuilder, EndTransactionMarker, Frame, LegacyMessage};
use crate::compress;
use crate::log::FileSlice;

const CODECS: [CompressionType; 4] = [
    CompressionType::None,
    CompressionType::Gzip,
    CompressionType::Snappy,
    CompressionType::Lz4,
];

fn builder(base: i64) -> BatchBuilder {
    let mut builder = BatchBuilder::new()
        .base_offset(Offset(base))
        .leader_epoch(LeaderEpoch(3));
    builder.push(Millis(1000), Some(b"k0"), Some(b"v0"));
    builder.push_with_headers(Millis(900), None, Some(b"v1"), &[("h".as_bytes(), None)]);
    builder.push_at(4, Millis(1100), Some(b"k4"), None, &[]);
    builder
}

fn batch(base: i64, codec: CompressionType) -> Vec<u8> {
    let batch = builder(base).build_compressed(Compression::of(codec));
    batch.unwrap().to_vec()
}

type Told = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

fn told(message: &LegacyMessage<'_>) -> Told {
    assert!(message.is_valid);
    let own = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
    (
        message.offset.0,
        message.timestamp.0,
        own(message.key),
        own(message.value),
    )
}

/// All messages in `bytes`, whose entries must be whole, valid and of `format`.
fn messages(bytes: &[u8], format: LegacyFormat) -> Vec<Told> {
    let mut all = Vec::new();
    let mut entries = Entries::new(bytes);
    for entry in &mut entries {
        let Entry::Legacy(entry) = entry.unwrap() else {
            panic!("a batch of format 2")
        };
        assert!(entry.is_valid());
        assert_eq!(entry.magic(), format.magic());
        let mut scratch = Vec::new();
        let messages = entry.messages(&mut scratch, 1 << 20).unwrap();
        all.extend(messages.map(|message| told(&message.unwrap())));
    }
    assert!(entries.remaining().is_empty());
    all
}

fn converted(bytes: &[u8], format: LegacyFormat, first_offset: i64) -> Vec<Told> {
    let mut out = Vec::new();
    let converted = down_convert(bytes, format, Offset(first_offset), &mut out);
    assert!(converted.failure.is_none(), "{converted:?}");
    assert_eq!(converted.taken, bytes.len());
    messages(&out, format)
}

fn some(text: &str) -> Option<Vec<u8>> {
    Some(text.as_bytes().to_vec())
}

#[test]
fn records_keep_offset_timestamp_key_and_value() {
    for codec in CODECS {
        let bytes = batch(70, codec);
        let v1 = [
            (70, 1000, some("k0"), some("v0")),
            (71, 900, None, some("v1")),
            (74, 1100, some("k4"), None),
        ];
        assert_eq!(converted(&bytes, LegacyFormat::V1, 0), v1, "{codec:?}");
        let v0 = v1.map(|(offset, _, key, value)| (offset, -1, key, value));
        assert_eq!(converted(&bytes, LegacyFormat::V0, 0), v0, "{codec:?}");
    }
}

#[test]
fn a_wrapper_says_what_its_last_message_does() {
    for codec in &CODECS[1..] {
        let mut out = Vec::new();
        down_convert(&batch(70, *codec), LegacyFormat::V1, Offset(72), &mut out);
        let Some(Ok(Entry::Legacy(wrapper))) = Entries::new(&out).next() else {
            panic!("no wrapper")
        };
        assert_eq!(wrapper.last_offset(), Offset(74));
        assert_eq!(wrapper.timestamp(), Millis(1100));
        assert_eq!(wrapper.compression(), Some(*codec));
        assert_eq!(wrapper.key(), None);
        // Relative offsets inside: the first message says 0.
        let mut content = Vec::new();
        let value = wrapper.value().unwrap();
        compress::decompress_legacy(*codec, 1, value, 1 << 20, &mut content).unwrap();
        assert_eq!(content[..8], [0; 8]);
    }
}

#[test]
fn single_messages_before_the_fetch_offset_are_left_out_and_wrapped_ones_are_not() {
    let offsets = |codec, first| {
        let told = converted(&batch(70, codec), LegacyFormat::V1, first);
        told.into_iter().map(|(offset, ..)| offset).collect::<Vec<_>>()
    };
    assert_eq!(offsets(CompressionType::None, 71), [71, 74]);
    assert_eq!(offsets(CompressionType::None, 75), []);
    assert_eq!(offsets(CompressionType::Gzip, 71), [70, 71, 74]);
}

#[test]
fn the_time_of_the_append_stands_for_every_message() {
    for codec in CODECS {
        let bytes = builder(0)
            .log_append_time(Millis(5000))
            .build_compressed(Compression::of(codec))
            .unwrap();
        let mut out = Vec::new();
        down_convert(&bytes, LegacyFormat::V1, Offset::ZERO, &mut out);
        let Some(Ok(Entry::Legacy(first))) = Entries::new(&out).next() else {
            panic!("nothing")
        };
        assert_eq!(first.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(first.timestamp(), Millis(5000));
        for (_, timestamp, ..) in messages(&out, LegacyFormat::V1) {
            assert_eq!(timestamp, 5000, "{codec:?}");
        }
    }
}

#[test]
fn control_batches_have_no_form_and_leave_nothing() {
    let marker = EndTransactionMarker {
        committed: false,
        coordinator_epoch: 0,
    };
    let control = BatchBuilder::end_transaction(ProducerId(1), ProducerEpoch(0), Millis(1), marker);
    let bytes = [&control[..], &batch(1, CompressionType::None)].concat();
    assert_eq!(converted(&bytes, LegacyFormat::V1, 0).len(), 3);
    assert_eq!(converted(&control, LegacyFormat::V0, 0), []);
}

#[test]
fn zstd_ends_a_conversion_with_what_came_before_it() {
    let first = batch(0, CompressionType::Gzip);
    let bytes = [&first[..], &batch(5, CompressionType::Zstd)].concat();
    let mut out = Vec::new();
    let converted = down_convert(&bytes, LegacyFormat::V1, Offset::ZERO, &mut out);
    assert!(matches!(converted.failure, Some(ConvertError::Zstd)));
    assert_eq!(converted.taken, first.len());
    assert_eq!(messages(&out, LegacyFormat::V1).len(), 3);
}

#[test]
fn what_is_old_already_stays_as_it_is() {
    let magic0 = include_bytes!("../../testdata/batches/magic0-0/00000000000000000000.log");
    let magic1 = include_bytes!("../../testdata/batches/magic1-0/00000000000000000000.log");
    let check = |name: &str, bytes: &[u8], format: LegacyFormat| {
        let mut out = Vec::new();
        let converted = down_convert(bytes, format, Offset(2), &mut out);
        assert!(converted.failure.is_none(), "{name}");
        assert_eq!(out, bytes, "{name}");
    };
    check("0 as 0", magic0, LegacyFormat::V0);
    check("0 as 1", magic0, LegacyFormat::V1);
    check("1 as 1", magic1, LegacyFormat::V1);
    let in_v1 = messages(magic1, LegacyFormat::V1);
    let in_v0 = converted(magic1, LegacyFormat::V0, 0);
    assert_eq!(
        in_v0,
        in_v1
            .into_iter()
            .map(|(offset, _, key, value)| (offset, -1, key, value))
            .collect::<Vec<_>>()
    );
}

/// A range of a file that holds `bytes`.
fn slice(bytes: &[u8], len: usize) -> FileSlice {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    FileSlice {
        file: std::sync::Arc::new(file),
        position: 0,
        len,
        first_offset: Offset::ZERO,
        first_batch_bytes: 0,
        magic: 2,
    }
}

fn all_pieces(conversion: &mut DownConversion) -> Vec<u8> {
    let promised = conversion.len();
    let mut sent = Vec::new();
    while let Some(piece) = conversion.piece().unwrap() {
        assert!(!piece.is_empty());
        sent.extend_from_slice(&piece);
    }
    assert_eq!(sent.len(), promised);
    sent
}

fn entries_of(bytes: &[u8]) -> usize {
    Entries::new(bytes).map_while(Result::ok).count()
}

#[test]
fn a_small_range_is_promised_at_its_converted_size() {
    let bytes = batch(0, CompressionType::None);
    let mut conversion =
        DownConversion::start(&slice(&bytes, bytes.len()), LegacyFormat::V1, Offset::ZERO, 1 << 20).unwrap();
    let sent = all_pieces(&mut conversion);
    assert_eq!(messages(&sent, LegacyFormat::V1).len(), 3);
}

#[test]
fn a_long_range_is_converted_as_it_is_sent_and_as_long_as_it_was() {
    let mut bytes = Vec::new();
    for i in 0..2000 {
        bytes.extend(batch(i * 5, CompressionType::Gzip));
    }
    let mut conversion = DownConversion::start(&slice(&bytes, bytes.len()), LegacyFormat::V1, Offset::ZERO, 0).unwrap();
    assert_eq!(conversion.len(), bytes.len());
    assert!(conversion.ready.len() < 2 * PIECE_BYTES);
    let sent = all_pieces(&mut conversion);
    let whole = entries_of(&sent);
    assert!((1900..=2000).contains(&whole), "{whole}");
}

#[test]
fn what_shrinks_is_filled_with_a_message_that_nobody_can_have_whole() {
    // Batches with headers, which are lost: all of it is shorter than it was.
    let mut bytes = Vec::new();
    for i in 0..2000 {
        let mut builder = BatchBuilder::new().base_offset(Offset(i));
        builder.push_with_headers(Millis(1), None, Some(b"v"), &[(b"header", Some(&[7; 200]))]);
        bytes.extend_from_slice(&builder.build());
    }
    let mut conversion = DownConversion::start(&slice(&bytes, bytes.len()), LegacyFormat::V0, Offset::ZERO, 0).unwrap();
    let sent = all_pieces(&mut conversion);
    assert_eq!(sent.len(), bytes.len());
    let mut offsets = Vec::new();
    let mut rest = &sent[..];
    while let Ok(Some(frame)) = Frame::read(rest)
        && frame.size <= rest.len()
    {
        offsets.push(frame.offset.0);
        rest = &rest[frame.size..];
    }
    assert_eq!(offsets, (0..2000).collect::<Vec<_>>());
    let length = i32::from_be_bytes(rest[8..12].try_into().unwrap());
    assert!(length as usize > rest.len());
}

#[test]
fn nothing_but_control_batches_asks_for_more_than_there_is() {
    let marker = EndTransactionMarker {
        committed: true,
        coordinator_epoch: 0,
    };
    let control = BatchBuilder::end_transaction(ProducerId(1), ProducerEpoch(0), Millis(1), marker);
    let control = slice(&control, control.len());
    let mut conversion = DownConversion::start(&control, LegacyFormat::V1, Offset::ZERO, 1 << 20).unwrap();
    let sent = all_pieces(&mut conversion);
    assert_eq!(sent, [[0xff; 8].as_slice(), &61i32.to_be_bytes()].concat());
}

#[test]
fn a_range_that_holds_no_whole_batch_gives_nothing() {
    let bytes = batch(0, CompressionType::None);
    for len in [0, 5, 16, 20, bytes.len() - 1] {
        let conversion = DownConversion::start(&slice(&bytes, len), LegacyFormat::V1, Offset::ZERO, 1 << 20);
        assert!(conversion.unwrap().is_empty(), "{len}");
    }
}

#[test]
fn zstd_first_is_an_answer_and_zstd_later_ends_the_records() {
    let zstd = batch(5, CompressionType::Zstd);
    let start =
        |bytes: &[u8]| DownConversion::start(&slice(bytes, bytes.len()), LegacyFormat::V1, Offset::ZERO, 1 << 20);
    assert!(matches!(start(&zstd), Err(ConvertError::Zstd)));
    let later = [&batch(0, CompressionType::None)[..], &zstd].concat();
    assert_eq!(
        messages(&all_pieces(&mut start(&later).unwrap()), LegacyFormat::V1).len(),
        3
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever a segment holds, converting neither panics nor promises what it does not give.
    #[test]
    fn a_conversion_keeps_its_promise_over_damaged_bytes(
        at in 0usize..400, byte: u8, len in 0usize..400, whole in prop_oneof![Just(0usize), Just(1 << 20)], v0: bool,
        codec in 0usize..4,
    ) {
        let mut bytes = [batch(0, CODECS[codec]), batch(5, CompressionType::None)].concat();
        if let Some(target) = bytes.get_mut(at) {
            *target = byte;
        }
        let len = len.min(bytes.len());
        let format = if v0 { LegacyFormat::V0 } else { LegacyFormat::V1 };
        if let Ok(mut conversion) = DownConversion::start(&slice(&bytes, len), format, Offset::ZERO, whole) {
            all_pieces(&mut conversion);
        }
    }

    /// Records come back from either format as far as it can say them.
    #[test]
    fn random_records_survive(
        records in prop::collection::vec((0i64..1 << 40, prop::option::of("[a-z]{0,20}"), prop::option::of(".{0,50}")), 1..20),
        base in 0i64..1 << 40, codec in 0usize..4, v0: bool,
    ) {
        let mut builder = BatchBuilder::new().base_offset(Offset(base));
        for (timestamp, key, value) in &records {
            builder.push(Millis(*timestamp), key.as_deref().map(str::as_bytes), value.as_deref().map(str::as_bytes));
        }
        let bytes = builder.build_compressed(Compression::of(CODECS[codec])).unwrap();
        let format = if v0 { LegacyFormat::V0 } else { LegacyFormat::V1 };
        let expected: Vec<Told> = (base..).zip(&records).map(|(offset, (timestamp, key, value))| {
            let own = |field: &Option<String>| field.as_ref().map(|text| text.as_bytes().to_vec());
            (offset, if v0 { -1 } else { *timestamp }, own(key), own(value))
        }).collect();
        prop_assert_eq!(converted(&bytes, format, base), expected);
    }
}
