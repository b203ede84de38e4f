//! What a topic's configs do to its records: they age, they are compressed anew, they get the broker's time.

use integration_tests::{Batch, Broker, Connection, Scene, eventually, kafka, kcat, kcat_reads_all, kcat_with_input};

/// First offset that can be read.
fn earliest(broker: &Broker, topic: &str) -> i64 {
    let out = kcat(&["-b", &broker.bootstrap(), "-Q", "-t", &format!("{topic}:0:-2")]).succeeds();
    out.trim()
        .rsplit(' ')
        .next()
        .and_then(|o| o.parse().ok())
        .unwrap_or_else(|| panic!("no offset in {out}"))
}

fn segments(broker: &Broker, topic: &str) -> usize {
    let files = std::fs::read_dir(broker.data().join(format!("{topic}-0"))).expect("the partition's directory");
    files
        .filter(|f| {
            f.as_ref()
                .is_ok_and(|f| f.path().extension().is_some_and(|e| e == "log"))
        })
        .count()
}

#[test]
fn old_segments_go_by_size_and_by_time_as_soon_as_the_topic_says_so() {
    let scene = Scene::new("retention");
    let broker = scene
        .broker(1)
        .set("log.retention.check.interval.ms", "200")
        .set("log.initial.task.delay.ms", "200")
        .set("log.segment.delete.delay.ms", "0")
        .start();
    let at = broker.bootstrap();
    broker.create_topic("t", 1, &[("segment.bytes", "20000"), ("file.delete.delay.ms", "0")]);
    let mut connection = Connection::open(broker.port()).unwrap();
    for number in 0..100 {
        let batch = Batch::of_values([format!("{number} {}", "x".repeat(1900))]).encode();
        eventually(10, "produced", || match connection.produce("t", 0, &batch) {
            Ok(answer) if answer.error == 0 => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    assert_eq!(earliest(&broker, "t"), 0);
    assert!(segments(&broker, "t") >= 10, "{}", segments(&broker, "t"));

    let alter = |config: &str| {
        kafka(
            "kafka-configs",
            &[
                "--bootstrap-server",
                &at,
                "--alter",
                "--entity-type",
                "topics",
                "--entity-name",
                "t",
                "--add-config",
                config,
            ],
        )
        .succeeds();
    };
    alter("retention.bytes=50000");
    let kept = eventually(10, "retention by size", || {
        let first = earliest(&broker, "t");
        if first > 50 && segments(&broker, "t") <= 4 {
            Ok(first)
        } else {
            Err(format!("{first}, {} segments", segments(&broker, "t")))
        }
    });
    assert!(kept <= 80, "no more goes than must: {kept}");
    alter("retention.ms=1");
    eventually(10, "retention by time", || {
        let first = earliest(&broker, "t");
        if first == 100 { Ok(()) } else { Err(first.to_string()) }
    });
    // An empty log goes on where it was.
    let answer = connection
        .produce("t", 0, &Batch::of_values(["next"]).encode())
        .unwrap();
    assert_eq!((answer.error, answer.base_offset), (0, 100));
}

#[test]
fn a_topic_has_its_own_codec_and_its_own_clock() {
    let scene = Scene::new("own-codec");
    let broker = scene.broker(1).start();
    let at = broker.bootstrap();
    broker.create_topic(
        "t",
        1,
        &[
            ("compression.type", "zstd"),
            ("message.timestamp.type", "LogAppendTime"),
        ],
    );
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let codec_setting = format!("compression.codec={codec}");
        let lines: String = (0..20).map(|i| format!("{codec} {i}\n")).collect();
        kcat_with_input(&["-b", &at, "-P", "-t", "t", "-X", &codec_setting], lines.as_bytes()).succeeds();
    }
    let out = kcat_reads_all(&at, "t", "%o %s\n");
    assert_eq!(out.lines().count(), 100);
    assert_eq!(out.lines().nth(45), Some("45 snappy 5"));
    let segment = broker.data().join("t-0/00000000000000000000.log").display().to_string();
    let out = kafka("kafka-dump-log", &["--files", &segment]).succeeds();
    let batches = out.matches("baseOffset: ").count();
    assert!(batches >= 5, "{out}");
    assert_eq!(out.matches("compresscodec: zstd").count(), batches, "{out}");
    assert_eq!(out.matches("LogAppendTime: ").count(), batches, "{out}");
    assert_eq!(out.matches("isvalid: true").count(), batches, "{out}");
}
