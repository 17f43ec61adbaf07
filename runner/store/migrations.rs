//! The schema, step by step, with the way back of each step.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, Connection as _, Row as _, SqlStr};

use super::Store;

/// The newest version of the schema.
pub const LATEST: i64 = 7;

/// Each version with the way to it and the way back.
const STEPS: &[(i64, &str, &str, &str)] = &[
    (
        1,
        "runs",
        include_str!("schema/0001_runs.sql"),
        include_str!("schema/0001_runs.down.sql"),
    ),
    (
        2,
        "github",
        include_str!("schema/0002_github.sql"),
        include_str!("schema/0002_github.down.sql"),
    ),
    (
        3,
        "machines",
        include_str!("schema/0003_machines.sql"),
        include_str!("schema/0003_machines.down.sql"),
    ),
    (
        4,
        "checks",
        include_str!("schema/0004_checks.sql"),
        include_str!("schema/0004_checks.down.sql"),
    ),
    (
        5,
        "trust",
        include_str!("schema/0005_trust.sql"),
        include_str!("schema/0005_trust.down.sql"),
    ),
    (
        6,
        "months",
        include_str!("schema/0006_months.sql"),
        include_str!("schema/0006_months.down.sql"),
    ),
    (
        7,
        "labels",
        include_str!("schema/0007_labels.sql"),
        include_str!("schema/0007_labels.down.sql"),
    ),
];

/// Brings the schema to a version, up or down.
///
/// Each step is a transaction of its own; on PostgreSQL a lock keeps several machines from doing it
/// at once.
pub async fn migrate_to(store: &Store, version: i64) -> Result<(), sqlx::Error> {
    let both = STEPS.iter().flat_map(|(version, name, up, down)| {
        let step = |kind, sql: &'static str| {
            Migration::new(
                *version,
                Cow::Borrowed(*name),
                kind,
                SqlStr::from_static(sql),
                false,
            )
        };
        [
            step(MigrationType::ReversibleUp, up),
            step(MigrationType::ReversibleDown, down),
        ]
    });
    let migrator = Migrator::with_migrations(both.collect());
    if version >= LATEST {
        migrator.run(&store.pool).await?;
    } else {
        migrator.undo(&store.pool, version).await?;
    }
    Ok(())
}

/// Returns the version of the schema of a database; 0 where it has none. Changes nothing.
pub async fn version_of(url: &str) -> Result<i64, sqlx::Error> {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(url).await?;
    let asked = sqlx::query("SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations")
        .fetch_one(&mut connection)
        .await;
    let version = match asked {
        Ok(row) => Ok(row.get(0)),
        // The table is made with the first version.
        Err(sqlx::Error::Database(_)) => Ok(0),
        Err(error) => Err(error),
    };
    connection.close().await?;
    version
}
