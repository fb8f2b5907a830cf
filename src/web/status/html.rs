//! The status page as HTML. Everything that comes from outside goes through [`escape`].

use std::fmt::Write as _;

use super::{Collector, MEMORY, Place, Row, Status, Tenant, Usage, status};
use crate::web::{App, page};

/// How often a browser that runs scripts looks again, in seconds.
const REFRESH: u32 = 30;

/// The page.
pub fn page(app: &App) -> String {
    let Status { version, ready, tenants } = status(app);
    let mut body = format!(
        "<h1>FlexVM exporter</h1><p class=soft>Version {version}, {}. <a href=\"{}\">Metrics</a></p>",
        if ready { "ready" } else { "not ready yet" },
        escape(&app.telemetry_path),
    );
    for of in &tenants {
        tenant(&mut body, of);
    }
    let _ = write!(body, "<script>setTimeout(function(){{location.reload()}},{REFRESH}000)</script>");
    page::page("Status", &body)
}

fn tenant(out: &mut String, of: &Tenant) {
    let (class, word) = match of.up {
        Some(true) => ("good", "up"),
        Some(false) => ("bad", "down"),
        None => ("soft", "not known yet"),
    };
    let _ = write!(out, "<h2>{} <span class={class}>{word}</span></h2>", escape(&of.tenant));
    out.push_str(
        "<div class=wide><table><thead><tr><th>Collector<th>State<th class=n>Age<th class=n>Took<th>Last error</thead><tbody>",
    );
    for run in &of.collectors {
        collector(out, run);
    }
    out.push_str("</tbody></table></div>");
    if !of.capacity.is_empty() {
        out.push_str("<h3>Capacity</h3><div class=wide><table><thead><tr><th>Cloud<th class=n>Nodes<th>Resource<th>In use<th class=n>In use<th class=n>Free<th>Room for</thead><tbody>");
        for place in &of.capacity {
            capacity(out, place);
        }
        out.push_str("</tbody></table></div>");
    }
    if let Some(month) = &of.month_to_date {
        usage(out, month);
    }
    let due = match of.reports_due {
        None => "not looked yet".to_owned(),
        Some(0) => "none".to_owned(),
        Some(due) => format!("<span class=bad>{due}</span>"),
    };
    let closed = of.newest_closed_month.as_ref().map_or_else(
        || "none yet".to_owned(),
        |it| format!("{} revision {}: {} VM hours", it.month, it.revision, it.vm_hours),
    );
    let _ = write!(
        out,
        "<h3>Closed months</h3><p>Newest: {closed}. Due and not closed: {due}. <a href=\"/reports/\">All reports</a></p>"
    );
}

fn collector(out: &mut String, run: &Collector) {
    let class = match run.state {
        "fine" => "good",
        "failing" => "bad",
        _ => "soft",
    };
    let age = run.age_seconds.map_or_else(|| "never".to_owned(), |age| format!("{age} s"));
    let error = match (run.reason, &run.error) {
        (Some(reason), Some(text)) => format!("{reason}: {}", escape(text)),
        _ => String::new(),
    };
    let _ = write!(
        out,
        "<tr><td>{}<td class={class}>{}<td class=n title=\"{}\">{age}<td class=n>{:.2} s<td>{error}",
        run.collector,
        run.state,
        run.last_success.as_deref().unwrap_or("never"),
        run.duration_seconds,
    );
}

fn capacity(out: &mut String, place: &Place) {
    for (index, bar) in place.resources.iter().enumerate() {
        let (name, nodes, room) = if index == 0 {
            let room = place.headroom.iter().map(|(size, vms)| format!("{vms} × {}", escape(size)));
            (escape(&place.name), place.nodes.to_string(), room.collect::<Vec<_>>().join(", "))
        } else {
            (String::new(), String::new(), String::new())
        };
        // People read memory in GiB.
        let (label, unit) = if bar.resource == MEMORY { ("Memory (GiB)", 1024) } else { (&*bar.resource, 1) };
        let percent = if bar.total == 0 { 0 } else { u128::from(bar.in_use) * 100 / u128::from(bar.total) };
        let _ = write!(
            out,
            "<tr><td>{name}<td class=n>{nodes}<td>{}<td><span class=bar title=\"{percent} %\"><i style=\"width:{percent}%\"></i></span>\
             <td class=n>{} of {}<td class=n>{}<td>{room}",
            escape(label),
            bar.in_use / unit,
            bar.total / unit,
            bar.available / unit,
            percent = percent.min(100),
        );
    }
}

fn usage(out: &mut String, of: &Usage) {
    let cost = match (&of.internal_cost, &of.currency) {
        (Some(cost), Some(currency)) => {
            format!(" Internal cost so far: {} {}.", escape(cost), escape(currency))
        }
        _ => String::new(),
    };
    let _ = write!(
        out,
        "<h3>Month to date</h3><p class=soft>From {} to {}.{cost}</p>",
        escape(&of.period_start),
        escape(&of.fetched_at)
    );
    table(out, "Group", of.groups.iter().chain([&of.total]), of.total.vm_seconds);
    table(
        out,
        "Tag (VMs with several count under each)",
        of.tags.iter().chain([&of.untagged]),
        of.total.vm_seconds,
    );
    table(out, "Cloud", of.clouds.iter(), of.total.vm_seconds);
}

fn table<'a>(out: &mut String, head: &str, rows: impl Iterator<Item = &'a Row>, all: u64) {
    let _ = write!(
        out,
        "<div class=wide><table><thead><tr><th>{head}<th class=n>VMs<th class=n>VM hours<th>Share<th class=n>Stood<th class=n>Unobserved</thead><tbody>"
    );
    for row in rows {
        let _ = write!(
            out,
            "<tr><td>{}<td class=n>{}<td class=n>{}<td><span class=bar><i style=\"width:{}%\"></i></span><td class=n>{} %<td class=n>{} %",
            escape(if row.name.is_empty() { "(no tags)" } else { &row.name }),
            row.vms,
            row.vm_hours,
            percent(row.vm_seconds, all),
            percent(row.stopped_seconds, row.vm_seconds),
            percent(row.unobserved_seconds, row.vm_seconds),
        );
    }
    out.push_str("</tbody></table></div>");
}

fn percent(part: u64, all: u64) -> u128 {
    if all == 0 { 0 } else { (u128::from(part) * 100 / u128::from(all)).min(100) }
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
