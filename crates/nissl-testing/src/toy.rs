//! A language model of a few lines whose every value follows from a formula.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Mutex;

use ndarray::{Array2, ArrayView2, Axis, concatenate, s};
use nissl_core::{
    Batch, CaptureSink, Edit, EditSpec, Gradients, HookPlan, HookPoint, Model, ModelError, ModelInfo, Objective,
    Output, Positions, Site, SiteInfo, Trace, Units,
};

/// P-LM: embeddings are orthonormal and tied to the output, so that the residual stream has one place a token.
///
/// The attention of block 0 adds to every position the embeddings of those before it; later blocks have none. An MLP
/// neuron is `ReLU(Σ key · x + bias)` and writes its value. Logits are the residual stream after the last block.
///
/// With one fact `(subject, relation) → object` and γ = 5, the object's probability after subject and relation is
/// `e^γ / (e^γ + 2e + d_vocab - 3)`: .868677 for 20 tokens.
#[derive(Clone, Debug)]
pub struct ToyModel {
    info: ModelInfo,
    /// Blocks of MLP neurons.
    layers: Vec<Vec<Unit>>,
}

/// An MLP neuron: `ReLU(Σ key · x + bias)`, times its value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unit {
    /// What it reads: a weight for each of some tokens.
    pub key: Vec<(u32, f32)>,
    /// Added before the ReLU.
    pub bias: f32,
    /// What it writes: a weight for each of some tokens.
    pub value: Vec<(u32, f32)>,
}

/// After `subject` and `relation` comes `object`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The first token.
    pub subject: u32,
    /// The second token.
    pub relation: u32,
    /// The token that follows.
    pub object: u32,
}

impl Unit {
    /// The neuron that holds a fact: 1 where both tokens were seen, else 0; writes `gamma` to the object.
    pub fn fact(fact: Fact, gamma: f32) -> Self {
        Self { key: vec![(fact.subject, 1.0), (fact.relation, 1.0)], bias: -1.0, value: vec![(fact.object, gamma)] }
    }
}

impl ToyModel {
    /// A model of these blocks of neurons; blocks are filled up with neurons that do nothing to the width of the
    /// widest.
    ///
    /// # Panics
    /// If there is no block or a token is not below `d_vocab`.
    pub fn new(d_vocab: usize, mut layers: Vec<Vec<Unit>>) -> Self {
        let d_mlp = layers.iter().map(Vec::len).max().expect("a model has a block");
        for units in &mut layers {
            let tokens = units.iter().flat_map(|unit| unit.key.iter().chain(&unit.value));
            assert!(tokens.into_iter().all(|&(token, _)| (token as usize) < d_vocab), "tokens are in the vocabulary");
            units.resize(d_mlp, Unit::default());
        }
        let site = |site, width, weight: &str| SiteInfo { site, width, weight: weight.to_owned() };
        let info = ModelInfo {
            name: "toy".to_owned(),
            family: "toy".to_owned(),
            n_layers: layers.len(),
            d_model: d_vocab,
            n_heads: 1,
            n_kv_heads: 1,
            d_head: d_vocab,
            d_mlp,
            d_vocab,
            n_ctx: 64,
            causal: true,
            has_logits: true,
            sites: vec![
                site(Site::Embed, d_vocab, "embed.weight"),
                site(Site::ResidPre, d_vocab, ""),
                site(Site::AttnOut, d_vocab, ""),
                site(Site::ResidMid, d_vocab, ""),
                site(Site::MlpPre, d_mlp, "blocks.{}.key"),
                site(Site::MlpPost, d_mlp, ""),
                site(Site::MlpOut, d_vocab, "blocks.{}.value"),
                site(Site::ResidPost, d_vocab, ""),
            ],
            fingerprint: "toy".to_owned(),
            encoder: None,
        };
        Self { info, layers }
    }

    /// A model of one block with a neuron for each fact.
    pub fn facts(d_vocab: usize, facts: &[Fact], gamma: f32) -> Self {
        Self::new(d_vocab, vec![facts.iter().map(|&fact| Unit::fact(fact, gamma)).collect()])
    }

    fn check(&self, batch: &Batch, plan: &HookPlan) -> Result<(), ModelError> {
        plan.check(&self.info, batch)?;
        for sentence_idx in 0..batch.n_sentences() {
            let sentence = batch.sentence(sentence_idx);
            let d_vocab = self.info.d_vocab;
            if let Some(&token) = sentence.iter().find(|&&token| token as usize >= d_vocab) {
                return Err(ModelError::TokenOutOfRange { token, sentence_idx, d_vocab });
            }
            let (n_tokens, n_ctx) = (sentence.len(), self.info.n_ctx);
            if n_tokens > n_ctx {
                return Err(ModelError::TooLong { sentence_idx, n_tokens, n_ctx });
            }
        }
        Ok(())
    }

