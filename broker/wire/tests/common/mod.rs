//! What the tests share: the type of every request by its key, a small random generator, messages made from shapes.

#![allow(dead_code, unused_macros)] // Each test binary uses a part.

pub(crate) mod make;

/// Runs `$body` with `$request` as the type of the request with API key `$key`.
macro_rules! with_request {
    ($key:expr, $request:ident => $body:expr) => {
        match $key {
            0 => {
                type $request = broker_wire::messages::ProduceRequest;
                $body
            }
            1 => {
                type $request = broker_wire::messages::FetchRequest;
                $body
            }
            2 => {
                type $request = broker_wire::messages::ListOffsetsRequest;
                $body
            }
            3 => {
                type $request = broker_wire::messages::MetadataRequest;
                $body
            }
            4 => {
                type $request = broker_wire::messages::LeaderAndIsrRequest;
                $body
            }
            5 => {
                type $request = broker_wire::messages::StopReplicaRequest;
                $body
            }
            6 => {
                type $request = broker_wire::messages::UpdateMetadataRequest;
                $body
            }
            7 => {
                type $request = broker_wire::messages::ControlledShutdownRequest;
                $body
            }
            8 => {
                type $request = broker_wire::messages::OffsetCommitRequest;
                $body
            }
            9 => {
                type $request = broker_wire::messages::OffsetFetchRequest;
                $body
            }
            10 => {
                type $request = broker_wire::messages::FindCoordinatorRequest;
                $body
            }
            11 => {
                type $request = broker_wire::messages::JoinGroupRequest;
                $body
            }
            12 => {
                type $request = broker_wire::messages::HeartbeatRequest;
                $body
            }
            13 => {
                type $request = broker_wire::messages::LeaveGroupRequest;
                $body
            }
            14 => {
                type $request = broker_wire::messages::SyncGroupRequest;
                $body
            }
            15 => {
                type $request = broker_wire::messages::DescribeGroupsRequest;
                $body
            }
            16 => {
                type $request = broker_wire::messages::ListGroupsRequest;
                $body
            }
            17 => {
                type $request = broker_wire::messages::SaslHandshakeRequest;
                $body
            }
            18 => {
                type $request = broker_wire::messages::ApiVersionsRequest;
                $body
            }
            19 => {
                type $request = broker_wire::messages::CreateTopicsRequest;
                $body
            }
            20 => {
                type $request = broker_wire::messages::DeleteTopicsRequest;
                $body
            }
            21 => {
                type $request = broker_wire::messages::DeleteRecordsRequest;
                $body
            }
            22 => {
                type $request = broker_wire::messages::InitProducerIdRequest;
                $body
            }
            23 => {
                type $request = broker_wire::messages::OffsetForLeaderEpochRequest;
                $body
            }
            24 => {
                type $request = broker_wire::messages::AddPartitionsToTxnRequest;
                $body
            }
            25 => {
                type $request = broker_wire::messages::AddOffsetsToTxnRequest;
                $body
            }
            26 => {
                type $request = broker_wire::messages::EndTxnRequest;
                $body
            }
            27 => {
                type $request = broker_wire::messages::WriteTxnMarkersRequest;
                $body
            }
            28 => {
                type $request = broker_wire::messages::TxnOffsetCommitRequest;
                $body
            }
            29 => {
                type $request = broker_wire::messages::DescribeAclsRequest;
                $body
            }
            30 => {
                type $request = broker_wire::messages::CreateAclsRequest;
                $body
            }
            31 => {
                type $request = broker_wire::messages::DeleteAclsRequest;
                $body
            }
            32 => {
                type $request = broker_wire::messages::DescribeConfigsRequest;
                $body
            }
            33 => {
                type $request = broker_wire::messages::AlterConfigsRequest;
                $body
            }
            34 => {
                type $request = broker_wire::messages::AlterReplicaLogDirsRequest;
                $body
            }
            35 => {
                type $request = broker_wire::messages::DescribeLogDirsRequest;
                $body
            }
            36 => {
                type $request = broker_wire::messages::SaslAuthenticateRequest;
                $body
            }
            37 => {
                type $request = broker_wire::messages::CreatePartitionsRequest;
                $body
            }
            38 => {
                type $request = broker_wire::messages::CreateDelegationTokenRequest;
                $body
            }
            39 => {
                type $request = broker_wire::messages::RenewDelegationTokenRequest;
                $body
            }
            40 => {
                type $request = broker_wire::messages::ExpireDelegationTokenRequest;
                $body
            }
            41 => {
                type $request = broker_wire::messages::DescribeDelegationTokenRequest;
                $body
            }
            42 => {
                type $request = broker_wire::messages::DeleteGroupsRequest;
                $body
            }
            43 => {
                type $request = broker_wire::messages::ElectLeadersRequest;
                $body
            }
            44 => {
                type $request = broker_wire::messages::IncrementalAlterConfigsRequest;
                $body
            }
            45 => {
                type $request = broker_wire::messages::AlterPartitionReassignmentsRequest;
                $body
            }
            46 => {
                type $request = broker_wire::messages::ListPartitionReassignmentsRequest;
                $body
            }
            47 => {
                type $request = broker_wire::messages::OffsetDeleteRequest;
                $body
            }
            48 => {
                type $request = broker_wire::messages::DescribeClientQuotasRequest;
                $body
            }
            49 => {
                type $request = broker_wire::messages::AlterClientQuotasRequest;
                $body
            }
            50 => {
                type $request = broker_wire::messages::DescribeUserScramCredentialsRequest;
                $body
            }
            51 => {
                type $request = broker_wire::messages::AlterUserScramCredentialsRequest;
                $body
            }
            56 => {
                type $request = broker_wire::messages::AlterPartitionRequest;
                $body
            }
            57 => {
                type $request = broker_wire::messages::UpdateFeaturesRequest;
                $body
            }
            58 => {
                type $request = broker_wire::messages::EnvelopeRequest;
                $body
            }
            60 => {
                type $request = broker_wire::messages::DescribeClusterRequest;
                $body
            }
            61 => {
                type $request = broker_wire::messages::DescribeProducersRequest;
                $body
            }
            65 => {
                type $request = broker_wire::messages::DescribeTransactionsRequest;
                $body
            }
            66 => {
                type $request = broker_wire::messages::ListTransactionsRequest;
                $body
            }
            67 => {
                type $request = broker_wire::messages::AllocateProducerIdsRequest;
                $body
            }
            68 => {
                type $request = broker_wire::messages::ConsumerGroupHeartbeatRequest;
                $body
            }
            69 => {
                type $request = broker_wire::messages::ConsumerGroupDescribeRequest;
                $body
            }
            key => panic!("no request type for api key {key}"),
        }
    };
}
