//! `runner run` as a process: what a workflow means.

use crate::support::process::{Answer, Test};

/// Runs a workflow of one job with these steps.
fn steps(steps: &str) -> Answer {
    job("", steps)
}

fn job(keys: &str, steps: &str) -> Answer {
    let workflow =
        format!("on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n{keys}    steps:\n{steps}");
    run(&workflow, &[])
}

fn run(workflow: &str, more: &[&str]) -> Answer {
    let arguments: Vec<&str> = ["run", "w.yml", "--format", "json"]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    Test::new().workflow(workflow).args(&arguments).run()
}

fn conclusions(answer: &Answer) -> Vec<(String, String)> {
    let jobs = answer.result()["jobs"].as_array().unwrap().clone();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    jobs.iter()
        .map(|job| (text(&job["name"]), text(&job["conclusion"])))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(name, conclusion)| ((*name).to_owned(), (*conclusion).to_owned()))
        .collect()
}

#[test]
fn steps_after_a_failure_run_only_if_they_say_so() {
    let answer = steps(
        "      - run: exit 3\n      - run: echo never\n      - if: failure()\n        run: echo failed\n      - if: always()\n        run: echo always\n",
    );
    answer.code(10);
    let log = answer.log();
    assert!(
        log.contains(&"failed".to_owned()) && log.contains(&"always".to_owned()),
        "{log:?}"
    );
    assert!(!log.contains(&"never".to_owned()), "{log:?}");
}

#[test]
fn a_forgiven_step_has_failed_but_counts_as_success() {
    let answer = steps(
        "      - id: s\n        run: exit 1\n        continue-on-error: true\n      - run: echo ${{ steps.s.outcome }} ${{ steps.s.conclusion }}\n",
    );
    answer.code(0).says("failure success");
}

#[test]
fn without_a_shell_there_is_no_pipefail_and_with_bash_there_is() {
    steps("      - run: false | true\n").code(0);
    steps("      - shell: bash\n        run: false | true\n").code(10);
    steps("      - shell: bash {0}\n        run: |\n          false\n          echo on\n")
        .code(0)
        .says("on");
}

#[test]
fn command_files_reach_the_steps_that_follow() {
    let answer = steps(
        "      - id: s\n        run: |\n          echo \"word=one two\" >> \"$GITHUB_OUTPUT\"\n          printf 'LINES<<E\\na\\nb\\nE\\n' >> \"$GITHUB_ENV\"\n          mkdir -p bin; printf '#!/bin/sh\\necho mine\\n' > bin/own; chmod +x bin/own; echo \"$PWD/bin\" >> \"$GITHUB_PATH\"\n          echo '# Done' >> \"$GITHUB_STEP_SUMMARY\"\n      - run: |\n          echo \"${{ steps.s.outputs.word }}\"\n          echo \"$LINES\" | wc -l\n          own\n",
    );
    answer.code(0).says("one two").says("mine").says("\"2\"");
    assert_eq!(answer.result()["summary"], "# Done\n");
}

#[test]
fn what_a_failed_step_wrote_to_its_files_counts_all_the_same() {
    steps("      - run: |\n          echo \"A=1\" >> \"$GITHUB_ENV\"\n          exit 1\n      - if: always()\n        run: echo \"A is $A\"\n")
        .code(10)
        .says("A is 1");
}

#[test]
fn what_a_step_wrote_to_its_files_is_no_other_step_s_whatever_became_of_the_file() {
    let steps_text = "      - id: one\n        run: echo \"a=1\" >> \"$GITHUB_OUTPUT\"\n      - id: two\n        run: |\n          \
                      echo keep=1 > \"$RUNNER_TEMP/mine\"\n          ln -sf \"$RUNNER_TEMP/mine\" \"$GITHUB_OUTPUT\"\n          \
                      rm \"$GITHUB_ENV\"\n      - id: three\n        run: |\n          echo \"b=2\" >> \"$GITHUB_OUTPUT\"\n          \
                      echo \"C=3\" >> \"$GITHUB_ENV\"\n          (sleep 60; echo late) &\n      - run: |\n          \
                      cat \"$RUNNER_TEMP/mine\"\n          test -s \"$GITHUB_ENV\" || echo \"C is $C\"\n          \
                      echo \"<${{ steps.one.outputs.a }}${{ steps.two.outputs.a }}${{ steps.three.outputs.b }}>\"\n";
    steps(steps_text)
        .code(0)
        .says("keep=1")
        .says("C is 3")
        .says("<12>");
}

