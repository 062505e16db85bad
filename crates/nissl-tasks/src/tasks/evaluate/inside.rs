//! What the recorded model loses of a concept's words without the best neurons.

use nissl_core::{Context, Model, Progress, Ranking};
use nissl_data::{BLANK, TextPrompt};
use nissl_methods::ablating::Removal;
use nissl_methods::evaluation::damage::{Damage, DamageOptions, damage, drawn_rows};
use nissl_model::{LanguageModel, LoadOptions};
use nissl_store::{RowTable, SentenceTable, Store};
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::prompts::Coder;
use crate::recorded;

/// What is removed inside the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inside {
    /// The recorded model: folder, file or Hub name; nothing is removed if there is none.
    pub model: Option<String>,
    /// How it is loaded.
    pub load: LoadOptions,
    /// Words with a concept that the model is to predict, and as many without.
    pub words: usize,
    /// Numbers of neurons.
    pub k: Vec<usize>,
    /// What becomes of them, and at which positions.
    pub how: Removal,
}

impl Default for Inside {
    fn default() -> Self {
        let DamageOptions { k, how, .. } = DamageOptions::default();
        Self { model: None, load: LoadOptions::default(), words: 30, k, how }
    }
}

/// The model with the texts that it was recorded on.
pub(crate) struct Recorded<'a> {
    config: &'a Inside,
    model: LanguageModel,
    rows: RowTable,
    sentences: SentenceTable,
}

impl<'a> Recorded<'a> {
    /// Loads the model, if one is given.
    ///
    /// # Errors
    /// If it cannot be loaded or is not the one that was recorded, or the store cannot be read.
    pub(super) fn open(config: &'a Inside, store: &Store, progress: &dyn Progress) -> Result<Option<Self>, TaskError> {
        let Some(source) = &config.model else { return Ok(None) };
        let model = recorded::load(source, &config.load, store, progress)?;
        Ok(Some(Self { config, model, rows: store.rows()?, sentences: store.sentences()? }))
    }

    /// What is lost of the words with a concept; nothing where no word with it, or without, is one token.
    ///
    /// # Errors
    /// If a neuron is not the model's, the model cannot run, or the user stops it.
    pub(super) fn damage(
        &self,
        has: &[bool],
        rankings: &[&Ranking],
        (random_sets, seed): (usize, u64),
        ctx: Context<'_>,
    ) -> Result<Option<Damage>, TaskError> {
        let coder = Coder::new(&self.model, self.model.tokenizer()?)?;
        let [own, others] = drawn_rows(has, seed).map(|rows| {
            let texts = rows.into_iter().map(|row| self.prompt(row));
            coder.first(texts, self.config.words)
        });
        let (own, others) = (own?, others?);
        if own.is_empty() || others.is_empty() {
            return Ok(None);
        }
        let Inside { k, how, .. } = self.config;
        let options = DamageOptions { k: k.clone(), random_sets, how: how.clone() };
        let prompts = [own.as_slice(), &others].concat();
        Ok(Some(damage((&self.model, &prompts, own.len()), rankings, &options, ctx)?))
    }

    /// The text around the word of a row, as much of it as the model sees.
    pub(super) fn prompt(&self, row: usize) -> TextPrompt {
        let text = &self.sentences.text[self.rows.sentence[row] as usize];
        let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
        let (start, end) = (self.rows.start[row] as usize, self.rows.end[row] as usize);
        let after = if self.model.info().causal { "" } else { part(end..text.len()) };
        TextPrompt {
            text: format!("{}{BLANK}{after}", part(0..start)),
            target: self.rows.word[row].clone(),
            ..TextPrompt::default()
        }
    }
}
