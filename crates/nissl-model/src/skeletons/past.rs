//! What a network keeps of the positions that sentences have behind them.

use crate::engine::Engine;

/// The past of a group's sentences, at every layer.
pub(crate) struct Past<E: Engine> {
    pub(crate) n_sentences: usize,
    pub(crate) layers: Vec<LayerPast<E>>,
    /// Whether what is read is added to it; otherwise it is only looked at.
    pub(crate) grows: bool,
}

/// The past at one layer.
pub(crate) enum LayerPast<E: Engine> {
    /// Keys and values, one a sentence.
    Attention(Vec<E::Past>),
    /// Keys and values, one a sentence, of the target and of the source.
    Both {
        /// Of the target.
        own: Vec<E::Past>,
        /// Of the source.
        source: Vec<E::Past>,
    },
    /// Of a recurrence: what the last step left, each `[n_sentences, width]`.
    States(Vec<E::Tensor>),
}

impl<E: Engine> Past<E> {
    /// The past of some of the sentences, in this order; one that is named twice goes on twice.
    pub(crate) fn choose(&self, engine: &E, sentences: &[usize]) -> Self {
        let chosen = |past: &[E::Past]| sentences.iter().map(|&i| past[i].clone()).collect();
        let layer = |layer: &LayerPast<E>| match layer {
            LayerPast::Attention(past) => LayerPast::Attention(chosen(past)),
            LayerPast::Both { own, source } => LayerPast::Both { own: chosen(own), source: chosen(source) },
            LayerPast::States(states) => {
                LayerPast::States(states.iter().map(|state| engine.rows(state, sentences)).collect())
            }
        };
        let layers = self.layers.iter().map(layer).collect();
        Self { n_sentences: sentences.len(), layers, grows: self.grows }
    }

    /// Adds the past of other sentences behind these.
    pub(crate) fn join(&mut self, engine: &E, other: Self) {
        let of = |part: usize, n: usize| (0..n).map(move |row| (part, row));
        let places: Vec<(usize, usize)> = of(0, self.n_sentences).chain(of(1, other.n_sentences)).collect();
        self.n_sentences = places.len();
        for (here, other) in self.layers.iter_mut().zip(other.layers) {
            match (here, other) {
                (LayerPast::Attention(past), LayerPast::Attention(other)) => past.extend(other),
                (LayerPast::Both { own, source }, LayerPast::Both { own: other_own, source: other_source }) => {
                    own.extend(other_own);
                    source.extend(other_source);
                }
                (LayerPast::States(states), LayerPast::States(other)) => {
                    for (state, other) in states.iter_mut().zip(&other) {
                        *state = engine.gather(&[state, other], &places);
                    }
                }
                _ => unreachable!("the layers of one network are alike"),
            }
        }
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
