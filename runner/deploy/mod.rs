//! Carries a release's operations out on hosts: one transaction over the whole fleet.
//!
//! [`open`] gives a [`Transaction`]; [`Transaction::advance_to`] runs phases,
//! [`Transaction::finish`] and [`Transaction::undo`] end it. What is done is planned by
//! [`crate::release`]; this room alone changes hosts, resolves secrets when it acts, and keeps the
//! lease. Whoever wants to show what happens implements [`Progress`].
//!
//! # How it works
//! Each host has one SSH connection ([`Host`]): its Docker daemon, its containers and its proxy
//! are reached through channels of it, and one shell there runs its scripts. Hosts work at once ([`Fleet`]). Small files are written by
//! one script for neighbouring operations, under `flock`, with the fence checked there. One task
//! renews the lease; it ends with the transaction.

mod accessory;
mod apply;
mod backup;
mod carry;
mod container;
mod error;
mod fault;
mod fleet;
mod gate;
mod hook;
mod host;
mod http;
mod image;
mod lease;
mod lost;
mod machine;
mod one_off;
mod opening;
mod preview;
mod probe;
mod progress;
mod project;
mod proxy;
mod records;
mod release;
mod script;
mod settings;
mod shell;
mod takeover;
mod transaction;
mod upkeep;
mod vault;
mod world;

pub use accessory::AccessoryBoot;
pub use backup::{
    BackupFacts, BackupLook, Backups, Before, Damage, FindError, Kept, Restore, RestoreEnd,
    RestoreError, back_up,
};
pub use error::{OpError, OpenError, PhaseError};
pub use fault::arm;
pub use fleet::{Away, Fleet};
pub use hook::{HookError, HookFacts, Hooks};
pub use host::Host;
pub use image::{BuildWishes, ImageError};
pub use lost::{Fate, settle_lost};
pub use machine::process_of;
pub use opening::{Begin, LeftOpen, Look, ending_words, lock_words, look, look_closely, open, pin};
pub use preview::{Preview, preview};
pub use progress::{Event, Progress, Silent};
pub use project::{Attendance, Project, ProjectError, ProjectPlace, Revision, VersionError, login};
pub use release::{Access, NoDatabase, ReleaseError, ReleaseFacts};
pub use settings::{Reach, SecretTexts, Settings};
pub use takeover::{Ended, end_left_open, settle};
pub use transaction::{Ending, Transaction};
pub use world::{ProjectWorld, extract_secret};
