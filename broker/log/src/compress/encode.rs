//! Compression, streaming and whole.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::lz4_v0;
use super::snappy::{BLOCK_SIZE, XERIAL_HEADER};
use super::zstd::ZstdWriter;
use super::{CompressError, Compression, CompressionType};

/// Compresses what is written into it, appending to a buffer of bounded size.
///
/// Call [`Encoder::finish`]: what is dropped before is cut short.
pub struct Encoder {
    codec: CompressionType,
    limit: usize,
    kind: Kind,
}

enum Kind {
    None(Bounded),
    Gzip(GzEncoder<Bounded>),
    Snappy(SnappyWriter),
    Lz4(Box<FrameEncoder<Bounded>>),
    Zstd(ZstdWriter),
}

impl Encoder {
    /// Appends to `out`, which may grow to `limit` bytes in all.
    ///
    /// # Errors
    /// What the codec refuses.
    pub fn new(compression: Compression, out: Vec<u8>, limit: usize) -> Result<Self, CompressError> {
        let codec = compression.kind();
        let mut sink = Bounded { out, limit };
        let refused = |source| error(codec, limit, source);
        let kind = match compression {
            Compression::None => Kind::None(sink),
            Compression::Gzip { level } => {
                let level = u32::try_from(level).map_or_else(
                    |_| flate2::Compression::default(),
                    |level| flate2::Compression::new(level.min(9)),
                );
                Kind::Gzip(GzEncoder::new(sink, level))
            }
            Compression::Snappy => {
                sink.write_all(&XERIAL_HEADER).map_err(refused)?;
                Kind::Snappy(SnappyWriter {
                    sink,
                    block: Vec::with_capacity(BLOCK_SIZE),
                    encoder: snap::raw::Encoder::new(),
                })
            }
            Compression::Lz4 { .. } => {
                let info = FrameInfo::new()
                    .block_mode(BlockMode::Independent)
                    .block_size(BlockSize::Max64KB);
                Kind::Lz4(Box::new(FrameEncoder::with_frame_info(info, sink)))
            }
            Compression::Zstd { level } => Kind::Zstd(ZstdWriter::new(sink, level).map_err(refused)?),
        };
        Ok(Self { codec, limit, kind })
    }

    /// Compresses `content`.
    ///
    /// # Errors
    /// When the bound is passed, or the codec refuses.
    pub fn write(&mut self, content: &[u8]) -> Result<(), CompressError> {
        match &mut self.kind {
            Kind::None(sink) => sink.write_all(content),
            Kind::Gzip(encoder) => encoder.write_all(content),
            Kind::Snappy(encoder) => encoder.write_all(content),
            Kind::Lz4(encoder) => encoder.write_all(content),
            Kind::Zstd(encoder) => encoder.write_all(content),
        }
        .map_err(|source| error(self.codec, self.limit, source))
    }

    /// Ends the stream and gives the buffer back.
    ///
    /// # Errors
    /// When the bound is passed, or the codec refuses.
    pub fn finish(self) -> Result<Vec<u8>, CompressError> {
        let Self { codec, limit, kind } = self;
        let sink = match kind {
            Kind::None(sink) => Ok(sink),
            Kind::Gzip(encoder) => encoder.finish(),
            Kind::Snappy(encoder) => encoder.finish(),
            Kind::Lz4(encoder) => encoder.finish().map_err(io::Error::other),
            Kind::Zstd(encoder) => encoder.finish(),
        };
        sink.map(|sink| sink.out).map_err(|source| error(codec, limit, source))
    }
}

/// Appends `content`, compressed, to `out`.
///
/// # Errors
/// What the codec refuses.
pub fn compress(compression: Compression, content: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
    let mut encoder = Encoder::new(compression, core::mem::take(out), usize::MAX)?;
    encoder.write(content)?;
    *out = encoder.finish()?;
    Ok(())
}

/// [`compress`] for what a message of format `magic` wraps: LZ4 frames in format 0 have a header checksum of their own.
pub(crate) fn compress_legacy(
    compression: Compression,
    magic: i8,
    content: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressError> {
    let start = out.len();
    compress(compression, content, out)?;
    if magic == 0 && compression.kind() == CompressionType::Lz4 {
        lz4_v0::spoil(&mut out[start..]);
    }
    Ok(())
}

/// A buffer that refuses to grow past a limit.
#[derive(Default)]
pub(super) struct Bounded {
    out: Vec<u8>,
    limit: usize,
}

/// Marks the refusal of [`Bounded`] among a codec's own errors.
const FULL: io::ErrorKind = io::ErrorKind::FileTooLarge;

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit.saturating_sub(self.out.len()) {
            return Err(FULL.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn error(codec: CompressionType, limit: usize, source: io::Error) -> CompressError {
    // Codecs wrap what their sink says, some in their own error type.
    let mut inner: Option<&(dyn std::error::Error + 'static)> = Some(&source);
    while let Some(cause) = inner {
        if cause
            .downcast_ref::<io::Error>()
            .is_some_and(|cause| cause.kind() == FULL)
        {
            return CompressError::TooLarge { limit };
        }
        inner = cause.source();
    }
    CompressError::Codec { codec, source }
}

/// Raw blocks in Java's framing.
struct SnappyWriter {
    sink: Bounded,
    block: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl SnappyWriter {
    fn write_block(&mut self) -> io::Result<()> {
        let compressed = self.encoder.compress_vec(&self.block)?;
        let length = u32::try_from(compressed.len()).map_err(io::Error::other)?;
        self.sink.write_all(&length.to_be_bytes())?;
        self.sink.write_all(&compressed)?;
        self.block.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<Bounded> {
        if !self.block.is_empty() {
            self.write_block()?;
        }
        Ok(self.sink)
    }
}

impl Write for SnappyWriter {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let length = content.len().min(BLOCK_SIZE - self.block.len());
        self.block.extend_from_slice(&content[..length]);
        if self.block.len() == BLOCK_SIZE {
            self.write_block()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
