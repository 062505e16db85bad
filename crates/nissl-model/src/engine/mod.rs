//! The operations a forward pass is made of.
//!
//! Blocks and skeletons are written once over [`Engine`]. [`cpu`] is ours and the default, [`tape`] is the same with a
//! record from which gradients are taken; the candle engine is the twin that tests both. A tensor is always
//! `[n_tokens, width]`: the rows of a group of whole sentences.

mod added;
#[cfg(any(test, feature = "candle"))]
pub(crate) mod candle;
pub(crate) mod cpu;
mod scan;
pub(crate) mod tape;

use std::ops::{Deref, Range};
use std::sync::Arc;

use ndarray::{ArcArray2, Array2, ArrayViewMut2};
use nissl_core::ModelError;

use crate::checkpoint::Weight;
pub(crate) use added::{Added, Columns, DistanceBias, Relative};
pub(crate) use scan::{Kernel, Scan, Wkv, WkvRule};

/// The non-linearity of an MLP.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Activation {
    /// x · Φ(x), by the error function.
    GeluErf,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// x · sigmoid(x).
    Silu,
    /// tanh(x).
    Tanh,
    /// 1 / (1 + exp(-x)).
    Sigmoid,
    /// max(x, 0)².
    ReluSquared,
    /// ln(1 + exp(x)).
    Softplus,
    /// exp(x).
    Exp,
    /// c · tanh(x / c), for this c.
    Cap(f32),
    /// c · x, for this c.
    Scale(f32),
    /// x · sigmoid(sharpness · x) of min(x, most).
    ClampedSwish { sharpness: f32, most: f32 },
    /// 1 + x, for x within ±most.
    RaisedClamp { most: f32 },
}

/// How a norm is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum NormKind {
    /// (x - mean) / sqrt(variance + eps), then gain and bias.
    Layer {
        /// Added to the variance.
        eps: f32,
    },
    /// x / sqrt(mean square + eps), then gain.
    Rms {
        /// Added to the mean square.
        eps: f32,
    },
}

/// A vector and what the checkpoint calls it; nothing, if it does not hold it as it is.
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) values: Vec<f32>,
}

impl Vector {
    /// The values.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    /// A vector that the checkpoint does not hold as it is.
    pub(crate) fn unnamed(values: Vec<f32>) -> Self {
        Self { name: String::new(), values }
    }
}

/// A matrix of the checkpoint and its bias, as one part of a product: `[n_out, n_in]`, or transposed.
pub(crate) struct LinearPart<'a> {
    /// The matrix.
    pub(crate) weight: Weight<'a>,
    /// Whether it is stored `[n_in, n_out]`.
    pub(crate) transposed: bool,
    /// The bias, `[n_out]`.
    pub(crate) bias: Option<Vector>,
    /// The output of the matrix that each is, where they are wanted in another order.
    pub(crate) order: Option<Vec<usize>>,
}

impl<'a> LinearPart<'a> {
    /// A matrix with its outputs in their order.
    pub(crate) fn new(weight: Weight<'a>, transposed: bool, bias: Option<Vector>) -> Self {
        Self { weight, transposed, bias, order: None }
    }

    /// The output of the matrix that output `idx` is.
    pub(crate) fn output(&self, idx: usize) -> usize {
        self.order.as_ref().map_or(idx, |order| order[idx])
    }
}

/// What happens to a product before it leaves the cache.
pub(crate) enum Epilogue<'a, T> {
    /// Nothing but the bias.
    None,
    /// The activation function.
    Activate(Activation),
    /// The residual stream is added.
    Add(&'a T),
    /// The rows of a longer tensor from this one on are added.
    AddRows(&'a T, usize),
}

/// Rows of a tensor: the tensor, if they are all of it, or a copy of them.
pub(crate) enum Part<'a, T> {
    Whole(&'a T),
    Copied(T),
}

impl<T> Deref for Part<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Whole(whole) => whole,
            Self::Copied(copied) => copied,
        }
    }
}

