//! Where in a model a neuron is: [`Site`] is the place in a block, [`HookPoint`] the place in the model.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::NameError;
use crate::suggest::nearest;

/// A place in a block (or before the first, or after the last) whose values can be read and written.
///
/// The same for every architecture. The order of the variants is the order of the forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// What enters the first block: the sum of all embeddings, normalized where the architecture does so.
    Embed,
    /// What enters a block.
    ResidPre,
    /// Queries, all heads side by side, before any norm of theirs and any rotary embedding.
    AttnQ,
    /// Keys, all key/value heads side by side, before any norm of theirs and any rotary embedding.
    AttnK,
    /// Values, all key/value heads side by side.
    AttnV,
    /// Attention probabilities; unit `head * n_ctx + key position`.
    AttnPattern,
    /// Weighted sums of values, all heads side by side: what enters the output projection.
    AttnZ,
    /// Output of the attention, as it is added to the residual stream.
    AttnOut,
    /// Input branch of a state-space mixer (Mamba), before its convolution.
    MixerIn,
    /// The same after the convolution over time and the activation function.
    MixerConv,
    /// Step sizes of a state-space mixer, after the softplus.
    MixerDt,
    /// Receptances of a time-mix (RWKV): what reads the state, all heads side by side.
    MixerR,
    /// Decays of a time-mix: the share of the state that a token leaves, row by row, all heads side by side.
    MixerDecay,
    /// Keys of a time-mix, all heads side by side.
    MixerK,
    /// Values of a time-mix as they are written to the state, all heads side by side.
    MixerV,
    /// Learning rates of the state of a time-mix (RWKV 7), all heads side by side.
    MixerRate,
    /// Gate of a mixer, before its activation function.
    MixerGate,
    /// What is read from the state of a mixer, before any norm and the gate.
    MixerY,
    /// What enters the output projection of a mixer.
    MixerZ,
    /// Output of a mixer, as it is added to the residual stream.
    MixerOut,
    /// Forget gate of an SSRU: the share of the cell that is kept.
    SsruF,
    /// Candidate values of an SSRU cell.
    SsruG,
    /// Cell state of an SSRU.
    SsruC,
    /// Hidden state of an SSRU, as it is added to the residual stream.
    SsruH,
    /// Residual stream between attention and MLP (after the norm there, where the architecture is post-norm).
    ResidMid,
    /// Queries of the attention over the source, all heads side by side. This site and the next six are those of the
    /// decoder of a model that has an encoder too.
    CrossQ,
    /// Keys of that attention, of the tokens of the source.
    CrossK,
    /// Values of that attention, of the tokens of the source.
    CrossV,
    /// Probabilities of that attention; unit `head * n_ctx + position in the source`.
    CrossPattern,
    /// Weighted sums of those values, all heads side by side: what enters the output projection.
    CrossZ,
    /// Output of that attention, as it is added to the residual stream.
    CrossOut,
    /// Residual stream between that attention and the MLP (after the norm there, where the architecture is post-norm).
    ResidMidCross,
    /// Scores of experts, before some are chosen; those that every token takes come last.
    MlpRouter,
    /// Weights of experts, zero where a token does not take one.
    MlpExpertWeights,
    /// MLP neurons before the activation function (the gate's, where the MLP is gated).
    MlpPre,
    /// The linear branch of a gated MLP.
    MlpPreLinear,
    /// MLP neurons: after the activation function and the gate; what enters the output projection.
    MlpPost,
    /// Output of the MLP, as it is added to the residual stream.
    MlpOut,
    /// What the gates of a multiplicative LSTM read in place of the hidden state: its product with the input.
    LstmM,
    /// Input gate of an LSTM.
    LstmI,
    /// Forget gate of an LSTM.
    LstmF,
    /// Candidate values of an LSTM cell (after tanh).
    LstmG,
    /// Output gate of an LSTM.
    LstmO,
    /// Cell state of an LSTM.
    LstmC,
    /// Hidden state of an LSTM.
    LstmH,
    /// Reset gate of a GRU.
    GruR,
    /// Update gate of a GRU: the share of the state that is kept.
    GruZ,
    /// Candidate values of a GRU's state (after tanh).
    GruN,
    /// Hidden state of a GRU.
    GruH,
    /// What leaves a block.
    ResidPost,
    /// Output of the norm after the last block.
    FinalNorm,
}

