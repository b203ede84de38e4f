//! What comes to a secured listener before anybody has logged in: nothing that it says gets anybody in, keeps others out,
//! or costs memory.

use integration_tests::{
    Broker, Connection, Scene, Scram, Security, create_scram_users, eventually, is_reference, password,
};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const PRODUCE: i16 = 0;
const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;
const SASL_AUTHENTICATE: i16 = 36;

const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
const SASL_AUTHENTICATION_FAILED: i16 = 58;

fn port(broker: &Broker, listener: &str) -> u16 {
    let address = broker.listener(listener);
    let (_, port) = address.rsplit_once(':').expect("host:port");
    port.parse().expect("a port is a number")
}

fn others_are_served(broker: &Broker, after: &str) {
    let begin = Instant::now();
    let mut connection = Connection::open(broker.port()).unwrap_or_else(|e| panic!("after {after}: {e}"));
    connection.metadata().unwrap_or_else(|e| panic!("after {after}: {e}"));
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "after {after}: {:?}",
        begin.elapsed()
    );
}

#[test]
fn requests_before_a_login_get_nothing_but_a_closed_connection() {
    let scene = Scene::new("before-login");
    let broker = Security::new(&scene).configure(scene.broker(1)).start();
    let open = || Connection::open(port(&broker, "SASL_PLAINTEXT")).unwrap();
    let all_topics = (-1i32).to_be_bytes();
    let mut produce = vec![0xff, 0xff, 0, 0];
    produce.extend([0, 0, 0x75, 0x30, 0, 0, 0, 0]);

    for (name, key, version, body) in [
        ("Metadata", METADATA, 1, &all_topics[..]),
        ("Produce without answer", PRODUCE, 7, &produce[..]),
        (
            "SaslAuthenticate without handshake",
            SASL_AUTHENTICATE,
            0,
            &[0, 0, 0, 1, 0][..],
        ),
        ("an unknown request", 999, 0, &[][..]),
    ] {
        let mut connection = open();
        connection.send(key, version, body).unwrap();
        assert!(
            connection.is_closed_by_broker(),
            "{name}: the connection is not closed at once"
        );
        others_are_served(&broker, name);
    }

    // What a client needs to know before it can choose: ApiVersions, and that is all.
    let mut connection = open();
    connection.send(API_VERSIONS, 0, &[]).unwrap();
    let (_, answer) = connection.receive().unwrap();
    assert_eq!(&answer[..2], [0, 0], "ApiVersions is answered without error");
    connection.send(METADATA, 1, &all_topics).unwrap();
    assert!(connection.is_closed_by_broker(), "Metadata behind ApiVersions");

    // Between handshake and login.
    let mut connection = open();
    assert_eq!(connection.sasl_handshake("PLAIN").unwrap().0, 0);
    connection.send(METADATA, 1, &all_topics).unwrap();
    if let Ok((_, answer)) = connection.receive() {
        assert!(
            !contains(&answer, b"127.0.0.1"),
            "it was told about the cluster: {answer:?}"
        );
        assert!(connection.is_closed_by_broker(), "Metadata behind a handshake");
    }

    // After a login that failed, the same connection is good for nothing.
    let mut connection = open();
    let answer = connection.log_in("alice", "wrong").unwrap();
    assert_eq!(answer.error, SASL_AUTHENTICATION_FAILED);
    assert!(connection.is_closed_by_broker(), "a connection with a wrong password");

    // And a right one is.
    let mut connection = open();
    assert_eq!(connection.log_in("alice", &password("alice")).unwrap().error, 0);
    assert_eq!(connection.metadata().unwrap(), 1);
    let log = broker.log();
    assert!(!log.contains(&password("alice")), "a password is in the log");
}

#[test]
fn a_login_cannot_be_talked_down() {
    let scene = Scene::new("downgrade");
    let broker = Security::new(&scene)
        .configure(scene.broker(1))
        .set("sasl.enabled.mechanisms", "SCRAM-SHA-512")
        .start();
    let open = || Connection::open(port(&broker, "SASL_PLAINTEXT")).unwrap();
    // Its JAAS lines for these are there, but they are not enabled.
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "ANONYMOUS", "GSSAPI", "plain", ""] {
        let mut connection = open();
        let (error, offered) = connection.sasl_handshake(mechanism).unwrap();
        assert_eq!(
            (error, offered),
            (UNSUPPORTED_SASL_MECHANISM, vec!["SCRAM-SHA-512".to_owned()]),
            "{mechanism}"
        );
        assert!(
            connection.is_closed_by_broker(),
            "{mechanism}: the connection is not closed"
        );
    }
    // PLAIN's bytes where SCRAM's are expected.
    let mut connection = open();
    assert_eq!(connection.sasl_handshake("SCRAM-SHA-512").unwrap().0, 0);
    let plain = format!("\0alice\0{}", password("alice"));
    let answer = connection.sasl_authenticate(plain.as_bytes()).unwrap();
    assert_eq!(answer.error, SASL_AUTHENTICATION_FAILED);
    assert!(answer.bytes.is_empty());
    assert!(connection.is_closed_by_broker());
    // A second handshake, when the first is done, for another mechanism.
    let mut connection = open();
    assert_eq!(connection.sasl_handshake("SCRAM-SHA-512").unwrap().0, 0);
    let again = connection.sasl_handshake("PLAIN");
    assert!(!matches!(&again, Ok((0, _))), "{again:?}");
    others_are_served(&broker, "downgrades");
}

