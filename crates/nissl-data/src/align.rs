//! Words to tokens, by their places in the text.

use std::ops::{AddAssign, Range};

use serde::{Deserialize, Serialize};

/// The tokens of a sentence, as a tokenizer gives them.
#[derive(Clone, Copy, Debug)]
pub struct TokenSpans<'a> {
    /// Bytes of the text that each token stands for, `[n_tokens]`. White space before a word may be part of its token.
    pub spans: &'a [Range<usize>],
    /// Whether each token was added by the tokenizer (`[CLS]`, `<s>`) and stands for no text, `[n_tokens]`.
    pub special: &'a [bool],
    /// Whether the tokenizer stopped before the end of the text.
    pub truncated: bool,
}

/// What came of the alignment, over all sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlignmentCounts {
    /// Sentences.
    pub sentences: usize,
    /// Words.
    pub words: usize,
    /// Words that the tokenizer dropped: no token stands for any part of them. They have no row.
    pub words_without_token: usize,
    /// Words that the tokenizer's truncation cut or left out. They have no row.
    pub words_truncated: usize,
    /// Words that share a token with another word and so have its activations too.
    pub words_sharing_token: usize,
    /// Words longer than a window; their row is made of the tokens in the window that holds most of them.
    pub words_clipped: usize,
    /// Tokens, special ones included.
    pub tokens: usize,
    /// Tokens that the tokenizer added.
    pub tokens_special: usize,
    /// Tokens that belong to several words.
    pub tokens_shared: usize,
    /// Tokens that stand for text but belong to no word: white space, or words that were truncated.
    pub tokens_unassigned: usize,
    /// Tokens without text (zero width) that lie inside no word.
    pub tokens_empty: usize,
    /// Sentences whose tokens are not in the order of the text.
    pub sentences_out_of_order: usize,
    /// Sentences longer than the model's context, read in several windows.
    pub sentences_windowed: usize,
    /// Windows of all sentences; a sentence that fits is one.
    pub windows: usize,
}

impl AddAssign<&Self> for AlignmentCounts {
    fn add_assign(&mut self, other: &Self) {
        self.sentences += other.sentences;
        self.words += other.words;
        self.words_without_token += other.words_without_token;
        self.words_truncated += other.words_truncated;
        self.words_sharing_token += other.words_sharing_token;
        self.words_clipped += other.words_clipped;
        self.tokens += other.tokens;
        self.tokens_special += other.tokens_special;
        self.tokens_shared += other.tokens_shared;
        self.tokens_unassigned += other.tokens_unassigned;
        self.tokens_empty += other.tokens_empty;
        self.sentences_out_of_order += other.sentences_out_of_order;
        self.sentences_windowed += other.sentences_windowed;
        self.windows += other.windows;
    }
}

/// The tokens of each word, `[n_words]`: those from the first to the last that share a byte with it. A word without a
/// token has an empty range.
///
/// A token that spans several words belongs to each of them; white space at a token's edge belongs to none. A token of
/// zero width belongs to a word when it stands between the word's first and last token. Everything out of the ordinary
/// is added to `counts`.
///
/// ```
/// use nissl_data::{AlignmentCounts, TokenSpans, align};
/// // "un|do it" with the words "undo" and "it"
/// let tokens = TokenSpans { spans: &[0..0, 0..2, 2..4, 4..7, 0..0], special: &[true, false, false, false, true], truncated: false };
/// let mut counts = AlignmentCounts::default();
/// assert_eq!(align(&[0..4, 5..7], tokens, &mut counts), [1..3, 3..4]);
/// assert_eq!((counts.words, counts.words_without_token, counts.tokens_special), (2, 0, 2));
/// ```
///
/// # Panics
/// If there are not as many `special` flags as token spans.
pub fn align(words: &[Range<usize>], tokens: TokenSpans<'_>, counts: &mut AlignmentCounts) -> Vec<Range<usize>> {
    let TokenSpans { spans, special, truncated } = tokens;
    assert_eq!(spans.len(), special.len(), "one special flag a token");
    let content: Vec<usize> = (0..spans.len()).filter(|&idx| !special[idx] && !spans[idx].is_empty()).collect();
    let in_order = content
        .windows(2)
        .all(|pair| spans[pair[0]].start <= spans[pair[1]].start && spans[pair[0]].end <= spans[pair[1]].end);
    let text_end = content.iter().map(|&idx| spans[idx].end).max().unwrap_or(0);

    counts.sentences += 1;
    counts.words += words.len();
    counts.tokens += spans.len();
    counts.tokens_special += special.iter().filter(|&&special| special).count();
    counts.sentences_out_of_order += usize::from(!in_order);

    let ranges: Vec<Range<usize>> = words
        .iter()
        .map(|word| {
            let range = if in_order { search(word, spans, &content) } else { scan(word, spans, &content) };
            if truncated && word.end > text_end {
                counts.words_truncated += 1;
                return 0..0;
            }
            range.unwrap_or_else(|| {
                counts.words_without_token += 1;
                0..0
            })
        })
        .collect();
    count_tokens(&ranges, tokens, counts);
    ranges
}

/// The tokens of a word when starts and ends never go backwards.
fn search(word: &Range<usize>, spans: &[Range<usize>], content: &[usize]) -> Option<Range<usize>> {
    let first = content.partition_point(|&idx| spans[idx].end <= word.start);
    let after = content.partition_point(|&idx| spans[idx].start < word.end);
    (first < after && !word.is_empty()).then(|| content[first]..content[after - 1] + 1)
}

/// The tokens of a word whatever their order.
fn scan(word: &Range<usize>, spans: &[Range<usize>], content: &[usize]) -> Option<Range<usize>> {
    let overlaps = |&&idx: &&usize| spans[idx].start.max(word.start) < spans[idx].end.min(word.end);
    let first = content.iter().find(overlaps)?;
    let last = content.iter().rev().find(overlaps)?;
    Some(*first..last + 1)
}

/// Counts tokens of several words and of none, and the words that share.
fn count_tokens(ranges: &[Range<usize>], tokens: TokenSpans<'_>, counts: &mut AlignmentCounts) {
    let mut n_words = vec![0_u32; tokens.spans.len()];
    for range in ranges {
        for n in &mut n_words[range.clone()] {
            *n += 1;
        }
    }
    let shares = |range: &&Range<usize>| n_words[(*range).clone()].iter().any(|&n| n > 1);
    counts.words_sharing_token += ranges.iter().filter(shares).count();
    for (idx, &n) in n_words.iter().enumerate() {
        match n {
            0 if tokens.special[idx] => {}
            0 if tokens.spans[idx].is_empty() => counts.tokens_empty += 1,
            0 => counts.tokens_unassigned += 1,
            1 => {}
            _ => counts.tokens_shared += 1,
        }
    }
}

#[cfg(test)]
mod tests;
