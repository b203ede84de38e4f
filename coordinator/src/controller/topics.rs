//! Topics and partitions appear: `/brokers/topics` and the topic znodes below it have changed.
//!
//! Decides nothing about leaders; it finds what is new, gives ids to topics that have none, and has them brought online.
//! Source: Kafka 3.9 `KafkaController.processTopicChange`, `processPartitionModifications`.

use std::sync::Arc;

use model::{TopicId, TopicPartition};
use zk_schema::Op;

use super::active::{Active, CannotGoOn};
use super::event::Answer;
use super::image::Assignment;
use super::leader::Strategy;
use super::partition_state::PartitionState;
use super::replica_state::ReplicaState;
use super::znodes::{self, TopicZnode};

impl Active {
    /// `/brokers/topics` has other children: new topics, or topics that are gone.
    pub(super) async fn topics_changed(&mut self) -> Result<(), CannotGoOn> {
        let names = self.children(znodes::TOPICS, true).await?;
        let gone: Vec<_> = self
            .image
            .topics
            .keys()
            .filter(|name| !names.contains(&name.to_string()))
            .cloned()
            .collect();
        for topic in gone {
            self.image.remove_topic(&topic);
        }
        let new: Vec<_> = names
            .into_iter()
            .filter(|name| !self.image.topics.contains_key(&**name))
            .collect();
        let topics = self.read_topics(new).await?;
        let partitions = self.adopt(topics).await;
        self.create_partitions(partitions).await
    }

    /// A topic's znode has changed: perhaps it has more partitions.
    pub(super) async fn topic_modified(&mut self, topic: &str) -> Result<(), CannotGoOn> {
        let Some((name, read)) = self.read_topics(vec![topic.to_owned()]).await?.pop() else {
            return Ok(());
        };
        if !self.image.topics.contains_key(&name) {
            // Not known yet: the change of `/brokers/topics` is on its way.
            return Ok(());
        }
        let mut added: Vec<_> = (read.partitions.into_iter())
            .map(|(index, assignment)| (TopicPartition::new(name.clone(), index), assignment))
            .filter(|(partition, _)| self.image.partition(partition).is_none())
            .collect();
        if self.image.is_being_deleted(topic) {
            if !added.is_empty() {
                tracing::warn!(
                    topic,
                    "partitions were added to a topic that is being deleted: taking them back"
                );
                self.restore_assignment(&name).await;
            }
            return Ok(());
        }
        for (partition, assignment) in &mut added {
            self.image.set_assignment(partition, std::mem::take(assignment));
        }
        self.create_partitions(added.into_iter().map(|(partition, _)| partition).collect())
            .await
    }

    /// Reads topic znodes and leaves watches on them. Those that are gone, or cannot be read, are left out.
    pub(super) async fn read_topics(&self, names: Vec<String>) -> Result<Vec<(Arc<str>, TopicZnode)>, CannotGoOn> {
        let znodes = self
            .data_of(names.iter().map(|name| znodes::topic(name)).collect(), true)
            .await?;
        let mut topics = Vec::with_capacity(names.len());
        for (name, znode) in names.into_iter().zip(znodes) {
            let Some(found) = znode else { continue };
            match znodes::decode_topic(&name, &found.data) {
                Ok(topic) => topics.push((Arc::from(name), topic)),
                // The topic is as good as not there: nothing can be known about its partitions.
                Err(error) => tracing::error!(topic = name, %error, "topic znode cannot be read"),
            }
        }
        Ok(topics)
    }

