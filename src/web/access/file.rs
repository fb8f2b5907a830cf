//! The file's keys. What is not supported is refused by name: to leave a lock out would betray
//! whoever asked for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hyper::header::{HeaderName, HeaderValue};

use super::basic::{self, Users};
use super::tls::{Clients, Pem, Tls, Version};
use super::{Rules, Seen, tls};
use crate::config::problem::{Problem, Problems};
use crate::config::yaml::{Found, Section, parse, scalar};

/// The headers that may be set, as the toolkit has them.
const HEADERS: [&str; 5] = [
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
];

/// Reads the file, and everything that it names, relative to its own folder.
pub fn read(path: &Path) -> Result<Rules, Problems> {
    let name = format!("--web.config.file {}", path.display());
    let seen = Seen::now(path.to_owned());
    let text = std::fs::read_to_string(path)
        .map_err(|error| Problems(vec![Problem::new(&name, format!("cannot be read: {error}"))]))?;
    let found = Found::default();
    let mut rules = Rules { files: vec![seen], ..Rules::default() };
    if let Some(node) = parse(&text, &name, &found) {
        let section = Section::new("", &node, &found);
        let folder = path.parent().unwrap_or(Path::new(""));
        let http2 = section.section("http_server_config", |http| {
            rules.headers = headers(http, &found);
            http.boolean("http2")
        });
        let http2 = http2.flatten().unwrap_or(true);
        if let Some(Some(wanted)) = section.section("tls_server_config", |tls| tls_keys(tls, folder)) {
            rules.clients_verified = wanted.clients == Clients::Verified;
            rules.files.extend(wanted.files().into_iter().map(Seen::now));
            match tls::server_config(&wanted, http2) {
                Ok((config, expiries)) => (rules.tls, rules.expiries) = (Some(config), expiries),
                Err((key, message)) => found.push(Problem::new(format!("tls_server_config.{key}"), message)),
            }
        }
        rules.users = users(&section, &found);
        section.finish();
    }
    let problems = found.into_problems();
    if problems.is_empty() {
        return Ok(rules);
    }
    // Which file the keys are in is not to be guessed: there may be another one, the exporter's own.
    let of_file = |problem: Problem| {
        if problem.key == name {
            return problem;
        }
        Problem { key: format!("{name}: {}", problem.key), ..problem }
    };
    Err(Problems(problems.into_iter().map(of_file).collect()))
}

fn tls_keys(section: &Section<'_>, folder: &Path) -> Option<Tls> {
    let pem = |file_key, text_key| -> Option<Pem> {
        let file: Option<PathBuf> = section.text(file_key).map(|file| folder.join(file));
        let text = section.text(text_key);
        match (file, text) {
            (Some(_), Some(_)) => {
                section.problem(text_key, format!("stands beside {file_key}: keep one of the two"));
                None
            }
            (Some(file), None) => Some(Pem::File(file)),
            (None, Some(text)) => Some(Pem::Text(text)),
            (None, None) => None,
        }
    };
    let (certificate, key) = (pem("cert_file", "cert"), pem("key_file", "key"));
    let roots = pem("client_ca_file", "client_ca");
    let clients = section.value("client_auth_type", |scalar| match scalar.as_str() {
        "" | "NoClientCert" => Ok(Clients::NotAsked),
        "VerifyClientCertIfGiven" => Ok(Clients::VerifiedIfGiven),
        "RequireAndVerifyClientCert" => Ok(Clients::Verified),
        other @ ("RequestClientCert" | "RequireAnyClientCert") => Err(format!(
            "{other} is not supported, since it verifies nothing; use RequireAndVerifyClientCert or \
             VerifyClientCertIfGiven with client_ca_file"
        )),
        other => Err(format!(
            "{other:?} is none of NoClientCert, VerifyClientCertIfGiven, RequireAndVerifyClientCert"
        )),
    });
    let version = |key| {
        section.value(key, |scalar| match scalar.as_str() {
            "TLS12" => Ok(Version::Tls12),
            "TLS13" => Ok(Version::Tls13),
            "TLS10" | "TLS11" => Err("is not served any more; use TLS12 or TLS13".to_owned()),
            other => Err(format!("{other:?} is none of TLS12, TLS13")),
        })
    };
    let (min, max) = (version("min_version"), version("max_version"));
    if min.unwrap_or(Version::Tls12) > max.unwrap_or(Version::Tls13) {
        section.problem("max_version", "is lower than min_version");
    }
    for key in ["cipher_suites", "curve_preferences", "client_allowed_sans"] {
        if section.list(key).is_some_and(|list| !list.is_empty()) {
            section.problem(key, "is not supported; take it out, and the library's own safe choice holds");
        }
    }
    if section.boolean("prefer_server_cipher_suites") == Some(false) {
        section.problem("prefer_server_cipher_suites", "false is not supported; the server's order holds");
    }
    let clients = clients.unwrap_or(Clients::NotAsked);
    match (&roots, clients) {
        (Some(_), Clients::NotAsked) => section.problem(
            "client_ca_file",
            "stands without client_auth_type: no client would be asked; say RequireAndVerifyClientCert",
        ),
        (None, Clients::Verified | Clients::VerifiedIfGiven) => {
            section.problem("client_auth_type", "needs client_ca_file, by which clients are verified");
        }
        _ => {}
    }
    let Some(certificate) = certificate else {
        section.problem("cert_file", "is missing");
        return None;
    };
    let Some(key) = key else {
        section.problem("key_file", "is missing");
        return None;
    };
    let (min, max) = (min.unwrap_or(Version::Tls12), max.unwrap_or(Version::Tls13));
    Some(Tls { certificate, key, clients, roots, min, max })
}

fn headers(http: &Section<'_>, found: &Found) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (key, name, node) in http.entries("headers") {
        let Some(known) = HEADERS.into_iter().find(|known| *known == name) else {
            let message = format!("cannot be set; those that can are {}", HEADERS.join(", "));
            found.push(Problem::new(key, message));
            continue;
        };
        let value = scalar(&key, node, found, |scalar| {
            HeaderValue::from_str(scalar.as_str()).map_err(|_| "is not a header's value".to_owned())
        });
        if let (Ok(name), Some(value)) = (HeaderName::from_bytes(known.as_bytes()), value) {
            headers.push((name, value));
        }
    }
    headers
}

fn users(section: &Section<'_>, found: &Found) -> Users {
    let mut hashes = BTreeMap::new();
    for (key, user, node) in section.entries("basic_auth_users") {
        let hash = scalar(&key, node, found, |scalar| match basic::problem(scalar.as_str()) {
            None if user.is_empty() || user.contains([':', '\0']) => {
                Err("is not a user's name: it must not be empty or have a colon".to_owned())
            }
            None => Ok(scalar.as_str().to_owned()),
            Some(problem) => Err(problem.to_owned()),
        });
        hashes.extend(hash.map(|hash| (user.to_owned(), hash)));
    }
    Users::new(hashes)
}
