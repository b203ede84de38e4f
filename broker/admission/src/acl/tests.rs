//! Rules read from, written to and followed in a tree in memory.

use broker_security::principal::KafkaPrincipal;
use zk_schema_store::MemoryTree;

use super::*;
use broker_security::authorizer::EntryFilter;

fn settings() -> AuthorizerSettings {
    AuthorizerSettings {
        super_users: vec![KafkaPrincipal::user("admin")],
        allow_everyone_if_no_acl_found: false,
        zookeeper: None,
    }
}

async fn start(tree: &MemoryTree) -> Arc<AclAuthorizer> {
    let store = Store::in_memory(tree.clone());
    AclAuthorizer::start(store, &settings(), AclScope::All).await.unwrap()
}

fn topic(pattern_type: PatternType, name: &str) -> ResourcePattern {
    ResourcePattern {
        resource_type: ResourceType::Topic,
        name: name.to_owned(),
        pattern_type,
    }
}

fn allow(principal: &str, operation: Operation) -> AclEntry {
    AclEntry {
        principal: principal.to_owned(),
        allow: true,
        host: "*".to_owned(),
        operation,
    }
}

fn filter(resource: ResourceFilter, entry: EntryFilter) -> BindingFilter {
    BindingFilter { resource, entry }
}

fn all() -> BindingFilter {
    let resource = ResourceFilter {
        resource_type: None,
        name: None,
        pattern_type: PatternTypeFilter::Any,
    };
    filter(resource, EntryFilter::default())
}

