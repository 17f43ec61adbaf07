//! Who logs in, and what must be known of the host.

use std::{fs, process::Stdio};

use runner::ssh::{
    Command, Connection, Fingerprint, HostKeys, Identity, Jump, Options, Passphrase, SshError,
    Verdict,
};

use crate::support::sshd::{Sshd, keygen, read_known};

use super::{eventually, fingerprint};

#[tokio::test(flavor = "multi_thread")]
async fn every_key_type_logs_in_by_file_and_from_memory() {
    let sshd = Sshd::start();
    let mut allowed = String::new();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        for passphrase in ["", "right words"] {
            let path = sshd.path(&format!("key_{kind}_{}", passphrase.len()));
            keygen(&path, kind, passphrase);
            allowed += &fs::read_to_string(path.with_extension("pub")).unwrap();
        }
    }
    fs::write(sshd.path("authorized_keys"), allowed).unwrap();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        for passphrase in ["", "right words"] {
            let path = sshd.path(&format!("key_{kind}_{}", passphrase.len()));
            let text = fs::read_to_string(&path).unwrap().trim_end().to_owned();
            let passphrase = (!passphrase.is_empty()).then(|| Passphrase::new(passphrase));
            let file = Identity::File {
                path,
                passphrase: passphrase.clone(),
                optional: false,
            };
            let key = runner::ssh::PrivateKey::new(text);
            let memory = Identity::Key {
                name: "secret".into(),
                key,
                passphrase,
            };
            for identity in [file, memory] {
                let options = Options {
                    identities: vec![identity],
                    ..sshd.options()
                };
                let host = Connection::connect(&sshd.address(), &options).await;
                assert!(host.is_ok(), "{kind} {options:?}: {}", host.unwrap_err());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_accepted_is_explained() {
    let sshd = Sshd::start();
    for (name, kind, passphrase) in [("plain", "ed25519", ""), ("closed", "rsa", "right words")] {
        keygen(&sshd.path(name), kind, passphrase);
    }
    fs::write(sshd.path("odd"), "no key\n").unwrap();
    let wrong = Some(Passphrase::new("wrong words"));
    let file = |name: &str, passphrase| Identity::File {
        path: sshd.path(name),
        passphrase,
        optional: false,
    };
    for (identity, words) in [
        (file("plain", None), "was refused"),
        (
            file("closed", None),
            "is encrypted and no passphrase was given",
        ),
        (file("closed", wrong), "has another passphrase"),
        (file("odd", None), "is no private key"),
        (file("missing", None), "could not be read"),
        (
            Identity::Agent {
                socket: sshd.path("no.sock"),
            },
            "did not answer",
        ),
    ] {
        let options = Options {
            identities: vec![identity],
            ..sshd.options()
        };
        let error = Connection::connect(&sshd.address(), &options)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("wrong words"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_logs_in() {
    let sshd = Sshd::start();
    let socket = sshd.path("agent.sock");
    let mut agent = std::process::Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the agent listens", || socket.exists()).await;
    let added = std::process::Command::new("ssh-add")
        .arg("-q")
        .arg(sshd.path("id"))
        .env("SSH_AUTH_SOCK", &socket)
        .status()
        .unwrap();
    assert!(added.success());
    let identities = vec![Identity::Agent { socket }];
    let options = Options {
        identities,
        ..sshd.options()
    };
    let host = Connection::connect(&sshd.address(), &options).await;
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(host.is_ok(), "{}", host.unwrap_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn host_keys_are_checked() {
    let sshd = Sshd::start();
    keygen(&sshd.path("other"), "ed25519", "");
    let other = fs::read_to_string(sshd.path("other.pub")).unwrap();
    let (ed, rsa) = (sshd.known_line("ed25519"), sshd.known_line("rsa"));
    let hashed = {
        fs::write(sshd.path("hashed"), &ed).unwrap();
        let hash = std::process::Command::new("ssh-keygen")
            .args(["-q", "-H", "-f"])
            .arg(sshd.path("hashed"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(hash.success());
        fs::read_to_string(sshd.path("hashed")).unwrap()
    };
    assert!(hashed.starts_with("|1|"), "{hashed}");
    let lines = |text: String| HostKeys {
        lines: Some(text),
        ..HostKeys::default()
    };
    let name = format!("[127.0.0.1]:{}", sshd.port);
    let pin = |kind| HostKeys::pinned(fingerprint(&sshd, kind));
    for (host_keys, outcome) in [
        (lines(ed.clone()), "accepted"),
        (lines(rsa), "accepted"),
        (lines(hashed), "accepted"),
        (lines(String::new()), "is in no known hosts file"),
        (
            lines(format!("{name} {other}")),
            "is not the one in `known hosts:1`",
        ),
        (
            lines(format!("{ed}@revoked * {}", ed.split_once(' ').unwrap().1)),
            "is revoked in",
        ),
        (
            HostKeys::files([sshd.path("missing")]),
            "is in no known hosts file",
        ),
        (pin("ed25519"), "accepted"),
        (pin("ecdsa"), "accepted"),
        (pin("rsa"), "accepted"),
        (
            HostKeys::pinned(Fingerprint::parse(&other).unwrap()),
            "is not the pinned one",
        ),
    ] {
        let options = Options {
            host_keys,
            ..sshd.options()
        };
        match Connection::connect(&sshd.address(), &options).await {
            Ok(_) => assert_eq!(outcome, "accepted"),
            Err(e) => {
                assert!(e.to_string().contains(outcome), "{outcome}: {e}");
                assert!(e.to_string().contains("SHA256:"), "{e}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_that_an_unknown_key_suggests_makes_it_known() {
    let sshd = Sshd::start();
    let options = Options {
        host_keys: HostKeys::default(),
        ..sshd.options()
    };
    let Err(SshError::HostKeyUnknown { line, .. }) =
        Connection::connect(&sshd.address(), &options).await
    else {
        panic!("an unknown key was not refused as such");
    };
    let key = line.rsplit(' ').next().unwrap();
    let key = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, key).unwrap();
    assert_eq!(
        read_known(&line).judge(&sshd.address(), &key),
        Verdict::Known
    );
    let host_keys = HostKeys {
        lines: Some(line),
        ..HostKeys::default()
    };
    let options = Options {
        host_keys,
        ..options
    };
    assert!(Connection::connect(&sshd.address(), &options).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_host_leads_to_the_next() {
    let (first, second) = (Sshd::start(), Sshd::start());
    let jump = Jump {
        address: first.address(),
        options: first.options(),
    };
    let options = Options {
        jump: Some(Box::new(jump)),
        ..second.options()
    };
    let host = Connection::connect(&second.address(), &options)
        .await
        .unwrap();
    let output = host
        .exec(&Command::new("head -c 20000000 /dev/zero"))
        .await
        .unwrap();
    assert_eq!(output.stdout.len(), 20_000_000);
    assert_eq!(first.sessions().len(), 1, "the way leads through the first");
    drop(host);
    eventually("both sessions end", || {
        first.sessions().is_empty() && second.sessions().is_empty()
    })
    .await;
}
