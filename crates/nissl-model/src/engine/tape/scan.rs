//! The adjoints of recurrences that are linear in their state.
//!
//! Letters: S the state of a head, h the states of a model, G the gradient with respect to the state after a token.

#![expect(clippy::inline_always, reason = "the bodies are compiled once for each instruction set")]

use std::ops::Range;

use super::slopes::{sum, sum3};
use super::{Id, Parent, Values};
use crate::engine::cpu::isa::{Isa, for_each_isa};
use crate::engine::cpu::math::exp;
use crate::engine::cpu::scan::delta_step;
use crate::engine::{Scan, Wkv, WkvRule};

/// Through w ∘ x + (1 - w) ∘ y: gives the gradients of those that are recorded.
pub(super) fn blend(w: &Parent, x: &Parent, y: &Parent, dy: &Values, give: &mut dyn FnMut(Option<Id>, Values)) {
    let share = |row: usize| w.values.row(if w.values.n_rows() == 1 { 0 } else { row });
    let n_rows = dy.n_rows();
    let mut part = |of: &Parent, value: &dyn Fn(usize, usize) -> f32| {
        if of.id.is_none() {
            return;
        }
        let mut part = Values::zeros(of.values.n_rows(), dy.width());
        for row in 0..n_rows {
            let to = part.row_mut(if of.values.n_rows() == 1 { 0 } else { row });
            to.iter_mut().zip(dy.row(row)).enumerate().for_each(|(at, (to, dy))| *to += dy * value(row, at));
        }
        give(of.id, part);
    };
    part(w, &|row, at| x.values.row(row)[at] - y.values.row(row)[at]);
    part(x, &|row, at| share(row)[at]);
    part(y, &|row, at| 1.0 - share(row)[at]);
}

/// The gradients of the inputs. What r reads is found on the way forward, the rest on the way back. States are kept only
/// where decays have a gradient, those of a head in a sentence at a time.
pub(super) fn wkv(isa: Isa, inputs: &[&Values], wkv: &Wkv, offsets: &[usize], dy: &Values) -> Vec<Values> {
    let mut parts: Vec<Values> = inputs.iter().map(|x| Values::new(x.n_rows(), x.width())).collect();
    for sentence in offsets.windows(2) {
        for head in 0..wkv.n_heads {
            let columns = head * wkv.d_head..(head + 1) * wkv.d_head;
            let of = Head { isa, rows: sentence[0]..sentence[1], columns: columns.clone(), inputs, dy };
            match &wkv.rule {
                WkvRule::Bonus { decay, bonus } => {
                    let decay = decay.as_ref().map(|decay| &decay[columns.clone()]);
                    of.bonus(decay, &bonus[columns], &mut parts);
                }
                WkvRule::Delta => of.delta(&mut parts),
            }
        }
    }
    parts
}

/// A head in a sentence.
struct Head<'a> {
    isa: Isa,
    rows: Range<usize>,
    columns: Range<usize>,
    inputs: &'a [&'a Values],
    dy: &'a Values,
}

