//! A project with its servers: how they are reached, what is secret, who acts.

use std::{path::PathBuf, sync::Arc};

use crate::{
    cli::{
        arguments::{Format, ProjectArguments},
        error::{CliError, ErrorKind, ExitCode},
        project::Project,
        settings, write_note,
    },
    deploy::{AccessoryBoot, Reach, SecretTexts, Settings},
    docker::Credentials,
    kamal::{Credential, SecretValues, SshKey, SshProxy, World as _},
    mask::Masker,
    release::{
        Digest, Spec,
        from_kamal::{self, AccessorySpec, Facts, SpecError},
    },
    ssh::{HostAddress, Identity, Jump, Options},
};

/// A project with its servers.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) project: Project,
    pub(super) settings: Arc<Settings>,
    secrets: SecretValues,
}

/// Says which hooks of the project would run under Kamal and do not here.
fn name_hooks(project: &Project) {
    let folder = project.folder.join(&project.config.hooks_path);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.contains('.'))
        .collect();
    names.sort();
    if !names.is_empty() {
        write_note(&format!(
            "warning: hooks are not run: {}; move what they do into steps of a workflow",
            names.join(", ")
        ));
    }
}

impl Site {
    /// Reads the project; verbs that only look do without secrets that cannot be read.
    pub(super) fn read(
        arguments: &ProjectArguments,
        needs_secrets: bool,
    ) -> Result<Result<Self, ExitCode>, CliError> {
        let project = match Project::read(arguments, Format::Text)? {
            Ok(project) => project,
            Err(code) => return Ok(Err(code)),
        };
        if needs_secrets {
            name_hooks(&project);
        }
        let secrets = match project.secrets.load(&project.machine) {
            Ok(secrets) => secrets.clone(),
            Err(_) if !needs_secrets => SecretValues::default(),
            Err(error) => {
                return Err(
                    CliError::new(ErrorKind::Invalid, "the secrets could not be read")
                        .because(error),
                );
            }
        };
        let masker = Masker::new();
        for (_, value) in secrets.iter() {
            masker.add(value);
        }
        let registry = &project.config.registry;
        let login = login(
            registry.server.as_deref(),
            registry.username.as_ref(),
            registry.password.as_ref(),
            &secrets,
        );
        let login = match login {
            Err(error) if needs_secrets => return Err(error),
            other => other.ok().flatten(),
        };
        let settings = Settings {
            reach: reach(&project, &secrets)?,
            secrets: Arc::new(secrets.iter().collect::<SecretTexts>()),
            registries: login.into_iter().collect(),
            masker,
            who: performer(&project),
            run: None,
            backups: project.folder.join(".runner/backups"),
        };
        Ok(Ok(Self {
            project,
            settings: Arc::new(settings),
            secrets,
        }))
    }

    /// What should run for a release of the configuration.
    pub(super) fn spec(&self, facts: &Facts) -> Result<Spec, CliError> {
        from_kamal::spec(&self.project.config, facts).map_err(|found| problems(&found))
    }

    /// What should run for a version, as far as it is known before anything was looked at.
    pub(super) fn spec_of(
        &self,
        version: &str,
        digest: Option<Digest>,
        driver: Option<String>,
    ) -> Result<Spec, CliError> {
        let seed = uuid::Uuid::now_v7().simple().to_string();
        self.spec(&Facts {
            version: version.into(),
            digest,
            driver,
            seed,
        })
    }

    /// The accessories that `setup` and `accessory boot` start, with their files.
    pub(super) fn accessories(&self, name: Option<&str>) -> Result<Vec<AccessoryBoot>, CliError> {
        let specs =
            from_kamal::accessories(&self.project.config).map_err(|found| problems(&found))?;
        let wanted = specs
            .into_iter()
            .filter(|spec| name.is_none_or(|name| spec.name == name));
        wanted.map(|spec| self.with_files(spec)).collect()
    }

    fn with_files(&self, spec: AccessorySpec) -> Result<AccessoryBoot, CliError> {
        let mut contents = Vec::new();
        for upload in &spec.files {
            let path = self.project.folder.join(&upload.local);
            let content = std::fs::read(&path).map_err(|source| {
                let text = format!(
                    "file `{}` of accessory `{}` could not be read",
                    upload.local, spec.name
                );
                CliError::new(ErrorKind::Invalid, text).because(source)
            })?;
            contents.push(if upload.is_template {
                self.rendered(&spec, &upload.local, &content)?
            } else {
                content
            });
        }
        let server = spec.container.image.repository.split('/').next();
        let login = login(
            server,
            spec.username.as_ref(),
            spec.password.as_ref(),
            &self.secrets,
        )?;
        Ok(AccessoryBoot {
            spec,
            contents,
            login,
        })
    }

