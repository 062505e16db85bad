//! Aligned tables that fit the terminal and read well without color.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use crate::style;

/// Which side of a column its text keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows of text under headings; the last column gives way when the terminal is too narrow.
#[derive(Debug)]
pub(crate) struct Table {
    heads: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these headings.
    pub(crate) fn new<S: AsRef<str>>(heads: &[(S, Align)]) -> Self {
        let heads = heads.iter().map(|(head, align)| (head.as_ref().to_owned(), *align)).collect();
        Self { heads, rows: Vec::new() }
    }

    /// Adds a row, one text a column.
    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        assert_eq!(cells.len(), self.heads.len(), "one text a column");
        self.rows.push(cells);
    }

    /// Prints the table within `width` characters, if there is a width.
    pub(crate) fn print(&self, out: &mut dyn Write, width: Option<usize>) -> io::Result<()> {
        let mut widths: Vec<usize> = self.heads.iter().map(|(head, _)| head.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        if let Some(total) = width
            && let Some((last, others)) = widths.split_last_mut()
        {
            let taken: usize = others.iter().map(|width| width + 2).sum();
            *last = (*last).min(total.saturating_sub(taken).max(8));
        }
        let heads: Vec<String> = self.heads.iter().map(|(head, _)| head.clone()).collect();
        self.line(out, &heads, &widths, true)?;
        self.rows.iter().try_for_each(|row| self.line(out, row, &widths, false))
    }

    fn line(&self, out: &mut dyn Write, cells: &[String], widths: &[usize], head: bool) -> io::Result<()> {
        let mut line = String::new();
        for (i, ((cell, width), (_, align))) in cells.iter().zip(widths).zip(&self.heads).enumerate() {
            let cell = shorten(cell, *width);
            let blanks = " ".repeat(width.saturating_sub(cell.width()));
            if i > 0 {
                line.push_str("  ");
            }
            match align {
                Align::Left => line.extend([cell.as_str(), blanks.as_str()]),
                Align::Right => line.extend([blanks.as_str(), cell.as_str()]),
            }
        }
        let line = line.trim_end();
        if head { writeln!(out, "{}", style::head(line)) } else { writeln!(out, "{line}") }
    }
}

/// At most `width` characters wide, with an ellipsis where something was cut.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        if short.width() + unicode_width::UnicodeWidthChar::width(c).unwrap_or(0) + 1 > width {
            break;
        }
        short.push(c);
    }
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(width: Option<usize>) -> String {
        let mut table = Table::new(&[("name", Align::Left), ("n", Align::Right), ("summary", Align::Left)]);
        table.row(["a", "1", "the first letter"]);
        table.row(["日本", "1000", "two wide ones"]);
        let mut out = anstream::StripStream::new(Vec::new());
        table.print(&mut out, width).unwrap();
        String::from_utf8(out.into_inner()).unwrap()
    }

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        assert_eq!(print(None), "name     n  summary\na        1  the first letter\n日本  1000  two wide ones\n");
    }

    #[test]
    fn the_last_column_gives_way() {
        assert_eq!(print(Some(22)), "name     n  summary\na        1  the first…\n日本  1000  two wide …\n");
    }
}
