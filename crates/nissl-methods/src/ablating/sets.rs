//! Sets of neurons to compare others with: as many at random, and the top, bottom and random parts of a ranking.

use std::collections::{BTreeMap, BTreeSet};

use nissl_core::{HookPoint, ModelInfo, NeuronId, Ranking};

use crate::random::{Random, mix};

/// Sets of as many neurons of the same points of a model, drawn from those that are not in the set; all of a point's
/// where fewer are left.
pub fn random_like(model: &ModelInfo, set: &[NeuronId], n: usize, seed: u64) -> Vec<Vec<NeuronId>> {
    random_of(&|point| model.width(point).unwrap_or(0), set, n, seed)
}

/// As [`random_like`], of whatever has points of these widths.
pub fn random_of(width: &dyn Fn(HookPoint) -> usize, set: &[NeuronId], n: usize, seed: u64) -> Vec<Vec<NeuronId>> {
    let own: BTreeSet<NeuronId> = set.iter().copied().collect();
    let mut wanted: BTreeMap<HookPoint, usize> = BTreeMap::new();
    for neuron in &own {
        *wanted.entry(neuron.point).or_default() += 1;
    }
    let draw = |idx: usize| {
        let mut random = Random::new(mix(seed ^ mix(idx as u64)));
        let mut drawn = Vec::with_capacity(own.len());
        for (&point, &count) in &wanted {
            let all = (0..width(point) as u32).map(|unit| NeuronId::new(point, unit));
            let mut others: Vec<NeuronId> = all.filter(|neuron| !own.contains(neuron)).collect();
            random.shuffle(&mut others);
            others.truncate(count);
            others.sort_unstable();
            drawn.extend(others);
        }
        drawn
    };
    (0..n).map(draw).collect()
}

/// For each of `steps` equal steps, with 0 and the whole, that share of a ranking from its top, from its bottom, and
/// from `n_random` random orders.
pub fn steps_of(ranking: &Ranking, steps: usize, n_random: usize, seed: u64) -> Vec<[Vec<Vec<NeuronId>>; 3]> {
    let all = &ranking.neurons;
    let shuffled = |idx: usize| {
        let mut order = all.clone();
        Random::new(mix(seed ^ mix(idx as u64))).shuffle(&mut order);
        order
    };
    let orders: Vec<Vec<NeuronId>> = (0..n_random).map(shuffled).collect();
    let part = |step: usize| {
        let n = (all.len() * step + steps / 2) / steps.max(1);
        let random = orders.iter().map(|order| order[..n].to_vec()).collect();
        [vec![all[..n].to_vec()], vec![all[all.len() - n..].to_vec()], random]
    };
    (0..=steps).map(part).collect()
}
