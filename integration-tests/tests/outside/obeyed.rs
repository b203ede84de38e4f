//! What is asked of one broker is obeyed by the other within a second: ACLs, quotas, credentials, configurations.

use integration_tests::{Batch, Cluster, Connection, Scene, Security, password};
use std::time::{Duration, Instant};

const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
const MESSAGE_TOO_LARGE: i16 = 10;

/// How long it took, from the answer to the change, until `probe` holds.
fn within_a_second(what: &str, mut probe: impl FnMut() -> bool) {
    let begin = Instant::now();
    // Reported with how long it really took, rather than cut off at a second.
    while begin.elapsed() < Duration::from_secs(10) {
        if probe() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    eprintln!("    {what}: {} ms", begin.elapsed().as_millis());
    assert!(
        begin.elapsed() < Duration::from_secs(1),
        "{what}: after {:?}",
        begin.elapsed()
    );
}

#[test]
fn the_other_broker_obeys_within_a_second() {
    let scene = Scene::new("obeyed");
    let security = Security::new(&scene);
    let mut cluster = Cluster::start(scene, 2, |setup| security.configure(setup));
    cluster.create_replicated_topic("t", 2, 2, &[]);
    let asked = cluster.wait_for_controller(10, |id| id == 1 || id == 2);
    let other = 3 - asked;
    let led = cluster.partitions("t").unwrap();
    let partition = led.iter().find(|p| p.leader == other).expect("each leads one").index;
    let other_port = {
        let address = cluster.broker(other).listener("SASL_PLAINTEXT");
        address.rsplit_once(':').unwrap().1.parse::<u16>().unwrap()
    };
    let log_in = || {
        let mut connection = Connection::open(other_port).unwrap();
        assert_eq!(connection.log_in("bob", &password("bob")).unwrap().error, 0);
        connection
    };
    let mut administrator = Connection::open(cluster.broker(asked).port()).unwrap();
    let mut bob = log_in();
    let small = Batch::of_values(["x"]).encode();
    let large = Batch::of_values([vec![b'x'; 30_000]]).encode();
    let mut error = |records: &[u8]| bob.produce_throttled("t", partition, records).unwrap();

    assert_eq!(error(&small).0, TOPIC_AUTHORIZATION_FAILED);
    assert_eq!(administrator.allow_writing("t", "User:bob").unwrap(), 0);
    within_a_second("an ACL is given", || error(&small).0 == 0);
    assert_eq!(administrator.forbid_writing("t", "User:bob").unwrap(), 0);
    within_a_second("an ACL is taken back", || error(&small).0 == TOPIC_AUTHORIZATION_FAILED);
    assert_eq!(administrator.allow_writing("t", "User:bob").unwrap(), 0);
    within_a_second("an ACL is given again", || error(&small).0 == 0);

    assert_eq!(error(&large), (0, 0));
    assert_eq!(
        administrator
            .alter_topic_config("t", "max.message.bytes", "20000")
            .unwrap(),
        0
    );
    within_a_second("a topic's config", || error(&large).0 == MESSAGE_TOO_LARGE);

    assert_eq!(
        administrator
            .alter_quota("bob", "producer_byte_rate", Some(1000.0))
            .unwrap(),
        0
    );
    let half = Batch::of_values([vec![b'x'; 10_000]]).encode();
    within_a_second("a quota", || error(&half).1 > 0);
    assert_eq!(administrator.alter_quota("bob", "producer_byte_rate", None).unwrap(), 0);
    // A connection that was throttled is mute for a while: each try has one of its own.
    within_a_second("a quota is taken back", || {
        log_in().produce_throttled("t", partition, &half).unwrap() == (0, 0)
    });

    let login = |password: &str| {
        let mut connection = Connection::open(other_port).unwrap();
        connection.log_in_by_scram("dora", password).unwrap().error
    };
    assert_ne!(login("first"), 0);
    assert_eq!(administrator.set_scram_password("dora", "first").unwrap(), 0);
    within_a_second("a password is set", || login("first") == 0);
    assert_eq!(administrator.set_scram_password("dora", "second").unwrap(), 0);
    within_a_second("a password is changed", || login("second") == 0);
    assert_ne!(login("first"), 0, "the old password");
}
