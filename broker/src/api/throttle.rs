//! Quotas of clients, as requests come under them: what is counted, and how the pause gets into the answer.
//!
//! The answer goes at once and tells the pause; the connection is not read from until it is over (KIP-219). What brokers
//! ask of each other is exempt. A fetch by a consumer that is over its quota is answered with nothing at all.
//!
//! Source: Kafka 3.9 `RequestHandlerHelper`, `KafkaApis.handleProduceRequest`, `handleFetchRequest`.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use broker_security::principal::KafkaPrincipal;
use broker_wire::throttle::with_throttle_time;
use broker_wire::{Encodable, ErrorCode};
use kafka_protocol::messages::ApiKey;
use model::Millis;

use super::{ConnectionInfo, RequestContext};
use crate::net::Reply;
use crate::quota::{Client, Mutations, RequestTime};
use crate::zookeeper::AdminError;
use crate::{Broker, clock};

/// Whose quotas a request comes under.
pub(super) struct Whose {
    principal: Arc<KafkaPrincipal>,
}

impl Whose {
    pub(super) fn of(cx: &RequestContext) -> Self {
        Self {
            principal: Guard::into_inner(cx.connection.principal()),
        }
    }

    pub(super) fn client<'a>(&'a self, cx: &'a RequestContext) -> Client<'a> {
        Client {
            user: &self.principal.name,
            client_id: cx.client_id(),
        }
    }
}

/// The pause that a request of a broker's client has earned by the time it took so far.
fn request_pause(cx: &RequestContext, now: Millis) -> Millis {
    match &cx.time {
        None => Millis(0),
        Some(time) => {
            let quota = &cx.broker.client_quotas.request;
            quota.record(Whose::of(cx).client(cx), time.percent(), now)
        }
    }
}

/// The pause after a produce request, by its bytes and its time; with acks=0 only its bytes count.
pub(super) fn produce_pause(cx: &RequestContext, acks: i16) -> Millis {
    let quotas = &cx.broker.client_quotas;
    if !quotas.produce.is_any() && cx.time.is_none() {
        return Millis(0);
    }
    let now = clock::now();
    let by_bytes = quotas.produce.record(Whose::of(cx).client(cx), cx.size as f64, now);
    let by_time = if acks == 0 { Millis(0) } else { request_pause(cx, now) };
    by_bytes.max(by_time)
}

/// The pause after a consumer's fetch that would be answered with so many bytes. If there is one, nothing is sent, and
/// the bytes do not count.
pub(super) fn fetch_pause(cx: &RequestContext, bytes: impl FnOnce() -> usize) -> Millis {
    let fetch = &cx.broker.client_quotas.fetch;
    if !fetch.is_any() && cx.time.is_none() {
        return Millis(0);
    }
    let (now, whose) = (clock::now(), Whose::of(cx));
    let (client, bytes) = (whose.client(cx), bytes() as f64);
    let by_time = request_pause(cx, now);
    let by_bytes = fetch.admit(client, bytes, now);
    if by_bytes.0 == 0 && by_time.0 > 0 {
        fetch.take_back(client, bytes, now);
    }
    by_bytes.max(by_time)
}

/// How many bytes a fetch may be answered with at most, so that they come at an even pace.
pub(super) fn fetch_bytes_max(cx: &RequestContext) -> usize {
    let fetch = &cx.broker.client_quotas.fetch;
    if !fetch.is_any() {
        return usize::MAX;
    }
    // Old versions cut the first batch too.
    match fetch.at_once_max(Whose::of(cx).client(cx), cx.version() <= 2, clock::now()) {
        None => usize::MAX,
        Some(bytes) => bytes as usize,
    }
}

/// Counts the time of a request whose handler does not do it itself, and lets its answer tell the pause.
pub(super) fn by_request_time(cx: &RequestContext, reply: Reply) -> Reply {
    let api = cx.header.api;
    let itself = [ApiKey::Produce as i16, ApiKey::Fetch as i16];
    if api.cluster_action || itself.contains(&api.key) {
        return reply;
    }
    let pause = request_pause(cx, clock::now());
    if pause.0 == 0 {
        return reply;
    }
    let tell = |reply| match reply {
        Reply::Bytes(frame) => Reply::Bytes(with_throttle_time(
            api.key,
            cx.version(),
            frame,
            throttle_time_ms(pause),
        )),
        reply => reply,
    };
    let reply = match reply {
        Reply::Throttled(reply, already) => Reply::Throttled(Box::new(tell(*reply)), already),
        reply => tell(reply),
    };
    reply.then_pause(duration(pause))
}

/// From now on the time of sending and receiving over the connection is that of the request's client. What brokers ask of
/// each other is exempt.
pub(super) fn time_is_of(cx: &RequestContext) {
    let mut timed = cx.connection.timed_client.lock();
    if cx.header.api.cluster_action {
        *timed = None;
    } else if timed.as_deref() != Some(cx.client_id()) {
        *timed = Some(cx.client_id().into());
    }
}

/// Counts what sending and receiving took, encryption included, without a pause: that comes with the next request.
///
/// Source: Kafka 3.9 `ClientRequestQuotaManager.maybeRecordAndGetThrottleTimeMs` (`recordNetworkThreadTimeCallback`).
pub(crate) fn count_network_time(broker: &Broker, connection: &ConnectionInfo, time: &RequestTime) {
    let timed = connection.timed_client.lock();
    if let Some(client_id) = timed.as_deref() {
        let principal = connection.principal();
        let client = Client {
            user: &principal.name,
            client_id,
        };
        broker
            .client_quotas
            .request
            .record(client, time.percent(), clock::now());
    }
}

/// A pause as the wire tells it.
pub(super) fn throttle_time_ms(pause: Millis) -> i32 {
    i32::try_from(pause.0).unwrap_or(i32::MAX)
}

/// A pause as the connection keeps to it.
pub(super) fn duration(pause: Millis) -> Duration {
    Duration::from_millis(u64::try_from(pause.0).unwrap_or(0))
}

/// The answer to a request that changed topics; it tells `pause` already.
pub(super) fn reply_and_pause<T: Encodable>(cx: &RequestContext, response: &T, pause: Millis) -> Reply {
    cx.reply(response).then_pause(duration(pause))
}

/// What a request may change in the cluster; from `strict_since` on it is refused what goes beyond.
pub(super) fn mutations<'a>(cx: &'a RequestContext, whose: &'a Whose, strict_since: i16) -> Mutations<'a> {
    let quota = &cx.broker.client_quotas.mutation;
    Mutations::new(quota, whose.client(cx), cx.version() >= strict_since)
}

/// Asks for so many changes.
///
/// # Errors
/// THROTTLING_QUOTA_EXCEEDED, in Kafka's words.
pub(super) fn ask(mutations: &mut Mutations<'_>, changes: usize) -> Result<(), AdminError> {
    mutations.ask(changes, clock::now()).map_err(|_| {
        AdminError::refused(
            ErrorCode::ThrottlingQuotaExceeded,
            "The throttling quota has been exceeded.",
        )
    })
}
