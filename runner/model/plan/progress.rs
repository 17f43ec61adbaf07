//! Which job of a run is next: pure, told what happened and asked what to do.

use std::fmt;
use std::sync::Arc;

use super::call::{self, WorkflowLoader};
use super::expand::{self, Expansion, is_kept_cell};
use super::frame::{Frame, Instance, JobState, Phase};
use super::job::{JobPlan, SecretAccess, WorkflowFile};
use super::scope::{Chain, PlanScope, result_entry};
use crate::expression::{Object, Value};
use crate::run::{Conclusion, JobKey};
use crate::workflow::{Job, JobBody};

/// What is the same for all jobs of a run.
#[derive(Debug, Clone, Default)]
pub struct RunFacts {
    /// The context `github`.
    pub github: Value,
    /// The context `vars`.
    pub vars: Value,
}

/// How a job ended, with its outputs.
#[derive(Debug, Clone)]
pub struct JobResult {
    /// How it ended.
    pub conclusion: Conclusion,
    /// Its outputs.
    pub outputs: Object,
}

impl JobResult {
    /// Returns a result without outputs.
    pub fn bare(conclusion: Conclusion) -> Self {
        Self {
            conclusion,
            outputs: Object::new(),
        }
    }
}

/// What is to be done next.
#[derive(Debug)]
pub enum Decision {
    /// A job exists; its name is known.
    Planned {
        /// The job.
        key: JobKey,
        /// Its key under `jobs`.
        id: String,
        /// Its name on the checks page.
        name: String,
        /// The keys of the jobs that it needs.
        needs: Vec<String>,
    },
    /// A job is to be run.
    Start(Box<JobPlan>),
    /// A job ended without being run.
    End {
        /// The job.
        key: JobKey,
        /// How.
        conclusion: Conclusion,
        /// Why, in words.
        reason: String,
    },
    /// A running job is to be cancelled.
    Cancel(JobKey),
}

/// The file, the inputs and the kept jobs of a run's own workflow.
pub(super) type RootParts = (Arc<WorkflowFile>, Value, Vec<String>);

/// Where all jobs of a run stand.
pub struct Progress {
    facts: RunFacts,
    loader: Box<dyn WorkflowLoader>,
    frames: Vec<Frame>,
    instances: Vec<Instance>,
    /// Which cells of matrices are run; all where it is empty.
    cells: Vec<(String, String)>,
    is_cancelled: bool,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("frames", &self.frames)
            .field("instances", &self.instances)
            .field("is_cancelled", &self.is_cancelled)
            .finish_non_exhaustive()
    }
}

impl Progress {
    /// Returns the start of a run of `file`; nothing is decided before [`Progress::advance`].
    pub fn new(
        file: Arc<WorkflowFile>,
        facts: RunFacts,
        inputs: Value,
        loader: Box<dyn WorkflowLoader>,
    ) -> Self {
        let root = Frame::new(file, None, Vec::new(), inputs, SecretAccess::All);
        Self {
            facts,
            loader,
            frames: vec![root],
            instances: Vec::new(),
            cells: Vec::new(),
            is_cancelled: false,
        }
    }

    /// Keeps only `job` and everything that it needs; `false` where there is no such job.
    pub fn keep_only(&mut self, job: &str) -> bool {
        let Some(root) = self.frames.first_mut() else {
            return false;
        };
        let mut wanted = vec![job.to_owned()];
        let mut at = 0;
        while let Some(id) = wanted.get(at).cloned() {
            at += 1;
            let Some(job) = root.file.workflow.jobs.get(&id) else {
                return false;
            };
            wanted.extend(job.needs.iter().map(|need| need.value.clone()));
        }
        root.jobs.retain(|id, _| wanted.contains(id));
        true
    }

    /// Keeps only the cells of matrices that have these values; what has no such key is kept.
    pub fn keep_cells(&mut self, wanted: Vec<(String, String)>) {
        self.cells = wanted;
    }

    pub(super) fn cells(&self) -> &[(String, String)] {
        &self.cells
    }