/// Length of a name that is worth trying: where it is longer, Kafka's network thread ends in a stack overflow.
fn long() -> usize {
    if is_reference() { 200 } else { 200_000 }
}

/// Spoils one message of a SCRAM login.
type Spoil = fn(String) -> String;

#[test]
fn a_tampered_scram_login_fails() {
    let scene = Scene::new("scram-tampered");
    let broker = Security::new(&scene).configure(scene.broker(1)).start();
    create_scram_users(&broker.bootstrap(), &["alice", "bob"]);
    let open = || {
        let mut connection = Connection::open(port(&broker, "SASL_PLAINTEXT")).unwrap();
        assert_eq!(connection.sasl_handshake("SCRAM-SHA-256").unwrap().0, 0);
        connection
    };
    // The client of these tests can log in, if nobody spoils anything.
    eventually(5, "alice can log in", || {
        let mut connection = Connection::open(port(&broker, "SASL_PLAINTEXT")).map_err(|e| e.to_string())?;
        let answer = connection
            .log_in_by_scram("alice", &password("alice"))
            .map_err(|e| e.to_string())?;
        if answer.error != 0 || !answer.bytes.starts_with(b"v=") {
            return Err(format!("{answer:?}"));
        }
        assert_eq!(connection.metadata().unwrap(), 1);
        Ok(())
    });

    let unspoilt: Spoil = |m| m;
    let flip: Spoil = |m| {
        // One letter of the proof, not its padding.
        let at = m.rfind("p=").unwrap() + 2;
        let other = if &m[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &m[..at], &m[at + 1..])
    };
    let rows: &[(&str, Spoil, Spoil)] = &[
        ("a wrong proof", unspoilt, flip),
        ("no proof", unspoilt, |m| m[..m.rfind(",p=").unwrap()].to_owned()),
        ("an empty proof", unspoilt, |m| {
            m[..m.rfind(",p=").unwrap() + 3].to_owned()
        }),
        ("a short proof", unspoilt, |m| {
            m[..m.rfind(",p=").unwrap() + 3].to_owned() + "AAAA"
        }),
        ("another nonce", unspoilt, |m| m.replacen("r=a-nonce", "r=b-nonce", 1)),
        ("the client's nonce alone", unspoilt, |m| {
            let (begin, end) = (m.find(",r=").unwrap(), m.rfind(",p=").unwrap());
            format!("{},r=a-nonce{}", &m[..begin], &m[end..])
        }),
        ("another channel binding", unspoilt, |m| {
            m.replacen("c=biws", "c=eSws", 1)
        }),
        (
            "somebody else's name to act for",
            |m| m.replacen("n,,", "n,a=bob,", 1),
            unspoilt,
        ),
        (
            "channel binding asked for",
            |m| m.replacen("n,,", "p=tls-unique,,", 1),
            unspoilt,
        ),
        ("nobody's name", |m| m.replacen("n=alice", "n=", 1), unspoilt),
        ("an unknown name", |m| m.replacen("n=alice", "n=nobody", 1), unspoilt),
        ("another's name", |m| m.replacen("n=alice", "n=bob", 1), unspoilt),
        ("a bad escape", |m| m.replacen("n=alice", "n=al=ice", 1), unspoilt),
        ("a token that is none", |m| m + ",tokenauth=true", unspoilt),
        ("nothing", |_| String::new(), unspoilt),
        (
            "a long name",
            |m| m.replacen("n=alice", &format!("n={}", "a".repeat(long())), 1),
            unspoilt,
        ),
        ("no text", |_| "\u{0}\u{1}\u{fffd}".repeat(50), unspoilt),
    ];
    for (name, spoil_first, spoil_last) in rows {
        let scram = Scram::new("alice", &password("alice"), "a-nonce");
        let mut connection = open();
        let first = connection.sasl_authenticate(spoil_first(scram.first()).as_bytes());
        let answer = match first {
            Ok(answer) if answer.error == 0 => {
                let server_first = String::from_utf8_lossy(&answer.bytes).into_owned();
                let last = scram
                    .last(&server_first)
                    .unwrap_or_else(|e| panic!("{name}: {e}: {server_first}"));
                connection.sasl_authenticate(spoil_last(last).as_bytes())
            }
            other => other,
        };
        match answer {
            Ok(answer) => {
                assert_eq!(answer.error, SASL_AUTHENTICATION_FAILED, "{name}: {answer:?}");
                assert!(answer.bytes.is_empty(), "{name}: {answer:?}");
            }
            // Where Kafka's code throws what it has not foreseen, it closes without a word.
            Err(e) => {
                eprintln!("    {name}: {e}");
                assert_eq!(e.kind(), ErrorKind::UnexpectedEof, "{name}: {e}");
            }
        }
        assert!(connection.is_closed_by_broker(), "{name}: the connection stays open");
    }
    // The server's nonce is new each time: what was heard once cannot be said again.
    let scram = Scram::new("alice", &password("alice"), "a-nonce");
    let (mut one, mut other) = (open(), open());
    let first = one.sasl_authenticate(scram.first().as_bytes()).unwrap();
    let second = other.sasl_authenticate(scram.first().as_bytes()).unwrap();
    assert_ne!(first.bytes, second.bytes);
    let last = scram.last(&String::from_utf8_lossy(&first.bytes)).unwrap();
    assert_eq!(
        other.sasl_authenticate(last.as_bytes()).unwrap().error,
        SASL_AUTHENTICATION_FAILED
    );
    assert_eq!(one.sasl_authenticate(last.as_bytes()).unwrap().error, 0);
    others_are_served(&broker, "tampered logins");
}

