//! The load generator: producing and consuming as fast as brokers answer, for as little CPU as can be.
//!
//! Requests are written once and the same bytes are sent again; one thread drives all producing connections; fetched
//! records are dropped inside the kernel. What is counted is what is answered within the window, and every answer's error
//! code is looked at. Closed loop: whoever wants latencies at a given pace uses `pace`.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::event::epoll;
use rustix::net::{RecvFlags, recv};
use rustix::time::Timespec;

use crate::batch::{Batch, HEADER, Head};
use crate::error::{BenchError, Doing, Result};
use crate::process::{Spent, Window};
use crate::wire::{FETCH, PRODUCE, View, fetch_request, frame, produce_request, produced};

/// How long a broker may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is produced.
pub(crate) struct Produce<'a> {
    /// To which topic.
    pub(crate) topic: &'a str,
    /// How it lies.
    pub(crate) view: &'a View,
    /// 1 or -1.
    pub(crate) acks: i16,
    /// How many, shared out among the leaders.
    pub(crate) connections: usize,
    /// Requests in flight on each.
    pub(crate) in_flight: usize,
    /// What each request carries.
    pub(crate) batch: Batch,
    /// Not measured; half of `max_bytes` ends it early.
    pub(crate) warm_up: Duration,
    /// Measured.
    pub(crate) window: Duration,
    /// Ends the window early.
    pub(crate) max_bytes: u64,
}

/// What came of it.
pub(crate) struct Produced {
    /// How many were answered in the window.
    pub(crate) requests: u64,
    /// Bytes of their batches.
    pub(crate) bytes: u64,
    /// What that took.
    pub(crate) spent: Spent,
    /// From the first byte written to the answer.
    pub(crate) latencies: Vec<Duration>,
}

/// Produces, and measures the brokers with these process ids.
pub(crate) fn produce(load: &Produce<'_>, processes: &[u32]) -> Result<Produced> {
    let doing = || "producing".to_owned();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
        .map_err(std::io::Error::from)
        .doing(doing)?;
    let mut senders = senders(load)?;
    for (index, sender) in senders.iter().enumerate() {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&epoll, &sender.stream, epoll::EventData::new_u64(index as u64), flags)
            .map_err(std::io::Error::from)
            .doing(doing)?;
    }
    let begin = Instant::now();
    let most = (load.max_bytes / load.batch.len() as u64).max(1);
    let mut run = Run {
        window: None,
        spent: None,
        processes,
        latencies: Vec::new(),
        warm: 0,
    };
    let mut events = Vec::with_capacity(128);
    let mut last_answer = Instant::now();
    loop {
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: 50_000_000,
        };
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait)) {
            Ok(0) if last_answer.elapsed() > PATIENCE => {
                return Err(BenchError::Late {
                    what: "an answer".to_owned(),
                    seconds: PATIENCE.as_secs(),
                    last: None,
                });
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error)).doing(doing),
        }
        run.look_at_the_clock(load, begin, most);
        for event in events.drain(..) {
            let sender = &mut senders[usize::try_from(event.data.u64()).expect("an index of ours")];
            let answered = sender.receive(load.topic, |latency| run.answered(latency))?;
            if answered {
                last_answer = Instant::now();
            }
            if run.spent.is_none() {
                sender.send(load.in_flight)?;
            } else {
                sender.finish_what_is_half_sent()?;
            }
        }
        if let Some(spent) = run.spent
            && senders.iter().all(|it| it.sent_at.is_empty())
        {
            let requests = run.latencies.len() as u64;
            return Ok(Produced {
                requests,
                bytes: requests * load.batch.len() as u64,
                spent,
                latencies: run.latencies,
            });
        }
    }
}

/// Counts the answers of the window.
struct Run<'a> {
    window: Option<Window>,
    spent: Option<Spent>,
    processes: &'a [u32],
    latencies: Vec<Duration>,
    warm: u64,
}

