//! Which sentences explanations are judged on: those where a neuron is highest, random ones, those where it fires and
//! those where it does not; and which words of them are marked.

use std::ops::Range;

use nissl_core::TextRows;
use serde::{Deserialize, Serialize};

use crate::random::Random;

/// Which sentences activations are foretold on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sequences {
    /// Those where the neuron is highest.
    Top,
    /// Random ones.
    Random,
    /// As many of both.
    #[default]
    TopAndRandom,
}

/// The rows of a sentence, with words of it marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// The rows.
    pub rows: Range<usize>,
    /// Whether each of its words is marked, `[rows]`.
    pub marks: Vec<bool>,
    /// Whether those are marked where the neuron fires, and not others.
    pub right: bool,
}

/// Sentences in two halves that are drawn: what is explained and fitted on the first is judged on the second.
#[derive(Clone, Debug)]
pub struct Halves {
    /// For the explanation and its calibration.
    pub known: Vec<Range<usize>>,
    /// For the judgement.
    pub new: Vec<Range<usize>>,
}

impl Halves {
    /// Draws them from the sentences of at most `longest` words.
    pub fn draw(text: &TextRows, longest: usize, seed: u64) -> Self {
        let mut all: Vec<Range<usize>> = text.sentences().filter(|rows| rows.len() <= longest).collect();
        Random::new(seed).shuffle(&mut all);
        let new = all.split_off(all.len() / 2);
        Self { known: all, new }
    }
}

/// Up to `n` sentences to foretell activations on, of some in an order that is drawn.
pub fn sequences(of: &[Range<usize>], values: &[f32], kind: Sequences, n: usize) -> Vec<Range<usize>> {
    let n_top = match kind {
        Sequences::Top => n,
        Sequences::Random => 0,
        Sequences::TopAndRandom => n.div_ceil(2),
    };
    let mut chosen = highest(of, values, n_top);
    let others = of.iter().filter(|rows| !chosen.contains(rows)).take(n - n_top).cloned().collect::<Vec<_>>();
    chosen.extend(others);
    chosen
}

/// The `n` sentences with the highest values, highest first.
pub fn highest(of: &[Range<usize>], values: &[f32], n: usize) -> Vec<Range<usize>> {
    let most = |rows: &Range<usize>| values[rows.clone()].iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sorted = of.to_vec();
    sorted.sort_by(|a, b| most(b).total_cmp(&most(a)).then(a.start.cmp(&b.start)));
    sorted.truncate(n);
    sorted
}

/// Up to `n` sentences in which a neuron fires somewhere, and as many in which it does not.
pub fn by_firing(of: &[Range<usize>], fires: &[bool], n: usize) -> [Vec<Range<usize>>; 2] {
    [true, false].map(|wanted| {
        let is = |rows: &&Range<usize>| fires[(*rows).clone()].contains(&true) == wanted;
        of.iter().filter(is).take(n).cloned().collect()
    })
}

/// Up to `n` sentences in which the words are marked where a neuron fires, and as many others in which as many words are
/// marked where it does not.
pub fn marked(of: &[Range<usize>], fires: &[bool], n: usize, seed: u64) -> Vec<Marked> {
    let mut random = Random::new(seed);
    let (mut found, mut counts) = (Vec::new(), [0, 0]);
    // In turns; a sentence that is almost all fired on has not as many other words.
    for rows in &by_firing(of, fires, of.len())[0] {
        let own = &fires[rows.clone()];
        let n_firing = own.iter().filter(|&&fires| fires).count();
        let right = counts[0] <= counts[1];
        if counts[usize::from(!right)] == n || (!right && own.len() < 2 * n_firing) {
            continue;
        }
        let mut marks = own.to_vec();
        if !right {
            let mut silent: Vec<usize> = (0..own.len()).filter(|&word| !own[word]).collect();
            random.shuffle(&mut silent);
            marks.fill(false);
            silent[..n_firing].iter().for_each(|&word| marks[word] = true);
        }
        counts[usize::from(!right)] += 1;
        found.push(Marked { rows: rows.clone(), marks, right });
    }
    found
}

/// Items in an order that is drawn, so that it tells nothing.
pub fn in_random_order<T>(mut items: Vec<T>, seed: u64) -> Vec<T> {
    Random::new(seed).shuffle(&mut items);
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 40 sentences of 5 words; in every fourth one the neuron fires on the words 1 and 3.
    fn toy() -> (TextRows, Vec<f32>, Vec<bool>) {
        let text =
            TextRows::from_words((0..40).flat_map(|sentence| (0..5).map(move |word| (sentence, word.to_string()))));
        let value = |row: usize| {
            if (row / 5).is_multiple_of(4) && [1, 3].contains(&(row % 5)) { row as f32 } else { 0.0 }
        };
        let values: Vec<f32> = (0..200).map(value).collect();
        let fires = values.iter().map(|&value| value > 0.0).collect();
        (text, values, fires)
    }

    #[test]
    fn halves_share_no_sentence_and_are_those_of_the_seed() {
        let (text, ..) = toy();
        let halves = Halves::draw(&text, 5, 3);
        assert_eq!((halves.known.len(), halves.new.len()), (20, 20));
        assert!(halves.known.iter().all(|rows| rows.len() == 5 && !halves.new.contains(rows)));
        assert_eq!(Halves::draw(&text, 5, 3).new, halves.new);
        assert_ne!(Halves::draw(&text, 5, 4).new, halves.new);
        assert!(Halves::draw(&text, 4, 3).new.is_empty(), "all are longer");
    }

    #[test]
    fn the_highest_come_first_and_random_ones_are_others() {
        let (text, values, _) = toy();
        let all = Halves::draw(&text, 5, 3).new;
        let both = sequences(&all, &values, Sequences::TopAndRandom, 6);
        assert_eq!(both[..3], sequences(&all, &values, Sequences::Top, 3)[..]);
        let most = |rows: &Range<usize>| values[rows.clone()].iter().copied().fold(0.0, f32::max);
        assert!(most(&both[0]) > most(&both[1]) && most(&both[1]) > most(&both[2]));
        assert!(both[3..].iter().all(|rows| !both[..3].contains(rows)));
        assert_eq!(sequences(&all, &values, Sequences::Random, 6)[..], all[..6]);
    }

    #[test]
    fn marks_are_right_in_half_of_the_sentences_and_as_many_in_the_others() {
        let (text, _, fires) = toy();
        let all = Halves::draw(&text, 5, 3);
        let of = [all.known, all.new].concat();
        let [firing, silent] = by_firing(&of, &fires, 7);
        assert_eq!((firing.len(), silent.len()), (7, 7));
        let found = marked(&of, &fires, 5, 0);
        assert_eq!(found.iter().filter(|one| one.right).count(), 5);
        assert_eq!(found.len(), 10);
        for Marked { rows, marks, right } in found {
            assert_eq!(marks.iter().filter(|&&mark| mark).count(), 2);
            assert_eq!(marks == fires[rows], right);
        }
    }
}
