//! Carries a release's operations out on hosts: one transaction over the whole fleet.

mod image;
mod project;
mod world;

pub use image::{BuildWishes, ImageError};
pub use project::{Project, ProjectError, ProjectPlace, Revision, VersionError};
pub use world::ProjectWorld;
