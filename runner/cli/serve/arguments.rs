//! The command lines of `serve`, `dispatch`, `init` and `runs`, as clap reads them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::super::arguments::Format;

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

/// `runner init`.
#[derive(Debug, Args)]
pub(in super::super) struct InitArguments {
    /// Where the configuration is written
    #[arg(long, value_name = "FILE", default_value = "runner.toml")]
    pub(in super::super) config: PathBuf,
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
    /// List events and what became of each
    Events {
        #[command(flatten)]
        config: ServerArguments,
        /// At most so many
        #[arg(long, value_name = "N", default_value = "20")]
        limit: u32,
    },
}
