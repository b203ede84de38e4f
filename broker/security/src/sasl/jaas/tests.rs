//! JAAS lines and files as Java reads them, and noise.

use proptest::prelude::*;

use super::*;

type Options<'a> = &'a [(&'a str, &'a str)];

fn options(entry: &JaasEntry) -> Vec<(&str, &str)> {
    entry
        .options
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

#[test]
fn lines_are_read_as_kafka_reads_them() {
    let check = |name: &str, line: &str, expected: Result<(&str, Options<'_>), &str>| {
        let found = parse_line(line);
        let found = found
            .as_ref()
            .map(|entry| (entry.login_module.as_str(), options(entry)));
        let found = found.as_ref().map(|(module, options)| (*module, options.as_slice()));
        assert_eq!(found.map_err(|error| error.0.as_str()), expected, "{name}");
    };
    let unterminated = Err("JAAS config entry not terminated by semi-colon");
    let no_flag = Err("Login module control flag is not available in the JAAS config");
    let bad_flag = Err("Invalid login module control flag in JAAS config");
    let no_value = Err("Value not specified for key 'a' in JAAS config");
    check(
        "options",
        r#"m.L required a="b" c=d;"#,
        Ok(("m.L", &[("a", "b"), ("c", "d")])),
    );
    check("no options", "m.L required;", Ok(("m.L", &[])));
    check("flag in capitals", "m.L SUFFICIENT;", Ok(("m.L", &[])));
    check(
        "several lines",
        "m.L\n required\n a = \"b\"\n ;",
        Ok(("m.L", &[("a", "b")])),
    );
    check("single quotes", "m.L required a='b\"c';", Ok(("m.L", &[("a", "b\"c")])));
    check("quoted key", r#"m.L required "a b"="c";"#, Ok(("m.L", &[("a b", "c")])));
    check(
        "escapes",
        r#"m.L required a="\"\\\n\101\7x\u";"#,
        Ok(("m.L", &[("a", "\"\\\nA\u{7}xu")])),
    );
    check(
        "octal of three digits from 4 on",
        r#"m.L required a="\477";"#,
        Ok(("m.L", &[("a", "'7")])),
    );
    check(
        "special characters in quotes",
        r#"m.L required a="b;c=d//e/*f*/";"#,
        Ok(("m.L", &[("a", "b;c=d//e/*f*/")])),
    );
    check("beyond ASCII", "m.L required a=ü€;", Ok(("m.L", &[("a", "ü€")])));
    check(
        "words with - _ $ . and digits",
        "m.L$I-n_2 required a-1=b.2;",
        Ok(("m.L$I-n_2", &[("a-1", "b.2")])),
    );
    check(
        "the last of two counts",
        "m.L required a=b a=c;",
        Ok(("m.L", &[("a", "c")])),
    );
    check(
        "comments",
        "// x\nm.L /* y; */ required a=b; // z",
        Ok(("m.L", &[("a", "b")])),
    );
    check(
        "one slash begins a comment too",
        "m.L required a=b/c\n;",
        Ok(("m.L", &[("a", "b")])),
    );
    check("nothing", " \t\n", Err("Login module not specified in JAAS config"));
    check(
        "only a comment",
        "/* x",
        Err("Login module not specified in JAAS config"),
    );
    check(
        "a number as module",
        "1 required;",
        Err("Login module not specified in JAAS config"),
    );
    check(
        "no flag",
        "m.L",
        Err("Login module control flag not specified in JAAS config"),
    );
    check("a symbol as flag", "m.L ;", no_flag);
    check("a flag of another kind", "m.L needed;", bad_flag);
    check("a forgotten flag", r#"m.L password="secret";"#, bad_flag);
    check("no semicolon", "m.L required a=b", unterminated);
    check("no end of quotes", "m.L required a=\"b;", unterminated);
    check(
        "quotes end with the line",
        "m.L required a=\"b\n;",
        Ok(("m.L", &[("a", "b")])),
    );
    check("no value", "m.L required a=;", no_value);
    check("no equals sign", "m.L required a b;", no_value);
    check("a number as value", "m.L required a=12;", no_value);
    check("a negative number as value", "m.L required a=-1.5;", no_value);
    check(
        "a number as key",
        "m.L required 1=a;",
        Err("Option name expected in JAAS config"),
    );
    check(
        "two modules",
        "m.L required; m.M required;",
        Err("JAAS config property contains 2 login modules, should be 1 module"),
    );
    check(
        "a module that loads what it is told",
        "com.sun.security.auth.module.JndiLoginModule required;",
        Err("com.sun.security.auth.module.JndiLoginModule is not allowed."),
    );
}

#[test]
fn files_are_sections_of_entries() {
    let file = r#"
        // The listener EXTERNAL alone.
        external.KafkaServer {
            m.Plain required user_a="b";
            m.Scram required;
        };
        KafkaClient { m.Plain required username="c" password="d"; };
        Empty { };
    "#;
    let sections = parse_file(file).unwrap();
    let names: Vec<_> = sections
        .iter()
        .map(|(name, entries)| (name.as_str(), entries.len()))
        .collect();
    assert_eq!(names, [("Empty", 0), ("KafkaClient", 1), ("external.KafkaServer", 2)]);
    let check = |name: &str, text: &str, expected: &str| {
        assert_eq!(parse_file(text).expect_err(name).0, expected, "{name}");
    };
    check(
        "no braces",
        "A m.L required;",
        "Expected '{' after section A in JAAS config file",
    );
    check(
        "not closed",
        "A { m.L required;",
        "Section A is not closed in JAAS config file",
    );
    check(
        "no semicolon",
        "A { } B { };",
        "Expected ';' after section A in JAAS config file",
    );
    check("twice", "A { }; A { };", "Section A occurs twice in JAAS config file");
    check("no name", "{ };", "Section name expected in JAAS config file");
    check(
        "bad entry",
        "A { m.L; };",
        "Login module control flag is not available in the JAAS config",
    );
}

#[test]
fn secrets_do_not_show() {
    let entry = parse_line(r#"m.L required password="secret";"#).unwrap();
    assert_eq!(
        format!("{entry:?}"),
        r#"JaasEntry { login_module: "m.L", options: ["password"], .. }"#
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\n\u{a0}-\u{ff}]{0,60}") {
        let _ = (parse_line(&text), parse_file(&text));
    }

    #[test]
    fn any_mutation_of_a_line_is_read_or_refused(at in 0..70usize, to in any::<char>(), cut in 0..70usize) {
        let line = r#"A { m.L required a="b\101" c='d' /* x */ e=f-1; // y"#;
        let mut characters: Vec<char> = line.chars().collect();
        if let Some(character) = characters.get_mut(at) {
            *character = to;
        }
        characters.truncate(cut);
        let text: String = characters.into_iter().collect();
        let _ = (parse_line(&text), parse_file(&text));
    }

    #[test]
    fn a_quoted_value_is_what_was_meant(value in "[ -~\u{a0}-\u{ff}]{0,30}") {
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
        let entry = parse_line(&format!("m.L required a=\"{quoted}\";")).unwrap();
        prop_assert_eq!(entry.options.get("a"), Some(&value));
    }
}
