//! The weights of a transformer's units.

use std::borrow::Cow;
use std::ops::Range;

use ndarray::{Array1, Axis};
use nissl_core::{HookPoint, Linear, Norm, Site};

use super::{Names, head_norm};
use crate::arch::{Cross, Matrix, Skeleton, Spec, Ssru};
use crate::checkpoint::{Checkpoint, Weight};
use crate::engine::{LinearPart, NormKind};
use crate::error::LoadError;
use crate::weights::neurons::{Answer, unit_vectors};
use crate::weights::stored::Stored;

/// What units read of the residual stream.
pub(in crate::weights) fn reads(
    checkpoint: &Checkpoint,
    spec: &Spec,
    point: HookPoint,
    units: Range<usize>,
) -> Answer<Linear> {
    let layer = spec.stored_layer(usize::from(point.layer().unwrap_or(0)));
    let (q, kv) = (spec.n_heads * spec.d_head, spec.n_kv_heads * spec.d_head);
    let matrix = |part: Matrix, n_out| stored(checkpoint, spec, part, layer, [n_out, spec.d_model]);
    let attention = |idx: usize, before: usize, n_out: usize| -> Result<Stored<'_>, LoadError> {
        match spec.qkv.get(idx) {
            Some(part) if spec.qkv.len() == 3 => matrix(*part, n_out),
            _ => Ok(Stored { first: before, order: &spec.qkv_rows, ..matrix(spec.qkv[0], q + 2 * kv)? }),
        }
    };
    if spec.experts.is_some() && point.site() >= Site::MlpRouter {
        return Ok(Err("weights of experts are not told apart by unit yet; attn_v has rows".to_owned()));
    }
    let cross = |part: fn(&Cross) -> Matrix, n_out| {
        // The point is one of the model, which then has it.
        matrix(spec.cross.as_ref().map_or(Matrix::linear("", false), part), n_out)
    };
    let gate =
        |part: fn(&Ssru) -> Matrix| matrix(spec.ssru.as_ref().map_or(Matrix::linear("", false), part), spec.d_model);
    let inner = || matrix(spec.mlp_in, if spec.mlp_joint { 2 * spec.d_mlp } else { spec.d_mlp });
    Ok(Ok(match point.site() {
        Site::AttnQ => attention(0, 0, q)?.outputs(units),
        Site::AttnK => attention(1, q, kv)?.outputs(units),
        Site::AttnV => attention(2, q + kv, kv)?.outputs(units),
        Site::AttnZ => averaged(spec, &attention(2, q + kv, kv)?, units),
        Site::SsruF => gate(|ssru| ssru.forget)?.outputs(units),
        Site::SsruG => gate(|ssru| ssru.candidate)?.outputs(units),
        Site::MlpPre | Site::MlpPost => inner()?.outputs(units),
        Site::CrossQ => cross(|cross| cross.q, q)?.outputs(units),
        Site::CrossK => cross(|cross| cross.k, kv)?.outputs(units),
        Site::CrossV => cross(|cross| cross.v, kv)?.outputs(units),
        Site::CrossZ => averaged(spec, &cross(|cross| cross.v, kv)?, units),
        Site::MlpPreLinear => match spec.mlp_linear {
            None if spec.mlp_joint => Stored { first: spec.d_mlp, ..inner()? }.outputs(units),
            Some(linear) => matrix(linear, spec.d_mlp)?.outputs(units),
            None => return Ok(Err("this MLP has no linear branch".to_owned())),
        },
        site => return Ok(Err(format!("no row of a matrix makes a unit of {site}; mlp_post and attn_v have one"))),
    }))
}

/// The rows of the values that heads average: several heads may share them.
fn averaged(spec: &Spec, values: &Stored<'_>, units: Range<usize>) -> Linear {
    let group = spec.n_heads / spec.n_kv_heads;
    let rows: Vec<Linear> = units
        .map(|unit| {
            let row = unit / spec.d_head / group * spec.d_head + unit % spec.d_head;
            values.outputs(row..row + 1)
        })
        .collect();
    let weights: Vec<_> = rows.iter().map(|row| row.weights.view()).collect();
    let bias: Option<Array1<f32>> = rows.iter().map(|row| row.bias.as_ref().map(|bias| bias[0])).collect();
    let weights = ndarray::concatenate(Axis(0), &weights);
    Linear { weights: weights.unwrap_or_else(|_| ndarray::Array2::zeros((0, spec.d_model))), bias }
}

