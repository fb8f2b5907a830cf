//! The provider's response on a month: fetched or read from a file, proven to be of the right time,
//! compared with what polls observed, and frozen as the inputs of a report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use super::previous::Previous;
use super::{CloseError, Closer};
use crate::api::{self, Monthly};
use crate::config::Completeness;
use crate::ledger::{LedgerError, NamesAndSizes};
use crate::observe::Observations;
use crate::period::{Month, rfc3339};
use crate::report::{Account, Frozen, Header, Observed, ReportError, Source, Supersedes, Terms};
use crate::snapshot::{Cloud, InstanceType, Text, VmSize};
use crate::usage;

/// Longest time to fetch the inputs of a month.
pub(super) const DEADLINE: Duration = Duration::from_mins(30);

/// The reason that a report states if the configuration accepts incomplete responses.
const BY_CONFIGURATION: &str = "report.completeness: warn";

/// Some programs write it at the beginning of a file of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether a response that does not prove its own time can close a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Undated {
    /// Yes: an operator asked for it, or the daemon has waited long enough.
    #[default]
    Accept,
    /// Not before this much more time has passed.
    Wait(Duration),
}

/// The terms on which a month is closed or restated.
#[derive(Clone, Debug, Default)]
pub struct CloseOptions {
    /// Reads the provider's response from this file instead of requesting it.
    pub file: Option<PathBuf>,
    /// Why the operator closes or restates the month.
    pub reason: Option<String>,
    /// Accepts a response that lacks VMs which polls observed in use.
    pub accept_incomplete: bool,
    /// Writes a restatement although nothing that counts differs.
    pub force: bool,
    /// Whether a response without a usable `Date` is accepted.
    pub undated: Undated,
    /// Nothing is closed: the report only shows what it would say.
    pub preview: bool,
}

impl CloseOptions {
    /// The terms of a report that closes nothing.
    #[must_use]
    pub fn preview() -> Self {
        Self { preview: true, ..Self::default() }
    }

    /// Why an incomplete response is accepted; `None` if it is not.
    fn accepted(&self, completeness: Completeness) -> Option<String> {
        if self.accept_incomplete {
            return Some(self.reason.clone().unwrap_or_default());
        }
        (completeness == Completeness::Warn).then(|| BY_CONFIGURATION.to_owned())
    }
}

/// The provider's response and what was fetched with it.
pub(super) struct Response {
    pub monthly: Monthly,
    pub source: Source,
    /// When the response was received, by the local clock.
    pub received_at: Timestamp,
    pub clouds: Vec<Cloud>,
    pub instance_types: Vec<InstanceType>,
    pub notes: Vec<String>,
}

impl Closer {
    /// Fetches the provider's response on `month` and the lists that a report needs, or reads the
    /// response from the file that `options` names.
    ///
    /// # Errors
    /// Besides those of the API and the file: the local clock differs from the API's, unless the report
    /// is a preview.
    pub(super) async fn response(
        &self,
        month: Month,
        options: &CloseOptions,
    ) -> Result<Response, CloseError> {
        let response = self.fetch_response(month, options).await?;
        if !options.preview {
            self.require_clock(response.received_at).await?;
        }
        Ok(response)
    }

    async fn fetch_response(&self, month: Month, options: &CloseOptions) -> Result<Response, CloseError> {
        match &options.file {
            None => {
                let run = self.client.run(DEADLINE).without_caches();
                let monthly = async {
                    let monthly = run.monthly(Some(month.period())).await?;
                    Ok((monthly, self.clock.now()))
                };
                let ((monthly, received_at), clouds, instance_types) =
                    tokio::try_join!(monthly, run.clouds(), run.instance_types())?;
                let source = Source::Api;
                Ok(Response { monthly, source, received_at, clouds, instance_types, notes: Vec::new() })
            }
            Some(file) => self.saved_response(file.clone()).await,
        }
    }

