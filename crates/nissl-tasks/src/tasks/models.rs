//! Which model families nissl can load, and what each is like.

use nissl_core::{HookPoint, Progress, Site, Stack, nearest};
use nissl_model::{FAMILIES, Family, FieldUse, LOGITS_TOLERANCE, SITE_TOLERANCE};
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::report::{Head, head};

/// One sentence about the task.
pub const SUMMARY: &str = "List the model families that can be loaded, or what one of them is like";

/// Which families.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The name of a family, or a `model_type` that belongs to it; all families if `None`.
    pub family: Option<String>,
}

/// The families.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// How far a site of any family may be from its reference, as a share of the largest value there.
    pub site_tolerance: f32,
    /// The same of logits.
    pub logits_tolerance: f32,
    /// One entry a family.
    pub families: Vec<FamilyReport>,
}

/// A family of architectures that load and run alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FamilyReport {
    /// Its name.
    pub name: String,
    /// The `model_type`s of config.json that belong to it.
    pub model_types: Vec<String>,
    /// One sentence.
    pub summary: String,
    /// Which head gives the logits.
    pub head: String,
    /// What its layers are made of.
    pub components: Vec<String>,
    /// The formats of weights that are read for it.
    pub formats: Vec<String>,
    /// Its sites, in order of the forward pass.
    pub sites: Vec<SiteReport>,
    /// The fields of config.json that it knows; besides, those that change no number in any family.
    pub fields: Vec<FieldReport>,
}

/// A site of a family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteReport {
    /// Its short name, behind that of the stack where there are two: `mlp_post`, `decoder.mlp_post`.
    pub name: String,
    /// Its TransformerLens name in the first layer.
    pub point: String,
}

/// A field of config.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldReport {
    /// Its name.
    pub name: String,
    /// What the family makes of it.
    #[serde(rename = "use")]
    pub what: FieldKind,
    /// The only value that is known, as JSON.
    pub only: Option<String>,
}

/// What a family makes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// The model depends on it.
    Read,
    /// Any other value is refused.
    Only,
    /// It changes no number.
    PassedOver,
}

/// What layers are made of, each known by a site.
const COMPONENTS: &[(Site, &str)] = &[
    (Site::AttnZ, "attn"),
    (Site::CrossZ, "cross"),
    (Site::MixerZ, "mixer"),
    (Site::LstmC, "lstm"),
    (Site::GruH, "gru"),
    (Site::SsruC, "ssru"),
    (Site::MlpRouter, "experts"),
    (Site::MlpPost, "mlp"),
];

/// Lists the families.
///
/// # Errors
/// If there is no family of that name.
pub fn run(config: &Config, _progress: &dyn Progress) -> Result<Report, TaskError> {
    let families: Vec<&Family> = match &config.family {
        None => FAMILIES.iter().collect(),
        Some(name) => vec![named(name)?],
    };
    Ok(Report {
        head: head("models", config),
        site_tolerance: SITE_TOLERANCE,
        logits_tolerance: LOGITS_TOLERANCE,
        families: families.into_iter().map(report).collect(),
    })
}

fn named(name: &str) -> Result<&'static Family, TaskError> {
    let found = FAMILIES.iter().find(|family| family.name == name);
    found.or_else(|| FAMILIES.iter().find(|family| family.model_types.contains(&name))).ok_or_else(|| {
        let known =
            FAMILIES.iter().flat_map(|family| [family.name].into_iter().chain(family.model_types.iter().copied()));
        let near = nearest(name, known).map_or(String::new(), |near| format!("; did you mean {near}?"));
        TaskError::config("family", "the name of a family or a model_type", format!("{name}{near}"))
    })
}

fn report(family: &Family) -> FamilyReport {
    let outline = family.outline();
    let site = |&(stack, site): &(Stack, Site)| SiteReport {
        name: format!("{}{}", stack.prefix(), site.short()),
        point: HookPoint::of(stack, 0, site).to_string(),
    };
    let field = |(name, what): (String, FieldUse)| {
        let (what, only) = match what {
            FieldUse::Read => (FieldKind::Read, None),
            FieldUse::Only(value) => (FieldKind::Only, Some(value)),
            FieldUse::PassedOver => (FieldKind::PassedOver, None),
        };
        FieldReport { name, what, only }
    };
    let has = |wanted: Site| outline.sites.iter().any(|(_, site)| *site == wanted);
    FamilyReport {
        name: family.name.to_owned(),
        model_types: family.model_types.iter().map(ToString::to_string).collect(),
        summary: family.summary.to_owned(),
        head: family.head.to_owned(),
        components: COMPONENTS.iter().filter(|(site, _)| has(*site)).map(|(_, name)| (*name).to_owned()).collect(),
        formats: family.formats().into_iter().map(str::to_owned).collect(),
        sites: outline.sites.iter().map(site).collect(),
        fields: outline.fields.into_iter().map(field).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use nissl_core::NoProgress;

    use super::*;

    fn of(name: &str) -> FamilyReport {
        let config = Config { family: Some(name.to_owned()) };
        run(&config, &NoProgress).unwrap().families.remove(0)
    }

    #[test]
    fn every_family_has_sites_components_and_formats() {
        let all = run(&Config::default(), &NoProgress).unwrap().families;
        assert_eq!(all.len(), FAMILIES.len());
        for family in all {
            assert!(family.sites.len() > 3 && !family.components.is_empty(), "{}", family.name);
            assert!(family.formats.contains(&"safetensors".to_owned()), "{}", family.name);
        }
    }

    #[test]
    fn a_family_is_found_by_a_model_type_and_told_from_others() {
        assert_eq!(of("xlm-roberta").name, "roberta");
        assert_eq!(of("mixtral").components, ["attn", "experts", "mlp"]);
        assert_eq!(of("mlstm").components, ["lstm"]);
        assert!(of("mlstm").sites.iter().any(|site| site.name == "lstm_m"));
        assert!(of("t5").sites.iter().any(|site| site.name == "decoder.cross_attn_z"));
        assert!(of("llama").formats.contains(&"GGUF".to_owned()) && !of("bert").formats.contains(&"GGUF".to_owned()));
        let field = of("gru").fields.into_iter().find(|field| field.name == "proj_size").unwrap();
        assert_eq!((field.what, field.only.as_deref()), (FieldKind::Only, Some("0")));
        let said = run(&Config { family: Some("lama".to_owned()) }, &NoProgress).unwrap_err().to_string();
        assert!(said.contains("did you mean llama?"), "{said}");
    }
}
