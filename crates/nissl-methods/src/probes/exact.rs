//! The best linear classifier of k neurons: a search that proves how near it is.
//!
//! For a set of neurons the loss is that of a support vector machine: Σ w·max(0, 1 - y(xβ + b)) + |β|²/2γ, whose dual is
//! solved pair by pair. Any feasible dual point α bounds the loss of all sets of k neurons from below, since the best
//! set for it has the k largest (X'α)²: sets are divided into those with and without a neuron, and given up where that
//! bound is above the best loss known.

/// A problem: rows of few neurons, and which of two classes each is of.
#[derive(Clone, Debug)]
pub struct SparseProblem {
    /// Standardized values, `[n_neurons][n_rows]`.
    pub x: Vec<Vec<f64>>,
    /// Whether each row has the concept.
    pub has: Vec<bool>,
    /// Weight of the margin: 1/√n is usual.
    pub gamma: f64,
}

/// The best set that was found and how sure that is.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseFit {
    /// The neurons, ascending.
    pub support: Vec<usize>,
    /// Their weights.
    pub weights: Vec<f64>,
    /// What is added.
    pub bias: f64,
    /// Loss of the set.
    pub objective: f64,
    /// No set of as many neurons has a lower loss.
    pub bound: f64,
    /// Sets of sets that were looked at.
    pub nodes: usize,
}

/// Steps of the dual at most; each mends the worst pair.
const STEPS: usize = 20_000;
/// Points by which a bound is raised.
const ROUNDS: usize = 8;
/// Losses that differ by less count as equal, as a share.
const NEAR: f64 = 1e-6;

struct Dual<'a> {
    problem: &'a SparseProblem,
    /// 1 or -1 of each row.
    y: Vec<f64>,
    /// Largest dual value of each row: every class weighs half of the rows.
    upper: Vec<f64>,
}

/// A dual point: `a` of each row, and y·a summed up with each neuron.
#[derive(Clone)]
struct Point {
    sum: f64,
    products: Vec<f64>,
}

impl<'a> Dual<'a> {
    fn new(problem: &'a SparseProblem) -> Self {
        let n = problem.has.len() as f64;
        let with = problem.has.iter().filter(|&&has| has).count() as f64;
        let y: Vec<f64> = problem.has.iter().map(|&has| if has { 1.0 } else { -1.0 }).collect();
        let upper = problem.has.iter().map(|&has| 0.5 * n / if has { with } else { n - with }).collect();
        Self { problem, y, upper }
    }

    /// The best dual point of a set of neurons.
    fn solve(&self, support: &[usize]) -> (Vec<f64>, Point) {
        let (n, gamma) = (self.y.len(), self.problem.gamma);
        let mut a = vec![0.0; n];
        let mut v = vec![0.0; support.len()];
        let value = |row: usize, place: usize| self.problem.x[support[place]][row];
        for _ in 0..STEPS {
            // y times the slope of each row: those that may rise are compared with those that may fall.
            let (mut up, mut down) = ((f64::NEG_INFINITY, 0), (f64::INFINITY, 0));
            for (row, &now) in a.iter().enumerate() {
                let out: f64 = v.iter().enumerate().map(|(place, v)| v * value(row, place)).sum();
                let slope = self.y[row] - gamma * out;
                let (above, below) = (now > 0.0, now < self.upper[row]);
                let (rises, falls) = if self.y[row] > 0.0 { (below, above) } else { (above, below) };
                if rises && slope > up.0 {
                    up = (slope, row);
                }
                if falls && slope < down.0 {
                    down = (slope, row);
                }
            }
            if up.0 - down.0 < 1e-7 {
                break;
            }
            let (i, j) = (up.1, down.1);
            let square: f64 = (0..support.len()).map(|place| (value(i, place) - value(j, place)).powi(2)).sum();
            let mut step = (up.0 - down.0) / (gamma * square).max(1e-12);
            let room = |row: usize, sign: f64| if sign > 0.0 { self.upper[row] - a[row] } else { a[row] };
            step = step.min(room(i, self.y[i])).min(room(j, -self.y[j]));
            a[i] += self.y[i] * step;
            a[j] -= self.y[j] * step;
            for (place, v) in v.iter_mut().enumerate() {
                *v += step * (value(i, place) - value(j, place));
            }
        }
        let products = self.problem.x.iter().map(|x| (0..n).map(|row| a[row] * self.y[row] * x[row]).sum()).collect();
        let sum = a.iter().sum();
        (a, Point { sum, products })
    }

    /// The dual objective of a point for a set.
    fn value(&self, point: &Point, support: &[usize]) -> f64 {
        let squares: f64 = support.iter().map(|&neuron| point.products[neuron].powi(2)).sum();
        point.sum - 0.5 * self.problem.gamma * squares
    }

