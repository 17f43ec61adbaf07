//! `on: schedule` under `runner serve`: what is due runs, and what was missed is said.

use runner::plan::Minute;
use runner::scheduler::now;
use runner::store::Store;

use crate::support::server::Server;

/// Says in the store of a server that stands still that its schedules were looked at so long ago.
fn looked_at(server: &Server, minutes: i64) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open_file(&server.data().join("runner.db"))
            .await
            .unwrap();
        let mut tx = store.begin().await.unwrap();
        let until = Minute(Minute::of(now()).0 - minutes);
        tx.set_schedules_seen("acme/demo", until.start())
            .await
            .unwrap();
        tx.commit().await.unwrap();
        store.close().await;
    });
}

#[test]
fn what_was_due_while_the_server_was_down_runs_once_when_it_is_up() {
    // 29 February at midnight is due next in years: nothing but the other entry can start a run.
    let mut server = Server::new(&[(
        "nightly.yml",
        "name: nightly\non:\n  schedule:\n    - cron: '*/15 * * * *'\n      timezone: Europe/Berlin\n    - cron: '0 0 29 2 *'\njobs:\n  one:\n    runs-on: ubuntu-latest\n    steps: [{ run: 'echo due by ${{ github.event.schedule }} on ${{ github.ref_name }} for ${{ github.event_name }}' }]\n",
    )]);
    server.start();
    server.stop();
    looked_at(&server, 40);
    server.start();
    let state = server.ended("1");
    assert_eq!(state["conclusion"], "success", "{state}");
    let logs = server.ask(&["runs", "logs", "1"]);
    assert!(
        logs.contains("due by */15 * * * * on main for schedule"),
        "{logs}"
    );
    let events = server.ask(&["runs", "events"]);
    assert!(
        events.contains("when no server looked: it runs now, once"),
        "{events}"
    );
    server.stop();
}

#[test]
fn what_was_due_too_long_ago_does_not_run() {
    let mut server = Server::new(&[(
        "nightly.yml",
        "on: { schedule: [{ cron: '0 12 * * *' }] }\njobs:\n  one: { runs-on: ubuntu-latest, steps: [{ run: echo }] }\n",
    )])
    .configure("catch-up = \"1m\"\n");
    server.start();
    server.stop();
    // Two days hold this time twice; only within two minutes of noon is the newer one still due.
    looked_at(&server, 48 * 60);
    let minute = Minute::of(now()).0.rem_euclid(24 * 60);
    if (12 * 60 - 5..12 * 60 + 5).contains(&minute) {
        println!("skipped: it is noon");
        return;
    }
    server.start();
    let events = server.wait_for("the missed time to be told", || {
        let events = server.ask(&["runs", "events"]);
        events.contains("was due at").then_some(events)
    });
    assert!(
        events.contains("and once before, when no server looked: it does not run, since that is longer ago than `catch-up` (1m)"),
        "{events}"
    );
    assert_eq!(server.ask(&["runs", "list"]).trim(), "");
    server.stop();
}