    /// The residual stream of a sentence after the last block, `[n_tokens, d_vocab]`.
    fn forward(&self, tokens: &[u32], hooks: &Hooks<'_>) -> Result<Array2<f32>, ModelError> {
        let mut x = Array2::zeros((tokens.len(), self.info.d_model));
        for (mut row, &token) in x.outer_iter_mut().zip(tokens) {
            row[token as usize] = 1.0;
        }
        hooks.at(0, Site::Embed, &mut x)?;
        for (layer, units) in self.layers.iter().enumerate() {
            hooks.at(layer, Site::ResidPre, &mut x)?;
            let mut attn = Array2::zeros(x.dim());
            if layer == 0 {
                for row in 1..tokens.len() {
                    attn.row_mut(row).assign(&x.slice(s![..row, ..]).sum_axis(Axis(0)));
                }
            }
            hooks.at(layer, Site::AttnOut, &mut attn)?;
            x += &attn;
            hooks.at(layer, Site::ResidMid, &mut x)?;
            let read = |(row, unit): (usize, usize)| {
                units[unit].key.iter().map(|&(token, weight)| weight * x[[row, token as usize]]).sum::<f32>()
                    + units[unit].bias
            };
            let mut mlp = Array2::from_shape_fn((tokens.len(), units.len()), read);
            hooks.at(layer, Site::MlpPre, &mut mlp)?;
            mlp.mapv_inplace(|value| value.max(0.0));
            hooks.at(layer, Site::MlpPost, &mut mlp)?;
            let mut out = Array2::zeros(x.dim());
            for ((row, unit), &value) in mlp.indexed_iter() {
                for &(token, weight) in &units[unit].value {
                    out[[row, token as usize]] += value * weight;
                }
            }
            hooks.at(layer, Site::MlpOut, &mut out)?;
            x += &out;
            hooks.at(layer, Site::ResidPost, &mut x)?;
        }
        Ok(x)
    }
}

impl Model for ToyModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn run(&self, batch: &Batch, plan: &HookPlan) -> Result<Trace, ModelError> {
        let collected = Collected::default();
        let logits = self.run_into(batch, plan, &collected)?;
        let mut sites = BTreeMap::new();
        for (capture_idx, &point) in plan.capture.iter().enumerate() {
            let parts = collected.0.lock().expect("no thread panicked").remove(&capture_idx).unwrap_or_default();
            let views: Vec<ArrayView2<'_, f32>> = parts.iter().map(|part| part.view()).collect();
            let width = self.info.width(point).expect("the plan was checked");
            let of_site = if views.is_empty() { Ok(Array2::zeros((0, width))) } else { concatenate(Axis(0), &views) };
            sites.insert(point, of_site.expect("parts of a site have its width"));
        }
        Ok(Trace { sites, logits, ..Trace::default() })
    }

    fn run_into(
        &self,
        batch: &Batch,
        plan: &HookPlan,
        sink: &dyn CaptureSink,
    ) -> Result<Option<Array2<f32>>, ModelError> {
        self.check(batch, plan)?;
        let n_rows = match plan.output {
            Output::None => 0,
            Output::Last => batch.n_sentences(),
            Output::All => batch.n_tokens(),
        };
        let mut logits = Array2::zeros((n_rows, self.info.d_vocab));
        for sentence_idx in 0..batch.n_sentences() {
            let rows = batch.rows(sentence_idx);
            let hooks = Hooks { plan, sink, sentence_idx, first_row: rows.start, seen: RefCell::default() };
            let x = self.forward(batch.sentence(sentence_idx), &hooks)?;
            match plan.output {
                Output::None => {}
                Output::All => logits.slice_mut(s![rows, ..]).assign(&x),
                Output::Last if x.nrows() == 0 => {
                    return Err(ModelError::Engine { what: format!("sentence {sentence_idx} has no last token") });
                }
                Output::Last => logits.row_mut(sentence_idx).assign(&x.row(x.nrows() - 1)),
            }
        }
        Ok((plan.output != Output::None).then_some(logits))
    }

    /// By central differences: right to about 1e-4, as no value but a ReLU's input has a kink.
    fn gradients(
        &self,
        batch: &Batch,
        plan: &HookPlan,
        objectives: &[Objective],
        wrt: &[HookPoint],
    ) -> Result<Gradients, ModelError> {
        let mut found = Gradients { trace: self.run(batch, plan)?, ..Gradients::default() };
        for sentence_idx in 0..batch.n_sentences() {
            let objective = &objectives[if objectives.len() == 1 { 0 } else { sentence_idx }];
            let alone = Alone::new(self, batch, plan, sentence_idx, objective);
            found.values.push(alone.value(None)?);
            for &point in wrt {
                let width =
                    self.info.width(point).ok_or_else(|| ModelError::NoGradients { model: "toy".to_owned() })?;
                let gradient = found.sites.entry(point).or_insert_with(|| Array2::zeros((batch.n_tokens(), width)));
                let rows = batch.rows(sentence_idx);
                for (row, unit) in (0..rows.len()).flat_map(|row| (0..width).map(move |unit| (row, unit))) {
                    let [up, down] = [STEP, -STEP].map(|step| alone.value(Some((point, row, unit, step))));
                    gradient[[rows.start + row, unit]] = ((up? - down?) / (2.0 * f64::from(STEP))) as f32;
                }
            }
        }
        Ok(found)
    }
}

