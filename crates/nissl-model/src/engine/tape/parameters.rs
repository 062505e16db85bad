//! Gradients of parameters: sums over groups, in their order whoever computes them.
//!
//! A group hands in, matrix by matrix, what went into its products and the gradients of what came out. Whoever hands in
//! what is next in order adds it, and what others handed in meanwhile; nobody waits for anybody.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Op, Values, slopes};
use crate::engine::cpu::gemm::{Rows, RowsMut, product};
use crate::engine::cpu::isa::Isa;
use crate::engine::cpu::tensor::PANEL;
use crate::engine::cpu::{Norm, Weights};

/// Rows of a product that are summed together: their transposed left matrix stays in the second-level cache.
const DEPTH: usize = 256;

/// The parameters of a model and the sums of their gradients.
pub(crate) struct Parameters {
    linears: Vec<InOrder<LinearSum>>,
    norms: Vec<InOrder<NormSum>>,
    /// The numbers of both, by where they lie in memory.
    numbers: BTreeMap<usize, usize>,
}

/// Gradients by the checkpoint's names, each in the checkpoint's shape, flat.
pub(crate) type Gradients = BTreeMap<String, Vec<f32>>;

/// What is recorded of a product: its input and the gradient of its output.
type Use = (Arc<Values>, Arc<Values>);

impl Parameters {
    /// Zeros for all of them.
    pub(crate) fn new(linears: &[&Arc<Weights>], norms: &[&Arc<Norm>]) -> Self {
        let numbered = linears.iter().map(|w| address(w)).enumerate();
        let numbers = numbered.chain(norms.iter().map(|norm| address(norm)).enumerate());
        Self {
            numbers: numbers.map(|(number, address)| (address, number)).collect(),
            linears: linears.iter().map(|w| InOrder::new(LinearSum::new(w))).collect(),
            norms: norms.iter().map(|norm| InOrder::new(NormSum::new(norm))).collect(),
        }
    }

    /// Adds the gradients, each to what there is of its name.
    pub(crate) fn finish(self, gradients: &mut Gradients) {
        for linear in self.linears {
            linear.into_sum().finish(gradients);
        }
        for norm in self.norms {
            norm.into_sum().finish(gradients);
        }
    }
}

/// Where something that is shared lies in memory.
fn address<T>(shared: &Arc<T>) -> usize {
    Arc::as_ptr(shared) as usize
}

/// A sum whose parts are added in the order of their groups.
struct InOrder<S: Sum> {
    queue: Mutex<Queue<S::Part>>,
    sum: Mutex<S>,
}

/// What takes parts.
trait Sum {
    type Part;
    fn add(&mut self, isa: Isa, part: Self::Part);
}

struct Queue<P> {
    next: usize,
    waiting: BTreeMap<usize, P>,
    /// Whether somebody is adding.
    busy: bool,
}

impl<S: Sum> InOrder<S> {
    fn new(sum: S) -> Self {
        Self { queue: Mutex::new(Queue { next: 0, waiting: BTreeMap::new(), busy: false }), sum: Mutex::new(sum) }
    }

    /// Takes a group's part, to be added when it is its turn.
    fn hand_in(&self, isa: Isa, group: usize, part: S::Part) {
        let mut queue = lock(&self.queue);
        queue.waiting.insert(group, part);
        if queue.busy {
            return;
        }
        let mut next = queue.next;
        while let Some(part) = queue.waiting.remove(&next) {
            queue.busy = true;
            drop(queue);
            lock(&self.sum).add(isa, part);
            next += 1;
            queue = lock(&self.queue);
            (queue.next, queue.busy) = (next, false);
        }
    }

