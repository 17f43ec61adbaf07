//! Stages of operations, carried out over the fleet.
//!
//! Hosts work at once, each in the order of its operations; a stage begins when the one before it
//! ended everywhere. Stages that concern a single host and the same one are one stage, and its
//! neighbouring small files are one command, beside what need not wait for them. Between operations it is asked whether to stop and
//! whether the lease is still trusted.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::{
    apply::{Act, Step},
    error::OpError,
    fault,
    fleet::Fleet,
    host::Host,
    lease::Lease,
    machine,
    progress::{Event, Progress},
    script::Done,
    settings::Settings,
};
use crate::release::{HostName, Journal, Op, Phase, Stage, TransactionId, Verb};

/// What is needed to carry stages out.
#[derive(Clone, Copy)]
pub(super) struct Carrier<'a> {
    pub(super) fleet: &'a Fleet,
    pub(super) settings: &'a Settings,
    pub(super) lease: Option<&'a Lease>,
    pub(super) dead: Option<&'a TransactionId>,
    pub(super) progress: &'a dyn Progress,
    /// Stops between operations, and ends those that only wait.
    pub(super) stop: &'a CancellationToken,
    pub(super) course: Course,
}

/// Where operations lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// To the lock: as forward, but no phase of anything is told.
    Locking,
    /// To the new release: a failure stops every host.
    Forward,
    /// Back to what was found: other hosts go on after a failure.
    Back,
    /// To the end of a transaction that is over, in the same way; phases are not told.
    Closing,
}

impl Course {
    fn stops_at_failure(self) -> bool {
        matches!(self, Self::Locking | Self::Forward)
    }

    fn is_told(self) -> bool {
        matches!(self, Self::Forward | Self::Back)
    }
}

/// An operation that did not go well.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) op: Op,
    pub(super) phase: Phase,
    pub(super) error: OpError,
}

/// How far it came.
#[derive(Debug)]
pub(super) struct Carried {
    /// The journal as it was recorded last.
    pub(super) journal: Journal,
    /// What failed; empty if all went well.
    pub(super) failures: Vec<Failed>,
    /// Whether it was stopped from outside before the end.
    pub(super) stopped: bool,
    /// The phase that was not reached when it was stopped.
    pub(super) stopped_at: Option<Phase>,
}

/// What one host did of a stage.
struct HostDone {
    /// The journal as this host has it.
    journal: Journal,
    /// The phase of the last operations that ended well.
    worked: Phase,
    failure: Option<Failed>,
    stopped: Option<Phase>,
}

/// A step with the phase that it belongs to.
type Phased = (Phase, Step);

