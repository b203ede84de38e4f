//! What request handlers ask of the coordinator: each finds the core, asks it, and waits for its answer if it must.
//!
//! The refusals that do not need a core are here: ids that no producer may have, ids that are loading or elsewhere.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use coordinator::transaction::{
    AddPartitionsRequest, EndRequest, InitRequest, ListFilter, Producer, Ticket, TransactionDescription,
    TransactionError, TransactionListing,
};
use model::TopicPartition;

use super::TransactionCoordinator;
use super::hosted::{Hosted, Waiting};
use crate::Broker;

/// How long a request may wait for the end of the transaction before.
///
/// A producer that begins the next one is often faster than the last marker. Kafka answers CONCURRENT_TRANSACTIONS at once, and the
/// producer comes again after 20 ms or more; the markers are mostly written within a few.
const PATIENCE: Duration = Duration::from_millis(100);

/// A partition, and whether it is part of the transaction.
pub type Verified = (TopicPartition, Result<(), TransactionError>);

impl TransactionCoordinator {
    /// InitProducerId with a transactional id.
    ///
    /// # Errors
    /// The answer.
    pub async fn init_producer_id(
        &self,
        broker: &Arc<Broker>,
        request: &InitRequest,
    ) -> Result<Producer, TransactionError> {
        let hosted = match self.find_named(&request.transactional_id) {
            // Kafka looks at the timeout first.
            Err(TransactionError::NotCoordinator | TransactionError::CoordinatorLoadInProgress)
                if !(1..=self.config.load().transaction_max_timeout_ms).contains(&request.timeout_ms) =>
            {
                return Err(TransactionError::InvalidTransactionTimeout);
            }
            found => found?,
        };
        let ids = &broker.producer_ids;
        ids.at_hand(broker).await;
        end_of_last(&hosted, &request.transactional_id).await;
        let new_id = || ids.take(broker).ok_or(TransactionError::CoordinatorLoadInProgress);
        let (ticket, now) = (self.ticket(), self.now());
        let answer = hosted.ask(ticket, now, Waiting::Init, |core| {
            core.init_producer_id(ticket, request, new_id, now);
        });
        answer.await.unwrap_or(Err(TransactionError::NotCoordinator))
    }

    /// AddPartitionsToTxn of one transaction, AddOffsetsToTxn.
    ///
    /// # Errors
    /// The answer for all partitions.
    pub async fn add_partitions(&self, request: AddPartitionsRequest) -> Result<(), TransactionError> {
        let hosted = self.find_named(&request.transactional_id)?;
        end_of_last(&hosted, &request.transactional_id).await;
        let (ticket, now) = (self.ticket(), self.now());
        let answer = hosted.ask(ticket, now, Waiting::Plain, |core| {
            core.add_partitions(ticket, request, now)
        });
        answer.await.unwrap_or(Err(TransactionError::NotCoordinator))
    }

    /// Whether the partitions are part of the producer's transaction (KIP-890), in the order of the request's set.
    ///
    /// # Errors
    /// The answer for all partitions.
    pub fn verify(&self, request: &AddPartitionsRequest) -> Result<Vec<Verified>, TransactionError> {
        self.find_named(&request.transactional_id)?
            .look(|core| core.verify_partitions(request))
            .unwrap_or(Err(TransactionError::NotCoordinator))
    }

    /// EndTxn.
    ///
    /// # Errors
    /// The answer.
    pub async fn end_transaction(&self, request: &EndRequest) -> Result<(), TransactionError> {
        let hosted = self.find_named(&request.transactional_id)?;
        let (ticket, now) = (self.ticket(), self.now());
        let answer = hosted.ask(ticket, now, Waiting::Plain, |core| core.end(ticket, request, now));
        answer.await.unwrap_or(Err(TransactionError::NotCoordinator))
    }

    /// ListTransactions.
    ///
    /// # Errors
    /// The answer.
    pub fn list(&self, filter: &ListFilter) -> Result<Vec<TransactionListing>, TransactionError> {
        if self.is_stopped.load(Ordering::Acquire) {
            return Err(TransactionError::CoordinatorNotAvailable);
        }
        let all = self.all_ready().ok_or(TransactionError::CoordinatorLoadInProgress)?;
        let now = self.now();
        let listed = all
            .iter()
            .filter_map(|hosted| hosted.look(|core| core.list(filter, now)));
        Ok(listed.flatten().collect())
    }

    /// DescribeTransactions, of one id.
    ///
    /// # Errors
    /// The answer.
    pub fn describe(&self, transactional_id: &str) -> Result<TransactionDescription, TransactionError> {
        if self.is_stopped.load(Ordering::Acquire) {
            return Err(TransactionError::CoordinatorNotAvailable);
        }
        self.find_named(transactional_id)?
            .look(|core| core.describe(transactional_id))
            .unwrap_or(Err(TransactionError::NotCoordinator))
    }

    fn find_named(&self, transactional_id: &str) -> Result<Arc<Hosted>, TransactionError> {
        if transactional_id.is_empty() {
            return Err(TransactionError::InvalidRequest);
        }
        self.find(transactional_id)
    }

    fn ticket(&self) -> Ticket {
        Ticket(self.next_ticket.fetch_add(1, Ordering::Relaxed))
    }
}

/// Waits a moment for the transaction before to be complete.
async fn end_of_last(hosted: &Hosted, transactional_id: &Arc<str>) {
    if let Some(ended) = hosted.ending(transactional_id) {
        // Too late, or resigned: the core says how it stands.
        let _ = tokio::time::timeout(PATIENCE, ended).await;
    }
}
