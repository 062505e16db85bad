//! A small transformer whose weights are written by hand, so that it is known which of its neurons hold which fact, and
//! which only look as if they did.
//!
//! A text is a filler, a relation and a subject; what follows the subjects of known facts is their object. The residual
//! stream has two places for every token, of which the second is the negative of the first, and two large constants: the
//! norms then divide by almost the same number whatever the text says, and their gain undoes it. The only attention sees all
//! positions alike. So nearly everything is linear between the ReLUs, and what each neuron does can be read off.

use std::ops::Range;

use ndarray::{Axis, concatenate};
use nissl_core::{
    Batch, Concept, HookPlan, HookPoint, Labels, Matrix, Model as _, NeuronId, Prompt, Site, TextRows, site_columns,
};
use nissl_methods::evaluation::sampling::in_random_order;
use nissl_model::LanguageModel;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::TaskError;

/// Fillers, which say nothing.
const FILLERS: Range<u32> = 0..8;
const RELATIONS: Range<u32> = 8..11;
/// Subjects of which nothing is known.
const UNKNOWN: Range<u32> = 11..17;
const SUBJECTS: Range<u32> = 17..25;
const OBJECTS: Range<u32> = 25..33;
const D_VOCAB: usize = 33;

/// Features that are no token: those that neurons of the first block leave for the second.
const HIDDEN: usize = 8;
const FEATURES: usize = D_VOCAB + HIDDEN;
const D_MODEL: usize = 2 * FEATURES + 2;

/// Neurons a block.
pub(crate) const D_MLP: usize = 64;

/// The constants in the residual stream.
const CONSTANT: f32 = 64.0;

/// By how much a fact raises the logit of its object.
const GAMMA: f32 = 8.0;

/// Tokens of a text.
const LENGTH: usize = 3;

/// How a fact is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mechanism {
    /// By one neuron, which is active where relation and subject are there.
    Single,
    /// By two such neurons, half each.
    Halves,
    /// By two such neurons either of which suffices, as two more of the next block see to.
    Backup,
    /// By a neuron of the subject, and one of the next block that reads it and the relation.
    Chain,
}

impl Mechanism {
    /// Every mechanism.
    pub const ALL: [Self; 4] = [Self::Single, Self::Halves, Self::Backup, Self::Chain];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Halves => "halves",
            Self::Backup => "backup",
            Self::Chain => "chain",
        }
    }
}

/// After `relation` and `subject` comes `object`.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) mechanism: Mechanism,
    relation: u32,
    subject: u32,
    pub(crate) object: u32,
    /// The neurons that hold it, ascending.
    pub(crate) carriers: Vec<NeuronId>,
    /// Neurons that are active just where it is true, and that nothing reads.
    pub(crate) copies: Vec<NeuronId>,
}

/// A neuron: what it reads and writes, features with weights.
#[derive(Clone, Debug, Default)]
struct Unit {
    key: Vec<(usize, f32)>,
    bias: f32,
    value: Vec<(usize, f32)>,
}

/// The model and what is known of it.
pub(crate) struct Compiled {
    pub(crate) model: LanguageModel,
    pub(crate) facts: Vec<Fact>,
}

/// What rankers see of it: the neurons at the last token of every text, and the fact that is true there.
pub(crate) struct Seen {
    /// `[n_texts, 2 * D_MLP]`.
    pub(crate) x: Matrix,
    pub(crate) text: TextRows,
    /// A concept a fact, and the rest.
    pub(crate) labels: Labels,
}

impl Fact {
    /// What the fact in a place is called in labels and prompts.
    pub(crate) fn concept(idx: usize) -> String {
        format!("fact {}", idx + 1)
    }
}

impl Unit {
    /// Active where both tokens are there: the subject, which is the last and so is there twice, and the relation.
    fn both(fact: (u32, u32), value: Vec<(usize, f32)>) -> Self {
        let (relation, subject) = fact;
        Self { key: vec![(relation as usize, 1.0), (subject as usize, 0.5)], bias: -1.0, value }
    }

