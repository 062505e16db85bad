//! The CPU engine with a record: what it computes is the same, and gradients can be taken of it afterwards.
//!
//! A tensor has a place in the record only if something that a gradient is wanted for leads to it. So the record holds
//! what lies between the wanted values and the result, and of that only what an adjoint will read.

mod attention;
mod backward;
mod parameters;
mod scan;
mod slopes;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use self::backward::Seeds;
pub(crate) use self::parameters::{Gradients, Parameters};
use ndarray::Array2;

use super::cpu::tensor::Tensor as Values;
use super::cpu::{Cpu, Norm, Weights};
use super::{
    Activation, Added, AttentionShape, Choice, Columns, DistanceBias, Engine, Epilogue, Flow, Halt, Kernel,
    PatternHook, Relative, Rotary, Scan, See, Sources, Values as Shown, Wanted, Wkv,
};

/// Records the run of one group.
pub(crate) struct Tape {
    cpu: Cpu,
    record: Mutex<Vec<Op>>,
    /// The parameters whose gradients are wanted, and the number of the group that is recorded.
    parameters: Option<(Arc<Parameters>, usize)>,
}

/// A tensor's place in the record.
type Id = usize;

/// Where a result is in the record, if it is there.
pub(crate) struct Recorded(Option<Id>);

/// The largest value m of a row, and the sum of exp(x - m).
pub(crate) fn sum_exp(cpu: &Cpu, x: &[f32]) -> (f32, f64) {
    slopes::sum_exp(cpu.isa, x)
}

/// x becomes factor · exp(x - shift).
pub(crate) fn scaled_exp(cpu: &Cpu, x: &mut [f32], shift: f32, factor: f32) {
    slopes::scaled_exp(cpu.isa, x, shift, factor);
}

/// Values, and where in the record they come from.
pub(crate) struct Tensor {
    values: Arc<Values>,
    /// None if nothing that a gradient is wanted for leads here.
    id: Option<Id>,
}

/// What made a tensor: its operands' places, and what their adjoints need.
enum Op {
    Want {
        x: Option<Id>,
        /// Rows and columns of the whole tensor.
        shape: (usize, usize),
        columns: Range<usize>,
        wanted: Wanted,
    },
    Edit {
        x: Id,
        columns: Range<usize>,
        slope: Array2<f32>,
    },
    /// The values are kept where the gradients of parameters are wanted.
    Linear {
        x: Option<Id>,
        values: Option<Arc<Values>>,
        w: Arc<Weights>,
        residual: Option<Id>,
    },
    Norm {
        x: Option<Id>,
        values: Arc<Values>,
        norm: Arc<Norm>,
    },
    /// The values are those of the columns.
    NormColumns {
        x: Option<Id>,
        columns: Range<usize>,
        values: Arc<Values>,
        norm: Arc<Norm>,
    },
    Add {
        x: Option<Id>,
        y: Option<Id>,
    },
    Multiply {
        x: Parent,
        y: Parent,
    },
    Blend {
        w: Parent,
        x: Parent,
        y: Parent,
    },
    Activate {
        x: Id,
        values: Arc<Values>,
        activation: Activation,
    },
    Gate {
        x: Id,
        values: Arc<Values>,
        activation: Activation,
    },
    Choose {
        scores: Id,
        values: Arc<Values>,
        weights: Arc<Values>,
        choice: Choice,
    },
    ScaleRows {
        x: Parent,
        factors: Parent,
        places: Vec<(usize, usize)>,
    },
    Rotate {
        x: Id,
        columns: Range<usize>,
        d_head: usize,
        positions: Vec<usize>,
        rotary: Rotary,
    },
    Attention {
        qkv: Option<Id>,
        values: Arc<Values>,
        shape: AttentionShape,
        offsets: Vec<usize>,
        added: Kept,
        /// Keys and values, and the rows of every sentence's, where they are not in `values`.
        sources: Option<(Parent, Vec<usize>)>,
        shown: Vec<Pattern>,
    },
    LstmGates {
        pre: Id,
        gates: Arc<Values>,
    },
    LstmCell {
        gates: Parent,
        c: Parent,
    },
    LstmState {
        gates: Parent,
        c: Parent,
    },
    Convolve {
        parts: Vec<(Option<Id>, usize)>,
        places: Vec<(usize, usize)>,
        kernel: Arc<Kernel>,
    },
    Wkv {
        inputs: Vec<Parent>,
        wkv: Arc<Wkv>,
        offsets: Vec<usize>,
    },
    Scan {
        inputs: [Parent; 3],
        scan: Arc<Scan>,
        offsets: Vec<usize>,
    },
    Rows {
        x: Id,
        n_rows: usize,
        rows: Vec<usize>,
    },
    Gather {
        parts: Vec<(Option<Id>, usize)>,
        places: Vec<(usize, usize)>,
    },
    Beside {
        parts: Vec<(Option<Id>, Range<usize>, usize)>,
    },
}

