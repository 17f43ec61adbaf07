//! `[telemetry]` of `runner.toml`: the collector that is told of runs.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::error::{CliError, ErrorKind};
use super::super::settings;
use super::Repositories;
use super::config::{ServeConfig, Value, Values};
use crate::scheduler::{Ledger, Tracer};
use crate::telemetry::{Collector, CollectorError, CollectorWishes, Exporter, Sending};

/// The table as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WrittenTelemetry {
    endpoint: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Value>,
    service_name: Option<String>,
}

impl WrittenTelemetry {
    /// Returns the collector; none where it is turned off, or the values of secrets are left alone.
    pub(super) fn read(
        &self,
        folder: &Path,
        values: Values,
    ) -> Result<Option<Collector>, CliError> {
        if values == Values::Left {
            return Ok(None);
        }
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            let text = value.read(&format!("`telemetry.headers.{name}`"), folder)?;
            headers.push((name.clone(), text));
        }
        let wishes = CollectorWishes {
            endpoint: self.endpoint.clone(),
            headers,
            service_name: self.service_name.clone(),
        };
        wishes.collector(settings::variable).map_err(|error| {
            unusable(&error).with_hint("write `endpoint`, or set OTEL_EXPORTER_OTLP_ENDPOINT")
        })
    }
}

/// Says that a collector cannot be told anything.
fn unusable(error: &CollectorError) -> CliError {
    let message = format!("`telemetry`: the collector of traces cannot be used: {error}");
    CliError::new(ErrorKind::Invalid, message)
}

/// Begins to tell the collector of what ends, where there is one; returns the ledger that says it, and
/// who counts.
pub(super) fn trace(
    tasks: &mut JoinSet<()>,
    (config, machine): (&ServeConfig, &str),
    (ledger, repositories): (Ledger, &Repositories),
    stop: &CancellationToken,
) -> Result<(Ledger, Option<Exporter>), CliError> {
    let Some(collector) = &config.collector else {
        return Ok((ledger, None));
    };
    let (exporter, sending) = Sending::new(collector.clone()).map_err(|error| unusable(&error))?;
    let (tracer, hints) = Tracer::new(
        exporter.clone(),
        (config.data.join("spool"), machine.to_owned()),
        config.subscriptions.public_url.clone(),
        repositories.clone(),
    );
    let ledger = ledger.tracing(hints);
    // What is sent last are the spans that are made last.
    let (made, tracing, stop) = (CancellationToken::new(), ledger.clone(), stop.clone());
    tasks.spawn(sending.run(made.clone()));
    tasks.spawn(async move {
        let _made = made.drop_guard();
        tracer.run(tracing, stop).await;
    });
    Ok((ledger, Some(exporter)))
}
