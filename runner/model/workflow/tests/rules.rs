//! One table per subject: what is refused, where, by which rule.

use super::{job, problems, step};
use crate::diagnostic::Severity;
use crate::workflow::{parse, parse_action};

/// Checks that each source has exactly these problems; an empty text means none.
fn check(severity: Severity, rows: &[(&str, &str)]) {
    for (source, expected) in rows {
        assert_eq!(problems(source, severity).join(", "), *expected, "{source}");
    }
}

fn errors(rows: &[(String, &str)]) {
    let rows: Vec<(&str, &str)> = rows
        .iter()
        .map(|(source, expected)| (source.as_str(), *expected))
        .collect();
    check(Severity::Error, &rows);
}

#[test]
fn a_file_needs_events_and_jobs() {
    check(
        Severity::Error,
        &[
            ("", "1:1 empty-file"),
            ("[]\n", "1:1 wrong-kind"),
            ("on: push\n", "1:1 missing-key"),
            ("jobs:\n  a: {runs-on: x}\n", "1:1 missing-key"),
            ("on: push\njobs: {}\n", "2:7 no-first-job"),
            ("on: push\njobs:\n  a: {runs-on: x}\n", ""),
            (
                "on: push\njob: 1\njobs:\n  a: {runs-on: x, setps: []}\n",
                "2:1 unknown-key, 4:19 unknown-key",
            ),
        ],
    );
}

#[test]
fn a_near_word_is_proposed() {
    for (source, hint) in [
        (
            "on: push\njobs:\n  a: {runs-on: x, step: []}\n",
            "did you mean `steps`?",
        ),
        (
            "on: pusch\njobs:\n  a: {runs-on: x}\n",
            "did you mean `push`?",
        ),
        (
            "on: push\npermissions: {contents: raed}\njobs:\n  a: {runs-on: x}\n",
            "did you mean `read`?",
        ),
        (
            "on: push\nenv: {A: '${{ githb.sha }}'}\njobs:\n  a: {runs-on: x}\n",
            "did you mean `github`?",
        ),
        (
            "on: push\njobs:\n  build: {runs-on: x}\n  b: {runs-on: x, needs: biuld}\n",
            "did you mean `build`?",
        ),
    ] {
        let found = parse(source).1;
        assert_eq!(found[0].hint.as_deref(), Some(hint), "{source}");
    }
}

#[test]
fn events_have_their_own_keys_and_types() {
    let on = |on: &str| format!("on:\n  {on}\njobs:\n  a: {{runs-on: x}}\n");
    errors(&[
        (on("push:"), ""),
        (on("push: {branch: main}"), "2:10 unknown-key"),
        (on("push: {branches: [main], tags: v1}"), ""),
        (on("push: {branches: ['']}"), "2:21 empty-value"),
        (on("push: [main]"), "2:9 wrong-kind"),
        (on("create: {tags: [x]}"), "2:12 wrong-kind"),
        (on("issues: {types: [opened, closd]}"), "2:28 unknown-type"),
        (on("repository_dispatch: {types: [anything]}"), ""),
        (on("schedule: [{cron: '0 0 * * *'}]"), ""),
        (on("schedule: [{cron: '0 0 * *'}]"), "2:21 cron-syntax"),
        (on("schedule: [{}]"), "2:14 missing-key"),
        (
            on("schedule: [{cron: '0 0 * * *', timezone: 'no zone'}]"),
            "2:44 timezone",
        ),
        (
            "on: [push, pul]\njobs:\n  a: {runs-on: x}\n".to_owned(),
            "1:12 unknown-event",
        ),
        (
            "on: 1\njobs:\n  a: {runs-on: x}\n".to_owned(),
            "1:5 wrong-kind",
        ),
    ]);
}