impl Head<'_> {
    /// These inputs of a token, and the gradient of what it reads.
    fn token<const N: usize>(&self, row: usize, inputs: [usize; N]) -> ([&[f32]; N], &[f32]) {
        (inputs.map(|n| &self.inputs[n].row(row)[self.columns.clone()]), &self.dy.row(row)[self.columns.clone()])
    }

    /// Where the gradients of a token go.
    fn gradients<'p>(&self, row: usize, parts: &'p mut [Values]) -> Vec<&'p mut [f32]> {
        parts.iter_mut().map(|part| &mut part.row_mut(row)[self.columns.clone()]).collect()
    }

    fn bonus(&self, decay: Option<&[f32]>, bonus: &[f32], parts: &mut [Values]) {
        let (isa, size) = (self.isa, bonus.len() * bonus.len());
        let constants = |row: usize| [decay.unwrap_or_else(|| self.token(row, [3]).0[0]), bonus];
        let (mut state, mut history) = (vec![0.0; size], Vec::new());
        for row in self.rows.clone() {
            if decay.is_none() {
                history.extend_from_slice(&state);
            }
            let (rkv, dy) = self.token(row, [0, 1, 2]);
            wkv_forward(isa, &mut state, rkv, constants(row), dy, self.gradients(row, parts)[0]);
        }
        state.fill(0.0);
        for (place, row) in self.rows.clone().enumerate().rev() {
            let ((rkv, dy), mut to) = (self.token(row, [0, 1, 2]), self.gradients(row, parts));
            if decay.is_none() {
                dots(isa, &state, &history[place * size..(place + 1) * size], to[3]);
            }
            wkv_backward(isa, &mut state, rkv, constants(row), dy, &mut to);
        }
    }

    fn delta(&self, parts: &mut [Values]) {
        let (isa, d) = (self.isa, self.columns.len());
        let (size, mut own) = (d * d, [vec![0.0; d], vec![0.0; d]]);
        let mut history = vec![0.0; (self.rows.len() + 1) * size];
        for (place, row) in self.rows.clone().enumerate() {
            history.copy_within(place * size..(place + 1) * size, (place + 1) * size);
            let ([r, k, v, decay, p, q], dy) = self.token(row, [0, 1, 2, 3, 4, 5]);
            let state = &mut history[(place + 1) * size..(place + 2) * size];
            // What r reads after it is not asked for.
            let [found, unread] = &mut own;
            delta_step(isa, state, [r, k, v], [decay, p, q], found, unread);
            matrix_vector(isa, state, dy, self.gradients(row, parts)[0]);
        }
        let mut gradient = vec![0.0; size];
        for (place, row) in self.rows.clone().enumerate().rev() {
            let (inputs, dy) = self.token(row, [0, 1, 2, 3, 4, 5]);
            let before = &history[place * size..(place + 1) * size];
            delta_backward(isa, &mut gradient, before, inputs, dy, &mut own, &mut self.gradients(row, parts));
        }
    }
}

/// The gradients of x, dt, and b and c side by side.
pub(super) fn scan(isa: Isa, [x, dt, bc]: [&Values; 3], scan: &Scan, offsets: &[usize], dy: &Values) -> [Values; 3] {
    let (width, n_states) = (x.width(), scan.n_states());
    let mut dx = Values::new(x.n_rows(), width);
    for row in 0..x.n_rows() {
        let dx = dx.row_mut(row).iter_mut().zip(dy.row(row)).zip(&scan.skip);
        dx.for_each(|((dx, dy), skip)| *dx = dy * skip);
    }
    let (mut ddt, mut dbc) = (Values::zeros(dt.n_rows(), width), Values::new(bc.n_rows(), 2 * n_states));
    let mut gradient = vec![0.0; width];
    for rows in offsets.windows(2) {
        let mut history = vec![0.0; (rows[1] - rows[0] + 1) * width];
        for (idx, rates) in scan.rates.chunks_exact(width).enumerate() {
            for (place, row) in (rows[0]..rows[1]).enumerate() {
                let (before, now) = history[place * width..(place + 2) * width].split_at_mut(width);
                scan_forward(isa, before, now, rates, x.row(row), dt.row(row), bc.row(row)[idx]);
            }
            gradient.fill(0.0);
            for (place, row) in (rows[0]..rows[1]).enumerate().rev() {
                let (before, now) = history[place * width..(place + 2) * width].split_at(width);
                let (of_token, bc) = ([x.row(row), dt.row(row), dy.row(row)], bc.row(row));
                let dbc = dbc.row_mut(row);
                dbc[n_states + idx] = dot(isa, dy.row(row), now);
                let (bc, to) = ([bc[idx], bc[n_states + idx]], [dx.row_mut(row), ddt.row_mut(row)]);
                dbc[idx] = scan_backward(isa, &mut gradient, before, rates, of_token, bc, to);
            }
        }
    }
    [dx, ddt, dbc]
}

