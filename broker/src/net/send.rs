//! Writing replies: small ones gathered into one write, ranges of files by `sendfile`.
//!
//! A range that is not in the page cache would block the runtime's thread on the disk: its first and last page are
//! probed with `RWF_NOWAIT`, and a cold piece is read in by the blocking pool before it is sent.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsFd;
use std::sync::Arc;

use broker_log::convert::DownConversion;
use broker_wire::placeholder::Part;
use bytes::{Buf, Bytes};
use rustix::io::ReadWriteFlags;
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::reply::{FilePart, FromFile};
use crate::blocking;

/// Ranges up to this size are read into memory and leave in the same write as what is round them.
const INLINE_FILE: usize = 32 * 1024;

/// At most so much of a file is handed to one `sendfile`, and read in at once when it is cold.
const FILE_CHUNK: usize = 1024 * 1024;

/// At most so many pieces go into one vectored write.
pub(super) const MAX_SLICES: usize = 64;

/// Writes these frames, in order.
pub(super) async fn write_all(stream: &TcpStream, frames: &mut Vec<Bytes>) -> io::Result<()> {
    let mut done = 0;
    while done < frames.len() {
        let written = {
            let left = &frames[done..];
            if let [only] = left {
                stream
                    .async_io(Interest::WRITABLE, || {
                        rustix::io::write(stream, only).map_err(io::Error::from)
                    })
                    .await?
            } else {
                let slices: Vec<IoSlice<'_>> = left.iter().take(MAX_SLICES).map(|frame| IoSlice::new(frame)).collect();
                stream
                    .async_io(Interest::WRITABLE, || {
                        rustix::io::writev(stream, &slices).map_err(io::Error::from)
                    })
                    .await?
            }
        };
        done = after_write(frames, done, written)?;
    }
    frames.clear();
    Ok(())
}

/// Takes off what has been written of `frames[done..]`; how many frames are done now.
///
/// # Errors
/// Nothing was written: the socket takes no more.
pub(super) fn after_write(frames: &mut [Bytes], mut done: usize, written: usize) -> io::Result<usize> {
    if written == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let mut left = written;
    while left > 0 {
        let frame = &mut frames[done];
        let taken = left.min(frame.len());
        frame.advance(taken);
        left -= taken;
        if frame.is_empty() {
            done += 1;
        }
    }
    Ok(done)
}

/// Writes what is gathered in `frames`, then the parts of one reply, in order.
pub(super) async fn write_parts(
    stream: &TcpStream,
    frames: &mut Vec<Bytes>,
    parts: Vec<Part>,
    mut files: Vec<FromFile>,
) -> io::Result<()> {
    for part in parts {
        let index = match part {
            Part::Bytes(bytes) => {
                frames.push(bytes);
                continue;
            }
            Part::File { index, .. } => index,
        };
        match files.get_mut(index).ok_or_else(no_such_file)? {
            FromFile::Range(file) if file.len <= INLINE_FILE => frames.push(read_in(file).await?),
            FromFile::Range(file) => {
                write_more(stream, frames).await?;
                send_file(stream, file).await?;
            }
            FromFile::Converted(conversion) => {
                let mut waiting = 0;
                while let Some(piece) = next_piece(conversion).await? {
                    waiting += piece.len();
                    frames.push(piece);
                    if waiting > INLINE_FILE {
                        write_all(stream, frames).await?;
                        waiting = 0;
                    }
                }
            }
        }
    }
    write_all(stream, frames).await
}

pub(super) fn no_such_file() -> io::Error {
    io::Error::other("a reply names a file that it has not")
}

/// The next piece of records in an older format; what is not converted yet is read and converted by the blocking pool.
pub(super) async fn next_piece(conversion: &mut DownConversion) -> io::Result<Option<Bytes>> {
    if let Some(piece) = conversion.ready() {
        return Ok(Some(piece));
    }
    if conversion.is_empty() {
        return Ok(None);
    }
    let mut taken = conversion.take();
    let (piece, rest) = blocking::run(move || (taken.piece(), taken)).await;
    *conversion = rest;
    piece
}

