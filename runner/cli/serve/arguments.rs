//! The command lines of `serve`, `dispatch`, `init` and `runs`, as clap reads them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::super::arguments::Format;
use crate::scheduler::AccessScope;

/// The variable that names the database, and can hold its password.
pub(in super::super) const DATABASE_VARIABLE: &str = "RUNNER_DATABASE";

/// Which server is meant.
#[derive(Debug, Clone, Args)]
pub(in super::super) struct ServerArguments {
    /// The configuration of the server
    #[arg(long, value_name = "FILE", default_value = "runner.toml")]
    pub(in super::super) config: PathBuf,
    /// The database that several machines share [default: a file in the folder of the server]
    #[arg(
        long,
        value_name = "URL",
        env = DATABASE_VARIABLE,
        hide_env_values = true
    )]
    pub(in super::super) database: Option<String>,
}

/// `runner serve`.
#[derive(Debug, Args)]
pub(in super::super) struct ServeArguments {
    #[command(flatten)]
    pub(in super::super) config: ServerArguments,
}

/// `runner dispatch`.
#[derive(Debug, Args)]
pub(in super::super) struct DispatchArguments {
    #[command(flatten)]
    pub(in super::super) config: ServerArguments,
    /// The workflow: its path, its file's name, or its name
    pub(in super::super) workflow: String,
    /// The repository; the only one where it is left out
    #[arg(long, value_name = "OWNER/NAME")]
    pub(in super::super) repository: Option<String>,
    /// The branch or tag
    #[arg(long = "ref", value_name = "REF", default_value = "main")]
    pub(in super::super) git_ref: String,
    /// An input of the workflow
    #[arg(long, value_name = "K=V")]
    pub(in super::super) input: Vec<String>,
}

/// `runner secret`.
#[derive(Debug, Args)]
pub(in super::super) struct SecretArguments {
    #[command(subcommand)]
    pub(in super::super) verb: SecretVerb,
}

/// For whom a secret is.
#[derive(Debug, Args)]
pub(in super::super) struct SecretScopeArguments {
    #[command(flatten)]
    pub(in super::super) config: ServerArguments,
    /// Only for runs of this repository
    #[arg(long, value_name = "OWNER/NAME")]
    pub(in super::super) repository: Option<String>,
    /// Only for jobs with this `environment:`
    #[arg(long, value_name = "NAME")]
    pub(in super::super) environment: Option<String>,
    /// Only for runs of this event
    #[arg(long, value_name = "NAME")]
    pub(in super::super) event: Option<String>,
}

/// What is asked of the secrets that a server keeps.
#[derive(Debug, Subcommand)]
pub(in super::super) enum SecretVerb {
    /// Store a secret; its value comes from standard input, or is asked for
    Set {
        /// Its name
        name: String,
        #[command(flatten)]
        scope: SecretScopeArguments,
    },
    /// List secrets, without their values
    List {
        #[command(flatten)]
        config: ServerArguments,
        /// How the result is printed
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Remove a secret
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        scope: SecretScopeArguments,
    },
}

/// `runner token`.
#[derive(Debug, Args)]
pub(in super::super) struct TokenArguments {
    #[command(subcommand)]
    pub(in super::super) verb: TokenVerb,
}

/// What a token allows; each allows all that stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in super::super) enum TokenScope {
    /// To see runs, their logs and figures.
    Read,
    /// To start, cancel and rerun.
    Run,
    /// To see and revoke tokens, and to see which secrets there are.
    Admin,
}

impl From<TokenScope> for AccessScope {
    fn from(scope: TokenScope) -> Self {
        match scope {
            TokenScope::Read => Self::Read,
            TokenScope::Run => Self::Run,
            TokenScope::Admin => Self::Admin,
        }
    }
}