impl Run<'_> {
    fn look_at_the_clock(&mut self, load: &Produce<'_>, begin: Instant, most: u64) {
        match (&self.window, self.spent) {
            (None, _) if begin.elapsed() >= load.warm_up || self.warm >= most / 2 => {
                self.window = Some(Window::open(self.processes));
            }
            (Some(window), None) if window.begin().elapsed() >= load.window || self.latencies.len() as u64 >= most => {
                self.spent = Some(window.close());
            }
            _ => {}
        }
    }

    fn answered(&mut self, latency: Duration) {
        match (&self.window, self.spent) {
            (None, _) => self.warm += 1,
            (Some(_), None) => self.latencies.push(latency),
            (Some(_), Some(_)) => {}
        }
    }
}

/// A connection that sends prepared requests in turn.
struct Sender {
    stream: TcpStream,
    requests: Vec<Bytes>,
    turn: usize,
    /// How much of the request whose turn it is has been written, if it was begun.
    half_sent: Option<usize>,
    /// Of requests in flight, the oldest first.
    sent_at: VecDeque<Instant>,
    incoming: Box<[u8; 4096]>,
    incoming_len: usize,
}

/// Shares connections out among leaders, and each leader's partitions among its connections.
fn senders(load: &Produce<'_>) -> Result<Vec<Sender>> {
    let led: Vec<(SocketAddr, Vec<i32>)> = load
        .view
        .led()
        .into_iter()
        .map(|(leader, partitions)| {
            let address = load.view.brokers.get(&leader).copied();
            let address = address.ok_or_else(|| BenchError::Malformed(format!("leader {leader} has no address")))?;
            Ok((address, partitions))
        })
        .collect::<Result<_>>()?;
    if led.is_empty() {
        return Err(BenchError::Malformed(format!("{} has no partitions", load.topic)));
    }
    let batch = load.batch.bytes();
    (0..load.connections)
        .map(|index| {
            let (address, partitions) = &led[index % led.len()];
            let here = (load.connections - index % led.len()).div_ceil(led.len());
            let mine = shared_out(partitions, index / led.len(), here);
            let requests = mine.map(|partition| {
                frame(
                    &produce_request(load.topic, partition, load.acks, batch.clone()),
                    PRODUCE,
                    partition,
                )
            });
            let stream = TcpStream::connect(address)
                .and_then(|it| {
                    it.set_nodelay(true)
                        .and_then(|()| it.set_nonblocking(true))
                        .map(|()| it)
                })
                .doing(|| format!("connecting to {address}"))?;
            Ok(Sender {
                stream,
                requests: requests.collect::<Result<_>>()?,
                turn: 0,
                half_sent: None,
                sent_at: VecDeque::new(),
                incoming: Box::new([0; 4096]),
                incoming_len: 0,
            })
        })
        .collect()
}

/// The partitions of the connection `turn` of `of` connections: at least one, all of them covered by all.
fn shared_out(partitions: &[i32], turn: usize, of: usize) -> impl Iterator<Item = i32> {
    partitions.iter().copied().skip(turn % partitions.len()).step_by(of)
}

impl Sender {
    /// Reads the answers that have come; says whether there were any.
    fn receive(&mut self, topic: &str, mut answered: impl FnMut(Duration)) -> Result<bool> {
        let mut any = false;
        loop {
            let room = &mut self.incoming[self.incoming_len..];
            let space = room.len();
            let read = match self.stream.read(room) {
                Ok(0) => return Err(BenchError::Broken("the broker closes a connection".to_owned())),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(any),
                Err(error) => return Err(error).doing(|| "reading an answer".to_owned()),
            };
            self.incoming_len += read;
            let mut rest = &self.incoming[..self.incoming_len];
            while let Some((answer, behind)) = whole_frame(rest) {
                match produced(topic, answer) {
                    Some((0, _)) => {}
                    Some((code, _)) => {
                        return Err(BenchError::Refused {
                            what: "producing".to_owned(),
                            code,
                        });
                    }
                    None => return Err(BenchError::Malformed("a short answer".to_owned())),
                }
                let sent_at = self.sent_at.pop_front();
                answered(
                    sent_at
                        .ok_or_else(|| BenchError::Malformed("an answer too many".to_owned()))?
                        .elapsed(),
                );
                any = true;
                rest = behind;
            }
            let left = rest.len();
            self.incoming
                .copy_within(self.incoming_len - left..self.incoming_len, 0);
            self.incoming_len = left;
            // Less than there was room for: nothing more is there. Edge-triggered, so all of it has to be taken.
            if read < space {
                return Ok(any);
            }
        }
    }

