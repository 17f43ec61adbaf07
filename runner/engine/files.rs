//! The files of a job: its folders, the command files of its steps, and `hashFiles`.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;
use nix::fcntl::OFlag;
use sha2::{Digest as _, Sha256};

use super::action::Fault;
use crate::expression::{EvaluationError, HashFiles, Value};
use crate::process::LeftBehind;

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
    /// Sets of command files that are empty and nobody's.
    spare: Vec<CommandFiles>,
    /// Scripts that nobody reads any more.
    read_scripts: Vec<ScriptFile>,
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
            spare: Vec::new(),
            read_scripts: Vec::new(),
            root,
        };
        for folder in [
            &folders.workspace,
            &folders.temp,
            &folders.tools,
            &folders.commands,
            &folders.workflow(),
        ] {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        Ok(folders)
    }

    /// Returns the folder that tells of the event.
    pub(super) fn workflow(&self) -> PathBuf {
        self.commands.with_file_name("workflow")
    }

    /// Returns the file that holds the event.
    pub(super) fn event(&self) -> PathBuf {
        self.workflow().join("event.json")
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

    /// Returns a set of empty command files for a step: an earlier step's, else a new one.
    ///
    /// To make and remove them for every step takes as long as to start a shell
    /// (`docs/decisions/0005-command-files.md`).
    pub(super) fn command_files(
        &mut self,
        number: usize,
        for_container: bool,
    ) -> io::Result<CommandFiles> {
        if let Some(files) = self.spare.pop() {
            return Ok(files);
        }
        let folder = self.step_folder(number, for_container)?;
        CommandFiles::create(folder, number, for_container)
    }

    /// Returns the folder for the script and the command files of a step, which is there then.
    ///
    /// In a container each step has its own: what is on another machine comes back by folders.
    pub(super) fn step_folder(&self, number: usize, for_container: bool) -> io::Result<PathBuf> {
        if !for_container {
            return Ok(self.commands.clone());
        }
        let folder = self.commands.join(number.to_string());
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
        Ok(folder)
    }

    /// Writes a step's script to a file: an earlier script's that had the same ending, else a new one.
    pub(super) fn script(
        &mut self,
        (number, for_container): (usize, bool),
        ending: &'static str,
        content: &str,
    ) -> Result<ScriptFile, Fault> {
        let same = |file: &ScriptFile| file.ending == ending;
        if let Some(place) = self.read_scripts.iter().position(same) {
            let file = self.read_scripts.swap_remove(place);
            if file.file.rewrite(content.as_bytes()) {
                return Ok(file);
            }
        }
        let folder = self.step_folder(number, for_container);
        let folder = folder
            .map_err(|source| Fault::new("the folder for the script could not be made", source))?;
        let path = folder.join(format!("script_{number}{ending}"));
        let write = |path: &Path| {
            let mut file = fs::File::create(path)?;
            file.write_all(content.as_bytes())?;
            file.metadata()
        };
        let meta = write(&path).map_err(|source| {
            Fault::new(
                format!("the script could not be written to `{}`", path.display()),
                source,
            )
        })?;
        let identity = identity(&meta);
        let file = CommandPath { path, identity };
        Ok(ScriptFile { file, ending })
    }

    /// Takes back a script after its step. A shell reads its script while it runs, so another step
    /// gets the file only if certainly nothing runs any more.
    pub(super) fn take_back_script(&mut self, script: ScriptFile, left: LeftBehind) {
        if left == LeftBehind::Nothing {
            self.read_scripts.push(script);
        }
    }

    /// Takes back a set of command files after its step; something that lives on may still write
    /// to them, so then no other step gets them.
    pub(super) fn take_back(&mut self, files: CommandFiles, left: LeftBehind) {
        if left != LeftBehind::Something && files.empty() {
            self.spare.push(files);
        } else {
            files.remove();
        }
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
    /// The folder that they are in.
    pub(super) folder: PathBuf,
    /// Whether it is this step's alone.
    owns_folder: bool,
    pub(super) env: CommandPath,
    pub(super) output: CommandPath,
    pub(super) path: CommandPath,
    pub(super) state: CommandPath,
    pub(super) summary: CommandPath,
}

/// The file that holds a step's script.
#[derive(Debug)]
pub(super) struct ScriptFile {
    file: CommandPath,
    ending: &'static str,
}

impl ScriptFile {
    pub(super) fn path(&self) -> &Path {
        &self.file.path
    }
}

/// One file for a step, and which one it was when it was made.
#[derive(Debug)]
pub(super) struct CommandPath {
    path: PathBuf,
    /// Device and number: a file that a step has put in its place is another one.
    identity: (u64, u64),
}

impl CommandPath {
    fn create(path: PathBuf, for_container: bool) -> io::Result<Self> {
        let file = fs::File::create(&path)?;
        if for_container {
            // Every user of a container must be able to write.
            file.set_permissions(fs::Permissions::from_mode(0o666))?;
        }
        let identity = identity(&file.metadata()?);
        Ok(Self { path, identity })
    }

    /// Reads what the step left; a file that is empty or was removed has nothing to say.
    ///
    /// Nor has a link: a container's would lead to files of this host that it does not see.
    pub(super) fn read(&self) -> Option<Vec<u8>> {
        if self.size() == 0 {
            return None;
        }
        let mut options = fs::OpenOptions::new();
        let options = options.read(true).custom_flags(OFlag::O_NOFOLLOW.bits());
        let mut bytes = Vec::new();
        let mut file = options.open(&self.path).ok()?;
        io::Read::read_to_end(&mut file, &mut bytes).ok()?;
        Some(bytes).filter(|bytes| !bytes.is_empty())
    }

    pub(super) fn size(&self) -> u64 {
        self.path.symlink_metadata().map_or(0, |meta| meta.len())
    }

    /// Empties the file; false where it is not the one that was made, or has another name too.
    fn empty(&self) -> bool {
        self.own_length().is_some_and(|length| {
            length == 0 || self.open().is_ok_and(|file| file.set_len(0).is_ok())
        })
    }

    /// Gives the file another content; false where that cannot be, as in [`Self::empty`].
    fn rewrite(&self, content: &[u8]) -> bool {
        let new_length = u64::try_from(content.len()).unwrap_or(u64::MAX);
        let write = |old_length| {
            let file = self.open()?;
            file.write_all_at(content, 0)?;
            // Cut off behind the new content and not before it is written: a file system may take
            // one that was emptied for one to be brought to the disk at once.
            if old_length > new_length {
                file.set_len(new_length)?;
            }
            Ok::<_, io::Error>(())
        };
        self.own_length()
            .is_some_and(|length| write(length).is_ok())
    }

    /// Returns the length of the file that was made; none where another one has taken its place, or
    /// it has another name too.
    fn own_length(&self) -> Option<u64> {
        let meta = self.path.symlink_metadata().ok()?;
        (identity(&meta) == self.identity && meta.nlink() == 1).then_some(meta.len())
    }

    fn open(&self) -> io::Result<fs::File> {
        fs::OpenOptions::new().write(true).open(&self.path)
    }
}

fn identity(meta: &fs::Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

impl CommandFiles {
    /// Makes a new, empty set.
    fn create(folder: PathBuf, number: usize, for_container: bool) -> io::Result<Self> {
        let make = |kind: &str| {
            CommandPath::create(folder.join(format!("{kind}_{number}")), for_container)
        };
        Ok(Self {
            env: make("set_env")?,
            output: make("set_output")?,
            path: make("add_path")?,
            state: make("save_state")?,
            summary: make("step_summary")?,
            folder,
            owns_folder: for_container,
        })
    }

    fn all(&self) -> [&CommandPath; 5] {
        [
            &self.env,
            &self.output,
            &self.path,
            &self.state,
            &self.summary,
        ]
    }

    fn empty(&self) -> bool {
        self.all().into_iter().all(CommandPath::empty)
    }

    /// Returns the variables that name the files, as the sandbox sees them.
    pub(super) fn variables(&self) -> [(&'static str, &Path); 5] {
        [
            ("GITHUB_ENV", &self.env.path),
            ("GITHUB_OUTPUT", &self.output.path),
            ("GITHUB_PATH", &self.path.path),
            ("GITHUB_STATE", &self.state.path),
            ("GITHUB_STEP_SUMMARY", &self.summary.path),
        ]
    }

    fn remove(self) {
        for (_, path) in self.variables() {
            // A step may have removed its own.
            drop(fs::remove_file(path));
        }
        // The folder that all steps on this host share stays, and one that its script is in.
        if self.owns_folder {
            drop(fs::remove_dir(&self.folder));
        }
    }
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
