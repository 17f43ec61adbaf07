//! From files to a configuration: render, parse, merge, translate, read.

use super::diagnostics::{FileDiagnostic, Findings};
use super::erb::{self, Rendered};
use super::fields::Fields;
use super::setting::{Place, Setting, from_node};
use super::world::{WithDestination, World};
use super::{check, config, translate};
use crate::diagnostic::{Diagnostic, Position, Span};
use crate::yaml::{self, Schema};

use super::config::Config;

/// What came of reading a configuration.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The configuration; `None` if anything is wrong with it.
    pub config: Option<Config>,
    /// Everything that was found, errors and notices, with its file.
    pub diagnostics: Vec<FileDiagnostic>,
    /// The files that were read, for showing the lines: path and text.
    pub sources: Vec<(String, String)>,
}

/// Reads `config_file`, and the destination's file over it.
///
/// With a destination `staging`, `config/deploy.yml` is followed by `config/deploy.staging.yml`.
/// The templates see the process environment, with `KAMAL_DESTINATION` set, and no secrets.
pub fn read(config_file: &str, destination: Option<&str>, world: &dyn World) -> Reading {
    let world = &WithDestination { world, destination };
    let found = Findings::default();
    let mut sources = Vec::new();
    let files = std::iter::once(config_file.to_owned())
        .chain(destination.map(|destination| destination_file(config_file, destination)));
    let mut root: Option<Setting> = None;
    for file in files {
        let Some(layer) = read_file(&file, world, &found, &mut sources) else {
            continue;
        };
        root = Some(match root {
            Some(below) => below.overlaid_with(layer),
            None => layer,
        });
    }
    let config = root.and_then(|root| read_root(root, destination, world, &found));
    let config = config.filter(|_| !found.has_errors());
    Reading {
        config,
        diagnostics: found.into_list(),
        sources,
    }
}

/// Renders one ERB template, as an accessory's `files` may name one.
///
/// `world` answers for the environment; Kamal's templates see the accessory's env and secrets there.
pub fn render_template(
    file: &str,
    template: &str,
    world: &dyn World,
) -> Result<String, Box<Diagnostic>> {
    erb::render(file, template, world).map(|rendered| rendered.text)
}

fn read_root(
    mut root: Setting,
    destination: Option<&str>,
    world: &dyn World,
    found: &Findings,
) -> Option<Config> {
    let fields = Fields {
        context: String::new(),
        setting: &root,
        found,
    };
    // A file that could not be read would only bring errors that are not its own.
    if found.has_errors() || !check::is_configuration(&root, &fields) {
        return None;
    }
    let is_from_kamal_1 = translate::from_kamal_1(&mut root, world, found);
    let mut config = config::read(&root, destination, found);
    config.is_from_kamal_1 = is_from_kamal_1;
    Some(config)
}

/// Puts the destination before the ending: `config/deploy.staging.yml`.
fn destination_file(config_file: &str, destination: &str) -> String {
    let (folder, name) = match config_file.rsplit_once('/') {
        Some((folder, name)) => (format!("{folder}/"), name),
        None => (String::new(), config_file),
    };
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    format!("{folder}{stem}.{destination}.yml")
}

fn read_file(
    file: &str,
    world: &dyn World,
    found: &Findings,
    sources: &mut Vec<(String, String)>,
) -> Option<Setting> {
    let start = Place {
        file: file.to_owned(),
        span: Span::START,
    };
    let template = match world.read_file(file) {
        Ok(Some(template)) => template,
        Ok(None) => {
            let message = format!("Configuration file not found in {file}");
            found.error("missing-file", &start, message);
            return None;
        }
        Err(reason) => {
            let message = format!("configuration file `{file}` cannot be read: {reason}");
            found.error("unreadable-file", &start, message);
            return None;
        }
    };
    sources.push((file.to_owned(), template.clone()));
    let add = |diagnostic: Diagnostic| {
        found.add(FileDiagnostic {
            file: file.to_owned(),
            diagnostic,
        });
    };
    let rendered = match erb::render(file, &template, world) {
        Ok(rendered) => rendered,
        Err(diagnostic) => {
            add(*diagnostic);
            return None;
        }
    };
    let place = |span: &Span| Place {
        file: file.to_owned(),
        span: in_template(span, &rendered, &template),
    };
    match yaml::parse(&rendered.text, Schema::Psych) {
        Ok(Some(node)) => Some(from_node(&node, &place, found)),
        Ok(None) => Some(Setting::empty_hash(&start)),
        Err(problems) => {
            for mut problem in problems {
                problem.span = in_template(&problem.span, &rendered, &template);
                problem.related = problem
                    .related
                    .map(|(span, words)| (in_template(&span, &rendered, &template), words));
                add(problem);
            }
            None
        }
    }
}

/// Finds the place in the template of a place in the rendered text.
///
/// Exact where nothing was rendered; a line that was rendered is shown whole.
fn in_template(span: &Span, rendered: &Rendered, template: &str) -> Span {
    let Some(lines) = &rendered.lines else {
        return span.clone();
    };
    let index = usize::try_from(span.start.line.saturating_sub(1)).unwrap_or(0);
    let line = lines.get(index).or(lines.last()).copied().unwrap_or(1);
    let mut offset = 0;
    for (number, text) in (1..).zip(template.split_inclusive('\n')) {
        if number == line {
            let shown = text.trim_end();
            let width = u32::try_from(shown.chars().count()).unwrap_or(u32::MAX);
            let at = |column| Position { line, column };
            return Span {
                start: at(1),
                end: at(width.saturating_add(1)),
                bytes: offset..offset + shown.len(),
            };
        }
        offset += text.len();
    }
    Span::START
}