/// What was added to the scores of an attention.
struct Kept {
    bias: Option<DistanceBias>,
    of_queries: Option<Parent>,
    of_keys: Option<Parent>,
    columns: Option<Columns>,
    sinks: Option<Arc<[f32]>>,
}

impl Kept {
    fn of(added: &Added<'_, Tensor>) -> Self {
        let relative = added.relative.as_ref();
        Self {
            bias: added.bias.cloned(),
            of_queries: relative.and_then(|relative| relative.of_queries).map(Parent::of),
            of_keys: relative.and_then(|relative| relative.of_keys).map(Parent::of),
            columns: relative.map(|relative| relative.columns.clone()),
            sinks: added.sinks.cloned(),
        }
    }

    fn added(&self) -> Added<'_, Values> {
        let relative = self.columns.as_ref().map(|columns| Relative {
            of_queries: self.of_queries.as_ref().map(|part| &*part.values),
            of_keys: self.of_keys.as_ref().map(|part| &*part.values),
            columns,
        });
        Added { bias: self.bias.as_ref(), relative, sinks: self.sinks.as_ref() }
    }
}

/// An operand whose values its neighbor's adjoint needs.
struct Parent {
    id: Option<Id>,
    values: Arc<Values>,
}

impl Parent {
    fn of(x: &Tensor) -> Self {
        Self { id: x.id, values: Arc::clone(&x.values) }
    }
}

/// The pattern of a sentence that a hook has seen.
struct Pattern {
    /// After the edits, `[n_heads, n_queries * n_keys]`.
    values: Array2<f32>,
    /// None if no edit took anything from the gradient.
    slope: Option<Array2<f32>>,
    wanted: Option<Wanted>,
}

impl Tape {
    /// An empty record of what `cpu` computes.
    pub(crate) fn new(cpu: &Cpu) -> Self {
        Self { cpu: cpu.clone(), record: Mutex::default(), parameters: None }
    }

    /// An empty record of the `group`th part of a run whose gradients with respect to `parameters` are summed.
    pub(crate) fn of_parameters(cpu: &Cpu, parameters: &Arc<Parameters>, group: usize) -> Self {
        Self { parameters: Some((Arc::clone(parameters), group)), ..Self::new(cpu) }
    }

    /// Asks for the gradient with respect to a whole tensor.
    pub(crate) fn want(&self, x: &mut Tensor, wanted: Wanted) {
        let shape = (x.values.n_rows(), x.values.width());
        x.id = Some(self.push(Op::Want { x: x.id, shape, columns: 0..shape.1, wanted }));
    }

    fn push(&self, op: Op) -> Id {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.push(op);
        record.len() - 1
    }

    /// `values`, recorded as the result of `op` if any of `parents` is recorded.
    fn made(&self, values: Values, parents: &[&Tensor], op: impl FnOnce() -> Op) -> Tensor {
        let id = parents.iter().any(|parent| parent.id.is_some()).then(|| self.push(op()));
        Tensor { values: Arc::new(values), id }
    }
}

impl Tensor {
    /// The values.
    pub(crate) fn values(&self) -> &Values {
        &self.values
    }

    /// The place in the record, and the values, to be changed into their own gradient.
    pub(crate) fn into_seed(self) -> (Recorded, Values) {
        let values = Arc::try_unwrap(self.values).unwrap_or_else(|shared| shared.copy());
        (Recorded(self.id), values)
    }

    /// The values, to be changed: a copy if the record needs them as they are.
    fn values_mut(&mut self) -> &mut Values {
        unshared(&mut self.values)
    }
}

/// The values, copied if somebody else has them too.
fn unshared(values: &mut Arc<Values>) -> &mut Values {
    if Arc::get_mut(values).is_none() {
        *values = Arc::new(values.copy());
    }
    Arc::get_mut(values).expect("a fresh copy is nobody else's")
}

