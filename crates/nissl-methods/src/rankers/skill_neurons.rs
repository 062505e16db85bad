//! Skill neurons: which neurons tell a concept by being above their mean.
//!
//! ## Computes
//! A neuron's baseline is its mean over the rows of one part of the sentences. Over the other rows, accuracy is the share
//! where "above the baseline" is the same as "has the concept", with as much weight for rows with the concept as for the
//! others; predictivity is the larger of that and what is left of 1, and the score is how far it is above ½, doubled.
//!
//! With `prompt = n`, examples are sentences and the first n rows of each are the positions of a soft prompt, which
//! stands before every text: each position has its own baseline and accuracy, and the best counts. A sentence has the
//! labels of its first row. Several concepts are each told from the rest.
//! ## Input
//! Activations `[n_tokens, n_neurons]`; any number of labels a row; sentences, by which rows are split. Where it is not
//! known where they begin, all rows are in both parts.
//! ## Output
//! 2 · predictivity - 1, from 0 for what tells as much as a coin to 1, with 1 as sign where the concept is above the
//! baseline; 0 for constant neurons.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `prompt` | 0 | | positions of the soft prompt; 0 for every row as an example of its own |
//! | `train` | 0.5 | 0 to 1, exclusive | share of the sentences that baselines are of |
//! | `balanced` | true | | whether rows with and without the concept have the same weight; else every row has |
//! | `seed` | 0 | | another seed is another split |
//! | `min_count` | 1 | ≥ 1 | concepts with fewer rows are left out, and named |
//! | `unlabeled` | negative | negative, skip | rows without any label: negatives, or left out |
//! ## Cost
//! One pass over the matrix.
//! ## Errors
//! `TooFewConcepts`, `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! The paper takes the mean over runs with several soft prompts: rank each run's store and let the rankings vote. Its
//! tasks have as many examples of both classes; with `balanced = false`, its accuracy, a neuron that is seldom above its
//! baseline tells any rare concept well.
//! ## Source
//! Wang et al. 2022, Finding Skill Neurons in Pre-trained Transformer-based Language Models, arXiv:2211.07349.

use nissl_core::{Context, Describe, LabeledActivations, MethodCard, MethodError, Provenance, Ranker, Scores};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::params_of;
use crate::column_scores::{ColumnScores, direction, to_scores};
use crate::columns::ColumnPass;
use crate::label_sets::{LabelSets, Unlabeled};
use crate::probes::{Part, Split, SplitOptions};

/// Ranks neurons by how well being above their mean tells a concept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SkillNeurons {
    /// Positions of the soft prompt; 0 for every row as an example of its own.
    pub prompt: usize,
    /// Share of the sentences that baselines are of.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub train: f64,
    /// Whether rows with and without the concept have the same weight; else every row has.
    pub balanced: bool,
    /// Another seed is another split.
    pub seed: u64,
    /// Concepts with fewer rows are left out, and named.
    #[schemars(range(min = 1))]
    pub min_count: usize,
    /// Rows without any label.
    pub unlabeled: Unlabeled,
}

impl Default for SkillNeurons {
    fn default() -> Self {
        Self { prompt: 0, train: 0.5, balanced: true, seed: 0, min_count: 1, unlabeled: Unlabeled::Negative }
    }
}

impl Describe for SkillNeurons {
    const NAME: &'static str = "skill-neurons";
    const SUMMARY: &'static str = "Ranks neurons by how well being above their mean tells a concept.";
    const SOURCE: &'static str = "Wang et al. 2022, arXiv:2211.07349; reference: THU-KEG/Skill-Neuron";
    const CARD: MethodCard = MethodCard { input: "task", ..MethodCard::CORPUS };
}

/// Rows that have a baseline together: those of baselines, and those that are judged with the set of their labels.
#[derive(Default)]
struct Position {
    train: Vec<usize>,
    judged: Vec<(usize, u32)>,
}

