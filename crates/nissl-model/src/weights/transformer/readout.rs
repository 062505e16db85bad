//! Which head a checkpoint has, and its layout.

use super::{Names, head_norm};
use crate::arch::{AnswersAt, Classifier, Dense, HeadKind, Readout, Spec};
use crate::blocks::head::Head;
use crate::checkpoint::{Checkpoint, Weight};
use crate::engine::{LinearPart, Packing, Vector};
use crate::error::LoadError;

/// Finds the head, whose names and shapes are then checked; none if the checkpoint has none.
///
/// The one that is `asked` for, or else the kind that the config names, or else a language model with weights of its
/// own, a classifier, a language model of the token embeddings.
///
/// # Errors
/// If the head that is asked for is not there, or if its shapes do not fit.
pub(crate) fn readout(
    checkpoint: &Checkpoint,
    spec: &Spec,
    named: Option<HeadKind>,
    asked: Option<HeadKind>,
) -> Result<Option<Readout>, LoadError> {
    let names = Names::prefix(checkpoint, spec);
    let mut found = Vec::new();
    let own = spec.head.transform.is_some() || checkpoint.contains(spec.head.decoder);
    let language = names.language_model(checkpoint, spec)?;
    let (first, last) = if own { (language, None) } else { (None, language) };
    found.extend(first);
    for classifier in &spec.classifiers {
        found.extend(names.classifier(checkpoint, spec, classifier)?);
    }
    found.extend(last);
    let of_kind = |kind: HeadKind| found.iter().position(|readout| readout.kind == kind);
    let at = match (asked, named.and_then(of_kind)) {
        (Some(asked), _) => of_kind(asked).ok_or_else(|| LoadError::NoHead {
            path: checkpoint.path().to_owned(),
            asked: asked.name(),
            known: found.iter().map(|readout| readout.kind.name()).collect::<Vec<_>>().join(", "),
        })?,
        (None, Some(named)) => named,
        (None, None) => 0,
    };
    Ok((at < found.len()).then(|| found.swap_remove(at)))
}

impl Names {
    /// A name of a head's weight: heads have no prefix, but for what belongs to the model itself.
    fn of_head(&self, checkpoint: &Checkpoint, name: &str) -> String {
        let prefixed = format!("{}{name}", self.prefix);
        if checkpoint.contains(&format!("{prefixed}.weight")) { prefixed } else { name.to_owned() }
    }

    fn language_model(&self, checkpoint: &Checkpoint, spec: &Spec) -> Result<Option<Readout>, LoadError> {
        let dense = spec.head.transform.map(|(dense, _)| Dense {
            name: self.of_head(checkpoint, dense.name),
            bias: dense.bias,
            activation: spec.head_activation.unwrap_or(spec.activation),
        });
        if dense.as_ref().is_some_and(|dense| !checkpoint.contains(&format!("{}.weight", dense.name))) {
            return Ok(None);
        }
        let tokens = format!("{}{}", self.prefix, spec.token_embedding);
        let weight = if checkpoint.contains(spec.head.decoder) {
            spec.head.decoder.to_owned()
        } else if spec.head.tied && checkpoint.contains(&tokens) {
            tokens
        } else {
            return Ok(None);
        };
        let kind = if spec.is_causal() { HeadKind::CausalLm } else { HeadKind::MaskedLm };
        let readout = Readout {
            kind,
            norm: spec.head.transform.map(|(_, norm)| norm.to_owned()),
            n_in: width(checkpoint, spec, dense.as_ref())?,
            dense,
            weight,
            bias: checkpoint.contains(spec.head.bias).then(|| spec.head.bias.to_owned()),
            n_logits: spec.d_vocab,
        };
        readout.check(checkpoint, spec)?;
        Ok(Some(readout))
    }

