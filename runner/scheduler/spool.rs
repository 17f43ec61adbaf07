//! What the process of a job leaves for the server: its events, its end, and whether it lives.
//!
//! # How it works
//! A folder for each owner of a job. `events` holds a line for each event and at last one for the
//! end; the process writes, everybody reads. The process holds a lock on `life` from its start to
//! its end and writes its number into it: whoever gets the lock knows that it is gone, and what is
//! written there tells whether it ever began. A server that finds an empty `life` writes into it
//! that nobody may begin any more, so a process that comes late ends at once
//! (`docs/decisions/0009-a-lock-says-whether-a-job-lives.md`).

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::findings::Findings;
use super::ledger::JobOutcome;
use crate::mask::Masked;
use crate::report::Reporter;
use crate::run::{
    Attempt, Conclusion, DeployOutcome, Envelope, Fence, JobKey, RunEvent, RunId, Stream, Timestamp,
};
use crate::store::{ClaimedJob, crash_point};

/// What a server writes so that nobody begins any more.
const CLOSED: &str = "closed";

/// The folder of an owner of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool {
    folder: PathBuf,
}

/// Whether the process of a job lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It did not begin, and now never will.
    NeverBegan,
    /// It runs, under this number.
    Alive(u32),
    /// It began and is gone.
    Gone,
}

/// A line of the file of events.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpoolLine {
    /// Something happened.
    Event(Envelope),
    /// The job ended; nothing follows.
    End(JobEndLine),
}

/// How the job ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobEndLine {
    conclusion: Conclusion,
    reason: Option<String>,
    outputs: serde_json::Value,
    is_timed_out: bool,
    deploy: Option<DeployOutcome>,
    milliseconds: u64,
    #[serde(default)]
    findings: Findings,
}

impl From<&JobOutcome> for JobEndLine {
    fn from(outcome: &JobOutcome) -> Self {
        Self {
            conclusion: outcome.conclusion,
            reason: outcome.reason.clone(),
            outputs: outcome.outputs.clone(),
            is_timed_out: outcome.is_timed_out,
            deploy: outcome.deploy,
            milliseconds: outcome.milliseconds,
            findings: outcome.findings.clone(),
        }
    }
}

impl From<JobEndLine> for JobOutcome {
    fn from(line: JobEndLine) -> Self {
        Self {
            conclusion: line.conclusion,
            reason: line.reason,
            outputs: line.outputs,
            is_timed_out: line.is_timed_out,
            deploy: line.deploy,
            milliseconds: line.milliseconds,
            findings: line.findings,
        }
    }
}

impl Spool {
    /// Returns the spool of an owner of a job below `root`.
    pub fn new(root: &Path, claimed: &ClaimedJob) -> Self {
        let ClaimedJob {
            run,
            attempt,
            job,
            fence,
        } = claimed;
        let folder = root
            .join(&run.0)
            .join(attempt.0.to_string())
            .join(format!("{}-{}", job.0, fence.0));
        Self { folder }
    }

    /// Returns the spool in a folder.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Returns its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the file of events.
    pub fn events(&self) -> PathBuf {
        self.folder.join("events")
    }

