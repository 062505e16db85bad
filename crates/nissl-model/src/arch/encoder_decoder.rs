//! Models of an encoder, which reads a source, and a decoder, which reads a target and what the encoder makes of it.

use nissl_core::{EncoderInfo, Stack};

use super::{Config, Spec};
use crate::error::LoadError;

/// What the skeletons need to know of both.
#[derive(Clone, Debug)]
pub(crate) struct EncoderDecoder {
    pub(crate) encoder: Spec,
    pub(crate) decoder: Spec,
}

impl EncoderDecoder {
    /// Both, whose sites are told apart from now on.
    pub(super) fn new(encoder: Spec, decoder: Spec) -> Box<Self> {
        let encoder = Spec { stack: Stack::Encoder, ..encoder };
        Box::new(Self { encoder, decoder: Spec { stack: Stack::Decoder, ..decoder } })
    }

    /// The one of a stack.
    pub(crate) fn of(&self, stack: Stack) -> &Spec {
        if stack == Stack::Encoder { &self.encoder } else { &self.decoder }
    }

    /// As [`Spec::check`].
    pub(super) fn check(&self, config: &Config) -> Result<(), LoadError> {
        self.encoder.check(config)?;
        self.decoder.check(config)
    }

    /// The encoder, as methods see it.
    pub(super) fn encoder_info(&self) -> EncoderInfo {
        let Spec { n_layers, n_heads, d_mlp, .. } = self.encoder;
        EncoderInfo { n_layers, n_heads, d_mlp, sites: self.encoder.sites() }
    }
}

/// How targets begin and end, by the config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// The token that the decoder starts with; none if the config names none.
    pub(crate) start: Option<u32>,
    /// The token that comes first after it, where there is one.
    pub(crate) first: Option<u32>,
    /// The token that comes last, if nothing ended the text before.
    pub(crate) last: Option<u32>,
    /// Tokens that never come.
    pub(crate) never: Vec<u32>,
}

impl Target {
    /// What one of the configs says, the first that says something of each.
    pub(super) fn read(configs: &[&Config]) -> Self {
        let one = |field: &str| configs.iter().find_map(|config| config.tokens(field).first().copied());
        Self {
            start: one("decoder_start_token_id").or_else(|| one("bos_token_id")),
            first: one("forced_bos_token_id"),
            last: one("forced_eos_token_id"),
            never: configs.iter().find_map(|config| config.never()).unwrap_or_default(),
        }
    }
}
