//! Reports as the status page and `/reports/` show them: a row each, as HTML and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::page::{
    Column,
    Kind::{Long, Number, Short},
    table,
};
use super::paths::Links;
use super::words::{escape, money, size, thousands, time};
use crate::period::rfc3339;
use crate::report::{Listed, MonthTotals, Rounding, Status, Verdict};
use crate::store::Outlook;

/// A revision in the list.
#[derive(Debug, Serialize)]
pub struct Row {
    pub tenant: String,
    pub month: String,
    /// 0 for a provisional report.
    pub revision: u32,
    /// The newest revision of its month.
    pub current: bool,
    pub status: Status,
    pub fetched_at: String,
    /// Why it replaces an earlier revision.
    pub reason: Option<String>,
    pub totals: MonthTotals,
    /// Our VM hours − the provider's; none if it has no total.
    pub difference_hours: Option<i64>,
    /// How the provider rounded, if that explains its total.
    pub rounding: Option<Rounding>,
    pub verdict: Verdict,
    /// The verdict in words.
    pub reconciliation: String,
    /// What our own polls say.
    pub observations: String,
    pub warnings: Vec<String>,
    /// The largest difference from the provider's current report, in seconds; none before a comparison.
    pub changed_seconds: Option<u64>,
    /// Whether two readings confirmed that difference, and it is neither restated nor waived.
    pub open_difference: bool,
    pub files: Vec<FileRow>,
}

#[derive(Debug, Serialize)]
pub struct FileRow {
    pub name: String,
    /// Path for the download, with the path of the external URL; `None` if reports are not served to this
    /// client.
    pub path: Option<String>,
    /// The same path without the path of the external URL.
    #[serde(skip)]
    page: Option<String>,
    pub bytes: u64,
}

impl Row {
    /// `root` is the path of the external URL; `None` if the files cannot be downloaded.
    pub fn of(tenant: &str, listed: &Listed, root: Option<&str>) -> Self {
        let Listed { published, current, files } = listed;
        let folder = published.dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let files = files.iter().map(|(name, bytes)| {
            let page = format!("/reports/{tenant}/{}/{folder}/{name}", published.month);
            let path = root.map(|root| format!("{root}{page}"));
            FileRow { page: root.map(|_| page), path, name: name.clone(), bytes: *bytes }
        });
        Self {
            tenant: tenant.to_owned(),
            month: published.month.to_string(),
            revision: published.revision,
            current: *current,
            status: published.status,
            fetched_at: rfc3339(published.fetched_at),
            reason: published.reason.clone(),
            totals: published.totals.clone(),
            difference_hours: published.total.provider.map(|it| it.difference_hours),
            rounding: published.total.provider.map(|it| it.rounding),
            verdict: published.verdict(),
            reconciliation: published.verdict_in_words(),
            observations: published.observations_in_words(),
            warnings: published.warnings.clone(),
            changed_seconds: None,
            open_difference: false,
            files: files.collect(),
        }
    }

    /// Adds the latest comparison of the month with the provider's current report.
    pub fn compare(&mut self, outlook: Option<&Outlook>) {
        let month = self.month.parse().ok();
        let comparison = month.and_then(|month| outlook?.comparisons.get(&month));
        self.changed_seconds = comparison.map(|comparison| comparison.seconds.max());
        self.open_difference = comparison.is_some_and(|comparison| comparison.open);
    }

    fn cells(&self, links: &Links) -> Vec<String> {
        let totals = &self.totals;
        let cost = match (totals.internal_cost, &totals.currency) {
            (Some(cost), Some(currency)) => {
                format!("{} {}", money(&cost.normalize().to_string()), escape(currency))
            }
            _ => String::new(),
        };
        vec![
            format!("<span class=key>{}</span>", escape(&self.month)),
            self.revision(),
            thousands(totals.vms),
            thousands(totals.vm_hours),
            cost,
            self.verdict(),
            self.files(links),
        ]
    }

    fn revision(&self) -> String {
        let fetched = self.fetched_at.parse().map(time).unwrap_or_default();
        let state = match (self.revision, self.current) {
            (0, _) => "provisional".to_owned(),
            (number, true) => format!("r{number:02}, current"),
            (number, false) => format!("r{number:02}, superseded"),
        };
        let reason =
            self.reason.as_deref().map(|it| format!("<br><span class=small>Reason: {}</span>", escape(it)));
        format!(
            "<span class=key>{state}</span><br><span class=\"soft small\">{fetched}</span>{}",
            reason.unwrap_or_default()
        )
    }

    fn verdict(&self) -> String {
        let (class, sign) = match self.verdict {
            Verdict::Agrees | Verdict::Rounding => ("good", "✓"),
            Verdict::Differs | Verdict::Incomplete => ("bad", "✗"),
            Verdict::NoTotal => ("warn", "?"),
        };
        let mut out = format!(
            "<span class={class}>{sign} {}</span><br><span class=\"soft small\">{}</span>",
            escape(&self.reconciliation),
            escape(&self.observations)
        );
        if let Some(seconds) = self.changed_seconds.filter(|seconds| *seconds > 0) {
            let hours = thousands(seconds.div_ceil(3600));
            let _ = write!(
                out,
                "<br><span class=\"bad small\">✗ The provider's current report differs by {hours} h{}.</span>",
                if self.open_difference { "" } else { " (one reading, not confirmed yet)" }
            );
        }
        if !self.warnings.is_empty() {
            let count = self.warnings.len();
            let _ = write!(
                out,
                "<details class=small id=\"w-{}-{}-{}\"><summary>{count} {}</summary><ul class=plain>",
                escape(&self.tenant),
                escape(&self.month),
                self.revision,
                if count == 1 { "note" } else { "notes" }
            );
            for warning in &self.warnings {
                let _ = write!(out, "<li>{}</li>", escape(warning));
            }
            out.push_str("</ul></details>");
        }
        out
    }

    fn files(&self, links: &Links) -> String {
        let mut out = "<span class=files>".to_owned();
        for FileRow { name, page, bytes, .. } in &self.files {
            let Some(page) = page else {
                return "<span class=soft>not served at this address</span>".to_owned();
            };
            let short = name.rsplit('_').next().unwrap_or(name);
            let _ = write!(
                out,
                "<a href=\"{}\" title=\"{}, {}\">{}</a> ",
                escape(&links.to(page)),
                escape(name),
                size(*bytes),
                escape(short)
            );
        }
        out + "</span>"
    }
}

/// The rows as a table of the page with these links.
pub fn html(caption: &str, rows: &[Row], links: &Links) -> String {
    const COLUMNS: [Column; 7] = [
        ("Month", Short),
        ("Revision", Short),
        ("VMs", Number),
        ("VM hours", Number),
        ("Internal cost", Number),
        ("Reconciliation", Long),
        ("Files", Long),
    ];
    table(caption, &COLUMNS, rows.iter().map(|row| (if row.current { "" } else { "old" }, row.cells(links))))
}
