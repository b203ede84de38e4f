//! User and client names as znode names: percent-encoded as Kafka's `Sanitizer` does.
//!
//! Java's URL encoding of UTF-8, but with `%20` for a space and `%2A` for `*`. `<default>` is a literal of its own
//! and must not be passed through here.

/// The name as a znode's name. Source: Kafka `Sanitizer.sanitize`.
pub fn sanitize(name: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out
}

/// The name that a znode's name stands for; `None` if it is not percent-encoded UTF-8. `+` reads as a space.
/// Source: Kafka `Sanitizer.desanitize`.
pub fn desanitize(name: &str) -> Option<String> {
    let mut out = Vec::with_capacity(name.len());
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
                let (high, low) = (digit()?, digit()?);
                out.push(u8::try_from(high * 16 + low).ok()?);
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_encoded_as_kafka_does() {
        let check = |name: &str, encoded: &str| {
            assert_eq!(sanitize(name), encoded);
            assert_eq!(desanitize(encoded).as_deref(), Some(name));
        };
        check("alice", "alice");
        check("CN=bob smith,O=A&B/C", "CN%3Dbob%20smith%2CO%3DA%26B%2FC");
        check("app 2/é", "app%202%2F%C3%A9");
        check("a*b~c", "a%2Ab%7Ec");
        assert_eq!(desanitize("a+b").as_deref(), Some("a b"));
        for bad in ["%", "%2", "%GG", "%ff"] {
            assert_eq!(desanitize(bad), None, "{bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_name_comes_back(name in ".*") {
            prop_assert_eq!(desanitize(&sanitize(&name)), Some(name));
        }
    }
}
