//! `--on`, and `labels` of a server: where the jobs of a label run.

use super::error::{CliError, ErrorKind};
use crate::engine::{Labels, Place};

/// Reads `LABEL=host` and `LABEL=docker:IMAGE`.
pub(super) fn labels(given: &[String]) -> Result<Labels, CliError> {
    let mut labels = Labels::default();
    for pair in given {
        let Some((label, place)) = pair.split_once('=') else {
            return Err(
                CliError::new(ErrorKind::Usage, format!("`--on {pair}` has no `=`"))
                    .with_hint("write --on LABEL=host or --on LABEL=docker:IMAGE"),
            );
        };
        labels.serve(label, place_of(place, &format!("--on {pair}"))?);
    }
    Ok(labels)
}

/// Reads `host` and `docker:IMAGE`, which `shown` holds as it was written.
pub(super) fn place_of(place: &str, shown: &str) -> Result<Place, CliError> {
    let refused =
        |message: String, hint: &str| Err(CliError::new(ErrorKind::Usage, message).with_hint(hint));
    Ok(match place.split_once(':') {
        None if place == "host" => Place::Host,
        Some(("docker", image)) if !image.is_empty() => Place::Image(image.to_owned()),
        Some(("ssh", _)) => {
            return refused(
                format!("`{shown}`: jobs cannot be run over SSH yet"),
                "run them here with `host` or `docker:IMAGE`, or start `runner` on that machine",
            );
        }
        _ => {
            return refused(
                format!("`{shown}`: there is no place `{place}`"),
                "the places are `host` and `docker:IMAGE`",
            );
        }
    })
}
