//! LZ4 frames as message format 0 has them: with a header checksum that no other LZ4 would accept.
//!
//! Kafka's first LZ4 frames summed up the magic number too where the frame format sums up the descriptor alone, and
//! kept doing so inside format 0 for the sake of the clients that checked it. Such frames are written here with the old
//! sum, and read with either, as Kafka does.
//!
//! Source: Kafka 3.9 `Lz4BlockInputStream.readHeader`, `Lz4BlockOutputStream.writeHeader`; KIP-57.

use std::io::{self, Read};

use xxhash_rust::xxh32::xxh32;

/// Magic number, flags, block descriptor.
const FIXED: usize = 6;
/// Set in the flags where the content's size follows the block descriptor.
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_SIZE_LEN: usize = 8;
const HEADER_MAX: usize = FIXED + CONTENT_SIZE_LEN + 1;

/// A frame with the header checksum put right.
pub(super) struct Repaired<'a> {
    header: [u8; HEADER_MAX],
    length: usize,
    position: usize,
    rest: &'a [u8],
}

impl<'a> Repaired<'a> {
    /// The frame in `input`, whatever its header checksum says.
    pub(super) fn new(input: &'a [u8]) -> io::Result<Self> {
        let flags = input.get(4).copied().unwrap_or_default();
        let sized = if flags & CONTENT_SIZE == 0 { 0 } else { CONTENT_SIZE_LEN };
        let length = FIXED + sized + 1;
        let (own, rest) = input
            .split_at_checked(length)
            .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "lz4 header is cut short"))?;
        let mut header = [0; HEADER_MAX];
        header[..length].copy_from_slice(own);
        header[length - 1] = checksum(&header[4..length - 1]);
        Ok(Self {
            header,
            length,
            position: 0,
            rest,
        })
    }
}

impl Read for Repaired<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.position == self.length {
            return self.rest.read(out);
        }
        let read = (&self.header[self.position..self.length]).read(out)?;
        self.position += read;
        Ok(read)
    }
}

/// Gives the frame that `frame` holds the header checksum of old.
pub(super) fn spoil(frame: &mut [u8]) {
    if let [summed @ .., _] = frame.get(..FIXED + 1).unwrap_or_default() {
        let old = checksum(summed);
        frame[FIXED] = old;
    }
}

fn checksum(bytes: &[u8]) -> u8 {
    (xxh32(bytes, 0) >> 8) as u8
}
