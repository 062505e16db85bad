//! Scenarios of words and tokens, and properties that hold for any.

#![expect(clippy::single_range_in_vec_init, reason = "a list of one word is a list of ranges")]

use ndarray::Array2;
use proptest::prelude::*;

use super::*;
use crate::aggregate::{Aggregation, aggregate};
use crate::words::find_words;

/// A sentence, its words and tokens, and what must come of it.
struct Scenario {
    name: &'static str,
    text: &'static str,
    words: &'static [&'static str],
    /// Tokens in order: `[X]` is special, an empty one has zero width, any other is the next such piece of the text.
    tokens: &'static [&'static str],
    truncated: bool,
    /// The tokens of each word.
    ranges: &'static [Range<usize>],
    /// What is counted besides sentences, words, tokens and special tokens.
    counts: fn(&mut AlignmentCounts),
}

fn spans(text: &str, tokens: &[&str]) -> (Vec<Range<usize>>, Vec<bool>) {
    let mut at = 0;
    let span = |token: &&str| {
        if token.starts_with('[') || token.is_empty() {
            return at..at;
        }
        let start = at + text[at..].find(*token).expect("the token is in the text");
        at = start + token.len();
        start..at
    };
    (tokens.iter().map(span).collect(), tokens.iter().map(|token| token.starts_with('[')).collect())
}

#[test]
fn every_scenario_gives_the_words_their_tokens() {
    for Scenario { name, text, words, tokens, truncated, ranges, counts } in SCENARIOS {
        let words = find_words(text, words.iter().copied()).expect("the words are in the text");
        let (spans, special) = spans(text, tokens);
        let mut got = AlignmentCounts::default();
        let tokens = TokenSpans { spans: &spans, special: &special, truncated: *truncated };
        assert_eq!(align(&words, tokens, &mut got), *ranges, "{name}");
        let mut expected = AlignmentCounts {
            sentences: 1,
            words: words.len(),
            tokens: spans.len(),
            tokens_special: special.iter().filter(|&&special| special).count(),
            ..AlignmentCounts::default()
        };
        counts(&mut expected);
        assert_eq!(got, expected, "{name}");

        // The row of each token is its number, so aggregates can be read off the range.
        let rows = Array2::from_shape_fn((spans.len(), 1), |(row, _)| row as f32);
        let present: Vec<Range<usize>> = ranges.iter().filter(|range| !range.is_empty()).cloned().collect();
        let mut out = vec![0.0; present.len()];
        let mut values = |how| {
            aggregate(&rows.view(), &present, how, &mut out);
            out.clone()
        };
        let each = |value: fn(&Range<usize>) -> f32| present.iter().map(value).collect::<Vec<f32>>();
        assert_eq!(values(Aggregation::First), each(|range| range.start as f32), "{name}");
        assert_eq!(values(Aggregation::Last), each(|range| range.end as f32 - 1.0), "{name}");
        assert_eq!(values(Aggregation::Max), each(|range| range.end as f32 - 1.0), "{name}");
        assert_eq!(values(Aggregation::Mean), each(|range| (range.start + range.end - 1) as f32 / 2.0), "{name}");
    }
}

