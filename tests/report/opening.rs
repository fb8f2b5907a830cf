//! docs/opening-files.md: LibreOffice, pandas and DuckDB run the settings of the page. No test can run
//! Excel and BigQuery; their settings must name the columns of the files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flexvm_exporter::snapshot::Text;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::files::{closed, file};
use crate::month::{World, empty, odd};
use crate::program::tool;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Values of the tag `project` that programs change, or execute.
const VALUES: [&str; 21] = [
    "0042",
    "42",
    "1e5",
    "1,5",
    "1.5",
    "1.234",
    "12.10",
    "2026-10-01",
    "TRUE",
    "NA",
    "null",
    "a;b",
    "x;=1+1",
    "=1+1",
    "'x",
    "-1",
    "@x",
    "Zoë",
    "a|b\\",
    "(no value)",
    "line\nbreak",
];

/// A cell of a file: whether it has quotes, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cell {
    is_quoted: bool,
    text: String,
}

impl Cell {
    /// The number in a cell without quotes; `None` if it is empty.
    fn number(&self) -> Option<Decimal> {
        assert!(!self.is_quoted, "{self:?}");
        let number = || Decimal::from_str_exact(&self.text).unwrap_or_else(|_| panic!("{self:?}"));
        (!self.text.is_empty()).then(|| number().normalize())
    }

    /// The text in a cell, without the guard against formulas.
    fn original(&self) -> &str {
        let guarded = |text: &&str| text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\'']);
        self.text.strip_prefix('\'').filter(guarded).unwrap_or(&self.text)
    }
}

/// The cells of a file; unlike a CSV library, with the information which of them have quotes.
fn cells(text: &str, separator: char) -> Vec<Vec<Cell>> {
    let text = text.trim_start_matches('\u{feff}');
    let (mut rows, mut row) = (Vec::new(), Vec::new());
    let mut chars = text.chars().peekable();
    while chars.peek().is_some() {
        let mut cell = Cell { is_quoted: chars.next_if_eq(&'"').is_some(), text: String::new() };
        while let Some(c) = chars.next_if(|c| cell.is_quoted || ![separator, '\r', '\n'].contains(c)) {
            if cell.is_quoted && c == '"' && chars.next_if_eq(&'"').is_none() {
                break;
            }
            cell.text.push(c);
        }
        row.push(cell);
        if chars.next_if_eq(&separator).is_none() {
            while chars.next_if(|c| ['\r', '\n'].contains(c)).is_some() {}
            rows.push(std::mem::take(&mut row));
        }
    }
    rows
}

fn read_cells(path: &Path) -> Vec<Vec<Cell>> {
    cells(&fs::read_to_string(path).unwrap(), ',')
}

/// October 2026 with everything that is odd, grouped by a key with [`VALUES`].
fn world() -> World {
    let mut world = odd();
    world.group_by = vec!["project".into()];
    world.tag_rules.clear();
    let row = world.monthly.vms[1].clone();
    for (index, value) in VALUES.iter().enumerate() {
        let mut vm = row.clone();
        vm.id = format!("vm-9{index:02}").into();
        vm.name = (*value).into();
        let tags: Vec<Text> = vec![format!("project:{value}").into()];
        vm.tags = tags.into();
        world.monthly.vms.push(vm);
    }
    // Two values, and a tag without a value.
    world.monthly.vms[1].tags = vec!["project".into(), "project:x".into()].into();
    world
}

/// All CSV files of the month, and the file by-group.csv.
struct Files {
    _folders: [tempfile::TempDir; 2],
    all: Vec<PathBuf>,
    by_group: PathBuf,
}

impl Files {
    fn new() -> Self {
        // The second month has files with a byte-order mark.
        let (world, marked) = (world(), empty());
        let ((one, dir), (other, marked_dir)) = (closed(&world), closed(&marked));
        let by_group = file(&dir, &world, "by-group.csv");
        let paths = [&dir, &marked_dir].map(|dir| fs::read_dir(dir).unwrap().map(|it| it.unwrap().path()));
        let mut all: Vec<_> = paths
            .into_iter()
            .flatten()
            .filter(|path| path.extension().is_some_and(|end| end == "csv"))
            .collect();
        all.sort();
        assert_eq!(all.len(), 8);
        Self { _folders: [one, other], all, by_group }
    }
}

fn page() -> String {
    fs::read_to_string(Path::new(ROOT).join("docs/opening-files.md")).unwrap()
}

/// The first block of code of a language below a heading.
fn block(heading: &str, language: &str) -> String {
    let page = page();
    let (_, below) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let (_, code) = below.split_once(&format!("\n```{language}\n")).unwrap();
    code.split("\n```").next().unwrap().to_owned()
}

