//! The pages in headless Chromium: what people see is what programs are told, light and dark, wide
//! and narrow, with scripts and without, whatever names and tags hold.
//!
//! Needs `chromium` on the PATH (`tests/all.sh` installs it).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "browser/devtools.rs"]
mod devtools;
mod program;
#[path = "browser/stage.rs"]
mod stage;

use std::collections::BTreeSet;

use base64::Engine as _;
use devtools::{Browser, Look, Page};
use program::tool;
use serde_json::{Value, json};
use stage::{HOSTILE, ODD, Stage};

const WIDE: u32 = 1280;
const PHONE: u32 = 375;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_see_what_programs_are_told() {
    let Some(chromium) = tool("chromium") else { return };
    let stage = stage::stage().await;
    let mut browser = Browser::start(&chromium);
    for path in ["/", "/reports/"] {
        let mut seen = Vec::new();
        for (width, dark, scripts) in
            [(WIDE, false, true), (WIDE, true, true), (PHONE, false, true), (PHONE, true, false)]
        {
            let look = Look { width, dark, scripts };
            let page = browser.open(&format!("http://{}{path}", stage.daemon.address), look);
            let found = browser.value(&page, include_str!("browser/look.js"));
            is_well(&found, &format!("{path} {look:?}"));
            assert!((brightness(&mut browser, &page) < 64.0) == dark, "{path} {look:?}");
            is_alone(&browser, &page, &stage.daemon.address);
            seen.push(json!([found["title"], found["tables"], found["headings"], found["links"]]));
            browser.close(&page);
        }
        // Neither width nor colours nor scripts decide what there is to see.
        assert!(seen.iter().all(|it| *it == seen[0]), "{path}: {seen:?}");
    }
    the_status_is_what_the_json_says(&mut browser, &stage);
    reports_are_what_the_json_says(&mut browser, &stage);
    harm_is_kept_from_running(&mut browser, &stage);
    it_looks_again_without_a_jump(&mut browser, stage);
}

/// Nothing sticks out, is too faint to read, or has become an element.
fn is_well(found: &Value, what: &str) {
    assert!(found["content"].as_u64() <= found["width"].as_u64(), "{what} sticks out: {}", found["content"]);
    assert_eq!(found["faint"], json!([]), "{what}: contrast below 4.5");
    assert_eq!(found["strangers"], json!([]), "{what}");
    assert_eq!(found["unscoped"], 0, "{what}");
    // In the tags, or in the reason of a restatement.
    assert!(found["text"].as_str().unwrap().contains(HOSTILE), "{what}: {}", found["text"]);
}

/// No complaint in the console, and no request to anybody else.
fn is_alone(browser: &Browser, page: &Page, address: &str) {
    let errors = browser.events(page, "Log.entryAdded");
    assert!(errors.iter().all(|it| it["entry"]["level"] != "error"), "{errors:?}");
    assert_eq!(browser.events(page, "Runtime.exceptionThrown"), [&Value::Null; 0]);
    assert_eq!(browser.events(page, "Runtime.consoleAPICalled"), [&Value::Null; 0]);
    let requests = browser.events(page, "Network.requestWillBeSent");
    assert!(!requests.is_empty());
    for request in requests {
        let url = request["request"]["url"].as_str().unwrap();
        assert!(url.starts_with(&format!("http://{address}/")) || url.starts_with("data:"), "{url}");
    }
}

/// Mean brightness of what the page's first screen looks like, 0 to 255; another page reads it.
fn brightness(browser: &mut Browser, page: &Page) -> f64 {
    let picture = base64::engine::general_purpose::STANDARD.encode(browser.screenshot(page, Some(600)));
    let reader = browser.open("about:blank", Look { width: WIDE, dark: false, scripts: true });
    let mean = browser.value(
        &reader,
        &format!(
            "(async () => {{
                const picture = new Image();
                picture.src = 'data:image/png;base64,{picture}';
                await picture.decode();
                const canvas = new OffscreenCanvas(picture.width, picture.height).getContext('2d');
                canvas.drawImage(picture, 0, 0);
                const {{data}} = canvas.getImageData(0, 0, picture.width, picture.height);
                let sum = 0;
                for (let i = 0; i < data.length; i += 4) sum += data[i] + data[i + 1] + data[i + 2];
                return sum / (data.length / 4 * 3);
            }})()"
        ),
    );
    browser.close(&reader);
    let mean = mean.as_f64().unwrap();
    assert!(!(64.0..192.0).contains(&mean), "neither light nor dark: {mean}");
    mean
}

