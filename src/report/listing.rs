//! Every revision of a tenant's months, as pages list them. Reads manifests, so it blocks.

use std::fs;

use super::{Folder, Published, ReportError};
use crate::period::Month;

/// What there is of a tenant.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Newest month first, and within a month the newest revision; provisional reports last.
    pub reports: Vec<Listed>,
    /// What cannot be read, in words.
    pub problems: Vec<String>,
}

/// A report in the list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What its manifest says.
    pub published: Published,
    /// Whether it is its month's newest revision.
    pub current: bool,
    /// Its files' names and sizes.
    pub files: Vec<(String, u64)>,
}

impl Listing {
    /// Reads every manifest in the folder; one that is damaged hides no other.
    pub fn of(folder: &Folder) -> Result<Self, ReportError> {
        let names = folder.revisions_of_all()?;
        let mut listing = Self::default();
        for (month, name) in &names {
            match folder.named(*month, name) {
                Ok(Some(published)) => {
                    let current = published.revision > 0 && is_newest(&published, &names);
                    let files = published.files.iter().filter_map(|path| {
                        let bytes = fs::metadata(path).map_or(0, |file| file.len());
                        Some((path.file_name()?.to_str()?.to_owned(), bytes))
                    });
                    listing.reports.push(Listed { current, files: files.collect(), published });
                }
                // It was taken away in between.
                Ok(None) => {}
                Err(error) => listing.problems.push(format!("{month}: {error}")),
            }
        }
        let order = |it: &Listed| (it.published.month, it.published.revision);
        listing.reports.sort_by_key(|it| std::cmp::Reverse(order(it)));
        Ok(listing)
    }
}

/// By the folders that there are: a newer revision that is damaged is newer all the same.
fn is_newest(published: &Published, names: &[(Month, String)]) -> bool {
    let later = |(month, name): &(Month, String)| {
        *month == published.month
            && super::Revision::named(name).is_some_and(|it| it.number() > published.revision)
    };
    !names.iter().any(later)
}
