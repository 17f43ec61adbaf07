//! Whether a container is fit for its duty, and stays so.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    apply::Act, error::OpError, host::Host, http, probe, proxy::Requests, settings::Settings,
};
use crate::{
    docker::{Found, Health},
    release::{Answer, Check, ContainerId, ContainerName, GateSettings, Millis, ProxyWish, Target},
};

/// How often a container is asked before it has answered anything.
const EAGER: Duration = Duration::from_millis(20);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a container may take to accept a connection.
const CONNECTED: Duration = Duration::from_secs(2);
/// How often a container's state is looked at while it is asked.
const STATE: Duration = Duration::from_millis(500);
/// How often a container's state is looked at where that is all that counts.
const SLOW: Duration = Duration::from_millis(250);

/// Fewer requests than this say nothing about their share of errors.
const FEW: u64 = 20;
/// The share of 5xx, in hundredths, above which a new release is not kept.
const ERRORS: u64 = 5;

/// What a gate saw last.
#[derive(Debug, Default)]
struct Seen {
    answer: Option<String>,
    state: Option<Found>,
}

impl Seen {
    async fn report(&self, host: &Host, id: &ContainerId, settings: &Settings) -> String {
        let answer = self.answer.as_deref().unwrap_or("it was never asked");
        let mut text = settings.masker.mask(answer).as_str().to_owned();
        if let Ok(Some(found)) = host.engine.container(id.as_str()).await {
            text.push_str(&state_words(&found));
        }
        text.push_str(&host.last_lines(id, settings).await);
        text
    }
}

fn state_words(found: &Found) -> String {
    let mut text = if found.is_running() {
        "; it runs".to_owned()
    } else {
        "; it does not run".to_owned()
    };
    if let Some(code) = found.exit_code {
        text = format!("{text}, its last exit code was {code}");
    }
    if found.oom_killed {
        text.push_str(" (out of memory)");
    }
    if found.restart_count > 0 {
        text = format!("{text}, it was restarted {} times", found.restart_count);
    }
    if !found.error.is_empty() {
        text = format!("{text}, Docker says: {}", found.error);
    }
    text
}

