//! Accessories: put there and started by `setup` and `accessory boot`, never by a deploy.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::time::{Instant, sleep};

use super::{container, error::OpError, host::Host, script::quote, settings::Settings};
use crate::{
    docker::{Credentials, ExecSpec, Health},
    kamal,
    release::from_kamal::{AccessorySpec, Readiness, Upload},
};

/// How long an accessory may take to become ready: a database fills its folder first.
const READY: Duration = Duration::from_secs(120);
/// How long it may take to accept a connection.
const CONNECTED: Duration = Duration::from_secs(2);
/// How often it is asked.
const ASKED: Duration = Duration::from_millis(200);

/// An accessory with what the project holds for it.
#[derive(Debug, Clone)]
pub struct AccessoryBoot {
    /// What it is.
    pub spec: AccessorySpec,
    /// The contents of its files, in the order of `spec.files`.
    pub contents: Vec<Vec<u8>>,
    /// The login of its own registry.
    pub login: Option<Credentials>,
}

impl Host {
    /// Starts an accessory and waits until it is ready; there already: only starts and waits.
    /// Returns whether it was created.
    ///
    /// # Errors
    /// The image is not to be had, a port is taken, it does not become ready.
    pub async fn boot_accessory(
        &self,
        boot: &AccessoryBoot,
        settings: &Settings,
    ) -> Result<bool, OpError> {
        let spec = &boot.spec.container;
        let name = spec.name.as_str();
        let found = self.engine.container(name).await?;
        let is_new = found.is_none();
        if is_new {
            self.put_files(boot, settings).await?;
            for network in &spec.networks {
                self.engine
                    .ensure_network(network, &BTreeMap::new())
                    .await?;
            }
            let image = spec.image.exact();
            if self.engine.image(&image).await?.is_none() {
                let login = boot.login.as_ref().or(settings.credentials(&spec.image));
                self.engine.pull(&image, login, &mut |_| {}).await?;
            }
            let wanted = container::wanted(spec, &self.home, &settings.secrets)?;
            let id = self.engine.create_container(&wanted).await?;
            for network in spec.networks.iter().skip(1) {
                self.engine
                    .connect_network(network, &id, &wanted.aliases)
                    .await?;
            }
        }
        if !found.is_some_and(|found| found.is_running())
            && let Err(error) = self.engine.start(name).await
        {
            if is_new {
                self.engine.remove_container(name, true, false).await?;
            }
            return Err(error.into());
        }
        self.await_accessory(boot, settings).await?;
        Ok(is_new)
    }

    /// Waits until an accessory is ready.
    async fn await_accessory(
        &self,
        boot: &AccessoryBoot,
        settings: &Settings,
    ) -> Result<(), OpError> {
        let name = boot.spec.container.name.as_str();
        let end = Instant::now() + READY;
        loop {
            let reason = match self.is_ready(&boot.spec).await {
                Ok(None) => return Ok(()),
                Ok(Some(reason)) => reason,
                Err(error) => error.chain(),
            };
            if Instant::now() >= end {
                let found = self.engine.container(name).await?;
                let lines = match found {
                    Some(found) => {
                        self.last_lines(&crate::release::ContainerId::new(found.id), settings)
                            .await
                    }
                    None => String::new(),
                };
                let what = format!("`{}` to be ready ({reason}){lines}", boot.spec.name);
                return Err(OpError::TooLong { what, limit: READY });
            }
            sleep(ASKED).await;
        }
    }

    /// Says why an accessory is not ready, or nothing.
    async fn is_ready(&self, spec: &AccessorySpec) -> Result<Option<String>, OpError> {
        let name = spec.container.name.as_str();
        let found = self.engine.container(name).await?;
        let found = found.ok_or_else(|| OpError::NoContainer(spec.container.name.clone()))?;
        if !found.is_running() {
            let code = found
                .exit_code
                .map_or(String::new(), |code| format!(", its exit code was {code}"));
            return Ok(Some(format!("it does not run{code}")));
        }
        match (found.health, &spec.readiness) {
            (Some(Health::Healthy), _) | (None, Readiness::Running) => Ok(None),
            (Some(_), _) => Ok(Some("its health check did not succeed yet".to_owned())),
            (None, Readiness::Port(port)) => {
                let ip = found
                    .networks
                    .values()
                    .map(|joined| &joined.ip)
                    .find(|ip| !ip.is_empty());
                let Some(ip) = ip else {
                    return Ok(Some("it has no address".to_owned()));
                };
                let taken = self.connect_container(ip, *port, CONNECTED).await;
                Ok(taken
                    .err()
                    .map(|_| format!("nothing listens on port {port}")))
            }
            (None, Readiness::Command(words)) => {
                let command = ExecSpec::of_words(words.clone());
                let done = self.engine.exec_output(name, &command, None).await?;
                let program = words.first().map_or("", String::as_str);
                Ok((done.code != 0).then(|| format!("`{program}` ended with code {}", done.code)))
            }
        }
    }

    /// Puts folders, files and the env file of an accessory on the host.
    async fn put_files(&self, boot: &AccessoryBoot, settings: &Settings) -> Result<(), OpError> {
        let mut script = String::from("set -e\numask 077\n");
        for directory in &boot.spec.directories {
            let path = quote(&directory.path);
            let _written = writeln!(script, "mkdir -p {path}");
            if let Some(mode) = &directory.mode {
                let _written = writeln!(script, "chmod {} {path}", quote(mode));
            }
            if let Some(owner) = &directory.owner {
                let _written = writeln!(script, "chown {} {path}", quote(owner));
            }
        }
        for (upload, content) in boot.spec.files.iter().zip(&boot.contents) {
            put_file(&mut script, upload, content);
        }
        if let Some(path) = &boot.spec.container.env_file {
            let mut pairs = Vec::new();
            for (name, secret) in &boot.spec.container.secrets {
                pairs.push((name.as_str(), settings.secrets.get(secret)?));
            }
            let (text, path) = (quote(&kamal::env_file(pairs)), quote(path));
            let _written = writeln!(
                script,
                "f={path}; mkdir -p \"${{f%/*}}\"; printf '%s' {text} > \"$f.new\"; mv -f \"$f.new\" \"$f\""
            );
        }
        script.push_str("echo written\n");
        let what = format!("put the files of accessory `{}` there", boot.spec.name);
        let (stdout, stderr) = self.script(script, &what).await?;
        if stdout.lines().any(|line| line == "written") {
            return Ok(());
        }
        let reason = settings.masker.mask(stderr.trim()).as_str().to_owned();
        Err(OpError::Script { what, reason })
    }
}

fn put_file(script: &mut String, upload: &Upload, content: &[u8]) {
    let (path, mode) = (quote(&upload.remote), quote(&upload.mode));
    let text = STANDARD.encode(content);
    let _written = writeln!(
        script,
        "f={path}; mkdir -p \"${{f%/*}}\"; printf '%s' '{text}' | base64 -d > \"$f.new\"; chmod {mode} \"$f.new\"; mv -f \"$f.new\" \"$f\""
    );
    if let Some(owner) = &upload.owner {
        let _written = writeln!(script, "chown {} \"$f\"", quote(owner));
    }
}
