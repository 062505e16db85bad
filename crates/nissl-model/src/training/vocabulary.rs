//! Tokenizers for new models, learned from their text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tokenizers as hf;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;

use crate::error::LoadError;
use crate::tokenizer::{Tokenizer, vocabulary};

/// The tokens that frame a text of a causal model.
const END: &str = "<|endoftext|>";
/// Those of a masked one.
const MASKED: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// A kind of tokenizer that can be learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTokenizer {
    /// Byte-pair encoding of bytes: no text is unknown to it.
    Bpe {
        /// Size of the vocabulary with its 256 bytes and special tokens.
        vocabulary: usize,
        /// Whether it gets the tokens of a masked model: `[CLS]` and `[SEP]` around a text, `[MASK]`.
        masked: bool,
    },
    /// The characters of the text; others are passed over.
    Characters,
}

impl NewTokenizer {
    /// Learns a tokenizer from pieces of text.
    ///
    /// # Errors
    /// If a text is none of this kind could learn from, or the vocabulary is too small.
    pub fn learn(self, texts: impl Iterator<Item = String> + Send) -> Result<Tokenizer, LoadError> {
        let path = Path::new("tokenizer.json");
        let json = match self {
            Self::Bpe { vocabulary, masked } => bpe(vocabulary, masked, texts),
            Self::Characters => {
                let mut seen = BTreeSet::new();
                texts.for_each(|text| seen.extend(text.chars()));
                let ids: BTreeMap<String, u32> = seen.iter().zip(0..).map(|(c, id)| (c.to_string(), id)).collect();
                Ok(vocabulary::characters(&ids).to_string())
            }
        };
        let json = json.map_err(|source| LoadError::Tokenizer { path: path.to_owned(), source })?;
        Tokenizer::from_bytes(path, json.as_bytes())
    }
}

fn bpe(vocabulary: usize, masked: bool, texts: impl Iterator<Item = String> + Send) -> Result<String, hf::Error> {
    let special: &[&str] = if masked { &MASKED } else { &[END] };
    let least = 256 + special.len();
    if vocabulary < least {
        return Err(format!("expected a vocabulary of {least} or more, got {vocabulary}").into());
    }
    let mut tokenizer = hf::Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let trainer = BpeTrainer::builder()
        .vocab_size(vocabulary)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(special.iter().map(|token| hf::AddedToken::from(*token, true)).collect())
        .build();
    tokenizer.train(&mut TrainerWrapper::BpeTrainer(trainer), texts)?;
    if masked {
        let id = |token: &str| tokenizer.token_to_id(token).expect("it is a special token of the training");
        let around = TemplateProcessing::builder()
            .try_single("[CLS] $A [SEP]")?
            .special_tokens(vec![("[CLS]", id("[CLS]")), ("[SEP]", id("[SEP]"))])
            .build()?;
        tokenizer.with_post_processor(Some(around));
    } else {
        tokenizer.with_post_processor(Some(ByteLevel::new(true, false, true)));
    }
    tokenizer.to_string(true)
}
