//! Quotas as ZooKeeper has them, given to whoever keeps to them.
//!
//! Source: Kafka 3.9 `ClientIdConfigHandler`, `UserConfigHandler`, `IpConfigHandler`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use zk_schema::config::Entity;

use crate::Broker;
use crate::quota::{CONNECTION_CREATION_RATE, ConnectionQuotas};

/// Takes over what is now set for a user, a client id or an address; other entities have no quotas.
pub fn apply(broker: &Broker, entity: &Entity, config: &BTreeMap<String, String>) {
    match entity {
        Entity::Client(_) | Entity::User(_) | Entity::UserClient(..) => broker.client_quotas.apply(entity, config),
        Entity::Ip(ip) => apply_ip(&broker.connection_quotas, ip.as_deref(), config),
        Entity::Topic(_) | Entity::Broker(_) => {}
    }
}

fn apply_ip(quotas: &Arc<ConnectionQuotas>, ip: Option<&str>, config: &BTreeMap<String, String>) {
    let limit = config
        .get(CONNECTION_CREATION_RATE)
        .and_then(|text| match text.trim().parse() {
            Ok(limit) => Some(limit),
            Err(_) => {
                tracing::error!(ip, text, "a quota is not a number");
                None
            }
        });
    let Some(host) = ip else {
        return quotas.set_ip_rate(None, limit);
    };
    match host.parse::<IpAddr>() {
        Ok(ip) => quotas.set_ip_rate(Some(ip.to_canonical()), limit),
        // Kafka's tools let the name of a host stand where an address should.
        Err(_) => {
            let (quotas, host) = (Arc::clone(quotas), host.to_owned());
            tokio::spawn(async move {
                match first_address(&host).await {
                    Ok(ip) => quotas.set_ip_rate(Some(ip), limit),
                    Err(error) => tracing::error!(host, %error, "the host of a quota has no address"),
                }
            });
        }
    }
}

/// The address that Java would take for this host.
pub(crate) async fn first_address(host: &str) -> std::io::Result<IpAddr> {
    let mut found = tokio::net::lookup_host((host, 0)).await?;
    let first = found.next().ok_or(std::io::ErrorKind::NotFound)?;
    Ok(first.ip().to_canonical())
}
