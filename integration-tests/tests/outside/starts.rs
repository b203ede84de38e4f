//! How it starts, and why it refuses to: with status 1 and a sentence that names what is wrong.

use integration_tests::{Connection, Scene, eventually, is_reference, kcat, kcat_with_input, program, run};

/// A start that must fail, with these words in the log.
fn refused(setup: integration_tests::BrokerSetup, words: &[&str]) {
    let mut broker = setup.launch();
    let status = broker.wait(60);
    let log = broker.log();
    assert_eq!(status.code(), Some(1), "{log}");
    for word in words {
        assert!(log.contains(word), "`{word}` is not in\n{log}");
    }
}

#[test]
fn a_setting_that_cannot_be_right_ends_the_start() {
    let scene = Scene::new("bad-settings");
    refused(
        scene.broker(1).set("num.partitions", "many"),
        &["num.partitions", "many"],
    );
    refused(scene.broker(1).set("log.roll.hours", "0"), &["log.roll.hours", "0"]);
    refused(scene.broker(1).set("listeners", "NOWHERE://127.0.0.1:1"), &["NOWHERE"]);
    refused(scene.broker(1).without("zookeeper.connect"), &["zookeeper.connect"]);
}

#[test]
fn a_log_directory_of_another_cluster_or_of_a_running_broker_is_refused() {
    let scene = Scene::new("wrong-directory");
    let mut first = scene.broker(1).start();
    let data = first.data();
    let meta = data.join("meta.properties");
    let text = std::fs::read_to_string(&meta).unwrap();
    // With it, the other broker would be refused for its id before it comes to the lock.
    std::fs::remove_file(&meta).unwrap();
    refused(scene.broker(2).set("log.dirs", &data.display().to_string()), &[".lock"]);
    std::fs::write(&meta, &text).unwrap();
    first.stop();
    let id = text
        .lines()
        .find_map(|l| l.strip_prefix("cluster.id="))
        .expect("a cluster id")
        .to_owned();
    std::fs::write(&meta, text.replace(&id, "AAAAAAAAAAAAAAAAAAAAAA")).unwrap();
    refused(
        scene.broker(1).set("log.dirs", &data.display().to_string()),
        &["AAAAAAAAAAAAAAAAAAAAAA", &id],
    );
    std::fs::write(&meta, text.replace("broker.id=1", "broker.id=5")).unwrap();
    refused(
        scene.broker(1).set("log.dirs", &data.display().to_string()),
        &["id 5", "meta.properties"],
    );
    std::fs::write(&meta, text).unwrap();
    first.start_again();
    Connection::open(first.port()).unwrap().metadata().unwrap();
}

#[test]
fn a_broker_without_id_is_given_one_and_keeps_it() {
    let scene = Scene::new("generated-id");
    let mut broker = scene
        .broker(0)
        .set("broker.id", "-1")
        .argument("--override")
        .argument("num.partitions=5")
        .start();
    let at = broker.bootstrap();
    // A broker is shown once the controller has told it of itself.
    let is_shown = || {
        eventually(10, "it is shown", || {
            let out = kcat(&["-b", &at, "-L"]).succeeds();
            if out.contains("  broker 1001 at ") {
                Ok(())
            } else {
                Err(out)
            }
        });
    };
    is_shown();
    broker.stop();
    broker.start_again();
    is_shown();
    kcat_with_input(&["-b", &at, "-P", "-t", "made"], b"x\n").succeeds();
    let out = kcat(&["-b", &at, "-L", "-t", "made"]).succeeds();
    assert!(
        out.contains("with 5 partitions"),
        "--override is stronger than the file: {out}"
    );
}

#[test]
fn our_programs_tell_their_version_and_take_their_settings_from_the_environment() {
    if is_reference() {
        // Neither is Kafka's own: it has a start script, and the environment is read by images.
        return;
    }
    for name in ["broker", "coordinator"] {
        let path = program(name).display().to_string();
        let out = run(&[path.clone(), "--version".to_owned()], 10).succeeds();
        assert!(out.contains("0.1.0"), "{name}: {out}");
        let out = run(&[path, "--help".to_owned()], 10).succeeds();
        assert!(out.contains("--override"), "{name}: {out}");
    }
    let scene = Scene::new("environment");
    let environment = [
        "env",
        "KAFKA_NUM_PARTITIONS=3",
        "KAFKA_CFG_LOG_RETENTION_HOURS=5",
        "ALLOW_PLAINTEXT_LISTENER=yes",
    ];
    let broker = scene.broker(1).under(&environment).start();
    let at = broker.bootstrap();
    kcat_with_input(&["-b", &at, "-P", "-t", "made"], b"x\n").succeeds();
    let out = kcat(&["-b", &at, "-L", "-t", "made"]).succeeds();
    assert!(out.contains("with 3 partitions"), "{out}");
}
