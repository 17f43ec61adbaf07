//! Containers: from what a release wants to what the daemon is asked for.

use std::{collections::BTreeMap, time::Duration};

use super::{
    error::OpError,
    host::Host,
    settings::{SecretTexts, Settings},
};
use crate::{
    docker::{
        ContainerSpec as Wanted, DockerError, Env, HealthCheck, LogSettings, Publish,
        RestartPolicy, Ulimit, parse_bytes,
    },
    release::{
        ContainerId, ContainerName, ContainerOption, ContainerSpec, ImageRef, TransactionId,
    },
};

/// Makes what the daemon is asked for; this alone knows the values of secrets.
///
/// # Errors
/// A value cannot be read, an option is not supported, a secret has no value.
pub(super) fn wanted(spec: &ContainerSpec, secrets: &SecretTexts) -> Result<Wanted, OpError> {
    let name = spec.created_as();
    let wrong = |reason: String| OpError::Container {
        container: name.clone(),
        reason,
    };
    let mut env = Vec::new();
    for (variable, value) in &spec.env {
        env.push((variable.clone(), value.clone()));
    }
    for (variable, secret) in &spec.secrets {
        env.push((variable.clone(), secrets.get(secret)?.to_owned()));
    }
    let publish = spec.publish.iter().map(|text| Publish::parse(text));
    let restart = RestartPolicy::parse(&spec.restart).map_err(|e| wrong(e.to_string()))?;
    let mut wanted = Wanted {
        name: name.to_string(),
        image: spec.image.exact(),
        command: (!spec.command.is_empty()).then(|| spec.command.clone()),
        env: Env(env),
        labels: spec.labels.clone().into_iter().collect(),
        volumes: spec.volumes.clone(),
        publish: publish
            .collect::<Result<_, _>>()
            .map_err(|e| wrong(e.to_string()))?,
        network: spec.networks.first().cloned(),
        hostname: spec.hostname.clone(),
        restart,
        memory: spec.memory_bytes()?,
        #[expect(clippy::cast_precision_loss, reason = "processors are few")]
        cpus: spec.nano_cpus()?.map(|nano| nano as f64 / 1e9),
        health: spec.health_check.as_ref().map(|check| HealthCheck {
            command: Some(check.command.clone()),
            interval: Some(check.interval.to_duration()),
            timeout: Some(check.timeout.to_duration()),
            start_period: None,
            retries: Some(check.retries),
        }),
        log: (spec.logging.driver.is_some() || !spec.logging.options.is_empty()).then(|| {
            LogSettings {
                driver: spec.logging.driver.clone().unwrap_or_default(),
                options: spec.logging.options.clone().into_iter().collect(),
            }
        }),
        stop_timeout: Some(Duration::from_secs(spec.stop_timeout.to_secs())),
        ..Wanted::default()
    };
    for option in &spec.options {
        apply_option(&mut wanted, option).map_err(wrong)?;
    }
    Ok(wanted)
}

/// Takes one option of `docker run` over.
fn apply_option(wanted: &mut Wanted, option: &ContainerOption) -> Result<(), String> {
    let text = option.value.clone().unwrap_or_default();
    let number = || {
        text.parse::<i64>()
            .map_err(|_| format!("`{text}` is no number for option `{}`", option.name))
    };
    let bytes = || parse_bytes(&text).map_err(|e| e.to_string());
    let is_on = option.value.as_deref().is_none_or(|value| value == "true");
    match option.name.as_str() {
        // Read by the release itself.
        "memory" | "cpus" => {}
        "cpu-shares" => wanted.cpu_shares = Some(number()?),
        "pids-limit" => wanted.pids_limit = Some(number()?),
        "memory-swap" if text == "-1" => wanted.memory_swap = Some(-1),
        "memory-swap" => wanted.memory_swap = Some(i64::try_from(bytes()?).unwrap_or(i64::MAX)),
        "shm-size" => wanted.shm_size = Some(bytes()?),
        "user" => wanted.user = Some(text),
        "group-add" => wanted.groups.push(text),
        "workdir" => wanted.workdir = Some(text),
        "hostname" => wanted.hostname = Some(text),
        "entrypoint" => wanted.entrypoint = Some(vec![text]),
        "add-host" => wanted.extra_hosts.push(text),
        "dns" => wanted.dns.push(text),
        "network-alias" => wanted.aliases.push(text),
        "init" => wanted.init = Some(is_on),
        "read-only" => wanted.read_only = is_on,
        "privileged" => wanted.privileged = is_on,
        "tty" => wanted.tty = is_on,
        "interactive" => wanted.open_stdin = is_on,
        "cap-add" => wanted.cap_add.push(text),
        "cap-drop" => wanted.cap_drop.push(text),
        "security-opt" => wanted.security_options.push(text),
        "device" => wanted.devices.push(text),
        "stop-signal" => wanted.stop_signal = Some(text),
        "platform" => wanted.platform = Some(text),
        "volume" => wanted.volumes.push(text),
        "publish" => wanted
            .publish
            .push(Publish::parse(&text).map_err(|e| e.to_string())?),
        "restart" => wanted.restart = RestartPolicy::parse(&text).map_err(|e| e.to_string())?,
        "tmpfs" => {
            let (path, options) = text.split_once(':').unwrap_or((&text, ""));
            wanted.tmpfs.insert(path.to_owned(), options.to_owned());
        }
        "sysctl" => drop(pair(&mut wanted.sysctls, &text)?),
        "label" => drop(pair(&mut wanted.labels, &text)?),
        "ulimit" => wanted.ulimits.push(ulimit(&text)?),
        "stop-timeout" => {
            let seconds = u64::try_from(number()?).unwrap_or(0);
            wanted.stop_timeout = Some(Duration::from_secs(seconds));
        }
        "health-cmd" => health(wanted).command = Some(text),
        "health-interval" => health(wanted).interval = Some(span(&text)?),
        "health-timeout" => health(wanted).timeout = Some(span(&text)?),
        "health-start-period" => health(wanted).start_period = Some(span(&text)?),
        "health-retries" => {
            health(wanted).retries = Some(u32::try_from(number()?).unwrap_or(0));
        }
        other => return Err(format!("option `{other}` is not supported")),
    }
    Ok(())
}

