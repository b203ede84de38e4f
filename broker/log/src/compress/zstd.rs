//! Zstandard streams over contexts that are kept.
//!
//! Making a context costs more than reading or writing a small batch with it (10 µs against 2), so each thread keeps one
//! of either kind for the next batch, unless a large window has made it fat.

use std::cell::Cell;
use std::io::{self, Read, Write};

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use super::encode::Bounded;

/// The window that a frame may ask for, as a power of two: the library's own default, 128 MB.
///
/// Java producers at the highest levels use it; what a frame declares is only touched as far as content fills it.
const WINDOW_LOG_MAX: u32 = 27;

/// The largest context that is kept for the next batch.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// How much is compressed at a time.
const PIECE: usize = 32 * 1024;

thread_local! {
    static DECOMPRESSION: Cell<Option<DCtx<'static>>> = const { Cell::new(None) };
    static COMPRESSION: Cell<Option<CCtx<'static>>> = const { Cell::new(None) };
}

fn error(code: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, zstd_safe::get_error_name(code))
}

/// Reads the frames of `input`, one after the other.
pub(super) struct ZstdReader<'a> {
    /// There until it is dropped.
    context: Option<DCtx<'static>>,
    input: &'a [u8],
    position: usize,
    /// Whether a frame has begun and not ended.
    inside: bool,
}

impl<'a> ZstdReader<'a> {
    pub(super) fn new(input: &'a [u8]) -> io::Result<Self> {
        let context = match DECOMPRESSION.take() {
            Some(context) => context,
            None => {
                let mut context = DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
                context
                    .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
                    .map_err(error)?;
                context
            }
        };
        Ok(Self {
            context: Some(context),
            input,
            position: 0,
            inside: false,
        })
    }
}

impl Read for ZstdReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(context) = self.context.as_mut().filter(|_| !out.is_empty()) else {
            return Ok(0);
        };
        loop {
            let before = self.position;
            let mut input = InBuffer {
                src: self.input,
                pos: before,
            };
            let mut output = OutBuffer::around(&mut *out);
            if self.position < self.input.len() || self.inside {
                self.inside = context.decompress_stream(&mut output, &mut input).map_err(error)? != 0;
            }
            let written = output.pos();
            self.position = input.pos();
            if written > 0 {
                return Ok(written);
            }
            if self.position == self.input.len() && !self.inside {
                return Ok(0);
            }
            if self.position == before {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "zstd frame is cut short"));
            }
        }
    }
}

impl Drop for ZstdReader<'_> {
    fn drop(&mut self) {
        if let Some(mut context) = self.context.take()
            && context.sizeof() <= KEPT_BYTES_MAX
            && context.reset(ResetDirective::SessionOnly).is_ok()
        {
            // A thread that is ending has nowhere to keep it.
            let _ = DECOMPRESSION.try_with(|kept| kept.set(Some(context)));
        }
    }
}

/// Writes one frame.
pub(super) struct ZstdWriter {
    /// There until it is dropped.
    context: Option<CCtx<'static>>,
    sink: Bounded,
    piece: Vec<u8>,
}

impl ZstdWriter {
    pub(super) fn new(sink: Bounded, level: i32) -> io::Result<Self> {
        let mut context = match COMPRESSION.take() {
            Some(context) => context,
            None => CCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?,
        };
        context
            .set_parameter(CParameter::CompressionLevel(level))
            .map_err(error)?;
        Ok(Self {
            context: Some(context),
            sink,
            piece: Vec::with_capacity(PIECE),
        })
    }

    /// Hands `content` over, and on with `directive`. Returns whether there is nothing left to do.
    fn step(&mut self, content: &mut InBuffer<'_>, directive: ZSTD_EndDirective) -> io::Result<bool> {
        let context = self.context.as_mut().ok_or(io::ErrorKind::Other)?;
        self.piece.clear();
        let mut output = OutBuffer::around(&mut self.piece);
        let left = context
            .compress_stream2(&mut output, content, directive)
            .map_err(error)?;
        self.sink.write_all(&self.piece)?;
        Ok(left == 0)
    }

    pub(super) fn finish(mut self) -> io::Result<Bounded> {
        while !self.step(&mut InBuffer::around(&[]), ZSTD_EndDirective::ZSTD_e_end)? {}
        Ok(core::mem::take(&mut self.sink))
    }
}

impl Write for ZstdWriter {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let mut content = InBuffer::around(content);
        while content.pos() < content.src.len() {
            self.step(&mut content, ZSTD_EndDirective::ZSTD_e_continue)?;
        }
        Ok(content.pos())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for ZstdWriter {
    fn drop(&mut self) {
        if let Some(mut context) = self.context.take()
            && context.sizeof() <= KEPT_BYTES_MAX
            && context.reset(ResetDirective::SessionOnly).is_ok()
        {
            // A thread that is ending has nowhere to keep it.
            let _ = COMPRESSION.try_with(|kept| kept.set(Some(context)));
        }
    }
}
