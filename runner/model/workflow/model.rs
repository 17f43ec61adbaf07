//! A workflow file, typed: every field that may hold an expression is a [`Token`].

use indexmap::IndexMap;

use super::token::Token;
use crate::diagnostic::Span;
use crate::expression::Expression;

/// A value and where it stands in the file.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// A whole workflow file.
#[derive(Debug, Clone)]
pub struct Workflow {
    /// `name`; where absent, GitHub shows the file's path.
    pub name: Option<Located<String>>,
    /// `run-name`.
    pub run_name: Option<Token>,
    /// `on`.
    pub on: Triggers,
    /// `env`, a mapping.
    pub env: Option<Token>,
    /// `defaults.run`.
    pub defaults: RunDefaults,
    /// `permissions`.
    pub permissions: Option<Token>,
    /// `concurrency`.
    pub concurrency: Option<Token>,
    /// `jobs`, in the order written.
    pub jobs: IndexMap<String, Job>,
}

/// `on`: which events start the workflow.
#[derive(Debug, Clone, Default)]
pub struct Triggers {
    /// Each event with its filters, in the order written.
    pub events: IndexMap<String, Trigger>,
    /// The crons of `schedule`.
    pub schedule: Vec<Schedule>,
    /// The inputs of `workflow_dispatch`.
    pub dispatch_inputs: IndexMap<String, Input>,
    /// What a caller gives and gets: `workflow_call`.
    pub call: Option<CallInterface>,
    /// Where `on` stands.
    pub span: Option<Span>,
}

/// The filters of one event; an absent filter lets everything through.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// Where the event's name stands.
    pub span: Span,
    /// `types`.
    pub types: Option<Vec<Located<String>>>,
    /// `branches`.
    pub branches: Option<Vec<Located<String>>>,
    /// `branches-ignore`.
    pub branches_ignore: Option<Vec<Located<String>>>,
    /// `tags`.
    pub tags: Option<Vec<Located<String>>>,
    /// `tags-ignore`.
    pub tags_ignore: Option<Vec<Located<String>>>,
    /// `paths`.
    pub paths: Option<Vec<Located<String>>>,
    /// `paths-ignore`.
    pub paths_ignore: Option<Vec<Located<String>>>,
    /// `workflows` of `workflow_run`.
    pub workflows: Option<Vec<Located<String>>>,
    /// `names` of `image_version`.
    pub names: Option<Vec<Located<String>>>,
    /// `versions` of `image_version`.
    pub versions: Option<Vec<Located<String>>>,
}

/// One entry of `schedule`.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The cron expression.
    pub cron: Located<String>,
    /// The time zone's name; UTC where absent.
    pub timezone: Option<Located<String>>,
}

/// An input of `workflow_dispatch` or `workflow_call`.
#[derive(Debug, Clone)]
pub struct Input {
    /// Where its name stands.
    pub span: Span,
    /// `description`.
    pub description: Option<String>,
    /// `type`.
    pub kind: InputKind,
    /// `required`.
    pub is_required: bool,
    /// `default`.
    pub default: Option<Token>,
    /// `options` of a choice.
    pub options: Vec<String>,
}

/// `type` of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    /// Text.
    String,
    /// True or false.
    Boolean,
    /// A number.
    Number,
    /// One of the options.
    Choice,
    /// The name of an environment.
    Environment,
}

impl std::fmt::Display for InputKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::Number => "number",
            Self::Choice => "choice",
            Self::Environment => "environment",
        })
    }
}

/// `workflow_call`: what a caller gives and gets.
#[derive(Debug, Clone, Default)]
pub struct CallInterface {
    /// `inputs`.
    pub inputs: IndexMap<String, Input>,
    /// `outputs`: each with its value.
    pub outputs: IndexMap<String, Token>,
    /// `secrets`: each with whether it is required.
    pub secrets: IndexMap<String, bool>,
}

