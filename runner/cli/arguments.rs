//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::deploy::arguments::{
    AccessoryArguments, AppArguments, BackupArguments, DeployArguments, HistoryArguments,
    LockArguments, ProxyArguments, PruneVerbArguments, RollbackArguments, SetupArguments,
    WhereArguments,
};
use super::report::ReportTo;
use super::serve::arguments::{
    DispatchArguments, InitArguments, NotifyArguments, RunsArguments, SecretArguments,
    ServeArguments, ServerArguments, TokenArguments,
};

/// Exit codes, shown at the end of every help.
const EXIT_CODES: &str = "Exit codes: 0 success · 1 internal · 2 command line · 3 workflow or configuration invalid · \
4 no trigger matched · 5 environment (Docker, SSH, GitHub, store unreachable) · 10 run failed · 11 cancelled · \
12 timed out · 20 deploy failed, undone · 21 deploy failed and undo incomplete";

/// Runs GitHub Actions workflows on your own machines and deploys containers over SSH.
#[derive(Debug, Parser)]
#[command(name = "runner", version, after_help = EXIT_CODES, disable_help_flag = true, disable_version_flag = true)]
pub(super) struct Arguments {
    /// Print help
    #[arg(long, global = true, action = clap::ArgAction::Help)]
    help: Option<bool>,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run a workflow file on this machine
    Run(Box<RunArguments>),
    /// Say what is wrong in workflow files, all of it, with places and hints
    Check(CheckArguments),
    /// Show which jobs of a workflow wait for which
    Graph(GraphArguments),
    /// Evaluate an expression
    Eval(EvalArguments),
    /// Say what would stop or endanger a deploy, before it begins
    Doctor(DoctorArguments),
    /// Print the deploy configuration with everything filled in and merged
    Config(ConfigArguments),
    /// Print secrets, or a single one
    Secrets(SecretsArguments),
    /// Deploy a release: either it runs everywhere, or everything is put back
    Deploy(DeployArguments),
    /// Go back to an earlier release
    Rollback(RollbackArguments),
    /// Prepare the servers, then deploy
    Setup(SetupArguments),
    /// The application's containers
    App(AppArguments),
    /// Services beside the application
    Accessory(AccessoryArguments),
    /// The proxy in front of the application
    Proxy(ProxyArguments),
    /// Dumps of the database
    Backup(BackupArguments),
    /// Remove old containers and images of the application from the servers
    Prune(PruneVerbArguments),
    /// The deploy lock
    Lock(LockArguments),
    /// Print the audit log of the servers
    Audit(WhereArguments),
    /// List the releases that were deployed
    History(HistoryArguments),
    /// Show all containers
    Details(WhereArguments),
    /// Watch repositories, run what is due, and tell how it went
    Serve(ServeArguments),
    /// The runs of a server
    Runs(RunsArguments),
    /// Whether people can be told of failures, and what they were told
    Notify(NotifyArguments),
    /// Start a workflow of a watched repository by hand
    Dispatch(DispatchArguments),
    /// The secrets that a server keeps, encrypted
    Secret(SecretArguments),
    /// Who may ask a server, and for what
    Token(TokenArguments),
    /// Write a configuration for `serve`
    Init(InitArguments),
    /// The process of one job of a server
    #[command(hide = true)]
    Job,
    /// Print the version
    Version,
}

/// How a command prints its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// `runner run`.
#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// The workflow file; the only one in pipelines/ where it is left out
    pub(super) file: Option<PathBuf>,
    /// The event that starts the run; its filters count
    #[arg(long, value_name = "NAME")]
    pub(super) event: Option<String>,
    /// The event's payload
    #[arg(long, value_name = "JSON")]
    pub(super) event_file: Option<PathBuf>,
    /// An input of the workflow
    #[arg(long, value_name = "K=V")]
    pub(super) input: Vec<String>,
    /// Run only this job and what it needs
    #[arg(long, value_name = "JOB")]
    pub(super) job: Option<String>,
    /// Run only the combinations of matrices with this value; can be given several times
    #[arg(long, value_name = "KEY:VALUE")]
    pub(super) matrix: Vec<String>,
    /// Where the jobs of a label of `runs-on` run: LABEL=host, LABEL=docker:IMAGE or LABEL=ssh://USER@HOST[:PORT][?image=IMAGE]
    #[arg(long, value_name = "LABEL=PLACE")]
    pub(super) on: Vec<String>,
    /// A variable for every step
    #[arg(long, value_name = "K=V")]
    pub(super) env: Vec<String>,
    /// Variables for every step, one K=V a line
    #[arg(long, value_name = "FILE")]
    pub(super) env_file: Option<PathBuf>,
    /// A secret, with its value from the environment
    #[arg(long, value_name = "NAME")]
    pub(super) secret: Vec<String>,
    /// Secrets, one K=V a line
    #[arg(long, value_name = "FILE")]
    pub(super) secret_file: Option<PathBuf>,
    /// A configuration variable (the context `vars`)
    #[arg(long, value_name = "K=V")]
    pub(super) var: Vec<String>,
    /// Configuration variables, one K=V a line
    #[arg(long, value_name = "FILE")]
    pub(super) var_file: Option<PathBuf>,
    /// Where `owner/repo@ref` is looked for: DIR/owner/repo
    #[arg(long, value_name = "DIR")]
    pub(super) actions_dir: Option<PathBuf>,
    /// Only print which jobs would run
    #[arg(long)]
    pub(super) plan: bool,
    /// How many jobs run at once [default: one per processor]
    #[arg(long, value_name = "N")]
    pub(super) slots: Option<usize>,
    /// Show debug lines
    #[arg(long)]
    pub(super) debug: bool,
    /// Tell somebody of the run: GitHub, or a collector of traces; may be given more than once
    #[arg(long, value_name = "WHERE", value_enum)]
    pub(super) report: Vec<ReportTo>,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
}