/// By how much values are moved to see what follows.
const STEP: f32 = 1.0 / 64.0;

/// One sentence of a batch and what is measured of it.
struct Alone<'a> {
    model: &'a ToyModel,
    sentence: Batch,
    plan: HookPlan,
    sentence_idx: usize,
    objective: &'a Objective,
}

impl<'a> Alone<'a> {
    fn new(model: &'a ToyModel, batch: &Batch, plan: &HookPlan, sentence_idx: usize, objective: &'a Objective) -> Self {
        let own = batch.rows(sentence_idx);
        let first = own.start;
        let edits = plan.edits.iter().map(|spec| {
            // Rows of the batch, and the rows of a patch that belong to them, become those of the sentence.
            let (rows, kept): (Vec<usize>, Vec<usize>) = match &spec.positions {
                Positions::Rows(rows) => {
                    let own = rows.iter().enumerate().filter(|(_, row)| own.contains(row));
                    own.map(|(patch_row, row)| (row - first, patch_row)).unzip()
                }
                _ => (Vec::new(), own.clone().collect()),
            };
            let mut spec = spec.clone();
            if let Edit::Patch { values } = &mut spec.edit {
                let n_rows = if let Positions::Rows(rows) = &spec.positions { rows.len() } else { batch.n_tokens() };
                let width = values.len() / n_rows.max(1);
                *values = kept.iter().flat_map(|row| values[row * width..][..width].to_vec()).collect();
            }
            if let Positions::Rows(of_batch) = &mut spec.positions {
                *of_batch = rows;
            }
            spec
        });
        let plan = HookPlan { capture: Vec::new(), edits: edits.collect(), output: Output::All };
        let sentence = Batch::from_sentences([batch.sentence(sentence_idx)]);
        Self { model, sentence, plan, sentence_idx, objective }
    }

    /// The objective, with a value moved: its point, its row, its unit, and by how much.
    fn value(&self, moved: Option<(HookPoint, usize, usize, f32)>) -> Result<f64, ModelError> {
        let mut plan = self.plan.clone();
        plan.edits.extend(moved.map(|(point, row, unit, step)| EditSpec {
            point,
            units: Units::Some(vec![unit as u32]),
            positions: Positions::Rows(vec![row]),
            edit: Edit::Add { values: vec![step] },
            when: None,
        }));
        self.measured(self.objective, &mut plan)
    }

    fn measured(&self, objective: &Objective, plan: &mut HookPlan) -> Result<f64, ModelError> {
        if let Objective::Sum { parts } = objective {
            let mut sum = 0.0;
            for part in parts {
                sum += part.weight * self.measured(&part.objective, plan)?;
            }
            return Ok(sum);
        }
        if let Objective::Neuron { neuron, position } = objective {
            plan.capture.push(neuron.point);
            let values = &self.model.run(&self.sentence, plan)?.sites[&neuron.point];
            let place = if *position < 0 { position + values.nrows() as i64 } else { *position };
            return Ok(f64::from(values[[place as usize, neuron.idx as usize]]));
        }
        let logits = self.model.run(&self.sentence, plan)?.logits.unwrap_or_default();
        self.of(objective, &logits)
    }

