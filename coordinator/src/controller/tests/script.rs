//! Conversations: commands in a text file, and under each block everything that the controller did, as golden output.
//!
//! `UPDATE_SCRIPTS=1 cargo test -p coordinator` writes the output anew.

use std::fmt::Write as _;
use std::path::Path;

use model::{BrokerId, LeaderEpoch, PartitionEpoch, TopicPartition};
use zk_schema::Op;
use zk_schema::brokers::partition_state::PartitionState;

use super::world::{Done, World, topic_id};
use crate::controller::{
    Addressed, Answer, Ask, BrokerCommand, Event, IsrProposal, LeaderAndIsr, Refusal, Reply, StopReplica, TopicRef,
    UpdateMetadata,
};

#[test]
fn scripts_play_as_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/controller");
    let mut scripts: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    scripts.sort();
    assert!(
        scripts.len() >= 10,
        "only {} scripts in {}",
        scripts.len(),
        dir.display()
    );
    for path in scripts {
        let script = std::fs::read_to_string(&path).unwrap();
        let played = play(&script);
        if std::env::var_os("UPDATE_SCRIPTS").is_some() {
            std::fs::write(&path, &played).unwrap();
        }
        let script = std::fs::read_to_string(&path).unwrap();
        assert!(played == script, "{} plays otherwise:\n{played}", path.display());
    }
}

/// Plays every block: lines up to `----` are commands, lines after it up to an empty line are what followed.
fn play(script: &str) -> String {
    let mut world = World::new(|_| ());
    let mut out = String::new();
    for block in script.trim_end().split("\n\n") {
        let commands: Vec<_> = block.lines().take_while(|line| *line != "----").collect();
        for line in &commands {
            writeln!(out, "{line}").unwrap();
            if !line.starts_with('#') {
                command(&mut world, line);
                if !line.starts_with("then") {
                    world.settle();
                }
            }
        }
        if commands.iter().all(|line| line.starts_with('#')) {
            out.push('\n');
            continue;
        }
        out.push_str("----\n");
        out.push_str(&trace(std::mem::take(&mut world.done)));
        out.push('\n');
    }
    format!("{}\n", out.trim_end())
}

