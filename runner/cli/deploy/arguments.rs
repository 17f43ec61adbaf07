//! The command lines of the verbs of deploys, in Kamal's words.

use clap::{Args, Subcommand};

use crate::cli::arguments::{Format, ProjectArguments};

/// What every verb on servers takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct SiteArguments {
    #[command(flatten)]
    pub(crate) project: ProjectArguments,
    /// Show every operation
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// Which servers a reading verb looks at.
#[derive(Debug, Clone, Args)]
pub(crate) struct WhereArguments {
    #[command(flatten)]
    pub(crate) site: SiteArguments,
    /// Only these servers, separated by commas; `*` stands for any letters
    #[arg(short = 'h', long, value_name = "HOSTS", value_delimiter = ',')]
    pub(crate) hosts: Vec<String>,
    /// Only these roles, separated by commas
    #[arg(short, long, value_name = "ROLES", value_delimiter = ',')]
    pub(crate) roles: Vec<String>,
    /// Only the primary server
    #[arg(short, long)]
    pub(crate) primary: bool,
}

/// `runner deploy`.
#[derive(Debug, Args)]
pub(crate) struct DeployArguments {
    #[command(flatten)]
    pub(crate) site: SiteArguments,
    /// The version [default: VERSION of the environment, else the commit]
    #[arg(long, value_name = "V")]
    pub(crate) version: Option<String>,
    /// Only print what would be done, and change nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// Carry a transaction that was left open on to its end, and do nothing else
    #[arg(long, conflicts_with_all = ["undo", "plan"])]
    pub(crate) resume: bool,
    /// Undo a transaction that was left open, and do nothing else
    #[arg(long, conflicts_with = "plan")]
    pub(crate) undo: bool,
    /// A server that is gone and does not count
    #[arg(long, value_name = "HOST")]
    pub(crate) abandon: Vec<String>,
}

/// `runner setup`.
#[derive(Debug, Args)]
pub(crate) struct SetupArguments {
    #[command(flatten)]
    pub(crate) site: SiteArguments,
    /// The version [default: VERSION of the environment, else the commit]
    #[arg(long, value_name = "V")]
    pub(crate) version: Option<String>,
}

/// `runner rollback`.
#[derive(Debug, Args)]
pub(crate) struct RollbackArguments {
    /// The release [default: the newest that succeeded and does not run]
    pub(crate) version: Option<String>,
    #[command(flatten)]
    pub(crate) site: SiteArguments,
    /// Only print what would be done, and change nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// A server that is gone and does not count
    #[arg(long, value_name = "HOST")]
    pub(crate) abandon: Vec<String>,
}

/// `runner app`.
#[derive(Debug, Args)]
pub(crate) struct AppArguments {
    #[command(subcommand)]
    pub(crate) verb: AppVerb,
}

/// What is asked of the application's containers.
#[derive(Debug, Subcommand)]
pub(crate) enum AppVerb {
    /// Print what the application's containers say
    Logs(LogsArguments),
    /// Show the application's containers
    Details(WhereArguments),
    /// Go back to an earlier release
    Rollback(Box<RollbackArguments>),
}

/// `… logs`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogsArguments {
    #[command(flatten)]
    pub(crate) place: WhereArguments,
    /// How many lines of each container [default: 100]
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) lines: Option<usize>,
    /// Only lines with this text
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) grep: Option<String>,
    /// Wait for more
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// `runner accessory`.
#[derive(Debug, Args)]
pub(crate) struct AccessoryArguments {
    #[command(subcommand)]
    pub(crate) verb: AccessoryVerb,
}

/// What is asked of accessories.
#[derive(Debug, Subcommand)]
pub(crate) enum AccessoryVerb {
    /// Start an accessory, or `all` of them
    Boot {
        /// Its name, or `all`
        name: String,
        #[command(flatten)]
        site: SiteArguments,
    },
    /// Print what an accessory says
    Logs {
        /// Its name
        name: String,
        #[command(flatten)]
        logs: LogsArguments,
    },
    /// Show an accessory, or `all` of them
    Details {
        /// Its name, or `all`
        name: String,
        #[command(flatten)]
        place: WhereArguments,
    },
}

/// `runner proxy`.
#[derive(Debug, Args)]
pub(crate) struct ProxyArguments {
    #[command(subcommand)]
    pub(crate) verb: ProxyVerb,
}

/// What is asked of the proxy.
#[derive(Debug, Subcommand)]
pub(crate) enum ProxyVerb {
    /// Start the proxy on every server that needs one
    Boot(SiteArguments),
    /// Start the proxy anew with the settings of the configuration; connections are cut
    Reboot(SiteArguments),
    /// Show the proxy
    Details(WhereArguments),
    /// Print what the proxy says
    Logs(LogsArguments),
}

/// `runner lock`.
#[derive(Debug, Args)]
pub(crate) struct LockArguments {
    #[command(subcommand)]
    pub(crate) verb: LockVerb,
}

/// What is asked of the lock.
#[derive(Debug, Subcommand)]
pub(crate) enum LockVerb {
    /// Say who holds the lock
    Status(SiteArguments),
    /// Give the lock back, whoever holds it
    Release(SiteArguments),
}

/// `runner history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    #[command(flatten)]
    pub(crate) site: SiteArguments,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}
