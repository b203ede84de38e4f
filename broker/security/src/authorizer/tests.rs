//! What is decided, as tables, and the index against a naive scan.

use core::net::Ipv4Addr;
use std::time::Instant;

use proptest::prelude::*;
use zk_schema::acl::PatternType;

use super::*;

fn pattern(resource_type: ResourceType, pattern_type: PatternType, name: &str) -> ResourcePattern {
    ResourcePattern {
        resource_type,
        name: name.to_owned(),
        pattern_type,
    }
}

/// `allow User:alice Read 10.0.0.1`.
fn entry(text: &str) -> AclEntry {
    let words: Vec<&str> = text.split_whitespace().collect();
    AclEntry {
        principal: words[1].to_owned(),
        allow: words[0] == "allow",
        host: words.get(3).copied().unwrap_or(WILDCARD).to_owned(),
        operation: Operation::from_name(words[2]).unwrap(),
    }
}

/// `topic=t: allow User:alice Read; …`, `topic^t` for a prefix.
fn resource(text: &str) -> (ResourcePattern, VersionedAcls) {
    let (resource, rules) = text.split_once(": ").unwrap();
    let (kind, pattern_type, name) = match resource.split_once('=') {
        Some((kind, name)) => (kind, PatternType::Literal, name),
        None => {
            let (kind, name) = resource.split_once('^').unwrap();
            (kind, PatternType::Prefixed, name)
        }
    };
    let acls = VersionedAcls {
        entries: rules.split("; ").map(entry).collect(),
        version: Some(0),
    };
    (
        pattern(ResourceType::from_name(kind).unwrap(), pattern_type, name),
        acls,
    )
}

fn authorizer(rules: &[&str], allow_everyone: bool) -> Authorizer {
    let authorizer = Authorizer::new([KafkaPrincipal::user("admin")], allow_everyone);
    authorizer.update(rules.iter().map(|rule| resource(rule)));
    authorizer
}

fn may(authorizer: &Authorizer, who: &str, host: [u8; 4], operation: Operation, topic: &str) -> bool {
    let principal = KafkaPrincipal::user(who);
    let requester = Requester {
        principal: &principal,
        host: IpAddr::V4(Ipv4Addr::from(host)),
    };
    let index = authorizer.snapshot();
    let decision = authorizer.decide(&index, requester, operation, ResourceType::Topic, topic);
    decision.is_allowed()
}

const HERE: [u8; 4] = [10, 0, 0, 1];