    /// Makes the folder.
    pub fn create(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)
    }

    /// Keeps room on the disk for the end of the job, whatever else fills it.
    fn keep_reserve(&self) {
        let kept = File::create(self.reserve()).and_then(|file| {
            nix::fcntl::posix_fallocate(file, 0, RESERVE).map_err(io::Error::from)
        });
        if let Err(error) = kept {
            tracing::warn!(%error, "no room could be kept for the end of the job");
        }
    }

    fn reserve(&self) -> PathBuf {
        self.folder.join("reserve")
    }

    /// Returns the folder of the process of this number that asks the job's hosts.
    pub(super) fn asking(&self, number: u32) -> Self {
        Self::at(self.folder.join(format!("asking-{number}")))
    }

    /// Opens the file that takes what the process itself prints.
    pub fn log(&self) -> io::Result<File> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
    }

    /// Returns what the process itself printed: nothing, unless something is wrong with it.
    pub fn words(&self) -> String {
        let text = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        text.trim().to_owned()
    }

    fn life_file(&self) -> io::Result<File> {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(self.folder.join("life"))
    }

    /// Begins the life of this process as the job's; none where it may not begin any more.
    ///
    /// The lock lasts as long as what is returned.
    pub fn begin_life(&self) -> io::Result<Option<Flock<File>>> {
        let file = self.life_file()?;
        let mut file = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| io::Error::from(error))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        if !text.is_empty() {
            return Ok(None);
        }
        crash_point("before a job begins its life");
        write!(file, "{}", std::process::id())?;
        file.sync_all()?;
        crash_point("after a job began its life");
        Ok(Some(file))
    }

    /// Tells whether the process lives; one that did not begin may not begin from here on.
    pub fn end_or_life(&self) -> io::Result<Life> {
        let file = match self.life_file() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create()?;
                self.life_file()?
            }
            file => file?,
        };
        let mut reader = file.try_clone()?;
        let mut text = String::new();
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                file.read_to_string(&mut text)?;
                if text.is_empty() {
                    crash_point("before a spool is closed");
                    write!(file, "{CLOSED}")?;
                    file.sync_all()?;
                    crash_point("after a spool is closed");
                }
                let never_began = text.is_empty() || text == CLOSED;
                Ok(if never_began {
                    Life::NeverBegan
                } else {
                    Life::Gone
                })
            }
            Err((_, nix::Error::EAGAIN)) => {
                reader.read_to_string(&mut text)?;
                Ok(Life::Alive(text.parse().unwrap_or(0)))
            }
            Err((_, error)) => Err(error.into()),
        }
    }

    /// Tells whether a process holds the life of the job now; changes nothing.
    pub(super) fn is_lived_in(&self) -> bool {
        File::open(self.folder.join("life"))
            .is_ok_and(|file| Flock::lock(file, FlockArg::LockSharedNonblock).is_err())
    }

    /// Returns the number of the process, if it lives.
    pub fn pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.folder.join("life")).ok()?;
        text.parse().ok()
    }

    /// Returns how the job ended, if its process said so.
    pub fn end(&self) -> io::Result<Option<JobOutcome>> {
        let mut file = match File::open(self.events()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        // The last line is the end; with its outputs it is at most as long as GitHub lets them be.
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(MAX_END)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let Some(bytes) = bytes.strip_suffix(b"\n") else {
            return Ok(None);
        };
        let last = bytes.rsplit(|byte| *byte == b'\n').next();
        Ok(
            last.and_then(|line| match serde_json::from_slice::<SpoolLine>(line) {
                Ok(SpoolLine::End(end)) => Some(end.into()),
                _ => None,
            }),
        )
    }

    /// Reads the events from `offset` on, and returns them with where the next ones begin.
    ///
    /// A line that is being written is left for the next time.
    pub fn read_from(&self, offset: u64) -> io::Result<(Vec<SpoolLine>, u64)> {
        self.read_some(offset, u64::MAX)
    }

    /// Reads the events from `offset` on until `most` bytes are reached, as [`Spool::read_from`];
    /// always at least one, if there is one.
    pub fn read_some(&self, offset: u64, most: u64) -> io::Result<(Vec<SpoolLine>, u64)> {
        let mut file = match File::open(self.events()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Vec::new(), offset));
            }
            file => file?,
        };
        file.seek(SeekFrom::Start(offset))?;
        let mut reader = BufReader::new(file);
        let (mut lines, mut at) = (Vec::new(), offset);
        let mut line = Vec::new();
        while at - offset < most {
            line.clear();
            let length = reader.read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                return Ok((lines, at));
            }
            at += u64::try_from(length).unwrap_or(0);
            // What a process that was killed left half is no event.
            lines.extend(serde_json::from_slice(&line).ok());
        }
        Ok((lines, at))
    }

    /// Hands on all events but what the steps printed, which can be any amount.
    pub(super) fn each_event(&self, mut take: impl FnMut(&Envelope)) -> io::Result<()> {
        // In a text of JSON every quote is escaped, so that these bytes are no part of one.
        let printed = memchr::memmem::Finder::new(br#""event":{"type":"output""#);
        let mut reader = BufReader::new(File::open(self.events())?);
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            if printed.find(&line).is_some() {
                continue;
            }
            if let Ok(SpoolLine::Event(envelope)) = serde_json::from_slice(&line) {
                take(&envelope);
            }
        }
    }

    /// Returns how many bytes of events there are.
    pub fn length(&self) -> u64 {
        fs::metadata(self.events()).map_or(0, |found| found.len())
    }
}