    /// Returns what a preview looks at: the facts, the loader, and the root's file, inputs and jobs.
    pub(super) fn parts(&self) -> (&RunFacts, &dyn WorkflowLoader, Option<RootParts>) {
        let root = self.frames.first().map(|root| {
            (
                Arc::clone(&root.file),
                root.inputs.clone(),
                root.jobs.keys().cloned().collect(),
            )
        });
        (&self.facts, self.loader.as_ref(), root)
    }

    /// Decides what can be decided now; to be called again after every change.
    pub fn advance(&mut self) -> Vec<Decision> {
        let mut decisions = Vec::new();
        loop {
            let mut has_changed = false;
            for frame in 0..self.frames.len() {
                has_changed |= self.advance_frame(frame, &mut decisions);
            }
            has_changed |= self.close_frames();
            if !has_changed {
                break;
            }
        }
        self.start_queued(&mut decisions);
        decisions
    }

    /// Takes note that a job ended.
    pub fn finish(&mut self, key: JobKey, result: JobResult) -> Vec<Decision> {
        let mut decisions = Vec::new();
        if let Ok(index) = usize::try_from(key.0) {
            self.finish_instance(index, result, &mut decisions);
        }
        decisions.extend(self.advance());
        decisions
    }

    /// Takes note that the run is cancelled: running jobs are to be cancelled, others do not start
    /// unless their condition says so.
    pub fn cancel(&mut self) -> Vec<Decision> {
        if self.is_cancelled {
            return Vec::new();
        }
        self.is_cancelled = true;
        let mut decisions = Vec::new();
        for index in 0..self.instances.len() {
            self.cancel_instance(index, "the run was cancelled", &mut decisions);
        }
        decisions.extend(self.advance());
        decisions
    }

    /// Tells whether every job ended.
    pub fn is_finished(&self) -> bool {
        self.frames.iter().all(|frame| frame.is_closed)
    }

    /// Returns how the whole run ended, as far as it is known.
    pub fn conclusion(&self) -> Conclusion {
        let root = self.frames.first();
        let conclusions: Vec<Conclusion> = root
            .into_iter()
            .flat_map(|frame| frame.jobs.values())
            .filter_map(|job| job.result.as_ref().map(|result| result.conclusion))
            .collect();
        combine(&conclusions, self.is_cancelled)
    }

    /// Expands every job of a frame whose needs are done; tells whether any was.
    fn advance_frame(&mut self, frame: usize, decisions: &mut Vec<Decision>) -> bool {
        let ready: Vec<String> = self.frames.get(frame).map_or(Vec::new(), |frame| {
            frame
                .jobs
                .iter()
                .filter(|(id, job)| !job.is_expanded && frame.is_ready(id))
                .map(|(id, _)| id.clone())
                .collect()
        });
        for id in &ready {
            self.expand(frame, id, decisions);
        }
        !ready.is_empty()
    }

    fn expand(&mut self, frame: usize, id: &str, decisions: &mut Vec<Decision>) {
        let Some(file) = self.frames.get(frame).map(|frame| Arc::clone(&frame.file)) else {
            return;
        };
        let Some(job) = file.workflow.jobs.get(id) else {
            return;
        };
        let scope = self.scope(frame, job);
        let chain = scope.chain;
        if let Some(state) = self.state(frame, id) {
            state.is_expanded = true;
            state.chain = chain;
        }
        let end =
            |progress: &mut Self, conclusion, reason: String, decisions: &mut Vec<Decision>| {
                let expansion = Expansion::unexpanded(job, id, &scope);
                let index = progress.add_instance(frame, job, expansion, decisions);
                progress.end_instance(index, conclusion, reason, decisions);
            };
        match job
            .condition
            .expression
            .evaluate(&scope)
            .map(|value| value.is_truthy())
        {
            Err(error) => {
                return end(
                    self,
                    Conclusion::Failure,
                    format!("its `if` could not be evaluated: {error}"),
                    decisions,
                );
            }
            Ok(false) => {
                let reason = self.skip_reason(frame, job);
                return end(self, Conclusion::Skipped, reason, decisions);
            }
            Ok(true) => {}
        }
        let expansions = match expand::expand(job, id, &scope) {
            Ok(expansions) => expansions,
            Err(reason) => return end(self, Conclusion::Failure, reason, decisions),
        };
        let is_kept = |expansion: &Expansion| is_kept_cell(&self.cells, &expansion.matrix);
        let expansions: Vec<Expansion> = expansions.into_iter().filter(is_kept).collect();
        if expansions.is_empty() {
            let reason = "no combination of its matrix was asked for".to_owned();
            return end(self, Conclusion::Skipped, reason, decisions);
        }
        for expansion in expansions {
            let index = self.add_instance(frame, job, expansion, decisions);
            match &job.body {
                JobBody::Steps(_) => {
                    let plan = self.job_plan(index, &scope);
                    if let Some(instance) = self.instances.get_mut(index) {
                        instance.plan = plan;
                    }
                }
                JobBody::Call(_) => self.call(index, job, &scope, decisions),
            }
        }
    }

