//! Dumps of a database in a PostgreSQL accessory: made, kept on this machine, and put back.
//!
//! A dump is two files of one stem: `.dump`, what `pg_dump -Fc` wrote, and `.json`, a
//! [`BackupManifest`](crate::release::BackupManifest). Both appear whole or not at all, the dump last.
//! Nothing here ever removes a dump that is whole.

mod dump;
mod kept;
mod postgres;
mod restore;

pub(super) use dump::before_migration;
pub use dump::{BackupFacts, back_up};
pub use kept::{Backups, Damage, FindError, Kept, Look as BackupLook};
pub(super) use postgres::end_sessions;
pub use restore::{Before, Restore, RestoreEnd, RestoreError};
