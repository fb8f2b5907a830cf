//! Faults that a test asks for: which requests they hit and what these get instead.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::route::Operation;

/// What a faulty answer is.
#[derive(Clone)]
pub enum FaultKind {
    /// This instead of the operation, which does not happen.
    Respond {
        /// The HTTP status.
        status: u16,
        /// Headers beside `content-length`.
        headers: Vec<(&'static str, String)>,
        /// The body.
        body: Bytes,
    },
    /// The connection is closed without an answer; the operation does not happen.
    Drop,
    /// Not even a header comes, until the client goes.
    Stall,
    /// Half the body comes, then nothing, until the client goes.
    StallInBody,
    /// The connection is closed in the middle of the body.
    Truncate,
    /// JSON's white space, for ever.
    Endless,
    /// The answer comes after this long.
    Delay(Duration),
    /// The body comes in a hundred pieces with this long between two.
    Trickle(Duration),
    /// A list comes as `{"data": […]}`.
    ObjectForList,
    /// RANGED-DATA is not looked at: the whole list comes.
    IgnoreRange,
    /// Every page but the first begins so many rows later, or earlier when negative: rows that
    /// shifted between two pages, lost or repeated.
    Shift(i64),
    /// A header of the response has these values instead of its own; without values it is absent.
    Header(&'static str, Vec<String>),
    /// Number of seconds by which the `Date` differs from the simulator's clock.
    ShiftDate(i64),
    /// The answer's JSON is changed on its way.
    Edit(Arc<dyn Fn(&mut Value) + Send + Sync>),
    /// Replaces one text in the bytes of the response by another, such as an escape that is not valid Unicode.
    Replace(&'static str, &'static str),
}

/// The properties of a request that a fault can depend on.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The operation.
    pub operation: Operation,
    /// The query, without `?`.
    pub query: &'a str,
    /// The time of the simulator's clock.
    pub at: Timestamp,
}

/// Decides whether a fault applies to a request.
type Condition = Arc<dyn Fn(&Asked<'_>) -> bool + Send + Sync>;

impl fmt::Debug for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Respond { status, .. } => write!(f, "Respond({status})"),
            Self::Drop => f.write_str("Drop"),
            Self::Stall => f.write_str("Stall"),
            Self::StallInBody => f.write_str("StallInBody"),
            Self::Truncate => f.write_str("Truncate"),
            Self::Endless => f.write_str("Endless"),
            Self::Delay(time) => write!(f, "Delay({time:?})"),
            Self::Trickle(time) => write!(f, "Trickle({time:?})"),
            Self::ObjectForList => f.write_str("ObjectForList"),
            Self::IgnoreRange => f.write_str("IgnoreRange"),
            Self::Shift(rows) => write!(f, "Shift({rows})"),
            Self::Header(name, values) => write!(f, "Header({name}: {values:?})"),
            Self::ShiftDate(seconds) => write!(f, "ShiftDate({seconds})"),
            Self::Edit(_) => f.write_str("Edit"),
            Self::Replace(from, to) => write!(f, "Replace({from:?}, {to:?})"),
        }
    }
}

/// A fault and the requests that it hits: by default every request of every operation.
///
/// ```
/// use flexvm_exporter::simulator::{Fault, Operation};
/// // The third page of VMs fails once with a 503 that asks for two seconds of patience.
/// let fault = Fault::status(503).with_header("retry-after", "2").on(Operation::Vms).after(2).times(1);
/// # let _ = fault;
/// ```
#[derive(Clone)]
pub struct Fault {
    kind: FaultKind,
    operation: Option<Operation>,
    condition: Option<Condition>,
    after: usize,
    times: usize,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("kind", &self.kind)
            .field("operation", &self.operation)
            .field("has_condition", &self.condition.is_some())
            .field("after", &self.after)
            .field("times", &self.times)
            .finish()
    }
}

impl Fault {
    /// A fault of any kind.
    #[must_use]
    pub fn new(kind: FaultKind) -> Self {
        Self { kind, operation: None, condition: None, after: 0, times: usize::MAX }
    }

