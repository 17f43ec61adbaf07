//! A disk that fills up: below a mark no job begins, and on a full one nothing is corrupt.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::http::request;
use crate::support::process::Answer;
use crate::support::server::Server;

/// A file system of its own where a server keeps everything; gone when the test is over.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of 24 MB; none where this machine does not let us.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
            .arg(at)
            .output();
        if !done.is_ok_and(|done| done.status.success()) {
            println!("skipped: no file system can be mounted here");
            return None;
        }
        Some(Self(at.to_owned()))
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Fills it until only so many bytes are free.
    fn fill(&self, left: u64) {
        drop(fs::remove_file(self.filler()));
        let free = runner::scheduler::free_space(&self.0).unwrap().bytes;
        let size = free.saturating_sub(left).to_string();
        let done = Command::new("fallocate")
            .args(["-l", &size])
            .arg(self.filler())
            .status();
        assert!(done.unwrap().success());
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        drop(done);
    }
}

fn health(address: &str) -> String {
    let answer = request(address, "GET", "/health", &[], b"");
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.text
}

/// The same for programs: what is said in one word, and why.
fn told(address: &str) -> (String, String) {
    let answer = request(address, "GET", "/api/v1/health", &[], b"");
    assert_eq!(answer.status, 200, "{}", answer.text);
    let body: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    (text("status"), text("detail"))
}

/// Asks SQLite itself whether a file is whole.
fn is_whole(server: &Server) {
    let output = Command::new("sqlite3")
        .arg(server.data().join("runner.db"))
        .arg("PRAGMA integrity_check")
        .output();
    if let Ok(output) = output {
        Answer::from(output).code(0).says("ok");
    }
}

#[test]
fn below_the_mark_no_job_begins_and_health_says_why() {
    let mut server = Server::new(&[(
        "ci.yml",
        "on: push\njobs:\n  one: { runs-on: ubuntu-latest, steps: [{ run: echo }] }\n",
    )])
    .configure_server("")
    .before("min-free = \"4MB\"\n");
    let Some(disk) = SmallDisk::mount(&server.data()) else {
        return;
    };
    server.start();
    let address = server.address();
    assert_eq!(health(&address).trim(), "ok");
    assert_eq!(told(&address).0, "ok");
    disk.fill(3_000_000);
    server.push("while it is full");
    server.reached("1", "queued");
    let words = health(&address);
    assert!(
        words.starts_with("degraded: ") && words.contains("less than `min-free` (4.0 MB)"),
        "{words}"
    );
    let (status, detail) = told(&address);
    assert_eq!(status, "degraded");
    assert!(words.contains(&detail), "{words}{detail}");
    // Whatever comes, nothing begins.
    server.push("once more");
    server.reached("2", "queued");
    assert_eq!(server.state("1").unwrap()["status"], "queued");
    disk.free();
    assert_eq!(server.ended("1")["conclusion"], "success");
    assert_eq!(server.ended("2")["conclusion"], "success");
    assert_eq!(health(&address).trim(), "ok");
    assert_eq!(told(&address).0, "ok");
    let log = server.stop();
    assert!(log.contains("degraded: "), "{log}");
    assert!(log.contains("there is room on the disk again"), "{log}");
}

#[test]
fn a_job_that_ends_on_a_full_disk_ends_as_it_did_and_nothing_is_corrupt() {
    let mut server = Server::new(&[]).before("min-free = \"0\"\n");
    let Some(disk) = SmallDisk::mount(&server.data()) else {
        return;
    };
    let text = format!(
        "on: push\njobs:\n  one:\n    runs-on: ubuntu-latest\n    steps:\n      - run: |\n          echo began > {0}/began\n          while [ ! -e {0}/go ]; do sleep 0.1; done\n          for i in $(seq 1 2000); do echo \"a line that finds no room $i\"; done\n          echo printed > {0}/printed\n          while [ ! -e {0}/more ]; do sleep 0.1; done\n          echo \"a line that finds room again\"\n          echo freed > {0}/freed\n          while [ ! -e {0}/full ]; do sleep 0.1; done\n          for i in $(seq 1 1000); do echo \"a line at the end $i\"; done\n          echo done > {0}/done\n",
        server.path().display(),
    );
    server.write("tree/pipelines/held.yml", &text);
    server.push("the workflow");
    server.start();
    server.push("go");
    let began = server.path().join("began");
    server.wait_for("the job to begin", || began.exists().then_some(()));
    disk.fill(0);
    server.go();
    let appears = |name: &str| {
        let file = server.path().join(name);
        server.wait_for(name, || file.exists().then_some(()));
    };
    appears("printed");
    // Between two steps of the story there is room for a while.
    disk.free();
    server.write("more", "");
    let logged = |words: &str| server.ask(&["runs", "logs", "1"]).contains(words);
    server.wait_for("the line that finds room", || {
        logged("a line that finds room again").then_some(())
    });
    disk.fill(0);
    server.write("full", "");
    let done = server.path().join("done");
    server.wait_for("the job to end", || done.exists().then_some(()));
    // Its process is gone, and its end stands behind its events though there was no room for these.
    let events = server.data().join("spool/1/1/0-1/events");
    server.wait_for("the end of the job to be written", || {
        let text = fs::read_to_string(&events).unwrap_or_default();
        let last = text.lines().last()?.to_owned();
        last.contains("\"end\"").then_some(())
    });
    disk.free();
    let state = server.ended("1");
    assert_eq!(state["conclusion"], "success", "{state}");
    is_whole(&server);
    for line in fs::read_to_string(&events).unwrap().lines() {
        let read: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(read.is_ok(), "{line}");
    }
    everything_is_there_or_missed(&server.ask(&["runs", "logs", "1"]));
    server.push("after it");
    assert_eq!(server.ended("2")["conclusion"], "success");
    server.stop();
}

/// Asserts that marks stand in the place of what found no room, and count it rightly.
fn everything_is_there_or_missed(log: &str) {
    let (before, after) = log
        .split_once("a line that finds room again")
        .unwrap_or_else(|| panic!("{log}"));
    for (part, words, printed) in [
        (before, "a line that finds no room ", 2_000),
        (after, "a line at the end ", 1_000),
    ] {
        let (mut seen, mut marks) = (0, 0);
        for line in part.lines() {
            if let Some((_, number)) = line.split_once(words) {
                seen += 1;
                assert_eq!(number.parse(), Ok(seen), "{part}");
            } else if let Some((_, what)) =
                line.split_once("missing here, since the disk was full: ")
            {
                let missed = what.split_once(" line").map_or("0", |(count, _)| count);
                let missed: usize = missed.parse().unwrap();
                seen += missed;
                marks += 1;
            }
        }
        assert!(seen == printed && marks > 0, "{seen} {marks} {part}");
    }
}