    fn classifier(
        &self,
        checkpoint: &Checkpoint,
        spec: &Spec,
        classifier: &Classifier,
    ) -> Result<Option<Readout>, LoadError> {
        let has = |name: &str| checkpoint.contains(&format!("{name}.weight"));
        let out = self.of_head(checkpoint, classifier.out.name);
        let dense = classifier.dense.map(|(dense, activation)| Dense {
            name: self.of_head(checkpoint, dense.name),
            bias: dense.bias,
            activation,
        });
        if !has(&out) || dense.as_ref().is_some_and(|dense| !has(&dense.name)) {
            return Ok(None);
        }
        let weight = format!("{out}.weight");
        let n_in = width(checkpoint, spec, dense.as_ref())?;
        let readout = Readout {
            kind: classifier.kind,
            dense,
            norm: classifier.norm.map(str::to_owned),
            n_logits: Weight::new(checkpoint.tensor(&weight)?, &[None, Some(n_in)])?.shape()[0],
            bias: classifier.out.bias.then(|| format!("{out}.bias")),
            weight,
            n_in,
        };
        readout.check(checkpoint, spec)?;
        Ok(Some(readout))
    }
}

/// The width of what the last matrix reads.
fn width(checkpoint: &Checkpoint, spec: &Spec, dense: Option<&Dense>) -> Result<usize, LoadError> {
    let Some(dense) = dense else { return Ok(spec.d_model) };
    let weight = checkpoint.tensor(&format!("{}.weight", dense.name))?;
    Ok(Weight::new(weight, &[None, Some(spec.d_model)])?.shape()[0])
}

impl Readout {
    /// The token of a sentence at which it answers.
    pub(crate) fn answers_at(&self, spec: &Spec) -> AnswersAt {
        match self.kind {
            HeadKind::SequenceClassifier => {
                spec.answers_at.unwrap_or(if spec.is_causal() { AnswersAt::Last } else { AnswersAt::First })
            }
            _ => AnswersAt::Last,
        }
    }

    fn check(&self, checkpoint: &Checkpoint, spec: &Spec) -> Result<(), LoadError> {
        self.matrix(checkpoint)?;
        if let Some(name) = &self.norm {
            head_norm(checkpoint, name, self.n_in)?;
        }
        self.dense_part(checkpoint, spec).map(drop)
    }

    /// The last matrix and its bias.
    pub(crate) fn matrix<'a>(&self, checkpoint: &'a Checkpoint) -> Result<LinearPart<'a>, LoadError> {
        let weight = Weight::new(checkpoint.tensor(&self.weight)?, &[Some(self.n_logits), Some(self.n_in)])?;
        let bias = self.bias.as_ref().map(|name| {
            // BART's is a matrix of one row.
            let is_row = checkpoint.tensor(name).is_ok_and(|tensor| tensor.shape == [1, self.n_logits]);
            if !is_row {
                return crate::weights::vector(checkpoint, name, self.n_logits);
            }
            let values = crate::weights::matrix(checkpoint, name, [1, self.n_logits])?;
            Ok(Vector { name: name.clone(), values })
        });
        Ok(LinearPart::new(weight, false, bias.transpose()?))
    }

    fn dense_part<'a>(&self, checkpoint: &'a Checkpoint, spec: &Spec) -> Result<Option<LinearPart<'a>>, LoadError> {
        let Some(Dense { name, bias, .. }) = &self.dense else { return Ok(None) };
        let shape = [Some(self.n_in), Some(spec.d_model)];
        let weight = Weight::new(checkpoint.tensor(&format!("{name}.weight"))?, &shape)?;
        let bias = bias.then(|| crate::weights::vector(checkpoint, &format!("{name}.bias"), self.n_in)).transpose()?;
        Ok(Some(LinearPart::new(weight, false, bias)))
    }

    /// Lays out the head.
    pub(crate) fn lay_out<P: Packing>(
        &self,
        packing: &P,
        checkpoint: &Checkpoint,
        spec: &Spec,
    ) -> Result<Head<P>, LoadError> {
        let dense = self.dense_part(checkpoint, spec)?.map(|part| packing.pack(&[part]));
        let norm = self.norm.as_ref().map(|name| head_norm(checkpoint, name, self.n_in)).transpose()?;
        Ok(Head {
            dense: dense.zip(self.dense.as_ref().map(|dense| dense.activation)),
            norm: norm.map(|(gain, bias)| packing.pack_norm(spec.norm, gain, bias)),
            decoder: packing.pack(&[self.matrix(checkpoint)?]),
            cap: spec.logit_cap,
            scale: spec.logit_scale,
        })
    }
}
