//! The texts that are judged, and what is true of them.

use std::ops::Range;

use nissl_core::TextRows;
use nissl_methods::evaluation::calibration::Calibration;
use nissl_methods::evaluation::sampling::{Halves, by_firing, in_random_order, marked, sequences};

use super::{Config, Item, Neuron, Question};

/// The items of a neuron.
pub(super) struct Drawn {
    /// In order of their questions.
    pub(super) items: Vec<Item>,
    /// Whether the neuron fires in each, or the marks are right; of simulations whether the item is for the calibration.
    pub(super) is: Vec<bool>,
}

/// Draws them.
pub(super) fn draw(config: &Config, halves: &Halves, (neuron, text): (&Neuron, &TextRows), explanation: &str) -> Drawn {
    let fires: Vec<bool> = neuron.values.iter().map(|&value| value > neuron.theta).collect();
    let mut drawn = Drawn { items: Vec::new(), is: Vec::new() };
    let asked = |question| config.questions.is_empty() || config.questions.contains(&question);
    let mut add = |question, rows: Range<usize>, marks: Vec<bool>, is: bool| {
        let words: Vec<String> = rows.clone().map(|row| text.word(row).to_owned()).collect();
        let name = match question {
            Question::Simulation => "simulation",
            Question::Detection => "detection",
            Question::Fuzzing => "fuzzing",
        };
        let digest = blake3::hash(format!("{words:?}{marks:?}").as_bytes()).to_hex();
        let id = format!("{} {name} {} {}", neuron.name, drawn.items.len(), &digest[..6]);
        drawn.items.push(Item { id, question, explanation: explanation.to_owned(), words, marks, rows });
        drawn.is.push(is);
    };
    if asked(Question::Simulation) {
        let of = |half: &[Range<usize>]| sequences(half, &neuron.values, config.kind, config.sequences);
        for rows in of(&halves.new) {
            add(Question::Simulation, rows, Vec::new(), false);
        }
        if config.calibration != Calibration::None {
            for rows in of(&halves.known) {
                add(Question::Simulation, rows, Vec::new(), true);
            }
        }
    }
    if asked(Question::Detection) {
        let [firing, silent] = by_firing(&halves.new, &fires, config.each);
        let both = firing.into_iter().map(|rows| (rows, true)).chain(silent.into_iter().map(|rows| (rows, false)));
        for (rows, is) in in_random_order(both.collect(), config.seed) {
            add(Question::Detection, rows, Vec::new(), is);
        }
    }
    if asked(Question::Fuzzing) {
        for one in in_random_order(marked(&halves.new, &fires, config.each, config.seed), config.seed) {
            add(Question::Fuzzing, one.rows, one.marks, one.right);
        }
    }
    drawn
}
