//! Several machines on one ledger: leases, turns, and what comes late.

use super::*;

pub(super) async fn a_job_whose_machine_is_lost_before_it_began_waits_for_another(bench: Bench) {
    let run = bench.submit(&workflow(&job("one", ""))).await;
    let lost = bench.claim_and_lose(false).await;
    assert_eq!(bench.reap().await, [Taken::Queued]);
    let second = bench.claim().await.unwrap();
    assert!(second.claimed.fence > lost.claimed.fence);
    // The machine was only slow: it hears that the job is not its own before it begins.
    let late = bench.ledger.begin(&lost.claimed, LEASE).await;
    assert!(matches!(late, Err(LedgerError::Fenced { .. })));
    bench.ledger.begin(&second.claimed, LEASE).await.unwrap();
    assert!(bench.reap().await.is_empty());
    bench.end(&second, Conclusion::Success).await;
    assert_eq!(bench.state(&run).await, "success one=success");
}

pub(super) async fn a_job_that_began_is_not_run_again_when_its_machine_is_lost(bench: Bench) {
    let text = workflow(&format!(
        "{}{}{}",
        job("one", ""),
        job("two", "needs: one,"),
        job("clean", "needs: one, if: always(),")
    ));
    let run = bench.submit(&text).await;
    let lost = bench.claim_and_lose(true).await;
    assert_eq!(bench.reap().await, [Taken::Ended]);
    for refused in [
        bench.ledger.begin(&lost.claimed, LEASE).await,
        bench.ledger.renew(&lost.claimed, LEASE).await.map(drop),
        bench.ledger.give_back(&lost.claimed).await,
        bench
            .ledger
            .finish(
                &lost.claimed,
                &JobOutcome::without_run(Conclusion::Success, ""),
            )
            .await,
    ] {
        assert!(matches!(refused, Err(LedgerError::Fenced { .. })));
    }
    bench.run_next("clean", Conclusion::Success).await;
    assert_eq!(
        bench.state(&run).await,
        "failure one=failure two=skipped clean=success"
    );
    let (_, jobs) = bench.ledger.run(&run, None).await.unwrap();
    let reason = jobs[0].reason.clone().unwrap();
    assert!(reason.contains("`lost` lost communication"), "{reason}");
}

pub(super) async fn a_machine_that_speaks_up_in_time_keeps_its_job(bench: Bench) {
    let run = bench.submit(&workflow(&job("one", ""))).await;
    let taken = bench.claim_and_lose(true).await;
    assert!(
        bench
            .ledger
            .take_from_lost(LEASE, ("asker", LEASE))
            .await
            .unwrap()
            .is_empty()
    );
    let hold = bench.ledger.hold_of(&taken.claimed).await.unwrap();
    assert!(hold.is_disconnected);
    assert!(
        bench
            .ledger
            .take_from_lost(LEASE, ("asker", LEASE))
            .await
            .unwrap()
            .is_empty()
    );
    bench.ledger.renew(&taken.claimed, LEASE).await.unwrap();
    let hold = bench.ledger.hold_of(&taken.claimed).await.unwrap();
    assert!(!hold.is_disconnected);
    assert!(bench.reap().await.is_empty());
    bench.end(&taken, Conclusion::Success).await;
    assert_eq!(bench.state(&run).await, "success one=success");
}

pub(super) async fn a_lost_job_is_run_again_once_where_that_is_asked_for(bench: Bench) {
    let run = bench.submit_again(&workflow(&job("one", ""))).await;
    bench.claim_and_lose(true).await;
    assert_eq!(bench.reap().await, [Taken::Queued]);
    bench.claim_and_lose(true).await;
    assert_eq!(bench.reap().await, [Taken::Ended]);
    assert_eq!(bench.state(&run).await, "failure one=failure");
}

pub(super) async fn a_lost_job_that_deploys_is_never_run_again(bench: Bench) {
    let text = workflow(&job("one", "environment: production,"));
    let run = bench.submit_again(&text).await;
    bench.claim_and_lose(true).await;
    assert_eq!(bench.reap().await, [Taken::Ended]);
    assert_eq!(bench.state(&run).await, "failure one=failure");
    let (_, jobs) = bench.ledger.run(&run, None).await.unwrap();
    let reason = jobs[0].reason.clone().unwrap();
    assert!(reason.contains("runner history"), "{reason}");
}

