//! `runner serve`: what is pushed is run, and what is recorded is true, whatever dies.

use std::fs;
use std::process::Command;

use crate::support::server::{Server, WAIT_FOR_GO};

/// A workflow whose job waits until it may end, with one line before and one after.
fn held() -> String {
    format!(
        "name: held\non: push\njobs:\n  wait:\n    runs-on: ubuntu-latest\n    steps:\n      - run: |\n          echo began >> \"$HOLD/began\"; echo line one\n          {WAIT_FOR_GO}\n      - run: echo line two\n"
    )
}

/// How often the job of [`held`] began.
fn begun(server: &Server) -> usize {
    fs::read_to_string(server.path().join("began"))
        .unwrap_or_default()
        .lines()
        .count()
}

fn wait_until_begun(server: &Server) {
    server.wait_for("the job to begin", || (begun(server) > 0).then_some(()));
}

/// Passes `HOLD` on to steps, which get no variables of the server but listed ones.
fn with_hold(text: &str, server: &Server) -> String {
    text.replace("$HOLD", &server.path().display().to_string())
}

/// Returns a server whose only workflow is [`held`].
fn holding() -> Server {
    let server = Server::new(&[]);
    server.write("tree/pipelines/held.yml", &with_hold(&held(), &server));
    server.push("the workflow");
    server
}

#[test]
fn a_push_runs_the_workflows_that_it_is_for() {
    let mut server = Server::new(&[
        (
            "ci.yml",
            "name: ci\non: { push: { branches: ['**'] } }\njobs:\n  one:\n    runs-on: ubuntu-latest\n    outputs: { said: '${{ steps.say.outputs.said }}' }\n    steps:\n      - uses: actions/checkout@v4\n      - id: say\n        run: echo \"said=$(cat greeting)\" >> \"$GITHUB_OUTPUT\"; git log -1 --format='at %H'\n  two:\n    needs: one\n    runs-on: ubuntu-latest\n    steps: [{ run: 'echo heard ${{ needs.one.outputs.said }} in run ${{ github.run_id }} by ${{ github.actor }}' }]\n",
        ),
        (
            "tags.yml",
            "name: tags\non: { push: { tags: ['v*'] } }\njobs:\n  one: { runs-on: ubuntu-latest, steps: [{ run: 'echo ${{ github.ref_name }}' }] }\n",
        ),
        ("broken.yml", "on: push\njobs: { one: { steps: [] } }\n"),
    ]);
    server.start();
    server.write("tree/greeting", "hello");
    let commit = server.push("a greeting");
    let state = server.ended("1");
    assert_eq!(state["conclusion"], "success", "{state}");
    assert_eq!(state["sha"], commit.as_str());
    assert_eq!(state["title"], "a greeting");
    let logs = server.ask(&["runs", "logs", "1"]);
    assert!(logs.contains(&format!("at {commit}")), "{logs}");
    assert!(logs.contains("heard hello in run 1 by Tess"), "{logs}");
    let events = server.ask(&["runs", "events"]);
    assert!(events.contains("pipelines/ci.yml runs"), "{events}");
    assert!(events.contains("tags.yml does not run:"), "{events}");
    assert!(
        events.contains("broken.yml does not run: the file is not valid"),
        "{events}"
    );
    server.git(&["tag", "v1"]);
    server.git(&["push", "-q", "origin", "v1"]);
    server.ended("2");
    assert!(server.ask(&["runs", "logs", "2"]).contains("v1"));
    let list = server.ask(&["runs", "list"]);
    assert_eq!(list.lines().count(), 2, "{list}");
    server.stop();
}

#[test]
fn what_was_pushed_while_the_server_was_down_runs_once_it_is_up() {
    let mut server = Server::new(&[(
        "ci.yml",
        "on: push\njobs:\n  one: { runs-on: ubuntu-latest, steps: [{ run: echo }] }\n",
    )]);
    server.start();
    server.stop();
    server.push("nobody looks");
    server.start();
    server.ended("1");
    server.kill();
    server.start();
    server.push("somebody looks");
    server.ended("2");
    assert_eq!(server.ask(&["runs", "list"]).lines().count(), 2);
    server.stop();
}

#[test]
fn a_job_goes_on_when_its_server_is_killed_and_the_next_one_follows_it() {
    let mut server = holding();
    server.start();
    server.push("go");
    wait_until_begun(&server);
    server.kill();
    server.start();
    assert_eq!(server.state("1").unwrap()["status"], "in_progress");
    server.go();
    let state = server.ended("1");
    assert_eq!(state["conclusion"], "success", "{state}");
    assert_eq!(begun(&server), 1);
    let logs = server.ask(&["runs", "logs", "1"]);
    assert!(
        logs.contains("line one") && logs.contains("line two"),
        "{logs}"
    );
    server.stop();
}

