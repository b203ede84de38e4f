//! Appending: plan, roll, one write, publish.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use model::{LeaderEpoch, Millis, Offset, VerificationGuard};

use super::{AppendError, Appended, Log, OPEN, Settings, Snapshots, Writer};
use crate::append::{self, Origin, Plan, Tail, Validated, Write};
use crate::disk::DiskError;
use crate::index::AbortedEntry;
use crate::segment::{AboutToAppend, Segment};

impl Log {
    /// Appends one batch as the leader at `leader_epoch`: it gets the next offsets.
    ///
    /// # Errors
    /// When the records are refused, or cannot be written. Then nothing was appended.
    pub fn append_as_leader(
        &self,
        records: Bytes,
        leader_epoch: LeaderEpoch,
        origin: Origin,
        now: Millis,
    ) -> Result<Appended, AppendError> {
        self.append_verified(records, leader_epoch, origin, VerificationGuard::NONE, now)
    }

    /// [`Log::append_as_leader`], for what may begin a transaction here: `guard` shows that its coordinator was asked.
    ///
    /// # Errors
    /// As for [`Log::append_as_leader`].
    pub fn append_verified(
        &self,
        records: Bytes,
        leader_epoch: LeaderEpoch,
        origin: Origin,
        guard: VerificationGuard,
        now: Millis,
    ) -> Result<Appended, AppendError> {
        // Whatever takes time (checksum, walking the records, compression) is done before the log is locked.
        let config = &self.settings.load().append;
        let validated = Validated::new(&records, &self.partition, config, origin, now)?;
        let demanded = self.shared.verify_transactions.load(Ordering::Relaxed);
        self.append(leader_epoch, demanded.then_some(guard), now, |tail| {
            validated.map_or(Ok(Plan::Empty), |validated| validated.plan(tail))
        })
    }

    /// Appends what was fetched from the leader: offsets and epochs stay. `leader_epoch` is the one this replica
    /// follows: batches of a later one (fetched across a change of leaders) are left out.
    ///
    /// # Errors
    /// When the records do not continue the log, or cannot be written. Then nothing was appended.
    pub fn append_as_follower(
        &self,
        records: Bytes,
        leader_epoch: LeaderEpoch,
        now: Millis,
    ) -> Result<Appended, AppendError> {
        self.append(leader_epoch, None, now, |tail| append::plan_follower(&records, tail))
    }