#[test]
fn noise_at_secured_listeners_costs_its_sender_the_connection() {
    let scene = Scene::new("secured-noise");
    let mut broker = Security::new(&scene).configure(scene.broker(1)).start();
    let noise = |seed: u32, length: u32| -> Vec<u8> {
        (0..length)
            .map(|i| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect()
    };
    let sized = |bytes: &[u8]| [&i32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 501]].concat();
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("a negative size", (-1i32).to_be_bytes().to_vec()),
        ("the largest size", i32::MAX.to_be_bytes().to_vec()),
        (
            "one byte more than sasl.server.max.receive.size",
            524_289i32.to_be_bytes().to_vec(),
        ),
        ("noise", sized(&noise(1, 4000))),
        ("noise without size", [&[0x7f][..], &noise(7, 5000)].concat()),
        ("a browser", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("a Kerberos ticket", sized(&[&[0x60][..], &noise(3, 300)].concat())),
        ("a TLS alert", vec![0x15, 3, 3, 0, 2, 2, 40]),
        (
            "a TLS record of the largest size",
            [&[0x16, 3, 1, 0xff, 0xff][..], &noise(5, 65_535)].concat(),
        ),
        ("a broken ClientHello", hello),
        (
            "a request with a name of 32767 bytes that are not there",
            sized(&[0, 17, 0, 1, 0, 0, 0, 1, 0x7f, 0xff]),
        ),
        (
            "a plain request",
            Connection::frame(METADATA, 1, 1, &[0xff; 4]).to_vec(),
        ),
    ];
    for listener in ["SSL", "SASL_PLAINTEXT", "SASL_SSL"] {
        for (name, bytes) in &rows {
            let mut stream = TcpStream::connect(("127.0.0.1", port(&broker, listener))).unwrap();
            // Long enough for TLS, too, to see that it is none. It may be closed before the last byte has gone out.
            let _ = stream.write_all(&[&bytes[..], &[0; 16]].concat());
            assert!(
                is_closed_within(&mut stream, 5),
                "{listener}: {name}: the connection stays open"
            );
            assert!(broker.ended().is_none(), "{listener}: {name}: the broker has ended");
        }
        others_are_served(&broker, listener);
    }
    if !is_reference() {
        let peak = broker.memory_peak();
        assert!(peak < 400 << 20, "{} MiB at most", peak >> 20);
    }
}

#[test]
fn slow_strangers_keep_nobody_out_and_do_not_stay() {
    let scene = Scene::new("slow-strangers");
    let broker = Security::new(&scene)
        .configure(scene.broker(1))
        .set("connections.max.idle.ms", "3000")
        .start();
    let begin: [(&str, &[u8]); 4] = [
        ("SSL", b""),
        ("SSL", &[0x16, 3, 1]),
        ("SASL_SSL", &[0x16, 3, 1, 2, 0, 1]),
        ("SASL_PLAINTEXT", &[0, 0, 0]),
    ];
    let mut strangers: Vec<TcpStream> = Vec::new();
    for (listener, bytes) in begin.iter().cycle().take(200) {
        let mut stream = TcpStream::connect(("127.0.0.1", port(&broker, listener))).unwrap();
        stream.write_all(bytes).unwrap();
        strangers.push(stream);
    }
    others_are_served(&broker, "200 strangers");
    let mut connection = Connection::open(port(&broker, "SASL_PLAINTEXT")).unwrap();
    assert_eq!(connection.log_in("alice", &password("alice")).unwrap().error, 0);
    // All of them are sent away in time.
    let deadline = Instant::now() + Duration::from_secs(20);
    for (n, stream) in strangers.iter_mut().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now()).as_secs().max(1);
        let who = begin[n % begin.len()].0;
        assert!(is_closed_within(stream, left), "stranger {n} ({who}) is still there");
    }
    others_are_served(&broker, "all strangers have gone");
}

/// Whether the broker closes a connection in time, whatever it says before: TLS says why.
fn is_closed_within(stream: &mut TcpStream, seconds: u64) -> bool {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut said = [0; 4096];
    while let Some(left) = deadline
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
    {
        stream.set_read_timeout(Some(left)).expect("a socket has deadlines");
        match stream.read(&mut said) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) => return !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
    false
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}
