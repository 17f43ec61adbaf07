//! Kamal's own reading of many configurations, compared with ours.
//!
//! The data lies beside the project, or where `RUNNER_CONFORMANCE` says; without it the tests are
//! skipped with a word.
#![expect(
    clippy::disallowed_methods,
    reason = "the data is read from files beside the project"
)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::*;

/// Files in memory; commands are real, without the process environment's secrets.
struct Project {
    files: HashMap<String, String>,
    env: HashMap<String, String>,
}

impl World for Project {
    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn read_file(&self, path: &str) -> Result<Option<String>, String> {
        Ok(self.files.get(path).cloned())
    }

    fn run_command(&self, command: &str) -> Result<String, String> {
        let output = Command::new("sh")
            .args(["-c", command])
            .output()
            .map_err(|error| error.to_string())?;
        String::from_utf8(output.stdout).map_err(|error| error.to_string())
    }

    fn run_secrets_command(&self, _: &[String]) -> Result<String, String> {
        Err("not here".to_owned())
    }

    fn docker_architecture(&self) -> String {
        "amd64".to_owned()
    }
}

fn data() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance");
    let folder = std::env::var("RUNNER_CONFORMANCE").unwrap_or_else(|_| beside.to_owned());
    let folder = PathBuf::from(folder).join("kamal");
    if !folder.is_dir() {
        println!("skipped: no conformance data at {}", folder.display());
        return None;
    }
    Some(folder)
}

fn load(folder: &std::path::Path, name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap()
}

fn project(secrets: &[(&str, &str)]) -> Project {
    let files = secrets
        .iter()
        .map(|(name, text)| (format!(".kamal/{name}"), (*text).to_owned()))
        .collect();
    Project {
        files,
        env: HashMap::new(),
    }
}

fn errors(reading: &Reading) -> String {
    let errors = reading
        .diagnostics
        .iter()
        .filter(|one| one.diagnostic.is_error());
    let texts: Vec<&str> = errors.map(|one| one.diagnostic.message.as_str()).collect();
    texts.join(" ")
}

/// Returns the paths where `got` differs from `want`; scalars compare as text.
fn differences(want: &Value, got: Option<&Value>, path: &str, into: &mut Vec<String>) {
    let lines = ["login", "proxyDeploy", "run", "proxyRun", "build", "prune"];
    let whole = ["labels", "clearEnv", "aliases", "files", "directories"];
    match want {
        Value::Object(want) if want.len() == 1 && want.contains_key("error") => {}
        Value::Object(want) => {
            let Some(Value::Object(got)) = got else {
                return into.push(path.to_owned());
            };
            if whole.contains(&path.rsplit('.').next().unwrap()) {
                let more = got.keys().filter(|key| !want.contains_key(*key));
                into.extend(more.map(|key| format!("{path}.{key}+")));
            }
            for (key, want) in want {
                if !lines.contains(&key.as_str()) {
                    differences(want, got.get(key), &format!("{path}.{key}"), into);
                }
            }
        }
        Value::Array(want) => match got {
            Some(Value::Array(got)) if got.len() == want.len() => {
                for (index, (want, got)) in want.iter().zip(got).enumerate() {
                    differences(want, Some(got), &format!("{path}[{index}]"), into);
                }
            }
            _ => into.push(path.to_owned()),
        },
        want => {
            let plain = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
            let same =
                got.is_some_and(|got| got.is_null() == want.is_null() && plain(got) == plain(want));
            if !same {
                into.push(format!("{path} ({want} is {got:?})"));
            }
        }
    }
}

fn printed(config: &Config, world: &Project, reveals_secrets: bool) -> Value {
    let secrets = Secrets::new(&config.secrets_path, config.destination.as_deref());
    let context = JsonContext {
        version: "v123",
        folder: "/project",
        secrets: secrets.load(world).unwrap(),
        reveals_secrets,
    };
    to_json(config, &context)
}

fn report(name: &str, total: usize, failures: &[String]) {
    println!("{name}: {} of {total}", total - failures.len());
    assert!(failures.is_empty(), "{name}:\n{}", failures.join("\n"));
}

