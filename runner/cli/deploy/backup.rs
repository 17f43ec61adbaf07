//! `backup create|list|restore`: dumps of the application's database.

use std::io::{IsTerminal as _, Write as _};

use serde_json::{Value as Json, json};

use super::{
    arguments::{
        BackupCreateArguments, BackupListArguments, BackupRestoreArguments, SiteArguments,
    },
    by_hand::{Held, failed},
    hooks::Called,
    release::{Stop, driver_of},
    site::Site,
    stop,
};
use crate::{
    cli::{
        arguments::Format,
        error::{CliError, ErrorKind, ExitCode},
        project, write_line, write_note, write_raw,
    },
    deploy::{
        self, BackupFacts, BackupLook, Backups, Damage, FindError, Kept, Look, OpError, Restore,
        RestoreEnd, RestoreError, process_of,
    },
    diagnostic::chain,
    release::{BackupManifest, DatabaseRef, RestoreRecord, Spec},
    scheduler::shown_size,
};

/// Dumps the database to this machine; nothing on the servers is changed.
pub(super) async fn create(arguments: &BackupCreateArguments) -> Result<ExitCode, CliError> {
    let called = Called::sub("backup", "create");
    let accessory = arguments.accessory.as_deref();
    let seen = match seen(&arguments.site, accessory, called, false).await? {
        Ok(seen) => seen,
        Err(code) => return Ok(code),
    };
    let Seen {
        site,
        spec,
        look,
        database,
    } = &seen;
    let host = look.fleet.host(&database.host);
    let host = host.ok_or_else(|| failed(&database.host, "it is not connected"))?;
    let facts = BackupFacts {
        service: spec.service.clone(),
        destination: spec.destination.clone(),
        release: look.running(spec).map(|running| running.release),
    };
    let stop = Stop::default();
    let work = deploy::back_up(host, database, facts, &site.settings, &stop.cancel);
    match stop::with_signals(&stop, Box::pin(work)).await {
        Ok(kept) => {
            match arguments.format {
                Format::Json => write_line(&as_json(&kept).to_string()),
                Format::Text => write_line(&format!(
                    "dumped database `{}` to {} ({})",
                    database.database,
                    kept.path.display(),
                    shown_size(kept.manifest.as_ref().map_or(0, |about| about.size)),
                )),
            }
            Ok(ExitCode::Success)
        }
        Err(OpError::Cancelled) => {
            write_note("the dump was cancelled, and nothing is left of it");
            Ok(ExitCode::Cancelled)
        }
        Err(error) => Err(
            failed(&database.host, "the database was not dumped").because(
                site.settings
                    .masker
                    .mask(&error.chain())
                    .as_str()
                    .to_owned(),
            ),
        ),
    }
}

/// Lists what is there.
pub(super) fn list(arguments: &BackupListArguments) -> Result<ExitCode, CliError> {
    let project = match project::read(&arguments.project, arguments.format)? {
        Ok(project) => project,
        Err(code) => return Ok(code),
    };
    let backups = Backups::new(project.backups());
    let look = if arguments.quick {
        BackupLook::Quick
    } else {
        BackupLook::Whole
    };
    let all = backups.list(look).map_err(|error| not_had(&error))?;
    match arguments.format {
        Format::Json => {
            let all: Vec<Json> = all.iter().map(as_json).collect();
            let folder = backups.folder().display().to_string();
            write_line(&json!({ "folder": folder, "backups": all }).to_string());
        }
        Format::Text => {
            write_note(&format!("in {}", backups.folder().display()));
            for kept in &all {
                write_line(&line(kept));
            }
            if all.is_empty() {
                write_note("there is no dump; `runner backup create` makes one");
            }
        }
    }
    Ok(ExitCode::Success)
}

fn line(kept: &Kept) -> String {
    let about = match &kept.manifest {
        Some(about) => format!(
            "{}  {:>9}  {}  {} ({})",
            about.at,
            shown_size(about.size),
            kept.name,
            about.of_what(),
            about.cause.words()
        ),
        None => format!("{:<20}  {:>9}  {}", "", "", kept.name),
    };
    match &kept.damage {
        None => about,
        Some(damage) => format!("{about}  DAMAGED: {damage}"),
    }
}

fn as_json(kept: &Kept) -> Json {
    json!({
        "name": kept.name,
        "path": kept.path.display().to_string(),
        "manifest": kept.manifest,
        "damage": kept.damage.as_ref().map(Damage::to_string),
    })
}

