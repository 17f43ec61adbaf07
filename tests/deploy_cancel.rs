//! Ctrl-C in every phase of a deploy, twice during its undo, and the cancelled job of a workflow.

use nix::sys::signal::Signal;
use runner::release::Phase;

use crate::support::{
    process::wait_until,
    project::{MIGRATES, X_RUNNER, deploy_yml},
    scene::{ONE, Scene, TWO},
    stub::StubProject,
};

#[test]
fn ctrl_c_in_any_phase_puts_everything_back_and_after_the_commit_is_too_late() {
    let mut scene = Scene::deployed(&[ONE, TWO], MIGRATES);
    // Long enough that a signal of an earlier phase is seen before the commit.
    let patient = format!("{MIGRATES}  bake: 15s\n");
    let quick = scene.project.read("config/deploy.yml");
    let (mut runs, mut next) = ("v1", "v2");
    for phase in Phase::ALL {
        let slow = phase < Phase::Committed;
        let text = deploy_yml(&[ONE, TWO], &patient);
        scene.project.write(if slow { &text } else { &quick });
        let fault = format!("interrupt:{phase}");
        let ended = scene
            .project
            .run_with(&[("RUNNER_FAULT", &fault)], &["deploy", "--version", next]);
        // No database of these servers is backed up, so no operation leads to that phase.
        let happened = ended.text.contains("interrupted at point");
        assert_eq!(
            happened,
            phase != Phase::BackedUp,
            "{phase}: {}",
            ended.text
        );
        if slow && happened {
            assert_eq!(ended.code, 11, "{phase}: {}", ended.text);
            scene.unchanged(&ended);
        } else {
            assert_eq!(ended.code, 0, "{phase}: {}", ended.text);
            scene.completed(next, &ended);
            (runs, next) = (next, runs);
        }
    }
    scene.quiet();
}

#[test]
fn a_second_ctrl_c_leaves_an_undo_that_can_only_be_completed() {
    let mut scene = Scene::usual(&[ONE]);
    scene.version("stubborn", &["ON_TERM=ignore"]);
    let patient = deploy_yml(&[ONE], &format!("{X_RUNNER}  bake: 90s\n"));
    scene.project.write(&patient);
    let running = scene
        .project
        .start_until(&["deploy", "--version", "stubborn"], "switched");
    running.signal(Signal::SIGINT);
    // The new container does not heed SIGTERM, so its end takes all of `drain_timeout`.
    wait_until(60, "the undo is recorded", || {
        let journal = scene.sandbox.on(ONE, "cat .kamal/runner/stub/journal.json");
        journal.contains("\"failure\"")
    });
    running.signal(Signal::SIGINT);
    running.wait().expect(21).says("runner deploy --undo");
    let lock = scene.sandbox.on(ONE, "ls -d .kamal/lock-stub");
    assert_eq!(lock.trim(), ".kamal/lock-stub");
    scene
        .run(&["lock", "status"])
        .expect(0)
        .says("is open at phase");
    scene
        .run(&["deploy", "--resume"])
        .expect(21)
        .says("it is being undone, so it cannot be carried on");
    let undone = scene
        .run(&["deploy", "--undo"])
        .expect(0)
        .says("was left open");
    scene.unchanged(&undone);
    scene
        .run(&["deploy", "--undo"])
        .expect(0)
        .says("no transaction is open: there is nothing to undo");
    scene.quiet();
}

#[test]
fn a_job_that_is_cancelled_between_two_steps_puts_its_deploy_back() {
    let mut scene = Scene::usual(&[ONE]);
    scene.project.commit();
    let opened =
        "- uses: runner/ssh-deploy@v1\n  with: { version: v2 }\n- uses: runner/health-check@v1\n";
    let waits = "- run: echo in\"between\"; sleep 300\n";
    let promoted = "- uses: runner/promote@v1\n";
    for steps in [
        format!("{opened}{waits}{promoted}"),
        format!("{opened}{promoted}{waits}"),
    ] {
        let mut command = scene.project.workflow(&steps);
        let running = StubProject::started_until(&mut command, "inbetween");
        running.signal(Signal::SIGINT);
        let cancelled = running.wait().expect(11).says("the job was cancelled");
        scene.unchanged(&cancelled);
    }
    scene.quiet();
}
