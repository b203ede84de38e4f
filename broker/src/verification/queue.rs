//! What waits to be asked of one coordinator: at most one question for each transactional id.
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

#[derive(Default)]
pub(super) struct Queue(HashMap<StrBytes, Asked>);

impl Queue {
    /// Adds a question. The newest of a transactional id counts: an older one of the same epoch is a request that the client
    /// sends again, and one of an older epoch is fenced.
    pub(super) fn add(&mut self, asked: Asked) {
        let epoch = asked.question.producer_epoch;
        match self.0.get(&asked.question.transactional_id) {
            Some(waiting) if waiting.question.producer_epoch > epoch => {
                asked.answer_all(ErrorCode::InvalidProducerEpoch);
            }
            _ => {
                if let Some(before) = self.0.insert(asked.question.transactional_id.clone(), asked) {
                    let code = match before.question.producer_epoch < epoch {
                        true => ErrorCode::InvalidProducerEpoch,
                        false => ErrorCode::NetworkException,
                    };
                    before.answer_all(code);
                }
            }
        }
    }

    /// Everything that waits, for one request.
    pub(super) fn take(&mut self) -> Vec<Asked> {
        self.0.drain().map(|(_, asked)| asked).collect()
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
    fn one_question_of_each_transactional_id_waits() {
        let check =
            |name: &str, first: i16, second: i16, told_first: Option<ErrorCode>, told_second: Option<ErrorCode>| {
                let mut queue = Queue::default();
                let mut other = ask(&mut queue, "other", 9);
                let (mut one, mut two) = (ask(&mut queue, "a", first), ask(&mut queue, "a", second));
                let told =
                    |answer: &mut oneshot::Receiver<Vec<ErrorCode>>| answer.try_recv().ok().map(|codes| codes[0]);
                assert_eq!((told(&mut one), told(&mut two)), (told_first, told_second), "{name}");
                assert_eq!(told(&mut other), None, "{name}");
                let mut waiting: Vec<_> = queue
                    .take()
                    .iter()
                    .map(|asked| asked.question.producer_epoch.0)
                    .collect();
                waiting.sort_unstable();
                assert_eq!(waiting, [first.max(second), 9], "{name}");
                assert!(queue.take().is_empty());
            };
        //    name                first  second  told the first                            told the second
        check("sent again", 1, 1, Some(ErrorCode::NetworkException), None);
        check("a newer epoch", 1, 2, Some(ErrorCode::InvalidProducerEpoch), None);
        check("an older epoch", 2, 1, None, Some(ErrorCode::InvalidProducerEpoch));
    }
}
