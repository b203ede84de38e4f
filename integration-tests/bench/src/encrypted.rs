//! Producing over TLS: the requests of `load`, on connections that encrypt, a thread each.
//!
//! The broker's certificate is made for the run, for 127.0.0.1, signed by itself, and trusted by its bytes. Protocol and cipher
//! are what both ends like best: TLS 1.3 with AES-256-GCM, of Kafka and of ours.

use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::error::{BenchError, Doing, Result};
use crate::load::{Produce, Produced};
use crate::phase::Phase;
use crate::wire::{PRODUCE, frame, produce_request, produced, read_frame};

const PATIENCE: Duration = Duration::from_secs(60);
const KEY_STORE: &str = "key-store.pem";
const CERTIFICATE: &str = "certificate.pem";

/// Lays a key store for brokers, `key-store.pem`, and what clients trust, into this directory.
pub(crate) fn lay_down(directory: &Path) -> Result<()> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])
        .map_err(|it| BenchError::Malformed(format!("a certificate cannot be made: {it}")))?;
    let (key, certificate) = (made.signing_key.serialize_pem(), made.cert.pem());
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(directory.join(KEY_STORE), format!("{key}{certificate}")))
        .and_then(|()| fs::write(directory.join(CERTIFICATE), certificate))
        .doing(|| format!("writing a key store into {}", directory.display()))
}

/// What a client needs to trust the key store in this directory.
fn trust(directory: &Path) -> Result<Arc<ClientConfig>> {
    let cannot = |it: &dyn std::fmt::Display| BenchError::Malformed(format!("TLS cannot be set up: {it}"));
    let certificate = CertificateDer::from_pem_file(directory.join(CERTIFICATE)).map_err(|it| cannot(&it))?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).map_err(|it| cannot(&it))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|it| cannot(&it))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Produces to the broker that listens there with the key store of this directory, and measures it.
pub(crate) fn produce_encrypted(
    load: &Produce<'_>,
    address: SocketAddr,
    directory: &Path,
    processes: &[u32],
) -> Result<Produced> {
    let config = trust(directory)?;
    let mut connections = (0..load.connections)
        .map(|index| Connection::open(load, index, address, &config))
        .collect::<Result<Vec<_>>>()?;
    let (phase, measured) = (Phase::default(), AtomicU64::new(0));
    let most = (load.max_bytes / load.batch.len() as u64).max(1);
    std::thread::scope(|scope| {
        let working: Vec<_> = connections
            .iter_mut()
            .map(|connection| {
                let (phase, measured) = (&phase, &measured);
                scope.spawn(move || {
                    let done = connection.work(load, phase, measured);
                    if done.is_err() {
                        phase.end();
                    }
                    done
                })
            })
            .collect();
        let enough = || measured.load(Ordering::Relaxed) >= most;
        let spent = phase.run(load.warm_up, load.window, processes, enough);
        let mut latencies = Vec::new();
        for one in working {
            let one = one
                .join()
                .map_err(|_| BenchError::Broken("a producer panicked".to_owned()))?;
            latencies.extend(one?);
        }
        let requests = latencies.len() as u64;
        Ok(Produced {
            requests,
            bytes: requests * load.batch.len() as u64,
            spent,
            latencies,
        })
    })
}

struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    request: bytes::Bytes,
    sent_at: VecDeque<Instant>,
}

impl Connection {
    /// The one with this number sends to one partition, in turn.
    fn open(load: &Produce<'_>, index: usize, address: SocketAddr, config: &Arc<ClientConfig>) -> Result<Self> {
        let partitions = &load.view.partitions;
        let partition = partitions.get(index % partitions.len().max(1));
        let partition = partition.ok_or_else(|| BenchError::Malformed(format!("{} has no partitions", load.topic)))?;
        let request = produce_request(load.topic, partition.index, load.acks, load.batch.bytes());
        let stream = TcpStream::connect(address)
            .and_then(|stream| {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(stream)
            })
            .doing(|| format!("connecting to {address}"))?;
        let name = ServerName::IpAddress(address.ip().into());
        let session = ClientConnection::new(Arc::clone(config), name)
            .map_err(|it| BenchError::Malformed(format!("TLS cannot begin: {it}")))?;
        Ok(Self {
            stream: StreamOwned::new(session, stream),
            request: frame(&request, PRODUCE, partition.index)?,
            sent_at: VecDeque::new(),
        })
    }

    /// Keeps requests in flight until the end, then takes the answers that are owed. Answers are so small that none can block
    /// the broker while this writes.
    fn work(&mut self, load: &Produce<'_>, phase: &Phase, measured: &AtomicU64) -> Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        loop {
            while !phase.has_ended() && self.sent_at.len() < load.in_flight {
                self.sent_at.push_back(Instant::now());
                self.stream
                    .write_all(&self.request)
                    .doing(|| "producing over TLS".to_owned())?;
            }
            let Some(sent_at) = self.sent_at.pop_front() else {
                return Ok(latencies);
            };
            let answer = read_frame(&mut self.stream)?;
            match produced(load.topic, &answer) {
                Some((0, _)) => {}
                Some((code, _)) => {
                    return Err(BenchError::Refused {
                        what: "producing over TLS".to_owned(),
                        code,
                    });
                }
                None => return Err(BenchError::Malformed("a short answer".to_owned())),
            }
            if phase.measures() {
                latencies.push(sent_at.elapsed());
                measured.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