/// As the reference decides: `AclAuthorizer` of 3.9.1.
#[test]
fn deny_beats_allow_and_some_operations_imply_others() {
    let check = |name: &str, rules: &[&str], who: &str, operation: Operation, topic: &str, expected: bool| {
        let authorizer = authorizer(rules, false);
        assert_eq!(may(&authorizer, who, HERE, operation, topic), expected, "{name}");
    };
    use Operation::*;
    //     name                           rules                                                              who      operation topic  expected
    check("no rule at all", &[], "alice", Read, "t", false);
    check(
        "a super user",
        &["topic=t: deny User:admin All"],
        "admin",
        Read,
        "t",
        true,
    );
    check("literal", &["topic=t: allow User:alice Read"], "alice", Read, "t", true);
    check(
        "another's",
        &["topic=t: allow User:alice Read"],
        "bob",
        Read,
        "t",
        false,
    );
    check(
        "another topic",
        &["topic=t: allow User:alice Read"],
        "alice",
        Read,
        "tt",
        false,
    );
    check(
        "another operation",
        &["topic=t: allow User:alice Read"],
        "alice",
        Write,
        "t",
        false,
    );
    check(
        "another kind of resource",
        &["group=t: allow User:alice Read"],
        "alice",
        Read,
        "t",
        false,
    );
    check(
        "another kind of principal",
        &["topic=t: allow Group:alice Read"],
        "alice",
        Read,
        "t",
        false,
    );
    check("everybody", &["topic=t: allow User:* Read"], "alice", Read, "t", true);
    check(
        "everybody of another kind",
        &["topic=t: allow Group:* Read"],
        "alice",
        Read,
        "t",
        false,
    );
    check(
        "all operations",
        &["topic=t: allow User:alice All"],
        "alice",
        Delete,
        "t",
        true,
    );
    check(
        "wildcard",
        &["topic=*: allow User:alice Read"],
        "alice",
        Read,
        "t",
        true,
    );
    check(
        "wildcard is no prefix",
        &["topic^*: allow User:alice Read"],
        "alice",
        Read,
        "t",
        false,
    );
    check(
        "prefixed",
        &["topic^a-: allow User:alice Read"],
        "alice",
        Read,
        "a-b",
        true,
    );
    check(
        "prefix is the whole name",
        &["topic^a-: allow User:alice Read"],
        "alice",
        Read,
        "a-",
        true,
    );
    check(
        "prefix is longer",
        &["topic^a-b: allow User:alice Read"],
        "alice",
        Read,
        "a-",
        false,
    );
    check(
        "not the prefix",
        &["topic^b: allow User:alice Read"],
        "alice",
        Read,
        "a-b",
        false,
    );
    check(
        "read implies describe",
        &["topic=t: allow User:alice Read"],
        "alice",
        Describe,
        "t",
        true,
    );
    check(
        "write implies describe",
        &["topic=t: allow User:alice Write"],
        "alice",
        Describe,
        "t",
        true,
    );
    check(
        "delete implies describe",
        &["topic=t: allow User:alice Delete"],
        "alice",
        Describe,
        "t",
        true,
    );
    check(
        "alter implies describe",
        &["topic=t: allow User:alice Alter"],
        "alice",
        Describe,
        "t",
        true,
    );
    check(
        "create does not",
        &["topic=t: allow User:alice Create"],
        "alice",
        Describe,
        "t",
        false,
    );
    check(
        "alter configs implies",
        &["topic=t: allow User:alice AlterConfigs"],
        "alice",
        DescribeConfigs,
        "t",
        true,
    );
    check(
        "alter does not",
        &["topic=t: allow User:alice Alter"],
        "alice",
        DescribeConfigs,
        "t",
        false,
    );
    check(
        "describe implies nothing",
        &["topic=t: allow User:alice Describe"],
        "alice",
        Read,
        "t",
        false,
    );
    check(
        "deny",
        &["topic=t: allow User:alice Read; deny User:alice Read"],
        "alice",
        Read,
        "t",
        false,
    );
    check(
        "deny read leaves describe",
        &["topic=t: allow User:alice All; deny User:alice Read"],
        "alice",
        Describe,
        "t",
        true,
    );
    check(
        "deny all",
        &["topic=t: allow User:alice All; deny User:alice All"],
        "alice",
        Describe,
        "t",
        false,
    );
    check(
        "deny everybody",
        &["topic=t: allow User:alice All; deny User:* Read"],
        "alice",
        Read,
        "t",
        false,
    );
    check(
        "deny by wildcard",
        &["topic=t: allow User:alice All", "topic=*: deny User:alice Read"],
        "alice",
        Read,
        "t",
        false,
    );
    check(
        "deny by prefix",
        &["topic=tt: allow User:alice All", "topic^t: deny User:alice Read"],
        "alice",
        Read,
        "tt",
        false,
    );
    check(
        "deny from elsewhere",
        &["topic=t: allow User:alice All; deny User:alice All 10.0.0.2"],
        "alice",
        Read,
        "t",
        true,
    );
    check(
        "deny from here",
        &["topic=t: allow User:alice All; deny User:alice All 10.0.0.1"],
        "alice",
        Read,
        "t",
        false,
    );
    check(
        "allow from here",
        &["topic=t: allow User:alice All 10.0.0.1"],
        "alice",
        Read,
        "t",
        true,
    );
    check(
        "allow from elsewhere",
        &["topic=t: allow User:alice All 10.0.0.2"],
        "alice",
        Read,
        "t",
        false,
    );
    check(
        "a name of many bytes",
        &["topic^é: allow User:alice Read"],
        "alice",
        Read,
        "éa",
        true,
    );
    check(
        "half a letter",
        &["topic^a: allow User:alice Read"],
        "alice",
        Read,
        "é",
        false,
    );
    check(
        "a principal with colons",
        &["topic=t: allow User:CN=a:b Read"],
        "CN=a:b",
        Read,
        "t",
        true,
    );
    check("no name", &["topic=t: allow User:alice Read"], "alice", Read, "", false);
}

