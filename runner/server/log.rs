//! What jobs print: a range of it, all of it as text, and what is printed now, as it comes.
//!
//! # How it works
//! Everything is read from the spool, which holds masked text only. A reader keeps a place in it
//! ([`Place`]) and no text; what many readers of a job are sent is made once and shared.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::Serialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Site;
use super::problem::Problem;
use crate::run::{Attempt, Conclusion, Fence, JobKey, RunEvent, RunId, Status, Stream};
use crate::scheduler::{JobOutcome, LedgerError, Spool, SpoolLine};
use crate::store::{ClaimedJob, JobRow};

/// About how many bytes of a spool are read at once.
const CHUNK: u64 = 64 * 1024;

/// The most that a request can ask for at once.
pub(super) const MOST: u64 = 4 * 1024 * 1024;

/// How many chunks are kept for the next reader.
const KEPT: usize = 32;

/// How many live logs are read at once.
pub(super) const READERS: usize = 1_000;

/// How often a log is looked at that goes on.
const LOOK: Duration = Duration::from_millis(100);

/// How often the store is asked about a job whose log is silent.
const ASK: Duration = Duration::from_secs(1);

/// How often a silent reader is told that we are there.
const ALIVE: Duration = Duration::from_secs(15);

/// A place in what a job printed: whose spool, and the bytes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    fence: Fence,
    offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.fence.0, self.offset)
    }
}

impl FromStr for Place {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let read = || {
            let (fence, offset) = text.split_once('-')?;
            Some(Self {
                fence: Fence(fence.parse().ok()?),
                offset: offset.parse().ok()?,
            })
        };
        read().ok_or_else(|| {
            Problem::bad("a place in a log is what the answer before gave as `next` or `id`")
        })
    }
}

/// A line of a log.
#[derive(Debug, Serialize)]
pub(super) struct LogLine {
    /// The step's number; 0 for the job's own words.
    step: u32,
    /// `step`, `output`, `notice`, `warning`, `error` or `deploy`.
    kind: &'static str,
    text: String,
}

impl LogLine {
    /// Returns the line as it stands in a text.
    pub(super) fn plain(&self) -> String {
        match self.kind {
            "step" => format!("▸ {}", self.text),
            "output" | "deploy" => format!("  {}", self.text),
            level => format!("  {level}: {}", self.text),
        }
    }
}

/// A part of a log.
#[derive(Debug)]
struct Chunk {
    lines: Vec<LogLine>,
    next: u64,
    /// How the job ended, if this is the last part.
    end: Option<Conclusion>,
}

/// Parts of logs as they are sent, each by its spool and where it begins, kept for the next reader.
type SentChunks = VecDeque<((PathBuf, u64), Arc<SentChunk>)>;

/// A part of a log as it is sent.
#[derive(Debug)]
struct SentChunk {
    bytes: Bytes,
    next: u64,
    end: Option<Conclusion>,
}

/// A job whose log is read.
#[derive(Debug, Clone)]
pub(super) struct LogOf {
    pub(super) run: RunId,
    pub(super) attempt: Attempt,
    pub(super) job: JobKey,
}

impl LogOf {
    async fn row(&self, site: &Site) -> Result<JobRow, Problem> {
        let (_, jobs) = site.ledger.run(&self.run, Some(self.attempt)).await?;
        let row = jobs.into_iter().find(|job| job.job == self.job);
        let row = row.ok_or_else(|| {
            Problem::absent(format!("run {} has no job {}", self.run, self.job.0))
        })?;
        match self.elsewhere(site, &row) {
            // An empty log would say that it printed nothing.
            Some(machine) => Err(Problem::absent(format!(
                "nothing of this log is on this machine: the job ran on the machine `{machine}`"
            ))),
            None => Ok(row),
        }
    }

