//! The weights of experts and their routers: a matrix each, or all in two tensors.

use super::Loader;
use crate::arch::{Experts, Matrix};
use crate::blocks::moe::{Expert, Moe};
use crate::checkpoint::{Stack, Weight};
use crate::engine::{LinearPart, Packing, Vector};
use crate::error::LoadError;

impl<P: Packing> Loader<'_, P> {
    pub(super) fn moe(&self, experts: &Experts, layer: usize) -> Result<Moe<P>, LoadError> {
        let (d_model, n) = (self.spec.d_model, experts.choice.n_experts);
        let named = |name: &str, idx: usize, bias: bool| {
            let stem = self.names.full(name, layer).replace("{e}", &idx.to_string());
            (stem, Matrix::linear("", bias))
        };
        let expert = |[gate, linear, out]: [&str; 3], idx: usize, width: usize| {
            let inner = [named(gate, idx, false), named(linear, idx, false)];
            Ok(Expert {
                inner: self.product(&inner, d_model, &[width, width])?,
                out: self.product(&[named(out, idx, false)], width, &[d_model])?,
                width,
            })
        };
        let shared = experts.shared.iter();
        let routers = std::iter::once(experts.router).chain(shared.clone().map(|shared| shared.router));
        let routers: Vec<_> = routers.map(|name| named(name, 0, experts.stacked)).collect();
        let mut all = if experts.stacked {
            self.stacked(experts, layer)?
        } else {
            (0..n).map(|idx| expert(experts.parts, idx, experts.width)).collect::<Result<_, LoadError>>()?
        };
        for shared in shared {
            all.push(expert(shared.parts, 0, shared.width)?);
        }
        Ok(Moe {
            router: self.product(&routers, d_model, &[n, 1][..routers.len()])?,
            experts: all,
            choice: experts.choice,
            activation: self.spec.activation,
            linear: experts.linear,
        })
    }

    /// Experts of which two tensors have all, with their biases: the columns of the gate and of the linear branch take
    /// turns in the first.
    fn stacked(&self, experts: &Experts, layer: usize) -> Result<Vec<Expert<P>>, LoadError> {
        let (n, width, d_model) = (experts.choice.n_experts, experts.width, self.spec.d_model);
        let apart: Vec<usize> = (0..2 * width).step_by(2).chain((1..2 * width).step_by(2)).collect();
        let inner = self.stack(experts.parts[0], layer, [n, d_model, 2 * width], Some(&apart))?;
        let out = self.stack(experts.parts[2], layer, [n, width, d_model], None)?;
        Ok(inner.into_iter().zip(out).map(|(inner, out)| Expert { inner, out, width }).collect())
    }

    /// Products of matrices that a tensor `[n, n_in, n_out]` holds, or blocks of four bits with `n_out` before `n_in`; with
    /// their outputs in an order.
    fn stack(
        &self,
        name: &str,
        layer: usize,
        [n, n_in, n_out]: [usize; 3],
        order: Option<&[usize]>,
    ) -> Result<Vec<P::Linear>, LoadError> {
        let stem = self.names.full(name, layer);
        let biases = crate::weights::matrix(self.checkpoint, &format!("{stem}_bias"), [n, n_out])?;
        let part = |weight: Weight<'_>, transposed, idx: usize| {
            let bias = Vector::unnamed(biases[idx * n_out..(idx + 1) * n_out].to_vec());
            let order = order.map(<[usize]>::to_vec);
            self.packing.pack(&[LinearPart { order, ..LinearPart::new(weight, transposed, Some(bias)) }])
        };
        if let Some(stack) = Stack::find(self.checkpoint, &stem, [n, n_out, n_in])? {
            let one = |idx| -> Result<P::Linear, LoadError> {
                let values = stack.matrix(idx)?;
                Ok(part(Weight::of_f32("", &[n_out, n_in], bytemuck::cast_slice(&values)), false, idx))
            };
            let all = (0..n).map(one).collect();
            self.checkpoint.release(&format!("{stem}_blocks"));
            return all;
        }
        let tensor = Weight::new(self.checkpoint.tensor(&stem)?, &[Some(n), Some(n_in), Some(n_out)])?;
        let all = (0..n).map(|idx| part(tensor.matrix(idx), true, idx)).collect();
        self.checkpoint.release(&stem);
        Ok(all)
    }
}
