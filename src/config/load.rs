//! From a YAML file or the environment to a [`Config`], or to every problem at once.

mod paths;
mod sections;
mod tag_rules;
mod tenants;

pub use paths::Look;
pub use sections::label_of;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use marked_yaml::Node;
use reqwest::Url;

use self::paths::moved_reports;
use self::sections::{api, ledger, ledger_path, metrics, poll, report, web};
use self::tenants::{General, tenants};
use super::problem::{Problem, Problems};
use super::yaml::{Found, Section};
use super::{Api, Config, Ledger, Metrics, Poll, Report, Secret, Tenant, TokenSource, Web, base_url, prices};
use crate::filesystem::{absolute, parent_of};

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

/// Returns the value of an environment variable. An empty variable counts as not set, because
/// `VAR=${VAR:-}` in a Compose file creates empty variables.
fn non_empty(environment: Environment<'_>, name: &str) -> Option<String> {
    environment(name).filter(|value| !value.trim().is_empty())
}

/// Loads `file`, else the file that `FLEXVM_CONFIG_FILE` names, else the environment.
pub fn load(file: Option<&Path>, environment: Environment<'_>, look: Look<'_>) -> Result<Loaded, Problems> {
    let set = |name: &str| non_empty(environment, name);
    let named = file.map(Path::to_owned).or_else(|| set("FLEXVM_CONFIG_FILE").map(PathBuf::from));
    let Some(path) = named else { return from_environment(environment, look) };
    let path = absolute(&path);
    let look = Look { directory: Some(parent_of(&path)), ..look };
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Problems(vec![Problem::new(path.display().to_string(), format!("cannot be read: {error}"))])
    })?;
    let mut warnings: Vec<_> = VARIABLES
        .iter()
        .filter(|name| set(name).is_some())
        .map(|name| format!("{name} is set but not used: the configuration file {} wins", path.display()))
        .collect();
    let mut config = read_yaml(&text, &path.display().to_string(), look)?;
    // What the file does not name is relative to the working directory.
    config.ledger.path = absolute(&config.ledger.path);
    config.report.directory = absolute(&config.report.directory);
    warnings.extend(moved_reports(&config, parent_of(&path)));
    Ok(Loaded { config, file: Some(path), warnings })
}

/// Reads a configuration file's text; `file` names it in problems. What it points to is not looked at.
pub fn from_yaml(text: &str, file: &str) -> Result<Config, Problems> {
    read_yaml(text, file, Look::AT_NOTHING)
}

fn read_yaml(text: &str, file: &str, look: Look<'_>) -> Result<Config, Problems> {
    let found = Found::default();
    let config = super::yaml::parse(text, file, &found).and_then(|node| read(&node, &found, look));
    match (config, found.into_problems()) {
        (Some(config), problems) if problems.is_empty() => Ok(config),
        (_, problems) => Err(Problems(problems)),
    }
}