/// The longest line that an end can be: 50 MB of outputs and room for the rest.
const MAX_END: u64 = 64 * 1024 * 1024;

/// How much of the end of a file is read to go on behind it.
const TAIL: u64 = 4 * 1024 * 1024;

/// What is kept free for the end of a job, in bytes.
const RESERVE: i64 = 64 * 1024;

/// How many places are told apart at which something is missing: the marks must find room in the
/// reserve.
const MAX_MARKS: usize = 100;

/// How often the end of a job is written on a disk that is full, and the time in between: ten
/// minutes in all.
const END_TRIES: u32 = 600;
const END_PAUSE: Duration = Duration::from_secs(1);

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Writes a line behind the others, whole or not at all.
fn append(file: &mut File, line: &SpoolLine) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    let written = file.write_all(&bytes);
    if written.is_err() {
        // A disk that is full may have taken a part; what is written next must not be read with it.
        let length = file.metadata()?.len();
        let mut tail = Vec::new();
        let mut reader = file.try_clone()?;
        let begin = length.saturating_sub(u64::try_from(bytes.len()).unwrap_or(length));
        if reader.seek(SeekFrom::Start(begin)).is_ok() && reader.read_to_end(&mut tail).is_ok() {
            let torn = tail.iter().rev().take_while(|byte| **byte != b'\n').count();
            file.set_len(length - u64::try_from(torn).unwrap_or(0))?;
        }
    }
    written
}

/// What a step left that found no room.
#[derive(Debug)]
struct Lost {
    job: JobKey,
    step: u32,
    lines: u64,
    /// What else happened: starts and ends of steps, annotations, summaries.
    events: u64,
    is_full: bool,
}

impl Lost {
    /// Says it where the lines would stand.
    fn mark(&self) -> RunEvent {
        let word = Masked::from_static;
        let mut parts = vec![word(if self.is_full {
            "missing here, since the disk was full:"
        } else {
            "missing here, since it could not be written:"
        })];
        if self.lines > 0 {
            let lines = if self.lines == 1 { "line" } else { "lines" };
            parts.extend([Masked::from(self.lines), word(lines)]);
        }
        if self.events > 0 {
            parts.extend((self.lines > 0).then(|| word("and")));
            let events = if self.events == 1 { "event" } else { "events" };
            parts.extend([Masked::from(self.events), word(events)]);
        }
        // The end of the line, without a space before it.
        let text = Masked::join(&parts, " ");
        let text = Masked::join([&text, &word("\n")], "");
        RunEvent::Output {
            job: self.job,
            step: self.step,
            stream: Stream::Runner,
            text,
        }
    }
}

/// Writes the events of a job into its spool, and at last its end; clones share it.
///
/// What finds no room is lost, and a mark stands in its place as soon as there is room again, at the
/// latest before the end. Nothing is written before the mark, so that the order is true.
#[derive(Debug, Clone)]
pub(super) struct SpoolWriter(Arc<Mutex<Writing>>);

#[derive(Debug)]
struct Writing {
    file: File,
    spool: Spool,
    run: RunId,
    attempt: Attempt,
    fence: Fence,
    seq: u64,
    lost: VecDeque<Lost>,
}

