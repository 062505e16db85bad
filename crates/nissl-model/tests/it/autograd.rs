//! Gradients at every site and of every parameter of small random models against PyTorch's autograd in float64.

use ndarray::ArrayView2;
use nissl_core::{HookPlan, HookPoint, Model, Objective};

use crate::parity::{self, Fixture, golden};

/// Models that have no gradients in their fixtures.
const WITHOUT: [&str; 2] = ["char-rnn", "textgenrnn"];

fn models() -> impl Iterator<Item = &'static str> {
    parity::models().filter(|name| !WITHOUT.contains(name))
}

/// Gradients must agree within this share of the largest one of the site, or of the parameter.
const TOLERANCE: f32 = 1e-5;

fn load(family: &str) -> Fixture {
    Fixture::of_file(family, "gradients.safetensors")
}

#[test]
fn gradients_at_every_site_equal_autograds() {
    for family in models() {
        let fixture = load(family);
        let text = std::fs::read_to_string(golden(family).join("gradients.json")).unwrap();
        let objectives: Vec<Objective> = serde_json::from_str(&text).unwrap();
        assert_eq!(objectives.len(), 2, "{family}");
        let has = |point: &HookPoint| fixture.expected.names().any(|name| name.starts_with(&format!("0.{point}")));
        let points: Vec<HookPoint> = fixture.model.info().points().map(|(point, _)| point).filter(has).collect();
        assert!(points.len() >= 3, "{family}: gradients of three sites");
        for (i, objective) in objectives.iter().enumerate() {
            let one = std::slice::from_ref(objective);
            let gradients = fixture.model.gradients(&fixture.batch, &HookPlan::default(), one, &points).unwrap();
            let values: Vec<f32> = gradients.values.iter().map(|value| *value as f32).collect();
            let values = ArrayView2::from_shape((values.len(), 1), &values).unwrap();
            fixture.check(&format!("{i}.values"), &values, TOLERANCE);
            let known = |name: &str| fixture.expected.names().any(|known| known.starts_with(name));
            let checked: Vec<&HookPoint> = points.iter().filter(|point| known(&format!("{i}.{point}"))).collect();
            assert!(checked.len() > 2, "{family}: some points are checked");
            for point in checked {
                if let Some(values) = gradients.sites.get(point) {
                    fixture.check(&format!("{i}.{point}"), &values.view(), TOLERANCE);
                }
                for (sentence, pattern) in gradients.patterns.get(point).into_iter().flatten().enumerate() {
                    let (heads, queries, keys) = pattern.dim();
                    let flat = pattern.view().into_shape_with_order((heads, queries * keys)).unwrap();
                    fixture.check(&format!("{i}.{point}.{sentence}"), &flat, TOLERANCE);
                }
            }
        }
    }
}

#[test]
fn gradients_of_every_parameter_equal_autograds() {
    for family in models() {
        let fixture = load(family);
        if !fixture.expected.contains("loss") {
            continue; // gradients of activations alone
        }
        let targets: Vec<Option<u32>> =
            fixture.whole("targets").into_iter().map(|target| u32::try_from(target).ok()).collect();
        let found = fixture.model.parameter_gradients(&fixture.batch, &targets).unwrap();
        let loss = fixture.values("loss")[[0, 0]];
        assert!((found.loss as f32 - loss).abs() < 1e-5 * loss, "{family}: {} and {loss}", found.loss);
        let known: Vec<&str> = fixture.expected.names().filter_map(|name| name.strip_prefix("parameter.")).collect();
        if known.is_empty() {
            continue;
        }
        assert_eq!(known, found.gradients.keys().collect::<Vec<_>>(), "{family}");
        for (name, gradient) in &found.gradients {
            let want = fixture.values(&format!("parameter.{name}"));
            // The gradient of a bias of keys is a sum that is zero but for rounding: it is as exact as its matrix's.
            let matrix = format!("parameter.{}", name.replace(".bias", ".weight"));
            let matrix = fixture.expected.contains(&matrix).then(|| fixture.values(&matrix));
            let largest = want.iter().chain(matrix.iter().flatten()).fold(0.0f32, |most, v| most.max(v.abs()));
            assert_eq!(gradient.len(), want.len(), "{family} {name}");
            for (at, (got, want)) in gradient.iter().zip(&want).enumerate() {
                let off = (got - want).abs() / largest;
                assert!(off <= TOLERANCE, "{family} {name}[{at}]: got {got}, want {want}: {off:.1e} of {largest}");
            }
        }
    }
}
