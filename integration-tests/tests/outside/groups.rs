//! `kafka-consumer-groups` in all its forms, and groups over a restart.

use integration_tests::{Process, Scene, eventually, kafka, kcat, kcat_with_input, repository};

#[test]
fn groups_are_listed_described_reset_and_deleted() {
    let scene = Scene::new("groups");
    let mut broker = scene.broker(1).start();
    let at = broker.bootstrap();
    let groups = |arguments: &[&str]| {
        kafka(
            "kafka-consumer-groups",
            &[&["--bootstrap-server", at.as_str()], arguments].concat(),
        )
    };
    kafka(
        "kafka-topics",
        &[
            "--bootstrap-server",
            &at,
            "--create",
            "--topic",
            "t",
            "--partitions",
            "2",
        ],
    )
    .succeeds();
    for partition in ["0", "1"] {
        let lines: String = (0..20).map(|i| format!("{partition}-{i}\n")).collect();
        kcat_with_input(&["-b", &at, "-P", "-t", "t", "-p", partition], lines.as_bytes()).succeeds();
    }

    let launcher = repository().join("integration-tests/tools/kafka").display().to_string();
    let words = [
        &launcher,
        "kafka-console-consumer",
        "--bootstrap-server",
        &at,
        "--topic",
        "t",
        "--group",
        "g",
        "--from-beginning",
        "--consumer-property",
        "client.id=reader",
        "--consumer-property",
        "auto.commit.interval.ms=300",
    ]
    .map(|w: &str| w.to_owned());
    let mut consumer = Process::start("console consumer", &words, &scene.directory().join("consumer"));
    eventually(30, "the group reads all", || {
        let log = consumer.log();
        if log.contains("0-19") && log.contains("1-19") {
            Ok(())
        } else {
            Err(log)
        }
    });

    assert_eq!(groups(&["--list"]).succeeds().trim(), "g");
    let out = groups(&["--list", "--state"]).succeeds();
    assert!(
        out.lines().any(|l| l.starts_with("g ") && l.contains("Stable")),
        "{out}"
    );
    eventually(20, "the lag is nought", || {
        let out = groups(&["--describe", "--group", "g"]).succeeds();
        let row = |p: &str| {
            out.lines()
                .any(|l| l.split_whitespace().take(6).eq(["g", "t", p, "20", "20", "0"]) && l.contains("reader"))
        };
        if row("0") && row("1") { Ok(()) } else { Err(out) }
    });
    let out = groups(&["--describe", "--group", "g", "--members", "--verbose"]).succeeds();
    assert!(
        out.contains("reader") && out.contains("(0,1)") && out.contains("/127.0.0.1"),
        "{out}"
    );
    let out = groups(&["--describe", "--group", "g", "--state"]).succeeds();
    assert!(
        out.contains("Stable") && out.contains("range") && out.contains(&format!("{at}  (1)")),
        "{out}"
    );
    let out = groups(&["--delete", "--group", "g"]).says();
    assert!(out.contains("GroupNotEmptyException"), "{out}");
    let out = groups(&[
        "--reset-offsets",
        "--group",
        "g",
        "--topic",
        "t",
        "--to-earliest",
        "--execute",
    ])
    .says();
    assert!(
        out.contains("Assignments can only be reset if the group 'g' is inactive"),
        "{out}"
    );

    consumer.signal(rustix::process::Signal::TERM);
    consumer.wait(20);
    let out = groups(&["--describe", "--group", "g", "--state"]).says();
    assert!(out.contains("Empty"), "{out}");

    // What the group has read survives a restart of the broker.
    broker.stop();
    broker.start_again();
    let described = |partition: &str| {
        let out = eventually(20, "the group's coordinator is back", || {
            let out = groups(&["--describe", "--group", "g"]).says();
            if out.contains(" t ") { Ok(out) } else { Err(out) }
        });
        let row = out
            .lines()
            .find(|l| l.split_whitespace().take(3).eq(["g", "t", partition]))
            .unwrap_or_else(|| panic!("no row in\n{out}"));
        row.split_whitespace().nth(3).expect("a current offset").to_owned()
    };
    assert_eq!((described("0"), described("1")), ("20".to_owned(), "20".to_owned()));

    let reset = |how: &[&str]| {
        let out = groups(&[&["--reset-offsets", "--group", "g", "--topic", "t", "--execute"], how].concat()).succeeds();
        // The tool writes its rows without line ends.
        let words: Vec<&str> = out.split_whitespace().collect();
        let mut rows: Vec<String> = words
            .windows(4)
            .filter(|w| w[..2] == ["g", "t"])
            .map(|w| format!("{}:{}", w[2], w[3]))
            .collect();
        assert!(!rows.is_empty(), "{how:?}: {out}");
        rows.sort();
        rows.join(" ")
    };
    assert_eq!(reset(&["--to-earliest"]), "0:0 1:0");
    assert_eq!(reset(&["--shift-by", "7"]), "0:7 1:7");
    assert_eq!(reset(&["--shift-by", "-2"]), "0:5 1:5");
    assert_eq!(reset(&["--to-offset", "11"]), "0:11 1:11");
    assert_eq!(reset(&["--to-current"]), "0:11 1:11");
    assert_eq!(reset(&["--to-latest"]), "0:20 1:20");
    assert_eq!(reset(&["--to-datetime", "2020-01-01T00:00:00.000"]), "0:0 1:0");
    assert_eq!(reset(&["--by-duration", "P0DT0H0M0S"]), "0:20 1:20");
    let plan = scene.directory().join("offsets.csv");
    std::fs::write(&plan, "t,0,3\nt,1,4\n").unwrap();
    let out = groups(&[
        "--reset-offsets",
        "--group",
        "g",
        "--from-file",
        &plan.display().to_string(),
        "--execute",
    ])
    .succeeds();
    assert!(out.contains('3') && out.contains('4'), "{out}");
    assert_eq!((described("0"), described("1")), ("3".to_owned(), "4".to_owned()));

    let out = groups(&["--delete-offsets", "--group", "g", "--topic", "t:1"]).succeeds();
    assert!(out.contains("Successful"), "{out}");
    let out = groups(&["--describe", "--group", "g"]).says();
    assert!(
        out.lines()
            .any(|l| l.split_whitespace().take(4).eq(["g", "t", "0", "3"])),
        "{out}"
    );
    assert!(
        !out.lines().any(|l| l.split_whitespace().take(3).eq(["g", "t", "1"])),
        "{out}"
    );

    let out = groups(&["--delete", "--group", "g"]).succeeds();
    assert!(
        out.contains("Deletion of requested consumer groups ('g') was successful."),
        "{out}"
    );
    assert_eq!(groups(&["--list"]).succeeds().trim(), "");
    let out = groups(&["--describe", "--group", "nobody"]).says();
    assert!(out.contains("Consumer group 'nobody' does not exist."), "{out}");
    let out = kafka(
        "kafka-topics",
        &["--bootstrap-server", &at, "--list", "--exclude-internal"],
    )
    .succeeds();
    assert_eq!(out.trim(), "t");
    let out = kafka("kafka-topics", &["--bootstrap-server", &at, "--list"]).succeeds();
    assert_eq!(out.trim(), "__consumer_offsets\nt");
}

