//! `--report`: who is told of a run that is started by hand: GitHub, which shows it beside its commit as one
//! of a server, or a collector of OpenTelemetry.

use std::time::Duration;

use clap::ValueEnum;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::error::{CliError, ErrorKind};
use super::{settings, write_note};
use crate::event::TriggerEvent;
use crate::git::{WorkingTree, uncommitted};
use crate::github::{self, GitHub};
use crate::plan::WorkflowFile;
use crate::run::{Conclusion, RunOutcome};
use crate::scheduler::{CommitStatus, Sender, shortened, state_of, status_context};

/// How long the end of a run waits for GitHub.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who is told of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportTo {
    /// GitHub, by a status of the commit; the token comes from `GITHUB_TOKEN`.
    #[value(name = "github")]
    GitHub,
    /// A collector of OpenTelemetry, by OTLP over HTTP; `OTEL_EXPORTER_OTLP_ENDPOINT` says where
    #[value(name = "otlp")]
    Otlp,
}

/// Tells GitHub of a run while it goes on.
pub(super) struct Telling {
    statuses: mpsc::UnboundedSender<CommitStatus>,
    told: JoinHandle<Vec<String>>,
    status: CommitStatus,
}

impl Telling {
    /// Begins to tell of a run: that it is pending.
    ///
    /// Errors where nothing could ever be told: there is no token, no commit, or no repository on
    /// GitHub. That GitHub is away is no error, and is said at the end.
    pub(super) fn begin(
        runtime: &Runtime,
        (file, event): (&WorkflowFile, &TriggerEvent),
        tree: &WorkingTree,
        token: Option<String>,
    ) -> Result<Self, CliError> {
        let unusable = |what: &str, hint: &str| {
            CliError::new(
                ErrorKind::Usage,
                format!("GitHub cannot be told of the run: {what}"),
            )
            .with_hint(hint)
        };
        let token = token.filter(|token| !token.is_empty()).ok_or_else(|| {
            unusable(
                "there is no `GITHUB_TOKEN`, neither in the environment nor among the secrets",
                "give it a token that may write commit statuses",
            )
        })?;
        let sha = tree.commit.clone().ok_or_else(|| {
            unusable(
                "nothing is committed here",
                "a status stands beside a commit; make one and push it",
            )
        })?;
        let repository = tree.repository.clone().ok_or_else(|| {
            unusable(
                "the remote `origin` names no repository on GitHub",
                "add one: git remote add origin https://github.com/OWNER/NAME.git",
            )
        })?;
        let api = settings::variable("GITHUB_API_URL").unwrap_or_else(|| api_of(tree));
        // The client lives in the runtime that its requests are made in.
        let _inside = runtime.enter();
        let github = GitHub::new(&api, &token).map_err(|source| {
            CliError::new(ErrorKind::Usage, "`GITHUB_API_URL` cannot be used").because(source)
        })?;
        let name = file.workflow.name.as_ref();
        let name = name.map_or(file.path.as_str(), |name| name.value.as_str());
        let changed = uncommitted(&tree.root).map_or(0, |paths| paths.len());
        let description = if changed == 0 {
            "In progress".to_owned()
        } else {
            write_note(
                "note: not everything is committed, and GitHub shows the run beside the commit; the status says so",
            );
            "In progress, with changes that are not committed".to_owned()
        };
        let status = CommitStatus {
            sha,
            context: status_context(name, &event.name),
            state: "pending".to_owned(),
            description,
            target_url: None,
        };
        let sender = Sender { repository, github };
        let (statuses, mut waiting) = mpsc::unbounded_channel::<CommitStatus>();
        let told = runtime.spawn(async move {
            let mut failures = Vec::new();
            while let Some(status) = waiting.recv().await {
                if let Err(failure) = send(status, &sender).await {
                    failures.push(failure);
                }
            }
            failures
        });
        let telling = Self {
            statuses,
            told,
            status,
        };
        telling.say(telling.status.clone());
        Ok(telling)
    }

    fn say(&self, status: CommitStatus) {
        // It is received as long as this lives.
        drop(self.statuses.send(status));
    }

    /// Tells how the run ended, waits until GitHub knows, and says where it does not.
    ///
    /// A run without an outcome is one that was lost, and nobody must wait for it.
    pub(super) fn end(self, runtime: &Runtime, outcome: Option<RunOutcome>) {
        let changes = self.status.description.strip_prefix("In progress");
        let description = format!("{}{}", ended(outcome), changes.unwrap_or_default());
        let state = outcome.map_or("error", |outcome| state_of(outcome.conclusion));
        self.say(CommitStatus {
            state: state.to_owned(),
            description: shortened(&description),
            ..self.status.clone()
        });
        let Self { statuses, told, .. } = self;
        drop(statuses);
        let failures = runtime.block_on(async { tokio::time::timeout(PATIENCE, told).await });
        let lacking = match failures {
            Ok(Ok(failures)) if failures.is_empty() => return,
            Ok(Ok(failures)) => failures.join("; "),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!(
                "it did not answer within {}",
                humantime::format_duration(PATIENCE)
            ),
        };
        write_note(&format!(
            "warning: GitHub does not show how the run ended: {lacking}"
        ));
    }
}

/// Returns how a run ended, in a few words.
fn ended(outcome: Option<RunOutcome>) -> String {
    let Some(outcome) = outcome else {
        return "It ended without a result".to_owned();
    };
    let words = match outcome.conclusion {
        _ if outcome.is_timed_out => "Timed out",
        Conclusion::Success | Conclusion::Skipped => "Successful",
        Conclusion::Failure => "Failed",
        Conclusion::Cancelled => "Cancelled",
    };
    let deploy = outcome
        .deploy
        .map_or_else(String::new, |deploy| format!("; {}", deploy.words()));
    format!("{words}{deploy}")
}

/// Tells GitHub, and once more where it may be passing.
async fn send(status: CommitStatus, sender: &Sender) -> Result<(), String> {
    let mut pause = Duration::from_millis(500);
    loop {
        let failure = match status.clone().send(sender).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        let github::Failure::Later(None, why) = &failure else {
            return Err(failure.words().to_owned());
        };
        pause *= 2;
        if pause > Duration::from_secs(4) {
            return Err(why.clone());
        }
        tokio::time::sleep(pause).await;
    }
}

/// Returns the API of the server that a repository lies on.
fn api_of(tree: &WorkingTree) -> String {
    match tree.server_url.as_deref() {
        None | Some("https://github.com") => github::API.to_owned(),
        Some(server) => format!("{server}/api/v3"),
    }
}
