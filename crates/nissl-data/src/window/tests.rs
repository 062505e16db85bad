use proptest::prelude::*;

use super::*;

/// Windows of `n` tokens with one special token at each end, words of the given lengths one behind the other.
fn run(word_lengths: &[usize], n_ctx: usize, overlap: usize, causal: bool) -> (Vec<Window>, AlignmentCounts) {
    let mut at = 1;
    let words: Vec<Range<usize>> = word_lengths
        .iter()
        .map(|&length| {
            at += length;
            at - length..at
        })
        .collect();
    let mut special = vec![false; at + 1];
    (special[0], special[at]) = (true, true);
    let mut counts = AlignmentCounts::default();
    let windows = windows(&special, &words, &WindowOptions { n_ctx, overlap, causal }, &mut counts);
    (windows.expect("there is room"), counts)
}

/// What each window reads, takes, and which words it gives.
fn shape(windows: &[Window]) -> Vec<(Vec<usize>, Range<usize>, Vec<usize>)> {
    let words = |window: &Window| window.words.iter().map(|word| word.word).collect();
    windows.iter().map(|window| (window.tokens.clone(), window.owned.clone(), words(window))).collect()
}

#[test]
fn a_sentence_that_fits_is_one_window() {
    let (windows, counts) = run(&[1, 2, 1], 6, 2, false);
    assert_eq!(shape(&windows), [(vec![0, 1, 2, 3, 4, 5], 0..6, vec![0, 1, 2])]);
    assert_eq!(windows[0].words[1].rows, 2..4);
    assert_eq!((counts.windows, counts.sentences_windowed), (1, 0));
}

#[test]
fn exactly_the_context_is_one_window_and_one_more_is_two() {
    assert_eq!(run(&[1; 510], 512, 128, false).0.len(), 1);
    let (windows, counts) = run(&[1; 511], 512, 128, false);
    assert_eq!((windows.len(), counts.windows, counts.sentences_windowed), (2, 2, 1));
    assert!(windows.iter().all(|window| window.tokens.len() <= 512));
}

#[test]
fn each_side_takes_its_half_of_the_overlap() {
    let (windows, _) = run(&[1; 8], 8, 4, false);
    assert_eq!(
        shape(&windows),
        [
            (vec![0, 1, 2, 3, 4, 5, 6, 9], 0..5, vec![0, 1, 2, 3]),
            (vec![0, 3, 4, 5, 6, 7, 8, 9], 3..8, vec![4, 5, 6, 7]),
        ]
    );
    assert_eq!(windows[1].words[0].rows, 3..4, "rows count the special token at the start");
}

#[test]
fn a_causal_model_has_most_context_in_the_earlier_window() {
    let (windows, _) = run(&[1; 8], 8, 4, true);
    assert_eq!(shape(&windows)[0].1, 0..7);
    assert_eq!(shape(&windows)[0].2, [0, 1, 2, 3, 4, 5]);
    assert_eq!(shape(&windows)[1].2, [6, 7]);
}

#[test]
fn windows_end_between_words() {
    let (windows, counts) = run(&[3, 3, 3, 3], 9, 0, false);
    assert_eq!(
        shape(&windows),
        [(vec![0, 1, 2, 3, 4, 5, 6, 13], 0..7, vec![0, 1]), (vec![0, 7, 8, 9, 10, 11, 12, 13], 1..8, vec![2, 3]),]
    );
    assert_eq!(counts.words_clipped, 0);
}

#[test]
fn a_word_that_fits_no_window_is_clipped_and_counted() {
    let (windows, counts) = run(&[1, 10, 1], 8, 2, false);
    let given: Vec<&WindowWord> = windows.iter().flat_map(|window| &window.words).collect();
    assert_eq!(given.len(), 3);
    assert_eq!(given[1].rows.len(), 6, "as many of its tokens as a window holds");
    assert_eq!(counts.words_clipped, 1);
}

#[test]
fn a_word_that_fits_a_window_alone_is_not_clipped() {
    let (_, counts) = run(&[1, 1, 1, 6, 1, 6, 6, 1], 8, 4, false);
    assert_eq!(counts.words_clipped, 0);
}

#[test]
fn words_without_a_token_are_in_no_window() {
    let mut counts = AlignmentCounts::default();
    let options = WindowOptions { n_ctx: 4, overlap: 0, causal: false };
    let windows = windows(&[false; 3], &[0..1, 0..0, 1..3], &options, &mut counts).expect("it fits");
    assert_eq!(shape(&windows)[0].2, [0, 2]);
}

