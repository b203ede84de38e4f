//! Stores that keytool (Java 17) and OpenSSL 3 have made, all with the same key.

use std::path::Path;

use super::*;

const STORE: &str = "store-secret";
const KEY: &str = "key-secret";
const SUBJECT: &str = r"CN=broker,OU=Test\, Ltd.,O=Ottla,C=AT";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/tls/testdata")
        .join(name)
}

fn secret(text: &str) -> Option<Secret> {
    (!text.is_empty()).then(|| Secret::new(text))
}

fn settings(of: StoreType, name: &str, password: &str, key_password: &str) -> KeyStoreSettings {
    KeyStoreSettings {
        source: StoreSource::File {
            of,
            path: path(name),
            password: secret(password),
        },
        key_password: secret(key_password),
    }
}

/// `key.pem` and `cert.pem` in one file.
fn pem_file(directory: &Path, key: &str) -> PathBuf {
    let text = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    let file = directory.join(format!("with-{key}"));
    std::fs::write(&file, text(key) + &text("cert.pem")).unwrap();
    file
}

#[test]
fn keys_are_read_from_stores_of_all_makers() {
    use StoreType::{Jks, Pkcs12};
    let check = |of: StoreType, name: &str, password: &str, key_password: &str, expected: Result<&str, &str>| {
        let loaded = settings(of, name, password, key_password).load();
        match (loaded, expected) {
            (Ok(keys), Ok(alias)) => {
                assert_eq!(keys.alias, alias, "{name}");
                assert_eq!(keys.summary().unwrap().subject, SUBJECT, "{name}");
                let provider = super::super::suites::provider();
                super::super::server::certified_key(&keys, &provider).unwrap();
            }
            (Err(error), Err(says)) => {
                let error = error.to_string();
                assert!(error.contains(says), "{name}: {error}");
                assert!(!error.contains(STORE) && !error.contains(KEY), "{error}");
            }
            (loaded, expected) => panic!("{name}: {loaded:?} instead of {expected:?}"),
        }
    };
    check(Pkcs12, "new.p12", STORE, "", Ok("broker"));
    check(Pkcs12, "legacy.p12", STORE, "", Ok("broker"));
    check(Pkcs12, "openssl.p12", STORE, "", Ok("x"));
    check(Pkcs12, "openssl-legacy.p12", STORE, "", Ok("1"));
    check(Jks, "separate.jks", STORE, KEY, Ok("broker"));
    // A store is what it is, whatever it is called.
    check(Jks, "new.p12", STORE, STORE, Ok("broker"));
    check(Pkcs12, "separate.jks", STORE, KEY, Ok("broker"));

    check(
        Jks,
        "separate.jks",
        "wrong",
        KEY,
        Err("tampered with, or the password is wrong"),
    );
    check(Jks, "separate.jks", STORE, "wrong", Err("ssl.key.password is wrong"));
    check(Jks, "separate.jks", STORE, "", Err("ssl.key.password is wrong"));
    check(Jks, "trust.jks", STORE, "", Err("no entry with a private key"));
    check(Jks, "secret.jceks", STORE, "", Err("JCEKS"));
    check(Pkcs12, "new.p12", "wrong", "", Err("the password is wrong"));
    check(Pkcs12, "trust.p12", STORE, "", Err("no entry with a private key"));
    check(Pkcs12, "cert.pem", STORE, "", Err("neither a JKS nor a PKCS12"));
    check(Pkcs12, "none.p12", STORE, "", Err("cannot read the SSL key store"));
}

