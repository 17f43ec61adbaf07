//! `runner doctor`: what would stop or endanger a deploy, found before it begins.

mod files;
mod secrets;
mod server;
mod ssh;

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::json;
use tokio::runtime::Runtime;

use super::arguments::{DoctorArguments, Format};
use super::error::{CliError, ExitCode};
use super::project;
use super::serve::config::{ServeConfig, Values};
use super::write_line;
use crate::kamal::Config;
use crate::release::from_kamal::{self, Facts};
use crate::release::{ReleaseVersion, published_ports};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Notice,
    Warning,
    /// The user's files keep a deploy from beginning.
    Error,
    /// This machine keeps a deploy from beginning.
    Environment,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    level: Level,
    /// What was looked at.
    subject: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// What was found so far.
#[derive(Debug, Default)]
struct Findings {
    checks: Vec<Check>,
}

impl Findings {
    fn add(&mut self, level: Level, subject: &'static str, message: impl Into<String>) {
        self.checks.push(Check {
            level,
            subject,
            message: message.into(),
            hint: None,
        });
    }

    fn with_hint(
        &mut self,
        level: Level,
        subject: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(level, subject, message);
        if let Some(check) = self.checks.last_mut() {
            check.hint = Some(hint.into());
        }
    }

    fn has(&self, level: Level) -> bool {
        self.checks.iter().any(|check| check.level == level)
    }

    /// Says that all is well with `subject`, unless something was found.
    fn well(&mut self, subject: &'static str, message: impl Into<String>) {
        let bad = |check: &Check| check.subject == subject && check.level > Level::Notice;
        if !self.checks.iter().any(bad) {
            self.add(Level::Ok, subject, message);
        }
    }
}

/// Looks at the project and at what this machine needs to deploy it; changes nothing.
pub(super) fn doctor(runtime: &Runtime, arguments: &DoctorArguments) -> Result<ExitCode, CliError> {
    if arguments.serve {
        let config = ServeConfig::of(&arguments.server, Values::Read)?;
        let mut findings = Findings::default();
        server::check(runtime, &config, &mut findings);
        return Ok(told(&findings, arguments.format));
    }
    let project = match project::read(&arguments.project, arguments.format)? {
        Ok(project) => project,
        Err(code) => return Ok(code),
    };
    let mut findings = Findings::default();
    configuration(&project.config, &mut findings);
    secrets::check(&project, &mut findings);
    files::check(&project, &mut findings);
    published(&project.config, &mut findings);
    ssh::check(&project, &mut findings);
    Ok(told(&findings, arguments.format))
}

/// Prints what was found, and says how the process is to end.
fn told(findings: &Findings, format: Format) -> ExitCode {
    match format {
        Format::Json => write_line(&json!({ "checks": findings.checks }).to_string()),
        Format::Text => print(findings),
    }
    if findings.has(Level::Error) {
        ExitCode::Invalid
    } else if findings.has(Level::Environment) {
        ExitCode::Environment
    } else {
        ExitCode::Success
    }
}

/// Checks that everything in the configuration can be carried out.
fn configuration(config: &Config, findings: &mut Findings) {
    const SUBJECT: &str = "configuration";
    let facts = Facts {
        version: ReleaseVersion::new("doctor"),
        digest: None,
        driver: None,
        seed: String::new(),
    };
    let errors = [
        from_kamal::spec(config, &facts).err(),
        from_kamal::accessories(config).err(),
        from_kamal::proxies(config, None).err(),
    ];
    let mut told: Vec<String> = Vec::new();
    for error in errors.into_iter().flatten().flatten() {
        let error = error.to_string();
        if !told.contains(&error) {
            told.push(error);
        }
    }
    for error in told {
        findings.add(Level::Error, SUBJECT, error);
    }
    for notice in from_kamal::notices(config) {
        findings.add(Level::Notice, SUBJECT, notice);
    }
    let count = config.all_hosts().len();
    let servers = if count == 1 { "server" } else { "servers" };
    let message = format!("service `{}` on {count} {servers}", config.service);
    findings.well(SUBJECT, message);
}

/// Finds ports of accessories that everybody can reach: Docker's rules go before a firewall's.
fn published(config: &Config, findings: &mut Findings) {
    const SUBJECT: &str = "accessories";
    for accessory in &config.accessories {
        let of_options = accessory.options.get("publish");
        for text in accessory.port.iter().chain(&of_options) {
            let ports = published_ports(text).unwrap_or_default();
            let Some(open) = ports.iter().find(|port| port.is_open_to_all()) else {
                continue;
            };
            let outside = open.outside.unwrap_or(open.inside);
            findings.with_hint(
                Level::Warning,
                SUBJECT,
                format!(
                    "port `{text}` of `{}` is published on all interfaces, past any firewall",
                    accessory.name
                ),
                format!(
                    "write `127.0.0.1:{outside}:{}`, or an address of the servers' own network",
                    open.inside
                ),
            );
        }
    }
    if !config.accessories.is_empty() {
        findings.well(SUBJECT, "no port is open to all");
    }
}

fn print(findings: &Findings) {
    for check in &findings.checks {
        let (word, colour) = match check.level {
            Level::Ok => ("ok", AnsiColor::Green),
            Level::Notice => ("notice", AnsiColor::Cyan),
            Level::Warning => ("warning", AnsiColor::Yellow),
            Level::Error | Level::Environment => ("error", AnsiColor::Red),
        };
        let style: Style = colour.on_default().bold();
        let line = format!(
            "{style}{word:<8}{style:#} {}: {}",
            check.subject, check.message
        );
        write_line(&line);
        if let Some(hint) = &check.hint {
            write_line(&format!("{:<8} hint: {hint}", ""));
        }
    }
    let count = |wanted: &[Level]| {
        let checks = findings.checks.iter();
        checks.filter(|check| wanted.contains(&check.level)).count()
    };
    let errors = count(&[Level::Error, Level::Environment]);
    let warnings = count(&[Level::Warning]);
    write_line(&format!("{errors} errors, {warnings} warnings"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_well_only_where_nothing_worse_than_a_notice_was_found() {
        let mut findings = Findings::default();
        findings.add(Level::Notice, "a", "by the way");
        findings.add(Level::Warning, "b", "careful");
        findings.well("a", "well");
        findings.well("b", "well");
        let well = |check: &&Check| check.level == Level::Ok;
        let subjects: Vec<_> = findings
            .checks
            .iter()
            .filter(well)
            .map(|one| one.subject)
            .collect();
        assert_eq!(subjects, ["a"]);
        assert!(findings.has(Level::Warning) && !findings.has(Level::Error));
    }
}
