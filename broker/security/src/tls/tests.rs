//! Whole handshakes, over sockets of this machine: who is let in, who is believed, what happens when certificates change.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// An authority and a directory for what it signs.
struct Stage {
    directory: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What a certificate is to be.
struct Wanted<'a> {
    name: &'a str,
    hosts: &'a [&'a str],
    serial: u64,
    years: (i32, i32),
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        Self {
            name: "broker",
            hosts: &["localhost"],
            serial: 1,
            years: (2020, 2100),
        }
    }
}

impl Stage {
    fn new() -> Self {
        Self::of("authority")
    }

    /// With an authority of this name.
    fn of(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let stage = Self {
            directory: tempfile::tempdir().unwrap(),
            issuer,
        };
        std::fs::write(stage.path("authority.pem"), stage.issuer.pem()).unwrap();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Key and certificate in one file.
    fn sign(&self, file: &str, wanted: Wanted<'_>) -> PathBuf {
        let hosts: Vec<_> = wanted.hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, wanted.name);
        params.serial_number = Some(SerialNumber::from(wanted.serial));
        params.not_before = date_time_ymd(wanted.years.0, 1, 1);
        params.not_after = date_time_ymd(wanted.years.1, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.put(file, &(key.serialize_pem() + &certificate.pem()))
    }

    fn self_signed(&self, file: &str, is_authority: bool) -> PathBuf {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "alone");
        if is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        self.put(file, &(key.serialize_pem() + &certificate.pem()))
    }

    fn revoke(&self, serial: u64) -> PathBuf {
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: date_time_ymd(2026, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).unwrap();
        self.put("revoked.pem", &list.pem().unwrap())
    }

    fn put(&self, file: &str, text: &str) -> PathBuf {
        let path = self.path(file);
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn settings(keys: Option<&Path>, trusted: Option<&Path>, others: &[(&str, &str)]) -> TlsSettings {
    let shown = |path: &Path| path.display().to_string();
    TlsSettings::read(|key| match key {
        "ssl.keystore.type" | "ssl.truststore.type" => Some("PEM".to_owned()),
        "ssl.keystore.location" => keys.map(shown),
        "ssl.truststore.location" => trusted.map(shown),
        key => {
            let found = others.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| (*value).to_owned())
        }
    })
    .unwrap()
}

/// What a connection comes to: the name of the client's certificate, or the first refusal of either side.
async fn connect(server: &TlsServer, client: &TlsClient, host: &str) -> Result<String, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let accept = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = server
            .accept(stream)
            .await
            .map_err(|error| format!("server: {error}"))?;
        let who = {
            let (_, session) = stream.get_ref();
            let certificate = session.peer_certificates().and_then(|chain| chain.first());
            certificate.map_or_else(String::new, |certificate| rfc2253_of(certificate).unwrap())
        };
        stream.write_all(b"hello").await.unwrap();
        stream.flush().await.unwrap();
        Ok::<_, String>(who)
    };
    let open = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = client
            .connect(stream, host)
            .await
            .map_err(|error| format!("client: {error}"))?;
        // In TLS 1.3 a client learns only by reading that it is refused.
        let mut read = [0; 5];
        stream
            .read_exact(&mut read)
            .await
            .map_err(|error| format!("client reads: {error}"))?;
        Ok::<_, String>(())
    };
    let (accepted, opened) = tokio::join!(accept, open);
    match (accepted, opened) {
        (Ok(who), Ok(())) => Ok(who),
        (Err(refused), _) if !refused.contains("alert") && !refused.contains("eof") => Err(refused),
        (_, Err(refused)) | (Err(refused), _) => Err(refused),
    }
}

fn check(name: &str, found: &Result<String, String>, expected: Result<&str, &str>) {
    match (found, expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{name}"),
        (Err(found), Err(expected)) => assert!(found.contains(expected), "{name}: {found}"),
        _ => panic!("{name}: {found:?} instead of {expected:?}"),
    }
}

