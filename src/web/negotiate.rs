//! Which representation a request asks for. Pure functions over header values (RFC 9110, 12.5).

/// A format of `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The answer's Content-Type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format that `accept` prefers; text 0.0.4 where it has no wish that can be met, since
    /// scrapers without a wish (curl, old agents) read that.
    #[must_use]
    pub fn from_accept(accept: Option<&str>) -> Self {
        let mut text = 0;
        let mut open_metrics = 0;
        for range in ranges(accept.unwrap_or_default()) {
            let version = range.parameter("version");
            match range.name {
                "application/openmetrics-text" if version.is_none_or(|version| version == "1.0.0") => {
                    open_metrics = open_metrics.max(range.quality);
                }
                "text/plain" if version.is_none_or(|version| version == "0.0.4") => {
                    text = text.max(range.quality);
                }
                "text/*" | "*/*" => text = text.max(range.quality),
                _ => {}
            }
        }
        if open_metrics > text { Self::OpenMetrics } else { Self::Text }
    }
}

/// Whether `accept` prefers JSON to HTML.
#[must_use]
pub fn prefers_json(accept: Option<&str>) -> bool {
    let mut json = 0;
    let mut html = 0;
    for range in ranges(accept.unwrap_or_default()) {
        match range.name {
            "application/json" => json = json.max(range.quality),
            "text/html" | "text/*" | "*/*" => html = html.max(range.quality),
            _ => {}
        }
    }
    json > html
}

/// Whether `accept_encoding` allows gzip.
#[must_use]
pub fn accepts_gzip(accept_encoding: Option<&str>) -> bool {
    let mut any = None;
    for range in ranges(accept_encoding.unwrap_or_default()) {
        match range.name {
            "gzip" | "x-gzip" => return range.quality > 0,
            "*" => any = Some(range.quality > 0),
            _ => {}
        }
    }
    any.unwrap_or(false)
}

struct Range<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    /// In thousandths.
    quality: u16,
}

impl Range<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

fn ranges(header: &str) -> impl Iterator<Item = Range<'_>> {
    header.split(',').filter_map(|part| {
        let mut pieces = part.split(';').map(str::trim);
        let name = pieces.next().filter(|name| !name.is_empty())?;
        let parameters: Vec<(&str, &str)> = pieces
            .filter_map(|piece| piece.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim().trim_matches('"')))
            .collect();
        let quality = parameters
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case("q"))
            .map_or(1000, |(_, value)| thousandths(value));
        Some(Range { name, parameters, quality })
    })
}

/// `0.75` as 750; what is not a quality counts as 0, the least surprising reading of nonsense.
fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    match (whole, fraction.len()) {
        ("1", _) if fraction.bytes().all(|byte| byte == b'0') => 1000,
        ("0" | "", 0..=3) => format!("{fraction:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scraper_gets_what_it_asks_for() {
        let cases = [
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Format::OpenMetrics,
            ),
            ("text/plain;version=0.0.4;q=1,*/*;q=0.1", Format::Text),
            ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.4", Format::Text),
            ("application/openmetrics-text;version=0.0.1", Format::Text),
            ("*/*", Format::Text),
            ("", Format::Text),
            ("application/json", Format::Text),
            (";;;,,q=;version", Format::Text),
        ];
        for (accept, format) in cases {
            assert_eq!(Format::from_accept(Some(accept)), format, "{accept}");
        }
        assert_eq!(Format::from_accept(None), Format::Text);
    }

    #[test]
    fn gzip_is_sent_only_where_it_is_accepted() {
        for (header, expected) in [
            ("gzip", true),
            ("gzip;q=0", false),
            ("deflate, gzip;q=0.5", true),
            ("identity", false),
            ("*", true),
        ] {
            assert_eq!(accepts_gzip(Some(header)), expected, "{header}");
        }
        assert!(!accepts_gzip(None));
    }

    #[test]
    fn browsers_get_pages_and_programs_get_json() {
        assert!(!prefers_json(Some("text/html,application/xhtml+xml,*/*;q=0.8")));
        assert!(prefers_json(Some("application/json")));
        assert!(!prefers_json(Some("*/*")));
    }
}
