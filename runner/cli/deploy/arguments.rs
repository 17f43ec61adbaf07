//! The command lines of the verbs of deploys, in Kamal's words.

use clap::{Args, Subcommand};

use crate::cli::arguments::{Format, ProjectArguments};

/// What every verb on servers takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct SiteArguments {
    #[command(flatten)]
    pub(crate) project: ProjectArguments,
    /// Show every operation, and what hooks say
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Run none of the project's hooks
    #[arg(short = 'H', long)]
    pub(crate) skip_hooks: bool,
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
    /// Run a command in a new container like the application's
    Exec(ExecArguments),
    /// Boot the release that runs again, or another one, without a migration
    Boot(AppBootArguments),
    /// Stop the application's containers
    Stop(WhereArguments),
    /// Start the containers of the last release again
    Start(WhereArguments),
    /// Have the proxy answer 503 for the application
    Maintenance(WhereArguments),
    /// End the maintenance
    Live(WhereArguments),
    /// Go back to an earlier release
    Rollback(Box<RollbackArguments>),
}

/// `runner app boot`.
#[derive(Debug, Clone, Args)]
pub(crate) struct AppBootArguments {
    #[command(flatten)]
    pub(crate) site: SiteArguments,
    /// The release [default: the one that runs]
    #[arg(long, value_name = "V")]
    pub(crate) version: Option<String>,
}

/// `runner app exec`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExecArguments {
    #[command(flatten)]
    pub(crate) place: WhereArguments,
    /// Run it in the containers that run
    #[arg(long)]
    pub(crate) reuse: bool,
    /// A variable for the command
    #[arg(short, long, value_name = "NAME:VALUE")]
    pub(crate) env: Vec<String>,
    /// The release [default: the one that runs]
    #[arg(long, value_name = "V")]
    pub(crate) version: Option<String>,
    /// The command: one text is split as a shell would, several words are taken as they are
    #[arg(required = true, trailing_var_arg = true)]
    pub(crate) command: Vec<String>,
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
    /// Make the container of an accessory, or of `all`, anew; data stays
    Reboot {
        /// Its name, or `all`
        name: String,
        #[command(flatten)]
        site: SiteArguments,
    },
    /// Start the container of an accessory, or of `all`
    Start {
        /// Its name, or `all`
        name: String,
        #[command(flatten)]
        site: SiteArguments,
    },
    /// Stop the container of an accessory, or of `all`
    Stop {
        /// Its name, or `all`
        name: String,
        #[command(flatten)]
        site: SiteArguments,
    },
    /// Stop and start the container of an accessory, or of `all`
    Restart {
        /// Its name, or `all`
        name: String,
        #[command(flatten)]
        site: SiteArguments,
    },
    /// Run a command in a new container like an accessory's
    Exec(AccessoryExecArguments),
    /// Remove the container of an accessory, or of `all`
    Remove(AccessoryRemoveArguments),
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

/// `runner accessory exec`.
#[derive(Debug, Clone, Args)]
pub(crate) struct AccessoryExecArguments {
    /// Its name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) site: SiteArguments,
    /// Run it in the container that runs
    #[arg(long)]
    pub(crate) reuse: bool,
    /// The command: one text is split as a shell would, several words are taken as they are
    #[arg(required = true, trailing_var_arg = true)]
    pub(crate) command: Vec<String>,
}

/// `runner accessory remove`.
#[derive(Debug, Clone, Args)]
pub(crate) struct AccessoryRemoveArguments {
    /// Its name, or `all`
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) site: SiteArguments,
    /// Do it without asking
    #[arg(short = 'y', long = "confirmed")]
    pub(crate) is_confirmed: bool,
    /// Remove the folder of its files and data on the server, too; named volumes stay
    #[arg(long)]
    pub(crate) data: bool,
}

/// `runner backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    #[command(subcommand)]
    pub(crate) verb: BackupVerb,
}

/// What is asked of dumps of the database.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupVerb {
    /// Dump the database to this machine
    Create(BackupCreateArguments),
    /// List the dumps on this machine, the newest first, and say which are damaged
    List(BackupListArguments),
    /// Put a dump in the database's place; what is there now is dumped first
    Restore(BackupRestoreArguments),
}

/// `runner backup create`.
#[derive(Debug, Args)]
pub(crate) struct BackupCreateArguments {
    #[command(flatten)]
    pub(crate) site: SiteArguments,
    /// The PostgreSQL accessory [default: the only one, or the one that the application names]
    #[arg(long, value_name = "NAME")]
    pub(crate) accessory: Option<String>,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

/// `runner backup list`.
#[derive(Debug, Args)]
pub(crate) struct BackupListArguments {
    #[command(flatten)]
    pub(crate) project: ProjectArguments,
    /// Look at lengths alone, not at every byte
    #[arg(long)]
    pub(crate) quick: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

/// `runner backup restore`.
#[derive(Debug, Args)]
pub(crate) struct BackupRestoreArguments {
    /// The dump: a name of `backup list`, or a path
    #[arg(required_unless_present = "undo")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) site: SiteArguments,
    /// The PostgreSQL accessory [default: the only one, or the one that the application names]
    #[arg(long, value_name = "NAME")]
    pub(crate) accessory: Option<String>,
    /// Do it without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Put back what a restore that was interrupted has left, and do nothing else
    #[arg(long, conflicts_with = "name")]
    pub(crate) undo: bool,
}

/// `runner prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneVerbArguments {
    #[command(subcommand)]
    pub(crate) verb: PruneVerb,
}

/// What is removed.
#[derive(Debug, Subcommand)]
pub(crate) enum PruneVerb {
    /// Old containers, then images that none uses
    All(PruneArguments),
    /// Old containers
    Containers(PruneArguments),
    /// Images of the application that no container uses
    Images(PruneArguments),
}

/// `runner prune …`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PruneArguments {
    #[command(flatten)]
    pub(crate) place: WhereArguments,
    /// How many stopped containers of each role stay [default: `retain_containers`]
    #[arg(long, value_name = "N")]
    pub(crate) retain: Option<usize>,
}

/// `runner lock acquire`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LockAcquireArguments {
    #[command(flatten)]
    pub(crate) site: SiteArguments,
    /// Why
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: String,
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
    /// Take the lock, so that nobody deploys
    Acquire(LockAcquireArguments),
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
