//! The requests that this broker serves: one file each, one table of all.
//!
//! A handler authorises, validates, acts and answers; it returns a response, never an error: a refusal is an answer.
//! Versions are declared at the handler, and ApiVersions and `docs/compatibility.md` are made from [`APIS`].
//!
//! To add a request: write `name.rs` with `pub(super) const API: Api = api!(Key, 0..=4, handle);` and
//! `async fn handle(cx: &RequestContext, request: NameRequest) -> NameResponse`, and add it to [`APIS`].

mod context;
pub mod error_code;
mod from_controller;
mod leader_hint;

mod acl_requests;
mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod allocate_producer_ids;
mod alter_client_quotas;
mod alter_configs;
mod alter_partition;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod alter_user_scram_credentials;
mod api_versions;
mod config_alteration;
mod config_entries;
mod config_resource;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod controlled_shutdown;
mod create_acls;
mod create_delegation_token;
mod create_partitions;
mod create_topics;
mod delegation_tokens;
mod delete_acls;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_delegation_token;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_transactions;
mod describe_user_scram_credentials;
mod elect_leaders;
mod end_txn;
mod envelope;
mod expire_delegation_token;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leader_and_isr;
mod leave_group;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod quota_entity;
mod renew_delegation_token;
mod sasl_authenticate;
mod sasl_handshake;
mod stop_replica;
mod sync_group;
mod text;
mod throttle;
mod topic_wait;
mod txn_offset_commit;
mod update_features;
mod update_metadata;
pub(crate) mod write_txn_markers;

use std::sync::Arc;

use broker_wire::apis;
use broker_wire::header::RequestHeader;
use bytes::Bytes;
use futures::future::BoxFuture;

pub use context::{ConnectionInfo, RequestContext};
pub(crate) use throttle::count_network_time;

use crate::Broker;
use crate::net::Reply;

/// A request kind that this broker serves.
#[derive(Clone, Copy)]
pub struct Api {
    /// Its key.
    pub key: i16,
    /// Oldest version served.
    pub min_version: i16,
    /// Newest version served.
    pub max_version: i16,
    /// Decodes, handles, encodes.
    pub serve: fn(RequestContext, Bytes) -> BoxFuture<'static, Reply>,
}

impl Api {
    /// Kafka's name of it.
    pub fn name(&self) -> &'static str {
        apis::api(self.key).map_or("unknown", |api| api.name)
    }

    /// Whether this version is served.
    pub fn supports(&self, version: i16) -> bool {
        self.min_version <= version && version <= self.max_version
    }
}

/// Declares an [`Api`] whose handler takes the decoded request and returns the response, or (`replies`) makes the reply
/// itself.
macro_rules! api {
    ($key:ident, $min:literal ..= $max:literal, $handle:path) => {
        $crate::api::api!(@ $key, $min..=$max, |cx, request| {
            let response = $handle(&cx, request).await;
            cx.reply(&response)
        })
    };
    ($key:ident, $min:literal ..= $max:literal, replies $handle:path) => {
        $crate::api::api!(@ $key, $min..=$max, |cx, request| $handle(&cx, request).await)
    };
    (@ $key:ident, $min:literal ..= $max:literal, |$cx:ident, $request:ident| $reply:expr) => {
        $crate::api::Api {
            key: kafka_protocol::messages::ApiKey::$key as i16,
            min_version: $min,
            max_version: $max,
            serve: |$cx, body| {
                Box::pin(async move {
                    match $cx.decode(body) {
                        Ok($request) => $reply,
                        Err(malformed) => $crate::net::Reply::Close(malformed.to_string()),
                    }
                })
            },
        }
    };
}
pub(crate) use api;

/// Every request that this broker serves, in the order of their keys.
pub static APIS: &[Api] = &[
    produce::API,
    fetch::API,
    list_offsets::API,
    metadata::API,
    leader_and_isr::API,
    stop_replica::API,
    update_metadata::API,
    controlled_shutdown::API,
    offset_commit::API,
    offset_fetch::API,
    find_coordinator::API,
    join_group::API,
    heartbeat::API,
    leave_group::API,
    sync_group::API,
    describe_groups::API,
    list_groups::API,
    sasl_handshake::API,
    api_versions::API,
    create_topics::API,
    delete_topics::API,
    delete_records::API,
    init_producer_id::API,
    offset_for_leader_epoch::API,
    add_partitions_to_txn::API,
    add_offsets_to_txn::API,
    end_txn::API,
    write_txn_markers::API,
    txn_offset_commit::API,
    describe_acls::API,
    create_acls::API,
    delete_acls::API,
    describe_configs::API,
    alter_configs::API,
    alter_replica_log_dirs::API,
    describe_log_dirs::API,
    sasl_authenticate::API,
    create_partitions::API,
    create_delegation_token::API,
    renew_delegation_token::API,
    expire_delegation_token::API,
    describe_delegation_token::API,
    delete_groups::API,
    elect_leaders::API,
    incremental_alter_configs::API,
    alter_partition_reassignments::API,
    list_partition_reassignments::API,
    offset_delete::API,
    describe_client_quotas::API,
    alter_client_quotas::API,
    describe_user_scram_credentials::API,
    alter_user_scram_credentials::API,
    alter_partition::API,
    update_features::API,
    envelope::API,
    describe_cluster::API,
    describe_producers::API,
    describe_transactions::API,
    list_transactions::API,
    allocate_producer_ids::API,
    consumer_group_heartbeat::API,
    consumer_group_describe::API,
];

/// The API with this key, if it is served.
pub fn served(key: i16) -> Option<&'static Api> {
    APIS.binary_search_by_key(&key, |api| api.key).ok().map(|at| &APIS[at])
}

/// Serves one request frame (without its size): the header, then the body by its handler.
pub async fn serve(broker: &Arc<Broker>, connection: &Arc<ConnectionInfo>, frame: Bytes) -> Reply {
    let (header, body) = match RequestHeader::parse(&frame) {
        Ok(parsed) => parsed,
        Err(malformed) => return Reply::Close(malformed.to_string()),
    };
    let (key, version) = (header.api.key, header.api_version);
    let cx = RequestContext {
        broker: Arc::clone(broker),
        connection: Arc::clone(connection),
        header,
        size: frame.len(),
        time: broker.client_quotas.request.is_any().then(Arc::default),
    };
    match served(key) {
        Some(api) if api.supports(version) => match cx.time.clone() {
            None => (api.serve)(cx, body).await,
            Some(time) => {
                throttle::time_is_of(&cx);
                let after = cx.clone();
                let reply = time.measure((api.serve)(cx, body)).await;
                throttle::by_request_time(&after, reply)
            }
        },
        Some(api) if api.key == apis::API_VERSIONS => api_versions::unsupported_version(&cx),
        _ => Reply::Close(format!(
            "request {} version {version} is not supported",
            cx.header.api.name
        )),
    }
}

#[cfg(test)]
mod group_requests_tests;
#[cfg(test)]
mod transaction_requests_tests;
#[cfg(test)]
mod transactional_writes_tests;

#[cfg(test)]
mod tests {
    use super::*;

    /// A 3.9.1 broker in ZooKeeper mode advertises the APIs of `broker_wire`, and so do we: these, no others.
    #[test]
    fn the_table_is_what_kafka_advertises() {
        let versions = |key: i16, oldest: i16, newest: i16| (key, oldest, newest);
        let served = APIS
            .iter()
            .map(|api| versions(api.key, api.min_version, api.max_version));
        let known = apis::APIS.iter();
        let advertised = known.map(|api| versions(api.key, api.min_version, api.max_version));
        assert!(served.eq(advertised));
    }
}
