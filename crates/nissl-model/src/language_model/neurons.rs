//! The weights of a loaded model, read from its checkpoint when they are asked for.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis};
use nissl_core::{HookPoint, Linear, ModelError, NeuronWeights, Norm, PlanError, Site, Stack, nearest};
use rayon::prelude::*;

use super::LanguageModel;
use crate::engine::Engine;
use crate::error::LoadError;
use crate::skeletons::Network;
use crate::weights::Units;

/// Rows of a residual stream that one thread takes to the logits at a time.
const LENS_ROWS: usize = 32;

impl NeuronWeights for LanguageModel {
    fn reads(&self, point: HookPoint, units: Range<usize>) -> Result<Linear, ModelError> {
        self.check_units(point, &units)?;
        answered(point, self.units().reads(point, units))
    }

    fn reads_state(&self, point: HookPoint, units: Range<usize>) -> Result<Linear, ModelError> {
        self.check_units(point, &units)?;
        answered(point, self.units().reads_state(point, units))
    }

    fn writes(&self, point: HookPoint, units: Range<usize>) -> Result<Linear, ModelError> {
        let width = self.check_units(point, &units)?;
        answered(point, self.units().writes(point, units, width))
    }

    fn embedding(&self, tokens: Range<usize>) -> Result<Array2<f32>, ModelError> {
        check_tokens(&tokens, self.info.d_vocab)?;
        if matches!(&self.network, Network::Transformer(network) if network.projection.is_some()) {
            let (width, d_model) = (self.embeddings.width(), self.info.d_model);
            let what =
                format!("embeddings are {width} wide, the residual stream {d_model}: a matrix stands between them");
            return Err(ModelError::NoWeights { point: HookPoint::new(0, Site::Embed), what });
        }
        Ok(self.embeddings.rows(&self.checkpoint, tokens))
    }

    fn unembedding(&self, tokens: Range<usize>) -> Result<Linear, ModelError> {
        self.check_head()?;
        check_tokens(&tokens, self.n_logits())?;
        self.units().unembedding(tokens).map_err(|err| failed(&err))
    }

    fn n_logits(&self) -> usize {
        if self.info.has_logits { self.architecture.n_logits() } else { 0 }
    }

    fn path(&self, from: Option<HookPoint>, to: Option<HookPoint>) -> Result<Option<Vec<Norm>>, ModelError> {
        for point in [from, to].into_iter().flatten() {
            self.width_of(point)?;
        }
        self.units().path(from, to).map_err(|err| failed(&err))
    }

    fn has_transform(&self) -> bool {
        self.units().has_transform()
    }

    fn logits(&self, point: HookPoint, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>, ModelError> {
        self.check_head()?;
        let (width, d_model) = (self.width_of(point)?, self.info.d_model);
        if width != d_model || point.stack() == Stack::Encoder || !is_stream(point.site()) {
            let what = "the head reads the residual stream: ask for resid_post, mlp_out or attn_out".to_owned();
            return Err(ModelError::NoWeights { point, what });
        }
        if rows.ncols() != d_model {
            let what = format!("expected rows of {d_model} values, got {}", rows.ncols());
            return Err(ModelError::NoWeights { point, what });
        }
        let head = self.head()?;
        let parts: Vec<_> = rows.axis_chunks_iter(Axis(0), LENS_ROWS).collect();
        let lens = |part: ArrayView2<'_, f32>| {
            let x = self.engine.embed(part.nrows(), d_model, &|row, values| {
                values.iter_mut().zip(part.row(row)).for_each(|(to, from)| *to = *from);
            });
            let x = if point.site() == Site::FinalNorm { Some(x) } else { self.network.finish(&self.engine, x) };
            let x = x.ok_or_else(|| ModelError::NoWeights {
                point,
                what: "the head reads an average over positions and layers, which no row of one layer is: there is no lens".to_owned(),
            })?;
            Ok(self.engine.read(&head.forward(&self.engine, &x, None)))
        };
        let parts: Vec<Array2<f32>> = parts.into_par_iter().map(lens).collect::<Result<_, ModelError>>()?;
        let views: Vec<ArrayView2<'_, f32>> = parts.iter().map(|part| part.view()).collect();
        if views.is_empty() {
            return Ok(Array2::zeros((0, self.n_logits())));
        }
        Ok(ndarray::concatenate(Axis(0), &views).expect("logits of one vocabulary"))
    }
}

impl LanguageModel {
    fn units(&self) -> Units<'_> {
        Units { checkpoint: &self.checkpoint, architecture: &self.architecture }
    }

    fn width_of(&self, point: HookPoint) -> Result<usize, ModelError> {
        let unknown = || PlanError::UnknownPoint {
            point,
            model: self.info.name.clone(),
            nearest: nearest(&point.to_string(), self.info.points().map(|(point, _)| point.to_string())),
        };
        Ok(self.info.width(point).ok_or_else(unknown)?)
    }

    /// Checks point and units; the width of the point.
    fn check_units(&self, point: HookPoint, units: &Range<usize>) -> Result<usize, ModelError> {
        let width = self.width_of(point)?;
        if units.start > units.end || units.end > width {
            let idx = u32::try_from(units.end.saturating_sub(1)).unwrap_or(u32::MAX);
            return Err(PlanError::UnitOutOfRange { point, idx, width }.into());
        }
        Ok(width)
    }

    fn check_head(&self) -> Result<(), ModelError> {
        if self.info.has_logits { Ok(()) } else { Err(ModelError::NoLogits { model: self.info.name.clone() }) }
    }
}

/// Whether a site holds the residual stream or what is added to it.
fn is_stream(site: Site) -> bool {
    matches!(
        site,
        Site::Embed
            | Site::ResidPre
            | Site::AttnOut
            | Site::MixerOut
            | Site::SsruH
            | Site::ResidMid
            | Site::CrossOut
            | Site::ResidMidCross
            | Site::MlpOut
            | Site::LstmH
            | Site::GruH
            | Site::ResidPost
            | Site::FinalNorm
    )
}

fn check_tokens(tokens: &Range<usize>, d_vocab: usize) -> Result<(), ModelError> {
    if tokens.start <= tokens.end && tokens.end <= d_vocab {
        return Ok(());
    }
    let token = u32::try_from(tokens.end.saturating_sub(1)).unwrap_or(u32::MAX);
    Err(ModelError::TokenOutOfRange { token, sentence_idx: 0, d_vocab })
}

fn answered(point: HookPoint, answer: Result<Result<Linear, String>, LoadError>) -> Result<Linear, ModelError> {
    match answer {
        Ok(Ok(weights)) => Ok(weights),
        Ok(Err(what)) => Err(ModelError::NoWeights { point, what }),
        Err(err) => Err(failed(&err)),
    }
}

fn failed(err: &LoadError) -> ModelError {
    ModelError::Engine { what: err.to_string() }
}
