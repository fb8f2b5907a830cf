//! Pages behind a reverse proxy: links and downloads below a prefix, and `health`.

use reqwest::Url;

use crate::place::{Place, config, get, last_month, until};

/// The links of a page.
fn links(page: &str) -> Vec<String> {
    let links = page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    links.filter(|link| !link.starts_with("data:")).collect()
}

#[test]
fn links_and_downloads_work_below_a_prefix() {
    let place = Place::new();
    place.write("token", "simulator\n");
    let (_simulator, api) = place.simulator(&["--vms", "5", "--months", "1"]);
    let text = config(&api, "");
    let month = last_month().to_string();
    assert_eq!(place.run_with(&text, &["report", "--month", &month]).code, Some(0));
    for (name, flags, prefix) in [
        ("none", &[][..], ""),
        ("same", &["--web.external-url", "https://host.example/flexvm/"], "/flexvm"),
        ("path", &["--web.external-url", "/a/b"], "/a/b"),
        ("own", &["--web.route-prefix", "x"], "/x"),
    ] {
        let (_daemon, address) = place.serve_with(name, &text, flags);
        until("readiness", || (get(&address, &format!("{prefix}/-/ready"), "").0 == 200).then_some(()));
        let root = Url::parse(&format!("http://{address}{prefix}/")).unwrap();
        let mut downloads = 0;
        for page in [root.clone(), root.join("reports").unwrap(), root.join("reports/").unwrap()] {
            let (status, text) = get(&address, page.path(), "Accept: text/html\r\n");
            assert_eq!(status, 200, "{page}");
            for link in links(&text) {
                assert!(!link.starts_with('/'), "{page}: {link}");
                let to = page.join(&link).unwrap();
                assert!(to.path().starts_with(root.path()), "{page}: {link}");
                assert_eq!(get(&address, to.path(), "").0, 200, "{page}: {link}");
                downloads += usize::from(to.path().ends_with("_by-vm.csv"));
            }
        }
        assert_eq!(downloads, 3, "{name}");
        // JSON has the paths that users reach.
        let (_, list) = get(&address, root.join("reports/").unwrap().path(), "Accept: application/json\r\n");
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let path = list["reports"][0]["files"][0]["path"].as_str().unwrap();
        let external = if name == "own" { "" } else { prefix };
        assert!(path.starts_with(&format!("{external}/reports/k1/{month}/r01/")), "{path}");
        let own = [&["health", "--web.listen-address", &address][..], flags].concat();
        for arguments in [&own[..], &["health", root.as_str()]] {
            let ended = place.run(arguments);
            assert_eq!((ended.code, &*ended.stdout), (Some(0), "ready\n"), "{arguments:?}: {}", ended.stderr);
        }
    }
}

#[test]
fn every_unusable_address_is_a_configuration_problem() {
    let place = Place::new();
    place.write("token", "simulator\n");
    let flags = ["--web.external-url", "ftp://h", "--web.route-prefix", "a b", "--web.telemetry-path", "/"];
    let ended = place.run_with(&config("http://127.0.0.1:1", ""), &[&["serve"], &flags[..]].concat());
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    for flag in ["--web.external-url: ", "--web.route-prefix: ", "--web.telemetry-path: "] {
        assert!(ended.stderr.contains(flag), "{}", ended.stderr);
    }
    // demo and health take the same flags.
    for command in ["demo", "health"] {
        assert_eq!(place.run(&[&[command], &flags[..2]].concat()).code, Some(78), "{command}");
    }
}
