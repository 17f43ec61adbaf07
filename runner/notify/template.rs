//! The body of a webhook as somebody wrote it: a template of tera.

use tera::{Context, Kwargs, State, Tera, Value};
use thiserror::Error;

use super::notice::Notice;

/// A template cannot be used; whose file it is has to mend it.
#[derive(Debug, Error)]
#[error("the template cannot be used")]
pub struct TemplateError(#[from] tera::Error);

/// A template that was seen to work.
#[derive(Debug, Clone)]
pub struct Template(Tera);

impl Template {
    /// Reads a template, and fills it once to see that it can be.
    ///
    /// It sees the fields of [`Notice`], `subject` and `text`; the filter `json` makes a value of JSON
    /// out of any of them, with its quotes.
    pub fn read(text: &str) -> Result<Self, TemplateError> {
        let mut tera = Tera::default();
        tera.register_filter("json", |value: Value, _: Kwargs, _: &State<'_>| {
            serde_json::to_string(&value).unwrap_or_else(|_| "null".to_owned())
        });
        tera.add_raw_template("body", text)?;
        let template = Self(tera);
        template.fill(&Notice::test(None))?;
        Ok(template)
    }

    /// Fills it.
    pub fn fill(&self, notice: &Notice) -> Result<String, TemplateError> {
        let mut context = Context::from_serialize(notice)?;
        context.insert("subject", &notice.subject());
        context.insert("text", &notice.text());
        Ok(self.0.render("body", &context)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_sees_what_is_told_and_makes_json_of_it() {
        let template = Template::read(
            r#"{"kind": {{ kind | json }}, "title": {{ title | json }}, "plain": "{{ repository }}"}"#,
        )
        .unwrap();
        let notice = Notice::test(None);
        let body: serde_json::Value =
            serde_json::from_str(&template.fill(&notice).unwrap()).unwrap();
        assert_eq!(body["kind"], "test");
        assert_eq!(body["title"], notice.title);
        assert_eq!(body["plain"], "owner/name");
    }

    #[test]
    fn a_template_that_cannot_be_filled_is_refused_when_it_is_read() {
        for text in ["{{ nobody.knows }}", "{{ title", "{% if %}"] {
            assert!(Template::read(text).is_err(), "{text}");
        }
    }
}
