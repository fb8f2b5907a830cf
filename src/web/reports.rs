//! `/reports/`: closed months as a list, and their files.
//!
//! Names in an address are only ever compared with names that exist: nothing of it becomes a path.

use std::path::PathBuf;

use serde::Serialize;

use super::status::escape;
use crate::period::Month;
use crate::report::{Folder, MonthTotals, Published, Rounding};

/// A revision in the list.
#[derive(Debug, Serialize)]
struct Row {
    tenant: String,
    month: String,
    /// 0 for a provisional report.
    revision: u32,
    /// The newest revision of its month.
    current: bool,
    status: crate::report::Status,
    totals: MonthTotals,
    /// Our VM hours − the provider's; none if it has no total.
    difference_hours: Option<i64>,
    /// How the provider rounded, if that explains its total.
    rounding: Option<Rounding>,
    warnings: usize,
    files: Vec<FileRow>,
}

#[derive(Debug, Serialize)]
struct FileRow {
    name: String,
    /// Where it can be downloaded.
    path: String,
    bytes: u64,
}

/// The list, and months that cannot be read with the reason.
#[derive(Debug, Serialize)]
pub struct List {
    reports: Vec<Row>,
    problems: Vec<String>,
}

/// Every revision of every closed month of these tenants, newest month first. Blocks.
pub fn list(directory: &std::path::Path, tenants: &[String]) -> List {
    let (mut reports, mut problems) = (Vec::new(), Vec::new());
    for tenant in tenants {
        let folder = Folder::existing(directory, tenant);
        let revisions = match folder.revisions_of_all() {
            Ok(revisions) => revisions,
            Err(error) => {
                problems.push(format!("{tenant}: {error}"));
                continue;
            }
        };
        for (month, revision) in revisions.into_iter().rev() {
            match folder.named(month, &revision) {
                Ok(Some(published)) => reports.push(row(tenant, &published)),
                Ok(None) => {}
                Err(error) => problems.push(format!("{tenant} {month}: {error}")),
            }
        }
    }
    let newest = |row: &Row, rows: &[(String, String, u32)]| {
        !rows.iter().any(|(tenant, month, revision)| {
            *tenant == row.tenant && *month == row.month && *revision > row.revision
        })
    };
    let known: Vec<_> =
        reports.iter().map(|row| (row.tenant.clone(), row.month.clone(), row.revision)).collect();
    for row in &mut reports {
        row.current = row.revision > 0 && newest(row, &known);
    }
    List { reports, problems }
}

fn row(tenant: &str, published: &Published) -> Row {
    let folder = published.dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let files = published.files.iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?.to_owned();
        let bytes = path.metadata().map_or(0, |file| file.len());
        Some(FileRow { path: format!("/reports/{tenant}/{}/{folder}/{name}", published.month), name, bytes })
    });
    Row {
        tenant: tenant.to_owned(),
        month: published.month.to_string(),
        revision: published.revision,
        current: false,
        status: published.status,
        totals: published.totals.clone(),
        difference_hours: published.total.provider.map(|it| it.difference_hours),
        rounding: published.total.provider.map(|it| it.rounding),
        warnings: published.warnings.len(),
        files: files.collect(),
    }
}

/// The file that the rest of an address behind `/reports/` names, if there is such a one. Blocks.
pub fn find(directory: &std::path::Path, tenants: &[String], rest: &str) -> Option<PathBuf> {
    let mut parts = rest.split('/');
    let tenant = tenants.iter().find(|name| Some(name.as_str()) == parts.clone().next())?;
    parts.next();
    let folder = Folder::existing(directory, tenant);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("index.csv"), None, None, None) => {
            Some(folder.path().join("index.csv")).filter(|path| path.is_file())
        }
        (Some(month), Some(revision), Some(name), None) => {
            let month: Month = month.parse().ok()?;
            let published = folder.named(month, revision).ok()??;
            published.files.into_iter().find(|path| path.file_name().is_some_and(|file| file == name))
        }
        _ => None,
    }
}

impl List {
    /// As JSON.
    pub fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// As a page.
    pub fn html(&self) -> String {
        use std::fmt::Write as _;
        let mut rows = String::new();
        for row in &self.reports {
            let totals = &row.totals;
            let revision =
                if row.revision == 0 { "provisional".to_owned() } else { format!("r{:02}", row.revision) };
            let state = if row.current {
                "current"
            } else if row.revision == 0 {
                ""
            } else {
                "superseded"
            };
            let agrees = match (row.difference_hours, row.rounding) {
                (Some(0), _) => "agrees with the provider".to_owned(),
                (Some(hours), Some(rounding)) => format!("{hours:+} h ({})", rounding.as_str()),
                _ => "the provider has no total".to_owned(),
            };
            let cost = match (totals.internal_cost, &totals.currency) {
                (Some(cost), Some(currency)) => format!("{} {}", cost.normalize(), escape(currency)),
                _ => String::new(),
            };
            let mut files = String::new();
            for file in &row.files {
                let short = file.name.rsplit('_').next().unwrap_or(&file.name);
                let _ = write!(
                    files,
                    "<a href=\"{}\" title=\"{}\">{}</a> ",
                    escape(&file.path),
                    escape(&file.name),
                    escape(short)
                );
            }
            let _ = writeln!(
                rows,
                "<tr><td>{}</td><td>{}</td><td>{revision} {state}</td><td class=n>{}</td><td class=n>{}</td>\
                 <td class=n>{cost}</td><td>{agrees}</td><td>{files}</td></tr>",
                escape(&row.tenant),
                escape(&row.month),
                totals.vms,
                totals.vm_hours,
            );
        }
        if self.reports.is_empty() {
            rows.push_str("<tr><td colspan=8>No month has been closed yet.</td></tr>");
        }
        let mut problems = String::new();
        for problem in &self.problems {
            let _ = writeln!(problems, "<p class=bad>{}</p>", escape(problem));
        }
        super::page::page(
            "Reports",
            &format!(
                "<h1>Reports</h1>{problems}<div class=wide><table><thead><tr><th>Tenant<th>Month<th>Revision\
                 <th class=n>VMs<th class=n>VM hours<th class=n>Internal cost<th>Reconciliation<th>Files</thead>\
                 <tbody>{rows}</tbody></table></div>"
            ),
        )
    }
}
