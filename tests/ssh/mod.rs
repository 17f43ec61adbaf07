//! The SSH room against a real server.

mod login;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::net::UnixListener,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use runner::ssh::{ChannelRefusal, Command, Connection, Exit, Fingerprint, Options, SshError};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
    time::timeout,
};

use crate::support::process::is_running;
use crate::support::sshd::Sshd;

const LONG: Duration = Duration::from_secs(60);

async fn connect(sshd: &Sshd) -> Connection {
    Connection::connect(&sshd.address(), &sshd.options())
        .await
        .unwrap()
}

fn fingerprint(sshd: &Sshd, kind: &str) -> Fingerprint {
    let public = fs::read_to_string(sshd.path(&format!("host_{kind}.pub"))).unwrap();
    Fingerprint::parse(&public).unwrap()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_gives_both_outputs_and_its_code() {
    let sshd = Sshd::start();
    let host = connect(&sshd).await;
    let output = host
        .exec(&Command::new("cat; echo no >&2; exit 3").stdin("in"))
        .await
        .unwrap();
    assert_eq!(output.stdout, b"in");
    assert_eq!(output.stderr, b"no\n");
    assert_eq!(output.exit, Exit::Code(3));
    let statistics = host.statistics();
    assert_eq!(
        (
            statistics.channels,
            statistics.commands,
            statistics.exchanges
        ),
        (1, 1, 0)
    );
    // The channel, the command, and what came back for what was sent.
    assert!((2..=3).contains(&statistics.waits), "{statistics:?}");
    assert!(
        (4..20).contains(&statistics.handshake_waits),
        "{statistics:?}"
    );
    host.close().await;
    eventually("the session ends on the host", || {
        sshd.sessions().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_not_taken_for_success() {
    let sshd = Sshd::start();
    let host = connect(&sshd).await;
    let output = host.exec(&Command::new("kill -9 $$")).await.unwrap();
    assert_eq!(output.exit, Exit::Signal("KILL".into()));
    assert_eq!(output.exit.code(), 137);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_outputs_and_input_do_not_block_each_other() {
    let sshd = Sshd::start();
    let host = connect(&sshd).await;
    let script =
        "head -c 20000000 /dev/zero | tr '\\0' e >&2; head -c 20000000 /dev/zero; sha256sum";
    let input = vec![5_u8; 20_000_000];
    let command = Command::new(script).stdin(input.clone()).limit(LONG);
    let output = host.exec(&command).await.unwrap();
    assert_eq!(output.stderr, vec![b'e'; 20_000_000]);
    assert!(output.stdout[..20_000_000].iter().all(|byte| *byte == 0));
    let sum = format!("{}  -\n", hex::encode(Sha256::digest(&input)));
    assert_eq!(output.stdout[20_000_000..], *sum.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_reads_nothing_ends_in_spite_of_its_input() {
    let sshd = Sshd::start();
    let host = connect(&sshd).await;
    let command = Command::new("true").stdin(vec![0; 30_000_000]).limit(LONG);
    assert_eq!(host.exec(&command).await.unwrap().exit, Exit::Code(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_limit_ends_the_command_on_the_host() {
    let sshd = Sshd::start();
    let host = connect(&sshd).await;
    let mark = sshd.path("pid");
    let text = format!(
        "echo $$ > {0}.new; mv {0}.new {0}; sleep 1000; echo late",
        mark.display()
    );
    let command = Command::new(text)
        .named("the sleeper")
        .limit(Duration::from_secs(2));
    let error = host.exec(&command.ends_with_caller()).await.unwrap_err();
    assert!(error.to_string().contains("`the sleeper` on"), "{error}");
    let pid: i32 = fs::read_to_string(&mark).unwrap().trim().parse().unwrap();
    eventually("the sleeper is gone", || {
        kill(Pid::from_raw(pid), None).is_err()
    })
    .await;
    assert_eq!(
        host.exec(&Command::new("echo on")).await.unwrap().stdout,
        b"on\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrapped_command_keeps_its_standard_error() {
    let sshd = Sshd::start();
    let host = connect(&sshd).await;
    let command = Command::new("echo it\\'s >&2; cat; exit 4")
        .stdin("x")
        .ends_with_caller();
    let output = host.exec(&command).await.unwrap();
    assert_eq!(
        (output.stderr, output.stdout),
        (b"it's\n".to_vec(), b"x".to_vec())
    );
    assert_eq!(output.exit, Exit::Code(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn output_can_be_streamed() {
    let sshd = Sshd::start();
    let host = connect(&sshd).await;
    let mut process = host
        .spawn(&Command::new("echo a; read x; echo $x; exit 7"))
        .await
        .unwrap();
    let mut first = [0; 2];
    process.stdio.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"a\n");
    process.stdio.write_all(b"b\n").await.unwrap();
    let mut rest = String::new();
    process.stdio.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "b\n");
    assert_eq!(process.wait().await.unwrap(), Exit::Code(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_commands_than_the_server_allows_wait_for_their_turn() {
    for limit in [1, 3] {
        let sshd = Sshd::with(&format!("MaxSessions {limit}"));
        let host = connect(&sshd).await;
        let mut tasks = JoinSet::new();
        for number in 0..12 {
            let host = host.clone();
            tasks.spawn(async move {
                let output = host
                    .exec(&Command::new(format!("echo {number}")))
                    .await
                    .unwrap();
                assert_eq!(output.stdout, format!("{number}\n").as_bytes());
            });
        }
        let all = tasks.join_all();
        timeout(LONG, all).await.expect("no command waits for ever");
    }
}

/// Answers each connection by its kind: `d` sends, `u` counts and hashes, `e` echoes.
fn far_end(mut stream: impl std::io::Read + std::io::Write, size: usize) {
    let mut kind = [0];
    stream.read_exact(&mut kind).unwrap();
    let mut buffer = vec![0; 1 << 16];
    match kind[0] {
        b'd' => {
            for block in pattern(size).chunks(1 << 16) {
                stream.write_all(block).unwrap();
            }
        }
        b'u' => {
            let mut sum = Sha256::new();
            loop {
                let count = stream.read(&mut buffer).unwrap();
                if count == 0 {
                    break;
                }
                sum.update(&buffer[..count]);
            }
            stream.write_all(&sum.finalize()).unwrap();
        }
        _ => loop {
            let count = stream.read(&mut buffer).unwrap();
            if count == 0 {
                break;
            }
            stream.write_all(&buffer[..count]).unwrap();
        },
    }
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size)
        .map(|i| u8::try_from((i ^ (i >> 8) ^ (i >> 16)) & 255).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_streams_at_once_carry_every_byte() {
    const SIZE: usize = 7_000_000;
    let sshd = Sshd::with("RekeyLimit 8M");
    let host = connect(&sshd).await;
    let socket = sshd.path("far.sock");
    let unix = UnixListener::bind(&socket).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in unix.incoming() {
            std::thread::spawn(move || far_end(stream.unwrap(), SIZE));
        }
    });
    std::thread::spawn(move || {
        for stream in tcp.incoming() {
            std::thread::spawn(move || far_end(stream.unwrap(), SIZE));
        }
    });
    let mut tasks = JoinSet::new();
    for number in 0..20_usize {
        let (host, socket) = (host.clone(), socket.clone());
        tasks.spawn(async move {
            let stream = if number % 2 == 0 {
                host.connect_unix(socket.to_str().unwrap()).await.unwrap()
            } else {
                host.connect_tcp("127.0.0.1", port).await.unwrap()
            };
            let (mut reader, mut writer) = tokio::io::split(stream);
            let kind = b"due"[number % 3];
            let send = async {
                writer.write_all(&[kind]).await.unwrap();
                if kind != b'd' {
                    writer.write_all(&pattern(SIZE)).await.unwrap();
                }
                writer.shutdown().await.unwrap();
            };
            let mut got = Vec::new();
            let ((), read) = tokio::join!(send, reader.read_to_end(&mut got));
            read.unwrap();
            match kind {
                b'u' => assert_eq!(got, Sha256::digest(pattern(SIZE)).to_vec()),
                _ => assert!(got == pattern(SIZE), "stream {number}: {} bytes", got.len()),
            }
        });
    }
    timeout(LONG * 2, tasks.join_all())
        .await
        .expect("no stream stalls");
    let statistics = host.statistics();
    assert!(
        statistics.sent + statistics.received > 120_000_000,
        "{statistics:?}"
    );
    assert_eq!(statistics.channels, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_nobody_reads_and_dropped_ones_disturb_no_other() {
    let sshd = Sshd::start();
    let host = connect(&sshd).await;
    let slow = host.connect_command("cat /dev/zero").await.unwrap();
    let mark = format!("10000{}", sshd.port);
    let sleep = Command::new(format!("sleep {mark}")).ends_with_caller();
    for _ in 0..10 {
        let mut stream = host.connect_command("cat /dev/zero").await.unwrap();
        stream.read_exact(&mut [0; 1000]).await.unwrap();
        drop(stream);
        drop(timeout(Duration::from_millis(1), host.exec(&sleep)).await);
    }
    let output = timeout(LONG, host.exec(&Command::new("echo on")))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.stdout, b"on\n");
    drop(slow);
    eventually("no sleeper is left", || !is_running(&mark)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_uses_no_processor() {
    let sshd = Sshd::with("ClientAliveInterval 1\nClientAliveCountMax 2");
    let host = connect(&sshd).await;
    let ticks = || {
        let me = std::process::id();
        let tasks = fs::read_dir(format!("/proc/{me}/task")).unwrap();
        tasks
            .filter_map(|task| fs::read_to_string(task.unwrap().path().join("stat")).ok())
            .filter(|stat| stat.contains(&format!("(ssh {} ", sshd.port)))
            .map(|stat| {
                let (_, fields) = stat.rsplit_once(") ").unwrap();
                fields
                    .split(' ')
                    .skip(11)
                    .take(2)
                    .map(|n| n.parse::<u64>().unwrap())
                    .sum::<u64>()
            })
            .max()
            .unwrap_or(0)
    };
    let before = ticks();
    // The server would hang up after two signs of life that are not answered.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(ticks() < before + 20);
    assert_eq!(
        host.exec(&Command::new("echo on")).await.unwrap().stdout,
        b"on\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_channels_are_told_apart_and_end_nothing() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let sshd = Sshd::with(&format!(
        "AllowStreamLocalForwarding no\nPermitOpen 127.0.0.1:{closed}"
    ));
    let host = connect(&sshd).await;
    // OpenSSH gives no other reason for a forbidden socket than for an absent one.
    let socket = host.connect_unix("/var/run/docker.sock").await.unwrap_err();
    let forbidden = host.connect_tcp("127.0.0.1", 1).await.unwrap_err();
    let absent = host.connect_tcp("127.0.0.1", closed).await.unwrap_err();
    for (error, expected) in [
        (socket, ChannelRefusal::NotConnected),
        (forbidden, ChannelRefusal::Forbidden),
        (absent, ChannelRefusal::NotConnected),
    ] {
        let SshError::Refused { refusal, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(refusal, expected);
    }
    assert_eq!(
        host.exec(&Command::new("echo on")).await.unwrap().stdout,
        b"on\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mute_peer_ends_by_the_connect_limit() {
    let sshd = Sshd::start();
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = sshd.address().with_port(mute.local_addr().unwrap().port());
    let limit = Duration::from_millis(500);
    let options = Options {
        connect_timeout: limit,
        ..sshd.options()
    };
    let begin = Instant::now();
    let error = Connection::connect(&address, &options).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("did not complete the SSH handshake within 500ms"),
        "{error}"
    );
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_ssh_server_is_said() {
    let sshd = Sshd::start();
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = sshd.address().with_port(web.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in web.incoming() {
            let mut stream = stream.unwrap();
            let _gone = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            drop(stream.read(&mut [0; 100]));
        }
    });
    let error = Connection::connect(&address, &sshd.options())
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("did not agree on an SSH session"),
        "{error}"
    );
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let address = sshd.address().with_port(nobody);
    let error = Connection::connect(&address, &sshd.options())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("is not reachable by SSH"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_an_error_for_every_stream() {
    let sshd = Sshd::start();
    let host = connect(&sshd).await;
    let mut stream = host.connect_command("echo a; sleep 1000").await.unwrap();
    let mut first = [0; 2];
    stream.read_exact(&mut first).await.unwrap();
    for session in sshd.sessions() {
        // The process that holds the connection is the monitor's child, where there is one.
        let children = format!("/proc/{session}/task/{session}/children");
        for id in fs::read_to_string(children).unwrap().split_whitespace() {
            kill(Pid::from_raw(id.parse().unwrap()), Signal::SIGKILL).ok();
        }
        kill(Pid::from_raw(session), Signal::SIGKILL).unwrap();
    }
    let end = timeout(LONG, stream.read(&mut first))
        .await
        .expect("the end is seen");
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let error = host.exec(&Command::new("true")).await.unwrap_err();
    assert!(matches!(error, SshError::Lost { .. }), "{error}");
    assert!(host.failure().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_falls_silent_is_given_up() {
    let sshd = Sshd::start();
    let options = Options {
        keepalive: Duration::from_millis(300),
        ..sshd.options()
    };
    let host = Connection::connect(&sshd.address(), &options)
        .await
        .unwrap();
    host.exec(&Command::new("true")).await.unwrap();
    let mut stopped = Vec::new();
    for session in sshd.sessions() {
        let children = format!("/proc/{session}/task/{session}/children");
        stopped.push(session);
        let ids = fs::read_to_string(children).unwrap();
        stopped.extend(ids.split_whitespace().map(|id| id.parse::<i32>().unwrap()));
    }
    for id in &stopped {
        kill(Pid::from_raw(*id), Signal::SIGSTOP).unwrap();
    }
    let end = timeout(LONG, host.exec(&Command::new("true")))
        .await
        .expect("it is given up");
    for id in &stopped {
        kill(Pid::from_raw(*id), Signal::SIGCONT).unwrap();
    }
    assert!(
        end.unwrap_err()
            .to_string()
            .contains("the host did not answer for 900ms")
    );
}