/// What an attention gives, and the patterns that its hook has seen, if it has one.
fn watched(
    pattern: Option<PatternHook<'_>>,
    attention: impl FnOnce(Option<PatternHook<'_>>) -> Result<Values, Halt>,
) -> Result<(Values, Vec<Pattern>), Halt> {
    let Some(see) = pattern else { return Ok((attention(None)?, Vec::new())) };
    let mut shown = Vec::new();
    let mut keep = |sentence: usize, mut values: Shown<'_>| {
        let (mut slope, mut wanted) = (Array2::ones(values.now.dim()), None);
        let now = values.now.view_mut();
        see(sentence, Shown { now, slope: Some(slope.view_mut()), wanted: Some(&mut wanted) })?;
        shown.push(Pattern { values: values.now.to_owned(), slope: told(slope), wanted });
        Ok(())
    };
    let z = attention(Some(&mut keep))?;
    Ok((z, shown))
}

/// The slope of edits, if any took something from the gradient.
fn told(slope: Array2<f32>) -> Option<Array2<f32>> {
    slope.iter().any(|slope| slope.to_bits() != 1f32.to_bits()).then_some(slope)
}

impl Engine for Tape {
    type Tensor = Tensor;
    type Packing = Cpu;
    type Past = ();

    fn packing(&self) -> &Cpu {
        &self.cpu
    }

    fn embed(&self, n_tokens: usize, width: usize, fill: &dyn Fn(usize, &mut [f32])) -> Tensor {
        Tensor { values: Arc::new(self.cpu.embed(n_tokens, width, fill)), id: None }
    }

    fn linear(&self, x: &Tensor, w: &Arc<Weights>, epilogue: Epilogue<'_, Tensor>) -> Tensor {
        let (y, residual) = match epilogue {
            Epilogue::None => (self.cpu.linear(&x.values, w, Epilogue::None), None),
            Epilogue::Add(residual) => (self.cpu.linear(&x.values, w, Epilogue::Add(&residual.values)), residual.id),
            Epilogue::AddRows(longer, from) => {
                let rows: Vec<usize> = (from..from + x.values.n_rows()).collect();
                return self.linear(x, w, Epilogue::Add(&self.rows(longer, &rows)));
            }
            Epilogue::Activate(activation) if x.id.is_some() || self.parameters.is_some() => {
                return self.activate(&self.linear(x, w, Epilogue::None), activation);
            }
            Epilogue::Activate(activation) => (self.cpu.linear(&x.values, w, Epilogue::Activate(activation)), None),
        };
        let recorded = x.id.is_some() || residual.is_some() || self.parameters.is_some();
        let id = recorded.then(|| {
            let values = self.parameters.as_ref().map(|_| Arc::clone(&x.values));
            self.push(Op::Linear { x: x.id, values, w: Arc::clone(w), residual })
        });
        Tensor { values: Arc::new(y), id }
    }

    fn norm(&self, x: &Tensor, norm: &Arc<Norm>) -> Tensor {
        let id = (x.id.is_some() || self.parameters.is_some())
            .then(|| self.push(Op::Norm { x: x.id, values: Arc::clone(&x.values), norm: Arc::clone(norm) }));
        Tensor { values: Arc::new(self.cpu.norm(&x.values, norm)), id }
    }

    fn norm_columns(&self, x: &mut Tensor, columns: Range<usize>, norm: &Arc<Norm>) {
        if x.id.is_some() || self.parameters.is_some() {
            let values = Arc::new(self.cpu.beside(&[(&*x.values, columns.clone())]));
            let op = Op::NormColumns { x: x.id, columns: columns.clone(), values, norm: Arc::clone(norm) };
            x.id = Some(self.push(op));
        }
        self.cpu.norm_columns(x.values_mut(), columns, norm);
    }

    fn add(&self, x: &Tensor, y: &Tensor) -> Tensor {
        self.made(self.cpu.add(&x.values, &y.values), &[x, y], || Op::Add { x: x.id, y: y.id })
    }

    fn multiply(&self, x: &Tensor, y: &Tensor) -> Tensor {
        let op = || Op::Multiply { x: Parent::of(x), y: Parent::of(y) };
        self.made(self.cpu.multiply(&x.values, &y.values), &[x, y], op)
    }

    fn blend(&self, w: &Tensor, x: &Tensor, y: &Tensor) -> Tensor {
        let op = || Op::Blend { w: Parent::of(w), x: Parent::of(x), y: Parent::of(y) };
        self.made(self.cpu.blend(&w.values, &x.values, &y.values), &[w, x, y], op)
    }

