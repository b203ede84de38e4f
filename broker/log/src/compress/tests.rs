//! The codecs: round trips, foreign forms, bombs and damage.

use std::io::Read;

use proptest::prelude::*;

use super::*;

const CODECS: [CompressionType; 4] = [
    CompressionType::Gzip,
    CompressionType::Snappy,
    CompressionType::Lz4,
    CompressionType::Zstd,
];

fn compressed(codec: CompressionType, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress(Compression::of(codec), content, &mut out).unwrap();
    out
}

fn decompressed(codec: CompressionType, input: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    decompress(codec, input, limit, &mut out).map(|()| out)
}

#[test]
fn numbers_and_names_are_kafkas() {
    let check = |id: u8, expected: Option<(CompressionType, &str)>| {
        let found = CompressionType::from_id(id);
        assert_eq!(found.map(|codec| (codec, codec.name())), expected);
        assert_eq!(found.map(CompressionType::id), expected.map(|_| id));
    };
    check(0, Some((CompressionType::None, "none")));
    check(1, Some((CompressionType::Gzip, "gzip")));
    check(2, Some((CompressionType::Snappy, "snappy")));
    check(3, Some((CompressionType::Lz4, "lz4")));
    check(4, Some((CompressionType::Zstd, "zstd")));
    check(5, None);
    check(7, None);
}

#[test]
fn every_level_that_kafka_allows_works() {
    let content = b"level ".repeat(5000);
    let levels = [
        (CompressionType::Gzip, vec![-1, 1, 6, 9]),
        (CompressionType::Lz4, vec![1, 9, 17]),
        (CompressionType::Zstd, vec![-131_072, -1, 0, 1, 3, 22]),
    ];
    for (codec, levels) in levels {
        for level in levels {
            let compression = match codec {
                CompressionType::Gzip => Compression::Gzip { level },
                CompressionType::Lz4 => Compression::Lz4 { level },
                _ => Compression::Zstd { level },
            };
            let mut out = Vec::new();
            compress(compression, &content, &mut out).unwrap();
            assert_eq!(
                decompressed(codec, &out, content.len()).unwrap(),
                content,
                "{compression:?}"
            );
        }
    }
}

