//! `runner serve` as a service of systemd: its unit, and what it tells the service manager.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::collector::Collector;
use crate::support::github::{GitHub, TOKEN};
use crate::support::server::{Server, interrupt};

#[test]
fn the_unit_is_one_that_systemd_understands() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("fixtures/systemd/runner.service")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("runner.service");
    let program = env!("CARGO_BIN_EXE_runner");
    fs::write(&unit, text.replace("/usr/local/bin/runner", program)).unwrap();
    let Ok(output) = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&unit)
        .output()
    else {
        println!("skipped: systemd-analyze is not installed");
        return;
    };
    let words = String::from_utf8_lossy(&output.stderr);
    let own: Vec<&str> = words
        .lines()
        .filter(|line| line.contains("runner.service"))
        .collect();
    assert!(output.status.success() && own.is_empty(), "{words}");
}

#[test]
fn the_service_manager_hears_that_it_is_ready_lives_and_stops() {
    let server = Server::new(&[]);
    let path = server.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let told = || {
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).expect("nothing was told");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    // As the service manager starts it: the watchdog is for this process.
    let direct = server.command(&["serve"]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "export WATCHDOG_PID=$$; exec \"$0\" \"$@\""])
        .arg(direct.get_program())
        .args(direct.get_args())
        .current_dir(server.path())
        .env_remove("GITHUB_TOKEN")
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "1500000")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    assert_eq!(told().trim(), "READY=1");
    for _ in 0..2 {
        let words = told();
        assert!(
            words.contains("STATUS=ready") && words.contains("WATCHDOG=1"),
            "{words}"
        );
    }
    interrupt(child.id());
    loop {
        let words = told();
        if words.trim() == "STOPPING=1" {
            break;
        }
        assert!(words.contains("WATCHDOG=1"), "{words}");
    }
    assert!(child.wait().unwrap().success());
}

/// Reads what the doctor found, and returns what it says of a subject.
fn read(output: &Output, code: i32) -> impl Fn(&str) -> String + use<> {
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(code), "{words}");
    let found: serde_json::Value = serde_json::from_str(&words).unwrap();
    let checks = found["checks"].as_array().unwrap().clone();
    move |subject: &str| {
        let check = checks.iter().find(|check| check["subject"] == subject);
        let check = check.unwrap_or_else(|| panic!("no {subject}: {words}"));
        format!("{} {}", check["level"], check["message"])
    }
}

#[test]
fn doctor_says_what_a_server_lacks() {
    use std::os::unix::fs::PermissionsExt as _;

    let mut server = Server::new(&[]);
    let checks = |server: &Server, code: i32| {
        let output = server.run(&["doctor", "--serve", "--format", "json"]);
        read(&output, code)
    };
    let said = checks(&server, 0);
    assert!(said("database").contains("the first start makes it"));
    assert!(said("disk").starts_with("\"ok\""));
    server.start();
    server.stop();
    let said = checks(&server, 0);
    assert!(said("database").contains("answers, with schema"));
    assert!(said("data").starts_with("\"ok\""), "{}", said("data"));
    assert!(said("events").contains("no webhook is taken; it is looked at every 100ms"));
    assert!(said("token").contains("no token"));
    fs::set_permissions(server.data(), fs::Permissions::from_mode(0o755)).unwrap();
    let server = server
        .before("min-free = \"500TB\"\n")
        .configure("webhook-secrets = [{ file = \"hook\" }]\n");
    server.write("hook", "secret");
    let said = checks(&server, 5);
    assert!(said("data").contains("everybody on this machine may look"));
    assert!(said("disk").contains("less than `min-free`"));
    assert!(said("events").contains("but nothing listens"));
}

#[test]
fn doctor_asks_github_and_looks_at_the_server_from_outside() {
    let github = GitHub::start();
    let collector = Collector::start();
    let mut server = Server::new(&[])
        .configure(&github.configuration())
        .configure(&format!(
            "webhook-secrets = [{{ file = \"hook\" }}]\n[telemetry]\nendpoint = \"{}\"\n",
            collector.url()
        ))
        .configure_server("");
    server.write("hook", "secret");
    server.start_with(&[("GITHUB_TEST_TOKEN", TOKEN)]);
    let listens = format!("listen = \"{}\"", server.address());
    let seen = format!("{listens}\npublic-url = \"http://{}\"", server.address());
    let config = fs::read_to_string(server.path().join("runner.toml")).unwrap();
    server.write(
        "seen.toml",
        &config.replace("listen = \"127.0.0.1:0\"", &seen),
    );
    let checks = |token: &str, code: i32| {
        let mut command = server.command(&["doctor", "--serve", "--format", "json"]);
        command
            .args(["--config", "seen.toml"])
            .env("GITHUB_TEST_TOKEN", token);
        read(&command.output().unwrap(), code)
    };
    let said = checks(TOKEN, 0);
    assert!(said("token").contains("the token is good with `repo, workflow`"));
    assert!(said("clock").starts_with("\"ok\""), "{}", said("clock"));
    assert!(said("public-url").contains("answers: ok"));
    assert!(said("events").contains("webhooks are taken"));
    assert!(said("telemetry").starts_with("\"ok\""));
    github.runs_ahead(3_600);
    github.allows_only_reading();
    collector.refuse(Some(401));
    let said = checks(TOKEN, 0);
    assert!(said("clock").contains(" s beside that of http://127.0.0.1:"));
    assert!(
        said("token").starts_with("\"warning\"") && said("token").contains("cannot post statuses")
    );
    assert!(said("telemetry").starts_with("\"warning\"") && said("telemetry").contains("401"));
    let said = checks("ghp_another", 5);
    assert!(said("token").contains("the token is refused"));
    drop(github);
    server.stop();
    let mut command = server.command(&["doctor", "--serve", "--format", "json"]);
    command.args(["--config", "seen.toml"]);
    let said = read(
        &command.env("GITHUB_TEST_TOKEN", TOKEN).output().unwrap(),
        5,
    );
    assert!(said("token").contains("does not answer"));
    assert!(
        said("public-url").starts_with("\"warning\"")
            && said("public-url").contains("does not answer from here")
    );
}
