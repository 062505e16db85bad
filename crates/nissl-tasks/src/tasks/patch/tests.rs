use std::path::Path;

use nissl_core::NoProgress;

use super::*;

fn config() -> Config {
    let prompt = |text: &str, other: &str| TextPrompt {
        text: text.to_owned(),
        target: "said".to_owned(),
        foil: Some("was".to_owned()),
        other: Some(other.to_owned()),
        concept: String::new(),
    };
    let prompts = vec![prompt("She looked at him and", "The house of him and"), prompt("He then", "It then")];
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/model").display().to_string();
    Config { model, prompts, ..Config::default() }
}

#[test]
fn the_whole_residual_stream_carries_the_whole_difference() {
    let report = run(&Config { places: Where::All, ..config() }, &NoProgress).unwrap();
    let embed = &report.sets[0];
    assert_eq!((report.sets.len(), embed.name.as_str(), embed.neurons), (1 + 4, "embed", 192));
    for set in &report.sets {
        assert!((set.places[0].share.unwrap() - 1.0).abs() < 1e-4, "{set:?}");
    }
    assert!((report.sets[0].places[0].change.mean - (report.other.mean - report.own.mean)).abs() < 1e-5);
}

#[test]
fn positions_are_counted_from_the_end_of_texts_of_several_lengths() {
    let asked = Config { heads: true, units: vec!["0.attn_out".to_owned()], ..config() };
    let report = run(&asked, &NoProgress).unwrap();
    assert_eq!((report.prompts.used, report.sets.len()), (2, 16 + 192));
    let head = &report.sets[0];
    let (first, last) = (head.places[0], head.places[head.places.len() - 1]);
    assert_eq!((head.name.as_str(), last.position, last.prompts), ("0.attn_z[h0]", Some(-1), 2));
    assert_eq!(first.prompts, 1, "one text is longer");
    let target = run(&Config { places: Where::Target, ..asked }, &NoProgress).unwrap();
    for (each, target) in report.sets.iter().zip(&target.sets) {
        assert!((each.places.last().unwrap().change.mean - target.places[0].change.mean).abs() < 1e-12);
    }
}

#[test]
fn prompts_without_another_text_are_refused() {
    let mut asked = config();
    asked.prompts[1].other = None;
    let err = run(&asked, &NoProgress).unwrap_err().to_string();
    assert!(err.contains("prompt 1") && err.contains("another text"), "{err}");
}
