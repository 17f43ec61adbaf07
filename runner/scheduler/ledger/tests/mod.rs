//! Tests of the ledger on a real SQLite file and on a real PostgreSQL server, with a clock that
//! stands still; leases go by the clocks of the databases.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use tempfile::TempDir;

use self::machines::*;
use self::months::*;
use self::postgres::Postgres;
use super::*;
use crate::store::{LATEST, migrate_to};

mod machines;
mod months;

#[path = "../../../../tests/support/postgres.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod postgres;

/// Makes a test of each of these on a file, and one of all of them on a server.
macro_rules! on_both {
    ($($name:ident,)*) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(super::Bench::in_a_file().await).await;
                }
            )*
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn all_of_it_holds_on_postgresql() {
            let server = Postgres::start();
            $(
                println!("{}", stringify!($name));
                $name(Bench::on(&server).await).await;
            )*
        }
    };
}

on_both! {
    a_run_goes_from_job_to_job_and_hands_on_outputs,
    another_process_goes_on_where_one_stopped,
    what_an_older_owner_of_a_job_says_does_not_count,
    an_event_starts_a_workflow_once,
    of_a_group_one_runs_and_the_newest_waits,
    a_group_keeps_all_that_wait_where_it_says_so,
    a_group_that_cancels_what_runs_lets_the_newest_run,
    jobs_of_a_group_take_turns_over_all_runs,
    a_cancelled_run_ends_once_its_jobs_did,
    a_rerun_of_what_failed_keeps_the_other_results,
    a_rerun_of_one_job_runs_what_needs_it_too,
    a_label_that_one_machine_does_not_serve_fails_the_job_and_waits_where_there_are_several,
    a_job_whose_machine_is_lost_before_it_began_waits_for_another,
    a_job_that_began_is_not_run_again_when_its_machine_is_lost,
    a_machine_that_speaks_up_in_time_keeps_its_job,
    a_lost_job_is_run_again_once_where_that_is_asked_for,
    a_lost_job_that_deploys_is_never_run_again,
    the_hosts_of_a_lost_job_are_asked_by_who_noticed_and_only_then_it_ends,
    one_who_asks_and_is_lost_as_well_is_followed_by_another_one,
    a_cancelled_job_whose_machine_is_lost_is_cancelled,
    repositories_take_turns,
    what_a_machine_saw_that_is_behind_is_no_event,
    every_job_is_taken_once_by_many_machines,
    of_a_group_one_runs_whatever_machines_do,
    the_oldest_logs_go_until_the_others_fit,
    old_runs_are_forgotten_but_for_what_counts,
    a_branch_that_breaks_and_a_deploy_that_fails_are_told_once,
    the_schema_goes_down_and_up_with_all_rows,
}

const LEASE: Duration = Duration::from_secs(30);
const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// Where the runs of a test stand.
enum Place {
    File(TempDir),
    Server(String),
}

impl Place {
    async fn store(&self) -> Store {
        match self {
            Self::File(folder) => Store::open_file(&folder.path().join("runner.db")).await,
            Self::Server(url) => Store::open(url, "the server").await,
        }
        .unwrap()
    }
}

struct Bench {
    ledger: Ledger,
    place: Place,
    events: AtomicU32,
}

impl Bench {
    async fn in_a_file() -> Self {
        Self::at(Place::File(tempfile::tempdir().unwrap())).await
    }

    async fn on(server: &Postgres) -> Self {
        let database = server.database();
        Self::at(Place::Server(server.url(&database))).await
    }

    async fn at(place: Place) -> Self {
        Self {
            ledger: ledger(place.store().await),
            place,
            events: AtomicU32::new(0),
        }
    }

    /// Returns the same as another machine sees it.
    async fn elsewhere(&self) -> Ledger {
        ledger(self.place.store().await)
    }

    /// Submits a workflow once, under a key of its own.
    async fn submit(&self, workflow: &str) -> RunId {
        let number = self.events.fetch_add(1, Ordering::SeqCst);
        let key = format!("push {number}");
        self.submit_as(workflow, &key).await.pop().unwrap()
    }

    async fn submit_as(&self, workflow: &str, key: &str) -> Vec<RunId> {
        let (event, run) = new_run(workflow, key);
        self.ledger
            .take_in(&event, None, &[run], &[])
            .await
            .unwrap()
    }

    /// Submits a workflow of a repository that asks for lost jobs to be run again.
    async fn submit_again(&self, workflow: &str) -> RunId {
        let (event, mut run) = new_run(workflow, "push again");
        run.document.reruns_lost = true;
        let added = self.ledger.take_in(&event, None, &[run], &[]).await;
        added.unwrap().pop().unwrap()
    }