fn open(browser: &mut Browser, stage: &Stage, path: &str) -> Page {
    browser.open(
        &format!("http://{}{path}", stage.daemon.address),
        Look { width: WIDE, dark: false, scripts: true },
    )
}

/// A whole number as the pages write it.
fn figure(value: &Value) -> String {
    let digits = value.as_u64().unwrap().to_string();
    let groups: Vec<_> =
        digits.as_bytes().rchunks(3).rev().map(|it| std::str::from_utf8(it).unwrap()).collect();
    groups.join(",")
}

fn the_status_is_what_the_json_says(browser: &mut Browser, stage: &Stage) {
    // An hour may begin between the two.
    program::until("a page that is what the JSON says", || {
        let status = stage.json("/").unwrap();
        let page = open(browser, stage, "/");
        let found = browser.value(&page, include_str!("browser/look.js"));
        browser.close(&page);
        let missing = missing_of_status(&status["tenants"][0], &found);
        if missing.is_empty() {
            Some(())
        } else {
            eprintln!("not on the page yet: {missing:?}");
            None
        }
    });
}

/// What the JSON has and the page's text has not.
fn missing_of_status(tenant: &Value, found: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut wanted = vec![text(&tenant["tenant"]), HOSTILE.to_owned(), ODD.to_owned()];
    for run in list(&tenant["collectors"]) {
        wanted.push(text(&run["collector"]).replace('_', " "));
        wanted.extend(run["error"].as_str().map(str::to_owned));
    }
    for place in list(&tenant["capacity"]) {
        wanted.push(text(&place["name"]));
        for of in list(&place["resources"]) {
            let of_memory = of["resource"] == "memory_mib";
            let unit =
                |value: &Value| figure(&json!(value.as_u64().unwrap() / if of_memory { 1024 } else { 1 }));
            let gib = if of_memory { " GiB" } else { "" };
            let (used, all, free) = (unit(&of["in_use"]), unit(&of["total"]), unit(&of["available"]));
            wanted.push(format!("{used} of {all}{gib} in use, {free} free"));
        }
        for size in list(&place["headroom"]) {
            let none = size[1] == 0;
            wanted.push(if none {
                text(&size[0])
            } else {
                format!("{} {}", figure(&size[1]), text(&size[0]))
            });
        }
    }
    let month = &tenant["month_to_date"];
    for row in ["groups", "tags", "clouds"].iter().flat_map(|kind| list(&month[kind]["rows"])) {
        wanted.push(format!("{}{}{}", text(&row["name"]), figure(&row["vms"]), figure(&row["vm_hours"])));
    }
    for row in list(&tenant["closed_months"]) {
        let state = if row["current"] == true { "current" } else { "superseded" };
        wanted.push(format!("{}r{:02}, {state}", text(&row["month"]), row["revision"].as_u64().unwrap()));
        wanted.extend([text(&row["reconciliation"]), text(&row["observations"])]);
        wanted.extend(list(&row["warnings"]).iter().map(text));
        wanted.extend([figure(&row["totals"]["vms"]), figure(&row["totals"]["vm_hours"])]);
    }
    wanted.push(format!("{} can be closed from", text(&tenant["next_report"]["month"])));
    let shown = found["text"].as_str().unwrap();
    let mut missing: Vec<_> = wanted.into_iter().filter(|it| !shown.contains(it)).collect();
    let links: BTreeSet<String> = list(&found["links"]).iter().map(text).collect();
    let files = list(&tenant["closed_months"]).into_iter().flat_map(|row| list(&row["files"]));
    missing.extend(files.map(|it| text(&it["path"])).filter(|it| !links.contains(it)));
    missing
}

