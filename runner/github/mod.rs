//! GitHub's API and its webhooks.

mod app;
mod client;
mod signature;

pub use app::App;
pub use client::{Failure, GitHub, GitHubError, Page};
pub use signature::is_signed;
