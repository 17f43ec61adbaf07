//! `needs`: jobs that are not there, jobs that wait for each other.

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, Severity, Span, nearest};
use crate::workflow::model::Located;

use super::reader::Reader;

/// Among how many jobs a near name is looked for.
const MAX_WORDS: usize = 500;

/// A job and what it needs.
pub(super) struct Node {
    pub(super) id: Located<String>,
    pub(super) needs: Vec<Located<String>>,
}

/// Reports what can never start.
pub(super) fn check(reader: &mut Reader<'_>, jobs: &[Node], span: &Span) {
    let index: HashMap<String, usize> = jobs
        .iter()
        .enumerate()
        .map(|(at, job)| (job.id.value.to_ascii_lowercase(), at))
        .collect();
    let find = |need: &Located<String>| index.get(&need.value.to_ascii_lowercase()).copied();
    let mut has_unknown = false;
    for job in jobs {
        for need in &job.needs {
            if find(need).is_none() {
                has_unknown = true;
                if reader.is_full(Severity::Error) {
                    continue;
                }
                let problem = unknown(jobs, job, need);
                reader.report(problem);
            }
        }
    }
    if jobs.is_empty() || (jobs.iter().all(|job| !job.needs.is_empty()) && !has_unknown) {
        reader.report(Diagnostic::error(
            "no-first-job",
            jobs.first().map_or(span, |job| &job.id.span),
            "no job can start: every job needs another one",
        ));
        return;
    }
    let stuck = stuck(jobs, find);
    for (at, job) in jobs.iter().enumerate() {
        for need in &job.needs {
            let Some(target) = find(need) else { continue };
            let is_stuck = |at: usize| stuck.get(at).copied().unwrap_or(false);
            if is_stuck(at) && is_stuck(target) {
                let message = format!(
                    "job `{}` needs `{}`, which cannot end before it",
                    job.id.value, need.value
                );
                reader.report(Diagnostic::error("needs-cycle", &need.span, message));
            }
        }
    }
}

fn unknown(jobs: &[Node], job: &Node, need: &Located<String>) -> Diagnostic {
    let message = format!(
        "job `{}` needs `{}`, which is no job",
        job.id.value, need.value
    );
    let problem = Diagnostic::error("needs-unknown", &need.span, message);
    let ids = jobs.iter().map(|job| job.id.value.as_str()).take(MAX_WORDS);
    match nearest(&need.value, ids) {
        Some(near) => problem.with_hint(format!("did you mean `{near}`?")),
        None => problem,
    }
}

/// Tells of each job whether it waits for itself, over others or not; unknown needs are left out.
///
/// Takes away, again and again, the jobs that nothing holds back; then, from the other end, those
/// on which nothing else waits. What stays lies on a cycle or between two.
fn stuck(jobs: &[Node], find: impl Fn(&Located<String>) -> Option<usize>) -> Vec<bool> {
    let mut waits_for: Vec<Vec<usize>> = Vec::with_capacity(jobs.len());
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); jobs.len()];
    for (at, job) in jobs.iter().enumerate() {
        let targets: Vec<usize> = job.needs.iter().filter_map(&find).collect();
        for &target in &targets {
            if let Some(list) = needed_by.get_mut(target) {
                list.push(at);
            }
        }
        waits_for.push(targets);
    }
    let mut left = vec![true; jobs.len()];
    take_away(&mut left, &waits_for, &needed_by);
    take_away(&mut left, &needed_by, &waits_for);
    left
}

/// Takes away all that has nothing left in `holds`, following `frees`.
fn take_away(left: &mut [bool], holds: &[Vec<usize>], frees: &[Vec<usize>]) {
    let is_left = |left: &[bool], at: usize| left.get(at).copied().unwrap_or(false);
    let mut counts: Vec<usize> = holds
        .iter()
        .map(|list| list.iter().filter(|at| is_left(left, **at)).count())
        .collect();
    let mut ready: Vec<usize> = (0..left.len())
        .filter(|at| is_left(left, *at) && counts.get(*at) == Some(&0))
        .collect();
    while let Some(at) = ready.pop() {
        if let Some(slot) = left.get_mut(at) {
            *slot = false;
        }
        for &next in frees.get(at).into_iter().flatten() {
            let Some(count) = counts.get_mut(next) else {
                continue;
            };
            *count = count.saturating_sub(1);
            if *count == 0 && is_left(left, next) {
                ready.push(next);
            }
        }
    }
}