pub(super) async fn the_hosts_of_a_lost_job_are_asked_by_who_noticed_and_only_then_it_ends(
    bench: Bench,
) {
    let text = workflow(
        "  one: { runs-on: ubuntu-latest, steps: [{ uses: runner/ssh-deploy@v1 }, { uses: runner/promote@v1 }] }\n",
    );
    let run = bench.submit_again(&text).await;
    let lost = bench.claim_and_lose(true).await;
    // That it is cancelled meanwhile does not change what is true on the hosts.
    bench.ledger.cancel(&run).await.unwrap();
    assert_eq!(bench.reap().await, [Taken::Asked]);
    assert!(bench.reap().await.is_empty());
    assert_eq!(bench.claim().await.map(|taken| taken.name), None);
    let running = bench.ledger.running("asker").await.unwrap();
    let [job] = running.as_slice() else {
        panic!("{running:?}")
    };
    assert!(job.is_lost() && job.cancel_level == 0);
    let why = job.reason.clone().unwrap();
    assert!(
        why.starts_with("the machine `lost` lost communication"),
        "{why}"
    );
    // It is the same job to the hosts, and the one that was lost is nobody any more.
    let taken = bench.ledger.taken(&job.claimed()).await.unwrap();
    assert_eq!(taken.origin, lost.origin);
    assert!(taken.origin.contains(&format!("run {run} attempt 1 job 0")));
    assert!(matches!(
        bench.ledger.taken(&lost.claimed).await,
        Err(LedgerError::Fenced { .. })
    ));
    let outcome = JobOutcome {
        deploy: Some(DeployOutcome::Stands),
        ..JobOutcome::without_run(Conclusion::Success, "it stands")
    };
    bench.ledger.finish(&job.claimed(), &outcome).await.unwrap();
    let (row, jobs) = bench.ledger.run(&run, None).await.unwrap();
    assert_eq!(row.deploy, Some(DeployOutcome::Stands));
    assert_eq!(jobs[0].conclusion, Some(Conclusion::Success));
    assert_eq!(jobs[0].losses, 1);
}

pub(super) async fn one_who_asks_and_is_lost_as_well_is_followed_by_another_one(bench: Bench) {
    let text =
        workflow("  one: { runs-on: ubuntu-latest, steps: [{ uses: runner/rollback@v1 }] }\n");
    let run = bench.submit(&text).await;
    bench.claim_and_lose(true).await;
    let take = async |asker| {
        let asker = (asker, Duration::ZERO);
        let lost = bench.ledger.take_from_lost(Duration::ZERO, asker).await;
        lost.unwrap().len()
    };
    assert_eq!(take("first").await, 1);
    assert_eq!(take("second").await, 1);
    assert!(bench.ledger.running("first").await.unwrap().is_empty());
    let job = bench.ledger.running("second").await.unwrap().remove(0);
    assert!(job.reason.as_deref().unwrap().contains("`lost`"), "{job:?}");
    assert_eq!(bench.state(&run).await, "in_progress one=in_progress");
}

pub(super) async fn a_cancelled_job_whose_machine_is_lost_is_cancelled(bench: Bench) {
    let run = bench.submit(&workflow(&job("one", ""))).await;
    bench.claim_and_lose(false).await;
    bench.ledger.cancel(&run).await.unwrap();
    assert_eq!(bench.reap().await, [Taken::Ended]);
    assert_eq!(bench.state(&run).await, "cancelled one=cancelled");
}

pub(super) async fn repositories_take_turns(bench: Bench) {
    let text = workflow(&format!(
        "{}{}{}",
        job("one", ""),
        job("two", ""),
        job("three", "")
    ));
    for name in ["acme/big", "acme/small"] {
        let (mut event, mut run) = new_run(&text, "push 1");
        name.clone_into(&mut event.repository);
        name.clone_into(&mut run.repository);
        bench
            .ledger
            .take_in(&event, None, &[run], &[])
            .await
            .unwrap();
    }
    let mut turns = Vec::new();
    while let Some(taken) = bench.claim().await {
        turns.push(format!("{} {}", taken.repository, taken.name));
    }
    assert_eq!(
        turns,
        [
            "acme/big one",
            "acme/small one",
            "acme/big two",
            "acme/small two",
            "acme/big three",
            "acme/small three"
        ]
    );
}

pub(super) async fn what_a_machine_saw_that_is_behind_is_no_event(bench: Bench) {
    let text = workflow(&job("one", ""));
    let moved = |before: Option<&str>, after: &str| RefMove {
        name: "refs/heads/main".to_owned(),
        after: Some(after.to_owned()),
        seen_from: Some(before.map(str::to_owned)),
    };
    let take = async |before: Option<&str>, after: &str| {
        let key = format!("push refs/heads/main {before:?} {after}");
        let (event, run) = new_run(&text, &key);
        let (moved, runs) = (moved(before, after), [run]);
        let taken = bench.ledger.take_in(&event, Some(&moved), &runs, &[]).await;
        taken.unwrap().len()
    };
    assert_eq!(take(None, "1").await, 1);
    assert_eq!(take(Some("1"), "3").await, 1);
    // Another machine saw each of the two pushes, and was too late with both.
    assert_eq!(take(Some("1"), "2").await, 0);
    assert_eq!(take(Some("2"), "3").await, 0);
    let refs = bench.ledger.refs("acme/demo").await.unwrap();
    assert_eq!(refs["refs/heads/main"], "3");
    assert_eq!(take(Some("3"), "4").await, 1);
}

