//! Traces of runs: what a collector of OpenTelemetry is told, and that it harms no run.

use crate::support::collector::{Collector, Span, assert_tree};
use crate::support::http::request;
use crate::support::process::Test;
use crate::support::server::Server;

const SECRET: &str = "a-secret-that-is-nowhere";

const CI: &str = "name: CI
on: push
jobs:
  build:
    runs-on: ubuntu-latest
    outputs: { tag: '${{ steps.make.outputs.tag }}' }
    steps:
      - { uses: actions/checkout@v4 }
      - { id: make, name: 'make ${{ secrets.TOKEN }}', run: 'echo tag=v1 >> \"$GITHUB_OUTPUT\"' }
      - { name: may fail, run: exit 3, continue-on-error: true }
      - { name: never, if: 'false', run: echo }
  ship:
    needs: build
    runs-on: ubuntu-latest
    environment: production
    steps: [{ uses: actions/checkout@v4 }, { name: really ship, run: 'test ! -e red' }, { name: after, if: 'false', run: echo }]
  skipped:
    if: github.ref == 'refs/heads/other'
    runs-on: ubuntu-latest
    steps: [{ run: echo }]
";

/// A server whose collector knows it by a header from a file.
fn traced(collector: &Collector, workflow: &str) -> Server {
    let server = Server::new(&[("ci.yml", workflow)])
        .configure(&format!(
            "[repository.secrets]\nTOKEN = {{ env = \"TRACES_TEST_SECRET\" }}\n\
             [telemetry]\nendpoint = \"{}/\"\nservice-name = \"builds\"\nheaders = {{ x-key = {{ file = \"key\" }} }}\n",
            collector.url()
        ))
        .configure_server("public-url = \"https://ci.example.com/\"\n");
    server.write("key", "open-sesame\n");
    server
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let first = found.next();
    let first = first.unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
    assert!(found.next().is_none(), "{name} is there twice");
    first
}