    /// Returns the machine that has the log, if that is another one.
    fn elsewhere<'r>(&self, site: &Site, row: &'r JobRow) -> Option<&'r str> {
        // A machine makes the folder before it says that a job begins.
        let has_run = row.conclusion.is_some() || row.began_at.is_some();
        let is_here = self.spool(site, row.fence).folder().exists();
        let machine = row.machine.as_deref().unwrap_or("?");
        (has_run && row.fence.0 > 0 && !row.is_kept && !is_here).then_some(machine)
    }

    fn spool(&self, site: &Site, fence: Fence) -> Spool {
        let claimed = ClaimedJob {
            run: self.run.clone(),
            attempt: self.attempt,
            job: self.job,
            fence,
        };
        Spool::new(&site.spools, &claimed)
    }
}

/// Adds what an event says to the lines of a log.
fn add_lines(lines: &mut Vec<LogLine>, event: RunEvent) {
    match event {
        RunEvent::StepStarted { step, name, .. } => lines.push(LogLine {
            step,
            kind: "step",
            text: name.as_str().to_owned(),
        }),
        RunEvent::Output {
            step, stream, text, ..
        } if stream != Stream::Debug => {
            lines.extend(text.as_str().lines().map(|line| LogLine {
                step,
                kind: "output",
                text: line.to_owned(),
            }));
        }
        RunEvent::Annotation {
            step, annotation, ..
        } => lines.push(LogLine {
            step,
            kind: annotation.level.as_str(),
            text: annotation.message.as_str().to_owned(),
        }),
        RunEvent::Deployment { progress, .. } => {
            let host = progress
                .host
                .map_or(String::new(), |host| format!("{host}: "));
            lines.push(LogLine {
                step: 0,
                kind: "deploy",
                text: format!("{} {host}{}", progress.phase, progress.text),
            });
        }
        _ => {}
    }
}

fn read(spool: &Spool, offset: u64, most: u64) -> io::Result<Chunk> {
    let (events, next) = spool.read_some(offset, most)?;
    let mut chunk = Chunk {
        lines: Vec::new(),
        next,
        end: None,
    };
    for event in events {
        match event {
            SpoolLine::Event(envelope) => add_lines(&mut chunk.lines, envelope.event),
            SpoolLine::End(end) => chunk.end = Some(JobOutcome::from(end).conclusion),
        }
    }
    Ok(chunk)
}

/// Reads a part of a spool where it holds up nobody else.
async fn read_aside(spool: Spool, offset: u64, most: u64) -> Result<Chunk, Problem> {
    let read = tokio::task::spawn_blocking(move || read(&spool, offset, most)).await;
    let failed = |why: String| {
        tracing::error!(error = why, "a log could not be read");
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the log could not be read; try again later",
        )
    };
    read.map_err(|error| failed(error.to_string()))?
        .map_err(|error| failed(error.to_string()))
}

/// Returns the last lines of a job's log with the place behind them, for a page.
///
/// Reads [`MOST`] bytes at most; what stands before is told of in a line.
pub(super) fn tail(site: &Site, job: &JobRow, most: usize) -> (Vec<String>, Place) {
    let of = LogOf {
        run: job.run.clone(),
        attempt: job.attempt,
        job: job.job,
    };
    if let Some(machine) = of.elsewhere(site, job) {
        let place = Place {
            fence: job.fence,
            offset: 0,
        };
        let line = format!("(what it printed is on the machine `{machine}`: ask there)");
        return (vec![line], place);
    }
    let spool = of.spool(site, job.fence);
    let begin = spool.length().saturating_sub(MOST);
    let mut at = Place {
        fence: job.fence,
        offset: begin,
    };
    let Ok(chunk) = read(&spool, begin, u64::MAX) else {
        return (Vec::new(), at);
    };
    at.offset = chunk.next;
    let surplus = chunk.lines.len().saturating_sub(most);
    let mut lines: Vec<String> = Vec::with_capacity(chunk.lines.len() - surplus + 1);
    if begin > 0 || surplus > 0 {
        lines.push("(earlier lines are not shown)".to_owned());
    }
    lines.extend(chunk.lines.iter().skip(surplus).map(LogLine::plain));
    (lines, at)
}

