//! RoBERTa and XLM-R: BERT whose positions begin after the padding token's number, with a head of its own.

use super::{Architecture, Config, Family, Spec, encoder};
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "roberta",
    model_types: &["roberta", "xlm-roberta"],
    summary: "post-norm encoder, learned positions after the padding's",
    head: "masked LM, token and sequence classifiers",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    let first = config.size_or("pad_token_id", 1)?.saturating_add(1);
    let spec = encoder::shifted(encoder::bert_like(config)?, first);
    let spec = encoder::with_roberta_heads(spec, config)?;
    Ok(Architecture::Transformer(Spec { prefixes: &["roberta.", ""], ..spec }))
}