/// One line a site: the canonical (legacy TransformerLens) name, then the newer alias, without `blocks.{i}.`.
const NAMES: &[(Site, &str, Option<&str>)] = &[
    (Site::Embed, "hook_embed", Some("embed.hook_out")),
    (Site::ResidPre, "hook_resid_pre", Some("hook_in")),
    (Site::AttnQ, "attn.hook_q", Some("attn.q.hook_out")),
    (Site::AttnK, "attn.hook_k", Some("attn.k.hook_out")),
    (Site::AttnV, "attn.hook_v", Some("attn.v.hook_out")),
    (Site::AttnPattern, "attn.hook_pattern", None),
    (Site::AttnZ, "attn.hook_z", Some("attn.o.hook_in")),
    (Site::AttnOut, "hook_attn_out", Some("attn.hook_out")),
    (Site::MixerIn, "mixer.hook_in", None),
    (Site::MixerConv, "mixer.hook_conv", None),
    (Site::MixerDt, "mixer.hook_dt", None),
    (Site::MixerR, "mixer.hook_r", None),
    (Site::MixerDecay, "mixer.hook_decay", None),
    (Site::MixerK, "mixer.hook_k", None),
    (Site::MixerV, "mixer.hook_v", None),
    (Site::MixerRate, "mixer.hook_rate", None),
    (Site::MixerGate, "mixer.hook_gate", None),
    (Site::MixerY, "mixer.hook_y", None),
    (Site::MixerZ, "mixer.hook_z", None),
    (Site::MixerOut, "hook_mixer_out", None),
    (Site::SsruF, "ssru.hook_f", None),
    (Site::SsruG, "ssru.hook_g", None),
    (Site::SsruC, "ssru.hook_c", None),
    (Site::SsruH, "ssru.hook_h", None),
    (Site::ResidMid, "hook_resid_mid", Some("ln2.hook_in")),
    (Site::CrossQ, "cross_attn.hook_q", Some("cross_attn.q.hook_out")),
    (Site::CrossK, "cross_attn.hook_k", Some("cross_attn.k.hook_out")),
    (Site::CrossV, "cross_attn.hook_v", Some("cross_attn.v.hook_out")),
    (Site::CrossPattern, "cross_attn.hook_pattern", None),
    (Site::CrossZ, "cross_attn.hook_z", Some("cross_attn.o.hook_in")),
    (Site::CrossOut, "hook_cross_attn_out", Some("cross_attn.hook_out")),
    (Site::ResidMidCross, "hook_resid_mid_cross", None),
    (Site::MlpRouter, "mlp.hook_router", None),
    (Site::MlpExpertWeights, "mlp.hook_expert_weights", None),
    (Site::MlpPre, "mlp.hook_pre", Some("mlp.in.hook_out")),
    (Site::MlpPreLinear, "mlp.hook_pre_linear", Some("mlp.gate.hook_out")),
    (Site::MlpPost, "mlp.hook_post", Some("mlp.out.hook_in")),
    (Site::MlpOut, "hook_mlp_out", Some("mlp.hook_out")),
    (Site::LstmM, "lstm.hook_m", None),
    (Site::LstmI, "lstm.hook_i", None),
    (Site::LstmF, "lstm.hook_f", None),
    (Site::LstmG, "lstm.hook_g", None),
    (Site::LstmO, "lstm.hook_o", None),
    (Site::LstmC, "lstm.hook_c", None),
    (Site::LstmH, "lstm.hook_h", None),
    (Site::GruR, "gru.hook_r", None),
    (Site::GruZ, "gru.hook_z", None),
    (Site::GruN, "gru.hook_n", None),
    (Site::GruH, "gru.hook_h", None),
    (Site::ResidPost, "hook_resid_post", Some("hook_out")),
    (Site::FinalNorm, "ln_final.hook_normalized", Some("ln_final.hook_out")),
];

impl Site {
    /// Every site, in the order of the forward pass.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        NAMES.iter().map(|(site, _, _)| *site)
    }

    /// The TransformerLens name, without `blocks.{i}.`: `mlp.hook_post`.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(site, _, _)| *site == self).map_or("", |(_, name, _)| name)
    }

    /// The name of newer TransformerLens releases, where it differs: `mlp.out.hook_in`.
    pub fn alias(self) -> Option<&'static str> {
        NAMES.iter().find(|(site, _, _)| *site == self).and_then(|(_, _, alias)| *alias)
    }

    /// The short name used on the command line: `mlp_post`.
    pub fn short(self) -> String {
        self.name().replace("ln_final.hook_normalized", "final_norm").replace("hook_", "").replace('.', "_")
    }

    /// Whether the site exists once a block; false for [`Site::Embed`] and [`Site::FinalNorm`].
    pub fn in_block(self) -> bool {
        !matches!(self, Self::Embed | Self::FinalNorm)
    }

    /// Whether the site is within a recurrence: gates, cell and state of an LSTM, a GRU or an SSRU.
    pub fn is_recurrent(self) -> bool {
        (Self::LstmM..=Self::GruH).contains(&self) || (Self::SsruF..=Self::SsruH).contains(&self)
    }

    /// Whether the site's rows have another width in every sentence (attention patterns).
    pub fn is_ragged(self) -> bool {
        matches!(self, Self::AttnPattern | Self::CrossPattern)
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for Site {
    type Err = NameError;

    /// Reads the TransformerLens name, its newer alias or the short name.
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::all().find(|site| site.name() == text || site.short() == text || site.alias() == Some(text)).ok_or_else(
            || NameError {
                kind: "site",
                name: text.to_owned(),
                nearest: nearest(text, Self::all().flat_map(|site| [site.short(), site.name().to_owned()])),
            },
        )
    }
}