fn not_had(error: &FindError) -> CliError {
    let kind = match error {
        FindError::Folder { .. } => ErrorKind::Environment,
        FindError::Unknown { .. } | FindError::Damaged { .. } => ErrorKind::Invalid,
    };
    let hint = match error {
        FindError::Unknown { .. } => Some("`runner backup list` shows which there are"),
        _ => None,
    };
    let error = CliError::new(kind, chain(error));
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// The servers with what runs there, and the database.
struct Seen {
    site: Site,
    spec: Spec,
    look: Look,
    database: DatabaseRef,
}

/// Looks at the servers; what is to be stopped has to answer again afterwards.
async fn seen(
    arguments: &SiteArguments,
    accessory: Option<&str>,
    called: Called,
    is_to_stop: bool,
) -> Result<Result<Seen, ExitCode>, CliError> {
    let site = match Site::open(arguments, false, called).await? {
        Ok(site) => site,
        Err(code) => return Ok(Err(code)),
    };
    let unknown = site.spec_of("unknown", None, None)?;
    let database = site.project.database(&unknown, accessory);
    let database = database.map_err(|error| {
        CliError::new(ErrorKind::Invalid, "there is nothing to dump").because(error)
    })?;
    let mut look = if is_to_stop {
        deploy::look_closely(&unknown, &site.settings).await
    } else {
        deploy::look(&unknown, &site.settings).await
    };
    if look.fleet.host(&database.host).is_none() {
        let away = look
            .fleet
            .connect(std::slice::from_ref(&database.host))
            .await;
        look.away.extend(away);
    }
    if let Some((host, error)) = look.away.iter().find(|(away, _)| *away == database.host) {
        return Err(failed(host, "it is not reachable").because(error.chain()));
    }
    let spec = site.spec_of("unknown", None, driver_of(&look, &unknown))?;
    Ok(Ok(Seen {
        site,
        spec,
        look,
        database,
    }))
}

/// Puts a dump in the database's place, or puts back what an earlier attempt has left.
pub(super) async fn restore(arguments: &BackupRestoreArguments) -> Result<ExitCode, CliError> {
    let called = Called::sub("backup", "restore");
    let accessory = arguments.accessory.as_deref();
    let seen = match seen(&arguments.site, accessory, called, true).await? {
        Ok(seen) => seen,
        Err(code) => return Ok(code),
    };
    // A server of which nothing is known may run what writes to the database.
    if let Some((host, error)) = seen.look.away.first() {
        return Err(failed(host, "it is not reachable").because(error.chain()));
    }
    let say = |text: &str| write_line(&format!("  {text}"));
    let restore = Restore {
        spec: &seen.spec,
        look: &seen.look,
        database: &seen.database,
        settings: &seen.site.settings,
        say: &say,
    };
    let primary = &seen.spec.primary;
    let asked = |error: OpError| {
        let text = seen.site.settings.masker.mask(&error.chain());
        failed(primary, "nothing was restored").because(text.as_str().to_owned())
    };
    let open = restore.left_open().await.map_err(asked)?;
    match (open, arguments.undo) {
        (None, true) => {
            write_line("no restore is open: there is nothing to undo");
            Ok(ExitCode::Success)
        }
        (Some(record), true) => put_back(&seen, &restore, &record, arguments.yes).await,
        (Some(record), false) => Err(failed(primary, "nothing was restored")
            .because(format!("a restore of `{}`, begun by `{}` at {}, is open", record.backup, record.who, record.at))
            .with_hint("`runner backup restore --undo` puts back what it has left, if it does not run any more")),
        (None, false) => {
            let name = arguments.name.as_deref().unwrap_or_default();
            begin(&seen, &restore, name, arguments.yes).await
        }
    }
}

async fn begin(
    seen: &Seen,
    restore: &Restore<'_>,
    name: &str,
    is_confirmed: bool,
) -> Result<ExitCode, CliError> {
    let backups = Backups::new(&seen.site.settings.backups);
    let (kept, manifest, file) = backups.open(name).map_err(|error| not_had(&error))?;
    let before = restore.before().await.map_err(|error| {
        let text = seen.site.settings.masker.mask(&error.chain());
        failed(&seen.database.host, "nothing was restored").because(text.as_str().to_owned())
    })?;
    say_what(seen, restore, (&kept, &manifest), &before);
    if !is_confirmed {
        confirm(&seen.database.database)?;
    }
    let record = restore.begin(&kept.name).map_err(|error| {
        CliError::new(ErrorKind::Internal, "nothing was restored").because(error)
    })?;
    let message = lock_message(&record);
    let held = Held::take(&seen.site, &seen.spec, &seen.look.fleet, &message).await?;
    let stop = Stop::default();
    let work = restore.carry_out(record, (&manifest, file), &stop.cancel, &stop.force);
    let end = stop::with_signals(&stop, Box::pin(work)).await;
    ended(seen, held, end).await
}

/// Says what is put where, and what becomes of what is there.
fn say_what(
    seen: &Seen,
    restore: &Restore<'_>,
    (kept, manifest): (&Kept, &BackupManifest),
    before: &deploy::Before,
) {
    let database = &seen.database;
    write_note(&format!(
        "dump     {} of {}: {}, {}",
        kept.name,
        manifest.at,
        manifest.of_what(),
        shown_size(manifest.size)
    ));
    let own = (&seen.spec.service, &seen.spec.destination);
    if (&manifest.service, &manifest.destination) != own {
        let from = manifest.destination.as_ref();
        let from = from.map_or(String::new(), |name| format!(" in `{name}`"));
        write_note(&format!(
            "         it is of `{}`{from}: owners and rights are left out",
            manifest.service
        ));
    }
    let now = BackupManifest {
        release: seen.look.running(&seen.spec).map(|running| running.release),
        schema: before.schema.clone(),
        ..manifest.clone()
    };
    write_note(&format!(
        "replaces database `{}` in `{}` on {}: {}, {}",
        database.database,
        database.container,
        database.host,
        now.of_what(),
        shown_size(before.size)
    ));
    write_note(&format!(
        "         which is dumped to {} before it is removed",
        seen.site.settings.backups.display()
    ));
    let running = restore.running();
    let names: Vec<&str> = running.iter().map(|one| one.name.as_str()).collect();
    if !names.is_empty() {
        write_note(&format!("stops    {} meanwhile", names.join(", ")));
    }
}

/// Has a person at the terminal type the name of what is replaced.
fn confirm(database: &str) -> Result<(), CliError> {
    let refused = |message: &str| CliError::new(ErrorKind::Usage, message);
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(
            refused("nothing was restored: nobody is here to confirm it")
                .with_hint("confirm it with `--yes`"),
        );
    }
    write_raw(&format!("type `{database}` to go on: "));
    drop(std::io::stdout().flush());
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    read.map_err(|error| refused("nothing was restored").because(error))?;
    if line.trim() == database {
        return Ok(());
    }
    Err(refused("nothing was restored: the name is another one"))
}

