//! What is done to servers by hand, between deploys: the lock, maintenance, accessories, old things.

use super::{
    accessory::AccessoryBoot,
    error::OpError,
    host::Host,
    machine,
    script::{self, Script},
    settings::Settings,
};
use crate::{
    docker::{Listed, State},
    release::{
        LockDetails, ProxyWish, ReleaseVersion, RouteSpec,
        paths::Paths,
        traefik::{maintenance_file, maintenance_service},
    },
};

impl Host {
    /// Takes the lock until it is released by hand; returns the words of its holder if it is held.
    ///
    /// # Errors
    /// The host is not reachable, or the lock could not be written.
    pub async fn acquire_lock(
        &self,
        paths: &Paths,
        who: &str,
        version: &ReleaseVersion,
        message: &str,
    ) -> Result<Option<String>, OpError> {
        let details = LockDetails {
            who: who.replace(['\n', '\r'], " "),
            transaction: None,
            at: machine::now().to_string(),
            version: version.clone(),
            message: message.replace(['\n', '\r'], " "),
        };
        let mut script = Script::new(paths);
        script.add_text(&script::acquire_lock(&details.to_file()));
        let what = "take the lock";
        let (stdout, stderr) = self.script(script.into_text(), what).await?;
        if stdout.lines().any(|line| line == "runner:acquired") {
            return Ok(None);
        }
        let holder = stdout
            .lines()
            .find_map(|line| line.strip_prefix("runner:holder "));
        match holder {
            Some(holder) => Ok(Some(holder.trim().to_owned())),
            None => Err(OpError::Script {
                what: what.to_owned(),
                reason: stderr.trim().to_owned(),
            }),
        }
    }

    /// Writes a line into Kamal's audit log.
    ///
    /// # Errors
    /// The host is not reachable, or the log could not be written.
    pub async fn append_audit(
        &self,
        paths: &Paths,
        who: &str,
        destination: Option<&str>,
        message: &str,
    ) -> Result<(), OpError> {
        let destination = destination.map_or(String::new(), |name| format!(" [{name}]"));
        let line = format!("[{}] [{who}]{destination} {message}", machine::now());
        let (line, path) = (line.replace(['\n', '\r'], " "), paths.audit());
        let text = format!(
            "f={}; mkdir -p \"${{f%/*}}\"; printf '%s\\n' {} >> \"$f\" && echo written",
            script::quote(&path),
            script::quote(&line)
        );
        self.written(text, "write the audit log").await
    }

    /// Has the proxy answer 503 for these routes; requests that prove a deploy go through.
    ///
    /// # Errors
    /// The proxy is none that this can drive, or does not show the change.
    pub async fn begin_maintenance(
        &self,
        paths: &Paths,
        proxy: &ProxyWish,
        routes: &[RouteSpec],
    ) -> Result<(), OpError> {
        super::proxy::supported(proxy)?;
        let (path, staged) = (paths.maintenance(), paths.staged_maintenance());
        let text = format!(
            "f={path}; s={staged}; mkdir -p \"${{f%/*}}\" \"${{s%/*}}\"; printf '%s' {text} > \"$s\" && mv -f \"$s\" \"$f\" && echo written",
            path = script::quote(&path),
            staged = script::quote(&staged),
            text = script::quote(&maintenance_file(routes)),
        );
        self.written(text, "begin the maintenance").await?;
        let shown: Vec<String> = services(routes);
        self.await_route(proxy, &shown, &[]).await
    }

    /// Ends what [`Self::begin_maintenance`] began.
    ///
    /// # Errors
    /// As there.
    pub async fn end_maintenance(
        &self,
        paths: &Paths,
        proxy: &ProxyWish,
        routes: &[RouteSpec],
    ) -> Result<(), OpError> {
        super::proxy::supported(proxy)?;
        let path = script::quote(&paths.maintenance());
        let text = format!("rm -f {path} && echo written");
        self.written(text, "end the maintenance").await?;
        self.await_route(proxy, &[], &services(routes)).await
    }

    /// Starts an accessory anew from its image as the registry has it now; its data stays.
    ///
    /// # Errors
    /// The image is not to be had (nothing was changed then), or it does not become ready.
    pub async fn reboot_accessory(
        &self,
        boot: &AccessoryBoot,
        settings: &Settings,
    ) -> Result<bool, OpError> {
        let spec = &boot.spec.container;
        let login = boot.login.as_ref().or(settings.credentials(&spec.image));
        let image = spec.image.exact();
        self.engine.pull(&image, login, &mut |_| {}).await?;
        self.remove_accessory(boot).await?;
        self.boot_accessory(boot, settings).await
    }

    /// Stops an accessory and removes its container; volumes, folders and its image stay.
    ///
    /// Returns whether there was one.
    ///
    /// # Errors
    /// The daemon refused.
    pub async fn remove_accessory(&self, boot: &AccessoryBoot) -> Result<bool, OpError> {
        let spec = &boot.spec.container;
        let name = spec.name.as_str();
        if self.engine.container(name).await?.is_none() {
            return Ok(false);
        }
        self.engine
            .stop(name, spec.stop_timeout.to_duration())
            .await?;
        Ok(self.engine.remove_container(name, false, false).await?)
    }

    /// Removes the folder of an accessory's own files and data below the SSH user's home.
    ///
    /// # Errors
    /// It could not be removed, as when the container's user owns files in it.
    pub async fn remove_accessory_folder(&self, boot: &AccessoryBoot) -> Result<(), OpError> {
        let folder = boot.spec.container.name.as_str();
        let what = format!("remove the folder `{folder}`");
        // A name with a slash would lead elsewhere.
        if folder.is_empty() || folder.contains('/') || folder.starts_with('.') {
            return Err(OpError::Script {
                what,
                reason: "it is no plain name".to_owned(),
            });
        }
        let text = format!("rm -rf -- {} && echo written", script::quote(folder));
        self.written(text, &what).await
    }

    /// Removes stopped containers, but the newest `keep` of those that are given; returns their
    /// names. The newest stand first.
    ///
    /// # Errors
    /// The daemon refused.
    pub async fn remove_old(
        &self,
        containers: &[Listed],
        keep: usize,
    ) -> Result<Vec<String>, OpError> {
        let is_stopped =
            |listed: &&Listed| matches!(listed.state, State::Created | State::Exited | State::Dead);
        let mut removed = Vec::new();
        for listed in containers.iter().filter(is_stopped).skip(keep) {
            if self
                .engine
                .remove_container(&listed.id, false, false)
                .await?
            {
                removed.push(listed.name.clone());
            }
        }
        Ok(removed)
    }

    /// Removes images of a repository that no container uses.
    ///
    /// # Errors
    /// The daemon refused.
    pub async fn remove_unused_images(&self, repository: &str) -> Result<(), OpError> {
        self.prune_images(repository, &[]).await
    }

    pub(super) async fn written(&self, text: String, what: &str) -> Result<(), OpError> {
        let (stdout, stderr) = self.script(text, what).await?;
        if stdout.lines().any(|line| line == "written") {
            return Ok(());
        }
        Err(OpError::Script {
            what: what.to_owned(),
            reason: stderr.trim().to_owned(),
        })
    }
}

fn services(routes: &[RouteSpec]) -> Vec<String> {
    routes
        .iter()
        .map(|route| maintenance_service(&route.app))
        .collect()
}
