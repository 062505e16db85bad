//! What attributors share: the neurons of a site in all layers, the prompts by concept, and what is measured.

use std::ops::Range;
use std::sync::Mutex;

use ndarray::Array2;
use nissl_core::{
    Batch, Concept, Context, EditSpec, HookPlan, HookPoint, MethodError, Model, ModelError, NeuronId, Objective,
    Output, Prompt, Provenance, Scores, Site, Trace, VariantSink, Variants, site_columns,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::completeness::Completeness;
use crate::kept::{keep, kept_all};

/// Tokens of a batch, at most, if a prompt is not longer by itself.
const TOKENS: usize = 4096;

/// What is measured of the model's prediction of a prompt's target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Metric {
    /// Its probability.
    Probability,
    /// Its log-probability, in nats.
    #[default]
    LogProb,
    /// Its logit.
    Logit,
    /// How much its logit is above that of the foil, which every prompt needs.
    Difference,
}

/// Which positions of a prompt count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Places {
    /// The one whose logits predict the target.
    #[default]
    Target,
    /// All of them.
    All,
}

/// A model, its neurons, and prompts.
pub(crate) struct Study<'a> {
    method: &'static str,
    pub(crate) model: &'a dyn Model,
    pub(crate) prompts: &'a [Prompt],
    pub(crate) ctx: Context<'a>,
    /// The site in each layer, with its width.
    pub(crate) points: Vec<(HookPoint, usize)>,
    /// The place of every prompt's target.
    pub(crate) places: Vec<usize>,
    concepts: Vec<Concept>,
    /// The concept of each prompt.
    pub(crate) concept_of: Vec<usize>,
}

