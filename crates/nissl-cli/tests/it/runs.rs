//! One run a command, on small fixtures; reports as JSON; configs that repeat a run.

use std::fs;

use serde_json::Value;

use crate::nissl::{Place, assert_shown, demo, demo_asset, golden};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn models_and_methods_are_tables() {
    let place = Place::new();
    assert_shown("models", &place.succeed(["models"]));
    assert_shown("models-one", &place.succeed(["models", "qwen2_moe"]));
    assert_shown("methods", &place.succeed(["methods"]));
    assert_shown("methods-probeless", &place.succeed(["methods", "probeless"]));
}

#[test]
fn sites_show_widths_and_weights() {
    let place = Place::new();
    assert_shown("sites", &place.succeed(["sites", place.model()]));
}

#[test]
fn lists_are_arrays_of_objects_with_a_name() {
    let place = Place::new();
    let model = place.model();
    for (args, list) in [
        (&["models", "--json"][..], "families"),
        (&["methods", "--json"], "methods"),
        (&["sites", model, "--json"], "sites"),
    ] {
        let report = json(&place.succeed(args));
        let entries = report[list].as_array().unwrap();
        assert!(!entries.is_empty() && entries.iter().all(|entry| entry["name"].is_string()), "{args:?}");
        assert_eq!(report["task"], args[0]);
        assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    }
}

#[test]
fn a_model_goes_on_with_a_text_as_it_is_and_edited() {
    let place = Place::new();
    let model = demo_asset("model");
    let generate = |more: &[&str]| {
        let args = ["generate", "-q", model.to_str().unwrap(), "She looked at him and said,", "--max-new", "16"];
        place.run([&args[..], more].concat())
    };
    assert_shown("generate", &place.shown(&generate(&[])));
    assert_shown("generate-compared", &place.shown(&generate(&["--edit", "3.mlp_out*=-2", "--compare"])));
    let sampled = ["--temperature", "0.9", "--top-k", "40", "--seed", "3", "--json"];
    let report = json(&generate(&sampled).stdout);
    place.file("again.json", report.to_string());
    let again = json(&place.succeed(["generate", "-q", "--json", "--config", "again.json"]));
    assert_eq!(again, report, "a report's config repeats it");
    assert_shown("error-edit", &place.shown(&generate(&["--edit", "3.mlp_post[42 = 0"])));
}

