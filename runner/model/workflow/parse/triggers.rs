//! `on`: the events and their filters.

use crate::diagnostic::{Diagnostic, Span, nearest};
use crate::workflow::model::{Located, Schedule, Trigger, Triggers};
use crate::workflow::schema;
use crate::workflow::token::Token;
use crate::yaml::{Kind, Mapping, Node};

use super::events::{self, EVENTS, Event, Types};
use super::reader::{Place, Reader};
use super::{cron, inputs, pattern};

/// The pairs of filters of which only one may be used.
const EXCLUSIVE: [(&str, &str); 3] = [
    ("branches", "branches-ignore"),
    ("tags", "tags-ignore"),
    ("paths", "paths-ignore"),
];

/// Reads the value of `on`.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Triggers {
    let mut triggers = Triggers {
        span: Some(node.span.clone()),
        ..Triggers::default()
    };
    match &node.kind {
        Kind::String => add_plain(reader, &mut triggers, node),
        Kind::Sequence(items) => {
            for item in items {
                if item.kind == Kind::String {
                    add_plain(reader, &mut triggers, item);
                } else {
                    let message = format!("an event is a {}, but must be a name", item.kind_name());
                    reader.error("wrong-kind", &item.span, message);
                }
            }
        }
        Kind::Mapping(mapping) => add_configured(reader, &mut triggers, mapping),
        _ => {
            let message = "`on` names no event: expected a name, a list of names or a mapping";
            reader.error("wrong-kind", &node.span, message);
        }
    }
    triggers
}

fn add_plain(reader: &mut Reader<'_>, triggers: &mut Triggers, node: &Node) {
    if let Some(event) = known(reader, &node.text, &node.span) {
        add(triggers, event, &node.span);
    }
}

fn add(triggers: &mut Triggers, event: &Event, span: &Span) {
    if event.name == "workflow_call" {
        triggers.call = Some(crate::workflow::model::CallInterface::default());
    }
    triggers
        .events
        .insert(event.name.to_owned(), Trigger::unfiltered(span));
}

