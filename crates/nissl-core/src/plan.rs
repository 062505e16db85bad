//! What is asked of a run, as data: which sites to keep and which neurons to change.

use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::error::PlanError;
use crate::model::ModelInfo;
use crate::neuron::NeuronId;
use crate::site::{HookPoint, Site, Stack};
use crate::suggest::nearest;

/// Which sites to capture, which neurons to edit, and whether logits are wanted.
///
/// It is checked against the model before the first matrix product. Edits act in the order of the list; a capture
/// at an edited site records the value after the edits. The run stops after the deepest point that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HookPlan {
    /// The sites to record.
    pub capture: Vec<HookPoint>,
    /// The changes to make.
    pub edits: Vec<EditSpec>,
    /// The logits to return.
    pub output: Output,
}

/// Which logits a run returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// None: the run stops after the deepest capture.
    #[default]
    None,
    /// Those of one token of each sentence, `[n_sentences, d_vocab]`: the last, or that at which a classifier of
    /// sentences answers.
    Last,
    /// Those of every token, `[n_tokens, d_vocab]`.
    All,
}

/// One change: what to do, to which neurons of a site, at which positions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditSpec {
    /// The site.
    pub point: HookPoint,
    /// The units of the site.
    #[serde(default)]
    pub units: Units,
    /// The positions in the text.
    #[serde(default)]
    pub positions: Positions,
    /// What to do.
    pub edit: Edit,
    /// Where it acts: only at positions where this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
}

/// What the value of another neuron at the same position must be: above one bound, below the other, or between both.
///
/// The neuron comes no later in the forward pass than the edit. Its value is that after its site's edits; at the edit's
/// own site, after those that stand before it in the list.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The neuron.
    pub neuron: NeuronId,
    /// Its value must be more than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f32>,
    /// Its value must be less than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f32>,
}

impl Condition {
    /// Whether it holds of a value.
    pub fn holds(&self, value: f32) -> bool {
        self.above.is_none_or(|bound| value > bound) && self.below.is_none_or(|bound| value < bound)
    }

    /// Checks it against the edit that it stands at.
    fn check(&self, edit: &EditSpec, model: &ModelInfo) -> Result<(), PlanError> {
        let (point, neuron) = (edit.point, self.neuron);
        let width = width_of(neuron.point, model)?;
        if neuron.idx as usize >= width {
            return Err(PlanError::UnitOutOfRange { point: neuron.point, idx: neuron.idx, width });
        }
        let bounds: Vec<f32> = self.above.into_iter().chain(self.below).collect();
        if let Some(value) = bounds.iter().find(|bound| !bound.is_finite()) {
            return Err(PlanError::NotFinite { point, edit: "condition", value: value.to_string() });
        }
        let refuse = |why| Err(PlanError::Condition { point, neuron, why });
        if bounds.is_empty() {
            return refuse("it has no bound; expected above, below or both");
        }
        if neuron.point.site().is_ragged() {
            return refuse("an attention pattern has no value at a position");
        }
        if neuron.point > point {
            return refuse("its value is computed after the edit");
        }
        let of_source =
            |point: HookPoint| point.stack() == Stack::Encoder || matches!(point.site(), Site::CrossK | Site::CrossV);
        if of_source(neuron.point) != of_source(point) {
            return refuse("one is of the source, the other of the target: they share no position");
        }
        // The backward direction of a layer follows the forward one, and holds the second half of its units.
        let recurrent = |point: HookPoint| point.site().is_recurrent();
        if !model.causal
            && recurrent(point)
            && recurrent(neuron.point)
            && point.layer() == neuron.point.layer()
            && neuron.idx as usize >= width / 2
        {
            let half = width_of(point, model)? / 2;
            let backward = match &edit.units {
                Units::All => false,
                Units::Some(list) => list.iter().all(|&unit| unit as usize >= half),
            };
            if !backward {
                return refuse("it is of the backward direction, which is computed after the forward one");
            }
        }
        Ok(())
    }
}

/// Units of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Units {
    /// All of them.
    #[default]
    All,
    /// These; values of an edit are in the same order.
    Some(Vec<u32>),
}

/// Positions in the text.
///
/// While a text is generated, all positions are those of the prompt and of what is added to it: places count from the
/// start of the text, negative ones from the end of the **prompt**, and rows are those of the prompts. A patch has
/// values for the prompt alone and leaves added tokens as they are. Where a sentence is a source and a target, places
/// count from the source's first token, and what generation adds begins with the token that starts the target, if the
/// prompt is a source alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// Every token.
    #[default]
    All,
    /// These places in every sentence; negative ones count from its end. Places beyond a sentence are passed over.
    InSentence(Vec<i64>),
    /// These rows of the batch; values of a patch are in the same order.
    Rows(Vec<usize>),
    /// This place in every sentence and all after it; negative ones count from its end.
    From(i64),
    /// The tokens that generation adds; in a plain run there are none.
    Generated,
}

/// What to do with the chosen values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Edit {
    /// Replace by 0.
    Zero,
    /// Replace by each neuron's mean over a reference text, `[n_units]`.
    Mean {
        /// One value a unit.
        values: Vec<f32>,
    },
    /// Replace by a value.
    Set {
        /// The value.
        value: f32,
    },
    /// Multiply by a factor.
    Scale {
        /// The factor.
        factor: f32,
    },
    /// Add a value to each unit, `[n_units]`: a direction, when all units are chosen.
    Add {
        /// One value a unit.
        values: Vec<f32>,
    },
    /// Replace by values of another run, `[n_rows, n_units]` in rows: all rows of the batch with
    /// [`Positions::All`], the chosen ones with [`Positions::Rows`].
    Patch {
        /// Row after row, one value a unit.
        values: Vec<f32>,
    },
}

