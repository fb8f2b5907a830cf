//! From a YAML file or the environment to a [`Config`], or to every problem at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use marked_yaml::Node;
use reqwest::Url;

use super::problem::{Problem, Problems};
use super::yaml::{Found, Section};
use super::{
    Api, Config, Ledger, Metrics, Poll, Prices, Report, Restate, Secret, TagRule, Tenant, TokenSource, Web,
    WebReports,
};
use super::{prices, schedule::Schedule};

/// Where the API is unless told otherwise.
pub const DEFAULT_BASE_URL: &str = "https://api.i3d.net";

/// Name of the tenant that the environment makes.
const ENVIRONMENT_TENANT: &str = "default";

/// Variables that make a configuration when there is no file.
const VARIABLES: [&str; 5] = [
    "FLEXVM_API_TOKEN",
    "FLEXVM_API_TOKEN_FILE",
    "FLEXVM_API_URL",
    "FLEXVM_LEDGER_URL",
    "FLEXVM_REPORT_DIRECTORY",
];

/// Reads one environment variable; tests hand in their own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process's environment.
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    std::env::var(name).ok()
}

/// What is wrong with the token of the tenant of this name, if one looks for it there; never the token.
pub type TokenCheck<'a> = &'a dyn Fn(&str, &TokenSource) -> Option<String>;

/// A configuration with what should be said about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file that it was read from, if there was one.
    pub file: Option<PathBuf>,
    /// Sentences for the log.
    pub warnings: Vec<String>,
}

/// Loads `file`, else the file that `FLEXVM_CONFIG_FILE` names, else the environment.
/// Tokens are looked for by `token_problem`, so that one that is missing is told with all the rest.
pub fn load(
    file: Option<&Path>,
    environment: Environment<'_>,
    token_problem: TokenCheck<'_>,
) -> Result<Loaded, Problems> {
    let named = file.map(Path::to_owned).or_else(|| environment("FLEXVM_CONFIG_FILE").map(PathBuf::from));
    let Some(path) = named else { return from_environment(environment, token_problem) };
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Problems(vec![Problem::new(path.display().to_string(), format!("cannot be read: {error}"))])
    })?;
    let warnings = VARIABLES
        .iter()
        .filter(|name| environment(name).is_some())
        .map(|name| format!("{name} is set but not used: the configuration file {} wins", path.display()))
        .collect();
    let config = read_yaml(&text, &path.display().to_string(), token_problem)?;
    Ok(Loaded { config, file: Some(path), warnings })
}

/// Reads a configuration file's text; `file` names it in problems. Tokens are not looked for.
pub fn from_yaml(text: &str, file: &str) -> Result<Config, Problems> {
    read_yaml(text, file, &|_, _| None)
}

fn read_yaml(text: &str, file: &str, token_problem: TokenCheck<'_>) -> Result<Config, Problems> {
    let found = Found::default();
    let config = super::yaml::parse(text, file, &found).and_then(|node| read(&node, &found, token_problem));
    match (config, found.into_problems()) {
        (Some(config), problems) if problems.is_empty() => Ok(config),
        (_, problems) => Err(Problems(problems)),
    }
}

fn from_environment(environment: Environment<'_>, token_problem: TokenCheck<'_>) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    let set = |name: &str| environment(name).filter(|value| !value.trim().is_empty());
    let token = match (set("FLEXVM_API_TOKEN_FILE"), environment("FLEXVM_API_TOKEN")) {
        (Some(_), Some(token)) if !token.trim().is_empty() => {
            problems
                .push(Problem::new("FLEXVM_API_TOKEN_FILE", "FLEXVM_API_TOKEN is set too: keep one of them"));
            None
        }
        (Some(path), _) => Some(TokenSource::File(path.into())),
        (None, Some(_)) => Some(TokenSource::Env("FLEXVM_API_TOKEN".to_owned())),
        (None, None) => {
            problems.push(Problem::new(
                "FLEXVM_API_TOKEN",
                "there is no token for the tenant default: set FLEXVM_API_TOKEN or FLEXVM_API_TOKEN_FILE, or name \
                 a configuration file with --config.file or FLEXVM_CONFIG_FILE",
            ));
            None
        }
    };
    let key = match &token {
        Some(TokenSource::File(_)) => "FLEXVM_API_TOKEN_FILE",
        _ => "FLEXVM_API_TOKEN",
    };
    let problem = token.as_ref().and_then(|source| token_problem(ENVIRONMENT_TENANT, source));
    problems.extend(problem.map(|message| Problem::new(key, message)));
    let api = Api::default();
    let base_url = set("FLEXVM_API_URL").unwrap_or_else(|| DEFAULT_BASE_URL.to_owned());
    let base_url = base_url_of(&base_url, &api)
        .map_err(|message| problems.push(Problem::new("FLEXVM_API_URL", message)))
        .ok();
    let mut ledger = Ledger::default();
    if let Some(url) = set("FLEXVM_LEDGER_URL") {
        match ledger_path(&url) {
            Ok(path) => ledger.path = path,
            Err(message) => problems.push(Problem::new("FLEXVM_LEDGER_URL", message)),
        }
    }
    let mut report = Report::default();
    if let Some(directory) = set("FLEXVM_REPORT_DIRECTORY") {
        report.directory = directory.into();
    }
    let (Some(token), Some(base_url), []) = (token, base_url, problems.as_slice()) else {
        return Err(Problems(problems));
    };
    let name = ENVIRONMENT_TENANT.into();
    let tenant = Tenant { name, base_url, token, api, prices: None, group_by: Vec::new() };
    let config = Config {
        tenants: vec![Arc::new(tenant)],
        poll: Poll::default(),
        metrics: Metrics::default(),
        web: Web::default(),
        ledger,
        report,
    };
    Ok(Loaded { config, file: None, warnings: Vec::new() })
}

