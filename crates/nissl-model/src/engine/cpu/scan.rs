//! Recurrences that are linear in their state: a token after the other, all columns of the state at once.

#![expect(clippy::inline_always, reason = "the bodies are compiled once for each instruction set")]

use super::isa::{Isa, for_each_isa};
use super::math::exp;
use super::tensor::Tensor;
use crate::engine::{Kernel, Scan, Wkv, WkvRule};

/// See [`crate::engine::Engine::convolve`].
pub(super) fn convolve(isa: Isa, parts: &[&Tensor], places: &[(usize, usize)], kernel: &Kernel) -> Tensor {
    let mut y = Tensor::new(places.len() / kernel.n_taps(), kernel.bias.len());
    for (row, places) in places.chunks_exact(kernel.n_taps()).enumerate() {
        let y = y.row_mut(row);
        y.copy_from_slice(&kernel.bias);
        for (&(part, row), tap) in places.iter().zip(kernel.taps()) {
            add_product(isa, y, tap, parts[part].row(row));
        }
    }
    y
}

/// See [`crate::engine::Engine::wkv`].
pub(super) fn wkv(
    isa: Isa,
    inputs: &[&Tensor],
    wkv: &Wkv,
    offsets: &[usize],
    mut state: Option<&mut Tensor>,
) -> Tensor {
    let d = wkv.d_head;
    let mut y = Tensor::new(inputs[0].n_rows(), wkv.width());
    let (mut own, mut found) = (vec![0.0; d * d], vec![0.0; d]);
    for (sentence, rows) in offsets.windows(2).enumerate() {
        for head in 0..wkv.n_heads {
            let (columns, kept) = (head * d..(head + 1) * d, head * d * d..(head + 1) * d * d);
            match &state {
                Some(state) => own.copy_from_slice(&state.row(sentence)[kept.clone()]),
                None => own.fill(0.0),
            }
            for row in rows[0]..rows[1] {
                let of = |n: usize| &inputs[n].row(row)[columns.clone()];
                let (rkv, y) = ([of(0), of(1), of(2)], &mut y.row_mut(row)[columns.clone()]);
                match &wkv.rule {
                    WkvRule::Bonus { decay, bonus } => {
                        let decay = decay.as_ref().map_or_else(|| of(3), |decay| &decay[columns.clone()]);
                        wkv_step(isa, &mut own, rkv, [decay, &bonus[columns.clone()]], y);
                    }
                    WkvRule::Delta => delta_step(isa, &mut own, rkv, [of(3), of(4), of(5)], &mut found, y),
                }
            }
            if let Some(state) = &mut state {
                state.row_mut(sentence)[kept].copy_from_slice(&own);
            }
        }
    }
    y
}

/// See [`crate::engine::Engine::scan`].
pub(super) fn scan(
    isa: Isa,
    [x, dt, bc]: [&Tensor; 3],
    scan: &Scan,
    offsets: &[usize],
    mut state: Option<&mut Tensor>,
) -> Tensor {
    let mut y = Tensor::new(x.n_rows(), x.width());
    let mut own = vec![0.0; scan.rates.len()];
    for (sentence, rows) in offsets.windows(2).enumerate() {
        match &state {
            Some(state) => own.copy_from_slice(state.row(sentence)),
            None => own.fill(0.0),
        }
        for row in rows[0]..rows[1] {
            let y = y.row_mut(row);
            y.copy_from_slice(x.row(row));
            y.iter_mut().zip(&scan.skip).for_each(|(y, skip)| *y *= skip);
            let bc = bc.row(row).split_at(scan.n_states());
            scan_step(isa, &mut own, &scan.rates, [x.row(row), dt.row(row)], bc, y);
        }
        if let Some(state) = &mut state {
            state.row_mut(sentence).copy_from_slice(&own);
        }
    }
    y
}

for_each_isa! {
    /// y += x ∘ w.
    fn add_product(y: &mut [f32], w: &[f32], x: &[f32]) = add_product_body
}

for_each_isa! {
    /// A token of a head: y is what r reads of the state, which then goes on.
    fn wkv_step(state: &mut [f32], rkv: [&[f32]; 3], constants: [&[f32]; 2], y: &mut [f32]) = wkv_step_body
}

for_each_isa! {
    /// A token of a head, by the delta rule: the state goes on, then y is what r reads of it. `found` is what p reads of
    /// the state before.
    fn delta_step(
        state: &mut [f32], rkv: [&[f32]; 3], decay_p_q: [&[f32]; 3], found: &mut [f32], y: &mut [f32],
    ) = delta_step_body
}

for_each_isa! {
    /// A token: the states go on, then y += what c reads of them.
    fn scan_step(
        states: &mut [f32], rates: &[f32], inputs: [&[f32]; 2], bc: (&[f32], &[f32]), y: &mut [f32],
    ) = scan_step_body
}

#[inline(always)]
fn add_product_body(y: &mut [f32], w: &[f32], x: &[f32]) {
    y.iter_mut().zip(w).zip(x).for_each(|((y, w), x)| *y = w.mul_add(*x, *y));
}

#[inline(always)]
fn wkv_step_body(state: &mut [f32], [r, k, v]: [&[f32]; 3], [decay, bonus]: [&[f32]; 2], y: &mut [f32]) {
    let of_itself: f32 = r.iter().zip(k).zip(bonus).map(|((r, k), bonus)| r * k * bonus).sum();
    y.iter_mut().zip(v).for_each(|(y, v)| *y = of_itself * v);
    for (idx, state) in state.chunks_exact_mut(v.len()).enumerate() {
        let (r, k, decay) = (r[idx], k[idx], decay[idx]);
        for ((state, v), y) in state.iter_mut().zip(v).zip(&mut *y) {
            *y = r.mul_add(*state, *y);
            *state = decay.mul_add(*state, k * v);
        }
    }
}

#[inline(always)]
fn delta_step_body(
    state: &mut [f32],
    [r, k, v]: [&[f32]; 3],
    [decay, p, q]: [&[f32]; 3],
    found: &mut [f32],
    y: &mut [f32],
) {
    found.fill(0.0);
    for (state, p) in state.chunks_exact(v.len()).zip(p) {
        found.iter_mut().zip(state).for_each(|(found, state)| *found = p.mul_add(*state, *found));
    }
    y.fill(0.0);
    for (idx, state) in state.chunks_exact_mut(v.len()).enumerate() {
        let (r, k, decay, q) = (r[idx], k[idx], decay[idx], q[idx]);
        for (((state, v), found), y) in state.iter_mut().zip(v).zip(&*found).zip(&mut *y) {
            *state = decay.mul_add(*state, k.mul_add(*v, -q * found));
            *y = r.mul_add(*state, *y);
        }
    }
}

#[inline(always)]
fn scan_step_body(states: &mut [f32], rates: &[f32], [x, dt]: [&[f32]; 2], (b, c): (&[f32], &[f32]), y: &mut [f32]) {
    let rows = states.chunks_exact_mut(x.len()).zip(rates.chunks_exact(x.len()));
    for ((states, rates), (b, c)) in rows.zip(b.iter().zip(c)) {
        for ((((state, rate), dt), x), y) in states.iter_mut().zip(rates).zip(dt).zip(x).zip(&mut *y) {
            *state = exp(dt * rate).mul_add(*state, dt * x * b);
            *y = c.mul_add(*state, *y);
        }
    }
}