/// Runs a Python script in the environment that `tests/tools/python.sh` makes; returns its output.
/// `None` if the environment does not exist and is not required.
fn python(script: &str, folder: &Path, arguments: &[&Path]) -> Option<Value> {
    let python = Path::new(ROOT).join("target/tools/python/bin/python");
    let imports = || Command::new(&python).args(["-c", "import duckdb, pandas"]).output();
    if !imports().is_ok_and(|output| output.status.success()) {
        assert!(tool("python-with-duckdb-and-pandas").is_none());
        return None;
    }
    let output =
        Command::new(python).args(["-c", script]).args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Locales of LibreOffice.
const LOCALES: [&str; 3] = ["en-US", "nl-NL", "de-DE"];

/// How LibreOffice reads files, and writes what it read: with `;` as separator, quotes around text
/// alone, and numbers with all their digits.
struct LibreOffice {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl LibreOffice {
    fn new(locale: &str) -> Option<Self> {
        let (program, folder) = (tool("soffice")?, tempfile::tempdir().unwrap());
        let profile = folder.path().join("profile/user");
        fs::create_dir_all(&profile).unwrap();
        let settings = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<oor:items xmlns:oor=\"http://openoffice.org/2001/registry\">\
             <item oor:path=\"/org.openoffice.Setup/L10N\"><prop oor:name=\"ooSetupSystemLocale\" oor:op=\"fuse\">\
             <value>{locale}</value></prop></item></oor:items>\n"
        );
        fs::write(profile.join("registrymodifications.xcu"), settings).unwrap();
        Some(Self { program, folder })
    }

    /// Returns the cells of files after an import with these options.
    fn import(&self, files: &[PathBuf], options: &str) -> Vec<Vec<Vec<Cell>>> {
        let out = self.folder.path().join("out");
        let output = Command::new(&self.program)
            .arg(format!("-env:UserInstallation=file://{}", self.folder.path().join("profile").display()))
            .arg("--headless")
            .arg(format!("--infilter={options}"))
            .args([
                "--convert-to",
                "csv:Text - txt - csv (StarCalc):59,34,76,1,,0,true,true,false",
                "--outdir",
            ])
            .arg(&out)
            .args(files)
            .output()
            .unwrap();
        let read = |path: &PathBuf| {
            let text = fs::read_to_string(out.join(path.file_name().unwrap()));
            cells(&text.unwrap_or_else(|error| panic!("{error}: {output:?}")), ';')
        };
        let read: Vec<_> = files.iter().map(read).collect();
        fs::remove_dir_all(out).unwrap();
        read
    }
}

/// Whether LibreOffice has the cell unchanged.
fn is_unchanged(cell: &Cell, found: &Cell) -> bool {
    if cell.is_quoted || cell.text.is_empty() {
        return cell.is_quoted == found.is_quoted && cell.text.replace("\r\n", "\n") == found.text;
    }
    // Numbers are written with the decimal comma of the locale, and have 15 digits.
    let number = Cell { is_quoted: found.is_quoted, text: found.text.replace(',', ".") };
    !found.is_quoted && number.number().zip(cell.number()).is_some_and(|(one, other)| one == other)
}

fn assert_unchanged(expected: &[Vec<Cell>], found: &[Vec<Cell>], context: &str) {
    assert_eq!(found.len(), expected.len(), "{context}");
    for (expected, found) in expected.iter().zip(found) {
        assert_eq!(found.len(), expected.len(), "{context}: {found:?}");
        for (cell, found) in expected.iter().zip(found) {
            assert!(is_unchanged(cell, found), "{context}: {cell:?} {found:?}");
        }
    }
}

/// The options on the page, and the same with tab and semicolon as further separators.
fn options() -> [String; 2] {
    let line = block("LibreOffice", "sh");
    let options = line.split_whitespace().find_map(|word| word.strip_prefix("--infilter=")).unwrap();
    [options.to_owned(), options.replacen("CSV:44,", "CSV:9/44/59,", 1)]
}

#[test]
fn libreoffice_keeps_every_cell_in_every_locale() {
    let (files, [comma, all]) = (Files::new(), options());
    assert_ne!(comma, all);
    for locale in LOCALES {
        let Some(office) = LibreOffice::new(locale) else { return };
        for options in [&comma, &all] {
            for (path, found) in files.all.iter().zip(office.import(&files.all, options)) {
                assert_unchanged(
                    &read_cells(path),
                    &found,
                    &format!("{locale} {options} {}", path.display()),
                );
            }
        }
    }
}

#[test]
fn libreoffice_with_other_settings_changes_cells() {
    let files = Files::new();
    for locale in LOCALES {
        let Some(office) = LibreOffice::new(locale) else { return };
        let found = office.import(std::slice::from_ref(&files.by_group), "CSV:44,34,76,1").remove(0);
        let expected = read_cells(&files.by_group);
        let of = |text: &str| {
            let pairs = expected.iter().flatten().zip(found.iter().flatten());
            let found: Vec<_> = pairs.filter(|(cell, _)| cell.text == text).map(|(_, found)| found).collect();
            assert!(!found.is_empty(), "{text}");
            found[0].clone()
        };
        let bare = |text: &str| Cell { is_quoted: false, text: text.into() };
        assert_eq!((of("0042"), of("1e5")), (bare("42"), bare("100000")), "{locale}");
        let is_english = locale == "en-US";
        assert_eq!(of("1,5").is_quoted, is_english, "{locale}");
        // A cost: 0.12345 for an hour.
        let cost = of("0.12345");
        assert_eq!((cost.is_quoted, &*cost.text), (!is_english, "0.12345"), "{locale}");
    }
}

/// The columns whose cells are numbers in any file, and all others. A column with empty cells alone is
/// in neither.
fn columns(paths: &[PathBuf]) -> [BTreeSet<String>; 2] {
    let [mut numbers, mut texts] = [BTreeSet::new(), BTreeSet::new()];
    for path in paths {
        let rows = read_cells(path);
        for row in &rows[1..] {
            for (name, cell) in rows[0].iter().zip(row).filter(|(_, cell)| !cell.text.is_empty()) {
                if cell.is_quoted { &mut texts } else { &mut numbers }.insert(name.text.clone());
            }
        }
    }
    assert!(numbers.is_disjoint(&texts));
    [numbers, texts]
}

/// Prints the cells that `read` gives, each with its type.
const PRINT: &str = r#"
import json, sys
def shown(cell):
    if cell is None or cell is pd.NA:
        return None
    kind = "decimal" if isinstance(cell, Decimal) else "text" if isinstance(cell, str) else "integer"
    return [kind, str(cell)]
tables = []
for path in sys.argv[1:]:
    table = read(path)
    rows = zip(*[list(table[column]) for column in table.columns])
    tables.append({"columns": list(table.columns), "rows": [[shown(cell) for cell in row] for row in rows]})
default = pd.read_csv(sys.argv[1])
json.dump({"tables": tables, "integers": sorted(INTEGERS), "decimals": sorted(DECIMALS),
    "default": [str(default["tag:project"].tolist()), str(default["internal_cost"].dtype)]}, sys.stdout)
"#;

#[test]
fn pandas_function_keeps_every_cell() {
    let files = Files::new();
    let paths: Vec<&Path> =
        std::iter::once(&files.by_group).chain(&files.all).map(PathBuf::as_path).collect();
    let script = block("pandas", "python") + PRINT;
    let Some(read) = python(&script, Path::new(ROOT), &paths) else { return };
    for (path, table) in paths.iter().zip(read["tables"].as_array().unwrap()) {
        let expected = read_cells(path);
        let names: Vec<_> = expected[0].iter().map(|cell| cell.text.as_str()).collect();
        assert_eq!(table["columns"], serde_json::json!(names), "{}", path.display());
        let rows = table["rows"].as_array().unwrap();
        assert_eq!(rows.len(), expected.len() - 1, "{}", path.display());
        for (expected, row) in expected[1..].iter().zip(rows) {
            for ((name, cell), found) in names.iter().zip(expected).zip(row.as_array().unwrap()) {
                let text = found[1].as_str().unwrap_or_default();
                if cell.is_quoted || found[0] == "text" {
                    assert_eq!((&found[0], text), (&"text".into(), cell.original()), "{name}");
                } else {
                    let number = Decimal::from_str_exact(text).ok().map(|number| number.normalize());
                    assert_eq!(number, cell.number(), "{name} {found}");
                    assert_eq!(found.is_null(), cell.text.is_empty(), "{name}");
                }
            }
        }
    }
    let listed = |kind: &str| read[kind].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned());
    let [numbers, texts] = columns(&files.all);
    let (listed, decimals): (BTreeSet<_>, BTreeSet<_>) =
        (listed("integers").chain(listed("decimals")).collect(), listed("decimals").collect());
    assert!(numbers.is_subset(&listed) && texts.is_disjoint(&listed), "{:?}", numbers.difference(&listed));
    let all: BTreeSet<String> =
        files.all.iter().flat_map(|path| read_cells(path)[0].clone()).map(|it| it.text).collect();
    let index = ["vms_at_start".to_owned(), "open_difference_seconds".to_owned()];
    let unknown: Vec<_> =
        listed.iter().filter(|name| !all.contains(*name) && !index.contains(name)).collect();
    assert!(unknown.is_empty(), "no file has {unknown:?}");
    assert!(decimals.contains("internal_cost"));
    // The statements of the page about the defaults.
    let default = read["default"][0].as_str().unwrap();
    assert!(!default.contains("'NA'") && default.contains("nan"), "{default}");
    assert_eq!(read["default"][1], "float64");
}