/// What units add to the residual stream.
pub(in crate::weights) fn writes(
    checkpoint: &Checkpoint,
    spec: &Spec,
    point: HookPoint,
    units: Range<usize>,
) -> Answer<Linear> {
    let layer = spec.stored_layer(usize::from(point.layer().unwrap_or(0)));
    Ok(Ok(match point.site() {
        Site::AttnZ => {
            if spec.attn_out_norm.is_some() {
                return Ok(Err("what it writes passes a norm of its own: ask for attn_out".to_owned()));
            }
            let n_in = spec.n_heads * spec.d_head;
            stored(checkpoint, spec, spec.attn_out, layer, [spec.d_model, n_in])?.inputs(units)
        }
        Site::CrossZ => {
            let n_in = spec.n_heads * spec.d_head;
            // The point is one of the model, which then has it.
            let out = spec.cross.map_or(Matrix::linear("", false), |cross| cross.out);
            stored(checkpoint, spec, out, layer, [spec.d_model, n_in])?.inputs(units)
        }
        Site::MlpPost if spec.experts.is_some() => {
            return Ok(Err("weights of experts are not told apart by unit yet: ask for mlp_out".to_owned()));
        }
        Site::MlpPost if spec.mlp_out_norm.is_some() => {
            return Ok(Err("what it writes passes a norm of its own: ask for mlp_out".to_owned()));
        }
        Site::MlpPost => stored(checkpoint, spec, spec.mlp_out, layer, [spec.d_model, spec.d_mlp])?.inputs(units),
        Site::Embed
        | Site::ResidPre
        | Site::AttnOut
        | Site::SsruH
        | Site::ResidMid
        | Site::CrossOut
        | Site::ResidMidCross
        | Site::MlpOut
        | Site::ResidPost
        | Site::FinalNorm => unit_vectors(units, spec.d_model),
        Site::MlpPre | Site::MlpPreLinear => {
            return Ok(Err("it writes through its activation function: ask for mlp_post".to_owned()));
        }
        Site::SsruF | Site::SsruG | Site::SsruC => {
            return Ok(Err("it writes through the state: ask for ssru_h".to_owned()));
        }
        _ => return Ok(Err("it writes through the attention: ask for attn_z".to_owned())),
    }))
}

/// Rows of the unembedding.
pub(in crate::weights) fn unembedding(
    checkpoint: &Checkpoint,
    spec: &Spec,
    tokens: Range<usize>,
) -> Result<Linear, LoadError> {
    let readout = spec.readout.as_ref().ok_or_else(|| LoadError::MissingWeight {
        path: checkpoint.path().to_owned(),
        name: spec.head.decoder.to_owned(),
        nearest: None,
    })?;
    let LinearPart { weight, bias, .. } = readout.matrix(checkpoint)?;
    let bias = bias.map(|bias| Array1::from(bias.values[tokens.clone()].to_vec()));
    let rows = Stored { weight, transposed: false, first: 0, order: &[], bias: None }.outputs(tokens);
    Ok(Linear { weights: rows.weights, bias })
}