#[test]
fn inputs_fit_their_types() {
    let dispatch = |input: &str| {
        format!(
            "on:\n  workflow_dispatch:\n    inputs:\n      i: {input}\njobs:\n  a: {{runs-on: x}}\n"
        )
    };
    let call =
        |part: &str| format!("on:\n  workflow_call:\n    {part}\njobs:\n  a: {{runs-on: x}}\n");
    errors(&[
        (dispatch(""), ""),
        (dispatch("{type: boolean, default: true}"), ""),
        (
            dispatch("{type: boolean, default: 'true'}"),
            "4:35 input-default",
        ),
        (dispatch("{type: choice}"), "4:10 input-options"),
        (dispatch("{type: choice, options: [a, b], default: a}"), ""),
        (
            dispatch("{type: string, options: [a]}"),
            "4:34 input-options",
        ),
        (dispatch("{type: text}"), "4:17 wrong-value"),
        (dispatch("{required: yes}"), "4:21 wrong-value"),
        (call("inputs: {i: {type: string}}"), ""),
        (call("inputs: {i: {}}"), "3:17 missing-key"),
        (call("inputs: {i: {type: choice}}"), "3:24 wrong-value"),
        (
            call("inputs: {i: {type: string, default: '${{ github.sha }}'}}"),
            "",
        ),
        (
            call("inputs: {i: {type: string, default: '${{ env.A }}'}}"),
            "3:46 unknown-context",
        ),
        (call("secrets: {s: , t: {required: true}}"), ""),
        (call("outputs: {o: {description: d}}"), "3:19 missing-key"),
        (call("outputs: {o: {value: '${{ jobs.a.outputs.x }}'}}"), ""),
    ]);
}

#[test]
fn a_job_has_steps_or_calls_a_workflow() {
    errors(&[
        (job("name: n"), "4:5 missing-key"),
        (job("steps: []"), "4:5 missing-key"),
        (job("uses: a/b/.github/workflows/c.yml@v1"), ""),
        (
            job("uses: a/b/.github/workflows/c.yml@v1\nruns-on: x"),
            "5:5 conflicting-key",
        ),
        (job("runs-on: x\nwith: {a: b}"), "5:5 conflicting-key"),
        (job("runs-on: ''"), "4:14 empty-value"),
        (job("runs-on: [a, '${{ matrix.b }}']"), ""),
        (job("runs-on: {group: g, labels: [a]}"), ""),
        (job("runs-on: {group: x/g}"), "4:22 runner-group"),
        (job("runs-on: x\ntimeout-minutes: soon"), "5:22 wrong-value"),
        (job("runs-on: x\ntimeout-minutes: '${{ matrix.t }}'"), ""),
        (
            job("runs-on: x\ncontinue-on-error: 'true'"),
            "5:24 wrong-value",
        ),
        (job("runs-on: x\nenvironment: {url: u}"), "5:19 missing-key"),
        (
            job("runs-on: x\nconcurrency: {cancel-in-progress: true}"),
            "5:19 missing-key",
        ),
        (
            job("runs-on: x\nconcurrency: {group: g, queue: all}"),
            "5:36 wrong-value",
        ),
        (job("runs-on: x\npermissions: read"), "5:18 wrong-value"),
        (
            job("runs-on: x\npermissions: {id-token: read}"),
            "5:29 wrong-value",
        ),
        (
            job("runs-on: x\ncontainer: {image: i, entrypoint: e}"),
            "5:27 unknown-key",
        ),
        (
            job("runs-on: x\nservices: {s: {image: i, entrypoint: e}}"),
            "",
        ),
        (
            job("runs-on: x\nservices: {s: 'docker://'}"),
            "5:19 container-image",
        ),
    ]);
}

#[test]
fn the_matrix_has_lists_of_values() {
    let matrix = |matrix: &str| job(&format!("runs-on: x\nstrategy: {{matrix: {matrix}}}"));
    errors(&[
        (matrix("{os: [a, b], include: [{os: c, extra: 1}]}"), ""),
        (matrix("'${{ fromJSON(needs.a.outputs.m) }}'"), ""),
        (matrix("{os: '${{ fromJSON(inputs.os) }}'}"), ""),
        (matrix("{os: linux}"), "5:29 wrong-value"),
        (matrix("{os: []}"), "5:29 matrix-vector"),
        (matrix("{include: {a: 1}}"), "5:35 wrong-kind"),
        (matrix("{include: [1]}"), "5:35 wrong-value"),
        (matrix("[a]"), "5:24 wrong-kind"),
        (matrix("{os: ['${{ matrix.x }}']}"), "5:35 unknown-context"),
    ]);
}

