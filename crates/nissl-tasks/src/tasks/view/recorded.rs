//! Sentences of a store, colored by the activations of neurons.

use std::path::Path;

use nissl_core::Activations as _;

use super::{Colors, Config, Sentence, View, Word};
use crate::error::TaskError;
use crate::tasks::inspect::{Text, columns};
use crate::tasks::rank::open_store;

/// One view a neuron.
pub(super) fn views(config: &Config) -> Result<Vec<View>, TaskError> {
    if config.neurons.is_empty() {
        let got = "none; without neurons there must be a text that a model reads";
        return Err(TaskError::config("neurons", "a neuron such as 3.mlp_post[1207]", got));
    }
    let store = open_store(Path::new(&config.source))?;
    let x = columns(&store, &config.neurons)?;
    let (text, rows) = (Text::read(&store)?, store.text()?);
    let starts: Vec<usize> = rows.sentences().map(|rows| rows.start).collect();
    if config.first >= starts.len() {
        let expected = format!("a sentence from 0 to {}", starts.len().saturating_sub(1));
        return Err(TaskError::config("first", expected, config.first.to_string()));
    }
    let shown = &starts[config.first..starts.len().min(config.first + config.sentences)];
    let view = |neuron: &nissl_core::NeuronId| {
        let idx = x.neurons().binary_search(neuron).expect("the columns are those of the neurons");
        let column = x.values().column(idx).to_vec();
        let colors = Colors::new(config, Some(neuron.point.site()), &column);
        let sentence = |&start: &usize| {
            let passage = text.passage(start, &rows, &column);
            let word = |word: crate::tasks::inspect::PassageWord| Word {
                share: colors.share(word.activation),
                value: Some(word.activation),
                name: word.name,
                before: word.before,
            };
            Sentence { name: passage.name, words: passage.words.into_iter().map(word).collect() }
        };
        let sentences = shown.iter().map(sentence).collect();
        colors.view(neuron.to_string(), sentences)
    };
    Ok(config.neurons.iter().map(view).collect())
}