#[test]
fn the_script_of_a_step_stays_as_it_is_while_anything_reads_it() {
    // Longer than what a shell reads at once.
    let filler = "          # a line that says nothing and takes a shell to read it\n".repeat(400);
    let steps_text = format!(
        "      - run: echo \"first $0\"\n      - run: |\n          \
         if [ \"$CHILD\" = yes ]; then read go < \"$RUNNER_TEMP/go\"; fi\n{filler}          \
         if [ \"$CHILD\" = yes ]; then echo mine > \"$RUNNER_TEMP/part\"; mv \"$RUNNER_TEMP/part\" \"$RUNNER_TEMP/said\"; exit; fi\n          \
         echo \"second $0\"; mkfifo \"$RUNNER_TEMP/go\"\n          \
         CHILD=yes setsid bash \"$0\" > /dev/null 2>&1 < /dev/null &\n      - run: |\n          \
         echo \"third $0\"; echo > \"$RUNNER_TEMP/go\"\n          \
         for try in $(seq 3000); do [ -e \"$RUNNER_TEMP/said\" ] && break; sleep 0.02; done\n          cat \"$RUNNER_TEMP/said\"\n"
    );
    let answer = steps(&steps_text);
    answer.code(0).says("mine");
    let log = answer.log();
    let path = |word: &str| {
        let line = log.iter().find_map(|line| line.strip_prefix(word));
        line.unwrap_or_else(|| panic!("no `{word}`: {log:?}"))
            .to_owned()
    };
    assert_eq!(
        path("first "),
        path("second "),
        "a file that nobody reads is used again"
    );
    assert_ne!(path("second "), path("third "), "one that is read is not");
}

#[test]
fn later_levels_of_env_win_and_nobody_changes_github_variables() {
    let workflow = "on: push\nenv: {A: workflow, B: workflow, C: workflow}\njobs:\n  a:\n    runs-on: ubuntu-latest\n    env: {B: job, C: job}\n    steps:\n      - env: {C: step, GITHUB_REF: mine, CI: mine}\n        run: echo \"$A $B $C $CI ${GITHUB_REF:-none}\"\n";
    let answer = run(workflow, &["--env", "EXTRA=1"]);
    answer
        .code(0)
        .says("workflow job step mine")
        .never_says("mine mine");
}

#[test]
fn a_failed_need_skips_its_dependents_through_the_whole_chain() {
    let workflow = "on: push\njobs:\n  one: {runs-on: ubuntu-latest, steps: [{run: exit 1}]}\n  two: {needs: one, runs-on: ubuntu-latest, steps: [{run: echo no}]}\n  three: {needs: one, if: always(), runs-on: ubuntu-latest, steps: [{run: echo yes}]}\n  four: {needs: three, runs-on: ubuntu-latest, steps: [{run: echo no}]}\n";
    let answer = run(workflow, &[]);
    answer.code(10);
    assert_eq!(
        conclusions(&answer),
        pairs(&[
            ("one", "failure"),
            ("two", "skipped"),
            ("three", "success"),
            ("four", "skipped")
        ])
    );
    let reasons = answer.result()["jobs"].as_array().unwrap().clone();
    assert_eq!(reasons[1]["reason"], "`one`, which it needs, failed");
    assert_eq!(
        reasons[3]["reason"],
        "something that `three` needs did not succeed"
    );
}

