//! What is asked of a PostgreSQL accessory: programs that run in its container.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    deploy::{error::OpError, host::Host},
    docker::{Chunk, Env, ExecSpec, Executed, StdStream},
    mask::Masker,
    release::DatabaseRef,
};

/// The database to ask from while others are made, renamed and removed: every server has it, and no
/// application's is called so.
const NEUTRAL: &str = "template1";
/// How often a change is tried that sessions stand in the way of; the server itself waits 5 s each
/// time.
const TRIES: usize = 4;
/// How much of what a program complains of is shown.
const LAST_WORDS: usize = 4 * 1024;

/// Has a program find the password of the accessory where its socket asks for one. It stands in the
/// container's own environment, so it travels nowhere.
const WITH_PASSWORD: &str = "if [ -z \"${PGPASSWORD:-}\" ]; then \
     if [ -n \"${POSTGRES_PASSWORD:-}\" ]; then export PGPASSWORD=\"$POSTGRES_PASSWORD\"; \
     elif [ -r \"${POSTGRES_PASSWORD_FILE:-}\" ]; then PGPASSWORD=$(cat \"$POSTGRES_PASSWORD_FILE\"); \
     export PGPASSWORD; fi; fi; exec \"$@\"";

/// Makes a database like another one, empty: owner, encoding, sorting, limits, settings, rights.
const CREATE_LIKE: &str = r"
select format('create database %I owner %I template template0 encoding %L lc_collate %L lc_ctype %L tablespace %I connection limit %s',
              :'new', pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, t.spcname, d.datconnlimit)
       || case when to_jsonb(d)->>'datlocprovider' = 'i'
               then format(' locale_provider icu icu_locale %L', coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale'))
               else '' end
from pg_database d join pg_tablespace t on t.oid = d.dattablespace where d.datname = :'old' \gexec
select format(case when s.setrole = 0 then 'alter database %2$I set %3$I to ' else 'alter role %1$I in database %2$I set %3$I to ' end,
              pg_get_userbyid(s.setrole), :'new', split_part(o.line, '=', 1))
       || case when split_part(o.line, '=', 1) in ('search_path', 'temp_tablespaces', 'session_preload_libraries', 'local_preload_libraries')
               then substr(o.line, strpos(o.line, '=') + 1)
               else quote_literal(substr(o.line, strpos(o.line, '=') + 1)) end
from pg_database d join pg_db_role_setting s on s.setdatabase = d.oid cross join unnest(s.setconfig) as o(line)
where d.datname = :'old' \gexec
select format('revoke all on database %I from public', :'new')
from pg_database d where d.datname = :'old' and d.datacl is not null \gexec
select format('grant %s on database %I to %s', a.privilege_type, :'new',
              case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end)
       || case when a.is_grantable then ' with grant option' else '' end
from pg_database d cross join aclexplode(d.datacl) a where d.datname = :'old' \gexec
";

/// Ends every other session of these databases, so that they can be renamed or removed.
const END_OTHERS: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
     where datname in (:'one', :'two') and pid <> pg_backend_pid();\n";

/// One database has the other's place, and the other one gives way: both or none.
const EXCHANGE: &str = "begin;\nalter database :\"one\" rename to :\"aside\";\n\
     alter database :\"two\" rename to :\"one\";\ncommit;\n";

/// A PostgreSQL accessory, with the name by which the sessions of this work are known in it.
#[derive(Clone, Copy)]
pub(super) struct Postgres<'a> {
    pub(super) host: &'a Host,
    pub(super) database: &'a DatabaseRef,
    pub(super) application: &'a str,
    pub(super) masker: &'a Masker,
}

/// Ends the sessions of an application name, which may hold locks.
pub(in crate::deploy) async fn end_sessions(
    host: &Host,
    database: &DatabaseRef,
    application: &str,
    masker: &Masker,
) -> Result<(), OpError> {
    let postgres = Postgres {
        host,
        database,
        application,
        masker,
    };
    postgres.end_sessions().await
}

