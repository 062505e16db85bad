//! The candle engine: the differentiable twin of ours.
//!
//! Only operations whose gradients candle has, and has right: norms and softmax are composed, for the fused ones give
//! no gradient and no error; GELU is composed from `tanh` and `erf`, for the gradients of candle's own are rounded to
//! six digits. Through a value that a hook changes passes as much of the gradient as the edit lets through.

mod operations;
mod scan;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Result, Tensor, Var};
use ndarray::{ArcArray2, Array2};

use operations::{activated, array, heads, normed, sigmoid, softmax, with_columns};

use super::cpu::choose::largest;
use super::{
    Activation, Added, AttentionShape, Choice, Columns, Engine, Epilogue, Flow, Halt, Kernel, LinearPart, NormKind,
    Packing, Pairs, PatternHook, Relative, Rotary, Scan, See, Sources, Values, Vector, Wanted, Wkv,
};

/// The engine; all its tensors are of one type on one device.
pub(crate) struct Candle {
    pub(crate) device: Device,
    /// `F32`, or `F64` for references and checks of gradients.
    pub(crate) dtype: DType,
    /// Zeros that were added to values whose gradients are wanted: their gradients are those.
    pub(crate) probes: Mutex<Vec<(Wanted, Var)>>,
    /// All weights that were packed, by the checkpoint's names and in its shapes.
    pub(crate) parameters: Mutex<Vec<(String, Var)>>,
    /// Whether gradients of the weights can be taken; then every run keeps all that it computes.
    pub(crate) records: bool,
}

/// A matrix `[n_in, n_out]` and its bias `[n_out]`.
pub(crate) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

/// Gain and bias of a norm, `[width]`.
pub(crate) struct Norm {
    kind: NormKind,
    gain: Tensor,
    bias: Option<Tensor>,
}

/// The result of an operation whose shapes were checked when the model was loaded.
///
/// # Panics
/// If the device fails, or if shapes do not fit: an error of ours.
fn done<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|err| panic!("candle: {err}"))
}

impl Candle {
    /// On the device of the tests, in numbers of type `dtype`.
    #[cfg(test)]
    pub(crate) fn twin(dtype: DType) -> Self {
        Self { dtype, records: true, ..done(Self::open(crate::options::Device::compared())) }
    }

    /// On a device, in 32-bit floats, for runs without gradients of the weights.
    ///
    /// # Errors
    /// If the machine or the build has none.
    pub(crate) fn open(device: crate::options::Device) -> Result<Self> {
        use crate::options::Device as Asked;
        let device = match device {
            Asked::Cpu | Asked::Candle => Device::Cpu,
            Asked::Cuda => Device::new_cuda(0)?,
            Asked::Metal => Device::new_metal(0)?,
        };
        Ok(Self { device, dtype: DType::F32, probes: Mutex::default(), parameters: Mutex::default(), records: false })
    }

    fn tensor(&self, values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
        Tensor::from_vec(values, shape, &self.device)?.to_dtype(self.dtype)
    }

    /// A tensor that gradients can be taken of.
    fn parameter(&self, name: &str, values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
        if !self.records {
            return self.tensor(values, shape);
        }
        let parameter = Var::from_tensor(&self.tensor(values, shape)?)?;
        let tensor = parameter.as_tensor().clone();
        self.parameters.lock().unwrap_or_else(PoisonError::into_inner).push((name.to_owned(), parameter));
        Ok(tensor)
    }

    fn matrix(&self, part: &LinearPart<'_>) -> Result<Tensor> {
        let shape = part.weight.shape();
        let mut values = vec![0.0; shape.iter().product()];
        part.weight.decode(0, &mut values);
        let matrix = self.parameter(part.weight.name(), values, shape)?;
        let matrix = if part.transposed { matrix } else { matrix.t()?.contiguous()? };
        self.ordered(part, &matrix, 1)
    }

    /// The outputs of a part in the order in which they are wanted.
    fn ordered(&self, part: &LinearPart<'_>, outputs: &Tensor, dim: usize) -> Result<Tensor> {
        let Some(order) = &part.order else { return Ok(outputs.clone()) };
        let order: Vec<u32> = order.iter().map(|&output| output as u32).collect();
        outputs.index_select(&Tensor::from_vec(order, outputs.dim(dim)?, &self.device)?, dim)
    }

