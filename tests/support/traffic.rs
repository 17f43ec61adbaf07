//! Light load on servers while a test does something to them: what is sent is lost or it is not.

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};
use tokio_util::sync::CancellationToken;

use super::{project::address, servers::Sandbox};

/// The name that the stub application has on its TLS port.
const NAME: &str = "app.stub.test";
/// Between two requests to one port.
const PERIOD: Duration = Duration::from_millis(40);
/// A request that has no answer after this is lost.
const LIMIT: Duration = Duration::from_secs(15);

/// Requests to ports 3002 and 8443 of servers, at a fixed rate whatever becomes of earlier ones.
pub(crate) struct Traffic {
    stop: CancellationToken,
    thread: JoinHandle<Vec<Asked>>,
}

/// One request, and the release that answered or what became of it.
#[derive(Debug)]
struct Asked {
    at: Duration,
    target: String,
    answer: Result<String, String>,
}

impl Traffic {
    /// Begins to ask; each request has a connection of its own.
    pub(crate) fn start(sandbox: &Sandbox, servers: &[u8]) -> Self {
        let stop = CancellationToken::new();
        let (ended, connector) = (stop.clone(), connector(sandbox));
        let servers = servers.to_vec();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(ask_until(&ended, &servers, connector))
        });
        Self { stop, thread }
    }

    /// Ends, and fails the test if a request was lost.
    #[track_caller]
    pub(crate) fn nothing_lost(self) {
        self.stop.cancel();
        let asked = self.thread.join().unwrap();
        let words = |asked: &Asked| {
            let reason = asked.answer.as_ref().err()?;
            let at = asked.at.as_secs_f32();
            Some(format!("at {at:.2} s, {}: {reason}", asked.target))
        };
        let lost: Vec<_> = asked.iter().filter_map(words).collect();
        assert!(
            lost.is_empty(),
            "{} of {} requests were lost: {:#?}",
            lost.len(),
            asked.len(),
            &lost[..lost.len().min(10)]
        );
    }
}

/// Trusts the sandbox's own authority and nobody else.
fn connector(sandbox: &Sandbox) -> TlsConnector {
    let authority = sandbox.file("SANDBOX_CA");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn ask_until(
    stop: &CancellationToken,
    servers: &[u8],
    connector: TlsConnector,
) -> Vec<Asked> {
    let start = Instant::now();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut open = JoinSet::new();
    loop {
        ticks.tick().await;
        for server in servers {
            for port in [3002, 8443] {
                let target = format!("{}:{port}", address(*server));
                let tls = (port == 8443).then(|| connector.clone());
                open.spawn(async move {
                    let at = start.elapsed();
                    let asked = timeout(LIMIT, ask(&target, tls)).await;
                    let answer = asked.unwrap_or_else(|_| Err("no answer in time".to_owned()));
                    Asked { at, target, answer }
                });
            }
        }
        if stop.is_cancelled() {
            return open.join_all().await;
        }
    }
}

async fn ask(target: &str, tls: Option<TlsConnector>) -> Result<String, String> {
    let words = |step: &'static str| move |e: std::io::Error| format!("{step}: {e}");
    let stream = TcpStream::connect(target).await.map_err(words("connect"))?;
    match tls {
        None => exchange(stream).await.map_err(words("exchange"))?,
        Some(connector) => {
            let name = ServerName::try_from(NAME).unwrap();
            let stream = connector
                .connect(name, stream)
                .await
                .map_err(words("TLS"))?;
            exchange(stream).await.map_err(words("exchange"))?
        }
    }
}

/// The release that answered; the outer error is the connection's.
async fn exchange<S>(mut stream: S) -> std::io::Result<Result<String, String>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = format!("GET /version HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    Ok(if head.starts_with("HTTP/1.1 200 ") {
        Ok(body.trim().to_owned())
    } else {
        Err(format!(
            "answered `{}`",
            head.lines().next().unwrap_or_default()
        ))
    })
}