impl SkillNeurons {
    fn positions(&self, data: LabeledActivations<'_>, sets: &LabelSets) -> Result<Vec<Position>, MethodError> {
        let refuse =
            |name, value: String, expected| Err(MethodError::Parameter { method: Self::NAME, name, value, expected });
        if !(self.train > 0.0 && self.train < 1.0) {
            return refuse("train", self.train.to_string(), "a share above 0 and below 1");
        }
        if self.prompt > 0 && data.text.is_none() {
            return refuse("prompt", self.prompt.to_string(), "0, as it is not known where sentences begin");
        }
        let options = SplitOptions { train: self.train, dev: 0.0, seed: self.seed, disjoint_words: false };
        let split = data.text.map(|text| Split::by_sentence(text, options));
        let mut positions: Vec<Position> = (0..self.prompt.max(1)).map(|_| Position::default()).collect();
        let mut first = 0;
        for row in 0..data.x.n_tokens() {
            let mut position = 0;
            if let (Some(text), true) = (data.text, self.prompt > 0) {
                first = text.sentence_rows(row).start;
                position = row - first;
            }
            let example = if self.prompt > 0 { first } else { row };
            let (Some(position), Some(code)) = (positions.get_mut(position), sets.codes()[example]) else { continue };
            let part = split.as_ref().and_then(|split| split.parts()[row]);
            if part.is_none_or(|part| part == Part::Train) {
                position.train.push(row);
            }
            if part != Some(Part::Train) {
                position.judged.push((row, code));
            }
        }
        if positions.iter().any(|position| position.train.is_empty() || position.judged.is_empty()) {
            let expected = "a share that leaves sentences in both parts, with a row at every position of the prompt";
            return refuse("train", self.train.to_string(), expected);
        }
        Ok(positions)
    }
}

impl Position {
    /// The accuracy of "above the baseline" for each concept; ½ where the judged rows are all with it or all without.
    fn accuracies(&self, column: &[f32], sets: &LabelSets, balanced: bool) -> Vec<f64> {
        let sum: f64 = self.train.iter().map(|&row| f64::from(column[row])).sum();
        let baseline = sum / self.train.len() as f64;
        let (mut above, mut own) = (vec![0_u32; sets.len()], vec![0_u32; sets.len()]);
        for &(row, code) in &self.judged {
            above[code as usize] += u32::from(f64::from(column[row]) > baseline);
            own[code as usize] += 1;
        }
        let (n, n_above) = (self.judged.len() as f64, f64::from(above.iter().sum::<u32>()));
        let (above, own) = (sets.by_concept(&above), sets.by_concept(&own));
        let accuracy = |(&above, &own): (&u32, &u32)| {
            let (hits, own) = (f64::from(above), f64::from(own));
            let (rest, right) = (n - own, n - own - (n_above - hits));
            if own * rest > 0.0 {
                if balanced { f64::midpoint(hits / own, right / rest) } else { (hits + right) / n }
            } else {
                0.5
            }
        };
        above.iter().zip(&own).map(accuracy).collect()
    }
}

impl Ranker for SkillNeurons {
    fn score(&self, data: LabeledActivations<'_>, ctx: Context<'_>) -> Result<Scores, MethodError> {
        let (concepts, sets) = LabelSets::against_rest(data.labels, (Self::NAME, self.min_count, self.unlabeled), ctx)?;
        let positions = self.positions(data, &sets)?;
        let pass = ColumnPass { x: data.x, ctx, method: Self::NAME, stage: "skill neurons", scratch_per_row: 0 };
        let n_concepts = concepts.len();
        let columns = pass.map(
            || (),
            |(), _, column| {
                let is_constant = column.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits());
                let mut best = vec![0.5_f64; n_concepts];
                for position in &positions {
                    for (best, found) in best.iter_mut().zip(position.accuracies(column, &sets, self.balanced)) {
                        if (found - 0.5).abs() > (*best - 0.5).abs() {
                            *best = found;
                        }
                    }
                }
                let score = |accuracy: f64| {
                    let above = 2.0 * accuracy - 1.0;
                    if is_constant { (0.0, 0) } else { (above.abs() as f32, direction(above)) }
                };
                Ok(ColumnScores { is_constant, scores: best.into_iter().map(score).collect() })
            },
        )?;
        to_scores(concepts, data.x.neurons(), Provenance::of_method(Self::NAME, params_of(self)), &columns)
    }
}

#[cfg(test)]
mod tests;
