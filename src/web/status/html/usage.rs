//! The month to date, as tables.

use std::fmt::Write as _;

use super::super::usage::{Row, Rows, Usage};
use super::when;
use crate::usage::{CELLS, GroupKind};
use crate::web::page::{
    Column,
    Kind::{Number, Short},
    bar, table,
};
use crate::web::words::{ago, escape, money, percent, thousands};

/// Heading, then a table by group, by cloud and by tag.
pub fn write(out: &mut String, of: &Usage) {
    let _ = write!(
        out,
        "<h3>Month to date</h3><p class=soft>From {} on, asked for {}. Hours are the provider's. \
         Stopped and paused VMs only stand, and are paid for all the same; what no poll of ours saw is not known.</p>",
        when(&of.period_start),
        ago(of.age_seconds),
    );
    let currency = of.currency.as_deref();
    let caption = match of.unpriced_vm_hours {
        Some(hours @ 1..) => {
            format!(
                "Each VM is in one group. The cost is without {} hours that have no price.",
                thousands(hours)
            )
        }
        _ => "Each VM is in one group.".to_owned(),
    };
    out.push_str("<div class=card>");
    rows(out, "By group", &caption, &of.groups, Some(&of.total), of.total.vm_seconds, currency);
    out.push_str("</div><div class=card>");
    rows(out, "By cloud", "Each VM is in one cloud.", &of.clouds, None, of.total.vm_seconds, currency);
    out.push_str("</div><div class=card>");
    rows(
        out,
        "By tag",
        "Tags overlap: a VM with several tags counts under each, so these rows must not be added up.",
        &of.tags,
        Some(&of.untagged),
        of.total.vm_seconds,
        currency,
    );
    out.push_str("</div>");
}

fn rows(
    out: &mut String,
    heading: &str,
    caption: &str,
    rows: &Rows,
    last: Option<&Row>,
    all: u64,
    currency: Option<&str>,
) {
    const COLUMNS: [Column; 7] = [
        ("Name", Short),
        ("VMs", Number),
        ("VM hours", Number),
        ("Share of time", Short),
        ("Only stood", Number),
        ("Not observed", Number),
        ("Internal cost", Number),
    ];
    let cells = |name: String, row: &Row| {
        let share = percent(row.vm_seconds, all);
        let rest = all.saturating_sub(row.vm_seconds);
        let cost = match (&row.internal_cost, currency) {
            (Some(cost), Some(currency)) => format!("{} {}", money(cost), escape(currency)),
            _ => String::new(),
        };
        vec![
            name,
            thousands(row.vms),
            thousands(row.vm_hours),
            format!("<span class=share>{}{share}</span>", bar(row.vm_seconds, rest, all, &share)),
            percent(row.stopped_seconds, row.vm_seconds),
            percent(row.unobserved_seconds, row.vm_seconds),
            cost,
        ]
    };
    let body = rows.rows.iter().map(|row| ("", cells(name(row), row)));
    // A tag or group can have the same text as the last row. The last row has another style, so that users can
    // distinguish them.
    let own = |row: &Row| format!("<span class=soft>{}</span>", escape(&row.name));
    let body =
        body.chain(last.map(|row| (if row.vm_seconds == all { "sum" } else { "" }, cells(own(row), row))));
    let _ = write!(out, "<h4>{heading}</h4>{}", table(caption, &COLUMNS, body));
    if rows.omitted > 0 {
        let _ = write!(
            out,
            "<p class=soft>{} more with less time are not shown here.</p>",
            thousands(rows.omitted as u64)
        );
    }
}

/// Returns the name of a row. A group without any of the keys has a text of its own.
fn name(row: &Row) -> String {
    let is_absent = row.group_kind == Some(GroupKind::Absent);
    if is_absent && row.name.split(CELLS).all(str::is_empty) {
        return "<span class=soft>(none)</span>".to_owned();
    }
    escape(&row.name)
}
