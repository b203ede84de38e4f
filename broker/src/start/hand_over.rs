//! Controlled shutdown: the controller moves leadership off this broker before it stops.
//!
//! Asks whoever is the controller, a broker, a dedicated coordinator or this process, and tries again as configured.
//! Whether it succeeds or not, the broker stops. Unlike Kafka, which sleeps `controlled.shutdown.retry.backoff.ms` whatever
//! the reason, it tries again as soon as somebody can take what is left, and does not wait where nobody can: when all
//! brokers are stopped at once, the last would otherwise sleep for nothing.
//! Source: Kafka 3.9 `KafkaServer.controlledShutdown`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_wire::ErrorCode;
use kafka_protocol::messages::{BrokerId as WireBrokerId, ControlledShutdownRequest, ControlledShutdownResponse};
use model::{BrokerId, TopicPartition};
use tracing::{debug, info, warn};

use crate::Broker;
use crate::config::BrokerConfig;
use crate::controller::{ControllerChannel, NoController};
use crate::logging::KAFKA_SERVER;
use crate::partition::{Lookup, Role};

/// How often it is looked whether somebody can take what is left.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Before it is believed that in-sync replicas which the controller has not elected are leaving themselves.
const SECOND_OPINION: Duration = Duration::from_millis(250);

/// What one attempt came to.
enum Attempt {
    Done,
    /// These are still led here.
    Left(Vec<TopicPartition>),
    Failed(String),
}

/// Who can take a partition that is still led here, as far as this broker knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Taker {
    /// No other replica is alive.
    Nobody,
    /// Another replica is alive and may catch up.
    Later,
    /// Another replica is alive and in sync.
    Now,
}

/// Hands over, or says why not.
pub(super) async fn hand_over(broker: &Arc<Broker>, config: &BrokerConfig, ident: &str) {
    if !config.controlled_shutdown_enable {
        return;
    }
    let Some(channel) = broker.controller_channel() else {
        return;
    };
    if is_alone(broker) {
        return;
    }
    info!(target: KAFKA_SERVER, "{ident}Starting controlled shutdown");
    let pause = Duration::from_millis(u64::try_from(config.controlled_shutdown_retry_backoff_ms).unwrap_or(0));
    let mut retries_left = config.controlled_shutdown_max_retries;
    let mut asked_twice = false;
    while retries_left > 0 {
        let began = Instant::now();
        let reason = match attempt(broker, channel, config).await {
            Attempt::Done => {
                info!(
                    target: KAFKA_SERVER,
                    "{ident}Controlled shutdown request returned successfully after {}ms",
                    began.elapsed().as_millis()
                );
                return;
            }
            Attempt::Left(left) => {
                debug!(?left, "partitions remain to be moved");
                let reason = format!("{} partitions remaining to move", left.len());
                match best_taker(broker, &left) {
                    Taker::Now if !asked_twice => {
                        asked_twice = true;
                        tokio::time::sleep(SECOND_OPINION).await;
                        continue;
                    }
                    // Whoever is in sync is alive, but the controller does not elect it: it is shutting down as well.
                    Taker::Now | Taker::Nobody if !may_catch_up(broker, &left) => {
                        info!(target: KAFKA_SERVER, "{ident}Controlled shutdown leaves {reason}: nobody can take them");
                        return;
                    }
                    Taker::Now | Taker::Later | Taker::Nobody => wait_for_taker(broker, &left, pause).await,
                }
                reason
            }
            Attempt::Failed(reason) => {
                if is_alone(broker) {
                    info!(target: KAFKA_SERVER, "{ident}Controlled shutdown is left: no other broker is alive");
                    return;
                }
                let _: Result<(), tokio::time::error::Elapsed> =
                    tokio::time::timeout(pause, channel.another_controller()).await;
                reason
            }
        };
        retries_left -= 1;
        if retries_left > 0 {
            warn!(
                target: KAFKA_SERVER,
                "{ident}Retrying controlled shutdown ({retries_left} retries remaining): {reason}"
            );
        }
    }
    warn!(
        target: KAFKA_SERVER,
        "{ident}Proceeding to do an unclean shutdown as all the controlled shutdown attempts failed"
    );
}

/// Whether no other broker is alive, to which anything could be handed over.
fn is_alone(broker: &Broker) -> bool {
    !broker.metadata.image().brokers.keys().any(|id| *id != broker.id)
}

async fn attempt(broker: &Broker, channel: &ControllerChannel, config: &BrokerConfig) -> Attempt {
    let request = ControlledShutdownRequest::default()
        .with_broker_id(WireBrokerId(broker.id.0))
        .with_broker_epoch(broker.epoch().0);
    let limit = Duration::from_millis(u64::try_from(config.controller_socket_timeout_ms).unwrap_or(0));
    match tokio::time::timeout(limit, channel.controlled_shutdown(request)).await {
        Ok(answer) => judge(answer),
        Err(_elapsed) => Attempt::Failed("the controller does not answer".to_owned()),
    }
}