/// The norms between two points of the residual stream.
pub(in crate::weights) fn path(
    checkpoint: &Checkpoint,
    spec: &Spec,
    from: Option<HookPoint>,
    to: Option<HookPoint>,
) -> Result<Option<Vec<Norm>>, LoadError> {
    let reader = to.map(|to| reader(to).ok_or(())).transpose();
    let Ok(reader) = reader else { return Ok(None) };
    if reader.is_some_and(|reader| from.is_some_and(|from| from >= reader || spec.parallel && is_beside(from, reader)))
    {
        return Ok(None);
    }
    if from.is_none() && spec.embedding_projection.is_some() {
        return Ok(None); // a matrix stands between the embeddings and the residual stream
    }
    let mut passed: Vec<(&str, HookPoint)> = Vec::new();
    if let Some(name) = spec.embedding_norm {
        passed.push((name, HookPoint::of(spec.stack, 0, Site::Embed)));
    }
    let layers = 0..spec.n_layers as u16;
    match spec.skeleton {
        Skeleton::Encoder | Skeleton::PostNormDecoder => passed.extend(layers.flat_map(|layer| {
            let at = |site| HookPoint::of(spec.stack, layer, site);
            let over_source = spec.cross.map(|cross| cross.norm);
            let norms = [
                (spec.attn_norm, at(Site::ResidMid)),
                (over_source, at(Site::ResidMidCross)),
                (spec.mlp_norm, at(Site::ResidPost)),
            ];
            norms.into_iter().filter_map(|(name, point)| Some((name?, point)))
        })),
        // Nothing but the norm before the reader is on the way.
        Skeleton::PreNormEncoder | Skeleton::Decoder => passed.extend(match reader {
            None => spec.final_norm.map(|name| (name, HookPoint::of(spec.stack, 0, Site::FinalNorm))),
            Some(reader) if reader.site() == Site::MlpPre => {
                spec.mlp_norm.or(spec.attn_norm.filter(|_| spec.parallel)).map(|name| (name, reader))
            }
            Some(reader) if reader.site() == Site::CrossQ => spec.cross.map(|cross| (cross.norm, reader)),
            Some(reader) if reader.layer() == Some(0) && !spec.first_attn_norm => None,
            Some(reader) => spec.attn_norm.map(|name| (name, reader)),
        }),
    }
    passed.retain(|(_, point)| from.is_none_or(|from| from < *point) && reader.is_none_or(|reader| *point <= reader));
    let names = Names::find(checkpoint, spec)?;
    passed
        .into_iter()
        .map(|(name, point)| norm(checkpoint, spec, &names, name, point))
        .collect::<Result<_, _>>()
        .map(Some)
}

/// Whether a point of a parallel block is on another of its branches, so that nothing leads from it to the reader.
fn is_beside(from: HookPoint, reader: HookPoint) -> bool {
    from.layer() == reader.layer() && from.site().in_block() && from.site() != Site::ResidPre
}

/// The site whose matrix reads for a unit of a point; none if none reads.
fn reader(point: HookPoint) -> Option<HookPoint> {
    let at = |site| point.layer().map(|layer| HookPoint::of(point.stack(), layer, site));
    match point.site() {
        Site::AttnQ | Site::AttnK | Site::AttnV | Site::AttnZ => at(Site::AttnQ),
        Site::SsruF | Site::SsruG => at(Site::SsruF),
        Site::MlpPre | Site::MlpPreLinear | Site::MlpPost => at(Site::MlpPre),
        Site::CrossQ => at(Site::CrossQ),
        _ => None,
    }
}

fn norm(checkpoint: &Checkpoint, spec: &Spec, names: &Names, name: &str, point: HookPoint) -> Result<Norm, LoadError> {
    let layer = spec.stored_layer(usize::from(point.layer().unwrap_or(0)));
    let width = if point.site() == Site::Embed { spec.d_embed() } else { spec.d_model };
    let (gain, bias) = head_norm(checkpoint, &names.full(name, layer), width)?;
    let (centers, eps) = match spec.norm {
        NormKind::Layer { eps } => (true, eps),
        NormKind::Rms { eps } => (false, eps),
    };
    let gain = gain.values.into_iter().map(|gain| gain + spec.gain_shift).collect();
    Ok(Norm { point, gain, bias: bias.map(|bias| bias.values.into()), centers, eps })
}

fn stored<'a>(
    checkpoint: &'a Checkpoint,
    spec: &Spec,
    part: Matrix,
    layer: usize,
    [n_out, n_in]: [usize; 2],
) -> Result<Stored<'a>, LoadError> {
    let stem = Names::find(checkpoint, spec)?.full(part.name, layer);
    let shape = if part.transposed { [Some(n_in), Some(n_out)] } else { [Some(n_out), Some(n_in)] };
    let weight = Weight::new(checkpoint.tensor(&format!("{stem}.weight"))?, &shape)?;
    let bias = part.bias.then(|| checkpoint.f32(&format!("{stem}.bias"), &[n_out])).transpose()?;
    Ok(Stored { weight, transposed: part.transposed, first: 0, order: &[], bias: bias.map(Cow::into_owned) })
}
