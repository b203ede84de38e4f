//! Decompression, streaming and whole.

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;

use super::lz4_v0::Repaired;
use super::snappy::SnappyReader;
use super::zstd::ZstdReader;
use super::{CompressionType, DecompressError};

/// Content of a compressed batch, piece by piece.
pub struct Decoder<'a>(Kind<'a>);

enum Kind<'a> {
    None(&'a [u8]),
    Gzip(Box<MultiGzDecoder<&'a [u8]>>),
    Snappy(SnappyReader<'a>),
    Lz4(Box<FrameDecoder<&'a [u8]>>),
    Lz4V0(Box<FrameDecoder<Repaired<'a>>>),
    Zstd(ZstdReader<'a>),
}

impl<'a> Decoder<'a> {
    /// Reads `input` with `codec`.
    ///
    /// # Errors
    /// A start that already tells that the stream cannot be read.
    pub fn new(codec: CompressionType, input: &'a [u8]) -> Result<Self, DecompressError> {
        let broken = |source| DecompressError::Broken { codec, source };
        Ok(Self(match codec {
            CompressionType::None => Kind::None(input),
            CompressionType::Gzip => Kind::Gzip(Box::new(MultiGzDecoder::new(input))),
            CompressionType::Snappy => Kind::Snappy(SnappyReader::new(input)),
            CompressionType::Lz4 => {
                check_lz4_frame(input).map_err(broken)?;
                Kind::Lz4(Box::new(FrameDecoder::new(input)))
            }
            CompressionType::Zstd => Kind::Zstd(ZstdReader::new(input).map_err(broken)?),
        }))
    }

    /// Reads what a message of format `magic` wraps: LZ4 frames in format 0 have a header checksum of their own.
    fn legacy(codec: CompressionType, magic: i8, input: &'a [u8]) -> Result<Self, DecompressError> {
        if codec != CompressionType::Lz4 || magic > 0 {
            return Self::new(codec, input);
        }
        let broken = |source| DecompressError::Broken { codec, source };
        check_lz4_frame(input).map_err(broken)?;
        let repaired = Repaired::new(input).map_err(broken)?;
        Ok(Self(Kind::Lz4V0(Box::new(FrameDecoder::new(repaired)))))
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::None(input) => input.read(out),
            Kind::Gzip(decoder) => decoder.read(out),
            Kind::Snappy(decoder) => decoder.read(out),
            Kind::Lz4(decoder) => decoder.read(out),
            Kind::Lz4V0(decoder) => decoder.read(out),
            Kind::Zstd(decoder) => decoder.read(out),
        }
    }
}

/// Refuses LZ4 frames whose blocks depend on each other: Kafka's consumers cannot read them.
///
/// Source: Kafka 3.9 `Lz4BlockInputStream.FLG.validate`.
fn check_lz4_frame(input: &[u8]) -> io::Result<()> {
    const MAGIC: [u8; 4] = 0x184D_2204u32.to_le_bytes();
    const INDEPENDENT: u8 = 0x20;
    match input {
        [a, b, c, d, flags, ..] if [*a, *b, *c, *d] == MAGIC => {
            if flags & INDEPENDENT == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "dependent block stream is unsupported",
                ));
            }
            Ok(())
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not an lz4 frame")),
    }
}

/// Appends the content of `input` to `out`, at most `limit` bytes of it.
///
/// `out` grows with what has been decompressed, never with what a header declares.
///
/// # Errors
/// A broken stream, or more content than `limit`; `out` then holds the part that was read.
pub fn decompress(
    codec: CompressionType,
    input: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    read_all(codec, Decoder::new(codec, input)?, limit, out)
}

/// [`decompress`] for what a message of format `magic` wraps.
pub(crate) fn decompress_legacy(
    codec: CompressionType,
    magic: i8,
    input: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    read_all(codec, Decoder::legacy(codec, magic, input)?, limit, out)
}

fn read_all(
    codec: CompressionType,
    decoder: Decoder<'_>,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    let before = out.len();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder
        .take(bound)
        .read_to_end(out)
        .map_err(|source| DecompressError::Broken { codec, source })?;
    if out.len() - before > limit {
        return Err(DecompressError::TooLarge { limit });
    }
    Ok(())
}
