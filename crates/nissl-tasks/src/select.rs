//! Which hook points a user means by `resid`, `2-4.mlp` or `blocks.3.mlp.hook_post`.

use std::ops::RangeInclusive;

use nissl_core::{HookPoint, PlanError, Site, Stack, nearest};
use nissl_store::{Selection, Store};

use crate::error::TaskError;

/// A name for several sites at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteGroup {
    /// The name on the command line.
    pub name: &'static str,
    /// What it stands for.
    pub summary: &'static str,
    /// Its sites; none means all that are neither ragged nor twice.
    sites: &'static [Site],
}

/// Every group.
pub const GROUPS: &[SiteGroup] = &[
    SiteGroup {
        name: "resid",
        summary: "the residual stream: what enters the first block and what leaves each (embed, resid_post)",
        sites: &[Site::Embed, Site::ResidPost],
    },
    SiteGroup { name: "mlp", summary: "the MLP neurons after their activation function", sites: &[Site::MlpPost] },
    SiteGroup { name: "attn", summary: "the attention heads' weighted sums of values", sites: &[Site::AttnZ] },
    SiteGroup {
        name: "mixer",
        summary: "what enters the output projection of a mixer with a state (RWKV, Mamba)",
        sites: &[Site::MixerZ],
    },
    SiteGroup {
        name: "lstm",
        summary: "the gates, cells and states of LSTM layers",
        sites: &[Site::LstmM, Site::LstmI, Site::LstmF, Site::LstmG, Site::LstmO, Site::LstmC, Site::LstmH],
    },
    SiteGroup {
        name: "gru",
        summary: "the gates, candidates and states of GRU layers",
        sites: &[Site::GruR, Site::GruZ, Site::GruN, Site::GruH],
    },
    SiteGroup {
        name: "ssru",
        summary: "the gates, candidates, cells and states of SSRU layers",
        sites: &[Site::SsruF, Site::SsruG, Site::SsruC, Site::SsruH],
    },
    SiteGroup {
        name: "all",
        summary: "every site but the attention patterns and resid_pre, which is the resid_post before it",
        sites: &[],
    },
];

/// Those of `points`, the hook points of a model or store called `owner`, that `specs` name; in order of the forward
/// pass, each once.
///
/// A spec is a group (`resid`), a site (`mlp_post`, `mlp.hook_post`), either of them in some layers (`2-4.mlp`,
/// `blocks.0-1.mlp.hook_post`), or a hook point (`blocks.3.mlp.hook_post`). Of models with an encoder and a decoder,
/// `encoder.` or `decoder.` before any of them means those of one (`decoder.2-4.mlp`).
///
/// # Errors
/// If a spec names nothing that is there, or nothing of fixed width.
pub fn select(owner: &str, points: &[HookPoint], specs: &[String]) -> Result<Vec<HookPoint>, TaskError> {
    let mut selected = Vec::new();
    for spec in specs.iter().flat_map(|spec| spec.split(',')).map(str::trim).filter(|spec| !spec.is_empty()) {
        selected.extend(select_one(owner, points, spec)?);
    }
    if selected.is_empty() {
        return Err(TaskError::config("sites", "at least one site, such as resid or mlp", "none"));
    }
    selected.sort_unstable();
    selected.dedup();
    Ok(selected)
}

/// The activations of a store at the sites that `specs` name; at all of them if none is given.
///
/// # Errors
/// As [`select`].
pub(crate) fn recorded(store: &Store, specs: &[String]) -> Result<Selection, TaskError> {
    if specs.is_empty() {
        return Ok(store.all());
    }
    let points: Vec<HookPoint> = store.points().map(|(point, _)| point).collect();
    Ok(store.select(&select(&store.path().display().to_string(), &points, specs)?)?)
}