#[test]
fn a_job_that_ended_while_no_server_was_there_has_its_end_recorded() {
    let mut server = holding();
    server.start();
    server.push("go");
    wait_until_begun(&server);
    let log = server.stop();
    assert!(log.contains("the next server follows them"), "{log}");
    server.go();
    let spool = server.data().join("spool/1/1/0-1/events");
    server.wait_for("the end in the spool", || {
        fs::read_to_string(&spool)
            .unwrap_or_default()
            .contains("\"end\":{")
            .then_some(())
    });
    server.start();
    assert_eq!(server.ended("1")["conclusion"], "success");
    assert_eq!(begun(&server), 1);
    server.stop();
}

#[test]
fn a_job_whose_process_is_killed_fails_and_leaves_nothing_running() {
    let mut server = holding();
    server.start();
    server.push("go");
    wait_until_begun(&server);
    let life = fs::read_to_string(server.data().join("spool/1/1/0-1/life")).unwrap();
    let step = Command::new("ps")
        .args(["-o", "pid=", "-s", life.trim()])
        .output()
        .unwrap();
    let step = String::from_utf8_lossy(&step.stdout).into_owned();
    assert!(step.lines().count() > 1, "{step}");
    let pid = nix::unistd::Pid::from_raw(life.trim().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    let state = server.ended("1");
    assert_eq!(state["conclusion"], "failure");
    let reason = state["jobs"][0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("its process was killed or died"),
        "{reason}"
    );
    for pid in step.split_whitespace() {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "{state}");
    }
    server.stop();
}

