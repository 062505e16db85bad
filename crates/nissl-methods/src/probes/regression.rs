//! Linear regression: a number from activations.

use nissl_core::{Concept, Context, LabeledActivations, MethodError};

use super::design::Design;
use super::inference::{Interval, bootstrap};
use super::linear::Loss;
use super::linear::solver::{Solver, outputs};
use super::parts::{Parts, split};
use super::split::Part;
use super::targets::Targets;
use super::trained::{Probe, TrainOptions};

const NAME: &str = "probe";

/// A probe of a number and what it reaches.
#[derive(Clone, Debug, PartialEq)]
pub struct Regressed {
    /// The probe, of one output.
    pub probe: Probe,
    /// Rows to fit on, to choose by, to report on.
    pub rows: [usize; 3],
    /// Objective of the fit: mean square of what it is off, plus penalties.
    pub objective: f64,
    /// How far it is above the minimum at most.
    pub gap: Option<f64>,
    /// Share of the variance that is explained, on the rows to report on.
    pub r2: Interval,
}

/// Fits the number `of` each row, called `name`, by least squares with the penalties of `options`; rows without a number
/// are left out. The labels of `data` are not looked at.
///
/// # Errors
/// If an option does not fit, a number is not finite, the activations cannot be read, or the user stops it.
pub fn regress(
    data: LabeledActivations<'_>,
    (name, of): (&str, &[Option<f64>]),
    options: &TrainOptions,
    ctx: Context<'_>,
) -> Result<Regressed, MethodError> {
    options.linear.check(NAME)?;
    if of.len() != data.x.n_tokens() {
        return Err(MethodError::Shape { what: "rows of the numbers", expected: data.x.n_tokens(), got: of.len() });
    }
    if let Some(value) = of.iter().flatten().find(|value| !value.is_finite()) {
        let (value, expected) = (value.to_string(), "finite numbers");
        return Err(MethodError::Parameter { method: NAME, name: "values", value, expected });
    }
    let of_split = split(data, options.split, ctx, NAME)?;
    let parts = Parts::new(&of_split, |row| of[row].is_some(), &[Part::Train, Part::Test], NAME)?;
    let values: Vec<f64> = parts.rows.iter().filter_map(|&row| of[row]).collect();
    let design = Design::new(data.x, ctx, NAME, parts.rows.clone(), parts.n_train)?;
    let targets = Targets::Numbers(values[..parts.n_train].to_vec());
    let solver = Solver::new(&design, Loss::Squared, &targets, None);
    let fit = solver.fit(options.linear.penalty(), options.linear.stop(), None)?;
    let test = parts.range(Part::Test);
    let z = outputs(&design, &fit.weights, &fit.bias, test.clone())?;
    let mut groups: Vec<(usize, Vec<f64>)> = Vec::new();
    for ((&row, z), y) in parts.of(Part::Test).iter().zip(&z).zip(&values[test]) {
        let sentence = data.text.map_or(row, |text| text.sentence_of()[row] as usize);
        if groups.last().is_none_or(|(last, _)| *last != sentence) {
            groups.push((sentence, vec![0.0; 4]));
        }
        if let Some((_, sums)) = groups.last_mut() {
            let of_row = [(y - z) * (y - z), *y, y * y, 1.0];
            sums.iter_mut().zip(of_row).for_each(|(sum, value)| *sum += value);
        }
    }
    let groups: Vec<Vec<f64>> = groups.into_iter().map(|(_, sums)| sums).collect();
    let explained = |sums: &[f64]| {
        let variance = sums[2] - sums[1] * sums[1] / sums[3].max(1.0);
        if variance > 0.0 { 1.0 - sums[0] / variance } else { 0.0 }
    };
    let neurons = data.x.neurons().to_vec();
    Ok(Regressed {
        probe: Probe {
            concepts: vec![Concept::new(name)],
            loss: Loss::Squared,
            weights: ndarray::Array2::from_shape_fn((1, neurons.len()), |(_, neuron)| fit.weights[neuron] as f32),
            neurons,
            mean: design.scales().iter().map(|scale| scale.0).collect(),
            inverse_deviation: design.scales().iter().map(|scale| scale.1).collect(),
            bias: fit.bias,
        },
        rows: [Part::Train, Part::Dev, Part::Test].map(|part| parts.of(part).len()),
        objective: fit.objective,
        gap: fit.gap,
        r2: bootstrap(&groups, explained, options.draws, options.split.seed),
    })
}

#[cfg(test)]
mod tests {
    use nissl_testing::PlantedActivations;
    use nissl_testing::planted::key;

    use super::*;
    use crate::probes::LinearOptions;

    #[test]
    fn the_position_is_read_off_its_neuron() {
        let planted = PlantedActivations::new(0, 0.1);
        let data = LabeledActivations::new(&planted.x, &planted.tag).expect("labels");
        let data = data.with_text(&planted.text).expect("words");
        let of: Vec<Option<f64>> = planted.relative_position.iter().map(|&value| Some(value as f64)).collect();
        let linear = LinearOptions { lambda1: 0.05, ..LinearOptions::default() };
        let options = TrainOptions { linear, draws: 200, ..TrainOptions::default() };
        let found = regress(data, ("position", &of), &options, Context::default()).expect("numbers can be fitted");
        let weights = found.probe.weights.row(0);
        let best = (0..weights.len()).max_by(|&a, &b| weights[a].abs().total_cmp(&weights[b].abs()));
        assert_eq!(best, Some(key::POSITION));
        assert!(found.r2.low > 0.9 && found.r2.high <= 1.0, "{:?}", found.r2);
        assert!(found.gap.is_some_and(|gap| gap <= 1e-4 * found.objective));
        let coin: Vec<Option<f64>> =
            planted.register.mask(0).iter().map(|&high| Some(f64::from(u8::from(high)))).collect();
        let noise = crate::probes::ChosenNeurons::new(&planted.x, &key::NOISE.collect::<Vec<_>>());
        let data = LabeledActivations { x: &noise, ..data };
        let nothing = regress(data, ("coin", &coin), &options, Context::default()).expect("numbers can be fitted");
        assert!(nothing.r2.low < 0.01, "{:?}", nothing.r2);
    }
}
