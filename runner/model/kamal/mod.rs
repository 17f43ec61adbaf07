//! Kamal's `config/deploy.yml` and secrets files, read to typed values.
//!
//! [`read`] renders the templates, lays the destination's file over the base, translates the words
//! of Kamal 1, and reads the whole to a [`Config`]; all problems are told at once, each with its
//! file and line. Version 2.12 of Kamal is the measure. [`Secrets`] are apart: a configuration only
//! names them. What the outside must answer (environment, files, commands) comes from a [`World`].

mod accessory;
mod aliases;
mod boot;
mod builder;
mod check;
mod config;
mod diagnostics;
mod docker_options;
mod dotenv;
mod env;
mod erb;
mod escape;
mod fields;
mod filter;
mod json;
mod logging;
mod proxy;
mod reading;
mod registry;
mod role;
mod runner_extension;
mod secrets;
mod setting;
mod ssh;
mod translate;
mod version;
mod world;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

pub use accessory::{Accessory, Mount};
pub use boot::{Boot, BootLimit};
pub use builder::{BuildCache, Builder, CacheKind, Pack};
pub use config::Config;
pub use diagnostics::FileDiagnostic;
pub use docker_options::DockerOptions;
pub use dotenv::split_words;
pub use env::{Env, SecretVariable};
pub use escape::{arguments, env_file, env_file_value, shell_value, shell_word};
pub use filter::{NoMatch, select};
pub use json::{JsonContext, to_json};
pub use logging::{HookOutput, HooksOutput, Logging, Output};
pub use proxy::{Buffering, Healthcheck, Proxy, ProxyLogging, ProxyRun, Ssl};
pub use reading::{Reading, read, render_template};
pub use registry::{Credential, Registry};
pub use role::{AssetPath, Role, RoleHost};
pub use runner_extension::{
    Acme, AcmeChallenge, Drain, Gate, Migrate, ProxyDriver, RunnerExtension, RunnerProxy,
};
pub use secrets::{MissingSecret, SecretValues, Secrets, SecretsError};
pub use setting::{Place, Scalar};
pub use ssh::{Ssh, SshConfigFiles, SshKey, SshProxy, Sshkit};
pub use version::{GitFacts, NoVersion, VersionSources, abbreviated_version};
pub use world::World;