    /// The same, so many times as active, for nobody.
    fn unused(fact: (u32, u32), times: f32) -> Self {
        let Self { key, bias, .. } = Self::both(fact, Vec::new());
        let key = key.into_iter().map(|(feature, weight)| (feature, times * weight)).collect();
        Self { key, bias: times * bias, value: Vec::new() }
    }
}

/// The neurons of a model in the making.
struct Blocks {
    /// `[n_layers][D_MLP]`.
    units: [Vec<Unit>; 2],
    /// Places that are free, in an order that is drawn.
    free: [Vec<u32>; 2],
}

impl Blocks {
    fn put(&mut self, layer: usize, unit: Unit) -> NeuronId {
        let idx = self.free[layer].pop().expect("blocks have room for all facts");
        self.units[layer][idx as usize] = unit;
        NeuronId::new(HookPoint::new(layer as u16, Site::MlpPost), idx)
    }

    /// The neurons that hold a fact.
    fn hold(&mut self, mechanism: Mechanism, fact: (u32, u32), object: u32, hidden: usize) -> Vec<NeuronId> {
        let writes = |feature: usize, weight: f32| vec![(feature, weight)];
        let (out, subject, relation) = (object as usize, fact.1 as usize, fact.0 as usize);
        match mechanism {
            Mechanism::Single => vec![self.put(0, Unit::both(fact, writes(out, GAMMA)))],
            Mechanism::Halves => [(); 2].map(|()| self.put(0, Unit::both(fact, writes(out, GAMMA / 2.0)))).to_vec(),
            Mechanism::Backup => {
                // What is read is 0, 1 or 2, and what is written 0 or what one of them alone would write.
                let read = |bias, weight| Unit { key: writes(hidden, 1.0), bias, value: writes(out, weight) };
                let first = [(); 2].map(|()| self.put(0, Unit::both(fact, writes(hidden, 1.0))));
                let second = [self.put(1, read(0.0, GAMMA)), self.put(1, read(-1.0, -GAMMA))];
                [first, second].concat()
            }
            Mechanism::Chain => {
                let key = vec![(hidden, 1.0), (relation, 1.0)];
                let first = Unit { key: writes(subject, 0.5), bias: 0.0, value: writes(hidden, 1.0) };
                vec![self.put(0, first), self.put(1, Unit { key, bias: -1.0, value: writes(out, GAMMA) })]
            }
        }
    }
}

impl Compiled {
    /// Two facts of every mechanism; which tokens, which neurons, and what the other neurons do, is drawn.
    ///
    /// # Errors
    /// If the model is not one that can be loaded.
    pub(crate) fn new(seed: u64) -> Result<Self, TaskError> {
        let mut salt = 0;
        let mut drawn = |tokens: Range<u32>| {
            salt += 1;
            in_random_order(tokens.collect::<Vec<u32>>(), seed.wrapping_mul(1000) + salt)
        };
        let (subjects, objects, relations) = (drawn(SUBJECTS), drawn(OBJECTS), drawn(RELATIONS));
        let free = [(); 2].map(|()| drawn(0..D_MLP as u32));
        let mut blocks = Blocks { units: [(); 2].map(|()| vec![Unit::default(); D_MLP]), free };
        let mut facts = Vec::new();
        for (idx, (&subject, &object)) in subjects.iter().zip(&objects).enumerate() {
            let mechanism = Mechanism::ALL[idx % Mechanism::ALL.len()];
            let relation = relations[idx % relations.len()];
            let carriers = blocks.hold(mechanism, (relation, subject), object, D_VOCAB + idx);
            let copies = [1.0, 3.0].map(|times| blocks.put(0, Unit::unused((relation, subject), times))).to_vec();
            facts.push(Fact { mechanism, relation, subject, object, carriers, copies });
        }
        // A neuron of every relation raises all objects a little.
        for relation in RELATIONS {
            let value = OBJECTS.map(|object| (object as usize, 0.5)).collect();
            blocks.put(0, Unit { key: vec![(relation as usize, 1.0)], bias: 0.0, value });
        }
        // Others fire on tokens that are drawn and write to fillers; the rest does nothing.
        for layer in 0..2 {
            while blocks.free[layer].len() > D_MLP / 8 {
                let (reads, writes) = (drawn(0..D_VOCAB as u32), drawn(FILLERS));
                let key = reads.iter().zip([1.0, 0.5, -0.5]).map(|(&token, weight)| (token as usize, weight)).collect();
                blocks.put(layer, Unit { key, bias: 0.0, value: vec![(writes[0] as usize, 0.1)] });
            }
        }
        Ok(Self { model: compile(&blocks.units)?, facts })
    }