    fn append(
        &self,
        leader_epoch: LeaderEpoch,
        verification: Option<VerificationGuard>,
        now: Millis,
        plan: impl FnOnce(&Tail<'_>) -> Result<Plan, append::AppendError>,
    ) -> Result<Appended, AppendError> {
        let settings = self.settings.load();
        let appended = {
            let mut writer = self.writer.lock();
            self.ensure_open()?;
            let log_end_offset = self.log_end_offset();
            let log_start_offset = self.log_start_offset();
            let plan = plan(&Tail {
                topic_partition: &self.partition,
                log_end_offset,
                leader_epoch,
                now,
                config: &settings.append,
                producers: &writer.producers,
                verification,
            })?;
            match plan {
                Plan::Empty => Appended {
                    first_offset: log_end_offset,
                    last_offset: log_end_offset + -1,
                    log_append_time: Millis::NONE,
                    log_start_offset,
                    duplicate: false,
                    bytes: 0,
                    leader_epoch: LeaderEpoch::NONE,
                },
                Plan::Duplicate(batch) => Appended {
                    first_offset: batch.first_offset,
                    last_offset: batch.last_offset,
                    log_append_time: batch.timestamp,
                    log_start_offset,
                    duplicate: true,
                    bytes: 0,
                    leader_epoch: LeaderEpoch::NONE,
                },
                Plan::Write(write) => {
                    let result = self.write(&mut writer, &write, &settings, now);
                    self.guarded(result)?;
                    Appended {
                        first_offset: write.first_offset,
                        last_offset: write.last_offset,
                        log_append_time: write.log_append_time.unwrap_or(Millis::NONE),
                        log_start_offset,
                        duplicate: false,
                        bytes: write.total_bytes,
                        leader_epoch: write
                            .batches
                            .last()
                            .map_or(LeaderEpoch::NONE, |batch| batch.leader_epoch),
                    }
                }
            }
        };
        if !appended.duplicate && self.log_end_offset() - self.recovery_point() >= settings.config.flush_messages {
            self.flush()?;
        }
        Ok(appended)
    }

    pub(super) fn ensure_open(&self) -> Result<(), AppendError> {
        if self.state.load(Ordering::Acquire) == OPEN && self.home.offline().is_none() {
            Ok(())
        } else {
            Err(AppendError::Offline(self.partition.clone()))
        }
    }

    fn write(&self, writer: &mut Writer, write: &Write, settings: &Settings, now: Millis) -> Result<(), DiskError> {
        let config = &settings.config;
        let about = AboutToAppend {
            bytes: write.total_bytes,
            last_offset: write.last_offset,
            max_timestamp: write.max_timestamp,
            now,
        };
        let mut segment = self.active();
        if segment.should_roll(&about, config)? {
            segment = self.roll(writer, Some(write.first_offset), settings, now)?;
        }
        let end = segment.write(write, config.index_interval_bytes)?;
        self.learn_epochs(write)?;
        let completed = writer.producers.apply(&write.producers, end.next_offset);
        for transaction in completed.iter().filter(|transaction| transaction.aborted) {
            segment.transaction_index.append(AbortedEntry {
                producer_id: transaction.producer_id,
                first_offset: transaction.first_offset,
                last_offset: transaction.last_offset,
                last_stable_offset: transaction.last_stable_offset,
            })?;
        }
        // A new transaction must hold back readers before its records can be seen, and an aborted one must be in the
        // index before it stops holding them back.
        self.publish_first_unstable(&writer.producers);
        segment.commit(end);
        self.log_end_offset.store(end.next_offset.0, Ordering::Release);
        Ok(())
    }

    fn learn_epochs(&self, write: &Write) -> Result<(), DiskError> {
        let latest = self.latest_epoch();
        let news = |epoch: LeaderEpoch| latest.is_none_or(|latest| epoch > latest);
        if !write
            .batches
            .iter()
            .any(|batch| batch.magic >= 2 && news(batch.leader_epoch))
        {
            return Ok(());
        }
        let mut epochs = self.epochs.write();
        let mut changed = false;
        for (epoch, start) in write.epoch_starts().filter(|(epoch, _)| news(*epoch)) {
            changed |= epochs.known.assign(epoch, start);
        }
        if changed {
            self.write_epochs(&mut epochs)
        } else {
            Ok(())
        }
    }

    /// Begins a new segment at `from`, or where the log ends. Source: Kafka `UnifiedLog.roll`, `LocalLog.roll`.
    pub(super) fn roll(
        &self,
        writer: &mut Writer,
        from: Option<Offset>,
        settings: &Settings,
        now: Millis,
    ) -> Result<Arc<Segment>, DiskError> {
        let shared = &self.shared;
        let base = from.unwrap_or(Offset::ZERO).max(self.log_end_offset());
        let active = self.active();
        let mut segments = self.segments.load().to_vec();
        if active.base_offset() >= base {
            // An index without room for a single entry: the empty segment is replaced.
            if active.base_offset() > base || active.end().size > 0 {
                return Err(DiskError {
                    doing: "roll",
                    path: active.path(),
                    source: std::io::Error::new(
                        std::io::ErrorKind::AlreadyExists,
                        format!("there is a segment at {} already", active.base_offset()),
                    ),
                });
            }
            segments.pop();
        } else {
            active.retire(settings.config.preallocate)?;
            active.ends_at(base);
        }
        let segment = Arc::new(Segment::create(&shared.disk, &self.dir, base, &settings.config, now)?);
        segments.push(segment.clone());
        // The snapshot belongs to the segment's base, which may lie past the last record.
        writer.producers.set_map_end_offset(base);
        writer.snapshots.take(&mut writer.producers, &shared.disk, &self.dir)?;
        self.replace_segments(segments);
        // Waiting for the device is not done under the append lock.
        let this = self.this.clone();
        shared.scheduler.soon(move || {
            if let Some(log) = this.upgrade() {
                let synced = Snapshots::sync(&log.shared.disk, &log.dir, base).and_then(|()| log.flush_to(base));
                if let Err(error) = log.guarded(synced) {
                    tracing::error!(partition = %log.partition, %error, "flush after a roll failed");
                }
            }
        });
        Ok(segment)
    }

    /// Begins a new segment if the active one is old enough, although nobody appends. Retention does, so that what has
    /// expired in it can go.
    pub(super) fn roll_now(&self, writer: &mut Writer, now: Millis) -> Result<(), DiskError> {
        let settings = self.settings.load();
        self.roll(writer, None, &settings, now).map(drop)
    }
}
