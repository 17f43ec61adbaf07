//! What goes on for months: old runs are forgotten, people are told.

use std::path::Path;

use super::*;
use crate::notify::{Notice, NoticeKind};
use crate::scheduler::{Keep, Pruned, Retention};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Bench {
    /// Submits a run of a branch and ends its only job so; `None` leaves it running.
    async fn run_on(&self, branch: &str, more: &str, end: Option<Conclusion>) -> RunId {
        let number = self.events.fetch_add(1, Ordering::SeqCst);
        let (mut event, mut run) = new_run(&workflow(&job("one", more)), &format!("push {number}"));
        event.git_ref = format!("refs/heads/{branch}");
        run.git_ref.clone_from(&event.git_ref);
        run.document.is_default_branch = branch == "main";
        let added = self.ledger.take_in(&event, None, &[run], &[]).await;
        let id = added.unwrap().pop().unwrap();
        let taken = self.claim().await.unwrap();
        if let Some(conclusion) = end {
            self.end(&taken, conclusion).await;
        }
        id
    }

    /// The same store after so many days.
    async fn after(&self, days: u32) -> Ledger {
        let passed = i64::try_from((DAY * days).as_millis()).unwrap();
        let now = Timestamp(NOW.0 + passed);
        Ledger::new(
            self.place.store().await,
            Arc::new(move || now),
            Labels::default(),
        )
    }

    async fn told(&self) -> Vec<(NoticeKind, String)> {
        let due = self.ledger.due_notices("team").await.unwrap();
        let mut told: Vec<(u64, NoticeKind, String)> = due
            .iter()
            .map(|row| {
                let notice: Notice = serde_json::from_str(&row.body).unwrap();
                let run = notice.run.0.parse().unwrap();
                (run, notice.kind, notice.run.0)
            })
            .collect();
        told.sort_by_key(|(run, kind, _)| (*run, *kind != NoticeKind::DeployFailed));
        told.into_iter().map(|(_, kind, run)| (kind, run)).collect()
    }
}

fn write_log(spools: &Path, run: &RunId, size: usize) {
    let folder = spools.join(&run.0).join("1/0-1");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("events"), vec![b'x'; size]).unwrap();
}

/// Seven runs and their logs of 1,000 bytes each: an old one, the only one of a branch, one of a branch
/// that is gone, a deploy, a deploy that failed, one that ended, one that runs.
async fn history(bench: &Bench, spools: &Path) -> [RunId; 7] {
    let success = Some(Conclusion::Success);
    let refs =
        BTreeMap::from(["main", "live"].map(|name| (format!("refs/heads/{name}"), "1".to_owned())));
    bench.ledger.first_refs("acme/demo", &refs).await.unwrap();
    let environment = "environment: production,";
    let runs = [
        bench.run_on("main", "", success).await,
        bench.run_on("live", "", success).await,
        bench.run_on("gone", "", success).await,
        bench.run_on("main", environment, success).await,
        bench
            .run_on("main", environment, Some(Conclusion::Failure))
            .await,
        bench.run_on("main", "", success).await,
        bench.run_on("main", "", None).await,
    ];
    for run in &runs {
        write_log(spools, run, 1_000);
    }
    runs
}

fn retention(ledger: Ledger, spools: &Path, keep: Keep) -> Retention {
    Retention {
        ledger,
        spools: spools.to_owned(),
        keep,
    }
}

pub(super) async fn the_oldest_logs_go_until_the_others_fit(bench: Bench) {
    let spools = tempfile::tempdir().unwrap();
    let [old, of_branch, gone, deploy, failed, ended, running] =
        history(&bench, spools.path()).await;
    let keep = |logs_size| Keep {
        logs: FOREVER,
        logs_size,
        runs: FOREVER,
    };
    let prune = async |size| {
        let retention = retention(bench.after(1).await, spools.path(), keep(size));
        retention.prune(false).await.unwrap()
    };
    let expected = Pruned {
        logs: vec![(old.clone(), 1_000), (gone.clone(), 1_000)],
        ..Pruned::default()
    };
    assert_eq!(prune(5_000).await, expected);
    // Nothing that counts goes, however small the size is.
    assert_eq!(prune(0).await.logs, [(failed, 1_000), (ended, 1_000)]);
    for run in [of_branch, deploy, running] {
        assert!(spools.path().join(&run.0).exists(), "the log of {run}");
    }
    assert!(!spools.path().join(&old.0).exists());
}

