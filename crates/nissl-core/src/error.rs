//! The errors of the core: what is wrong, where, what was expected and what was got.

use thiserror::Error;

use crate::site::HookPoint;

fn hint(nearest: Option<&String>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

fn left_out(dropped: &str) -> String {
    if dropped.is_empty() { String::new() } else { format!("; left out: {dropped}") }
}

/// A name that nobody bears.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no {kind} is called '{name}'{}", hint(.nearest.as_ref()))]
pub struct NameError {
    /// What kind of thing was looked for.
    pub kind: &'static str,
    /// The name that was given.
    pub name: String,
    /// The nearest valid name.
    pub nearest: Option<String>,
}

/// A hook plan that does not fit the model or the batch.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// The model has no such site, or not in that layer.
    #[error("{point}: {model} has no such hook point{}", hint(.nearest.as_ref()))]
    UnknownPoint {
        /// The point that was asked for.
        point: HookPoint,
        /// The model's name.
        model: String,
        /// The nearest point that it has.
        nearest: Option<String>,
    },
    /// A unit beyond the site's width.
    #[error("{point}[{idx}]: the site has {width} units, from 0 to {}", .width.saturating_sub(1))]
    UnitOutOfRange {
        /// The point.
        point: HookPoint,
        /// The unit asked for.
        idx: u32,
        /// The site's width.
        width: usize,
    },
    /// An edit whose values do not match the neurons or positions it edits.
    #[error("edit '{edit}' at {point}: expected {expected} values, got {got}")]
    ValueCount {
        /// The point.
        point: HookPoint,
        /// The kind of edit.
        edit: &'static str,
        /// How many values it needs.
        expected: usize,
        /// How many it has.
        got: usize,
    },
    /// An edit with a value that is not finite.
    #[error("edit '{edit}' at {point}: value {value} is not finite")]
    NotFinite {
        /// The point.
        point: HookPoint,
        /// The kind of edit.
        edit: &'static str,
        /// The offending value.
        value: String,
    },
    /// A patch at positions that name no rows, so that its values belong nowhere.
    #[error("edit 'patch' at {point}: positions in the sentence name no rows; expected all rows or rows of the batch")]
    PatchWithoutRows {
        /// The point.
        point: HookPoint,
    },
    /// A condition of an edit that cannot be told when the edit acts.
    #[error("edit at {point} if {neuron}: {why}")]
    Condition {
        /// The point of the edit.
        point: HookPoint,
        /// The neuron whose value is asked for.
        neuron: crate::NeuronId,
        /// What stands against it.
        why: &'static str,
    },
    /// A position that is in no sentence of the batch.
    #[error("edit at {point}: token row {row} is out of range, the batch has {n_tokens} tokens")]
    PositionOutOfRange {
        /// The point.
        point: HookPoint,
        /// The row asked for.
        row: usize,
        /// Tokens in the batch.
        n_tokens: usize,
    },
}

/// Why a model could not run.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The plan does not fit.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A token that is not in the vocabulary.
    #[error("token {token} in sentence {sentence_idx}: the vocabulary has {d_vocab} tokens")]
    TokenOutOfRange {
        /// The token.
        token: u32,
        /// The sentence it is in.
        sentence_idx: usize,
        /// Size of the vocabulary.
        d_vocab: usize,
    },
    /// A sentence longer than the model's context.
    #[error("sentence {sentence_idx} has {n_tokens} tokens, the model reads at most {n_ctx}")]
    TooLong {
        /// The sentence.
        sentence_idx: usize,
        /// Its length.
        n_tokens: usize,
        /// The model's context length.
        n_ctx: usize,
    },
    /// The plan asks for logits and the checkpoint has no head that gives them.
    #[error("{model} has no output head: logits cannot be computed")]
    NoLogits {
        /// The model's name.
        model: String,
    },
    /// Gradients are asked of a model that has none.
    #[error("{model} gives no gradients")]
    NoGradients {
        /// The model's name.
        model: String,
    },
    /// Gradients of the parameters are asked of a model some of whose weights are not used as its checkpoint holds them,
    /// or are read one by one.
    #[error("{model}: weights of {family} are not used as its checkpoints hold them: no training")]
    NotTrainable {
        /// The model's name.
        model: String,
        /// Its family.
        family: String,
    },
    /// An objective that does not fit the sentence or the model.
    #[error("objective of sentence {sentence_idx}: {what}: expected {expected}, got {got}")]
    Objective {
        /// The sentence.
        sentence_idx: usize,
        /// The field.
        what: &'static str,
        /// What fits.
        expected: String,
        /// What was asked for.
        got: String,
    },
    /// Another number of objectives than the batch has sentences.
    #[error("objectives: expected 1 or one for each of {expected} sentences, got {got}")]
    ObjectiveCount {
        /// The number of sentences.
        expected: usize,
        /// The number of objectives.
        got: usize,
    },
    /// Weights that a point has not, or that cannot be read as they are asked for.
    #[error("{point}: {what}")]
    NoWeights {
        /// The point.
        point: HookPoint,
        /// What is missing, and what to ask for instead.
        what: String,
    },
    /// A parameter of generation out of its range.
    #[error("generation: {name} = {value}: expected {expected}")]
    Generation {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// The model gives no next token.
    #[error("{model} cannot generate: {why}")]
    CannotGenerate {
        /// The model's name.
        model: String,
        /// What stands against it.
        why: String,
    },
    /// Something the engine reported.
    #[error("{what}")]
    Engine {
        /// What went wrong, with the layer or weight.
        what: String,
    },
}

