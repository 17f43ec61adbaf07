//! The inbox: what was delivered is stored before it is answered, and read afterwards.

use super::{Ledger, LedgerError, reading, transaction};
use crate::run::Timestamp;
use crate::store::DeliveryRow;

/// How many deliveries are looked at in one go.
const MANY: u32 = 50;

impl Ledger {
    /// Stores a delivery; `false` where it was stored before and needs nothing.
    pub async fn deliver(&self, delivery: &DeliveryRow) -> Result<bool, LedgerError> {
        let is_new = transaction!(self, tx, tx.insert_delivery(delivery).await?)?;
        self.changed.notify_waiters();
        Ok(is_new)
    }

    /// Returns the oldest deliveries that nobody looked at yet.
    pub async fn new_deliveries(&self) -> Result<Vec<DeliveryRow>, LedgerError> {
        reading!(self, tx, tx.new_deliveries(MANY).await?)
    }

    /// Records what became of a delivery.
    pub async fn end_delivery(&self, id: &str, state: &str, note: &str) -> Result<(), LedgerError> {
        transaction!(self, tx, tx.set_delivery(id, state, note).await?)
    }
    /// Tells whether a delivery came, whatever became of it.
    pub async fn has_delivery(&self, id: &str) -> Result<bool, LedgerError> {
        reading!(self, tx, tx.has_delivery(id).await?)
    }

    /// Returns until when it is known what a source delivered; none where nobody looked yet.
    pub async fn delivery_mark(&self, source: &str) -> Result<Option<Timestamp>, LedgerError> {
        reading!(self, tx, tx.delivery_mark(source).await?)
    }

    /// Records until when it is known what a source delivered.
    pub async fn set_delivery_mark(
        &self,
        source: &str,
        until: Timestamp,
    ) -> Result<(), LedgerError> {
        transaction!(self, tx, tx.set_delivery_mark(source, until).await?)
    }
}
