//! Passwords: bcrypt hashes, checked off the async threads, one at a time, and remembered.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};

use super::{Rules, Verdict};
use crate::web::turns::Turns;

/// Most passwords that wait to be checked. A check takes a core for some tens of milliseconds up to
/// seconds, so that more would outlast a scraper's patience.
const WAITING: usize = 16;

/// Passwords that were right and are remembered.
const REMEMBERED: usize = 100;

/// Bcrypt hashes by user.
#[derive(Clone, Default)]
pub struct Users(BTreeMap<String, String>);

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Users {
    /// The users of a file; every hash has passed [`problem`].
    pub fn new(hashes: BTreeMap<String, String>) -> Self {
        Self(hashes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The hash to check, and whether it is the user's own. For somebody unknown it is another
    /// user's, so that both take equally long.
    fn hash(&self, user: &str) -> Option<(&str, bool)> {
        match self.0.get(user) {
            Some(hash) => Some((hash, true)),
            None => self.0.values().next().map(|hash| (&**hash, false)),
        }
    }
}

/// What is wrong with a hash; it is not repeated.
pub fn problem(hash: &str) -> Option<&'static str> {
    // Checked before the library sees it.
    if !hash.is_ascii() || hash.parse::<bcrypt::HashParts>().is_err() {
        return Some("is not a bcrypt hash, as `htpasswd -nB USER` prints it behind the colon");
    }
    None
}

/// What was found right before. Only digests are kept, of user, password and hash together, so that
/// a changed hash is asked for anew.
#[derive(Debug)]
pub struct Known {
    right: Mutex<HashSet<[u8; 32]>>,
    checks: Arc<Turns>,
}

impl Default for Known {
    fn default() -> Self {
        Self { right: Mutex::default(), checks: Turns::new(WAITING) }
    }
}

impl Known {
    /// Whether the request names a user of `rules` and the right password.
    pub async fn judges(&self, rules: &Rules, headers: &HeaderMap) -> Verdict {
        let Some((user, password)) = credentials(headers) else { return Verdict::Out };
        let Some((hash, own)) = rules.users.hash(&user) else { return Verdict::Out };
        let digest = digest(&user, &password, hash);
        if own && self.right().contains(&digest) {
            return Verdict::In;
        }
        let hash = hash.to_owned();
        let Some(turn) = self.checks.take().await else { return Verdict::Busy };
        // The one before may have been the same.
        if own && self.right().contains(&digest) {
            return Verdict::In;
        }
        let check = move || {
            let right = bcrypt::verify(password, &hash).unwrap_or(false);
            drop(turn);
            right
        };
        let right = tokio::task::spawn_blocking(check).await.unwrap_or(false) && own;
        if !right {
            return Verdict::Out;
        }
        let mut known = self.right();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(digest);
        Verdict::In
    }

    fn right(&self) -> std::sync::MutexGuard<'_, HashSet<[u8; 32]>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(user: &str, password: &[u8], hash: &str) -> [u8; 32] {
    // A user has no zero byte and no colon; a hash has a fixed length.
    let parts = [user.as_bytes(), &[0], hash.as_bytes(), &[0], password];
    parts.into_iter().fold(Sha256::new(), Sha256::chain_update).finalize().into()
}

/// User and password of the scheme `Basic` (RFC 7617).
fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let user = std::str::from_utf8(&decoded[..colon]).ok().filter(|user| !user.contains('\0'))?;
    Some((user.to_owned(), decoded[colon + 1..].to_vec()))
}
