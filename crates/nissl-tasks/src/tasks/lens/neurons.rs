//! What a neuron's weights say.

use nissl_core::{Context, HookPoint, MethodError, Model, ModelError, ModelInfo, NeuronId, PlanError, Site, nearest};
use nissl_methods::lens::{Joint, Lens, TokenScore};
use nissl_model::LanguageModel;
use serde::{Deserialize, Serialize};

use super::tokens::Names;
use super::{Config, Partners};
use crate::error::TaskError;

/// A neuron's weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeuronReport {
    /// The neuron that was asked for.
    pub name: NeuronId,
    /// Where it writes to the residual stream; none if it does not do so by weights alone.
    pub writes: Option<NeuronId>,
    /// The tokens whose logits rise most with it, highest first.
    pub promoted: Vec<TokenWeight>,
    /// The tokens whose logits fall most with it, lowest first.
    pub suppressed: Vec<TokenWeight>,
    /// The neurons in whose inputs it weighs most.
    pub downstream: Vec<Connection>,
    /// What it reads, one entry a matrix.
    pub reads: Vec<ReaderReport>,
    /// What could not be computed, and why.
    pub notes: Vec<String>,
}

/// What a neuron reads by one matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReaderReport {
    /// The unit that the matrix makes.
    pub name: NeuronId,
    /// Its bias, where there is one.
    pub bias: Option<f32>,
    /// The tokens whose embeddings excite it most, highest first.
    pub excited_by: Vec<TokenWeight>,
    /// The tokens whose embeddings inhibit it most, lowest first.
    pub inhibited_by: Vec<TokenWeight>,
    /// The neurons that weigh most in it.
    pub upstream: Vec<Connection>,
}

/// A token and a weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenWeight {
    /// Its number.
    pub id: u32,
    /// What it spells.
    pub token: String,
    /// The weight.
    pub weight: f32,
}

/// Another neuron, and the weight between.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// The other neuron.
    pub name: NeuronId,
    /// What the one reads times what the other writes.
    pub weight: f32,
    /// Whether what is read is the state at the position before.
    pub recurrent: bool,
}

/// Reads a neuron's weights.
pub(super) fn read(
    config: &Config,
    neuron: NeuronId,
    model: &LanguageModel,
    lens: Lens<'_>,
    names: &Names<'_>,
    ctx: Context<'_>,
) -> Result<NeuronReport, TaskError> {
    let info = model.info();
    check(info, neuron)?;
    let sides = Sides::of(info, neuron);
    let (upstream, downstream) = partners(config.partners);
    let mut notes = Vec::new();
    let mut report = NeuronReport {
        name: neuron,
        writes: sides.writes,
        promoted: Vec::new(),
        suppressed: Vec::new(),
        downstream: Vec::new(),
        reads: Vec::new(),
        notes: Vec::new(),
    };
    if let Some(writes) = sides.writes {
        let promoted = lens.direction(writes).and_then(|of| lens.promoted(&of, writes.point, config.top, ctx));
        if let Some(scores) = known(promoted, "promoted and suppressed tokens", &mut notes)? {
            report.promoted = tokens(&scores.highest, |id| names.output(id));
            report.suppressed = tokens(&scores.lowest, |id| names.output(id));
        }
        report.downstream = connections(&lens.downstream(writes, downstream, config.top, ctx)?);
    } else {
        let site = neuron.point.site();
        let through = match site {
            Site::AttnQ | Site::AttnK | Site::AttnV => "an attention: ask for a unit of attn_z",
            _ => "a projection: ask for a unit of lstm_h",
        };
        notes.push(format!("{site} writes through {through}"));
    }
    for reads in sides.reads {
        let idx = reads.idx as usize;
        let bias = lens.weights().reads(reads.point, idx..idx + 1)?.bias.map(|bias| bias[0]);
        let mut reader = ReaderReport {
            name: reads,
            bias,
            excited_by: Vec::new(),
            inhibited_by: Vec::new(),
            upstream: connections(&lens.upstream(reads, upstream, config.top, ctx)?),
        };
        if let Some(scores) = known(lens.excited(reads, config.top, ctx), "tokens that excite it", &mut notes)? {
            reader.excited_by = tokens(&scores.highest, |id| names.token(id));
            reader.inhibited_by = tokens(&scores.lowest, |id| names.token(id));
        }
        report.reads.push(reader);
    }
    if report.reads.is_empty() {
        notes
            .push(format!("no single matrix makes a unit of {}: it has no tokens that excite it", neuron.point.site()));
    }
    notes.dedup();
    Ok(NeuronReport { notes, ..report })
}

