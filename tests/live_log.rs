//! The live log of a job: as it is printed, masked, and on from where a reader was.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::http::{joined, request};
use crate::support::server::{Server, WAIT_FOR_GO};

const VALUE: &str = "a-secret-that-is-printed";

/// A reader of server-sent events.
struct Reader {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Reader {
    fn open(address: &str, path: &str, last: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let last = last.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{last}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        Self {
            stream,
            bytes: Vec::new(),
        }
    }

    /// Reads until the events say this, and returns them so far.
    fn until(&mut self, words: &str) -> String {
        loop {
            let text = String::from_utf8_lossy(&self.bytes).into_owned();
            let (_, body) = text.split_once("\r\n\r\n").unwrap_or_default();
            let events = joined(body);
            if events.contains(words) {
                assert!(text.contains("text/event-stream"), "{text}");
                return events;
            }
            let mut more = [0; 4096];
            let length = self.stream.read(&mut more).unwrap();
            assert!(length > 0, "it ended before `{words}`: {text}");
            self.bytes.extend_from_slice(&more[..length]);
        }
    }
}

/// Returns the id of the last event.
fn last_id(events: &str) -> String {
    let mut ids = events.lines().filter_map(|line| line.strip_prefix("id: "));
    ids.next_back().unwrap().to_owned()
}

/// A server whose one job prints, waits, and prints again.
fn holding() -> Server {
    let server = Server::new(&[])
        .configure("[repository.secrets]\nTOKEN = { env = \"LIVE_TEST_TOKEN\" }\n")
        .configure_server("");
    let text = format!(
        "on: push\njobs:\n  wait:\n    runs-on: ubuntu-latest\n    env: {{ HOLD: '{}', TOKEN: '${{{{ secrets.TOKEN }}}}' }}\n    steps:\n      - run: |\n          echo \"line one $TOKEN <b>\"\n          {WAIT_FOR_GO}\n      - run: echo line two\n",
        server.path().display()
    );
    server.write("tree/pipelines/held.yml", &text);
    server.push("the workflow");
    server
}

const STREAM: &str = "/api/v1/runs/1/jobs/0/log/stream";

/// Asserts that all ranges of a log, one after the other, are what it is as text.
fn ranges_are_the_whole(address: &str) {
    let mut lines = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/api/v1/runs/1/jobs/0/log?limit=1{after}");
        let answer = request(address, "GET", &path, &[], b"");
        let range: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
        for line in range["lines"].as_array().unwrap() {
            lines.push(line["text"].as_str().unwrap().to_owned());
        }
        if range["is_complete"] == true {
            break;
        }
        let next = format!("&after={}", range["next"].as_str().unwrap());
        assert_ne!(next, after, "it goes on");
        after = next;
    }
    let text = request(address, "GET", "/api/v1/runs/1/jobs/0/log.txt", &[], b"");
    let plain: Vec<&str> = text
        .text
        .lines()
        .map(|line| &line[line.find(' ').unwrap() + 1..])
        .map(str::trim)
        .collect();
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    assert_eq!(plain, lines);
    assert!(lines.contains(&"line two") && !text.text.contains(VALUE));
}

#[test]
fn a_reader_sees_what_is_printed_now_and_goes_on_from_where_it_was() {
    let mut server = holding();
    server.start_with(&[("LIVE_TEST_TOKEN", VALUE)]);
    let address = server.address();
    server.push("go");
    server.reached("1", "in_progress");
    let mut first = Reader::open(&address, STREAM, None);
    let events = first.until("line one ***");
    assert!(!events.contains(VALUE), "{events}");
    assert!(!events.contains("line two"), "{events}");
    let id = last_id(&events);
    drop(first);
    let page = request(&address, "GET", "/runs/1", &[], b"");
    assert!(
        page.text.contains("line one *** &lt;b&gt;"),
        "{}",
        page.text
    );
    assert!(
        page.text
            .contains("data-stream=\"/api/v1/runs/1/jobs/0/log/stream?attempt=1&amp;after=1-"),
        "{}",
        page.text
    );
    let head = page.head.to_ascii_lowercase();
    assert!(
        head.contains("content-security-policy: default-src 'none'"),
        "{head}"
    );
    for asset in ["/assets/live.js", "/assets/runner.css"] {
        assert_eq!(request(&address, "GET", asset, &[], b"").status, 200);
    }
    // Many at once, and one that comes again: each is told the rest and the end.
    let mut readers: Vec<Reader> = (0..40)
        .map(|_| Reader::open(&address, STREAM, None))
        .collect();
    let mut again = Reader::open(&address, STREAM, Some(&id));
    for reader in &mut readers {
        reader.until("line one");
    }
    server.go();
    let rest = again.until("event: end");
    assert!(
        rest.contains("line two") && rest.contains("\"conclusion\":\"success\""),
        "{rest}"
    );
    assert!(!rest.contains("line one"), "{rest}");
    for reader in &mut readers {
        let events = reader.until("event: end");
        assert_eq!(events.matches("\"text\":\"line one").count(), 1, "{events}");
        assert_eq!(
            events.matches("\"text\":\"line two\"").count(),
            1,
            "{events}"
        );
    }
    server.ended("1");
    // Once it ended all of it is there at once, by range and as text.
    let whole = Reader::open(&address, STREAM, None).until("event: end");
    assert!(
        whole.contains("line one") && whole.contains("line two"),
        "{whole}"
    );
    ranges_are_the_whole(&address);
    // Without its spool, as where another machine ran the job, the log is not told to be empty.
    std::fs::rename(server.data().join("spool"), server.path().join("elsewhere")).unwrap();
    for path in [
        STREAM,
        "/api/v1/runs/1/jobs/0/log",
        "/api/v1/runs/1/jobs/0/log.txt",
    ] {
        let answer = request(&address, "GET", path, &[], b"");
        assert_eq!(answer.status, 404, "{answer:?}");
        assert!(answer.text.contains("is on this machine"), "{answer:?}");
    }
    server.stop();
}

#[test]
fn a_reader_holds_up_no_server_that_stops_and_finds_the_next_one() {
    let mut server = holding();
    server.start_with(&[("LIVE_TEST_TOKEN", VALUE)]);
    let address = server.address();
    server.push("go");
    server.reached("1", "in_progress");
    let mut reader = Reader::open(&address, STREAM, None);
    let id = last_id(&reader.until("\"text\":\"line one"));
    let log = server.stop();
    assert!(log.contains("the next server follows them"), "{log}");
    server.start_with(&[("LIVE_TEST_TOKEN", VALUE)]);
    server.wait_for("the next server to listen", || {
        (server.log().matches("listening at").count() == 2).then_some(())
    });
    let address = server.address();
    let mut again = Reader::open(&address, STREAM, Some(&id));
    server.go();
    let rest = again.until("event: end");
    assert!(
        rest.contains("line two") && !rest.contains("line one"),
        "{rest}"
    );
    server.stop();
}