const NOTHING: fn(&mut AlignmentCounts) = |_| {};

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "one token a word",
        text: "a good film",
        words: &["a", "good", "film"],
        tokens: &["a", "good", "film"],
        truncated: false,
        ranges: &[0..1, 1..2, 2..3],
        counts: NOTHING,
    },
    Scenario {
        name: "special tokens around",
        text: "a good film",
        words: &["a", "good", "film"],
        tokens: &["[CLS]", "a", "good", "film", "[SEP]"],
        truncated: false,
        ranges: &[1..2, 2..3, 3..4],
        counts: NOTHING,
    },
    Scenario {
        name: "sub-words in the first word",
        text: "hermetic good film",
        words: &["hermetic", "good", "film"],
        tokens: &["[CLS]", "her", "met", "ic", "good", "film", "[SEP]"],
        truncated: false,
        ranges: &[1..4, 4..5, 5..6],
        counts: NOTHING,
    },
    Scenario {
        name: "sub-words in a middle word",
        text: "a hermetic film",
        words: &["a", "hermetic", "film"],
        tokens: &["[CLS]", "a", "her", "metic", "film", "[SEP]"],
        truncated: false,
        ranges: &[1..2, 2..4, 4..5],
        counts: NOTHING,
    },
    Scenario {
        name: "sub-words in the last word",
        text: "a good hermetic",
        words: &["a", "good", "hermetic"],
        tokens: &["a", "good", "her", "metic"],
        truncated: false,
        ranges: &[0..1, 1..2, 2..4],
        counts: NOTHING,
    },
    Scenario {
        name: "an unknown word is one token, whatever its name",
        text: "a ☃☃ film",
        words: &["a", "☃☃", "film"],
        tokens: &["[CLS]", "a", "☃☃", "film", "[SEP]"],
        truncated: false,
        ranges: &[1..2, 2..3, 3..4],
        counts: NOTHING,
    },
    Scenario {
        name: "a word that the tokenizer drops, in the middle",
        text: "a \u{ad} film",
        words: &["a", "\u{ad}", "film"],
        tokens: &["[CLS]", "a", "film", "[SEP]"],
        truncated: false,
        ranges: &[1..2, 0..0, 2..3],
        counts: |counts| counts.words_without_token = 1,
    },
    Scenario {
        name: "words that the tokenizer drops, first and last",
        text: "\u{ad} a \u{ad}",
        words: &["\u{ad}", "a", "\u{ad}"],
        tokens: &["a"],
        truncated: false,
        ranges: &[0..0, 0..1, 0..0],
        counts: |counts| counts.words_without_token = 2,
    },
    Scenario {
        name: "a character of a word that the tokenizer drops",
        text: "so\u{ad}so film",
        words: &["so\u{ad}so", "film"],
        tokens: &["so", "so", "film"],
        truncated: false,
        ranges: &[0..2, 2..3],
        counts: NOTHING,
    },
    Scenario {
        name: "no tokens at all",
        text: "\u{ad}",
        words: &["\u{ad}"],
        tokens: &["[CLS]", "[SEP]"],
        truncated: false,
        ranges: &[0..0],
        counts: |counts| counts.words_without_token = 1,
    },
    Scenario {
        name: "truncated between words",
        text: "a good film",
        words: &["a", "good", "film"],
        tokens: &["[CLS]", "a", "good", "[SEP]"],
        truncated: true,
        ranges: &[1..2, 2..3, 0..0],
        counts: |counts| counts.words_truncated = 1,
    },
    Scenario {
        name: "truncated inside a word, which is then no word",
        text: "a hermetic film",
        words: &["a", "hermetic", "film"],
        tokens: &["[CLS]", "a", "her", "[SEP]"],
        truncated: true,
        ranges: &[1..2, 0..0, 0..0],
        counts: |counts| {
            counts.words_truncated = 2;
            counts.tokens_unassigned = 1;
        },
    },
    Scenario {
        name: "truncated at a word that the tokenizer drops",
        text: "a good \u{ad} film",
        words: &["a", "good", "\u{ad}", "film"],
        tokens: &["a", "good"],
        truncated: true,
        ranges: &[0..1, 1..2, 0..0, 0..0],
        counts: |counts| counts.words_truncated = 2,
    },
    Scenario {
        name: "truncated exactly at the end",
        text: "a good film",
        words: &["a", "good", "film"],
        tokens: &["[CLS]", "a", "good", "film", "[SEP]"],
        truncated: true,
        ranges: &[1..2, 2..3, 3..4],
        counts: NOTHING,
    },
    Scenario {
        name: "a token that depends on its position",
        text: "film film",
        words: &["film", "film"],
        tokens: &["fi", "lm", "film"],
        truncated: false,
        ranges: &[0..2, 2..3],
        counts: NOTHING,
    },
    Scenario {
        name: "byte-level tokens with the space before the word",
        text: "a good film",
        words: &["a", "good", "film"],
        tokens: &["a", " good", " fi", "lm"],
        truncated: false,
        ranges: &[0..1, 1..2, 2..4],
        counts: NOTHING,
    },
    Scenario {
        name: "white space as tokens of its own",
        text: "a   good film",
        words: &["a", "good", "film"],
        tokens: &["a", "  ", " good", " ", "film"],
        truncated: false,
        ranges: &[0..1, 2..3, 4..5],
        counts: |counts| counts.tokens_unassigned = 2,
    },
    Scenario {
        name: "a token of two words",
        text: "I don't",
        words: &["I", "do", "n't"],
        tokens: &["I", "don", "'", "t"],
        truncated: false,
        ranges: &[0..1, 1..2, 1..4],
        counts: |counts| {
            counts.tokens_shared = 1;
            counts.words_sharing_token = 2;
        },
    },
    Scenario {
        name: "a token of many words",
        text: "a b c d",
        words: &["a", "b", "c", "d"],
        tokens: &["a b c", " d"],
        truncated: false,
        ranges: &[0..1, 0..1, 0..1, 1..2],
        counts: |counts| {
            counts.tokens_shared = 1;
            counts.words_sharing_token = 3;
        },
    },
    Scenario {
        name: "a token without text before a word is no part of it",
        text: "a film",
        words: &["a", "film"],
        tokens: &["", "a", "", "film", ""],
        truncated: false,
        ranges: &[1..2, 3..4],
        counts: |counts| counts.tokens_empty = 3,
    },
    Scenario {
        name: "a token without text inside a word belongs to it",
        text: "a film",
        words: &["a", "film"],
        tokens: &["a", "fi", "", "lm"],
        truncated: false,
        ranges: &[0..1, 1..4],
        counts: NOTHING,
    },
    Scenario {
        name: "no words",
        text: " ",
        words: &[],
        tokens: &["[CLS]", " ", "[SEP]"],
        truncated: false,
        ranges: &[],
        counts: |counts| counts.tokens_unassigned = 1,
    },
];