#[test]
fn duckdb_query_keeps_every_cell() {
    let files = Files::new();
    let sql = block("DuckDB", "sql");
    let script = "import duckdb, json, sys\n\
        db = duckdb.connect()\n\
        db.execute(sys.argv[1])\n\
        cursor = db.execute('SELECT * FROM by_group')\n\
        names = [column[0] for column in cursor.description]\n\
        rows = [[None if cell is None else str(cell) for cell in row] for row in cursor.fetchall()]\n\
        open('plain.csv', 'w').write('\"tag:project\",\"internal_cost\"\\r\\n\"42\",0.10\\r\\n\"7\",0.20\\r\\n')\n\
        default = [str(row[1]) for row in db.execute(\"DESCRIBE SELECT * FROM 'plain.csv'\").fetchall()]\n\
        open('marked.csv', 'w').write('\\ufeff\"a\"\\r\\n\"1\"\\r\\n')\n\
        marked = db.execute(\"SELECT * FROM read_csv('marked.csv', header = true, all_varchar = true)\").description[0][0]\n\
        json.dump([names, rows, default, marked], sys.stdout)";
    let folder = tempfile::tempdir().unwrap();
    fs::copy(&files.by_group, folder.path().join(files.by_group.file_name().unwrap())).unwrap();
    let Some(read) = python(script, folder.path(), &[Path::new(&sql)]) else { return };
    let expected = read_cells(&files.by_group);
    let position = |name: &str| {
        let name = if name == "project" { "tag:project" } else { name };
        expected[0].iter().position(|cell| cell.text == name).unwrap()
    };
    let rows = read[1].as_array().unwrap();
    assert_eq!(rows.len(), expected.len() - 1);
    for (row, expected) in rows.iter().zip(&expected[1..]) {
        for (name, found) in read[0].as_array().unwrap().iter().zip(row.as_array().unwrap()) {
            let cell = &expected[position(name.as_str().unwrap())];
            assert_eq!(found.is_null(), cell.text.is_empty(), "{name}");
            let Some(found) = found.as_str() else { continue };
            if cell.is_quoted {
                assert_eq!(found, cell.original(), "{name}");
            } else {
                let number = Decimal::from_str_exact(found).unwrap().normalize();
                assert_eq!(Some(number), cell.number(), "{name}");
            }
        }
    }
    assert_eq!(read[2], serde_json::json!(["BIGINT", "DOUBLE"]), "the types that DuckDB chooses");
    assert_eq!(read[3], "a");
}

