//! Images for tests, made without a registry.

use std::{fs, path::Path};

use runner::docker::{BuildSpec, Builder, DEFAULT_SOCKET, Engine};
use tokio::sync::OnceCell;

/// The image with a static busybox, its own command and nothing else.
pub(crate) const BUSYBOX: &str = "runner-test-busybox:1";

/// The daemon of this machine, with [`BUSYBOX`] in it.
pub(crate) async fn engine() -> Engine {
    static BUILT: OnceCell<()> = OnceCell::const_new();
    let engine = Engine::local(DEFAULT_SOCKET).await.unwrap();
    let build = async || {
        let folder = tempfile::tempdir().unwrap();
        write_busybox(folder.path());
        fs::write(folder.path().join("Dockerfile"), DOCKERFILE).unwrap();
        let spec = BuildSpec {
            builder: Builder::Classic,
            ..BuildSpec::of_folder(folder.path(), BUSYBOX)
        };
        engine.build(&spec, &mut |_| {}).await.unwrap();
    };
    BUILT.get_or_init(build).await;
    engine
}

const DOCKERFILE: &str = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n\
    ENV PATH=/bin\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
    RUN [\"/bin/busybox\", \"mkdir\", \"-p\", \"/tmp\", \"/run\"]\nCMD [\"/bin/sh\"]\n";

fn write_busybox(folder: &Path) {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|at| Path::new(at).exists());
    fs::copy(
        busybox.expect("busybox-static is installed"),
        folder.join("busybox"),
    )
    .unwrap();
}

/// A name that no other test has.
pub(crate) fn unique(what: &str) -> String {
    format!("runner-test-{what}-{}", uuid::Uuid::now_v7().simple())
}
