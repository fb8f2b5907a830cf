//! How much there is, as bars.

use std::fmt::Write as _;

use super::super::{Bar, MEMORY, Place};
use crate::web::page::bar;
use crate::web::words::{escape, percent, thousands};

/// A card for the organisation and for each cloud.
pub fn write(out: &mut String, places: &[Place]) {
    if places.is_empty() {
        return;
    }
    out.push_str("<h3>Capacity</h3><div class=grid>");
    for place in places {
        let nodes = match place.nodes {
            Some(1) => "1 node".to_owned(),
            Some(nodes) => format!("{} nodes", thousands(nodes)),
            None => "unknown number of nodes".to_owned(),
        };
        let _ =
            write!(out, "<div class=card><h4>{} <span class=soft>{nodes}</span></h4>", escape(&place.name));
        for resource in &place.resources {
            line(out, resource);
        }
        headroom(out, &place.headroom);
        out.push_str("</div>");
    }
    out.push_str("</div>");
}

/// VMs of each type that would fit.
fn headroom(out: &mut String, sizes: &[(String, u64)]) {
    let (none, some): (Vec<_>, Vec<_>) = sizes.iter().partition(|(_, vms)| *vms == 0);
    if !some.is_empty() {
        out.push_str(
            "<p class=\"soft small\" title=\"The smallest of free ÷ needed over vCPUs, memory and devices; fragmentation is \
             not known\">Room for at most, of one type alone:</p><ul class=chips>",
        );
        for (size, vms) in some {
            let _ = write!(out, "<li><b>{}</b> {}</li>", thousands(*vms), escape(size));
        }
        out.push_str("</ul>");
    }
    if !none.is_empty() {
        let names: Vec<_> = none.iter().map(|(size, _)| escape(size)).collect();
        let _ = write!(out, "<p class=\"warn small\">No room for {}.</p>", names.join(", "));
    }
}

fn line(out: &mut String, of: &Bar) {
    // People read memory in GiB.
    let (name, unit, divisor) = match &*of.resource {
        MEMORY => ("Memory", " GiB", 1024),
        "vcpus" => ("vCPUs", "", 1),
        device => (device, "", 1),
    };
    let figure = |amount: u64| thousands(amount / divisor);
    let (Some(total), Some(in_use), Some(available)) = (of.total, of.in_use, of.available) else {
        let shown = |amount: Option<u64>| amount.map_or("unknown".to_owned(), figure);
        let _ = write!(
            out,
            "<div class=res><span>{}</span><span class=\"n soft\">{} of {}{unit} in use, {} free</span></div>",
            escape(name),
            shown(of.in_use),
            shown(of.total),
            shown(of.available)
        );
        return;
    };
    let rest = total.saturating_sub(in_use).saturating_sub(available);
    let rest = if rest == 0 { String::new() } else { format!(", {}{unit} neither", figure(rest)) };
    let words = format!(
        "{} of {}{unit} in use, <b>{}</b> free ({}){rest}",
        figure(in_use),
        figure(total),
        figure(available),
        percent(available, total),
    );
    let spoken = format!("{} in use, {} free", percent(in_use, total), percent(available, total));
    let _ = write!(
        out,
        "<div class=res><span>{}</span><span class=\"n soft\">{words}</span></div>{}",
        escape(name),
        bar(in_use, available, total, &spoken)
    );
}
