//! One line that says what a person waits for, on a standard error that is a terminal; anywhere else
//! there is none. Used by `commands`; `logging` and `output` take it away before they write.

use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::api::{Code, Endpoint, Observer};
use crate::config::load::environment;

/// How often the line is drawn anew, so that its seconds go on.
const TICK: Duration = Duration::from_millis(250);

/// Whether the line stands on the terminal. There is one terminal, so there is one line.
static SHOWN: Mutex<bool> = Mutex::new(false);

/// Keeps the line away while something else is written to the terminal.
pub struct Clear(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, bool>);

/// Takes the line away, if there is one, until the result is dropped.
pub fn clear() -> Clear {
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if std::mem::take(&mut *shown) {
        // Who cannot be shown progress need not be told.
        let _ = io::stderr().write_all(b"\r\x1b[K");
    }
    Clear(shown)
}

/// Standard error behind the line: what the log is written to.
impl Write for Clear {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The line, whenever something is waited for.
pub struct Progress {
    state: Arc<Mutex<State>>,
    ticker: Option<JoinHandle<()>>,
}

struct State {
    /// What is waited for, if anything.
    what: Option<String>,
    /// How far it is.
    step: String,
    since: Instant,
    requests: u64,
}

impl Progress {
    /// Nothing is waited for yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let state = State { what: None, step: String::new(), since: Instant::now(), requests: 0 };
        let state = Arc::new(Mutex::new(state));
        let terminal = io::stderr().is_terminal() && environment("TERM").is_none_or(|term| term != "dumb");
        let ticker = terminal.then(|| {
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                loop {
                    draw(&state);
                    tokio::time::sleep(TICK).await;
                }
            })
        });
        Arc::new(Self { state, ticker })
    }

    /// Shows what is waited for, if anybody looks on; seconds and requests begin anew.
    pub fn begin(&self, what: String) {
        *lock(&self.state) =
            State { what: Some(what), step: String::new(), since: Instant::now(), requests: 0 };
        self.draw();
    }

    /// Says how far it is.
    pub fn step(&self, step: &str) {
        lock(&self.state).step = format!(": {step}");
        self.draw();
    }

    /// Nothing is waited for any more.
    pub fn end(&self) {
        lock(&self.state).what = None;
        drop(clear());
    }

    fn draw(&self) {
        if self.ticker.is_some() {
            draw(&self.state);
        }
    }
}

/// Shows each answer of the API as it comes.
impl Observer for Progress {
    fn request(&self, endpoint: Endpoint, _: Code, _: Duration) {
        let requests = {
            let mut state = lock(&self.state);
            state.requests += 1;
            state.requests
        };
        self.step(&format!("{endpoint} answered, {requests} in all"));
    }

    fn retry(&self, endpoint: Endpoint) {
        self.step(&format!("{endpoint} is asked again"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(ticker) = &self.ticker {
            ticker.abort();
        }
        self.end();
    }
}

fn draw(state: &Mutex<State>) {
    // Before the state is looked at: what has ended is not drawn again.
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let text = {
        let state = lock(state);
        let Some(what) = &state.what else { return };
        format!("{what}{} … {} s", state.step, state.since.elapsed().as_secs())
    };
    // Without wrapping a long line is cut at the edge, and the way back to its beginning is one `\r`.
    *shown = io::stderr().write_all(format!("\r\x1b[?7l{text}\x1b[K\x1b[?7h").as_bytes()).is_ok();
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
