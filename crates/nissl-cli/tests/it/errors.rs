//! Bad input: a message that says what, where, expected and got; exit code 1; nothing half-written.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use crate::nissl::{Place, Ran, assert_shown, demo_asset, golden};

/// Runs a command that must fail because of its input, and compares what it says.
#[track_caller]
fn check(name: &str, place: &Place, args: &[&str]) {
    let ran = place.run(args);
    assert_shown(&format!("error-{name}"), &place.shown(&ran));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    for left in ["store", "rankings"] {
        assert!(!place.path(left).exists(), "{left} is left behind");
    }
}

fn extract<'a>(model: &'a str, text: &'a str) -> [&'a str; 6] {
    ["extract", "-q", model, text, "--out", "store"]
}

#[test]
fn a_model_that_is_none_is_told_from_one_that_is_unknown() {
    let place = Place::new();
    let text = place.file("text.txt", "The cat.\n");
    check("no-model", &place, &extract("nowhere/at/all", text));
    place.file("empty/readme.txt", "no model\n");
    check("not-a-model", &place, &extract("empty", text));
    place.file("other/config.json", r#"{ "model_type": "brt" }"#);
    place.file("other/model.safetensors", b"\x02\0\0\0\0\0\0\0{}");
    check("unknown-architecture", &place, &extract("other", text));
    check("model-not-in-the-cache", &place, &["sites", "org/name"]);
}

#[test]
fn damaged_weights_are_named() {
    let place = Place::new();
    let text = place.file("text.txt", "The cat.\n");
    let model = place.model();
    let config = fs::read_to_string(place.path("model/config.json")).unwrap();
    let weights = fs::read(place.path("model/model.safetensors")).unwrap();

    place.file("model/config.json", config.replace("\"intermediate_size\": 52", "\"intermediate_size\": 60"));
    check("wrong-shape", &place, &extract(model, text));
    place.file("model/config.json", config);

    place.file("model/model.safetensors", &weights[..weights.len() - 100]);
    check("truncated-weights", &place, &extract(model, text));

    let mut huge = weights.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    place.file("model/model.safetensors", &huge);
    check("hostile-header-length", &place, &extract(model, text));

    let header = br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    let mut overlapping = (header.len() as u64).to_le_bytes().to_vec();
    overlapping.extend(header);
    overlapping.extend([0; 12]);
    place.file("model/model.safetensors", &overlapping);
    check("hostile-offsets", &place, &extract(model, text));
}

#[test]
fn what_no_lens_reads_is_said_with_what_to_do() {
    let place = Place::new();
    let model = place.model();
    check("lens-of-nothing", &place, &["lens", model]);
    check("lens-site", &place, &["lens", "-q", model, "--text", "the cat", "--sites", "0.mlp_post"]);
    let config = fs::read_to_string(place.path("model/config.json")).unwrap();
    place.file("model/config.json", config.replace("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false"));
    check("lens-without-a-head", &place, &["lens", "-q", model, "--text", "the cat"]);
}

#[test]
fn a_reference_of_another_model_is_told_before_anything_runs() {
    let place = Place::new();
    let reference = golden("check/reference.safetensors");
    let reference = reference.to_str().unwrap();
    check("reference-of-another-model", &place, &["check", "-q", place.model(), "--reference", reference]);
    check("no-reference", &place, &["check", "model"]);
    check("not-a-reference", &place, &["check", "-q", "model", "--reference", "model/model.safetensors"]);
}

#[test]
fn a_site_or_layer_that_does_not_exist_has_a_nearest() {
    let place = Place::new();
    let text = place.file("text.txt", "The cat.\n");
    let model = place.model();
    let with = |sites: &'static str| [&extract(model, text)[..], &["--sites", sites]].concat();
    check("unknown-site", &place, &with("mlp_pots"));
    check("unknown-layer", &place, &with("blocks.7.mlp.hook_post"));
    check("unknown-layers", &place, &with("1-9.mlp"));
    check("pattern-site", &place, &with("attn_pattern"));
}

#[test]
fn a_text_that_cannot_be_read_is_named_with_its_line() {
    let place = Place::new();
    let model = place.model();
    check("no-text", &place, &extract(model, "nothing.conllu"));
    check("not-utf8", &place, &extract(model, place.file("bad.txt", b"The cat.\nThe d\xffg.\n")));
    check("unknown-suffix", &place, &extract(model, place.file("text.docx", "The cat.\n")));
    place.file("short.label", "DT NN VB\nDT\n");
    check("label-count", &place, &extract(model, place.file("short.word", "the cat sees\nthe dog\n")));
    check("malformed-conllu", &place, &extract(model, place.file("bad.conllu", "1\tThe\tthe\n\n")));
}

#[test]
fn names_that_nobody_bears_have_a_nearest() {
    let place = Place::new();
    let store = place.store();
    fs::rename(place.path("store"), place.path("golden-store")).unwrap();
    let rank =
        |args: &'static [&'static str]| [&["rank", "-q", "golden-store", "--out", "rankings"][..], args].concat();
    assert_eq!(store, "store");
    check("no-store", &place, &["rank", "nowhere", "--by", "label"]);
    check("no-concepts", &place, &rank(&[]));
    check("unknown-column", &place, &rank(&["--by", "lable"]));
    check("unknown-method", &place, &rank(&["--by", "label", "--method", "probless"]));
    check("unknown-parameter", &place, &rank(&["--by", "label", "--set", "min_cuont=3"]));
    check("no-concept-left", &place, &rank(&["--by", "label", "--set", "min_count=9999"]));
    check("bad-concept", &place, &rank(&["--by", "label=NN &"]));
    check("unknown-neuron", &place, &["inspect", "golden-store", "blocks.9.hook_resid_post[0]"]);
    check("unit-out-of-range", &place, &["inspect", "golden-store", "embed[16]"]);
    check("no-neuron", &place, &["inspect", "golden-store"]);
    check("not-a-ranking", &place, &["inspect", "golden-store", "--ranking", place.file("a.parquet", "no table")]);
}

