//! Shapley values of neurons: what each adds to a prediction on average, in whatever order they come.
//!
//! ## Computes
//! Of the neurons with the largest gradient times activation, `units` are taken away at the positions that count and
//! given back one by one in random order; what the metric gains when a neuron comes back, averaged over orders, is its
//! value. The values of a prompt sum to what all these neurons do together, for any number of orders. Of two orders one
//! is the other backwards (`antithetic`), which evens out early and late places. Averaged over the prompts of a concept.
//! ## Input
//! A model with gradients; prompts.
//! ## Output
//! For each concept the size of the mean value and its sign: 1 if the neuron speaks for the target; 0 for neurons that
//! were not among the candidates. The report tells the largest values with the half-width of their 95% intervals over
//! orders.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `site` | mlp_post | | whose neurons |
//! | `layers` | [] | | only these layers; all if empty |
//! | `metric` | log_prob | probability, log_prob, logit, difference | what is measured |
//! | `places` | all | target, all | the positions at which neurons are taken away |
//! | `value` | zero | zero, mean, median | what a neuron is while it is away |
//! | `units` | 50 | ≥ 1 | candidates of a concept |
//! | `permutations` | 100 | ≥ 1 | orders of a prompt |
//! | `antithetic` | true | | whether every second order is the one before it backwards |
//! | `truncate` | 0 | 0 to 1 | an order ends, with nothing for the rest, within this share of the whole effect of its end |
//! | `seed` | 0 | | of the orders |
//! ## Cost
//! permutations · units forward passes a prompt, from the neurons' layer on, many together; fewer if truncated.
//! ## Errors
//! `Parameter`, `Prompt`, `TooFewConcepts` without prompts, `Model`, `Cancelled`.
//! ## Differs
//! Ghorbani and Zou drop neurons as soon as an interval tells that they are not among the best; here all candidates have
//! as many orders. With `truncate` above 0 the values sum to the effect of all up to that share.
//! ## Source
//! Lundberg and Lee 2017, A Unified Approach to Interpreting Model Predictions, arXiv:1705.07874; Ghorbani and Zou 2020,
//! Neuron Shapley: Discovering the Responsible Neurons, arXiv:2002.09815.

use nissl_core::{
    Attributor, Context, Describe, EditSpec, HookPlan, MethodCard, MethodError, Model, NeuronId, Prompt, Scope, Scores,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gradient_activation::GradientActivation;
use crate::ablating::Mean;
use crate::catalog::params_of;
use crate::kept::{Unkept, keep, kept};
use crate::random::{Random, mix};
use crate::replacement::{Removal, Remover, Replacement};
use crate::study::{Metric, Places, Study};

/// Values whose intervals are told.
const TOLD: usize = 5;
/// Orders that go through a prompt together; after them what is known is kept.
const TOGETHER: usize = 20;

/// Ranks neurons by their Shapley values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shapley {
    /// Whose neurons.
    pub site: String,
    /// Only these layers; all if empty.
    pub layers: Vec<u16>,
    /// What is measured.
    pub metric: Metric,
    /// The positions at which neurons are taken away.
    pub places: Places,
    /// What a neuron is while it is away.
    pub value: Away,
    /// Candidates of a concept.
    #[schemars(range(min = 1))]
    pub units: usize,
    /// Orders of a prompt.
    #[schemars(range(min = 1))]
    pub permutations: usize,
    /// Whether every second order is the one before it backwards.
    pub antithetic: bool,
    /// An order ends within this share of the whole effect of its end.
    #[schemars(range(min = 0, max = 1))]
    pub truncate: f64,
    /// Seed of the orders.
    pub seed: u64,
}

/// What a neuron is while it is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Away {
    /// 0.
    #[default]
    Zero,
    /// Its mean over all positions of all prompts.
    Mean,
    /// Its median over all positions of all prompts.
    Median,
}

impl Away {
    /// Taking neurons away at some places.
    pub(super) fn removal(self, places: Places) -> Removal {
        let value = match self {
            Self::Zero => Replacement::Zero,
            Self::Mean => Replacement::Mean,
            Self::Median => Replacement::Median,
        };
        Removal { value, places, ..Removal::default() }
    }
}

impl Default for Shapley {
    fn default() -> Self {
        Self {
            site: "mlp_post".to_owned(),
            layers: Vec::new(),
            metric: Metric::LogProb,
            places: Places::All,
            value: Away::Zero,
            units: 50,
            permutations: 100,
            antithetic: true,
            truncate: 0.0,
            seed: 0,
        }
    }
}