#[test]
fn snappy_is_written_in_javas_framing_and_read_with_and_without() {
    let content = b"snappy ".repeat(20_000);
    let framed = compressed(CompressionType::Snappy, &content);
    assert!(framed.starts_with(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"));
    assert_eq!(
        decompressed(CompressionType::Snappy, &framed, content.len()).unwrap(),
        content
    );

    let raw = snap::raw::Encoder::new().compress_vec(&content).unwrap();
    assert_eq!(
        decompressed(CompressionType::Snappy, &raw, content.len()).unwrap(),
        content
    );

    let twice = [framed.clone(), framed].concat();
    let both = [content.clone(), content].concat();
    assert_eq!(decompressed(CompressionType::Snappy, &twice, both.len()).unwrap(), both);
}

#[test]
fn gzip_of_several_members_is_read_whole() {
    let twice = [
        compressed(CompressionType::Gzip, b"one"),
        compressed(CompressionType::Gzip, b"two"),
    ]
    .concat();
    assert_eq!(decompressed(CompressionType::Gzip, &twice, 6).unwrap(), b"onetwo");
}

#[test]
fn lz4_frames_that_kafkas_consumers_cannot_read_are_refused() {
    let mut frame = compressed(CompressionType::Lz4, b"content");
    assert_eq!(frame[4] & 0x20, 0x20, "blocks are independent");
    frame[4] &= !0x20;
    let error = decompressed(CompressionType::Lz4, &frame, 100).unwrap_err();
    assert!(matches!(error, DecompressError::Broken { .. }), "{error}");
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let content = vec![0; 64 << 20];
    for codec in CODECS {
        let bomb = compressed(codec, &content);
        assert!(bomb.len() < content.len() / 15, "{codec:?} is a bomb");
        let mut out = Vec::new();
        let error = decompress(codec, &bomb, 1 << 20, &mut out).unwrap_err();
        assert!(
            matches!(error, DecompressError::TooLarge { limit: 0x10_0000 }),
            "{codec:?}: {error}"
        );
        assert!(out.capacity() <= 4 << 20, "{codec:?} took {} bytes", out.capacity());
    }
}

#[test]
fn a_declared_size_is_not_believed() {
    // A raw block that declares 4 GB, and the same in Java's framing.
    let raw = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    assert!(decompressed(CompressionType::Snappy, &raw, 1 << 20).is_err());
    let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    framed.extend([0, 0, 0, 7]);
    framed.extend(raw);
    assert!(decompressed(CompressionType::Snappy, &framed, 1 << 20).is_err());
    framed[16..20].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(decompressed(CompressionType::Snappy, &framed, 1 << 20).is_err());
}

#[test]
fn what_is_cut_short_is_broken() {
    let content: Vec<u8> = (0..10_000u32).flat_map(|i| (i * i).to_be_bytes()).collect();
    for codec in CODECS {
        let whole = compressed(codec, &content);
        for cut in [1, 5, whole.len() / 2, whole.len() - 20] {
            let error = decompressed(codec, &whole[..cut], 1 << 20);
            assert!(
                matches!(error, Err(DecompressError::Broken { .. })),
                "{codec:?} cut at {cut}: {error:?}"
            );
        }
    }
}

#[test]
fn a_full_buffer_says_so() {
    let noise: Vec<u8> = (0..100_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for codec in [CompressionType::None].into_iter().chain(CODECS) {
        let outcome = Encoder::new(Compression::of(codec), Vec::new(), 1000).and_then(|mut encoder| {
            encoder.write(&noise)?;
            encoder.finish()
        });
        assert!(
            matches!(outcome, Err(CompressError::TooLarge { limit: 1000 })),
            "{codec:?}: {outcome:?}"
        );
    }
}

#[test]
fn a_context_that_has_failed_serves_the_next_stream() {
    let content = b"zstd ".repeat(10_000);
    let whole = compressed(CompressionType::Zstd, &content);
    for cut in [3, 6, whole.len() / 2] {
        assert!(
            decompressed(CompressionType::Zstd, &whole[..cut], 1 << 20).is_err(),
            "{cut}"
        );
        assert!(decompressed(CompressionType::Zstd, b"no frame at all", 1 << 20).is_err());
        assert_eq!(decompressed(CompressionType::Zstd, &whole, 1 << 20).unwrap(), content);
        let mut small = Encoder::new(Compression::Zstd { level: 19 }, Vec::new(), 3).unwrap();
        let outcome = small.write(&content).and_then(|()| small.finish());
        assert!(matches!(outcome, Err(CompressError::TooLarge { .. })));
        assert_eq!(
            compressed(CompressionType::Zstd, &content),
            whole,
            "nothing of the failed one is left"
        );
    }
    let twice = [whole.clone(), whole].concat();
    assert_eq!(
        decompressed(CompressionType::Zstd, &twice, 1 << 20).unwrap(),
        content.repeat(2)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn content_comes_back(
        codec in prop::sample::select(CODECS.to_vec()),
        piece in prop::collection::vec(any::<u8>(), 0..300),
        times in 0usize..400,
    ) {
        let content = piece.repeat(times);
        let input = compressed(codec, &content);
        prop_assert_eq!(decompressed(codec, &input, content.len()).unwrap(), content);
    }

    #[test]
    fn damage_is_an_error_or_other_content(
        codec in prop::sample::select(CODECS.to_vec()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut input = compressed(codec, &b"some content, some more content ".repeat(50));
        for (at, value) in damage {
            let at = at.index(input.len());
            input[at] = value;
        }
        let mut out = Vec::new();
        let _ = decompress(codec, &input, 1 << 16, &mut out);
        prop_assert!(out.capacity() <= 1 << 19);
        if let Ok(mut decoder) = Decoder::new(codec, &input) {
            let mut total = 0;
            let mut piece = [0; 777];
            while let Ok(read @ 1..) = decoder.read(&mut piece) {
                total += read;
                if total > 1 << 20 {
                    break;
                }
            }
        }
    }

    #[test]
    fn noise_is_no_stream(codec in prop::sample::select(CODECS.to_vec()), noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut out = Vec::new();
        let _ = decompress(codec, &noise, 1 << 16, &mut out);
        prop_assert!(out.capacity() <= 1 << 19);
    }
}
