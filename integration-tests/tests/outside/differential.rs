//! Every request, at every version, to our broker and to Kafka's: the answers are the same.
//!
//! The frames are made and read by Kafka's own schemas (`tools/clients/python/differential`), so that a field too many or too
//! few is found, too. What is asked is in `requests.py` there.

use integration_tests::{Scene, client, kafka, kafka_jar};

#[test]
fn every_version_of_every_request_is_answered_as_kafka_does() {
    let theirs = Scene::new("differential-kafka");
    let ours = Scene::new("differential");
    let reference = theirs
        .broker(1)
        .kafka()
        .set("transaction.state.log.num.partitions", "4")
        .start();
    let broker = ours.broker(1).set("transaction.state.log.num.partitions", "4").start();
    let jar = kafka_jar().display().to_string();
    let told = client(
        "python/differential/differential.py",
        &[&jar, &reference.bootstrap(), &broker.bootstrap()],
    )
    .succeeds();
    let asked = told
        .trim()
        .strip_prefix("asked ")
        .and_then(|rest| rest.strip_suffix(", different 0"));
    let asked: u32 = asked.unwrap_or_else(|| panic!("{told}")).parse().expect("a number");
    // Every API that there is, at each of its versions, and most of them in several ways.
    assert!(asked > 1000, "{told}");

    // The stock tool's list, line by line; only the first says where.
    let versions = |bootstrap: &str| {
        let listed = kafka("kafka-broker-api-versions", &["--bootstrap-server", bootstrap]).succeeds();
        listed.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let expected = versions(&reference.bootstrap());
    assert!(expected.len() > 60, "{expected:?}");
    assert_eq!(versions(&broker.bootstrap()), expected);
    let features = |bootstrap: &str| kafka("kafka-features", &["--bootstrap-server", bootstrap, "describe"]).succeeds();
    assert_eq!(features(&broker.bootstrap()), features(&reference.bootstrap()));
}