impl Host {
    /// Waits until a new container passes its gate.
    pub(super) async fn gate(
        &self,
        id: &ContainerId,
        name: &ContainerName,
        check: &Check,
        settings: &Settings,
    ) -> Result<(), OpError> {
        let (gate, mut seen) = (
            match check {
                Check::Http { settings, .. } | Check::Docker { settings } => *settings,
            },
            Seen::default(),
        );
        let limit = gate.limit.to_duration();
        let passed = async {
            match check {
                Check::Http { port, path, .. } => {
                    self.gate_http(id, (*port, path), gate, &mut seen).await
                }
                Check::Docker { .. } => self.gate_docker(id, gate, &mut seen).await,
            }
        };
        match tokio::time::timeout(limit, passed).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Err(error)) => Err(error),
            Ok(Ok(false)) | Err(_) => {
                let report = seen.report(self, id, settings).await;
                Err(OpError::Gate {
                    container: name.clone(),
                    limit,
                    report,
                })
            }
        }
    }

    /// Asks until there were enough good answers in a row; `false` where no more can come.
    async fn gate_http(
        &self,
        id: &ContainerId,
        (port, path): (u16, &str),
        gate: GateSettings,
        seen: &mut Seen,
    ) -> Result<bool, OpError> {
        let (mut in_a_row, mut answered) = (0, false);
        let mut looked: Option<Instant> = None;
        loop {
            let stale = looked.is_none_or(|at| at.elapsed() >= STATE);
            let known = seen.state.as_ref().and_then(address).filter(|_| !stale);
            let address = match known {
                Some(known) => known,
                None => {
                    let found = self.engine.container(id.as_str()).await?;
                    looked = Some(Instant::now());
                    let gone = found.as_ref().is_none_or(has_ended);
                    seen.state = found;
                    if gone {
                        if seen.answer.is_none() {
                            seen.answer = Some("it ended".to_owned());
                        }
                        return Ok(false);
                    }
                    match seen.state.as_ref().and_then(address) {
                        Some(known) => known,
                        None => {
                            sleep(EAGER).await;
                            continue;
                        }
                    }
                }
            };
            match self.ask(&address, id, port, path).await {
                Ok(answer) => {
                    answered = true;
                    in_a_row = if answer.is_success() { in_a_row + 1 } else { 0 };
                    let line = answer.first_line();
                    seen.answer = Some(format!("`{path}` answered {} `{line}`", answer.status));
                }
                Err(reason) => {
                    in_a_row = 0;
                    seen.answer = Some(format!("`{path}` on port {port}: {reason}"));
                }
            }
            if in_a_row >= gate.successes {
                return Ok(true);
            }
            sleep(if answered {
                gate.interval.to_duration()
            } else {
                EAGER
            })
            .await;
        }
    }

    async fn ask(
        &self,
        address: &str,
        id: &ContainerId,
        port: u16,
        path: &str,
    ) -> Result<http::Answer, String> {
        let connected = self.connect_container(address, port, CONNECTED).await;
        let stream = connected.map_err(|error| error.chain())?;
        let wanted = http::Get {
            host: id.short(),
            path,
            headers: &[],
            limit: ANSWER,
        };
        http::get(stream, wanted)
            .await
            .map_err(|error| super::error::chain(&error))
    }

    /// Docker's health where there is a check, else that it runs on without a restart.
    async fn gate_docker(
        &self,
        id: &ContainerId,
        gate: GateSettings,
        seen: &mut Seen,
    ) -> Result<bool, OpError> {
        let mut since: Option<(Instant, u64)> = None;
        loop {
            let Some(found) = self.engine.container(id.as_str()).await? else {
                seen.answer = Some("it is gone".to_owned());
                return Ok(false);
            };
            match found.health {
                Some(Health::Healthy) => return Ok(true),
                Some(Health::Unhealthy) => {
                    seen.answer = Some(format!(
                        "its health check failed: {}",
                        found.health_output.trim()
                    ));
                    return Ok(false);
                }
                Some(Health::Starting) => {
                    seen.answer = Some("its health check has not succeeded yet".to_owned());
                }
                None if has_ended(&found) => {
                    seen.answer = Some("it ended".to_owned());
                    return Ok(false);
                }
                None if found.is_running() => {
                    let (start, restarts) =
                        *since.get_or_insert((Instant::now(), found.restart_count));
                    if restarts != found.restart_count {
                        since = None;
                    } else if start.elapsed() >= gate.readiness_delay.to_duration() {
                        return Ok(true);
                    }
                    seen.answer = Some("it did not run long enough without a restart".to_owned());
                }
                None => {
                    since = None;
                    seen.answer = Some("it does not run".to_owned());
                }
            }
            seen.state = Some(found);
            sleep(SLOW).await;
        }
    }

    /// Waits until a container answers as it did when it was found.
    pub(super) async fn await_answer(
        &self,
        id: &ContainerId,
        answer: &Answer,
    ) -> Result<(), OpError> {
        let limit = answer.limit.to_duration();
        let asked = async {
            while !probe::answers(self, id, answer).await {
                sleep(Duration::from_millis(100)).await;
            }
        };
        let what = || {
            format!(
                "an answer of container `{}` to `{}`",
                id.short(),
                answer.path
            )
        };
        tokio::time::timeout(limit, asked)
            .await
            .map_err(|_| OpError::TooLong {
                what: what(),
                limit,
            })
    }

    /// Watches containers for a while: each must run on without a restart and stay healthy.
    pub(super) async fn watch(
        &self,
        containers: &[Target],
        span: Millis,
        proxy: Option<&ProxyWish>,
        act: Act<'_>,
    ) -> Result<(), OpError> {
        let (transaction, settings) = (&act.journal.id, act.settings);
        let mut watched = Vec::new();
        for target in containers {
            let id = self.need(target, transaction).await?;
            let found = self.engine.container(id.as_str()).await?;
            let restarts = found.map_or(0, |found| found.restart_count);
            watched.push((target, id, restarts));
        }
        let end = Instant::now() + span.to_duration();
        let before = self.requests_of(proxy, transaction).await;
        loop {
            let now = self.requests_of(proxy, transaction).await;
            if let Some(text) = too_many_errors(before, now) {
                return Err(OpError::Watch(text));
            }
            for (target, id, restarts) in &watched {
                let found = self.engine.container(id.as_str()).await?;
                let found = found.ok_or_else(|| OpError::NoContainer(target.name.clone()))?;
                let trouble = if !found.is_running() {
                    Some("ended")
                } else if found.restart_count > *restarts {
                    Some("was restarted")
                } else if found.health == Some(Health::Unhealthy) {
                    Some("became unhealthy")
                } else {
                    None
                };
                if let Some(trouble) = trouble {
                    let lines = self.last_lines(id, settings).await;
                    let text = format!(
                        "container `{}` {trouble}{}{lines}",
                        target.name,
                        state_words(&found)
                    );
                    return Err(OpError::Watch(text));
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            sleep(left.min(Duration::from_secs(1))).await;
        }
    }
}

/// Says that too many of the requests since `before` were answered with 5xx, or nothing.
fn too_many_errors(before: Option<Requests>, now: Option<Requests>) -> Option<String> {
    let (before, now) = (before?, now?);
    let all = now.all.saturating_sub(before.all);
    let failed = now.failed.saturating_sub(before.failed);
    let is_bad = all >= FEW && failed.saturating_mul(100) > all.saturating_mul(ERRORS);
    is_bad.then(|| format!("{failed} of {all} requests were answered with 5xx"))
}

fn address(found: &Found) -> Option<String> {
    found
        .networks
        .values()
        .map(|joined| &joined.ip)
        .find(|ip| !ip.is_empty())
        .cloned()
}

/// Whether a container ended and will not be started again by the daemon.
fn has_ended(found: &Found) -> bool {
    use crate::docker::State;
    matches!(found.state, State::Exited | State::Dead | State::Removing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_errors_counts_only_among_enough_requests() {
        let seen = |all, failed| Some(Requests { all, failed });
        for (before, now, is_bad) in [
            (seen(0, 0), seen(19, 19), false),
            (seen(0, 0), seen(20, 2), true),
            (seen(0, 0), seen(20, 1), false),
            (seen(100, 50), seen(200, 54), false),
            (seen(100, 50), seen(200, 56), true),
            (None, seen(200, 56), false),
            (seen(100, 50), None, false),
        ] {
            let bad = too_many_errors(before, now);
            assert_eq!(bad.is_some(), is_bad, "{before:?} {now:?}");
        }
    }
}
