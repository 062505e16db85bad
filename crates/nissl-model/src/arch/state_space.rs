//! What the skeleton of blocks with a state needs to know of a model.

use nissl_core::{ModelInfo, Site, SiteInfo};

use super::Config;
use crate::engine::{Activation, NormKind};
use crate::error::LoadError;

/// A model of RWKV's or Mamba's blocks: the answer of a family to a config and the names of the weights.
#[derive(Clone, Debug)]
pub(crate) struct StateSpace {
    pub(crate) n_layers: usize,
    pub(crate) d_model: usize,
    pub(crate) d_vocab: usize,
    pub(crate) n_ctx: usize,
    pub(crate) norm: NormKind,
    /// `[d_vocab, d_model]`.
    pub(crate) token_embedding: &'static str,
    /// Names of norms, without `.weight`.
    pub(crate) embedding_norm: Option<&'static str>,
    pub(crate) final_norm: &'static str,
    /// `[d_vocab, d_model]`.
    pub(crate) head: &'static str,
    /// Whether the token embeddings stand in if the checkpoint has no head.
    pub(crate) tied: bool,
    pub(crate) block: Block,
}

/// The blocks. Names have `{}` for the layer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Block {
    Rwkv(RwkvBlock),
    Mamba(MambaBlock),
}