pub(super) async fn every_job_is_taken_once_by_many_machines(bench: Bench) {
    const JOBS: usize = 30;
    let jobs: String = (0..JOBS)
        .map(|number| job(&format!("j{number}"), ""))
        .collect();
    let run = bench.submit(&workflow(&jobs)).await;
    let mut machines = tokio::task::JoinSet::new();
    for number in 0..3 {
        let ledger = bench.elsewhere().await;
        machines.spawn(async move {
            let mut names = Vec::new();
            let name = format!("machine {number}");
            while let Some(taken) = ledger.claim(&name, LEASE).await.unwrap() {
                ledger.begin(&taken.claimed, LEASE).await.unwrap();
                let outcome = JobOutcome::without_run(Conclusion::Success, "");
                ledger.finish(&taken.claimed, &outcome).await.unwrap();
                names.push(taken.name);
            }
            names
        });
    }
    let mut all = machines.join_all().await.concat();
    // One may have looked while another held the last run; what is left is taken now.
    while let Some(taken) = bench.claim().await {
        bench.end(&taken, Conclusion::Success).await;
        all.push(taken.name);
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), JOBS);
    assert!(bench.state(&run).await.starts_with("success"));
}

pub(super) async fn of_a_group_one_runs_whatever_machines_do(bench: Bench) {
    const RUNS: usize = 12;
    let text = format!(
        "concurrency: {{ group: deploy, queue: max }}\n{}",
        workflow(&job("one", ""))
    );
    let mut machines = tokio::task::JoinSet::new();
    let running = Arc::new(AtomicU32::new(0));
    let done = Arc::new(AtomicU32::new(0));
    for number in 0..3 {
        let ledger = bench.elsewhere().await;
        let (text, running, done) = (text.clone(), Arc::clone(&running), Arc::clone(&done));
        machines.spawn(async move {
            for push in 0..RUNS / 3 {
                let (event, run) = new_run(&text, &format!("push {number} {push}"));
                ledger.take_in(&event, None, &[run], &[]).await.unwrap();
            }
            while done.load(Ordering::SeqCst) < u32::try_from(RUNS).unwrap() {
                let Some(taken) = ledger.claim("any", LEASE).await.unwrap() else {
                    tokio::task::yield_now().await;
                    continue;
                };
                assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0);
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                done.fetch_add(1, Ordering::SeqCst);
                let outcome = JobOutcome::without_run(Conclusion::Success, "");
                ledger.finish(&taken.claimed, &outcome).await.unwrap();
            }
        });
    }
    machines.join_all().await;
    let runs = bench.ledger.runs(&RunFilter::default()).await.unwrap();
    assert_eq!(runs.len(), RUNS);
    assert!(
        runs.iter()
            .all(|run| run.conclusion == Some(Conclusion::Success))
    );
}

pub(super) async fn the_schema_goes_down_and_up_with_all_rows(bench: Bench) {
    let run = bench.submit(&workflow(&job("one", ""))).await;
    let waiting = bench.submit(&workflow(&job("one", ""))).await;
    let taken = bench.claim().await.unwrap();
    for version in (1..LATEST).rev() {
        let store = bench.place.store().await;
        migrate_to(&store, version).await.unwrap();
        migrate_to(&store, LATEST).await.unwrap();
        store.close().await;
        assert_eq!(bench.state(&run).await, "in_progress one=in_progress");
    }
    // An older version knows nothing of jobs that did not begin: what ran may have begun.
    let (_, jobs) = bench.ledger.run(&run, None).await.unwrap();
    assert!(jobs[0].began_at.is_some());
    bench.end(&taken, Conclusion::Success).await;
    bench.run_next("one", Conclusion::Success).await;
    assert_eq!(bench.state(&waiting).await, "success one=success");
}

/// How long it takes to take a job while few and while many wait is for people to read: the clock of
/// a machine that has much else to do proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, for minutes"]
async fn jobs_are_taken_as_quickly_while_ten_thousand_runs_wait() {
    const CLAIMS: u32 = 50;
    let server = Postgres::start();
    let places = [
        ("SQLite", Bench::in_a_file().await),
        ("PostgreSQL", Bench::on(&server).await),
    ];
    for (name, bench) in places {
        let mut waiting = 0;
        for wanted in [100, 10_000] {
            while waiting < wanted {
                let mut runs = Vec::new();
                let (event, _) = new_run("", &format!("event {waiting}"));
                for number in waiting..waiting + 100 {
                    let text = workflow(&job("one", ""));
                    let (_, mut run) = new_run(&text, &format!("push {number}"));
                    run.repository = format!("acme/{}", number % 10);
                    runs.push(run);
                }
                bench
                    .ledger
                    .take_in(&event, None, &runs, &[])
                    .await
                    .unwrap();
                waiting += 100;
            }
            let began = std::time::Instant::now();
            for _ in 0..CLAIMS {
                bench.claim().await.unwrap();
            }
            let each = began.elapsed() / CLAIMS;
            println!("{name}: {each:?} for a job while {waiting} runs wait");
        }
    }
}
