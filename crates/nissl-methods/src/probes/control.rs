//! Control tasks: labels that a probe can only learn by heart.

use nissl_core::TextRows;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::random::Random;

/// What control labels are drawn from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum ControlSample {
    /// The classes' shares of the task's rows.
    #[default]
    Same,
    /// All classes alike.
    Uniform,
}

/// A random class for every word type, the same wherever it stands; those of `rows` first, in their order.
///
/// `classes` are those of the task's rows, in the order of `rows`; the answer is in that order too.
pub fn control_classes(
    text: &TextRows,
    rows: &[usize],
    (classes, n_classes): (&[u32], usize),
    sample: ControlSample,
    seed: u64,
) -> Vec<u32> {
    let mut random = Random::new(seed);
    let mut of_type: Vec<Option<u32>> = vec![None; text.types().len()];
    let draw = |random: &mut Random| match sample {
        // A row of the task drawn evenly has each class with its share.
        ControlSample::Same => classes[random.below(classes.len())],
        ControlSample::Uniform => random.below(n_classes) as u32,
    };
    let class = |&row: &usize| {
        let of_type = &mut of_type[text.type_of()[row] as usize];
        *of_type.get_or_insert_with(|| draw(&mut random))
    };
    rows.iter().map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2,000 types of three rows each; the task's label is 0 in a quarter of the rows.
    fn sample(kind: ControlSample) -> (TextRows, Vec<usize>, Vec<u32>) {
        let text = TextRows::from_words((0..6000).map(|row| (row, format!("w{}", row % 2000))));
        let rows: Vec<usize> = (0..6000).rev().collect();
        let classes: Vec<u32> = (0..6000).map(|row| u32::from(row % 4 != 0)).collect();
        let control = control_classes(&text, &rows, (&classes, 2), kind, 5);
        (text, rows, control)
    }

    #[test]
    fn a_word_type_has_one_control_label_everywhere() {
        let (text, rows, control) = sample(ControlSample::Same);
        let mut of_type = vec![None; 2000];
        for (row, label) in rows.iter().zip(&control) {
            let known = of_type[text.type_of()[*row] as usize].get_or_insert(*label);
            assert_eq!(known, label);
        }
    }

    #[test]
    fn control_labels_have_the_shares_of_the_task_or_even_ones() {
        for (kind, want) in [(ControlSample::Same, 0.25), (ControlSample::Uniform, 0.5)] {
            let (_, _, control) = sample(kind);
            let share = control.iter().filter(|&&label| label == 0).count() as f64 / 6000.0;
            // Four standard errors of 2,000 draws.
            assert!((share - want).abs() < 4.0 * (want * (1.0 - want) / 2000.0_f64).sqrt(), "{kind:?}: {share}");
        }
    }
}
