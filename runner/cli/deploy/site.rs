//! A project with its servers: how they are reached, what is secret, who acts.

use std::sync::Arc;

use crate::{
    cli::{
        arguments::{Format, ProjectArguments},
        error::{CliError, ErrorKind, ExitCode},
        project, settings, write_note,
    },
    deploy::{Access, AccessoryBoot, Project, ReleaseError, ReleaseFacts, Settings, login},
    kamal::{SecretValues, World as _},
    mask::Masker,
    release::{
        Digest, Spec,
        from_kamal::{self, AccessorySpec, SpecError},
    },
};

/// A project with its servers.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) project: Project,
    pub(super) settings: Arc<Settings>,
}

/// Says which hooks of the project would run under Kamal and do not here.
fn name_hooks(project: &Project) {
    let folder = project.folder().join(&project.config.hooks_path);
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
        let project = match project::read(arguments, Format::Text)? {
            Ok(project) => project,
            Err(code) => return Ok(Err(code)),
        };
        let access = Access {
            key: None,
            known_hosts: Vec::new(),
            who: performer(&project),
            run: None,
            masker: Masker::new(),
        };
        let settings = if needs_secrets {
            name_hooks(&project);
            project.settings(access)
        } else {
            project.settings_for_looking(access)
        };
        let settings = settings.map_err(not_deployable)?;
        Ok(Ok(Self {
            project,
            settings: Arc::new(settings),
        }))
    }

    /// What should run for a version, as far as it is known before anything was looked at.
    pub(super) fn spec_of(
        &self,
        version: &str,
        digest: Option<Digest>,
        driver: Option<String>,
    ) -> Result<Spec, CliError> {
        let facts = ReleaseFacts {
            version: version.to_owned(),
            digest: digest.map(|digest| digest.as_str().to_owned()),
            driver,
        };
        self.project.spec(&facts).map_err(not_deployable)
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
            let path = self.project.folder().join(&upload.local);
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
        let nothing = SecretValues::default();
        let secrets = self.project.secrets().unwrap_or(&nothing);
        let (username, password) = (spec.username.as_ref(), spec.password.as_ref());
        let login = login(server, username, password, secrets).map_err(|missing| {
            CliError::new(ErrorKind::Invalid, "the registry's login is not complete")
                .because(missing)
        })?;
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
        let rendered = self.project.world().render_with_ruby(path, &text);
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

/// The user's files, in words that name them.
fn not_deployable(error: ReleaseError) -> CliError {
    match error {
        ReleaseError::Spec(found) => problems(&found),
        ReleaseError::Project(source) => {
            CliError::new(ErrorKind::Invalid, "the secrets could not be read").because(source)
        }
        other => CliError::new(ErrorKind::Invalid, other.to_string()),
    }
}

/// Who acts, as Kamal names them in its audit log.
fn performer(project: &Project) -> String {
    let asked = || {
        let email = project.world().run_command("git config user.email").ok()?;
        Some(email.trim().to_owned()).filter(|email| !email.is_empty())
    };
    settings::variable("KAMAL_PERFORMER")
        .or_else(asked)
        .or_else(|| settings::variable("USER"))
        .unwrap_or_else(|| "unknown".to_owned())
}