    /// Renders a template with Ruby, the accessory's environment in its own.
    fn rendered(
        &self,
        spec: &AccessorySpec,
        path: &str,
        content: &[u8],
    ) -> Result<Vec<u8>, CliError> {
        let text = String::from_utf8_lossy(content);
        let failed = |reason: String| {
            let message = format!(
                "template `{path}` of accessory `{}` could not be rendered",
                spec.name
            );
            CliError::new(ErrorKind::Invalid, message).because(reason)
        };
        let rendered = self.project.machine.render_with_ruby(path, &text);
        let rendered = rendered.ok_or_else(|| failed("Ruby is not installed here".to_owned()))?;
        rendered.map(String::into_bytes).map_err(failed)
    }
}

/// All settings that cannot be carried out, as one error.
pub(super) fn problems(problems: &[SpecError]) -> CliError {
    let error = CliError::new(ErrorKind::Invalid, "the configuration cannot be deployed");
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    error.because(texts.join("; "))
}

fn login(
    server: Option<&str>,
    username: Option<&Credential>,
    password: Option<&Credential>,
    secrets: &SecretValues,
) -> Result<Option<Credentials>, CliError> {
    let (Some(username), Some(password)) = (username, password) else {
        return Ok(None);
    };
    let resolve = |credential: &Credential| {
        credential
            .resolve(secrets)
            .map(str::to_owned)
            .map_err(|missing| {
                CliError::new(ErrorKind::Invalid, "the registry's login is not complete")
                    .because(missing)
            })
    };
    Ok(Some(Credentials {
        server: server.unwrap_or_default().to_owned(),
        username: resolve(username)?,
        password: resolve(password)?,
    }))
}

fn reach(project: &Project, secrets: &SecretValues) -> Result<Reach, CliError> {
    let ssh = &project.config.ssh;
    let home = settings::variable("HOME").map(PathBuf::from);
    let home = home.unwrap_or_else(|| PathBuf::from("/root"));
    let agent = settings::variable("SSH_AUTH_SOCK").map(PathBuf::from);
    let mut options = Options::of_home(&home, agent);
    let mut identities = Vec::new();
    for key in &ssh.key_data {
        identities.push(match key {
            SshKey::Literal(text) => Identity::key("ssh/key_data", text.clone()),
            SshKey::Secret(name) => {
                let text = secrets.get(name).map_err(|missing| {
                    CliError::new(ErrorKind::Invalid, "the SSH key is not there").because(missing)
                })?;
                Identity::key(name.clone(), text)
            }
        });
    }
    for path in ssh.keys.iter().flatten() {
        let path = match path.strip_prefix("~/") {
            Some(rest) => home.join(rest),
            None => project.folder.join(path),
        };
        identities.push(Identity::file(path));
    }
    if ssh.keys_only == Some(true) && !identities.is_empty() {
        options.identities.clear();
    }
    identities.append(&mut options.identities);
    options.identities = identities;
    options.jump = match &ssh.proxy {
        None => None,
        Some(SshProxy::Command(_)) => {
            return Err(
                CliError::new(ErrorKind::Invalid, "`ssh/proxy_command` is not supported")
                    .with_hint("name the host to go through as `ssh/proxy`"),
            );
        }
        Some(SshProxy::Jump(jump)) => Some(Box::new(jump_of(jump, &options)?)),
    };
    Ok(Reach::new(ssh.user.clone(), ssh.port, options))
}

/// The last of the jump hosts, each reached through the one before it.
fn jump_of(text: &str, options: &Options) -> Result<Jump, CliError> {
    let mut through: Option<Box<Jump>> = None;
    let mut last = None;
    for part in text.split(',') {
        let part = part.trim();
        let part = if part.contains('@') {
            part.to_owned()
        } else {
            format!("root@{part}")
        };
        let address: HostAddress = part.parse().map_err(|error| {
            CliError::new(ErrorKind::Invalid, "`ssh/proxy` cannot be read").because(Box::<
                dyn std::error::Error + Send + Sync,
            >::from(
                format!(
                "{error}"
            )
            ))
        })?;
        let jump = Jump {
            address,
            options: Options {
                jump: through.take(),
                ..options.clone()
            },
        };
        through = Some(Box::new(jump.clone()));
        last = Some(jump);
    }
    last.ok_or_else(|| CliError::new(ErrorKind::Invalid, "`ssh/proxy` names no host"))
}

/// Who acts, as Kamal names them in its audit log.
fn performer(project: &Project) -> String {
    let asked = || {
        let email = project.machine.run_command("git config user.email").ok()?;
        Some(email.trim().to_owned()).filter(|email| !email.is_empty())
    };
    settings::variable("KAMAL_PERFORMER")
        .or_else(asked)
        .or_else(|| settings::variable("USER"))
        .unwrap_or_else(|| "unknown".to_owned())
}
