//! The broker and ZooKeeper: its znodes, sessions that end, ZooKeeper that goes away, ids that are taken.

use integration_tests::{Connection, Scene, ZooKeeper, eventually, kcat, kcat_with_input};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// A number of `stat PATH` or `get -s PATH` in zookeeper-shell's words, such as `cZxid`.
fn stat(answer: &str, name: &str) -> Option<String> {
    answer
        .lines()
        .find_map(|l| l.trim().strip_prefix(&format!("{name} = ")))
        .map(str::to_owned)
}

#[test]
fn the_root_has_the_twelve_classic_names() {
    let mut scene = Scene::with_own_zookeeper("roots");
    let mut broker = scene.broker(1).start();
    let at = scene.zookeeper().connect();
    let out = ZooKeeper::shell(
        &at,
        &[
            "ls /",
            "get /brokers/ids/1",
            "get /controller",
            "get /controller_epoch",
            "get /cluster/id",
            "get /feature",
        ],
    );
    assert!(
        out.contains(
            "[admin, brokers, cluster, config, consumers, controller, controller_epoch, feature, isr_change_notification, \
             latest_producer_id_block, log_dir_event_notification, zookeeper]"
        ),
        "{out}"
    );
    let port = broker.port();
    let registration = format!(
        r#"{{"features":{{}},"listener_security_protocol_map":{{"PLAINTEXT":"PLAINTEXT"}},"endpoints":["PLAINTEXT://127.0.0.1:{port}"],"jmx_port":-1,"port":{port},"host":"127.0.0.1","version":5,"timestamp":""#
    );
    assert!(out.contains(&registration), "{out}");
    assert!(
        out.contains(r#"{"version":2,"brokerid":1,"timestamp":""#) && out.contains(r#""kraftControllerEpoch":-1}"#),
        "{out}"
    );
    assert!(
        out.contains(r#"{"version":"1","id":""#) && out.contains(r#"{"features":{},"version":2,"status":1}"#),
        "{out}"
    );
    let meta = std::fs::read_to_string(broker.data().join("meta.properties")).unwrap();
    let cluster_id = out
        .split_once(r#"{"version":"1","id":""#)
        .and_then(|(_, rest)| rest.split_once('"'))
        .expect("an id")
        .0;
    assert!(
        meta.contains(&format!("cluster.id={cluster_id}\n"))
            && meta.contains("broker.id=1\n")
            && meta.contains("version=0\n"),
        "{meta}"
    );

    broker.stop();
    let out = ZooKeeper::shell(&at, &["ls /brokers/ids", "ls /"]);
    assert!(
        out.contains("[]") && !out.contains("controller,"),
        "its ephemeral znodes went with it: {out}"
    );
}

#[test]
fn a_second_broker_with_the_same_id_is_refused_and_the_first_goes_on() {
    let scene = Scene::new("same-id");
    let first = scene.broker(1).start();
    let mut second = scene.broker(1).launch();
    let status = second.wait(60);
    assert_eq!(status.code(), Some(1), "{}", second.log());
    assert!(
        second.log().contains("/brokers/ids/1"),
        "it says which znode is taken:\n{}",
        second.log()
    );
    kcat_with_input(&["-b", &first.bootstrap(), "-P", "-t", "t"], b"still here\n").succeeds();
}

#[test]
fn a_session_that_has_expired_is_followed_by_a_new_registration() {
    let scene = Scene::new("expiry");
    let mut broker = scene.broker(1).set("zookeeper.session.timeout.ms", "2000").start();
    let at = broker.bootstrap();
    broker.create_topic("t", 1, &[]);
    kcat_with_input(&["-b", &at, "-P", "-t", "t"], b"before\n").succeeds();
    let epoch = |answer: &str| stat(answer, "cZxid");
    let before = epoch(&scene.zookeeper_shell(&["stat /brokers/ids/1"])).expect("it is registered");

    broker.signal(Signal::STOP);
    eventually(20, "the server has ended the session", || {
        let out = scene.zookeeper_shell(&["ls /brokers/ids"]);
        if out.contains("[]") { Ok(()) } else { Err(out) }
    });
    broker.signal(Signal::CONT);
    let after = eventually(30, "it is registered again", || {
        let out = scene.zookeeper_shell(&["stat /brokers/ids/1", "get /controller"]);
        if out.contains(r#""brokerid":1"#) {
            epoch(&out).ok_or(out)
        } else {
            Err(out)
        }
    });
    assert_ne!(before, after, "the broker epoch is new");
    assert!(broker.ended().is_none(), "without a restart");
    // New topics need the controller, which has to be elected anew, and the broker's new epoch.
    broker.create_topic("after", 1, &[]);
    kcat_with_input(&["-b", &at, "-P", "-t", "t"], b"after\n").succeeds();
    kcat_with_input(&["-b", &at, "-P", "-t", "after"], b"new\n").succeeds();
    assert_eq!(
        kcat(&["-b", &at, "-C", "-t", "t", "-o", "beginning", "-e", "-q"]).succeeds(),
        "before\nafter\n"
    );
}

#[test]
fn produce_and_fetch_go_on_while_zookeeper_restarts() {
    let mut scene = Scene::with_own_zookeeper("zookeeper-restart");
    let mut broker = scene.broker(1).set("zookeeper.session.timeout.ms", "3000").start();
    let at = broker.bootstrap();
    let mut connection = Connection::open(broker.port()).unwrap();
    broker.create_topic("t", 1, &[]);
    eventually(10, "the topic has a leader", || produce_one(&mut connection, 0));

    scene.zookeeper().kill();
    // Longer than the session timeout: a broker whose ZooKeeper is away is not dead.
    let end = Instant::now() + Duration::from_secs(5);
    let mut produced = 1;
    while Instant::now() < end {
        produce_one(&mut connection, produced).expect("produced without ZooKeeper");
        produced += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    let out = kcat(&["-b", &at, "-C", "-t", "t", "-o", "beginning", "-e", "-q"]).succeeds();
    assert_eq!(out.lines().count(), produced, "and read without ZooKeeper");

    scene.zookeeper().start_again();
    broker.create_topic("after", 1, &[]);
    kcat_with_input(&["-b", &at, "-P", "-t", "after"], b"new\n").succeeds();
    let out = scene.zookeeper_shell(&["ls /brokers/ids"]);
    assert!(out.contains("[1]"), "{out}");
    assert!(broker.ended().is_none(), "without a restart");
}

fn produce_one(connection: &mut Connection, number: usize) -> Result<(), String> {
    let batch = integration_tests::Batch::of_values([format!("value {number}")]).encode();
    let answer = connection.produce("t", 0, &batch).map_err(|e| e.to_string())?;
    if answer.error == 0 {
        Ok(())
    } else {
        Err(format!("error {}", answer.error))
    }
}
