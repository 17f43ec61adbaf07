//! What is on servers before a test does something to them, and the two ways in which it may end.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    project::address,
    servers::Sandbox,
    stub::{StubProject, ask},
};

/// What a deploy must not change unless it succeeds.
///
/// Not in it: empty folders, the audit log, history, fence and guard; networks and images, which are kept; what a
/// migration wrote to the volume of the application.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    servers: BTreeMap<u8, Vec<String>>,
    /// What `rollback` without an argument would go back to.
    target: String,
}

/// One fact a line; each begins with its kind.
const FACTS: &str = r#"
cd /home/deploy
ids=$(docker ps -aq --no-trunc)
[ -z "$ids" ] || docker inspect -f 'container {{.Id}} {{.Name}} {{.State.Status}} since {{.State.StartedAt}}' $ids | sort
docker volume ls -q | sort | sed 's/^/volume /'
find /var/lib/docker/volumes -mindepth 3 -type f ! -path '*/_data/migrations' 2>/dev/null | sort | xargs -r sha256sum | sed 's/^/data /'
find .kamal -type d -name 'lock-*' 2>/dev/null | sort | sed 's/^/lock /'
find .kamal -type f ! -name guard ! -name fence ! -name history.jsonl ! -name '*audit.log' 2>/dev/null | sort | xargs -r stat -c 'mode %a %n'
find .kamal -type f ! -name guard ! -name fence ! -name history.jsonl ! -name '*audit.log' 2>/dev/null | sort | xargs -r sha256sum | sed 's/^/file /'
docker images --no-trunc --format 'tag {{.Repository}}:{{.Tag}} {{.ID}}' | grep ':latest ' | sort
"#;

impl Found {
    /// Looks at servers, and asks where a rollback would lead.
    pub(crate) fn on(sandbox: &Sandbox, project: &StubProject, servers: &[u8]) -> Self {
        let look = |server: &u8| {
            let lines = sandbox.as_root(*server, FACTS);
            (*server, lines.lines().map(str::to_owned).collect())
        };
        Self {
            servers: servers.iter().map(look).collect(),
            target: rollback_target(project),
        }
    }

    fn differences(&self, after: &Self) -> String {
        let mut text = String::new();
        for (server, before) in &self.servers {
            let now = after.servers.get(server).map_or(&[][..], Vec::as_slice);
            for line in before.iter().filter(|line| !now.contains(line)) {
                let _written = writeln!(text, "server {server}, was: {line}");
            }
            for line in now.iter().filter(|line| !before.contains(line)) {
                let _written = writeln!(text, "server {server},  is: {line}");
            }
        }
        if self.target != after.target {
            let _written = writeln!(
                text,
                "rollback: `{}` became `{}`",
                self.target, after.target
            );
        }
        text
    }
}

fn rollback_target(project: &StubProject) -> String {
    let text = project.run(&["rollback", "--plan"]).text;
    let line = text.lines().find(|line| line.contains("release"));
    line.unwrap_or(&text).trim().to_owned()
}

/// Everything is as it was found.
#[track_caller]
pub(crate) fn nothing_changed(before: &Found, after: &Found, said: &str) {
    let differences = before.differences(after);
    assert!(differences.is_empty(), "{differences}\nafter:\n{said}");
}

/// The release runs on these servers and nothing else of the application does; the record is closed.
#[track_caller]
pub(crate) fn completed(sandbox: &Sandbox, web: &[u8], version: &str, said: &str) {
    for server in web {
        let plain = format!("{}:3002", address(*server));
        let answered = ask(&plain, "/version");
        assert_eq!(answered.as_deref(), Ok(version), "server {server}:\n{said}");
        let names = running(sandbox, *server, "web");
        assert_eq!(
            names,
            format!("stub-web-{version}"),
            "server {server}:\n{said}"
        );
        let id = "docker ps -q --filter label=role=web --filter label=service=stub | cut -c1-12";
        let routed =
            format!("grep -qF \"$({id})\" .kamal/proxy/traefik/dynamic/stub.yml && echo yes");
        let routed = sandbox.on(*server, &routed);
        assert_eq!(
            routed.trim(),
            "yes",
            "the route of server {server} leads elsewhere:\n{said}"
        );
        ended(sandbox, *server, said);
        let last = sandbox.on(*server, "tail -n 1 .kamal/runner/stub/history.jsonl");
        let line: serde_json::Value = serde_json::from_str(&last).unwrap_or_default();
        assert_eq!(
            (&line["release"], &line["outcome"]),
            (&version.into(), &"succeeded".into()),
            "the history of server {server} ends with {last}\n{said}"
        );
    }
}

/// No lock, no journal and no file of a transaction is left on a server.
#[track_caller]
pub(crate) fn ended(sandbox: &Sandbox, server: u8, said: &str) {
    let left = sandbox.on(
        server,
        "ls -d .kamal/lock-* 2>/dev/null; find .kamal -name 'journal.json*' -o -name 'reserve.*' -o -path '*/staging/*' -type f -o -path '*/env/*' -name '*.env.*'",
    );
    assert_eq!(left.trim(), "", "left on server {server}:\n{said}");
}

/// The names of the containers of a role that run on a server.
pub(crate) fn running(sandbox: &Sandbox, server: u8, role: &str) -> String {
    let list = format!(
        "docker ps --filter label=service=stub --filter label=role={role} --format '{{{{.Names}}}}' | sort"
    );
    sandbox.on(server, &list).trim().replace('\n', " ")
}
