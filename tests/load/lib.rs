//! Open-loop load: requests at a fixed rate whatever the server does, and what became of them.
//!
//! One request in ten has a connection of its own, one in a hundred takes five seconds, one in
//! twenty has a body, where the server has paths for them; with TLS a fifth goes by HTTP/2. Beside
//! them one WebSocket and one streamed answer stay open. A failure is a wrong status, a reset, or no answer in ten seconds. Nothing that was
//! sent is sent again. An orderly close is none, and whoever listened connects again.

mod connection;
mod tally;
mod target;
mod watch;

use std::time::{Duration, Instant};

use tokio::{task::JoinHandle, time::sleep_until};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use connection::Wrong;
pub use tally::{Report, TargetReport};
pub use target::{BadTarget, Paths, Target};

/// How long an answer may take.
pub const LIMIT: Duration = Duration::from_secs(10);
/// A request that is sent so much later than it was due was not sent at the rate.
const LATE: Duration = Duration::from_secs(1);

/// A load that runs.
#[derive(Debug)]
pub struct Load {
    stop: CancellationToken,
    work: JoinHandle<Report>,
}

impl Load {
    /// Begins to ask the targets in turn, `rate` times a second altogether, inside of a runtime.
    pub fn start(targets: Vec<Target>, rate: f64) -> Self {
        let stop = CancellationToken::new();
        let work = TaskTracker::new().spawn(run(targets, rate, stop.clone()));
        Self { stop, work }
    }

    /// Ends it, waits for the answers that are due, and tells what was seen.
    ///
    /// # Errors
    /// The load itself broke.
    pub async fn end(self) -> Result<Report, tokio::task::JoinError> {
        self.stop.cancel();
        self.work.await
    }
}

async fn run(targets: Vec<Target>, rate: f64, stop: CancellationToken) -> Report {
    let (tasks, begin) = (TaskTracker::new(), Instant::now());
    for target in &targets {
        watch::start(target, &tasks, &stop);
    }
    let (mut number, mut late) = (0_u32, 0_u64);
    loop {
        let due = begin + Duration::from_secs_f64(f64::from(number) / rate);
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = sleep_until(due.into()) => {}
        }
        if due.elapsed() > LATE {
            late += 1;
        }
        let turn = number as usize % targets.len().max(1);
        let Some(target) = targets.get(turn).cloned() else {
            break;
        };
        // Each target has the whole mix.
        let own = number / u32::try_from(targets.len()).unwrap_or(u32::MAX).max(1);
        tasks.spawn(async move { target.ask(own).await });
        number += 1;
    }
    let took = begin.elapsed();
    tasks.close();
    tasks.wait().await;
    Report {
        rate,
        seconds: took.as_secs_f64(),
        due: u64::from(number),
        late,
        targets: targets.iter().map(Target::report).collect(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn what_is_reset_or_answered_wrongly_counts_as_failed_and_is_not_asked_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://stub.test:{}/up",
            listener.local_addr().unwrap().port()
        );
        let target = Target::new(&url, "127.0.0.1", None, Paths::default()).unwrap();
        let load = Load::start(vec![target], 200.0);
        let mut asked = 0_u64;
        let mut answer = async || {
            let (mut client, _) = listener.accept().await.unwrap();
            let read = client.read(&mut [0; 4096]).await.unwrap_or(0);
            asked += u64::from(read > 0);
            if asked.is_multiple_of(2) {
                let text = "HTTP/1.1 500 Broken\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _gone = client.write_all(text.as_bytes()).await;
            }
        };
        for _ in 0..20 {
            answer().await;
        }
        // What was sent meanwhile is answered, too.
        let end = load.end();
        tokio::pin!(end);
        let report = loop {
            tokio::select! {
                report = &mut end => break report.unwrap(),
                () = answer() => {}
            }
        };
        let reasons = &report.targets.first().unwrap().reasons;
        assert_eq!(report.failed(), report.sent(), "{report}");
        assert_eq!(report.sent(), asked, "{report}");
        assert!(
            reasons.keys().any(|reason| reason.ends_with("status 500")),
            "{report}"
        );
        assert!(
            reasons.keys().any(|reason| !reason.ends_with("status 500")),
            "{report}"
        );
    }

    #[test]
    fn only_loopback_is_loaded() {
        let target = Target::new("http://example.com/", "192.0.2.1", None, Paths::default());
        assert!(target.unwrap_err().to_string().contains("loopback"));
    }
}
