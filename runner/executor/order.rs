//! What a workflow wants of a container, read and ready to be created.

use std::fmt;

use thiserror::Error;

use super::options::{self, OptionError, Owner, PullPolicy};
use super::words::{Quotes, split};
use crate::docker::{ContainerSpec, Credentials, Env, ImageReference, Publish, SpecError};

/// The address at which ports are published that name none: the machine itself.
const LOOPBACK: &str = "127.0.0.1";

/// The parts of `container` or of one of `services`, as the workflow gives them.
#[derive(Clone, Default)]
pub struct ContainerParts {
    /// `image`.
    pub image: String,
    /// `env`.
    pub env: Vec<(String, String)>,
    /// `ports`.
    pub ports: Vec<String>,
    /// `volumes`.
    pub volumes: Vec<String>,
    /// `options`.
    pub options: String,
    /// `credentials`: user name and password.
    pub credentials: Option<(String, String)>,
    /// `command`, of services alone.
    pub command: Option<String>,
    /// `entrypoint`, of services alone.
    pub entrypoint: Option<String>,
}

impl fmt::Debug for ContainerParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerParts")
            .field("image", &self.image)
            .finish_non_exhaustive()
    }
}

/// A part of a container's description is wrong: the workflow's fault.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum OrderError {
    /// One of `options`.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// One of `ports`.
    #[error("`ports`: {0}")]
    Port(SpecError),
    /// `credentials` without one of its two parts.
    #[error("`credentials`: `{0}` is empty")]
    Credentials(&'static str),
}

/// A container that a workflow wants.
#[derive(Debug, Clone)]
pub struct ContainerOrder {
    pub(super) spec: ContainerSpec,
    pub(super) credentials: Option<Credentials>,
    pub(super) pull: PullPolicy,
}

impl ContainerOrder {
    /// Reads the container of a job.
    ///
    /// # Errors
    /// The first part that is wrong.
    pub fn of_job(parts: ContainerParts) -> Result<Self, OrderError> {
        Self::read(parts, Owner::Job)
    }

    /// Reads a service.
    ///
    /// # Errors
    /// The first part that is wrong.
    pub fn of_service(parts: ContainerParts) -> Result<Self, OrderError> {
        Self::read(parts, Owner::Service)
    }

    /// Returns the container of an action: its image and what is run in it.
    pub fn of_action(image: &str, entrypoint: Option<&str>) -> Self {
        let image = image.strip_prefix("docker://").unwrap_or(image);
        Self {
            spec: ContainerSpec {
                entrypoint: entrypoint.map(|entrypoint| vec![entrypoint.to_owned()]),
                ..ContainerSpec::of_image(image)
            },
            credentials: None,
            pull: PullPolicy::Missing,
        }
    }

    /// Returns the image.
    pub fn image(&self) -> &str {
        &self.spec.image
    }

    fn read(parts: ContainerParts, owner: Owner) -> Result<Self, OrderError> {
        let image = parts.image.trim();
        let image = image.strip_prefix("docker://").unwrap_or(image);
        let mut spec = ContainerSpec {
            env: Env(parts.env),
            volumes: parts.volumes,
            command: parts.command.map(|text| split(&text, Quotes::Double)),
            ..ContainerSpec::of_image(image)
        };
        for port in &parts.ports {
            spec.publish
                .push(Publish::parse(port).map_err(OrderError::Port)?);
        }
        let pull = options::read(&parts.options, owner, &mut spec)?;
        if let Some(entrypoint) = parts.entrypoint.filter(|text| !text.is_empty()) {
            spec.entrypoint = Some(vec![entrypoint]);
        }
        for port in &mut spec.publish {
            if port.host_ip.is_empty() {
                LOOPBACK.clone_into(&mut port.host_ip);
            }
        }
        let credentials = match parts.credentials {
            Some((username, _)) if username.is_empty() => {
                return Err(OrderError::Credentials("username"));
            }
            Some((_, password)) if password.is_empty() => {
                return Err(OrderError::Credentials("password"));
            }
            Some((username, password)) => Some(Credentials {
                server: ImageReference::parse(image)
                    .registry()
                    .unwrap_or_default()
                    .to_owned(),
                username,
                password,
            }),
            None => None,
        };
        Ok(Self {
            spec,
            credentials,
            pull,
        })
    }
}

/// Takes the arguments of a container action apart, as GitHub's runner does.
pub fn split_arguments(text: &str) -> Vec<String> {
    split(text, Quotes::Double)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(image: &str) -> ContainerParts {
        ContainerParts {
            image: image.into(),
            ..ContainerParts::default()
        }
    }

    #[test]
    fn ports_without_an_address_are_published_on_the_machine_itself() {
        let order = ContainerOrder::of_service(ContainerParts {
            ports: vec!["5432".into(), "0.0.0.0:80:8080".into()],
            ..parts("docker://postgres:15")
        })
        .unwrap();
        assert_eq!(order.image(), "postgres:15");
        let ports: Vec<_> = order
            .spec
            .publish
            .iter()
            .map(|port| (port.host_ip.as_str(), port.host_port))
            .collect();
        assert_eq!(ports, [("127.0.0.1", 0), ("0.0.0.0", 80)]);
    }

    #[test]
    fn credentials_need_both_parts_and_go_to_the_images_registry() {
        let with = |username: &str, password: &str| {
            ContainerOrder::of_job(ContainerParts {
                credentials: Some((username.into(), password.into())),
                ..parts("r.example.net:5000/a/b:1")
            })
        };
        assert_eq!(
            with("u", "").unwrap_err(),
            OrderError::Credentials("password")
        );
        assert_eq!(
            with("", "p").unwrap_err(),
            OrderError::Credentials("username")
        );
        let credentials = with("u", "p").unwrap().credentials.unwrap();
        assert_eq!(credentials.server, "r.example.net:5000");
    }

    #[test]
    fn options_and_keys_come_together() {
        let order = ContainerOrder::of_service(ContainerParts {
            env: vec![("A".into(), "1".into())],
            options: "-e B=2 --entrypoint a".into(),
            entrypoint: Some("b c".into()),
            command: Some("d \"e f\"".into()),
            ..parts("x")
        })
        .unwrap();
        assert_eq!(order.spec.env.0.len(), 2);
        assert_eq!(order.spec.entrypoint, Some(vec!["b c".to_owned()]));
        assert_eq!(
            order.spec.command,
            Some(vec!["d".to_owned(), "e f".to_owned()])
        );
        let error = ContainerOrder::of_job(ContainerParts {
            ports: vec!["a".into()],
            ..parts("x")
        });
        assert_eq!(
            error.unwrap_err().to_string(),
            "`ports`: `a` is not a port like `3002:3000`"
        );
    }
}
