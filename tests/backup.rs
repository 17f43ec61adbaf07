//! Dumps of a real PostgreSQL accessory: made, listed, put back, and everything that goes wrong.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use nix::sys::signal::Signal;
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::support::{
    process::wait_until,
    project::{X_RUNNER, address, deploy_yml},
    servers::Sandbox,
    stub::{Ended, Running, StubProject, ask},
};

/// The server of these tests.
const SERVER: u8 = 8;

const DB: &str = "accessories:\n  db:\n    image: \"127.0.0.1:5000/postgres:15\"\n    host: HOST\n    env: { clear: { POSTGRES_USER: stub, POSTGRES_DB: stub_production }, secret: [POSTGRES_PASSWORD] }\n    volumes: [ \"stub_postgres:/var/lib/postgresql/data\" ]\n";

/// What runs an index of a dump into the ground: it is only ever called while one is made.
const HANGS: &str = "create table slow (x int); insert into slow values (1); \
    create function f(x int) returns int language sql immutable as 'select 1'; \
    create index on slow (f(x)); \
    create or replace function f(x int) returns int language plpgsql immutable as \
    \\$\\$ begin perform pg_sleep(3600); return 1; end \\$\\$";

/// A server on which release `v1` and a database run, and a home folder where dumps go.
struct Scene {
    sandbox: &'static Sandbox,
    project: StubProject,
    home: TempDir,
}

impl Scene {
    fn new() -> Self {
        let sandbox = Sandbox::up(&[SERVER]);
        let more = format!("{}{X_RUNNER}", DB.replace("HOST", &address(SERVER)));
        let text = deploy_yml(&[SERVER], &more);
        let project = StubProject::of_pool(sandbox, "runner-tests-database", &text);
        let secrets = project.read(".kamal/secrets");
        project.file(
            ".kamal/secrets",
            &format!("{secrets}POSTGRES_PASSWORD=s3cret-of-the-database\n"),
        );
        sandbox.clean(SERVER);
        sandbox.as_root(SERVER, "docker volume rm stub_postgres");
        let home = tempfile::tempdir().unwrap();
        let keys = Path::new(sandbox.value("SANDBOX_HOME")).join(".ssh");
        std::os::unix::fs::symlink(keys, home.path().join(".ssh")).unwrap();
        let scene = Self {
            sandbox,
            project,
            home,
        };
        scene.run(&["setup", "--version", "v1"]).expect(0);
        scene.sql("create table reports (id int primary key, text text); insert into reports values (1, 'kept'), (2, 'too')");
        scene
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.project.command(arguments);
        command.env("HOME", self.home.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        StubProject::ended(&mut self.command(arguments))
    }

    fn spawn(&self, arguments: &[&str]) -> Running {
        StubProject::started(&mut self.command(arguments))
    }

    /// Asks the database that serves.
    fn sql(&self, sql: &str) -> String {
        self.sql_in("stub_production", sql)
    }

    fn sql_in(&self, database: &str, sql: &str) -> String {
        let command =
            format!("docker exec stub-db psql -U stub -d {database} -At -c \"{sql}\" 2>&1");
        self.sandbox.on(SERVER, &command).trim().to_owned()
    }

    fn reports(&self) -> String {
        self.sql("select string_agg(id || text, ' ' order by id) from reports")
    }

    /// All databases but those that are always there.
    fn databases(&self) -> String {
        self.sql_in(
            "postgres",
            "select string_agg(datname, ' ' order by datname) from pg_database where datname not in ('postgres', 'template0', 'template1')",
        )
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join(".local/state/runner/backups/stub")
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder()).into_iter().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Makes a dump and returns its name.
    #[track_caller]
    fn create(&self) -> String {
        let made = self
            .run(&["backup", "create", "--format", "json"])
            .expect(0);
        let line = made.text.lines().find(|line| line.starts_with('{'));
        let made: Json = serde_json::from_str(line.unwrap()).unwrap();
        made["name"].as_str().unwrap().to_owned()
    }

    /// What `backup list` says, the newest first.
    fn listed(&self) -> Vec<Json> {
        let listed = self.run(&["backup", "list", "--format", "json"]).expect(0);
        let line = listed.text.lines().find(|line| line.starts_with('{'));
        let listed: Json = serde_json::from_str(line.unwrap()).unwrap();
        listed["backups"].as_array().unwrap().clone()
    }

    /// What must not change where a restore is refused or undone.
    fn state(&self) -> String {
        let (reports, databases) = (self.reports(), self.databases());
        let served = ask(&format!("{}:3002", address(SERVER)), "/version");
        let snapshot = self.sandbox.snapshot(SERVER);
        let lock = self.sandbox.on(SERVER, "ls .kamal | grep lock");
        format!("{reports}\n{databases}\n{served:?}\n{snapshot}\n{lock}")
    }

    /// Waits for a session of this application name that does something of this kind.
    fn session(&self, application: &str, query: &str) {
        let asked = format!(
            "select count(*) from pg_stat_activity where application_name like '{application}%' and query ilike '{query}%' and state = 'active'"
        );
        wait_until(120, "the session is in the database", || {
            self.sql_in("postgres", &asked) == "1"
        });
    }

    fn sessions_of_ours(&self) -> String {
        self.sql_in(
            "postgres",
            "select count(*) from pg_stat_activity where application_name like 'runner-%'",
        )
    }
}

#[test]
fn a_dump_brings_the_data_back_and_so_does_the_dump_of_what_it_replaced() {
    let scene = Scene::new();
    let settings = "alter database stub_production set search_path = public, extra; \
        alter database stub_production set \\\"app.tenant\\\" = 'a b'; \
        revoke connect on database stub_production from public";
    scene.sql(settings);
    scene.sql("create table schema_migrations (version text); insert into schema_migrations values ('20260101000000')");
    let name = scene.create();

    // Nobody else may read it, and any other tool finds the checksum right.
    let file = scene.folder().join(format!("{name}.dump"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&scene.folder())), (0o600, 0o700));
    let listed = scene.listed();
    let manifest = &listed[0]["manifest"];
    let sum = Command::new("sha256sum").arg(&file).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    assert_eq!(sum.split(' ').next(), manifest["sha256"].as_str());
    for (key, expected) in [
        ("format", Json::from(1)),
        ("service", "stub".into()),
        ("database", "stub_production".into()),
        ("release", "v1".into()),
        ("schema", "20260101000000".into()),
        ("cause", "asked".into()),
        ("size", fs::metadata(&file).unwrap().len().into()),
    ] {
        assert_eq!(manifest[key], expected, "{key} in {manifest}");
    }

