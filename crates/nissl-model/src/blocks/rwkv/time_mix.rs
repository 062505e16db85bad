//! What a time-mix makes of a token and the one before it: the inputs of its state, and the gate of what is read.
//!
//! Letters: T rows of the group, H heads of width D, low ranks R.

use std::sync::Arc;

use nissl_core::Site;

use super::{Mixed, Visit};
use crate::engine::{Activation, Engine, Epilogue, Halt, Packing, Wkv};

/// Natural log of the smallest decay of RWKV 7, -exp(-1/2).
const LEAST_LOG_DECAY: f32 = -0.606_530_66;

/// The weights, by generation. What is `[d_model, H D]` is so for receptances, keys and values, and for gates but the
/// last's.
pub(crate) enum TimeMix<P: Packing> {
    /// RWKV 5: receptances, keys, values and the gate; decays are constants of the state.
    Eagle([Mixed<P>; 4]),
    /// RWKV 6: blends and decays depend on the token.
    Finch(Box<Finch<P>>),
    /// RWKV 7: the state forgets by the delta rule, and values come from the first layer too.
    Goose(Box<Goose<P>>),
}

/// RWKV 6.
pub(crate) struct Finch<P: Packing> {
    /// `[d_model, 5 R]`, then tanh.
    pub(crate) shared: Mixed<P>,
    /// The shares of the token before in what makes decays, keys, values, receptances and the gate, `[R, d_model]`.
    pub(crate) shares: [P::Linear; 5],
    /// Receptances, keys, values, the gate.
    pub(crate) products: [P::Linear; 4],
    /// `[d_model, R]`, then tanh, and `[R, H D]`.
    pub(crate) decay: [P::Linear; 2],
}

/// RWKV 7.
pub(crate) struct Goose<P: Packing> {
    /// Receptances, keys and values.
    pub(crate) products: [Mixed<P>; 3],
    pub(crate) decay: LowRank<P>,
    /// Learning rates of the state.
    pub(crate) rate: LowRank<P>,
    pub(crate) gate: LowRank<P>,
    /// The share of the first layer's values, of the same blend as values; none in that layer.
    pub(crate) first: Option<[P::Linear; 2]>,
    /// Factors of keys where the state forgets, `[H D]`.
    pub(crate) forgets: Vec<f32>,
    /// Brings those of a head to length 1.
    pub(crate) unit: P::Norm,
    /// How much the learning rates weigh in the keys that are written, `[H D]`.
    pub(crate) rated: Vec<f32>,
    /// What a token reads of itself.
    pub(crate) itself: Arc<Wkv>,
}

/// `[d_model, R]` of a blend, a function, and `[R, H D]`.
pub(crate) struct LowRank<P: Packing> {
    pub(crate) down: Mixed<P>,
    pub(crate) up: P::Linear,
}

/// What a time-mix made.
pub(super) struct Made<E: Engine> {
    /// The inputs of the state.
    pub(super) inputs: Vec<E::Tensor>,
    /// What is added to what is read, after its norm.
    pub(super) added: Option<E::Tensor>,
    /// The factors of it.
    pub(super) gate: E::Tensor,
}

impl<P: Packing> TimeMix<P> {
    /// Its products.
    pub(crate) fn linears(&self) -> Vec<&P::Linear> {
        match self {
            Self::Eagle(parts) => parts.iter().map(|part| &part.product).collect(),
            Self::Finch(of) => {
                [&of.shared.product].into_iter().chain(&of.shares).chain(&of.products).chain(&of.decay).collect()
            }
            Self::Goose(of) => {
                let low = [&of.decay, &of.rate, &of.gate].into_iter().flat_map(|low| [&low.down.product, &low.up]);
                of.products.iter().map(|part| &part.product).chain(low).chain(of.first.iter().flatten()).collect()
            }
        }
    }

    /// Of T rows x `[T, d_model]` and those before them; `first` are the values of the first layer, once it was passed.
    pub(super) fn make<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        [x, earlier]: [&E::Tensor; 2],
        n_rows: usize,
        visit: Visit<'_, E>,
        first: &mut Option<E::Tensor>,
    ) -> Result<Made<E>, Halt> {
        match self {
            Self::Eagle(parts) => {
                let [mut r, mut k, mut v, mut gate] = parts.each_ref().map(|part| part.of(engine, x, earlier));
                visit(Site::MixerR, &mut r)?;
                visit(Site::MixerK, &mut k)?;
                visit(Site::MixerV, &mut v)?;
                visit(Site::MixerGate, &mut gate)?;
                let gate = engine.activate(&gate, Activation::Silu);
                Ok(Made { inputs: vec![r, k, v], added: None, gate })
            }
            Self::Finch(of) => of.make(engine, [x, earlier], visit),
            Self::Goose(of) => of.make(engine, [x, earlier], n_rows, visit, first),
        }
    }
}

