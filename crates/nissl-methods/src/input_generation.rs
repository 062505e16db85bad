//! Input generation: the words that make a neuron as active as can be.
//!
//! A text of `words` tokens is sought that a neuron, or the mean of a group, answers most. Of a corpus every distinct
//! run of tokens can be tried (`search`); otherwise what enters the model is made continuous and climbs the neuron's
//! gradient: a free vector a place (`embfree`), or a mixture of the vocabulary's embeddings whose weights are free
//! (`logits`), a softmax (`softmax`), or a softmax with Gumbel noise that cools down (`gumbel`). Every few steps the
//! nearest real text is run: the best of these texts is the result, never the relaxed activation.
//!
//! What a token puts into the model is read at `hook_embed`, with position and norm already in it, so that a mixture
//! that is one token is that token, bit for bit, in every family. Embeddings are counted from their mean over the
//! vocabulary: a free vector is spelled by the token whose embedding has the smallest angle to it, seen from there.
//!
//! Differs from the reference (1,000 epochs of up to 200 steps, a rate of 0.001): one climb of `steps` steps at rates
//! that fit the size of the embeddings, and the temperature falls to its end within them. Where the weights are free
//! (`embfree`, `logits`), Adam scales a place's gradient as a whole: scaled one by one, every token that helps at all
//! would rise as fast as the best one. The output non-linearity of a layer is not dropped by itself: choose `mlp_pre`.
//! Source: Poerner, Roth and Schütze 2018, "Interpretable Textual Neuron Representations for NLP", arXiv:1809.07291.

mod climb;
mod table;

use std::collections::BTreeSet;

use nissl_core::{Batch, Context, HookPlan, MethodError, Model, NeuronId, Objective};
use serde::{Deserialize, Serialize};

use self::climb::Climb;
use self::table::Table;
use crate::kept::{keep, kept_all};

#[cfg(test)]
mod tests;

/// What errors call it.
pub const NAME: &str = "generate-input";

/// Tokens of a batch of texts that are run.
const TOKENS: usize = 4096;

/// How a text is sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// All texts of a corpus are tried.
    Search,
    /// A free vector a place.
    Embfree,
    /// A free weight for each token.
    Logits,
    /// Weights that are a softmax.
    Softmax,
    /// Weights that are a softmax with noise, which ends as one token.
    Gumbel,
}

/// At which of the text's positions a neuron is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// The last one.
    Last,
    /// All: their mean.
    Mean,
}

/// What is sought, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InputGeneration {
    /// The optimizers; all if empty, the search among them if there is a corpus, which it needs.
    pub optimizers: Vec<Optimizer>,
    /// Tokens of a text.
    pub words: usize,
    /// Where the neuron is read; the last position where positions see only those before them, else the mean.
    pub at: Option<At>,
    /// Whether the text is sought that the neuron answers least.
    pub lowest: bool,
    /// Climbs from different beginnings.
    pub restarts: usize,
    /// Steps of a climb.
    pub steps: usize,
    /// Every so many steps the nearest text is run.
    pub every: usize,
    /// A climb ends when so many of these texts in a row are no better than the best one.
    pub patience: usize,
    /// How fast it climbs.
    pub rate: f64,
    /// Draws of noise a step (`gumbel`).
    pub draws: usize,
    /// The temperature in the beginning (`gumbel`).
    pub hot: f64,
    /// The temperature in the end (`gumbel`).
    pub cold: f64,
    /// Seed of all that is drawn.
    pub seed: u64,
}

impl Default for InputGeneration {
    fn default() -> Self {
        Self {
            optimizers: Vec::new(),
            words: 5,
            at: None,
            lowest: false,
            restarts: 3,
            steps: 200,
            every: 10,
            patience: 20,
            rate: 0.3,
            draws: 4,
            hot: 2.0,
            cold: 0.1,
            seed: 0,
        }
    }
}

/// The tokens that texts are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Those that may be chosen, ascending.
    pub allowed: Vec<u32>,
    /// Those that stand before every text.
    pub before: Vec<u32>,
    /// Those that stand behind every text.
    pub after: Vec<u32>,
}

/// A text that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// How.
    pub optimizer: Optimizer,
    /// Its tokens, `[words]`.
    pub tokens: Vec<u32>,
    /// The neuron's activation.
    pub activation: f64,
    /// The activation of what entered the model when this text was the nearest one; none for a search.
    pub relaxed: Option<f64>,
    /// The climb, or the place in the corpus, that it comes from.
    pub origin: usize,
    /// The best activation of any climb so far, after each look at the nearest texts; one value for a search.
    pub curve: Vec<f64>,
}

