//! Passwords against texts that Kafka's own encoder has made.

use proptest::prelude::*;

use super::*;

/// Secret, password and text, from Kafka 3.9.1's `EncryptingPasswordEncoder`, one row for each way of encoding.
const GOLDEN: &str = include_str!("testdata/encoded-passwords-3.9.1.tsv");

fn golden() -> Vec<(&'static str, &'static str, &'static str)> {
    let row = |line: &'static str| {
        let mut columns = line.split('\t');
        (
            columns.next().unwrap(),
            columns.next().unwrap(),
            columns.next().unwrap(),
        )
    };
    GOLDEN.lines().map(row).collect()
}

fn encoder(secret: &str) -> PasswordEncoder {
    let few = Settings {
        iterations: 1024,
        ..Settings::default()
    };
    PasswordEncoder::new(secret, few).unwrap()
}

#[test]
fn what_kafka_has_encoded_is_decoded() {
    assert_eq!(golden().len(), 6);
    for (secret, password, encoded) in golden() {
        assert_eq!(encoder(secret).decode(encoded).as_deref(), Ok(password), "{encoded}");
    }
}

#[test]
fn with_the_same_salt_the_text_is_kafkas_to_the_byte() {
    for (secret, password, encoded) in golden() {
        let fields = Fields::parse(encoded);
        let settings = Settings {
            key_factory_algorithm: Some(fields.text("keyFactoryAlgorithm").unwrap().to_owned()),
            cipher_algorithm: fields.text("cipherAlgorithm").unwrap().to_owned(),
            key_length: fields.number("keyLength").unwrap(),
            iterations: fields.number("iterations").unwrap(),
        };
        let (salt, vector) = (
            fields.bytes("salt").unwrap(),
            fields.bytes("initializationVector").unwrap(),
        );
        let encoder = PasswordEncoder::new(secret, settings).unwrap();
        assert_eq!(encoder.encode_with(password, &salt, &vector).as_deref(), Ok(encoded));
    }
}

#[test]
fn a_password_is_encoded_in_another_way_each_time() {
    let encoder = encoder("secret");
    let (one, other) = (encoder.encode("hunter2").unwrap(), encoder.encode("hunter2").unwrap());
    assert_ne!(one, other);
    for text in [one, other] {
        assert!(!text.contains("hunter2"));
        assert_eq!(encoder.decode(&text).as_deref(), Ok("hunter2"));
    }
}

#[test]
fn what_cannot_be_decoded_is_refused_without_showing_anything() {
    let good = golden()[0].2;
    let sealed = golden()[5].2;
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let check = |name: &str, secret: &str, text: &str, expected: &str| {
        let refused = encoder(secret).decode(text).unwrap_err().to_string();
        assert_eq!(refused, expected, "{name}");
        assert!(!refused.contains(secret), "{name}");
    };
    const UNDECODABLE: &str = "Password could not be decoded";
    let field = |name: &str| format!("Password could not be decoded: the field {name} is missing or malformed");
    check("plain text", "secret", "hunter2", &field("cipherAlgorithm"));
    check("nothing", "secret", "", &field("cipherAlgorithm"));
    check("another secret", "s3cret", good, UNDECODABLE);
    check("another secret, sealed", "s3cret", sealed, UNDECODABLE);
    let longer = with("passwordLength:7", "passwordLength:8");
    check("another length", "secret", &longer, UNDECODABLE);
    let text = with("keyLength:128", "keyLength:-1");
    check("no key", "secret", &text, &field("keyLength"));
    let text = with("keyLength:128", "keyLength:1000000000");
    check("a huge key", "secret", &text, "Invalid AES key length: 1000000000 bits");
    let text = with("iterations:4096", "iterations:4000000000");
    let refused = "Iteration count 4000000000 is not between 1 and 10000000";
    check("for hours", "secret", &text, refused);
    let text = with("AES/CBC/PKCS5Padding", "DES/CBC/PKCS5Padding");
    let refused = "Cannot find any provider supporting DES/CBC/PKCS5Padding";
    check("another cipher", "secret", &text, refused);
    let text = with("PBKDF2WithHmacSHA512", "PBEWithMD5AndDES");
    let refused = "PBEWithMD5AndDES SecretKeyFactory not available";
    check("another key factory", "secret", &text, refused);
    let text = with("salt:", "salt:*");
    check("no base64", "secret", &text, &field("salt"));
    let text = with("initializationVector:", "initializationVector:AAAA");
    check("a long vector", "secret", &text, &field("initializationVector"));
}

#[test]
fn the_secret_is_not_printed() {
    assert!(!format!("{:?}", encoder("hunter2")).contains("hunter2"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_password_comes_back(password in ".{0,80}", gcm in any::<bool>()) {
        let settings = Settings {
            iterations: 2,
            cipher_algorithm: if gcm { "AES/GCM/NoPadding" } else { "AES/CBC/PKCS5Padding" }.to_owned(),
            ..Settings::default()
        };
        let encoder = PasswordEncoder::new("secret", settings).unwrap();
        let encoded = encoder.encode(&password).unwrap();
        prop_assert_eq!(encoder.decode(&encoded), Ok(password));
    }

    #[test]
    fn no_text_panics(
        text in "((keyLength|salt|iterations|cipherAlgorithm|passwordLength|encryptedPassword|initializationVector):(128|AES/CBC/PKCS5Padding|AAAA|1|=|[a-zA-Z0-9+/]{0,24}),?){0,9}"
    ) {
        // Whatever it is, it is an answer.
        let _ = encoder("secret").decode(&text);
    }
}
