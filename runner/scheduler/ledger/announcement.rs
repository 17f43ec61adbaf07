//! The event `workflow_run`: the end of a run is itself an event, that other workflows wait for.

use serde_json::{Value as Json, json};

use super::{Ledger, LedgerError, read_document};
use crate::store::{DeliveryRow, RunRow, Transaction};

/// How the names of these deliveries begin, before how many runs led to them.
const BEGINNING: &str = "workflow_run-";

/// How many runs may lead to one another.
///
/// Source: GitHub, "Events that trigger workflows", `workflow_run`: no more than three levels.
const MAX_LEVELS: u32 = 3;

impl Ledger {
    /// Puts an event into the inbox that tells of a run, where a workflow of its commit may want it.
    ///
    /// It is written with the change that it tells of, and taken in as what GitHub delivers is: once.
    pub(super) async fn announce_run(
        &self,
        tx: &mut Transaction,
        run: &RunRow,
        action: &str,
    ) -> Result<(), LedgerError> {
        let level = level(run) + 1;
        if level > MAX_LEVELS {
            return Ok(());
        }
        let document = read_document(run)?;
        let is_wanted = document
            .files
            .values()
            .any(|text| text.contains("workflow_run"));
        if !is_wanted {
            return Ok(());
        }
        let row = DeliveryRow {
            id: format!(
                "{BEGINNING}{level} {} attempt {} {action}",
                run.id, run.attempt.0
            ),
            repository: run.repository.clone(),
            event: "workflow_run".to_owned(),
            payload: payload(run, &document.github, document.head_sha(), action).to_string(),
            state: "new".to_owned(),
            note: String::new(),
            received_at: self.now(),
        };
        tx.insert_delivery(&row).await?;
        Ok(())
    }
}

/// Returns how many runs led to this one.
fn level(run: &RunRow) -> u32 {
    if run.event != "workflow_run" {
        return 0;
    }
    let number = run
        .event_key
        .split_once(BEGINNING)
        .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    number.unwrap_or(0)
}

/// Source: GitHub, webhook event `workflow_run`.
fn payload(run: &RunRow, github: &Json, head_sha: Option<&str>, action: &str) -> Json {
    let event = github.get("event").cloned().unwrap_or_default();
    let (owner, name) = run.repository.split_once('/').unwrap_or_default();
    let repository = event.get("repository").cloned().unwrap_or_else(
        || json!({"name": name, "full_name": run.repository, "owner": {"login": owner}}),
    );
    let head = github.get("head_ref").and_then(Json::as_str);
    let branch = head.filter(|head| !head.is_empty()).unwrap_or_else(|| {
        ["refs/heads/", "refs/tags/"]
            .iter()
            .find_map(|kind| run.git_ref.strip_prefix(kind))
            .unwrap_or(&run.git_ref)
    });
    let status = if action == "completed" {
        "completed"
    } else {
        "queued"
    };
    json!({
        "action": action,
        "workflow": {"name": run.name, "path": run.workflow},
        "workflow_run": {
            "id": run.id.0.parse::<u64>().unwrap_or(0), "name": run.name, "path": run.workflow,
            "display_title": run.title, "event": run.event, "status": status,
            "conclusion": run.conclusion, "run_number": run.number, "run_attempt": run.attempt.0,
            "head_branch": branch, "head_sha": head_sha.unwrap_or(&run.sha),
            "head_commit": {"id": head_sha.unwrap_or(&run.sha), "message": run.title},
            "head_repository": repository, "repository": repository,
            "actor": {"login": run.actor}, "pull_requests": [],
        },
        "repository": repository,
        "sender": {"login": run.actor},
    })
}
