//! Records go in and come out: the console tools, kcat, the perf and verifiable tools, and the tools that look at logs.

use integration_tests::{Scene, eventually, kafka, kafka_with_input, kcat, kcat_with_input};

#[test]
fn console_tools_produce_with_every_codec_and_consume() {
    let scene = Scene::new("console");
    let broker = scene.broker(1).start();
    let at = broker.bootstrap();
    kafka(
        "kafka-topics",
        &["--bootstrap-server", &at, "--create", "--topic", "words"],
    )
    .succeeds();

    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for codec in codecs {
        let lines: String = (0..50)
            .map(|i| format!("{codec}-{i}:a value of {codec} number {i}\n"))
            .collect();
        kafka_with_input(
            "kafka-console-producer",
            &[
                "--bootstrap-server",
                &at,
                "--topic",
                "words",
                "--compression-codec",
                codec,
                "--property",
                "parse.key=true",
                "--property",
                "key.separator=:",
            ],
            lines.as_bytes(),
        )
        .succeeds();
    }
    let out = kafka(
        "kafka-console-consumer",
        &[
            "--bootstrap-server",
            &at,
            "--topic",
            "words",
            "--from-beginning",
            "--max-messages",
            "250",
            "--property",
            "print.key=true",
            "--property",
            "print.offset=true",
            "--property",
            "key.separator= | ",
            "--timeout-ms",
            "20000",
        ],
    )
    .succeeds();
    let expected: Vec<String> = codecs
        .iter()
        .flat_map(|codec| (0..50).map(move |i| (codec, i)))
        .enumerate()
        .map(|(offset, (codec, i))| format!("Offset:{offset} | {codec}-{i} | a value of {codec} number {i}"))
        .collect();
    assert_eq!(out.trim().lines().collect::<Vec<_>>(), expected);

    let out = kafka(
        "kafka-console-consumer",
        &[
            "--bootstrap-server",
            &at,
            "--topic",
            "words",
            "--partition",
            "0",
            "--offset",
            "248",
            "--max-messages",
            "2",
            "--timeout-ms",
            "20000",
        ],
    )
    .succeeds();
    assert_eq!(out.trim(), "a value of zstd number 48\na value of zstd number 49");
    // librdkafka decompresses with other libraries than Java does.
    let out = kcat(&[
        "-b",
        &at,
        "-C",
        "-t",
        "words",
        "-o",
        "beginning",
        "-e",
        "-q",
        "-X",
        "check.crcs=true",
    ])
    .succeeds();
    assert_eq!(out.lines().count(), 250);

    // The segment's own tool agrees about every batch.
    let segment = broker
        .data()
        .join("words-0/00000000000000000000.log")
        .display()
        .to_string();
    let out = kafka(
        "kafka-dump-log",
        &["--files", &segment, "--deep-iteration", "--print-data-log"],
    )
    .succeeds();
    assert_eq!(
        out.matches(" isvalid: true").count(),
        out.matches("baseOffset: ").count(),
        "{out}"
    );
    for codec in codecs {
        assert!(out.contains(&format!("compresscodec: {codec}")), "{codec} in\n{out}");
    }
    assert!(out.contains("payload: a value of snappy number 7"), "{out}");
}

