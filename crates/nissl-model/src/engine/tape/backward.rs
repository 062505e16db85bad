//! Walks a record from its end to its beginning, with the adjoint of every operation.

use std::sync::{Arc, PoisonError};

use ndarray::{ArrayView2, ArrayViewMut2};

use super::attention::{self, Attention, Given};
use super::parameters::Group;
use super::{Id, Op, Parent, Recorded, Tape, Values, Wanted, scan, slopes, unshared};
use crate::engine::cpu::isa::Isa;
use crate::engine::cpu::{Cpu, math};
use crate::engine::{Engine, Epilogue, Rotary};

/// Takes a gradient: for whom it is kept, and its values.
pub(crate) type Deliver<'a> = &'a mut dyn FnMut(&Wanted, ArrayView2<'_, f32>);

/// How a number depends on wanted values by itself, not by what is made of them.
pub(crate) trait Seeds {
    /// Whether it does on any of these.
    fn any(&self, wanted: &Wanted) -> bool;
    /// Adds its gradient with respect to them.
    fn add(&self, wanted: &Wanted, gradient: ArrayViewMut2<'_, f32>);
}

/// A number that depends on a result alone.
impl Seeds for () {
    fn any(&self, _: &Wanted) -> bool {
        false
    }

    fn add(&self, _: &Wanted, _: ArrayViewMut2<'_, f32>) {}
}

/// Gradients with respect to tensors of the record, as far as they are known.
struct Adjoints(Vec<Option<Arc<Values>>>);

impl Adjoints {
    /// Adds a part of a gradient.
    fn add(&mut self, cpu: &Cpu, id: Option<Id>, part: Arc<Values>) {
        let Some(id) = id else { return };
        match &mut self.0[id] {
            Some(sum) => math::add(cpu.isa, unshared(sum).values_mut(), part.values()),
            none => *none = Some(part),
        }
    }

    /// A gradient `[n_rows, width]`, to be added to.
    fn sum(&mut self, id: Id, n_rows: usize, width: usize) -> &mut Values {
        unshared(self.0[id].get_or_insert_with(|| Arc::new(Values::zeros(n_rows, width))))
    }
}

impl Tape {
    /// Takes the gradients of a number whose gradient with respect to a result, if it depends on one, is given, and
    /// which depends on wanted values as `seeds` says.
    pub(crate) fn backward(self, result: Option<(Recorded, Values)>, seeds: &dyn Seeds, deliver: Deliver<'_>) {
        let mut record = self.record.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut adjoints = Adjoints((0..record.len()).map(|_| None).collect());
        if let Some((Recorded(Some(last)), seed)) = result {
            adjoints.0[last] = Some(Arc::new(seed));
        }
        let mut group =
            self.parameters.map(|(parameters, number)| Group::new(self.cpu.isa, parameters, number, &record));
        while let Some(op) = record.pop() {
            let nothing = || match &op {
                Op::Want { shape, wanted, .. } if seeds.any(wanted) => Some(Arc::new(Values::zeros(shape.0, shape.1))),
                _ => None,
            };
            if let Some(dy) = adjoints.0.pop().flatten().or_else(nothing) {
                if let Some(group) = &mut group {
                    parameters(&op, &dy, group);
                }
                step(&self.cpu, op, dy, &mut adjoints, (seeds, deliver));
            }
        }
        if let Some(group) = group {
            group.finish();
        }
    }
}

/// Hands the gradient of a result to the parameters that made it.
fn parameters(op: &Op, dy: &Arc<Values>, group: &mut Group) {
    match op {
        Op::Linear { values: Some(values), w, .. } => group.linear(w, Arc::clone(values), Arc::clone(dy)),
        Op::Norm { values, norm, .. } => group.norm(norm, values, dy, 0..dy.width()),
        Op::NormColumns { values, norm, columns, .. } => group.norm(norm, values, dy, columns.clone()),
        _ => {}
    }
}

/// Hands the gradient of a result on to its operands.
fn step(cpu: &Cpu, op: Op, mut dy: Arc<Values>, adjoints: &mut Adjoints, (seeds, deliver): (&dyn Seeds, Deliver<'_>)) {
    let (isa, n_rows) = (cpu.isa, dy.n_rows());
    match op {
        Op::Want { x, columns, wanted, .. } => {
            if seeds.any(&wanted) {
                seeds.add(&wanted, unshared(&mut dy).columns_mut(columns.clone()));
            }
            deliver(&wanted, dy.columns(columns));
            adjoints.add(cpu, x, dy);
        }
        Op::Edit { x, columns, slope } => {
            let mut part = unshared(&mut dy).columns_mut(columns);
            part *= &slope;
            adjoints.add(cpu, Some(x), dy);
        }
        Op::Linear { x, w, residual, .. } => {
            if let Some(x) = x {
                let before = adjoints.0[x].take();
                let epilogue = before.as_deref().map_or(Epilogue::None, Epilogue::Add);
                adjoints.0[x] = Some(Arc::new(cpu.product(&dy, w.transposed(), &epilogue)));
            }
            adjoints.add(cpu, residual, dy);
        }
        Op::Norm { x, values, norm } => {
            let Some(x) = x else { return };
            let dx = adjoints.sum(x, n_rows, values.width());
            for row in 0..n_rows {
                slopes::norm(isa, values.row(row), &norm.gain, norm.kind, dy.row(row), dx.row_mut(row));
            }
        }
        Op::NormColumns { x, columns, values, norm } => {
            let (Some(x), width) = (x, norm.gain.len()) else { return };
            let mut dx = vec![0.0; width];
            let to = unshared(&mut dy);
            for row in 0..n_rows {
                let pieces = to.row_mut(row)[columns.clone()].chunks_exact_mut(width);
                for (dy, values) in pieces.zip(values.row(row).chunks_exact(width)) {
                    dx.fill(0.0);
                    slopes::norm(isa, values, &norm.gain, norm.kind, dy, &mut dx);
                    dy.copy_from_slice(&dx);
                }
            }
            adjoints.add(cpu, Some(x), dy);
        }
        Op::Add { x, y } => {
            adjoints.add(cpu, x, Arc::clone(&dy));
            adjoints.add(cpu, y, dy);
        }
        Op::Multiply { x, y } => {
            let mut other = Arc::clone(&dy);
            for (of, by) in [(&x, &y), (&y, &x)] {
                let dx = unshared(&mut other);
                (0..n_rows).for_each(|row| slopes::multiply(isa, dx.row_mut(row), by.values.row(row)));
                adjoints.add(cpu, of.id, std::mem::replace(&mut other, Arc::clone(&dy)));
            }
        }
        Op::Blend { w, x, y } => scan::blend(&w, &x, &y, &dy, &mut |id, part| adjoints.add(cpu, id, Arc::new(part))),
        Op::Activate { x, values, activation } => {
            let dx = unshared(&mut dy);
            (0..n_rows).for_each(|row| slopes::activate(isa, activation, values.row(row), dx.row_mut(row)));
            adjoints.add(cpu, Some(x), dy);
        }
        Op::Gate { x, values, activation } => {
            let width = dy.width();
            let mut dx = Values::new(n_rows, 2 * width);
            for row in 0..n_rows {
                let (pre, linear) = values.row(row).split_at(width);
                let (dpre, dlinear) = dx.row_mut(row).split_at_mut(width);
                dlinear.copy_from_slice(pre);
                math::activate(isa, activation, dlinear);
                slopes::multiply(isa, dlinear, dy.row(row));
                dpre.copy_from_slice(dy.row(row));
                slopes::multiply(isa, dpre, linear);
                slopes::activate(isa, activation, pre, dpre);
            }
            adjoints.add(cpu, Some(x), Arc::new(dx));
        }
        Op::Choose { scores, values, weights, choice } => {
            let dx = unshared(&mut dy);
            (0..n_rows).for_each(|row| slopes::choose(isa, values.row(row), weights.row(row), choice, dx.row_mut(row)));
            adjoints.add(cpu, Some(scores), dy);
        }
        Op::ScaleRows { x, factors, places } => {
            if let Some(id) = factors.id {
                let sum = adjoints.sum(id, factors.values.n_rows(), factors.values.width());
                for (from, &(row, column)) in places.iter().enumerate() {
                    let along = x.values.row(from).iter().zip(dy.row(from)).map(|(x, dy)| x * dy);
                    sum.row_mut(row)[column] += along.sum::<f32>();
                }
            }
            let dx = cpu.scale_rows(&dy, &factors.values, &places);
            adjoints.add(cpu, x.id, Arc::new(dx));
        }
        Op::Rotate { x, columns, d_head, positions, rotary } => {
            let back = Rotary { sin: rotary.sin.mapv(|sin| -sin).into_shared(), ..rotary };
            cpu.rotate(unshared(&mut dy), columns, d_head, &positions, &back);
            adjoints.add(cpu, Some(x), dy);
        }
        Op::Attention { qkv, values, shape, offsets, added, sources, shown } => {
            let read = sources.as_ref().map(|(kv, rows)| (&*kv.values, rows.as_slice()));
            let attention = Attention { isa, qkv: &values, shape, added: added.added(), sources: read, dz: &dy };
            let source_id = sources.as_ref().and_then(|(kv, _)| kv.id);
            let zeros = |part: &Option<Parent>| {
                let part = part.as_ref().filter(|part| part.id.is_some())?;
                Some(Values::zeros(n_rows, part.values.width()))
            };
            let mut given = Given {
                qkv: qkv.map(|_| Values::zeros(n_rows, values.width())),
                sources: read.filter(|_| source_id.is_some()).map(|(kv, _)| Values::zeros(kv.n_rows(), kv.width())),
                of_queries: zeros(&added.of_queries),
                of_keys: zeros(&added.of_keys),
            };
            attention::backward(&attention, &offsets, &shown, &mut given, deliver);
            let id = |part: &Option<Parent>| part.as_ref().and_then(|part| part.id);
            let parts = [
                (qkv, given.qkv),
                (source_id, given.sources),
                (id(&added.of_queries), given.of_queries),
                (id(&added.of_keys), given.of_keys),
            ];
            for (id, part) in parts {
                if let Some(part) = part {
                    adjoints.add(cpu, id, Arc::new(part));
                }
            }
        }
        Op::LstmGates { pre, gates } => {
            let dx = unshared(&mut dy);
            (0..n_rows).for_each(|row| slopes::lstm_gates(isa, gates.row(row), dx.row_mut(row)));
            adjoints.add(cpu, Some(pre), dy);
        }
        Op::LstmCell { gates, c } => lstm(cpu, &gates, &c, dy, adjoints, slopes::lstm_cell),
        Op::LstmState { gates, c } => lstm(cpu, &gates, &c, dy, adjoints, slopes::lstm_state),
        Op::Convolve { parts, places, kernel } => {
            for (from, places) in places.chunks_exact(kernel.n_taps()).enumerate() {
                for (&(part, to), tap) in places.iter().zip(kernel.taps()) {
                    if let (Some(id), n_rows) = parts[part] {
                        let dx = adjoints.sum(id, n_rows, dy.width());
                        let dx = dx.row_mut(to).iter_mut().zip(tap).zip(dy.row(from));
                        dx.for_each(|((dx, tap), dy)| *dx = tap.mul_add(*dy, *dx));
                    }
                }
            }
        }
        Op::Wkv { inputs, wkv, offsets } => {
            let values: Vec<&Values> = inputs.iter().map(|x| &*x.values).collect();
            let parts = scan::wkv(isa, &values, &wkv, &offsets, &dy);
            inputs.iter().zip(parts).for_each(|(x, part)| adjoints.add(cpu, x.id, Arc::new(part)));
        }
        Op::Scan { inputs, scan: constants, offsets } => {
            let parts = scan::scan(isa, inputs.each_ref().map(|x| &*x.values), &constants, &offsets, &dy);
            inputs.iter().zip(parts).for_each(|(x, part)| adjoints.add(cpu, x.id, Arc::new(part)));
        }
        Op::Rows { x, n_rows, rows } => {
            let dx = adjoints.sum(x, n_rows, dy.width());
            rows.iter().enumerate().for_each(|(from, &to)| math::add(isa, dx.row_mut(to), dy.row(from)));
        }
        Op::Gather { parts, places } => {
            for (from, &(part, to)) in places.iter().enumerate() {
                if let (Some(id), n_rows) = parts[part] {
                    let dx = adjoints.sum(id, n_rows, dy.width());
                    math::add(isa, dx.row_mut(to), dy.row(from));
                }
            }
        }
        Op::Beside { parts } => {
            let mut start = 0;
            for (id, columns, width) in parts {
                let from = start..start + columns.len();
                start = from.end;
                let Some(id) = id else { continue };
                let dx = adjoints.sum(id, n_rows, width);
                for row in 0..n_rows {
                    math::add(isa, &mut dx.row_mut(row)[columns.clone()], &dy.row(row)[from.clone()]);
                }
            }
        }
    }
}

/// Of the gates, the cell, the result's gradient (which becomes that of the cell) and that of the gates.
type LstmSlope = fn(Isa, &[f32], &[f32], &mut [f32], &mut [f32]);

/// Hands the gradient of a cell or a state on to the gates and the cell that it was made of.
fn lstm(cpu: &Cpu, gates: &Parent, c: &Parent, mut dy: Arc<Values>, adjoints: &mut Adjoints, slope: LstmSlope) {
    let (n_rows, width) = (dy.n_rows(), gates.values.width());
    let mut unused = Values::new(1, width);
    let mut dgates = gates.id.map(|id| adjoints.sum(id, n_rows, width));
    let dc = unshared(&mut dy);
    for row in 0..n_rows {
        let dgates = match &mut dgates {
            Some(dgates) => dgates.row_mut(row),
            None => unused.row_mut(0),
        };
        slope(cpu.isa, gates.values.row(row), c.values.row(row), dc.row_mut(row), dgates);
    }
    adjoints.add(cpu, c.id, dy);
}
