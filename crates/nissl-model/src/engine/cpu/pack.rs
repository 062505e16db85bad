//! Weights laid out for the kernels: panels of 32 outputs, one inner step behind the other.

use rayon::prelude::*;

use super::buffer::Buffer;
use super::isa::Isa;
use super::native::{self, Kind, Layout};
use super::tensor::PANEL;
use crate::checkpoint::PIECE;
use crate::engine::{LinearPart, Vector};
use crate::options::WeightFormat;

/// Matrices that share an input, side by side: `[n_in, n_out]` as panels `[n_in, 32]`, and their biases.
pub(crate) struct Packed {
    buffer: Buffer,
    panels: Vec<Panel>,
    /// One a column of the panels.
    bias: Vec<f32>,
    n_in: usize,
    n_out: usize,
}

/// A panel: how its numbers are stored, and where.
#[derive(Clone, Copy)]
struct Panel {
    kind: Kind,
    start: usize,
}

/// Panels of a large matrix after which the pages of what they were made of are given back, so that it is never there
/// twice.
const RELEASED: usize = 16;

/// Inner steps that are transposed at a time.
const BLOCK: usize = 64;

impl Packed {
    /// Packs the parts one beside the other.
    pub(crate) fn new(parts: &[LinearPart<'_>], format: WeightFormat) -> Self {
        let n_in = parts[0].n_in();
        assert!(parts.iter().all(|part| part.n_in() == n_in), "parts of a product share their input");
        let columns: Vec<(usize, usize)> = parts
            .iter()
            .enumerate()
            .flat_map(|(part_idx, part)| (0..part.n_out()).map(move |column| (part_idx, part.output(column))))
            .collect();
        let kinds: Vec<Kind> = columns.chunks(PANEL).map(|columns| kind(parts, columns, format)).collect();
        let mut packed = Self::zeros(n_in, columns.len(), &kinds);
        let mut first = 0;
        for part in parts {
            if let Some(Vector { values, .. }) = &part.bias {
                let to = &mut packed.bias[first..first + values.len()];
                to.iter_mut().enumerate().for_each(|(column, to)| *to = values[part.output(column)]);
            }
            first += part.n_out();
        }
        // One thread takes the panels between two releases, so that none of their pages is touched afterwards.
        let together = if kinds.len() < 8 * RELEASED { 1 } else { RELEASED };
        packed.panels_mut().par_chunks_mut(together).zip(columns.par_chunks(together * PANEL)).for_each(
            |(panels, columns)| {
                for ((kind, panel), columns) in panels.iter_mut().zip(columns.chunks(PANEL)) {
                    pack_panel(*kind, parts, n_in, columns, panel);
                }
                if together > 1 {
                    release(parts, columns);
                }
            },
        );
        packed
    }

    /// Zeros, without biases.
    fn zeros(n_in: usize, n_out: usize, kinds: &[Kind]) -> Self {
        let mut len = 0;
        let panels = kinds.iter().map(|&kind| {
            let start = len;
            len += kind.panel_bytes(n_in);
            Panel { kind, start }
        });
        let panels = panels.collect();
        Self { buffer: Buffer::new(len), panels, bias: vec![0.0; kinds.len() * PANEL], n_in, n_out }
    }

    /// All panels, to be filled.
    fn panels_mut(&mut self) -> Vec<(Kind, &mut [u8])> {
        let mut left = self.buffer.bytes_mut();
        let panels = self.panels.iter().map(|panel| {
            let (bytes, rest) = std::mem::take(&mut left).split_at_mut(panel.kind.panel_bytes(self.n_in));
            left = rest;
            (panel.kind, bytes)
        });
        panels.collect()
    }

    /// The transposed matrix `[n_out, n_in]` as 32-bit floats, without biases.
    pub(crate) fn transpose(&self) -> Self {
        // On the calling thread alone: others may wait for the result, and must not be waited for.
        let kinds = vec![Kind::F32; self.n_in.div_ceil(PANEL)];
        let mut transposed = Self::zeros(self.n_out, self.n_in, &kinds);
        let mut square = [0.0f32; PANEL * PANEL];
        for (to, (_, panel)) in transposed.panels_mut().into_iter().enumerate() {
            let panel: &mut [f32] = bytemuck::cast_slice_mut(panel);
            let steps = PANEL.min(self.n_in - to * PANEL);
            for from in 0..self.n_panels() {
                let values = &mut square[..steps * PANEL];
                self.decode(Isa::detect(), from, to * PANEL, values);
                let rows = panel[from * PANEL * PANEL..].as_chunks_mut::<PANEL>().0;
                for (column, row) in rows.iter_mut().take(PANEL).enumerate() {
                    row.iter_mut().zip(values.as_chunks::<PANEL>().0).for_each(|(to, step)| *to = step[column]);
                }
            }
        }
        transposed
    }

    /// Width of the input.
    pub(crate) fn n_in(&self) -> usize {
        self.n_in
    }

    /// Width of the output.
    pub(crate) fn n_out(&self) -> usize {
        self.n_out
    }

    /// Bytes of the values.
    #[cfg(test)]
    pub(crate) fn n_bytes(&self) -> usize {
        self.buffer.bytes().len()
    }

    /// Number of panels.
    pub(crate) fn n_panels(&self) -> usize {
        self.n_out.div_ceil(PANEL)
    }

    /// The values of `n` panels and of all behind them, `[n_in, 32]` one behind the other; none if one of them is
    /// stored otherwise.
    pub(crate) fn f32_panels(&self, first: usize, n: usize) -> Option<&[f32]> {
        let panels = &self.panels[first..first + n];
        let all = panels.iter().all(|panel| panel.kind == Kind::F32);
        all.then(|| {
            // What lies behind them is read ahead, whatever it is.
            let end = panels.iter().map(|panel| panel.start).max().unwrap_or(0) + Kind::F32.panel_bytes(self.n_in);
            bytemuck::cast_slice(&self.buffer.bytes()[self.panels[first].start..end])
        })
    }

    /// A row's steps from `from` on times the panels behind `first_panel` for which there are `sums`: `sums += values ·
    /// panels`, or `=` for the first steps. False, and nothing done, if no kernel takes them all.
    pub(crate) fn multiply(&self, isa: Isa, first_panel: usize, from: usize, values: &[f32], sums: &mut [f32]) -> bool {
        let n_panels = sums.len() / PANEL;
        let panels = &self.panels[first_panel..first_panel + n_panels];
        let Panel { kind, start } = panels[0];
        let panel_bytes = kind.panel_bytes(self.n_in);
        let bytes = &self.buffer.bytes()[start..];
        let row = native::Row { panels: bytes, panel_bytes, n_panels, from, values, first: from == 0 };
        panels.iter().all(|panel| panel.kind == kind) && native::multiply(isa, kind, self.n_in, row, sums)
    }

    /// The values of a panel from inner step `from` on, `[out.len() / 32, 32]`; `from` is a multiple of 32.
    pub(crate) fn decode(&self, isa: Isa, panel: usize, from: usize, out: &mut [f32]) {
        let Panel { kind, start } = self.panels[panel];
        native::decode(isa, kind, &self.buffer.bytes()[start..], self.n_in, from, out);
    }

    /// The biases, 32 a panel; 0 where there is none.
    pub(crate) fn bias(&self) -> &[f32] {
        &self.bias
    }
}

/// Gives back the pages of columns that were packed, if they are rows of one matrix.
fn release(parts: &[LinearPart<'_>], columns: &[(usize, usize)]) {
    let ((first_part, first), (last_part, last)) = (columns[0], columns[columns.len() - 1]);
    if first_part == last_part && !parts[first_part].transposed && parts[first_part].order.is_none() {
        parts[first_part].weight.release_rows(first..last + 1);
    }
}

/// How a panel of such columns is stored: all in one way, so 32-bit floats where they differ. Quantized blocks lie
/// along the inner steps only if the matrix does.
fn kind(parts: &[LinearPart<'_>], columns: &[(usize, usize)], format: WeightFormat) -> Kind {
    let of = |&(part_idx, _): &(usize, usize)| {
        let part = &parts[part_idx];
        match Kind::of(part.weight.dtype()) {
            _ if format == WeightFormat::F32 => Kind::F32,
            Kind::Quant(_) if part.transposed => Kind::F32,
            kind => kind,
        }
    };
    let kind = columns.first().map_or(Kind::F32, of);
    if columns.iter().all(|column| of(column) == kind) { kind } else { Kind::F32 }
}

/// Fills a panel with up to 32 columns, each `(part, output of the part)`.
fn pack_panel(kind: Kind, parts: &[LinearPart<'_>], n_in: usize, columns: &[(usize, usize)], panel: &mut [u8]) {
    match kind {
        Kind::F32 => pack_f32(parts, n_in, columns, bytemuck::cast_slice_mut(panel)),
        Kind::F16 | Kind::Bf16 => {
            for (at, &(part_idx, column)) in columns.iter().enumerate() {
                let LinearPart { weight, transposed, .. } = &parts[part_idx];
                let places = panel.as_chunks_mut::<{ 2 * PANEL }>().0.iter_mut().map(|step| &mut step[2 * at..][..2]);
                if *transposed {
                    places.enumerate().for_each(|(k, to)| to.copy_from_slice(&weight.row_bytes(k)[2 * column..][..2]));
                } else {
                    let row = weight.row_bytes(column).as_chunks::<2>().0;
                    places.zip(row).for_each(|(to, bytes)| to.copy_from_slice(bytes));
                }
            }
        }
        Kind::Quant(quant) => {
            let layout = Layout::of(quant);
            for (at, &(part_idx, column)) in columns.iter().enumerate() {
                let row = parts[part_idx].weight.row_bytes(column);
                for piece in 0..n_in / PIECE {
                    layout.put(quant, panel, at, piece, &quant.piece(row, piece));
                }
            }
        }
    }
}

fn pack_f32(parts: &[LinearPart<'_>], n_in: usize, columns: &[(usize, usize)], panel: &mut [f32]) {
    let mut scratch = [0.0f32; BLOCK];
    for from in (0..n_in).step_by(BLOCK) {
        let n = BLOCK.min(n_in - from);
        let mut at = 0;
        while at < columns.len() {
            let (part_idx, column) = columns[at];
            let part = &parts[part_idx];
            if part.transposed {
                // Outputs lie side by side: copy as many as belong to this part, step by step.
                let next = |(i, &(idx, of)): (usize, &(usize, usize))| idx == part_idx && of == column + i;
                let width = columns[at..].iter().enumerate().take_while(|&at| next(at)).count();
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

    pub(super) fn n_out(&self) -> usize {
        self.weight.shape()[usize::from(self.transposed)]
    }
}
