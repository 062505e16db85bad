//! A store to NeuroX's files.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use ndarray::{Array2, s};
use nissl_core::{Activations, HookPoint, Progress, Site};

use crate::error::StoreError;
use crate::files;
use crate::manifest::{Run, SiteWidth};
use crate::neurox::sidecar::Sidecar;
use crate::neurox::{Format, hdf5, json};
use crate::selection::Selection;
use crate::store::Store;
use crate::tables::RowTable;

/// What is exported.
#[derive(Clone, Debug, Default)]
pub struct ExportOptions {
    /// The hook points that become layers 0, 1, ...; all of one width. If empty: the embedding and the residual
    /// stream after each block, as far as they are recorded.
    pub points: Vec<HookPoint>,
    /// Whether each layer gets a file of its own, `name-layer0.hdf5`, ..., as NeuroX's decomposition makes them.
    pub decompose: bool,
    /// The label column that is written as `.label` beside the file, with the words as `.word`; none if `None`.
    pub labels: Option<String>,
}

/// Writes the activations of `store` as the NeuroX file `path`, whose ending tells the format, and beside it what that
/// format has no place for. Returns the files that were written, the activations first.
///
/// # Errors
/// [`StoreError::Input`] if the store is not complete, the points have different widths, or labels are asked for and a
/// word has a blank in it; otherwise what reading the store or writing the files gives. A file that could not be
/// finished is not left behind under its name.
pub fn export(
    store: &Store,
    path: &Path,
    options: &ExportOptions,
    progress: &dyn Progress,
) -> Result<Vec<PathBuf>, StoreError> {
    let format = Format::of(path)?;
    if !store.manifest().complete {
        return Err(StoreError::input("store to export", "a complete one", "one whose run has not ended"));
    }
    let layers = layers(store, &options.points)?;
    let text = Text::read(store)?;
    let mut written = Vec::new();
    if options.decompose {
        for (layer_idx, layer) in layers.iter().enumerate() {
            let path = layer_path(path, layer_idx);
            write(store, &path, format, std::slice::from_ref(layer), &text, progress)?;
            written.extend([path.clone(), Sidecar::path(&path)]);
        }
    } else {
        write(store, path, format, &layers, &text, progress)?;
        written.extend([path.to_owned(), Sidecar::path(path)]);
    }
    if let Some(column) = &options.labels {
        written.extend(write_labels(store, path, column, &text)?);
    }
    Ok(written)
}

/// `acts.hdf5` → `acts-layer3.hdf5`.
fn layer_path(path: &Path, layer_idx: usize) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-layer{layer_idx}.{extension}"))
}

fn layers(store: &Store, points: &[HookPoint]) -> Result<Vec<SiteWidth>, StoreError> {
    let recorded = &store.manifest().run.sites;
    let mut layers = Vec::new();
    if points.is_empty() {
        let is_layer = |site: &&SiteWidth| matches!(site.point.site(), Site::Embed | Site::ResidPost);
        layers.extend(recorded.iter().filter(is_layer).copied());
        layers.sort_by_key(|site| (site.point.site() != Site::Embed, site.point));
    } else {
        for &point in points {
            layers.push(store.site(point)?);
        }
    }
    let Some(first) = layers.first() else {
        let expected = "hook_embed or blocks.*.hook_resid_post, or points that are named";
        return Err(StoreError::input("layers to export", expected, "a store with neither"));
    };
    if let Some(other) = layers.iter().find(|layer| layer.width != first.width) {
        let expected = format!("{} neurons, as {} has", first.width, first.point);
        return Err(StoreError::input(format!("width of {}", other.point), expected, other.width));
    }
    let mut seen = HashSet::new();
    match layers.iter().find(|layer| !seen.insert(layer.point)) {
        Some(twice) => Err(StoreError::input("layers to export", "each once", format!("{} twice", twice.point))),
        None => Ok(layers),
    }
}

/// The rows of each sentence.
struct Text {
    rows: RowTable,
    sentences: Vec<Range<usize>>,
}

impl Text {
    fn read(store: &Store) -> Result<Self, StoreError> {
        let rows = store.rows()?;
        let rows_of = |sentence: u32| {
            let first = rows.sentence.partition_point(|&s| s < sentence);
            first..rows.sentence.partition_point(|&s| s <= sentence)
        };
        let sentences = (0..store.manifest().n_sentences as u32).map(rows_of).collect();
        Ok(Self { rows, sentences })
    }

    fn words(&self, sentence: &Range<usize>) -> Vec<&str> {
        self.rows.word[sentence.clone()].iter().map(String::as_str).collect()
    }
}

/// Rows one after the other; a block of them is in memory at a time.
struct Scan {
    x: Selection,
    block: Array2<f32>,
    rows: Range<usize>,
}

impl Scan {
    /// The values of a row, `[n_neurons]`.
    fn row(&mut self, row: usize) -> Result<&[f32], StoreError> {
        if !self.rows.contains(&row) {
            let first = row / self.x.row_block() * self.x.row_block();
            self.rows = first..(first + self.x.row_block()).min(self.x.n_tokens());
            let out = self.block.slice_mut(s![..self.rows.len(), ..]);
            self.x.read_block(self.rows.clone(), 0..self.x.neurons().len(), out)?;
        }
        let row = self.block.row(row - self.rows.start);
        Ok(row.to_slice().expect("a block has its rows whole"))
    }
}