    /// Opens the frame of a workflow that a job calls.
    fn call(&mut self, index: usize, job: &Job, scope: &PlanScope, decisions: &mut Vec<Decision>) {
        let Some(instance) = self.instances.get_mut(index) else {
            return;
        };
        instance.phase = Phase::Running;
        let Some(frame) = self.frames.get(instance.frame) else {
            return;
        };
        let scope = instance.expansion.scope(scope);
        let opened = call::open(
            self.loader.as_ref(),
            job,
            &scope,
            &frame.secrets,
            (&frame.file, frame.callers.len()),
        );
        match opened {
            Ok(opened) => {
                let mut callers = frame.callers.clone();
                callers.push(instance.expansion.name.clone());
                let called = Frame::new(
                    opened.file,
                    Some(index),
                    callers,
                    opened.inputs,
                    opened.secrets,
                );
                self.frames.push(called);
            }
            Err(reason) => self.end_instance(index, Conclusion::Failure, reason, decisions),
        }
    }

    /// Closes frames whose jobs are all done, and with them the jobs that called them.
    fn close_frames(&mut self) -> bool {
        let mut has_changed = false;
        for index in (0..self.frames.len()).rev() {
            let Some(frame) = self.frames.get_mut(index) else {
                continue;
            };
            if frame.is_closed || !frame.jobs.values().all(|job| job.result.is_some()) {
                continue;
            }
            frame.is_closed = true;
            has_changed = true;
            if let Some(caller) = frame.caller {
                let result = self.call_result(index);
                // What a call cancels in its matrix is decided with the next change.
                self.finish_instance(caller, result, &mut Vec::new());
            }
        }
        has_changed
    }

    fn call_result(&self, frame: usize) -> JobResult {
        let Some(frame) = self.frames.get(frame) else {
            return JobResult::bare(Conclusion::Failure);
        };
        let results = || {
            frame
                .jobs
                .iter()
                .filter_map(|(id, job)| Some((id, job.result.as_ref()?)))
        };
        let conclusions: Vec<Conclusion> = results().map(|(_, result)| result.conclusion).collect();
        let jobs = results().map(|(id, result)| {
            (
                id.as_str(),
                result_entry(result.conclusion, &result.outputs),
            )
        });
        let scope = PlanScope {
            github: self.facts.github.clone(),
            vars: self.facts.vars.clone(),
            inputs: frame.inputs.clone(),
            jobs: Some(jobs.collect::<Object>().into()),
            ..PlanScope::default()
        };
        let conclusion = combine(&conclusions, self.is_cancelled);
        JobResult {
            conclusion,
            outputs: call::outputs(&frame.file, &scope),
        }
    }

    fn finish_instance(&mut self, index: usize, result: JobResult, decisions: &mut Vec<Decision>) {
        let Some(instance) = self.instances.get_mut(index) else {
            return;
        };
        if matches!(instance.phase, Phase::Done(_)) {
            return;
        }
        let (frame, id) = (instance.frame, instance.id.clone());
        let has_failed = result.conclusion == Conclusion::Failure && !instance.expansion.may_fail;
        let is_fail_fast = instance.expansion.is_fail_fast;
        instance.phase = Phase::Done(result);
        let siblings = self
            .state(frame, &id)
            .map_or(Vec::new(), |state| state.instances.clone());
        if has_failed && is_fail_fast {
            for sibling in siblings.iter().filter(|sibling| **sibling != index) {
                let reason = "another job of its matrix failed (`strategy.fail-fast`)";
                self.cancel_instance(*sibling, reason, decisions);
            }
        }
        self.complete_job(frame, &id, &siblings);
    }