    scene.sql("update reports set text = 'changed'; insert into reports values (3, 'new'); create table later (id int references reports); insert into later values (3); update schema_migrations set version = '20270101000000'");
    let before = scene.state();
    scene
        .run(&["backup", "restore", &name])
        .expect(2)
        .says("confirm it with `--yes`")
        .says("replaces database `stub_production`");
    assert_eq!(scene.state(), before);
    scene
        .run(&["backup", "restore", &name, "--yes"])
        .expect(0)
        .says("release `v1`, schema 20260101000000")
        .says("release `v1`, schema 20270101000000")
        .says("stops    stub-web-v1 meanwhile")
        .says("restored database `stub_production`");
    assert_eq!(scene.reports(), "1kept 2too");
    assert_eq!(scene.sql("select to_regclass('later') is null"), "t");
    assert_eq!(scene.databases(), "stub_production");
    assert_eq!(
        ask(&format!("{}:3002", address(SERVER)), "/version").as_deref(),
        Ok("v1")
    );
    // What belongs to the database and not to what is in it, has stayed.
    let kept = "select setting from pg_settings where name = 'search_path' union all select current_setting('app.tenant') \
        union all select has_database_privilege('public', 'stub_production', 'connect')::text";
    assert_eq!(scene.sql(kept), "public, extra\na b\nfalse");
    let left = scene.sandbox.on(
        SERVER,
        "ls .kamal .kamal/runner/stub .kamal/proxy/traefik/dynamic",
    );
    for gone in ["lock-stub", "restore.json", "maintenance"] {
        assert!(!left.contains(gone), "{left}");
    }
    scene
        .run(&["audit"])
        .expect(0)
        .says("Restored database stub_production");