    fn of(&self, objective: &Objective, logits: &Array2<f32>) -> Result<f64, ModelError> {
        let row = |position: i64| {
            let place = if position < 0 { position + logits.nrows() as i64 } else { position };
            logits.row(place as usize).mapv(f64::from)
        };
        let refuse = |token: &u32| {
            let (expected, got) = (format!("below {}", logits.ncols()), token.to_string());
            Err(ModelError::Objective { sentence_idx: self.sentence_idx, what: "token", expected, got })
        };
        let tokens: &[u32] = match objective {
            Objective::Logit { token, .. } | Objective::LogProb { token, .. } => &[*token],
            Objective::Difference { target, foil, .. } => &[*target, *foil],
            _ => &[],
        };
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= logits.ncols()) {
            return refuse(token);
        }
        Ok(match objective {
            Objective::Logit { token, position } => row(*position)[*token as usize],
            Objective::LogProb { token, position } => {
                let row = row(*position);
                row[*token as usize] - row.mapv(f64::exp).sum().ln()
            }
            Objective::Difference { target, foil, position } => {
                row(*position)[*target as usize] - row(*position)[*foil as usize]
            }
            _ => return Err(ModelError::NoGradients { model: "toy".to_owned() }),
        })
    }
}

/// What a plan does at each site of one sentence.
struct Hooks<'a> {
    plan: &'a HookPlan,
    sink: &'a dyn CaptureSink,
    sentence_idx: usize,
    first_row: usize,
    /// The values of whole sites, for conditions.
    seen: RefCell<BTreeMap<HookPoint, Array2<f32>>>,
}

impl Hooks<'_> {
    /// Applies the plan's edits to the values of a site, `[n_tokens, width]`, then records them.
    fn at(&self, layer: usize, site: Site, x: &mut Array2<f32>) -> Result<(), ModelError> {
        let point = HookPoint::new(layer as u16, site);
        for spec in self.plan.edits.iter().filter(|spec| spec.point == point) {
            for (row, patch_row) in self.edited_rows(spec, x.nrows()) {
                if let Some(when) = &spec.when {
                    let (asked, unit) = (when.neuron.point, when.neuron.idx as usize);
                    let seen = self.seen.borrow();
                    let values = if asked == point { &*x } else { &seen[&asked] };
                    if !when.holds(values[[row, unit]]) {
                        continue;
                    }
                }
                let mut row = x.row_mut(row);
                let values = row.as_slice_mut().expect("rows of a fresh array are contiguous");
                spec.edit.apply(values, &spec.units, patch_row);
            }
        }
        if self.plan.edits.iter().any(|spec| spec.when.is_some_and(|when| when.neuron.point == point)) {
            self.seen.borrow_mut().insert(point, x.clone());
        }
        for (capture_idx, _) in self.plan.capture.iter().enumerate().filter(|(_, captured)| **captured == point) {
            self.sink.capture(capture_idx, self.sentence_idx, self.first_row, x.view())?;
        }
        Ok(())
    }

    /// Rows of the sentence that an edit changes, each with its row in the values of a patch.
    fn edited_rows(&self, spec: &EditSpec, n_tokens: usize) -> Vec<(usize, usize)> {
        match &spec.positions {
            Positions::All => (0..n_tokens).map(|row| (row, self.first_row + row)).collect(),
            Positions::From(place) => {
                let place = if *place < 0 { place + n_tokens as i64 } else { *place };
                (usize::try_from(place).unwrap_or(0)..n_tokens).map(|row| (row, 0)).collect()
            }
            Positions::Generated => Vec::new(),
            Positions::InSentence(places) => {
                let from_start = |&place: &i64| if place < 0 { place + n_tokens as i64 } else { place };
                let rows = places.iter().map(from_start).filter(|&place| (0..n_tokens as i64).contains(&place));
                rows.map(|row| (row as usize, 0)).collect()
            }
            Positions::Rows(rows) => {
                let own = self.first_row..self.first_row + n_tokens;
                let chosen = rows.iter().enumerate().filter(|(_, row)| own.contains(row));
                chosen.map(|(patch_row, row)| (row - self.first_row, patch_row)).collect()
            }
        }
    }
}

/// Captures by the place of their point in the plan; sentences come in order.
#[derive(Default)]
struct Collected(Mutex<BTreeMap<usize, Vec<Array2<f32>>>>);

impl CaptureSink for Collected {
    fn capture(
        &self,
        capture_idx: usize,
        _first_sentence: usize,
        _first_row: usize,
        values: ArrayView2<'_, f32>,
    ) -> Result<(), ModelError> {
        self.0.lock().expect("no thread panicked").entry(capture_idx).or_default().push(values.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
