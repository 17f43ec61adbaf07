//! `runner init`: a commented configuration for the repository that one stands in.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use super::super::check::workflow_files;
use super::super::error::{CliError, ErrorKind, ExitCode};
use super::super::{write_line, write_note};
use super::arguments::InitArguments;
use crate::git::working_tree;
use crate::scheduler::{WORKFLOW_FOLDERS, read_workflow};

/// Writes a `runner.toml` for the repository here; never over one that is there.
pub(in super::super) fn init(arguments: &InitArguments) -> Result<ExitCode, CliError> {
    let here = std::env::current_dir().map_err(|source| {
        CliError::new(ErrorKind::Environment, "the current folder is gone").because(source)
    })?;
    let tree = working_tree(&here).ok_or_else(|| {
        CliError::new(
            ErrorKind::Usage,
            format!("`{}` is in no git repository", here.display()),
        )
        .with_hint("change into the project that is to be watched")
    })?;
    let url = tree
        .origin
        .clone()
        .unwrap_or_else(|| tree.root.display().to_string());
    let name = tree.repository.clone().unwrap_or_else(|| {
        let folder = tree.root.file_name().map(|name| name.to_string_lossy());
        format!("local/{}", folder.as_deref().unwrap_or("project"))
    });
    let mut found = String::new();
    for folder in WORKFLOW_FOLDERS {
        for path in workflow_files(&tree.root.join(folder)) {
            let shown = path.strip_prefix(&tree.root).unwrap_or(&path).display();
            let line = match read_workflow(&path, &shown.to_string()) {
                Ok((file, _)) => {
                    let events: Vec<&str> =
                        file.workflow.on.events.keys().map(String::as_str).collect();
                    format!("#   {shown}: on {}", events.join(", "))
                }
                Err(error) => format!("#   {shown}: {error}"),
            };
            found = format!("{found}{line}\n");
        }
    }
    if found.is_empty() {
        found = "#   none: write one to pipelines/ or .github/workflows/\n".to_owned();
    }
    let text = template(&name, &url, &tree.root);
    let text = format!("{text}\n# Its workflows, as they stand now:\n{found}");
    let file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(&arguments.config);
    let shown = arguments.config.display();
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| {
            CliError::new(ErrorKind::Usage, format!("`{shown}` could not be written"))
                .because(source)
        })?;
    write_line(&format!("wrote {shown}; it watches {name} at {url}"));
    write_note(&format!(
        "next: read it, then start: runner serve --config {shown}"
    ));
    Ok(ExitCode::Success)
}

fn template(name: &str, url: &str, folder: &Path) -> String {
    format!(
        r#"# What `runner serve` watches and runs.

# Everything that it keeps: the store, logs, copies of the repositories.
data = ".runner"

# A PostgreSQL database instead of a file, for several machines that share the work: postgres://USER:PASSWORD@HOST/NAME.
# database = {{ env = "RUNNER_DATABASE" }}

# How many jobs run at once.
slots = 2

# What must be free on the disk for a job to begin.
# min-free = "1GB"

# How long what is kept. Never removed: the newest run of each workflow and branch, and what was deployed last.
# [keep]
# logs = "90d"
# logs-size = "10GB"
# runs = "365d"

# Who is told of failed deploys and of a default branch that breaks or is whole again: deploy-failed, broken, recovered.
# [[notify]]
# name = "team"
# on = ["deploy-failed", "broken", "recovered"]
# slack = {{ env = "SLACK_URL" }}
# webhook = {{ url = {{ file = "/etc/runner/webhook" }}, template = "notice.json" }}
# email = {{ server = "smtp.example.com:587", user = "runner", password = {{ env = "SMTP_PASSWORD" }}, from = "runner@example.com", to = ["team@example.com"] }}

# A collector of OpenTelemetry that is told of runs: where, and what proves who we are. Without `endpoint` the variables OTEL_EXPORTER_OTLP_* say it.
# [telemetry]
# endpoint = "https://otlp.example.com:4318"
# headers = {{ authorization = {{ file = "/etc/runner/otlp" }} }}
# service-name = "runner"

# Labels that jobs may name in `runs-on`, beside `ubuntu-latest`, `self-hosted` and `linux`.
# [labels]
# gpu = "host"
# ubuntu-latest = "docker:node:22"
# build = "ssh://ci@build.example:2121?image=debian:12"

# Where GitHub delivers webhooks (POST /webhooks/github), runs are looked at (/) and programs ask (/api/openapi.json). Only this machine
# may ask until there is a token of an administrator: runner token create NAME --scope admin
# [server]
# listen = "127.0.0.1:8080"
# public-url = "https://ci.example.com"
# Whether everybody may see /badges/OWNER/NAME/WORKFLOW/badge.svg.
# public-badges = false
# How often GitHub is asked for deliveries that did not arrive.
# missed-deliveries = "3m"

# A GitHub App speaks of the repositories that have no token of their own: check runs with annotations and buttons.
# [github-app]
# id = 12345
# private-key = {{ file = "/etc/runner/app.pem" }}
# webhook-secrets = [{{ env = "WEBHOOK_SECRET" }}]

[[repository]]
name = "{name}"
url = "{url}"
poll = "30s"
# How long after its time a run of `on: schedule` still starts that no server was there for.
# catch-up = "1h"

# The folder with .kamal/secrets and the files that it reads: they are in no commit.
folder = "{}"

# A token: for HTTPS, for statuses and deployments on GitHub, and what workflows get as secrets.GITHUB_TOKEN.
# token = {{ env = "GITHUB_TOKEN" }}
# ... or a key for SSH.
# ssh-key = "/etc/runner/deploy_key"

# What signs the webhooks; several while one is replaced.
# webhook-secrets = [{{ env = "WEBHOOK_SECRET" }}]
# Whether pull requests from forks run: "refuse", "approve" (once someone lets the commit run), or "run-without-secrets".
# forks = "refuse"
# The image of the containers that their jobs are kept in; or "host".
# fork-image = "debian:12"
# Whether GitHub is told of workflows that a filter shut out, so that nobody waits for a required check.
# report-skipped = true
# What becomes of a job that was lost with its machine: "fail", or "rerun" (once; one that deploys is never run again by itself).
# lost-jobs = "fail"

# The secrets of workflows are kept encrypted: runner secret set NAME [--repository {name}] [--environment E] [--event EV]
# They can also stand elsewhere: NAME=value lines, and single ones.
# secrets-file = "/etc/runner/secrets"
# [repository.secrets]
# REGISTRY_PASSWORD = {{ env = "REGISTRY_PASSWORD" }}

# The context `vars` of workflows.
# [repository.vars]
# DESTINATION = "production"
"#,
        folder.display()
    )
}