/// Writes one file; nothing of it is left behind if it cannot be finished.
fn write(
    store: &Store,
    path: &Path,
    format: Format,
    layers: &[SiteWidth],
    text: &Text,
    progress: &dyn Progress,
) -> Result<(), StoreError> {
    write_all(store, path, format, layers, text, progress).inspect_err(|_| {
        let _ = files::remove(&files::temporary(path));
    })
}

enum Out {
    Hdf5(hdf5::Writer),
    Json(json::Writer),
}

fn write_all(
    store: &Store,
    path: &Path,
    format: Format,
    layers: &[SiteWidth],
    text: &Text,
    progress: &dyn Progress,
) -> Result<(), StoreError> {
    let points: Vec<_> = layers.iter().map(|layer| layer.point).collect();
    let x = store.select(&points)?;
    // The selection has the layers in order of the forward pass; the file has them in the order that was asked for.
    let first_column = |point| x.neurons().partition_point(|neuron| neuron.point < point);
    let columns: Vec<usize> = points.iter().map(|&point| first_column(point)).collect();
    let width = layers[0].width as usize;
    let block = Array2::zeros((x.row_block(), x.neurons().len()));
    let mut scan = Scan { x, block, rows: 0..0 };
    let mut out = match format {
        Format::Hdf5 => Out::Hdf5(hdf5::Writer::create(path)?),
        Format::Json => Out::Json(json::Writer::create(path)?),
    };
    let mut index = String::from("{");
    let mut seen = HashSet::new();
    let mut with_blanks = BTreeMap::new();
    progress.stage("export", Some(text.sentences.len() as u64), "sentences");
    for (idx, rows) in text.sentences.iter().enumerate() {
        if progress.cancelled() {
            return Err(StoreError::Cancelled);
        }
        let mut values = vec![0.0; layers.len() * rows.len() * width];
        for (word_idx, row) in rows.clone().enumerate() {
            let row = scan.row(row)?;
            for (layer_idx, &column) in columns.iter().enumerate() {
                let start = (layer_idx * rows.len() + word_idx) * width;
                values[start..start + width].copy_from_slice(&row[column..column + width]);
            }
        }
        let words = text.words(rows);
        if words.iter().any(|word| word.is_empty() || word.contains(' ')) {
            with_blanks.insert(idx, words.iter().map(|&word| word.to_owned()).collect());
        }
        match &mut out {
            Out::Hdf5(out) => {
                out.add(idx.to_string(), [layers.len(), rows.len(), width], &values)?;
                add_to_index(&mut index, &mut seen, &words.join(" "), idx);
            }
            Out::Json(out) => out.add(&words, layers.len(), width, &values)?,
        }
        progress.step(idx as u64 + 1);
    }
    let run = Run {
        sites: layers.to_vec(),
        word_columns: Vec::new(),
        sentence_columns: Vec::new(),
        ..store.manifest().run.clone()
    };
    // The sidecar comes first: without the file it says nothing, while the file without it would say less.
    Sidecar::new(run, with_blanks).save(path)?;
    match out {
        Out::Hdf5(out) => out.finish(&(index + "}")),
        Out::Json(out) => out.finish(),
    }
}

/// Adds a sentence to the index of a file, told from its equals as NeuroX tells it.
fn add_to_index(index: &mut String, seen: &mut HashSet<String>, sentence: &str, idx: usize) {
    let mut name = sentence.to_owned();
    let mut occurrence = 1;
    while !seen.insert(name.clone()) {
        occurrence += 1;
        name = format!("{sentence} (Occurrence {occurrence})");
    }
    if index.len() > 1 {
        index.push_str(", ");
    }
    json::push_string(index, &name);
    index.push_str(": ");
    json::push_string(index, &idx.to_string());
}

/// `.word` and `.label`: a sentence a line, entries separated by blanks; a row without a label has `_`.
fn write_labels(store: &Store, path: &Path, column: &str, text: &Text) -> Result<[PathBuf; 2], StoreError> {
    let labels = store.labels(column)?;
    let (mut words, mut names) = (String::new(), String::new());
    for (idx, rows) in text.sentences.iter().enumerate() {
        for row in rows.clone() {
            let label = labels.of(row).first().map_or("_", |&label| labels.concepts()[label as usize].name.as_str());
            for (out, entry, what) in [(&mut words, text.rows.word[row].as_str(), "word"), (&mut names, label, "label")]
            {
                if entry.is_empty() || entry.contains(char::is_whitespace) {
                    let what = format!("{what} of row {row}, sentence {idx}");
                    return Err(StoreError::input(what, "no blanks, which NeuroX separates at", format!("'{entry}'")));
                }
                if row > rows.start {
                    out.push(' ');
                }
                out.push_str(entry);
            }
        }
        words.push('\n');
        names.push('\n');
    }
    let paths = [path.with_extension("word"), path.with_extension("label")];
    files::replace(&paths[0], words.as_bytes())?;
    files::replace(&paths[1], names.as_bytes())?;
    Ok(paths)
}
