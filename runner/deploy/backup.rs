//! What is done in a PostgreSQL accessory: a dump before a migration, the end of its sessions.

use std::path::PathBuf;

use futures_util::FutureExt as _;
use sha2::{Digest as _, Sha256};
use tokio::{fs, io::AsyncWriteExt as _, sync::mpsc};

use super::{apply::Act, error::OpError, host::Host};
use crate::{
    docker::{Chunk, ExecSpec, StdStream},
    release::DatabaseRef,
};

/// Dumps a database to this machine, streamed, with its checksum beside it.
pub(super) async fn dump(host: &Host, database: &DatabaseRef, act: Act<'_>) -> Result<(), OpError> {
    let folder = act.settings.backups.clone();
    let name = format!(
        "{}-{}-{}.dump",
        database.database, act.journal.spec.version, act.journal.id
    );
    let path = folder.join(name);
    let failed = |path: &PathBuf| {
        let path = path.display().to_string();
        move |source| OpError::Backup { path, source }
    };
    fs::create_dir_all(&folder).await.map_err(failed(&folder))?;
    let part = path.with_extension("dump.part");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&part).await.map_err(failed(&part))?;
    let spec = ExecSpec::of_words(["pg_dump", "-Fc", "-U", &database.user, &database.database]);
    let (sender, mut receiver) = mpsc::unbounded_channel::<Chunk>();
    let mut keep = move |chunk| drop(sender.send(chunk));
    let run = host
        .engine
        .exec(database.container.as_str(), &spec, None, &mut keep)
        .fuse();
    tokio::pin!(run);
    let (mut hash, mut errors, mut code) = (Sha256::new(), Vec::new(), None);
    loop {
        let chunk = tokio::select! {
            done = &mut run, if code.is_none() => { code = Some(done?); receiver.close(); continue }
            chunk = receiver.recv() => chunk,
        };
        match chunk {
            Some(Chunk {
                stream: StdStream::Stdout,
                bytes,
            }) => {
                hash.update(&bytes);
                file.write_all(&bytes).await.map_err(failed(&part))?;
            }
            Some(Chunk { bytes, .. }) => errors.extend_from_slice(&bytes),
            None => break,
        }
    }
    file.sync_all().await.map_err(failed(&part))?;
    if code != Some(0) {
        let text = String::from_utf8_lossy(&errors).trim().to_owned();
        return Err(OpError::Script {
            what: format!("back up database `{}`", database.database),
            reason: act.settings.masker.mask(&text).as_str().to_owned(),
        });
    }
    fs::rename(&part, &path).await.map_err(failed(&path))?;
    let sum = path.with_extension("dump.sha256");
    let file = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let line = format!("{}  {file}\n", hex::encode(hash.finalize()));
    fs::write(&sum, line).await.map_err(failed(&sum))
}

/// Ends the sessions of an application name, which may hold locks.
pub(super) async fn end_sessions(
    host: &Host,
    database: &DatabaseRef,
    application: &str,
) -> Result<(), OpError> {
    // The name is a transaction's id behind a fixed word: letters, digits and hyphens.
    let query = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = '{application}'"
    );
    let spec = ExecSpec::of_words([
        "psql",
        "-qAt",
        "-v",
        "ON_ERROR_STOP=1",
        "-U",
        &database.user,
        "-d",
        &database.database,
        "-c",
        &query,
    ]);
    let done = host
        .engine
        .exec_output(database.container.as_str(), &spec, None)
        .await?;
    if done.code == 0 {
        return Ok(());
    }
    Err(OpError::Script {
        what: "end the database sessions of the migration".to_owned(),
        reason: String::from_utf8_lossy(&done.stderr).trim().to_owned(),
    })
}
