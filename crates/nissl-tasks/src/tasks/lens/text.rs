//! What the layers predict at the tokens of a text.

use nissl_core::{Batch, Context, HookPlan, HookPoint, Model, ModelError};
use nissl_methods::lens::{Guess, Lens};
use nissl_model::LanguageModel;
use serde::{Deserialize, Serialize};

use super::Config;
use super::tokens::Names;
use crate::error::TaskError;
use crate::select::select;

/// The text, and what is predicted at its tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextReport {
    /// Its tokens, with those that the tokenizer puts around it.
    pub tokens: Vec<TokenReport>,
    /// Which token the `target` of a position is.
    pub target: TargetKind,
    /// One entry a hook point, in the order of the forward pass.
    pub layers: Vec<LayerReport>,
}

/// A token of the text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenReport {
    /// Its number in the vocabulary.
    pub id: u32,
    /// What it spells.
    pub token: String,
    /// Whether the tokenizer added it.
    pub special: bool,
}

/// Which token a position's target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// The one after it: the model predicts the next token.
    Next,
    /// Its own: the model fills in masked tokens.
    Own,
    /// None: the outputs are labels.
    None,
}

/// What one hook point predicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerReport {
    /// The hook point.
    pub name: HookPoint,
    /// One entry a position, in the order of the text.
    pub positions: Vec<PositionReport>,
}

/// What is predicted at a position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionReport {
    /// The position, from 0.
    pub position: usize,
    /// The tokens with the highest logits, highest first.
    pub top: Vec<Guessed>,
    /// The target, where the text has one.
    pub target: Option<Guessed>,
    /// Entropy of the prediction, in bits.
    pub entropy: f64,
}

/// A token as it is predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guessed {
    /// Its number in the vocabulary.
    pub id: u32,
    /// What it spells.
    pub token: String,
    /// Its logit.
    pub logit: f32,
    /// Its probability.
    pub probability: f64,
    /// How many tokens are predicted before it.
    pub rank: usize,
}

/// Runs the text and reads the chosen sites at the chosen positions.
pub(super) fn read(
    config: &Config,
    text: &str,
    model: &LanguageModel,
    lens: Lens<'_>,
    names: &Names<'_>,
    ctx: Context<'_>,
) -> Result<TextReport, TaskError> {
    let info = model.info();
    if !info.has_logits {
        return Err(ModelError::NoLogits { model: info.name.clone() }.into());
    }
    let tokenizer = model.tokenizer()?;
    let encoding = tokenizer.encode(text)?;
    if encoding.is_empty() {
        return Err(TaskError::config("text", "a text of at least one token", format!("{text:?}")));
    }
    let all: Vec<HookPoint> = info.points().map(|(point, _)| point).collect();
    let points = select(&info.name, &all, &config.sites)?;
    let positions = positions(&config.positions, encoding.len())?;
    let batch = Batch::from_sentences([&encoding.ids]);
    ctx.progress.stage("run the model", None, "layers");
    let trace = model.run(&batch, &HookPlan::capture(points.iter().copied()))?;

    let target = match (names.tokens_out, info.causal) {
        (false, _) => TargetKind::None,
        (true, true) => TargetKind::Next,
        (true, false) => TargetKind::Own,
    };
    let targets: Vec<Option<u32>> = positions
        .iter()
        .map(|&position| match target {
            TargetKind::Next => encoding.ids.get(position + 1).copied(),
            TargetKind::Own => Some(encoding.ids[position]),
            TargetKind::None => None,
        })
        .collect();
    ctx.progress.stage("read the layers", Some(points.len() as u64), "layers");
    let mut layers = Vec::with_capacity(points.len());
    for &point in &points {
        let rows = trace.sites[&point].select(ndarray::Axis(0), &positions);
        let predictions = lens.predictions(point, &rows.view(), &targets, config.top, ctx)?;
        let guessed = |guess: &Guess| Guessed {
            id: guess.token,
            token: names.output(guess.token),
            logit: guess.logit,
            probability: guess.probability,
            rank: guess.rank,
        };
        let positions = positions.iter().zip(&predictions).map(|(&position, prediction)| PositionReport {
            position,
            top: prediction.top.iter().map(guessed).collect(),
            target: prediction.target.as_ref().map(guessed),
            entropy: prediction.entropy,
        });
        layers.push(LayerReport { name: point, positions: positions.collect() });
        ctx.progress.step(layers.len() as u64);
    }
    let tokens = encoding.ids.iter().zip(&encoding.special);
    let tokens = tokens.map(|(&id, &special)| TokenReport { id, token: names.token(id), special }).collect();
    Ok(TextReport { tokens, target, layers })
}

/// The chosen positions in the order of the text, each once.
fn positions(chosen: &[i64], n_tokens: usize) -> Result<Vec<usize>, TaskError> {
    if chosen.is_empty() {
        return Ok((0..n_tokens).collect());
    }
    let place = |&position: &i64| {
        let place = if position < 0 { position + n_tokens as i64 } else { position };
        usize::try_from(place).ok().filter(|&place| place < n_tokens).ok_or_else(|| {
            let expected = format!("-{n_tokens} to {}: the text has {n_tokens} tokens", n_tokens - 1);
            TaskError::config("positions", expected, position.to_string())
        })
    };
    let mut places = chosen.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    places.sort_unstable();
    places.dedup();
    Ok(places)
}