#[test]
fn configurations_read_as_kamal_reads_them() {
    let Some(folder) = data() else { return };
    let index = load(&folder, "cases.json");
    let common = index["secretsCommon"].as_str().unwrap();
    let (mut failures, mut words, mut refused) = (Vec::new(), 0, 0);
    let cases = index["cases"].as_array().unwrap();
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let mut world = project(&[("secrets-common", common)]);
        let file = folder.join(case["config"].as_str().unwrap());
        for entry in std::fs::read_dir(file.parent().unwrap()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            drop(world.files.insert(format!("config/{name}"), text));
        }
        let name = file.file_name().unwrap().to_str().unwrap();
        let reading = read(
            &format!("config/{name}"),
            case["destination"].as_str(),
            &world,
        );
        let got = errors(&reading);
        match (&reading.config, case["valid"].as_bool().unwrap()) {
            (Some(config), true) => {
                let want = load(&folder, case["expected"].as_str().unwrap());
                let got = printed(config, &world, true).to_string();
                let got = serde_json::from_str(&got.replace("/project", "$LOCAL")).unwrap();
                let mut paths = Vec::new();
                differences(&want, Some(&got), "", &mut paths);
                failures.extend(paths.first().map(|_| format!("{id}: {}", paths.join(", "))));
            }
            (None, false) => {
                refused += 1;
                let want = case["error"].as_str().unwrap();
                words += usize::from(got.contains(want));
                if !got.contains(want) {
                    println!("other words, {id}: `{got}` for `{want}`");
                }
            }
            (Some(_), false) => failures.push(format!("{id}: accepted, {}", case["error"])),
            (None, true) => failures.push(format!("{id}: refused, {got}")),
        }
    }
    println!("refused in Kamal's words: {words} of {refused}");
    report("cases", cases.len(), &failures);
}

#[test]
fn invalid_configurations_are_refused_in_kamals_words() {
    let Some(folder) = data() else { return };
    let index = load(&folder, "validation.json");
    let mut failures = Vec::new();
    let cases = index["cases"].as_array().unwrap();
    for case in cases {
        let mut world = project(&[]);
        let text = case["config"].to_string();
        drop(world.files.insert("config/deploy.yml".to_owned(), text));
        let reading = read("config/deploy.yml", None, &world);
        let got = errors(&reading);
        let is_right = match case["error"].as_str() {
            Some(want) => got.contains(want),
            None => reading.config.is_some(),
        };
        if !is_right {
            failures.push(format!("{}: `{got}`", case["error"]));
        }
    }
    report("validation", cases.len(), &failures);
}

#[test]
fn secrets_files_give_what_kamal_gets_from_them() {
    let Some(folder) = data() else { return };
    let index = load(&folder, "secrets.json");
    let mut failures = Vec::new();
    let cases = index["cases"].as_array().unwrap();
    for case in cases {
        let mut world = project(&[]);
        for (name, text) in case["files"].as_object().unwrap() {
            let text = text.as_str().unwrap().to_owned();
            drop(world.files.insert(format!(".kamal/{name}"), text));
        }
        for (name, value) in case["env"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap().to_owned();
            drop(world.env.insert(name.clone(), value));
        }
        let secrets = Secrets::new(".kamal/secrets", case["destination"].as_str());
        let values = secrets.load(&world).unwrap();
        for (name, want) in case["expected"].as_object().unwrap() {
            let got = values.get(name);
            let is_right = match (want, &got) {
                (Value::String(want), Ok(got)) => want == got,
                (want, Err(missing)) => want["error"] == missing.to_string(),
                _ => false,
            };
            if !is_right {
                failures.push(format!("{}: {name} is {got:?}, not {want}", case["files"]));
            }
        }
    }
    report("secrets", cases.len(), &failures);
}

#[test]
fn env_files_are_written_as_kamal_writes_them() {
    let Some(folder) = data() else { return };
    let index = load(&folder, "envfile.json");
    for case in index["cases"].as_array().unwrap() {
        let pairs = case["env"].as_object().unwrap();
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
        assert_eq!(env_file(pairs), case["file"].as_str().unwrap());
    }
}