/// What was computed; a note of why not, where the model has no such weights.
fn known<T>(result: Result<T, MethodError>, what: &str, notes: &mut Vec<String>) -> Result<Option<T>, TaskError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(MethodError::Model(err @ (ModelError::NoWeights { .. } | ModelError::NoLogits { .. }))) => {
            notes.push(format!("no {what}: {err}"));
            Ok(None)
        }
        Err(err) => Err(err.into()),
    }
}

fn check(info: &ModelInfo, neuron: NeuronId) -> Result<(), TaskError> {
    let NeuronId { point, idx } = neuron;
    match info.width(point) {
        Some(_) if point.site().is_ragged() => {
            let got = format!("{point}, which is computed from queries and keys");
            Err(TaskError::config("neurons", "a unit that has weights, such as attn_q, attn_k or attn_z", got))
        }
        Some(width) if (idx as usize) < width => Ok(()),
        Some(width) => Err(PlanError::UnitOutOfRange { point, idx, width }.into()),
        None => {
            let points = info.points().map(|(point, _)| point.to_string());
            let nearest = nearest(&point.to_string(), points);
            Err(PlanError::UnknownPoint { point, model: info.name.clone(), nearest }.into())
        }
    }
}

/// By which matrices a neuron reads, and where it writes.
struct Sides {
    reads: Vec<NeuronId>,
    writes: Option<NeuronId>,
}

impl Sides {
    /// An MLP neuron reads before its activation function and writes after it; the unit of a cell reads by four gates
    /// and writes by its state.
    fn of(info: &ModelInfo, neuron: NeuronId) -> Self {
        let layer = neuron.point.layer().unwrap_or(0);
        let width = info.width(neuron.point);
        // Of the same unit at another site, if that site has the same units.
        let at = |site| {
            let point = HookPoint::of(neuron.point.stack(), layer, site);
            (info.width(point).is_some() && info.width(point) == width).then(|| NeuronId::new(point, neuron.idx))
        };
        let all = |sites: &[Site]| sites.iter().filter_map(|&site| at(site)).collect();
        let gates = [Site::LstmI, Site::LstmF, Site::LstmG, Site::LstmO];
        let (reads, writes) = match neuron.point.site() {
            Site::AttnQ | Site::AttnK | Site::AttnV | Site::AttnPattern => (vec![neuron], None),
            Site::AttnZ => (vec![neuron], Some(neuron)),
            Site::MlpPost => (all(&[Site::MlpPre, Site::MlpPreLinear]), Some(neuron)),
            Site::MlpPre | Site::MlpPreLinear => (vec![neuron], at(Site::MlpPost)),
            Site::LstmI | Site::LstmF | Site::LstmG | Site::LstmO => (vec![neuron], at(Site::LstmH)),
            Site::LstmC => (all(&gates), at(Site::LstmH)),
            Site::LstmH => (all(&gates), Some(neuron)),
            _ => (Vec::new(), Some(neuron)),
        };
        Self { reads, writes }
    }
}

/// The sites that write, and those that read.
fn partners(partners: Partners) -> (&'static [Site], &'static [Site]) {
    const LSTM: [Site; 4] = [Site::LstmI, Site::LstmF, Site::LstmG, Site::LstmO];
    match partners {
        Partners::Mlp => {
            (&[Site::MlpPost, Site::LstmH], &[Site::MlpPre, Site::MlpPreLinear, LSTM[0], LSTM[1], LSTM[2], LSTM[3]])
        }
        Partners::Attn => (&[Site::AttnZ], &[Site::AttnQ, Site::AttnK, Site::AttnV]),
        Partners::All => (
            &[Site::AttnZ, Site::MlpPost, Site::LstmH],
            &[
                Site::AttnQ,
                Site::AttnK,
                Site::AttnV,
                Site::MlpPre,
                Site::MlpPreLinear,
                LSTM[0],
                LSTM[1],
                LSTM[2],
                LSTM[3],
            ],
        ),
    }
}

fn tokens(scores: &[TokenScore], name: impl Fn(u32) -> String) -> Vec<TokenWeight> {
    scores
        .iter()
        .map(|&TokenScore { token, score }| TokenWeight { id: token, token: name(token), weight: score })
        .collect()
}

fn connections(joints: &[Joint]) -> Vec<Connection> {
    let connection =
        |joint: &Joint| Connection { name: joint.neuron, weight: joint.weight, recurrent: joint.recurrent };
    joints.iter().map(connection).collect()
}
