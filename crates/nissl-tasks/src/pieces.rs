//! Plain text in pieces, so that no file has to fit in memory.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::error::TaskError;

/// Bytes of text that are taken at once; pieces end at a line's end.
const PIECE: usize = 1 << 16;

/// A piece of a file, and whether the file ends with it.
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) last: bool,
}

/// The files in pieces that end at a line's end.
pub(crate) fn pieces(files: &[PathBuf]) -> impl Iterator<Item = Result<Piece, TaskError>> + Send + '_ {
    files.iter().flat_map(|path| {
        let mut state = Some((None, 0u64));
        std::iter::from_fn(move || {
            let (reader, line) = state.take()?;
            match piece(path, reader, line) {
                Ok((piece, next)) => {
                    state = next;
                    piece.map(Ok)
                }
                Err(err) => Some(Err(err)),
            }
        })
    })
}

/// A text whose lines end with line feeds alone, as Python reads files.
pub(crate) fn with_line_feeds(text: &str) -> Cow<'_, str> {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n").into() } else { text.into() }
}

type Rest = Option<(Option<BufReader<File>>, u64)>;

/// Reads the next piece, and what there is to read after it.
fn piece(path: &Path, reader: Option<BufReader<File>>, mut line: u64) -> Result<(Option<Piece>, Rest), TaskError> {
    let failed = |err| TaskError::io("read", path, err);
    let mut reader = match reader {
        Some(reader) => reader,
        None => BufReader::with_capacity(PIECE, File::open(path).map_err(failed)?),
    };
    let mut bytes = Vec::with_capacity(PIECE + 1024);
    let mut last = false;
    while bytes.len() < PIECE {
        if reader.read_until(b'\n', &mut bytes).map_err(failed)? == 0 {
            last = true;
            break;
        }
        line += 1;
    }
    let text = String::from_utf8(bytes).map_err(|err| {
        let valid = err.utf8_error().valid_up_to();
        let n_lines = |bytes: &[u8]| bytes.split(|&byte| byte == b'\n').count() as u64 - 1;
        let first = line - n_lines(err.as_bytes());
        let at = first + n_lines(&err.as_bytes()[..valid]) + 1;
        let byte = err.as_bytes()[valid];
        let got = format!("byte {byte:#04x} in line {at}");
        TaskError::Format { path: path.to_owned(), expected: "text in UTF-8".to_owned(), got }
    })?;
    if text.is_empty() {
        return Ok((None, None));
    }
    // A piece that ends where the file does is the last one, though the next read would have to find that out.
    let last = last || reader.fill_buf().map_err(failed)?.is_empty();
    Ok((Some(Piece { text, last }), if last { None } else { Some((Some(reader), line)) }))
}
