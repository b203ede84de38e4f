//! Reading znodes without a JVM: just enough of ZooKeeper's protocol to connect, read, list and go.
//!
//! What the cluster's truth is, is asked many times a second while something is waited for; `zookeeper-shell` takes a second
//! for each answer. Reads only. Source: `zookeeper.jute`, `ConnectRequest`, `GetDataRequest`, `Stat`.

use crate::wire::malformed;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

const EXISTS: i32 = 3;
const GET_DATA: i32 = 4;
const GET_CHILDREN: i32 = 8;
const CLOSE: i32 = -11;
const NO_NODE: i32 = -101;
/// Longest answer that is believed: a corrupt length must not make a test allocate the machine's memory.
const LONGEST_ANSWER: usize = 64 << 20;

/// What is known of a znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Znode {
    /// Its data; empty if only its existence was asked for.
    pub data: String,
    /// The transaction that made it (`cZxid`): for `/brokers/ids/N` the broker epoch.
    pub created: i64,
    /// How often it was written since.
    pub version: i32,
    /// The session it dies with, 0 if it stays.
    pub owner: i64,
}

/// A short session at one ZooKeeper server, below a chroot.
pub struct Znodes {
    stream: TcpStream,
    chroot: String,
    xid: i32,
}

impl Znodes {
    /// Opens a session at `host:port[/chroot]`.
    ///
    /// # Errors
    /// Fails when nobody listens or answers.
    pub fn open(connect: &str) -> Result<Self> {
        let (address, chroot) = match connect.find('/') {
            Some(at) => connect.split_at(at),
            None => (connect, ""),
        };
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut znodes = Self {
            stream,
            chroot: chroot.to_owned(),
            xid: 0,
        };
        let mut hello = BytesMut::new();
        hello.put_i32(0); // protocol version
        hello.put_i64(0); // last zxid seen
        hello.put_i32(10_000); // session timeout
        hello.put_i64(0); // session id: a new one
        hello.put_i32(16);
        hello.put_slice(&[0; 16]);
        znodes.write(&hello)?;
        znodes.read()?;
        Ok(znodes)
    }

    /// Data and numbers of a znode, if it exists.
    ///
    /// # Errors
    /// Fails when the server goes away.
    pub fn get(&mut self, path: &str) -> Result<Option<Znode>> {
        let Some(mut answer) = self.ask(GET_DATA, path)? else {
            return Ok(None);
        };
        let length = usize::try_from(answer.get_i32()).unwrap_or(0);
        if answer.remaining() < length {
            return Err(malformed("data longer than the answer"));
        }
        let data = String::from_utf8_lossy(&answer.split_to(length)).into_owned();
        Ok(Some(stat(answer, data)?))
    }

    /// Numbers of a znode, if it exists.
    ///
    /// # Errors
    /// As for [`Znodes::get`].
    pub fn exists(&mut self, path: &str) -> Result<Option<Znode>> {
        match self.ask(EXISTS, path)? {
            Some(answer) => Ok(Some(stat(answer, String::new())?)),
            None => Ok(None),
        }
    }

    /// Names of its children in order; none if it does not exist.
    ///
    /// # Errors
    /// As for [`Znodes::get`].
    pub fn children(&mut self, path: &str) -> Result<Vec<String>> {
        let Some(mut answer) = self.ask(GET_CHILDREN, path)? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        if answer.remaining() < 4 {
            return Err(malformed("no count of children"));
        }
        for _ in 0..answer.get_i32() {
            if answer.remaining() < 4 {
                return Err(malformed("a child without name"));
            }
            let length = usize::try_from(answer.get_i32()).unwrap_or(0);
            if answer.remaining() < length {
                return Err(malformed("a name longer than the answer"));
            }
            names.push(String::from_utf8_lossy(&answer.split_to(length)).into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn ask(&mut self, kind: i32, path: &str) -> Result<Option<Bytes>> {
        self.xid += 1;
        let whole = match (self.chroot.as_str(), path) {
            ("", path) => path.to_owned(),
            (chroot, "/") => chroot.to_owned(),
            (chroot, path) => format!("{chroot}{path}"),
        };
        let mut request = BytesMut::new();
        request.put_i32(self.xid);
        request.put_i32(kind);
        request.put_i32(i32::try_from(whole.len()).expect("a path is short"));
        request.put_slice(whole.as_bytes());
        request.put_u8(0); // no watch
        self.write(&request)?;
        let mut answer = self.read()?;
        if answer.remaining() < 16 {
            return Err(malformed("a short answer of ZooKeeper"));
        }
        answer.advance(12); // xid, zxid
        match answer.get_i32() {
            0 => Ok(Some(answer)),
            NO_NODE => Ok(None),
            error => Err(malformed(&format!("{whole}: ZooKeeper error {error}"))),
        }
    }

    fn write(&mut self, body: &[u8]) -> Result<()> {
        let mut frame = BytesMut::with_capacity(body.len() + 4);
        frame.put_i32(i32::try_from(body.len()).expect("a request is short"));
        frame.put_slice(body);
        self.stream.write_all(&frame)
    }

    fn read(&mut self) -> Result<Bytes> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let size = usize::try_from(i32::from_be_bytes(size)).map_err(|_| malformed("negative size"))?;
        if size > LONGEST_ANSWER {
            return Err(malformed("an answer of unbelievable size"));
        }
        let mut body = BytesMut::zeroed(size);
        self.stream.read_exact(&mut body)?;
        Ok(body.freeze())
    }
}

impl Drop for Znodes {
    fn drop(&mut self) {
        let mut request = BytesMut::new();
        request.put_i32(self.xid + 1);
        request.put_i32(CLOSE);
        // The server ends the session by itself if it does not hear this.
        let _ = self.write(&request);
    }
}

fn stat(mut from: Bytes, data: String) -> Result<Znode> {
    // czxid, mzxid, ctime, mtime, version, cversion, aversion, ephemeralOwner
    if from.remaining() < 8 * 4 + 4 * 3 + 8 {
        return Err(malformed("a short stat"));
    }
    let created = from.get_i64();
    from.advance(24);
    let version = from.get_i32();
    from.advance(8);
    Ok(Znode {
        data,
        created,
        version,
        owner: from.get_i64(),
    })
}
