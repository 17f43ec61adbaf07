//! Programs of npm that tests use, installed as their lock files say, once, below `target`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Installs the set-up in `tests/<name>`, and returns where; `None`, with a word, where npm cannot do
/// it.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    // The tests of the same binary may run as several processes.
    let lock = fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name);
    let wanted = fs::read(source.join("package-lock.json")).unwrap();
    let marker = folder.join("installed");
    for entry in fs::read_dir(&source).unwrap().flatten() {
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    if fs::read(&marker).is_ok_and(|installed| installed == wanted) {
        return Some(folder);
    }
    let install = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&folder)
        .output();
    match install {
        Ok(install) if install.status.success() => {
            fs::write(marker, wanted).unwrap();
            Some(folder)
        }
        Ok(install) => {
            println!(
                "skipped: npm cannot install tests/{name}: {}",
                String::from_utf8_lossy(&install.stderr)
            );
            None
        }
        Err(error) => {
            println!("skipped: npm cannot be started: {error}");
            None
        }
    }
}
