//! Programs that tests start and end, by their process id.

#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses a part; a test may panic")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running program; it is killed when dropped.
pub struct Program {
    child: Child,
    /// Where it listens.
    pub address: String,
}

impl Program {
    /// Starts `command`, which listens on `address`.
    pub fn start(mut command: Command, address: String) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        Self { child, address }
    }

    /// The exporter with a configuration file, on a free port of loopback.
    pub fn serve(config: &Path) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = exporter();
        command.arg("--config.file").arg(config).arg("--web.listen-address").arg(&address);
        command.args(["--log.level", "warn"]);
        Self::start(command, address)
    }

    /// Prometheus, the file `prometheus`, with this configuration, on a free port of loopback; its data lie in
    /// `folder`.
    pub fn prometheus(prometheus: &Path, folder: &Path, config: &str) -> Self {
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(prometheus);
        command
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error");
        Self::start(command, address)
    }

    /// Starts `command` and waits for the first line on its standard output that holds `mark`; gives
    /// the lines up to it. The rest of its output is thrown away.
    pub fn start_until(command: &mut Command, mark: &str) -> (Self, Vec<String>) {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let program = Self { child, address: String::new() };
        let mut lines: Vec<String> = Vec::new();
        while !lines.last().is_some_and(|line| line.contains(mark)) {
            let mut line = String::new();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "it ended without {mark:?}: {lines:?}");
            lines.push(line.trim_end().to_owned());
        }
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        (program, lines)
    }

    /// The simulator on a free port of loopback.
    pub fn simulate(arguments: &[&str]) -> Self {
        let mut command = exporter();
        let (mut program, lines) = Self::start_until(command.arg("simulate").args(arguments), "listening");
        lines[0].strip_prefix("listening on ").unwrap().clone_into(&mut program.address);
        program
    }

    /// Sends a signal, by its name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < patience, "the program does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The exporter's binary without any of its environment variables.
pub fn exporter() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flexvm-exporter"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FLEXVM_") {
            command.env_remove(name);
        }
    }
    command
}

/// What a program that ends by itself printed.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the exporter to its end.
pub fn run(command: &mut Command) -> Ended {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Asks for `path` at `address`: status and the rest of the answer; `None` if nobody listens.
pub fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, answer))
}

/// Waits until `look` gives something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < Duration::from_mins(1), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Where a tool is. Without it the test is skipped visibly, or fails if tools are required.
pub fn tool(name: &str) -> Option<PathBuf> {
    let mut found = String::new();
    let which = Command::new("sh").args(["-c", &format!("command -v {name}")]).stdout(Stdio::piped()).spawn();
    which.unwrap().stdout.take().unwrap().read_to_string(&mut found).unwrap();
    if !found.trim().is_empty() {
        return Some(found.trim().into());
    }
    #[expect(clippy::disallowed_methods, reason = "a test's own switch")]
    let required = std::env::var_os("FLEXVM_REQUIRE_TOOLS").is_some();
    assert!(!required, "{name} is required, but not on the PATH");
    eprintln!("SKIPPED: {name} is not on the PATH");
    None
}

/// Where a program is that `tests/tools/python.sh` installs.
pub fn python_tool(name: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/python/bin").join(name);
    if own.exists() { Some(own) } else { tool(name) }
}
