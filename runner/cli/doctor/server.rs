//! Whether this machine can run `runner serve` for months: clock, disk, database, tokens, ways in.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::runtime::Runtime;

use super::{Findings, Level};
use crate::cli::serve::config::{ServeConfig, Watched};
use crate::cli::serve::machine;
use crate::cli::settings;
use crate::diagnostic::chain;
use crate::docker::{Engine, local_socket};
use crate::github::{Answer, ask};
use crate::scheduler::{Room, free_space, shown_size};
use crate::store::{LATEST, version_of};
use crate::telemetry::Sending;

/// A clock that is off by more is worth a warning: leases and signatures go by it.
const MAX_SKEW: TimeDelta = TimeDelta::seconds(30);

/// Looks at everything that a server needs; changes nothing.
pub(super) fn check(runtime: &Runtime, config: &ServeConfig, findings: &mut Findings) {
    let count = config.repositories.len();
    if count == 0 {
        findings.add(
            Level::Error,
            "configuration",
            "no repository is to be watched",
        );
    }
    findings.well("configuration", format!("{count} repositories are watched"));
    folder(&config.data, findings);
    disk(config, findings);
    runtime.block_on(async {
        database(config, findings).await;
        docker(findings).await;
        let mut names: Vec<&String> = config.repositories.keys().collect();
        names.sort_unstable();
        for name in names {
            if let Some(watched) = config.repositories.get(name) {
                repository(config, watched, findings).await;
            }
        }
        public_url(config, findings).await;
        collector(config, findings).await;
    });
}

/// Who may read the folder of the server: logs and the store are there.
fn folder(data: &Path, findings: &mut Findings) {
    const SUBJECT: &str = "data";
    let shown = data.display();
    let about = match fs::metadata(data) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("`{shown}` is not there yet; the first start makes it");
            findings.add(Level::Notice, SUBJECT, message);
            return;
        }
        Err(error) => {
            let message = format!("`{shown}` cannot be looked at: {error}");
            findings.add(Level::Environment, SUBJECT, message);
            return;
        }
        Ok(about) => about,
    };
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        findings.with_hint(
            Level::Warning,
            SUBJECT,
            format!("everybody on this machine may look into `{shown}` ({mode:o})"),
            format!("chmod 700 {shown}"),
        );
    }
    let may_write = nix::unistd::access(data, nix::unistd::AccessFlags::W_OK).is_ok();
    if !may_write {
        let message = format!("`{shown}` cannot be written to by this user");
        findings.add(Level::Environment, SUBJECT, message);
    }
    findings.well(SUBJECT, format!("`{shown}` is this user's ({mode:o})"));
}

fn disk(config: &ServeConfig, findings: &mut Findings) {
    const SUBJECT: &str = "disk";
    let place = existing(&config.data);
    match Room::new(&place, config.min_free).lack() {
        Some(why) => findings.add(Level::Environment, SUBJECT, why),
        None => {
            let free = free_space(&place).map_or(0, |space| space.bytes);
            let message = format!(
                "{} are free; below {} no job begins",
                shown_size(free),
                shown_size(config.min_free)
            );
            findings.well(SUBJECT, message);
        }
    }
}

/// Returns the folder, or the nearest one above it that is there.
fn existing(folder: &Path) -> PathBuf {
    let mut above = folder.ancestors();
    let found = above.find(|folder| folder.exists());
    found.unwrap_or(Path::new("/")).to_owned()
}

async fn database(config: &ServeConfig, findings: &mut Findings) {
    const SUBJECT: &str = "database";
    let (url, shown) = match &config.database {
        Some(url) => (url.clone(), machine::shown(url)),
        None => {
            let file = config.data.join("runner.db");
            if !file.exists() {
                let message = format!(
                    "`{}` is not there yet; the first start makes it",
                    file.display()
                );
                findings.add(Level::Notice, SUBJECT, message);
                return;
            }
            let shown = file.display().to_string();
            (format!("sqlite://{shown}?mode=rw"), shown)
        }
    };
    match version_of(&url).await {
        Err(error) => {
            let message = format!("`{shown}` cannot be used: {}", chain(&error));
            findings.add(Level::Environment, SUBJECT, message);
        }
        Ok(version) if version > LATEST => findings.with_hint(
            Level::Environment,
            SUBJECT,
            format!("the schema of `{shown}` is {version}; this program knows {LATEST}"),
            "a newer one was here before; use that one",
        ),
        Ok(version) if version < LATEST => {
            let message = format!(
                "the schema of `{shown}` is {version}; the next start brings it to {LATEST}"
            );
            findings.add(Level::Notice, SUBJECT, message);
        }
        Ok(version) => findings.add(
            Level::Ok,
            SUBJECT,
            format!("`{shown}` answers, with schema {version}"),
        ),
    }
}