/// Sizes and names of a block of RWKV.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RwkvBlock {
    pub(crate) n_heads: usize,
    pub(crate) d_head: usize,
    pub(crate) d_mlp: usize,
    /// Of the norms of what heads read from the state.
    pub(crate) head_eps: f32,
    pub(crate) norms: [&'static str; 2],
    /// Where the weights of the time-mix and the channel-mix are.
    pub(crate) parts: [&'static str; 2],
    /// In the time-mix: receptances, keys, values, and what leaves the heads.
    pub(crate) matrices: [&'static str; 4],
    /// In the time-mix: the norms of heads side by side.
    pub(crate) head_norm: &'static str,
    pub(crate) time: TimeMix,
}

/// The generations of the time-mix.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TimeMix {
    /// RWKV 5.
    Eagle {
        /// Whether decays are stored as they are used, and not as ln(-ln(decay)).
        plain_decays: bool,
        /// The shares of a token itself in what makes receptances, keys, values and the gate.
        shares: [&'static str; 4],
    },
    /// RWKV 6.
    Finch,
    /// RWKV 7.
    Goose {
        /// Whether pairs of low rank are stored `[n_out, n_in]`, as modules, and not as the authors store them.
        modules: bool,
    },
}

/// Sizes and names of a block of Mamba.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MambaBlock {
    pub(crate) width: usize,
    pub(crate) n_states: usize,
    /// Columns of what step sizes are made of.
    pub(crate) rank: usize,
    pub(crate) n_taps: usize,
    /// Whether the projections into and out of the mixer have biases, and whether the convolution has.
    pub(crate) biases: [bool; 2],
    pub(crate) activation: Activation,
    pub(crate) norm: &'static str,
    pub(crate) mixer: &'static str,
}

/// The names of a pair of low rank of RWKV 7 in its time-mix, and of the bias of the second.
pub(crate) fn low_rank(time: &str, part: &str, modules: bool) -> [String; 3] {
    if modules {
        ["0.weight", "2.weight", "2.bias"].map(|of| format!("{time}.{part}_lora.lora.{of}"))
    } else {
        ["1", "2", "0"].map(|of| format!("{time}.{part}{of}"))
    }
}

impl StateSpace {
    /// Sizes that no computation could use are refused.
    pub(super) fn check(&self, config: &Config) -> Result<(), LoadError> {
        let mut sizes = vec![
            ("number of layers", self.n_layers, super::config::MAX_LAYERS),
            ("width", self.d_model, 1 << 20),
            ("size of the vocabulary", self.d_vocab, 1 << 28),
            ("context length", self.n_ctx, 1 << 28),
        ];
        match self.block {
            Block::Rwkv(block) => sizes.extend([
                ("number of heads", block.n_heads, 1 << 16),
                ("width of a head", block.d_head, 1 << 12),
                ("number of MLP neurons", block.d_mlp, 1 << 24),
            ]),
            Block::Mamba(block) => sizes.extend([
                ("width of the mixer", block.width, 1 << 22),
                ("number of states", block.n_states, 1 << 12),
                ("rank of the step sizes", block.rank, 1 << 16),
                ("taps of the convolution", block.n_taps, 1 << 8),
            ]),
        }
        match sizes.into_iter().find(|&(_, size, most)| size == 0 || size > most) {
            Some((what, size, most)) => Err(config.wrong(what, format!("1 to {most}"), size)),
            None => Ok(()),
        }
    }

    /// Sizes and sites, as methods see them; heads and MLP neurons are 0 where there are none.
    pub(super) fn info(&self, name: String, family: String, has_logits: bool, fingerprint: String) -> ModelInfo {
        let (n_heads, d_head, d_mlp) = match self.block {
            Block::Rwkv(block) => (block.n_heads, block.d_head, block.d_mlp),
            Block::Mamba(_) => (0, 0, 0),
        };
        ModelInfo {
            name,
            family,
            n_layers: self.n_layers,
            d_model: self.d_model,
            n_heads,
            n_kv_heads: n_heads,
            d_head,
            d_mlp,
            d_vocab: self.d_vocab,
            n_ctx: self.n_ctx,
            causal: true,
            has_logits,
            sites: self.sites(),
            fingerprint,
            encoder: None,
        }
    }

    /// The sites in order of the forward pass, with widths and the checkpoint's names.
    pub(crate) fn sites(&self) -> Vec<SiteInfo> {
        let d_model = self.d_model;
        let mut sites =
            vec![(Site::Embed, d_model, self.token_embedding.to_owned()), (Site::ResidPre, d_model, String::new())];
        match self.block {
            Block::Rwkv(block) => {
                let [time, channel] = block.parts;
                let width = block.n_heads * block.d_head;
                let [r, k, v, out] = block.matrices.map(|matrix| format!("{time}.{matrix}.weight"));
                let (decay, rate, gate) = match block.time {
                    TimeMix::Eagle { .. } => (None, None, format!("{time}.gate.weight")),
                    TimeMix::Finch => (Some(format!("{time}.time_decay_w2")), None, format!("{time}.gate.weight")),
                    TimeMix::Goose { modules } => {
                        let [decay, rate, gate] = ["w", "a", "g"].map(|part| low_rank(time, part, modules)[1].clone());
                        (Some(decay), Some(rate), gate)
                    }
                };
                sites.push((Site::MixerR, width, r));
                sites.extend(decay.map(|decay| (Site::MixerDecay, width, decay)));
                sites.extend([(Site::MixerK, width, k), (Site::MixerV, width, v)]);
                sites.extend(rate.map(|rate| (Site::MixerRate, width, rate)));
                sites.extend([
                    (Site::MixerGate, width, gate),
                    (Site::MixerY, width, String::new()),
                    (Site::MixerZ, width, String::new()),
                    (Site::MixerOut, d_model, out),
                    (Site::ResidMid, d_model, String::new()),
                    (Site::MlpPre, block.d_mlp, format!("{channel}.key.weight")),
                    (Site::MlpPost, block.d_mlp, String::new()),
                    (Site::MlpOut, d_model, format!("{channel}.value.weight")),
                ]);
            }
            Block::Mamba(block) => {
                let MambaBlock { width, mixer, .. } = block;
                sites.extend([
                    (Site::MixerIn, width, format!("{mixer}.in_proj.weight")),
                    (Site::MixerConv, width, format!("{mixer}.conv1d.weight")),
                    (Site::MixerDt, width, format!("{mixer}.dt_proj.weight")),
                    (Site::MixerGate, width, format!("{mixer}.in_proj.weight")),
                    (Site::MixerY, width, String::new()),
                    (Site::MixerZ, width, String::new()),
                    (Site::MixerOut, d_model, format!("{mixer}.out_proj.weight")),
                ]);
            }
        }
        sites.extend([
            (Site::ResidPost, d_model, String::new()),
            (Site::FinalNorm, d_model, format!("{}.weight", self.final_norm)),
        ]);
        sites.into_iter().map(|(site, width, weight)| SiteInfo { site, width, weight }).collect()
    }
}