#[test]
fn flags_and_configs_are_checked_before_anything_is_done() {
    let place = Place::new();
    check("unknown-flag", &place, &["extract", "--modle", "x"]);
    check("no-arguments", &place, &["extract"]);
    check("bad-size", &place, &["models", "--memory", "five"]);
    check("bad-neuron", &place, &["inspect", "s", "3.mlp_post"]);
    check("no-config", &place, &["extract", "--config", "nowhere.json"]);
    check("bad-config", &place, &["extract", "--config", place.file("c.json", r#"{ "modle": "x" }"#)]);
    check(
        "other-report",
        &place,
        &["rank", "--config", place.file("r.json", r#"{ "task": "extract", "config": {} }"#)],
    );
}

#[test]
fn a_corrupt_block_is_named() {
    let place = Place::new();
    let store = place.store();
    let shard = place.path("store/acts/blocks.0.hook_resid_post/c.0.0");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[5] ^= 1;
    fs::write(&shard, bytes).unwrap();
    let ran = place.run(["rank", "-q", store, "--by", "label", "--set", "min_count=5", "--out", "rankings"]);
    assert_shown("error-corrupt-block", &place.shown(&ran));
    assert_eq!(ran.code, Some(1));
    assert!(!place.path("rankings").exists());
}

#[test]
fn a_store_of_another_config_is_left_alone() {
    let place = Place::new();
    let text = place.file("text.txt", "The cat.\n");
    let args = extract(place.model(), text);
    place.succeed(args);
    let ran = place.run([&args[..], &["--aggregate", "last"]].concat());
    assert_shown("error-other-config", &place.shown(&ran));
    assert_eq!(ran.code, Some(1));
    place.succeed([&args[..], &["--aggregate", "last", "--force"]].concat());

    place.file("notes/mine.txt", "not a store\n");
    let ran = place.run(["extract", "-q", "model", text, "--out", "notes", "--force"]);
    assert_shown("error-not-a-store", &place.shown(&ran));
    assert!(place.path("notes/mine.txt").exists(), "what is no store is never removed");
}

/// Runs a command that may write files of at most so many blocks of 512 bytes, as on a disk that is nearly full.
fn with_little_disk(place: &Place, blocks: u32, args: &[&str]) -> Ran {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_nissl")]);
    Ran::of(&place.prepare(&mut shell).args(args).output().unwrap())
}

#[test]
fn a_full_disk_leaves_nothing_half_written_and_the_run_can_go_on() {
    let place = Place::new();
    let (model, text) = (demo_asset("model"), demo_asset("demo.jsonl"));
    let args = ["extract", "-q", model.to_str().unwrap(), text.to_str().unwrap(), "--out", "store", "--limit", "40"];
    let ran = with_little_disk(&place, 100, &args);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("error: cannot write store/"), "{}", ran.stderr);
    let manifest = fs::read_to_string(place.path("store/nissl.json")).unwrap();
    assert!(manifest.contains("\"complete\": false"), "{manifest}");
    place.succeed(args);

    let args = ["rank", "-q", "store", "--by", "author", "--set", "min_count=5", "--out", "rankings"];
    let ran = with_little_disk(&place, 40, &args);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("error: cannot write rankings/"), "{}", ran.stderr);
    assert_eq!(fs::read_dir(place.path("rankings")).unwrap().count(), 0, "no part of a ranking is left");
}

#[test]
fn output_that_cannot_be_written_is_an_error_and_a_reader_that_has_enough_is_none() {
    let place = Place::new();
    if let Ok(full) = fs::File::create("/dev/full") {
        let output = place.command(["methods"]).stdout(full).output().unwrap();
        assert_eq!(Ran::of(&output).code, Some(1));
        assert!(Ran::of(&output).stderr.starts_with("error: "));
    }
    let mut child =
        place.command(["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}
