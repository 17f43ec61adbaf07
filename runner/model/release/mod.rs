//! A deploy as data: what should run, what does run, and the operations between.
//!
//! A transaction is a [`Journal`]: what it wants ([`Spec`]), what it found ([`Baseline`]), how far
//! it came ([`Phase`]). [`forward`] and [`backward`] turn it and what a probe sees now
//! ([`Observed`]) into [`Stage`]s of [`Op`]s, and are the same functions after a crash as without
//! one. Before [`Phase::Committed`] a transaction only adds, after it it only removes, so undo is:
//! the way back for the route, then remove what carries the transaction's label.
//!
//! The order of a transaction, seen from the room that carries it out:
//!
//! 1. probe, [`acquire`], probe again; [`Observed::open_transaction`] says what a dead holder left
//! 2. [`plan()`], then [`forward`] phase by phase
//! 3. [`forward`] to [`Phase::Finished`]; or [`backward`] and [`verify_undone`]
//! 4. [`close()`], whose last operation gives the lock back

mod backup;
mod backward;
mod beside;
mod close;
mod finish;
mod forward;
pub mod from_kamal;
mod history;
mod ids;
mod image;
mod journal;
mod lock;
mod observed;
mod op;
mod op_text;
mod open;
pub mod paths;
mod phase;
mod publish;
mod route;
mod run_options;
mod spec;
mod time;
pub mod traefik;
mod verify;
mod words;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use backup::{
    BACKUP_FORMAT, BackupCause, BackupManifest, RestoreRecord, StoppedContainer, backup_name,
};
pub use backward::{backward, leftovers};
pub use close::{audit_line, close};
pub use forward::{Blocked, forward};
pub use history::{HistoryLine, Outcome, RollbackError, Running, rollback_target};
pub use ids::{
    ContainerId, ContainerName, Digest, Fence, HostName, InvalidTransactionId, ReleaseVersion,
    RoleName, SecretName, ServiceName, TransactionId,
};
pub use image::{ImageRef, InvalidImageRef};
pub use journal::{
    Baseline, FORMAT, Failure, Holder, HostBaseline, Journal, Kind, Reached, SchemaChange,
};
pub use lock::{
    AUTOMATIC, LEASE_LIFE, LEASE_RENEWAL, LEASE_TRUST, Lease, LockDetails, LockFound, LockVerdict,
    Machine,
};
pub use observed::{Answer, Found, HostState, Observed, ProxyFound, RouteFile};
pub use op::{
    AppPlan, BackendPlan, Check, Op, PathPair, RoutePlan, Stage, Target, UnknownContainer, Verb,
};
pub use open::{
    Opening, PlanError, Problem, acquire, application_name, hosts_to_lock, hosts_to_probe, plan,
    preflight,
};
pub use phase::Phase;
pub use publish::{Mounts, PublishedPort, published_ports};
pub use route::{Backend, Route, RouteApp, RouteHealth, RouteSpec, Tls, service_name};
pub use run_options::{Device, OptionError, RunOptions, Ulimit};
pub use spec::{
    ACCESSORY_LABEL, APPLICATION_LABEL, AUTHORITY_LABEL, AccessoryRef, ContainerOption,
    ContainerSpec, DatabaseRef, DrainMode, Duty, GateSettings, HealthCheck, LogSettings,
    MigrateSpec, PROXY_LABEL, PURPOSE_LABEL, ProxyWish, Spec, TRANSACTION_LABEL,
};
pub use time::{Millis, UnixMillis};
pub use verify::{Difference, verify_undone};
pub use words::{CommandError, command_words};
