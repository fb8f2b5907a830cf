//! The token: where it is read from, and what makes it fit to be sent.

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use reqwest::header::HeaderValue;

use crate::config::{Secret, Tenant, TokenSource};

/// Longest token file that is read, in bytes: a token is one line.
const MAX_FILE: u64 = 64 << 10;

/// A tenant has no token that could be sent.
#[derive(Debug, thiserror::Error)]
#[error("tenant {tenant}: {place} {problem}")]
pub struct TokenError {
    /// The tenant's name.
    pub tenant: Arc<str>,
    /// Where the token was looked for.
    pub place: String,
    problem: &'static str,
    #[source]
    source: Option<std::io::Error>,
}

/// Reads the token of `tenant` from its file or variable, without a byte order mark and the white space around it.
///
/// # Errors
/// The file cannot be read, the variable is not set, or what is there is empty or holds anything
/// but visible ASCII. The error names the tenant and the place, never the token.
pub fn read_token(tenant: &Tenant) -> Result<Secret, TokenError> {
    read_token_from(&tenant.name, &tenant.token)
}

/// As [`read_token`], before there is a whole tenant.
///
/// # Errors
/// The same.
pub fn read_token_from(tenant: &str, source: &TokenSource) -> Result<Secret, TokenError> {
    let place = match source {
        TokenSource::File(path) => format!("token file {}", path.display()),
        TokenSource::Env(name) => format!("environment variable {name}"),
        TokenSource::Fixed(_) => "built-in token".to_owned(),
    };
    let error = |problem, source| TokenError { tenant: tenant.into(), place: place.clone(), problem, source };
    let text = match source {
        TokenSource::File(path) => {
            let mut bytes = Vec::new();
            File::open(path)
                .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
                .map_err(|source| error("cannot be read", Some(source)))?;
            if bytes.len() as u64 > MAX_FILE {
                return Err(error("is larger than 64 KiB: a token is one line", None));
            }
            String::from_utf8(bytes).map_err(|_| error("holds more than visible ASCII", None))?
        }
        TokenSource::Env(name) => {
            #[expect(
                clippy::disallowed_methods,
                reason = "the configuration names the variable only; the token stays out of it"
            )]
            let value = std::env::var_os(name);
            value
                .ok_or_else(|| error("is not set", None))?
                .into_string()
                .map_err(|_| error("holds more than visible ASCII", None))?
        }
        TokenSource::Fixed(secret) => secret.expose().to_owned(),
    };
    // Windows editors write a byte order mark at the beginning of the file.
    let token = text.trim_start_matches('\u{feff}').trim();
    if token.is_empty() {
        return Err(error("is empty", None));
    }
    if token.len() > 1 && token.starts_with(['"', '\'']) && token.ends_with(['"', '\'']) {
        return Err(error("is in quotes: remove them", None));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(error("holds more than one word of visible ASCII", None));
    }
    Ok(Secret::new(token))
}

/// The value of the header that carries the token, marked so that no debug output shows it.
pub(super) fn header(tenant: &Tenant) -> Result<HeaderValue, TokenError> {
    let token = read_token(tenant)?;
    let mut value = HeaderValue::from_str(token.expose()).map_err(|_| TokenError {
        tenant: tenant.name.clone(),
        place: "token".to_owned(),
        problem: "cannot be sent in a header",
        source: None,
    })?;
    value.set_sensitive(true);
    Ok(value)
}
