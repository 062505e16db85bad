//! Windows: a sentence that is longer than the model's context is read in several pieces that overlap.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::align::AlignmentCounts;
use crate::error::DataError;

/// How long sentences are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowOptions {
    /// The longest input, in tokens, special ones included.
    pub n_ctx: usize,
    /// Tokens that two neighboring windows share at least, special ones aside; fewer only where a word would be cut.
    pub overlap: usize,
    /// Whether a position sees only those before it.
    pub causal: bool,
}

impl WindowOptions {
    /// Windows of a model's whole context that overlap by a quarter of it.
    pub fn new(n_ctx: usize, causal: bool) -> Self {
        Self { n_ctx, overlap: n_ctx / 4, causal }
    }
}

/// A part of a sentence, as it is given to the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The sentence's token in each row of the input: the special tokens at its start, a piece, those at its end.
    pub tokens: Vec<usize>,
    /// The rows that are taken from this window and no other. Over all windows, every token of the sentence is taken
    /// once: special tokens at the start from the first window, those at the end from the last.
    pub owned: Range<usize>,
    /// The words that are taken from this window and no other, in order.
    pub words: Vec<WindowWord>,
}

/// A word in a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowWord {
    /// Which word of the sentence.
    pub word: usize,
    /// The rows of the window's input that are its tokens.
    pub rows: Range<usize>,
}

/// Cuts the tokens of a sentence into windows and gives every word that has a token to one of them.
///
/// `words` are the token ranges of [`crate::align`]. A window ends between words wherever one does not fill it alone.
/// A token is taken from the window in which it has most context: as far as possible from both cut ends, or, if the
/// model is causal, the earliest. So is a word; one that no window holds whole is clipped, and counted.
///
/// # Errors
/// [`DataError::Window`] if special tokens and overlap leave no room.
///
/// # Panics
/// If a word's range ends beyond the tokens.
pub fn windows(
    special: &[bool],
    words: &[Range<usize>],
    options: &WindowOptions,
    counts: &mut AlignmentCounts,
) -> Result<Vec<Window>, DataError> {
    let n_tokens = special.len();
    let n_prefix = special.iter().take_while(|&&special| special).count();
    let n_suffix = special[n_prefix..].iter().rev().take_while(|&&special| special).count();
    let content = n_prefix..n_tokens - n_suffix;
    let &WindowOptions { n_ctx, overlap, causal } = options;
    let n_special = n_prefix + n_suffix;
    if n_ctx <= n_special.saturating_add(overlap) {
        return Err(DataError::Window { n_ctx, n_special, overlap });
    }
    let breaks = breaks(n_tokens, words);
    let pieces = cut(content.clone(), n_ctx - n_special, overlap, &breaks);
    let borders = borders(&pieces, causal, &breaks);

    counts.windows += pieces.len();
    counts.sentences_windowed += usize::from(pieces.len() > 1);
    let last = pieces.len() - 1;
    let mut windows: Vec<Window> = pieces
        .iter()
        .enumerate()
        .map(|(idx, piece)| {
            let tokens: Vec<usize> = (0..n_prefix).chain(piece.clone()).chain(content.end..n_tokens).collect();
            let row = |token: usize| token - piece.start + n_prefix;
            let start = if idx == 0 { 0 } else { row(borders[idx]) };
            let end = if idx == last { tokens.len() } else { row(borders[idx + 1]) };
            Window { tokens, owned: start..end, words: Vec::new() }
        })
        .collect();

    for (word, range) in words.iter().enumerate().filter(|(_, range)| !range.is_empty()) {
        let first = pieces.partition_point(|piece| piece.end <= range.start);
        let shared = |idx: usize| overlap_of(&pieces[idx], range).len();
        let owned = |idx: usize| overlap_of(&(borders[idx]..borders[idx + 1]), range).len();
        // The earliest of those that hold most of it, and own most of it.
        let best = (first..pieces.len())
            .take_while(|&idx| pieces[idx].start < range.end)
            .max_by_key(|&idx| (shared(idx), owned(idx), std::cmp::Reverse(idx)));
        let Some(best) = best else { continue };
        let held = overlap_of(&pieces[best], range);
        counts.words_clipped += usize::from(held.len() < range.len());
        let start = held.start - pieces[best].start + n_prefix;
        windows[best].words.push(WindowWord { word, rows: start..start + held.len() });
    }
    Ok(windows)
}

fn overlap_of(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    let start = a.start.max(b.start);
    start..a.end.min(b.end).max(start)
}

/// Whether the tokens can be cut before each token without cutting a word, `[n_tokens + 1]`.
fn breaks(n_tokens: usize, words: &[Range<usize>]) -> Vec<bool> {
    let mut breaks = vec![true; n_tokens + 1];
    for word in words.iter().filter(|word| word.len() > 1) {
        breaks[word.start + 1..word.end].fill(false);
    }
    breaks
}

/// Pieces of at most `room` tokens that cover the content in order.
fn cut(content: Range<usize>, room: usize, overlap: usize, breaks: &[bool]) -> Vec<Range<usize>> {
    let break_in = |range: Range<usize>| range.rev().find(|&at| breaks[at]);
    let mut pieces: Vec<Range<usize>> = Vec::new();
    let (mut start, mut covered) = (content.start, content.start);
    while content.end - start > room {
        let end = match break_in(covered + 1..start + room + 1) {
            Some(end) => end,
            // The next word does not fit behind the overlap: it gets a window that begins with it.
            None if start < covered => {
                start = covered;
                continue;
            }
            None => start + room,
        };
        pieces.push(start..end);
        let next = end.saturating_sub(overlap).max(start + 1);
        start = break_in(start + 1..next + 1).unwrap_or(next);
        covered = end;
    }
    pieces.push(start..content.end);
    pieces
}

/// Where what is taken from each piece begins, and at the end where the last one's ends, `[n_pieces + 1]`.
fn borders(pieces: &[Range<usize>], causal: bool, breaks: &[bool]) -> Vec<usize> {
    let mut borders = vec![pieces[0].start];
    for pair in pieces.windows(2) {
        let shared = pair[1].start..pair[0].end;
        let middle = usize::midpoint(shared.start, shared.end);
        let border = if causal {
            shared.end
        } else {
            // The break nearest to the middle, the earlier of two.
            (shared.start..=shared.end).filter(|&at| breaks[at]).min_by_key(|at| at.abs_diff(middle)).unwrap_or(middle)
        };
        borders.push(border.max(borders[borders.len() - 1]));
    }
    borders.push(pieces[pieces.len() - 1].end);
    borders
}

#[cfg(test)]
mod tests;
