//! A core on a stage: commands as text in, everything it does as text out. The log is a list that can fail or wait.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use model::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId, TopicPartition, VerificationGuard};

use super::super::*;

/// 2026, so that wall clock and steady clock are not taken for each other.
const EPOCH: i64 = 1_700_000_000_000;

pub(super) struct Stage {
    pub(super) groups: Groups,
    pub(super) config: GroupConfig,
    pub(super) now: i64,
    /// Every batch that was stored: base offset, batch.
    pub(super) log: Vec<(Offset, Batch)>,
    markers: Vec<(usize, ProducerId, bool)>,
    pub(super) held: VecDeque<(WriteId, Batch)>,
    pub(super) holding: bool,
    pub(super) fail: Option<AppendFailure>,
    pub(super) trace: String,
    next_ticket: u64,
    /// Tickets that wait, and what for.
    pub(super) waiting: BTreeMap<Ticket, String>,
    uuids: BTreeMap<String, u32>,
    /// The last effects, for invariants.
    pub(super) seen: Vec<Effect>,
}

impl Stage {
    pub(super) fn new() -> Self {
        let config = GroupConfig::default();
        Self {
            groups: Groups::new(config.clone(), at(0)),
            config,
            now: 0,
            log: Vec::new(),
            markers: Vec::new(),
            held: VecDeque::new(),
            holding: false,
            fail: None,
            trace: String::new(),
            next_ticket: 0,
            waiting: BTreeMap::new(),
            uuids: BTreeMap::new(),
            seen: Vec::new(),
        }
    }

    pub(super) fn last_ticket(&self) -> u64 {
        self.next_ticket
    }

    pub(super) fn run(&mut self, command: &str) {
        let mut words = command.split_whitespace();
        let verb = words.next().unwrap();
        let args = Args(words.collect());
        let now = at(self.now);
        match verb {
            "config" => self.configure(&args),
            "at" => self.advance(args.0[0].parse().unwrap()),
            "join" => self.join(&args),
            "sync" => {
                let assignments = args.get("assign").map(|text| text.split(',').map(assignment).collect());
                let request = SyncRequest {
                    group_id: args.group(),
                    generation_id: args.number("gen", 1),
                    member_id: args.text("id", ""),
                    group_instance_id: args.get("instance").map(Arc::from),
                    protocol_type: args.get("type").map(Arc::from),
                    protocol_name: args.get("protocol").map(Arc::from),
                    assignments: assignments.unwrap_or_default(),
                };
                let ticket = self.ticket(format!("sync {}", request.member_id));
                self.groups.sync(ticket, request, now);
            }
            "heartbeat" => {
                let request = HeartbeatRequest {
                    group_id: args.group(),
                    generation_id: args.number("gen", 1),
                    member_id: args.text("id", ""),
                    group_instance_id: args.get("instance").map(Arc::from),
                };
                let answer = self.groups.heartbeat(&request, now);
                self.say(&outcome(answer));
            }
            "leave" => {
                let member = LeavingMember {
                    member_id: args.text("id", ""),
                    group_instance_id: args.get("instance").map(Arc::from),
                    reason: None,
                };
                let answers = self.groups.leave(&args.group(), &[member], now);
                self.say(&outcome(answers[0]));
            }
            "commit" => self.commit(&args),
            "transaction" => {
                let committed = args.0.contains(&"commits");
                let producer_id = ProducerId(args.number("producer", 7).into());
                self.markers.push((self.log.len(), producer_id, committed));
                let marker_offset = self.marker_offset(self.log.len());
                self.groups.complete_transaction(producer_id, committed, marker_offset);
            }
            "fetch" => self.fetch(&args),
            "delete" => {
                let answer = self.groups.delete(&args.group(), now);
                self.say(&outcome(answer));
            }
            "delete-offsets" => {
                let partitions = args.partitions();
                match self.groups.delete_offsets(&args.group(), &partitions, now) {
                    Ok(answers) => {
                        for (partition, error) in partitions.iter().zip(answers) {
                            self.say(&format!("{partition} {}", outcome(error.map_or(Ok(()), Err))));
                        }
                    }
                    Err(error) => self.say(&format!("refused: {error:?}")),
                }
            }
            "delete-partitions" => self.groups.partitions_deleted(&args.partitions(), now),
            "describe" => self.describe(&args.group()),
            "list" => {
                let mut lines: Vec<_> = self
                    .groups
                    .list()
                    .map(|g| format!("{} {} {}", g.group_id, g.state, g.protocol_type))
                    .collect();
                lines.sort();
                lines.iter().for_each(|line| self.say(line));
            }
            "hold" => self.holding = true,
            "stored" => {
                self.holding = false;
                for (id, batch) in std::mem::take(&mut self.held) {
                    self.settle(id, batch);
                }
            }
            "fail" => {
                self.fail = match args.0[0] {
                    "NotAvailable" => Some(AppendFailure::NotAvailable),
                    "NotLeader" => Some(AppendFailure::NotLeader),
                    "TimedOut" => Some(AppendFailure::TimedOut),
                    "TooLarge" => Some(AppendFailure::TooLarge),
                    "no" => None,
                    other => panic!("fail {other}"),
                };
            }
            "reload" => {
                let (groups, config) = (self.replayed(), self.config.clone());
                let old = std::mem::replace(&mut self.groups, groups.finish(config, now));
                self.effects(old.resign(now));
                self.held.clear();
            }
            other => panic!("unknown command {other}"),
        }
        self.perform();
    }