impl Postgres<'_> {
    /// Dumps a database into `sink`; the inner error is that of `sink`.
    pub(super) async fn dump(
        &self,
        name: &str,
        sink: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<std::io::Result<()>, OpError> {
        let spec = self.program(&["pg_dump", "-Fc", "-w", "-U", &self.database.user, name]);
        let container = self.database.container.as_str();
        match self.host.engine.exec_into(container, &spec, sink).await? {
            Err(error) => Ok(Err(error)),
            Ok(done) => self
                .ended_well(&format!("back up database `{name}`"), &done)
                .map(Ok),
        }
    }

    /// Fills an empty database from a dump; `foreign` leaves out who owned what and who might what.
    pub(super) async fn load(
        &self,
        name: &str,
        dump: &mut (dyn AsyncRead + Send + Unpin),
        foreign: bool,
    ) -> Result<(), OpError> {
        let user = &self.database.user;
        let mut words = vec![
            "pg_restore",
            "--exit-on-error",
            "-w",
            "-U",
            user,
            "-d",
            name,
        ];
        if foreign {
            words.extend(["--no-owner", "--no-acl"]);
        }
        let mut done = Executed::default();
        let mut keep = |chunk: Chunk| {
            if chunk.stream == StdStream::Stderr {
                done.stderr.extend_from_slice(&chunk.bytes);
                let surplus = done.stderr.len().saturating_sub(LAST_WORDS);
                done.stderr.drain(..surplus);
            }
        };
        let (spec, container) = (self.program(&words), self.database.container.as_str());
        let engine = &self.host.engine;
        done.code = engine.exec(container, &spec, Some(dump), &mut keep).await?;
        self.ended_well(&format!("load the dump into database `{name}`"), &done)
    }

    /// Makes `new` like `old`, without anything in it.
    pub(super) async fn create_like(&self, old: &str, new: &str) -> Result<(), OpError> {
        let what = format!("make database `{new}`");
        let given = [("old", old), ("new", new)];
        self.ask(NEUTRAL, CREATE_LIKE, &given, &what)
            .await
            .map(drop)
    }

    /// Counts what is in a database, so that queries are planned well from their first day.
    pub(super) async fn analyze(&self, name: &str) -> Result<(), OpError> {
        let what = format!("analyze database `{name}`");
        self.ask(name, "analyze;\n", &[], &what).await.map(drop)
    }

    /// Renames `one` to `aside` and `two` to `one`, at once; sessions of both are ended.
    pub(super) async fn exchange(&self, one: &str, two: &str, aside: &str) -> Result<(), OpError> {
        let what = format!("exchange databases `{one}` and `{two}`");
        let given = [("one", one), ("two", two), ("aside", aside)];
        let sql = format!("{END_OTHERS}{EXCHANGE}");
        self.against_sessions(&sql, &given, &what).await
    }

    /// Removes a database, unless it is not there; its sessions are ended.
    pub(super) async fn drop_database(&self, name: &str) -> Result<(), OpError> {
        let what = format!("remove database `{name}`");
        let sql = format!("{END_OTHERS}drop database if exists :\"one\";\n");
        let given = [("one", name), ("two", name)];
        self.against_sessions(&sql, &given, &what).await
    }

    /// Ends the sessions of this work, which may hold locks.
    pub(super) async fn end_sessions(&self) -> Result<(), OpError> {
        let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                   where application_name = :'application' and pid <> pg_backend_pid();\n";
        let given = [("application", self.application)];
        let what = format!("end the database sessions of `{}`", self.application);
        self.ask(NEUTRAL, sql, &given, &what).await.map(drop)
    }

    /// The size of a database in bytes; `None` where it is not there.
    pub(super) async fn size(&self, name: &str) -> Result<Option<u64>, OpError> {
        let sql = "select pg_database_size(oid) from pg_database where datname = :'name';\n";
        let what = format!("look for database `{name}`");
        let said = self.ask(NEUTRAL, sql, &[("name", name)], &what).await?;
        Ok(said.trim().parse().ok())
    }

    /// The version of the schema as Rails writes it down; `None` where nothing like it is there.
    pub(super) async fn schema(&self, name: &str) -> Result<Option<String>, OpError> {
        let sql = "select to_regclass('schema_migrations') is not null as known \\gset\n\
                   \\if :known\nselect max(version) from schema_migrations;\n\\endif\n";
        let what = format!("ask for the schema of database `{name}`");
        let said = self.ask(name, sql, &[], &what).await?;
        Ok(Some(said.trim().to_owned()).filter(|version| !version.is_empty()))
    }

    /// Tries again while sessions come back that stand in the way.
    async fn against_sessions(
        &self,
        sql: &str,
        given: &[(&str, &str)],
        what: &str,
    ) -> Result<(), OpError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.ask(NEUTRAL, sql, given, what).await {
                Ok(_) => return Ok(()),
                // What the server says of it may be in any language.
                Err(OpError::Script { .. }) if tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Has `psql` carry out what stands in `sql`; names and values go in as its variables.
    async fn ask(
        &self,
        database: &str,
        sql: &str,
        given: &[(&str, &str)],
        what: &str,
    ) -> Result<String, OpError> {
        let user = &self.database.user;
        let mut words = vec![
            "psql", "-X", "-q", "-A", "-t", "-w", "-U", user, "-d", database,
        ];
        let mut pairs = vec!["ON_ERROR_STOP=1".to_owned()];
        pairs.extend(given.iter().map(|(name, value)| format!("{name}={value}")));
        for pair in &pairs {
            words.extend(["-v", pair]);
        }
        words.extend(["-f", "-"]);
        let (spec, container) = (self.program(&words), self.database.container.as_str());
        let engine = &self.host.engine;
        let done = engine
            .exec_output(container, &spec, Some(sql.as_bytes()))
            .await?;
        self.ended_well(what, &done)?;
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    fn program(&self, words: &[&str]) -> ExecSpec {
        let with_password = ["sh", "-c", WITH_PASSWORD, "sh"];
        let own = ("PGAPPNAME".to_owned(), self.application.to_owned());
        ExecSpec {
            env: Env(vec![own]),
            ..ExecSpec::of_words(with_password.iter().chain(words).copied())
        }
    }

    fn ended_well(&self, what: &str, done: &Executed) -> Result<(), OpError> {
        if done.code == 0 {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&done.stderr);
        let mut reason = self.masker.mask(said.trim()).as_str().to_owned();
        if reason.is_empty() {
            reason = format!("it ended with code {}", done.code);
        }
        if reason.contains("password authentication failed") {
            reason.push_str(
                " (the accessory's POSTGRES_PASSWORD is not the password that the database has: \
                 the variable counts only while the database is made for the first time)",
            );
        }
        Err(OpError::Script {
            what: what.to_owned(),
            reason,
        })
    }
}
