//! The embedding tables.

use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::{Array2, ArrayView2};

use crate::arch::Blank;
use crate::checkpoint::{Checkpoint, Weight};
use crate::engine::Engine;
use crate::hooks::Hooks;

/// The embedding tables; their rows are read from the file as tokens come.
pub(crate) struct Embeddings {
    pub(super) tokens: String,
    /// With the row of position 0.
    pub(super) positions: Option<(String, usize)>,
    pub(super) token_type: Option<String>,
    pub(super) width: usize,
    /// Factor of the token embeddings.
    pub(super) scale: f32,
    /// Which tokens have an embedding of zeros.
    pub(super) blank: Option<Blank>,
    /// In how many steps frequencies fall to 1 / 10000, where sines and cosines of the positions are added.
    pub(super) sines: Option<f64>,
    /// Those of the tokens of sources, where sentences have them.
    pub(super) source: Option<Box<Self>>,
}

impl Embeddings {
    /// Width of what they give.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Zeros in the shapes of the tables, by their names.
    pub(crate) fn gradients(&self, checkpoint: &Checkpoint) -> BTreeMap<String, Vec<f32>> {
        let tables = [Some(&self.tokens), self.token_type.as_ref(), self.positions.as_ref().map(|(name, _)| name)];
        let zeros = |name: &String| {
            let shape = checkpoint.tensor(name).expect("checked when the model was loaded").shape;
            (name.clone(), vec![0.0; shape.iter().product()])
        };
        tables.into_iter().flatten().map(zeros).collect()
    }

    /// Adds the gradient with respect to what the tables gave, `[T, d_model]`, to those of the tables.
    pub(crate) fn add_gradient(
        &self,
        tokens: &[u32],
        positions: &[usize],
        gradient: &ArrayView2<'_, f32>,
        tables: &mut BTreeMap<String, Vec<f32>>,
    ) {
        let mut add = |name: &String, scale: &dyn Fn(usize) -> f32, row_of: &dyn Fn(usize) -> usize| {
            let table = tables.get_mut(name).expect("every table has its zeros");
            for (row, gradient) in gradient.rows().into_iter().enumerate() {
                let sum = &mut table[row_of(row) * self.width..][..self.width];
                let scale = scale(row);
                sum.iter_mut().zip(gradient).for_each(|(sum, part)| *sum += part * scale);
            }
        };
        let factors = self.factors(tokens, positions);
        let of_token = |row: usize| factors.as_ref().map_or(self.scale, |factors| factors[row]);
        add(&self.tokens, &of_token, &|row| tokens[row] as usize);
        if let Some(name) = &self.token_type {
            add(name, &|_| 1.0, &|_| 0);
        }
        if let Some((name, first)) = &self.positions {
            add(name, &|_| 1.0, &|row| first + positions[row]);
        }
    }

    /// The embeddings of every token of a group, `[T, d_model]`, those of sources among them.
    pub(crate) fn embed_group<E: Engine>(
        &self,
        engine: &E,
        checkpoint: &Checkpoint,
        tokens: &[u32],
        hooks: &Hooks<'_>,
    ) -> E::Tensor {
        let (Some(tables), Some(sources)) = (&self.source, hooks.source()) else {
            return self.embed(engine, checkpoint, tokens, hooks.positions());
        };
        let mut places = vec![(0, 0); tokens.len()];
        let mut side = |idx: usize, tables: &Self, hooks: &Hooks<'_>| {
            let rows = hooks.rows().unwrap_or_default();
            rows.iter().enumerate().for_each(|(from, &row)| places[row] = (idx, from));
            let own: Vec<u32> = rows.iter().map(|&row| tokens[row]).collect();
            tables.embed(engine, checkpoint, &own, hooks.positions())
        };
        let parts = [side(0, tables, sources), side(1, self, hooks)];
        engine.gather(&[&parts[0], &parts[1]], &places)
    }

    /// The sum of the embeddings of every token, `[T, d_model]`: token, then type, then that of its position.
    pub(crate) fn embed<E: Engine>(
        &self,
        engine: &E,
        checkpoint: &Checkpoint,
        tokens: &[u32],
        positions: &[usize],
    ) -> E::Tensor {
        let table = |name: &String| self.table(checkpoint, name);
        let token_table = table(&self.tokens);
        let position_table = self.positions.as_ref().map(|(name, first)| (table(name), first));
        let type_row = self.token_type.as_ref().map(|name| {
            let mut row = vec![0.0; self.width];
            table(name).decode(0, &mut row);
            row
        });
        let factors = self.factors(tokens, positions);
        engine.embed(tokens.len(), self.width, &|row, values| {
            token_table.decode(tokens[row] as usize * self.width, values);
            for value in values.iter_mut() {
                *value *= factors.as_ref().map_or(self.scale, |factors| factors[row]);
            }
            if let Some(type_row) = &type_row {
                values.iter_mut().zip(type_row).for_each(|(value, add)| *value += add);
            }
            if let Some((table, first)) = &position_table {
                table.add_to((*first + positions[row]) * self.width, values);
            }
            if let Some(steps) = self.sines {
                let half = self.width.div_ceil(2);
                for (i, value) in values.iter_mut().enumerate() {
                    let step = (i % half) as f64 / steps;
                    let angle = positions[row] as f64 / 10_000f64.powf(step);
                    *value += (if i < half { angle.sin() } else { angle.cos() }) as f32;
                }
            }
        })
    }

    /// The factor of every token's embedding, where they are not alike.
    fn factors(&self, tokens: &[u32], positions: &[usize]) -> Option<Vec<f32>> {
        let Blank::Token(dropped) = self.blank? else {
            return Some(positions.iter().map(|&position| if position == 0 { 0.0 } else { self.scale }).collect());
        };
        let mut factors = Vec::with_capacity(tokens.len());
        while factors.len() < tokens.len() {
            let start = factors.len();
            let len = positions[start + 1..].iter().take_while(|&&position| position > 0).count() + 1;
            let sentence = &tokens[start..start + len];
            let left = sentence.iter().filter(|&&token| token != dropped).count() as f32 / len as f32;
            factors.extend(sentence.iter().map(|&token| if token == dropped { 0.0 } else { self.scale / left }));
        }
        Some(factors)
    }

    /// The token embeddings of some tokens, `[n_tokens, width]`.
    pub(crate) fn rows(&self, checkpoint: &Checkpoint, tokens: Range<usize>) -> Array2<f32> {
        let table = self.table(checkpoint, &self.tokens);
        let mut rows = Array2::zeros((tokens.len(), self.width));
        if let Some(values) = rows.as_slice_mut() {
            table.decode(tokens.start * self.width, values);
        }
        rows
    }

    fn table<'a>(&self, checkpoint: &'a Checkpoint, name: &str) -> Weight<'a> {
        let tensor = checkpoint.tensor(name).expect("checked when the model was loaded");
        Weight::new(tensor, &[None, Some(self.width)]).expect("checked when the model was loaded")
    }
}
