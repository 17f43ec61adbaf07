//! Doubles of GitHub that others made: Prism holds requests against GitHub's own OpenAPI, `emulate`
//! keeps repositories and signs webhooks.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::http::{Answer, request};
use super::npm::installed;
use super::process::{conformance, wait_until};

/// How long a double may take to start, in seconds.
const PATIENCE: u64 = 180;

/// A program of `tests/doubles` that answers on a port of this machine.
struct Program {
    child: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Program {
    /// Starts a script of node, whose arguments are made of the port, and waits until it answers.
    fn start(script: &str, arguments: impl Fn(u16, &Path) -> Vec<String>) -> Option<Self> {
        let root = installed("doubles")?;
        let folder = tempfile::tempdir().unwrap();
        // Neither program can be given a listening socket, nor says which port it chose.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(root.join("node_modules/.bin/node"))
            .arg(root.join(script))
            .args(arguments(port, folder.path()))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let program = Self {
            child,
            address: format!("127.0.0.1:{port}"),
            _folder: folder,
        };
        wait_until(PATIENCE, script, || {
            std::net::TcpStream::connect(&program.address).is_ok()
        });
        Some(program)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Holds requests against GitHub's OpenAPI.
pub(crate) struct Prism {
    program: Program,
}

impl Prism {
    /// Starts it; `None`, with a word, where the OpenAPI is not there or npm cannot install it.
    pub(crate) fn start() -> Option<Self> {
        let Some(openapi) = conformance()
            .map(|data| data.join("github-openapi/github-openapi.cut.json"))
            .filter(|file| file.is_file())
        else {
            println!("skipped: GitHub's OpenAPI is not in the conformance data");
            return None;
        };
        let program = Program::start(
            "node_modules/@stoplight/prism-cli/dist/index.js",
            |port, folder| {
                let document = with_app_deliveries(&openapi, folder);
                let mut arguments = vec!["mock".to_owned(), "-h".to_owned()];
                arguments.extend(["127.0.0.1".to_owned(), "-p".to_owned(), port.to_string()]);
                arguments.push(document.display().to_string());
                arguments
            },
        )?;
        Some(Self { program })
    }

    /// Returns what is wrong with a request; none where GitHub would take it.
    pub(crate) fn objection(&self, method: &str, path: &str, body: &[u8]) -> Option<String> {
        let headers = [
            ("Content-Type", "application/json"),
            ("Accept", "application/json"),
        ];
        let headers = if body.is_empty() {
            &headers[1..]
        } else {
            &headers[..]
        };
        let Answer { status, text, .. } =
            request(&self.program.address, method, path, headers, body);
        let asked = String::from_utf8_lossy(body);
        (status >= 400).then(|| format!("{method} {path} {asked}: {status} {text}"))
    }
}

/// Returns the document with the deliveries of an App's webhook.
///
/// The cut of GitHub's OpenAPI lacks them; they are those of a repository's webhook under another
/// path, in GitHub's own document as well.
fn with_app_deliveries(openapi: &Path, folder: &Path) -> PathBuf {
    let text = fs::read_to_string(openapi).unwrap();
    let mut document: Value = serde_json::from_str(&text).unwrap();
    let paths = document["paths"].as_object_mut().unwrap();
    for rest in ["deliveries", "deliveries/{delivery_id}"] {
        let mut item =
            paths[&format!("/repos/{{owner}}/{{repo}}/hooks/{{hook_id}}/{rest}")].clone();
        let of_repository = ["owner", "repo", "hook-id"];
        item["get"]["parameters"]
            .as_array_mut()
            .unwrap()
            .retain(|parameter| {
                let name = parameter["$ref"].as_str().unwrap_or_default();
                !of_repository
                    .iter()
                    .any(|of| name.ends_with(&format!("/{of}")))
            });
        paths.entry(format!("/app/hook/{rest}")).or_insert(item);
    }
    let file = folder.join("openapi.json");
    fs::write(&file, document.to_string()).unwrap();
    file
}

/// A GitHub that keeps repositories and really signs its webhooks.
pub(crate) struct Emulate {
    program: Program,
    repository: String,
    /// Who owns the repository, or somebody else.
    token: &'static str,
}

/// Who has no repository here until there is a fork.
pub(crate) const OTHER: &str = "eve";

impl Emulate {
    /// Starts it with one empty repository; `None`, with a word, where npm cannot install it.
    pub(crate) fn start(repository: &str) -> Option<Self> {
        let (owner, name) = repository.split_once('/').unwrap();
        let seed = json!({
            "tokens": {
                "tok_admin": {"login": owner, "scopes": ["repo", "admin:repo_hook"]},
                "tok_other": {"login": OTHER, "scopes": ["repo"]},
            },
            "github": {
                "users": [
                    {"login": owner, "name": "Tess", "email": "t@example.com"},
                    {"login": OTHER, "name": "Eve", "email": "eve@example.com"},
                ],
                "repos": [{"owner": owner, "name": name, "auto_init": true}],
            },
        });
        let program = Program::start("node_modules/emulate/dist/index.js", |port, folder| {
            // JSON is YAML.
            let file = folder.join("seed.yaml");
            fs::write(&file, seed.to_string()).unwrap();
            [
                "--service",
                "github",
                "--port",
                &port.to_string(),
                "--seed",
                &file.display().to_string(),
            ]
            .map(str::to_owned)
            .to_vec()
        })?;
        Some(Self {
            program,
            repository: repository.to_owned(),
            token: "tok_admin",
        })
    }

    /// Asks its API, which must do it.
    fn ask(&self, method: &str, route: &str, body: &Value) -> Value {
        let path = format!("/repos/{}/{route}", self.repository);
        let headers = [
            ("Content-Type", "application/json"),
            ("Authorization", &format!("Bearer {}", self.token)),
        ];
        let body = body.to_string();
        let answer = request(
            &self.program.address,
            method,
            &path,
            &headers,
            body.as_bytes(),
        );
        assert!(answer.status < 300, "{method} {path} {body}: {answer:?}");
        serde_json::from_str(&answer.text).unwrap_or_default()
    }

    /// Has it deliver everything to a server.
    pub(crate) fn deliver_to(&self, address: &str, secret: &str) {
        let config = json!({
            "url": format!("http://{address}/webhooks/github"), "content_type": "json", "secret": secret,
        });
        let hook = json!({"name": "web", "active": true, "events": ["*"], "config": config});
        self.ask("POST", "hooks", &hook);
    }

    /// Gives it a commit of a working tree with all that leads there, and moves the branch `main`.
    ///
    /// It makes objects as git does, so that the commits have the same names there.
    pub(crate) fn push(&self, tree: &Path) -> String {
        let head = self.copy(tree);
        let body = json!({"sha": head, "force": true});
        self.ask("PATCH", "git/refs/heads/main", &body);
        head
    }

    /// Gives it a commit of a working tree as a branch that it does not have.
    pub(crate) fn branch(&self, tree: &Path, name: &str) -> String {
        let head = self.copy(tree);
        let body = json!({"ref": format!("refs/heads/{name}"), "sha": head});
        self.ask("POST", "git/refs", &body);
        head
    }

    fn copy(&self, tree: &Path) -> String {
        let git = |arguments: &[&str]| git(tree, arguments);
        let list = git(&["rev-list", "--reverse", "HEAD"]);
        for commit in list.lines() {
            self.copy_commit(tree, commit);
        }
        git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Does something in a fork of the repository, which is somebody else's.
    pub(crate) fn in_fork<T>(&mut self, work: impl FnOnce(&Self) -> T) -> T {
        let (owned, name) = (self.repository.clone(), self.repository.split_once('/'));
        let fork = format!("{OTHER}/{}", name.unwrap().1);
        self.token = "tok_other";
        self.ask("POST", "forks", &json!({}));
        self.repository = fork;
        let done = work(self);
        (self.repository, self.token) = (owned, "tok_admin");
        done
    }

    /// Opens a pull request from a branch, or `OWNER:BRANCH` of a fork, to `main`; returns its number.
    pub(crate) fn pull_request(&self, head: &str, title: &str) -> u64 {
        let body = json!({"title": title, "head": head, "base": "main"});
        self.ask("POST", "pulls", &body)["number"].as_u64().unwrap()
    }

    /// Publishes a release of a tag.
    pub(crate) fn release(&self, tag: &str) {
        self.ask("POST", "releases", &json!({"tag_name": tag}));
    }

    fn copy_commit(&self, tree: &Path, commit: &str) {
        let mut entries = Vec::new();
        for line in git(tree, &["ls-tree", "-r", commit]).lines() {
            let (facts, path) = line.split_once('\t').unwrap();
            let mut facts = facts.split(' ');
            let (mode, _, blob) = (facts.next(), facts.next(), facts.next().unwrap());
            let bytes = Command::new("git")
                .args(["cat-file", "blob", blob])
                .current_dir(tree)
                .output()
                .unwrap()
                .stdout;
            let content = STANDARD.encode(bytes);
            let made = self.ask(
                "POST",
                "git/blobs",
                &json!({"content": content, "encoding": "base64"}),
            );
            assert_eq!(made["sha"], blob);
            entries.push(json!({"path": path, "mode": mode, "type": "blob", "sha": blob}));
        }
        let made = self.ask("POST", "git/trees", &json!({"tree": entries}));
        let fact = |format: &str| {
            git(tree, &["show", "-s", &format!("--format={format}"), commit])
                .trim_end()
                .to_owned()
        };
        let person = |who: &str| {
            json!({"name": fact(&format!("%{who}n")), "email": fact(&format!("%{who}e")),
                "date": fact(&format!("%{who}I"))})
        };
        let parents: Vec<String> = fact("%P").split_whitespace().map(str::to_owned).collect();
        let body = json!({
            "message": fact("%B"), "tree": made["sha"], "parents": parents,
            "author": person("a"), "committer": person("c"),
        });
        assert_eq!(self.ask("POST", "git/commits", &body)["sha"], commit);
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
