//! The page at `/`: what is running and where to look.

use std::fmt::Write as _;

use super::App;
use crate::period::rfc3339;

pub fn page(app: &App) -> String {
    let mut rows = String::new();
    for (tenant, state) in &app.store.view().tenants {
        for (collector, run) in &state.collectors {
            let word = match (&run.error, run.last_run) {
                (Some((reason, text)), _) => format!("failing ({}): {}", reason.as_str(), escape(text)),
                (None, Some(_)) => "fine".to_owned(),
                (None, None) => "not run yet".to_owned(),
            };
            let last = run.last_success.map_or_else(|| "never".to_owned(), rfc3339);
            let _ = writeln!(
                rows,
                "<tr><td>{}</td><td>{}</td><td>{word}</td><td>{last}</td></tr>",
                escape(tenant),
                collector.as_str(),
            );
        }
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>FlexVM exporter</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\">\n\
         <style>body{{font-family:system-ui,sans-serif;margin:2rem;max-width:60rem}}td,th{{text-align:left;\
         padding:.2rem 1rem .2rem 0;vertical-align:top}}</style></head><body>\n\
         <h1>FlexVM exporter</h1><p>Version {}. <a href=\"{}\">Metrics</a> · <a href=\"/-/healthy\">Healthy</a> · \
         <a href=\"/-/ready\">Ready</a></p>\n<table><tr><th>Tenant</th><th>Collector</th><th>State</th>\
         <th>Last success</th></tr>\n{rows}</table></body></html>\n",
        env!("CARGO_PKG_VERSION"),
        escape(&app.telemetry_path),
    )
}

/// Text as HTML shows it literally, also inside a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