fn known(reader: &mut Reader<'_>, name: &str, span: &Span) -> Option<&'static Event> {
    let event = events::find(name);
    if event.is_none() {
        let problem = Diagnostic::error("unknown-event", span, format!("unknown event `{name}`"));
        let names = EVENTS.iter().map(|event| event.name);
        reader.report(match nearest(name, names) {
            Some(near) => problem.with_hint(format!("did you mean `{near}`?")),
            None => problem,
        });
    }
    event
}

fn add_configured(reader: &mut Reader<'_>, triggers: &mut Triggers, mapping: &Mapping) {
    for entry in mapping.iter() {
        let Some(event) = known(reader, &entry.key.text, &entry.key.span) else {
            continue;
        };
        add(triggers, event, &entry.key.span);
        if event.name == "schedule" {
            triggers.schedule = schedule(reader, &entry.value);
            continue;
        }
        match &entry.value.kind {
            Kind::Null => {}
            Kind::Mapping(filters) if event.keys().next().is_some() => {
                configure(reader, triggers, event, filters);
            }
            kind => {
                let expected = match (kind, event.keys().next()) {
                    (_, None) => "takes no filters".to_owned(),
                    _ => "must be a mapping".to_owned(),
                };
                let message = format!("event `{}` {expected}", event.name);
                reader.error("wrong-kind", &reader.head(&entry.value), message);
            }
        }
    }
}

fn configure(
    reader: &mut Reader<'_>,
    triggers: &mut Triggers,
    event: &'static Event,
    filters: &Mapping,
) {
    for entry in filters.iter() {
        let key = entry.key.text.as_str();
        let Some(key) = event.keys().find(|known| *known == key) else {
            let message = format!("unknown key `{key}` in event `{}`", event.name);
            let problem = Diagnostic::error("unknown-key", &entry.key.span, message);
            reader.report(match nearest(key, event.keys()) {
                Some(near) => problem.with_hint(format!("did you mean `{near}`?")),
                None => problem,
            });
            continue;
        };
        match (event.name, key) {
            ("workflow_dispatch", "inputs") => {
                triggers.dispatch_inputs = inputs::dispatch(reader, &entry.value);
                continue;
            }
            ("workflow_call", _) => {
                let call = triggers.call.get_or_insert_default();
                inputs::call(reader, call, key, &entry.value);
                continue;
            }
            _ => {}
        }
        let values = texts(reader, &entry.value, key);
        if key == "types" {
            check_types(reader, event, &values);
        }
        if EXCLUSIVE
            .iter()
            .any(|(one, other)| key == *one || key == *other)
        {
            pattern::check(reader, key, &values);
        }
        if let Some(trigger) = triggers.events.get_mut(event.name) {
            trigger.set(key, values);
        }
    }
    // GitHub's reader takes both; that only one may be used is what its documentation says.
    for (one, other) in EXCLUSIVE {
        if let (Some(_), Some(second)) = (filters.entry(one), filters.entry(other)) {
            let message = format!("event `{}` has both `{one}` and `{other}`", event.name);
            let problem = Diagnostic::warning("conflicting-filters", &second.key.span, message);
            reader.report(problem.with_hint(format!(
                "use `{one}` alone, with `!` before the patterns to leave out"
            )));
        }
    }
}

fn check_types(reader: &mut Reader<'_>, event: &Event, values: &[Located<String>]) {
    let Types::Known(types) = event.types else {
        return;
    };
    for value in values {
        if types.contains(&value.value.as_str()) {
            continue;
        }
        let message = format!("event `{}` has no type `{}`", event.name, value.value);
        let problem = Diagnostic::error("unknown-type", &value.span, message);
        reader.report(match nearest(&value.value, types.iter().copied()) {
            Some(near) => problem.with_hint(format!("did you mean `{near}`?")),
            None => problem.with_hint(format!("its types: {}", types.join(", "))),
        });
    }
}

/// Reads a text or a list of texts.
fn texts(reader: &mut Reader<'_>, node: &Node, key: &str) -> Vec<Located<String>> {
    let read = reader.read(node, &schema::TEXTS, Place::Key(key));
    located_texts(&read)
}

/// Returns the texts of a token that is a text or a list of texts.
pub(super) fn located_texts(token: &Token) -> Vec<Located<String>> {
    let one = |token: &Token| {
        token.as_literal().map(|text| Located {
            value: text.to_owned(),
            span: token.span.clone(),
        })
    };
    match token.as_sequence() {
        Some(items) => items.iter().filter_map(one).collect(),
        None => one(token).into_iter().collect(),
    }
}

fn schedule(reader: &mut Reader<'_>, node: &Node) -> Vec<Schedule> {
    let read = reader.read(node, &schema::SCHEDULE, Place::Key("schedule"));
    let mut entries = Vec::new();
    for item in read.as_sequence().unwrap_or_default() {
        let text = |key: &str| {
            let token = item.get(key)?;
            Some(Located {
                value: token.as_literal()?.to_owned(),
                span: token.span.clone(),
            })
        };
        let Some(cron) = text("cron") else { continue };
        let timezone = text("timezone");
        cron::check(reader, &cron);
        if let Some(zone) = &timezone {
            cron::check_timezone(reader, zone);
        }
        entries.push(Schedule { cron, timezone });
    }
    entries
}

impl Trigger {
    fn unfiltered(span: &Span) -> Self {
        Self {
            span: span.clone(),
            types: None,
            branches: None,
            branches_ignore: None,
            tags: None,
            tags_ignore: None,
            paths: None,
            paths_ignore: None,
            workflows: None,
            names: None,
            versions: None,
        }
    }

    fn set(&mut self, key: &str, values: Vec<Located<String>>) {
        let field = match key {
            "types" => &mut self.types,
            "branches" => &mut self.branches,
            "branches-ignore" => &mut self.branches_ignore,
            "tags" => &mut self.tags,
            "tags-ignore" => &mut self.tags_ignore,
            "paths" => &mut self.paths,
            "paths-ignore" => &mut self.paths_ignore,
            "workflows" => &mut self.workflows,
            "names" => &mut self.names,
            "versions" => &mut self.versions,
            _ => return,
        };
        *field = Some(values);
    }
}