#[test]
fn everyone_may_what_no_rule_speaks_of_if_so_configured() {
    let authorizer = authorizer(&["topic=t: allow User:alice Read", "topic^p: deny User:bob Read"], true);
    assert!(may(&authorizer, "bob", HERE, Operation::Write, "other"));
    assert!(!may(&authorizer, "bob", HERE, Operation::Read, "t"));
    assert!(!may(&authorizer, "alice", HERE, Operation::Read, "pp"));
}

/// As the reference decides: `AclAuthorizer.authorizeByResourceType` of 3.9.1.
#[test]
fn a_right_to_any_topic_is_a_right_that_no_denial_takes_back() {
    let check = |name: &str, allow_everyone: bool, rules: &[&str], who: &str, expected: bool| {
        let authorizer = authorizer(rules, allow_everyone);
        let principal = KafkaPrincipal::user(who);
        let requester = Requester {
            principal: &principal,
            host: IpAddr::V4(Ipv4Addr::from(HERE)),
        };
        let found = authorizer.may_with_any(requester, Operation::Write, ResourceType::Topic);
        assert_eq!(found, expected, "{name}");
    };
    check("no rules", false, &[], "alice", false);
    check("no rules, everyone", true, &[], "alice", true);
    check("super user", false, &["topic=*: deny User:admin All"], "admin", true);
    check("a literal", false, &["topic=t: allow User:alice Write"], "alice", true);
    check(
        "all operations",
        false,
        &["topic=t: allow User:alice All"],
        "alice",
        true,
    );
    check("everybody", false, &["topic=t: allow User:* Write"], "alice", true);
    check(
        "another operation",
        false,
        &["topic=t: allow User:alice Read"],
        "alice",
        false,
    );
    check(
        "another kind",
        false,
        &["group=t: allow User:alice Write"],
        "alice",
        false,
    );
    check("a prefix", false, &["topic^t: allow User:alice Write"], "alice", true);
    check(
        "from here",
        false,
        &["topic=t: allow User:alice Write 10.0.0.1"],
        "alice",
        true,
    );
    check(
        "from elsewhere",
        false,
        &["topic=t: allow User:alice Write 10.0.0.2"],
        "alice",
        false,
    );
    check(
        "denied everywhere",
        false,
        &["topic=*: deny User:alice Write", "topic=t: allow User:alice Write"],
        "alice",
        false,
    );
    check(
        "denied everywhere, everyone",
        true,
        &["topic=*: deny User:alice Write"],
        "alice",
        false,
    );
    check(
        "denied there",
        false,
        &["topic=t: allow User:alice Write; deny User:alice Write"],
        "alice",
        false,
    );
    check(
        "denied elsewhere",
        false,
        &["topic=t: allow User:alice Write", "topic=u: deny User:alice Write"],
        "alice",
        true,
    );
    check(
        "a denied prefix",
        false,
        &["topic^t: deny User:alice Write", "topic=tt: allow User:alice Write"],
        "alice",
        false,
    );
    check(
        "a denied prefix of a prefix",
        false,
        &["topic^t: deny User:alice Write", "topic^tt: allow User:alice Write"],
        "alice",
        false,
    );
    check(
        "a denied longer prefix",
        false,
        &["topic^tt: deny User:alice Write", "topic^t: allow User:alice Write"],
        "alice",
        true,
    );
    check(
        "everywhere but a prefix",
        false,
        &["topic^t: deny User:alice Write", "topic=*: allow User:alice Write"],
        "alice",
        true,
    );
}

