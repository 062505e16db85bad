//! Experts: parts of an MLP of which every token takes a few, chosen by a router.
//!
//! Neurons of experts lie side by side. Those of experts that a token does not take are not computed: they are zero, and
//! nothing leads from them. An expert is taken where its weight is not zero, after the edits.

use ndarray::Array2;
use nissl_core::Site;

use crate::engine::{Activation, Choice, Engine, Epilogue, Halt, Packing};
use crate::skeletons::Here;

/// The weights of a router and its experts.
pub(crate) struct Moe<P: Packing> {
    /// `[d_model, n_experts]`, those that are chosen from, then those that every token takes.
    pub(crate) router: P::Linear,
    pub(crate) experts: Vec<Expert<P>>,
    pub(crate) choice: Choice,
    pub(crate) activation: Activation,
    /// Of the linear branch, where it has one.
    pub(crate) linear: Option<Activation>,
}

/// The weights of an expert.
pub(crate) struct Expert<P: Packing> {
    /// The gate and the linear branch side by side, `[d_model, 2 width]`.
    pub(crate) inner: P::Linear,
    /// `[width, d_model]`.
    pub(crate) out: P::Linear,
    pub(crate) width: usize,
}

/// Which rows take which experts.
struct Routes {
    n_rows: usize,
    /// Of every expert, its rows.
    rows: Vec<Vec<usize>>,
    /// Of every row its experts in their order, and its place among the rows of each.
    taken: Vec<Vec<(usize, usize)>>,
}

impl Routes {
    /// By the weights of the experts `[T, n_experts]`.
    fn new(weights: &Array2<f32>) -> Self {
        let mut rows = vec![Vec::new(); weights.ncols()];
        let mut taken = vec![Vec::new(); weights.nrows()];
        for ((row, expert), weight) in weights.indexed_iter() {
            if *weight != 0.0 {
                taken[row].push((expert, rows[expert].len()));
                rows[expert].push(row);
            }
        }
        Self { n_rows: weights.nrows(), rows, taken }
    }
}

/// A value of every expert for its rows, `[n_rows, width]`; none where it has no rows.
type OfExperts<E> = Vec<Option<<E as Engine>::Tensor>>;