/// Answers with a part of a job's log as JSON.
pub(super) async fn range(
    site: &Site,
    of: &LogOf,
    after: Option<Place>,
    most: u64,
) -> Result<Response, Problem> {
    let row = of.row(site).await?;
    let place = placed(site, of, row.fence, after)?;
    let chunk = read_aside(
        of.spool(site, place.fence),
        place.offset,
        most.clamp(1, MOST),
    )
    .await?;
    let next = Place {
        offset: chunk.next,
        ..place
    };
    let is_last = chunk.next >= of.spool(site, place.fence).length();
    let body = json!({
        "lines": chunk.lines, "next": next.to_string(),
        "is_complete": is_last && row.status == Status::Completed,
    });
    Ok(axum::Json(body).into_response())
}

/// Returns where to read on: from the beginning where the job has another owner by now.
fn placed(site: &Site, of: &LogOf, fence: Fence, after: Option<Place>) -> Result<Place, Problem> {
    let place = after
        .filter(|place| place.fence == fence)
        .unwrap_or(Place { fence, offset: 0 });
    if place.offset > of.spool(site, fence).length() {
        return Err(Problem::bad("the place is behind the end of the log"));
    }
    Ok(place)
}

/// Answers with all that a job printed so far, as text.
pub(super) async fn text(site: &Arc<Site>, of: &LogOf) -> Result<Response, Problem> {
    let row = of.row(site).await?;
    let spool = of.spool(site, row.fence);
    let until = spool.length();
    let parts = stream::unfold(0, move |at: u64| {
        let spool = spool.clone();
        async move {
            if at >= until {
                return None;
            }
            match read_aside(spool, at, CHUNK).await {
                Ok(chunk) if chunk.next > at => {
                    let text: String = chunk.lines.iter().map(|line| line.plain() + "\n").collect();
                    Some((Ok(text), chunk.next))
                }
                // The last line is being written.
                Ok(_) => None,
                Err(_) => Some((Err(io::Error::other("the log could not be read")), until)),
            }
        }
    });
    let mut answer = Body::from_stream(parts).into_response();
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    Ok(answer)
}

/// A reader of a live log.
struct Reader {
    site: Arc<Site>,
    of: LogOf,
    row: JobRow,
    place: Place,
    asked: Instant,
    told: Instant,
    is_over: bool,
    _permit: OwnedSemaphorePermit,
}

/// Answers with what a job prints, from a place on, as it comes: server-sent events, whose ids are
/// places.
///
/// Ends with an event `end` once the job did.
pub(super) async fn live(
    site: &Arc<Site>,
    of: LogOf,
    after: Option<Place>,
) -> Result<Response, Problem> {
    let permit = Arc::clone(&site.live.readers)
        .try_acquire_owned()
        .map_err(|_| {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{READERS} live logs are read already; try again later"),
            )
        })?;
    let row = of.row(site).await?;
    let place = placed(site, &of, row.fence, after)?;
    let reader = Reader {
        site: Arc::clone(site),
        of,
        row,
        place,
        asked: Instant::now(),
        told: Instant::now(),
        is_over: false,
        _permit: permit,
    };
    let events = stream::unfold(reader, |mut reader| async move {
        let bytes = reader.next().await?;
        Some((Ok::<_, Infallible>(bytes), reader))
    });
    let mut answer = Body::from_stream(events).into_response();
    let headers: &mut HeaderMap = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Asks proxies not to keep it back.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(answer)
}

