//! Labels of rows, made one row at a time.

use std::collections::{HashMap, HashSet};

use nissl_core::{Concept, Labels};
use regex::Regex;

use super::{ConceptSource, Expression, Row};
use crate::error::DataError;

/// Makes [`Labels`] from rows, one at a time.
///
/// Concepts stand in order of their sources, the labels of a column in order of their names. Sources that give the same
/// name give one concept, which stands with the source that names it: a row bears it if any of them says so. A concept that was asked for by name is there even if
/// no row bears it.
///
/// ```
/// use nissl_data::{LabelsBuilder, Row};
/// struct Word(&'static str, &'static str);
/// impl Row for Word {
///     fn form(&self) -> &str { self.0 }
///     fn label(&self, column: &str) -> Option<&str> { (column == "upos").then_some(self.1) }
/// }
/// let sources = ["upos".parse()?, "short := /^.{1,2}$/".parse()?];
/// let mut builder = LabelsBuilder::new(&sources, &["upos"])?;
/// for row in [Word("we", "PRON"), Word("run", "VERB")] {
///     builder.push(&row);
/// }
/// let labels = builder.finish();
/// let names: Vec<&str> = labels.concepts().iter().map(|concept| concept.name.as_str()).collect();
/// assert_eq!((names, labels.of(0), labels.of(1)), (vec!["PRON", "VERB", "short"], &[0, 2][..], &[1][..]));
/// # Ok::<(), nissl_data::DataError>(())
/// ```
pub struct LabelsBuilder {
    sources: Vec<Compiled>,
    /// The concepts in the order in which they were met, with their source.
    concepts: Vec<(usize, String)>,
    index: HashMap<String, u32>,
    rows: Vec<u32>,
    offsets: Vec<usize>,
}

enum Compiled {
    /// `prefix` is empty or `column=`.
    Column {
        column: String,
        prefix: String,
        only: HashSet<String>,
    },
    Words {
        concept: u32,
        words: HashSet<String>,
        fold_case: bool,
    },
    Regex {
        concept: u32,
        regex: Regex,
    },
    Predicate {
        concept: u32,
        expression: Expression,
    },
}

impl LabelsBuilder {
    /// Prepares the sources. `columns` are the columns that the rows have.
    ///
    /// # Errors
    /// If a source asks for a column that is not there, or cannot be understood.
    pub fn new<S: AsRef<str>>(sources: &[ConceptSource], columns: &[S]) -> Result<Self, DataError> {
        let mut builder = Self {
            sources: Vec::new(),
            concepts: Vec::new(),
            index: HashMap::new(),
            rows: Vec::new(),
            offsets: vec![0],
        };
        let several = several_columns(sources);
        for (source_idx, source) in sources.iter().enumerate() {
            let compiled = builder.compile(source_idx, source, columns, several)?;
            builder.sources.push(compiled);
        }
        Ok(builder)
    }

    fn compile<S: AsRef<str>>(
        &mut self,
        source_idx: usize,
        source: &ConceptSource,
        columns: &[S],
        several: bool,
    ) -> Result<Compiled, DataError> {
        let known = |column: &str| {
            let names = || columns.iter().map(AsRef::as_ref);
            if names().any(|name| name == column) {
                return Ok(());
            }
            Err(DataError::unknown("concepts", "column", column, names()))
        };
        Ok(match source {
            ConceptSource::Column { column, only } => {
                known(column)?;
                let prefix = if several { format!("{column}=") } else { String::new() };
                for label in only {
                    self.concept(source_idx, &format!("{prefix}{label}"));
                }
                Compiled::Column { column: column.clone(), prefix, only: only.iter().cloned().collect() }
            }
            ConceptSource::Words { name, words, fold_case } => {
                let fold = |word: &String| if *fold_case { word.to_lowercase() } else { word.clone() };
                let concept = self.concept(source_idx, name);
                Compiled::Words { concept, words: words.iter().map(fold).collect(), fold_case: *fold_case }
            }
            ConceptSource::Regex { name, pattern } => {
                let regex = Regex::new(pattern)
                    .map_err(|source| DataError::Pattern { pattern: pattern.clone(), source: Box::new(source) })?;
                Compiled::Regex { concept: self.concept(source_idx, name), regex }
            }
            ConceptSource::Predicate { name, expression } => {
                let expression = Expression::parse(expression)?;
                expression.columns().iter().try_for_each(|column| known(column))?;
                Compiled::Predicate { concept: self.concept(source_idx, name), expression }
            }
        })
    }

    /// The number of a concept, in the order in which they were met.
    fn concept(&mut self, source_idx: usize, name: &str) -> u32 {
        if let Some(&known) = self.index.get(name) {
            return known;
        }
        let id = self.concepts.len() as u32;
        self.concepts.push((source_idx, name.to_owned()));
        self.index.insert(name.to_owned(), id);
        id
    }

    /// Adds the next row.
    pub fn push(&mut self, row: &dyn Row) {
        let sources = std::mem::take(&mut self.sources);
        for (source_idx, source) in sources.iter().enumerate() {
            if let Some(concept) = self.borne(source_idx, source, row) {
                self.rows.push(concept);
            }
        }
        self.sources = sources;
        self.offsets.push(self.rows.len());
    }

    fn borne(&mut self, source_idx: usize, source: &Compiled, row: &dyn Row) -> Option<u32> {
        match source {
            Compiled::Column { column, prefix, only } => {
                let label = row.label(column).filter(|label| only.is_empty() || only.contains(*label))?;
                Some(match prefix.as_str() {
                    "" => self.concept(source_idx, label),
                    prefix => self.concept(source_idx, &format!("{prefix}{label}")),
                })
            }
            Compiled::Words { concept, words, fold_case: true } => {
                words.contains(&row.form().to_lowercase()).then_some(*concept)
            }
            Compiled::Words { concept, words, fold_case: false } => words.contains(row.form()).then_some(*concept),
            Compiled::Regex { concept, regex } => regex.is_match(row.form()).then_some(*concept),
            Compiled::Predicate { concept, expression } => expression.holds(row).then_some(*concept),
        }
    }

    /// The labels of all rows.
    pub fn finish(self) -> Labels {
        let mut order: Vec<u32> = (0..self.concepts.len() as u32).collect();
        order.sort_by_key(|&id| &self.concepts[id as usize]);
        let mut place = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            place[old as usize] = new as u32;
        }
        let concepts = order.iter().map(|&id| Concept::new(&self.concepts[id as usize].1)).collect();
        let rows = self
            .offsets
            .windows(2)
            .map(|pair| self.rows[pair[0]..pair[1]].iter().map(|&id| place[id as usize]).collect::<Vec<u32>>());
        Labels::several(concepts, rows)
    }
}

/// Whether labels of more than one column become concepts, so that their names need the column's.
fn several_columns(sources: &[ConceptSource]) -> bool {
    let mut columns = sources.iter().filter_map(|source| match source {
        ConceptSource::Column { column, .. } => Some(column),
        _ => None,
    });
    columns.next().is_some_and(|first| columns.any(|column| column != first))
}
