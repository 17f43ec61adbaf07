//! `runner runs`: what a server has run, runs, and is to run.

mod log;
mod show;

use serde_json::json;
use tokio::runtime::Runtime;

use super::error::{CliError, ErrorKind, ExitCode};
use super::serve::arguments::{RunsVerb, ServerArguments};
use super::serve::config::{ServeConfig, Values};
use super::serve::machine::open_ledger;
use super::{arguments::Format, settings, write_line};
use crate::run::{Attempt, RunId};
use crate::scheduler::{Ledger, LedgerError, Rerun, Retention, run_json, shown_size};
use crate::store::RunFilter;

/// Does what is asked of the runs of a server, whether it is up or not.
pub(super) fn runs(runtime: &Runtime, verb: &RunsVerb) -> Result<ExitCode, CliError> {
    runtime.block_on(async {
        let config = ServeConfig::of(place(verb), Values::Left)?;
        let ledger = open_ledger(&config).await?;
        match verb {
            RunsVerb::List {
                repository,
                limit,
                format,
                ..
            } => {
                let filter = RunFilter {
                    repository: repository.clone(),
                    limit: Some(*limit),
                    ..RunFilter::default()
                };
                let runs = ledger.runs(&filter).await.map_err(failed)?;
                match format {
                    Format::Json => {
                        let runs: Vec<_> = runs.iter().map(run_json).collect();
                        write_line(&json!({ "runs": runs }).to_string());
                    }
                    Format::Text => show::list(&runs),
                }
                Ok(ExitCode::Success)
            }
            RunsVerb::Show {
                run,
                attempt,
                format,
                ..
            } => show::show(&ledger, &id(run), attempt.map(Attempt), *format).await,
            RunsVerb::Logs {
                run, job, attempt, ..
            } => {
                let which = (id(run), attempt.map(Attempt));
                log::logs(&ledger, &config.data.join("spool"), &which, job.as_deref()).await
            }
            RunsVerb::Watch { run, .. } => {
                log::watch(&ledger, &config.data.join("spool"), &id(run)).await
            }
            RunsVerb::Cancel { run, .. } => {
                ledger.cancel(&id(run)).await.map_err(failed)?;
                write_line(&format!("run {run} is being cancelled"));
                Ok(ExitCode::Success)
            }
            RunsVerb::Approve { run, commit, .. } => {
                let by = settings::variable("USER").unwrap_or_else(|| "local".to_owned());
                let approved = ledger.approve(&id(run), &by, commit.as_deref()).await;
                approved.map_err(failed)?;
                write_line(&format!("run {run} was approved, and begins"));
                Ok(ExitCode::Success)
            }
            RunsVerb::Rerun {
                run,
                failed: only_failed,
                job,
                ..
            } => {
                let which = match (job, only_failed) {
                    (Some(job), _) => Rerun::Job(job.clone()),
                    (None, true) => Rerun::Failed,
                    (None, false) => Rerun::All,
                };
                let attempt = ledger.rerun(&id(run), &which).await.map_err(failed)?;
                write_line(&format!("run {run} runs once more: attempt {}", attempt.0));
                Ok(ExitCode::Success)
            }
            RunsVerb::Prune { dry_run, .. } => prune(&config, ledger, *dry_run).await,
            RunsVerb::Events { limit, .. } => {
                show::events(&ledger.events(*limit).await.map_err(failed)?);
                Ok(ExitCode::Success)
            }
        }
    })
}

fn place(verb: &RunsVerb) -> &ServerArguments {
    match verb {
        RunsVerb::List { config, .. }
        | RunsVerb::Show { config, .. }
        | RunsVerb::Logs { config, .. }
        | RunsVerb::Watch { config, .. }
        | RunsVerb::Cancel { config, .. }
        | RunsVerb::Approve { config, .. }
        | RunsVerb::Rerun { config, .. }
        | RunsVerb::Prune { config, .. }
        | RunsVerb::Events { config, .. } => config,
    }
}

/// Removes what is older than it may be, or says what that is.
async fn prune(config: &ServeConfig, ledger: Ledger, is_dry: bool) -> Result<ExitCode, CliError> {
    let retention = Retention {
        ledger,
        spools: config.data.join("spool"),
        keep: config.keep,
    };
    let pruned = retention.prune(is_dry).await.map_err(failed)?;
    let would = if is_dry { "would be " } else { "" };
    for (run, size) in &pruned.logs {
        write_line(&format!(
            "the log of run {run} ({}) {would}removed",
            shown_size(*size)
        ));
    }
    for run in &pruned.runs {
        write_line(&format!("run {run} {would}forgotten"));
    }
    if pruned.logs.is_empty() && pruned.runs.is_empty() {
        write_line("nothing is older than it may be");
    }
    Ok(ExitCode::Success)
}

fn id(run: &str) -> RunId {
    RunId(run.trim_start_matches('#').to_owned())
}

/// Says whose fault it is that the ledger could not do what was asked.
pub(super) fn failed(error: LedgerError) -> CliError {
    match error {
        LedgerError::NoRun(_) | LedgerError::WrongState { .. } => {
            CliError::new(ErrorKind::Usage, error.to_string())
                .with_hint("the runs are listed by: runner runs list")
        }
        LedgerError::Store(source) => {
            CliError::new(ErrorKind::Environment, "the store could not be asked").because(source)
        }
        LedgerError::Unplannable { .. } | LedgerError::Fenced { .. } => {
            CliError::new(ErrorKind::Internal, error.to_string())
        }
    }
}

/// Returns where a run stands, of a ledger that another process writes.
async fn stands(
    ledger: &Ledger,
    run: &RunId,
    attempt: Option<Attempt>,
) -> Result<(crate::store::RunRow, Vec<crate::store::JobRow>), CliError> {
    ledger.run(run, attempt).await.map_err(failed)
}
