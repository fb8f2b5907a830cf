//! The clouds of a tenant. If the list of clouds lacks a known cloud, the cloud is requested by its id.

use std::collections::BTreeSet;

use crate::api::{Endpoint, Error, Reason, Run};
use crate::snapshot::{Cloud, Text};

/// A cloud whose contents are requested.
#[derive(Debug)]
pub struct Candidate {
    /// The cloud as listed; the last known state if the list lacks the cloud.
    pub cloud: Cloud,
    /// Whether the list of clouds contains the cloud.
    pub is_listed: bool,
}

/// The result of reading a candidate.
#[derive(Debug)]
pub enum Contents<T> {
    /// The cloud exists and has these contents.
    Read(Candidate, T),
    /// The API confirmed that the cloud is deleted.
    Deleted,
    /// The cloud is not listed, and every request about it failed with a 404 without the API's own
    /// error body. A gateway may have sent the 404.
    NotFound(Candidate, Error),
}

/// Whether the API itself reports that the requested object does not exist. A gateway's 404 does not
/// prove this.
#[must_use]
pub fn is_deleted(error: &Error) -> bool {
    error.reason() == Reason::NotFound && error.message.is_some()
}

/// Returns the listed clouds, and the clouds of `known` that the list lacks.
///
/// # Errors
/// The list cannot be read.
pub async fn candidates(run: &Run, known: impl IntoIterator<Item = Cloud>) -> Result<Vec<Candidate>, Error> {
    let listed = run.clouds().await?;
    let mut ids: BTreeSet<Text> = listed.iter().map(|cloud| cloud.id.clone()).collect();
    let candidate = |is_listed| move |cloud| Candidate { cloud, is_listed };
    let mut candidates: Vec<_> = listed.into_iter().map(candidate(true)).collect();
    let unlisted = known.into_iter().filter(|cloud| ids.insert(cloud.id.clone()));
    candidates.extend(unlisted.map(candidate(false)));
    Ok(candidates)
}

/// Reads the `contents` of a cloud. If the cloud is not listed, requests it by id first. If this
/// request fails without confirming the deletion, the cloud may exist, so its contents are read
/// nevertheless.
///
/// # Errors
/// The contents cannot be read, and the cloud was not confirmed as deleted. The reason is
/// [`Reason::Inconsistent`] if the cloud is not listed but the API returns it by its id.
pub async fn read<T>(
    run: &Run,
    mut candidate: Candidate,
    contents: impl Future<Output = Result<T, Error>>,
) -> Result<Contents<T>, Error> {
    let by_id = if candidate.is_listed { None } else { Some(run.cloud(&candidate.cloud.id).await) };
    let by_id = match by_id {
        Some(Ok(found)) => {
            run.defect(Endpoint::Clouds, "id", &candidate.cloud.id);
            // The known id is kept, because VMs and nodes refer to it.
            candidate.cloud = Cloud { id: candidate.cloud.id.clone(), ..found };
            Some(Ok(()))
        }
        Some(Err(error)) if is_deleted(&error) => return Ok(Contents::Deleted),
        Some(Err(error)) => {
            run.defect(Endpoint::Cloud, "id", &format_args!("{}: {error}", candidate.cloud.id));
            Some(Err(error.reason()))
        }
        None => None,
    };
    let error = match contents.await {
        Ok(contents) => return Ok(Contents::Read(candidate, contents)),
        Err(error) => error,
    };
    if error.reason() == Reason::NotFound {
        if by_id == Some(Err(Reason::NotFound)) {
            return Ok(Contents::NotFound(candidate, error));
        }
        // The cloud may have been deleted while its contents were read.
        if run.cloud(&candidate.cloud.id).await.is_err_and(|error| is_deleted(&error)) {
            return Ok(Contents::Deleted);
        }
    }
    Err(if by_id == Some(Ok(())) { error.contradicts_list() } else { error })
}
