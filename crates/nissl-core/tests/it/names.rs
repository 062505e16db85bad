//! Names of sites, hook points and neurons, and the nearest name to a misspelt one.

use std::collections::BTreeMap;

use nissl_core::{HookPoint, NeuronId, Site, nearest, site_columns};
use proptest::prelude::*;

/// Any site.
pub(crate) fn site() -> impl Strategy<Value = Site> {
    proptest::sample::select(Site::all().collect::<Vec<_>>())
}

/// Any hook point.
pub(crate) fn point() -> impl Strategy<Value = HookPoint> {
    (site(), 0..500_u16).prop_map(|(site, layer)| HookPoint::new(layer, site))
}

/// Every way to write a site's name.
fn spellings(site: Site) -> Vec<String> {
    [Some(site.name().to_owned()), site.alias().map(str::to_owned), Some(site.short())].into_iter().flatten().collect()
}

#[test]
fn no_name_is_that_of_two_sites() {
    let mut owner = BTreeMap::new();
    for site in Site::all() {
        for name in spellings(site) {
            assert_eq!(*owner.entry(name.clone()).or_insert(site), site, "{name}");
        }
    }
    assert_eq!(Site::all().len(), 51);
}

#[test]
fn sites_are_in_the_order_of_the_forward_pass() {
    let sites: Vec<Site> = Site::all().collect();
    assert!(sites.is_sorted(), "{sites:?}");
    let points = ["hook_embed", "blocks.0.hook_resid_pre", "blocks.0.mlp.hook_post", "blocks.1.hook_resid_pre"];
    let points: Vec<HookPoint> = points
        .iter()
        .chain(&["blocks.65535.hook_resid_post", "ln_final.hook_normalized"])
        .map(|n| n.parse().unwrap())
        .collect();
    assert!(points.is_sorted(), "{points:?}");
}

#[test]
fn both_generations_of_names_and_the_short_ones_are_read() {
    let cases = [
        ("blocks.3.mlp.hook_post", "blocks.3.mlp.hook_post"),
        ("blocks.3.mlp.out.hook_in", "blocks.3.mlp.hook_post"),
        ("3.mlp_post", "blocks.3.mlp.hook_post"),
        ("blocks.0.hook_in", "blocks.0.hook_resid_pre"),
        ("blocks.11.hook_out", "blocks.11.hook_resid_post"),
        ("blocks.2.attn.hook_out", "blocks.2.hook_attn_out"),
        ("blocks.2.attn.q.hook_out", "blocks.2.attn.hook_q"),
        ("embed", "hook_embed"),
        ("embed.hook_out", "hook_embed"),
        ("ln_final.hook_out", "ln_final.hook_normalized"),
        ("final_norm", "ln_final.hook_normalized"),
    ];
    for (text, want) in cases {
        assert_eq!(text.parse::<HookPoint>().unwrap().to_string(), want, "{text}");
    }
}

#[test]
fn what_is_no_name_is_refused_with_the_nearest() {
    let point = |text: &str| text.parse::<HookPoint>().unwrap_err().to_string();
    assert_eq!(point("blocks.3.mlp.hook_pst"), "no site is called 'mlp.hook_pst'; did you mean mlp.hook_post?");
    assert_eq!(point("3.mlp_psot"), "no site is called 'mlp_psot'; did you mean mlp_post?");
    assert_eq!(point("hook_embd"), "no hook point is called 'hook_embd'; did you mean hook_embed?");
    // Sites of a block need a layer, sites outside have none; a layer is a small number.
    for text in ["mlp.hook_post", "blocks.mlp.hook_post", "blocks.3.hook_embed", "blocks.70000.mlp.hook_post", "", "3."]
    {
        assert!(text.parse::<HookPoint>().is_err(), "{text}");
    }
    for text in
        ["blocks.3.mlp.hook_post", "blocks.3.mlp.hook_post[]", "3.mlp_post[-1]", "3.mlp_post[4294967296]", "[1]"]
    {
        let err = text.parse::<NeuronId>().unwrap_err();
        assert!(!err.to_string().is_empty(), "{text}");
    }
    let neuron = "3.mlp_post(7)".parse::<NeuronId>().unwrap_err().to_string();
    assert_eq!(neuron, "no neuron is called '3.mlp_post(7)'; did you mean the form blocks.3.mlp.hook_post[1207]?");
}

#[test]
fn columns_of_sites_stand_side_by_side() {
    let columns = site_columns(&["0.mlp_post", "0.resid_post"].map(|name| (name.parse().unwrap(), 2)));
    let names: Vec<String> = columns.iter().map(NeuronId::to_string).collect();
    let want = ["mlp.hook_post[0]", "mlp.hook_post[1]", "hook_resid_post[0]", "hook_resid_post[1]"];
    assert_eq!(names, want.map(|name| format!("blocks.0.{name}")));
}

#[test]
fn a_near_name_is_suggested_and_a_far_one_is_not() {
    let candidates = ["probeless", "average-precision", "top-words"];
    let cases = [
        ("probless", Some("probeless")),
        ("PROBELESS", Some("probeless")),
        ("porbeless", Some("probeless")),
        ("average", Some("average-precision")),
        ("top-wrods", Some("top-words")),
        ("banana", None),
        ("", None),
    ];
    for (name, want) in cases {
        assert_eq!(nearest(name, candidates).as_deref(), want, "{name}");
    }
    assert_eq!(nearest("x", Vec::<String>::new()), None);
}

proptest! {
    #[test]
    fn every_spelling_of_a_site_is_read(site in site()) {
        for name in spellings(site) {
            prop_assert_eq!(name.parse::<Site>().unwrap(), site);
        }
    }

    #[test]
    fn every_spelling_of_a_hook_point_is_read(point in point()) {
        prop_assert_eq!(point.to_string().parse::<HookPoint>().unwrap(), point);
        for name in spellings(point.site()) {
            for prefix in ["blocks.", ""] {
                let name = match point.layer() {
                    Some(layer) => format!("{prefix}{layer}.{name}"),
                    None => name.clone(),
                };
                prop_assert_eq!(name.parse::<HookPoint>().unwrap(), point, "{}", name);
            }
        }
    }

    #[test]
    fn a_neuron_is_read_from_what_it_prints(point in point(), idx: u32) {
        let neuron = NeuronId::new(point, idx);
        prop_assert_eq!(neuron.to_string().parse::<NeuronId>().unwrap(), neuron);
    }

    #[test]
    fn neurons_are_ordered_by_point_then_unit(a in point(), b in point(), i: u32, j: u32) {
        let (one, other) = (NeuronId::new(a, i), NeuronId::new(b, j));
        prop_assert_eq!(one.cmp(&other), a.cmp(&b).then(i.cmp(&j)));
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in ".{0,40}") {
        let _ = (text.parse::<Site>(), text.parse::<HookPoint>(), text.parse::<NeuronId>());
    }

    #[test]
    fn a_name_is_nearest_to_itself_and_a_suggestion_is_a_candidate(
        name in "[a-z_]{1,12}",
        candidates in proptest::collection::vec("[a-z_]{1,12}", 0..8),
    ) {
        if let Some(found) = nearest(&name, &candidates) {
            prop_assert!(candidates.contains(&found));
        }
        let with_name: Vec<&str> = candidates.iter().map(String::as_str).chain([name.as_str()]).collect();
        prop_assert_eq!(nearest(&name, with_name), Some(name));
    }
}
