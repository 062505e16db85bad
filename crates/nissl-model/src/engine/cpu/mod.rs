//! Our CPU engine: one thread takes a group of sentences through all layers, its activations stay in cache.
//!
//! Weights are packed once into panels of 32 columns. Every result is a chain of fused multiply-adds in the order of
//! the inner index, whatever the instruction set, the tile, the group or the number of threads: same input, same
//! bits.

pub(super) mod attention;
mod buffer;
pub(super) mod choose;
pub(super) mod gemm;
pub(super) mod isa;
#[cfg(target_arch = "x86_64")]
mod kernel_x86;
pub(super) mod math;
mod native;
#[cfg(target_arch = "x86_64")]
mod native_x86;
mod norm;
mod pack;
mod past;
pub(super) mod scan;
pub(super) mod scores;
mod team;
pub(super) mod tensor;
#[cfg(target_arch = "x86_64")]
mod vector_x86;
mod weights;

use std::ops::Range;
use std::sync::Arc;

use ndarray::Array2;

use super::{
    Activation, Added, AttentionShape, Choice, Engine, Epilogue, Flow, Halt, Kernel, LinearPart, NormKind, Packing,
    Pairs, Part, PatternHook, Rotary, Scan, See, Sources, Values, Vector, Wkv,
};
use crate::engine::cpu::isa::Isa;
use crate::options::WeightFormat;
pub(crate) use pack::Packed;
pub(crate) use past::Past;
use team::Team;
pub(crate) use tensor::Tensor;
pub(crate) use weights::Weights;

/// The engine: what the processor can do, and the threads that share a product.
#[derive(Clone)]
pub(crate) struct Cpu {
    pub(super) isa: Isa,
    weights: WeightFormat,
    team: Arc<Team>,
}

impl Cpu {
    /// The engine for this processor, on the calling thread alone; matrices are laid out as `weights` says.
    pub(crate) fn new(weights: WeightFormat) -> Self {
        Self { isa: Isa::detect(), weights, team: Team::alone() }
    }

    /// Calls `run` with an engine whose products up to `n_helpers` more threads of the pool share. The results are the
    /// same, to the last bit.
    pub(crate) fn with_helpers<R: Send>(&self, n_helpers: usize, run: impl FnOnce(&Self) -> R + Send) -> R {
        Team::gather(n_helpers, |team| run(&Self { team: Arc::clone(team), ..*self }))
    }

    /// x W + b, then the epilogue.
    pub(super) fn product(&self, x: &Tensor, w: &Packed, epilogue: &Epilogue<'_, Tensor>) -> Tensor {
        gemm::linear(self.isa, &self.team, x, w, epilogue)
    }
}

/// Gain and bias of a norm, `[width]`.
pub(crate) struct Norm {
    pub(super) kind: NormKind,
    pub(super) gain: Vec<f32>,
    pub(super) bias: Vec<f32>,
    /// What the checkpoint calls the gain, and the bias where it has one.
    pub(crate) names: (String, Option<String>),
}

impl Packing for Cpu {
    type Linear = Arc<Weights>;
    type Norm = Arc<Norm>;

    fn pack(&self, parts: &[LinearPart<'_>]) -> Arc<Weights> {
        Arc::new(Weights::new(parts, self.weights))
    }

    fn pack_norm(&self, kind: NormKind, gain: Vector, bias: Option<Vector>) -> Arc<Norm> {
        let names = (gain.name, bias.as_ref().map(|bias| bias.name.clone()));
        let bias = bias.map_or_else(|| vec![0.0; gain.values.len()], |bias| bias.values);
        Arc::new(Norm { kind, gain: gain.values, bias, names })
    }
}

impl Engine for Cpu {
    type Tensor = Tensor;
    type Packing = Self;
    type Past = Past;

    fn packing(&self) -> &Self {
        self
    }

    fn embed(&self, n_tokens: usize, width: usize, fill: &dyn Fn(usize, &mut [f32])) -> Tensor {
        let mut x = Tensor::new(n_tokens, width);
        for row in 0..n_tokens {
            let values = x.row_mut(row);
            values.fill(0.0);
            fill(row, values);
        }
        x
    }