fn judge(answer: Result<ControlledShutdownResponse, NoController>) -> Attempt {
    let response = match answer {
        Ok(response) => response,
        Err(error) => return Attempt::Failed(error.to_string()),
    };
    match ErrorCode::from_i16(response.error_code) {
        Some(ErrorCode::None) if response.remaining_partitions.is_empty() => Attempt::Done,
        Some(ErrorCode::None) => {
            let left = response.remaining_partitions.iter();
            Attempt::Left(
                left.map(|it| TopicPartition::new(it.topic_name.as_str(), it.partition_index))
                    .collect(),
            )
        }
        Some(code) => Attempt::Failed(format!("the controller answered {code}")),
        None => Attempt::Failed(format!("the controller answered error {}", response.error_code)),
    }
}

/// The best that is known of any of the partitions left.
fn best_taker(broker: &Broker, left: &[TopicPartition]) -> Taker {
    left.iter()
        .map(|partition| takers(broker, partition).1)
        .max()
        .unwrap_or(Taker::Nobody)
}

/// Whether any of the partitions left has a replica that is alive, not in sync, and so may become able to take it.
fn may_catch_up(broker: &Broker, left: &[TopicPartition]) -> bool {
    left.iter().any(|partition| takers(broker, partition).0)
}

/// Whether a replica may still catch up, and the best taker.
fn takers(broker: &Broker, partition: &TopicPartition) -> (bool, Taker) {
    let Lookup::Online(found) = broker.partitions.lookup(&partition.topic, partition.partition) else {
        return (false, Taker::Nobody);
    };
    let Role::Leader(leading) = found.role() else {
        return (false, Taker::Nobody);
    };
    let state = leading.state();
    let image = broker.metadata.image();
    judge_takers(&state.replicas, &state.isr, broker.id, |id| {
        image.brokers.contains_key(&id)
    })
}

fn judge_takers(
    replicas: &[BrokerId],
    isr: &[BrokerId],
    me: BrokerId,
    is_alive: impl Fn(BrokerId) -> bool,
) -> (bool, Taker) {
    let alive = |id: &&BrokerId| **id != me && is_alive(**id);
    let in_sync = isr.iter().any(|id| alive(&id));
    let joining = replicas.iter().filter(alive).any(|id| !isr.contains(id));
    let best = match (in_sync, joining) {
        (true, _) => Taker::Now,
        (false, true) => Taker::Later,
        (false, false) => Taker::Nobody,
    };
    (joining, best)
}

/// Waits until another in-sync replica can take one of the partitions than could before, or nobody can any more.
async fn wait_for_taker(broker: &Broker, left: &[TopicPartition], limit: Duration) {
    let ready = || {
        let now = left
            .iter()
            .filter(|partition| takers(broker, partition).1 == Taker::Now);
        now.count()
    };
    let before = ready();
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline && ready() <= before && may_catch_up(broker, left) {
        tokio::time::sleep(LOOK_AGAIN.min(limit)).await;
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::messages::controlled_shutdown_response::RemainingPartition;
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn ids(list: &[i32]) -> Vec<BrokerId> {
        list.iter().copied().map(BrokerId).collect()
    }

    #[test]
    fn who_can_take_a_partition() {
        let check = |name: &str, replicas: &[i32], isr: &[i32], alive: &[i32], expected: (bool, Taker)| {
            let alive = ids(alive);
            let found = judge_takers(&ids(replicas), &ids(isr), BrokerId(1), |id| alive.contains(&id));
            assert_eq!(found, expected, "{name}");
        };
        //    name                       replicas   isr     alive     may catch up, best
        check("in sync and alive", &[1, 2], &[1, 2], &[1, 2], (false, Taker::Now));
        check("in sync and dead", &[1, 2], &[1, 2], &[1], (false, Taker::Nobody));
        check("alive, not in sync", &[1, 2], &[1], &[1, 2], (true, Taker::Later));
        check("dead, not in sync", &[1, 2], &[1], &[1], (false, Taker::Nobody));
        check("one of each", &[1, 2, 3], &[1, 2], &[1, 2, 3], (true, Taker::Now));
        check("only replica", &[1], &[1], &[1, 2], (false, Taker::Nobody));
    }

    #[test]
    fn answers_of_the_controller() {
        let response = |code: ErrorCode, left: &[i32]| {
            let remaining = left.iter().map(|index| {
                RemainingPartition::default()
                    .with_topic_name(TopicName(StrBytes::from_static_str("orders")))
                    .with_partition_index(*index)
            });
            Ok(ControlledShutdownResponse::default()
                .with_error_code(code as i16)
                .with_remaining_partitions(remaining.collect()))
        };
        assert!(matches!(judge(response(ErrorCode::None, &[])), Attempt::Done));
        assert!(matches!(
            judge(response(ErrorCode::None, &[0, 3])),
            Attempt::Left(left) if left == [TopicPartition::new("orders", 0), TopicPartition::new("orders", 3)]
        ));
        for code in [ErrorCode::NotController, ErrorCode::StaleBrokerEpoch] {
            assert!(matches!(judge(response(code, &[])), Attempt::Failed(_)));
        }
        assert!(matches!(judge(Err(NoController::Unknown)), Attempt::Failed(_)));
    }
}