/// What is asked of the tokens of a server.
#[derive(Debug, Subcommand)]
pub(in super::super) enum TokenVerb {
    /// Make a token, and print it this once
    Create {
        #[command(flatten)]
        config: ServerArguments,
        /// What it is called
        name: String,
        /// What it allows
        #[arg(long, value_enum, default_value = "read")]
        scope: TokenScope,
        /// How long it counts, as `90d`, or `never`
        #[arg(long, value_name = "TIME", default_value = "90d")]
        expires: String,
    },
    /// List tokens, without what is secret in them
    List {
        #[command(flatten)]
        config: ServerArguments,
        /// How the result is printed
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Revoke a token for good
    Revoke {
        #[command(flatten)]
        config: ServerArguments,
        /// Its name or id
        token: String,
    },
}

/// `runner init`.
#[derive(Debug, Args)]
pub(in super::super) struct InitArguments {
    /// Where the configuration is written
    #[arg(long, value_name = "FILE", default_value = "runner.toml")]
    pub(in super::super) config: PathBuf,
}

/// `runner notify`.
#[derive(Debug, Args)]
pub(in super::super) struct NotifyArguments {
    #[command(subcommand)]
    pub(in super::super) verb: NotifyVerb,
}

/// What is asked of the ways to people.
#[derive(Debug, Subcommand)]
pub(in super::super) enum NotifyVerb {
    /// Tell a test, by one channel or by all
    Test {
        #[command(flatten)]
        config: ServerArguments,
        /// The channel
        name: Option<String>,
    },
    /// List what was told and what waits, the newest first
    List {
        #[command(flatten)]
        config: ServerArguments,
        /// At most so many
        #[arg(long, value_name = "N", default_value = "20")]
        limit: u32,
    },
}

/// `runner runs`.
#[derive(Debug, Args)]
pub(in super::super) struct RunsArguments {
    #[command(subcommand)]
    pub(in super::super) verb: RunsVerb,
}

/// What is asked of the runs of a server.
#[derive(Debug, Subcommand)]
pub(in super::super) enum RunsVerb {
    /// List runs, the newest first
    List {
        #[command(flatten)]
        config: ServerArguments,
        /// Only of this repository
        #[arg(long, value_name = "OWNER/NAME")]
        repository: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value = "20")]
        limit: u32,
        /// How the result is printed
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Show where a run and its jobs stand
    Show {
        #[command(flatten)]
        config: ServerArguments,
        /// The run
        run: String,
        /// An earlier attempt
        #[arg(long, value_name = "N")]
        attempt: Option<u32>,
        /// How the result is printed
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Print what a run printed
    Logs {
        #[command(flatten)]
        config: ServerArguments,
        /// The run
        run: String,
        /// Only this job: its key or its name
        #[arg(long, value_name = "JOB")]
        job: Option<String>,
        /// An earlier attempt
        #[arg(long, value_name = "N")]
        attempt: Option<u32>,
    },
    /// Print what a run prints until it ends, and end as it did
    Watch {
        #[command(flatten)]
        config: ServerArguments,
        /// The run
        run: String,
    },
    /// Cancel a run; once more ends it at once
    Cancel {
        #[command(flatten)]
        config: ServerArguments,
        /// The run
        run: String,
    },
    /// Let a run begin that waits for approval, with the commit that it has
    Approve {
        #[command(flatten)]
        config: ServerArguments,
        /// The run
        run: String,
        /// Only if it is of this commit
        #[arg(long, value_name = "SHA")]
        commit: Option<String>,
    },
    /// Run a run that ended once more
    Rerun {
        #[command(flatten)]
        config: ServerArguments,
        /// The run
        run: String,
        /// Only what did not succeed, and what needs it
        #[arg(long, conflicts_with = "job")]
        failed: bool,
        /// Only this job, and what needs it
        #[arg(long, value_name = "JOB")]
        job: Option<String>,
    },
    /// Remove logs and runs that are older than `[keep]` says, as the server does every hour
    Prune {
        #[command(flatten)]
        config: ServerArguments,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
    /// List events and what became of each
    Events {
        #[command(flatten)]
        config: ServerArguments,
        /// At most so many
        #[arg(long, value_name = "N", default_value = "20")]
        limit: u32,
    },
}
