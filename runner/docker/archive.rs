//! Files into and out of containers, as tar.

use bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};

use super::{DockerError, Engine, transport};

impl Engine {
    /// Unpacks a tar archive into a folder of the container, which has to be there; the container
    /// need not run.
    ///
    /// # Errors
    /// [`DockerError::NotFound`]: no such container or folder.
    pub async fn put_archive(
        &self,
        container: &str,
        folder: &str,
        tar: impl Into<Bytes>,
    ) -> Result<(), DockerError> {
        let action = format!("copy files to `{folder}` in container `{container}`");
        let options = UploadToContainerOptionsBuilder::default()
            .path(folder)
            .build();
        let body = transport::whole(tar);
        let upload = self
            .docker
            .upload_to_container(container, Some(options), body);
        upload.await.map_err(|e| self.failed(&action, e))
    }

    /// Packs a file or folder of the container, as it comes; the container need not run.
    ///
    /// Each item is an error if there is no such container or file, or the connection breaks.
    pub fn archive(
        &self,
        container: &str,
        path: &str,
    ) -> impl Stream<Item = Result<Bytes, DockerError>> + Send + use<> {
        let action = format!("copy `{path}` from container `{container}`");
        let options = DownloadFromContainerOptionsBuilder::default()
            .path(path)
            .build();
        let engine = self.clone();
        let stream = self
            .docker
            .download_from_container(container, Some(options));
        stream
            .map(move |item| item.map_err(|e| engine.failed(&action, e)))
            .boxed()
    }

    /// Packs a file or folder of the container into memory.
    ///
    /// # Errors
    /// [`DockerError::NotFound`]: no such container or file.
    pub async fn get_archive(&self, container: &str, path: &str) -> Result<Vec<u8>, DockerError> {
        let mut stream = self.archive(container, path);
        let mut tar = Vec::new();
        while let Some(bytes) = stream.try_next().await? {
            tar.extend_from_slice(&bytes);
        }
        Ok(tar)
    }
}