async fn docker(findings: &mut Findings) {
    const SUBJECT: &str = "docker";
    let host = settings::variable("DOCKER_HOST");
    let Some(socket) = local_socket(host.as_deref()) else {
        let host = host.unwrap_or_default();
        let message = format!("DOCKER_HOST is `{host}`; only sockets of this machine are");
        findings.add(Level::Warning, SUBJECT, message);
        return;
    };
    match Engine::local(socket).await {
        Ok(_) => findings.add(Level::Ok, SUBJECT, format!("`{socket}` answers")),
        Err(error) => findings.with_hint(
            Level::Warning,
            SUBJECT,
            format!("jobs with containers fail: {}", chain(&error)),
            "start Docker, and put the user of the server into the group `docker`",
        ),
    }
}

/// Looks at the token of a repository, at the clock beside GitHub's, and at how events come in.
async fn repository(config: &ServeConfig, watched: &Watched, findings: &mut Findings) {
    let name = &watched.repository.name;
    let every = humantime::format_duration(watched.poll);
    if watched.webhook_secrets.is_empty() {
        let message = format!("{name}: no webhook is taken; it is looked at every {every}");
        findings.add(Level::Ok, "events", message);
    } else if config.server.is_none() {
        findings.with_hint(
            Level::Warning,
            "events",
            format!("{name}: `webhook-secrets` are there, but nothing listens"),
            "write [server] with `listen`",
        );
    } else {
        let message = format!("{name}: webhooks are taken, and it is looked at every {every}");
        findings.add(Level::Ok, "events", message);
    }
    let Some(token) = watched.repository.credentials.token.current() else {
        let message = if config.app.is_some() {
            format!("{name}: a GitHub App speaks for it while the server runs")
        } else {
            format!("{name}: no token, so nothing is told to GitHub")
        };
        findings.add(Level::Notice, "token", message);
        return;
    };
    match ask(&watched.api, &format!("/repos/{name}"), Some(&token)).await {
        Err(why) => {
            let message = format!("{name}: `{}` does not answer: {why}", watched.api);
            findings.add(Level::Environment, "token", message);
        }
        Ok(answer) => {
            clock(&answer, &watched.api, findings);
            let (level, message) = judged(&answer, watched.repository.reports);
            findings.add(level, "token", format!("{name}: {message}"));
        }
    }
}

/// Says what a token can do for a repository.
fn judged(answer: &Answer, reports: bool) -> (Level, String) {
    match answer.status {
        200 => {}
        401 => {
            let message = "the token is refused: it is wrong or over".to_owned();
            return (Level::Environment, message);
        }
        403 | 404 => {
            let message = format!("the token does not see the repository ({})", answer.status);
            return (Level::Environment, message);
        }
        status => return (Level::Warning, format!("the API answers {status}")),
    }
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let may_push = body
        .pointer("/permissions/push")
        .and_then(serde_json::Value::as_bool);
    let scopes = answer.scopes.as_deref().unwrap_or_default();
    let list: Vec<&str> = scopes.split(',').map(str::trim).collect();
    let is_classic = !scopes.is_empty();
    let has_scope = list
        .iter()
        .any(|scope| matches!(*scope, "repo" | "public_repo") || *scope == "repo:status");
    if reports && (may_push == Some(false) || is_classic && !has_scope) {
        let message = format!(
            "the token cannot post statuses: it wants write access, and of a classic one the scope `repo` (it has `{scopes}`)"
        );
        return (Level::Warning, message);
    }
    let of = if is_classic {
        format!(" with `{scopes}`")
    } else {
        String::new()
    };
    (Level::Ok, format!("the token is good{of}"))
}

