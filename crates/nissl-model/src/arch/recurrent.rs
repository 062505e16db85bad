//! What the recurrent skeleton needs to know of a model.

use nissl_core::{Site, SiteInfo};

use super::Config;
use crate::checkpoint::{Checkpoint, Weight};
use crate::engine::Vector;
use crate::error::LoadError;

/// What the layers are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CellKind {
    /// Gates i, f, g, o.
    Lstm,
    /// Gates r, z and candidates n.
    Gru,
    /// An LSTM whose gates read, in place of the state, its product with the input.
    MultiplicativeLstm,
    /// A forget gate f and candidates g that read the input alone (SSRU).
    Ssru,
}

impl CellKind {
    /// The sites of the gates, in the order of their rows in a layer's matrices.
    pub(crate) fn gates(self) -> &'static [Site] {
        match self {
            Self::Gru => &[Site::GruR, Site::GruZ, Site::GruN],
            Self::Lstm | Self::MultiplicativeLstm => &[Site::LstmI, Site::LstmF, Site::LstmG, Site::LstmO],
            Self::Ssru => &[Site::SsruF, Site::SsruG],
        }
    }
}

/// A model of LSTM or GRU layers: the answer of a family to a config and the names of the weights.
#[derive(Clone, Debug)]
pub(crate) struct Recurrent {
    pub(crate) kind: CellKind,
    pub(crate) n_layers: usize,
    /// Width of the embeddings.
    pub(crate) d_embed: usize,
    /// Width of gates and cell, in one direction.
    pub(crate) d_hidden: usize,
    /// Width of the hidden state, in one direction: `d_hidden`, or that of its projection.
    pub(crate) d_state: usize,
    /// 1, or 2 if the layers run backward too.
    pub(crate) n_directions: usize,
    pub(crate) d_vocab: usize,
    pub(crate) n_ctx: usize,
    /// The embeddings' name, `[d_vocab, d_embed]`.
    pub(crate) token_embedding: String,
    /// The name of the weight that makes the gates, with `{}` for the layer.
    pub(crate) gates: String,
    /// The name of the projection, with `{}` for the layer, where there is one.
    pub(crate) projection: Option<String>,
    /// The weights of a layer (second to last) in a direction, from the names and the layout of the checkpoint.
    pub(crate) cell: fn(&Checkpoint, &Self, usize, usize) -> Result<Cell, LoadError>,
    /// The number of tokens that the model always reads: shorter sentences stand behind tokens 0.
    pub(crate) window: Option<usize>,
    /// The name of the attention vector `[d_embed + n_layers d_state, 1]`, where the head reads an average over all
    /// positions of the embeddings and all layers' states, side by side.
    pub(crate) average: Option<String>,
    /// None if there is no head.
    pub(crate) decoder: Option<Decoder>,
}

/// The weights of an output head.
#[derive(Clone, Debug)]
pub(crate) struct Decoder {
    pub(crate) weight: String,
    /// Whether it is stored `[n_in, n_out]`.
    pub(crate) transposed: bool,
    /// `[n_out]`.
    pub(crate) bias: Option<String>,
    pub(crate) n_out: usize,
}

/// The weights of a layer in a direction. The gates are in the order of [`CellKind::gates`], one behind the other.
pub(crate) struct Cell {
    /// `[n_gates d_hidden, n_in]`.
    pub(crate) input: Values,
    /// `[n_gates d_hidden]`, as the one below; what the gates get is the sum of both, but the candidates of a GRU, whose
    /// bias of the state is reset with it.
    pub(crate) input_bias: Option<Vector>,
    /// `[n_gates d_hidden, d_state]`.
    pub(crate) hidden: Values,
    pub(crate) hidden_bias: Option<Vector>,
    /// `[d_state, d_hidden]`.
    pub(crate) projection: Option<Values>,
    /// Of a multiplicative LSTM: what the input, `[d_hidden, n_in]`, and the state, `[d_hidden, d_state]`, give to the
    /// product.
    pub(crate) multiplier: Option<[Values; 2]>,
}

/// A matrix that was put in order, row after row.
pub(crate) struct Values {
    /// The checkpoint's name of it; nothing, if it holds the values in another order.
    name: String,
    shape: [usize; 2],
    bytes: Vec<u8>,
}

impl Values {
    /// A matrix whose values `at(row, column)` gives.
    pub(crate) fn new(shape: [usize; 2], at: impl Fn(usize, usize) -> f32) -> Self {
        let [rows, columns] = shape;
        let values = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        Self {
            name: String::new(),
            shape,
            bytes: values.flat_map(|(row, column)| at(row, column).to_le_bytes()).collect(),
        }
    }

    /// The same, held so by the checkpoint under a name.
    pub(crate) fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// The matrix as a weight.
    pub(crate) fn weight(&self) -> Weight<'_> {
        Weight::of_f32(&self.name, &self.shape, &self.bytes)
    }
}

impl Recurrent {
    /// Width of what a layer reads.
    pub(crate) fn d_in(&self, layer: usize) -> usize {
        if layer == 0 { self.d_embed } else { self.d_out() }
    }

    /// Width of what a layer gives, all directions side by side.
    pub(crate) fn d_out(&self) -> usize {
        self.n_directions * self.d_state
    }

    /// Width of what the head reads.
    pub(crate) fn d_head_in(&self) -> usize {
        if self.average.is_some() { self.d_embed + self.n_layers * self.d_out() } else { self.d_out() }
    }

    /// Sizes that no computation could use are refused.
    pub(super) fn check(&self, config: &Config) -> Result<(), LoadError> {
        let sizes = [
            ("number of layers", self.n_layers, 1 << 10),
            ("width of the embeddings", self.d_embed, 1 << 20),
            ("width of the cell", self.d_hidden, 1 << 20),
            ("width of the hidden state", self.d_state, 1 << 20),
            ("size of the vocabulary", self.d_vocab, 1 << 28),
            ("longest sentence", self.n_ctx, 1 << 28),
        ];
        match sizes.into_iter().find(|&(_, size, most)| size == 0 || size > most) {
            Some((what, size, most)) => Err(config.wrong(what, format!("1 to {most}"), size)),
            None => Ok(()),
        }
    }

    /// The sites in order of the forward pass; those of a bidirectional layer hold the forward units, then the
    /// backward ones.
    pub(crate) fn sites(&self) -> Vec<SiteInfo> {
        let (cell, out, gates) = (self.n_directions * self.d_hidden, self.d_out(), self.gates.as_str());
        let mut sites = vec![(Site::Embed, self.d_embed, self.token_embedding.as_str())];
        if self.n_layers == 1 || self.d_embed == out {
            sites.push((Site::ResidPre, self.d_embed, ""));
        }
        if self.kind == CellKind::MultiplicativeLstm {
            sites.push((Site::LstmM, cell, ""));
        }
        sites.extend(self.kind.gates().iter().map(|&site| (site, cell, gates)));
        if self.kind == CellKind::Gru {
            sites.push((Site::GruH, out, ""));
        } else {
            sites.push((Site::LstmC, cell, ""));
            sites.push((Site::LstmH, out, self.projection.as_deref().unwrap_or_default()));
        }
        sites.push((Site::ResidPost, out, ""));
        let info = |(site, width, weight): (Site, usize, &str)| SiteInfo { site, width, weight: weight.to_owned() };
        sites.into_iter().map(info).collect()
    }
}
