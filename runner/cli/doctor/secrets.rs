//! Whether every secret that the configuration names is there.

use super::{Findings, Level};
use crate::deploy::Project;
use crate::kamal::{Config, Credential, Registry, SshKey, Ssl};

const SUBJECT: &str = "secrets";

/// Reads the secrets files and looks for every name; no value is shown.
pub(super) fn check(project: &Project, findings: &mut Findings) {
    let secrets = match project.secrets() {
        Ok(secrets) => secrets,
        Err(error) => {
            findings.add(Level::Error, SUBJECT, error.to_string());
            return;
        }
    };
    let names = names(&project.config);
    for (name, user) in &names {
        match secrets.get(name) {
            Err(missing) => {
                findings.add(
                    Level::Error,
                    SUBJECT,
                    format!("{missing}, needed by {user}"),
                );
            }
            Ok("") => {
                let message = format!("secret `{name}` is empty, needed by {user}");
                findings.add(Level::Warning, SUBJECT, message);
            }
            Ok(_) => {}
        }
    }
    let files = secrets.files().join(", ");
    findings.well(
        SUBJECT,
        match (names.len(), files.as_str()) {
            (0, _) => "none are named".to_owned(),
            (count, files) => format!("all {count} are in {files}"),
        },
    );
}

/// Returns the names of all secrets, each with the first that needs it.
fn names(config: &Config) -> Vec<(String, String)> {
    let mut names: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, user: String| {
        if !names.iter().any(|(known, _)| known == name) {
            names.push((name.to_owned(), user));
        }
    };
    for name in of_registry(&config.registry) {
        add(name, "`registry`".to_owned());
    }
    for name in &config.builder.secrets {
        add(name, "`builder/secrets`".to_owned());
    }
    for key in &config.ssh.key_data {
        if let SshKey::Secret(name) = key {
            add(name, "`ssh/key_data`".to_owned());
        }
    }
    for role in &config.roles {
        let user = || format!("role `{}`", role.name);
        let secrets = role.hosts.iter().flat_map(|host| &host.env.secrets);
        secrets.for_each(|secret| add(&secret.secret, user()));
        if let Some(Ssl::Certificate {
            certificate_pem,
            private_key_pem,
        }) = role.proxy.as_ref().map(|proxy| &proxy.ssl)
        {
            add(certificate_pem, format!("the proxy of {}", user()));
            add(private_key_pem, format!("the proxy of {}", user()));
        }
    }
    for accessory in &config.accessories {
        let user = || format!("accessory `{}`", accessory.name);
        for secret in &accessory.env.secrets {
            add(&secret.secret, user());
        }
        for name in accessory.registry.iter().flat_map(of_registry) {
            add(name, user());
        }
    }
    names
}

fn of_registry(registry: &Registry) -> Vec<&str> {
    let credentials = [&registry.username, &registry.password];
    let names = credentials
        .into_iter()
        .flatten()
        .filter_map(|one| match one {
            Credential::Secret(name) => Some(name.as_str()),
            Credential::Literal(_) => None,
        });
    names.collect()
}