impl Carrier<'_> {
    /// Carries out all stages, or stops at the first that fails.
    pub(super) async fn carry(&self, journal: &Journal, stages: &[Stage]) -> Carried {
        let mut current = journal.clone();
        let meter = Meter::new(self);
        let mut carried = Carried {
            journal: journal.clone(),
            failures: Vec::new(),
            stopped: false,
            stopped_at: None,
        };
        let mut worked = journal.phase;
        for stage in joined(stages) {
            let mut by_host: Vec<(HostName, Vec<Phased>)> = Vec::new();
            for (phase, op) in stage {
                let host = op.host.clone();
                let step = (phase, Step { op, journal: None });
                match by_host.iter_mut().find(|(name, _)| *name == host) {
                    Some((_, steps)) => steps.push(step),
                    None => by_host.push((host, vec![step])),
                }
            }
            // Another host's failure ends the waits of the rest, but in an undo.
            let halt = self.stop.child_token();
            let work = by_host
                .iter()
                .map(|(name, steps)| self.host(name, steps, (&current, worked), &meter, &halt));
            let mut next = current.clone();
            for done in join_all(work).await {
                if done.journal.phase > next.phase {
                    next = done.journal;
                }
                worked = worked.max(done.worked);
                carried.failures.extend(done.failure);
                carried.stopped |= done.stopped.is_some();
                carried.stopped_at = carried.stopped_at.or(done.stopped);
            }
            current = next;
            let failed = !carried.failures.is_empty();
            if (failed && self.course.stops_at_failure()) || carried.stopped {
                break;
            }
        }
        meter.end(carried.failures.is_empty() && !carried.stopped);
        carried.stopped &= self.stop.is_cancelled();
        carried.journal = current;
        carried
    }

    async fn host(
        &self,
        name: &HostName,
        steps: &[Phased],
        (journal, worked): (&Journal, Phase),
        meter: &Meter<'_>,
        halt: &CancellationToken,
    ) -> HostDone {
        let mut done = HostDone {
            journal: journal.clone(),
            worked,
            failure: None,
            stopped: None,
        };
        let Some(host) = self.fleet.host(name) else {
            done.failure = steps.first().map(|(phase, step)| Failed {
                op: step.op.clone(),
                phase: *phase,
                error: OpError::NotReady(format!("`{name}` is not connected")),
            });
            return done;
        };
        let mut rest = steps;
        while let Some((phase, first)) = rest.first() {
            if halt.is_cancelled() {
                done.stopped = Some(*phase);
                return done;
            }
            if let Some(lease) = self.lease
                && let Err(error) = lease.check().await
            {
                done.failure = Some(self.failed(first, *phase, error, meter));
                return done;
            }
            let length = if fault::is_armed() {
                1
            } else {
                segment_length(rest)
            };
            let (segment, later) = rest.split_at(length);
            rest = later;
            let segment = with_journals(segment, &done.journal, done.worked);
            self.segment(host, &segment, meter, halt, &mut done).await;
            if done.failure.is_some() || done.stopped.is_some() {
                if self.course.stops_at_failure() {
                    halt.cancel();
                }
                return done;
            }
        }
        done
    }

    /// Operations that ride in one command, or that run at once.
    async fn segment(
        &self,
        host: &Host,
        segment: &[Phased],
        meter: &Meter<'_>,
        halt: &CancellationToken,
        done: &mut HostDone,
    ) {
        let journal = done.journal.clone();
        let act = Act {
            journal: &journal,
            settings: self.settings,
            dead: self.dead,
        };
        for (phase, step) in segment {
            meter.begin(&step.op.host, *phase);
            fault::point(self.progress, "before", &step.op, self.leads_to(*phase));
        }
        let start = Instant::now();
        // Small files come first, in one command.
        let files = segment
            .iter()
            .take_while(|(_, step)| step.op.verb.is_small_file())
            .count();
        let (files, others) = segment.split_at(files);
        let written = async {
            let steps: Vec<Step> = files.iter().map(|(_, step)| step.clone()).collect();
            if steps.is_empty() {
                return (Vec::new(), Duration::ZERO);
            }
            (host.apply_files(&steps, act).await, start.elapsed())
        };
        let run = others.iter().map(|(_, step)| async {
            let result = host.apply(&step.op, act, halt).await;
            let result = result.map_or_else(Done::Failed, |()| Done::Well);
            (result, start.elapsed())
        });
        let ((written, took), others) = tokio::join!(written, join_all(run));
        let written = written.into_iter().map(|result| (result, took));
        for ((phase, step), (result, took)) in segment.iter().zip(written.chain(others)) {
            fault::point(self.progress, "after", &step.op, None);
            match result {
                Done::Well => {
                    if let Some(recorded) = &step.journal {
                        done.journal = recorded.clone();
                    }
                    done.worked = done.worked.max(*phase);
                    self.progress.tell(Event::Did {
                        op: Box::new(step.op.clone()),
                        took,
                    });
                }
                Done::Failed(OpError::Cancelled) => done.stopped = Some(*phase),
                Done::Failed(error) => {
                    let failed = self.failed(step, *phase, error, meter);
                    if !step.op.best_effort && done.failure.is_none() {
                        done.failure = Some(failed);
                    }
                }
                Done::LeftOut => {}
            }
        }
    }

    /// The phase that operations of `phase` lead to, unless they lead back or to an end.
    fn leads_to(&self, phase: Phase) -> Option<Phase> {
        self.course.stops_at_failure().then_some(phase)
    }

    fn failed(&self, step: &Step, phase: Phase, error: OpError, meter: &Meter<'_>) -> Failed {
        let reason = self
            .settings
            .masker
            .mask(&error.chain())
            .as_str()
            .to_owned();
        let best_effort = step.op.best_effort;
        if !best_effort {
            meter.fail(&step.op.host);
        }
        self.progress.tell(Event::Failed {
            op: Box::new(step.op.clone()),
            reason,
            best_effort,
        });
        Failed {
            op: step.op.clone(),
            phase,
            error,
        }
    }
}

/// Stages that follow each other and concern the same single host become one.
fn joined(stages: &[Stage]) -> Vec<Vec<(Phase, Op)>> {
    let only_host = |ops: &[(Phase, Op)]| {
        let first = ops.first().map(|(_, op)| op.host.clone())?;
        ops.iter().all(|(_, op)| op.host == first).then_some(first)
    };
    let mut joined: Vec<Vec<(Phase, Op)>> = Vec::new();
    for stage in stages {
        let ops: Vec<_> = stage
            .ops
            .iter()
            .map(|op| (stage.phase, op.clone()))
            .collect();
        match joined.last_mut() {
            Some(last) if only_host(last).is_some() && only_host(last) == only_host(&ops) => {
                last.extend(ops);
            }
            _ => joined.push(ops),
        }
    }
    joined
}

