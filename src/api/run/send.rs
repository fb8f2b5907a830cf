//! One request of a run: its token, its attempts and the pauses between them.

use std::sync::{Arc, PoisonError};

use reqwest::Url;
use reqwest::header::HeaderValue;
use tokio::time::{Instant, sleep, timeout_at};

use super::Run;
use crate::api::retry::{LONGEST_ASKED, MAX_RETRY_AFTER, Retries};
use crate::api::transport::{Answer, Failure, Range, Request, Transport};
use crate::api::volume::Volume;
use crate::api::{Code, Endpoint, Error, Reason, ResponseTime, token};

/// The URL of a request, its range and its deadline.
pub(super) struct Target {
    pub url: Url,
    /// The requested rows, if the URL is a list.
    pub range: Option<Range>,
    pub deadline: Instant,
    /// The list and the run whose bounds include the response.
    pub volumes: Vec<Arc<Volume>>,
}

impl Run {
    /// Sends a request and retries it as [`Retries`] allows. Returns the response and the token with
    /// which it was requested.
    pub(super) async fn fetch(
        &self,
        endpoint: Endpoint,
        target: &Target,
    ) -> Result<(Answer, HeaderValue), Error> {
        let mut retries = Retries::new(self.shared.tenant.api.retries);
        let mut token = self.token(endpoint, None).await?;
        let mut renewed = false;
        loop {
            self.wait_while_limited(endpoint, target.deadline).await?;
            let failure = match self.attempt(endpoint, target, &token).await {
                Ok(answer) => return Ok((answer, token)),
                Err(failure) => failure,
            };
            if failure.error.reason == Reason::Credentials && !std::mem::replace(&mut renewed, true) {
                // The token may have been replaced since the run began.
                let newest = self.token(endpoint, Some(&token)).await?;
                if newest != token {
                    token = newest;
                    self.shared.observer.retry(endpoint);
                    continue;
                }
            }
            match retries.after(&failure) {
                // A retry is not started if it cannot end before the deadline, because the current
                // error is more useful than a timeout.
                Some(wait) if Instant::now() + wait < target.deadline && self.budget.take() => {
                    tracing::debug!(
                        tenant = &*self.shared.tenant.name,
                        endpoint = endpoint.as_str(),
                        error = %failure.error,
                        wait_ms = wait.as_millis(),
                        "retrying the request"
                    );
                    self.shared.observer.retry(endpoint);
                    sleep(wait).await;
                }
                _ => {
                    self.shared.transport.request_failed(&failure.error);
                    return Err(failure.error);
                }
            }
        }
    }

    /// Waits until the server accepts requests again, if it has limited this run.
    ///
    /// # Errors
    /// The server requires a wait that is longer than [`LONGEST_ASKED`] or than the time until the
    /// deadline.
    async fn wait_while_limited(&self, endpoint: Endpoint, deadline: Instant) -> Result<(), Error> {
        let Some(wait) = self.rate_limited() else { return Ok(()) };
        if wait > LONGEST_ASKED || Instant::now() + wait >= deadline {
            let message = format!("the server accepts requests again in {} s (Retry-After)", wait.as_secs());
            return Err(Error::new(endpoint, Reason::RateLimited).message(&message));
        }
        sleep(wait).await;
        Ok(())
    }

    /// Waits for a permit and sends the request once. Returns an error after the deadline.
    async fn attempt(
        &self,
        endpoint: Endpoint,
        target: &Target,
        token: &HeaderValue,
    ) -> Result<Answer, Failure> {
        let Target { url, range, deadline, volumes } = target;
        let (range, deadline) = (*range, *deadline);
        let late = || Error::new(endpoint, Reason::Deadline).message("the run took too long");
        let permit = timeout_at(deadline, self.shared.permits.acquire()).await.map_err(|_| late())?;
        let begun = Instant::now();
        if begun >= deadline {
            return Err(late().into());
        }
        let request = Request {
            url: url.clone(),
            token: token.clone(),
            range,
            no_cache: self.no_cache,
            volumes: volumes.clone(),
        };
        let answer = timeout_at(deadline, self.shared.transport.get(endpoint, request))
            .await
            .unwrap_or_else(|_| Err(late().into()));
        drop(permit);
        let elapsed = begun.elapsed();
        let (status, reason) = match &answer {
            Ok(answer) => (Some(answer.status), None),
            Err(failure) => (failure.error.status, Some(failure.error.reason)),
        };
        let code = match (status, reason) {
            (None, Some(reason)) => Code::Reason(reason),
            (status, _) => Code::Status(status.unwrap_or_default()),
        };
        self.shared.observer.request(endpoint, code, elapsed);
        if let Some(expiry) = self.shared.transport.certificate_expiry() {
            self.shared.observer.certificate(expiry);
        }
        let is_limited = reason == Some(Reason::RateLimited);
        let (date, retry_after) = match &answer {
            Ok(answer) => {
                self.shared.server_time.record(answer.time, elapsed);
                (answer.time.date, None)
            }
            Err(failure) => {
                // An error response without a Date does not prove that the API sends no Date.
                if failure.date.is_some() {
                    let time = ResponseTime { date: failure.date, age: None };
                    self.shared.server_time.record(time, elapsed);
                }
                (failure.date, failure.retry_after)
            }
        };
        let now = Instant::now();
        {
            let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(date) = date {
                met.date = Some((date, now));
            }
            if let Some(wait) = retry_after {
                let until = Some(now + wait.min(MAX_RETRY_AFTER));
                met.not_before = met.not_before.max(until);
                if is_limited {
                    met.limited_until = met.limited_until.max(until);
                }
            }
        }
        self.note(endpoint, |met| {
            met.requests += 1;
            met.last_status = status;
            met.elapsed += elapsed;
        });
        answer
    }

    /// Returns the token to send. Reads the token on the first call, and if the caller passes the token
    /// that the API has `refused`, unless another request has already replaced it.
    pub(super) async fn token(
        &self,
        endpoint: Endpoint,
        refused: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Error> {
        let mut current = self.token.lock().await;
        if let Some(token) = &*current
            && refused != Some(token)
        {
            return Ok(token.clone());
        }
        if current.is_none() {
            Transport::follow_ca_file(&self.shared.transport).await;
        }
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || token::header(&shared.tenant));
        let failed = Error::new(endpoint, Reason::Credentials);
        let token = match timeout_at(self.deadline, read).await {
            Ok(Ok(Ok(token))) => token,
            Ok(Ok(Err(error))) => return Err(failed.message("cannot read the token").caused_by(error)),
            Ok(Err(error)) => return Err(failed.message("reading the token was abandoned").caused_by(error)),
            Err(_) => {
                return Err(Error::new(endpoint, Reason::Deadline).message("reading the token took too long"));
            }
        };
        Ok(current.insert(token).clone())
    }
}
