//! The architecture families: what each config and its weight names mean. One file and one line in [`FAMILIES`] each.

mod albert;
mod bart;
mod bert;
mod bloom;
mod char_rnn;
mod config;
mod deberta_v2;
mod distilbert;
mod electra;
mod encoder;
mod encoder_decoder;
mod esm;
mod falcon;
mod gemma;
mod gemma2;
mod gemma3;
mod gpt2;
mod gpt_neo;
mod gpt_neox;
mod gpt_oss;
mod gptj;
mod gru;
mod harmless;
mod head;
mod llama;
mod lstm;
mod mamba;
mod marian;
mod marian_nmt;
mod mistral;
mod mixtral;
mod mlstm;
mod modernbert;
mod mpnet;
mod olmo2;
mod opt;
mod outline;
mod phi;
mod phi3;
mod positions;
mod qwen2;
mod qwen2_moe;
mod qwen3;
mod qwen3_moe;
mod recurrent;
mod relative;
mod roberta;
mod rwkv;
mod rwkv5;
mod rwkv6;
mod rwkv7;
mod smollm3;
mod stablelm;
mod state_space;
mod t5;
mod textgenrnn;
mod transformer;
mod xlnet;

use std::path::Path;

use nissl_core::{ModelInfo, nearest};
use serde_json::Value;

use crate::checkpoint::Checkpoint;
use crate::error::LoadError;
use crate::training::Sizes;
use crate::weights;
pub(crate) use config::Config;
pub use config::FieldUse;
pub(crate) use encoder_decoder::{EncoderDecoder, Target};
pub use head::{AnswersAt, HeadInfo, HeadKind};
pub(crate) use head::{Classifier, Dense, Head, Readout};
pub use outline::Outline;
pub(crate) use recurrent::{Cell, CellKind, Decoder, Recurrent, Values};
pub(crate) use relative::{Distances, RelativeVectors};
pub(crate) use state_space::{Block, MambaBlock, RwkvBlock, StateSpace, TimeMix, low_rank};
pub(crate) use transformer::{
    Blank, Cross, DistanceBuckets, Experts, Matrix, Positions, QkNorms, Skeleton, Spec, Ssru,
};

/// A family of architectures that load and run alike.
pub struct Family {
    /// Its name, as reports show it.
    pub name: &'static str,
    /// The `model_type`s in config.json that belong to it.
    pub model_types: &'static [&'static str],
    /// One sentence.
    pub summary: &'static str,
    /// Which head gives the logits.
    pub head: &'static str,
    /// The config.json of a new model of these sizes and vocabulary; none where models are not made here.
    pub(crate) fresh: Option<fn(&Sizes, usize) -> Value>,
    /// By which weights a folder without config.json is recognized; none where there must be one.
    pub(crate) mark: Option<Mark>,
    pub(crate) read: fn(&Config, &Checkpoint) -> Result<Architecture, LoadError>,
}

/// By which weights a folder without config.json is recognized.
pub(crate) struct Mark {
    /// The weight that no other family has.
    pub(crate) weight: &'static str,
    /// The weights that the sizes are taken from, with their shapes in the smallest model.
    pub(crate) sizes: &'static [(&'static str, &'static [usize])],
}

/// Every family, in the order in which they are listed.
pub const FAMILIES: &[Family] = &[
    bert::FAMILY,
    roberta::FAMILY,
    distilbert::FAMILY,
    electra::FAMILY,
    albert::FAMILY,
    mpnet::FAMILY,
    deberta_v2::FAMILY,
    xlnet::FAMILY,
    esm::FAMILY,
    modernbert::FAMILY,
    gpt2::FAMILY,
    llama::FAMILY,
    mistral::FAMILY,
    qwen2::FAMILY,
    qwen3::FAMILY,
    smollm3::FAMILY,
    stablelm::FAMILY,
    olmo2::FAMILY,
    phi3::FAMILY,
    gpt_neox::FAMILY,
    gptj::FAMILY,
    gpt_neo::FAMILY,
    opt::FAMILY,
    bloom::FAMILY,
    falcon::FAMILY,
    phi::FAMILY,
    gemma::FAMILY,
    gemma2::FAMILY,
    gemma3::FAMILY,
    mixtral::FAMILY,
    qwen2_moe::FAMILY,
    qwen3_moe::FAMILY,
    gpt_oss::FAMILY,
    t5::FAMILY,
    bart::FAMILY,
    marian::FAMILY,
    marian_nmt::FAMILY,
    lstm::FAMILY,
    gru::FAMILY,
    mlstm::FAMILY,
    char_rnn::FAMILY,
    textgenrnn::FAMILY,
    rwkv5::FAMILY,
    rwkv6::FAMILY,
    rwkv7::FAMILY,
    mamba::FAMILY,
];