impl<P: Packing> Moe<P> {
    /// residual + experts(x), `[T, d_model]`.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: &E::Tensor,
        residual: &E::Tensor,
        here: &Here<'_, E>,
    ) -> Result<E::Tensor, Halt> {
        let hooks = here.hooks;
        let at = |site| here.at(site);
        let stage = hooks.stage();
        let mut logits = engine.linear(x, &self.router, Epilogue::None);
        hooks.visit(engine, at(Site::MlpRouter), &mut logits)?;
        let mut weights = engine.choose(&logits, self.choice);
        hooks.visit(engine, at(Site::MlpExpertWeights), &mut weights)?;
        // Variants part here at the latest: the rows of an expert are not those of the group.
        for site in [Site::MlpPre, Site::MlpPreLinear, Site::MlpPost] {
            hooks.arrive(engine, at(site), &mut weights);
        }
        let now = hooks.since(engine, stage, x);
        let x = now.as_ref().unwrap_or(x);
        let routes = Routes::new(&engine.read(&weights));
        let inner = |(expert, rows): (&Expert<P>, &Vec<usize>)| {
            (!rows.is_empty()).then(|| engine.linear(&engine.rows(x, rows), &expert.inner, Epilogue::None))
        };
        let mut pre: OfExperts<E> = self.experts.iter().zip(&routes.rows).map(inner).collect();
        if hooks.wants(at(Site::MlpPre)) || hooks.wants(at(Site::MlpPreLinear)) {
            let half = |second: usize| -> OfExperts<E> {
                let part = |(pre, expert): (&Option<E::Tensor>, &Expert<P>)| {
                    let columns = second * expert.width..(second + 1) * expert.width;
                    pre.as_ref().map(|pre| engine.beside(&[(pre, columns)]))
                };
                pre.iter().zip(&self.experts).map(part).collect()
            };
            let gates = self.shown(engine, half(0), &routes, here, Site::MlpPre)?;
            let linears = self.shown(engine, half(1), &routes, here, Site::MlpPreLinear)?;
            let joined = |idx: usize| {
                let columns = 0..self.experts[idx].width;
                let parts = gates[idx].as_ref().zip(linears[idx].as_ref());
                parts.map(|(gate, linear)| engine.beside(&[(gate, columns.clone()), (linear, columns)]))
            };
            pre = (0..self.experts.len()).map(joined).collect();
        }
        let post = pre.iter().map(|pre| pre.as_ref().map(|pre| self.gate(engine, pre))).collect();
        drop(pre);
        let post = self.shown(engine, post, &routes, here, Site::MlpPost)?;
        let given = |(idx, post): (usize, &Option<E::Tensor>)| {
            post.as_ref().map(|post| {
                let places: Vec<(usize, usize)> = routes.rows[idx].iter().map(|&row| (row, idx)).collect();
                let out = engine.linear(post, &self.experts[idx].out, Epilogue::None);
                engine.scale_rows(&out, &weights, &places)
            })
        };
        let given: OfExperts<E> = post.iter().enumerate().map(given).collect();
        let mut out = sum(engine, &given, &routes, engine.width(residual));
        hooks.visit(engine, at(Site::MlpOut), &mut out)?;
        let now = hooks.since(engine, stage, residual);
        Ok(engine.add(now.as_ref().unwrap_or(residual), &out))
    }

    /// What becomes of the gate and the linear branch, `[n_rows, 2 width]`.
    fn gate<E: Engine<Packing = P>>(&self, engine: &E, pre: &E::Tensor) -> E::Tensor {
        let Some(linear) = self.linear else { return engine.gate(pre, self.activation) };
        let (width, whole) = (engine.width(pre) / 2, engine.width(pre));
        let part = |columns, activation| engine.activate(&engine.beside(&[(pre, columns)]), activation);
        engine.multiply(&part(0..width, self.activation), &part(width..whole, linear))
    }

    /// Shows the neurons of all experts side by side to the hooks, where anybody looks.
    fn shown<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        parts: OfExperts<E>,
        routes: &Routes,
        here: &Here<'_, E>,
        site: Site,
    ) -> Result<OfExperts<E>, Halt> {
        let point = here.at(site);
        if !here.hooks.wants(point) {
            return Ok(parts);
        }
        let whole = |(idx, part): (usize, &Option<E::Tensor>)| {
            let zero = engine.embed(1, self.experts[idx].width, &|_, _| {});
            let Some(part) = part else { return engine.gather(&[&zero], &vec![(0, 0); routes.n_rows]) };
            let mut places = vec![(1, 0); routes.n_rows];
            routes.rows[idx].iter().enumerate().for_each(|(place, &row)| places[row] = (0, place));
            engine.gather(&[part, &zero], &places)
        };
        let whole: Vec<E::Tensor> = parts.iter().enumerate().map(whole).collect();
        let columns: Vec<_> = whole.iter().map(|part| (part, 0..engine.width(part))).collect();
        let mut all = engine.beside(&columns);
        here.hooks.visit(engine, point, &mut all)?;
        let mut start = 0;
        let own = |(expert, rows): (&Expert<P>, &Vec<usize>)| {
            let columns = start..start + expert.width;
            start = columns.end;
            (!rows.is_empty()).then(|| engine.rows(&engine.beside(&[(&all, columns)]), rows))
        };
        Ok(self.experts.iter().zip(&routes.rows).map(own).collect())
    }
}

/// The sum of what every row's experts give, in their order, `[T, width]`.
fn sum<E: Engine>(engine: &E, given: &OfExperts<E>, routes: &Routes, width: usize) -> E::Tensor {
    let zero = engine.embed(1, width, &|_, _| {});
    let mut parts = vec![&zero];
    let mut part_of = vec![0; given.len()];
    for (idx, given) in given.iter().enumerate() {
        if let Some(given) = given {
            part_of[idx] = parts.len();
            parts.push(given);
        }
    }
    let nth = |n: usize| {
        let place = |taken: &Vec<(usize, usize)>| taken.get(n).map_or((0, 0), |&(expert, row)| (part_of[expert], row));
        engine.gather(&parts, &routes.taken.iter().map(place).collect::<Vec<_>>())
    };
    let most = routes.taken.iter().map(Vec::len).max().unwrap_or(0);
    (1..most).fold(nth(0), |sum, n| engine.add(&sum, &nth(n)))
}
