//! ERB templates in configuration files: the part of Ruby that such files use.
//!
//! Strings, numbers, lists, `ENV`, `File.read`, commands, `JSON.parse`, `if` and loops are run
//! here; a template is parsed whole before any of it runs. For everything else Ruby itself is
//! asked, if the caller has one.

mod evaluate;
mod lexer;
mod methods;
mod program;
mod ruby;
mod template;

use super::world::World;
use crate::diagnostic::{Diagnostic, Position, Span};
use evaluate::{Evaluation, Failure};
use template::PieceKind;

/// A rendered template.
#[derive(Debug)]
pub(super) struct Rendered {
    /// The text.
    pub(super) text: String,
    /// For each line of the text its line in the template; `None` if nothing was rendered.
    pub(super) lines: Option<Vec<u32>>,
}

/// Renders a template; the error has its place in the template.
pub(super) fn render(
    file: &str,
    template: &str,
    world: &dyn World,
) -> Result<Rendered, Box<Diagnostic>> {
    let pieces = template::split(template).map_err(|open| {
        let span = line_span(template, open.line);
        Box::new(Diagnostic::error("erb-syntax", &span, "`<%` without `%>`"))
    })?;
    let is_plain = pieces
        .iter()
        .all(|piece| matches!(piece.kind, PieceKind::Text(_)));
    if is_plain && !template.contains("<%") {
        return Ok(Rendered {
            text: template.to_owned(),
            lines: None,
        });
    }
    let run = || -> Result<(String, Vec<u32>), Failure> {
        let program = program::build(pieces).map_err(|unread| Failure::Unsupported {
            line: unread.line,
            what: unread.what,
        })?;
        let mut evaluation = Evaluation::new(world);
        evaluation.run(&program)?;
        Ok(evaluation.into_text())
    };
    match run() {
        Ok((text, lines)) => Ok(Rendered {
            text,
            lines: Some(lines),
        }),
        Err(Failure::Wrong { line, message }) => {
            let span = line_span(template, line);
            Err(Diagnostic::error("erb-value", &span, message).into())
        }
        Err(Failure::Unsupported { line, what }) => ask_ruby(file, template, world, line, &what),
    }
}

fn ask_ruby(
    file: &str,
    template: &str,
    world: &dyn World,
    line: u32,
    what: &str,
) -> Result<Rendered, Box<Diagnostic>> {
    let span = line_span(template, line);
    match world.render_with_ruby(file, template) {
        Some(Ok(text)) => {
            // Ruby does not say which line came from where: the same number is the best guess.
            let known = u32::try_from(template.lines().count()).unwrap_or(u32::MAX);
            let lines = (1..).zip(text.split('\n')).map(|(line, _)| known.min(line));
            let lines = Some(lines.collect());
            Ok(Rendered { text, lines })
        }
        Some(Err(reason)) => {
            let message = format!("Ruby could not render this file: {reason}");
            Err(Diagnostic::error("erb-ruby", &span, message).into())
        }
        None => {
            let message = format!("this template needs Ruby, which is not here: {what}");
            let hint = "without Ruby these work: strings, numbers, lists, `ENV`, `File.read`, \
                        commands, `JSON.parse`, `if`, `.each do |x|` and `.times do |i|`";
            Err(Diagnostic::error("erb-unsupported", &span, message)
                .with_hint(hint)
                .into())
        }
    }
}

/// Returns the stretch of a whole line.
fn line_span(template: &str, line: u32) -> Span {
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake;

    impl World for Fake {
        fn env(&self, name: &str) -> Option<String> {
            match name {
                "SET" => Some("value".to_owned()),
                "KAMAL_DESTINATION" => Some("staging".to_owned()),
                _ => None,
            }
        }

        fn read_file(&self, path: &str) -> Result<Option<String>, String> {
            Ok((path == ".ruby-version").then(|| "3.4.1\n".to_owned()))
        }

        fn run_command(&self, command: &str) -> Result<String, String> {
            Ok(format!("<{command}>\n"))
        }

        fn run_secrets_command(&self, _: &[String]) -> Result<String, String> {
            Err("not here".to_owned())
        }

        fn docker_architecture(&self) -> String {
            "amd64".to_owned()
        }
    }

    fn rendered(template: &str) -> String {
        render("deploy.yml", template, &Fake).unwrap().text
    }

    #[test]
    fn expressions_give_what_ruby_gives() {
        for (template, expected) in [
            ("a: <%= ENV[\"SET\"] %>\n", "a: value\n"),
            ("a: <%= ENV['UNSET'] %>\n", "a: \n"),
            ("a: <%= ENV['UNSET'] || 'd' %>", "a: d"),
            ("<%= ENV.fetch(\"UNSET\", \"d\") %>", "d"),
            ("<%= ENV.fetch('UNSET') { 'd' } %>", "d"),
            ("<%= ENV['KAMAL_DESTINATION'] %>", "staging"),
            ("<%= File.read('.ruby-version').strip %>", "3.4.1"),
            ("<%= `git rev-parse HEAD`.chomp %>", "<git rev-parse HEAD>"),
            ("<%= %x(echo (a)).strip %>", "<echo (a)>"),
            ("<%= \"v#{1 + 2}\" + 'x' %>", "v3x"),
            (
                "<%= Kamal::Utils.docker_arch == \"arm64\" ? \"a\" : \"b\" %>",
                "b",
            ),
            (
                "<%= JSON.parse('{\"a\":[1,{\"b\":\"c\"}]}')[\"a\"][1][\"b\"] %>",
                "c",
            ),
            ("<%= %w[a b].join(',') %>", "a,b"),
            ("<%= 'x' if ENV['UNSET'].nil? %>", "x"),
            ("<%= ENV['UNSET']&.strip %>.", "."),
            ("<%# nothing %><%% kept %>", "<% kept %>"),
        ] {
            assert_eq!(rendered(template), expected, "{template}");
        }
    }

    #[test]
    fn conditions_and_loops_run() {
        let template = "<% hosts = \"a b\".split %>\n<% hosts.each do |h| -%>\n- <%= h %>\n<% end -%>\n\
                        <% if hosts.size > 2 %>many<% elsif ENV['SET'] %>few<% else %>none<% end %>\n";
        assert_eq!(rendered(template), "\n- a\n- b\nfew\n");
    }

    #[test]
    fn lines_of_the_text_know_their_lines_in_the_template() {
        let template = "a: 1\n<% 2.times do |i| -%>\n- <%= i %>\n<% end -%>\nb: 2\n";
        let rendered = render("f", template, &Fake).unwrap();
        assert_eq!(rendered.text, "a: 1\n- 0\n- 1\nb: 2\n");
        assert_eq!(rendered.lines.unwrap()[..4], [1, 3, 3, 5]);
    }

    #[test]
    fn what_cannot_be_run_is_told_with_its_line() {
        for (template, line, code) in [
            ("a\nb: <%= ENV.fetch('UNSET') %>\n", 2, "erb-value"),
            ("\n\n<%= Rails.root %>\n", 3, "erb-unsupported"),
            ("<%= File.read('gone') %>", 1, "erb-value"),
            ("a\n<%= 1", 2, "erb-syntax"),
            ("<% if true %>\nx\n", 1, "erb-unsupported"),
        ] {
            let problem = render("f", template, &Fake).unwrap_err();
            assert_eq!(
                (problem.span.start.line, problem.code),
                (line, code),
                "{template}"
            );
        }
    }
}