    /// Takes a job for a time that is over at once, and begins it or not.
    async fn claim_and_lose(&self, begins: bool) -> TakenJob {
        let taken = self.ledger.claim("lost", Duration::ZERO).await.unwrap();
        let taken = taken.unwrap();
        if begins {
            let begun = self.ledger.begin(&taken.claimed, Duration::ZERO).await;
            begun.unwrap();
        }
        taken
    }

    /// Takes what can be taken from lost machines.
    async fn reap(&self) -> Vec<Taken> {
        let lost = self
            .ledger
            .take_from_lost(Duration::ZERO, ("asker", LEASE))
            .await
            .unwrap();
        lost.into_iter().map(|job| job.taken).collect()
    }

    async fn claim(&self) -> Option<TakenJob> {
        self.ledger.claim("here", LEASE).await.unwrap()
    }

    async fn cancel_level(&self, taken: &TakenJob) -> u32 {
        let hold = self.ledger.hold_of(&taken.claimed).await.unwrap();
        hold.cancel_level
    }

    /// Takes the next job, which must be of this name, and ends it.
    async fn run_next(&self, name: &str, conclusion: Conclusion) {
        let taken = self.claim().await.expect(name);
        assert_eq!(taken.name, name);
        self.end(&taken, conclusion).await;
    }

    async fn end(&self, taken: &TakenJob, conclusion: Conclusion) {
        let outcome = JobOutcome {
            outputs: json!({"said": taken.name}),
            reason: None,
            ..JobOutcome::without_run(conclusion, "")
        };
        self.ledger.finish(&taken.claimed, &outcome).await.unwrap();
    }

    /// How a run and its jobs stand, as `status/conclusion` and `name status/conclusion`.
    async fn state(&self, run: &RunId) -> String {
        let (run, jobs) = self.ledger.run(run, None).await.unwrap();
        let mut text = word(run.status, run.conclusion);
        for job in jobs {
            text = format!("{text} {}={}", job.name, word(job.status, job.conclusion));
        }
        text
    }
}

fn new_run(workflow: &str, key: &str) -> (EventRow, NewRun) {
    let path = "pipelines/a.yml";
    let files = BTreeMap::from([(path.to_owned(), workflow.to_owned())]);
    let mut document = RunDocument::new(path, files);
    document.github = json!({"ref": "refs/heads/main"});
    let run = NewRun {
        repository: "acme/demo".to_owned(),
        name: "a".to_owned(),
        event: "push".to_owned(),
        event_key: key.to_owned(),
        git_ref: "refs/heads/main".to_owned(),
        sha: "1".to_owned(),
        actor: "someone".to_owned(),
        title: "a commit".to_owned(),
        document,
        awaits_approval: false,
    };
    let event = EventRow {
        repository: run.repository.clone(),
        event_key: key.to_owned(),
        event: run.event.clone(),
        git_ref: run.git_ref.clone(),
        sha: run.sha.clone(),
        outcome: String::new(),
        at: NOW,
    };
    (event, run)
}

fn word(status: Status, conclusion: Option<Conclusion>) -> String {
    conclusion.map_or_else(|| status.to_string(), |conclusion| conclusion.to_string())
}

fn ledger(store: Store) -> Ledger {
    let mut labels = Labels::default();
    labels.serve("gpu", crate::engine::Place::Host);
    Ledger::new(store, Arc::new(|| NOW), labels)
}

fn workflow(jobs: &str) -> String {
    format!("on: push\njobs:\n{jobs}")
}

fn job(name: &str, more: &str) -> String {
    format!("  {name}: {{ runs-on: ubuntu-latest, {more} steps: [{{ run: echo }}] }}\n")
}

async fn a_run_goes_from_job_to_job_and_hands_on_outputs(bench: Bench) {
    let two = "  two: { needs: one, runs-on: ubuntu-latest, name: 'after ${{ needs.one.outputs.said }}', steps: [{ run: echo }] }\n";
    let run = bench
        .submit(&workflow(&format!(
            "{}{two}{}",
            job("one", ""),
            job("never", "if: false,")
        )))
        .await;
    assert_eq!(bench.state(&run).await, "queued one=queued never=skipped");
    let taken = bench.claim().await.unwrap();
    assert!(bench.claim().await.is_none());
    assert_eq!(
        bench.state(&run).await,
        "in_progress one=in_progress never=skipped"
    );
    bench.end(&taken, Conclusion::Success).await;
    bench.run_next("after one", Conclusion::Success).await;
    assert_eq!(
        bench.state(&run).await,
        "success one=success never=skipped after one=success"
    );
}

async fn another_process_goes_on_where_one_stopped(bench: Bench) {
    let run = bench
        .submit(&workflow(&format!(
            "{}{}",
            job("one", ""),
            job("two", "needs: one,")
        )))
        .await;
    let taken = bench.claim().await.unwrap();
    let other = bench.elsewhere().await;
    let outcome = JobOutcome::without_run(Conclusion::Success, "");
    other.finish(&taken.claimed, &outcome).await.unwrap();
    // This one has a plan in memory that is behind.
    bench.run_next("two", Conclusion::Failure).await;
    assert_eq!(bench.state(&run).await, "failure one=success two=failure");
}

