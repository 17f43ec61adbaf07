//! Images: built, pushed and pulled.

use std::{
    fs,
    time::{Duration, Instant},
};

use runner::docker::{BuildSpec, Builder, ContainerSpec, DockerError, Engine, ImageReference};

use super::{remove, run};
use crate::support::{
    images::{BUSYBOX, engine, unique},
    process::is_running,
    registry::Registry,
};

const LONG: Duration = Duration::from_secs(60);

pub(super) fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

pub(super) async fn build(
    engine: &Engine,
    spec: &BuildSpec,
) -> (Result<String, DockerError>, String) {
    let mut said = String::new();
    let mut on_line = |line: &[u8]| {
        said += &String::from_utf8_lossy(line);
        said.push('\n');
    };
    let built = engine.build(spec, &mut on_line).await;
    (built.map(|built| built.id), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_builders_take_arguments_targets_labels_and_ignore_rules() {
    let engine = engine().await;
    let dockerfile = format!(
        "FROM {BUSYBOX} AS first\nARG WHO\nCOPY . /src\nRUN echo hello $WHO > /who; : {}; find /src -type f ! -name Dockerfile | sort\n\
         FROM {BUSYBOX}\nRUN exit 1\n",
        unique("build")
    );
    let folder = folder(&[
        ("docker/Dockerfile", &dockerfile),
        ("kept", "1"),
        ("log/a", "2"),
        ("log/keep", "3"),
        (".dockerignore", "log/*\n!log/keep\ndocker\n"),
    ]);
    for builder in [Builder::Classic, Builder::BuildKit, Builder::Automatic] {
        let tag = format!("{}:1", unique("built"));
        let mut spec = BuildSpec::of_folder(folder.path(), &tag);
        spec.dockerfile = "docker/Dockerfile".into();
        spec.args.insert("WHO".into(), "you & me".into());
        spec.target = Some("first".into());
        spec.labels.insert("made".into(), "here".into());
        spec.no_cache = true;
        spec.builder = builder;
        let (built, said) = build(&engine, &spec).await;
        let id = built.unwrap();
        let files = "/src/.dockerignore\n/src/kept\n/src/log/keep\n";
        assert!(said.contains(files), "{builder:?}: {said}");
        let image = engine.image(&tag).await.unwrap().unwrap();
        assert_eq!(
            (&image.id, image.labels["made"].as_str()),
            (&id, "here"),
            "{builder:?}"
        );
        let wishes = ContainerSpec {
            image: tag.clone(),
            ..super::spec("cat /who")
        };
        let container = run(&engine, &wishes).await;
        assert_eq!(engine.wait(&container).await.unwrap(), 0);
        assert_eq!(
            engine.last_lines(&container, 9).await.unwrap(),
            "hello you & me\n"
        );
        remove(&engine, &container).await;
        assert!(engine.remove_image(&tag, false).await.unwrap());
        assert!(!engine.remove_image(&tag, false).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_is_named() {
    let engine = engine().await;
    let dockerfile = format!("FROM {BUSYBOX}\nRUN echo fine\nRUN echo last words; exit 3\n");
    let folder = folder(&[("Dockerfile", &dockerfile)]);
    for builder in [Builder::Classic, Builder::BuildKit] {
        let spec = BuildSpec {
            builder,
            ..BuildSpec::of_folder(folder.path(), unique("failing"))
        };
        let (built, said) = build(&engine, &spec).await;
        assert!(said.contains("\nlast words\n"), "{said}");
        let error = built.unwrap_err();
        let DockerError::BuildStep { step, message, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(step, "RUN echo last words; exit 3", "{builder:?}");
        assert!(message.contains('3'), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn build_secrets_are_seen_by_the_step_and_by_nothing_else() {
    let engine = engine().await;
    let dockerfile = format!(
        "FROM {BUSYBOX}\nRUN --mount=type=secret,id=token sha256sum < /run/secrets/token > /sum\n"
    );
    let folder = folder(&[("Dockerfile", &dockerfile)]);
    let tag = format!("{}:1", unique("secret"));
    let mut spec = BuildSpec::of_folder(folder.path(), &tag);
    spec.secrets
        .insert("token".into(), b"s3cret\nlines\0".to_vec());
    spec.no_cache = true;
    let (built, said) = build(&engine, &spec).await;
    built.unwrap();
    assert!(!said.contains("s3cret"), "{said}");
    let wishes = ContainerSpec {
        image: tag.clone(),
        ..super::spec("cat /sum; ls /run/secrets")
    };
    let container = run(&engine, &wishes).await;
    engine.wait(&container).await.unwrap();
    let sum = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(b"s3cret\nlines\0"));
    assert!(
        engine
            .last_lines(&container, 9)
            .await
            .unwrap()
            .contains(&sum)
    );
    remove(&engine, &container).await;
    engine.remove_image(&tag, true).await.unwrap();
    spec.builder = Builder::Classic;
    let (refused, _) = build(&engine, &spec).await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("knows no secrets")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_build_ends_on_the_daemon() {
    let engine = engine().await;
    let mark = unique("mark");
    let dockerfile = format!("FROM {BUSYBOX}\nRUN echo begun; sleep 1000; echo {mark}\n");
    let folder = folder(&[("Dockerfile", &dockerfile)]);
    for builder in [Builder::Classic, Builder::BuildKit] {
        let spec = BuildSpec {
            builder,
            no_cache: true,
            ..BuildSpec::of_folder(folder.path(), &mark)
        };
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let mut begun = Some(begun);
        let mut on_line = |line: &[u8]| {
            if line == b"begun"
                && let Some(begun) = begun.take()
            {
                begun.send(()).unwrap();
            }
        };
        tokio::select! {
            built = engine.build(&spec, &mut on_line) => panic!("{built:?}"),
            begun = has_begun => begun.unwrap(),
        }
        let deadline = Instant::now() + LONG;
        while is_running(&mark) {
            assert!(
                Instant::now() < deadline,
                "{builder:?}: the step still runs"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_go_to_a_registry_and_come_back_by_digest() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let engine = engine().await;
    let repository = format!("{}/{}", registry.server(), unique("app"));
    let name = format!("{repository}:v1");
    engine.tag(BUSYBOX, &name).await.unwrap();
    let quiet = &mut |_: &str| {};
    let wrong = registry.with_password("wrong");
    for credentials in [None, Some(&wrong)] {
        let error = engine.push(&name, credentials, quiet).await.unwrap_err();
        assert!(matches!(error, DockerError::Unauthorized(_)), "{error:?}");
    }
    let good = registry.credentials();
    engine.check_credentials(&good).await.unwrap();
    assert!(engine.check_credentials(&wrong).await.is_err());
    let mut said = Vec::new();
    let mut keep = |line: &str| said.push(line.to_owned());
    let digest = engine.push(&name, Some(&good), &mut keep).await.unwrap();
    assert!(
        digest.starts_with("sha256:") && digest.len() == 71,
        "{digest}"
    );
    assert!(said.iter().any(|line| line.contains("Pushed")), "{said:?}");
    let image = engine.image(&name).await.unwrap().unwrap();
    assert_eq!(image.digest_in(&repository), Some(digest.as_str()));
    engine.remove_image(&name, false).await.unwrap();
    let by_digest = ImageReference {
        digest: Some(digest),
        ..ImageReference::parse(&repository)
    };
    let by_digest = by_digest.to_string();
    engine.remove_image(&by_digest, false).await.unwrap();
    let error = engine
        .pull(&by_digest, Some(&wrong), quiet)
        .await
        .unwrap_err();
    assert!(matches!(error, DockerError::Unauthorized(_)), "{error:?}");
    let pulled = engine.pull(&by_digest, Some(&good), quiet).await.unwrap();
    assert_eq!(pulled.id, image.id);
    let error = engine
        .pull(&format!("{repository}:v2"), Some(&good), quiet)
        .await
        .unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    engine.remove_image(&by_digest, false).await.unwrap();
    // The base image of a build is private, too.
    engine.tag(BUSYBOX, &name).await.unwrap();
    engine.push(&name, Some(&good), quiet).await.unwrap();
    engine.remove_image(&name, false).await.unwrap();
    engine.remove_image(&by_digest, false).await.unwrap();
    let folder = folder(&[("Dockerfile", &format!("FROM {name}\nRUN echo {name}\n"))]);
    for builder in [Builder::Classic, Builder::BuildKit] {
        let tag = format!("{}:1", unique("based"));
        let mut spec = BuildSpec {
            builder,
            ..BuildSpec::of_folder(folder.path(), &tag)
        };
        spec.pull = true;
        spec.no_cache = true;
        assert!(
            build(&engine, &spec).await.0.is_err(),
            "{builder:?} builds without a password"
        );
        spec.credentials = vec![good.clone()];
        build(&engine, &spec).await.0.unwrap();
        engine.remove_image(&tag, true).await.unwrap();
    }
    engine.remove_image(&name, true).await.unwrap();
    engine.remove_image(&by_digest, true).await.unwrap();
}