#[test]
fn rules_that_go_leave_nothing_behind() {
    let authorizer = authorizer(
        &["topic^t: allow User:alice Write", "topic=t: deny User:alice Read"],
        false,
    );
    assert_eq!(authorizer.snapshot().len(), 2);
    for name in ["topic^t: allow User:alice Write", "topic=t: deny User:alice Read"] {
        let (resource, _) = resource(name);
        let nothing = VersionedAcls {
            entries: Vec::new(),
            version: None,
        };
        authorizer.update([(resource, nothing)]);
    }
    assert!(authorizer.snapshot().is_empty());
    assert!(!may(&authorizer, "alice", HERE, Operation::Write, "tt"));
    let alice = KafkaPrincipal::user("alice");
    let requester = Requester {
        principal: &alice,
        host: IpAddr::V4(Ipv4Addr::from(HERE)),
    };
    assert!(!authorizer.may_with_any(requester, Operation::Write, ResourceType::Topic));
}

/// The same decision, read off the list of all rules.
fn naive(rules: &[(ResourcePattern, AclEntry)], principal: &str, host: &str, operation: Operation, name: &str) -> bool {
    let falls_under = |pattern: &ResourcePattern| {
        pattern.resource_type == ResourceType::Topic
            && match pattern.pattern_type {
                PatternType::Literal => pattern.name == name || pattern.name == "*",
                PatternType::Prefixed => name.starts_with(&pattern.name),
            }
    };
    let concerns = |entry: &AclEntry, operations: &[Operation]| {
        (entry.principal == principal || entry.principal == "User:*")
            && (entry.host == host || entry.host == "*")
            && (operations.contains(&entry.operation) || entry.operation == Operation::All)
    };
    let implied: &[Operation] = match operation {
        Operation::Describe => &[
            Operation::Describe,
            Operation::Read,
            Operation::Write,
            Operation::Delete,
            Operation::Alter,
        ],
        Operation::DescribeConfigs => &[Operation::DescribeConfigs, Operation::AlterConfigs],
        ref other => core::slice::from_ref(other),
    };
    let relevant = || rules.iter().filter(|(pattern, _)| falls_under(pattern));
    let denied = relevant().any(|(_, entry)| !entry.allow && concerns(entry, &[operation]));
    let allowed = relevant().any(|(_, entry)| entry.allow && concerns(entry, implied));
    !denied && allowed
}

fn any_entry() -> impl Strategy<Value = AclEntry> {
    let principals = prop::sample::select(vec!["User:a", "User:b", "User:*", "Group:a"]);
    let hosts = prop::sample::select(vec!["*", "10.0.0.1", "10.0.0.2", "::1"]);
    (principals, any::<bool>(), hosts, prop::sample::select(Operation::ALL)).prop_map(
        |(principal, allow, host, operation)| AclEntry {
            principal: principal.to_owned(),
            allow,
            host: host.to_owned(),
            operation,
        },
    )
}