fn health(wanted: &mut Wanted) -> &mut HealthCheck {
    wanted.health.get_or_insert_default()
}

fn span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| format!("`{text}` is no span of time"))
}

fn pair(map: &mut BTreeMap<String, String>, text: &str) -> Result<Option<String>, String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` has no `=`"))?;
    Ok(map.insert(key.to_owned(), value.to_owned()))
}

fn ulimit(text: &str) -> Result<Ulimit, String> {
    let wrong = || format!("`{text}` is no limit like `nofile=1024:2048`");
    let (name, limits) = text.split_once('=').ok_or_else(wrong)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    Ok(Ulimit {
        name: name.to_owned(),
        soft: soft.parse().map_err(|_| wrong())?,
        hard: hard.parse().map_err(|_| wrong())?,
    })
}

impl Host {
    /// Creates a container and connects it to its networks; there already: only connects.
    pub(super) async fn create(
        &self,
        spec: &ContainerSpec,
        secrets: &SecretTexts,
        transaction: &TransactionId,
    ) -> Result<ContainerId, OpError> {
        let wanted = wanted(spec, secrets)?;
        let name = spec.created_as();
        let id = match self.engine.create_container(&wanted).await {
            Ok(id) => ContainerId::new(id),
            Err(e) if e.is_conflict() => {
                let there = self.ours(name, transaction).await?;
                there.ok_or_else(|| OpError::NameTaken(name.clone()))?
            }
            Err(e) => return Err(e.into()),
        };
        for network in spec.networks.iter().skip(1) {
            self.engine
                .connect_network(network, id.as_str(), &wanted.aliases)
                .await?;
        }
        Ok(id)
    }

    /// Starts a one-off container unless it was ever started.
    pub(super) async fn start_once(
        &self,
        id: &ContainerId,
        name: &ContainerName,
    ) -> Result<(), OpError> {
        let found = self.engine.container(id.as_str()).await?;
        let found = found.ok_or_else(|| OpError::NoContainer(name.clone()))?;
        if found.started_at.is_none() {
            self.engine.start(id.as_str()).await?;
        }
        Ok(())
    }

    /// Waits until a one-off container ends with code 0.
    pub(super) async fn await_exit(
        &self,
        id: &ContainerId,
        name: &ContainerName,
        limit: Duration,
        settings: &Settings,
    ) -> Result<(), OpError> {
        let code = tokio::time::timeout(limit, self.engine.wait(id.as_str())).await;
        let Ok(code) = code else {
            let lines = self.last_lines(id, settings).await;
            let what = format!("the end of container `{name}`{lines}");
            return Err(OpError::TooLong { what, limit });
        };
        match code? {
            0 => Ok(()),
            code => {
                let lines = self.last_lines(id, settings).await;
                Err(OpError::Exit {
                    container: name.clone(),
                    code,
                    lines,
                })
            }
        }
    }

    /// The last lines that a container said, masked, as an appendix to a message.
    pub(super) async fn last_lines(&self, id: &ContainerId, settings: &Settings) -> String {
        let text = match self.engine.last_lines(id.as_str(), 20).await {
            Ok(text) => text,
            Err(error) => return format!("; its output could not be read: {error}"),
        };
        let text = settings.masker.mask(text.trim_end());
        if text.is_empty() {
            return "; it said nothing".to_owned();
        }
        let lines: Vec<_> = text
            .as_str()
            .lines()
            .map(|line| format!("\n    {line}"))
            .collect();
        format!("; its last lines:{}", lines.concat())
    }

    /// Renames a container; has it the name already: nothing.
    pub(super) async fn rename(&self, id: &ContainerId, to: &ContainerName) -> Result<(), OpError> {
        let found = self.engine.container(id.as_str()).await?;
        let found = found.ok_or_else(|| OpError::NoContainer(to.clone()))?;
        if found.name != to.as_str() {
            self.engine.rename(id.as_str(), to.as_str()).await?;
        }
        Ok(())
    }

    /// Removes images of a repository that no container uses and nobody wants to keep.
    pub(super) async fn prune_images(
        &self,
        repository: &str,
        keep: &[String],
    ) -> Result<(), OpError> {
        let (images, containers) =
            tokio::try_join!(self.engine.images(&[]), self.engine.containers(&[]))?;
        for image in images {
            let Some(digest) = image.digest_in(repository) else {
                continue;
            };
            let used = containers.iter().any(|listed| listed.image_id == image.id);
            if used || keep.iter().any(|kept| kept == digest) {
                continue;
            }
            // All its names, since an image goes with the last one.
            let names = image.tags.iter().chain(&image.digests);
            for name in names.filter(|name| name.starts_with(repository)) {
                match self.engine.remove_image(name, false).await {
                    Ok(_) | Err(DockerError::Conflict(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Pulls an image; the credentials go with the request.
    pub(super) async fn pull(&self, image: &ImageRef, settings: &Settings) -> Result<(), OpError> {
        let login = settings.credentials(image);
        self.engine.pull(&image.exact(), login, &mut |_| {}).await?;
        Ok(())
    }
}
