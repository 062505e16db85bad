//! Marian, as the Hugging Face hub has it: BART without a norm after the embeddings, with sines as positions.

use serde_json::json;

use super::{Architecture, Config, EncoderDecoder, Family, Positions, Spec, bart};
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "marian",
    model_types: &["marian"],
    summary: "post-norm encoder and decoder with sines as positions",
    head: "LM of the target",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    config.only("normalize_before", &json!(false))?;
    config.only("normalize_embedding", &json!(false))?;
    config.only("add_final_layer_norm", &json!(false))?;
    config.only("share_encoder_decoder_embeddings", &json!(true))?;
    config.only("decoder_vocab_size", &json!(config.size("vocab_size")?))?;
    let (encoder, decoder) = bart::layers(config, false)?;
    let positions = Positions::Sines { steps: encoder.d_model as f64 / 2.0 };
    let encoder = Spec { positions: positions.clone(), ..encoder };
    let decoder = Spec { positions, ..decoder };
    Ok(Architecture::EncoderDecoder(EncoderDecoder::new(encoder, decoder)))
}