    /// What a new coordinator reads.
    pub(super) fn replayed(&self) -> Loader {
        let mut loader = Loader::new();
        for (index, (base, batch)) in self.log.iter().enumerate() {
            for (_, producer, committed) in self.markers.iter().filter(|(before, ..)| *before == index) {
                loader.complete_transaction(*producer, *committed, self.marker_offset(index));
            }
            for record in &batch.records {
                let producer = batch.producer.map(|(id, _)| id);
                loader
                    .replay(*base, producer, &record.key, record.value.as_deref())
                    .unwrap();
            }
        }
        for (_, producer, committed) in self.markers.iter().filter(|(before, ..)| *before == self.log.len()) {
            loader.complete_transaction(*producer, *committed, self.marker_offset(self.log.len()));
        }
        loader
    }

    /// Where a marker behind so many batches is. Markers take no offset here; the last record before has the one before.
    fn marker_offset(&self, batches: usize) -> Offset {
        let before = self.log[..batches].last();
        before.map_or(Offset(-1), |(base, batch)| {
            Offset(base.0 + batch.records.len() as i64 - 1)
        })
    }

    fn configure(&mut self, args: &Args<'_>) {
        let millis = |key: &str, current: Millis| args.get(key).map_or(current, |v| Millis(v.parse().unwrap()));
        let config = &mut self.config;
        config.initial_rebalance_delay = millis("delay", config.initial_rebalance_delay);
        config.offsets_retention = millis("retention", config.offsets_retention);
        config.offsets_retention_check_interval = millis("check", config.offsets_retention_check_interval);
        config.max_size = args.get("max-size").map_or(config.max_size, |v| v.parse().unwrap());
        self.groups.reconfigure(self.config.clone());
    }

    /// Goes on to `until`, stopping wherever something is due.
    pub(super) fn advance(&mut self, until: i64) {
        loop {
            let due = self.groups.next_deadline();
            if due.0 > until {
                break;
            }
            self.now = self.now.max(due.0);
            self.groups.tick(at(self.now));
            let before = self.trace.len();
            self.perform();
            if self.trace.len() > before {
                let line = format!("-- at {}\n", self.now);
                self.trace.insert_str(before, &line);
            }
        }
        self.now = until;
    }

    fn ticket(&mut self, label: String) -> Ticket {
        self.next_ticket += 1;
        self.waiting.insert(Ticket(self.next_ticket), label);
        Ticket(self.next_ticket)
    }

    fn join(&mut self, args: &Args<'_>) {
        let member_id = args.text("id", "");
        let member = member_id.clone();
        let client = args.get("client").unwrap_or_else(|| member.split('-').next().unwrap());
        let client_id: Arc<str> = client.into();
        let version = args.number("v", 5);
        let instance: Option<Arc<str>> = args.get("instance").map(Arc::from);
        let uuid = self
            .uuids
            .entry(instance.as_deref().unwrap_or(client).to_owned())
            .or_default();
        *uuid += 1;
        let topics = args.get("topics").unwrap_or("t");
        let protocols = args
            .get("protocols")
            .unwrap_or("range")
            .split(',')
            .filter(|name| !name.is_empty());
        let request = JoinRequest {
            group_id: args.group(),
            require_known_member_id: version >= 4 && instance.is_none(),
            support_skipping_assignment: version >= 9,
            member_id,
            group_instance_id: instance,
            client_id,
            client_host: "/h".into(),
            rebalance_timeout_ms: args.number("rebalance", 60_000),
            session_timeout_ms: args.number("session", 10_000),
            protocol_type: args.text("type", "consumer"),
            protocols: protocols
                .map(|name| Protocol {
                    name: name.into(),
                    metadata: subscription(topics),
                })
                .collect(),
            new_member_uuid: uuid.to_string(),
            reason: None,
        };
        let ticket = self.ticket(format!("join {client}"));
        self.groups.join(ticket, request, at(self.now));
    }

