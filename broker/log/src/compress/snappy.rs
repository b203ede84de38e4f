//! Snappy as Java's `SnappyOutputStream` frames it, and raw.
//!
//! Java producers write a 16-byte header (`\x82SNAPPY\0`, version 1, compatible version 1) and then blocks, each a
//! big-endian length and that much raw snappy. Clients on librdkafka, and the kafka-protocol crate, write one raw block
//! without any framing. Both are read, and told apart by the first eight bytes, as `SnappyInputStream` does.

use std::io::{self, Read};

/// `\x82SNAPPY\0`, version, compatible version.
pub(super) const XERIAL_HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

/// Content of one block that is written. Java's default.
pub(super) const BLOCK_SIZE: usize = 32 * 1024;

/// No snappy expands further than this: its densest element makes 64 bytes of 3. Larger claims are lies.
const RATIO_MAX: usize = 64;

/// Reads either form.
pub(super) struct SnappyReader<'a> {
    input: &'a [u8],
    framed: bool,
    block: Vec<u8>,
    position: usize,
}

impl<'a> SnappyReader<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        let framed = input.starts_with(&XERIAL_HEADER[..8]);
        let header = if framed { XERIAL_HEADER.len() } else { 0 };
        Self {
            input: input.get(header..).unwrap_or_default(),
            framed,
            block: Vec::new(),
            position: 0,
        }
    }

    /// The next raw block; `None` at the end.
    fn next_block(&mut self) -> io::Result<Option<&'a [u8]>> {
        if self.input.is_empty() {
            return Ok(None);
        }
        if !self.framed {
            return Ok(Some(core::mem::take(&mut self.input)));
        }
        // Concatenated streams repeat the header; `SnappyInputStream` skips it.
        if let Some(rest) = self.input.strip_prefix(&XERIAL_HEADER[..8]) {
            self.input = rest.get(8..).unwrap_or_default();
            return self.next_block_after_header();
        }
        self.next_block_after_header()
    }

    fn next_block_after_header(&mut self) -> io::Result<Option<&'a [u8]>> {
        if self.input.is_empty() {
            return Ok(None);
        }
        let (length, rest) = self.input.split_first_chunk().ok_or_else(cut)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| cut())?;
        let (block, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        self.input = rest;
        Ok(Some(block))
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "snappy block is cut short")
}

impl Read for SnappyReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.position == self.block.len() {
            let Some(block) = self.next_block()? else {
                return Ok(0);
            };
            let length = snap::raw::decompress_len(block)?;
            if length > block.len().saturating_mul(RATIO_MAX) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "snappy block declares too much content",
                ));
            }
            self.block.resize(length, 0);
            self.position = 0;
            snap::raw::Decoder::new().decompress(block, &mut self.block)?;
        }
        let rest = &self.block[self.position..];
        let length = rest.len().min(out.len());
        out[..length].copy_from_slice(&rest[..length]);
        self.position += length;
        Ok(length)
    }
}