impl Edit {
    /// The word for it in errors and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Zero => "zero",
            Self::Mean { .. } => "mean",
            Self::Set { .. } => "set",
            Self::Scale { .. } => "scale",
            Self::Add { .. } => "add",
            Self::Patch { .. } => "patch",
        }
    }

    fn values(&self) -> &[f32] {
        match self {
            Self::Zero => &[],
            Self::Set { value } | Self::Scale { factor: value } => std::slice::from_ref(value),
            Self::Mean { values } | Self::Add { values } | Self::Patch { values } => values,
        }
    }

    /// Applies the edit to the row `values` of a site; `patch_row` is the row of the patch's values.
    ///
    /// # Panics
    /// If the plan was not checked: a unit is out of range or values are missing.
    pub fn apply(&self, values: &mut [f32], units: &Units, patch_row: usize) {
        match units {
            Units::All => {
                let n_units = values.len();
                values.iter_mut().enumerate().for_each(|(i, v)| *v = self.value(*v, i, n_units, patch_row));
            }
            Units::Some(list) => {
                for (i, &unit) in list.iter().enumerate() {
                    let value = &mut values[unit as usize];
                    *value = self.value(*value, i, list.len(), patch_row);
                }
            }
        }
    }

    /// The new value of the `i`th of `n_units` chosen units; `patch_row` is the row of the patch's values.
    ///
    /// # Panics
    /// If the plan was not checked: values are missing.
    pub fn value(&self, old: f32, i: usize, n_units: usize, patch_row: usize) -> f32 {
        match self {
            Self::Zero => 0.0,
            Self::Set { value } => *value,
            Self::Scale { factor } => old * factor,
            Self::Mean { values } => values[i],
            Self::Add { values } => old + values[i],
            Self::Patch { values } => values[patch_row * n_units + i],
        }
    }

    /// The derivative of a new value by the old one: how much of a gradient passes through the edit.
    pub fn slope(&self) -> f32 {
        match self {
            Self::Zero | Self::Set { .. } | Self::Mean { .. } | Self::Patch { .. } => 0.0,
            Self::Scale { factor } => *factor,
            Self::Add { .. } => 1.0,
        }
    }

    /// Multiplies the slopes of a row of a site, one a unit, by the edit's own.
    ///
    /// # Panics
    /// If the plan was not checked: a unit is out of range.
    pub fn apply_slope(&self, slopes: &mut [f32], units: &Units) {
        match units {
            Units::All => slopes.iter_mut().for_each(|slope| *slope *= self.slope()),
            Units::Some(list) => list.iter().for_each(|&unit| slopes[unit as usize] *= self.slope()),
        }
    }
}

impl HookPlan {
    /// A plan that only captures.
    pub fn capture(points: impl IntoIterator<Item = HookPoint>) -> Self {
        Self { capture: points.into_iter().collect(), ..Self::default() }
    }

    /// Checks the plan against a model and a batch.
    ///
    /// # Errors
    /// The first thing that does not fit: an unknown site or layer, a unit or position out of range, a wrong number
    /// of values, a value that is not finite.
    pub fn check(&self, model: &ModelInfo, batch: &Batch) -> Result<(), PlanError> {
        for &point in &self.capture {
            width_of(point, model)?;
        }
        self.edits.iter().try_for_each(|edit| edit.check(model, batch))
    }
}

impl EditSpec {
    fn check(&self, model: &ModelInfo, batch: &Batch) -> Result<(), PlanError> {
        let point = self.point;
        let width = width_of(point, model)?;
        let n_units = match &self.units {
            Units::All => width,
            Units::Some(list) => {
                if let Some(&idx) = list.iter().find(|&&idx| idx as usize >= width) {
                    return Err(PlanError::UnitOutOfRange { point, idx, width });
                }
                list.len()
            }
        };
        if let Positions::Rows(rows) = &self.positions
            && let Some(&row) = rows.iter().find(|&&row| row >= batch.n_tokens())
        {
            return Err(PlanError::PositionOutOfRange { point, row, n_tokens: batch.n_tokens() });
        }
        if let Some(when) = &self.when {
            when.check(self, model)?;
        }
        let values = self.edit.values();
        let expected = match (&self.edit, &self.positions) {
            (Edit::Mean { .. } | Edit::Add { .. }, _) => n_units,
            (Edit::Patch { .. }, Positions::All) => batch.n_tokens() * n_units,
            (Edit::Patch { .. }, Positions::Rows(rows)) => rows.len() * n_units,
            // How many of the places a sentence has is not known beforehand.
            (Edit::Patch { .. }, Positions::InSentence(_) | Positions::From(_) | Positions::Generated) => {
                return Err(PlanError::PatchWithoutRows { point });
            }
            (Edit::Zero | Edit::Set { .. } | Edit::Scale { .. }, _) => values.len(),
        };
        if values.len() != expected {
            return Err(PlanError::ValueCount { point, edit: self.edit.name(), expected, got: values.len() });
        }
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(PlanError::NotFinite { point, edit: self.edit.name(), value: value.to_string() }),
            None => Ok(()),
        }
    }
}

fn width_of(point: HookPoint, model: &ModelInfo) -> Result<usize, PlanError> {
    model.width(point).ok_or_else(|| PlanError::UnknownPoint {
        point,
        model: model.name.clone(),
        nearest: nearest(&point.to_string(), model.points().map(|(point, _)| point.to_string())),
    })
}