/// `defaults.run` of a workflow or a job.
#[derive(Debug, Clone, Default)]
pub struct RunDefaults {
    /// The whole of `run` where it is one expression that gives the mapping.
    pub whole: Option<Token>,
    /// `shell`.
    pub shell: Option<Token>,
    /// `working-directory`.
    pub working_directory: Option<Token>,
}

/// `if`, with GitHub's implied `success()`.
#[derive(Debug, Clone)]
pub struct Condition {
    /// What is evaluated.
    pub expression: Expression,
    /// The whole condition as GitHub writes it: `success() && (…)`.
    pub text: String,
    /// Where it stands; of an absent `if`, the job or the step.
    pub span: Span,
    /// Whether `if` was written.
    pub is_written: bool,
}

/// A job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its key under `jobs`.
    pub id: Located<String>,
    /// `name`.
    pub name: Option<Token>,
    /// `needs`.
    pub needs: Vec<Located<String>>,
    /// `if`.
    pub condition: Condition,
    /// `strategy`.
    pub strategy: Option<Strategy>,
    /// `concurrency`.
    pub concurrency: Option<Token>,
    /// `permissions`.
    pub permissions: Option<Token>,
    /// What it does.
    pub body: JobBody,
}

/// What a job does.
#[derive(Debug, Clone)]
pub enum JobBody {
    /// It has steps.
    Steps(Box<StepsJob>),
    /// It calls another workflow.
    Call(CallJob),
}

/// The parts of a job that has steps.
#[derive(Debug, Clone)]
pub struct StepsJob {
    /// `runs-on`.
    pub runs_on: Token,
    /// `env`, a mapping.
    pub env: Option<Token>,
    /// `defaults.run`.
    pub defaults: RunDefaults,
    /// `timeout-minutes`.
    pub timeout_minutes: Option<Token>,
    /// `cancel-timeout-minutes`.
    pub cancel_timeout_minutes: Option<Token>,
    /// `continue-on-error`.
    pub continue_on_error: Option<Token>,
    /// `outputs`.
    pub outputs: IndexMap<String, Token>,
    /// `container`: text or a mapping.
    pub container: Option<Token>,
    /// `services`: a mapping.
    pub services: Option<Token>,
    /// `environment`: text or a mapping with `name` and `url`.
    pub environment: Option<Token>,
    /// `snapshot`.
    pub snapshot: Option<Token>,
    /// `steps`.
    pub steps: Vec<Step>,
}

/// The parts of a job that calls another workflow.
#[derive(Debug, Clone)]
pub struct CallJob {
    /// `uses`.
    pub uses: Located<String>,
    /// `with`.
    pub with: IndexMap<String, Token>,
    /// `secrets`.
    pub secrets: CallSecrets,
}

/// `secrets` of a job that calls another workflow.
#[derive(Debug, Clone)]
pub enum CallSecrets {
    /// `inherit`: all.
    Inherit,
    /// Those that are named; none where the key is absent.
    Named(IndexMap<String, Token>),
}

/// `strategy`.
#[derive(Debug, Clone)]
pub struct Strategy {
    /// Where it stands.
    pub span: Span,
    /// The whole of `strategy` where it is one expression that gives the mapping.
    pub whole: Option<Token>,
    /// `matrix`: a mapping, or an expression that gives one.
    pub matrix: Option<Token>,
    /// `fail-fast`.
    pub fail_fast: Option<Token>,
    /// `max-parallel`.
    pub max_parallel: Option<Token>,
}

