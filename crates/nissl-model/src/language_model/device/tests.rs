#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;

use nissl_core::{Batch, HookPlan, Model, NoProgress};

use super::*;
use crate::LanguageModel;
use crate::arch::FAMILIES;
use crate::options::LoadOptions;

fn load(family: &str, device: Device) -> Result<LanguageModel, LoadError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models").join(family);
    let options = LoadOptions { device, ..LoadOptions::default() };
    LanguageModel::load_with(&folder.display().to_string(), &options, &NoProgress)
}

#[test]
fn a_model_on_a_device_gives_the_numbers_of_the_cpu() {
    for family in FAMILIES {
        let (ours, there) = (load(family.name, Device::Cpu).unwrap(), load(family.name, Device::compared()).unwrap());
        let info = ours.info();
        let token = |i: usize| (i * 31 % info.d_vocab) as u32;
        let mut batch = Batch::new();
        for n in [5, 1, 12] {
            let sentence: Vec<u32> = (0..n).map(|i| token(i + n)).collect();
            if info.encoder.is_some() {
                batch.push_pair(&sentence, &sentence[..n.div_ceil(2)]);
            } else {
                batch.push(&sentence);
            }
        }
        let points: Vec<_> = info.points().map(|(point, _)| point).filter(|point| !point.site().is_ragged()).collect();
        for output in [Output::All, Output::Last] {
            let plan = HookPlan { capture: points.clone(), output, ..HookPlan::default() };
            let (want, got) = (ours.run(&batch, &plan).unwrap(), there.run(&batch, &plan).unwrap());
            let pairs = points.iter().map(|point| (&want.sites[point], &got.sites[point]));
            for (want, got) in pairs.chain([(want.logits.as_ref().unwrap(), got.logits.as_ref().unwrap())]) {
                assert_eq!(want.dim(), got.dim());
                let scale = want.iter().fold(0.0f32, |most, v| most.max(v.abs()));
                let off = want.iter().zip(got).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
                assert!(off <= 1e-5 * scale, "{}: {off} of {scale}", family.name);
            }
        }
    }
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    let missing = if cfg!(feature = "metal") { Device::Cuda } else { Device::Metal };
    let err = load("gpt2", missing).err().unwrap().to_string();
    assert!(err.starts_with(&format!("device {}: ", missing.name())), "{err}");
}