    /// Writes until as many requests are in flight as may be, or the socket takes no more.
    fn send(&mut self, in_flight: usize) -> Result<()> {
        while self.half_sent.is_some() || self.sent_at.len() < in_flight {
            if !self.write_on()? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// At the end: a request of which the broker has a part must become whole, for its answer to come.
    fn finish_what_is_half_sent(&mut self) -> Result<()> {
        if self.half_sent.is_some() {
            self.write_on()?;
        }
        Ok(())
    }

    /// Writes more of the current request, or the next; says whether it went out whole.
    fn write_on(&mut self) -> Result<bool> {
        let from = match self.half_sent {
            Some(from) => from,
            None => {
                self.sent_at.push_back(Instant::now());
                0
            }
        };
        let request = &self.requests[self.turn];
        match self.stream.write(&request[from..]) {
            Ok(written) if from + written == request.len() => {
                self.half_sent = None;
                self.turn = (self.turn + 1) % self.requests.len();
                Ok(true)
            }
            Ok(written) => {
                self.half_sent = Some(from + written);
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.half_sent = Some(from);
                Ok(false)
            }
            Err(error) => Err(error).doing(|| "sending a request".to_owned()),
        }
    }
}

/// The first frame without its size, and what is behind it.
fn whole_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*size)).ok()?)
}

/// What came of consuming.
pub(crate) struct Consumed {
    /// Bytes of records fetched in the window.
    pub(crate) bytes: u64,
    /// What that took.
    pub(crate) spent: Spent,
}

/// Reads a topic from its beginning, again and again, with `copies` consumers a partition: 1 MiB at a time, the records
/// dropped in the kernel.
pub(crate) fn consume(
    topic: &str,
    view: &View,
    copies: usize,
    warm_up: Duration,
    window: Duration,
    processes: &[u32],
) -> Result<Consumed> {
    let (stop, bytes) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let mut consumers = Vec::new();
        for partition in &view.partitions {
            let address = view.leader_of(partition.index);
            let address = address.ok_or_else(|| BenchError::Malformed("a partition has no leader".to_owned()))?;
            for _ in 0..copies {
                let (stop, bytes) = (&stop, &bytes);
                consumers.push(scope.spawn(move || consume_one(address, topic, partition.index, stop, bytes)));
            }
        }
        std::thread::sleep(warm_up);
        let (opened, before) = (Window::open(processes), bytes.load(Ordering::Relaxed));
        std::thread::sleep(window);
        let (spent, after) = (opened.close(), bytes.load(Ordering::Relaxed));
        stop.store(true, Ordering::Relaxed);
        for consumer in consumers {
            consumer
                .join()
                .map_err(|_| BenchError::Broken("a consumer panicked".to_owned()))??;
        }
        Ok(Consumed {
            bytes: after - before,
            spent,
        })
    })
}