    // What was there before the restore is a dump as well.
    let listed = scene.listed();
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert_eq!(listed[0]["manifest"]["cause"], "restore");
    assert_eq!(listed[0]["manifest"]["schema"], "20270101000000");
    let replaced = listed[0]["name"].as_str().unwrap();
    // A container that answers only after a while: the restore ends when it does.
    scene.sandbox.stub("slowly-up", &["UP_AFTER=3"]);
    scene.run(&["deploy", "--version", "slowly-up"]).expect(0);
    scene
        .run(&["backup", "restore", replaced, "--yes"])
        .expect(0);
    let up = ask(&format!("{}:3002", address(SERVER)), "/up");
    assert!(up.is_ok(), "{up:?}");
    assert_eq!(scene.reports(), "1changed 2changed 3new");
    assert_eq!(scene.sql("select count(*) from later"), "1");
}

#[test]
fn a_damaged_dump_a_wrong_name_and_a_wrong_password_change_nothing() {
    let scene = Scene::new();
    let name = scene.create();
    let before = scene.state();
    scene
        .run(&["backup", "restore", "nothing", "--yes"])
        .expect(3)
        .says("there is no dump `nothing`");
    let file = scene.folder().join(format!("{name}.dump"));
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    scene
        .run(&["backup", "list"])
        .expect(0)
        .says("DAMAGED: its checksum is not that of its manifest");
    scene
        .run(&["backup", "restore", &name, "--yes"])
        .expect(3)
        .says("is damaged");
    assert_eq!(scene.state(), before);

    // The socket asks for a password from here on, as it may in anybody's own image.
    let asks = |word: &str| {
        let line = format!(
            "docker exec -u postgres stub-db sh -c 'sed -i \"s/^local.*all.*all.*/local all all {word}/\" $PGDATA/pg_hba.conf && pg_ctl reload'"
        );
        scene.sandbox.as_root(SERVER, &line);
    };
    asks("scram-sha-256");
    scene.create();
    asks("trust");
    wait_until(30, "the socket asks for no password", || {
        scene.sql("alter user stub password 'another'") == "ALTER ROLE"
    });
    asks("scram-sha-256");
    let files = scene.files();
    scene
        .run(&["backup", "create"])
        .expect(5)
        .says("password authentication failed for user")
        .says("POSTGRES_PASSWORD is not the password that the database has");
    assert_eq!(scene.files(), files);
    scene
        .run(&["backup", "create", "--accessory", "redis"])
        .expect(3)
        .says("accessory `redis` is no PostgreSQL");
}

#[test]
fn ctrl_c_leaves_nothing_of_a_dump_and_puts_a_restore_back() {
    let scene = Scene::new();
    scene.sql(HANGS);
    let name = scene.create();
    let (files, before) = (scene.files(), scene.state());

    // A table that is locked has the dump wait.
    let hold = "docker exec -d stub-db psql -U stub -d stub_production -c \"set application_name = 'holds'; begin; lock table reports; select pg_sleep(3600)\"";
    scene.sandbox.on(SERVER, hold);
    scene.session("holds", "%pg_sleep");
    let child = scene.spawn(&["backup", "create"]);
    scene.session("runner-backup", "lock table");
    let ended = child.interrupted();
    ended.expect(11).says("nothing is left of it");
    assert_eq!(scene.sessions_of_ours(), "0");
    assert_eq!(scene.files(), files);
    scene.sql_in(
        "postgres",
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'holds'",
    );

    let child = scene.spawn(&["backup", "restore", &name, "--yes"]);
    scene.session("runner-restore", "create index");
    scene
        .run(&["deploy", "--version", "v1"])
        .expect(5)
        .says("Restore of");
    scene
        .run(&["backup", "restore", &name, "--yes"])
        .expect(5)
        .says("is open");
    scene
        .run(&["backup", "restore", "--undo"])
        .expect(5)
        .says("is still being carried out");
    let ended = child.interrupted();
    ended
        .expect(11)
        .says("it was cancelled")
        .says("everything is as it was found");
    assert_eq!(scene.sessions_of_ours(), "0");
    assert_eq!(scene.state(), before);
}

