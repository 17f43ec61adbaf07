//! What a build says of itself, as lines.

use std::collections::{BTreeMap, BTreeSet};

use bollard::{
    grpc::build::moby::buildkit::v1::StatusResponse,
    models::{BuildInfo, BuildInfoAux},
};
use serde_json::Value;

/// How a build ended badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BrokenStep {
    /// The instruction, where the builder told it.
    pub(super) step: Option<String>,
    pub(super) message: String,
}

/// Follows the messages of either builder.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) image: Option<String>,
    rest: Vec<u8>,
    announced: BTreeSet<String>,
    finished: BTreeSet<String>,
    partial: BTreeMap<String, Vec<u8>>,
    classic: Vec<u8>,
    step: Option<String>,
}

impl Progress {
    /// Takes bytes of the answer, which is one JSON object after another, each on a line.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        on_line: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<(), BrokenStep> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.message(&line, on_line)?;
        }
        Ok(())
    }

    /// Says what is left when the answer has ended.
    pub(super) fn finish(
        &mut self,
        on_line: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<(), BrokenStep> {
        let line = std::mem::take(&mut self.rest);
        let outcome = self.message(&line, on_line);
        for rest in self
            .partial
            .values()
            .chain([&self.classic])
            .filter(|rest| !rest.is_empty())
        {
            on_line(rest);
        }
        outcome
    }

    fn message(
        &mut self,
        line: &[u8],
        on_line: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<(), BrokenStep> {
        let Ok(message) = serde_json::from_slice::<Value>(line) else {
            return Ok(());
        };
        let text = |key: &str| message.get(key).and_then(Value::as_str);
        match text("id") {
            Some("moby.buildkit.trace") => {
                if let Ok(BuildInfo {
                    aux: Some(BuildInfoAux::BuildKit(status)),
                    ..
                }) = serde_json::from_slice(line)
                {
                    self.status(&status, on_line);
                }
            }
            _ => {
                if let Some(id) = message.pointer("/aux/ID").and_then(Value::as_str) {
                    self.image = Some(id.to_owned());
                }
            }
        }
        if let Some(stream) = text("stream") {
            self.classic_output(stream, on_line);
        }
        let error = message
            .pointer("/errorDetail/message")
            .and_then(Value::as_str);
        match error.or_else(|| text("error")) {
            None => Ok(()),
            Some(error) => Err(BrokenStep {
                step: self.step.clone(),
                message: error.to_owned(),
            }),
        }
    }

    fn classic_output(&mut self, text: &str, on_line: &mut (dyn FnMut(&[u8]) + Send)) {
        // `Step 2/5 : RUN make`
        if let Some((_, step)) = text
            .trim()
            .split_once(" : ")
            .filter(|_| text.starts_with("Step "))
        {
            self.step = Some(step.to_owned());
        }
        lines(&mut self.classic, text.as_bytes(), on_line);
    }

    fn status(&mut self, status: &StatusResponse, on_line: &mut (dyn FnMut(&[u8]) + Send)) {
        for vertex in &status.vertexes {
            let begins = vertex.started.is_some() || vertex.cached;
            if begins && self.announced.insert(vertex.digest.clone()) {
                on_line(vertex.name.as_bytes());
            }
            if vertex.cached && self.finished.insert(vertex.digest.clone()) {
                on_line(format!("CACHED {}", vertex.name).as_bytes());
            }
            let cancelled = vertex.error.contains("context canceled");
            if !vertex.error.is_empty() && (self.step.is_none() || !cancelled) {
                self.step = Some(instruction(&vertex.name).to_owned());
            }
        }
        for log in &status.logs {
            let partial = self.partial.entry(log.vertex.clone()).or_default();
            lines(partial, &log.msg, on_line);
        }
    }
}

/// Says whole lines and keeps the rest.
fn lines(partial: &mut Vec<u8>, bytes: &[u8], on_line: &mut (dyn FnMut(&[u8]) + Send)) {
    partial.extend_from_slice(bytes);
    while let Some(end) = partial.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = partial.drain(..=end).collect();
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        on_line(line.strip_suffix(b"\r").unwrap_or(line));
    }
}

/// `[stage 2/3] RUN make` without its place.
fn instruction(name: &str) -> &str {
    let place = name
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "));
    place.map_or(name, |(_, instruction)| instruction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classic_builder_is_followed_over_split_messages() {
        let mut progress = Progress::default();
        let mut said = Vec::new();
        let mut on_line = |line: &[u8]| said.push(String::from_utf8_lossy(line).into_owned());
        let answer = concat!(
            "{\"stream\":\"Step 1/2 : FROM scratch\\n\"}\r\n",
            "{\"stream\":\"a\"}\n{\"stream\":\"b\\nc\"}\n",
            "{\"aux\":{\"ID\":\"sha256:1\"}}\n",
            "{\"stream\":\"Step 2/2 : RUN false\\n\"}\n",
        );
        for byte in answer.as_bytes() {
            progress.take(&[*byte], &mut on_line).unwrap();
        }
        let error = b"{\"errorDetail\":{\"message\":\"code 1\"},\"error\":\"code 1\"}\n";
        let broken = progress.take(error, &mut on_line).unwrap_err();
        assert_eq!(broken.step.as_deref(), Some("RUN false"));
        assert_eq!(broken.message, "code 1");
        assert_eq!(
            said,
            ["Step 1/2 : FROM scratch", "ab", "cStep 2/2 : RUN false"]
        );
        assert_eq!(progress.image.as_deref(), Some("sha256:1"));
    }

    #[test]
    fn instructions_lose_their_place() {
        assert_eq!(instruction("[build 2/3] RUN make"), "RUN make");
        assert_eq!(instruction("exporting to image"), "exporting to image");
    }
}
