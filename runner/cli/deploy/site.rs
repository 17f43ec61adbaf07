//! A project with its servers: how they are reached, what is secret, who acts.

use std::sync::Arc;

use super::{arguments::SiteArguments, hooks::Called};
use crate::{
    cli::{
        arguments::Format,
        error::{CliError, ErrorKind, ExitCode},
        project, settings,
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
    pub(super) called: Called,
    pub(super) is_verbose: bool,
    pub(super) skips_hooks: bool,
}

impl Site {
    /// Reads the project and lets its hook `pre-connect` run, before any server is reached.
    pub(super) async fn open(
        arguments: &SiteArguments,
        needs_secrets: bool,
        called: Called,
    ) -> Result<Result<Self, ExitCode>, CliError> {
        let read = Self::read(arguments, needs_secrets, called)?;
        if let Ok(site) = &read {
            site.hook_before("pre-connect").await?;
        }
        Ok(read)
    }

    /// Reads the project; verbs that only look do without secrets that cannot be read.
    fn read(
        arguments: &SiteArguments,
        needs_secrets: bool,
        called: Called,
    ) -> Result<Result<Self, ExitCode>, CliError> {
        let project = match project::read(&arguments.project, Format::Text)? {
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
            project.settings(access)
        } else {
            project.settings_for_looking(access)
        };
        let settings = settings.map_err(not_deployable)?;
        Ok(Ok(Self {
            project,
            settings: Arc::new(settings),
            called,
            is_verbose: arguments.verbose,
            skips_hooks: arguments.skip_hooks,
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

    /// Reads the certificate of an authority.
    pub(super) fn read_certificate(&self, local: &str) -> Result<String, CliError> {
        let message = format!("file `{local}` of `x-runner.proxy.acme.ca` could not be read");
        let failed = || CliError::new(ErrorKind::Invalid, message.clone());
        let text = std::fs::read_to_string(self.project.folder().join(local));
        let text = text.map_err(|source| failed().because(source))?;
        if text.contains("-----BEGIN CERTIFICATE-----") {
            return Ok(text);
        }
        Err(failed().because("it has no certificate in PEM (`-----BEGIN CERTIFICATE-----`)"))
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
