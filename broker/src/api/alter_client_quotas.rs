//! AlterClientQuotas (key 49, versions 0–1): sets and removes quotas of users, client ids and addresses.
//!
//! Served by any broker: it writes ZooKeeper, and every broker obeys when `/config/changes` says so.
//!
//! Source: Kafka 3.9 `ZkAdminManager.alterClientQuotas`, `AdminZkClient.changeConfigs`.

use kafka_protocol::messages::alter_client_quotas_request::EntryData as WishedEntry;
use kafka_protocol::messages::alter_client_quotas_response::{EntityData, EntryData};
use kafka_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use zk_schema::config::Entity;

use super::quota_entity::{self, denied, invalid};
use super::text::wire;
use super::{Api, RequestContext, api};
use crate::security::Operation;
use crate::zookeeper::quotas::first_address;
use crate::zookeeper::{AdminError, configs};

pub(super) const API: Api = api!(AlterClientQuotas, 0..=1, handle);

async fn handle(cx: &RequestContext, request: AlterClientQuotasRequest) -> AlterClientQuotasResponse {
    let mut entries = Vec::with_capacity(request.entries.len());
    let authorized = cx.authorize_cluster(Operation::AlterConfigs);
    for wish in &request.entries {
        let outcome = match authorized {
            true => alter(cx, wish, request.validate_only).await,
            false => Err(denied()),
        };
        let entity = wish.entity.iter().map(|part| {
            EntityData::default()
                .with_entity_type(part.entity_type.clone())
                .with_entity_name(part.entity_name.clone())
        });
        let entry = EntryData::default().with_entity(entity.collect());
        entries.push(match outcome {
            Ok(()) => entry.with_error_message(None),
            Err(error) => {
                tracing::info!(%error, "quotas could not be changed");
                entry
                    .with_error_code(error.code().code())
                    .with_error_message(error.message().map(|message| wire(&message)))
            }
        });
    }
    AlterClientQuotasResponse::default().with_entries(entries)
}

async fn alter(cx: &RequestContext, wish: &WishedEntry, validate_only: bool) -> Result<(), AdminError> {
    let parts = wish.entity.iter();
    let entity = quota_entity::entity(parts.map(|part| (part.entity_type.as_str(), part.entity_name.as_deref())))?;
    if let Entity::Ip(Some(ip)) = &entity
        && first_address(ip).await.is_err()
    {
        return Err(invalid(format!("{ip} is not a valid IP or resolvable host.")));
    }
    let store = &cx.broker.store;
    let mut config = configs::read(store, &entity).await?;
    for op in &wish.ops {
        if op.remove {
            config.remove(op.key.as_str());
        } else {
            let value = quota_entity::value(&entity, &op.key, op.value)?;
            config.insert(op.key.to_string(), value);
        }
    }
    if !validate_only {
        configs::change(store, &entity, &config).await?;
        tracing::info!(entity = entity.relative_path(), "quotas have been changed");
    }
    Ok(())
}