    /// Weights and bias of a set from its best dual point. The bias is the mean over the rows at the margin.
    fn weights(&self, support: &[usize], a: &[f64], point: &Point) -> (Vec<f64>, f64) {
        let weights: Vec<f64> = support.iter().map(|&neuron| self.problem.gamma * point.products[neuron]).collect();
        let at_margin = |row: &usize| a[*row] > 1e-9 && a[*row] < self.upper[*row] - 1e-9;
        let off = |row: usize| {
            let out: f64 = weights.iter().zip(support).map(|(w, &neuron)| w * self.problem.x[neuron][row]).sum();
            self.y[row] - out
        };
        let rows: Vec<usize> = (0..a.len()).filter(at_margin).collect();
        let bias = rows.iter().map(|&row| off(row)).sum::<f64>() / rows.len().max(1) as f64;
        (weights, bias)
    }
}

/// Which sets a node stands for: those with all of `within` and any others of `free`.
struct Node {
    within: Vec<usize>,
    free: Vec<usize>,
    bound: f64,
}

/// Finds the set of `k` neurons with the least loss; after `max_nodes` steps of the search the best that is known, with
/// the bound that is proved by then.
///
/// # Panics
/// If `k` is 0 or more than there are neurons, or a class has no row.
pub fn best_support(problem: &SparseProblem, k: usize, max_nodes: usize) -> SparseFit {
    let d = problem.x.len();
    assert!(k > 0 && k <= d, "from 1 to {d} neurons, not {k}");
    assert!(problem.has.iter().any(|&has| has) && problem.has.iter().any(|&has| !has), "rows of both classes");
    let dual = Dual::new(problem);
    let mut best = improve(&dual, greedy(&dual, k));
    let mut open = vec![Node { within: Vec::new(), free: (0..d).collect(), bound: f64::NEG_INFINITY }];
    let mut nodes = 0;
    let mut proved = f64::INFINITY;
    while let Some(mut node) = open.pop() {
        if node.bound >= best.0 * (1.0 - NEAR) {
            proved = proved.min(node.bound);
            continue;
        }
        if nodes >= max_nodes {
            proved = proved.min(node.bound);
            continue;
        }
        nodes += 1;
        if node.within.len() == k || node.within.len() + node.free.len() == k {
            let mut support = node.within;
            if support.len() < k {
                support.extend(node.free);
            }
            support.sort_unstable();
            let value = dual.value(&dual.solve(&support).1, &support);
            if value < best.0 {
                best = (value, support);
            }
            proved = proved.min(value);
            continue;
        }
        let (bound, branch, candidate) = bound(&dual, &node, k);
        node.bound = node.bound.max(bound);
        let value = dual.value(&dual.solve(&candidate).1, &candidate);
        if value < best.0 {
            best = (value, candidate);
        }
        if node.bound >= best.0 * (1.0 - NEAR) {
            proved = proved.min(node.bound);
            continue;
        }
        let free: Vec<usize> = node.free.iter().copied().filter(|&neuron| neuron != branch).collect();
        open.push(Node { within: node.within.clone(), free: free.clone(), bound: node.bound });
        let within = node.within.iter().copied().chain([branch]).collect();
        open.push(Node { within, free, bound: node.bound });
    }
    let (a, point) = dual.solve(&best.1);
    let (weights, bias) = dual.weights(&best.1, &a, &point);
    SparseFit { support: best.1, weights, bias, objective: best.0, bound: proved.min(best.0), nodes }
}

/// Neurons added one by one, each the one that lowers the loss most.
fn greedy(dual: &Dual<'_>, k: usize) -> (f64, Vec<usize>) {
    let mut support: Vec<usize> = Vec::new();
    let mut value = f64::INFINITY;
    for _ in 0..k {
        let with = |neuron: usize| {
            let mut support = support.clone();
            support.push(neuron);
            (dual.value(&dual.solve(&support).1, &support), neuron)
        };
        let candidates = (0..dual.problem.x.len()).filter(|neuron| !support.contains(neuron)).map(with);
        let best = candidates.fold((f64::INFINITY, 0), |best, one| if one.0 < best.0 { one } else { best });
        value = best.0;
        support.push(best.1);
    }
    support.sort_unstable();
    (value, support)
}

/// Exchanges one neuron for another while that lowers the loss.
fn improve(dual: &Dual<'_>, mut best: (f64, Vec<usize>)) -> (f64, Vec<usize>) {
    loop {
        let mut better = None;
        for place in 0..best.1.len() {
            for neuron in (0..dual.problem.x.len()).filter(|neuron| !best.1.contains(neuron)) {
                let mut support = best.1.clone();
                support[place] = neuron;
                support.sort_unstable();
                let value = dual.value(&dual.solve(&support).1, &support);
                if value < best.0 * (1.0 - NEAR) && better.as_ref().is_none_or(|(least, _)| value < *least) {
                    better = Some((value, support));
                }
            }
        }
        match better {
            Some(found) => best = found,
            None => return best,
        }
    }
}