fn command(world: &mut World, line: &str) {
    let mut words = line.split_whitespace();
    let verb = words.next().unwrap();
    let args: Vec<&str> = words.collect();
    let partition = |text: &str| {
        let (topic, index) = text.rsplit_once('-').unwrap();
        TopicPartition::new(topic, index.parse().unwrap())
    };
    match verb {
        // elect: a controller wins, and knows nothing.
        "elect" => world.elect(),
        // register 1 2 3
        "register" => args.iter().for_each(|id| world.register(id.parse().unwrap())),
        // bounce 1: gone and back between two looks
        "bounce" => {
            for id in &args {
                world.unregister(id.parse().unwrap());
                world.register(id.parse().unwrap());
            }
        }
        // fail 1 2: at the same moment
        "fail" => args.iter().for_each(|id| world.unregister(id.parse().unwrap())),
        // silence 1: it takes commands and does not answer
        "silence" => args.iter().for_each(|id| {
            world.answering.remove(&BrokerId(id.parse().unwrap()));
        }),
        // topic NAME [no-id] 0=1,2,3 1=2,3,1
        "topic" => {
            let with_id = !args.contains(&"no-id");
            let partitions: Vec<_> = args[1..]
                .iter()
                .filter_map(|it| it.split_once('='))
                .map(|(index, to)| (index.parse().unwrap(), ids(to)))
                .collect();
            world.put_topic(args[0], with_id, &partitions);
        }
        // config NAME key=value
        "config" => {
            let (key, value) = args[1].split_once('=').unwrap();
            world.put_config(args[0], key, value);
        }
        "delete-topic" => world.put(&format!("/admin/delete_topics/{}", args[0]), ""),
        // put PATH DATA
        "put" => world.put(args[0], args[1..].join(" ")),
        // state T-0 leader=1 leader_epoch=4 isr=1,2 controller_epoch=1: as an old leader writes it
        "state" => {
            let partition = partition(args[0]);
            let value = |key: &str| args.iter().find_map(|it| it.strip_prefix(key)).unwrap();
            let state = PartitionState {
                leader: BrokerId(value("leader=").parse().unwrap()),
                leader_epoch: LeaderEpoch(value("leader_epoch=").parse().unwrap()),
                isr: ids(value("isr=")),
                controller_epoch: model::ControllerEpoch(value("controller_epoch=").parse().unwrap()),
                leader_recovery_state: Default::default(),
            };
            world.put(&zk_schema::brokers::partition_state::path(&partition), state.encode());
        }
        // fail-dir BROKER T-0: that replica's directory fails, and the broker leaves a note
        "fail-dir" => {
            let broker: i32 = args[0].parse().unwrap();
            world.failed_replicas.insert((BrokerId(broker), partition(args[1])));
            world.put(
                "/log_dir_event_notification/log_dir_event_0000000000",
                zk_schema::notifications::encode_log_dir_failure(BrokerId(broker)),
            );
        }
        // isr T-0 by=1 leader_epoch=0 partition_epoch=0 isr=1,2 [recovering]
        "isr" => {
            let tp = partition(args[0]);
            let value = |key: &str| args.iter().find_map(|it| it.strip_prefix(key)).unwrap();
            let by: i32 = value("by=").parse().unwrap();
            world.ask(Ask::AlterPartition {
                broker: BrokerId(by),
                broker_epoch: world.epoch_of(by),
                version: 3,
                partitions: vec![IsrProposal {
                    topic: TopicRef::Id(topic_id(&tp.topic)),
                    partition: tp.partition,
                    leader_epoch: LeaderEpoch(value("leader_epoch=").parse().unwrap()),
                    partition_epoch: PartitionEpoch(value("partition_epoch=").parse().unwrap()),
                    isr: ids(value("isr=")),
                    recovering: args.contains(&"recovering"),
                }],
            });
        }
        "shutdown" => {
            let id: i32 = args[0].parse().unwrap();
            world.ask(Ask::ControlledShutdown {
                broker: BrokerId(id),
                broker_epoch: world.epoch_of(id),
            });
        }
        "producer-ids" => {
            let id: i32 = args[0].parse().unwrap();
            world.ask(Ask::AllocateProducerIds {
                broker: BrokerId(id),
                broker_epoch: world.epoch_of(id),
            });
        }
        // elect-leaders preferred|unclean T-0 …
        "elect-leaders" => {
            world.ask(Ask::ElectLeaders {
                unclean: args[0] == "unclean",
                partitions: (args.len() > 1).then(|| args[1..].iter().map(|it| partition(it)).collect()),
            });
        }
        // reassign T-0=4,5 T-1=cancel
        "reassign" => {
            let partitions = args.iter().map(|it| {
                let (tp, to) = it.split_once('=').unwrap();
                (partition(tp), (to != "cancel").then(|| ids(to)))
            });
            world.ask(Ask::AlterPartitionReassignments {
                partitions: partitions.collect(),
            });
        }
        "reassignments" => {
            world.ask(Ask::ListPartitionReassignments { partitions: None });
        }
        "unclean-enabled" => world
            .pending
            .push_back(Event::UncleanElectionEnabled(args.first().map(|it| (*it).to_owned()))),
        "rebalance" => world.pending.push_back(Event::RebalanceDue),
        // fence: somebody else has been elected; this controller does not know yet
        "fence" => world.fence_holds = false,
        other => panic!("unknown command {other}"),
    }
}

fn ids(text: &str) -> Vec<BrokerId> {
    text.split(',')
        .filter(|it| !it.is_empty())
        .map(|it| BrokerId(it.parse().unwrap()))
        .collect()
}