fn consume_one(address: SocketAddr, topic: &str, partition: i32, stop: &AtomicBool, bytes: &AtomicU64) -> Result<()> {
    const MAX: i32 = 1 << 20;
    let mut stream = TcpStream::connect(address).doing(|| format!("connecting to {address}"))?;
    stream
        .set_nodelay(true)
        .and_then(|()| stream.set_read_timeout(Some(PATIENCE)))
        .doing(|| "consuming".to_owned())?;
    // Never touched, so no memory: the kernel drops what it would have put here.
    let mut nowhere = vec![0; usize::try_from(MAX).unwrap_or(0)];
    // size, correlation, throttle, error, session, topics, name, partitions, index, error, high watermark, last stable
    // offset, log start offset, aborted transactions (none), preferred replica, length of records
    let mut head = vec![0; 4 + 4 + 4 + 2 + 4 + 4 + 2 + topic.len() + 4 + 4 + 2 + 8 + 8 + 8 + 4 + 4 + 4];
    let code_at = head.len() - (2 + 3 * 8 + 3 * 4);
    let mut offset = 0_i64;
    while !stop.load(Ordering::Relaxed) {
        let request = frame(&fetch_request(topic, [(partition, offset)], MAX), FETCH, partition)?;
        stream.write_all(&request).doing(|| "fetching".to_owned())?;
        stream.read_exact(&mut head).doing(|| "reading a fetch".to_owned())?;
        let code = i16::from_be_bytes([head[code_at], head[code_at + 1]]);
        if code != 0 {
            return Err(BenchError::Refused {
                what: "fetching".to_owned(),
                code,
            });
        }
        let len = head.last_chunk::<4>().map_or(0, |it| u32::from_be_bytes(*it));
        let mut left = usize::try_from(len).unwrap_or(0);
        bytes.fetch_add(u64::from(len), Ordering::Relaxed);
        if left == 0 {
            if offset == 0 {
                return Err(BenchError::Broken(format!("{topic}-{partition} is empty")));
            }
            offset = 0;
        }
        // All batches of the topic have one length and one count, so the first one's header tells where the next fetch begins.
        if left >= HEADER {
            let mut header = [0; HEADER];
            stream.read_exact(&mut header).doing(|| "reading a fetch".to_owned())?;
            let Some(first) = Head::read(&header).filter(|it| it.base_offset == offset) else {
                return Err(BenchError::Malformed(format!(
                    "no batch at offset {offset} of {topic}-{partition}"
                )));
            };
            let whole = i64::try_from(left / first.len).unwrap_or(0).max(1);
            offset += whole * (first.next_offset - first.base_offset);
            left -= HEADER;
        }
        while left > 0 {
            let most = left.min(nowhere.len());
            let (_, dropped) = recv(&stream, &mut nowhere[..most], RecvFlags::TRUNC)
                .map_err(std::io::Error::from)
                .doing(|| "reading a fetch".to_owned())?;
            if dropped == 0 {
                return Err(BenchError::Broken("the broker closes a connection".to_owned()));
            }
            left -= dropped.min(left);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_share_all_partitions() {
        let check = |partitions: &[i32], of: usize, expected: &[&[i32]]| {
            let all: Vec<Vec<i32>> = (0..of).map(|turn| shared_out(partitions, turn, of).collect()).collect();
            assert_eq!(all, expected, "{partitions:?} on {of}");
        };
        check(&[0, 1, 2], 1, &[&[0, 1, 2]]);
        check(&[0, 1, 2], 2, &[&[0, 2], &[1]]);
        check(&[0, 1, 2], 3, &[&[0], &[1], &[2]]);
        check(&[4, 5], 5, &[&[4], &[5], &[4], &[5], &[4]]);
    }

    #[test]
    fn frames_are_cut_when_they_are_whole() {
        let check = |bytes: &[u8], expected: Option<(&[u8], &[u8])>| assert_eq!(whole_frame(bytes), expected);
        check(&[0, 0, 0], None);
        check(&[0, 0, 0, 2, 7], None);
        check(&[0, 0, 0, 2, 7, 8], Some((&[7, 8], &[])));
        check(&[0, 0, 0, 1, 7, 8, 9], Some((&[7], &[8, 9])));
        check(&[255, 255, 255, 255, 1], None);
    }
}
