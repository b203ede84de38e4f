//! What waits to be asked of one coordinator, by transactional id.
//!
//! Source: Kafka 3.9 `AddPartitionsToTxnManager.addTxnData`.

use std::collections::HashMap;

use broker_wire::ErrorCode;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;

use super::Question;

/// A question, and who waits for its answer.
pub(super) struct Asked {
    pub(super) question: Question,
    pub(super) sender: oneshot::Sender<Vec<ErrorCode>>,
}

impl Asked {
    pub(super) fn answer(self, codes: Vec<ErrorCode>) {
        // A client that has gone does not mind.
        let _gone = self.sender.send(codes);
    }

    pub(super) fn answer_all(self, code: ErrorCode) {
        let codes = self.question.all(code);
        self.answer(codes);
    }
}

/// What waits of one transactional id: never empty, and all of one producer and epoch.
pub(super) type Together = Vec<Asked>;

#[derive(Default)]
pub(super) struct Queue(HashMap<StrBytes, Together>);

impl Queue {
    /// Adds a question. What a transaction asks at the same time, of a partition and of a group, goes together; Kafka would
    /// send the earlier one away, to be asked again. An older epoch is fenced.
    pub(super) fn add(&mut self, asked: Asked) {
        let together = self.0.entry(asked.question.transactional_id.clone()).or_default();
        let Some(first) = together.first() else {
            return together.push(asked);
        };
        let (waiting, new) = (&first.question, &asked.question);
        if waiting.producer_epoch > new.producer_epoch {
            return asked.answer_all(ErrorCode::InvalidProducerEpoch);
        }
        if (waiting.producer_id, waiting.producer_epoch) != (new.producer_id, new.producer_epoch) {
            for before in std::mem::take(together) {
                before.answer_all(ErrorCode::InvalidProducerEpoch);
            }
        }
        together.push(asked);
    }

    /// Everything that waits, for one request.
    pub(super) fn take(&mut self) -> Vec<Together> {
        self.0.drain().map(|(_, together)| together).collect()
    }
}

#[cfg(test)]
mod tests {
    use model::{ProducerEpoch, ProducerId, TopicPartition};

    use super::*;

    fn ask(queue: &mut Queue, id: &'static str, epoch: i16) -> oneshot::Receiver<Vec<ErrorCode>> {
        let (sender, receiver) = oneshot::channel();
        let question = Question {
            transactional_id: StrBytes::from_static_str(id),
            producer_id: ProducerId(1),
            producer_epoch: ProducerEpoch(epoch),
            partitions: vec![TopicPartition::new("t", 0)],
            knows_abortable: false,
        };
        queue.add(Asked { question, sender });
        receiver
    }

    #[test]
    fn the_newest_epoch_of_a_transactional_id_waits() {
        let check =
            |name: &str, first: i16, second: i16, told_first: Option<ErrorCode>, told_second: Option<ErrorCode>| {
                let mut queue = Queue::default();
                let mut other = ask(&mut queue, "other", 9);
                let (mut one, mut two) = (ask(&mut queue, "a", first), ask(&mut queue, "a", second));
                let told =
                    |answer: &mut oneshot::Receiver<Vec<ErrorCode>>| answer.try_recv().ok().map(|codes| codes[0]);
                assert_eq!((told(&mut one), told(&mut two)), (told_first, told_second), "{name}");
                assert_eq!(told(&mut other), None, "{name}");
                let all = queue.take();
                let mut waiting: Vec<_> = all
                    .iter()
                    .map(|together| (together[0].question.producer_epoch.0, together.len()))
                    .collect();
                waiting.sort_unstable();
                let count = if first == second { 2 } else { 1 };
                assert_eq!(waiting, [(first.max(second), count), (9, 1)], "{name}");
                assert!(queue.take().is_empty());
            };
        //    name                first  second  told the first                            told the second
        check("together", 1, 1, None, None);
        check("a newer epoch", 1, 2, Some(ErrorCode::InvalidProducerEpoch), None);
        check("an older epoch", 2, 1, None, Some(ErrorCode::InvalidProducerEpoch));
    }
}
