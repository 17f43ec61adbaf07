//! A dump of a database, streamed to this machine.

use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll, ready},
};

use sha2::{Digest as _, Sha256};
use tokio::{
    fs::{self, File},
    io::AsyncWrite,
};
use tokio_util::sync::CancellationToken;

use super::{
    kept::{DUMP, Kept, MANIFEST, PART},
    postgres::Postgres,
};
use crate::{
    deploy::{apply::Act, error::OpError, host::Host, machine, opening, settings::Settings},
    release::{
        BACKUP_FORMAT, BackupCause, BackupManifest, DatabaseRef, Journal, ReleaseVersion,
        ServiceName, TransactionId, backup_name,
    },
};

/// What a dump is told about itself.
#[derive(Debug, Clone)]
pub struct BackupFacts {
    /// The service.
    pub service: ServiceName,
    /// The destination.
    pub destination: Option<String>,
    /// The release that runs.
    pub release: Option<ReleaseVersion>,
}

/// What is dumped, and what it is called.
pub(super) struct Wanted<'a> {
    pub(super) facts: BackupFacts,
    pub(super) cause: BackupCause,
    pub(super) id: TransactionId,
    /// The release that the name tells.
    pub(super) named: Option<ReleaseVersion>,
    /// The database that is dumped, where it is another one than that of the reference.
    pub(super) instead: Option<&'a str>,
}

/// Dumps a database to this machine; nothing on the host is changed.
///
/// The dump appears whole or not at all. When `stop` is cancelled, its session in the database is
/// ended and what was written is removed.
///
/// # Errors
/// [`OpError::Backup`] for this machine, [`OpError::Script`] with what `pg_dump` said,
/// [`OpError::Cancelled`].
pub async fn back_up(
    host: &Host,
    database: &DatabaseRef,
    facts: BackupFacts,
    settings: &Settings,
    stop: &CancellationToken,
) -> Result<Kept, OpError> {
    let id = opening::new_id().map_err(|error| OpError::Unsupported(error.to_string()))?;
    let wanted = Wanted {
        named: facts.release.clone(),
        cause: BackupCause::Asked,
        instead: None,
        facts,
        id,
    };
    dump(host, database, wanted, settings, stop).await
}

/// Dumps the database of a deploy that is about to migrate.
pub(in crate::deploy) async fn before_migration(
    host: &Host,
    database: &DatabaseRef,
    act: Act<'_>,
    stop: &CancellationToken,
) -> Result<(), OpError> {
    let spec = &act.journal.spec;
    let wanted = Wanted {
        facts: BackupFacts {
            service: spec.service.clone(),
            destination: spec.destination.clone(),
            release: release_before(act.journal),
        },
        cause: BackupCause::Migration,
        id: act.journal.id.clone(),
        named: Some(spec.version.clone()),
        instead: None,
    };
    dump(host, database, wanted, act.settings, stop)
        .await
        .map(drop)
}

/// The release that ran on the primary host when a transaction opened.
fn release_before(journal: &Journal) -> Option<ReleaseVersion> {
    let host = journal.baseline.hosts.get(&journal.spec.primary)?;
    let mut running = host.containers.iter().filter(|found| found.ran);
    running.find_map(|found| found.release.clone())
}

/// Dumps a database, and says so in a manifest.
pub(super) async fn dump(
    host: &Host,
    database: &DatabaseRef,
    wanted: Wanted<'_>,
    settings: &Settings,
    stop: &CancellationToken,
) -> Result<Kept, OpError> {
    let application = format!("runner-backup-{}", wanted.id);
    let postgres = Postgres {
        host,
        database,
        application: &application,
        masker: &settings.masker,
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {
            // The program in the container goes on without its reader, and may wait for a lock.
            postgres.end_sessions().await?;
            Err(OpError::Cancelled)
        }
        done = write(&postgres, wanted, &settings.backups) => {
            if let Err(OpError::Backup { .. }) = done {
                // The same: nobody reads any more. What failed here is what counts.
                drop(postgres.end_sessions().await);
            }
            done
        }
    }
}

async fn write(
    postgres: &Postgres<'_>,
    wanted: Wanted<'_>,
    folder: &Path,
) -> Result<Kept, OpError> {
    let database = postgres.database;
    let (at, of) = (machine::now(), wanted.instead.unwrap_or(&database.database));
    let schema = postgres.schema(of).await?;
    let name = backup_name(&database.database, wanted.named.as_ref(), &wanted.id);
    make_folder(folder).await.map_err(failed(folder))?;
    let path = folder.join(format!("{name}.{DUMP}"));
    let mut part = Part::begin(&path).await?;
    if let Err(error) = postgres.dump(of, &mut part).await? {
        return Err(failed(&path)(error));
    }
    let manifest = BackupManifest {
        format: BACKUP_FORMAT,
        id: wanted.id,
        service: wanted.facts.service,
        destination: wanted.facts.destination,
        host: database.host.clone(),
        database: database.database.clone(),
        release: wanted.facts.release,
        schema,
        cause: wanted.cause,
        at,
        size: part.size,
        sha256: hex::encode(part.hash.clone().finalize()),
    };
    let beside = folder.join(format!("{name}.{MANIFEST}"));
    let text = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| OpError::Unsupported(error.to_string()))?;
    let mut note = Part::begin(&beside).await?;
    note.write(&text).await.map_err(failed(&beside))?;
    // The dump comes last: where it is, its manifest is, too.
    note.finish().await?;
    if let Err(error) = part.finish().await {
        drop(fs::remove_file(&beside).await);
        return Err(error);
    }
    let synced = async { File::open(folder).await?.sync_all().await };
    synced.await.map_err(failed(folder))?;
    Ok(Kept {
        name,
        path,
        manifest: Some(manifest),
        damage: None,
    })
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> OpError {
    let path = path.display().to_string();
    move |source| OpError::Backup { path, source }
}

/// What is dumped is nobody else's business.
async fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder).await
}

/// A file that is being written; unless it is finished, it is removed.
struct Part {
    file: File,
    hash: Sha256,
    size: u64,
    path: PathBuf,
    /// What it becomes; none once it has.
    becomes: Option<PathBuf>,
}

impl Part {
    async fn begin(becomes: &Path) -> Result<Self, OpError> {
        let mut name = becomes.as_os_str().to_owned();
        name.push(format!(".{PART}"));
        let path = PathBuf::from(name);
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&path).await.map_err(failed(&path))?;
        Ok(Self {
            file,
            hash: Sha256::new(),
            size: 0,
            path,
            becomes: Some(becomes.to_owned()),
        })
    }

    async fn write(&mut self, text: &[u8]) -> io::Result<()> {
        use tokio::io::AsyncWriteExt as _;
        self.write_all(text).await?;
        self.flush().await
    }

    /// Has it on the disk under its own name.
    async fn finish(mut self) -> Result<(), OpError> {
        self.file.sync_all().await.map_err(failed(&self.path))?;
        if let Some(becomes) = &self.becomes {
            let renamed = fs::rename(&self.path, becomes).await;
            renamed.map_err(failed(becomes))?;
        }
        self.becomes = None;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.becomes.is_some() {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

impl AsyncWrite for Part {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let length = ready!(Pin::new(&mut self.file).poll_write(context, bytes))?;
        self.hash.update(bytes.get(..length).unwrap_or_default());
        self.size += length as u64;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_shutdown(context)
    }
}
