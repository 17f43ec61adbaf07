//! `runner run`: a workflow on this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::arguments::{Format, RunArguments};
use super::check::workflow_files;
use super::error::{CliError, ErrorKind, ExitCode};
use super::report::{ReportTo, Telling};
use super::stop::watch_signals;
use super::trace::Tracing;
use super::{labels, preview, repository, settings, write_note};
use crate::diagnostic::{Diagnostic, has_errors};
use crate::engine::{EngineOptions, Labels, absent_actions, unsupported};
use crate::event::TriggerEvent;
use crate::expression::{Object, Value};
use crate::git::{WorkingTree, working_tree};
use crate::mask::Masker;
use crate::plan::pattern::PatternError;
use crate::plan::{Progress, RunFacts, WorkflowFile, linked};
use crate::process;
use crate::report::{Console, ConsoleStyle, JsonLines, Live, Recorder, Reporter, ScreenWriter};
use crate::run::{Conclusion, DeployOutcome, RunEvent, RunOutcome};
use crate::scheduler::{
    LocalRun, ReadError, RepositoryWorkflows, WORKFLOW_FOLDERS, dispatch_inputs, read_workflow,
    run_local, skip_reason,
};

/// A run that was understood and can begin.
struct Prepared {
    file: Arc<WorkflowFile>,
    loader: RepositoryWorkflows,
    labels: Labels,
    tree: WorkingTree,
    event: TriggerEvent,
    inputs: Value,
    facts: RunFacts,
    secrets: Object,
    extra_env: BTreeMap<String, String>,
}

/// Why a run does not begin, though the command line is right.
enum NotBegun {
    /// The file is not valid, or holds what cannot be run.
    Rejected(String),
    /// No trigger matches, for this reason.
    NotTriggered(Box<TriggerEvent>, Arc<WorkflowFile>, String),
}

/// Runs a workflow file, or prints its plan.
pub(super) fn run(runtime: &Runtime, arguments: &RunArguments) -> Result<ExitCode, CliError> {
    let is_json = arguments.format == Format::Json;
    let result = match prepare(arguments) {
        Ok(Ok(prepared)) if arguments.plan => {
            return preview::print(
                &prepared.file,
                &prepared.event,
                &progress(&prepared, arguments)?,
                is_json,
            );
        }
        Ok(Ok(prepared)) => return execute(runtime, prepared, arguments),
        Ok(Err(NotBegun::NotTriggered(event, file, reason))) => {
            if arguments.plan {
                preview::print_not_triggered(&file, &event, &reason, is_json);
            } else if is_json {
                JsonLines::write_without_run(&mut std::io::stdout(), "not_triggered", &reason);
            } else {
                write_note(&format!("{} does not run: {reason}", file.path));
            }
            return Ok(ExitCode::NoTrigger);
        }
        Ok(Err(NotBegun::Rejected(reason))) => Ok((ExitCode::Invalid, reason)),
        Err(error) if is_json && error.exit_code() == ExitCode::Invalid => {
            let reason = error.chain();
            Ok((error.report(), reason))
        }
        Err(error) => Err(error),
    };
    result.map(|(code, reason)| {
        if is_json {
            JsonLines::write_without_run(&mut std::io::stdout(), "rejected", &reason);
        }
        code
    })
}

fn prepare(arguments: &RunArguments) -> Result<Result<Prepared, NotBegun>, CliError> {
    let path = match &arguments.file {
        Some(path) => path.clone(),
        None => only_pipeline()?,
    };
    let here = std::env::current_dir().map_err(|source| {
        CliError::new(ErrorKind::Environment, "the current folder is gone").because(source)
    })?;
    let tree = working_tree(&here).unwrap_or_else(|| WorkingTree {
        root: here,
        ..WorkingTree::default()
    });
    let name = repository_path(&path, &tree.root);
    let labels = labels::labels(&arguments.on)?;
    let loader = RepositoryWorkflows {
        root: tree.root.clone(),
        actions_dir: arguments.actions_dir.clone(),
    };
    let file = match read_workflow(&path, &name) {
        Ok((file, problems)) => match refuse(&path, &file, problems, (&labels, &loader), arguments)
        {
            Ok(()) => Arc::new(file),
            Err(reason) => return Ok(Err(NotBegun::Rejected(reason))),
        },
        Err(ReadError::Invalid {
            path,
            text: source,
            diagnostics,
        }) => {
            print_problems(&path, &source, &diagnostics);
            return Ok(Err(NotBegun::Rejected(format!(
                "`{path}` is not a valid workflow"
            ))));
        }
        Err(error @ ReadError::File { .. }) => {
            return Err(CliError::new(
                ErrorKind::Usage,
                format!("`{}` could not be read", path.display()),
            )
            .because(error));
        }
    };
    let workflow = &file.workflow;
    let event = repository::event(
        workflow,
        &tree,
        arguments.event.as_deref(),
        arguments.event_file.as_deref(),
    )?;
    if arguments.event.is_some()
        && let Some(reason) = skip_reason(workflow, &event, &tree.root).map_err(wrong_filter)?
    {
        return Ok(Err(NotBegun::NotTriggered(Box::new(event), file, reason)));
    }
    let vars = variables(arguments)?;
    let given: Object = pairs(&arguments.input, "--input")?.into_iter().collect();
    let inputs = dispatch_inputs(workflow, &event, &given).map_err(|error| {
        CliError::new(ErrorKind::Invalid, error.to_string()).with_hint(error.hint)
    })?;
    let github = repository::github(workflow, &name, &tree, &event, &inputs);
    let mut extra_env: BTreeMap<String, String> = file_pairs(arguments.env_file.as_deref())?
        .into_iter()
        .collect();
    extra_env.extend(pairs(&arguments.env, "--env")?);
    Ok(Ok(Prepared {
        secrets: secrets(arguments)?,
        facts: RunFacts {
            github,
            vars: vars.into(),
        },
        file: Arc::clone(&file),
        loader,
        labels,
        tree,
        event,
        inputs,
        extra_env,
    }))
}