async fn what_an_older_owner_of_a_job_says_does_not_count(bench: Bench) {
    let run = bench.submit(&workflow(&job("one", ""))).await;
    let first = bench.claim().await.unwrap();
    bench.ledger.give_back(&first.claimed).await.unwrap();
    let second = bench.claim().await.unwrap();
    assert!(second.claimed.fence > first.claimed.fence);
    let outcome = JobOutcome::without_run(Conclusion::Failure, "late");
    let refused = bench.ledger.finish(&first.claimed, &outcome).await;
    assert!(matches!(refused, Err(LedgerError::Fenced { .. })));
    assert!(matches!(
        bench.ledger.renew(&first.claimed, LEASE).await,
        Err(LedgerError::Fenced { .. })
    ));
    bench.end(&second, Conclusion::Success).await;
    let again = bench.ledger.finish(&second.claimed, &outcome).await;
    assert!(matches!(again, Err(LedgerError::Fenced { .. })));
    assert_eq!(bench.state(&run).await, "success one=success");
}

async fn an_event_starts_a_workflow_once(bench: Bench) {
    let text = workflow(&job("one", ""));
    assert_eq!(bench.submit_as(&text, "push 1").await.len(), 1);
    assert!(bench.submit_as(&text, "push 1").await.is_empty());
    assert_eq!(bench.submit_as(&text, "push 2").await.len(), 1);
}

async fn of_a_group_one_runs_and_the_newest_waits(bench: Bench) {
    let text = format!("concurrency: Deploy\n{}", workflow(&job("one", "")));
    let (first, second) = (bench.submit(&text).await, bench.submit(&text).await);
    assert_eq!(bench.state(&first).await, "queued one=queued");
    assert_eq!(bench.state(&second).await, "pending");
    let third = bench.submit(&text).await;
    assert_eq!(bench.state(&second).await, "cancelled");
    assert_eq!(bench.state(&third).await, "pending");
    bench.run_next("one", Conclusion::Success).await;
    assert_eq!(bench.state(&third).await, "queued one=queued");
    bench.run_next("one", Conclusion::Success).await;
    assert_eq!(bench.state(&third).await, "success one=success");
}

async fn a_group_keeps_all_that_wait_where_it_says_so(bench: Bench) {
    let text = format!(
        "concurrency: {{ group: deploy, queue: max }}\n{}",
        workflow(&job("one", ""))
    );
    let runs = [
        bench.submit(&text).await,
        bench.submit(&text).await,
        bench.submit(&text).await,
    ];
    for run in &runs {
        bench.run_next("one", Conclusion::Success).await;
        assert_eq!(bench.state(run).await, "success one=success");
    }
}

async fn a_group_that_cancels_what_runs_lets_the_newest_run(bench: Bench) {
    let text = format!(
        "concurrency: {{ group: ci, cancel-in-progress: true }}\n{}",
        workflow(&job("one", ""))
    );
    let first = bench.submit(&text).await;
    let second = bench.submit(&text).await;
    // Nobody had it, so it is over at once.
    assert_eq!(bench.state(&first).await, "cancelled one=cancelled");
    assert_eq!(bench.state(&second).await, "queued one=queued");
    let taken = bench.claim().await.unwrap();
    let third = bench.submit(&text).await;
    assert_eq!(bench.state(&third).await, "pending");
    assert_eq!(bench.cancel_level(&taken).await, 1);
    bench.end(&taken, Conclusion::Cancelled).await;
    assert_eq!(bench.state(&second).await, "cancelled one=cancelled");
    assert_eq!(bench.state(&third).await, "queued one=queued");
}

async fn jobs_of_a_group_take_turns_over_all_runs(bench: Bench) {
    let text = workflow(&format!(
        "{}{}",
        job("build", ""),
        job("deploy", "needs: build, concurrency: production,")
    ));
    let (first, second) = (bench.submit(&text).await, bench.submit(&text).await);
    let builds = [bench.claim().await.unwrap(), bench.claim().await.unwrap()];
    for build in &builds {
        bench.end(build, Conclusion::Success).await;
    }
    assert_eq!(
        bench.state(&first).await,
        "in_progress build=success deploy=queued"
    );
    assert_eq!(
        bench.state(&second).await,
        "in_progress build=success deploy=pending"
    );
    bench.run_next("deploy", Conclusion::Success).await;
    bench.run_next("deploy", Conclusion::Success).await;
    assert_eq!(
        bench.state(&second).await,
        "success build=success deploy=success"
    );
}