#[test]
fn offsets_are_listed_and_records_deleted() {
    let scene = Scene::new("offsets");
    let mut broker = scene.broker(1).start();
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
            "2",
        ],
    )
    .succeeds();
    let lines: String = (0..100).map(|i| format!("value {i}\n")).collect();
    kcat_with_input(&["-b", &at, "-P", "-t", "t", "-p", "1"], lines.as_bytes()).succeeds();

    let offsets = |time: &str| {
        kafka(
            "kafka-get-offsets",
            &["--bootstrap-server", &at, "--topic", "t", "--time", time],
        )
        .succeeds()
    };
    assert_eq!(offsets("latest").trim(), "t:0:0\nt:1:100");
    assert_eq!(offsets("earliest").trim(), "t:0:0\nt:1:0");
    assert_eq!(
        offsets("0").lines().last(),
        Some("t:1:0"),
        "the first record since 1970"
    );
    let newest = offsets("max-timestamp");
    let newest: i64 = newest
        .trim()
        .lines()
        .last()
        .and_then(|l| l.rsplit(':').next())
        .and_then(|o| o.parse().ok())
        .expect("an offset");
    assert!((0..100).contains(&newest), "{newest}");

    let request = scene.directory().join("delete.json");
    std::fs::write(
        &request,
        r#"{"partitions":[{"topic":"t","partition":1,"offset":40}],"version":1}"#,
    )
    .unwrap();
    let out = kafka(
        "kafka-delete-records",
        &[
            "--bootstrap-server",
            &at,
            "--offset-json-file",
            &request.display().to_string(),
        ],
    )
    .succeeds();
    assert!(out.contains("partition: t-1\tlow_watermark: 40"), "{out}");
    assert_eq!(offsets("earliest").trim(), "t:0:0\nt:1:40");
    let out = kcat(&["-b", &at, "-C", "-t", "t", "-p", "1", "-o", "beginning", "-e", "-q"]).succeeds();
    assert_eq!(out.lines().next(), Some("value 40"));

    let out = kafka(
        "kafka-log-dirs",
        &["--bootstrap-server", &at, "--describe", "--topic-list", "t"],
    )
    .succeeds();
    let json: serde_json::Value = serde_json::from_str(out.lines().last().expect("a line of JSON")).expect("JSON");
    let directory = &json["brokers"][0]["logDirs"][0];
    assert_eq!(directory["logDir"], broker.data().display().to_string().as_str());
    assert_eq!(directory["partitions"].as_array().map(Vec::len), Some(2), "{json}");

    // What was deleted stays deleted.
    broker.stop();
    broker.start_again();
    assert_eq!(offsets("earliest").trim(), "t:0:0\nt:1:40");
    assert_eq!(offsets("latest").trim(), "t:0:0\nt:1:100");
}

