//! `aliases` of the configuration: short names of command lines.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use clap::CommandFactory as _;

use super::arguments::Arguments;
use super::settings;
use crate::deploy::ProjectWorld;
use crate::kamal;

/// Where the configuration is, unless the command line says otherwise.
const CONFIG_FILE: &str = "config/deploy.yml";

/// Returns the command line with an alias replaced by what it stands for.
///
/// A name that is no verb and no alias stays, and is refused later.
pub(super) fn expand(arguments: Vec<OsString>) -> Vec<OsString> {
    let Some(name) = arguments.get(1).and_then(|name| name.to_str()) else {
        return arguments;
    };
    let is_verb = name.starts_with('-')
        || name == "help"
        || Arguments::command().find_subcommand(name).is_some();
    if is_verb {
        return arguments;
    }
    let Some(words) = words_of(name, &arguments) else {
        return arguments;
    };
    let program = arguments.first().cloned().into_iter();
    let rest = arguments.iter().skip(2).cloned();
    program
        .chain(words.into_iter().map(OsString::from))
        .chain(rest)
        .collect()
}

/// Looks an alias up in the configuration of the current folder.
fn words_of(name: &str, arguments: &[OsString]) -> Option<Vec<String>> {
    let given = |short: &str, long: &str| {
        let mut words = arguments.iter().filter_map(|word| word.to_str());
        words.find(|word| *word == short || *word == long)?;
        words.next()
    };
    let file = given("-c", "--config-file").unwrap_or(CONFIG_FILE);
    let folder = std::env::current_dir().ok()?;
    if !Path::new(file).is_file() {
        return None;
    }
    let destination = given("-d", "--destination");
    let world = ProjectWorld::new(&folder, destination, Arc::new(settings::whole_env()));
    let config = kamal::read(file, destination, &world).config?;
    kamal::split_words(config.aliases.get(name)?)
}