#[test]
fn ids_are_well_formed_and_differ_in_more_than_case() {
    let id = |id: &str| format!("on: push\njobs:\n  {id}: {{runs-on: x}}\n");
    let long = "a".repeat(100);
    errors(&[
        (id("_a-1"), ""),
        (id("1a"), "3:3 job-id"),
        (id("a.b"), "3:3 job-id"),
        (id("__a"), "3:3 job-id"),
        (id("''"), "3:3 empty-key, 3:3 no-first-job"),
        (id(&long), "3:3 job-id"),
        (
            job("runs-on: x\nsteps:\n- {id: s, run: a}\n- {id: S, run: a}"),
            "7:12 step-id",
        ),
        (step("id: a b\nrun: x"), "6:11 step-id"),
    ]);
}

#[test]
fn needs_name_jobs_and_never_each_other() {
    let jobs = |needs: &[(&str, &str)]| {
        let lines: Vec<String> = needs
            .iter()
            .map(|(id, needs)| format!("  {id}: {{runs-on: x, needs: [{needs}]}}\n"))
            .collect();
        format!("on: push\njobs:\n{}", lines.concat())
    };
    errors(&[
        (jobs(&[("a", ""), ("b", "A")]), ""),
        (jobs(&[("a", ""), ("b", "c")]), "4:27 needs-unknown"),
        (jobs(&[("a", "b"), ("b", "a")]), "3:3 no-first-job"),
        (
            jobs(&[("a", ""), ("b", "a, c"), ("c", "b")]),
            "4:30 needs-cycle, 5:27 needs-cycle",
        ),
        (jobs(&[("a", ""), ("b", "b")]), "4:27 needs-cycle"),
        (
            jobs(&[("a", ""), ("b", "c"), ("c", "b"), ("d", "c")]),
            "4:27 needs-cycle, 5:27 needs-cycle",
        ),
    ]);
}

#[test]
fn a_step_does_one_thing() {
    errors(&[
        (step("run: a\nuses: b/c@d"), "7:7 conflicting-key"),
        (step("uses: b/c@d\nshell: bash"), "7:7 conflicting-key"),
        (step("name: n"), "6:7 missing-key"),
        (step("with: {a: b}"), "6:7 missing-key"),
        (step("run: a\nShell: bash"), "7:7 unknown-key"),
        (step("run: [a]"), "6:12 wrong-kind"),
        (step("uses: b/c@d\nwith: {a: [1]}"), "7:17 wrong-kind"),
        (step("uses: b/c"), "6:13 uses-format"),
        (step("uses: b@c"), "6:13 uses-format"),
        (step("uses: ./b"), ""),
        (step("uses: $/b"), ""),
        (step("uses: docker://b:c"), ""),
        (step("uses: b/c/d/e@f"), ""),
        (step("run: a\nenv: '${{ matrix.env }}'"), ""),
        (step("run: a\ntimeout-minutes: true"), "7:24 wrong-value"),
    ]);
}

#[test]
fn background_steps_are_waited_for_by_their_ids() {
    let steps = |lines: &str| job(&format!("runs-on: x\nsteps:\n{lines}"));
    let first = "- {id: s, run: a, background: true}\n";
    errors(&[
        (
            steps(&format!("{first}- wait: s\n- wait-all:\n- cancel: s")),
            "",
        ),
        (steps(&format!("{first}- wait: [s, t]")), "7:17 step-target"),
        (steps("- {id: s, cancel: s}"), "6:23 step-target"),
        (steps("- wait-all: false"), "6:17 wait-all"),
        (steps("- wait: __run"), "6:13 step-target"),
        (steps("- parallel:\n  - run: a\n  - uses: b/c@d"), ""),
        (
            steps("- parallel:\n  - parallel:\n    - run: a"),
            "7:9 parallel-step",
        ),
        (
            steps("- parallel:\n  - {run: a, background: true}"),
            "7:18 parallel-step",
        ),
        (
            steps("- {wait: s, if: always()}"),
            "6:14 step-target, 6:17 conflicting-key",
        ),
    ]);
}

