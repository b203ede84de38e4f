//! A log as replicas see it: records with leader epochs, a flushed prefix, an epoch cache, a high watermark and its
//! checkpoint. Memory stands for the page cache: it survives the process, but only what was flushed survives the machine.

use model::TopicId;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) epoch: i32,
    pub(crate) payload: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ModelLog {
    /// Which life of the topic it belongs to.
    pub(crate) topic: TopicId,
    records: Vec<Record>,
    flushed: usize,
    /// Epoch and its first offset.
    epochs: Vec<(i32, i64)>,
    high_watermark: i64,
    checkpoint: i64,
}

impl ModelLog {
    pub(crate) fn new(topic: TopicId) -> Self {
        Self {
            topic,
            ..Self::default()
        }
    }

    pub(crate) fn end(&self) -> i64 {
        self.records.len() as i64
    }

    pub(crate) fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    pub(crate) fn record(&self, offset: i64) -> Option<Record> {
        self.records.get(usize::try_from(offset).ok()?).copied()
    }

    pub(crate) fn read(&self, from: i64, max: usize) -> Vec<Record> {
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(self.records.len());
        self.records[from..].iter().take(max).copied().collect()
    }

    /// The newest epoch in the cache; −1 for none.
    pub(crate) fn latest_epoch(&self) -> i32 {
        self.epochs.last().map_or(-1, |(epoch, _)| *epoch)
    }

    /// A leader of `epoch` begins here. Entries that this contradicts go. Source: `LeaderEpochFileCache.assign`.
    pub(crate) fn assign_epoch(&mut self, epoch: i32) {
        let start = self.end();
        if self.latest_epoch() < epoch {
            self.epochs.retain(|(_, from)| *from < start);
            self.epochs.push((epoch, start));
        }
    }

    pub(crate) fn append(&mut self, record: Record) {
        self.assign_epoch(record.epoch);
        self.records.push(record);
    }

    pub(crate) fn truncate(&mut self, to: i64) {
        let to = to.clamp(0, self.end());
        self.records.truncate(to as usize);
        // Also where no record goes: a leader that appended nothing has left an epoch at the very end.
        self.epochs.retain(|(_, from)| *from < to);
        self.flushed = self.flushed.min(to as usize);
        self.high_watermark = self.high_watermark.min(to);
        self.checkpoint = self.checkpoint.min(to);
    }

    /// Where `epoch` ends. Source: `LeaderEpochFileCache.endOffsetFor`.
    pub(crate) fn end_offset_for(&self, epoch: i32) -> Option<(i32, i64)> {
        if epoch < 0 || self.epochs.is_empty() {
            return None;
        }
        if epoch == self.latest_epoch() {
            return Some((epoch, self.end()));
        }
        let higher = self.epochs.iter().find(|(it, _)| *it > epoch)?;
        match self.epochs.iter().rev().find(|(it, _)| *it <= epoch) {
            Some((floor, _)) => Some((*floor, higher.1)),
            None => Some((epoch, higher.1)),
        }
    }

    /// Moves the high watermark forward, never past the end. `false` if it stays.
    pub(crate) fn raise_high_watermark(&mut self, to: i64) -> bool {
        let to = to.min(self.end());
        let moves = to > self.high_watermark;
        self.high_watermark = self.high_watermark.max(to);
        moves
    }

    pub(crate) fn flush(&mut self) {
        self.flushed = self.records.len();
    }

    pub(crate) fn checkpoint(&mut self) {
        self.checkpoint = self.high_watermark;
    }

    /// What the next process finds. `torn`: the machine failed, and the unflushed tail survives in part (`kept` records).
    pub(crate) fn restart(&mut self, torn: Option<usize>) {
        if let Some(kept) = torn {
            self.truncate((self.flushed + kept) as i64);
        }
        self.high_watermark = self.checkpoint.min(self.end());
    }

    pub(crate) fn unflushed(&self) -> usize {
        self.records.len() - self.flushed
    }
}
