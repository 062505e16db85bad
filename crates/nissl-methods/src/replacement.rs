//! What becomes of ablated neurons: nothing, something usual, or what they are elsewhere.

use std::collections::BTreeMap;

use ndarray::Array2;
use nissl_core::{Edit, EditSpec, HookPlan, HookPoint, MethodError, NeuronId, Positions, Units};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantile::quantile;
use crate::random::{Random, hash, mix};
use crate::study::{Places, Study};

/// Rows of the reference texts that medians are of and values are drawn from, at most.
const ROWS: usize = 4096;

/// What becomes of an ablated neuron.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Replacement {
    /// 0.
    #[default]
    Zero,
    /// Its mean over the reference texts.
    Mean,
    /// Its median over them, the lower of two.
    Median,
    /// What it is at a position of them that is drawn; the neurons of a site are drawn together.
    Resample,
    /// Its mean over the reference texts of one concept.
    ClassMean,
    /// It is multiplied with a factor.
    Scale,
}

/// What becomes of ablated neurons, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Removal {
    /// What becomes of a neuron.
    pub value: Replacement,
    /// What `scale` multiplies it with.
    pub factor: f32,
    /// The concept of `class_mean`.
    pub class: String,
    /// How often `resample` draws; effects are means over the draws.
    pub draws: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// The positions.
    pub places: Places,
}

impl Default for Removal {
    fn default() -> Self {
        let (value, class, places) = (Replacement::Zero, String::new(), Places::All);
        Self { value, factor: 0.5, class, draws: 5, seed: 0, places }
    }
}

/// What is known of the neurons of a point from the reference texts.
struct Usual {
    /// One value a neuron: mean or median.
    values: Vec<f32>,
    /// Some of the rows, `[n_rows, width]`.
    rows: Array2<f32>,
}

/// A removal that knows what is usual.
pub(crate) struct Remover<'a> {
    how: &'a Removal,
    usual: BTreeMap<HookPoint, Usual>,
}

impl Removal {
    /// How often every set is removed.
    pub(crate) fn n_draws(&self) -> usize {
        if self.value == Replacement::Resample { self.draws } else { 1 }
    }

    /// Learns what is usual at the points of a study from its texts.
    ///
    /// # Errors
    /// If a parameter is out of its range, no text is of the class, or the model cannot run.
    pub(crate) fn learn(&self, method: &'static str, study: &Study<'_>) -> Result<Remover<'_>, MethodError> {
        let refuse = |name, value, expected| Err(MethodError::Parameter { method, name, value, expected });
        if !self.factor.is_finite() {
            return refuse("factor", self.factor.to_string(), "a finite number");
        }
        if self.draws == 0 {
            return refuse("draws", "0".to_owned(), "at least 1");
        }
        if matches!(self.value, Replacement::Zero | Replacement::Scale) {
            return Ok(Remover { how: self, usual: BTreeMap::new() });
        }
        let of_class =
            |prompt: usize| self.value != Replacement::ClassMean || study.prompts[prompt].concept == self.class;
        let kept: Vec<usize> = (0..study.prompts.len()).filter(|&prompt| of_class(prompt)).collect();
        let n_rows: usize = kept.iter().map(|&prompt| study.prompts[prompt].tokens.len()).sum();
        if n_rows == 0 {
            return refuse("class", self.class.clone(), "a concept of the reference texts");
        }
        let needs_rows = matches!(self.value, Replacement::Median | Replacement::Resample);
        let room = (study.ctx.memory / (4 * study.n_neurons().max(1))).clamp(1, ROWS);
        let stride = n_rows.div_ceil(room);
        let kept_rows = if needs_rows { n_rows.div_ceil(stride) } else { 0 };
        let mut sums: Vec<Vec<f64>> = study.points.iter().map(|(_, width)| vec![0.0; *width]).collect();
        let mut rows: Vec<Array2<f32>> =
            study.points.iter().map(|(_, width)| Array2::zeros((kept_rows, *width))).collect();
        let plan = HookPlan::capture(study.hook_points());
        let mut seen = 0;
        for chunk in study.chunks(1) {
            study.go_on()?;
            let batch = study.batch(chunk.clone());
            let trace = study.model.run(&batch, &plan)?;
            for (sentence, _) in chunk.enumerate().filter(|&(_, prompt)| of_class(prompt)) {
                for row in batch.rows(sentence) {
                    for (idx, (point, _)) in study.points.iter().enumerate() {
                        let values = trace.sites[point].row(row);
                        sums[idx].iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value));
                        if needs_rows && seen % stride == 0 {
                            rows[idx].row_mut(seen / stride).assign(&values);
                        }
                    }
                    seen += 1;
                }
            }
        }
        let mut usual = BTreeMap::new();
        for (((point, width), sums), rows) in study.points.iter().zip(sums).zip(rows) {
            let mut scratch = Vec::new();
            let mut median = |unit| quantile(&rows.column(unit).to_vec(), 0.5, &mut scratch);
            let values = match self.value {
                Replacement::Median => (0..*width).map(&mut median).collect(),
                _ => sums.into_iter().map(|sum| (sum / n_rows as f64) as f32).collect(),
            };
            usual.insert(*point, Usual { values, rows });
        }
        Ok(Remover { how: self, usual })
    }
}

impl Remover<'_> {
    /// What the neurons of a point usually are, `[width]`: 0, their means or their medians.
    pub(crate) fn usual(&self, point: HookPoint, width: usize) -> Vec<f32> {
        self.usual.get(&point).map_or_else(|| vec![0.0; width], |usual| usual.values.clone())
    }

    /// The edits that remove some neurons from a text of a study.
    pub(crate) fn edits(&self, study: &Study<'_>, prompt: usize, set: &[NeuronId], draw: usize) -> Vec<EditSpec> {
        let mut by_point: BTreeMap<HookPoint, Vec<u32>> = BTreeMap::new();
        for neuron in set {
            by_point.entry(neuron.point).or_default().push(neuron.idx);
        }
        let places: Vec<usize> = match self.how.places {
            Places::All => (0..study.prompts[prompt].tokens.len()).collect(),
            Places::Target => vec![study.places[prompt]],
        };
        let edit = |(point, units): (HookPoint, Vec<u32>)| {
            let usual = self.usual.get(&point);
            let edit = match (self.how.value, usual) {
                (Replacement::Scale, _) => Edit::Scale { factor: self.how.factor },
                (Replacement::Resample, Some(usual)) => {
                    // A draw gives the same rows to a text whatever is removed from it.
                    let text: Vec<u8> =
                        study.prompts[prompt].tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
                    let mut random = Random::new(mix(mix(self.how.seed) ^ mix(draw as u64) ^ hash(&text)));
                    let rows = places.iter().map(|_| usual.rows.row(random.below(usual.rows.nrows())));
                    Edit::Patch {
                        values: rows.flat_map(|row| units.iter().map(move |&unit| row[unit as usize])).collect(),
                    }
                }
                (Replacement::Mean | Replacement::Median | Replacement::ClassMean, Some(usual)) => {
                    Edit::Mean { values: units.iter().map(|&unit| usual.values[unit as usize]).collect() }
                }
                _ => Edit::Zero,
            };
            let positions = match self.how.places {
                Places::All if !matches!(edit, Edit::Patch { .. }) => Positions::All,
                _ => Positions::Rows(places.clone()),
            };
            EditSpec { point, units: Units::Some(units), positions, edit, when: None }
        };
        by_point.into_iter().map(edit).collect()
    }
}
