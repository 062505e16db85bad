//! Weights laid out for the kernels: panels of 32 outputs, one inner step behind the other.

use rayon::prelude::*;

use super::tensor::PANEL;
use crate::engine::LinearPart;

/// Matrices that share an input, side by side: `[n_in, n_out]` as panels `[n_in, 32]`, and their biases.
pub(crate) struct Packed {
    /// The panels from `start` on, which is where a cache line begins.
    values: Vec<f32>,
    start: usize,
    /// One a column of the panels.
    bias: Vec<f32>,
    n_in: usize,
    n_out: usize,
}

/// Inner steps that are transposed at a time.
const BLOCK: usize = 64;

impl Packed {
    /// Packs the parts one beside the other.
    pub(crate) fn new(parts: &[LinearPart<'_>]) -> Self {
        let n_in = parts[0].n_in();
        assert!(parts.iter().all(|part| part.n_in() == n_in), "parts of a product share their input");
        let n_out: usize = parts.iter().map(LinearPart::n_out).sum();
        let Self { mut values, start, mut bias, .. } = Self::zeros(n_in, n_out);
        let mut columns = Vec::with_capacity(n_out);
        for (part_idx, part) in parts.iter().enumerate() {
            if let Some(values) = &part.bias {
                bias[columns.len()..columns.len() + values.len()].copy_from_slice(values);
            }
            columns.extend((0..part.n_out()).map(|column| (part_idx, column)));
        }
        values[start..]
            .par_chunks_exact_mut(n_in * PANEL)
            .zip(columns.par_chunks(PANEL))
            .for_each(|(panel, columns)| pack_panel(parts, n_in, columns, panel));
        Self { values, start, bias, n_in, n_out }
    }

    /// The transposed matrix `[n_out, n_in]`, without biases.
    pub(crate) fn transpose(&self) -> Self {
        // On the calling thread alone: others may wait for the result, and must not be waited for.
        let (n_in, n_out) = (self.n_out, self.n_in);
        let mut transposed = Self::zeros(n_in, n_out);
        for column in 0..n_out {
            let to = transposed.start + column / PANEL * n_in * PANEL + column % PANEL;
            for from in 0..self.n_panels() {
                let row = &self.panels(from)[column * PANEL..][..PANEL.min(n_in - from * PANEL)];
                for (k, value) in row.iter().enumerate() {
                    transposed.values[to + (from * PANEL + k) * PANEL] = *value;
                }
            }
        }
        transposed
    }

    /// Zeros, without biases.
    fn zeros(n_in: usize, n_out: usize) -> Self {
        let n_panels = n_out.div_ceil(PANEL);
        let values = vec![0.0f32; n_panels * n_in * PANEL + PANEL];
        let start = values.as_ptr().align_offset(64).min(PANEL);
        Self { values, start, bias: vec![0.0; n_panels * PANEL], n_in, n_out }
    }

    /// Width of the input.
    pub(crate) fn n_in(&self) -> usize {
        self.n_in
    }

    /// Width of the output.
    pub(crate) fn n_out(&self) -> usize {
        self.n_out
    }

    /// Number of panels.
    pub(crate) fn n_panels(&self) -> usize {
        self.n_out.div_ceil(PANEL)
    }

    /// A panel, `[n_in, 32]`, and those behind it.
    pub(crate) fn panels(&self, first: usize) -> &[f32] {
        &self.values[self.start + first * self.n_in * PANEL..][..(self.n_panels() - first) * self.n_in * PANEL]
    }

    /// The biases, 32 a panel; 0 where there is none.
    pub(crate) fn bias(&self) -> &[f32] {
        &self.bias
    }
}

/// Fills a panel `[n_in, 32]` with up to 32 columns, each `(part, output of the part)`.
fn pack_panel(parts: &[LinearPart<'_>], n_in: usize, columns: &[(usize, usize)], panel: &mut [f32]) {
    let mut scratch = [0.0f32; BLOCK];
    for from in (0..n_in).step_by(BLOCK) {
        let n = BLOCK.min(n_in - from);
        let mut at = 0;
        while at < columns.len() {
            let (part_idx, column) = columns[at];
            let part = &parts[part_idx];
            if part.transposed {
                // Outputs lie side by side: copy as many as belong to this part, step by step.
                let width = columns[at..].iter().take_while(|(idx, _)| *idx == part_idx).count();
                for k in from..from + n {
                    part.weight.decode(k * part.n_out() + column, &mut panel[k * PANEL + at..][..width]);
                }
                at += width;
            } else {
                part.weight.decode(column * n_in + from, &mut scratch[..n]);
                for (k, value) in scratch[..n].iter().enumerate() {
                    panel[(from + k) * PANEL + at] = *value;
                }
                at += 1;
            }
        }
    }
}

impl LinearPart<'_> {
    fn n_in(&self) -> usize {
        self.weight.shape()[usize::from(!self.transposed)]
    }

    fn n_out(&self) -> usize {
        self.weight.shape()[usize::from(self.transposed)]
    }
}
