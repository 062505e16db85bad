use std::collections::BTreeMap;
use std::path::Path;

use nissl_core::NoProgress;

use super::*;

fn demo() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/model").display().to_string()
}

fn config(prompts: &[&str]) -> Config {
    let options = Generation { max_new_tokens: 16, ..Generation::default() };
    let prompts = prompts.iter().map(|&prompt| prompt.to_owned()).collect();
    Config { model: demo(), prompts, options, ..Config::default() }
}

#[test]
fn text_comes_in_pieces_that_make_up_the_report() {
    let config = config(&["She looked at him and said,", "It was"]);
    let mut shown = [String::new(), String::new()];
    let report = run_streaming(&config, &NoProgress, &mut |piece| shown[piece.prompt].push_str(piece.text)).unwrap();
    assert_eq!(report.texts[0].text, " \"I amid you are not to be a little, and I have been");
    for (shown, text) in shown.iter().zip(&report.texts) {
        assert_eq!(*shown, format!("{}{}", text.prompt, text.text));
        assert_eq!((text.tokens.len(), text.end), (16, End::MaxNewTokens));
    }
    assert_eq!(report, run(&report.head.config, &NoProgress).unwrap(), "a report's config repeats it");
}

#[test]
fn edits_change_the_text_and_are_compared_with_what_would_have_been() {
    let plain = run(&config(&["It was"]), &NoProgress).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.json");
    std::fs::write(
        &plan,
        r#"{"edits":[{"point":"2.resid_post","units":{"some":[3]},"positions":"generated","edit":{"set":{"value":9}}}]}"#,
    )
    .unwrap();
    let edits = vec!["3.mlp_out *= -2".to_owned()];
    let edited = Config { edits: edits.clone(), plan: Some(plan.clone()), compare: true, ..config(&["It was"]) };
    let both = run(&edited, &NoProgress).unwrap();
    assert_eq!(both.unedited.as_ref(), Some(&plain.texts));
    assert_ne!(both.texts, plain.texts);
    // Plan and text together are the edits of both.
    let texts = ["2.resid_post[3]=9 @generated".to_owned(), edits[0].clone()].to_vec();
    let same = run(&Config { edits: texts, ..config(&["It was"]) }, &NoProgress).unwrap();
    assert_eq!(same.texts, both.texts);
    std::fs::write(&plan, r#"{"capture":["hook_embed"]}"#).unwrap();
    let refused = run(&edited, &NoProgress).unwrap_err().to_string();
    assert!(refused.contains("got a capture at hook_embed"), "{refused}");
}

#[test]
fn prompts_come_from_a_file_and_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prompts.txt");
    std::fs::write(&file, "It was\n\nShe\n").unwrap();
    let report = run(&Config { file: Some(file), ..config(&[]) }, &NoProgress).unwrap();
    assert_eq!(report.texts.iter().map(|text| text.prompt.as_str()).collect::<Vec<_>>(), ["It was", "She"]);
    let none = run(&config(&[]), &NoProgress).unwrap_err().to_string();
    assert_eq!(none, "prompts: expected a text to go on with, got none");
}

#[test]
fn what_is_stopped_keeps_what_was_generated() {
    struct Stop;
    impl Progress for Stop {
        fn stage(&self, _: &str, _: Option<u64>, _: &str) {}
        fn step(&self, _: u64) {}
        fn note(&self, _: &str) {}
        fn cancelled(&self) -> bool {
            true
        }
    }
    let report = run(&config(&["It was"]), &Stop).unwrap();
    assert_eq!((report.texts[0].tokens.len(), report.texts[0].end), (1, End::Stopped));
    assert!(!report.texts[0].text.is_empty());
}

#[test]
fn a_prompt_is_the_source_of_a_model_with_an_encoder_and_only_the_target_is_shown() {
    let folder = crate::testing::toy_t5();
    let config = Config { model: folder.path().display().to_string(), ..config(&["the old cat sees", "a dog"]) };
    let mut shown = [String::new(), String::new()];
    let report = run_streaming(&config, &NoProgress, &mut |piece| shown[piece.prompt].push_str(piece.text)).unwrap();
    let model = LanguageModel::open(&config.model).unwrap();
    let sources = Batch::from_sentences([[1, 8, 3, 6].as_slice(), &[2, 4]]);
    let found = model.generate(&sources, &config.options, &HookPlan::default(), &mut |_| ControlFlow::Continue(()));
    for ((text, found), shown) in report.texts.iter().zip(found.unwrap()).zip(&shown) {
        assert!(!found.tokens.is_empty());
        assert_eq!((&text.tokens, &text.text), (&found.tokens, shown));
    }
    let edited = Config { edits: vec!["decoder.0.cross_attn_z *= -3".to_owned()], ..config };
    assert_ne!(run(&edited, &NoProgress).unwrap().texts, report.texts);
}

#[test]
fn a_marian_reads_pieces_of_its_source_model_and_its_target_model_spells_what_it_writes() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let (weights, pieces) = (golden.join("models/marian"), golden.join("tokenizers/older/marian"));
    let folder = tempfile::TempDir::new().unwrap();
    for name in ["config.json", "generation_config.json", "model.safetensors"] {
        std::fs::copy(weights.join(name), folder.path().join(name)).unwrap();
    }
    for name in ["source.spm", "target.spm"] {
        std::fs::copy(pieces.join(name), folder.path().join(name)).unwrap();
    }
    // The vocabulary is that of the pieces, as far as the weights go.
    let all: BTreeMap<String, u32> =
        serde_json::from_slice(&std::fs::read(pieces.join("vocab.json")).unwrap()).unwrap();
    let mut kept: BTreeMap<&str, u32> =
        all.iter().filter(|(_, id)| **id < 40).map(|(piece, id)| (piece.as_str(), *id)).collect();
    kept.insert("<pad>", 40);
    std::fs::write(folder.path().join("vocab.json"), serde_json::to_string(&kept).unwrap()).unwrap();

    let config = Config { model: folder.path().display().to_string(), ..config(&["The cell keeps the grains."]) };
    let report = run(&config, &NoProgress).unwrap();
    let full: nissl_model::Tokenizer = nissl_model::Tokenizer::from_folder(&pieces).unwrap().unwrap();
    let source: Vec<u32> = full.encode("The cell keeps the grains.").unwrap().ids;
    let source: Vec<u32> = source.into_iter().map(|id| if id < 40 { id } else { 1 }).collect();
    assert!(source.iter().filter(|id| **id != 1).count() > 5, "{source:?}");
    let model = LanguageModel::open(&config.model).unwrap();
    let sources = Batch::from_sentences([source.as_slice()]);
    let found = model.generate(&sources, &config.options, &HookPlan::default(), &mut |_| ControlFlow::Continue(()));
    let [text] = &report.texts[..] else { panic!("one text") };
    assert_eq!(text.tokens, found.unwrap()[0].tokens);
    let spell = |id: &u32| kept.iter().find(|(_, known)| *known == id).map(|(piece, _)| *piece);
    let special = |piece: &&str| !["</s>", "<unk>", "<pad>"].contains(piece);
    let spelled: String = text.tokens.iter().filter_map(spell).filter(special).collect();
    assert!(!text.text.is_empty());
    assert_eq!(text.text.trim_start(), spelled.replace('▁', " ").trim_start());
}
