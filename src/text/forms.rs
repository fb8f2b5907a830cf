//! Forms of text in which different spellings of the same text are equal. Pure.

use std::borrow::Cow;

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizerBorrowed as Normalizer;
use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;

/// Maximum number of steps until [`visible_form`] is stable. No known text needs more than two.
const MAX_STEPS: usize = 4;

/// Returns `text` in Unicode normalisation form C: a letter and its accent are one character.
#[must_use]
pub fn nfc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() { Cow::Borrowed(text) } else { Normalizer::new_nfc().normalize(text) }
}

/// Returns `text` after Unicode's full case folding: texts that differ only in case are equal.
#[must_use]
pub fn case_folded(text: &str) -> Cow<'_, str> {
    if text.is_ascii() && !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Borrowed(text);
    }
    CaseMapper::new().fold_string(text)
}

/// Returns a form in which texts that a reader cannot distinguish are equal: after normalisation form
/// KC, without default-ignorable characters (such as zero-width spaces), and after case folding.
#[must_use]
pub fn visible_form(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return case_folded(text);
    }
    let mut form = text.to_owned();
    // One step can require another again: case folding can leave a sequence that normalisation composes.
    for _ in 0..MAX_STEPS {
        let visible: String =
            Normalizer::new_nfkc().normalize(&form).chars().filter(|c| !is_ignorable(*c)).collect();
        let next = Normalizer::new_nfkc().normalize(&case_folded(&visible)).into_owned();
        if next == form {
            break;
        }
        form = next;
    }
    Cow::Owned(form)
}

/// Returns whether Unicode recommends that programs without support for the character do not show it.
fn is_ignorable(c: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn composed_and_decomposed_letters_are_equal_after_nfc() {
        assert_eq!(nfc("e\u{301}quipe"), "\u{e9}quipe");
        assert_ne!(nfc("\u{ff41}"), "a", "compatibility characters stay");
        assert!(matches!(nfc("equipe"), Cow::Borrowed(_)));
    }

    #[test]
    fn case_folding_is_that_of_unicode() {
        for (one, other) in [("Straße", "STRASSE"), ("Σίσυφος", "ΣΊΣΥΦΟΣ"), ("\u{212a}", "k"), ("A-z", "a-Z")]
        {
            assert_eq!(case_folded(one), case_folded(other), "{one} {other}");
        }
        assert_ne!(case_folded("e\u{301}"), case_folded("\u{e9}"), "no normalisation");
    }

    #[test]
    fn texts_that_a_reader_cannot_distinguish_are_equal() {
        for (one, other) in [
            ("atlas", "ATLAS"),
            ("atlas", "at\u{200b}las"),
            ("atlas", "\u{feff}atlas"),
            ("atlas", "at\u{ad}las"),
            ("atlas", "\u{ff41}tlas"),
            ("\u{e9}", "E\u{301}"),
            ("a b", "a\u{a0}b"),
            ("a:b", "a\u{ff1a}b"),
            ("file", "\u{fb01}le"),
            // A joiner between a letter and its accent prevents that they compose.
            ("\u{e9}", "e\u{34f}\u{301}"),
        ] {
            assert_eq!(visible_form(one), visible_form(other), "{one:?} {other:?}");
        }
        for (one, other) in [("a", "b"), ("a", "\u{430}"), ("a b", "ab"), ("a", "á")] {
            assert_ne!(visible_form(one), visible_form(other), "{one:?} {other:?}");
        }
    }

    proptest! {
        #[test]
        fn the_visible_form_is_stable(text in "\\PC{0,12}") {
            let form = visible_form(&text).into_owned();
            prop_assert_eq!(visible_form(&form), form.as_str());
        }
    }
}
