//! What waits to be sent to one broker.
//!
//! Pure. Commands leave in the order in which they came. A broker that does not take them must not make the queue grow
//! without end, and none may be dropped: so from [`MAX_QUEUED`] on a command is merged into the last one of its kind, where
//! no other kind lies between that the order matters to. What is merged says of a partition what was said last.
//!
//! Bound: [`MAX_QUEUED`] plus one command per change of mind about a StopReplica; each holds a partition at most once.

use std::collections::VecDeque;
use std::sync::Arc;

use coordinator::controller::{BrokerCommand, LeaderAndIsr, StopReplica, UpdateMetadata};

/// From how many waiting commands on they are merged.
pub(crate) const MAX_QUEUED: usize = 256;

/// Commands for one broker, in order.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    commands: VecDeque<BrokerCommand>,
}

impl Queue {
    /// Puts a command at the end, or into one that waits.
    pub(crate) fn push(&mut self, command: BrokerCommand) {
        if self.commands.len() < MAX_QUEUED {
            self.commands.push_back(command);
            return;
        }
        match command {
            // Tells how things are; whatever else is said before or after, the newest is right.
            BrokerCommand::UpdateMetadata(newer) => {
                match self.commands.iter_mut().rev().find_map(update_metadata_mut) {
                    Some(older) => merge_metadata(older, &newer),
                    None => self.commands.push_back(BrokerCommand::UpdateMetadata(newer)),
                }
            }
            // Starting and stopping must not overtake each other.
            BrokerCommand::LeaderAndIsr(newer) => match self.last_but_metadata() {
                Some(BrokerCommand::LeaderAndIsr(older)) => merge_leadership(older, newer),
                _ => self.commands.push_back(BrokerCommand::LeaderAndIsr(newer)),
            },
            BrokerCommand::StopReplica(newer) => match self.last_but_metadata() {
                Some(BrokerCommand::StopReplica(older)) => merge_stop(older, newer),
                _ => self.commands.push_back(BrokerCommand::StopReplica(newer)),
            },
        }
    }

    /// Takes the oldest command.
    pub(crate) fn pop(&mut self) -> Option<BrokerCommand> {
        self.commands.pop_front()
    }

    fn last_but_metadata(&mut self) -> Option<&mut BrokerCommand> {
        self.commands
            .iter_mut()
            .rev()
            .find(|command| !matches!(command, BrokerCommand::UpdateMetadata(_)))
    }
}

fn update_metadata_mut(command: &mut BrokerCommand) -> Option<&mut Arc<UpdateMetadata>> {
    match command {
        BrokerCommand::UpdateMetadata(update) => Some(update),
        _ => None,
    }
}

fn merge_metadata(older: &mut Arc<UpdateMetadata>, newer: &UpdateMetadata) {
    let merged = Arc::make_mut(older);
    for (partition, state) in &newer.partitions {
        merged.partitions.insert(partition.clone(), state.clone());
    }
    for (topic, id) in &newer.topic_ids {
        merged.topic_ids.insert(topic.clone(), *id);
    }
    merged.live_brokers.clone_from(&newer.live_brokers);
}

fn merge_leadership(older: &mut LeaderAndIsr, newer: LeaderAndIsr) {
    for (partition, mut state) in newer.partitions {
        // Still new to the broker if it has not even heard that it was.
        state.is_new |= older.partitions.get(&partition).is_some_and(|before| before.is_new);
        older.partitions.insert(partition, state);
    }
    older.topic_ids.extend(newer.topic_ids);
    older.live_leaders.extend(newer.live_leaders);
    older.live_leaders.sort();
    older.live_leaders.dedup();
}

fn merge_stop(older: &mut StopReplica, newer: StopReplica) {
    for (partition, mut state) in newer.partitions {
        state.delete |= older.partitions.get(&partition).is_some_and(|before| before.delete);
        older.partitions.insert(partition, state);
    }
}

#[cfg(test)]
mod tests {
    use coordinator::controller::StopReplicaPartition;
    use model::{LeaderEpoch, TopicPartition};

    use super::*;

    fn stop(partition: i32, delete: bool) -> BrokerCommand {
        let state = StopReplicaPartition {
            leader_epoch: LeaderEpoch(1),
            delete,
        };
        BrokerCommand::StopReplica(StopReplica {
            partitions: [(TopicPartition::new("t", partition), state)].into(),
        })
    }

    fn metadata() -> BrokerCommand {
        BrokerCommand::UpdateMetadata(Arc::default())
    }

    #[test]
    fn a_full_queue_merges_and_loses_nothing() {
        let mut queue = Queue::default();
        for _ in 0..MAX_QUEUED {
            queue.push(metadata());
        }
        for partition in 0..1_000 {
            queue.push(stop(partition, false));
            queue.push(metadata());
        }
        queue.push(stop(7, true));
        queue.push(stop(7, false));
        let mut stopped = Vec::new();
        let mut taken = 0;
        while let Some(command) = queue.pop() {
            taken += 1;
            if let BrokerCommand::StopReplica(stop) = command {
                stopped.extend(stop.partitions);
            }
        }
        assert_eq!(taken, MAX_QUEUED + 1);
        assert_eq!(stopped.len(), 1_000);
        assert!(
            stopped
                .iter()
                .all(|(partition, state)| state.delete == (partition.partition == 7))
        );
    }

    #[test]
    fn starting_does_not_overtake_stopping() {
        let mut queue = Queue::default();
        let start = || BrokerCommand::LeaderAndIsr(LeaderAndIsr::default());
        for _ in 0..MAX_QUEUED {
            queue.push(metadata());
        }
        for command in [stop(1, false), start(), stop(1, true), metadata(), start()] {
            queue.push(command);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).skip(MAX_QUEUED).collect();
        assert_eq!(order, [stop(1, false), start(), stop(1, true), start()]);
    }
}
