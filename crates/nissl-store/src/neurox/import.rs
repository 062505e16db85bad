//! NeuroX's files to a store.

use std::path::Path;

use nissl_core::Progress;

use crate::dtype::Dtype;
use crate::error::StoreError;
use crate::files;
use crate::manifest::{CorpusRef, ModelRef, Run, SiteWidth};
use crate::neurox::sidecar::Sidecar;
use crate::neurox::{Reader, Sentence, layer_points};
use crate::sentence::{Row, SentenceRows, Values};
use crate::store::Store;
use crate::writer::{WriteOptions, Writer};

/// Rows that are handed to the writer at a time.
const ROWS_PER_BLOCK: usize = 64;

/// How a NeuroX file is imported.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// How values are kept; NeuroX's own type by default.
    pub dtype: Dtype,
    /// The text, where it is known better than the file knows it.
    pub text: Option<ImportText>,
    /// How the store is written.
    pub write: WriteOptions,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { dtype: Dtype::Float32, text: None, write: WriteOptions::default() }
    }
}

/// Words and labels of all sentences, from `.word` and `.label` files or from any corpus.
#[derive(Clone, Debug, Default)]
pub struct ImportText {
    /// Name and digest of the corpus.
    pub corpus: CorpusRef,
    /// Names of the label columns of words.
    pub word_columns: Vec<String>,
    /// Names of the label columns of sentences.
    pub sentence_columns: Vec<String>,
    /// The sentences, as many and as long as those of the file.
    pub sentences: Vec<SentenceRows>,
}

/// Writes the activations of the NeuroX file `source` as a store in `path`. An import that was stopped goes on.
///
/// What the layers are, the model and the aggregation are read from the sidecar beside `source`, if there is one.
/// Without it the layers are those of [`layer_points`]; a decomposed file, `name-layer3.hdf5`, has the one that its
/// name says.
///
/// # Errors
/// [`StoreError::Format`] naming the line or dataset of `source` that is not as it should be, or the sentence that
/// has another number of words than the text; otherwise as [`Writer`].
pub fn import(
    source: &Path,
    path: &Path,
    options: &ImportOptions,
    progress: &dyn Progress,
) -> Result<Store, StoreError> {
    let sidecar = Sidecar::load(source)?;
    let mut sentences = Reader::open(source)?;
    // Sentences without words say nothing of layers, so the store begins with the first that has some.
    let mut empty = 0;
    let first = loop {
        match sentences.next().transpose()? {
            Some(sentence) if sentence.n_words == 0 => empty += 1,
            first => break first,
        }
    };
    let first = first.ok_or_else(|| {
        StoreError::format(source, "sentences", "at least one with words", format!("{empty} without"))
    })?;
    let run = run(source, options, sidecar.as_ref(), &first)?;
    let mut import = Import {
        source,
        text: options.text.as_ref(),
        sidecar: sidecar.as_ref(),
        n_layers: first.n_layers,
        width: first.width,
        block: Vec::new(),
        values: vec![Vec::new(); first.n_layers],
        n_sentences: 0,
        writer: Writer::create_or_resume(path, &run, &options.write)?,
    };
    let stored = import.writer.resume_point().sentence;
    progress.stage("import", None, "sentences");
    let before = (0..empty).map(|_| Ok(Sentence { words: Some(Vec::new()), ..Sentence::default() }));
    for sentence in before.chain([Ok(first)]).chain(sentences) {
        if progress.cancelled() {
            return Err(StoreError::Cancelled);
        }
        let sentence = sentence?;
        if (import.n_sentences as u64) < stored {
            import.n_sentences += 1;
        } else {
            import.add(sentence)?;
        }
        progress.step(import.n_sentences as u64);
    }
    import.finish()
}