fn any_resource() -> impl Strategy<Value = (ResourcePattern, VersionedAcls)> {
    let names = prop::sample::select(vec!["*", "a", "aa", "ab", "aaa", "b", "é"]);
    let kinds = prop::sample::select(vec![ResourceType::Topic, ResourceType::Group]);
    let patterns = prop::sample::select(PatternType::ALL);
    // Few, many (which are searched in another way), and none (which takes them away).
    let entries = prop_oneof![
        prop::collection::vec(any_entry(), 0..4),
        prop::collection::vec(any_entry(), 16..20)
    ];
    (kinds, patterns, names, entries).prop_map(|(kind, pattern_type, name, entries)| {
        (
            pattern(kind, pattern_type, name),
            VersionedAcls {
                entries,
                version: Some(0),
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_index_decides_as_a_look_through_all_rules(
        updates in prop::collection::vec(any_resource(), 0..12),
        operation in prop::sample::select(Operation::ALL),
    ) {
        let authorizer = Authorizer::new([], false);
        let mut rules: std::collections::BTreeMap<ResourcePattern, Vec<AclEntry>> = Default::default();
        for (resource, acls) in updates {
            rules.insert(resource.clone(), acls.entries.clone());
            authorizer.update([(resource, acls)]);
        }
        let all: Vec<_> = rules
            .iter()
            .flat_map(|(resource, entries)| entries.iter().map(|entry| (resource.clone(), entry.clone())))
            .collect();
        prop_assert_eq!(authorizer.snapshot().len(), rules.values().filter(|entries| !entries.is_empty()).count());
        for name in ["a", "aa", "aab", "b", "c", "éa", "*"] {
            for who in ["a", "b", "c", "*"] {
                let found = may(&authorizer, who, HERE, operation, name);
                let expected = naive(&all, &format!("User:{who}"), "10.0.0.1", operation, name);
                prop_assert_eq!(found, expected, "{} {}", who, name);
            }
        }
        let filter = |resource_type, name: Option<&str>, pattern_type| ResourceFilter {
            resource_type,
            name: name.map(str::to_owned),
            pattern_type,
        };
        for kind in [None, Some(ResourceType::Topic)] {
            for name in [None, Some("*"), Some("aa"), Some("éa")] {
                for pattern_type in [
                    PatternTypeFilter::Any,
                    PatternTypeFilter::Match,
                    PatternTypeFilter::Only(PatternType::Literal),
                    PatternTypeFilter::Only(PatternType::Prefixed),
                ] {
                    let filter = filter(kind, name, pattern_type);
                    let found: Vec<_> = authorizer.snapshot().matching(&filter).into_iter().map(|(found, _)| found).collect();
                    let mut expected: Vec<_> = rules
                        .iter()
                        .filter(|(pattern, entries)| !entries.is_empty() && filter.matches(pattern))
                        .map(|(pattern, _)| pattern.clone())
                        .collect();
                    expected.sort_by(|a, b| (a.resource_type, a.pattern_type, &a.name).cmp(&(b.resource_type, b.pattern_type, &b.name)));
                    prop_assert_eq!(found, expected, "{:?}", filter);
                }
            }
        }
    }
}

/// What a decision and an update cost with a million rules, ten thousand of them for prefixes: look at the figures with
/// `--nocapture` and `--release`. The bounds hold also for a slow machine and a build that is not optimised: copying or
/// looking through all rules once would break them.
#[test]
fn a_million_rules_cost_a_decision_microseconds() {
    const LITERALS: u32 = 990_000;
    const PREFIXES: u32 = 10_000;
    let authorizer = Authorizer::new([], false);
    let begun = Instant::now();
    let rule = |principal: u32| VersionedAcls {
        entries: vec![entry(&format!("allow User:u{principal} Write"))],
        version: Some(0),
    };
    let literals = (0..LITERALS).map(|n| {
        (
            pattern(ResourceType::Topic, PatternType::Literal, &format!("topic-{n}")),
            rule(n % 1000),
        )
    });
    let prefixes = (0..PREFIXES).map(|n| {
        (
            pattern(ResourceType::Topic, PatternType::Prefixed, &format!("team-{n}-")),
            rule(n % 1000),
        )
    });
    authorizer.update(literals.chain(prefixes));
    println!("loading {} rules took {:?}", LITERALS + PREFIXES, begun.elapsed());

    const DECISIONS: u32 = 20_000;
    let principal = KafkaPrincipal::user("u77");
    let requester = Requester {
        principal: &principal,
        host: IpAddr::V4(Ipv4Addr::from(HERE)),
    };
    let names: Vec<String> = (0..DECISIONS)
        .map(|n| {
            if n % 2 == 0 {
                format!("topic-{}", n * 37)
            } else {
                format!("team-{}-orders", n % PREFIXES)
            }
        })
        .collect();
    let begun = Instant::now();
    let mut allowed = 0;
    for name in &names {
        let index = authorizer.snapshot();
        let decision = authorizer.decide(&index, requester, Operation::Write, ResourceType::Topic, name);
        allowed += u32::from(decision.is_allowed());
    }
    let each = begun.elapsed() / DECISIONS;
    println!("a decision took {each:?}; {allowed} of {DECISIONS} were allowed");
    assert!(allowed > 0 && allowed < DECISIONS);
    assert!(each.as_micros() < 100, "{each:?}");

    const UPDATES: u32 = 200;
    let begun = Instant::now();
    for n in 0..UPDATES {
        let resource = pattern(ResourceType::Topic, PatternType::Literal, &format!("new-{n}"));
        authorizer.update([(resource, rule(n))]);
    }
    let each = begun.elapsed() / UPDATES;
    println!("an update took {each:?}");
    assert!(each.as_millis() < 20, "{each:?}");
}
