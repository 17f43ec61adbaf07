//! Certificates that the proxy gets itself, from an authority that really issues them.

use std::{path::Path, process::Command};

use crate::support::{
    process::wait_until,
    project::{address, deploy_yml},
    servers::Sandbox,
    stub::{StubProject, ask},
};

/// The server of these tests.
const SERVER: u8 = 8;
const PEBBLE: &str = "runner-sandbox-pebble";
const GIVEN: &str = "ssl: { certificate_pem: TLS_CERTIFICATE, private_key_pem: TLS_PRIVATE_KEY }";
/// How long a certificate may take on a busy machine.
const PATIENCE: u64 = 120;

/// The configuration with these settings of the authority, for a name; `ssl` is the proxy's.
fn configuration(name: &str, ssl: &str, acme: &str) -> String {
    let more = format!(
        "x-runner:\n  proxy: {{ driver: traefik, image: \"127.0.0.1:5000/traefik:v3.7\", networks: [traefik], acme: {{ {acme} }} }}\n"
    );
    deploy_yml(&[SERVER], &more)
        .replace(GIVEN, ssl)
        .replace("app.stub.test", name)
}

/// What the authority said so far.
fn said() -> String {
    let logs = Command::new("docker").args(["logs", PEBBLE]).output();
    let logs = logs.unwrap();
    String::from_utf8_lossy(&logs.stdout).into_owned() + &String::from_utf8_lossy(&logs.stderr)
}

/// How many certificates it has issued.
fn issued() -> usize {
    said().matches("Issued certificate serial").count()
}

/// How often it asked for a proof on port 80; what it asks for on port 443 it does not say.
fn asked_by_http() -> usize {
    said().matches("Attempting to validate w/ HTTP").count()
}

/// Writes down the root by which the authority's certificates are verified.
fn root(at: &Path) {
    let root = Command::new("docker")
        .args(["exec", PEBBLE, "curl", "-fsSk"])
        .arg("https://localhost:15000/roots/0")
        .output()
        .unwrap();
    assert!(root.status.success(), "{root:?}");
    std::fs::write(at, root.stdout).unwrap();
}

/// The release that answers by HTTPS with a certificate that `root` vouches for.
fn verified(root: &Path, name: &str) -> Option<String> {
    let answer = Command::new("curl")
        .args(["-fsS", "-m", "10", "--cacert"])
        .arg(root)
        .args(["--resolve", &format!("{name}:8443:{}", address(SERVER))])
        .arg(format!("https://{name}:8443/version"))
        .output()
        .unwrap();
    let text = String::from_utf8(answer.stdout).unwrap();
    answer.status.success().then(|| text.trim().to_owned())
}

/// The number of the certificate that is served for a name.
fn serial(name: &str) -> String {
    let line = format!(
        "openssl s_client -connect {}:8443 -servername {name} < /dev/null 2> /dev/null | openssl x509 -noout -serial",
        address(SERVER)
    );
    let done = Command::new("sh").args(["-c", &line]).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(text.starts_with("serial="), "{text}");
    text
}

#[test]
fn the_proxy_gets_a_certificate_serves_it_and_keeps_it() {
    const NAME: &str = "app.stub.test";
    const OTHER: &str = "other.stub.test";
    let sandbox = Sandbox::up(&[SERVER]);
    let project = StubProject::of_pool(
        sandbox,
        "runner-tests-database",
        &configuration(NAME, GIVEN, ""),
    );
    sandbox.clean(SERVER);
    let pebble =
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sandbox/pebble"))
            .args(["8", NAME, OTHER])
            .env("RUNNER_SANDBOX", sandbox.state())
            .output()
            .unwrap();
    assert!(pebble.status.success(), "{pebble:?}");
    let ca = sandbox.file("SANDBOX_CA");
    project.file("config/authority.crt", &ca);
    let root_file = project.path().join("root.crt");
    root(&root_file);
    let server = "email: ops@example.com, server: \"https://pebble.test:14000/dir\", ca: config/authority.crt";
    let forwarded = format!("{server}, forwarded: true");

    // Other ports are refused until somebody says that 80 and 443 lead to them.
    project.write(&configuration(NAME, "ssl: true", server));
    let why = "reaches only ports 80 and 443, the proxy has 8080 and 8443";
    project.run(&["doctor"]).expect(3).says(why);
    project
        .run(&["setup", "--version", "v1"])
        .expect(3)
        .says(why)
        .says("x-runner.proxy.acme.forwarded: true");

    // A proxy that was started for certificates that are given cannot get one itself.
    project.write(&configuration(NAME, GIVEN, ""));
    project.run(&["setup", "--version", "v1"]).expect(0);
    assert_eq!(verified(&root_file, NAME), None);
    project.write(&configuration(NAME, "ssl: true", &forwarded));
    project
        .run(&["deploy", "--version", "v1"])
        .expect(5)
        .says("gets certificates from nobody")
        .says("runner proxy reboot");
    project.run(&["proxy", "reboot"]).expect(0);
    project.run(&["deploy", "--version", "v1"]).expect(0);
    let plain = format!("{}:3002", address(SERVER));
    assert_eq!(ask(&plain, "/version").as_deref(), Ok("v1"));
    wait_until(PATIENCE, "the certificate is served", || {
        verified(&root_file, NAME).as_deref() == Some("v1")
    });
    let by_http = asked_by_http();
    assert!(by_http > 0, "{}", said());
    assert_eq!(issued(), 1, "{}", said());
    let first = serial(NAME);

    // It outlives the proxy's container, and no deploy asks for another one.
    project.run(&["proxy", "reboot"]).expect(0);
    wait_until(PATIENCE, "the certificate is served again", || {
        verified(&root_file, NAME).as_deref() == Some("v1")
    });
    project.run(&["deploy", "--version", "v2"]).expect(0);
    wait_until(PATIENCE, "the certificate is served still", || {
        verified(&root_file, NAME).as_deref() == Some("v2")
    });
    assert_eq!((serial(NAME), issued()), (first, 1), "{}", said());
    let mode = "stat -c '%a %U' .kamal/proxy/traefik/acme .kamal/proxy/traefik/acme/acme.json";
    assert_eq!(sandbox.on(SERVER, mode), "700 deploy\n600 root\n");

    // Where port 80 is not to be had, a name is proved on port 443.
    let by_tls = format!("{forwarded}, challenge: tls");
    project.write(&configuration(OTHER, "ssl: true", &by_tls));
    project.run(&["proxy", "reboot"]).expect(0);
    project.run(&["deploy", "--version", "v1"]).expect(0);
    wait_until(PATIENCE, "the other name has a certificate", || {
        verified(&root_file, OTHER).as_deref() == Some("v1")
    });
    assert_eq!((issued(), asked_by_http()), (2, by_http), "{}", said());
}