impl<'a> Study<'a> {
    /// Looks up a site, in some layers or in all if there are none, and checks the prompts.
    ///
    /// # Errors
    /// If there is no prompt, the model has no such site or layer, or a prompt has no such place.
    pub(crate) fn new(
        method: &'static str,
        (model, prompts, ctx): (&'a dyn Model, &'a [Prompt], Context<'a>),
        site: &str,
        layers: &[u16],
    ) -> Result<Self, MethodError> {
        let refuse = |name, value, expected| Err(MethodError::Parameter { method, name, value, expected });
        let info = model.info();
        let has = |site: Site| !site.is_ragged() && info.sites.iter().any(|known| known.site == site);
        let Some(site) = site.parse().ok().filter(|&site| has(site)) else {
            return refuse("site", site.to_owned(), "a site of the model with units (nissl sites lists them)");
        };
        let of_site = info.points().filter(|(point, _)| point.site() == site);
        let wanted = |point: HookPoint| layers.is_empty() || point.layer().is_none_or(|layer| layers.contains(&layer));
        let points: Vec<(HookPoint, usize)> = of_site.filter(|(point, _)| wanted(*point)).collect();
        if let Some(layer) = layers.iter().find(|&&layer| layer as usize >= info.n_layers) {
            return refuse("layers", layer.to_string(), "layers of the model, from 0");
        }
        Self::of_points(method, (model, prompts, ctx), points)
    }

    /// A study of points of any sites, with their widths.
    ///
    /// # Errors
    /// If there is no prompt, or one has no such place.
    pub(crate) fn of_points(
        method: &'static str,
        (model, prompts, ctx): (&'a dyn Model, &'a [Prompt], Context<'a>),
        points: Vec<(HookPoint, usize)>,
    ) -> Result<Self, MethodError> {
        if prompts.is_empty() {
            return Err(MethodError::TooFewConcepts { method, expected: 1, got: 0, dropped: String::new() });
        }
        let (mut concepts, mut concept_of, mut places): (Vec<Concept>, _, _) = (Vec::new(), Vec::new(), Vec::new());
        for (idx, prompt) in prompts.iter().enumerate() {
            let name = if prompt.concept.is_empty() { "prompts" } else { &prompt.concept };
            let known = concepts.iter().position(|concept| concept.name == name);
            concept_of.push(known.unwrap_or_else(|| {
                concepts.push(Concept::new(name));
                concepts.len() - 1
            }));
            places.push(prompt.place().ok_or_else(|| MethodError::Prompt {
                prompt: idx,
                why: format!(
                    "it has {} tokens, none at position {}",
                    prompt.tokens.len(),
                    prompt.position.unwrap_or(-1)
                ),
            })?);
        }
        Ok(Self { method, model, prompts, ctx, points, places, concepts, concept_of })
    }

    /// The neurons, layer after layer.
    pub(crate) fn neurons(&self) -> Vec<NeuronId> {
        site_columns(&self.points)
    }

    /// Number of neurons.
    pub(crate) fn n_neurons(&self) -> usize {
        self.points.iter().map(|(_, width)| width).sum()
    }

    /// The points alone.
    pub(crate) fn hook_points(&self) -> Vec<HookPoint> {
        self.points.iter().map(|(point, _)| *point).collect()
    }

    /// Where the neurons of each point begin.
    pub(crate) fn starts(&self) -> Vec<usize> {
        let mut next = 0;
        let starts = self.points.iter().map(|(_, width)| {
            next += width;
            next - width
        });
        starts.collect()
    }

    /// The prompts of each concept.
    pub(crate) fn by_concept(&self) -> Vec<(&Concept, Vec<usize>)> {
        let of = |concept| (0..self.prompts.len()).filter(|&prompt| self.concept_of[prompt] == concept).collect();
        self.concepts.iter().enumerate().map(|(idx, concept)| (concept, of(idx))).collect()
    }

    /// Prompts that make a batch: few enough for the memory if `copies` of each are run.
    pub(crate) fn chunks(&self, copies: usize) -> Vec<Range<usize>> {
        // Activations and gradients of all points.
        let most = (self.ctx.memory / (8 * self.n_neurons().max(1))).min(TOKENS);
        let (mut chunks, mut first, mut n_tokens): (Vec<Range<usize>>, _, _) = (Vec::new(), 0, 0);
        for (idx, prompt) in self.prompts.iter().enumerate() {
            let own = prompt.tokens.len() * copies;
            if idx > first && n_tokens + own > most {
                chunks.push(first..idx);
                (first, n_tokens) = (idx, 0);
            }
            n_tokens += own;
        }
        chunks.push(first..self.prompts.len());
        chunks
    }

    /// The prompts of a chunk as a batch.
    pub(crate) fn batch(&self, chunk: Range<usize>) -> Batch {
        Batch::from_sentences(self.prompts[chunk].iter().map(|prompt| prompt.tokens.as_slice()))
    }

    /// Rows of a sentence that count, in a batch whose `sentence` is a copy of a prompt.
    pub(crate) fn rows(&self, batch: &Batch, sentence: usize, prompt: usize, places: Places) -> Range<usize> {
        let rows = batch.rows(sentence);
        match places {
            Places::All => rows,
            Places::Target => rows.start + self.places[prompt]..rows.start + self.places[prompt] + 1,
        }
    }

    /// What a metric is the gradient of; see [`Metric::chain`].
    ///
    /// # Errors
    /// If a prompt has no foil where one is needed.
    pub(crate) fn objective(&self, metric: Metric, prompt: usize) -> Result<Objective, MethodError> {
        let position = self.places[prompt] as i64;
        let target = self.prompts[prompt].target;
        Ok(match metric {
            Metric::Probability | Metric::LogProb => Objective::LogProb { token: target, position },
            Metric::Logit => Objective::Logit { token: target, position },
            Metric::Difference => Objective::Difference { target, foil: self.foil(prompt)?, position },
        })
    }

    /// The token that a prompt's target is compared with.
    ///
    /// # Errors
    /// If it has none.
    pub(crate) fn foil(&self, prompt: usize) -> Result<u32, MethodError> {
        let why = || format!("{} compares the target with a foil, which this prompt has not", self.method);
        self.prompts[prompt].foil.ok_or_else(|| MethodError::Prompt { prompt, why: why() })
    }

    /// The other text of a prompt.
    ///
    /// # Errors
    /// If it has none, of as many tokens.
    pub(crate) fn other(&self, prompt: usize) -> Result<&'a [u32], MethodError> {
        let Prompt { tokens, other, .. } = &self.prompts[prompt];
        let refuse = |why| Err(MethodError::Prompt { prompt, why });
        match other {
            None => refuse(format!("{} needs another text, which this prompt has not", self.method)),
            Some(other) if other.len() == tokens.len() => Ok(other),
            Some(other) => refuse(format!(
                "the other text has {} tokens; expected as many as the text, {}",
                other.len(),
                tokens.len()
            )),
        }
    }

    /// Logits at the place of a prompt's target, of a text with as many tokens.
    ///
    /// # Errors
    /// If the model cannot run it.
    pub(crate) fn logits(&self, prompt: usize, tokens: &[u32], plan: &HookPlan) -> Result<Vec<f32>, MethodError> {
        let plan = HookPlan { output: Output::All, ..plan.clone() };
        let trace = self.model.run(&Batch::from_sentences([tokens]), &plan)?;
        let logits = trace.logits.unwrap_or_default();
        Ok(logits.row(self.places[prompt]).to_vec())
    }

    /// Runs a text as long as a prompt with each of many edits, and measures its logits at the place of the target.
    ///
    /// # Errors
    /// If the model cannot run it, or of `measure`.
    pub(crate) fn variants<T: Send>(
        &self,
        prompt: usize,
        tokens: &[u32],
        edits: &[Vec<EditSpec>],
        measure: impl Fn(&[f32]) -> Result<T, MethodError> + Sync,
    ) -> Result<Vec<T>, MethodError> {
        let plan = HookPlan { output: Output::All, ..HookPlan::default() };
        let place = self.places[prompt];
        let variants = Variants { sentence: tokens, plan: &plan, edits, logits_at: Some(place..place + 1) };
        let measured = Measured { measure, values: Mutex::new(edits.iter().map(|_| None).collect()) };
        self.model.run_variants(&variants, &measured)?;
        let values = measured.values.into_inner().expect("no thread panicked");
        values.into_iter().map(|value| value.expect("every variant was run")).collect()
    }

    /// What a metric is for logits `[d_vocab]`.
    ///
    /// # Errors
    /// If the prompt has no foil where one is needed, or a token is not in the vocabulary.
    pub(crate) fn measure(&self, metric: Metric, prompt: usize, logits: &[f32]) -> Result<f64, MethodError> {
        let logit = |token: u32| {
            let known = logits.get(token as usize).map(|&logit| f64::from(logit));
            let why = || format!("token {token} is not among the {} that the model predicts", logits.len());
            known.ok_or_else(|| MethodError::Prompt { prompt, why: why() })
        };
        let target = logit(self.prompts[prompt].target)?;
        let log_sum = || {
            let most = logits.iter().fold(f64::NEG_INFINITY, |most, &logit| most.max(f64::from(logit)));
            most + logits.iter().map(|&logit| (f64::from(logit) - most).exp()).sum::<f64>().ln()
        };
        Ok(match metric {
            Metric::Probability => (target - log_sum()).exp(),
            Metric::LogProb => target - log_sum(),
            Metric::Logit => target,
            Metric::Difference => target - logit(self.foil(prompt)?)?,
        })
    }

    /// Stops if the user says so.
    ///
    /// # Errors
    /// [`MethodError::Cancelled`].
    pub(crate) fn go_on(&self) -> Result<(), MethodError> {
        if self.ctx.progress.cancelled() { Err(MethodError::Cancelled) } else { Ok(()) }
    }

    /// Sums of effects, one row a concept, to which prompts are added in order.
    pub(crate) fn effects(&self) -> Effects {
        let sums = Array2::zeros((self.concepts.len(), self.n_neurons()));
        Effects { sums, completeness: Completeness::default() }
    }

    /// Sums that an earlier run kept after some of `n_steps` steps, and how many; zeros after none if there are no such.
    pub(crate) fn resumed(&self, n_steps: usize) -> (Effects, usize) {
        let mut effects = self.effects();
        let Some((steps, numbers)) = kept_all(self.ctx.progress, self.method) else { return (effects, 0) };
        let of_sums = numbers.split_at_checked(effects.sums.len()).filter(|_| steps <= n_steps as u64);
        let Some((sums, rest)) = of_sums else { return (effects, 0) };
        let Some(completeness) = Completeness::of_numbers(rest) else { return (effects, 0) };
        effects.sums.iter_mut().zip(sums).for_each(|(sum, kept)| *sum = *kept);
        (Effects { completeness, ..effects }, steps as usize)
    }

    /// Tells how many steps are done, and keeps their sums.
    pub(crate) fn done(&self, effects: &Effects, steps: usize) {
        self.ctx.progress.step(steps as u64);
        self.keep(effects, steps);
    }

    /// Keeps the sums of some steps.
    pub(crate) fn keep(&self, effects: &Effects, steps: usize) {
        keep(self.ctx.progress, self.method, steps as u64, &|| {
            effects.sums.iter().copied().chain(effects.completeness.numbers()).collect()
        });
    }

    /// Adds the effects of a prompt on the neurons of a point.
    pub(crate) fn add(&self, effects: &mut Effects, prompt: usize, start: usize, values: impl Iterator<Item = f64>) {
        let mut row = effects.sums.row_mut(self.concept_of[prompt]);
        row.iter_mut().skip(start).zip(values).for_each(|(sum, value)| *sum += value);
    }

    /// Scores: how large the mean effect is over the prompts of each concept, with its sign.
    ///
    /// # Errors
    /// If a score is not finite.
    pub(crate) fn scores(&self, effects: &Effects, params: Value) -> Result<Scores, MethodError> {
        scores(self.method, &self.means(effects), self.concepts.clone(), self.neurons(), params)
    }

    /// Tells how nearly attributions sum to what they should: `what` are the sums and that.
    pub(crate) fn tell_completeness(&self, effects: &Effects, what: &str) {
        if let Some(line) = effects.completeness.told(what, &self.points) {
            self.ctx.progress.note(&line);
        }
    }

    /// Mean effects over the prompts of each concept, `[n_concepts, n_neurons]`.
    pub(crate) fn means(&self, effects: &Effects) -> Array2<f64> {
        let mut means = effects.sums.clone();
        for (mut row, (_, prompts)) in means.outer_iter_mut().zip(self.by_concept()) {
            row /= prompts.len() as f64;
        }
        means
    }
}

/// Measures variants as they come.
struct Measured<M, T> {
    measure: M,
    values: Mutex<Vec<Option<Result<T, MethodError>>>>,
}

impl<T: Send, M: Fn(&[f32]) -> Result<T, MethodError> + Sync> VariantSink for Measured<M, T> {
    fn variant(&self, idx: usize, trace: Trace) -> Result<(), ModelError> {
        let logits = trace.logits.unwrap_or_default();
        let value = (self.measure)(&logits.row(0).to_vec());
        self.values.lock().expect("no thread panicked")[idx] = Some(value);
        Ok(())
    }
}

/// Sums of effects.
pub(crate) struct Effects {
    /// `[n_concepts, n_neurons]`.
    sums: Array2<f64>,
    /// How nearly attributions sum to what they should.
    pub(crate) completeness: Completeness,
}

/// Scores from effects with a direction, `[n_concepts, n_neurons]`.
pub(crate) fn scores(
    method: &str,
    effects: &Array2<f64>,
    concepts: Vec<Concept>,
    neurons: Vec<NeuronId>,
    params: Value,
) -> Result<Scores, MethodError> {
    let values = effects.mapv(|effect| effect.abs() as f32);
    let sign = effects.mapv(|effect| i8::from(effect > 0.0) - i8::from(effect < 0.0));
    Scores::new(values, concepts, neurons, Provenance::of_method(method, params))?.with_sign(sign)
}

impl Metric {
    /// What a gradient of [`Study::objective`] is multiplied with to be that of the metric, given the objective's value.
    pub(crate) fn chain(self, value: f64) -> f64 {
        if self == Self::Probability { value.exp() } else { 1.0 }
    }

    /// The metric, given the objective's value.
    pub(crate) fn of(self, value: f64) -> f64 {
        if self == Self::Probability { value.exp() } else { value }
    }
}