fn read(node: &Node, found: &Found, token_problem: TokenCheck<'_>) -> Option<Config> {
    let top = Section::new("", node, found);
    let api = top.section("api", |section| api(section, Api::default())).unwrap_or_default();
    let prices = top.section("prices", |section| Arc::new(prices::read(section, found)));
    let poll = top.section("poll", poll).unwrap_or_default();
    let metrics = top.section("metrics", metrics).unwrap_or_default();
    let web = top.section("web", web).unwrap_or_default();
    let ledger = top.section("ledger", ledger).unwrap_or_default();
    let (report, group_by) = top
        .section("report", |section| report(section, found))
        .unwrap_or_else(|| (Report::default(), Vec::new()));
    let general = General { api: &api, prices: prices.as_ref(), group_by: &group_by, token_problem };
    let tenants = tenants(&top, &general, found);
    top.finish();
    (!tenants.is_empty()).then_some(Config { tenants, poll, metrics, web, ledger, report })
}

/// What tenants inherit.
struct General<'a> {
    api: &'a Api,
    prices: Option<&'a Arc<Prices>>,
    group_by: &'a [String],
    token_problem: TokenCheck<'a>,
}

fn tenants(top: &Section<'_>, general: &General<'_>, found: &Found) -> Vec<Arc<Tenant>> {
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
        .section("api", |inner| api(inner, general.api.clone()))
        .unwrap_or_else(|| general.api.clone());
    let prices = section
        .section("prices", |inner| Arc::new(prices::read(inner, found)))
        .or_else(|| general.prices.cloned());
    let group_by = section
        .section("report", |inner| group_by(inner))
        .flatten()
        .unwrap_or_else(|| general.group_by.to_vec());
    let base_url = section
        .value("base_url", |scalar| base_url_of(scalar.as_str(), &api))
        .or_else(|| base_url_of(DEFAULT_BASE_URL, &api).ok());
    let token = match (section.text("token_file"), section.text("token_env")) {
        (Some(file), None) => Some(TokenSource::File(file.into())),
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
        if let Some(message) = (general.token_problem)(name.as_deref().unwrap_or("without a name"), source) {
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
        && name.len() <= 64;
    if valid {
        Ok(name.to_owned())
    } else {
        Err(format!(
            "{name:?} cannot be a folder's name: use letters, digits, . and -, beginning with a letter or digit, \
             without \"..\", 64 at most"
        ))
    }
}

fn api(section: &Section<'_>, default: Api) -> Api {
    let positive = |key: &'static str, default| match section.duration(key) {
        Some(duration) if duration.is_zero() => {
            section.problem(key, "must be more than zero: a request without a limit can hang for ever");
            default
        }
        Some(duration) => duration,
        None => default,
    };
    Api {
        timeout: positive("timeout", default.timeout),
        connect_timeout: positive("connect_timeout", default.connect_timeout),
        allow_http: section.boolean("allow_http").unwrap_or(default.allow_http),
        ca_file: section.text("ca_file").map(PathBuf::from).or(default.ca_file),
        proxy: section.value("proxy", |scalar| proxy(scalar.as_str())).or(default.proxy),
        page_size: section.number("page_size", 1..=10_000).unwrap_or(default.page_size),
        concurrency: section
            .number("concurrency", 1..=256)
            .map_or(default.concurrency, |number| number as usize),
        max_body: section.value("max_body", |scalar| bytes(scalar.as_str())).unwrap_or(default.max_body),
        retries: section.number("retries", 0..=20).unwrap_or(default.retries),
    }
}

fn proxy(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        // The text is not repeated: it may hold a password.
        _ => Err("is not the address of a proxy, such as http://proxy.example:3128".to_owned()),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    match text.parse::<bytesize::ByteSize>() {
        Ok(size) if size.as_u64() >= 1024 => Ok(size.as_u64()),
        Ok(_) => Err(format!("{text:?} is less than 1KiB")),
        Err(_) => Err(format!("{text:?} is not a size such as 256MiB")),
    }
}

fn base_url_of(text: &str, api: &Api) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("{text:?} is not an address: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user name or password: the API takes a token, remove them".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{text:?} must end with a path, without ? or #"));
    }
    match url.scheme() {
        "https" => {}
        "http" if api.allow_http || is_loopback(&url) => {}
        "http" => {
            return Err(format!(
                "{text:?} would send the token unencrypted: use https, or set api.allow_http to true"
            ));
        }
        scheme => return Err(format!("{text:?}: {scheme} is not spoken here, use https")),
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn poll(section: &Section<'_>) -> Poll {
    let default = Poll::default();
    let interval = |key: &'static str, default| match section.duration(key) {
        Some(interval) if !interval.is_zero() && interval.as_secs() == 0 => {
            section.problem(key, "is less than a second; 0s switches the collector off");
            default
        }
        Some(interval) => interval,
        None => default,
    };
    Poll {
        capacity: interval("capacity", default.capacity),
        inventory: interval("inventory", default.inventory),
        deleted_vms: interval("deleted_vms", default.deleted_vms),
        usage: interval("usage", default.usage),
        catalogue: interval("catalogue", default.catalogue),
    }
}

fn metrics(section: &Section<'_>) -> Metrics {
    let default = Metrics::default();
    let tag_keys = section.texts("tag_keys").unwrap_or_default();
    let mut labels = BTreeMap::new();
    for key in &tag_keys {
        if let Some(other) = labels.insert(label_of(key), key) {
            section.problem(
                "tag_keys",
                format!("{other:?} and {key:?} become the same label tag_{}", label_of(key)),
            );
        }
    }
    Metrics {
        per_vm: section.boolean("per_vm").unwrap_or(default.per_vm),
        max_vms: section.number("max_vms", 0..=u32::MAX).map_or(default.max_vms, |number| number as usize),
        max_tags: section.number("max_tags", 0..=u32::MAX).map_or(default.max_tags, |number| number as usize),
        tag_keys,
        stale_after: section.duration("stale_after").unwrap_or(default.stale_after),
    }
}

/// The label's part behind `tag_`: what Prometheus does not take becomes `_`.
#[must_use]
pub fn label_of(tag_key: &str) -> String {
    tag_key.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

fn web(section: &Section<'_>) -> Web {
    let reports = section.value("reports", |scalar| match scalar.as_str() {
        "auto" => Ok(WebReports::Auto),
        "on" => Ok(WebReports::On),
        "off" => Ok(WebReports::Off),
        other => Err(format!("{other:?} is none of auto, on, off")),
    });
    Web { reports: reports.unwrap_or_default() }
}

fn ledger(section: &Section<'_>) -> Ledger {
    let default = Ledger::default();
    let retention = section.value("retention", |scalar| match scalar.as_str() {
        "never" => Ok(None),
        text => super::yaml::duration(text).map(Some),
    });
    Ledger {
        path: section.value("url", |scalar| ledger_path(scalar.as_str())).unwrap_or(default.path),
        retention: retention.unwrap_or(default.retention),
    }
}

fn ledger_path(url: &str) -> Result<PathBuf, String> {
    match url.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() && !path.starts_with(':') => Ok(path.into()),
        _ => Err(format!("{url:?} is not sqlite: and a path, such as sqlite:flexvm-exporter.db")),
    }
}

fn report(section: &Section<'_>, found: &Found) -> (Report, Vec<String>) {
    let default = Report::default();
    let restate = section.value("restate", |scalar| match scalar.as_str() {
        "flag" => Ok(Restate::Flag),
        "auto" => Ok(Restate::Auto),
        other => Err(format!("{other:?} is neither flag nor auto")),
    });
    let report = Report {
        directory: section.text("directory").map_or(default.directory, PathBuf::from),
        schedule: section
            .value("schedule", |scalar| scalar.as_str().parse::<Schedule>())
            .unwrap_or(default.schedule),
        settle: section.duration("settle").unwrap_or(default.settle),
        backfill: section.number("backfill", 0..=120).unwrap_or(default.backfill),
        tag_rules: tag_rules(section, found),
        watch: section.duration("watch").unwrap_or(default.watch),
        restate: restate.unwrap_or_default(),
        excel_bom: section.boolean("excel_bom").unwrap_or(default.excel_bom),
    };
    (report, group_by(section).unwrap_or_default())
}

fn group_by(section: &Section<'_>) -> Option<Vec<String>> {
    let keys = section.texts("group_by")?;
    let mut seen = BTreeSet::new();
    for key in &keys {
        if !seen.insert(key) {
            section.problem("group_by", format!("{key:?} stands here twice"));
        }
        if key.contains(':') {
            section.problem(
                "group_by",
                format!("{key:?} is not a tag's key: the key is what stands before the first :"),
            );
        }
    }
    Some(keys)
}

fn tag_rules(section: &Section<'_>, found: &Found) -> Vec<TagRule> {
    let mut keys = BTreeSet::new();
    let mut rules = Vec::new();
    for (path, node) in section.list("tag_rules").unwrap_or_default() {
        let section = Section::new(path, node, found);
        let key = section.text("key");
        if key.is_none() && section.node("key").is_none() {
            section.problem("key", "is missing: the tag key that the rule is for");
        }
        let values = section.entries("values").into_iter().filter_map(|(path, name, node)| {
            let value = super::yaml::scalar(&path, node, found, |scalar| Ok(scalar.as_str().to_owned()))?;
            Some((name.to_owned(), value))
        });
        let rule = TagRule {
            key: key.unwrap_or_default(),
            values: values.collect(),
            rename: section.text("rename"),
            lowercase: section.boolean("lowercase").unwrap_or(false),
            trim: section.boolean("trim").unwrap_or(false),
        };
        if !rule.key.is_empty() && !keys.insert(rule.key.clone()) {
            section.problem("key", format!("{:?} has a rule already: put both into one", rule.key));
        }
        section.finish();
        rules.push(rule);
    }
    rules
}

/// A tenant for a simulator that this program itself runs.
#[must_use]
pub fn simulated_tenant(name: &str, base_url: Url, token: &str) -> Tenant {
    Tenant {
        name: name.into(),
        base_url,
        token: TokenSource::Fixed(Secret::new(token)),
        api: Api::default(),
        prices: None,
        group_by: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let found = from_yaml(text, "test.yml").expect_err("is refused");
        found.0.iter().map(ToString::to_string).collect()
    }

    const TENANT: &str = "tenants:\n  - name: k1\n    token_file: /run/secrets/t\n";

    #[test]
    fn defaults_are_the_contracts() {
        let config = from_yaml(TENANT, "test.yml").unwrap();
        let tenant = &config.tenants[0];
        assert_eq!(tenant.base_url.as_str(), "https://api.i3d.net/");
        assert_eq!(tenant.api, Api::default());
        assert_eq!(
            (config.poll, config.metrics, config.ledger),
            (Poll::default(), Metrics::default(), Ledger::default())
        );
        assert_eq!(config.report, Report::default());
        assert_eq!(config.report.schedule.as_str(), "0 30 0 1 * *");
    }

    #[test]
    fn every_problem_is_told_with_its_key_and_line() {
        let text = "tenants:\n  - name: ..\n    token_file: t\n  - name: A\n    token_file: t\n    base_url: http://api.example\n  \
                    - name: a\n    token_env: T\n    token_file: t\napi:\n  timeout: 90\n  retry: 3\nreport:\n  \
                    schedule: '0 0 0 31 2 *'\nweb: [x]\n";
        let problems = problems(text);
        let has = |start: &str| {
            assert!(problems.iter().any(|problem| problem.starts_with(start)), "{start}: {problems:#?}");
        };
        has("tenants[0].name (line 2): \"..\"");
        has("tenants[1].base_url (line 6): \"http://api.example\" would send the token unencrypted");
        has("tenants[2].name (line 7): \"a\" is taken");
        has("tenants[2].token_env (line 8): token_file is set too");
        has("api.timeout (line 11): \"90\" is not a duration");
        has("api.retry (line 12): unknown key");
        has("report.schedule (line 14): ");
        has("web (line 15): must be a mapping");
        assert_eq!(problems.len(), 8, "{problems:#?}");
    }

    #[test]
    fn names_that_differ_only_in_case_collide() {
        let text = "tenants:\n- {name: K1, token_file: t}\n- {name: k1, token_file: t}\n";
        assert_eq!(problems(text).len(), 1);
        for name in ["''", "-a", "a/b", "a b", "'a..b'", "ü"] {
            let text = format!("tenants:\n- {{name: {name}, token_file: t}}\n");
            assert!(problems(&text)[0].starts_with("tenants[0].name (line 2)"), "{name}");
        }
    }

    #[test]
    fn prices_are_decimal_text_of_known_currencies_from_firsts_of_months() {
        let text = format!(
            "{TENANT}prices:\n  currency: EUR\n  vm_hour:\n    a: \"0.12\"\n    b: [{{from: 2026-10-01, price: \"0.21\"}}, \
             {{from: 2026-01-01, price: \"0.20\"}}]\n"
        );
        let config = from_yaml(&text, "test.yml").unwrap();
        let prices = config.tenants[0].prices.as_ref().unwrap();
        let at = |name, month: &str| prices.at(name, month.parse().unwrap()).map(|price| price.to_string());
        assert_eq!(at("a", "2020-01").as_deref(), Some("0.12"));
        assert_eq!(at("b", "2025-12"), None);
        assert_eq!(at("b", "2026-09").as_deref(), Some("0.20"));
        assert_eq!(at("b", "2026-10").as_deref(), Some("0.21"));
        for (entry, key) in [
            ("a: 0.12", "prices.vm_hour.a (line 6)"),
            ("a: \"-1\"", "prices.vm_hour.a (line 6)"),
            ("a: \"1e3\"", "prices.vm_hour.a (line 6)"),
            ("a: \"\"", "prices.vm_hour.a (line 6)"),
            ("a: []", "prices.vm_hour.a"),
            ("a: [{from: 2026-10-02, price: \"1\"}]", "prices.vm_hour.a[0].from (line 6)"),
            ("a: [{price: \"1\"}]", "prices.vm_hour.a[0].from"),
        ] {
            let found = problems(&format!("{TENANT}prices:\n  vm_hour:\n    {entry}\n"));
            assert_eq!(found.len(), 1, "{entry}: {found:?}");
            assert!(found[0].starts_with(key), "{entry}: {found:?}");
        }
        assert!(
            problems(&format!("{TENANT}prices: {{currency: EUX}}\n"))[0]
                .starts_with("prices.currency (line 4)")
        );
    }

    #[test]
    fn tenants_replace_the_general_settings() {
        let text = "tenants:\n- name: a\n  token_file: t\n  api: {retries: 1}\n  report: {group_by: [team]}\n\
                    - {name: b, token_file: t}\napi: {retries: 2, page_size: 50}\nreport: {group_by: [project]}\n";
        let config = from_yaml(text, "test.yml").unwrap();
        assert_eq!((config.tenants[0].api.retries, config.tenants[0].api.page_size), (1, 50));
        assert_eq!(config.tenants[0].group_by, ["team"]);
        assert_eq!((config.tenants[1].api.retries, config.tenants[1].group_by[0].as_str()), (2, "project"));
    }

    #[test]
    fn colliding_tag_labels_are_refused() {
        let found = problems(&format!("{TENANT}metrics:\n  tag_keys: [a-b, a.b]\n"));
        assert!(found[0].starts_with("metrics.tag_keys (line 5)"), "{found:?}");
    }

    #[test]
    fn text_that_is_not_a_configuration_is_refused() {
        for text in
            ["", "# nothing", "tenants: []", "a: b: c", "- x", "tenants: 5", "tenants: [5]", "{", "\u{0}"]
        {
            assert!(from_yaml(text, "test.yml").is_err(), "{text:?}");
        }
        assert!(problems(&format!("{TENANT}api: {{}}\napi: {{}}\n"))[0].contains("a second time"));
    }

    #[test]
    fn the_environment_makes_one_tenant() {
        let environment = |name: &str| match name {
            "FLEXVM_API_TOKEN" => Some("secret".to_owned()),
            "FLEXVM_API_URL" => Some("http://127.0.0.1:1/x/".to_owned()),
            "FLEXVM_REPORT_DIRECTORY" => Some("/tmp/r".to_owned()),
            _ => None,
        };
        let loaded = load(None, &environment, &|_, _| None).unwrap();
        let tenant = &loaded.config.tenants[0];
        assert_eq!((&*tenant.name, tenant.base_url.as_str()), ("default", "http://127.0.0.1:1/x"));
        assert_eq!(loaded.config.report.directory, Path::new("/tmp/r"));
        assert!(!format!("{loaded:?}").contains("secret"));
        assert!(load(None, &|_| None, &|_, _| None).unwrap_err().to_string().contains("FLEXVM_API_TOKEN"));
    }
}