/// What a family makes of a config: everything that the skeletons need to know of a model.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a model has one")]
pub(crate) enum Architecture {
    /// Blocks of attention and MLP.
    Transformer(Spec),
    /// Layers of LSTM or GRU.
    Recurrent(Recurrent),
    /// Blocks with a state.
    StateSpace(StateSpace),
    /// Two transformers, the second of which reads what the first gives.
    EncoderDecoder(Box<EncoderDecoder>),
}

/// Which family could read a config, and which of its options that family does not know, as the end of an error; nothing
/// if none could.
fn likeness(config: &Config) -> String {
    let nothing = Checkpoint::in_memory(config.path(), Vec::new());
    let reads = |family: &'static Family| {
        config.forget();
        match (family.read)(config, &nothing).ok()? {
            Architecture::Transformer(spec) => spec.check(config).ok()?,
            Architecture::Recurrent(model) => model.check(config).ok()?,
            Architecture::StateSpace(model) => model.check(config).ok()?,
            Architecture::EncoderDecoder(both) => both.check(config).ok()?,
        }
        Some((config.unasked(), family.name))
    };
    // The first of those to whom the fewest are unknown.
    match FAMILIES.iter().filter_map(reads).min_by_key(|(unknown, _)| unknown.len()) {
        None => String::new(),
        Some((unknown, family)) if unknown.is_empty() => format!("; {family} knows every option of this config"),
        Some((unknown, family)) => format!("; nearest is {family}, which does not know {}", unknown.join(", ")),
    }
}

/// A model's family, and its config.
pub(crate) struct Found {
    pub(crate) family: &'static Family,
    config: Config,
    /// The head that is wanted, where a checkpoint may have several.
    pub(crate) asked: Option<HeadKind>,
    /// A config for generation, where there is one.
    pub(crate) generation: Option<Config>,
}

impl Found {
    /// The family that the bytes of a config.json at `path` name.
    pub(crate) fn by_config(path: &Path, bytes: &[u8]) -> Result<Self, LoadError> {
        let config = Config::parse(path, bytes)?;
        let model_type = config.text("model_type")?;
        let known = || FAMILIES.iter().flat_map(|family| family.model_types.iter().copied());
        let family = FAMILIES.iter().find(|family| family.model_types.contains(&model_type.as_str()));
        let family = family.ok_or_else(|| LoadError::UnknownArchitecture {
            path: path.to_owned(),
            got: model_type.clone(),
            known: format!("{}{}", known().collect::<Vec<_>>().join(", "), likeness(&config)),
            nearest: nearest(&model_type, known()),
        })?;
        Ok(Self { family, config, asked: None, generation: None })
    }

    /// The family that weights speak for, where there is no config.json; none if they are of no such family.
    pub(crate) fn by_weights(checkpoint: &Checkpoint) -> Option<Self> {
        let family =
            FAMILIES.iter().find(|family| family.mark.as_ref().is_some_and(|mark| checkpoint.contains(mark.weight)))?;
        Some(Self { family, config: Config::empty(checkpoint.path()), asked: None, generation: None })
    }

    /// Passes over fields of the config that the family does not know.
    pub(crate) fn allow_unknown(&mut self, fields: &[String]) {
        self.config.allow(fields);
    }

    /// The tokens that end a text.
    pub(crate) fn end_tokens(&self) -> Vec<u32> {
        self.config.tokens("eos_token_id")
    }

    /// How targets begin and end, by the config for generation, or else by that of the model.
    pub(crate) fn target(&self) -> Target {
        let configs: Vec<&Config> = self.generation.iter().chain([&self.config]).collect();
        Target::read(&configs)
    }