async fn content(store: &Store, path: &str) -> Option<String> {
    let found = store.get(path).await.unwrap();
    found.map(|(data, stat)| format!("v{} {}", stat.version, String::from_utf8(data.to_vec()).unwrap()))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

/// The writes of capture 17a: `kafka-acls` of 3.9 at a 3.9.1 broker.
#[tokio::test]
async fn rules_and_notices_are_written_as_kafka_writes_them() {
    let tree = MemoryTree::new();
    let authorizer = start(&tree).await;
    let store = Store::in_memory(tree);
    let literal = topic(PatternType::Literal, "t39");
    let prefixed = topic(PatternType::Prefixed, "pre-");
    let alice = [
        allow("User:alice", Operation::Read),
        allow("User:alice", Operation::Describe),
    ];
    authorizer.add(&literal, &alice).await.unwrap();
    authorizer
        .add(&literal, &[allow("User:bob", Operation::Write)])
        .await
        .unwrap();
    authorizer
        .add(&prefixed, &[allow("User:alice", Operation::Write)])
        .await
        .unwrap();
    assert_eq!(
        content(&store, "/kafka-acl/Topic/t39").await.as_deref(),
        Some(
            r#"v1 {"acls":[{"principal":"User:alice","permissionType":"Allow","host":"*","operation":"Read"},{"principal":"User:alice","permissionType":"Allow","host":"*","operation":"Describe"},{"principal":"User:bob","permissionType":"Allow","host":"*","operation":"Write"}],"version":1}"#
        )
    );
    assert_eq!(
        content(&store, "/kafka-acl-extended/prefixed/Topic/pre-")
            .await
            .as_deref(),
        Some(
            r#"v0 {"acls":[{"principal":"User:alice","permissionType":"Allow","host":"*","operation":"Write"}],"version":1}"#
        )
    );
    let notice = |path: &'static str| content(&store, path);
    assert_eq!(
        notice("/kafka-acl-changes/acl_changes_0000000001").await.as_deref(),
        Some("v0 TOPIC:t39")
    );
    assert_eq!(
        notice("/kafka-acl-extended-changes/acl_changes_0000000000")
            .await
            .as_deref(),
        Some(r#"v0 {"version":1,"resourceType":"TOPIC","name":"pre-","patternType":"PREFIXED"}"#)
    );
    // What changes nothing is written, and announced to nobody.
    authorizer.add(&literal, &alice).await.unwrap();
    assert!(content(&store, "/kafka-acl/Topic/t39").await.unwrap().starts_with("v2"));
    assert_eq!(notice("/kafka-acl-changes/acl_changes_0000000002").await, None);
    let refused = authorizer.add(&literal, &[allow("nobody", Operation::Read)]).await;
    assert!(matches!(refused, Err(AclError::Principal(_))));
}

#[tokio::test]
async fn the_last_rule_takes_its_znode_along() {
    let tree = MemoryTree::new();
    let authorizer = start(&tree).await;
    let store = Store::in_memory(tree);
    let t = topic(PatternType::Literal, "t");
    let entries = [allow("User:a", Operation::Read), allow("User:b", Operation::Read)];
    authorizer.add(&t, &entries).await.unwrap();
    authorizer
        .add(&topic(PatternType::Prefixed, "t"), &entries)
        .await
        .unwrap();
    let only = |principal: &str, pattern_type| {
        let resource = ResourceFilter {
            resource_type: Some(ResourceType::Topic),
            name: Some("t".to_owned()),
            pattern_type,
        };
        let entry = EntryFilter {
            principal: Some(principal.to_owned()),
            ..EntryFilter::default()
        };
        filter(resource, entry)
    };
    let literal = PatternTypeFilter::Only(PatternType::Literal);
    // What two filters mean is deleted once, by the first.
    let deleted = authorizer
        .delete(&[
            only("User:a", literal),
            only("User:a", literal),
            only("User:x", literal),
        ])
        .await;
    let counts: Vec<usize> = deleted.iter().map(Vec::len).collect();
    assert_eq!(counts, [1, 0, 0]);
    assert!(content(&store, "/kafka-acl/Topic/t").await.unwrap().contains("User:b"));
    let deleted = authorizer.delete(&[only("User:b", PatternTypeFilter::Match)]).await;
    assert_eq!(deleted[0].len(), 2);
    assert!(deleted[0].iter().all(|(_, _, done)| done.is_ok()));
    assert_eq!(content(&store, "/kafka-acl/Topic/t").await, None);
    assert!(content(&store, "/kafka-acl-extended/prefixed/Topic/t").await.is_some());
    assert_eq!(authorizer.matching(&all()).len(), 1);
}

#[tokio::test]
async fn two_brokers_agree_and_none_overwrites_the_other() {
    let tree = MemoryTree::new();
    let (one, other) = (start(&tree).await, start(&tree).await);
    let following = tokio::spawn(Arc::clone(&other).follow());
    let t = topic(PatternType::Literal, "t");
    one.add(&t, &[allow("User:a", Operation::Read)]).await.unwrap();
    let has = |authorizer: &AclAuthorizer, count: usize| {
        let found = authorizer.matching(&all());
        found.iter().map(|(_, entries)| entries.len()).sum::<usize>() == count
    };
    until("the other broker has the rule", || has(&other, 1)).await;
    // `one` does not follow: it must find out by the version that it knows too little.
    other.add(&t, &[allow("User:b", Operation::Read)]).await.unwrap();
    one.add(&t, &[allow("User:c", Operation::Read)]).await.unwrap();
    assert!(has(&one, 3));
    until("all three rules are there", || has(&other, 3)).await;
    one.delete(&[all()]).await;
    until("all rules are gone", || has(&other, 0)).await;
    following.abort();
}

#[tokio::test]
async fn what_is_there_at_the_start_is_in_force_and_what_cannot_be_read_keeps_the_broker_out() {
    let tree = MemoryTree::new();
    start(&tree)
        .await
        .add(&topic(PatternType::Prefixed, "p"), &[allow("User:a", Operation::All)])
        .await
        .unwrap();
    assert_eq!(start(&tree).await.matching(&all()).len(), 1);
    let store = Store::in_memory(tree.clone());
    store
        .create(
            "/kafka-acl/Topic/t",
            r#"{"version":1,"acls":[{}]}"#,
            CreateMode::Persistent,
        )
        .await
        .unwrap();
    assert!(AclAuthorizer::start(store, &settings(), AclScope::All).await.is_err());
}