#[test]
fn documented_function_splits_group_cells() {
    let files = Files::new();
    let rows = read_cells(&files.by_group);
    let column = rows[0].iter().position(|cell| cell.text == "tag:project").unwrap();
    let cells: Vec<&str> = rows[1..].iter().map(|row| row[column].original()).collect();
    let script = block("The format", "python")
        + "\nimport json, sys\njson.dump([values(cell) for cell in json.loads(sys.argv[1])], sys.stdout)";
    let folder = tempfile::tempdir().unwrap();
    let cells = serde_json::to_string(&cells).unwrap();
    let Some(split) = python(&script, folder.path(), &[Path::new(&cells)]) else { return };
    let split: BTreeSet<String> = split.as_array().unwrap().iter().map(Value::to_string).collect();
    let mut expected: BTreeSet<String> =
        VALUES.iter().map(|value| serde_json::json!([value]).to_string()).collect();
    expected.extend(["[]".to_owned(), "[null,\"x\"]".to_owned()]);
    assert_eq!(split, expected);
}

#[test]
fn columns_for_excel_and_bigquery_are_those_of_the_file() {
    let files = Files::new();
    let rows = read_cells(&files.by_group);
    let header: Vec<String> = rows[0].iter().map(|cell| cell.text.replace(':', "_")).collect();
    let load = block("BigQuery", "sh");
    let schema: Vec<(&str, &str)> = load
        .split_whitespace()
        .last()
        .unwrap()
        .split(',')
        .map(|column| column.split_once(':').unwrap())
        .collect();
    assert_eq!(schema.iter().map(|(name, _)| *name).collect::<Vec<_>>(), header);
    let [numbers, _] = columns(&[files.by_group]);
    let always_empty = ["budget", "allocated_node_cost"];
    for (name, kind) in &schema {
        let is_number = numbers.contains(*name) || always_empty.contains(name);
        assert_eq!(["INT64", "NUMERIC", "BIGNUMERIC"].contains(kind), is_number, "{name}");
    }
    let query = block("Excel", "");
    let (_, list) = query.split_once("Numbers = {").unwrap();
    let listed: BTreeSet<&str> = list.split('}').next().unwrap().split('"').skip(1).step_by(2).collect();
    let wanted: BTreeSet<&str> = numbers.iter().map(String::as_str).chain(always_empty).collect();
    assert_eq!(listed, wanted);
}