    fn into_sum(self) -> S {
        self.sum.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a group hands in, as far as its backward pass has come.
pub(super) struct Group {
    isa: Isa,
    parameters: Arc<Parameters>,
    number: usize,
    /// Of every matrix its uses so far, and how many are to come; none once they are handed in.
    linears: Vec<Option<(Vec<Use>, usize)>>,
    /// Of every norm, its gain's and bias's gradients.
    norms: Vec<Option<(Vec<f32>, Vec<f32>)>>,
}

impl Group {
    pub(super) fn new(isa: Isa, parameters: Arc<Parameters>, number: usize, record: &[Op]) -> Self {
        let mut linears: Vec<Option<(Vec<Use>, usize)>> =
            parameters.linears.iter().map(|_| Some((Vec::new(), 0))).collect();
        for op in record {
            if let Op::Linear { w, .. } = op
                && let Some(number) = parameters.numbers.get(&address(w))
                && let Some((_, to_come)) = &mut linears[*number]
            {
                *to_come += 1;
            }
        }
        let norms = parameters.norms.iter().map(|_| None).collect();
        Self { isa, parameters, number, linears, norms }
    }

    /// Takes the input of a product and the gradient of its output.
    pub(super) fn linear(&mut self, w: &Arc<Weights>, x: Arc<Values>, dy: Arc<Values>) {
        let Some(&number) = self.parameters.numbers.get(&address(w)) else { return };
        let Some((uses, to_come)) = &mut self.linears[number] else { return };
        uses.push((x, dy));
        if uses.len() == *to_come {
            let uses = std::mem::take(uses);
            self.linears[number] = None;
            self.parameters.linears[number].hand_in(self.isa, self.number, uses);
        }
    }

    /// Takes the input of a norm (as many pieces as there are) and the gradient of its output, some columns of dy.
    pub(super) fn norm(&mut self, norm: &Arc<Norm>, x: &Values, dy: &Values, columns: Range<usize>) {
        let Some(&number) = self.parameters.numbers.get(&address(norm)) else { return };
        let width = norm.gain.len();
        let (dgain, dbias) = self.norms[number].get_or_insert_with(|| (vec![0.0; width], vec![0.0; width]));
        for row in 0..x.n_rows() {
            for (x, dy) in x.row(row).chunks_exact(width).zip(dy.row(row)[columns.clone()].chunks_exact(width)) {
                slopes::norm_parameters(self.isa, x, norm.kind, dy, dgain, dbias);
            }
        }
    }

    /// Hands in what is left.
    pub(super) fn finish(self) {
        for (linear, uses) in self.parameters.linears.iter().zip(self.linears) {
            if let Some((uses, _)) = uses {
                linear.hand_in(self.isa, self.number, uses);
            }
        }
        for (norm, part) in self.parameters.norms.iter().zip(self.norms) {
            norm.hand_in(self.isa, self.number, part);
        }
    }
}

/// The gradient of a matrix and its bias.
struct LinearSum {
    weights: Arc<Weights>,
    /// Whether it is `[n_in, n_out]`, as the checkpoint stores it, and not `[n_out, n_in]`.
    transposed: bool,
    n_columns: usize,
    /// Rows of whole panels.
    values: Vec<f32>,
    bias: Vec<f32>,
}

impl LinearSum {
    fn new(weights: &Arc<Weights>) -> Self {
        let (n_in, n_out) = (weights.packed().n_in(), weights.packed().n_out());
        let transposed = weights.origins.iter().all(|origin| origin.transposed);
        let (n_rows, n_columns) = if transposed { (n_in, n_out) } else { (n_out, n_in) };
        let values = vec![0.0; n_rows * n_columns.next_multiple_of(PANEL)];
        Self { weights: Arc::clone(weights), transposed, n_columns, values, bias: vec![0.0; n_out] }
    }

    /// Adds leftᵀ · right, for matrices of as many rows.
    fn product(&mut self, isa: Isa, left: &[&[f32]], right: &[&[f32]]) {
        let (n, n_rows) = (left.len(), left[0].len());
        let mut turned = vec![0.0; n * n_rows];
        super::attention::turn(&left.iter().copied(), n, &mut turned);
        let left = Rows { values: &turned, stride: n, n_rows };
        let mut panel = vec![0.0; n * PANEL];
        let stride = self.n_columns.next_multiple_of(PANEL);
        for column in (0..self.n_columns).step_by(PANEL) {
            let width = PANEL.min(self.n_columns - column);
            for (row, values) in panel.chunks_exact_mut(PANEL).zip(right) {
                row[..width].copy_from_slice(&values[column..column + width]);
            }
            let mut out = RowsMut { values: &mut self.values[column..], stride };
            product(isa, left, &panel, &mut out, false, &mut |_, _, _| {});
        }
    }

    fn n_rows(&self) -> usize {
        self.values.len() / self.n_columns.next_multiple_of(PANEL)
    }

    fn finish(self, gradients: &mut Gradients) {
        let stride = self.n_columns.next_multiple_of(PANEL);
        let rows = || self.values.chunks_exact(stride).map(|row| &row[..self.n_columns]);
        let mut first = 0;
        for origin in &self.weights.origins {
            let own = first..first + origin.n_out;
            first = own.end;
            let place = |idx: usize| origin.order.as_ref().map_or(idx, |order| order[idx]);
            let mut matrix = vec![0.0; if self.transposed { self.n_rows() } else { self.n_columns } * own.len()];
            if self.transposed {
                for (row, to) in rows().zip(matrix.chunks_exact_mut(own.len())) {
                    row[own.clone()].iter().enumerate().for_each(|(idx, value)| to[place(idx)] = *value);
                }
            } else {
                for (idx, row) in rows().skip(own.start).take(own.len()).enumerate() {
                    matrix[place(idx) * self.n_columns..][..self.n_columns].copy_from_slice(row);
                }
            }
            add(gradients, &origin.weight, matrix);
            if let Some(name) = &origin.bias {
                let mut bias = vec![0.0; own.len()];
                self.bias[own].iter().enumerate().for_each(|(idx, value)| bias[place(idx)] = *value);
                add(gradients, name, bias);
            }
        }
    }
}

impl Sum for LinearSum {
    type Part = Vec<Use>;

    fn add(&mut self, isa: Isa, uses: Vec<Use>) {
        let rows = uses.iter().flat_map(|(x, dy)| (0..x.n_rows()).map(|row| (x.row(row), dy.row(row))));
        let (x, dy): (Vec<&[f32]>, Vec<&[f32]>) = rows.unzip();
        for (x, dy) in x.chunks(DEPTH).zip(dy.chunks(DEPTH)) {
            if self.transposed {
                self.product(isa, x, dy);
            } else {
                self.product(isa, dy, x);
            }
        }
        if self.weights.origins.iter().any(|origin| origin.bias.is_some()) {
            for dy in dy {
                crate::engine::cpu::math::add(isa, &mut self.bias, dy);
            }
        }
    }
}

/// The gradients of the gain and the bias of a norm.
struct NormSum {
    norm: Arc<Norm>,
    gain: Vec<f32>,
    bias: Vec<f32>,
}

impl NormSum {
    fn new(norm: &Arc<Norm>) -> Self {
        let zeros = vec![0.0; norm.gain.len()];
        Self { norm: Arc::clone(norm), gain: zeros.clone(), bias: zeros }
    }

    fn finish(self, gradients: &mut Gradients) {
        let (gain, bias) = &self.norm.names;
        add(gradients, gain, self.gain);
        if let Some(bias) = bias {
            add(gradients, bias, self.bias);
        }
    }
}

impl Sum for NormSum {
    type Part = Option<(Vec<f32>, Vec<f32>)>;

    fn add(&mut self, isa: Isa, part: Self::Part) {
        if let Some((gain, bias)) = part {
            crate::engine::cpu::math::add(isa, &mut self.gain, &gain);
            crate::engine::cpu::math::add(isa, &mut self.bias, &bias);
        }
    }
}

/// Adds a gradient to what there is of its name.
fn add(gradients: &mut Gradients, name: &str, part: Vec<f32>) {
    match gradients.get_mut(name) {
        Some(sum) => sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part),
        None => drop(gradients.insert(name.to_owned(), part)),
    }
}
