//! What tokens put into a model, and mixtures of them.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate, s};
use nissl_core::{Batch, HookPlan, HookPoint, MethodError, Site, Stack};

use super::{NAME, Texts};

/// Tokens whose embeddings are compared to see whether places differ by more than a shift.
const SAMPLE: usize = 64;
/// How much of the embeddings' size places may differ by beside a shift.
const ROUNDING: f32 = 1e-5;

/// Embeddings at every place of a text: `mean of the place + row of a table`.
pub(super) struct Table {
    /// Where they enter the model.
    pub(super) point: HookPoint,
    /// The rows of the allowed tokens, `[n_tokens, width]`, with mean 0: one table for all places, or one a place.
    tables: Vec<Array2<f32>>,
    /// The mean of each place, `[words, width]`.
    means: Array2<f32>,
    /// Root mean square of the first table.
    pub(super) size: f64,
}

impl Table {
    pub(super) fn new(texts: &Texts<'_>) -> Result<Self, MethodError> {
        let error = |name, value, expected| MethodError::Parameter { method: NAME, name, value, expected };
        let info = texts.model.info();
        let embedding = info.points().find(|(point, _)| point.site() == Site::Embed);
        let Some((point, width)) = embedding else {
            return Err(error("model", info.name.clone(), "one that has embeddings"));
        };
        if let Some(neuron) = texts.neurons.iter().find(|neuron| neuron.point.stack() == Stack::Decoder) {
            return Err(error("neurons", neuron.to_string(), "neurons of the encoder, whose words are sought"));
        }
        let (n_tokens, words) = (texts.tokens.allowed.len(), texts.how.words);
        let table_size = n_tokens * width * size_of::<f32>();
        let check = |n_tables: usize| {
            if n_tables * table_size <= texts.ctx.memory {
                return Ok(());
            }
            let value = format!("{} bytes", texts.ctx.memory);
            Err(error(
                "memory",
                value,
                "room for the embeddings of all tokens, at every place if they differ by more than a shift",
            ))
        };
        check(1)?;
        let first = embeddings(texts, point, 0, &texts.tokens.allowed)?;
        let sample = SAMPLE.min(n_tokens);
        let mut shifts = Array2::zeros((words, width));
        let mut alike = true;
        for place in 1..words {
            let here = embeddings(texts, point, place, &texts.tokens.allowed[..sample])?;
            let moved = &here - &first.slice(s![..sample, ..]);
            let shift = moved.mean_axis(Axis(0)).expect("a token is allowed at least");
            let off = (&moved - &shift).iter().fold(0_f32, |most, off| most.max(off.abs()));
            alike &= off <= ROUNDING * here.iter().fold(0_f32, |most, value| most.max(value.abs()));
            shifts.row_mut(place).assign(&shift);
        }
        let mut tables = vec![first];
        if !alike {
            check(words)?;
            for place in 1..words {
                tables.push(embeddings(texts, point, place, &texts.tokens.allowed)?);
            }
            shifts.fill(0.0);
        }
        let mut means = shifts;
        for (place, mut mean) in means.outer_iter_mut().enumerate() {
            let table = &tables[if alike { 0 } else { place }];
            let sum = table.outer_iter().fold(Array1::<f64>::zeros(width), |sum, row| sum + row.mapv(f64::from));
            mean += &sum.mapv(|sum| (sum / n_tokens as f64) as f32);
        }
        for (place, table) in tables.iter_mut().enumerate() {
            // The shift of the first place is 0.
            *table -= &means.row(place);
        }
        let squares: f64 = tables[0].iter().map(|&value| f64::from(value).powi(2)).sum();
        let size = (squares / (n_tokens * width) as f64).sqrt();
        Ok(Self { point, tables, means, size })
    }

    fn table(&self, place: usize) -> &Array2<f32> {
        &self.tables[if self.tables.len() == 1 { 0 } else { place }]
    }

    /// Tokens that may be chosen.
    pub(super) fn n_tokens(&self) -> usize {
        self.tables[0].nrows()
    }