    fn packed(&self, parts: &[LinearPart<'_>]) -> Result<Linear> {
        let matrices: Vec<Tensor> = parts.iter().map(|part| self.matrix(part)).collect::<Result<_>>()?;
        let weight = Tensor::cat(&matrices, 1)?;
        if parts.iter().all(|part| part.bias.is_none()) {
            return Ok(Linear { weight, bias: None });
        }
        let bias = |(part, matrix): (&LinearPart<'_>, &Tensor)| match &part.bias {
            Some(Vector { name, values }) => {
                self.ordered(part, &self.parameter(name, values.clone(), &[values.len()])?, 0)
            }
            None => Tensor::zeros(matrix.dim(1)?, self.dtype, &self.device),
        };
        let biases: Vec<Tensor> = parts.iter().zip(&matrices).map(bias).collect::<Result<_>>()?;
        let bias = Tensor::cat(&biases, 0)?;
        Ok(Linear { weight, bias: Some(bias) })
    }

    /// Puts what `see` changes in place of `part`, `[rows, columns]`; unchanged values stay what they were.
    fn shown(&self, part: &Tensor, see: impl FnOnce(Values<'_>) -> Flow) -> std::result::Result<Tensor, Halt> {
        let before = array(part);
        let mut after = before.clone();
        let mut slope = Array2::ones(before.dim());
        let mut wanted = None;
        see(Values { now: after.view_mut(), slope: Some(slope.view_mut()), wanted: Some(&mut wanted) })?;
        let shown = self.changed(part, &before, after, slope);
        let Some(wanted) = wanted else { return Ok(shown) };
        let probe = done(Var::zeros(part.shape(), self.dtype, &self.device));
        let shown = done(shown + probe.as_tensor());
        self.probes.lock().unwrap_or_else(PoisonError::into_inner).push((wanted, probe));
        Ok(shown)
    }

    /// `part` with the values of `after` where they differ from those `before`.
    fn changed(&self, part: &Tensor, before: &Array2<f32>, after: Array2<f32>, slope: Array2<f32>) -> Tensor {
        let changed: Vec<u8> = before
            .iter()
            .zip(&after)
            .zip(&slope)
            .map(|((old, new), &slope)| u8::from(old.to_bits() != new.to_bits() || slope.to_bits() != 1f32.to_bits()))
            .collect();
        if !changed.contains(&1) {
            return part.clone();
        }
        let shape = [after.nrows(), after.ncols()];
        let replaced = || {
            let new = self.tensor(after.into_iter().collect(), &shape)?;
            let slope = self.tensor(slope.into_iter().collect(), &shape)?;
            // A zero whose gradient is that of the values.
            let zero = (part - part.detach())?;
            Tensor::from_vec(changed, &shape, &self.device)?.where_cond(&(new + (zero * slope)?)?, part)
        };
        done(replaced())
    }

    /// Heads `[n, n_heads d_head]`, rotated by the positions `[n]` of their rows.
    fn rotated(&self, x: &Tensor, d_head: usize, positions: &[usize], rotary: &Rotary) -> Result<Tensor> {
        let (n, width) = x.dims2()?;
        let half = rotary.cos.ncols();
        let angles = |table: &ArcArray2<f32>| {
            let rows = positions.iter().flat_map(|&position| table.row(position).to_vec()).collect();
            self.tensor(rows, &[n, 1, half])
        };
        let (cos, sin) = (angles(&rotary.cos)?, angles(&rotary.sin)?);
        let heads = x.reshape((n, width / d_head, d_head))?;
        let columns = |which: usize| {
            let columns = (0..half).map(|pair| rotary.pairs.columns(pair, half)[which] as u32).collect();
            heads.index_select(&Tensor::from_vec(columns, half, &self.device)?, 2)
        };
        let (a, b) = (columns(0)?, columns(1)?);
        let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
        let turned = match rotary.pairs {
            Pairs::Halves => Tensor::cat(&[first, second], 2)?,
            Pairs::Neighbors => Tensor::stack(&[first, second], 3)?.reshape((n, width / d_head, 2 * half))?,
        };
        let rest = heads.narrow(2, 2 * half, d_head - 2 * half)?;
        let parts = if d_head == 2 * half { vec![turned] } else { vec![turned, rest] };
        Tensor::cat(&parts, 2)?.reshape((n, width))
    }

    /// What a sentence's queries `[n, n_heads R]` add to its scores, `[n_heads, n queries, n keys]`: of each head and key
    /// the value in the column of their distance.
    fn by_distance(&self, x: &Tensor, n_heads: usize, columns: &Columns) -> Result<Tensor> {
        let n = x.dim(0)?;
        let x = x.reshape((n, n_heads, columns.n_columns))?.transpose(0, 1)?.contiguous()?;
        let at: Vec<u32> = (0..n_heads).flat_map(|_| (0..n).flat_map(|query| columns.of(query, n).to_vec())).collect();
        x.gather(&Tensor::from_vec(at, (n_heads, n, n), &self.device)?, 2)
    }

    /// The same of keys.
    fn by_distance_of_keys(&self, x: &Tensor, n_heads: usize, columns: &Columns) -> Result<Tensor> {
        let n = x.dim(0)?;
        let x = x.reshape((n, n_heads, columns.n_columns))?.transpose(0, 1)?.contiguous()?;
        let of = |key: usize| (0..n).map(move |query| columns.of(query, n)[key]);
        let at: Vec<u32> = (0..n_heads).flat_map(|_| (0..n).flat_map(of)).collect();
        x.gather(&Tensor::from_vec(at, (n_heads, n, n), &self.device)?, 2)?.transpose(1, 2)?.contiguous()
    }

    /// Scores `[n_heads, n, n]` of a sentence's queries and keys, scaled, with everything that is added to them.
    fn scores(
        &self,
        q: &Tensor,
        k: &Tensor,
        shape: AttentionShape,
        first_row: usize,
        added: &Added<'_, Tensor>,
    ) -> Result<Tensor> {
        let n = q.dim(1)?;
        let mut scores = q.matmul(&k.t()?)?;
        if let Some(Relative { of_queries, of_keys, columns }) = &added.relative {
            if let Some(x) = of_queries {
                scores = (scores + self.by_distance(&x.narrow(0, first_row, n)?, shape.n_heads, columns)?)?;
            }
            if let Some(x) = of_keys {
                scores = (scores + self.by_distance_of_keys(&x.narrow(0, first_row, n)?, shape.n_heads, columns)?)?;
            }
        }
        let scores = (scores * f64::from(shape.scale))?;
        let scores = match shape.cap {
            Some(cap) => activated(&scores, Activation::Cap(cap))?,
            None => scores,
        };
        let Some(bias) = added.bias else { return Ok(scores) };
        let of_head = |head| (0..n).flat_map(move |query| bias.of(head, query, n).to_vec());
        scores + self.tensor((0..shape.n_heads).flat_map(of_head).collect(), &[shape.n_heads, n, n])?
    }

    /// Attention probabilities `[n_heads, n, n]` of scores.
    fn pattern(&self, scores: Tensor, shape: AttentionShape, added: &Added<'_, Tensor>) -> Result<Tensor> {
        let n = scores.dim(1)?;
        let raised = |head: usize, query: usize, key: usize| {
            if shape.seen(query, n).contains(&key) { shape.rise(head) * key as f32 } else { f32::NEG_INFINITY }
        };
        let all = (0..shape.n_heads * n * n).map(|at| raised(at / (n * n), at / n % n, at % n)).collect();
        let scores = (scores + self.tensor(all, &[shape.n_heads, n, n])?)?;
        let Some(sinks) = added.sinks else { return softmax(&scores) };
        let sinks = self.tensor(sinks.to_vec(), &[shape.n_heads, 1, 1])?.broadcast_as((shape.n_heads, n, 1))?;
        softmax(&Tensor::cat(&[&scores, &sinks], 2)?)?.narrow(2, 0, n)?.contiguous()
    }
}

impl Packing for Candle {
    type Linear = Linear;
    type Norm = Norm;

    fn pack(&self, parts: &[LinearPart<'_>]) -> Linear {
        done(self.packed(parts))
    }

    fn pack_norm(&self, kind: NormKind, gain: Vector, bias: Option<Vector>) -> Norm {
        let vector = |Vector { name, values }| {
            let width = values.len();
            done(self.parameter(&name, values, &[width]))
        };
        Norm { kind, gain: vector(gain), bias: bias.map(vector) }
    }
}

impl Engine for Candle {
    type Tensor = Tensor;
    type Packing = Self;
    type Past = ();

    fn packing(&self) -> &Self {
        self
    }

    fn embed(&self, n_tokens: usize, width: usize, fill: &dyn Fn(usize, &mut [f32])) -> Tensor {
        let mut values = vec![0.0; n_tokens * width];
        values.chunks_exact_mut(width).enumerate().for_each(|(row, values)| fill(row, values));
        done(self.tensor(values, &[n_tokens, width]))
    }

    fn linear(&self, x: &Tensor, w: &Linear, epilogue: Epilogue<'_, Tensor>) -> Tensor {
        let product = || {
            // Products on graphics processors take no rows of a wider matrix.
            let y = x.contiguous()?.matmul(&w.weight)?;
            let y = w.bias.as_ref().map_or(Ok(y.clone()), |bias| y.broadcast_add(bias))?;
            match epilogue {
                Epilogue::None => Ok(y),
                Epilogue::Activate(activation) => activated(&y, activation),
                Epilogue::Add(residual) => residual + y,
                Epilogue::AddRows(longer, from) => longer.narrow(0, from, y.dim(0)?)? + y,
            }
        };
        done(product())
    }

    fn norm(&self, x: &Tensor, norm: &Norm) -> Tensor {
        done(normed(x, norm))
    }

    fn norm_columns(&self, x: &mut Tensor, columns: Range<usize>, norm: &Norm) {
        let pieces = || {
            let n = x.dim(0)?;
            let part = x.narrow(1, columns.start, columns.len())?.reshape(((), norm.gain.dim(0)?))?;
            with_columns(x, &columns, &normed(&part, norm)?.reshape((n, columns.len()))?)
        };
        *x = done(pieces());
    }

    fn add(&self, x: &Tensor, y: &Tensor) -> Tensor {
        done(x + y)
    }

    fn multiply(&self, x: &Tensor, y: &Tensor) -> Tensor {
        done(x * y)
    }

    fn blend(&self, w: &Tensor, x: &Tensor, y: &Tensor) -> Tensor {
        let blended = || (x - y)?.broadcast_mul(w)? + y;
        done(blended())
    }

    fn activate(&self, x: &Tensor, activation: Activation) -> Tensor {
        done(activated(x, activation))
    }

    fn gate(&self, x: &Tensor, activation: Activation) -> Tensor {
        let gated = || {
            let width = x.dim(1)? / 2;
            activated(&x.narrow(1, 0, width)?, activation)? * x.narrow(1, width, width)?
        };
        done(gated())
    }

    fn choose(&self, scores: &Tensor, choice: Choice) -> Tensor {
        let chosen = || {
            let (n_rows, n) = scores.dims2()?;
            let routed = scores.narrow(1, 0, choice.n_experts)?;
            let weights = routed.broadcast_sub(&routed.max_keepdim(1)?.detach())?.exp()?;
            let weights = weights.broadcast_div(&weights.sum_keepdim(1)?)?;
            let mut kept = vec![0.0; n_rows * choice.n_experts];
            for (row, values) in array(&weights).rows().into_iter().enumerate() {
                let places = largest(&values.to_vec(), choice.n_taken);
                for expert in places {
                    kept[row * choice.n_experts + expert] = 1.0;
                }
            }
            let weights = (weights * self.tensor(kept, &[n_rows, choice.n_experts])?)?;
            let weights = if choice.normalizes { weights.broadcast_div(&weights.sum_keepdim(1)?)? } else { weights };
            if n == choice.n_experts {
                return Ok(weights);
            }
            let shared = sigmoid(&scores.narrow(1, choice.n_experts, n - choice.n_experts)?)?;
            Tensor::cat(&[weights, shared], 1)
        };
        if done(scores.dim(0)) == 0 { scores.clone() } else { done(chosen()) }
    }

    fn scale_rows(&self, x: &Tensor, factors: &Tensor, places: &[(usize, usize)]) -> Tensor {
        let scaled = || {
            let width = factors.dim(1)?;
            let places: Vec<u32> = places.iter().map(|&(row, column)| (row * width + column) as u32).collect();
            let n = places.len();
            let factors = factors.flatten_all()?.index_select(&Tensor::from_vec(places, n, &self.device)?, 0)?;
            x.broadcast_mul(&factors.reshape((n, 1))?)
        };
        done(scaled())
    }

    fn rotate(&self, x: &mut Tensor, columns: Range<usize>, d_head: usize, positions: &[usize], rotary: &Rotary) {
        if positions.is_empty() {
            return;
        }
        let middle = done(x.narrow(1, columns.start, columns.len()));
        *x = done(with_columns(x, &columns, &done(self.rotated(&middle, d_head, positions, rotary))));
    }

    fn attention(
        &self,
        qkv: &Tensor,
        shape: AttentionShape,
        offsets: &[usize],
        past: &[()],
        added: &Added<'_, Tensor>,
        mut pattern: Option<PatternHook<'_>>,
    ) -> std::result::Result<Tensor, Halt> {
        assert!(past.is_empty(), "no past is kept");
        let mut parts = Vec::with_capacity(offsets.len());
        for (idx, pair) in offsets.windows(2).enumerate() {
            let n = pair[1] - pair[0];
            if n == 0 {
                if let Some(see) = &mut pattern {
                    see(idx, Values::plain(Array2::zeros((shape.n_heads, 0)).view_mut()))?;
                }
                continue;
            }
            let rows = done(qkv.narrow(0, pair[0], n));
            let part = |columns: Range<usize>| {
                heads(&rows.narrow(1, columns.start, columns.len())?, shape.d_head, shape.n_heads)
            };
            let (q, k, v) = (done(part(shape.q())), done(part(shape.k())), done(part(shape.v())));
            let mut weights =
                done(self.scores(&q, &k, shape, pair[0], added).and_then(|scores| self.pattern(scores, shape, added)));
            if let Some(see) = &mut pattern {
                let flat = done(weights.reshape((shape.n_heads, n * n)));
                weights = done(self.shown(&flat, |values| see(idx, values))?.reshape((shape.n_heads, n, n)));
            }
            let z = || weights.matmul(&v)?.transpose(0, 1)?.contiguous()?.reshape((n, shape.n_heads * shape.d_head));
            parts.push(done(z()));
        }
        if parts.is_empty() {
            return Ok(done(Tensor::zeros((0, shape.q().len()), self.dtype, &self.device)));
        }
        Ok(done(Tensor::cat(&parts, 0)))
    }

    fn attend(
        &self,
        q: &Tensor,
        sources: Sources<'_, Self>,
        shape: AttentionShape,
        offsets: &[usize],
        mut pattern: Option<PatternHook<'_>>,
    ) -> std::result::Result<Tensor, Halt> {
        let Sources::Rows(kv, source_offsets) = sources else { unreachable!("no past is kept") };
        let columns = shape.without_queries();
        let mut parts = Vec::with_capacity(offsets.len());
        for (idx, (own, source)) in offsets.windows(2).zip(source_offsets.windows(2)).enumerate() {
            let (n, n_keys) = (own[1] - own[0], source[1] - source[0]);
            if n == 0 || n_keys == 0 {
                if let Some(see) = &mut pattern {
                    see(idx, Values::plain(Array2::zeros((shape.n_heads, 0)).view_mut()))?;
                }
                parts.push(done(Tensor::zeros((n, shape.q().len()), self.dtype, &self.device)));
                continue;
            }
            let q = done(q.narrow(0, own[0], n).and_then(|rows| heads(&rows, shape.d_head, shape.n_heads)));
            let part = |columns: Range<usize>| {
                let rows = kv.narrow(0, source[0], n_keys)?.narrow(1, columns.start, columns.len())?;
                heads(&rows, shape.d_head, shape.n_heads)
            };
            let (k, v) = (done(part(columns.k())), done(part(columns.v())));
            let weights = || softmax(&(q.matmul(&k.t()?)? * f64::from(shape.scale))?);
            let mut weights = done(weights());
            if let Some(see) = &mut pattern {
                let flat = done(weights.reshape((shape.n_heads, n * n_keys)));
                weights = done(self.shown(&flat, |values| see(idx, values))?.reshape((shape.n_heads, n, n_keys)));
            }
            let z = || weights.matmul(&v)?.transpose(0, 1)?.contiguous()?.reshape((n, shape.n_heads * shape.d_head));
            parts.push(done(z()));
        }
        if parts.is_empty() {
            return Ok(done(Tensor::zeros((0, shape.q().len()), self.dtype, &self.device)));
        }
        Ok(done(Tensor::cat(&parts, 0)))
    }

    fn keep(&self, _: &Tensor, _: AttentionShape, _: &[usize], _: &mut [()]) {}

    fn lstm_gates(&self, pre: Tensor) -> Tensor {
        let gates = || {
            let h = pre.dim(1)? / 4;
            let (both, g, o) = (pre.narrow(1, 0, 2 * h)?, pre.narrow(1, 2 * h, h)?, pre.narrow(1, 3 * h, h)?);
            Tensor::cat(&[sigmoid(&both)?, g.tanh()?, sigmoid(&o)?], 1)
        };
        done(gates())
    }

    fn lstm_cell(&self, gates: &Tensor, c: &Tensor) -> Tensor {
        let cell = || {
            let h = c.dim(1)?;
            let part = |idx: usize| gates.narrow(1, idx * h, h);
            (part(1)? * c)? + (part(0)? * part(2)?)?
        };
        done(cell())
    }

    fn lstm_state(&self, gates: &Tensor, c: &Tensor) -> Tensor {
        let state = || {
            let h = c.dim(1)?;
            gates.narrow(1, 3 * h, h)? * c.tanh()?
        };
        done(state())
    }

    fn convolve(&self, parts: &[&Tensor], places: &[(usize, usize)], kernel: &Arc<Kernel>) -> Tensor {
        let width = kernel.bias.len();
        let row = |values: &[f32]| done(self.tensor(values.to_vec(), &[1, width]));
        let tap = |(idx, tap): (usize, &[f32])| {
            let places: Vec<(usize, usize)> = places.iter().skip(idx).step_by(kernel.n_taps()).copied().collect();
            done(self.gather(parts, &places).broadcast_mul(&row(tap)))
        };
        let taps = kernel.taps().enumerate().map(tap);
        let sum = taps.reduce(|sum, part| done(sum + part)).expect("a kernel has a tap");
        done(sum.broadcast_add(&row(&kernel.bias)))
    }

    fn wkv(&self, inputs: &[&Tensor], wkv: &Arc<Wkv>, offsets: &[usize], state: Option<&mut Tensor>) -> Tensor {
        assert!(state.is_none(), "no past is kept");
        done(self.wkv(inputs, wkv, offsets))
    }

    fn scan(&self, inputs: [&Tensor; 3], scan: &Arc<Scan>, offsets: &[usize], state: Option<&mut Tensor>) -> Tensor {
        assert!(state.is_none(), "no past is kept");
        done(self.scan(inputs, scan, offsets))
    }

    fn visit(&self, x: &mut Tensor, columns: Range<usize>, see: See<'_>) -> Flow {
        let part = done(x.narrow(1, columns.start, columns.len()));
        let shown = self.shown(&part, see)?;
        if shown.id() != part.id() {
            *x = done(with_columns(x, &columns, &shown));
        }
        Ok(())
    }

    fn width(&self, x: &Tensor) -> usize {
        done(x.dim(1))
    }

    fn rows(&self, x: &Tensor, rows: &[usize]) -> Tensor {
        let chosen = || {
            let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
            let n = rows.len();
            x.contiguous()?.index_select(&Tensor::from_vec(rows, n, &self.device)?, 0)
        };
        done(chosen())
    }

    fn gather(&self, parts: &[&Tensor], places: &[(usize, usize)]) -> Tensor {
        let mut first = Vec::with_capacity(parts.len());
        let mut n_rows = 0;
        for part in parts {
            first.push(n_rows);
            n_rows += done(part.dim(0));
        }
        let rows: Vec<usize> = places.iter().map(|&(part, row)| first[part] + row).collect();
        if rows.is_empty() {
            return done(Tensor::zeros((0, self.width(parts[0])), self.dtype, &self.device));
        }
        self.rows(&done(Tensor::cat(parts, 0)), &rows)
    }

    fn beside(&self, parts: &[(&Tensor, Range<usize>)]) -> Tensor {
        let columns = parts.iter().map(|(part, columns)| part.narrow(1, columns.start, columns.len()));
        let joined = || Tensor::cat(&columns.collect::<Result<Vec<_>>>()?, 1);
        done(joined())
    }

    fn read(&self, x: &Tensor) -> Array2<f32> {
        array(x)
    }
}

#[cfg(test)]
pub(crate) mod tests;