#[test]
fn tokens_of_one_character_may_have_its_span_each() {
    // An emoji in byte-level tokens: all of them stand for the whole character.
    let mut counts = AlignmentCounts::default();
    let tokens = TokenSpans { spans: &[0..4, 0..4, 0..4, 4..6], special: &[false; 4], truncated: false };
    assert_eq!(align(&[0..4, 5..6], tokens, &mut counts), [0..3, 3..4]);
    assert_eq!(counts.sentences_out_of_order, 0);
}

#[test]
fn words_of_one_span_have_the_same_tokens() {
    let mut counts = AlignmentCounts::default();
    let tokens = TokenSpans { spans: &[0..2, 2..3], special: &[false; 2], truncated: false };
    assert_eq!(align(&[0..3, 0..3], tokens, &mut counts), [0..2, 0..2]);
    assert_eq!((counts.words_sharing_token, counts.tokens_shared), (2, 2));
}

#[test]
fn tokens_in_another_order_than_the_text_are_counted() {
    let mut counts = AlignmentCounts::default();
    let tokens = TokenSpans { spans: &[4..8, 0..3], special: &[false; 2], truncated: false };
    assert_eq!(align(&[0..3, 4..8], tokens, &mut counts), [1..2, 0..1]);
    assert_eq!(counts.sentences_out_of_order, 1);
}

#[test]
fn counts_add_up_over_sentences() {
    let mut all = AlignmentCounts { windows: 1, ..AlignmentCounts::default() };
    let mut one = AlignmentCounts::default();
    let tokens = TokenSpans { spans: &[0..3, 3..4], special: &[false; 2], truncated: false };
    align(&[0..3], tokens, &mut one);
    all += &one;
    all += &one;
    assert_eq!((all.sentences, all.words, all.tokens, all.tokens_unassigned, all.windows), (2, 2, 4, 2, 1));
}

/// Words and tokens as spans over one line of bytes, with gaps, shared spans and, if asked for, disorder.
fn sentence(in_order: bool) -> impl Strategy<Value = (Vec<Range<usize>>, Vec<Range<usize>>, Vec<bool>)> {
    let words = prop::collection::vec((0..3_usize, 0..6_usize), 0..12).prop_map(|steps| {
        let mut at = 0;
        let place = |(gap, length): (usize, usize)| {
            let start = at + gap;
            at = start + length;
            start..at
        };
        steps.into_iter().map(place).collect::<Vec<Range<usize>>>()
    });
    let tokens = prop::collection::vec((0..3_usize, 0..5_usize, prop::bool::weighted(0.1)), 0..20).prop_map(|steps| {
        let mut at = 0_usize;
        let place = |(back, length, special): (usize, usize, bool)| {
            let start = at.saturating_sub(back / 2);
            at = at.max(start + length);
            (start..start + length, special)
        };
        steps.into_iter().map(place).collect::<Vec<(Range<usize>, bool)>>()
    });
    let tokens = if in_order { tokens.boxed() } else { tokens.prop_shuffle().boxed() };
    (words, tokens).prop_map(|(words, tokens)| {
        let (spans, special) = tokens.into_iter().unzip();
        (words, spans, special)
    })
}

fn check_alignment(words: &[Range<usize>], spans: &[Range<usize>], special: &[bool]) -> Result<(), TestCaseError> {
    let mut counts = AlignmentCounts::default();
    let ranges = align(words, TokenSpans { spans, special, truncated: false }, &mut counts);
    let overlaps = |word: &Range<usize>, idx: usize| {
        !special[idx] && spans[idx].start.max(word.start) < spans[idx].end.min(word.end)
    };
    for (word, range) in words.iter().zip(&ranges) {
        let of_word: Vec<usize> = (0..spans.len()).filter(|&idx| overlaps(word, idx)).collect();
        match (of_word.first(), of_word.last()) {
            (Some(&first), Some(&last)) => prop_assert_eq!(range, &(first..last + 1)),
            _ => prop_assert!(range.is_empty()),
        }
    }
    prop_assert_eq!(counts.words_without_token, ranges.iter().filter(|range| range.is_empty()).count());
    let covered = |idx: &usize| ranges.iter().any(|range| range.contains(idx));
    let uncovered = (0..spans.len()).filter(|idx| !special[*idx] && !covered(idx)).count();
    prop_assert_eq!(counts.tokens_unassigned + counts.tokens_empty, uncovered);
    Ok(())
}

proptest! {
    #[test]
    fn a_word_has_every_token_that_shares_a_byte_with_it((words, spans, special) in sentence(true)) {
        check_alignment(&words, &spans, &special)?;
    }

    #[test]
    fn so_it_has_when_tokens_are_out_of_order((words, spans, special) in sentence(false)) {
        check_alignment(&words, &spans, &special)?;
    }
}
