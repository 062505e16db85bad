use nissl_core::Model;

use super::*;

fn info() -> ModelInfo {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models/llama");
    nissl_model::LanguageModel::from_folder(&golden, "llama").unwrap().info().clone()
}

#[test]
fn edits_are_read_as_they_are_meant() {
    let info = info();
    let read = |text: &str| parse(text, &info).unwrap();
    let point = |name: &str| name.parse::<HookPoint>().unwrap();
    let plain = |name, units, edit| EditSpec { point: point(name), units, positions: Positions::All, edit, when: None };
    let some = |list: &[u32]| Units::Some(list.to_vec());
    assert_eq!(read("1.mlp_post[42]=0"), plain("1.mlp_post", some(&[42]), Edit::Set { value: 0.0 }));
    assert_eq!(
        read(" blocks.0.hook_resid_post [1, 5-7,9]  *=  -2.5e0 "),
        plain("0.resid_post", some(&[1, 5, 6, 7, 9]), Edit::Scale { factor: -2.5 })
    );
    assert_eq!(read("hook_embed += 1"), plain("hook_embed", Units::All, Edit::Add { values: vec![1.0; 40] }));
    assert_eq!(read("0.attn_z[h1]=0").units, Units::Some((12..24).collect()));
    assert_eq!(read("0.attn_k[h1]=0").units, Units::Some((12..24).collect()));
    assert_eq!(read("0.attn_pattern[h3]=0").units, Units::Some((192..256).collect()));
    let positions = |text: &str| read(&format!("1.mlp_post[0]=1 {text}")).positions;
    assert_eq!(positions("@all"), Positions::All);
    assert_eq!(positions("@ generated"), Positions::Generated);
    assert_eq!(positions("@0, 2,-1"), Positions::InSentence(vec![0, 2, -1]));
    assert_eq!(positions("@-2.."), Positions::From(-2));
    let when = read("1.mlp_post[0]=1 @3.. if 0.mlp_pre[7] > -0.5 < 2").when.unwrap();
    assert_eq!(when, Condition { neuron: "0.mlp_pre[7]".parse().unwrap(), above: Some(-0.5), below: Some(2.0) });
}

#[test]
fn what_cannot_be_read_is_pointed_at() {
    let info = info();
    let cases = [
        ("1.mlp_post[42 = 0", 14, "expected ',' and another unit, or ']', got '='"),
        ("1.mlp_post[42]", 14, "expected '=', '*=' or '+=' and a number, got the end"),
        ("1.mlp_post[42] = x", 17, "expected a number, got 'x'"),
        ("1.mlp_post[a]=0", 11, "expected the number of a unit, got 'a'"),
        ("1.mlp_post[h0]=0", 12, "has no heads, got '0'"),
        ("1.attn_z[h9]=0", 10, "expected a head from 0 to 3, got '9'"),
        ("1.mlp_post[1]=0 @ here", 18, "expected all, generated or a position such as 3 or -1, got 'h'"),
        ("1.mlp_post[1]=0 if 0.mlp_pre[2]", 31, "expected '>' or '<' and a number, got the end"),
        ("1.mlp_post[1]=0 nonsense", 16, "or the end, got 'n'"),
        ("=0", 0, "expected a site such as 3.mlp_post, got '='"),
        ("1.mlp_pst[1]=0", 0, "did you mean mlp_post"),
    ];
    for (text, at, want) in cases {
        match parse(text, &info) {
            Err(TaskError::Edit { column, what, .. }) => {
                assert!(column == at && what.contains(want), "{text}: column {column}: {what}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let unknown = parse("7.mlp_post[1]=0", &info).unwrap_err().to_string();
    assert!(unknown.contains("no site '7.mlp_post'; did you mean"), "{unknown}");
}