    fn linear(&self, x: &Tensor, w: &Arc<Weights>, epilogue: Epilogue<'_, Tensor>) -> Tensor {
        self.product(x, w.packed(), &epilogue)
    }

    fn norm(&self, x: &Tensor, norm: &Arc<Norm>) -> Tensor {
        norm::norm(self.isa, x, norm.kind, &norm.gain, &norm.bias)
    }

    fn norm_columns(&self, x: &mut Tensor, columns: Range<usize>, norm: &Arc<Norm>) {
        norm::norm_columns(self.isa, x, columns, norm);
    }

    fn add(&self, x: &Tensor, y: &Tensor) -> Tensor {
        let mut sum = Tensor::new(x.n_rows(), x.width());
        for row in 0..x.n_rows() {
            for ((sum, x), y) in sum.row_mut(row).iter_mut().zip(x.row(row)).zip(y.row(row)) {
                *sum = x + y;
            }
        }
        sum
    }

    fn multiply(&self, x: &Tensor, y: &Tensor) -> Tensor {
        let mut product = x.copy();
        for row in 0..x.n_rows() {
            product.row_mut(row).iter_mut().zip(y.row(row)).for_each(|(x, y)| *x *= y);
        }
        product
    }

    fn blend(&self, w: &Tensor, x: &Tensor, y: &Tensor) -> Tensor {
        let mut blended = x.copy();
        for row in 0..x.n_rows() {
            let w = w.row(if w.n_rows() == 1 { 0 } else { row });
            for ((x, y), w) in blended.row_mut(row).iter_mut().zip(y.row(row)).zip(w) {
                *x = (*x - y).mul_add(*w, *y);
            }
        }
        blended
    }

    fn activate(&self, x: &Tensor, activation: Activation) -> Tensor {
        let mut y = x.copy();
        for row in 0..y.n_rows() {
            math::activate(self.isa, activation, y.row_mut(row));
        }
        y
    }

    fn gate(&self, x: &Tensor, activation: Activation) -> Tensor {
        let width = x.width() / 2;
        let mut y = Tensor::new(x.n_rows(), width);
        for row in 0..x.n_rows() {
            let (pre, linear) = x.row(row).split_at(width);
            let y = y.row_mut(row);
            y.copy_from_slice(pre);
            math::activate(self.isa, activation, y);
            for (y, linear) in y.iter_mut().zip(linear) {
                *y *= linear;
            }
        }
        y
    }

    fn choose(&self, scores: &Tensor, choice: Choice) -> Tensor {
        choose::choose(self, scores, choice)
    }

    fn scale_rows(&self, x: &Tensor, factors: &Tensor, places: &[(usize, usize)]) -> Tensor {
        let mut y = x.copy();
        for (to, &(row, column)) in places.iter().enumerate() {
            let factor = factors.row(row)[column];
            y.row_mut(to).iter_mut().for_each(|value| *value *= factor);
        }
        y
    }

    fn rotate(&self, x: &mut Tensor, columns: Range<usize>, d_head: usize, positions: &[usize], rotary: &Rotary) {
        let half = rotary.cos.ncols();
        let turn = |a: &mut f32, b: &mut f32, cos: &f32, sin: &f32| {
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        };
        for (row, &position) in positions.iter().enumerate() {
            let angles = || rotary.cos.row(position).into_iter().zip(rotary.sin.row(position));
            for head in x.row_mut(row)[columns.clone()].chunks_exact_mut(d_head) {
                match rotary.pairs {
                    Pairs::Halves => {
                        let (first, rest) = head.split_at_mut(half);
                        let pairs = first.iter_mut().zip(&mut rest[..half]);
                        pairs.zip(angles()).for_each(|((a, b), (cos, sin))| turn(a, b, cos, sin));
                    }
                    Pairs::Neighbors => {
                        let pairs = head.as_chunks_mut::<2>().0.iter_mut();
                        pairs.zip(angles()).for_each(|([a, b], (cos, sin))| turn(a, b, cos, sin));
                    }
                }
            }
        }
    }

    fn attention(
        &self,
        qkv: &Tensor,
        shape: AttentionShape,
        offsets: &[usize],
        past: &[Past],
        added: &Added<'_, Tensor>,
        pattern: Option<PatternHook<'_>>,
    ) -> Result<Tensor, Halt> {
        attention::attention(self.isa, qkv, shape, offsets, past, added, pattern)
    }

