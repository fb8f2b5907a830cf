//! `tenants`: who is polled, each with what it inherits or has of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::sections::{api, group_by, reachable_keys};
use super::{DEFAULT_BASE_URL, Look};
use crate::config::yaml::{Found, Section};
use crate::config::{Api, Prices, TagRule, Tenant, TokenSource, base_url, prices};

/// What tenants inherit.
pub(super) struct General<'a> {
    pub api: &'a Api,
    pub prices: Option<&'a Arc<Prices>>,
    pub group_by: &'a [String],
    pub tag_rules: &'a [TagRule],
    pub look: Look<'a>,
}

pub(super) fn tenants(top: &Section<'_>, general: &General<'_>, found: &Found) -> Vec<Arc<Tenant>> {
    let Some(list) = top.list("tenants") else {
        if top.node("tenants").is_none() {
            top.problem("tenants", "is missing: give a name and a token_file for each FlexVM organisation");
        }
        return Vec::new();
    };
    if list.is_empty() {
        top.problem("tenants", "is empty: give a name and a token_file for each FlexVM organisation");
    }
    let mut names = BTreeSet::new();
    let mut tenants = Vec::new();
    for (path, node) in list {
        let section = Section::new(path, node, found);
        let name = section.value("name", |scalar| tenant_name(scalar.as_str()));
        if name.is_none() && section.node("name").is_none() {
            section.problem("name", "is missing");
        }
        // Folder names may be compared without case, so names that differ only in case collide.
        if let Some(name) = &name
            && !names.insert(name.to_ascii_lowercase())
        {
            section.problem("name", format!("{name:?} is taken by another tenant (case does not count)"));
        }
        tenants.extend(tenant(name, &section, general, found).map(Arc::new));
        section.finish();
    }
    tenants
}

fn tenant(
    name: Option<String>,
    section: &Section<'_>,
    general: &General<'_>,
    found: &Found,
) -> Option<Tenant> {
    let api = section
        .section("api", |inner| api(inner, general.api.clone(), general.look))
        .unwrap_or_else(|| general.api.clone());
    let prices = section
        .section("prices", |inner| Arc::new(prices::read(inner, found)))
        .or_else(|| general.prices.cloned());
    let group_by = section
        .section("report", |inner| {
            let keys = group_by(inner)?;
            reachable_keys(inner, &keys, general.tag_rules);
            Some(keys)
        })
        .flatten()
        .unwrap_or_else(|| general.group_by.to_vec());
    let base_url = section
        .value("base_url", |scalar| base_url::parse(scalar.as_str(), api.allow_http))
        .or_else(|| base_url::parse(DEFAULT_BASE_URL, api.allow_http).ok());
    let token = match (section.text("token_file"), section.text("token_env")) {
        (Some(file), None) => Some(TokenSource::File(general.look.resolve(file.into()))),
        (None, Some(variable)) => Some(TokenSource::Env(variable)),
        (Some(_), Some(_)) => {
            section.problem("token_env", "token_file is set too: keep one of them");
            None
        }
        (None, None) => {
            if section.node("token_file").is_none() && section.node("token_env").is_none() {
                section.problem(
                    "token_file",
                    "there is no token: set token_file, or token_env to a variable's name",
                );
            }
            None
        }
    };
    if let Some(source) = &token {
        let key = if matches!(source, TokenSource::Env(_)) { "token_env" } else { "token_file" };
        // A tenant without a proper name is told apart by its place in the list.
        if let Some(message) = (general.look.token)(name.as_deref().unwrap_or("without a name"), source) {
            section.problem(key, message);
        }
    }
    Some(Tenant { name: name?.into(), base_url: base_url?, token: token?, api, prices, group_by })
}

/// A tenant's name is a folder's name and part of file names.
fn tenant_name(name: &str) -> Result<String, String> {
    let valid = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
        && !name.contains("..")
        && !name.ends_with('.')
        && name.len() <= 64;
    if !valid {
        return Err(format!(
            "{name:?} cannot be a folder's name: use letters, digits, . and -, beginning with a letter or digit, \
             without \"..\" or a dot at the end, 64 at most"
        ));
    }
    if is_windows_device(name) {
        return Err(format!(
            "{name:?} is the name of a Windows device, so Windows cannot store a directory of this name; use another name"
        ));
    }
    Ok(name.to_owned())
}

/// Whether Windows reserves the name for a device: CON, PRN, AUX, NUL, COM1 to COM9 and LPT1 to LPT9, in any case, also
/// with an extension. Windows users often read reports from a shared directory.
fn is_windows_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().to_ascii_uppercase();
    match stem.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" => true,
        other => {
            let number = other.strip_prefix("COM").or_else(|| other.strip_prefix("LPT"));
            number.is_some_and(|number| matches!(number.as_bytes(), [b'1'..=b'9']))
        }
    }
}
