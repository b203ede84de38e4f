//! Ten thousand partitions on three brokers: what the core itself needs for each event, printed.
//!
//! What ZooKeeper and the wires take is not in it. `cargo test -p coordinator ten_thousand -- --nocapture` shows the table.

use std::time::Duration;

use model::BrokerId;

use super::world::{Done, World};
use crate::controller::{BrokerCommand, Event};

const TOPICS: i32 = 100;
const PARTITIONS: i32 = 100;

#[test]
fn ten_thousand_partitions_are_worked_off() {
    let mut world = World::new(|_| ());
    for id in 1..=3 {
        world.register(id);
    }
    for topic in 0..TOPICS {
        let partitions = (0..PARTITIONS).map(|index| {
            let first = (topic + index) % 3;
            (index, (0..3).map(|at| BrokerId(1 + (first + at) % 3)).collect())
        });
        world.put_topic(&format!("topic-{topic:03}"), true, &partitions.collect::<Vec<_>>());
    }
    let measure = |what: &str, world: &mut World, led: usize| {
        world.spent = Duration::ZERO;
        world.settle();
        let mut told = std::collections::BTreeSet::new();
        for done in std::mem::take(&mut world.done) {
            if let Done::Sent(addressed) = done
                && let BrokerCommand::LeaderAndIsr(command) = addressed.command
            {
                told.extend(command.partitions.into_keys());
            }
        }
        println!("{what:>28}: {:6} ms", world.spent.as_millis());
        assert_eq!(told.len(), led, "{what}");
    };
    let all = (TOPICS * PARTITIONS) as usize;
    world.elect();
    measure("all partitions are new", &mut world, all);
    world.elect();
    measure("a controller takes over", &mut world, all);
    world.unregister(1);
    measure("a broker dies", &mut world, all);
    world.register(1);
    measure("it comes back", &mut world, all);
    world.unregister(2);
    world.elect();
    measure("one dies with the controller", &mut world, all);
    world.pending.push_back(Event::Changed("/brokers/topics".to_owned()));
    measure("nothing new", &mut world, 0);
}
