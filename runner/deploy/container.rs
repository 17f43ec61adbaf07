//! Containers: from what a release wants to what the daemon is asked for.

use std::time::Duration;

use super::{
    error::OpError,
    host::Host,
    settings::{SecretTexts, Settings},
};
use crate::{
    docker::{
        ContainerSpec as Wanted, DockerError, Env, HealthCheck, LogSettings, Publish,
        RestartPolicy, Ulimit,
    },
    release::{
        ContainerId, ContainerName, ContainerSpec, ImageRef, Millis, RunOptions, TransactionId,
    },
};

/// Makes what the daemon is asked for; this alone knows the values of secrets.
///
/// # Errors
/// A value cannot be read, an option is not supported, a secret has no value.
pub(super) fn wanted(
    spec: &ContainerSpec,
    home: &str,
    secrets: &SecretTexts,
) -> Result<Wanted, OpError> {
    let name = spec.created_as();
    let wrong = |reason: String| OpError::Container {
        container: name.clone(),
        reason,
    };
    let environment = spec.environment(|secret| secrets.get(secret).map(str::to_owned))?;
    let env = environment.into_iter().filter_map(|line| {
        line.split_once('=')
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
    });
    let publish = spec.published_ports()?.into_iter().map(|port| Publish {
        host_ip: port.address.unwrap_or_default(),
        host_port: port.outside.unwrap_or(0),
        container_port: port.inside,
        protocol: port.protocol,
    });
    let mounts = spec.mounts(home);
    let mut wanted = Wanted {
        name: name.to_string(),
        image: spec.image.exact(),
        command: (!spec.command.is_empty()).then(|| spec.command.clone()),
        env: Env(env.collect()),
        labels: spec.labels.clone().into_iter().collect(),
        volumes: mounts.binds.into_iter().chain(mounts.anonymous).collect(),
        publish: publish.collect(),
        network: spec.networks.first().cloned(),
        hostname: spec.hostname.clone(),
        restart: RestartPolicy::parse(&spec.restart).map_err(|e| wrong(e.to_string()))?,
        health: spec
            .health_check
            .as_ref()
            .map(health)
            .transpose()
            .map_err(wrong)?,
        log: (spec.logging.driver.is_some() || !spec.logging.options.is_empty()).then(|| {
            LogSettings {
                driver: spec.logging.driver.clone().unwrap_or_default(),
                options: spec.logging.options.clone().into_iter().collect(),
            }
        }),
        stop_timeout: Some(Duration::from_secs(spec.stop_timeout.to_secs())),
        ..Wanted::default()
    };
    let options = spec.run_options()?;
    refuse_options(&options)
        .map_err(|option| wrong(format!("option `{option}` is not supported")))?;
    apply_options(&mut wanted, options);
    Ok(wanted)
}

fn health(check: &crate::release::HealthCheck) -> Result<HealthCheck, String> {
    if check.command.is_empty() {
        let text = "other times for the image's own health check are not supported; name its command with `health-cmd`";
        return Err(text.to_owned());
    }
    let given = |span: Millis| (span > Millis(0)).then(|| span.to_duration());
    Ok(HealthCheck {
        command: Some(check.command.clone()),
        interval: given(check.interval),
        timeout: given(check.timeout),
        start_period: given(check.start_period),
        retries: (check.retries > 0).then_some(check.retries),
    })
}

/// Names the first option that a container of ours cannot have.
fn refuse_options(options: &RunOptions) -> Result<(), &'static str> {
    for (name, is_set) in [
        ("memory-reservation", options.memory_reservation.is_some()),
        ("memory-swappiness", options.memory_swappiness.is_some()),
        ("cpu-period", options.cpu_period.is_some()),
        ("cpu-quota", options.cpu_quota.is_some()),
        ("cpuset-cpus", options.cpuset_cpus.is_some()),
        ("cpuset-mems", options.cpuset_mems.is_some()),
        ("blkio-weight", options.blkio_weight.is_some()),
        ("oom-kill-disable", options.oom_kill_disable.is_some()),
        ("oom-score-adj", options.oom_score_adj.is_some()),
        ("gpus", options.gpus.is_some()),
        ("volumes-from", !options.volumes_from.is_empty()),
        ("storage-opt", !options.storage_opt.is_empty()),
        ("domainname", options.domainname.is_some()),
        ("runtime", options.runtime.is_some()),
        ("cgroup-parent", options.cgroup_parent.is_some()),
        ("ipc", options.ipc.is_some()),
        ("pid", options.pid.is_some()),
        ("uts", options.uts.is_some()),
        ("userns", options.userns.is_some()),
        ("cgroupns", options.cgroupns.is_some()),
        ("dns-search", !options.dns_search.is_empty()),
        ("dns-option", !options.dns_options.is_empty()),
    ] {
        if is_set {
            return Err(name);
        }
    }
    Ok(())
}

/// Takes the options of `docker run` over.
fn apply_options(wanted: &mut Wanted, options: RunOptions) {
    wanted.memory = options.memory;
    wanted.memory_swap = options.memory_swap;
    #[expect(clippy::cast_precision_loss, reason = "processors are few")]
    let cpus = options.nano_cpus.map(|nano| nano as f64 / 1e9);
    wanted.cpus = cpus;
    wanted.cpu_shares = options.cpu_shares;
    wanted.pids_limit = options.pids_limit;
    wanted.shm_size = options.shm_size;
    wanted.user = options.user;
    wanted.groups = options.group_add;
    wanted.workdir = options.workdir;
    wanted.entrypoint = options.entrypoint.map(|word| vec![word]);
    wanted.extra_hosts = options.extra_hosts;
    wanted.dns = options.dns;
    wanted.aliases = options.network_aliases;
    wanted.init = options.init;
    wanted.read_only = options.read_only;
    wanted.privileged = options.privileged;
    wanted.tty = options.tty;
    wanted.open_stdin = options.interactive;
    wanted.cap_add = options.cap_add;
    wanted.cap_drop = options.cap_drop;
    wanted.security_options = options.security_opt;
    wanted.stop_signal = options.stop_signal;
    wanted.tmpfs = options.tmpfs.into_iter().collect();
    wanted.sysctls = options.sysctls.into_iter().collect();
    let device = |device: crate::release::Device| {
        format!(
            "{}:{}:{}",
            device.host, device.container, device.permissions
        )
    };
    wanted.devices = options.devices.into_iter().map(device).collect();
    let limit = |limit: crate::release::Ulimit| Ulimit {
        name: limit.name,
        soft: limit.soft,
        hard: limit.hard,
    };
    wanted.ulimits = options.ulimits.into_iter().map(limit).collect();
    if options.no_healthcheck {
        wanted.health = Some(HealthCheck::default());
    }
}

impl Host {
    /// Creates a container and connects it to its networks; there already: only connects.
    pub(super) async fn create(
        &self,
        spec: &ContainerSpec,
        secrets: &SecretTexts,
        transaction: &TransactionId,
    ) -> Result<ContainerId, OpError> {
        let wanted = wanted(spec, &self.home, secrets)?;
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
        self.remember(transaction, name, &id);
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
        let Err(refused) = self.engine.rename(id.as_str(), to.as_str()).await else {
            return Ok(());
        };
        let found = self.engine.container(id.as_str()).await?;
        match found {
            Some(found) if found.name == to.as_str() => Ok(()),
            Some(_) => Err(refused.into()),
            None => Err(OpError::NoContainer(to.clone())),
        }
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
