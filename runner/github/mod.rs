//! GitHub's API and its webhooks.

mod answer;
mod app;
mod client;
mod signature;

pub use answer::{Answer, ask};
pub use app::App;
pub use client::{Failure, GitHub, GitHubError, Page};
pub use signature::is_signed;

/// Where GitHub itself answers.
pub const API: &str = "https://api.github.com";
