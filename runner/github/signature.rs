//! Whether a webhook really comes from GitHub.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Tells whether `header` is the signature of `body` under one of the secrets.
///
/// Several secrets count, so that one can be replaced without losing a delivery. The comparison takes
/// the same time wherever the signatures differ.
///
/// Source: GitHub, "Validating webhook deliveries": `X-Hub-Signature-256` is `sha256=` and the
/// HMAC-SHA256 of the body in hexadecimal digits.
pub fn is_signed(secrets: &[String], body: &[u8], header: &str) -> bool {
    let Some(given) = header
        .strip_prefix("sha256=")
        .and_then(|digits| hex::decode(digits).ok())
    else {
        return false;
    };
    let matches = |secret: &String| {
        // An empty secret would let everybody in.
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
        mac.update(body);
        (!secret.is_empty() && mac.verify_slice(&given).is_ok()).then_some(())
    };
    // All are looked at, so that the time does not tell which one it was.
    secrets.iter().filter_map(matches).count() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_github_for_one_of_the_secrets() {
        // The vector of GitHub's documentation.
        let secret = "It's a Secret to Everybody".to_owned();
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let body = b"Hello, World!";
        let both = ["another".to_owned(), secret];
        assert!(is_signed(&both, body, signature));
        assert!(!is_signed(&both[..1], body, signature));
        assert!(!is_signed(&both, b"Hello, world!", signature));
        assert!(!is_signed(&both, body, &signature[7..]));
        assert!(!is_signed(&both, body, "sha256=7571"));
        assert!(!is_signed(&[], body, signature));
        assert!(!is_signed(&[String::new()], body, signature));
    }
}
