//! What moving activations from another text does: by neuron, head, layer and position, both ways.
//!
//! Of every prompt the metric is measured after its text and after its other text; then after the text with a set of
//! neurons as they are in the other text (patched in), and after the other text with the set as it is in the text (held
//! back). With the odds of target against foil as the metric these are the natural indirect and direct effects of causal
//! mediation: see [`Patched::indirect`].

use std::collections::BTreeMap;

use ndarray::Array2;
use nissl_core::{
    Batch, Context, Edit, EditSpec, HookPlan, HookPoint, MethodError, Model, NeuronId, Positions, Prompt, Units,
};
use serde::{Deserialize, Serialize};

use crate::ablating::points;
use crate::kept::{keep, kept};
use crate::study::{Metric, Study};

#[cfg(test)]
mod tests;

/// What errors call it.
pub const NAME: &str = "patch";

/// Sets that are run together, between two looks at whether to stop.
const TOGETHER: usize = 256;

/// At which positions activations are moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Where {
    /// All of them together.
    #[default]
    All,
    /// Those at which the texts differ, together.
    Differing,
    /// The one whose logits predict the target.
    Target,
    /// Each by itself.
    Each,
}

/// How activations are moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Patching {
    /// What is measured.
    pub metric: Metric,
    /// Where they are moved.
    pub places: Where,
    /// Whether they are also moved from the text into the other text.
    pub both: bool,
}

/// What became of a prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patched {
    /// The metric after the text.
    pub own: f64,
    /// After the other text.
    pub other: f64,
    /// Number of tokens.
    pub n_tokens: usize,
    /// After the text with each set as in the other: for every set one value, or one a position from the first on.
    pub patched: Vec<Vec<f64>>,
    /// After the other text with each set as in the text; nothing if that was not asked for.
    pub held: Vec<Vec<f64>>,
}

impl Patched {
    /// The indirect effect of a set: by what share the odds rise if it alone is as after the other text. Of logits'
    /// differences, which are logarithms of odds.
    pub fn indirect(&self, set: usize) -> f64 {
        (self.patched[set][0] - self.own).exp() - 1.0
    }

    /// The direct effect: by what share the odds rise with the other text, if the set stays as it was; none if it was
    /// not moved that way.
    pub fn direct(&self, set: usize) -> Option<f64> {
        self.held.get(set).map(|held| (held[0] - self.own).exp() - 1.0)
    }

    /// The total effect of the other text.
    pub fn total(&self) -> f64 {
        (self.other - self.own).exp() - 1.0
    }
}

impl Patching {
    /// Moves each set of neurons in every prompt.
    ///
    /// # Errors
    /// If there is no prompt, one has no other text of as many tokens (or no foil where it needs one), a neuron is not
    /// the model's, the model cannot run, or the user stops it.
    pub fn patch(
        self,
        model: &dyn Model,
        prompts: &[Prompt],
        sets: &[Vec<NeuronId>],
        ctx: Context<'_>,
    ) -> Result<Vec<Patched>, MethodError> {
        let study = Study::of_points(NAME, (model, prompts, ctx), points(NAME, model, sets)?)?;
        ctx.progress.stage("move activations", Some((prompts.len() * sets.len()) as u64), "sets");
        let mut found = Vec::with_capacity(prompts.len());
        for (prompt, Prompt { tokens, .. }) in prompts.iter().enumerate() {
            let name = format!("{NAME} {prompt}");
            let mut patched = Patched { n_tokens: tokens.len(), ..Patched::default() };
            let n_places = if self.places == Where::Each { tokens.len() } else { 1 };
            let n_held = if self.both { sets.len() } else { 0 };
            let fits = |_| Some(2 + (sets.len() + n_held) * n_places);
            if let Some((_, numbers)) = kept(ctx.progress, &name, fits) {
                (patched.own, patched.other) = (numbers[0], numbers[1]);
                let mut moved = numbers[2..].chunks(n_places.max(1)).map(<[f64]>::to_vec);
                patched.patched = moved.by_ref().take(sets.len()).collect();
                patched.held = moved.collect();
            } else {
                patched = self.one(&study, prompt, sets)?;
                let moved = || patched.patched.iter().chain(&patched.held).flatten().copied();
                keep(ctx.progress, &name, 1, &|| [patched.own, patched.other].into_iter().chain(moved()).collect());
            }
            found.push(patched);
        }
        Ok(found)
    }

    fn one(self, study: &Study<'_>, prompt: usize, sets: &[Vec<NeuronId>]) -> Result<Patched, MethodError> {
        study.go_on()?;
        let own = study.prompts[prompt].tokens.as_slice();
        let other = study.other(prompt)?;
        let measured = |tokens: &[u32]| {
            let logits = study.logits(prompt, tokens, &HookPlan::default())?;
            study.measure(self.metric, prompt, &logits)
        };
        let n_tokens = own.len();
        let places: Vec<Vec<usize>> = match self.places {
            Where::All => vec![(0..n_tokens).collect()],
            Where::Differing => vec![(0..n_tokens).filter(|&place| own[place] != other[place]).collect()],
            Where::Target => vec![vec![study.places[prompt]]],
            Where::Each => (0..n_tokens).map(|place| vec![place]).collect(),
        };
        let moved = |(into, from): (&[u32], &[u32]), done: usize| {
            let plan = HookPlan::capture(study.hook_points());
            let values = study.model.run(&Batch::from_sentences([from]), &plan)?.sites;
            let mut all = Vec::with_capacity(sets.len());
            for part in sets.chunks(TOGETHER.div_ceil(places.len())) {
                study.go_on()?;
                let edits: Vec<Vec<EditSpec>> =
                    part.iter().flat_map(|set| places.iter().map(|places| edits(set, places, &values))).collect();
                let found =
                    study.variants(prompt, into, &edits, |logits| study.measure(self.metric, prompt, logits))?;
                all.extend(found.chunks(places.len()).map(<[f64]>::to_vec));
                study.ctx.progress.step((prompt * sets.len() + all.len().max(done)) as u64);
            }
            Ok::<_, MethodError>(all)
        };
        Ok(Patched {
            own: measured(own)?,
            other: measured(other)?,
            n_tokens,
            patched: moved((own, other), 0)?,
            held: if self.both { moved((other, own), sets.len())? } else { Vec::new() },
        })
    }
}

/// The edits that give neurons, at some places, the values of another text.
fn edits(set: &[NeuronId], places: &[usize], values: &BTreeMap<HookPoint, Array2<f32>>) -> Vec<EditSpec> {
    let mut by_point: BTreeMap<HookPoint, Vec<u32>> = BTreeMap::new();
    for neuron in set {
        by_point.entry(neuron.point).or_default().push(neuron.idx);
    }
    let edit = |(point, units): (HookPoint, Vec<u32>)| {
        let of = &values[&point];
        let rows = places.iter().flat_map(|&place| units.iter().map(move |&unit| of[[place, unit as usize]]));
        let edit = Edit::Patch { values: rows.collect() };
        EditSpec { point, units: Units::Some(units), positions: Positions::Rows(places.to_vec()), edit, when: None }
    };
    by_point.into_iter().map(edit).collect()
}
