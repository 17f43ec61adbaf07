//! The folders of a job on a machine that does not see this host's: a volume there for each.
//!
//! A container that is never started has all of them, so that files go in and out by the archives
//! of Docker's API whatever the job's own container does meanwhile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::SandboxError;
use super::mounts::Mounts;
use crate::docker::{ContainerSpec, DockerError, Engine, Upload};
use crate::ssh::Connection;

/// The volumes of a job.
#[derive(Debug)]
pub(super) struct Volumes {
    engine: Engine,
    connection: Connection,
    tag: String,
    /// The container that has them, at `/0`, `/1` and so on.
    keeper: String,
    /// The folders of this host that they stand for.
    folders: Vec<PathBuf>,
    /// Whose files are that go there: the container's user.
    owner: OnceLock<(u64, u64)>,
}

impl Volumes {
    /// Makes a volume for each folder of `mounts`, all empty; the image has to be there.
    pub(super) async fn create(
        (engine, connection): (&Engine, &Connection),
        (tag, labels): (&str, BTreeMap<String, String>),
        image: &str,
        mounts: &Mounts,
    ) -> Result<Self, DockerError> {
        let folders: Vec<PathBuf> = mounts.folders().map(Path::to_owned).collect();
        let mut volumes = Vec::new();
        for number in 0..folders.len() {
            let name = volume_name(tag, number);
            engine.create_volume(&name, &labels).await?;
            volumes.push(format!("{name}:/{number}:nocopy"));
        }
        let spec = ContainerSpec {
            labels,
            volumes,
            network: Some("none".to_owned()),
            entrypoint: Some(vec!["cat".to_owned()]),
            ..ContainerSpec::of_image(image)
        };
        Ok(Self {
            keeper: engine.create_container(&spec).await?,
            engine: engine.clone(),
            connection: connection.clone(),
            tag: tag.to_owned(),
            folders,
            owner: OnceLock::new(),
        })
    }

    /// Says whose the files are that go there from now on.
    pub(super) fn belong_to(&self, owner: (u64, u64)) {
        let _set_once = self.owner.set(owner);
    }

    /// Returns the volume that stands for a folder, if one does.
    pub(super) fn name_of(&self, folder: &Path) -> Option<String> {
        let number = self.folders.iter().position(|known| known == folder);
        number.map(|number| volume_name(&self.tag, number))
    }

    /// Returns where the keeper has a file or folder of the job.
    fn place(&self, path: &Path) -> Option<String> {
        let folders = self.folders.iter().enumerate();
        let deepest = folders
            .filter_map(|(number, folder)| Some((number, path.strip_prefix(folder).ok()?)))
            .min_by_key(|(_, rest)| rest.as_os_str().len());
        deepest.map(|(number, rest)| {
            let place = Path::new("/").join(number.to_string()).join(rest);
            place.to_string_lossy().trim_end_matches('/').to_owned()
        })
    }

    /// Copies files and folders of the job there; what is there and has no namesake stays.
    pub(super) async fn send(&self, paths: &[&Path]) -> Result<(), SandboxError> {
        let uploads = paths.iter().filter_map(|path| {
            Some(Upload {
                from: (*path).to_owned(),
                to: self.place(path)?,
            })
        });
        let owner = self.owner.get().copied().unwrap_or_default();
        let sent = self
            .engine
            .put_files(&self.keeper, uploads.collect(), owner)
            .await;
        sent.map_err(|error| self.explain(error))
    }

    /// Copies all folders there.
    pub(super) async fn send_all(&self) -> Result<(), SandboxError> {
        let all: Vec<&Path> = self.folders.iter().map(PathBuf::as_path).collect();
        self.send(&all).await
    }

    /// Makes a folder of this host what it is there.
    pub(super) async fn fetch(&self, folder: &Path) -> Result<(), SandboxError> {
        let Some(place) = self.place(folder) else {
            return Ok(());
        };
        let got = self.engine.get_folder(&self.keeper, &place, folder).await;
        got.map_err(|error| self.explain(error))
    }

    /// Tells a connection that is lost from what a daemon refuses.
    pub(super) fn explain(&self, error: DockerError) -> SandboxError {
        match self.connection.failure() {
            Some(reason) => SandboxError::Lost {
                host: self.connection.host().to_owned(),
                reason,
            },
            None => error.into(),
        }
    }
}

fn volume_name(tag: &str, number: usize) -> String {
    format!("runner_{tag}_{number}")
}
