//! Passwords: bcrypt hashes, checked one at a time on a thread of their own, and remembered.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};

use super::{Rules, Verdict};
use crate::web::peer::Peer;
use crate::web::permits::{Class, PermitQueue};
use crate::web::worker::Worker;

/// Maximum number of passwords that wait to be checked. It is more than the number of connections, and over
/// HTTP/1.1 each connection has one request. Therefore no password is refused before [`PATIENCE`]. Clients of a
/// flood that are refused immediately would retry immediately.
const MAX_WAITING: usize = 1024;

/// Maximum time for which a password waits to be checked. It equals the default timeout of a scrape.
const PATIENCE: Duration = Duration::from_secs(10);

/// Maximum number of right passwords that are remembered.
const MAX_RIGHT: usize = 100;

/// Maximum number of wrong passwords that are remembered, and of passwords that were sent before.
const MAX_REMEMBERED: usize = 4096;

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

/// A digest of user, password and hash together, so that a changed hash is checked anew.
type Digest = [u8; 32];

/// Digests of the latest credentials with some property.
#[derive(Debug, Default)]
struct Remembered {
    digests: HashSet<Digest>,
    /// In the order of arrival.
    order: VecDeque<Digest>,
}

impl Remembered {
    fn contains(&self, digest: &Digest) -> bool {
        self.digests.contains(digest)
    }

    /// Adds a digest; beyond `limit` the oldest is forgotten.
    fn insert(&mut self, digest: Digest, limit: usize) {
        if !self.digests.insert(digest) {
            return;
        }
        self.order.push_back(digest);
        while self.order.len() > limit {
            if let Some(oldest) = self.order.pop_front() {
                self.digests.remove(&oldest);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Credentials {
    right: Remembered,
    /// Wrong passwords. They are not checked again, so a client that repeats a wrong password causes no work.
    wrong: Remembered,
    /// Passwords that were sent before. If they are sent again, they are checked first, because a scraper repeats
    /// its password and a guessing client does not.
    sent_before: Remembered,
}

impl Credentials {
    /// Returns the verdict on credentials that were checked before; `None` if they were not. `own` is whether the
    /// hash is the hash of the user.
    fn remembered(&self, digest: &Digest, own: bool) -> Option<Verdict> {
        match () {
            () if own && self.right.contains(digest) => Some(Verdict::In),
            () if self.wrong.contains(digest) => Some(Verdict::Out),
            () => None,
        }
    }

    fn checked(&mut self, digest: Digest, is_right: bool) {
        if is_right {
            self.right.insert(digest, MAX_RIGHT);
        } else {
            self.wrong.insert(digest, MAX_REMEMBERED);
        }
    }
}

/// Credentials that were sent before, and the queue of credentials to check. Only digests are kept.
#[derive(Debug)]
pub struct Known {
    credentials: Arc<Mutex<Credentials>>,
    permits: Arc<PermitQueue>,
    checker: Worker,
}

impl Default for Known {
    fn default() -> Self {
        let permits = PermitQueue::new(MAX_WAITING);
        Self { credentials: Arc::default(), permits, checker: Worker::new("passwords") }
    }
}

impl Known {
    /// Whether a request of `peer` names a user of `rules` and the right password.
    pub async fn judges(&self, rules: &Rules, headers: &HeaderMap, peer: Peer) -> Verdict {
        let Some((user, password)) = credentials(headers) else { return Verdict::Out };
        let Some((hash, own)) = rules.users.hash(&user) else { return Verdict::Out };
        let digest = digest(&user, &password, hash);
        if let Some(verdict) = self.credentials().remembered(&digest, own) {
            return verdict;
        }
        let class = {
            let mut credentials = self.credentials();
            let is_repeated = credentials.sent_before.contains(&digest);
            credentials.sent_before.insert(digest, MAX_REMEMBERED);
            if is_repeated { Class::First } else { Class::Ordinary }
        };
        let permit = tokio::time::timeout(PATIENCE, self.permits.take(peer, class)).await;
        let Ok(Some(permit)) = permit else { return Verdict::Busy };
        // The previous check may have been of the same credentials.
        if let Some(verdict) = self.credentials().remembered(&digest, own) {
            return verdict;
        }
        let (hash, known) = (hash.to_owned(), Arc::clone(&self.credentials));
        let check = move || {
            let is_right = bcrypt::verify(password, &hash).unwrap_or(false) && own;
            // Recorded on this thread, because the client may have disconnected.
            lock(&known).checked(digest, is_right);
            drop(permit);
            if is_right { Verdict::In } else { Verdict::Out }
        };
        self.checker.run(check).await.unwrap_or(Verdict::Busy)
    }

    fn credentials(&self) -> MutexGuard<'_, Credentials> {
        lock(&self.credentials)
    }
}

fn lock(credentials: &Mutex<Credentials>) -> MutexGuard<'_, Credentials> {
    credentials.lock().unwrap_or_else(PoisonError::into_inner)
}

fn digest(user: &str, password: &[u8], hash: &str) -> Digest {
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures_util::FutureExt as _;
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(password: &str) -> HeaderMap {
        let value = format!("Basic {}", BASE64_STANDARD.encode(format!("me:{password}")));
        [(AUTHORIZATION, HeaderValue::from_str(&value).unwrap())].into_iter().collect()
    }

    #[tokio::test]
    async fn repeated_passwords_are_not_checked_again() {
        let hash = bcrypt::hash("right", 4).unwrap();
        let users = Users::new([("me".to_owned(), hash)].into());
        let rules = Rules { users, ..Rules::default() };
        let (known, peer) = (Known::default(), Peer::from(IpAddr::from([10, 0, 0, 1])));
        for (password, verdict) in [("right", Verdict::In), ("wrong", Verdict::Out)] {
            assert_eq!(known.judges(&rules, &headers(password), peer).await, verdict);
        }
        // No password can be checked while the permit is taken.
        let _permit = known.permits.take(peer, Class::Ordinary).await;
        for (password, verdict) in
            [("right", Some(Verdict::In)), ("wrong", Some(Verdict::Out)), ("new", None)]
        {
            assert_eq!(known.judges(&rules, &headers(password), peer).now_or_never(), verdict, "{password}");
        }
    }
}