/// Which blocks of a model: the only ones that it has, or those of its encoder or of its decoder, where it has both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stack {
    /// The blocks of a model that has no others.
    #[default]
    Only,
    /// Those that read the source.
    Encoder,
    /// Those that read the target, and what the encoder makes of the source.
    Decoder,
}

impl Stack {
    /// What names of its hook points begin with: nothing, `encoder.` or `decoder.`.
    pub fn prefix(self) -> &'static str {
        self.prefixes().0
    }

    /// What names of its hook points begin with, and what stands before the layer's number.
    fn prefixes(self) -> (&'static str, &'static str) {
        match self {
            Self::Only => ("", "blocks."),
            Self::Encoder => ("encoder.", "encoder."),
            Self::Decoder => ("decoder.", "decoder."),
        }
    }
}

/// A site in a layer: `blocks.3.mlp.hook_post`; `encoder.3.mlp.hook_post` in a model that has a decoder too.
///
/// Ordered as the forward pass runs. Printed and serialized as its TransformerLens name; both generations of names
/// are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HookPoint {
    stack: Stack,
    /// The block, from 0. For [`Site::Embed`] it is 0, for [`Site::FinalNorm`] `u16::MAX`: first and last in order.
    layer: u16,
    site: Site,
}

impl HookPoint {
    /// The place `site` in block `layer`; the layer is ignored for sites outside the blocks.
    pub fn new(layer: u16, site: Site) -> Self {
        Self::of(Stack::Only, layer, site)
    }

    /// The same, of one of the stacks of a model that has two.
    pub fn of(stack: Stack, layer: u16, site: Site) -> Self {
        let layer = match site {
            Site::Embed => 0,
            Site::FinalNorm => u16::MAX,
            _ => layer,
        };
        Self { stack, layer, site }
    }

    /// The blocks that it is in, before or behind.
    pub fn stack(self) -> Stack {
        self.stack
    }

    /// The block, from 0; `None` for sites outside the blocks.
    pub fn layer(self) -> Option<u16> {
        self.site.in_block().then_some(self.layer)
    }

    /// The place in the block.
    pub fn site(self) -> Site {
        self.site
    }
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (outside, inside) = self.stack.prefixes();
        match self.layer() {
            Some(layer) => write!(f, "{inside}{layer}.{}", self.site.name()),
            None => write!(f, "{outside}{}", self.site.name()),
        }
    }
}

impl FromStr for HookPoint {
    type Err = NameError;

    /// Reads `blocks.3.mlp.hook_post`, `blocks.3.mlp.out.hook_in`, `3.mlp_post`, or `decoder.3.mlp_post`.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut stacks = [Stack::Encoder, Stack::Decoder].into_iter();
        let own = stacks.find_map(|stack| Some((stack, text.strip_prefix(stack.prefix())?)));
        let (stack, rest) = own.unwrap_or((Stack::Only, text.strip_prefix("blocks.").unwrap_or(text)));
        if let Some((layer, site)) = rest.split_once('.')
            && let Ok(layer) = layer.parse::<u16>()
        {
            let site: Site = site.parse()?;
            return if site.in_block() { Ok(Self::of(stack, layer, site)) } else { Err(Self::unknown(text)) };
        }
        let outside = if stack == Stack::Only { text } else { rest };
        match outside.parse::<Site>() {
            Ok(site) if !site.in_block() => Ok(Self::of(stack, 0, site)),
            Ok(_) => Err(Self::unknown(text)),
            Err(err) => Err(NameError { kind: "hook point", ..err }),
        }
    }
}

impl HookPoint {
    fn unknown(text: &str) -> NameError {
        let examples = Site::all().map(|site| Self::new(0, site).to_string());
        NameError { kind: "hook point", name: text.to_owned(), nearest: nearest(text, examples) }
    }
}

crate::neuron::serde_as_text!(Site, HookPoint);