#[test]
fn special_tokens_alone_are_one_window() {
    let mut counts = AlignmentCounts::default();
    let windows = windows(&[true; 2], &[], &WindowOptions::new(8, false), &mut counts).expect("it fits");
    assert_eq!(shape(&windows), [(vec![0, 1], 0..2, vec![])]);
    let none = super::windows(&[], &[], &WindowOptions::new(8, false), &mut counts).expect("it fits");
    assert_eq!(shape(&none), [(vec![], 0..0, vec![])]);
}

#[test]
fn windows_that_cannot_advance_are_refused() {
    let options = WindowOptions { n_ctx: 8, overlap: 6, causal: false };
    let error = windows(&[true, false, true], &[], &options, &mut AlignmentCounts::default()).expect_err("no room");
    assert_eq!(
        error.to_string(),
        "windows of 8 tokens: expected room for 2 special tokens, 6 that overlap and one new one"
    );
}

/// How much a token sees on its scarcer side, the ends of the sentence being no end.
fn context(piece: &Range<usize>, token: usize, content: &Range<usize>) -> usize {
    let left = if piece.start == content.start { usize::MAX } else { token - piece.start };
    let right = if piece.end == content.end { usize::MAX } else { piece.end - 1 - token };
    left.min(right)
}

proptest! {
    #[test]
    fn every_token_and_word_is_taken_once(
        lengths in prop::collection::vec(0..9_usize, 0..40),
        (n_prefix, n_suffix) in (0..3_usize, 0..3_usize),
        (room, overlap) in (1..14_usize).prop_flat_map(|room| (Just(room), 0..room)),
        share in any::<bool>(),
        causal in any::<bool>(),
    ) {
        let mut at = n_prefix;
        let mut words = Vec::new();
        for length in lengths {
            // A word may begin in the last token of the one before, as tokens of two words do.
            let start = if share && at > n_prefix && length > 0 { at - 1 } else { at };
            words.push(if length == 0 { 0..0 } else { start..start + length });
            at = at.max(start + length);
        }
        let content = n_prefix..at;
        let special: Vec<bool> = (0..at + n_suffix).map(|idx| !content.contains(&idx)).collect();
        let n_ctx = room + n_prefix + n_suffix;
        let mut counts = AlignmentCounts::default();
        let windows = windows(&special, &words, &WindowOptions { n_ctx, overlap, causal }, &mut counts);
        let windows = windows.expect("there is room");

        let taken: Vec<usize> = windows.iter().flat_map(|window| &window.tokens[window.owned.clone()]).copied().collect();
        prop_assert_eq!(taken, (0..special.len()).collect::<Vec<usize>>());
        prop_assert_eq!(counts.windows, windows.len());

        let mut given = vec![0; words.len()];
        let mut clipped = 0;
        for window in &windows {
            prop_assert!(window.tokens.len() <= n_ctx);
            let piece: Vec<usize> = window.tokens.iter().copied().filter(|&token| !special[token]).collect();
            prop_assert!(piece.windows(2).all(|pair| pair[0] + 1 == pair[1]));
            prop_assert!(window.words.windows(2).all(|pair| pair[0].word < pair[1].word));
            for word in &window.words {
                given[word.word] += 1;
                let range = &words[word.word];
                let tokens = &window.tokens[word.rows.clone()];
                prop_assert!(!tokens.is_empty() && tokens.iter().all(|token| range.contains(token)));
                clipped += usize::from(tokens.len() < range.len());
            }
        }
        let expected: Vec<i32> = words.iter().map(|word| i32::from(!word.is_empty())).collect();
        prop_assert_eq!(given, expected);
        prop_assert_eq!(counts.words_clipped, clipped);
        if !share {
            prop_assert_eq!(clipped, words.iter().filter(|word| word.len() > room).count());
        }
    }

    #[test]
    fn a_token_is_taken_where_it_has_most_context(
        n_tokens in 1..60_usize,
        (room, overlap) in (1..14_usize).prop_flat_map(|room| (Just(room), 0..room)),
    ) {
        let content = 0..n_tokens;
        let options = WindowOptions { n_ctx: room, overlap, causal: false };
        let windows = windows(&vec![false; n_tokens], &[], &options, &mut AlignmentCounts::default());
        let windows = windows.expect("there is room");
        let piece = |window: &Window| window.tokens[0]..window.tokens[0] + window.tokens.len();
        for window in &windows {
            for &token in &window.tokens[window.owned.clone()] {
                let holding = windows.iter().map(piece).filter(|piece| piece.contains(&token));
                let most = holding.map(|piece| context(&piece, token, &content)).max().unwrap_or(0);
                prop_assert_eq!(context(&piece(window), token, &content), most, "token {}", token);
            }
        }
    }
}