    fn activate(&self, x: &Tensor, activation: Activation) -> Tensor {
        let id = x.id.map(|id| self.push(Op::Activate { x: id, values: Arc::clone(&x.values), activation }));
        Tensor { values: Arc::new(self.cpu.activate(&x.values, activation)), id }
    }

    fn gate(&self, x: &Tensor, activation: Activation) -> Tensor {
        let id = x.id.map(|id| self.push(Op::Gate { x: id, values: Arc::clone(&x.values), activation }));
        Tensor { values: Arc::new(self.cpu.gate(&x.values, activation)), id }
    }

    fn choose(&self, scores: &Tensor, choice: Choice) -> Tensor {
        let weights = Arc::new(self.cpu.choose(&scores.values, choice));
        let id = scores.id.map(|scores_id| {
            let values = Arc::clone(&scores.values);
            self.push(Op::Choose { scores: scores_id, values, weights: Arc::clone(&weights), choice })
        });
        Tensor { values: weights, id }
    }

    fn scale_rows(&self, x: &Tensor, factors: &Tensor, places: &[(usize, usize)]) -> Tensor {
        let y = self.cpu.scale_rows(&x.values, &factors.values, places);
        self.made(y, &[x, factors], || Op::ScaleRows {
            x: Parent::of(x),
            factors: Parent::of(factors),
            places: places.to_vec(),
        })
    }

    fn rotate(&self, x: &mut Tensor, columns: Range<usize>, d_head: usize, positions: &[usize], rotary: &Rotary) {
        self.cpu.rotate(x.values_mut(), columns.clone(), d_head, positions, rotary);
        x.id = x.id.map(|id| {
            self.push(Op::Rotate { x: id, columns, d_head, positions: positions.to_vec(), rotary: rotary.clone() })
        });
    }

    fn attention(
        &self,
        qkv: &Tensor,
        shape: AttentionShape,
        offsets: &[usize],
        past: &[()],
        added: &Added<'_, Tensor>,
        pattern: Option<PatternHook<'_>>,
    ) -> Result<Tensor, Halt> {
        assert!(past.is_empty(), "gradients are taken of whole texts");
        let kept = Kept::of(added);
        let (z, shown) =
            watched(pattern, |pattern| self.cpu.attention(&qkv.values, shape, offsets, &[], &kept.added(), pattern))?;
        let leads = |part: &Option<Parent>| part.as_ref().is_some_and(|part| part.id.is_some());
        let recorded = qkv.id.is_some()
            || leads(&kept.of_queries)
            || leads(&kept.of_keys)
            || shown.iter().any(|pattern| pattern.wanted.is_some());
        let id = recorded.then(|| {
            let (values, offsets) = (Arc::clone(&qkv.values), offsets.to_vec());
            self.push(Op::Attention { qkv: qkv.id, values, shape, offsets, added: kept, sources: None, shown })
        });
        Ok(Tensor { values: Arc::new(z), id })
    }

    fn attend(
        &self,
        q: &Tensor,
        sources: Sources<'_, Self>,
        shape: AttentionShape,
        offsets: &[usize],
        pattern: Option<PatternHook<'_>>,
    ) -> Result<Tensor, Halt> {
        let Sources::Rows(kv, source_offsets) = sources else { unreachable!("gradients are taken of whole texts") };
        let (z, shown) = watched(pattern, |pattern| {
            self.cpu.attend(&q.values, Sources::Rows(&*kv.values, source_offsets), shape, offsets, pattern)
        })?;
        let recorded = q.id.is_some() || kv.id.is_some() || shown.iter().any(|pattern| pattern.wanted.is_some());
        let id = recorded.then(|| {
            self.push(Op::Attention {
                qkv: q.id,
                values: Arc::clone(&q.values),
                shape,
                offsets: offsets.to_vec(),
                added: Kept::of(&Added::NONE),
                sources: Some((Parent::of(kv), source_offsets.to_vec())),
                shown,
            })
        });
        Ok(Tensor { values: Arc::new(z), id })
    }

    fn keep(&self, _: &Tensor, _: AttentionShape, _: &[usize], _: &mut [()]) {}

    fn lstm_gates(&self, pre: Tensor) -> Tensor {
        let values = Arc::try_unwrap(pre.values).unwrap_or_else(|shared| shared.copy());
        let gates = Arc::new(self.cpu.lstm_gates(values));
        let id = pre.id.map(|pre| self.push(Op::LstmGates { pre, gates: Arc::clone(&gates) }));
        Tensor { values: gates, id }
    }

