//! `/reports/`: closed months as a list, and their files.
//!
//! Names in an address are only ever compared with names that exist: nothing of it becomes a path.
//! What is found must lie in the report folder, wherever links lead.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::App;
use super::months::{self, Row};
use super::page::Frame;
use super::paths::Links;
use super::words::escape;
use crate::period::Month;
use crate::report::{Folder, Listing};
use crate::store::View;

/// The list, and months that cannot be read with the reason.
#[derive(Debug, Serialize)]
pub struct List {
    reports: Vec<Row>,
    problems: Vec<String>,
}

/// Every revision of every closed month of these tenants, newest month first, and provisional
/// reports. `root` is the path of the external URL. Blocks.
pub fn list(directory: &Path, tenants: &[String], root: &str) -> List {
    let (mut reports, mut problems) = (Vec::new(), Vec::new());
    for tenant in tenants {
        match Listing::of(&Folder::existing(directory, tenant)) {
            Ok(listing) => {
                reports.extend(listing.reports.iter().map(|it| Row::of(tenant, it, Some(root))));
                problems.extend(listing.problems.iter().map(|problem| format!("{tenant} {problem}")));
            }
            Err(error) => problems.push(format!("{tenant}: {error}")),
        }
    }
    List { reports, problems }
}

/// The file that the rest of an address behind `/reports/` names, if there is such a one. Blocks.
pub fn find(directory: &Path, tenants: &[String], rest: &str) -> Option<PathBuf> {
    let mut parts = rest.split('/');
    let tenant = tenants.iter().find(|name| Some(name.as_str()) == parts.clone().next())?;
    parts.next();
    let folder = Folder::existing(directory, tenant);
    let found = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("index.csv"), None, None, None) => folder.path().join("index.csv"),
        (Some(month), Some(revision), Some(name), None) => {
            let month: Month = month.parse().ok()?;
            let published = folder.named(month, revision).ok()??;
            published.files.into_iter().find(|path| path.file_name().is_some_and(|file| file == name))?
        }
        _ => return None,
    };
    // A link in the folder may lead anywhere; what lies elsewhere is no report.
    let found = found.canonicalize().ok()?;
    (found.starts_with(directory.canonicalize().ok()?) && found.is_file()).then_some(found)
}

impl List {
    /// Adds what only the daemon knows: files that are whole, but not the recorded ones, and differences
    /// from the provider's current reports.
    pub fn with(mut self, view: &View) -> Self {
        for (tenant, state) in &view.tenants {
            for problem in state.reports.iter().flat_map(|listing| &listing.problems) {
                let problem = format!("{tenant} {problem}");
                if !self.problems.contains(&problem) {
                    self.problems.push(problem);
                }
            }
            let rows = self.reports.iter_mut().filter(|row| row.current && row.tenant == **tenant);
            for row in rows {
                row.compare(state.outlook.as_deref());
            }
        }
        self
    }

    /// As JSON.
    pub fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// As a page with these links.
    pub fn html(&self, app: &App, links: &Links) -> String {
        let mut main =
            "<h1>Reports</h1><p class=soft>Closed months, all revisions, and provisional reports. \
            Files never change: a correction is a new revision. The provider's hours are shown.</p>"
                .to_owned();
        for problem in &self.problems {
            let _ = write!(main, "<p class=bad>✗ {}</p>", escape(problem));
        }
        if self.reports.is_empty() {
            main.push_str("<p class=card>No month has been closed yet.</p>");
        }
        for rows in self.reports.chunk_by(|one, other| one.tenant == other.tenant) {
            let tenant = &rows[0].tenant;
            let _ =
                write!(main, "<h2>{}</h2><div class=card>{}", escape(tenant), months::html("", rows, links));
            // The index lists closed months alone.
            if rows.iter().any(|row| row.revision > 0) {
                let _ = write!(
                    main,
                    "<p class=small><a href=\"{}\">index.csv</a> <span class=soft>lists the months with totals and paths</span></p>",
                    escape(&links.to(&format!("/reports/{tenant}/index.csv")))
                );
            }
            main.push_str("</div>");
        }
        Frame { title: "Reports", telemetry_path: &app.paths.telemetry, links, reports: true }.around(&main)
    }
}
