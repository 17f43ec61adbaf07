//! `--on`, and `labels` of a server: where the jobs of a label run.

use super::error::{CliError, ErrorKind};
use crate::engine::{BuildMachine, Labels, Place};

/// Reads `LABEL=host`, `LABEL=docker:IMAGE` and `LABEL=ssh://USER@HOST`.
pub(super) fn labels(given: &[String]) -> Result<Labels, CliError> {
    let mut labels = Labels::default();
    for pair in given {
        let Some((label, place)) = pair.split_once('=') else {
            return Err(
                CliError::new(ErrorKind::Usage, format!("`--on {pair}` has no `=`")).with_hint(
                    "write --on LABEL=host, LABEL=docker:IMAGE or LABEL=ssh://USER@HOST",
                ),
            );
        };
        labels.serve(label, place_of(place, &format!("--on {pair}"))?);
    }
    Ok(labels)
}

/// Reads `host`, `docker:IMAGE` and `ssh://USER@HOST`, which `shown` holds as it was written.
pub(super) fn place_of(place: &str, shown: &str) -> Result<Place, CliError> {
    let refused =
        |message: String, hint: &str| Err(CliError::new(ErrorKind::Usage, message).with_hint(hint));
    Ok(match place.split_once(':') {
        None if place == "host" => Place::Host,
        Some(("docker", image)) if !image.is_empty() => Place::Image(image.to_owned()),
        Some(("ssh", _)) => match place.parse::<BuildMachine>() {
            Ok(machine) => Place::Machine(Box::new(machine)),
            Err(error) => {
                return refused(
                    format!("`{shown}`: {error}"),
                    "write ssh://USER@HOST, and what belongs to it: ssh://ci@build.example:2121?image=debian:12",
                );
            }
        },
        _ => {
            return refused(
                format!("`{shown}`: there is no place `{place}`"),
                "the places are `host`, `docker:IMAGE` and `ssh://USER@HOST`",
            );
        }
    })
}