impl Found {
    /// Keeps it for a later run.
    fn keep(&self, name: &str, ctx: Context<'_>) {
        keep(ctx.progress, name, self.origin as u64, &|| {
            let tokens = self.tokens.iter().map(|&token| f64::from(token));
            let values = [self.activation, self.relaxed.unwrap_or(f64::NAN)];
            tokens.chain(values).chain(self.curve.iter().copied()).collect()
        });
    }

    /// What an earlier run kept.
    fn kept(optimizer: Optimizer, name: &str, words: usize, ctx: Context<'_>) -> Option<Self> {
        let (origin, numbers) = kept_all(ctx.progress, name)?;
        let (tokens, rest) = numbers.split_at_checked(words)?;
        let ([activation, relaxed], curve) = rest.split_first_chunk()?;
        let relaxed = (!relaxed.is_nan()).then_some(*relaxed);
        let tokens = tokens.iter().map(|&token| token as u32).collect();
        let (origin, curve) = (usize::try_from(origin).ok()?, curve.to_vec());
        Some(Self { optimizer, tokens, activation: *activation, relaxed, origin, curve })
    }
}

impl InputGeneration {
    /// The best text of each optimizer, in their order. `corpus` has texts as tokens, for the search.
    ///
    /// # Errors
    /// If a parameter is out of range, a neuron is not the model's, is of a decoder behind an encoder, or there are
    /// none, `search` has no corpus with a text that long, memory is short of the embeddings, the model fails, or the
    /// user stops it.
    pub fn generate(
        &self,
        model: &dyn Model,
        neurons: &[NeuronId],
        (tokens, corpus): (&Tokens, &[Vec<u32>]),
        ctx: Context<'_>,
    ) -> Result<Vec<Found>, MethodError> {
        self.check(neurons, tokens)?;
        let texts = Texts::new(self, (model, neurons, tokens), ctx);
        let mut table = None;
        let mut found = Vec::new();
        for optimizer in self.chosen(!corpus.is_empty()) {
            let names: Vec<String> = neurons.iter().map(ToString::to_string).collect();
            let name = format!("{NAME} {optimizer:?} {}", names.join(" "));
            if let Some(known) = Found::kept(optimizer, &name, self.words, ctx) {
                found.push(known);
                continue;
            }
            let own = if optimizer == Optimizer::Search {
                texts.search(corpus)?
            } else {
                if table.is_none() {
                    table = Some(Table::new(&texts)?);
                }
                let table = table.as_ref().expect("it was made");
                Climb::new(&texts, table, optimizer).run()?
            };
            own.keep(&name, ctx);
            found.push(own);
        }
        Ok(found)
    }

    fn chosen(&self, has_corpus: bool) -> Vec<Optimizer> {
        if !self.optimizers.is_empty() {
            return self.optimizers.clone();
        }
        let climbs = [Optimizer::Embfree, Optimizer::Logits, Optimizer::Softmax, Optimizer::Gumbel];
        has_corpus.then_some(Optimizer::Search).into_iter().chain(climbs).collect()
    }

    fn check(&self, neurons: &[NeuronId], tokens: &Tokens) -> Result<(), MethodError> {
        let refuse =
            |name, value: String, expected| Err(MethodError::Parameter { method: NAME, name, value, expected });
        let counts = [
            ("words", self.words),
            ("restarts", self.restarts),
            ("steps", self.steps),
            ("every", self.every),
            ("patience", self.patience),
            ("draws", self.draws),
        ];
        if let Some((name, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return refuse(name, "0".to_owned(), "at least 1");
        }
        for (name, value) in [("rate", self.rate), ("hot", self.hot), ("cold", self.cold)] {
            if !(value.is_finite() && value > 0.0) {
                return refuse(name, value.to_string(), "a number above 0");
            }
        }
        if neurons.is_empty() {
            return refuse("neurons", "none".to_owned(), "a neuron at least");
        }
        if tokens.allowed.is_empty() {
            return refuse("tokens", "none".to_owned(), "a token that may be chosen at least");
        }
        Ok(())
    }
}

/// Texts of a length, and what neurons answer them.
struct Texts<'a> {
    how: &'a InputGeneration,
    model: &'a dyn Model,
    neurons: &'a [NeuronId],
    tokens: &'a Tokens,
    ctx: Context<'a>,
    /// 1, or -1 if the lowest answer is sought.
    sign: f64,
    /// What a sentence's answer is, of all its neurons and positions.
    objective: Objective,
}