/// The sizes of an attention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttentionShape {
    /// Query heads.
    pub(crate) n_heads: usize,
    /// Key/value heads; a divisor of `n_heads`.
    pub(crate) n_kv_heads: usize,
    /// Width of a head.
    pub(crate) d_head: usize,
    /// Whether a query sees only keys at or before its own position.
    pub(crate) causal: bool,
    /// Factor of the scores, before the softmax.
    pub(crate) scale: f32,
    /// The value c of scores c · tanh(score / c), after the factor.
    pub(crate) cap: Option<f32>,
    /// Factor of the distances that scores are lowered by, times a slope for each head (`ALiBi`).
    pub(crate) alibi: Option<f32>,
    /// How many keys a query sees, its own position's last; none for all.
    pub(crate) window: Option<usize>,
}

impl AttentionShape {
    /// Heads of one width, whose queries see all keys, or all up to their own position.
    pub(crate) fn new(n_heads: usize, n_kv_heads: usize, d_head: usize, causal: bool) -> Self {
        Self { n_heads, n_kv_heads, d_head, causal, scale: 1.0, cap: None, alibi: None, window: None }
    }

    /// The keys that the query at a position sees, of `n_keys`.
    pub(crate) fn seen(&self, position: usize, n_keys: usize) -> Range<usize> {
        let end = match self.window {
            _ if self.causal => position + 1,
            Some(window) => (position + window).min(n_keys),
            None => n_keys,
        };
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))..end
    }

    /// By how much the scores of a head rise from key to key: 2^(-8 / n), 2^(-16 / n), ... for n heads, a power of two;
    /// of other numbers the odd ones of twice as many follow those of the power of two below.
    pub(crate) fn rise(&self, head: usize) -> f32 {
        let Some(factor) = self.alibi else { return 0.0 };
        let below = if self.n_heads.is_power_of_two() { self.n_heads } else { self.n_heads.next_power_of_two() / 2 };
        let exponent = if head < below {
            8.0 * (head + 1) as f64 / below as f64
        } else {
            4.0 * (2 * (head - below) + 1) as f64 / below as f64
        };
        factor * (-exponent).exp2() as f32
    }

    /// The same without queries: keys and values side by side.
    pub(crate) fn without_queries(self) -> Self {
        Self { n_heads: 0, ..self }
    }

    /// Columns of the queries in the joint tensor.
    pub(crate) fn q(&self) -> Range<usize> {
        0..self.n_heads * self.d_head
    }
    /// Columns of the keys in the joint tensor.
    pub(crate) fn k(&self) -> Range<usize> {
        let start = self.n_heads * self.d_head;
        start..start + self.n_kv_heads * self.d_head
    }
    /// Columns of the values in the joint tensor.
    pub(crate) fn v(&self) -> Range<usize> {
        let start = (self.n_heads + self.n_kv_heads) * self.d_head;
        start..start + self.n_kv_heads * self.d_head
    }
}

/// How a router chooses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    /// Experts that are chosen from; those behind them are taken always, with a sigmoid as weight.
    pub(crate) n_experts: usize,
    /// How many of them a token takes.
    pub(crate) n_taken: usize,
    /// Whether the weights of those that it takes sum to 1.
    pub(crate) normalizes: bool,
}

/// Which two columns of a head are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairs {
    /// One of the first half with one of the second.
    Halves,
    /// 0 with 1, 2 with 3, ...
    Neighbors,
}

#[cfg(any(test, feature = "candle"))]
impl Pairs {
    /// The columns of a pair, of `n`.
    pub(crate) fn columns(self, pair: usize, n: usize) -> [usize; 2] {
        match self {
            Self::Halves => [pair, n + pair],
            Self::Neighbors => [2 * pair, 2 * pair + 1],
        }
    }
}