    /// Only requests of this operation count and are hit.
    #[must_use]
    pub fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only requests that meet this condition count and are hit.
    #[must_use]
    pub fn when(mut self, condition: impl Fn(&Asked<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.condition = Some(Arc::new(condition));
        self
    }

    /// The first `count` requests that would be hit are spared.
    #[must_use]
    pub fn after(mut self, count: usize) -> Self {
        self.after = count;
        self
    }

    /// At most `count` requests are hit.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.times = count;
        self
    }

    /// A status with an empty body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::body(status, "application/json", "")
    }

    /// A status with the API's error object.
    #[must_use]
    pub fn error(status: u16, message: &str) -> Self {
        let error = json!({"errorCode": 10_000, "errorMessage": message, "errors": []});
        Self::body(status, "application/json", error.to_string())
    }

    /// A status with a page for people, as proxies send it.
    #[must_use]
    pub fn html(status: u16) -> Self {
        let page = format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>");
        Self::body(status, "text/html", page)
    }

    /// A status with any body.
    #[must_use]
    pub fn body(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self::new(FaultKind::Respond { status, headers, body: body.into() })
    }

    /// 302 to another address.
    #[must_use]
    pub fn redirect(to: &str) -> Self {
        Self::status(302).with_header("location", to)
    }

    /// Adds a header to a [`FaultKind::Respond`], such as `retry-after`; nothing to other kinds.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        if let FaultKind::Respond { headers, .. } = &mut self.kind {
            headers.push((name, value.to_owned()));
        }
        self
    }

    /// Replaces a header of the response, such as `date`, by these values; by none, it is absent.
    #[must_use]
    pub fn header(name: &'static str, values: &[&str]) -> Self {
        Self::new(FaultKind::Header(name, values.iter().map(|value| (*value).to_owned()).collect()))
    }

    /// Changes the answer's JSON.
    #[must_use]
    pub fn edit(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::new(FaultKind::Edit(Arc::new(change)))
    }

    /// Changes each row of a list, or the one object.
    #[must_use]
    pub fn edit_rows(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::edit(move |value| match value {
            Value::Array(rows) => rows.iter_mut().for_each(&change),
            one => change(one),
        })
    }

    /// Sets a field of each row, or of the one object: a field, a status or a site that nobody
    /// documented.
    #[must_use]
    pub fn set(field: &'static str, value: Value) -> Self {
        Self::edit_rows(move |row| row[field] = value.clone())
    }
}

struct Armed {
    fault: Fault,
    seen: usize,
}

/// The faults of a simulator; clones share them.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<Armed>>>);

impl Faults {
    /// From now on, `fault` hits the requests that it describes.
    pub fn add(&self, fault: Fault) {
        self.locked().push(Armed { fault, seen: 0 });
    }

    /// From now on, all is well.
    pub fn clear(&self) {
        self.locked().clear();
    }

    /// What hits the request that has just come.
    pub(super) fn hit(&self, asked: &Asked<'_>) -> Vec<FaultKind> {
        let mut hits = Vec::new();
        for armed in self.locked().iter_mut() {
            if armed.fault.operation.is_some_and(|wanted| wanted != asked.operation)
                || armed.fault.condition.as_ref().is_some_and(|holds| !holds(asked))
            {
                continue;
            }
            if armed.seen >= armed.fault.after && armed.seen - armed.fault.after < armed.fault.times {
                hits.push(armed.fault.kind.clone());
            }
            armed.seen += 1;
        }
        hits
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<Armed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.locked().iter().map(|armed| &armed.fault)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_hits_the_requests_it_describes() {
        let faults = Faults::default();
        faults.add(Fault::status(500).on(Operation::Vms).after(1).times(2));
        let at = Timestamp::UNIX_EPOCH;
        let hit = |operation| !faults.hit(&Asked { operation, query: "", at }).is_empty();
        assert!(!hit(Operation::Clouds));
        let hits: Vec<bool> = (0..5).map(|_| hit(Operation::Vms)).collect();
        assert_eq!(hits, [false, true, true, false, false]);
        faults.add(Fault::status(500));
        assert!(hit(Operation::Clouds));
        faults.clear();
        assert!(!hit(Operation::Clouds));
        faults.add(Fault::status(500).when(|asked| asked.query == "status=running").times(1));
        let asked = |query| !faults.hit(&Asked { operation: Operation::Vms, query, at }).is_empty();
        assert_eq!([asked(""), asked("status=running"), asked("status=running")], [false, true, false]);
    }
}