fn wrong_filter(error: PatternError) -> CliError {
    CliError::new(
        ErrorKind::Invalid,
        "a filter of the workflow cannot be used",
    )
    .because(error)
}

/// Returns the context `vars`: from the file, and over that from the command line.
fn variables(arguments: &RunArguments) -> Result<Object, CliError> {
    let mut vars: Object = file_pairs(arguments.var_file.as_deref())?
        .into_iter()
        .collect();
    for (name, value) in pairs(&arguments.var, "--var")? {
        vars.insert(name.as_str(), value);
    }
    Ok(vars)
}

/// Refuses what `check` refuses and what cannot be run, with the same words.
fn refuse(
    path: &Path,
    file: &WorkflowFile,
    mut problems: Vec<Diagnostic>,
    (labels, loader): (&Labels, &RepositoryWorkflows),
    arguments: &RunArguments,
) -> Result<(), String> {
    let mut lacking = unsupported(&file.workflow, Some(labels));
    // With one job alone, those of the others do not matter; a plan needs none.
    if arguments.job.is_none() && !arguments.plan {
        let built_in = crate::actions::registry(settings::whole_env());
        let folder = arguments.actions_dir.as_deref();
        lacking.extend(absent_actions(&file.workflow, &built_in, folder));
    }
    problems.extend(linked(&file.workflow, &|uses| loader.find(uses)));
    if has_errors(&problems) || !lacking.is_empty() {
        let all: Vec<Diagnostic> = problems.into_iter().chain(lacking).collect();
        let shown = path.display().to_string();
        print_problems(&shown, &file.source, &all);
        write_note(&format!("error: `{shown}` was not run: see above"));
        return Err(all.first().map_or(String::new(), ToString::to_string));
    }
    Ok(())
}

fn print_problems(path: &str, source: &str, problems: &[Diagnostic]) {
    for problem in problems {
        write_note(&super::diagnostics::render(path, source, problem));
        write_note("");
    }
}

fn progress(prepared: &Prepared, arguments: &RunArguments) -> Result<Progress, CliError> {
    let mut progress = Progress::new(
        Arc::clone(&prepared.file),
        prepared.facts.clone(),
        prepared.inputs.clone(),
        Box::new(prepared.loader.clone()),
    );
    progress.keep_cells(matrix(&arguments.matrix)?);
    if let Some(job) = &arguments.job
        && !progress.keep_only(job)
    {
        let known: Vec<&str> = prepared
            .file
            .workflow
            .jobs
            .keys()
            .map(String::as_str)
            .collect();
        return Err(
            CliError::new(ErrorKind::Usage, format!("there is no job `{job}`"))
                .with_hint(format!("the jobs are: {}", known.join(", "))),
        );
    }
    for (key, value) in matrix(&arguments.matrix)? {
        let jobs = progress.preview();
        let has_value = jobs.iter().any(|job| {
            let given = job.matrix.get(&key).map(Value::to_display_string);
            job.is_dynamic || given.is_some_and(|given| given == value)
        });
        if !has_value {
            let message = format!("no job has a matrix with `{value}` for `{key}`");
            return Err(CliError::new(ErrorKind::Usage, message)
                .with_hint("`runner run --plan` lists the jobs with their matrices"));
        }
    }
    Ok(progress)
}

