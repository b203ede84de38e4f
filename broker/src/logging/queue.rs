//! The bounded queue between those who log and stdout.
//!
//! Invariants: logging never waits; lines come out in the order in which they went in; a lost line is counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// How many lines may wait for stdout.
const QUEUED_LINES_MAX: usize = 4096;
/// A longer line is cut.
const LINE_BYTES_MAX: usize = 32 * 1024;
/// How many bytes are written at once, when many lines wait.
const WRITE_BYTES: usize = 64 * 1024;
/// How long the end waits for a reader who stands still.
const FLUSH_TIME: Duration = Duration::from_secs(2);

#[derive(Debug)]
enum Item {
    Line(Vec<u8>),
    /// Everything before this has been written when the sender is dropped.
    End(SyncSender<()>),
}

/// Where the subscriber writes its lines.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    sender: SyncSender<Item>,
    lost: Arc<AtomicU64>,
}

/// Writes what is queued when it is dropped, unless nobody reads.
#[derive(Debug)]
pub struct Flusher(SyncSender<Item>);

impl Drop for Flusher {
    fn drop(&mut self) {
        let deadline = Instant::now() + FLUSH_TIME;
        let (written, all_written) = sync_channel(0);
        let mut end = Item::End(written);
        while let Err(TrySendError::Full(item)) = self.0.try_send(end) {
            if Instant::now() >= deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
            end = item;
        }
        // Nothing is ever sent: the other side goes away when it is done.
        let _ = all_written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<(Queue, Flusher)> {
    let (sender, receiver) = sync_channel(QUEUED_LINES_MAX);
    let queue = Queue {
        sender: sender.clone(),
        lost: Arc::default(),
    };
    let lost = Arc::clone(&queue.lost);
    std::thread::Builder::new()
        .name("log-writer".into())
        .stack_size(128 * 1024)
        .spawn(move || write_lines(&receiver, &lost, out))?;
    Ok((queue, Flusher(sender)))
}

fn write_lines(receiver: &Receiver<Item>, lost: &AtomicU64, mut out: impl Write) {
    let mut batch = Vec::new();
    let mut end = None;
    while end.is_none() {
        let Ok(first) = receiver.recv() else { return };
        let mut next = Some(first);
        while let Some(item) = next.take() {
            match item {
                Item::Line(line) => batch.extend_from_slice(&line),
                Item::End(written) => end = Some(written),
            }
            if end.is_none() && batch.len() < WRITE_BYTES {
                next = receiver.try_recv().ok();
            }
        }
        let lines_lost = lost.swap(0, Ordering::Relaxed);
        if lines_lost > 0 {
            batch.extend_from_slice(format!("{lines_lost} log lines were lost: stdout is not read\n").as_bytes());
        }
        // Whoever closed our stdout does not want to read; the broker goes on.
        let _ = out.write_all(&batch).and_then(|()| out.flush());
        batch.clear();
        batch.shrink_to(WRITE_BYTES);
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            queue: self,
            bytes: Vec::new(),
        }
    }
}

/// One event's line; it is queued when it is dropped.
pub(super) struct Line<'a> {
    queue: &'a Queue,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = LINE_BYTES_MAX.saturating_sub(self.bytes.len());
        if bytes.len() > room {
            self.bytes.extend_from_slice(&bytes[..room]);
            self.bytes.extend_from_slice(b"...\n");
        } else {
            self.bytes.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        match self.queue.sender.try_send(Item::Line(std::mem::take(&mut self.bytes))) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.queue.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::{Mutex, MutexGuard};

    /// A reader who can stand still.
    #[derive(Clone, Default)]
    struct Reader(Arc<Mutex<Vec<u8>>>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(queue: &Queue, line: &str) {
        queue.make_writer().write_all(line.as_bytes()).unwrap();
    }

    #[test]
    fn lines_come_out_in_order_and_completely() {
        let reader = Reader::default();
        let (queue, flusher) = start(reader.clone()).unwrap();
        let lines: Vec<String> = (0..1000).map(|i| format!("line {i}\n")).collect();
        lines.iter().for_each(|line| log(&queue, line));
        drop(flusher);
        assert_eq!(String::from_utf8(reader.0.lock().clone()).unwrap(), lines.concat());
    }

    #[test]
    fn a_reader_who_stands_still_costs_lines_and_nothing_else() {
        let reader = Reader::default();
        let (queue, flusher) = start(reader.clone()).unwrap();
        let still = reader.0.lock();
        // Long enough that what the thread gathers for one write, however fast it is, and what is queued are not all.
        let line = "x".repeat(99);
        assert!(QUEUED_LINES_MAX * line.len() > WRITE_BYTES);
        for _ in 0..3 * QUEUED_LINES_MAX {
            log(&queue, &format!("{line}\n"));
        }
        MutexGuard::unlock_fair(still);
        drop(flusher);
        let text = String::from_utf8(reader.0.lock().clone()).unwrap();
        let written = text.lines().filter(|found| *found == line).count();
        let lost: usize = text
            .lines()
            .filter_map(|line| line.strip_suffix(" log lines were lost: stdout is not read"))
            .map(|count| count.parse::<usize>().unwrap())
            .sum();
        assert!(lost > 0);
        assert_eq!(written + lost, 3 * QUEUED_LINES_MAX);
    }

    #[test]
    fn a_line_is_cut_at_its_limit() {
        let reader = Reader::default();
        let (queue, flusher) = start(reader.clone()).unwrap();
        log(&queue, &"y".repeat(LINE_BYTES_MAX + 5));
        drop(flusher);
        assert_eq!(reader.0.lock().len(), LINE_BYTES_MAX + 4);
    }
}
