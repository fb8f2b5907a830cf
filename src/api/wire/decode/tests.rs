//! Invalid Unicode in a body: how it is read, and that different texts never read alike.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Reads a JSON list of texts.
fn read(body: &[u8]) -> Vec<String> {
    serde_json::from_str(&decode(body).unwrap().text).unwrap()
}

#[test]
fn valid_text_is_borrowed_unchanged() {
    for body in [
        r#"["a", "\u00e9\/\n", "\ud83d\ude00", "\\ud800", "\\\\ud800", "\ufffd", "(", "\uD83D\uDE00"]"#,
        "[\"é\u{fffd}😀\"]",
        "",
        "\\",
        "\\u12",
        "\\u+123",
        "\\é",
    ] {
        assert!(
            matches!(decode(body.as_bytes()).unwrap().text, Cow::Borrowed(text) if text == body),
            "{body}"
        );
    }
}

#[test]
fn single_unreadable_unit_is_one_replacement_character() {
    for body in [
        &br#"["a\ud800"]"#[..],
        br#"["a\uD800"]"#,
        br#"["a\udfff"]"#,
        b"[\"a\xff\"]",
        // The beginning of a character of four bytes.
        b"[\"a\xf0\x9f\x98\"]",
    ] {
        assert_eq!(read(body), ["a\u{fffd}"], "{}", body.escape_ascii());
    }
    // The same unit in two places, in either case.
    assert_eq!(read(br#"["a\ud800", "\uD800b"]"#), ["a\u{fffd}", "\u{fffd}b"]);
    // A high surrogate before a pair, and after an escaped backslash.
    assert_eq!(read(br#"["\ud83d\ud83d\ude00", "\\\ud83d"]"#), ["\u{fffd}\u{1f600}", "\\\u{fffd}"]);
    // Halves in the wrong order are two units.
    assert_eq!(read(br#"["\ude00\ud83d"]"#), ["\u{fffd}(uDE00)\u{fffd}(uD83D)"]);
    // Halves that other text separates.
    assert_eq!(read(br#"["\ud800\\", "\ud800x\udc00"]"#)[1], "\u{fffd}(uD800)x\u{fffd}(uDC00)");
}

#[test]
fn different_units_get_marks_that_no_text_has() {
    assert_eq!(
        read(br#"["a\ud800", "a\ud801", "a\ufffd"]"#),
        ["a\u{fffd}(uD800)", "a\u{fffd}(uD801)", "a\u{fffd}"]
    );
    assert_eq!(read(b"[\"\xff\", \"\xe2\x82\"]"), ["\u{fffd}(xFF)", "\u{fffd}(xE282)"]);
    // The mark is in the body already, verbatim or as an escape: another bracket keeps them apart.
    for literal in ["\u{fffd}(uD800)", "\\ufffd\\u0028uD800)"] {
        let body = format!(r#"["\ud800", "{literal}"]"#);
        assert_eq!(read(body.as_bytes()), ["\u{fffd}((uD800)", "\u{fffd}(uD800)"]);
    }
}

#[test]
fn binary_data_is_refused_before_it_grows() {
    let error = decode(&vec![0xff; 1 << 20]).map(|decoded| decoded.replaced).unwrap_err();
    assert!(error.to_string().starts_with("the body is not text: 1048576 parts"), "{error}");
    let mut brackets = b"\"\\ud800\\ud801\\ufffd".repeat(1 << 10);
    brackets.extend(vec![b'('; 1 << 16]);
    assert!(decode(&brackets).is_err());
    // A few bytes more than its own are allowed for any body.
    assert_eq!(read(b"[\"\xff\xfe\xfd\"]"), ["\u{fffd}(xFF)\u{fffd}(xFE)\u{fffd}(xFD)"]);
}

/// A part of a tag: what it means, and how a body writes it.
fn part() -> impl Strategy<Value = (String, Vec<u8>)> {
    let text = |meaning: &str, written: &[u8]| (meaning.to_owned(), written.to_vec());
    prop::sample::select(vec![
        text("a", b"a"),
        text("a", b"\\u0061"),
        text("(", b"("),
        text("(", b"\\u0028"),
        text("uD800)", b"uD800)"),
        text("xFF)", b"xFF)"),
        text("\\", b"\\\\"),
        text("ud800", b"ud800"),
        text("\u{fffd}", b"\\uFFFD"),
        text("\u{fffd}", "\u{fffd}".as_bytes()),
        text("\u{1f600}", b"\\ud83d\\ude00"),
        text("<D800>", b"\\ud800"),
        text("<D801>", b"\\uD801"),
        text("<DC00>", b"\\udc00"),
        text("<FF>", b"\xff"),
        text("<E2>", b"\xe2"),
    ])
}

/// A tag of a few parts; halves of a pair that meet are the pair's character.
fn tag() -> impl Strategy<Value = (String, Vec<u8>)> {
    prop::collection::vec(part(), 0..6).prop_map(|parts| {
        let (meaning, written): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let meaning = meaning.concat().replace("<D800><DC00>", "\u{10000}");
        (meaning.replace("<D801><DC00>", "\u{10400}"), written.concat())
    })
}

/// Returns a body that is a list of these tags.
fn body_of(tags: &[(String, Vec<u8>)]) -> Vec<u8> {
    let written: Vec<_> = tags.iter().map(|(_, written)| [b"\"", &**written, b"\""].concat()).collect();
    [b"[", &*written.join(&b","[..]), b"]"].concat()
}

/// Reads a JSON list of texts for a comparison with another one.
fn read_marked(body: &[u8]) -> Vec<String> {
    decode_marked(body).map_or_else(|| read(body), |text| serde_json::from_str(&text).unwrap())
}

#[test]
fn text_for_comparisons_is_marked_in_every_body() {
    for body in [&br#"["a\ud800"]"#[..], br#"["a\uD800", "\udc01"]"#, b"[\"a\\ud800\", \"\xff\"]"] {
        assert_eq!(read_marked(body)[0], "a\u{fffd}(uD800)", "{}", body.escape_ascii());
    }
    assert_eq!(read_marked(br#"["\ufffd(uD800)"]"#), ["\u{fffd}(FFFD)(uD800)"]);
    assert_eq!(decode_marked(br#"["a\\ud800", "\ud83d\ude00"]"#), None, "there is nothing to mark");
}

proptest! {
    #[test]
    fn different_tags_of_a_body_never_read_alike(tags in prop::collection::vec(tag(), 1..8)) {
        let read = read(&body_of(&tags));
        let mut texts: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
        for ((meaning, _), text) in tags.iter().zip(&read) {
            texts.entry(meaning).or_default().insert(text);
        }
        prop_assert!(texts.values().all(|read| read.len() == 1), "{texts:?}");
        let meanings: BTreeSet<_> = tags.iter().map(|(meaning, _)| meaning).collect();
        prop_assert_eq!(read.iter().collect::<BTreeSet<_>>().len(), meanings.len(), "{:?}", texts);
        for (meaning, text) in texts {
            // Valid text is not changed, and invalid text leaves a trace.
            let text = text.into_iter().next().unwrap();
            prop_assert!(meaning.contains('<') || meaning == text, "{meaning:?} {text:?}");
            prop_assert_eq!(meaning.contains('<') && !crate::text::has_replacement(text), false);
        }
    }

    #[test]
    fn comparison_texts_are_equal_only_if_sent_texts_are_equal(
        one in prop::collection::vec(tag(), 1..5),
        other in prop::collection::vec(tag(), 1..5),
    ) {
        let [read, other_read] = [&one, &other].map(|tags| read_marked(&body_of(tags)));
        for ((meaning, _), text) in one.iter().zip(&read) {
            for ((other_meaning, _), other_text) in other.iter().zip(&other_read) {
                prop_assert_eq!(meaning == other_meaning, text == other_text, "{:?} {:?}", text, other_text);
            }
        }
    }
}