fn from_environment(environment: Environment<'_>, look: Look<'_>) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    let set = |name: &str| non_empty(environment, name);
    let token = match (set("FLEXVM_API_TOKEN_FILE"), environment("FLEXVM_API_TOKEN")) {
        (Some(_), Some(token)) if !token.trim().is_empty() => {
            problems
                .push(Problem::new("FLEXVM_API_TOKEN_FILE", "FLEXVM_API_TOKEN is set too: keep one of them"));
            None
        }
        (Some(path), _) => Some(TokenSource::File(absolute(Path::new(&path)))),
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
    let problem = token.as_ref().and_then(|source| (look.token)(ENVIRONMENT_TENANT, source));
    problems.extend(problem.map(|message| Problem::new(key, message)));
    let api = Api::default();
    let base_url = set("FLEXVM_API_URL").unwrap_or_else(|| DEFAULT_BASE_URL.to_owned());
    let base_url = base_url::parse(&base_url, api.allow_http)
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
    ledger.path = absolute(&ledger.path);
    report.directory = absolute(&report.directory);
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

fn read(node: &Node, found: &Found, look: Look<'_>) -> Option<Config> {
    let top = Section::new("", node, found);
    let api = top.section("api", |section| api(section, Api::default(), look)).unwrap_or_default();
    let prices = top.section("prices", |section| Arc::new(prices::read(section, found)));
    let poll = top.section("poll", poll).unwrap_or_default();
    let metrics = top.section("metrics", metrics).unwrap_or_default();
    let web = top.section("web", web).unwrap_or_default();
    let ledger = top.section("ledger", |section| ledger(section, look)).unwrap_or_default();
    let (report, group_by) = top
        .section("report", |section| report(section, found, look))
        .unwrap_or_else(|| (Report::default(), Vec::new()));
    let general = General {
        api: &api,
        prices: prices.as_ref(),
        group_by: &group_by,
        tag_rules: &report.tag_rules,
        look,
    };
    let tenants = tenants(&top, &general, found);
    top.finish();
    (!tenants.is_empty()).then_some(Config { tenants, poll, metrics, web, ledger, report })
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
        has(
            "tenants[1].base_url (line 6): \"http://api.example\" must begin with https://, because http:// would send the token unencrypted",
        );
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
    fn names_that_windows_cannot_store_are_refused() {
        let check =
            |name: &str| from_yaml(&format!("tenants:\n- {{name: {name}, token_file: t}}\n"), "test.yml");
        let reserved =
            ["CON", "nul", "Aux", "prn", "com1", "COM9", "lpt3", "con.txt", "NUL.a.b", "k1.", "CON."];
        for name in reserved {
            let found = check(name).expect_err(name).to_string();
            assert!(found.starts_with("tenants[0].name (line 2): "), "{name}: {found}");
        }
        for name in ["com", "com0", "com10", "console", "a.con", "nul-1", "k1.x"] {
            assert!(check(name).is_ok(), "{name}");
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
            ("a: 0.12", "prices.vm_hour.a (line 6): 0.12 is a YAML number: write it as text, \"0.12\""),
            ("a: 0,08", "prices.vm_hour.a (line 6): 0,08 has a decimal comma; write \"0.08\""),
            ("a: \"0,08\"", "prices.vm_hour.a (line 6): 0,08 has a decimal comma; write \"0.08\""),
            ("{a: 0,08, b: \"1\"}", "prices.vm_hour.a (line 6): 0,08 has a decimal comma; write \"0.08\""),
            (
                "a: [{from: 2026-10-01, price: 0,08}]",
                "prices.vm_hour.a[0].price (line 6): 0,08 has a decimal comma; write \"0.08\"",
            ),
            ("a: [{price: 12,5, from: 2026-10-01}]", "prices.vm_hour.a[0].price (line 6): 12,5 has"),
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
    fn mistyped_key_is_named_with_the_key_that_is_meant() {
        for (text, message) in [
            ("api: {retrys: 1}", "api.retrys (line 4): unknown key; did you mean \"retries\"? Known here: "),
            ("api: {page-size: 1}", "api.page-size (line 4): unknown key; did you mean \"page_size\"?"),
            ("api: {Timeout: 1s}", "api.Timeout (line 4): unknown key; did you mean \"timeout\"?"),
            ("reports: {}", "reports (line 4): unknown key; did you mean \"report\"?"),
            ("poll: {inventroy: 1m}", "poll.inventroy (line 4): unknown key; did you mean \"inventory\"?"),
            ("api: {colour: 1}", "api.colour (line 4): unknown key; known here: "),
            ("web: {x: 1}", "web.x (line 4): unknown key; known here: reports"),
        ] {
            let found = problems(&format!("{TENANT}{text}\n"));
            assert!(found.len() == 1 && found[0].starts_with(message), "{text}: {found:?}");
        }
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
    fn what_would_be_read_otherwise_than_it_looks_is_refused() {
        for (text, problem) in [
            ("poll: {usage: 500000000000y}\n", "poll.usage (line 4): "),
            ("ledger: {retention: 11y}\n", "ledger.retention (line 4): "),
            ("ledger: {url: 'postgres://u:secret@h'}\n", "ledger.url (line 4): \"…@h\" "),
            ("---\napi: {retries: 1}\n", "test.yml (line 4): a second document"),
            ("...\napi: {retries: 1}\n", "test.yml (line 5): a second document"),
            ("prices: {vm_hour: {x: [null]}}\n", "prices.vm_hour.x[0].from"),
            ("report: {group_by: [null]}\n", "report.group_by[0] (line 4): is empty"),
            ("metrics: {tag_keys: ['a:b']}\n", "metrics.tag_keys (line 4): "),
            ("report: {tag_rules: [{key: 'a:b'}]}\n", "report.tag_rules[0].key (line 4): "),
            ("report: {tag_rules: [{key: a, rename: 'x:y'}]}\n", "report.tag_rules[0].rename (line 4): "),
            ("report: {tag_rules: [{key: a, normalize: nfd}]}\n", "report.tag_rules[0].normalize (line 4): "),
            (
                "report: {tag_rules: [{key: a}, {key: a}]}\n",
                "report.tag_rules[1].key (line 4): \"a\" has a rule",
            ),
            (
                "report: {tag_rules: [{key: A}, {key: b}, {key: a, ignore_case: true}]}\n",
                "report.tag_rules[2].key (line 4): \"a\" has a rule already, report.tag_rules[0]",
            ),
        ] {
            let found = problems(&format!("{TENANT}{text}"));
            assert!(found[0].starts_with(problem), "{text}: {found:?}");
        }
        for (text, problem) in [
            ("api: {retries: 1, retries: 2}\n", "api.retries (line 4): stands here a second time"),
            ("x: {a: [[{b: 1}, {b: 1, b: 2}]]}\n", "x.a[0][1].b (line 4): stands here a second time"),
        ] {
            let found = problems(&format!("{TENANT}{text}"));
            assert!(found.iter().any(|found| found.starts_with(problem)), "{text}: {found:?}");
        }
        let marked = format!("\u{feff}---\n{TENANT}");
        assert!(from_yaml(&marked, "test.yml").is_ok());
    }

    #[test]
    fn certificates_are_looked_at_where_they_are_needed() {
        let look = Look { ca_file: crate::config::ca_file::problem, ..Look::AT_NOTHING };
        for (path, problem) in [
            ("/nobody/has/this.pem", "/nobody/has/this.pem cannot be read"),
            ("/dev/null", "/dev/null contains no certificate"),
        ] {
            let text = format!("{TENANT}api: {{ca_file: {path}}}\n");
            let found = read_yaml(&text, "test.yml", look).unwrap_err().to_string();
            assert!(found.contains(&format!("api.ca_file (line 4): {problem}")), "{found}");
            assert!(from_yaml(&text, "test.yml").is_ok());
        }
    }

    #[test]
    fn the_environment_makes_one_tenant() {
        let environment = |name: &str| match name {
            "FLEXVM_API_TOKEN" => Some("secret".to_owned()),
            // Empty, as created by Compose.
            "FLEXVM_CONFIG_FILE" | "FLEXVM_LEDGER_URL" => Some(String::new()),
            "FLEXVM_API_URL" => Some("http://127.0.0.1:1/x/".to_owned()),
            "FLEXVM_REPORT_DIRECTORY" => Some("/tmp/r".to_owned()),
            _ => None,
        };
        let loaded = load(None, &environment, Look::AT_NOTHING).unwrap();
        let tenant = &loaded.config.tenants[0];
        assert_eq!((&*tenant.name, tenant.base_url.as_str()), ("default", "http://127.0.0.1:1/x"));
        assert_eq!(loaded.config.report.directory, Path::new("/tmp/r"));
        assert!(!format!("{loaded:?}").contains("secret"));
        assert!(
            load(None, &|_| None, Look::AT_NOTHING).unwrap_err().to_string().contains("FLEXVM_API_TOKEN")
        );
    }
}
