//! `--on`: where the jobs of a label run.

use super::error::{CliError, ErrorKind};
use crate::engine::{Labels, Place};

/// Reads `LABEL=host` and `LABEL=docker:IMAGE`.
pub(super) fn labels(given: &[String]) -> Result<Labels, CliError> {
    let mut labels = Labels::default();
    for pair in given {
        let refused = |message: String, hint: &str| {
            Err(CliError::new(ErrorKind::Usage, message).with_hint(hint))
        };
        let Some((label, place)) = pair.split_once('=') else {
            return refused(
                format!("`--on {pair}` has no `=`"),
                "write --on LABEL=host or --on LABEL=docker:IMAGE",
            );
        };
        let place = match place.split_once(':') {
            None if place == "host" => Place::Host,
            Some(("docker", image)) if !image.is_empty() => Place::Image(image.to_owned()),
            Some(("ssh", _)) => {
                return refused(
                    format!("`--on {pair}`: jobs cannot be run over SSH yet"),
                    "run them here with `host` or `docker:IMAGE`, or start `runner` on that machine",
                );
            }
            _ => {
                return refused(
                    format!("`--on {pair}`: there is no place `{place}`"),
                    "the places are `host` and `docker:IMAGE`",
                );
            }
        };
        labels.serve(label, place);
    }
    Ok(labels)
}
