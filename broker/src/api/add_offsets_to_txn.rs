//! AddOffsetsToTxn (key 25, versions 0–4): a producer will commit a group's offsets in its transaction.
//!
//! The group's partition of `__consumer_offsets` becomes part of the transaction, as any other.

use std::collections::BTreeSet;

use broker_wire::ErrorCode;
use coordinator::transaction::{AddPartitionsRequest, Producer};
use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use model::{GROUP_METADATA_TOPIC, ProducerEpoch, ProducerId, TopicPartition};

use super::text::shared;
use super::{Api, RequestContext, api, error_code};
use crate::security::{Operation, ResourceType};

pub(super) const API: Api = api!(AddOffsetsToTxn, 0..=4, handle);

/// The first version whose clients know PRODUCER_FENCED.
const KNOWS_FENCED: i16 = 2;

async fn handle(cx: &RequestContext, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let code = add(cx, &request).await.err().unwrap_or(ErrorCode::None);
    AddOffsetsToTxnResponse::default().with_error_code(code as i16)
}

async fn add(cx: &RequestContext, request: &AddOffsetsToTxnRequest) -> Result<(), ErrorCode> {
    let (id, group) = (&request.transactional_id, &request.group_id);
    if !cx.authorize(Operation::Write, ResourceType::TransactionalId, id) {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    if !cx.authorize(Operation::Read, ResourceType::Group, group) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    let groups = &cx.broker.groups;
    groups.learn_partition_count().await;
    let partition = TopicPartition::new(GROUP_METADATA_TOPIC, groups.partition_for(group));
    let request = AddPartitionsRequest {
        transactional_id: shared(id),
        producer: Producer {
            id: ProducerId(request.producer_id.0),
            epoch: ProducerEpoch(request.producer_epoch),
        },
        partitions: BTreeSet::from([partition]),
    };
    let answer = cx.broker.transactions.add_partitions(request).await;
    answer.map_err(|error| error_code::of_transaction_for(error, cx.version() >= KNOWS_FENCED))
}