#[test]
fn what_a_killed_restore_has_left_is_put_back_wherever_it_was() {
    let scene = Scene::new();
    let plain = scene.create();
    scene.sql(HANGS);
    let hangs = scene.create();
    scene.sql("drop table slow");
    let before = scene.state();
    let killed = |name: &str, until: &dyn Fn()| {
        let child = scene.spawn(&["backup", "restore", name, "--yes"]);
        until();
        child.signal(Signal::SIGKILL);
        child.wait();
        scene
            .run(&["deploy", "--version", "v1"])
            .expect(5)
            .says("runner backup restore --undo");
        scene
            .run(&["backup", "restore", "--undo"])
            .expect(0)
            .says("everything is as it was before that restore");
        scene
            .run(&["backup", "restore", "--undo"])
            .expect(0)
            .says("there is nothing to undo");
    };
    killed(&hangs, &|| scene.session("runner-restore", "create index"));
    assert_eq!(scene.state(), before);

    // So much that the dump of what was there before takes its time.
    scene.sql("create table big as select md5(i::text) || md5((i + 1)::text) as t from generate_series(1, 1500000) i");
    let before = scene.state();
    killed(&plain, &|| {
        wait_until(120, "the databases have changed places", || {
            scene.databases().contains("stub_production_before_")
        });
    });
    assert_eq!(scene.state(), before);
    assert_eq!(scene.sql("select count(*) from big"), "1500000");
}

#[test]
fn a_full_disk_here_leaves_no_half_dump_and_puts_a_restore_back() {
    let scene = Scene::new();
    let folder = scene.folder();
    fs::create_dir_all(&folder).unwrap();
    let Some(_disk) = SmallDisk::mount(&folder) else {
        return;
    };
    let name = scene.create();
    scene.sql("create table big as select md5(i::text) || md5((i + 1)::text) as t from generate_series(1, 200000) i");
    let (files, before) = (scene.files(), scene.state());
    scene
        .run(&["backup", "create"])
        .expect(5)
        .says("could not be written")
        .says("No space left on device");
    assert_eq!(scene.files(), files);
    assert_eq!(scene.sessions_of_ours(), "0");

    // The small dump takes the place of the big database, of which no dump can be made.
    scene
        .run(&["backup", "restore", &name, "--yes"])
        .expect(20)
        .says("No space left on device")
        .says("everything is as it was found");
    assert_eq!(scene.state(), before);
    assert_eq!(scene.files(), files);
    assert_eq!(scene.sql("select count(*) from big"), "200000");
}

/// A file system of 2 MB; gone when the test is over.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where this machine does not let us.
    fn mount(at: &Path) -> Option<Self> {
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"])
            .arg(at)
            .output();
        if !done.is_ok_and(|done| done.status.success()) {
            println!("skipped: no file system can be mounted here");
            return None;
        }
        Some(Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_workflow_backs_up_by_an_action() {
    let scene = Scene::new();
    scene.project.commit();
    let mut command = scene.project.workflow(
        "- id: backup\n  uses: runner/backup@v1\n- run: test \"$(sha256sum < \"$DUMP\" | cut -d' ' -f1)\" = \"$SUM\" && echo \"of release $RELEASE, $NAME\"\n  env:\n    DUMP: ${{ steps.backup.outputs.path }}\n    SUM: ${{ steps.backup.outputs.sha256 }}\n    RELEASE: ${{ steps.backup.outputs.release }}\n    NAME: ${{ steps.backup.outputs.name }}\n",
    );
    let ended = StubProject::ended(command.env("HOME", scene.home.path())).expect(0);
    let listed = scene.listed();
    let name = listed[0]["name"].as_str().unwrap();
    ended.says(&format!("of release v1, {name}"));
}