    /// Prompts of every fact, with the fillers one after another: a subject of which nothing is known is in the other
    /// text, another fact's object is the foil.
    pub(crate) fn prompts(&self, n: usize) -> Vec<Prompt> {
        let fillers = || FILLERS.cycle().take(n);
        let of = |(idx, fact): (usize, &Fact)| {
            let Fact { relation, subject, object, .. } = *fact;
            let foil = self.facts[(idx + 1) % self.facts.len()].object;
            let one = move |(filler, unknown): (u32, u32)| Prompt {
                tokens: vec![filler, relation, subject],
                target: object,
                foil: Some(foil),
                other: Some(vec![filler, relation, unknown]),
                concept: Fact::concept(idx),
                ..Prompt::default()
            };
            fillers().zip(UNKNOWN.cycle()).map(one).collect::<Vec<Prompt>>()
        };
        self.facts.iter().enumerate().flat_map(of).collect()
    }

    /// Every text of a filler, a relation and a subject, as a ranker sees it.
    ///
    /// # Errors
    /// If the model cannot run.
    pub(crate) fn seen(&self) -> Result<Seen, TaskError> {
        let mut texts = Vec::new();
        for filler in FILLERS {
            for relation in RELATIONS {
                texts.extend(UNKNOWN.chain(SUBJECTS).map(|subject| [filler, relation, subject]));
            }
        }
        let points = [0, 1].map(|layer| HookPoint::new(layer, Site::MlpPost));
        let batch = Batch::from_sentences(&texts);
        let trace = self.model.run(&batch, &HookPlan::capture(points)).map_err(nissl_core::MethodError::from)?;
        let last: Vec<usize> = (0..texts.len()).map(|text| LENGTH * text + LENGTH - 1).collect();
        let of_layers = points.map(|point| trace.sites[&point].select(Axis(0), &last));
        let values =
            concatenate(Axis(1), &of_layers.each_ref().map(|values| values.view())).expect("a row a text in both");
        let x =
            Matrix::new(values, site_columns(&points.map(|point| (point, D_MLP)))).expect("finite, a column a neuron");
        let words = texts.iter().enumerate().map(|(text, tokens)| (text as u32, format!("{tokens:?}")));
        let mut names: Vec<Concept> = (0..self.facts.len()).map(|fact| Concept::new(Fact::concept(fact))).collect();
        names.push(Concept::new("rest"));
        let told = |[_, relation, subject]: &[u32; LENGTH]| {
            let is = |fact: &Fact| (fact.relation, fact.subject) == (*relation, *subject);
            Some(self.facts.iter().position(is).unwrap_or(self.facts.len()) as u32)
        };
        let labels = Labels::single(names, texts.iter().map(told));
        Ok(Seen { x, text: TextRows::from_words(words), labels })
    }
}

/// Features as places in the residual stream: one with the weight, and one with its negative.
fn write(row: &mut [f32], features: &[(usize, f32)]) {
    for &(feature, weight) in features {
        row[feature] += weight;
        row[FEATURES + feature] -= weight;
    }
}