#[test]
fn members_share_partitions_and_take_over_from_one_that_dies() {
    let scene = Scene::new("rebalance");
    let broker = scene.broker(1).start();
    let at = broker.bootstrap();
    kafka(
        "kafka-topics",
        &[
            "--bootstrap-server",
            &at,
            "--create",
            "--topic",
            "t",
            "--partitions",
            "4",
        ],
    )
    .succeeds();
    let member = |name: &str| {
        let words: Vec<String> = [
            "kcat",
            "-b",
            &at,
            "-u",
            "-f",
            "%p\n",
            "-X",
            "session.timeout.ms=6000",
            "-X",
            "heartbeat.interval.ms=500",
            "-X",
            "auto.offset.reset=earliest",
            "-G",
            "g",
            "t",
        ]
        .map(str::to_owned)
        .to_vec();
        Process::start(name, &words, &scene.directory().join(name))
    };
    let assigned = |member: &Process| {
        // "% Group g rebalanced (memberid …): assigned: t [0], t [1]"
        let log = member.log();
        let last = log
            .lines()
            .rfind(|l| l.contains("rebalanced"))
            .unwrap_or_default()
            .to_owned();
        last.split_once("assigned: ")
            .map(|(_, all)| all.matches("t [").count())
            .ok_or(log)
    };
    let share = |member: &Process, wanted: usize| {
        eventually(30, "a member gets its share", || match assigned(member) {
            Ok(n) if n == wanted => Ok(()),
            other => Err(format!("wanted {wanted}, got {other:?}")),
        });
    };
    let first = member("first");
    share(&first, 4);
    let mut second = member("second");
    share(&second, 2);
    share(&first, 2);
    second.kill();
    share(&first, 4);

    for partition in 0..4 {
        kcat_with_input(&["-b", &at, "-P", "-t", "t", "-p", &partition.to_string()], b"x\n").succeeds();
    }
    eventually(15, "the one that is left reads all partitions", || {
        let log = first.log();
        if (0..4).all(|p| log.lines().any(|l| l == p.to_string())) {
            Ok(())
        } else {
            Err(log)
        }
    });
    let out = kcat(&["-b", &at, "-L", "-t", "t"]).succeeds();
    assert!(out.contains("4 partitions"), "{out}");
}
