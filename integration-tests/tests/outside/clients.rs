//! Clients in other languages: each creates a topic, produces, consumes in a group and commits.
//!
//! Rust's `rdkafka` is not among them: it is librdkafka, which kcat and confluent-kafka are too, and minutes of compiling.

use integration_tests::{Scene, client};

fn check(name: &str, client_name: &str) {
    let scene = Scene::new(name);
    let broker = scene.broker(1).start();
    let out = client(client_name, &[&broker.bootstrap(), "t", "1000"]).succeeds();
    assert_eq!(out.trim(), "consumed 1000 committed 1000");
}

#[test]
fn confluent_kafka_of_python() {
    check("confluent-kafka", "python/confluent.py");
}

#[test]
fn kafka_python() {
    check("kafka-python", "python/pure.py");
}

#[test]
fn kafkajs_of_node() {
    check("kafkajs", "node/client.js");
}

#[test]
fn franz_go() {
    check("franz-go", "go");
}
