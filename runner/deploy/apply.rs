//! Each operation that is more than a small file, carried out on its host.

use tokio_util::sync::CancellationToken;

use super::{
    backup,
    error::OpError,
    host::Host,
    script::{self, Done, Facts, Script},
    settings::Settings,
};
use crate::release::{
    Check, ContainerName, Journal, Millis, Op, RoutePlan, Target, TransactionId, Verb, traefik,
};

/// What operations know of their transaction.
#[derive(Clone, Copy)]
pub(super) struct Act<'a> {
    pub(super) journal: &'a Journal,
    pub(super) settings: &'a Settings,
    pub(super) dead: Option<&'a TransactionId>,
}

impl<'a> Act<'a> {
    fn id(&self) -> &'a TransactionId {
        &self.journal.id
    }
}

/// An operation with the text of the journal, where it writes one.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) op: Op,
    pub(super) journal: Option<Journal>,
}

impl Host {
    /// Carries out one operation that is not a small file; `stop` ends one that only waits.
    pub(super) async fn apply(
        &self,
        op: &Op,
        act: Act<'_>,
        stop: &CancellationToken,
    ) -> Result<(), OpError> {
        if let Verb::BackUp { database } = &op.verb {
            return backup::before_migration(self, database, act, stop).await;
        }
        if !op.verb.only_looks() && !matches!(op.verb, Verb::Pull { .. }) {
            return self.change(&op.verb, act).await;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(OpError::Cancelled),
            done = self.look(&op.verb, act) => done,
        }
    }

    /// What only looks, waits, or can be broken off without harm.
    async fn look(&self, verb: &Verb, act: Act<'_>) -> Result<(), OpError> {
        let proxy = act.journal.spec.proxy.as_ref();
        let no_proxy = || OpError::Unsupported("a route without a proxy".to_owned());
        match verb {
            Verb::CheckProxy { proxy } => self.check_proxy(proxy).await,
            Verb::CheckAccessory { accessory } => self.check_accessory(accessory).await,
            Verb::Pull { image } => self.pull(image, act.settings).await,
            Verb::AwaitExit { container, limit } => self.wait_for(container, *limit, act).await,
            Verb::Gate { container, check } => self.pass_gate(container, check, act).await,
            Verb::AwaitAnswer { container, answer } => {
                let id = self.need(container, act.id()).await?;
                self.await_answer(&id, answer).await
            }
            Verb::AwaitRoute { shows, gone } => {
                self.await_route(proxy.ok_or_else(no_proxy)?, shows, gone)
                    .await
            }
            Verb::Probe {
                routes,
                transaction,
            } => {
                self.prove(proxy.ok_or_else(no_proxy)?, routes, transaction)
                    .await
            }
            Verb::Watch { span, containers } => self.watch(containers, *span, proxy, act).await,
            other => Err(OpError::Unsupported(other.to_string())),
        }
    }

    async fn wait_for(&self, target: &Target, limit: Millis, act: Act<'_>) -> Result<(), OpError> {
        let id = self.need(target, act.id()).await?;
        self.await_exit(&id, &target.name, limit.to_duration(), act.settings)
            .await
    }

    async fn pass_gate(&self, target: &Target, check: &Check, act: Act<'_>) -> Result<(), OpError> {
        let id = self.need(target, act.id()).await?;
        let gate = self.gate(&id, &target.name, check, act.settings);
        if let Check::Docker { .. } = check {
            return gate.await;
        }
        // The connections of the proof that follows are opened meanwhile.
        let spec = &act.journal.spec;
        let routes: Vec<_> = spec.routes_of(&self.name).cloned().collect();
        let (passed, ()) = tokio::join!(gate, self.open_doors(spec.proxy.as_ref(), &routes));
        passed
    }

