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

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::FetchResponse;
    use kafka_protocol::messages::fetch_response::{
        AbortedTransaction, EpochEndOffset, FetchableTopicResponse, PartitionData,
    };
    use kafka_protocol::protocol::StrBytes;

    use super::*;
    use crate::codec::encode_response;

    const FETCH: i16 = 1;

    /// What stands in the file range with this index.
    fn file(index: usize, len: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 7 + index) as u8).collect()
    }

    /// An answer for some partitions: `lens` are the lengths of their records, 0 for none.
    fn response(version: i16, lens: &[usize], mut records: impl FnMut(usize) -> Option<Bytes>) -> FetchResponse {
        let topics = (0..2).map(|_| {
            let partitions = lens.iter().enumerate().map(|(at, len)| {
                let mut partition = PartitionData::default()
                    .with_partition_index(at as i32)
                    .with_high_watermark(10)
                    .with_records(if *len == 0 && at % 2 == 0 {
                        Some(Bytes::new())
                    } else {
                        records(*len)
                    });
                if version >= 4 {
                    let aborted = vec![AbortedTransaction::default(); at];
                    partition = partition.with_aborted_transactions(Some(aborted));
                }
                if version >= 12 && at == 1 {
                    // A tagged field comes after the records.
                    let diverging = EpochEndOffset::default().with_epoch(3).with_end_offset(4);
                    partition = partition.with_diverging_epoch(diverging);
                }
                partition
            });
            let topic = FetchableTopicResponse::default().with_partitions(partitions.collect());
            if version <= 12 {
                topic.with_topic(StrBytes::from_static_str("orders").into())
            } else {
                topic
            }
        });
        FetchResponse::default().with_responses(topics.collect())
    }

    #[test]
    fn with_the_files_in_place_it_is_the_plain_encoding_at_every_fetch_version() {
        for version in 0..=17 {
            for lens in [&[][..], &[0], &[1000], &[5, 0, 20_000, 0, 0, 1], &[90_000, 1, 3]] {
                let mut index = 0;
                let plain = response(version, lens, |len| {
                    (len > 0).then(|| {
                        index += 1;
                        file(index - 1, len).into()
                    })
                });
                let mut placeholders = Placeholders::new();
                let holed = response(version, lens, |len| placeholders.reserve(len));
                assert_eq!(placeholders.len(), 2 * lens.iter().filter(|len| **len > 0).count());

                let plain = encode_response(77, FETCH, version, &plain).unwrap();
                let parts = encode_with_files(77, FETCH, version, &holed, &placeholders).unwrap();
                let joined: Vec<u8> = parts
                    .iter()
                    .flat_map(|part| match part {
                        Part::Bytes(bytes) => bytes.to_vec(),
                        Part::File { index, len } => file(*index, *len),
                    })
                    .collect();
                assert!(joined == plain, "version {version} {lens:?}");
                let files: Vec<usize> = parts
                    .iter()
                    .filter_map(|part| {
                        if let Part::File { index, .. } = part {
                            Some(*index)
                        } else {
                            None
                        }
                    })
                    .collect();
                assert_eq!(
                    files,
                    (0..placeholders.len()).collect::<Vec<_>>(),
                    "version {version} {lens:?}"
                );
            }
        }
    }

    #[test]
    fn without_placeholders_it_is_one_part() {
        let response = response(17, &[10], |len| Some(file(0, len).into()));
        let parts = encode_with_files(5, FETCH, 17, &response, &Placeholders::new()).unwrap();
        assert_eq!(parts, [Part::Bytes(encode_response(5, FETCH, 17, &response).unwrap())]);
    }

    #[test]
    fn a_placeholder_takes_no_memory_however_long() {
        let mut placeholders = Placeholders::new();
        assert_eq!(placeholders.reserve(0), None);
        assert_eq!(placeholders.reserve(MAX_FILE_LEN + 1), None);
        assert!(placeholders.is_empty());
        let records = placeholders.reserve(MAX_FILE_LEN).unwrap();
        let response = response(17, &[1], |_| Some(records.slice(..MAX_FILE_LEN / 3)));
        // Cut by the caller it is still the same file, from its start.
        let parts = encode_with_files(5, FETCH, 17, &response, &placeholders).unwrap();
        assert!(parts.contains(&Part::File {
            index: 0,
            len: MAX_FILE_LEN / 3
        }));
    }

    #[test]
    fn what_does_not_fit_a_frame_is_refused() {
        let mut placeholders = Placeholders::new();
        let response = response(17, &[1], |_| placeholders.reserve(MAX_FILE_LEN));
        // Two topics of 1 GiB each pass the 31 bits of a frame's size by the bytes around them.
        let encoded = encode_with_files(5, FETCH, 17, &response, &placeholders);
        assert!(
            matches!(
                encoded,
                Err(EncodeError::TooLarge {
                    api: "Fetch",
                    version: 17,
                    ..
                })
            ),
            "{encoded:?}"
        );
    }
}
