//! What processes and clients say to each other.

use broker_replica::follower::{EpochEnd, EpochQuestion, LeaderError, OffsetQuestion, SessionError};
use coordinator::controller::{Ask, BrokerCommand, BrokerReply, Refusal};
use model::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, Offset, TopicId, TopicPartition};

use crate::cluster::Pid;
use crate::model_log::Record;

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallId(pub(crate) u64);

/// A call that has not ended.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) caller: Caller,
    pub(crate) to: Pid,
}

/// Who calls, with the life (and term) in which; an answer to an earlier one is nobody's.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// A controller's channel to a broker.
    Channel {
        pid: Pid,
        life: u64,
        term: u64,
        broker: BrokerId,
        serial: u64,
    },
    /// A follower's fetcher.
    Fetcher {
        pid: Pid,
        life: u64,
        leader: BrokerId,
        serial: u64,
    },
    /// A leader that proposes in-sync sets.
    Proposals { pid: Pid, life: u64 },
    /// A broker that wants to leave in order.
    Leaving { pid: Pid, life: u64 },
    /// A producer.
    Client(usize),
    /// Somebody who waits for no answer.
    Administrator,
}

impl Caller {
    pub(crate) fn pid(&self) -> Option<Pid> {
        match self {
            Self::Channel { pid, .. }
            | Self::Fetcher { pid, .. }
            | Self::Proposals { pid, .. }
            | Self::Leaving { pid, .. } => Some(*pid),
            Self::Client(_) | Self::Administrator => None,
        }
    }
}

/// A request of a follower for one partition.
#[derive(Clone, Debug)]
pub(crate) struct FetchPartition {
    pub(crate) partition: TopicPartition,
    pub(crate) topic: TopicId,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) offset: i64,
    pub(crate) last_fetched_epoch: i32,
}

/// What a leader answers for one partition.
#[derive(Clone, Debug)]
pub(crate) enum Fetched {
    Records {
        records: Vec<Record>,
        high_watermark: i64,
    },
    /// The follower's log diverges; the largest epoch that both have ends here.
    Diverging {
        epoch: i32,
        end: i64,
    },
    Refused(LeaderError),
}

#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// LeaderAndIsr, UpdateMetadata, StopReplica.
    Control {
        controller_epoch: ControllerEpoch,
        broker_epoch: BrokerEpoch,
        command: BrokerCommand,
    },
    Fetch {
        replica: BrokerId,
        broker_epoch: BrokerEpoch,
        session_id: i32,
        session_epoch: i32,
        partitions: Vec<FetchPartition>,
        forgotten: Vec<TopicPartition>,
    },
    /// OffsetForLeaderEpoch.
    EpochEnds(Vec<EpochQuestion>),
    /// ListOffsets.
    Offsets(Vec<OffsetQuestion>),
    /// To the controller.
    Ask(Ask),
    Produce {
        partition: TopicPartition,
        payload: u64,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Controlled(Option<BrokerReply>),
    /// The session, or why there is none any more, and the partitions.
    Fetched(Result<i32, SessionError>, Vec<(TopicPartition, Fetched)>),
    EpochEnds(Vec<Result<EpochEnd, LeaderError>>),
    Offsets(Vec<Result<Offset, LeaderError>>),
    Answered(Result<coordinator::controller::Reply, Refusal>),
    /// The offset, or why it was refused.
    Produced(Result<i64, &'static str>),
}
