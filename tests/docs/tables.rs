//! Each row of a table has as many cells as its header, because a renderer drops surplus cells.

use super::links::documents;

/// Cells of a row. A `|` that is escaped belongs to the text.
fn cells(row: &str) -> usize {
    row.replace("\\|", "").matches('|').count()
}

#[test]
fn rows_have_the_cells_of_their_header() {
    let (mut wrong, mut rows) = (Vec::new(), 0);
    for (document, text) in documents() {
        let mut header = None;
        for (number, line) in text.lines().enumerate() {
            if line.starts_with('|') {
                rows += 1;
                if cells(line) != *header.get_or_insert_with(|| cells(line)) {
                    wrong.push(format!("{document}:{}", number + 1));
                }
            } else {
                header = None;
            }
        }
    }
    assert!(rows > 100, "{rows} rows were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