impl SpoolWriter {
    /// Returns a writer for an owner of a job.
    pub(super) fn open(spool: &Spool, claimed: &ClaimedJob) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(spool.events())?;
        spool.keep_reserve();
        Ok(Self(Arc::new(Mutex::new(Writing {
            file,
            spool: spool.clone(),
            run: claimed.run.clone(),
            attempt: claimed.attempt,
            fence: claimed.fence,
            seq: 0,
            lost: VecDeque::new(),
        }))))
    }

    /// Returns a writer that goes on behind what a process wrote that is gone.
    pub(super) fn resume(spool: &Spool, claimed: &ClaimedJob) -> io::Result<Self> {
        let writer = Self::open(spool, claimed)?;
        writer.writing().go_on()?;
        Ok(writer)
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the end of the job behind its events, for good: it is on the disk when this returns.
    pub(super) fn end(&self, outcome: &JobOutcome) -> io::Result<()> {
        crash_point("before the end of a job is written");
        let mut writing = self.writing();
        let mut left = END_TRIES;
        loop {
            let written = writing
                .marks()
                .and_then(|()| writing.write(&SpoolLine::End(outcome.into())))
                .and_then(|()| writing.file.sync_all());
            match written {
                // A full disk is the time at which it must be known how a deploy ended.
                Err(error) if is_full(&error) && left > 0 => {
                    left -= 1;
                    if fs::remove_file(writing.spool.reserve()).is_err() {
                        std::thread::park_timeout(END_PAUSE);
                    }
                }
                written => break written?,
            }
        }
        drop(fs::remove_file(writing.spool.reserve()));
        crash_point("after the end of a job is written");
        Ok(())
    }
}

impl Writing {
    /// Goes on behind what a process wrote that is gone.
    fn go_on(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        self.file
            .seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut tail = Vec::new();
        self.file.read_to_end(&mut tail)?;
        if tail.last().is_some_and(|byte| *byte != b'\n') {
            // What it left half would take the next line with it.
            self.file.write_all(b"\n")?;
        }
        let numbers = tail.split(|byte| *byte == b'\n').filter_map(|line| {
            match serde_json::from_slice(line) {
                Ok(SpoolLine::Event(envelope)) => Some(envelope.seq),
                _ => None,
            }
        });
        self.seq = numbers.max().map_or(0, |last| last + 1);
        Ok(())
    }

    fn write(&mut self, line: &SpoolLine) -> io::Result<()> {
        append(&mut self.file, line)
    }

    fn event(&mut self, event: RunEvent) -> io::Result<()> {
        let mut envelope = Envelope::new(self.run.clone(), self.attempt, self.fence, now(), event);
        envelope.seq = self.seq;
        self.seq += 1;
        self.write(&SpoolLine::Event(envelope))
    }

    /// Writes what is lost in its place.
    fn marks(&mut self) -> io::Result<()> {
        while let Some(lost) = self.lost.front() {
            let mark = lost.mark();
            self.event(mark)?;
            self.lost.pop_front();
        }
        Ok(())
    }

    fn take(&mut self, event: &RunEvent) {
        let written = self.marks().and_then(|()| self.event(event.clone()));
        let Err(error) = written else { return };
        if self.lost.is_empty() {
            tracing::error!(%error, "an event could not be written, and maybe more behind it");
        }
        self.lose(event, is_full(&error));
    }

    fn lose(&mut self, event: &RunEvent, is_full: bool) {
        let (step, lines) = match event {
            RunEvent::Output { step, text, .. } => (*step, text.as_str().lines().count()),
            RunEvent::StepStarted { step, .. }
            | RunEvent::StepFinished { step, .. }
            | RunEvent::Annotation { step, .. }
            | RunEvent::Summary { step, .. } => (*step, 0),
            _ => (0, 0),
        };
        let Some(job) = event.job() else { return };
        let lines = u64::try_from(lines).unwrap_or(u64::MAX);
        let events = u64::from(!matches!(event, RunEvent::Output { .. }));
        let is_many = self.lost.len() >= MAX_MARKS;
        match self.lost.back_mut() {
            Some(last) if last.step == step || is_many => {
                last.lines += lines;
                last.events += events;
            }
            _ => self.lost.push_back(Lost {
                job,
                step,
                lines,
                events,
                is_full,
            }),
        }
    }
}

impl Reporter for SpoolWriter {
    fn report(&mut self, event: &RunEvent) {
        self.writing().take(event);
    }
}

/// Returns the time by this machine's clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
