//! Tokens: what a request may do that shows one.
//!
//! # How it works
//! A token is `runner_ID_SECRET`. The store has the id and the SHA-256 of the secret; that is enough
//! for a secret of 256 random bits, which nobody can guess one after the other. The id finds the row,
//! so that the comparison is one, and it takes the same time however alike the two are.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::ledger::{Ledger, LedgerError};
use crate::run::Timestamp;
use crate::store::TokenRow;

/// How a token begins, so that those that search for leaked secrets know it.
const BEGINNING: &str = "runner_";

/// What a token allows; each allows all that stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessScope {
    /// To see runs, their logs and figures.
    Read,
    /// To start, cancel and rerun.
    Run,
    /// To see and revoke tokens, and to see which secrets there are.
    Admin,
}

impl AccessScope {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Run, Self::Admin];

    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Run => "run",
            Self::Admin => "admin",
        }
    }

    /// Returns the scope that a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// Who shows a token that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The token's name.
    pub name: String,
    /// What it allows.
    pub scope: AccessScope,
}

/// A token that was just made; this is the only time that it is there as a whole.
pub struct NewToken {
    /// What its owner shows.
    pub token: String,
    /// What is stored of it.
    pub row: TokenRow,
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewToken")
            .field("row", &self.row)
            .finish_non_exhaustive()
    }
}

impl NewToken {
    /// Returns a new token; `random` are bytes of the machine's generator that nobody else has.
    pub fn new(
        name: &str,
        scope: AccessScope,
        now: Timestamp,
        expires_at: Option<Timestamp>,
        random: &[u8; 40],
    ) -> Self {
        let (id, secret) = random.split_at(8);
        let (id, secret) = (hex::encode(id), hex::encode(secret));
        let row = TokenRow {
            hash: hash(&secret),
            name: name.to_owned(),
            scope: scope.as_str().to_owned(),
            created_at: now,
            expires_at,
            revoked_at: None,
            id: id.clone(),
        };
        Self {
            token: format!("{BEGINNING}{id}_{secret}"),
            row,
        }
    }
}

/// Tells what a token allows now; nothing where it was revoked or has expired.
pub fn allowed_by(row: &TokenRow, now: Timestamp) -> Option<AccessScope> {
    let counts = row.revoked_at.is_none() && row.expires_at.is_none_or(|end| end > now);
    AccessScope::from_word(&row.scope).filter(|_| counts)
}

/// Compares two secrets in a time that does not tell where they differ.
pub fn is_same_secret(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(|text| Sha256::digest(text.as_bytes()));
    one.as_slice().ct_eq(other.as_slice()).into()
}

fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

impl Ledger {
    /// Returns who shows a token; none where it is none that counts.
    pub async fn access(&self, shown: &str) -> Result<Option<Holder>, LedgerError> {
        let parts = shown
            .strip_prefix(BEGINNING)
            .and_then(|rest| rest.split_once('_'));
        let Some((id, secret)) = parts else {
            return Ok(None);
        };
        let Some(row) = self.token(id).await? else {
            return Ok(None);
        };
        let is_same: bool = hash(secret).as_bytes().ct_eq(row.hash.as_bytes()).into();
        let scope = allowed_by(&row, self.now()).filter(|_| is_same);
        Ok(scope.map(|scope| Holder {
            name: row.name,
            scope,
        }))
    }

    /// Tells whether there is a token of an administrator that counts.
    pub async fn has_admin(&self) -> Result<bool, LedgerError> {
        let now = self.now();
        let tokens = self.tokens().await?;
        Ok(tokens
            .iter()
            .any(|row| allowed_by(row, now) == Some(AccessScope::Admin)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(expires_at: Option<i64>) -> NewToken {
        let random: [u8; 40] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        NewToken::new(
            "ci",
            AccessScope::Run,
            Timestamp(0),
            expires_at.map(Timestamp),
            &random,
        )
    }

    #[test]
    fn what_is_stored_of_a_token_does_not_make_one() {
        let new = token(None);
        let (_, secret) = new.token.rsplit_once('_').unwrap();
        assert_eq!(secret.len(), 64);
        let stored = format!("{:?}", new.row);
        assert!(!stored.contains(secret), "{stored}");
        assert!(!format!("{new:?}").contains(secret));
    }

    #[test]
    fn a_token_ends_with_its_time_and_when_it_is_revoked() {
        let mut new = token(Some(10));
        assert_eq!(allowed_by(&new.row, Timestamp(9)), Some(AccessScope::Run));
        assert_eq!(allowed_by(&new.row, Timestamp(10)), None);
        new.row.revoked_at = Some(Timestamp(1));
        assert_eq!(allowed_by(&new.row, Timestamp(9)), None);
    }

    #[test]
    fn scopes_grow() {
        assert!(AccessScope::Read < AccessScope::Run && AccessScope::Run < AccessScope::Admin);
        for scope in AccessScope::ALL {
            assert_eq!(AccessScope::from_word(scope.as_str()), Some(scope));
        }
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(is_same_secret("open-sesame", "open-sesame"));
        for other in ["", "open-sesam", "open-sesame ", "Open-sesame"] {
            assert!(!is_same_secret(other, "open-sesame"), "{other}");
        }
    }
}