/// A bound of all sets of a node, the neuron to divide it by, and a set that is likely good.
fn bound(dual: &Dual<'_>, node: &Node, k: usize) -> (f64, usize, Vec<usize>) {
    let left = k - node.within.len();
    let strongest = |point: &Point| {
        let mut free = node.free.clone();
        free.sort_by(|&a, &b| point.products[b].abs().total_cmp(&point.products[a].abs()).then_with(|| a.cmp(&b)));
        free
    };
    let together = |free: &[usize]| {
        let mut support: Vec<usize> = node.within.iter().chain(&free[..left]).copied().collect();
        support.sort_unstable();
        support
    };
    // All free neurons at once, then the mean of the best answers to the sets that are best for it.
    let all: Vec<usize> = node.within.iter().chain(&node.free).copied().collect();
    let mut mean = dual.solve(&all).1;
    let mut most = f64::NEG_INFINITY;
    let mut free = strongest(&mean);
    for round in 0..ROUNDS {
        let support = together(&free);
        most = most.max(dual.value(&mean, &support));
        let answer = dual.solve(&support).1;
        // The answer by itself is a dual point too.
        most = most.max(dual.value(&answer, &together(&strongest(&answer))));
        let share = 1.0 / (round as f64 + 2.0);
        mean.sum += share * (answer.sum - mean.sum);
        for (mean, answer) in mean.products.iter_mut().zip(&answer.products) {
            *mean += share * (answer - *mean);
        }
        free = strongest(&mean);
    }
    let support = together(&free);
    (most.max(dual.value(&mean, &support)), free[0], support)
}

#[cfg(test)]
mod tests {
    use nissl_testing::{Tol, assert_close};

    use super::*;
    use crate::random::Random;

    /// Rows whose class depends on neurons 2 and 5 together and on 7 a little.
    fn problem(seed: u64, d: usize) -> SparseProblem {
        let mut random = Random::new(seed);
        let n = 60;
        let x: Vec<Vec<f64>> = (0..d).map(|_| (0..n).map(|_| 2.0 * random.uniform() - 1.0).collect()).collect();
        let has = (0..n).map(|row| x[2][row] - x[5][row] + 0.3 * x[7][row] + 0.6 * random.uniform() > 0.3).collect();
        SparseProblem { x, has, gamma: 1.0 / (n as f64).sqrt() }
    }

    fn supports(d: usize, k: usize) -> Vec<Vec<usize>> {
        let mut all = vec![Vec::new()];
        for _ in 0..k {
            let longer = |support: &Vec<usize>| -> Vec<Vec<usize>> {
                let first = support.last().map_or(0, |last| last + 1);
                (first..d).map(|next| support.iter().copied().chain([next]).collect()).collect()
            };
            all = all.iter().flat_map(longer).collect();
        }
        all
    }

    #[test]
    fn the_support_is_that_of_all_tried_and_the_bound_is_proved() {
        for (seed, d, k) in [(1, 9, 1), (2, 10, 2), (3, 10, 3)] {
            let problem = problem(seed, d);
            let dual = Dual::new(&problem);
            let value = |support: &Vec<usize>| dual.value(&dual.solve(support).1, support);
            let all: Vec<f64> = supports(d, k).iter().map(value).collect();
            let want = all.iter().copied().fold(f64::INFINITY, f64::min);
            let fit = best_support(&problem, k, 10_000);
            assert_close("objective", &fit.objective, &want, Tol::rel(1e-5));
            assert!(fit.bound <= want * (1.0 + 1e-6) && fit.bound >= want * (1.0 - 1e-4), "{} {want}", fit.bound);
            assert_eq!((fit.support.len(), fit.weights.len()), (k, k));
        }
    }

    #[test]
    fn a_search_that_is_cut_short_still_bounds_the_loss() {
        let problem = problem(3, 10);
        let (whole, cut) = (best_support(&problem, 3, 10_000), best_support(&problem, 3, 1));
        assert!(cut.bound <= whole.objective * (1.0 + 1e-6), "{} above {}", cut.bound, whole.objective);
        assert!(cut.objective >= whole.objective * (1.0 - 1e-6) && cut.nodes == 1);
    }

    #[test]
    fn the_dual_is_the_loss_of_its_weights() {
        let problem = problem(4, 9);
        let dual = Dual::new(&problem);
        let support = [2, 5, 7];
        let (a, point) = dual.solve(&support);
        let (weights, bias) = dual.weights(&support, &a, &point);
        let margin: f64 = weights.iter().map(|w| w * w).sum::<f64>() / (2.0 * problem.gamma);
        let short = |row: usize| {
            let out: f64 = weights.iter().zip(&support).map(|(w, &neuron)| w * problem.x[neuron][row]).sum();
            dual.upper[row] * (1.0 - dual.y[row] * (out + bias)).max(0.0)
        };
        let loss: f64 = margin + (0..problem.has.len()).map(short).sum::<f64>();
        assert_close("loss", &loss, &dual.value(&point, &support), Tol::rel(1e-3));
    }
}
