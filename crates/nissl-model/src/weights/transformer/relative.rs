//! The vectors of relative positions: what stands for distances, through a layer's matrices.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ndarray::{Array1, Array2, s};

use super::{Loader, head_norm};
use crate::arch::{Distances, Matrix, RelativeVectors, Values};
use crate::blocks::relative::{RelativePositions, Vectors};
use crate::checkpoint::Weight;
use crate::engine::{Columns, LinearPart, NormKind, Packing, Vector};
use crate::error::LoadError;

/// What stands for places.
#[derive(Clone)]
pub(super) enum Embedded {
    /// `[2 span, d_model]`.
    Table(Arc<Array2<f32>>),
    /// Sines and cosines, so many of both.
    Waves(usize),
}

impl Embedded {
    /// The vectors of some places, `[n, d_model]`.
    fn rows(&self, places: RangeInclusive<i64>) -> Array2<f32> {
        match self {
            Self::Table(table) => table.slice(s![*places.start() as usize..=*places.end() as usize, ..]).to_owned(),
            Self::Waves(width) => {
                let places: Vec<i64> = places.collect();
                let half = width.div_ceil(2);
                Array2::from_shape_fn((places.len(), *width), |(row, column)| {
                    let slowness = 10_000f64.powf(f64::from((2 * (column % half)) as f32 / *width as f32)) as f32;
                    let angle = f64::from(places[row] as f32 * (1.0 / slowness));
                    (if column < half { angle.sin() } else { angle.cos() }) as f32
                })
            }
        }
    }
}

/// A matrix of a layer and its bias.
struct Projection {
    /// `[d_model, n_heads d_head]`.
    weight: Array2<f32>,
    bias: Option<Array1<f32>>,
}

impl Projection {
    fn of(&self, rows: &Array2<f32>) -> Array2<f32> {
        let vectors = rows.dot(&self.weight);
        match &self.bias {
            Some(bias) => vectors + bias,
            None => vectors,
        }
    }
}

impl<P: Packing> Loader<'_, P> {
    /// What stands for places, as the layers' matrices read it.
    pub(super) fn embedded(&self, distances: &Distances) -> Result<Embedded, LoadError> {
        let width = self.spec.d_model;
        let Distances::Table { name, norm, span, .. } = *distances else { return Ok(Embedded::Waves(width)) };
        let shape = [2 * span, width];
        let values = crate::weights::matrix(self.checkpoint, &self.names.full(name, 0), shape)?;
        let mut table = Array2::from_shape_vec(shape, values).expect("the shape was checked");
        if let Some(name) = norm {
            let (gain, bias) = head_norm(self.checkpoint, &self.names.full(name, 0), width)?;
            normalize(&mut table, self.spec.norm, &gain, bias.as_ref());
        }
        Ok(Embedded::Table(Arc::new(table)))
    }

    /// What a layer multiplies its queries and keys with.
    pub(super) fn relative_positions(
        &self,
        of: &RelativeVectors,
        embedded: Embedded,
        layer: usize,
    ) -> Result<RelativePositions<P>, LoadError> {
        let (n_heads, d_head) = (self.spec.n_heads, self.spec.d_head);
        let projection = |matrix: Option<Matrix>| matrix.map(|matrix| self.projection(matrix, layer)).transpose();
        let (for_queries, for_keys) = (projection(of.keys)?, projection(of.queries)?);
        let instead = of.query_bias.map(|name| self.instead_of_bias(name, layer)).transpose()?;
        let distances = of.embedded;
        Ok(RelativePositions::new(Box::new(move |packing: &P, n| {
            let places = distances.places(n);
            let (first, n_places) = (*places.start(), places.clone().count());
            let rows = embedded.rows(places);
            let heads = |projection: &Option<Projection>, bias: Option<&Vec<f32>>| -> Vec<P::Linear> {
                let Some(projection) = projection else { return Vec::new() };
                let vectors = projection.of(&rows);
                let head = |head: usize| {
                    let own = s![.., head * d_head..(head + 1) * d_head];
                    let vectors = vectors.slice(own);
                    let bias = bias.map(|bias| {
                        let bias = &bias[head * d_head..(head + 1) * d_head];
                        let product =
                            |row: ndarray::ArrayView1<'_, f32>| row.iter().zip(bias).map(|(a, b)| a * b).sum();
                        Vector::unnamed(vectors.outer_iter().map(product).collect())
                    });
                    let values = Values::new([n_places, d_head], |row, column| vectors[[row, column]]);
                    packing.pack(&[LinearPart::new(values.weight(), false, bias)])
                };
                (0..n_heads).map(head).collect()
            };
            Vectors {
                for_queries: heads(&for_queries, instead.as_ref()),
                for_keys: heads(&for_keys, None),
                columns: Columns::new(n_places, n, |distance| (distances.place(distance) - first) as usize),
            }
        })))
    }

    fn projection(&self, matrix: Matrix, layer: usize) -> Result<Projection, LoadError> {
        let stem = self.names.full(matrix.name, layer);
        let (n_in, n_out) = (self.spec.d_model, self.spec.n_heads * self.spec.d_head);
        let shape = if matrix.transposed { [n_in, n_out] } else { [n_out, n_in] };
        let weight = Weight::new(self.checkpoint.tensor(&format!("{stem}.weight"))?, &shape.map(Some))?;
        let mut values = vec![0.0; n_out * n_in];
        weight.decode(0, &mut values);
        let stored = Array2::from_shape_vec(shape, values).expect("there are as many values as the shape says");
        let bias =
            matrix.bias.then(|| crate::weights::vector(self.checkpoint, &format!("{stem}.bias"), n_out)).transpose()?;
        Ok(Projection {
            weight: if matrix.transposed { stored } else { stored.reversed_axes() },
            bias: bias.map(|bias| bias.values.into()),
        })
    }

    /// A vector less the queries' bias, which they have already.
    fn instead_of_bias(&self, name: &str, layer: usize) -> Result<Vec<f32>, LoadError> {
        let n_out = self.spec.n_heads * self.spec.d_head;
        let vector = |name: &str| crate::weights::vector(self.checkpoint, &self.names.full(name, layer), n_out);
        let (instead, own) = (vector(name)?.values, vector(&format!("{}.bias", self.spec.qkv[0].name))?.values);
        Ok(instead.iter().zip(own).map(|(instead, own)| instead - own).collect())
    }
}

/// The norm of every row, in 64 bits.
fn normalize(table: &mut Array2<f32>, kind: NormKind, gain: &Vector, bias: Option<&Vector>) {
    let (centers, eps) = match kind {
        NormKind::Layer { eps } => (true, eps),
        NormKind::Rms { eps } => (false, eps),
    };
    for mut row in table.rows_mut() {
        let n = row.len() as f64;
        let mean = if centers { row.iter().map(|value| f64::from(*value)).sum::<f64>() / n } else { 0.0 };
        let square = row.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / n;
        let scale = 1.0 / (square + f64::from(eps)).sqrt();
        for (at, value) in row.iter_mut().enumerate() {
            let normed = (f64::from(*value) - mean) * scale * f64::from(gain.values[at]);
            *value = (normed + bias.map_or(0.0, |bias| f64::from(bias.values[at]))) as f32;
        }
    }
}
