//! A dump takes the place of a database: everything else goes on as before, or is put back.
//!
//! # How it works
//! The dump is loaded into a database of its own beside the one that serves. Then the application's
//! containers are stopped, and the two databases change names in one transaction: at every moment a
//! database has the name that the application knows. The one that served is dumped under its other
//! name, where nobody writes any more, and is removed only when that dump is on this machine and the
//! application answers again. Up to then everything can be put back, also by another process: a
//! record on the primary host says what was stopped, and the names say how far it came.

use std::fs::File;

use futures_util::future::join_all;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::{
    dump::{BackupFacts, Wanted, dump},
    kept::Kept,
    postgres::Postgres,
};
use crate::{
    deploy::{
        error::OpError, host::Host, machine, opening, opening::Look, script::quote,
        settings::Settings,
    },
    diagnostic::chain,
    release::{
        BACKUP_FORMAT, BackupCause, BackupManifest, DatabaseRef, HostName, InvalidTransactionId,
        RestoreRecord, RouteSpec, Spec, StoppedContainer,
    },
};

/// What a restore works on.
#[derive(Clone, Copy)]
pub struct Restore<'a> {
    /// The release that is configured, with the proxy that was found.
    pub spec: &'a Spec,
    /// What was seen on the hosts, also which containers answer.
    pub look: &'a Look,
    /// The database.
    pub database: &'a DatabaseRef,
    /// Secrets, names, where dumps are kept.
    pub settings: &'a Settings,
    /// Is told each step in words.
    pub say: &'a (dyn Fn(&str) + Sync),
}

impl std::fmt::Debug for Restore<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Restore")
            .field("database", self.database)
            .finish_non_exhaustive()
    }
}

/// How a restore ended.
#[derive(Debug)]
pub enum RestoreEnd {
    /// The dump is in the database's place, and the application's containers run again.
    Restored {
        /// The dump of what was there before.
        before: Box<Kept>,
        /// What could not be tidied up.
        left: Option<String>,
    },
    /// Everything is as it was found.
    Undone(RestoreError),
    /// It failed, and something could not be put back.
    Incomplete {
        /// Why it failed.
        why: RestoreError,
        /// What could not be put back.
        left: String,
    },
    /// Somebody did not want to wait for the undo.
    Interrupted,
}

/// A restore did not go through.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// A step failed.
    #[error("`{host}`: {what}")]
    Step {
        /// The host.
        host: HostName,
        /// What was to be done.
        what: &'static str,
        /// Why it was not.
        #[source]
        source: Box<OpError>,
    },
    /// Somebody cancelled.
    #[error("it was cancelled")]
    Cancelled,
    /// An earlier process was ended before it could put back what it had begun.
    #[error("it was left open by `{0}`")]
    LeftOpen(
        /// Who had begun it.
        String,
    ),
    /// Our own: an id could not be made.
    #[error(transparent)]
    Id(#[from] InvalidTransactionId),
}

/// What is there before a restore.
#[derive(Debug)]
pub struct Before {
    /// The size of the database in bytes.
    pub size: u64,
    /// The version of its schema.
    pub schema: Option<String>,
}

impl<'a> Restore<'a> {
    /// Looks at the database that would be replaced.
    ///
    /// # Errors
    /// It is not there, or its accessory does not answer.
    pub async fn before(&self) -> Result<Before, OpError> {
        let postgres = self.postgres(self.host(&self.database.host)?, "runner-restore");
        let name = &self.database.database;
        let size = postgres.size(name).await?.ok_or_else(|| {
            OpError::NotReady(format!(
                "database `{name}` is not in container `{}`",
                self.database.container
            ))
        })?;
        let schema = postgres.schema(name).await?;
        Ok(Before { size, schema })
    }

    /// The containers that run and would be stopped meanwhile: all that the application has.
    pub fn running(&self) -> Vec<StoppedContainer> {
        let hosts = &self.look.observed.hosts;
        let on_each = hosts.iter().flat_map(|(host, state)| {
            let running = state.containers.iter().filter(|found| found.ran);
            running
                .filter(|found| found.role.is_some())
                .map(move |found| StoppedContainer {
                    host: host.clone(),
                    id: found.id.clone(),
                    name: found.name.clone(),
                    answered: found.answered.clone(),
                })
        });
        on_each.collect()
    }

