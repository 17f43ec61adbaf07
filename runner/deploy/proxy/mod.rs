//! The proxies in front of the containers.
//!
//! A driver boots its proxy, waits until the proxy itself shows a route, and proves a switch by a
//! request to the host's real ports. Who answers is data ([`crate::release::Route`]); the file of
//! a route is written by a transaction, under its fence.

mod traefik;

pub(super) use traefik::{Api, Door};

use super::{error::OpError, host::Host, settings::Settings};
use crate::docker::Found;
use crate::release::{ProxyWish, RouteSpec, TransactionId, from_kamal::ProxySpec};

/// How many requests went to the containers of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Requests {
    /// All of them.
    pub(super) all: u64,
    /// Those that were answered with 5xx.
    pub(super) failed: u64,
}

/// Checks that this program can drive the proxy that a release wants.
pub(super) fn supported(wish: &ProxyWish) -> Result<(), OpError> {
    match wish.driver.as_str() {
        "traefik" => Ok(()),
        other => Err(OpError::Unsupported(format!("proxy driver `{other}`"))),
    }
}

impl Host {
    /// Checks that the proxy runs and answers.
    pub(super) async fn check_proxy(&self, wish: &ProxyWish) -> Result<(), OpError> {
        supported(wish)?;
        traefik::check(self, wish.container.as_str()).await
    }

    /// Asks the proxy ahead of what follows, where it can be asked; `found` is its container.
    pub(super) async fn look_at_proxy(&self, wish: &ProxyWish, found: Found) {
        if wish.driver == "traefik" && found.is_running() {
            traefik::look(self, found).await;
        }
    }

    /// Waits until the proxy's own API shows some groups and no longer shows others.
    pub(super) async fn await_route(
        &self,
        proxy: &ProxyWish,
        shows: &[String],
        gone: &[String],
    ) -> Result<(), OpError> {
        supported(proxy)?;
        traefik::await_services(self, proxy.container.as_str(), shows, gone).await
    }

    /// Opens the connections of [`Self::prove`] ahead of it, where they can be.
    pub(super) async fn open_doors(&self, proxy: Option<&ProxyWish>, routes: &[RouteSpec]) {
        if let Some(proxy) = proxy.filter(|proxy| proxy.driver == "traefik") {
            traefik::open_doors(self, proxy.container.as_str(), routes).await;
        }
    }

    /// Proves by requests to the host's real ports that `transaction` answers.
    pub(super) async fn prove(
        &self,
        proxy: &ProxyWish,
        routes: &[RouteSpec],
        transaction: &TransactionId,
    ) -> Result<(), OpError> {
        supported(proxy)?;
        traefik::prove(self, proxy.container.as_str(), routes, transaction).await
    }

    /// How many requests went to what `transaction` made; `None` where the proxy does not tell.
    pub(super) async fn requests_of(
        &self,
        proxy: Option<&ProxyWish>,
        transaction: &TransactionId,
    ) -> Option<Requests> {
        let proxy = proxy.filter(|proxy| proxy.driver == "traefik")?;
        traefik::requests_of(self, proxy.container.as_str(), transaction).await
    }

    /// Starts the proxy; there already and the same: only sees to it that it runs. Returns whether
    /// it was started.
    ///
    /// `anew` replaces one that is there, which cuts its connections.
    ///
    /// # Errors
    /// A port is taken, the image is not to be had, another proxy is there.
    pub async fn boot_proxy(
        &self,
        spec: &ProxySpec,
        settings: &Settings,
        anew: bool,
    ) -> Result<bool, OpError> {
        match spec.driver.as_str() {
            "traefik" => traefik::boot(self, spec, settings, anew).await,
            other => Err(OpError::Unsupported(format!("proxy driver `{other}`"))),
        }
    }
}
