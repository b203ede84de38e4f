//! The four codecs that records may be compressed with.
//!
//! Streams: [`Decoder`] yields content piece by piece, so that a batch can be checked in constant memory however far it
//! expands; [`decompress`] and [`compress`] work on whole buffers which the caller reuses. Every decompression has an
//! explicit limit, and no declared size is believed: a bomb ends in [`DecompressError::TooLarge`].
//!
//! Source: Kafka 3.9 `CompressionType`, `GzipCompression`, `SnappyCompression`, `Lz4Compression`, `ZstdCompression`.

mod decode;
mod encode;
mod lz4_v0;
mod snappy;
#[cfg(test)]
mod tests;
mod zstd;

pub(crate) use decode::decompress_legacy;
pub use decode::{Decoder, decompress};
pub(crate) use encode::compress_legacy;
pub use encode::{Encoder, compress};

/// How records are compressed. The discriminant is the one in a batch's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum CompressionType {
    /// Not at all.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Blocks of snappy in the framing of Java's `SnappyOutputStream`; read also without the framing.
    Snappy = 2,
    /// The LZ4 frame format, with independent blocks.
    Lz4 = 3,
    /// Zstandard frames. Since Kafka 2.1 (KIP-110).
    Zstd = 4,
}

impl CompressionType {
    /// The codec with this number; `None` for 5, 6, 7, which are not defined.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Its number in a batch's attributes.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// Its name in configurations and tools.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// A codec to compress with, and its level where it has levels.
///
/// Levels as in `compression.gzip.level` (−1 for the library's default, else 1 to 9), `compression.lz4.level` (1 to 17),
/// `compression.zstd.level` (−131072 to 22). The LZ4 compressor here has one speed, so its level is accepted and has no
/// effect: any LZ4 decoder reads the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not compressed.
    #[default]
    None,
    /// `compression.type=gzip`.
    Gzip {
        /// −1 or 1 to 9.
        level: i32,
    },
    /// `compression.type=snappy`.
    Snappy,
    /// `compression.type=lz4`.
    Lz4 {
        /// 1 to 17.
        level: i32,
    },
    /// `compression.type=zstd`.
    Zstd {
        /// −131072 to 22.
        level: i32,
    },
}

impl Compression {
    /// Kafka's default of `compression.gzip.level`.
    pub const GZIP_DEFAULT_LEVEL: i32 = -1;
    /// Kafka's default of `compression.lz4.level`.
    pub const LZ4_DEFAULT_LEVEL: i32 = 9;
    /// Kafka's default of `compression.zstd.level`.
    pub const ZSTD_DEFAULT_LEVEL: i32 = 3;

    /// The codec at its default level.
    pub const fn of(kind: CompressionType) -> Self {
        match kind {
            CompressionType::None => Self::None,
            CompressionType::Gzip => Self::Gzip {
                level: Self::GZIP_DEFAULT_LEVEL,
            },
            CompressionType::Snappy => Self::Snappy,
            CompressionType::Lz4 => Self::Lz4 {
                level: Self::LZ4_DEFAULT_LEVEL,
            },
            CompressionType::Zstd => Self::Zstd {
                level: Self::ZSTD_DEFAULT_LEVEL,
            },
        }
    }

    /// The codec.
    pub const fn kind(self) -> CompressionType {
        match self {
            Self::None => CompressionType::None,
            Self::Gzip { .. } => CompressionType::Gzip,
            Self::Snappy => CompressionType::Snappy,
            Self::Lz4 { .. } => CompressionType::Lz4,
            Self::Zstd { .. } => CompressionType::Zstd,
        }
    }
}

/// Why content could not be compressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    /// The outcome would be larger than the caller's bound.
    #[error("the compressed content is larger than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// The codec refused, such as a level that it does not have.
    #[error("{} compression failed: {source}", codec.name())]
    Codec {
        /// Which codec.
        codec: CompressionType,
        /// What it said.
        source: std::io::Error,
    },
}

/// Why content could not be decompressed. Kafka answers UNKNOWN_SERVER_ERROR (−1) for broken streams.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// Codec bits 5, 6 or 7.
    #[error("Unknown compression type id: {0}")]
    UnknownCodec(u8),
    /// The content is larger than the caller's bound: a bomb, or a bound that is too small.
    #[error("the decompressed content is larger than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// The stream is not what it claims to be, or ends early.
    #[error("{} stream is broken: {source}", codec.name())]
    Broken {
        /// Which codec.
        codec: CompressionType,
        /// What it said.
        source: std::io::Error,
    },
}
