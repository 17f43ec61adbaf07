//! What a run printed, and what it prints.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use super::super::error::{CliError, ErrorKind, ExitCode};
use super::super::run::exit_code;
use super::super::{settings, write_note};
use super::stands;
use crate::mask::Masker;
use crate::report::{Console, ConsoleStyle, Reporter as _};
use crate::run::{
    Attempt, Conclusion, JobEnd, JobKey, PlannedJob, RunEvent, RunId, RunOutcome, Status,
};
use crate::scheduler::{Ledger, Spool, SpoolLine};
use crate::store::{JobRow, RunRow};

/// How often a run that goes on is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Prints what a run printed so far.
pub(super) async fn logs(
    ledger: &Ledger,
    spools: &Path,
    (id, attempt): &(RunId, Option<Attempt>),
    job: Option<&str>,
) -> Result<ExitCode, CliError> {
    let (run, mut jobs) = stands(ledger, id, *attempt).await?;
    if let Some(wanted) = job {
        let names: Vec<String> = jobs.iter().map(|job| job.name.clone()).collect();
        jobs.retain(|job| job.id == wanted || job.name == wanted);
        if jobs.is_empty() {
            return Err(
                CliError::new(ErrorKind::Usage, format!("run {id} has no job `{wanted}`"))
                    .with_hint(format!("its jobs are: {}", names.join(", "))),
            );
        }
    }
    let mut printer = Printer::new();
    printer.print(spools, &jobs)?;
    if run.started_at.is_some() && !spools.join(&run.id.0).exists() {
        write_note(&format!(
            "no log of run {id} is on this machine: it is older than `keep.logs`, or the run was elsewhere"
        ));
    }
    Ok(ExitCode::Success)
}

/// Prints what a run prints until it ends, and ends as it did.
pub(super) async fn watch(
    ledger: &Ledger,
    spools: &Path,
    id: &RunId,
) -> Result<ExitCode, CliError> {
    let mut printer = Printer::new();
    let mut is_begun = false;
    loop {
        let (run, jobs) = stands(ledger, id, None).await?;
        if !std::mem::replace(&mut is_begun, true) {
            printer.begin(&run);
        }
        printer.print(spools, &jobs)?;
        if run.status == Status::Completed {
            let outcome = RunOutcome {
                conclusion: run.conclusion.unwrap_or(Conclusion::Cancelled),
                is_timed_out: run.is_timed_out,
                deploy: run.deploy,
            };
            printer.console.report(&RunEvent::RunFinished { outcome });
            return Ok(exit_code(outcome));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Prints the events of jobs, each once.
struct Printer {
    console: Console<std::io::Stdout>,
    /// How far the file of each owner of a job was read.
    offsets: HashMap<(JobKey, u64), u64>,
    ended: Vec<JobKey>,
    known: Vec<JobKey>,
    /// Of which owners of jobs it was said that they are on another machine.
    elsewhere: Vec<(JobKey, u64)>,
    /// Only hands text on: what is stored is masked.
    masker: Masker,
}

impl Printer {
    fn new() -> Self {
        let style = ConsoleStyle {
            is_debug: false,
            is_colored: settings::is_colored(),
        };
        Self {
            console: Console::new(std::io::stdout(), style),
            offsets: HashMap::new(),
            ended: Vec::new(),
            known: Vec::new(),
            elsewhere: Vec::new(),
            masker: Masker::new(),
        }
    }

    fn begin(&mut self, run: &RunRow) {
        self.console.report(&RunEvent::RunStarted {
            workflow: self.masker.mask(&run.name),
            event: self.masker.mask(&run.event),
        });
    }

    fn print(&mut self, spools: &Path, jobs: &[JobRow]) -> Result<(), CliError> {
        for job in jobs {
            if !self.known.contains(&job.job) {
                self.known.push(job.job);
                let planned = PlannedJob {
                    id: self.masker.mask(&job.id),
                    name: self.masker.mask(&job.name),
                    needs: Vec::new(),
                };
                self.console.report(&RunEvent::JobPlanned {
                    job: job.job,
                    planned,
                });
            }
        }
        for job in jobs {
            self.print_job(spools, job)?;
        }
        Ok(())
    }

    /// Says where the output of a job is that ran on another machine.
    fn note_elsewhere(&mut self, spool: &Spool, job: &JobRow) {
        if job.began_at.is_none() || spool.folder().exists() {
            return;
        }
        let owner = (job.job, job.fence.0);
        if let Some(machine) = &job.machine
            && !self.elsewhere.contains(&owner)
        {
            self.elsewhere.push(owner);
            write_note(&format!(
                "what {} printed is on the machine {machine}: ask there",
                job.name
            ));
        }
    }

    fn print_job(&mut self, spools: &Path, job: &JobRow) -> Result<(), CliError> {
        if job.fence.0 > 0 {
            let spool = Spool::new(spools, &job.claimed());
            self.note_elsewhere(&spool, job);
            let offset = self.offsets.entry((job.job, job.fence.0)).or_default();
            let (lines, next) = spool.read_from(*offset).map_err(|source| {
                CliError::new(
                    ErrorKind::Environment,
                    format!("`{}` could not be read", spool.events().display()),
                )
                .because(source)
            })?;
            *offset = next;
            for line in lines {
                if let SpoolLine::Event(envelope) = line {
                    if matches!(envelope.event, RunEvent::JobFinished { .. }) {
                        self.ended.push(job.job);
                    }
                    self.console.report(&envelope.event);
                }
            }
        }
        // What no process told: skipped, cancelled before it began, killed.
        if let Some(conclusion) = job.conclusion
            && !self.ended.contains(&job.job)
        {
            self.ended.push(job.job);
            let end = JobEnd {
                conclusion,
                reason: job.reason.as_ref().map(|reason| self.masker.mask(reason)),
                milliseconds: job.milliseconds.unwrap_or(0),
                deploy: job.deploy,
                is_timed_out: job.is_timed_out,
            };
            self.console
                .report(&RunEvent::JobFinished { job: job.job, end });
        }
        Ok(())
    }
}