#[test]
fn outputs_of_a_job_make_the_matrix_of_the_next() {
    let workflow = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    outputs: {list: \"${{ steps.s.outputs.list }}\"}\n    steps:\n      - id: s\n        run: echo 'list=[\"x\",\"y\"]' >> \"$GITHUB_OUTPUT\"\n  b:\n    needs: a\n    runs-on: ubuntu-latest\n    strategy: {matrix: {v: \"${{ fromJSON(needs.a.outputs.list) }}\"}}\n    steps:\n      - run: echo cell ${{ matrix.v }} ${{ strategy.job-index }}/${{ strategy.job-total }}\n";
    let answer = run(workflow, &[]);
    answer.code(0).says("cell x 0/2").says("cell y 1/2");
    assert_eq!(
        conclusions(&answer),
        pairs(&[("a", "success"), ("b (x)", "success"), ("b (y)", "success")])
    );
}

#[test]
fn a_failed_cell_cancels_the_others_unless_fail_fast_is_off() {
    let workflow = |fail_fast: &str| {
        format!(
            "on: push\njobs:\n  m:\n    runs-on: ubuntu-latest\n    strategy: {{fail-fast: {fail_fast}, max-parallel: 1, matrix: {{n: [1, 2]}}}}\n    steps:\n      - run: test ${{{{ matrix.n }}}} = 2\n"
        )
    };
    let answer = run(&workflow("true"), &[]);
    answer.code(10);
    assert_eq!(
        conclusions(&answer),
        pairs(&[("m (1)", "failure"), ("m (2)", "cancelled")])
    );
    let answer = run(&workflow("false"), &[]);
    answer.code(10);
    assert_eq!(
        conclusions(&answer),
        pairs(&[("m (1)", "failure"), ("m (2)", "success")])
    );
}

#[test]
fn a_job_that_may_fail_does_not_fail_the_run() {
    job("    continue-on-error: true\n", "      - run: exit 1\n").code(0);
}

#[test]
fn a_step_ends_at_its_time_limit_and_fails() {
    let answer = steps(
        "      - run: sleep 100\n        timeout-minutes: 0.01\n      - if: failure()\n        run: echo after\n",
    );
    answer
        .code(10)
        .says("after")
        .says("the step ran into its time limit");
}

#[test]
fn a_job_ends_at_its_time_limit_is_cancelled_and_cleans_up() {
    let answer = job(
        "    timeout-minutes: 0.01\n",
        "      - run: sleep 100\n      - if: always()\n        run: echo clean\n",
    );
    answer
        .code(12)
        .says("clean")
        .says("the job ran into its time limit");
    assert_eq!(conclusions(&answer), pairs(&[("a", "cancelled")]));
    assert_eq!(answer.result()["conclusion"], "timed_out");
}

#[test]
fn secrets_are_masked_in_output_commands_and_summaries() {
    let workflow = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    outputs: {leak: \"${{ steps.s.outputs.leak }}\"}\n    steps:\n      - id: s\n        env: {S: \"${{ secrets.TOKEN }}\"}\n        run: |\n          echo \"it is $S\"; printf 'hunter'; sleep 0.05; echo 2-secret\n          echo \"$S\" | base64; echo \"::warning::$S\"; echo \"$S\" >> \"$GITHUB_STEP_SUMMARY\"; echo \"leak=$S\" >> \"$GITHUB_OUTPUT\"\n          echo '::add-mask::later-word'; echo later-word >&2\n";
    let answer = Test::new()
        .workflow(workflow)
        .args(&["run", "w.yml", "--format", "json", "--secret", "TOKEN"])
        .env("TOKEN", "hunter2-secret")
        .run();
    answer
        .code(0)
        .says("it is ***")
        .never_says("hunter2-secret")
        .never_says("aHVudGVyMi1zZWNyZXQ")
        .never_says("\"later-word");
    answer.says("output `leak` is left out: it may contain a secret");
}

#[test]
fn a_secret_that_is_not_in_the_environment_stops_everything_before_it_begins() {
    Test::new()
        .workflow("on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ran\n")
        .args(&["run", "w.yml", "--secret", "NOT_THERE"])
        .run()
        .code(3)
        .complains("the secret `NOT_THERE` is not in the environment")
        .never_says("ran");
}

#[test]
fn a_composite_action_has_contexts_of_its_own() {
    let action = "name: c\ndescription: c\ninputs: {who: {default: nobody}}\noutputs: {said: {value: \"${{ steps.s.outputs.said }}\"}}\nruns:\n  using: composite\n  steps:\n    - id: s\n      shell: bash\n      run: echo \"said=hello ${{ inputs.who }}\" >> \"$GITHUB_OUTPUT\"; echo \"INPUT is ${INPUT_WHO:-hidden}\"; echo \"$GITHUB_ACTION_PATH\" | grep -q /c$\n";
    let workflow = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n      - id: c\n        uses: ./c\n        with: {who: you}\n      - run: echo \"${{ steps.c.outputs.said }} [${{ steps.s.outputs.said }}]\"\n";
    Test::new()
        .workflow(workflow)
        .file("c/action.yml", action)
        .commit()
        .args(&["run", "w.yml", "--format", "json"])
        .run()
        .code(0)
        .says("hello you []")
        .says("INPUT is hidden");
}

#[test]
fn an_action_that_removes_a_command_file_harms_no_later_one() {
    let manifest = "name: n\ndescription: n\nruns: {using: node20, main: main.js}\n";
    let script = "require('fs').unlinkSync(process.env.GITHUB_STATE);\nconsole.log('removed');\n";
    let workflow = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: acme/n@v1\n      - uses: acme/n@v1\n";
    let test = Test::new()
        .workflow(workflow)
        .file("actions/acme/n/action.yml", manifest)
        .file("actions/acme/n/main.js", script)
        .args(&[
            "run",
            "w.yml",
            "--format",
            "json",
            "--actions-dir",
            "actions",
        ]);
    test.run().code(0).says("removed");
}

#[test]
fn javascript_actions_run_pre_first_and_post_last_in_reverse_order() {
    let manifest = "name: n\ndescription: n\ninputs: {name: {required: true}}\nruns: {using: node20, pre: pre.js, main: main.js, post: post.js}\n";
    let script = |stage: &str| {
        format!(
            "console.log('{stage} ' + process.env.INPUT_NAME + ' ' + (process.env.STATE_kept || '-'));\nrequire('fs').appendFileSync(process.env.GITHUB_STATE, 'kept=' + process.env.INPUT_NAME + '\\n');\n"
        )
    };
    let workflow = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: acme/n@v1\n        with: {name: one}\n      - uses: acme/n@v1\n        with: {name: two}\n      - run: exit 1\n";
    let test = Test::new()
        .workflow(workflow)
        .file("actions/acme/n/action.yml", manifest)
        .file("actions/acme/n/pre.js", &script("pre"))
        .file("actions/acme/n/main.js", &script("main"))
        .file("actions/acme/n/post.js", &script("post"))
        .args(&[
            "run",
            "w.yml",
            "--format",
            "json",
            "--actions-dir",
            "actions",
        ]);
    let answer = test.run();
    answer.code(10);
    let log = answer.log();
    let lines: Vec<&str> = log
        .iter()
        .map(String::as_str)
        .filter(|line| !line.starts_with("error"))
        .collect();
    assert_eq!(
        lines,
        [
            "pre one -",
            "pre two -",
            "main one one",
            "main two two",
            "post two two",
            "post one one"
        ]
    );
}

#[test]
fn an_action_that_is_nowhere_fails_its_job_before_the_first_step() {
    // Its condition is known only when the run has begun.
    job(
        "    if: always()\n",
        "      - run: echo ran\n      - uses: acme/nowhere@v1\n",
    )
    .code(10)
    .says("`acme/nowhere@v1` is not here")
    .never_says("\"ran\"");
}

#[test]
fn checkout_brings_the_working_tree_as_it_stands() {
    let test = Test::new()
        .workflow("on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: ls -A | wc -l\n      - uses: actions/checkout@v4\n      - run: cat new.txt; git rev-parse HEAD; test ! -e ignored.txt\n")
        .file(".gitignore", "ignored.txt\n.work\n")
        .commit()
        .file("new.txt", "not committed\n")
        .file("ignored.txt", "x\n")
        .args(&["run", "w.yml", "--format", "json"]);
    let head = test.git(&["rev-parse", "HEAD"]);
    test.run()
        .code(0)
        .says("\"0\"")
        .says("not committed")
        .says(&head);
}

#[test]
fn a_called_workflow_gets_inputs_and_gives_outputs() {
    let called = "on:\n  workflow_call:\n    inputs: {n: {type: number, required: true}}\n    outputs: {sum: {value: \"${{ jobs.c.outputs.sum }}\"}}\n    secrets: {token: {required: true}}\njobs:\n  c:\n    runs-on: ubuntu-latest\n    outputs: {sum: \"${{ steps.s.outputs.sum }}\"}\n    steps:\n      - id: s\n        env: {T: \"${{ secrets.token }}\"}\n        run: echo \"sum=$(( ${{ inputs.n }} + ${#T} ))\" >> \"$GITHUB_OUTPUT\"\n";
    let workflow = "on: push\njobs:\n  call:\n    uses: ./.github/workflows/called.yml\n    with: {n: 4}\n    secrets: {token: \"${{ secrets.OWN }}\"}\n  after:\n    needs: call\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo sum ${{ needs.call.outputs.sum }}\n";
    let answer = Test::new()
        .workflow(workflow)
        .file(".github/workflows/called.yml", called)
        .commit()
        .args(&["run", "w.yml", "--format", "json", "--secret", "OWN"])
        .env("OWN", "12345")
        .run();
    answer.code(0).says("sum 9");
    assert_eq!(
        conclusions(&answer),
        pairs(&[("call / c", "success"), ("after", "success")])
    );
}

#[test]
fn a_dispatch_checks_its_inputs() {
    let workflow = "on:\n  workflow_dispatch:\n    inputs:\n      level: {type: choice, options: [low, high], default: low}\n      really: {type: boolean}\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ inputs.level }} ${{ inputs.really && 'yes' || 'no' }}\n";
    run(workflow, &["--input", "really=true"])
        .code(0)
        .says("low yes");
    run(workflow, &["--input", "level=middle"])
        .code(3)
        .complains("input `level` must be one of low, high");
    run(workflow, &["--input", "lvel=low"])
        .code(3)
        .complains("input `lvel` is not declared");
}

#[test]
fn an_event_that_does_not_match_runs_nothing_and_says_why() {
    let workflow = "on:\n  push:\n    branches: [main]\njobs:\n  a: {runs-on: ubuntu-latest, steps: [{run: echo executed}]}\n";
    let test = Test::new()
        .workflow(workflow)
        .file("e.json", "{\"ref\": \"refs/heads/other\"}");
    let test = test.args(&["run", "w.yml", "--event", "push", "--event-file", "e.json"]);
    test.run()
        .code(4)
        .complains("w.yml does not run")
        .never_says("executed");
    let test = test.args(&["run", "w.yml", "--event", "release"]);
    test.run()
        .code(4)
        .complains("it runs on push, not on release");
}

#[test]
fn a_plan_shows_the_jobs_and_runs_nothing() {
    let workflow = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    strategy: {matrix: {v: [1, 2]}}\n    steps: [{run: echo ran}]\n";
    run(workflow, &["--plan"])
        .code(0)
        .says("\"name\":\"a (1)\"")
        .says("\"name\":\"a (2)\"")
        .never_says("\"line\"");
}

#[test]
fn a_label_that_nobody_serves_is_refused_by_name_before_anything_starts() {
    let workflow = "on: push\njobs:\n  a: {runs-on: ubuntu-latest, steps: [{run: echo ran}]}\n  b: {runs-on: windows-latest, steps: [{run: echo ran}]}\n";
    run(workflow, &[])
        .code(3)
        .complains("`windows-latest`")
        .never_says("\"ran\"");
}

#[test]
fn the_folders_of_a_job_are_removed_with_it() {
    let test = Test::new()
        .workflow("on: push\njobs:\n  a: {runs-on: ubuntu-latest, steps: [{run: 'touch x; chmod 000 x'}]}\n")
        .args(&["run", "w.yml"]);
    test.run().code(0);
    let left = std::fs::read_dir(test.path().join(".work"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}

const MATRIX: &str = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    strategy:\n      matrix: {os: [x, y], version: [1, 2]}\n    steps:\n      - run: echo ${{ matrix.os }}${{ matrix.version }}\n  b:\n    runs-on: ubuntu-latest\n    steps: [{run: 'true'}]\n";

#[test]
fn only_the_asked_combinations_of_a_matrix_are_run() {
    let one = run(MATRIX, &["--matrix", "os:y", "--matrix", "version:2"]);
    let expected = pairs(&[("a (y, 2)", "success"), ("b", "success")]);
    assert_eq!(conclusions(one.code(0)), expected);
    let two = run(
        MATRIX,
        &[
            "--matrix",
            "version:1",
            "--matrix",
            "version:2",
            "--matrix",
            "os:x",
        ],
    );
    let expected = pairs(&[
        ("a (x, 1)", "success"),
        ("a (x, 2)", "success"),
        ("b", "success"),
    ]);
    assert_eq!(conclusions(two.code(0)), expected);
    let plan = run(MATRIX, &["--matrix", "os:x", "--plan"]);
    let plan: serde_json::Value = serde_json::from_str(&plan.code(0).out).unwrap();
    assert_eq!(plan["jobs"].as_array().unwrap().len(), 3);
    run(MATRIX, &["--matrix", "os:z"])
        .code(2)
        .complains("no job has a matrix with `z` for `os`");
}

#[test]
fn a_mapped_label_is_served_and_an_unknown_place_is_refused_by_name() {
    let workflow =
        "on: push\njobs:\n  a:\n    runs-on: [self-hosted, gpu]\n    steps: [{run: echo ran}]\n";
    run(workflow, &[])
        .code(3)
        .complains("nobody serves the label `gpu`");
    run(workflow, &["--on", "gpu=host"]).code(0).says("ran");
    run(workflow, &["--on", "gpu=ssh://me@there"])
        .code(3)
        .complains("runs in no container, and its label leads to another machine");
    run(workflow, &["--on", "gpu=moon"])
        .code(2)
        .complains("there is no place `moon`");
}

#[test]
fn variables_come_from_a_file_and_the_command_line_wins() {
    let test = Test::new()
        .workflow("on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps: [{run: 'echo ${{ vars.A }} ${{ vars.B }}'}]\n")
        .file("vars", "A=file\nB=\"of file\"\n");
    let arguments = ["run", "w.yml", "--var-file", "vars", "--var", "A=line"];
    test.args(&arguments).run().code(0).says("line of file");
}

#[test]
fn a_problem_matcher_makes_annotations_of_lines_until_it_is_removed() {
    let matcher = r#"{"problemMatcher":[{"owner":"cc","pattern":{"regexp":"^(.+):(\\d+):(\\d+): (warning|error): (.+)$","file":1,"line":2,"column":3,"severity":4,"message":5}}]}"#;
    let steps = format!(
        "      - run: |\n          cat > m.json <<'END'\n          {matcher}\n          END\n          echo '::add-matcher::m.json'\n      - run: |\n          echo 'plain'\n          echo \"$PWD/src/a.c:3:7: warning: odd\"\n          echo '::remove-matcher owner=cc::'\n          echo 'b.c:1:1: error: not seen'\n      - run: echo '::add-matcher::nowhere.json'\n"
    );
    let answer = self::steps(&steps);
    answer.code(0);
    let annotations: Vec<serde_json::Value> = answer
        .out
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|line| line["type"] == "annotation")
        .map(|line| line["annotation"].clone())
        .collect();
    assert_eq!(annotations.len(), 2, "{annotations:?}");
    let first = &annotations[0];
    assert_eq!(first["file"], "src/a.c");
    assert_eq!((&first["line"], &first["column"]), (&3.into(), &7.into()));
    assert_eq!(
        (&first["level"], &first["message"]),
        (&"warning".into(), &"odd".into())
    );
    let second = annotations[1]["message"].as_str().unwrap();
    assert!(second.contains("`nowhere.json` is not used"), "{second}");
    assert!(answer.log().contains(&"plain".to_owned()));
}

#[test]
fn an_action_that_is_not_here_is_refused_before_anything_starts() {
    let uses = |keys: &str, action: &str| {
        job(
            keys,
            &format!("      - run: echo began\n      - uses: {action}\n"),
        )
    };
    let refused = uses("", "actions/setup-node@v4");
    refused.code(3).never_says("began");
    refused.complains("the action `actions/setup-node` is not here");
    uses("", "runner/check-out@v1")
        .code(3)
        .complains("did you mean `runner/checkout`?");
    uses(
        "    if: github.ref == 'refs/heads/none'\n",
        "actions/setup-node@v4",
    )
    .code(0);
}