    /// What changes the host.
    async fn change(&self, verb: &Verb, act: Act<'_>) -> Result<(), OpError> {
        let id = act.id();
        match verb {
            Verb::CreateNetwork { name } => {
                self.engine
                    .ensure_network(name, &Default::default())
                    .await?;
            }
            Verb::Create { container } => {
                self.create(container, &act.settings.secrets, id).await?;
            }
            Verb::Start { container } => {
                let id = self.need(container, id).await?;
                // The way to the gate is opened meanwhile; whether it can be is told there.
                let (started, _way) = tokio::join!(self.engine.start(id.as_str()), self.side_way());
                started?;
            }
            Verb::StartOnce { container } => {
                let found = self.need(container, id).await?;
                self.start_once(&found, &container.name).await?;
            }
            Verb::Stop {
                container,
                wait,
                timeout,
            } => {
                if let Some(id) = self.find(container, id).await? {
                    tokio::time::sleep(wait.to_duration()).await;
                    match self.engine.stop(id.as_str(), timeout.to_duration()).await {
                        Err(error) if !error.is_not_found() => return Err(error.into()),
                        _ => {}
                    }
                }
            }
            Verb::Remove { container } => {
                if let Some(found) = self.find(container, id).await? {
                    self.forget(&found);
                    // Nameless volumes of what this transaction made are nobody else's.
                    let ours = !act.journal.has_found(&self.name, &found)
                        && self.ours(&container.name, id).await?.as_ref() == Some(&found);
                    self.engine
                        .remove_container(found.as_str(), false, ours)
                        .await?;
                }
            }
            Verb::Rename { container, to } => {
                let found = match self.find(container, id).await? {
                    Some(found) => found,
                    // It was renamed before, and is known by name alone.
                    None => self
                        .ours(to, id)
                        .await?
                        .ok_or_else(|| OpError::NoContainer(container.name.clone()))?,
                };
                self.forget(&found);
                self.rename(&found, to).await?;
            }
            Verb::Tag { image, tags } => {
                let tag = |tag: &String| {
                    let name = format!("{}:{tag}", image.repository);
                    async move { self.engine.tag(&image.exact(), &name).await }
                };
                futures_util::future::try_join_all(tags.iter().map(tag)).await?;
            }
            Verb::PruneImages { repository, keep } => {
                let keep: Vec<_> = keep.iter().map(ToString::to_string).collect();
                self.prune_images(repository, &keep).await?;
            }
            Verb::EndSessions {
                database,
                application,
            } => {
                let masker = &act.settings.masker;
                backup::end_sessions(self, database, application, masker).await?;
            }
            other => return Err(OpError::Unsupported(other.to_string())),
        }
        Ok(())
    }

    /// Carries out small-file operations that follow each other, in one command.
    pub(super) async fn apply_files(&self, steps: &[Step], act: Act<'_>) -> Vec<Done> {
        match self.try_files(steps, act).await {
            Ok(results) => results,
            Err(error) => {
                let mut results: Vec<_> = steps.iter().map(|_| Done::LeftOut).collect();
                if let Some(first) = results.first_mut() {
                    *first = Done::Failed(error);
                }
                results
            }
        }
    }

    async fn try_files(&self, steps: &[Step], act: Act<'_>) -> Result<Vec<Done>, OpError> {
        let paths = act.journal.spec.paths();
        let facts = Facts {
            paths: &paths,
            transaction: act.id(),
            fence: act.journal.fence,
            secrets: &act.settings.secrets,
            dead: act.dead,
        };
        let mut script = Script::new(&paths);
        for step in steps {
            if let Verb::WriteRoute { route, fence } = &step.op.verb {
                let text = self.route_text(route, act.id()).await?;
                let body = script::write_route(&paths, act.id(), *fence, &text);
                script.add_body(&body, step.op.best_effort);
                continue;
            }
            let journal = step.journal.as_ref().map(serde_json::to_string).transpose();
            let journal = journal.map_err(|e| OpError::Unsupported(e.to_string()))?;
            script.add(
                &step.op.verb,
                journal.as_deref(),
                step.op.best_effort,
                facts,
            )?;
        }
        let name = steps
            .first()
            .map(|step| step.op.verb.to_string())
            .unwrap_or_default();
        let (stdout, stderr) = self.script(script.into_text(), &name).await?;
        let what = |n: usize| {
            steps
                .get(n)
                .map(|s| s.op.verb.to_string())
                .unwrap_or_default()
        };
        Ok(Script::results(
            steps.len(),
            &stdout,
            &stderr,
            act.journal.fence,
            what,
        ))
    }

    /// The file of a route, with the ids of the containers that were created meanwhile.
    async fn route_text(&self, plan: &RoutePlan, id: &TransactionId) -> Result<String, OpError> {
        let mut known = Vec::new();
        let targets = plan
            .apps
            .iter()
            .flat_map(|app| &app.backends)
            .flat_map(|b| &b.containers);
        for target in targets.filter(|target| target.id.is_none()) {
            known.push((target.name.clone(), self.need(target, id).await?));
        }
        let find = |name: &ContainerName| {
            known
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, id)| id.clone())
        };
        let route = plan.resolve(find)?;
        Ok(traefik::dynamic_file(
            &plan.specs(),
            &route,
            &plan.transaction,
        ))
    }

    async fn check_accessory(
        &self,
        accessory: &crate::release::AccessoryRef,
    ) -> Result<(), OpError> {
        let found = self.engine.container(accessory.container.as_str()).await?;
        let name = &accessory.name;
        let not_ready = |text: String| Err(OpError::NotReady(text));
        let Some(found) = found else {
            return not_ready(format!(
                "accessory `{name}` is not there (run `runner setup`)"
            ));
        };
        if !found.is_running() {
            return not_ready(format!(
                "accessory `{name}` does not run (run `runner accessory boot {name}`)"
            ));
        }
        let ip = found
            .networks
            .values()
            .map(|joined| &joined.ip)
            .find(|ip| !ip.is_empty());
        if let (Some(port), Some(ip)) = (accessory.port, ip)
            && let Err(error) = self.ssh.connect_tcp(ip, port).await
        {
            return not_ready(format!(
                "accessory `{name}` does not answer on port {port}: {error}"
            ));
        }
        Ok(())
    }
}