#[tokio::test]
async fn clients_are_let_in_by_their_certificates() {
    let stage = Stage::new();
    let others = Stage::of("others");
    let trusted = stage.path("authority.pem");
    let broker = stage.sign("broker.pem", Wanted::default());
    let client = |file: &str, serial: u64, years: (i32, i32)| {
        let wanted = Wanted {
            name: "alice",
            hosts: &[],
            serial,
            years,
        };
        stage.sign(file, wanted)
    };
    let alice = client("alice.pem", 2, (2020, 2100));
    let late = client("late.pem", 3, (2019, 2020));
    let early = client("early.pem", 4, (2099, 2100));
    let revoked = client("revoked-alice.pem", 5, (2020, 2100));
    let stranger = others.sign(
        "stranger.pem",
        Wanted {
            name: "alice",
            ..Wanted::default()
        },
    );
    let alone = stage.self_signed("alone.pem", false);
    let list = stage.revoke(5).display().to_string();

    for version in ["TLSv1.2", "TLSv1.3"] {
        let try_out = async |client_auth: &str, keys: Option<&Path>| {
            let with = [
                ("ssl.client.auth", client_auth),
                ("ottla.ssl.crl.location", list.as_str()),
            ];
            let server = TlsServer::server(settings(Some(&broker), Some(&trusted), &with), false).unwrap();
            let only = [("ssl.enabled.protocols", version)];
            let client = TlsClient::client(settings(keys, Some(&trusted), &only)).unwrap();
            connect(&server, &client, "localhost").await
        };
        check("none asked", &try_out("none", Some(&alice)).await, Ok(""));
        check("none there", &try_out("requested", None).await, Ok(""));
        check("shown", &try_out("requested", Some(&alice)).await, Ok("CN=alice"));
        check("required", &try_out("required", Some(&alice)).await, Ok("CN=alice"));
        check(
            "missing",
            &try_out("required", None).await,
            Err("peer sent no certificates"),
        );
        check("expired", &try_out("required", Some(&late)).await, Err("expired"));
        check(
            "not yet",
            &try_out("required", Some(&early)).await,
            Err("not valid yet"),
        );
        check("revoked", &try_out("required", Some(&revoked)).await, Err("Revoked"));
        check(
            "of others",
            &try_out("required", Some(&stranger)).await,
            Err("UnknownIssuer"),
        );
        check(
            "of others, not required",
            &try_out("requested", Some(&stranger)).await,
            Err("UnknownIssuer"),
        );
        check(
            "self-signed",
            &try_out("required", Some(&alone)).await,
            Err("UnknownIssuer"),
        );
    }
}

#[tokio::test]
async fn servers_are_believed_by_chain_and_name() {
    let stage = Stage::new();
    let others = Stage::of("others");
    let trusted = stage.path("authority.pem");
    let alone = stage.self_signed("alone.pem", false);
    let alone_authority = stage.self_signed("alone-authority.pem", true);
    let check_one = async |name: &str, keys: &Path, trusted: &Path, host: &str, others: &[(&str, &str)], expected| {
        let server = TlsServer::server(settings(Some(keys), None, &[]), false).unwrap();
        let client = TlsClient::client(settings(None, Some(trusted), others)).unwrap();
        check(name, &connect(&server, &client, host).await, expected);
    };
    let named = stage.sign(
        "named.pem",
        Wanted {
            hosts: &["localhost", "127.0.0.1", "*.example.org"],
            ..Wanted::default()
        },
    );
    let common = stage.sign(
        "common.pem",
        Wanted {
            name: "old.example.org",
            hosts: &[],
            ..Wanted::default()
        },
    );
    let both = stage.sign(
        "both.pem",
        Wanted {
            name: "old.example.org",
            hosts: &["new.example.org"],
            ..Wanted::default()
        },
    );
    let late = stage.sign(
        "late.pem",
        Wanted {
            years: (2019, 2020),
            ..Wanted::default()
        },
    );
    let strange = others.sign("strange.pem", Wanted::default());
    let unchecked = [("ssl.endpoint.identification.algorithm", "")];
    check_one("by name", &named, &trusted, "localhost", &[], Ok("")).await;
    check_one("by address", &named, &trusted, "127.0.0.1", &[], Ok("")).await;
    check_one("by wildcard", &named, &trusted, "a.example.org", &[], Ok("")).await;
    check_one(
        "another name",
        &named,
        &trusted,
        "other",
        &[],
        Err("not valid for name"),
    )
    .await;
    check_one("another name, unchecked", &named, &trusted, "other", &unchecked, Ok("")).await;
    check_one("common name", &common, &trusted, "OLD.example.org", &[], Ok("")).await;
    check_one(
        "common name of another",
        &common,
        &trusted,
        "x.example.org",
        &[],
        Err("not valid for name"),
    )
    .await;
    check_one(
        "common name beside others",
        &both,
        &trusted,
        "old.example.org",
        &[],
        Err("not valid for name"),
    )
    .await;
    check_one("expired", &late, &trusted, "localhost", &[], Err("expired")).await;
    check_one(
        "expired, unchecked",
        &late,
        &trusted,
        "localhost",
        &unchecked,
        Err("expired"),
    )
    .await;
    check_one("of others", &strange, &trusted, "localhost", &[], Err("UnknownIssuer")).await;
    check_one(
        "of others, unchecked",
        &strange,
        &trusted,
        "localhost",
        &unchecked,
        Err("UnknownIssuer"),
    )
    .await;
    check_one("self-signed", &alone, &trusted, "localhost", &[], Err("UnknownIssuer")).await;
    check_one("self-signed, listed", &alone, &alone, "localhost", &[], Ok("")).await;
    check_one(
        "authority, listed",
        &alone_authority,
        &alone_authority,
        "localhost",
        &[],
        Ok(""),
    )
    .await;
    check_one(
        "authority, listed, another name",
        &alone_authority,
        &alone_authority,
        "other",
        &[],
        Err("not valid for name"),
    )
    .await;
}

