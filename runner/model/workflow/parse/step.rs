//! The steps of a job or of a composite action.

use crate::diagnostic::{Diagnostic, Span};
use crate::workflow::model::{Condition, Located, Step, StepBody};
use crate::workflow::token::{Token, TokenKind};

use super::names::{self, Names};
use super::reader::Reader;
use super::{reference, triggers};

/// What runs a script without a template of its own.
const SHELLS: [&str; 6] = ["bash", "sh", "pwsh", "powershell", "python", "cmd"];

/// Reads a list of steps.
pub(in crate::workflow) fn all(
    reader: &mut Reader<'_>,
    token: &Token,
    always: &Condition,
) -> Vec<Step> {
    let mut names = Names::default();
    let mut steps = Steps {
        reader,
        names: &mut names,
        always,
    };
    let mut read: Vec<Step> = token
        .as_sequence()
        .unwrap_or_default()
        .iter()
        .filter_map(|item| steps.one(item, false))
        .collect();
    name_unnamed(&mut names, &mut read);
    read
}

/// Reads `steps`, which a job can leave out.
pub(super) fn all_of(
    reader: &mut Reader<'_>,
    token: Option<&Token>,
    always: &Condition,
) -> Vec<Step> {
    token
        .map(|token| all(reader, token, always))
        .unwrap_or_default()
}

/// Gives every step without an id the name by which GitHub's context knows it.
fn name_unnamed(names: &mut Names, steps: &mut [Step]) {
    for step in steps {
        if step.id.is_none() {
            let word = match &step.body {
                StepBody::Run { .. } => "run".to_owned(),
                StepBody::Uses { uses, .. } => names::word_of(&uses.value),
                StepBody::Wait(_) => "wait".to_owned(),
                StepBody::WaitAll => "wait-all".to_owned(),
                StepBody::Cancel(_) => "cancel".to_owned(),
                StepBody::Parallel(_) => "parallel".to_owned(),
            };
            step.context_name = names.make(&word);
        }
        if let StepBody::Parallel(inner) = &mut step.body {
            name_unnamed(names, inner);
        }
    }
}

struct Steps<'r, 's> {
    reader: &'r mut Reader<'s>,
    names: &'r mut Names,
    always: &'r Condition,
}

impl Steps<'_, '_> {
    fn one(&mut self, token: &Token, is_inside_parallel: bool) -> Option<Step> {
        token.as_mapping()?;
        let id = self.id(token);
        let is_background = self.background(token, is_inside_parallel);
        let body = self.body(token, id.as_ref(), is_inside_parallel);
        warn_of_fraction(self.reader, token.get("timeout-minutes"));
        Some(Step {
            span: token.span.clone(),
            context_name: id.as_ref().map(|id| id.value.clone()).unwrap_or_default(),
            id,
            name: token.get("name").cloned(),
            condition: condition(self.reader, token, self.always),
            env: token.get("env").cloned(),
            continue_on_error: token.get("continue-on-error").cloned(),
            timeout_minutes: token.get("timeout-minutes").cloned(),
            is_background,
            body: body?,
        })
    }

    fn id(&mut self, token: &Token) -> Option<Located<String>> {
        let token = token.get("id")?;
        let id = token.as_literal()?;
        if let Err(refusal) = self.names.take(id) {
            let message = format!("step id `{id}` {}", refusal.reason());
            self.reader.error("step-id", &token.span, message);
        }
        Some(Located {
            value: id.to_owned(),
            span: token.span.clone(),
        })
    }

    fn background(&mut self, token: &Token, is_inside_parallel: bool) -> bool {
        let Some(background) = token.get("background") else {
            return false;
        };
        if is_inside_parallel {
            let message =
                "`background` cannot stand inside `parallel`, whose steps run side by side anyway";
            let span = token.key_span("background").unwrap_or(&background.span);
            self.reader.error("parallel-step", span, message);
        }
        matches!(background.kind, TokenKind::Boolean(true))
    }

