use nissl_core::SiteInfo;

use super::*;

fn model() -> ModelInfo {
    let site = |site, width| SiteInfo { site, width, weight: String::new() };
    ModelInfo {
        name: "toy".to_owned(),
        family: "toy".to_owned(),
        n_layers: 3,
        d_model: 4,
        n_heads: 2,
        n_kv_heads: 2,
        d_head: 2,
        d_mlp: 8,
        d_vocab: 10,
        n_ctx: 16,
        causal: true,
        has_logits: false,
        sites: vec![
            site(Site::Embed, 4),
            site(Site::ResidPre, 4),
            site(Site::AttnPattern, 32),
            site(Site::AttnZ, 4),
            site(Site::MlpPost, 8),
            site(Site::ResidPost, 4),
            site(Site::FinalNorm, 4),
        ],
        fingerprint: String::new(),
    }
}

fn names(specs: &[&str]) -> Result<Vec<String>, String> {
    let specs: Vec<String> = specs.iter().map(ToString::to_string).collect();
    match select(&model(), &specs) {
        Ok(points) => Ok(points.iter().map(ToString::to_string).collect()),
        Err(err) => Err(err.to_string()),
    }
}

#[track_caller]
fn check(specs: &[&str], expected: &[&str]) {
    assert_eq!(names(specs).as_deref(), Ok(&expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..]));
}

#[track_caller]
fn check_error(specs: &[&str], expected: &str) {
    assert_eq!(names(specs), Err(expected.to_owned()));
}

#[test]
fn groups_sites_layers_and_points_are_understood() {
    let [post0, post1, post2] = [0, 1, 2].map(|layer| format!("blocks.{layer}.hook_resid_post"));
    check(&["resid"], &["hook_embed", &post0, &post1, &post2]);
    check(&["1-2.resid"], &[&post1, &post2]);
    check(
        &["mlp_post,0.resid_post"],
        &["blocks.0.mlp.hook_post", &post0, "blocks.1.mlp.hook_post", "blocks.2.mlp.hook_post"],
    );
    check(&["blocks.1.mlp.hook_post", "1.mlp"], &["blocks.1.mlp.hook_post"]);
    check(&["blocks.0-1.mlp.out.hook_in"], &["blocks.0.mlp.hook_post", "blocks.1.mlp.hook_post"]);
    check(&["final_norm"], &["ln_final.hook_normalized"]);
}

#[test]
fn all_leaves_out_patterns_and_what_would_be_twice() {
    let all = names(&["all"]).unwrap();
    assert_eq!(all.len(), 1 + 3 * 3 + 1);
    assert!(all.iter().all(|name| !name.contains("pattern") && !name.contains("resid_pre")));
}

#[test]
fn what_the_model_has_not_is_named_with_the_nearest() {
    check_error(&["residual"], "no site of this model is called 'residual'; did you mean resid?");
    check_error(&["mlp_pots"], "no site of this model is called 'mlp_pots'; did you mean mlp_post?");
    check_error(
        &["blocks.7.mlp.hook_post"],
        "blocks.7.mlp.hook_post: toy has no such hook point; did you mean blocks.2.mlp.hook_post?",
    );
    check_error(&["1-3.resid"], "sites: expected a layer from 0 to 2, got 3 in '3.resid'");
    check_error(&[], "sites: expected at least one site, such as resid or mlp, got none");
    check_error(
        &["0.attn_pattern"],
        "sites: expected a site whose rows all have one width, got blocks.0.attn.hook_pattern, one row of keys a query",
    );
}