#[tokio::test]
async fn versions_and_suites_are_those_that_are_allowed() {
    let stage = Stage::new();
    let trusted = stage.path("authority.pem");
    let broker = stage.sign("broker.pem", Wanted::default());
    let try_out = async |server: &[(&str, &str)], client: &[(&str, &str)]| {
        let server = TlsServer::server(settings(Some(&broker), None, server), false).unwrap();
        let client = TlsClient::client(settings(None, Some(&trusted), client)).unwrap();
        connect(&server, &client, "localhost").await
    };
    let v12 = [("ssl.enabled.protocols", "TLSv1.2")];
    let v13 = [("ssl.enabled.protocols", "TLSv1.3")];
    let aes = [("ssl.cipher.suites", "TLS_AES_256_GCM_SHA384")];
    let chacha = [("ssl.cipher.suites", "TLS_CHACHA20_POLY1305_SHA256")];
    check("1.2", &try_out(&v12, &[]).await, Ok(""));
    check("1.3", &try_out(&v13, &[]).await, Ok(""));
    check("none in common", &try_out(&v12, &v13).await, Err("server: "));
    check("suite", &try_out(&aes, &[]).await, Ok(""));
    check("no suite in common", &try_out(&aes, &chacha).await, Err("server: "));
}

#[tokio::test]
async fn a_new_certificate_is_taken_only_as_kafka_takes_it() {
    let stage = Stage::new();
    let others = Stage::of("others");
    let trusted = stage.path("authority.pem");
    let keys = stage.sign("broker.pem", Wanted::default());
    let of = |keys: &Path, with: &[(&str, &str)]| settings(Some(keys), Some(&trusted), with);
    let server = TlsServer::server(of(&keys, &[]), true).unwrap();
    let serial_of = |server: &TlsServer| server.certificate().unwrap().not_after;
    let first = serial_of(&server);
    assert!(!server.reload().unwrap(), "nothing has changed");

    // Another file.
    let renewed = stage.sign(
        "renewed.pem",
        Wanted {
            serial: 9,
            years: (2020, 2101),
            ..Wanted::default()
        },
    );
    server.validate(&of(&renewed, &[])).unwrap();
    assert_eq!(serial_of(&server), first, "only tried");
    assert!(server.reconfigure(of(&renewed, &[])).unwrap());
    assert!(serial_of(&server) > first);

    // The same file, with other content.
    stage.sign(
        "renewed.pem",
        Wanted {
            serial: 10,
            years: (2020, 2102),
            ..Wanted::default()
        },
    );
    let before = serial_of(&server);
    // The clock of files is coarse.
    std::fs::File::options()
        .append(true)
        .open(&renewed)
        .unwrap()
        .set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(5))
        .unwrap();
    assert!(server.reload().unwrap());
    assert!(serial_of(&server) > before);

    let refused = |name: &str, next: TlsSettings, says: &str| {
        let before = serial_of(&server);
        let error = server.reconfigure(next).unwrap_err().to_string();
        assert!(error.contains(says), "{name}: {error}");
        assert_eq!(serial_of(&server), before, "{name}");
    };
    let renamed = stage.sign(
        "renamed.pem",
        Wanted {
            name: "other",
            ..Wanted::default()
        },
    );
    let elsewhere = stage.sign(
        "elsewhere.pem",
        Wanted {
            hosts: &["elsewhere"],
            ..Wanted::default()
        },
    );
    let strange = others.sign("strange.pem", Wanted::default());
    refused(
        "another subject",
        of(&renamed, &[]),
        "Keystore DistinguishedName does not match",
    );
    refused(
        "lost names",
        of(&elsewhere, &[]),
        "Keystore SubjectAltNames do not match",
    );
    refused(
        "no file",
        of(&stage.path("none.pem"), &[]),
        "cannot read the SSL key store",
    );
    refused(
        "no store",
        of(&stage.put("bad.pem", "x"), &[]),
        "No matching PRIVATE KEY",
    );
    refused("no key", settings(None, Some(&trusted), &[]), "needs a key of its own");
    refused("nobody believes it", of(&strange, &[]), "refuses");
    let allowed = [("ssl.allow.dn.changes", "true"), ("ssl.allow.san.changes", "true")];
    assert!(server.reconfigure(of(&renamed, &allowed)).unwrap());
}