impl<P: Packing> Finch<P> {
    fn make<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        [x, earlier]: [&E::Tensor; 2],
        visit: Visit<'_, E>,
    ) -> Result<Made<E>, Halt> {
        let shared = engine.activate(&self.shared.of(engine, x, earlier), Activation::Tanh);
        let rank = engine.width(&shared) / self.shares.len();
        let blend = |n: usize| {
            let own = engine.beside(&[(&shared, n * rank..(n + 1) * rank)]);
            engine.blend(&engine.linear(&own, &self.shares[n], Epilogue::None), earlier, x)
        };
        let product = |n: usize, blend: E::Tensor| engine.linear(&blend, &self.products[n], Epilogue::None);
        let mut r = product(0, blend(3));
        visit(Site::MixerR, &mut r)?;
        let low = engine.linear(&blend(0), &self.decay[0], Epilogue::Activate(Activation::Tanh));
        let rates = engine.linear(&low, &self.decay[1], Epilogue::Activate(Activation::Exp));
        let mut decay = decays(engine, &rates, -1.0);
        visit(Site::MixerDecay, &mut decay)?;
        let mut k = product(1, blend(1));
        visit(Site::MixerK, &mut k)?;
        let mut v = product(2, blend(2));
        visit(Site::MixerV, &mut v)?;
        let mut gate = product(3, blend(4));
        visit(Site::MixerGate, &mut gate)?;
        let gate = engine.activate(&gate, Activation::Silu);
        Ok(Made { inputs: vec![r, k, v, decay], added: None, gate })
    }
}

impl<P: Packing> Goose<P> {
    fn make<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        [x, earlier]: [&E::Tensor; 2],
        n_rows: usize,
        visit: Visit<'_, E>,
        first: &mut Option<E::Tensor>,
    ) -> Result<Made<E>, Halt> {
        let [of_r, of_k, of_v] = &self.products;
        let mut r = of_r.of(engine, x, earlier);
        visit(Site::MixerR, &mut r)?;
        let rates = engine.activate(&self.decay.of(engine, [x, earlier], Some(Activation::Tanh)), Activation::Sigmoid);
        let mut decay = decays(engine, &rates, LEAST_LOG_DECAY);
        visit(Site::MixerDecay, &mut decay)?;
        let mut k = of_k.of(engine, x, earlier);
        visit(Site::MixerK, &mut k)?;
        let mut v = self.values(engine, &of_v.blend(engine, x, earlier), first.as_ref());
        visit(Site::MixerV, &mut v)?;
        if self.first.is_none() {
            *first = Some(engine.beside(&[(&v, 0..engine.width(&v))]));
        }
        let mut rate = engine.activate(&self.rate.of(engine, [x, earlier], None), Activation::Sigmoid);
        visit(Site::MixerRate, &mut rate)?;
        let mut gate = self.gate.of(engine, [x, earlier], Some(Activation::Sigmoid));
        visit(Site::MixerGate, &mut gate)?;

        let width = self.forgets.len();
        let constant = |values: &[f32]| engine.embed(1, width, &|_, row| row.copy_from_slice(values));
        let zeros = engine.embed(n_rows, width, &|_, _| {});
        let ones = engine.embed(n_rows, width, &|_, row| row.fill(1.0));
        let mut p = engine.blend(&constant(&self.forgets), &k, &zeros);
        engine.norm_columns(&mut p, 0..width, &self.unit);
        let k = engine.multiply(&k, &engine.blend(&constant(&self.rated), &rate, &ones));
        let alone: Vec<usize> = (0..=n_rows).collect();
        let added = engine.wkv(&[&r, &k, &v], &self.itself, &alone, None);
        let q = engine.multiply(&p, &rate);
        Ok(Made { inputs: vec![r, k, v, decay, p, q], added: Some(added), gate })
    }

    /// The values of a blend, which go towards those of the first layer.
    fn values<E: Engine<Packing = P>>(&self, engine: &E, blend: &E::Tensor, first: Option<&E::Tensor>) -> E::Tensor {
        let v = engine.linear(blend, &self.products[2].product, Epilogue::None);
        let (Some([down, up]), Some(first)) = (&self.first, first) else { return v };
        let low = engine.linear(blend, down, Epilogue::None);
        engine.blend(&engine.linear(&low, up, Epilogue::Activate(Activation::Sigmoid)), first, &v)
    }
}

impl<P: Packing> LowRank<P> {
    fn of<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        [x, earlier]: [&E::Tensor; 2],
        activation: Option<Activation>,
    ) -> E::Tensor {
        let epilogue = activation.map_or(Epilogue::None, Epilogue::Activate);
        let low = engine.linear(&self.down.blend(engine, x, earlier), &self.down.product, epilogue);
        engine.linear(&low, &self.up, Epilogue::None)
    }
}

/// exp(factor · rates).
fn decays<E: Engine>(engine: &E, rates: &E::Tensor, factor: f32) -> E::Tensor {
    engine.activate(&engine.activate(rates, Activation::Scale(factor)), Activation::Exp)
}
