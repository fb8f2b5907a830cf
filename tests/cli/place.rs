//! A folder that a test works in, the programs it runs there, and how they are asked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flexvm_exporter::clock::Clock;
use flexvm_exporter::period::Month;

use crate::program::{self, Ended};

/// Longest wait for something that comes in a second on a fast machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A temporary folder and what is run in it.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The exporter with arguments, at home in the folder.
    pub fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = program::exporter();
        command.current_dir(self.folder.path()).args(arguments);
        command
    }

    /// Runs the exporter to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        program::run(&mut self.command(arguments.iter().copied()))
    }

    /// Runs the exporter to its end on `l.yml` with this text.
    pub fn run_with(&self, config: &str, arguments: &[&str]) -> Ended {
        self.write("l.yml", config);
        self.run(&[&["--config.file", "l.yml"], arguments].concat())
    }

    /// Starts a program whose output goes into files named after `name`.
    pub fn start(&self, name: &str, mut command: Command) -> Running {
        let (stdout, stderr) = (self.path(&format!("{name}.out")), self.path(&format!("{name}.err")));
        command.stdin(Stdio::null());
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        Running { child: command.spawn().unwrap(), stdout, stderr }
    }

    /// Starts the simulator; its address is the second value.
    pub fn simulator(&self, more: &[&str]) -> (Running, String) {
        let arguments = [&["simulate", "--listen", "127.0.0.1:0"], more].concat();
        let simulator = self.start("simulator", self.command(arguments));
        let line =
            until("the simulator's first line", || simulator.stdout().lines().next().map(str::to_owned));
        let url = line.strip_prefix("listening on ").unwrap().to_owned();
        (simulator, url)
    }

    /// Starts a daemon on `NAME.yml` with this text; its address is the second value.
    pub fn serve(&self, name: &str, config: &str) -> (Running, String) {
        self.serve_with(name, config, &[])
    }

    /// Starts a daemon with more arguments.
    pub fn serve_with(&self, name: &str, config: &str, more: &[&str]) -> (Running, String) {
        let file = self.write(&format!("{name}.yml"), config);
        let arguments = ["serve", "--web.listen-address", "127.0.0.1:0", "--log.level", "debug"];
        let mut command = self.command(arguments);
        command.arg("--config.file").arg(file).args(more);
        let daemon = self.start(name, command);
        let address = until("the daemon's address", || {
            let log = daemon.stderr();
            let (_, rest) = log.lines().find(|line| line.contains("listening"))?.split_once("address=")?;
            rest.split_whitespace().next().map(str::to_owned)
        });
        (daemon, address)
    }

    /// Every file below `name` with its content.
    pub fn files(&self, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.path(name)];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for path in entries.map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.insert(path.strip_prefix(self.folder.path()).unwrap().to_owned(), read(&path));
                }
            }
        }
        files
    }

    /// Every file below `name` that a reader of reports would see.
    pub fn reports(&self, name: &str) -> Vec<String> {
        let files = self.files(name).into_keys().map(|path| path.display().to_string());
        files.filter(|path| !path.contains("/.")).collect()
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

/// A program that runs until it is told to end; it is killed when dropped.
pub struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    pub fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The exit code, waited for no longer than `patience`.
    pub fn code(&mut self, patience: Duration) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < patience, "it does not end; it said:\n{}", self.stderr());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `look` finds something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Status and body of `GET http://ADDRESS/PATH` with these headers.
pub fn get(address: &str, path: &str, headers: &str) -> (u16, String) {
    request("GET", address, path, headers)
}

/// Status and body of a request without a body.
pub fn request(method: &str, address: &str, path: &str, headers: &str) -> (u16, String) {
    let address = address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request =
        format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The value, as it stands there, of the first series in `/metrics` that begins with `start`.
pub fn metric(address: &str, start: &str) -> Option<String> {
    let (status, text) = get(address, "/metrics", "");
    assert_eq!(status, 200);
    let line = text.lines().find(|line| line.starts_with(start))?;
    line.rsplit_once(' ').map(|(_, value)| value.to_owned())
}

/// A configuration of one tenant named `k1`, whose token is in the file `token`.
pub fn config(api: &str, more: &str) -> String {
    format!(
        "tenants:\n  - name: k1\n    base_url: {api}\n    token_file: token\n\
         api: {{retries: 0, connect_timeout: 2s}}\nledger: {{url: 'sqlite:l.db'}}\n{more}"
    )
}

/// The month before the running one.
pub fn last_month() -> Month {
    Month::of(Clock::system().now()).previous()
}