#[test]
fn each_place_offers_its_own_contexts_and_functions() {
    let name = |name: &str| step(&format!("name: '{name}'\nrun: a"));
    errors(&[
        (name("${{ steps.x.outputs.y }}"), ""),
        (name("${{ hashFiles(''*'') }}"), ""),
        (name("${{ success() }}"), "6:18 unknown-function"),
        (name("${{ jobs.a }}"), "6:18 unknown-context"),
        (name("${{ nothing(1) }}"), "6:18 unknown-function"),
        (name("${{ contains(1) }}"), "6:18 expression-syntax"),
        (name("${{ 1 + }}"), "6:20 expression-syntax"),
        (name("${{ github.sha"), "6:14 expression-unclosed"),
        (name("${{ }}"), "6:14 expression-syntax"),
        (
            name("${{ a }} and ${{ b }}"),
            "6:18 unknown-context, 6:31 unknown-context",
        ),
        (
            step("id: '${{ github.sha }}'\nrun: a"),
            "6:12 expression-place",
        ),
        (step("if: secrets.a\nrun: a"), "6:11 unknown-context"),
        (step("if: always()\nrun: a"), ""),
        (step("if: success('a')\nrun: a"), "6:11 expression-syntax"),
        (job("runs-on: x\nif: success('b')"), ""),
        (job("runs-on: x\nif: matrix.a"), "5:9 unknown-context"),
        (
            job("runs-on: x\nname: '${{ env.A }}'"),
            "5:16 unknown-context",
        ),
        (
            "on: push\nrun-name: '${{ needs.a }}'\njobs:\n  a: {runs-on: x}\n".to_owned(),
            "2:16 unknown-context",
        ),
    ]);
}

#[test]
fn expressions_in_long_texts_are_found_at_their_place() {
    errors(&[
        (
            step("run: |\n  one\n  two ${{ bad }}"),
            "8:17 unknown-context",
        ),
        (
            step("run: >\n  one\n  two ${{ bad }}"),
            "8:17 unknown-context",
        ),
        (step("run: \"a\\tb ${{ bad }}\""), "6:22 unknown-context"),
    ]);
}

#[test]
fn insert_is_a_key_of_its_own() {
    errors(&[
        (
            step("run: a\nenv: {'${{ insert }}': '${{ fromJSON(vars.a) }}'}"),
            "",
        ),
        (
            step("run: a\nenv: {'${{ insert }} b': c}"),
            "7:14 insert-place",
        ),
        (step("run: '${{ insert }}'"), "6:12 insert-place"),
        (
            "on: push\njobs:\n  '${{ insert }}': {}\n".to_owned(),
            "3:3 no-first-job, 3:4 expression-place",
        ),
    ]);
}

#[test]
fn what_surprises_is_a_warning() {
    let on = |on: &str| format!("on:\n  {on}\njobs:\n  a: {{runs-on: x}}\n");
    let rows = [
        (
            step("if: ${{ github.ref }} == 'x'\nrun: a"),
            "6:11 if-always-true",
        ),
        (
            step("run: a\ntimeout-minutes: 0.5"),
            "7:24 timeout-fraction",
        ),
        (step("run: a\nshell: bsh"), "7:14 unknown-shell"),
        (step("run: a\nshell: perl {0}"), ""),
        (
            on("push: {branches: [a], branches-ignore: [b]}"),
            "2:25 conflicting-filters",
        ),
        (on("push: {paths: ['!docs/**']}"), "2:18 pattern"),
        (on("schedule: [{cron: '* * * * *'}]"), "2:21 cron-too-often"),
        (
            on("schedule: [{cron: '0 0 * * *', timezone: Europe/Nowhere}]"),
            "2:44 timezone-unknown",
        ),
        (job("uses: ./workflows/a.yml"), "4:11 uses-format"),
        (
            job("runs-on: x\nstrategy: {matrix: {a: [1], exclude: [{b: 1}]}}"),
            "5:44 matrix-exclude",
        ),
    ];
    let rows: Vec<(&str, &str)> = rows.iter().map(|(s, e)| (s.as_str(), *e)).collect();
    check(Severity::Warning, &rows);
}