/// Writes `frames`, telling the kernel that more follows at once, so that no small packet leaves.
async fn write_more(stream: &TcpStream, frames: &mut Vec<Bytes>) -> io::Result<()> {
    let last = frames.pop();
    if !frames.is_empty() {
        write_all(stream, frames).await?;
    }
    let Some(mut last) = last else { return Ok(()) };
    while !last.is_empty() {
        let send = || rustix::net::send(stream, &last, SendFlags::MORE | SendFlags::NOSIGNAL).map_err(io::Error::from);
        let written = stream.async_io(Interest::WRITABLE, send).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        last.advance(written);
    }
    Ok(())
}

async fn send_file(stream: &TcpStream, part: &FilePart) -> io::Result<()> {
    let mut position = part.position;
    let end = part.position + part.len as u64;
    let mut warm_to = position;
    while position < end {
        let chunk = usize::try_from(end - position).unwrap_or(usize::MAX).min(FILE_CHUNK);
        if position >= warm_to {
            warm_up(part, position, chunk).await?;
            warm_to = position + chunk as u64;
        }
        let mut at = position;
        let chunk = usize::try_from(warm_to - position).unwrap_or(chunk);
        let sent = stream
            .async_io(Interest::WRITABLE, || {
                at = position;
                rustix::fs::sendfile(stream, &part.file, Some(&mut at), chunk).map_err(io::Error::from)
            })
            .await?;
        if sent == 0 {
            // The size was promised in the frame: the rest cannot be made up.
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a log segment is shorter than its index says",
            ));
        }
        position += sent as u64;
    }
    Ok(())
}

/// Sees to it that the range is in the page cache, as far as its first and last page can tell.
async fn warm_up(part: &FilePart, position: u64, len: usize) -> io::Result<()> {
    if is_cached(part, position) && is_cached(part, position + len as u64 - 1) {
        return Ok(());
    }
    let file = Arc::clone(&part.file);
    blocking::run(move || {
        let mut scratch = vec![0u8; 64 * 1024];
        let (mut at, end) = (position, position + len as u64);
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(scratch.len());
            match rustix::io::pread(&file, &mut scratch[..want], at) {
                Ok(0) => break,
                Ok(read) => at += read as u64,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    })
    .await
}

fn is_cached(part: &FilePart, position: u64) -> bool {
    let mut byte = [0u8];
    let mut slices = [IoSliceMut::new(&mut byte)];
    let probe = rustix::io::preadv2(part.file.as_fd(), &mut slices, position, ReadWriteFlags::NOWAIT);
    // A file system without RWF_NOWAIT answers EOPNOTSUPP: then nothing can be known, and nothing is lost.
    probe != Err(rustix::io::Errno::AGAIN)
}

/// Reads a small range into memory.
async fn read_in(part: &FilePart) -> io::Result<Bytes> {
    let mut buffer = vec![0u8; part.len];
    read_range(part, part.position, &mut buffer).await?;
    Ok(buffer.into())
}

/// Fills `buffer` from this position on; what is not in the page cache is read by the blocking pool.
pub(super) async fn read_range(part: &FilePart, position: u64, buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        let mut slices = [IoSliceMut::new(&mut buffer[filled..])];
        match rustix::io::preadv2(
            part.file.as_fd(),
            &mut slices,
            position + filled as u64,
            ReadWriteFlags::NOWAIT,
        ) {
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "a log segment is shorter than its index says",
                ));
            }
            Ok(read) => filled += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::OPNOTSUPP) => {
                let rest = FilePart {
                    file: Arc::clone(&part.file),
                    position: position + filled as u64,
                    len: buffer.len() - filled,
                };
                let read = blocking::run(move || rest.read_now()).await?;
                buffer[filled..].copy_from_slice(&read);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
