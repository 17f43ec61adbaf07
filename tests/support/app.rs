//! The key of a GitHub App, made for a test, and whether something is signed by it.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

/// The number of the App.
pub(crate) const APP: u64 = 4242;

/// A key that nobody else has.
pub(crate) struct AppKey {
    pair: KeyPair,
}

impl AppKey {
    /// Makes one.
    pub(crate) fn new() -> Self {
        Self {
            pair: KeyPair::generate(KeySize::Rsa2048).unwrap(),
        }
    }

    /// Returns it as GitHub hands it out.
    pub(crate) fn pem(&self) -> String {
        let der: Pkcs8V1Der<'_> = self.pair.as_der().unwrap();
        let text = STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            lines.join("\n")
        )
    }

    /// Tells whether a token is one of the App, signed by this key, and good now.
    pub(crate) fn signed(&self, token: &str) -> bool {
        let Some((content, signature)) = token.rsplit_once('.') else {
            return false;
        };
        let public = self.pair.public_key().as_ref();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public);
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
        if key.verify(content.as_bytes(), &signature).is_err() {
            return false;
        }
        let claims = content.split('.').nth(1).unwrap_or_default();
        let claims = URL_SAFE_NO_PAD.decode(claims).unwrap_or_default();
        let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
        let now = chrono::Utc::now().timestamp();
        // GitHub takes tokens of ten minutes at most.
        let ends = claims["exp"].as_i64().unwrap_or(0);
        claims["iss"].to_string().trim_matches('"') == APP.to_string()
            && ends > now
            && ends <= now + 600
    }
}
