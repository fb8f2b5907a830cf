//! Headless Chromium, driven by its DevTools protocol through two pipes: JSON, ended by a zero byte.
//!
//! The pipes are files 3 and 4 of the browser, so a shell opens two named ones for it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

/// A browser with a new profile; it is killed when dropped.
pub struct Browser {
    child: Child,
    to: File,
    from: Receiver<Value>,
    last_id: u64,
    /// What it told without being asked, of all its pages.
    events: Vec<Value>,
    _folder: tempfile::TempDir,
}

/// One of its pages.
#[derive(Clone, Debug)]
pub struct Page {
    session: String,
    target: String,
}

/// What a page looks like.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub width: u32,
    pub dark: bool,
    pub scripts: bool,
}

impl Browser {
    pub fn start(chromium: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("mkfifo").args(["to", "from"]).current_dir(folder.path()).status();
        assert!(made.unwrap().success());
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 3<to 4>from"]).arg(chromium).current_dir(folder.path());
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.args(["--disable-dev-shm-usage", "--remote-debugging-pipe", "--user-data-dir=profile"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        // Each end waits for the other to be opened, in the shell's order.
        let to = OpenOptions::new().write(true).open(folder.path().join("to")).unwrap();
        let from = File::open(folder.path().join("from")).unwrap();
        let (told, heard) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(from).split(0) {
                let Ok(message) = message else { break };
                if told.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    break;
                }
            }
        });
        Self { child, to, from: heard, last_id: 0, events: Vec::new(), _folder: folder }
    }

    /// Asks the browser, or one of its pages.
    pub fn ask(&mut self, page: Option<&Page>, method: &str, parameters: &Value) -> Value {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(page) = page {
            message["sessionId"] = page.session.as_str().into();
        }
        self.to.write_all(message.to_string().as_bytes()).unwrap();
        self.to.write_all(&[0]).unwrap();
        let id = self.last_id;
        let answer = self.wait(method, |message| message["id"] == id);
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(started.elapsed());
            let message = self.from.recv_timeout(left).unwrap_or_else(|error| panic!("{what}: {error}"));
            if wanted(&message) {
                return message;
            }
            self.events.push(message);
        }
    }

    /// A page at this address, loaded, that looks like this.
    pub fn open(&mut self, url: &str, look: Look) -> Page {
        let target = self.ask(None, "Target.createTarget", &json!({"url": "about:blank"}));
        let target = target["targetId"].as_str().unwrap().to_owned();
        let attached = json!({"targetId": target, "flatten": true});
        let session = self.ask(None, "Target.attachToTarget", &attached);
        let page = Page { session: session["sessionId"].as_str().unwrap().to_owned(), target };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.ask(Some(&page), &format!("{domain}.enable"), &json!({}));
        }
        let size =
            json!({"width": look.width, "height": 800, "deviceScaleFactor": 1, "mobile": look.width < 500});
        self.ask(Some(&page), "Emulation.setDeviceMetricsOverride", &size);
        self.ask(Some(&page), "Emulation.setScrollbarsHidden", &json!({"hidden": true}));
        let scheme = if look.dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.ask(Some(&page), "Emulation.setEmulatedMedia", &media);
        let off = json!({"value": !look.scripts});
        self.ask(Some(&page), "Emulation.setScriptExecutionDisabled", &off);
        let loaded = self.ask(Some(&page), "Page.navigate", &json!({"url": url}));
        assert!(loaded["errorText"].is_null(), "{loaded}");
        let is_there = format!("document.readyState == 'complete' && location.href == {}", json!(url));
        crate::program::until("the page to load", || (self.value(&page, &is_there) == true).then_some(()));
        page
    }

    /// The value of an expression in the page; also where the page's own scripts are off.
    pub fn value(&mut self, page: &Page, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.ask(Some(page), "Runtime.evaluate", &asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// The whole page as a PNG, however long it is.
    pub fn screenshot(&mut self, page: &Page, height: Option<u32>) -> Vec<u8> {
        let mut asked = json!({"format": "png", "captureBeyondViewport": true});
        let size = self.ask(Some(page), "Page.getLayoutMetrics", &json!({}))["cssContentSize"].clone();
        let height = height.map_or(size["height"].clone(), Into::into);
        asked["clip"] = json!({"x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1});
        let answer = self.ask(Some(page), "Page.captureScreenshot", &asked);
        base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()
    }

    /// What a page told of itself so far.
    pub fn events(&self, page: &Page, method: &str) -> Vec<&Value> {
        let of = |it: &&Value| it["method"] == method && it["sessionId"] == *page.session;
        self.events.iter().filter(of).map(|it| &it["params"]).collect()
    }

    /// Closes a page.
    pub fn close(&mut self, page: &Page) {
        self.ask(None, "Target.closeTarget", &json!({"targetId": page.target}));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