impl Describe for Shapley {
    const NAME: &'static str = "shapley";
    const SUMMARY: &'static str = "Ranks neurons by what each adds to a prediction on average over orders of them.";
    const SOURCE: &'static str = "Lundberg and Lee 2017, arXiv:1705.07874; Ghorbani and Zou 2020, arXiv:2002.09815";
    const CARD: MethodCard =
        MethodCard { scope: Scope::Both, input: "class", scalability: "low", ..MethodCard::CAUSAL };
}

impl Shapley {
    fn check(&self) -> Result<(), MethodError> {
        let refuse =
            |name, value: String, expected| Err(MethodError::Parameter { method: Self::NAME, name, value, expected });
        if self.units == 0 {
            return refuse("units", "0".to_owned(), "at least 1");
        }
        if self.permutations == 0 {
            return refuse("permutations", "0".to_owned(), "at least 1");
        }
        if !(0.0..=1.0).contains(&self.truncate) {
            return refuse("truncate", self.truncate.to_string(), "0 to 1");
        }
        Ok(())
    }

    /// The candidates of each concept, by their places among the study's neurons, ascending.
    fn candidates(&self, study: &Study<'_>) -> Result<Vec<Vec<usize>>, MethodError> {
        let first = GradientActivation {
            site: self.site.clone(),
            layers: self.layers.clone(),
            metric: self.metric,
            places: self.places,
            absolute: true,
        };
        let ctx = Context { progress: &Unkept(study.ctx.progress), ..study.ctx };
        let scores = first.score(study.model, study.prompts, ctx)?;
        let of_concept = |(idx, _)| {
            let values = scores.values();
            let mut order: Vec<usize> = (0..study.n_neurons()).collect();
            order.sort_by(|&a, &b| values[[idx, b]].total_cmp(&values[[idx, a]]));
            order.truncate(self.units);
            order.sort_unstable();
            order
        };
        Ok(study.by_concept().into_iter().enumerate().map(of_concept).collect())
    }

    /// The orders of a prompt.
    fn orders(&self, prompt: usize, n: usize) -> Vec<Vec<usize>> {
        let mut random = Random::new(mix(self.seed ^ mix(prompt as u64)));
        let mut orders: Vec<Vec<usize>> = Vec::with_capacity(self.permutations);
        for idx in 0..self.permutations {
            if self.antithetic && idx % 2 == 1 {
                orders.push(orders[idx - 1].iter().rev().copied().collect());
            } else {
                let mut order: Vec<usize> = (0..n).collect();
                random.shuffle(&mut order);
                orders.push(order);
            }
        }
        orders
    }

    /// What each candidate adds to a prompt in each of some orders, `[n_orders][n_candidates]`.
    fn gains(
        &self,
        study: &Study<'_>,
        remover: &Remover<'_>,
        (prompt, candidates): (usize, &[NeuronId]),
        orders: &[Vec<usize>],
    ) -> Result<Vec<Vec<f64>>, MethodError> {
        let tokens = &study.prompts[prompt].tokens;
        let measure = |logits: &[f32]| study.measure(self.metric, prompt, logits);
        let whole = measure(&study.logits(prompt, tokens, &HookPlan::default())?)?;
        // What is away after so many have come back, in each order that goes on.
        let edits = |order: &[usize], back: usize| -> Vec<EditSpec> {
            let mut away = order[back..].to_vec();
            away.sort_unstable();
            remover.edits(study, prompt, &away.iter().map(|&idx| candidates[idx]).collect::<Vec<_>>(), 0)
        };
        let first: Vec<usize> = (0..candidates.len()).collect();
        let none = study.variants(prompt, tokens, &[edits(&first, 0)], measure)?[0];
        let mut gains = vec![vec![0.0; candidates.len()]; orders.len()];
        let mut before = vec![none; orders.len()];
        let mut on: Vec<usize> = (0..orders.len()).collect();
        for back in 1..=candidates.len() {
            study.go_on()?;
            if self.truncate > 0.0 {
                on.retain(|&order| (whole - before[order]).abs() > self.truncate * (whole - none).abs());
            }
            let after = if back == candidates.len() {
                vec![whole; on.len()]
            } else {
                let edits: Vec<Vec<EditSpec>> = on.iter().map(|&order| edits(&orders[order], back)).collect();
                study.variants(prompt, tokens, &edits, measure)?
            };
            for (&order, after) in on.iter().zip(after) {
                gains[order][orders[order][back - 1]] = after - before[order];
                before[order] = after;
            }
        }
        Ok(gains)
    }
}