    /// The restore that an earlier process left open.
    ///
    /// # Errors
    /// The primary host is not reachable, or what lies there cannot be read.
    pub async fn left_open(&self) -> Result<Option<RestoreRecord>, OpError> {
        let what = "look for a restore that was left open";
        let path = self.spec.paths().restore();
        let text = format!("if [ -f {0} ]; then cat {0}; fi", quote(&path));
        let (stdout, _) = self.primary()?.script(text, what).await?;
        if stdout.trim().is_empty() {
            return Ok(None);
        }
        let record: RestoreRecord =
            serde_json::from_str(&stdout).map_err(|error| OpError::Script {
                what: what.to_owned(),
                reason: format!("`{path}` cannot be read: {error}"),
            })?;
        if record.format > BACKUP_FORMAT {
            let reason = format!("`{path}` has format {}, of a newer program", record.format);
            let what = what.to_owned();
            return Err(OpError::Script { what, reason });
        }
        Ok(Some(record))
    }

    /// A record of a restore that is about to begin.
    ///
    /// # Errors
    /// No id could be made.
    pub fn begin(&self, backup: &str) -> Result<RestoreRecord, RestoreError> {
        Ok(RestoreRecord {
            format: BACKUP_FORMAT,
            id: opening::new_id()?,
            backup: backup.to_owned(),
            host: self.database.host.clone(),
            database: self.database.database.clone(),
            who: self.settings.who.clone(),
            machine: machine::this(),
            at: machine::now(),
            stopped: self.running(),
            maintenance: false,
        })
    }

    /// Restores a dump that was opened; the lock must be held.
    ///
    /// `stop` has everything put back, until the database that served is removed; `force` leaves
    /// everything as it is.
    pub async fn carry_out(
        &self,
        mut record: RestoreRecord,
        (manifest, file): (&BackupManifest, File),
        stop: &CancellationToken,
        force: &CancellationToken,
    ) -> RestoreEnd {
        let forward = self.forward(&mut record, (manifest, file), stop);
        let why = match Box::pin(forward).await {
            Ok(before) => {
                let left = self.tidy_up(&record).await.err();
                let left = left.map(|error| self.masked(&error));
                let before = Box::new(before);
                return RestoreEnd::Restored { before, left };
            }
            Err(why) => why,
        };
        (self.say)(&format!("{}: putting everything back", self.masked(&why)));
        self.undo(&record, why, force).await
    }

    /// Puts back what a restore began, as far as it came; the lock must be held.
    pub async fn undo(
        &self,
        record: &RestoreRecord,
        why: RestoreError,
        force: &CancellationToken,
    ) -> RestoreEnd {
        let failures = tokio::select! {
            biased;
            () = force.cancelled() => return RestoreEnd::Interrupted,
            failures = Box::pin(self.backward(record)) => failures,
        };
        if failures.is_empty() {
            return RestoreEnd::Undone(why);
        }
        let left: Vec<String> = failures.iter().map(|error| self.masked(error)).collect();
        RestoreEnd::Incomplete {
            why,
            left: left.join("; "),
        }
    }

    async fn forward(
        &self,
        record: &mut RestoreRecord,
        (manifest, file): (&BackupManifest, File),
        stop: &CancellationToken,
    ) -> Result<Kept, RestoreError> {
        let host = &self.database.host;
        let step = |what: &'static str| {
            move |source: OpError| match source {
                OpError::Cancelled => RestoreError::Cancelled,
                source => RestoreError::Step {
                    host: host.clone(),
                    what,
                    source: Box::new(source),
                },
            }
        };
        let lies_on_primary = step("note the restore");
        self.note(record).await.map_err(&lies_on_primary)?;

        (self.say)(&format!("loading the dump beside `{}`", record.database));
        let loaded = self.load(record, (manifest, file), stop).await;
        loaded.map_err(step("load the dump"))?;

        if self
            .begins_maintenance()
            .await
            .map_err(step("ask the proxy"))?
        {
            record.maintenance = true;
            self.note(record).await.map_err(&lies_on_primary)?;
            (self.say)("the proxy answers 503");
            self.maintenance(true).await?;
        }
        for container in &record.stopped {
            (self.say)(&format!(
                "stopping {} on {}",
                container.name, container.host
            ));
        }
        self.stop_all(record).await?;
        if stop.is_cancelled() {
            return Err(RestoreError::Cancelled);
        }

        let application = application(record);
        let reached = self.host(host).map_err(step("reach the database"))?;
        let postgres = self.postgres(reached, &application);
        let (beside, before) = (record.beside(), record.before());
        (self.say)("exchanging the databases");
        let exchanged = postgres.exchange(&record.database, &beside, &before).await;
        exchanged.map_err(step("exchange the databases"))?;

