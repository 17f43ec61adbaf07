//! A target: where requests go, what the mix is made of, and the connections that are kept.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, Uri,
    body::Incoming,
    header::{CONNECTION, CONTENT_TYPE, HOST},
};
use thiserror::Error;
use tokio::time::timeout;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio_util::task::TaskTracker;

use crate::{
    LIMIT,
    connection::{self, Sender, Sender2, Wrong},
    tally::{Tally, TargetReport},
};

/// The header in which the application says which release answers.
const RELEASE: &str = "x-release";

/// The paths of a target that take more than a plain request; none is asked that is not there.
#[derive(Debug, Clone, Default)]
pub struct Paths {
    /// Answers after five seconds.
    pub slow: Option<String>,
    /// Takes bodies, and gives back what it got with 200, or another status that is named.
    pub post: Option<(String, u16)>,
    /// Answers piece by piece.
    pub stream: Option<String>,
    /// A WebSocket that echoes.
    pub socket: Option<String>,
}

/// What cannot be asked.
#[derive(Debug, Error)]
#[error("`{what}` cannot be used: {reason}")]
pub struct BadTarget {
    what: String,
    reason: String,
}

/// Where requests go.
#[derive(Debug, Clone)]
pub struct Target {
    url: String,
    pub(crate) host: String,
    path: String,
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(crate) paths: Paths,
    /// What moves the bytes of each connection.
    pub(crate) connections: TaskTracker,
    kept: Arc<Mutex<Vec<Sender>>>,
    /// The one that HTTP/2 has; asynchronous, so that one connects while the others wait.
    shared: Arc<tokio::sync::Mutex<Option<Sender2>>>,
    tally: Arc<Mutex<Tally>>,
}

impl Target {
    /// A target on loopback, whatever its name says elsewhere; `https` trusts the CA of the file.
    ///
    /// # Errors
    /// The address is not loopback's, the URL or the CA cannot be read.
    pub fn new(
        url: &str,
        address: &str,
        ca: Option<&Path>,
        paths: Paths,
    ) -> Result<Self, BadTarget> {
        let bad = |what: &str, reason: &dyn ToString| BadTarget {
            what: what.to_owned(),
            reason: reason.to_string(),
        };
        if !address.starts_with("127.") {
            return Err(bad(address, &"only loopback is loaded"));
        }
        let uri: Uri = url.parse().map_err(|error| bad(url, &error))?;
        let authority = uri
            .authority()
            .ok_or_else(|| bad(url, &"it names no host"))?;
        let is_tls = uri.scheme_str() == Some("https");
        let tls = if is_tls {
            let name = ServerName::try_from(authority.host().to_owned());
            let ca = ca.ok_or_else(|| bad(url, &"TLS needs a CA"))?;
            let config = trusting(ca).map_err(|reason| bad(&ca.display().to_string(), &reason))?;
            Some((config, name.map_err(|error| bad(url, &error))?))
        } else {
            None
        };
        Ok(Self {
            url: url.to_owned(),
            host: authority.to_string(),
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
            address: address.to_owned(),
            port: authority
                .port_u16()
                .unwrap_or(if is_tls { 443 } else { 80 }),
            tls,
            paths,
            connections: TaskTracker::new(),
            kept: Arc::default(),
            shared: Arc::default(),
            tally: Arc::default(),
        })
    }

    pub(crate) fn report(&self) -> TargetReport {
        self.tally().report(&self.url)
    }

    pub(crate) fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Sender>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the request that has its turn, and notes what became of it.
    pub(crate) async fn ask(&self, number: u32) {
        let kind = match (number % 100, &self.paths) {
            (37, Paths { slow: Some(_), .. }) => "slow",
            (turn, _) if turn % 10 == 0 => "new",
            (turn, Paths { post: Some(_), .. }) if turn % 20 == 3 => "post",
            (turn, _) if turn % 5 == 4 && self.tls.is_some() => "http2",
            _ => "plain",
        };
        let sent = Instant::now();
        let asked = if kind == "http2" {
            timeout(LIMIT, self.exchange_2()).await
        } else {
            timeout(LIMIT, self.exchange(kind, number)).await
        };
        self.note(kind, sent, asked.unwrap_or(Err(Wrong::TooLate)));
    }

