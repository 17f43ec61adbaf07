//! Runs that someone must let begin: each is of one commit, and only of that.

use super::groups::join_group;
use super::{Ledger, LedgerError, read_document, transaction};
use crate::run::{RunId, Status};
use crate::store::{RunRow, Transaction};

impl Ledger {
    /// Adds a run that waits for approval, in the place of those of earlier commits; none where its
    /// workflow has one of the same event already.
    pub(super) async fn add_awaiting(
        &self,
        tx: &mut Transaction,
        mut run: RunRow,
    ) -> Result<Option<RunId>, LedgerError> {
        let earlier = tx
            .awaiting_runs(&run.repository, &run.workflow, &run.git_ref)
            .await?;
        // It is in no concurrency group yet: what nobody approved takes nobody's place.
        run.concurrency_group = None;
        if !tx.insert_run(&run).await? {
            return Ok(None);
        }
        for mut other in earlier {
            self.cancel_run(tx, &mut other).await?;
        }
        self.tell(tx, &run).await?;
        Ok(Some(run.id))
    }

    /// Lets a run begin that waits for approval.
    ///
    /// Errors where it waits for none, or where `sha` is named and is not the commit that is shown
    /// beside it: who approves has seen one commit, and that alone runs.
    pub async fn approve(
        &self,
        id: &RunId,
        by: &str,
        sha: Option<&str>,
    ) -> Result<(), LedgerError> {
        transaction!(self, tx, {
            let mut run = self.locked(&mut tx, id).await?;
            let wrong = |why: &str| LedgerError::WrongState {
                run: id.clone(),
                why: why.to_owned(),
            };
            if run.status != Status::Pending || !run.awaits_approval {
                return Err(wrong("waits for no approval"));
            }
            let document = read_document(&run)?;
            let shown = document.head_sha();
            if sha.is_some_and(|sha| shown != Some(sha)) {
                return Err(wrong("is of another commit than the one that was approved"));
            }
            run.awaits_approval = false;
            run.approved_by = Some(by.to_owned());
            let concurrency = join_group(&mut run, &document)?;
            tx.update_run(&run).await?;
            self.announce_run(&mut tx, &run, "requested").await?;
            self.enter_run(&mut tx, run, concurrency).await?;
        })?;
        self.changed.notify_waiters();
        Ok(())
    }
}
