//! A run of a collector: its deadline, and one function for each thing that can be requested.

mod send;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;
use reqwest::header::HeaderValue;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use self::send::Target;
use super::lookups::Lookups;
use super::paging::{List, Page, Rows};
use super::retry::Budget;
use super::statistics::{Met, Statistics};
use super::transport::{Answer, Range, hide};
use super::volume::Volume;
use super::wire::{self, Parse, Texts};
use super::{Defect, Endpoint, Error, Monthly, Reason, Shared, address, diagnosis, paging};
use crate::period::Period;
use crate::snapshot::{Capacity, Cloud, CloudCapacity, Image, InstanceType, Node, Text, Vm, VmStatus};

/// Bodies from this size on, in bytes, are parsed on a thread of their own: parsing would hold up
/// the other tasks for longer than the hand-over takes.
const LARGE: usize = 32 << 10;

/// Most large bodies that are parsed at the same time, over all tenants.
static PARSING: Semaphore = Semaphore::const_new(8);

/// One run of a collector. All its requests share a deadline, a budget of retries and the token;
/// text that repeats in their answers is stored once.
pub struct Run {
    shared: Arc<Shared>,
    deadline: Instant,
    budget: Budget,
    token: tokio::sync::Mutex<Option<HeaderValue>>,
    texts: Arc<Texts>,
    met: Mutex<Met>,
    lookups: Lookups,
    volume: Arc<Volume>,
    no_cache: bool,
}

impl Run {
    pub(super) fn new(shared: Arc<Shared>, deadline: Duration) -> Self {
        let now = Instant::now();
        Self {
            // An absurdly long deadline is none: thirty years.
            deadline: now.checked_add(deadline).unwrap_or(now + Duration::from_hours(262_800)),
            budget: Budget::new(shared.tenant.api.retries),
            token: tokio::sync::Mutex::default(),
            texts: Arc::default(),
            met: Mutex::default(),
            lookups: Lookups::new(shared.tenant.api.concurrency, deadline),
            volume: Volume::of_run(shared.tenant.api.max_body),
            no_cache: false,
            shared,
        }
    }

    /// Makes every request of this run send `Cache-Control: no-cache`.
    #[must_use]
    pub fn without_caches(self) -> Self {
        Self { no_cache: true, ..self }
    }

    /// Limits the total time for requests by id of clouds, nodes and VMs. After this time, unfinished
    /// requests by id fail with [`Reason::Deadline`].
    #[must_use]
    pub fn with_lookup_time(self, time: Duration) -> Self {
        Self { lookups: Lookups::new(self.shared.tenant.api.concurrency, time), ..self }
    }

