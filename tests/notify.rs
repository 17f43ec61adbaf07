//! People are told of failed deploys and broken branches, whatever is away meanwhile.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::server::Server;

/// A receiver of webhooks: answers the first ones with an error, and keeps what it took.
struct Receiver {
    address: String,
    taken: Arc<Mutex<Vec<(String, serde_json::Value)>>>,
    refused: Arc<AtomicUsize>,
}

impl Receiver {
    fn start(refuse: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap().to_string(),
            taken: Arc::default(),
            refused: Arc::default(),
        };
        let (taken, refused) = (Arc::clone(&receiver.taken), Arc::clone(&receiver.refused));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some((path, body)) = request(&stream) else {
                    continue;
                };
                let status = if refused.load(Ordering::SeqCst) < refuse {
                    refused.fetch_add(1, Ordering::SeqCst);
                    "503 Service Unavailable"
                } else {
                    let json = serde_json::from_str(&body).unwrap_or_default();
                    taken.lock().unwrap().push((path, json));
                    "200 OK"
                };
                let answer =
                    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                drop((&stream).write_all(answer.as_bytes()));
            }
        });
        receiver
    }

    fn taken(&self) -> Vec<(String, serde_json::Value)> {
        self.taken.lock().unwrap().clone()
    }
}

/// Reads a request: its path and its body.
fn request(stream: &TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, String::from_utf8(body).ok()?))
}

/// A server of e-mail: takes every letter and keeps it.
struct Sink {
    address: String,
    letters: Arc<Mutex<Vec<String>>>,
}

impl Sink {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sink = Self {
            address: listener.local_addr().unwrap().to_string(),
            letters: Arc::default(),
        };
        let letters = Arc::clone(&sink.letters);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let letters = Arc::clone(&letters);
                std::thread::spawn(move || drop(converse(&stream, &letters)));
            }
        });
        sink
    }
}