/// How `runner graph` draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum GraphFormat {
    /// Stages, one job a line.
    Text,
    /// A flowchart for Mermaid.
    Mermaid,
}

/// `runner graph`.
#[derive(Debug, Args)]
pub(super) struct GraphArguments {
    /// The workflow file
    pub(super) file: PathBuf,
    /// How it is drawn
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: GraphFormat,
}

/// `runner check`.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// Files, or folders whose workflow files are checked [default: pipelines and .github/workflows]
    pub(super) paths: Vec<PathBuf>,
    /// Where `owner/repo@ref` is looked for: DIR/owner/repo
    #[arg(long, value_name = "DIR")]
    pub(super) actions_dir: Option<PathBuf>,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
}

/// How `runner eval` takes its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum EvalAs {
    /// An expression without `${{ }}`.
    Value,
    /// The text of an `if:`.
    If,
    /// Text with `${{ }}` in it.
    Template,
    /// Grammar only: any name, any function.
    Syntax,
}

/// `runner eval`.
#[derive(Debug, Args)]
pub(super) struct EvalArguments {
    /// The expression; behind `--` where it begins with `-`
    pub(super) expression: String,
    /// The contexts: a JSON object, or @FILE
    #[arg(long, value_name = "JSON")]
    pub(super) context: Option<String>,
    /// How the text is taken
    #[arg(long = "as", value_enum, default_value = "value")]
    pub(super) mode: EvalAs,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
}

/// Which project's deploy configuration is meant.
#[derive(Debug, Clone, Args)]
pub(super) struct ProjectArguments {
    /// The deploy configuration
    #[arg(short, long, value_name = "FILE", default_value = "config/deploy.yml")]
    pub(super) config_file: String,
    /// The destination, whose file is laid over the configuration
    #[arg(short, long, value_name = "DEST")]
    pub(super) destination: Option<String>,
}

/// `runner doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    #[command(flatten)]
    pub(super) project: ProjectArguments,
    /// Look at what `runner serve` needs instead: clock, disk, database, tokens, webhooks
    #[arg(long)]
    pub(super) serve: bool,
    #[command(flatten)]
    pub(super) server: ServerArguments,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
}

/// `runner config`.
#[derive(Debug, Args)]
pub(super) struct ConfigArguments {
    #[command(flatten)]
    pub(super) project: ProjectArguments,
    /// The version [default: VERSION of the environment, else the commit]
    #[arg(long, value_name = "V")]
    pub(super) version: Option<String>,
    /// Show the values of secrets
    #[arg(long)]
    pub(super) reveal_secrets: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
}

/// `runner secrets`.
#[derive(Debug, Args)]
pub(super) struct SecretsArguments {
    #[command(subcommand)]
    pub(super) verb: SecretsVerb,
}

/// What is asked of secrets.
#[derive(Debug, Subcommand)]
pub(super) enum SecretsVerb {
    /// Print all secrets with their values
    Print(SecretsPrintArguments),
    /// Print secrets of a password manager as one JSON object
    Fetch {
        /// The password manager: 1password, `aws_secrets_manager`, doppler, gcp
        #[arg(short, long)]
        adapter: String,
        /// The account there
        #[arg(long)]
        account: Option<String>,
        /// What stands before every name: a vault, an item, a project
        #[arg(long)]
        from: Option<String>,
        /// The names
        names: Vec<String>,
        /// Taken for Kamal's sake
        #[arg(long, hide = true)]
        inline: bool,
    },
    /// Print one value out of what `fetch` gave
    Extract {
        /// The secret's name, or the last part of it
        name: String,
        /// The JSON object
        secrets: String,
        /// Taken for Kamal's sake
        #[arg(long, hide = true)]
        inline: bool,
    },
}

/// `runner secrets print`.
#[derive(Debug, Args)]
pub(super) struct SecretsPrintArguments {
    #[command(flatten)]
    pub(super) project: ProjectArguments,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
}
