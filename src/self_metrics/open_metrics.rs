//! The families of the crate `prometheus` as OpenMetrics 1.0 text, which it does not write itself.

use std::fmt::Write as _;

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

/// Appends `families` and the final `# EOF`.
pub fn encode(families: &[MetricFamily], text: &mut String) {
    for family in families {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::HISTOGRAM => "histogram",
            _ => "gauge",
        };
        // A counter's family goes without the suffix that its samples carry.
        let name = if kind == "counter" { family.name().trim_end_matches("_total") } else { family.name() };
        let _ = writeln!(text, "# HELP {name} {}", escape(family.help()));
        let _ = writeln!(text, "# TYPE {name} {kind}");
        for metric in family.get_metric() {
            match family.get_field_type() {
                MetricType::COUNTER => {
                    sample(
                        text,
                        &format!("{name}_total"),
                        metric.get_label(),
                        None,
                        metric.get_counter().get_value(),
                    );
                }
                MetricType::HISTOGRAM => histogram(text, name, metric),
                _ => sample(text, name, metric.get_label(), None, metric.get_gauge().get_value()),
            }
        }
    }
    text.push_str("# EOF\n");
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn histogram(text: &mut String, name: &str, metric: &Metric) {
    let (labels, histogram) = (metric.get_label(), metric.get_histogram());
    let count = histogram.get_sample_count() as f64;
    let bucket = format!("{name}_bucket");
    for each in histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite()) {
        sample(
            text,
            &bucket,
            labels,
            Some(&format!("{:?}", each.upper_bound())),
            each.cumulative_count() as f64,
        );
    }
    sample(text, &bucket, labels, Some("+Inf"), count);
    sample(text, &format!("{name}_sum"), labels, None, histogram.get_sample_sum());
    sample(text, &format!("{name}_count"), labels, None, count);
}

fn sample(text: &mut String, name: &str, labels: &[LabelPair], le: Option<&str>, value: f64) {
    text.push_str(name);
    let pairs = labels.iter().map(|label| (label.name(), label.value())).chain(le.map(|le| ("le", le)));
    let pairs: Vec<_> = pairs.map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
    if !pairs.is_empty() {
        let _ = write!(text, "{{{}}}", pairs.join(","));
    }
    let _ = writeln!(text, " {value}");
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}
