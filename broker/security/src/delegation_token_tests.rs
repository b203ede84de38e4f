//! Tokens as managers and logins use them.

use super::*;

const DAY: i64 = 86_400_000;
const LIFETIMES: Lifetimes = Lifetimes {
    max_lifetime: Millis(7 * DAY),
    expiry_time: Millis(DAY),
};

fn user(name: &str) -> KafkaPrincipal {
    KafkaPrincipal::user(name)
}

fn token(expiry: i64, max: i64) -> DelegationToken {
    DelegationToken {
        expiry_timestamp: Millis(expiry),
        max_timestamp: Millis(max),
        ..LIFETIMES.create(
            "id".into(),
            &user("owner"),
            &user("asker"),
            &[user("renewer")],
            Millis(0),
            Millis(0),
        )
    }
}

#[test]
fn a_token_lives_a_day_unless_renewed_and_a_week_at_most() {
    let check = |asked: i64, expiry: i64, max: i64| {
        let made = LIFETIMES.create("id".into(), &user("o"), &user("r"), &[], Millis(asked), Millis(1000));
        let times = (made.issue_timestamp.0, made.expiry_timestamp.0, made.max_timestamp.0);
        assert_eq!(times, (1000, 1000 + expiry, 1000 + max), "{asked}");
    };
    check(-1, DAY, 7 * DAY);
    check(0, DAY, 7 * DAY);
    check(5, 5, 5);
    check(2 * DAY, DAY, 2 * DAY);
    check(8 * DAY, DAY, 7 * DAY);
    check(i64::MAX, DAY, 7 * DAY);
}

#[test]
fn only_the_owner_and_renewers_renew_and_not_past_the_longest_life() {
    let check = |name: &str, of: &DelegationToken, period: i64, now: i64, expected: Result<i64, TokenError>| {
        let renewed = LIFETIMES.renew(of, &user(name), Millis(period), Millis(now));
        assert_eq!(
            renewed.map(|token| token.expiry_timestamp.0),
            expected,
            "{name} {period} {now}"
        );
    };
    let alive = token(100, 3 * DAY);
    check("owner", &alive, 7, 50, Ok(57));
    check("renewer", &alive, -1, 50, Ok(50 + DAY));
    check("owner", &alive, 0, 50, Ok(50));
    check("owner", &alive, i64::MAX, 50, Ok(3 * DAY));
    check("owner", &alive, 7, 100, Ok(107));
    check("owner", &alive, 7, 101, Err(TokenError::Expired));
    check("owner", &token(100, 50), 7, 51, Err(TokenError::Expired));
    check("asker", &alive, 7, 50, Err(TokenError::OwnerMismatch));
    check("other", &alive, 7, 101, Err(TokenError::OwnerMismatch));
}

#[test]
fn a_token_is_ended_at_once_or_later() {
    let check = |name: &str, period: i64, now: i64, expected: Result<Option<i64>, TokenError>| {
        let done = expire(&token(100, 200), &user(name), Millis(period), Millis(now)).map(|expiry| match expiry {
            Expiry::Remove => None,
            Expiry::Replace(token) => Some(token.expiry_timestamp.0),
        });
        assert_eq!(done, expected, "{name} {period} {now}");
    };
    check("owner", -1, 50, Ok(None));
    check("renewer", -1, 1_000, Ok(None));
    check("owner", 10, 50, Ok(Some(60)));
    check("owner", 1_000, 50, Ok(Some(200)));
    check("owner", 10, 101, Err(TokenError::Expired));
    check("asker", -1, 50, Err(TokenError::OwnerMismatch));
}

#[test]
fn owner_asker_and_renewers_see_a_token() {
    for (name, sees) in [("owner", true), ("asker", true), ("renewer", true), ("other", false)] {
        assert_eq!(is_owner_or_renewer(&token(1, 1), &user(name)), sees, "{name}");
    }
}

#[test]
fn a_tokens_secret_is_made_of_its_id_and_the_brokers_secret() {
    // As `openssl dgst -sha512 -hmac secret` has it for `id`.
    let hmac = TokenSecret::new("secret").hmac("id");
    assert_eq!(STANDARD.encode(hmac), HMAC_OF_ID);
    assert_ne!(TokenSecret::new("other").hmac("id"), hmac);
    assert!(!format!("{:?}", TokenSecret::new("secret")).contains("secret\""));
}

const HMAC_OF_ID: &str = "Kqsj84D2HvmnERp8qX9vArB3GxbAuhDMEIr1tUmF+G2LDc2MvQOsR0wzsnmFNi7dP/oFGK58nkU+HO7dU1F2tQ==";

#[test]
fn a_token_can_be_found_logged_in_with_and_removed() {
    let cache = TokenCache::new(TokenSecret::new("secret"));
    cache.update(token(100, 200));
    let hmac = cache.hmac("id");
    assert_eq!(cache.by_hmac(&hmac), Some(token(100, 200)));
    assert_eq!(cache.by_hmac(&hmac[..63]), None);
    assert_eq!(cache.by_hmac(&[]), None);
    let found = cache.token(ScramMechanism::Sha256, "id").unwrap();
    assert_eq!((found.owner.clone(), found.expires_at), (user("owner"), Millis(100)));
    assert!(found.owner.token_authenticated);

    // Renewed, its credential stays.
    cache.update(token(150, 200));
    let renewed = cache.token(ScramMechanism::Sha256, "id").unwrap();
    assert_eq!(renewed.expires_at, Millis(150));
    assert!(Arc::ptr_eq(&found.credential, &renewed.credential));
    assert_eq!(cache.filtered(|_| true), [(token(150, 200), hmac)]);
    assert_eq!(cache.filtered(|_| false), []);

    cache.remove("id");
    assert!(cache.token(ScramMechanism::Sha256, "id").is_none());
    cache.update(token(100, 200));
    cache.replace_all(vec![]);
    assert_eq!(cache.by_hmac(&hmac), None);
}

#[test]
fn a_token_of_nobody_is_not_kept() {
    let cache = TokenCache::new(TokenSecret::new("secret"));
    cache.update(DelegationToken {
        owner: "nobody".into(),
        ..token(100, 200)
    });
    assert!(cache.token(ScramMechanism::Sha512, "id").is_none());
}