/// Gives each operation that writes the journal its text, with the time of this moment.
///
/// `worked` is the phase of the last operations: one whose own record was spared is noted with the
/// next one, so that its time is not taken for that of another.
fn with_journals(segment: &[Phased], current: &Journal, worked: Phase) -> Vec<Phased> {
    let (mut next, now) = (current.clone(), machine::now());
    let mut steps = segment.to_vec();
    for (_, step) in &mut steps {
        let recorded = match &step.op.verb {
            Verb::Record { phase } => *phase,
            Verb::Commit { .. } => Phase::Committed,
            _ => continue,
        };
        for phase in [worked, recorded] {
            if phase > next.phase && phase <= recorded {
                next = next.at(phase, now);
            }
        }
        step.journal = Some(next.clone());
    }
    steps
}

/// How many operations from the first on can be carried out together.
fn segment_length(steps: &[Phased]) -> usize {
    let verbs = || steps.iter().map(|(_, step)| &step.op.verb);
    let together = |(n, later): &(usize, &Verb)| {
        verbs()
            .take(*n)
            .all(|earlier| later.may_run_beside(earlier))
    };
    verbs().enumerate().take_while(together).count()
}

/// Tells when a host begins a phase and when it has reached it.
struct Meter<'a> {
    progress: &'a dyn Progress,
    fleet: &'a Fleet,
    course: Course,
    open: Mutex<HashMap<HostName, (Phase, Since)>>,
}

/// Where a phase began.
#[derive(Clone, Copy)]
struct Since {
    time: Instant,
    waits: u64,
}

impl<'a> Meter<'a> {
    fn new(carrier: &Carrier<'a>) -> Self {
        Self {
            progress: carrier.progress,
            fleet: carrier.fleet,
            course: carrier.course,
            open: Mutex::new(HashMap::new()),
        }
    }

    fn begin(&self, host: &HostName, phase: Phase) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get(host) {
            Some((current, _)) if *current == phase => return,
            Some((current, since)) => self.reached(host, *current, *since),
            None => {}
        }
        let (time, waits) = (Instant::now(), self.waits(host));
        open.insert(host.clone(), (phase, Since { time, waits }));
        if self.course.is_told() {
            let (host, undoing) = (host.clone(), self.course == Course::Back);
            self.progress.tell(Event::Began {
                host,
                phase,
                undoing,
            });
        }
    }

    fn fail(&self, host: &HostName) {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(host);
    }

    fn end(self, well: bool) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for (host, (phase, since)) in open.iter() {
            if well {
                self.reached(host, *phase, *since);
            }
        }
    }

    fn reached(&self, host: &HostName, phase: Phase, since: Since) {
        if !self.course.is_told() {
            return;
        }
        let waits = self.waits(host).saturating_sub(since.waits);
        let (host, took) = (host.clone(), since.time.elapsed());
        let undoing = self.course == Course::Back;
        self.progress.tell(Event::Reached {
            host,
            phase,
            undoing,
            took,
            waits,
        });
    }

    fn waits(&self, host: &HostName) -> u64 {
        let host = self.fleet.host(host);
        host.map_or(0, |host| host.ssh.statistics().waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::Millis;

    fn op(host: &str, verb: Verb) -> Op {
        Op::new(&host.into(), verb)
    }

    fn file(host: &str) -> Op {
        let path = "a".to_owned();
        op(host, Verb::RemoveFile { path })
    }

    fn stop(host: &str) -> Op {
        let container = crate::release::Target {
            name: "a".into(),
            id: None,
        };
        let (wait, timeout) = (Millis(0), Millis(0));
        op(
            host,
            Verb::Stop {
                container,
                wait,
                timeout,
            },
        )
    }

    fn network(host: &str) -> Op {
        let name = "a".to_owned();
        op(host, Verb::CreateNetwork { name })
    }

    #[test]
    fn stages_of_one_host_are_joined_and_those_of_several_wait_for_each_other() {
        let stage = |ops: &[Op]| Stage {
            phase: Phase::Opened,
            ops: ops.to_vec(),
        };
        let joined = joined(&[
            stage(&[file("a")]),
            stage(&[stop("a"), file("a")]),
            stage(&[file("a"), file("b")]),
            stage(&[file("b")]),
            stage(&[file("b")]),
            stage(&[file("a")]),
        ]);
        let sizes: Vec<_> = joined.iter().map(Vec::len).collect();
        assert_eq!(sizes, [3, 2, 2, 1]);
    }

    #[test]
    fn what_can_go_together_is_one_segment() {
        let pull = op(
            "a",
            Verb::Pull {
                image: crate::release::ImageRef::parse("a").unwrap(),
            },
        );
        for (ops, length) in [
            (vec![], 0),
            (vec![file("a"), file("a"), stop("a")], 2),
            (vec![stop("a"), stop("a"), file("a")], 2),
            (vec![network("a"), pull.clone(), stop("a")], 2),
            (vec![stop("a"), network("a")], 1),
        ] {
            let step = |op: Op| (Phase::Opened, Step { op, journal: None });
            let steps: Vec<_> = ops.into_iter().map(step).collect();
            assert_eq!(segment_length(&steps), length, "{steps:?}");
        }
    }
}
