//! Places for connections: who waits, who is refused, who is pushed out.

use std::net::Ipv4Addr;

use super::*;

const OUT: &str = "OUTSIDE";
const IN: &str = "INSIDE";

fn now() -> Millis {
    Millis(1_000_000)
}

fn ip(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

fn limits() -> ConnectionLimits {
    let listener = ListenerLimits {
        max: UNLIMITED,
        creation_rate: UNLIMITED,
    };
    ConnectionLimits {
        max: UNLIMITED,
        creation_rate: UNLIMITED,
        max_per_ip: UNLIMITED,
        per_ip_overrides: BTreeMap::new(),
        listeners: [(OUT.to_owned(), listener), (IN.to_owned(), listener)].into(),
    }
}

fn quotas(change: impl FnOnce(&mut ConnectionLimits)) -> Arc<ConnectionQuotas> {
    let quotas = ConnectionQuotas::new(Windows::new(11, 1), IN);
    let mut limits = limits();
    change(&mut limits);
    quotas.configure(&limits);
    Arc::new(quotas)
}

/// The connection's place, if it gets one without waiting.
async fn at_once(quotas: &Arc<ConnectionQuotas>, listener: &str, from: u8) -> Option<Result<Place, Refusal>> {
    tokio::time::timeout(Duration::from_millis(20), quotas.admit(listener, ip(from), now))
        .await
        .ok()
}

async fn place(quotas: &Arc<ConnectionQuotas>, listener: &str, from: u8) -> Place {
    at_once(quotas, listener, from).await.unwrap().unwrap()
}

#[tokio::test]
async fn who_comes_when_all_places_are_taken_waits_for_one() {
    let quotas = quotas(|limits| limits.max = 2);
    let first = place(&quotas, OUT, 1).await;
    let _second = place(&quotas, OUT, 2).await;
    assert!(at_once(&quotas, OUT, 3).await.is_none());
    let waiting = tokio::spawn({
        let quotas = Arc::clone(&quotas);
        async move { quotas.admit(OUT, ip(3), now).await }
    });
    tokio::task::yield_now().await;
    drop(first);
    assert!(waiting.await.unwrap().is_ok());
    assert_eq!(quotas.open(), 1, "the third has been dropped again");
}

#[tokio::test]
async fn a_raised_limit_lets_those_in_who_wait() {
    let quotas = quotas(|limits| limits.listeners.get_mut(OUT).unwrap().max = 1);
    let _first = place(&quotas, OUT, 1).await;
    assert!(at_once(&quotas, OUT, 2).await.is_none());
    let _inside = place(&quotas, IN, 2).await;
    quotas.configure(&limits());
    assert!(at_once(&quotas, OUT, 2).await.is_some());
}

#[tokio::test]
async fn an_address_with_too_many_is_refused_at_once() {
    let quotas = quotas(|limits| {
        limits.max_per_ip = 1;
        limits.per_ip_overrides = [(ip(7), 2), (ip(8), 0)].into();
    });
    let first = place(&quotas, OUT, 1).await;
    assert_eq!(
        at_once(&quotas, IN, 1).await.unwrap().unwrap_err(),
        Refusal::TooMany { max: 1 }
    );
    let _other = place(&quotas, OUT, 2).await;
    let _overridden = (place(&quotas, OUT, 7).await, place(&quotas, OUT, 7).await);
    assert!(at_once(&quotas, OUT, 7).await.unwrap().is_err());
    assert_eq!(
        at_once(&quotas, OUT, 8).await.unwrap().unwrap_err(),
        Refusal::TooMany { max: 0 }
    );
    drop(first);
    let _again = place(&quotas, OUT, 1).await;
}

/// The task that serves a connection.
struct Client(tokio::task::JoinHandle<()>);

#[tokio::test]
async fn a_broker_gets_in_and_the_client_that_was_idle_longest_must_go() {
    let quotas = quotas(|limits| limits.max = 2);
    let client = async |from: u8| {
        let place = place(&quotas, OUT, from).await;
        let id = place.id();
        place.touch(Instant::now() + Duration::from_secs(u64::from(from)));
        let task = tokio::spawn(async move {
            let _place = place;
            std::future::pending::<()>().await;
        });
        quotas.serve_by(id, task.abort_handle());
        Client(task)
    };
    let Client(recent) = client(9).await;
    let Client(idle) = client(1).await;
    let _broker = place(&quotas, IN, 1).await;
    assert!(idle.await.unwrap_err().is_cancelled());
    assert!(!recent.is_finished());
    assert_eq!(quotas.open(), 2);
    let _another = place(&quotas, IN, 1).await;
    assert!(recent.await.unwrap_err().is_cancelled());
    // Nobody is left to go, and brokers still get in.
    let _third = place(&quotas, IN, 1).await;
    assert_eq!(quotas.open(), 3);
    assert!(at_once(&quotas, OUT, 1).await.is_none());
}

#[tokio::test]
async fn the_only_listener_is_not_protected() {
    let quotas = quotas(|limits| {
        limits.listeners.remove(OUT);
        limits.max = 1;
    });
    let _first = place(&quotas, IN, 1).await;
    assert!(at_once(&quotas, IN, 1).await.is_none());
}

#[tokio::test]
async fn connections_that_come_too_fast_wait() {
    let quotas = quotas(|limits| limits.listeners.get_mut(OUT).unwrap().creation_rate = 1);
    for _ in 0..10 {
        place(&quotas, OUT, 1).await;
    }
    // The eleventh in ten seconds: it waits for a second.
    assert!(at_once(&quotas, OUT, 1).await.is_none());
    place(&quotas, IN, 1).await;
}

#[tokio::test]
async fn the_rate_of_all_does_not_hold_back_brokers() {
    let quotas = quotas(|limits| limits.creation_rate = 1);
    for _ in 0..10 {
        place(&quotas, OUT, 1).await;
    }
    assert!(at_once(&quotas, OUT, 1).await.is_none());
    place(&quotas, IN, 1).await;
}

#[tokio::test]
async fn an_address_that_is_too_fast_is_refused_and_holds_back_nobody() {
    let quotas = quotas(|limits| limits.creation_rate = 2);
    quotas.set_ip_rate(None, Some(1));
    quotas.set_ip_rate(Some(ip(2)), Some(UNLIMITED));
    for _ in 0..10 {
        place(&quotas, OUT, 1).await;
    }
    for _ in 0..30 {
        let refused = at_once(&quotas, OUT, 1).await.unwrap().unwrap_err();
        assert_eq!(refused, Refusal::TooFast { pause: Millis(1_000) });
    }
    for _ in 0..10 {
        place(&quotas, OUT, 2).await;
    }
    quotas.set_ip_rate(None, None);
    quotas.configure(&limits());
    place(&quotas, OUT, 1).await;
}
