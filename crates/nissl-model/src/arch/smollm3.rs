//! SmolLM3: Llama with layers that know nothing of positions.

use super::positions::windows;
use super::{Architecture, Config, Family, Positions, llama};
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "smollm3",
    model_types: &["smollm3"],
    summary: "as Llama, some layers without positions",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    let mut spec = llama::spec(config)?;
    let bias = config.flag_or("attention_bias", false)?;
    spec.qkv.iter_mut().chain([&mut spec.attn_out]).for_each(|part| part.bias = bias);
    let bias = config.flag_or("mlp_bias", false)?;
    [&mut spec.mlp_in, &mut spec.mlp_out].into_iter().chain(&mut spec.mlp_linear).for_each(|part| part.bias = bias);
    let n_layers = spec.n_layers;
    // Of layers with a window, and the pattern that the list spells out.
    config.pass_over(&["sliding_window", "max_window_layers", "layer_types", "no_rope_layer_interval"]);
    let turns: Vec<bool> = if config.get("no_rope_layers").is_some() {
        config.numbers("no_rope_layers")?.into_iter().map(|turns| turns > 0.0).collect()
    } else {
        let every = config.size_or("no_rope_layer_interval", 4)?.max(1);
        (0..n_layers).map(|layer| !(layer + 1).is_multiple_of(every)).collect()
    };
    if turns.len() != n_layers {
        return Err(config.wrong("no_rope_layers", format!("one for each of {n_layers} layers"), turns.len()));
    }
    if let Positions::Rotary(layers) = &mut spec.positions {
        layers.iter_mut().zip(&turns).filter(|(_, turns)| !**turns).for_each(|(layer, _)| *layer = None);
    }
    if config.flag_or("use_sliding_window", false)? {
        spec.windows = windows(config, n_layers, |layer| !turns[layer])?;
    }
    Ok(Architecture::Transformer(spec))
}
