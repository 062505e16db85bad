//! What a network keeps of the positions that sentences have behind them.

#![expect(dead_code, reason = "generation, which keeps a past, comes next")]

use crate::engine::Engine;

/// The past of a group's sentences, at every layer.
pub(crate) struct Past<E: Engine> {
    pub(crate) layers: Vec<LayerPast<E>>,
    /// Whether what is read is added to it; otherwise it is only looked at.
    pub(crate) grows: bool,
}

/// The past at one layer.
pub(crate) enum LayerPast<E: Engine> {
    /// Keys and values, one a sentence.
    Attention(Vec<E::Past>),
    /// Of an LSTM: what the last step left, `[n_sentences, H]` and `[n_sentences, d_state]`.
    Lstm {
        /// The cells.
        cells: E::Tensor,
        /// The hidden states.
        states: E::Tensor,
    },
}

impl<E: Engine> Past<E> {
    /// The past of some of the sentences, in this order; one that is named twice goes on twice.
    pub(crate) fn choose(&self, engine: &E, sentences: &[usize]) -> Self {
        let layer = |layer: &LayerPast<E>| match layer {
            LayerPast::Attention(past) => LayerPast::Attention(sentences.iter().map(|&i| past[i].clone()).collect()),
            LayerPast::Lstm { cells, states } => {
                LayerPast::Lstm { cells: engine.rows(cells, sentences), states: engine.rows(states, sentences) }
            }
        };
        Self { layers: self.layers.iter().map(layer).collect(), grows: self.grows }
    }
}

/// The past at a layer, as a pass uses it.
pub(crate) struct At<'a, E: Engine> {
    pub(crate) past: &'a mut LayerPast<E>,
    pub(crate) grows: bool,
}

impl<E: Engine> Past<E> {
    /// The past at a layer.
    pub(crate) fn at(&mut self, layer: usize) -> At<'_, E> {
        At { past: &mut self.layers[layer], grows: self.grows }
    }
}
