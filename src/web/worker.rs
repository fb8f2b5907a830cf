//! A dedicated thread for one kind of work, so that other work cannot delay it, as it would in a shared pool.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A thread that runs jobs in the order of arrival. The thread starts with the first job and ends after this value is
/// dropped.
#[derive(Debug)]
pub struct Worker {
    name: &'static str,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

impl Worker {
    /// Creates a worker. `name` is the name of its thread, at most 15 bytes.
    pub fn new(name: &'static str) -> Self {
        Self { name, jobs: Mutex::default() }
    }

    /// Runs `work` on the thread; `None` if it panicked or no thread can be started.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, result) = oneshot::channel();
        self.send(Box::new(move || drop(done.send(work()))))?;
        result.await.ok()
    }

    fn send(&self, job: Job) -> Option<()> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = match &*jobs {
            Some(sender) => sender,
            None => jobs.insert(self.start()?),
        };
        sender.send(job).ok()
    }

    fn start(&self) -> Option<mpsc::Sender<Job>> {
        let (sender, jobs) = mpsc::channel::<Job>();
        let work = move || {
            while let Ok(job) = jobs.recv() {
                // The panic handler has logged the panic.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        };
        let started = thread::Builder::new().name(self.name.to_owned()).spawn(work);
        started.inspect_err(|error| tracing::error!(thread = self.name, %error, "cannot start a thread of the web server; refusing its work")).ok()?;
        Some(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_ends_only_its_job() {
        let worker = Worker::new("test");
        assert_eq!(
            worker.run(|| thread::current().name().map(str::to_owned)).await,
            Some(Some("test".into()))
        );
        assert_eq!(worker.run(|| panic!("expected by this test")).await, None::<()>);
        assert_eq!(worker.run(|| 7).await, Some(7));
    }
}
