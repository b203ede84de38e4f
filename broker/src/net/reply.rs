//! What a served request leaves to be sent.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use broker_log::convert::DownConversion;
use broker_wire::placeholder::Part;
use bytes::Bytes;

/// What to do with the connection after a request.
#[derive(Debug)]
pub enum Reply {
    /// Send this frame.
    Bytes(Bytes),
    /// Send this frame, of which some parts come from files.
    Parts {
        /// In order; a [`Part::File`] is an index into `files`.
        parts: Vec<Part>,
        /// What comes from files.
        files: Vec<FromFile>,
    },
    /// Send nothing (acks=0).
    Nothing,
    /// Close the connection; the reason is logged.
    Close(String),
    /// Do this at once, and then read nothing from the connection for so long: its client is over a quota (KIP-219).
    Throttled(Box<Reply>, Duration),
}

impl Reply {
    /// The same, with a pause of the connection after it; the longer one, if it has one already.
    pub fn then_pause(self, pause: Duration) -> Self {
        match self {
            reply if pause.is_zero() => reply,
            Self::Throttled(reply, already) => Self::Throttled(reply, already.max(pause)),
            reply => Self::Throttled(Box::new(reply), pause),
        }
    }
}

/// A part of a reply that is not in memory.
#[derive(Debug)]
pub enum FromFile {
    /// A range, as it is.
    Range(FilePart),
    /// A range for a consumer that knows only older message formats: it is converted piece by piece, as it is sent.
    Converted(DownConversion),
}

impl FromFile {
    /// All of it, read into memory; blocks if it is not in the page cache.
    ///
    /// # Errors
    /// The disk's, or the file is shorter.
    pub fn read_now(self) -> io::Result<Bytes> {
        match self {
            Self::Range(range) => range.read_now(),
            Self::Converted(mut conversion) => {
                let mut records = Vec::with_capacity(conversion.len());
                while let Some(piece) = conversion.piece()? {
                    records.extend_from_slice(&piece);
                }
                Ok(records.into())
            }
        }
    }
}

/// A range of a file to be sent.
#[derive(Clone, Debug)]
pub struct FilePart {
    /// The file; its own cursor is not used.
    pub file: Arc<File>,
    /// Where the range starts.
    pub position: u64,
    /// Its length.
    pub len: usize,
}

impl FilePart {
    /// Reads the range into memory; blocks if it is not in the page cache.
    ///
    /// # Errors
    /// The disk's, or the file is shorter.
    pub fn read_now(&self) -> io::Result<Bytes> {
        let mut buffer = vec![0u8; self.len];
        self.file.read_exact_at(&mut buffer, self.position)?;
        Ok(buffer.into())
    }
}