    fn body(
        &mut self,
        token: &Token,
        id: Option<&Located<String>>,
        is_inside_parallel: bool,
    ) -> Option<StepBody> {
        let own_id = id.map(|id| id.value.as_str());
        if let Some(script) = token.get("run") {
            let shell = token.get("shell");
            warn_of_shell(self.reader, shell);
            return Some(StepBody::Run {
                script: script.clone(),
                shell: shell.cloned(),
                working_directory: token.get("working-directory").cloned(),
            });
        }
        if let Some(uses) = token.get("uses") {
            return Some(StepBody::Uses {
                uses: reference::action(self.reader, uses)?,
                with: token.get("with").cloned(),
            });
        }
        if let Some(wait) = token.get("wait") {
            let targets = triggers::located_texts(wait);
            for target in &targets {
                self.check_target(target, own_id);
            }
            return Some(StepBody::Wait(targets));
        }
        if let Some(wait_all) = token.get("wait-all") {
            if matches!(wait_all.kind, TokenKind::Boolean(false)) {
                let message = "`wait-all` is `false`: leave the step out instead";
                self.reader.error("wait-all", &wait_all.span, message);
            }
            return Some(StepBody::WaitAll);
        }
        if let Some(cancel) = token.get("cancel") {
            let target = triggers::located_texts(cancel).into_iter().next()?;
            self.check_target(&target, own_id);
            return Some(StepBody::Cancel(target));
        }
        let parallel = token.get("parallel")?;
        if is_inside_parallel {
            let message = "`parallel` cannot stand inside `parallel`";
            let span = token.key_span("parallel").unwrap_or(&token.span);
            self.reader.error("parallel-step", span, message);
            return None;
        }
        let inner = parallel.as_sequence().unwrap_or_default();
        let inner = inner.iter().filter_map(|item| self.inner(item)).collect();
        Some(StepBody::Parallel(inner))
    }

    /// Reads a step of `parallel`: one that runs, not one that waits.
    fn inner(&mut self, token: &Token) -> Option<Step> {
        for key in ["wait", "wait-all", "cancel"] {
            if let Some(span) = token.key_span(key) {
                let message = format!("`{key}` cannot stand inside `parallel`");
                self.reader.error("parallel-step", span, message);
                return None;
            }
        }
        self.one(token, true)
    }

    fn check_target(&mut self, target: &Located<String>, own_id: Option<&str>) {
        let id = target.value.as_str();
        let problem = if id.starts_with("__") {
            "begins with `__`, which is reserved"
        } else if own_id.is_some_and(|own| own.eq_ignore_ascii_case(id)) {
            "is the step's own id"
        } else if !self.names.has(id) {
            "is no id of an earlier step"
        } else {
            return;
        };
        let message = format!("`{id}` {problem}");
        self.reader
            .report(Diagnostic::error("step-target", &target.span, message));
    }
}

/// Returns the condition of a job or a step; `always` where there is none.
pub(super) fn condition(reader: &Reader<'_>, token: &Token, always: &Condition) -> Condition {
    let absent = |span: &Span| Condition {
        span: span.clone(),
        ..always.clone()
    };
    match token.get("if") {
        None => absent(&token.span),
        Some(condition) => reader
            .condition_at(&condition.span)
            .cloned()
            .unwrap_or_else(|| absent(&condition.span)),
    }
}

/// Warns of minutes with a fraction, which GitHub drops.
pub(super) fn warn_of_fraction(reader: &mut Reader<'_>, minutes: Option<&Token>) {
    let Some(token) = minutes else { return };
    let TokenKind::Number(value) = token.kind else {
        return;
    };
    if value.fract() != 0.0 {
        let message = format!("GitHub drops the fraction of `{value}` minutes; it counts here");
        reader.report(Diagnostic::warning(
            "timeout-fraction",
            &token.span,
            message,
        ));
    }
}

/// Warns of a shell that is neither known nor a template.
pub(super) fn warn_of_shell(reader: &mut Reader<'_>, shell: Option<&Token>) {
    let Some(token) = shell else { return };
    let Some(text) = token.as_literal() else {
        return;
    };
    let is_known = SHELLS.iter().any(|known| text.eq_ignore_ascii_case(known));
    if text.is_empty() || is_known || text.contains("{0}") {
        return;
    }
    let message = format!("unknown shell `{text}`");
    let hint = match crate::diagnostic::nearest(text, SHELLS) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("a shell of your own needs `{{0}}` for the script: `{text} {{0}}`"),
    };
    reader.report(Diagnostic::warning("unknown-shell", &token.span, message).with_hint(hint));
}