for_each_isa! {
    /// x · y.
    fn dot(x: &[f32], y: &[f32]) -> f32 = dot_body
}

for_each_isa! {
    /// The gradient of r at a token, and the state after it.
    fn wkv_forward(
        state: &mut [f32], rkv: [&[f32]; 3], constants: [&[f32]; 2], dy: &[f32], dr: &mut [f32],
    ) = wkv_forward_body
}

for_each_isa! {
    /// The gradients of k and v at a token; G becomes that of the state before it.
    fn wkv_backward(
        gradient: &mut [f32], rkv: [&[f32]; 3], constants: [&[f32]; 2], dy: &[f32], to: &mut [&mut [f32]],
    ) = wkv_backward_body
}

for_each_isa! {
    /// The gradients at a token, but that of r; G becomes that of the state before it.
    fn delta_backward(
        gradient: &mut [f32], before: &[f32], inputs: [&[f32]; 6], dy: &[f32], own: &mut [Vec<f32>; 2],
        to: &mut [&mut [f32]],
    ) = delta_backward_body
}

for_each_isa! {
    /// S x, for S of as many columns as x has values.
    fn matrix_vector(state: &[f32], x: &[f32], y: &mut [f32]) = matrix_vector_body
}

for_each_isa! {
    /// The dot product of every row of S with that of T.
    fn dots(s: &[f32], t: &[f32], y: &mut [f32]) = dots_body
}

for_each_isa! {
    /// The states after a token, of those before it.
    fn scan_forward(before: &[f32], now: &mut [f32], rates: &[f32], x: &[f32], dt: &[f32], b: f32) = scan_forward_body
}

for_each_isa! {
    /// Adds to the gradients of x and dt at a token, and gives that of b; G becomes that of the states before it.
    fn scan_backward(
        gradient: &mut [f32], before: &[f32], rates: &[f32], of_token: [&[f32]; 3], bc: [f32; 2], to: [&mut [f32]; 2],
    ) -> f32 = scan_backward_body
}

#[inline(always)]
fn dot_body(x: &[f32], y: &[f32]) -> f32 {
    sum(x, y, |x, y| x * y)
}

#[inline(always)]
fn wkv_forward_body(
    state: &mut [f32],
    [_, k, v]: [&[f32]; 3],
    [decay, bonus]: [&[f32]; 2],
    dy: &[f32],
    dr: &mut [f32],
) {
    let along = dot_body(dy, v);
    for (idx, state) in state.chunks_exact_mut(v.len()).enumerate() {
        dr[idx] = (bonus[idx] * k[idx]).mul_add(along, dot_body(dy, state));
        let (k, decay) = (k[idx], decay[idx]);
        state.iter_mut().zip(v).for_each(|(state, v)| *state = decay.mul_add(*state, k * v));
    }
}

#[inline(always)]
fn wkv_backward_body(
    gradient: &mut [f32],
    [r, k, v]: [&[f32]; 3],
    [decay, bonus]: [&[f32]; 2],
    dy: &[f32],
    to: &mut [&mut [f32]],
) {
    let [_, dk, dv, ..] = to else { unreachable!("a token has gradients of r, k and v") };
    let (along, of_itself) = (dot_body(dy, v), sum3(r, k, bonus, |r, k, bonus| r * k * bonus));
    dv.iter_mut().zip(dy).for_each(|(dv, dy)| *dv = of_itself * dy);
    for (idx, gradient) in gradient.chunks_exact_mut(v.len()).enumerate() {
        dk[idx] = (bonus[idx] * r[idx]).mul_add(along, dot_body(v, gradient));
        let (r, k, decay) = (r[idx], k[idx], decay[idx]);
        for ((gradient, dv), dy) in gradient.iter_mut().zip(&mut **dv).zip(dy) {
            *dv = k.mul_add(*gradient, *dv);
            *gradient = decay.mul_add(*gradient, r * dy);
        }
    }
}