    /// The current lists of clouds and instance types, added to a response that was fetched alone.
    pub(super) async fn with_lists(
        &self,
        monthly: Monthly,
        received_at: Timestamp,
    ) -> Result<Response, CloseError> {
        let run = self.client.run(DEADLINE).without_caches();
        let (clouds, instance_types) = tokio::try_join!(run.clouds(), run.instance_types())?;
        let source = Source::Api;
        Ok(Response { monthly, source, received_at, clouds, instance_types, notes: Vec::new() })
    }

    async fn saved_response(&self, file: PathBuf) -> Result<Response, CloseError> {
        let most = self.tenant.api.max_body;
        let monthly = self.blocking(move |_| read_saved(&file, most)).await?;
        let received_at = self.clock.now();
        // The figures are in the file. Names and sizes may come from the ledger alone.
        let run = self.client.run(DEADLINE);
        let (clouds, instance_types, notes) = match tokio::try_join!(run.clouds(), run.instance_types()) {
            Ok((clouds, instance_types)) => (clouds, instance_types, Vec::new()),
            Err(error) => {
                let note = format!(
                    "The API gave no lists of clouds and instance types ({error}): names and sizes are those of the ledger."
                );
                (Vec::new(), Vec::new(), vec![note])
            }
        };
        let source = Source::File;
        Ok(Response { monthly, source, received_at, clouds, instance_types, notes })
    }

    /// Checks a response and freezes the inputs of the month's first revision. Blocks.
    ///
    /// # Errors
    /// The response is for another period, contradicts itself, was generated too early, or lacks VMs
    /// that polls observed in use.
    pub(super) fn freeze(
        &self,
        month: Month,
        response: Response,
        options: &CloseOptions,
    ) -> Result<Frozen, CloseError> {
        self.freeze_after(month, response, options, None)
    }

    /// Freezes the inputs of the revision that supersedes `previous`. Blocks.
    pub(super) fn freeze_after(
        &self,
        month: Month,
        response: Response,
        options: &CloseOptions,
        previous: Option<(&Previous, &str)>,
    ) -> Result<Frozen, CloseError> {
        let Response { monthly, source, received_at, clouds, instance_types, notes } = response;
        usage::check(&monthly.report, month.period()).map_err(ReportError::from)?;
        let mut notes: Vec<String> = self.notes.iter().cloned().chain(notes).collect();
        if !options.preview {
            notes.extend(self.prove_time(month, &monthly, source, received_at, options.undated)?);
        }
        let observations = self.observations(month, received_at)?;
        let known = self.names_and_sizes(month)?;
        // What was observed in the month comes first: a type or cloud that is gone keeps size and name.
        let instance_types = union(known.instance_types, instance_types, |size| size.name.clone());
        let clouds = union(known.clouds, clouds, |cloud| cloud.id.clone());
        let plans: BTreeMap<&Text, &Text> =
            monthly.report.vms.iter().map(|vm| (&vm.id, &vm.instance_type)).collect();
        // The provider's type counts: a VM that was resized since has the size of that type.
        let of_plan = |(id, (name, size)): (Text, (Text, VmSize))| {
            plans.get(&id).is_some_and(|plan| **plan == name).then_some((id, size))
        };
        let vm_sizes = known.vm_sizes.into_iter().filter_map(of_plan).collect();
        let mut header = Header {
            tenant: self.tenant().to_owned(),
            month,
            fetched_at: received_at,
            clouds,
            instance_types,
            vm_sizes,
            prices: self.tenant.prices.as_deref().cloned(),
            group_by: self.tenant.group_by.clone(),
            tag_rules: self.config.report.tag_rules.clone(),
            excel_bom: self.config.report.excel_bom,
            observed: Observed::of(&observations, &monthly, received_at),
            account: Account::of(&observations, &monthly.report, received_at),
            terms: Terms {
                source,
                reason: options.reason.clone(),
                accepted_incomplete: None,
                configuration_changes: Vec::new(),
                notes,
            },
            supersedes: None,
        };
        if let Some((previous, reason)) = previous {
            header.supersedes = Some(Supersedes { revision: previous.revision, reason: reason.to_owned() });
            previous.keep(&mut header, &observations, &monthly.report);
        }
        header.drop_sizes_of_types(&monthly.report);
        let missing = &header.account.only_observed;
        if !missing.is_empty() {
            let accepted = options.accepted(self.config.report.completeness);
            if accepted.is_none() && !options.preview {
                return Err(ReportError::Incomplete { month, missing: missing.clone() }.into());
            }
            header.terms.accepted_incomplete = accepted;
        }
        Ok(Frozen { header, monthly })
    }

