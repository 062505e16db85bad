//! Sheets as tables: what is written, and what is read back must be.

use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Writer};

use crate::error::TaskError;
use crate::html::SheetRow;

/// The columns; raters fill in the last one.
pub(super) const COLUMNS: [&str; 4] = ["item", "explanation", "context", "fits"];

/// What raters may say.
const YES: [&str; 4] = ["yes", "y", "1", "true"];
const NO: [&str; 4] = ["no", "n", "0", "false"];

/// The sheet, with an empty last column.
pub(super) fn csv(rows: &[SheetRow]) -> Vec<u8> {
    let mut writer = Writer::from_writer(Vec::new());
    let fields = rows.iter().map(|row| [&row.item, &row.explanation, &row.context, ""].map(ToString::to_string));
    for record in std::iter::once(COLUMNS.map(str::to_owned)).chain(fields) {
        writer.write_record(&record).expect("a vector takes every record, and all have four fields");
    }
    writer.into_inner().expect("a vector takes all that is flushed")
}

/// The ratings of a sheet, in the order of its rows, which may have been sorted in another way.
///
/// # Errors
/// If the file cannot be read, lacks a row or has it twice, was changed, or a rating is none; line and column are named.
pub(super) fn read(path: &Path, sheet: &[&SheetRow]) -> Result<Vec<bool>, TaskError> {
    let text = std::fs::read_to_string(path).map_err(|source| TaskError::io("read", path, source))?;
    let wrong = |line: u64, column: &str, expected: String, got: String| TaskError::Format {
        path: path.to_owned(),
        expected: format!("{expected} in line {line}, column {column}"),
        got: if got.is_empty() { "nothing".to_owned() } else { format!("'{got}'") },
    };
    let mut reader =
        ReaderBuilder::new().has_headers(false).from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let mut ratings: Vec<Option<(u64, bool)>> = vec![None; sheet.len()];
    for (idx, record) in reader.records().enumerate() {
        let record: StringRecord = record.map_err(|err| TaskError::Format {
            path: path.to_owned(),
            expected: format!("a table with commas and {} columns", COLUMNS.len()),
            got: err.to_string(),
        })?;
        let line = record.position().map_or(0, csv::Position::line);
        let field = |column: usize| record.get(column).unwrap_or("");
        if idx == 0 {
            if let Some(column) = (0..COLUMNS.len()).find(|&column| field(column).trim() != COLUMNS[column]) {
                let name = (column + 1).to_string();
                return Err(wrong(line, &name, format!("the heading {}", COLUMNS[column]), field(column).to_owned()));
            }
            continue;
        }
        let Some(row) = sheet.iter().position(|row| row.item == field(0).trim()) else {
            let expected = format!("an item from 1 to {}", sheet.len());
            return Err(wrong(line, COLUMNS[0], expected, field(0).to_owned()));
        };
        for (column, own) in [(1, &sheet[row].explanation), (2, &sheet[row].context)] {
            if field(column).trim() != own.trim() {
                return Err(wrong(line, COLUMNS[column], format!("'{own}'"), field(column).to_owned()));
            }
        }
        let said = field(3).trim().to_lowercase();
        let fits = if YES.contains(&said.as_str()) {
            true
        } else if NO.contains(&said.as_str()) {
            false
        } else {
            return Err(wrong(line, COLUMNS[3], "yes or no".to_owned(), field(3).to_owned()));
        };
        if let Some((before, _)) = ratings[row].replace((line, fits)) {
            let expected = format!("another item than in line {before}");
            return Err(wrong(line, COLUMNS[0], expected, field(0).to_owned()));
        }
    }
    let rated = |(row, rating): (&&SheetRow, &Option<(u64, bool)>)| {
        rating.map(|(_, fits)| fits).ok_or_else(|| TaskError::Format {
            path: path.to_owned(),
            expected: format!("all {} items of the sheet, column {}", sheet.len(), COLUMNS[0]),
            got: format!("no item {}", row.item),
        })
    };
    sheet.iter().zip(&ratings).map(rated).collect()
}