async fn a_cancelled_run_ends_once_its_jobs_did(bench: Bench) {
    let text = workflow(&format!(
        "{}{}{}",
        job("one", ""),
        job("two", ""),
        job("clean", "needs: one, if: always(),")
    ));
    let run = bench.submit(&text).await;
    let taken = bench.claim().await.unwrap();
    bench.ledger.cancel(&run).await.unwrap();
    assert_eq!(
        bench.state(&run).await,
        "in_progress one=in_progress two=cancelled"
    );
    assert_eq!(bench.cancel_level(&taken).await, 1);
    bench.ledger.cancel(&run).await.unwrap();
    assert_eq!(bench.cancel_level(&taken).await, 2);
    bench.end(&taken, Conclusion::Cancelled).await;
    bench.run_next("clean", Conclusion::Success).await;
    assert_eq!(
        bench.state(&run).await,
        "cancelled one=cancelled two=cancelled clean=success"
    );
    assert!(matches!(
        bench.ledger.cancel(&run).await,
        Err(LedgerError::WrongState { .. })
    ));
}

async fn a_rerun_of_what_failed_keeps_the_other_results(bench: Bench) {
    let matrix = "  cell: { runs-on: ubuntu-latest, strategy: { fail-fast: false, max-parallel: 1, matrix: { n: [1, 2, 3] } }, steps: [{ run: echo }] }\n";
    let text = workflow(&format!(
        "{}{matrix}{}",
        job("one", ""),
        job("last", "needs: [one, cell],")
    ));
    let run = bench.submit(&text).await;
    bench.run_next("one", Conclusion::Success).await;
    bench.run_next("cell (1)", Conclusion::Success).await;
    bench.run_next("cell (2)", Conclusion::Failure).await;
    bench.run_next("cell (3)", Conclusion::Success).await;
    assert!(bench.state(&run).await.starts_with("failure"));
    bench.ledger.rerun(&run, &Rerun::Failed).await.unwrap();
    bench.run_next("cell (2)", Conclusion::Success).await;
    bench.run_next("last", Conclusion::Success).await;
    assert!(bench.state(&run).await.starts_with("success"));
    let (row, jobs) = bench.ledger.run(&run, None).await.unwrap();
    assert_eq!(row.attempt, Attempt(2));
    let kept: Vec<&str> = jobs
        .iter()
        .filter(|job| job.is_kept)
        .map(|job| job.name.as_str())
        .collect();
    assert_eq!(kept, ["one", "cell (1)", "cell (3)"]);
}

async fn a_rerun_of_one_job_runs_what_needs_it_too(bench: Bench) {
    let text = workflow(&format!(
        "{}{}{}",
        job("one", ""),
        job("two", "needs: one,"),
        job("other", "")
    ));
    let run = bench.submit(&text).await;
    for name in ["one", "other", "two"] {
        bench.run_next(name, Conclusion::Success).await;
    }
    let missing = bench
        .ledger
        .rerun(&run, &Rerun::Job("three".to_owned()))
        .await;
    assert!(missing.unwrap_err().to_string().contains("one, other, two"));
    bench
        .ledger
        .rerun(&run, &Rerun::Job("one".to_owned()))
        .await
        .unwrap();
    bench.run_next("one", Conclusion::Success).await;
    bench.run_next("two", Conclusion::Success).await;
    assert_eq!(
        bench.state(&run).await,
        "success one=success other=success two=success"
    );
}

async fn a_label_that_one_machine_does_not_serve_fails_the_job_and_waits_where_there_are_several(
    bench: Bench,
) {
    let run = bench
        .submit("on: push\njobs:\n  one: { runs-on: windows-latest, steps: [{ run: echo }] }\n  two: { runs-on: gpu, steps: [{ run: echo }] }\n")
        .await;
    let (_, jobs) = bench.ledger.run(&run, None).await.unwrap();
    let reason = jobs.first().and_then(|job| job.reason.clone()).unwrap();
    assert!(reason.contains("windows-latest"), "{reason}");
    if bench.ledger.is_shared() {
        bench.run_next("two", Conclusion::Success).await;
        assert!(bench.claim().await.is_none(), "it is left to others");
        bench.ledger.serve("here", LEASE).await.unwrap();
        bench.ledger.explain_waiting().await.unwrap();
        let (_, jobs) = bench.ledger.run(&run, None).await.unwrap();
        let said = jobs.first().and_then(|job| job.reason.as_deref());
        assert_eq!(
            said,
            Some("waits for a machine that serves `windows-latest`: none that lives does")
        );
        bench.ledger.cancel(&run).await.unwrap();
        assert_eq!(
            bench.state(&run).await,
            "cancelled one=cancelled two=success"
        );
        return;
    }
    bench.run_next("two", Conclusion::Success).await;
    assert_eq!(bench.state(&run).await, "failure one=failure two=success");
}