#[test]
fn names_that_nothing_has_are_warned_of() {
    let two = |needs: &str, step: &str| {
        format!(
            "on: {{workflow_dispatch: {{inputs: {{i: {{}}}}}}}}\njobs:\n  a: {{runs-on: x}}\n  b:\n    runs-on: x\n    \
             needs: [{needs}]\n    strategy: {{matrix: {{m: [1], include: [{{n: 2}}]}}}}\n    steps:\n    - {{id: s, run: a}}\n    - run: {step}\n"
        )
    };
    let rows = [
        (two("a", "${{ needs.a.result }}"), ""),
        (two("", "${{ needs.a.result }}"), "10:16 unknown-need"),
        (
            two("", "${{ steps.s.outputs.o }} ${{ steps['S'].outcome }}"),
            "",
        ),
        (two("", "x ${{ steps.t.outputs.o }}"), "10:18 unknown-step"),
        (two("", "${{ matrix.m }} ${{ matrix.n }}"), ""),
        (two("", "${{ matrix.o }}"), "10:16 unknown-matrix-key"),
        (
            two("", "${{ inputs.i }} ${{ inputs.j }}"),
            "10:32 unknown-input",
        ),
        (
            two("", "${{ github.event.issue.title }}"),
            "10:16 script-injection",
        ),
        (
            two("", "${{ github.event.commits[0].message }}"),
            "10:16 script-injection",
        ),
        (
            job("runs-on: x\nsteps:\n- run: ${{ steps.s.outcome }}\n- {id: s, run: a}"),
            "6:16 unknown-step",
        ),
        (
            "on: push\nconcurrency: g\njobs:\n  a: {runs-on: x, concurrency: g}\n".to_owned(),
            "4:32 concurrency-deadlock",
        ),
        (
            job("runs-on: x\nconcurrency: {group: g, queue: max, cancel-in-progress: true}"),
            "5:29 concurrency-queue",
        ),
    ];
    let rows: Vec<(&str, &str)> = rows.iter().map(|(s, e)| (s.as_str(), *e)).collect();
    check(Severity::Warning, &rows);
}

#[test]
fn files_that_are_too_long_or_too_deep_are_refused() {
    let long = format!("# {}\non: push\n", "x".repeat(1024 * 1024));
    assert_eq!(problems(&long, Severity::Error), ["1:1 file-size"]);
    let deep = format!(
        "on: push\njobs:\n  a:\n    runs-on: x\n    strategy: {{matrix: {{a: {}{}}}}}\n",
        "[".repeat(60),
        "]".repeat(60)
    );
    assert_eq!(parse(&deep).1[0].code, "too-deep");
}

#[test]
fn an_action_says_how_it_runs() {
    let action = |runs: &str| format!("name: n\ndescription: d\nruns: {runs}\n");
    for (source, expected) in [
        (action("{using: node20, main: a.js, post: b.js}"), ""),
        (action("{using: Node20, main: a.js}"), ""),
        (action("{using: node20}"), "missing-key"),
        (
            action("{using: node20, main: a.js, env: {a: b}}"),
            "unknown-key",
        ),
        (
            action("{using: docker, image: Dockerfile, args: ['${{ inputs.a }}']}"),
            "",
        ),
        (action("{using: docker}"), "missing-key"),
        (
            action("{using: composite, steps: [{run: a, shell: bash}]}"),
            "",
        ),
        (
            action("{using: composite, steps: [{run: a}]}"),
            "missing-key",
        ),
        (
            action("{using: composite, steps: [{run: '${{ secrets.a }}', shell: bash}]}"),
            "unknown-context",
        ),
        (action("{using: node14, main: a.js}"), "unknown-using"),
        (action("{main: a.js}"), "missing-key"),
        (action("{using: runner}"), ""),
        ("name: n\ndescription: d\n".to_owned(), "missing-key"),
    ] {
        let found = parse_action(&source).1;
        let codes: Vec<&str> = found.iter().map(|problem| problem.code).collect();
        assert_eq!(codes.join(", "), expected, "{source}");
    }
}

#[test]
fn an_error_behind_a_thousand_warnings_still_counts() {
    let steps: String = "- {run: a, shell: bsh}\n".repeat(1200);
    let source = job(&format!("runs-on: x\nsteps:\n{steps}- {{run: a, uses: b}}"));
    assert_eq!(problems(&source, Severity::Warning).len(), 1000);
    assert_eq!(
        problems(&source, Severity::Error),
        ["1206:16 conflicting-key"]
    );
}
