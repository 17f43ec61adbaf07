//! `builder:`: how the image is built.

use indexmap::IndexMap;

use super::diagnostics::in_context;
use super::fields::Fields;
use super::setting::Scalar;

/// How the image is built.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Builder {
    /// The architectures to build for, as `amd64`.
    pub arches: Vec<String>,
    /// Where else to build, as `ssh://user@host`.
    pub remote: Option<String>,
    /// Whether this machine builds for its own architecture.
    pub is_local: bool,
    /// A build with Cloud Native Buildpacks.
    pub pack: Option<Pack>,
    /// The cache of the build.
    pub cache: Option<BuildCache>,
    /// The folder to build from; a clean clone of the repository without one.
    pub context: Option<String>,
    /// The Dockerfile.
    pub dockerfile: String,
    /// The target in the Dockerfile.
    pub target: Option<String>,
    /// Build arguments.
    pub args: IndexMap<String, Scalar>,
    /// Names of secrets that the build sees.
    pub secrets: Vec<String>,
    /// Agent sockets or keys that the build sees.
    pub ssh: Option<String>,
    /// The driver of buildx: `docker-container`, `docker` or `cloud ORG/NAME`.
    pub driver: String,
    /// Provenance attestations.
    pub provenance: Option<Scalar>,
    /// A software bill of materials.
    pub sbom: Option<Scalar>,
}

/// A build with Cloud Native Buildpacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// The builder image.
    pub builder: Option<String>,
    /// The buildpacks.
    pub buildpacks: Vec<String>,
}

/// The cache of the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildCache {
    /// Where it lies.
    pub kind: CacheKind,
    /// Further options, as `mode=max`.
    pub options: Option<String>,
    /// The image that holds it, of a cache in the registry.
    pub image: Option<String>,
}

/// Where the cache of a build lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheKind {
    /// GitHub's cache service.
    Gha,
    /// The registry.
    Registry,
}

const KEYS: [&str; 14] = [
    "arch",
    "remote",
    "local",
    "pack",
    "cache",
    "context",
    "dockerfile",
    "target",
    "args",
    "secrets",
    "ssh",
    "driver",
    "provenance",
    "sbom",
];

impl Builder {
    pub(super) fn read(root: &Fields<'_>) -> Self {
        let Some(fields) = root.hash("builder", &KEYS) else {
            if root.setting.get("builder").is_none() {
                root.error("missing-key", "builder", "builder: Builder arch not set");
            }
            return Self::default();
        };
        let arches = fields.string_or_strings("arch").unwrap_or_default();
        let remote = fields.string("remote").filter(|remote| !remote.is_empty());
        let is_local = fields.boolean("local");
        let builder = Self {
            pack: fields
                .hash("pack", &["builder", "buildpacks"])
                .map(|pack| Pack {
                    builder: pack.string("builder"),
                    buildpacks: pack.strings("buildpacks").unwrap_or_default(),
                }),
            cache: read_cache(&fields),
            context: fields.string("context"),
            dockerfile: fields
                .string("dockerfile")
                .unwrap_or_else(|| "Dockerfile".to_owned()),
            target: fields.string("target"),
            args: read_args(&fields),
            secrets: fields.strings("secrets").unwrap_or_default(),
            ssh: fields.string("ssh"),
            driver: fields
                .string("driver")
                .unwrap_or_else(|| "docker-container".to_owned()),
            provenance: fields.scalar("provenance").cloned(),
            sbom: fields.scalar("sbom").cloned(),
            is_local: is_local.unwrap_or(true),
            arches,
            remote,
        };
        let is_arch_there = fields
            .setting
            .get("arch")
            .is_some_and(|arch| !arch.is_blank());
        if !is_arch_there {
            let hint = "add `builder: {arch: amd64}`, the architecture of the servers";
            fields.found.error_with_hint(
                "missing-key",
                &fields.setting.place,
                in_context(&fields.context, "Builder arch not set"),
                hint,
            );
        }
        if is_local == Some(false) && builder.remote.is_none() {
            let message = "Cannot disable local builds, no remote is set";
            fields.error("conflict", "local", message);
        }
        builder
    }
}

fn read_cache(fields: &Fields<'_>) -> Option<BuildCache> {
    let cache = fields.hash("cache", &["type", "options", "image"])?;
    let options = cache.string("options");
    let image = cache.string("image");
    let kind = match cache.string("type")?.as_str() {
        "gha" => CacheKind::Gha,
        "registry" => CacheKind::Registry,
        other => {
            let message = format!("{}: Invalid cache type: {other}", fields.context);
            let place = cache.setting.get("type").unwrap_or(cache.setting);
            fields.found.error("invalid-value", &place.place, message);
            return None;
        }
    };
    Some(BuildCache {
        kind,
        options,
        image,
    })
}

/// Reads the build arguments; one without value is taken from the environment by Docker.
fn read_args(fields: &Fields<'_>) -> IndexMap<String, Scalar> {
    let Some(setting) = fields.setting.get("args") else {
        return IndexMap::new();
    };
    let context = fields.path("args");
    if !setting.is_hash() {
        fields.wrong_type(setting, &context, "a hash");
    }
    let mut args = IndexMap::new();
    for pair in setting.pairs() {
        match &pair.value.value {
            super::setting::Value::Null => {
                args.insert(pair.key.clone(), Scalar::Text(String::new()));
            }
            super::setting::Value::Scalar(scalar) => {
                args.insert(pair.key.clone(), scalar.clone());
            }
            _ => fields.wrong_type(&pair.value, &format!("{context}/{}", pair.key), "a string"),
        }
    }
    args
}
