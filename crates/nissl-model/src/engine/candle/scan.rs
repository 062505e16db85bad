//! Recurrences that are linear in their state, a token at a time.

use candle_core::{Result, Tensor};

use super::Candle;
use crate::engine::{Scan, Wkv};

impl Candle {
    /// See [`crate::engine::Engine::wkv`].
    pub(super) fn wkv(&self, rkv: [&Tensor; 3], wkv: &Wkv, offsets: &[usize]) -> Result<Tensor> {
        let (h, d) = (wkv.n_heads(), wkv.d_head);
        let constant = |values: &[f32]| self.tensor(values.to_vec(), &[h, d, 1]);
        let (decay, bonus) = (constant(&wkv.decay)?, constant(&wkv.bonus)?);
        let mut rows = Vec::new();
        for sentence in offsets.windows(2) {
            let mut state = Tensor::zeros((h, d, d), self.dtype, &self.device)?;
            for row in sentence[0]..sentence[1] {
                let of = |x: &Tensor, shape: (usize, usize, usize)| x.narrow(0, row, 1)?.reshape(shape);
                let (r, k, v) = (of(rkv[0], (h, 1, d))?, of(rkv[1], (h, d, 1))?, of(rkv[2], (h, 1, d))?);
                let new = k.broadcast_mul(&v)?;
                rows.push(r.matmul(&(&state + new.broadcast_mul(&bonus)?)?)?.reshape((1, h * d))?);
                state = (state.broadcast_mul(&decay)? + new)?;
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