    /// Takes topics into the image, with an id for each. Returns their partitions.
    pub(super) async fn adopt(&mut self, topics: Vec<(Arc<str>, TopicZnode)>) -> Vec<TopicPartition> {
        let mut partitions = Vec::new();
        let mut without_id = Vec::new();
        for (name, topic) in topics {
            self.image.topics.entry(name.clone()).or_default();
            for (index, assignment) in topic.partitions {
                let partition = TopicPartition::new(name.clone(), index);
                if assignment.is_being_reassigned() {
                    self.image.reassigning.insert(partition.clone());
                }
                self.image.set_assignment(&partition, assignment);
                partitions.push(partition);
            }
            match topic.id {
                Some(id) => self.image.set_topic_id(&name, id),
                None if self.config.topic_ids => without_id.push(name),
                None => {}
            }
        }
        self.give_ids(without_id).await;
        partitions
    }

    /// Gives ids to topics that a tool older than 2.8, or a `--zookeeper` tool, has made without one.
    async fn give_ids(&mut self, topics: Vec<Arc<str>>) {
        let mut ops = Vec::new();
        let mut given = Vec::new();
        for topic in topics {
            let id = self.draw_topic_id();
            let data = znodes::encode_topic(Some(id), &self.assignments_of(&topic));
            ops.push(Op::set(znodes::topic(&topic), data, None));
            given.push((topic, id));
        }
        let answers = self.port.write(ops).await;
        for ((topic, id), answer) in given.into_iter().zip(answers) {
            match answer {
                Answer::Written { .. } => self.image.set_topic_id(&topic, id),
                other => tracing::error!(%topic, answer = ?other, "topic cannot be given an id"),
            }
        }
    }

    /// The assignments of all partitions of a topic, as the image has them.
    pub(super) fn assignments_of(&self, topic: &str) -> Vec<(i32, Assignment)> {
        let topic = self.image.topics.get(topic);
        let partitions = topic.into_iter().flat_map(|topic| &topic.partitions);
        partitions
            .map(|(index, known)| (*index, known.assignment.clone()))
            .collect()
    }

    /// Writes the assignment that the image has over the one in ZooKeeper.
    async fn restore_assignment(&mut self, topic: &Arc<str>) {
        let data = znodes::encode_topic(self.image.topic_id(topic), &self.assignments_of(topic));
        let answer = self.port.write(vec![Op::set(znodes::topic(topic), data, None)]).await;
        if !matches!(answer[..], [Answer::Written { .. }]) {
            tracing::error!(%topic, ?answer, "assignment cannot be restored");
        }
    }

    /// New partitions get their first leaders. Source: Kafka 3.9 `KafkaController.onNewPartitionCreation`.
    async fn create_partitions(&mut self, partitions: Vec<TopicPartition>) -> Result<(), CannotGoOn> {
        if partitions.is_empty() {
            return Ok(());
        }
        self.move_partitions(&partitions, PartitionState::New);
        let replicas = self.image.replicas_of_partitions(&partitions);
        self.move_replicas(&replicas, ReplicaState::New).await?;
        self.bring_online(&partitions, Strategy::Offline { unclean: false })
            .await?;
        self.move_replicas(&replicas, ReplicaState::Online).await
    }

    /// A random (version 4) id, from the seed. Never one whose text starts with `-`, which command lines take for an
    /// option. Source: Kafka 3.9 `Uuid.randomUuid`.
    fn draw_topic_id(&mut self) -> TopicId {
        loop {
            self.drawn_ids += 1;
            let mut bytes = draw(&self.config.seed, self.drawn_ids);
            bytes[6] = bytes[6] & 0x0f | 0x40;
            bytes[8] = bytes[8] & 0x3f | 0x80;
            let id = TopicId(bytes);
            if !id.to_string().starts_with('-') && self.image.topic_name(id).is_none() {
                return id;
            }
        }
    }
}

/// The `n`th 16 bytes from a seed: SplitMix64, once per half.
fn draw(seed: &[u8; 16], n: u64) -> [u8; 16] {
    let seed = u128::from_be_bytes(*seed);
    let mix = |half: u64| {
        let z = half.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let high = u128::from(mix((seed >> 64) as u64));
    (high << 64 | u128::from(mix(seed as u64))).to_be_bytes()
}
