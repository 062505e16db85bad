//! Random matrices that mix the neurons of a layer.

use std::f64::consts::TAU;

use ndarray::{Array2, Axis, s};

use crate::random::Random;

/// Columns that a round mixes with each other.
const BLOCK: usize = 64;
/// Rounds of mixing, each after a random order: from three on every column has a part of all of 64³ others.
const ROUNDS: usize = 3;

/// A draw of the normal distribution.
fn normal(random: &mut Random) -> f64 {
    // From 1 - u, which is never 0.
    (-2.0 * (1.0 - random.uniform()).ln()).sqrt() * (TAU * random.uniform()).cos()
}

/// A random orthogonal matrix of a few columns: a Gaussian one by Gram and Schmidt.
fn small(width: usize, random: &mut Random) -> Array2<f64> {
    let mut rows = Array2::from_shape_simple_fn((width, width), || normal(random));
    for row in 0..width {
        // Twice is enough for rounding.
        for before in (0..row).chain(0..row) {
            let (done, mut rest) = rows.view_mut().split_at(Axis(0), row);
            let mut own = rest.row_mut(0);
            let part = own.dot(&done.row(before));
            own.scaled_add(-part, &done.row(before));
        }
        let mut own = rows.row_mut(row);
        let length = own.dot(&own).sqrt();
        own /= length;
    }
    rows
}

/// A random orthogonal matrix `[width, width]`: rounds of rotations within blocks of columns, in random order between.
pub(super) fn orthogonal(width: usize, seed: u64) -> Array2<f32> {
    let mut random = Random::new(seed);
    let mut matrix = Array2::<f64>::eye(width);
    for _ in 0..ROUNDS {
        let mut order: Vec<usize> = (0..width).collect();
        random.shuffle(&mut order);
        matrix = matrix.select(Axis(0), &order);
        for first in (0..width).step_by(BLOCK) {
            let rows = first..width.min(first + BLOCK);
            let mixed = small(rows.len(), &mut random).dot(&matrix.slice(s![rows.clone(), ..]));
            matrix.slice_mut(s![rows, ..]).assign(&mixed);
        }
    }
    matrix.mapv(|value| value as f32)
}

/// A Gaussian matrix `[width, width]` with columns of length 1.
pub(super) fn gaussian(width: usize, seed: u64) -> Array2<f32> {
    let mut random = Random::new(seed);
    let mut matrix = Array2::from_shape_simple_fn((width, width), || normal(&mut random));
    for mut column in matrix.axis_iter_mut(Axis(1)) {
        let length = column.dot(&column).sqrt();
        column /= length;
    }
    matrix.mapv(|value| value as f32)
}
