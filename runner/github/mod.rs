//! GitHub's API and its webhooks.

mod client;
mod signature;

pub use client::{Failure, GitHub, GitHubError};
pub use signature::is_signed;