fn list(ids: &[BrokerId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn trace(done: Vec<Done>) -> String {
    let mut out = String::new();
    let mut done = done.into_iter().peekable();
    while let Some(it) = done.next() {
        match it {
            Done::Wrote(op, answer) => writeln!(out, "{}", write(&op, &answer)).unwrap(),
            Done::Sent(Addressed { broker, command, .. }) => {
                // The same to several brokers is told once.
                let mut to = vec![broker];
                while let Some(Done::Sent(next)) = done.peek()
                    && next.command == command
                {
                    to.push(next.broker);
                    done.next();
                }
                send(&mut out, &list(&to), &command);
            }
            Done::Answered(_, answer) => answered(&mut out, answer),
            Done::Resigned(reason) => writeln!(out, "resign: {reason}").unwrap(),
        }
    }
    out
}

fn write(op: &Op, answer: &Answer) -> String {
    let text = |data: &[u8]| String::from_utf8_lossy(data).into_owned();
    let outcome = match answer {
        Answer::Written { .. } => String::new(),
        other => format!(" → {other:?}"),
    };
    match (op, answer) {
        (Op::Create { path, data, .. }, _) if data.is_empty() => format!("create {path}{outcome}"),
        (Op::Create { path, data, .. }, _) => format!("create {path} = {}{outcome}", text(data)),
        (Op::SetData { path, data, .. }, Answer::Written { version }) => {
            format!("set {path} v{version} = {}", text(data))
        }
        (Op::SetData { path, data, .. }, _) => format!("set {path} = {}{outcome}", text(data)),
        (Op::Delete { path, .. }, _) => format!("delete {path}{outcome}"),
        (Op::Check { path, .. }, _) => format!("check {path}"),
    }
}

fn send(out: &mut String, to: &str, command: &BrokerCommand) {
    match command {
        BrokerCommand::LeaderAndIsr(LeaderAndIsr { partitions, .. }) => {
            for (partition, it) in partitions {
                write!(
                    out,
                    "send {to} LeaderAndIsr {partition} leader={} leader_epoch={} isr={} partition_epoch={} replicas={}",
                    it.leader,
                    it.leader_epoch,
                    list(&it.isr),
                    it.partition_epoch,
                    list(&it.replicas)
                )
                .unwrap();
                if !it.adding_replicas.is_empty() || !it.removing_replicas.is_empty() {
                    write!(
                        out,
                        " adding={} removing={}",
                        list(&it.adding_replicas),
                        list(&it.removing_replicas)
                    )
                    .unwrap();
                }
                out.push_str(if it.is_new { " new" } else { "" });
                out.push_str(if it.recovering { " recovering\n" } else { "\n" });
            }
        }
        BrokerCommand::UpdateMetadata(update) => {
            let UpdateMetadata {
                partitions,
                live_brokers,
                ..
            } = &**update;
            let live: Vec<_> = live_brokers.iter().map(|broker| broker.id).collect();
            writeln!(out, "send {to} UpdateMetadata brokers={}", list(&live)).unwrap();
            for (partition, it) in partitions {
                write!(
                    out,
                    "    {partition} leader={} leader_epoch={} isr={} partition_epoch={} replicas={}",
                    it.leader,
                    it.leader_epoch,
                    list(&it.isr),
                    it.partition_epoch,
                    list(&it.replicas)
                )
                .unwrap();
                if !it.offline_replicas.is_empty() {
                    write!(out, " offline={}", list(&it.offline_replicas)).unwrap();
                }
                out.push('\n');
            }
        }
        BrokerCommand::StopReplica(StopReplica { partitions }) => {
            for (partition, it) in partitions {
                let delete = if it.delete { " delete" } else { "" };
                writeln!(
                    out,
                    "send {to} StopReplica {partition} leader_epoch={}{delete}",
                    it.leader_epoch
                )
                .unwrap();
            }
        }
    }
}

fn answered(out: &mut String, answer: Result<Reply, Refusal>) {
    let outcome =
        |result: Result<(), Refusal>| result.map_or_else(|refusal| format!("{refusal:?}"), |()| "ok".to_owned());
    match answer {
        Err(refusal) => writeln!(out, "answer {refusal:?}").unwrap(),
        Ok(Reply::AlterPartition(partitions)) => {
            for (_, index, result) in partitions {
                let text = match result {
                    Ok(it) => format!(
                        "leader={} leader_epoch={} isr={} partition_epoch={}{}",
                        it.leader,
                        it.leader_epoch,
                        list(&it.isr),
                        it.partition_epoch,
                        if it.recovering { " recovering" } else { "" }
                    ),
                    Err(refusal) => format!("{refusal:?}"),
                };
                writeln!(out, "answer partition {index}: {text}").unwrap();
            }
        }
        Ok(Reply::ControlledShutdown(left)) => writeln!(out, "answer remaining={left:?}").unwrap(),
        Ok(Reply::ProducerIds { start, len }) => writeln!(out, "answer producer ids start={start} len={len}").unwrap(),
        Ok(Reply::ElectLeaders(results) | Reply::AlterPartitionReassignments(results)) => {
            for (partition, result) in results {
                writeln!(out, "answer {partition}: {}", outcome(result)).unwrap();
            }
        }
        Ok(Reply::ListPartitionReassignments(moving)) => {
            writeln!(out, "answer {} partitions are being reassigned", moving.len()).unwrap();
            for (partition, it) in moving {
                let (all, adding, removing) = (list(&it.replicas), list(&it.adding), list(&it.removing));
                writeln!(
                    out,
                    "    {partition} replicas={all} adding={adding} removing={removing}"
                )
                .unwrap();
            }
        }
    }
}
