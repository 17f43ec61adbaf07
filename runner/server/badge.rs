//! `GET /badges/OWNER/NAME/WORKFLOW/badge.svg`: how the newest run of a branch ended, as a picture.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::Site;
use super::problem::Problem;
use crate::run::{Conclusion, Status};
use crate::store::{RunFilter, RunRow};

/// The width of a letter, about, in pixels of the picture.
const LETTER: usize = 7;

/// How many of the newest runs are looked at for one that ran.
const LOOKED_AT: u32 = 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BadgeQuery {
    branch: Option<String>,
    event: Option<String>,
}

/// Answers with the state of a workflow of a watched repository: on its default branch where no
/// other is named.
pub(super) async fn badge(
    State(site): State<Arc<Site>>,
    Path((owner, name, workflow)): Path<(String, String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let Query(asked) = Query::<BadgeQuery>::try_from_uri(&uri)?;
    let full = format!("{owner}/{name}");
    let repository = site
        .repositories
        .values()
        .find(|known| known.name.eq_ignore_ascii_case(&full))
        .ok_or_else(|| Problem::absent(format!("the repository `{full}` is not watched")))?;
    let branch = asked
        .branch
        .unwrap_or_else(|| repository.default_branch.clone());
    let filter = RunFilter {
        repository: Some(repository.name.clone()),
        workflow: Some(workflow.clone()),
        git_ref: Some(format!("refs/heads/{branch}")),
        event: asked.event,
        status: Some(Status::Completed),
        limit: Some(LOOKED_AT),
        ..RunFilter::default()
    };
    let runs = site.ledger.runs(&filter).await?;
    // As on GitHub, what was skipped or cancelled says nothing of the branch.
    let tells = |run: &&RunRow| {
        matches!(
            run.conclusion,
            Some(Conclusion::Success | Conclusion::Failure)
        )
    };
    let (word, colour) = match runs.iter().find(tells).and_then(|run| run.conclusion) {
        Some(Conclusion::Success) => ("passing", "#2da44e"),
        Some(_) => ("failing", "#cf222e"),
        None => ("no status", "#6e7781"),
    };
    let label = runs.first().map_or(workflow.as_str(), |run| &run.name);
    let kind = HeaderValue::from_static("image/svg+xml");
    Ok(([(header::CONTENT_TYPE, kind)], picture(label, word, colour)).into_response())
}

fn picture(label: &str, word: &str, colour: &str) -> String {
    let label: String = label.chars().take(60).collect();
    let width = |text: &str| text.chars().count() * LETTER + 12;
    let (left, right) = (width(&label), width(word));
    let (whole, middle, end) = (left + right, left / 2, left + right / 2);
    let label = escape(&label);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="20" role="img" aria-label="{label}: {word}"><title>{label}: {word}</title><rect rx="3" width="{whole}" height="20" fill="#444d56"/><path d="M{left} 0h{inner}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H{left}z" fill="{colour}"/><g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11"><text x="{middle}" y="14">{label}</text><text x="{end}" y="14">{word}</text></g></svg>"##,
        inner = right - 3
    )
}

/// Writes text so that it is nothing else in XML; what XML cannot hold is left out.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            letter if letter.is_control() => {}
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_text_in_the_picture() {
        let svg = picture("<script>\"&\u{7}", "passing", "#2da44e");
        assert!(svg.contains(">&lt;script&gt;&quot;&amp;</text>"), "{svg}");
        assert!(!svg.contains("<script>"), "{svg}");
    }
}
