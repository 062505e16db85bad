//! The text as one long row of tokens in a file, so that no corpus has to fit in memory.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use nissl_core::Progress;
use nissl_model::Tokenizer;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::output::{write_json, write_whole};
use crate::pieces::{Piece, pieces, with_line_feeds};

/// Bytes of a file that are read at once.
const BLOCK: usize = 1 << 16;
/// Pieces that are tokenized side by side.
const AT_ONCE: usize = 64;
/// The token that stands behind each text, where the tokenizer has it.
const END: &str = "<|endoftext|>";

/// The text that was trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextReport {
    /// The files.
    pub files: Vec<TextFile>,
    /// Digest of the tokenizer.
    pub tokenizer: String,
    /// Bytes of all files, every line end counted as one.
    pub n_bytes: u64,
    /// Tokens of all files.
    pub n_tokens: u64,
}

/// A file of text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its digest, 64 hexadecimal digits.
    pub digest: String,
}

/// The tokens of a text.
pub(super) struct Tokens {
    pub(super) report: TextReport,
    /// Little-endian 32-bit numbers.
    pub(super) path: PathBuf,
}

/// Tokenizes the files, or finds that it was done before.
pub(super) fn tokens(
    files: &[PathBuf],
    out: &Path,
    tokenizer: &Tokenizer,
    progress: &dyn Progress,
) -> Result<Tokens, TaskError> {
    let (path, about) = (out.join("tokens.u32"), out.join("tokens.json"));
    let digests: Vec<TextFile> = files.iter().map(|file| digest(file)).collect::<Result<_, _>>()?;
    let before = std::fs::read(&about).ok().and_then(|bytes| serde_json::from_slice::<TextReport>(&bytes).ok());
    if let Some(report) = before
        && report.files == digests
        && report.tokenizer == tokenizer.digest()
        && std::fs::metadata(&path).is_ok_and(|found| found.len() == 4 * report.n_tokens)
    {
        return Ok(Tokens { report, path });
    }
    let size = files.iter().map(|file| std::fs::metadata(file).map_or(0, |found| found.len())).sum();
    progress.stage("tokenize", Some(size), "bytes");
    let end = tokenizer.token_id(END);
    let (mut n_tokens, mut n_bytes, mut done) = (0, 0, 0);
    // What failed inside, for the writer of the file knows only errors of its own.
    let mut failed = None;
    let written = write_whole(&path, |out| {
        let mut pieces = pieces(files);
        loop {
            let some: Result<Vec<Piece>, TaskError> = pieces.by_ref().take(AT_ONCE).collect();
            let some = some.map_err(|err| stopped(&mut failed, err))?;
            if some.is_empty() {
                return Ok(());
            }
            if progress.cancelled() {
                let resume = "nothing was trained yet; the same command begins again".to_owned();
                return Err(stopped(&mut failed, TaskError::Cancelled { resume }));
            }
            let encode = |piece: &Piece| {
                let text = with_line_feeds(&piece.text);
                (text.len(), tokenizer.encode_plain(&text))
            };
            let encoded: Vec<_> = some.par_iter().map(encode).collect();
            for (piece, (len, encoded)) in some.iter().zip(encoded) {
                let mut ids = encoded.map_err(|err| stopped(&mut failed, err.into()))?.ids;
                ids.extend(end.filter(|_| piece.last));
                n_tokens += ids.len() as u64;
                done += piece.text.len() as u64;
                n_bytes += len as u64;
                for id in ids {
                    out.write_all(&id.to_le_bytes())?;
                }
            }
            progress.step(done);
        }
    });
    match (failed, written) {
        (Some(err), _) | (None, Err(err)) => return Err(err),
        (None, Ok(())) => {}
    }
    let report = TextReport { files: digests, tokenizer: tokenizer.digest().to_owned(), n_bytes, n_tokens };
    write_json(&about, &report)?;
    Ok(Tokens { report, path })
}

/// Keeps an error aside and ends the writing.
fn stopped(failed: &mut Option<TaskError>, err: TaskError) -> std::io::Error {
    *failed = Some(err);
    std::io::Error::other("stopped")
}

fn digest(path: &Path) -> Result<TextFile, TaskError> {
    let failed = |err| TaskError::io("read", path, err);
    let mut hasher = blake3::Hasher::new();
    let mut file = File::open(path).map_err(failed)?;
    let mut bytes = vec![0; BLOCK];
    loop {
        match file.read(&mut bytes).map_err(failed)? {
            0 => return Ok(TextFile { path: path.to_owned(), digest: hasher.finalize().to_hex().to_string() }),
            n => hasher.update(&bytes[..n]),
        };
    }
}