    /// Gives a job its result once all its instances have one.
    fn complete_job(&mut self, frame: usize, id: &str, instances: &[usize]) {
        let mut conclusions = Vec::new();
        let mut outputs = Object::new();
        for instance in instances
            .iter()
            .filter_map(|index| self.instances.get(*index))
        {
            let Phase::Done(result) = &instance.phase else {
                return;
            };
            let may_fail = instance.expansion.may_fail && result.conclusion == Conclusion::Failure;
            conclusions.push(if may_fail {
                Conclusion::Success
            } else {
                result.conclusion
            });
            for (name, value) in result.outputs.iter() {
                // Of a matrix the last job that sets an output to something wins.
                if outputs.get(name).is_none() || value.as_str().is_none_or(|text| !text.is_empty())
                {
                    outputs.insert(name, value.clone());
                }
            }
        }
        let is_skipped = conclusions
            .iter()
            .all(|conclusion| *conclusion == Conclusion::Skipped);
        let conclusion = if is_skipped {
            Conclusion::Skipped
        } else {
            combine(&conclusions, false)
        };
        if let Some(state) = self.state(frame, id) {
            state.chain = state.chain.with(conclusion);
            state.result = Some(JobResult {
                conclusion,
                outputs,
            });
        }
    }

    fn cancel_instance(&mut self, index: usize, reason: &str, decisions: &mut Vec<Decision>) {
        let Some(instance) = self.instances.get(index) else {
            return;
        };
        let is_call = instance.plan.is_none();
        match instance.phase {
            Phase::Done(_) => {}
            Phase::Queued => {
                self.end_instance(index, Conclusion::Cancelled, reason.to_owned(), decisions);
            }
            Phase::Running if is_call => {
                let frame = self
                    .frames
                    .iter()
                    .position(|frame| frame.caller == Some(index));
                let inside: Vec<usize> = (0..self.instances.len())
                    .filter(|inner| {
                        self.instances
                            .get(*inner)
                            .is_some_and(|inner| Some(inner.frame) == frame)
                    })
                    .collect();
                for inner in inside {
                    self.cancel_instance(inner, reason, decisions);
                }
            }
            Phase::Running => decisions.push(Decision::Cancel(key(index))),
        }
    }

    fn end_instance(
        &mut self,
        index: usize,
        conclusion: Conclusion,
        reason: String,
        decisions: &mut Vec<Decision>,
    ) {
        self.announce(index, decisions);
        decisions.push(Decision::End {
            key: key(index),
            conclusion,
            reason,
        });
        self.finish_instance(index, JobResult::bare(conclusion), decisions);
    }

    fn add_instance(
        &mut self,
        frame: usize,
        job: &Job,
        expansion: Expansion,
        decisions: &mut Vec<Decision>,
    ) -> usize {
        let index = self.instances.len();
        let id = job.id.value.clone();
        if let Some(state) = self.state(frame, &id) {
            state.instances.push(index);
        }
        self.instances.push(Instance {
            frame,
            id,
            phase: Phase::Queued,
            plan: None,
            expansion,
        });
        // A job that calls others is shown by those, unless it ends without them.
        if matches!(job.body, JobBody::Steps(_)) {
            self.announce(index, decisions);
        }
        index
    }

    fn announce(&mut self, index: usize, decisions: &mut Vec<Decision>) {
        let Some(instance) = self.instances.get_mut(index) else {
            return;
        };
        if std::mem::replace(&mut instance.expansion.is_announced, true) {
            return;
        }
        let Some(frame) = self.frames.get(instance.frame) else {
            return;
        };
        let needs = frame.file.workflow.jobs.get(&instance.id);
        decisions.push(Decision::Planned {
            key: key(index),
            id: instance.id.clone(),
            name: frame.full_name(&instance.expansion.name),
            needs: needs.map_or(Vec::new(), |job| {
                job.needs.iter().map(|need| need.value.clone()).collect()
            }),
        });
    }