pub(super) async fn old_runs_are_forgotten_but_for_what_counts(bench: Bench) {
    let spools = tempfile::tempdir().unwrap();
    let [old, of_branch, gone, deploy, failed, ended, running] =
        history(&bench, spools.path()).await;
    let keep = Keep {
        logs: DAY * 90,
        logs_size: u64::MAX,
        runs: DAY * 90,
    };
    let early = retention(bench.after(89).await, spools.path(), keep);
    assert_eq!(early.prune(false).await.unwrap(), Pruned::default());
    let late = retention(bench.after(91).await, spools.path(), keep);
    let would = late.prune(true).await.unwrap();
    assert_eq!(would.runs, [old, gone, failed, ended]);
    let all = RunFilter::default();
    assert_eq!(bench.ledger.runs(&all).await.unwrap().len(), 7);
    let pruned = late.prune(false).await.unwrap();
    assert_eq!(pruned.runs, would.runs);
    assert!(pruned.events > 0, "{pruned:?}");
    let kept = bench.ledger.runs(&all).await.unwrap();
    let kept: Vec<RunId> = kept.into_iter().rev().map(|run| run.id).collect();
    assert_eq!(kept, [of_branch, deploy, running]);
    for run in &kept {
        assert!(spools.path().join(&run.0).exists(), "the log of {run}");
    }
    assert_eq!(std::fs::read_dir(spools.path()).unwrap().count(), 3);
    // Numbers go on where they were.
    let next = bench.run_on("main", "", Some(Conclusion::Success)).await;
    let (next, _) = bench.ledger.run(&next, None).await.unwrap();
    assert_eq!(next.number, 8);
}

pub(super) async fn a_branch_that_breaks_and_a_deploy_that_fails_are_told_once(mut bench: Bench) {
    let subscription = Subscription {
        channel: "team".to_owned(),
        kinds: vec![
            NoticeKind::DeployFailed,
            NoticeKind::Broken,
            NoticeKind::Recovered,
        ],
        repositories: Vec::new(),
    };
    let others = Subscription {
        channel: "others".to_owned(),
        repositories: vec!["acme/other".to_owned()],
        ..subscription.clone()
    };
    bench.ledger = bench.ledger.clone().telling(Subscriptions {
        all: vec![subscription, others],
        public_url: Some("https://ci.example.com/".to_owned()),
    });
    let (success, failure) = (Some(Conclusion::Success), Some(Conclusion::Failure));
    bench.run_on("main", "", success).await;
    let broken = bench.run_on("main", "", failure).await;
    bench.run_on("main", "", failure).await;
    bench.run_on("other", "", failure).await;
    bench.run_on("main", "", Some(Conclusion::Cancelled)).await;
    let mended = bench.run_on("main", "", success).await;
    bench.run_on("main", "", success).await;
    let deploy = bench
        .run_on("main", "environment: production,", failure)
        .await;
    assert_eq!(
        bench.told().await,
        [
            (NoticeKind::Broken, broken.0),
            (NoticeKind::Recovered, mended.0.clone()),
            (NoticeKind::DeployFailed, deploy.0.clone()),
            (NoticeKind::Broken, deploy.0),
        ]
    );
    assert!(bench.ledger.due_notices("others").await.unwrap().is_empty());
    let due = bench.ledger.due_notices("team").await.unwrap();
    let notice: Notice = serde_json::from_str(&due[0].body).unwrap();
    assert_eq!(
        notice.url.as_deref(),
        Some(format!("https://ci.example.com/runs/{}", notice.run).as_str())
    );
    // What cannot be told waits, or is given up; what was told is over.
    let later = Timestamp(NOW.0 + 1_000);
    bench
        .ledger
        .notice_failed(&due[0], "away", Some(later))
        .await
        .unwrap();
    bench
        .ledger
        .notice_failed(&due[1], "refused", None)
        .await
        .unwrap();
    bench.ledger.notice_sent(&due[2]).await.unwrap();
    assert_eq!(bench.ledger.due_notices("team").await.unwrap().len(), 1);
    let mut states: Vec<String> = bench
        .ledger
        .notices(10)
        .await
        .unwrap()
        .into_iter()
        .map(|row| format!("{} {}", row.state, row.tries))
        .collect();
    states.sort_unstable();
    assert_eq!(states, ["failed 1", "sent 1", "waiting 0", "waiting 1"]);
}
