//! Blocks of producer ids, one thousand at a time, from `/latest_producer_id_block`.
//!
//! Source: Kafka 3.9 `ZkProducerIdManager.getNewProducerIdBlock`; KIP-730.

use model::{BrokerEpoch, BrokerId};
use zk_schema::Op;

use super::active::{Active, failed};
use super::event::{Answer, Read, Refusal, Reply};
use super::znodes;

impl Active {
    /// The next block for this broker.
    pub(super) async fn allocate_producer_ids(
        &mut self,
        broker: BrokerId,
        broker_epoch: BrokerEpoch,
    ) -> Result<Reply, Refusal> {
        let registered = self.image.brokers.get(&broker).ok_or(Refusal::BrokerIdNotRegistered)?;
        if registered.epoch != broker_epoch {
            return Err(Refusal::StaleBrokerEpoch);
        }
        loop {
            let read = Read::Data {
                path: znodes::PRODUCER_ID_BLOCK.to_owned(),
                watch: false,
            };
            let (block, version) = match self.port.read(vec![read]).await.pop() {
                Some(Answer::Data { data, version, .. }) => match znodes::next_producer_id_block(&data, broker) {
                    Ok(Some(block)) => (block, version),
                    Ok(None) => return Err(Refusal::Failed("all producer ids have been used".to_owned())),
                    Err(error) => return Err(Refusal::Failed(error.to_string())),
                },
                other => return Err(Refusal::Failed(format!("zookeeper answered {other:?}"))),
            };
            let write = Op::set(znodes::PRODUCER_ID_BLOCK, block.encode(), Some(version));
            match self.port.write(vec![write]).await.pop() {
                Some(Answer::Written { .. }) => {
                    return Ok(Reply::ProducerIds {
                        start: block.first.0,
                        len: znodes::block_len(&block),
                    });
                }
                // A broker below inter.broker.protocol.version 3.0 allocates for itself: take the block after its.
                Some(Answer::BadVersion) => {}
                Some(other) => return Err(failed(&other)),
                None => return Err(Refusal::Failed("zookeeper did not answer".to_owned())),
            }
        }
    }
}
