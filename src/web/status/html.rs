//! The status page as HTML. Everything that comes from outside goes through [`escape`].

mod capacity;
mod usage;

use std::fmt::Write as _;

use super::{Clock, Collector, Due, Status, Tenant, status};
use crate::report::Verdict;
use crate::web::page::{
    Column, Frame,
    Kind::{Long, Number, Short},
    table,
};
use crate::web::paths::Links;
use crate::web::words::{ago, escape, percent, thousands, time, took};
use crate::web::{App, months};

/// The page. `reports` is whether reports are for whoever asks.
pub fn page(app: &App, reports: bool) -> String {
    let Status { now, ready, reports_served, tenants, .. } = status(app, reports);
    let links = Links::of("/");
    let (class, state) = if ready {
        ("good", "✓ ready")
    } else {
        ("warn", "… not ready: not everything has been asked for yet")
    };
    let mut main = format!(
        "<h1>Status <span class=\"pill {class}\">{state}</span></h1><p class=soft>As of {}.</p>",
        when(&now)
    );
    if !reports_served {
        main.push_str(
            "<p class=warn>Reports cannot be read at this address: nobody is asked for a password here \
             (<code>--web.config.file</code>), or <code>web.reports</code> is off.</p>",
        );
    }
    for of in &tenants {
        tenant(&mut main, of, &links);
    }
    Frame { title: "Status", telemetry_path: &app.paths.telemetry, links: &links, reports: reports_served }
        .around(&main)
}

/// A time in a text of ours; whatever is none stays as it is.
fn when(text: &str) -> String {
    text.parse().map_or_else(|_| escape(text), time)
}

fn tenant(out: &mut String, of: &Tenant, links: &Links) {
    let (class, word) = match of.up {
        Some(true) => ("good", "✓ up"),
        Some(false) => ("bad", "✗ down"),
        None => ("soft", "… not known yet"),
    };
    let _ =
        write!(out, "<section><h2>{} <span class=\"pill {class}\">{word}</span></h2>", escape(&of.tenant));
    clock(out, &of.clock);
    tiles(out, of);
    collectors(out, &of.collectors);
    capacity::write(out, &of.capacity);
    if let Some(month) = &of.month_to_date {
        usage::write(out, month);
    }
    closed_months(out, of, links);
    out.push_str("</section>");
}

/// Writes a warning about the local clock, or nothing if it agrees with the API's clock.
fn clock(out: &mut String, clock: &Clock) {
    match (clock.state, clock.ahead_seconds) {
        (_, Some(seconds)) => {
            let _ = write!(
                out,
                "<p class=bad>✗ The local clock is {} s {} the Date of the API: polls are not recorded and no \
                 month is closed until they agree. Correct the clock.</p>",
                seconds.unsigned_abs(),
                if seconds > 0 { "ahead of" } else { "behind" }
            );
        }
        ("unverified", None) => out.push_str(
            "<p class=soft>The responses of the API have no usable Date: the local clock is not verified.</p>",
        ),
        _ => {}
    }
}

