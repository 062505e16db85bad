//! Names of sites, groups and layers become hook points, or errors with the nearest name.

use super::*;

fn points() -> Vec<HookPoint> {
    let in_blocks = [Site::ResidPre, Site::AttnPattern, Site::AttnZ, Site::MlpPost, Site::ResidPost];
    let blocks = (0..3).flat_map(|layer| in_blocks.map(|site| HookPoint::new(layer, site)));
    [HookPoint::new(0, Site::Embed)].into_iter().chain(blocks).chain([HookPoint::new(0, Site::FinalNorm)]).collect()
}

fn names(specs: &[&str]) -> Result<Vec<String>, String> {
    let specs: Vec<String> = specs.iter().map(ToString::to_string).collect();
    match select("toy", &points(), &specs) {
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
    check_error(&["residual"], "toy has no site 'residual'; did you mean resid?");
    check_error(&["mlp_pots"], "toy has no site 'mlp_pots'; did you mean mlp_post?");
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

#[test]
fn a_group_that_a_model_lacks_is_answered_with_those_that_it_has() {
    let points = [HookPoint::new(0, Site::LstmH), HookPoint::new(0, Site::ResidPost)];
    let err = select("lstm", &points, &["mlp".to_owned()]).expect_err("there are no MLP neurons");
    assert_eq!(err.to_string(), "lstm has no site 'mlp'; did you mean resid or lstm or all?");
}