#[inline(always)]
fn matrix_vector_body(state: &[f32], x: &[f32], y: &mut [f32]) {
    state.chunks_exact(x.len()).zip(y).for_each(|(state, y)| *y = dot_body(state, x));
}

#[inline(always)]
fn dots_body(s: &[f32], t: &[f32], y: &mut [f32]) {
    let width = y.len();
    let rows = s.chunks_exact(width).zip(t.chunks_exact(width));
    y.iter_mut().zip(rows).for_each(|(y, (s, t))| *y = dot_body(s, t));
}

#[inline(always)]
fn delta_backward_body(
    gradient: &mut [f32],
    before: &[f32],
    [r, k, v, decay, p, q]: [&[f32]; 6],
    dy: &[f32],
    [found, d_found]: &mut [Vec<f32>; 2],
    to: &mut [&mut [f32]],
) {
    let [_, dk, dv, d_decay, dp, dq] = to else { unreachable!("the delta rule has six inputs") };
    let d = v.len();
    for x in [&mut **dv, &mut *found, &mut *d_found] {
        x.fill(0.0);
    }
    for (idx, (gradient, before)) in gradient.chunks_exact_mut(d).zip(before.chunks_exact(d)).enumerate() {
        let (r, k, p, q) = (r[idx], k[idx], p[idx], q[idx]);
        gradient.iter_mut().zip(dy).for_each(|(gradient, dy)| *gradient = r.mul_add(*dy, *gradient));
        dv.iter_mut().zip(&*gradient).for_each(|(dv, gradient)| *dv = k.mul_add(*gradient, *dv));
        d_found.iter_mut().zip(&*gradient).for_each(|(to, gradient)| *to = (-q).mul_add(*gradient, *to));
        found.iter_mut().zip(before).for_each(|(found, before)| *found = p.mul_add(*before, *found));
    }
    for (idx, (gradient, before)) in gradient.chunks_exact_mut(d).zip(before.chunks_exact(d)).enumerate() {
        dk[idx] = dot_body(gradient, v);
        d_decay[idx] = dot_body(gradient, before);
        dp[idx] = dot_body(before, d_found);
        dq[idx] = -dot_body(gradient, found);
        let (decay, p) = (decay[idx], p[idx]);
        gradient.iter_mut().zip(&*d_found).for_each(|(gradient, to)| *gradient = decay.mul_add(*gradient, p * to));
    }
}

#[inline(always)]
fn scan_forward_body(before: &[f32], now: &mut [f32], rates: &[f32], x: &[f32], dt: &[f32], b: f32) {
    for ((((now, before), rate), x), dt) in now.iter_mut().zip(before).zip(rates).zip(x).zip(dt) {
        *now = exp(dt * rate).mul_add(*before, dt * x * b);
    }
}

#[inline(always)]
fn scan_backward_body(
    gradient: &mut [f32],
    before: &[f32],
    rates: &[f32],
    [x, dt, dy]: [&[f32]; 3],
    [b, c]: [f32; 2],
    [dx, ddt]: [&mut [f32]; 2],
) -> f32 {
    gradient.iter_mut().zip(dy).for_each(|(gradient, dy)| *gradient = c.mul_add(*dy, *gradient));
    let db = sum3(gradient, dt, x, |gradient, dt, x| gradient * dt * x);
    let inputs = gradient.iter_mut().zip(before).zip(rates).zip(x).zip(dt);
    for (((((gradient, before), rate), x), dt), (dx, ddt)) in inputs.zip(dx.iter_mut().zip(ddt)) {
        let left = exp(dt * rate);
        *dx += *gradient * dt * b;
        *ddt += *gradient * (rate * left * before + b * x);
        *gradient *= left;
    }
    db
}
