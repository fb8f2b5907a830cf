//! The clouds of a tenant. A known cloud that the list of clouds lacks is requested by its id.

use std::collections::BTreeSet;

use crate::api::{Endpoint, Error, Reason, Run};
use crate::snapshot::{Cloud, Text};

/// A cloud whose contents are requested.
#[derive(Debug)]
pub struct Candidate {
    /// As the list shows it, or as it was known if the list lacks it.
    pub cloud: Cloud,
    /// Whether the list of clouds contains it.
    pub is_listed: bool,
}

/// What became of a candidate.
#[derive(Debug)]
pub enum Contents<T> {
    /// It exists, and these are its contents.
    Read(Candidate, T),
    /// The API confirmed that it is deleted.
    Deleted,
    /// It is not listed, and every request about it failed with 404, but not with the API's own error
    /// body: a gateway may have sent it.
    NotFound(Candidate, Error),
}

/// Whether the API itself states that the requested object does not exist. A gateway's 404 proves
/// nothing about the object.
#[must_use]
pub fn is_deleted(error: &Error) -> bool {
    error.reason() == Reason::NotFound && error.message.is_some()
}

/// The listed clouds, and those of `known` that the list lacks.
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

/// Confirms that a cloud exists if it is not listed, then reads its `contents`. A cloud for which the
/// request by id fails may exist: its contents decide.
///
/// # Errors
/// The contents cannot be read, though the cloud was not confirmed as deleted.
/// [`Reason::Inconsistent`] if the cloud is not listed but responds by its id.
pub async fn read<T>(
    run: &Run,
    mut candidate: Candidate,
    contents: impl Future<Output = Result<T, Error>>,
) -> Result<Contents<T>, Error> {
    let by_id = if candidate.is_listed { None } else { Some(run.cloud(&candidate.cloud.id).await) };
    let by_id = match by_id {
        Some(Ok(found)) => {
            run.defect(Endpoint::Clouds, "id");
            // The id stays as it is known: VMs and nodes refer to it.
            candidate.cloud = Cloud { id: candidate.cloud.id.clone(), ..found };
            Some(Ok(()))
        }
        Some(Err(error)) if is_deleted(&error) => return Ok(Contents::Deleted),
        Some(Err(error)) => Some(Err(error.reason())),
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
        // It may have been deleted while it was read.
        if run.cloud(&candidate.cloud.id).await.is_err_and(|error| is_deleted(&error)) {
            return Ok(Contents::Deleted);
        }
    }
    Err(if by_id == Some(Ok(())) { error.contradicts_list() } else { error })
}
