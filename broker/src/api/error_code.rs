//! Which of our failures becomes which of Kafka's error codes. The only such place.

use broker_log::append;
use broker_log::convert::ConvertError;
use broker_log::producer::ProducerError;
use broker_log::{AppendError, ReadError};
use broker_security::delegation_token::TokenError;
use broker_wire::ErrorCode;
use coordinator::group::GroupError;
use coordinator::transaction::TransactionError;

use crate::fetch_session::SessionError;
use crate::partition::PartitionError;
use crate::tokens::TokensError;

/// The code for a failure of a partition.
pub fn of_partition(error: &PartitionError) -> ErrorCode {
    match error {
        PartitionError::NotLeader(_) => ErrorCode::NotLeaderOrFollower,
        PartitionError::Unknown(_) => ErrorCode::UnknownTopicOrPartition,
        PartitionError::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        PartitionError::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
        PartitionError::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
        PartitionError::NotEnoughReplicasAfterAppend(_) => ErrorCode::NotEnoughReplicasAfterAppend,
        PartitionError::NotReplicatedInTime(_) => ErrorCode::RequestTimedOut,
        PartitionError::OffsetNotAvailable(_) => ErrorCode::OffsetNotAvailable,
        PartitionError::UnknownFetchedEpoch(_) => ErrorCode::OffsetOutOfRange,
        PartitionError::Offline(_) => ErrorCode::KafkaStorageError,
        PartitionError::Append(error) => of_append(error),
        PartitionError::Read(error) => of_read(error),
    }
}

/// The code for what could not be done with a delegation token.
pub fn of_tokens(error: &TokensError) -> ErrorCode {
    match error {
        TokensError::NotFound => ErrorCode::DelegationTokenNotFound,
        TokensError::Refused(TokenError::OwnerMismatch) => ErrorCode::DelegationTokenOwnerMismatch,
        TokensError::Refused(TokenError::Expired) => ErrorCode::DelegationTokenExpired,
        TokensError::Store(error) => {
            tracing::warn!(%error, "a delegation token could not be written");
            ErrorCode::UnknownServerError
        }
    }
}

/// The code for a refused append.
pub fn of_append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Refused(refusal) => of_refusal(refusal),
        AppendError::Disk(_) | AppendError::Offline(_) => ErrorCode::KafkaStorageError,
    }
}

/// The code for records that the log refuses.
pub fn of_refusal(refusal: &append::AppendError) -> ErrorCode {
    use append::AppendError as Refusal;
    match refusal {
        Refusal::InvalidRequest(_) | Refusal::InvalidRecord(_) | Refusal::RecordsRejected { .. } => {
            ErrorCode::InvalidRecord
        }
        Refusal::InvalidTimestamp { .. } => ErrorCode::InvalidTimestamp,
        Refusal::Framing(_) | Refusal::Corrupt { .. } | Refusal::CorruptMessage => ErrorCode::CorruptMessage,
        // A leader never sees the last two: they refuse what a follower copies.
        Refusal::Decompress(_)
        | Refusal::Compress(_)
        | Refusal::Unconvertible(_)
        | Refusal::OffsetsOutOfOrder { .. }
        | Refusal::UnexpectedOffset { .. } => ErrorCode::UnknownServerError,
        Refusal::UnsupportedCompressionType { .. } => ErrorCode::UnsupportedCompressionType,
        Refusal::MessageTooLarge { .. } => ErrorCode::MessageTooLarge,
        Refusal::RecordListTooLarge { .. } => ErrorCode::RecordListTooLarge,
        Refusal::Producer(refusal) => of_producer(refusal),
    }
}

fn of_producer(refusal: &ProducerError) -> ErrorCode {
    match refusal {
        ProducerError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        ProducerError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        ProducerError::NotVerified { .. } | ProducerError::InvalidTransactionState { .. } => ErrorCode::InvalidTxnState,
        ProducerError::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
        ProducerError::InvalidMarker { .. } => ErrorCode::InvalidRecord,
    }
}

/// The code for a failed read.
pub fn of_read(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Disk(_) | ReadError::Offline(_) => ErrorCode::KafkaStorageError,
        ReadError::Corrupt { .. } => ErrorCode::CorruptMessage,
    }
}

/// The code for records that have no form in the format that an old consumer asks for.
pub fn of_conversion(error: &ConvertError) -> ErrorCode {
    match error {
        ConvertError::Zstd => ErrorCode::UnsupportedCompressionType,
        ConvertError::Framing(_) | ConvertError::Record(_) | ConvertError::Message(_) | ConvertError::Decompress(_) => {
            ErrorCode::CorruptMessage
        }
        ConvertError::Compress(_) => ErrorCode::UnknownServerError,
        ConvertError::Disk(_) => ErrorCode::KafkaStorageError,
    }
}

