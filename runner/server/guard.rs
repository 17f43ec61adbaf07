//! Who may ask for what.
//!
//! # How it works
//! A request shows a token: as `Authorization: Bearer`, or, to look only, as the password of a basic
//! authorization, which browsers ask for. Nothing that changes something is done for a password that
//! a browser sends by itself, so no other page can do it for its reader. As long as there is no
//! token of an administrator, this machine may look without one.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Site;
use super::problem::Problem;
use crate::scheduler::{AccessScope, Holder, LedgerError, is_same_secret};

/// Who the holder of the token is that `runner.toml` names.
const OWN_TOKEN: &str = "server.token";

/// Who asks: the name of the token that the request showed.
#[derive(Debug, Clone)]
pub(super) struct Asker(pub(super) String);

/// What a request showed.
enum Shown {
    /// A token that only a program sends.
    Bearer(String),
    /// A token that a browser may send by itself.
    Password(String),
}

/// Lets a request through that may do what needs this scope.
pub(super) async fn guard(
    State((site, needed)): State<(Arc<Site>, AccessScope)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    match asker(&site, needed, peer, request.headers()).await {
        Ok(asker) => {
            if let Some(asker) = asker {
                request.extensions_mut().insert(asker);
            }
            next.run(request).await
        }
        Err((problem, is_unknown)) => {
            let mut answer = problem.into_response();
            if is_unknown {
                let challenge =
                    HeaderValue::from_static("Basic realm=\"runner\", charset=\"UTF-8\"");
                let headers = answer.headers_mut();
                if needed == AccessScope::Read {
                    headers.append(header::WWW_AUTHENTICATE, challenge);
                }
                let bearer = HeaderValue::from_static("Bearer realm=\"runner\"");
                headers.append(header::WWW_AUTHENTICATE, bearer);
            }
            answer
        }
    }
}

/// Returns who asks, if they showed a token; or why they are refused, and whether that is since
/// nobody knows who they are.
async fn asker(
    site: &Site,
    needed: AccessScope,
    peer: SocketAddr,
    headers: &HeaderMap,
) -> Result<Option<Asker>, (Problem, bool)> {
    let refused = |status, words: &str| Err((Problem::new(status, words), false));
    let unknown = |words: &str| Err((Problem::new(StatusCode::UNAUTHORIZED, words), true));
    let is_reading = needed == AccessScope::Read;
    let token = match shown(headers) {
        Some(Shown::Bearer(token)) => token,
        Some(Shown::Password(token)) if is_reading => token,
        Some(Shown::Password(_)) => {
            return unknown(
                "this wants `Authorization: Bearer TOKEN`, which no browser sends by itself",
            );
        }
        None if !is_reading => {
            return unknown(
                "a token is wanted: `Authorization: Bearer TOKEN`; make one: runner token create NAME --scope run",
            );
        }
        None => {
            return match is_open(site).await {
                Ok(true) if is_from_here(peer, headers) => Ok(None),
                Ok(true) => refused(
                    StatusCode::FORBIDDEN,
                    "these pages are for this machine alone until there is a token of an administrator: runner token create NAME --scope admin",
                ),
                Ok(false) => unknown("a token is wanted"),
                Err(error) => Err((error.into(), false)),
            };
        }
    };
    match holder(site, &token).await {
        Err(error) => Err((error.into(), false)),
        Ok(None) => unknown("the token is not known, was revoked, or has expired"),
        Ok(Some(holder)) if holder.scope < needed => refused(
            StatusCode::FORBIDDEN,
            &format!(
                "the token allows `{}`, and this wants `{}`",
                holder.scope.as_str(),
                needed.as_str()
            ),
        ),
        Ok(Some(holder)) => Ok(Some(Asker(holder.name))),
    }
}

/// Returns who shows a token.
async fn holder(site: &Site, token: &str) -> Result<Option<Holder>, LedgerError> {
    if let Some(own) = &site.token
        && is_same_secret(token, own)
    {
        return Ok(Some(Holder {
            name: OWN_TOKEN.to_owned(),
            scope: AccessScope::Admin,
        }));
    }
    site.ledger.access(token).await
}

/// Tells whether this machine may look without a token: nobody made one that could make others.
async fn is_open(site: &Site) -> Result<bool, LedgerError> {
    if site.token.is_some() {
        return Ok(false);
    }
    // One that was revoked or has expired closes, too: nothing opens by itself.
    let admin = AccessScope::Admin.as_str();
    let tokens = site.ledger.tokens().await?;
    Ok(tokens.iter().all(|token| token.scope != admin))
}

/// Tells whether a request comes from a program of this machine: not through a proxy here, and not
/// from a page that a browser loaded under a name of its own that leads here.
fn is_from_here(peer: SocketAddr, headers: &HeaderMap) -> bool {
    let is_sent_on = [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-real-ip",
    ]
    .iter()
    .any(|name| headers.contains_key(*name));
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    peer.ip().is_loopback() && !is_sent_on && host.is_none_or(is_local_name)
}

/// Tells whether a `Host` names this machine.
fn is_local_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_address = name
        .parse::<std::net::IpAddr>()
        .is_ok_and(|address| address.is_loopback());
    is_address || name.eq_ignore_ascii_case("localhost")
}

fn shown(headers: &HeaderMap) -> Option<Shown> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Shown::Bearer(rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let (_, password) = text.split_once(':')?;
    Some(Shown::Password(password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in [
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1:8080",
            "[::1]:8080",
            "127.1.2.3",
        ] {
            assert!(is_local_name(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:80",
            "192.0.2.1",
            "[2001:db8::1]:80",
            "",
        ] {
            assert!(!is_local_name(host), "{host}");
        }
    }

    #[test]
    fn a_password_is_told_from_a_token() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            shown(&headers)
        };
        assert!(matches!(with("Bearer a"), Some(Shown::Bearer(token)) if token == "a"));
        assert!(matches!(with("basic eDpi"), Some(Shown::Password(token)) if token == "b"));
        for value in ["Bearer", "Basic !", "Basic eA==", "Digest x"] {
            assert!(with(value).is_none(), "{value}");
        }
    }
}