/// Compares this machine's clock with an answer's.
fn clock(answer: &Answer, of: &str, findings: &mut Findings) {
    const SUBJECT: &str = "clock";
    let there = answer.date.as_deref().map(DateTime::parse_from_rfc2822);
    let Some(Ok(there)) = there else {
        return;
    };
    let skew = Utc::now() - there.with_timezone(&Utc);
    if skew.abs() > MAX_SKEW {
        let seconds = skew.num_seconds();
        findings.with_hint(
            Level::Warning,
            SUBJECT,
            format!("this clock is {seconds} s beside that of {of}"),
            "let the time be set by the network: timedatectl set-ntp true",
        );
    }
    findings.well(SUBJECT, format!("this clock agrees with that of {of}"));
}

/// Looks whether the server is seen from outside where it says that it is.
async fn public_url(config: &ServeConfig, findings: &mut Findings) {
    const SUBJECT: &str = "public-url";
    let Some(url) = &config.subscriptions.public_url else {
        return;
    };
    match ask(url, "/health", None).await {
        Ok(answer) if answer.status == 200 => {
            let message = format!("`{url}` answers: {}", answer.body.trim());
            findings.add(Level::Ok, SUBJECT, message);
        }
        Ok(answer) => {
            let message = format!("`{url}/health` answers {}", answer.status);
            findings.add(Level::Warning, SUBJECT, message);
        }
        Err(why) => findings.with_hint(
            Level::Warning,
            SUBJECT,
            format!("`{url}` does not answer from here: {why}"),
            "the server may be down; GitHub must reach it for webhooks",
        ),
    }
}

/// Looks whether the collector of traces takes what it would be told.
async fn collector(config: &ServeConfig, findings: &mut Findings) {
    const SUBJECT: &str = "telemetry";
    let Some(collector) = &config.collector else {
        return;
    };
    let taken = match Sending::new(collector.clone()) {
        Ok((_, sending)) => sending.probe().await,
        Err(error) => Err(error.to_string()),
    };
    match taken {
        Ok(()) => findings.add(Level::Ok, SUBJECT, "the collector takes traces"),
        Err(why) => findings.with_hint(
            Level::Warning,
            SUBJECT,
            format!("the collector takes no traces: {why}"),
            "runs are not harmed; what it does not get is counted in /metrics",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, scopes: Option<&str>, body: &str) -> Answer {
        Answer {
            status,
            date: None,
            scopes: scopes.map(str::to_owned),
            body: body.to_owned(),
        }
    }

    #[test]
    fn a_token_is_judged_by_what_it_must_do() {
        let push = r#"{"permissions": {"push": true}}"#;
        let pull = r#"{"permissions": {"push": false}}"#;
        for (answer, reports, level) in [
            (answer(200, Some("repo, workflow"), push), true, Level::Ok),
            (answer(200, Some("repo:status"), push), true, Level::Ok),
            (answer(200, None, push), true, Level::Ok),
            (answer(200, None, pull), true, Level::Warning),
            (answer(200, None, pull), false, Level::Ok),
            (answer(200, Some("read:org"), push), true, Level::Warning),
            (answer(401, None, ""), true, Level::Environment),
            (answer(404, None, ""), false, Level::Environment),
            (answer(502, None, ""), true, Level::Warning),
        ] {
            assert_eq!(judged(&answer, reports).0, level, "{answer:?}");
        }
    }

    #[test]
    fn a_clock_that_is_off_is_warned_of() {
        let said = |off: i64| {
            let mut findings = Findings::default();
            let date = (Utc::now() + TimeDelta::seconds(off)).to_rfc2822();
            let answer = Answer {
                date: Some(date),
                ..answer(200, None, "")
            };
            clock(&answer, "GitHub", &mut findings);
            findings.checks.pop().map(|check| check.level)
        };
        assert_eq!(said(0), Some(Level::Ok));
        assert_eq!(said(-3_600), Some(Level::Warning));
        assert_eq!(said(3_600), Some(Level::Warning));
    }
}