/// The few figures that most people come for.
fn tiles(out: &mut String, of: &Tenant) {
    out.push_str("<dl class=\"grid tiles\">");
    let mut tile = |name: &str, figure: &str, more: &str| {
        let _ = write!(
            out,
            "<div class=card><dt>{name}</dt><dd class=big>{figure}</dd><dd class=\"soft small\">{more}</dd></div>"
        );
    };
    if let Some(month) = &of.month_to_date {
        let total = &month.total;
        let more = format!(
            "{} only stood, {} not observed",
            percent(total.stopped_seconds, total.vm_seconds),
            percent(total.unobserved_seconds, total.vm_seconds)
        );
        tile("VM hours this month", &thousands(total.vm_hours), &more);
    }
    if let Some(all) = of.capacity.first() {
        let vcpus = all.resources.first().map(|vcpus| (vcpus.total, vcpus.in_use, vcpus.available));
        if let Some((Some(total @ 1..), Some(in_use), Some(available))) = vcpus {
            let nodes = all.nodes.map(|nodes| format!(" on {} nodes", thousands(nodes)));
            let more = format!(
                "of {}: {} in use{}",
                thousands(total),
                percent(in_use, total),
                nodes.unwrap_or_default()
            );
            tile("vCPUs free", &thousands(available), &more);
        }
    }
    if let Some(newest) = of.closed_months.iter().flatten().find(|row| row.current) {
        let more = match newest.verdict {
            Verdict::Agrees => "✓ agrees with the provider",
            Verdict::Rounding => "✓ explained by rounding",
            Verdict::Differs => "✗ differs from the provider",
            Verdict::Incomplete => "✗ incomplete",
            Verdict::NoTotal => "? the provider gave no total",
        };
        let name = format!("VM hours in {}, closed", escape(&newest.month));
        tile(&name, &thousands(newest.totals.vm_hours), more);
    }
    let next = of.next_report.as_ref().map(|next| format!("next: {}, from {}", next.month, when(&next.from)));
    let due = of.reports_due.as_ref().map_or_else(
        || "…".to_owned(),
        |due| {
            if due.is_empty() {
                "✓ none".to_owned()
            } else {
                format!("<span class=bad>✗ {}</span>", due.len())
            }
        },
    );
    tile("Months due", &due, &next.unwrap_or_default());
    out.push_str("</dl>");
}

fn collectors(out: &mut String, runs: &[Collector]) {
    const COLUMNS: [Column; 5] = [
        ("Collector", Short),
        ("State", Short),
        ("Last success", Short),
        ("Took", Number),
        ("Last error", Long),
    ];
    let row = |run: &Collector| {
        let (class, word) = match run.state {
            "fine" => ("good", "✓ works"),
            "failing" => ("bad", "✗ failing"),
            _ => ("soft", "… not run yet"),
        };
        let age = match (&run.last_success, run.age_seconds) {
            (Some(at), Some(age)) => format!("<time datetime=\"{at}\" title=\"{at}\">{}</time>", ago(age)),
            _ => "never".to_owned(),
        };
        let error = match (run.reason, &run.error) {
            (Some(reason), Some(text)) => format!("<span class=bad>{reason}</span>: {}", escape(text)),
            _ => String::new(),
        };
        let took = if run.state == "not run yet" { String::new() } else { took(run.duration_seconds) };
        let cells = vec![
            run.collector.replace('_', " "),
            format!("<span class={class}>{word}</span>"),
            age,
            took,
            error,
        ];
        ("", cells)
    };
    let _ =
        write!(out, "<h3>Collectors</h3><div class=card>{}</div>", table("", &COLUMNS, runs.iter().map(row)));
}

fn closed_months(out: &mut String, of: &Tenant, links: &Links) {
    out.push_str("<h3>Closed months</h3><div class=card>");
    match &of.reports_due {
        None => out.push_str("<p class=soft>Nobody has looked yet for what is due.</p>"),
        Some(due) if due.is_empty() => out.push_str("<p><span class=good>✓ Nothing is due.</span> "),
        Some(due) => {
            out.push_str("<ul class=plain>");
            for Due { month, error } in due {
                let error = error.as_ref().map(|it| format!(": {}", escape(it))).unwrap_or_default();
                let _ = write!(out, "<li><span class=bad>✗ {month} is due and not closed</span>{error}</li>");
            }
            out.push_str("</ul><p>");
        }
    }
    if let Some(next) = &of.next_report {
        let _ = write!(
            out,
            "<span class=soft>{} can be closed from {} on.</span></p>",
            next.month,
            when(&next.from)
        );
    }
    for problem in &of.report_problems {
        let _ = write!(out, "<p class=bad>✗ {}</p>", escape(problem));
    }
    match of.closed_months.as_deref() {
        None => {}
        Some([]) => out.push_str("<p class=soft>No month has been closed yet.</p>"),
        Some(rows) => out.push_str(&months::html("", rows, links)),
    }
    out.push_str("</div>");
}
