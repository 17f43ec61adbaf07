//! ERB templates in configuration files.

use super::world::World;
use crate::diagnostic::Diagnostic;

/// A rendered template.
#[derive(Debug)]
pub(super) struct Rendered {
    /// The text.
    pub(super) text: String,
    /// For each line of the text its line in the template; `None` if nothing was rendered.
    pub(super) lines: Option<Vec<u32>>,
}

pub(super) fn render(
    file: &str,
    template: &str,
    destination: Option<&str>,
    world: &dyn World,
) -> Result<Rendered, Diagnostic> {
    let _: (&str, Option<&str>, &dyn World) = (file, destination, world);
    Ok(Rendered { text: template.to_owned(), lines: None })
}
