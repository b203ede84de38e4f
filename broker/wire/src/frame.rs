//! Cutting a stream of bytes into frames: a 4-byte size, then that many bytes.
//!
//! Small frames are cut out of one read buffer, several to a read. A large one is read to its end and not further, into a
//! buffer that holds it whole, so the frame after it starts a buffer of its own and no bytes are moved.
//!
//! Invariants: memory follows what has arrived, not what was announced: there is room for [`FIRST_STEP`] bytes, or for
//! a frame like this connection's last one, or for twice what has arrived. A frame is never larger than the limit,
//! which is checked as soon as its size is known. The memory of the last frame is kept for the next one; call
//! [`FrameBuffer::release`] on a connection that has fallen silent.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Room kept for small frames.
pub const READ_BUFFER: usize = 8 * 1024;

/// Less room than this is not worth a read, where small frames are expected.
const LEAST_ROOM: usize = 1024;

/// Room made at once for a frame that was announced and has not arrived.
pub const FIRST_STEP: usize = 128 * 1024;

/// Why the stream cannot be read on; the connection is to be closed.
///
/// Source: Kafka `NetworkReceive`, `InvalidReceiveException`.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The size is negative.
    #[error("invalid frame size {size}")]
    Negative {
        /// The size that was announced.
        size: i32,
    },
    /// An empty frame, which not even a header fits into.
    #[error("empty frame")]
    Empty,
    /// The size is above the limit (`socket.request.max.bytes`).
    #[error("frame size {size} is larger than {max}")]
    TooLarge {
        /// The size that was announced.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The peer closed the connection within a frame.
    #[error("connection closed within a frame, after {read} bytes of it")]
    Cut {
        /// Bytes of the frame that had arrived, the size included.
        read: usize,
    },
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What has arrived of a connection and was not handed out yet.
#[derive(Debug)]
pub struct FrameBuffer {
    buf: BytesMut,
    max_frame_len: usize,
    /// Length of the last frame with its size: the next one is expected to be alike.
    last_len: usize,
}

impl FrameBuffer {
    /// Empty; refuses frames of more than `max_frame_len` bytes (the size not counted).
    pub fn new(max_frame_len: usize) -> FrameBuffer {
        FrameBuffer {
            buf: BytesMut::new(),
            max_frame_len,
            last_len: 0,
        }
    }

    /// Reads until a whole frame is there and returns it, without its size; `None` when the peer has closed the
    /// connection between two frames.
    ///
    /// Cancel safe: what has arrived stays in the buffer.
    pub async fn read_frame<R: AsyncRead + Unpin>(&mut self, reader: &mut R) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame));
            }
            let wanted = self.make_room()?;
            if reader.read_buf(&mut (&mut self.buf).limit(wanted)).await? == 0 {
                return match self.buf.len() {
                    0 => Ok(None),
                    read => Err(FrameError::Cut { read }),
                };
            }
        }
    }

    /// A frame that has arrived already.
    pub fn take_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        match self.announced()? {
            Some(len) if self.buf.len() >= 4 + len => {
                self.last_len = 4 + len;
                self.buf.advance(4);
                Ok(Some(self.buf.split_to(len).freeze()))
            }
            _ => Ok(None),
        }
    }

    /// Bytes that arrived and were not handed out.
    pub fn buffered(&self) -> usize {
        self.buf.len()
    }

    /// Gives back memory that is kept for the next frame; does nothing in the middle of one.
    pub fn release(&mut self) {
        if self.buf.is_empty() {
            self.buf = BytesMut::new();
            self.last_len = 0;
        }
    }

    /// Size of the frame that comes next, once it is known.
    fn announced(&self) -> Result<Option<usize>, FrameError> {
        let Some(size) = self.buf.first_chunk::<4>() else {
            return Ok(None);
        };
        let size = i32::from_be_bytes(*size);
        let len = usize::try_from(size).map_err(|_| FrameError::Negative { size })?;
        if len == 0 {
            return Err(FrameError::Empty);
        }
        if len > self.max_frame_len {
            return Err(FrameError::TooLarge {
                size: len,
                max: self.max_frame_len,
            });
        }
        Ok(Some(len))
    }

    /// Sees to it that there is room, and says how much to read at most.
    fn make_room(&mut self) -> Result<usize, FrameError> {
        let have = self.buf.len();
        let whole = match self.announced()? {
            Some(len) => 4 + len,
            // Expect another frame like the last one.
            None => self.last_len,
        };
        if whole <= READ_BUFFER {
            // Take what comes, it may be many frames. `have` is less than `whole` (or than 4) here.
            let room = self.buf.capacity() - have;
            if room < LEAST_ROOM || self.buf.capacity() < whole {
                self.buf.reserve(READ_BUFFER - have);
            }
            return Ok(self.buf.capacity() - have);
        }
        let target = whole.min((2 * have).max(FIRST_STEP).max(self.last_len)).max(have + 1);
        if self.buf.capacity() < target {
            self.buf.reserve(target - have);
        }
        Ok(target - have)
    }
}

impl Default for FrameBuffer {
    /// With Kafka's default of `socket.request.max.bytes`, 100 MiB.
    fn default() -> FrameBuffer {
        FrameBuffer::new(100 << 20)
    }
}
