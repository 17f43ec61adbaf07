//! What a transaction would do, without a change to anything.

use std::sync::Arc;

use super::{
    error::{OpError, OpenError},
    opening::{Begin, Opener, look, pin, validate},
    progress::Silent,
    settings::Settings,
};
use crate::release::{Kind, Phase, Spec, Stage, forward, plan};

/// What would be done.
#[derive(Debug, Clone)]
pub struct Preview {
    /// The operations.
    pub stages: Vec<Stage>,
    /// What stands in the way or would be done first.
    pub notices: Vec<String>,
}

/// Plans a transaction from what is seen now; writes nothing anywhere.
///
/// # Errors
/// As [`super::open`], but for a lock: that is a notice.
pub async fn preview(
    mut spec: Spec,
    kind: Kind,
    settings: &Arc<Settings>,
) -> Result<Preview, OpenError> {
    validate(&spec, settings)?;
    let look = look(&spec, settings).await;
    if let Some((host, error)) = look.away.first() {
        return Err(OpenError::Unreachable {
            host: host.clone(),
            source: Box::new(OpError::NotReady(error.chain())),
        });
    }
    if let Some(host) = look.fleet.host(&spec.primary) {
        pin(&mut spec, host, settings).await?;
    }
    let mut notices = Vec::new();
    if let Some(left) = look.observed.open_transaction(&spec.primary) {
        let (id, version, phase) = (&left.id, &left.spec.version, left.phase);
        let word = if left.is_committed() {
            "finished"
        } else {
            "undone"
        };
        let who = &left.holder.who;
        notices.push(format!(
            "transaction {id} (release `{version}`, by {who}) is open at phase {phase}; unless its holder lives it would be {word} first"
        ));
    }
    let mut opener = Opener::new(
        spec,
        Begin::new(kind),
        settings.clone(),
        Arc::new(Silent),
        look,
    )?;
    if let Err(error) = opener.judge_locks() {
        notices.push(error.to_string());
    }
    let opening = opener.opening();
    let journal = plan(
        opener.spec.clone(),
        &opener.look.observed,
        opener.locks.clone(),
        opening,
    )?;
    if journal.migrates {
        notices.push(
            "a migration is never undone: the old release must run on the new schema".to_owned(),
        );
    }
    let stages = forward(&journal, &opener.look.observed, Phase::Finished)?;
    Ok(Preview { stages, notices })
}
