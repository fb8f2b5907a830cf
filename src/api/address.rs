//! The URLs of requests, made from a base URL.

use reqwest::Url;

/// Longest id that is put into a path, in bytes; the API's are 36.
const MAX_ID: usize = 256;

/// `base` followed by `/v3/flexVM` and `segments`, each percent-encoded; `None` if one of them
/// would not stay a segment of its own (empty, `.`, `..`) or is absurdly long.
pub(super) fn path(base: &Url, segments: &[&str]) -> Option<Url> {
    if segments.iter().any(|segment| matches!(*segment, "" | "." | "..") || segment.len() > MAX_ID) {
        return None;
    }
    let mut url = base.clone();
    url.path_segments_mut().ok()?.pop_if_empty().extend(["v3", "flexVM"]).extend(segments);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn an_id_never_leaves_its_place_in_the_path() {
        let base = url("https://api.i3d.net/prefix/");
        let made = |id: &str| path(&base, &["clouds", id, "vms"]).map(|url| url.to_string());
        let plain = |id| Some(format!("https://api.i3d.net/prefix/v3/flexVM/clouds/{id}/vms"));
        assert_eq!(made("0192"), plain("0192"));
        assert_eq!(made("a/b?c#d"), plain("a%2Fb%3Fc%23d"));
        assert_eq!(made("%2e%2e"), plain("%252e%252e"));
        for id in ["", ".", ".."] {
            assert_eq!(made(id), None, "{id:?}");
        }
        assert_eq!(made(&"x".repeat(257)), None);
        assert_eq!(path(&url("https://api.i3d.net"), &["images"]).unwrap().path(), "/v3/flexVM/images");
    }
}
