//! Other people's programs judge what the exporter writes and serves: DuckDB and LibreOffice the
//! reports, `prometheus_client` and VictoriaMetrics the metrics.
//!
//! `tests/all.sh` installs them; without one its test says that it is skipped, or fails where
//! `FLEXVM_REQUIRE_TOOLS=1`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flexvm_exporter::api::plain_client;
use program::{Program, exporter, free_port, tool};

const PATIENCE: Duration = Duration::from_secs(90);
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The interpreter that `tests/tools/python.sh` makes.
fn python() -> Option<PathBuf> {
    let python = Path::new(ROOT).join("target/tools/python/bin/python");
    if python.exists() {
        return Some(python);
    }
    // Fails if it must be there.
    assert!(tool("python-with-duckdb").is_none());
    None
}

/// Last month's reports of two tenants with prices, one by exact tags and one by two keys.
fn reports() -> (tempfile::TempDir, Vec<PathBuf>) {
    let simulator = Program::simulate(&["--listen", "127.0.0.1:0", "--vms", "120", "--months", "2"]);
    let folder = tempfile::tempdir().unwrap();
    let url = &simulator.address;
    let config = format!(
        "tenants:\n  - {{name: by-tags, base_url: '{url}', token_env: TOKEN}}\n  - {{name: by-keys, base_url: '{url}', \
         token_env: TOKEN, report: {{group_by: [project, env]}}}}\nprices: {{currency: EUR, vm_hour: {{vm.4c.8g: \
         '0.1234', vm.2c.4g: '0.05', vm.8c.32g: '0.333333'}}}}\n"
    );
    fs::write(folder.path().join("e.yml"), config).unwrap();
    let last = flexvm_exporter::period::Month::of(flexvm_exporter::clock::Clock::system().now()).previous();
    let last = last.to_string();
    let output = exporter()
        .args(["--config.file", "e.yml", "report", "--month", &last])
        .env("TOKEN", "simulator")
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let revisions = ["by-tags", "by-keys"]
        .map(|tenant| folder.path().join("reports").join(tenant).join(&last).join("r01"));
    (folder, revisions.into())
}

/// The beginning of every file's name in a folder of one revision or several.
fn prefixes(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix("by-vm.csv").map(str::to_owned)).collect()
}

#[test]
fn duckdb_recomputes_every_figure_from_the_vms() {
    let Some(python) = python() else { return };
    let recompute = |folder: &Path, prefix: &str| {
        let script = Path::new(ROOT).join("tests/outside/recompute.py");
        let output = Command::new(&python).arg(script).arg(folder).arg(prefix).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (output.status.success(), format!("{said}{}", String::from_utf8_lossy(&output.stderr)))
    };
    let (_folder, mut folders) = reports();
    let closed = folders[0].clone();
    // The golden months have VMs of every kind, and time that was observed.
    folders.push(Path::new(ROOT).join("tests/golden/report"));
    let mut judged = 0;
    for folder in folders {
        for prefix in prefixes(&folder) {
            let (fine, said) = recompute(&folder, &prefix);
            assert!(fine && said.contains(" 0 differences"), "{prefix}\n{said}");
            judged += 1;
        }
    }
    assert_eq!(judged, 4);
    // A figure that is not what it should be is found.
    let prefix = &prefixes(&closed)[0];
    let spoilt = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(&closed).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), spoilt.path().join(entry.file_name())).unwrap();
    }
    let file = spoilt.path().join(format!("{prefix}by-group.csv"));
    let text = fs::read_to_string(&file).unwrap();
    let line = text.lines().nth(1).unwrap();
    let cell = line
        .split(',')
        .find(|cell| cell.contains('.') && cell.parse::<f64>().is_ok_and(|of| of > 1.0))
        .unwrap();
    let other = format!("{}{}", if cell.starts_with('9') { '8' } else { '9' }, &cell[1..]);
    fs::write(&file, text.replacen(cell, &other, 1)).unwrap();
    let (passed, said) = recompute(spoilt.path(), prefix);
    assert!(!passed && said.contains("by-group"), "{said}");
}

