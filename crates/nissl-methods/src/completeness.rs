//! Whether attributions sum to what they should: to the effect of what they are shared out from.

use nissl_core::HookPoint;

/// Of the sums that were seen, the one that is off its effect most, by its share of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Completeness(Option<Worst>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Worst {
    prompt: usize,
    /// The place of its point among those of the study.
    layer: usize,
    sum: f64,
    effect: f64,
}

impl Worst {
    fn share(&self) -> f64 {
        (self.sum - self.effect).abs() / self.effect.abs().max(f64::MIN_POSITIVE)
    }
}

impl Completeness {
    /// Looks at the sum of a prompt's attributions at a point of the study.
    pub(crate) fn see(&mut self, (prompt, layer): (usize, usize), sum: f64, effect: f64) {
        let seen = Worst { prompt, layer, sum, effect };
        if self.0.is_none_or(|worst| seen.share() > worst.share()) {
            self.0 = Some(seen);
        }
    }

    /// As numbers, to be kept.
    pub(crate) fn numbers(&self) -> Vec<f64> {
        let numbers = |Worst { prompt, layer, sum, effect }: &Worst| [*prompt as f64, *layer as f64, *sum, *effect];
        self.0.iter().flat_map(numbers).collect()
    }

    /// From what was kept; `None` if it is something else.
    pub(crate) fn of_numbers(numbers: &[f64]) -> Option<Self> {
        match *numbers {
            [] => Some(Self(None)),
            [prompt, layer, sum, effect] => {
                Some(Self(Some(Worst { prompt: prompt as usize, layer: layer as usize, sum, effect })))
            }
            _ => None,
        }
    }

    /// What is told of it, `what` being the sums and what they should be; nothing if no sum was seen.
    pub(crate) fn told(&self, what: &str, points: &[(HookPoint, usize)]) -> Option<String> {
        let worst = self.0?;
        let Worst { prompt, layer, sum, effect } = worst;
        let (point, _) = points.get(layer)?;
        Some(format!(
            "completeness: {what} within {:.2}% (worst: prompt {prompt}, {point}, sum {sum:.6}, effect {effect:.6})",
            100.0 * worst.share()
        ))
    }
}