/// Reads `KEY:VALUE`.
fn matrix(given: &[String]) -> Result<Vec<(String, String)>, CliError> {
    let pairs = given.iter().map(|pair| {
        let (key, value) = pair.split_once(':').ok_or_else(|| {
            CliError::new(ErrorKind::Usage, format!("`--matrix {pair}` has no `:`"))
                .with_hint("write --matrix KEY:VALUE")
        })?;
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    });
    pairs.collect()
}

fn execute(
    runtime: &Runtime,
    prepared: Prepared,
    arguments: &RunArguments,
) -> Result<ExitCode, CliError> {
    let progress = progress(&prepared, arguments)?;
    let telling = telling(runtime, &prepared, arguments)?;
    let masker = Masker::new();
    for (_, value) in prepared.secrets.iter() {
        masker.add(&value.to_display_string());
    }
    let mut reporters = reporters(arguments);
    let tracing = if arguments.report.contains(&ReportTo::Otlp) {
        let tracing = Tracing::begin(runtime, &prepared.file, &prepared.tree, &masker)?;
        reporters.extend(tracing.reporter());
        Some(tracing)
    } else {
        None
    };
    process::adopt_orphans();
    let recorder = Recorder::new(reporters);
    let workflow = &prepared.file.workflow;
    if workflow.concurrency.is_some() || workflow.jobs.values().any(|job| job.concurrency.is_some())
    {
        write_note(
            "note: `concurrency` is not kept in a run that is started by hand; a deploy has its own lock",
        );
    }
    let name = workflow
        .name
        .as_ref()
        .map_or(prepared.file.path.as_str(), |name| name.value.as_str());
    recorder.record(&RunEvent::RunStarted {
        workflow: masker.mask(name),
        event: masker.mask(&prepared.event.name),
    });
    let slots = arguments
        .slots
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from));
    let (cancel, force) = (CancellationToken::new(), CancellationToken::new());
    let run = LocalRun {
        progress,
        facts: prepared.facts,
        secrets: prepared.secrets,
        masker,
        recorder,
        slots,
        options: Arc::new(EngineOptions {
            marks: BTreeMap::new(),
            origin: None,
            actions: crate::actions::registry(settings::whole_env()),
            labels: prepared.labels,
            actions_dir: arguments
                .actions_dir
                .as_deref()
                .map(|path| path.canonicalize().unwrap_or_else(|_| path.to_owned())),
            source: prepared.tree.root,
            secrets_folder: None,
            work: settings::work_folder(),
            base_env: settings::base_env(),
            extra_env: prepared.extra_env,
            is_debug: arguments.debug,
        }),
        cancel: cancel.clone(),
        force: force.clone(),
    };
    let outcome = runtime.block_on(async {
        let signals = runtime.spawn(watch_signals(cancel, force));
        // Spawned, since every wake-up of the main thread's own future crosses threads.
        let report = runtime.spawn(run_local(run)).await;
        signals.abort();
        process::kill_adopted().await;
        report
    });
    if let Some(tracing) = tracing {
        tracing.end(runtime);
    }
    if let Some(telling) = telling {
        telling.end(runtime, outcome.as_ref().ok().map(|report| report.outcome));
    }
    let report = outcome.map_err(|source| {
        CliError::new(ErrorKind::Internal, "the run ended without a result").because(source)
    })?;
    Ok(exit_code(report.outcome))
}

/// Begins to tell GitHub of the run, where that is asked for.
fn telling(
    runtime: &Runtime,
    prepared: &Prepared,
    arguments: &RunArguments,
) -> Result<Option<Telling>, CliError> {
    if !arguments.report.contains(&ReportTo::GitHub) {
        return Ok(None);
    }
    let token = prepared.secrets.get("GITHUB_TOKEN");
    let token = token.map(Value::to_display_string);
    let of = (&*prepared.file, &prepared.event);
    Telling::begin(runtime, of, &prepared.tree, token).map(Some)
}

/// Returns who shows the run: at a terminal also what it does now.
fn reporters(arguments: &RunArguments) -> Vec<Box<dyn Reporter>> {
    match arguments.format {
        Format::Json => vec![Box::new(JsonLines::new(std::io::stdout()))],
        Format::Text => {
            settings::open_screen();
            let style = ConsoleStyle {
                is_debug: arguments.debug,
                is_colored: settings::is_colored(),
            };
            let console = Console::new(ScreenWriter::default(), style);
            vec![Box::new(Live::default()), Box::new(console)]
        }
    }
}