/// Separators of cells in LibreOffice's import of text: comma alone, and tab, comma and semicolon together.
const SEPARATORS: [&str; 2] = ["44", "9/44/59"];

/// Converts CSV files as LibreOffice reads them with these separators; returns the texts.
fn converted(soffice: &Path, files: &[PathBuf], separators: &str, to: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(soffice)
        .arg(format!("-env:UserInstallation=file://{}", folder.path().join("profile").display()))
        .arg("--headless")
        .arg(format!("--infilter=CSV:{separators},34,76,1"))
        .args(["--convert-to", to, "--outdir"])
        .arg(folder.path())
        .args(files)
        .output()
        .unwrap();
    let end = to.split(':').next().unwrap();
    let read = |file: &PathBuf| {
        // No name of a report's file has a dot in its stem.
        let converted = folder.path().join(file.file_stem().unwrap()).with_extension(end);
        fs::read_to_string(&converted)
            .unwrap_or_else(|error| panic!("{}: {error}: {output:?}", converted.display()))
    };
    files.iter().map(read).collect()
}

/// Returns the number of cells that LibreOffice reads as formulas.
fn formulas(soffice: &Path, files: &[PathBuf], separators: &str) -> usize {
    let texts = converted(soffice, files, separators, "fods");
    assert!(texts.iter().all(|text| text.contains("<table:table-cell")), "an empty table");
    texts.iter().map(|text| text.matches("table:formula=").count()).sum()
}

/// Every CSV file of the golden months and of simulated ones.
fn csv_files() -> (tempfile::TempDir, Vec<PathBuf>) {
    let (folder, mut folders) = reports();
    folders.push(Path::new(ROOT).join("tests/golden/report"));
    let mut files = Vec::new();
    for folder in folders {
        let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.extend(all.filter(|path| path.extension().is_some_and(|end| end == "csv")));
    }
    assert!(files.len() > 12, "{files:?}");
    (folder, files)
}

#[test]
fn libreoffice_finds_no_formula() {
    let soffice = Path::new("/usr/bin/soffice");
    if !soffice.exists() {
        eprintln!("SKIPPED: there is no LibreOffice");
        return;
    }
    let (folder, files) = csv_files();
    // It would find one, and a cell with a semicolon but without quotes is two cells.
    let control = [folder.path().join("control.csv")];
    fs::write(&control[0], "a,b\r\n=1+1,2\r\na;=1+1,2\r\n").unwrap();
    for (separators, of_control) in SEPARATORS.into_iter().zip([1, 2]) {
        assert_eq!(formulas(soffice, &files, separators), 0, "{separators}");
        assert_eq!(formulas(soffice, &control, separators), of_control, "{separators}");
    }
    // The columns are the same with all separators.
    let csv = |files: &[PathBuf], separators| {
        converted(soffice, files, separators, "csv:Text - txt - csv (StarCalc):44,34,76")
    };
    let [comma, all] = SEPARATORS.map(|separators| csv(&files, separators));
    assert!(comma.iter().any(|text| text.contains(';')) && comma == all);
    assert_ne!(csv(&control, SEPARATORS[0]), csv(&control, SEPARATORS[1]));
}

/// A daemon on a simulator, with everything polled.
fn daemon() -> (tempfile::TempDir, Program, Program) {
    let simulator = Program::simulate(&["--listen", "127.0.0.1:0", "--vms", "60", "--months", "1"]);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let config = format!(
        "tenants: [{{name: t, base_url: '{}', token_file: '{}'}}]\npoll: {{deleted_vms: 1m}}\nmetrics: {{tag_keys: \
         [project]}}\nledger: {{url: 'sqlite:{}'}}\nreport: {{directory: '{}', backfill: 1}}\n",
        simulator.address,
        at("token"),
        at("ledger.db"),
        at("reports")
    );
    fs::write(folder.path().join("token"), "simulator").unwrap();
    fs::write(folder.path().join("e.yml"), config).unwrap();
    let daemon = Program::serve(&folder.path().join("e.yml"));
    (folder, simulator, daemon)
}

