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

    /// Refuses frames of more than `max_frame_len` bytes from now on.
    pub fn set_max_frame_len(&mut self, max_frame_len: usize) {
        self.max_frame_len = max_frame_len;
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use proptest::prelude::*;
    use tokio::io::ReadBuf;

    use super::*;

    /// A peer that sends `bytes`, at most `step` of them at a time, and closes.
    struct Peer {
        bytes: Vec<u8>,
        at: usize,
        step: usize,
        reads: usize,
        /// The most room that a read was given.
        widest: usize,
    }

    fn peer(bytes: Vec<u8>, step: usize) -> Peer {
        Peer {
            bytes,
            at: 0,
            step,
            reads: 0,
            widest: 0,
        }
    }

    impl AsyncRead for Peer {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let len = self.step.min(buf.remaining()).min(self.bytes.len() - self.at);
            let at = self.at;
            buf.put_slice(&self.bytes[at..at + len]);
            self.at += len;
            self.reads += 1;
            self.widest = self.widest.max(buf.remaining() + len);
            Poll::Ready(Ok(()))
        }
    }

    fn frame(len: usize, fill: u8) -> Vec<u8> {
        [&(len as u32).to_be_bytes()[..], &vec![fill; len]].concat()
    }

    async fn read_all(buffer: &mut FrameBuffer, peer: &mut Peer) -> (Vec<Bytes>, Option<FrameError>) {
        let mut frames = Vec::new();
        loop {
            match buffer.read_frame(peer).await {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return (frames, None),
                Err(error) => return (frames, Some(error)),
            }
        }
    }

    #[tokio::test]
    async fn streams_that_cannot_be_read_end_with_the_reason() {
        async fn check(name: &str, bytes: &[u8], whole: usize, reason: &str) {
            let (frames, error) = read_all(&mut FrameBuffer::new(100), &mut peer(bytes.to_vec(), 1000)).await;
            assert_eq!(frames.len(), whole, "{name}");
            assert_eq!(
                error.map_or("none".to_owned(), |error| error.to_string()),
                reason,
                "{name}"
            );
        }
        check("nothing", &[], 0, "none").await;
        check("one frame", &frame(3, 1), 1, "none").await;
        check("at the limit", &frame(100, 1), 1, "none").await;
        check(
            "above the limit",
            &frame(101, 1),
            0,
            "frame size 101 is larger than 100",
        )
        .await;
        check("negative size", &[0xff, 0xff, 0xff, 0xff], 0, "invalid frame size -1").await;
        check("size zero", &[0, 0, 0, 0, 0, 0], 0, "empty frame").await;
        check(
            "half a size",
            &[0, 0],
            0,
            "connection closed within a frame, after 2 bytes of it",
        )
        .await;
        check(
            "half a frame",
            &frame(9, 1)[..7],
            0,
            "connection closed within a frame, after 7 bytes of it",
        )
        .await;
        let after_one = [frame(2, 1), vec![0x80, 0, 0, 0]].concat();
        check("garbage after a frame", &after_one, 1, "invalid frame size -2147483648").await;
        check(
            "an HTTP request",
            b"GET / HTTP/1.1\r\n\r\n",
            0,
            "frame size 1195725856 is larger than 100",
        )
        .await;
    }

    #[tokio::test]
    async fn small_frames_come_many_to_a_read() {
        let mut peer = peer(frame(40, 1).repeat(100), usize::MAX);
        let (frames, error) = read_all(&mut FrameBuffer::default(), &mut peer).await;
        assert!(error.is_none() && frames.len() == 100);
        assert!(peer.reads <= 3, "{} reads", peer.reads);
    }

    #[tokio::test]
    async fn large_frames_alike_are_read_without_moving_bytes() {
        let len = 64 << 10;
        let mut peer = peer(frame(len, 1).repeat(20), usize::MAX);
        let mut buffer = FrameBuffer::default();
        // The first teaches the size; a buffer of the first guess is left behind.
        let mut frames = vec![buffer.read_frame(&mut peer).await.unwrap().unwrap()];
        let learnt = peer.reads;
        while let Some(frame) = buffer.read_frame(&mut peer).await.unwrap() {
            frames.push(frame);
        }
        assert_eq!(frames.len(), 20);
        // One read each, and one that meets the end.
        assert!(peer.reads - learnt <= 20, "{} reads", peer.reads - learnt);
    }

    #[tokio::test]
    async fn room_follows_what_arrived_not_what_was_announced() {
        let mut announced = (90u32 << 20).to_be_bytes().to_vec();
        announced.extend([7; 1000]);
        let mut buffer = FrameBuffer::default();
        let (_, error) = read_all(&mut buffer, &mut peer(announced, usize::MAX)).await;
        assert!(matches!(error, Some(FrameError::Cut { read: 1004 })));
        assert!(
            buffer.buf.capacity() <= FIRST_STEP,
            "{} bytes for 1004",
            buffer.buf.capacity()
        );

        let mut large = frame(3 << 20, 7);
        large.truncate(2 << 20);
        let mut buffer = FrameBuffer::default();
        let (_, error) = read_all(&mut buffer, &mut peer(large, usize::MAX)).await;
        assert!(matches!(error, Some(FrameError::Cut { read: 0x20_0000 })));
        assert!(
            buffer.buf.capacity() <= 5 << 20,
            "{} bytes for 2 MiB",
            buffer.buf.capacity()
        );
    }

    #[tokio::test]
    async fn a_silent_connection_can_give_its_memory_back() {
        let mut buffer = FrameBuffer::default();
        let mut peer = peer(frame(1 << 20, 1), usize::MAX);
        drop(buffer.read_frame(&mut peer).await.unwrap());
        buffer.release();
        assert_eq!((buffer.buf.capacity(), buffer.last_len), (0, 0));
        peer.bytes.extend(&frame(100, 2)[..50]);
        assert!(buffer.read_frame(&mut peer).await.is_err());
        buffer.release();
        assert_eq!(buffer.buffered(), 50);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_the_sizes_and_steps_the_frames_come_out_as_sent(
            lens in prop::collection::vec(prop_oneof![1..200usize, 4000..20_000usize, 100_000..400_000usize], 1..12),
            step in prop_oneof![1..2000usize, 1000..300_000usize],
            keep in any::<bool>(),
        ) {
            // Steps of a few bytes over hundreds of kilobytes take long and show nothing.
            let step = step.max(lens.iter().sum::<usize>() / 5000);
            let bytes: Vec<u8> = lens.iter().enumerate().flat_map(|(at, len)| frame(*len, at as u8)).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
            runtime.block_on(async {
                let (mut peer, mut buffer, mut kept) = (peer(bytes, step), FrameBuffer::default(), Vec::new());
                for (at, len) in lens.iter().enumerate() {
                    let frame = buffer.read_frame(&mut peer).await.expect("reads").expect("a frame");
                    assert_eq!(frame.len(), *len);
                    assert!(frame.iter().all(|byte| *byte == at as u8));
                    if keep {
                        kept.push(frame); // While frames live their memory may not be used again.
                    }
                }
                assert!(buffer.read_frame(&mut peer).await.expect("reads").is_none());
                for (at, frame) in kept.iter().enumerate() {
                    assert!(frame.iter().all(|byte| *byte == at as u8));
                }
            });
        }
    }
}