    pub(crate) fn note(
        &self,
        kind: &'static str,
        sent: Instant,
        asked: Result<Option<String>, Wrong>,
    ) {
        match asked {
            Ok(release) => self.tally().answered(kind, sent, release.as_deref()),
            Err(wrong) => self.tally().failed(kind, &wrong),
        }
    }

    async fn exchange(&self, kind: &str, number: u32) -> Result<Option<String>, Wrong> {
        let content = vec![b'a' + (number % 26) as u8; 1000 + number as usize % 50 * 1000];
        let content = Bytes::from(content);
        let request = Request::builder().header(HOST, &self.host);
        let (request, status) = match (kind, &self.paths) {
            (
                "slow",
                Paths {
                    slow: Some(path), ..
                },
            ) => (request.uri(path).body(Full::default()), 200),
            (
                "post",
                Paths {
                    post: Some((path, status)),
                    ..
                },
            ) => {
                let request = request.method("POST").uri(path);
                let request = request.header(CONTENT_TYPE, "application/octet-stream");
                (request.body(Full::new(content.clone())), *status)
            }
            ("new", _) => {
                let request = request.uri(&self.path).header(CONNECTION, "close");
                (request.body(Full::default()), 200)
            }
            _ => (request.uri(&self.path).body(Full::default()), 200),
        };
        let request = request.map_err(|error| Wrong::Connect(std::io::Error::other(error)))?;
        let kept = if kind == "new" { None } else { self.take() };
        let (sender, answer) = connection::send(self, kept, request).await?;
        let seen = answer.status().as_u16();
        let release = release(&answer);
        let body = connection::body(answer).await?;
        if seen != status {
            return Err(Wrong::Status(seen));
        }
        if kind == "post" && status == 200 && body != content {
            return Err(Wrong::Body);
        }
        if kind != "new" {
            self.kept().push(sender);
        }
        Ok(release)
    }

    /// The same for a plain request by HTTP/2, on the connection that all of them share.
    async fn exchange_2(&self) -> Result<Option<String>, Wrong> {
        let uri = format!("https://{}{}", self.host, self.path);
        let request = Request::builder().uri(uri).body(Full::<Bytes>::default());
        let request = request.map_err(|error| Wrong::Connect(std::io::Error::other(error)))?;
        let mut sender = {
            let mut shared = self.shared.lock().await;
            match shared.as_ref().filter(|sender| !sender.is_closed()) {
                Some(sender) => sender.clone(),
                None => shared.insert(connection::http_2(self).await?).clone(),
            }
        };
        let answer = sender.send_request(request).await?;
        let (seen, release) = (answer.status().as_u16(), release(&answer));
        connection::body(answer).await?;
        if seen == 200 {
            Ok(release)
        } else {
            Err(Wrong::Status(seen))
        }
    }

    /// A connection that is free, the one that was used last.
    fn take(&self) -> Option<Sender> {
        let mut kept = self.kept();
        kept.retain(|sender| !sender.is_closed());
        let place = kept.iter().rposition(Sender::is_ready)?;
        Some(kept.remove(place))
    }
}

/// Which release answered.
pub(crate) fn release(answer: &Response<Incoming>) -> Option<String> {
    let value = answer.headers().get(RELEASE)?;
    Some(value.to_str().ok()?.to_owned())
}

fn trusting(ca: &Path) -> Result<Arc<ClientConfig>, String> {
    let words = |error: &dyn ToString| error.to_string();
    let mut roots = RootCertStore::empty();
    for found in CertificateDer::pem_file_iter(ca).map_err(|error| words(&error))? {
        let found = found.map_err(|error| words(&error))?;
        roots.add(found).map_err(|error| words(&error))?;
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
