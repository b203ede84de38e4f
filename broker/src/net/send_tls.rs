//! Writing replies over TLS: gathered, then encrypted; ranges of files are read piece by piece and encrypted.
//!
//! There is no `sendfile` here: what leaves has to pass through memory. One buffer of [`CHUNK`] bytes serves all ranges of a
//! reply; a piece that is not in the page cache is read by the blocking pool.

use std::io::{self, IoSlice};

use broker_wire::placeholder::Part;
use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::reply::FromFile;
use super::send;

/// Four records of TLS: as much as rustls encrypts before it writes.
const CHUNK: usize = 64 * 1024;

/// Writes these frames, in order, and sees that they leave.
pub(super) async fn write_all(stream: &mut TlsStream<TcpStream>, frames: &mut Vec<Bytes>) -> io::Result<()> {
    encrypt(stream, frames).await?;
    stream.flush().await
}

/// Writes what is gathered in `frames`, then the parts of one reply, in order.
pub(super) async fn write_parts(
    stream: &mut TlsStream<TcpStream>,
    frames: &mut Vec<Bytes>,
    parts: Vec<Part>,
    mut files: Vec<FromFile>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    for part in parts {
        let index = match part {
            Part::Bytes(bytes) => {
                frames.push(bytes);
                continue;
            }
            Part::File { index, .. } => index,
        };
        encrypt(stream, frames).await?;
        match files.get_mut(index).ok_or_else(send::no_such_file)? {
            FromFile::Range(file) => {
                let mut done = 0;
                while done < file.len {
                    let len = (file.len - done).min(CHUNK);
                    if buffer.len() < len {
                        buffer.resize(len, 0);
                    }
                    send::read_range(file, file.position + done as u64, &mut buffer[..len]).await?;
                    stream.write_all(&buffer[..len]).await?;
                    done += len;
                }
            }
            FromFile::Converted(conversion) => {
                while let Some(piece) = send::next_piece(conversion).await? {
                    stream.write_all(&piece).await?;
                }
            }
        }
    }
    write_all(stream, frames).await
}

async fn encrypt(stream: &mut TlsStream<TcpStream>, frames: &mut Vec<Bytes>) -> io::Result<()> {
    let mut done = 0;
    while done < frames.len() {
        let slices: Vec<IoSlice<'_>> = frames[done..]
            .iter()
            .take(send::MAX_SLICES)
            .map(|frame| IoSlice::new(frame))
            .collect();
        let written = stream.write_vectored(&slices).await?;
        done = send::after_write(frames, done, written)?;
    }
    frames.clear();
    Ok(())
}