fn converse(stream: &TcpStream, letters: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut writer = stream;
    writer.write_all(b"220 sink ESMTP\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    let mut envelope = String::new();
    while let Some(line) = lines.next() {
        let line = line?;
        let verb = line.split(' ').next().unwrap_or_default().to_uppercase();
        match verb.as_str() {
            "EHLO" => writer.write_all(b"250-sink\r\n250 8BITMIME\r\n")?,
            "DATA" => {
                writer.write_all(b"354 go on\r\n")?;
                let mut letter = std::mem::take(&mut envelope);
                for line in lines.by_ref() {
                    let line = line?;
                    if line == "." {
                        break;
                    }
                    letter = format!("{letter}{line}\n");
                }
                letters.lock().unwrap().push(letter);
                writer.write_all(b"250 taken\r\n")?;
            }
            "QUIT" => return writer.write_all(b"221 bye\r\n"),
            _ => {
                envelope = format!("{envelope}{line}\n");
                writer.write_all(b"250 ok\r\n")?;
            }
        }
    }
    Ok(())
}

/// A workflow on pushes that ends as the file `result` of the commit says.
const AS_IT_SAYS: &str = "name: ci\non: push\njobs:\n  one:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n      - run: sh -e result\n";

fn told(receiver: &Receiver) -> Vec<String> {
    let taken = receiver.taken();
    taken
        .iter()
        .filter_map(|(_, body)| Some(body["notice"]["kind"].as_str()?.to_owned()))
        .collect()
}

#[test]
fn a_default_branch_that_breaks_and_is_mended_is_told_once_each() {
    let receiver = Receiver::start(2);
    let mut server = Server::new(&[("ci.yml", AS_IT_SAYS)])
        .configure("\n[[notify]]\nname = \"team\"\nwebhook = { url = { file = \"hook\" } }\n");
    server.write(
        "hook",
        &format!("http://{}/secret-path\n", receiver.address),
    );
    server.start();
    for (result, message) in [
        ("false", "one"),
        ("false", "two"),
        ("true", "three"),
        ("true", "four"),
    ] {
        server.write("tree/result", result);
        server.push(message);
        let run = message_run(&server, message);
        server.ended(&run);
    }
    // A branch that is not the default one is nobody's business.
    server.git(&["checkout", "-q", "-b", "other"]);
    server.write("tree/result", "false");
    server.push("five");
    let run = message_run(&server, "five");
    assert_eq!(server.ended(&run)["conclusion"], "failure");
    server.wait_for("both notices", || {
        (receiver.taken().len() >= 2).then_some(())
    });
    assert_eq!(told(&receiver), ["broken", "recovered"]);
    let (path, body) = receiver.taken().remove(0);
    assert_eq!(path, "/secret-path");
    assert_eq!(body["notice"]["title"], "one");
    assert_eq!(body["notice"]["git_ref"], "main");
    assert_eq!(body["subject"], "Broken: acme/demo (ci) on main");
    assert_eq!(
        receiver.refused.load(Ordering::SeqCst),
        2,
        "it was tried again"
    );
    let list = server.ask(&["notify", "list"]);
    assert!(
        list.contains("sent     team: Recovered: acme/demo (ci) on main"),
        "{list}"
    );
    let log = server.stop();
    assert!(!log.contains("secret-path"), "{log}");
}

/// The run of a commit with this message.
fn message_run(server: &Server, message: &str) -> String {
    server.wait_for(&format!("the run of {message}"), || {
        let list = server.ask(&["runs", "list", "--format", "json"]);
        let runs: serde_json::Value = serde_json::from_str(&list).ok()?;
        let runs = runs.as_array().or_else(|| runs["runs"].as_array())?.clone();
        let run = runs.iter().find(|run| run["title"] == message)?.clone();
        let id = &run["id"];
        Some(id.as_str().map_or_else(|| id.to_string(), str::to_owned))
    })
}

#[test]
fn a_failed_deploy_is_told_by_slack_and_e_mail_also_after_a_crash() {
    let receiver = Receiver::start(usize::MAX);
    let sink = Sink::start();
    let text = "name: ship it\non: push\njobs:\n  one:\n    runs-on: ubuntu-latest\n    environment: production\n    steps: [{ run: exit 1 }]\n";
    let mut server = Server::new(&[("deploy.yml", text)]).configure(&format!(
        "\n[[notify]]\nname = \"chat\"\non = [\"deploy-failed\"]\nslack = {{ file = \"hook\" }}\n\n[[notify]]\nname = \"mail\"\nrepositories = [\"acme/demo\"]\non = [\"deploy-failed\"]\nemail = {{ server = \"{}\", tls = \"none\", from = \"runner <runner@example.com>\", to = [\"team@example.com\", \"Boss <boss@example.com>\"] }}\n",
        sink.address
    ));
    server.write("hook", &format!("http://{}/slack\n", receiver.address));
    server.start();
    server.push("Ship <this> & that");
    server.wait_for("the letter", || {
        (!sink.letters.lock().unwrap().is_empty()).then_some(())
    });
    let letter = sink.letters.lock().unwrap()[0].clone();
    for part in [
        "MAIL FROM:<runner@example.com>",
        "RCPT TO:<team@example.com>",
        "RCPT TO:<boss@example.com>",
        "Subject: Deploy failed: acme/demo (ship it) on main",
    ] {
        assert!(letter.contains(part), "{part}: {letter}");
    }
    // Slack is away; what waits for it is told by the next server.
    server.wait_for("a try of Slack", || {
        (receiver.refused.load(Ordering::SeqCst) > 0).then_some(())
    });
    // A letter that was sent and is not recorded is sent again: better twice than never.
    server.wait_for("the letter to be recorded", || {
        let list = server.ask(&["notify", "list"]);
        list.contains("sent     mail").then_some(())
    });
    server.kill();
    let back = Receiver::start(0);
    server.write("hook", &format!("http://{}/slack\n", back.address));
    server.start();
    server.wait_for("Slack to be told", || {
        (!back.taken().is_empty()).then_some(())
    });
    let (path, body) = back.taken().remove(0);
    assert_eq!(path, "/slack");
    let text = body["text"].as_str().unwrap();
    assert!(
        text.starts_with("*Deploy failed: acme/demo (ship it) on main*\n"),
        "{text}"
    );
    assert!(text.contains("Ship &lt;this&gt; &amp; that"), "{text}");
    server.stop();
    assert_eq!(sink.letters.lock().unwrap().len(), 1);
}

#[test]
fn a_test_is_told_by_every_channel_and_a_mistake_is_named() {
    let receiver = Receiver::start(0);
    let server = Server::new(&[]).configure(
        "\n[[notify]]\nname = \"own\"\nwebhook = { url = { file = \"hook\" }, template = \"notice.json\" }\n\n[[notify]]\nname = \"gone\"\nslack = { file = \"gone\" }\n",
    );
    server.write("hook", &format!("http://{}/hook", receiver.address));
    server.write("gone", "http://127.0.0.1:1/token");
    server.write(
        "notice.json",
        r#"{"what": {{ subject | json }}, "title": {{ title | json }}}"#,
    );
    let output = server.run(&["notify", "test", "own"]);
    assert!(output.status.success(), "{output:?}");
    let (_, body) = receiver.taken().remove(0);
    assert_eq!(body["what"], "Test: owner/name (a workflow) on main");
    let output = server.run(&["notify", "test"]);
    assert_eq!(output.status.code(), Some(5));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("gone: not told: 127.0.0.1: "), "{words}");
    assert!(!words.contains("token"), "{words}");
    server.write("notice.json", "{{ nobody.knows }}");
    let output = server.run(&["notify", "test", "own"]);
    assert_eq!(output.status.code(), Some(3));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        words.contains("`notify` own cannot be used") && words.contains("notice.json"),
        "{words}"
    );
}