/// A rotary embedding of positions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rotation {
    /// `[d_rotary / 2]`; columns of a head behind the first `d_rotary` stay as they are.
    pub(crate) frequencies: Arc<[f32]>,
    /// Factor of what is rotated.
    pub(crate) factor: f32,
    pub(crate) pairs: Pairs,
}

/// Angles of a rotary embedding, `[n_positions, d_rotary / 2]` each.
#[derive(Clone)]
pub(crate) struct Rotary {
    pub(crate) cos: ArcArray2<f32>,
    pub(crate) sin: ArcArray2<f32>,
    pub(crate) pairs: Pairs,
}

impl Rotary {
    /// Angles `position · frequency` in f32, as the reference computes them.
    pub(crate) fn new(n_positions: usize, rotation: &Rotation) -> Self {
        let Rotation { frequencies, factor, pairs } = rotation;
        let angle = |(position, i): (usize, usize)| f64::from(position as f32 * frequencies[i]);
        let shape = (n_positions, frequencies.len());
        Self {
            cos: ArcArray2::from_shape_fn(shape, |at| angle(at).cos() as f32 * factor),
            sin: ArcArray2::from_shape_fn(shape, |at| angle(at).sin() as f32 * factor),
            pairs: *pairs,
        }
    }
}

/// Why a forward pass ended before its end.
pub(crate) enum Halt {
    /// Everything that was asked for is there.
    Done,
    /// Something failed.
    Failed(ModelError),
}

impl From<ModelError> for Halt {
    fn from(err: ModelError) -> Self {
        Self::Failed(err)
    }
}

/// Whether to go on.
pub(crate) type Flow = Result<(), Halt>;

/// Values of a tensor that a hook sees and may change, `[n_rows, n_columns]`.
pub(crate) struct Values<'a> {
    /// The values.
    pub(crate) now: ArrayViewMut2<'a, f32>,
    /// Where gradients are taken: the derivative of every value after the changes by the value before, 1 at first.
    pub(crate) slope: Option<ArrayViewMut2<'a, f32>>,
    /// Where gradients are taken: for whom the gradient with respect to the values after the changes is kept.
    pub(crate) wanted: Option<&'a mut Option<Wanted>>,
}

impl<'a> Values<'a> {
    /// Values of a run without gradients.
    pub(crate) fn plain(now: ArrayViewMut2<'a, f32>) -> Self {
        Self { now, slope: None, wanted: None }
    }
}

/// Which gradient the one with respect to some values is a part of.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The number of the point among those that are wanted.
    pub(crate) idx: usize,
    /// What of the point the values are.
    pub(crate) piece: Piece,
}

/// What of a point some values are.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// All rows of the group and all units.
    Whole,
    /// These rows of the group, none for padding, and the units from `first_unit` on.
    Rows { rows: Vec<Option<usize>>, first_unit: usize },
    /// The pattern of a sentence of the group.
    Sentence(usize),
}

