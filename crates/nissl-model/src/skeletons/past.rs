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
    /// Of the target and of the source.
    Both {
        /// Of the target, as of a text alone.
        own: Box<Self>,
        /// Keys and values, one a sentence.
        source: Vec<E::Past>,
    },
    /// Of a recurrence: what the last step left, each `[n_sentences, width]`.
    States(Vec<E::Tensor>),
}

impl<E: Engine> LayerPast<E> {
    /// That of the text that grows, without its source.
    pub(crate) fn own(&mut self) -> &mut Self {
        match self {
            Self::Both { own, .. } => own,
            own => own,
        }
    }

    fn choose(&self, engine: &E, sentences: &[usize]) -> Self {
        let chosen = |past: &[E::Past]| sentences.iter().map(|&i| past[i].clone()).collect();
        match self {
            Self::Attention(past) => Self::Attention(chosen(past)),
            Self::Both { own, source } => {
                Self::Both { own: Box::new(own.choose(engine, sentences)), source: chosen(source) }
            }
            Self::States(states) => Self::States(states.iter().map(|state| engine.rows(state, sentences)).collect()),
        }
    }

    /// `places`: of each sentence, whether it is one of these (0) or of the others (1), and which.
    fn join(&mut self, engine: &E, other: Self, places: &[(usize, usize)]) {
        match (self, other) {
            (Self::Attention(past), Self::Attention(other)) => past.extend(other),
            (Self::Both { own, source }, Self::Both { own: other_own, source: other_source }) => {
                own.join(engine, *other_own, places);
                source.extend(other_source);
            }
            (Self::States(states), Self::States(other)) => {
                for (state, other) in states.iter_mut().zip(&other) {
                    *state = engine.gather(&[state, other], places);
                }
            }
            _ => unreachable!("the layers of one network are alike"),
        }
    }
}

impl<E: Engine> Past<E> {
    /// The past of some of the sentences, in this order; one that is named twice goes on twice.
    pub(crate) fn choose(&self, engine: &E, sentences: &[usize]) -> Self {
        let layers = self.layers.iter().map(|layer| layer.choose(engine, sentences)).collect();
        Self { n_sentences: sentences.len(), layers, grows: self.grows }
    }

    /// Adds the past of other sentences behind these.
    pub(crate) fn join(&mut self, engine: &E, other: Self) {
        let of = |part: usize, n: usize| (0..n).map(move |row| (part, row));
        let places: Vec<(usize, usize)> = of(0, self.n_sentences).chain(of(1, other.n_sentences)).collect();
        self.n_sentences = places.len();
        for (here, other) in self.layers.iter_mut().zip(other.layers) {
            here.join(engine, other, &places);
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
