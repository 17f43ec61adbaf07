//! Containers of jobs whose processes are killed by force: nothing of them stays, and nothing of
//! anybody else goes.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runner::docker::Engine;

use crate::support::images::{BUSYBOX, engine};
use crate::support::server::Server;

/// A job in a container beside a service, whose second step is a container as well.
const SLEEPS: &str = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    container: IMAGE\n    services: { db: { image: IMAGE, command: sleep 600 } }\n    steps:\n      - run: 'echo id=${{ job.container.id }}; echo db=${{ job.services.db.id }}; echo network=${{ job.container.network }}'\n        shell: sh\n      - uses: docker://IMAGE\n        with: { args: sleep 600 }\n";

/// What a job of [`SLEEPS`] has on Docker.
struct Left {
    network: String,
    containers: Vec<String>,
}

impl Left {
    async fn is_gone(&self, engine: &Engine) -> bool {
        for id in &self.containers {
            if engine.container(id).await.unwrap().is_some() {
                return false;
            }
        }
        engine.network(&self.network).await.unwrap().is_none()
    }

    async fn is_whole(&self, engine: &Engine) -> bool {
        for id in &self.containers {
            let found = engine.container(id).await.unwrap();
            if !found.is_some_and(|found| found.is_running()) {
                return false;
            }
        }
        engine.network(&self.network).await.unwrap().is_some()
    }
}

fn sleeping() -> Server {
    Server::new(&[("ci.yml", &SLEEPS.replace("IMAGE", BUSYBOX))])
}

/// Waits until all three containers of a run's job run.
async fn begun(server: &Server, run: &str, engine: &Engine) -> Left {
    server.wait_for("the job to begin", || {
        let output = server.run(&["runs", "logs", run]);
        let text = String::from_utf8_lossy(&output.stdout);
        text.contains("│ network=").then_some(())
    });
    let text = server.ask(&["runs", "logs", run]);
    let said = |name: &str| {
        let start = format!("│ {name}=");
        let line = text.lines().find_map(|line| line.split_once(&start));
        line.unwrap_or_else(|| panic!("no `{name}=` in:\n{text}"))
            .1
            .to_owned()
    };
    let network = said("network");
    let known = [said("id"), said("db")];
    let end = std::time::Instant::now() + crate::support::server::PATIENCE;
    loop {
        let found = engine.network(&network).await.unwrap().unwrap();
        let left = Left {
            network: network.clone(),
            containers: found.containers.clone(),
        };
        // One that is about to start is in the network under another name.
        if found.containers.len() == 3 && left.is_whole(engine).await {
            assert!(known.iter().all(|id| found.containers.contains(id)));
            return left;
        }
        assert!(std::time::Instant::now() < end, "{found:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn kill_job(server: &Server, run: &str) {
    let life = server.data().join(format!("spool/{run}/1/0-1/life"));
    let pid: i32 = fs::read_to_string(life).unwrap().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

async fn until_gone(left: &Left, engine: &Engine) {
    let end = std::time::Instant::now() + crate::support::server::PATIENCE;
    while !left.is_gone(engine).await {
        assert!(std::time::Instant::now() < end, "it is still there");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_job_left_on_docker_is_removed_and_nothing_of_others() {
    let engine = engine().await;
    let (mut server, mut other) = (sleeping(), sleeping());
    for server in [&mut server, &mut other] {
        server.start();
        server.push("go");
    }
    let (lost, kept) = (
        begun(&server, "1", &engine).await,
        begun(&other, "1", &engine).await,
    );
    kill_job(&server, "1");
    let state = server.ended("1");
    assert_eq!(state["conclusion"], "failure", "{state}");
    until_gone(&lost, &engine).await;
    assert!(kept.is_whole(&engine).await, "another server's are gone");

    // The other server dies first, so nobody notices the loss but the one that starts after it. Its
    // own jobs that live keep theirs.
    other.push("once more");
    let lives = begun(&other, "2", &engine).await;
    other.kill();
    kill_job(&other, "1");
    assert!(kept.is_whole(&engine).await);
    other.start();
    until_gone(&kept, &engine).await;
    assert!(
        lives.is_whole(&engine).await,
        "those of a job that lives are gone"
    );
    other.ask(&["runs", "cancel", "2"]);
    assert_eq!(other.ended("2")["conclusion"], "cancelled");
    until_gone(&lives, &engine).await;
    server.stop();
    other.stop();
}