/// What the lock says while a restore is under way.
fn lock_message(record: &RestoreRecord) -> String {
    format!(
        "Restore of {} into {} (restore {}); if it was interrupted: runner backup restore --undo",
        record.backup, record.database, record.id
    )
}

/// Undoes a restore whose process is gone.
async fn put_back(
    seen: &Seen,
    restore: &Restore<'_>,
    record: &RestoreRecord,
    is_confirmed: bool,
) -> Result<ExitCode, CliError> {
    match process_of(&record.machine) {
        Some(true) => {
            return Err(
                failed(&seen.spec.primary, "nothing was put back").because(format!(
                    "the restore of `{}` is still being carried out, by process {} of this machine",
                    record.backup, record.machine.pid
                )),
            );
        }
        Some(false) => {}
        None if is_confirmed => {}
        None => {
            return Err(CliError::new(
                ErrorKind::Usage,
                format!(
                    "the restore of `{}` was begun on another machine, by `{}` at {}",
                    record.backup, record.who, record.at
                ),
            )
            .with_hint("see to it that it does not run any more, then confirm it with `--yes`"));
        }
    }
    let message = format!("Undo of the restore of {}", record.backup);
    let mark = format!("(restore {})", record.id);
    let is_ours = |holder: &str| holder.contains(&mark);
    let (site, spec, fleet) = (&seen.site, &seen.spec, &seen.look.fleet);
    let held = Held::take_or_keep(site, spec, fleet, &message, is_ours).await?;
    let stop = Stop::default();
    let why = RestoreError::LeftOpen(record.who.clone());
    let work = restore.undo(record, why, &stop.cancel);
    let end = stop::with_signals(&stop, Box::pin(work)).await;
    if let RestoreEnd::Undone(_) = end {
        held.release(&seen.spec.hosts(), &message).await?;
        write_line("everything is as it was before that restore");
        return Ok(ExitCode::Success);
    }
    ended(seen, held, end).await
}

/// Says how it ended; while something is not put back, the lock stays.
async fn ended(seen: &Seen, held: Held<'_>, end: RestoreEnd) -> Result<ExitCode, CliError> {
    let database = &seen.database.database;
    let hosts = seen.spec.hosts();
    let mask = |text: &str| seen.site.settings.masker.mask(text).as_str().to_owned();
    let error = |message: String| CliError::new(ErrorKind::Environment, message);
    let again =
        "`runner backup restore --undo` puts everything back; the deploy lock stays until then";
    match end {
        RestoreEnd::Restored { before, left } => {
            held.release(&hosts, &format!("Restored database {database}"))
                .await?;
            write_line(&format!("restored database `{database}`"));
            write_line(&format!(
                "what was there before: `runner backup restore {}`",
                before.name
            ));
            if let Some(left) = left {
                write_note(&format!(
                    "warning: what was there before was dumped, but not removed: {left}"
                ));
            }
            Ok(ExitCode::Success)
        }
        RestoreEnd::Undone(why) => {
            held.release(&hosts, &format!("Did not restore database {database}"))
                .await?;
            let is_cancelled = matches!(why, RestoreError::Cancelled);
            error(format!("database `{database}` was not restored"))
                .because(mask(&chain(&why)))
                .with_hint("everything is as it was found")
                .report();
            Ok(if is_cancelled {
                ExitCode::Cancelled
            } else {
                ExitCode::DeployUndone
            })
        }
        RestoreEnd::Incomplete { why, left } => {
            error(format!("database `{database}` was not restored"))
                .because(mask(&chain(&why)))
                .with_hint(format!("not everything could be put back: {}", mask(&left)))
                .with_hint(again)
                .report();
            Ok(ExitCode::UndoIncomplete)
        }
        RestoreEnd::Interrupted => {
            error(format!(
                "the restore of database `{database}` was left as it is"
            ))
            .with_hint(again)
            .report();
            Ok(ExitCode::UndoIncomplete)
        }
    }
}
