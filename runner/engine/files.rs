//! The files of a job: its folders, the command files of its steps, and `hashFiles`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;
use sha2::{Digest as _, Sha256};

use super::action::Fault;
use crate::expression::{EvaluationError, HashFiles, Value};

/// The largest summary that a step can leave.
///
/// Source: GitHub, "Adding a job summary".
pub(super) const MAX_SUMMARY: u64 = 1024 * 1024;

/// The folders of a job; all are removed with it.
#[derive(Debug)]
pub(super) struct Folders {
    root: tempfile::TempDir,
    /// The folder that holds the workspace.
    pub(super) work: PathBuf,
    /// `github.workspace`: empty at first.
    pub(super) workspace: PathBuf,
    /// `runner.temp`.
    pub(super) temp: PathBuf,
    /// `runner.tool_cache`.
    pub(super) tools: PathBuf,
    /// Scripts and command files.
    pub(super) commands: PathBuf,
}

impl Folders {
    /// Makes the folders below `work`; `repository` names the two levels of the workspace.
    pub(super) fn create(work: &Path, repository: &str) -> Result<Self, Fault> {
        let failed = |source: io::Error| {
            Fault::new(
                format!(
                    "the job's folders could not be made in `{}`",
                    work.display()
                ),
                source,
            )
        };
        fs::create_dir_all(work).map_err(failed)?;
        let root = tempfile::Builder::new()
            .prefix("job-")
            .tempdir_in(work)
            .map_err(failed)?;
        let path = root.path().canonicalize().map_err(failed)?;
        let name = repository
            .rsplit('/')
            .next()
            .filter(|name| !name.is_empty())
            .unwrap_or("workspace");
        let folders = Self {
            work: path.join("work"),
            workspace: path.join("work").join(name).join(name),
            temp: path.join("temp"),
            tools: path.join("tools"),
            commands: path.join("commands"),
            root,
        };
        for folder in [
            &folders.workspace,
            &folders.temp,
            &folders.tools,
            &folders.commands,
        ] {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        Ok(folders)
    }

    /// Returns the file that holds the event.
    pub(super) fn event(&self) -> PathBuf {
        self.commands.with_file_name("event.json")
    }

    /// Returns the folder that containers have as the home of their user.
    pub(super) fn home(&self) -> PathBuf {
        self.commands.with_file_name("home")
    }

    /// Writes the event to its file.
    pub(super) fn write_event(&self, github: &Value) -> Result<(), Fault> {
        let event = github
            .get("event")
            .map_or(serde_json::Value::Null, serde_json::Value::from);
        fs::write(self.event(), event.to_string())
            .map_err(|source| Fault::new("the event could not be written to a file", source))
    }

    /// Lets containers write, whatever their user is; on this host nobody else gets past the
    /// job's outermost folder.
    pub(super) fn open_to_containers(&self) -> Result<(), Fault> {
        let failed = |source: io::Error| {
            Fault::new(
                "the job's folders could not be opened to containers",
                source,
            )
        };
        let home = self.home();
        fs::create_dir_all(&home).map_err(failed)?;
        let between = self.workspace.parent().unwrap_or(&self.work);
        for folder in [
            &*self.work,
            between,
            &self.workspace,
            &self.temp,
            &self.tools,
            &self.commands,
            &home,
        ] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).map_err(failed)?;
        }
        Ok(())
    }

    /// Removes everything; what cannot be removed (files of another user) is said, not hidden.
    pub(super) fn remove(self) {
        let path = self.root.path().to_owned();
        if let Err(error) = self.root.close() {
            tracing::warn!(%error, path = %path.display(), "the job's folders could not be removed");
        }
    }
}

/// The files by which one step speaks to the runner.
#[derive(Debug)]
pub(super) struct CommandFiles {
    pub(super) env: PathBuf,
    pub(super) output: PathBuf,
    pub(super) path: PathBuf,
    pub(super) state: PathBuf,
    pub(super) summary: PathBuf,
}

impl CommandFiles {
    /// Makes a new, empty set: each step has its own.
    pub(super) fn create(folder: &Path, number: usize) -> io::Result<Self> {
        let make = |kind: &str| {
            let path = folder.join(format!("{kind}_{number}"));
            fs::File::create(&path).map(|_| path)
        };
        Ok(Self {
            env: make("set_env")?,
            output: make("set_output")?,
            path: make("add_path")?,
            state: make("save_state")?,
            summary: make("step_summary")?,
        })
    }

    /// Lets every user of a container write to them.
    pub(super) fn open_to_containers(&self) -> io::Result<()> {
        for (_, path) in self.variables() {
            fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        }
        Ok(())
    }

    /// Returns the variables that name the files, as the sandbox sees them.
    pub(super) fn variables(&self) -> [(&'static str, &Path); 5] {
        [
            ("GITHUB_ENV", &self.env),
            ("GITHUB_OUTPUT", &self.output),
            ("GITHUB_PATH", &self.path),
            ("GITHUB_STATE", &self.state),
            ("GITHUB_STEP_SUMMARY", &self.summary),
        ]
    }

    /// Removes the files.
    pub(super) fn remove(self) {
        for (_, path) in self.variables() {
            // A step may have removed its own.
            drop(fs::remove_file(path));
        }
    }
}

/// Reads a command file; one that is empty or was removed has nothing to say.
pub(super) fn read_command_file(path: &Path) -> Option<Vec<u8>> {
    fs::read(path).ok().filter(|bytes| !bytes.is_empty())
}

/// Returns the digest of all files of the workspace that match, as `hashFiles()` gives it: the
/// SHA-256 of their SHA-256 digests; empty where none matches.
///
/// Links are not followed unless the arguments begin with `--follow-symbolic-links`.
pub fn hash_files(workspace: &Path, patterns: &[String]) -> Result<String, EvaluationError> {
    let failed = |problem: String| EvaluationError::Outside {
        name: "hashFiles",
        problem,
    };
    let wanted = HashFiles::parse(patterns, &workspace.to_string_lossy())
        .map_err(|error| failed(error.to_string()))?;
    let walk = WalkBuilder::new(workspace)
        .standard_filters(false)
        .follow_links(wanted.follows_symbolic_links())
        .build();
    let mut paths = Vec::new();
    for entry in walk {
        let entry = entry.map_err(|error| failed(error.to_string()))?;
        let is_file = entry.path().metadata().is_ok_and(|meta| meta.is_file());
        let relative = entry
            .path()
            .strip_prefix(workspace)
            .ok()
            .filter(|_| is_file);
        paths.extend(relative.map(|path| path.to_string_lossy().into_owned()));
    }
    let mut all = Sha256::new();
    let selected = wanted.select(paths.iter().map(String::as_str));
    for path in &selected {
        let file = workspace.join(path);
        let digest = digest_file(&file)
            .map_err(|error| failed(format!("`{path}` could not be read: {error}")))?;
        all.update(digest);
    }
    Ok(if selected.is_empty() {
        String::new()
    } else {
        hex::encode(all.finalize())
    })
}

fn digest_file(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = fs::File::open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = io::Read::read(&mut file, &mut buffer)?;
        if length == 0 {
            return Ok(digest.finalize().into());
        }
        digest.update(buffer.get(..length).unwrap_or_default());
    }
}
