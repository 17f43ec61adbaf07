//! Single HTTP requests over any byte stream.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, aws_lc_rs},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

/// More of an answer is never read.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self
            .headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }

    /// The first line of the body, for a message.
    pub(super) fn first_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let line = text
            .lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default();
        line.trim().chars().take(200).collect()
    }
}

/// No answer came.
#[derive(Debug, Error)]
pub(super) enum HttpError {
    #[error("the connection broke before an answer came")]
    Broken(#[source] hyper::Error),
    #[error("the answer could not be read")]
    Body,
    #[error("the request could not be made: {0}")]
    Request(String),
    #[error("the TLS handshake failed")]
    Tls(#[source] std::io::Error),
    #[error("no answer came within {}", humantime::format_duration(*.0))]
    TooLong(Duration),
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Get<'a> {
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) limit: Duration,
}

/// Sends one GET request and reads the answer; the stream is used up.
pub(super) async fn get<S>(stream: S, wanted: Get<'_>) -> Result<Answer, HttpError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let exchange = exchange(stream, wanted);
    timeout(wanted.limit, exchange)
        .await
        .unwrap_or(Err(HttpError::TooLong(wanted.limit)))
}

/// A connection that is kept for one request after the other.
pub(super) struct Kept {
    sender: http1::SendRequest<Empty<Bytes>>,
    /// Moves its bytes, and ends with the value.
    _driver: JoinSet<()>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}

impl Kept {
    /// Takes a stream over.
    pub(super) async fn new<S>(stream: S) -> Result<Self, HttpError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(HttpError::Broken)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move { drop(connection.await) });
        Ok(Self {
            sender,
            _driver: driver,
        })
    }

    /// Takes a stream over and speaks TLS on it, whatever certificate is shown.
    ///
    /// Requests go through an authenticated SSH connection to the host itself; what is asked is
    /// which release answers there, not who the host is.
    pub(super) async fn tls<S>(stream: S, name: &str) -> Result<Self, HttpError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let name =
            ServerName::try_from(name.to_owned()).map_err(|e| HttpError::Request(e.to_string()))?;
        let connector = TlsConnector::from(Arc::new(client_config()?));
        let stream = connector.connect(name, stream).await;
        Self::new(stream.map_err(HttpError::Tls)?).await
    }

    /// Whether the other side has not ended it, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends one GET request and reads the answer; after an error the connection has no use.
    pub(super) async fn get(&mut self, wanted: Get<'_>) -> Result<Answer, HttpError> {
        let request = request(wanted, "keep-alive")?;
        let answer = async {
            self.sender.ready().await.map_err(HttpError::Broken)?;
            answer(&mut self.sender, request).await
        };
        timeout(wanted.limit, answer)
            .await
            .unwrap_or(Err(HttpError::TooLong(wanted.limit)))
    }
}

fn request(wanted: Get<'_>, connection: &str) -> Result<Request<Empty<Bytes>>, HttpError> {
    let mut request = Request::get(wanted.path)
        .header("host", wanted.host)
        .header("user-agent", "runner")
        .header("connection", connection);
    for (name, value) in wanted.headers {
        request = request.header(*name, *value);
    }
    request
        .body(Empty::<Bytes>::new())
        .map_err(|e| HttpError::Request(e.to_string()))
}

async fn answer(
    sender: &mut http1::SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
) -> Result<Answer, HttpError> {
    let response = sender
        .send_request(request)
        .await
        .map_err(HttpError::Broken)?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, BODY_LIMIT)
        .collect()
        .await
        .map_err(|_| HttpError::Body)?;
    let headers = head.headers.iter().map(|(name, value)| {
        (
            name.as_str().to_owned(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    });
    Ok(Answer {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body: body.to_bytes().to_vec(),
    })
}

async fn exchange<S>(stream: S, wanted: Get<'_>) -> Result<Answer, HttpError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let request = request(wanted, "close")?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(HttpError::Broken)?;
    let answer = answer(&mut sender, request);
    let drive = async {
        // Why it ended is told by the answer that does not come.
        drop(connection.await);
        pending::<Infallible>().await
    };
    tokio::select! {
        answer = answer => answer,
        never = drive => match never {},
    }
}

fn client_config() -> Result<ClientConfig, HttpError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| HttpError::Request(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(config)
}

/// Accepts what a host shows of itself through its own SSH connection.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signed,
            algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