    /// The name of the tenant.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.shared.tenant.name
    }

    /// All clouds.
    pub async fn clouds(&self) -> Result<Vec<Cloud>, Error> {
        self.list(Endpoint::Clouds, &["clouds"], wire::clouds, |cloud| &cloud.id).await
    }

    /// Drops the remembered pages of all clouds except `existing`.
    pub fn forget_other_clouds<'a>(&self, existing: impl Iterator<Item = &'a Text> + Clone) {
        self.shared.vms.retain(existing.clone());
        self.shared.nodes.retain(existing);
    }

    /// One cloud.
    pub async fn cloud(&self, cloud_id: &str) -> Result<Cloud, Error> {
        let cloud = self.by_id(Endpoint::Cloud, &["clouds"], cloud_id, wire::cloud).await?;
        same(Endpoint::Cloud, cloud_id, &cloud.id)?;
        Ok(cloud)
    }

    /// All nodes of a cloud. [`Reason::NotFound`] if the cloud is gone.
    pub async fn nodes(&self, cloud_id: &Text) -> Result<Arc<[Arc<Node>]>, Error> {
        let cloud = cloud_id.clone();
        let parse = move |body: &[u8], texts: &Texts| wire::nodes(body, texts, &cloud);
        let mut reading = self.shared.nodes.begin(cloud_id, None, |node| &node.id);
        let (path, parse) =
            (["clouds", &*self.shared.spellings.of(cloud_id), "nodes"], reading.parser(parse));
        self.pages(Endpoint::Nodes, &path, |_| {}, parse, &mut reading).await?;
        Ok(self.shared.nodes.end(reading))
    }

    /// One node of a cloud.
    pub async fn node(&self, cloud_id: &Text, node_id: &str) -> Result<Node, Error> {
        let cloud = cloud_id.clone();
        let parse = move |body: &[u8], texts: &Texts| wire::node(body, texts, &cloud);
        let node = self
            .by_id(Endpoint::Node, &["clouds", &*self.shared.spellings.of(cloud_id), "nodes"], node_id, parse)
            .await?;
        same(Endpoint::Node, node_id, &node.id)?;
        Ok(node)
    }

    /// All instance types (VM sizes), distinct by name.
    pub async fn instance_types(&self) -> Result<Vec<InstanceType>, Error> {
        let mut rows = List::new(|size: &InstanceType| &size.name);
        self.pages(Endpoint::InstanceTypes, &["instanceTypes"], |_| {}, wire::instance_types, &mut rows)
            .await?;
        Ok(rows.into_rows())
    }

    /// All images, distinct by name.
    pub async fn images(&self) -> Result<Vec<Image>, Error> {
        self.list(Endpoint::Images, &["images"], wire::images, |image| &image.name).await
    }

    /// The VMs that a cloud lists under `status`. A row's own status is kept, whatever was asked:
    /// it may have moved on. [`Reason::NotFound`] if the cloud is gone.
    pub async fn vms(&self, cloud_id: &Text, status: &VmStatus) -> Result<Arc<[Arc<Vm>]>, Error> {
        let (cloud, asked) = (cloud_id.clone(), status.clone());
        let parse = move |body: &[u8], texts: &Texts| wire::vms(body, texts, &cloud, &asked);
        let mut reading = self.shared.vms.begin(cloud_id, Some(status), |vm| &vm.id);
        let query = |url: &mut Url| {
            url.query_pairs_mut().append_pair("status", status.as_str());
        };
        let (path, parse) = (["clouds", &*self.shared.spellings.of(cloud_id), "vms"], reading.parser(parse));
        self.pages(Endpoint::Vms, &path, query, parse, &mut reading).await?;
        Ok(self.shared.vms.end(reading))
    }

    /// One VM of a cloud, whatever its status. [`Reason::NotFound`] if it is gone without a trace.
    pub async fn vm(&self, cloud_id: &Text, vm_id: &str) -> Result<Vm, Error> {
        let cloud = cloud_id.clone();
        let parse = move |body: &[u8], texts: &Texts| wire::vm(body, texts, &cloud);
        let vm = self
            .by_id(Endpoint::Vm, &["clouds", &*self.shared.spellings.of(cloud_id), "vms"], vm_id, parse)
            .await?;
        same(Endpoint::Vm, vm_id, &vm.id)?;
        Ok(vm)
    }

    /// Capacity of each cloud.
    pub async fn cloud_capacity(&self) -> Result<Vec<CloudCapacity>, Error> {
        self.list(Endpoint::CloudCapacity, &["capacity"], wire::cloud_capacity, |row| &row.cloud.id).await
    }

    /// Capacity of the organisation.
    pub async fn capacity(&self) -> Result<Capacity, Error> {
        self.object(Endpoint::Capacity, &["reports", "capacity"], wire::capacity).await
    }

    /// The usage report for `period`; without one, for the current month in the API's eyes.
    pub async fn monthly(&self, period: Option<Period>) -> Result<Monthly, Error> {
        let mut url = self.url(Endpoint::Monthly, &["reports", "monthly"])?;
        if let Some(period) = period {
            let time = |at: Timestamp| crate::period::rfc3339(at);
            url.query_pairs_mut()
                .append_pair("start", &time(period.start))
                .append_pair("end", &time(period.end));
        }
        let target = Target { url, range: None, deadline: self.deadline, volumes: Vec::new() };
        let (Answer { body, time, .. }, report) =
            self.get(Endpoint::Monthly, target, wire::monthly, |report| report.vms.len()).await?;
        Ok(Monthly { body, report, time })
    }

    /// The fields met so far that nobody documented, with how often: `cloud.foo` for a field of a
    /// nested object. At most 100 names an endpoint; further ones count as `(others)`.
    #[must_use]
    pub fn unknown_fields(&self) -> BTreeMap<(Endpoint, String), u64> {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let all = met.unknown.iter();
        all.flat_map(|(endpoint, fields)| {
            fields.iter().map(|(name, count)| ((*endpoint, name.clone()), count))
        })
        .collect()
    }

    /// Counts a value of this run that is out of range, unreadable or unavailable, and that the caller
    /// replaces or omits. `field` is the name of the value within `endpoint`.
    /// The log shows `example`.
    pub fn defect(&self, endpoint: Endpoint, field: &'static str, example: &dyn fmt::Display) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        met.defects.entry(endpoint).or_default().add(field, 1, || example.to_string());
    }

    /// Returns the values that this run has replaced or omitted so far, by endpoint and field.
    #[must_use]
    pub fn defects(&self) -> BTreeMap<(Endpoint, &'static str), Defect> {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let all = met.defects.iter();
        all.flat_map(|(endpoint, defects)| {
            defects.iter().map(|(field, defect)| ((*endpoint, field), defect.clone()))
        })
        .collect()
    }

    /// How many bodies were read so far.
    #[must_use]
    pub fn bodies(&self) -> u64 {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        met.statistics.values().map(|statistics| statistics.pages).sum()
    }

    /// What was seen so far of each endpoint that was called.
    #[must_use]
    pub fn statistics(&self) -> BTreeMap<Endpoint, Statistics> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).statistics.clone()
    }

    /// What the server's clock shows now, by the `Date` of its newest answer: right to a second or so,
    /// and late by the time that the answer took.
    #[must_use]
    pub fn server_time(&self) -> Option<Timestamp> {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let (date, came) = met.date?;
        date.checked_add(came.elapsed()).ok()
    }

    /// Returns the time until the server accepts requests again, at most an hour. The time is that of
    /// the latest `Retry-After` of this run's failed requests; `None` if no response contained one or
    /// its time has passed.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let left = met.not_before?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Returns the time until the server accepts requests again after the latest 429 of this run, at
    /// most an hour; `None` if no 429 contained `Retry-After` or its time has passed.
    #[must_use]
    pub fn rate_limited(&self) -> Option<Duration> {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let left = met.limited_until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    async fn object<T, P>(&self, endpoint: Endpoint, path: &[&str], parse: P) -> Result<T, Error>
    where
        T: Send + 'static,
        P: Parse<T>,
    {
        self.object_until(endpoint, path, parse, self.deadline).await
    }

    async fn object_until<T, P>(
        &self,
        endpoint: Endpoint,
        path: &[&str],
        parse: P,
        deadline: Instant,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        P: Parse<T>,
    {
        let url = self.url(endpoint, path)?;
        let target = Target { url, range: None, deadline, volumes: vec![Arc::clone(&self.volume)] };
        Ok(self.get(endpoint, target, parse, |_| 1).await?.1)
    }

    /// Requests the object with this id below `path`. Tries the spellings of the id in order until the
    /// API finds the object.
    async fn by_id<T, P>(&self, endpoint: Endpoint, path: &[&str], id: &str, parse: P) -> Result<T, Error>
    where
        T: Send + 'static,
        P: Parse<T> + Clone,
    {
        let mut not_found = None;
        let Some(lookup) = self.lookups.begin().await else {
            return Err(Error::new(endpoint, Reason::Deadline).message("requests by id took too long"));
        };
        let deadline = lookup.until.min(self.deadline);
        for spelling in self.shared.spellings.candidates(id) {
            let path: Vec<&str> = path.iter().copied().chain([&*spelling]).collect();
            match self.object_until(endpoint, &path, parse.clone(), deadline).await {
                Err(error) if error.reason() == Reason::NotFound => drop(not_found.get_or_insert(error)),
                Ok(found) => {
                    self.shared.spellings.found(id, &spelling);
                    return Ok(found);
                }
                Err(error) => return Err(error),
            }
        }
        Err(not_found.unwrap_or_else(|| Error::new(endpoint, Reason::NotFound)))
    }

    async fn list<T, P>(
        &self,
        endpoint: Endpoint,
        path: &[&str],
        parse: P,
        key: fn(&T) -> &Text,
    ) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        P: Parse<Vec<T>> + Clone,
    {
        let mut rows = List::new(key);
        self.pages(endpoint, path, |_| {}, parse, &mut rows).await?;
        Ok(rows.into_rows())
    }

    /// Reads a whole list into `rows`, page by page.
    async fn pages<P, R>(
        &self,
        endpoint: Endpoint,
        path: &[&str],
        query: impl FnOnce(&mut Url),
        parse: R,
        rows: &mut impl Rows<P>,
    ) -> Result<(), Error>
    where
        P: Page + Send + 'static,
        R: Parse<P> + Clone,
    {
        let mut url = self.url(endpoint, path)?;
        query(&mut url);
        let api = &self.shared.tenant.api;
        let volumes = vec![Volume::of_list(api.max_body), Arc::clone(&self.volume)];
        let told = paging::read_all(endpoint, api.page_size as usize, api.concurrency, rows, |range| {
            let (url, parse) = (url.clone(), parse.clone());
            let volumes = volumes.clone();
            let target = Target { url, range: Some(range), deadline: self.deadline, volumes };
            async move { Ok(self.get(endpoint, target, parse, Page::len).await?.1) }
        })
        .await?;
        self.note(endpoint, |met| met.page_size = met.page_size.max(Some(told)));
        Ok(())
    }

    fn url(&self, endpoint: Endpoint, path: &[&str]) -> Result<Url, Error> {
        address::path(&self.shared.tenant.base_url, path)
            .ok_or_else(|| Error::new(endpoint, Reason::Malformed).message("an id cannot be part of a path"))
    }

    /// Fetches the whole body, then parses it: a body that was cut is never mistaken for a bad one.
    async fn get<T, P>(
        &self,
        endpoint: Endpoint,
        target: Target,
        parse: P,
        rows: fn(&T) -> usize,
    ) -> Result<(Answer, T), Error>
    where
        T: Send + 'static,
        P: Parse<T>,
    {
        let (answer, token) = self.fetch(endpoint, &target).await?;
        let (status, body) = (answer.status, answer.body.clone());
        let malformed = |message: String| {
            let message = hide(&token, &message);
            let error = Error::new(endpoint, Reason::Malformed).status(Some(status));
            error.message(&match target.range {
                Some(Range { start, .. }) => format!("in the page from row {start}: {message}"),
                None => message,
            })
        };
        let parsed = match parse.known(&body) {
            Some(known) => Ok(known),
            None if body.len() < LARGE => parse.parse(&body, &self.texts),
            None => {
                let (body, texts) = (body.clone(), Arc::clone(&self.texts));
                let permit = PARSING.acquire().await;
                let parse = move || {
                    // Held until the work is done, even if the run is dropped.
                    let _permit = permit;
                    parse.parse(&body, &texts)
                };
                tokio::task::spawn_blocking(parse)
                    .await
                    .map_err(|error| malformed("parsing was abandoned".to_owned()).caused_by(error))?
            }
        };
        let parsed = parsed.map_err(|error| {
            malformed(wire::explain(&body, &error)).hint(diagnosis::of_body(&body, target.range.is_some()))
        })?;
        for volume in &target.volumes {
            let added = volume.add_parsed(rows(&parsed.value) as u64, body.len() as u64);
            added.map_err(|exceeded| {
                Error::new(endpoint, Reason::TooLarge).status(Some(status)).message(&exceeded.to_string())
            })?;
        }
        self.note(endpoint, |met| {
            let rows = rows(&parsed.value) as u64;
            met.pages += 1;
            met.rows += rows;
            met.largest_page = met.largest_page.max(rows);
            met.bytes += body.len() as u64;
        });
        if !parsed.spellings.is_empty() || (endpoint.has_ids() && rows(&parsed.value) > 0) {
            self.shared.spellings.learn(parsed.spellings);
        }
        if !parsed.unknown.is_empty() {
            let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
            met.unknown.entry(endpoint).or_default().merge(parsed.unknown.renamed(|name| hide(&token, name)));
        }
        if !parsed.defects.is_empty() {
            let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
            met.defects.entry(endpoint).or_default().merge(parsed.defects, |text| hide(&token, text));
        }
        Ok((answer, parsed.value))
    }

    fn note(&self, endpoint: Endpoint, change: impl FnOnce(&mut Statistics)) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        change(met.statistics.entry(endpoint).or_default());
    }
}

/// An object must be the one that was asked for.
fn same(endpoint: Endpoint, asked: &str, given: &str) -> Result<(), Error> {
    if given.eq_ignore_ascii_case(asked) {
        return Ok(());
    }
    Err(Error::new(endpoint, Reason::Malformed).message(&format!("asked for {asked}, got {given}")))
}
