//! Gemma 3 (text): Gemma 2 with norms of queries and keys, and rotations of their own in layers that look at a window.

use super::positions::{rope_of, sliding, windows};
use super::{Architecture, Config, Family, Positions, QkNorms, Spec, gemma2};
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "gemma3_text",
    model_types: &["gemma3_text"],
    summary: "as Gemma 2, norms of queries and keys, other rotations in layers with a window",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    // The rotations are those of the two kinds of layers.
    let spec = gemma2::spec(&config.without("rope_parameters"), (None, None))?;
    let every = config.size_or("sliding_window_pattern", 6)?.max(1);
    let slides = |layer: usize| !(layer + 1).is_multiple_of(every);
    let groups = config.group("rope_parameters")?;
    let group = |name: &str| groups.as_ref().map_or(Ok(None), |groups| groups.group(name));
    let global = group("full_attention")?.map_or_else(|| config.group("rope_scaling"), |group| Ok(Some(group)))?;
    let theta = |field: &str, default| config.number_or(field, default);
    let global = rope_of(config, global.as_ref(), spec.d_head, (theta("rope_theta", 1_000_000.0)?, 1.0))?;
    let local = group("sliding_attention")?;
    let local = rope_of(config, local.as_ref(), spec.d_head, (theta("rope_local_base_freq", 10_000.0)?, 1.0))?;
    let rotations = sliding(config, spec.n_layers, slides)?;
    let rotations = rotations.into_iter().map(|slides| if slides { &local } else { &global });
    Ok(Architecture::Transformer(Spec {
        positions: Positions::Rotary(rotations.map(|rope| Some(rope.rotation.clone())).collect()),
        windows: windows(config, spec.n_layers, slides)?,
        qk_norms: Some(QkNorms { q: "layers.{}.self_attn.q_norm", k: "layers.{}.self_attn.k_norm", joint: false }),
        ..spec
    }))
}