/// A step of a job or of a composite action.
#[derive(Debug, Clone)]
pub struct Step {
    /// Where it stands.
    pub span: Span,
    /// `id`, where written.
    pub id: Option<Located<String>>,
    /// The name by which GitHub's context knows it: `id`, or `__run`, `__run_2`, `__owner_repo`.
    pub context_name: String,
    /// `name`.
    pub name: Option<Token>,
    /// `if`.
    pub condition: Condition,
    /// `env`, a mapping.
    pub env: Option<Token>,
    /// `continue-on-error`.
    pub continue_on_error: Option<Token>,
    /// `timeout-minutes`.
    pub timeout_minutes: Option<Token>,
    /// `background`.
    pub is_background: bool,
    /// What it does.
    pub body: StepBody,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum StepBody {
    /// It runs a script.
    Run {
        /// `run`.
        script: Token,
        /// `shell`.
        shell: Option<Token>,
        /// `working-directory`.
        working_directory: Option<Token>,
    },
    /// It runs an action.
    Uses {
        /// `uses`.
        uses: Located<ActionReference>,
        /// `with`, a mapping.
        with: Option<Token>,
    },
    /// It waits for background steps.
    Wait(Vec<Located<String>>),
    /// It waits for all background steps.
    WaitAll,
    /// It cancels a background step.
    Cancel(Located<String>),
    /// It runs steps side by side and waits for all.
    Parallel(Vec<Step>),
}

/// What `uses` of a step names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ActionReference {
    /// `./path`, in the workspace.
    Local(String),
    /// `$/path`, in the repository and at the commit of the workflow itself.
    SelfRepository(String),
    /// `docker://image`.
    Docker(String),
    /// `owner/repository/path@reference`.
    Repository {
        /// The owner.
        owner: String,
        /// The repository.
        repository: String,
        /// The folder in it; empty for its root.
        path: String,
        /// A branch, tag or commit.
        reference: String,
    },
}

impl std::fmt::Display for ActionReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(path) => f.write_str(path),
            Self::SelfRepository(path) => write!(f, "$/{path}"),
            Self::Docker(image) => write!(f, "docker://{image}"),
            Self::Repository {
                owner,
                repository,
                path,
                reference,
            } if path.is_empty() => {
                write!(f, "{owner}/{repository}@{reference}")
            }
            Self::Repository {
                owner,
                repository,
                path,
                reference,
            } => {
                write!(f, "{owner}/{repository}/{path}@{reference}")
            }
        }
    }
}

/// An `action.yml`, typed.
#[derive(Debug, Clone)]
pub struct ActionManifest {
    /// `name`.
    pub name: Option<String>,
    /// `description`.
    pub description: Option<String>,
    /// `inputs`.
    pub inputs: IndexMap<String, ActionInput>,
    /// `outputs`: of composite actions, each with its value.
    pub outputs: IndexMap<String, Option<Token>>,
    /// `runs`.
    pub runs: ActionRuns,
}

/// An input of an action.
#[derive(Debug, Clone)]
pub struct ActionInput {
    /// `description`.
    pub description: Option<String>,
    /// `required`.
    pub is_required: bool,
    /// `default`.
    pub default: Option<Token>,
    /// `deprecationMessage`.
    pub deprecation: Option<String>,
}

/// `runs` of an action.
#[derive(Debug, Clone)]
pub enum ActionRuns {
    /// `using: composite`.
    Composite {
        /// `steps`.
        steps: Vec<Step>,
    },
    /// `using: node20` and its like.
    Node {
        /// `using` as written, in lower case.
        using: String,
        /// `main`.
        main: String,
        /// `pre`, with `pre-if`.
        pre: Option<(String, Condition)>,
        /// `post`, with `post-if`.
        post: Option<(String, Condition)>,
    },
    /// `using: docker`.
    Docker {
        /// `image`: `Dockerfile`, a path, or `docker://image`.
        image: String,
        /// `entrypoint`.
        entrypoint: Option<String>,
        /// `args`.
        arguments: Vec<Token>,
        /// `env`.
        env: IndexMap<String, Token>,
        /// `pre-entrypoint`, with `pre-if`.
        pre: Option<(String, Condition)>,
        /// `post-entrypoint`, with `post-if`.
        post: Option<(String, Condition)>,
    },
    /// `using: runner`: an action that is part of this program.
    ///
    /// Only manifests in this program's own `actions/` folder can say so.
    Native,
}
