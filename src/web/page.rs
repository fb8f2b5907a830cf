//! The frame of every page: no outside assets, light and dark, on a phone as on a screen.
//!
//! What a page may load and run is in its header `Content-Security-Policy`: this style and this
//! script alone, so that text which became an element by mistake could still do nothing.

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use sha2::{Digest as _, Sha256};

use super::paths::Links;
use super::words::{escape, permille};

const STYLE: &str = include_str!("page/style.css");

const SCRIPT: &str = include_str!("page/refresh.js");

/// Three bars, as the page shows them.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cg fill='%232b62b8'%3E\
%3Crect y='2' width='16' height='3' rx='1'/%3E%3Crect y='7' width='10' height='3' rx='1'/%3E%3Crect y='12' width='13' height='3' rx='1'/%3E\
%3C/g%3E%3C/svg%3E";

/// The policy; none if it could not be a header.
pub static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    HeaderValue::from_str(&policy).ok()
});

/// What stands around a page's content.
pub struct Frame<'a> {
    /// Of the window, and which of the links is this page.
    pub title: &'a str,
    /// Path of the metrics.
    pub telemetry_path: &'a str,
    /// Links of this page.
    pub links: &'a Links,
    /// Whether reports can be read here.
    pub reports: bool,
}

impl Frame<'_> {
    /// The whole page around `main`, which is HTML already.
    pub fn around(&self, main: &str) -> String {
        let mut links = String::new();
        let pages = [("Status", "/"), ("Reports", "/reports/"), ("Metrics", self.telemetry_path)];
        for (name, path) in pages.into_iter().filter(|(name, _)| self.reports || *name != "Reports") {
            let here = if name == self.title { " aria-current=page" } else { "" };
            let _ = write!(links, "<a href=\"{}\"{here}>{name}</a>", escape(&self.links.to(path)));
        }
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} · FlexVM exporter</title>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <link rel=\"icon\" href=\"{ICON}\">\n<style>{STYLE}</style></head>\n<body>\
             <header><b>FlexVM exporter</b><nav>{links}</nav></header>\n\
             <p id=\"stale\" role=\"alert\" hidden>The exporter does not answer: what you see is old.</p>\n\
             <main>{main}</main>\n\
             <footer>flexvm-exporter {version}. All times are UTC.</footer>\n\
             <script>{SCRIPT}</script></body></html>\n",
            title = escape(self.title),
            version = env!("CARGO_PKG_VERSION"),
        )
    }
}

/// A column's name and what it holds.
pub type Column = (&'static str, Kind);

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A few words.
    Short,
    /// Figures.
    Number,
    /// More than fits beside another cell on a phone.
    Long,
}

impl Kind {
    fn class(self) -> &'static str {
        match self {
            Self::Short => "s",
            Self::Number => "n",
            Self::Long => "l",
        }
    }
}

/// A table, which becomes a list where there is no room for its columns. Cells are HTML; the first
/// of a row names it, and empty ones are left out of the list. A column without any content is
/// left out of both. Rows have a class or "".
pub fn table(
    caption: &str,
    columns: &[Column],
    rows: impl Iterator<Item = (&'static str, Vec<String>)>,
) -> String {
    let rows: Vec<_> = rows.collect();
    let has_content =
        |index: usize| rows.iter().any(|(_, cells)| cells.get(index).is_some_and(|it| !it.is_empty()));
    let mut out = "<table>".to_owned();
    if !caption.is_empty() {
        let _ = write!(out, "<caption>{caption}</caption>");
    }
    out.push_str("<thead><tr>");
    for (_, (name, kind)) in columns.iter().enumerate().filter(|(index, _)| has_content(*index)) {
        let _ = write!(out, "<th scope=\"col\" class=\"{}\">{name}</th>", kind.class());
    }
    out.push_str("</tr></thead><tbody>");
    for (class, cells) in &rows {
        let _ = write!(out, "<tr class=\"{class}\">");
        for (index, (cell, (name, kind))) in cells.iter().zip(columns).enumerate() {
            if !has_content(index) {
                continue;
            }
            let none = if cell.is_empty() { " none" } else { "" };
            let _ = if index == 0 {
                write!(out, "<th scope=\"row\">{cell}</th>")
            } else {
                write!(
                    out,
                    "<td data-label=\"{name}\" class=\"{}{none}\"><div>{cell}</div></td>",
                    kind.class()
                )
            };
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table>");
    out
}

/// A bar of `all`: what is used, what is free, and in grey the rest. `words` say the same.
pub fn bar(used: u64, free: u64, all: u64, words: &str) -> String {
    let (used, until) = (permille(used, all), permille(used.saturating_add(free), all));
    format!(
        "<svg class=\"bar\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{words}\">\
         <rect class=\"lost\" width=\"1000\" height=\"10\"/><rect class=\"free\" width=\"{until}\" height=\"10\"/>\
         <rect class=\"used\" width=\"{used}\" height=\"10\"/></svg>"
    )
}