    fn commit(&mut self, args: &Args<'_>) {
        let metadata = "é".repeat(args.number("metadata", 0) as usize);
        let offsets = args
            .0
            .iter()
            .filter(|word| !word.contains("id=") && word.contains("-") && !word.starts_with("gen="))
            .map(|word| {
                let (partition, offset) = word.split_once('=').unwrap();
                let value = CommittedOffset {
                    offset: Offset(offset.parse().unwrap()),
                    leader_epoch: LeaderEpoch::NONE,
                    metadata: metadata.as_str().into(),
                    commit_timestamp: at(self.now).wall,
                    expire_timestamp: args.get("expire").map(|at| Millis(EPOCH + at.parse::<i64>().unwrap())),
                };
                (topic_partition(partition), value)
            })
            .collect();
        let commit = CommitRequest {
            group_id: args.group(),
            generation_id: args.number("gen", -1),
            member_id: args.text("id", ""),
            group_instance_id: args.get("instance").map(Arc::from),
            offsets,
        };
        let ticket = self.ticket("commit".into());
        match args.get("producer") {
            Some(producer) => {
                let request = TransactionalCommitRequest {
                    commit,
                    producer_id: ProducerId(producer.parse().unwrap()),
                    producer_epoch: ProducerEpoch(0),
                    verification: VerificationGuard::NONE,
                };
                self.groups.commit_transactional(ticket, request, at(self.now));
            }
            None => self.groups.commit(ticket, commit, at(self.now)),
        }
    }

    fn fetch(&mut self, args: &Args<'_>) {
        let require_stable = args.0.contains(&"stable");
        let partitions = args.partitions();
        let fetched = if partitions.is_empty() {
            self.groups.fetch_all_offsets(&args.group(), require_stable)
        } else {
            let fetched = self.groups.fetch_offsets(&args.group(), &partitions, require_stable);
            partitions.into_iter().zip(fetched).collect()
        };
        for (partition, fetched) in fetched {
            let text = match fetched {
                FetchedOffset::Committed(value) => value.offset.to_string(),
                FetchedOffset::None => "none".into(),
                FetchedOffset::Unstable => "unstable".into(),
            };
            self.say(&format!("{partition} {text}"));
        }
    }

    fn describe(&mut self, group_id: &str) {
        let group = self.groups.describe(group_id);
        self.say(&format!(
            "{} type={} protocol={}",
            group.state, group.protocol_type, group.protocol
        ));
        for member in group.members {
            let instance = member
                .group_instance_id
                .map(|id| format!(" instance={id}"))
                .unwrap_or_default();
            let assignment = String::from_utf8_lossy(&member.assignment).into_owned();
            self.say(&format!("  {}{instance} assignment={assignment}", member.member_id));
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.trace, "{line}").unwrap();
    }

    fn perform(&mut self) {
        loop {
            let effects = self.groups.take_effects();
            if effects.is_empty() {
                break;
            }
            self.effects(effects);
        }
    }

    fn effects(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.seen.push(effect.clone());
            match effect {
                Effect::Append(id, batch) => {
                    self.say(&format!("append {}", describe_batch(&batch)));
                    if self.holding {
                        self.held.push_back((id, batch))
                    } else {
                        self.settle(id, batch)
                    }
                }
                Effect::AppendLazily(batch) => {
                    self.say(&format!("append lazily {}", describe_batch(&batch)));
                    self.store(batch);
                }
                Effect::Joined(ticket, answer) => {
                    let label = self.answered(ticket);
                    self.say(&format!("{label} -> {}", describe_join(&answer)));
                }
                Effect::Synced(ticket, answer) => {
                    let label = self.answered(ticket);
                    let text = match answer {
                        Ok(answer) => format!("assignment={}", String::from_utf8_lossy(&answer.assignment)),
                        Err(error) => format!("{error:?}"),
                    };
                    self.say(&format!("{label} -> {text}"));
                }
                Effect::Committed(ticket, answer) => {
                    let label = self.answered(ticket);
                    let all: Vec<_> = answer
                        .into_iter()
                        .map(|(p, e)| format!("{p} {}", outcome(e.map_or(Ok(()), Err))))
                        .collect();
                    self.say(&format!("{label} -> {}", all.join(", ")));
                }
                Effect::Note(note) => {
                    if let Some(text) = describe_note(&note) {
                        self.say(&text);
                    }
                }
            }
        }
    }

    fn answered(&mut self, ticket: Ticket) -> String {
        self.waiting.remove(&ticket).expect("a ticket is answered once")
    }

    fn store(&mut self, batch: Batch) -> Offset {
        let end = self
            .log
            .last()
            .map_or(0, |(base, batch)| base.0 + batch.records.len() as i64);
        self.log.push((Offset(end), batch));
        Offset(end)
    }

    pub(super) fn settle(&mut self, id: WriteId, batch: Batch) {
        let outcome = match self.fail {
            Some(failure) => Err(failure),
            None => Ok(self.store(batch)),
        };
        self.groups.appended(id, outcome, at(self.now));
    }
}