/// Why activations could not be read.
#[derive(Debug, Error)]
pub enum ActivationsError {
    /// A block outside the matrix, or an output of another shape.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// What does not fit.
        what: &'static str,
        /// The shape that was expected.
        expected: String,
        /// The shape that was got.
        got: String,
    },
    /// A block that cannot be read.
    #[error("cannot read activations")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a method could not score.
#[derive(Debug, Error)]
pub enum MethodError {
    /// A parameter out of its range.
    #[error("{method}: parameter {name} = {value}: expected {expected}")]
    Parameter {
        /// The method.
        method: &'static str,
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// Two inputs whose sizes do not match.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// What does not fit.
        what: &'static str,
        /// The size that was expected.
        expected: usize,
        /// The size that was got.
        got: usize,
    },
    /// A concept with too few rows to say anything.
    #[error("concept '{concept}' has {got} rows, {method} needs at least {expected}")]
    TooFewRows {
        /// The method.
        method: &'static str,
        /// The concept.
        concept: String,
        /// How many rows are needed.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// Too few concepts are left.
    #[error("{method} needs at least {expected} concepts with enough rows, got {got}{}", left_out(.dropped))]
    TooFewConcepts {
        /// The method.
        method: &'static str,
        /// How many are needed.
        expected: usize,
        /// How many there are.
        got: usize,
        /// The concepts that were left out and why; empty if none was.
        dropped: String,
    },
    /// Labels of a form that the method cannot take.
    #[error("{method} needs one label a row; row {row} has {got}")]
    NotExclusive {
        /// The method.
        method: &'static str,
        /// The first row with several labels.
        row: usize,
        /// How many it has.
        got: usize,
    },
    /// A prompt that the method cannot take.
    #[error("prompt {prompt}: {why}")]
    Prompt {
        /// Its place among the prompts, from 0.
        prompt: usize,
        /// Why.
        why: String,
    },
    /// An activation that is not finite.
    #[error("{neuron} has the value {value} in row {row}: activations must be finite")]
    NotFinite {
        /// The neuron.
        neuron: crate::NeuronId,
        /// The row.
        row: usize,
        /// The value.
        value: f32,
    },
    /// An activation that the method cannot take.
    #[error("{method}: {neuron} has the value {value} in row {row}: expected {expected}")]
    OutOfRange {
        /// The method.
        method: &'static str,
        /// The neuron.
        neuron: crate::NeuronId,
        /// The row.
        row: usize,
        /// The value.
        value: f32,
        /// What is allowed.
        expected: &'static str,
    },
    /// A neuron that a probe reads and the activations lack.
    #[error("the activations have no {neuron}, which the probe reads")]
    MissingNeuron {
        /// The neuron.
        neuron: crate::NeuronId,
    },
    /// A score that is not finite: an error of the method.
    #[error("{method} gave a score that is not finite for {neuron} and concept '{concept}'")]
    ScoreNotFinite {
        /// The method.
        method: String,
        /// The neuron.
        neuron: crate::NeuronId,
        /// The concept.
        concept: String,
    },
    /// The user stopped it.
    #[error("cancelled")]
    Cancelled,
    /// The activations could not be read.
    #[error(transparent)]
    Activations(#[from] ActivationsError),
    /// The model could not run.
    #[error(transparent)]
    Model(#[from] ModelError),
}