#[test]
fn a_run_is_cancelled_and_run_once_more() {
    let mut server = holding();
    server.start();
    server.push("go");
    wait_until_begun(&server);
    server.ask(&["runs", "cancel", "1"]);
    let state = server.ended("1");
    assert_eq!(state["conclusion"], "cancelled", "{state}");
    let again = server.run(&["runs", "cancel", "1"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("run 1 has ended"));
    server.go();
    server.ask(&["runs", "rerun", "1", "--failed"]);
    let watched = server.run(&["runs", "watch", "1"]);
    let said = String::from_utf8_lossy(&watched.stdout).into_owned();
    assert_eq!(watched.status.code(), Some(0), "{said}");
    assert!(said.contains("line two"), "{said}");
    let state = server.state("1").unwrap();
    assert_eq!(
        (&state["attempt"], &state["conclusion"]),
        (&2.into(), &"success".into())
    );
    let before = server.ask(&["runs", "show", "1", "--attempt", "1"]);
    assert!(before.contains("cancelled   wait"), "{before}");
    server.stop();
}

#[test]
fn a_dispatch_starts_one_workflow_with_its_inputs() {
    let mut server = Server::new(&[(
        "release.yml",
        "name: release\non:\n  workflow_dispatch:\n    inputs:\n      version: { required: true, type: string }\njobs:\n  one: { runs-on: ubuntu-latest, steps: [{ run: 'echo releasing ${{ inputs.version }}' }] }\n",
    )]);
    server.start();
    let lacking = server.run(&["dispatch", "release.yml"]);
    assert_eq!(lacking.status.code(), Some(4));
    let said = String::from_utf8_lossy(&lacking.stderr).into_owned();
    assert!(said.contains("input `version` is required"), "{said}");
    let unknown = server.run(&["dispatch", "nothing.yml"]);
    assert_eq!(unknown.status.code(), Some(2));
    let run = server.ask(&["dispatch", "release", "--input", "version=7"]);
    assert_eq!(server.ended(run.trim())["event"], "workflow_dispatch");
    assert!(
        server
            .ask(&["runs", "logs", run.trim()])
            .contains("releasing 7")
    );
    server.stop();
}

#[test]
fn secrets_reach_steps_and_nothing_that_is_kept() {
    let mut server = Server::new(&[(
        "ci.yml",
        "on: push\njobs:\n  one:\n    runs-on: ubuntu-latest\n    env: { TOKEN: '${{ secrets.TOKEN }}', FILED: '${{ secrets.FILED }}' }\n    steps:\n      - run: echo \"$TOKEN $FILED\"; echo \"${TOKEN:0:6}\"; printf %s \"${TOKEN:6}\"; test ${#TOKEN} = 20 && test ${#FILED} = 14\n",
    )])
    .configure("secrets-file = \"secrets\"\n[repository.secrets]\nTOKEN = { env = \"GIVEN_TOKEN\" }\n");
    server.write("secrets", "FILED=filed-password\n");
    let absent = server.run(&["serve"]);
    assert_eq!(absent.status.code(), Some(3));
    let said = String::from_utf8_lossy(&absent.stderr).into_owned();
    assert!(
        said.contains("GIVEN_TOKEN") && said.contains("secrets.TOKEN"),
        "{said}"
    );
    server.start_with(&[("GIVEN_TOKEN", "a-token-of-20-letter")]);
    server.push("go");
    assert_eq!(server.ended("1")["conclusion"], "success");
    server.stop();
    let kept = server.everything_kept();
    for secret in ["a-token-of-20-letter", "filed-password"] {
        let bytes = secret.as_bytes();
        assert!(
            !kept.windows(bytes.len()).any(|window| window == bytes),
            "{secret}"
        );
    }
    assert!(server.ask(&["runs", "logs", "1"]).contains("***"));
}

#[test]
fn a_group_keeps_a_second_push_waiting() {
    let mut server = Server::new(&[]);
    let text = with_hold(&held(), &server).replace("on: push", "on: push\nconcurrency: deploy");
    server.write("tree/pipelines/held.yml", &text);
    server.push("the workflow");
    server.start();
    server.push("one");
    wait_until_begun(&server);
    server.push("two");
    server.reached("2", "pending");
    let shown = server.ask(&["runs", "show", "2"]);
    assert!(
        shown.contains("waits for the concurrency group `deploy`"),
        "{shown}"
    );
    server.push("three");
    assert_eq!(server.ended("2")["conclusion"], "cancelled");
    server.go();
    assert_eq!(server.ended("1")["conclusion"], "success");
    assert_eq!(server.ended("3")["conclusion"], "success");
    assert_eq!(begun(&server), 2);
    server.stop();
}

#[test]
fn two_servers_do_not_share_a_folder() {
    let mut server = holding();
    server.start();
    let second = server.run(&["serve"]);
    assert_eq!(second.status.code(), Some(5));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another server uses"), "{said}");
    server.stop();
}

#[test]
fn init_writes_a_configuration_that_serves_and_never_over_one() {
    let server = Server::new(&[(
        "ci.yml",
        "on: [push, pull_request]\njobs:\n  one: { runs-on: ubuntu-latest, steps: [{ run: echo }] }\n",
    )]);
    let init = |folder: &str| {
        let mut command = server.command(&["init"]);
        command
            .current_dir(server.path().join(folder))
            .output()
            .unwrap()
    };
    let made = init("tree");
    assert!(made.status.success(), "{made:?}");
    let text = fs::read_to_string(server.path().join("tree/runner.toml")).unwrap();
    assert!(
        text.contains("pipelines/ci.yml: on push, pull_request"),
        "{text}"
    );
    let list = server
        .command(&["runs", "list"])
        .current_dir(server.path().join("tree"))
        .output()
        .unwrap();
    assert!(list.status.success(), "{list:?}");
    assert_eq!(init("tree").status.code(), Some(2));
    assert_eq!(
        fs::read_to_string(server.path().join("tree/runner.toml")).unwrap(),
        text
    );
    assert_eq!(init(".").status.code(), Some(2));
}

#[test]
fn a_wrong_configuration_is_told_with_its_place() {
    let server = Server::new(&[]);
    let told = |more: &str| {
        drop(server.command(&[]));
        let path = server.path().join("wrong.toml");
        fs::write(&path, more).unwrap();
        let output = server.run(&["runs", "list", "--config", "wrong.toml"]);
        assert_eq!(output.status.code(), Some(3), "{more}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let repository = "[[repository]]\nname = \"acme/demo\"\nurl = \"/nowhere\"\n";
    for (text, expected) in [
        (
            "slots = 2\nslot = 3\n",
            "wrong.toml:2: unknown field `slot`",
        ),
        ("slots = \"two\"\n", "wrong.toml:1:"),
        (
            "[[repository]]\nname = \"demo\"\nurl = \"x\"\n",
            "`owner/name`, not `demo`",
        ),
        (
            &format!("{repository}poll = \"often\"\n"),
            "write `30s` or `5m`",
        ),
        (
            &format!("{repository}{repository}"),
            "acme/demo is there twice",
        ),
    ] {
        let said = told(text);
        assert!(said.contains(expected), "{said}");
    }
}
