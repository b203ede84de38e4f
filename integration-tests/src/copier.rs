//! A consume-transform-produce loop of librdkafka, in a process of its own: what exactly-once is made for.
//!
//! It dies by kill -9 and comes back under the same transactional id; whatever it had begun is then aborted or committed as a whole.

use crate::process::{Process, tail};
use crate::tools::client_command;
use crate::{Scene, eventually};
use rustix::process::Signal;
use std::path::PathBuf;

/// `tools/clients/python/exactly_once.py`, and its successors under the same transactional id.
pub struct Copier {
    name: String,
    words: Vec<String>,
    directory: PathBuf,
    process: Process,
    /// Logs of the processes before this one.
    past: Vec<String>,
    kills: usize,
    /// How often it ended by itself because it was fenced or told not to go on.
    gave_up: usize,
}

/// What a copier has done so far, all its processes together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Copied {
    /// Committed transactions.
    pub transactions: usize,
    /// Records in them.
    pub records: usize,
    /// Transactions that were aborted on purpose.
    pub aborted: usize,
    /// Transactions that failed.
    pub refused: usize,
    /// kill -9.
    pub kills: usize,
    /// Processes that were told not to go on, and were started again.
    pub gave_up: usize,
}

impl Copier {
    /// Starts copying `source` to `target`, both with three partitions, as a member of the group `<source>-group`.
    pub fn start(scene: &Scene, bootstrap: &str, transactional_id: &str, source: &str, target: &str) -> Self {
        let words = client_command("python/exactly_once.py", &[bootstrap, transactional_id, source, target]);
        let directory = scene.directory().to_path_buf();
        let process = Process::start(
            transactional_id,
            &words,
            &directory.join(format!("{transactional_id}-0")),
        );
        Self {
            name: transactional_id.to_owned(),
            words,
            directory,
            process,
            past: Vec::new(),
            kills: 0,
            gave_up: 0,
        }
    }

    /// kill -9, wherever it is, and starts it again.
    pub fn kill(&mut self) {
        self.process.kill();
        self.kills += 1;
        self.start_again();
    }

    fn start_again(&mut self) {
        self.past.push(self.process.log());
        let log = self.directory.join(format!("{}-{}", self.name, self.past.len()));
        self.process = Process::start(&self.name, &self.words, &log);
    }

    /// Starts it again if it has been told not to go on.
    ///
    /// # Panics
    /// Panics if it ended for any other reason.
    pub fn tend(&mut self) {
        if let Some(status) = self.process.ended() {
            assert_eq!(
                status.code(),
                Some(3),
                "{}:\n{}",
                self.name,
                tail(&self.process.log(), 20)
            );
            self.gave_up += 1;
            self.start_again();
        }
    }

    /// What it has done so far.
    pub fn copied(&self) -> Copied {
        let mut copied = Copied {
            kills: self.kills,
            gave_up: self.gave_up,
            ..Copied::default()
        };
        let now = self.process.log();
        for line in self.past.iter().chain([&now]).flat_map(|log| log.lines()) {
            let mut words = line.split(' ');
            match (words.next(), words.next().and_then(|count| count.parse::<usize>().ok())) {
                (Some("committed"), Some(count)) => {
                    copied.transactions += 1;
                    copied.records += count;
                }
                (Some("aborted"), Some(_)) => copied.aborted += 1,
                (Some("refused"), _) => copied.refused += 1,
                _ => {}
            }
        }
        copied
    }

    /// Makes it say where it is, which [`Copier::last_words`] then has.
    pub fn ask_where_it_is(&mut self) {
        self.process.signal(Signal::USR1);
    }

    /// The last that it said.
    pub fn last_words(&self) -> String {
        tail(&self.process.log(), 8)
    }

    /// Waits until it has found nothing to copy for a while, and lets it end.
    ///
    /// # Panics
    /// Panics when it does not end in order.
    pub fn stop_when_idle(mut self, seconds: u64) -> Copied {
        let is_idle = |copier: &mut Self| {
            copier.tend();
            let log = copier.process.log();
            let last: Vec<_> = log.lines().rev().take(2).collect();
            if last.len() == 2 && last.iter().all(|line| *line == "idle") {
                Ok(())
            } else {
                Err(format!("{}: {last:?}", copier.name))
            }
        };
        eventually(seconds, "nothing is left to copy", || is_idle(&mut self));
        self.process.signal(Signal::TERM);
        let status = self.process.wait(30);
        assert!(status.success(), "{status}\n{}", tail(&self.process.log(), 10));
        self.copied()
    }
}
