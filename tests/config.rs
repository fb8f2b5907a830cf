//! The example configuration says what it says: it is read without a problem, and its values are
//! the defaults wherever it does not show an example.

use std::path::Path;

use flexvm_exporter::config::{Api, Ledger, Metrics, Poll, Report, Web, load};

#[test]
fn the_example_is_valid_and_shows_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/flexvm-exporter.yml");
    let text = std::fs::read_to_string(path).unwrap();
    let config = load::from_yaml(&text, path).unwrap();
    assert_eq!(config.tenants.len(), 1);
    assert_eq!(config.tenants[0].api, Api::default());
    assert_eq!(config.poll, Poll::default());
    assert_eq!(config.metrics, Metrics::default());
    assert_eq!(config.web, Web::default());
    // Absolute, because the file is copied to directories where no daemon may write.
    let state = |default: &Path| Path::new("/var/lib/flexvm-exporter").join(default);
    let path = state(&Ledger::default().path);
    assert_eq!(config.ledger, Ledger { path, ..Ledger::default() });
    let (directory, tag_rules) = (state(&Report::default().directory), config.report.tag_rules.clone());
    assert_eq!(config.report, Report { directory, tag_rules, ..Report::default() });
    assert_eq!(config.report.tag_rules.len(), 1);
    assert_eq!(config.tenants[0].prices.as_ref().unwrap().vm_hour.len(), 2);
}

#[test]
fn every_key_is_in_the_example() {
    // A key that the example lacks is missing from the list that an unknown key's problem names.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/flexvm-exporter.yml");
    let text = std::fs::read_to_string(path).unwrap();
    for section in ["api", "poll", "metrics", "web", "ledger", "report", "prices"] {
        let wrong = format!("tenants: [{{name: a, token_file: t}}]\n{section}: {{no_such_key: 1}}\n");
        let problems = load::from_yaml(&wrong, "wrong.yml").unwrap_err().to_string();
        let known = problems.rsplit("known here: ").next().unwrap();
        for key in known.lines().next().unwrap().split(", ") {
            assert!(text.contains(&format!("\n  {key}:")), "{section}.{key} is not in the example");
        }
    }
}