    fn lstm_cell(&self, gates: &Tensor, c: &Tensor) -> Tensor {
        let next = self.cpu.lstm_cell(&gates.values, &c.values);
        self.made(next, &[gates, c], || Op::LstmCell { gates: Parent::of(gates), c: Parent::of(c) })
    }

    fn lstm_state(&self, gates: &Tensor, c: &Tensor) -> Tensor {
        let h = self.cpu.lstm_state(&gates.values, &c.values);
        self.made(h, &[gates, c], || Op::LstmState { gates: Parent::of(gates), c: Parent::of(c) })
    }

    fn convolve(&self, parts: &[&Tensor], places: &[(usize, usize)], kernel: &Arc<Kernel>) -> Tensor {
        let values: Vec<&Values> = parts.iter().map(|part| &*part.values).collect();
        self.made(self.cpu.convolve(&values, places, kernel), parts, || Op::Convolve {
            parts: parts.iter().map(|part| (part.id, part.values.n_rows())).collect(),
            places: places.to_vec(),
            kernel: Arc::clone(kernel),
        })
    }

    fn wkv(&self, inputs: &[&Tensor], wkv: &Arc<Wkv>, offsets: &[usize], state: Option<&mut Tensor>) -> Tensor {
        assert!(state.is_none(), "gradients are taken of whole texts");
        let values: Vec<&Values> = inputs.iter().map(|x| &*x.values).collect();
        self.made(self.cpu.wkv(&values, wkv, offsets, None), inputs, || Op::Wkv {
            inputs: inputs.iter().map(|x| Parent::of(x)).collect(),
            wkv: Arc::clone(wkv),
            offsets: offsets.to_vec(),
        })
    }

    fn scan(&self, inputs: [&Tensor; 3], scan: &Arc<Scan>, offsets: &[usize], state: Option<&mut Tensor>) -> Tensor {
        assert!(state.is_none(), "gradients are taken of whole texts");
        let y = self.cpu.scan(inputs.map(|x| &*x.values), scan, offsets, None);
        let op = || Op::Scan { inputs: inputs.map(Parent::of), scan: Arc::clone(scan), offsets: offsets.to_vec() };
        self.made(y, &inputs, op)
    }

    fn visit(&self, x: &mut Tensor, columns: Range<usize>, see: See<'_>) -> Flow {
        let mut wanted = None;
        let mut slope = x.id.map(|_| Array2::ones((x.values.n_rows(), columns.len())));
        let now = x.values_mut().columns_mut(columns.clone());
        see(Shown { now, slope: slope.as_mut().map(|slope| slope.view_mut()), wanted: Some(&mut wanted) })?;
        if let (Some(id), Some(slope)) = (x.id, slope.and_then(told)) {
            x.id = Some(self.push(Op::Edit { x: id, columns: columns.clone(), slope }));
        }
        if let Some(wanted) = wanted {
            let shape = (x.values.n_rows(), x.values.width());
            x.id = Some(self.push(Op::Want { x: x.id, shape, columns, wanted }));
        }
        Ok(())
    }

    fn width(&self, x: &Tensor) -> usize {
        x.values.width()
    }

    fn rows(&self, x: &Tensor, rows: &[usize]) -> Tensor {
        let id = x.id.map(|id| self.push(Op::Rows { x: id, n_rows: x.values.n_rows(), rows: rows.to_vec() }));
        Tensor { values: Arc::new(self.cpu.rows(&x.values, rows)), id }
    }

    fn gather(&self, parts: &[&Tensor], places: &[(usize, usize)]) -> Tensor {
        let values: Vec<&Values> = parts.iter().map(|part| &*part.values).collect();
        self.made(self.cpu.gather(&values, places), parts, || Op::Gather {
            parts: parts.iter().map(|part| (part.id, part.values.n_rows())).collect(),
            places: places.to_vec(),
        })
    }

    fn beside(&self, parts: &[(&Tensor, Range<usize>)]) -> Tensor {
        let values: Vec<(&Values, Range<usize>)> =
            parts.iter().map(|(part, columns)| (&*part.values, columns.clone())).collect();
        let tensors: Vec<&Tensor> = parts.iter().map(|(part, _)| *part).collect();
        self.made(self.cpu.beside(&values), &tensors, || Op::Beside {
            parts: parts.iter().map(|(part, columns)| (part.id, columns.clone(), part.values.width())).collect(),
        })
    }

    fn read(&self, x: &Tensor) -> Array2<f32> {
        self.cpu.read(&x.values)
    }
}

#[cfg(test)]
mod tests;