fn figure(server: &Server, outcome: &str) -> u64 {
    let text = request(&server.address(), "GET", "/metrics", &[], b"").text;
    let begin = format!("runner_trace_spans_total{{outcome=\"{outcome}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&begin));
    line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

#[test]
fn a_run_of_a_server_is_a_trace_of_its_jobs_and_their_steps() {
    let collector = Collector::start();
    let mut server = traced(&collector, CI);
    server.start_with(&[("TRACES_TEST_SECRET", SECRET)]);
    let sha = server.push("good");
    server.ended("1");
    let spans = whole(&server, &collector, "1");
    assert_tree(&spans);
    let root = named(&spans, "RUN CI");
    assert_eq!((root.kind, root.error.as_ref()), (2, None));
    for (name, value) in [
        ("cicd.pipeline.result", "success"),
        ("cicd.pipeline.action.name", "RUN"),
        ("cicd.pipeline.name", "CI"),
        (
            "cicd.pipeline.run.url.full",
            "https://ci.example.com/runs/1",
        ),
        ("service.name", "builds"),
        ("vcs.ref.head.name", "main"),
        ("vcs.ref.head.type", "branch"),
        ("vcs.ref.head.revision", &sha),
        ("vcs.repository.name", "demo"),
        ("runner.event", "push"),
    ] {
        assert_eq!(root.text(name), value, "{name}");
    }
    let (build, ship) = (named(&spans, "build"), named(&spans, "ship"));
    assert!(build.end <= ship.start, "one needs the other");
    for job in [build, ship] {
        assert_eq!(job.parent.as_ref(), Some(&root.id));
        assert_eq!(job.text("cicd.pipeline.task.run.result"), "success");
    }
    assert_eq!(ship.text("cicd.pipeline.task.type"), "deploy");
    assert_eq!(ship.text("deployment.environment.name"), "production");
    assert_eq!(
        build.text("cicd.pipeline.task.run.url.full"),
        "https://ci.example.com/api/v1/runs/1/jobs/0/log.txt?attempt=1"
    );
    for (step, job, result) in [
        ("make ***", build, "success"),
        ("may fail", build, "failure"),
        ("never", build, "skip"),
        ("after", ship, "skip"),
    ] {
        let step = named(&spans, step);
        assert_eq!(step.parent.as_ref(), Some(&job.id), "{step:?}");
        assert_eq!(step.text("cicd.pipeline.task.run.result"), result);
        assert_eq!(step.error.is_some(), result == "failure", "{step:?}");
    }
    assert!(spans.iter().all(|span| span.name != "skipped"));

    a_failed_run_and_its_second_attempt(&server, &collector);
    server.wait_for("the figures", || {
        let told = u64::try_from(collector.spans().len()).unwrap();
        (figure(&server, "sent") == told).then_some(())
    });
    assert_eq!(figure(&server, "dropped"), 0);
    server.stop();
    assert!(
        collector
            .headers("x-key")
            .iter()
            .all(|key| key == "open-sesame")
    );
    assert!(!collector.headers("x-key").is_empty());
    assert!(!collector.text().contains(SECRET));
}

/// Waits until all of a run of `CI` is told: itself, two jobs that ran, and their steps.
fn whole(server: &Server, collector: &Collector, run: &str) -> Vec<Span> {
    server.wait_for("the whole trace", || {
        collector.run(run).filter(|spans| spans.len() >= 10)
    })
}

fn a_failed_run_and_its_second_attempt(server: &Server, collector: &Collector) {
    server.write("tree/red", "");
    server.push("bad");
    assert_eq!(server.ended("2")["conclusion"], "failure");
    let bad = whole(server, collector, "2");
    assert_tree(&bad);
    let root = named(&bad, "RUN CI");
    assert_eq!(root.text("cicd.pipeline.result"), "failure");
    assert_eq!(root.text("error.type"), "failure");
    assert_eq!(root.error.as_deref(), Some("Failed: ship"));
    // What is run again is another trace of the same run, of what ran again.
    server.ask(&["runs", "rerun", "2", "--failed"]);
    let again = server.wait_for("the trace of the second attempt", || {
        let mut spans = collector.run("2")?;
        spans.retain(|span| span.trace != bad[0].trace);
        let has_root = spans.iter().any(|span| span.parent.is_none());
        (has_root && spans.len() >= 5).then_some(spans)
    });
    assert_tree(&again);
    assert!(again.iter().all(|span| span.name != "build"), "{again:#?}");
}

const SHORT: &str = "on: push\njobs:\n  test: { runs-on: ubuntu-latest, steps: [{ run: echo }] }\n";

#[test]
fn a_collector_that_refuses_or_is_away_harms_no_run_and_is_counted() {
    let collector = Collector::start();
    let mut server = traced(&collector, SHORT);
    server.start_with(&[("TRACES_TEST_SECRET", SECRET)]);
    collector.refuse(Some(400));
    server.push("refused");
    assert_eq!(server.ended("1")["conclusion"], "success");
    server.wait_for("what is lost to be counted", || {
        (figure(&server, "dropped") >= 3).then_some(())
    });
    assert_eq!(figure(&server, "sent"), 0);
    // What can be tried again is, and arrives once.
    collector.refuse(Some(503));
    server.push("later");
    assert_eq!(server.ended("2")["conclusion"], "success");
    let before = collector.refused();
    server.wait_for("one more try", || {
        (collector.refused() > before).then_some(())
    });
    collector.refuse(None);
    let spans = server.wait_for("the trace", || {
        collector.run("2").filter(|spans| spans.len() >= 3)
    });
    assert_tree(&spans);
    collector.refuse(Some(503));
    server.push("not before the end");
    assert_eq!(server.ended("3")["conclusion"], "success");
    // A server that stops has its last try, and does not wait for long.
    let log = server.stop();
    assert!(
        log.contains("the collector of traces has not taken"),
        "{log}"
    );
    assert!(collector.run("3").is_none());
}

#[test]
fn a_run_by_hand_tells_who_the_variables_name_where_that_is_asked_for() {
    let collector = Collector::start();
    let text = "name: By hand\non: push\njobs:\n  one: { runs-on: ubuntu-latest, steps: [{ name: first, run: echo }] }\n  two: { runs-on: ubuntu-latest, steps: [{ name: second, run: exit 1 }] }\n  three: { needs: two, runs-on: ubuntu-latest, steps: [{ run: echo }] }\n";
    let test = Test::new().workflow(text).commit();
    let run = |more: &[&str], env: &[(&str, &str)]| {
        let mut command = test.command();
        command.args(["run", "w.yml"]).args(more);
        command.envs(env.iter().copied()).output().unwrap()
    };
    let url = collector.url();
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b"),
    ];
    assert_eq!(run(&[], &env).status.code(), Some(10));
    assert!(collector.spans().is_empty(), "nobody asked for it");
    let output = run(&["--report", "otlp"], &env);
    assert_eq!(output.status.code(), Some(10), "{output:?}");
    let spans = collector.spans();
    assert_tree(&spans);
    let mut names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["RUN By hand", "first", "one", "second", "two"]);
    let step = named(&spans, "second");
    assert_eq!(step.parent, Some(named(&spans, "two").id.clone()));
    assert_eq!(
        named(&spans, "RUN By hand").text("cicd.pipeline.result"),
        "failure"
    );
    assert_eq!(collector.headers("x-key"), ["a b"]);

    let without = run(&["--report", "otlp"], &[]);
    let said = String::from_utf8_lossy(&without.stderr).into_owned();
    assert_eq!(without.status.code(), Some(2), "{said}");
    assert!(said.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{said}");
    // One that is away changes nothing but a word.
    let away = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")];
    let output = run(&["--report", "otlp"], &away);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(10), "{said}");
    assert!(said.contains("has not taken 5 spans"), "{said}");
}