impl<'a> Texts<'a> {
    fn new(
        how: &'a InputGeneration,
        (model, neurons, tokens): (&'a dyn Model, &'a [NeuronId], &'a Tokens),
        ctx: Context<'a>,
    ) -> Self {
        let first = tokens.before.len();
        let last = first + how.words - 1;
        let at = how.at.unwrap_or(if model.info().causal { At::Last } else { At::Mean });
        let places = if at == At::Last { last..=last } else { first..=last };
        let share = 1.0 / (neurons.len() * places.clone().count()) as f64;
        let parts = places.flat_map(|place| {
            let read = move |&neuron| (share, Objective::Neuron { neuron, position: place as i64 });
            neurons.iter().map(read)
        });
        let sign = if how.lowest { -1.0 } else { 1.0 };
        Self { how, model, neurons, tokens, ctx, sign, objective: Objective::sum(parts) }
    }

    /// A sentence of a text.
    fn sentence(&self, text: &[u32]) -> Vec<u32> {
        [&self.tokens.before, text, &self.tokens.after].concat()
    }

    /// What the neurons answer texts.
    fn answers(&self, texts: &[Vec<u32>]) -> Result<Vec<f64>, MethodError> {
        let length = self.how.words + self.tokens.before.len() + self.tokens.after.len();
        let mut answers = Vec::with_capacity(texts.len());
        for texts in texts.chunks((TOKENS / length).max(1)) {
            self.go_on()?;
            let batch = Batch::from_sentences(texts.iter().map(|text| self.sentence(text)));
            let mut plan = HookPlan::capture(self.neurons.iter().map(|neuron| neuron.point));
            plan.capture.sort_unstable();
            plan.capture.dedup();
            let trace = self.model.run(&batch, &plan)?;
            let Objective::Sum { parts } = &self.objective else { unreachable!("it was made as a sum") };
            for sentence in 0..texts.len() {
                let value = |objective: &Objective| match objective {
                    Objective::Neuron { neuron, position } => {
                        let row = batch.rows(sentence).start + *position as usize;
                        f64::from(trace.sites[&neuron.point][[row, neuron.idx as usize]])
                    }
                    _ => unreachable!("its parts are neurons"),
                };
                answers.push(parts.iter().map(|part| part.weight * value(&part.objective)).sum());
            }
        }
        Ok(answers)
    }

    /// The best text of a corpus: of every run of tokens that may be chosen, the first of equals.
    fn search(&self, corpus: &[Vec<u32>]) -> Result<Found, MethodError> {
        let mut runs: Vec<Vec<u32>> = Vec::new();
        let mut known = BTreeSet::new();
        for run in corpus.iter().flat_map(|text| text.windows(self.how.words)) {
            let allowed = |token| self.tokens.allowed.binary_search(token).is_ok();
            if run.iter().all(allowed) && known.insert(run) {
                runs.push(run.to_vec());
            }
        }
        if runs.is_empty() {
            return Err(MethodError::Parameter {
                method: NAME,
                name: "corpus",
                value: format!("{} texts without a run of {} tokens", corpus.len(), self.how.words),
                expected: "a corpus, which search needs, with texts of that length",
            });
        }
        self.ctx.progress.stage("search the corpus", Some(runs.len() as u64), "runs of tokens");
        let (mut best, mut done) = ((0, f64::NEG_INFINITY), 0);
        for chunk in runs.chunks(TOKENS) {
            for (idx, answer) in self.answers(chunk)?.into_iter().enumerate() {
                if self.sign * answer > best.1 {
                    best = (done + idx, self.sign * answer);
                }
            }
            done += chunk.len();
            self.ctx.progress.step(done as u64);
        }
        let (origin, activation) = (best.0, self.sign * best.1);
        let (tokens, curve) = (runs.swap_remove(origin), vec![activation]);
        Ok(Found { optimizer: Optimizer::Search, tokens, activation, relaxed: None, origin, curve })
    }

    fn go_on(&self) -> Result<(), MethodError> {
        if self.ctx.progress.cancelled() { Err(MethodError::Cancelled) } else { Ok(()) }
    }
}
