//! Neurons and scores as they are shown; every form is read back by the commands.

use nissl_core::{HookPoint, NeuronId};

/// `3.mlp_post[1207]` for `blocks.3.mlp.hook_post[1207]`.
pub(crate) fn short(neuron: NeuronId) -> String {
    format!("{}[{}]", point(neuron.point), neuron.idx)
}

/// `3.mlp_post` for `blocks.3.mlp.hook_post`.
pub(crate) fn point(point: HookPoint) -> String {
    let stack = point.stack().prefix();
    match point.layer() {
        Some(layer) => format!("{stack}{layer}.{}", point.site()),
        None => format!("{stack}{}", point.site()),
    }
}

/// Three significant digits, so that columns line up.
pub(crate) fn score(score: f32) -> String {
    let size = score.abs();
    if size >= 100.0 {
        format!("{score:.0}")
    } else if size >= 10.0 {
        format!("{score:.1}")
    } else if size >= 1.0 {
        format!("{score:.2}")
    } else {
        format!("{score:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_read_back() {
        for name in [
            "blocks.3.mlp.hook_post[1207]",
            "hook_embed[0]",
            "ln_final.hook_normalized[7]",
            "decoder.1.cross_attn.hook_z[2]",
        ] {
            let neuron: NeuronId = name.parse().unwrap();
            assert_eq!(short(neuron).parse(), Ok(neuron), "{name}");
        }
    }
}