#[test]
fn perf_and_verifiable_tools_run() {
    let scene = Scene::new("perf");
    let broker = scene.broker(1).set("num.partitions", "2").start();
    let at = broker.bootstrap();
    let out = kafka(
        "kafka-producer-perf-test",
        &[
            "--topic",
            "perf",
            "--num-records",
            "20000",
            "--record-size",
            "200",
            "--throughput",
            "-1",
            "--producer-props",
            &format!("bootstrap.servers={at}"),
            "compression.type=lz4",
        ],
    )
    .succeeds();
    assert!(out.contains("20000 records sent"), "{out}");
    let out = kafka(
        "kafka-consumer-perf-test",
        &[
            "--bootstrap-server",
            &at,
            "--topic",
            "perf",
            "--messages",
            "20000",
            "--timeout",
            "20000",
        ],
    )
    .succeeds();
    let figures = out.lines().last().expect("a line of figures");
    assert_eq!(figures.split(", ").nth(4), Some("20000"), "{out}");

    let out = kafka(
        "kafka-verifiable-producer",
        &[
            "--bootstrap-server",
            &at,
            "--topic",
            "verified",
            "--max-messages",
            "500",
        ],
    )
    .succeeds();
    assert_eq!(out.matches(r#""name":"producer_send_success""#).count(), 500, "{out}");
    assert!(out.contains(r#""sent":500,"acked":500"#), "{out}");
    let out = kafka(
        "kafka-verifiable-consumer",
        &[
            "--bootstrap-server",
            &at,
            "--topic",
            "verified",
            "--group-id",
            "verifier",
            "--max-messages",
            "500",
            "--reset-policy",
            "earliest",
        ],
    )
    .succeeds();
    let consumed: u64 = out
        .lines()
        .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok())
        .filter(|e| e["name"] == "records_consumed")
        .map(|e| e["count"].as_u64().expect("a count"))
        .sum();
    assert_eq!(consumed, 500, "{out}");
    assert!(
        out.contains(r#""name":"offsets_committed""#) && !out.contains(r#""success":false"#),
        "{out}"
    );
}

#[test]
fn dump_log_reads_indexes_snapshots_and_offsets() {
    let scene = Scene::new("dump-log");
    let mut broker = scene.broker(1).set("log.index.interval.bytes", "200").start();
    let at = broker.bootstrap();
    kafka(
        "kafka-topics",
        &[
            "--bootstrap-server",
            &at,
            "--create",
            "--topic",
            "t",
            "--config",
            "segment.bytes=20000",
        ],
    )
    .succeeds();
    kafka(
        "kafka-producer-perf-test",
        &[
            "--topic",
            "t",
            "--num-records",
            "1000",
            "--record-size",
            "100",
            "--throughput",
            "-1",
            "--producer-props",
            &format!("bootstrap.servers={at}"),
            "batch.size=1000",
            "enable.idempotence=true",
        ],
    )
    .succeeds();
    let out = kcat(&["-b", &at, "-G", "readers", "t", "-e", "-q", "-o", "beginning"]).says();
    assert!(
        out.len() >= 100_000,
        "a group reads all of it: {} bytes\n{}",
        out.len(),
        &out[..out.len().min(500)]
    );
    broker.stop();

    let mut files: Vec<_> = std::fs::read_dir(broker.data().join("t-0"))
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.sort();
    let of = |extension: &str| -> Vec<String> {
        files
            .iter()
            .filter(|f| f.extension().is_some_and(|e| e == extension))
            .map(|f| f.display().to_string())
            .collect()
    };
    assert!(of("log").len() > 3, "segments of 20000 bytes: {files:?}");
    assert_eq!(of("index").len(), of("log").len());
    assert_eq!(of("timeindex").len(), of("log").len());
    assert!(!of("snapshot").is_empty(), "{files:?}");

    for (extension, word) in [
        ("log", "producerId: "),
        ("index", "offset: "),
        ("timeindex", "timestamp: "),
        ("snapshot", "producerId: "),
    ] {
        // A clean stop writes one more snapshot than there are closed segments; all are checked, one call for all.
        let out = kafka(
            "kafka-dump-log",
            &["--index-sanity-check", "--files", &of(extension).join(",")],
        )
        .succeeds();
        assert!(
            extension == "log" || extension == "snapshot" || out.contains("passed sanity check"),
            "{extension}: {out}"
        );
        let out = kafka("kafka-dump-log", &["--files", &of(extension)[0]]).succeeds();
        assert!(out.contains(word), "{extension}: {out}");
        assert!(
            !out.contains("Found timestamp mismatch") && !out.contains("Mismatches in"),
            "{extension}: {out}"
        );
    }
    let offsets: Vec<String> = std::fs::read_dir(broker.data())
        .unwrap()
        .map(|d| d.unwrap().path())
        .filter(|d| {
            d.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with("__consumer_offsets-"))
        })
        .map(|d| d.join("00000000000000000000.log").display().to_string())
        .collect();
    let out = kafka("kafka-dump-log", &["--offsets-decoder", "--files", &offsets.join(",")]).succeeds();
    assert!(
        out.contains(r#"key: {"type":"1","data":{"group":"readers","topic":"t","partition":0}} payload: "#),
        "{out}"
    );
}

#[test]
fn kcat_produces_headers_keys_and_tombstones_and_auto_creates_the_topic() {
    let scene = Scene::new("kcat");
    let broker = scene.broker(1).start();
    let at = broker.bootstrap();
    eventually(15, "kcat produces to a topic that it makes", || {
        let out = kcat_with_input(
            &[
                "-b",
                &at,
                "-P",
                "-t",
                "made",
                "-K:",
                "-Z",
                "-H",
                "from=kcat",
                "-X",
                "acks=all",
            ],
            b"a:1\nb:2\na:\n",
        )
        .says();
        if out.contains("failed") || out.contains("ERROR") {
            Err(out)
        } else {
            Ok(())
        }
    });
    let out = kcat(&[
        "-b",
        &at,
        "-C",
        "-t",
        "made",
        "-o",
        "beginning",
        "-e",
        "-q",
        "-f",
        "%o %k %S %h\n",
    ])
    .succeeds();
    assert_eq!(out, "0 a 1 from=kcat\n1 b 1 from=kcat\n2 a -1 from=kcat\n");
    let out = kcat(&["-b", &at, "-L", "-J"]).succeeds();
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(json["brokers"][0]["name"], at.as_str());
    assert_eq!(json["topics"][0]["partitions"][0]["leader"], 1, "{json}");
    let out = kcat(&["-b", &at, "-Q", "-t", "made:0:-1"]).succeeds();
    assert!(out.contains("made [0] offset 3"), "{out}");
    let znode = scene.zookeeper_shell(&[
        "get /brokers/topics/made",
        "get /brokers/topics/made/partitions/0/state",
        "get /config/topics/made",
    ]);
    assert!(
        znode.contains(r#""partitions":{"0":[1]}"#) && znode.contains(r#""topic_id":""#),
        "{znode}"
    );
    assert!(
        znode.contains(r#""leader":1,"version":1,"#) && znode.contains(r#""isr":[1]"#),
        "{znode}"
    );
    assert!(znode.contains(r#"{"version":1,"config":{}}"#), "{znode}");
}