/// What `url` answers, once `enough` of it is there.
async fn wait_for(url: &str, accept: &str, enough: impl Fn(&str) -> bool) -> String {
    let http = plain_client(Duration::from_secs(10)).unwrap();
    let started = Instant::now();
    loop {
        let answer = http.get(url).header("accept", accept).send().await;
        let text = match answer {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        if enough(&text) {
            return text;
        }
        assert!(started.elapsed() < PATIENCE, "{url}: {text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

const COMPLETE: [&str; 4] =
    ["\nflexvm_vm_info{", "\nflexvm_usage_vms{", "\nflexvm_report_vm_seconds{", "\nflexvm_image_info{"];

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_client_parses_all_of_openmetrics() {
    let Some(python) = python() else { return };
    let (_folder, _simulator, daemon) = daemon();
    let url = format!("http://{}/metrics", daemon.address);
    let accept = "application/openmetrics-text;version=1.0.0";
    let body = wait_for(&url, accept, |text| COMPLETE.iter().all(|series| text.contains(series))).await;
    let script = "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
                  families = list(parse(sys.stdin.buffer.read().decode()))\n\
                  print(len(families), sum(len(family.samples) for family in families))";
    let mut child = Command::new(python)
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let samples = body.lines().filter(|line| !line.starts_with('#')).count();
    let families = body.lines().filter(|line| line.starts_with("# TYPE")).count();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), format!("{families} {samples}"));
    assert!(samples > 500, "{samples}");
}

#[tokio::test(flavor = "multi_thread")]
async fn victoria_metrics_takes_every_sample() {
    let Some(victoria) = tool("victoria-metrics") else { return };
    let (folder, _simulator, daemon) = daemon();
    let url = format!("http://{}/metrics", daemon.address);
    let body = wait_for(&url, "*/*", |text| COMPLETE.iter().all(|series| text.contains(series))).await;
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: f, static_configs: [{{targets: ['{}']}}]}}]\n",
        daemon.address
    );
    let file = folder.path().join("scrape.yml");
    fs::write(&file, config).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(victoria);
    command
        .arg(format!("-promscrape.config={}", file.display()))
        .arg(format!("-storageDataPath={}", folder.path().join("vm").display()))
        .arg(format!("-httpListenAddr={address}"))
        .args(["-search.latencyOffset=0s", "-loggerLevel=ERROR"]);
    let victoria = Program::start(command, address);
    let query = |query: &str| {
        let encoded: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
        format!("http://{}/api/v1/query?query={encoded}", victoria.address)
    };
    let value = |answer: &str| {
        let answer: serde_json::Value = serde_json::from_str(answer).ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse::<u64>().ok()
    };
    wait_for(&query("up{job='f'}"), "*/*", |text| value(text) == Some(1)).await;
    let vms = body.lines().filter(|line| line.starts_with("flexvm_vm_info{")).count() as u64;
    // The world moves on meanwhile, so the count is near what it was and all of it distinct.
    let counted = wait_for(&query("count(flexvm_vm_info)"), "*/*", |text| value(text).is_some()).await;
    assert!(value(&counted).unwrap().abs_diff(vms) < vms / 2, "{counted} of {vms}");
    let scraped = wait_for(&query("scrape_samples_scraped"), "*/*", |text| value(text).is_some()).await;
    let kept =
        wait_for(&query("scrape_samples_post_metric_relabeling"), "*/*", |text| value(text).is_some()).await;
    assert_eq!(value(&scraped), value(&kept), "none is dropped");
    assert!(value(&scraped).unwrap() > 500);
}