#[test]
fn texts_have_vectors_and_cosines() {
    let place = Place::new();
    let model = place.model();
    let kind =
        |path: &str, kind: &str| format!(r#"{{"path": "{path}", "type": "sentence_transformers.models.{kind}"}}"#);
    let modules = format!("[{}, {}]", kind("", "Transformer"), kind("1_Pooling", "Pooling"));
    assert_shown("error-embed", &place.shown(&place.run(["embed", model, "the cat"])));
    place.file("model/modules.json", modules);
    place.file("model/1_Pooling/config.json", r#"{"pooling_mode_mean_tokens": true}"#);
    let ran = place.run(["embed", "-q", model, "the cat sees the dog .", "the old cat sees", "an old man"]);
    assert_shown("embed", &place.shown(&ran));
}

#[test]
fn a_field_that_is_not_known_is_passed_over_if_that_is_said() {
    let place = Place::new();
    let model = place.model();
    let text = fs::read_to_string(place.path("model/config.json")).unwrap();
    place.file("model/config.json", text.replacen('{', "{\"attention_sinks\": 4, ", 1));
    assert_shown("error-unknown-option", &place.shown(&place.run(["sites", model])));
    place.succeed(["sites", "-q", model, "--allow-unknown", "attention_sinks"]);
    place.succeed(["lens", "-q", model, "--text", "the cat sees", "--allow-unknown", "attention_sinks"]);
}

#[test]
fn a_store_is_ranked_and_its_neurons_inspected() {
    let place = Place::new();
    let store = place.store();
    let ranked = ["rank", store, "--by", "label", "--set", "min_count=5", "--top", "3", "--out", "rankings"];
    assert_shown("rank", &place.shown(&place.run(ranked)));
    let ranking = "rankings/average-precision.parquet";
    let inspected = ["inspect", store, "--ranking", ranking, "--contexts", "3", "--words", "5", "--html", "n.html"];
    assert_shown("inspect", &place.shown(&place.run(inspected)));
    assert!(fs::read_to_string(place.path("n.html")).unwrap().starts_with("<!doctype html>"));

    let report = json(&place.succeed(["inspect", "-q", "--json", store, "embed[3]", "1.resid_post[2]"]));
    let names: Vec<&Value> = report["neurons"].as_array().unwrap().iter().map(|neuron| &neuron["name"]).collect();
    assert_eq!(names, ["hook_embed[3]", "blocks.1.hook_resid_post[2]"]);
}

#[test]
fn a_probe_is_fitted_judged_and_applied() {
    let place = Place::new();
    let store = place.store();
    let train = ["probe", "train", store, "--by", "label", "--lambda1", "0.01", "--k", "2", "--out", "labels.probe"];
    assert_shown("probe-train", &place.shown(&place.run(train)));
    assert_shown("probe-apply", &place.shown(&place.run(["probe", "apply", "labels.probe", store, "--by", "label"])));
}

#[test]
fn reports_have_the_form_that_others_rely_on() {
    let place = Place::new();
    let store = place.store();
    assert_shown("json-models", &place.succeed(["models", "gru", "--json"]));
    assert_shown("json-methods", &place.succeed(["methods", "--json", "average-precision"]));
    let rank = ["rank", "-q", "--json", store, "--by", "label: NN, VB", "--set", "min_count=5", "--top", "1"];
    assert_shown("json-rank", &place.succeed(rank));
    let inspect = ["inspect", "-q", "--json", store, "embed[1]", "--contexts", "1", "--words", "1"];
    assert_shown("json-inspect", &place.succeed(inspect));
    assert_shown("json-convert", &place.succeed(["convert", "-q", "--json", store, "a.hdf5"]));
}

#[test]
fn the_lens_shows_what_layers_predict_and_what_weights_say() {
    let place = Place::new();
    let text = ["--text", "the cat sees\tthe dogs", "--top", "3", "--html", "lens.html"];
    let neurons = ["--neuron", "0.mlp_post[3]", "--neuron", "1.attn_q[5]", "--partners", "all"];
    let lens = [&["lens", "-q", place.model()], &text[..], &neurons].concat();
    assert_shown("lens", &place.shown(&place.run(lens)));
    assert!(fs::read_to_string(place.path("lens.html")).unwrap().starts_with("<!doctype html>"));
    let report = json(&place.succeed(["lens", "-q", "--json", "model", "--neuron", "0.mlp_post[3]", "--raw"]));
    assert_eq!((&report["config"]["fold"], &report["text"]), (&Value::from("raw"), &Value::Null));
    fs::write(place.path("report.json"), report.to_string()).unwrap();
    assert_eq!(json(&place.succeed(["lens", "-q", "--json", "--config", "report.json"])), report);
}

#[test]
fn a_model_is_checked_against_its_reference_and_the_exit_code_says_so() {
    let place = Place::new();
    let (model, reference) = (golden("check"), golden("check/reference.safetensors"));
    let (model, reference) = (model.to_str().unwrap(), reference.to_str().unwrap());
    let out = place.succeed(["check", "-q", model, "--reference", reference]);
    assert!(out.contains("tokens: the same\n") && out.ends_with("every site agrees with the reference\n"), "{out}");
    let out = place.succeed(["check", "-q", model, "--write", "own.safetensors", "--text", "the cat sat"]);
    assert!(out.contains("written: own.safetensors, 27 tensors of 3 tokens"), "{out}");
    let report = json(&place.succeed(["check", "-q", "--json", model, "--reference", "own.safetensors"]));
    assert_eq!(
        (&report["agrees"], &report["check"]["sites"][0]["parts"][0]["same_bits"]),
        (&true.into(), &true.into())
    );

    fs::create_dir(place.path("damaged")).unwrap();
    for name in ["config.json", "tokenizer.json"] {
        fs::copy(golden("check").join(name), place.path("damaged").join(name)).unwrap();
    }
    let mut weights = fs::read(golden("check/model.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let table = json(std::str::from_utf8(&weights[8..header]).unwrap());
    let bias = header + table["transformer.h.1.mlp.c_fc.bias"]["data_offsets"][0].as_u64().unwrap() as usize;
    weights[bias + 4 * 6..bias + 4 * 7].copy_from_slice(&2.5f32.to_le_bytes());
    place.file("damaged/model.safetensors", &weights);
    let ran = place.run(["check", "-q", "damaged", "--reference", reference]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("off from here on: blocks.1.mlp.hook_pre\n  1 of 24 units"), "{}", ran.stdout);
    assert!(ran.stdout.contains("made by h.1.mlp.c_fc\n"), "{}", ran.stdout);
    let first = "error: the model is not the reference's: blocks.1.mlp.hook_pre is the first that is off\n";
    assert_eq!(ran.stderr, first);
}

#[test]
fn a_store_is_converted_there_and_back() {
    let place = Place::new();
    let store = place.store();
    assert_shown("convert", &place.shown(&place.run(["convert", store, "a.json", "--label-column", "label"])));
    place.succeed(["convert", "a.json", "back", "--text", "a.word"]);
    let rank = |store: &str| {
        let report = json(&place.succeed(["rank", "-q", "--json", store, "--by", "label", "--set", "min_count=5"]));
        report["methods"][0]["concepts"].clone()
    };
    assert_eq!(rank("back"), rank(store));
}

#[test]
fn a_saved_report_repeats_the_run_and_flags_win_over_it() {
    let place = Place::new();
    let text = place.file("text.txt", "The cat sees the dogs.\nAn old man likes a cat.\n");
    let model = place.model();
    let report =
        place.succeed(["extract", "-q", "--json", model, text, "--out", "a", "--sites", "0-1.mlp", "--limit", "1"]);
    let report = json(&report);
    assert_eq!(report["config"]["read"]["limit"], 1);
    assert_eq!(json(&fs::read_to_string(place.path("a/extract.json")).unwrap()), report);

    let again = json(&place.succeed(["extract", "-q", "--json", "--config", "a/extract.json", "--out", "b"]));
    assert_eq!(again["store"]["fingerprint"], report["store"]["fingerprint"]);
    assert_eq!(again["config"]["sites"], report["config"]["sites"]);
    let both =
        json(&place.succeed(["extract", "-q", "--json", "--config", "a/extract.json", "--out", "c", "--limit", "2"]));
    assert_eq!((both["store"]["sentences"].as_u64(), report["store"]["sentences"].as_u64()), (Some(2), Some(1)));
}

#[test]
fn extract_says_what_it_recorded_and_that_a_complete_store_is_left_alone() {
    let place = Place::new();
    let text = place.file("text.txt", "The cat sees the dogs.\nAn old man likes a cat.\n");
    let args = ["extract", place.model(), text, "--out", "store", "--concept", "animal := {cat, dogs}"];
    assert_shown("extract", &place.shown(&place.run(args)));
    assert_shown("extract-again", &place.shown(&place.run(args)));
}

#[test]
fn the_demo_prints_its_findings_and_where_the_page_is() {
    let (out, ran) = demo();
    let finding = |concept: &str| ran.stdout.lines().find(|line| line.starts_with(concept)).unwrap().to_owned();
    assert!(finding("article").contains("the"), "{}", ran.stdout);
    assert!(finding("comma").contains(','), "{}", ran.stdout);
    let page = out.join("report.html");
    assert!(ran.stdout.ends_with(&format!("open in a browser: {}\n", page.display())), "{}", ran.stdout);
    assert!(fs::metadata(page).unwrap().len() > 50_000);

    // The commands that it prints run as they stand.
    let place = Place::new();
    let command = ran.stdout.lines().find_map(|line| line.trim().strip_prefix("nissl ")).unwrap();
    let args: Vec<String> = command.split(' ').map(|arg| arg.trim_matches('\'').to_owned()).collect();
    assert!(place.succeed(args).contains("best concepts"));
}

#[test]
fn threads_change_no_bit_of_a_store_or_a_ranking() {
    let place = Place::new();
    let (model, text) = (demo_asset("model"), demo_asset("demo.jsonl"));
    let (model, text) = (model.to_str().unwrap(), text.to_str().unwrap());
    let run = |threads: &str| {
        let store = format!("store-{threads}");
        let common = ["-q", "--json", "--threads", threads];
        let extract = ["extract", model, text, "--out", &store, "--limit", "30", "--sites", "1-2.mlp"];
        place.succeed([&extract[..], &common].concat());
        let rank = ["rank", &store, "--by", "author", "--set", "min_count=5", "--out", &store];
        place.succeed([&rank[..], &common].concat());
        let manifest = json(&fs::read_to_string(place.path(&format!("{store}/nissl.json"))).unwrap());
        let ranking = |name: &str| fs::read(place.path(&format!("{store}/{name}.parquet"))).unwrap();
        let shard = fs::read(place.path(&format!("{store}/acts/blocks.1.mlp.hook_post/c.0.0"))).unwrap();
        (manifest, shard, ranking("probeless"), ranking("average-precision"))
    };
    let one = run("1");
    for threads in ["2", "8"] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

#[test]
fn color_is_where_it_is_asked_for() {
    let place = Place::new();
    assert!(!place.succeed(["methods"]).contains('\x1b'), "a pipe gets none");
    assert!(place.succeed(["methods", "--color", "always"]).contains("\x1b[1m"));
    let mut command = place.command(["methods"]);
    let output = command.env("NO_COLOR", "1").env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(!output.stdout.contains(&0x1b), "NO_COLOR wins");
}

#[test]
fn neurons_are_in_the_order_in_which_neurox_puts_them() {
    let place = Place::new();
    let store = place.store();
    let expected = json(&fs::read_to_string(golden("neurox/expected.json")).unwrap());
    // Score of each neuron; NeuroX numbers them layer after layer, the embedding first.
    let scores = |args: &[&str], tag: &str| -> Vec<f64> {
        let common = ["rank", "-q", "--json", store, "--by", "label", "--top", "48"];
        let report = json(&place.succeed([&common[..], args].concat()));
        let concepts = report["methods"][0]["concepts"].as_array().unwrap();
        let top = concepts.iter().find(|concept| concept["name"] == tag).unwrap()["top"].as_array().unwrap();
        let mut scores = vec![f64::NAN; 48];
        for best in top {
            let name = best["name"].as_str().unwrap();
            let unit: usize = name.split(['[', ']']).nth(1).unwrap().parse().unwrap();
            let layer = name.strip_prefix("blocks.").map_or(0, |rest| rest[..1].parse::<usize>().unwrap() + 1);
            scores[layer * 16 + unit] = best["score"].as_f64().unwrap();
        }
        scores
    };
    let check = |method: &str, scores: &[f64], order: &Value| {
        let order: Vec<usize> = order.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
        assert_eq!(order.len(), 48);
        // Neurons of equal scores are in any order there, and in that of their names here.
        assert!(order.is_sorted_by(|&a, &b| scores[a] >= scores[b]), "{method}: {order:?}");
    };
    for tag in ["NN", "VB", "DT"] {
        let probeless = ["--method", "probeless", "--set", "min_count=1", "--set", "zscore=false"];
        check("probeless", &scores(&probeless, tag), &expected["probeless_per_tag"][tag]);
        let precision = ["--method", "average-precision", "--set", "zero_below=0.05"];
        check("average precision", &scores(&precision, tag), &expected[format!("iou_{tag}")]);
    }
}

#[test]
fn behind_a_running_model_scores_are_those_over_its_store() {
    let place = Place::new();
    let model = place.model();
    let text = "the cat sees an old dog .\nthe dogs likes the man .\nan old man sees the cats .\n";
    place.file("text.txt", text.repeat(20));
    let methods = "probeless,mean-select,average-precision";
    let rank = ["--by", "animal := {cat, dog, cats, dogs}", "-m", methods, "--permutations", "0"];
    let set = ["--set", "min_count=2", "--sites", "1.mlp", "--json", "-q"];
    place.succeed(["extract", "-q", model, "text.txt", "--out", "s", "--sites", "mlp"]);
    let scores = |args: &[&str]| {
        let report: Value = serde_json::from_str(&place.succeed(args.iter().chain(&rank).chain(&set))).unwrap();
        let concepts: Vec<Value> =
            report["methods"].as_array().unwrap().iter().map(|m| m["concepts"].clone()).collect();
        assert_eq!(concepts.len(), 3);
        concepts
    };
    let streamed = scores(&["rank", "--stream", model, "text.txt"]);
    assert_eq!(streamed, scores(&["rank", "s"]));
    let refused = place.run(["rank", "s", "--dtype", "f32", "--by", "upos"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("--dtype is for --stream"), "{}", refused.stderr);
}

#[test]
fn neurons_are_explained_by_formulas_features_and_words() {
    let place = Place::new();
    let store = place.store();
    let neuron = "1.resid_post[3]";
    let set = ["--set", "alpha=0.2", "--set", "min_acts=1", "--set", "min_count=1"];
    let args = ["explain", store, neuron, "--method", "compositional,variance-reduction,lookup,tx-ray"];
    let ran = place.run(args.iter().chain(&set));
    assert_shown("explain", &place.shown(&ran));
    let all = place.succeed(["explain", store, "--out", "all.jsonl", "--best", "2", "-q"].iter().chain(&set));
    assert!(all.contains("the 2 of 48 neurons that are explained best"), "{all}");
    assert_eq!(fs::read_to_string(place.path("all.jsonl")).unwrap().lines().count(), 48);
}

#[test]
fn sentences_are_shown_with_the_strength_of_each_word() {
    let place = Place::new();
    let store = place.store();
    let ran = place.run(["view", store, "1.resid_post[3]", "--sentences", "2", "--svg", "v.svg", "--html", "v.html"]);
    assert_shown("view", &place.shown(&ran));
    for file in ["v.svg", "v.html"] {
        assert!(fs::read_to_string(place.path(file)).unwrap().contains("blocks.1.hook_resid_post[3]"));
    }
    let model = place.model();
    let text = ["--text", "the cat sees an old dog", "--saliency", "omission", "--json", "-q"];
    let report = json(&place.succeed(["view", model].iter().chain(&text)));
    assert_eq!(report["views"][0]["sentences"][0]["words"].as_array().unwrap().len(), 6);
}
