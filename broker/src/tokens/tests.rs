//! Delegation tokens kept in a tree in memory.

use zk_schema_store::MemoryTree;

use super::changes::{Follower, notices};
use super::*;

const NOW: Millis = Millis(1_800_000_000_000);

fn tokens(tree: &MemoryTree) -> Arc<DelegationTokens> {
    let config = BrokerConfig::from_pairs([
        ("zookeeper.connect", "z"),
        ("broker.id", "0"),
        ("delegation.token.secret.key", "secret"),
    ]);
    DelegationTokens::new(&config.unwrap(), Store::in_memory(tree.clone())).unwrap()
}

fn user(name: &str) -> KafkaPrincipal {
    KafkaPrincipal::user(name)
}

#[tokio::test]
async fn without_a_secret_there_are_no_tokens_and_its_old_name_counts() {
    let check = |key: &str, value: &str, expected: bool| {
        let pairs = [("zookeeper.connect", "z"), ("broker.id", "0"), (key, value)];
        let config = BrokerConfig::from_pairs(pairs).unwrap();
        let found = DelegationTokens::new(&config, Store::in_memory(MemoryTree::new()));
        assert_eq!(found.is_some(), expected, "{key}={value}");
    };
    check("broker.id", "0", false);
    check("delegation.token.secret.key", "s", true);
    check("delegation.token.secret.key", "", false);
    check("delegation.token.master.key", "s", true);
}

#[tokio::test]
async fn a_token_is_written_as_kafka_writes_it_and_told() {
    let tree = MemoryTree::new();
    let tokens = tokens(&tree);
    tokens.load().await.unwrap();
    let (admin, renewers) = (user("admin"), [user("alice")]);
    let made = tokens.create(&admin, &admin, &renewers, Millis(86_400_000), NOW);
    let (token, hmac) = made.await.unwrap();
    assert_eq!(token.token_id.len(), 22);
    assert_eq!(hmac, TokenSecret::new("secret").hmac(&token.token_id));
    let expiry = tokens
        .renew(&user("alice"), &hmac, Millis(3_600_000), NOW)
        .await
        .unwrap();
    assert_eq!(expiry, Millis(NOW.0 + 3_600_000));
    let dump = tree.dump();
    let id = &token.token_id;
    let text = |path: &str| String::from_utf8(dump[path].to_vec()).unwrap();
    assert_eq!(
        text(&format!("/delegation_token/tokens/{id}")),
        format!(
            r#"{{"issueTimestamp":1800000000000,"renewers":["User%3Aalice"],"tokenRequester":"User%3Aadmin","tokenId":"{id}","owner":"User%3Aadmin","expiryTimestamp":1800003600000,"maxTimestamp":1800086400000,"version":3}}"#
        )
    );
    for notice in ["0000000000", "0000000001"] {
        assert_eq!(
            &text(&format!("/delegation_token/token_changes/token_change_{notice}")),
            id
        );
    }
}

#[tokio::test]
async fn another_broker_hears_of_tokens_that_come_change_and_go() {
    let tree = MemoryTree::new();
    let (one, other) = (tokens(&tree), tokens(&tree));
    one.load().await.unwrap();
    other.load().await.unwrap();
    let mut seen = notices();
    let mut watch = seen.pass(&other.store, 1, NOW, &mut Follower(&other)).await.unwrap();
    let (token, hmac) = one.create(&user("a"), &user("a"), &[], Millis(-1), NOW).await.unwrap();
    watch.changed().await;
    let mut watch = seen.pass(&other.store, 1, NOW, &mut Follower(&other)).await.unwrap();
    assert_eq!(other.cache().by_hmac(&hmac), Some(token));

    let expiry = one.expire(&user("a"), &hmac, Millis(1000), NOW).await.unwrap();
    watch.changed().await;
    let mut watch = seen.pass(&other.store, 1, NOW, &mut Follower(&other)).await.unwrap();
    assert_eq!(other.cache().by_hmac(&hmac).unwrap().expiry_timestamp, expiry);

    one.expire_now(expiry).await;
    assert!(one.cache().by_hmac(&hmac).is_some(), "it is good until then");
    one.expire_now(Millis(expiry.0 + 1)).await;
    watch.changed().await;
    seen.pass(&other.store, 1, NOW, &mut Follower(&other)).await.unwrap();
    assert_eq!((one.cache().by_hmac(&hmac), other.cache().by_hmac(&hmac)), (None, None));
}

#[tokio::test]
async fn a_new_session_reads_everything_again() {
    let tree = MemoryTree::new();
    let (one, other) = (tokens(&tree), tokens(&tree));
    one.load().await.unwrap();
    other.load().await.unwrap();
    let mut seen = notices();
    seen.pass(&other.store, 1, NOW, &mut Follower(&other)).await.unwrap();
    let (_, kept) = one.create(&user("a"), &user("a"), &[], Millis(-1), NOW).await.unwrap();
    let (_, gone) = one.create(&user("a"), &user("a"), &[], Millis(-1), NOW).await.unwrap();
    seen.pass(&other.store, 1, NOW, &mut Follower(&other)).await.unwrap();
    one.expire(&user("a"), &gone, Millis(-1), NOW).await.unwrap();
    // All notices are old enough to be purged: nobody hears of them any more.
    notices().pass(&one.store, 1, NOW, &mut Follower(&one)).await.unwrap();
    seen.pass(&other.store, 2, NOW, &mut Follower(&other)).await.unwrap();
    assert!(other.cache().by_hmac(&kept).is_some());
    assert_eq!(other.cache().by_hmac(&gone), None);
}

#[tokio::test]
async fn a_token_that_is_gone_is_not_made_again_by_a_renewal() {
    let tree = MemoryTree::new();
    let (one, other) = (tokens(&tree), tokens(&tree));
    one.load().await.unwrap();
    let (_, hmac) = one.create(&user("a"), &user("a"), &[], Millis(-1), NOW).await.unwrap();
    other.load().await.unwrap();
    one.expire(&user("a"), &hmac, Millis(-1), NOW).await.unwrap();
    let renewed = other.renew(&user("a"), &hmac, Millis(-1), NOW).await;
    assert!(matches!(renewed, Err(TokensError::NotFound)));
    assert_eq!(other.cache().by_hmac(&hmac), None);
    let nobody = other.renew(&user("a"), b"no such", Millis(-1), NOW).await;
    assert!(matches!(nobody, Err(TokensError::NotFound)));
}

#[tokio::test]
async fn a_znode_that_makes_no_sense_is_no_token() {
    let tree = MemoryTree::new();
    let tokens = tokens(&tree);
    tokens.load().await.unwrap();
    let (token, hmac) = tokens
        .create(&user("a"), &user("a"), &[], Millis(-1), NOW)
        .await
        .unwrap();
    for data in [&b"{"[..], b"", br#"{"version":9}"#] {
        tokens
            .store
            .set(&znode::path(&token.token_id), data, None)
            .await
            .unwrap();
        tokens.load().await.unwrap();
        assert_eq!(tokens.cache().by_hmac(&hmac), None);
    }
    tokens
        .store
        .create(&znode::path("stolen"), token.encode(), CreateMode::Persistent)
        .await
        .unwrap();
    tokens.load().await.unwrap();
    assert_eq!(tokens.cache().by_hmac(&hmac), None);
    assert!(tokens.cache().filtered(|_| true).is_empty());
}