/// The code for a refused fetch session.
pub fn of_session(error: SessionError) -> ErrorCode {
    match error {
        SessionError::NotFound => ErrorCode::FetchSessionIdNotFound,
        SessionError::InvalidEpoch => ErrorCode::InvalidFetchSessionEpoch,
        SessionError::TopicIds => ErrorCode::FetchSessionTopicIdError,
    }
}

/// The code for a refusal of the group coordinator.
pub fn of_group(error: GroupError) -> ErrorCode {
    match error {
        GroupError::CoordinatorLoadInProgress => ErrorCode::CoordinatorLoadInProgress,
        GroupError::CoordinatorNotAvailable => ErrorCode::CoordinatorNotAvailable,
        GroupError::NotCoordinator => ErrorCode::NotCoordinator,
        GroupError::IllegalGeneration => ErrorCode::IllegalGeneration,
        GroupError::InconsistentGroupProtocol => ErrorCode::InconsistentGroupProtocol,
        GroupError::InvalidGroupId => ErrorCode::InvalidGroupId,
        GroupError::UnknownMemberId => ErrorCode::UnknownMemberId,
        GroupError::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
        GroupError::RebalanceInProgress => ErrorCode::RebalanceInProgress,
        GroupError::InvalidCommitOffsetSize => ErrorCode::InvalidCommitOffsetSize,
        GroupError::OffsetMetadataTooLarge => ErrorCode::OffsetMetadataTooLarge,
        GroupError::NonEmptyGroup => ErrorCode::NonEmptyGroup,
        GroupError::GroupIdNotFound => ErrorCode::GroupIdNotFound,
        GroupError::MemberIdRequired => ErrorCode::MemberIdRequired,
        GroupError::GroupMaxSizeReached => ErrorCode::GroupMaxSizeReached,
        GroupError::FencedInstanceId => ErrorCode::FencedInstanceId,
        GroupError::GroupSubscribedToTopic => ErrorCode::GroupSubscribedToTopic,
        GroupError::UnstableOffsetCommit => ErrorCode::UnstableOffsetCommit,
        GroupError::InvalidProducerEpoch => ErrorCode::InvalidProducerEpoch,
        GroupError::InvalidTxnState => ErrorCode::InvalidTxnState,
        GroupError::RequestTimedOut => ErrorCode::RequestTimedOut,
        GroupError::UnknownServerError => ErrorCode::UnknownServerError,
    }
}

/// The number for an answer of the group coordinator; no refusal is success.
pub fn of_group_answer(refusal: Option<GroupError>) -> i16 {
    refusal.map_or(ErrorCode::None, of_group) as i16
}

/// The code for a refusal of the transaction coordinator.
pub fn of_transaction(error: TransactionError) -> ErrorCode {
    match error {
        TransactionError::CoordinatorLoadInProgress => ErrorCode::CoordinatorLoadInProgress,
        TransactionError::CoordinatorNotAvailable => ErrorCode::CoordinatorNotAvailable,
        TransactionError::NotCoordinator => ErrorCode::NotCoordinator,
        TransactionError::InvalidRequest => ErrorCode::InvalidRequest,
        TransactionError::InvalidTxnState => ErrorCode::InvalidTxnState,
        TransactionError::InvalidProducerIdMapping => ErrorCode::InvalidProducerIdMapping,
        TransactionError::InvalidTransactionTimeout => ErrorCode::InvalidTransactionTimeout,
        TransactionError::ConcurrentTransactions => ErrorCode::ConcurrentTransactions,
        TransactionError::ProducerFenced => ErrorCode::ProducerFenced,
        TransactionError::TransactionalIdNotFound => ErrorCode::TransactionalIdNotFound,
        TransactionError::TransactionAbortable => ErrorCode::TransactionAbortable,
        TransactionError::UnknownServerError => ErrorCode::UnknownServerError,
    }
}

/// The same for a client that may be too old to know PRODUCER_FENCED: it is told INVALID_PRODUCER_EPOCH.
pub fn of_transaction_for(error: TransactionError, knows_fenced: bool) -> ErrorCode {
    match of_transaction(error) {
        ErrorCode::ProducerFenced if !knows_fenced => ErrorCode::InvalidProducerEpoch,
        code => code,
    }
}