    /// Starts what is queued, as many of a matrix at once as `max-parallel` allows.
    fn start_queued(&mut self, decisions: &mut Vec<Decision>) {
        for index in 0..self.instances.len() {
            let Some(instance) = self.instances.get(index) else {
                continue;
            };
            if !matches!(instance.phase, Phase::Queued) || instance.plan.is_none() {
                continue;
            }
            let running = |state: &JobState| {
                let is_running = |index: &&usize| {
                    self.instances
                        .get(**index)
                        .is_some_and(|instance| matches!(instance.phase, Phase::Running))
                };
                state.instances.iter().filter(is_running).count()
            };
            let frame = self.frames.get(instance.frame);
            let running = frame
                .and_then(|frame| frame.jobs.get(&instance.id))
                .map_or(0, running);
            if instance
                .expansion
                .max_parallel
                .is_some_and(|limit| running >= limit)
            {
                continue;
            }
            if let Some(instance) = self.instances.get_mut(index) {
                instance.phase = Phase::Running;
                decisions.extend(instance.plan.clone().map(Decision::Start));
            }
        }
    }

    fn job_plan(&self, index: usize, scope: &PlanScope) -> Option<Box<JobPlan>> {
        let instance = self.instances.get(index)?;
        let frame = self.frames.get(instance.frame)?;
        Some(Box::new(JobPlan {
            key: key(index),
            file: Arc::clone(&frame.file),
            id: instance.id.clone(),
            name: frame.full_name(&instance.expansion.name),
            callers: frame.callers.clone(),
            runs_on: instance.expansion.runs_on.clone(),
            matrix: instance.expansion.matrix.clone(),
            strategy: instance.expansion.strategy.clone(),
            needs: scope.needs.clone(),
            inputs: frame.inputs.clone(),
            concurrency: instance.expansion.concurrency.clone(),
            environment: instance.expansion.environment.clone(),
            secrets: frame.secrets.clone(),
        }))
    }

    fn scope(&self, frame: usize, job: &Job) -> PlanScope {
        let mut needs = Object::new();
        let mut chain = Chain::default();
        let frame = self.frames.get(frame);
        for need in &job.needs {
            let Some(state) = frame.and_then(|frame| frame.jobs.get(&need.value)) else {
                continue;
            };
            chain = chain.and(state.chain);
            if let Some(result) = &state.result {
                needs.insert(
                    need.value.as_str(),
                    result_entry(result.conclusion, &result.outputs),
                );
            }
        }
        PlanScope {
            github: self.facts.github.clone(),
            vars: self.facts.vars.clone(),
            inputs: frame.map_or(Value::Null, |frame| frame.inputs.clone()),
            needs: needs.into(),
            chain,
            is_cancelled: self.is_cancelled,
            ..PlanScope::default()
        }
    }

    /// Says why a job's condition was false: by what it needs, if that is why.
    fn skip_reason(&self, frame: usize, job: &Job) -> String {
        if self.is_cancelled {
            return "the run was cancelled".to_owned();
        }
        let Some(frame) = self.frames.get(frame) else {
            return String::new();
        };
        for need in &job.needs {
            let Some(state) = frame.jobs.get(&need.value) else {
                continue;
            };
            let Some(result) = &state.result else {
                continue;
            };
            if result.conclusion != Conclusion::Success {
                let word = match result.conclusion {
                    Conclusion::Failure => "failed",
                    Conclusion::Cancelled => "was cancelled",
                    Conclusion::Skipped | Conclusion::Success => "was skipped",
                };
                return format!("`{}`, which it needs, {word}", need.value);
            }
            if !state.chain.is_success {
                return format!("something that `{}` needs did not succeed", need.value);
            }
        }
        format!("its condition is false: {}", job.condition.text)
    }

    fn state(&mut self, frame: usize, id: &str) -> Option<&mut JobState> {
        self.frames.get_mut(frame)?.jobs.get_mut(id)
    }
}

fn key(index: usize) -> JobKey {
    JobKey(u32::try_from(index).unwrap_or(u32::MAX))
}

/// Returns how a whole ended whose parts ended so.
fn combine(parts: &[Conclusion], is_cancelled: bool) -> Conclusion {
    if is_cancelled
        || parts.contains(&Conclusion::Cancelled) && !parts.contains(&Conclusion::Failure)
    {
        Conclusion::Cancelled
    } else if parts.contains(&Conclusion::Failure) {
        Conclusion::Failure
    } else {
        Conclusion::Success
    }
}