impl Reader {
    /// Returns what is sent next; nothing where the log or the server ended.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.is_over {
                return None;
            }
            match self.site.live.chunk(&self.site, &self.of, self.place).await {
                Ok(Some(chunk)) => {
                    self.place.offset = chunk.next;
                    self.told = Instant::now();
                    if let Some(conclusion) = chunk.end {
                        self.is_over = true;
                        return Some([&chunk.bytes[..], &ended(conclusion)].concat().into());
                    }
                    if !chunk.bytes.is_empty() {
                        return Some(chunk.bytes.clone());
                    }
                    continue;
                }
                Ok(None) => {}
                // The reader comes again by itself, to where it was.
                Err(_) => return None,
            }
            if let Some(conclusion) = self.row.conclusion {
                self.is_over = true;
                return Some(ended(conclusion).into());
            }
            if self.told.elapsed() >= ALIVE {
                self.told = Instant::now();
                return Some(Bytes::from_static(b": still here\n\n"));
            }
            tokio::select! {
                () = self.site.live.stop.cancelled() => return None,
                () = tokio::time::sleep(LOOK) => {}
            }
            if self.asked.elapsed() >= ASK {
                self.ask().await?;
            }
        }
    }

    /// Asks where the job stands: whether it has an owner by now, and whether it ended.
    async fn ask(&mut self) -> Option<()> {
        self.asked = Instant::now();
        self.row = self.of.row(&self.site).await.ok()?;
        if self.row.fence != self.place.fence {
            self.place = Place {
                fence: self.row.fence,
                offset: 0,
            };
        }
        Some(())
    }
}

fn ended(conclusion: Conclusion) -> Vec<u8> {
    let body = json!({ "conclusion": conclusion });
    format!("event: end\ndata: {body}\n\n").into_bytes()
}

/// What all readers of live logs share.
#[derive(Debug)]
pub struct Live {
    chunks: Mutex<SentChunks>,
    readers: Arc<tokio::sync::Semaphore>,
    /// Ends all of them: a server that stops waits for no reader.
    stop: tokio_util::sync::CancellationToken,
}

impl Live {
    /// Returns what readers share, until `stop`.
    pub fn new(stop: tokio_util::sync::CancellationToken) -> Self {
        Self {
            chunks: Mutex::default(),
            readers: Arc::new(tokio::sync::Semaphore::new(READERS)),
            stop,
        }
    }

    /// Returns when the server stops.
    pub(super) fn stop(&self) -> &tokio_util::sync::CancellationToken {
        &self.stop
    }

    /// Returns the part of a log at a place; none where nothing stands there yet.
    async fn chunk(
        &self,
        site: &Site,
        of: &LogOf,
        place: Place,
    ) -> Result<Option<Arc<SentChunk>>, Problem> {
        let spool = of.spool(site, place.fence);
        if spool.length() <= place.offset {
            return Ok(None);
        }
        let key = (spool.folder().to_owned(), place.offset);
        let known = {
            let kept = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
            kept.iter()
                .find(|(known, _)| *known == key)
                .map(|(_, chunk)| Arc::clone(chunk))
        };
        if known.is_some() {
            return Ok(known);
        }
        let chunk = read_aside(spool, place.offset, CHUNK).await?;
        if chunk.next == place.offset {
            return Ok(None);
        }
        let next = Place {
            offset: chunk.next,
            ..place
        };
        let bytes = if chunk.lines.is_empty() {
            Bytes::new()
        } else {
            let body = json!({ "lines": chunk.lines });
            Bytes::from(format!("id: {next}\nevent: log\ndata: {body}\n\n"))
        };
        let sent = Arc::new(SentChunk {
            bytes,
            next: chunk.next,
            end: chunk.end,
        });
        let mut kept = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((key, Arc::clone(&sent)));
        while kept.len() > KEPT {
            kept.pop_front();
        }
        Ok(Some(sent))
    }
}

/// Returns which attempt is meant: the newest where none is named.
pub(super) async fn log_of(
    site: &Site,
    run: &str,
    job: &str,
    attempt: Option<u32>,
) -> Result<LogOf, Problem> {
    let run = RunId(run.to_owned());
    let job: u32 = job
        .parse()
        .map_err(|_| Problem::absent(format!("run {run} has no job `{job}`; jobs have numbers")))?;
    let (row, _) = match site.ledger.run(&run, None).await {
        Err(error @ LedgerError::NoRun(_)) => return Err(error.into()),
        found => found?,
    };
    Ok(LogOf {
        run: row.id,
        attempt: attempt.map_or(row.attempt, Attempt),
        job: JobKey(job),
    })
}