    /// Checks that the response was generated after `month` could be closed. Returns what the report
    /// must say about it.
    pub(super) fn prove_time(
        &self,
        month: Month,
        monthly: &Monthly,
        source: Source,
        received_at: Timestamp,
        undated: Undated,
    ) -> Result<Option<String>, CloseError> {
        let settled_at = self.settled_at(month);
        let generated_at = match source {
            // The file's own headers are not saved.
            Source::File => Some(received_at),
            Source::Api => monthly.time.generated_at(received_at),
        };
        if let Some(generated_at) = generated_at.filter(|at| *at < settled_at) {
            return Err(ReportError::Early { month, generated_at, settled_at }.into());
        }
        match (source, monthly.time.date, undated) {
            (Source::File, ..) => Ok(Some(format!(
                "The provider's response was read from a file at {}.",
                rfc3339(received_at)
            ))),
            (Source::Api, Some(_), _) => Ok(None),
            (Source::Api, None, Undated::Wait(wait)) => Err(ReportError::Undated { month, wait }.into()),
            (Source::Api, None, Undated::Accept) => Ok(Some(
                "The provider's response had no usable Date: only this machine's clock proves that the month had ended."
                    .to_owned(),
            )),
        }
    }

    pub(super) fn observations(&self, month: Month, until: Timestamp) -> Result<Observations, CloseError> {
        match self.ledger.observations(self.tenant(), month.period(), until) {
            Ok(observations) => Ok(observations),
            // Nothing was ever polled.
            Err(LedgerError::Missing(_)) => Ok(Observations::default()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Closer {
    fn names_and_sizes(&self, month: Month) -> Result<NamesAndSizes, CloseError> {
        match self.ledger.names_and_sizes(self.tenant(), month.period()) {
            Ok(known) => Ok(known),
            // Nothing was ever polled.
            Err(LedgerError::Missing(_)) => Ok(NamesAndSizes::default()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Reads a file of at most `most` bytes that contains a response. A byte order mark is ignored.
fn read_saved(file: &Path, most: u64) -> Result<Monthly, CloseError> {
    let at = |error| ReportError::storage(file, error);
    let metadata = std::fs::metadata(file).map_err(at)?;
    if !metadata.is_file() {
        return Err(at(std::io::Error::other("it is not a regular file")).into());
    }
    if metadata.len() > most {
        let problem = format!("it has {} bytes, more than api.max_body ({most})", metadata.len());
        return Err(ReportError::damaged(file, &problem).into());
    }
    let body = Bytes::from(std::fs::read(file).map_err(at)?);
    let mark = if body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    Monthly::read(body.slice(mark..))
        .map_err(|error| ReportError::damaged(file, &describe_saved(&error)).into())
}

fn describe_saved(error: &api::Error) -> String {
    error.message.clone().unwrap_or_else(|| error.to_string())
}

/// The items of `kept`, and those of `added` whose key is not among them.
pub(super) fn union<T, K: Ord>(kept: Vec<T>, added: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let known: BTreeSet<K> = kept.iter().map(&key).collect();
    let new: Vec<T> = added.into_iter().filter(|item| !known.contains(&key(item))).collect();
    drop(known);
    kept.into_iter().chain(new).collect()
}