impl Attributor for Shapley {
    fn score(&self, model: &dyn Model, prompts: &[Prompt], ctx: Context<'_>) -> Result<Scores, MethodError> {
        self.check()?;
        let study = Study::new(Self::NAME, (model, prompts, ctx), &self.site, &self.layers)?;
        let removal = self.value.removal(self.places);
        let remover = removal.learn(Self::NAME, &study)?;
        let (neurons, candidates) = (study.neurons(), self.candidates(&study)?);
        let gains = self.all_gains(&study, &remover, &candidates)?;
        let mut effects = study.effects();
        let mut rest = gains.as_slice();
        for ((concept, own), candidates) in study.by_concept().into_iter().zip(&candidates) {
            let (gains, others) = rest.split_at(candidates.len() * self.permutations);
            rest = others;
            // Means over the prompts of the concept, order by order.
            let of_order = |order: usize| gains.iter().skip(order * candidates.len()).take(candidates.len());
            let means = |order: usize| of_order(order).map(|gain| gain / own.len() as f64).collect();
            let of_orders: Vec<Vec<f64>> = (0..self.permutations).map(means).collect();
            let mut values = vec![0.0; neurons.len()];
            for order in 0..self.permutations {
                for (gain, &place) in of_order(order).zip(candidates) {
                    values[place] += gain / self.permutations as f64;
                }
            }
            study.add(&mut effects, own[0], 0, values.into_iter());
            let chosen: Vec<NeuronId> = candidates.iter().map(|&place| neurons[place]).collect();
            ctx.progress.note(&told(&concept.name, &chosen, &self.pairs(&of_orders)));
        }
        study.scores(&effects, params_of(self))
    }
}

impl Shapley {
    /// What each candidate adds in each order, summed over the prompts of its concept,
    /// `[n_concepts, n_orders, n_candidates]`; from where an earlier run was.
    fn all_gains(
        &self,
        study: &Study<'_>,
        remover: &Remover<'_>,
        candidates: &[Vec<usize>],
    ) -> Result<Vec<f64>, MethodError> {
        let (progress, neurons) = (study.ctx.progress, study.neurons());
        // Orders of all prompts.
        let n_steps = (study.prompts.len() * self.permutations) as u64;
        let n_gains = candidates.iter().map(|own| own.len() * self.permutations).sum();
        progress.stage("shapley", Some(study.prompts.len() as u64), "prompts");
        let known = kept(progress, Self::NAME, |steps| (steps <= n_steps).then_some(n_gains));
        let (first, mut all) = known.unwrap_or_else(|| (0, vec![0.0; n_gains]));
        let (mut done, mut start) = (0, 0);
        for ((_, own), candidates) in study.by_concept().into_iter().zip(candidates) {
            let chosen: Vec<NeuronId> = candidates.iter().map(|&place| neurons[place]).collect();
            let end = start + chosen.len() * self.permutations;
            for prompt in own {
                let mut at = start;
                for orders in self.orders(prompt, chosen.len()).chunks(TOGETHER) {
                    let n = orders.len() * chosen.len();
                    done += orders.len() as u64;
                    if done > first {
                        let gains = self.gains(study, remover, (prompt, &chosen), orders)?;
                        all[at..at + n].iter_mut().zip(gains.iter().flatten()).for_each(|(sum, gain)| *sum += gain);
                        progress.step(done / self.permutations as u64);
                        keep(progress, Self::NAME, done, &|| all.clone());
                    }
                    at += n;
                }
            }
            start = end;
        }
        Ok(all)
    }

    /// Orders as they are independent: one by one, or as pairs of an order and the same backwards.
    fn pairs(&self, of_orders: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let size = if self.antithetic { 2 } else { 1 };
        let mean = |pair: &[Vec<f64>]| {
            (0..pair[0].len()).map(|idx| pair.iter().map(|order| order[idx]).sum::<f64>() / pair.len() as f64).collect()
        };
        of_orders.chunks(size).map(mean).collect()
    }
}

/// The largest values of a concept with their intervals.
fn told(concept: &str, neurons: &[NeuronId], orders: &[Vec<f64>]) -> String {
    let mean = |idx: usize| Mean::of(orders.iter().map(move |order| order[idx]));
    let mut values: Vec<(NeuronId, Mean)> =
        neurons.iter().enumerate().map(|(idx, &neuron)| (neuron, mean(idx))).collect();
    values.sort_by(|(_, a), (_, b)| b.mean.abs().total_cmp(&a.mean.abs()));
    let shown = values.iter().take(TOLD);
    let shown: Vec<String> =
        shown.map(|(neuron, mean)| format!("{neuron} {:.4} ± {:.4}", mean.mean, 1.96 * mean.error)).collect();
    let total: f64 = values.iter().map(|(_, mean)| mean.mean).sum();
    format!("{concept}: {} candidates do {total:.4} together; {}", neurons.len(), shown.join(", "))
}

#[cfg(test)]
mod tests;