        (self.say)("dumping what was there before");
        let wanted = Wanted {
            facts: self.facts(),
            cause: BackupCause::Restore,
            id: record.id.clone(),
            named: self.facts().release,
            instead: Some(&before),
        };
        let kept = dump(reached, self.database, wanted, self.settings, stop).await;
        let kept = kept.map_err(step("dump what was there before"))?;

        tokio::select! {
            biased;
            () = stop.cancelled() => return Err(RestoreError::Cancelled),
            started = self.start_all(record) => started?,
        }
        if record.maintenance {
            self.maintenance(false).await?;
        }
        Ok(kept)
    }

    /// Fills the database beside; when that is stopped, its session is ended.
    async fn load(
        &self,
        record: &RestoreRecord,
        (manifest, file): (&BackupManifest, File),
        stop: &CancellationToken,
    ) -> Result<(), OpError> {
        let application = application(record);
        let postgres = self.postgres(self.host(&record.host)?, &application);
        let beside = record.beside();
        let foreign =
            manifest.service != self.spec.service || manifest.destination != self.spec.destination;
        let work = async {
            postgres.create_like(&record.database, &beside).await?;
            let mut file = tokio::fs::File::from_std(file);
            postgres.load(&beside, &mut file, foreign).await?;
            postgres.analyze(&beside).await
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                postgres.end_sessions().await?;
                Err(OpError::Cancelled)
            }
            done = work => done,
        }
    }

    /// Removes the database that served, which is dumped, and the record.
    async fn tidy_up(&self, record: &RestoreRecord) -> Result<(), OpError> {
        let application = application(record);
        let postgres = self.postgres(self.host(&record.host)?, &application);
        postgres.drop_database(&record.before()).await?;
        self.forget().await
    }

    /// Goes back from wherever it is; does not stop at what fails.
    async fn backward(&self, record: &RestoreRecord) -> Vec<RestoreError> {
        let mut failures = Vec::new();
        let host = &record.host;
        let step = |what: &'static str| {
            move |source: OpError| RestoreError::Step {
                host: host.clone(),
                what,
                source: Box::new(source),
            }
        };
        if let Err(error) = self.databases_back(record).await {
            // With the wrong database the application must not run.
            return vec![step("put the database back")(error)];
        }
        failures.extend(self.start_all(record).await.err());
        if record.maintenance {
            failures.extend(self.maintenance(false).await.err());
        }
        if failures.is_empty() {
            let forgotten = self.forget().await;
            failures.extend(forgotten.map_err(step("remove the note")).err());
        }
        failures
    }

    /// The database that served serves again, and nothing of the dump is left.
    async fn databases_back(&self, record: &RestoreRecord) -> Result<(), OpError> {
        let application = application(record);
        let postgres = self.postgres(self.host(&record.host)?, &application);
        let (beside, before) = (record.beside(), record.before());
        postgres.end_sessions().await?;
        if postgres.size(&before).await?.is_some() {
            self.stop_all(record)
                .await
                .map_err(|error| OpError::NotReady(chain(&error)))?;
            postgres
                .exchange(&record.database, &before, &beside)
                .await?;
        }
        postgres.drop_database(&beside).await
    }

    /// Stops what was found running, with the time that it has to end its work.
    async fn stop_all(&self, record: &RestoreRecord) -> Result<(), RestoreError> {
        let grace = self.spec.drain_timeout.to_duration();
        let work = record.stopped.iter().map(async |container| {
            let host = self.host(&container.host)?;
            match host.engine.stop(container.id.as_str(), grace).await {
                Err(error) if !error.is_not_found() => Err(error.into()),
                _ => Ok(()),
            }
        });
        let done = join_all(work).await;
        first_failure(record, done, "stop the application's containers")
    }

    /// Starts what was stopped: first what answers requests, then what takes jobs.
    async fn start_all(&self, record: &RestoreRecord) -> Result<(), RestoreError> {
        for answers in [true, false] {
            let work = record.stopped.iter().map(async |container| {
                if container.answered.is_some() != answers {
                    return Ok(());
                }
                let (host, id) = (self.host(&container.host)?, container.id.as_str());
                let found = host.engine.container(id).await?;
                if found.is_some_and(|found| found.is_running()) {
                    return Ok(());
                }
                host.engine.start(id).await?;
                if let Some(answer) = &container.answered {
                    host.await_answer(&container.id, answer).await?;
                }
                (self.say)(&format!("started {} on {}", container.name, container.host));
                Ok(())
            });
            let done = join_all(work).await;
            first_failure(record, done, "start the application's containers")?;
        }
        Ok(())
    }

    /// Whether the proxy can answer for the application, and does not do so already.
    async fn begins_maintenance(&self) -> Result<bool, OpError> {
        if self.spec.proxy.is_none() || self.running().is_empty() {
            return Ok(false);
        }
        let (path, mut begins) = (self.spec.paths().maintenance(), false);
        for (host, _) in self.routed()? {
            let text = format!("if [ -e {} ]; then echo there; fi", quote(&path));
            let (stdout, _) = host.script(text, "look for a maintenance").await?;
            if stdout.contains("there") {
                return Ok(false);
            }
            begins = true;
        }
        Ok(begins)
    }

    async fn maintenance(&self, begins: bool) -> Result<(), RestoreError> {
        let Some(proxy) = &self.spec.proxy else {
            return Ok(());
        };
        let paths = self.spec.paths();
        let failed = |host: &HostName, source: OpError| RestoreError::Step {
            host: host.clone(),
            what: "tell the proxy",
            source: Box::new(source),
        };
        let routed = self.routed();
        for (host, routes) in routed.map_err(|error| failed(&self.spec.primary, error))? {
            let done = if begins {
                host.begin_maintenance(&paths, proxy, &routes).await
            } else {
                host.end_maintenance(&paths, proxy, &routes).await
            };
            done.map_err(|error| failed(&host.name, error))?;
        }
        Ok(())
    }

    /// The hosts whose proxy leads to the application.
    fn routed(&self) -> Result<Vec<(&'a Host, Vec<RouteSpec>)>, OpError> {
        let mut routed = Vec::new();
        for name in self.spec.hosts() {
            let routes: Vec<RouteSpec> = self.spec.routes_of(&name).cloned().collect();
            if !routes.is_empty() {
                routed.push((self.host(&name)?, routes));
            }
        }
        Ok(routed)
    }

    fn facts(&self) -> BackupFacts {
        let running = self.look.running(self.spec);
        BackupFacts {
            service: self.spec.service.clone(),
            destination: self.spec.destination.clone(),
            release: running.map(|running| running.release),
        }
    }

    async fn note(&self, record: &RestoreRecord) -> Result<(), OpError> {
        let json = serde_json::to_string(record)
            .map_err(|error| OpError::Unsupported(error.to_string()))?;
        let text = format!(
            "f={path}; mkdir -p \"${{f%/*}}\" && printf '%s\\n' {json} > \"$f.new\" && {{ sync \"$f.new\" 2>/dev/null || sync; }} && mv -f \"$f.new\" \"$f\" && echo written",
            path = quote(&self.spec.paths().restore()),
            json = quote(&json),
        );
        self.primary()?.written(text, "note the restore").await
    }

    async fn forget(&self) -> Result<(), OpError> {
        let path = quote(&self.spec.paths().restore());
        let text = format!("rm -f {path} && echo written");
        let what = "remove the note of the restore";
        self.primary()?.written(text, what).await
    }

    fn primary(&self) -> Result<&'a Host, OpError> {
        self.host(&self.spec.primary)
    }

    fn host(&self, name: &HostName) -> Result<&'a Host, OpError> {
        let away = || OpError::NotReady(format!("`{name}` is not connected"));
        self.look.fleet.host(name).ok_or_else(away)
    }

    fn postgres<'p>(&'p self, host: &'p Host, application: &'p str) -> Postgres<'p> {
        Postgres {
            host,
            database: self.database,
            application,
            masker: &self.settings.masker,
        }
    }

    fn masked(&self, error: &(dyn std::error::Error + 'static)) -> String {
        self.settings.masker.mask(&chain(error)).as_str().to_owned()
    }
}

/// The name by which the sessions of a restore are known in the database.
fn application(record: &RestoreRecord) -> String {
    format!("runner-restore-{}", record.id)
}

fn first_failure(
    record: &RestoreRecord,
    done: Vec<Result<(), OpError>>,
    what: &'static str,
) -> Result<(), RestoreError> {
    for (container, done) in record.stopped.iter().zip(done) {
        done.map_err(|source| RestoreError::Step {
            host: container.host.clone(),
            what,
            source: Box::new(source),
        })?;
    }
    Ok(())
}