/// Sees, and may change, some values.
pub(crate) type See<'a> = &'a mut dyn FnMut(Values<'_>) -> Flow;

/// Sees, and may change, the attention pattern of sentence `idx` of the group: `[n_heads, n_tokens * n_keys]`, where the
/// keys are those of the sentence's past, then its own.
pub(crate) type PatternHook<'a> = &'a mut dyn FnMut(usize, Values<'_>) -> Flow;

/// Keys and values of the sources that sentences have.
pub(crate) enum Sources<'a, E: Engine> {
    /// Rows `[T_source, 2 n_kv_heads d_head]`, and where each sentence's start and the last one's end.
    Rows(&'a E::Tensor, &'a [usize]),
    /// One past a sentence, kept of such rows.
    Past(&'a [E::Past]),
}

/// How weights lie in memory: made once, read by every engine of the same layout.
pub(crate) trait Packing: Send + Sync + 'static {
    /// Matrices laid out for [`Engine::linear`].
    type Linear: Send + Sync;
    /// Gain and bias of a norm.
    type Norm: Send + Sync;

    /// Lays out matrices that share an input, so that they are one product with their outputs side by side.
    fn pack(&self, parts: &[LinearPart<'_>]) -> Self::Linear;
    /// Takes the gain, and the bias where there is one, `[width]`.
    fn pack_norm(&self, kind: NormKind, gain: Vector, bias: Option<Vector>) -> Self::Norm;
}

/// The matrices that an engine multiplies with.
pub(crate) type LinearOf<E> = <<E as Engine>::Packing as Packing>::Linear;
/// The norms of an engine.
pub(crate) type NormOf<E> = <<E as Engine>::Packing as Packing>::Norm;

/// The operations a forward pass is made of. Letters: T rows of the group, widths as named.
pub(crate) trait Engine: Send + Sync + Sized + 'static {
    /// Activations of a group, `[T, width]`.
    type Tensor: Send;
    /// How its weights lie in memory.
    type Packing: Packing;
    /// Keys (rotated) and values that a sentence has behind it at one layer: at first none. A copy shares what is there
    /// and goes on by itself. An engine that is never asked to generate takes `()`, and asserts in
    /// [`Engine::attention`] that there are none.
    type Past: Clone + Default + Send + Sync;

    /// How it lays out weights.
    fn packing(&self) -> &Self::Packing;
    /// Sums of rows of embedding tables: `fill` adds everything to the zeroed row of a token.
    fn embed(&self, n_tokens: usize, width: usize, fill: &dyn Fn(usize, &mut [f32])) -> Self::Tensor;
    /// x W + b `[T, n_out]`, then the epilogue.
    fn linear(&self, x: &Self::Tensor, w: &LinearOf<Self>, epilogue: Epilogue<'_, Self::Tensor>) -> Self::Tensor;
    /// The norm of every row.
    fn norm(&self, x: &Self::Tensor, norm: &NormOf<Self>) -> Self::Tensor;
    /// The norm of some columns, by pieces of its width.
    fn norm_columns(&self, x: &mut Self::Tensor, columns: Range<usize>, norm: &NormOf<Self>);
    /// x + y.
    fn add(&self, x: &Self::Tensor, y: &Self::Tensor) -> Self::Tensor;
    /// x ∘ y.
    fn multiply(&self, x: &Self::Tensor, y: &Self::Tensor) -> Self::Tensor;
    /// w ∘ x + (1 - w) ∘ y, for w of as many rows or of one.
    fn blend(&self, w: &Self::Tensor, x: &Self::Tensor, y: &Self::Tensor) -> Self::Tensor;
    /// The activation of every value.
    fn activate(&self, x: &Self::Tensor, activation: Activation) -> Self::Tensor;
    /// act(x[:, ..w]) * x[:, w..], for x `[T, 2 w]`.
    fn gate(&self, x: &Self::Tensor, activation: Activation) -> Self::Tensor;
    /// The weights of experts by a router's scores `[T, n]`: the softmax of those that are chosen from, where it is
    /// largest, and zero elsewhere.
    fn choose(&self, scores: &Self::Tensor, choice: Choice) -> Self::Tensor;
    /// x times a factor for each row, which is at one of `places` (row, column) of `factors`.
    fn scale_rows(&self, x: &Self::Tensor, factors: &Self::Tensor, places: &[(usize, usize)]) -> Self::Tensor;
    /// Rotates the heads in `columns` by the positions of the rows `[T]`.
    fn rotate(&self, x: &mut Self::Tensor, columns: Range<usize>, d_head: usize, positions: &[usize], rotary: &Rotary);
    /// Attention of each sentence over its past, where there are any (one a sentence, or none at all), and itself: qkv
    /// `[T, (n_heads + 2 n_kv_heads) d_head]` to z `[T, n_heads d_head]`. What is `added` to the scores of a query counts
    /// its position from the first of the past.
    fn attention(
        &self,
        qkv: &Self::Tensor,
        shape: AttentionShape,
        offsets: &[usize],
        past: &[Self::Past],
        added: &Added<'_, Self::Tensor>,
        pattern: Option<PatternHook<'_>>,
    ) -> Result<Self::Tensor, Halt>;
    /// Attention of the queries q `[T, n_heads d_head]` of each sentence over all keys of its source, to z
    /// `[T, n_heads d_head]`. The shape is not causal.
    fn attend(
        &self,
        q: &Self::Tensor,
        sources: Sources<'_, Self>,
        shape: AttentionShape,
        offsets: &[usize],
        pattern: Option<PatternHook<'_>>,
    ) -> Result<Self::Tensor, Halt>;
    /// Adds the keys and values of each sentence of qkv to its past, one a sentence. A shape without queries is that of
    /// the keys and values of sources.
    fn keep(&self, qkv: &Self::Tensor, shape: AttentionShape, offsets: &[usize], past: &mut [Self::Past]);
    /// The gates of an LSTM, i, f, g, o side by side: sigmoids, and tanh for g, of pre `[T, 4 H]`.
    fn lstm_gates(&self, pre: Self::Tensor) -> Self::Tensor;
    /// f * c + i * g `[T, H]`, for gates `[T, 4 H]` and the cells before c `[T, H]`.
    fn lstm_cell(&self, gates: &Self::Tensor, c: &Self::Tensor) -> Self::Tensor;
    /// o * tanh(c) `[T, H]`.
    fn lstm_state(&self, gates: &Self::Tensor, c: &Self::Tensor) -> Self::Tensor;
    /// A convolution over time, each column by itself: every row is the sum of the taps of the kernel times the rows at
    /// its `places` (which part, which row of it; one a tap, row after row), and the bias.
    fn convolve(&self, parts: &[&Self::Tensor], places: &[(usize, usize)], kernel: &Arc<Kernel>) -> Self::Tensor;
    /// What is read of a state of RWKV, `[T, n_heads d_head]` as its inputs: receptances, keys, values, and what more the
    /// rule takes. The state of each sentence, `[n_sentences, n_heads d_head²]`, is zeros or what is given, and is then
    /// what its last row left.
    fn wkv(
        &self,
        inputs: &[&Self::Tensor],
        wkv: &Arc<Wkv>,
        offsets: &[usize],
        state: Option<&mut Self::Tensor>,
    ) -> Self::Tensor;
    /// What a selective state-space model gives for x `[T, width]`, step sizes dt `[T, width]`, and `bc` `[T, 2 N]`: what
    /// enters the states, then what reads them. The states of each sentence, `[n_sentences, N width]`, are as above.
    fn scan(
        &self,
        inputs: [&Self::Tensor; 3],
        scan: &Arc<Scan>,
        offsets: &[usize],
        state: Option<&mut Self::Tensor>,
    ) -> Self::Tensor;
    /// Lets `see` read and change `columns`, `[T, columns.len()]`.
    fn visit(&self, x: &mut Self::Tensor, columns: Range<usize>, see: See<'_>) -> Flow;
    /// Number of columns.
    fn width(&self, x: &Self::Tensor) -> usize;
    /// The chosen rows.
    fn rows(&self, x: &Self::Tensor, rows: &[usize]) -> Self::Tensor;
    /// The first `n` rows. An engine that keeps a record copies them even where they are all: sums over what was made of
    /// them have one order then, however many there are.
    fn first<'a>(&self, x: &'a Self::Tensor, n: usize) -> Part<'a, Self::Tensor> {
        Part::Copied(self.rows(x, &(0..n).collect::<Vec<_>>()))
    }
    /// Rows of several tensors of one width: for each of `places`, which of them and which row of it.
    fn gather(&self, parts: &[&Self::Tensor], places: &[(usize, usize)]) -> Self::Tensor;
    /// Columns of tensors of as many rows, side by side.
    fn beside(&self, parts: &[(&Self::Tensor, Range<usize>)]) -> Self::Tensor;
    /// A copy for the caller, `[T, width]`.
    fn read(&self, x: &Self::Tensor) -> Array2<f32>;
}
