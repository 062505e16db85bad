//! A store that is read.

use std::path::{Path, PathBuf};

use nissl_core::{HookPoint, Labels, NameError, NeuronId, TextRows, nearest, site_columns};

use crate::error::StoreError;
use crate::manifest::{Manifest, SiteWidth, part_path};
use crate::moments::Moments;
use crate::selection::Selection;
use crate::tables::{self, ROWS, RowTable, SENTENCES, STATS, SentenceTable};

/// A store that is read: the rows that were committed when it was opened. It may be still being written.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    manifest: Manifest,
}

impl Store {
    /// Opens the store in `path`.
    ///
    /// # Errors
    /// [`StoreError::Io`] if there is none, [`StoreError::Format`] if its manifest is not one.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let root = path.as_ref().to_owned();
        let manifest = Manifest::load(&root)?;
        Ok(Self { root, manifest })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// What the store holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.manifest.n_rows as usize
    }

    /// The recorded hook points with their widths, in the order of the run.
    pub fn points(&self) -> impl ExactSizeIterator<Item = (HookPoint, usize)> + '_ {
        self.manifest.run.sites.iter().map(|site| (site.point, site.width as usize))
    }

    /// The activations at some hook points, in order of the forward pass, whatever the order of `points`.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] if a point is not recorded.
    pub fn select(&self, points: &[HookPoint]) -> Result<Selection, StoreError> {
        let mut sites = points.iter().map(|&point| self.site(point)).collect::<Result<Vec<_>, _>>()?;
        sites.sort_by_key(|site| site.point);
        sites.dedup();
        Ok(Selection::new(&self.root, &self.manifest, sites))
    }

    /// The activations at all hook points.
    pub fn all(&self) -> Selection {
        let mut sites = self.manifest.run.sites.clone();
        sites.sort_by_key(|site| site.point);
        Selection::new(&self.root, &self.manifest, sites)
    }

    pub(crate) fn site(&self, point: HookPoint) -> Result<SiteWidth, StoreError> {
        let sites = &self.manifest.run.sites;
        let found = sites.iter().find(|site| site.point == point).copied();
        let name = point.to_string();
        let unknown = || NameError {
            kind: "recorded hook point",
            nearest: nearest(&name, sites.iter().map(|site| site.point.to_string())),
            name: name.clone(),
        };
        Ok(found.ok_or_else(unknown)?)
    }

    /// What the rows stand for, for methods.
    ///
    /// # Errors
    /// If the table of rows is corrupt or cannot be read.
    pub fn text(&self) -> Result<TextRows, StoreError> {
        let rows = self.rows()?;
        Ok(TextRows::from_words(rows.sentence.iter().copied().zip(&rows.word)))
    }

    /// What the rows stand for: all that is known.
    ///
    /// # Errors
    /// If the table of rows is corrupt or cannot be read.
    pub fn rows(&self) -> Result<RowTable, StoreError> {
        let names = &self.manifest.run.word_columns;
        let mut table = RowTable::new(names.len());
        for (idx, part) in self.manifest.parts.iter().enumerate() {
            table.read(&part_path(&self.root, ROWS, idx), part.rows, part.n_rows, names)?;
        }
        let n_sentences = self.manifest.n_recorded();
        if let Some(&last) = table.sentence.last()
            && u64::from(last) >= n_sentences
        {
            let path = self.root.join(ROWS);
            return Err(StoreError::format(&path, "column sentence", format!("numbers below {n_sentences}"), last));
        }
        Ok(table)
    }

    /// The sentences, in order of the corpus.
    ///
    /// # Errors
    /// If the table of sentences is corrupt or cannot be read.
    pub fn sentences(&self) -> Result<SentenceTable, StoreError> {
        let names = &self.manifest.run.sentence_columns;
        let mut table = SentenceTable::new(names.len());
        for (idx, part) in self.manifest.parts.iter().enumerate() {
            table.read(&part_path(&self.root, SENTENCES, idx), part.sentences, part.n_sentences, names)?;
        }
        Ok(table)
    }

    /// Names of the label columns: those of words, then those of sentences.
    pub fn label_columns(&self) -> impl Iterator<Item = &str> {
        let run = &self.manifest.run;
        run.word_columns.iter().chain(&run.sentence_columns).map(String::as_str)
    }

    /// The labels of all rows in one column; that of a sentence is the label of each of its rows. A column of words
    /// comes before one of sentences with the same name.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] if there is no such column; otherwise as [`Store::rows`].
    pub fn labels(&self, column: &str) -> Result<Labels, StoreError> {
        let run = &self.manifest.run;
        if run.word_columns.iter().any(|name| name == column) {
            let mut labels = Vec::with_capacity(self.n_rows());
            for (idx, part) in self.manifest.parts.iter().enumerate() {
                tables::read_labels(&part_path(&self.root, ROWS, idx), part.rows, part.n_rows, column, &mut labels)?;
            }
            return Ok(Labels::from_names(&labels));
        }
        let Some(idx) = run.sentence_columns.iter().position(|name| name == column) else {
            let nearest = nearest(column, self.label_columns());
            return Err(NameError { kind: "label column", name: column.to_owned(), nearest }.into());
        };
        let (rows, sentences) = (self.rows()?, self.sentences()?);
        let labels: Vec<Option<&String>> =
            rows.sentence.iter().map(|&sentence| sentences.labels[idx][sentence as usize].as_ref()).collect();
        Ok(Labels::from_names(&labels))
    }

    /// Statistics of every neuron over all rows, in order of the forward pass.
    ///
    /// # Errors
    /// If the table of statistics is corrupt or cannot be read.
    pub fn moments(&self) -> Result<Vec<(NeuronId, Moments)>, StoreError> {
        let sites: Vec<_> = self.points().collect();
        let neurons = site_columns(&sites);
        let mut moments = vec![Moments::default(); neurons.len()];
        for (idx, part) in self.manifest.parts.iter().enumerate() {
            tables::read_moments(&part_path(&self.root, STATS, idx), part.stats, &mut moments)?;
        }
        let mut all: Vec<_> = neurons.into_iter().zip(moments).collect();
        all.sort_by_key(|(neuron, _)| *neuron);
        Ok(all)
    }
}