#[tokio::test]
async fn an_open_connection_goes_on_when_the_certificate_changes() {
    let stage = Stage::new();
    let trusted = stage.path("authority.pem");
    let keys = stage.sign("broker.pem", Wanted::default());
    let server = Arc::new(TlsServer::server(settings(Some(&keys), None, &[]), false).unwrap());
    let client = TlsClient::client(settings(None, Some(&trusted), &[])).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let accept = async {
        let (stream, _) = listener.accept().await.unwrap();
        server.accept(stream).await.unwrap()
    };
    let open = async {
        client
            .connect(TcpStream::connect(address).await.unwrap(), "localhost")
            .await
            .unwrap()
    };
    let (mut accepted, mut opened) = tokio::join!(accept, open);
    let renewed = stage.sign(
        "renewed.pem",
        Wanted {
            serial: 2,
            ..Wanted::default()
        },
    );
    assert!(server.reconfigure(settings(Some(&renewed), None, &[])).unwrap());
    opened.write_all(b"still here").await.unwrap();
    opened.flush().await.unwrap();
    let mut read = [0; 10];
    accepted.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"still here");
    check(
        "and new ones come",
        &connect(&server, &client, "localhost").await,
        Ok(""),
    );
}

#[tokio::test]
async fn a_peer_that_does_not_speak_tls_is_recognised() {
    let stage = Stage::new();
    let keys = stage.sign("broker.pem", Wanted::default());
    let server = TlsServer::server(settings(Some(&keys), None, &[]), false).unwrap();
    let check = async |sent: &[u8], expected: bool| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        stream.write_all(sent).await.unwrap();
        stream.shutdown().await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let error = server.accept(accepted).await.map(drop).unwrap_err();
        assert_eq!(speaks_plaintext(&error), expected, "{sent:?}: {error}");
    };
    // ApiVersions of a Kafka client, HTTP, and a handshake that is cut off.
    check(&[0, 0, 0, 20, 0, 18, 0, 3, 0, 0, 0, 0, 0, 1, b'x'], true).await;
    check(b"GET / HTTP/1.1\r\n\r\n", true).await;
    check(&[22, 3, 1, 0, 200, 1], false).await;
}

#[test]
fn a_handshake_is_recognised_by_its_first_bytes() {
    for (size, expected) in [
        (0x1603_0102, true),
        (0x1603_0300, true),
        (0x1603_0500, false),
        (0x0000_0014, false),
        (0x4745_5420, false),
    ] {
        assert_eq!(is_client_hello(size), expected, "{size:x}");
    }
}

#[test]
fn a_listener_that_brokers_use_must_believe_itself() {
    let stage = Stage::new();
    let others = Stage::of("others");
    let trusted = stage.path("authority.pem");
    let strange = others.sign("strange.pem", Wanted::default());
    let error = TlsServer::server(settings(Some(&strange), Some(&trusted), &[]), true).unwrap_err();
    assert!(
        error.to_string().contains("can't connect to a server SSLEngine"),
        "{error}"
    );
}