/// The checkpoint of these neurons, a GPT-2 with ReLUs and one head, loaded.
fn compile(blocks: &[Vec<Unit>; 2]) -> Result<LanguageModel, TaskError> {
    let d = D_MODEL;
    let zeros = |n: usize| vec![0.0f32; n];
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    let mut add =
        |name: &str, shape: &[usize], values: Vec<f32>| tensors.push((name.to_owned(), shape.to_vec(), values));
    // Tokens write both places and are read from both, so that a logit is twice a feature.
    let mut tokens = zeros(D_VOCAB * d);
    for (token, row) in tokens.chunks_exact_mut(d).enumerate() {
        write(row, &[(token, 1.0)]);
    }
    let mut positions = zeros(LENGTH * d);
    for row in positions.chunks_exact_mut(d) {
        row[d - 2..].copy_from_slice(&[CONSTANT, -CONSTANT]);
    }
    add("wte.weight", &[D_VOCAB, d], tokens);
    add("wpe.weight", &[LENGTH, d], positions);
    // The deviation of a row but for its features.
    let gain = CONSTANT * (2.0 / d as f32).sqrt();
    let mut norm = |name: &str| {
        add(&format!("{name}.weight"), &[d], vec![gain; d]);
        add(&format!("{name}.bias"), &[d], zeros(d));
    };
    ["h.0.ln_1", "h.0.ln_2", "h.1.ln_1", "h.1.ln_2", "ln_f"].into_iter().for_each(&mut norm);
    for (layer, units) in blocks.iter().enumerate() {
        // Queries and keys of 0 see all positions alike. Values are the features; of the first block their sum over the
        // text is added, of the second nothing.
        let mut values = zeros(d * 3 * d);
        (0..2 * FEATURES).for_each(|place| values[place * 3 * d + 2 * d + place] = 1.0);
        let mut out = zeros(d * d);
        if layer == 0 {
            (0..2 * FEATURES).for_each(|place| out[place * d + place] = LENGTH as f32);
        }
        let (mut keys, mut written) = (zeros(d * D_MLP), zeros(D_MLP * d));
        for (idx, unit) in units.iter().enumerate() {
            unit.key.iter().for_each(|&(feature, weight)| keys[feature * D_MLP + idx] = weight);
            write(
                &mut written[idx * d..(idx + 1) * d],
                &unit.value.iter().map(|&(f, w)| (f, w / factor(f))).collect::<Vec<_>>(),
            );
        }
        let biases = units.iter().map(|unit| unit.bias).collect();
        for (name, shape, values) in [
            ("attn.c_attn.weight", vec![d, 3 * d], values),
            ("attn.c_attn.bias", vec![3 * d], zeros(3 * d)),
            ("attn.c_proj.weight", vec![d, d], out),
            ("attn.c_proj.bias", vec![d], zeros(d)),
            ("mlp.c_fc.weight", vec![d, D_MLP], keys),
            ("mlp.c_fc.bias", vec![D_MLP], biases),
            ("mlp.c_proj.weight", vec![D_MLP, d], written),
            ("mlp.c_proj.bias", vec![d], zeros(d)),
        ] {
            add(&format!("h.{layer}.{name}"), &shape, values);
        }
    }
    let config = json!({
        "model_type": "gpt2",
        "n_layer": blocks.len(), "n_embd": d, "n_head": 1, "n_inner": D_MLP, "n_positions": LENGTH,
        "vocab_size": D_VOCAB, "activation_function": "relu", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": true,
    });
    Ok(LanguageModel::from_tensors(&config, tensors, "compiled")?)
}

/// By what a neuron's weight is divided: tokens are read twice by the head, hidden features once by neurons.
fn factor(feature: usize) -> f32 {
    if feature < D_VOCAB { 2.0 } else { 1.0 }
}

#[cfg(test)]
mod tests;