    fn attend(
        &self,
        q: &Tensor,
        sources: Sources<'_, Self>,
        shape: AttentionShape,
        offsets: &[usize],
        pattern: Option<PatternHook<'_>>,
    ) -> Result<Tensor, Halt> {
        attention::over_sources(self.isa, q, &sources, shape, offsets, pattern)
    }

    fn keep(&self, qkv: &Tensor, shape: AttentionShape, offsets: &[usize], past: &mut [Past]) {
        for (past, rows) in past.iter_mut().zip(offsets.windows(2)) {
            past.extend(qkv, rows[0]..rows[1], shape);
        }
    }

    fn lstm_gates(&self, pre: Tensor) -> Tensor {
        let mut gates = pre;
        for row in 0..gates.n_rows() {
            math::lstm_gates(self.isa, gates.row_mut(row));
        }
        gates
    }

    fn lstm_cell(&self, gates: &Tensor, c: &Tensor) -> Tensor {
        let mut next = Tensor::new(c.n_rows(), c.width());
        for row in 0..next.n_rows() {
            math::lstm_cell(self.isa, next.row_mut(row), c.row(row), gates.row(row));
        }
        next
    }

    fn lstm_state(&self, gates: &Tensor, c: &Tensor) -> Tensor {
        let mut h = Tensor::new(c.n_rows(), c.width());
        for row in 0..h.n_rows() {
            math::lstm_state(self.isa, h.row_mut(row), c.row(row), gates.row(row));
        }
        h
    }

    fn convolve(&self, parts: &[&Tensor], places: &[(usize, usize)], kernel: &Arc<Kernel>) -> Tensor {
        scan::convolve(self.isa, parts, places, kernel)
    }

    fn wkv(&self, inputs: &[&Tensor], wkv: &Arc<Wkv>, offsets: &[usize], state: Option<&mut Tensor>) -> Tensor {
        scan::wkv(self.isa, inputs, wkv, offsets, state)
    }

    fn scan(&self, inputs: [&Tensor; 3], scan: &Arc<Scan>, offsets: &[usize], state: Option<&mut Tensor>) -> Tensor {
        scan::scan(self.isa, inputs, scan, offsets, state)
    }

    fn visit(&self, x: &mut Tensor, columns: Range<usize>, see: See<'_>) -> Flow {
        see(Values::plain(x.columns_mut(columns)))
    }

    fn width(&self, x: &Tensor) -> usize {
        x.width()
    }

    fn rows(&self, x: &Tensor, rows: &[usize]) -> Tensor {
        let mut y = Tensor::new(rows.len(), x.width());
        for (to, &from) in rows.iter().enumerate() {
            y.row_mut(to).copy_from_slice(x.row(from));
        }
        y
    }

    fn first<'a>(&self, x: &'a Tensor, n: usize) -> Part<'a, Tensor> {
        if n == x.n_rows() {
            return Part::Whole(x);
        }
        Part::Copied(self.rows(x, &(0..n).collect::<Vec<_>>()))
    }

    fn gather(&self, parts: &[&Tensor], places: &[(usize, usize)]) -> Tensor {
        let mut y = Tensor::new(places.len(), parts[0].width());
        for (to, &(part, from)) in places.iter().enumerate() {
            y.row_mut(to).copy_from_slice(parts[part].row(from));
        }
        y
    }

    fn beside(&self, parts: &[(&Tensor, Range<usize>)]) -> Tensor {
        let mut y = Tensor::new(parts[0].0.n_rows(), parts.iter().map(|(_, columns)| columns.len()).sum());
        for row in 0..y.n_rows() {
            let mut to = y.row_mut(row);
            for (part, columns) in parts {
                let (here, rest) = to.split_at_mut(columns.len());
                here.copy_from_slice(&part.row(row)[columns.clone()]);
                to = rest;
            }
        }
        y
    }

    fn read(&self, x: &Tensor) -> Array2<f32> {
        let mut values = Array2::zeros((x.n_rows(), x.width()));
        for (row, mut values) in values.rows_mut().into_iter().enumerate() {
            values.as_slice_mut().expect("rows of a fresh array are contiguous").copy_from_slice(x.row(row));
        }
        values
    }
}