fn reports_are_what_the_json_says(browser: &mut Browser, stage: &Stage) {
    let list = stage.json("/reports/").unwrap();
    let rows = list["reports"].as_array().unwrap();
    let revisions: Vec<_> = rows.iter().map(|row| (&row["revision"], &row["current"])).collect();
    let expected =
        [(2, true), (1, false), (1, true)].map(|(number, current)| (json!(number), json!(current)));
    assert_eq!(revisions, expected.each_ref().map(|(number, current)| (number, current)));
    let page = open(browser, stage, "/reports/");
    let found = browser.value(&page, include_str!("browser/look.js"));
    let files: BTreeSet<_> = rows
        .iter()
        .flat_map(|row| row["files"].as_array().unwrap())
        .collect::<Vec<_>>()
        .into_iter()
        .map(|file| file["path"].as_str().unwrap())
        .collect();
    let links: BTreeSet<_> =
        found["links"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(links, files.into_iter().chain(["/reports/k1/index.csv"]).collect());
    // Every link leads somewhere.
    let statuses = "Promise.all([...document.querySelectorAll('main a')].map(async (it) => (await fetch(it.href)).status))";
    let statuses = browser.value(&page, statuses);
    assert!(
        statuses.as_array().unwrap().len() > 21 && statuses.as_array().unwrap().iter().all(|it| *it == 200),
        "{statuses}"
    );
    browser.close(&page);
}

/// Even if some text became an element by mistake, the page's policy does not let it run or load.
fn harm_is_kept_from_running(browser: &mut Browser, stage: &Stage) {
    let page = open(browser, stage, "/");
    let blocked = browser.value(
        &page,
        "new Promise((done) => {
            const blocked = [];
            document.addEventListener('securitypolicyviolation', (it) => {
                blocked.push(it.effectiveDirective);
                if (blocked.length == 2) done(blocked.sort());
            });
            document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=\"http://127.0.0.1:9/x\"><b onclick=\"window.harmed=1\">b</b>');
            document.querySelector('main b:last-child').click();
        })",
    );
    assert_eq!(blocked, json!(["img-src", "script-src-attr"]));
    assert_eq!(browser.value(&page, "typeof window.harmed"), "undefined");
    browser.close(&page);
}

/// The script replaces what is shown, keeps the reader's place, and says when nobody answers.
fn it_looks_again_without_a_jump(browser: &mut Browser, stage: Stage) {
    let page = open(browser, &stage, "/");
    // The script's own look, called now instead of later.
    let hold = json!({"source": "window.setInterval = (look) => { window.look = look; }"});
    browser.ask(Some(&page), "Page.addScriptToEvaluateOnNewDocument", &hold);
    browser.ask(Some(&page), "Page.reload", &json!({}));
    program::until("the script", || (browser.value(&page, "typeof window.look") == "function").then_some(()));
    let look = "(async () => {
        const main = document.querySelector('main');
        await window.look();
        return [document.querySelector('main') !== main, scrollY, document.querySelectorAll('details[open]').length,
                document.getElementById('stale').checkVisibility()];
    })()";
    browser.value(&page, "document.querySelector('details').open = true; scrollTo(0, 700)");
    assert_eq!(browser.value(&page, look), json!([true, 700, 1, false]));
    browser.value(&page, "Object.defineProperty(document, 'hidden', {value: true, configurable: true}), 0");
    assert_eq!(browser.value(&page, look), json!([false, 700, 1, false]), "hidden, it does not ask");
    browser.value(&page, "Object.defineProperty(document, 'hidden', {value: false}), 0");
    drop(stage);
    assert_eq!(browser.value(&page, look), json!([false, 700, 1, true]), "it says that nobody answers");
}

/// The pictures in the README.
#[test]
#[ignore = "rewrites docs/images"]
fn pictures() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", program::free_port());
    let mut command = program::exporter();
    command.arg("demo").arg("--dir").arg(folder.path()).arg("--listen").arg(&address);
    let _demo = program::Program::start(command, address.clone());
    let is_whole = |page: &str| page.contains("can be closed from") && page.contains("By tag");
    program::until("the whole page", || program::get(&address, "/").filter(|(_, page)| is_whole(page)));
    let mut browser = Browser::start(&tool("chromium").unwrap());
    let images = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    for (name, width, dark, height) in
        [("status.png", WIDE, false, 1320), ("status-phone.png", 390, true, 1340)]
    {
        let page = browser.open(&format!("http://{address}/"), Look { width, dark, scripts: true });
        std::fs::write(images.join(name), browser.screenshot(&page, Some(height))).unwrap();
    }
}