#[test]
fn keys_are_read_from_pem() {
    let directory = tempfile::tempdir().unwrap();
    let check = |key: &str, password: &str, expected: Result<(), &str>| {
        let loaded = KeyStoreSettings {
            source: StoreSource::File {
                of: StoreType::Pem,
                path: pem_file(directory.path(), key),
                password: None,
            },
            key_password: secret(password),
        }
        .load();
        match (loaded, expected) {
            (Ok(keys), Ok(())) => {
                let provider = super::super::suites::provider();
                super::super::server::certified_key(&keys, &provider).unwrap();
                // What is written for other libraries is read again.
                let again = pem::key_material(keys.key_pem().reveal(), &keys.chain_pem(), None).unwrap();
                assert_eq!((again.key, again.chain), (keys.key, keys.chain), "{key}");
            }
            (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{key}: {error}"),
            (loaded, expected) => panic!("{key}: {loaded:?} instead of {expected:?}"),
        }
    };
    check("plain.pem", "", Ok(()));
    check("sec1.pem", "", Ok(()));
    check("pbes2.pem", KEY, Ok(()));
    check("pbe-sha1-3des.pem", KEY, Ok(()));
    check("pbes2.pem", "wrong", Err("ssl.key.password is wrong"));
    check("pbe-sha1-3des.pem", "wrong", Err("ssl.key.password is wrong"));
    check("pbes2.pem", "", Err("encrypted, but ssl.key.password is not specified"));
    check("cert.pem", "", Err("No matching PRIVATE KEY entries in PEM file"));
}

#[test]
fn trusted_certificates_are_those_that_java_trusts() {
    use StoreType::{Jks, Pem, Pkcs12};
    let check = |of: StoreType, name: &str, password: &str, expected: Result<usize, &str>| {
        let store = TrustStoreSettings::File {
            of,
            path: path(name),
            password: secret(password),
        };
        match (store.load(), expected) {
            (Ok(found), Ok(count)) => assert_eq!(found.len(), count, "{name}"),
            (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{name}: {error}"),
            (loaded, expected) => panic!("{name}: {loaded:?} instead of {expected:?}"),
        }
    };
    check(Jks, "trust.jks", STORE, Ok(1));
    check(Jks, "trust.jks", "", Ok(1));
    check(Jks, "trust.jks", "wrong", Err("the password is wrong"));
    check(Pkcs12, "trust.p12", STORE, Ok(1));
    check(Pkcs12, "trust.p12", "wrong", Err("the password is wrong"));
    check(Jks, "separate.jks", STORE, Ok(1));
    check(Pkcs12, "openssl.p12", STORE, Ok(1));
    check(
        Pkcs12,
        "openssl-nokeys.p12",
        STORE,
        Err("none of its 1 certificates is marked as trusted"),
    );
    check(Pem, "cert.pem", "", Ok(1));
    check(Pem, "plain.pem", "", Err("No matching CERTIFICATE entries"));
}

#[test]
fn a_certificate_is_told_by_subject_names_and_end() {
    let keys = settings(StoreType::Pkcs12, "new.p12", STORE, "").load().unwrap();
    let summary = keys.summary().unwrap();
    assert_eq!(summary.alternative_names, ["DNS:localhost", "IP:127.0.0.1"]);
    assert!(summary.not_before < summary.not_after);
}

#[test]
fn no_damage_to_a_store_does_worse_than_an_error() {
    for name in ["separate.jks", "new.p12", "legacy.p12", "trust.jks"] {
        let whole = std::fs::read(path(name)).unwrap();
        let password = secret(STORE);
        let try_out = |bytes: &[u8]| {
            if jks::is_jks(bytes) {
                // Without a password nothing keeps the reader from seeing the damage.
                drop(jks::trusted(bytes, None));
                drop(jks::key_material(bytes, None, password.as_ref()));
            } else {
                drop(pkcs12::key_material(bytes, password.as_ref()));
            }
        };
        for at in (0..whole.len()).step_by(7) {
            try_out(&whole[..at]);
        }
        // Only where it is cheap: deriving keys is slow on purpose.
        if jks::is_jks(&whole) {
            for at in 0..whole.len() {
                for value in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut damaged = whole.clone();
                    damaged[at] = value;
                    try_out(&damaged);
                }
            }
        }
    }
}
