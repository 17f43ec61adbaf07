//! `--report otlp`: a collector of OpenTelemetry is told of a run that is started by hand.

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::error::{CliError, ErrorKind};
use super::{settings, write_note};
use crate::git::WorkingTree;
use crate::mask::Masker;
use crate::plan::WorkflowFile;
use crate::report::{Reporter, TracedRun, Traces};
use crate::scheduler::now;
use crate::telemetry::{
    Attribute, CollectorError, CollectorWishes, Exporter, Resource, Sending, TraceId,
};

/// How long the end of a run waits for the collector: a little longer than it waits itself.
const PATIENCE: Duration = Duration::from_secs(6);

/// Tells a collector of a run while it goes on.
pub(super) struct Tracing(Option<Begun>);

struct Begun {
    run: TracedRun,
    exporter: Exporter,
    stop: CancellationToken,
    sending: JoinHandle<()>,
}

impl Tracing {
    /// Begins to tell of a run.
    ///
    /// Errors where the variables of OpenTelemetry name no collector that could ever be told; nothing
    /// is told where they turn traces off. That the collector is away is no error, and is said at the
    /// end.
    pub(super) fn begin(
        runtime: &Runtime,
        file: &WorkflowFile,
        tree: &WorkingTree,
        masker: &Masker,
    ) -> Result<Self, CliError> {
        let wrong = |error: CollectorError| {
            let message = format!("no collector can be told of the run: {error}");
            CliError::new(ErrorKind::Usage, message).with_hint(
                "set OTEL_EXPORTER_OTLP_ENDPOINT to its address, as http://localhost:4318",
            )
        };
        let collector = CollectorWishes::default().collector(settings::variable);
        let Some(collector) = collector.map_err(wrong)? else {
            return Ok(Self(None));
        };
        let (exporter, sending) = Sending::new(collector).map_err(wrong)?;
        let id = uuid::Uuid::now_v7().to_string();
        let stop = CancellationToken::new();
        Ok(Self(Some(Begun {
            run: TracedRun {
                trace: TraceId::of(&[&id]),
                resource: resource(&id, file, tree, masker),
                id: masker.mask(&id),
            },
            exporter,
            sending: runtime.spawn(sending.run(stop.clone())),
            stop,
        })))
    }

    /// Returns who takes what happens in the run, if anybody is told of it.
    pub(super) fn reporter(&self) -> Option<Box<dyn Reporter>> {
        let begun = self.0.as_ref()?;
        let traces = Traces::new(begun.run.clone(), begun.exporter.clone(), now);
        Some(Box::new(traces))
    }

    /// Waits until the collector has everything, and says where it has not.
    pub(super) fn end(self, runtime: &Runtime) {
        let Some(begun) = self.0 else { return };
        begun.stop.cancel();
        let sent = async { tokio::time::timeout(PATIENCE, begun.sending).await };
        let is_over = runtime.block_on(sent).is_ok_and(|sent| sent.is_ok());
        let dropped = begun.exporter.counts().dropped;
        if !is_over || dropped > 0 {
            write_note(&format!(
                "warning: the collector of traces has not taken {dropped} spans of the run"
            ));
        }
    }
}

fn resource(id: &str, file: &WorkflowFile, tree: &WorkingTree, masker: &Masker) -> Resource {
    let text = |name, text: &str| Attribute::Text(name, masker.mask(text));
    let workflow = file.workflow.name.as_ref();
    let workflow = workflow.map_or(file.path.as_str(), |name| name.value.as_str());
    let mut known = vec![
        text("cicd.pipeline.name", workflow),
        text("cicd.pipeline.run.id", id),
    ];
    let commit = tree.commit.as_deref();
    known.extend(commit.map(|sha| text("vcs.ref.head.revision", sha)));
    if let Some((owner, name)) = tree
        .repository
        .as_deref()
        .and_then(|name| name.split_once('/'))
    {
        known.push(text("vcs.owner.name", owner));
        known.push(text("vcs.repository.name", name));
    }
    Resource(known)
}