    /// What the family makes of the config and of the names of the weights, some of which are then called otherwise.
    pub(crate) fn architecture(&self, checkpoint: &mut Checkpoint) -> Result<Architecture, LoadError> {
        self.config.forget();
        let mut architecture = (self.family.read)(&self.config, checkpoint)?;
        self.config.refuse_unasked(self.family.name)?;
        match &mut architecture {
            Architecture::Transformer(spec) => {
                spec.check(&self.config)?;
                checkpoint.join_heads(spec.heads_apart);
            }
            Architecture::Recurrent(model) => model.check(&self.config)?,
            Architecture::StateSpace(model) => model.check(&self.config)?,
            Architecture::EncoderDecoder(both) => both.check(&self.config)?,
        }
        if let Some(spec) = architecture.spec_mut() {
            let named =
                self.config.texts("architectures")?.into_iter().flatten().find_map(|class| head::kind_of_class(&class));
            spec.readout = weights::readout(checkpoint, spec, named, self.asked)?;
        }
        Ok(architecture)
    }
}

impl Architecture {
    /// The transformer that the head is of; none of recurrent models.
    pub(crate) fn spec(&self) -> Option<&Spec> {
        match self {
            Self::Transformer(spec) => Some(spec),
            Self::EncoderDecoder(both) => Some(&both.decoder),
            Self::Recurrent(_) | Self::StateSpace(_) => None,
        }
    }

    fn spec_mut(&mut self) -> Option<&mut Spec> {
        match self {
            Self::Transformer(spec) => Some(spec),
            Self::EncoderDecoder(both) => Some(&mut both.decoder),
            Self::Recurrent(_) | Self::StateSpace(_) => None,
        }
    }

    /// Sizes and sites, as methods see them.
    pub(crate) fn info(&self, name: &str, family: &Family, has_logits: bool, fingerprint: &str) -> ModelInfo {
        let (name, family, fingerprint) = (name.to_owned(), family.name.to_owned(), fingerprint.to_owned());
        let model = match self {
            Self::Recurrent(model) => model,
            Self::StateSpace(model) => return model.info(name, family, has_logits, fingerprint),
            Self::Transformer(spec) => return spec.info(name, family, has_logits, fingerprint),
            Self::EncoderDecoder(both) => {
                let encoder = Some(both.encoder_info());
                return ModelInfo { encoder, ..both.decoder.info(name, family, has_logits, fingerprint) };
            }
        };
        ModelInfo {
            name,
            family,
            n_layers: model.n_layers,
            d_model: model.d_out(),
            n_heads: 0,
            n_kv_heads: 0,
            d_head: 0,
            d_mlp: 0,
            d_vocab: model.d_vocab,
            n_ctx: model.n_ctx,
            causal: model.n_directions == 1,
            has_logits,
            sites: model.sites(),
            fingerprint,
            encoder: None,
        }
    }

    /// The head; none if the checkpoint has none. Its labels are those of the config.
    pub(crate) fn head(&self, found: &Found) -> Option<HeadInfo> {
        let (kind, answers_at) = match self {
            Self::Transformer(_) | Self::EncoderDecoder(_) => {
                let spec = self.spec()?;
                spec.readout.as_ref().map(|head| (head.kind, head.answers_at(spec)))?
            }
            Self::Recurrent(model) => {
                let decoder = model.decoder.as_ref()?;
                let is_tagger = decoder.n_out != model.d_vocab;
                let kind = if is_tagger { HeadKind::TokenClassifier } else { HeadKind::CausalLm };
                (kind, AnswersAt::Last)
            }
            Self::StateSpace(_) => (HeadKind::CausalLm, AnswersAt::Last),
        };
        let classifies = matches!(kind, HeadKind::TokenClassifier | HeadKind::SequenceClassifier);
        let labels = if classifies { found.config.labels(self.n_logits()) } else { Vec::new() };
        Some(HeadInfo { kind, n_logits: self.n_logits(), labels, answers_at })
    }

    /// The token whose logits stand for the sentence.
    pub(crate) fn answers_at(&self) -> AnswersAt {
        let head = |spec: &Spec| spec.readout.as_ref().map(|head| head.answers_at(spec));
        self.spec().and_then(head).unwrap_or(AnswersAt::Last)
    }

    /// Number of logits a token: the vocabulary's, or a classifier's labels.
    pub(crate) fn n_logits(&self) -> usize {
        match self {
            Self::Transformer(spec) => spec.n_logits(),
            Self::EncoderDecoder(both) => both.decoder.n_logits(),
            Self::Recurrent(model) => model.decoder.as_ref().map_or(0, |decoder| decoder.n_out),
            Self::StateSpace(model) => model.d_vocab,
        }
    }
}

#[cfg(test)]
mod tests;
