//! Neurons in the order of a linear probe's weights: by the mass of weights that they make up.

/// Relative slack when masses are compared, so that rounding does not keep a prefix from reaching its share.
const SLACK: f64 = 1e-12;

/// The order of one class: neurons by the size of their weight, ties by their place, and the sum of all sizes.
struct ClassOrder {
    order: Vec<usize>,
    total: f64,
}

impl ClassOrder {
    fn new(weights: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by(|&a, &b| weights[b].abs().total_cmp(&weights[a].abs()).then_with(|| a.cmp(&b)));
        Self { order, total: weights.iter().map(|w| w.abs()).sum() }
    }

    /// Length of the shortest prefix that makes up a share of the mass, at least 1; 0 for a class without weights.
    fn prefix(&self, weights: &[f64], share: f64) -> usize {
        if self.total <= 0.0 {
            return 0;
        }
        let mut sum = 0.0;
        let reached = self.order.iter().position(|&neuron| {
            sum += weights[neuron].abs();
            sum >= share * self.total * (1.0 - SLACK)
        });
        reached.map_or(self.order.len(), |place| place + 1)
    }
}

/// The neurons of each class that make up a share of the mass of its weights, the heaviest first.
///
/// `weights` are `[n_classes][n_neurons]`. The neuron that crosses the share is in; a class without weights has none.
pub fn top_neurons(weights: &[Vec<f64>], share: f64) -> Vec<Vec<usize>> {
    let of_class = |weights: &Vec<f64>| {
        let class = ClassOrder::new(weights);
        let n = class.prefix(weights, share);
        class.order[..n].to_vec()
    };
    weights.iter().map(of_class).collect()
}

/// The neurons of each class that make up a share of the mass of its weights, the lightest first.
pub fn bottom_neurons(weights: &[Vec<f64>], share: f64) -> Vec<Vec<usize>> {
    let of_class = |weights: &Vec<f64>| {
        let mut class = ClassOrder::new(weights);
        class.order.sort_by(|&a, &b| weights[a].abs().total_cmp(&weights[b].abs()).then_with(|| a.cmp(&b)));
        let n = class.prefix(weights, share);
        class.order[..n].to_vec()
    };
    weights.iter().map(of_class).collect()
}

/// The neurons of each class whose weight is above a `fraction`th of the largest, ascending.
pub fn threshold_neurons(weights: &[Vec<f64>], fraction: f64) -> Vec<Vec<usize>> {
    let of_class = |weights: &Vec<f64>| {
        let largest = weights.iter().fold(0.0_f64, |most, w| most.max(w.abs()));
        (0..weights.len()).filter(|&neuron| weights[neuron].abs() > largest / fraction).collect()
    };
    weights.iter().map(of_class).collect()
}

/// All neurons in one order, the most important first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordering {
    /// The neurons.
    pub order: Vec<usize>,
    /// How many of them there are at each share of the mass: 0, 1/stride, 2/stride … 1.
    pub cutoffs: Vec<usize>,
    /// Where those begin that no class needs for its whole mass.
    pub tail: usize,
}

/// The order of Linguistic Correlation Analysis: with growing shares of the mass, the neurons that some class needs for
/// it; those that come together by their largest share in any class, ties by their place.
///
/// # Panics
/// If `stride` is 0 or the classes have not the same number of weights.
pub fn ordering(weights: &[Vec<f64>], stride: usize) -> Ordering {
    assert!(stride > 0, "at least one step");
    let n_neurons = weights.first().map_or(0, Vec::len);
    assert!(weights.iter().all(|of_class| of_class.len() == n_neurons), "as many weights in each class");
    let classes: Vec<ClassOrder> = weights.iter().map(|of_class| ClassOrder::new(of_class)).collect();
    let mut key = vec![0.0_f64; n_neurons];
    for (class, weights) in classes.iter().zip(weights).filter(|(class, _)| class.total > 0.0) {
        key.iter_mut().zip(weights).for_each(|(key, w)| *key = key.max(w.abs() / class.total));
    }
    let by_key = |a: &usize, b: &usize| key[*b].total_cmp(&key[*a]).then_with(|| a.cmp(b));
    let (mut order, mut cutoffs, mut seen) = (Vec::new(), Vec::new(), vec![false; n_neurons]);
    for step in 0..=stride {
        let mut new = Vec::new();
        for (class, weights) in classes.iter().zip(weights) {
            let n = class.prefix(weights, step as f64 / stride as f64);
            for &neuron in &class.order[..n] {
                if !std::mem::replace(&mut seen[neuron], true) {
                    new.push(neuron);
                }
            }
        }
        new.sort_by(by_key);
        order.extend(new);
        cutoffs.push(order.len());
    }
    let tail = order.len();
    let mut rest: Vec<usize> = (0..n_neurons).filter(|&neuron| !seen[neuron]).collect();
    rest.sort_by(by_key);
    order.extend(rest);
    Ordering { order, cutoffs, tail }
}

#[cfg(test)]
mod tests;
