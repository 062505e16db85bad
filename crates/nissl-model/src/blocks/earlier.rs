//! The rows that come before those of a group's sentences, in the same text.

use crate::engine::Engine;

/// Where the row is that comes `back` rows before `row` of a sentence that starts at `start`: among the group's rows (0),
/// or among those right before it (1), two before it (2), and so on, one a sentence.
fn place(sentence: usize, start: usize, row: usize, back: usize) -> (usize, usize) {
    let position = row - start;
    if back <= position { (0, row - back) } else { (back - position, sentence) }
}

/// Of every row of the group, the places of the rows from `n - 1` rows before it up to itself.
pub(super) fn places(offsets: &[usize], n: usize) -> Vec<(usize, usize)> {
    let of_sentence = |(sentence, rows): (usize, &[usize])| {
        let start = rows[0];
        let of_row = move |row| (0..n).rev().map(move |back| place(sentence, start, row, back));
        (start..rows[1]).flat_map(of_row).collect::<Vec<_>>()
    };
    offsets.windows(2).enumerate().flat_map(of_sentence).collect()
}

/// x with every row replaced by the one before it in its text: `before` are those of the sentences' first rows.
pub(super) fn shifted<E: Engine>(engine: &E, x: &E::Tensor, offsets: &[usize], before: &E::Tensor) -> E::Tensor {
    let places: Vec<(usize, usize)> = places(offsets, 2).into_iter().step_by(2).collect();
    engine.gather(&[x, before], &places)
}

/// The rows right before those that will follow x, two before them, and so on, each `[n_sentences, width]`; `before` are
/// those of x itself.
pub(super) fn last<E: Engine>(engine: &E, x: &E::Tensor, offsets: &[usize], before: &[E::Tensor]) -> Vec<E::Tensor> {
    let parts: Vec<&E::Tensor> = [x].into_iter().chain(before).collect();
    let rows_back = |back: usize| {
        let ends = offsets.windows(2).enumerate();
        let places: Vec<_> = ends.map(|(sentence, rows)| place(sentence, rows[0], rows[1], back)).collect();
        engine.gather(&parts, &places)
    };
    (1..=before.len()).map(rows_back).collect()
}
