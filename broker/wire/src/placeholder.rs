//! Responses whose records are ranges of files: everything around the records is encoded, the records are not copied.
//!
//! The crate's encoder wants the records as `Bytes`. It gets *placeholders*: slices of a reserved stretch of address
//! space that nobody ever reads, as long as the file range they stand for. The buffer it writes to recognises them by their
//! address, notes where they belong, and copies nothing. So the framing stays the crate's own, at every version,
//! and a 1 MiB answer costs its header.
//!
//! Knows nothing of files: a [`Part::File`] is an index into whatever the caller keeps.

use std::sync::LazyLock;

use bytes::buf::UninitSlice;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::Encodable;
use kafka_protocol::protocol::buf::ByteBufMut;
use memmap2::{Mmap, MmapOptions};

use crate::apis;
use crate::codec::{EncodeError, unrepresentable};
use crate::header;

/// The longest file range that one placeholder may stand for.
pub const MAX_FILE_LEN: usize = 1 << 30;

/// The most placeholders in one response.
pub const MAX_FILES: usize = 1 << 20;

/// A piece of an encoded response, in the order of the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// These bytes.
    Bytes(Bytes),
    /// `len` bytes of the file range that got this index from [`Placeholders::reserve`].
    File {
        /// Counted from zero, in the order of `reserve`.
        index: usize,
        /// As given to `reserve`.
        len: usize,
    },
}

/// The placeholders of one response.
#[derive(Debug, Default)]
pub struct Placeholders {
    lens: Vec<usize>,
    total_len: usize,
}

impl Placeholders {
    /// None yet.
    pub fn new() -> Placeholders {
        Placeholders::default()
    }

    /// A stand-in for `len` bytes of a file, to be put where the response has its records. Do not look into it.
    ///
    /// The n-th call gives index n, from 0. `None` where `len` is 0 or more than [`MAX_FILE_LEN`], after
    /// [`MAX_FILES`] calls, or if the system refused the address space: put real bytes into the response then.
    pub fn reserve(&mut self, len: usize) -> Option<Bytes> {
        let region = REGION.as_ref()?;
        let index = self.lens.len();
        if len == 0 || len > MAX_FILE_LEN || index >= MAX_FILES {
            return None;
        }
        self.lens.push(len);
        self.total_len += len;
        Some(Bytes::from_static(&region[index..index + len]))
    }

    /// How many were given out.
    pub fn len(&self) -> usize {
        self.lens.len()
    }

    /// Whether none was given out.
    pub fn is_empty(&self) -> bool {
        self.lens.is_empty()
    }

    /// Bytes of files altogether.
    pub fn total_len(&self) -> usize {
        self.total_len
    }
}

/// Address space for the placeholders, mapped once and never touched: it costs no memory.
static REGION: LazyLock<Option<&'static [u8]>> = LazyLock::new(|| {
    match MmapOptions::new()
        .len(MAX_FILE_LEN + MAX_FILES)
        .no_reserve_swap()
        .map_anon()
        .and_then(|map| map.make_read_only())
    {
        Ok(map) => {
            let map: &'static Mmap = Box::leak(Box::new(map));
            Some(map)
        }
        Err(error) => {
            tracing::warn!(%error, "no address space for placeholders, records will be copied into responses");
            None
        }
    }
});

/// Encodes a response like [`crate::codec::encode_response`], with holes where `placeholders` stand.
///
/// Returns the frame with its size prefix, in order; the prefix counts the files too. Joined together, with the
/// files' bytes in place, it is what the plain encoder would have written.
pub fn encode_with_files<T: Encodable>(
    correlation_id: i32,
    api_key: i16,
    version: i16,
    response: &T,
    placeholders: &Placeholders,
) -> Result<Vec<Part>, EncodeError> {
    let api = apis::api(api_key).ok_or(EncodeError::UnknownApi(api_key))?;
    let header_version = api.response_header_version(version);
    let body_len = response
        .compute_size(version)
        .map_err(|e| unrepresentable(api, version, e))?;
    let frame_len = header::response_header_len(header_version) + body_len;
    let size = i32::try_from(frame_len).map_err(|_| EncodeError::TooLarge {
        api: api.name,
        version,
        bytes: frame_len,
    })?;
    let mut recorder = Recorder {
        written: BytesMut::with_capacity((4 + frame_len).saturating_sub(placeholders.total_len)),
        holes: Vec::with_capacity(placeholders.len()),
    };
    recorder.put_i32(size);
    header::put_response_header(&mut recorder, header_version, correlation_id);
    response
        .encode(&mut recorder, version)
        .map_err(|e| unrepresentable(api, version, e))?;
    let Recorder { written, holes } = recorder;
    let files_len: usize = holes.iter().map(|hole| hole.len).sum();
    assert_eq!(
        written.len() + files_len,
        4 + frame_len,
        "computed size differs from encoded size"
    );

    let mut written = written.freeze();
    let mut parts = Vec::with_capacity(2 * holes.len() + 1);
    let mut taken = 0;
    for Hole { at, index, len } in holes {
        if at > taken {
            parts.push(Part::Bytes(written.split_to(at - taken)));
            taken = at;
        }
        parts.push(Part::File { index, len });
    }
    if !written.is_empty() {
        parts.push(Part::Bytes(written));
    }
    Ok(parts)
}

/// Where a placeholder was put: before byte `at` of what was written.
struct Hole {
    at: usize,
    index: usize,
    len: usize,
}

/// A buffer that copies everything but placeholders.
struct Recorder {
    written: BytesMut,
    holes: Vec<Hole>,
}

/// The index of a placeholder: its distance from the start of the region.
fn placeholder_index(slice: &[u8]) -> Option<usize> {
    let region = (*REGION)?.as_ptr_range();
    let at = slice.as_ptr();
    // An empty slice may point anywhere and stands for nothing.
    (region.contains(&at) && !slice.is_empty()).then(|| at.addr() - region.start.addr())
}

// `BufMut` is an unsafe trait because its chunks may be uninitialised memory. Every method that deals with them is `BytesMut`'s own,
// so its promises hold as they are; there is no safe way to lend the crate's encoder another kind of buffer.
#[allow(unsafe_code)]
// SAFETY: `remaining_mut`, `advance_mut` and `chunk_mut` are those of `written`, unchanged.
unsafe impl BufMut for Recorder {
    fn remaining_mut(&self) -> usize {
        self.written.remaining_mut()
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.written.advance_mut(count) }
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        self.written.chunk_mut()
    }

    fn put_slice(&mut self, slice: &[u8]) {
        match placeholder_index(slice) {
            Some(index) => self.holes.push(Hole {
                at: self.written.len(),
                index,
                len: slice.len(),
            }),
            None => self.written.put_slice(slice),
        }
    }
}

/// Positions count written bytes only. The encoder seeks only to fill gaps inside sized record data, which is not encoded here.
impl ByteBufMut for Recorder {
    fn offset(&self) -> usize {
        self.written.offset()
    }

    fn seek(&mut self, offset: usize) {
        self.written.seek(offset)
    }

    fn range(&mut self, range: std::ops::Range<usize>) -> &mut [u8] {
        self.written.range(range)
    }
}