fn select_one(owner: &str, points: &[HookPoint], spec: &str) -> Result<Vec<HookPoint>, TaskError> {
    let mut prefixed = [Stack::Encoder, Stack::Decoder].into_iter();
    let stack = prefixed.find(|stack| spec.starts_with(stack.prefix()));
    let own: Vec<HookPoint>;
    let (points, rest) = match stack {
        Some(stack) => {
            own = points.iter().copied().filter(|point| point.stack() == stack).collect();
            (own.as_slice(), &spec[stack.prefix().len()..])
        }
        None => (points, spec),
    };
    if let (Some(_), []) = (stack, points) {
        return Err(TaskError::config("sites", format!("sites that {owner} has here"), spec));
    }
    let (layers, name) = split_layers(rest);
    let n_layers = points.iter().filter_map(|point| point.layer()).max().map_or(0, |last| last + 1);
    if let Some(layer) = layers.as_ref().map(|layers| *layers.end())
        && layer >= n_layers
    {
        return Err(unknown_layer(owner, n_layers, layer, name));
    }
    let in_layers = |point: &HookPoint| match (&layers, point.layer()) {
        (None, _) => true,
        (Some(layers), Some(layer)) => layers.contains(&layer),
        (Some(_), None) => false,
    };
    let wanted = |site: Site| match GROUPS.iter().find(|group| group.name == name) {
        Some(group) => group.contains(site),
        None => name.parse() == Ok(site),
    };
    let found: Vec<HookPoint> =
        points.iter().copied().filter(|point| wanted(point.site()) && in_layers(point)).collect();
    if let Some(point) = found.iter().find(|point| point.site().is_ragged()) {
        let expected = "a site whose rows all have one width";
        return Err(TaskError::config("sites", expected, format!("{point}, one row of keys a query")));
    }
    if found.is_empty() { Err(unknown(owner, points, spec, name)) } else { Ok(found) }
}

/// The names of the groups that contain a site.
pub(crate) fn groups_of(site: Site) -> impl Iterator<Item = &'static str> {
    GROUPS.iter().filter(move |group| group.contains(site)).map(|group| group.name)
}

impl SiteGroup {
    fn contains(&self, site: Site) -> bool {
        if self.sites.is_empty() { !site.is_ragged() && site != Site::ResidPre } else { self.sites.contains(&site) }
    }
}

/// `blocks.2-4.mlp` is layers 2 to 4 and `mlp`; `mlp` has no layers.
fn split_layers(spec: &str) -> (Option<RangeInclusive<u16>>, &str) {
    let rest = spec.strip_prefix("blocks.").unwrap_or(spec);
    let Some((layers, name)) = rest.split_once('.') else { return (None, spec) };
    let (first, last) = layers.split_once('-').unwrap_or((layers, layers));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => (Some(first..=last), name),
        _ => (None, spec),
    }
}

fn unknown_layer(owner: &str, n_layers: u16, layer: u16, name: &str) -> TaskError {
    let last = n_layers.saturating_sub(1);
    match name.parse::<Site>() {
        Ok(site) if site.in_block() => PlanError::UnknownPoint {
            point: HookPoint::new(layer, site),
            model: owner.to_owned(),
            nearest: Some(HookPoint::new(last, site).to_string()),
        }
        .into(),
        _ => TaskError::config("sites", format!("a layer from 0 to {last}"), format!("{layer} in '{layer}.{name}'")),
    }
}

fn unknown(owner: &str, points: &[HookPoint], spec: &str, name: &str) -> TaskError {
    let there = |group: &&SiteGroup| points.iter().any(|point| group.contains(point.site()));
    let groups: Vec<String> = GROUPS.iter().filter(there).map(|group| group.name.to_owned()).collect();
    let sites = points.iter().flat_map(|point| [point.site().short(), point.site().name().to_owned()]);
    TaskError::UnknownSite {
        owner: owner.to_owned(),
        name: spec.to_owned(),
        nearest: nearest(name, groups.iter().cloned().chain(sites)).or_else(|| Some(groups.join(" or "))),
    }
}

#[cfg(test)]
mod tests;