/// What the store says it holds.
fn run(source: &Path, options: &ImportOptions, sidecar: Option<&Sidecar>, first: &Sentence) -> Result<Run, StoreError> {
    let mut run = match sidecar {
        Some(sidecar) => sidecar.run.clone(),
        None => Run {
            model: ModelRef::default(),
            corpus: CorpusRef { name: stem(source), digest: files::digest(source)? },
            aggregation: "unknown".to_owned(),
            sites: sites(source, first),
            extra: serde_json::json!({ "imported_from": "NeuroX" }),
            ..Run::default()
        },
    };
    let expected = (run.sites.len(), run.sites.first().map_or(0, |site| site.width as usize));
    if (first.n_layers, first.width) != expected {
        let expected = format!("{} layers of {} neurons, as its sidecar says", expected.0, expected.1);
        let got = format!("{} of {}", first.n_layers, first.width);
        return Err(StoreError::format(source, "layers", expected, got));
    }
    run.dtype = options.dtype;
    if let Some(text) = &options.text {
        run.corpus = text.corpus.clone();
        run.word_columns.clone_from(&text.word_columns);
        run.sentence_columns.clone_from(&text.sentence_columns);
    }
    Ok(run)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn sites(source: &Path, first: &Sentence) -> Vec<SiteWidth> {
    let stem = stem(source);
    let layer = stem.rsplit_once("-layer").and_then(|(_, layer)| layer.parse::<u16>().ok());
    let points = match layer {
        Some(layer) if first.n_layers == 1 => layer_points(usize::from(layer) + 1).split_off(usize::from(layer)),
        _ => layer_points(first.n_layers),
    };
    points.into_iter().map(|point| SiteWidth { point, width: first.width as u32 }).collect()
}

struct Import<'a> {
    source: &'a Path,
    text: Option<&'a ImportText>,
    sidecar: Option<&'a Sidecar>,
    n_layers: usize,
    width: usize,
    block: Vec<SentenceRows>,
    /// Values of the block, one a layer, each `[n_rows, width]`.
    values: Vec<Vec<f32>>,
    n_sentences: usize,
    writer: Writer,
}

impl Import<'_> {
    fn add(&mut self, sentence: Sentence) -> Result<(), StoreError> {
        let per_layer = sentence.n_words * self.width;
        if per_layer > 0 {
            for (values, layer) in self.values.iter_mut().zip(sentence.values.chunks_exact(per_layer)) {
                values.extend_from_slice(layer);
            }
        }
        let rows = self.rows(sentence)?;
        self.block.push(rows);
        self.n_sentences += 1;
        if self.values[0].len() >= ROWS_PER_BLOCK * self.width { self.flush() } else { Ok(()) }
    }

    fn rows(&self, sentence: Sentence) -> Result<SentenceRows, StoreError> {
        let idx = self.n_sentences;
        let unfit =
            |expected: String, got: String| StoreError::format(self.source, format!("sentence {idx}"), expected, got);
        if let Some(text) = self.text {
            let known = text.sentences.get(idx);
            let known = known.ok_or_else(|| unfit("no more sentences than the text".into(), "one more".into()))?;
            if known.rows.len() != sentence.n_words {
                let expected = format!("{} words, as its text has ('{}')", known.rows.len(), known.text);
                return Err(unfit(expected, sentence.n_words.to_string()));
            }
            return Ok(known.clone());
        }
        let known = self.sidecar.and_then(|sidecar| sidecar.words.get(&idx));
        let words = known.filter(|words| words.len() == sentence.n_words).cloned().or(sentence.words);
        let words = words.ok_or_else(|| {
            let expected = format!("{} words separated by blanks", sentence.n_words);
            unfit(expected, "another number: import it together with its words".to_owned())
        })?;
        let text = words.join(" ");
        let mut start = 0;
        let mut rows = Vec::with_capacity(words.len());
        for (position, word) in words.into_iter().enumerate() {
            let end = start + word.len() as u32;
            rows.push(Row { position: position as u32, word, start, end, n_tokens: 1, labels: Vec::new() });
            start = end + 1;
        }
        Ok(SentenceRows { text, rows, ..SentenceRows::default() })
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let values: Vec<_> = self.values.iter().map(|values| Values::F32(values)).collect();
        self.writer.append(&self.block, &values)?;
        self.block.clear();
        self.values.iter_mut().for_each(Vec::clear);
        debug_assert_eq!(self.values.len(), self.n_layers, "a buffer a layer");
        Ok(())
    }

    fn finish(mut self) -> Result<Store, StoreError> {
        if let Some(text) = self.text
            && text.sentences.len() != self.n_sentences
        {
            let expected = format!("{}, as the text has", text.sentences.len());
            return Err(StoreError::format(self.source, "number of sentences", expected, self.n_sentences));
        }
        if !self.block.is_empty() {
            self.flush()?;
        }
        self.writer.finish()
    }
}
