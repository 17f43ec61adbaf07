//! The load as a program: prints what became of the requests, as one line of JSON and in words.

use std::{io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use runner_load::{Load, Paths, Target};
use tokio::signal::unix::{SignalKind, signal};

/// Sends requests at a fixed rate, whatever the server does, until SIGTERM, SIGINT or `--seconds`.
///
/// Exit codes: 0 all answered, 1 something failed or was otherwise than `--changes` and `--within`
/// say, 2 wrong call, 3 void (too little was sent in time).
#[derive(Debug, Parser)]
#[command(name = "runner-load")]
struct Arguments {
    /// What is asked; several are asked in turn.
    #[arg(long, required = true)]
    url: Vec<String>,
    /// The address that is connected to, on loopback.
    #[arg(long)]
    address: String,
    /// The CA that `https` is trusted by.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Requests in a second, to all together.
    #[arg(long, default_value_t = 300.0)]
    rate: f64,
    /// How long; without it until a signal.
    #[arg(long)]
    seconds: Option<f64>,
    /// How often the release must change at every URL: once with one deploy, and never back.
    #[arg(long)]
    changes: Option<usize>,
    /// In how many milliseconds 99 of 100 requests must be answered.
    #[arg(long)]
    within: Option<f64>,
    /// A path that takes five seconds, for one request in a hundred.
    #[arg(long)]
    slow: Option<String>,
    /// A path that takes bodies, for one request in twenty: it gives them back, or answers =STATUS.
    #[arg(long, value_name = "PATH[=STATUS]")]
    post: Option<String>,
    /// A path that answers piece by piece.
    #[arg(long)]
    stream: Option<String>,
    /// A path of a WebSocket that echoes.
    #[arg(long)]
    websocket: Option<String>,
}

fn targets(arguments: &Arguments) -> Result<Vec<Target>, String> {
    let post = match arguments
        .post
        .as_deref()
        .map(|post| post.rsplit_once('=').unwrap_or((post, "200")))
    {
        None => None,
        Some((path, status)) => {
            let status = status
                .parse()
                .map_err(|error| format!("`{status}` is no status: {error}"))?;
            Some((path.to_owned(), status))
        }
    };
    if !(arguments.rate > 0.0 && arguments.rate <= 100_000.0) {
        return Err("`--rate` must be between 0 and 100,000".to_owned());
    }
    let paths = Paths {
        slow: arguments.slow.clone(),
        post,
        stream: arguments.stream.clone(),
        socket: arguments.websocket.clone(),
    };
    let make = |url: &String| {
        Target::new(
            url,
            &arguments.address,
            arguments.ca.as_deref(),
            paths.clone(),
        )
        .map_err(|error| error.to_string())
    };
    arguments.url.iter().map(make).collect()
}

async fn until_stopped(seconds: Option<f64>) -> std::io::Result<()> {
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let over = async {
        match seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs_f64(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        () = over => {}
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(code) => code,
        Err(reason) => {
            let _told = writeln!(std::io::stderr(), "runner-load: {reason}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let load = Load::start(targets(arguments)?, arguments.rate);
    until_stopped(arguments.seconds)
        .await
        .map_err(|error| error.to_string())?;
    let report = load.end().await.map_err(|error| error.to_string())?;
    writeln!(std::io::stdout(), "{}\n{report}", report.to_json())
        .map_err(|error| error.to_string())?;
    let is_changed = arguments.changes.is_none_or(|times| report.changed(times));
    let is_quick = arguments
        .within
        .is_none_or(|limit| report.p99_ms() <= limit);
    Ok(if !report.is_valid() {
        ExitCode::from(3)
    } else if report.failed() > 0 || !is_changed || !is_quick {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