    /// Width of an embedding.
    pub(super) fn width(&self) -> usize {
        self.means.ncols()
    }

    /// What a token puts in at a place, from the mean on.
    pub(super) fn row(&self, place: usize, token: usize) -> ArrayView1<'_, f32> {
        self.table(place).row(token)
    }

    /// The mean at a place.
    pub(super) fn mean(&self, place: usize) -> ArrayView1<'_, f32> {
        self.means.row(place)
    }

    /// Mixtures of embeddings by weights `[n_rows, n_tokens]`, from the mean on, `[n_rows, width]`; row i stands at
    /// place i % words.
    pub(super) fn mix(&self, weights: &Array2<f32>) -> Array2<f32> {
        if let [table] = self.tables.as_slice() {
            return weights.dot(table);
        }
        let rows: Vec<Array2<f32>> = self.by_place(weights, |table, own| own.dot(table));
        let views: Vec<_> = rows.iter().map(|row| row.view()).collect();
        concatenate(Axis(0), &views).expect("rows have the width of an embedding")
    }

    /// How something changes with the weights, given how it changes with the mixtures `[n_rows, width]`:
    /// `[n_rows, n_tokens]`.
    pub(super) fn unmix(&self, gradient: &Array2<f32>) -> Array2<f32> {
        if let [table] = self.tables.as_slice() {
            return gradient.dot(&table.t());
        }
        let rows: Vec<Array2<f32>> = self.by_place(gradient, |table, own| own.dot(&table.t()));
        let views: Vec<_> = rows.iter().map(|row| row.view()).collect();
        concatenate(Axis(0), &views).expect("rows have a value a token")
    }

    fn by_place(
        &self,
        values: &Array2<f32>,
        of: impl Fn(&Array2<f32>, ArrayView2<'_, f32>) -> Array2<f32>,
    ) -> Vec<Array2<f32>> {
        let row = |(idx, own): (usize, ArrayView1<'_, f32>)| {
            of(self.table(idx % self.tables.len()), own.insert_axis(Axis(0)))
        };
        values.outer_iter().enumerate().map(row).collect()
    }

    /// The token whose embedding has the smallest angle to a vector, seen from the mean; the first of equals.
    pub(super) fn nearest(&self, place: usize, vector: &ArrayView1<'_, f32>) -> usize {
        let along = self.table(place).dot(vector);
        let lengths = self.table(place).outer_iter().map(|row| row.dot(&row).sqrt());
        let cosines = along.iter().zip(lengths).map(|(&along, length)| if length > 0.0 { along / length } else { 0.0 });
        first_largest(cosines)
    }
}

/// The first of the largest values.
pub(super) fn first_largest(values: impl Iterator<Item = f32>) -> usize {
    let larger = |best: (usize, f32), (idx, value): (usize, f32)| if value > best.1 { (idx, value) } else { best };
    values.enumerate().fold((0, f32::NEG_INFINITY), larger).0
}

/// What tokens put in at a place of a text, `[n_tokens, width]`; before it stands the first token that is allowed.
fn embeddings(texts: &Texts<'_>, point: HookPoint, place: usize, tokens: &[u32]) -> Result<Array2<f32>, MethodError> {
    let before = [texts.tokens.before.clone(), vec![texts.tokens.allowed[0]; place]].concat();
    let mut parts = Vec::new();
    for tokens in tokens.chunks((super::TOKENS / (before.len() + 1)).max(1)) {
        texts.go_on()?;
        let batch = Batch::from_sentences(tokens.iter().map(|&token| [before.as_slice(), &[token]].concat()));
        let trace = texts.model.run(&batch, &HookPlan::capture([point]))?;
        let rows: Vec<usize> = batch.offsets()[1..].iter().map(|end| end - 1).collect();
        parts.push(trace.sites[&point].select(Axis(0), &rows));
    }
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    Ok(concatenate(Axis(0), &views).expect("rows have the width of an embedding"))
}