/// Returns how the process ends after a run that ended so.
pub(super) fn exit_code(outcome: RunOutcome) -> ExitCode {
    if outcome.is_timed_out {
        return ExitCode::TimedOut;
    }
    match (outcome.conclusion, outcome.deploy) {
        (_, Some(DeployOutcome::UndoIncomplete | DeployOutcome::Unknown)) => {
            ExitCode::UndoIncomplete
        }
        (Conclusion::Cancelled, _) => ExitCode::Cancelled,
        (_, Some(DeployOutcome::Undone)) => ExitCode::DeployUndone,
        (Conclusion::Failure, _) => ExitCode::RunFailed,
        (Conclusion::Success | Conclusion::Skipped, _) => ExitCode::Success,
    }
}

/// Returns the only workflow file of `pipelines/`.
fn only_pipeline() -> Result<PathBuf, CliError> {
    let found: Vec<PathBuf> = WORKFLOW_FOLDERS
        .iter()
        .flat_map(|folder| workflow_files(Path::new(folder)))
        .collect();
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(
            CliError::new(ErrorKind::Usage, "there is no workflow file here")
                .with_hint("name one: runner run pipelines/deploy.yml"),
        ),
        many => {
            let names: Vec<String> = many.iter().map(|path| path.display().to_string()).collect();
            Err(CliError::new(
                ErrorKind::Usage,
                "there are several workflow files here, so one must be named",
            )
            .with_hint(format!("they are: {}", names.join(", "))))
        }
    }
}

/// Returns a file's path in the repository, or as it was given where it lies outside.
fn repository_path(path: &Path, root: &Path) -> String {
    let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    full.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Returns the secrets: from the environment by name, as `NAME=value`, and from a file.
fn secrets(arguments: &RunArguments) -> Result<Object, CliError> {
    let mut secrets: Object = file_pairs(arguments.secret_file.as_deref())?
        .into_iter()
        .collect();
    for given in &arguments.secret {
        if let Some((name, value)) = given.split_once('=') {
            write_note(&format!(
                "warning: every user of this machine can read the value of --secret {name}; give it by the environment: --secret {name}"
            ));
            secrets.insert(name, value);
        } else {
            let value = settings::variable(given).ok_or_else(|| {
                CliError::new(
                    ErrorKind::Invalid,
                    format!("the secret `{given}` is not in the environment"),
                )
                .with_hint(format!(
                    "set it there: {given}=... runner run --secret {given}"
                ))
            })?;
            secrets.insert(given.as_str(), value);
        }
    }
    if secrets.get("GITHUB_TOKEN").is_none()
        && let Some(token) = settings::variable("GITHUB_TOKEN")
    {
        secrets.insert("GITHUB_TOKEN", token);
    }
    Ok(secrets)
}

/// Splits `NAME=value` arguments of an option.
pub(super) fn pairs(given: &[String], option: &str) -> Result<Vec<(String, String)>, CliError> {
    given
        .iter()
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(
                CliError::new(ErrorKind::Usage, format!("`{option} {pair}` has no `=`"))
                    .with_hint(format!("write {option} NAME=value")),
            ),
        })
        .collect()
}

/// Reads `NAME=value` lines; empty lines and those that begin with `#` are passed over.
///
/// A value in double quotes can go over several lines and have `\n` in it; one in single quotes is
/// taken as it is.
pub(super) fn file_pairs(file: Option<&Path>) -> Result<Vec<(String, String)>, CliError> {
    let Some(file) = file else {
        return Ok(Vec::new());
    };
    let text = std::fs::read_to_string(file).map_err(|source| {
        CliError::new(
            ErrorKind::Usage,
            format!("`{}` could not be read", file.display()),
        )
        .because(source)
    })?;
    let mut pairs = Vec::new();
    let mut rest = text.as_str();
    while let Some((line, after)) = rest
        .split_once('\n')
        .or_else(|| (!rest.is_empty()).then_some((rest, "")))
    {
        let line = line.trim();
        let Some((name, value)) = line.strip_prefix("export ").unwrap_or(line).split_once('=')
        else {
            rest = after;
            continue;
        };
        rest = after;
        if line.starts_with('#') {
            continue;
        }
        let value = value.trim();
        let value = match value.strip_prefix('"') {
            Some(open) => {
                let mut whole = open.to_owned();
                while !whole.ends_with('"') {
                    let Some((more, after)) = rest.split_once('\n') else {
                        break;
                    };
                    whole = format!("{whole}\n{}", more.trim_end_matches('\r'));
                    rest = after;
                }
                whole
                    .strip_suffix('"')
                    .unwrap_or(&whole)
                    .replace("\\n", "\n")
                    .replace("\\\"", "\"")
            }
            None => value
                .strip_prefix('\'')
                .and_then(|value| value.strip_suffix('\''))
                .unwrap_or(value)
                .to_owned(),
        };
        pairs.push((name.trim().to_owned(), value));
    }
    Ok(pairs)
}
