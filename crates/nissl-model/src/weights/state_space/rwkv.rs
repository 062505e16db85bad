//! The weights of blocks of RWKV.

use std::sync::Arc;

use super::Source;
use crate::arch::{RwkvBlock, TimeMix, low_rank};
use crate::blocks::rwkv::time_mix::{Finch, Goose, LowRank, TimeMix as Mix};
use crate::blocks::rwkv::{Mixed, Rwkv};
use crate::checkpoint::Weight;
use crate::engine::{LinearPart, NormKind, Packing, Vector, Wkv, WkvRule};
use crate::error::LoadError;

/// What shares are stored as.
#[derive(Clone, Copy)]
enum Share {
    /// Those of the token itself.
    Own,
    /// Those of the token before.
    Before,
}

impl<P: Packing> Source<'_, P> {
    pub(super) fn rwkv(&self, block: &RwkvBlock) -> Result<Rwkv<P>, LoadError> {
        let [time, channel] = block.parts.map(|part| self.name(part));
        let (d_model, d_mlp, width) = (self.model.d_model, block.d_mlp, block.n_heads * block.d_head);
        let gain = self.values(&format!("{time}.{}.weight", block.head_norm), &[width])?;
        let bias = self.values(&format!("{time}.{}.bias", block.head_norm), &[width])?;
        let head_norm = |(gain, bias): (&[f32], &[f32])| {
            let kind = NormKind::Layer { eps: block.head_eps };
            self.packing.pack_norm(kind, Vector::unnamed(gain.to_vec()), Some(Vector::unnamed(bias.to_vec())))
        };
        let (mix, wkv) = match block.time {
            TimeMix::Eagle { plain_decays, shares } => self.eagle(block, &time, plain_decays, shares)?,
            TimeMix::Finch => self.finch(block, &time)?,
            TimeMix::Goose { modules } => self.goose(block, &time, modules)?,
        };
        // The channel-mix of the last generation has no gate.
        let (stored, key, gate) = match block.time {
            TimeMix::Eagle { shares: [r, k, ..], .. } => (Share::Own, k, Some(r)),
            TimeMix::Finch => (Share::Before, "time_maa_k", Some("time_maa_r")),
            TimeMix::Goose { .. } => (Share::Before, "x_k", None),
        };
        let gate = gate.map(|share| self.mixed(&channel, share, stored, "receptance", d_model));
        Ok(Rwkv {
            time_norm: self.norm(block.norms[0])?,
            time: mix,
            wkv: Arc::new(wkv),
            head_norms: gain.chunks(block.d_head).zip(bias.chunks(block.d_head)).map(head_norm).collect(),
            time_out: self.linear(&format!("{time}.{}", block.matrices[3]), [d_model, width], false)?,
            channel_norm: self.norm(block.norms[1])?,
            channel_key: self.mixed(&channel, key, stored, "key", d_mlp)?,
            channel_receptance: gate.transpose()?,
            channel_value: self.linear(&format!("{channel}.value"), [d_model, d_mlp], false)?,
        })
    }

    fn eagle(
        &self,
        block: &RwkvBlock,
        time: &str,
        plain_decays: bool,
        shares: [&str; 4],
    ) -> Result<(Mix<P>, Wkv), LoadError> {
        let heads = [block.n_heads, block.d_head];
        let decays = self.values(&format!("{time}.time_decay"), &heads)?;
        let decay = if plain_decays { decays } else { decays.iter().map(|x| (-x.exp()).exp()).collect() };
        let rule = WkvRule::Bonus { decay: Some(decay), bonus: self.values(&format!("{time}.time_faaaa"), &heads)? };
        let mixed = |share: &str, matrix: &str| self.mixed(time, share, Share::Own, matrix, heads[0] * heads[1]);
        let [r, k, v, _] = block.matrices;
        let mix = [mixed(shares[0], r)?, mixed(shares[1], k)?, mixed(shares[2], v)?, mixed(shares[3], "gate")?];
        Ok((Mix::Eagle(mix), Wkv { n_heads: heads[0], d_head: heads[1], rule }))
    }

    fn finch(&self, block: &RwkvBlock, time: &str) -> Result<(Mix<P>, Wkv), LoadError> {
        let (d_model, heads) = (self.model.d_model, [block.n_heads, block.d_head]);
        let width = heads[0] * heads[1];
        let of = |what: &str| format!("{time}.{what}");
        let five = self.of_any(&of("time_maa_w2"), &[Some(5), None, Some(d_model)])?;
        let rank = five.shape()[1];
        let shares = [("w", 0), ("k", 1), ("v", 2), ("r", 3), ("g", 4)].map(|(part, idx)| {
            let bias = self.values(&of(&format!("time_maa_{part}")), &[d_model])?;
            Ok(self.packing.pack(&[LinearPart::new(five.matrix(idx), true, Some(Vector::unnamed(bias)))]))
        });
        let [w, k, v, r, g] = shares;
        let first = self.of_any(&of("time_maa_w1"), &[Some(d_model), Some(5 * rank)])?;
        let share = self.shares(&of("time_maa_x"), Share::Before)?;
        let product = |matrix: &str| self.linear(&of(matrix), [width, d_model], false);
        let low = self.of_any(&of("time_decay_w1"), &[Some(d_model), None])?;
        let up = self.of_any(&of("time_decay_w2"), &[Some(low.shape()[1]), Some(width)])?;
        let slow = Vector::unnamed(self.values(&of("time_decay"), &[width])?);
        let mix = Finch {
            shared: Mixed { share, product: self.packing.pack(&[LinearPart::new(first, true, None)]) },
            shares: [w?, k?, v?, r?, g?],
            products: [product("receptance")?, product("key")?, product("value")?, product("gate")?],
            decay: [
                self.packing.pack(&[LinearPart::new(low, true, None)]),
                self.packing.pack(&[LinearPart::new(up, true, Some(slow))]),
            ],
        };
        let rule = WkvRule::Bonus { decay: None, bonus: self.values(&of("time_faaaa"), &heads)? };
        Ok((Mix::Finch(Box::new(mix)), Wkv { n_heads: heads[0], d_head: heads[1], rule }))
    }

    fn goose(&self, block: &RwkvBlock, time: &str, modules: bool) -> Result<(Mix<P>, Wkv), LoadError> {
        let [n_heads, d_head] = [block.n_heads, block.d_head];
        let width = n_heads * d_head;
        let of = |what: &str| self.values(&format!("{time}.{what}"), &[width]);
        let mixed = |share: &str, matrix: &str| self.mixed(time, share, Share::Before, matrix, width);
        let low = |share: &str, part: &str, bias: bool| {
            let [down, up] = self.low_rank(low_rank(time, part, modules), width, modules, bias)?;
            Ok(LowRank {
                down: Mixed { share: self.shares(&format!("{time}.{share}"), Share::Before)?, product: down },
                up,
            })
        };
        let first = || self.low_rank(low_rank(time, "v", modules), width, modules, true);
        // The root of the mean square is that of the sum by the root of the width.
        let unit = Vector::unnamed(vec![(d_head as f32).sqrt().recip(); d_head]);
        let bonus = self.values(&format!("{time}.r_k"), &[n_heads, d_head])?;
        let itself = WkvRule::Bonus { decay: Some(vec![0.0; width]), bonus };
        let [r, k, v, _] = block.matrices;
        let mix = Goose {
            products: [mixed("x_r", r)?, mixed("x_k", k)?, mixed("x_v", v)?],
            decay: low("x_w", "w", true)?,
            rate: low("x_a", "a", true)?,
            gate: low("x_g", "g", false)?,
            first: (self.layer > 0).then(first).transpose()?,
            forgets: of("k_k")?,
            unit: self.packing.pack_norm(NormKind::Rms { eps: f32::MIN_POSITIVE }, unit, None),
            rated: of("k_a")?,
            itself: Arc::new(Wkv { n_heads, d_head, rule: itself }),
        };
        Ok((Mix::Goose(Box::new(mix)), Wkv { n_heads, d_head, rule: WkvRule::Delta }))
    }

    /// A product of a blend, `[d_model, n_out]`.
    fn mixed(&self, part: &str, share: &str, stored: Share, matrix: &str, n_out: usize) -> Result<Mixed<P>, LoadError> {
        let share = self.shares(&format!("{part}.{share}"), stored)?;
        Ok(Mixed { share, product: self.linear(&format!("{part}.{matrix}"), [n_out, self.model.d_model], false)? })
    }

    /// The shares of a token itself, `[d_model]`.
    fn shares(&self, name: &str, stored: Share) -> Result<Vec<f32>, LoadError> {
        let mut shares = self.values(name, &[self.model.d_model])?;
        if let Share::Before = stored {
            for share in &mut shares {
                *share = 1.0 - *share;
            }
        }
        Ok(shares)
    }

    /// Two products, `[d_model, R]` and `[R, n_out]`, whose ranks are those of the weights.
    fn low_rank(
        &self,
        [down, up, bias]: [String; 3],
        n_out: usize,
        modules: bool,
        has_bias: bool,
    ) -> Result<[P::Linear; 2], LoadError> {
        let d_model = self.model.d_model;
        let turned = |[n_in, n_out]: [Option<usize>; 2]| if modules { [n_out, n_in] } else { [n_in, n_out] };
        let down = self.of_any(&down, &turned([Some(d_model), None]))?;
        let rank = down.shape()[usize::from(!modules)];
        let up = self.of_any(&up, &turned([Some(rank), Some(n_out)]))?;
        let bias = has_bias.then(|| self.values(&bias, &[n_out])).transpose()?.map(Vector::unnamed);
        let pack = |weight, bias| self.packing.pack(&[LinearPart::new(weight, !modules, bias)]);
        Ok([pack(down, None), pack(up, bias)])
    }

    /// A weight of this shape.
    fn of_any(&self, name: &str, shape: &[Option<usize>]) -> Result<Weight<'_>, LoadError> {
        Weight::new(self.checkpoint.tensor(name)?, shape)
    }
}
