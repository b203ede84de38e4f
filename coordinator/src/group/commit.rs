//! OffsetCommit and TxnOffsetCommit: who may commit, what is too large, what is stored.
//!
//! Source: Kafka 3.9 `GroupCoordinator.validateOffsetCommit`, `doCommitOffsets`, `GroupMetadataManager.storeOffsets`.

use model::{Offset, Sequence, TopicPartition, VerificationGuard};

use super::api::{Batch, CommitAnswer, CommitRequest, GroupError, UNKNOWN_MEMBER_ID};
use super::classic::Group;
use super::outbox::{Step, Then, Transactional};
use super::record::Key;
use super::state::GroupState;
use crate::hosting::{AppendFailure, Ticket};
use crate::record::{Record, RecordError};

/// A refusal of the whole commit.
pub(super) fn refuse_all(request: &CommitRequest, error: GroupError) -> CommitAnswer {
    request
        .offsets
        .iter()
        .map(|(partition, _)| (partition.clone(), Some(error)))
        .collect()
}

impl Group {
    pub(super) fn commit(
        &mut self,
        ticket: Ticket,
        request: CommitRequest,
        producer: Option<Transactional>,
        step: &mut Step<'_>,
    ) {
        if let Err(error) = self.validate_commit(&request, producer.is_some()) {
            step.committed(ticket, refuse_all(&request, error));
            return;
        }
        if producer.is_none() {
            match self.state {
                // A commit is a sign of life. It is welcome while a rebalance gathers members: heartbeats will tell them.
                GroupState::Stable | GroupState::PreparingRebalance => {
                    self.expect_heartbeat(&request.member_id, step);
                }
                // The member has its generation, but not its assignment: what could it have consumed?
                GroupState::CompletingRebalance => {
                    step.committed(ticket, refuse_all(&request, GroupError::RebalanceInProgress));
                    return;
                }
                GroupState::Empty | GroupState::Dead => {}
            }
        }
        self.store_offsets(ticket, request, producer, step);
    }

    fn validate_commit(&self, request: &CommitRequest, is_transactional: bool) -> Result<(), GroupError> {
        if request.generation_id < 0 && self.state == GroupState::Empty {
            return Ok(());
        }
        let is_member = request.generation_id >= 0
            || &*request.member_id != UNKNOWN_MEMBER_ID
            || request.group_instance_id.is_some();
        if is_member {
            self.validate_member(&request.member_id, request.group_instance_id.as_ref())?;
            if request.generation_id != self.generation_id {
                return Err(GroupError::IllegalGeneration);
            }
            return Ok(());
        }
        // Old transactional producers say nothing of their membership.
        if !is_transactional && self.state != GroupState::Empty {
            return Err(GroupError::UnknownMemberId);
        }
        Ok(())
    }

    fn store_offsets(
        &mut self,
        ticket: Ticket,
        request: CommitRequest,
        producer: Option<Transactional>,
        step: &mut Step<'_>,
    ) {
        let fits = |metadata: &str| metadata.encode_utf16().count() <= step.config.offset_metadata_max_bytes;
        let answer: CommitAnswer = request
            .offsets
            .iter()
            .map(|(partition, value)| {
                let error = (!fits(&value.metadata)).then_some(GroupError::OffsetMetadataTooLarge);
                (partition.clone(), error)
            })
            .collect();
        let offsets: Vec<_> = request
            .offsets
            .into_iter()
            .filter(|(_, value)| fits(&value.metadata))
            .collect();
        if offsets.is_empty() {
            step.committed(ticket, answer);
            return;
        }
        let producer_id = producer.map(|it| it.producer_id);
        let mut records = Vec::with_capacity(offsets.len());
        let encoded = offsets.iter().try_for_each(|(partition, value)| {
            let key = Key::Offset {
                group_id: self.id.clone(),
                partition: partition.clone(),
            };
            if let Some(key) = key.encode()? {
                let value = Some(value.encode()?);
                records.push(Record { key, value });
            }
            Ok::<_, RecordError>(())
        });
        self.offsets.prepare(producer_id, &offsets);
        let then = Then::Commit {
            ticket,
            producer_id,
            offsets,
            answer,
        };
        if encoded.is_err() {
            self.written(then, Err(AppendFailure::TooLarge), step);
            return;
        }
        let batch = Batch {
            records,
            timestamp: step.now.wall,
            producer: producer.map(|it| (it.producer_id, it.producer_epoch)),
            verification: producer.map_or(VerificationGuard::NONE, |it| it.verification),
            base_sequence: Sequence(0),
        };
        step.append(batch, self.pending_write(then));
    }

    /// The outcome of an append of this group.
    pub(super) fn written(&mut self, then: Then, outcome: Result<Offset, AppendFailure>, step: &mut Step<'_>) {
        match then {
            Then::Assign {
                generation_id,
                assignments,
            } => {
                if let Err(failure) = outcome {
                    self.note_store_failure(generation_id, failure, step);
                }
                self.assignment_stored(generation_id, &assignments, outcome.map(|_| ()), step);
            }
            Then::Emptied { generation_id } => {
                // If this broker dies now, the generation before comes back and its members time out.
                if let Err(failure) = outcome {
                    self.note_store_failure(generation_id, failure, step);
                }
            }
            Then::ReplaceStatic(replacement) => {
                if let Err(failure) = outcome {
                    self.note_store_failure(self.generation_id, failure, step);
                }
                self.static_replacement_stored(replacement, outcome, step);
            }
            Then::Commit {
                ticket,
                producer_id,
                offsets,
                answer,
            } => {
                let error = outcome.err().map(AppendFailure::for_commit);
                match outcome {
                    Ok(batch_offset) => self.offsets.stored(producer_id, offsets, batch_offset),
                    Err(_) => self.offsets.failed(producer_id, &offsets),
                }
                step.committed(ticket, with_error(answer, error));
            }
        }
    }

    fn note_store_failure(&self, generation_id: i32, failure: AppendFailure, step: &mut Step<'_>) {
        step.note(super::api::Note::StoreFailed {
            group_id: self.id.clone(),
            generation_id,
            failure,
        });
    }
}

/// The answer with `error` wherever the partition was not refused for itself.
pub(super) fn with_error(mut answer: CommitAnswer, error: Option<GroupError>) -> CommitAnswer {
    for (_, refused) in &mut answer {
        *refused = refused.or(error);
    }
    answer
}

/// Each partition once, with the last value that the request has for it, in the order of the request.
pub(super) fn deduplicate(request: &mut CommitRequest) {
    let mut seen = std::collections::BTreeSet::<TopicPartition>::new();
    request.offsets.reverse();
    request.offsets.retain(|(partition, _)| seen.insert(partition.clone()));
    request.offsets.reverse();
}