fn at(steady: i64) -> Now {
    Now {
        wall: Millis(EPOCH + steady),
        steady: Millis(steady),
    }
}

fn outcome(answer: Result<(), GroupError>) -> String {
    answer.map_or_else(|error| format!("refused: {error:?}"), |()| "ok".into())
}

struct Args<'a>(Vec<&'a str>);

impl<'a> Args<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    fn text(&self, key: &str, default: &str) -> Arc<str> {
        self.get(key).unwrap_or(default).into()
    }

    fn number(&self, key: &str, default: i32) -> i32 {
        self.get(key).map_or(default, |value| value.parse().unwrap())
    }

    fn group(&self) -> Arc<str> {
        self.text("group", "g")
    }

    fn partitions(&self) -> Vec<TopicPartition> {
        self.0
            .iter()
            .filter(|word| word.contains('-') && !word.contains('='))
            .map(|word| topic_partition(word))
            .collect()
    }
}

fn topic_partition(text: &str) -> TopicPartition {
    let (topic, partition) = text.rsplit_once('-').unwrap();
    TopicPartition::new(topic, partition.parse().unwrap())
}

fn assignment(text: &str) -> (Arc<str>, Bytes) {
    let (member, work) = text.split_once(':').unwrap();
    (member.into(), Bytes::copy_from_slice(work.as_bytes()))
}

fn subscription(topics: &str) -> Bytes {
    let topics: Vec<_> = topics.split(',').collect();
    let mut out = BytesMut::new();
    out.put_i16(0);
    out.put_i32(topics.len() as i32);
    for topic in topics {
        out.put_i16(topic.len() as i16);
        out.put_slice(topic.as_bytes());
    }
    out.put_i32(-1);
    out.freeze()
}

fn describe_join(answer: &JoinAnswer) -> String {
    let id = &answer.member_id;
    if let Some(error) = answer.error {
        return format!("{error:?} id={id}");
    }
    let members: Vec<_> = answer.members.iter().map(|member| &*member.member_id).collect();
    let mut text = format!("id={id} gen={} leader={}", answer.generation_id, answer.leader_id);
    if !members.is_empty() {
        write!(text, " members={}", members.join(",")).unwrap();
    }
    if answer.skip_assignment {
        text.push_str(" skip-assignment");
    }
    write!(text, " protocol={}", answer.protocol_name.as_deref().unwrap_or("none")).unwrap();
    text
}

fn describe_batch(batch: &Batch) -> String {
    let records: Vec<_> = batch
        .records
        .iter()
        .map(|record| {
            let value = record.value.as_deref();
            match Key::decode(&record.key).unwrap() {
                Key::Offset { group_id, partition } => match value {
                    Some(value) => format!(
                        "{group_id}/{partition}={}",
                        CommittedOffset::decode(value).unwrap().offset
                    ),
                    None => format!("{group_id}/{partition}=tombstone"),
                },
                Key::Group { group_id } => match value.map(|value| StoredGroup::decode(value).unwrap()) {
                    Some(group) => {
                        let members: Vec<_> = group.members.iter().map(|member| &*member.member_id).collect();
                        format!(
                            "{group_id}: gen={} members=[{}]",
                            group.generation_id,
                            members.join(",")
                        )
                    }
                    None => format!("{group_id}: tombstone"),
                },
                Key::Unknown(version) => panic!("key version {version}"),
            }
        })
        .collect();
    let producer = batch
        .producer
        .map(|(id, _)| format!("(producer {id}) "))
        .unwrap_or_default();
    format!("{producer}{}", records.join(", "))
}

fn describe_note(note: &Note) -> Option<String> {
    Some(match note {
        Note::Rebalancing {
            generation_id, reason, ..
        } => {
            let reason = reason.split(';').next().unwrap_or_default();
            format!("rebalancing after gen={generation_id}: {reason}")
        }
        Note::MemberFailed { member_id, missed, .. } => format!("{member_id} missed {missed:?}"),
        Note::OffsetsExpired { group_id, count } => format!("{group_id}: {count} offsets expired"),
        Note::Removed { group_id, .. } => format!("{group_id} removed"),
        Note::Emptied { generation_id, .. } => format!("emptied, gen={generation_id}"),
        Note::StoreFailed { failure, .. } => format!("store failed: {failure:?}"),
        Note::Stabilized { .. } | Note::RebalanceCompleted { .. } => return None,
    })
}
