//! What a registry is logged in to with.

use std::fmt;

use bollard::auth::DockerCredentials;

/// A user name and password for one registry; they go with each request and stay nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The registry, as in an image's name; empty for Docker Hub.
    pub server: String,
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: String,
}

impl Credentials {
    pub(super) fn to_bollard(&self) -> DockerCredentials {
        DockerCredentials {
            username: Some(self.username.clone()),
            password: Some(self.password.clone()),
            serveraddress: Some(self.address()),
            ..DockerCredentials::default()
        }
    }

    /// The name under which daemons and BuildKit look the registry up.
    pub(super) fn address(&self) -> String {
        match self.server.as_str() {
            "" | "docker.io" | "index.docker.io" => "https://index.docker.io/v1/".into(),
            server => server.to_owned(),
        }
    }

    /// Whether these are for the host that BuildKit asks about.
    pub(super) fn are_for(&self, host: &str) -> bool {
        const HUB: [&str; 4] = ["", "docker.io", "index.docker.io", "registry-1.docker.io"];
        self.server == host || (HUB.contains(&self.server.as_str()) && HUB.contains(&host))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_them_shows() {
        let (server, username, password) = ("r".into(), "someone".into(), "s3cret".into());
        let credentials = Credentials {
            server,
            username,
            password,
        };
        assert_eq!(format!("{credentials:?}"), "Credentials(***)");
        assert!(credentials.are_for("r") && !credentials.are_for("docker.io"));
    }
}
