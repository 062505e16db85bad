//! Recurrences that are linear in their state, a token at a time.

use candle_core::{Result, Tensor};

use super::Candle;
use crate::engine::{Scan, Wkv, WkvRule};

impl Candle {
    /// See [`crate::engine::Engine::wkv`].
    pub(super) fn wkv(&self, inputs: &[&Tensor], wkv: &Wkv, offsets: &[usize]) -> Result<Tensor> {
        let (h, d) = (wkv.n_heads, wkv.d_head);
        let constant = |values: &Vec<f32>| self.tensor(values.clone(), &[h, d, 1]);
        let (fixed, bonus) = match &wkv.rule {
            WkvRule::Bonus { decay, bonus } => (decay.as_ref().map(constant).transpose()?, Some(constant(bonus)?)),
            WkvRule::Delta => (None, None),
        };
        let mut rows = Vec::new();
        for sentence in offsets.windows(2) {
            let mut state = Tensor::zeros((h, d, d), self.dtype, &self.device)?;
            for row in sentence[0]..sentence[1] {
                let along = |n: usize| inputs[n].narrow(0, row, 1)?.reshape((h, 1, d));
                let down = |n: usize| inputs[n].narrow(0, row, 1)?.reshape((h, d, 1));
                let (r, new) = (along(0)?, down(1)?.broadcast_mul(&along(2)?)?);
                let decay = fixed.clone().map_or_else(|| down(3), Ok)?;
                let kept = (state.broadcast_mul(&decay)? + &new)?;
                let read = if let Some(bonus) = &bonus {
                    let read = (&state + new.broadcast_mul(bonus)?)?;
                    state = kept;
                    read
                } else {
                    state = (kept - down(5)?.broadcast_mul(&along(4)?.matmul(&state)?)?)?;
                    state.clone()
                };
                rows.push(r.matmul(&read)?.reshape((1, h * d))?);
            }
        }
        self.stacked(&rows, h * d)
    }

    /// See [`crate::engine::Engine::scan`].
    pub(super) fn scan(&self, [x, dt, bc]: [&Tensor; 3], scan: &Scan, offsets: &[usize]) -> Result<Tensor> {
        let (width, n) = (scan.skip.len(), scan.n_states());
        let rates = self.tensor(scan.rates.clone(), &[n, width])?.t()?;
        let skip = self.tensor(scan.skip.clone(), &[width, 1])?;
        let mut rows = Vec::new();
        for sentence in offsets.windows(2) {
            let mut state = Tensor::zeros((width, n), self.dtype, &self.device)?;
            for row in sentence[0]..sentence[1] {
                let column = |x: &Tensor| x.narrow(0, row, 1)?.reshape((width, 1));
                let (x, dt) = (column(x)?, column(dt)?);
                let bc = bc.narrow(0, row, 1)?;
                let (b, c) = (bc.narrow(1, 0, n)?, bc.narrow(1, n, n)?.reshape((n, 1))?);
                let kept = (rates.broadcast_mul(&dt)?.exp()? * state)?;
                state = (kept + (x.clone() * dt)?.broadcast_mul(&b)?)?;
                rows.push((state.matmul(&c)? + (x * &skip)?)?.reshape((1, width))?);
            }
        }
        self.stacked(&rows, width)
    }

    fn stacked(&self, rows: &[Tensor], width: usize) -> Result<Tensor> {
        if rows.is_empty() { Tensor::zeros((0, width), self.dtype, &self.device) } else { Tensor::cat(rows, 0) }
    }
}
