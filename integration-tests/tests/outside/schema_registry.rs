//! A schema registry that keeps its schemas in a compacted topic of ours (Apicurio's, with Kafka as storage): what was registered is
//! there after the registry and all brokers have been killed, read anew from the topic's beginning.
//!
//! Its journal has a key of its own for each change, so that nothing of it may go however often it is cleaned. Registries that
//! rely upon keys that are superseded (Confluent's, Karapace) are in no package registry that this suite fetches from; that
//! kind of topic is at work under `streams` and `connect`.

use integration_tests::{Cluster, Program, Scene, eventually, free_port, http, whole_ecosystem};
use serde_json::{Value, json};

const SUBJECTS: &str = "/apis/ccompat/v7/subjects";

fn wait_until_ready(registry: &mut Program, port: u16) {
    eventually(120, "the registry is ready", || {
        registry.must_run();
        let answer = http(port, "GET", SUBJECTS, "").map_err(|e| e.to_string())?;
        if answer.status == 200 {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    });
}

fn schema(field: usize) -> String {
    let fields: Vec<Value> = (0..=field)
        .map(|n| json!({"name": format!("f{n}"), "type": "string", "default": ""}))
        .collect();
    json!({"type": "record", "name": "Order", "fields": fields}).to_string()
}

#[test]
fn schemas_survive_the_registry_and_the_brokers() {
    if !whole_ecosystem() {
        println!("with OTTLA_ECOSYSTEM=all only");
        return;
    }
    let mut cluster = Cluster::start(Scene::new("registry"), 3, |b| b.set("log.cleaner.backoff.ms", "500"));
    let small = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("segment.ms", "1000"),
    ];
    cluster.create_topic("kafkasql-journal", 1, &small);
    let (bootstrap, port) = (cluster.bootstrap(), free_port());
    let mut registry = Program::start_registry(cluster.scene(), "registry", &bootstrap, port);
    wait_until_ready(&mut registry, port);
    let mut ids = Vec::new();
    for version in 0..5 {
        let body = json!({"schema": schema(version), "schemaType": "AVRO"}).to_string();
        let answer = http(port, "POST", &format!("{SUBJECTS}/orders-value/versions"), &body).expect("it answers");
        assert_eq!(answer.status, 200, "{answer:?}");
        let said: Value = serde_json::from_str(&answer.body).expect("JSON");
        ids.push(said["id"].clone());
        // The next record rolls the segment, so that there is something to clean.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    registry.kill();
    for broker in &mut cluster.brokers {
        broker.kill();
    }
    cluster.start_all_again();
    registry.start_again();
    wait_until_ready(&mut registry, port);
    let versions = http(port, "GET", &format!("{SUBJECTS}/orders-value/versions"), "").expect("it answers");
    assert_eq!(versions.body, "[1,2,3,4,5]");
    for (version, id) in ids.iter().enumerate() {
        let answer = http(port, "GET", &format!("/apis/ccompat/v7/schemas/ids/{id}"), "").expect("it answers");
        let said: Value = serde_json::from_str(&answer.body).expect("JSON");
        let found: Value = serde_json::from_str(said["schema"].as_str().expect("a schema")).expect("JSON");
        let wanted: Value = serde_json::from_str(&schema(version)).expect("JSON");
        assert_eq!(found, wanted);
    }
    registry.stop();
}
