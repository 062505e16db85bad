//! The adjoints of recurrences that are linear in their state.
//!
//! Letters: S the state of a head, h the states of a model, G the gradient with respect to the state after a token.

#![expect(clippy::inline_always, reason = "the bodies are compiled once for each instruction set")]

use super::slopes::{sum, sum3};
use super::{Id, Parent, Values};
use crate::engine::cpu::isa::{Isa, for_each_isa};
use crate::engine::cpu::math::exp;
use crate::engine::{Scan, Wkv};

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

/// The gradients of r, k and v. What r reads is found on the way forward, the rest on the way back: no state is kept.
pub(super) fn wkv(isa: Isa, rkv: [&Values; 3], wkv: &Wkv, offsets: &[usize], dy: &Values) -> [Values; 3] {
    let d = wkv.d_head;
    let mut parts = rkv.map(|x| Values::new(x.n_rows(), x.width()));
    let mut state = vec![0.0; d * d];
    for rows in offsets.windows(2) {
        for head in 0..wkv.n_heads() {
            let columns = head * d..(head + 1) * d;
            let constants = [&wkv.decay[columns.clone()], &wkv.bonus[columns.clone()]];
            let of = |row: usize| rkv.map(|x| &x.row(row)[columns.clone()]);
            state.fill(0.0);
            for row in rows[0]..rows[1] {
                let (rkv, dy) = (of(row), &dy.row(row)[columns.clone()]);
                wkv_forward(isa, &mut state, rkv, constants, dy, &mut parts[0].row_mut(row)[columns.clone()]);
            }
            state.fill(0.0);
            for row in (rows[0]..rows[1]).rev() {
                let (rkv, dy) = (of(row), &dy.row(row)[columns.clone()]);
                let [_, dk, dv] = &mut parts;
                let to = [&mut dk.row_mut(row)[columns.clone()], &mut dv.row_mut(row)[columns.clone()]];
                wkv_backward(isa, &mut state, rkv, constants, dy, to);
            }
        }
    }
    parts
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
        gradient: &mut [f32], rkv: [&[f32]; 3], constants: [&[f32]; 2], dy: &[f32], to: [&mut [f32]; 2],
    ) = wkv_backward_body
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
    [dk, dv]: [&mut [f32]; 2],
) {
    let (along, of_itself) = (dot_body(dy, v), sum3(r, k, bonus, |r, k, bonus| r * k * bonus));
    dv.iter_mut().zip(dy).for_each(|(dv, dy)| *dv = of_itself * dy);
    for (idx, gradient) in gradient.chunks_exact_mut(v.len()).enumerate() {
        dk[idx] = (bonus[idx] * r[idx]).mul_add(along, dot_body(v, gradient));
        let (r, k, decay) = (r[idx], k[idx], decay[idx]);
        for ((gradient, dv), dy) in gradient.iter_mut().zip(&mut *dv).zip(dy) {
            *dv = k.mul_add(*gradient, *dv);
            *gradient = decay.mul_add(*gradient, r * dy);
        }
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
